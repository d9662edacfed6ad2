/* Step-size policies in a training: what it does with them, records, resumes and refuses. */
#include "policy_case.h"

#include <math.h>
#include <string.h>

#include "folder.h"
#include "sgd_case.h"

enum { STEPS = 30 };

typedef struct trained {
    const char *policy;
    gm_precondition precondition;
    gm_replacement replacement;
    size_t batch;
    gm_dtype dtype;
    double momentum;
} trained;

static const trained trainings[] = {
    {"decay:0.2,every=7,factor=0.5", GM_PRECONDITION_NONE, GM_REPLACEMENT_YES, 3, GM_F64, 0.9},
    {"cosine:0.2,final=0.01", GM_PRECONDITION_RMSPROP, GM_REPLACEMENT_YES, 3, GM_F64, 0},
    {"oracle", GM_PRECONDITION_NONE, GM_REPLACEMENT_YES, 3, GM_F64, 0},
    {"oracle:every=4,max=0.3", GM_PRECONDITION_RMSPROP, GM_REPLACEMENT_NO, 3, GM_F64, 0},
    {"oracle-model:max=0.5", GM_PRECONDITION_DIAG_HESSIAN, GM_REPLACEMENT_YES, 3, GM_F64, 0},
    {"estimated:memory=10", GM_PRECONDITION_NONE, GM_REPLACEMENT_YES, 4, GM_F64, 0},
    {"estimated:memory=10,every=6", GM_PRECONDITION_ADAGRAD, GM_REPLACEMENT_EPOCH, 5, GM_F32, 0},
    {"estimated", GM_PRECONDITION_DIAG_MOMENT, GM_REPLACEMENT_NO, 1, GM_F64, 0},
};
enum { TRAININGS = sizeof trainings / sizeof *trainings };

static gm_train_options options_of(const trained *c)
{
    gm_train_options o;
    gm_error err;
    gm_train_options_default(&o);
    expect_ok(gm_policy_parse(c->policy, &o.policy, &o.step, &err), &err);
    o.steps = STEPS;
    o.batch = c->batch;
    o.momentum = c->momentum;
    o.precondition = c->precondition;
    o.replacement = c->replacement;
    o.seed = 11;
    o.keep_every = 1;
    o.checkpoint_every = 1;
    return o;
}

static void open_case(sgd_case *s, gm_dtype dtype)
{
    gm_error err;
    expect_ok(sgd_case_open(s, 21, 4, "mlp:4-3-1,act=tanh", dtype, &err), &err);
}

static bool stop_now(void *context)
{
    int *left = context;
    return (*left)-- == 0;
}

/* A training into FOLDER/name, stopped after `stop` steps and every three from there (0: never). */
static void train_to(const sgd_case *s, const trained *c, const char *name, int stop)
{
    gm_train_options o = options_of(c);
    gm_train_hooks hooks = {.context = &stop, .stop = stop ? stop_now : NULL};
    gm_train_result result;
    gm_run *run;
    gm_error err;
    double theta[32];
    assert_true(s->p <= 32);
    gm_net_init(s->net, GM_INIT_HE, 1, 0, theta);
    expect_ok(gm_run_create(folder_path(name), true, NULL, 0, &run, &err), &err);
    expect_ok(gm_train(s->problem, NULL, &o, &hooks, run, theta, &result, &err), &err);
    while (result.outcome == GM_TRAIN_INTERRUPTED) {
        stop = 3;
        gm_run_close(run);
        expect_ok(gm_run_open(folder_path(name), GM_RUN_WRITE, &run, &err), &err);
        expect_ok(gm_train_resume(s->problem, NULL, &hooks, run, theta, &result, &err), &err);
    }
    assert_int_equal(result.outcome, GM_TRAIN_FINISHED);
    gm_run_close(run);
}

/* value [STEPS] of a metric, NaN where it was not recorded; how many there are. */
static size_t series(gm_run *run, const char *name, double *value)
{
    int64_t *step;
    double *found;
    size_t count;
    gm_error err;
    for (int t = 0; t < STEPS; t++) {
        value[t] = (double)NAN;
    }
    expect_ok(gm_run_metric(run, name, &step, &found, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        if (step[i] < STEPS) value[step[i]] = found[i];
    }
    gm_run_free(step);
    gm_run_free(found);
    return count;
}

/* Plain SGD's checkpoints differ by the recorded step times the gradient of the step's batch. */
static void check_moves(const sgd_case *s, const trained *c, gm_run *run, const double *eta)
{
    gm_sampler *sampler;
    gm_error err;
    size_t index[8];
    expect_ok(gm_sampler_create(s->n, c->batch, c->replacement, 11, 0, &sampler, &err), &err);
    for (int t = 0; t < STEPS; t++) {
        double *before, *after, gradient[32], move[32];
        size_t p, m = gm_sampler_draw(sampler, (uint64_t)t, index);
        expect_ok(gm_run_parameters(run, t, &before, &p, NULL, &err), &err);
        expect_ok(gm_run_parameters(run, t + 1, &after, &p, NULL, &err), &err);
        expect_ok(gm_problem_batch_gradient(s->problem, before, m, index, NULL, gradient, &err),
                  &err);
        for (size_t j = 0; j < p; j++) {
            move[j] = before[j] - after[j];
            gradient[j] *= eta[t];
        }
        /* A difference of parameters near 1. */
        assert_at_most(relative_error(p, move, gradient), 1e-12 / eta[t], "step %d", t);
        gm_run_free(before);
        gm_run_free(after);
    }
    gm_sampler_free(sampler);
}

static void test_training(void **state)
{
    (void)state;
    for (int i = 0; i < TRAININGS; i++) {
        const trained *c = &trainings[i];
        gm_train_options o = options_of(c), read;
        sgd_case s;
        gm_run *run;
        gm_error err;
        double eta[STEPS], limit[STEPS], square[STEPS], trace[STEPS], bend[STEPS];
        open_case(&s, c->dtype);
        train_to(&s, c, "run.gmr", 0);
        expect_ok(gm_run_open(folder_path("run.gmr"), GM_RUN_READ, &run, &err), &err);
        expect_ok(gm_train_options_load(run, &read, &err), &err);
        assert_memory_equal(&read.policy, &o.policy, sizeof o.policy);
        assert_int_equal(series(run, "step_size", eta), STEPS);
        bool timed = gm_policy_timed(&o.policy), model = o.policy.kind == GM_POLICY_ORACLE_MODEL;
        size_t measured = series(run, "step_limit", limit);
        series(run, "policy/gradient_square", square);
        series(run, "policy/trace_moment", trace);
        series(run, model ? "policy/trace_curvature" : "policy/curvature", bend);
        bool estimated = o.policy.kind == GM_POLICY_ESTIMATED;
        size_t every = estimated || timed ? 1 : (size_t)o.policy.every;
        assert_int_equal(measured, timed ? 0 : (STEPS + every - 1) / every);
        for (uint64_t t = 0; t < STEPS; t++) {
            if (timed) {
                near(eta[t], gm_policy_step(&o.policy, o.step, t, STEPS), 0, "step of the time");
            } else if (t % every) {
                near(eta[t], eta[t - 1], 0, "step between measurements");
            } else {
                double most = 2 * square[t] / (model ? bend[t] : bend[t] * trace[t]);
                if (!(bend[t] > 0)) continue; /* the model's trace: then it is as oracle */
                near(limit[t], fmax(0, most), 1e-14, "eta_lim");
                near(eta[t], fmin(o.policy.max, o.policy.share * limit[t]), 1e-14, "eta");
            }
        }
        if (c->precondition == GM_PRECONDITION_NONE && c->momentum == 0) {
            check_moves(&s, c, run, eta);
        }
        gm_run_close(run);
        sgd_case_close(&s);
    }
}

static void test_resumed(void **state)
{
    (void)state;
    for (int i = 0; i < TRAININGS; i++) {
        const trained *c = &trainings[i];
        sgd_case s;
        open_case(&s, c->dtype);
        train_to(&s, c, "whole.gmr", 0);
        train_to(&s, c, "parts.gmr", 5);
        char *whole = run_dump(folder_path("whole.gmr"));
        char *parts = run_dump(folder_path("parts.gmr"));
        assert_non_null(whole);
        assert_non_null(parts);
        if (strcmp(whole, parts) != 0) fail_msg("%s: resumed to other numbers", c->policy);
        free(whole);
        free(parts);
        sgd_case_close(&s);
    }
}

static void test_refused(void **state)
{
    (void)state;
    sgd_case s;
    gm_error err;
    gm_stepper *stepper;
    gm_train_options o = options_of(&trainings[2]);
    open_case(&s, GM_F64);
    o.momentum = 0.5;
    refused(gm_train_options_check(&o, s.n, &err), &err, "super-martingale");
    o.momentum = 0;
    o.weight_decay = 0.1;
    refused(gm_train_options_check(&o, s.n, &err), &err, "--weight-decay");
    o.weight_decay = 0;
    o.optimizer = GM_OPTIMIZER_ADAM;
    refused(gm_train_options_check(&o, s.n, &err), &err, "adam");
    o.optimizer = GM_OPTIMIZER_SGD;
    o.policy.share = 0;
    refused(gm_train_options_check(&o, s.n, &err), &err, "share");
    o.policy = (gm_policy){.kind = GM_POLICY_DECAY, .factor = 0.5};
    o.step = 0.1;
    refused(gm_train_options_check(&o, s.n, &err), &err, "every");
    o.policy.every = 3;
    o.step = 0;
    refused(gm_train_options_check(&o, s.n, &err), &err, "--step");
    refused(
        gm_stepper_create(s.problem, &(gm_policy){0}, 2, GM_REPLACEMENT_YES, 0, 0, &stepper, &err),
        &err, "--step");
    gm_policy_default(GM_POLICY_ORACLE, &o.policy);
    refused(gm_stepper_create(s.problem, &o.policy, 22, GM_REPLACEMENT_NO, 0, 0, &stepper, &err),
            &err, "--batch");
    assert_null(stepper);
    sgd_case_close(&s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_training),
                                       cmocka_unit_test(test_resumed),
                                       cmocka_unit_test(test_refused)};
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "policies trained");
    return folder_remove(NULL) ? 1 : failed;
}
