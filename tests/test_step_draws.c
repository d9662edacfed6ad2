/* One step of SGD: estimates of the model for many samples, and fresh draws, against the exact
 * model and against single steps. */
#include "step_case.h"

#include <string.h>

#include "gradiometer/dynamics.h"
#include "problems.h"

/* Estimates from all samples and many signs are the exact numbers; from few, they cover them. */
static void estimates_cover_the_exact_model(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case large = {"mlp:5-6-3,act=tanh", {2, {5, 6, 3}, REF_TANH, true, false}, 200, 0.8};
    test_problem t;
    gm_step_model exact, model;
    gm_step_options o;
    test_problem_open(&t, &large, GM_F64, 0, 0);
    gm_step_options_default(&o);
    expect_ok(gm_step_model_make(t.lin, &o, &exact, &err), &err);
    o.exact_samples = 10;
    o.probes = 200;
    expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
    assert_false(model.exact);
    near(model.trace.value, exact.trace.value, 1e-11, "trace of all samples");
    near(model.fourth.value, exact.fourth.value, 1e-10, "fourth moment of all samples");
    near(model.third[0].value, exact.third[0].value, 1e-11, "third moment of all samples");
    near(model.third[1].value, exact.third[1].value, 1e-11, "third moment of all samples");
    /* Ends by Lanczos at 1e-3 of the larger: a Ritz value's error is of second order. */
    near(model.lambda_max, exact.lambda_max, 1e-3 * fabs(exact.lambda_max), "largest");
    near(model.lambda_min, exact.lambda_min, 1e-3 * fabs(exact.lambda_max), "smallest");
    gm_step_model_free(&model);

    /* 95 % intervals over 200 seeds: at least 178 hits, four standard deviations (3.1) below 190.
     */
    enum { SEEDS = GM_TEST_SIZE(200, 20), FEWEST = GM_TEST_SIZE(178, 15) };
    size_t hits[3] = {0}, within[3] = {0};
    double sum = 0, squares = 0, off = 0, away = 0;
    o.probes = 40;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        o.seed = seed;
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        off += model.trace.value - exact.trace.value;
        away += pow(model.trace.value - exact.trace.value, 2);
        hits[0] += fabs(model.trace.value - exact.trace.value) <= model.trace.half_width;
        hits[1] += fabs(model.frobenius_square.value - exact.frobenius_square.value) <=
                   model.frobenius_square.half_width;
        hits[2] += fabs(model.fourth.value - exact.fourth.value) <= model.fourth.half_width;
        gm_step_prediction truth, q;
        for (int without = 0; without < 2; without++) {
            expect_ok(gm_step_predict(&exact, 8, without, 0.5, &truth, &err), &err);
            expect_ok(gm_step_predict(&model, 8, without, 0.5, &q, &err), &err);
            within[without] += fabs(q.variance - truth.variance) <= 2 * q.variance_error;
        }
        within[2] += fabs(q.v - truth.v) <= 2 * q.v_error;
        sum += model.fourth.value;
        squares += model.fourth.value * model.fourth.value;
        gm_step_model_free(&model);
    }
    assert_true(hits[0] >= FEWEST && hits[1] >= FEWEST);
    assert_true(within[0] >= FEWEST && within[1] >= FEWEST && within[2] >= FEWEST);
    /* No side is favoured: the mean error is within 4 standard errors of zero. */
    near(off / SEEDS, 0, 4 * sqrt(away) / SEEDS, "mean error of the trace");
    /* d_i^2 is heavy-tailed: 40 of its 200 values miss the few large ones too often for a Student
     * interval, three of four cover. Its mean over the seeds is right. */
    double mean = sum / SEEDS, spread = sqrt(squares / SEEDS - mean * mean);
    assert_true(hits[2] >= GM_TEST_SIZE(130, 11));
    near(mean, exact.fourth.value, 4 * spread / sqrt((double)SEEDS), "mean of the fourth moments");
    gm_step_model_free(&exact);
    test_problem_close(&t);
}

/* Exact by unit vectors up to the limit, beyond it within its 95 % interval, and in few products;
 * the numbers that need no C stay what they are. */
static void trace_alone(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case c = {"mlp:5-6-3,act=tanh", {2, {5, 6, 3}, REF_TANH, true, false}, 200, 0.8};
    test_problem t;
    gm_step_model exact, model;
    gm_step_options o;
    test_problem_open(&t, &c, GM_F64, 0, 0);
    gm_step_options_default(&o);
    expect_ok(gm_step_model_make(t.lin, &o, &exact, &err), &err);
    o.trace_only = true;
    expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
    near(model.trace.value, exact.trace.value, 1e-11 * exact.trace.value, "trace");
    assert_true(model.trace.std_error == 0 && model.products == 201 && !model.exact);
    assert_true(model.slope == exact.slope && model.bend == exact.bend);
    assert_true(model.noise[1] == exact.noise[1] && !model.value);
    /* At least 178 hits of 200, four standard deviations (3.1) below 190. The interval is 1 %
     * where 80 products suffice for that. */
    enum { SEEDS = GM_TEST_SIZE(200, 20) };
    size_t hits = 0, narrow = 0;
    o.exact_samples = 0;
    o.probes = 40;
    for (o.seed = 0; o.seed < SEEDS; o.seed++) {
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        double off = fabs(model.trace.value - exact.trace.value);
        hits += off <= model.trace.half_width + 1e-11 * exact.trace.value;
        narrow += model.trace.half_width <= 0.01 * model.trace.value;
        assert_true(model.products <= 81);
    }
    assert_true(hits >= GM_TEST_SIZE(178, 15) && narrow >= GM_TEST_SIZE(190, 17));
    gm_step_model_free(&exact);
    test_problem_close(&t);
}

/* Delta of single-sample batches takes one of n values, each computed here by gm_problem_value; the
 * draws' frequencies are binomial. */
static void draws_are_steps(void **state)
{
    (void)state;
    gm_error err = {0};
    enum { DRAWS = GM_TEST_SIZE(4000, 400) };
    test_problem t;
    gm_draw_options o;
    test_problem_open(&t, &step_cases[0], GM_F64, 0, 0);
    size_t p = t.p, n = t.c->n;
    double *row = numbers(n * p), *moved = numbers(p), *value = numbers(n), *delta = numbers(DRAWS);
    double before;
    ref_gradients(&t.c->ref, t.theta, &t.ref, row);
    expect_ok(gm_problem_value(t.problem, t.theta, &before, NULL, &err), &err);
    gm_draw_options_default(&o);
    o.step = 0.3;
    o.draws = DRAWS;
    o.seed = 5;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < p; j++) {
            moved[j] = t.theta[j] - o.step * row[i * p + j];
        }
        expect_ok(gm_problem_value(t.problem, moved, &value[i], NULL, &err), &err);
        value[i] -= before;
    }
    expect_ok(gm_step_draw(t.problem, t.theta, &o, delta, &err), &err);
    for (size_t i = 0; i < n; i++) {
        size_t count = 0;
        for (size_t d = 0; d < DRAWS; d++) {
            count += fabs(delta[d] - value[i]) < 1e-12;
        }
        /* n = 8: 500 expected, standard deviation 21. */
        near((double)count, DRAWS / (double)n, 5 * sqrt(DRAWS / (double)n), "frequency");
    }
    /* A run with the same seed draws other batches: theta may be its parameters, and a batch that
     * made them is not fresh. As good as independent, one of n = 8 agrees. */
    gm_sampler *sampler;
    size_t same = 0;
    expect_ok(gm_sampler_create(n, 1, GM_REPLACEMENT_YES, o.seed, o.run, &sampler, &err), &err);
    for (size_t d = 0; d < DRAWS; d++) {
        size_t i;
        gm_sampler_draw(sampler, d, &i);
        same += fabs(delta[d] - value[i]) < 1e-12;
    }
    gm_sampler_free(sampler);
    near((double)same, DRAWS / (double)n, 5 * sqrt(DRAWS / (double)n), "batches of a run");
    o.replacement = GM_REPLACEMENT_EPOCH;
    assert_int_equal(gm_step_draw(t.problem, t.theta, &o, delta, &err), GM_ERR_USAGE);
    o.replacement = GM_REPLACEMENT_NO;
    o.batch = n; /* the whole set: no noise */
    expect_ok(gm_step_draw(t.problem, t.theta, &o, delta, &err), &err);
    for (size_t d = 1; d < DRAWS; d++) {
        near(delta[d], delta[0], 1e-12, "the whole set");
    }
    gm_step_model model;
    gm_step_options mo;
    gm_step_prediction q;
    gm_step_options_default(&mo);
    expect_ok(gm_step_model_make(t.lin, &mo, &model, &err), &err);
    expect_ok(gm_step_predict(&model, n, true, 0.3, &q, &err), &err);
    assert_true(q.v == 0 && q.lambda_plus == 0 && q.lambda_minus == 0);
    assert_int_equal(gm_step_predict(&model, n + 1, true, 0.3, &q, &err), GM_ERR_USAGE);
    assert_int_equal(gm_step_predict(&model, 0, false, 0.3, &q, &err), GM_ERR_USAGE);
    assert_int_equal(gm_step_predict(&model, 1, false, 0.0, &q, &err), GM_ERR_USAGE);
    assert_int_equal(gm_step_predict(&model, 1, false, (double)NAN, &q, &err), GM_ERR_USAGE);
    gm_step_model_free(&model);
    gm_free(row);
    gm_free(moved);
    gm_free(value);
    gm_free(delta);
    test_problem_close(&t);
}

/* Steps that leave the range of the numbers, in single precision long before double does: such a
 * draw is infinite, never an error and never NaN, beside draws that are finite. */
static void overflowing_steps(void **state)
{
    (void)state;
    gm_error err = {0};
    enum { DRAWS = 50 };
    const double steps[] = {1e10, 1e30, 1e39, 1e60, 1e150, 1e307};
    double delta[DRAWS];
    for (int narrow = 0; narrow < 2; narrow++) {
        test_problem t;
        gm_draw_options o;
        size_t infinite = 0, finite = 0;
        test_problem_open(&t, &step_cases[1], narrow ? GM_F32 : GM_F64, 0, 0);
        gm_draw_options_default(&o);
        o.draws = DRAWS;
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            o.step = steps[s];
            expect_ok(gm_step_draw(t.problem, t.theta, &o, delta, &err), &err);
            for (size_t d = 0; d < DRAWS; d++) {
                assert_true(isfinite(delta[d]) || delta[d] == (double)INFINITY);
                infinite += !isfinite(delta[d]);
                finite += isfinite(delta[d]);
            }
        }
        assert_true(infinite >= DRAWS && finite >= DRAWS);
        test_problem_close(&t);
    }
}

/* A fitted net: gradients and H near 1e-26, H g near 1e-52. Single precision, whose range ends at
 * 1e-45, gives the numbers of double precision to its rounding, a few 1e-6 of gradients and H. */
static void fitted_net(void **state)
{
    (void)state;
    gm_error err = {0};
    const test_case c = {"mlp:3-2,act=identity", {1, {3, 2}, REF_IDENTITY, true, false}, 6, 1};
    gm_step_model model[2];
    for (int narrow = 0; narrow < 2; narrow++) {
        test_problem t;
        gm_step_options o;
        gm_error ignored = {0};
        test_problem_open(&t, &c, narrow ? GM_F32 : GM_F64, 0, 0);
        gm_linearization_free(t.lin);
        t.lin = NULL;
        /* One class for all samples and biases that are sure of it. */
        for (size_t i = 0; i < c.n; i++) {
            t.data->label[i] = 0;
        }
        for (size_t j = 0; j < t.p; j++) {
            t.theta[j] = (double)(float)(0.3 * t.theta[j]);
        }
        t.theta[t.p - 2] = 60;
        t.theta[t.p - 1] = 0;
        expect_ok(gm_linearize(t.problem, t.theta, &t.lin, &ignored), &ignored);
        gm_step_options_default(&o);
        expect_ok(gm_step_model_make(t.lin, &o, &model[narrow], &err), &err);
        test_problem_close(&t);
    }
    const gm_step_model *wide = &model[0], *single = &model[1];
    assert_true(wide->trace.value > 0 && wide->trace.value < 1e-60);
    near(single->trace.value, wide->trace.value, 1e-4 * wide->trace.value, "trace");
    near(single->bend, wide->bend, 1e-4 * wide->bend, "curvature along the gradient");
    near(single->lambda_max, wide->lambda_max, 1e-4 * wide->lambda_max, "largest eigenvalue");
    near(single->noise[1], wide->noise[1], 1e-4 * fabs(wide->noise[1]), "noise");
    gm_step_model_free(&model[0]);
    gm_step_model_free(&model[1]);
}

/* Without noise (one sample; a net without classes to choose from) the estimates are zeros. */
static void no_noise(void **state)
{
    (void)state;
    gm_error err = {0};
    const test_case none[] = {
        {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 1, 0.8},
        {"mlp:3-1,act=tanh", {1, {3, 1}, REF_TANH, true, false}, 2, 0.8},
        {"mlp:3-1,act=tanh", {1, {3, 1}, REF_TANH, true, false}, 5, 0.8},
    };
    for (int c = 0; c < 3; c++) {
        test_problem t;
        gm_step_model model;
        gm_step_options o;
        gm_step_prediction q;
        test_problem_open(&t, &none[c], GM_F64, 0, 0);
        gm_step_options_default(&o);
        o.exact_samples = 0;
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        for (int without = 0; without < 2; without++) {
            expect_ok(gm_step_predict(&model, 1, without, 0.1, &q, &err), &err);
            assert_true(q.v == 0 && q.variance == 0 && q.mean_error == 0);
            assert_true(q.lambda_plus == 0 && q.lambda_minus == 0 && isfinite(q.mean));
        }
        gm_step_model_free(&model);
        test_problem_close(&t);
    }
}

/* P(X >= k) by its definition. */
static double at_least(size_t k, size_t n, double p)
{
    double sum = 0;
    for (size_t i = k; i <= n; i++) {
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) +
                   (double)i * log(p) + (double)(n - i) * log1p(-p));
    }
    return sum;
}

static void intervals_by_definition(void **state)
{
    (void)state;
    double low, high;
    const size_t trials[] = {1, 10, 1000};
    for (int i = 0; i < 3; i++) {
        for (size_t k = 0; k <= trials[i]; k += 1 + trials[i] / 7) {
            gm_clopper_pearson(k, trials[i], 0.95, &low, &high);
            if (k == 0) assert_true(low == 0);
            if (k > 0) near(at_least(k, trials[i], low), 0.025, 1e-10, "lower end");
            if (k == trials[i]) assert_true(high == 1);
            if (k < trials[i]) near(at_least(k + 1, trials[i], high), 0.975, 1e-10, "upper end");
        }
    }
    /* Closed forms: no success in n trials has the upper end 1 - 0.025^(1/n). */
    gm_clopper_pearson(0, 1000000, 0.95, &low, &high);
    near(high, -expm1(log(0.025) / 1e6), 1e-15, "a million trials");
    gm_clopper_pearson(10, 10, 0.95, &low, &high);
    near(low, pow(0.025, 0.1), 1e-12, "all of ten");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_cover_the_exact_model),
        cmocka_unit_test(trace_alone),
        cmocka_unit_test(draws_are_steps),
        cmocka_unit_test(overflowing_steps),
        cmocka_unit_test(fitted_net),
        cmocka_unit_test(no_noise),
        cmocka_unit_test(intervals_by_definition),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "draws of one step");
}
