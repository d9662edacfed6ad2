#include "report/figure.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "report/gnuplot.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/svg.h"

const gm_figure *const gm_figures[] = {
    &gm_figure_loss,        &gm_figure_steps,        &gm_figure_phases,
    &gm_figure_martingale,  &gm_figure_tracked,      &gm_figure_gauges,
    &gm_figure_eigenvalues, &gm_figure_spectra,      &gm_figure_angles,
    &gm_figure_overlap,     &gm_figure_residual,     &gm_figure_alignment,
    &gm_figure_subspace,    &gm_figure_extremes,     &gm_figure_resample,
    &gm_figure_density,     &gm_figure_ensemble,     &gm_figure_changes,
    &gm_figure_predicted,   &gm_figure_stability,    &gm_figure_growth,
    &gm_figure_bound,       &gm_figure_bound_course, &gm_figure_posterior,
    &gm_figure_rescaling,   &gm_figure_ranks,        &gm_figure_bounds,
    &gm_figure_slice,       &gm_figure_landscape,    NULL,
};

size_t gm_figure_of_training(const gm_subject *subject)
{
    return gm_subject_trained(subject) || !subject->spectra ? 1 : 0;
}

size_t gm_figure_of_decomposition(const gm_subject *subject)
{
    return subject->points || !(subject->spectra || subject->tracks) ? 1 : 0;
}

/* Where a picture goes: into the page, or into a file of its own. */
typedef enum picture_form { FORM_PAGE, FORM_PDF, FORM_PNG, FORM_SVG } picture_form;

static void write_terminal(picture_form form, const char *id, int height, FILE *script)
{
    enum { UNITS_PER_INCH = 100, PNG_SCALE = 2 };
    switch (form) {
    case FORM_PAGE:
    case FORM_SVG:
        fprintf(script,
                "set terminal svg size %d,%d dynamic enhanced name \"%s\" font \"sans-serif,14\" "
                "linewidth 1.25 rounded%s\n",
                GM_FIGURE_WIDTH, height, id, form == FORM_SVG ? " background \"#FFFFFF\"" : "");
        break;
    case FORM_PDF: /* 72 points to the inch */
        fprintf(script,
                "set terminal pdfcairo enhanced color size %.2fin,%.2fin font \"sans,%.2f\" "
                "fontscale 1 linewidth 1 dashlength 3 rounded background \"#FFFFFF\"\n",
                (double)GM_FIGURE_WIDTH / UNITS_PER_INCH, (double)height / UNITS_PER_INCH,
                14.0 * 72.0 / UNITS_PER_INCH);
        break;
    case FORM_PNG:
        fprintf(
            script,
            "set terminal pngcairo enhanced truecolor size %d,%d font \"sans,%.2f\" fontscale %d "
            "linewidth %.2f pointscale %d dashlength 3 rounded background \"#FFFFFF\"\n",
            PNG_SCALE * GM_FIGURE_WIDTH, PNG_SCALE * height, 14.0 * 0.75, PNG_SCALE,
            1.25 * PNG_SCALE, PNG_SCALE);
        break;
    }
}

/* Settings that all figures share: axes left and below only, ticks outside, a faint grid, and the
 * key above the plot where it covers no data. */
static void write_prelude(picture_form form, const char *id, int height, FILE *script)
{
    write_terminal(form, id, height, script);
    fputs("set encoding utf8\nset minussign\n", script);
    for (const gm_colour *colour = gm_colours; colour->name; colour++) {
        fprintf(script, "%s = \"%s\"\n", colour->name, colour->light);
    }
    fputs("ink = \"#000000\"\n"
          "set border 3 lw 0.8 lc rgb ink\n"
          "set tics nomirror out scale 0.6,0.35\n"
          "set grid xtics ytics lt 1 lw 0.6 lc rgb grid\n"
          "set xtics offset 0,0.2\n"
          "set xlabel offset 0,0.6\n"
          "set title offset 0,-0.45\n"
          "unset key\nunset mouse\n",
          script);
}

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
}

bool gm_drawing_has_course(const gm_subject *subject, gm_drawing *drawing)
{
    if (subject->points >= 2) return true;
    fputs(subject->points ? "Only one point was decomposed; a course over training needs several "
                            "checkpoints of a run. The numbers are in the table below."
                          : "The run file holds no decomposition.",
          drawing->missing);
    return false;
}

static bool of_several(const gm_picture *picture)
{
    return picture->runs != NULL;
}

/* "r1density" for the first of its kind, "r1density2" for the second, "all" before the name of one
 * of several runs. */
static void picture_id(const gm_picture *picture, char *id, size_t size)
{
    int length = of_several(picture)
                     ? snprintf(id, size, "all%s", picture->across->id)
                     : snprintf(id, size, "r%zu%s", picture->subject->number, picture->figure->id);
    if (picture->number) snprintf(id + length, size - (size_t)length, "%zu", picture->number + 1);
}

static const char *picture_title(const gm_picture *picture)
{
    return of_several(picture) ? picture->across->title : picture->figure->title;
}

static gm_status picture_draw(const gm_picture *picture, gm_drawing *drawing, gm_error *err)
{
    return of_several(picture) ? picture->across->draw(picture->runs, picture->across, drawing, err)
                               : picture->figure->draw(picture->subject, drawing, err);
}

/* A drawing and what gnuplot made of it. */
typedef struct rendering {
    char id[64];
    buffer script, caption, missing, title;
    char *picture; /* NULL where missing says why */
    size_t size;
} rendering;

static void rendering_free(rendering *r)
{
    buffer_free(&r->script);
    buffer_free(&r->caption);
    buffer_free(&r->missing);
    buffer_free(&r->title);
    gm_free(r->picture);
}

/* Runs the script of the whole picture: prelude (which needs the height that draw sets) and body.
 */
static gm_status run_script(rendering *r, picture_form form, int height, gm_error *err)
{
    buffer whole = {0};
    gm_status status = buffer_open(&whole, err);
    if (status == GM_OK) {
        write_prelude(form, r->id, height, whole.stream);
        fwrite(r->script.bytes, 1, r->script.length, whole.stream);
        status = buffer_finish(&whole, err);
    }
    if (status == GM_OK)
        status = gm_gnuplot_run(r->id, whole.bytes, whole.length, &r->picture, &r->size, err);
    buffer_free(&whole);
    return status;
}

/* r is for rendering_free in any case. */
static gm_status render(const gm_picture *picture, picture_form form, rendering *r, gm_error *err)
{
    *r = (rendering){0};
    picture_id(picture, r->id, sizeof r->id);
    gm_status status = buffer_open(&r->script, err);
    if (status == GM_OK) status = buffer_open(&r->caption, err);
    if (status == GM_OK) status = buffer_open(&r->missing, err);
    if (status == GM_OK) status = buffer_open(&r->title, err);
    if (status != GM_OK) return status;
    fputs(picture_title(picture), r->title.stream);
    gm_drawing drawing = {picture->number,   r->script.stream, r->caption.stream,
                          r->missing.stream, r->title.stream,  320};
    status = picture_draw(picture, &drawing, err);
    if (status == GM_OK) status = buffer_finish(&r->script, err);
    if (status == GM_OK) status = buffer_finish(&r->caption, err);
    if (status == GM_OK) status = buffer_finish(&r->missing, err);
    if (status == GM_OK) status = buffer_finish(&r->title, err);
    if (status == GM_OK && !r->missing.length) status = run_script(r, form, drawing.height, err);
    return status;
}

gm_status gm_picture_write(const gm_picture *picture, FILE *page, gm_error *err)
{
    rendering r;
    gm_status status = render(picture, FORM_PAGE, &r, err);
    if (status == GM_OK && (r.picture || !of_several(picture))) {
        fprintf(page, "<figure id=\"%s-figure\">\n<h4>", r.id);
        gm_html_formula(page, r.title.bytes);
        fputs("</h4>\n", page);
        if (r.picture) status = gm_svg_inline(page, r.picture, r.id, r.title.bytes, err);
        if (r.picture) {
            fprintf(page, "<figcaption>%s</figcaption>\n", r.caption.bytes);
        } else {
            fprintf(page, "<p class=\"missing\">%s</p>\n", r.missing.bytes);
        }
        fputs("</figure>\n", page);
    }
    rendering_free(&r);
    return status;
}

gm_status gm_picture_write_file(const gm_picture *picture, gm_report_format format,
                                const char *path, bool *drawn, gm_error *err)
{
    static const picture_form form[] = {
        [GM_REPORT_PDF] = FORM_PDF, [GM_REPORT_PNG] = FORM_PNG, [GM_REPORT_SVG] = FORM_SVG};
    rendering r;
    gm_file *file = NULL;
    gm_status status = render(picture, form[format], &r, err);
    *drawn = status == GM_OK && r.picture;
    if (*drawn) {
        status = gm_file_create(path, &file, err);
        if (status == GM_OK) fwrite(r.picture, 1, r.size, gm_file_stream(file));
        if (status == GM_OK) status = gm_file_commit(&file, err);
        gm_file_discard(&file);
    }
    rendering_free(&r);
    return status;
}
