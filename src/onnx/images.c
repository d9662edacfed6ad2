/* Operators on images and signals. Inside the net they keep the channels last, which convolutions
 * are faster with; a value turns back where something asks for the order of its shape. */
#include <string.h>

#include "onnx/operators.h"

/* ---- windows ---- */

gm_status gm_onnx_pairs(const gm_onnx_step *s, const char *name, int plane, int halves,
                        size_t otherwise, size_t *first, size_t *second, gm_error *err)
{
    size_t count;
    const int64_t *given = gm_onnx_ints(s, name, &count);
    if (given && count != (size_t)(halves * plane)) {
        return gm_onnx_refuse(s, err, "attribute '%s' has %zu numbers, expected %d", name, count,
                              halves * plane);
    }
    for (int i = 0; i < 2; i++) {
        int from = i - (2 - plane);
        first[i] = second[i] = otherwise;
        if (!given || from < 0) continue;
        int64_t a = given[from], b = given[halves > 1 ? from + plane : from];
        if (a < 0 || b < 0) return gm_onnx_refuse(s, err, "attribute '%s' is negative", name);
        first[i] = (size_t)a;
        second[i] = (size_t)b;
    }
    return GM_OK;
}

/* As much padding as makes ceil(in / stride) windows. */
static void pad_same(const gm_onnx_tensor *in, bool lower, gm_window_config *w)
{
    int plane = in->rank - 2;
    for (int i = 2 - plane; i < 2; i++) {
        size_t size = in->dim[2 + i - (2 - plane)], stride = w->stride[i] ? w->stride[i] : 1;
        size_t out = (size - 1) / stride + 1, reach = (w->kernel[i] - 1) * w->dilation[i] + 1;
        size_t covered = (out - 1) * stride + reach, all = covered > size ? covered - size : 0;
        w->pad[i] = lower ? all - all / 2 : all / 2;
        w->pad_after[i] = all - w->pad[i];
    }
}

gm_status gm_onnx_window_of(const gm_onnx_step *s, const gm_onnx_tensor *in, const size_t *kernel,
                            gm_window_config *w, gm_error *err)
{
    size_t unused[2];
    int plane = in->rank - 2;
    *w = (gm_window_config){.channels_last = true, .ceil = gm_onnx_int(s, "ceil_mode", 0) != 0};
    gm_status status =
        gm_onnx_pairs(s, "kernel_shape", plane, 1, kernel ? 0 : 1, w->kernel, unused, err);
    if (status == GM_OK) status = gm_onnx_pairs(s, "strides", plane, 1, 1, w->stride, unused, err);
    if (status == GM_OK)
        status = gm_onnx_pairs(s, "dilations", plane, 1, 1, w->dilation, unused, err);
    if (status == GM_OK) status = gm_onnx_pairs(s, "pads", plane, 2, 0, w->pad, w->pad_after, err);
    if (status != GM_OK) return status;
    for (int i = 0; i < 2; i++) {
        int from = i - (2 - plane);
        size_t own = kernel && from >= 0 ? kernel[from] : 1;
        if (kernel && from >= 0 && w->kernel[i] && w->kernel[i] != own) {
            return gm_onnx_refuse(s, err, "kernel_shape %zu, the weight has %zu", w->kernel[i],
                                  own);
        }
        if (kernel) w->kernel[i] = own;
        if (w->kernel[i] == 0 || w->kernel[i] > 1 << 24 || w->dilation[i] > 1 << 24) {
            return gm_onnx_refuse(s, err, "a kernel of 1 to 2^24 and a dilation to 2^24 expected");
        }
    }
    bool upper = gm_onnx_text_is(s, "auto_pad", "SAME_UPPER", false);
    bool lower = gm_onnx_text_is(s, "auto_pad", "SAME_LOWER", false);
    if (upper || lower) pad_same(in, lower, w);
    if (upper || lower || gm_onnx_text_is(s, "auto_pad", "NOTSET", true)) return GM_OK;
    if (!gm_onnx_text_is(s, "auto_pad", "VALID", false)) {
        return gm_onnx_refuse(s, err, "its auto_pad is not supported");
    }
    memset(w->pad, 0, sizeof w->pad);
    memset(w->pad_after, 0, sizeof w->pad_after);
    return GM_OK;
}

void gm_onnx_put_image(const gm_onnx_step *s, int node)
{
    const gm_shape *shape = &s->g->net->node[node].shape;
    size_t dim[GM_ONNX_RANK] = {1, shape->dim[shape->rank - 1]};
    memcpy(dim + 2, shape->dim, (size_t)(shape->rank - 1) * sizeof *dim);
    gm_onnx_put(s, 0, shape->rank + 1, dim, -1, node);
}

/* ---- operators ---- */

gm_status gm_onnx_emit_conv(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0), *weight = gm_onnx_in(s, 1), *bias = gm_onnx_in(s, 2);
    int node;
    gm_conv_config config = {.groups = 0};
    gm_status status = gm_onnx_image_of(s, in, &node, err);
    if (status != GM_OK) return status;
    if (weight->tensor.rank != in->tensor.rank || weight->tensor.of != GM_ONNX_REAL ||
        weight->moves || !weight->tensor.count) {
        return gm_onnx_refuse(s, err,
                              "its weight '%.100s' depends on the sample, is empty, or not made of "
                              "floating numbers of rank %d",
                              weight->name, in->tensor.rank);
    }
    if (bias && (bias->tensor.rank != 1 || bias->tensor.count != weight->tensor.dim[0])) {
        return gm_onnx_refuse(s, err, "its bias '%.100s' has %zu numbers, expected %zu", bias->name,
                              bias->tensor.count, weight->tensor.dim[0]);
    }
    status = gm_onnx_window_of(s, &in->tensor, weight->tensor.dim + 2, &config.window, err);
    if (status != GM_OK) return status;
    int64_t groups = gm_onnx_int(s, "group", 1);
    config.out_channels = weight->tensor.dim[0];
    config.groups = groups > 0 ? (size_t)groups : 0;
    if (groups < 1 || in->tensor.dim[1] != weight->tensor.dim[1] * config.groups) {
        return gm_onnx_refuse(s, err, "%zu channels, its weight takes %zu in %lld groups",
                              in->tensor.dim[1], weight->tensor.dim[1], (long long)groups);
    }
    bool own = gm_onnx_is_weight(weight), joint = own && bias && gm_onnx_joins(s, weight, bias);
    config.bias = joint;
    gm_frozen_config frozen = {.kind = &gm_layer_conv, .of.conv = config};
    if (own) {
        status = gm_onnx_add_weighted(s, &gm_layer_conv, &config, 1, &node, weight,
                                      joint ? bias : NULL, &node, err);
    } else if (weight->what == GM_ONNX_CONSTANT) {
        status = gm_onnx_add_frozen(s, &frozen, weight, node, &node, err);
    } else {
        status = gm_onnx_conv_by_patches(s, &config, weight, &node, err);
    }
    gm_shape row = {.rank = 1, .dim = {config.out_channels}}; /* channels last: the last axis */
    if (status == GM_OK && bias && !joint) {
        status = gm_onnx_add_term(s, node, bias, &row, &node, err);
    }
    if (status == GM_OK) gm_onnx_put_image(s, node);
    return status;
}

static gm_status emit_pool(gm_onnx_step *s, const gm_layer_kind *kind, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    gm_pool_config config = {.padded = gm_onnx_int(s, "count_include_pad", 0) != 0};
    int node;
    if (gm_onnx_int(s, "storage_order", 0) || gm_onnx_wanted(s, 1)) {
        return gm_onnx_refuse(s, err, "indices of the largest: not supported");
    }
    gm_status status = gm_onnx_image_of(s, in, &node, err);
    if (status == GM_OK) status = gm_onnx_window_of(s, &in->tensor, NULL, &config.window, err);
    if (status == GM_OK) status = gm_onnx_add(s, kind, &config, 1, &node, &node, err);
    if (status == GM_OK) gm_onnx_put_image(s, node);
    return status;
}

gm_status gm_onnx_emit_max_pool(gm_onnx_step *s, gm_error *err)
{
    return emit_pool(s, &gm_layer_max_pool, err);
}

gm_status gm_onnx_emit_average_pool(gm_onnx_step *s, gm_error *err)
{
    return emit_pool(s, &gm_layer_mean_pool, err);
}

/* [1, C, ...] to [1, C, 1, ...], or to [1, C]. */
gm_status gm_onnx_emit_global_mean(gm_onnx_step *s, int rank, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    gm_channels_config config = {.channels_last = true};
    int node;
    gm_status status = gm_onnx_image_of(s, in, &node, err);
    if (status != GM_OK) return status;
    status = gm_onnx_add(s, &gm_layer_global_mean_pool, &config, 1, &node, &node, err);
    size_t dim[GM_ONNX_RANK] = {1, in->tensor.dim[1], 1, 1};
    if (status == GM_OK) gm_onnx_put(s, 0, rank, dim, node, -1);
    return status;
}

gm_status gm_onnx_emit_global_average_pool(gm_onnx_step *s, gm_error *err)
{
    return gm_onnx_emit_global_mean(s, gm_onnx_in(s, 0)->tensor.rank, err);
}

gm_status gm_onnx_emit_global_max_pool(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    gm_pool_config config = {.window = gm_window_square(1, 1, 0, true)};
    int node;
    gm_status status = gm_onnx_image_of(s, gm_onnx_in(s, 0), &node, err);
    if (status != GM_OK) return status;
    for (int i = 2; i < in->rank; i++) {
        config.window.kernel[i - 2 + (in->rank == 3)] = in->dim[i];
    }
    status = gm_onnx_add(s, &gm_layer_max_pool, &config, 1, &node, &node, err);
    if (status == GM_OK) gm_onnx_put_image(s, node);
    return status;
}
