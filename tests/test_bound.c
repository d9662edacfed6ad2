/* The bound end to end: Gibbs losses against a closed form, the limits and the bound against the
 * frequencies that they promise, divergence against a dense Hessian, invariance under re-scaling.
 *
 * A linear net without bias and two classes has logits whose difference is Gaussian under Q, so
 * that a sample's Gibbs error is a value of the normal distribution function. */
#include "support.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/bound.h"
#include "gradiometer/posterior.h"
#include "net/net.h"
#include "problems.h"

static void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("%s: found %.17g, expected %.17g within %.3g", what, found, expected, tolerance);
    }
}

/* ---- a linear net with two classes ---- */

enum { DIM = 3, WEIGHTS = 2 * DIM };

typedef struct linear {
    size_t n;
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
} linear;

static void linear_open(linear *t, size_t n, const double *x, const int32_t *label)
{
    gm_error err = {0};
    gm_shape shape = {.rank = 1, .dim = {DIM}};
    gm_problem_options o;
    gm_problem_options_default(&o);
    *t = (linear){.n = n};
    expect_ok(gm_net_from_spec("mlp:3-2,bias=no", NULL, 0, &t->net, &err), &err);
    expect_ok(gm_data_from_arrays("t", n, &shape, x, label, NULL, 0, GM_F64, 2, &t->data, &err),
              &err);
    expect_ok(gm_problem_create(t->net, t->data, &o, &t->problem, &err), &err);
}

static void linear_close(linear *t)
{
    gm_problem_free(t->problem);
    gm_dataset_free(t->data);
    gm_net_free(t->net);
}

/* P(wrong) of one sample: (w_other - w_y).x > 0. */
static double gibbs_of(const gm_gaussians *g, const double *x, int32_t label)
{
    double mean = 0.0, variance = 0.0;
    for (size_t i = 0; i < DIM; i++) {
        for (size_t c = 0; c < 2; c++) {
            size_t j = c * DIM + i;
            double sd = g->scale * g->unit[j] / sqrt(g->ratio[j]);
            mean += (c == (size_t)label ? -1.0 : 1.0) * g->theta[j] * x[i];
            variance += sd * sd * x[i] * x[i];
        }
    }
    return 0.5 * erfc(-mean / sqrt(2.0 * variance));
}

static double gibbs_exact(const gm_gaussians *g, size_t n, const double *x, const int32_t *label)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += gibbs_of(g, x + i * DIM, label[i]);
    }
    return sum / (double)n;
}

/* n samples whose labels follow the first feature, the first of them always wrong: blocks differ.
 */
enum { MANY = 130 };
static void make_samples(double *x, int32_t *label)
{
    gm_normal_fill(gm_stream_of(5, GM_PURPOSE_TEST, 0), 0, (size_t)MANY * DIM, x);
    for (size_t i = 0; i < MANY; i++) {
        label[i] = (x[i * DIM] > 0.0) != (i < MANY / 3);
    }
}

static const double zero[WEIGHTS] = {0};
static const double unit[WEIGHTS] = {1.0, 0.5, 2.0, 1.0, 1.0, 0.3};
static const double theta[WEIGHTS] = {-0.6, 0.2, 0.1, 0.7, 0.0, -0.3};
static const double ratio[WEIGHTS] = {4.0, 1.0, 9.0, 1.0, 2.0, 1.0};

static void test_gibbs(void **state)
{
    static const size_t blocks[] = {0, 7, 33, MANY, 1000};
    double x[MANY * DIM];
    int32_t label[MANY];
    gm_gaussians g = {WEIGHTS, zero, unit, 0.4, theta, ratio};
    linear t;
    (void)state;
    make_samples(x, label);
    linear_open(&t, MANY, x, label);
    double exact = gibbs_exact(&g, MANY, x, label);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        gm_gibbs_options o;
        gm_gibbs found, again;
        gm_error err = {0};
        gm_gibbs_options_default(&o);
        o.draws = GM_TEST_SIZE(10000, 1000);
        o.block = blocks[i];
        o.whole = true;
        omp_set_num_threads(2);
        expect_ok(gm_gibbs_estimate(t.problem, &g, &o, &found, &err), &err);
        assert_true(found.draws >= o.draws && found.draws % found.blocks == 0);
        assert_int_equal(found.blocks == 1, blocks[i] == 0 || blocks[i] >= MANY);
        assert_true(found.span >= 1.0 && found.span < 1.2);
        /* the scatter of the terms bounds the error from above: blocks differ in their means */
        near(found.error.mean, exact, 4.0 * found.error.std_error, "Gibbs error");
        assert_true(found.error.std_error < GM_TEST_SIZE(0.005, 0.016));
        assert_int_equal(found.overflowed, 0);
        near(found.clip, log(200.0), 1e-15, "clip");
        omp_set_num_threads(1);
        expect_ok(gm_gibbs_estimate(t.problem, &g, &o, &again, &err), &err);
        near(again.error.mean, found.error.mean, 0.0, "one thread");
        near(again.clipped.mean, found.clipped.mean, 1e-14, "one thread");
    }
    linear_close(&t);
}

static const test_case net_case = {
    "mlp:5-6-4-3", {3, {5, 6, 4, 3}, REF_RELU, true, false}, 40, 0.7};
static const test_case tanh_case = {
    "mlp:5-6-3,act=tanh", {2, {5, 6, 3}, REF_TANH, true, false}, 40, 0.7};

/* By layer, the default: each sample meets as many draws as the others, and the mean is the closed
 * form's; equal seeds give equal bits, whatever the threads. */
static void test_by_layer(void **state)
{
    static const size_t blocks[] = {0, 7, 1000};
    double x[MANY * DIM];
    int32_t label[MANY];
    gm_gaussians g = {WEIGHTS, zero, unit, 0.4, theta, ratio};
    linear t;
    (void)state;
    make_samples(x, label);
    linear_open(&t, MANY, x, label);
    double exact = gibbs_exact(&g, MANY, x, label);
    for (size_t i = 0; i < 3; i++) {
        gm_gibbs_options o;
        gm_gibbs found, again;
        gm_error err = {0};
        gm_gibbs_options_default(&o);
        o.draws = 2000;
        o.block = blocks[i];
        omp_set_num_threads(2);
        expect_ok(gm_gibbs_estimate(t.problem, &g, &o, &found, &err), &err);
        assert_true(found.by_layer && found.blocks == MANY && found.span == 1.0);
        /* 106 rounds through 19 blocks, on 7 samples each: 109 rounds through 130 samples */
        assert_int_equal(found.draws, i == 1 ? 109 * MANY : 2000 * MANY);
        near(found.error.mean, exact, 4.0 * found.error.std_error, "Gibbs error");
        assert_true(found.error.std_error < 0.005);
        omp_set_num_threads(1);
        expect_ok(gm_gibbs_estimate(t.problem, &g, &o, &again, &err), &err);
        near(again.error.mean, found.error.mean, 0.0, "one thread");
        near(again.clipped.mean, found.clipped.mean, 0.0, "one thread");
        o.seed = 1;
        expect_ok(gm_gibbs_estimate(t.problem, &g, &o, &again, &err), &err);
        assert_true(again.clipped.mean != found.clipped.mean);
    }
    linear_close(&t);
}

/* A net with hidden layers has no closed form: draws by layer against whole ones, whose Gibbs
 * losses must agree within 4.5 joint standard errors. */
static void test_whole_and_by_layer(void **state)
{
    (void)state;
    test_problem t;
    gm_error err = {0};
    gm_gibbs found[2];
    test_problem_open(&t, &net_case, GM_F64, 0, 0);
    double *sd = calloc(2 * t.p, sizeof *sd), *precise = sd + t.p;
    assert_non_null(sd);
    for (size_t j = 0; j < t.p; j++) {
        sd[j] = 0.3 + 0.1 * (double)(j % 5);
        precise[j] = 1.0 + (double)(j % 3);
    }
    const gm_gaussians g = {t.p, t.theta, sd, 1.0, t.theta, precise};
    for (int whole = 0; whole < 2; whole++) {
        gm_gibbs_options o = {
            .draws = (whole ? 40000 : 2000) / GM_TEST_SIZE(1, 10), .whole = whole, .seed = 3};
        expect_ok(gm_gibbs_estimate(t.problem, &g, &o, &found[whole], &err), &err);
        assert_int_equal(found[whole].by_layer, !whole);
    }
    const gm_gibbs_mean pair[2][2] = {{found[0].error, found[1].error},
                                      {found[0].clipped, found[1].clipped}};
    for (int i = 0; i < 2; i++) {
        double joint = hypot(pair[i][0].std_error, pair[i][1].std_error);
        assert_true(joint < GM_TEST_SIZE(0.01, 0.03) && pair[i][0].mean > 0.05);
        near(pair[i][0].mean, pair[i][1].mean, 4.5 * joint, i ? "clipped loss" : "error");
    }
    free(sd);
    test_problem_close(&t);
}

/* Clipped loss of every sample under one draw that is nearly no draw at all. */
static void test_clipped(void **state)
{
    double x[MANY * DIM], expected = 0.0;
    int32_t label[MANY];
    gm_gaussians g = {WEIGHTS, zero, unit, 1e-12, theta, ratio};
    gm_gibbs_options o = {.draws = 1, .clip = 0.5, .whole = true};
    gm_gibbs found;
    gm_error err = {0};
    linear t;
    (void)state;
    make_samples(x, label);
    linear_open(&t, MANY, x, label);
    for (size_t i = 0; i < MANY; i++) {
        double z = 0.0; /* logit of the other class minus that of the label */
        for (size_t j = 0; j < DIM; j++) {
            z += (label[i] ? 1.0 : -1.0) * (theta[j] - theta[DIM + j]) * x[i * DIM + j];
        }
        expected += fmin(log1p(exp(z)), 0.5) / 0.5 / MANY;
    }
    expect_ok(gm_gibbs_estimate(t.problem, &g, &o, &found, &err), &err);
    near(found.clipped.mean, expected, 1e-10, "clipped loss");
    assert_true(isnan(found.clipped.std_error));
    o.draws = 0;
    assert_int_equal(gm_gibbs_estimate(t.problem, &g, &o, &found, &err), GM_ERR_USAGE);
    linear_close(&t);
}

/* How often the limits of L_S(Q) fail, for failure probabilities of 0.05 on either side: never more
 * often than that. fewest: with terms that are single samples, 0 or 1 each, Chernoff's inequality
 * is off by a factor of 7 or so, and much rarer failures would be a defect too. */
static void check_limits(linear *t, const gm_gaussians *g, double exact, size_t block, bool whole,
                         size_t fewest)
{
    enum { TRIALS = GM_TEST_SIZE(2000, 200) };
    size_t above = 0, below = 0;
    for (uint64_t i = 0; i < TRIALS; i++) {
        gm_gibbs_options o = {.draws = 12, .block = block, .whole = whole, .seed = i};
        if (block == 1) o.draws = MANY;
        gm_gibbs found;
        gm_error err = {0};
        expect_ok(gm_gibbs_estimate(t->problem, g, &o, &found, &err), &err);
        assert_true(found.blocks > 1 && (block == 1) == (found.span == 1.0));
        above += exact > gm_gibbs_upper(&found, found.error, 0.05);
        below += exact < gm_gibbs_lower(&found, found.error, 0.05);
    }
    /* binomial(2000, 0.05) exceeds 100 + 4 sd = 139 with probability 1e-4 */
    assert_true(above < GM_TEST_SIZE(139, 23) && below < GM_TEST_SIZE(139, 23));
    if (TRIALS < 2000) return; /* too few for what is rare */
    assert_true(above >= fewest && below >= fewest);
}

static void test_limits(void **state)
{
    double x[MANY * DIM];
    int32_t label[MANY];
    gm_gaussians g = {WEIGHTS, zero, unit, 4.0, theta, ratio};
    linear t;
    (void)state;
    make_samples(x, label);
    linear_open(&t, MANY, x, label);
    omp_set_num_threads(1);
    double exact = gibbs_exact(&g, MANY, x, label);
    check_limits(&t, &g, exact, 7, true, 0);
    check_limits(&t, &g, exact, 1, true, 3);
    check_limits(&t, &g, exact, 1, false, 3);
    linear_close(&t);
}

/* Terms that are means over several samples scatter less than coins: their limits, by the formulas
 * written out, and how often they fail. */
static void test_limits_by_scatter(void **state)
{
    enum { TRIALS = GM_TEST_SIZE(400, 50), DRAWS = 600 };
    double x[MANY * DIM];
    int32_t label[MANY];
    gm_gaussians g = {WEIGHTS, zero, unit, 4.0, theta, ratio};
    linear t;
    size_t failed = 0;
    (void)state;
    make_samples(x, label);
    linear_open(&t, MANY, x, label);
    omp_set_num_threads(1);
    double exact = gibbs_exact(&g, MANY, x, label);
    for (uint64_t i = 0; i < TRIALS; i++) {
        gm_gibbs_options o = {.draws = DRAWS, .block = 10, .whole = true, .seed = i};
        gm_gibbs found;
        gm_error err = {0};
        expect_ok(gm_gibbs_estimate(t.problem, &g, &o, &found, &err), &err);
        assert_int_equal(found.each, 10);
        double n = (double)found.draws, spread = found.error.std_error, ln = log(4.0 / 0.05);
        double slack = spread * sqrt(2.0 * ln) + 7.0 * found.span * ln / (3.0 * (n - 1.0));
        double upper = gm_gibbs_upper(&found, found.error, 0.05);
        double coin = gm_kl_inverse_upper(found.error.mean / found.span, log(2.0 / 0.05) / n);
        near(upper, fmin(found.span * coin, found.error.mean + slack), 1e-12, "upper limit");
        assert_true(upper < found.span * coin);
        failed += exact > upper || exact < gm_gibbs_lower(&found, found.error, 0.05);
    }
    /* binomial(400, 0.1) exceeds 40 + 4 sd = 64 with probability 1e-4 */
    assert_true(failed < GM_TEST_SIZE(64, 14));
    linear_close(&t);
}

/* ---- the bound is a bound ---- */

/* Points with weights and noisy labels: the whole distribution D. */
enum { POINTS = 8 };
static const double point[POINTS][DIM] = {{1, 0, 0},  {-1, 0, 0}, {0.3, 1, 0},  {-0.3, 1, 0},
                                          {2, -1, 1}, {-2, 1, 1}, {0.1, 0, -1}, {-0.2, 0, -1}};

/* n samples of D in x [n, DIM], with a share `flip` of the labels wrong. */
static void draw_set(gm_stream stream, size_t n, double flip, double *x, int32_t *label)
{
    for (size_t i = 0; i < n; i++) {
        size_t which = (size_t)gm_below(stream, 2 * i, POINTS);
        memcpy(x + i * DIM, point[which], sizeof point[which]);
        label[i] = (point[which][0] > 0.0) != (gm_uniform(stream, 2 * i + 1) < flip);
    }
}

/* L_D(Q). */
static double true_risk(const gm_gaussians *g, double flip)
{
    double risk = 0.0;
    for (size_t i = 0; i < POINTS; i++) {
        int32_t right = point[i][0] > 0.0;
        double wrong = gibbs_of(g, point[i], right);
        risk += ((1.0 - flip) * wrong + flip * (1.0 - wrong)) / POINTS;
    }
    return risk;
}

/* One training set, a few steps of descent on it, the bound; returns whether the true Gibbs risk
 * exceeds it. */
static bool violated(uint64_t trial, size_t n, double flip, double *bound)
{
    double x[64 * DIM], theta0[WEIGHTS], moved[WEIGHTS], gradient[WEIGHTS];
    int32_t label[64];
    gm_stream stream = gm_stream_of(trial, GM_PURPOSE_TEST, 1);
    gm_error err = {0};
    linear t;
    draw_set(stream, n, flip, x, label);
    linear_open(&t, n, x, label);
    gm_normal_fill(stream, 1000, WEIGHTS, theta0);
    memcpy(moved, theta0, sizeof moved);
    for (int step = 0; step < 20; step++) {
        expect_ok(gm_problem_gradient(t.problem, moved, NULL, NULL, gradient, &err), &err);
        for (size_t j = 0; j < WEIGHTS; j++) {
            moved[j] -= 2.0 * gradient[j];
        }
    }
    gm_linearization *lin = NULL;
    gm_bound_options o;
    gm_bound b;
    gm_bound_options_default(&o);
    o.gibbs.draws = 100;
    o.gibbs.seed = trial;
    o.trial_draws = 4;
    expect_ok(gm_linearize(t.problem, moved, &lin, &err), &err);
    expect_ok(gm_bound_measure(lin, theta0, &o, &b, &err), &err);
    gm_gaussians g = {WEIGHTS, theta0, b.unit, b.best.prior_scale, moved, b.ratio};
    double risk = true_risk(&g, flip);
    *bound = b.best.error.bound;
    gm_bound_free(&b);
    gm_linearization_free(lin);
    linear_close(&t);
    return risk > *bound;
}

/* The same with posterior and scale of the prior optimized on the training set. *factor: on the
 * scale of the first prior, 1/8 of the initial weights. */
static bool violated_optimized(uint64_t trial, size_t n, double flip, double *bound, double *factor)
{
    double x[64 * DIM], theta0[WEIGHTS], theta_q[WEIGHTS], start[WEIGHTS], learned[WEIGHTS],
        ratio_q[WEIGHTS];
    int32_t label[64];
    gm_stream stream = gm_stream_of(trial, GM_PURPOSE_TEST, 1);
    gm_error err = {0};
    linear t;
    draw_set(stream, n, flip, x, label);
    linear_open(&t, n, x, label);
    gm_normal_fill(stream, 1000, WEIGHTS, theta0);
    memcpy(theta_q, theta0, sizeof theta0);
    expect_ok(gm_prior_unit(t.net, theta0, NULL, start, &err), &err);
    for (size_t j = 0; j < WEIGHTS; j++) {
        ratio_q[j] = 1.0;
    }
    gm_optimize_options o;
    gm_optimize_result r;
    gm_optimize_options_default(&o);
    o.steps = 100;
    o.batch = 20;
    o.step = 0.2;
    o.grid = 1;
    o.seed = trial;
    o.learned = learned;
    expect_ok(
        gm_posterior_optimize(t.problem, theta0, start, 0.125, &o, theta_q, ratio_q, &r, &err),
        &err);
    gm_gaussians g = {WEIGHTS, theta0, learned, 0.125, theta_q, ratio_q};
    gm_certificate_options co;
    gm_certificate c;
    gm_certificate_options_default(&co);
    co.fixed_scale = true;
    co.cost = r.cost;
    co.rounds = 20;
    co.seed = trial;
    expect_ok(gm_certificate_measure(t.problem, &g, &co, &c, &err), &err);
    double risk = true_risk(&g, flip);
    *bound = c.error.bound;
    *factor = learned[0] / start[0];
    linear_close(&t);
    return risk > *bound;
}

static void test_holds(void **state)
{
    enum { TRIALS = GM_TEST_SIZE(2000, 200) };
    size_t violations = 0, nonvacuous = 0;
    (void)state;
    omp_set_num_threads(1);
    for (uint64_t i = 0; i < TRIALS; i++) {
        double bound;
        violations += violated(i, i % 2 ? 12 : 60, 0.1 * (double)(i % 4), &bound);
        nonvacuous += bound < 0.99;
    }
    assert_true(violations <= TRIALS / 20);
    assert_true(nonvacuous > TRIALS / 2);
}

static void test_holds_optimized(void **state)
{
    enum { TRIALS = GM_TEST_SIZE(500, 50) };
    size_t violations = 0, nonvacuous = 0, moved = 0;
    (void)state;
    omp_set_num_threads(1);
    for (uint64_t i = 0; i < TRIALS; i++) {
        double bound, factor;
        violations += violated_optimized(i, 60, 0.1 * (double)(i % 4), &bound, &factor);
        nonvacuous += bound < 0.9;
        moved += factor > 1.0;
    }
    assert_true(violations <= TRIALS / 20);
    assert_true(nonvacuous > TRIALS / 2);
    assert_true(moved > TRIALS / 2); /* the scale is one that the data chose */
}

/* Labels that are coins: every net's true risk is 1/2, however well it fits its 40 samples in 40
 * dimensions. Without the divergence in it the bound would be near the training error. */
static void test_holds_for_overfitting(void **state)
{
    enum { N = 40, P = 2 * N, TRIALS = GM_TEST_SIZE(100, 20) };
    double x[N * N], theta0[P], moved[P], gradient[P];
    int32_t label[N];
    size_t violations = 0, fitted = 0;
    gm_shape shape = {.rank = 1, .dim = {N}};
    gm_error err = {0};
    gm_net *net = NULL;
    (void)state;
    expect_ok(gm_net_from_spec("mlp:40-2,bias=no", NULL, 0, &net, &err), &err);
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        gm_dataset *data = NULL;
        gm_problem *problem = NULL;
        gm_linearization *lin = NULL;
        gm_problem_options po;
        gm_bound_options o;
        gm_bound b;
        gm_problem_options_default(&po);
        gm_normal_fill(gm_stream_of(trial, GM_PURPOSE_TEST, 2), 0, (size_t)N * N, x);
        gm_normal_fill(gm_stream_of(trial, GM_PURPOSE_TEST, 3), 0, P, theta0);
        for (size_t i = 0; i < N; i++) {
            label[i] = (int32_t)gm_below(gm_stream_of(trial, GM_PURPOSE_TEST, 4), i, 2);
        }
        expect_ok(gm_data_from_arrays("t", N, &shape, x, label, NULL, 0, GM_F64, 2, &data, &err),
                  &err);
        expect_ok(gm_problem_create(net, data, &po, &problem, &err), &err);
        memcpy(moved, theta0, sizeof moved);
        for (int step = 0; step < 50; step++) {
            expect_ok(gm_problem_gradient(problem, moved, NULL, NULL, gradient, &err), &err);
            for (size_t j = 0; j < P; j++) {
                moved[j] -= gradient[j];
            }
        }
        gm_bound_options_default(&o);
        o.gibbs.draws = 100;
        o.gibbs.seed = trial;
        o.prior_scale = 0.25; /* narrow, so that draws fit as well as their mean */
        expect_ok(gm_linearize(problem, moved, &lin, &err), &err);
        expect_ok(gm_bound_measure(lin, theta0, &o, &b, &err), &err);
        violations += b.best.error.bound < 0.5;
        fitted += gm_bound_kl(b.best.error.upper, 0.0, N, 1, o.delta) < 0.45;
        gm_bound_free(&b);
        gm_linearization_free(lin);
        gm_problem_free(problem);
        gm_dataset_free(data);
    }
    gm_net_free(net);
    assert_true(fitted > TRIALS / 2);
    assert_true(violations <= TRIALS / 20);
}

/* ---- parts ---- */

/* KL, both terms and the count of negative entries from the reference's dense Hessian. */
static void check_dense(const test_case *c)
{
    test_problem t;
    gm_bound_options o;
    gm_bound b;
    gm_error err = {0};
    test_problem_open(&t, c, GM_F64, 0, 0);
    double *h = calloc(t.p * t.p, sizeof *h), *theta0 = calloc(t.p, sizeof *theta0);
    double *scale = calloc(t.p, sizeof *scale);
    assert_true(h && theta0 && scale);
    gm_net_init(t.net, GM_INIT_HE, 3, 0, theta0);
    ref_matrix(&t.c->ref, t.theta, &t.ref, REF_H, h);
    gm_bound_options_default(&o);
    expect_ok(gm_bound_measure(t.lin, theta0, &o, &b, &err), &err);
    expect_ok(gm_prior_unit(t.net, theta0, NULL, scale, &err), &err);
    double curvature = 0.0, distance = 0.0, kl = 0.0;
    size_t negative = 0;
    for (size_t j = 0; j < t.p; j++) {
        double hj = h[j * t.p + j], sigma = b.best.prior_scale * scale[j];
        double d = t.theta[j] - theta0[j], nu = 1.0 / (sigma * sigma);
        if (b.best.posterior_scale * hj > nu) {
            nu = b.best.posterior_scale * hj;
            curvature += log(sigma * sigma * nu);
        }
        distance += d * d / (sigma * sigma);
        kl += 0.5 * (log(sigma * sigma * nu) + 1.0 / (sigma * sigma * nu) - 1.0 +
                     d * d / (sigma * sigma));
        negative += hj < 0.0;
    }
    assert_true(b.best.divergence.active > 0);
    near(b.best.divergence.kl, kl, 1e-10 * kl, "KL");
    near(b.best.divergence.effective_curvature, curvature, 1e-10 * curvature, "curvature");
    near(b.best.divergence.distance, distance, 1e-12 * distance, "distance");
    assert_int_equal(b.negative, negative);
    gm_divergence sum = {0};
    for (size_t l = 0; l < b.layers; l++) {
        sum.kl += b.layer[l].divergence.kl;
        sum.active += b.layer[l].divergence.active;
    }
    near(sum.kl, kl, 1e-10 * kl, "layers");
    assert_int_equal(sum.active, b.best.divergence.active);
    gm_bound_free(&b);
    test_problem_close(&t);
    free(h);
    free(theta0);
    free(scale);
}

static void test_dense(void **state)
{
    (void)state;
    check_dense(&net_case);
    check_dense(&tanh_case);
}

/* The parts add up, and delta is spent once. */
static void check_value(const gm_bound *b, const gm_bound_case *c, const gm_bound_value *v)
{
    double c_draws = -log(b->delta_draws) / (double)c->gibbs.draws;
    near(v->upper, gm_kl_inverse_upper(v->train.mean, c_draws), 1e-15, "upper limit");
    near(v->empirical + v->monte_carlo + v->divergence + v->logarithm, v->bound, 1e-14, "parts");
    assert_true(v->monte_carlo > 0.0 && v->divergence > 0.0 && v->logarithm > 0.0);
    assert_true(v->lower < v->train.mean);
}

static void test_account(void **state)
{
    static const double theta0[WEIGHTS] = {-0.5, 0.1, 0.2, 0.5, 0.1, -0.2};
    double x[MANY * DIM];
    int32_t label[MANY];
    linear t;
    gm_linearization *lin = NULL;
    gm_bound b;
    gm_bound_options o;
    gm_error err = {0};
    (void)state;
    make_samples(x, label);
    linear_open(&t, MANY, x, label);
    expect_ok(gm_linearize(t.problem, theta, &lin, &err), &err);
    gm_bound_options_default(&o);
    o.delta = 0.04;
    for (int form = 0; form < 2; form++) {
        o.form = (gm_bound_form)form;
        expect_ok(gm_bound_measure(lin, theta0, &o, &b, &err), &err);
        size_t certificates = b.plain_is_best ? 1 : 2;
        near(b.delta_sample + (double)certificates * b.delta_draws, 0.04, 1e-16, "delta");
        assert_true(b.has_plain && b.plain.posterior_scale == 1.0);
        check_value(&b, &b.best, &b.best.error);
        check_value(&b, &b.best, &b.best.clipped);
        check_value(&b, &b.plain, &b.plain.error);
        gm_catoni catoni;
        gm_bound_catoni_best(b.best.error.upper, b.best.divergence.kl, MANY, GM_PRIOR_SCALES,
                             b.delta_sample, &catoni);
        double expected = form ? catoni.bound
                               : gm_bound_kl(b.best.error.upper, b.best.divergence.kl, MANY,
                                             GM_PRIOR_SCALES, b.delta_sample);
        near(b.best.error.bound, expected, 0.0, "bound");
        gm_bound_free(&b);
    }
    /* Both scales given: one prior, one case. */
    o.prior_scale = 0.5;
    o.posterior_scale = MANY;
    o.form = GM_BOUND_KL;
    expect_ok(gm_bound_measure(lin, theta0, &o, &b, &err), &err);
    assert_true(!b.has_plain && b.priors == 1 && b.cases == 1);
    near(b.logarithm, log(2.0 * sqrt((double)MANY) / b.delta_sample), 1e-15, "logarithm");
    gm_bound_free(&b);
    o.delta = 1.0;
    assert_int_equal(gm_bound_measure(lin, theta0, &o, &b, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "--delta"));
    gm_linearization_free(lin);
    linear_close(&t);
}

/* Draws beyond the range of numbers are wrong, not an error. */
static void test_overflow(void **state)
{
    test_problem t;
    gm_bound b;
    gm_bound_options o;
    gm_error err = {0};
    (void)state;
    test_problem_open(&t, &net_case, GM_F32, 0, 0);
    gm_bound_options_default(&o);
    o.prior_scale = 1e30;
    o.posterior_scale = 1e-90;
    o.gibbs.draws = 10;
    for (int whole = 0; whole < 2; whole++) {
        o.gibbs.whole = whole;
        expect_ok(gm_bound_measure(t.lin, t.theta, &o, &b, &err), &err);
        assert_int_equal(b.best.gibbs.draws, whole ? 10 : 10 * 40);
        assert_int_equal(b.best.gibbs.overflowed, b.best.gibbs.draws);
        near(b.best.error.train.mean, 1.0, 0.0, "error");
        near(b.best.clipped.train.mean, 1.0, 0.0, "clipped loss");
        near(b.best.error.bound, 1.0, 0.0, "bound");
        gm_bound_free(&b);
    }
    test_problem_close(&t);
}

/* The diagonal by probes: near the exact one by its own errors, and moving with a re-scaling as the
 * exact one does. */
static void test_estimated_diagonal(void **state)
{
    test_problem t;
    gm_bound exact, found, moved;
    gm_bound_options o;
    gm_error err = {0};
    gm_linearization *lin = NULL;
    double theta0[200], at[200], at0[200], factor[200];
    size_t far = 0;
    (void)state;
    test_problem_open(&t, &net_case, GM_F64, 0, 0);
    gm_net_init(t.net, GM_INIT_HE, 3, 0, theta0);
    gm_bound_options_default(&o);
    o.gibbs.draws = 20;
    expect_ok(gm_bound_measure(t.lin, theta0, &o, &exact, &err), &err);
    assert_true(!exact.diagonal_error && exact.divergence_error == 0.0);
    o.diagonal_products = 1;
    assert_int_equal(gm_bound_measure(t.lin, theta0, &o, &found, &err), GM_ERR_USAGE);
    o.diagonal_products = 400;
    o.prior_scale = exact.best.prior_scale;
    o.posterior_scale = exact.best.posterior_scale;
    expect_ok(gm_bound_measure(t.lin, theta0, &o, &found, &err), &err);
    assert_int_equal(found.diagonal_products, 400);
    for (size_t j = 0; j < t.p; j++) {
        double off = fabs(found.diagonal[j] - exact.diagonal[j]);
        far += !(off <= 4.0 * found.diagonal_error[j] + 1e-14);
    }
    assert_true(far <= t.p / 50); /* four errors, of 400 probes: rarer than 1 in 1,000 each */
    double shift = fabs(found.best.divergence.kl - exact.best.divergence.kl);
    assert_true(found.divergence_error > 0.0 && shift <= 2.0 * found.divergence_error);
    expect_ok(gm_rescaling_make(t.net, 100.0, 7, 0, factor, NULL, &err), &err);
    for (size_t j = 0; j < t.p; j++) {
        at[j] = factor[j] * t.theta[j];
        at0[j] = factor[j] * theta0[j];
    }
    expect_ok(gm_linearize(t.problem, at, &lin, &err), &err);
    expect_ok(gm_bound_measure(lin, at0, &o, &moved, &err), &err);
    for (size_t j = 0; j < t.p; j++) {
        near(moved.ratio[j], found.ratio[j], 1e-9 * found.ratio[j], "ratio");
    }
    near(moved.best.divergence.kl, found.best.divergence.kl, 1e-10 * found.best.divergence.kl,
         "KL");
    gm_linearization_free(lin);
    gm_bound_free(&exact);
    gm_bound_free(&found);
    gm_bound_free(&moved);
    test_problem_close(&t);
}

/* ---- re-scaling ---- */

typedef struct measured {
    double loss, hessian_trace;
    gm_bound bound;
} measured;

static void measure(const test_problem *t, const double *at, const double *theta0, measured *m)
{
    gm_linearization *lin = NULL;
    gm_bound_options o;
    gm_error err = {0};
    gm_bound_options_default(&o);
    o.gibbs.draws = 40;
    o.trial_draws = 4;
    expect_ok(gm_linearize(t->problem, at, &lin, &err), &err);
    m->loss = gm_linearization_loss(lin);
    expect_ok(gm_bound_measure(lin, theta0, &o, &m->bound, &err), &err);
    m->hessian_trace = 0.0;
    for (size_t j = 0; j < t->p; j++) {
        m->hessian_trace += m->bound.diagonal[j];
    }
    gm_linearization_free(lin);
}

static void same(double found, double expected, const char *what)
{
    near(found, expected, 1e-10 * fabs(expected), what);
}

static void test_rescaling(void **state)
{
    test_problem t;
    measured before, after;
    double theta0[200], moved[200], moved0[200], factor[200], alpha[3], largest = 0.0;
    gm_error err = {0};
    (void)state;
    test_problem_open(&t, &net_case, GM_F64, 0, 0);
    assert_true(t.p <= 200);
    gm_net_init(t.net, GM_INIT_HE, 3, 0, theta0);
    measure(&t, t.theta, theta0, &before);
    for (uint32_t run = 0; run < 100; run++) {
        double magnitude = pow(10.0, 3.0 * (run + 1) / 100.0), most = 0.0;
        expect_ok(gm_rescaling_make(t.net, magnitude, 7, run, factor, alpha, &err), &err);
        near(alpha[0] * alpha[1] * alpha[2], 1.0, 1e-14, "product of alphas");
        for (int l = 0; l < 3; l++) {
            most = fmax(most, fabs(log(alpha[l])));
        }
        near(most, log(magnitude), 1e-12, "magnitude");
        near(factor[30], alpha[0], 1e-14 * alpha[0], "first bias");
        near(factor[t.p - 1], 1.0, 1e-14, "last bias");
        for (size_t j = 0; j < t.p; j++) {
            moved[j] = factor[j] * t.theta[j];
            moved0[j] = factor[j] * theta0[j];
        }
        measure(&t, moved, moved0, &after);
        same(after.loss, before.loss, "loss");
        same(after.bound.best.divergence.kl, before.bound.best.divergence.kl, "KL");
        same(after.bound.best.divergence.effective_curvature,
             before.bound.best.divergence.effective_curvature, "effective curvature");
        same(after.bound.best.divergence.distance, before.bound.best.divergence.distance,
             "distance");
        same(after.bound.best.clipped.train.mean, before.bound.best.clipped.train.mean,
             "Gibbs loss");
        same(after.bound.best.error.bound, before.bound.best.error.bound, "bound");
        same(after.bound.best.clipped.bound, before.bound.best.clipped.bound, "bound, clipped");
        same(after.bound.plain.error.bound, before.bound.plain.error.bound, "bound, lambda = 1");
        largest = fmax(largest, fabs(log(after.hessian_trace / before.hessian_trace)));
        gm_bound_free(&after.bound);
    }
    assert_true(largest > log(1e4)); /* the trace of H moves */
    gm_bound_free(&before.bound);
    test_problem_close(&t);

    test_problem_open(&t, &tanh_case, GM_F64, 0, 0);
    assert_int_equal(gm_rescaling_make(t.net, 10.0, 7, 0, factor, NULL, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "not positively homogeneous"));
    test_problem_close(&t);
}

/* x -> norm -> dense 2 on x [2], with a running mean or without. */
static gm_net *normed_net(const double *mean)
{
    static const double variance[2] = {0.5, 2.0};
    const gm_norm_config norm = {.mean = mean, .variance = variance, .epsilon = 1e-5, .start = 1.0};
    const gm_dense_config dense = {.units = 2, .bias = true};
    gm_error err = {0};
    gm_net *net = NULL;
    int last = 0;
    gm_shape shape = {.rank = 1, .dim = {2}};
    expect_ok(gm_net_create("normed", &shape, &net, &err), &err);
    expect_ok(gm_net_add(net, &gm_layer_norm, &norm, 1, &last, NULL, &last, &err), &err);
    expect_ok(gm_net_add(net, &gm_layer_dense, &dense, 1, &last, NULL, &last, &err), &err);
    return net;
}

/* A running mean is no parameter: with all others re-scaled it would have to move along. */
static void test_running_means(void **state)
{
    static const double mean[2] = {0.3, -0.1};
    double factor[10];
    gm_error err = {0};
    (void)state;
    gm_net *net = normed_net(NULL);
    assert_int_equal(gm_net_parameters(net), 10);
    expect_ok(gm_rescaling_make(net, 10.0, 7, 0, factor, NULL, &err), &err);
    near(factor[0] * factor[4], 1.0, 1e-14, "scale and weight");
    near(factor[2] * factor[4], 1.0, 1e-14, "shift and weight");
    gm_net_free(net);
    net = normed_net(mean);
    assert_int_equal(gm_rescaling_make(net, 10.0, 7, 0, factor, NULL, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "norm1 subtracts a running mean"));
    gm_net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_running_means),
        cmocka_unit_test(test_gibbs),
        cmocka_unit_test(test_by_layer),
        cmocka_unit_test(test_whole_and_by_layer),
        cmocka_unit_test(test_clipped),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limits_by_scatter),
        cmocka_unit_test(test_holds),
        cmocka_unit_test(test_holds_optimized),
        cmocka_unit_test(test_holds_for_overfitting),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_account),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_rescaling),
        cmocka_unit_test(test_estimated_diagonal),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "bound");
}
