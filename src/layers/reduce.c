/* Sum or mean over axes of a sample: linear, so that tangents and signals take the same way.
 *
 *   value             a      = c sum x        (c: 1, or 1 over the numbers in each sum)
 *   tangent           adot   = c sum xdot
 *   backward          dx    += c s, repeated
 *   tangent_backward  dxdot += c sdot, repeated */
#include "layers/layer.h"

static unsigned reduce_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
}

/* in with the reduced axes set to 1. */
static gm_shape reduced(const gm_reduce_config *c, const gm_shape *in)
{
    gm_shape shape = *in;
    for (int a = 0; a < in->rank; a++) {
        if (c->axes >> a & 1u) shape.dim[a] = 1;
    }
    return shape;
}

static gm_status reduce_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                              gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_reduce_config *c = config;
    (void)tensor;
    *tensors = 0;
    if (inputs != 1) return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 1", inputs);
    if (c->axes >> in->rank) {
        return gm_fail(err, GM_ERR_INPUT, "axes %#x (one bit each), expected those of rank %d",
                       c->axes, in->rank);
    }
    *out = reduced(c, in);
    if (c->keep) return GM_OK;
    out->rank = 0;
    for (int a = 0; a < in->rank; a++) {
        if (!(c->axes >> a & 1u)) out->dim[out->rank++] = in->dim[a];
    }
    return GM_OK;
}

static gm_broadcast geometry(const gm_layer_call *c, double *scale)
{
    const gm_reduce_config *config = c->config;
    gm_shape small = reduced(config, &c->in_shape[0]);
    gm_broadcast g;
    gm_broadcast_make(&c->in_shape[0], &small, &small, &g);
    double count = (double)g.size / (double)g.operand[0];
    *scale = config->reduction == GM_REDUCE_MEAN ? 1.0 / count : 1.0;
    return g;
}

static void sum(const gm_layer_call *c, size_t n, const void *x, void *y)
{
    double scale;
    gm_broadcast g = geometry(c, &scale);
    c->k->sum_axes(&g, n, scale, x, false, y);
}

static void repeat(const gm_layer_call *c, const void *signal)
{
    double scale;
    gm_broadcast g = geometry(c, &scale);
    if (c->din[0]) {
        c->k->repeat_axes(&g, c->b * c->n, scale, signal, c->din_add[0], c->din[0]);
    }
}

static void reduce_value(const gm_layer_call *c)
{
    sum(c, c->n, c->in[0], c->out);
}

static void reduce_tangent(const gm_layer_call *c)
{
    sum(c, c->b * c->n, c->tin[0], c->tout);
}

static void reduce_backward(const gm_layer_call *c)
{
    repeat(c, c->signal);
}

static void reduce_tangent_backward(const gm_layer_call *c)
{
    repeat(c, c->tsignal);
}

const gm_layer_kind gm_layer_reduce = {
    .name = "reduce",
    .config_size = sizeof(gm_reduce_config),
    .traits = reduce_traits,
    .infer = reduce_infer,
    .value = reduce_value,
    .tangent = reduce_tangent,
    .backward = reduce_backward,
    .tangent_backward = reduce_tangent_backward,
};
