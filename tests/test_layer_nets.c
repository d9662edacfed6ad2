/* Small nets from elementwise functions, broadcasting, reductions, softmax, normalizations and
 * parameter tensors (tests/net_checks.h); and the same function built in two ways. */
#include "support.h"

#include "bound/local.h"
#include "bound/measures.h"
#include "net_checks.h"

static int after(gm_net *net, const gm_layer_kind *kind, const void *config, int input)
{
    gm_error err = {0};
    int node;
    expect_ok(gm_net_add(net, kind, config, 1, &input, NULL, &node, &err), &err);
    return node;
}

static int unary(gm_net *net, gm_unary function, double a, double b, int input)
{
    gm_unary_config config = {function, a, b};
    return after(net, &gm_layer_unary, &config, input);
}

static int binary(gm_net *net, gm_binary function, int x, int y)
{
    gm_error err = {0};
    gm_binary_config config = {function};
    const int both[] = {x, y};
    int node;
    expect_ok(gm_net_add(net, &gm_layer_binary, &config, 2, both, NULL, &node, &err), &err);
    return node;
}

static int join(gm_net *net, const gm_layer_kind *kind, const void *config, int x, int y)
{
    gm_error err = {0};
    const int both[] = {x, y};
    int node;
    expect_ok(gm_net_add(net, kind, config, 2, both, NULL, &node, &err), &err);
    return node;
}

static int parameter(gm_net *net, gm_shape shape, double start)
{
    gm_error err = {0};
    gm_parameter_config config = {.shape = shape, .start = start};
    int node;
    expect_ok(gm_net_add(net, &gm_layer_parameter, &config, 0, NULL, NULL, &node, &err), &err);
    return node;
}

static int constant(gm_net *net, gm_shape shape, const double *numbers)
{
    gm_error err = {0};
    gm_constant_config config = {.shape = shape};
    int node;
    expect_ok(gm_net_keep(net, gm_shape_size(&shape), numbers, &config.numbers, &err), &err);
    expect_ok(gm_net_add(net, &gm_layer_constant, &config, 0, NULL, NULL, &node, &err), &err);
    return node;
}

static int mean(gm_net *net, unsigned axes, bool keep, int input)
{
    gm_reduce_config config = {GM_REDUCE_MEAN, axes, keep};
    return after(net, &gm_layer_reduce, &config, input);
}

static int positions(gm_net *net, size_t units, int input)
{
    gm_dense_config config = {.units = units, .bias = true, .by_position = true};
    return after(net, &gm_layer_dense, &config, input);
}

static int finish(gm_net *net, size_t units, int input)
{
    gm_dense_config config = {.units = units, .bias = true};
    return after(net, &gm_layer_dense, &config, input);
}

/* [3, 4] samples: a positional embedding, a learned scale for each place, a class token in front,
 * the mean over positions. */
static void build_parameters(gm_net *net, bool other)
{
    (void)other;
    const gm_concat_config front = {.axis = 0};
    int x =
        binary(net, GM_BINARY_ADD, positions(net, 4, 0), parameter(net, (gm_shape){2, {3, 4}}, 0));
    x = binary(net, GM_BINARY_MUL, x, parameter(net, (gm_shape){1, {4}}, 1));
    x = unary(net, GM_UNARY_SILU, 0, 0, x);
    x = join(net, &gm_layer_concat, &front, parameter(net, (gm_shape){2, {1, 4}}, 0), x);
    x = unary(net, GM_UNARY_ERF, 0, 0, positions(net, 3, x));
    finish(net, 3, mean(net, 1, false, x));
}

/* A parameter is the first node, and one is the last factor: before any layer with an input. */
static void build_sources_first(gm_net *net, bool other)
{
    (void)other;
    const double numbers[] = {0.5, -1, 2, 1};
    int gain = parameter(net, (gm_shape){1, {4}}, 1),
        fixed = constant(net, (gm_shape){1, {4}}, numbers);
    int x = binary(net, GM_BINARY_MUL, 0, unary(net, GM_UNARY_EXP, 0, 0, gain));
    x = binary(net, GM_BINARY_SUB, fixed, x);
    x = unary(net, GM_UNARY_SIN, 0, 0, finish(net, 3, x));
    x = binary(net, GM_BINARY_MUL, x, x); /* both signals of one node */
    binary(net, GM_BINARY_PRELU, finish(net, 3, x), parameter(net, (gm_shape){0}, 0));
}

/* Positive numbers through exp, log, sqrt, 1/x, powers and quotients, of branches that share
 * weights; a log-softmax at the end. */
static void build_functions(gm_net *net, bool other)
{
    (void)other;
    const gm_softmax_config log = {.axis = 0, .log = true};
    int x = unary(net, GM_UNARY_EXP, 0, 0, unary(net, GM_UNARY_SOFTSIGN, 0, 0, finish(net, 5, 0)));
    int root = unary(net, GM_UNARY_SQRT, 0, 0, x), flip = unary(net, GM_UNARY_RECIPROCAL, 0, 0, x);
    int both = binary(net, GM_BINARY_DIV, root, unary(net, GM_UNARY_AFFINE, 1, 1, flip));
    both = binary(net, GM_BINARY_POW, both, root);
    int cosine = unary(net, GM_UNARY_COS, 0, 0, unary(net, GM_UNARY_POWER, 1.5, 0, x));
    both = binary(net, GM_BINARY_ADD, both, unary(net, GM_UNARY_LOG, 0, 0, both));
    both = binary(net, GM_BINARY_ADD, unary(net, GM_UNARY_MISH, 0, 0, both), cosine);
    after(net, &gm_layer_softmax, &log, finish(net, 3, both));
}

/* Piecewise linear: clips, |x|, max, min, thresholds, masks, a bias that is a parameter, sums. */
static void build_piecewise(gm_net *net, bool other)
{
    (void)other;
    const double mask[] = {1, 0, 1, 1, 1};
    gm_reduce_config sum = {GM_REDUCE_SUM, 1, true};
    int x = binary(net, GM_BINARY_ADD, finish(net, 5, 0), parameter(net, (gm_shape){1, {5}}, 0));
    int a = unary(net, GM_UNARY_ABS, 0, 0, x), b = unary(net, GM_UNARY_CLIP, -0.5, 1, x);
    int c = unary(net, GM_UNARY_HARD_SIGMOID, 0.2, 0.5, finish(net, 5, a));
    int d = binary(net, GM_BINARY_MAX, unary(net, GM_UNARY_LEAKY, 0.3, 0, b), c);
    d = binary(net, GM_BINARY_MIN, d, unary(net, GM_UNARY_AFFINE, -2, 1, c));
    d = binary(net, GM_BINARY_KEEP, d, constant(net, (gm_shape){1, {5}}, mask));
    d = binary(net, GM_BINARY_SUB, d, after(net, &gm_layer_reduce, &sum, b));
    finish(net, 3, unary(net, GM_UNARY_THRESHOLD, 0.1, 0, d));
}

/* Products whose factors share no weight: learned scales, slopes, a mixing matrix of parameters. */
static void build_multilinear(gm_net *net, bool other)
{
    (void)other;
    const double numbers[] = {0.5, -1, 2, 1, 3};
    const gm_matmul_config mix = {.factor = 1};
    gm_reshape_config row = {.shape = {2, {1, 5}}};
    int x = finish(net, 5, 0);
    x = binary(net, GM_BINARY_PRELU, x, parameter(net, (gm_shape){1, {5}}, 0.3));
    x = binary(net, GM_BINARY_MUL, constant(net, (gm_shape){1, {5}}, numbers), x);
    x = binary(net, GM_BINARY_MUL, x, parameter(net, (gm_shape){1, {5}}, 1));
    x = after(net, &gm_layer_reshape, &row, unary(net, GM_UNARY_ABS, 0, 0, x));
    x = join(net, &gm_layer_matmul, &mix, x, parameter(net, (gm_shape){2, {5, 4}}, 0));
    finish(net, 3, unary(net, GM_UNARY_LEAKY, 0.1, 0, x));
}

/* A square: every other layer is piecewise linear, yet the net is not. */
static void build_square(gm_net *net, bool other)
{
    (void)other;
    int x = finish(net, 3, 0);
    finish(net, 3, binary(net, GM_BINARY_MUL, x, unary(net, GM_UNARY_ABS, 0, 0, x)));
}

static int gelu(gm_net *net, int x)
{
    int half =
        unary(net, GM_UNARY_ERF, 0, 0, unary(net, GM_UNARY_AFFINE, 0.70710678118654752440, 0, x));
    int gate = unary(net, GM_UNARY_AFFINE, 0.5, 0.5, half);
    return binary(net, GM_BINARY_MUL, x, gate);
}

static int layer_norm(gm_net *net, int axes, int x)
{
    gm_layer_norm_config config = {.axes = axes, .epsilon = 0.01, .affine = true};
    return after(net, &gm_layer_layer_norm, &config, x);
}

/* x over the last axis, as exporters write it. */
static int norm_of_primitives(gm_net *net, unsigned last, size_t width, int x)
{
    int centred = binary(net, GM_BINARY_SUB, x, mean(net, last, true, x));
    int square = mean(net, last, true, unary(net, GM_UNARY_POWER, 2, 0, centred));
    int root = unary(net, GM_UNARY_SQRT, 0, 0, unary(net, GM_UNARY_AFFINE, 1, 0.01, square));
    int z = binary(net, GM_BINARY_DIV, centred, root);
    z = binary(net, GM_BINARY_MUL, z, parameter(net, (gm_shape){1, {width}}, 1));
    return binary(net, GM_BINARY_ADD, z, parameter(net, (gm_shape){1, {width}}, 0));
}

/* [3, 4] samples: one head that sees no later positions, between layer norms; then GELU. */
static void build_attention(gm_net *net, bool other)
{
    (void)other;
    const double low = -(double)INFINITY;
    const double mask[] = {0, low, low, 0, 0, low, 0, 0, 0};
    const gm_softmax_config softmax = {.axis = 1};
    const gm_matmul_config scores = {.transpose_b = true, .factor = 1}, mix = {.factor = 1};
    int x = layer_norm(net, 1, 0);
    int q = positions(net, 4, x), k = positions(net, 4, x), v = positions(net, 4, x);
    int s = unary(net, GM_UNARY_AFFINE, 0.5, 0, join(net, &gm_layer_matmul, &scores, q, k));
    s = binary(net, GM_BINARY_ADD, s, constant(net, (gm_shape){2, {3, 3}}, mask));
    s = after(net, &gm_layer_softmax, &softmax, s);
    x = binary(net, GM_BINARY_ADD, x, join(net, &gm_layer_matmul, &mix, s, v));
    x = gelu(net, positions(net, 3, layer_norm(net, 2, x)));
    finish(net, 3, mean(net, 1, false, x));
}

/* An image through group and instance normalization, with and without a scale. */
static void build_groups(gm_net *net, bool other)
{
    (void)other;
    gm_group_norm_config two = {2, 0.01, true}, each = {4, 0.01, false};
    add_conv(net, gm_window_square(2, 1, 0, false), 4, 1);
    add_layer(net, &gm_layer_group_norm, &two);
    gm_unary_config smooth = {GM_UNARY_GELU_TANH, 0, 0};
    int x = add_layer(net, &gm_layer_unary, &smooth);
    x = binary(net, GM_BINARY_ADD, x, add_layer(net, &gm_layer_group_norm, &each));
    finish(net, 3, mean(net, 4, false, x));
}

static const image_case cases[] = {
    {"parameters", build_parameters, {2, {3, 4}}, 5, 3, true, false},
    {"sources first", build_sources_first, {1, {4}}, 5, 3, true, false},
    {"functions", build_functions, {1, {4}}, 5, 3, true, false},
    {"functions, squared", build_functions, {1, {4}}, 5, 3, true, true},
    {"piecewise", build_piecewise, {1, {4}}, 6, 3, false, false},
    {"multilinear", build_multilinear, {1, {4}}, 6, 3, false, false},
    {"attention", build_attention, {2, {3, 4}}, 5, 3, true, false},
    {"square", build_square, {1, {4}}, 5, 3, false, false},
    {"groups", build_groups, {3, {2, 3, 4}}, 5, 3, true, false},
};
enum { CASES = sizeof cases / sizeof *cases };
static net_list nets = {cases, CASES};

/* Which nets keep diag(H) = diag(G), and which can be re-scaled. */
static void traits(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        gm_net *net = image_net(&cases[i], true);
        bool linear = cases[i].build == build_piecewise || cases[i].build == build_multilinear;
        assert_int_equal(gm_net_piecewise_linear(net), linear);
        assert_false(gm_net_homogeneous(net));
        gm_net_free(net);
    }
}

/* ---- the same function built in two ways ---- */

static void fused_norm(gm_net *net, bool other)
{
    (void)other;
    finish(net, 3, layer_norm(net, 1, positions(net, 4, 0)));
}

static void plain_norm(gm_net *net, bool other)
{
    (void)other;
    finish(net, 3, norm_of_primitives(net, 2, 4, positions(net, 4, 0)));
}

static void one_gelu(gm_net *net, bool other)
{
    (void)other;
    gm_activation_config act = {.act = GM_ACT_GELU};
    finish(net, 3, after(net, &gm_layer_activation, &act, finish(net, 5, 0)));
}

static void parts_of_gelu(gm_net *net, bool other)
{
    (void)other;
    finish(net, 3, gelu(net, finish(net, 5, 0)));
}

/* The sigmoid as the softmax of (x, 0), the relu as max(x, 0), tanh by exponentials. */
static void one_sigmoid(gm_net *net, bool other)
{
    (void)other;
    gm_activation_config act = {.act = GM_ACT_SIGMOID};
    finish(net, 3, after(net, &gm_layer_activation, &act, finish(net, 5, 0)));
}

static void softmax_of_two(gm_net *net, bool other)
{
    (void)other;
    const double zeros[5] = {0};
    gm_reshape_config row = {.shape = {2, {1, 5}}};
    gm_concat_config below = {.axis = 0};
    gm_softmax_config softmax = {.axis = 0};
    gm_slice_config top = {.start = {0}, .count = {1}, .step = {1}};
    int x = after(net, &gm_layer_reshape, &row, finish(net, 5, 0));
    x = join(net, &gm_layer_concat, &below, x, constant(net, (gm_shape){2, {1, 5}}, zeros));
    x = after(net, &gm_layer_slice, &top, after(net, &gm_layer_softmax, &softmax, x));
    finish(net, 3, x);
}

static const image_case twins[][2] = {
    {{"layer norm", fused_norm, {2, {3, 4}}, 5, 3, true, false},
     {"layer norm of primitives", plain_norm, {2, {3, 4}}, 5, 3, true, false}},
    {{"gelu", one_gelu, {1, {4}}, 5, 3, true, false},
     {"gelu of erf", parts_of_gelu, {1, {4}}, 5, 3, true, false}},
    {{"sigmoid", one_sigmoid, {1, {4}}, 5, 3, true, false},
     {"softmax of two", softmax_of_two, {1, {4}}, 5, 3, true, false}},
};

/* Loss, gradient and the six products agree to rounding. */
static void two_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++) {
        image_problem a, b;
        image_open(&a, &twins[i][0], GM_F64, true, 0, 0);
        image_open(&b, &twins[i][1], GM_F64, true, 0, 0);
        assert_int_equal(a.p, b.p);
        assert_memory_equal(a.theta, b.theta, a.p * sizeof *a.theta);
        double *one = everything(&a), *two = everything(&b);
        assert_at_most(fabs(gm_linearization_loss(a.lin) - gm_linearization_loss(b.lin)), 1e-14,
                       "loss, %s", twins[i][0].name);
        for (size_t row = 0; row < 7; row++) {
            assert_at_most(relative_error(a.p, one + row * a.p, two + row * a.p), 1e-11,
                           "%s, row %zu", twins[i][0].name, row);
        }
        free(one);
        free(two);
        image_close(&a);
        image_close(&b);
    }
}

/* Dense layers around a normalization without parameters, which needs memory of its own. */
static void build_bare_norm(gm_net *net, bool other)
{
    (void)other;
    gm_layer_norm_config bare = {.axes = 1, .epsilon = 0.01};
    finish(net, 3, after(net, &gm_layer_layer_norm, &bare, finish(net, 5, 0)));
}

/* Draws by layer of variance 0 have the loss of the net itself; measures of layers that are no
 * linear map are not there. */
static void bounds(void **state)
{
    (void)state;
    const image_case bare = {"bare", build_bare_norm, {1, {4}}, 5, 3, true, false};
    const size_t index[] = {0, 1, 2, 3, 4};
    image_problem t;
    gm_local local;
    gm_error err = {0};
    double sum = 0, norm, error;
    image_open(&t, &bare, GM_F64, true, 0, 0);
    double *zero = numbers(t.p);
    assert_true(gm_local_possible(t.net, NULL));
    expect_ok(gm_local_open(t.problem, 5, &local, &err), &err);
    gm_local_value(&local, 5, index, t.theta, zero, gm_stream_of(1, GM_PURPOSE_TEST, 0), 0);
    for (int i = 0; i < 5; i++) {
        sum += local.loss[i] / 5;
    }
    assert_at_most(fabs(sum - gm_linearization_loss(t.lin)), 1e-15, "loss of a draw");
    gm_local_close(&local);
    expect_ok(gm_measure_spectral_norm(t.net, t.theta, &norm, &error, &err), &err);
    assert_true(norm > 0);
    free(zero);
    image_close(&t);
    const char *layer = NULL;
    gm_net *net = image_net(&cases[6], true);
    assert_false(gm_local_possible(net, &layer));
    assert_string_equal(layer, "layer_norm1");
    double *theta = numbers(gm_net_parameters(net));
    expect_ok(gm_measure_spectral_norm(net, theta, &norm, &error, &err), &err);
    assert_true(isnan(norm));
    free(theta);
    gm_net_free(net);
}

/* log of a unit that is cut off: an infinite loss, and products that say they are not finite. */
static void build_log_of_zero(gm_net *net, bool other)
{
    (void)other;
    int x = unary(net, GM_UNARY_CLIP, 0, (double)INFINITY, finish(net, 5, 0));
    finish(net, 3, unary(net, GM_UNARY_LOG, 0, 0, x));
}

static void build_root_of_zero(gm_net *net, bool other)
{
    (void)other;
    int x = unary(net, GM_UNARY_CLIP, 0, (double)INFINITY, finish(net, 5, 0));
    finish(net, 3, unary(net, GM_UNARY_SQRT, 0, 0, x));
}

static void outside_the_domain(void **state)
{
    (void)state;
    const image_case bad[] = {
        {"log of zero", build_log_of_zero, {1, {4}}, 5, 3, false, false},
        {"root of zero", build_root_of_zero, {1, {4}}, 5, 3, false, false},
    };
    for (int i = 0; i < 2; i++) {
        image_problem t;
        gm_operator op;
        gm_error err = {0};
        image_open(&t, &bad[i], GM_F64, true, 0, 0);
        assert_true(isinf(gm_linearization_loss(t.lin)) == (i == 0));
        double *v = image_numbers(t.p, 8, 1), *out = numbers(t.p);
        expect_ok(gm_curvature_operator(t.lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
        assert_int_equal(gm_operator_apply(&op, 1, v, out, &err), GM_ERR_NUMERIC);
        assert_non_null(strstr(err.message, "not finite"));
        gm_operator_destroy(&op);
        free(v);
        free(out);
        image_close(&t);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(check_gradients, &nets),
        cmocka_unit_test_prestate(check_products, &nets),
        cmocka_unit_test_prestate(check_diagonals, &nets),
        cmocka_unit_test_prestate(check_dense_matrices, &nets),
        cmocka_unit_test_prestate(check_gram_forms, &nets),
        cmocka_unit_test_prestate(check_nothing_else_matters, &nets),
        cmocka_unit_test(traits),
        cmocka_unit_test_prestate(check_single_precision, &nets),
        cmocka_unit_test(two_ways),
        cmocka_unit_test(bounds),
        cmocka_unit_test(outside_the_domain),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "layer nets");
}
