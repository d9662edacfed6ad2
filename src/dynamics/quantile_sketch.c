#include "dynamics/quantile_sketch.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/memory.h"

/* The sign bit apart, a bin is the leading 11 + 7 bits of a double. */
enum { BITS = 7, SHIFT = 52 - BITS, SPARE = 32 };

const double gm_quantile_sketch_accuracy = 1.0 / 256;

static int32_t bin_of(double magnitude)
{
    uint64_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    return (int32_t)(bits >> SHIFT);
}

static double middle_of(int32_t bin)
{
    uint64_t bits = ((uint64_t)bin << SHIFT) + ((uint64_t)1 << (SHIFT - 1));
    double middle;
    memcpy(&middle, &bits, sizeof middle);
    return middle;
}

void gm_quantile_sketch_init(gm_quantile_sketch *sketch)
{
    *sketch = (gm_quantile_sketch){.min = (double)NAN, .max = (double)NAN};
}

void gm_quantile_sketch_free(gm_quantile_sketch *sketch)
{
    gm_free(sketch->side[0].count);
    gm_free(sketch->side[1].count);
    gm_quantile_sketch_init(sketch);
}

/* Room for bin, and some to spare on the side that grew. */
static gm_status reach(gm_bins *bins, int32_t bin, gm_error *err)
{
    int32_t low = bins->low, end = bins->low + (int32_t)bins->size;
    if (bins->size && bin >= low && bin < end) return GM_OK;
    if (!bins->size) {
        low = bin - SPARE / 2;
        end = bin + SPARE / 2;
    } else if (bin < low) {
        low = bin - SPARE;
    } else {
        end = bin + 1 + SPARE;
    }
    if (low < 0) low = 0;
    uint32_t *count = gm_alloc((size_t)(end - low), sizeof *count, "quantile sketch", err);
    if (!count) return GM_ERR_MEMORY;
    if (bins->size) memcpy(count + (bins->low - low), bins->count, bins->size * sizeof *count);
    gm_free(bins->count);
    *bins = (gm_bins){low, (uint32_t)(end - low), count};
    return GM_OK;
}

static gm_status add_many(gm_quantile_sketch *sketch, double x, uint32_t number, gm_error *err)
{
    bool negative = signbit(x);
    if (isinf(x)) {
        sketch->infinite[negative] += number;
        return GM_OK;
    }
    if (x == 0.0) {
        sketch->zero += number;
    } else {
        gm_bins *bins = &sketch->side[negative];
        int32_t bin = bin_of(fabs(x));
        gm_status status = reach(bins, bin, err);
        if (status != GM_OK) return status;
        bins->count[bin - bins->low] += number;
    }
    return GM_OK;
}

static void widen(gm_quantile_sketch *sketch, double min, double max)
{
    sketch->min = fmin(sketch->min, min); /* a NaN loses */
    sketch->max = fmax(sketch->max, max);
}

gm_status gm_quantile_sketch_add(gm_quantile_sketch *sketch, double x, gm_error *err)
{
    gm_status status = add_many(sketch, x, 1, err);
    if (status == GM_OK && isfinite(x)) widen(sketch, x, x);
    return status;
}

gm_status gm_quantile_sketch_merge(gm_quantile_sketch *sketch, const gm_quantile_sketch *other,
                                   gm_error *err)
{
    for (int s = 0; s < 2; s++) {
        const gm_bins *from = &other->side[s];
        if (!from->size) continue;
        gm_bins *to = &sketch->side[s];
        gm_status status = reach(to, from->low, err);
        if (status == GM_OK) status = reach(to, from->low + (int32_t)from->size - 1, err);
        if (status != GM_OK) return status;
        for (uint32_t i = 0; i < from->size; i++) {
            to->count[from->low - to->low + (int32_t)i] += from->count[i];
        }
    }
    sketch->zero += other->zero;
    sketch->infinite[0] += other->infinite[0];
    sketch->infinite[1] += other->infinite[1];
    widen(sketch, other->min, other->max);
    return GM_OK;
}

uint64_t gm_quantile_sketch_count(const gm_quantile_sketch *sketch)
{
    uint64_t count = sketch->zero + sketch->infinite[0] + sketch->infinite[1];
    for (int s = 0; s < 2; s++) {
        for (uint32_t i = 0; i < sketch->side[s].size; i++) {
            count += sketch->side[s].count[i];
        }
    }
    return count;
}

/* ---- in ascending order ---- */

/* Place of a walk over the finite bins: negative ones from the largest magnitude down, zero,
 * positive ones up. */
typedef struct walk {
    const gm_quantile_sketch *sketch;
    int64_t at;
} walk;

/* The next bin that is not empty; false past the end. */
static bool next_bin(walk *w, double *middle, uint64_t *number)
{
    const gm_bins *minus = &w->sketch->side[1], *plus = &w->sketch->side[0];
    int64_t below = minus->size, above = plus->size;
    while (w->at < below + 1 + above) {
        int64_t at = w->at++;
        if (at < below) {
            int64_t i = below - 1 - at;
            *number = minus->count[i];
            *middle = -middle_of(minus->low + (int32_t)i);
        } else if (at == below) {
            *number = w->sketch->zero;
            *middle = 0.0;
        } else {
            *number = plus->count[at - below - 1];
            *middle = middle_of(plus->low + (int32_t)(at - below - 1));
        }
        if (*number) return true;
    }
    return false;
}

/* Order statistics, asked for by ascending rank. */
typedef struct ranks {
    walk walk;
    uint64_t total, seen; /* seen: numbers up to and with the bin at hand */
    double middle;
    bool begun;
} ranks;

static double at_rank(ranks *r, uint64_t rank)
{
    const gm_quantile_sketch *s = r->walk.sketch;
    if (rank < s->infinite[1]) return -(double)INFINITY;
    if (rank >= r->total - s->infinite[0]) return (double)INFINITY;
    if (rank == s->infinite[1]) return s->min;
    if (rank + 1 == r->total - s->infinite[0]) return s->max;
    if (!r->begun) r->seen = s->infinite[1];
    r->begun = true;
    while (rank >= r->seen) {
        uint64_t number;
        if (!next_bin(&r->walk, &r->middle, &number)) break;
        r->seen += number;
    }
    return fmin(fmax(r->middle, s->min), s->max);
}

/* Between two order statistics; no difference of infinities is taken. */
static double between(double low, double high, double share)
{
    if (share <= 0.0 || low == high) return low;
    return isfinite(low) && isfinite(high) ? low + share * (high - low)
           : isfinite(low)                 ? high
           : isfinite(high)                ? low
                                           : high;
}

void gm_quantile_sketch_quantiles(const gm_quantile_sketch *sketch, size_t count,
                                  const double *level, double *value)
{
    ranks lower = {.walk = {sketch, 0}, .total = gm_quantile_sketch_count(sketch)}, upper = lower;
    for (size_t q = 0; q < count; q++) {
        if (!lower.total) {
            value[q] = (double)NAN;
            continue;
        }
        double place = level[q] * (double)(lower.total - 1);
        uint64_t rank = (uint64_t)place, last = lower.total - 1;
        double low = at_rank(&lower, rank);
        double high = at_rank(&upper, rank < last ? rank + 1 : last);
        value[q] = between(low, high, place - (double)rank);
    }
}

double gm_sorted_quantile(size_t n, const double *sorted, double level)
{
    if (n == 0) return (double)NAN;
    double place = level * (double)(n - 1);
    size_t rank = (size_t)place;
    return between(sorted[rank], sorted[rank + 1 < n ? rank + 1 : rank], place - (double)rank);
}

/* ---- in and out ---- */

size_t gm_quantile_sketch_bins(const gm_quantile_sketch *sketch)
{
    walk w = {sketch, 0};
    double middle;
    uint64_t number;
    size_t bins = 0;
    while (next_bin(&w, &middle, &number)) {
        bins++;
    }
    return bins;
}

void gm_quantile_sketch_read(const gm_quantile_sketch *sketch, double *middle, double *number)
{
    walk w = {sketch, 0};
    double at;
    uint64_t found;
    while (next_bin(&w, &at, &found)) {
        *middle++ = at;
        *number++ = (double)found;
    }
}

gm_status gm_quantile_sketch_fill(gm_quantile_sketch *sketch, size_t bins, const double *middle,
                                  const double *number, gm_error *err)
{
    for (size_t i = 0; i < bins; i++) {
        bool counts = number[i] >= 1.0 && number[i] <= (double)UINT32_MAX;
        if (!counts || !isfinite(middle[i])) {
            return gm_fail(err, GM_ERR_INPUT, "quantile sketch: %g numbers near %g", number[i],
                           middle[i]);
        }
        gm_status status = add_many(sketch, middle[i], (uint32_t)number[i], err);
        if (status != GM_OK) return status;
    }
    return GM_OK;
}
