/* Operators of known spectrum for the tests of estimators. */
#ifndef GM_TESTS_KNOWN_OPERATOR_H
#define GM_TESTS_KNOWN_OPERATOR_H

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/operator.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"

static inline double *new_numbers(size_t count)
{
    double *x = gm_alloc(count, sizeof *x, "test array", NULL);
    assert_non_null(x);
    return x;
}

static inline void near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("found %.17g, expected %.17g within %.3g", found, expected, tolerance);
    }
}

/* Dense Q diag(lambda) Q^T [n, n] with Q random orthogonal, named by draw; q [n, n] (or NULL)
 * receives the eigenvectors as rows. */
static inline double *rotated(size_t n, const double *lambda, uint32_t draw, double *q)
{
    double *rows = new_numbers(n * n), *scaled = new_numbers(n * n), *a = new_numbers(n * n);
    gm_normal_fill(gm_stream_of(23, GM_PURPOSE_TEST, draw), 0, n * n, rows);
    assert_int_equal(gm_orthonormalize(n, n, rows, NULL, NULL), GM_OK);
    for (size_t i = 0; i < n * n; i++) {
        scaled[i] = lambda[i / n] * rows[i];
    }
    gm_kernels_get(GM_F64)->gemm(true, false, n, n, n, 1, rows, n, scaled, n, 0, a, n);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            a[i * n + j] = a[j * n + i];
        }
    }
    if (q) memcpy(q, rows, n * n * sizeof *q);
    gm_free(rows);
    gm_free(scaled);
    return a;
}

static inline gm_operator dense_operator(size_t n, const double *a)
{
    gm_operator op;
    assert_int_equal(gm_operator_dense(n, a, &op, NULL), GM_OK);
    return op;
}

#endif
