/* Pooling of images with the channels last, once per precision and instruction set: the inner loops
 * run over channels. Images with the channels first are n C images of one channel each. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

/* Channels handled together, so that what is left of a signal fits on the stack. */
enum { FN(LANES) = 64 };

/* The window's taps that lie inside the image: those of output (row, column) are [first, last) in
 * either direction, in steps of the dilation. */
static size_t FN(first_tap)(const gm_window *w, int i, size_t at)
{
    size_t start = at * w->stride[i];
    return start >= w->pad[i] ? 0 : (w->pad[i] - start + w->dilation[i] - 1) / w->dilation[i];
}

static size_t FN(last_tap)(const gm_window *w, int i, size_t at)
{
    size_t start = at * w->stride[i], end = w->in[i] + w->pad[i];
    if (start >= end) return 0;
    if (start + (w->kernel[i] - 1) * w->dilation[i] < end) return w->kernel[i];
    size_t taps = (end - start + w->dilation[i] - 1) / w->dilation[i];
    return taps < w->kernel[i] ? taps : w->kernel[i];
}

/* The taps inside for one output position, and the input's row and column under tap (0, 0), pad not
 * taken off. */
typedef struct FN(taps) {
    size_t row0, row1, column0, column1, row, column, count;
    size_t padded; /* inside the padded image */
} FN(taps);

static size_t FN(padded_taps)(const gm_window *w, int i, size_t at)
{
    size_t beyond = at + 1 == w->out[i] ? w->beyond[i] : 0;
    return w->kernel[i] - (beyond + w->dilation[i] - 1) / w->dilation[i];
}

static FN(taps) FN(taps_of)(const gm_window *w, size_t position)
{
    size_t r = position / w->out[1], c = position % w->out[1];
    FN(taps)
    t = {.row0 = FN(first_tap)(w, 0, r),
         .row1 = FN(last_tap)(w, 0, r),
         .column0 = FN(first_tap)(w, 1, c),
         .column1 = FN(last_tap)(w, 1, c),
         .row = r * w->stride[0],
         .column = c * w->stride[1],
         .padded = FN(padded_taps)(w, 0, r) * FN(padded_taps)(w, 1, c)};
    if (t.row1 > t.row0 && t.column1 > t.column0) {
        t.count = (t.row1 - t.row0) * (t.column1 - t.column0);
    }
    return t;
}

/* Offset of the input's channel 0 under tap (r, c). */
static size_t FN(under)(const gm_window *w, const FN(taps) * t, size_t r, size_t c)
{
    size_t row = t->row + r * w->dilation[0] - w->pad[0];
    size_t column = t->column + c * w->dilation[1] - w->pad[1];
    return (row * w->in[1] + column) * w->channels;
}

static void FN(max_pool)(const gm_window *w, size_t n, const void *x, void *y)
{
    size_t in = w->in[0] * w->in[1] * w->channels, positions = w->out[0] * w->out[1];
    size_t channels = w->channels;
#pragma omp parallel for schedule(static) if (gm_threaded(n * in))
    for (size_t i = 0; i < n; i++) {
        const REAL *from = (const REAL *)x + i * in;
        REAL *to = (REAL *)y + i * positions * channels;
        for (size_t p = 0; p < positions; p++, to += channels) {
            FN(taps) t = FN(taps_of)(w, p);
            if (t.count == 0) {
                memset(to, 0, channels * sizeof(REAL));
                continue;
            }
            memcpy(to, from + FN(under)(w, &t, t.row0, t.column0), channels * sizeof(REAL));
            for (size_t kr = t.row0; kr < t.row1; kr++) {
                for (size_t kc = t.column0; kc < t.column1; kc++) {
                    const REAL *a = from + FN(under)(w, &t, kr, kc);
                    for (size_t c = 0; c < channels; c++) { /* the first of equals stays, and NaN */
                        to[c] = a[c] > to[c] || a[c] != a[c] ? a[c] : to[c];
                    }
                }
            }
        }
    }
}

static void FN(max_pool_pick)(const gm_window *w, size_t n, const void *x, const void *y,
                              const void *u, void *v)
{
    size_t in = w->in[0] * w->in[1] * w->channels, positions = w->out[0] * w->out[1];
    size_t channels = w->channels;
#pragma omp parallel for schedule(static) if (gm_threaded(n * in))
    for (size_t i = 0; i < n; i++) {
        const REAL *a = (const REAL *)x + i * in, *from = (const REAL *)u + i * in;
        const REAL *top = (const REAL *)y + i * positions * channels;
        REAL *to = (REAL *)v + i * positions * channels;
        for (size_t p = 0; p < positions; p++, to += channels, top += channels) {
            FN(taps) t = FN(taps_of)(w, p);
            memset(to, 0, channels * sizeof(REAL));
            for (size_t kr = t.row1; kr-- > t.row0;) { /* backward: the first of equals wins */
                for (size_t kc = t.column1; kc-- > t.column0;) {
                    size_t at = FN(under)(w, &t, kr, kc);
                    for (size_t c = 0; c < channels; c++) {
                        to[c] = a[at + c] == top[c] ? from[at + c] : to[c];
                    }
                }
            }
        }
    }
}

/* Each lane's signal goes to the first tap that holds the maximum. */
static void FN(spread_lanes)(const gm_window *w, const FN(taps) * t, size_t lanes, const REAL *x,
                             const REAL *top, const REAL *s, REAL *d)
{
    REAL left[FN(LANES)]; /* what no tap has taken yet */
    memcpy(left, s, lanes * sizeof(REAL));
    for (size_t kr = t->row0; kr < t->row1; kr++) {
        for (size_t kc = t->column0; kc < t->column1; kc++) {
            size_t at = FN(under)(w, t, kr, kc);
            for (size_t c = 0; c < lanes; c++) {
                bool hit = x[at + c] == top[c];
                d[at + c] += hit ? left[c] : 0;
                left[c] = hit ? 0 : left[c];
            }
        }
    }
}

static void FN(max_pool_spread)(const gm_window *w, size_t n, const void *x, const void *y,
                                const void *s, bool add, void *d)
{
    size_t in = w->in[0] * w->in[1] * w->channels, positions = w->out[0] * w->out[1];
    size_t channels = w->channels;
#pragma omp parallel for schedule(static) if (gm_threaded(n * in))
    for (size_t i = 0; i < n; i++) {
        const REAL *a = (const REAL *)x + i * in;
        const REAL *top = (const REAL *)y + i * positions * channels;
        const REAL *from = (const REAL *)s + i * positions * channels;
        REAL *to = (REAL *)d + i * in;
        if (!add) memset(to, 0, in * sizeof(REAL));
        for (size_t p = 0; p < positions; p++, from += channels, top += channels) {
            FN(taps) t = FN(taps_of)(w, p);
            for (size_t c0 = 0; c0 < channels; c0 += FN(LANES)) {
                size_t lanes = channels - c0 < FN(LANES) ? channels - c0 : FN(LANES);
                FN(spread_lanes)(w, &t, lanes, a + c0, top + c0, from + c0, to + c0);
            }
        }
    }
}

/* Weight of each tap of a mean: one over the taps inside, or over those inside the padded image. */
static REAL FN(share)(const FN(taps) * t, bool padded)
{
    size_t count = padded ? t->padded : t->count;
    return count ? (REAL)(1.0 / (double)count) : 0;
}

static void FN(mean_pool)(const gm_window *w, bool padded, size_t n, const void *x, void *y)
{
    size_t in = w->in[0] * w->in[1] * w->channels, positions = w->out[0] * w->out[1];
    size_t channels = w->channels;
#pragma omp parallel for schedule(static) if (gm_threaded(n * in))
    for (size_t i = 0; i < n; i++) {
        const REAL *from = (const REAL *)x + i * in;
        REAL *to = (REAL *)y + i * positions * channels;
        for (size_t p = 0; p < positions; p++, to += channels) {
            FN(taps) t = FN(taps_of)(w, p);
            REAL share = FN(share)(&t, padded);
            memset(to, 0, channels * sizeof(REAL));
            for (size_t kr = t.row0; kr < t.row1; kr++) {
                for (size_t kc = t.column0; kc < t.column1; kc++) {
                    const REAL *a = from + FN(under)(w, &t, kr, kc);
                    for (size_t c = 0; c < channels; c++) {
                        to[c] += a[c];
                    }
                }
            }
            for (size_t c = 0; c < channels; c++) {
                to[c] *= share;
            }
        }
    }
}

static void FN(mean_pool_spread)(const gm_window *w, bool padded, size_t n, const void *s, bool add,
                                 void *d)
{
    size_t in = w->in[0] * w->in[1] * w->channels, positions = w->out[0] * w->out[1];
    size_t channels = w->channels;
#pragma omp parallel for schedule(static) if (gm_threaded(n * in))
    for (size_t i = 0; i < n; i++) {
        const REAL *from = (const REAL *)s + i * positions * channels;
        REAL *to = (REAL *)d + i * in;
        if (!add) memset(to, 0, in * sizeof(REAL));
        for (size_t p = 0; p < positions; p++, from += channels) {
            FN(taps) t = FN(taps_of)(w, p);
            REAL share = FN(share)(&t, padded);
            for (size_t kr = t.row0; kr < t.row1; kr++) {
                for (size_t kc = t.column0; kc < t.column1; kc++) {
                    REAL *a = to + FN(under)(w, &t, kr, kc);
                    for (size_t c = 0; c < channels; c++) {
                        a[c] += share * from[c];
                    }
                }
            }
        }
    }
}

/* out[c] += sum of x[., c, .] for x [n, channels, inner], in double. */
static void FN(channel_sums)(size_t n, size_t channels, size_t inner, const void *x, void *out)
{
    if (inner == 1) {
        FN(column_sums)(n, channels, x, out);
        return;
    }
#pragma omp parallel for schedule(static) if (gm_threaded(n * channels * inner))
    for (size_t c = 0; c < channels; c++) {
        double sum = 0.0;
        for (size_t i = 0; i < n; i++) {
            const REAL *row = (const REAL *)x + (i * channels + c) * inner;
            for (size_t j = 0; j < inner; j++) {
                sum += (double)row[j];
            }
        }
        ((REAL *)out)[c] += (REAL)sum;
    }
}

/* y (+)= scale[c] x + shift[c] for x [n, channels, inner]. */
static void FN(channel_affine)(size_t n, size_t channels, size_t inner, const double *scale,
                               const double *shift, const void *x, bool add, void *y)
{
    size_t size = channels * inner;
#pragma omp parallel for schedule(static) if (gm_threaded(n * size))
    for (size_t i = 0; i < n; i++) {
        const REAL *from = (const REAL *)x + i * size;
        REAL *to = (REAL *)y + i * size;
        for (size_t j = 0; j < size; j++) {
            size_t c = inner == 1 ? j : j / inner;
            REAL value = (REAL)scale[c] * from[j] + (REAL)shift[c];
            to[j] = add ? to[j] + value : value;
        }
    }
}

/* dot[c] += sum of x y over channel c, sum[c] += sum of x, for x and y [n, channels, inner]. */
static void FN(channel_dots)(size_t n, size_t channels, size_t inner, const void *x, const void *y,
                             double *dot, double *sum)
{
    for (size_t i = 0; i < n; i++) {
        const REAL *a = (const REAL *)x + i * channels * inner;
        const REAL *b = (const REAL *)y + i * channels * inner;
        for (size_t j = 0; j < channels * inner; j++) {
            size_t c = inner == 1 ? j : j / inner;
            dot[c] += (double)a[j] * (double)b[j];
            sum[c] += (double)a[j];
        }
    }
}

/* y (+)= x [n, rows, columns] with the last two axes swapped: [n, columns, rows]. */
static void FN(swap_axes)(size_t n, size_t rows, size_t columns, const void *x, bool add, void *y)
{
    size_t size = rows * columns;
#pragma omp parallel for schedule(static) if (gm_threaded(n * size))
    for (size_t i = 0; i < n; i++) {
        const REAL *from = (const REAL *)x + i * size;
        REAL *to = (REAL *)y + i * size;
        for (size_t c = 0; c < columns; c++) {
            for (size_t r = 0; r < rows; r++) {
                REAL value = from[r * columns + c];
                to[c * rows + r] = add ? to[c * rows + r] + value : value;
            }
        }
    }
}
