/* Eigenpairs by rows: what surrounds SLEPc's solvers, so that results mean what those of
 * gm_eigenpairs mean.
 *
 *   start        y = A x + 1e-3 ||A x|| x for a random unit x: less of the bulk than x; A x = 0 for
 *                two such x is the zero operator
 *   tolerance    of the solver's own residuals: 0.9 tol max(|value|, ||A x||), so that a small
 *                value beside large ones is held to its own size as long as the products can tell
 *   verdict      true residual <= tol |lambda|_max, by products of the vectors found
 *
 * From nothing: Krylov-Schur with a basis of max(2 k + 1, 20) vectors by default; both ends are two
 * problems, the second beside the pairs of the first. Of a repeated eigenvalue some copies may be
 * missed at loose tolerances, as by gm_eigenpairs.
 *
 * Small operators are formed on every rank, as gm_eigenpairs does. */
#include "dist/solver.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dist/search.h"
#include "dist/slepc.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"
#include "spectrum/eigen.h"
#include "spectrum/ritz.h"

enum { LEAST_BASIS = 20, ROOM = 3 };
static const double SHARE = 0.9; /* of tol, for the solver's own residuals */

static void search_free(gm_search *s)
{
    gm_row_product_free(&s->product);
    gm_free(s->own);
}

/* Krylov vectors; *dense where forming the operator is cheaper, or SLEPc's methods do not go. */
static size_t choose_basis(size_t n, const gm_eigen_options *options, bool tracks, bool *dense)
{
    size_t k = options->k, basis = options->basis;
    size_t least = 2 * k + 1 > LEAST_BASIS ? 2 * k + 1 : LEAST_BASIS;
    *dense = k + 1 >= n || (basis ? basis >= n : n <= 2 * least);
    if (tracks && n < 5 * (k + GM_SLEPC_GUARDS)) *dense = true;
    return basis ? basis : least;
}

/* The arrays of result for k pairs by rows, of which the solver fills the first. */
static gm_status make_result(const gm_rows *rows, const gm_operator *op, size_t k, gm_eigen *result,
                             gm_error *err)
{
    gm_operator share = {.size = rows->count, .precision = op->precision};
    gm_status status = gm_eigen_alloc(&share, k, result, err);
    result->size = op->size;
    return status;
}

/* ---- the operator formed ---- */

static gm_status solve_dense(const gm_team *team, gm_operator *op, const gm_eigen_options *options,
                             gm_eigen *result, gm_error *err)
{
    gm_rows rows = gm_rows_of(team, op->size);
    gm_status status = gm_eigen_dense(op, options, result, err);
    for (size_t j = 0; status == GM_OK && j < result->count; j++) {
        memmove(result->vector + j * rows.count, result->vector + j * op->size + rows.first,
                rows.count * sizeof *result->vector);
    }
    return status;
}

/* ---- from nothing ---- */

static void fill_random(const gm_rows *rows, uint64_t seed, uint32_t run, double *x)
{
    gm_stream stream = gm_stream_of(seed, GM_PURPOSE_KRYLOV, run);
    gm_normal_fill(stream, rows->first, rows->count, x);
}

/* Places for x, A x and the start: rows of the result where it has enough of them. They are not
 * needed any more when these are filled, at both ends the upper ones first. */
static gm_status find_room(gm_search *s, gm_eigen *result, double **x, double **ax, gm_error *err)
{
    size_t r = s->product.rows.count, k = s->options->k;
    double *room = result->vector;
    s->starts = 1;
    if (k < ROOM) {
        room = s->own = gm_alloc_raw(ROOM * r, sizeof *room, "start vectors", err);
        if (!room) return GM_ERR_MEMORY;
        k = ROOM;
    }
    *x = room;
    *ax = room + r;
    s->start = room + (k - 1) * r;
    return GM_OK;
}

/* x, A x, and the start from both. *zero where A x = 0 twice. */
static gm_status first_product(gm_search *s, gm_eigen *result, bool *zero, gm_error *err)
{
    const gm_rows *rows = &s->product.rows;
    double *x, *ax;
    gm_status status = find_room(s, result, &x, &ax, err);
    for (uint32_t draw = 0; status == GM_OK && draw < 2 && s->product.largest == 0; draw++) {
        fill_random(rows, s->options->seed, draw, x);
        status = gm_row_product_apply(&s->product, x, ax, err);
    }
    if (status != GM_OK) return status;
    s->typical = s->product.largest;
    *zero = s->typical == 0;
    for (size_t i = 0; i < rows->count; i++) {
        s->start[i] = ax[i] + 1e-3 * s->typical * x[i];
    }
    s->product.u = x;
    s->product.au = ax;
    return GM_OK;
}

static void zero_pairs(const gm_rows *rows, gm_eigen *result)
{
    memset(result->vector, 0, result->count * rows->count * sizeof *result->vector);
    for (size_t j = 0; j < result->count; j++) {
        bool mine = j >= rows->first && j - rows->first < rows->count;
        if (mine) result->vector[j * rows->count + j - rows->first] = 1.0;
    }
}

/* k pairs of one kind after those that result holds already, beside which they are sought. */
static gm_status solve_end(gm_search *s, gm_which which, size_t k, bool block, gm_eigen *result,
                           gm_error *err)
{
    const gm_rows *rows = &s->product.rows;
    size_t limit = s->options->max_products, residuals = s->options->k;
    gm_slepc_task task = {.product = &s->product,
                          .which = which,
                          .k = k,
                          .basis = s->basis,
                          .block = block,
                          .tol = s->tol,
                          .least = &s->typical,
                          .max_products = limit > residuals ? limit - residuals : 0,
                          .starts = s->starts,
                          .start = s->start,
                          .deflated = result->count,
                          .deflate = result->vector,
                          .value = result->value + result->count,
                          .vector = result->vector + result->count * rows->count};
    gm_status status = gm_slepc_solve(&task, err);
    result->count += task.count;
    s->limited = s->limited || task.limited;
    return status;
}

gm_status gm_search_ends(gm_search *s, bool block, gm_eigen *result, gm_error *err)
{
    gm_which which = s->options->which;
    size_t k = s->options->k, top = (k + 1) / 2;
    result->count = 0;
    if (which != GM_WHICH_BE) return solve_end(s, which, k, block, result, err);
    gm_status status = solve_end(s, GM_WHICH_LA, top, block, result, err);
    if (status != GM_OK || k == top) return status;
    return solve_end(s, GM_WHICH_SA, k - top, block, result, err);
}

gm_status gm_search_conclude(gm_search *s, gm_eigen *result, gm_error *err)
{
    size_t solver = s->product.products;
    gm_status status = gm_row_residuals(&s->product, result->count, result->value, result->vector,
                                        result->residual, err);
    if (status != GM_OK) return status;
    result->products = result->blocks = s->product.products;
    result->check_products = s->product.products - solver;
    result->scale = s->product.largest;
    gm_eigen_judge(result, s->options->k, s->options->tol, s->limited);
    return GM_OK;
}

/* Whether max_products leaves room for a basis, the first product and the residuals; the basis
 * shrinks to what it leaves. */
static bool fit(gm_search *s)
{
    size_t k = s->options->k, limit = s->options->max_products;
    if (limit == 0) return true;
    if (limit < 2 * k + 3) return false;
    size_t room = limit - k - 1;
    if (s->basis > room) s->basis = room;
    return true;
}

static gm_status search_fresh(gm_search *s, gm_eigen *result, gm_error *err)
{
    bool zero;
    gm_status status = first_product(s, result, &zero, err);
    if (status == GM_OK && zero) zero_pairs(&s->product.rows, result);
    if (status == GM_OK && !zero) status = gm_search_ends(s, false, result, err);
    return status == GM_OK ? gm_search_conclude(s, result, err) : status;
}

/* ---- the solver ---- */

static gm_status check_start(const gm_rows *rows, size_t start_count, const double *start,
                             gm_error *err)
{
    double bad = 0;
    if (start_count > rows->size) {
        return gm_fail(err, GM_ERR_USAGE, "start: found %zu vectors, expected at most %zu",
                       start_count, rows->size);
    }
    for (size_t i = 0; i < start_count * rows->count; i++) {
        bad += !isfinite(start[i]);
    }
    gm_team_sum(rows->team, 1, &bad);
    if (bad == 0) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "start: %.0f numbers are not finite", bad);
}

static gm_status solve(const gm_team *team, gm_operator *op, const gm_eigen_options *options,
                       size_t start_count, const double *start, gm_eigen *result, gm_error *err)
{
    memset(result, 0, sizeof *result);
    bool dense;
    gm_rows rows = gm_rows_of(team, op->size);
    if (op->size > gm_slepc_most()) {
        return gm_fail(err, GM_ERR_DEPENDENCY,
                       "eigenpairs of the %s by slepc: %zu rows, expected at most %zu, what the "
                       "integers of this PETSc count (--with-64-bit-indices has more)",
                       op->name, op->size, gm_slepc_most());
    }
    gm_status status = gm_eigen_check(op, options, err);
    if (status == GM_OK) status = check_start(&rows, start_count, start, err);
    if (status != GM_OK) return status;
    gm_search s = {.options = options};
    s.basis = choose_basis(op->size, options, start_count > 0, &dense);
    if (dense) return solve_dense(team, op, options, result, err);
    /* As in gm_eigenpairs: residuals are within a loose tolerance before every pair has shown up.
     */
    bool loose = options->tol > gm_ritz_loosest && options->max_products == 0;
    s.tol = SHARE * (loose ? gm_ritz_loosest : options->tol);
    if (!fit(&s)) {
        status = make_result(&rows, op, 0, result, err);
        if (status == GM_OK) gm_eigen_judge(result, options->k, options->tol, true);
        return status;
    }
    status = make_result(&rows, op, options->k, result, err);
    if (status == GM_OK) status = gm_row_product_make(team, op, &s.product, err);
    if (status == GM_OK) {
        status = start_count ? gm_search_near(&s, start_count, start, result, err)
                             : search_fresh(&s, result, err);
    }
    search_free(&s);
    if (status != GM_OK) gm_eigen_free(result);
    return status;
}

static size_t bytes(const gm_team *team, size_t size, const gm_eigen_options *options,
                    size_t start_count)
{
    bool dense;
    size_t k = options->k, ranks = (size_t)gm_team_size(team), rows = (size + ranks - 1) / ranks;
    gm_slepc_task task = {.k = k, .block = start_count > 0};
    task.basis = choose_basis(size, options, start_count > 0, &dense);
    if (dense) return gm_eigen_dense_bytes(size, k);
    /* SLEPc's vectors, the result, and what the start takes. */
    size_t start = start_count ? k + GM_SLEPC_GUARDS + 1 : k < ROOM ? ROOM : 0, numbers;
    size_t vectors = gm_slepc_vectors(&task) + start + k;
    if (start_count > 0 && vectors < 2 * start_count + start + k)
        vectors = 2 * start_count + start + k;
    if (!gm_mul_size(vectors, rows, &numbers) || !gm_mul_size(numbers, sizeof(double), &numbers))
        return SIZE_MAX;
    return numbers;
}

const gm_row_solver *gm_dist_row_solver(void)
{
    static const gm_row_solver solver = {
        .name = "slepc", .most = gm_slepc_most, .solve = solve, .bytes = bytes};
    return &solver;
}

void gm_dist_row_solver_end(void)
{
    gm_slepc_end();
}
