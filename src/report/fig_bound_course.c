/* The bound, its two terms and the errors it is about, along a training. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"

typedef struct curve {
    const char *path, *block, *label, *colour;
    double factor; /* of value / n where per_n, else of value */
    bool per_n;
} curve;

static const curve curves[] = {
    {"bound", "bound", "bound", "blue", 1.0, false},
    {"gibbs/upper", "upper", "Gibbs, with the draws' slack", "green", 1.0, false},
    {"gibbs/test", "test", "Gibbs, test", "vermillion", 1.0, false},
    {"kl", "kl", "KL / {/:Italic n}", "blue", 1.0, true},
    {"effective_curvature", "curvature", "effective curvature / 2{/:Italic n}", "purple", 0.5,
     true},
    {"distance", "distance", "distance / 2{/:Italic n}", "orange", 0.5, true},
};
enum { CURVES = sizeof curves / sizeof *curves, PER_PANEL = CURVES / 2, DECADES = 6 };

static bool is_point(const gm_subject_result *result)
{
    return strcmp(result->stored->command, "bound") == 0 &&
           strcmp(result->stored->key, "bound") == 0 && result->stored->step >= 0;
}

static size_t points(const gm_subject *subject)
{
    size_t found = 0;
    for (size_t i = 0; i < subject->results; i++) {
        found += is_point(&subject->result[i]) ? 1 : 0;
    }
    return found;
}

static double value_of(const curve *c, const json_t *document)
{
    double value = c->factor * gm_result_number(document, c->path);
    return c->per_n ? value / gm_result_number(document, "data/n") : value;
}

/* Data blocks of one panel's curves and the axis that holds them all; *shown [PER_PANEL]. */
static gm_status write_panel(const gm_subject *subject, const curve *first, gm_axis *axis,
                             bool *shown, FILE *script, gm_error *err)
{
    size_t steps = points(subject), count = 0;
    double *value = gm_alloc(PER_PANEL * steps, sizeof *value, "bounds", err);
    if (!value) return GM_ERR_MEMORY;
    for (int k = 0; k < PER_PANEL; k++) {
        shown[k] = false;
        for (size_t i = 0; i < subject->results; i++) {
            if (!is_point(&subject->result[i])) continue;
            value[count] = value_of(&first[k], subject->result[i].document);
            if (isfinite(value[count++])) shown[k] = true;
        }
    }
    *axis = gm_axis_for(count, value, first->per_n ? 50.0 : HUGE_VAL, DECADES);
    if (axis->scale == GM_SCALE_LINEAR) axis->low = fmin(axis->low, 0.0);
    count = 0;
    for (int k = 0; k < PER_PANEL; k++) {
        fprintf(script, "$%s << EOD\n", first[k].block);
        for (size_t i = 0; i < subject->results; i++) {
            if (!is_point(&subject->result[i])) continue;
            gm_data_point(
                script, gm_axis_place(&subject->step_axis, (double)subject->result[i].stored->step),
                gm_axis_place(axis, value[count++]));
        }
        fputs("EOD\n", script);
    }
    gm_free(value);
    return GM_OK;
}

static void plot_panel(const curve *first, const bool *shown, FILE *script)
{
    const char *before = "plot ";
    for (int k = 0; k < PER_PANEL; k++) {
        if (!shown[k]) continue;
        fprintf(script, "%s$%s with linespoints pt 7 ps 0.5 lw 1.6 lc rgb %s", before,
                first[k].block, first[k].colour);
        before = ", ";
    }
    fputs("\n", script);
}

static size_t fill_legend(const curve *first, const bool *shown, gm_legend_entry *entry)
{
    size_t entries = 0;
    for (int k = 0; k < PER_PANEL; k++) {
        if (!shown[k]) continue;
        entry[entries] = (gm_legend_entry){.point = 7, .band = first[k].colour};
        snprintf(entry[entries++].label, sizeof entry->label, "%s", first[k].label);
    }
    return entries;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    FILE *script = drawing->script;
    gm_axis axis[2];
    bool shown[2][PER_PANEL];
    gm_legend_entry entry[2][PER_PANEL];
    size_t entries[2];
    int rows = 0;
    gm_layout layout = {2, false, 340, 0, 0};
    for (int i = 0; i < 2; i++) {
        const curve *first = curves + i * PER_PANEL;
        gm_status status = write_panel(subject, first, &axis[i], shown[i], script, err);
        if (status != GM_OK) return status;
        entries[i] = fill_legend(first, shown[i], entry[i]);
        int more = gm_legend_rows(&layout, i, entry[i], entries[i]);
        rows = more > rows ? more : rows;
    }
    layout.top = rows * GM_LEGEND_ROW + GM_TITLE_ROW;
    layout.height += rows * GM_LEGEND_ROW;
    drawing->height = layout.height;
    fputs("set multiplot\nset xlabel \"training step\"\n", script);
    gm_axis_script(&subject->step_axis, "x", GM_LABELS_SHOWN, script);
    for (int i = 0; i < 2; i++) {
        gm_panel(&layout, i, "", script);
        gm_axis_script(&axis[i], "y", GM_LABELS_SHOWN, script);
        gm_legend(&layout, i, entry[i], entries[i], script);
        fprintf(script, "set title \"%s\"\n", i ? "what the divergence costs" : "0-1 error");
        plot_panel(curves + i * PER_PANEL, shown[i], script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
    fputs("Left: the bound on the Gibbs error at each checkpoint, below it the Gibbs training "
          "error with what the finite number of draws adds to it, and the Gibbs error on the test "
          "set where there is one. Right: the divergence KL over the number of samples, and half "
          "of each of the two terms that bound it: the effective curvature and the weighted "
          "squared distance from the initialization.",
          drawing->caption);
    return GM_OK;
}

static size_t count(const gm_subject *subject)
{
    return points(subject) >= 2 ? 1 : 0;
}

const gm_figure gm_figure_bound_course = {"boundcourse", "The bound along the training", draw,
                                          count};
