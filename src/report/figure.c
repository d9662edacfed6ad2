#include "report/figure.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/memory.h"
#include "report/gnuplot.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/svg.h"

const gm_figure *const gm_figures[] = {
    &gm_figure_loss,      &gm_figure_eigenvalues, &gm_figure_spectra,
    &gm_figure_angles,    &gm_figure_overlap,     &gm_figure_residual,
    &gm_figure_alignment, &gm_figure_subspace,    NULL,
};

/* Settings that all figures share: axes left and below only, ticks outside, a faint grid, and the
 * key above the plot where it covers no data. */
static void write_prelude(const gm_figure *figure, const gm_subject *subject, int height,
                          FILE *script)
{
    fprintf(script,
            "set terminal svg size %d,%d dynamic enhanced name \"r%zu%s\" font \"sans-serif,14\" "
            "linewidth 1.25 rounded\n"
            "set encoding utf8\nset minussign\n",
            GM_FIGURE_WIDTH, height, subject->number, figure->id);
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

/* Script of the whole picture: prelude (which needs the height that draw sets) and body. */
static gm_status picture(const gm_figure *figure, const gm_subject *subject, int height,
                         const buffer *body, char **svg, gm_error *err)
{
    buffer whole = {0};
    size_t size;
    gm_status status = buffer_open(&whole, err);
    if (status == GM_OK) {
        write_prelude(figure, subject, height, whole.stream);
        fwrite(body->bytes, 1, body->length, whole.stream);
        status = buffer_finish(&whole, err);
    }
    if (status == GM_OK)
        status = gm_gnuplot_run(figure->id, whole.bytes, whole.length, svg, &size, err);
    buffer_free(&whole);
    return status;
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

gm_status gm_figure_write(const gm_figure *figure, const gm_subject *subject, FILE *page,
                          gm_error *err)
{
    buffer script = {0}, caption = {0}, missing = {0};
    char *svg = NULL, id[64];
    snprintf(id, sizeof id, "r%zu%s", subject->number, figure->id);

    gm_status status = buffer_open(&script, err);
    if (status == GM_OK) status = buffer_open(&caption, err);
    if (status == GM_OK) status = buffer_open(&missing, err);
    gm_drawing drawing = {script.stream, caption.stream, missing.stream, 320};
    if (status == GM_OK) status = figure->draw(subject, &drawing, err);
    if (status == GM_OK) status = buffer_finish(&script, err);
    if (status == GM_OK) status = buffer_finish(&caption, err);
    if (status == GM_OK) status = buffer_finish(&missing, err);
    if (status == GM_OK && !missing.length)
        status = picture(figure, subject, drawing.height, &script, &svg, err);
    if (status == GM_OK) {
        fprintf(page, "<figure id=\"%s-figure\">\n<h4>", id);
        gm_html_formula(page, figure->title);
        fputs("</h4>\n", page);
        if (svg) status = gm_svg_inline(page, svg, id, figure->title, err);
        if (svg) {
            fprintf(page, "<figcaption>%s</figcaption>\n", caption.bytes);
        } else {
            fprintf(page, "<p class=\"missing\">%s</p>\n", missing.bytes);
        }
        fputs("</figure>\n", page);
    }

    buffer_free(&script);
    buffer_free(&caption);
    buffer_free(&missing);
    gm_free(svg);
    return status;
}
