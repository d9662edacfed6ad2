/* Nets from ONNX files: the same graph as a built-in net gives the same numbers to the bit, roles
 * of initializers, constants that graphs compute, refusals, damaged and hostile files. */
#include "gradiometer/onnx.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

#include "base/memory.h"
#include "data/npy.h"
#include "folder.h"
#include "gradiometer/diff.h"
#include "gradiometer/random.h"
#include "onnx_model.h"
#include "problems.h"

#define DIMS(...)                                                                                  \
    (sizeof((long[]){__VA_ARGS__}) / sizeof(long)), (long[])                                       \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define INPUT(...)        model_input("x", (int)DIMS(__VA_ARGS__))
#define WEIGHT(name, ...) model_weight(name, (int)DIMS(__VA_ARGS__))

static gm_onnx *load(const char *logits)
{
    gm_onnx *model = NULL;
    gm_onnx_options options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    options.logits = logits;
    const char *path = folder_path("net.onnx");
    model_write(path);
    expect_ok(gm_onnx_load(path, &options, &model, &err), &err);
    return model;
}

/* Loss and gradient [p] of net at theta on n samples that are the same in every call. */
static double gradient_of(const gm_net *net, size_t n, const double *theta, double *gradient)
{
    gm_error err = {0};
    gm_shape shape = {.rank = 1, .dim = {gm_net_inputs(net)}};
    double *x = calloc(n * shape.dim[0], sizeof *x), loss;
    int32_t *label = calloc(n, sizeof *label);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 0), 0, n * shape.dim[0], x);
    for (size_t i = 0; i < n; i++) {
        label[i] = (int32_t)(i % gm_net_outputs(net));
    }
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_problem_options options;
    gm_problem_options_default(&options);
    expect_ok(gm_data_from_arrays("test", n, &shape, x, label, NULL, 0, GM_F64, gm_net_outputs(net),
                                  &data, &err),
              &err);
    expect_ok(gm_problem_create(net, data, &options, &problem, &err), &err);
    expect_ok(gm_problem_gradient(problem, theta, &loss, NULL, gradient, &err), &err);
    gm_problem_free(problem);
    gm_dataset_free(data);
    free(x);
    free(label);
    return loss;
}

static void assert_same_as(const gm_onnx *model, const char *spec, const gm_shape *input,
                           size_t classes)
{
    gm_error err = {0};
    gm_net *net = NULL;
    expect_ok(gm_net_from_spec(spec, input, classes, &net, &err), &err);
    size_t p = gm_net_parameters(net);
    assert_int_equal(gm_net_parameters(model->net), p);
    double *mine = calloc(2 * p, sizeof *mine);
    double own = gradient_of(net, 7, model->theta, mine);
    double imported = gradient_of(model->net, 7, model->theta, mine + p);
    assert_true(own == imported);
    assert_true(norm_of(p, mine) > 0);
    assert_memory_equal(mine, mine + p, p * sizeof *mine);
    free(mine);
    gm_net_free(net);
}

/* ---- whole nets ---- */

static void build_mlp(void)
{
    model_begin(13);
    INPUT(-1, 6);
    WEIGHT("fc1.weight", 5, 6);
    WEIGHT("fc1.bias", 5);
    WEIGHT("fc2.weight", 3, 5);
    WEIGHT("fc2.bias", 3);
    model_int(model_node("Gemm", "x,fc1.weight,fc1.bias", "h"), "transB", 1);
    model_node("Tanh", "h", "a");
    model_int(model_node("Gemm", "a,fc2.weight,fc2.bias", "z"), "transB", 1);
    model_output("z");
}

static void test_mlp(void **state)
{
    (void)state;
    build_mlp();
    gm_onnx *model = load(NULL);
    assert_same_as(model, "mlp:6-5-3,act=tanh", NULL, 0);
    assert_int_equal(gm_net_layers(model->net), 2);
    assert_string_equal(gm_net_layer_at(model->net, 0).name, "fc1");
    assert_string_equal(gm_net_layer_at(model->net, 1).name, "fc2");
    assert_int_equal(gm_net_layer_at(model->net, 1).offset, 35);
    for (size_t i = 0; i < 30; i++) { /* the file's numbers in their order */
        assert_true(model->theta[i] == 0.6 * sin(1.7 * (double)i + 10.0 + 'f'));
    }
    gm_onnx_free(model);
}

static void conv_block(const char *input, const char *name, const char *out)
{
    char inputs[128], conv[64], relu[64];
    snprintf(inputs, sizeof inputs, "%s,%s.weight,%s.bias", input, name, name);
    snprintf(conv, sizeof conv, "%s_c", out);
    snprintf(relu, sizeof relu, "%s_r", out);
    Onnx__NodeProto *node = model_node("Conv", inputs, conv);
    model_ints(node, "pads", 4, (long[]){1, 1, 1, 1});
    model_ints(node, "kernel_shape", 2, (long[]){3, 3});
    model_int(node, "group", 1);
    model_node("Relu", conv, relu);
    node = model_node("MaxPool", relu, out);
    model_ints(node, "kernel_shape", 2, (long[]){2, 2});
    model_ints(node, "strides", 2, (long[]){2, 2});
}

/* cnn:4-6 on [2, 8, 8], flattened by a shape that the graph computes, as PyTorch writes
 * x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Reshape. The classifier's initializers
 * stand before those of the convolutions, whose bias stands before their weight in no file of
 * PyTorch's, but the order of layers is the file's in any case. */
static void build_cnn(int opset)
{
    model_begin(opset);
    INPUT(-1, 2, 8, 8);
    WEIGHT("c1.weight", 4, 2, 3, 3);
    WEIGHT("c1.bias", 4);
    WEIGHT("c2.weight", 6, 4, 3, 3);
    WEIGHT("c2.bias", 6);
    WEIGHT("fc.weight", 3, 24);
    WEIGHT("fc.bias", 3);
    conv_block("x", "c1", "p1");
    conv_block("p1", "c2", "p2");
    model_node("Shape", "p2", "shape");
    model_tensor_value(model_node("Constant", "", "zero"), "value",
                       model_integers("", 0, NULL, 1, (long[]){0}));
    model_node("Gather", "shape,zero", "batch");
    if (opset < 13) {
        model_ints(model_node("Unsqueeze", "batch", "batches"), "axes", 1, (long[]){0});
    } else {
        model_keep(model_integers("axes", DIMS(1), 1, (long[]){0}));
        model_node("Unsqueeze", "batch,axes", "batches");
    }
    model_keep(model_integers("rest", DIMS(1), 1, (long[]){-1}));
    model_int(model_node("Concat", "batches,rest", "flat"), "axis", 0);
    model_node("Reshape", "p2,flat", "f");
    model_int(model_node("Gemm", "f,fc.weight,fc.bias", "z"), "transB", 1);
    model_output("z");
}

static void test_cnn(void **state)
{
    (void)state;
    static const int opsets[] = {9, 11, 13, 17};
    gm_shape image = {.rank = 3, .dim = {2, 8, 8}};
    for (size_t i = 0; i < sizeof opsets / sizeof *opsets; i++) {
        build_cnn(opsets[i]);
        gm_onnx *model = load(NULL);
        assert_int_equal(model->opset, opsets[i]);
        assert_same_as(model, "cnn:4-6", &image, 3);
        gm_onnx_free(model);
    }
}

/* The order of the flat vector is the file's, not the graph's. */
static void test_file_order(void **state)
{
    (void)state;
    build_mlp();
    Onnx__TensorProto *swap[] = {model_graph.initializer[0], model_graph.initializer[1]};
    model_graph.initializer[0] = model_graph.initializer[2];
    model_graph.initializer[1] = model_graph.initializer[3];
    model_graph.initializer[2] = swap[0];
    model_graph.initializer[3] = swap[1];
    gm_onnx *turned = load(NULL);
    assert_string_equal(gm_net_layer_at(turned->net, 0).name, "fc2");
    assert_int_equal(gm_net_layer_at(turned->net, 0).offset, 0);
    assert_int_equal(gm_net_layer_at(turned->net, 1).offset, 18);
    size_t index;
    gm_error err = {0};
    expect_ok(gm_net_find_layer(turned->net, "fc1", &index, &err), &err);
    assert_int_equal(index, 1);
    build_mlp();
    gm_onnx *plain = load(NULL);
    double a[53], b[53];
    assert_true(gradient_of(turned->net, 7, turned->theta, a) ==
                gradient_of(plain->net, 7, plain->theta, b));
    assert_memory_equal(a, b + 35, 18 * sizeof *a);
    assert_memory_equal(a + 18, b, 35 * sizeof *a);
    gm_onnx_free(plain);
    gm_onnx_free(turned);
}

/* ---- nets exported from PyTorch, with its numbers (tests/fixtures/make_onnx.py) ---- */

static double *fixture(const char *folder_name, const char *key, size_t count)
{
    char path[512];
    double *numbers;
    size_t found;
    gm_error err = {0};
    snprintf(path, sizeof path, GM_FIXTURES "/%s/%s.npy", folder_name, key);
    expect_ok(gm_npy_read_vector(path, &numbers, &found, &err), &err);
    assert_int_equal(found, count);
    return numbers;
}

static void assert_close(const char *name, const char *key, size_t p, const double *found)
{
    double *expected = fixture(name, key, p);
    /* float64 against float64: sums of some hundred terms in another order; numbers that the
     * exporter wrote in float32 (an epsilon) are the same in both. */
    assert_at_most(relative_error(p, found, expected), 1e-11, "%s of %s", key, name);
    gm_free(expected);
}

static void compare_exported(const char *name)
{
    static const gm_curvature kind[] = {GM_HESSIAN, GM_GGN, GM_MOMENT};
    static const char *const key[] = {"hv", "gv", "mv"};
    char path[512], spec[1200];
    gm_onnx *model = NULL;
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_linearization *lin = NULL;
    gm_onnx_options options;
    gm_data_options data_options;
    gm_problem_options problem_options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    gm_data_options_default(&data_options);
    gm_problem_options_default(&problem_options);
    snprintf(path, sizeof path, GM_FIXTURES "/%s/net.onnx", name);
    snprintf(spec, sizeof spec, "npy:" GM_FIXTURES "/%s/x.npy," GM_FIXTURES "/%s/y.npy", name,
             name);
    expect_ok(gm_onnx_load(path, &options, &model, &err), &err);
    size_t p = gm_net_parameters(model->net);
    double *theta = fixture(name, "theta", p), *v = fixture(name, "v", p);
    double *loss = fixture(name, "loss", 1), *product = calloc(p, sizeof *product);
    assert_memory_equal(model->theta, theta, p * sizeof *theta); /* PyTorch's order */
    expect_ok(gm_data_load(spec, &data_options, &data, &err), &err);
    expect_ok(gm_problem_create(model->net, data, &problem_options, &problem, &err), &err);
    expect_ok(gm_linearize(problem, model->theta, &lin, &err), &err);
    assert_at_most(fabs(gm_linearization_loss(lin) - *loss), 1e-13, "loss of %s", name);
    assert_close(name, "gradient", p, gm_linearization_gradient(lin));
    for (int i = 0; i < 3; i++) {
        gm_operator op;
        expect_ok(gm_curvature_operator(lin, kind[i], GM_ALL_LAYERS, &op, &err), &err);
        expect_ok(gm_operator_apply(&op, 1, v, product, &err), &err);
        assert_close(name, key[i], p, product);
        gm_operator_destroy(&op);
    }
    gm_linearization_free(lin);
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_onnx_free(model);
    gm_free(theta);
    gm_free(v);
    gm_free(loss);
    free(product);
}

static void test_exported(void **state)
{
    (void)state;
    compare_exported("onnx-vit");
    compare_exported("onnx-gpt");
}

/* ---- roles ---- */

/* A residual block with batch normalization, written twice: the scale of the second is computed
 * from an initializer by Identity. */
static void build_residual(void)
{
    model_begin(13);
    INPUT(-1, 2, 5, 5);
    WEIGHT("conv.weight", 2, 2, 3, 3);
    WEIGHT("bn.weight", 2);
    WEIGHT("bn.bias", 2);
    model_keep(model_numbers("bn.running_mean", DIMS(2), (double[]){0.1, -0.2}));
    model_keep(model_numbers("bn.running_var", DIMS(2), (double[]){0.5, 2.0}));
    model_keep(model_integers("bn.num_batches_tracked", 0, NULL, 1, (long[]){12}));
    WEIGHT("unused", 7);
    WEIGHT("fc.weight", 3, 2);
    Onnx__NodeProto *node = model_node("Conv", "x,conv.weight", "c");
    model_ints(node, "pads", 4, (long[]){1, 1, 1, 1});
    model_node("Identity", "bn.weight", "scale");
    node = model_node("BatchNormalization", "c,scale,bn.bias,bn.running_mean,bn.running_var", "n");
    model_float(node, "epsilon", 1e-5f);
    model_node("Add", "x,n", "s");
    model_node("Relu", "s", "r");
    model_node("GlobalAveragePool", "r", "g");
    model_int(model_node("Flatten", "g", "f"), "axis", 1);
    model_node("Dropout", "f", "d");
    model_int(model_node("Gemm", "d,fc.weight", "z"), "transB", 1);
    model_output("z");
}

/* A mask that is added: a parameter by the rule, a constant by its name; the weights' gradient is
 * the same. */
static void test_constants_by_name(void **state)
{
    (void)state;
    const double mask[3] = {0.0, -1e9, 0.5};
    gm_onnx *model = NULL, *named = NULL;
    gm_onnx_options options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    model_begin(13);
    INPUT(-1, 3);
    model_keep(model_numbers("attn.mask", DIMS(3), mask));
    WEIGHT("fc.weight", 3, 3);
    model_int(model_node("Gemm", "x,fc.weight", "h"), "transB", 1);
    model_node("Add", "h,attn.mask", "z");
    model_output("z");
    const char *path = folder_path("net.onnx");
    model_write(path);
    expect_ok(gm_onnx_load(path, &options, &model, &err), &err);
    options.constants = "fc.bi*,*.mask";
    assert_int_equal(gm_onnx_load(path, &options, &named, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "the constants 'fc.bi*' are none of its 2 initializers"));
    options.constants = "*.mask";
    expect_ok(gm_onnx_load(path, &options, &named, &err), &err);
    assert_int_equal(model->initializer[0].role, GM_ONNX_IS_PARAMETER);
    assert_int_equal(named->initializer[0].role, GM_ONNX_IS_CONSTANT);
    assert_int_equal(gm_net_parameters(model->net), 12);
    assert_int_equal(gm_net_parameters(named->net), 9);
    double all[12], weights[9];
    double loss = gradient_of(model->net, 7, model->theta, all);
    assert_true(gradient_of(named->net, 7, named->theta, weights) == loss);
    assert_true(norm_of(9, weights) > 0);
    assert_memory_equal(weights, all + 3, sizeof weights);
    gm_onnx_free(model);
    gm_onnx_free(named);
}

static void test_roles(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        gm_onnx_role role;
        size_t offset;
    } expected[] = {{"conv.weight", GM_ONNX_IS_PARAMETER, 0},
                    {"bn.weight", GM_ONNX_IS_PARAMETER, 36},
                    {"bn.bias", GM_ONNX_IS_PARAMETER, 38},
                    {"bn.running_mean", GM_ONNX_IS_CONSTANT, 0},
                    {"bn.running_var", GM_ONNX_IS_CONSTANT, 0},
                    {"bn.num_batches_tracked", GM_ONNX_IS_UNUSED, 0},
                    {"unused", GM_ONNX_IS_UNUSED, 0},
                    {"fc.weight", GM_ONNX_IS_PARAMETER, 40}};
    build_residual();
    gm_onnx *model = load(NULL);
    assert_int_equal(model->initializers, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < model->initializers; i++) {
        assert_string_equal(model->initializer[i].name, expected[i].name);
        assert_int_equal(model->initializer[i].role, expected[i].role);
        if (expected[i].role == GM_ONNX_IS_PARAMETER) {
            assert_int_equal(model->initializer[i].offset, expected[i].offset);
        }
    }
    assert_int_equal(gm_net_parameters(model->net), 46);
    assert_string_equal(gm_net_layer_at(model->net, 0).name, "conv");
    assert_string_equal(gm_net_layer_at(model->net, 1).name, "bn");

    /* central differences: relative error h^2 ~ 1e-10 beside rounding 1e-16/h */
    double gradient[46], theta[46], other[46];
    memcpy(theta, model->theta, sizeof theta);
    gradient_of(model->net, 5, theta, gradient);
    for (size_t j = 0; j < 46; j++) {
        const double h = 1e-5;
        theta[j] = model->theta[j] + h;
        double up = gradient_of(model->net, 5, theta, other);
        theta[j] = model->theta[j] - h;
        double down = gradient_of(model->net, 5, theta, other);
        theta[j] = model->theta[j];
        assert_at_most(fabs((up - down) / (2 * h) - gradient[j]), 1e-8, "parameter %zu", j);
    }
    gm_onnx_free(model);
}

static void test_logits_by_name(void **state)
{
    (void)state;
    build_mlp();
    model_node("Softmax", "z", "prob");
    model_output("prob");
    gm_onnx *model = load("z");
    assert_same_as(model, "mlp:6-5-3,act=tanh", NULL, 0);
    gm_onnx_free(model);
    model = load("h"); /* what is behind it, and its weights, are not looked at */
    assert_int_equal(gm_net_parameters(model->net), 35);
    assert_int_equal(model->initializer[2].role, GM_ONNX_IS_UNUSED);
    gm_onnx_free(model);
}

/* ---- number types ---- */

static void test_short_numbers(void **state)
{
    (void)state;
    /* 1, -2, 65504, the smallest positive, 1/3 rounded, -0 */
    static const uint16_t half[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x3555, 0x8000};
    static const double half_value[] = {1, -2, 65504, 0x1p-24, 0x1.554p-2, -0.0};
    static const uint16_t brain[] = {0x3f80, 0xc000, 0x4780, 0x0001, 0x3eab, 0x8000};
    static const double brain_value[] = {1, -2, 65536, 0x1p-133, 0x1.56p-2, -0.0};
    for (int kind = 0; kind < 4; kind++) {
        model_begin(13);
        INPUT(-1, 3);
        Onnx__TensorProto *t = model_tensor("w",
                                            kind < 2 ? ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16
                                                     : ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16,
                                            2, (long[]){2, 3});
        const uint16_t *bits = kind < 2 ? half : brain;
        if (kind % 2) { /* as 32-bit integers, or as raw bytes */
            t->n_int32_data = 6;
            t->int32_data = model_take(6 * sizeof(int32_t));
            for (int i = 0; i < 6; i++) {
                t->int32_data[i] = bits[i];
            }
        } else {
            t->has_raw_data = 1;
            t->raw_data = (ProtobufCBinaryData){12, model_take(12)};
            memcpy(t->raw_data.data, bits, 12);
        }
        model_keep(t);
        model_int(model_node("Gemm", "x,w", "z"), "transB", 1);
        model_output("z");
        gm_onnx *model = load(NULL);
        assert_memory_equal(model->theta, kind < 2 ? half_value : brain_value, 6 * sizeof(double));
        gm_onnx_free(model);
    }
}

/* ---- external data ---- */

static void external(Onnx__TensorProto *t, const char *location, const char *offset)
{
    const char *pairs[][2] = {{"location", location}, {"offset", offset}};
    t->has_raw_data = 0;
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t->n_external_data = 2;
    t->external_data = model_take(2 * sizeof(void *));
    for (int i = 0; i < 2; i++) {
        t->external_data[i] = model_take(sizeof **t->external_data);
        onnx__string_string_entry_proto__init(t->external_data[i]);
        t->external_data[i]->key = model_text(pairs[i][0]);
        t->external_data[i]->value = model_text(pairs[i][1]);
    }
}

static void assert_refused(const char *part)
{
    gm_onnx *model = (gm_onnx *)1;
    gm_onnx_options options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    const char *path = folder_path("net.onnx");
    model_write(path);
    gm_status status = gm_onnx_load(path, &options, &model, &err);
    assert_null(model);
    if (gm_status_exit(status) != 2 || !strstr(err.message, part) ||
        strncmp(err.message, "--model ", 8) * strncmp(err.message, path, strlen(path)) != 0) {
        fail_msg("status %d, message \"%s\", expected \"%s\"", (int)status, err.message, part);
    }
}

static void test_external_data(void **state)
{
    (void)state;
    build_mlp();
    Onnx__TensorProto *w = model_graph.initializer[0];
    unsigned char bytes[16 + 30 * 8] = {0};
    memcpy(bytes + 16, w->raw_data.data, 30 * 8);
    folder_write("weights.bin", bytes, sizeof bytes);
    gm_onnx *inside = load(NULL);
    external(w, "weights.bin", "16");
    gm_onnx *outside = load(NULL);
    assert_memory_equal(inside->theta, outside->theta, 53 * sizeof(double));
    assert_true(inside->checksum != outside->checksum);
    unsigned long before = outside->checksum;
    gm_onnx_free(inside);
    gm_onnx_free(outside);
    bytes[20] ^= 1;
    folder_write("weights.bin", bytes, sizeof bytes);
    outside = load(NULL);
    assert_true(outside->checksum != before);
    gm_onnx_free(outside);

    external(w, "weights.bin", "17");
    assert_refused("has 256 bytes, expected 240 from byte 17 on");
    external(w, "weights.bin", "-1");
    assert_refused("external offset '-1', expected a whole number");
    external(w, "missing.bin", "0");
    assert_refused("missing.bin");
    external(w, "/etc/passwd", "0");
    assert_refused("'/etc/passwd' lies outside of the model's folder");
    external(w, "../../etc/passwd", "0");
    assert_refused("lies outside of the model's folder");
    assert_int_equal(symlink("/etc/passwd", folder_path("link.bin")), 0);
    external(w, "link.bin", "0");
    assert_refused("'link.bin' lies outside of the model's folder");
    external(w, ".", "0");
    assert_refused("outside of the model's folder");
}

/* ---- refusals ---- */

static Onnx__NodeProto *node_of(size_t i)
{
    return model_graph.node[i];
}

static void test_refusals(void **state)
{
    (void)state;
    build_mlp();
    model_opset.version = 8;
    assert_refused("opset 8, expected 9 ... 17");
    model_opset.version = 18;
    assert_refused("opset 18, expected 9 ... 17");
    build_mlp();
    node_of(1)->op_type = model_text("TopK");
    assert_refused("node 'Tanh_1' (TopK, opset 13): this operator is not supported");
    build_mlp();
    node_of(1)->domain = model_text("com.microsoft");
    assert_refused("node 'Tanh_1' (Tanh, opset 13): its domain 'com.microsoft' is not supported");
    build_mlp();
    model_int(node_of(1), "axis", 1);
    assert_refused("node 'Tanh_1' (Tanh, opset 13): attribute 'axis' is not supported");
    build_mlp();
    model_float(node_of(0), "transA", 1.0f);
    assert_refused("attribute 'transA' is of type 1, expected an integer");
    build_mlp();
    model_node("Softmax", "z", "p");
    model_graph.n_output = 0;
    model_output("p");
    assert_refused("'p' is the output of a Softmax, expected logits");
    model_output("z");
    assert_refused("2 outputs (p, z), expected --logits NAME to choose one");
    build_mlp();
    node_of(1)->op_type = model_text("RandomNormalLike");
    assert_refused("(RandomNormalLike, opset 13): it is random");
    build_mlp();
    node_of(1)->op_type = model_text("Dropout");
    node_of(1)->n_input = model_words("h,,yes", &node_of(1)->input);
    model_keep(model_integers("yes", 0, NULL, 1, (long[]){1}));
    assert_refused("in training mode it is random");
    build_residual();
    model_int(node_of(2), "training_mode", 1);
    assert_refused("in training mode a sample's loss depends on the others");

    build_mlp();
    node_of(0)->input[0] = model_text("a"); /* h depends on a, a on h */
    assert_refused("the graph has a cycle");
    build_mlp();
    node_of(1)->input[0] = model_text("nobody");
    assert_refused("node 'Tanh_1' reads 'nobody', which nothing makes");
    build_mlp();
    node_of(1)->output[0] = model_text("h");
    assert_refused("the name 'h' is given to two values");
    build_mlp();
    model_graph.initializer[1]->name = model_text("fc1.weight");
    assert_refused("the name 'fc1.weight' is given to two values");

    build_mlp();
    model_graph.initializer[0]->raw_data.len--;
    assert_refused("raw_data holds 239 bytes, its 30 numbers of type DOUBLE take 240");
    build_mlp();
    model_graph.initializer[0]->data_type = 77;
    assert_refused("initializer 'fc1.weight' is of an unknown type (type 77)");
    build_mlp();
    model_graph.initializer[0]->dims[0] = INT64_MAX;
    assert_refused("its dimensions overflow");
    build_mlp();
    model_graph.initializer[0]->dims[0] = INT64_C(1) << 40; /* 48 TB: refused before it is taken */
    assert_refused("raw_data holds 240 bytes");
    model_graph.initializer[0]->has_raw_data = 0;
    assert_refused("holds 0 numbers, its shape has 6597069766656");
    build_mlp();
    model_graph.initializer[0]->dims[0] = -5;
    assert_refused("dimension 0 is -5");
    build_mlp();
    double nan = (double)NAN;
    memcpy(model_graph.initializer[2]->raw_data.data + 8, &nan, 8);
    assert_refused("initializer 'fc2.weight': number 1 is no number (NaN)");
    build_mlp();
    model_graph.n_input = 0;
    INPUT(-1, 7);
    assert_refused("an input of 7 numbers, its weight takes 6");
    build_mlp();
    model_graph.n_input = 0;
    INPUT(-1, -1);
    assert_refused("input 'x': dimension 1 is free");
    build_mlp();
    model_graph.n_input = 0;
    INPUT(-1, INT64_MAX, INT64_MAX);
    assert_refused("its dimensions overflow");
    build_mlp();
    model_proto.graph = NULL;
    assert_refused("no ONNX model: it has no graph");

    build_cnn(13);
    model_graph.n_initializer--; /* the shape's last part, 'rest' */
    model_keep(model_integers("rest", DIMS(1), 1, (long[]){25}));
    assert_refused("24 numbers (of one sample) cannot take a shape of 25");
    build_cnn(13);
    model_graph.initializer[0]->dims[0] = 2; /* 2 x 4 x 3 x 3 */
    model_graph.initializer[0]->dims[1] = 4;
    assert_refused("its bias 'c1.bias' has 4 numbers, expected 2");
    build_cnn(13);
    model_tensor_value(model_node("ConstantOfShape", "huge", "bomb"), "value",
                       model_integers("", DIMS(1), 1, (long[]){1}));
    model_keep(model_integers("huge", DIMS(3), 3, (long[]){1 << 20, 1 << 20, 1 << 20}));
    node_of(8)->input[0] = model_text("bomb");
    assert_refused("a constant of more than");
}

/* ---- damaged files ---- */

static gm_status load_bytes(const unsigned char *bytes, size_t count)
{
    gm_onnx *model = NULL;
    gm_onnx_options options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    folder_write("damaged.onnx", bytes, count);
    gm_status status = gm_onnx_load(folder_path("damaged.onnx"), &options, &model, &err);
    assert_true((status == GM_OK) == (model != NULL));
    if (status != GM_OK) {
        assert_int_equal(gm_status_exit(status), 2);
        assert_true(strlen(err.message) > 0);
    }
    gm_onnx_free(model);
    return status;
}

/* Every truncation, and every byte with each of its bits turned: a model or one line, never a crash
 * (the sanitizers watch). */
static void test_damage(void **state)
{
    (void)state;
    build_cnn(13);
    for (size_t i = 0; i < model_graph.n_initializer; i++) { /* small, so that structure prevails */
        Onnx__TensorProto *t = model_graph.initializer[i];
        if (t->has_raw_data && t->raw_data.len > 64) t->raw_data.len = 64;
    }
    size_t count, refused = 0;
    unsigned char *bytes = model_pack(&model_proto, &count);
    for (size_t i = 0; i < count; i++) {
        refused += load_bytes(bytes, i) != GM_OK;
    }
    assert_int_equal(refused, count);
    free(bytes);

    build_mlp();
    bytes = model_pack(&model_proto, &count);
    size_t accepted = load_bytes(bytes, count) == GM_OK;
    assert_int_equal(accepted, 1);
    for (size_t i = 0; i < count; i++) {
        int bit = (int)(i % 8);
        bytes[i] ^= (unsigned char)(1 << bit);
        load_bytes(bytes, count);
        bytes[i] ^= (unsigned char)(1 << bit);
    }
    free(bytes);
}

/* A graph in an attribute of a node of a graph ..., 100,000 levels: would overflow the stack. */
static void test_deep_nesting(void **state)
{
    (void)state;
    enum { LEVELS = 3000 };
    /* Written from the inside out: graph{node{attribute{g{...}}}}, each field with its length. */
    static const unsigned char keys[] = {0x32, 0x2a,
                                         0x0a}; /* attribute.g, node.attribute, graph.node */
    size_t room = LEVELS * 3 * 5 + 16, at = room;
    unsigned char *bytes = malloc(room);
    for (int i = 0; i < LEVELS * 3; i++) {
        size_t length = room - at, digits = length < 128 ? 1 : length < 16384 ? 2 : 3;
        at -= digits;
        for (size_t d = 0; d < digits; d++) {
            bytes[at + d] = (unsigned char)((length >> 7 * d & 127) | (d + 1 < digits ? 128 : 0));
        }
        bytes[--at] = keys[i % 3];
    }
    size_t length = room - at;
    for (int d = 2; d >= 0; d--) {
        bytes[--at] = (unsigned char)((length >> 7 * d & 127) | (d < 2 ? 128 : 0));
    }
    bytes[--at] = 0x3a; /* model.graph */
    gm_onnx *model;
    gm_onnx_options options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    folder_write("deep.onnx", bytes + at, room - at);
    assert_int_equal(gm_onnx_load(folder_path("deep.onnx"), &options, &model, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "nest deeper than"));
    free(bytes);
}

static void test_no_file(void **state)
{
    (void)state;
    gm_onnx *model;
    gm_onnx_options options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    assert_int_equal(gm_onnx_load(folder_path("none.onnx"), &options, &model, &err), GM_ERR_IO);
    assert_int_equal(gm_onnx_load(folder, &options, &model, &err), GM_ERR_INPUT);
    assert_int_equal(load_bytes((const unsigned char *)"", 0), GM_ERR_INPUT);
    assert_int_equal(load_bytes((const unsigned char *)"hello, world", 12), GM_ERR_INPUT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mlp),
        cmocka_unit_test(test_cnn),
        cmocka_unit_test(test_file_order),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_constants_by_name),
        cmocka_unit_test(test_exported),
        cmocka_unit_test(test_logits_by_name),
        cmocka_unit_test(test_short_numbers),
        cmocka_unit_test(test_external_data),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_no_file),
    };
    if (folder_make(NULL) != 0) return 99;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "onnx");
    folder_remove(NULL);
    return failed;
}
