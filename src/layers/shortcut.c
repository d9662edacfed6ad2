/* The shortcut of a residual block that halves the image and widens it (He et al. 2016, option A):
 * every stride-th row and column, and channels of zeros before and after. Channels last. */
#include "layers/layer.h"

#include <string.h>

static unsigned shortcut_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
}

static gm_status shortcut_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                                gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_shortcut_config *c = config;
    (void)tensor;
    *tensors = 0;
    if (inputs != 1 || in->rank != 3 || c->stride == 0) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%d inputs of rank %d, stride %zu, expected one image and a stride of 1 or "
                       "more",
                       inputs, in->rank, c->stride);
    }
    *out = (gm_shape){.rank = 3,
                      .dim = {(in->dim[0] - 1) / c->stride + 1, (in->dim[1] - 1) / c->stride + 1,
                              c->before + in->dim[2] + c->after}};
    return GM_OK;
}

/* Calls for every output pixel of n samples: its place in `out`, channel 0 of the input taken at
 * offset `before`, and in `in`. */
static void carry(const gm_layer_call *c, bool back, size_t n, const char *from, bool add, char *to)
{
    const gm_shortcut_config *config = c->config;
    const gm_shape *in = &c->in_shape[0], *out = c->out_shape;
    size_t width = c->k->size, taken = in->dim[2];
    size_t count = n * gm_shape_size(back ? in : out);
    if (!add) memset(to, 0, count * width);
    for (size_t i = 0; i < n * out->dim[0]; i++) {
        size_t sample = i / out->dim[0], row = i % out->dim[0] * config->stride;
        for (size_t l = 0; l < out->dim[1]; l++) {
            size_t small = (i * out->dim[1] + l) * out->dim[2] + config->before;
            size_t large = ((sample * in->dim[0] + row) * in->dim[1] + l * config->stride) * taken;
            const char *source = from + (back ? small : large) * width;
            char *target = to + (back ? large : small) * width;
            if (add) {
                c->k->axpy(taken, 1.0, source, target);
            } else {
                memcpy(target, source, taken * width);
            }
        }
    }
}

static void shortcut_value(const gm_layer_call *c)
{
    carry(c, false, c->n, c->in[0], false, c->out);
}

static void shortcut_tangent(const gm_layer_call *c)
{
    carry(c, false, c->b * c->n, c->tin[0], false, c->tout);
}

static void shortcut_backward(const gm_layer_call *c)
{
    if (c->din[0]) carry(c, true, c->b * c->n, c->signal, c->din_add[0], c->din[0]);
}

static void shortcut_tangent_backward(const gm_layer_call *c)
{
    if (c->din[0]) carry(c, true, c->b * c->n, c->tsignal, c->din_add[0], c->din[0]);
}

const gm_layer_kind gm_layer_shortcut = {
    .name = "shortcut",
    .config_size = sizeof(gm_shortcut_config),
    .traits = shortcut_traits,
    .infer = shortcut_infer,
    .value = shortcut_value,
    .tangent = shortcut_tangent,
    .backward = shortcut_backward,
    .tangent_backward = shortcut_tangent_backward,
};
