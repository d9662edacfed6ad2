/* Lanczos with full reorthogonalization.
 *
 * The three-term recurrence removes what a step has of the two last vectors, which is nearly all.
 * What rounding then leaves of the others a sweep of classical Gram-Schmidt removes, w -= V V^T w,
 * on columns that stay in cache. It is accurate unless most of w was rounding: where the sweep
 * takes more than half of the length, a second one follows, and "twice is enough" (Daniel, Gragg,
 * Kaufman, Stewart 1976, doi:10.1090/S0025-5718-1976-0431641-8; Parlett 1998, section 6.9). */
#include "spectrum/lanczos.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"
#include "spectrum/sketch.h"

enum { CHUNK = 2048 }; /* entries of a vector that stay in cache through all rows of the basis */
static const double most_lost = 0.5;

/* Columns in a piece: sums of pieces are joined in order, whatever the threads. */
static size_t piece_length(size_t size)
{
    size_t chunks = (size + CHUNK - 1) / CHUNK;
    return (chunks + GM_PARTS - 1) / GM_PARTS * CHUNK;
}

void gm_lanczos_free(gm_lanczos *l)
{
    gm_free(l->basis);
    gm_free(l->alpha);
    gm_free(l->product);
    gm_free(l->part);
    memset(l, 0, sizeof *l);
}

gm_status gm_lanczos_make(size_t size, size_t steps, size_t known, const double *known_vector,
                          gm_lanczos *l, gm_error *err)
{
    *l = (gm_lanczos){.size = size, .steps = steps, .known = known, .known_vector = known_vector};
    size_t entries = 0, sums = 0, rows = 0;
    if (!gm_add_size(steps, 1, &rows) || !gm_mul_size(rows, size, &entries)) entries = SIZE_MAX;
    if (!gm_add_size(rows, known, &rows) || !gm_mul_size(rows, GM_PARTS, &sums)) sums = SIZE_MAX;
    l->basis = gm_alloc(entries, sizeof *l->basis, "Krylov basis", err);
    if (!l->basis) return GM_ERR_MEMORY;
    l->alpha = gm_alloc(steps, 2 * sizeof *l->alpha, "tridiagonal matrix", err);
    l->product = gm_alloc(rows, sizeof *l->product, "projections", err);
    l->part = gm_alloc(sums, sizeof *l->part, "parts of projections", err);
    if (!l->alpha || !l->product || !l->part) return GM_ERR_MEMORY;
    l->beta = l->alpha + steps;
    return GM_OK;
}

/* ---- orthogonalization --------------------------------------------------------------------- */

/* Columns first ... first + count - 1 of: w -= local[0] row j - 1 + local[1] row j (local NULL: not
 * wanted); part = products of the known vectors, of `rows` rows of the basis and of w with w. */
static void project_piece(const gm_lanczos *l, size_t rows, const double *local, size_t first,
                          size_t count, double *w, double *part)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    size_t p = l->size, sums = l->known + rows;
    memset(part, 0, (sums + 1) * sizeof *part);
    for (size_t i = first, n; i < first + count; i += n) {
        n = first + count - i < CHUNK ? first + count - i : CHUNK;
        if (local) {
            size_t last = rows < 2 ? rows : 2;
            k->rows_axpy(last, n, -1, local + 2 - last, l->basis + (rows - last) * p + i, p, w + i);
        }
        if (l->known) k->rows_dot(l->known, n, l->known_vector + i, p, w + i, part);
        k->rows_dot(rows, n, l->basis + i, p, w + i, part + l->known);
        part[sums] += k->dot(n, w + i, w + i);
    }
}

/* The same columns: w -= the known vectors and rows times product; *square = their part of w . w.
 */
static void subtract_piece(const gm_lanczos *l, size_t rows, size_t first, size_t count, double *w,
                           double *square)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    size_t p = l->size;
    *square = 0;
    for (size_t i = first, n; i < first + count; i += n) {
        n = first + count - i < CHUNK ? first + count - i : CHUNK;
        if (l->known) k->rows_axpy(l->known, n, -1, l->product, l->known_vector + i, p, w + i);
        k->rows_axpy(rows, n, -1, l->product + l->known, l->basis + i, p, w + i);
        *square += k->dot(n, w + i, w + i);
    }
}

/* One sweep, after the subtraction of `local` if any. product: what was removed; before and after:
 * lengths of w around it. */
static void sweep(gm_lanczos *l, size_t rows, const double *local, double *w, double *before,
                  double *after)
{
    size_t length = piece_length(l->size), pieces = (l->size + length - 1) / length;
    size_t sums = l->known + rows;
    bool threads = gm_threaded(l->size);
#pragma omp parallel for schedule(static) if (threads)
    for (size_t i = 0; i < pieces; i++) {
        size_t first = i * length, rest = l->size - first;
        project_piece(l, rows, local, first, rest < length ? rest : length, w,
                      l->part + i * (sums + 1));
    }
    memset(l->product, 0, (sums + 1) * sizeof *l->product);
    for (size_t i = 0; i < pieces; i++) {
        for (size_t j = 0; j <= sums; j++) {
            l->product[j] += l->part[i * (sums + 1) + j];
        }
    }
#pragma omp parallel for schedule(static) if (threads)
    for (size_t i = 0; i < pieces; i++) {
        size_t first = i * length, rest = l->size - first;
        subtract_piece(l, rows, first, rest < length ? rest : length, w, l->part + i);
    }
    double square = 0;
    for (size_t i = 0; i < pieces; i++) {
        square += l->part[i];
    }
    *before = sqrt(l->product[sums]);
    *after = sqrt(square);
    l->sweeps++;
}

/* w without its part in the known vectors and in the first `rows` rows of the basis, which
 * along[0 ... rows - 1] (or NULL) grows by; returns its length. */
static double orthogonalize(gm_lanczos *l, size_t rows, const double *local, double *w,
                            double *along)
{
    double before = 0, after = 0;
    for (int pass = 0; pass < 2; pass++) {
        sweep(l, rows, pass ? NULL : local, w, &before, &after);
        if (along) *along += l->product[l->known + rows - 1];
        if (after >= most_lost * before) break;
    }
    return after;
}

static void divide(size_t size, double *x, double length)
{
    bool threads = gm_threaded(size);
#pragma omp parallel for simd schedule(static) if (threads)
    for (size_t i = 0; i < size; i++) {
        x[i] /= length;
    }
}

/* ---- the run ------------------------------------------------------------------------------- */

gm_status gm_lanczos_run(gm_operator *op, gm_lanczos *l, gm_error *err)
{
    size_t size = l->size;
    double noise = gm_product_noise(op) * sqrt((double)l->steps), local[2] = {0};
    divide(size, l->basis, orthogonalize(l, 0, NULL, l->basis, NULL));
    for (l->taken = 0; l->taken < l->steps;) {
        size_t j = l->taken;
        double *v = l->basis + j * size, *w = v + size;
        gm_status status = gm_operator_apply(op, 1, v, w, err);
        if (status != GM_OK) return status;
        local[0] = j ? l->beta[j - 1] : 0;
        local[1] = l->alpha[j] = gm_kernels_get(GM_F64)->dot(size, v, w);
        l->beta[j] = orthogonalize(l, j + 1, local, w, l->alpha + j);
        l->norm = fmax(l->norm, hypot(hypot(local[0], l->alpha[j]), l->beta[j]));
        l->taken = j + 1;
        if (l->beta[j] <= noise * l->norm) { /* an invariant space */
            l->beta[j] = 0;
            break;
        }
        if (l->taken < l->steps) divide(size, w, l->beta[j]);
    }
    return GM_OK;
}
