/* The leading subspace of H over training: its share of the gradient, and its overlap with its own
 * past. */
#include <math.h>

#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"

typedef struct curve {
    const char *block, *path; /* of a number, or of an array over k whose last entry is shown */
    gm_legend_entry legend;
} curve;

enum { CURVES = 2 };

static const curve share_curves[CURVES] = {
    {"share", "gradient_share", {"dt 1 lc rgb blue", 7, NULL, "full"}},
    {"stochastic",
     "stochastic_gradient_share/value",
     {"dt (7,3) lc rgb vermillion", 5, NULL, "batches"}},
};
static const curve past_curves[CURVES] = {
    {"previous", "past/previous/value", {"dt 1 lc rgb blue", 7, NULL, "previous"}},
    {"first", "past/first/value", {"dt (7,3) lc rgb orange", 5, NULL, "first"}},
};
static const gm_legend_entry random_legend = {"dt (2,3) lc rgb ink", 0, NULL, "random"};

/* The number at path; of an array over k the last one. */
static double value_at(const json_t *document, const char *path)
{
    const json_t *found = gm_result_find(document, path);
    if (json_is_array(found)) found = json_array_get(found, json_array_size(found) - 1);
    return json_is_number(found) ? json_number_value(found) : (double)NAN;
}

/* Returns whether there is anything to see. */
static bool write_curve(const gm_subject *subject, const curve *c, FILE *script)
{
    bool filled = false;
    fprintf(script, "$%s << EOD\n", c->block);
    for (size_t t = 0; t < subject->points; t++) {
        double value = value_at(subject->point[t].document, c->path);
        filled = filled || isfinite(value);
        gm_data_point(script, gm_axis_place(&subject->step_axis, (double)subject->point[t].step),
                      value);
    }
    fputs("EOD\n", script);
    return filled;
}

/* The entries that panel `column` needs; returns how many. */
static size_t fill_legend(const curve curves[CURVES], const bool filled[CURVES], bool random,
                          gm_legend_entry entry[CURVES + 1])
{
    size_t count = 0;
    for (int i = 0; i < CURVES; i++) {
        if (filled[i]) entry[count++] = curves[i].legend;
    }
    if (random) entry[count++] = random_legend;
    return count;
}

static void plot_panel(const curve curves[CURVES], const bool filled[CURVES], double random,
                       FILE *script)
{
    const char *separator = "plot ";
    for (int i = 0; i < CURVES; i++) {
        if (!filled[i]) continue;
        fprintf(script, "%s$%s with linespoints lw 2 ps 0.5 pt %d %s", separator, curves[i].block,
                curves[i].legend.point, curves[i].legend.line);
        separator = ", ";
    }
    if (random > 0.0)
        fprintf(script, "%s%.8g with lines lw 1.4 %s", separator, random, random_legend.line);
    fputs("\n", script);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    (void)err;
    if (!gm_drawing_has_course(subject, drawing)) return GM_OK;
    FILE *script = drawing->script;
    bool share[CURVES], past[CURVES];
    for (int i = 0; i < CURVES; i++) {
        share[i] = write_curve(subject, &share_curves[i], script);
        past[i] = write_curve(subject, &past_curves[i], script);
    }
    bool left = share[0] || share[1], right = past[0] || past[1];
    int panels = (left ? 1 : 0) + (right ? 1 : 0);
    if (!panels) {
        fputs("The run file holds neither the gradient's share in the leading subspace of "
              "<i>H</i> nor that subspace's overlap with its own past.",
              drawing->missing);
        return GM_OK;
    }
    double size = gm_result_number(subject->decomposition, "size");
    double k = gm_result_number(subject->decomposition, "k");
    double random = k / size;
    gm_legend_entry left_entry[CURVES + 1], right_entry[CURVES + 1];
    size_t left_count = fill_legend(share_curves, share, random > 0.0, left_entry);
    size_t right_count = fill_legend(past_curves, past, random > 0.0, right_entry);
    gm_layout layout = {panels, false, 0, 0, 0};
    int left_rows = left ? gm_legend_rows(&layout, 0, left_entry, left_count) : 0;
    int right_rows = right ? gm_legend_rows(&layout, panels - 1, right_entry, right_count) : 0;
    layout.top = GM_LEGEND_ROW * (left_rows > right_rows ? left_rows : right_rows) + GM_TITLE_ROW;
    layout.height = layout.top + 280;
    drawing->height = layout.height;
    fputs("set multiplot\nset xlabel \"training step\"\nset yrange [0:1.02]\n", script);
    gm_axis_script(&subject->step_axis, "x", GM_LABELS_SHOWN, script);
    if (left) {
        gm_panel(&layout, 0, "share", script);
        gm_legend(&layout, 0, left_entry, left_count, script);
        fputs("set title \"gradient within the subspace\"\n", script);
        plot_panel(share_curves, share, random, script);
        gm_panel_end(script);
    }
    if (right) {
        gm_panel(&layout, panels - 1, "overlap", script);
        gm_legend(&layout, panels - 1, right_entry, right_count, script);
        fputs("set title \"overlap with earlier checkpoints\"\n", script);
        plot_panel(past_curves, past, random, script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
    FILE *caption = drawing->caption;
    fputs("Left: the share of the gradient's squared length that lies in the span of the top ",
          caption);
    gm_html_number(caption, k);
    fputs(" eigenvectors of <i>H</i>, for the gradient of the whole loss and, on average, for "
          "those of mini-batches. Right: the overlap of that span with the one at the checkpoint "
          "before and with the first one. A random subspace would give "
          "<i>k</i>/<i>p</i>&nbsp;=&nbsp;",
          caption);
    gm_html_number(caption, random);
    fputs(" (dotted).", caption);
    return GM_OK;
}

const gm_figure gm_figure_subspace = {"subspace", "The leading subspace of H over training", draw,
                                      gm_figure_of_decomposition};
