/* Dense layer: out = in W^T + b, W [out, in] row-major or stored transposed, then b [out].
 *
 *   value             a       = x W^T + b
 *   tangent           adot    = x Wdot^T + bdot + xdot W^T
 *   backward          dx     += s W                    dW += s^T x                 db += sum s
 *   tangent_backward  dxdot  += sdot W + s Wdot        dWdot += sdot^T x + s^T xdot
 *                                                      dbdot += sum sdot
 *
 * The input is flattened: an image of any shape serves. By position, x has one row for each sample
 * and position, and a sample's gradient is a sum over its positions (theory section 1, "Where a
 * weight acts at several positions"). */
#include "layers/layer.h"

#include <string.h>

static unsigned dense_traits(const void *config)
{
    const gm_dense_config *c = config;
    unsigned outer = c->by_position || c->transposed ? 0 : GM_TRAIT_OUTER;
    return outer | GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS | GM_TRAIT_NEEDS_IN |
           GM_TRAIT_NEEDS_SIGNAL;
}

static size_t width_of(const gm_dense_config *c, const gm_shape *in)
{
    return c->by_position ? in->dim[in->rank - 1] : gm_shape_size(in);
}

static gm_status dense_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                             gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_dense_config *c = config;
    if (inputs != 1) {
        return gm_fail(err, GM_ERR_INPUT, "dense layer: %d inputs, expected 1", inputs);
    }
    size_t fan_in = in->rank > 0 ? width_of(c, in) : 0;
    if (fan_in == 0 || c->units == 0) {
        return gm_fail(err, GM_ERR_INPUT, "dense layer: width 0 or too large");
    }
    *out = (gm_shape){.rank = 1, .dim = {c->units}};
    if (c->by_position) {
        *out = *in;
        out->dim[in->rank - 1] = c->units;
    }
    gm_shape weight = {.rank = 2, .dim = {c->units, fan_in}};
    if (c->transposed) weight = (gm_shape){.rank = 2, .dim = {fan_in, c->units}};
    tensor[0] =
        (gm_tensor){.name = "weight", .shape = weight, .fan_in = fan_in, .fan_out = c->units};
    tensor[1] = (gm_tensor){.name = "bias", .shape = {.rank = 1, .dim = {c->units}}};
    *tensors = c->bias ? 2 : 1;
    return GM_OK;
}

/* Rows and widths, how the weight is stored, and the place of the bias in the layer's slice. */
typedef struct sizes {
    size_t n; /* samples times positions */
    size_t in, out, weights;
    size_t columns; /* of the weight as stored */
    bool bias, transposed;
} sizes;

static sizes sizes_of(const gm_layer_call *c)
{
    const gm_dense_config *config = c->config;
    size_t in = width_of(config, &c->in_shape[0]);
    return (sizes){.n = c->n * (gm_shape_size(&c->in_shape[0]) / in),
                   .in = in,
                   .out = config->units,
                   .weights = in * config->units,
                   .columns = config->transposed ? config->units : in,
                   .bias = config->bias,
                   .transposed = config->transposed};
}

static const void *at(const gm_layer_call *c, const void *array, size_t index)
{
    return (const char *)array + index * c->k->size;
}

static void *at_out(const gm_layer_call *c, void *array, size_t index)
{
    return (char *)array + index * c->k->size;
}

/* out [rows, out] (+)= x W^T */
static void forward(const gm_layer_call *c, const sizes *s, size_t rows, const void *x,
                    const void *weight, bool add, void *out)
{
    c->k->gemm(false, !s->transposed, rows, s->out, s->in, 1.0, x, s->in, weight, s->columns,
               add ? 1.0 : 0.0, out, s->out);
}

/* din [rows, in] (+)= signal W */
static void to_input(const gm_layer_call *c, const sizes *s, size_t rows, const void *signal,
                     const void *weight, bool add, void *din)
{
    c->k->gemm(false, s->transposed, rows, s->in, s->out, 1.0, signal, s->out, weight, s->columns,
               add ? 1.0 : 0.0, din, s->in);
}

/* grad += signal^T x, as the weight is stored */
static void to_weight(const gm_layer_call *c, const sizes *s, const void *signal, const void *x,
                      void *grad)
{
    if (s->transposed) {
        c->k->gemm(true, false, s->in, s->out, s->n, 1.0, x, s->in, signal, s->out, 1.0, grad,
                   s->out);
    } else {
        c->k->gemm(true, false, s->out, s->in, s->n, 1.0, signal, s->out, x, s->in, 1.0, grad,
                   s->in);
    }
}

static void dense_value(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    forward(c, &s, s.n, c->in[0], c->param, false, c->out);
    if (s.bias) c->k->add_bias(s.n, s.out, at(c, c->param, s.weights), c->out);
}

static void dense_tangent(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    if (c->tin[0]) {
        forward(c, &s, c->b * s.n, c->tin[0], c->param, false, c->tout);
    } else if (!c->tparam) {
        memset(c->tout, 0, c->b * s.n * s.out * c->k->size);
    }
    if (!c->tparam) return;
    for (size_t j = 0; j < c->b; j++) {
        void *tout = at_out(c, c->tout, j * s.n * s.out);
        forward(c, &s, s.n, c->in[0], c->tparam[j], c->tin[0] != NULL, tout);
        if (s.bias) c->k->add_bias(s.n, s.out, at(c, c->tparam[j], s.weights), tout);
    }
}

/* din (+)= signal W and grad += signal^T in: common to backward and the first half of its tangent.
 */
static void push_back(const gm_layer_call *c, const sizes *s, const void *signal)
{
    if (c->din[0]) to_input(c, s, c->b * s->n, signal, c->param, c->din_add[0], c->din[0]);
    if (!c->grad) return;
    for (size_t j = 0; j < c->b; j++) {
        const void *sj = at(c, signal, j * s->n * s->out);
        to_weight(c, s, sj, c->in[0], c->grad[j]);
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
            to_input(c, &s, s.n, c->signal, c->tparam[j], true,
                     at_out(c, c->din[0], j * s.n * s.in));
        }
        if (c->grad && c->tin[0]) {
            to_weight(c, &s, c->signal, at(c, c->tin[0], j * s.n * s.in), c->grad[j]);
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
