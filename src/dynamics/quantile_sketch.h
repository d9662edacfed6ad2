/* Counts of numbers in bins of equal relative width: quantiles of a stream in little memory.
 *
 * After DDSketch (Masson, Rim and Lee 2019, arXiv 1908.10693): a number is known by its bin alone,
 * and a bin's middle is within 1/256 of every number in it, relative to that number. The bins are
 * those that the leading bits of a double name (its exponent and seven bits of its fraction), one
 * set for each sign, so that no rounding decides where a number falls: the counts do not depend on
 * the order of the numbers, and the sketch of two streams is the sum of the two, bit for bit. Zero
 * and both infinities have counts of their own. */
#ifndef GM_DYNAMICS_QUANTILE_SKETCH_H
#define GM_DYNAMICS_QUANTILE_SKETCH_H

#include <stddef.h>
#include <stdint.h>

#include "gradiometer/status.h"

/* Bins of one sign: those from `low` on. */
typedef struct gm_bins {
    int32_t low;
    uint32_t size;
    uint32_t *count; /* [size] */
} gm_bins;

typedef struct gm_quantile_sketch {
    gm_bins side[2];            /* positive, negative */
    uint64_t zero, infinite[2]; /* zero; +infinity, -infinity */
    double min, max;            /* of the finite numbers; NaN without any */
} gm_quantile_sketch;

/* Bound of the relative error of an order statistic, for numbers of at least 2.3e-308. */
extern const double gm_quantile_sketch_accuracy;

void gm_quantile_sketch_init(gm_quantile_sketch *sketch);
void gm_quantile_sketch_free(gm_quantile_sketch *sketch);

/* Adds one number that is no NaN. GM_ERR_MEMORY leaves the sketch as it was. */
gm_status gm_quantile_sketch_add(gm_quantile_sketch *sketch, double x, gm_error *err);
/* Adds all of another's numbers. */
gm_status gm_quantile_sketch_merge(gm_quantile_sketch *sketch, const gm_quantile_sketch *other,
                                   gm_error *err);

uint64_t gm_quantile_sketch_count(const gm_quantile_sketch *sketch); /* numbers added */

/* value [count] = the quantiles at level [count] (ascending, 0 ... 1), interpolated between the two
 * order statistics beside level * (numbers - 1) as gm_sorted_quantile does; NaN without numbers.
 * Infinite ones stand at the ends. */
void gm_quantile_sketch_quantiles(const gm_quantile_sketch *sketch, size_t count,
                                  const double *level, double *value);

/* The same for numbers that are all there, ascending. */
double gm_sorted_quantile(size_t n, const double *sorted, double level);

/* The bins that are not empty: how many, then the signed middle of each and its count [bins],
 * ascending; zero is a bin too, infinities are not. Middles tell a bin apart:
 * gm_quantile_sketch_fill puts the counts back. */
size_t gm_quantile_sketch_bins(const gm_quantile_sketch *sketch);
void gm_quantile_sketch_read(const gm_quantile_sketch *sketch, double *middle, double *number);
gm_status gm_quantile_sketch_fill(gm_quantile_sketch *sketch, size_t bins, const double *middle,
                                  const double *number, gm_error *err);

#endif
