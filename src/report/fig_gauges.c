/* Gauges of the training's own batches against their thresholds: Batch Sharpness and sharpness
 * above, the noise scale against the batch size below, alarms where there were any. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/threshold.h"

enum { DECADES = 5, UPPER = 250, LOWER = 130, GAP = 24, FOOT = 60, POINTS = 1500 };

typedef struct gauge_line {
    int metric, error; /* of the subject */
    const char *block, *colour;
    gm_legend_entry legend;
} gauge_line;

static const gauge_line sharpness[] = {
    {GM_SUBJECT_BATCH_SHARPNESS,
     GM_SUBJECT_BATCH_SHARPNESS_ERROR,
     "batch",
     "blue",
     {"dt 1 lc rgb blue", 0, NULL, "Batch Sharpness"}},
    {GM_SUBJECT_SHARPNESS,
     GM_SUBJECT_SHARPNESS_ERROR,
     "sharp",
     "green",
     {"dt 1 lc rgb green", 0, NULL, "sharpness, from batches"}},
};
enum { SHARPNESSES = sizeof sharpness / sizeof *sharpness };
static const gauge_line noise = {
    GM_SUBJECT_NOISE_SCALE, GM_SUBJECT_NOISE_SCALE_ERROR, "noise", "vermillion", {0}};

/* The largest eigenvalue of H where the training followed it; NULL without. */
static const gm_subject_metric *followed(const gm_subject *subject)
{
    for (size_t i = 0; i < subject->tracks; i++) {
        if (strcmp(subject->track[i].operator, "hessian") == 0 && subject->track[i].count)
            return &subject->track[i].eigenvalue[0];
    }
    return NULL;
}

/* An axis for some series and one number more. */
static gm_status axis_of(const gm_subject_metric *const *series, size_t count, double more,
                         int decades, gm_axis *axis, gm_error *err)
{
    size_t all = 1, used = 0;
    for (size_t i = 0; i < count; i++) {
        all += series[i] ? series[i]->count : 0;
    }
    double *value = gm_alloc(all, sizeof *value, "gauges", err);
    if (!value) return GM_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; series[i] && j < series[i]->count; j++) {
            value[used++] = series[i]->value[j];
        }
    }
    value[used++] = more;
    *axis = gm_axis_for(used, value, 30.0, decades);
    if (axis->scale == GM_SCALE_LINEAR) axis->low = fmin(axis->low, 0.0);
    gm_free(value);
    return GM_OK;
}

/* Columns: step, value, value - error, value + error; the errors' steps are those of the values,
 * maybe without the first. At most some POINTS of them. */
static void write_line(const gm_subject *subject, const gauge_line *line, const gm_axis *axis,
                       FILE *script)
{
    const gm_subject_metric *v = &subject->metric[line->metric], *e = &subject->metric[line->error];
    size_t stride = 1 + v->count / POINTS, at = 0;
    fprintf(script, "$%s << EOD\n", line->block);
    for (size_t i = 0; i < v->count; i += stride) {
        while (at < e->count && e->step[at] < v->step[i]) {
            at++;
        }
        bool known = at < e->count && e->step[at] == v->step[i];
        double error = known ? e->value[at] : 0.0, value = v->value[i];
        double low = gm_axis_place(axis, fmax(value - error, axis->low));
        double place = gm_axis_place(axis, value), high = gm_axis_place(axis, value + error);
        double x = gm_axis_place(&subject->step_axis, (double)v->step[i]);
        if (!isfinite(x) || !isfinite(place)) continue;
        fprintf(script, "%.8g %.8g %.8g %.8g\n", x, place, isfinite(low) ? low : place,
                isfinite(high) ? high : place);
    }
    fputs("EOD\n", script);
}

static void write_series(const gm_subject *subject, const gm_subject_metric *m, const char *block,
                         const gm_axis *axis, double value, FILE *script)
{
    size_t stride = 1 + m->count / POINTS;
    fprintf(script, "$%s << EOD\n", block);
    for (size_t i = 0; i < m->count; i += stride) {
        gm_data_point(script, gm_axis_place(&subject->step_axis, (double)m->step[i]),
                      gm_axis_place(axis, isnan(value) ? m->value[i] : value));
    }
    fputs("EOD\n", script);
}

static void plot_line(const gauge_line *line, const char *before, FILE *script)
{
    fprintf(script,
            "%s$%s using 1:3:4 with filledcurves fs solid 0.25 noborder fc rgb %s, $%s using 1:2 "
            "with lines lw 1.8 lc rgb %s",
            before, line->block, line->colour, line->block, line->colour);
}

static void write_caption(const gm_subject *subject, double threshold, double batch, FILE *caption)
{
    const gm_subject_metric *alarm = &subject->metric[GM_SUBJECT_ALARM];
    fputs("Running means over the training's own batches, with their standard errors. Above: the "
          "Batch Sharpness <i>g</i><sub>B</sub>&middot;<i>H</i><sub>B</sub><i>g</i><sub>B</sub> / "
          "&#8214;<i>g</i><sub>B</sub>&#8214;&sup2;, and the curvature of the loss along a "
          "direction that earlier batches turned to the top (in expectation below "
          "&lambda;<sub>max</sub>)",
          caption);
    if (followed(subject)) fputs("; points, &lambda;<sub>max</sub> of the whole loss", caption);
    if (isfinite(threshold)) {
        fputs("; dashed, the threshold of the full-batch step, ", caption);
        gm_html_number(caption, threshold);
    }
    fputs(". Below: the gradient noise scale tr&nbsp;&Sigma; / &#8214;&mu;&#8214;&sup2;", caption);
    if (isfinite(batch)) {
        fputs("; dashed, the batch size ", caption);
        gm_html_number(caption, batch);
        fputs(": where the scale lies above it noise dominates the step", caption);
    }
    fputs(".", caption);
    if (!alarm->count) return;
    fputs(" <strong>Triangles: the loss rose above its predicted band at ", caption);
    gm_html_number(caption, (double)alarm->count);
    fputs(" steps.</strong>", caption);
}

static void plot_upper(const gm_subject *subject, double threshold, const gm_axis *axis,
                       FILE *script)
{
    const char *before = "plot ";
    if (isfinite(threshold)) {
        fprintf(script, "plot %.8g with lines lw 1.6 dt (6,3) lc rgb ink",
                gm_axis_place(axis, threshold));
        before = ", ";
    }
    for (size_t i = 0; i < SHARPNESSES; i++) {
        if (!subject->metric[sharpness[i].metric].count) continue;
        plot_line(&sharpness[i], before, script);
        before = ", ";
    }
    if (followed(subject)) fputs(", $followed with points pt 7 ps 0.4 lc rgb ink", script);
    if (subject->metric[GM_SUBJECT_ALARM].count)
        fputs(", $alarms with points pt 11 ps 0.7 lc rgb vermillion", script);
    fputs("\n", script);
}

static gm_status write_script(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    FILE *script = drawing->script;
    double beta, batch = gm_setting_number(subject, "train.batch");
    bool nesterov;
    double threshold = gm_threshold_of(subject, &beta, &nesterov);
    const gm_subject_metric *const above[] = {&subject->metric[GM_SUBJECT_BATCH_SHARPNESS],
                                              &subject->metric[GM_SUBJECT_SHARPNESS],
                                              followed(subject)};
    const gm_subject_metric *const below[] = {&subject->metric[GM_SUBJECT_NOISE_SCALE]};
    gm_axis upper_axis, lower_axis;
    gm_status status = axis_of(above, 3, threshold, DECADES, &upper_axis, err);
    if (status == GM_OK) status = axis_of(below, 1, batch, 2 * DECADES, &lower_axis, err);
    if (status != GM_OK) return status;
    gm_legend_entry entry[SHARPNESSES + 3];
    size_t entries = 0;
    for (size_t i = 0; i < SHARPNESSES; i++) {
        if (subject->metric[sharpness[i].metric].count) entry[entries++] = sharpness[i].legend;
    }
    if (followed(subject))
        entry[entries++] = (gm_legend_entry){NULL, 7, "ink", "{/:Italic λ}_{max}"};
    if (isfinite(threshold)) {
        gm_legend_entry *e = &entry[entries++];
        *e = (gm_legend_entry){"dt (6,3) lc rgb ink", 0, NULL, ""};
        snprintf(e->label, sizeof e->label, "%s", gm_threshold_label(beta, nesterov));
    }
    if (subject->metric[GM_SUBJECT_ALARM].count)
        entry[entries++] = (gm_legend_entry){NULL, 11, "vermillion", "alarm"};
    gm_layout upper = {1, false, 0, 8, GAP + LOWER + FOOT};
    upper.top += GM_LEGEND_ROW * gm_legend_rows(&upper, -1, entry, entries);
    int height = upper.top + UPPER + GAP + LOWER + FOOT;
    gm_layout lower = {1, false, height, upper.top + UPPER + GAP, FOOT};
    drawing->height = upper.height = height;
    for (size_t i = 0; i < SHARPNESSES; i++) {
        write_line(subject, &sharpness[i], &upper_axis, script);
    }
    write_line(subject, &noise, &lower_axis, script);
    if (followed(subject))
        write_series(subject, followed(subject), "followed", &upper_axis, (double)NAN, script);
    write_series(subject, &subject->metric[GM_SUBJECT_ALARM], "alarms", &upper_axis,
                 upper_axis.high, script);
    fputs("set multiplot\n", script);
    gm_panel(&upper, 0, "curvature", script);
    gm_legend(&upper, -1, entry, entries, script);
    gm_axis_script(&subject->step_axis, "x", GM_LABELS_BARE, script);
    gm_axis_script(&upper_axis, "y", GM_LABELS_SHOWN, script);
    plot_upper(subject, threshold, &upper_axis, script);
    gm_panel_end(script);
    gm_panel(&lower, 0, "noise scale", script);
    fputs("set xlabel \"training step\"\n", script);
    gm_axis_script(&subject->step_axis, "x", GM_LABELS_SHOWN, script);
    gm_axis_script(&lower_axis, "y", GM_LABELS_SHOWN, script);
    fprintf(script, "plot %.8g with lines lw 1.6 dt (6,3) lc rgb ink",
            gm_axis_place(&lower_axis, batch));
    if (subject->metric[GM_SUBJECT_NOISE_SCALE].count) plot_line(&noise, ", ", script);
    fputs("\n", script);
    gm_panel_end(script);
    fputs("unset multiplot\n", script);
    write_caption(subject, threshold, batch, drawing->caption);
    return GM_OK;
}

static size_t count(const gm_subject *subject)
{
    return subject->metric[GM_SUBJECT_BATCH_SHARPNESS].count ? 1 : 0;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    return write_script(subject, drawing, err);
}

const gm_figure gm_figure_gauges = {"gauges", "Gauges of stability along the training", draw,
                                    count};
