/* Losses of rows of logits and the softmax's metric. A row is worked in double whatever REAL is:
 * there are few classes beside the widths of the layers, and theory section 1 ("softmax in the
 * limit") asks for it. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

#include <float.h>
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/parallel.h"

/* Index of the largest entry, the first of equals. */
static inline size_t FN(row_top)(size_t classes, const REAL *row)
{
    size_t top = 0;
    for (size_t c = 1; c < classes; c++) {
        if (row[c] > row[top]) top = c;
    }
    return top;
}

/* Sums are taken without the entry of the largest logit, which is 1: log1p of that sum and the
 * signal's entry y then keep their relative accuracy however sure the net is. */
static void FN(softmax_row)(size_t classes, const REAL *z, size_t y, double *loss, uint8_t *wrong,
                            REAL *prob, REAL *signal)
{
    size_t top = FN(row_top)(classes, z);
    double peak = (double)z[top], others = 0, not_y = 0;
    for (size_t c = 0; c < classes; c++) {
        double e = exp((double)z[c] - peak);
        if (c != top) others += e;
        if (c != y) not_y += e;
    }
    double total = 1 + others;
    if (loss) *loss = log1p(others) + (peak - (double)z[y]);
    if (wrong) *wrong = top != y || isnan(total);
    if (!prob && !signal) return;
    double scale = 1 / total;
    for (size_t c = 0; c < classes; c++) {
        double p = scale * exp((double)z[c] - peak);
        if (prob) prob[c] = (REAL)p;
        if (signal) signal[c] = (REAL)(c == y ? 0 - scale * not_y : p);
    }
}

static void FN(softmax_loss)(size_t n, size_t classes, const void *z, const int32_t *y,
                             double *loss, uint8_t *wrong, void *prob, void *signal)
{
    const REAL *logit = z;
    REAL *p = prob, *r = signal;
#pragma omp parallel for schedule(static) if (gm_threaded(8 * n * classes))
    for (size_t i = 0; i < n; i++) {
        FN(softmax_row)
        (classes, logit + i * classes, (size_t)y[i], loss ? loss + i : NULL,
         wrong ? wrong + i : NULL, p ? p + i * classes : NULL, r ? r + i * classes : NULL);
    }
}

static void FN(squared_loss)(size_t n, size_t outputs, const void *z, const double *target,
                             double *loss, uint8_t *wrong, void *signal)
{
    const REAL *logit = z;
    REAL *r = signal;
#pragma omp parallel for schedule(static) if (gm_threaded(n * outputs))
    for (size_t i = 0; i < n; i++) {
        const REAL *zi = logit + i * outputs;
        const double *ti = target + i * outputs;
        double sum = 0;
        size_t top = 0;
        for (size_t c = 0; c < outputs; c++) {
            double difference = (double)zi[c] - ti[c];
            sum += difference * difference;
            if (ti[c] > ti[top]) top = c;
            if (r) r[i * outputs + c] = (REAL)difference;
        }
        if (loss) loss[i] = 0.5 * sum;
        if (wrong) wrong[i] = FN(row_top)(outputs, zi) != top || isnan(sum);
    }
}

static void FN(softmax_metric)(size_t n, size_t classes, const void *prob, const void *u, void *out)
{
    const REAL *p = prob, *from = u;
    REAL *to = out;
#pragma omp parallel for schedule(static) if (gm_threaded(n * classes))
    for (size_t i = 0; i < n; i++) {
        const REAL *pi = p + i * classes, *ui = from + i * classes;
        double base = (double)ui[FN(row_top)(classes, pi)], mean = 0;
        for (size_t c = 0; c < classes; c++) {
            mean += (double)pi[c] * ((double)ui[c] - base);
        }
        for (size_t c = 0; c < classes; c++) {
            to[i * classes + c] = (REAL)((double)pi[c] * ((double)ui[c] - base - mean));
        }
    }
}

static void FN(softmax_factor)(size_t n, size_t classes, const void *prob, size_t c, void *out)
{
    const REAL *p = prob;
    REAL *to = out;
#pragma omp parallel for schedule(static) if (gm_threaded(n * classes))
    for (size_t i = 0; i < n; i++) {
        const REAL *pi = p + i * classes;
        double root = sqrt((double)pi[c]), others = 0;
        for (size_t d = 0; d < classes; d++) {
            if (d != c) others += (double)pi[d];
            to[i * classes + d] = (REAL)(-(double)pi[d] * root);
        }
        to[i * classes + c] = (REAL)(root * others);
    }
}
