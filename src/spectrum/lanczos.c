/* Lanczos with full reorthogonalization.
 *
 * The three-term recurrence removes what a step has of the two last vectors, which is nearly all.
 * What rounding then leaves of the others a sweep of classical Gram-Schmidt removes, w -= V V^T w,
 * on columns that stay in cache. It is accurate unless most of w was rounding: where the sweep
 * takes more than half of the length, a second one follows, and "twice is enough" (Daniel, Gragg,
 * Kaufman, Stewart 1976, doi:10.1090/S0025-5718-1976-0431641-8; Parlett 1998, section 6.9).
 *
 * Reading the basis is what a sweep costs, so one sweep serves two steps (Simon 1984,
 * doi:10.1090/S0025-5718-1984-0725988-X, reorthogonalizes pairs too): the vector of the first step
 * waits, is multiplied as the recurrence left it, and both are swept. What the sweep took off it is
 * accounted for in T exactly: with x = nu x' + V c, A V = V T + beta nu x' e^T gives
 *   x' . A x' = x . A x / |x|^2 + (x' . y - beta nu c_last) / nu
 * for y the product's rest, and the next residual is what y has outside V and x', over nu.
 *
 * What is taken off a product is also written down (image), so that every product is known in the
 * basis to rounding, its own noise included: residuals of Ritz pairs then take no further products.
 */
#include "spectrum/lanczos.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"
#include "spectrum/sketch.h"

enum { CHUNK = 2048 }; /* entries of a vector that stay in cache through all rows of the basis */
static const double most_lost = 0.5;
/* A vector may wait while rounding has tilted it by no more than this towards the basis. */
static const double most_tilted = 0.01;

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
    gm_free(l->image);
    memset(l, 0, sizeof *l);
}

gm_status gm_lanczos_make(size_t size, size_t steps, size_t known, const double *known_vector,
                          gm_lanczos *l, gm_error *err)
{
    *l = (gm_lanczos){.size = size, .steps = steps, .known = known, .known_vector = known_vector};
    size_t entries = 0, sums = 0, rows = 0;
    if (!gm_add_size(steps, 1, &rows) || !gm_mul_size(rows, size, &entries)) entries = SIZE_MAX;
    bool fits = gm_add_size(rows, known, &rows) && gm_mul_size(rows, 2, &rows);
    if (!fits || !gm_mul_size(rows + 3, GM_PARTS, &sums)) rows = sums = SIZE_MAX;
    l->basis = gm_alloc_raw(entries, sizeof *l->basis, "Krylov basis", err);
    if (!l->basis) return GM_ERR_MEMORY;
    l->alpha = gm_alloc(steps, 2 * sizeof *l->alpha, "tridiagonal matrix", err);
    l->product = gm_alloc(rows, sizeof *l->product, "projections", err);
    l->part = gm_alloc(sums, sizeof *l->part, "parts of projections", err);
    if (!l->alpha || !l->product || !l->part) return GM_ERR_MEMORY;
    l->beta = l->alpha + steps;
    return GM_OK;
}

gm_status gm_lanczos_keep_image(gm_lanczos *l, gm_error *err)
{
    size_t entries;
    if (!gm_mul_size(l->steps, l->steps + 1, &entries)) entries = SIZE_MAX;
    l->image = gm_alloc(entries, sizeof *l->image, "products in the basis", err);
    return l->image ? GM_OK : GM_ERR_MEMORY;
}

/* ---- orthogonalization --------------------------------------------------------------------- */

enum { MOST = 2, GRAM = 3, ROWS = 8 }; /* vectors in a sweep; their products; rows at a time */

/* Columns first ... first + count - 1 of one sweep, in chunks: product [vectors, known + rows] +=
 * those of the known vectors and of the basis with w [vectors, size]. */
static void project_piece(const gm_lanczos *l, size_t rows, size_t vectors, const double *w,
                          size_t first, size_t count, double *product)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    size_t p = l->size, sums = l->known + rows;
    memset(product, 0, vectors * sums * sizeof *product);
    for (size_t i = first, n; i < first + count; i += n) {
        n = first + count - i < CHUNK ? first + count - i : CHUNK;
        for (size_t c = 0; l->known && c < vectors; c++) {
            k->rows_dot(l->known, n, l->known_vector + i, p, w + c * p + i, product + c * sums);
        }
        for (size_t j = 0; j < rows; j += ROWS) { /* few rows: the second vector finds them near */
            size_t block = rows - j < ROWS ? rows - j : ROWS;
            for (size_t c = 0; c < vectors; c++) {
                k->rows_dot(block, n, l->basis + j * p + i, p, w + c * p + i,
                            product + c * sums + l->known + j);
            }
        }
    }
}

/* The same columns: w -= the known vectors and the basis times product; gram: w_0 . w_0, and with
 * two vectors w_0 . w_1, w_1 . w_1 of what is left. */
static void subtract_piece(const gm_lanczos *l, size_t rows, size_t vectors, double *w,
                           size_t first, size_t count, double *gram)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    size_t p = l->size, sums = l->known + rows;
    memset(gram, 0, GRAM * sizeof *gram);
    for (size_t i = first, n; i < first + count; i += n) {
        n = first + count - i < CHUNK ? first + count - i : CHUNK;
        for (size_t c = 0; l->known && c < vectors; c++) {
            k->rows_axpy(l->known, n, -1, l->product + c * sums, l->known_vector + i, p,
                         w + c * p + i);
        }
        for (size_t j = 0; j < rows; j += ROWS) {
            size_t block = rows - j < ROWS ? rows - j : ROWS;
            for (size_t c = 0; c < vectors; c++) {
                k->rows_axpy(block, n, -1, l->product + c * sums + l->known + j,
                             l->basis + j * p + i, p, w + c * p + i);
            }
        }
        gram[0] += k->dot(n, w + i, w + i);
        if (vectors < MOST) continue;
        gram[1] += k->dot(n, w + i, w + p + i);
        gram[2] += k->dot(n, w + p + i, w + p + i);
    }
}

/* sum [count] of the pieces' parts [pieces, count], in order. */
static void join(size_t pieces, size_t count, const double *part, double *sum)
{
    memset(sum, 0, count * sizeof *sum);
    for (size_t i = 0; i < pieces; i++) {
        for (size_t j = 0; j < count; j++) {
            sum[j] += part[i * count + j];
        }
    }
}

/* w [vectors, size], one or two, without their parts in the known vectors and in `rows` rows of the
 * basis; product: those parts, gram [3] as above. */
static void sweep(gm_lanczos *l, size_t rows, size_t vectors, double *w, double *gram)
{
    size_t length = piece_length(l->size), pieces = (l->size + length - 1) / length;
    size_t sums = vectors * (l->known + rows);
    bool threads = gm_threaded(l->size);
#pragma omp parallel for schedule(static) if (threads)
    for (size_t i = 0; i < pieces; i++) {
        size_t first = i * length, rest = l->size - first;
        project_piece(l, rows, vectors, w, first, rest < length ? rest : length,
                      l->part + i * sums);
    }
    join(pieces, sums, l->part, l->product);
#pragma omp parallel for schedule(static) if (threads)
    for (size_t i = 0; i < pieces; i++) {
        size_t first = i * length, rest = l->size - first;
        subtract_piece(l, rows, vectors, w, first, rest < length ? rest : length,
                       l->part + i * GRAM);
    }
    join(pieces, GRAM, l->part, gram);
    l->sweeps += rows > 0;
}

/* y = (y - t x) / length and x = x / length; returns the length of y then. */
static double separate(gm_lanczos *l, double t, double length, double *x, double *y)
{
    size_t columns = piece_length(l->size), pieces = (l->size + columns - 1) / columns;
    bool threads = gm_threaded(l->size);
#pragma omp parallel for schedule(static) if (threads)
    for (size_t i = 0; i < pieces; i++) {
        size_t first = i * columns, rest = l->size - first;
        size_t end = first + (rest < columns ? rest : columns);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t c = first; c < end; c++) {
            y[c] = (y[c] - t * x[c]) / length;
            x[c] /= length;
            sum += y[c] * y[c];
        }
        l->part[i] = sum;
    }
    double square = 0;
    join(pieces, 1, l->part, &square);
    return sqrt(square);
}

static void divide(size_t size, double *x, double length)
{
    bool threads = gm_threaded(size);
#pragma omp parallel for simd schedule(static) if (threads)
    for (size_t i = 0; i < size; i++) {
        x[i] /= length;
    }
}

/* ---- products in the basis ----------------------------------------------------------------- */

static double *image_of(const gm_lanczos *l, size_t j)
{
    return l->image + j * (l->steps + 1);
}

/* Step j's product has lost its parts in the two last vectors. */
static void note_recurrence(gm_lanczos *l, size_t j)
{
    if (!l->image) return;
    double *image = image_of(l, j);
    memset(image, 0, (l->steps + 1) * sizeof *image);
    if (j > 0) image[j - 1] = l->beta[j - 1];
    image[j] = l->alpha[j];
}

/* A sweep has taken `part` [rows] off it. */
static void note_sweep(gm_lanczos *l, size_t j, size_t rows, const double *part)
{
    if (!l->image) return;
    for (size_t i = 0; i < rows; i++) {
        image_of(l, j)[i] += part[i];
    }
}

/* A sweep of two, x = nu x' + c V and y = d V + along x' + nu y': columns j - 1, whose last vector
 * was x, and j, A x' = (A x - c A V) / nu. */
static void note_sweep_of_two(gm_lanczos *l, size_t j, double nu, double along)
{
    if (!l->image) return;
    const double *c = l->product + l->known, *d = c + l->known + j;
    double *before = image_of(l, j - 1), *image = image_of(l, j), reach = before[j];
    double of_x = image[j];
    for (size_t i = 0; i < j; i++) {
        before[i] += reach * c[i];
        image[i] += of_x * c[i] + d[i];
    }
    before[j] = reach * nu;
    image[j] = of_x * nu + along;
    for (size_t i = 0; i < j; i++) {
        const double *column = image_of(l, i);
        for (size_t r = 0; r <= i + 1; r++) {
            image[r] -= c[i] * column[r];
        }
    }
    for (size_t r = 0; r <= j; r++) {
        image[r] /= nu;
    }
}

/* Entry r of s' image, for vectors of unit length. */
static double image_entry(const gm_lanczos *l, const double *s, size_t r)
{
    double entry = 0;
    for (size_t j = r ? r - 1 : 0; j < l->taken; j++) {
        entry += s[j] * image_of(l, j)[r];
    }
    return entry;
}

void gm_lanczos_image(const gm_lanczos *l, const double *s, double *entry)
{
    size_t m = l->taken;
    for (size_t r = 0; r <= m; r++) {
        entry[r] = image_entry(l, s, r);
    }
    entry[m] = l->beta[m - 1] > 0 ? entry[m] / l->beta[m - 1] : 0;
}

double gm_lanczos_residual(const gm_lanczos *l, double value, const double *s)
{
    size_t m = l->taken;
    double square = 0;
    for (size_t r = 0; r <= m; r++) {
        double entry = image_entry(l, s, r) - (r < m ? value * s[r] : 0);
        square += entry * entry;
    }
    return sqrt(square);
}

/* ---- steps --------------------------------------------------------------------------------- */

/* The recurrence of step j on its product w: alpha[j], and w without its parts in the two last
 * vectors, of this length. */
static double recur(gm_lanczos *l, size_t j, double *w)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    const double *v = l->basis + j * l->size;
    size_t columns = piece_length(l->size), pieces = (l->size + columns - 1) / columns;
    size_t p = l->size, rows = j ? 2 : 1;
    l->alpha[j] = k->dot(p, v, w);
    const double local[2] = {j ? l->beta[j - 1] : 0, l->alpha[j]}; /* of rows j - 1 and j */
    bool threads = gm_threaded(p);
#pragma omp parallel for schedule(static) if (threads)
    for (size_t i = 0; i < pieces; i++) {
        size_t first = i * columns, end = p - first < columns ? p : first + columns;
        l->part[i] = 0;
        for (size_t c = first, n; c < end; c += n) {
            n = end - c < CHUNK ? end - c : CHUNK;
            k->rows_axpy(rows, n, -1, local + 2 - rows, v - (rows - 1) * p + c, p, w + c);
            l->part[i] += k->dot(n, w + c, w + c);
        }
    }
    double square = 0;
    join(pieces, 1, l->part, &square);
    note_recurrence(l, j);
    return sqrt(square);
}

/* Sweeps w, of this length, against rows 0 ... j: beta[j], and a correction of alpha[j]. */
static void sweep_one(gm_lanczos *l, size_t j, double length, double *w)
{
    double before = length, gram[GRAM];
    for (int pass = 0; pass < 2; pass++) {
        sweep(l, j + 1, 1, w, gram);
        l->alpha[j] += l->product[l->known + j];
        note_sweep(l, j, j + 1, l->product + l->known);
        l->beta[j] = sqrt(gram[0]);
        if (l->beta[j] >= most_lost * before) break;
        before = l->beta[j];
    }
}

/* The same for row j, which waits, and the product w after it (see the top). */
static void sweep_two(gm_lanczos *l, size_t j, double length, double *w)
{
    double gram[GRAM], *x = w - l->size;
    sweep(l, j, 2, x, gram);
    double nu = sqrt(gram[0]), along = l->beta[j - 1] * l->product[l->known + j - 1];
    l->beta[j - 1] *= nu;
    l->alpha[j - 1] += along;
    l->alpha[j] += (gram[1] / nu - nu * along) / nu;
    note_sweep_of_two(l, j, nu, gram[1] / nu);
    l->beta[j] = separate(l, gram[1] / gram[0], nu, x, w);
    if (l->beta[j] < most_lost * length) sweep_one(l, j, l->beta[j], w);
}

/* Whether w, of this length after step j, may wait for the next one: not where rounding may have
 * tilted it too much, nor the known vectors, which are eigenvectors only roughly. */
static bool may_wait(gm_lanczos *l, double noise, double *length, double *w)
{
    if (l->known) {
        double gram[GRAM], before = *length;
        sweep(l, 0, 1, w, gram);
        *length = sqrt(gram[0]);
        if (*length < most_lost * before) return false;
    }
    return *length * most_tilted > noise * l->norm;
}

/* beta[j] of a vector that may wait; it does not where T, nearly complete, says that the run will
 * end here. */
static gm_status wait_or_end(gm_lanczos *l, size_t j, double length, bool *waiting, gm_error *err)
{
    bool enough = false;
    l->beta[j] = length;
    gm_status status = l->stop ? l->stop(l, l->context, &enough, err) : GM_OK;
    *waiting = !enough;
    return status;
}

/* What step j's product has in the next vector. */
static void reach(gm_lanczos *l, size_t j)
{
    if (l->image) image_of(l, j)[j + 1] = l->beta[j];
}

gm_status gm_lanczos_run(gm_operator *op, gm_lanczos *l, gm_error *err)
{
    size_t size = l->size;
    double noise = gm_product_noise(op) * sqrt((double)l->steps), gram[GRAM];
    for (int pass = 0; pass < 2; pass++) {
        sweep(l, 0, 1, l->basis, gram);
    }
    divide(size, l->basis, sqrt(gram[0]));
    bool waiting = false;
    for (l->taken = 0; l->taken < l->steps;) {
        size_t j = l->taken;
        double *v = l->basis + j * size, *w = v + size;
        gm_status status = gm_operator_apply(op, 1, v, w, err);
        if (status != GM_OK) return status;
        double length = recur(l, j, w);
        l->norm = fmax(l->norm, hypot(hypot(j ? l->beta[j - 1] : 0, l->alpha[j]), length));
        l->taken = j + 1;
        bool last = l->taken == l->steps, enough = false;
        if (waiting) {
            sweep_two(l, j, length, w);
            waiting = false;
        } else {
            waiting = !last && may_wait(l, noise, &length, w);
            if (waiting) {
                status = wait_or_end(l, j, length, &waiting, err);
                if (status != GM_OK) return status;
            }
            if (!waiting) sweep_one(l, j, length, w);
        }
        reach(l, j);
        if (l->beta[j] <= noise * l->norm) { /* an invariant space */
            l->beta[j] = 0;
            break;
        }
        if (l->stop && !waiting) status = l->stop(l, l->context, &enough, err);
        if (status != GM_OK || enough) return status;
        if (!last) divide(size, w, l->beta[j]);
    }
    return GM_OK;
}
