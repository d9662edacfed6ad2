/* One run of an ensemble.
 *
 * At the top of step t stands theta_t. In turn: its loss, where t or the step before is recorded;
 * what is recorded at t and follows from theta_t; the batch of step t and its gradient g_t; what
 * follows from that; the update. Delta_{t-1} and cos(g_{t-1}, g_t) become known in step t. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/ensemble.h"
#include "gradiometer/random.h"
#include "net/net.h"

/* ---- the worker ---- */

gm_status gm_ensemble_worker_init(gm_ensemble_worker *w, const gm_ensemble *e, size_t workers,
                                  const gm_ensemble_hooks *hooks, gm_error *err)
{
    *w = (gm_ensemble_worker){.e = e, .hooks = hooks, .workers = workers};
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
    w->z = gm_alloc(e->options.scatters, sizeof *w->z, "scattered start", err);
    return w->wide && w->index && w->z ? GM_OK : GM_ERR_MEMORY;
}

void gm_ensemble_worker_free(gm_ensemble_worker *w)
{
    gm_evaluator_free(w->evaluator);
    void *vector[] = {w->theta, w->start, w->gradient[0], w->gradient[1], w->mu, w->moved, w->wide,
                      w->index, w->z};
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
    gm_problem *problem;     /* the worker's own, NULL on tiles */
    gm_stepper *stepper;     /* of policies that look at theta_t, else NULL */
    double *divisor;         /* [p] for these, with a preconditioner; else NULL */
    double eta;              /* of step t */
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
    gm_evaluation on_train = {0}, on_test = {0};
    bool test = here && recorded(e, GM_QUANTITY_TEST_ERROR);
    gm_status status =
        gm_evaluator_value(r->w->evaluator, r->w->theta, &on_train, test ? &on_test : NULL, err);
    if (status != GM_OK) return status;
    r->loss = on_train.loss;
    if (after) note(r, GM_QUANTITY_DELTA, before, r->loss - r->loss_before);
    r->loss_before = r->loss;
    if (!isfinite(r->loss)) {
        *ended = true;
        diverge(r, t);
        return GM_OK;
    }
    if (!here) return GM_OK;
    note(r, GM_QUANTITY_LOSS, slot, r->loss);
    note(r, GM_QUANTITY_ERROR, slot, on_train.error_rate);
    if (test) note(r, GM_QUANTITY_TEST_ERROR, slot, on_test.error_rate);
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
    gm_status status =
        r->stepper ? gm_stepper_gradient(r->stepper, t, w->theta, m, w->index, r->divisor, NULL,
                                         r->gradient, err)
                   : gm_evaluator_batch(w->evaluator, w->theta, m, w->index, r->gradient, err);
    if (status != GM_OK) return status;
    r->square = e->k->dot(e->p, r->gradient, r->gradient);
    if (t > 0 && recorded(e, GM_QUANTITY_COSINE) && gm_ensemble_slot(e, t - 1, &before)) {
        double product = e->k->dot(e->p, r->before, r->gradient);
        note(r, GM_QUANTITY_COSINE, before, cosine(product, r->square_before, r->square));
    }
    return GM_OK;
}

/* What a measurement that must be finite could not give ends the run as a loss does. */
static gm_status unless_numeric(run_state *r, uint64_t t, gm_status status, bool *ended)
{
    if (status != GM_ERR_NUMERIC) return status;
    *ended = true;
    diverge(r, t);
    return GM_OK;
}

/* eta_t, before the batch of step t is drawn. */
static gm_status choose_step(run_state *r, uint64_t t, bool *ended, gm_error *err)
{
    const gm_ensemble_worker *w = r->w;
    const gm_train_options *o = &w->e->options.train;
    gm_step_choice choice = {0};
    if (!r->stepper) {
        r->eta = gm_policy_step(&o->policy, o->step, t, o->steps);
        return GM_OK;
    }
    w->e->k->to_double(w->e->p, w->theta, w->wide);
    if (r->divisor) gm_update_divisor(&r->update, r->divisor);
    gm_status status = gm_stepper_choose(r->stepper, t, w->wide, r->divisor, &choice, err);
    r->eta = choice.step;
    return unless_numeric(r, t, status, ended);
}

static gm_status update(run_state *r, uint64_t t, bool *ended, gm_error *err)
{
    const gm_ensemble_worker *w = r->w;
    gm_update_apply(&r->update, t, r->eta, r->gradient, w->theta);
    if (!r->update.options.precondition_every) return GM_OK;
    gm_status status = gm_update_prepare(&r->update, r->problem, t + 1, w->theta, err);
    return unless_numeric(r, t + 1, status, ended);
}

/* `more` steps are done. */
static void tell(gm_ensemble_worker *w, uint64_t more)
{
    __atomic_add_fetch(&w->steps, more, __ATOMIC_RELAXED);
    if (!w->team) return;
    uint64_t done = w->before;
    for (size_t i = 0; i < w->workers; i++) {
        done += __atomic_load_n(&w->team[i].steps, __ATOMIC_RELAXED);
    }
    w->hooks->progress(w->hooks->context, done);
}

static gm_status run_steps(run_state *r, gm_error *err)
{
    const gm_ensemble_hooks *hooks = r->w->hooks;
    const uint64_t steps = r->w->e->options.train.steps;
    bool ended = false;
    for (uint64_t t = 0;; t++) {
        gm_status status = measure_value(r, t, &ended, err);
        if (status == GM_OK && !ended && t < steps) status = choose_step(r, t, &ended, err);
        if (status == GM_OK && !ended && t < steps) status = draw(r, t, err);
        if (status == GM_OK && !ended) status = measure_gradient(r, t, err);
        if (status != GM_OK || t == steps) return status;
        if (!ended) status = update(r, t, &ended, err);
        if (status != GM_OK) return status;
        tell(r->w, ended ? steps - t : 1);
        if (ended) return GM_OK;
        if (hooks && hooks->stop && hooks->stop(hooks->context))
            return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted");
    }
}

void gm_ensemble_scatter_draw(uint64_t seed, uint32_t run, size_t count, double *z)
{
    gm_normal_fill(gm_stream_of(seed, GM_PURPOSE_SCATTER, run), 0, count, z);
}

/* theta moves away from the start. */
static void scatter(const gm_ensemble_worker *w, uint32_t run)
{
    const gm_ensemble_options *o = &w->e->options;
    size_t p = w->e->p;
    w->e->k->to_double(p, w->start, w->wide);
    gm_ensemble_scatter_draw(o->train.seed, run, o->scatters, w->z);
    for (size_t a = 0; a < o->scatters; a++) {
        for (size_t i = 0; i < p; i++) {
            w->wide[i] += w->z[a] * o->scatter[a * p + i];
        }
    }
    w->e->k->from_double(p, w->wide, w->theta);
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
    if (e->options.scatters && !e->options.fresh) scatter(w, run);
}

/* The optimizer's vectors and the policy's, at theta_0. */
static gm_status start_update(run_state *r, const gm_train_options *o, gm_error *err)
{
    const gm_ensemble *e = r->w->e;
    gm_status status = gm_update_init(&r->update, o, e->k, e->p, err);
    if (status == GM_OK) status = gm_update_start(&r->update, r->problem, r->w->theta, err);
    if (status != GM_OK || gm_policy_timed(&o->policy)) return status;
    status = gm_stepper_create(r->problem, &o->policy, o->batch, o->replacement, o->seed, o->run,
                               &r->stepper, err);
    if (status != GM_OK) return status;
    if (o->precondition != GM_PRECONDITION_NONE) {
        r->divisor = gm_alloc(e->p, sizeof *r->divisor, "preconditioner", err);
        if (!r->divisor) return GM_ERR_MEMORY;
        gm_update_divisor(&r->update, r->divisor);
    }
    e->k->to_double(e->p, r->w->theta, r->w->wide);
    return gm_stepper_start(r->stepper, r->w->wide, r->divisor, err);
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
                   .problem = w->evaluator->kind->problem(w->evaluator),
                   .gradient = w->gradient[0],
                   .before = w->gradient[1]};
    for (size_t i = 0; i < e->quantities * e->steps; i++) {
        row[i] = (double)NAN;
    }
    take_start(&r, run);
    gm_status status = gm_sampler_create(gm_problem_data(e->problem)->n, options.batch,
                                         options.replacement, options.seed, run, &r.sampler, err);
    if (status == GM_OK) status = start_update(&r, &options, err);
    if (status == GM_OK) status = run_steps(&r, err);
    *diverged = r.diverged;
    if (status == GM_OK && last) e->k->to_double(e->p, w->theta, last);
    gm_stepper_free(r.stepper);
    gm_free(r.divisor);
    gm_update_free(&r.update);
    gm_sampler_free(r.sampler);
    return status;
}
