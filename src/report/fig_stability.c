/* The map of mean-square stability over batch and step sizes, the run's own place on it, and what
 * runs from near the point did (dynamics stability). */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"

enum { DECADES = 12 };

/* The lines of the map: keys of the document's limits, drawn in this order. */
static const struct {
    const char *key;
    gm_legend_entry legend;
} lines[] = {
    {"sufficient", {"dt 1 lc rgb sky", 0, NULL, "sufficient, in each step"}},
    {"one_step", {"dt (2,3) lc rgb green", 0, NULL, "along one eigenvector"}},
    {"boundary", {"dt 1 lc rgb blue", 0, NULL, "boundary in the long run"}},
};
enum { LINES = sizeof lines / sizeof *lines };

/* Points of the map: where they stand and how they are drawn. */
static const struct {
    const char *block;
    gm_legend_entry legend;
} marks[] = {
    {"shrank", {NULL, 6, "blue", "runs: mean square fell"}},
    {"grew", {NULL, 8, "vermillion", "runs: mean square grew"}},
    {"stable", {NULL, 7, "ink", "the run, stable"}},
    {"unstable", {NULL, 9, "vermillion", "the run, unstable"}},
};
enum { MARKS = sizeof marks / sizeof *marks };

/* Which mark a point or an observation carries. */
static int mark_of(const json_t *entry, bool observed)
{
    if (observed) { /* infinite: null */
        const json_t *net = gm_result_find(entry, "net");
        return gm_result_number(net ? net : entry, "mean") <= 1.0 ? 0 : 1;
    }
    return json_is_true(gm_result_find(entry, "stable")) ? 2 : 3;
}

static const json_t *item(const json_t *document, const char *list, size_t i)
{
    return json_array_get(gm_result_find(document, list), i);
}

static size_t length(const json_t *document, const char *list)
{
    return json_array_size(gm_result_find(document, list));
}

/* Axes over everything that is drawn. */
static gm_status choose_axes(const json_t *d, gm_axis *batch, gm_axis *step, gm_error *err)
{
    size_t limits = length(d, "limits"), points = length(d, "points"), seen = length(d, "observed");
    size_t most = (LINES + 1) * limits + points + seen + 1, batches = 0, steps = 0;
    double *x = gm_alloc(2 * most, sizeof *x, "map of stability", err);
    if (!x) return GM_ERR_MEMORY;
    double *y = x + most;
    for (size_t i = 0; i < limits; i++) {
        x[batches++] = gm_result_number(item(d, "limits", i), "batch");
        for (size_t l = 0; l < LINES; l++) {
            y[steps++] = gm_result_number(item(d, "limits", i), lines[l].key);
        }
    }
    for (size_t i = 0; i < points; i++) {
        y[steps++] = gm_result_number(item(d, "points", i), "step_size");
    }
    for (size_t i = 0; i < seen; i++) {
        y[steps++] = gm_result_number(item(d, "observed", i), "step_size");
    }
    y[steps++] = 2.0 / gm_result_number(d, "minimum/lambda_max/value");
    *batch = gm_axis_for(batches, x, 0.0, DECADES);
    *step = gm_axis_for(steps, y, 0.0, DECADES);
    gm_free(x);
    return GM_OK;
}

static void write_blocks(const json_t *d, const gm_axis *batch, const gm_axis *step, size_t *count,
                         FILE *script)
{
    for (size_t l = 0; l < LINES; l++) {
        fprintf(script, "$%s << EOD\n", lines[l].key);
        for (size_t i = 0; i < length(d, "limits"); i++) {
            const json_t *row = item(d, "limits", i);
            gm_data_point(script, gm_axis_place(batch, gm_result_number(row, "batch")),
                          gm_axis_place(step, gm_result_number(row, lines[l].key)));
        }
        fputs("EOD\n", script);
    }
    for (int m = 0; m < MARKS; m++) {
        bool observed = m < 2;
        const char *list = observed ? "observed" : "points";
        fprintf(script, "$%s << EOD\n", marks[m].block);
        for (size_t i = 0; i < length(d, list); i++) {
            const json_t *entry = item(d, list, i);
            if (mark_of(entry, observed) != m) continue;
            gm_data_point(script, gm_axis_place(batch, gm_result_number(entry, "batch")),
                          gm_axis_place(step, gm_result_number(entry, "step_size")));
            count[m]++;
        }
        fputs("EOD\n", script);
    }
}

static void write_caption(const json_t *d, FILE *caption)
{
    bool complete = json_is_true(gm_result_find(d, "span/complete"));
    fputs(
        "Step sizes at which SGD, linearized at this point, stays near it in mean square, by batch "
        "size: below the pale line E&#8214;&theta;&nbsp;&minus;&nbsp;&theta;*&#8214;&sup2; "
        "shrinks in each step from every direction looked at, below the bold one in the long run",
        caption);
    if (complete) {
        fputs(" (exact)", caption);
    } else {
        fputs(" (on ", caption);
        gm_html_number(caption, gm_result_number(d, "span/directions"));
        fputs(" directions; more can only lower it)", caption);
    }
    fputs("; dotted, the condition of one step along each eigenvector alone; dashed, "
          "2/&lambda;<sub>max</sub>, the limit of the full batch.",
          caption);
    if (length(d, "observed")) {
        fputs(" Triangles: the mean square distance of ", caption);
        gm_html_number(caption, gm_result_number(item(d, "observed", 0), "runs"));
        fputs(gm_result_find(d, "observed/0/net")
                  ? " pairs of runs of SGD on the net itself, from near this point, grew over "
                  : " linearized runs grew over ",
              caption);
        gm_html_number(caption, gm_result_number(item(d, "observed", 0), "steps"));
        fputs(" steps; circles: it fell.", caption);
    }
    if (json_is_false(gm_result_find(d, "minimum/is_minimum")))
        fputs(
            " <strong>This point is no minimum</strong>: its gradient or negative curvature leads "
            "away from it whatever the step.",
            caption);
}

static gm_status write_script(const json_t *d, gm_drawing *drawing, gm_error *err)
{
    FILE *script = drawing->script;
    gm_axis batch, step;
    size_t seen[MARKS] = {0}, entries = 0;
    gm_legend_entry entry[LINES + MARKS + 1];
    gm_layout layout = {1, false, 430, 8, 0};
    gm_status status = choose_axes(d, &batch, &step, err);
    if (status != GM_OK) return status;
    write_blocks(d, &batch, &step, seen, script);
    for (size_t l = LINES; l-- > 0;) {
        entry[entries++] = lines[l].legend;
    }
    entry[entries++] = (gm_legend_entry){"dt (6,3) lc rgb ink", 0, NULL, "2/{/:Italic λ}_{max}"};
    for (int m = 0; m < MARKS; m++) {
        if (seen[m]) entry[entries++] = marks[m].legend;
    }
    layout.top += GM_LEGEND_ROW * gm_legend_rows(&layout, -1, entry, entries);
    drawing->height = layout.height;
    fputs("set multiplot\nset xlabel \"batch size {/:Italic m}\"\n", script);
    gm_axis_script(&batch, "x", GM_LABELS_SHOWN, script);
    gm_panel(&layout, 0, "step size {/:Italic η}", script);
    gm_axis_script(&step, "y", GM_LABELS_SHOWN, script);
    gm_legend(&layout, -1, entry, entries, script);
    double sharp = gm_axis_place(&step, 2.0 / gm_result_number(d, "minimum/lambda_max/value"));
    fputs("plot ", script);
    if (isfinite(sharp)) fprintf(script, "%.8g with lines lw 1.6 dt (6,3) lc rgb ink, ", sharp);
    for (size_t l = 0; l < LINES; l++) {
        fprintf(script, "%s$%s with lines lw %s %s", l ? ", " : "", lines[l].key,
                l + 1 < LINES ? "1.6" : "2.4", lines[l].legend.line);
    }
    for (int m = 0; m < MARKS; m++) {
        if (!seen[m]) continue;
        fprintf(script, ", $%s with points pt %d ps %s lw 1.4 lc rgb %s", marks[m].block,
                marks[m].legend.point, m < 2 ? "0.6" : "1.1", marks[m].legend.band);
    }
    fputs("\n", script);
    gm_panel_end(script);
    fputs("unset multiplot\n", script);
    write_caption(d, drawing->caption);
    return GM_OK;
}

/* The number-th map of the run file; NULL beyond the last. */
static const json_t *map_of(const gm_subject *subject, size_t number)
{
    for (size_t i = 0; i < subject->results; i++) {
        const json_t *d = subject->result[i].document;
        const char *what = gm_result_text(d, "subcommand");
        bool map = what && strcmp(what, "stability") == 0 && length(d, "limits");
        if (map && number-- == 0) return d;
    }
    return NULL;
}

static size_t count(const gm_subject *subject)
{
    size_t maps = 0;
    while (map_of(subject, maps)) {
        maps++;
    }
    return maps;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *d = map_of(subject, drawing->number);
    double step = gm_result_number(d, "step");
    if (isfinite(step)) fprintf(drawing->title, ", step %.0f", step);
    if (!(gm_result_number(item(d, "limits", 0), "boundary") > 0.0)) {
        fputs("No step is stable: a direction looked at has no positive curvature.",
              drawing->missing);
        return GM_OK;
    }
    return write_script(d, drawing, err);
}

const gm_figure gm_figure_stability = {"stability", "Mean-square stability of SGD", draw, count};
