/* What the tests of single steps and of gauges share. */
#ifndef TESTS_STEP_CASE_H
#define TESTS_STEP_CASE_H

#include "support.h"

#include <math.h>

#include "base/memory.h"
#include "problems.h"

static inline double *numbers(size_t count)
{
    double *x = gm_alloc(count, sizeof *x, "test array", NULL);
    assert_non_null(x);
    return x;
}

static inline double dot(size_t n, const double *x, const double *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

static inline void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("%s: found %.17g, expected %.17g within %.3g", what, found, expected, tolerance);
    }
}

static const test_case step_cases[] = {
    {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 8, 0.8},
    {"mlp:4-5-3,act=relu", {2, {4, 5, 3}, REF_RELU, true, true}, 8, 0.8},
    {"mlp:3-4-4-2,act=softplus,bias=no", {3, {3, 4, 4, 2}, REF_SOFTPLUS, false, false}, 7, 1.0},
};
enum { STEP_CASES = sizeof step_cases / sizeof *step_cases };

#endif
