/* Elementwise activation: out = phi(in).
 *
 *   value             a      = phi(z)
 *   tangent           adot   = phi'(z) zdot
 *   backward          dz    += phi'(z) s
 *   tangent_backward  dzdot += phi'(z) sdot + phi''(z) zdot s
 *
 * Derivatives at a kink are formal: phi'(0) = 0 for relu, the slope for leaky_relu (theory section
 * 1). */
#include "layers/layer.h"

static gm_activation act_of(const void *config)
{
    return ((const gm_activation_config *)config)->act;
}

static unsigned activation_traits(const void *config)
{
    switch (act_of(config)) {
    case GM_ACT_IDENTITY:
        return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS | GM_TRAIT_INPLACE;
    case GM_ACT_RELU:
    case GM_ACT_LEAKY_RELU:
        return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS | GM_TRAIT_NEEDS_OUT | GM_TRAIT_INPLACE;
    case GM_ACT_TANH:
    case GM_ACT_SIGMOID:
        return GM_TRAIT_NEEDS_OUT | GM_TRAIT_NEEDS_SIGNAL;
    case GM_ACT_SOFTPLUS:
    case GM_ACT_GELU:
        return GM_TRAIT_NEEDS_IN | GM_TRAIT_NEEDS_SIGNAL;
    }
    return GM_TRAIT_NEEDS_IN | GM_TRAIT_NEEDS_OUT | GM_TRAIT_NEEDS_SIGNAL;
}

static gm_status activation_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                                  gm_tensor *tensor, int *tensors, gm_error *err)
{
    (void)tensor;
    if (inputs != 1) {
        return gm_fail(err, GM_ERR_INPUT, "%s: %d inputs, expected 1",
                       gm_activation_name(act_of(config)), inputs);
    }
    *out = in[0];
    *tensors = 0;
    return GM_OK;
}

static size_t elements(const gm_layer_call *c)
{
    return c->n * gm_shape_size(c->out_shape);
}

static void activation_value(const gm_layer_call *c)
{
    c->k->act_value(act_of(c->config), elements(c), c->in[0], c->out);
}

/* out[j] (+)= phi' * u[j] for the b blocks of u. */
static void times_slope(const gm_layer_call *c, const void *u, bool add, void *out)
{
    size_t size = elements(c);
    for (size_t j = 0; j < c->b; j++) {
        size_t shift = j * size * c->k->size;
        c->k->act_slope(act_of(c->config), size, c->in[0], c->out, (const char *)u + shift, add,
                        (char *)out + shift);
    }
}

static void activation_tangent(const gm_layer_call *c)
{
    times_slope(c, c->tin[0], false, c->tout);
}

static void activation_backward(const gm_layer_call *c)
{
    if (c->din[0]) times_slope(c, c->signal, c->din_add[0], c->din[0]);
}

static void activation_tangent_backward(const gm_layer_call *c)
{
    if (!c->din[0]) return;
    gm_activation act = act_of(c->config);
    bool straight = (activation_traits(c->config) & GM_TRAIT_PIECEWISE) || !c->tin[0] || !c->signal;
    if (straight) {
        times_slope(c, c->tsignal, c->din_add[0], c->din[0]);
        return;
    }
    size_t size = elements(c);
    for (size_t j = 0; j < c->b; j++) {
        size_t shift = j * size * c->k->size;
        c->k->act_curve(act, size, c->in[0], c->out, (const char *)c->tsignal + shift,
                        (const char *)c->tin[0] + shift, c->signal, c->din_add[0],
                        (char *)c->din[0] + shift);
    }
}

const gm_layer_kind gm_layer_activation = {
    .name = "activation",
    .config_size = sizeof(gm_activation_config),
    .traits = activation_traits,
    .infer = activation_infer,
    .value = activation_value,
    .tangent = activation_tangent,
    .backward = activation_backward,
    .tangent_backward = activation_tangent_backward,
};
