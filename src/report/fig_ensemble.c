/* Ensembles of runs (dynamics ensemble): how each recorded quantity is distributed over the runs,
 * step by step. Two quantities to a picture. */
#include <math.h>
#include <string.h>

#include "report/ensembles.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"

enum { LEVELS = 7, STEP_DECADES = 8 };

static const struct {
    const char *key, *label, *words;
    double span; /* beyond it the axis is logarithmic, ... */
    int decades; /* ... over so many powers of ten below the largest */
} shown[] = {
    {"loss", "loss {/:Italic f}", "the loss <i>f</i>(&theta;<sub>t</sub>)", 30.0, 8},
    {"delta", "{/:Italic Δ}", "its change in one step, &Delta;<sub>t</sub>", 30.0, 2},
    {"cosine", "cos∠({/:Italic g}_t, {/:Italic g}_{t+1})",
     "the cosine of the angle between the stochastic gradients of successive steps", HUGE_VAL, 8},
    {"distance", "‖{/:Italic θ}_t − {/:Italic θ}_0‖", "the distance from the start", HUGE_VAL, 8},
    {"error_rate", "error", "the share of wrong predictions on the training set", HUGE_VAL, 8},
    {"test_error_rate", "test error", "the same on the test set", HUGE_VAL, 8},
    {"cosine_mean", "cos∠({/:Italic g}_t, {/:Italic μ}_t)",
     "the cosine of the angle between stochastic and full gradient", HUGE_VAL, 8},
    {"gradient_square", "‖{/:Italic μ}_t‖²", "the square of the full gradient", 30.0, 8},
    {"trace_sigma", "tr Σ_t", "the trace of the covariance of single samples' gradients", 30.0, 8},
};
enum { SHOWN = sizeof shown / sizeof *shown };

/* Columns of one quantity; quantile [LEVELS, steps]. */
typedef struct fan {
    int which; /* of shown */
    gm_numbers mean, quantile, present;
    gm_axis axis;
} fan;

static void fan_free(fan *f)
{
    gm_numbers_free(&f->mean);
    gm_numbers_free(&f->quantile);
    gm_numbers_free(&f->present);
}

static gm_status fan_load(const char *run, const json_t *document, int which, size_t steps, fan *f,
                          gm_error *err)
{
    const json_t *quantity =
        json_object_get(gm_result_find(document, "quantities"), shown[which].key);
    *f = (fan){.which = which};
    gm_status status = gm_result_numbers(quantity, "mean", &f->mean, err);
    if (status == GM_OK)
        status = gm_result_numbers(quantity, "quantiles/values", &f->quantile, err);
    if (status == GM_OK) status = gm_result_numbers(quantity, "count", &f->present, err);
    if (status != GM_OK) return status;
    if (f->mean.rows != steps || f->quantile.rows != LEVELS || f->quantile.columns != steps ||
        f->present.rows != steps)
        return gm_fail(err, GM_ERR_INPUT, "%s: a recorded ensemble's %s is incomplete", run,
                       shown[which].key);
    f->axis =
        gm_axis_for(LEVELS * steps, f->quantile.value, shown[which].span, shown[which].decades);
    return GM_OK;
}

/* $fanN: step, the seven quantiles, the mean; steps without a value are left out, and what is
 * infinite reaches the top. */
static void write_fan(const fan *f, const gm_axis *step_axis, const gm_numbers *steps, int number,
                      FILE *script)
{
    fprintf(script, "$fan%d << EOD\n", number);
    for (size_t i = 0; i < steps->rows; i++) {
        if (!(f->present.value[i] > 0.0)) continue;
        fprintf(script, "%.8g", gm_axis_place(step_axis, steps->value[i]));
        for (size_t q = 0; q <= LEVELS; q++) {
            double x = q < LEVELS ? f->quantile.value[q * steps->rows + i] : f->mean.value[i];
            double held = isfinite(x) ? fmin(fmax(x, f->axis.low), f->axis.high) : f->axis.high;
            fprintf(script, " %.8g", gm_axis_place(&f->axis, held));
        }
        fputs("\n", script);
    }
    fputs("EOD\n", script);
}

static const gm_legend_entry legend[] = {
    {NULL, 0, "blue", "middle half, 5–95 %, 1–99 % of the runs"},
    {"dt 1 lc rgb blue", 0, NULL, "median"},
    {"dt (7,3) lc rgb vermillion", 0, NULL, "mean"},
};
enum { ENTRIES = sizeof legend / sizeof *legend };

static void plot_fan(const fan *f, const gm_layout *layout, int column, int number, FILE *script)
{
    gm_panel(layout, column, shown[f->which].label, script);
    if (column == 0) gm_legend(layout, -1, legend, ENTRIES, script);
    gm_axis_script(&f->axis, "y", GM_LABELS_SHOWN, script);
    fprintf(script,
            "plot $fan%d using 1:2:8 with filledcurves fs solid 0.15 noborder lc rgb blue, "
            "$fan%d using 1:3:7 with filledcurves fs solid 0.2 noborder lc rgb blue, "
            "$fan%d using 1:4:6 with filledcurves fs solid 0.3 noborder lc rgb blue, "
            "$fan%d using 1:5 with lines lw 1.8 %s, $fan%d using 1:9 with lines lw 1.4 %s\n",
            number, number, number, number, legend[1].line, number, legend[2].line);
    gm_panel_end(script);
}

static void write_caption(const json_t *document, const fan *f, size_t fans, FILE *caption)
{
    fputs("Over ", caption);
    gm_html_number(caption, gm_result_number(document, "runs"));
    fputs(" runs of SGD, step by step: ", caption);
    for (size_t i = 0; i < fans; i++) {
        fprintf(caption, "%s%s",
                i          ? "; right, "
                : fans > 1 ? "left, "
                           : "",
                shown[f[i].which].words);
    }
    fputs(". The darker a band, the more of the runs it leaves out on either side: a quarter, 5 % "
          "and 1 %.",
          caption);
    const json_t *diverged = gm_result_find(document, "diverged");
    double gone = json_number_value(json_array_get(diverged, json_array_size(diverged) - 1));
    if (gone > 0.0) {
        fputs(" <strong>", caption);
        gm_html_number(caption, gone);
        fputs(" of them diverged</strong>; they count as infinite in the quantiles, and not in the "
              "mean.",
              caption);
    }
}

/* Those recorded in the document, `first` ... first + 1 of them. Returns how many. */
static int choose(const json_t *document, size_t first, int which[2])
{
    const json_t *quantities = gm_result_find(document, "quantities");
    int found = 0;
    for (int i = 0; i < SHOWN && found < 2; i++) {
        if (!json_object_get(quantities, shown[i].key)) continue;
        if (first > 0) {
            first--;
            continue;
        }
        which[found++] = i;
    }
    return found;
}

static size_t pictures(const json_t *document)
{
    return (json_object_size(gm_result_find(document, "quantities")) + 1) / 2;
}

static size_t count(const gm_subject *subject)
{
    const json_t *document;
    size_t total = 0;
    for (size_t i = 0; (document = gm_ensemble_of(subject, i)); i++) {
        total += pictures(document);
    }
    return total;
}

static gm_status write_script(const json_t *document, const gm_numbers *steps, const fan *f,
                              size_t fans, gm_drawing *drawing)
{
    FILE *script = drawing->script;
    gm_axis step_axis = gm_axis_for(steps->rows, steps->value, 30.0, STEP_DECADES);
    gm_layout layout = {(int)fans, false, 330, 8, 0};
    layout.top += GM_LEGEND_ROW * gm_legend_rows(&layout, -1, legend, ENTRIES);
    drawing->height = layout.height;
    for (size_t i = 0; i < fans; i++) {
        write_fan(&f[i], &step_axis, steps, (int)i, script);
    }
    fputs("set multiplot\nset xlabel \"step {/:Italic t}\"\n", script);
    gm_axis_script(&step_axis, "x", GM_LABELS_SHOWN, script);
    for (size_t i = 0; i < fans; i++) {
        plot_fan(&f[i], &layout, (int)i, (int)i, script);
    }
    fputs("unset multiplot\n", script);
    write_caption(document, f, fans, drawing->caption);
    return GM_OK;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *document = NULL;
    size_t number = drawing->number;
    for (size_t i = 0; (document = gm_ensemble_of(subject, i)); i++) {
        if (number < pictures(document)) break;
        number -= pictures(document);
    }
    int which[2];
    size_t fans = (size_t)choose(document, 2 * number, which), loaded = 0;
    fan f[2] = {0};
    gm_numbers steps;
    gm_status status = gm_result_numbers(document, "steps", &steps, err);
    for (; status == GM_OK && loaded < fans; loaded++) {
        status = fan_load(subject->path, document, which[loaded], steps.rows, &f[loaded], err);
    }
    if (status == GM_OK) {
        double step = gm_result_number(document, "step");
        if (isfinite(step)) fprintf(drawing->title, " from step %.0f", step);
        status = write_script(document, &steps, f, fans, drawing);
    }
    for (size_t i = 0; i < loaded; i++) {
        fan_free(&f[i]);
    }
    gm_numbers_free(&steps);
    return status;
}

const gm_figure gm_figure_ensemble = {"ensemble", "An ensemble of runs", draw, count};
