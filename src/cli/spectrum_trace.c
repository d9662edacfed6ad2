/* --method trace: trace and Frobenius norm by random probes. */
#include <math.h>
#include <stdio.h>

#include "cli/spectrum_methods.h"

enum { PRODUCTS = 300, MOST_PRODUCTS = 10000 };

double gm_estimate_bytes(gm_spectrum_estimator estimator, size_t products, size_t size)
{
    double p = (double)size, n = (double)products, vectors = 0;
    switch (estimator) { /* as gradiometer/estimate.h states them */
    case GM_ESTIMATOR_HUTCHINSON:
        vectors = 34;
        break;
    case GM_ESTIMATOR_HUTCHPP:
        vectors = 32 + 3 * fmin(n / 3, p);
        break;
    case GM_ESTIMATOR_XTRACE:
        vectors = 3 * fmin(n / 2, p);
        break;
    case GM_ESTIMATOR_XDIAG:
        vectors = 5 * fmin(n / 2, p);
        break;
    }
    return vectors * p * (double)sizeof(double);
}

size_t gm_estimate_limit(const gm_spectrum_settings *set, size_t size)
{
    if (set->max_products) return set->max_products;
    if (!(set->rel_error > 0)) return PRODUCTS;
    size_t limit = MOST_PRODUCTS;
    while (limit > PRODUCTS &&
           gm_estimate_bytes(set->estimator, limit, size) > (double)set->memory) {
        limit -= limit / 8;
    }
    return limit;
}

void gm_choose_estimator(gm_cli *cli, size_t size, gm_spectrum_settings *set)
{
    bool trace = set->method == GM_METHOD_TRACE;
    set->estimator = trace ? GM_ESTIMATOR_XTRACE : GM_ESTIMATOR_XDIAG;
    double bytes = gm_estimate_bytes(set->estimator, gm_estimate_limit(set, size), size);
    bool fits = bytes <= (double)set->memory;
    if (!fits) set->estimator = GM_ESTIMATOR_HUTCHINSON;
    if (!trace) return;
    if (fits) {
        gm_cli_note(cli, "estimator xtrace, the default where its vectors fit the memory");
    } else {
        gm_cli_note(cli, "estimator hutchinson: the vectors of xtrace would take %.4g MiB",
                    bytes / 0x1p20);
    }
}

gm_status gm_check_trace(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                         gm_error *err)
{
    static const size_t fewest[] = {2, 6, 4, 4};
    if (set->max_products && set->max_products < fewest[set->estimator]) {
        return gm_fail(err, GM_ERR_USAGE, "--max-products: found %zu, expected at least %zu for %s",
                       set->max_products, fewest[set->estimator],
                       gm_spectrum_estimators[set->estimator]);
    }
    size_t size = target->op.size, limit = gm_estimate_limit(set, size);
    char what[96];
    snprintf(what, sizeof what, "%s with up to %zu products of %zu numbers",
             gm_spectrum_estimators[set->estimator], limit, size);
    return gm_spectrum_fits(set, what, gm_estimate_bytes(set->estimator, limit, size), err);
}

gm_status gm_measure_trace(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_spectrum *s, gm_error *err)
{
    static const gm_trace_method methods[] = {[GM_ESTIMATOR_HUTCHINSON] = GM_TRACE_HUTCHINSON,
                                              [GM_ESTIMATOR_HUTCHPP] = GM_TRACE_HUTCHPP,
                                              [GM_ESTIMATOR_XTRACE] = GM_TRACE_XTRACE};
    gm_estimate_options options;
    gm_estimate_options_default(&options);
    options.max_products = gm_estimate_limit(set, s->size);
    options.rel_error = set->rel_error;
    options.seed = set->seed;
    gm_spectrum_operator_watch(target, set->rel_error > 0 ? 0 : options.max_products);
    gm_status status =
        gm_trace_estimate(&target->op, methods[set->estimator], &options, &s->estimate, err);
    if (status != GM_OK) return status;
    s->summed = s->normed = true;
    s->trace = s->estimate.trace;
    s->frobenius = s->estimate.frobenius;
    s->trace_products = s->estimate.products;
    s->converged = s->estimate.converged;
    return GM_OK;
}
