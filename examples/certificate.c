/* A bound on the error on new samples that re-scaling the layers does not move (bound.h), classical
 * measures that it does move (measures.h), and a posterior optimized for the bound (posterior.h).
 *
 *     certificate      status 1 where a check fails */
#include "setting.h"

/* What is looked at, at one point with its initialization. */
typedef struct numbers {
    gm_bound bound;
    gm_measures measures;
} numbers;

static gm_status measure(setting *s, const double *theta0, const double *theta, numbers *n,
                         gm_error *err)
{
    gm_linearization *lin = NULL;
    gm_bound_options options;
    gm_measure_options measures;
    gm_bound_options_default(&options);
    options.gibbs.draws = 50;
    gm_measure_options_default(&measures);
    measures.products = false; /* those that take no products with H */
    gm_status status = gm_linearize(s->problem, theta, &lin, err);
    if (!status) status = gm_bound_measure(lin, theta0, &options, &n->bound, err);
    if (!status)
        status = gm_measures_take(lin, theta0, n->bound.diagonal, &measures, &n->measures, err);
    gm_linearization_free(lin);
    return status;
}

/* The same function with other parameters: weights of one layer times alpha, of the other by it. */
static gm_status rescale(setting *s, const double *theta0, const numbers *here, gm_error *err)
{
    numbers there = {0};
    double *factor = malloc(3 * s->p * sizeof *factor);
    if (!factor) return gm_fail(err, GM_ERR_MEMORY, "no memory for re-scaled parameters");
    double *moved0 = factor + s->p, *moved = moved0 + s->p;
    gm_status status = gm_rescaling_make(s->net, 100.0, 0, 0, factor, NULL, err);
    for (size_t j = 0; !status && j < s->p; j++) {
        moved0[j] = factor[j] * theta0[j];
        moved[j] = factor[j] * s->theta[j];
    }
    if (!status) status = measure(s, moved0, moved, &there, err);
    if (!status) {
        double bound = here->bound.best.error.bound;
        agree("bound after re-scaling by 100", there.bound.best.error.bound, bound, 1e-9 * bound);
        printf("  %-34s %14.8g  before %14.8g\n", "tr H", there.measures.value[GM_MEASURE_TRACE],
               here->measures.value[GM_MEASURE_TRACE]);
    }
    gm_bound_free(&there.bound);
    free(factor);
    return status;
}

/* Means and precisions of the posterior, moved to where the bound is smaller. */
static gm_status optimize(setting *s, const double *theta0, const numbers *here, gm_error *err)
{
    const gm_bound *bound = &here->bound;
    gm_optimize_options options;
    gm_optimize_result result;
    gm_certificate_options certify;
    gm_certificate before, after;
    gm_gaussians q = {s->p, theta0, bound->unit, bound->best.prior_scale, s->theta, bound->ratio};
    gm_optimize_options_default(&options);
    options.steps = 300;
    options.batch = 50;
    gm_certificate_options_default(&certify);
    certify.rounds = 100;
    gm_status status = gm_certificate_measure(s->problem, &q, &certify, &before, err);
    if (!status)
        status = gm_posterior_optimize(s->problem, theta0, bound->unit, q.scale, &options, s->theta,
                                       bound->ratio, &result, err);
    if (!status) status = gm_certificate_measure(s->problem, &q, &certify, &after, err);
    if (status) return status;
    printf("  certified error: %.4f from the Hessian, %.4f optimized (KL %.1f, %.1f)\n",
           before.error.bound, after.error.bound, before.divergence.kl, after.divergence.kl);
    holds("optimizing helps", after.error.bound < before.error.bound);
    return GM_OK;
}

int main(void)
{
    gm_error err = {0};
    numbers here = {0};
    double *theta0 = NULL;
    setting s;
    double p = gm_kl_inverse_upper(0.05, 0.1); /* an error of 5 % seen, (KL + ...) / n = 0.1 */
    agree("kl(0.05 || its inverse)", gm_kl_coin(0.05, p), 0.1, 1e-14);
    gm_status status = setting_open("mlp:6-8-3", "gauss:k=3,d=6,n=300,sep=4", &s, &err);
    if (!status) {
        theta0 = malloc(s.p * sizeof *theta0);
        if (!theta0) status = gm_fail(&err, GM_ERR_MEMORY, "no memory for the initialization");
    }
    if (!status) {
        memcpy(theta0, s.theta, s.p * sizeof *theta0); /* must not depend on the samples */
        status = setting_train(&s, 300, 20, 0.1, &err);
    }
    if (!status) status = measure(&s, theta0, s.theta, &here, &err);
    if (!status) {
        const gm_bound_value *error = &here.bound.best.error;
        printf(
            "bound on the error of a drawn net: %.4f = %.4f seen + %.4f + KL/n part %.4f + %.4f\n",
            error->bound, error->empirical, error->monte_carlo, error->divergence,
            error->logarithm);
        holds("it says something", error->bound < 1.0);
        status = rescale(&s, theta0, &here, &err);
    }
    if (!status) status = optimize(&s, theta0, &here, &err);
    gm_bound_free(&here.bound);
    free(theta0);
    setting_close(&s);
    return setting_end(status, &err);
}
