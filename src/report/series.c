#include "report/series.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/result.h"
#include "report/spectra.h"

/* Longer series are thinned to about so many points: more are not seen apart. */
enum { MOST = 800 };

static gm_status make(size_t count, bool errors, gm_series *series, gm_error *err)
{
    *series = (gm_series){0};
    series->x = gm_alloc(count, sizeof *series->x, "a curve", err);
    series->y = gm_alloc(count, sizeof *series->y, "a curve", err);
    if (errors) series->half = gm_alloc(count, sizeof *series->half, "errors of a curve", err);
    return series->x && series->y && (series->half || !errors) ? GM_OK : GM_ERR_MEMORY;
}

void gm_series_free(gm_series *series)
{
    gm_free(series->x);
    gm_free(series->y);
    gm_free(series->half);
    *series = (gm_series){0};
}

static void add(gm_series *series, double x, double y)
{
    if (!isfinite(x) || !isfinite(y)) return;
    series->x[series->count] = x;
    series->y[series->count++] = y;
}

/* Values of m, every stride-th and the last. */
static gm_status read_metric(const gm_subject_metric *m, double factor, gm_series *series,
                             gm_error *err)
{
    gm_status status = make(m->count, false, series, err);
    size_t stride = 1 + m->count / MOST;
    for (size_t i = 0; i < m->count && status == GM_OK; i++) {
        if (i % stride && i + 1 < m->count) continue;
        add(series, (double)m->step[i], factor * m->value[i]);
    }
    return status;
}

gm_status gm_series_metric(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                           gm_error *err)
{
    gm_status status = read_metric(&run->metric[quantity->metric], quantity->factor, series, err);
    if (status != GM_OK || quantity->error < 0 || !series->count) return status;
    const gm_subject_metric *e = &run->metric[quantity->error];
    series->half = gm_alloc(series->count, sizeof *series->half, "errors of a curve", err);
    if (!series->half) return GM_ERR_MEMORY;
    size_t at = 0;
    for (size_t i = 0; i < series->count; i++) {
        while (at < e->count && (double)e->step[at] < series->x[i]) {
            at++;
        }
        bool known = at < e->count && (double)e->step[at] == series->x[i];
        series->half[i] = known && isfinite(e->value[at]) ? quantity->factor * e->value[at] : 0.0;
    }
    return GM_OK;
}

gm_status gm_series_points(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                           gm_error *err)
{
    gm_status status = make(run->points, false, series, err);
    for (size_t t = 0; t < run->points && status == GM_OK; t++) {
        if (run->point[t].step < 0) continue;
        add(series, (double)run->point[t].step,
            quantity->factor * gm_result_number(run->point[t].document, quantity->path));
    }
    return status;
}

/* The largest eigenvalues that `spectrum` found of the whole net's H, one a step. */
static gm_status read_spectra(const gm_subject *run, gm_series *series, gm_error *err)
{
    gm_status status = make(run->spectra, false, series, err);
    for (size_t i = 0; i < run->spectra && status == GM_OK; i++) {
        const gm_subject_spectrum *s = &run->spectrum[i];
        const char *operator= gm_result_text(s->document, "operator");
        const char *which = gm_result_text(s->block, "which");
        bool top = !which || strcmp(which, "LA") == 0 || strcmp(which, "BE") == 0;
        bool whole = !gm_result_text(s->block, "layer") && !gm_spectrum_preconditioned(s);
        if (s->step < 0 || !operator|| strcmp(operator, "hessian") != 0 || !top || !whole) continue;
        if (series->count && series->x[series->count - 1] == (double)s->step) continue;
        add(series, (double)s->step, gm_result_number(s->block, "eigenvalues/0"));
    }
    return status;
}

gm_status gm_series_largest(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                            gm_error *err)
{
    gm_status status = gm_series_points(run, quantity, series, err);
    for (size_t t = 0; t < run->tracks && status == GM_OK && series->count < 2; t++) {
        if (strcmp(run->track[t].operator, "hessian") != 0 || !run->track[t].count) continue;
        gm_series_free(series);
        status = read_metric(&run->track[t].eigenvalue[0], quantity->factor, series, err);
    }
    if (status != GM_OK || series->count) return status;
    gm_series_free(series);
    return read_spectra(run, series, err);
}

gm_status gm_series_bound(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                          gm_error *err)
{
    gm_status status = make(run->results, false, series, err);
    for (size_t i = 0; i < run->results && status == GM_OK; i++) {
        const gm_subject_result *result = &run->result[i];
        if (strcmp(result->stored->command, "bound") != 0) continue;
        if (strcmp(result->stored->key, "bound") != 0 || result->stored->step < 0) continue;
        add(series, (double)result->stored->step,
            quantity->factor * gm_result_number(result->document, quantity->path));
    }
    return status;
}

static gm_status read_array(const json_t *document, const char *path, gm_series *series,
                            gm_error *err)
{
    gm_numbers numbers;
    *series = (gm_series){0};
    gm_status status = gm_result_numbers(document, path, &numbers, err);
    if (status == GM_OK) status = make(numbers.rows, false, series, err);
    for (size_t i = 0; i < numbers.rows && status == GM_OK && numbers.columns == 1; i++) {
        add(series, (double)(i + 1), numbers.value[i]);
    }
    gm_numbers_free(&numbers);
    return status;
}

gm_status gm_series_array(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                          gm_error *err)
{
    return read_array(run->decomposition, quantity->path, series, err);
}

gm_status gm_series_overlap(const gm_subject *run, const gm_quantity *quantity, gm_series *series,
                            gm_error *err)
{
    (void)quantity;
    return read_array(gm_result_pair(run->decomposition, "hessian", "moment"), "value", series,
                      err);
}
