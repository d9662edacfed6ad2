/* Images between channels first, [C, ...], and channels last, [..., C]: a transposition of every
 * sample. Convolutions are faster with the channels last; flattening and the parameters of what
 * follows go by channels first, as everywhere else. */
#include "layers/layer.h"

static unsigned layout_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
}

static gm_status layout_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                              gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_channels_config *c = config;
    (void)tensor;
    *tensors = 0;
    if (inputs != 1 || in->rank < 2) {
        return gm_fail(err, GM_ERR_INPUT, "%d inputs of rank %d, expected one image or signal",
                       inputs, in->rank);
    }
    *out = *in;
    for (int i = 0; i < in->rank; i++) {
        int from = c->channels_last ? (i + 1) % in->rank : (i + in->rank - 1) % in->rank;
        out->dim[i] = in->dim[from];
    }
    return GM_OK;
}

/* y (+)= x of n samples in the output's layout, or back to the input's. */
static void turn(const gm_layer_call *c, bool back, size_t n, const void *x, bool add, void *y)
{
    const gm_channels_config *config = c->config;
    const gm_shape *in = &c->in_shape[0];
    size_t channels = in->dim[config->channels_last ? 0 : in->rank - 1];
    size_t positions = gm_shape_size(in) / channels;
    bool to_last = config->channels_last != back;
    c->k->swap_axes(n, to_last ? channels : positions, to_last ? positions : channels, x, add, y);
}

static void layout_value(const gm_layer_call *c)
{
    turn(c, false, c->n, c->in[0], false, c->out);
}

static void layout_tangent(const gm_layer_call *c)
{
    turn(c, false, c->b * c->n, c->tin[0], false, c->tout);
}

static void layout_backward(const gm_layer_call *c)
{
    if (c->din[0]) turn(c, true, c->b * c->n, c->signal, c->din_add[0], c->din[0]);
}

static void layout_tangent_backward(const gm_layer_call *c)
{
    if (c->din[0]) turn(c, true, c->b * c->n, c->tsignal, c->din_add[0], c->din[0]);
}

const gm_layer_kind gm_layer_layout = {
    .name = "layout",
    .config_size = sizeof(gm_channels_config),
    .traits = layout_traits,
    .infer = layout_infer,
    .value = layout_value,
    .tangent = layout_tangent,
    .backward = layout_backward,
    .tangent_backward = layout_tangent_backward,
};
