/* What the benches share: an end on errors, and medians. */
#ifndef GM_BENCH_BENCH_H
#define GM_BENCH_BENCH_H

#include <stdio.h>
#include <stdlib.h>

#include "gradiometer/status.h"

/* Ends the program where status is not GM_OK. */
static inline void bench_check(gm_status status, const gm_error *err)
{
    if (status == GM_OK) return;
    fprintf(stderr, "bench: %s\n", err->message);
    exit(gm_status_exit(status));
}

static inline int bench_by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of count values, which are sorted. */
static inline double bench_median(size_t count, double *x)
{
    qsort(x, count, sizeof *x, bench_by_value);
    return x[count / 2];
}

#endif
