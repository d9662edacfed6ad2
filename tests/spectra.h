/* Operators of known spectrum, by products only: A = R P D P R^T with D diagonal, P a
 * Householder reflection and R a rotation (none by default): A's eigenvalues are D's. */
#ifndef GM_TESTS_SPECTRA_H
#define GM_TESTS_SPECTRA_H

#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/eigen.h"
#include "gradiometer/random.h"

typedef struct known known;
struct known {
    size_t p;
    double *value;      /* [p] diagonal of D */
    double *u;          /* [p] unit direction of P */
    double tilt;        /* R's angle in each plane of coordinates 2 i, 2 i + 1 */
    bool rounded;       /* products rounded to float */
    double grain;       /* products rounded to its multiples; 0 = not */
    double skew;        /* adds skew (x_{i+1} - x_{i-1}) to product i */
    size_t bad;         /* number of the product that holds NaN; 0 = none */
    size_t calls, done; /* blocks and vectors applied */
    /* called before each block; its status other than GM_OK is the operator's */
    gm_status (*inside)(known *k, gm_error *err);
    double watermark; /* free for `inside` */
};

static inline double *numbers(size_t count)
{
    double *x = gm_alloc(count, sizeof *x, "test array", NULL);
    assert_non_null(x);
    return x;
}

static inline void reflect(size_t p, const double *u, double *x)
{
    double dot = 0.0;
    for (size_t i = 0; i < p; i++) {
        dot += u[i] * x[i];
    }
    for (size_t i = 0; i < p; i++) {
        x[i] -= 2.0 * dot * u[i];
    }
}

/* x = R x, or R^T x with sign = -1. */
static inline void rotate(const known *k, double sign, double *x)
{
    double c = cos(k->tilt), s = sign * sin(k->tilt);
    for (size_t i = 0; i + 1 < k->p; i += 2) {
        double a = x[i], b = x[i + 1];
        x[i] = c * a - s * b;
        x[i + 1] = s * a + c * b;
    }
}

static inline gm_status known_apply(void *self, size_t count, const double *v, double *av,
                                    gm_error *err)
{
    known *k = self;
    size_t p = k->p;
    gm_status status = k->inside ? k->inside(k, err) : GM_OK;
    if (status != GM_OK) return status;
    k->calls++;
    for (size_t j = 0; j < count; j++) {
        const double *x = v + j * p;
        double *y = av + j * p;
        memcpy(y, x, p * sizeof *y);
        if (k->tilt != 0.0) rotate(k, -1.0, y);
        reflect(p, k->u, y);
        for (size_t i = 0; i < p; i++) {
            y[i] *= k->value[i];
        }
        reflect(p, k->u, y);
        if (k->tilt != 0.0) rotate(k, 1.0, y);
        for (size_t i = 0; i < p && k->skew != 0.0; i++) {
            y[i] += k->skew * ((i + 1 < p ? x[i + 1] : 0.0) - (i > 0 ? x[i - 1] : 0.0));
        }
        for (size_t i = 0; i < p && k->rounded; i++) {
            y[i] = (double)(float)y[i];
        }
        for (size_t i = 0; i < p && k->grain > 0.0; i++) {
            y[i] = k->grain * rint(y[i] / k->grain);
        }
        if (++k->done == k->bad) y[p / 2] = (double)NAN;
    }
    return GM_OK;
}

/* The operator of size p; the caller fills value. */
static inline void known_make(size_t p, known *k, gm_operator *op)
{
    *k = (known){.p = p, .value = numbers(p), .u = numbers(p)};
    gm_normal_fill(gm_stream_of(5, GM_PURPOSE_TEST, 1), 0, p, k->u);
    double sum = 0.0;
    for (size_t i = 0; i < p; i++) {
        sum += k->u[i] * k->u[i];
    }
    for (size_t i = 0; i < p; i++) {
        k->u[i] /= sqrt(sum);
    }
    *op = (gm_operator){
        .size = p, .precision = GM_F64, .name = "known", .self = k, .apply = known_apply};
}

static inline void known_free(known *k)
{
    gm_free(k->value);
    gm_free(k->u);
}

static inline int compare_descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The count values that `which` asks for, descending. */
static inline void known_extreme(const known *k, gm_which which, size_t count, double *expected)
{
    double *all = numbers(k->p);
    memcpy(all, k->value, k->p * sizeof *all);
    qsort(all, k->p, sizeof *all, compare_descending);
    size_t top = 0, bottom = 0;
    while (top + bottom < count) {
        bool up = which == GM_WHICH_LA || (which == GM_WHICH_BE && top <= bottom) ||
                  (which == GM_WHICH_LM && fabs(all[top]) >= fabs(all[k->p - 1 - bottom]));
        if (up)
            top++;
        else
            bottom++;
    }
    memcpy(expected, all, top * sizeof *all);
    memcpy(expected + top, all + k->p - bottom, bottom * sizeof *all);
    gm_free(all);
}

static inline void near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("found %.17g, expected %.17g within %.3g", found, expected, tolerance);
    }
}

/* Values, order, residuals by products of the test's own, orthonormality. Eigenvalues of a
 * symmetric operator lie within the residual of a Ritz value, so tolerance bounds both; vectors are
 * orthonormal to the solver's rounding, 1e-11. */
static inline void check_pairs(known *k, gm_which which, const gm_eigen *r, size_t count,
                               double tolerance)
{
    size_t p = k->p;
    assert_int_equal(r->count, count);
    assert_int_equal(r->converged_count, count);
    assert_int_equal(r->stop, GM_EIGEN_CONVERGED);
    double *expected = numbers(count), *av = numbers(count * p);
    known_extreme(k, which, count, expected);
    known_apply(k, count, r->vector, av, NULL);
    for (size_t j = 0; j < count; j++) {
        const double *v = r->vector + j * p;
        near(r->value[j], expected[j], tolerance);
        double rest = 0.0;
        for (size_t i = 0; i < p; i++) {
            double d = av[j * p + i] - r->value[j] * v[i];
            rest += d * d;
        }
        assert_true(sqrt(rest) <= tolerance);
        /* Two roundings of one sum: of the order of eps |lambda|_max. */
        near(sqrt(rest), r->residual[j], 1e-12 * r->scale + (k->rounded ? 1e-6 * r->scale : 0.0));
        for (size_t l = 0; l <= j; l++) {
            double dot = 0.0;
            for (size_t i = 0; i < p; i++) {
                dot += v[i] * r->vector[l * p + i];
            }
            near(dot, l == j ? 1.0 : 0.0, 1e-11);
        }
    }
    gm_free(expected);
    gm_free(av);
}

/* The two solvers from nothing: 0 single vectors, 1 blocks. */
enum { SOLVERS = 2 };

static inline gm_status solve_with(size_t solver, gm_operator *op, const gm_eigen_options *options,
                                   gm_eigen *result, gm_error *err)
{
    return solver == 0 ? gm_eigenpairs(op, options, result, err)
                       : gm_eigen_track(op, options, 0, NULL, result, err);
}

static inline gm_eigen_options asked(gm_which which, size_t k, double tol)
{
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.which = which;
    options.k = k;
    options.tol = tol;
    return options;
}

static inline void succeed(gm_status status, const gm_error *err)
{
    if (status != GM_OK) fail_msg("%s", err->message);
}

/* Three values near 10, 5 three times, a bulk in 0 ... 1. */
static inline void clustered(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] = i < 3 ? 10.0 + 0.01 * (double)i : i < 6 ? 5.0 : (double)i / (double)p;
    }
}

/* Pairs of both signs, and a bulk of both. */
static inline void mirrored(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        double size = i < 12 ? 20.0 - (double)(i / 2) : (double)(i / 2) / (double)p;
        value[i] = i % 2 == 0 ? size : -size;
    }
}

/* A small end beside a large one. */
static inline void one_small_negative(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] = i == 0 ? -0.012 : i < 5 ? 10.0 + (double)i : 1e-3 * (double)i / (double)p;
    }
}

#endif
