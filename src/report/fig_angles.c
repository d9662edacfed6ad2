/* Cosines of the principal angles between the leading subspaces of H and M over training. */
#include <math.h>

#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"

static gm_status write_column(const gm_subject_point *point, size_t column, size_t *tallest,
                              FILE *script, gm_error *err)
{
    gm_numbers cosine;
    gm_status status = gm_result_numbers(point->document, "cosines", &cosine, err);
    if (status != GM_OK) return status;
    for (size_t i = 0; i < cosine.rows; i++) {
        gm_tile(script, (double)column, (double)(i + 1), cosine.value[i]);
    }
    if (cosine.finite && cosine.rows > *tallest) *tallest = cosine.rows;
    gm_numbers_free(&cosine);
    return GM_OK;
}

static void write_caption(const gm_subject *subject, size_t angles, FILE *caption)
{
    double parameters = gm_result_number(subject->decomposition, "size");
    fprintf(
        caption,
        "Each column is one step; its tiles are the cosines of the %zu principal angles between "
        "the span of the top %zu eigenvectors of <i>H</i> and that of <i>M</i>, the smallest "
        "angle on top. Full colour (1) is a direction that both subspaces share, an "
        "empty tile (0) one that is orthogonal to the other subspace.",
        angles, angles);
    if (parameters > 0.0) {
        fputs(" For two random subspaces of that dimension the squares of all cosines would have "
              "the mean ",
              caption);
        gm_html_number(caption, (double)angles / parameters);
        fputs(".", caption);
    }
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    FILE *script = drawing->script;
    size_t tallest = 0;
    fputs("$tiles << EOD\n", script);
    for (size_t t = 0; t < subject->points; t++) {
        gm_status status = write_column(&subject->point[t], t, &tallest, script, err);
        if (status != GM_OK) return status;
    }
    fputs("EOD\n", script);
    if (!tallest) {
        fputs("The run file holds no principal angles between the leading subspaces of <i>H</i> "
              "and <i>M</i>.",
              drawing->missing);
        return GM_OK;
    }
    gm_layout layout = {1, false, 380, GM_TITLE_ROW, 0};
    fputs("set multiplot\nunset grid\nset border 0\n", script);
    gm_panel(&layout, 0, "principal angle", script);
    fputs("set rmargin at screen 0.87\n", script);
    fprintf(script, "set xrange [-0.6:%.1f]\nset yrange [%.1f:0.4]\n",
            (double)subject->points - 0.4, (double)tallest + 0.6);
    fputs("set xlabel \"training step\"\n"
          "set xtics scale 0 (",
          script);
    size_t every = 1 + (subject->points - 1) / 14; /* so that labels do not touch */
    const char *separator = "";
    for (size_t t = 0; t < subject->points; t += every) {
        fprintf(script, "%s\"%lld\" %zu", separator, (long long)subject->point[t].step, t);
        separator = ", ";
    }
    fprintf(script, ")\nset ytics scale 0 1,%d\n", tallest > 20 ? 5 : 2);
    gm_plot_tiles(script, "tiles");
    gm_panel_end(script);
    gm_tile_key(&layout, script, "cosine");
    fputs("unset multiplot\n", script);
    drawing->height = layout.height;
    write_caption(subject, tallest, drawing->caption);
    return GM_OK;
}

const gm_figure gm_figure_angles = {"angles",
                                    "Principal angles between the leading subspaces of H and M",
                                    draw, gm_figure_of_decomposition};
