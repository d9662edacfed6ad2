/* Objectives, draws by layer, their gradients, the optimization and the certificate of a posterior:
 * against finite differences, draws of whole weight vectors through a second implementation, optima
 * known beforehand, and a bound put together anew. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "bound/local.h"
#include "bound/optimize.h"
#include "bound/scales.h"
#include "gradiometer/curvature.h"
#include "gradiometer/posterior.h"
#include "problems.h"

static void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance))
        fail_msg("%s: found %.17g, expected %.17g within %.3g", what, found, expected, tolerance);
}

/* ---- objectives ---- */

/* Central differences of relative width 1e-5: truncation about 1e-10 of the derivative, rounding
 * 1e-16 / 1e-5. */
static void derivatives_of_objectives(void **state)
{
    (void)state;
    const double risks[] = {0.001, 0.02, 0.3, 0.7}, divergences[] = {5, 300, 20000};
    for (int o = 0; o < 3; o++) {
        for (size_t i = 0; i < 4; i++) {
            for (size_t j = 0; j < 3; j++) {
                gm_objective objective = (gm_objective)o;
                double q = risks[i], kl = divergences[j], hq = 1e-5 * q, hk = 1e-5 * kl;
                gm_objective_value v = gm_objective_at(objective, q, kl, 30000, 7, 0.04);
                double by_risk = (gm_objective_at(objective, q + hq, kl, 30000, 7, 0.04).value -
                                  gm_objective_at(objective, q - hq, kl, 30000, 7, 0.04).value) /
                                 (2 * hq);
                double by_kl = (gm_objective_at(objective, q, kl + hk, 30000, 7, 0.04).value -
                                gm_objective_at(objective, q, kl - hk, 30000, 7, 0.04).value) /
                               (2 * hk);
                near(v.by_risk, by_risk, 1e-6 * by_risk, gm_objective_name(objective));
                near(v.by_kl, by_kl, 1e-6 * by_kl, gm_objective_name(objective));
            }
        }
    }
}

/* The kl objective is the bound of the kl form, the quadratic one is no smaller. */
static void values_of_objectives(void **state)
{
    (void)state;
    for (double q = 0.01; q < 0.5; q += 0.07) {
        for (double kl = 1; kl < 5000; kl *= 3) {
            double a = gm_objective_at(GM_OBJECTIVE_KL, q, kl, 10000, 7, 0.05).value;
            double b = gm_objective_at(GM_OBJECTIVE_QUADRATIC, q, kl, 10000, 7, 0.05).value;
            near(a, gm_bound_kl(q, kl, 10000, 7, 0.05), 1e-15, "the bound itself");
            assert_true(b >= a);
        }
    }
}

/* ---- draws by layer ---- */

static const test_case tanh_case = {
    "mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 8, 0.8};
static const test_case relu_case = {
    "mlp:4-6-5-3", {3, {4, 6, 5, 3}, REF_RELU, true, false}, 8, 0.8};

static double *variances(size_t p)
{
    double *v = calloc(p, sizeof *v);
    for (size_t j = 0; j < p; j++) {
        double z = gm_normal(gm_stream_of(2, GM_PURPOSE_TEST, 3), j);
        v[j] = 0.05 + 0.1 * z * z;
    }
    return v;
}

/* The mean loss of sample i over draws, by whole weight vectors and the reference's forward pass:
 * both averages of 10,000 draws agree within five of their joint standard errors. */
static void same_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 10000, ROWS = 100 };
    const test_case *cases[] = {&tanh_case, &relu_case};
    for (size_t c = 0; c < 2; c++) {
        gm_error err;
        test_problem t;
        gm_local local;
        test_problem_open(&t, cases[c], GM_F64, 0, 0);
        double *v = variances(t.p);
        double complex *theta = calloc(2 * t.p, sizeof *theta);
        expect_ok(gm_local_open(t.problem, ROWS, &local, &err), &err);
        assert_int_equal(local.units, c == 0 ? 8 : 14);
        for (size_t i = 0; i < 2; i++) {
            size_t index[ROWS];
            double sum[2] = {0}, square[2] = {0}, wrong = 0, ref_wrong = 0;
            for (size_t j = 0; j < ROWS; j++) {
                index[j] = i;
            }
            for (size_t d = 0; d < DRAWS; d += ROWS) {
                gm_local_value(&local, ROWS, index, t.theta, v, gm_stream_of(7, GM_PURPOSE_TEST, 9),
                               d);
                for (size_t j = 0; j < ROWS; j++) {
                    sum[0] += local.loss[j];
                    square[0] += local.loss[j] * local.loss[j];
                    wrong += local.wrong[j];
                }
            }
            for (size_t d = 0; d < DRAWS; d++) {
                gm_stream weights = gm_stream_of(8, GM_PURPOSE_TEST, 10);
                for (size_t j = 0; j < t.p; j++) {
                    theta[j] = t.theta[j] + sqrt(v[j]) * gm_normal(weights, d * t.p + j);
                }
                double complex z[3];
                int label = t.label[i], top = 0;
                double loss = creal(ref_sample(&cases[c]->ref, theta, t.x + i * 4, label, NULL,
                                               NULL, theta + t.p, z));
                for (int k = 1; k < 3; k++) {
                    if (creal(z[k]) > creal(z[top])) top = k;
                }
                ref_wrong += top != label;
                sum[1] += loss;
                square[1] += loss * loss;
            }
            double mean[2], variance[2];
            for (int k = 0; k < 2; k++) {
                mean[k] = sum[k] / DRAWS;
                variance[k] = square[k] / DRAWS - mean[k] * mean[k];
            }
            near(mean[0], mean[1], 5 * sqrt((variance[0] + variance[1]) / DRAWS), "mean loss");
            /* Of the variances too: their relative error is about sqrt(kurtosis / DRAWS) = 2 %. */
            near(variance[0], variance[1], 0.1 * variance[1], "variance of the loss");
            double share = wrong / DRAWS, other = ref_wrong / DRAWS;
            near(share, other, 5 * sqrt((share + other) / DRAWS), "error");
        }
        gm_local_close(&local);
        free(v);
        free(theta);
        test_problem_close(&t);
    }
}

/* By means and variances, with the noise held: central differences in double. */
static void gradients_by_differences(void **state)
{
    (void)state;
    const test_case *cases[] = {&tanh_case, &relu_case};
    for (size_t c = 0; c < 2; c++) {
        gm_error err;
        test_problem t;
        gm_local local;
        test_problem_open(&t, cases[c], GM_F64, 0, 0);
        size_t index[6] = {0, 3, 3, 5, 1, 7};
        double weight[6], error, *v = variances(t.p), *dm = calloc(4 * t.p, sizeof *dm),
                                 *dv = dm + t.p, *scratch = dv + t.p;
        gm_stream noise = gm_stream_of(3, GM_PURPOSE_TEST, 4);
        expect_ok(gm_local_open(t.problem, 6, &local, &err), &err);
        double loss = gm_posterior_loss(&local, 6, index, t.theta, v, noise, 40, weight, NULL, dm,
                                        dv, &error);
        assert_true(loss > 0.5 && loss < 5.0);
        for (size_t j = 0; j < 2 * t.p; j++) {
            double *at = j < t.p ? &t.theta[j] : &v[j - t.p], was = *at, h = 1e-6;
            *at = was + h;
            double up = gm_posterior_loss(&local, 6, index, t.theta, v, noise, 40, weight, NULL,
                                          scratch, scratch + t.p, &error);
            *at = was - h;
            double down = gm_posterior_loss(&local, 6, index, t.theta, v, noise, 40, weight, NULL,
                                            scratch, scratch + t.p, &error);
            *at = was;
            /* Rounding 1e-16/1e-6, truncation h^2 times a third derivative of order 1. */
            near(dm[j], (up - down) / (2 * h), 1e-8, j < t.p ? "by a mean" : "by a variance");
        }
        gm_local_close(&local);
        free(v);
        free(dm);
        test_problem_close(&t);
    }
}

/* ---- optimizing ---- */

/* Where the loss cannot change (all inputs zero and no biases: logits are 0) the prior itself is
 * the best posterior. */
static void nothing_to_learn(void **state)
{
    (void)state;
    enum { P = 4 * 5 + 5 * 3 };
    gm_error err;
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    gm_shape shape = {.rank = 1, .dim = {4}};
    double x[20 * 4] = {0}, theta0[P], unit[P], theta[P], ratio[P];
    int32_t label[20] = {0, 1, 2, 0, 1, 2};
    gm_problem_options po;
    gm_problem_options_default(&po);
    expect_ok(gm_net_from_spec("mlp:4-5-3,bias=no", &shape, 0, &net, &err), &err);
    expect_ok(gm_data_from_arrays("zero", 20, &shape, x, label, NULL, 0, GM_F64, 3, &data, &err),
              &err);
    expect_ok(gm_problem_create(net, data, &po, &problem, &err), &err);
    gm_net_init(net, GM_INIT_HE, 1, 0, theta0);
    expect_ok(gm_prior_unit(net, theta0, NULL, unit, &err), &err);
    for (size_t j = 0; j < P; j++) {
        theta[j] = theta0[j] + 0.5 * unit[j];
        ratio[j] = 1.0 + (double)(j % 3);
    }
    gm_optimize_options o;
    gm_optimize_result r;
    gm_optimize_options_default(&o);
    o.steps = 800;
    o.batch = 5;
    o.step = 0.2;
    for (int objective = 0; objective < 3; objective++) {
        o.objective = (gm_objective)objective;
        expect_ok(gm_posterior_optimize(problem, theta0, unit, 0.5, &o, theta, ratio, &r, &err),
                  &err);
        assert_false(r.diverged);
        assert_int_equal(r.steps, 800);
        assert_int_equal(r.point[r.points - 1].step, 800);
        near(r.point[r.points - 1].kl, 0.0, 1e-6, "divergence");
        for (size_t j = 0; j < P; j++) {
            near(theta[j], theta0[j], 1e-3 * unit[j], "mean of the prior");
            near(ratio[j], 1.0, 1e-2, "precision of the prior");
            theta[j] = theta0[j] - 0.3 * unit[j];
            ratio[j] = 0.5;
        }
    }
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_net_free(net);
}

typedef struct trained {
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    size_t p;
    double *theta0, *theta, *unit, *ratio;
} trained;

/* A net fitted to Gaussian classes by a few hundred full gradients. */
static void open_trained(trained *w, gm_dtype dtype)
{
    gm_error err;
    gm_data_options options;
    gm_problem_options po;
    gm_data_options_default(&options);
    gm_problem_options_default(&po);
    options.dtype = dtype;
    expect_ok(gm_data_load("gauss:k=3,d=8,n=2000,sep=4", &options, &w->data, &err), &err);
    expect_ok(gm_net_from_spec("mlp:8-10-3", &w->data->shape, 3, &w->net, &err), &err);
    expect_ok(gm_problem_create(w->net, w->data, &po, &w->problem, &err), &err);
    w->p = gm_net_parameters(w->net);
    w->theta0 = calloc(5 * w->p, sizeof *w->theta0);
    w->theta = w->theta0 + w->p;
    w->unit = w->theta + w->p;
    w->ratio = w->unit + w->p;
    double *gradient = w->ratio + w->p;
    gm_net_init(w->net, GM_INIT_HE, 1, 0, w->theta0);
    memcpy(w->theta, w->theta0, w->p * sizeof *w->theta);
    for (int t = 0; t < 200; t++) {
        expect_ok(gm_problem_gradient(w->problem, w->theta, NULL, NULL, gradient, &err), &err);
        for (size_t j = 0; j < w->p; j++) {
            w->theta[j] -= 0.5 * gradient[j];
        }
    }
    expect_ok(gm_prior_unit(w->net, w->theta0, NULL, w->unit, &err), &err);
    for (size_t j = 0; j < w->p; j++) {
        w->ratio[j] = 1.0;
    }
}

static void close_trained(trained *w)
{
    gm_problem_free(w->problem);
    gm_dataset_free(w->data);
    gm_net_free(w->net);
    free(w->theta0);
}

/* The bound put together anew: kl inversion by bisection, logarithms written out. */
static double bisection(double q, double c)
{
    double low = q, high = 1.0;
    for (int i = 0; i < 200; i++) {
        double p = 0.5 * (low + high);
        double kl = (q > 0 ? q * log(q / p) : 0) + (q < 1 ? (1 - q) * log((1 - q) / (1 - p)) : 0);
        *(kl <= c ? &low : &high) = p;
    }
    return low;
}

static void recompute(const gm_certificate *c, const gm_certified *v, double kl)
{
    double upper = bisection(v->mean, log(1 / 0.005) / (double)c->draws);
    double bound = bisection(upper, (kl + log(2 * sqrt(2000.0) * 7 / 0.045)) / 2000);
    near(v->upper, upper, 1e-12, "upper limit of the draws");
    near(v->bound, bound, 1e-12, "bound");
}

/* Optimizing lowers the certified bound, in both precisions and for every objective; the
 * certificate is that of its own formula. */
static void optimizing_lowers_the_bound(void **state)
{
    (void)state;
    for (int objective = 0; objective < 3; objective++) {
        gm_error err;
        trained w;
        open_trained(&w, objective == 1 ? GM_F32 : GM_F64);
        gm_gaussians g = {w.p, w.theta0, w.unit, 0.5, w.theta, w.ratio};
        gm_certificate_options co;
        gm_certificate before, after;
        gm_certificate_options_default(&co);
        if (objective > 0) co.rounds = 10;
        expect_ok(gm_certificate_measure(w.problem, &g, &co, &before, &err), &err);
        gm_optimize_options o;
        gm_optimize_result r;
        gm_optimize_options_default(&o);
        o.objective = (gm_objective)objective;
        o.steps = 600;
        o.batch = 100;
        o.step = 0.02;
        expect_ok(
            gm_posterior_optimize(w.problem, w.theta0, w.unit, 0.5, &o, w.theta, w.ratio, &r, &err),
            &err);
        assert_false(r.diverged);
        assert_true(r.point[r.points - 1].objective < r.point[0].objective);
        co.run = 1;
        expect_ok(gm_certificate_measure(w.problem, &g, &co, &after, &err), &err);
        if (!(after.error.bound < before.error.bound - 0.005))
            fail_msg("%s: from %g to %g", gm_objective_name(o.objective), before.error.bound,
                     after.error.bound);

        assert_int_equal(after.draws, objective > 0 ? 20000 : 250000); /* 125 for each sample */
        gm_divergence d;
        gm_gaussian_divergence(&g, &d);
        assert_true(after.divergence.kl <= d.kl);
        near(r.point[r.points - 1].kl, d.kl, 1e-6 * d.kl, "divergence kept along the way");
        recompute(&after, &after.error, after.divergence.kl);
        recompute(&after, &after.clipped, after.divergence.kl);
        close_trained(&w);
    }
}

/* A posterior without spread is its mean: the error of the net, at every draw. */
static void certificate_of_a_point(void **state)
{
    (void)state;
    gm_error err;
    trained w;
    open_trained(&w, GM_F64);
    for (size_t j = 0; j < w.p; j++) {
        w.ratio[j] = 1e30;
    }
    double error;
    gm_gaussians g = {w.p, w.theta0, w.unit, 0.5, w.theta, w.ratio};
    gm_certificate_options co;
    gm_certificate c;
    gm_certificate_options_default(&co);
    co.rounds = 2;
    co.fixed_scale = true;
    expect_ok(gm_problem_value(w.problem, w.theta, NULL, &error, &err), &err);
    expect_ok(gm_certificate_measure(w.problem, &g, &co, &c, &err), &err);
    near(c.error.mean, error, 1e-12, "error of the mean");
    assert_int_equal(c.priors, 1);
    near(c.scale, 0.5, 0.0, "scale given");
    close_trained(&w);
}

/* ---- scales of the prior ---- */

/* The weights of all factors are 1 together, each what its cost says: a sum over k of one tensor.
 */
static void scales_are_a_distribution(void **state)
{
    (void)state;
    double log_factor, sum = 0, first = 0;
    gm_scales s = {.tensors = 1, .log_factor = &log_factor};
    for (int k = -300; k <= 300; k++) {
        log_factor = k * log(2.0) / 4;
        sum += exp(-gm_scales_cost(&s));
        if (k == 0) first = gm_scales_cost(&s);
    }
    near(sum, 1.0, 1e-12, "sum of the weights");
    near(first, log(9.0), 1e-15, "cost of keeping a scale");
}

/* A tensor ten times too wide for what it is to hold, in units of its prior: with Q held, KL as a
 * function of the factor has the derivative that the steps go by, and they go towards its least
 * value. */
static void scales_follow_divergence(void **state)
{
    (void)state;
    enum { P = 50 };
    double theta0[P] = {0}, unit[P], theta[P], ratio[P], kl[2];
    double log_factor = 0, sums[2] = {0};
    gm_scales s = {.tensors = 1, .log_factor = &log_factor, .distance = sums, .gain = sums + 1};
    for (size_t j = 0; j < P; j++) {
        theta[j] = 0.1 * gm_normal(gm_stream_of(4, GM_PURPOSE_TEST, 1), j);
        unit[j] = 1;
        ratio[j] = 20.0 + (double)j;
        sums[0] += theta[j] * theta[j];
        sums[1] += 1 - 1 / ratio[j];
    }
    for (int side = 0; side < 2; side++) {
        double f = exp(side ? 1e-5 : -1e-5), moved[P];
        for (size_t j = 0; j < P; j++) {
            moved[j] = ratio[j] * f * f;
        }
        gm_gaussians g = {P, theta0, unit, f, theta, moved};
        gm_divergence d;
        gm_gaussian_divergence(&g, &d);
        kl[side] = d.kl;
    }
    near((kl[1] - kl[0]) / 2e-5, sums[1] - sums[0], 1e-6 * P, "derivative of KL");
    gm_scales_step(&s, 0.1);
    double price = 4 / log(2.0) * log(1 / 0.8), whole = sums[0] + sums[1];
    near(log_factor, 0.1 * (sums[0] - sums[1] + price) / whole, 1e-14, "a step");
    assert_true(log_factor < -0.05);
    gm_scales_round(&s);
    near(log_factor, -log(2.0) / 4, 1e-15, "rounded"); /* from -0.55 of it */
    sums[0] = sums[1] = 1; /* nothing to gain: the price brings a factor back to 1 and no further */
    log_factor = 0.01;
    gm_scales_step(&s, 0.1);
    near(log_factor, 0.0, 0.0, "brought back");
}

/* Where the scales of two tensors do not fit each other, learning them lowers the certified bound,
 * their cost included; the factors are powers of 2^(1/4), one for each tensor. */
static void learned_scales(void **state)
{
    (void)state;
    double bound[2];
    for (int learn = 0; learn < 2; learn++) {
        gm_error err;
        trained w;
        open_trained(&w, GM_F64);
        double *learned = calloc(w.p, sizeof *learned), cost = 0;
        for (size_t j = 0; j < w.p; j++) {
            if (j >= 80 && j < 90) w.unit[j] *= 10; /* biases of the first layer */
            w.theta[j] = w.theta0[j];
        }
        gm_optimize_options o;
        gm_optimize_result r;
        gm_optimize_options_default(&o);
        o.steps = 400;
        o.batch = 100;
        o.learned = learn ? learned : NULL;
        expect_ok(
            gm_posterior_optimize(w.problem, w.theta0, w.unit, 0.5, &o, w.theta, w.ratio, &r, &err),
            &err);
        const size_t end[] = {80, 90, 120, 123};
        size_t moved = 0;
        for (size_t t = 0, j = 0; learn && t < 4; t++) {
            double factor = learned[j] / w.unit[j], k = 4 * log2(factor);
            near(k, round(k), 1e-9, "a power of 2^(1/4)");
            cost += log(9.0) + fabs(round(k)) * log(1 / 0.8);
            for (; j < end[t]; j++) {
                near(learned[j], factor * w.unit[j], 1e-15 * learned[j], "one factor a tensor");
            }
            moved += factor != 1.0;
        }
        assert_true(!learn || moved > 0);
        near(r.cost, cost, 1e-9, "cost");
        gm_gaussians g = {w.p, w.theta0, learn ? learned : w.unit, 0.5, w.theta, w.ratio};
        gm_certificate_options co;
        gm_certificate c;
        gm_certificate_options_default(&co);
        co.rounds = 10;
        co.fixed_scale = true;
        co.cost = r.cost;
        expect_ok(gm_certificate_measure(w.problem, &g, &co, &c, &err), &err);
        near(c.logarithm, log(2 * sqrt(2000.0) / 0.045) + cost, 1e-9, "logarithm");
        near(r.point[r.points - 1].kl, c.divergence.kl, 1e-6 * c.divergence.kl, "divergence");
        bound[learn] = c.error.bound;
        free(learned);
        close_trained(&w);
    }
    if (!(bound[1] < bound[0] - 0.005)) fail_msg("from %g to %g", bound[0], bound[1]);
}

static void refusals(void **state)
{
    (void)state;
    gm_error err;
    test_problem t;
    test_case squared = {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, true}, 8, 0.8};
    gm_optimize_options o;
    gm_optimize_result r;
    gm_optimize_options_default(&o);
    test_problem_open(&t, &squared, GM_F64, 0, 0);
    double *unit = calloc(2 * t.p, sizeof *unit), *ratio = unit + t.p;
    assert_int_equal(
        gm_posterior_optimize(t.problem, t.theta, unit, 1, &o, t.theta, ratio, &r, &err),
        GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "squared loss"));
    gm_gaussians g = {t.p, t.theta, unit, 1, t.theta, ratio};
    gm_certificate_options co;
    gm_certificate c;
    gm_certificate_options_default(&co);
    co.delta = 1.0;
    assert_int_equal(gm_certificate_measure(t.problem, &g, &co, &c, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "--delta: found 1"));
    test_problem_close(&t);
    test_problem_open(&t, &tanh_case, GM_F64, 0, 0);
    o.step = 0.0;
    assert_int_equal(
        gm_posterior_optimize(t.problem, t.theta, unit, 1, &o, t.theta, ratio, &r, &err),
        GM_ERR_USAGE);
    test_problem_close(&t);
    free(unit);
}

/* ---- weights that act more than once on a sample ---- */

enum { IMAGES = 24, PIXELS = 16 };

typedef struct images {
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    size_t p;
    double *theta, *variance, *unit, *ratio; /* [p] */
} images;

/* A convolution and a dense layer on images of 4 x 4 whose label is that of the brighter half. */
static void open_images(images *m)
{
    gm_error err;
    gm_shape shape = {.rank = 3, .dim = {1, 4, 4}};
    double x[IMAGES * PIXELS];
    int32_t label[IMAGES];
    gm_problem_options po;
    gm_problem_options_default(&po);
    gm_normal_fill(gm_stream_of(5, GM_PURPOSE_TEST, 6), 0, IMAGES * PIXELS, x);
    for (size_t i = 0; i < IMAGES; i++) {
        label[i] = (int32_t)(i % 2);
        for (size_t j = 0; j < PIXELS; j++) {
            x[i * PIXELS + j] += (j < PIXELS / 2) == (label[i] == 1) ? 2 : 0;
        }
    }
    expect_ok(gm_net_from_spec("cnn:2,act=tanh", &shape, 2, &m->net, &err), &err);
    expect_ok(
        gm_data_from_arrays("images", IMAGES, &shape, x, label, NULL, 0, GM_F64, 2, &m->data, &err),
        &err);
    expect_ok(gm_problem_create(m->net, m->data, &po, &m->problem, &err), &err);
    m->p = gm_net_parameters(m->net);
    m->theta = calloc(3 * m->p, sizeof *m->theta);
    m->variance = variances(m->p);
    m->unit = m->theta + m->p;
    m->ratio = m->unit + m->p;
    gm_net_init(m->net, GM_INIT_HE, 1, 0, m->theta);
    for (size_t j = 0; j < m->p; j++) {
        m->unit[j] = sqrt(m->variance[j]);
        m->ratio[j] = 1.0;
    }
}

static void close_images(images *m)
{
    gm_problem_free(m->problem);
    gm_dataset_free(m->data);
    gm_net_free(m->net);
    free(m->theta);
    free(m->variance);
}

/* A convolution has one draw for all samples of a chunk, a dense layer one for each. Single samples
 * have the mean loss of whole draws (gm_gibbs_estimate, another implementation), within five joint
 * standard errors. One image twice has two losses, but one where only the filters vary. */
static void draws_of_convolutions(void **state)
{
    (void)state;
    enum { DRAWS = 400 * IMAGES };
    images m;
    gm_error err;
    gm_local local;
    gm_gibbs whole;
    const char *layer = NULL;
    double sum = 0, squares = 0, clip = log(200.0), last = 0;
    gm_stream stream = gm_stream_of(9, GM_PURPOSE_TEST, 9);
    open_images(&m);
    assert_false(gm_local_possible(m.net, &layer));
    assert_string_equal(layer, gm_net_layer_at(m.net, 0).name);
    gm_gaussians g = {m.p, m.theta, m.unit, 1.0, m.theta, m.ratio};
    gm_gibbs_options o = {.draws = DRAWS, .block = 1};
    expect_ok(gm_gibbs_estimate(m.problem, &g, &o, &whole, &err), &err);
    assert_false(whole.by_layer);
    expect_ok(gm_local_open(m.problem, 2, &local, &err), &err);
    assert_int_equal(local.shared, 2 * 9 + 2);
    assert_int_equal(local.units, 2);
    for (size_t t = 0; t < DRAWS; t++) {
        size_t index[2] = {t % IMAGES, t % IMAGES};
        gm_local_value(&local, 2, index, m.theta, m.variance, stream, 2 * t);
        double loss = fmin(local.loss[0], clip) / clip;
        sum += loss;
        squares += loss * loss;
        assert_true(local.loss[0] != local.loss[1]);
    }
    double mean = sum / DRAWS, error = sqrt((squares / DRAWS - mean * mean) / DRAWS);
    near(mean, whole.clipped.mean, 5 * hypot(error, whole.clipped.std_error), "mean loss");
    for (size_t j = local.shared; j < m.p; j++) {
        m.variance[j] = 0;
    }
    for (size_t t = 0; t < 5; t++) {
        size_t index[2] = {0, 0};
        gm_local_value(&local, 2, index, m.theta, m.variance, stream, 2 * t);
        assert_true(local.loss[0] == local.loss[1] && local.loss[0] != last);
        last = local.loss[0];
    }
    gm_local_close(&local);
    close_images(&m);
}

/* By means of all layers and variances of the dense one, with the noise held: central differences
 * in double. */
static void gradients_of_convolutions(void **state)
{
    (void)state;
    images m;
    gm_error err;
    gm_local local;
    size_t index[25];
    double weight[25], error;
    gm_stream noise = gm_stream_of(3, GM_PURPOSE_TEST, 4);
    open_images(&m);
    double *dm = calloc(6 * m.p, sizeof *dm), *dv = dm + m.p, *other = dv + m.p,
           *piece = other + 2 * m.p;
    for (size_t i = 0; i < 25; i++) { /* pieces of two and three */
        index[i] = 7 * i % IMAGES;
    }
    expect_ok(gm_local_open(m.problem, 25, &local, &err), &err);
    gm_posterior_loss(&local, 25, index, m.theta, m.variance, noise, 7, weight, piece, dm, dv,
                      &error);
    for (size_t j = 0; j < 2 * m.p; j++) {
        if (j >= m.p && j < m.p + local.shared) continue;
        double *at = j < m.p ? &m.theta[j] : &m.variance[j - m.p], was = *at, h = 1e-6;
        *at = was + h;
        double up = gm_posterior_loss(&local, 25, index, m.theta, m.variance, noise, 7, weight,
                                      piece, other, other + m.p, &error);
        *at = was - h;
        double down = gm_posterior_loss(&local, 25, index, m.theta, m.variance, noise, 7, weight,
                                        piece, other, other + m.p, &error);
        *at = was;
        /* Rounding 1e-16/1e-6, truncation h^2 times a third derivative of order 1. */
        near(dm[j], (up - down) / (2 * h), 1e-8, j < m.p ? "by a mean" : "by a variance");
    }
    gm_local_close(&local);
    free(dm);
    close_images(&m);
}

/* Without variances what stands for a filter's dv is half the diagonal of Sigma, in the mean over
 * batches: of 2,000 with ten pieces each, whose scatter has a relative error of sqrt(2/9/2000) = 1
 * % for Gaussian gradients, a few times that for these. */
static void scatter_of_convolutions(void **state)
{
    (void)state;
    enum { BATCHES = 2000, BATCH = 40 };
    images m;
    gm_error err;
    gm_local local;
    gm_linearization *lin;
    size_t index[BATCH];
    double weight[BATCH], error;
    gm_stream noise = gm_stream_of(3, GM_PURPOSE_TEST, 4),
              pick = gm_stream_of(4, GM_PURPOSE_TEST, 4);
    open_images(&m);
    double *dm = calloc(6 * m.p, sizeof *dm), *dv = dm + m.p, *piece = dv + m.p,
           *mean = piece + 2 * m.p, *sigma = mean + m.p;
    memset(m.variance, 0, m.p * sizeof *m.variance);
    expect_ok(gm_linearize(m.problem, m.theta, &lin, &err), &err);
    expect_ok(gm_curvature_diagonal(lin, GM_COVARIANCE, GM_ALL_LAYERS, sigma, &err), &err);
    gm_linearization_free(lin);
    expect_ok(gm_local_open(m.problem, BATCH, &local, &err), &err);
    for (size_t t = 0; t < BATCHES; t++) {
        for (size_t i = 0; i < BATCH; i++) {
            index[i] = (size_t)gm_below(pick, t * BATCH + i, IMAGES);
        }
        gm_posterior_loss(&local, BATCH, index, m.theta, m.variance, noise, t * BATCH, weight,
                          piece, dm, dv, &error);
        for (size_t j = 0; j < local.shared; j++) {
            mean[j] += dv[j] / BATCHES;
        }
    }
    for (size_t j = 0; j < local.shared; j++) {
        near(mean[j], 0.5 * sigma[j], 0.1 * sigma[j], "half the variance of a gradient");
    }
    gm_local_close(&local);
    free(dm);
    close_images(&m);
}

/* Optimizing lowers the certified bound of a convolutional net too; few draws, as the net is
 * small. */
static void convolutions_optimized(void **state)
{
    (void)state;
    images m;
    gm_error err;
    open_images(&m);
    double *theta0 = calloc(m.p, sizeof *theta0);
    memcpy(theta0, m.theta, m.p * sizeof *theta0);
    gm_gaussians g = {m.p, theta0, m.unit, 0.5, m.theta, m.ratio};
    gm_certificate_options co;
    gm_certificate before, after;
    gm_certificate_options_default(&co);
    co.rounds = 2000;
    expect_ok(gm_certificate_measure(m.problem, &g, &co, &before, &err), &err);
    assert_int_equal(before.draws, 2000); /* all images fit into one block */
    gm_optimize_options o;
    gm_optimize_result r;
    gm_optimize_options_default(&o);
    o.steps = 600;
    o.batch = 16;
    expect_ok(gm_posterior_optimize(m.problem, theta0, m.unit, 0.5, &o, m.theta, m.ratio, &r, &err),
              &err);
    assert_false(r.diverged);
    co.run = 1;
    expect_ok(gm_certificate_measure(m.problem, &g, &co, &after, &err), &err);
    if (!(after.error.bound < before.error.bound - 0.05))
        fail_msg("from %g to %g", before.error.bound, after.error.bound);
    free(theta0);
    close_images(&m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_of_convolutions),
        cmocka_unit_test(gradients_of_convolutions),
        cmocka_unit_test(scatter_of_convolutions),
        cmocka_unit_test(convolutions_optimized),
        cmocka_unit_test(derivatives_of_objectives),
        cmocka_unit_test(values_of_objectives),
        cmocka_unit_test(same_distribution),
        cmocka_unit_test(gradients_by_differences),
        cmocka_unit_test(nothing_to_learn),
        cmocka_unit_test(optimizing_lowers_the_bound),
        cmocka_unit_test(certificate_of_a_point),
        cmocka_unit_test(scales_are_a_distribution),
        cmocka_unit_test(scales_follow_divergence),
        cmocka_unit_test(learned_scales),
        cmocka_unit_test(refusals),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "posterior");
}
