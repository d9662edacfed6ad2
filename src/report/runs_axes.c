/* What runs came to against a setting that is a number: batch size, share of random labels, number
 * of samples, step size. One line for the runs that agree in all other settings that name them;
 * those that differ in their seeds alone are averaged, with the standard error of the mean. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/runs_lines.h"
#include "report/series.h"

enum { PANELS = 2, PANEL = 280, DECADES = 8, LONGEST_LEGEND = 12 };

/* The settings that can be an axis. */
static const struct {
    const char *key, *label, *title;
    double factor, span;
} axes[] = {{"train.batch", "batch size", "batch size", 1.0, 8.0},
            {"random_labels", "random labels (%)", "share of random labels", 100.0, HUGE_VAL},
            {"subset", "training samples", "number of samples", 1.0, 8.0},
            {"train.step", "step size", "step size", 1.0, 8.0}};
enum { AXES = sizeof axes / sizeof *axes };

/* One quantity: its last value, or number `index` of an array. */
typedef struct shown_panel {
    gm_quantity quantity; /* without a reader: not there */
    size_t index;         /* from 1; 0: the last */
} shown_panel;

typedef struct shown {
    shown_panel panel[PANELS];
    const char *caption;       /* HTML */
    const char *alone[PANELS]; /* of one panel without the other; NULL: the same */
} shown;

/* ---- the axis ---- */

/* Whether a setting is a number in all runs, and not always the same. Policies have no step size
 * that could stand on an axis. */
static bool is_axis(const gm_runs *runs, const char *key)
{
    bool varies = false;
    if (strcmp(key, "train.step") == 0 && gm_runs_told(runs, "train.policy")) return false;
    double first = gm_runs_number(&runs->run[0], key);
    for (size_t i = 0; i < runs->count; i++) {
        double value = gm_runs_number(&runs->run[i], key);
        if (!isfinite(value)) return false;
        varies = varies || value != first;
    }
    return varies;
}

static size_t count(const gm_runs *runs)
{
    size_t found = 0;
    for (int a = 0; a < AXES; a++) {
        found += is_axis(runs, axes[a].key);
    }
    return found;
}

static int axis_of_number(const gm_runs *runs, size_t number)
{
    int a = 0;
    while (a < AXES && (!is_axis(runs, axes[a].key) || number-- > 0)) {
        a++;
    }
    return a;
}

/* ---- lines ---- */

/* A mean over runs that differ in their seeds alone. */
typedef struct point {
    size_t line;
    double x, mean, half; /* half: standard error of the mean, 0 for one run */
    double squares;
    size_t runs;
} point;

/* NaN where the run has not got it, or ended where it is not finite. */
static gm_status value_of(const gm_subject *run, const shown_panel *p, double *value, gm_error *err)
{
    gm_series series = {0};
    const gm_subject_metric *metric = &run->metric[p->quantity.metric];
    *value = (double)NAN;
    if (p->quantity.read == gm_series_metric &&
        (!metric->count || !isfinite(metric->value[metric->count - 1])))
        return GM_OK;
    gm_status status = p->quantity.read(run, &p->quantity, &series, err);
    size_t at = p->index ? p->index : series.count;
    *value = status == GM_OK && at >= 1 && at <= series.count ? series.y[at - 1] : (double)NAN;
    gm_series_free(&series);
    return status;
}

static int by_place(const void *a, const void *b)
{
    const point *p = a, *q = b;
    if (p->line != q->line) return p->line < q->line ? -1 : 1;
    return p->x < q->x ? -1 : p->x > q->x;
}

/* *points [*count], by line and place, the caller's. */
static gm_status collect(const gm_runs *runs, const gm_runs_lines *l, const shown_panel *p,
                         point **points, size_t *found, gm_error *err)
{
    *found = 0;
    *points = gm_alloc(runs->count, sizeof **points, "points of a figure", err);
    if (!*points) return GM_ERR_MEMORY;
    for (size_t i = 0; i < runs->count; i++) {
        double value, x = gm_runs_number(&runs->run[i], l->key);
        if (l->of_run[i] == GM_RUNS_NO_LINE) continue;
        gm_status status = value_of(&runs->run[i], p, &value, err);
        if (status != GM_OK) return status;
        if (!isfinite(value)) continue;
        size_t j = 0;
        while (j < *found && ((*points)[j].line != l->of_run[i] || (*points)[j].x != x)) {
            j++;
        }
        point *at = *points + j;
        if (j == *found) at = &(*points)[(*found)++], *at = (point){.line = l->of_run[i], .x = x};
        double change = value - at->mean; /* Welford's running mean and squares */
        at->mean += change / (double)++at->runs;
        at->squares += change * (value - at->mean);
    }
    for (size_t j = 0; j < *found; j++) {
        double k = (double)(*points)[j].runs;
        if (k > 1.0) (*points)[j].half = sqrt((*points)[j].squares / (k * (k - 1.0)));
    }
    qsort(*points, *found, sizeof **points, by_place);
    return GM_OK;
}

/* ---- drawing ---- */

typedef struct panel {
    const gm_quantity *quantity;
    point *point;
    size_t points;
    gm_axis axis;
} panel;

static gm_status choose_axis(panel *p, gm_error *err)
{
    double *value = gm_alloc(2 * p->points, sizeof *value, "values of a figure", err);
    if (!value) return GM_ERR_MEMORY;
    for (size_t i = 0; i < p->points; i++) {
        const point *at = &p->point[i];
        bool crosses = at->mean > 0.0 && at->half >= at->mean; /* no reason for a signed axis */
        value[2 * i] = crosses ? at->mean : at->mean - at->half;
        value[2 * i + 1] = at->mean + at->half;
    }
    p->axis = gm_axis_for(2 * p->points, value, p->quantity->span, DECADES);
    if (p->axis.scale == GM_SCALE_LINEAR) p->axis.low = fmin(p->axis.low, 0.0);
    gm_free(value);
    return GM_OK;
}

/* One axis for all panels, with room for the points of each: a run may have one quantity and lack
 * the other. */
static gm_status choose_across(const panel *p, int panels, int a, gm_axis *across, gm_error *err)
{
    size_t count = 0, used = 0;
    for (int c = 0; c < panels; c++) {
        count += p[c].points;
    }
    double *value = gm_alloc(count, sizeof *value, "values of a figure", err);
    if (!value) return GM_ERR_MEMORY;
    for (int c = 0; c < panels; c++) {
        for (size_t i = 0; i < p[c].points; i++) {
            value[used++] = p[c].point[i].x * axes[a].factor;
        }
    }
    *across = gm_axis_for(count, value, axes[a].span, DECADES);
    gm_free(value);
    return GM_OK;
}

static void line_style(size_t line, size_t count, char text[64], const char **colour)
{
    static const char *const colours[] = {"blue",   "vermillion", "green", "purple",
                                          "orange", "sky",        "ink"};
    static const char *const dashes[] = {"dt 1", "dt (7,3)", "dt (2,2)"};
    enum { COLOURS = sizeof colours / sizeof *colours, TOLD = 3 * COLOURS };
    bool told = count <= TOLD;
    *colour = told ? colours[line % COLOURS] : "muted";
    snprintf(text, 64, "%s lc rgb %s", told ? dashes[line / COLOURS] : "dt 1", *colour);
}

static void write_blocks(const panel *p, int column, const gm_axis *across, double factor,
                         const gm_runs_lines *l, FILE *script)
{
    size_t i = 0;
    for (size_t line = 0; line < l->count; line++) {
        fprintf(script, "$a%d_%zu << EOD\n", column, line);
        for (; i < p->points && p->point[i].line == line; i++) {
            const point *at = &p->point[i];
            double x = gm_axis_place(across, at->x * factor);
            double y = gm_axis_place(&p->axis, at->mean);
            double low = gm_axis_place(&p->axis, fmax(at->mean - at->half, p->axis.low));
            double high = gm_axis_place(&p->axis, at->mean + at->half);
            if (!isfinite(x) || !isfinite(y)) continue;
            fprintf(script, "%.8g %.8g %.8g %.8g\n", x, y, isfinite(low) ? low : y,
                    isfinite(high) ? high : y);
        }
        fputs("EOD\n", script);
    }
}

static bool has_points(const panel *p, size_t line)
{
    for (size_t i = 0; i < p->points; i++) {
        if (p->point[i].line == line) return true;
    }
    return false;
}

static void plot_panel(const panel *p, int column, const gm_runs_lines *l, FILE *script)
{
    const char *separator = "plot ";
    for (size_t line = 0; line < l->count; line++) {
        char text[64];
        const char *colour;
        if (!has_points(p, line)) continue;
        line_style(line, l->count, text, &colour);
        fprintf(script,
                "%s$a%d_%zu using 1:2 with lines lw 1.6 %s, "
                "$a%d_%zu using 1:2 with points pt 7 ps 0.5 lc rgb %s, "
                "$a%d_%zu using 1:3:(0):($4-$3) with vectors nohead lw 1.2 lc rgb %s",
                separator, column, line, text, column, line, colour, column, line, colour);
        separator = ", ";
    }
    fputs("\n", script);
}

static size_t fill_legend(const gm_runs *runs, const gm_runs_lines *l, gm_legend_entry *entry,
                          char (*text)[64])
{
    const char *key[GM_RUNS_KEYS];
    if (l->count > LONGEST_LEGEND) return 0;
    size_t keys = gm_runs_lines_keys(runs, l, key);
    for (size_t line = 0; line < l->count; line++) {
        const char *colour;
        line_style(line, l->count, text[line], &colour);
        entry[line] = (gm_legend_entry){.line = text[line], .point = 7};
        char label[GM_RUNS_LABEL];
        gm_runs_lines_label(runs, l, line, key, keys, label);
        snprintf(entry[line].label, sizeof entry[line].label, "'%s", label);
    }
    return l->count;
}

static void write_script(const gm_runs *runs, int a, const gm_runs_lines *l, const panel *p,
                         int panels, const gm_axis *across, gm_drawing *drawing)
{
    FILE *script = drawing->script;
    gm_legend_entry entry[LONGEST_LEGEND];
    char text[LONGEST_LEGEND][64];
    size_t entries = fill_legend(runs, l, entry, text);
    gm_layout layout = {panels, false, 0, 0, 0};
    layout.top = gm_legend_rows(&layout, -1, entry, entries) * GM_LEGEND_ROW + 10;
    layout.height = drawing->height = layout.top + PANEL;
    for (int c = 0; c < panels; c++) {
        write_blocks(&p[c], c, across, axes[a].factor, l, script);
    }
    fprintf(script, "set multiplot\nset xlabel \"%s\"\n", axes[a].label);
    gm_axis_script(across, "x", GM_LABELS_SHOWN, script);
    for (int c = 0; c < panels; c++) {
        gm_panel(&layout, c, p[c].quantity->label, script);
        if (c == 0) gm_legend(&layout, -1, entry, entries, script);
        gm_axis_script(&p[c].axis, "y", GM_LABELS_SHOWN, script);
        plot_panel(&p[c], c, l, script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
}

static void write_common(const gm_runs *runs, const gm_runs_lines *l, FILE *caption)
{
    char text[GM_RUNS_LABEL];
    gm_runs_lines_common(runs, l, text);
    if (!*text) return;
    fputs(" All of ", caption);
    gm_html_text(caption, text);
    fputs(".", caption);
}

static void write_caption(const gm_runs *runs, const shown *what, int a, const gm_runs_lines *l,
                          const panel *p, int panels, FILE *caption)
{
    bool averaged = false;
    for (int c = 0; c < panels; c++) {
        for (size_t i = 0; i < p[c].points; i++) {
            averaged = averaged || p[c].point[i].runs > 1;
        }
    }
    const char *alone = panels == 1 ? what->alone[p[0].quantity != &what->panel[0].quantity] : NULL;
    fputs(alone ? alone : what->caption, caption);
    fprintf(caption, " Against the %s, at the last step of each run.", axes[a].title);
    if (averaged)
        fputs(" Points are means over runs that differ in their seeds alone, bars one standard "
              "error of the mean to either side.",
              caption);
    write_common(runs, l, caption);
    if (l->alone) fputs(" Runs that no other differs from in this alone are left out.", caption);
    if (l->count > LONGEST_LEGEND)
        fputs(" A line joins runs that agree in all else; there are too many to be named.",
              caption);
}

static gm_status read_panel(const gm_runs *runs, const gm_runs_lines *l, const shown_panel *what,
                            panel *p, gm_error *err)
{
    *p = (panel){.quantity = &what->quantity};
    gm_status status = collect(runs, l, what, &p->point, &p->points, err);
    return status == GM_OK && p->points ? choose_axis(p, err) : status;
}

static gm_status draw(const gm_runs *runs, const gm_runs_figure *figure, gm_drawing *drawing,
                      gm_error *err)
{
    const shown *what = figure->shows;
    int a = axis_of_number(runs, drawing->number), panels = 0;
    panel p[PANELS] = {{0}};
    gm_axis across = {0};
    gm_runs_lines l;
    gm_status status = gm_runs_lines_find(runs, axes[a].key, &l, err);
    for (int c = 0; c < PANELS && status == GM_OK && what->panel[c].quantity.read; c++) {
        status = read_panel(runs, &l, &what->panel[c], &p[panels], err);
        if (status == GM_OK && p[panels].points) {
            panels++;
        } else {
            gm_free(p[panels].point);
            p[panels].point = NULL;
        }
    }
    if (status == GM_OK && panels) status = choose_across(p, panels, a, &across, err);
    if (status == GM_OK && panels) {
        fprintf(drawing->title, " against the %s", axes[a].title);
        write_script(runs, a, &l, p, panels, &across, drawing);
        write_caption(runs, what, a, &l, p, panels, drawing->caption);
    } else if (status == GM_OK) {
        fputs("The run files hold no numbers for this figure.", drawing->missing);
    }
    for (int c = 0; c < panels; c++) {
        gm_free(p[c].point);
    }
    gm_runs_lines_free(&l);
    return status;
}

/* ---- the figures ---- */

static const shown errors = {
    {{{gm_series_metric, GM_SUBJECT_LOSS, -1, NULL, 1.0, "training loss", 30.0}, 0},
     {{gm_series_metric, GM_SUBJECT_TEST_ERROR, -1, NULL, 100.0, "test error (% of samples)",
       HUGE_VAL},
      0}},
    "The loss on the training set, and the share of test samples whose largest output is not their "
    "label.",
    {"The loss on the training set.",
     "The share of test samples whose largest output is not their label."}};
static const shown curvature = {
    {{{gm_series_largest, 0, -1, "operators/hessian/max", 1.0, "largest eigenvalue of {/:Italic H}",
       30.0},
      0},
     {{gm_series_points, 0, -1, "moment_trace_share", 1.0, "tr {/:Italic M} / tr {/:Italic H}",
       30.0},
      0}},
    "The largest eigenvalue of the Hessian <i>H</i>, and what the second moment <i>M</i> of "
    "stochastic gradients has of its trace.",
    {NULL}};
enum { TENTH = 10 };
static const shown agreement = {
    {{{gm_series_array, 0, -1, "cosines", 1.0, "tenth cosine of {/:Italic H} and {/:Italic M}",
       HUGE_VAL},
      TENTH},
     {{gm_series_points, 0, -1, "residual_plus_hessian", 1.0,
       "‖{/:Italic H}_p + {/:Italic H}‖ / ‖{/:Italic H}‖", 30.0},
      0}},
    "Left: the tenth cosine of the principal angles between the leading subspaces of <i>H</i> and "
    "<i>M</i>, 1 where ten directions are shared. Right: how far the residual <i>H</i><sub>p</sub> "
    "is from &minus;<i>H</i>.",
    {NULL}};
static const shown certificate = {
    {{{gm_series_bound, 0, -1, "bound", 1.0, "bound on the 0–1 error", HUGE_VAL}, 0},
     {{gm_series_bound, 0, -1, "kl", 1.0, "KL", 30.0}, 0}},
    "The generalization bound and its divergence KL from the prior. A bound of 1 says nothing.",
    {NULL}};

const gm_runs_figure gm_runs_figure_errors = {"errors", "Loss and error", draw, count, &errors};
const gm_runs_figure gm_runs_figure_curvature = {"curvature", "Curvature", draw, count, &curvature};
const gm_runs_figure gm_runs_figure_agreement = {"agreement", "Agreement of H and M", draw, count,
                                                 &agreement};
const gm_runs_figure gm_runs_figure_certificate = {"certificate", "The bound", draw, count,
                                                   &certificate};
