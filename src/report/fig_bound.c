/* The generalization bound of a checkpoint: what it is made of, and its two terms layer by layer.
 */
#include <math.h>
#include <string.h>

#include "report/bound.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"

enum { PARTS = 4, TERMS = 2, ROWS = 3 };

static const struct {
    const char *key;
    gm_legend_entry legend;
} parts[PARTS] = {
    {"empirical", {NULL, 5, "blue", "Gibbs loss in training"}},
    {"monte_carlo", {NULL, 5, "sky", "finite draws"}},
    {"kl", {NULL, 5, "vermillion", "KL/{/:Italic n}"}},
    {"logarithm", {NULL, 5, "muted", "δ and choice of prior"}},
};

static const struct {
    const char *key;
    gm_legend_entry legend;
} terms[TERMS] = {
    {"effective_curvature", {NULL, 5, "orange", "effective curvature / 2"}},
    {"distance", {NULL, 5, "green", "squared distance / 2"}},
};

static const struct {
    const char *path, *label;
} rows[ROWS] = {
    {"budget", "0-1 error"},
    {"clipped_loss/budget", "clipped loss"},
    {"plain/budget", "0-1 error, {/:Italic λ} = 1"},
};

/* Bars: from, to, row and colour, one block for each part. Returns the number of rows. */
static int write_budget(const json_t *d, FILE *script)
{
    int shown = 0;
    double start[ROWS] = {0};
    const json_t *budget[ROWS];
    for (int r = 0; r < ROWS; r++) {
        budget[r] = gm_result_find(d, rows[r].path);
        shown += budget[r] != NULL;
    }
    for (int k = 0; k < PARTS; k++) {
        int row = shown;
        fprintf(script, "$%s << EOD\n", parts[k].key);
        for (int r = 0; r < ROWS; r++) {
            if (!budget[r]) continue;
            double share = gm_result_number(budget[r], parts[k].key);
            double y = --row;
            /* x, y, from, to, lower and upper edge of a box */
            if (isfinite(share)) {
                fprintf(script, "%.8g %g %.8g %.8g %g %g\n", start[r], y, start[r],
                        start[r] + share, y - 0.32, y + 0.32);
                start[r] += share;
            }
        }
        fputs("EOD\n", script);
    }
    return shown;
}

static void plot_budget(const json_t *d, const gm_layout *layout, const gm_legend_entry *legend,
                        int shown, FILE *script)
{
    gm_axis share = {GM_SCALE_LINEAR, 1.0, 0.0, 1.0};
    gm_panel(layout, 0, "", script);
    gm_axis_script(&share, "x", GM_LABELS_SHOWN, script);
    fprintf(script, "set yrange [-0.6:%g]\nunset ytics\nset xlabel \"bound on the Gibbs loss\"\n",
            shown - 0.4);
    int row = shown;
    for (int r = 0; r < ROWS; r++) {
        if (!gm_result_find(d, rows[r].path)) continue;
        row--;
        fprintf(script, "set label %d \"%s\" at 0,%g left offset 0.3,0 tc rgb ink\n", r + 1,
                rows[r].label, row + 0.42);
    }
    gm_legend(layout, -1, legend, PARTS + TERMS, script);
    for (int k = 0; k < PARTS; k++) {
        fprintf(script, "%s$%s using 1:2:3:4:5:6 with boxxyerror fs solid 0.85 noborder lc rgb %s",
                k ? ", " : "plot ", parts[k].key, parts[k].legend.band);
    }
    fputs("\n", script);
    gm_panel_end(script);
    for (int r = 0; r < ROWS; r++) {
        fprintf(script, "unset label %d\n", r + 1);
    }
}

/* Halves of the two terms per parameter layer. */
static double write_layers(const json_t *d, FILE *script)
{
    const json_t *layers = gm_result_find(d, "layers");
    double most = 0.0;
    for (int k = 0; k < TERMS; k++) {
        fprintf(script, "$%s << EOD\n", terms[k].key);
        for (size_t l = 0; l < json_array_size(layers); l++) {
            double value = 0.5 * gm_result_number(json_array_get(layers, l), terms[k].key);
            double x = (double)l + (k ? 0.2 : -0.2);
            if (!isfinite(value)) continue;
            fprintf(script, "%g %.8g %g\n", x, value, 0.36);
            most = fmax(most, value);
        }
        fputs("EOD\n", script);
    }
    return most;
}

static void plot_layers(const json_t *d, const gm_layout *layout, double most, FILE *script)
{
    const json_t *layers = gm_result_find(d, "layers");
    gm_axis axis = {GM_SCALE_LINEAR, 1.0, 0.0, most > 0.0 ? most : 1.0};
    size_t count = json_array_size(layers), every = 1 + count / 12;
    gm_panel(layout, 1, "share of KL", script);
    fputs("set ytics nomirror out scale 0.6,0.35\n", script); /* which the first panel took away */
    gm_axis_script(&axis, "y", GM_LABELS_SHOWN, script);
    fprintf(script, "set xrange [-0.6:%g]\nset xlabel \"layer\"\nset xtics (", (double)count - 0.4);
    for (size_t l = 0; l < count; l += every) {
        fprintf(script, "%s\"%zu\" %zu", l ? ", " : "", l + 1, l);
    }
    fputs(")\n", script);
    fputs("plot $effective_curvature using 1:2:3 with boxes fs solid 0.85 noborder lc rgb orange, "
          "$distance using 1:2:3 with boxes fs solid 0.85 noborder lc rgb green\n",
          script);
    gm_panel_end(script);
}

static void write_caption(const json_t *d, FILE *caption)
{
    fputs("Left: the bound on the Gibbs loss and what it is made of; it fails with probability at "
          "most ",
          caption);
    gm_html_number(caption, gm_result_number(d, "delta/total"));
    fputs(". 1 says nothing. Right: the two terms that the divergence is half the sum of, layer by "
          "layer; both stay under re-scaling of the layers. Prior scale <i>c</i>&nbsp;=&nbsp;",
          caption);
    gm_html_number(caption, gm_result_number(d, "prior/scale"));
    fputs(", posterior scale &lambda;&nbsp;=&nbsp;", caption);
    gm_html_number(caption, gm_result_number(d, "posterior/scale"));
    fputs(", KL&nbsp;=&nbsp;", caption);
    gm_html_number(caption, gm_result_number(d, "kl"));
    fputs(".", caption);
    if (json_is_false(gm_result_find(d, "valid"))) {
        fputs(" <strong>Not a valid bound:</strong> ", caption);
        const json_t *reasons = gm_result_find(d, "not_valid_because");
        for (size_t i = 0; i < json_array_size(reasons); i++) {
            if (i) fputs("; ", caption);
            gm_html_text(caption, json_string_value(json_array_get(reasons, i)));
        }
        fputs(".", caption);
    }
}

size_t gm_bounds_count(const gm_subject *subject, const char *key)
{
    size_t count = 0;
    for (size_t i = 0; i < subject->results; i++) {
        const gm_run_result *stored = subject->result[i].stored;
        count += strcmp(stored->command, "bound") == 0 && strcmp(stored->key, key) == 0;
    }
    return count;
}

const json_t *gm_bounds_find(const gm_subject *subject, const char *key, gm_drawing *drawing)
{
    size_t index = drawing->number;
    for (size_t i = 0; i < subject->results; i++) {
        const gm_run_result *stored = subject->result[i].stored;
        if (strcmp(stored->command, "bound") != 0 || strcmp(stored->key, key) != 0) continue;
        if (index-- > 0) continue;
        drawing->step = stored->step;
        if (stored->step < 0) fputs(", the point given", drawing->title);
        return subject->result[i].document;
    }
    return NULL;
}

static size_t count_bounds(const gm_subject *subject)
{
    return gm_bounds_count(subject, "bound");
}

static gm_status draw_bound(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    (void)err;
    FILE *script = drawing->script;
    gm_layout layout = {2, false, 380, 0, 0};
    gm_legend_entry legend[PARTS + TERMS];
    for (int k = 0; k < PARTS + TERMS; k++) {
        legend[k] = k < PARTS ? parts[k].legend : terms[k - PARTS].legend;
    }
    layout.top = 8 + GM_LEGEND_ROW * gm_legend_rows(&layout, -1, legend, PARTS + TERMS);
    const json_t *d = gm_bounds_find(subject, "bound", drawing);
    drawing->height = layout.height;
    int shown = write_budget(d, script);
    double most = write_layers(d, script);
    if (!shown) {
        fputs("The document holds no bound.", drawing->missing);
        return GM_OK;
    }
    fputs("set multiplot\n", script);
    plot_budget(d, &layout, legend, shown, script);
    plot_layers(d, &layout, most, script);
    fputs("unset multiplot\n", script);
    write_caption(d, drawing->caption);
    return GM_OK;
}

const gm_figure gm_figure_bound = {"bound", "The generalization bound", draw_bound, count_bounds};
