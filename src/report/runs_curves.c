/* Curves of several runs over one another: over the training, or over the dimension of a leading
 * subspace at the last step. */
#include <math.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/series.h"

enum { PANELS = 2, PANEL = 280, DECADES = 8, MOST_BANDS = 8, DOTTED = 40 };

/* What a figure shows: one or two quantities, over steps or over a dimension. */
typedef struct curves {
    gm_quantity panel[PANELS]; /* without a reader: not there */
    bool by_dimension;
    const char *caption; /* HTML */
} curves;

/* ---- series of all runs ---- */

typedef struct panel {
    const gm_quantity *quantity;
    gm_series *series; /* [runs] */
    gm_axis axis;
    bool errors;
} panel;

static void panel_free(panel *p, size_t runs)
{
    for (size_t i = 0; p->series && i < runs; i++) {
        gm_series_free(&p->series[i]);
    }
    gm_free(p->series);
    *p = (panel){0};
}

static gm_status choose_axis(panel *p, size_t runs, gm_error *err)
{
    size_t count = 0, used = 0;
    for (size_t i = 0; i < runs; i++) {
        count += p->series[i].count;
    }
    double *value = gm_alloc(count, sizeof *value, "values of a figure", err);
    if (!value) return GM_ERR_MEMORY;
    for (size_t i = 0; i < runs; i++) {
        for (size_t j = 0; j < p->series[i].count; j++) {
            value[used++] = p->series[i].y[j];
        }
    }
    p->axis = gm_axis_for(used, value, p->quantity->span, DECADES);
    if (p->axis.scale == GM_SCALE_LINEAR) p->axis.low = fmin(p->axis.low, 0.0);
    gm_free(value);
    return GM_OK;
}

/* *any is set where a run has something to draw. p is for panel_free in any case. */
static gm_status panel_read(const gm_runs *runs, const gm_quantity *quantity, panel *p, bool *any,
                            gm_error *err)
{
    *p = (panel){.quantity = quantity};
    *any = false;
    p->series = gm_alloc(runs->count, sizeof *p->series, "curves of runs", err);
    if (!p->series) return GM_ERR_MEMORY;
    for (size_t i = 0; i < runs->count; i++) {
        gm_status status = quantity->read(&runs->run[i], quantity, &p->series[i], err);
        if (status != GM_OK) return status;
        *any = *any || p->series[i].count;
        p->errors = p->errors || p->series[i].half;
    }
    p->errors = p->errors && runs->count <= MOST_BANDS;
    return choose_axis(p, runs->count, err);
}

/* ---- drawing ---- */

static void write_blocks(const gm_runs *runs, const panel *p, int column, const gm_axis *across,
                         FILE *script)
{
    for (size_t i = 0; i < runs->count; i++) {
        const gm_series *s = &p->series[i];
        if (!s->count) continue;
        fprintf(script, "$p%d_%zu << EOD\n", column, i);
        for (size_t j = 0; j < s->count; j++) {
            double x = gm_axis_place(across, s->x[j]), y = gm_axis_place(&p->axis, s->y[j]);
            if (!isfinite(x) || !isfinite(y)) continue;
            double half = s->half ? s->half[j] : 0.0;
            double low = gm_axis_place(&p->axis, fmax(s->y[j] - half, p->axis.low));
            double high = gm_axis_place(&p->axis, fmin(s->y[j] + half, 2.0 * p->axis.high));
            fprintf(script, "%.8g %.8g %.8g %.8g\n", x, y, isfinite(low) ? low : y,
                    isfinite(high) ? high : y);
        }
        fputs("EOD\n", script);
    }
}

/* Later runs first, so that of two that coincide the first stays visible. */
static void plot_panel(const gm_runs *runs, const panel *p, int column, FILE *script)
{
    const char *separator = "plot ", *width = runs->count <= MOST_BANDS ? "1.8" : "1.2";
    for (size_t i = runs->count; i-- > 0;) {
        char line[64];
        const char *colour;
        if (!p->series[i].count) continue;
        gm_runs_line(runs, runs->group[i], line, &colour);
        if (p->errors && p->series[i].half) {
            fprintf(script,
                    "%s$p%d_%zu using 1:3:4 with filledcurves fs solid 0.2 noborder fc rgb %s",
                    separator, column, i, colour);
            separator = ", ";
        }
        fprintf(script, "%s$p%d_%zu using 1:2 with %s lw %s %s", separator, column, i,
                p->series[i].count <= DOTTED ? "linespoints pt 7 ps 0.3" : "lines", width, line);
        separator = ", ";
    }
    fputs("\n", script);
}

/* One entry a group; none where groups are too many to be told apart. */
static size_t fill_legend(const gm_runs *runs, gm_legend_entry *entry, char (*line)[64])
{
    if (runs->groups > GM_RUNS_TOLD) return 0;
    for (size_t g = 0; g < runs->groups; g++) {
        const char *colour;
        gm_runs_line(runs, g, line[g], &colour);
        entry[g] = (gm_legend_entry){.line = line[g]};
        snprintf(entry[g].label, sizeof entry[g].label, "'%s", runs->label[g]);
    }
    return runs->groups;
}

static gm_axis dimension_axis(const gm_runs *runs, const panel *p, int panels)
{
    double most = 1.0;
    for (int c = 0; c < panels; c++) {
        for (size_t i = 0; i < runs->count; i++) {
            most = fmax(most, (double)p[c].series[i].count);
        }
    }
    return (gm_axis){GM_SCALE_LINEAR, 1.0, 1.0, most};
}

static void write_script(const gm_runs *runs, const curves *shown, const panel *p, int panels,
                         gm_drawing *drawing)
{
    FILE *script = drawing->script;
    gm_legend_entry entry[GM_RUNS_TOLD];
    char line[GM_RUNS_TOLD][64];
    size_t entries = fill_legend(runs, entry, line);
    gm_axis across = shown->by_dimension ? dimension_axis(runs, p, panels) : runs->step_axis;
    gm_layout layout = {panels, false, 0, 0, 0};
    layout.top = gm_legend_rows(&layout, -1, entry, entries) * GM_LEGEND_ROW + 10;
    layout.height = drawing->height = layout.top + PANEL;
    for (int c = 0; c < panels; c++) {
        write_blocks(runs, &p[c], c, &across, script);
    }
    fprintf(script, "set multiplot\nset xlabel \"%s\"\n",
            shown->by_dimension ? "dimension {/:Italic k}" : "training step");
    gm_axis_script(&across, "x", GM_LABELS_SHOWN, script);
    for (int c = 0; c < panels; c++) {
        gm_panel(&layout, c, p[c].quantity->label, script);
        if (c == 0) gm_legend(&layout, -1, entry, entries, script);
        gm_axis_script(&p[c].axis, "y", GM_LABELS_SHOWN, script);
        plot_panel(runs, &p[c], c, script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
}

static void write_caption(const gm_runs *runs, const curves *shown, gm_drawing *drawing)
{
    FILE *caption = drawing->caption;
    fputs(shown->caption, caption);
    if (runs->by) {
        fputs(" The runs are coloured by <code>", caption);
        gm_html_text(caption, runs->by);
        fputs("</code> alone: there are too many to tell each apart.", caption);
    } else if (runs->groups > GM_RUNS_TOLD) {
        fputs(" The runs are too many to tell apart.", caption);
    } else if (runs->groups < runs->count) {
        fputs(" Runs that differ in their seeds alone are drawn alike.", caption);
    }
}

static gm_status draw(const gm_runs *runs, const gm_runs_figure *figure, gm_drawing *drawing,
                      gm_error *err)
{
    const curves *shown = figure->shows;
    panel p[PANELS] = {{0}};
    int panels = 0;
    gm_status status = GM_OK;
    for (int c = 0; c < PANELS && status == GM_OK; c++) {
        bool any;
        if (!shown->panel[c].read) continue;
        status = panel_read(runs, &shown->panel[c], &p[panels], &any, err);
        if (status == GM_OK && any) {
            panels++;
        } else {
            panel_free(&p[panels], runs->count);
        }
    }
    if (status == GM_OK && panels) {
        write_script(runs, shown, p, panels, drawing);
        write_caption(runs, shown, drawing);
    } else if (status == GM_OK) {
        fputs("The run files hold no numbers for this figure.", drawing->missing);
    }
    for (int c = 0; c < panels; c++) {
        panel_free(&p[c], runs->count);
    }
    return status;
}

/* ---- the figures ---- */

static const curves loss = {
    {{gm_series_metric, GM_SUBJECT_LOSS, -1, NULL, 1.0, "training loss", 30.0},
     {gm_series_metric, GM_SUBJECT_TEST_LOSS, -1, NULL, 1.0, "test loss", 30.0}},
    false,
    "The loss, mean over all samples, of each run: on the training set and, where there is one, on "
    "the test set."};
static const curves error = {
    {{gm_series_metric, GM_SUBJECT_ERROR, -1, NULL, 100.0, "training error (% of samples)",
      HUGE_VAL},
     {gm_series_metric, GM_SUBJECT_TEST_ERROR, -1, NULL, 100.0, "test error (% of samples)",
      HUGE_VAL}},
    false,
    "The share of samples whose largest output is not their label. The difference between the two "
    "is the gap."};
static const curves extremes = {
    {{gm_series_largest, 0, -1, "operators/hessian/max", 1.0, "largest eigenvalue of {/:Italic H}",
      30.0},
     {gm_series_points, 0, -1, "operators/hessian/min", 1.0, "smallest eigenvalue of {/:Italic H}",
      100.0}},
    false,
    "Both ends of the spectrum of the Hessian <i>H</i> at the steps looked at."};
static const curves residual = {
    {{gm_series_points, 0, -1, "moment_trace_share", 1.0, "tr {/:Italic M} / tr {/:Italic H}",
      30.0},
     {gm_series_points, 0, -1, "residual_plus_hessian", 1.0,
      "‖{/:Italic H}_p + {/:Italic H}‖ / ‖{/:Italic H}‖", 30.0}},
    false,
    "What the second moment <i>M</i> of stochastic gradients still has of the curvature, and how "
    "far the residual <i>H</i><sub>p</sub>&nbsp;=&nbsp;<i>M</i>&nbsp;&minus;&nbsp;<i>H</i> is from "
    "&minus;<i>H</i>. Near 0 on both sides <i>M</i> has died out; of order 1 labels are not "
    "fitted."};
static const curves overlap = {
    {{gm_series_overlap, 0, -1, NULL, 1.0, "overlap of {/:Italic H} and {/:Italic M}", HUGE_VAL},
     {gm_series_array, 0, -1, "cosines", 1.0, "cosine of principal angle", HUGE_VAL}},
    true,
    "At the last step that was decomposed. Left: the overlap &#8214;<i>U</i><sub>k</sub><sup>T"
    "</sup><i>V</i><sub>k</sub>&#8214;<sub>F</sub><sup>2</sup>&nbsp;/&nbsp;<i>k</i> of the spans "
    "of the top <i>k</i> eigenvectors of <i>H</i> and <i>M</i>: 1 for the same subspace. Right: "
    "the cosines of the principal angles between the two leading subspaces, the smallest angle "
    "first."};
static const curves gauges = {
    {{gm_series_metric, GM_SUBJECT_BATCH_SHARPNESS, GM_SUBJECT_BATCH_SHARPNESS_ERROR, NULL, 1.0,
      "Batch Sharpness", 30.0},
     {gm_series_metric, GM_SUBJECT_NOISE_SCALE, GM_SUBJECT_NOISE_SCALE_ERROR, NULL, 1.0,
      "noise scale (samples)", 30.0}},
    false,
    "Running means over each training's own batches, with bands of one standard error where the "
    "runs are few. Batch Sharpness is the curvature of a batch's loss along its gradient; the "
    "noise scale is the batch size at which signal and noise of the gradient balance."};
static const curves way = {
    {{gm_series_metric, GM_SUBJECT_GRADIENT, -1, NULL, 1.0, "norm of the gradient", 30.0},
     {gm_series_metric, GM_SUBJECT_DISTANCE, -1, NULL, 1.0, "distance from the start", 30.0}},
    false,
    "The norm of the gradient of the whole training set, and how far the parameters are from the "
    "initialization."};
static const curves bound = {
    {{gm_series_bound, 0, -1, "bound", 1.0, "bound on the 0–1 error", HUGE_VAL},
     {gm_series_bound, 0, -1, "kl", 1.0, "KL", 30.0}},
    false,
    "The generalization bound at the checkpoints that were certified, and its divergence KL from "
    "the prior. A bound of 1 says nothing."};

static const gm_runs_figure figures[] = {
    {"loss", "Loss of all runs", draw, NULL, &loss},
    {"error", "Wrong predictions of all runs", draw, NULL, &error},
    {"extremes", "Extreme eigenvalues of H in all runs", draw, NULL, &extremes},
    {"residual", "Does M die out? All runs", draw, NULL, &residual},
    {"overlap", "Leading subspaces of H and M in all runs", draw, NULL, &overlap},
    {"gauges", "Batch Sharpness and noise scale of all runs", draw, NULL, &gauges},
    {"way", "Gradient and distance of all runs", draw, NULL, &way},
    {"bound", "The bound in all runs", draw, NULL, &bound},
};

const gm_runs_figure *const gm_runs_figures[] = {&gm_runs_figure_errors,
                                                 &gm_runs_figure_curvature,
                                                 &gm_runs_figure_agreement,
                                                 &gm_runs_figure_certificate,
                                                 &figures[0],
                                                 &figures[1],
                                                 &figures[2],
                                                 &figures[3],
                                                 &figures[4],
                                                 &figures[5],
                                                 &figures[6],
                                                 &figures[7],
                                                 NULL};
