#include "sgd/trainer.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "run/store.h"

/* Saving may take this share of the time, and is not done more often than this in seconds. */
static const double save_share = 0.05, save_pause = 0.25;

double gm_trainer_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

gm_status gm_trainer_init(gm_trainer *tr, gm_problem *problem, gm_problem *test,
                          const gm_train_options *options, const gm_train_hooks *hooks, gm_run *run,
                          gm_train_result *result, gm_error *err)
{
    size_t n = gm_problem_data(problem)->n;
    *tr = (gm_trainer){.problem = problem,
                       .test = test,
                       .options = *options,
                       .run = run,
                       .result = result,
                       .k = gm_kernels_get(gm_problem_data(problem)->dtype),
                       .p = gm_problem_parameters(problem),
                       .saved = -1};
    if (hooks) tr->hooks = *hooks;
    gm_train_options_resolve(&tr->options, problem);
    tr->eta = options->step;
    tr->began = tr->saved_at = gm_trainer_clock();
    gm_schedule_init(&tr->schedule, options, n, tr->p);
    gm_status status = gm_sampler_create(n, options->batch, options->replacement, options->seed,
                                         options->run, &tr->sampler, err);
    if (!status) status = gm_update_init(&tr->update, &tr->options, tr->k, tr->p, err);
    if (!status && !gm_policy_timed(&options->policy)) {
        status = gm_stepper_create(problem, &options->policy, options->batch, options->replacement,
                                   options->seed, options->run, &tr->stepper, err);
        if (!status && options->precondition != GM_PRECONDITION_NONE) {
            tr->divisor = gm_alloc(tr->p, sizeof *tr->divisor, "preconditioner", err);
            status = tr->divisor ? GM_OK : GM_ERR_MEMORY;
        }
    }
    if (status) return status;
    tr->theta = gm_alloc(tr->p, tr->k->size, "parameters", err);
    tr->gradient = gm_alloc(tr->p, tr->k->size, "gradient", err);
    tr->start = gm_alloc(tr->p, sizeof(double), "initial parameters", err);
    tr->wide = gm_alloc(tr->p, sizeof(double), "parameters", err);
    tr->wide_gradient = gm_alloc(tr->p, sizeof(double), "gradient", err);
    tr->index = gm_alloc(options->batch, sizeof *tr->index, "mini-batch", err);
    bool complete =
        tr->theta && tr->gradient && tr->start && tr->wide && tr->wide_gradient && tr->index;
    return complete ? GM_OK : GM_ERR_MEMORY;
}

void gm_trainer_free(gm_trainer *tr)
{
    gm_sampler_free(tr->sampler);
    gm_free(tr->theta);
    gm_free(tr->gradient);
    gm_update_free(&tr->update);
    gm_stepper_free(tr->stepper);
    gm_free(tr->divisor);
    gm_free(tr->start);
    gm_free(tr->wide);
    gm_free(tr->wide_gradient);
    gm_free(tr->index);
    gm_free(tr->metric);
}

/* ---- measuring ---- */

gm_status gm_trainer_note(gm_trainer *tr, uint64_t t, const char *name, double value, gm_error *err)
{
    if (!tr->run) return GM_OK;
    if (tr->metrics == tr->capacity) {
        size_t capacity = tr->capacity ? 2 * tr->capacity : 256;
        gm_metric *larger = gm_alloc(capacity, sizeof *larger, "metrics", err);
        if (!larger) return GM_ERR_MEMORY;
        if (tr->metrics) memcpy(larger, tr->metric, tr->metrics * sizeof *larger);
        gm_free(tr->metric);
        tr->metric = larger;
        tr->capacity = capacity;
    }
    tr->metric[tr->metrics++] = (gm_metric){(int64_t)t, name, value};
    return GM_OK;
}

/* The measured metrics and where the result holds them. */
static const struct {
    const char *name;
    size_t offset;
    bool test;
} measured[] = {
    {"loss", offsetof(gm_train_result, loss), false},
    {"error_rate", offsetof(gm_train_result, error_rate), false},
    {"test_loss", offsetof(gm_train_result, test_loss), true},
    {"test_error_rate", offsetof(gm_train_result, test_error_rate), true},
    {"gradient_norm", offsetof(gm_train_result, gradient_norm), false},
    {"distance", offsetof(gm_train_result, distance), false},
};
enum { MEASURED = sizeof measured / sizeof measured[0] };

gm_status gm_trainer_measure(gm_trainer *tr, uint64_t t, gm_error *err)
{
    gm_train_result *r = tr->result;
    tr->k->to_double(tr->p, tr->theta, tr->wide);
    gm_status status = gm_problem_gradient(tr->problem, tr->wide, &r->loss, &r->error_rate,
                                           tr->wide_gradient, err);
    if (!status && tr->test)
        status = gm_problem_value(tr->test, tr->wide, &r->test_loss, &r->test_error_rate, err);
    if (status) return status;

    double square = 0.0, away = 0.0;
    for (size_t i = 0; i < tr->p; i++) {
        double moved = tr->wide[i] - tr->start[i];
        square += tr->wide_gradient[i] * tr->wide_gradient[i];
        away += moved * moved;
    }
    r->gradient_norm = sqrt(square);
    r->distance = sqrt(away);
    for (size_t i = 0; i < MEASURED && !status; i++) {
        if (measured[i].test && !tr->test) continue;
        double value = *(const double *)((const char *)r + measured[i].offset);
        status = gm_trainer_note(tr, t, measured[i].name, value, err);
    }
    return status;
}

gm_status gm_trainer_recall(gm_run *run, gm_train_result *result, gm_error *err)
{
    for (size_t i = 0; i < MEASURED; i++) {
        int64_t *step = NULL;
        double *value = NULL;
        size_t count = 0;
        gm_status status = gm_run_metric(run, measured[i].name, &step, &value, &count, err);
        if (status) return status;
        if (count) *(double *)((char *)result + measured[i].offset) = value[count - 1];
        gm_run_free(step);
        gm_run_free(value);
    }
    return GM_OK;
}

/* ---- saving ---- */

bool gm_trainer_due(const gm_trainer *tr, uint64_t t)
{
    if (!tr->run || (int64_t)t == tr->saved) return false;
    if (gm_schedule_keeps(&tr->schedule, t)) return true;
    if (tr->options.checkpoint_every) return t % tr->options.checkpoint_every == 0;
    double since = gm_trainer_clock() - tr->saved_at;
    return since >= fmax(save_pause, tr->save_cost / save_share);
}

gm_status gm_trainer_save(gm_trainer *tr, uint64_t t, const char *status, const char *message,
                          bool with_theta, gm_error *err)
{
    if (!tr->run) return GM_OK;
    double begin = gm_trainer_clock();
    gm_run_state state = {.step = (int64_t)t,
                          .status = status,
                          .message = message,
                          .seconds = tr->before + begin - tr->began,
                          .dtype = tr->k->dtype,
                          .parameters = tr->p,
                          .theta = with_theta ? tr->theta : NULL,
                          .slots = tr->update.slots,
                          .optimizer = tr->update.state,
                          .stream_seed = tr->options.seed,
                          .stream_purpose = GM_PURPOSE_BATCH,
                          .stream_run = tr->options.run,
                          .stream_position = t};
    bool keep = with_theta && gm_schedule_keeps(&tr->schedule, t);
    gm_status done = gm_run_begin_write(tr->run, err);
    if (done) return done;
    done = gm_run_save(tr->run, &state, tr->saved, keep, tr->metric, tr->metrics, err);
    if (!done && tr->stepper && with_theta) done = gm_stepper_save(tr->stepper, tr->run, err);
    if (!done && tr->hooks.save) done = tr->hooks.save(tr->hooks.context, tr->run, err);
    done = gm_run_end(tr->run, done, err);
    if (done) return done;
    if (with_theta) tr->saved = (int64_t)t;
    tr->metrics = 0;
    tr->saved_at = gm_trainer_clock();
    tr->save_cost = tr->saved_at - begin;
    tr->result->saves++;
    tr->result->save_seconds += tr->save_cost;
    return GM_OK;
}
