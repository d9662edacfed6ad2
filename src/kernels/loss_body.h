/* Losses of rows of logits and the softmax's metric. A row is worked in double whatever REAL is:
 * there are few classes beside the widths of the layers, and theory section 1 ("softmax in the
 * limit") asks for it. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

#include <math.h>

#include "kernels/kernels.h"
#include "kernels/parallel.h"
#include "kernels/vector_math.h"

/* Index of the largest entry, the first of equals. */
static inline size_t FN(row_top)(size_t classes, const REAL *row)
{
    size_t top = 0;
    for (size_t c = 1; c < classes; c++) {
        if (row[c] > row[top]) top = c;
    }
    return top;
}

/* e[c] = exp(z[c] - peak), at most GM_BUFFER of them. */
static inline void FN(shifted_exp)(size_t n, const REAL *z, double peak, double *restrict e)
{
    for (size_t c = 0; c < gm_whole(n); c++) {
        e[c] = c < n ? (double)z[c] - peak : 0;
    }
    for (size_t c = 0; c < gm_whole(n); c++) {
        e[c] = exp(e[c]);
    }
}

/* Probabilities become the signal p - onehot(y): entry y is minus the sum of the others, which
 * keeps its relative accuracy however sure the net is. */
static void FN(signal_row)(size_t classes, size_t y, REAL *row)
{
    double others = 0;
    for (size_t c = 0; c < classes; c++) {
        others += c == y ? 0 : (double)row[c];
    }
    row[y] = (REAL)(0 - others);
}

/* Sums are taken without the entry of the largest logit, which is 1, so that log1p of that sum
 * keeps its relative accuracy. Exponentials come in buffers of classes, twice where there is more
 * than one buffer; prob may be z. */
static void FN(softmax_row)(size_t classes, const REAL *z, size_t y, double *loss, uint8_t *wrong,
                            REAL *prob, REAL *signal)
{
    size_t top = FN(row_top)(classes, z);
    double peak = (double)z[top], others = 0, e[GM_BUFFER];
    for (size_t first = 0; first < classes; first += GM_BUFFER) {
        size_t count = classes - first < GM_BUFFER ? classes - first : GM_BUFFER;
        FN(shifted_exp)(count, z + first, peak, e);
        for (size_t c = 0; c < count; c++) {
            others += first + c == top ? 0 : e[c];
        }
    }
    double total = 1 + others, scale = 1 / total;
    if (loss) *loss = log1p(others) + (peak - (double)z[y]);
    if (wrong) *wrong = top != y || isnan(total);
    if (!prob && !signal) return;
    for (size_t first = 0; first < classes; first += GM_BUFFER) {
        size_t count = classes - first < GM_BUFFER ? classes - first : GM_BUFFER;
        if (classes > GM_BUFFER) FN(shifted_exp)(count, z + first, peak, e);
        for (size_t c = 0; c < count; c++) {
            double p = scale * e[c];
            if (prob) prob[first + c] = (REAL)p;
            if (signal) signal[first + c] = (REAL)p;
        }
    }
    if (signal) FN(signal_row)(classes, y, signal);
}

static void FN(softmax_loss)(size_t n, size_t classes, const void *z, const int32_t *y,
                             double *loss, uint8_t *wrong, void *prob, void *signal)
{
    const size_t d = 8 * classes; /* an exponential weighs as much as several plain operations */
    const REAL *logit = z;
    REAL *p = prob, *r = signal;
    if (gm_threaded_rows(n, d)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += gm_block_rows(d)) {
            FN(softmax_loss)
            (gm_rows(n, d, i), classes, logit + i * classes, y + i, loss ? loss + i : NULL,
             wrong ? wrong + i : NULL, p ? p + i * classes : NULL, r ? r + i * classes : NULL);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (y[i] < 0) {
            if (loss) loss[i] = 0;
            if (wrong) wrong[i] = 0;
            if (p) memset(p + i * classes, 0, classes * sizeof *p);
            if (r) memset(r + i * classes, 0, classes * sizeof *r);
            continue;
        }
        FN(softmax_row)
        (classes, logit + i * classes, (size_t)y[i], loss ? loss + i : NULL,
         wrong ? wrong + i : NULL, p ? p + i * classes : NULL, r ? r + i * classes : NULL);
    }
}

static void FN(softmax_signal)(size_t n, size_t classes, const void *prob, const int32_t *y,
                               void *signal)
{
    const REAL *p = prob;
    REAL *r = signal;
    if (gm_threaded_rows(n, classes)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += gm_block_rows(classes)) {
            size_t at = i * classes;
            FN(softmax_signal)(gm_rows(n, classes, i), classes, p + at, y + i, r + at);
        }
        return;
    }
    memcpy(r, p, n * classes * sizeof *r);
    for (size_t i = 0; i < n; i++) {
        if (y[i] >= 0) FN(signal_row)(classes, (size_t)y[i], r + i * classes);
    }
}

static void FN(squared_loss)(size_t n, size_t outputs, const void *z, const double *target,
                             double *loss, uint8_t *wrong, void *signal)
{
    const REAL *logit = z;
    REAL *r = signal;
    if (gm_threaded_rows(n, outputs)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += gm_block_rows(outputs)) {
            size_t at = i * outputs;
            FN(squared_loss)
            (gm_rows(n, outputs, i), outputs, logit + at, target + at, loss ? loss + i : NULL,
             wrong ? wrong + i : NULL, r ? r + at : NULL);
        }
        return;
    }
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
    if (gm_threaded_rows(n, classes)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += gm_block_rows(classes)) {
            size_t at = i * classes;
            FN(softmax_metric)(gm_rows(n, classes, i), classes, p + at, from + at, to + at);
        }
        return;
    }
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
    if (gm_threaded_rows(n, classes)) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i += gm_block_rows(classes)) {
            FN(softmax_factor)
            (gm_rows(n, classes, i), classes, p + i * classes, c, to + i * classes);
        }
        return;
    }
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
