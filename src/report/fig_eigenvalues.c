/* The ends of the spectra of H, M and H_p over training. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/plot.h"
#include "report/result.h"

/* Eigenvalues shown at either end, and in all; decades on either side of the vertical axis. */
enum { ENDS = 10, SHOWN = 2 * ENDS, DECADES = 6 };

/* row [SHOWN]: the ENDS largest eigenvalues of a spectrum, then the ENDS smallest (lowest first) as
 * far as they are negative, the rest of that end being the bulk around zero. NaN where there are
 * fewer, and for what is zero to rounding. */
static gm_status take_ends(const json_t *spectrum, double row[SHOWN], gm_error *err)
{
    gm_numbers high, low;
    gm_status status = gm_result_end(spectrum, false, &high, err);
    if (status != GM_OK) return status;
    status = gm_result_end(spectrum, true, &low, err);
    if (status != GM_OK) {
        gm_numbers_free(&high);
        return status;
    }
    double floor_size = gm_result_number(spectrum, "rank_floor");
    size_t top = high.rows < ENDS ? high.rows : ENDS;
    /* Where all are known, the two ends are parts of one list. */
    size_t left = gm_result_partial(spectrum) ? low.rows : low.rows - top;
    size_t bottom = left < ENDS ? left : ENDS;
    for (size_t j = 0; j < SHOWN; j++) {
        row[j] = (double)NAN;
        if (j < top) row[j] = high.value[j];
        if (j >= ENDS && j - ENDS < bottom) row[j] = low.value[j - ENDS];
        if (fabs(row[j]) <= floor_size || (j >= ENDS && row[j] > 0.0)) row[j] = (double)NAN;
    }
    gm_numbers_free(&high);
    gm_numbers_free(&low);
    return GM_OK;
}

/* The ends of one operator's spectrum at every point, value [points, SHOWN]. */
static gm_status collect(const gm_subject *subject, const char *key, double *value, gm_error *err)
{
    char path[64];
    snprintf(path, sizeof path, "operators/%s", key);
    gm_status status = GM_OK;
    for (size_t t = 0; t < subject->points && status == GM_OK; t++) {
        const json_t *spectrum = gm_result_find(subject->point[t].document, path);
        status = take_ends(spectrum, value + t * SHOWN, err);
    }
    return status;
}

/* Data block with one column of steps and one for each eigenvalue. */
static void write_block(const gm_subject *subject, const gm_axis *axis, const char *key,
                        const double *value, FILE *script)
{
    fprintf(script, "$%s << EOD\n", key);
    for (size_t t = 0; t < subject->points; t++) {
        fprintf(script, "%.8g", gm_axis_place(&subject->step_axis, (double)subject->point[t].step));
        for (size_t j = 0; j < SHOWN; j++) {
            double place = gm_axis_place(axis, value[t * SHOWN + j]);
            if (isfinite(place)) {
                fprintf(script, " %.8g", place);
            } else {
                fputs(" NaN", script);
            }
        }
        fputs("\n", script);
    }
    fputs("EOD\n", script);
}

static void plot_operator(const gm_shown_operator *op, const gm_axis *axis, FILE *script)
{
    fprintf(script, "set title \"%s\"\nplot %s with lines lw 0.8 lc rgb ink", op->label,
            axis->scale == GM_SCALE_LOG ? "NaN" : "0");
    for (int j = SHOWN - 1; j >= 0; j--) {
        bool lead = j == 0 || j == ENDS, low = j >= ENDS;
        fprintf(script, ", $%s using 1:%d with linespoints pt 7 ps %s lw %s %s lc rgb %s", op->key,
                j + 2, lead ? "0.45" : "0.25", lead ? "2" : "0.9", low ? "dt (6,3)" : "dt 1",
                op->colour);
    }
    fputs("\n", script);
}

static void write_caption(const gm_axis *axis, FILE *caption)
{
    fprintf(caption,
            "The %d largest eigenvalues (full lines, the largest one bold) and the negative ones "
            "among the %d smallest (dashed, the lowest one bold) of the Hessian <i>H</i>, of the "
            "second moment of stochastic gradients <i>M</i> and of "
            "<i>H</i><sub>p</sub>&nbsp;=&nbsp;<i>M</i>&nbsp;&minus;&nbsp;<i>H</i>. All three share "
            "one vertical axis%s. Where the net comes to fit its "
            "labels, <i>M</i> falls faster than <i>H</i>, and <i>H</i><sub>p</sub> becomes the "
            "mirror image of <i>H</i>.",
            ENDS, ENDS,
            axis->scale == GM_SCALE_SIGNED ? ", logarithmic on both sides of zero" : "");
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    if (!gm_drawing_has_course(subject, drawing)) return GM_OK;
    size_t count = subject->points * SHOWN;
    double *value = gm_alloc(GM_SHOWN_OPERATORS * count, sizeof *value, "eigenvalues", err);
    gm_status status = value ? GM_OK : GM_ERR_MEMORY;
    for (int o = 0; o < GM_SHOWN_OPERATORS && status == GM_OK; o++) {
        status = collect(subject, gm_shown_operators[o].key, value + (size_t)o * count, err);
    }
    if (status != GM_OK) goto done;
    gm_axis axis = gm_axis_for(GM_SHOWN_OPERATORS * count, value, 100.0, DECADES);
    size_t finite = 0;
    for (size_t i = 0; i < GM_SHOWN_OPERATORS * count; i++) {
        finite += isfinite(value[i]) ? 1 : 0;
    }
    if (!finite) {
        fputs("The decompositions hold no finite eigenvalue.", drawing->missing);
        goto done;
    }
    FILE *script = drawing->script;
    gm_layout layout = {GM_SHOWN_OPERATORS, true, 380, GM_TITLE_ROW, 0};
    fputs("set multiplot\nset xlabel \"training step\"\n", script);
    for (int o = 0; o < GM_SHOWN_OPERATORS; o++) {
        const gm_shown_operator *op = &gm_shown_operators[o];
        write_block(subject, &axis, op->key, value + (size_t)o * count, script);
        gm_panel(&layout, o, o ? "" : "eigenvalue", script);
        gm_axis_script(&subject->step_axis, "x", GM_LABELS_SHOWN, script);
        gm_axis_script(&axis, "y", o ? GM_LABELS_BARE : GM_LABELS_SHOWN, script);
        plot_operator(op, &axis, script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
    drawing->height = layout.height;
    write_caption(&axis, drawing->caption);
done:
    gm_free(value);
    return status;
}

const gm_figure gm_figure_eigenvalues = {"eigenvalues", "Largest and smallest eigenvalues", draw,
                                         gm_figure_of_decomposition};
