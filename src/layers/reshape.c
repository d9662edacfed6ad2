/* The same numbers in another shape, in place where nobody else reads the input. */
#include "layers/layer.h"

#include <string.h>

static unsigned reshape_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS | GM_TRAIT_INPLACE;
}

static gm_status reshape_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                               gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_reshape_config *c = config;
    (void)tensor;
    *tensors = 0;
    size_t size = inputs == 1 ? gm_shape_size(in) : 0;
    if (size == 0 || size != gm_shape_size(&c->shape)) {
        return gm_fail(err, GM_ERR_INPUT, "%d inputs, of %zu numbers, expected one of %zu", inputs,
                       size, gm_shape_size(&c->shape));
    }
    *out = c->shape;
    return GM_OK;
}

static void carry(const gm_layer_call *c, size_t n, const void *x, bool add, void *y)
{
    size_t count = n * gm_shape_size(c->out_shape);
    if (add) {
        c->k->axpy(count, 1.0, x, y);
    } else if (x != y) {
        memcpy(y, x, count * c->k->size);
    }
}

static void reshape_value(const gm_layer_call *c)
{
    carry(c, c->n, c->in[0], false, c->out);
}

static void reshape_tangent(const gm_layer_call *c)
{
    carry(c, c->b * c->n, c->tin[0], false, c->tout);
}

static void reshape_backward(const gm_layer_call *c)
{
    if (c->din[0]) carry(c, c->b * c->n, c->signal, c->din_add[0], c->din[0]);
}

static void reshape_tangent_backward(const gm_layer_call *c)
{
    if (c->din[0]) carry(c, c->b * c->n, c->tsignal, c->din_add[0], c->din[0]);
}

const gm_layer_kind gm_layer_reshape = {
    .name = "reshape",
    .config_size = sizeof(gm_reshape_config),
    .traits = reshape_traits,
    .infer = reshape_infer,
    .value = reshape_value,
    .tangent = reshape_tangent,
    .backward = reshape_backward,
    .tangent_backward = reshape_tangent_backward,
};
