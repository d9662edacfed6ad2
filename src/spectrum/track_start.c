/* The start of gm_eigen_track from a known subspace.
 *
 * A known subspace is looked at through one vector first: the product of a random combination of
 * its vectors, which tells whether the subspace still holds, and some noise are the start of
 * Lanczos' method (lanczos.h). Half of the products that the block would take serve where every
 * direction has turned by a few percent, as between checkpoints of a training: what is left to do
 * is to separate the pairs from the bulk, which takes a polynomial of a high degree, and a vector's
 * Krylov space has one more for each product, a block's for each block. Directions of the start
 * that one vector cannot tell apart (of a repeated value) are added after.
 *
 * The products are known in the basis, their noise included (gm_lanczos_keep_image), so that true
 * residuals cost none, and W is put together only where the block method has to go on. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "spectrum/eigen.h"
#include "spectrum/krylov.h"
#include "spectrum/ritz.h"
#include "spectrum/track.h"

static const double NOISE = 0.1;    /* beside the product of the start, both of norm 1 */
static const double HOLDS = 3.0;    /* an invariant start: residual over the tolerance */
static const double NEARLY = 1e-4;  /* orthonormal: off by so much in each product of two rows */
static const double CAUTION = 1.02; /* of residuals by T, beside true ones */
static const double MISSING = 0.5;  /* squared length of a start vector outside of the basis */

/* sum [p] of the start's unit vectors with random signs, as a unit vector; false where it vanishes.
 */
static bool combine_start(const gm_tracker *s, size_t start_count, const double *start, double *sum)
{
    gm_stream signs = gm_stream_of(s->options->seed, GM_PURPOSE_KRYLOV, 3);
    memset(sum, 0, s->p * sizeof *sum);
    for (size_t j = 0; j < start_count; j++) {
        const double *row = start + j * s->p;
        double length = gm_track_norm(s->p, row), sign = gm_rademacher(signs, j);
        for (size_t i = 0; i < s->p && length > 0.0; i++) {
            sum[i] += sign * row[i] / length;
        }
    }
    double length = gm_track_norm(s->p, sum);
    for (size_t i = 0; i < s->p && length > 0.0; i++) {
        sum[i] /= length;
    }
    return length > 0.0;
}

/* Whether the start's rows are orthonormal as they are, nearly. */
static gm_status is_orthonormal(size_t p, size_t start_count, const double *start, bool *is,
                                gm_error *err)
{
    double *gram = gm_alloc(start_count * start_count, sizeof *gram, "products of the start", err);
    if (!gram) return GM_ERR_MEMORY;
    gm_kernels_get(GM_F64)->gemm(false, true, start_count, start_count, p, 1.0, start, p, start, p,
                                 0.0, gram, start_count);
    *is = true;
    for (size_t i = 0; i < start_count * start_count; i++) {
        bool diagonal = i % (start_count + 1) == 0;
        *is = *is && fabs(gram[i] - (diagonal ? 1.0 : 0.0)) <= NEARLY;
    }
    gm_free(gram);
    return GM_OK;
}

/* Whether the span of `rows` [count, p], orthonormal or nearly so, is invariant already as far as
 * the tolerance cares: A x for the one combination x (a row of r) stays within it. One product,
 * kept in row 0 of w; the next block then suffices. */
static gm_status start_holds(gm_tracker *s, size_t count, const double *rows, const double *x,
                             bool *holds, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    double *ax = s->r + s->p;
    gm_status status = gm_operator_apply(s->op, 1, x, ax, err);
    if (status != GM_OK) return status;
    s->products++;
    s->blocks++;
    memcpy(s->w, ax, s->p * sizeof *ax);
    double size = gm_track_norm(s->p, ax);
    for (int pass = 0; pass < 2; pass++) { /* what the first leaves is NEARLY as large */
        memset(s->work, 0, count * sizeof *s->work);
        kernels->rows_dot(count, s->p, rows, s->p, ax, s->work);
        kernels->rows_axpy(count, s->p, -1, s->work, rows, s->p, ax);
    }
    *holds = gm_track_norm(s->p, ax) <= HOLDS * s->options->tol * size;
    return GM_OK;
}

/* Row 0 of the basis: the product of the combination, row 0 of w, and noise. The product has less
 * of the bulk in it than the combination, and has been paid for. */
static void krylov_vector(gm_tracker *s)
{
    double *noise = s->r;
    gm_normal_fill(gm_stream_of(s->options->seed, GM_PURPOSE_KRYLOV, 2), s->drawn, s->p, noise);
    s->drawn += s->p;
    double length = gm_track_norm(s->p, s->w), noise_length = gm_track_norm(s->p, noise);
    for (size_t i = 0; i < s->p; i++) {
        s->q[i] = s->w[i] / length + NOISE * noise[i] / noise_length;
    }
}

typedef struct krylov_run {
    gm_tracker *s;
    size_t room;   /* rows of the basis for it */
    double *value; /* [2, most]: Ritz values, their residuals by T */
} krylov_run;

/* Ends the run where the pairs have converged as far as T tells, or products or rows run out. */
static gm_status seems_done(const gm_lanczos *l, void *context, bool *enough, gm_error *err)
{
    krylov_run *run = context;
    gm_tracker *s = run->s;
    size_t m = l->taken, limit = s->options->max_products;
    *enough = m + 1 >= run->room || (limit > 0 && s->products + m >= limit);
    if (*enough || m <= s->options->k) return GM_OK;
    double *residual = run->value + s->most;
    gm_status status = gm_ritz_values(m, l->alpha, l->beta, s->theta, residual, err);
    if (status != GM_OK) return status;
    s->rows = m;
    s->scale = fmax(s->scale, fmax(fabs(s->theta[0]), fabs(s->theta[m - 1])));
    gm_eigen_order(s->options->which, m, s->theta, s->order);
    gm_track_choose(s);
    double caution = CAUTION * fmax(1, s->options->tol / gm_ritz_loosest);
    for (size_t j = 0; j < s->candidates; j++) {
        s->residual[j] = caution * residual[s->order[j]];
    }
    *enough = gm_track_open(s, false) == 0;
    return GM_OK;
}

/* Lanczos' method from the row 0 until the pairs seem to have converged or the basis is full. */
static gm_status krylov(gm_tracker *s, size_t room, gm_error *err)
{
    gm_lanczos *l = &s->lanczos;
    krylov_run run = {.s = s, .room = room};
    gm_krylov_watch watch = {.op = s->op, .lanczos = l, .image = s->r};
    gm_operator watched;
    run.value = gm_alloc(2 * s->most, sizeof *run.value, "Ritz values", err);
    if (!run.value) return GM_ERR_MEMORY;
    gm_krylov_watch_operator(&watch, &watched);
    l->stop = seems_done;
    l->context = &run;
    gm_status status = gm_lanczos_run(&watched, l, err);
    s->products += watch.products;
    s->blocks += watch.products;
    s->rows = s->applied = l->taken;
    gm_free(run.value);
    return status;
}

/* The Ritz pairs of the run, with their true residuals. */
static gm_status ritz_pairs(gm_tracker *s, gm_error *err)
{
    const gm_lanczos *l = &s->lanczos;
    size_t m = l->taken, most = s->most;
    memset(s->t, 0, m * most * sizeof *s->t);
    for (size_t i = 0; i < m; i++) {
        s->t[i * most + i] = l->alpha[i];
        if (i + 1 < m) s->t[(i + 1) * most + i] = l->beta[i];
    }
    gm_status status = gm_track_rayleigh_ritz(s, err);
    if (status != GM_OK) return status;
    gm_track_choose(s);
    for (size_t j = 0; j < s->candidates; j++) {
        size_t i = s->order[j];
        s->residual[j] = gm_lanczos_residual(l, s->theta[i], s->y + i * m);
    }
    return GM_OK;
}

/* w = the products of the rows, from their images in the basis: none is taken again. */
static gm_status find_products(gm_tracker *s, gm_error *err)
{
    const gm_lanczos *l = &s->lanczos;
    size_t m = l->taken, width = m + 1;
    double *image = gm_alloc(m * width + m, sizeof *image, "products in the basis", err);
    if (!image) return GM_ERR_MEMORY;
    double *one = image + m * width;
    for (size_t j = 0; j < m; j++) {
        one[j] = 1;
        gm_lanczos_image(l, one, image + j * width);
        one[j] = 0;
    }
    gm_kernels_get(GM_F64)->gemm(false, false, m, s->p, width, 1.0, image, width, s->q, s->p, 0.0,
                                 s->w, s->p);
    gm_free(image);
    return GM_OK;
}

/* outside [start_count] = the squared share of each start vector that lies outside of the basis. */
static gm_status missing_shares(gm_tracker *s, size_t start_count, const double *start,
                                double *outside, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    size_t p = s->p, m = s->rows;
    double *inside = gm_alloc(start_count * m, sizeof *inside, "start in the basis", err);
    if (!inside) return GM_ERR_MEMORY;
    kernels->gemm(false, true, start_count, m, p, 1.0, start, p, s->q, p, 0.0, inside, m);
    for (size_t j = 0; j < start_count; j++) {
        double square = kernels->dot(p, start + j * p, start + j * p);
        outside[j] = square > 0 ? 1 - kernels->dot(m, inside + j * m, inside + j * m) / square : 0;
    }
    gm_free(inside);
    return GM_OK;
}

/* Where pairs are open, or start vectors are hardly in the basis (the copies of a repeated value,
 * say): the block method's basis, with those vectors as further rows. */
static gm_status open_basis(gm_tracker *s, bool open, size_t start_count, const double *start,
                            gm_track_stage *stage, gm_error *err)
{
    double *outside = gm_alloc(start_count, sizeof *outside, "start outside of the basis", err);
    if (!outside) return GM_ERR_MEMORY;
    gm_status status = missing_shares(s, start_count, start, outside, err);
    for (size_t j = 0; j < start_count; j++) {
        open = open || outside[j] > MISSING;
    }
    *stage = open ? GM_TRACK_OPEN : GM_TRACK_DONE;
    if (open && status == GM_OK) status = find_products(s, err);
    for (size_t j = 0; j < start_count && open && status == GM_OK; j++) {
        if (outside[j] > MISSING && s->rows < s->most) gm_track_append(s, start + j * s->p);
    }
    gm_free(outside);
    return status;
}

static void append_rows(gm_tracker *s, size_t count, const double *row)
{
    for (size_t j = 0; j < count; j++) {
        gm_track_append(s, row + j * s->p);
    }
}

gm_status gm_track_warm_start(gm_tracker *s, size_t start_count, const double *start,
                              gm_track_stage *stage, gm_error *err)
{
    double *x = s->r;
    *stage = GM_TRACK_FRESH;
    bool holds = false, ready = false;
    gm_status status = is_orthonormal(s->p, start_count, start, &ready, err);
    if (!ready) append_rows(s, start_count, start);
    const double *rows = ready ? start : s->q;
    size_t count = ready ? start_count : s->rows;
    bool looks =
        status == GM_OK && s->options->max_products != 1 && combine_start(s, start_count, start, x);
    if (looks) status = start_holds(s, count, rows, x, &holds, err);
    if (ready && (!looks || holds)) append_rows(s, start_count, start);
    if (status != GM_OK || !looks || holds) return status;
    krylov_vector(s);
    status = krylov(s, s->most > start_count ? s->most - start_count : 0, err);
    if (status == GM_OK) status = ritz_pairs(s, err);
    if (status != GM_OK) return status;
    size_t limit = s->options->max_products;
    s->limited = limit > 0 && s->products >= limit;
    *stage = GM_TRACK_DONE;
    if (s->limited) return GM_OK;
    bool open = s->wanted < s->options->k || gm_track_open(s, false) > 0;
    return open_basis(s, open, start_count, start, stage, err);
}
