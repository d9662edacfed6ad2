/* Elementwise functions, their first and second derivatives, each formula once: every function goes
 * through short buffers filled up to whole vectors (vector_math.h). */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

#include <string.h>
#include <tgmath.h>

#include "kernels/kernels.h"
#include "kernels/parallel.h"
#include "kernels/vector_math.h"

/* One case of a switch: out[i] = formula of v = x[i]. */
#define GM_EACH(formula)                                                                           \
    for (size_t i = 0; i < n; i++) {                                                               \
        const REAL v = x[i];                                                                       \
        out[i] = (formula);                                                                        \
    }                                                                                              \
    break

/* tanh(w) for gelu_tanh, w = sqrt(2/pi) (v + 0.044715 v^3): the sigmoid of 2 w is (1 + tanh w) / 2
 * without cancellation. */
static inline REAL FN(gelu_twice)(REAL v)
{
    return (REAL)1.59576912160573071176 * v * (1 + (REAL)0.044715 * v * v);
}

static inline REAL FN(gelu_slope)(REAL v) /* dw/dv */
{
    return (REAL)0.79788456080286535588 * (1 + (REAL)0.134145 * v * v);
}

static inline REAL FN(gelu_tanh_first)(REAL v)
{
    REAL s = FN(sigmoid)(FN(gelu_twice)(v)), c = FN(sigmoid)(-FN(gelu_twice)(v));
    return s + 2 * v * s * c * FN(gelu_slope)(v);
}

static inline REAL FN(gelu_tanh_second)(REAL v)
{
    REAL s = FN(sigmoid)(FN(gelu_twice)(v)), c = FN(sigmoid)(-FN(gelu_twice)(v));
    REAL slope = FN(gelu_slope)(v);
    REAL bend = (REAL)(0.79788456080286535588 * 0.134145) * v; /* half of d2w/dv2 */
    return 4 * s * c * (slope + v * (bend - (s - c) * slope * slope));
}

/* For mish: T = tanh(softplus v) and its first two derivatives. */
static inline REAL FN(mish_tanh)(REAL v)
{
    return tanh(FN(softplus)(v));
}

static inline REAL FN(mish_first)(REAL v)
{
    REAL t = FN(mish_tanh)(v);
    return t + v * (1 - t) * (1 + t) * FN(sigmoid)(v);
}

static inline REAL FN(mish_second)(REAL v)
{
    REAL t = FN(mish_tanh)(v), s = FN(sigmoid)(v), first = (1 - t) * (1 + t) * s;
    return 2 * first + v * first * (FN(sigmoid)(-v) - 2 * t * s);
}

static inline REAL FN(clamp)(REAL v, REAL low, REAL high)
{
    return v < low ? low : v > high ? high : v; /* NaN stays NaN */
}

/* v^a for the exponents that need no logarithm, and for the others. */
static inline REAL FN(power)(REAL v, REAL a)
{
    return a == 2 ? v * v : a == 3 ? v * v * v : a == 1 ? v : a == 0 ? 1 : pow(v, a);
}

/* out[i] = f(x[i]), whole vectors. */
static void FN(unary_values)(const gm_function *f, size_t n, const REAL *restrict x,
                             REAL *restrict out)
{
    const REAL a = (REAL)f->a, b = (REAL)f->b;
    switch (f->function) {
    case GM_UNARY_AFFINE:
        GM_EACH(a * v + b);
    case GM_UNARY_ABS:
        GM_EACH(fabs(v));
    case GM_UNARY_CLIP:
        GM_EACH(FN(clamp)(v, a, b));
    case GM_UNARY_HARD_SIGMOID:
        GM_EACH(FN(clamp)(a * v + b, 0, 1));
    case GM_UNARY_LEAKY:
        GM_EACH(v > 0 ? v : a * v);
    case GM_UNARY_THRESHOLD:
        GM_EACH(v <= a ? 0 : v);
    case GM_UNARY_EXP:
        GM_EACH(exp(v));
    case GM_UNARY_LOG:
        GM_EACH(log(v));
    case GM_UNARY_SQRT:
        GM_EACH(sqrt(v));
    case GM_UNARY_RECIPROCAL:
        GM_EACH(1 / v);
    case GM_UNARY_POWER:
        GM_EACH(FN(power)(v, a));
    case GM_UNARY_ERF:
        GM_EACH(erf(v));
    case GM_UNARY_SIN:
        GM_EACH(sin(v));
    case GM_UNARY_COS:
        GM_EACH(cos(v));
    case GM_UNARY_ELU:
        GM_EACH(v > 0 ? b * v : b * a * expm1(v > 0 ? 0 : v));
    case GM_UNARY_CELU:
        GM_EACH(v > 0 ? v : a * expm1(v > 0 ? 0 : v / a));
    case GM_UNARY_SOFTSIGN:
        GM_EACH(v / (1 + fabs(v)));
    case GM_UNARY_SILU:
        GM_EACH(v * FN(sigmoid)(v));
    case GM_UNARY_GELU_TANH:
        GM_EACH((v < -40 ? -40 : v) * FN(sigmoid)(FN(gelu_twice)(v < -40 ? -40 : v)));
    case GM_UNARY_HARD_SWISH:
        GM_EACH(v * FN(clamp)(v / 6 + (REAL)0.5, 0, 1));
    case GM_UNARY_MISH:
        GM_EACH(v * FN(mish_tanh)(v));
    case GM_UNARIES:
        break;
    }
}

/* out[i] = f'; x is f(x) where gm_unary_reads_out. */
static void FN(unary_first)(const gm_function *f, size_t n, const REAL *restrict x,
                            REAL *restrict out)
{
    const REAL a = (REAL)f->a, b = (REAL)f->b;
    switch (f->function) {
    case GM_UNARY_AFFINE:
        for (size_t i = 0; i < n; i++) {
            out[i] = a; /* there is no x */
        }
        break;
    case GM_UNARY_ABS:
        GM_EACH(v > 0 ? 1 : v < 0 ? -1 : 0);
    case GM_UNARY_CLIP:
        GM_EACH(v > a && v < b ? 1 : 0);
    case GM_UNARY_HARD_SIGMOID:
        GM_EACH(v > 0 && v < 1 ? a : 0);
    case GM_UNARY_LEAKY:
        GM_EACH(v > 0 ? 1 : a);
    case GM_UNARY_THRESHOLD:
        GM_EACH(v > a ? 1 : 0);
    case GM_UNARY_EXP:
        GM_EACH(v);
    case GM_UNARY_LOG:
        GM_EACH(1 / v);
    case GM_UNARY_SQRT:
        GM_EACH((REAL)0.5 / v);
    case GM_UNARY_RECIPROCAL:
        GM_EACH(-v * v);
    case GM_UNARY_POWER:
        if (a == 0) {
            GM_EACH(0 * v);
        }
        GM_EACH(a * FN(power)(v, a - 1));
    case GM_UNARY_ERF:
        GM_EACH((REAL)1.12837916709551257390 * exp(-FN(cut)(v) * FN(cut)(v)));
    case GM_UNARY_SIN:
        GM_EACH(cos(v));
    case GM_UNARY_COS:
        GM_EACH(-sin(v));
    case GM_UNARY_ELU:
        GM_EACH(v > 0 ? b : b * a * exp(v > 0 ? 0 : v));
    case GM_UNARY_CELU:
        GM_EACH(v > 0 ? 1 : exp(v > 0 ? 0 : v / a));
    case GM_UNARY_SOFTSIGN:
        GM_EACH(1 / ((1 + fabs(v)) * (1 + fabs(v))));
    case GM_UNARY_SILU:
        GM_EACH(FN(sigmoid)(v) * (1 + v * FN(sigmoid)(-v)));
    case GM_UNARY_GELU_TANH:
        GM_EACH(FN(gelu_tanh_first)(FN(cut)(v)));
    case GM_UNARY_HARD_SWISH:
        GM_EACH(v <= -3 ? 0 : v >= 3 ? 1 : v / 3 + (REAL)0.5);
    case GM_UNARY_MISH:
        GM_EACH(FN(mish_first)(v));
    case GM_UNARIES:
        break;
    }
}

/* out[i] = f'', 0 for the piecewise linear ones. */
static void FN(unary_second)(const gm_function *f, size_t n, const REAL *restrict x,
                             REAL *restrict out)
{
    const REAL a = (REAL)f->a, b = (REAL)f->b;
    switch (f->function) {
    case GM_UNARY_AFFINE:
    case GM_UNARY_ABS:
    case GM_UNARY_CLIP:
    case GM_UNARY_HARD_SIGMOID:
    case GM_UNARY_LEAKY:
    case GM_UNARY_THRESHOLD:
    case GM_UNARIES:
        memset(out, 0, n * sizeof(REAL));
        break;
    case GM_UNARY_EXP:
        GM_EACH(v);
    case GM_UNARY_LOG:
        GM_EACH(-1 / (v * v));
    case GM_UNARY_SQRT:
        GM_EACH((REAL)-0.25 / (v * v * v));
    case GM_UNARY_RECIPROCAL:
        GM_EACH(2 * v * v * v);
    case GM_UNARY_POWER:
        if (a == 0 || a == 1) {
            GM_EACH(0 * v);
        }
        GM_EACH(a * (a - 1) * FN(power)(v, a - 2));
    case GM_UNARY_ERF:
        GM_EACH((REAL)-2.25675833419102514780 * FN(cut)(v) * exp(-FN(cut)(v) * FN(cut)(v)));
    case GM_UNARY_SIN:
        GM_EACH(-sin(v));
    case GM_UNARY_COS:
        GM_EACH(-cos(v));
    case GM_UNARY_ELU:
        GM_EACH(v > 0 ? 0 : b * a * exp(v > 0 ? 0 : v));
    case GM_UNARY_CELU:
        GM_EACH(v > 0 ? 0 : exp(v > 0 ? 0 : v / a) / a);
    case GM_UNARY_SOFTSIGN:
        GM_EACH((v > 0 ? -2 : v < 0 ? 2 : 0) / ((1 + fabs(v)) * (1 + fabs(v)) * (1 + fabs(v))));
    case GM_UNARY_SILU:
        GM_EACH(FN(sigmoid)(v) * FN(sigmoid)(-v) * (2 + v * (FN(sigmoid)(-v) - FN(sigmoid)(v))));
    case GM_UNARY_GELU_TANH:
        GM_EACH(FN(gelu_tanh_second)(FN(cut)(v)));
    case GM_UNARY_HARD_SWISH:
        GM_EACH(v > -3 && v < 3 ? (REAL)1 / 3 : 0);
    case GM_UNARY_MISH:
        GM_EACH(FN(mish_second)(v));
    }
}

#undef GM_EACH

static void FN(unary_value)(const gm_function *f, size_t n, const void *x, void *y)
{
    const REAL *from = x;
    REAL *to = y, in[GM_BUFFER], out[GM_BUFFER];
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(unary_value)(f, gm_block(n, i), from + i, to + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i += GM_BUFFER) {
        size_t m = n - i < GM_BUFFER ? n - i : GM_BUFFER;
        FN(unary_values)(f, FN(fill_up)(m, from + i, in), in, out);
        memcpy(to + i, out, m * sizeof(REAL));
    }
}

/* out (+)= x u + y v, or without the second product where y is NULL; out may be u. */
static void FN(combine)(size_t n, const REAL *x, const REAL *u, const REAL *y, const REAL *v,
                        bool add, REAL *out)
{
    if (!y && add) {
        FN(multiply_add)(n, x, u, out);
        return;
    }
    if (!y) {
        FN(multiply)(n, x, u, out);
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        REAL sum = x[i] * u[i] + y[i] * v[i];
        out[i] = add ? out[i] + sum : sum;
    }
}

/* Numbers first ... first + count - 1 of each of the b rows of n. */
static void FN(unary_part)(const gm_function *f, size_t first, size_t count, size_t n, size_t b,
                           const REAL *point, const REAL *u, const REAL *xdot, const REAL *signal,
                           bool add, REAL *out)
{
    REAL in[GM_BUFFER] = {0}, slope[GM_BUFFER], bend[GM_BUFFER];
    const bool bends = xdot && signal;
    for (size_t i = first; i < first + count; i += GM_BUFFER) {
        size_t m = first + count - i < GM_BUFFER ? first + count - i : GM_BUFFER;
        size_t whole = point ? FN(fill_up)(m, point + i, in) : gm_whole(m);
        FN(unary_first)(f, whole, in, slope);
        if (bends) {
            FN(unary_second)(f, whole, in, bend);
            FN(multiply)(m, bend, signal + i, bend);
        }
        for (size_t j = 0; j < b; j++) {
            size_t at = j * n + i;
            FN(combine)
            (m, slope, u + at, bends ? bend : NULL, bends ? xdot + at : NULL, add, out + at);
        }
    }
}

static void FN(unary_backward)(const gm_function *f, size_t n, size_t b, const void *point,
                               const void *u, const void *xdot, const void *signal, bool add,
                               void *out)
{
#pragma omp parallel for schedule(static) if (gm_threaded(n * b))
    for (size_t i = 0; i < n; i += GM_BLOCK) {
        FN(unary_part)(f, i, gm_block(n, i), n, b, point, u, xdot, signal, add, out);
    }
}
