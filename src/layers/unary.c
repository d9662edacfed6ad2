/* An elementwise function of one input, out = f(in).
 *
 *   value             a      = f(x)
 *   tangent           adot   = f'(x) xdot
 *   backward          dx    += f'(x) s
 *   tangent_backward  dxdot += f'(x) sdot + f''(x) xdot s
 *
 * (The activations that nets are built from have a kind of their own, activation.c.) */
#include "layers/layer.h"

#include <math.h>

static unsigned unary_traits(const void *config)
{
    const gm_unary_config *c = config;
    unsigned reads = gm_unary_reads_out(c->function) ? GM_TRAIT_NEEDS_OUT : GM_TRAIT_NEEDS_IN;
    bool low = c->a == 0.0 || c->a == -(double)INFINITY, high = c->b == (double)INFINITY;
    switch (c->function) {
    case GM_UNARY_AFFINE:
        return GM_TRAIT_PIECEWISE | GM_TRAIT_INPLACE | (c->b == 0.0 ? GM_TRAIT_HOMOGENEOUS : 0u);
    case GM_UNARY_CLIP:
        return GM_TRAIT_PIECEWISE | GM_TRAIT_INPLACE | reads |
               (low && (high || c->b == 0.0) ? GM_TRAIT_HOMOGENEOUS : 0u);
    case GM_UNARY_HARD_SIGMOID:
        return GM_TRAIT_PIECEWISE | GM_TRAIT_INPLACE | reads;
    case GM_UNARY_THRESHOLD:
        return GM_TRAIT_PIECEWISE | reads | (c->a == 0.0 ? GM_TRAIT_HOMOGENEOUS : 0u);
    case GM_UNARY_ABS:
    case GM_UNARY_LEAKY:
        return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS | reads;
    default:
        return reads | GM_TRAIT_NEEDS_SIGNAL;
    }
}

static gm_status unary_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                             gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_unary_config *c = config;
    (void)tensor;
    *tensors = 0;
    if (inputs != 1) return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 1", inputs);
    if (isnan(c->a) || isnan(c->b)) {
        return gm_fail(err, GM_ERR_INPUT, "constants %g and %g, expected numbers", c->a, c->b);
    }
    if (c->function == GM_UNARY_CLIP && c->a > c->b) {
        return gm_fail(err, GM_ERR_INPUT, "a clip between %g and %g, expected the lower end first",
                       c->a, c->b);
    }
    if (c->function == GM_UNARY_CELU && c->a == 0.0) {
        return gm_fail(err, GM_ERR_INPUT, "celu with alpha 0, expected another number");
    }
    *out = in[0];
    return GM_OK;
}

static void unary_value(const gm_layer_call *c)
{
    c->k->unary_value(c->config, c->n * gm_shape_size(c->out_shape), c->in[0], c->out);
}

/* out (+)= f' u + f'' xdot s for the b directions. */
static void apply(const gm_layer_call *c, const void *u, const void *xdot, const void *s, bool add,
                  void *out)
{
    const gm_unary_config *config = c->config;
    const void *point = gm_unary_reads_out(config->function) ? c->out : c->in[0];
    if (config->function == GM_UNARY_AFFINE) point = NULL;
    if (unary_traits(config) & GM_TRAIT_PIECEWISE) xdot = NULL;
    c->k->unary_backward(config, c->n * gm_shape_size(c->out_shape), c->b, point, u, xdot, s, add,
                         out);
}

static void unary_tangent(const gm_layer_call *c)
{
    apply(c, c->tin[0], NULL, NULL, false, c->tout);
}

static void unary_backward(const gm_layer_call *c)
{
    if (c->din[0]) apply(c, c->signal, NULL, NULL, c->din_add[0], c->din[0]);
}

static void unary_tangent_backward(const gm_layer_call *c)
{
    if (c->din[0]) apply(c, c->tsignal, c->tin[0], c->signal, c->din_add[0], c->din[0]);
}

const gm_layer_kind gm_layer_unary = {
    .name = "unary",
    .config_size = sizeof(gm_unary_config),
    .traits = unary_traits,
    .infer = unary_infer,
    .value = unary_value,
    .tangent = unary_tangent,
    .backward = unary_backward,
    .tangent_backward = unary_tangent_backward,
};
