/* Training against a loop of plain C on linear regression, whose gradient is written down here, and
 * against steps worked out by hand; then its run file, interruptions and refusals. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "folder.h"
#include "sgd_case.h"
#include "support.h"

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

static void open_case(sgd_case *c, size_t n, size_t d, const char *spec, gm_dtype dtype)
{
    gm_error err;
    ok(sgd_case_open(c, n, d, spec, dtype, &err), &err);
}

static gm_run *create(const char *path)
{
    gm_error err;
    gm_run *run = NULL;
    ok(gm_run_create(path, true, NULL, 0, &run, &err), &err);
    return run;
}

static gm_run *reopen(const char *path)
{
    gm_error err;
    gm_run *run = NULL;
    ok(gm_run_open(path, GM_RUN_WRITE, &run, &err), &err);
    return run;
}

/* ---- the update ---- */

/* f = 1/2 w^2 (one sample, x = 1, y = 0), gradient w, from w = 1 with eta = 0.1: the formulas of
 * torch.optim.SGD by hand. Numbers of four or five digits: the error is a few roundings. */
static void steps_by_hand(void **unused)
{
    (void)unused;
    static const struct {
        double momentum, decay;
        bool nesterov;
        double w[3];
    } cases[] = {
        {0.0, 0.0, false, {0.9, 0.81, 0.729}},
        /* v = 1, 1.4, 1.46 */
        {0.5, 0.0, false, {0.9, 0.76, 0.614}},
        /* v = 1, 1.35, 1.3725; steps 1.5, 1.525, 1.38375 */
        {0.5, 0.0, true, {0.85, 0.6975, 0.559125}},
        /* w *= 1 - 0.1 * 1.2 */
        {0.0, 0.2, false, {0.88, 0.7744, 0.681472}},
        /* g = 1.2, 0.984, 0.77088; v = 1.2, 1.584, 1.56288; steps 1.8, 1.776, 1.55232 */
        {0.5, 0.2, true, {0.82, 0.6424, 0.487168}},
        /* g = 1.2, 1.056; v = 1.2, 1.656; then g = 0.85728, v = 1.68528 */
        {0.5, 0.2, false, {0.88, 0.7144, 0.545872}},
    };
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
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (uint64_t steps = 1; steps <= 3; steps++) {
            gm_train_options o;
            gm_train_options_default(&o);
            o.steps = steps;
            o.batch = 1;
            o.momentum = cases[i].momentum;
            o.nesterov = cases[i].nesterov;
            o.weight_decay = cases[i].decay;
            double theta = 1;
            gm_train_result result;
            ok(gm_train(problem, NULL, &o, NULL, NULL, &theta, &result, &err), &err);
            assert_true(fabs(theta - cases[i].w[steps - 1]) < 1e-14);
            assert_int_equal(result.outcome, GM_TRAIN_FINISHED);
            /* The loss never includes the decay: 1/2 w^2, and its gradient w. */
            assert_true(fabs(result.loss - 0.5 * theta * theta) < 1e-14);
            assert_true(fabs(result.gradient_norm - fabs(theta)) < 1e-14);
            assert_true(fabs(result.distance - (1 - theta)) < 1e-14);
        }
    }
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_net_free(net);
}

/* Mean loss and gradient of 1/2 (w.x - y)^2 over samples index[m]. */
static double regression(const sgd_case *c, const double *w, size_t m, const size_t *index,
                         double *gradient)
{
    double loss = 0;
    memset(gradient, 0, c->d * sizeof *gradient);
    for (size_t i = 0; i < m; i++) {
        const double *x = c->x + index[i] * c->d;
        double residual = -c->y[index[i]];
        for (size_t j = 0; j < c->d; j++) {
            residual += w[j] * x[j];
        }
        loss += 0.5 * residual * residual / (double)m;
        for (size_t j = 0; j < c->d; j++) {
            gradient[j] += residual * x[j] / (double)m;
        }
    }
    return loss;
}

/* A metric by step, NaN where there is none; steps from 0 to 99. */
typedef struct series {
    double at[100];
} series;

static series read_series(gm_run *run, const char *name)
{
    gm_error err;
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    series s;
    for (size_t i = 0; i < 100; i++) {
        s.at[i] = (double)NAN;
    }
    ok(gm_run_metric(run, name, &step, &value, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        assert_in_range(step[i], 0, 99);
        s.at[step[i]] = value[i];
    }
    gm_run_free(step);
    gm_run_free(value);
    return s;
}

enum { D = 4, STEPS = 25 };

/* The same training in double and plain loops; tells the largest relative deviation of what the run
 * file says and of the last parameters. */
static double deviation_from_reference(const sgd_case *c, const gm_train_options *o,
                                       const double *start, const double *theta, gm_run *run)
{
    const series batch_loss = read_series(run, "batch_loss");
    const series measured[] = {read_series(run, "loss"), read_series(run, "gradient_norm"),
                               read_series(run, "distance")};
    double w[D], v[D] = {0}, g[D], full[D], worst = 0;
    size_t *index = calloc(o->batch + c->n, sizeof *index), *all = index + o->batch;
    gm_error err;
    gm_sampler *sampler = NULL;
    memcpy(w, start, sizeof w);
    for (size_t i = 0; i < c->n; i++) {
        all[i] = i;
    }
    ok(gm_sampler_create(c->n, o->batch, o->replacement, o->seed, o->run, &sampler, &err), &err);
    for (uint64_t t = 0; t <= o->steps; t++) {
        if (gm_train_records(o, c->n, c->p, t)) {
            double loss = regression(c, w, c->n, all, full), square = 0, moved = 0;
            for (size_t j = 0; j < D; j++) {
                square += full[j] * full[j];
                moved += (w[j] - start[j]) * (w[j] - start[j]);
            }
            double expected[] = {loss, sqrt(square), sqrt(moved)};
            for (int i = 0; i < 3; i++) {
                double got = measured[i].at[t];
                worst = fmax(worst, fabs(got - expected[i]) / (fabs(expected[i]) + 1e-3));
                if (isnan(got)) worst = (double)INFINITY;
            }
        }
        if (t == o->steps) break;
        size_t m = gm_sampler_draw(sampler, t, index);
        double loss = regression(c, w, m, index, g);
        double got = batch_loss.at[t];
        worst = isnan(got) ? (double)INFINITY : fmax(worst, fabs(got - loss) / (loss + 1e-3));
        for (size_t j = 0; j < D; j++) {
            g[j] += o->weight_decay * w[j];
            v[j] = o->momentum * v[j] + g[j];
            double step = o->nesterov ? g[j] + o->momentum * v[j] : v[j];
            w[j] -= o->step * step;
        }
    }
    for (size_t j = 0; j < D; j++) {
        worst = fmax(worst, fabs(theta[j] - w[j]) / (fabs(w[j]) + 1e-3));
    }
    gm_sampler_free(sampler);
    free(index);
    return worst;
}

/* Replacement, momentum, decay, both precisions; n = 10 and batch 4 leave a short batch of 2. The
 * tolerances are 25 steps' roundings of either precision, with a reserve of 100. */
static void training_follows_the_reference(void **unused)
{
    (void)unused;
    const double start[D] = {0.5, -0.25, 2, 0};
    gm_error err;
    for (int dtype = GM_F32; dtype <= GM_F64; dtype++) {
        sgd_case c;
        open_case(&c, 10, D, NULL, (gm_dtype)dtype);
        for (size_t i = 0; dtype == GM_F32 && i < c.n * D; i++) {
            c.x[i] = (double)(float)c.x[i]; /* what the library sees */
        }
        for (int i = 0; i < 18; i++) {
            gm_train_options o;
            gm_train_options_default(&o);
            o.steps = STEPS;
            o.step = 0.05;
            o.seed = 11;
            o.batch = i % 2 ? 4 : 1;
            o.replacement = (gm_replacement)(i / 2 % 3);
            o.momentum = i < 6 ? 0.0 : 0.6;
            o.nesterov = i >= 12;
            o.weight_decay = i % 3 ? 0.1 : 0.0;
            gm_run *run = create(folder_path("reference.gmr"));
            double theta[D];
            gm_train_result result;
            memcpy(theta, start, sizeof theta);
            ok(gm_train(c.problem, NULL, &o, NULL, run, theta, &result, &err), &err);
            double worst = deviation_from_reference(&c, &o, start, theta, run);
            gm_run_close(run);
            double bound = dtype == GM_F32 ? 1e-3 : 1e-12;
            if (!(worst < bound)) fail_msg("case %d of type %d: %g", i, dtype, worst);
        }
        sgd_case_close(&c);
    }
    folder_empty();
}

/* ---- the run file ---- */

static gm_train_options small_options(void)
{
    gm_train_options o;
    gm_train_options_default(&o);
    o.steps = 12;
    o.batch = 3;
    o.step = 0.05;
    o.momentum = 0.7;
    o.nesterov = true;
    o.weight_decay = 0.01;
    o.replacement = GM_REPLACEMENT_EPOCH;
    o.seed = UINT64_MAX; /* all 64 bits come back */
    o.run = 3;
    o.keep_every = 5;
    o.record_every = 4;
    o.checkpoint_every = 3;
    return o;
}

static const char small_net[] = "mlp:4-3-1,act=tanh";

static void take_start(const sgd_case *c, double *theta)
{
    gm_net_init(c->net, GM_INIT_HE, 9, 0, theta);
}

static void the_run_file_holds_the_run(void **unused)
{
    (void)unused;
    gm_error err;
    sgd_case c;
    open_case(&c, 10, D, small_net, GM_F64);
    gm_train_options o = small_options(), back;
    double *theta = calloc(c.p, sizeof *theta), *again = calloc(c.p, sizeof *again);
    gm_train_result result;
    take_start(&c, theta);
    const char *path = folder_path("run.gmr");
    gm_run *run = create(path);
    ok(gm_train(c.problem, c.problem, &o, NULL, run, theta, &result, &err), &err);
    assert_true(result.first_step == 0 && result.step == 12);
    assert_int_equal(result.note[0], '\0');

    memset(&back, 0, sizeof back);
    ok(gm_train_options_load(run, &back, &err), &err);
    assert_true(back.steps == o.steps && back.batch == o.batch && back.step == o.step);
    assert_true(back.momentum == o.momentum && back.nesterov == o.nesterov);
    assert_true(back.weight_decay == o.weight_decay && back.replacement == o.replacement);
    assert_true(back.seed == o.seed && back.run == o.run && back.keep_every == o.keep_every);
    assert_true(back.record_every == 4 && back.checkpoint_every == 3);

    static const int64_t kept[] = {0, 5, 10, 12}, measured[] = {0, 4, 5, 8, 10, 12};
    int64_t *step = NULL;
    double *value = NULL, *last = NULL;
    size_t count = 0, p = 0;
    ok(gm_run_checkpoints(run, &step, &count, &err), &err);
    assert_int_equal(count, 4);
    assert_memory_equal(step, kept, sizeof kept);
    gm_run_free(step);
    static const char *const names[] = {
        "loss", "error_rate", "test_loss", "test_error_rate", "gradient_norm", "distance"};
    for (size_t i = 0; i < 6; i++) {
        ok(gm_run_metric(run, names[i], &step, &value, &count, &err), &err);
        assert_int_equal(count, 6);
        assert_memory_equal(step, measured, sizeof measured);
        gm_run_free(step);
        gm_run_free(value);
    }
    assert_true(read_series(run, "test_loss").at[8] ==
                read_series(run, "loss").at[8]); /* the same set */
    assert_true(read_series(run, "loss").at[12] == result.loss);
    ok(gm_run_parameters(run, GM_RUN_LAST, &last, &p, NULL, &err), &err);
    assert_int_equal(p, c.p);
    assert_memory_equal(last, theta, p * sizeof *theta);
    gm_run_free(last);
    gm_run_state *state = NULL;
    ok(gm_run_load_state(run, &state, &err), &err);
    assert_string_equal(state->status, "finished");
    assert_true(state->stream_seed == o.seed && state->stream_run == 3 && state->slots == 1);
    gm_run_free(state);

    /* A second training in it is refused, and resuming finds nothing to do. */
    fails(gm_train(c.problem, NULL, &o, NULL, run, again, &result, &err), GM_ERR_USAGE, &err,
          "holds a training already, at step 12");
    ok(gm_train_resume(c.problem, c.problem, NULL, run, again, &result, &err), &err);
    assert_int_equal(result.outcome, GM_TRAIN_FINISHED);
    assert_true(result.first_step == 12 && result.step == 12 && result.saves == 0);
    assert_true(result.loss == read_series(run, "loss").at[12]);
    assert_memory_equal(again, theta, c.p * sizeof *theta);
    gm_run_close(run);

    /* Without a run file the numbers are the same. */
    take_start(&c, again);
    ok(gm_train(c.problem, NULL, &o, NULL, NULL, again, &result, &err), &err);
    assert_memory_equal(again, theta, c.p * sizeof *theta);
    free(theta);
    free(again);
    sgd_case_close(&c);
    folder_empty();
}

/* ---- interruptions ---- */

/* Stops when the training has done `until` updates. */
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
    stopper *s = context;
    assert_true(t <= steps && isfinite(loss));
    s->done++;
}

/* Trains in sessions of `length` updates each until finished; the dump of the run file. */
static char *train_in_sessions(const sgd_case *c, const gm_train_options *o, uint64_t first,
                               uint64_t length)
{
    gm_error err;
    gm_train_result result;
    const char *path = folder_path("sessions.gmr");
    double *theta = calloc(c->p, sizeof *theta);
    gm_run *run = create(path);
    stopper s = {0, first};
    gm_train_hooks hooks = {.context = &s, .stop = stop_now, .progress = count_step};
    take_start(c, theta);
    ok(gm_train(c->problem, NULL, o, &hooks, run, theta, &result, &err), &err);
    gm_run_close(run);
    while (result.outcome != GM_TRAIN_FINISHED) {
        assert_int_equal(result.outcome, GM_TRAIN_INTERRUPTED);
        assert_non_null(strstr(result.message, "--resume"));
        uint64_t before = result.step;
        s = (stopper){0, length};
        run = reopen(path);
        memset(theta, 0, c->p * sizeof *theta);
        ok(gm_train_resume(c->problem, NULL, &hooks, run, theta, &result, &err), &err);
        gm_run_close(run);
        assert_int_equal(result.first_step, before);
    }
    free(theta);
    char *dump = run_dump(path);
    assert_non_null(dump);
    return dump;
}

static void interruptions_change_nothing(void **unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        sgd_case c;
        open_case(&c, 10, D, small_net, i == 1 ? GM_F32 : GM_F64);
        gm_train_options o = small_options();
        o.replacement = (gm_replacement)i;
        if (i == 2) o.keep_every = o.record_every = o.checkpoint_every = 0;
        if (i == 0) o.momentum = 0, o.nesterov = false;
        char *whole = train_in_sessions(&c, &o, UINT64_MAX, 0);
        for (uint64_t at = 0; at < o.steps; at++) { /* once, at every step */
            char *parts = train_in_sessions(&c, &o, at, UINT64_MAX);
            assert_string_equal(parts, whole);
            free(parts);
        }
        char *parts = train_in_sessions(&c, &o, 0, 1); /* at every step */
        assert_string_equal(parts, whole);
        free(parts);
        free(whole);
        sgd_case_close(&c);
    }
    folder_empty();
}

static void resuming_elsewhere_is_noticed(void **unused)
{
    (void)unused;
    gm_error err;
    gm_train_result result;
    sgd_case c, wider, narrow, other;
    open_case(&c, 10, D, small_net, GM_F64);
    open_case(&wider, 10, D, "mlp:4-4-1", GM_F64);
    open_case(&narrow, 10, D, small_net, GM_F32);
    open_case(&other, 11, D, small_net, GM_F64);
    double theta[64];
    const char *path = folder_path("elsewhere.gmr");
    gm_run *run = create(path);
    fails(gm_train_resume(c.problem, NULL, NULL, run, theta, &result, &err), GM_ERR_INPUT, &err,
          "holds no training");
    stopper s = {0, 2};
    gm_train_hooks hooks = {.context = &s, .stop = stop_now, .progress = count_step};
    gm_train_options o = small_options();
    take_start(&c, theta);
    ok(gm_train(c.problem, NULL, &o, &hooks, run, theta, &result, &err), &err);
    fails(gm_train_resume(wider.problem, NULL, NULL, run, theta, &result, &err), GM_ERR_INPUT, &err,
          "train.parameters is 19, but the training here has 25");
    fails(gm_train_resume(narrow.problem, NULL, NULL, run, theta, &result, &err), GM_ERR_INPUT,
          &err, "train.precision");
    fails(gm_train_resume(other.problem, NULL, NULL, run, theta, &result, &err), GM_ERR_INPUT, &err,
          "train.samples");
    fails(gm_train_resume(c.problem, c.problem, NULL, run, theta, &result, &err), GM_ERR_INPUT,
          &err, "train.test_crc32");
    ((double *)c.data->x)[5] += 1e-9; /* one bit of one feature */
    fails(gm_train_resume(c.problem, NULL, NULL, run, theta, &result, &err), GM_ERR_INPUT, &err,
          "train.data_crc32");
    ((double *)c.data->x)[5] = c.x[5];

    int threads = omp_get_max_threads();
    omp_set_num_threads(threads + 1);
    ok(gm_train_resume(c.problem, NULL, NULL, run, theta, &result, &err), &err);
    omp_set_num_threads(threads);
    assert_non_null(strstr(result.note, "threads"));
    assert_int_equal(result.outcome, GM_TRAIN_FINISHED);
    gm_run_close(run);
    sgd_case_close(&c);
    sgd_case_close(&wider);
    sgd_case_close(&narrow);
    sgd_case_close(&other);
    folder_empty();
}

/* ---- divergence ---- */

static void diverge(double scale, double step, gm_dtype dtype, bool keeps_last)
{
    gm_error err;
    gm_train_result result;
    gm_shape shape = {.rank = 1, .dim = {1}};
    gm_net *net = NULL;
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_problem_options po;
    const double zero = 0;
    double theta = 1, *last = NULL;
    size_t p = 0;
    int64_t found = 0;
    gm_problem_options_default(&po);
    po.loss = GM_LOSS_SQUARED;
    ok(gm_net_from_spec("mlp:1-1,bias=no", &shape, 0, &net, &err), &err);
    ok(gm_data_from_arrays("one", 1, &shape, &scale, NULL, &zero, 1, dtype, 0, &data, &err), &err);
    ok(gm_problem_create(net, data, &po, &problem, &err), &err);
    gm_train_options o;
    gm_train_options_default(&o);
    o.steps = 100000;
    o.batch = 1;
    o.step = step;
    o.keep_every = o.record_every = o.checkpoint_every = 1000000;
    const char *path = folder_path("diverged.gmr");
    gm_run *run = create(path);
    ok(gm_train(problem, NULL, &o, NULL, run, &theta, &result, &err), &err);
    assert_int_equal(result.outcome, GM_TRAIN_DIVERGED);
    assert_true(result.step > 0 && result.step < o.steps);
    assert_non_null(strstr(result.message, "diverged at step"));

    /* What is stored is finite, and every loss up to the end is there. */
    ok(gm_run_parameters(run, GM_RUN_LAST, &last, &p, &found, &err), &err);
    assert_true(isfinite(last[0]));
    assert_int_equal(found, keeps_last ? (int64_t)result.step : 0);
    gm_run_free(last);
    int64_t *steps = NULL;
    double *value = NULL;
    size_t count = 0;
    ok(gm_run_metric(run, "batch_loss", &steps, &value, &count, &err), &err);
    assert_int_equal(count, result.step + (keeps_last ? 1 : 0));
    if (keeps_last) assert_false(isfinite(value[count - 1]));
    gm_run_free(steps);
    gm_run_free(value);
    gm_run_state *state = NULL;
    ok(gm_run_load_state(run, &state, &err), &err);
    assert_string_equal(state->status, "diverged");
    assert_string_equal(state->message, result.message);
    gm_run_free(state);
    gm_train_result again;
    ok(gm_train_resume(problem, NULL, NULL, run, &theta, &again, &err), &err);
    assert_int_equal(again.outcome, GM_TRAIN_DIVERGED);
    assert_int_equal(again.saves, 0);
    gm_run_close(run);
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_net_free(net);
}

static void divergence_is_an_outcome(void **unused)
{
    (void)unused;
    /* w doubles in size each step. 1/2 (1000 w)^2 overflows before w^2 does: the loss shows it. */
    diverge(1000, 3e-6, GM_F64, true);
    /* w^2 overflows before 1/2 w^2 does: the parameters show it. */
    diverge(1, 3, GM_F64, false);
    /* In f32 w = inf itself. */
    diverge(1e-6, 3e12, GM_F32, false);
    folder_empty();
}

/* ---- refusals ---- */

static void bad_options_are_refused(void **unused)
{
    (void)unused;
    gm_error err;
    gm_train_result result;
    sgd_case c;
    open_case(&c, 10, D, NULL, GM_F64);
    const gm_train_options good = {.steps = 3, .batch = 2, .step = 0.1};
    static const char *const names[] = {
        "--steps",    "--steps",    "--batch",        "--batch",       "--batch",
        "--step",     "--step",     "--step",         "--momentum",    "--momentum",
        "--momentum", "--nesterov", "--weight-decay", "--weight-decay"};
    enum { CASES = sizeof names / sizeof *names };
    gm_train_options bad[CASES];
    for (int i = 0; i < CASES; i++) {
        bad[i] = good;
    }
    bad[0].steps = 0;
    bad[1].steps = UINT64_MAX;
    bad[2].batch = 0;
    bad[3].batch = 11, bad[3].replacement = GM_REPLACEMENT_NO;
    bad[4].batch = 11, bad[4].replacement = GM_REPLACEMENT_EPOCH;
    bad[5].step = 0;
    bad[6].step = (double)NAN;
    bad[7].step = (double)INFINITY;
    bad[8].momentum = 1;
    bad[9].momentum = -0.1;
    bad[10].momentum = (double)NAN;
    bad[11].nesterov = true;
    bad[12].weight_decay = -1;
    bad[13].weight_decay = (double)INFINITY;
    double theta[D] = {1, 2, 3, 4};
    for (int i = 0; i < CASES; i++) {
        fails(gm_train(c.problem, NULL, &bad[i], NULL, NULL, theta, &result, &err), GM_ERR_USAGE,
              &err, names[i]);
    }
    theta[2] = (double)NAN;
    fails(gm_train(c.problem, NULL, &good, NULL, NULL, theta, &result, &err), GM_ERR_INPUT, &err,
          "parameter 2 is nan");
    theta[2] = 0;
    gm_run *run = create(folder_path("readonly.gmr"));
    gm_run_close(run);
    ok(gm_run_open(folder_path("readonly.gmr"), GM_RUN_READ, &run, &err), &err);
    fails(gm_train(c.problem, NULL, &good, NULL, run, theta, &result, &err), GM_ERR_USAGE, &err,
          "reading only");
    gm_run_close(run);
    sgd_case_close(&c);
    folder_empty();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_by_hand),
        cmocka_unit_test(training_follows_the_reference),
        cmocka_unit_test(the_run_file_holds_the_run),
        cmocka_unit_test(interruptions_change_nothing),
        cmocka_unit_test(resuming_elsewhere_is_noticed),
        cmocka_unit_test(divergence_is_an_outcome),
        cmocka_unit_test(bad_options_are_refused),
    };
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "sgd");
    return folder_remove(NULL) ? 1 : failed;
}
