/* Imported graphs whose operators become several layers: conditions that graphs compute, fixed and
 * computed filters, Einsum, Resize. Values against loops or against the same graph written
 * otherwise; gradients, products and matrices as for every other net. */
#include "failing_memory.h"

#include <unistd.h>

#include "net_checks.h"
#include "net_outputs.h"
#include "onnx_model.h"

#define DIMS(...)                                                                                  \
    (sizeof((long[]){__VA_ARGS__}) / sizeof(long)), (long[])                                       \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define INPUT(...)        model_input("x", (int)DIMS(__VA_ARGS__))
#define WEIGHT(name, ...) model_weight(name, (int)DIMS(__VA_ARGS__))
#define WHOLE(name, ...)                                                                           \
    model_keep(model_integers(name, 1, (long[]){sizeof((long[]){__VA_ARGS__}) / sizeof(long)},     \
                              DIMS(__VA_ARGS__)))

/* A Constant node of numbers that are never parameters. */
static void fixed(const char *name, int rank, const long *dim, const double *numbers)
{
    model_tensor_value(model_node("Constant", "", name), "value",
                       model_numbers("", rank, dim, numbers));
}

static void fixed_number(const char *name, double number)
{
    fixed(name, 0, NULL, &number);
}

static void text(Onnx__NodeProto *node, const char *name, const char *value)
{
    Onnx__AttributeProto *a =
        model_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s.data = (uint8_t *)model_text(value);
    a->s.len = strlen(value);
}

static void einsum(const char *equation, const char *inputs, const char *output)
{
    text(model_node("Einsum", inputs, output), "equation", equation);
}

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

static void test_condition_values(void **state)
{
    (void)state;
    const double right[] = {0.5, -1, 2, 0, 0.25};
    double x[] = {0.5, 1, -2, 0, 0.75};
    static const char *const names[] = {"Equal", "Less", "LessOrEqual", "Greater",
                                        "GreaterOrEqual"};
    gm_onnx *model = NULL;
    gm_onnx_options options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    model_begin(13);
    INPUT(-1, 5);
    WEIGHT("w", 5);
    fixed("right", (int)DIMS(5), right);
    for (int i = 0; i < 5; i++) {
        char truth[32], inputs[64];
        snprintf(truth, sizeof truth, "truth%d", i);
        snprintf(inputs, sizeof inputs, "x,right");
        model_node(names[i], inputs, truth);
        snprintf(inputs, sizeof inputs, "number%d", i);
        model_int(model_node("Cast", truth, inputs), "to", 11);
    }
    model_int(model_node("Cast", "x", "truth5"), "to", 9);
    model_int(model_node("Cast", "truth5", "number5"), "to", 11);
    model_int(model_node("Concat", "number0,number1,number2,number3,number4,number5", "all"),
              "axis", 1);
    model_node("ReduceSum", "w", "sum");
    model_node("Add", "all,sum", "z");
    model_output("z");
    model_write("graphs-values.onnx");
    double found[30], total = 0;
    expect_ok(gm_onnx_load("graphs-values.onnx", &options, &model, &err), &err);
    unlink("graphs-values.onnx");
    net_outputs(model->net, model->theta, 1, x, found);
    for (int j = 0; j < 5; j++) {
        total += model->theta[j];
    }
    for (int j = 0; j < 5; j++) {
        bool truth[] = {x[j] == right[j], x[j]<right[j], x[j] <= right[j], x[j]> right[j],
                        x[j] >= right[j], x[j] != 0};
        for (int i = 0; i < 6; i++) {
            assert_at_most(fabs(found[5 * i + j] - total - truth[i]), 1e-14, "%d of %d", i, j);
        }
    }
    gm_onnx_free(model);
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

/* *model of one convolution [2, 7, 6] in `groups`, with what it takes from `how`. */
static gm_onnx *one_convolution(long groups, const char *weight, const char *constants)
{
    gm_onnx *model = NULL;
    gm_onnx_options options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    options.constants = constants;
    model_begin(13);
    INPUT(-1, 4, 7, 6);
    model_weight("filter", 4, (long[]){6, 4 / groups, 3, 2});
    model_weight("bias", 1, (long[]){6});
    model_node("Identity", "filter", "same");
    fixed_number("unit", 1.0);
    model_node("Mul", "same,unit", "product");
    char inputs[64];
    snprintf(inputs, sizeof inputs, "x,%s,bias", weight);
    Onnx__NodeProto *node = model_node("Conv", inputs, "z");
    model_int(node, "group", groups);
    model_ints(node, "strides", 2, (long[]){2, 3});
    model_ints(node, "dilations", 2, (long[]){1, 2});
    model_ints(node, "pads", 4, (long[]){2, 1, 0, 3});
    model_output("z");
    model_write("graphs-conv.onnx");
    expect_ok(gm_onnx_load("graphs-conv.onnx", &options, &model, &err), &err);
    unlink("graphs-conv.onnx");
    return model;
}

/* A convolution by patches is the layer's, which is tested against seven loops. */
static void test_convolutions(void **state)
{
    (void)state;
    enum { N = 3 };
    for (long groups = 1; groups <= 2; groups++) {
        gm_onnx *own = one_convolution(groups, "filter", NULL);
        gm_onnx *constant = one_convolution(groups, "filter", "filter");
        gm_onnx *computed = one_convolution(groups, "product", NULL);
        size_t outputs = gm_net_outputs(own->net), inputs = gm_net_inputs(own->net);
        double *x = image_numbers(N * inputs, 4, 1), *out = numbers(3 * N * outputs);
        net_outputs(own->net, own->theta, N, x, out);
        net_outputs(constant->net, constant->theta, N, x, out + N * outputs);
        net_outputs(computed->net, computed->theta, N, x, out + 2 * N * outputs);
        assert_int_equal(gm_net_parameters(constant->net), 6);
        assert_at_most(relative_error(N * outputs, out + N * outputs, out), 1e-14, "constant");
        assert_at_most(relative_error(N * outputs, out + 2 * N * outputs, out), 1e-14, "computed");
        free(x);
        free(out);
        gm_onnx_free(own);
        gm_onnx_free(constant);
        gm_onnx_free(computed);
    }
}

/* ---- sums of products ---- */

typedef struct einsum_case {
    const char *equation;
    int operands;
    int rank[3];
    long dim[3][4]; /* the first operand is the sample, with its batch */
} einsum_case;

static const einsum_case einsums[] = {
    {"bi,ij->bj", 2, {2, 2}, {{1, 4}, {4, 3}}},
    {"bi,ji->bj", 2, {2, 2}, {{1, 4}, {3, 4}}},
    {"ij,bi->bj", 2, {2, 2}, {{1, 4}, {4, 3}}}, /* the weight first: see below */
    {"btd,de->bte", 2, {3, 2}, {{1, 2, 4}, {4, 3}}},
    {"btd,ed", 2, {3, 2}, {{1, 2, 4}, {3, 4}}},
    {"btd,dhk->bhtk", 2, {3, 3}, {{1, 2, 4}, {4, 3, 2}}},
    {"bthd,bshd->bhts", 2, {4, 4}, {{1, 3, 2, 4}, {1, 2, 2, 4}}},
    {"...ij,...jk->...ik", 2, {4, 2}, {{1, 2, 3, 4}, {4, 2}}},
    {"b...,...->b...", 2, {3, 2}, {{1, 3, 2}, {1, 2}}},
    {"bij->bji", 1, {3}, {{1, 2, 3}}},
    {"bii->bi", 1, {3}, {{1, 3, 3}}},
    {"biji->bj", 1, {4}, {{1, 3, 2, 3}}},
    {"bij->b", 1, {3}, {{1, 2, 3}}},
    {"bi,bj->bij", 2, {2, 2}, {{1, 4}, {1, 3}}},
    {"bij,ij,j->bi", 3, {3, 2, 1}, {{1, 2, 3}, {2, 3}, {3}}},
    {" b i j , j k , k l -> b i l ", 3, {3, 2, 2}, {{1, 2, 3}, {3, 2}, {2, 4}}},
    {"bij,kj->bk", 2, {3, 2}, {{1, 2, 3}, {4, 3}}},
    {"bi,ij->bj", 2, {2, 2}, {{1, 1}, {4, 3}}}, /* an axis of length 1 is repeated */
};
enum { EINSUMS = sizeof einsums / sizeof *einsums, LETTERS = 128 };

/* Axis of a term's letter; dots stand for the axes that are left over, as letters '0' + axis from
 * the last one. */
static int letters_of(const char *term, size_t length, int rank, char *letter)
{
    int named = 0, count = 0;
    for (size_t i = 0; i < length; i++) {
        named += term[i] != '.' && term[i] != ' ';
    }
    for (size_t i = 0; i < length; i++) {
        if (term[i] == ' ') continue;
        if (term[i] != '.') letter[count++] = term[i];
        if (term[i] != '.') continue;
        for (int d = rank - named; d-- > 0;) {
            letter[count++] = (char)('0' + d);
        }
        i += 2;
    }
    return count;
}

/* By the definition: a loop over every letter of the equation. */
static size_t sum_of_products(const einsum_case *c, double *const *operand, const char *equation,
                              double *out)
{
    char letter[4][8], all[LETTERS] = {0};
    int rank[4] = {0}, terms = 0, used = 0;
    long size[LETTERS] = {0}, index[LETTERS] = {0}, total = 1, outputs = 1;
    const char *arrow = strstr(equation, "->");
    for (const char *at = equation; terms < c->operands; terms++) {
        size_t length = strcspn(at, ",-");
        rank[terms] = letters_of(at, length, c->rank[terms], letter[terms]);
        assert_int_equal(rank[terms], c->rank[terms]);
        for (int i = 0; i < rank[terms]; i++) {
            int l = letter[terms][i];
            if (!size[l]) all[used++] = (char)l;
            if (c->dim[terms][i] > size[l]) size[l] = c->dim[terms][i];
        }
        at += length + 1;
    }
    int dots = 0;
    for (int i = 0; i < used; i++) {
        dots += all[i] >= '0' && all[i] <= '9';
        total *= size[(int)all[i]];
    }
    int named = 0;
    for (const char *at = arrow + 2; *at; at++) {
        named += *at != '.' && *at != ' ';
    }
    rank[3] = letters_of(arrow + 2, strlen(arrow + 2), named + dots, letter[3]);
    for (int i = 0; i < rank[3]; i++) {
        outputs *= size[(int)letter[3][i]];
    }
    memset(out, 0, (size_t)outputs * sizeof *out);
    for (long n = 0; n < total; n++) {
        long rest = n, to = 0;
        double product = 1;
        for (int i = 0; i < used; i++) {
            index[(int)all[i]] = rest % size[(int)all[i]];
            rest /= size[(int)all[i]];
        }
        for (int t = 0; t < c->operands; t++) {
            long at = 0;
            for (int i = 0; i < rank[t]; i++) {
                long dim = c->dim[t][i];
                at = at * dim + (dim > 1 ? index[(int)letter[t][i]] : 0);
            }
            product *= operand[t][at];
        }
        for (int i = 0; i < rank[3]; i++) {
            to = to * size[(int)letter[3][i]] + index[(int)letter[3][i]];
        }
        out[to] += product;
    }
    return (size_t)outputs;
}

static void test_einsum_values(void **state)
{
    (void)state;
    for (int e = 0; e < EINSUMS; e++) {
        const einsum_case *c = &einsums[e];
        gm_onnx *model = NULL;
        gm_onnx_options options;
        gm_error err = {0};
        double *operand[3] = {0}, found[64], expected[64];
        bool first = strncmp(c->equation, "ij,b", 4) == 0; /* the weight stands first */
        char inputs[32] = "x", equation[64];
        gm_onnx_options_default(&options);
        options.unbatched = true;
        model_begin(13);
        model_input("x", c->rank[0], c->dim[0]);
        for (int i = 1; i < c->operands; i++) {
            char name[16], list[32];
            snprintf(name, sizeof name, "w%d", i);
            model_weight(name, c->rank[i], c->dim[i]);
            snprintf(list, sizeof list, first ? "%s,x" : "%s,%s", first ? name : inputs, name);
            snprintf(inputs, sizeof inputs, "%s", list);
        }
        if (c->operands == 1) WEIGHT("w", 1);
        einsum(c->equation, inputs, "y");
        model_node(c->operands == 1 ? "Mul" : "Identity", c->operands == 1 ? "y,w" : "y", "z");
        model_output("z");
        model_write("graphs-einsum.onnx");
        expect_ok(gm_onnx_load("graphs-einsum.onnx", &options, &model, &err), &err);
        unlink("graphs-einsum.onnx");
        operand[0] = image_numbers(gm_net_inputs(model->net), 3, 1);
        for (int i = 1; i < c->operands; i++) {
            operand[i] = model->theta + model->initializer[i - 1].offset;
        }
        /* The reference takes the sample first, and says what it gives. */
        snprintf(equation, sizeof equation, "%s",
                 first                      ? "bi,ij->bj"
                 : strchr(c->equation, '>') ? c->equation
                                            : "btd,ed->bet");
        size_t count = sum_of_products(c, operand, equation, expected);
        assert_int_equal(count, gm_net_outputs(model->net));
        net_outputs(model->net, model->theta, 1, operand[0], found);
        for (size_t i = 0; i < count && c->operands == 1; i++) {
            found[i] /= model->theta[0];
        }
        assert_at_most(relative_error(count, found, expected), 1e-14, "%s", c->equation);
        free(operand[0]);
        gm_onnx_free(model);
    }
}

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

static void resize(const char *input, const char *by, const char *mode, const char *align,
                   const char *output)
{
    char inputs[64];
    snprintf(inputs, sizeof inputs, "%s,,%s", input, by);
    Onnx__NodeProto *node = model_node("Resize", inputs, output);
    text(node, "mode", mode);
    text(node, "coordinate_transformation_mode", align);
}

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

/* ---- refusals ---- */

/* The graph under construction, whose output is z. */
static void assert_refused(const char *part)
{
    gm_onnx *model = NULL;
    gm_onnx_options options;
    gm_error err = {0};
    gm_onnx_options_default(&options);
    model_output("z");
    model_write("graphs-bad.onnx");
    gm_status status = gm_onnx_load("graphs-bad.onnx", &options, &model, &err);
    unlink("graphs-bad.onnx");
    assert_null(model);
    if (status != GM_ERR_INPUT || !strstr(err.message, part)) {
        fail_msg("status %d, \"%s\", expected \"%s\"", (int)status, err.message, part);
    }
}

static void test_bad_equations(void **state)
{
    (void)state;
    static const char *const bad[] = {"bi,ij->bk",
                                      "bi,ij->bjj",
                                      "bi->bi",
                                      "b.i,ij->bj",
                                      "bi,ij,->bj",
                                      "",
                                      "->",
                                      "bi,ij-bj",
                                      "bi,ij>bj",
                                      "bi,ij->b->j",
                                      "bi,i1->b",
                                      "bi,ij->bj,",
                                      "bij,ij->bj",
                                      "b,ij->bj",
                                      "ii,ij->ij",

                                      "......i,ij->b",
                                      "bi,ij->...",
                                      "abcdefghijklmnopqrstuvwxyz,ij->",
                                      "bi,ij->bij...ij",
                                      "bi,jj->bj"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        model_begin(13);
        INPUT(-1, 4);
        WEIGHT("w", 4, 3);
        einsum(bad[i], "x,w", "z");
        bool sums = strcmp(bad[i], "bi,ij->...") == 0; /* right, without a batch */
        assert_refused(sums ? "the logits" : "its equation '");
    }
    model_begin(13);
    INPUT(-1, 4);
    einsum("a,b,c,d,e,f,g,h,i->a", "x,x,x,x,x,x,x,x,x", "z");
    assert_refused("9 inputs, expected 1 ... 8");
    model_begin(13);
    INPUT(-1, 2, 2, 2);
    WEIGHT("w", 2, 2, 2, 2);
    einsum("abcd,efgh->abcdefgh", "x,w", "z");
    assert_refused("a product of rank 7, at most 6");
}

static void test_bad_sizes(void **state)
{
    (void)state;
    const double bad[][2] = {{-1, 1}, {0, 1}, {(double)NAN, 1}, {1e30, 1}, {1, 0.2}, {1, 1e9}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        model_begin(13);
        INPUT(-1, 2, 4);
        fixed("scales", (int)DIMS(3), (double[]){1, bad[i][0], bad[i][1]});
        resize("x", "scales", "linear", "half_pixel", "z");
        assert_refused(i == 3 || i == 5 ? "numbers by" : "axis ");
    }
    for (int i = 0; i < 4; i++) {
        model_begin(13);
        INPUT(-1, 2, 4);
        fixed("scales", (int)DIMS(2), (double[]){1, 1});
        WHOLE("sizes", 1, 0, 4);
        WHOLE("below", 1, 2, -4);
        static const char *const by[] = {"scales", ",sizes", ",below", "scales,sizes"};
        static const char *const part[] = {"is not made of 3 constant numbers", "axis 1 of 2",
                                           "axis 2 of 4", "is not made of 3"};
        resize("x", by[i], "linear", "half_pixel", "z");
        assert_refused(part[i]);
    }
    model_begin(13);
    INPUT(-1, 2, 4);
    resize("x", "", "linear", "half_pixel", "z");
    assert_refused("expected either scales or sizes");
    model_begin(13);
    INPUT(-1, 2, 4);
    fixed("scales", (int)DIMS(3), (double[]){1, 1, 2});
    resize("x", "scales", "area", "half_pixel", "z");
    assert_refused("its mode 'area' is not supported");
    model_begin(10);
    INPUT(-1, 2, 4);
    fixed("scales", (int)DIMS(3), (double[]){1, 1, 2});
    text(model_node("Resize", "x,scales", "z"), "mode", "linear");
    assert_refused("before opset 11 it does not say where its pixels lie");
}

static void test_bad_conditions_and_filters(void **state)
{
    (void)state;
    model_begin(13);
    INPUT(-1, 4);
    WEIGHT("w", 4);
    model_node("Where", "x,x,w", "z");
    assert_refused("its condition 'x' is not made of booleans");
    model_begin(13);
    INPUT(-1, 4);
    model_node("And", "x,x", "z");
    assert_refused("input 0 is not made of booleans");
    model_begin(13);
    INPUT(-1, 4);
    WEIGHT("w", 3);
    model_node("Less", "x,w", "z");
    assert_refused("'x' and 'w' do not broadcast");
    model_begin(13);
    INPUT(-1, 1, 3, 3);
    model_node("Conv", "x,x", "z");
    assert_refused("its weight 'x' depends on the sample");
    model_begin(13);
    INPUT(-1, 1, 3, 3);
    fixed("filter", (int)DIMS(1, 1, 0, 3), (double[]){0});
    model_node("Conv", "x,filter", "z");
    assert_refused("its weight 'filter' depends on the sample, is empty");
    const double ones[4] = {1, 1, 1, 1};
    const long pads[] = {1 << 25, 5, 6000};
    const char *const parts[] = {"of at most 2^24", "a window of 51x51 is larger",
                                 "a constant of more than"};
    for (int i = 0; i < 3; i++) {
        model_begin(13);
        INPUT(-1, 1, 3, 3);
        if (i < 2) fixed("filter", (int)DIMS(1, 1, 2, 2), ones);
        if (i == 2) WEIGHT("v", 1, 1, 2, 2);
        if (i == 2) model_node("Mul", "v,v", "filter");
        Onnx__NodeProto *node = model_node("Conv", "x,filter", "z");
        model_ints(node, "pads", 4, (long[]){pads[i], pads[i], pads[i], pads[i]});
        if (i == 1) model_ints(node, "dilations", 2, (long[]){50, 50});
        assert_refused(parts[i]);
    }
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

static void gradients(void **state)
{
    (void)state;
    check_gradients(cases, CASES);
}

static void products(void **state)
{
    (void)state;
    check_products(cases, CASES);
}

static void dense_matrices(void **state)
{
    (void)state;
    check_dense_matrices(cases, CASES);
}

static void diagonals(void **state)
{
    (void)state;
    check_diagonals(cases, CASES);
}

static void single_precision(void **state)
{
    (void)state;
    check_single_precision(cases, CASES);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_condition_values),
        cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_einsum_values),
        cmocka_unit_test(test_sharing),
        cmocka_unit_test(gradients),
        cmocka_unit_test(products),
        cmocka_unit_test(dense_matrices),
        cmocka_unit_test(diagonals),
        cmocka_unit_test(single_precision),
        cmocka_unit_test(test_bad_equations),
        cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_bad_conditions_and_filters),
        cmocka_unit_test(test_out_of_memory),
    };
    write_graphs();
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "onnx graphs");
    remove_graphs();
    return failed;
}
