/* Loss and error over training. */
#include <math.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"

/* Mini-batch losses are dots up to so many, beyond it a band in pieces: more of either would not be
 * seen apart. */
enum { MOST_DOTS = 400, BUCKETS = 250 };

static bool has_numbers(const gm_subject_metric *metric)
{
    for (size_t i = 0; i < metric->count; i++) {
        if (isfinite(metric->value[i])) return true;
    }
    return false;
}

/* Data block $name: lowest and highest value of a series in equal pieces of the step axis. */
static void write_range(const gm_subject *subject, const gm_subject_metric *metric,
                        const gm_axis *value_axis, const char *name, FILE *script)
{
    const gm_axis *axis = &subject->step_axis;
    /* Enough values in each piece to give the band a width. */
    double buckets = fmin((double)metric->count / 8.0, BUCKETS);
    double width = gm_axis_place(axis, axis->high) / buckets;
    fprintf(script, "$%s << EOD\n", name);
    for (size_t i = 0; i < metric->count;) {
        double bucket = floor(gm_axis_place(axis, (double)metric->step[i]) / width);
        double low = HUGE_VAL, high = -HUGE_VAL;
        for (; i < metric->count; i++) {
            if (floor(gm_axis_place(axis, (double)metric->step[i]) / width) > bucket) break;
            if (!isfinite(metric->value[i])) continue;
            low = fmin(low, fmax(metric->value[i], value_axis->low));
            high = fmax(high, fmax(metric->value[i], value_axis->low));
        }
        if (low > high) continue;
        fprintf(script, "%.6g %.6g %.6g\n", (bucket + 0.5) * width, gm_axis_place(value_axis, low),
                gm_axis_place(value_axis, high));
    }
    fputs("EOD\n", script);
}

static void write_series(const gm_subject *subject, const gm_subject_metric *metric, double factor,
                         const gm_axis *value_axis, const char *name, FILE *script)
{
    fprintf(script, "$%s << EOD\n", name);
    for (size_t i = 0; i < metric->count; i++) {
        gm_data_point(script, gm_axis_place(&subject->step_axis, (double)metric->step[i]),
                      gm_axis_place(value_axis, factor * metric->value[i]));
    }
    fputs("EOD\n", script);
}

/* The axis that shows all of two series, times factor. */
static gm_status axis_of(const gm_subject_metric *a, const gm_subject_metric *b, double factor,
                         double span, gm_axis *axis, gm_error *err)
{
    double *value = gm_alloc(a->count + b->count, sizeof *value, "loss axis", err);
    if (!value) return GM_ERR_MEMORY;
    for (size_t i = 0; i < a->count; i++) {
        value[i] = factor * a->value[i];
    }
    for (size_t i = 0; i < b->count; i++) {
        value[a->count + i] = factor * b->value[i];
    }
    enum { DECADES = 8 };
    *axis = gm_axis_for(a->count + b->count, value, span, DECADES);
    gm_free(value);
    return GM_OK;
}

/* Extends the axis to mini-batch losses, as far as a few odd ones do not flatten the rest. */
static void make_room(const gm_subject_metric *batch, gm_axis *axis)
{
    double low = axis->low, high = axis->high;
    double lowest = axis->scale == GM_SCALE_LOG ? low / 10.0 : fmin(low, 0.0);
    for (size_t i = 0; i < batch->count; i++) {
        if (!isfinite(batch->value[i])) continue;
        axis->low = fmin(axis->low, fmax(batch->value[i], lowest));
        axis->high = fmax(axis->high, fmin(batch->value[i], 2.0 * high));
    }
}

enum { BATCH, TRAINING, TEST, CURVES };

static const gm_legend_entry legend[CURVES] = {
    {NULL, 0, "muted", "mini-batch"},
    {"dt 1 lc rgb blue", 0, NULL, "training set"},
    {"dt (7,3) lc rgb vermillion", 0, NULL, "test set"},
};

/* One panel: the mini-batches $range and the curves $NAME_1, $NAME_2 of those that are shown. */
static void plot_panel(const char *name, const bool shown[CURVES], bool dots, FILE *script)
{
    const char *separator = "plot ";
    if (shown[BATCH]) {
        fputs(dots
                  ? "plot $range with points pt 7 ps 0.3 lc rgb muted"
                  : "plot $range using 1:2:3 with filledcurves fs solid 0.25 noborder lc rgb muted",
              script);
        separator = ", ";
    }
    for (int i = TRAINING; i < CURVES; i++) {
        if (!shown[i]) continue;
        fprintf(script, "%s$%s_%d with linespoints pt 7 ps 0.15 lw 2 %s", separator, name, i,
                legend[i].line);
        separator = ", ";
    }
    fputs("\n", script);
}

static void write_caption(const gm_subject *subject, bool batch, bool dots, FILE *caption)
{
    fputs("Left: the loss <i>f</i>, mean over all samples, after so many steps (0 is the "
          "initialization). ",
          caption);
    if (batch)
        fputs(dots ? "Grey dots are the losses of single mini-batches. "
                   : "The grey band runs from the lowest to the highest mini-batch loss met around "
                     "a step. ",
              caption);
    fputs("Right: the share of samples whose largest output is not their label.", caption);
    double loss = gm_subject_last(subject, GM_SUBJECT_LOSS);
    if (isfinite(loss)) {
        fputs(" At the end the training loss is ", caption);
        gm_html_number(caption, loss);
        fputs(".", caption);
    }
}

/* Blocks, axes and plots of both panels. */
static gm_status write_script(const gm_subject *subject, const bool loss_shown[CURVES],
                              const bool error_shown[CURVES], gm_drawing *drawing, gm_error *err)
{
    const gm_subject_metric *metric = subject->metric;
    const gm_subject_metric *loss = &metric[GM_SUBJECT_LOSS], *test = &metric[GM_SUBJECT_TEST_LOSS];
    const gm_subject_metric *batch = &metric[GM_SUBJECT_BATCH_LOSS];
    const gm_subject_metric *error = &metric[GM_SUBJECT_ERROR];
    const gm_subject_metric *test_error = &metric[GM_SUBJECT_TEST_ERROR];
    bool full = loss_shown[TRAINING] || loss_shown[TEST];
    gm_axis loss_axis, error_axis;
    gm_status status = axis_of(full ? loss : batch, test, 1.0, 30.0, &loss_axis, err);
    if (status == GM_OK) status = axis_of(error, test_error, 100.0, HUGE_VAL, &error_axis, err);
    if (status != GM_OK) return status;
    error_axis.low = 0.0;
    make_room(batch, &loss_axis);

    bool left = loss_shown[BATCH] || full, right = error_shown[TRAINING] || error_shown[TEST];
    gm_legend_entry used[CURVES];
    size_t entries = 0;
    for (int i = 0; i < CURVES; i++) {
        if (loss_shown[i] || error_shown[i]) used[entries++] = legend[i];
    }
    bool dots = batch->count <= MOST_DOTS;
    if (dots && loss_shown[BATCH]) used[0].point = 7;
    gm_layout layout = {(left ? 1 : 0) + (right ? 1 : 0), false, 320, GM_LEGEND_ROW + 8, 0};
    FILE *script = drawing->script;
    if (dots) {
        write_series(subject, batch, 1.0, &loss_axis, "range", script);
    } else {
        write_range(subject, batch, &loss_axis, "range", script);
    }
    write_series(subject, loss, 1.0, &loss_axis, "loss_1", script);
    write_series(subject, test, 1.0, &loss_axis, "loss_2", script);
    write_series(subject, error, 100.0, &error_axis, "error_1", script);
    write_series(subject, test_error, 100.0, &error_axis, "error_2", script);
    fputs("set multiplot\nset xlabel \"training step\"\n", script);
    gm_axis_script(&subject->step_axis, "x", GM_LABELS_SHOWN, script);
    if (left) {
        gm_panel(&layout, 0, "loss", script);
        gm_legend(&layout, -1, used, entries, script);
        gm_axis_script(&loss_axis, "y", GM_LABELS_SHOWN, script);
        plot_panel("loss", loss_shown, dots, script);
        gm_panel_end(script);
    }
    if (right) {
        gm_panel(&layout, layout.columns - 1, "error (% of samples)", script);
        if (!left) gm_legend(&layout, -1, used, entries, script);
        gm_axis_script(&error_axis, "y", GM_LABELS_SHOWN, script);
        plot_panel("error", error_shown, false, script);
    }
    fputs("unset multiplot\n", script);
    drawing->height = layout.height;
    return GM_OK;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const gm_subject_metric *metric = subject->metric;
    bool loss_shown[CURVES] = {has_numbers(&metric[GM_SUBJECT_BATCH_LOSS]),
                               has_numbers(&metric[GM_SUBJECT_LOSS]),
                               has_numbers(&metric[GM_SUBJECT_TEST_LOSS])};
    bool error_shown[CURVES] = {false, has_numbers(&metric[GM_SUBJECT_ERROR]),
                                has_numbers(&metric[GM_SUBJECT_TEST_ERROR])};
    bool any = false;
    for (int i = 0; i < CURVES; i++) {
        any = any || loss_shown[i] || error_shown[i];
    }
    if (!any) {
        fputs("The run file holds no losses: nothing was trained in it, or none was finite.",
              drawing->missing);
        return GM_OK;
    }
    write_caption(subject, loss_shown[BATCH], metric[GM_SUBJECT_BATCH_LOSS].count <= MOST_DOTS,
                  drawing->caption);
    return write_script(subject, loss_shown, error_shown, drawing, err);
}

const gm_figure gm_figure_loss = {"loss", "Loss and error over training", draw,
                                  gm_figure_of_training};
