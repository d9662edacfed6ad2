/* Statistics of an ensemble: in run after run, out at any time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/ensemble.h"

/* ---- in ---- */

static gm_status add_value(gm_cell *c, double x, bool sketched, gm_error *err)
{
    if (isnan(x)) return GM_OK;
    gm_status status = sketched ? gm_quantile_sketch_add(&c->sketch, x, err) : GM_OK;
    if (status != GM_OK) return status;
    if (isinf(x)) {
        c->infinite++;
        return GM_OK;
    }
    double away = x - c->mean;
    c->count++;
    c->mean += away / (double)c->count;
    c->squares += away * (x - c->mean);
    return GM_OK;
}

gm_status gm_ensemble_add(gm_ensemble *e, const double *row, size_t diverged, gm_error *err)
{
    const size_t cells = gm_team_rank(e->options.team) == 0 ? e->quantities * e->steps : 0;
    for (size_t i = 0; i < cells; i++) {
        gm_status status = add_value(&e->cell[i], row[i], !e->exact, err);
        if (status != GM_OK) return status;
        if (e->exact) e->value[i * e->options.runs + e->done] = row[i];
    }
    for (size_t i = diverged; i < e->steps; i++) {
        e->diverged[i]++;
    }
    e->done++;
    return GM_OK;
}

/* ---- out ---- */

/* Place of a quantity among the recorded ones, e->quantities where it is not. */
static size_t place_of(const gm_ensemble *e, gm_quantity quantity)
{
    size_t q = 0;
    while (q < e->quantities && e->quantity[q] != quantity) {
        q++;
    }
    return q;
}

/* Whether a quantity can have a value at a recorded step at all. */
static bool exists(const gm_ensemble *e, gm_quantity quantity, size_t index)
{
    uint64_t t = gm_ensemble_step(e, index), steps = e->options.train.steps;
    if (gm_quantity_costly(quantity) && !gm_ensemble_measures(e, t)) return false;
    if (quantity == GM_QUANTITY_COSINE) return t + 1 < steps;
    if (quantity == GM_QUANTITY_DELTA || quantity == GM_QUANTITY_MEAN_COSINE) return t < steps;
    return true;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kept values without the undefined ones, ascending: *sorted [*n], the caller's. */
static gm_status sort_values(const gm_ensemble *e, size_t cell, double **sorted, size_t *n,
                             gm_error *err)
{
    const double *value = e->value + cell * e->options.runs;
    *n = 0;
    *sorted = gm_alloc(e->done, sizeof **sorted, "sorted values", err);
    if (!*sorted) return GM_ERR_MEMORY;
    for (size_t r = 0; r < e->done; r++) {
        if (!isnan(value[r])) (*sorted)[(*n)++] = value[r];
    }
    if (*n) qsort(*sorted, *n, sizeof **sorted, ascending);
    return GM_OK;
}

static gm_status order_exact(const gm_ensemble *e, size_t cell, gm_ensemble_summary *s,
                             gm_error *err)
{
    double *sorted = NULL;
    size_t n = 0;
    gm_status status = sort_values(e, cell, &sorted, &n, err);
    for (int q = 0; status == GM_OK && q < GM_ENSEMBLE_LEVELS; q++) {
        s->quantile[q] = gm_sorted_quantile(n, sorted, gm_ensemble_level[q]);
    }
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(sorted[i])) continue;
        s->min = fmin(s->min, sorted[i]);
        s->max = fmax(s->max, sorted[i]);
    }
    gm_free(sorted);
    return status;
}

gm_status gm_ensemble_summarize(const gm_ensemble *e, gm_quantity quantity, size_t index,
                                gm_ensemble_summary *s, gm_error *err)
{
    const double nan = (double)NAN;
    *s = (gm_ensemble_summary){.mean = nan, .sd = nan, .stderror = nan, .min = nan, .max = nan};
    for (int q = 0; q < GM_ENSEMBLE_LEVELS; q++) {
        s->quantile[q] = nan;
    }
    size_t place = place_of(e, quantity);
    if (place == e->quantities || !exists(e, quantity, index)) return GM_OK;
    size_t at = place * e->steps + index;
    const gm_cell *c = &e->cell[at];
    s->recorded = true;
    s->count = c->count;
    s->infinite = c->infinite;
    s->undefined = e->done - c->count - c->infinite;
    if (c->count > 0) s->mean = c->mean;
    if (c->count > 1) {
        s->sd = sqrt(c->squares / (double)(c->count - 1));
        s->stderror = s->sd / sqrt((double)c->count);
    }
    if (e->exact) return order_exact(e, at, s, err);
    s->min = c->sketch.min;
    s->max = c->sketch.max;
    gm_quantile_sketch_quantiles(&c->sketch, GM_ENSEMBLE_LEVELS, gm_ensemble_level, s->quantile);
    return GM_OK;
}

/* ---- histograms ---- */

typedef struct histogram {
    double low, high;
    size_t bins;
    double *count, below, above;
} histogram;

static void into_bin(histogram *h, double x, double number)
{
    double place = (x - h->low) / (h->high - h->low) * (double)h->bins;
    if (x < h->low) {
        h->below += number;
    } else if (x > h->high) {
        h->above += number;
    } else {
        size_t bin = (size_t)place;
        h->count[bin < h->bins ? bin : h->bins - 1] += number;
    }
}

static gm_status fill_from_sketch(const gm_quantile_sketch *sketch, histogram *h, gm_error *err)
{
    size_t bins = gm_quantile_sketch_bins(sketch);
    double *middle = gm_alloc(2 * bins, sizeof *middle, "histogram", err);
    if (!middle) return GM_ERR_MEMORY;
    gm_quantile_sketch_read(sketch, middle, middle + bins);
    for (size_t i = 0; i < bins; i++) {
        into_bin(h, middle[i], middle[bins + i]);
    }
    h->below += (double)sketch->infinite[1];
    h->above += (double)sketch->infinite[0];
    gm_free(middle);
    return GM_OK;
}

gm_status gm_ensemble_histogram(const gm_ensemble *e, gm_quantity quantity, size_t index,
                                double low, double high, size_t bins, double *count, double *below,
                                double *above, gm_error *err)
{
    histogram h = {.low = low, .high = high, .bins = bins, .count = count};
    gm_status status = GM_OK;
    memset(count, 0, bins * sizeof *count);
    size_t place = place_of(e, quantity);
    if (!(high > low) || bins < 1)
        return gm_fail(err, GM_ERR_USAGE, "histogram: %zu bins from %g to %g", bins, low, high);
    if (place < e->quantities && e->exact) {
        const double *value = e->value + (place * e->steps + index) * e->options.runs;
        for (size_t r = 0; r < e->done; r++) {
            if (!isnan(value[r])) into_bin(&h, value[r], 1.0);
        }
    } else if (place < e->quantities) {
        status = fill_from_sketch(&e->cell[place * e->steps + index].sketch, &h, err);
    }
    *below = h.below;
    *above = h.above;
    return status;
}
