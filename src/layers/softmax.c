/* Softmax along one axis of a sample, or its logarithm. p = exp x / sum exp x.
 *
 *                     softmax, a = p                       logarithm, a = log p
 *   tangent           pdot = p (xdot - p.xdot)             xdot - p.xdot
 *   backward          dx += p (s - p.s)                    s - p sum s
 *   tangent_backward  dxdot += p (sdot - p.sdot)           sdot - p sum sdot - pdot sum s
 *                       + pdot (s - p.s) - p (pdot.s)
 *
 * All read the value alone. */
#include "layers/layer.h"

static unsigned softmax_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_NEEDS_OUT | GM_TRAIT_NEEDS_SIGNAL;
}

static gm_status softmax_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                               gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_softmax_config *c = config;
    (void)tensor;
    *tensors = 0;
    if (inputs != 1) return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 1", inputs);
    if (c->axis < 0 || c->axis >= in->rank) {
        return gm_fail(err, GM_ERR_INPUT, "axis %d, expected 0 ... %d", c->axis, in->rank - 1);
    }
    *out = in[0];
    return GM_OK;
}

/* n samples are [rows, classes, inner]. */
typedef struct sizes {
    size_t rows, classes, inner, bytes; /* bytes of the chunk */
    bool log;
} sizes;

static sizes sizes_of(const gm_layer_call *c)
{
    const gm_softmax_config *config = c->config;
    const gm_shape *shape = c->out_shape;
    sizes s = {.classes = shape->dim[config->axis], .inner = 1, .log = config->log};
    for (int a = config->axis + 1; a < shape->rank; a++) {
        s.inner *= shape->dim[a];
    }
    size_t size = gm_shape_size(shape);
    s.rows = c->n * (size / s.classes / s.inner);
    s.bytes = c->n * size * c->k->size;
    return s;
}

static void softmax_value(const gm_layer_call *c)
{
    sizes s = sizes_of(c);
    c->k->softmax_value(s.log, s.rows, s.classes, s.inner, c->in[0], c->out);
}

/* out (+)= J u or J^T u for the b directions. */
static void slope(const gm_layer_call *c, bool transposed, const void *u, bool add, void *out)
{
    sizes s = sizes_of(c);
    for (size_t j = 0; j < c->b; j++) {
        c->k->softmax_slope(s.log, transposed, s.rows, s.classes, s.inner, c->out,
                            (const char *)u + j * s.bytes, add, (char *)out + j * s.bytes);
    }
}

static void softmax_tangent(const gm_layer_call *c)
{
    slope(c, false, c->tin[0], false, c->tout);
}

static void softmax_backward(const gm_layer_call *c)
{
    if (c->din[0]) slope(c, true, c->signal, c->din_add[0], c->din[0]);
}

static void softmax_tangent_backward(const gm_layer_call *c)
{
    if (!c->din[0]) return;
    sizes s = sizes_of(c);
    slope(c, true, c->tsignal, c->din_add[0], c->din[0]);
    for (size_t j = 0; c->tin[0] && c->signal && j < c->b; j++) {
        c->k->softmax_bend(s.log, s.rows, s.classes, s.inner, c->out,
                           (const char *)c->tin[0] + j * s.bytes, c->signal,
                           (char *)c->din[0] + j * s.bytes);
    }
}

const gm_layer_kind gm_layer_softmax = {
    .name = "softmax",
    .config_size = sizeof(gm_softmax_config),
    .traits = softmax_traits,
    .infer = softmax_infer,
    .value = softmax_value,
    .tangent = softmax_tangent,
    .backward = softmax_backward,
    .tangent_backward = softmax_tangent_backward,
};
