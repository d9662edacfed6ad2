/* The diagonals that a training divides by: exact ones, and that of a training from its run file.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "gradiometer/curvature.h"
#include "kernels/kernels.h"
#include "sgd/update.h"

gm_status gm_precondition_exact(gm_linearization *lin, gm_precondition precondition, double epsilon,
                                double *diagonal, gm_error *err)
{
    bool moment = precondition == GM_PRECONDITION_DIAG_MOMENT;
    if (!moment && precondition != GM_PRECONDITION_DIAG_HESSIAN)
        return gm_fail(err, GM_ERR_USAGE,
                       "preconditioner: found %s, expected diag-moment or diag-hessian",
                       gm_precondition_name(precondition));
    gm_status status =
        gm_curvature_diagonal(lin, moment ? GM_MOMENT : GM_HESSIAN, GM_ALL_LAYERS, diagonal, err);
    size_t p = gm_problem_parameters(gm_linearization_problem(lin));
    for (size_t i = 0; !status && i < p; i++) {
        diagonal[i] = (moment ? sqrt(fmax(diagonal[i], 0.0)) : fabs(diagonal[i])) + epsilon;
    }
    return status;
}

/* How D comes from the last of the state's vectors, in words. */
static const char *formula(const gm_train_options *o)
{
    if (o->optimizer == GM_OPTIMIZER_ADAM) return "sqrt(mean of g^2 without bias)";
    if (o->optimizer == GM_OPTIMIZER_RMSPROP) return "sqrt(running mean of g^2)";
    if (o->optimizer == GM_OPTIMIZER_ADAGRAD) return "sqrt(sum of g^2)";
    switch (o->precondition) {
    case GM_PRECONDITION_RMSPROP:
        return "sqrt(running mean of g^2)";
    case GM_PRECONDITION_ADAGRAD:
        return "sqrt(sum of g^2)";
    case GM_PRECONDITION_DIAG_MOMENT:
        return "sqrt(diag M)";
    case GM_PRECONDITION_DIAG_HESSIAN:
        return "|diag H|";
    case GM_PRECONDITION_NONE:
        break;
    }
    return "";
}

static char *describe(const gm_train_options *o, int64_t step, gm_error *err)
{
    bool own = o->optimizer != GM_OPTIMIZER_SGD;
    const char *name =
        own ? gm_optimizer_name(o->optimizer) : gm_precondition_name(o->precondition);
    char more[64] = "";
    if (o->beta2 > 0.0) snprintf(more, sizeof more, ", beta2 %g", o->beta2);
    if (o->precondition_every)
        snprintf(more, sizeof more, ", anew every %" PRIu64 " steps", o->precondition_every);
    return gm_format(err, "%s: %s + %g%s, at step %" PRId64, name, formula(o), o->epsilon, more,
                     step);
}

static gm_status check_state(gm_run *run, const gm_train_options *o, const gm_run_state *state,
                             gm_error *err)
{
    const char *path = gm_run_path(run);
    bool own = o->optimizer != GM_OPTIMIZER_SGD;
    if (!own && o->precondition == GM_PRECONDITION_NONE)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: trained by plain SGD; expected a run with --precondition or "
                       "--optimizer adam, rmsprop or adagrad",
                       path);
    if (!state) return gm_fail(err, GM_ERR_INPUT, "%s: holds no training (no state)", path);
    if (state->slots != gm_update_slots(o))
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: damaged run file: the state does not fit the settings", path);
    if (own && state->step < 1)
        return gm_fail(err, GM_ERR_INPUT, "%s: %s has no divisor before its first step", path,
                       gm_optimizer_name(o->optimizer));
    return GM_OK;
}

/* From the optimizer's vector, a square or the diagonal itself, to D. */
static gm_status finish_diagonal(gm_run *run, const gm_train_options *o, int64_t step, size_t p,
                                 double *diagonal, gm_error *err)
{
    bool adam = o->optimizer == GM_OPTIMIZER_ADAM;
    bool squares = o->optimizer != GM_OPTIMIZER_SGD || o->precondition == GM_PRECONDITION_RMSPROP ||
                   o->precondition == GM_PRECONDITION_ADAGRAD;
    double unbias = adam ? 1.0 / (1.0 - pow(o->beta2, (double)step)) : 1.0;
    for (size_t i = 0; i < p; i++) {
        double root = squares ? sqrt(diagonal[i] * unbias) : diagonal[i];
        diagonal[i] = root + o->epsilon;
        if (!(diagonal[i] > 0.0) || !isfinite(diagonal[i]))
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: entry %zu of the preconditioner is %g, expected a positive number",
                           gm_run_path(run), i, diagonal[i]);
    }
    return GM_OK;
}

gm_status gm_precondition_from_run(gm_run *run, double **diagonal, size_t *p, char **what,
                                   gm_error *err)
{
    *diagonal = NULL;
    *what = NULL;
    *p = 0;
    gm_train_options options;
    gm_run_state *state = NULL;
    gm_status status = gm_train_options_load(run, &options, err);
    if (!status) status = gm_run_load_state(run, &state, err);
    if (!status) status = check_state(run, &options, state, err);
    if (!status) {
        const gm_kernels *k = gm_kernels_get(state->dtype);
        size_t last = (state->slots - 1) * state->parameters * k->size;
        *p = state->parameters;
        *diagonal = gm_alloc(*p, sizeof **diagonal, "preconditioner", err);
        *what = describe(&options, state->step, err);
        status = *diagonal && *what ? GM_OK : GM_ERR_MEMORY;
        if (!status) {
            k->to_double(*p, (const char *)state->optimizer + last, *diagonal);
            status = finish_diagonal(run, &options, state->step, *p, *diagonal, err);
        }
    }
    gm_run_free(state);
    if (!status) return GM_OK;
    gm_free(*diagonal);
    gm_free(*what);
    *diagonal = NULL;
    *what = NULL;
    *p = 0;
    return status;
}
