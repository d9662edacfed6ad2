/* Measures against gaps over many runs, as `bound compare` recorded them: rank correlations with
 * their intervals and sign errors; the bound and its divergence against the gap; both over each
 * setting that varies. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"

enum { DECADES = 6 };

static const json_t *comparison(const gm_subject *subject)
{
    for (size_t i = subject->results; i-- > 0;) {
        const gm_run_result *stored = subject->result[i].stored;
        if (strcmp(stored->command, "bound") == 0 && strcmp(stored->key, "compare") == 0)
            return subject->result[i].document;
    }
    return NULL;
}

static size_t count_one(const gm_subject *subject)
{
    return comparison(subject) ? 1 : 0;
}

/* ---- ranks ---- */

/* Rows 1 ... from below: tau, its interval, mean and worst sign error. */
static size_t write_ranks(const json_t *document, FILE *script)
{
    const json_t *list = gm_result_find(document, "measures");
    size_t rows = json_array_size(list);
    fputs("$ranks << EOD\n", script);
    for (size_t i = 0; i < rows; i++) {
        static const char *const path[] = {"tau", "tau_low", "tau_high", "sign_error/mean",
                                           "sign_error/worst"};
        fprintf(script, "%zu", rows - i);
        for (size_t k = 0; k < sizeof path / sizeof *path; k++) {
            double value = gm_result_number(json_array_get(list, i), path[k]);
            if (isfinite(value)) {
                fprintf(script, " %.8g", value);
            } else {
                fputs(" NaN", script);
            }
        }
        fputs("\n", script);
    }
    fputs("EOD\n", script);
    return rows;
}

/* One tick a row, with the measures' names where shown. */
static void write_rows(const json_t *document, bool shown, FILE *script)
{
    const json_t *list = gm_result_find(document, "measures");
    size_t rows = json_array_size(list);
    fputs("set ytics (", script);
    for (size_t i = 0; i < rows; i++) {
        const char *name = shown ? gm_result_text(json_array_get(list, i), "name") : NULL;
        fputs(i ? ", " : "", script);
        gm_plot_quoted(name ? name : "", script);
        fprintf(script, " %zu", rows - i);
    }
    fputs(") noenhanced\n", script);
}

static void write_ranks_caption(const json_t *document, FILE *caption)
{
    fputs(
        "Left: Kendall's &tau; of each measure with the gap, test error minus training error, and "
        "its ",
        caption);
    gm_html_number(caption, 100.0 * gm_result_number(document, "level"));
    fputs(" % bootstrap interval over ", caption);
    gm_html_number(caption, gm_result_number(document, "measures/0/clusters"));
    fputs(
        " settings. Right: how often the measure puts two runs that differ in one setting in the "
        "wrong order; filled over all such pairs, open in the worst environment, one setting going "
        "from one value to another; dashed, a coin. Pairs whose order is certain to less than ",
        caption);
    gm_html_number(caption, gm_result_number(document, "certainty"));
    fputs(" by the size of the test sets are left out.", caption);
}

static gm_status draw_ranks(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    (void)err;
    const json_t *document = comparison(subject);
    FILE *script = drawing->script;
    size_t rows = write_ranks(document, script);
    drawing->height = 110 + 24 * (int)rows;
    double bottom = 56.0 / drawing->height, top = 1.0 - 30.0 / drawing->height;
    fprintf(script,
            "set multiplot\nset tmargin at screen %.5f\nset bmargin at screen %.5f\n"
            "set yrange [0.4:%.1f]\n",
            top, bottom, (double)rows + 0.6);
    write_rows(document, true, script);
    fputs("set lmargin at screen 0.23\nset rmargin at screen 0.64\nset xrange [-1.05:1.05]\n"
          "set xtics -1,0.5,1\nset title \"rank correlation with the gap\"\n"
          "set xlabel \"Kendall's {/:Italic τ}\"\n"
          "plot $ranks using 3:1:($4-$3):(0) with vectors heads size screen 0.006,90 lw 1.2 lc rgb "
          "ink, $ranks using 2:1 with points pt 7 ps 0.7 lc rgb blue\n",
          script);
    write_rows(document, false, script);
    fputs("set lmargin at screen 0.69\nset rmargin at screen 0.985\nset xrange [-0.03:1.03]\n"
          "set xtics 0,0.25,1\nset title \"sign error\"\n"
          "set xlabel \"share of pairs in the wrong order\"\n"
          "set arrow from 0.5,graph 0 to 0.5,graph 1 nohead dt (6,3) lw 1.2 lc rgb muted\n"
          "plot $ranks using 6:1 with points pt 6 ps 0.8 lw 1.4 lc rgb vermillion, "
          "$ranks using 5:1 with points pt 7 ps 0.7 lc rgb vermillion\n"
          "unset multiplot\n",
          script);
    write_ranks_caption(document, drawing->caption);
    return GM_OK;
}

const gm_figure gm_figure_ranks = {"ranks", "Which measure tells the gap?", draw_ranks, count_one};

/* ---- points of runs ---- */

/* A quantity of a run: at path, times factor, per sample where per_n. */
typedef struct quantity {
    const char *path, *block, *label, *colour;
    double factor;
    bool per_n;
} quantity;

static const quantity quantities[] = {
    {"bound", "bound", "bound", "blue", 1.0, false},
    {"test_error", "test", "test error", "vermillion", 1.0, false},
    {"training_error", "training", "training error", "green", 1.0, false},
    {"measures/KL", "kl", "KL / {/:Italic n}", "blue", 1.0, true},
    {"measures/effective curvature", "curvature", "effective curvature / 2{/:Italic n}", "purple",
     0.5, true},
    {"measures/weighted distance", "distance", "distance / 2{/:Italic n}", "orange", 0.5, true},
};
enum { QUANTITIES = sizeof quantities / sizeof *quantities, PER_PANEL = QUANTITIES / 2 };

static double text_number(const char *text)
{
    char *end = NULL;
    double value = text && *text ? strtod(text, &end) : (double)NAN;
    return end && !*end ? value : (double)NAN;
}

static double setting_of(const json_t *run, const char *name)
{
    return text_number(json_string_value(json_object_get(json_object_get(run, "settings"), name)));
}

static double quantity_of(const quantity *q, const json_t *run)
{
    double value = q->factor * gm_result_number(run, q->path);
    return q->per_n ? value / setting_of(run, "n") : value;
}

/* Name of numeric varying setting number `index`, NULL beyond the last. */
static const char *numeric_setting(const json_t *document, size_t index)
{
    const json_t *varied = gm_result_find(document, "varied"),
                 *runs = gm_result_find(document, "runs");
    for (size_t i = 0; i < json_array_size(varied); i++) {
        const char *name = json_string_value(json_array_get(varied, i));
        bool numeric = name != NULL;
        for (size_t k = 0; numeric && k < json_array_size(runs); k++) {
            numeric = isfinite(setting_of(json_array_get(runs, k), name));
        }
        if (numeric && index-- == 0) return name;
    }
    return NULL;
}

/* Mean of a quantity over the runs with this value of the setting. */
static double mean_at(const json_t *runs, const char *setting, double x, const quantity *q)
{
    double sum = 0.0, count = 0.0;
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        double value = quantity_of(q, run);
        if (setting_of(run, setting) != x || !isfinite(value)) continue;
        sum += value;
        count += 1.0;
    }
    return count > 0.0 ? sum / count : (double)NAN;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Block of the runs' points, and one of the means at x [count], sorted and distinct. */
static void write_quantity(const json_t *runs, const char *setting, const quantity *q,
                           const gm_axis *across, const gm_axis *up, size_t count, const double *x,
                           FILE *script)
{
    fprintf(script, "$%s << EOD\n", q->block);
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        gm_data_point(script, gm_axis_place(across, setting_of(run, setting)),
                      gm_axis_place(up, quantity_of(q, run)));
    }
    fprintf(script, "EOD\n$mean_%s << EOD\n", q->block);
    for (size_t i = 0; i < count; i++) {
        if (i && x[i] == x[i - 1]) continue;
        gm_data_point(script, gm_axis_place(across, x[i]),
                      gm_axis_place(up, mean_at(runs, setting, x[i], q)));
    }
    fputs("EOD\n", script);
}

static gm_axis axis_of(const json_t *runs, const quantity *first, double *work)
{
    size_t count = 0;
    for (int k = 0; k < PER_PANEL; k++) {
        for (size_t i = 0; i < json_array_size(runs); i++) {
            work[count++] = quantity_of(&first[k], json_array_get(runs, i));
        }
    }
    gm_axis axis = gm_axis_for(count, work, first->per_n ? 50.0 : HUGE_VAL, DECADES);
    if (axis.scale == GM_SCALE_LINEAR) axis.low = fmin(axis.low, 0.0);
    return axis;
}

static size_t legend_of(const quantity *first, gm_legend_entry *entry)
{
    for (int k = 0; k < PER_PANEL; k++) {
        entry[k] = (gm_legend_entry){.point = 7, .band = first[k].colour};
        snprintf(entry[k].label, sizeof entry[k].label, "%s", first[k].label);
    }
    return PER_PANEL;
}

static void draw_panels(const json_t *runs, const char *setting, double *work, gm_drawing *drawing)
{
    FILE *script = drawing->script;
    size_t count = json_array_size(runs);
    double *x = work + (size_t)PER_PANEL * count;
    for (size_t i = 0; i < count; i++) {
        x[i] = setting_of(json_array_get(runs, i), setting);
    }
    qsort(x, count, sizeof *x, ascending);
    gm_axis across = gm_axis_for(count, x, 20.0, DECADES);
    gm_legend_entry entry[2][PER_PANEL];
    gm_layout layout = {2, false, 340, 0, 0};
    int rows = 0;
    for (int i = 0; i < 2; i++) {
        int more =
            gm_legend_rows(&layout, i, entry[i], legend_of(quantities + i * PER_PANEL, entry[i]));
        rows = more > rows ? more : rows;
    }
    layout.top = rows * GM_LEGEND_ROW + 10;
    layout.height += rows * GM_LEGEND_ROW;
    drawing->height = layout.height;
    fputs("set multiplot\nset xlabel ", script);
    gm_plot_quoted(setting, script);
    fputs(" noenhanced\n", script);
    gm_axis_script(&across, "x", GM_LABELS_SHOWN, script);
    for (int i = 0; i < 2; i++) {
        const quantity *first = quantities + i * PER_PANEL;
        gm_axis up = axis_of(runs, first, work);
        for (int k = 0; k < PER_PANEL; k++) {
            write_quantity(runs, setting, &first[k], &across, &up, count, x, script);
        }
        gm_panel(&layout, i, "", script);
        gm_axis_script(&up, "y", GM_LABELS_SHOWN, script);
        gm_legend(&layout, i, entry[i], PER_PANEL, script);
        for (int k = 0; k < PER_PANEL; k++) {
            fprintf(script,
                    "%s$mean_%s with lines lw 1.4 lc rgb %s, $%s with points pt 7 ps 0.5 lc rgb %s",
                    k ? ", " : "plot ", first[k].block, first[k].colour, first[k].block,
                    first[k].colour);
        }
        fputs("\n", script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
}

static gm_status draw_settings(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *document = comparison(subject), *runs = gm_result_find(document, "runs");
    const char *setting = numeric_setting(document, drawing->number);
    double *work =
        gm_alloc(((size_t)PER_PANEL + 1) * json_array_size(runs), sizeof *work, "runs", err);
    if (!work) return GM_ERR_MEMORY;
    fprintf(drawing->title, " over %s", setting);
    draw_panels(runs, setting, work, drawing);
    fputs("A point is a run, lines go through the means over all runs with that value of the "
          "setting, whatever the others are. Left: the bound on the Gibbs error beside test and "
          "training error of the deterministic net. Right: the divergence KL over the number of "
          "samples, and half of each of its two terms.",
          drawing->caption);
    gm_free(work);
    return GM_OK;
}

static size_t count_settings(const gm_subject *subject)
{
    const json_t *document = comparison(subject);
    size_t found = 0;
    while (document && numeric_setting(document, found)) {
        found++;
    }
    return found;
}

const gm_figure gm_figure_bounds = {"bounds", "Bound and terms", draw_settings, count_settings};
