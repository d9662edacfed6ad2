/* Products and losses on tiles: matrices [d, n] whose columns are samples, d and n so small that
 * they stay in the first caches, with n a whole number of vectors. One column is one lane, so that
 * layers of any width fill the vectors, the loss included. The nets of an ensemble are too small
 * for a matrix library's packing to pay; a run worked tile by tile is bound by arithmetic, and its
 * bits depend on nothing outside it.
 *
 * A block of the product is GM_TILE_ROWS rows by two vectors: its sums, the two vectors of B and a
 * broadcast of A fill the sixteen registers of SSE and AVX2. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

#include <math.h>
#include <stdint.h>
#include <tgmath.h>

#include "kernels/kernels.h"
#include "kernels/vector_math.h"

#ifndef GM_TILE_BYTES
#if defined(__AVX512F__)
#define GM_TILE_BYTES 64
#elif defined(__AVX__)
#define GM_TILE_BYTES 32
#else
#define GM_TILE_BYTES 16
#endif
enum { GM_TILE_ROWS = 6 };
#endif

/* Unaligned, as the compiler need not know better. */
typedef REAL FN(lane) __attribute__((vector_size(GM_TILE_BYTES), aligned(sizeof(REAL)), may_alias));
enum { FN(lanes) = GM_TILE_BYTES / sizeof(REAL) };

/* What one call computes; see gm_kernels.tile_product. */
typedef struct FN(product) {
    size_t k;
    const REAL *a;
    size_t a_row, a_column;
    const REAL *b;
    size_t ldb;
    const REAL *bias;
    bool add, rectify;
    REAL *c;
    size_t ldc;
} FN(product);

/* Rows i ... i + rows - 1 and `vectors` vectors from column j on; both counts are constants where
 * this is inlined. */
static inline __attribute__((always_inline)) void FN(tile_block)(const FN(product) * p, size_t i,
                                                                 size_t rows, size_t j,
                                                                 size_t vectors)
{
    FN(lane) sum[GM_TILE_ROWS][2];
    const REAL *a = p->a + i * p->a_row, *b = p->b + j;
    REAL *c = p->c + i * p->ldc + j;
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (size_t v = 0; v < vectors; v++) {
            const FN(lane) zero = {0};
            sum[r][v] = p->add ? *(const FN(lane) *)(c + r * p->ldc + v * FN(lanes)) : zero;
            if (p->bias) sum[r][v] += p->bias[i + r];
        }
    }
    for (size_t l = 0; l < p->k; l++) {
        const FN(lane) *x = (const FN(lane) *)(b + l * p->ldb);
#pragma GCC unroll 6
        for (size_t r = 0; r < rows; r++) {
            REAL w = a[r * p->a_row + l * p->a_column];
#pragma GCC unroll 2
            for (size_t v = 0; v < vectors; v++) {
                sum[r][v] += w * x[v];
            }
        }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 2
        for (size_t v = 0; v < vectors; v++) {
            const FN(lane) zero = {0};
            FN(lane) *to = (FN(lane) *)(c + r * p->ldc + v * FN(lanes));
            *to = sum[r][v];
            if (p->rectify) { /* NaN stays NaN */
                __typeof__(zero < zero) negative = sum[r][v] < zero;
                *to = (FN(lane))((__typeof__(negative))sum[r][v] & ~negative);
            }
        }
    }
}

static void FN(tile_pair)(const FN(product) * p, size_t i, size_t rows, size_t j)
{
    switch (rows) {
    case 1:
        FN(tile_block)(p, i, 1, j, 2);
        break;
    case 2:
        FN(tile_block)(p, i, 2, j, 2);
        break;
    case 3:
        FN(tile_block)(p, i, 3, j, 2);
        break;
    case 4:
        FN(tile_block)(p, i, 4, j, 2);
        break;
    case 5:
        FN(tile_block)(p, i, 5, j, 2);
        break;
    default:
        FN(tile_block)(p, i, 6, j, 2);
        break;
    }
}

static void FN(tile_single)(const FN(product) * p, size_t i, size_t rows, size_t j)
{
    switch (rows) {
    case 1:
        FN(tile_block)(p, i, 1, j, 1);
        break;
    case 2:
        FN(tile_block)(p, i, 2, j, 1);
        break;
    case 3:
        FN(tile_block)(p, i, 3, j, 1);
        break;
    case 4:
        FN(tile_block)(p, i, 4, j, 1);
        break;
    case 5:
        FN(tile_block)(p, i, 5, j, 1);
        break;
    default:
        FN(tile_block)(p, i, 6, j, 1);
        break;
    }
}

static void FN(tile_product)(size_t m, size_t n, size_t k, const void *a, size_t a_row,
                             size_t a_column, const void *b, size_t ldb, const void *bias, bool add,
                             bool rectify, void *c, size_t ldc)
{
    const FN(product) p = {k, a, a_row, a_column, b, ldb, bias, add, rectify, c, ldc};
    const size_t blocks = (m + GM_TILE_ROWS - 1) / GM_TILE_ROWS;
    for (size_t j = 0; j < n; j += 2 * FN(lanes)) {
        bool pair = n - j >= 2 * FN(lanes);
        for (size_t g = 0; g < blocks; g++) { /* rows in even shares: 10 are 5 and 5 */
            size_t first = m * g / blocks, end = m * (g + 1) / blocks;
            (pair ? FN(tile_pair) : FN(tile_single))(&p, first, end - first, j);
        }
    }
}

static void FN(transpose)(size_t rows, size_t columns, const void *x, size_t ldx, void *out,
                          size_t ldo)
{
    const REAL *from = x;
    REAL *to = out;
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++) {
            to[j * ldo + i] = from[i * ldx + j];
        }
    }
}

/* ---- losses ---- */

/* Largest logit of each of a vector group's columns, and its row (the first of equals). */
static inline void FN(column_top)(size_t n, size_t classes, const REAL *z, size_t ldz,
                                  REAL *restrict top, REAL *restrict at)
{
    for (size_t s = 0; s < n; s++) {
        top[s] = z[s];
        at[s] = 0;
    }
    for (size_t c = 1; c < classes; c++) {
        const REAL *row = z + c * ldz;
#pragma omp simd
        for (size_t s = 0; s < n; s++) {
            bool larger = row[s] > top[s];
            at[s] = larger ? (REAL)c : at[s];
            top[s] = larger ? row[s] : top[s];
        }
    }
}

/* One group of at most GM_BUFFER columns. As in loss_body.h, sums leave out the entry that is 1 or
 * that of the label, so that small losses keep their relative accuracy. */
static void FN(softmax_columns)(size_t n, size_t count, size_t classes, const REAL *z, size_t ldz,
                                const int32_t *y, double *loss, size_t *wrong, REAL *signal)
{
    REAL top[GM_BUFFER], at[GM_BUFFER], others[GM_BUFFER], not_y[GM_BUFFER], e[GM_BUFFER];
    FN(column_top)(n, classes, z, ldz, top, at);
    memset(others, 0, n * sizeof(REAL));
    memset(not_y, 0, n * sizeof(REAL));
    for (size_t c = 0; c < classes; c++) {
        const REAL *row = z + c * ldz;
        for (size_t s = 0; s < n; s++) {
            e[s] = exp(row[s] - top[s]);
        }
        for (size_t s = 0; s < n; s++) {
            others[s] += at[s] == (REAL)c ? 0 : e[s];
        }
        if (!signal) continue;
        for (size_t s = 0; s < n; s++) {
            not_y[s] += y[s] == (int32_t)c ? 0 : e[s];
            signal[c * ldz + s] = e[s];
        }
    }
    for (size_t s = 0; s < n; s++) {
        e[s] = log1p(others[s]);
    }
    double sum[8] = {0};
    for (size_t s = 0; s < count; s++) {
        REAL own = z[(size_t)y[s] * ldz + s];
        sum[s % 8] += (double)(e[s] + (top[s] - own));
        *wrong += at[s] != (REAL)y[s] || isnan(others[s]);
    }
    for (size_t s = 0; s < 8; s++) {
        *loss += sum[s];
    }
    if (!signal) return;
    for (size_t s = 0; s < n; s++) {
        others[s] = s < count ? 1 / (1 + others[s]) : 0;
    }
    for (size_t c = 0; c < classes; c++) {
        for (size_t s = 0; s < n; s++) {
            signal[c * ldz + s] *= others[s];
        }
    }
    for (size_t s = 0; s < count; s++) {
        signal[(size_t)y[s] * ldz + s] = 0 - not_y[s] * others[s];
    }
}

static void FN(tile_softmax)(size_t n, size_t count, size_t classes, const void *z,
                             const int32_t *y, double *loss, size_t *wrong, void *signal)
{
    const REAL *logit = z;
    REAL *r = signal;
    for (size_t s = 0; s < n; s += GM_BUFFER) {
        size_t width = n - s < GM_BUFFER ? n - s : GM_BUFFER;
        size_t real = count <= s ? 0 : count - s < width ? count - s : width;
        FN(softmax_columns)
        (width, real, classes, logit + s, n, y + s, loss, wrong, r ? r + s : NULL);
    }
}

static void FN(tile_squared)(size_t n, size_t count, size_t outputs, const void *z,
                             const int32_t *y, const double *target, double *loss, size_t *wrong,
                             void *signal)
{
    const REAL *logit = z;
    REAL *r = signal;
    double sum = 0;
    for (size_t c = 0; c < outputs; c++) {
        for (size_t s = 0; s < n; s++) {
            double difference = s < count ? (double)logit[c * n + s] - target[c * n + s] : 0;
            sum += difference * difference;
            if (r) r[c * n + s] = (REAL)difference;
        }
    }
    *loss += 0.5 * sum;
    for (size_t s = 0; s < n; s += GM_BUFFER) {
        REAL top[GM_BUFFER], at[GM_BUFFER];
        size_t width = n - s < GM_BUFFER ? n - s : GM_BUFFER;
        FN(column_top)(width, outputs, logit + s, n, top, at);
        for (size_t i = s; i < s + width && i < count; i++) {
            *wrong += at[i - s] != (REAL)y[i] || isnan(top[i - s]);
        }
    }
}
