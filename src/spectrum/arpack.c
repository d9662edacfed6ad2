/* Extreme eigenpairs by ARPACK's implicitly restarted Lanczos method (Lehoucq, Sorensen, Yang 1998,
 * doi:10.1137/1.9780898719628), in reverse communication: ARPACK asks for products with vectors of
 * its workspace until it is satisfied.
 *
 *   n, nev, ncv   size, pairs wanted, Krylov vectors kept (nev < ncv <= n)
 *
 * ARPACK calls a Ritz pair converged at residual <= tol max(eps^(2/3), |value|), which for a small
 * value beside large ones asks for more than the products can give. It is therefore run on c A,
 * with c a power of two that puts ||A x||, x the random start, at eps^(2/3): then values below
 * ||A x|| <= |lambda|_max are all held to tol ||A x||, at any scale of A. */
#include <arpack/arpack.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "gradiometer/spectrum.h"
#include "spectrum/eigen.h"

enum {
    LEAST_BASIS = 20,
    MOST_RESTARTS = 300,
    THRESHOLD_EXPONENT = -35 /* 2^-35 >= eps^(2/3) = 2^-35.33, ARPACK's eps being 2^-53 */
};

/* ARPACK keeps its state in Fortran SAVE variables, so one solution at a time; the flag tells an
 * operator's own call from that of another thread. */
static pthread_mutex_t arpack_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool arpack_inside;

typedef struct lanczos {
    gm_operator *op;
    const char *which; /* ARPACK's name */
    double tol;
    a_int n, nev, ncv, lworkl;
    a_int restarts; /* at most */
    a_int iparam[11], ipntr[11];
    a_int info;
    double *start, *basis, *workd, *workl; /* [n], [ncv, n], [3, n], [lworkl] */
    double *pair;                          /* [4, n]: x, u and their products */
    a_int *select;                         /* [ncv] */
    double *value;                         /* [nev] */
    uint64_t seed, drawn;                  /* of the start vectors: stream and its next draw */
    double scale;                          /* c; 0 before the first product */
    double largest;                        /* of ||A x|| / ||x||, at most |lambda|_max */
    size_t products, blocks;
    bool zero; /* A x = 0 and A u = 0 for random vectors: the zero operator */
} lanczos;

static void lanczos_free(lanczos *l)
{
    gm_free(l->start);
    gm_free(l->basis);
    gm_free(l->workd);
    gm_free(l->workl);
    gm_free(l->pair);
    gm_free(l->select);
    gm_free(l->value);
    memset(l, 0, sizeof *l);
}

static gm_status lanczos_make(gm_operator *op, const gm_eigen_options *options, size_t basis,
                              lanczos *l, gm_error *err)
{
    size_t n = op->size, most = INT_MAX, entries;
    if (n > most / 3 || basis > most || basis > most / (basis + 8) ||
        !gm_mul_size(basis, n, &entries)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "size %zu with %zu Krylov vectors: beyond ARPACK's 32-bit integers (size at "
                       "most %zu)",
                       n, basis, most / 3);
    }
    static const char *const names[] = {"LA", "SA", "BE", "LM"};
    l->op = op;
    /* ARPACK refuses both ends for a single pair; the odd one is the top one. */
    l->which = options->which == GM_WHICH_BE && options->k == 1 ? "LA" : names[options->which];
    l->tol = options->tol;
    l->n = (a_int)n;
    l->nev = (a_int)options->k;
    l->ncv = (a_int)basis;
    l->lworkl = l->ncv * (l->ncv + 8);
    l->start = gm_alloc(n, sizeof *l->start, "start vector", err);
    l->basis = gm_alloc(entries, sizeof *l->basis, "Krylov vectors", err);
    l->workd = gm_alloc(3 * n, sizeof *l->workd, "Krylov workspace", err);
    l->workl = gm_alloc((size_t)l->lworkl, sizeof *l->workl, "Krylov workspace", err);
    l->pair = gm_alloc(4 * n, sizeof *l->pair, "vectors of the symmetry check", err);
    l->select = gm_alloc(basis, sizeof *l->select, "Krylov workspace", err);
    l->value = gm_alloc(options->k, sizeof *l->value, "Ritz values", err);
    if (!l->start || !l->basis || !l->workd || !l->workl || !l->pair || !l->select || !l->value)
        return GM_ERR_MEMORY;
    l->seed = options->seed;
    gm_normal_fill(gm_stream_of(l->seed, GM_PURPOSE_KRYLOV, 0), 0, n, l->start);
    l->drawn = n;
    gm_normal_fill(gm_stream_of(l->seed, GM_PURPOSE_KRYLOV, 1), 0, n, l->pair + n);
    return GM_OK;
}

static double norm(size_t n, const double *x)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    return sqrt(sum);
}

/* ARPACK's first request: the start vector x, to be forced into the range of A. A x stands out of
 * the bulk, a better start, but lacks the eigenvalue 0: y = A x + a little x. A second random
 * vector in the same block tells whether A is symmetric and whether it is zero. */
static gm_status first_product(lanczos *l, const double *x, double *y, gm_error *err)
{
    size_t n = (size_t)l->n;
    double *u = l->pair + n, *ax = l->pair + 2 * n, *au = l->pair + 3 * n;
    memcpy(l->pair, x, n * sizeof *x);
    gm_status status = gm_operator_apply(l->op, 2, l->pair, ax, err);
    if (status != GM_OK) return status;
    l->products += 2;
    l->blocks++;
    status = gm_eigen_symmetric(l->op, x, ax, u, au, err);
    if (status != GM_OK) return status;
    double size = norm(n, ax) / norm(n, x);
    l->largest = size;
    l->zero = size == 0.0 && norm(n, au) == 0.0;
    l->scale = size > 0.0 ? ldexp(1.0, THRESHOLD_EXPONENT - ilogb(size)) : 1.0;
    for (size_t i = 0; i < n; i++) {
        y[i] = l->scale * (ax[i] + 1e-3 * size * x[i]);
    }
    return GM_OK;
}

/* Answers ARPACK until it has finished or the operator failed. */
static gm_status converse(lanczos *l, gm_error *err)
{
    size_t n = (size_t)l->n;
    a_int ido = 0;
    l->iparam[0] = 1; /* exact shifts */
    l->iparam[2] = l->restarts;
    l->iparam[3] = 1; /* block size */
    l->iparam[6] = 1; /* A x = lambda x */
    l->info = 1;      /* starts from l->start */
    for (;;) {
        dsaupd_c(&ido, "I", l->n, l->which, l->nev, l->tol, l->start, l->ncv, l->basis, l->n,
                 l->iparam, l->ipntr, l->workd, l->workl, l->lworkl, &l->info);
        if (ido != 1 && ido != -1) return GM_OK;
        const double *x = l->workd + l->ipntr[0] - 1;
        double *y = l->workd + l->ipntr[1] - 1;
        if (l->scale == 0.0) {
            gm_status status = first_product(l, x, y, err);
            if (status != GM_OK || l->zero) return status;
            continue;
        }
        if (ido == -1) {
            /* A new start vector after a breakdown, from a generator that remembers earlier calls:
             * ours in its place. */
            gm_normal_fill(gm_stream_of(l->seed, GM_PURPOSE_KRYLOV, 0), l->drawn, n, y);
            l->drawn += n;
            continue;
        }
        gm_status status = gm_operator_apply(l->op, 1, x, y, err);
        if (status != GM_OK) return status;
        l->products++;
        l->blocks++;
        l->largest = fmax(l->largest, norm(n, y) / norm(n, x));
        for (size_t i = 0; i < n; i++) {
            y[i] *= l->scale;
        }
    }
}

/* Pairs that ARPACK holds for converged: *count of them in l->value (ascending) and the first rows
 * of l->basis. */
static gm_status extract(lanczos *l, size_t *count, gm_error *err)
{
    if (l->info < 0) {
        return gm_fail(err, GM_ERR_NUMERIC, "eigenpairs of the %s: ARPACK's dsaupd reports %d",
                       l->op->name, (int)l->info);
    }
    *count = (size_t)l->iparam[4];
    if (*count == 0) return GM_OK;
    a_int info = 0;
    dseupd_c(1, "A", l->select, l->value, l->basis, l->n, 0.0, "I", l->n, l->which, l->nev, l->tol,
             l->start, l->ncv, l->basis, l->n, l->iparam, l->ipntr, l->workd, l->workl, l->lworkl,
             &info);
    if (info != 0) {
        return gm_fail(err, GM_ERR_NUMERIC, "eigenpairs of the %s: ARPACK's dseupd reports %d",
                       l->op->name, (int)info);
    }
    *count = (size_t)l->iparam[4];
    return GM_OK;
}

/* The whole of ARPACK's part, alone in the process. */
static gm_status solve(lanczos *l, size_t *count, gm_error *err)
{
    if (arpack_inside) {
        return gm_fail(
            err, GM_ERR_USAGE,
            "eigenpairs of the %s: started from within a product of another eigenproblem",
            l->op->name);
    }
    if (pthread_mutex_lock(&arpack_lock) != 0) {
        return gm_fail(err, GM_ERR_NUMERIC, "eigenpairs of the %s: no lock", l->op->name);
    }
    arpack_inside = true;
    gm_status status = converse(l, err);
    if (status == GM_OK && !l->zero) status = extract(l, count, err);
    arpack_inside = false;
    pthread_mutex_unlock(&arpack_lock);
    return status;
}

/* Krylov vectors and restarts that stay within max_products: ARPACK takes at most 1 + ncv +
 * restarts (ncv - nev) products, the symmetry check 1, the residuals nev. False where nothing can
 * be had. */
static bool fit(const gm_eigen_options *options, size_t *basis, size_t *restarts)
{
    size_t k = options->k;
    *restarts = MOST_RESTARTS;
    if (options->max_products == 0) return true;
    if (options->max_products < 2 * k + 4) return false;
    size_t budget = options->max_products - k - 2;
    if (2 * *basis - k > budget) *basis = (budget + k) / 2;
    size_t most = (budget - *basis) / (*basis - k);
    if (most < *restarts) *restarts = most;
    return true;
}

/* Pairs of the zero operator: k values 0 with unit vectors. */
static void zero_pairs(gm_eigen *result)
{
    for (size_t j = 0; j < result->count; j++) {
        result->vector[j * result->size + j] = 1.0;
    }
}

/* Krylov vectors of a problem of size n; *dense where it is cheaper to form the operator. */
static size_t choose_basis(size_t n, const gm_eigen_options *options, bool *dense)
{
    size_t k = options->k, basis = options->basis;
    if (basis == 0) {
        basis = 2 * k + 1 > LEAST_BASIS ? 2 * k + 1 : LEAST_BASIS;
        /* A first basis and a restart or two would cost as much. */
        *dense = n <= 2 * basis;
    } else {
        *dense = false;
    }
    if (k + 1 >= n || basis >= n) *dense = true;
    return basis;
}

size_t gm_eigen_bytes(size_t size, const gm_eigen_options *options)
{
    bool dense;
    size_t basis = choose_basis(size, options, &dense);
    if (dense) return gm_eigen_dense_bytes(size, options->k);
    /* The vectors of the start, the symmetry check and ARPACK's workspace, then the result. */
    size_t vectors = basis + 8 + options->k, workspace = (basis + 8) * basis + 4 * basis, numbers;
    if (basis > UINT32_MAX || !gm_mul_size(vectors, size, &numbers) ||
        !gm_add_size(numbers, workspace, &numbers) ||
        !gm_mul_size(numbers, sizeof(double), &numbers))
        return SIZE_MAX;
    return numbers;
}

gm_status gm_eigenpairs(gm_operator *op, const gm_eigen_options *options, gm_eigen *result,
                        gm_error *err)
{
    memset(result, 0, sizeof *result);
    gm_status status = gm_eigen_check(op, options, err);
    if (status != GM_OK) return status;
    size_t k = options->k, n = op->size, restarts, count = 0;
    bool dense;
    size_t basis = choose_basis(n, options, &dense);
    if (dense) return gm_eigen_dense(op, options, result, err);
    if (!fit(options, &basis, &restarts)) {
        status = gm_eigen_alloc(op, 0, result, err);
        if (status == GM_OK) gm_eigen_judge(result, k, options->tol, true);
        return status;
    }

    lanczos l = {.restarts = (a_int)restarts};
    status = lanczos_make(op, options, basis, &l, err);
    if (status != GM_OK) goto done;
    status = solve(&l, &count, err);
    if (status != GM_OK) goto done;
    bool limited = l.info == 1 && restarts < MOST_RESTARTS;
    if (l.zero) count = k;
    status = gm_eigen_alloc(op, count, result, err);
    if (status != GM_OK) goto done;
    if (l.zero) zero_pairs(result);
    for (size_t j = 0; j < count && !l.zero; j++) {
        size_t from = count - 1 - j; /* ARPACK's are ascending */
        result->value[j] = l.value[from] / l.scale;
        memcpy(result->vector + j * n, l.basis + from * n, n * sizeof *l.basis);
    }
    result->scale = l.largest;
    result->products = l.products + count;
    result->blocks = l.blocks + (count > 0);
    lanczos_free(&l); /* the residuals need room of their own */
    status = gm_eigen_residuals(op, count, result->value, result->vector, result->residual, err);
    if (status == GM_OK) gm_eigen_judge(result, k, options->tol, limited);
done:
    lanczos_free(&l);
    if (status != GM_OK) gm_eigen_free(result);
    return status;
}
