#include "report/curves.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

enum { PANEL = 300, FOOT = 60, DECADES = 8, MOST = 8 };

/* ---- documents ---- */

const json_t *gm_dynamics_result(const gm_subject *subject, const char *subcommand, size_t number)
{
    for (size_t i = 0; i < subject->results; i++) {
        const json_t *document = subject->result[i].document;
        const char *name = gm_result_text(document, "subcommand");
        if (strcmp(subject->result[i].stored->command, "dynamics") != 0 || !name) continue;
        if (strcmp(name, subcommand) == 0 && number-- == 0) return document;
    }
    return NULL;
}

size_t gm_dynamics_results(const gm_subject *subject, const char *subcommand)
{
    size_t count = 0;
    while (gm_dynamics_result(subject, subcommand, count)) {
        count++;
    }
    return count;
}

gm_status gm_result_column(const json_t *array, const char *key, double **value, gm_error *err)
{
    size_t count = json_array_size(array);
    *value = gm_alloc(count, sizeof **value, "numbers of a result", err);
    if (!*value) return GM_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        (*value)[i] = gm_result_number(json_array_get(array, i), key);
    }
    return GM_OK;
}

/* ---- the picture ---- */

static gm_status choose_axis(const gm_curve *curve, size_t count, gm_axis *axis, gm_error *err)
{
    size_t all = 0, used = 0;
    for (size_t c = 0; c < count; c++) {
        all += 3 * curve[c].count;
    }
    double *value = gm_alloc(all, sizeof *value, "values of a figure", err);
    if (!value) return GM_ERR_MEMORY;
    for (size_t c = 0; c < count; c++) {
        for (size_t i = 0; i < curve[c].count; i++) {
            double v = curve[c].value[i], half = curve[c].half ? curve[c].half[i] : 0.0;
            value[used++] = v;
            value[used++] = v - half;
            value[used++] = v + half;
        }
    }
    *axis = gm_axis_for(used, value, 30.0, DECADES);
    gm_free(value);
    return GM_OK;
}

static void write_block(const gm_subject *subject, const gm_curve *curve, const gm_axis *axis,
                        size_t number, FILE *script)
{
    fprintf(script, "$curve%zu << EOD\n", number);
    for (size_t i = 0; i < curve->count; i++) {
        double x = gm_axis_place(&subject->step_axis, curve->step[i]);
        double half = curve->half ? curve->half[i] : 0.0, v = curve->value[i];
        double y = gm_axis_place(axis, v), low = gm_axis_place(axis, v - half);
        double high = gm_axis_place(axis, v + half);
        if (!isfinite(x) || !isfinite(y)) {
            fputs("\n", script);
            continue;
        }
        fprintf(script, "%.8g %.8g %.8g %.8g\n", x, y, isfinite(low) ? low : y,
                isfinite(high) ? high : y);
    }
    fputs("EOD\n", script);
}

static void plot_curves(const gm_curve *curve, size_t count, FILE *script)
{
    const char *separator = "plot ";
    for (size_t c = 0; c < count; c++) {
        const gm_legend_entry *e = &curve[c].entry;
        if (curve[c].half) {
            fprintf(
                script,
                "%s$curve%zu using 1:3:(0):($4-$3) with vectors heads size screen 0.005,90 lw 1.2 "
                "lc rgb %s",
                separator, c, curve[c].colour);
            separator = ", ";
        }
        if (e->line) {
            fprintf(script, "%s$curve%zu using 1:2 with lines lw 1.4 %s", separator, c, e->line);
            separator = ", ";
        }
        if (e->point) {
            fprintf(script, "%s$curve%zu using 1:2 with points pt %d ps 0.5 lc rgb %s", separator,
                    c, e->point, curve[c].colour);
            separator = ", ";
        }
    }
    fputs("\n", script);
}

gm_status gm_curves_draw(const gm_subject *subject, const char *label, const gm_curve *curve,
                         size_t count, const double *mark, size_t marks, gm_drawing *drawing,
                         gm_error *err)
{
    FILE *script = drawing->script;
    gm_legend_entry entry[MOST];
    gm_axis axis;
    gm_status status = choose_axis(curve, count, &axis, err);
    if (status != GM_OK) return status;
    for (size_t c = 0; c < count && c < MOST; c++) {
        entry[c] = curve[c].entry;
    }
    gm_layout layout = {1, false, 0, 0, FOOT};
    int rows = gm_legend_rows(&layout, -1, entry, count);
    layout.top = rows * GM_LEGEND_ROW + 8;
    layout.height = drawing->height = layout.top + PANEL + FOOT;
    for (size_t c = 0; c < count; c++) {
        write_block(subject, &curve[c], &axis, c, script);
    }
    fputs("set multiplot\n", script);
    gm_panel(&layout, 0, label, script);
    gm_legend(&layout, -1, entry, count, script);
    fputs("set xlabel \"training step\"\n", script);
    gm_axis_script(&subject->step_axis, "x", GM_LABELS_SHOWN, script);
    gm_axis_script(&axis, "y", GM_LABELS_SHOWN, script);
    for (size_t i = 0; i < marks; i++) {
        double x = gm_axis_place(&subject->step_axis, mark[i]);
        if (isfinite(x))
            fprintf(script,
                    "set arrow from %.8g, graph 0 to %.8g, graph 1 nohead lw 1.2 dt (2,3) lc rgb "
                    "ink\n",
                    x, x);
    }
    if (axis.scale != GM_SCALE_LOG && axis.low < 0.0 && axis.high > 0.0)
        fputs("set arrow from graph 0, first 0 to graph 1, first 0 nohead lw 1 dt (2,3) lc rgb "
              "ink\n",
              script);
    plot_curves(curve, count, script);
    fputs("unset arrow\n", script);
    gm_panel_end(script);
    fputs("unset multiplot\n", script);
    return GM_OK;
}
