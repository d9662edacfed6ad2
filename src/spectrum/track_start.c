/* The start of gm_eigen_track from a known subspace.
 *
 * A known subspace is looked at through one vector first (warm_start): a random combination of
 * its vectors and some noise, the start of Lanczos' method. Half of the products that the block
 * would take serve where every direction has turned by a few percent, as between checkpoints of a
 * training: what is left to do is to separate the pairs from the bulk, which takes a polynomial of
 * a high degree, and a vector's Krylov space has one more for each product, a block's for each
 * block. Directions of the start that one vector cannot tell apart (of a repeated value) are added
 * after. */
#include <math.h>
#include <string.h>

#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "spectrum/eigen.h"
#include "spectrum/track.h"

static const double NOISE = 0.3;   /* beside the combination of the start, both of norm 1 */
static const double HOLDS = 3.0;   /* an invariant start: residual over the tolerance */
static const double MISSING = 0.5; /* squared length of a start vector outside of the basis */

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

/* Whether the start's span, orthonormal rows of q, is invariant already as far as the tolerance
 * cares: A x for the one combination x (a row of r) stays within it. One product; the next block
 * then suffices. */
static gm_status start_holds(gm_tracker *s, const double *x, bool *holds, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    double *ax = s->r + s->p;
    gm_status status = gm_operator_apply(s->op, 1, x, ax, err);
    if (status != GM_OK) return status;
    s->products++;
    s->blocks++;
    double size = gm_track_norm(s->p, ax);
    kernels->gemm(false, true, 1, s->rows, s->p, 1.0, ax, s->p, s->q, s->p, 0.0, s->work, s->most);
    kernels->gemm(false, false, 1, s->p, s->rows, -1.0, s->work, s->most, s->q, s->p, 1.0, ax,
                  s->p);
    *holds = gm_track_norm(s->p, ax) <= HOLDS * s->options->tol * size;
    return GM_OK;
}

/* Row 0 of the basis: the combination and noise. */
static void krylov_vector(gm_tracker *s, double *x)
{
    double *noise = s->r + s->p;
    gm_normal_fill(gm_stream_of(s->options->seed, GM_PURPOSE_KRYLOV, 2), s->drawn, s->p, noise);
    s->drawn += s->p;
    double length = gm_track_norm(s->p, noise);
    for (size_t i = 0; i < s->p; i++) {
        x[i] += NOISE * noise[i] / length;
    }
    s->rows = 0;
    gm_track_append(s, x);
}

/* Product of the last row, its row of t, and what of it is new as the next row: *beta is the norm
 * of that, 0 where nothing is. */
static gm_status krylov_step(gm_tracker *s, double *beta, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    size_t last = s->rows - 1, p = s->p, m = s->rows;
    double *w = s->w + last * p, *row = s->q + m * p, *t = s->t + last * s->most;
    gm_status status = gm_operator_apply(s->op, 1, s->q + last * p, w, err);
    if (status != GM_OK) return status;
    s->products++;
    s->blocks++;
    s->applied = m;
    if (m == 2) {
        status = gm_eigen_symmetric(s->op, s->q, s->w, s->q + p, s->w + p, err);
        if (status != GM_OK) return status;
    }
    memcpy(row, w, p * sizeof *row);
    double size = gm_track_norm(p, w);
    for (int pass = 0; pass < 2; pass++) {
        double *h = pass ? s->work : t;
        kernels->gemm(false, true, 1, m, p, 1.0, row, p, s->q, p, 0.0, h, s->most);
        kernels->gemm(false, false, 1, p, m, -1.0, h, s->most, s->q, p, 1.0, row, p);
    }
    *beta = gm_track_norm(p, row);
    if (!(*beta > 1e-10 * size)) *beta = 0.0;
    for (size_t i = 0; i<p && * beta> 0.0; i++) {
        row[i] /= *beta;
    }
    return GM_OK;
}

/* Residuals by the recurrence, A Q = Q T + q_next beta e_last^T: beta times the last component of
 * the Ritz vector. For the decision to look closer; the residuals that count come from W. */
static bool seems_done(gm_tracker *s, double beta)
{
    size_t m = s->rows;
    if (s->wanted < s->options->k) return false;
    for (size_t j = 0; j < s->candidates; j++) {
        s->residual[j] = beta * fabs(s->y[s->order[j] * m + m - 1]);
    }
    return gm_track_open(s, false) == 0;
}

/* Start vectors that the basis hardly holds, the copies of a repeated value say, as further rows.
 */
static void append_missing(gm_tracker *s, size_t start_count, const double *start)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    size_t p = s->p;
    for (size_t j = 0; j < start_count && s->rows < s->most; j++) {
        const double *x = start + j * p;
        double inside = 0.0, square = gm_track_norm(p, x) * gm_track_norm(p, x);
        kernels->gemm(false, true, 1, s->rows, p, 1.0, x, p, s->q, p, 0.0, s->work, s->most);
        for (size_t i = 0; i < s->rows; i++) {
            inside += s->work[i] * s->work[i];
        }
        if (square - inside > MISSING * square) gm_track_append(s, x);
    }
}

/* Lanczos' method until the pairs seem to have converged or the basis is full. */
static gm_status krylov(gm_tracker *s, size_t room, gm_error *err)
{
    size_t limit = s->options->max_products;
    for (;;) {
        double beta = 0.0;
        if (limit > 0 && s->products >= limit) {
            s->limited = true;
            return GM_OK;
        }
        gm_status status = krylov_step(s, &beta, err);
        if (status == GM_OK) status = gm_track_rayleigh_ritz(s, err);
        if (status != GM_OK) return status;
        gm_track_choose(s);
        if (beta == 0.0 || s->rows + 1 >= room || seems_done(s, beta)) return GM_OK;
        s->rows++;
    }
}

/* A basis from the start; *fresh where it holds vectors that nothing is known of yet. */
gm_status gm_track_warm_start(gm_tracker *s, size_t start_count, const double *start, bool *fresh,
                              gm_error *err)
{
    double *x = s->r;
    *fresh = true;
    bool holds = false;
    for (size_t j = 0; j < start_count; j++) {
        gm_track_append(s, start + j * s->p);
    }
    if (!combine_start(s, start_count, start, x) || s->options->max_products == 1) return GM_OK;
    gm_status status = start_holds(s, x, &holds, err);
    if (status != GM_OK || holds) return status;
    *fresh = false;
    krylov_vector(s, x);
    status = krylov(s, s->most > start_count ? s->most - start_count : 0, err);
    if (status == GM_OK) append_missing(s, start_count, start);
    return status;
}
