/* One run of an ensemble.
 *
 * At the top of step t stands theta_t. In turn: its loss, where t or the step before is recorded;
 * what is recorded at t and follows from theta_t; the batch of step t and its gradient g_t; what
 * follows from that; the update. Delta_{t-1} and cos(g_{t-1}, g_t) become known in step t. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/ensemble.h"
#include "net/net.h"

/* ---- the worker ---- */

gm_status gm_ensemble_worker_init(gm_ensemble_worker *w, const gm_ensemble *e, size_t workers,
                                  const gm_ensemble_hooks *hooks, gm_error *err)
{
    *w = (gm_ensemble_worker){.e = e, .hooks = hooks};
    gm_status status =
        e->tiles ? gm_tiles_evaluator(e->tiles, e->options.train.batch, &w->evaluator, err)
                 : gm_problem_evaluator(e->problem, e->test, workers, &w->evaluator, err);
    if (status != GM_OK) return status;
    void **vector[] = {&w->theta, &w->start, &w->gradient[0], &w->gradient[1], &w->mu, &w->moved};
    for (size_t i = 0; i < sizeof vector / sizeof *vector; i++) {
        *vector[i] = gm_alloc(e->p, e->k->size, "parameters of a run", err);
        if (!*vector[i]) return GM_ERR_MEMORY;
    }
    w->wide = gm_alloc(e->p, sizeof *w->wide, "parameters of a run", err);
    w->index = gm_alloc(e->options.train.batch, sizeof *w->index, "mini-batch", err);
    return w->wide && w->index ? GM_OK : GM_ERR_MEMORY;
}

void gm_ensemble_worker_free(gm_ensemble_worker *w)
{
    gm_evaluator_free(w->evaluator);
    void *vector[] = {w->theta, w->start, w->gradient[0], w->gradient[1],
                      w->mu,    w->moved, w->wide,        w->index};
    for (size_t i = 0; i < sizeof vector / sizeof *vector; i++) {
        gm_free(vector[i]);
    }
    *w = (gm_ensemble_worker){0};
}

/* ---- one run ---- */

typedef struct run_state {
    gm_ensemble_worker *w;
    double *row;
    size_t diverged;
    gm_sampler *sampler;
    gm_update update;
    void *gradient, *before; /* g_t, g_{t-1} */
    double loss, loss_before;
    double square, square_before; /* of g_t, g_{t-1} */
} run_state;

/* Quantities that a forward pass over the whole set gives. */
static const unsigned of_value = 1u << GM_QUANTITY_LOSS | 1u << GM_QUANTITY_DELTA |
                                 1u << GM_QUANTITY_ERROR | 1u << GM_QUANTITY_TEST_ERROR;

static bool recorded(const gm_ensemble *e, gm_quantity quantity)
{
    return (e->options.record >> quantity) & 1u;
}

static void note(run_state *r, gm_quantity quantity, size_t slot, double value)
{
    const gm_ensemble *e = r->w->e;
    for (size_t q = 0; q < e->quantities; q++) {
        if (e->quantity[q] == quantity) r->row[q * e->steps + slot] = value;
    }
}

/* NaN where either vector vanishes. */
static double cosine(double product, double square_a, double square_b)
{
    double norms = sqrt(square_a) * sqrt(square_b);
    return norms > 0.0 ? fmax(-1.0, fmin(1.0, product / norms)) : (double)NAN;
}

static double distance(const run_state *r)
{
    const gm_ensemble_worker *w = r->w;
    const gm_ensemble *e = w->e;
    memcpy(w->moved, w->theta, e->p * e->k->size);
    e->k->axpy(e->p, -1.0, w->start, w->moved);
    return sqrt(e->k->dot(e->p, w->moved, w->moved));
}

/* From the first recorded step at or after t on, the loss and the distance are infinite and all
 * else has no value. */
static void diverge(run_state *r, uint64_t t)
{
    const gm_ensemble *e = r->w->e;
    size_t slot = 0;
    while (!gm_ensemble_slot(e, t, &slot)) {
        t++;
    }
    r->diverged = slot;
    for (; slot < e->steps; slot++) {
        note(r, GM_QUANTITY_LOSS, slot, (double)INFINITY);
        note(r, GM_QUANTITY_DISTANCE, slot, (double)INFINITY);
    }
}

/* The loss at theta_t where it is wanted, and what follows from it; *ended where the run diverged.
 */
static gm_status measure_value(run_state *r, uint64_t t, bool *ended, gm_error *err)
{
    const gm_ensemble *e = r->w->e;
    size_t slot = 0, before = 0;
    bool here = gm_ensemble_slot(e, t, &slot);
    bool after = t > 0 && recorded(e, GM_QUANTITY_DELTA) && gm_ensemble_slot(e, t - 1, &before);
    if (here && recorded(e, GM_QUANTITY_DISTANCE)) note(r, GM_QUANTITY_DISTANCE, slot, distance(r));
    if (!after && !(here && (e->options.record & of_value))) { /* theta alone tells */
        *ended = !isfinite(e->k->dot(e->p, r->w->theta, r->w->theta));
        if (*ended) diverge(r, t);
        return GM_OK;
    }
    double error_rate = 0.0, test_error = 0.0;
    bool test = here && recorded(e, GM_QUANTITY_TEST_ERROR);
    gm_status status = gm_evaluator_value(r->w->evaluator, r->w->theta, &r->loss, &error_rate,
                                          test ? &test_error : NULL, err);
    if (status != GM_OK) return status;
    if (after) note(r, GM_QUANTITY_DELTA, before, r->loss - r->loss_before);
    r->loss_before = r->loss;
    if (!isfinite(r->loss)) {
        *ended = true;
        diverge(r, t);
        return GM_OK;
    }
    if (!here) return GM_OK;
    note(r, GM_QUANTITY_LOSS, slot, r->loss);
    note(r, GM_QUANTITY_ERROR, slot, error_rate);
    if (test) note(r, GM_QUANTITY_TEST_ERROR, slot, test_error);
    return GM_OK;
}

/* mu_t and tr Sigma_t; at the last step there is no g_t. */
static gm_status measure_gradient(run_state *r, uint64_t t, gm_error *err)
{
    const gm_ensemble_worker *w = r->w;
    const gm_ensemble *e = w->e;
    size_t slot = 0;
    double trace = 0.0;
    if (!gm_ensemble_measures(e, t) || !gm_ensemble_slot(e, t, &slot)) return GM_OK;
    gm_status status = gm_evaluator_full(w->evaluator, w->theta, w->mu,
                                         recorded(e, GM_QUANTITY_NOISE_TRACE) ? &trace : NULL, err);
    if (status != GM_OK) return status;
    double square = e->k->dot(e->p, w->mu, w->mu);
    note(r, GM_QUANTITY_GRADIENT_SQUARE, slot, square);
    note(r, GM_QUANTITY_NOISE_TRACE, slot, trace);
    if (t < e->options.train.steps) {
        double product = e->k->dot(e->p, w->mu, r->gradient);
        note(r, GM_QUANTITY_MEAN_COSINE, slot, cosine(product, square, r->square));
    }
    return GM_OK;
}

/* g_t, and its angle with the one before. */
static gm_status draw(run_state *r, uint64_t t, gm_error *err)
{
    const gm_ensemble_worker *w = r->w;
    const gm_ensemble *e = w->e;
    size_t before = 0;
    void *swap = r->before;
    r->before = r->gradient;
    r->gradient = swap;
    r->square_before = r->square;
    size_t m = gm_sampler_draw(r->sampler, t, w->index);
    gm_status status = gm_evaluator_batch(w->evaluator, w->theta, m, w->index, r->gradient, err);
    if (status != GM_OK) return status;
    r->square = e->k->dot(e->p, r->gradient, r->gradient);
    if (t > 0 && recorded(e, GM_QUANTITY_COSINE) && gm_ensemble_slot(e, t - 1, &before)) {
        double product = e->k->dot(e->p, r->before, r->gradient);
        note(r, GM_QUANTITY_COSINE, before, cosine(product, r->square_before, r->square));
    }
    return GM_OK;
}

static gm_status update(run_state *r, uint64_t t, bool *ended, gm_error *err)
{
    const gm_ensemble_worker *w = r->w;
    gm_problem *problem = w->evaluator->kind->problem(w->evaluator);
    const gm_train_options *o = &r->update.options;
    double eta = gm_policy_step(&o->policy, o->step, t, o->steps);
    gm_update_apply(&r->update, t, eta, r->gradient, w->theta);
    if (!r->update.options.precondition_every) return GM_OK;
    gm_status status = gm_update_prepare(&r->update, problem, t + 1, w->theta, err);
    if (status != GM_ERR_NUMERIC) return status;
    *ended = true; /* the exact diagonal is not finite */
    diverge(r, t + 1);
    return GM_OK;
}

static gm_status run_steps(run_state *r, gm_error *err)
{
    const gm_ensemble_hooks *hooks = r->w->hooks;
    const uint64_t steps = r->w->e->options.train.steps;
    bool ended = false;
    for (uint64_t t = 0;; t++) {
        gm_status status = measure_value(r, t, &ended, err);
        if (status == GM_OK && !ended && t < steps) status = draw(r, t, err);
        if (status == GM_OK && !ended) status = measure_gradient(r, t, err);
        if (status != GM_OK || t == steps) return status;
        if (!ended) status = update(r, t, &ended, err);
        if (status != GM_OK) return status;
        __atomic_add_fetch(&r->w->steps, ended ? steps - t : 1, __ATOMIC_RELAXED);
        if (ended) return GM_OK;
        if (hooks && hooks->stop && hooks->stop(hooks->context))
            return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted");
    }
}

static void take_start(const run_state *r, uint32_t run)
{
    const gm_ensemble_worker *w = r->w;
    const gm_ensemble *e = w->e;
    if (e->options.fresh) {
        gm_net_init(gm_problem_net(e->problem), GM_INIT_HE, e->options.train.seed, run, w->wide);
        e->k->from_double(e->p, w->wide, w->start);
    } else {
        memcpy(w->start, e->start, e->p * e->k->size);
    }
    memcpy(w->theta, w->start, e->p * e->k->size);
}

gm_status gm_ensemble_one(gm_ensemble_worker *w, uint32_t run, double *row, size_t *diverged,
                          double *last, gm_error *err)
{
    const gm_ensemble *e = w->e;
    gm_train_options options = e->options.train;
    options.run = run;
    run_state r = {.w = w,
                   .row = row,
                   .diverged = e->steps,
                   .gradient = w->gradient[0],
                   .before = w->gradient[1]};
    for (size_t i = 0; i < e->quantities * e->steps; i++) {
        row[i] = (double)NAN;
    }
    take_start(&r, run);
    gm_status status = gm_sampler_create(gm_problem_data(e->problem)->n, options.batch,
                                         options.replacement, options.seed, run, &r.sampler, err);
    if (status == GM_OK) status = gm_update_init(&r.update, &options, e->k, e->p, err);
    if (status == GM_OK) {
        gm_problem *problem = w->evaluator->kind->problem(w->evaluator);
        status = gm_update_start(&r.update, problem, w->theta, err);
    }
    if (status == GM_OK) status = run_steps(&r, err);
    *diverged = r.diverged;
    if (status == GM_OK && last) e->k->to_double(e->p, w->theta, last);
    gm_update_free(&r.update);
    gm_sampler_free(r.sampler);
    return status;
}
