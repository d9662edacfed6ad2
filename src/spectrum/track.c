/* Extreme eigenpairs by a block method that takes any subspace to start from.
 *
 *   Q [rows, p], W = Q A [rows, p]   orthonormal basis and its true products
 *   T = Q W^T = Y diag(theta) Y^T    Rayleigh-Ritz: pairs theta_j, y_j Q
 *   r_j = y_j W - theta_j y_j Q      residual, a true one since W is
 *
 *   1. Q = start and some random guards, W = its products
 *   2. Rayleigh-Ritz; residuals of the wanted pairs; stop where all have converged
 *   3. basis full: Q, W = the best Ritz vectors and their products (thick restart, no products)
 *   4. expand Q by the residuals that have not converged, orthogonalized twice; go to 2
 *
 * On a Krylov space all residuals lie in one block and this is thick-restart block Lanczos (Wu and
 * Simon 2000, doi:10.1137/S0895479898334605); started elsewhere it is Davidson's method without a
 * preconditioner. Keeping W costs memory and makes residuals and restarts exact whatever the start.
 * A block holds several vectors of the eigenspace of a repeated value, hence finds its copies. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"
#include "spectrum/eigen.h"
#include "spectrum/track.h"

enum {
    GUARDS = 3,         /* random vectors beside the start, which notice new pairs */
    LEAST_SPARE = 20,   /* rows of the basis beyond the block */
    KRYLOV_SPARE = 30,  /* the same where one vector builds it */
    MOST_ROUNDS = 1000, /* expansions before giving up */
    PATIENCE = 20,      /* rounds without a bit of progress before the products are suspected */
    LONG_PATIENCE = 100 /* the same before giving up */
};
static const double EMERGING = 0.3;  /* residual of a guard that is becoming a pair, relative */
static const double TOO_NOISY = 0.3; /* noise of a product over the tolerance */

static void tracker_free(gm_tracker *s)
{
    gm_lanczos_free(&s->lanczos);
    gm_free(s->w);
    gm_free(s->r);
    gm_free(s->t);
    gm_free(s->y);
    gm_free(s->work);
    gm_free(s->theta);
    gm_free(s->residual);
    gm_free(s->order);
}

static gm_status tracker_make(gm_tracker *s, gm_error *err)
{
    size_t entries, square, block = s->limit + s->guards;
    if (!gm_mul_size(s->most, s->p, &entries) || !gm_mul_size(s->most, s->most, &square)) {
        return gm_fail(err, GM_ERR_MEMORY, "a basis of %zu vectors of %zu numbers does not fit",
                       s->most, s->p);
    }
    gm_status status = gm_lanczos_make(s->p, s->most - 1, 0, NULL, &s->lanczos, err);
    if (status == GM_OK) status = gm_lanczos_keep_image(&s->lanczos, err);
    if (status != GM_OK) return status;
    s->q = s->lanczos.basis;
    s->w = gm_alloc_raw(entries, sizeof *s->w, "products of the basis", err);
    s->r = gm_alloc_raw(block * s->p, sizeof *s->r, "residuals", err);
    s->t = gm_alloc(square, sizeof *s->t, "projected operator", err);
    s->y = gm_alloc(square, sizeof *s->y, "Ritz vectors", err);
    s->work = gm_alloc(square, sizeof *s->work, "projected operator", err);
    s->theta = gm_alloc(s->most, sizeof *s->theta, "Ritz values", err);
    s->residual = gm_alloc(block, sizeof *s->residual, "residuals", err);
    s->order = gm_alloc(s->most, sizeof *s->order, "order of the Ritz values", err);
    if (!s->w || !s->r || !s->t || !s->y || !s->work || !s->theta || !s->residual || !s->order)
        return GM_ERR_MEMORY;
    return GM_OK;
}

double gm_track_norm(size_t n, const double *x)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    return sqrt(sum);
}

/* Makes x the next row of q, orthogonal to the others; false where nothing new is left of it. Each
 * pass loses the digits that cancel in it: another one follows until hardly any do. */
bool gm_track_append(gm_tracker *s, const double *x)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    if (s->rows == s->most) return false;
    double *row = s->q + s->rows * s->p, length = gm_track_norm(s->p, x);
    if (!(length > 0.0)) return false;
    for (size_t i = 0; i < s->p; i++) {
        row[i] = x[i] / length;
    }
    for (int pass = 0; pass < 4; pass++) {
        kernels->gemm(false, true, 1, s->rows, s->p, 1.0, row, s->p, s->q, s->p, 0.0, s->work,
                      s->most);
        kernels->gemm(false, false, 1, s->p, s->rows, -1.0, s->work, s->most, s->q, s->p, 1.0, row,
                      s->p);
        length = gm_track_norm(s->p, row);
        if (length < 1e-10) return false;
        for (size_t i = 0; i < s->p; i++) {
            row[i] /= length;
        }
        if (pass > 0 && length > 0.99) {
            s->rows++;
            return true;
        }
    }
    return false;
}

static void append_random(gm_tracker *s, size_t count)
{
    gm_stream stream = gm_stream_of(s->options->seed, GM_PURPOSE_KRYLOV, 2);
    for (size_t j = 0; j < count; j++) {
        gm_normal_fill(stream, s->drawn, s->p, s->r);
        s->drawn += s->p;
        gm_track_append(s, s->r);
    }
}

/* Products of the rows of q that have none, and their part of t. Where max_products does not allow
 * all of them, the rows beyond are dropped. */
static gm_status apply(gm_tracker *s, gm_error *err)
{
    size_t limit = s->options->max_products, first = s->applied, p = s->p;
    size_t left = limit == 0 ? s->rows : limit > s->products ? limit - s->products : 0;
    if (s->rows - first > left) {
        s->rows = first + left;
        s->limited = true;
    }
    size_t count = s->rows - first;
    if (count == 0) return GM_OK;
    gm_status status = gm_operator_apply(s->op, count, s->q + first * p, s->w + first * p, err);
    if (status != GM_OK) return status;
    s->products += count;
    s->blocks++;
    if (first == 0 && count > 1) {
        status = gm_eigen_symmetric(s->op, s->q, s->w, s->q + (count - 1) * p,
                                    s->w + (count - 1) * p, err);
        if (status != GM_OK) return status;
    }
    /* gm_symmetric_eigen reads the lower triangle: the new rows suffice. */
    gm_kernels_get(GM_F64)->gemm(false, true, count, s->rows, p, 1.0, s->w + first * p, p, s->q, p,
                                 0.0, s->t + first * s->most, s->most);
    s->applied = s->rows;
    return GM_OK;
}

gm_status gm_track_rayleigh_ritz(gm_tracker *s, gm_error *err)
{
    size_t m = s->rows;
    for (size_t i = 0; i < m; i++) {
        memcpy(s->work + i * m, s->t + i * s->most, m * sizeof *s->t);
    }
    gm_status status = gm_symmetric_eigen(m, s->work, m, 0, s->theta, s->y, err);
    if (status != GM_OK) return status;
    gm_eigen_order(s->options->which, m, s->theta, s->order);
    s->scale = fmax(s->scale, fmax(fabs(s->theta[0]), fabs(s->theta[m - 1])));
    return GM_OK;
}

/* How far a value stands out in the direction that is asked for. */
static double height(gm_which which, double value)
{
    return which == GM_WHICH_LA ? value : which == GM_WHICH_SA ? -value : fabs(value);
}

/* k pairs, and those after them above the threshold. */
void gm_track_choose(gm_tracker *s)
{
    const gm_eigen_options *options = s->options;
    s->wanted = options->k < s->rows ? options->k : s->rows;
    while (s->wanted < s->limit && s->wanted < s->rows &&
           height(options->which, s->theta[s->order[s->wanted]]) > options->threshold) {
        s->wanted++;
    }
    s->candidates = s->wanted + s->guards;
    if (s->candidates > s->rows) s->candidates = s->rows;
}

/* r and residual of the candidates, in the order of preference. */
static void find_residuals(gm_tracker *s)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    size_t m = s->rows, p = s->p;
    for (size_t j = 0; j < s->candidates; j++) {
        memcpy(s->work + j * m, s->y + s->order[j] * m, m * sizeof *s->y);
    }
    kernels->gemm(false, false, s->candidates, p, m, 1.0, s->work, m, s->w, p, 0.0, s->r, p);
    for (size_t j = 0; j < s->candidates; j++) {
        for (size_t i = 0; i < m; i++) {
            s->work[j * m + i] *= s->theta[s->order[j]];
        }
    }
    kernels->gemm(false, false, s->candidates, p, m, -1.0, s->work, m, s->q, p, 1.0, s->r, p);
    for (size_t j = 0; j < s->candidates; j++) {
        s->residual[j] = gm_track_norm(p, s->r + j * p);
    }
}

/* Whether the candidate has to converge: the wanted ones, and an emerging pair beside them whose
 * eigenvalue could yet turn out to be among them (it lies within the residual of the Ritz value). A
 * guard that is still a mixture of the bulk does not count as a pair. */
static bool matters(const gm_tracker *s, size_t j)
{
    if (j < s->wanted) return true;
    gm_which which = s->options->which;
    double here = height(which, s->theta[s->order[j]]);
    double last = height(which, s->theta[s->order[s->wanted - 1]]);
    return s->residual[j] < EMERGING * fabs(here) && here + s->residual[j] > last;
}

static bool is_open(const gm_tracker *s, size_t j)
{
    return !(s->residual[j] <= s->options->tol * s->scale);
}

/* Candidates that are to be expanded; on the first look the guards too, since random vectors alone
 * hardly show a new pair. */
size_t gm_track_open(const gm_tracker *s, bool look)
{
    size_t open = 0;
    for (size_t j = 0; j < s->candidates; j++) {
        open += (look || matters(s, j)) && is_open(s, j);
    }
    return open;
}

/* rows [m, p] become coefficient [keep, m] times rows, panel by panel to spare memory. panel [m,
 * width] is scratch. */
static void combine(size_t keep, size_t m, size_t p, const double *coefficient, double *rows,
                    double *panel, size_t width)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    for (size_t first = 0; first < p; first += width) {
        size_t columns = p - first < width ? p - first : width;
        for (size_t i = 0; i < m; i++) {
            memcpy(panel + i * columns, rows + i * p + first, columns * sizeof *rows);
        }
        kernels->gemm(false, false, keep, columns, m, 1.0, coefficient, m, panel, columns, 0.0,
                      rows + first, p);
    }
}

/* Keeps the best `keep` Ritz vectors as the basis. */
static gm_status restart(gm_tracker *s, size_t keep, gm_error *err)
{
    enum { WIDTH = 2048 };
    size_t m = s->rows;
    double *panel = gm_alloc(m * WIDTH, sizeof *panel, "panel of the basis", err);
    if (!panel) return GM_ERR_MEMORY;
    for (size_t j = 0; j < keep; j++) {
        memcpy(s->work + j * m, s->y + s->order[j] * m, m * sizeof *s->y);
    }
    combine(keep, m, s->p, s->work, s->q, panel, WIDTH);
    combine(keep, m, s->p, s->work, s->w, panel, WIDTH);
    gm_free(panel);
    memset(s->t, 0, s->most * s->most * sizeof *s->t);
    for (size_t j = 0; j < keep; j++) {
        s->t[j * s->most + j] = s->theta[s->order[j]];
    }
    s->rows = s->applied = keep;
    return GM_OK;
}

/* Appends the residuals that are open; false where none of them holds a new direction. */
static gm_status expand(gm_tracker *s, bool look, bool *grown, gm_error *err)
{
    size_t open = gm_track_open(s, look);
    if (s->rows + open > s->most && s->most < s->p) {
        size_t keep = s->candidates + (s->most - s->candidates) / 3;
        if (keep > s->most - open) keep = s->most - open;
        gm_status status = restart(s, keep < s->rows ? keep : s->rows, err);
        if (status != GM_OK) return status;
    }
    size_t before = s->rows;
    for (size_t j = 0; j < s->candidates; j++) {
        if ((look || matters(s, j)) && is_open(s, j)) gm_track_append(s, s->r + j * s->p);
    }
    *grown = s->rows > before;
    return GM_OK;
}

/* ---- where it hardly gets on --------------------------------------------------------------- */

/* noise = ||A x - S W|| for x = S Q, a combination of the wanted Ritz vectors with random signs.
 * One product; r is overwritten. */
static gm_status measure_noise(gm_tracker *s, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    size_t m = s->rows, p = s->p, limit = s->options->max_products;
    double *x = s->r, *ax = s->r + p, *sum = s->work;
    if (limit > 0 && s->products >= limit) return GM_OK;
    gm_stream signs = gm_stream_of(s->options->seed, GM_PURPOSE_KRYLOV, 4);
    memset(sum, 0, m * sizeof *sum);
    for (size_t j = 0; j < s->wanted; j++) {
        kernels->axpy(m, gm_rademacher(signs, j) / sqrt((double)s->wanted), s->y + s->order[j] * m,
                      sum);
    }
    memset(x, 0, p * sizeof *x);
    kernels->rows_axpy(m, p, 1, sum, s->q, p, x);
    gm_status status = gm_operator_apply(s->op, 1, x, ax, err);
    if (status != GM_OK) return status;
    s->products++;
    s->checks++;
    s->blocks++;
    kernels->rows_axpy(m, p, -1, sum, s->w, p, ax);
    s->noise = gm_track_norm(p, ax);
    return GM_OK;
}

typedef struct progress {
    size_t wanted, round; /* pairs that had to converge, and the round that last brought them on */
    double bits;          /* sum of log2 of their residuals then, down to the tolerance */
} progress;

/* *stalled where the pairs have come no nearer in a long while, or in a while because of noise. */
static gm_status find_stall(gm_tracker *s, size_t round, progress *best, bool *stalled,
                            gm_error *err)
{
    double bits = 0, floor = s->options->tol * s->scale;
    for (size_t j = 0; j < s->wanted; j++) {
        bits += log2(fmax(s->residual[j], floor));
    }
    if (round == 0 || best->wanted != s->wanted || bits <= best->bits - 1) {
        *best = (progress){.wanted = s->wanted, .round = round, .bits = bits};
        return GM_OK;
    }
    size_t waited = round - best->round;
    *stalled = waited >= LONG_PATIENCE;
    if (waited % PATIENCE != 0) return GM_OK;
    gm_status status = measure_noise(s, err);
    *stalled = *stalled || s->noise > TOO_NOISY * floor;
    if (status == GM_OK) find_residuals(s); /* their room was taken */
    return status;
}

/* look: the guards are new. */
static gm_status iterate(gm_tracker *s, bool look, gm_error *err)
{
    progress best = {0};
    bool stalled = false;
    for (size_t round = 0; round < MOST_ROUNDS; round++, look = false) {
        gm_status status = apply(s, err);
        if (status != GM_OK || s->rows == 0) return status;
        status = gm_track_rayleigh_ritz(s, err);
        if (status != GM_OK) return status;
        gm_track_choose(s);
        find_residuals(s);
        if (s->limited || (!look && s->wanted >= s->options->k && gm_track_open(s, false) == 0))
            return GM_OK;
        status = find_stall(s, round, &best, &stalled, err);
        if (status != GM_OK || stalled) return status;
        bool grown;
        status = expand(s, look, &grown, err);
        if (status != GM_OK || !grown) return status;
    }
    return GM_OK;
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* The wanted pairs, descending by value. */
static gm_status collect(gm_tracker *s, gm_eigen *result, gm_error *err)
{
    size_t m = s->rows, p = s->p, count = m == 0 ? 0 : s->wanted;
    gm_status status = gm_eigen_alloc(s->op, count, result, err);
    if (status != GM_OK) return status;
    result->products = s->products;
    result->blocks = s->blocks;
    result->scale = s->scale;
    result->noise = s->noise;
    result->check_products = s->checks;
    if (count > 0) {
        size_t *place = gm_alloc(m, sizeof *place, "order of the pairs", err);
        if (!place) return GM_ERR_MEMORY;
        for (size_t j = 0; j < count; j++) {
            place[s->order[j]] = j; /* of its residual */
        }
        qsort(s->order, count, sizeof *s->order, compare_sizes);
        for (size_t j = 0; j < count; j++) {
            result->value[j] = s->theta[s->order[j]];
            result->residual[j] = s->residual[place[s->order[j]]];
            memcpy(s->work + j * m, s->y + s->order[j] * m, m * sizeof *s->y);
        }
        gm_free(place);
        gm_kernels_get(GM_F64)->gemm(false, false, count, p, m, 1.0, s->work, m, s->q, p, 0.0,
                                     result->vector, p);
    }
    gm_eigen_judge(result, s->options->k > count ? s->options->k : count, s->options->tol, false);
    if (s->limited && result->stop != GM_EIGEN_CONVERGED) result->stop = GM_EIGEN_PRODUCTS;
    return GM_OK;
}

/* Sizes of the basis from the options; the limit never exceeds the operator's size. */
static void plan(gm_tracker *s, size_t start_count)
{
    const gm_eigen_options *options = s->options;
    size_t p = s->p, k = options->k;
    bool adds = isfinite(options->threshold);
    s->limit = !adds ? k : options->max_pairs ? options->max_pairs : 2 * k;
    if (s->limit > p) s->limit = p;
    s->guards = GUARDS;
    size_t block = s->limit > start_count ? s->limit : start_count;
    size_t least = start_count > 0 ? KRYLOV_SPARE : LEAST_SPARE;
    size_t spare = 2 * s->limit > least ? 2 * s->limit : least;
    s->most = options->basis ? options->basis : block + s->guards + spare;
    if (s->most < block + 2 * s->guards + s->limit) s->most = block + 2 * s->guards + s->limit;
    if (s->most > p) s->most = p;
}

size_t gm_eigen_track_bytes(size_t size, const gm_eigen_options *options, size_t start_count)
{
    if (options->k + 1 >= size) return gm_eigen_dense_bytes(size, options->k);
    gm_tracker s = {.options = options, .p = size};
    plan(&s, start_count);
    /* The basis and its products, the residuals, the result; then what is small. */
    size_t vectors = 2 * s.most + s.limit + s.guards + s.limit, squares = 4 * s.most + 8, numbers;
    if (s.most > UINT32_MAX || !gm_mul_size(vectors, size, &numbers) ||
        !gm_mul_size(squares, s.most, &squares) || !gm_add_size(numbers, squares, &numbers) ||
        !gm_mul_size(numbers, sizeof(double), &numbers))
        return SIZE_MAX;
    return numbers;
}

gm_status gm_eigen_track(gm_operator *op, const gm_eigen_options *options, size_t start_count,
                         const double *start, gm_eigen *result, gm_error *err)
{
    memset(result, 0, sizeof *result);
    gm_status status = gm_eigen_check(op, options, err);
    if (status != GM_OK) return status;
    if (start_count > op->size) {
        return gm_fail(err, GM_ERR_USAGE, "start: found %zu vectors, expected at most %zu",
                       start_count, op->size);
    }
    for (size_t i = 0; i < start_count * op->size; i++) {
        if (!isfinite(start[i])) {
            return gm_fail(err, GM_ERR_INPUT, "start: vector %zu holds %g", i / op->size, start[i]);
        }
    }
    if (isnan(options->threshold) || (options->max_pairs && options->max_pairs < options->k)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "threshold %g with max_pairs %zu: expected a number and at least k = %zu",
                       options->threshold, options->max_pairs, options->k);
    }
    gm_tracker s = {.op = op, .options = options, .p = op->size};
    plan(&s, start_count);
    if (options->k + 1 >= op->size) return gm_eigen_dense(op, options, result, err);

    status = tracker_make(&s, err);
    if (status != GM_OK) goto done;
    gm_track_stage stage = GM_TRACK_FRESH;
    if (start_count > 0) status = gm_track_warm_start(&s, start_count, start, &stage, err);
    if (stage != GM_TRACK_DONE && s.rows < options->k) append_random(&s, options->k - s.rows);
    if (stage == GM_TRACK_FRESH) append_random(&s, s.guards);
    if (status == GM_OK && stage != GM_TRACK_DONE)
        status = iterate(&s, stage == GM_TRACK_FRESH, err);
    if (status == GM_OK) status = collect(&s, result, err);
done:
    tracker_free(&s);
    if (status != GM_OK) gm_eigen_free(result);
    return status;
}
