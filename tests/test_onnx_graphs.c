/* Imported graphs whose operators become several layers: conditions that graphs compute, fixed and
 * computed filters, Einsum, Resize, weights that serve twice. Gradients, products and matrices as
 * for every other net; memory that runs out. */
#include "failing_memory.h"

#include <unistd.h>

#include "net_checks.h"
#include "net_outputs.h"
#include "onnx_graph.h"

static void finish(const char *from, long width)
{
    long dim[] = {width, 3};
    model_int(model_node("Flatten", from, "flat"), "axis", 1);
    model_weight("head", 2, dim);
    model_node("MatMul", "flat,head", "z");
    model_output("z");
}

/* ---- conditions ---- */

/* Attention over 4 tokens: a causal mask from ranges, another from the tokens themselves (token 2
 * is padding) as -1e9 that is added, and -inf by Where. */
static void attention(void)
{
    model_begin(14);
    model_graph.input[model_graph.n_input++] =
        model_info("x", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 2, (long[]){-1, 4});
    WEIGHT("wte", 5, 3);
    WEIGHT("key", 3, 3);
    WEIGHT("query", 3, 3);
    WHOLE("first", 0);
    WHOLE("second", 1);
    model_keep(model_integers("zero", 0, NULL, 1, (long[]){0}));
    model_keep(model_integers("one", 0, NULL, 1, (long[]){1}));
    model_keep(model_integers("pad", 0, NULL, 1, (long[]){2}));
    model_node("Gather", "wte,x", "h");
    model_node("MatMul", "h,key", "k");
    model_node("MatMul", "h,query", "q");
    model_ints(model_node("Transpose", "k", "kt"), "perm", 3, (long[]){0, 2, 1});
    model_node("MatMul", "q,kt", "scores");
    /* T from the shape, rows >= columns */
    model_node("Shape", "x", "shape");
    model_node("Gather", "shape,one", "length");
    model_node("Range", "zero,length,one", "places");
    model_node("Unsqueeze", "places,second", "column");
    model_node("GreaterOrEqual", "column,places", "past");
    fixed_number("never", -(double)INFINITY);
    model_node("Where", "past,scores,never", "causal");
    /* 1 - (x != pad) times -1e9 */
    model_node("Equal", "x,pad", "padded");
    model_node("Not", "padded", "real");
    model_int(model_node("Cast", "real", "weight"), "to", 11);
    model_node("Unsqueeze", "weight,second", "rows");
    fixed_number("unit", 1.0);
    fixed_number("large", -1e9);
    model_node("Sub", "unit,rows", "absent");
    model_node("Mul", "absent,large", "bias");
    model_node("Add", "causal,bias", "masked");
    model_int(model_node("Softmax", "masked", "p"), "axis", 2);
    model_node("MatMul", "p,h", "mixed");
    finish("mixed", 12);
}

/* relu, a leaky slope that is learned, and a cap, each by a condition on what is computed. */
static void conditions(void)
{
    model_begin(13);
    INPUT(-1, 4);
    WEIGHT("fc1", 4, 6);
    WEIGHT("slope", 6);
    WEIGHT("cap", 1);
    fixed_number("zero", 0.0);
    fixed_number("half", 0.5);
    model_node("MatMul", "x,fc1", "h");
    model_node("Greater", "h,zero", "up");
    model_node("Mul", "h,slope", "leak");
    model_node("Where", "up,h,leak", "a");
    model_node("Abs", "a", "size");
    model_node("LessOrEqual", "size,half", "small");
    model_node("Less", "a,zero", "below");
    model_node("And", "up,small", "both");
    model_node("Xor", "both,below", "mixed");
    model_node("Or", "mixed,small", "any");
    model_node("Tanh", "a", "bent");
    model_node("Mul", "a,a", "square");
    model_node("Where", "any,bent,square", "b");
    model_node("Where", "below,cap,b", "c"); /* one number beside all */
    model_int(model_node("Cast", "any", "numbers"), "to", 11);
    model_node("Add", "c,numbers", "d");
    finish("d", 6);
}

/* ---- filters ---- */

/* A blur of each channel by a fixed filter, then a dilated convolution with stride in two groups
 * whose weight is normalized: g v / |v|, and a bias. */
static void filters(void)
{
    static double blur[4 * 9];
    for (int i = 0; i < 36; i++) {
        blur[i] = (double[]){1, 2, 1, 2, 4, 2, 1, 2, 1}[i % 9] / 16 * (1 + i / 9);
    }
    model_begin(13);
    INPUT(-1, 2, 6, 5);
    WEIGHT("conv.weight", 4, 2, 1, 1);
    WEIGHT("norm.g", 2, 1, 1, 1);
    WEIGHT("norm.v", 2, 2, 2, 3);
    WEIGHT("norm.bias", 2);
    fixed("blur", (int)DIMS(4, 1, 3, 3), blur);
    WHOLE("axes", 1, 2, 3);
    model_node("Conv", "x,conv.weight", "c");
    model_node("Tanh", "c", "t");
    Onnx__NodeProto *node = model_node("Conv", "t,blur", "b");
    model_int(node, "group", 4);
    model_ints(node, "pads", 4, (long[]){1, 0, 1, 2});
    model_node("Mul", "norm.v,norm.v", "squares");
    model_node("ReduceSum", "squares,axes", "sums");
    model_node("Sqrt", "sums", "length");
    model_node("Div", "norm.v,length", "unit");
    model_node("Mul", "unit,norm.g", "weight");
    node = model_node("Conv", "b,weight,norm.bias", "n");
    model_int(node, "group", 2);
    model_ints(node, "strides", 2, (long[]){2, 1});
    model_ints(node, "dilations", 2, (long[]){3, 1});
    model_ints(node, "pads", 4, (long[]){0, 1, 1, 0});
    finish("n", 2 * 2 * 4);
}

/* The same on signals. */
static void signals(void)
{
    const double edge[] = {1, 0, -1, 0.5, 1, 0.5};
    model_begin(13);
    INPUT(-1, 2, 9);
    WEIGHT("scale", 1, 2, 1);
    fixed("edge", (int)DIMS(2, 1, 3), edge);
    model_node("Mul", "x,scale", "s");
    Onnx__NodeProto *node = model_node("Conv", "s,edge", "e");
    model_int(node, "group", 2);
    model_ints(node, "pads", 2, (long[]){2, 1});
    model_ints(node, "strides", 1, (long[]){2});
    model_node("Softplus", "e", "p");
    finish("p", 10);
}

/* ---- sums of products ---- */

/* Attention with two heads, its weights as tensors of rank 3 and as matrices. */
static void heads(void)
{
    model_begin(13);
    INPUT(-1, 3, 4);
    WEIGHT("query", 4, 2, 2);
    WEIGHT("key", 4, 2, 2);
    WEIGHT("value", 4, 4);
    WHOLE("apart", 0, 0, 2, 2);
    einsum("btd,dhk->bthk", "x,query", "q");
    einsum("bsd,dhk->bshk", "x,key", "k");
    einsum("bsd,ed->bse", "x,value", "wide");
    model_node("Reshape", "wide,apart", "v");
    einsum("bthk,bshk->bhts", "q,k", "scores");
    model_int(model_node("Softmax", "scores", "p"), "axis", 3);
    einsum("bhts,bshk->bthk", "p,v", "mixed");
    finish("mixed", 12);
}

/* ---- sizes ---- */

static void sizes(void)
{
    model_begin(13);
    INPUT(-1, 1, 3, 4);
    WEIGHT("conv", 2, 1, 2, 2);
    WHOLE("smaller", 1, 2, 2, 4);
    fixed("larger", (int)DIMS(4), (double[]){1, 1, 2, 1.5});
    fixed("twice", (int)DIMS(4), (double[]){1, 1, 2, 2});
    model_node("Conv", "x,conv", "c");
    model_node("Tanh", "c", "t");
    resize("t", "larger", "linear", "half_pixel", "a");
    resize("a", "twice", "cubic", "align_corners", "b");
    model_node("Softplus", "b", "s");
    resize("s", ",smaller", "nearest", "asymmetric", "n");
    finish("n", 16);
}

/* Pixels to channels and back in another order, repetitions, and what is largest of them. */
static void places(void)
{
    model_begin(13);
    INPUT(-1, 1, 4, 4);
    WEIGHT("conv", 4, 4, 1, 1);
    WHOLE("times", 1, 1, 2, 3);
    model_int(model_node("SpaceToDepth", "x", "deep"), "blocksize", 2);
    model_node("Conv", "deep,conv", "c");
    model_node("Tanh", "c", "t");
    Onnx__NodeProto *node = model_node("DepthToSpace", "t", "wide");
    model_int(node, "blocksize", 2);
    text(node, "mode", "CRD");
    model_node("Tile", "wide,times", "tiles");
    model_ints(model_node("ReduceLogSumExp", "tiles", "sum"), "axes", 1, (long[]){2});
    model_node("Mul", "tiles,tiles", "squares");
    node = model_node("ReduceMax", "squares", "most");
    model_ints(node, "axes", 2, (long[]){1, -1});
    model_int(node, "keepdims", 0);
    model_ints(model_node("ReduceMin", "wide", "least"), "axes", 1, (long[]){3});
    model_node("Flatten", "sum", "a");
    model_node("Flatten", "most", "b");
    model_node("Flatten", "least", "c1");
    model_int(model_node("Concat", "a,b,c1", "all"), "axis", 1);
    finish("all", 12 + 8 + 4);
}

/* A decoder: transposed convolutions in groups, with strides, dilations and what they leave out. */
static void decoder(void)
{
    model_begin(13);
    INPUT(-1, 4, 2, 3);
    WEIGHT("up.weight", 4, 1, 3, 2);
    WEIGHT("up.bias", 2);
    WEIGHT("line.weight", 2, 3, 2);
    WHOLE("lines", 0, 2, -1);
    Onnx__NodeProto *node = model_node("ConvTranspose", "x,up.weight,up.bias", "u");
    model_int(node, "group", 2);
    model_ints(node, "strides", 2, (long[]){2, 3});
    model_ints(node, "dilations", 2, (long[]){1, 2});
    model_ints(node, "pads", 4, (long[]){1, 0, 0, 2});
    model_ints(node, "output_padding", 2, (long[]){1, 0});
    model_node("Tanh", "u", "t");
    model_node("Reshape", "t,lines", "signal");
    node = model_node("ConvTranspose", "signal,line.weight", "l");
    model_ints(node, "strides", 1, (long[]){2});
    model_node("Softplus", "l", "p");
    model_ints(model_node("ReduceMean", "p", "m"), "axes", 1, (long[]){2});
    finish("m", 3);
}

/* ---- weights that serve twice ---- */

/* A dense layer with its bias, the same matrix the other way without one, the bias as a factor, and
 * norms that share a scale but no shift: with `copies`, from initializers of their own, which have
 * the same numbers. */
static void build_sharing(bool copies)
{
    static const struct {
        const char *name, *copy;
        long dim[2];
    } weights[] = {
        {"w", "w2", {4, 4}}, {"c", "c2", {4, 0}}, {"g", "g2", {4, 0}}, {"s", "s2", {4, 0}}};
    char list[64];
    model_begin(17);
    INPUT(-1, 4);
    for (int i = 0; i < 4; i++) {
        static double numbers[16];
        int rank = weights[i].dim[1] ? 2 : 1;
        for (int j = 0; j < 16; j++) {
            numbers[j] = 0.5 + sin(i + 1.3 * j);
        }
        model_keep(model_numbers(weights[i].name, rank, weights[i].dim, numbers));
        if (copies) model_keep(model_numbers(weights[i].copy, rank, weights[i].dim, numbers));
    }
    model_int(model_node("Gemm", "x,w,c", "a"), "transB", 1);
    model_node("Tanh", "a", "t");
    model_node("Gemm", copies ? "t,w2" : "t,w", "u");
    model_node("Mul", copies ? "u,c2" : "u,c", "m");
    model_node("LayerNormalization", "m,g,s", "n");
    model_node("LayerNormalization", copies ? "n,g2" : "n,g", "o");
    snprintf(list, sizeof list, "o,%s", copies ? "s2" : "s");
    model_node("Add", list, "p");
    finish("p", 4);
}

static void sharing(void)
{
    build_sharing(false);
}

static void test_sharing(void **state)
{
    (void)state;
    enum { N = 5 };
    gm_onnx *model[2];
    double *x = image_numbers(N * 4, 6, 1), out[2][N * 3];
    for (int copies = 0; copies < 2; copies++) {
        gm_onnx_options options;
        gm_error err = {0};
        gm_onnx_options_default(&options);
        build_sharing(copies);
        model_write("graphs-twice.onnx");
        expect_ok(gm_onnx_load("graphs-twice.onnx", &options, &model[copies], &err), &err);
        unlink("graphs-twice.onnx");
        net_outputs(model[copies]->net, model[copies]->theta, N, x, out[copies]);
    }
    assert_int_equal(gm_net_parameters(model[0]->net), 16 + 3 * 4 + 12);
    assert_int_equal(gm_net_parameters(model[1]->net), 2 * (16 + 3 * 4) + 12);
    assert_at_most(relative_error(N * 3, out[0], out[1]), 1e-14, "outputs");
    assert_at_most(-norm_of(N * 3, out[1]), -1, "size");
    gm_onnx_free(model[0]);
    gm_onnx_free(model[1]);
    free(x);
}

/* ---- memory ---- */

static int at_work;

static gm_status load_graph(gm_error *err)
{
    static const char *const names[] = {"graphs-attention.onnx", "graphs-conditions.onnx",
                                        "graphs-filters.onnx",   "graphs-heads.onnx",
                                        "graphs-sizes.onnx",     "graphs-sharing.onnx",
                                        "graphs-places.onnx",    "graphs-decoder.onnx"};
    gm_onnx *model;
    gm_onnx_options options;
    gm_onnx_options_default(&options);
    gm_status status = gm_onnx_load(names[at_work], &options, &model, err);
    gm_onnx_free(model);
    return status;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (at_work = 0; at_work < 8; at_work++) {
        fail_every_allocation(load_graph, 50);
    }
}

/* ---- as every net ---- */

static const struct {
    const char *name;
    void (*build)(void);
} graphs[] = {{"graphs-attention.onnx", attention}, {"graphs-conditions.onnx", conditions},
              {"graphs-filters.onnx", filters},     {"graphs-signals.onnx", signals},
              {"graphs-heads.onnx", heads},         {"graphs-sizes.onnx", sizes},
              {"graphs-sharing.onnx", sharing},     {"graphs-places.onnx", places},
              {"graphs-decoder.onnx", decoder}};

static const image_case cases[] = {
    {"graphs-attention.onnx", NULL, {1, {4}}, 6, 3, true, false},
    {"graphs-conditions.onnx", NULL, {1, {4}}, 6, 3, false, false},
    {"graphs-filters.onnx", NULL, {3, {2, 6, 5}}, 5, 3, true, false},
    {"graphs-signals.onnx", NULL, {2, {2, 9}}, 5, 3, true, true},
    {"graphs-heads.onnx", NULL, {2, {3, 4}}, 5, 3, true, false},
    {"graphs-sizes.onnx", NULL, {3, {1, 3, 4}}, 5, 3, true, false},
    {"graphs-sharing.onnx", NULL, {1, {4}}, 5, 3, true, false},
    {"graphs-places.onnx", NULL, {3, {1, 4, 4}}, 5, 3, false, false},
    {"graphs-decoder.onnx", NULL, {3, {4, 2, 3}}, 5, 3, true, false},
};
enum { CASES = sizeof cases / sizeof *cases };
static net_list nets = {cases, CASES};

static void write_graphs(void)
{
    for (int i = 0; i < CASES; i++) {
        graphs[i].build();
        model_write(graphs[i].name);
    }
}

static void remove_graphs(void)
{
    for (int i = 0; i < CASES; i++) {
        unlink(graphs[i].name);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sharing),
        cmocka_unit_test_prestate(check_gradients, &nets),
        cmocka_unit_test_prestate(check_products, &nets),
        cmocka_unit_test_prestate(check_dense_matrices, &nets),
        cmocka_unit_test_prestate(check_diagonals, &nets),
        cmocka_unit_test_prestate(check_single_precision, &nets),
        cmocka_unit_test(test_out_of_memory),
    };
    write_graphs();
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "onnx graphs");
    remove_graphs();
    return failed;
}
