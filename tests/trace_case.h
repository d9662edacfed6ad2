/* The ways to estimate a trace or a diagonal, for tests that try them all. */
#ifndef GM_TESTS_TRACE_CASE_H
#define GM_TESTS_TRACE_CASE_H

#include "gradiometer/estimate.h"
#include "known_operator.h"

/* All ways to a trace: the three methods, and Hutchinson's with Gaussian probes. */
enum { WAYS = 4, GAUSSIAN = 3 };

static inline gm_trace_method method_of(int way)
{
    return way == GAUSSIAN ? GM_TRACE_HUTCHINSON : (gm_trace_method)way;
}

static inline gm_estimate_options with(int way, size_t products, double rel_error, uint64_t seed)
{
    gm_estimate_options options;
    gm_estimate_options_default(&options);
    options.max_products = products;
    options.rel_error = rel_error;
    options.seed = seed;
    options.gaussian = way == GAUSSIAN;
    return options;
}

static inline gm_trace_result trace_of(gm_operator *op, int way, size_t products, double rel_error,
                                       uint64_t seed)
{
    gm_estimate_options options = with(way, products, rel_error, seed);
    gm_trace_result result;
    gm_error err;
    if (gm_trace_estimate(op, method_of(way), &options, &result, &err) != GM_OK)
        fail_msg("%s", err.message);
    return result;
}

/* The same for diagonals: signs, XDiag, Gaussian. */
enum { DIAGONAL_WAYS = 3 };

static inline gm_diagonal_result diagonal_of(gm_operator *op, int way, size_t products,
                                             double rel_error, uint64_t seed, double *value,
                                             double *error)
{
    gm_estimate_options options = with(way == 2 ? GAUSSIAN : 0, products, rel_error, seed);
    gm_diagonal_result result;
    gm_error err;
    gm_diagonal_method method = way == 1 ? GM_DIAGONAL_XDIAG : GM_DIAGONAL_HUTCHINSON;
    if (gm_diagonal_estimate(op, method, &options, value, error, &result, &err) != GM_OK)
        fail_msg("%s", err.message);
    return result;
}

#endif
