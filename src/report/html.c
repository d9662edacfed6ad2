#include "report/html.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at s (RFC 3629: shortest form, no surrogates), 0 where it is none.
 */
static size_t sequence_length(const unsigned char *s)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high, length;
    } form[] = {
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t f = 0; f < sizeof form / sizeof *form; f++) {
        if (*s < form[f].first_low || *s > form[f].first_high) continue;
        if (form[f].length > 1 && (s[1] < form[f].second_low || s[1] > form[f].second_high))
            return 0;
        for (size_t i = 2; i < form[f].length; i++) {
            if ((s[i] & 0xc0) != 0x80) return 0;
        }
        return form[f].length;
    }
    return 0;
}

/* C0 and C1 controls other than newline and tab are not allowed in HTML. */
static bool is_control(const unsigned char *s, size_t length)
{
    if (length == 1) return (*s < ' ' && *s != '\n' && *s != '\t') || *s == 127;
    return length == 2 && s[0] == 0xc2 && s[1] < 0xa0;
}

size_t gm_text_character(const char *text, bool *shown)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t length = sequence_length(s);
    *shown = length && !is_control(s, length);
    return length ? length : 1;
}

static void write_text(FILE *out, const char *text, size_t bytes)
{
    const char *end = text + bytes;
    for (const char *s = text; s < end;) {
        bool shown;
        size_t length = gm_text_character(s, &shown);
        switch (shown ? *s : '\0') {
        case '\0':
            fputs("\xef\xbf\xbd", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            fwrite(s, 1, length, out);
        }
        s += length;
    }
}

void gm_html_text(FILE *out, const char *text)
{
    if (text) write_text(out, text, strlen(text));
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

void gm_html_formula(FILE *out, const char *text)
{
    static const struct {
        const char *plain, *html;
    } signs[] = {{"||", "&#8214;"}, {">=", "&ge;"}, {"<=", "&le;"}};
    enum { SIGNS = sizeof signs / sizeof *signs };
    if (!text) return;
    const char *run = text; /* start of what is not yet written */
    for (const char *c = run; *c;) {
        size_t sign = 0, length = 0;
        while (sign < SIGNS && strncmp(c, signs[sign].plain, 2) != 0) {
            sign++;
        }
        bool lowered = *c == '_' && is_letter(c[1]) && !is_letter(c[2]) && c > text && c[-1] != ' ';
        bool minus = *c == '-' && is_letter(c[1]) && (c == run || strchr(" (", c[-1]));
        if (sign < SIGNS || lowered) length = 2;
        if (minus) length = 1;
        if (!length) {
            c++;
            continue;
        }
        write_text(out, run, (size_t)(c - run));
        if (sign < SIGNS) fputs(signs[sign].html, out);
        if (lowered) fprintf(out, "<sub>%c</sub>", c[1]);
        if (minus) fputs("&minus;", out);
        c += length;
        run = c;
    }
    gm_html_text(out, run);
}

/* Digits of a number as printf gives them, with a true minus sign. */
static void print_digits(FILE *out, const char *digits)
{
    if (*digits == '-') {
        fputs("&minus;", out);
        digits++;
    }
    fputs(digits, out);
}

static void print_integer(FILE *out, double value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.0f", fabs(value));
    if (value < 0) fputs("&minus;", out);
    size_t length = strlen(digits);
    for (size_t i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) fputc(',', out);
        fputc(digits[i], out);
    }
}

/* Digits behind the point, trailing zeros dropped where they are exact: 0.05, but 0.0500 for
 * 0.04998. */
static void print_decimals(FILE *out, double value, int decimals)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.*f", decimals, value);
    size_t length = strlen(digits);
    while (strtod(digits, NULL) == value && strchr(digits, '.') &&
           strchr("0.", digits[length - 1])) {
        bool point = digits[length - 1] == '.';
        digits[--length] = '\0';
        if (point) break;
    }
    print_digits(out, digits);
}

static void print_scientific(FILE *out, double value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.2e", value);
    int exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
    *strchr(digits, 'e') = '\0';
    print_digits(out, digits);
    fprintf(out, "&times;10<sup>%s%d</sup>", exponent < 0 ? "&minus;" : "", abs(exponent));
}

void gm_html_number(FILE *out, double value)
{
    if (!isfinite(value)) {
        fputs(isnan(value) ? "undefined" : value < 0 ? "&minus;&infin;" : "&infin;", out);
        return;
    }
    fprintf(out, "<data value=\"%.17g\">", value);
    double size = fabs(value);
    if (size < 1e9 && value == rint(value)) {
        print_integer(out, value);
    } else if (size >= 9.995e-4 && size < 99995.0) {
        int decimals = 2 - (int)floor(log10(size));
        print_decimals(out, value, decimals < 0 ? 0 : decimals);
    } else {
        print_scientific(out, value);
    }
    fputs("</data>", out);
}

void gm_html_percent(FILE *out, double share)
{
    if (!isfinite(share)) {
        gm_html_number(out, share);
        return;
    }
    char digits[32];
    snprintf(digits, sizeof digits, "%.3g", 100.0 * share);
    fprintf(out, "<data value=\"%.17g\">", share);
    print_digits(out, digits);
    fputs("&#8239;%</data>", out);
}
