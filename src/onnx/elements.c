/* Elementwise operators: they work on whichever order of the numbers is there. */
#include <math.h>
#include <string.h>

#include "onnx/operators.h"

/* The node to read for an elementwise layer, and whether it has the channels last. */
static gm_status any_order(const gm_onnx_step *s, gm_onnx_value *value, int *node, bool *last,
                           gm_error *err)
{
    *last = value->what == GM_ONNX_ACTIVATION && value->node < 0;
    *node = value->last;
    return *last ? GM_OK : gm_onnx_node_of(s, value, node, err);
}

static gm_status emit_elementwise(gm_onnx_step *s, gm_activation act, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    gm_activation_config config = {.act = act};
    int node;
    bool last;
    gm_status status = any_order(s, in, &node, &last, err);
    if (status == GM_OK) {
        status = gm_onnx_add(s, &gm_layer_activation, &config, 1, &node, &node, err);
    }
    if (status != GM_OK) return status;
    gm_onnx_put(s, 0, in->tensor.rank, in->tensor.dim, last ? -1 : node, last ? node : -1);
    return GM_OK;
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
        if (strcmp(known[i].name, s->op->name) == 0) return emit_elementwise(s, known[i].act, err);
    }
    return gm_onnx_refuse(s, err, "not supported");
}

gm_status gm_onnx_emit_leaky_relu(gm_onnx_step *s, gm_error *err)
{
    double alpha = gm_onnx_float(s, "alpha", 0.01);
    if (alpha != (double)0.01f && alpha != 0.01) {
        return gm_onnx_refuse(s, err, "alpha %g, expected 0.01", alpha);
    }
    return emit_elementwise(s, GM_ACT_LEAKY_RELU, err);
}

/* Sums of activations of one shape. */
gm_status gm_onnx_emit_add(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *first = gm_onnx_in(s, 0);
    int node[GM_MAX_INPUTS], inputs = 0;
    const unsigned char nothing = 0;
    bool last = true;
    if (s->node->n_input > GM_MAX_INPUTS) {
        return gm_onnx_refuse(s, err, "%zu inputs, at most %d", s->node->n_input, GM_MAX_INPUTS);
    }
    for (size_t i = 0; i < s->node->n_input; i++) {
        const gm_onnx_value *in = gm_onnx_in(s, i);
        if (!in || in->what != GM_ONNX_ACTIVATION || in->tensor.rank != first->tensor.rank ||
            memcmp(in->tensor.dim, first->tensor.dim, sizeof in->tensor.dim) != 0) {
            return gm_onnx_refuse(s, err, "input %zu is no activation of the shape of input 0", i);
        }
        last = last && in->last >= 0;
    }
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < s->node->n_input; i++) {
        gm_onnx_value *in = gm_onnx_in(s, i);
        if (last) {
            node[inputs++] = in->last;
        } else {
            status = gm_onnx_node_of(s, in, &node[inputs++], err);
        }
    }
    int made = -1;
    if (status == GM_OK) status = gm_onnx_add(s, &gm_layer_add, &nothing, inputs, node, &made, err);
    if (status != GM_OK) return status;
    gm_onnx_put(s, 0, first->tensor.rank, first->tensor.dim, last ? -1 : made, last ? made : -1);
    return GM_OK;
}

gm_status gm_onnx_emit_random(gm_onnx_step *s, gm_error *err)
{
    return gm_onnx_refuse(s, err, "it is random: two passes would not agree");
}
