/* Normalizations. Where scale and shift are parameters that follow each other they are one layer's,
 * else the layer has none and they are multiplied with and added. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "onnx/operators.h"

/* node = node * scale + shift, each [channels] of the node's last axis or of this shape. */
static gm_status scale_and_shift(const gm_onnx_step *s, gm_onnx_value *scale, gm_onnx_value *shift,
                                 const gm_shape *shape, int *node, gm_error *err)
{
    int factor;
    gm_status status = gm_onnx_node_as(s, scale, shape, &factor, err);
    if (status == GM_OK) status = gm_onnx_add_binary(s, GM_BINARY_MUL, *node, factor, node, err);
    if (status == GM_OK && shift) status = gm_onnx_add_term(s, *node, shift, shape, node, err);
    return status;
}

static bool are_joint(const gm_onnx_step *s, gm_onnx_value *scale, gm_onnx_value *shift)
{
    return shift && gm_onnx_is_weight(scale) && gm_onnx_joins(s, scale, shift);
}

/* ---- batch normalization ---- */

/* *node = (*node - mean) / sqrt(variance + epsilon) along the last axis, by constants. */
static gm_status standardize(const gm_onnx_step *s, const gm_onnx_value *mean,
                             const gm_onnx_value *variance, double epsilon, int *node,
                             gm_error *err)
{
    gm_onnx_tensor number[2];
    size_t channels = mean->tensor.count;
    gm_status status = gm_onnx_tensor_make(GM_ONNX_REAL, 1, &channels, &number[0], err);
    if (status != GM_OK) return status;
    status = gm_onnx_tensor_make(GM_ONNX_REAL, 1, &channels, &number[1], err);
    for (size_t i = 0; status == GM_OK && i < channels; i++) {
        number[0].real[i] = 1.0 / sqrt(variance->tensor.real[i] + epsilon);
        number[1].real[i] = -mean->tensor.real[i] * number[0].real[i];
    }
    gm_onnx_value value[2];
    for (int i = 0; i < 2; i++) {
        value[i] = (gm_onnx_value){.name = mean->name,
                                   .what = GM_ONNX_CONSTANT,
                                   .tensor = number[i],
                                   .node = -1,
                                   .last = -1};
    }
    gm_shape row = {.rank = 1, .dim = {channels}};
    if (status == GM_OK) status = scale_and_shift(s, &value[0], &value[1], &row, node, err);
    gm_onnx_tensor_free(&number[0]);
    gm_onnx_tensor_free(&number[1]);
    return status;
}

static gm_status check_batch_norm(const gm_onnx_step *s, size_t channels, gm_error *err)
{
    if (gm_onnx_int(s, "training_mode", 0) || gm_onnx_wanted(s, 1)) {
        return gm_onnx_refuse(s, err,
                              "in training mode a sample's loss depends on the others; "
                              "export the net in inference mode (model.eval())");
    }
    for (size_t i = 1; i < 5; i++) {
        const gm_onnx_value *in = gm_onnx_in(s, i);
        bool right = i < 3 || (in->what == GM_ONNX_CONSTANT && in->tensor.of == GM_ONNX_REAL);
        if (right && in->tensor.count == channels) continue;
        return gm_onnx_refuse(s, err, "input '%.100s' is no initializer of %zu numbers", in->name,
                              channels);
    }
    const gm_onnx_value *variance = gm_onnx_in(s, 4);
    for (size_t i = 0; i < channels; i++) {
        if (variance->tensor.real[i] + gm_onnx_float(s, "epsilon", 1e-5) > 0.0) continue;
        return gm_onnx_refuse(s, err, "running variance %g of channel %zu",
                              variance->tensor.real[i], i);
    }
    return GM_OK;
}

gm_status gm_onnx_emit_batch_norm(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0), *scale = gm_onnx_in(s, 1), *shift = gm_onnx_in(s, 2);
    const gm_onnx_value *mean = gm_onnx_in(s, 3), *variance = gm_onnx_in(s, 4);
    size_t channels = in->tensor.rank > 1 ? in->tensor.dim[1] : 0;
    bool image = in->tensor.rank > 2;
    gm_shape row = {.rank = 1, .dim = {channels}};
    gm_norm_config config = {
        .epsilon = gm_onnx_float(s, "epsilon", 1e-5), .start = 1.0, .channels_last = image};
    int node;
    gm_status status = check_batch_norm(s, channels, err);
    if (status != GM_OK) return status;
    status = image ? gm_onnx_image_of(s, in, &node, err) : gm_onnx_node_as(s, in, &row, &node, err);
    if (status != GM_OK) return status;
    if (are_joint(s, scale, shift)) {
        status = gm_net_keep(s->g->net, channels, mean->tensor.real, &config.mean, err);
        if (status == GM_OK) {
            status = gm_net_keep(s->g->net, channels, variance->tensor.real, &config.variance, err);
        }
        if (status == GM_OK) {
            status = gm_onnx_add_weighted(s, &gm_layer_norm, &config, 1, &node, scale, shift, &node,
                                          err);
        }
    } else {
        status = standardize(s, mean, variance, config.epsilon, &node, err);
        if (status == GM_OK) status = scale_and_shift(s, scale, shift, &row, &node, err);
    }
    if (status != GM_OK) return status;
    gm_onnx_put(s, 0, in->tensor.rank, in->tensor.dim, image ? -1 : node, image ? node : -1);
    return GM_OK;
}

/* ---- layer and instance normalization ---- */

gm_status gm_onnx_emit_layer_norm(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0), *scale = gm_onnx_in(s, 1), *shift = gm_onnx_in(s, 2);
    int axis, node;
    gm_shape shape;
    gm_status status = gm_onnx_axis(s, gm_onnx_int(s, "axis", -1), in->tensor.rank, &axis, err);
    if (status != GM_OK) return status;
    if (gm_onnx_wanted(s, 1) || gm_onnx_wanted(s, 2)) {
        return gm_onnx_refuse(s, err, "its mean and deviation as outputs are not supported");
    }
    gm_layer_norm_config config = {.axes = in->tensor.rank - axis,
                                   .epsilon = gm_onnx_float(s, "epsilon", (double)1e-5f)};
    bool whole = scale->tensor.rank == config.axes;
    for (int i = axis; whole && i < in->tensor.rank; i++) {
        whole = scale->tensor.dim[i - axis] == in->tensor.dim[i];
    }
    config.affine = whole && are_joint(s, scale, shift);
    status = gm_onnx_node_of(s, in, &node, err);
    if (status != GM_OK) return status;
    if (config.affine) {
        status = gm_onnx_add_weighted(s, &gm_layer_layer_norm, &config, 1, &node, scale, shift,
                                      &node, err);
    } else {
        status = gm_onnx_add(s, &gm_layer_layer_norm, &config, 1, &node, &node, err);
        if (status == GM_OK) status = gm_onnx_shape_of(s, &scale->tensor, &shape, err);
        if (status == GM_OK) status = scale_and_shift(s, scale, shift, &shape, &node, err);
    }
    if (status == GM_OK) gm_onnx_put(s, 0, in->tensor.rank, in->tensor.dim, node, -1);
    return status;
}

/* Over the positions of each channel of [1, C, ...]. */
gm_status gm_onnx_emit_instance_norm(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0), *scale = gm_onnx_in(s, 1), *shift = gm_onnx_in(s, 2);
    size_t channels = in->tensor.rank > 2 ? in->tensor.dim[1] : 0;
    if (channels == 0 || in->tensor.dim[0] != 1 || in->tensor.rank - 1 > GM_MAX_RANK ||
        scale->tensor.count != channels || shift->tensor.count != channels) {
        return gm_onnx_refuse(s, err, "expected [batch, C, ...] and C numbers of scale and shift");
    }
    gm_shape shape = {.rank = in->tensor.rank - 1}, column = {.rank = in->tensor.rank - 1};
    for (int i = 0; i < shape.rank; i++) {
        shape.dim[i] = in->tensor.dim[i + 1];
        column.dim[i] = i ? 1 : channels;
    }
    gm_group_norm_config config = {.groups = channels,
                                   .epsilon = gm_onnx_float(s, "epsilon", (double)1e-5f),
                                   .affine = are_joint(s, scale, shift)};
    int node;
    gm_status status = gm_onnx_node_as(s, in, &shape, &node, err);
    if (status != GM_OK) return status;
    if (config.affine) {
        status = gm_onnx_add_weighted(s, &gm_layer_group_norm, &config, 1, &node, scale, shift,
                                      &node, err);
    } else {
        status = gm_onnx_add(s, &gm_layer_group_norm, &config, 1, &node, &node, err);
        if (status == GM_OK) status = scale_and_shift(s, scale, shift, &column, &node, err);
    }
    if (status == GM_OK) gm_onnx_put(s, 0, in->tensor.rank, in->tensor.dim, node, -1);
    return status;
}
