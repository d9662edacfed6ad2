/* The training loop.
 *
 * At the top of step t the state is (theta_t, vectors of the optimizer, t), and all else is a
 * function of it:
 *   1. measure at theta_t, where the schedule says so
 *   2. save the state with the metrics up to here, where due
 *   3. eta_t by the policy, batch t, its loss and gradient at theta_t, the update to theta_{t+1},
 *      and what has to be known there before batch t + 1 is drawn
 *
 * A state in the file therefore always stands between 2 and 3, and resuming enters there. The one
 * exception is the state of step 0, which is saved before the first measurement. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/shell.h"
#include "run/store.h"
#include "sgd/identity.h"
#include "sgd/options.h"
#include "sgd/trainer.h"

static const char *const outcome_names[] = {"finished", "interrupted", "diverged"};

const char *gm_train_outcome_name(gm_train_outcome outcome)
{
    return outcome_names[outcome];
}

/* ---- how a training ends ---- */

/* Records the outcome in the result and, with all metrics, in the run file. */
static gm_status end_training(gm_trainer *tr, uint64_t t, gm_train_outcome outcome, bool with_theta,
                              gm_error *err)
{
    tr->result->outcome = outcome;
    tr->result->step = t;
    return gm_trainer_save(tr, t, outcome_names[outcome], tr->result->message, with_theta, err);
}

static gm_status end_finished(gm_trainer *tr, uint64_t t, gm_error *err)
{
    snprintf(tr->result->message, sizeof tr->result->message, "finished all %" PRIu64 " steps", t);
    return end_training(tr, t, GM_TRAIN_FINISHED, true, err);
}

static gm_status end_interrupted(gm_trainer *tr, uint64_t t, gm_error *err)
{
    int used = snprintf(tr->result->message, sizeof tr->result->message,
                        "interrupted after step %" PRIu64 " of %" PRIu64, t, tr->options.steps);
    const char *path = tr->run ? gm_run_path(tr->run) : NULL;
    char *shown = path ? gm_shell_line(1, &path, NULL) : NULL;
    if (path)
        snprintf(tr->result->message + used, sizeof tr->result->message - (size_t)used,
                 "; to go on: gradiometer train --resume %s", shown ? shown : path);
    gm_free(shown);
    return end_training(tr, t, GM_TRAIN_INTERRUPTED, true, err);
}

/* what is not finite at step t; theta_t itself is stored only where it is finite. */
static gm_status end_diverged(gm_trainer *tr, uint64_t t, const char *what, double value,
                              bool theta_finite, gm_error *err)
{
    snprintf(tr->result->message, sizeof tr->result->message,
             "diverged at step %" PRIu64 " of %" PRIu64
             ": %s is %g; a step below %g or more precision may help",
             t, tr->options.steps, what, value, tr->eta);
    return end_training(tr, t, GM_TRAIN_DIVERGED, theta_finite, err);
}

/* ---- the loop ---- */

/* What is due at the top of step t, the caller's own measurement last; *ended where it ended the
 * training, *again where theta_t was measured before. */
static gm_status measure(gm_trainer *tr, uint64_t t, bool again, bool *ended, gm_error *err)
{
    const gm_train_hooks *hooks = &tr->hooks;
    if (gm_schedule_records(&tr->schedule, t) && !again) {
        gm_status status = gm_trainer_measure(tr, t, err);
        if (status) return status;
        if (!isfinite(tr->result->loss)) {
            *ended = true;
            return end_diverged(tr, t, "the loss", tr->result->loss, true, err);
        }
    }
    if (!hooks->due || !hooks->due(hooks->context, t)) return GM_OK;
    tr->k->to_double(tr->p, tr->theta, tr->wide);
    gm_status status = hooks->measure(hooks->context, t, tr->wide, err);
    if (status != GM_ERR_INTERRUPTED) return status;
    *ended = true;
    return end_interrupted(tr, t, err);
}

/* eta_t, and what it was made of into the metrics. */
static gm_status choose_step(gm_trainer *tr, uint64_t t, gm_error *err)
{
    const gm_train_options *o = &tr->options;
    gm_step_choice c = {0};
    if (o->policy.kind == GM_POLICY_FIXED) return GM_OK;
    if (!tr->stepper) {
        tr->eta = gm_policy_step(&o->policy, o->step, t, o->steps);
        return gm_trainer_note(tr, t, "step_size", tr->eta, err);
    }
    tr->k->to_double(tr->p, tr->theta, tr->wide);
    if (tr->divisor) gm_update_divisor(&tr->update, tr->divisor);
    gm_status status = gm_stepper_choose(tr->stepper, t, tr->wide, tr->divisor, &c, err);
    if (status) return status;
    tr->eta = c.step;
    const struct {
        const char *name;
        double value;
    } made_of[] = {{"step_limit", c.limit},
                   {"policy/gradient_square", c.gradient_square},
                   {"policy/trace_moment", c.trace_moment},
                   {"policy/curvature", c.curvature},
                   {"policy/trace_curvature", c.trace_curvature}};
    status = gm_trainer_note(tr, t, "step_size", c.step, err);
    for (size_t i = 0; !status && c.measured && i < sizeof made_of / sizeof *made_of; i++) {
        if (!isnan(made_of[i].value))
            status = gm_trainer_note(tr, t, made_of[i].name, made_of[i].value, err);
    }
    return status;
}

/* Loss and gradient of the batch of step t, of *m samples. */
static gm_status take_gradient(gm_trainer *tr, uint64_t t, size_t *m, double *batch_loss,
                               gm_error *err)
{
    *m = gm_sampler_draw(tr->sampler, t, tr->index);
    if (tr->stepper)
        return gm_stepper_gradient(tr->stepper, t, tr->theta, *m, tr->index, tr->divisor,
                                   batch_loss, tr->gradient, err);
    return gm_problem_batch_gradient(tr->problem, tr->theta, *m, tr->index, batch_loss,
                                     tr->gradient, err);
}

static gm_status tell_batch(gm_trainer *tr, uint64_t t, size_t m, double loss, gm_error *err)
{
    gm_train_batch batch = {t, tr->eta, m, tr->index, loss, tr->theta, tr->gradient};
    return tr->hooks.batch ? tr->hooks.batch(tr->hooks.context, &batch, err) : GM_OK;
}

/* Part 3 of the step; *ended where the training diverged in it. */
static gm_status update(gm_trainer *tr, uint64_t t, double *batch_loss, bool *ended, gm_error *err)
{
    size_t m = 0;
    gm_status status = choose_step(tr, t, err);
    if (status == GM_ERR_NUMERIC) {
        *ended = true;
        return end_diverged(tr, t, "what the step-size policy measures", (double)NAN, true, err);
    }
    if (!status) status = take_gradient(tr, t, &m, batch_loss, err);
    if (!status) status = gm_trainer_note(tr, t, "batch_loss", *batch_loss, err);
    if (status) return status;
    if (!isfinite(*batch_loss)) {
        *ended = true;
        return end_diverged(tr, t, "the mini-batch loss", *batch_loss, true, err);
    }
    status = tell_batch(tr, t, m, *batch_loss, err);
    if (status) return status;
    gm_update_apply(&tr->update, t, tr->eta, tr->gradient, tr->theta);
    /* A rectifier can swallow a NaN, so that no later loss would show it. */
    double square = tr->k->dot(tr->p, tr->theta, tr->theta);
    if (!isfinite(square)) {
        *ended = true;
        return end_diverged(tr, t + 1, "the squared norm of the parameters", square, false, err);
    }
    status = gm_update_prepare(&tr->update, tr->problem, t + 1, tr->theta, err);
    if (status == GM_ERR_NUMERIC) {
        *ended = true;
        return end_diverged(tr, t + 1, "an entry of the exact diagonal", (double)NAN, false, err);
    }
    return status;
}

static gm_status run_steps(gm_trainer *tr, uint64_t first, bool measured, gm_error *err)
{
    const uint64_t steps = tr->options.steps;
    bool ended = false;
    for (uint64_t t = first; !ended; t++) {
        gm_status status = measure(tr, t, t == first && measured, &ended, err);
        if (status || ended) return status;
        if (t == steps) return end_finished(tr, t, err);
        if (tr->hooks.stop && tr->hooks.stop(tr->hooks.context)) return end_interrupted(tr, t, err);
        if (gm_trainer_due(tr, t)) status = gm_trainer_save(tr, t, "running", "", true, err);

        double batch_loss = 0.0;
        if (!status) status = update(tr, t, &batch_loss, &ended, err);
        if (status) return status;
        if (tr->hooks.progress && !ended)
            tr->hooks.progress(tr->hooks.context, t + 1, steps, batch_loss);
    }
    return GM_OK;
}

static void finish(gm_trainer *tr, double *theta)
{
    if (tr->theta && theta) tr->k->to_double(tr->p, tr->theta, theta);
    tr->result->seconds = gm_trainer_clock() - tr->began;
    gm_trainer_free(tr);
}

static void clear_result(gm_train_result *r)
{
    *r = (gm_train_result){0};
    r->loss = r->error_rate = r->test_loss = r->test_error_rate = r->gradient_norm = r->distance =
        (double)NAN;
}

/* ---- a fresh start ---- */

static gm_status check_fresh(gm_run *run, gm_error *err)
{
    gm_run_state *state = NULL;
    gm_status status = gm_run_load_state(run, &state, err);
    if (!status && state)
        status = gm_fail(err, GM_ERR_USAGE, "%s: holds a training already, at step %" PRId64,
                         gm_run_path(run), state->step);
    gm_run_free(state);
    return status;
}

/* theta_0 in the precision of the problem. */
static gm_status take_start(gm_trainer *tr, const double *theta, gm_error *err)
{
    tr->k->from_double(tr->p, theta, tr->theta);
    tr->k->to_double(tr->p, tr->theta, tr->start);
    for (size_t i = 0; i < tr->p; i++) {
        if (!isfinite(tr->start[i]))
            return gm_fail(err, GM_ERR_INPUT, "parameter %zu is %g, expected a finite %s number", i,
                           theta[i], gm_dtype_name(tr->k->dtype));
    }
    return GM_OK;
}

/* What the policy has to know before step 0. */
static gm_status start_policy(gm_trainer *tr, gm_error *err)
{
    if (!tr->stepper) return GM_OK;
    if (tr->divisor) gm_update_divisor(&tr->update, tr->divisor);
    return gm_stepper_start(tr->stepper, tr->start, tr->divisor, err);
}

/* Settings and the state of step 0 in one transaction. */
static gm_status save_start(gm_trainer *tr, gm_error *err)
{
    if (!tr->run) return GM_OK;
    gm_status status = gm_run_begin_write(tr->run, err);
    if (status) return status;
    status = gm_train_options_store(tr->run, &tr->options, err);
    if (!status) status = gm_identity_store(tr->run, tr->problem, tr->test, err);
    if (!status) status = gm_trainer_save(tr, 0, "running", "", true, err);
    return gm_run_end(tr->run, status, err);
}

gm_status gm_train(gm_problem *problem, gm_problem *test, const gm_train_options *options,
                   const gm_train_hooks *hooks, gm_run *run, double *theta, gm_train_result *result,
                   gm_error *err)
{
    clear_result(result);
    gm_status status = gm_train_options_check(options, gm_problem_data(problem)->n, err);
    if (!status && run) status = check_fresh(run, err);
    if (status) return status;
    gm_trainer trainer;
    status = gm_trainer_init(&trainer, problem, test, options, hooks, run, result, err);
    if (!status) status = take_start(&trainer, theta, err);
    if (!status) status = gm_update_start(&trainer.update, problem, trainer.theta, err);
    if (!status) status = start_policy(&trainer, err);
    if (!status) status = save_start(&trainer, err);
    if (!status) status = run_steps(&trainer, 0, false, err);
    finish(&trainer, status ? NULL : theta);
    return status;
}

/* ---- going on ---- */

static gm_status load_start(gm_trainer *tr, gm_error *err)
{
    double *start = NULL;
    size_t p = 0;
    gm_status status = gm_run_parameters(tr->run, 0, &start, &p, NULL, err);
    if (!status && p != tr->p)
        status =
            gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: step 0 has %zu parameters of %zu",
                    gm_run_path(tr->run), p, tr->p);
    if (!status) memcpy(tr->start, start, p * sizeof *start);
    gm_run_free(start);
    return status;
}

/* theta, the optimizer's vectors, step and clock from the file; *measured: whether theta's
 * measurement is, too. */
static gm_status load_state(gm_trainer *tr, const gm_run_state *state, bool *measured,
                            gm_error *err)
{
    size_t slots = tr->update.slots;
    if (state->parameters != tr->p || state->dtype != tr->k->dtype || state->slots != slots ||
        state->step < 0 || (uint64_t)state->step > tr->options.steps)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: damaged run file: the state does not fit the settings",
                       gm_run_path(tr->run));
    memcpy(tr->theta, state->theta, tr->p * tr->k->size);
    if (slots) memcpy(tr->update.state, state->optimizer, slots * tr->p * tr->k->size);
    tr->saved = state->step;
    tr->before = state->seconds;
    *measured = state->step > 0 || !isnan(tr->result->loss);
    return GM_OK;
}

/* A training that has come to its end is only told about. */
static bool tell_ended(const gm_run_state *state, gm_train_result *result)
{
    bool finished = strcmp(state->status, "finished") == 0;
    if (!finished && strcmp(state->status, "diverged") != 0) return false;
    result->outcome = finished ? GM_TRAIN_FINISHED : GM_TRAIN_DIVERGED;
    snprintf(result->message, sizeof result->message, "%s%.200s", finished ? "nothing to do: " : "",
             state->message);
    return true;
}

gm_status gm_train_resume(gm_problem *problem, gm_problem *test, const gm_train_hooks *hooks,
                          gm_run *run, double *theta, gm_train_result *result, gm_error *err)
{
    clear_result(result);
    gm_train_options options;
    gm_run_state *state = NULL;
    gm_status status = gm_train_options_load(run, &options, err);
    if (!status)
        status = gm_identity_check(run, problem, test, result->note, sizeof result->note, err);
    if (!status) status = gm_train_options_check(&options, gm_problem_data(problem)->n, err);
    if (!status) status = gm_run_load_state(run, &state, err);
    if (!status && !state)
        status = gm_fail(err, GM_ERR_INPUT, "%s: holds no training (no state)", gm_run_path(run));
    if (!status) status = gm_trainer_recall(run, result, err);
    if (status || !state) {
        gm_run_free(state);
        return status;
    }

    gm_trainer trainer;
    bool measured = false;
    status = gm_trainer_init(&trainer, problem, test, &options, hooks, run, result, err);
    if (!status) status = load_start(&trainer, err);
    if (!status) status = load_state(&trainer, state, &measured, err);
    if (!status && trainer.stepper) status = gm_stepper_load(trainer.stepper, run, err);
    result->first_step = result->step = (uint64_t)state->step;
    if (!status && !tell_ended(state, result))
        status = run_steps(&trainer, result->first_step, measured, err);
    finish(&trainer, status ? NULL : theta);
    gm_run_free(state);
    return status;
}
