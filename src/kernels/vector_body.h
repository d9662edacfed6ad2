/* Vector and row kernels, written once, included per precision (REAL, FN) and compiled per
 * instruction set. Each function that threads calls itself on pieces: inside the parallel region it
 * takes the plain path. `omp simd` marks loops whose output may be an input: the compiler would
 * take its scalar path there. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

#include <string.h>
#include <tgmath.h>

#include "kernels/parallel.h"

static void FN(from_double)(size_t n, const double *x, void *out)
{
    REAL *to = out;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(from_double)(gm_block(n, i), x + i, to + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = (REAL)x[i];
    }
}

static void FN(to_double)(size_t n, const void *x, double *out)
{
    const REAL *from = x;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(to_double)(gm_block(n, i), from + i, out + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = (double)from[i];
    }
}

static void FN(fill)(size_t n, double value, void *out)
{
    REAL *to = out;
    const REAL v = (REAL)value;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(fill)(gm_block(n, i), value, to + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = v;
    }
}

static void FN(accumulate)(size_t n, double scale, const void *x, double *sum)
{
    const REAL *from = x;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(accumulate)(gm_block(n, i), scale, from + i, sum + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        sum[i] += scale * (double)from[i];
    }
}

static void FN(axpy)(size_t n, double alpha, const void *x, void *y)
{
    const REAL *from = x;
    REAL *to = y;
    const REAL a = (REAL)alpha;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(axpy)(gm_block(n, i), alpha, from + i, to + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] += a * from[i];
    }
}

static void FN(multiply)(size_t n, const void *x, const void *y, void *out)
{
    const REAL *a = x, *b = y;
    REAL *to = out;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(multiply)(gm_block(n, i), a + i, b + i, to + i);
        }
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        to[i] = a[i] * b[i];
    }
}

static void FN(perturb)(size_t n, const void *noise, void *variance, void *z)
{
    const REAL *e = noise;
    REAL *spread = variance, *to = z;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(perturb)(gm_block(n, i), e + i, spread + i, to + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        spread[i] = sqrt(spread[i]);
        to[i] += spread[i] * e[i];
    }
}

static void FN(perturb_signal)(size_t n, const void *noise, const void *spread, const void *signal,
                               void *out)
{
    const REAL *e = noise, *sd = spread, *s = signal;
    REAL *to = out;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(perturb_signal)(gm_block(n, i), e + i, sd + i, s + i, to + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = sd[i] > 0 ? s[i] * e[i] / (2 * sd[i]) : 0;
    }
}

/* Sixteen running sums in a fixed order: as many as the widest instruction set keeps busy. */
static double FN(dot_part)(size_t n, const REAL *x, const REAL *y)
{
    double sum[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 16; j++) {
            sum[j] += (double)x[i + j] * (double)y[i + j];
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        sum[j] += (double)x[i + j] * (double)y[i + j];
    }
    for (size_t half = 8; half; half /= 2) {
        for (size_t j = 0; j < half; j++) {
            sum[j] += sum[j + half];
        }
    }
    return sum[0];
}

static double FN(dot)(size_t n, const void *x, const void *y)
{
    const REAL *a = x, *b = y;
    if (n <= GM_BLOCK) return FN(dot_part)(n, a, b);
    size_t length = (n + GM_PARTS - 1) / GM_PARTS;
    if (length < GM_BLOCK) length = GM_BLOCK;
    double part[GM_PARTS];
    size_t parts = (n + length - 1) / length;
#pragma omp parallel for schedule(static) if (gm_threaded(n))
    for (size_t i = 0; i < parts; i++) {
        size_t first = i * length;
        part[i] = FN(dot_part)(n - first < length ? n - first : length, a + first, b + first);
    }
    double sum = 0;
    for (size_t i = 0; i < parts; i++) {
        sum += part[i];
    }
    return sum;
}

/* Four rows at a time: each entry of y is read once for them. */
static void FN(rows_dot)(size_t rows, size_t n, const void *x, size_t stride, const void *y,
                         double *sum)
{
    const REAL *from = x, *w = y;
    size_t j = 0;
    for (; j + 4 <= rows; j += 4) {
        const REAL *a = from + j * stride, *b = a + stride, *c = b + stride, *d = c + stride;
        double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
        for (size_t i = 0; i < n; i++) {
            double v = (double)w[i];
            s0 += (double)a[i] * v;
            s1 += (double)b[i] * v;
            s2 += (double)c[i] * v;
            s3 += (double)d[i] * v;
        }
        sum[j] += s0;
        sum[j + 1] += s1;
        sum[j + 2] += s2;
        sum[j + 3] += s3;
    }
    for (; j < rows; j++) {
        sum[j] += FN(dot_part)(n, from + j * stride, w);
    }
}

static void FN(rows_axpy)(size_t rows, size_t n, double alpha, const double *t, const void *x,
                          size_t stride, void *y)
{
    const REAL *from = x;
    REAL *to = y;
    size_t j = 0;
    for (; j + 4 <= rows; j += 4) {
        const REAL *a = from + j * stride, *b = a + stride, *c = b + stride, *d = c + stride;
        const REAL t0 = (REAL)(alpha * t[j]), t1 = (REAL)(alpha * t[j + 1]);
        const REAL t2 = (REAL)(alpha * t[j + 2]), t3 = (REAL)(alpha * t[j + 3]);
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            to[i] += (t0 * a[i] + t1 * b[i]) + (t2 * c[i] + t3 * d[i]);
        }
    }
    for (; j < rows; j++) {
        const REAL *a = from + j * stride;
        const REAL t0 = (REAL)(alpha * t[j]);
#pragma omp simd
        for (size_t i = 0; i < n; i++) {
            to[i] += t0 * a[i];
        }
    }
}

static void FN(add_bias)(size_t n, size_t d, const void *bias, void *z)
{
    const REAL *b = bias;
    REAL *to = z;
    if (gm_threaded_rows(n, d)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += gm_block_rows(d)) {
            FN(add_bias)(gm_rows(n, d, i), d, bias, to + i * d);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) {
            to[i * d + j] += b[j];
        }
    }
}

/* Columns first ... first + width - 1, at most 64, of the sums: a column is summed over the rows in
 * one go whatever the threads do. */
static void FN(column_sums_part)(size_t n, size_t d, size_t first, size_t width, const REAL *x,
                                 REAL *out)
{
    double sum[64] = {0};
    for (size_t i = 0; i < n; i++) {
        const REAL *row = x + i * d + first;
        for (size_t j = 0; j < width; j++) {
            sum[j] += (double)row[j];
        }
    }
    for (size_t j = 0; j < width; j++) {
        out[first + j] += (REAL)sum[j];
    }
}

static void FN(column_sums)(size_t n, size_t d, const void *x, void *out)
{
    if (gm_threaded(n * d) && d > 64) {
#pragma omp parallel for schedule(static)
        for (size_t j = 0; j < d; j += 64) {
            FN(column_sums_part)(n, d, j, d - j < 64 ? d - j : 64, x, out);
        }
        return;
    }
    for (size_t j = 0; j < d; j += 64) {
        FN(column_sums_part)(n, d, j, d - j < 64 ? d - j : 64, x, out);
    }
}

static void FN(row_dots)(size_t n, size_t d, const void *x, const void *y, double *t)
{
    const REAL *a = x, *b = y;
    if (gm_threaded_rows(n, d)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += gm_block_rows(d)) {
            FN(row_dots)(gm_rows(n, d, i), d, a + i * d, b + i * d, t + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        t[i] += FN(dot_part)(d, a + i * d, b + i * d);
    }
}

static void FN(scale_rows)(size_t n, size_t d, const double *t, const void *x, void *out)
{
    const REAL *from = x;
    REAL *to = out;
    if (gm_threaded_rows(n, d)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += gm_block_rows(d)) {
            FN(scale_rows)(gm_rows(n, d, i), d, t + i, from + i * d, to + i * d);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const REAL scale = (REAL)t[i];
#pragma omp simd
        for (size_t j = 0; j < d; j++) {
            to[i * d + j] = scale * from[i * d + j];
        }
    }
}

static void FN(gather_rows)(size_t n, size_t d, const size_t *index, const void *x, void *out)
{
    const REAL *from = x;
    REAL *to = out;
    if (gm_threaded_rows(n, d)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += gm_block_rows(d)) {
            FN(gather_rows)(gm_rows(n, d, i), d, index + i, x, to + i * d);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(to + i * d, from + index[i] * d, d * sizeof(REAL));
    }
}

static void FN(sgd_step)(size_t n, double eta, double beta, bool nesterov, double decay,
                         const void *gradient, void *velocity, void *theta)
{
    const REAL *g = gradient;
    REAL *v = velocity, *w = theta;
    const REAL step = (REAL)eta, keep = (REAL)beta, shrink = (REAL)decay;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(sgd_step)
            (gm_block(n, i), eta, beta, nesterov, decay, g + i, v ? v + i : NULL, w + i);
        }
        return;
    }
    if (!v) {
        for (size_t i = 0; i < n; i++) {
            w[i] -= step * (g[i] + shrink * w[i]);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        REAL slope = g[i] + shrink * w[i];
        v[i] = keep * v[i] + slope;
        w[i] -= step * (nesterov ? slope + keep * v[i] : v[i]);
    }
}

static void FN(scaled_step)(size_t n, double eta, double decay, double epsilon,
                            const void *gradient, const void *diagonal, void *theta)
{
    const REAL *g = gradient, *d = diagonal;
    REAL *w = theta;
    const REAL step = (REAL)eta, shrink = (REAL)decay, floor = (REAL)epsilon;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(scaled_step)(gm_block(n, i), eta, decay, epsilon, g + i, d + i, w + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        w[i] -= step * (g[i] + shrink * w[i]) / (d[i] + floor);
    }
}

static void FN(adaptive_step)(size_t n, double eta, double decay, double epsilon, double keep,
                              double add, bool with, const void *gradient, void *square,
                              void *theta)
{
    const REAL *g = gradient;
    REAL *s = square, *w = theta;
    const REAL step = (REAL)eta, shrink = (REAL)decay, floor = (REAL)epsilon;
    const REAL kept = (REAL)keep, added = (REAL)add;
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(adaptive_step)
            (gm_block(n, i), eta, decay, epsilon, keep, add, with, g + i, s + i, w + i);
        }
        return;
    }
    for (size_t i = 0; with && i < n; i++) {
        REAL slope = g[i] + shrink * w[i];
        s[i] = kept * s[i] + added * slope * slope;
        w[i] -= step * slope / (sqrt(s[i]) + floor);
    }
    for (size_t i = 0; !with && i < n; i++) {
        REAL slope = g[i] + shrink * w[i];
        w[i] -= step * slope / (sqrt(s[i]) + floor);
        s[i] = kept * s[i] + added * slope * slope;
    }
}

static void FN(adam_step)(size_t n, double eta, double decay, double epsilon, double beta1,
                          double beta2, double root, const void *gradient, void *mean, void *square,
                          void *theta)
{
    const REAL *g = gradient;
    REAL *m = mean, *s = square, *w = theta;
    const REAL step = (REAL)eta, shrink = (REAL)decay, floor = (REAL)epsilon, unbias = (REAL)root;
    const REAL keep1 = (REAL)beta1, add1 = (REAL)(1.0 - beta1);
    const REAL keep2 = (REAL)beta2, add2 = (REAL)(1.0 - beta2);
    if (gm_threaded(n)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += GM_BLOCK) {
            FN(adam_step)
            (gm_block(n, i), eta, decay, epsilon, beta1, beta2, root, g + i, m + i, s + i, w + i);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        REAL slope = g[i] + shrink * w[i];
        m[i] = keep1 * m[i] + add1 * slope;
        s[i] = keep2 * s[i] + add2 * slope * slope;
        w[i] -= step * m[i] / (sqrt(s[i]) * unbias + floor);
    }
}
