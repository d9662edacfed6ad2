/* A scanner of tags and attributes, enough for what gnuplot writes: elements without comments or
 * CDATA, attributes in either quote with or without blanks around the equals sign. */
#include "report/svg.h"

#include <stdbool.h>
#include <string.h>

#include "report/html.h"

typedef struct slice {
    const char *start;
    size_t length;
} slice;

static bool slice_is(slice s, const char *text)
{
    return s.length == strlen(text) && memcmp(s.start, text, s.length) == 0;
}

static bool slice_in(slice s, const char *const *words)
{
    for (; *words; words++) {
        if (slice_is(s, *words)) return true;
    }
    return false;
}

static const char *skip_blank(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

static slice take_name(const char **s)
{
    slice name = {*s, strcspn(*s, " \t\r\n=/>")};
    *s += name.length;
    return name;
}

/* The next attribute of the tag that *s is inside of; false at the tag's end. */
static bool take_attribute(const char **s, slice *name, slice *value)
{
    *s = skip_blank(*s);
    if (!**s || **s == '>' || **s == '/') return false;
    *name = take_name(s);
    *value = (slice){*s, 0};
    *s = skip_blank(*s);
    if (**s != '=') return name->length > 0;
    *s = skip_blank(*s + 1);
    char quote = **s;
    if (quote != '"' && quote != '\'') return false;
    value->start = ++*s;
    const char *end = strchr(*s, quote);
    if (!end) return false;
    value->length = (size_t)(end - *s);
    *s = end + 1;
    return true;
}

static void write_colour(FILE *out, slice value)
{
    char text[32] = "";
    unsigned red, green, blue;
    if (value.length < sizeof text) memcpy(text, value.start, value.length);
    bool rgb = sscanf(text, "rgb(%u,%u,%u)", &red, &green, &blue) == 3;
    if (slice_is(value, "black") || (rgb && !red && !green && !blue)) {
        fputs("currentColor", out);
    } else if (rgb) {
        fprintf(out, "#%02X%02X%02X", red & 255, green & 255, blue & 255);
    } else {
        fwrite(value.start, 1, value.length, out);
    }
}

/* Attributes that have no place in the page: the page sets fonts, collapses blanks and declares the
 * name spaces. */
static const char *const dropped_attributes[] = {"font-family", "xml:space", NULL};
static const char *const colour_attributes[] = {"stroke", "fill", "color", NULL};

static void write_attribute(FILE *out, const char *id, slice name, slice value)
{
    if (slice_in(name, dropped_attributes)) return;
    fputc(' ', out);
    if (slice_is(name, "xlink:href") && value.length && *value.start == '#') {
        fprintf(out, "href=\"#%s-%.*s\"", id, (int)value.length - 1, value.start + 1);
        return;
    }
    fprintf(out, "%.*s=\"", (int)name.length, name.start);
    if (slice_is(name, "id")) fprintf(out, "%s-", id);
    if (slice_in(name, colour_attributes)) {
        write_colour(out, value);
    } else {
        fwrite(value.start, 1, value.length, out);
    }
    fputc('"', out);
}

/* Behind the end tag of the element whose start tag *s stands at. gnuplot never nests an element of
 * these kinds in one of the same name. */
static const char *skip_element(const char *s, slice name)
{
    for (const char *end = strstr(s, "</"); end; end = strstr(end + 2, "</")) {
        const char *after = end + 2;
        if (strncmp(after, name.start, name.length) == 0 &&
            strchr(" \t\r\n>", after[name.length])) {
            const char *close = strchr(after, '>');
            return close ? close + 1 : after + strlen(after);
        }
    }
    return s + strlen(s);
}

static void open_svg(FILE *out, const char **s, const char *id, const char *title)
{
    slice name, value;
    fprintf(out, "<svg id=\"%s\" role=\"img\" aria-label=\"", id);
    gm_html_text(out, title);
    fputs("\"", out);
    while (take_attribute(s, &name, &value)) {
        if (slice_is(name, "viewBox"))
            fprintf(out, " viewBox=\"%.*s\"", (int)value.length, value.start);
    }
    fputs(">\n", out);
    const char *end = strchr(*s, '>');
    *s = end ? end + 1 : *s + strlen(*s);
}

/* Copies the start or end tag at s (behind its '<') and returns where it ends. Groups with nothing
 * in them, which gnuplot leaves at every change of pen, are left out; *fresh becomes false where
 * anything was written. */
static const char *copy_tag(FILE *out, const char *s, const char *id, bool *fresh)
{
    slice name = take_name(&s);
    if (*name.start == '/') {
        *fresh = false;
        const char *close = strchr(name.start, '>');
        fprintf(out, "<%.*s>", (int)strcspn(name.start, " \t\r\n>"), name.start);
        return close ? close + 1 : name.start + strlen(name.start);
    }
    const char *close = strchr(s, '>');
    if (!close) return s + strlen(s);
    const char *inside = skip_blank(close + 1);
    if (slice_is(name, "g") && strncmp(inside, "</g>", 4) == 0) return inside + 4;

    *fresh = false;
    fprintf(out, "<%.*s", (int)name.length, name.start);
    slice attribute, value;
    while (take_attribute(&s, &attribute, &value)) {
        write_attribute(out, id, attribute, value);
    }
    fputs(*s == '/' ? "/>" : ">", out);
    close = strchr(s, '>');
    return close ? close + 1 : s + strlen(s);
}

gm_status gm_svg_inline(FILE *out, const char *svg, const char *id, const char *title,
                        gm_error *err)
{
    static const char *const dropped_elements[] = {"title", "desc", "filter", "script", NULL};
    const char *s = strstr(svg, "<svg");
    if (!s) return gm_fail(err, GM_ERR_NUMERIC, "gnuplot: %s: its output is no SVG", id);
    s += strlen("<svg");
    open_svg(out, &s, id, title);
    bool fresh = true; /* at the start of a line */
    while (*s) {
        size_t text = strcspn(s, "<");
        if (strspn(s, " \t\r\n") < text) {
            fwrite(s, 1, text, out);
            fresh = false;
        } else if (!fresh && memchr(s, '\n', text)) {
            fputc('\n', out);
            fresh = true;
        }
        s += text;
        if (!*s) break;
        const char *peek = ++s;
        slice name = take_name(&peek);
        bool dropped = slice_in(name, dropped_elements);
        s = dropped ? skip_element(s, name) : copy_tag(out, s, id, &fresh);
    }
    return GM_OK;
}
