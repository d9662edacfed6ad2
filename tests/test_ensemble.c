/* Ensembles against plain loops, against themselves run by run, and through the run file. */
#include <math.h>
#include <omp.h>
#include <unistd.h>

#include "support.h"
/* after cmocka */
#include "ensemble_case.h"

static const unsigned everything = (1u << GM_QUANTITIES) - 1u - (1u << GM_QUANTITY_TEST_ERROR);

/* Every activation and both losses; widths that leave rows and columns over in every kernel. */
static const test_case cases[] = {
    {"mlp:5-7-3,act=relu", {2, {5, 7, 3}, REF_RELU, true, false}, 19, 0.5},
    {"mlp:3-13-6-4,act=leaky_relu", {3, {3, 13, 6, 4}, REF_LEAKY, true, false}, 37, 0.4},
    {"mlp:4-6-3,act=tanh", {2, {4, 6, 3}, REF_TANH, true, true}, 33, 0.5},
    {"mlp:9-5-2,act=sigmoid,bias=no", {2, {9, 5, 2}, REF_SIGMOID, false, false}, 16, 0.5},
    {"mlp:4-6-3,act=softplus", {2, {4, 6, 3}, REF_SOFTPLUS, true, false}, 17, 0.5},
    {"mlp:6-8-8-3,act=gelu", {3, {6, 8, 8, 3}, REF_TANH, true, false}, 21, 0.5},
    {"mlp:4-3-2,act=identity", {2, {4, 3, 2}, REF_IDENTITY, true, true}, 15, 0.5},
};
enum { CASES = sizeof cases / sizeof *cases };

static gm_ensemble_options options_of(size_t runs, uint64_t steps, size_t batch, double step)
{
    gm_ensemble_options o;
    gm_ensemble_options_default(&o);
    o.runs = runs;
    o.train.steps = steps;
    o.train.batch = batch;
    o.train.step = step;
    o.train.seed = 5;
    o.record = everything;
    o.record_every = o.gradient_every = 1;
    return o;
}

static gm_ensemble *run_all(const test_problem *t, const gm_ensemble_options *o)
{
    gm_error err = {0};
    gm_ensemble *e = NULL;
    expect_ok(gm_ensemble_create(t->problem, NULL, o, t->theta, &e, &err), &err);
    expect_ok(gm_ensemble_run(e, NULL, &err), &err);
    assert_int_equal(gm_ensemble_done(e), o->runs);
    return e;
}

static gm_ensemble_summary summary_of(const gm_ensemble *e, gm_quantity q, size_t index)
{
    gm_ensemble_summary s;
    assert_int_equal(gm_ensemble_summarize(e, q, index, &s, NULL), GM_OK);
    return s;
}

/* Fails unless the only run of e has the values of the plain run. In double both round about 1e-16
 * each of some hundred times; in single precision 6e-8, and a difference of losses, or a cosine of
 * nearly opposite gradients, keeps that as an absolute error. */
static void compare_run(const gm_ensemble *e, const plain_run *r, double tol, const char *spec)
{
    for (int q = 0; q < GM_QUANTITIES; q++) {
        if (q == GM_QUANTITY_TEST_ERROR) continue;
        for (size_t t = 0; t <= r->steps; t++) {
            double expected = *plain_at(r, (gm_quantity)q, t);
            gm_ensemble_summary s = summary_of(e, (gm_quantity)q, t);
            if (q == GM_QUANTITY_COSINE && t + 1 >= r->steps) expected = (double)NAN;
            assert_int_equal(s.recorded, !isnan(expected));
            if (isnan(expected)) continue;
            assert_int_equal(s.count, 1);
            assert_at_most(fabs(s.mean - expected), tol * (1 + fabs(expected)),
                           "%s: %s at step %zu: %.17g, expected %.17g", spec,
                           gm_quantity_name((gm_quantity)q), t, s.mean, expected);
        }
    }
}

static void plain_loops(gm_dtype dtype, bool general, double tol)
{
    for (int c = 0; c < CASES; c++) {
        test_problem t;
        test_problem_open(&t, &cases[c], dtype, 0, 0);
        double *start = calloc(t.p, sizeof *start);
        for (size_t j = 0; j < t.p; j++) {
            start[j] = dtype == GM_F32 ? (double)(float)t.theta[j] : t.theta[j];
        }
        for (uint32_t run = 0; run < 3; run += 2) {
            gm_ensemble_options o = options_of(1, 6, 7, 0.1);
            o.train.run = run;
            o.train.momentum = run ? 0.5 : 0.0;
            o.train.weight_decay = run ? 0.01 : 0.0;
            o.train.replacement = run ? GM_REPLACEMENT_NO : GM_REPLACEMENT_YES;
            o.general = general;
            o.keep = &run;
            o.keeps = 1;
            gm_ensemble *e = run_all(&t, &o);
            assert_int_equal(gm_ensemble_tiled(e), !general);
            plain_run r = plain_sgd(t.problem, NULL, &o.train, run, start);
            compare_run(e, &r, tol, cases[c].spec);
            assert_int_equal(gm_ensemble_kept(e), 1);
            assert_int_equal(gm_ensemble_kept_run(e, 0), run);
            assert_at_most(relative_error(t.p, gm_ensemble_kept_theta(e, 0), r.theta), tol, "%s",
                           cases[c].spec);
            plain_free(&r);
            gm_ensemble_free(e);
        }
        free(start);
        test_problem_close(&t);
    }
}

static void test_plain_loops(void **state)
{
    (void)state;
    plain_loops(GM_F64, false, 1e-12);
    plain_loops(GM_F64, true, 1e-12);
    plain_loops(GM_F32, false, 2e-5);
    plain_loops(GM_F32, true, 2e-5);
}

/* The value of each quantity of run k, alone, is to the bit what it is among others: the ensemble's
 * mean of R runs is that of the single runs' values taken in turn, its quantiles those of the
 * sorted ones. */
static void compare_with_single_runs(const test_problem *t, gm_ensemble_options o)
{
    static const int threads[] = {1, 3};
    enum { RUNS = 23 };
    o.runs = RUNS;
    o.keep = (const uint32_t[]){3, 20};
    o.keeps = 2;
    omp_set_num_threads(2);
    gm_ensemble *e = run_all(t, &o);
    for (int q = 0; q < GM_QUANTITIES; q++) {
        for (size_t i = 0; i < gm_ensemble_steps(e); i++) {
            gm_ensemble_summary s = summary_of(e, (gm_quantity)q, i);
            assert_true(!s.recorded || s.count == RUNS);
        }
    }
    double sum[GM_QUANTITIES] = {0}, mean[GM_QUANTITIES] = {0};
    for (uint32_t run = 0; run < RUNS; run++) {
        gm_ensemble_options one = o;
        one.runs = 1;
        one.train.run = run;
        one.keep = &run;
        one.keeps = 1;
        /* A problem's chunks depend on the threads, and with them its last bits. */
        if (!o.general) omp_set_num_threads(threads[run % 2]);
        gm_ensemble *alone = run_all(t, &one);
        omp_set_num_threads(2);
        for (int q = 0; q < GM_QUANTITIES; q++) {
            double x = summary_of(alone, (gm_quantity)q, 4).mean;
            mean[q] += (x - mean[q]) / (double)(run + 1);
            sum[q] += x;
        }
        for (size_t i = 0; i < 2; i++) {
            if (gm_ensemble_kept_run(e, i) != run) continue;
            assert_memory_equal(gm_ensemble_kept_theta(e, i), gm_ensemble_kept_theta(alone, 0),
                                t->p * sizeof(double));
        }
        gm_ensemble_free(alone);
    }
    for (int q = 0; q < GM_QUANTITIES; q++) {
        gm_ensemble_summary s = summary_of(e, (gm_quantity)q, 4);
        if (!s.recorded) continue;
        assert_true(s.mean == mean[q]);
        assert_at_most(fabs(s.mean - sum[q] / RUNS), 1e-12 * fabs(s.mean), "quantity %d", q);
    }
    gm_ensemble_free(e);
}

static void test_run_alone(void **state)
{
    (void)state;
    int most = omp_get_max_threads();
    for (int d = 0; d < 2; d++) {
        test_problem t;
        test_problem_open(&t, &cases[1], d ? GM_F64 : GM_F32, 0, 0);
        gm_ensemble_options o = options_of(1, 9, 5, 0.2);
        compare_with_single_runs(&t, o);
        o.fresh = true;
        o.train.replacement = GM_REPLACEMENT_EPOCH;
        compare_with_single_runs(&t, o);
        o.general = true;
        compare_with_single_runs(&t, o);
        o.general = false;
        o.train.optimizer = GM_OPTIMIZER_ADAM;
        compare_with_single_runs(&t, o);
        o.train.optimizer = GM_OPTIMIZER_SGD;
        o.train.precondition = GM_PRECONDITION_RMSPROP;
        o.train.step = 0.02;
        o.general = true; /* as a preconditioner needs */
        compare_with_single_runs(&t, o);
        test_problem_close(&t);
    }
    omp_set_num_threads(most);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Statistics of many runs by brute force from single runs; exact, then from sketches. */
static void test_statistics(void **state)
{
    (void)state;
    enum { RUNS = 60 };
    test_problem t;
    test_problem_open(&t, &cases[0], GM_F64, 0, 0);
    gm_ensemble_options o = options_of(RUNS, 5, 2, 0.3), one = o;
    one.runs = 1;
    double value[RUNS];
    for (uint32_t r = 0; r < RUNS; r++) {
        one.train.run = r;
        gm_ensemble *e = run_all(&t, &one);
        value[r] = summary_of(e, GM_QUANTITY_DELTA, 3).mean;
        gm_ensemble_free(e);
    }
    double mean = 0, square = 0, count[8], below, above;
    for (int r = 0; r < RUNS; r++) {
        mean += value[r] / RUNS;
    }
    for (int r = 0; r < RUNS; r++) {
        square += (value[r] - mean) * (value[r] - mean) / (RUNS - 1);
    }
    qsort(value, RUNS, sizeof *value, ascending);
    for (int sketched = 0; sketched < 2; sketched++) {
        o.exact_runs = sketched ? 0 : RUNS;
        gm_ensemble *e = run_all(&t, &o);
        assert_int_equal(gm_ensemble_exact(e), !sketched);
        gm_ensemble_summary s = summary_of(e, GM_QUANTITY_DELTA, 3);
        assert_at_most(fabs(s.mean - mean), 1e-14, "mean");
        assert_at_most(fabs(s.sd - sqrt(square)), 1e-12 * s.sd, "sd");
        assert_true(s.stderror == s.sd / sqrt(RUNS));
        assert_true(s.min == value[0] && s.max == value[RUNS - 1]);
        for (int q = 0; q < GM_ENSEMBLE_LEVELS; q++) {
            double place = gm_ensemble_level[q] * (RUNS - 1), share = place - floor(place);
            double low = value[(size_t)place], high = value[(size_t)place + 1];
            double exact = low + share * (high - low);
            double tol = sketched ? fmax(fabs(low), fabs(high)) / 256 : 0;
            assert_at_most(fabs(s.quantile[q] - exact), tol + 1e-15, "quantile %d", q);
        }
        /* Four bins of each half of the values. */
        double middle = 0.5 * (value[RUNS / 2 - 1] + value[RUNS / 2]);
        double reach = 2 * fmax(fabs(value[0] - middle), fabs(value[RUNS - 1] - middle));
        assert_int_equal(gm_ensemble_histogram(e, GM_QUANTITY_DELTA, 3, middle - reach,
                                               middle + reach, 8, count, &below, &above, NULL),
                         GM_OK);
        double lower = count[0] + count[1] + count[2] + count[3];
        assert_true(below == 0 && above == 0);
        assert_at_most(fabs(lower - RUNS / 2), sketched ? 1 : 0, "histogram");
        assert_int_equal(gm_ensemble_histogram(e, GM_QUANTITY_DELTA, 3, 1e3, 2e3, 8, count, &below,
                                               &above, NULL),
                         GM_OK);
        assert_true(below == RUNS && above == 0);
        gm_ensemble_free(e);
    }
    test_problem_close(&t);
}

/* Steps so large that runs diverge: counted, and the quantiles above are infinite. */
static void test_divergence(void **state)
{
    (void)state;
    enum { RUNS = 40, STEPS = 60 };
    for (int general = 0; general < 2; general++) {
        for (int d = 0; d < 2; d++) {
            test_problem t;
            test_problem_open(&t, &cases[6], d ? GM_F64 : GM_F32, 0, 0);
            gm_ensemble_options o = options_of(RUNS, STEPS, 1, d ? 3.0 : 0.9);
            o.general = general;
            o.exact_runs = general ? 0 : RUNS;
            gm_ensemble *e = run_all(&t, &o);
            size_t last = gm_ensemble_steps(e) - 1, before = 0;
            for (size_t i = 0; i <= last; i++) {
                size_t gone = gm_ensemble_diverged(e, i);
                gm_ensemble_summary s = summary_of(e, GM_QUANTITY_LOSS, i);
                assert_true(gone >= before);
                assert_int_equal(s.infinite, gone);
                assert_int_equal(s.count, RUNS - gone);
                for (int q = 0; q < GM_ENSEMBLE_LEVELS; q++) {
                    double place = gm_ensemble_level[q] * (RUNS - 1);
                    if (ceil(place) < (double)(RUNS - gone)) assert_true(isfinite(s.quantile[q]));
                    if (floor(place) >= (double)(RUNS - gone)) assert_true(isinf(s.quantile[q]));
                }
                before = gone;
            }
            assert_true(before > 0);
            assert_int_equal(summary_of(e, GM_QUANTITY_DELTA, last - 1).undefined,
                             gm_ensemble_diverged(e, last - 1));
            gm_ensemble_free(e);
            test_problem_close(&t);
        }
    }
}

/* ---- stopping and going on ---- */

typedef struct stopper {
    int left;     /* steps until it says stop */
    size_t block; /* runs done, told last */
} stopper;

static bool stop(void *context)
{
    return __atomic_sub_fetch(&((stopper *)context)->left, 1, __ATOMIC_RELAXED) < 0;
}

static gm_status told(void *context, gm_ensemble *e, gm_error *err)
{
    (void)err;
    ((stopper *)context)->block = gm_ensemble_done(e);
    return GM_OK;
}

static bool equal_arrays(const gm_ensemble *a, const gm_ensemble *b)
{
    gm_ensemble_state x, y;
    assert_int_equal(gm_ensemble_save(a, &x, NULL), GM_OK);
    assert_int_equal(gm_ensemble_save(b, &y, NULL), GM_OK);
    bool equal = x.arrays == y.arrays;
    for (size_t i = 0; equal && i < x.arrays; i++) {
        size_t size = 1;
        for (int d = 0; d < x.array[i].rank; d++) {
            equal = equal && x.array[i].dim[d] == y.array[i].dim[d];
            size *= x.array[i].dim[d];
        }
        equal = equal && memcmp(x.array[i].data, y.array[i].data, size * sizeof(double)) == 0;
    }
    gm_ensemble_state_free(&x);
    gm_ensemble_state_free(&y);
    return equal;
}

/* Stores e in a fresh run file and loads it into a new ensemble with as many runs as o says. */
static gm_ensemble *through_file(const test_problem *t, const gm_ensemble *e,
                                 const gm_ensemble_options *o)
{
    const char *path = "test_ensemble.gmr";
    gm_error err = {0};
    gm_run *run = NULL;
    gm_ensemble *back = NULL;
    gm_ensemble_state arrays;
    int64_t id = 0;
    unlink(path);
    expect_ok(gm_run_create(path, true, NULL, 0, &run, &err), &err);
    expect_ok(gm_ensemble_save(e, &arrays, &err), &err);
    gm_run_result result = {.command = "dynamics", .step = GM_RUN_NO_STEP, .key = "", .json = "{}"};
    expect_ok(gm_run_add_result(run, &result, arrays.array, arrays.arrays, &id, &err), &err);
    gm_ensemble_state_free(&arrays);
    expect_ok(gm_ensemble_create(t->problem, NULL, o, t->theta, &back, &err), &err);
    expect_ok(gm_ensemble_load(back, run, id, &err), &err);

    /* One recorded step more does not fit. */
    gm_ensemble_options other = *o;
    gm_ensemble *misfit = NULL;
    other.train.steps++;
    expect_ok(gm_ensemble_create(t->problem, NULL, &other, t->theta, &misfit, &err), &err);
    assert_int_equal(gm_ensemble_load(misfit, run, id, &err), GM_ERR_INPUT);
    gm_ensemble_free(misfit);
    gm_run_close(run);
    unlink(path);
    return back;
}

static void test_resume(void **state)
{
    (void)state;
    test_problem t;
    test_problem_open(&t, &cases[0], GM_F32, 0, 0);
    for (int sketched = 0; sketched < 2; sketched++) {
        gm_ensemble_options o = options_of(50, 8, 4, 0.3);
        o.exact_runs = sketched ? 0 : 1000;
        o.keep = (const uint32_t[]){0, 7, 49};
        o.keeps = 3;
        gm_ensemble *whole = run_all(&t, &o), *e = NULL;
        gm_error err = {0};
        expect_ok(gm_ensemble_create(t.problem, NULL, &o, t.theta, &e, &err), &err);
        size_t done = 0;
        int rounds = 0;
        for (; gm_ensemble_done(e) < o.runs; rounds++) {
            stopper s = {.left = 130};
            gm_ensemble_hooks hooks = {.context = &s, .stop = stop, .block = told};
            expect_ok(gm_ensemble_run(e, &hooks, &err), &err);
            /* Nothing new where the first run's thread was given no time while the others ran. */
            assert_true(gm_ensemble_done(e) == done || s.block == gm_ensemble_done(e));
            assert_true(gm_ensemble_done(e) >= done && rounds < 1000);
            done = gm_ensemble_done(e);
            gm_ensemble *back = through_file(&t, e, &o);
            assert_true(equal_arrays(e, back));
            gm_ensemble_free(e);
            e = back;
        }
        assert_true(rounds > 2);
        assert_true(equal_arrays(e, whole));
        gm_ensemble_free(e);

        /* More runs than were asked for at first. */
        gm_ensemble_options more = o;
        more.runs = 61;
        e = through_file(&t, whole, &more);
        expect_ok(gm_ensemble_run(e, NULL, &err), &err);
        gm_ensemble *long_one = run_all(&t, &more);
        assert_true(equal_arrays(e, long_one));
        assert_false(equal_arrays(e, whole));
        gm_ensemble_free(long_one);
        gm_ensemble_free(e);
        gm_ensemble_free(whole);
    }
    test_problem_close(&t);
}

/* ---- what is recorded when; refusals ---- */

static void test_recorded_steps(void **state)
{
    (void)state;
    test_problem t;
    test_problem_open(&t, &cases[0], GM_F64, 0, 0);
    gm_ensemble_options every = options_of(3, 10, 3, 0.2), some = every;
    some.record_every = 3;
    some.gradient_every = 6;
    gm_ensemble *a = run_all(&t, &every), *b = run_all(&t, &some);
    static const uint64_t expected[] = {0, 3, 6, 9, 10};
    assert_int_equal(gm_ensemble_steps(b), 5);
    for (size_t i = 0; i < 5; i++) {
        uint64_t step = gm_ensemble_step(b, i);
        assert_int_equal(step, expected[i]);
        for (int q = 0; q < GM_QUANTITIES; q++) {
            gm_ensemble_summary x = summary_of(a, (gm_quantity)q, (size_t)step);
            gm_ensemble_summary y = summary_of(b, (gm_quantity)q, i);
            bool costly = gm_quantity_costly((gm_quantity)q);
            assert_int_equal(y.recorded, x.recorded && (!costly || step % 6 == 0 || step == 10));
            if (y.recorded) assert_true(y.mean == x.mean);
        }
    }
    gm_ensemble_free(a);
    gm_ensemble_free(b);
    test_problem_close(&t);
}

static void test_refusals(void **state)
{
    (void)state;
    test_problem t;
    test_problem_open(&t, &cases[0], GM_F64, 0, 0);
    gm_error err = {0};
    for (int i = 0; i < 10; i++) {
        gm_ensemble_options o = options_of(3, 10, 3, 0.2);
        gm_ensemble *e = NULL;
        const char *named = "--runs";
        uint32_t run = 3;
        switch (i) {
        case 0:
            o.runs = 0;
            break;
        case 1:
            o.train.steps = 0;
            named = "--steps";
            break;
        case 2:
            o.train.step = 0;
            named = "--step";
            break;
        case 3:
            o.train.step = -1;
            named = "--step";
            break;
        case 4:
            o.train.batch = 20;
            o.train.replacement = GM_REPLACEMENT_NO;
            named = "--batch";
            break;
        case 5:
            o.train.run = UINT32_MAX;
            break;
        case 6:
            o.record = 0;
            named = "--record";
            break;
        case 7:
            o.record = 1u << GM_QUANTITY_TEST_ERROR;
            named = "--test-data";
            break;
        case 8:
            o.record_every = 3;
            o.gradient_every = 4;
            named = "--gradient-every";
            break;
        default:
            o.keep = &run;
            o.keeps = 1;
            named = "--keep-runs";
            break;
        }
        assert_int_equal(gm_ensemble_create(t.problem, NULL, &o, t.theta, &e, &err), GM_ERR_USAGE);
        assert_non_null(strstr(err.message, named));
        assert_null(e);
    }
    test_problem_close(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_loops), cmocka_unit_test(test_run_alone),
        cmocka_unit_test(test_statistics),  cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_resume),      cmocka_unit_test(test_recorded_steps),
        cmocka_unit_test(test_refusals),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "ensemble");
}
