/* Preconditioned SGD and Adam against loops of plain C on linear regression, whose gradients and
 * diagonals are written down here; then interruptions, the diagonal in the run file, refusals. */
#include <math.h>
#include <sqlite3.h>
#include <string.h>

#include "folder.h"
#include "sgd_case.h"
#include "support.h"

enum { N = 12, D = 4, STEPS = 40 };

static void ok(gm_status status, const gm_error *err)
{
    if (status != GM_OK) fail_msg("unexpected: %s", err->message);
}

static void fails(gm_status status, gm_status expected, const gm_error *err, const char *part)
{
    if (status != expected)
        fail_msg("status %d, expected %d: %s", (int)status, (int)expected, err->message);
    if (!strstr(err->message, part)) fail_msg("'%s' does not say '%s'", err->message, part);
}

typedef struct method {
    gm_optimizer optimizer;
    gm_precondition precondition;
    double beta2, epsilon; /* what the defaults must come to */
} method;

static const method methods[] = {
    {GM_OPTIMIZER_ADAM, GM_PRECONDITION_NONE, 0.999, 1e-8},
    {GM_OPTIMIZER_RMSPROP, GM_PRECONDITION_NONE, 0.99, 1e-8},
    {GM_OPTIMIZER_ADAGRAD, GM_PRECONDITION_NONE, 0, 1e-10},
    {GM_OPTIMIZER_SGD, GM_PRECONDITION_RMSPROP, 0.99, 1e-3},
    {GM_OPTIMIZER_SGD, GM_PRECONDITION_ADAGRAD, 0, 1e-3},
    {GM_OPTIMIZER_SGD, GM_PRECONDITION_DIAG_MOMENT, 0, 1e-3},
    {GM_OPTIMIZER_SGD, GM_PRECONDITION_DIAG_HESSIAN, 0, 0.3},
};
enum { METHODS = sizeof methods / sizeof *methods, EVERY = 7 };

static gm_train_options options_of(const method *m)
{
    gm_train_options o;
    gm_train_options_default(&o);
    o.steps = STEPS;
    o.batch = 3;
    o.step = 0.02;
    o.weight_decay = 0.1;
    o.seed = 5;
    o.optimizer = m->optimizer;
    o.precondition = m->precondition;
    if (m->precondition >= GM_PRECONDITION_DIAG_MOMENT) o.precondition_every = EVERY;
    o.checkpoint_every = 6;
    return o;
}

/* Residual times x: the gradient of sample i of 1/2 (w.x - y)^2. */
static void sample_gradient(const sgd_case *c, const double *w, size_t i, double *g)
{
    double residual = -c->y[i];
    for (size_t j = 0; j < D; j++) {
        residual += w[j] * c->x[i * D + j];
    }
    for (size_t j = 0; j < D; j++) {
        g[j] = residual * c->x[i * D + j];
    }
}

static void batch_gradient(const sgd_case *c, const double *w, double decay, size_t m,
                           const size_t *index, double *g)
{
    double one[D];
    for (size_t j = 0; j < D; j++) {
        g[j] = decay * w[j];
    }
    for (size_t i = 0; i < m; i++) {
        sample_gradient(c, w, index[i], one);
        for (size_t j = 0; j < D; j++) {
            g[j] += one[j] / (double)m;
        }
    }
}

/* sqrt(diag M) or diag H = mean of x^2. */
static void exact_diagonal(const sgd_case *c, const double *w, bool moment, double *d)
{
    double g[D];
    for (size_t j = 0; j < D; j++) {
        d[j] = 0;
    }
    for (size_t i = 0; i < N; i++) {
        sample_gradient(c, w, i, g);
        for (size_t j = 0; j < D; j++) {
            double x = c->x[i * D + j];
            d[j] += (moment ? g[j] * g[j] : x * x) / N;
        }
    }
    for (size_t j = 0; j < D && moment; j++) {
        d[j] = sqrt(d[j]);
    }
}

/* The training from w, in double and plain loops; d = the divisor that the next step would have
 * (optimizers: that of the last one). */
static void reference(const sgd_case *c, const method *me, const gm_train_options *o, double *w,
                      double *d)
{
    gm_error err;
    gm_sampler *sampler = NULL;
    double m[D] = {0}, s[D] = {0}, g[D];
    size_t index[8];
    gm_stream stream = gm_stream_of(o->seed, GM_PURPOSE_START, o->run);
    bool own = me->optimizer != GM_OPTIMIZER_SGD; /* the divisor knows g_t */
    bool running =
        me->precondition == GM_PRECONDITION_RMSPROP || me->optimizer == GM_OPTIMIZER_RMSPROP;
    bool exact = me->precondition >= GM_PRECONDITION_DIAG_MOMENT;
    bool adam = me->optimizer == GM_OPTIMIZER_ADAM;
    for (size_t i = 0; i < o->batch; i++) {
        index[i] = (size_t)gm_below(stream, i, N);
    }
    batch_gradient(c, w, o->weight_decay, o->batch, index, g);
    for (size_t j = 0; j < D && !own; j++) {
        s[j] = g[j] * g[j];
    }
    ok(gm_sampler_create(N, o->batch, GM_REPLACEMENT_YES, o->seed, o->run, &sampler, &err), &err);
    for (uint64_t t = 0; t <= o->steps; t++) {
        if (exact && t % EVERY == 0)
            exact_diagonal(c, w, me->precondition == GM_PRECONDITION_DIAG_MOMENT, s);
        for (size_t j = 0; j < D && !own; j++) {
            d[j] = (exact ? s[j] : sqrt(s[j])) + me->epsilon;
        }
        if (t == o->steps) break;
        gm_sampler_draw(sampler, t, index);
        batch_gradient(c, w, o->weight_decay, o->batch, index, g);
        for (size_t j = 0; j < D; j++) {
            if (adam) {
                m[j] = 0.9 * m[j] + 0.1 * g[j];
                s[j] = 0.999 * s[j] + 0.001 * g[j] * g[j];
                double mean = m[j] / (1 - pow(0.9, (double)t + 1));
                d[j] = sqrt(s[j] / (1 - pow(0.999, (double)t + 1))) + 1e-8;
                w[j] -= o->step * mean / d[j];
                continue;
            }
            double square = g[j] * g[j];
            if (!exact && !own) w[j] -= o->step * g[j] / d[j];
            if (!exact)
                s[j] = running ? me->beta2 * s[j] + (1 - me->beta2) * square : s[j] + square;
            if (own) d[j] = sqrt(s[j]) + me->epsilon;
            if (exact || own) w[j] -= o->step * g[j] / d[j];
        }
    }
    gm_sampler_free(sampler);
}

/* Forty steps of numbers near 1: some hundred roundings, contracted at most tenfold by the
 * divisors (1e-12); in f32 the same times its larger rounding, 5e8. */
static void training_follows_the_reference(void **unused)
{
    (void)unused;
    gm_error err;
    for (int dtype = GM_F32; dtype <= GM_F64; dtype++) {
        sgd_case c;
        ok(sgd_case_open(&c, N, D, NULL, (gm_dtype)dtype, &err), &err);
        for (size_t i = 0; dtype == GM_F32 && i < N * D; i++) {
            c.x[i] = (double)(float)c.x[i]; /* what the library sees */
        }
        for (size_t i = 0; i < METHODS; i++) {
            gm_train_options o = options_of(&methods[i]), back;
            double w[D] = {0.5, -0.25, 2, 0}, theta[D], d[D], *diagonal = NULL;
            double bound = dtype == GM_F32 ? 5e-4 : 1e-12;
            char *what = NULL;
            size_t p = 0;
            gm_run *run = NULL;
            gm_train_result result;
            memcpy(theta, w, sizeof w);
            reference(&c, &methods[i], &o, w, d);
            ok(gm_run_create(folder_path("run.gmr"), true, NULL, 0, &run, &err), &err);
            ok(gm_train(c.problem, NULL, &o, NULL, run, theta, &result, &err), &err);
            assert_int_equal(result.outcome, GM_TRAIN_FINISHED);
            ok(gm_train_options_load(run, &back, &err), &err);
            assert_int_equal(back.optimizer, o.optimizer);
            assert_int_equal(back.precondition, o.precondition);
            assert_true(back.beta2 == methods[i].beta2 && back.epsilon == methods[i].epsilon);
            ok(gm_precondition_from_run(run, &diagonal, &p, &what, &err), &err);
            assert_int_equal(p, D);
            assert_non_null(strstr(what, "at step 40"));
            for (size_t j = 0; j < D; j++) {
                if (!(fabs(theta[j] - w[j]) < bound))
                    fail_msg("method %zu: theta %zu is %.17g, not %.17g", i, j, theta[j], w[j]);
                if (!(fabs(diagonal[j] - d[j]) < bound * fmax(1, d[j])))
                    fail_msg("method %zu: D %zu is %.17g, not %.17g", i, j, diagonal[j], d[j]);
            }
            gm_run_free(diagonal);
            gm_run_free(what);
            gm_run_close(run);
        }
        sgd_case_close(&c);
    }
    folder_empty();
}

/* f = 1/2 w^2 from w = 1: torch.optim.Adam's first steps by hand. With one gradient the corrected
 * mean is g and the corrected square g^2, so w falls by eta g / (g + 1e-8). Then g = 0.9: mean
 * (0.09 + 0.09) / 0.19, square (0.000999 + 0.00081) / 0.001999. */
static void adam_by_hand(void **unused)
{
    (void)unused;
    const double one = 1, zero = 0;
    gm_error err;
    gm_shape shape = {.rank = 1, .dim = {1}};
    gm_net *net = NULL;
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_problem_options po;
    gm_problem_options_default(&po);
    po.loss = GM_LOSS_SQUARED;
    ok(gm_net_from_spec("mlp:1-1,bias=no", &shape, 0, &net, &err), &err);
    ok(gm_data_from_arrays("one", 1, &shape, &one, NULL, &zero, 1, GM_F64, 0, &data, &err), &err);
    ok(gm_problem_create(net, data, &po, &problem, &err), &err);
    gm_train_options o;
    gm_train_options_default(&o);
    o.batch = 1;
    o.optimizer = GM_OPTIMIZER_ADAM;
    const double first = 1 - 0.1 / (1 + 1e-8);
    const double second = first - 0.1 * ((0.09 + 0.1 * first) / 0.19) /
                                      (sqrt((0.000999 + 0.001 * first * first) / 0.001999) + 1e-8);
    for (o.steps = 1; o.steps <= 2; o.steps++) {
        double theta = 1;
        gm_train_result result;
        ok(gm_train(problem, NULL, &o, NULL, NULL, &theta, &result, &err), &err);
        /* 1 - 0.999 keeps 13 digits of 16 */
        assert_true(fabs(theta - (o.steps == 1 ? first : second)) < 1e-12);
    }
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_net_free(net);
}

/* ---- interruptions ---- */

typedef struct stopper {
    uint64_t done, until;
} stopper;

static bool stop_now(void *context)
{
    const stopper *s = context;
    return s->done >= s->until;
}

static void count_step(void *context, uint64_t t, uint64_t steps, double loss)
{
    (void)t, (void)steps, (void)loss;
    stopper *s = context;
    s->done++;
}

static char *train_in_sessions(const sgd_case *c, const gm_train_options *o, uint64_t length)
{
    gm_error err;
    gm_train_result result;
    const char *path = folder_path("sessions.gmr");
    double *theta = calloc(c->p, sizeof *theta);
    gm_run *run = NULL;
    stopper s = {0, length};
    gm_train_hooks hooks = {.context = &s, .stop = stop_now, .progress = count_step};
    gm_net_init(c->net, GM_INIT_HE, 9, 0, theta);
    ok(gm_run_create(path, true, NULL, 0, &run, &err), &err);
    ok(gm_train(c->problem, NULL, o, &hooks, run, theta, &result, &err), &err);
    gm_run_close(run);
    while (result.outcome != GM_TRAIN_FINISHED) {
        assert_int_equal(result.outcome, GM_TRAIN_INTERRUPTED);
        s.done = 0;
        memset(theta, 0, c->p * sizeof *theta);
        ok(gm_run_open(path, GM_RUN_WRITE, &run, &err), &err);
        ok(gm_train_resume(c->problem, NULL, &hooks, run, theta, &result, &err), &err);
        gm_run_close(run);
    }
    free(theta);
    char *dump = run_dump(path);
    assert_non_null(dump);
    return dump;
}

static void interruptions_change_nothing(void **unused)
{
    (void)unused;
    gm_error err;
    for (size_t i = 0; i < METHODS; i++) {
        sgd_case c;
        ok(sgd_case_open(&c, N, D, "mlp:4-3-1,act=tanh", i % 2 ? GM_F32 : GM_F64, &err), &err);
        gm_train_options o = options_of(&methods[i]);
        char *whole = train_in_sessions(&c, &o, UINT64_MAX);
        for (uint64_t length = 1; length < 9; length += 2) {
            char *parts = train_in_sessions(&c, &o, length);
            assert_string_equal(parts, whole);
            free(parts);
        }
        free(whole);
        sgd_case_close(&c);
    }
    folder_empty();
}

/* Takes the settings that came with optimizers and preconditioners out of a run file. */
static void make_older(const char *path)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "DELETE FROM setting WHERE key IN ('train.optimizer', "
                                  "'train.precondition', 'train.beta1', 'train.beta2', "
                                  "'train.epsilon', 'train.precondition_every')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 6);
    sqlite3_close(db);
}

/* A run file from before these settings is one of SGD, and goes on as such. */
static void older_run_files_go_on(void **unused)
{
    (void)unused;
    gm_error err;
    sgd_case c;
    ok(sgd_case_open(&c, N, D, "mlp:4-3-1,act=tanh", GM_F64, &err), &err);
    gm_train_options o;
    gm_train_options_default(&o);
    o.steps = STEPS;
    o.batch = 3;
    o.step = 0.02;
    o.momentum = 0.9;
    o.checkpoint_every = 6;
    free(train_in_sessions(&c, &o, UINT64_MAX));
    make_older(folder_path("sessions.gmr"));
    char *whole = run_dump(folder_path("sessions.gmr"));

    const char *path = folder_path("older.gmr");
    double theta[64];
    gm_run *run = NULL;
    gm_train_result result;
    stopper s = {0, 11};
    gm_train_hooks hooks = {.context = &s, .stop = stop_now, .progress = count_step};
    assert_true(c.p <= 64);
    gm_net_init(c.net, GM_INIT_HE, 9, 0, theta);
    ok(gm_run_create(path, true, NULL, 0, &run, &err), &err);
    ok(gm_train(c.problem, NULL, &o, &hooks, run, theta, &result, &err), &err);
    gm_run_close(run);
    make_older(path);
    ok(gm_run_open(path, GM_RUN_WRITE, &run, &err), &err);
    ok(gm_train_resume(c.problem, NULL, NULL, run, theta, &result, &err), &err);
    gm_run_close(run);
    assert_int_equal(result.outcome, GM_TRAIN_FINISHED);
    char *older = run_dump(path);
    assert_non_null(whole);
    assert_non_null(older);
    assert_string_equal(older, whole);
    free(older);
    free(whole);
    sgd_case_close(&c);
    folder_empty();
}

/* ---- refusals ---- */

static void what_contradicts_is_refused(void **unused)
{
    (void)unused;
    const gm_train_options good = {.steps = 3, .batch = 2, .step = 0.1, .beta1 = 0.9};
    static const char *const names[] = {"--precondition",
                                        "--momentum",
                                        "--momentum",
                                        "--beta1",
                                        "--beta2",
                                        "--beta2",
                                        "--beta2",
                                        "--epsilon",
                                        "--epsilon",
                                        "--epsilon",
                                        "--precondition-every"};
    enum { CASES = sizeof names / sizeof *names };
    gm_train_options bad[CASES];
    for (int i = 0; i < CASES; i++) {
        bad[i] = good;
    }
    bad[0].optimizer = GM_OPTIMIZER_ADAM, bad[0].precondition = GM_PRECONDITION_ADAGRAD;
    bad[1].optimizer = GM_OPTIMIZER_ADAM, bad[1].momentum = 0.5;
    bad[2].precondition = GM_PRECONDITION_RMSPROP, bad[2].momentum = 0.5;
    bad[3].optimizer = GM_OPTIMIZER_ADAM, bad[3].beta1 = 1;
    bad[4].beta2 = 0.5;
    bad[5].optimizer = GM_OPTIMIZER_ADAM, bad[5].beta2 = 1;
    bad[6].precondition = GM_PRECONDITION_RMSPROP, bad[6].beta2 = (double)NAN;
    bad[7].epsilon = 1e-3;
    bad[8].optimizer = GM_OPTIMIZER_ADAM, bad[8].epsilon = -1;
    bad[9].precondition = GM_PRECONDITION_ADAGRAD, bad[9].epsilon = (double)INFINITY;
    bad[10].precondition = GM_PRECONDITION_RMSPROP, bad[10].precondition_every = 5;
    gm_error err;
    for (int i = 0; i < CASES; i++) {
        fails(gm_train_options_check(&bad[i], N, &err), GM_ERR_USAGE, &err, names[i]);
    }
    ok(gm_train_options_check(&good, N, &err), &err);
}

static void runs_without_a_diagonal_are_refused(void **unused)
{
    (void)unused;
    gm_error err;
    gm_run *run = NULL;
    gm_train_result result;
    sgd_case c;
    double theta[D] = {1, 2, 3, 4}, *diagonal = theta;
    char *what = NULL;
    size_t p = 1;
    stopper at_once = {0, 0};
    gm_train_hooks hooks = {.context = &at_once, .stop = stop_now};
    gm_train_options plain = {.steps = 3, .batch = 2, .step = 0.1}, adam = options_of(methods);
    ok(sgd_case_open(&c, N, D, NULL, GM_F64, &err), &err);
    ok(gm_run_create(folder_path("a.gmr"), true, NULL, 0, &run, &err), &err);
    fails(gm_precondition_from_run(run, &diagonal, &p, &what, &err), GM_ERR_INPUT, &err,
          "holds no training");
    ok(gm_train(c.problem, NULL, &plain, NULL, run, theta, &result, &err), &err);
    fails(gm_precondition_from_run(run, &diagonal, &p, &what, &err), GM_ERR_INPUT, &err,
          "plain SGD");
    assert_null(diagonal);
    gm_run_close(run);
    ok(gm_run_create(folder_path("b.gmr"), true, NULL, 0, &run, &err), &err);
    ok(gm_train(c.problem, NULL, &adam, &hooks, run, theta, &result, &err), &err);
    fails(gm_precondition_from_run(run, &diagonal, &p, &what, &err), GM_ERR_INPUT, &err,
          "before its first step");
    gm_run_close(run);
    sgd_case_close(&c);
    folder_empty();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_follows_the_reference),
        cmocka_unit_test(adam_by_hand),
        cmocka_unit_test(interruptions_change_nothing),
        cmocka_unit_test(older_run_files_go_on),
        cmocka_unit_test(what_contradicts_is_refused),
        cmocka_unit_test(runs_without_a_diagonal_are_refused),
    };
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "train_precondition");
    return folder_remove(NULL) ? 1 : failed;
}
