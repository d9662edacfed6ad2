/* Dense layer: out = in W^T + b, W [out, in] row-major, then b [out].
 *
 *   value             a       = x W^T + b
 *   tangent           adot    = x Wdot^T + bdot + xdot W^T
 *   backward          dx     += s W                    dW += s^T x                 db += sum s
 *   tangent_backward  dxdot  += sdot W + s Wdot        dWdot += sdot^T x + s^T xdot  dbdot += sum
 * sdot
 *
 * The input is flattened: an image of any shape serves. */
#include "layers/layer.h"

#include <string.h>

static unsigned dense_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_OUTER | GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS | GM_TRAIT_NEEDS_IN |
           GM_TRAIT_NEEDS_SIGNAL;
}

static gm_status dense_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                             gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_dense_config *c = config;
    if (inputs != 1) {
        return gm_fail(err, GM_ERR_INPUT, "dense layer: %d inputs, expected 1", inputs);
    }
    size_t fan_in = gm_shape_size(in);
    if (fan_in == 0 || c->units == 0) {
        return gm_fail(err, GM_ERR_INPUT, "dense layer: width 0 or too large");
    }
    *out = (gm_shape){.rank = 1, .dim = {c->units}};
    tensor[0] = (gm_tensor){.name = "weight",
                            .shape = {.rank = 2, .dim = {c->units, fan_in}},
                            .fan_in = fan_in,
                            .fan_out = c->units};
    tensor[1] = (gm_tensor){.name = "bias", .shape = {.rank = 1, .dim = {c->units}}};
    *tensors = c->bias ? 2 : 1;
    return GM_OK;
}

/* Widths and the place of the bias in the layer's slice. */
typedef struct sizes {
    size_t n, in, out, weights;
    bool bias;
} sizes;

static sizes sizes_of(const gm_layer_call *c)
{
    const gm_dense_config *config = c->config;
    size_t in = gm_shape_size(&c->in_shape[0]);
    return (sizes){c->n, in, config->units, in * config->units, config->bias};
}

static const void *at(const gm_layer_call *c, const void *array, size_t index)
{
    return (const char *)array + index * c->k->size;
}

static void *at_out(const gm_layer_call *c, void *array, size_t index)
{
    return (char *)array + index * c->k->size;
}

static void dense_value(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    c->k->gemm(false, true, s.n, s.out, s.in, 1.0, c->in[0], s.in, c->param, s.in, 0.0, c->out,
               s.out);
    if (s.bias) c->k->add_bias(s.n, s.out, at(c, c->param, s.weights), c->out);
}

static void dense_tangent(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    if (c->tin[0]) {
        c->k->gemm(false, true, c->b * s.n, s.out, s.in, 1.0, c->tin[0], s.in, c->param, s.in, 0.0,
                   c->tout, s.out);
    } else if (!c->tparam) {
        memset(c->tout, 0, c->b * s.n * s.out * c->k->size);
    }
    if (!c->tparam) return;
    for (size_t j = 0; j < c->b; j++) {
        void *tout = at_out(c, c->tout, j * s.n * s.out);
        c->k->gemm(false, true, s.n, s.out, s.in, 1.0, c->in[0], s.in, c->tparam[j], s.in,
                   c->tin[0] ? 1.0 : 0.0, tout, s.out);
        if (s.bias) c->k->add_bias(s.n, s.out, at(c, c->tparam[j], s.weights), tout);
    }
}

/* din (+)= signal W and grad += signal^T in: common to backward and the first half of its tangent.
 */
static void push_back(const gm_layer_call *c, const sizes *s, const void *signal)
{
    if (c->din[0]) {
        c->k->gemm(false, false, c->b * s->n, s->in, s->out, 1.0, signal, s->out, c->param, s->in,
                   c->din_add[0] ? 1.0 : 0.0, c->din[0], s->in);
    }
    if (!c->grad) return;
    for (size_t j = 0; j < c->b; j++) {
        const void *sj = at(c, signal, j * s->n * s->out);
        c->k->gemm(true, false, s->out, s->in, s->n, 1.0, sj, s->out, c->in[0], s->in, 1.0,
                   c->grad[j], s->in);
        if (s->bias) c->k->column_sums(s->n, s->out, sj, at_out(c, c->grad[j], s->weights));
    }
}

static void dense_backward(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    push_back(c, &s, c->signal);
}

static void dense_tangent_backward(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    push_back(c, &s, c->tsignal);
    for (size_t j = 0; j < c->b; j++) {
        if (c->din[0] && c->tparam) {
            c->k->gemm(false, false, s.n, s.in, s.out, 1.0, c->signal, s.out, c->tparam[j], s.in,
                       1.0, at_out(c, c->din[0], j * s.n * s.in), s.in);
        }
        if (c->grad && c->tin[0]) {
            c->k->gemm(true, false, s.out, s.in, s.n, 1.0, c->signal, s.out,
                       at(c, c->tin[0], j * s.n * s.in), s.in, 1.0, c->grad[j], s.in);
        }
    }
}

const gm_layer_kind gm_layer_dense = {
    .name = "dense",
    .config_size = sizeof(gm_dense_config),
    .traits = dense_traits,
    .infer = dense_infer,
    .value = dense_value,
    .tangent = dense_tangent,
    .backward = dense_backward,
    .tangent_backward = dense_tangent_backward,
};
