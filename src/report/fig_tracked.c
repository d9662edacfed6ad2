/* Eigenvalues that a training followed, with the size at which its step becomes unstable on a
 * quadratic, and the loss beneath. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/spectra.h"
#include "report/threshold.h"

enum { DECADES = 6, UPPER = 270, LOWER = 110, GAP = 24, FOOT = 60 };

/* The axis of all values and the threshold; *finite: how many values there are. */
static gm_status choose_axis(const gm_subject_track *track, double threshold, gm_axis *axis,
                             size_t *finite, gm_error *err)
{
    size_t all = 1, count = 0;
    for (size_t j = 0; j < track->count; j++) {
        all += track->eigenvalue[j].count;
    }
    double *value = gm_alloc(all, sizeof *value, "tracked eigenvalues", err);
    if (!value) return GM_ERR_MEMORY;
    for (size_t j = 0; j < track->count; j++) {
        for (size_t i = 0; i < track->eigenvalue[j].count; i++) {
            if (isfinite(track->eigenvalue[j].value[i]))
                value[count++] = track->eigenvalue[j].value[i];
        }
    }
    *finite = count;
    if (isfinite(threshold)) value[count++] = threshold;
    *axis = gm_axis_for(count, value, 100.0, DECADES);
    if (axis->scale == GM_SCALE_LINEAR) axis->low = fmin(axis->low, 0.0);
    gm_free(value);
    return GM_OK;
}

static void write_series(const gm_subject *subject, const gm_subject_metric *metric,
                         const gm_axis *axis, const char *name, size_t number, FILE *script)
{
    fprintf(script, "$%s%zu << EOD\n", name, number);
    for (size_t i = 0; i < metric->count; i++) {
        gm_data_point(script, gm_axis_place(&subject->step_axis, (double)metric->step[i]),
                      gm_axis_place(axis, metric->value[i]));
    }
    fputs("EOD\n", script);
}

static void plot_eigenvalues(const gm_subject_track *track, const gm_axis *axis, double threshold,
                             FILE *script)
{
    const char *separator = "plot ";
    if (isfinite(threshold)) {
        fprintf(script, "plot %.8g with lines lw 1.6 dt (6,3) lc rgb ink",
                gm_axis_place(axis, threshold));
        separator = ", ";
    }
    for (size_t j = track->count; j-- > 0;) {
        fprintf(script, "%s$value%zu with linespoints pt 7 ps %s lw %s lc rgb %s", separator, j + 1,
                j ? "0.2" : "0.35", j ? "1" : "2.2", j ? "sky" : "blue");
        separator = ", ";
    }
    fputs("\n", script);
}

static void plot_loss(const gm_subject *subject, FILE *script)
{
    const gm_subject_metric *metric = &subject->metric[GM_SUBJECT_LOSS];
    if (!isfinite(gm_subject_last(subject, GM_SUBJECT_LOSS)))
        metric = &subject->metric[GM_SUBJECT_BATCH_LOSS];
    enum { LOSS_DECADES = 8 };
    gm_axis axis = gm_axis_for(metric->count, metric->value, 30.0, LOSS_DECADES);
    if (axis.scale == GM_SCALE_LINEAR) axis.low = fmin(axis.low, 0.0);
    write_series(subject, metric, &axis, "loss", 0, script);
    gm_axis_script(&axis, "y", GM_LABELS_SHOWN, script);
    fputs(metric->count ? "plot $loss0 with lines lw 1.6 lc rgb vermillion\n" : "plot NaN\n",
          script);
}

/* Where only the first samples were measured, the words of --track say n=SAMPLES. */
static void caption_samples(const gm_subject *subject, FILE *caption)
{
    const char *words = gm_subject_setting(subject, "train.track");
    const char *found = words ? strstr(words, ",n=") : NULL;
    double samples = found ? strtod(found + 3, NULL) : (double)NAN;
    double all = gm_setting_number(subject, "train.samples");
    if (!(samples < all)) return;
    fputs(" of the loss on the first ", caption);
    gm_html_number(caption, samples);
    fputs(" of ", caption);
    gm_html_number(caption, all);
    fputs(" samples", caption);
}

static void write_caption(const gm_subject *subject, const gm_subject_track *track,
                          double threshold, double beta, bool nesterov, FILE *caption)
{
    fputs("Above: the ", caption);
    gm_html_number(caption, (double)track->count);
    fputs(" followed eigenvalues of the ", caption);
    gm_operator_caption(track->operator, caption);
    caption_samples(subject, caption);
    fputs(" over the training, the largest one bold", caption);
    if (isfinite(threshold)) {
        fprintf(caption, "; dashed, %s&nbsp;=&nbsp;",
                beta == 0.0 ? "2/&eta;"
                : nesterov  ? "(2+2&beta;)/((1+2&beta;)&eta;)"
                            : "(2+2&beta;)/&eta;");
        gm_html_number(caption, threshold);
        fputs(", the curvature beyond which a full-batch step of this size moves away from the "
              "minimum of a quadratic",
              caption);
    }
    fputs(". Below: the training loss.", caption);
    if (!isfinite(threshold) && gm_subject_setting(subject, "train.step"))
        fputs(" The step was not one constant of plain descent, so that no single line marks where "
              "it becomes unstable.",
              caption);
}

static void write_script(const gm_subject *subject, const gm_subject_track *track,
                         const gm_axis *axis, double threshold, const char *threshold_label,
                         gm_drawing *drawing)
{
    FILE *script = drawing->script;
    gm_legend_entry entry[3] = {{"dt 1 lc rgb blue", 7, NULL, "{/:Italic λ}_1"}};
    size_t entries = 1;
    if (track->count > 1) {
        gm_legend_entry *e = &entry[entries++];
        *e = (gm_legend_entry){"dt 1 lc rgb sky", 7, NULL, ""};
        snprintf(e->label, sizeof e->label,
                 track->count > 2 ? "{/:Italic λ}_2 … {/:Italic λ}_{%zu}" : "{/:Italic λ}_%zu",
                 track->count);
    }
    if (isfinite(threshold)) {
        gm_legend_entry *e = &entry[entries++];
        *e = (gm_legend_entry){"dt (6,3) lc rgb ink", 0, NULL, ""};
        snprintf(e->label, sizeof e->label, "%s", threshold_label);
    }
    int top = GM_LEGEND_ROW + 8, height = top + UPPER + GAP + LOWER + FOOT;
    gm_layout upper = {1, false, height, top, GAP + LOWER + FOOT};
    gm_layout lower = {1, false, height, top + UPPER + GAP, FOOT};
    drawing->height = height;
    for (size_t j = 0; j < track->count; j++) {
        write_series(subject, &track->eigenvalue[j], axis, "value", j + 1, script);
    }
    fputs("set multiplot\n", script);
    gm_panel(&upper, 0, "eigenvalue", script);
    gm_legend(&upper, -1, entry, entries, script);
    gm_axis_script(&subject->step_axis, "x", GM_LABELS_BARE, script);
    gm_axis_script(axis, "y", GM_LABELS_SHOWN, script);
    plot_eigenvalues(track, axis, threshold, script);
    gm_panel_end(script);
    gm_panel(&lower, 0, "loss", script);
    fputs("set xlabel \"training step\"\n", script);
    gm_axis_script(&subject->step_axis, "x", GM_LABELS_SHOWN, script);
    plot_loss(subject, script);
    gm_panel_end(script);
    fputs("unset multiplot\n", script);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const gm_subject_track *track = &subject->track[drawing->number];
    gm_axis axis;
    size_t finite;
    double beta;
    bool nesterov;
    double threshold = gm_threshold_of(subject, &beta, &nesterov);
    gm_status status = choose_axis(track, threshold, &axis, &finite, err);
    if (status != GM_OK) return status;
    fputs(": ", drawing->title);
    gm_operator_title(track->operator, drawing->title);
    if (!finite) {
        fputs("None of the followed eigenvalues is finite.", drawing->missing);
        return GM_OK;
    }
    write_script(subject, track, &axis, threshold, gm_threshold_label(beta, nesterov), drawing);
    write_caption(subject, track, threshold, beta, nesterov, drawing->caption);
    return GM_OK;
}

static size_t count(const gm_subject *subject)
{
    return subject->tracks;
}

const gm_figure gm_figure_tracked = {"tracked", "Eigenvalues along the training", draw, count};
