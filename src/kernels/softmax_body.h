/* Softmax within a net, over any axis: a row's entries stand `inner` apart. Exponentials in REAL,
 * in buffers; sums over a row in double. (The loss has a softmax of its own, loss_body.h.) */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

#include <string.h>
#include <tgmath.h>

#include "kernels/kernels.h"
#include "kernels/parallel.h"
#include "kernels/vector_math.h"

/* Index of the largest entry of a row, the first of equals. */
static inline size_t FN(strided_top)(size_t classes, size_t inner, const REAL *row)
{
    size_t top = 0;
    for (size_t c = 1; c < classes; c++) {
        if (row[c * inner] > row[top * inner]) top = c;
    }
    return top;
}

/* e[c] = exp(x[c] - shift) for the m entries of a row from c on. */
static inline void FN(row_exp)(size_t m, size_t inner, const REAL *x, REAL shift, REAL *restrict e)
{
    for (size_t c = 0; c < gm_whole(m); c++) {
        e[c] = c < m ? x[c * inner] - shift : 0;
    }
    for (size_t c = 0; c < gm_whole(m); c++) {
        e[c] = exp(e[c]);
    }
}

static void FN(softmax_value_row)(bool log, size_t classes, size_t inner, const REAL *x, REAL *y)
{
    size_t top = FN(strided_top)(classes, inner, x);
    REAL peak = x[top * inner], e[GM_BUFFER];
    double others = 0; /* without the top's own, which is 1 */
    for (size_t first = 0; first < classes; first += GM_BUFFER) {
        size_t m = classes - first < GM_BUFFER ? classes - first : GM_BUFFER;
        FN(row_exp)(m, inner, x + first * inner, peak, e);
        for (size_t c = 0; c < m; c++) {
            others += first + c == top ? (double)(e[c] - 1) : (double)e[c];
            if (!log) y[(first + c) * inner] = e[c];
        }
    }
    double total = 1 + others, least = log1p(others);
    for (size_t c = 0; c < classes; c++) {
        REAL *to = &y[c * inner];
        *to = (REAL)(log ? (double)(x[c * inner] - peak) - least : (double)*to / total);
    }
}

/* sum of p (u - base) over a row */
static inline double FN(row_mean)(size_t classes, size_t inner, const REAL *p, const REAL *u,
                                  double base)
{
    double sum = 0;
    for (size_t c = 0; c < classes; c++) {
        sum += (double)p[c * inner] * ((double)u[c * inner] - base);
    }
    return sum;
}

static inline double FN(row_sum)(size_t classes, size_t inner, const REAL *u)
{
    double sum = 0;
    for (size_t c = 0; c < classes; c++) {
        sum += (double)u[c * inner];
    }
    return sum;
}

/* exp(y) . (u - base) of a row of logarithms */
static double FN(log_row_mean)(size_t classes, size_t inner, const REAL *y, const REAL *u,
                               double base)
{
    REAL e[GM_BUFFER];
    double sum = 0;
    for (size_t first = 0; first < classes; first += GM_BUFFER) {
        size_t m = classes - first < GM_BUFFER ? classes - first : GM_BUFFER;
        FN(row_exp)(m, inner, y + first * inner, 0, e);
        for (size_t c = 0; c < m; c++) {
            sum += (double)e[c] * ((double)u[(first + c) * inner] - base);
        }
    }
    return sum;
}

static inline void FN(put)(double value, bool add, REAL *to)
{
    *to = (REAL)(add ? (double)*to + value : value);
}

static inline void FN(slope_row)(size_t classes, size_t inner, const REAL *p, const REAL *u,
                                 bool add, REAL *out)
{
    double base = (double)u[FN(strided_top)(classes, inner, p) * inner];
    double mean = FN(row_mean)(classes, inner, p, u, base);
    for (size_t c = 0; c < classes; c++) {
        size_t at = c * inner;
        FN(put)((double)p[at] * ((double)u[at] - base - mean), add, &out[at]);
    }
}

static void FN(log_slope_row)(bool transposed, size_t classes, size_t inner, const REAL *y,
                              const REAL *u, bool add, REAL *out)
{
    REAL e[GM_BUFFER];
    double base = transposed ? 0 : (double)u[FN(strided_top)(classes, inner, y) * inner];
    double mean =
        transposed ? FN(row_sum)(classes, inner, u) : FN(log_row_mean)(classes, inner, y, u, base);
    for (size_t first = 0; first < classes; first += GM_BUFFER) {
        size_t m = classes - first < GM_BUFFER ? classes - first : GM_BUFFER;
        if (transposed) FN(row_exp)(m, inner, y + first * inner, 0, e);
        for (size_t c = 0; c < m; c++) {
            size_t at = (first + c) * inner;
            double part = transposed ? (double)e[c] * mean : mean;
            FN(put)((double)u[at] - base - part, add, &out[at]);
        }
    }
}

static inline void FN(bend_row)(size_t classes, size_t inner, const REAL *p, const REAL *xdot,
                                const REAL *s, REAL *d)
{
    size_t top = FN(strided_top)(classes, inner, p) * inner;
    double xbase = (double)xdot[top], sbase = (double)s[top], bend = 0;
    double xmean = FN(row_mean)(classes, inner, p, xdot, xbase);
    double smean = FN(row_mean)(classes, inner, p, s, sbase);
    for (size_t c = 0; c < classes; c++) { /* pdot . s: pdot sums to 0, so that s may be centred */
        size_t at = c * inner;
        double pdot = (double)p[at] * ((double)xdot[at] - xbase - xmean);
        bend += pdot * ((double)s[at] - sbase - smean);
    }
    for (size_t c = 0; c < classes; c++) {
        size_t at = c * inner;
        double x = (double)xdot[at] - xbase - xmean, y = (double)s[at] - sbase - smean;
        FN(put)((double)p[at] * (x * y - bend), true, &d[at]);
    }
}

static void FN(log_bend_row)(size_t classes, size_t inner, const REAL *y, const REAL *xdot,
                             const REAL *s, REAL *d)
{
    REAL e[GM_BUFFER];
    double base = (double)xdot[FN(strided_top)(classes, inner, y) * inner];
    double mean = FN(log_row_mean)(classes, inner, y, xdot, base);
    double sum = FN(row_sum)(classes, inner, s);
    for (size_t first = 0; first < classes; first += GM_BUFFER) {
        size_t m = classes - first < GM_BUFFER ? classes - first : GM_BUFFER;
        FN(row_exp)(m, inner, y + first * inner, 0, e);
        for (size_t c = 0; c < m; c++) {
            size_t at = (first + c) * inner;
            FN(put)(-(double)e[c] * ((double)xdot[at] - base - mean) * sum, true, &d[at]);
        }
    }
}

/* Where row r of [n, classes, inner] starts. */
static inline size_t FN(row_at)(size_t r, size_t classes, size_t inner)
{
    return r / inner * classes * inner + r % inner;
}

static void FN(softmax_value)(bool log, size_t n, size_t classes, size_t inner, const void *x,
                              void *y)
{
#pragma omp parallel for schedule(static) if (gm_threaded(8 * n * classes * inner))
    for (size_t r = 0; r < n * inner; r++) {
        size_t at = FN(row_at)(r, classes, inner);
        FN(softmax_value_row)(log, classes, inner, (const REAL *)x + at, (REAL *)y + at);
    }
}

static void FN(softmax_slope)(bool log, bool transposed, size_t n, size_t classes, size_t inner,
                              const void *y, const void *u, bool add, void *out)
{
    const REAL *p = y, *from = u;
    REAL *to = out;
#pragma omp parallel for schedule(static) if (gm_threaded(n * classes * inner))
    for (size_t r = 0; r < n * inner; r++) {
        size_t at = FN(row_at)(r, classes, inner);
        if (log) {
            FN(log_slope_row)(transposed, classes, inner, p + at, from + at, add, to + at);
        } else if (inner == 1) { /* a copy with a constant step */
            FN(slope_row)(classes, 1, p + at, from + at, add, to + at);
        } else {
            FN(slope_row)(classes, inner, p + at, from + at, add, to + at);
        }
    }
}

static void FN(softmax_bend)(bool log, size_t n, size_t classes, size_t inner, const void *y,
                             const void *xdot, const void *s, void *d)
{
    const REAL *p = y, *dot = xdot, *signal = s;
    REAL *to = d;
#pragma omp parallel for schedule(static) if (gm_threaded(n * classes * inner))
    for (size_t r = 0; r < n * inner; r++) {
        size_t at = FN(row_at)(r, classes, inner);
        if (log) {
            FN(log_bend_row)(classes, inner, p + at, dot + at, signal + at, to + at);
        } else if (inner == 1) {
            FN(bend_row)(classes, 1, p + at, dot + at, signal + at, to + at);
        } else {
            FN(bend_row)(classes, inner, p + at, dot + at, signal + at, to + at);
        }
    }
}
