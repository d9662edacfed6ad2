/* The geometry of convolutions and pooling, with the refusals of what does not fit. */
#include "layers/layer.h"

gm_window_config gm_window_square(size_t kernel, size_t stride, size_t pad, bool channels_last)
{
    return (gm_window_config){.kernel = {kernel, kernel},
                              .stride = {stride, stride},
                              .dilation = {1, 1},
                              .pad = {pad, pad},
                              .pad_after = {pad, pad},
                              .channels_last = channels_last};
}

/* Output positions along one direction, 0 where the window does not fit. */
static size_t positions(const gm_window_config *c, int i, size_t in)
{
    size_t reach = (c->kernel[i] - 1) * c->dilation[i] + 1;
    size_t padded = in + c->pad[i] + c->pad_after[i];
    if (padded < reach) return 0;
    size_t out = (padded - reach) / c->stride[i] + 1;
    bool rest = (padded - reach) % c->stride[i] != 0;
    return c->ceil && rest && out * c->stride[i] < in + c->pad[i] ? out + 1 : out;
}

/* How far the last window reaches beyond the padded image. */
static size_t beyond(const gm_window_config *c, int i, size_t in, size_t out)
{
    size_t padded = in + c->pad[i] + c->pad_after[i];
    size_t end = out ? (out - 1) * c->stride[i] + (c->kernel[i] - 1) * c->dilation[i] + 1 : 0;
    return end > padded ? end - padded : 0;
}

/* Numbers that keep every product below well within size_t. */
static bool sensible(const gm_window_config *c, int i, size_t in)
{
    const size_t most = (size_t)1 << 24;
    return c->kernel[i] > 0 && c->stride[i] > 0 && c->dilation[i] > 0 && c->kernel[i] <= most &&
           c->stride[i] <= most && c->dilation[i] <= most && c->pad[i] <= most &&
           c->pad_after[i] <= most && in <= most;
}

gm_status gm_window_over(const gm_window_config *config, const gm_shape *in, size_t out_channels,
                         gm_window *window, gm_shape *out, gm_error *err)
{
    if (in->rank != 2 && in->rank != 3) {
        return gm_fail(err, GM_ERR_INPUT,
                       "an input of rank %d, expected an image of channels, height and width (or "
                       "a signal of channels and length)",
                       in->rank);
    }
    int plane = in->rank - 1; /* axes of the image */
    const size_t *size = in->dim + (config->channels_last ? 0 : 1);
    gm_window_config c = *config;
    if (plane == 1) {
        c.kernel[0] = c.stride[0] = c.dilation[0] = 1;
        c.pad[0] = c.pad_after[0] = 0;
    }
    *window = (gm_window){.channels = in->dim[config->channels_last ? plane : 0],
                          .in = {plane == 1 ? 1 : size[0], size[plane - 1]},
                          .channels_last = c.channels_last};
    for (int i = 0; i < 2; i++) {
        if (!sensible(&c, i, window->in[i])) {
            return gm_fail(err, GM_ERR_INPUT,
                           "kernel, stride and dilation of 1 to 2^24 expected, padding and image "
                           "of at most 2^24");
        }
        window->kernel[i] = c.kernel[i];
        window->stride[i] = c.stride[i];
        window->dilation[i] = c.dilation[i];
        window->pad[i] = c.pad[i];
        window->out[i] = positions(&c, i, window->in[i]);
        window->beyond[i] = beyond(&c, i, window->in[i], window->out[i]);
    }
    if (window->out[0] == 0 || window->out[1] == 0) {
        return gm_fail(
            err, GM_ERR_INPUT, "a window of %zux%zu is larger than its input of %zux%zu pixels",
            (c.kernel[0] - 1) * c.dilation[0] + 1, (c.kernel[1] - 1) * c.dilation[1] + 1,
            window->in[0] + c.pad[0] + c.pad_after[0], window->in[1] + c.pad[1] + c.pad_after[1]);
    }
    *out = (gm_shape){.rank = in->rank};
    size_t *to = out->dim + (c.channels_last ? 0 : 1);
    to[0] = window->out[2 - plane];
    to[plane - 1] = window->out[1];
    out->dim[c.channels_last ? plane : 0] = out_channels ? out_channels : window->channels;
    return GM_OK;
}
