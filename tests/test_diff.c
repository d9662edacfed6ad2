/* Value, gradient, mini-batch gradient and the graph itself. The reference is a second
 * implementation (reference.h): only rounding remains, 1e-13 relative in double, 2e-6 in single. */
#include "support.h"

#include "diff/problem.h"
#include "net/net.h"
#include "problems.h"

static const test_case cases[] = {
    {"mlp:4-6-5-3,act=relu", {3, {4, 6, 5, 3}, REF_RELU, true, false}, 13, 0.8},
    {"mlp:4-6-5-3,act=tanh,bias=no", {3, {4, 6, 5, 3}, REF_TANH, false, false}, 13, 0.8},
    {"mlp:4-6-5-3,act=leaky_relu", {3, {4, 6, 5, 3}, REF_LEAKY, true, true}, 13, 0.8},
    {"mlp:4-6-3,act=softplus", {2, {4, 6, 3}, REF_SOFTPLUS, true, true}, 1, 0.8},
};
enum { CASES = sizeof cases / sizeof *cases };

static void value_and_gradient(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int dtype = 0; dtype < 2; dtype++) {
            for (size_t chunk = 0; chunk < 6; chunk++) {
                test_problem t;
                gm_error err = {0};
                test_problem_open(&t, &cases[i], (gm_dtype)dtype, chunk, 0);
                size_t p = t.p, n = cases[i].n;
                double *rows = calloc(n * p, sizeof *rows), *mu = calloc(p, sizeof *mu),
                       *g = calloc(p, sizeof *g);
                double loss, value, error_rate,
                    exact = ref_gradients(&cases[i].ref, t.theta, &t.ref, rows);
                for (size_t j = 0; j < n * p; j++) {
                    mu[j % p] += rows[j] / (double)n;
                }
                double tolerance = dtype == GM_F64 ? 1e-13 : 2e-6;
                expect_ok(gm_problem_gradient(t.problem, t.theta, &loss, NULL, g, &err), &err);
                assert_at_most(fabs(loss / exact - 1), tolerance, "loss of %s", cases[i].spec);
                assert_at_most(relative_error(p, g, mu), tolerance, "gradient of %s",
                               cases[i].spec);
                expect_ok(gm_problem_value(t.problem, t.theta, &value, &error_rate, &err), &err);
                assert_true(value == loss && value == gm_linearization_loss(t.lin));
                assert_true(error_rate == gm_linearization_error_rate(t.lin));
                assert_memory_equal(g, gm_linearization_gradient(t.lin), p * sizeof *g);
                free(rows);
                free(mu);
                free(g);
                test_problem_close(&t);
            }
        }
    }
}

/* A mini-batch with repeats, larger than a chunk too, is the mean of its samples' gradients. */
static void batch_gradient(void **state)
{
    (void)state;
    const size_t index[] = {3, 3, 0, 12, 7, 7, 7, 1, 5, 11, 2};
    for (size_t m = 1; m <= sizeof index / sizeof *index; m++) {
        test_problem t;
        gm_error err = {0};
        test_problem_open(&t, &cases[0], GM_F64, 4, 0);
        double *rows = calloc(13 * t.p, sizeof *rows), *g = calloc(t.p, sizeof *g),
               *exact = calloc(t.p, sizeof *exact);
        double loss;
        ref_gradients(&cases[0].ref, t.theta, &t.ref, rows);
        for (size_t i = 0; i < m; i++) {
            for (size_t j = 0; j < t.p; j++) {
                exact[j] += rows[index[i] * t.p + j] / (double)m;
            }
        }
        expect_ok(gm_problem_batch_gradient(t.problem, t.theta, m, index, &loss, g, &err), &err);
        assert_at_most(relative_error(t.p, g, exact), 1e-13, "m = %zu", m);
        assert_true(isfinite(loss) && loss > 0);
        free(rows);
        free(g);
        free(exact);
        test_problem_close(&t);
    }
}

/* A graph that is no chain: out = dense3(relu(d1 x)) shared by two branches d2 and relu, joined by
 * nothing but their own users is not expressible with one-input layers, so that sharing is checked
 * on the flags: signals of a node with two users are overwritten by the last user and added to by
 * the first. */
static void shared_inputs(void **state)
{
    (void)state;
    gm_error err = {0};
    gm_net *net;
    gm_shape input = {.rank = 1, .dim = {3}};
    gm_dense_config dense = {.units = 4, .bias = true};
    gm_activation_config relu = {.act = GM_ACT_RELU};
    int zero = 0, a, b, c;
    expect_ok(gm_net_create("branches", &input, &net, &err), &err);
    expect_ok(gm_net_add(net, &gm_layer_dense, &dense, 1, &zero, NULL, &a, &err), &err);
    expect_ok(gm_net_add(net, &gm_layer_activation, &relu, 1, &a, NULL, &b, &err), &err);
    expect_ok(gm_net_add(net, &gm_layer_dense, &dense, 1, &a, "second", &c, &err), &err);
    assert_true(net->node[b].input_shared[0]);
    assert_false(net->node[c].input_shared[0]);
    assert_string_equal(gm_net_layer_at(net, 1).name, "second");
    gm_net_free(net);
}

static void layers_by_name(void **state)
{
    (void)state;
    gm_error err = {0};
    gm_net *net;
    size_t index;
    expect_ok(gm_net_from_spec("mlp:3-4-2", NULL, 0, &net, &err), &err);
    assert_int_equal(gm_net_parameters(net), 3 * 4 + 4 + 4 * 2 + 2);
    expect_ok(gm_net_find_layer(net, "dense2", &index, &err), &err);
    assert_int_equal(index, 1);
    expect_ok(gm_net_find_layer(net, "0", &index, &err), &err);
    assert_int_equal(index, 0);
    const char *bad[] = {"dense3", "2", "-1", "", "1x"};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(gm_net_find_layer(net, bad[i], &index, &err), GM_ERR_USAGE);
    }
    gm_net_free(net);
}

/* Every specification that is not one is refused with a line that names it. */
static void bad_specs(void **state)
{
    (void)state;
    const char *bad[] = {"mlp:50--10",
                         "mlp:50",
                         "mlp:",
                         "mlp:50-",
                         "mlp:-50-10",
                         "mlp:50-0-10",
                         "mlp:50-10,act=rel",
                         "mlp:50-10,act",
                         "mlp:50-10,act=relu,act=tanh",
                         "mlp:50-10,bias=maybe",
                         "mlp:50-10,width=3",
                         "mlp:50-10,",
                         "mlp:50x-10",
                         "mlp: 50-10",
                         "mlp:99999999999999999999-10",
                         "mlp:1000000000000-1000000000000",
                         "mlp:1099511627776-1099511627776-1099511627776",
                         "mpl:50-10",
                         ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gm_error err = {0};
        gm_net *net = NULL;
        gm_status status = gm_net_from_spec(bad[i], NULL, 0, &net, &err);
        if (status == GM_OK) fail_msg("%s was accepted", bad[i]);
        assert_int_equal(gm_status_exit(status), 2);
        assert_null(net);
        assert_non_null(strstr(err.message, bad[i]));
    }
    gm_error err = {0};
    gm_net *net = NULL;
    gm_shape image = {.rank = 3, .dim = {1, 28, 28}};
    assert_int_equal(gm_net_from_spec("mlp:783-10", &image, 10, &net, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "784"));
    assert_int_equal(gm_net_from_spec("mlp:784-9", &image, 10, &net, &err), GM_ERR_INPUT);
    expect_ok(gm_net_from_spec("mlp:784-10", &image, 10, &net, &err), &err);
    gm_net_free(net);
}

/* He: weights N(0, 2/fan_in), biases exactly 0; Glorot: 2/(fan_in + fan_out). 40,000 draws: the
 * sample variance lies within 5 sqrt(2/40000) = 3.6 % of the true one with confidence 1 - 6e-7. */
static void initialization(void **state)
{
    (void)state;
    gm_error err = {0};
    gm_net *net;
    expect_ok(gm_net_from_spec("mlp:200-200-50", NULL, 0, &net, &err), &err);
    size_t p = gm_net_parameters(net), weights = 200 * 200;
    double *theta = calloc(p, sizeof *theta), *again = calloc(p, sizeof *again);
    for (int init = 0; init < 2; init++) {
        gm_net_init(net, (gm_init)init, 3, 0, theta);
        double variance = init == GM_INIT_HE ? 2.0 / 200 : 2.0 / 400, sum = 0;
        for (size_t j = 0; j < weights; j++) {
            sum += theta[j] * theta[j];
        }
        assert_at_most(fabs(sum / (double)weights / variance - 1), 0.036, "variance");
        for (size_t j = weights; j < weights + 200; j++) {
            assert_true(theta[j] == 0.0);
        }
        gm_net_init(net, (gm_init)init, 3, 0, again);
        assert_memory_equal(theta, again, p * sizeof *theta);
        gm_net_init(net, (gm_init)init, 3, 1, again);
        assert_true(theta[0] != again[0]);
    }
    free(theta);
    free(again);
    gm_net_free(net);
}

/* Data that does not fit the net, and parameters that are not numbers, are refused by name. */
static void refusals(void **state)
{
    (void)state;
    test_problem t;
    gm_error err = {0};
    gm_problem *problem;
    gm_linearization *lin;
    gm_problem_options options;
    gm_problem_options_default(&options);
    test_problem_open(&t, &cases[0], GM_F32, 0, 0);
    double keep = t.theta[5];
    const double bad[] = {NAN, INFINITY, -INFINITY, 1e200};
    for (int i = 0; i < 4; i++) {
        t.theta[5] = bad[i];
        assert_int_equal(gm_linearize(t.problem, t.theta, &lin, &err), GM_ERR_INPUT);
        assert_non_null(strstr(err.message, "parameter 5"));
        assert_null(lin);
    }
    t.theta[5] = keep;
    t.data->label[2] = 3;
    assert_int_equal(gm_problem_create(t.net, t.data, &options, &problem, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "sample 2"));
    t.data->label[2] = 0;
    options.loss = GM_LOSS_SQUARED;
    assert_int_equal(gm_problem_create(t.net, t.data, &options, &problem, &err), GM_ERR_INPUT);
    gm_net *other;
    expect_ok(gm_net_from_spec("mlp:5-3", NULL, 0, &other, &err), &err);
    assert_int_equal(gm_problem_create(other, t.data, &options, &problem, &err), GM_ERR_INPUT);
    gm_net_free(other);
    test_problem_close(&t);
}

/* Parameters so large that logits overflow: the loss says so and a product is refused, nothing
 * crashes. */
static void overflow(void **state)
{
    (void)state;
    test_problem t;
    gm_error err = {0};
    gm_linearization *lin;
    gm_operator op;
    double loss;
    test_problem_open(&t, &cases[0], GM_F32, 0, 0);
    for (size_t j = 0; j < t.p; j++) {
        t.theta[j] = 1e30;
    }
    expect_ok(gm_problem_value(t.problem, t.theta, &loss, NULL, &err), &err);
    assert_false(isfinite(loss));
    expect_ok(gm_linearize(t.problem, t.theta, &lin, &err), &err);
    double *v = calloc(t.p, sizeof *v), *av = calloc(t.p, sizeof *av);
    v[0] = 1;
    expect_ok(gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
    assert_int_equal(gm_operator_apply(&op, 1, v, av, &err), GM_ERR_NUMERIC);
    assert_non_null(strstr(err.message, "hessian"));
    gm_operator_destroy(&op);
    free(v);
    free(av);
    gm_linearization_free(lin);
    test_problem_close(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_and_gradient), cmocka_unit_test(batch_gradient),
        cmocka_unit_test(shared_inputs),      cmocka_unit_test(layers_by_name),
        cmocka_unit_test(bad_specs),          cmocka_unit_test(initialization),
        cmocka_unit_test(refusals),           cmocka_unit_test(overflow),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "diff");
}
