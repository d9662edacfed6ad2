/* Conditions and what they pick: numbers that are 1 or 0 and do not move with the parameters. One
 * that depends on the sample, through activations too, is taken as it is at the point: where it
 * switches the loss has a kink or a jump, as at 0 of a relu. */
#include <string.h>

#include "onnx/operators.h"

/* The output is this node, of that class and shape. */
static void put_condition(const gm_onnx_step *s, const gm_onnx_tensor *shape, int node)
{
    gm_onnx_put(s, 0, shape->rank, shape->dim, node, -1);
    gm_onnx_value *out = gm_onnx_out(s, 0);
    if (out) out->tensor.of = GM_ONNX_TRUTH;
}

/* *node = f of the first two inputs, of the shape *joint. */
static gm_status compare(const gm_onnx_step *s, gm_binary f, bool swapped, gm_onnx_tensor *joint,
                         int *node, gm_error *err)
{
    gm_onnx_value *in[2] = {gm_onnx_in(s, 0), gm_onnx_in(s, 1)};
    int operand[2] = {-1, -1};
    if (!gm_onnx_broadcast(&in[0]->tensor, &in[1]->tensor, joint)) {
        return gm_onnx_refuse(s, err, "'%.60s' and '%.60s' do not broadcast", in[0]->name,
                              in[1]->name);
    }
    gm_status status = GM_OK;
    for (int i = 0; status == GM_OK && i < 2; i++) {
        status = gm_onnx_node_of(s, in[i], &operand[i], err);
    }
    if (status != GM_OK) return status;
    return gm_onnx_add_binary(s, f, operand[swapped], operand[!swapped], node, err);
}

gm_status gm_onnx_emit_comparison(gm_onnx_step *s, gm_error *err)
{
    static const struct {
        const char *name;
        gm_binary function;
        bool swapped;
    } known[] = {{"Equal", GM_BINARY_EQUAL, false},
                 {"Less", GM_BINARY_LESS, false},
                 {"LessOrEqual", GM_BINARY_LESS_EQUAL, false},
                 {"Greater", GM_BINARY_LESS, true},
                 {"GreaterOrEqual", GM_BINARY_LESS_EQUAL, true}};
    gm_onnx_tensor joint = {0};
    size_t which = 0;
    int node = -1;
    while (strcmp(known[which].name, s->op->name) != 0) {
        which++;
    }
    gm_status status = compare(s, known[which].function, known[which].swapped, &joint, &node, err);
    if (status == GM_OK) put_condition(s, &joint, node);
    return status;
}

/* *node = 1 - *node */
static gm_status negate(const gm_onnx_step *s, int *node, gm_error *err)
{
    return gm_onnx_add_unary(s, GM_UNARY_AFFINE, -1.0, 1.0, *node, node, err);
}

/* Of numbers that are 1 or 0: x and y is y ? x : 0, x or y the larger one. */
gm_status gm_onnx_emit_truth(gm_onnx_step *s, gm_error *err)
{
    const char *name = s->op->name;
    gm_onnx_tensor joint = gm_onnx_in(s, 0)->tensor;
    int node = -1;
    gm_status status;
    for (size_t i = 0; i < s->node->n_input; i++) {
        if (gm_onnx_in(s, i)->tensor.of == GM_ONNX_TRUTH) continue;
        return gm_onnx_refuse(s, err, "input %zu is not made of booleans", i);
    }
    if (strcmp(name, "Not") == 0) {
        status = gm_onnx_node_of(s, gm_onnx_in(s, 0), &node, err);
        if (status == GM_OK) status = negate(s, &node, err);
    } else if (strcmp(name, "Xor") == 0) {
        status = compare(s, GM_BINARY_EQUAL, false, &joint, &node, err);
        if (status == GM_OK) status = negate(s, &node, err);
    } else {
        bool both = strcmp(name, "And") == 0;
        status = compare(s, both ? GM_BINARY_KEEP : GM_BINARY_MAX, false, &joint, &node, err);
    }
    if (status == GM_OK) put_condition(s, &joint, node);
    return status;
}

/* x != 0 ? 1 : 0 */
gm_status gm_onnx_emit_nonzero(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    double number = 1.0;
    gm_onnx_value one = {.name = "1",
                         .what = GM_ONNX_CONSTANT,
                         .tensor = {.of = GM_ONNX_REAL, .count = 1, .real = &number},
                         .node = -1,
                         .last = -1};
    int node = -1, ones = -1;
    gm_status status = gm_onnx_node_of(s, in, &node, err);
    if (status == GM_OK) status = gm_onnx_node_of(s, &one, &ones, err);
    if (status == GM_OK) status = gm_onnx_add_binary(s, GM_BINARY_KEEP, ones, node, &node, err);
    if (status == GM_OK) put_condition(s, &in->tensor, node);
    return status;
}

/* ---- where ---- */

/* *node = 1 where the condition holds, or where it does not: of a constant, or of a node. */
static gm_status condition_node(const gm_onnx_step *s, gm_onnx_value *condition, bool wanted,
                                int *node, gm_error *err)
{
    const gm_onnx_tensor *from = &condition->tensor;
    if (condition->what != GM_ONNX_CONSTANT) {
        gm_status status = gm_onnx_node_of(s, condition, node, err);
        return status == GM_OK && !wanted ? negate(s, node, err) : status;
    }
    gm_onnx_tensor mask;
    gm_status status = gm_onnx_tensor_make(GM_ONNX_TRUTH, from->rank, from->dim, &mask, err);
    for (size_t i = 0; status == GM_OK && i < mask.count; i++) {
        mask.whole[i] = (from->whole[i] != 0) == wanted;
    }
    gm_onnx_value value = {.what = GM_ONNX_CONSTANT, .tensor = mask, .node = -1, .last = -1};
    value.name = condition->name;
    if (status == GM_OK) status = gm_onnx_node_of(s, &value, node, err);
    gm_onnx_tensor_free(&mask);
    return status;
}

/* *node = in where the condition holds (or does not), else 0. */
static gm_status keep_where(const gm_onnx_step *s, gm_onnx_value *in, gm_onnx_value *condition,
                            bool wanted, int *node, gm_error *err)
{
    int kept = -1, from = -1;
    gm_status status = condition_node(s, condition, wanted, &kept, err);
    if (status == GM_OK) status = gm_onnx_node_of(s, in, &from, err);
    return status == GM_OK ? gm_onnx_add_binary(s, GM_BINARY_KEEP, from, kept, node, err) : status;
}

/* a where the condition holds, plus b where it does not. */
static gm_status pick(const gm_onnx_step *s, int *node, gm_error *err)
{
    gm_onnx_value *condition = gm_onnx_in(s, 0), *a = gm_onnx_in(s, 1), *b = gm_onnx_in(s, 2);
    double c;
    int other = -1;
    gm_status status = keep_where(s, a, condition, true, node, err);
    if (status != GM_OK || (gm_onnx_is_number(b, &c) && c == 0.0)) return status;
    status = keep_where(s, b, condition, false, &other, err);
    return status == GM_OK ? gm_onnx_add_binary(s, GM_BINARY_ADD, *node, other, node, err) : status;
}

gm_status gm_onnx_emit_where(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_value *which = gm_onnx_in(s, 0);
    const gm_onnx_tensor *condition = &which->tensor, *a = &gm_onnx_in(s, 1)->tensor,
                         *b = &gm_onnx_in(s, 2)->tensor;
    gm_onnx_tensor pair = {0}, joint = {0};
    gm_expand_config whole;
    int node = -1;
    bool known = which->what == GM_ONNX_CONSTANT && condition->of == GM_ONNX_WHOLE;
    if (condition->of != GM_ONNX_TRUTH && !known) {
        return gm_onnx_refuse(s, err, "its condition '%.100s' is not made of booleans",
                              which->name);
    }
    if (!gm_onnx_broadcast(a, b, &pair) || !gm_onnx_broadcast(&pair, condition, &joint)) {
        return gm_onnx_refuse(s, err, "its inputs do not broadcast");
    }
    gm_status status = pick(s, &node, err);
    if (status == GM_OK) status = gm_onnx_shape_of(s, &joint, &whole.shape, err);
    if (status == GM_OK && gm_shape_size(&s->g->net->node[node].shape) != joint.count) {
        status = gm_onnx_add(s, &gm_layer_expand, &whole, 1, &node, &node, err);
    }
    if (status != GM_OK) return status;
    gm_onnx_put(s, 0, joint.rank, joint.dim, node, -1);
    if (gm_onnx_out(s, 0) && a->of == b->of) gm_onnx_out(s, 0)->tensor.of = a->of;
    return GM_OK;
}
