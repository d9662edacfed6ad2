/* Convolutions whose weight the graph computes (weight normalization, standardization), by products
 * of matrices:
 *
 *   P [groups, positions, taps x channels]  the pixels under the window at each position
 *   W [groups, taps x channels, out]        the weight, its axes in that order
 *   P W                                     [groups, positions, out]
 *
 * P are places of the padded image along one axis (gather), so that all derivatives are those of
 * products of two values. */
#include <string.h>

#include "base/memory.h"
#include "onnx/operators.h"

typedef struct sizes {
    size_t positions, taps, groups;
    size_t channels, out; /* of a group */
} sizes;

static gm_status reshape(const gm_onnx_step *s, gm_shape shape, int *node, gm_error *err)
{
    gm_reshape_config config = {.shape = shape};
    return gm_onnx_add(s, &gm_layer_reshape, &config, 1, node, node, err);
}

static gm_status transpose(const gm_onnx_step *s, gm_transpose_config axes, int *node,
                           gm_error *err)
{
    return gm_onnx_add(s, &gm_layer_transpose, &axes, 1, node, node, err);
}

/* ---- pixels ---- */

/* Places in the padded image [height x width], position by position and tap by tap: kept by the
 * net. */
static gm_status take_places(const gm_onnx_step *s, const gm_window *w, size_t width, size_t count,
                             const double **kept, gm_error *err)
{
    double *place = gm_alloc(count, sizeof *place, "places of pixels", err);
    if (!place) return GM_ERR_MEMORY;
    size_t i = 0;
    for (size_t y = 0; y < w->out[0]; y++) {
        for (size_t x = 0; x < w->out[1]; x++) {
            for (size_t t = 0; t < w->kernel[0] * w->kernel[1]; t++) {
                size_t row = y * w->stride[0] + t / w->kernel[1] * w->dilation[0];
                size_t column = x * w->stride[1] + t % w->kernel[1] * w->dilation[1];
                place[i++] = (double)(row * width + column);
            }
        }
    }
    gm_status status = gm_net_keep(s->g->net, count, place, kept, err);
    gm_free(place);
    return status;
}

/* *node: the image [..., C] becomes P. */
static gm_status pixels(const gm_onnx_step *s, const gm_window_config *config, const gm_window *w,
                        const sizes *z, int *node, gm_error *err)
{
    const gm_shape image = s->g->net->node[*node].shape;
    gm_pad_config pad = {.before = {0}};
    gm_gather_config places = {.axis = 0};
    size_t size = 1, channels = z->groups * z->channels;
    bool padded = false;
    for (int i = 0; i < image.rank - 1; i++) {
        int of = i + (image.rank == 2); /* a signal's numbers are the second of each pair */
        pad.before[i] = config->pad[of];
        pad.after[i] = config->pad_after[of];
        padded = padded || pad.before[i] || pad.after[i];
        size *= image.dim[i] + pad.before[i] + pad.after[i];
    }
    if (!gm_mul_size(z->positions, z->taps, &places.count)) places.count = SIZE_MAX;
    gm_status status = gm_onnx_count_folded(s, places.count, err);
    size_t width = w->in[1] + config->pad[1] + config->pad_after[1];
    if (status == GM_OK) status = take_places(s, w, width, places.count, &places.index, err);
    if (status == GM_OK && padded) {
        status = gm_onnx_add(s, &gm_layer_pad, &pad, 1, node, node, err);
    }
    if (status == GM_OK) status = reshape(s, (gm_shape){2, {size, channels}}, node, err);
    if (status == GM_OK) status = gm_onnx_add(s, &gm_layer_gather, &places, 1, node, node, err);
    if (status == GM_OK && z->groups > 1) {
        gm_shape apart = {4, {z->positions, z->taps, z->groups, z->channels}};
        status = reshape(s, apart, node, err);
        if (status == GM_OK) status = transpose(s, (gm_transpose_config){{2, 0, 1, 3}}, node, err);
    }
    gm_shape rows = {3, {z->groups, z->positions, z->taps * z->channels}};
    return status == GM_OK ? reshape(s, rows, node, err) : status;
}

/* ---- the weight ---- */

static gm_status columns_of(const gm_onnx_step *s, gm_onnx_value *weight, const sizes *z, int *node,
                            gm_error *err)
{
    gm_shape filters = {4, {z->groups, z->out, z->channels, z->taps}};
    gm_shape columns = {3, {z->groups, z->taps * z->channels, z->out}};
    gm_status status = gm_onnx_node_as(s, weight, &filters, node, err);
    if (status == GM_OK) status = transpose(s, (gm_transpose_config){{0, 3, 2, 1}}, node, err);
    return status == GM_OK ? reshape(s, columns, node, err) : status;
}

gm_status gm_onnx_conv_by_patches(const gm_onnx_step *s, const gm_conv_config *config,
                                  gm_onnx_value *weight, int *node, gm_error *err)
{
    gm_matmul_config product = {.factor = 1.0};
    gm_window w;
    gm_shape out;
    gm_error inner = {0};
    int factor[2] = {-1, -1};
    gm_status status = gm_window_over(&config->window, &s->g->net->node[*node].shape,
                                      config->out_channels, &w, &out, &inner);
    if (status != GM_OK) return gm_onnx_refuse(s, err, "%s", inner.message);
    sizes z = {.positions = w.out[0] * w.out[1],
               .taps = w.kernel[0] * w.kernel[1],
               .groups = config->groups,
               .channels = w.channels / config->groups,
               .out = config->out_channels / config->groups};
    if (config->out_channels % config->groups) {
        return gm_onnx_refuse(s, err, "%zu filters in %zu groups", config->out_channels, z.groups);
    }
    status = pixels(s, &config->window, &w, &z, node, err);
    if (status != GM_OK) return status;
    status = columns_of(s, weight, &z, &factor[1], err);
    factor[0] = *node;
    if (status == GM_OK) status = gm_onnx_add(s, &gm_layer_matmul, &product, 2, factor, node, err);
    if (status == GM_OK && z.groups > 1) {
        status = transpose(s, (gm_transpose_config){{1, 0, 2}}, node, err);
    }
    return status == GM_OK ? reshape(s, out, node, err) : status;
}

/* ---- transposed convolutions ---- */

/* *node: the image [..., C] with stride - 1 zeros between its pixels. */
static gm_status spread(const gm_onnx_step *s, const size_t *stride, int *node, gm_error *err)
{
    const gm_shape image = s->g->net->node[*node].shape;
    int plane = image.rank - 1;
    gm_shape apart = {.rank = 2 * plane + 1}, wide = image;
    gm_pad_config zeros = {.before = {0}};
    gm_slice_config inside = {.start = {0}};
    for (int i = 0; i < plane; i++) {
        size_t step = stride[i + (plane == 1)];
        apart.dim[2 * i] = image.dim[i];
        apart.dim[2 * i + 1] = 1;
        zeros.after[2 * i + 1] = step - 1;
        inside.count[i] = (image.dim[i] - 1) * step + 1;
        inside.step[i] = 1;
        wide.dim[i] = image.dim[i] * step;
    }
    apart.dim[2 * plane] = image.dim[plane];
    gm_status status = reshape(s, apart, node, err);
    if (status == GM_OK) status = gm_onnx_add(s, &gm_layer_pad, &zeros, 1, node, node, err);
    if (status == GM_OK) status = reshape(s, wide, node, err);
    return status == GM_OK ? gm_onnx_add(s, &gm_layer_slice, &inside, 1, node, node, err) : status;
}

/* *flipped: the weight [in, out / groups, ...] as that of a convolution, [out, in / groups, ...]:
 * its axes exchanged, its taps in the opposite order. */
static gm_status flip(const gm_onnx_step *s, gm_onnx_value *weight, const gm_window_config *w,
                      size_t groups, gm_onnx_value *flipped, gm_error *err)
{
    const size_t *dim = weight->tensor.dim;
    gm_shape apart = {5, {groups, dim[0] / groups, dim[1], w->kernel[0], w->kernel[1]}};
    gm_slice_config back = {.start = {0, 0, 0, w->kernel[0] - 1, w->kernel[1] - 1},
                            .count = {0, 0, 0, w->kernel[0], w->kernel[1]},
                            .step = {1, 1, 1, -1, -1}};
    *flipped = (gm_onnx_value){.name = weight->name, .what = GM_ONNX_ACTIVATION, .last = -1};
    gm_status status = gm_onnx_node_as(s, weight, &apart, &flipped->node, err);
    if (status == GM_OK) {
        status = transpose(s, (gm_transpose_config){{0, 2, 1, 3, 4}}, &flipped->node, err);
    }
    if (status != GM_OK) return status;
    return gm_onnx_add(s, &gm_layer_slice, &back, 1, &flipped->node, &flipped->node, err);
}

/* The convolution's window over the image with zeros between: as far beyond it as the kernel
 * reaches, less the padding. */
static gm_status window_around(const gm_onnx_step *s, int plane, gm_window_config *w, gm_error *err)
{
    size_t more[2], unused[2];
    gm_status status = gm_onnx_pairs(s, "output_padding", plane, 1, 0, more, unused, err);
    for (int i = 0; status == GM_OK && i < 2; i++) {
        size_t reach = (w->kernel[i] - 1) * w->dilation[i];
        if (w->pad[i] > reach || w->pad_after[i] > reach + more[i] || more[i] > 1 << 24) {
            return gm_onnx_refuse(s, err, "padding of %zu and %zu, its kernel reaches %zu",
                                  w->pad[i], w->pad_after[i], reach);
        }
        w->pad[i] = reach - w->pad[i];
        w->pad_after[i] = reach + more[i] - w->pad_after[i];
        w->stride[i] = 1;
    }
    return status;
}

/* The transpose of a convolution of this weight. */
gm_status gm_onnx_emit_conv_transpose(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0), *weight = gm_onnx_in(s, 1), *bias = gm_onnx_in(s, 2);
    gm_onnx_value flipped;
    gm_conv_config config = {.groups = 0};
    int node = -1;
    int64_t groups = gm_onnx_int(s, "group", 1);
    gm_status status = gm_onnx_image_of(s, in, &node, err);
    if (status != GM_OK) return status;
    bool fits = weight->tensor.rank == in->tensor.rank && weight->tensor.of == GM_ONNX_REAL &&
                !weight->moves && weight->tensor.count && groups > 0 &&
                weight->tensor.dim[0] == in->tensor.dim[1] &&
                in->tensor.dim[1] % (size_t)groups == 0;
    if (!fits || !gm_onnx_text_is(s, "auto_pad", "NOTSET", true)) {
        return gm_onnx_refuse(s, err,
                              "expected auto_pad NOTSET and a weight [%zu, out / %lld, ...] that "
                              "does not depend on the sample",
                              in->tensor.dim[1], (long long)groups);
    }
    config.groups = (size_t)groups;
    config.out_channels = config.groups * weight->tensor.dim[1];
    status = gm_onnx_window_of(s, &in->tensor, weight->tensor.dim + 2, &config.window, err);
    for (int i = 0; status == GM_OK && i < 2; i++) {
        size_t stride = config.window.stride[i];
        if (stride == 0 || stride > 1 << 16) {
            status = gm_onnx_refuse(s, err, "a stride of %zu", stride);
        }
    }
    if (status == GM_OK) status = spread(s, config.window.stride, &node, err);
    if (status == GM_OK) status = window_around(s, in->tensor.rank - 2, &config.window, err);
    if (status == GM_OK) status = flip(s, weight, &config.window, config.groups, &flipped, err);
    if (status == GM_OK) status = gm_onnx_conv_by_patches(s, &config, &flipped, &node, err);
    gm_shape row = {.rank = 1, .dim = {config.out_channels}};
    if (status == GM_OK && bias) status = gm_onnx_add_term(s, node, bias, &row, &node, err);
    if (status == GM_OK) gm_onnx_put_image(s, node);
    return status;
}
