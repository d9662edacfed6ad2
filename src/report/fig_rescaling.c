/* Measures and the bound before and after re-scalings that leave the function alone. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/bound.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"

enum { SHOWN = 6, DECADES = 16 };

/* What is followed, and how it is drawn; the bound last, on top. */
static const struct {
    const char *path;
    double size;
    gm_legend_entry legend;
} shown[SHOWN] = {
    {"measures/lambda_max/value", 0.6, {NULL, 7, "vermillion", "{/:Italic λ}_{max}({/:Italic H})"}},
    {"measures/trace/value", 0.6, {NULL, 5, "orange", "tr {/:Italic H}"}},
    {"measures/sharpness/value", 0.8, {NULL, 9, "purple", "sharpness"}},
    {"measures/distance/value", 0.8, {NULL, 11, "green", "distance from the initialization"}},
    {"terms/kl", 1.1, {NULL, 6, "ink", "KL"}},
    {"terms/bound", 0.5, {NULL, 7, "blue", "the bound"}},
};

/* The value of one quantity in case i over that in case 0. */
static double ratio(const json_t *cases, size_t i, const char *path)
{
    return gm_result_number(json_array_get(cases, i), path) /
           gm_result_number(json_array_get(cases, 0), path);
}

static void write_caption(const json_t *d, FILE *caption)
{
    fputs(
        "Layers multiplied by random factors whose product is 1, biases and initialization along "
        "with them: the function stays the same. On the horizontal axis the largest factor or its "
        "inverse, on the vertical one each quantity over its value before. Curvature and norms "
        "move without limit; divergence and bound stay, to a relative change of ",
        caption);
    gm_html_number(caption, gm_result_number(d, "rescaling/max_relative_change"));
    fputs(" at the most.", caption);
}

static gm_status write_script(const json_t *d, gm_drawing *drawing, gm_error *err)
{
    const json_t *cases = gm_result_find(d, "rescaling/cases");
    size_t count = json_array_size(cases), values = 0;
    FILE *script = drawing->script;
    gm_legend_entry legend[SHOWN];
    double *all = gm_alloc((SHOWN + 1) * count, sizeof *all, "re-scalings", err);
    gm_status status = all ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        double *magnitude = all + SHOWN * count;
        for (size_t i = 0; i < count; i++) {
            magnitude[i] = gm_result_number(json_array_get(cases, i), "magnitude");
            for (int k = 0; k < SHOWN; k++) {
                all[values++] = ratio(cases, i, shown[k].path);
            }
        }
        gm_axis x = gm_axis_for(count, magnitude, 0.0, DECADES);
        gm_axis y = gm_axis_for(values, all, 0.0, DECADES);
        for (int k = 0; k < SHOWN; k++) {
            legend[k] = shown[k].legend;
            fprintf(script, "$series%d << EOD\n", k);
            for (size_t i = 0; i < count; i++) {
                gm_data_point(script, gm_axis_place(&x, magnitude[i]),
                              gm_axis_place(&y, ratio(cases, i, shown[k].path)));
            }
            fputs("EOD\n", script);
        }
        gm_layout layout = {1, false, 380, 0, 0};
        layout.top = GM_LEGEND_ROW * gm_legend_rows(&layout, 0, legend, SHOWN);
        drawing->height = layout.height;
        gm_panel(&layout, 0, "over the value before", script);
        gm_axis_script(&x, "x", GM_LABELS_SHOWN, script);
        gm_axis_script(&y, "y", GM_LABELS_SHOWN, script);
        gm_legend(&layout, 0, legend, SHOWN, script);
        fputs("set xlabel \"largest factor of a layer, or its inverse\"\n", script);
        for (int k = 0; k < SHOWN; k++) {
            fprintf(script, "%s$series%d with points pt %d ps %g lc rgb %s", k ? ", " : "plot ", k,
                    shown[k].legend.point, shown[k].size, shown[k].legend.band);
        }
        fputs("\n", script);
        gm_panel_end(script);
        write_caption(d, drawing->caption);
    }
    gm_free(all);
    return status;
}

static size_t count_of(const gm_subject *subject)
{
    return gm_bounds_count(subject, "rescale");
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *d = gm_bounds_find(subject, "rescale", drawing);
    if (json_array_size(gm_result_find(d, "rescaling/cases")) < 2) {
        fputs("The document holds no re-scaled net.", drawing->missing);
        return GM_OK;
    }
    return write_script(d, drawing, err);
}

const gm_figure gm_figure_rescaling = {"rescaling", "Re-scaled layers: the same function", draw,
                                       count_of};
