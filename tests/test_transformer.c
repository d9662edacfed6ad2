/* One block of a transformer put together from its parts, as an exporter writes it: embedding and
 * positions, layer norm from its parts, causal attention in two heads, an MLP, logits at every
 * position; the output tied to the embedding or a layer of its own; and the last position alone as
 * a classifier (tests/net_checks.h). */
#include "support.h"

#include "net_checks.h"

enum { T = 4, D = 4, HEADS = 2, VOCABULARY = 5 };

static int grow(gm_net *net, const gm_layer_kind *kind, const void *config, int a, int b)
{
    gm_error err = {0};
    const int inputs[] = {a, b};
    int node;
    expect_ok(gm_net_add(net, kind, config, (a >= 0) + (b >= 0), inputs, NULL, &node, &err), &err);
    return node;
}

static int sum_of(gm_net *net, int a, int b)
{
    const gm_binary_config add = {.function = GM_BINARY_ADD};
    return grow(net, &gm_layer_binary, &add, a, b);
}

static int dense_of(gm_net *net, int input, size_t units, bool bias)
{
    const gm_dense_config dense = {
        .units = units, .bias = bias, .by_position = true, .transposed = units != D};
    return grow(net, &gm_layer_dense, &dense, input, -1);
}

/* Layer norm as exporters write it out: (x - mean) / sqrt(mean square + epsilon), scale, shift. */
static int norm_of_rows(gm_net *net, int input)
{
    const gm_reduce_config mean = {.reduction = GM_REDUCE_MEAN, .axes = 2, .keep = true};
    const gm_binary_config sub = {.function = GM_BINARY_SUB}, div = {.function = GM_BINARY_DIV};
    const gm_binary_config mul = {.function = GM_BINARY_MUL};
    const gm_unary_config square = {.function = GM_UNARY_POWER, .a = 2};
    const gm_unary_config epsilon = {.function = GM_UNARY_AFFINE, .a = 1, .b = 1e-5};
    const gm_unary_config root = {.function = GM_UNARY_SQRT};
    const gm_parameter_config scale = {.shape = {1, {D}}, .start = 1}, shift = {.shape = {1, {D}}};
    int centred =
        grow(net, &gm_layer_binary, &sub, input, grow(net, &gm_layer_reduce, &mean, input, -1));
    int node = grow(net, &gm_layer_unary, &square, centred, -1);
    node = grow(net, &gm_layer_reduce, &mean, node, -1);
    node = grow(net, &gm_layer_unary, &epsilon, node, -1);
    node = grow(net, &gm_layer_unary, &root, node, -1);
    node = grow(net, &gm_layer_binary, &div, centred, node);
    node = grow(net, &gm_layer_binary, &mul, node, grow(net, &gm_layer_parameter, &scale, -1, -1));
    return sum_of(net, node, grow(net, &gm_layer_parameter, &shift, -1, -1));
}

/* Columns first ... first + D - 1 of [T, 3 D], as [HEADS, T, D / HEADS]. */
static int heads_of(gm_net *net, int input, size_t first)
{
    const gm_slice_config part = {.start = {0, first}, .count = {0, D}, .step = {0, 1}};
    const gm_reshape_config split = {.shape = {3, {T, HEADS, D / HEADS}}};
    const gm_transpose_config turn = {.axis = {1, 0, 2}};
    int node = grow(net, &gm_layer_slice, &part, input, -1);
    node = grow(net, &gm_layer_reshape, &split, node, -1);
    return grow(net, &gm_layer_transpose, &turn, node, -1);
}

static int attention(gm_net *net, int input)
{
    gm_error err = {0};
    double later[T * T];
    for (int i = 0; i < T * T; i++) {
        later[i] = i % T > i / T ? -1e9 : 0; /* nobody looks ahead */
    }
    gm_constant_config mask = {.shape = {2, {T, T}}};
    expect_ok(gm_net_keep(net, T * T, later, &mask.numbers, &err), &err);
    const gm_matmul_config scores = {.transpose_b = true, .factor = 0.7071067811865476};
    const gm_matmul_config mix = {.factor = 1};
    const gm_softmax_config softmax = {.axis = 2};
    const gm_transpose_config turn = {.axis = {1, 0, 2}};
    const gm_reshape_config joined = {.shape = {2, {T, D}}};
    int all = dense_of(net, input, 3 * D, true);
    int q = heads_of(net, all, 0), k = heads_of(net, all, D), v = heads_of(net, all, 2 * D);
    int node = grow(net, &gm_layer_matmul, &scores, q, k);
    node = sum_of(net, node, grow(net, &gm_layer_constant, &mask, -1, -1));
    node = grow(net, &gm_layer_softmax, &softmax, node, -1);
    node = grow(net, &gm_layer_matmul, &mix, node, v);
    node = grow(net, &gm_layer_transpose, &turn, node, -1);
    node = grow(net, &gm_layer_reshape, &joined, node, -1);
    return dense_of(net, node, D, true);
}

/* Up to the last layer norm; *table the node of the embedding. */
static int block(gm_net *net, int *table)
{
    const gm_embedding_config embedding = {.vocabulary = VOCABULARY, .width = D};
    const gm_parameter_config places = {.shape = {2, {T, D}}, .fan_in = D};
    const gm_activation_config gelu = {GM_ACT_GELU};
    *table = grow(net, &gm_layer_embedding, &embedding, 0, -1);
    int x = sum_of(net, *table, grow(net, &gm_layer_parameter, &places, -1, -1));
    x = sum_of(net, x, attention(net, norm_of_rows(net, x)));
    int mlp = dense_of(net, norm_of_rows(net, x), 6, true);
    mlp = grow(net, &gm_layer_activation, &gelu, mlp, -1);
    return norm_of_rows(net, sum_of(net, x, dense_of(net, mlp, D, true)));
}

static void build_tied(gm_net *net, bool other)
{
    gm_error err = {0};
    const gm_dense_config out = {.units = VOCABULARY, .by_position = true};
    int table, node = block(net, &table);
    (void)other;
    expect_ok(gm_net_add_tied(net, &gm_layer_dense, &out, 1, &node, table, &node, &err), &err);
}

static void build_untied(gm_net *net, bool other)
{
    int table;
    (void)other;
    dense_of(net, block(net, &table), 3, false);
}

static void build_classifier(gm_net *net, bool other)
{
    const gm_slice_config last = {.start = {T - 1}, .count = {1}, .step = {1}};
    int table, node = grow(net, &gm_layer_slice, &last, block(net, &table), -1);
    const gm_dense_config out = {.units = 3, .bias = true};
    (void)other;
    grow(net, &gm_layer_dense, &out, node, -1);
}

static const image_case cases[] = {
    {"tied", build_tied, {1, {T}}, 3, VOCABULARY, true, false},
    {"untied", build_untied, {1, {T}}, 3, 3, true, false},
    {"classifier", build_classifier, {1, {T}}, 4, 3, true, false},
};
enum { CASES = sizeof cases / sizeof *cases };
static net_list nets = {cases, CASES};

/* The mask holds: a later token changes no earlier position's loss; and it does change its own. */
static void causality(void **state)
{
    (void)state;
    image_problem t;
    image_open(&t, &cases[1], GM_F64, true, 0, 0);
    double *g = numbers(t.p);
    for (int32_t place = 0; place < T; place++) {
        int32_t label[T] = {GM_LABEL_MASKED, GM_LABEL_MASKED, GM_LABEL_MASKED, GM_LABEL_MASKED};
        label[place] = 1;
        double before = image_sample(&t, 0, 3, label, NULL, g), keep = t.x[2];
        t.x[2] = keep < 2 ? 4 : 0;
        double after = image_sample(&t, 0, 3, label, NULL, g);
        t.x[2] = keep;
        assert_int_equal(before == after, place < 2);
    }
    free(g);
    image_close(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(check_gradients, &nets),
        cmocka_unit_test_prestate(check_products, &nets),
        cmocka_unit_test_prestate(check_dense_matrices, &nets),
        cmocka_unit_test_prestate(check_diagonals, &nets),
        cmocka_unit_test_prestate(check_gram_forms, &nets),
        cmocka_unit_test_prestate(check_nothing_else_matters, &nets),
        cmocka_unit_test_prestate(check_single_precision, &nets),
        cmocka_unit_test(causality),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "transformer");
}
