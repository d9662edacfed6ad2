/* Convolution: out = in * W + b, W [out, in / groups, kh, kw], then b [out].
 *
 * It is linear in the input and in W, like a dense layer whose weights act at every position
 * (theory section 1, "Where a weight acts at several positions"); with * for the convolution and
 * its two adjoints named by what they return: value             a       = x * W + b tangent adot =
 * x * Wdot + bdot + xdot * W backward          dx     += data(s, W)             dW += weight(x, s)
 * db += sum s tangent_backward  dxdot  += data(sdot, W) + data(s, Wdot) dWdot  += weight(x, sdot) +
 * weight(xdot, s)               dbdot += sum sdot */
#include "layers/layer.h"

#include <string.h>

static unsigned conv_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS | GM_TRAIT_NEEDS_IN | GM_TRAIT_NEEDS_SIGNAL;
}

static gm_status conv_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                            gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_conv_config *c = config;
    gm_window w;
    if (inputs != 1) return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 1", inputs);
    if (c->out_channels == 0 || c->groups == 0) {
        return gm_fail(err, GM_ERR_INPUT, "output channels and groups of 1 or more expected");
    }
    gm_status status = gm_window_over(&c->window, in, c->out_channels, &w, out, err);
    if (status != GM_OK) return status;
    if (w.channels % c->groups || c->out_channels % c->groups) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%zu groups, expected a divisor of %zu input and %zu output channels",
                       c->groups, w.channels, c->out_channels);
    }
    size_t cg = w.channels / c->groups, taps = w.kernel[0] * w.kernel[1];
    gm_shape weight = {.rank = 4, .dim = {c->out_channels, cg, w.kernel[0], w.kernel[1]}};
    if (in->rank == 2) weight = (gm_shape){.rank = 3, .dim = {c->out_channels, cg, w.kernel[1]}};
    tensor[0] = (gm_tensor){.name = "weight",
                            .shape = weight,
                            .fan_in = cg * taps,
                            .fan_out = c->out_channels / c->groups * taps};
    tensor[1] = (gm_tensor){.name = "bias", .shape = {.rank = 1, .dim = {c->out_channels}}};
    *tensors = c->bias ? 2 : 1;
    return GM_OK;
}

static gm_conv geometry(const void *config, const gm_shape *in)
{
    const gm_conv_config *c = config;
    gm_conv g = {.out_channels = c->out_channels, .groups = c->groups};
    gm_shape out;
    gm_window_over(&c->window, in, c->out_channels, &g.window, &out, NULL);
    return g;
}

static size_t conv_scratch(const gm_kernels *k, const void *config, const gm_shape *in, size_t n,
                           size_t b)
{
    gm_conv g = geometry(config, in);
    return k->conv_scratch(&g, n * b);
}

/* Everything a call needs: the geometry and the strides between directions. */
typedef struct sizes {
    gm_conv g;
    size_t n, in, out, weights;
    bool bias;
} sizes;

static sizes sizes_of(const gm_layer_call *c)
{
    const gm_conv_config *config = c->config;
    sizes s = {.g = geometry(config, &c->in_shape[0]), .n = c->n, .bias = config->bias};
    const gm_window *w = &s.g.window;
    s.in = gm_shape_size(&c->in_shape[0]);
    s.out = gm_shape_size(c->out_shape);
    s.weights = s.g.out_channels * (w->channels / s.g.groups) * w->kernel[0] * w->kernel[1];
    return s;
}

static const void *at(const gm_layer_call *c, const void *array, size_t index)
{
    return (const char *)array + index * c->k->size;
}

static void *at_out(const gm_layer_call *c, void *array, size_t index)
{
    return (char *)array + index * c->k->size;
}

static const void *bias_of(const gm_layer_call *c, const sizes *s, const void *param)
{
    return s->bias ? at(c, param, s->weights) : NULL;
}

static void conv_value(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    c->k->conv_forward(&s.g, s.n, c->in[0], c->param, bias_of(c, &s, c->param), false, c->out,
                       c->scratch);
}

static void conv_tangent(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    if (c->tin[0]) {
        c->k->conv_forward(&s.g, c->b * s.n, c->tin[0], c->param, NULL, false, c->tout, c->scratch);
    } else if (!c->tparam) {
        memset(c->tout, 0, c->b * s.n * s.out * c->k->size);
    }
    for (size_t j = 0; c->tparam && j < c->b; j++) {
        c->k->conv_forward(&s.g, s.n, c->in[0], c->tparam[j], bias_of(c, &s, c->tparam[j]),
                           c->tin[0] != NULL, at_out(c, c->tout, j * s.n * s.out), c->scratch);
    }
}

/* din (+)= data(signal, W) and grad += weight(in, signal): common to backward and the first half of
 * its tangent. */
static void push_back(const gm_layer_call *c, const sizes *s, const void *signal)
{
    const gm_window *w = &s->g.window;
    if (c->din[0]) {
        c->k->conv_backward_data(&s->g, c->b * s->n, signal, c->param, c->din_add[0], c->din[0],
                                 c->scratch);
    }
    for (size_t j = 0; c->grad && j < c->b; j++) {
        const void *sj = at(c, signal, j * s->n * s->out);
        c->k->conv_backward_weight(&s->g, s->n, c->in[0], sj, c->grad[j], c->scratch);
        if (!s->bias) continue;
        size_t positions = w->out[0] * w->out[1];
        c->k->channel_sums(w->channels_last ? s->n * positions : s->n, s->g.out_channels,
                           w->channels_last ? 1 : positions, sj, at_out(c, c->grad[j], s->weights));
    }
}

static void conv_backward(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    push_back(c, &s, c->signal);
}

static void conv_tangent_backward(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    push_back(c, &s, c->tsignal);
    for (size_t j = 0; j < c->b; j++) {
        if (c->din[0] && c->tparam) {
            c->k->conv_backward_data(&s.g, s.n, c->signal, c->tparam[j], true,
                                     at_out(c, c->din[0], j * s.n * s.in), c->scratch);
        }
        if (c->grad && c->tin[0]) {
            c->k->conv_backward_weight(&s.g, s.n, at(c, c->tin[0], j * s.n * s.in), c->signal,
                                       c->grad[j], c->scratch);
        }
    }
}

const gm_layer_kind gm_layer_conv = {
    .name = "conv",
    .config_size = sizeof(gm_conv_config),
    .traits = conv_traits,
    .infer = conv_infer,
    .scratch = conv_scratch,
    .value = conv_value,
    .tangent = conv_tangent,
    .backward = conv_backward,
    .tangent_backward = conv_tangent_backward,
};
