/* --method diagonal: exact where the operator knows a way, else (or where asked) estimated. */
#include <math.h>

#include "base/memory.h"
#include "cli/spectrum_methods.h"

static bool estimated(const gm_spectrum_operator *target, const gm_spectrum_settings *set)
{
    return set->estimate || !target->diagonal;
}

gm_diagonal_method gm_spectrum_diagonal_method(const gm_spectrum_settings *set)
{
    return set->estimator == GM_ESTIMATOR_XDIAG ? GM_DIAGONAL_XDIAG : GM_DIAGONAL_HUTCHINSON;
}

gm_status gm_check_diagonal(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                            gm_error *err)
{
    if (estimated(target, set)) return gm_check_trace(target, set, err);
    /* The exact one takes chunks within the budget of activations. */
    const char *idle = set->rel_error > 0 ? "rel-error" : set->max_products ? "max-products" : NULL;
    if (!idle) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--%s: the exact diagonal takes no products; expected beside --estimator "
                   "hutchinson or xdiag",
                   idle);
}

static gm_status estimate(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                          gm_spectrum *s, gm_error *err)
{
    gm_spectrum_diagonal *d = &s->diagonal;
    gm_diagonal_method method = gm_spectrum_diagonal_method(set);
    gm_estimate_options options = gm_spectrum_estimate_options(set, s->size);
    d->std_error = gm_alloc(s->size, sizeof *d->std_error, "errors of the diagonal", err);
    if (!d->std_error) return GM_ERR_MEMORY;
    gm_spectrum_operator_watch(target, set->rel_error > 0 ? 0 : options.max_products);
    gm_status status = gm_diagonal_estimate(&target->op, method, &options, d->value, d->std_error,
                                            &d->estimate, err);
    if (status == GM_OK) s->converged = s->converged && d->estimate.converged;
    return status;
}

gm_status gm_measure_diagonal(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                              gm_spectrum *s, gm_error *err)
{
    gm_spectrum_diagonal *d = &s->diagonal;
    bool by_products = estimated(target, set);
    d->value = gm_alloc(s->size, sizeof *d->value, "diagonal", err);
    if (!d->value) return GM_ERR_MEMORY;
    gm_status status =
        by_products ? estimate(target, set, s, err) : target->diagonal(target, d->value, err);
    if (status != GM_OK) return status;
    double sum = 0;
    d->min = d->max = d->value[0];
    for (size_t i = 0; i < s->size; i++) {
        d->min = fmin(d->min, d->value[i]);
        d->max = fmax(d->max, d->value[i]);
        sum += d->value[i];
    }
    d->mean = sum / (double)s->size;
    if (!s->summed && !by_products) { /* with the dense method it is the matrix's own */
        s->summed = true;
        s->trace.value = sum;
    }
    return GM_OK;
}
