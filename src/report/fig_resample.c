/* Eigenvalues on resamples of the data: how far each would move with another data set of the same
 * size, beside the error of the solver, which says nothing of that. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/spectra.h"

enum { DECADES = 8, ERROR_DECADES = 17 };
static const char eigenvalues_path[] = "data_resample/mean";

typedef struct resamples {
    const gm_subject_spectrum *spectrum;
    size_t count;                         /* eigenvalues shown */
    double resamples;                     /* of the data */
    gm_numbers all, index;                /* values on the data, and which of them are shown */
    gm_numbers residual, sd, least, most; /* [count] */
    double scale;                         /* largest size of a value on the data */
} resamples;

static gm_status resamples_read(const gm_subject_spectrum *spectrum, resamples *r, gm_error *err)
{
    const struct {
        const char *path;
        gm_numbers *numbers;
    } wanted[] = {{"eigenvalues", &r->all},         {"data_resample/index", &r->index},
                  {"residuals", &r->residual},      {"data_resample/sd", &r->sd},
                  {"data_resample/min", &r->least}, {"data_resample/max", &r->most}};
    gm_status status = GM_OK;
    *r = (resamples){.spectrum = spectrum,
                     .resamples = gm_result_number(spectrum->block, "data_resample/resamples")};
    for (size_t i = 0; status == GM_OK && i < sizeof wanted / sizeof *wanted; i++) {
        status = gm_result_numbers(spectrum->block, wanted[i].path, wanted[i].numbers, err);
    }
    r->count = r->index.rows;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) { /* of a damaged document */
        size_t rows = wanted[i].numbers->rows;
        if (wanted[i].numbers != &r->all && rows < r->count) r->count = rows;
    }
    for (size_t i = 0; i < r->all.rows; i++) {
        if (isfinite(r->all.value[i])) r->scale = fmax(r->scale, fabs(r->all.value[i]));
    }
    return status;
}

static void resamples_free(resamples *r)
{
    gm_numbers_free(&r->all);
    gm_numbers_free(&r->index);
    gm_numbers_free(&r->residual);
    gm_numbers_free(&r->sd);
    gm_numbers_free(&r->least);
    gm_numbers_free(&r->most);
}

/* Eigenvalue j on the data; NaN where the document does not have it. */
static double on_data(const resamples *r, size_t j)
{
    double place = r->index.value[j];
    bool known = place >= 0 && place < (double)r->all.rows;
    return known ? r->all.value[(size_t)place] : (double)NAN;
}

/* An error relative to the largest eigenvalue; at least what a double can tell. */
static double relative(const resamples *r, double error)
{
    return r->scale > 0.0 ? fmax(error / r->scale, 1e-17) : (double)NAN;
}

/* An axis for f(r, j, which) of all eigenvalues, which = 0 ... kinds - 1. */
static gm_status axis_of(const resamples *r, size_t kinds,
                         double (*f)(const resamples *r, size_t j, size_t which), double span,
                         int decades, gm_axis *axis, gm_error *err)
{
    double *value = gm_alloc(kinds * r->count, sizeof *value, "eigenvalues", err);
    if (!value) return GM_ERR_MEMORY;
    for (size_t i = 0; i < kinds * r->count; i++) {
        value[i] = f(r, i % r->count, i / r->count);
    }
    *axis = gm_axis_for(kinds * r->count, value, span, decades);
    gm_free(value);
    return GM_OK;
}

static double value_of(const resamples *r, size_t j, size_t which)
{
    return which == 0 ? on_data(r, j) : which == 1 ? r->least.value[j] : r->most.value[j];
}

static double error_of(const resamples *r, size_t j, size_t which)
{
    return relative(r, which == 0 ? r->sd.value[j] : r->residual.value[j]);
}

/* Columns: number, value, least, most, spread of the resamples, residual; NaN for what is not
 * there. */
static void write_block(const resamples *r, const gm_axis *values, const gm_axis *errors,
                        FILE *script)
{
    fputs("$resamples << EOD\n", script);
    for (size_t j = 0; j < r->count; j++) {
        double low = gm_axis_place(values, r->least.value[j]);
        if (!isfinite(low)) low = gm_axis_place(values, values->low);
        const double column[] = {
            gm_axis_place(values, on_data(r, j)), low, gm_axis_place(values, r->most.value[j]),
            gm_axis_place(errors, error_of(r, j, 0)), gm_axis_place(errors, error_of(r, j, 1))};
        fprintf(script, "%zu", j + 1);
        for (size_t c = 0; c < sizeof column / sizeof *column; c++) {
            if (isfinite(column[c])) {
                fprintf(script, " %.8g", column[c]);
            } else {
                fputs(" NaN", script);
            }
        }
        fputc('\n', script);
    }
    fputs("EOD\n", script);
}

static void write_caption(const resamples *r, FILE *caption)
{
    fputs("Left: eigenvalues ", caption);
    gm_spectrum_caption(r->spectrum, caption);
    fputs(" on the data (dots), and their range over ", caption);
    gm_html_number(caption, r->resamples);
    fputs(" bootstrap resamples of it (bars), place by place: how far another data set of the same "
          "size might move them. Right: two errors relative to the largest size of an eigenvalue: "
          "the standard deviation over the resamples, which more samples would lessen, and the "
          "residual &#8214;<i>Av</i>&nbsp;&minus;&nbsp;&lambda;<i>v</i>&#8214;, which bounds the "
          "solver's own error on this data set.",
          caption);
}

static gm_status write_script(const resamples *r, gm_drawing *drawing, gm_error *err)
{
    static const gm_legend_entry legend[] = {{NULL, 7, "green", "spread (sd) over the resamples"},
                                             {NULL, 5, "vermillion", "residual of the eigenpair"}};
    FILE *script = drawing->script;
    gm_axis values, errors, ranks = {GM_SCALE_LINEAR, 1.0, 1.0, fmax((double)r->count, 2.0)};
    gm_layout layout = {r->scale > 0.0 ? 2 : 1, false, 360, GM_TITLE_ROW, 0};
    layout.top += GM_LEGEND_ROW * gm_legend_rows(&layout, layout.columns - 1, legend, 2);
    drawing->height = layout.height;
    gm_status status = axis_of(r, 3, value_of, 100.0, DECADES, &values, err);
    if (status == GM_OK) status = axis_of(r, 2, error_of, 0.0, ERROR_DECADES, &errors, err);
    if (status != GM_OK) return status;
    write_block(r, &values, &errors, script);
    fputs("set multiplot\nset xlabel \"number {/:Italic j}\"\n", script);
    gm_axis_script(&ranks, "x", GM_LABELS_SHOWN, script);
    gm_panel(&layout, 0, "eigenvalue {/:Italic λ_j}", script);
    gm_axis_script(&values, "y", GM_LABELS_SHOWN, script);
    fputs("set title \"range over the resamples\"\n"
          "plot $resamples using 1:3:(0):($4-$3) with vectors heads size screen 0.006,90 lw 1.2 "
          "lc rgb ink, $resamples using 1:2 with points pt 7 ps 0.5 lc rgb blue\n",
          script);
    gm_panel_end(script);
    if (layout.columns == 2) {
        gm_panel(&layout, 1, "error / |{/:Italic λ}|_{max}", script);
        gm_axis_script(&errors, "y", GM_LABELS_SHOWN, script);
        gm_legend(&layout, 1, legend, 2, script);
        fputs("set title \"errors of the data and of the solver\"\n"
              "plot $resamples using 1:5 with points pt 7 ps 0.5 lc rgb green, "
              "$resamples using 1:6 with points pt 5 ps 0.5 lc rgb vermillion\n",
              script);
        gm_panel_end(script);
    }
    fputs("unset multiplot\n", script);
    write_caption(r, drawing->caption);
    return GM_OK;
}

static size_t count(const gm_subject *subject)
{
    return gm_spectra_count(subject, eigenvalues_path);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    resamples r;
    gm_status status =
        resamples_read(gm_spectra_find(subject, eigenvalues_path, drawing->number), &r, err);
    if (status == GM_OK) {
        gm_spectrum_title(r.spectrum, drawing);
        if (r.count && r.all.finite && r.least.finite) {
            status = write_script(&r, drawing, err);
        } else {
            fputs("No eigenvalue was found on the resamples, or none is finite.", drawing->missing);
        }
    }
    resamples_free(&r);
    return status;
}

const gm_figure gm_figure_resample = {"resample", "Eigenvalues on resamples of the data", draw,
                                      count};
