/* --method trace: trace and Frobenius norm by random probes. */
#include <math.h>
#include <stdio.h>

#include "cli/spectrum_methods.h"

enum { PRODUCTS = 300, MOST_PRODUCTS = 10000 };

static const gm_trace_method trace_methods[] = {[GM_ESTIMATOR_HUTCHINSON] = GM_TRACE_HUTCHINSON,
                                                [GM_ESTIMATOR_HUTCHPP] = GM_TRACE_HUTCHPP,
                                                [GM_ESTIMATOR_XTRACE] = GM_TRACE_XTRACE};

gm_estimate_options gm_spectrum_estimate_options(const gm_spectrum_settings *set, size_t size)
{
    gm_estimate_options options;
    gm_estimate_options_default(&options);
    options.max_products = gm_estimate_limit(set, size);
    options.rel_error = set->rel_error;
    options.seed = set->seed;
    options.team = set->probers;
    return options;
}

/* Memory of the estimate with so many products at the most. */
static double bytes_of(const gm_spectrum_settings *set, size_t products, size_t size)
{
    gm_estimate_options options;
    gm_estimate_options_default(&options);
    options.max_products = products;
    options.rel_error = set->rel_error;
    if (set->method == GM_METHOD_TRACE) {
        return (double)gm_trace_bytes(size, trace_methods[set->estimator], &options);
    }
    return (double)gm_diagonal_bytes(size, gm_spectrum_diagonal_method(set), &options);
}

size_t gm_estimate_limit(const gm_spectrum_settings *set, size_t size)
{
    if (set->max_products) return set->max_products;
    if (!(set->rel_error > 0)) return PRODUCTS;
    size_t limit = MOST_PRODUCTS;
    while (limit > PRODUCTS && bytes_of(set, limit, size) > (double)set->memory) {
        limit -= limit / 8;
    }
    return limit;
}

void gm_choose_estimator(gm_cli *cli, size_t size, gm_spectrum_settings *set)
{
    bool trace = set->method == GM_METHOD_TRACE;
    set->estimator = trace ? GM_ESTIMATOR_XTRACE : GM_ESTIMATOR_XDIAG;
    double bytes = bytes_of(set, gm_estimate_limit(set, size), size);
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
    return gm_spectrum_fits(set, what, bytes_of(set, limit, size), err);
}

gm_status gm_measure_trace(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_spectrum *s, gm_error *err)
{
    gm_estimate_options options = gm_spectrum_estimate_options(set, s->size);
    gm_spectrum_operator_watch(target, set->rel_error > 0 ? 0 : options.max_products);
    gm_status status =
        gm_trace_estimate(&target->op, trace_methods[set->estimator], &options, &s->estimate, err);
    if (status != GM_OK) return status;
    s->summed = s->normed = true;
    s->trace = s->estimate.trace;
    s->frobenius = s->estimate.frobenius;
    s->trace_products = s->estimate.products;
    s->converged = s->estimate.converged;
    return GM_OK;
}
