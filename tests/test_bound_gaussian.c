/* The divergence of prior and posterior against numerical integration and the textbook formula; the
 * prior's scales against hand-made nets and under re-scaling. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "gradiometer/bound.h"
#include "gradiometer/random.h"
#include "net/net.h"

static void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("%s: found %.17g, expected %.17g within %.3g", what, found, expected, tolerance);
    }
}

static double log_density(double x, double mean, double sd)
{
    double z = (x - mean) / sd;
    return -0.5 * z * z - log(sd) - 0.5 * log(2.0 * 3.14159265358979323846);
}

/* The integral of q ln(q/p) by the trapezoidal rule, which converges exponentially here. */
static double integrate(double theta0, double sigma, double theta, double sd)
{
    double sum = 0.0, h = 0.01;
    for (int i = -1200; i <= 1200; i++) {
        double x = theta + i * h * sd, lq = log_density(x, theta, sd);
        sum += exp(lq) * (lq - log_density(x, theta0, sigma)) * h * sd;
    }
    return sum;
}

static void test_one_dimension(void **state)
{
    static const double ratios[] = {1.0, 1.0 + 1e-9, 1.001, 2.0, 400.0, 1e6, 0.3};
    (void)state;
    for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++) {
        double theta0 = 0.3, unit = 1.4, scale = 0.5, theta = -0.2, ratio = ratios[i];
        double sigma = unit * scale, sd = sigma / sqrt(ratio);
        gm_gaussians g = {1, &theta0, &unit, scale, &theta, &ratio};
        gm_divergence d;
        gm_gaussian_divergence(&g, &d);
        near(d.kl, integrate(theta0, sigma, theta, sd), 1e-12 * (1.0 + log(ratio + 1.0)),
             "integral");
        near(d.distance, 0.5 * 0.5 / (0.7 * 0.7), 1e-15, "distance");
        near(d.effective_curvature, ratio > 1.0 ? log(ratio) : 0.0, 1e-15, "curvature");
        assert_int_equal(d.active, ratio > 1.0);
        assert_true(ratio < 1.0 || d.kl <= 0.5 * (d.effective_curvature + d.distance));
    }
}

enum { P = 1000 };

/* 1/2 (tr(S_P^-1 S_Q) + (m0 - m)^T S_P^-1 (m0 - m) - p + ln det S_P / det S_Q) */
static void test_textbook(void **state)
{
    double theta0[P], unit[P], theta[P], h[P], ratio[P];
    (void)state;
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, P, theta0);
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 1), 0, P, theta);
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 2), 0, P, h);
    for (size_t j = 0; j < P; j++) {
        unit[j] = 0.5 + gm_uniform(gm_stream_of(1, GM_PURPOSE_TEST, 3), j);
    }
    double lambda = 40.0, scale = 0.25, trace = 0.0, square = 0.0, determinant = 0.0;
    size_t active = 0;
    gm_posterior_ratio(P, h, lambda, unit, scale, ratio);
    for (size_t j = 0; j < P; j++) {
        double prior = scale * unit[j] * scale * unit[j];
        double nu = fmax(lambda * h[j], 1.0 / prior);
        trace += 1.0 / (nu * prior);
        square += (theta0[j] - theta[j]) * (theta0[j] - theta[j]) / prior;
        determinant += log(prior * nu);
        active += lambda * h[j] > 1.0 / prior;
        assert_true(h[j] > 0.0 || ratio[j] == 1.0);
    }
    gm_gaussians g = {P, theta0, unit, scale, theta, ratio};
    gm_divergence all, first, rest;
    gm_gaussian_divergence(&g, &all);
    near(all.kl, 0.5 * (trace + square - P + determinant), 1e-12 * all.kl, "KL");
    near(all.effective_curvature, determinant, 1e-12 * determinant, "curvature");
    near(all.distance, square, 1e-12 * square, "distance");
    assert_int_equal(all.active, active);
    assert_true(active > 0 && active < P);
    gm_gaussian_divergence_part(&g, 0, 300, &first);
    gm_gaussian_divergence_part(&g, 300, P - 300, &rest);
    near(first.kl + rest.kl, all.kl, 1e-12 * all.kl, "parts");
}

/* weights 2x3 (rms w), bias 2, weights 2x2 (rms v), bias 2 */
static void test_prior(void **state)
{
    double theta0[14] = {1, -1, 1, -1, 1, -1, 0, 0, 3, 4, 0, 5, 7, 0}, unit[14];
    double v = sqrt(50.0 / 4.0), b1 = sqrt(3.0), b2 = b1 * v * sqrt(2.0);
    gm_error err = {0};
    gm_net *net = NULL;
    (void)state;
    assert_int_equal(gm_net_from_spec("mlp:3-2-2", NULL, 0, &net, &err), GM_OK);
    assert_int_equal(gm_prior_unit(net, theta0, NULL, unit, &err), GM_OK);
    for (int j = 0; j < 14; j++) {
        near(unit[j], j < 6 ? 1.0 : j < 8 ? b1 : j < 12 ? v : b2, 1e-14, "unit");
    }
    /* re-scaled by alpha: weights a, b with a b = 1, biases a, 1 */
    double moved[14], other[14];
    for (int j = 0; j < 14; j++) {
        moved[j] = theta0[j] * (j < 8 ? 1000.0 : j < 12 ? 1e-3 : 1.0);
    }
    assert_int_equal(gm_prior_unit(net, moved, NULL, other, &err), GM_OK);
    for (int j = 0; j < 14; j++) {
        near(other[j], unit[j] * (j < 8 ? 1000.0 : j < 12 ? 1e-3 : 1.0), 1e-13 * other[j], "moved");
    }
    memset(theta0 + 8, 0, 4 * sizeof *theta0);
    assert_int_equal(gm_prior_unit(net, theta0, NULL, unit, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "dense2"));
    double given[2] = {0.0, 0.5};
    assert_int_equal(gm_prior_unit(net, theta0, given, unit, &err), GM_OK);
    near(unit[9], 0.5, 0.0, "given");
    near(unit[13], b1 * 0.5 * sqrt(2.0), 1e-15, "bias after a given scale");
    gm_net_free(net);
}

/* A norm in parts, as exporters write it: the input times a learned scale, plus a learned shift
 * that starts at 0, then a dense layer. No way from the input leads to the operands, and they take
 * part in none. */
static void test_prior_of_operands(void **state)
{
    gm_error err = {0};
    gm_net *net = NULL;
    gm_shape shape = {.rank = 1, .dim = {2}};
    gm_parameter_config start_one = {.shape = shape, .start = 1}, start_zero = {.shape = shape};
    gm_binary_config mul = {.function = GM_BINARY_MUL}, add = {.function = GM_BINARY_ADD};
    gm_dense_config dense = {.units = 1, .bias = true};
    int scale, shift, last = 0;
    (void)state;
    assert_int_equal(gm_net_create("parts", &shape, &net, &err), GM_OK);
    gm_status status =
        gm_net_add(net, &gm_layer_parameter, &start_one, 0, NULL, NULL, &scale, &err);
    assert_int_equal(status, GM_OK);
    status = gm_net_add(net, &gm_layer_parameter, &start_zero, 0, NULL, NULL, &shift, &err);
    assert_int_equal(status, GM_OK);
    status = gm_net_add(net, &gm_layer_binary, &mul, 2, (int[]){0, scale}, NULL, &last, &err);
    assert_int_equal(status, GM_OK);
    status = gm_net_add(net, &gm_layer_binary, &add, 2, (int[]){last, shift}, NULL, &last, &err);
    assert_int_equal(status, GM_OK);
    status = gm_net_add(net, &gm_layer_dense, &dense, 1, &last, NULL, &last, &err);
    assert_int_equal(status, GM_OK);
    const double theta0[7] = {1, 1, 0, 0, 3, 4, 0}, w = sqrt(12.5);
    const double expected[7] = {1, 1, 1, 1, w, w, w * sqrt(2.0)};
    double unit[7];
    assert_int_equal(gm_prior_unit(net, theta0, NULL, unit, &err), GM_OK);
    for (int j = 0; j < 7; j++) {
        near(unit[j], expected[j], 1e-14, "unit");
    }
    gm_net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_dimension),
        cmocka_unit_test(test_textbook),
        cmocka_unit_test(test_prior),
        cmocka_unit_test(test_prior_of_operands),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "bound_gaussian");
}
