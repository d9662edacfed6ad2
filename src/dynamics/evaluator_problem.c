/* Losses and gradients of any net, through a problem of the worker's own. Inside the parallel
 * region of the ensemble it uses one thread; its chunks depend on the number of threads, and so do
 * the last bits. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "diff/problem.h"
#include "dynamics/evaluator.h"
#include "gradiometer/curvature.h"
#include "kernels/kernels.h"

typedef struct evaluator {
    gm_evaluator base;
    gm_problem *problem, *test; /* test NULL without */
    const gm_kernels *k;
    size_t p;
    double *wide, *diagonal; /* [p] */
} evaluator;

static gm_status batch(gm_evaluator *base, const void *theta, size_t m, const size_t *index,
                       void *gradient, gm_error *err)
{
    evaluator *e = (evaluator *)base;
    return gm_problem_batch_gradient(e->problem, theta, m, index, NULL, gradient, err);
}

/* wide = theta; false where that is not finite. */
static bool widen(evaluator *e, const void *theta)
{
    e->k->to_double(e->p, theta, e->wide);
    return isfinite(e->k->dot(e->p, theta, theta));
}

static gm_status value(gm_evaluator *base, const void *theta, gm_evaluation *train,
                       gm_evaluation *test, gm_error *err)
{
    evaluator *e = (evaluator *)base;
    *train = (gm_evaluation){(double)INFINITY, 1.0};
    if (test) *test = *train;
    if (!widen(e, theta)) return GM_OK;
    gm_status status = gm_problem_value(e->problem, e->wide, &train->loss, &train->error_rate, err);
    if (status == GM_OK && test)
        status = gm_problem_value(e->test, e->wide, &test->loss, &test->error_rate, err);
    return status;
}

static gm_status full(gm_evaluator *base, const void *theta, void *mu, double *trace, gm_error *err)
{
    evaluator *e = (evaluator *)base;
    gm_linearization *lin = NULL;
    widen(e, theta);
    if (!trace) {
        gm_status status = gm_problem_gradient(e->problem, e->wide, NULL, NULL, e->diagonal, err);
        if (status == GM_OK) e->k->from_double(e->p, e->diagonal, mu);
        return status;
    }
    gm_status status = gm_linearize(e->problem, e->wide, &lin, err);
    if (status == GM_OK) {
        e->k->from_double(e->p, gm_linearization_gradient(lin), mu);
        status = gm_curvature_diagonal(lin, GM_COVARIANCE, GM_ALL_LAYERS, e->diagonal, err);
    }
    *trace = 0.0;
    for (size_t i = 0; status == GM_OK && i < e->p; i++) {
        *trace += e->diagonal[i];
    }
    if (status == GM_ERR_NUMERIC) { /* the squares overflow: a result, as in a diverging run */
        *trace = (double)INFINITY;
        status = GM_OK;
    }
    gm_linearization_free(lin);
    return status;
}

static gm_problem *own_problem(gm_evaluator *base)
{
    return ((evaluator *)base)->problem;
}

static void evaluator_free(gm_evaluator *base)
{
    evaluator *e = (evaluator *)base;
    gm_problem_free(e->test);
    gm_problem_free(e->problem);
    gm_free(e->wide);
    gm_free(e->diagonal);
    gm_free(e);
}

static const gm_evaluator_kind problem_kind = {
    .batch = batch, .value = value, .full = full, .problem = own_problem, .free = evaluator_free};

/* A problem like this one, in its share of the memory, and one rank's own: ranks do different runs.
 */
static gm_status copy_problem(const gm_problem *problem, size_t workers, gm_problem **copy,
                              gm_error *err)
{
    gm_problem_options options = problem->options;
    options.memory = problem->memory / workers;
    options.team = NULL;
    return gm_problem_create(gm_problem_net(problem), gm_problem_data(problem), &options, copy,
                             err);
}

gm_status gm_problem_evaluator(const gm_problem *problem, const gm_problem *test, size_t workers,
                               gm_evaluator **made, gm_error *err)
{
    *made = NULL;
    evaluator *e = gm_alloc(1, sizeof *e, "evaluator", err);
    if (!e) return GM_ERR_MEMORY;
    e->base.kind = &problem_kind;
    e->k = gm_kernels_get(gm_problem_data(problem)->dtype);
    e->p = gm_problem_parameters(problem);
    gm_status status = copy_problem(problem, workers, &e->problem, err);
    if (status == GM_OK && test) status = copy_problem(test, workers, &e->test, err);
    if (status == GM_OK) {
        e->wide = gm_alloc(e->p, sizeof *e->wide, "parameters", err);
        e->diagonal = gm_alloc(e->p, sizeof *e->diagonal, "diagonal", err);
        if (!e->wide || !e->diagonal) status = GM_ERR_MEMORY;
    }
    if (status != GM_OK) {
        evaluator_free(&e->base);
        return status;
    }
    *made = &e->base;
    return GM_OK;
}
