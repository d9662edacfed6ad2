/* The diagonal of the Hessian for the posterior: exact, or by probes scaled by the prior.
 *
 * With S = diag(unit), Hutchinson's estimate of diag(S H S)_j = unit_j^2 H_jj is the mean of
 * v_j (S H S v)_j over random signs v. Re-scaling the layers leaves S H S alone, so that the
 * estimate moves with H as the exact diagonal does, probe by probe (theory section 4). Whatever its
 * error, the bound holds: it is one for every posterior. */
#include "bound/diagonal.h"

#include "base/memory.h"
#include "gradiometer/estimate.h"

enum { PRODUCTS = 100 };

static gm_status estimate(gm_linearization *lin, const double *unit,
                          const gm_gibbs_options *options, size_t *products, double *diagonal,
                          double *error, gm_error *err)
{
    gm_operator h = {0}, watched, scaled = {0};
    gm_operator_watch watch = {&h, options->stop, options->context};
    gm_estimate_options o;
    gm_diagonal_result r = {0};
    gm_estimate_options_default(&o);
    o.max_products = *products;
    o.seed = options->seed;
    gm_status status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &h, err);
    if (status == GM_OK) {
        gm_operator_watched(&watch, &watched);
        status = gm_operator_scaled(&watched, unit, &scaled, err);
    }
    if (status == GM_OK) {
        status =
            gm_diagonal_estimate(&scaled, GM_DIAGONAL_HUTCHINSON, &o, diagonal, error, &r, err);
    }
    for (size_t j = 0; status == GM_OK && j < h.size; j++) {
        diagonal[j] /= unit[j] * unit[j];
        error[j] /= unit[j] * unit[j];
    }
    *products = r.products;
    gm_operator_destroy(&scaled);
    gm_operator_destroy(&h);
    return status;
}

gm_status gm_posterior_diagonal(gm_linearization *lin, const double *unit,
                                const gm_gibbs_options *options, size_t *products, double *diagonal,
                                double **std_error, gm_error *err)
{
    *std_error = NULL;
    if (*products == 0) {
        gm_status status = gm_curvature_diagonal(lin, GM_HESSIAN, GM_ALL_LAYERS, diagonal, err);
        if (status != GM_ERR_USAGE) return status;
        *products = PRODUCTS; /* layers for which there is no exact one */
    }
    size_t p = gm_problem_parameters(gm_linearization_problem(lin));
    *std_error = gm_alloc(p, sizeof **std_error, "errors of diag H", err);
    if (!*std_error) return GM_ERR_MEMORY;
    return estimate(lin, unit, options, products, diagonal, *std_error, err);
}
