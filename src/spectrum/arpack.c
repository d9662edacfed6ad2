/* Extreme eigenpairs: one run of Lanczos' method where the basis has room enough for them to
 * converge (krylov.h), else ARPACK's implicitly restarted Lanczos method (Lehoucq, Sorensen, Yang
 * 1998, doi:10.1137/1.9780898719628), in reverse communication: ARPACK asks for products with
 * vectors of its workspace until it is satisfied.
 *
 *   n, nev, ncv   size, pairs wanted, Krylov vectors kept (nev < ncv <= n)
 *
 * ARPACK calls a Ritz pair converged at residual <= tol max(eps^(2/3), |value|), which for a small
 * value beside large ones asks for more than the products can give. It is therefore run on c A,
 * with c a power of two that puts ||A x||, x the random start, at eps^(2/3): then values below
 * ||A x|| <= |lambda|_max are all held to tol ||A x||, at any scale of A.
 *
 * ARPACK looks at its Ritz values when the basis is full. They are looked at here in between too,
 * from its own T and V (ritz.h): where the pairs asked for have converged, and the products of
 * their vectors say so too, the rest of the basis is not needed. That T and V are what they are
 * taken for is checked with each product, alpha_i = v_i . A v_i; otherwise ARPACK has its way. */
#include <arpack/arpack.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "gradiometer/spectrum.h"
#include "kernels/kernels.h"
#include "spectrum/basis.h"
#include "spectrum/eigen.h"
#include "spectrum/krylov.h"
#include "spectrum/ritz.h"

enum {
    MOST_ATTEMPTS = 2,       /* early ends that the true residuals may turn down */
    THRESHOLD_EXPONENT = -35 /* 2^-35 >= eps^(2/3) = 2^-35.33, ARPACK's eps being 2^-53 */
};

/* Of tol: what T may say where the true residuals shall stay below it. */
static const double EARLY_SHARE = 0.9;

/* ARPACK keeps its state in Fortran SAVE variables, so one solution at a time; the flag tells an
 * operator's own call from that of another thread. */
static pthread_mutex_t arpack_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool arpack_inside;

typedef struct lanczos {
    gm_operator *op;
    const gm_eigen_options *options;
    const char *which; /* ARPACK's name */
    a_int n, nev, ncv, lworkl;
    a_int restarts; /* at most */
    a_int iparam[11], ipntr[11];
    a_int info;
    double *start, *basis, *workd, *workl; /* [n], [ncv, n], [3, n], [lworkl] */
    double *pair;                          /* [2, n]: x and A x for the symmetry check */
    a_int *select;                         /* [ncv] */
    double *value;                         /* [nev] */
    double *beta;                          /* [ncv] off-diagonal of T */
    uint64_t seed, drawn;                  /* of the start vectors: stream and its next draw */
    double scale;                          /* c; 0 before the first product */
    double typical;                        /* ||A x|| / ||x|| of the random start */
    double largest;                        /* of ||A v|| / ||v||, at most |lambda|_max */
    size_t row, next;                      /* of the basis: last product's; rows at the next look */
    double alpha;                          /* v . c A v of the last product */
    bool readable;                         /* T and V are where they are expected */
    double tol;                            /* ARPACK's: the one asked for, or a tighter one */
    double share;                          /* of the tolerance asked for, at an early end */
    size_t attempts;                       /* early ends turned down */
    size_t products, blocks, checks;       /* checks: products of residuals turned down */
    bool symmetric;                        /* as far as it has been tested */
    bool zero;                             /* A x = 0 for two random vectors: the zero operator */
    bool settled;                          /* ended early, the result is made */
    bool form;                             /* given up: forming the operator is the cheaper way */
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
    gm_free(l->beta);
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
    l->options = options;
    l->n = (a_int)n;
    l->nev = (a_int)options->k;
    l->ncv = (a_int)basis;
    l->lworkl = l->ncv * (l->ncv + 8);
    l->start = gm_alloc(n, sizeof *l->start, "start vector", err);
    l->basis = gm_alloc(entries, sizeof *l->basis, "Krylov vectors", err);
    l->workd = gm_alloc(3 * n, sizeof *l->workd, "Krylov workspace", err);
    l->workl = gm_alloc((size_t)l->lworkl, sizeof *l->workl, "Krylov workspace", err);
    l->pair = gm_alloc(2 * n, sizeof *l->pair, "vectors of the symmetry check", err);
    l->select = gm_alloc(basis, sizeof *l->select, "Krylov workspace", err);
    l->value = gm_alloc(options->k, sizeof *l->value, "Ritz values", err);
    l->beta = gm_alloc(basis, sizeof *l->beta, "tridiagonal matrix", err);
    if (!l->start || !l->basis || !l->workd || !l->workl || !l->pair || !l->select || !l->value ||
        !l->beta)
        return GM_ERR_MEMORY;
    l->seed = options->seed;
    gm_normal_fill(gm_stream_of(l->seed, GM_PURPOSE_KRYLOV, 0), 0, n, l->start);
    l->drawn = n;
    l->row = SIZE_MAX;
    l->readable = true;
    /* Residuals are within a loose tolerance while a pair near the others has not shown up yet;
     * where products are counted, what the user asked for decides. */
    bool loose = options->tol > gm_ritz_loosest && options->max_products == 0;
    l->tol = loose ? gm_ritz_loosest : options->tol;
    l->share = EARLY_SHARE * l->tol / options->tol;
    return GM_OK;
}

static double dot(size_t n, const double *x, const double *y)
{
    return gm_kernels_get(GM_F64)->dot(n, x, y);
}

static gm_status apply(lanczos *l, const double *x, double *y, gm_error *err)
{
    gm_status status = gm_operator_apply(l->op, 1, x, y, err);
    if (status != GM_OK) return status;
    l->products++;
    l->blocks++;
    return GM_OK;
}

/* ARPACK's first request: the start vector x, to be forced into the range of A. A x stands out of
 * the bulk, a better start, but lacks the eigenvalue 0: y = A x + a little x. x and A x are kept:
 * with the first Krylov vector and its product they tell whether A is symmetric. Where A x = 0,
 * another random vector tells whether A is zero. */
static gm_status first_product(lanczos *l, const double *start, double *y, gm_error *err)
{
    size_t n = (size_t)l->n;
    double *x = l->pair, *ax = l->pair + n, size = 0.0;
    memcpy(x, start, n * sizeof *x);
    for (uint32_t draw = 1; draw <= 2; draw++) {
        gm_status status = apply(l, x, ax, err);
        if (status != GM_OK) return status;
        size = sqrt(dot(n, ax, ax) / dot(n, x, x));
        if (!isfinite(size))
            return gm_fail(err, GM_ERR_NUMERIC,
                           "product %zu with the %s is too large: the square of its norm overflows",
                           l->op->products, l->op->name);
        if (size > 0.0) break;
        gm_normal_fill(gm_stream_of(l->seed, GM_PURPOSE_KRYLOV, draw), 0, n, x);
    }
    l->typical = l->largest = size;
    l->zero = size == 0.0;
    l->scale = size > 0.0 ? ldexp(1.0, THRESHOLD_EXPONENT - ilogb(size)) : 1.0;
    for (size_t i = 0; i < n; i++) {
        y[i] = l->scale * (ax[i] + 1e-3 * size * x[i]);
    }
    return GM_OK;
}

enum { LANES = 8 };

/* y = c y; *xy = x . y and *yy = y . y as they were: one pass, several sums for vector
 * instructions. */
static void scale_and_measure(size_t n, double c, const double *restrict x, double *restrict y,
                              double *xy, double *yy)
{
    double cross[LANES] = {0}, square[LANES] = {0};
    size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            double yi = y[i + l];
            cross[l] += x[i + l] * yi;
            square[l] += yi * yi;
            y[i + l] = c * yi;
        }
    }
    *xy = *yy = 0.0;
    for (size_t i = whole; i < n; i++) {
        *xy += x[i] * y[i];
        *yy += y[i] * y[i];
        y[i] *= c;
    }
    for (size_t l = 0; l < LANES; l++) {
        *xy += cross[l];
        *yy += square[l];
    }
}

/* y = c A x for Krylov vector x, of unit length. */
static gm_status krylov_product(lanczos *l, const double *x, double *y, gm_error *err)
{
    size_t n = (size_t)l->n;
    double xy, yy;
    gm_status status = apply(l, x, y, err);
    /* The first one, nearly A x: products of later ones can be small beside their noise. */
    if (status == GM_OK && !l->symmetric)
        status = gm_eigen_symmetric(l->op, l->pair, l->pair + n, x, y, err);
    if (status != GM_OK) return status;
    l->symmetric = true;
    scale_and_measure(n, l->scale, x, y, &xy, &yy);
    l->largest = fmax(l->largest, sqrt(yy));
    l->alpha = l->scale * xy;
    return GM_OK;
}

/* ARPACK's T, documented as the ncv by 2 array that ipntr(5) points at: the off-diagonal from its
 * second row on, then the diagonal. */
static const double *tridiagonal(const lanczos *l)
{
    return l->workl + l->ipntr[4] - 1;
}

/* The row of the basis that holds the vector asked for, after the last one's or, after a restart,
 * anywhere: that many rows of T are complete. SIZE_MAX where T and V are not what they should be.
 */
static size_t complete_rows(lanczos *l, const double *x)
{
    size_t n = (size_t)l->n, ncv = (size_t)l->ncv, row = l->row + 1; /* 0 at first */
    size_t head = (n < 256 ? n : 256) * sizeof *x;
    if (!l->readable) return SIZE_MAX;
    if (row < ncv && memcmp(l->basis + row * n, x, head) == 0) {
        double off = row == 0 ? 0.0 : fabs(tridiagonal(l)[ncv + row - 1] - l->alpha);
        l->readable = off <= 1e-9 * l->scale * l->largest;
    } else {
        for (row = 0; row < ncv && memcmp(l->basis + row * n, x, n * sizeof *x) != 0;) {
            row++;
        }
        l->readable = row < ncv;
        l->next = 0;
    }
    return l->readable ? row : SIZE_MAX;
}

/* Whether the pairs asked for have converged by what T says; not before the basis is as large as
 * the least one that ARPACK is usually given, lest a pair asked for has not shown up yet. */
static gm_status look(lanczos *l, size_t rows, bool *converged, gm_error *err)
{
    size_t k = (size_t)l->nev, n = (size_t)l->n, ncv = (size_t)l->ncv;
    size_t least = gm_basis_least(k);
    *converged = false;
    size_t attempts = l->options->max_products > 0 ? 1 : MOST_ATTEMPTS;
    if (l->products <= least || l->attempts >= attempts || rows < l->next || rows <= k)
        return GM_OK;
    l->next = rows + 1 + rows / 32; /* T is small beside the products, unless k is large */
    const double *t = tridiagonal(l);
    memcpy(l->beta, t + 1, (rows - 1) * sizeof *l->beta);
    l->beta[rows - 1] = sqrt(dot(n, l->start, l->start)); /* ARPACK's residual vector */
    return gm_ritz_converged(l->options, rows, t + ncv, l->beta, l->share, l->scale * l->typical,
                             converged, err);
}

/* The result from the basis as it stands; settled where its true residuals say so too. */
static gm_status settle(lanczos *l, size_t rows, gm_eigen *result, gm_error *err)
{
    size_t k = (size_t)l->nev, ncv = (size_t)l->ncv;
    gm_status status = gm_eigen_alloc(l->op, k, result, err);
    if (status == GM_OK)
        status = gm_ritz_pairs(l->options, rows, tridiagonal(l) + ncv, tridiagonal(l) + 1, l->scale,
                               l->basis, NULL, result, err);
    if (status == GM_OK)
        status = gm_eigen_residuals(l->op, k, result->value, result->vector, result->residual, err);
    if (status == GM_OK) {
        l->checks += k;
        l->blocks += gm_eigen_residual_blocks(l->op->size, k);
        result->scale = l->largest;
        result->products = l->products + l->checks;
        result->check_products = l->checks;
        result->blocks = l->blocks;
        gm_eigen_judge(result, k, l->options->tol, false);
        l->settled = result->converged_count == k;
    }
    if (!l->settled) {
        gm_eigen_free(result);
        l->attempts++;
        l->share *= 0.1;
    }
    return status;
}

/* As many products as forming the operator takes have been spent. */
static bool better_formed(const lanczos *l)
{
    size_t n = (size_t)l->n, spent = l->products + l->checks, most = l->options->max_products;
    return n <= GM_BASIS_FORMED && spent >= n && (most == 0 || spent + n <= most);
}

/* Ends where the pairs have converged, or where it is not worth while to go on. */
static gm_status consider(lanczos *l, const double *x, gm_eigen *result, gm_error *err)
{
    bool converged = false;
    gm_status status = GM_OK;
    l->row = complete_rows(l, x);
    if (l->readable) status = look(l, l->row, &converged, err);
    if (status == GM_OK && converged) status = settle(l, l->row, result, err);
    l->form = !l->settled && better_formed(l);
    return status;
}

/* Answers ARPACK until it has finished, the pairs have converged earlier, it is not worth while
 * any more, or the operator failed. */
static gm_status converse(lanczos *l, gm_eigen *result, gm_error *err)
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
        gm_status status = GM_OK;
        if (l->scale == 0.0) {
            status = first_product(l, x, y, err);
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
        status = consider(l, x, result, err);
        if (status != GM_OK || l->settled || l->form) return status;
        status = krylov_product(l, x, y, err);
        if (status != GM_OK) return status;
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

/* Alone in the process from here to leave(), with a message where this thread is already inside. */
static gm_status enter(const gm_operator *op, gm_error *err)
{
    if (arpack_inside) {
        return gm_fail(
            err, GM_ERR_USAGE,
            "eigenpairs of the %s: started from within a product of another eigenproblem",
            op->name);
    }
    if (pthread_mutex_lock(&arpack_lock) != 0) {
        return gm_fail(err, GM_ERR_NUMERIC, "eigenpairs of the %s: no lock", op->name);
    }
    arpack_inside = true;
    return GM_OK;
}

static void leave(void)
{
    arpack_inside = false;
    pthread_mutex_unlock(&arpack_lock);
}

/* The whole of ARPACK's part. */
static gm_status solve(lanczos *l, gm_eigen *result, size_t *count, gm_error *err)
{
    gm_status status = enter(l->op, err);
    if (status != GM_OK) return status;
    status = converse(l, result, err);
    /* Out of restarts: an operator that is small enough is formed. */
    if (status == GM_OK && l->info == 1 && l->restarts == GM_BASIS_RESTARTS)
        l->form = !l->settled && better_formed(l);
    if (status == GM_OK && !l->zero && !l->settled && !l->form) status = extract(l, count, err);
    leave();
    return status;
}

/* One run of Lanczos' method of as many steps as the basis has room for: where that suffices,
 * nothing is as cheap. */
static gm_status try_first(gm_operator *op, const gm_eigen_options *options, size_t basis,
                           gm_eigen *result, bool *done, gm_error *err)
{
    size_t least = gm_basis_least(options->k);
    *done = false;
    if (options->max_products > 0 || basis <= least) return GM_OK;
    gm_status status = enter(op, err);
    if (status != GM_OK) return status;
    status = gm_eigen_krylov(op, options, basis, least, result, done, err);
    leave();
    return status;
}

/* Pairs of the zero operator: k values 0 with unit vectors. */
static void zero_pairs(gm_eigen *result)
{
    memset(result->vector, 0, result->count * result->size * sizeof *result->vector);
    for (size_t j = 0; j < result->count; j++) {
        result->vector[j * result->size + j] = 1.0;
    }
}

/* The result from where ARPACK left its own: the first rows of the basis, ascending. */
static gm_status finish(lanczos *l, size_t count, gm_eigen *result, gm_error *err)
{
    size_t n = (size_t)l->n, k = (size_t)l->nev;
    bool limited = l->info == 1 && l->restarts < GM_BASIS_RESTARTS;
    double tol = l->options->tol;
    gm_operator *op = l->op;
    gm_status status = gm_eigen_alloc(op, l->zero ? k : count, result, err);
    if (status != GM_OK) return status;
    if (l->zero) zero_pairs(result);
    for (size_t j = 0; j < result->count && !l->zero; j++) {
        size_t from = count - 1 - j;
        result->value[j] = l->value[from] / l->scale;
        memcpy(result->vector + j * n, l->basis + from * n, n * sizeof *l->basis);
    }
    result->scale = l->largest;
    result->check_products = l->checks + result->count;
    result->products = l->products + result->check_products;
    result->blocks = l->blocks + gm_eigen_residual_blocks(n, result->count);
    lanczos_free(l); /* the residuals need room of their own */
    status =
        gm_eigen_residuals(op, result->count, result->value, result->vector, result->residual, err);
    if (status == GM_OK) gm_eigen_judge(result, k, tol, limited);
    return status;
}

gm_status gm_eigenpairs(gm_operator *op, const gm_eigen_options *options, gm_eigen *result,
                        gm_error *err)
{
    memset(result, 0, sizeof *result);
    gm_status status = gm_eigen_check(op, options, err);
    if (status != GM_OK) return status;
    size_t restarts, count = 0;
    bool dense;
    size_t basis = gm_basis_choose(op->size, options, &dense);
    if (dense) return gm_eigen_dense(op, options, result, err);
    size_t restarted = gm_basis_restarted(options, basis);
    if (!gm_basis_fit(options, &restarted, &restarts)) {
        status = gm_eigen_alloc(op, 0, result, err);
        if (status == GM_OK) gm_eigen_judge(result, options->k, options->tol, true);
        return status;
    }

    bool done;
    status = try_first(op, options, basis, result, &done, err);
    if (status != GM_OK || done) return status;
    lanczos l = {.restarts = (a_int)restarts};
    l.checks = result->check_products;
    l.blocks = result->blocks;
    size_t first = result->solver_products;
    double noise = result->noise;
    *result = (gm_eigen){0};
    status = lanczos_make(op, options, restarted, &l, err);
    l.products = first;
    if (status == GM_OK) status = solve(&l, result, &count, err);
    if (status == GM_OK && l.form) {
        size_t products = l.products, checks = l.checks, blocks = l.blocks;
        lanczos_free(&l);
        status = gm_eigen_dense(op, options, result, err);
        result->products += products + checks;
        result->solver_products += products;
        result->check_products += checks;
        result->blocks += blocks;
    } else if (status == GM_OK && !l.settled) {
        status = finish(&l, count, result, err);
    }
    lanczos_free(&l);
    result->noise = noise;
    if (status != GM_OK) gm_eigen_free(result);
    return status;
}
