/* Batch normalization in inference mode: a scale and a shift for each channel, after running
 * statistics that are constants of the net.
 *
 * With r = 1 / sqrt(variance + epsilon) and x' = (x - mean) r, for each channel
 *   value             a       = g x' + h
 *   tangent           adot    = g r xdot + gdot x' + hdot
 *   backward          dx     += g r s                       dg += sum s x'        dh += sum s
 *   tangent_backward  dxdot  += g r sdot + gdot r s         dgdot += sum sdot x' + sum s r xdot
 *                     dhdot  += sum sdot
 * Parameters: scale g [C], then shift h [C]. Training mode is left out on purpose: there a sample's
 * loss depends on the others of its batch, and per-sample gradients do not exist. */
#include "layers/layer.h"

#include <math.h>
#include <string.h>

static unsigned norm_traits(const void *config)
{
    /* A running mean shifts the input by a constant that no factor of the parameters follows. */
    const gm_norm_config *c = config;
    unsigned homogeneous = c->mean ? 0u : GM_TRAIT_HOMOGENEOUS;
    return homogeneous | GM_TRAIT_PIECEWISE | GM_TRAIT_NEEDS_IN | GM_TRAIT_NEEDS_SIGNAL;
}

static size_t channels_of(const gm_norm_config *c, const gm_shape *in)
{
    return in->dim[c->channels_last ? in->rank - 1 : 0];
}

static gm_status norm_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                            gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_norm_config *c = config;
    if (inputs != 1 || in->rank < 1) {
        return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 1", inputs);
    }
    size_t channels = channels_of(c, in);
    for (size_t i = 0; c->variance && i < channels; i++) {
        if (c->variance[i] + c->epsilon > 0.0) continue;
        return gm_fail(err, GM_ERR_INPUT, "running variance %g of channel %zu, expected above 0",
                       c->variance[i], i);
    }
    *out = *in;
    tensor[0] = (gm_tensor){.name = "scale",
                            .shape = {.rank = 1, .dim = {channels}},
                            .start = c->start,
                            .scales = true};
    tensor[1] = (gm_tensor){.name = "shift", .shape = {.rank = 1, .dim = {channels}}};
    *tensors = 2;
    return GM_OK;
}

/* Four numbers a channel: a scale, a shift and two sums. */
static size_t norm_scratch(const gm_kernels *k, const void *config, const gm_shape *in, size_t n,
                           size_t b)
{
    (void)k;
    (void)n;
    (void)b;
    return 4 * channels_of(config, in) * sizeof(double);
}

/* The call's geometry: `rows` groups of `channels` by `inner` numbers make one sample. */
typedef struct sizes {
    size_t channels, rows, inner, size;
    double *scale, *shift, *dot, *sum; /* [channels] of the scratch */
} sizes;

static sizes sizes_of(const gm_layer_call *c)
{
    const gm_norm_config *config = c->config;
    size_t channels = channels_of(config, &c->in_shape[0]), size = gm_shape_size(c->out_shape);
    size_t positions = size / channels;
    double *memory = c->scratch.memory;
    return (sizes){.channels = channels,
                   .rows = config->channels_last ? positions : 1,
                   .inner = config->channels_last ? 1 : positions,
                   .size = size,
                   .scale = memory,
                   .shift = memory + channels,
                   .dot = memory + 2 * channels,
                   .sum = memory + 3 * channels};
}

static double inverse_deviation(const gm_norm_config *c, size_t channel)
{
    return 1.0 / sqrt((c->variance ? c->variance[channel] : 1.0) + c->epsilon);
}

/* scale = g r, and shift = h - g r mean or 0, from parameters (g, h). */
static void load(const gm_layer_call *c, const sizes *s, const void *param, bool shifted)
{
    const gm_norm_config *config = c->config;
    c->k->to_double(s->channels, param, s->scale);
    c->k->to_double(s->channels, (const char *)param + s->channels * c->k->size, s->shift);
    for (size_t i = 0; i < s->channels; i++) {
        s->scale[i] *= inverse_deviation(config, i);
        s->shift[i] =
            shifted ? s->shift[i] - (config->mean ? s->scale[i] * config->mean[i] : 0.0) : 0.0;
    }
}

/* y (+)= scale x + shift for n samples. */
static void affine(const gm_layer_call *c, const sizes *s, size_t n, const void *x, bool add,
                   void *y)
{
    c->k->channel_affine(n * s->rows, s->channels, s->inner, s->scale, s->shift, x, add, y);
}

static void norm_value(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    load(c, &s, c->param, true);
    affine(c, &s, c->n, c->in[0], false, c->out);
}

static void norm_tangent(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    if (c->tin[0]) {
        load(c, &s, c->param, false);
        affine(c, &s, c->b * c->n, c->tin[0], false, c->tout);
    } else if (!c->tparam) {
        memset(c->tout, 0, c->b * c->n * s.size * c->k->size);
    }
    for (size_t j = 0; c->tparam && j < c->b; j++) {
        load(c, &s, c->tparam[j], true);
        affine(c, &s, c->n, c->in[0], c->tin[0] != NULL,
               (char *)c->tout + j * c->n * s.size * c->k->size);
    }
}

/* grad += (r sum signal (x - mean), sum signal), without the mean and the second where x is a
 * tangent. */
static void add_gradient(const gm_layer_call *c, const sizes *s, const void *signal, const void *x,
                         bool tangent, void *grad)
{
    const gm_norm_config *config = c->config;
    memset(s->dot, 0, 2 * s->channels * sizeof *s->dot);
    c->k->channel_dots(c->n * s->rows, s->channels, s->inner, signal, x, s->dot, s->sum);
    for (size_t i = 0; i < s->channels; i++) {
        double mean = config->mean && !tangent ? config->mean[i] : 0.0;
        s->scale[i] = inverse_deviation(config, i) * (s->dot[i] - mean * s->sum[i]);
    }
    c->k->from_double(s->channels, s->scale, s->shift); /* shift: room for the native numbers */
    c->k->axpy(s->channels, 1.0, s->shift, grad);
    if (tangent) return;
    c->k->from_double(s->channels, s->sum, s->shift);
    c->k->axpy(s->channels, 1.0, s->shift, (char *)grad + s->channels * c->k->size);
}

static void push_back(const gm_layer_call *c, const sizes *s, const void *signal)
{
    if (c->din[0]) {
        load(c, s, c->param, false);
        affine(c, s, c->b * c->n, signal, c->din_add[0], c->din[0]);
    }
    for (size_t j = 0; c->grad && j < c->b; j++) {
        const char *sj = (const char *)signal + j * c->n * s->size * c->k->size;
        add_gradient(c, s, sj, c->in[0], false, c->grad[j]);
    }
}

static void norm_backward(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    push_back(c, &s, c->signal);
}

static void norm_tangent_backward(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    push_back(c, &s, c->tsignal);
    for (size_t j = 0; j < c->b; j++) {
        size_t shift = j * c->n * s.size * c->k->size;
        if (c->din[0] && c->tparam) {
            load(c, &s, c->tparam[j], false);
            affine(c, &s, c->n, c->signal, true, (char *)c->din[0] + shift);
        }
        if (c->grad && c->tin[0]) {
            add_gradient(c, &s, c->signal, (const char *)c->tin[0] + shift, true, c->grad[j]);
        }
    }
}

const gm_layer_kind gm_layer_norm = {
    .name = "norm",
    .config_size = sizeof(gm_norm_config),
    .traits = norm_traits,
    .infer = norm_infer,
    .scratch = norm_scratch,
    .value = norm_value,
    .tangent = norm_tangent,
    .backward = norm_backward,
    .tangent_backward = norm_tangent_backward,
};
