/* Stability gauges against per-sample Hessians and gradients of a second implementation
 * (reference.h), against the step model whose zeros they are, and against a quadratic. */
#include "step_case.h"

#include <string.h>

#include "gradiometer/dynamics.h"
#include "kernels/lapack.h"
#include "problems.h"

static double form(size_t p, const double *matrix, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < p; i++) {
        sum += x[i] * dot(p, matrix + i * p, x);
    }
    return sum;
}

static void measure(test_problem *t, const gm_gauge_options *o, gm_step_model *model, gm_gauges *g)
{
    gm_error err = {0};
    gm_step_options so;
    gm_step_options_default(&so);
    expect_ok(gm_step_model_make(t->lin, &so, model, &err), &err);
    expect_ok(gm_gauges_measure(t->lin, model, o, g, &err), &err);
}

static void against_single_samples(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case c = {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 8, 0.8};
    test_problem t;
    gm_gauge_options o;
    gm_step_model model;
    gm_gauges g;
    test_problem_open(&t, &c, GM_F64, 0, 0);
    size_t p = t.p, n = c.n;
    gm_gauge_options_default(&o);
    o.draws = 400;
    o.tol = 1e-9;
    o.momentum = 0.5;
    measure(&t, &o, &model, &g);

    double *row = numbers(n * p), *mean = numbers(p), *h = numbers(p * p), *value = numbers(p);
    double exact = 0, second = 0, sample = 0;
    ref_gradients(&c.ref, t.theta, &t.ref, row);
    for (size_t i = 0; i < n; i++) {
        ref_data one = {1, t.x + i * 4, t.label + i, NULL};
        ref_matrix(&c.ref, t.theta, &one, REF_H, h);
        double square = dot(p, row + i * p, row + i * p), q = form(p, h, row + i * p) / square;
        exact += q / (double)n;
        second += q * q / (double)n;
        sample += square / (double)n;
        for (size_t j = 0; j < p; j++) {
            mean[j] += row[i * p + j] / (double)n;
        }
    }
    /* 400 draws of n = 8 values: five standard errors, and the error itself to a fifth. */
    double error = sqrt((second - exact * exact) / 400);
    near(g.batch_sharpness.value, exact, 5 * error, "Batch Sharpness");
    near(g.batch_sharpness.std_error, error, 0.2 * error, "its error");

    ref_matrix(&c.ref, t.theta, &t.ref, REF_H, h);
    double square = dot(p, mean, mean), bend = form(p, h, mean), trace = 0;
    for (size_t i = 0; i < n; i++) {
        trace += form(p, h, row + i * p) / (double)n; /* tr(H M), batches of one */
    }
    near(g.interaction, trace / square, 1e-10 * trace / square, "interaction");
    near(g.noise_scale, sample / square - 1, 1e-10 * sample / square, "noise scale");
    near(g.curvature_noise_scale, (trace - bend) / bend, 1e-10 * trace / fabs(bend),
         "critical batch");
    near(g.trace_moment, sample, 1e-12 * sample, "tr M");
    expect_ok(gm_symmetric_eigen(p, h, 0, 0, value, NULL, &err), &err);
    near(g.sharpness, value[0], 1e-9 * value[0], "sharpness");
    near(g.local_step, 2 * square / ((g.sharpness + g.sharpness_error) * sample), 1e-12, "L");
    near(g.limit, 3 / 0.1, 1e-12, "heavy ball");
    near(g.nesterov_limit, 1.5 / 0.1, 1e-12, "Nesterov");
    near(g.batch_limit[0], 1 / 0.1, 1e-12, "small batches");
    near(g.batch_limit[1], 3 / 0.1, 1e-12, "large batches");

    /* The model's limits are zeros of its mean. */
    gm_step_prediction q;
    for (size_t m = 1; m <= 4; m += 3) {
        gm_gauges at;
        gm_step_model again;
        o.batch = m;
        measure(&t, &o, &again, &at);
        expect_ok(gm_step_predict(&again, m, false, at.model_step, &q, &err), &err);
        near(q.mean, 0, 1e-12 * at.model_step * square, "mean at the largest step");
        expect_ok(gm_step_predict(&again, m, false, 0.5 * at.model_step, &q, &err), &err);
        gm_step_prediction beside;
        for (int side = -1; side <= 1; side += 2) {
            double eta = at.model_step * (0.5 + 0.01 * side);
            expect_ok(gm_step_predict(&again, m, false, eta, &beside, &err), &err);
            assert_true(beside.mean > q.mean); /* half of it is the best */
        }
        gm_step_model_free(&again);
    }
    assert_true(g.balance_batch > 0);
    double kappa = 1 / g.balance_batch, eta = o.step;
    double drift = -eta * square + 0.5 * eta * eta * (bend + kappa * (trace - bend));
    near(drift, 0, 1e-12 * eta * square, "balance");
    gm_step_model_free(&model);
    gm_free(row);
    gm_free(mean);
    gm_free(h);
    gm_free(value);
    test_problem_close(&t);
}

/* |x| after many steps of x -= eta m / d, m = a m + (1 - a) h x, from x = 1, m = 0. */
static double shrunk(double eta, double a, double h_over_d)
{
    double x = 1, mean = 0;
    for (int t = 0; t < 4000; t++) {
        mean = a * mean + (1 - a) * h_over_d * x;
        x -= eta * mean;
    }
    return fabs(x);
}

/* The eigenvalues of D^-1/2 H D^-1/2 are those of the dense matrix, formed here from the second
 * implementation's H; its threshold is where the recursion of one direction stops shrinking. */
static void preconditioned(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case c = {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 8, 0.8};
    test_problem t;
    gm_gauge_options o;
    gm_step_model model;
    gm_gauges g;
    test_problem_open(&t, &c, GM_F64, 0, 0);
    size_t p = t.p;
    double *divisor = numbers(p), *h = numbers(p * p), *value = numbers(p);
    ref_matrix(&c.ref, t.theta, &t.ref, REF_H, h);
    for (size_t i = 0; i < p; i++) {
        divisor[i] = pow(10, (double)(7 * i % 5) - 3); /* 1e-3 ... 10 */
    }
    for (size_t i = 0; i < p * p; i++) {
        h[i] /= sqrt(divisor[i / p] * divisor[i % p]);
    }
    expect_ok(gm_symmetric_eigen(p, h, 0, 0, value, NULL, &err), &err);
    gm_gauge_options_default(&o);
    o.draws = 2;
    measure(&t, &o, &model, &g);
    assert_true(isnan(g.preconditioned_sharpness) && isnan(g.preconditioned_sharpness_error));
    double plain = g.sharpness;
    gm_step_model_free(&model);
    o.divisor = divisor;
    for (int i = 0; i < 2; i++) {
        o.averaging = 0.9 * i;
        o.tol = i ? 1e-9 : 1e-3;
        measure(&t, &o, &model, &g);
        /* An eigenvalue lies within the residual. */
        near(g.preconditioned_sharpness, value[0],
             g.preconditioned_sharpness_error + 1e-12 * value[0], "preconditioned sharpness");
        assert_true(g.preconditioned_sharpness_error <= o.tol * value[0]);
        near(g.sharpness, plain, 2e-3 * plain, "sharpness beside it");
        assert_true(shrunk(o.step, o.averaging, 0.99 * g.preconditioned_limit) < 1e-3);
        assert_true(shrunk(o.step, o.averaging, 1.01 * g.preconditioned_limit) > 1e3);
        gm_step_model_free(&model);
    }
    gm_step_options so;
    gm_step_options_default(&so);
    expect_ok(gm_step_model_make(t.lin, &so, &model, &err), &err);
    divisor[3] = 0;
    assert_int_equal(gm_gauges_measure(t.lin, &model, &o, &g, &err), GM_ERR_INPUT);
    gm_step_model_free(&model);
    gm_free(divisor);
    gm_free(h);
    gm_free(value);
    test_problem_close(&t);
}

/* Where tr(H Sigma) is estimated, its standard error moves each gauge by the error that is told:
 * half the difference of the gauges at one error above and below it. Nothing else is left to
 * chance. */
static void estimated(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case c = {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 30, 0.8};
    test_problem t;
    gm_gauge_options o;
    gm_step_options so;
    gm_step_model model;
    gm_gauges exact, g, side[2];
    test_problem_open(&t, &c, GM_F64, 0, 0);
    gm_gauge_options_default(&o);
    gm_step_options_default(&so);
    o.batch = 3;
    o.draws = 2;
    measure(&t, &o, &model, &exact);
    gm_step_model_free(&model);
    assert_true(exact.balance_batch_error == 0 && exact.curvature_noise_scale_error == 0);
    assert_true(exact.noise_scale_error == 0 && exact.interaction_error == 0);
    so.exact_samples = 0;
    so.probes = 10;
    expect_ok(gm_step_model_make(t.lin, &so, &model, &err), &err);
    expect_ok(gm_gauges_measure(t.lin, &model, &o, &g, &err), &err);
    double value = model.trace.value, error = model.trace.std_error;
    assert_true(error > 0.01 * value && error < 0.5 * value);
    for (int i = 0; i < 2; i++) {
        model.trace.value = value + (i ? error : -error);
        expect_ok(gm_gauges_measure(t.lin, &model, &o, &side[i], &err), &err);
    }
    near(g.balance_batch_error, 0.5 * (side[1].balance_batch - side[0].balance_batch),
         1e-10 * g.balance_batch, "error of the balance");
    near(g.curvature_noise_scale_error,
         0.5 * (side[1].curvature_noise_scale - side[0].curvature_noise_scale),
         1e-10 * g.curvature_noise_scale, "error of the critical batch");
    near(g.interaction_error, 0.5 * (side[1].interaction - side[0].interaction),
         1e-10 * g.interaction, "error of the interaction");
    /* Of a quotient by first order: 2 d/(1 - d^2) for a relative error d. */
    double d = g.model_step_error / g.model_step;
    near(0.5 * (side[0].model_step - side[1].model_step), g.model_step_error / (1 - d * d),
         1e-10 * g.model_step, "error of the largest step");
    near(g.local_step_error, g.local_step * g.sharpness_error / (g.sharpness + g.sharpness_error),
         1e-14 * g.local_step, "error of the local step");
    assert_true(exact.model_step_error == 0);
    assert_true(g.noise_scale_error == 0 && g.noise_scale == exact.noise_scale);
    gm_step_model_free(&model);
    test_problem_close(&t);
}

/* The step at which the loss is back lies in the bracket, which is little wider than 1 %. */
static void bracketed(const gm_gauges *g, double expected)
{
    assert_true(g->critical[0] <= g->critical_sharpness && g->critical_sharpness <= g->critical[1]);
    near(0.5 * (g->critical[0] + g->critical[1]), expected, 0.5 * (g->critical[1] - g->critical[0]),
         "bracket");
    assert_true(g->critical[1] < 1.011 * g->critical[0]);
}

/* Linear regression is a quadratic: along mu the loss is back at its value at 2 |mu|^2 / mu.H mu,
 * and the full batch's sharpness quotient is the gradient's own. 2 % : the search stops at 1 %. */
static void quadratic(void **state)
{
    (void)state;
    test_case c = {"mlp:4-3,act=identity", {1, {4, 3}, REF_IDENTITY, true, true}, 9, 0.8};
    test_problem t;
    gm_gauge_options o;
    gm_step_model model;
    gm_gauges g;
    test_problem_open(&t, &c, GM_F64, 0, 0);
    gm_gauge_options_default(&o);
    o.batch = c.n;
    o.replacement = GM_REPLACEMENT_NO;
    o.draws = 2;
    measure(&t, &o, &model, &g);
    double along = model.bend / model.slope;
    near(g.critical_sharpness, along, 0.02 * along, "critical sharpness");
    bracketed(&g, along);
    near(g.batch_sharpness.value, along, 1e-10 * along, "Batch Sharpness of the whole set");
    near(g.batch_sharpness.std_error, 0, 1e-10 * along, "its error");
    near(g.interaction, along, 1e-10 * along, "no noise");
    assert_true(g.sharpness >= along);
    gm_step_model_free(&model);
    test_problem_close(&t);
}

/* At the minimum of the same quadratic the gradient is rounding, and so is every change of the
 * loss: no critical sharpness is made of it. The others are what they are. */
static void at_a_minimum(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case c = {"mlp:4-3,act=identity", {1, {4, 3}, REF_IDENTITY, true, true}, 9, 0.8};
    for (int narrow = 0; narrow < 2; narrow++) {
        test_problem t;
        gm_gauge_options o;
        gm_step_model model;
        gm_gauges g;
        test_problem_open(&t, &c, narrow ? GM_F32 : GM_F64, 0, 0);
        gm_gauge_options_default(&o);
        double *gradient = numbers(t.p), loss;
        for (int step = 0; step < 5000; step++) {
            expect_ok(gm_problem_gradient(t.problem, t.theta, &loss, NULL, gradient, &err), &err);
            for (size_t j = 0; j < t.p; j++) {
                t.theta[j] -= 0.2 * gradient[j];
            }
        }
        gm_linearization_free(t.lin);
        t.lin = NULL;
        expect_ok(gm_linearize(t.problem, t.theta, &t.lin, &err), &err);
        measure(&t, &o, &model, &g);
        assert_true(loss > 0.01); /* not fitted */
        assert_true(g.gradient_square > 0 && g.gradient_square < 1e-9);
        assert_true(isnan(g.critical_sharpness) && isnan(g.critical[0]) && isnan(g.critical[1]));
        assert_true(g.sharpness > 0 && g.batch_sharpness.value > 0);
        gm_step_model_free(&model);
        gm_free(gradient);
        test_problem_close(&t);
    }
}

/* Gradients whose squares leave the range of double have quotients all the same. */
static void small_gradients(void **state)
{
    (void)state;
    gm_error err = {0};
    const test_case c = {"mlp:3-2,act=identity", {1, {3, 2}, REF_IDENTITY, true, false}, 6, 1};
    double value[2];
    for (int i = 0; i < 2; i++) {
        test_problem t;
        gm_gauge_options o;
        gm_step_model model;
        gm_gauges g;
        test_problem_open(&t, &c, GM_F64, 0, 0);
        for (size_t j = 0; j < c.n; j++) {
            t.data->label[j] = 0;
        }
        t.theta[t.p - 2] = 60 + 400 * i; /* sure of the class */
        t.theta[t.p - 1] = 0;
        gm_linearization_free(t.lin);
        t.lin = NULL;
        expect_ok(gm_linearize(t.problem, t.theta, &t.lin, &err), &err);
        gm_gauge_options_default(&o);
        o.tol = 1e-9;
        measure(&t, &o, &model, &g);
        value[i] = g.batch_sharpness.value;
        gm_step_model_free(&model);
        test_problem_close(&t);
    }
    /* H_B is proportional to the small probability exp(-bias): so is the quotient. */
    near(value[1] * exp(400) / value[0], 1, 1e-6, "Batch Sharpness");
}

/* Fitted exactly: mu = 0, quotients are undefined, and nothing fails. */
static void vanishing_gradient(void **state)
{
    (void)state;
    test_case c = {"mlp:3-1,act=tanh", {1, {3, 1}, REF_TANH, true, false}, 4, 0.8}; /* one class */
    test_problem t;
    gm_gauge_options o;
    gm_step_model model;
    gm_gauges g;
    test_problem_open(&t, &c, GM_F64, 0, 0);
    gm_gauge_options_default(&o);
    measure(&t, &o, &model, &g);
    assert_true(g.sharpness == 0 && isnan(g.interaction) && isnan(g.noise_scale));
    assert_true(isnan(g.batch_sharpness.value) && isnan(g.model_step) && isnan(g.local_step));
    assert_true(isnan(g.critical_sharpness) && isnan(g.balance_batch));
    assert_true(isnan(g.noise_scale_error) && isnan(g.balance_batch_error));
    gm_step_model_free(&model);
    test_problem_close(&t);
}

static void refusals(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case c = {"mlp:3-2", {1, {3, 2}, REF_RELU, true, false}, 4, 0.8};
    test_problem t;
    gm_step_model model;
    gm_gauges g;
    test_problem_open(&t, &c, GM_F64, 0, 0);
    gm_step_options so;
    gm_step_options_default(&so);
    expect_ok(gm_step_model_make(t.lin, &so, &model, &err), &err);
    for (int i = 0; i < 7; i++) {
        gm_gauge_options o;
        gm_gauge_options_default(&o);
        if (i == 0) o.batch = 0;
        if (i == 1) o.step = 0;
        if (i == 2) o.momentum = 1;
        if (i == 3) o.draws = 1;
        if (i == 4) o.tol = 1e-20;
        if (i == 5) {
            o.batch = 5;
            o.replacement = GM_REPLACEMENT_NO;
        }
        if (i == 6) o.averaging = 1;
        assert_int_equal(gm_gauges_measure(t.lin, &model, &o, &g, &err), GM_ERR_USAGE);
    }
    gm_step_model_free(&model);
    test_problem_close(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_single_samples),
                                       cmocka_unit_test(preconditioned),
                                       cmocka_unit_test(estimated),
                                       cmocka_unit_test(quadratic),
                                       cmocka_unit_test(at_a_minimum),
                                       cmocka_unit_test(small_gradients),
                                       cmocka_unit_test(vanishing_gradient),
                                       cmocka_unit_test(refusals)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "gauges");
}
