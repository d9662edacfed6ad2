/* Operators of imported graphs that become several layers: values against loops or against the same
 * operator as a layer, and refusals. */
#include "support.h"

#include <math.h>
#include <unistd.h>

#include "image_nets.h"
#include "net_outputs.h"
#include "onnx_graph.h"

/* ---- conditions ---- */

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

/* A net of one convolution of [4, 7, 6] in `groups`, its weight the value of that name;
 * initializers that are constants by these patterns. */
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

/* With a weight that is constant, or computed, it is the layer's with a parameter, which is tested
 * against seven loops. */
static void test_convolutions(void **state)
{
    (void)state;
    enum { N = 3 };
    for (long groups = 1; groups <= 2; groups++) {
        gm_onnx *own = one_convolution(groups, "filter", NULL);
        gm_onnx *constant = one_convolution(groups, "filter", "filter");
        gm_onnx *computed = one_convolution(groups, "product", NULL);
        size_t outputs = gm_net_outputs(own->net), inputs = gm_net_inputs(own->net);
        double *x = image_numbers(N * inputs, 4, 1), *out = calloc(3 * N * outputs, sizeof(double));
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_condition_values), cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_einsum_values),    cmocka_unit_test(test_bad_equations),
        cmocka_unit_test(test_bad_sizes),        cmocka_unit_test(test_bad_conditions_and_filters),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "onnx values");
}
