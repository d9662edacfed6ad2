/* How fast runs left a point, or came back to it, by step size (dynamics stability --observe): the
 * factor of the mean square distance per step, by the map, by linearized runs and by SGD on the net
 * itself. Two batch sizes, that of the run first. */
#include <math.h>

#include "report/curves.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"

enum { PANELS = 2, MOST = 64 };

static const gm_legend_entry legend[] = {
    {"dt 1 lc rgb ink", 0, NULL, "the map"},
    {NULL, 6, "blue", "linearized runs"},
    {NULL, 7, "vermillion", "SGD on the net"},
};
enum { ENTRIES = sizeof legend / sizeof *legend };

/* One batch size: places on the step axis, in boundaries, ascending. */
typedef struct growth {
    double batch;
    size_t count;
    double step[MOST], map[MOST], linear[MOST], linear_error[MOST], net[MOST], net_error[MOST];
} growth;

static const json_t *observed(const json_t *d, size_t i)
{
    return json_array_get(gm_result_find(d, "observed"), i);
}

/* Whether the document has runs of the net; earlier ones had linearized runs alone. */
static bool has_net(const json_t *d)
{
    return gm_result_find(d, "observed/0/net") != NULL;
}

static size_t count(const gm_subject *subject)
{
    const json_t *d;
    size_t pictures = 0;
    for (size_t i = 0; (d = gm_dynamics_result(subject, "stability", i)); i++) {
        pictures += has_net(d) ? 1 : 0;
    }
    return pictures;
}

static double boundary_of(const json_t *d, double batch)
{
    const json_t *limits = gm_result_find(d, "limits");
    for (size_t i = 0; i < json_array_size(limits); i++) {
        const json_t *row = json_array_get(limits, i);
        if (gm_result_number(row, "batch") == batch) return gm_result_number(row, "boundary");
    }
    return (double)NAN;
}

static void fill(const json_t *d, double batch, growth *g)
{
    double boundary = boundary_of(d, batch);
    *g = (growth){.batch = batch};
    for (size_t i = 0; i < json_array_size(gm_result_find(d, "observed")); i++) {
        const json_t *o = observed(d, i);
        if (gm_result_number(o, "batch") != batch || g->count == MOST) continue;
        double step = gm_result_number(o, "step_size") / boundary;
        size_t at = g->count++;
        for (; at > 0 && g->step[at - 1] > step; at--) {
            double *column[] = {g->step, g->map,       g->linear, g->linear_error,
                                g->net,  g->net_error, NULL};
            for (int c = 0; column[c]; c++) {
                column[c][at] = column[c][at - 1];
            }
        }
        g->step[at] = step;
        g->map[at] = gm_result_number(o, "rate_predicted");
        g->linear[at] = gm_result_number(o, "rate");
        g->linear_error[at] = gm_result_number(o, "rate_stderr");
        g->net[at] = gm_result_number(o, "net/rate");
        g->net_error[at] = gm_result_number(o, "net/rate_stderr");
    }
}

/* The run's batch size, and the largest of the others. */
static size_t choose(const json_t *d, growth g[PANELS])
{
    double own = gm_result_number(d, "points/0/batch"), other = 0.0;
    for (size_t i = 0; i < json_array_size(gm_result_find(d, "observed")); i++) {
        double batch = gm_result_number(observed(d, i), "batch");
        if (batch != own) other = fmax(other, batch);
    }
    fill(d, own, &g[0]);
    if (other > 0.0) fill(d, other, &g[1]);
    return other > 0.0 ? 2 : 1;
}

/* Points with bars of two standard errors, or lines without. */
static void write_block(const growth *g, const char *name, int panel, const double *value,
                        const double *error, const gm_axis *x, const gm_axis *y, FILE *script)
{
    fprintf(script, "$%s%d << EOD\n", name, panel);
    for (size_t i = 0; i < g->count; i++) {
        double e = error ? 2.0 * error[i] : 0.0;
        if (!isfinite(value[i]) || !isfinite(e)) continue;
        fprintf(script, "%.8g %.8g %.8g %.8g\n", gm_axis_place(x, g->step[i]),
                gm_axis_place(y, value[i]), gm_axis_place(y, fmax(y->low, value[i] - e)),
                gm_axis_place(y, fmin(y->high, value[i] + e)));
    }
    fputs("EOD\n", script);
}

static void plot_panel(const growth *g, const gm_layout *layout, int panel, FILE *script)
{
    double value[3 * MOST];
    size_t count = 0;
    for (size_t i = 0; i < g->count; i++) {
        value[count++] = g->map[i];
        value[count++] = g->linear[i] + 2.0 * g->linear_error[i];
        value[count++] = g->net[i] + 2.0 * g->net_error[i];
    }
    gm_axis x = gm_axis_for(g->count, g->step, 0.0, 6), y = gm_axis_for(count, value, 20.0, 6);
    y.low = fmin(y.low, 0.9);
    y.high = fmax(y.high, 1.1);
    write_block(g, "map", panel, g->map, NULL, &x, &y, script);
    write_block(g, "linear", panel, g->linear, g->linear_error, &x, &y, script);
    write_block(g, "net", panel, g->net, g->net_error, &x, &y, script);
    gm_panel(layout, panel, panel ? "" : "factor per step", script);
    if (panel == 0) gm_legend(layout, -1, legend, ENTRIES, script);
    gm_axis_script(&x, "x", GM_LABELS_SHOWN, script);
    gm_axis_script(&y, "y", GM_LABELS_SHOWN, script);
    fprintf(script, "set title \"batch %.0f\"\n", g->batch);
    fprintf(script,
            "set arrow from first %.8g, graph 0 to first %.8g, graph 1 nohead back lw 1.2 "
            "dt (6,3) lc rgb ink\n",
            gm_axis_place(&x, 1.0), gm_axis_place(&x, 1.0));
    fprintf(script,
            "plot %.8g with lines lw 1 dt (2,3) lc rgb ink, $map%d using 1:2 with lines lw 1.8 %s, "
            "$linear%d using 1:3:(0):($4-$3) with vectors heads size screen 0.005,90 lw 1.4 lc rgb "
            "blue, $linear%d using 1:2 with points pt 6 ps 0.6 lw 1.4 lc rgb blue, "
            "$net%d using 1:3:(0):($4-$3) with vectors heads size screen 0.005,90 lw 1.4 lc rgb "
            "vermillion, $net%d using 1:2 with points pt 7 ps 0.6 lc rgb vermillion\n",
            gm_axis_place(&y, 1.0), panel, legend[0].line, panel, panel, panel, panel);
    gm_panel_end(script);
    fputs("set title \"\"\nunset arrow\n", script);
}

static void write_caption(const json_t *d, FILE *caption)
{
    const json_t *first = observed(d, 0);
    fputs("The factor by which the mean square distance grows or falls per step, over ", caption);
    gm_html_number(caption, gm_result_number(first, "steps"));
    fputs(" steps of ", caption);
    gm_html_number(caption, gm_result_number(first, "runs"));
    fputs(
        " runs, with bars of two standard errors: by the map of second moments, of runs "
        "linearized at this point, and of SGD on the net itself, between a run from the point and "
        "one from nearby on the same batches. Left of the dashed line the map is stable; above "
        "the dotted line distances grow. Heavy tails: beyond the boundary few runs carry the "
        "mean of the linearized ones, so that it lies below the map. Runs that fall more "
        "slowly than the map have left the directions that it looks at. Means that are infinite "
        "are left out.",
        caption);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *d;
    size_t number = drawing->number;
    (void)err;
    for (size_t i = 0; (d = gm_dynamics_result(subject, "stability", i)); i++) {
        if (has_net(d) && number-- == 0) break;
    }
    growth g[PANELS] = {{0}};
    int panels = (int)choose(d, g);
    double step = gm_result_number(d, "step");
    if (isfinite(step)) fprintf(drawing->title, ", step %.0f", step);
    gm_layout layout = {panels, false, 320, 8 + GM_TITLE_ROW, 0};
    layout.top += GM_LEGEND_ROW * gm_legend_rows(&layout, -1, legend, ENTRIES);
    drawing->height = layout.height;
    fputs("set multiplot\nset xlabel \"step size / boundary\"\n", drawing->script);
    for (int i = 0; i < panels; i++) {
        plot_panel(&g[i], &layout, i, drawing->script);
    }
    fputs("unset multiplot\n", drawing->script);
    write_caption(d, drawing->caption);
    return GM_OK;
}

const gm_figure gm_figure_growth = {"growth", "Do runs leave this point?", draw, count};
