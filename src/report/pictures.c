#include "report/pictures.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "report/film.h"
#include "report/gnuplot.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/svg.h"

/* ---- which ---- */

gm_status gm_pictures_of_run(const gm_subject *subject, gm_picture **picture, size_t *count,
                             gm_error *err)
{
    size_t most = 0, used = 0;
    for (size_t f = 0; gm_figures[f]; f++) {
        most += gm_figures[f]->count(subject);
    }
    *picture = gm_alloc(most, sizeof **picture, "pictures", err);
    if (!*picture) return GM_ERR_MEMORY;
    for (size_t f = 0; gm_figures[f]; f++) {
        size_t pictures = gm_figures[f]->count(subject);
        for (size_t i = 0; i < pictures && used < most; i++) {
            (*picture)[used++] =
                (gm_picture){.figure = gm_figures[f], .subject = subject, .number = i};
        }
    }
    *count = used;
    return GM_OK;
}

static size_t count_of_runs(const gm_runs_figure *figure, const gm_runs *runs)
{
    return figure->count ? figure->count(runs) : 1;
}

gm_status gm_pictures_of_runs(const gm_runs *runs, gm_picture **picture, size_t *count,
                              gm_error *err)
{
    size_t most = 0, used = 0;
    for (size_t f = 0; gm_runs_figures[f]; f++) {
        most += count_of_runs(gm_runs_figures[f], runs);
    }
    *picture = gm_alloc(most, sizeof **picture, "pictures", err);
    if (!*picture) return GM_ERR_MEMORY;
    for (size_t f = 0; gm_runs_figures[f]; f++) {
        size_t pictures = count_of_runs(gm_runs_figures[f], runs);
        for (size_t i = 0; i < pictures && used < most; i++) {
            (*picture)[used++] =
                (gm_picture){.across = gm_runs_figures[f], .runs = runs, .number = i};
        }
    }
    *count = used;
    return GM_OK;
}

static bool of_several(const gm_picture *picture)
{
    return picture->runs != NULL;
}

static const char *figure_id(const gm_picture *picture)
{
    return of_several(picture) ? picture->across->id : picture->figure->id;
}

/* "r1density" for the first of its kind, "r1density2" for the second; "all" in the place of "r1"
 * for one of several runs. */
static void write_id(const gm_picture *picture, char *id, size_t size)
{
    char owner[32] = "all", number[32] = "";
    if (!of_several(picture)) snprintf(owner, sizeof owner, "r%zu", picture->subject->number);
    if (picture->number) snprintf(number, sizeof number, "%zu", picture->number + 1);
    snprintf(id, size, "%s%s%s", owner, figure_id(picture), number);
}

/* ---- scripts ---- */

typedef struct buffer {
    FILE *stream;
    char *bytes;
    size_t length;
} buffer;

static gm_status buffer_open(buffer *b, gm_error *err)
{
    b->stream = open_memstream(&b->bytes, &b->length);
    return b->stream ? GM_OK : gm_fail(err, GM_ERR_MEMORY, "figure: no memory");
}

static gm_status buffer_finish(buffer *b, gm_error *err)
{
    bool failed = ferror(b->stream) != 0;
    failed = fclose(b->stream) != 0 || failed;
    b->stream = NULL;
    return failed ? gm_fail(err, GM_ERR_MEMORY, "figure: no memory") : GM_OK;
}

static void buffer_free(buffer *b)
{
    if (b->stream) fclose(b->stream);
    free(b->bytes);
    *b = (buffer){0};
}

/* A drawing and what gnuplot made of it. */
typedef struct rendering {
    const gm_picture *of;
    char id[64];
    buffer script, caption, missing, title; /* the title without its step */
    int height;
    gm_frame frame;
    char *svg; /* NULL where missing says why, and in films where it was left out */
    size_t svg_size;
} rendering;

static void rendering_free(rendering *r)
{
    buffer_free(&r->script);
    buffer_free(&r->caption);
    buffer_free(&r->missing);
    buffer_free(&r->title);
    gm_free(r->svg);
    *r = (rendering){0};
}

/* Everything but the picture itself. r is for rendering_free in any case. */
static gm_status render(const gm_picture *picture, rendering *r, gm_error *err)
{
    *r = (rendering){.of = picture};
    write_id(picture, r->id, sizeof r->id);
    gm_status status = buffer_open(&r->script, err);
    if (status == GM_OK) status = buffer_open(&r->caption, err);
    if (status == GM_OK) status = buffer_open(&r->missing, err);
    if (status == GM_OK) status = buffer_open(&r->title, err);
    if (status != GM_OK) return status;
    gm_drawing drawing = {.number = picture->number,
                          .script = r->script.stream,
                          .caption = r->caption.stream,
                          .missing = r->missing.stream,
                          .title = r->title.stream,
                          .height = 320,
                          .step = GM_RUN_NO_STEP};
    fputs(of_several(picture) ? picture->across->title : picture->figure->title, drawing.title);
    status = of_several(picture)
                 ? picture->across->draw(picture->runs, picture->across, &drawing, err)
                 : picture->figure->draw(picture->subject, &drawing, err);
    if (status == GM_OK) status = buffer_finish(&r->script, err);
    if (status == GM_OK) status = buffer_finish(&r->caption, err);
    if (status == GM_OK) status = buffer_finish(&r->missing, err);
    if (status == GM_OK) status = buffer_finish(&r->title, err);
    r->height = drawing.height;
    r->frame = (gm_frame){.step = drawing.step};
    return status;
}

static bool wanted(const rendering *r)
{
    return !r->missing.length && !r->frame.left_out;
}

static void write_script(const rendering *r, gm_picture_form form, FILE *script)
{
    fputs("reset\n", script);
    gm_picture_prelude(form, r->id, r->height, script);
    fwrite(r->script.bytes, 1, r->script.length, script);
}

/* One picture by a process of its own. */
static gm_status run_alone(rendering *r, gm_picture_form form, gm_error *err)
{
    buffer whole = {0};
    gm_status status = buffer_open(&whole, err);
    if (status == GM_OK) {
        write_script(r, form, whole.stream);
        status = buffer_finish(&whole, err);
    }
    if (status == GM_OK)
        status = gm_gnuplot_run(r->id, whole.bytes, whole.length, &r->svg, &r->svg_size, err);
    buffer_free(&whole);
    return status;
}

/* Hands the documents that gnuplot wrote one after another to the renderings; false where there
 * are not as many. */
static gm_status take_apart(const char *output, rendering *r, size_t count, bool *whole,
                            gm_error *err)
{
    static const char end[] = "</svg>";
    for (size_t i = 0; i < count; i++) {
        if (!wanted(&r[i])) continue;
        const char *stop = strstr(output, end);
        *whole = stop != NULL;
        if (!stop) return GM_OK;
        size_t size = (size_t)(stop + sizeof end - 1 - output);
        r[i].svg = gm_alloc(size + 1, 1, "a picture", err);
        if (!r[i].svg) return GM_ERR_MEMORY;
        memcpy(r[i].svg, output, size);
        r[i].svg_size = size;
        output += size;
    }
    *whole = true;
    return GM_OK;
}

/* One picture for a page, or why there is none: numbers that gnuplot cannot draw are no reason to
 * lack the rest. */
static gm_status run_for_page(rendering *r, gm_error *err)
{
    gm_error own = {0};
    gm_status status = run_alone(r, GM_FORM_PAGE, &own);
    if (status != GM_ERR_NUMERIC)
        return status == GM_OK ? GM_OK : gm_fail(err, status, "%s", own.message);
    buffer_free(&r->missing);
    status = buffer_open(&r->missing, err);
    if (status != GM_OK) return status;
    fputs("Not drawn. ", r->missing.stream);
    gm_html_text(r->missing.stream, own.message);
    return buffer_finish(&r->missing, err);
}

/* All pictures for a page by one process. Where that fails each is tried alone. */
static gm_status run_together(rendering *r, size_t count, gm_error *err)
{
    buffer script = {0};
    char *output = NULL;
    size_t size, pictures = 0;
    bool whole = false;
    gm_error first = {0};
    gm_status status = buffer_open(&script, err);
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        if (!wanted(&r[i])) continue;
        write_script(&r[i], GM_FORM_PAGE, script.stream);
        pictures++;
    }
    if (status == GM_OK) status = buffer_finish(&script, err);
    if (status == GM_OK && pictures) {
        status = gm_gnuplot_run("figures", script.bytes, script.length, &output, &size, &first);
        if (status == GM_OK) {
            status = take_apart(output, r, count, &whole, err);
        } else if (status == GM_ERR_NUMERIC) {
            status = GM_OK;
        } else {
            gm_fail(err, status, "%s", first.message);
        }
    }
    for (size_t i = 0; i < count && status == GM_OK && pictures && !whole; i++) {
        gm_free(r[i].svg);
        r[i].svg = NULL;
        if (wanted(&r[i])) status = run_for_page(&r[i], err);
    }
    gm_free(output);
    buffer_free(&script);
    return status;
}

/* ---- the page ---- */

/* The title with its step. */
static gm_status full_title(const rendering *r, char **title, gm_error *err)
{
    char step[64] = "";
    if (r->frame.step >= 0) snprintf(step, sizeof step, ", step %" PRId64, r->frame.step);
    *title = gm_format(err, "%s%s", r->title.bytes, step);
    return *title ? GM_OK : GM_ERR_MEMORY;
}

static gm_status write_figure(const rendering *r, FILE *page, gm_error *err)
{
    char *title;
    if (!r->svg && of_several(r->of)) return GM_OK;
    gm_status status = full_title(r, &title, err);
    if (status != GM_OK) return status;
    fprintf(page, "<figure id=\"%s-figure\"", r->id);
    gm_film_attributes(&r->frame, page);
    fputs(">\n<h4>", page);
    gm_html_formula(page, title);
    fputs("</h4>\n", page);
    if (r->svg) status = gm_svg_inline(page, r->svg, r->id, title, err);
    fprintf(page, r->svg ? "<figcaption>%s</figcaption>\n" : "<p class=\"missing\">%s</p>\n",
            r->svg ? r->caption.bytes : r->missing.bytes);
    fputs("</figure>\n", page);
    gm_free(title);
    return status;
}

/* Whether two pictures show one thing at two steps. */
static bool same_thing(const rendering *a, const rendering *b)
{
    return a->frame.step >= 0 && b->frame.step >= 0 && a->of->figure == b->of->figure &&
           strcmp(a->title.bytes, b->title.bytes) == 0;
}

/* The next picture behind number `at` that belongs to the film that begins with `first`: of the
 * same thing, at a later step; count where there is none. */
static size_t next_frame(const rendering *r, size_t first, size_t at, size_t count)
{
    for (size_t i = at + 1; i < count; i++) {
        if (!r[i].frame.of || r[i].frame.first_of == first) {
            if (same_thing(&r[first], &r[i]) && r[i].frame.step > r[at].frame.step) return i;
        }
    }
    return count;
}

/* Finds the films among the renderings. */
static void find_films(rendering *r, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t frames = 0, at = 0;
        if (r[i].frame.of) continue;
        for (size_t j = i; j < count; j = next_frame(r, i, j, count)) {
            frames++;
        }
        for (size_t j = i; j < count && frames > 1; j = next_frame(r, i, j, count)) {
            gm_frame_set(&r[j].frame, at++, frames);
            r[j].frame.first_of = i;
        }
    }
}

/* The film that begins with picture `first`. */
static gm_status write_film(const rendering *r, size_t first, size_t count, FILE *page,
                            gm_error *err)
{
    gm_status status = GM_OK;
    gm_film_begin(r[first].id, &r[first].frame, page);
    for (size_t i = first; i < count && status == GM_OK; i = next_frame(r, first, i, count)) {
        if (!r[i].frame.left_out) status = write_figure(&r[i], page, err);
    }
    gm_film_end(page);
    return status;
}

gm_status gm_pictures_write(const gm_picture *picture, size_t count, FILE *page, bool *films,
                            gm_error *err)
{
    rendering *r = gm_alloc(count, sizeof *r, "pictures", err);
    if (!r) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        status = render(&picture[i], &r[i], err);
    }
    if (status == GM_OK) {
        find_films(r, count);
        status = run_together(r, count, err);
    }
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        if (!r[i].frame.of) {
            if (r[i].svg) status = write_figure(&r[i], page, err);
        } else if (r[i].frame.first_of == i) {
            status = write_film(r, i, count, page, err);
            *films = true;
        }
    }
    /* What there is comes first; the rest says what it lacks. */
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        if (!r[i].frame.of && !r[i].svg) status = write_figure(&r[i], page, err);
    }
    for (size_t i = 0; i < count; i++) {
        rendering_free(&r[i]);
    }
    gm_free(r);
    return status;
}

/* ---- files ---- */

gm_status gm_picture_name(const gm_picture *picture, bool several, char **name, gm_error *err)
{
    char owner[32] = "", number[32] = "";
    if (of_several(picture)) {
        snprintf(owner, sizeof owner, "all-");
    } else if (several) {
        snprintf(owner, sizeof owner, "run%zu-", picture->subject->number);
    }
    if (picture->number) snprintf(number, sizeof number, "%zu", picture->number + 1);
    *name = gm_format(err, "%s%s%s", owner, figure_id(picture), number);
    return *name ? GM_OK : GM_ERR_MEMORY;
}

gm_status gm_picture_write_file(const gm_picture *picture, gm_report_format format,
                                const char *path, bool *drawn, gm_error *err)
{
    static const gm_picture_form form[] = {[GM_REPORT_PDF] = GM_FORM_PDF,
                                           [GM_REPORT_PNG] = GM_FORM_PNG,
                                           [GM_REPORT_SVG] = GM_FORM_SVG};
    rendering r;
    gm_file *file = NULL;
    gm_status status = render(picture, &r, err);
    if (status == GM_OK && wanted(&r)) status = run_alone(&r, form[format], err);
    *drawn = status == GM_OK && r.svg;
    if (*drawn) {
        status = gm_file_create(path, &file, err);
        if (status == GM_OK) fwrite(r.svg, 1, r.svg_size, gm_file_stream(file));
        if (status == GM_OK) status = gm_file_commit(&file, err);
        gm_file_discard(&file);
    }
    rendering_free(&r);
    return status;
}
