/* Pooling over windows: the largest, or the mean.
 *
 * Both are piecewise linear maps without parameters, out = P(in) in: tangents go through P, signals
 * through P^T. max picks the first of the largest in row-major order of the window, by comparing
 * input and output, so that every pass picks the same (theory section 1, "Kinks"). Padding takes no
 * part in a maximum. */
#include "layers/layer.h"

static unsigned max_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS | GM_TRAIT_NEEDS_IN | GM_TRAIT_NEEDS_OUT;
}

static unsigned mean_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
}

static gm_status pool_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                            gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_pool_config *c = config;
    gm_window w;
    (void)tensor;
    *tensors = 0;
    if (inputs != 1) return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 1", inputs);
    gm_status status = gm_window_over(&c->window, in, 0, &w, out, err);
    for (int i = 0; status == GM_OK && i < 2; i++) {
        if (w.pad[i] < w.kernel[i]) continue;
        return gm_fail(err, GM_ERR_INPUT, "padding %zu, expected less than the kernel, %zu",
                       w.pad[i], w.kernel[i]);
    }
    return status;
}

/* The window over images with the channels last; *n images of the caller become that many. */
static gm_window window_of(const gm_layer_call *c, size_t *n)
{
    const gm_pool_config *config = c->config;
    gm_window w;
    gm_shape out;
    gm_window_over(&config->window, &c->in_shape[0], 0, &w, &out, NULL);
    if (!w.channels_last) {
        *n *= w.channels;
        w.channels = 1;
        w.channels_last = true;
    }
    return w;
}

static void max_value(const gm_layer_call *c)
{
    size_t n = c->n;
    gm_window w = window_of(c, &n);
    c->k->max_pool(&w, n, c->in[0], c->out);
}

static void max_tangent(const gm_layer_call *c)
{
    size_t n = c->n, in = c->n * gm_shape_size(&c->in_shape[0]) * c->k->size,
           out = c->n * gm_shape_size(c->out_shape) * c->k->size;
    gm_window w = window_of(c, &n);
    for (size_t j = 0; j < c->b; j++) {
        c->k->max_pool_pick(&w, n, c->in[0], c->out, (const char *)c->tin[0] + j * in,
                            (char *)c->tout + j * out);
    }
}

static void max_spread(const gm_layer_call *c, const void *signal)
{
    size_t n = c->n, in = c->n * gm_shape_size(&c->in_shape[0]) * c->k->size,
           out = c->n * gm_shape_size(c->out_shape) * c->k->size;
    if (!c->din[0]) return;
    gm_window w = window_of(c, &n);
    for (size_t j = 0; j < c->b; j++) {
        c->k->max_pool_spread(&w, n, c->in[0], c->out, (const char *)signal + j * out,
                              c->din_add[0], (char *)c->din[0] + j * in);
    }
}

static void max_backward(const gm_layer_call *c)
{
    max_spread(c, c->signal);
}

static void max_tangent_backward(const gm_layer_call *c)
{
    max_spread(c, c->tsignal);
}

static void mean_value(const gm_layer_call *c)
{
    size_t n = c->n;
    gm_window w = window_of(c, &n);
    c->k->mean_pool(&w, ((const gm_pool_config *)c->config)->padded, n, c->in[0], c->out);
}

static void mean_tangent(const gm_layer_call *c)
{
    size_t n = c->b * c->n;
    gm_window w = window_of(c, &n);
    c->k->mean_pool(&w, ((const gm_pool_config *)c->config)->padded, n, c->tin[0], c->tout);
}

static void mean_spread(const gm_layer_call *c, const void *signal)
{
    size_t n = c->b * c->n;
    if (!c->din[0]) return;
    gm_window w = window_of(c, &n);
    c->k->mean_pool_spread(&w, ((const gm_pool_config *)c->config)->padded, n, signal,
                           c->din_add[0], c->din[0]);
}

static void mean_backward(const gm_layer_call *c)
{
    mean_spread(c, c->signal);
}

static void mean_tangent_backward(const gm_layer_call *c)
{
    mean_spread(c, c->tsignal);
}

/* ---- over all positions ---- */

static gm_status global_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                              gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_channels_config *c = config;
    (void)tensor;
    *tensors = 0;
    if (inputs != 1 || in->rank < 2) {
        return gm_fail(err, GM_ERR_INPUT, "%d inputs of rank %d, expected one image or signal",
                       inputs, in->rank);
    }
    *out = (gm_shape){.rank = 1, .dim = {in->dim[c->channels_last ? in->rank - 1 : 0]}};
    return GM_OK;
}

/* One window as large as the image. */
static gm_window global_window(const gm_layer_call *c, size_t *n)
{
    const gm_channels_config *config = c->config;
    size_t channels = c->out_shape->dim[0];
    size_t positions = gm_shape_size(&c->in_shape[0]) / channels;
    if (!config->channels_last) {
        *n *= channels;
        channels = 1;
    }
    return (gm_window){.channels = channels,
                       .in = {1, positions},
                       .out = {1, 1},
                       .kernel = {1, positions},
                       .stride = {1, 1},
                       .dilation = {1, 1},
                       .channels_last = true};
}

static void global_value(const gm_layer_call *c)
{
    size_t n = c->n;
    gm_window w = global_window(c, &n);
    c->k->mean_pool(&w, false, n, c->in[0], c->out);
}

static void global_tangent(const gm_layer_call *c)
{
    size_t n = c->b * c->n;
    gm_window w = global_window(c, &n);
    c->k->mean_pool(&w, false, n, c->tin[0], c->tout);
}

static void global_spread(const gm_layer_call *c, const void *signal)
{
    size_t n = c->b * c->n;
    if (!c->din[0]) return;
    gm_window w = global_window(c, &n);
    c->k->mean_pool_spread(&w, false, n, signal, c->din_add[0], c->din[0]);
}

static void global_backward(const gm_layer_call *c)
{
    global_spread(c, c->signal);
}

static void global_tangent_backward(const gm_layer_call *c)
{
    global_spread(c, c->tsignal);
}

const gm_layer_kind gm_layer_max_pool = {
    .name = "max_pool",
    .config_size = sizeof(gm_pool_config),
    .traits = max_traits,
    .infer = pool_infer,
    .value = max_value,
    .tangent = max_tangent,
    .backward = max_backward,
    .tangent_backward = max_tangent_backward,
};

const gm_layer_kind gm_layer_mean_pool = {
    .name = "mean_pool",
    .config_size = sizeof(gm_pool_config),
    .traits = mean_traits,
    .infer = pool_infer,
    .value = mean_value,
    .tangent = mean_tangent,
    .backward = mean_backward,
    .tangent_backward = mean_tangent_backward,
};

const gm_layer_kind gm_layer_global_mean_pool = {
    .name = "global_mean_pool",
    .config_size = sizeof(gm_channels_config),
    .traits = mean_traits,
    .infer = global_infer,
    .value = global_value,
    .tangent = global_tangent,
    .backward = global_backward,
    .tangent_backward = global_tangent_backward,
};
