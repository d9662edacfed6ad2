/* Extreme eigenvalues found by products, and the residuals that say how far each can be trusted: an
 * eigenvalue of the operator lies within ||A v - lambda v|| of lambda. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/spectra.h"

enum { DECADES = 8 };

typedef struct pairs {
    const gm_subject_spectrum *spectrum;
    gm_numbers value, residual; /* [k] */
    double scale;               /* largest size of a value */
    double tol;                 /* of the residual relative to scale; NaN where not recorded */
} pairs;

static gm_status pairs_read(const gm_subject_spectrum *spectrum, pairs *p, gm_error *err)
{
    *p = (pairs){.spectrum = spectrum, .tol = gm_result_number(spectrum->block, "tol")};
    if (!isfinite(p->tol)) p->tol = gm_result_number(spectrum->document, "tol");
    gm_status status = gm_result_numbers(spectrum->block, "eigenvalues", &p->value, err);
    if (status == GM_OK)
        status = gm_result_numbers(spectrum->block, "residuals", &p->residual, err);
    for (size_t i = 0; i < p->value.rows; i++) {
        if (isfinite(p->value.value[i])) p->scale = fmax(p->scale, fabs(p->value.value[i]));
    }
    return status;
}

/* Residual relative to the largest eigenvalue; at least what a double can tell. */
static double relative_residual(const pairs *p, size_t i)
{
    return p->scale > 0.0 ? fmax(p->residual.value[i] / p->scale, 1e-17) : (double)NAN;
}

static void write_block(const pairs *p, const gm_axis *axis, const gm_axis *relative, FILE *script)
{
    fputs("$pairs << EOD\n", script);
    for (size_t i = 0; i < p->value.rows; i++) {
        double value = p->value.value[i], error = p->residual.value[i];
        double place = gm_axis_place(axis, value), low = gm_axis_place(axis, value - error);
        double residual = gm_axis_place(relative, relative_residual(p, i));
        if (!isfinite(place) || !isfinite(error)) continue;
        if (!isfinite(low)) low = gm_axis_place(axis, axis->low);
        fprintf(script, "%zu %.8g %.8g %.8g ", i + 1, place, low,
                gm_axis_place(axis, value + error));
        if (isfinite(residual)) {
            fprintf(script, "%.8g\n", residual);
        } else {
            fputs("NaN\n", script);
        }
    }
    fputs("EOD\n", script);
}

static gm_status residual_axis(const pairs *p, gm_axis *axis, gm_error *err)
{
    size_t count = p->value.rows;
    double *value = gm_alloc(count + 1, sizeof *value, "residuals", err);
    if (!value) return GM_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        value[i] = relative_residual(p, i);
    }
    value[count] = p->tol;
    *axis = gm_axis_for(count + 1, value, 0.0, 17);
    gm_free(value);
    return GM_OK;
}

static void write_caption(const pairs *p, const gm_axis *axis, FILE *caption)
{
    double products = gm_result_number(p->spectrum->block, "products");
    const json_t *converged = gm_result_find(p->spectrum->block, "converged");
    fputs("Left: the eigenvalues found ", caption);
    gm_spectrum_caption(p->spectrum, caption);
    fputs(", in descending order", caption);
    if (axis->scale == GM_SCALE_SIGNED)
        fputs(", on an axis that is logarithmic on both sides of zero", caption);
    fputs("; an eigenvalue lies within each bar, whose half length is the residual "
          "&#8214;<i>Av</i>&nbsp;&minus;&nbsp;&lambda;<i>v</i>&#8214; by a true product. Right: "
          "these residuals relative to the largest size shown",
          caption);
    if (isfinite(p->tol)) {
        fputs("; the dashed line is the tolerance ", caption);
        gm_html_number(caption, p->tol);
    }
    fputs(".", caption);
    if (isfinite(products)) {
        fputs(" Found with ", caption);
        gm_html_number(caption, products);
        fputs(" products.", caption);
    }
    if (json_is_false(converged))
        fputs(" <strong>Not all of them converged to the tolerance.</strong>", caption);
}

static gm_status write_script(const pairs *p, gm_drawing *drawing, gm_error *err)
{
    FILE *script = drawing->script;
    gm_axis values = gm_axis_for(p->value.rows, p->value.value, 100.0, DECADES), relative;
    gm_axis ranks = {GM_SCALE_LINEAR, 1.0, 1.0, fmax((double)p->value.rows, 2.0)};
    gm_status status = residual_axis(p, &relative, err);
    if (status != GM_OK) return status;
    gm_layout layout = {p->scale > 0.0 ? 2 : 1, false, 340, GM_TITLE_ROW, 0};
    drawing->height = layout.height;
    write_block(p, &values, &relative, script);
    fputs("set multiplot\nset xlabel \"number {/:Italic j}\"\n", script);
    gm_axis_script(&ranks, "x", GM_LABELS_SHOWN, script);
    gm_panel(&layout, 0, "eigenvalue {/:Italic λ_j}", script);
    gm_axis_script(&values, "y", GM_LABELS_SHOWN, script);
    fputs("set title \"eigenvalues\"\n"
          "plot $pairs using 1:3:(0):($4-$3) with vectors heads size screen 0.006,90 lw 1.2 "
          "lc rgb ink, $pairs using 1:2 with points pt 7 ps 0.5 lc rgb blue\n",
          script);
    gm_panel_end(script);
    if (layout.columns == 2) {
        gm_panel(&layout, 1, "residual / |{/:Italic λ}|_{max}", script);
        gm_axis_script(&relative, "y", GM_LABELS_SHOWN, script);
        fputs("set title \"relative residuals\"\nplot ", script);
        if (isfinite(p->tol) && p->tol > 0.0)
            fprintf(script, "%.8g with lines lw 1.4 dt (6,3) lc rgb ink, ",
                    gm_axis_place(&relative, p->tol));
        fputs("$pairs using 1:5 with points pt 7 ps 0.5 lc rgb blue\n", script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
    write_caption(p, &values, drawing->caption);
    return GM_OK;
}

/* Dense results have all eigenvalues to rounding and residuals of a few: nothing to draw here. */
static bool is_iterative(const gm_subject_spectrum *spectrum)
{
    const char *method = gm_result_text(spectrum->document, "method");
    return method && strcmp(method, "lanczos") == 0 &&
           gm_result_find(spectrum->block, "eigenvalues");
}

static size_t count(const gm_subject *subject)
{
    size_t found = 0;
    for (size_t i = 0; i < subject->spectra; i++) {
        found += is_iterative(&subject->spectrum[i]) ? 1 : 0;
    }
    return found;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    size_t at = 0;
    for (size_t left = drawing->number;; at++) {
        if (is_iterative(&subject->spectrum[at]) && left-- == 0) break;
    }
    pairs p;
    gm_status status = pairs_read(&subject->spectrum[at], &p, err);
    if (status == GM_OK) {
        gm_spectrum_title(p.spectrum, drawing);
        if (p.value.finite && p.residual.rows == p.value.rows) {
            status = write_script(&p, drawing, err);
        } else {
            fputs("No eigenpair converged, or none is finite.", drawing->missing);
        }
    }
    gm_numbers_free(&p.value);
    gm_numbers_free(&p.residual);
    return status;
}

const gm_figure gm_figure_extremes = {"extremes", "Extreme eigenvalues", draw, count};
