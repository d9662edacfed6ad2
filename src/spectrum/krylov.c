/* Eigenpairs from one run of Lanczos' method (lanczos.h), without restarts: where memory holds
 * enough vectors for the pairs to converge, nothing takes fewer products, and a full
 * orthogonalization that reads the basis about once a step takes a small part of their time.
 *
 *   A V = V' B       the products taken, to rounding in double (lanczos.h: B^T is the image)
 *   y = V s          a Ritz vector, T s = theta s
 *   A y - theta y = V' (B s - theta s)
 *
 * gives the true residuals of all pairs, the products' own noise included, without further
 * products. One more, with a random combination x of the vectors, is held against V' B: what
 * differs is the noise of a product, or else the residuals are taken from k products after all. */
#include "spectrum/krylov.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "gradiometer/spectrum.h"
#include "kernels/kernels.h"
#include "spectrum/eigen.h"
#include "spectrum/lanczos.h"
#include "spectrum/ritz.h"

/* Of tol: what T may say where the true residuals shall stay below it. */
static const double share = 0.9;
/* Of tol: how far a product may be from what the image says of it. */
static const double most_off = 0.05;
/* A look at T costs taken^2 operations many times over: in long runs not at every step, but often
 * enough that a 32nd of the products is wasted at most. */
enum { EVERY_STEP = 128, LOOKS = 32 };

typedef struct first_run {
    const gm_eigen_options *options;
    gm_krylov_watch watch; /* of the operator asked about */
    size_t look;           /* steps at the next look */
    bool converged;
} first_run;

static gm_status watched_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    gm_krylov_watch *w = self;
    size_t size = w->op->size;
    gm_status status = gm_operator_apply(w->op, count, v, av, err);
    if (status != GM_OK) return status;
    const gm_kernels *k = gm_kernels_get(GM_F64);
    w->largest = fmax(w->largest, sqrt(k->dot(size, av, av) / k->dot(size, v, v)));
    w->products++;
    if (w->products == 1) memcpy(w->image, av, size * sizeof *av);
    if (w->products == 2) return gm_eigen_symmetric(w->op, w->lanczos->basis, w->image, v, av, err);
    return GM_OK;
}

void gm_krylov_watch_operator(gm_krylov_watch *watch, gm_operator *watched)
{
    *watched = (gm_operator){.size = watch->op->size,
                             .precision = watch->op->precision,
                             .name = watch->op->name,
                             .self = watch,
                             .apply = watched_apply};
}

static gm_status enough_steps(const gm_lanczos *l, void *context, bool *enough, gm_error *err)
{
    first_run *run = context;
    *enough = false;
    if (l->taken <= run->options->k || (l->taken < run->look && l->taken < l->steps)) return GM_OK;
    double tol = run->options->tol, part = share * fmin(1, gm_ritz_loosest / tol);
    double typical = hypot(l->alpha[0], l->beta[0]); /* ||A v_0||, v_0 random */
    gm_status status =
        gm_ritz_converged(run->options, l->taken, l->alpha, l->beta, part, typical, enough, err);
    run->converged = *enough; /* to be asked again, maybe */
    if (!*enough) run->look = l->taken + (l->taken < EVERY_STEP ? 1 : l->taken / LOOKS);
    return status;
}

/* ||A x - V' B s|| for x = V s, s a combination of the rows of coefficient [k, taken] with random
 * signs, as a unit vector. x, ax [size], s [taken], entry [taken + 1] are scratch. One product. */
static gm_status image_error(first_run *run, const double *coefficient, double *x, double *ax,
                             double *s, double *entry, double *error, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    const gm_lanczos *l = run->watch.lanczos;
    size_t m = l->taken, k = run->options->k, size = l->size;
    gm_stream signs = gm_stream_of(run->options->seed, GM_PURPOSE_KRYLOV, 4);
    memset(s, 0, m * sizeof *s);
    for (size_t j = 0; j < k; j++) {
        kernels->axpy(m, gm_rademacher(signs, j) / sqrt((double)k), coefficient + j * m, s);
    }
    memset(x, 0, size * sizeof *x);
    kernels->rows_axpy(m, size, 1, s, l->basis, size, x);
    gm_status status = gm_operator_apply(run->watch.op, 1, x, ax, err);
    if (status != GM_OK) return status;
    gm_lanczos_image(l, s, entry);
    kernels->rows_axpy(m + 1, size, -1, entry, l->basis, size, ax);
    *error = sqrt(kernels->dot(size, ax, ax));
    return GM_OK;
}

/* Residuals of the pairs of result: of the image where it holds for one more product, else by
 * products with every vector. */
static gm_status find_residuals(first_run *run, const double *coefficient, gm_eigen *result,
                                gm_error *err)
{
    const gm_lanczos *l = run->watch.lanczos;
    size_t k = run->options->k, size = l->size;
    double error = 0;
    double *x = gm_alloc_raw(2 * size, sizeof *x, "check of the products", err);
    double *s = gm_alloc(2 * l->taken + 1, sizeof *s, "combination of the vectors", err);
    gm_status status = x && s ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK)
        status = image_error(run, coefficient, x, x + size, s, s + l->taken, &error, err);
    gm_free(x);
    gm_free(s);
    if (status != GM_OK) return status;
    result->check_products = result->blocks = 1;
    result->noise = error;
    for (size_t j = 0; j < k; j++) {
        result->residual[j] = gm_lanczos_residual(l, result->value[j], coefficient + j * l->taken);
    }
    if (error <= most_off * run->options->tol * run->watch.largest) return GM_OK;
    result->check_products += k;
    result->blocks += gm_eigen_residual_blocks(size, k);
    return gm_eigen_residuals(run->watch.op, k, result->value, result->vector, result->residual,
                              err);
}

/* The result of a run that seems to have converged, and whether it has. */
static gm_status confirm(first_run *run, gm_eigen *result, bool *done, gm_error *err)
{
    const gm_lanczos *l = run->watch.lanczos;
    size_t k = run->options->k;
    double *s = gm_alloc(k * l->taken, sizeof *s, "Ritz vectors", err);
    gm_status status = s ? gm_eigen_alloc(run->watch.op, k, result, err) : GM_ERR_MEMORY;
    if (status == GM_OK) {
        status =
            gm_ritz_pairs(run->options, l->taken, l->alpha, l->beta, 1.0, l->basis, s, result, err);
    }
    if (status == GM_OK) status = find_residuals(run, s, result, err);
    gm_free(s);
    if (status != GM_OK) return status;
    result->products = run->watch.products + result->check_products;
    result->blocks += run->watch.products;
    result->scale = run->watch.largest;
    gm_eigen_judge(result, k, run->options->tol, false);
    *done = result->converged_count == k;
    if (!*done) {
        gm_eigen cost = {.products = result->products,
                         .solver_products = result->solver_products,
                         .check_products = result->check_products,
                         .noise = result->noise,
                         .blocks = result->blocks};
        gm_eigen_free(result);
        *result = cost;
    }
    return GM_OK;
}

gm_status gm_eigen_krylov(gm_operator *op, const gm_eigen_options *options, size_t steps,
                          size_t least, gm_eigen *result, bool *done, gm_error *err)
{
    gm_lanczos l = {0};
    first_run run = {.options = options, .watch = {.op = op, .lanczos = &l}, .look = least};
    gm_operator watched;
    gm_krylov_watch_operator(&run.watch, &watched);
    *done = false;
    gm_status status = gm_lanczos_make(op->size, steps, 0, NULL, &l, err);
    /* The image of the first vector has room in the last row, which is reached by nothing before
     * the second product. */
    if (status == GM_OK) status = gm_lanczos_keep_image(&l, err);
    if (status == GM_OK) {
        l.stop = enough_steps;
        l.context = &run;
        run.watch.image = l.basis + steps * op->size;
        gm_normal_fill(gm_stream_of(options->seed, GM_PURPOSE_KRYLOV, 0), 0, op->size, l.basis);
        status = gm_lanczos_run(&watched, &l, err);
    }
    if (status == GM_OK && run.converged && l.beta[l.taken - 1] > 0.0) {
        status = confirm(&run, result, done, err);
    } else {
        result->products = result->solver_products = result->blocks = run.watch.products;
    }
    gm_lanczos_free(&l);
    if (status != GM_OK) gm_eigen_free(result);
    return status;
}
