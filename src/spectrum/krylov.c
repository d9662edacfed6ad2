/* Eigenpairs from one run of Lanczos' method (lanczos.h), without restarts: where memory holds
 * enough vectors for the pairs to converge, nothing takes fewer products, and a full
 * orthogonalization that reads the basis about once a step takes a small part of their time. */
#include "spectrum/krylov.h"

#include <math.h>
#include <string.h>

#include "gradiometer/random.h"
#include "gradiometer/spectrum.h"
#include "kernels/kernels.h"
#include "spectrum/eigen.h"
#include "spectrum/lanczos.h"
#include "spectrum/ritz.h"

/* Of tol: what T may say where the true residuals shall stay below it. */
static const double share = 0.9;

typedef struct first_run {
    gm_operator *op; /* the one asked about */
    const gm_eigen_options *options;
    const gm_lanczos *lanczos;
    double *image;  /* [size] A v_0 */
    double largest; /* of ||A v|| */
    size_t least, products;
    bool converged;
} first_run;

/* The operator's product. The two first ones tell whether it is symmetric. */
static gm_status first_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    first_run *run = self;
    size_t size = run->op->size;
    gm_status status = gm_operator_apply(run->op, count, v, av, err);
    if (status != GM_OK) return status;
    const gm_kernels *k = gm_kernels_get(GM_F64);
    run->largest = fmax(run->largest, sqrt(k->dot(size, av, av) / k->dot(size, v, v)));
    run->products++;
    if (run->products == 1) memcpy(run->image, av, size * sizeof *av);
    if (run->products == 2) {
        return gm_eigen_symmetric(run->op, run->lanczos->basis, run->image, v, av, err);
    }
    return GM_OK;
}

static gm_status enough_steps(const gm_lanczos *l, void *context, bool *enough, gm_error *err)
{
    first_run *run = context;
    *enough = false;
    if (l->taken < run->least || l->taken <= run->options->k) return GM_OK;
    double typical = hypot(l->alpha[0], l->beta[0]); /* ||A v_0||, v_0 random */
    gm_status status =
        gm_ritz_converged(run->options, l->taken, l->alpha, l->beta, share, typical, enough, err);
    run->converged = *enough;
    return status;
}

/* The result of a run that seems to have converged, and whether it has. */
static gm_status confirm(const first_run *run, gm_eigen *result, bool *done, gm_error *err)
{
    const gm_lanczos *l = run->lanczos;
    size_t k = run->options->k;
    gm_status status = gm_eigen_alloc(run->op, k, result, err);
    if (status == GM_OK) {
        status =
            gm_ritz_pairs(run->options, l->taken, l->alpha, l->beta, 1.0, l->basis, result, err);
    }
    if (status == GM_OK) {
        status =
            gm_eigen_residuals(run->op, k, result->value, result->vector, result->residual, err);
    }
    if (status != GM_OK) return status;
    result->scale = run->largest;
    gm_eigen_judge(result, k, run->options->tol, false);
    *done = result->converged_count == k;
    if (!*done) gm_eigen_free(result);
    result->check_products = k;
    result->products = run->products + k;
    result->blocks = run->products + gm_eigen_residual_blocks(run->op->size, k);
    result->solver_products = run->products;
    return GM_OK;
}

gm_status gm_eigen_krylov(gm_operator *op, const gm_eigen_options *options, size_t steps,
                          size_t least, gm_eigen *result, bool *done, gm_error *err)
{
    gm_lanczos l = {0};
    first_run run = {.op = op, .options = options, .lanczos = &l, .least = least};
    gm_operator counted = {.size = op->size,
                           .precision = op->precision,
                           .name = op->name,
                           .self = &run,
                           .apply = first_apply};
    *done = false;
    gm_status status = gm_lanczos_make(op->size, steps, 0, NULL, &l, err);
    /* The image of the first vector has room in the last row, which is reached by nothing before
     * the second product. */
    if (status == GM_OK) {
        l.stop = enough_steps;
        l.context = &run;
        run.image = l.basis + steps * op->size;
        gm_normal_fill(gm_stream_of(options->seed, GM_PURPOSE_KRYLOV, 0), 0, op->size, l.basis);
        status = gm_lanczos_run(&counted, &l, err);
    }
    if (status == GM_OK && run.converged && l.beta[l.taken - 1] > 0.0) {
        status = confirm(&run, result, done, err);
    } else {
        result->products = result->solver_products = result->blocks = run.products;
    }
    gm_lanczos_free(&l);
    if (status != GM_OK) gm_eigen_free(result);
    return status;
}
