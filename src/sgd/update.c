#include "sgd/update.h"

#include <math.h>

#include "base/memory.h"
#include "gradiometer/curvature.h"
#include "sgd/sampler.h"

size_t gm_update_slots(const gm_train_options *options)
{
    if (options->optimizer == GM_OPTIMIZER_ADAM) return 2;
    if (options->optimizer != GM_OPTIMIZER_SGD) return 1;
    return options->momentum > 0.0 || options->precondition != GM_PRECONDITION_NONE;
}

gm_status gm_update_init(gm_update *update, const gm_train_options *options, const gm_kernels *k,
                         size_t p, gm_error *err)
{
    *update = (gm_update){.options = *options, .k = k, .p = p, .slots = gm_update_slots(options)};
    if (!update->slots) return GM_OK;
    update->state = gm_alloc(p, update->slots * k->size, "state of the optimizer", err);
    return update->state ? GM_OK : GM_ERR_MEMORY;
}

void gm_update_free(gm_update *update)
{
    gm_free(update->state);
    update->state = NULL;
}

/* ---- before step 0 ---- */

/* state = g^2 of a batch from the stream of its own. */
static gm_status start_squares(gm_update *u, gm_problem *problem, const void *theta, gm_error *err)
{
    const gm_train_options *o = &u->options;
    gm_stream stream = gm_stream_of(o->seed, GM_PURPOSE_START, o->run);
    gm_sampler *sampler = NULL;
    double loss = 0.0;
    size_t *index = gm_alloc(o->batch, sizeof *index, "mini-batch", err);
    void *gradient = gm_alloc(u->p, u->k->size, "gradient", err);
    gm_status status = index && gradient ? GM_OK : GM_ERR_MEMORY;
    if (!status)
        status = gm_sampler_create_from(stream, gm_problem_data(problem)->n, o->batch,
                                        o->replacement, &sampler, err);
    if (!status) {
        size_t m = gm_sampler_draw(sampler, 0, index);
        status = gm_problem_batch_gradient(problem, theta, m, index, &loss, gradient, err);
    }
    if (!status) {
        if (o->weight_decay > 0.0) u->k->axpy(u->p, o->weight_decay, theta, gradient);
        u->k->multiply(u->p, gradient, gradient, u->state);
    }
    gm_sampler_free(sampler);
    gm_free(gradient);
    gm_free(index);
    return status;
}

/* state = sqrt(diag M) or |diag H| at theta. */
static gm_status take_diagonal(gm_update *u, gm_problem *problem, const void *theta, gm_error *err)
{
    gm_linearization *lin = NULL;
    double *wide = gm_alloc(u->p, sizeof *wide, "parameters", err);
    double *diagonal = gm_alloc(u->p, sizeof *diagonal, "diagonal", err);
    gm_status status = wide && diagonal ? GM_OK : GM_ERR_MEMORY;
    if (!status) {
        u->k->to_double(u->p, theta, wide);
        status = gm_linearize(problem, wide, &lin, err);
    }
    /* Without epsilon, which the step adds. */
    if (!status) status = gm_precondition_exact(lin, u->options.precondition, 0.0, diagonal, err);
    if (!status) u->k->from_double(u->p, diagonal, u->state);
    gm_linearization_free(lin);
    gm_free(diagonal);
    gm_free(wide);
    return status;
}

gm_status gm_update_start(gm_update *update, gm_problem *problem, const void *theta, gm_error *err)
{
    switch (update->options.precondition) {
    case GM_PRECONDITION_NONE:
        break;
    case GM_PRECONDITION_RMSPROP:
    case GM_PRECONDITION_ADAGRAD:
        return start_squares(update, problem, theta, err);
    case GM_PRECONDITION_DIAG_MOMENT:
    case GM_PRECONDITION_DIAG_HESSIAN:
        return take_diagonal(update, problem, theta, err);
    }
    return GM_OK;
}

gm_status gm_update_prepare(gm_update *update, gm_problem *problem, uint64_t t, const void *theta,
                            gm_error *err)
{
    uint64_t every = update->options.precondition_every;
    if (!every || t % every != 0) return GM_OK;
    return take_diagonal(update, problem, theta, err);
}

/* ---- the step ---- */

static void apply_adam(gm_update *u, uint64_t t, double step, const void *gradient, void *theta)
{
    const gm_train_options *o = &u->options;
    double done = (double)t + 1.0;
    double eta = step / (1.0 - pow(o->beta1, done));
    double root = 1.0 / sqrt(1.0 - pow(o->beta2, done));
    void *square = (char *)u->state + u->p * u->k->size;
    u->k->adam_step(u->p, eta, o->weight_decay, o->epsilon, o->beta1, o->beta2, root, gradient,
                    u->state, square, theta);
}

/* The running sum of squares, with or without the gradient of the step that it divides. */
static void apply_squares(gm_update *u, double eta, double keep, double add, bool with,
                          const void *gradient, void *theta)
{
    const gm_train_options *o = &u->options;
    u->k->adaptive_step(u->p, eta, o->weight_decay, o->epsilon, keep, add, with, gradient, u->state,
                        theta);
}

void gm_update_apply(gm_update *u, uint64_t t, double eta, const void *gradient, void *theta)
{
    const gm_train_options *o = &u->options;
    switch (o->optimizer) {
    case GM_OPTIMIZER_SGD:
        break;
    case GM_OPTIMIZER_ADAM:
        apply_adam(u, t, eta, gradient, theta);
        return;
    case GM_OPTIMIZER_RMSPROP:
        apply_squares(u, eta, o->beta2, 1.0 - o->beta2, true, gradient, theta);
        return;
    case GM_OPTIMIZER_ADAGRAD:
        apply_squares(u, eta, 1.0, 1.0, true, gradient, theta);
        return;
    }
    switch (o->precondition) {
    case GM_PRECONDITION_NONE:
        u->k->sgd_step(u->p, eta, o->momentum, o->nesterov, o->weight_decay, gradient, u->state,
                       theta);
        break;
    case GM_PRECONDITION_RMSPROP:
        apply_squares(u, eta, o->beta2, 1.0 - o->beta2, false, gradient, theta);
        break;
    case GM_PRECONDITION_ADAGRAD:
        apply_squares(u, eta, 1.0, 1.0, false, gradient, theta);
        break;
    case GM_PRECONDITION_DIAG_MOMENT:
    case GM_PRECONDITION_DIAG_HESSIAN:
        u->k->scaled_step(u->p, eta, o->weight_decay, o->epsilon, gradient, u->state, theta);
        break;
    }
}

void gm_update_divisor(const gm_update *u, double *divisor)
{
    gm_precondition precondition = u->options.precondition;
    bool squares =
        precondition == GM_PRECONDITION_RMSPROP || precondition == GM_PRECONDITION_ADAGRAD;
    u->k->to_double(u->p, u->state, divisor);
    for (size_t i = 0; i < u->p; i++) {
        divisor[i] = (squares ? sqrt(divisor[i]) : divisor[i]) + u->options.epsilon;
    }
}
