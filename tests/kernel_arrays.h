/* Arrays of either precision for tests of kernels: filled with known numbers, read as doubles, with
 * sentinels behind the last element that an overrun would change. */
#ifndef GM_TESTS_KERNEL_ARRAYS_H
#define GM_TESTS_KERNEL_ARRAYS_H

#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "kernels/isa.h"
#include "kernels/kernels.h"

enum { SENTINELS = 16 };
static const double sentinel = -12345.0; /* exact in both precisions */

static inline double get(const gm_kernels *k, const void *array, size_t i)
{
    return k->dtype == GM_F32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

static inline void put(const gm_kernels *k, void *array, size_t i, double value)
{
    if (k->dtype == GM_F32) {
        ((float *)array)[i] = (float)value;
    } else {
        ((double *)array)[i] = value;
    }
}

/* n elements set to value, sentinels behind them; freed by free. */
static inline void *new_array(const gm_kernels *k, size_t n, double value)
{
    void *array = malloc((n + SENTINELS) * k->size);
    assert_non_null(array);
    for (size_t i = 0; i < n + SENTINELS; i++) {
        put(k, array, i, i < n ? value : sentinel);
    }
    return array;
}

/* n doubles set to value with a sentinel behind them; freed by gm_free. */
static inline double *new_doubles(size_t n, double value)
{
    double *array = gm_alloc(n + 1, sizeof *array, "test", NULL);
    assert_non_null(array);
    for (size_t i = 0; i < n; i++) {
        array[i] = value;
    }
    array[n] = sentinel;
    return array;
}

/* n standard normal numbers, a stream of its own per run. */
static inline void *new_normal(const gm_kernels *k, size_t n, uint32_t run)
{
    void *array = new_array(k, n, 0);
    for (size_t i = 0; i < n; i++) {
        put(k, array, i, gm_normal(gm_stream_of(7, GM_PURPOSE_TEST, run), i));
    }
    return array;
}

static inline void *copy_array(const gm_kernels *k, size_t n, const void *from)
{
    void *array = new_array(k, n, 0);
    memcpy(array, from, n * k->size);
    return array;
}

static inline void check_sentinels(const gm_kernels *k, size_t n, const void *array)
{
    for (size_t i = n; i < n + SENTINELS; i++) {
        assert_true(get(k, array, i) == sentinel);
    }
}

/* Fails, saying where, unless |value - expected| <= limit. */
static inline void check_near(const gm_kernels *k, const char *what, size_t i, double value,
                              double expected, double limit)
{
    if (fabs(value - expected) <= limit || (isnan(value) && isnan(expected))) return;
    fail_msg("%s %s %s: element %zu is %.17g, expected %.17g within %.3g", k->isa,
             gm_dtype_name(k->dtype), what, i, value, expected, limit);
}

/* Runs check on the table of every instruction set that this processor has, in both precisions. */
static inline void for_each_table(void (*check)(const gm_kernels *k))
{
    for (size_t i = 0; gm_isa_name(i); i++) {
        for (int dtype = GM_F32; dtype <= GM_F64; dtype++) {
            const gm_kernels *k = gm_kernels_for(gm_isa_name(i), (gm_dtype)dtype);
            if (k) check(k);
        }
    }
}

#endif
