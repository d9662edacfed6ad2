/* A function of two inputs, number by number, each repeated along the axes that it lacks.
 *
 *   value             a      = f(x, y)
 *   tangent           adot   = f_x xdot + f_y ydot
 *   backward          dx    += f_x s                                         dy likewise
 *   tangent_backward  dxdot += f_x sdot + (f_xx xdot + f_xy ydot) s          dydot likewise
 *
 * dx and dy are summed over the axes along which x or y is repeated. */
#include "layers/layer.h"

#include <stdio.h>

static gm_binary function_of(const void *config)
{
    return ((const gm_binary_config *)config)->function;
}

static unsigned binary_traits(const void *config)
{
    switch (function_of(config)) {
    case GM_BINARY_ADD:
    case GM_BINARY_SUB:
        return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
    case GM_BINARY_MAX:
    case GM_BINARY_MIN:
    case GM_BINARY_KEEP:
        return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS | GM_TRAIT_NEEDS_IN;
    case GM_BINARY_EQUAL:
    case GM_BINARY_LESS:
    case GM_BINARY_LESS_EQUAL:
        return GM_TRAIT_PIECEWISE;
    case GM_BINARY_MUL:
    case GM_BINARY_PRELU:
        return GM_TRAIT_BILINEAR | GM_TRAIT_NEEDS_IN | GM_TRAIT_NEEDS_SIGNAL;
    default:
        return GM_TRAIT_NEEDS_IN | GM_TRAIT_NEEDS_SIGNAL;
    }
}

/* "[2, 3, 4]" in text. */
static void shape_text(const gm_shape *shape, size_t length, char *text)
{
    int at = snprintf(text, length, "[");
    for (int a = 0; a < shape->rank && at < (int)length; a++) {
        at += snprintf(text + at, length - (size_t)at, "%s%zu", a ? ", " : "", shape->dim[a]);
    }
    if (at < (int)length) snprintf(text + at, length - (size_t)at, "]");
}

static gm_status binary_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                              gm_tensor *tensor, int *tensors, gm_error *err)
{
    (void)config;
    (void)tensor;
    *tensors = 0;
    if (inputs != 2) return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 2", inputs);
    if (gm_broadcast_shape(&in[0], &in[1], out)) return GM_OK;
    char x[160], y[160];
    shape_text(&in[0], sizeof x, x);
    shape_text(&in[1], sizeof y, y);
    return gm_fail(err, GM_ERR_INPUT,
                   "inputs of shapes %s and %s, expected axes that are equal or 1, from the last "
                   "one on",
                   x, y);
}

static gm_broadcast geometry(const gm_layer_call *c)
{
    gm_broadcast g;
    gm_broadcast_make(c->out_shape, &c->in_shape[0], &c->in_shape[1], &g);
    return g;
}

static void binary_value(const gm_layer_call *c)
{
    gm_broadcast g = geometry(c);
    c->k->binary_value(function_of(c->config), &g, c->n, c->in[0], c->in[1], c->out);
}

static void binary_tangent(const gm_layer_call *c)
{
    gm_broadcast g = geometry(c);
    c->k->binary_tangent(function_of(c->config), &g, c->n, c->b, c->in[0], c->in[1], c->tin[0],
                         c->tin[1], c->tout);
}

static void push_back(const gm_layer_call *c, const gm_broadcast *g, int w, const void *signal)
{
    c->k->binary_backward(function_of(c->config), g, w, c->n, c->b, c->in[0], c->in[1], signal,
                          c->din_add[w], c->din[w]);
}

static void binary_backward(const gm_layer_call *c)
{
    gm_broadcast g = geometry(c);
    for (int w = 0; w < 2; w++) {
        if (c->din[w]) push_back(c, &g, w, c->signal);
    }
}

static void binary_tangent_backward(const gm_layer_call *c)
{
    gm_broadcast g = geometry(c);
    gm_binary f = function_of(c->config);
    for (int w = 0; w < 2; w++) {
        if (!c->din[w]) continue;
        push_back(c, &g, w, c->tsignal);
        bool moves =
            (c->tin[0] && gm_binary_bends(f, w, 0)) || (c->tin[1] && gm_binary_bends(f, w, 1));
        if (!moves) continue;
        c->k->binary_bend(f, &g, w, c->n, c->b, c->in[0], c->in[1], c->tin[0], c->tin[1], c->signal,
                          c->din[w]);
    }
}

const gm_layer_kind gm_layer_binary = {
    .name = "binary",
    .config_size = sizeof(gm_binary_config),
    .traits = binary_traits,
    .infer = binary_infer,
    .value = binary_value,
    .tangent = binary_tangent,
    .backward = binary_backward,
    .tangent_backward = binary_tangent_backward,
};
