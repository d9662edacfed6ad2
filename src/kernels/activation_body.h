/* Activations, their first and second derivatives. `omp simd` marks loops whose output may be an
 * input: the compiler would take its scalar path there. The smooth ones go through short buffers
 * (vector_math.h), so that each formula stands here once. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

#include <string.h>
#include <tgmath.h>

#include "kernels/kernels.h"
#include "kernels/parallel.h"
#include "kernels/vector_math.h"

static const REAL FN(leak) = (REAL)0.01;

/* 1 / (1 + exp(-z)); exp(-z) = infinity gives 0. */
static inline REAL FN(sigmoid)(REAL z)
{
    return 1 / (1 + exp(-z));
}

static inline REAL FN(softplus)(REAL z)
{
    REAL positive = z > 0 ? z : 0;
    return positive + log1p(exp(-fabs(z)));
}

/* Phi(z), the standard normal distribution function; erfc keeps its relative accuracy for z < 0. */
static inline REAL FN(normal_cdf)(REAL z)
{
    return (REAL)0.5 * erfc((REAL)-0.70710678118654752440 * z);
}

static inline REAL FN(normal_pdf)(REAL z)
{
    return (REAL)0.39894228040143267794 * exp((REAL)-0.5 * z * z);
}

/* Beyond 40 the normal density is 0 and Phi is 0 or 1; z^2 might overflow there. */
static inline REAL FN(cut)(REAL z)
{
    return z > 40 ? 40 : z < -40 ? -40 : z;
}

/* At most GM_BUFFER numbers, filled up with zeros to whole vectors; returns their new count. */
static inline size_t FN(fill_up)(size_t n, const REAL *x, REAL *buffer)
{
    memcpy(buffer, x, n * sizeof(REAL));
    memset(buffer + n, 0, (gm_whole(n) - n) * sizeof(REAL));
    return gm_whole(n);
}

/* a = phi(z) for the smooth activations, whole vectors. */
static void FN(smooth_value)(gm_activation act, size_t n, const REAL *restrict z, REAL *restrict a)
{
    switch (act) {
    case GM_ACT_TANH:
        for (size_t i = 0; i < n; i++) {
            a[i] = tanh(z[i]);
        }
        break;
    case GM_ACT_SIGMOID:
        for (size_t i = 0; i < n; i++) {
            a[i] = FN(sigmoid)(z[i]);
        }
        break;
    case GM_ACT_SOFTPLUS:
        for (size_t i = 0; i < n; i++) {
            a[i] = FN(softplus)(z[i]);
        }
        break;
    case GM_ACT_GELU:
        for (size_t i = 0; i < n; i++) {
            REAL x = z[i] < -40 ? -40 : z[i];
            a[i] = x * FN(normal_cdf)(x);
        }
        break;
    case GM_ACT_IDENTITY:
    case GM_ACT_RELU:
    case GM_ACT_LEAKY_RELU:
        break; /* act_value's own */
    }
}

static void FN(relu)(size_t n, const REAL *z, REAL *a)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        a[i] = z[i] < 0 ? 0 : z[i]; /* NaN stays NaN */
    }
}

static void FN(leaky_relu)(size_t n, const REAL *z, REAL *a)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        a[i] = z[i] > 0 ? z[i] : FN(leak) * z[i];
    }
}

static void FN(act_value)(gm_activation act, size_t n, const void *z, void *a)
{
    const REAL *from = z;
    REAL *to = a;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(act_value)(act, gm_block(n, i), from + i, to + i);
        }
        return;
    }
    switch (act) {
    case GM_ACT_IDENTITY:
        if (to != from) memcpy(to, from, n * sizeof(REAL));
        break;
    case GM_ACT_RELU:
        FN(relu)(n, from, to);
        break;
    case GM_ACT_LEAKY_RELU:
        FN(leaky_relu)(n, from, to);
        break;
    case GM_ACT_TANH:
    case GM_ACT_SIGMOID:
    case GM_ACT_SOFTPLUS:
    case GM_ACT_GELU:
        for (size_t i = 0; i < n; i += GM_BUFFER) {
            REAL in[GM_BUFFER], value[GM_BUFFER];
            size_t m = n - i < GM_BUFFER ? n - i : GM_BUFFER;
            FN(smooth_value)(act, FN(fill_up)(m, from + i, in), in, value);
            memcpy(to + i, value, m * sizeof(REAL));
        }
        break;
    }
}

/* first[i] = phi'(z[i]) for the activations that need a formula; z filled up where it is read. */
static void FN(first_derivative)(gm_activation act, size_t n, const REAL *restrict z,
                                 const REAL *restrict a, REAL *restrict first)
{
    switch (act) {
    case GM_ACT_LEAKY_RELU:
        for (size_t i = 0; i < n; i++) {
            first[i] = a[i] > 0 ? 1 : FN(leak);
        }
        break;
    case GM_ACT_TANH:
        for (size_t i = 0; i < n; i++) {
            first[i] = (1 - a[i]) * (1 + a[i]);
        }
        break;
    case GM_ACT_SIGMOID:
        for (size_t i = 0; i < n; i++) {
            first[i] = a[i] * (1 - a[i]);
        }
        break;
    case GM_ACT_SOFTPLUS:
        for (size_t i = 0; i < n; i++) {
            first[i] = FN(sigmoid)(z[i]);
        }
        break;
    case GM_ACT_GELU:
        for (size_t i = 0; i < n; i++) {
            REAL x = FN(cut)(z[i]);
            first[i] = FN(normal_cdf)(x) + x * FN(normal_pdf)(x);
        }
        break;
    case GM_ACT_IDENTITY:
    case GM_ACT_RELU:
        break; /* act_slope needs no buffer for them */
    }
}

/* second[i] = phi''(z[i]) of the smooth activations; z filled up where it is read. */
static void FN(second_derivative)(gm_activation act, size_t n, const REAL *restrict z,
                                  const REAL *restrict a, REAL *restrict second)
{
    switch (act) {
    case GM_ACT_TANH:
        for (size_t i = 0; i < n; i++) {
            second[i] = -2 * a[i] * (1 - a[i]) * (1 + a[i]);
        }
        break;
    case GM_ACT_SIGMOID:
        for (size_t i = 0; i < n; i++) {
            second[i] = a[i] * (1 - a[i]) * (1 - 2 * a[i]);
        }
        break;
    case GM_ACT_SOFTPLUS:
        for (size_t i = 0; i < n; i++) {
            second[i] = FN(sigmoid)(z[i]) * FN(sigmoid)(-z[i]);
        }
        break;
    case GM_ACT_GELU:
        for (size_t i = 0; i < n; i++) {
            REAL x = FN(cut)(z[i]);
            second[i] = FN(normal_pdf)(x) * (2 - x * x);
        }
        break;
    case GM_ACT_IDENTITY:
    case GM_ACT_RELU:
    case GM_ACT_LEAKY_RELU:
        break; /* zero: act_curve does not ask */
    }
}

/* relu without a buffer: it is the common one, and bound by memory. u is read in any case, so that
 * no branch guards the read. */
static void FN(relu_slope)(size_t n, const REAL *a, const REAL *u, REAL *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        REAL direction = u[i];
        out[i] = a[i] > 0 ? direction : 0;
    }
}

static void FN(add_relu_slope)(size_t n, const REAL *a, const REAL *u, REAL *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        REAL direction = u[i];
        out[i] += a[i] > 0 ? direction : 0;
    }
}

/* out += x * y; out may be y. */
static void FN(multiply_add)(size_t n, const REAL *x, const REAL *y, REAL *out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        out[i] += x[i] * y[i];
    }
}

static void FN(act_slope)(gm_activation act, size_t n, const void *z, const void *a, const void *u,
                          bool accumulate, void *out)
{
    const REAL *zz = z, *aa = a, *uu = u;
    REAL *to = out;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(act_slope)
            (act, gm_block(n, i), zz ? zz + i : NULL, aa ? aa + i : NULL, uu + i, accumulate,
             to + i);
        }
        return;
    }
    if (act == GM_ACT_RELU) {
        (accumulate ? FN(add_relu_slope) : FN(relu_slope))(n, aa, uu, to);
        return;
    }
    if (act == GM_ACT_IDENTITY) {
        if (accumulate) {
            FN(axpy)(n, 1, u, out);
        } else if (to != uu) {
            memcpy(to, uu, n * sizeof(REAL));
        }
        return;
    }
    REAL first[GM_BUFFER], in[GM_BUFFER];
    bool smooth = act == GM_ACT_SOFTPLUS || act == GM_ACT_GELU;
    for (size_t i = 0; i < n; i += GM_BUFFER) {
        size_t m = n - i < GM_BUFFER ? n - i : GM_BUFFER;
        size_t whole = smooth ? FN(fill_up)(m, zz + i, in) : m;
        FN(first_derivative)(act, whole, in, smooth ? NULL : aa + i, first);
        if (accumulate) {
            FN(multiply_add)(m, first, uu + i, to + i);
        } else {
            FN(multiply)(m, first, uu + i, to + i);
        }
    }
}

static void FN(act_curve)(gm_activation act, size_t n, const void *z, const void *a, const void *u,
                          const void *zdot, const void *signal, bool accumulate, void *out)
{
    const REAL *zz = z, *aa = a, *uu = u, *dot = zdot, *root = signal;
    REAL *to = out;
    bool straight = act == GM_ACT_IDENTITY || act == GM_ACT_RELU || act == GM_ACT_LEAKY_RELU;
    if (straight || !dot || !root) {
        FN(act_slope)(act, n, z, a, u, accumulate, out);
        return;
    }
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(act_curve)
            (act, gm_block(n, i), zz ? zz + i : NULL, aa ? aa + i : NULL, uu + i, dot + i, root + i,
             accumulate, to + i);
        }
        return;
    }
    REAL first[GM_BUFFER], second[GM_BUFFER], in[GM_BUFFER];
    bool smooth = act == GM_ACT_SOFTPLUS || act == GM_ACT_GELU;
    for (size_t i = 0; i < n; i += GM_BUFFER) {
        size_t m = n - i < GM_BUFFER ? n - i : GM_BUFFER;
        size_t whole = smooth ? FN(fill_up)(m, zz + i, in) : m;
        FN(first_derivative)(act, whole, in, smooth ? NULL : aa + i, first);
        FN(second_derivative)(act, whole, in, smooth ? NULL : aa + i, second);
        for (size_t j = 0; j < m; j++) {
            first[j] = first[j] * uu[i + j] + second[j] * dot[i + j] * root[i + j];
        }
        if (accumulate) {
            FN(axpy)(m, 1, first, to + i);
        } else {
            memcpy(to + i, first, m * sizeof(REAL));
        }
    }
}
