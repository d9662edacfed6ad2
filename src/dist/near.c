/* Eigenpairs by rows from a start: Rayleigh-Ritz on its span, which is the result where the
 * residuals say so. Else Krylov-Schur from a random combination of the wanted Ritz vectors and some
 * noise; and where some of them are hardly in what it finds (copies of a repeated value, which one
 * vector cannot tell apart), LOBPCG with those beside the result, at one end. SLEPc's LOBPCG takes
 * four products of its block an iteration and has no preconditioner here: from a subspace that has
 * turned by a few percent it needs some fifty times the products, hence the order. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dist/search.h"
#include "dist/slepc.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"
#include "spectrum/eigen.h"

static const double NOISE = 0.1;   /* beside the combination of a start */
static const double MISSING = 0.5; /* squared length of a start vector outside of the result */

/* product [m, n] = a_i . b_j over all ranks, for rows a [m, rows] and b [n, rows]. */
static void row_products(const gm_rows *rows, size_t m, size_t n, const double *a, const double *b,
                         double *product)
{
    size_t r = rows->count;
    memset(product, 0, m * n * sizeof *product);
    if (r) gm_kernels_get(GM_F64)->gemm(false, true, m, n, r, 1.0, a, r, b, r, 0.0, product, n);
    gm_team_sum(rows->team, m * n, product);
}

/* out [k, rows] = coefficient [k, m] times basis [m, rows]. */
static void combine(const gm_rows *rows, size_t k, size_t m, const double *coefficient,
                    const double *basis, double *out)
{
    size_t r = rows->count;
    if (!r) return;
    gm_kernels_get(GM_F64)->gemm(false, false, k, r, m, 1.0, coefficient, m, basis, r, 0.0, out, r);
}

/* What Rayleigh-Ritz works with, for m vectors. */
typedef struct ritz {
    size_t m;
    double *q, *w;    /* [m, rows] orthonormal, and its products */
    double *t, *y;    /* [m, m] */
    double *theta;    /* [m] descending */
    size_t *order;    /* [m] of preference */
    double *residual; /* [m] of the first pairs in that order */
    double *r;        /* [rows] */
} ritz;

static void ritz_free(ritz *z)
{
    gm_free(z->q);
    gm_free(z->w);
    gm_free(z->t);
    gm_free(z->y);
    gm_free(z->theta);
    gm_free(z->order);
    gm_free(z->residual);
    gm_free(z->r);
}

static gm_status ritz_make(const gm_rows *rows, size_t m, ritz *z, gm_error *err)
{
    size_t numbers;
    if (!gm_mul_size(m, rows->count, &numbers)) {
        gm_fail(err, GM_ERR_MEMORY, "%zu start vectors do not fit", m);
        return GM_ERR_MEMORY;
    }
    z->m = m;
    z->q = gm_alloc_raw(numbers, sizeof *z->q, "start vectors", err);
    z->w = gm_alloc_raw(numbers, sizeof *z->w, "products of the start", err);
    z->t = gm_alloc(m * m, sizeof *z->t, "projected operator", err);
    z->y = gm_alloc(m * m, sizeof *z->y, "Ritz vectors", err);
    z->theta = gm_alloc(m, sizeof *z->theta, "Ritz values", err);
    z->order = gm_alloc(m, sizeof *z->order, "order of the Ritz values", err);
    z->residual = gm_alloc(m, sizeof *z->residual, "residuals", err);
    z->r = gm_alloc_raw(rows->count, sizeof *z->r, "residual", err);
    bool made = z->q && z->w && z->t && z->y && z->theta && z->order && z->residual && z->r;
    return made ? GM_OK : GM_ERR_MEMORY;
}

/* q = an orthonormal basis of the span of start [m, rows], m reduced to its dimension: G = S S^T =
 * Y diag(g) Y^T, q = diag(g)^{-1/2} Y S, twice for what the first leaves. */
static gm_status orthonormalize(const gm_rows *rows, const double *start, ritz *z, gm_error *err)
{
    const double *from = start;
    double *to = z->w;
    for (int pass = 0; pass < 2; pass++) {
        size_t m = z->m, kept = 0;
        row_products(rows, m, m, from, from, z->t);
        gm_status status = gm_symmetric_eigen(m, z->t, m, 0, z->theta, z->y, err);
        if (status != GM_OK) return status;
        while (kept < m && z->theta[kept] > 1e-14 * z->theta[0]) {
            for (size_t i = 0; i < m; i++) {
                z->y[kept * m + i] /= sqrt(z->theta[kept]);
            }
            kept++;
        }
        if (kept == 0) return gm_fail(err, GM_ERR_INPUT, "start: every vector is zero");
        combine(rows, kept, m, z->y, from, to);
        z->m = kept;
        from = to;
        to = z->q;
    }
    return GM_OK;
}

/* Pairs of the projected operator, with the true residuals of those that are wanted. */
static gm_status project(gm_search *s, ritz *z, gm_error *err)
{
    const gm_rows *rows = &s->product.rows;
    size_t m = z->m, r = rows->count;
    gm_status status = GM_OK;
    for (size_t j = 0; status == GM_OK && j < m; j++) {
        status = gm_row_product_apply(&s->product, z->q + j * r, z->w + j * r, err);
    }
    if (status != GM_OK) return status;
    row_products(rows, m, m, z->w, z->q, z->t);
    if (m > 1)
        status = gm_eigen_mirrored(s->product.op, z->t[1], z->t[m], 2 * s->product.largest, err);
    if (status == GM_OK) status = gm_symmetric_eigen(m, z->t, m, 0, z->theta, z->y, err);
    if (status != GM_OK) return status;
    gm_eigen_order(s->options->which, m, z->theta, z->order);
    for (size_t j = 0; j < m && j < s->options->k; j++) {
        const double *y = z->y + z->order[j] * m;
        combine(rows, 1, m, y, z->w, z->r);
        for (size_t l = 0; l < m; l++) {
            if (r)
                gm_kernels_get(GM_F64)->axpy(r, -z->theta[z->order[j]] * y[l], z->q + l * r, z->r);
        }
        z->residual[j] = gm_rows_norm(rows, z->r);
    }
    return GM_OK;
}

/* The pairs of the projected operator as the result, where all of them have converged. */
static bool accept(const gm_search *s, const ritz *z, gm_eigen *result)
{
    const gm_rows *rows = &s->product.rows;
    size_t k = s->options->k, m = z->m;
    for (size_t j = 0; j < k; j++) {
        if (j >= m || !(z->residual[j] <= s->options->tol * s->product.largest)) return false;
    }
    for (size_t j = 0; j < k; j++) {
        size_t place = 0; /* the chosen ones, descending by value: theta is */
        for (size_t l = 0; l < k; l++) {
            place += z->order[l] < z->order[j];
        }
        result->value[place] = z->theta[z->order[j]];
        result->residual[place] = z->residual[j];
        combine(rows, 1, m, z->y + z->order[j] * m, z->q, result->vector + place * rows->count);
    }
    result->products = result->blocks = s->product.products;
    result->scale = s->product.largest;
    gm_eigen_judge(result, k, s->options->tol, false);
    return true;
}

/* The start of Krylov-Schur, row 0 of s->start: the wanted Ritz vectors with random signs, and a
 * little noise. The rows after it keep them, *kept of them. */
static gm_status join_start(gm_search *s, const ritz *z, size_t *kept, gm_error *err)
{
    const gm_rows *rows = &s->product.rows;
    size_t r = rows->count, k = s->options->k < z->m ? s->options->k : z->m;
    gm_stream signs = gm_stream_of(s->options->seed, GM_PURPOSE_KRYLOV, 3);
    gm_stream noise = gm_stream_of(s->options->seed, GM_PURPOSE_KRYLOV, 2);
    size_t vectors = 1 + s->options->k + GM_SLEPC_GUARDS;
    s->start = s->own = gm_alloc_raw(vectors * r, sizeof *s->own, "start vectors", err);
    if (!s->own) return GM_ERR_MEMORY;
    gm_normal_fill(noise, rows->first, r, s->start);
    double length = sqrt((double)rows->size); /* of the noise, about */
    for (size_t i = 0; i < r; i++) {
        s->start[i] *= NOISE * sqrt((double)k) / length;
    }
    for (size_t j = 0; j < k; j++) {
        double *row = s->start + (1 + j) * r, sign = gm_rademacher(signs, j);
        combine(rows, 1, z->m, z->y + z->order[j] * z->m, z->q, row);
        for (size_t i = 0; i < r; i++) {
            s->start[i] += sign * row[i];
        }
    }
    s->starts = 1;
    *kept = k;
    return GM_OK;
}

/* The start of LOBPCG, where kept Ritz vectors are hardly in the span of the result, copies of a
 * repeated value say, which one vector cannot tell apart: the result, those, and random vectors.
 * *missing: whether there are any. */
static gm_status block_start(gm_search *s, size_t kept, const gm_eigen *result, bool *missing,
                             gm_error *err)
{
    const gm_rows *rows = &s->product.rows;
    size_t r = rows->count, count = result->count, width = s->options->k + GM_SLEPC_GUARDS;
    double *block = s->start + r,
           *inside = gm_alloc(kept * count, sizeof *inside, "start in the result", err);
    if (!inside) return GM_ERR_MEMORY;
    row_products(rows, kept, count, block, result->vector, inside);
    size_t outside = 0;
    for (size_t j = 0; j < kept; j++) {
        double share = 0;
        for (size_t l = 0; l < count; l++) {
            share += inside[j * count + l] * inside[j * count + l];
        }
        if (share > 1 - MISSING) continue;
        memmove(block + outside * r, block + j * r, r * sizeof *block);
        outside++;
    }
    gm_free(inside);
    *missing = outside > 0;
    if (outside > width - count) outside = width - count;
    memmove(block + count * r, block, outside * r * sizeof *block);
    memcpy(block, result->vector, count * r * sizeof *block);
    for (size_t j = count + outside; j < width; j++) {
        gm_normal_fill(gm_stream_of(s->options->seed, GM_PURPOSE_KRYLOV, 2),
                       j * rows->size + rows->first, r, block + j * r);
    }
    return GM_OK;
}

/* The copies that Krylov-Schur missed, at one end. */
static gm_status find_copies(gm_search *s, size_t kept, gm_eigen *result, gm_error *err)
{
    gm_which which = s->options->which;
    bool missing = false, one_end = which == GM_WHICH_LA || which == GM_WHICH_SA;
    if (!one_end || s->limited) return GM_OK;
    gm_status status = block_start(s, kept, result, &missing, err);
    if (status != GM_OK || !missing) return status;
    s->start = s->own + s->product.rows.count;
    s->starts = s->options->k + GM_SLEPC_GUARDS;
    return gm_search_ends(s, true, result, err);
}

gm_status gm_search_near(gm_search *s, size_t start_count, const double *start, gm_eigen *result,
                         gm_error *err)
{
    ritz z = {0};
    size_t kept = 0;
    gm_status status = ritz_make(&s->product.rows, start_count, &z, err);
    if (status == GM_OK) status = orthonormalize(&s->product.rows, start, &z, err);
    if (status == GM_OK) status = project(s, &z, err);
    bool done = status == GM_OK && accept(s, &z, result);
    if (status == GM_OK && !done) status = join_start(s, &z, &kept, err);
    ritz_free(&z);
    if (status != GM_OK || done) return status;
    s->typical = s->product.largest;
    status = gm_search_ends(s, false, result, err);
    if (status == GM_OK) status = find_copies(s, kept, result, err);
    return status == GM_OK ? gm_search_conclude(s, result, err) : status;
}
