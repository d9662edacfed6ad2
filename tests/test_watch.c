/* Gauges of a training's batches against gradients and Hessians of single samples from a second
 * implementation (reference.h), without bias over all batches, the alarm, and the state through a
 * run file.
 *
 * Tolerances: 1e-11 in double, rounding of sums; 2e-4 in single precision, of quotients of sums
 * that carry 3e-5 (test_curvature). */
#include "support.h"

#include <math.h>
#include <unistd.h>

#include "gradiometer/run.h"
#include "gradiometer/track.h"
#include "image_nets.h"
#include "problems.h"
#include "track/watch.h"

static const test_case cases[] = {
    {"mlp:4-5-3,act=relu", {2, {4, 5, 3}, REF_RELU, true, false}, 9, 0.8},
    {"mlp:4-5-4-3,act=tanh", {3, {4, 5, 4, 3}, REF_TANH, true, true}, 9, 0.8},
    {"mlp:3-4-3,act=softplus,bias=no", {2, {3, 4, 3}, REF_SOFTPLUS, false, false}, 9, 1.0},
};

/* A batch of the problem with its gradient, in the problem's precision. */
typedef struct batch_case {
    size_t m, index[9];
    void *theta, *gradient;
    gm_train_batch batch;
} batch_case;

static void open_batch(test_problem *t, gm_dtype dtype, batch_case *b, uint64_t step, double eta)
{
    gm_error err = {0};
    const gm_kernels *k = gm_kernels_get(dtype);
    double loss;
    b->theta = calloc(t->p, k->size);
    b->gradient = calloc(t->p, k->size);
    k->from_double(t->p, t->theta, b->theta);
    expect_ok(
        gm_problem_batch_gradient(t->problem, b->theta, b->m, b->index, &loss, b->gradient, &err),
        &err);
    b->batch = (gm_train_batch){step, eta, b->m, b->index, loss, b->theta, b->gradient};
}

static void close_batch(batch_case *b)
{
    free(b->theta);
    free(b->gradient);
}

static gm_train_options training(size_t batch)
{
    gm_train_options o;
    gm_train_options_default(&o);
    o.batch = batch;
    o.step = 0.1;
    return o;
}

/* The last value noted of a series. */
static double noted(const gm_gauge_watch *w, gm_gauge_series series)
{
    for (size_t i = w->metrics; i-- > 0;) {
        if (strcmp(w->metric[i].name, gm_gauge_series_name[series]) == 0) return w->metric[i].value;
    }
    fail_msg("%s was not noted", gm_gauge_series_name[series]);
    return 0;
}

static void close_to(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance * fabs(expected)))
        fail_msg("%s: found %.17g, expected %.17g", what, found, expected);
}

static void against_single_samples(test_problem *t, const test_case *c, gm_dtype dtype,
                                   const batch_case *b, const gm_gauge_watch *w)
{
    double tolerance = dtype == GM_F64 ? 1e-11 : 2e-4;
    size_t p = t->p, n = c->n, m = b->m, outputs = c->ref.width[c->ref.layers];
    double *row = calloc(n * p, sizeof *row), *g = calloc(p, sizeof *g), *v = calloc(p, sizeof *v);
    double *h = calloc(p * p, sizeof *h), *sum = calloc(p * p, sizeof *sum);
    ref_gradients(&c->ref, t->theta, &t->ref, row);
    gm_normal_fill(gm_stream_of(0, GM_PURPOSE_KRYLOV, 0), 0, p, v);
    for (size_t i = 0; i < m; i++) {
        size_t s = b->index[i];
        ref_data one = {1, t->x + s * c->ref.width[0], t->ref.label ? t->label + s : NULL,
                        t->ref.target ? t->target + s * outputs : NULL};
        memset(h, 0, p * p * sizeof *h);
        ref_matrix(&c->ref, t->theta, &one, REF_H, h);
        for (size_t r = 0; r < p * p; r++) {
            sum[r] += h[r] / (double)m;
        }
        for (size_t j = 0; j < p; j++) {
            g[j] += row[s * p + j] / (double)m;
        }
    }
    double square = 0, form = 0, length = 0, sharp = 0, trace = 0, pairs = 0, spread = 0, mean;
    for (size_t r = 0; r < p * p; r++) {
        form += g[r / p] * sum[r] * g[r % p];
        sharp += v[r / p] * sum[r] * v[r % p];
    }
    for (size_t j = 0; j < p; j++) {
        square += g[j] * g[j];
        length += v[j] * v[j];
    }
    double other[9] = {0}; /* the mean of g_i . g_j over j != i */
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < p; j++) {
            double away = row[b->index[i] * p + j] - g[j];
            trace += away * away / ((double)m - 1);
            for (size_t l = 0; l < m; l++) {
                double product = row[b->index[i] * p + j] * row[b->index[l] * p + j];
                if (l != i) other[i] += product / ((double)m - 1);
            }
        }
        pairs += other[i] / (double)m;
    }
    for (size_t i = 0; i < m; i++) {
        spread += (other[i] - pairs) * (other[i] - pairs) / ((double)m - 1);
    }
    mean = sqrt(length);
    close_to(noted(w, GM_SERIES_SQUARE), pairs, tolerance * square / fabs(pairs), "|mu|^2");
    close_to(noted(w, GM_SERIES_SQUARE_ERROR), 2 * sqrt(spread / (double)m), 10 * tolerance,
             "error of |mu|^2");
    close_to(noted(w, GM_SERIES_TRACE), trace, tolerance, "tr Sigma");
    assert_true(noted(w, GM_SERIES_TRACE_ERROR) > 0);
    close_to(noted(w, GM_SERIES_BATCH_SHARPNESS), form / square, tolerance, "Batch Sharpness");
    close_to(noted(w, GM_SERIES_SHARPNESS), sharp / mean / mean, 10 * tolerance, "sharpness");
    free(row);
    free(g);
    free(v);
    free(h);
    free(sum);
}

/* With the Gram matrix (a batch of 3), by products (a batch of 9), chunk by chunk, and with a
 * sample that occurs twice. */
static void gauges_match(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        for (int way = 0; way < 6; way++) {
            gm_dtype dtype = way % 2 ? GM_F64 : GM_F32;
            gm_error err = {0};
            test_problem t;
            batch_case b = {.m = way > 1 ? 9 : 3, .index = {4, 1, 7, 1, 2, 0, 3, 8, 5}};
            gm_gauge_watch_options o;
            gm_gauge_watch *w = NULL;
            gm_train_options training_options = training(b.m);
            test_problem_open(&t, &cases[i], dtype, way > 3 ? 4 : 9, 0);
            gm_gauge_watch_options_default(&o);
            expect_ok(gm_gauge_watch_create(t.problem, &o, &training_options, &w, &err), &err);
            open_batch(&t, dtype, &b, 0, 0.1);
            expect_ok(gm_gauge_watch_batch(w, &b.batch, &err), &err);
            against_single_samples(&t, &cases[i], dtype, &b, w);
            gm_gauge_watch_free(w);
            close_batch(&b);
            test_problem_close(&t);
        }
    }
}

/* Weights that act at several positions: norms and inner products of dense per-sample gradients,
 * found through problems of single samples; a batch of all samples, whose H_B is H. */
static void images_match(void **state)
{
    (void)state;
    static const image_case nets[] = {
        {"cnn:3-4,act=tanh", NULL, {3, {2, 8, 9}}, 6, 3, true, false},
        {"cnn:3-4,bias=no", NULL, {3, {1, 8, 8}}, 6, 3, false, false},
        {"resnet20", NULL, {3, {3, 8, 8}}, 6, 3, false, false},
    };
    for (int way = 0; way < 7; way++) {
        const image_case *c = &nets[way / 3];
        gm_dtype dtype = way % 3 == 1 ? GM_F32 : GM_F64;
        double tolerance = dtype == GM_F64 ? 1e-10 : 2e-4;
        gm_error err = {0};
        image_problem t;
        batch_case b = {.m = 6, .index = {4, 1, 3, 0, 2, 5}};
        gm_gauge_watch_options o;
        gm_gauge_watch *w = NULL;
        gm_train_options training_options = training(b.m);
        image_open(&t, c, dtype, false, way % 3 == 2 ? 4 : 0, 0);
        gm_gauge_watch_options_default(&o);
        expect_ok(gm_gauge_watch_create(t.problem, &o, &training_options, &w, &err), &err);
        size_t p = t.p, n = t.n;
        double *row = calloc((n + 4) * p, sizeof *row), *g = row + n * p, *v = g + p, *hg = v + p,
               *hv = hg + p;
        double own = 0, square = 0, length = 0, form = 0, sharp = 0, count = (double)n;
        for (size_t i = 0; i < n; i++) {
            image_sample(&t, i, c->classes, &t.label[i], NULL, row + i * p);
            for (size_t j = 0; j < p; j++) {
                own += row[i * p + j] * row[i * p + j];
                g[j] += row[i * p + j] / count;
            }
        }
        gm_normal_fill(gm_stream_of(0, GM_PURPOSE_KRYLOV, 0), 0, p, v);
        image_product(&t, GM_HESSIAN, g, hg);
        image_product(&t, GM_HESSIAN, v, hv);
        for (size_t j = 0; j < p; j++) {
            square += g[j] * g[j];
            length += v[j] * v[j];
            form += g[j] * hg[j];
            sharp += v[j] * hv[j];
        }
        test_problem as = {.problem = t.problem, .p = p, .theta = t.theta};
        open_batch(&as, dtype, &b, 0, 0.1);
        expect_ok(gm_gauge_watch_batch(w, &b.batch, &err), &err);
        double pairs = (count * square - own / count) / (count - 1);
        close_to(noted(w, GM_SERIES_SQUARE), pairs, tolerance * square / fabs(pairs), "|mu|^2");
        close_to(noted(w, GM_SERIES_TRACE), (own - count * square) / (count - 1), tolerance,
                 "tr Sigma");
        close_to(noted(w, GM_SERIES_BATCH_SHARPNESS), form / square, tolerance, "Batch Sharpness");
        close_to(noted(w, GM_SERIES_SHARPNESS), sharp / length, 10 * tolerance, "sharpness");
        gm_gauge_watch_free(w);
        close_batch(&b);
        free(row);
        image_close(&t);
    }
}

/* Means over all ordered pairs (with replacement), or all pairs of two samples (without). */
static void without_bias(void **state)
{
    (void)state;
    const test_case *c = &cases[0];
    gm_error err = {0};
    test_problem t;
    test_problem_open(&t, c, GM_F64, 0, 0);
    size_t p = t.p, n = c->n;
    double *row = calloc(n * p, sizeof *row), square = 0, trace = 0;
    const double *mu = gm_linearization_gradient(t.lin);
    ref_gradients(&c->ref, t.theta, &t.ref, row);
    for (size_t j = 0; j < p; j++) {
        square += mu[j] * mu[j];
        for (size_t i = 0; i < n; i++) {
            trace += (row[i * p + j] - mu[j]) * (row[i * p + j] - mu[j]) / (double)n;
        }
    }
    for (int without = 0; without < 2; without++) {
        double squares = 0, traces = 0, batches = (double)(n * (without ? n - 1 : n));
        gm_gauge_watch_options o;
        gm_gauge_watch *w = NULL;
        gm_train_options training_options = training(2);
        training_options.replacement = without ? GM_REPLACEMENT_NO : GM_REPLACEMENT_YES;
        gm_gauge_watch_options_default(&o);
        o.curvature = 0;
        expect_ok(gm_gauge_watch_create(t.problem, &o, &training_options, &w, &err), &err);
        for (size_t pair = 0; pair < n * n; pair++) {
            batch_case b = {.m = 2, .index = {pair / n, pair % n}};
            if (without && b.index[0] == b.index[1]) continue;
            open_batch(&t, GM_F64, &b, pair, 0.1);
            expect_ok(gm_gauge_watch_batch(w, &b.batch, &err), &err);
            squares += noted(w, GM_SERIES_SQUARE) / batches;
            traces += noted(w, GM_SERIES_TRACE) / batches;
            close_batch(&b);
        }
        close_to(squares, square, 1e-11 * trace / square, "|mu|^2");
        close_to(traces, trace, 1e-11, "tr Sigma");
        assert_int_equal(gm_gauge_watch_results(w).watched, 0); /* no alarm without curvature */
        gm_gauge_watch_free(w);
    }
    free(row);
    test_problem_close(&t);
}

/* A loss that jumps far above what a step explains raises the alarm; one that falls, or follows the
 * prediction, does not. The state in a run file goes on to equal bits. */
static void alarm_and_state(void **state)
{
    (void)state;
    gm_error err = {0};
    test_problem t;
    gm_gauge_watch_options o;
    gm_gauge_watch *w = NULL, *again = NULL;
    gm_train_options training_options = training(9);
    char path[] = "/tmp/gradiometer-watch-XXXXXX";
    gm_run *run = NULL;
    assert_true(mkdtemp(path) != NULL);
    char file[64];
    snprintf(file, sizeof file, "%s/w.gmr", path);
    test_problem_open(&t, &cases[1], GM_F32, 0, 0);
    gm_gauge_watch_options_default(&o);
    o.curvature = 2;
    o.memory = 3;
    expect_ok(gm_gauge_watch_create(t.problem, &o, &training_options, &w, &err), &err);
    expect_ok(gm_gauge_watch_create(t.problem, &o, &training_options, &again, &err), &err);
    expect_ok(gm_run_create(file, true, NULL, 0, &run, &err), &err);
    for (uint64_t step = 0; step < 7; step++) {
        batch_case b = {.m = 9, .index = {0, 1, 2, 3, 4, 5, 6, 7, 8}};
        open_batch(&t, GM_F32, &b, step, 1e-3);
        if (step == 4) b.batch.loss += 1e3;
        if (step == 6) b.batch.loss -= 1e3;
        expect_ok(gm_gauge_watch_batch(w, &b.batch, &err), &err);
        if (step > 2) {
            close_batch(&b);
            open_batch(&t, GM_F32, &b, step, 1e-3);
            if (step == 4) b.batch.loss += 1e3;
            if (step == 6) b.batch.loss -= 1e3;
            expect_ok(gm_gauge_watch_batch(again, &b.batch, &err), &err);
        }
        if (step == 2) {
            expect_ok(gm_gauge_watch_save(w, run, &err), &err);
            expect_ok(gm_gauge_watch_load(again, run, &err), &err);
        }
        close_batch(&b);
    }
    gm_watched_gauges g = gm_gauge_watch_results(w);
    assert_true(g.predicted);
    assert_int_equal(g.measured, 7);
    assert_int_equal(g.curved, 4);
    assert_int_equal(g.watched, 6);
    assert_int_equal(g.alarms, 1);
    assert_int_equal(g.first_alarm, 3); /* the step from 3 to 4 */
    assert_memory_equal(&w->state, &again->state, sizeof w->state);
    assert_memory_equal(w->vector, again->vector, w->p * sizeof(float));
    expect_ok(gm_gauge_watch_save(w, run, &err), &err);
    int64_t *at = NULL;
    double *value = NULL;
    size_t count = 0;
    expect_ok(gm_run_metric(run, "gauge/alarm", &at, &value, &count, &err), &err);
    assert_true(count == 1 && at[0] == 3 && value[0] > 900);
    gm_run_free(at);
    gm_run_free(value);
    gm_run_close(run);
    gm_gauge_watch_free(w);
    gm_gauge_watch_free(again);
    test_problem_close(&t);
    unlink(file);
    rmdir(path);
}

/* The running vector finds the top of a Hessian that stays. */
static void the_vector_turns(void **state)
{
    (void)state;
    gm_error err = {0};
    test_problem t;
    gm_gauge_watch_options o;
    gm_gauge_watch *w = NULL;
    gm_train_options training_options = training(9);
    test_problem_open(&t, &cases[0], GM_F64, 0, 0);
    gm_gauge_watch_options_default(&o);
    o.curvature = 1;
    o.memory = 5;
    expect_ok(gm_gauge_watch_create(t.problem, &o, &training_options, &w, &err), &err);
    batch_case b = {.m = 9, .index = {0, 1, 2, 3, 4, 5, 6, 7, 8}};
    for (uint64_t step = 0; step < 400; step++) {
        open_batch(&t, GM_F64, &b, step, 1e-3);
        expect_ok(gm_gauge_watch_batch(w, &b.batch, &err), &err);
        close_batch(&b);
    }
    double *h = calloc(t.p * t.p, sizeof *h), top = 0, *x = calloc(2 * t.p, sizeof *x);
    ref_matrix(&cases[0].ref, t.theta, &t.ref, REF_H, h);
    x[0] = 1;
    for (int i = 0; i < 3000; i++) { /* power iteration, shifted to keep off negative values */
        double norm = 0;
        for (size_t r = 0; r < t.p; r++) {
            x[t.p + r] = 0.2 * x[r];
            for (size_t s = 0; s < t.p; s++) {
                x[t.p + r] += h[r * t.p + s] * x[s];
            }
            norm += x[t.p + r] * x[t.p + r];
        }
        for (size_t r = 0; r < t.p; r++) {
            x[r] = x[t.p + r] / sqrt(norm);
        }
        top = sqrt(norm) - 0.2;
    }
    close_to(gm_gauge_watch_results(w).sharpness.value, top, 1e-6, "lambda_max");
    free(h);
    free(x);
    gm_gauge_watch_free(w);
    test_problem_close(&t);
}

static void words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } bad[] = {{"gauges:every=0", "every"},        {"gauges:curvature=-1", "curvature"},
               {"gauges:memory=x", "memory"},      {"gauges:alarm=0", "alarm"},
               {"gauges:alarm=inf", "alarm"},      {"gauges:k=3", "expected every, curvature"},
               {"gauges:every", "found no value"}, {"gauges:every=1,every=2", "twice"},
               {"spectrum", "expected gauges"}};
    gm_gauge_watch_options o, again;
    gm_error err = {0};
    char text[GM_TRACK_TEXT];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gm_gauge_watch_options_default(&o);
        assert_int_equal(gm_gauge_watch_parse(bad[i].text, &o, &err), GM_ERR_USAGE);
        if (!strstr(err.message, bad[i].expected))
            fail_msg("%s: '%s', expected '%s'", bad[i].text, err.message, bad[i].expected);
    }
    gm_gauge_watch_options_default(&o);
    expect_ok(gm_gauge_watch_parse("gauges:every=3,curvature=0,memory=7,alarm=5.5", &o, &err),
              &err);
    gm_gauge_watch_print(&o, text);
    gm_gauge_watch_options_default(&again);
    expect_ok(gm_gauge_watch_parse(text, &again, &err), &err);
    assert_memory_equal(&o, &again, sizeof o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gauges_match),     cmocka_unit_test(images_match),
        cmocka_unit_test(without_bias),     cmocka_unit_test(alarm_and_state),
        cmocka_unit_test(the_vector_turns), cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
