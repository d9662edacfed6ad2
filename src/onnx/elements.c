/* Elementwise operators. Those of one operand work on whichever order of the numbers is there;
 * those of two broadcast in the order of their shapes. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "onnx/operators.h"

gm_status gm_onnx_any_order(const gm_onnx_step *s, gm_onnx_value *value, int *node, bool *last,
                            gm_error *err)
{
    *last = value->what == GM_ONNX_ACTIVATION && value->node < 0;
    *node = value->last;
    return *last ? GM_OK : gm_onnx_node_of(s, value, node, err);
}

gm_status gm_onnx_add_unary(const gm_onnx_step *s, gm_unary function, double a, double b, int from,
                            int *node, gm_error *err)
{
    gm_unary_config config = {.function = function, .a = a, .b = b};
    return gm_onnx_add(s, &gm_layer_unary, &config, 1, &from, node, err);
}

gm_status gm_onnx_add_binary(const gm_onnx_step *s, gm_binary function, int x, int y, int *node,
                             gm_error *err)
{
    gm_binary_config config = {.function = function};
    int input[] = {x, y};
    return gm_onnx_add(s, &gm_layer_binary, &config, 2, input, node, err);
}

gm_status gm_onnx_add_term(const gm_onnx_step *s, int from, gm_onnx_value *value,
                           const gm_shape *shape, int *node, gm_error *err)
{
    int term;
    gm_status status = gm_onnx_node_as(s, value, shape, &term, err);
    return status == GM_OK ? gm_onnx_add_binary(s, GM_BINARY_ADD, from, term, node, err) : status;
}

/* ---- one operand ---- */

/* Puts a node of the input's shape that was made in that order. */
static void put_like(const gm_onnx_step *s, const gm_onnx_value *in, int node, bool last)
{
    gm_onnx_put(s, 0, in->tensor.rank, in->tensor.dim, last ? -1 : node, last ? node : -1);
}

static gm_status emit_activation(gm_onnx_step *s, gm_activation act, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    gm_activation_config config = {.act = act};
    int node;
    bool last;
    gm_status status = gm_onnx_any_order(s, in, &node, &last, err);
    if (status == GM_OK) {
        status = gm_onnx_add(s, &gm_layer_activation, &config, 1, &node, &node, err);
    }
    if (status == GM_OK) put_like(s, in, node, last);
    return status;
}

static gm_status emit_function(gm_onnx_step *s, gm_onnx_value *in, gm_unary function, double a,
                               double b, gm_error *err)
{
    int node;
    bool last;
    gm_status status = gm_onnx_any_order(s, in, &node, &last, err);
    if (status == GM_OK) status = gm_onnx_add_unary(s, function, a, b, node, &node, err);
    if (status == GM_OK) put_like(s, in, node, last);
    return status;
}

gm_status gm_onnx_emit_activation(gm_onnx_step *s, gm_error *err)
{
    static const struct {
        const char *name;
        gm_activation act;
    } known[] = {{"Relu", GM_ACT_RELU},
                 {"Sigmoid", GM_ACT_SIGMOID},
                 {"Tanh", GM_ACT_TANH},
                 {"Softplus", GM_ACT_SOFTPLUS}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, s->op->name) == 0) return emit_activation(s, known[i].act, err);
    }
    return gm_onnx_refuse(s, err, "not supported");
}

/* Functions with constants from attributes, or none. */
gm_status gm_onnx_emit_unary(gm_onnx_step *s, gm_error *err)
{
    static const struct {
        const char *name;
        gm_unary function;
        double alpha, beta; /* defaults of attributes; NaN: a constant of the table below */
        const char *a, *b;  /* which attributes they are, NULL: none */
    } known[] = {
        {"Abs", GM_UNARY_ABS, 0, 0, NULL, NULL},
        {"Cos", GM_UNARY_COS, 0, 0, NULL, NULL},
        {"Erf", GM_UNARY_ERF, 0, 0, NULL, NULL},
        {"Exp", GM_UNARY_EXP, 0, 0, NULL, NULL},
        {"Log", GM_UNARY_LOG, 0, 0, NULL, NULL},
        {"Neg", GM_UNARY_AFFINE, -1, 0, NULL, NULL},
        {"Reciprocal", GM_UNARY_RECIPROCAL, 0, 0, NULL, NULL},
        {"Sin", GM_UNARY_SIN, 0, 0, NULL, NULL},
        {"Softsign", GM_UNARY_SOFTSIGN, 0, 0, NULL, NULL},
        {"Sqrt", GM_UNARY_SQRT, 0, 0, NULL, NULL},
        {"HardSwish", GM_UNARY_HARD_SWISH, 0, 0, NULL, NULL},
        {"Celu", GM_UNARY_CELU, 1, 0, "alpha", NULL},
        {"Elu", GM_UNARY_ELU, 1, 1, "alpha", NULL},
        {"HardSigmoid", GM_UNARY_HARD_SIGMOID, (double)0.2f, 0.5, "alpha", "beta"},
        {"LeakyRelu", GM_UNARY_LEAKY, (double)0.01f, 0, "alpha", NULL},
        {"Selu", GM_UNARY_ELU, (double)1.67326319217681884765625f,
         (double)1.05070102214813232421875f, "alpha", "gamma"},
        {"ThresholdedRelu", GM_UNARY_THRESHOLD, 1, 0, "alpha", NULL},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, s->op->name) != 0) continue;
        double a = known[i].a ? gm_onnx_float(s, known[i].a, known[i].alpha) : known[i].alpha;
        double b = known[i].b ? gm_onnx_float(s, known[i].b, known[i].beta) : known[i].beta;
        return emit_function(s, gm_onnx_in(s, 0), known[i].function, a, b, err);
    }
    return gm_onnx_refuse(s, err, "not supported");
}

gm_status gm_onnx_emit_clip(gm_onnx_step *s, gm_error *err)
{
    double low, high;
    gm_status status = gm_onnx_scalar(s, 1, gm_onnx_float(s, "min", -(double)INFINITY), &low, err);
    if (status == GM_OK) {
        status = gm_onnx_scalar(s, 2, gm_onnx_float(s, "max", (double)INFINITY), &high, err);
    }
    if (status != GM_OK) return status;
    if (low <= -(double)FLT_MAX) low = -(double)INFINITY; /* the format's own words for none */
    if (high >= (double)FLT_MAX) high = (double)INFINITY;
    return emit_function(s, gm_onnx_in(s, 0), GM_UNARY_CLIP, low, high, err);
}

/* ---- two operands ---- */

bool gm_onnx_is_number(const gm_onnx_value *value, double *number)
{
    if (value->what != GM_ONNX_CONSTANT || value->tensor.count != 1) return false;
    *number =
        value->tensor.of == GM_ONNX_REAL ? value->tensor.real[0] : (double)value->tensor.whole[0];
    return true;
}

/* One number beside an activation that is at least of its rank: a function of one operand. */
static gm_status emit_with_number(gm_onnx_step *s, gm_binary f, gm_onnx_value *x, double c,
                                  bool first, gm_error *err)
{
    switch (f) {
    case GM_BINARY_ADD:
        return emit_function(s, x, GM_UNARY_AFFINE, 1.0, c, err);
    case GM_BINARY_SUB:
        return emit_function(s, x, GM_UNARY_AFFINE, first ? -1.0 : 1.0, first ? c : -c, err);
    case GM_BINARY_MUL:
        return emit_function(s, x, GM_UNARY_AFFINE, c, 0.0, err);
    case GM_BINARY_DIV:
        return emit_function(s, x, GM_UNARY_AFFINE, 1.0 / c, 0.0, err);
    case GM_BINARY_POW:
        return emit_function(s, x, GM_UNARY_POWER, c, 0.0, err);
    case GM_BINARY_MAX:
        return emit_function(s, x, GM_UNARY_CLIP, c, (double)INFINITY, err);
    default:
        return emit_function(s, x, GM_UNARY_CLIP, -(double)INFINITY, c, err);
    }
}

/* Sums of activations of one shape keep whichever order they have in common. */
static bool sum_of_alike(const gm_onnx_value *x, const gm_onnx_value *y)
{
    return x->what == GM_ONNX_ACTIVATION && y->what == GM_ONNX_ACTIVATION && x->last >= 0 &&
           y->last >= 0 && x->tensor.rank == y->tensor.rank &&
           memcmp(x->tensor.dim, y->tensor.dim, (size_t)x->tensor.rank * sizeof *x->tensor.dim) ==
               0;
}

/* out = f(x, y) of any values. */
static gm_status emit_pair(gm_onnx_step *s, gm_binary f, gm_onnx_value *x, gm_onnx_value *y,
                           gm_error *err)
{
    const unsigned char nothing = 0;
    gm_onnx_tensor joint = {0};
    double c;
    bool right = gm_onnx_is_number(y, &c) && x->tensor.rank >= y->tensor.rank;
    bool left = !right && gm_onnx_is_number(x, &c) && y->tensor.rank >= x->tensor.rank;
    if (right) return emit_with_number(s, f, x, c, false, err);
    if (left && f != GM_BINARY_POW && f != GM_BINARY_DIV) {
        return emit_with_number(s, f, y, c, true, err);
    }
    if (!gm_onnx_broadcast(&x->tensor, &y->tensor, &joint)) {
        return gm_onnx_refuse(s, err, "'%.60s' and '%.60s' do not broadcast", x->name, y->name);
    }
    int node[2], made = -1;
    if (f == GM_BINARY_ADD && sum_of_alike(x, y)) {
        node[0] = x->last;
        node[1] = y->last;
        gm_status added = gm_onnx_add(s, &gm_layer_add, &nothing, 2, node, &made, err);
        if (added == GM_OK) gm_onnx_put(s, 0, joint.rank, joint.dim, -1, made);
        return added;
    }
    gm_status status = gm_onnx_node_of(s, x, &node[0], err);
    if (status == GM_OK) status = gm_onnx_node_of(s, y, &node[1], err);
    if (status == GM_OK) status = gm_onnx_add_binary(s, f, node[0], node[1], &made, err);
    if (status == GM_OK) gm_onnx_put(s, 0, joint.rank, joint.dim, made, -1);
    return status;
}

static const struct {
    const char *name;
    gm_binary function;
} binaries[] = {{"Add", GM_BINARY_ADD},    {"Sub", GM_BINARY_SUB}, {"Mul", GM_BINARY_MUL},
                {"Div", GM_BINARY_DIV},    {"Pow", GM_BINARY_POW}, {"Max", GM_BINARY_MAX},
                {"Min", GM_BINARY_MIN},    {"Sum", GM_BINARY_ADD}, {"Mean", GM_BINARY_ADD},
                {"PRelu", GM_BINARY_PRELU}};

/* Of two operands, or of any number one after the other. */
gm_status gm_onnx_emit_binary(gm_onnx_step *s, gm_error *err)
{
    size_t which = 0, inputs = s->node->n_input;
    while (strcmp(binaries[which].name, s->op->name) != 0) {
        which++;
    }
    gm_onnx_value *x = gm_onnx_in(s, 0), *out = gm_onnx_out(s, 0);
    if (!out || !x) return gm_onnx_refuse(s, err, "an operand or its output is left out");
    if (inputs == 1) return gm_onnx_alias(s, x, x->tensor.rank, x->tensor.dim, err);
    gm_onnx_value so_far;
    for (size_t i = 1; i < inputs; i++) {
        gm_onnx_value *y = gm_onnx_in(s, i);
        if (!y) return gm_onnx_refuse(s, err, "operand %zu is left out", i);
        gm_status status = emit_pair(s, binaries[which].function, x, y, err);
        if (status != GM_OK) return status;
        so_far = *out;
        x = &so_far;
    }
    if (strcmp(s->op->name, "Mean") != 0) return GM_OK;
    return emit_function(s, x, GM_UNARY_AFFINE, 1.0 / (double)inputs, 0.0, err);
}

gm_status gm_onnx_emit_random(gm_onnx_step *s, gm_error *err)
{
    return gm_onnx_refuse(s, err, "it is random: two passes would not agree");
}
