/* Sums, means and largest numbers over axes, and softmax along one. */
#include <string.h>

#include "onnx/operators.h"

/* A reduction as functions around a sum or a mean. */
typedef struct reducer {
    const char *name;
    gm_reduction reduction;
    gm_unary before, after; /* GM_UNARIES: none */
    double power;           /* constant of a power before */
} reducer;

static const reducer reducers[] = {
    {"ReduceSum", GM_REDUCE_SUM, GM_UNARIES, GM_UNARIES, 0},
    {"ReduceMean", GM_REDUCE_MEAN, GM_UNARIES, GM_UNARIES, 0},
    {"ReduceSumSquare", GM_REDUCE_SUM, GM_UNARY_POWER, GM_UNARIES, 2},
    {"ReduceL1", GM_REDUCE_SUM, GM_UNARY_ABS, GM_UNARIES, 0},
    {"ReduceL2", GM_REDUCE_SUM, GM_UNARY_POWER, GM_UNARY_SQRT, 2},
    {"ReduceLogSum", GM_REDUCE_SUM, GM_UNARIES, GM_UNARY_LOG, 0}};

/* True for a mean over all positions of an image, which may keep its channels last. */
static bool is_global_mean(const gm_onnx_step *s, const gm_onnx_value *in, const bool *wanted)
{
    bool global = strcmp(s->op->name, "ReduceMean") == 0 && in->last >= 0;
    for (int i = 0; global && i < in->tensor.rank; i++) {
        global = wanted[i] == (i > 1);
    }
    return global;
}

static gm_status axes_of(const gm_onnx_step *s, const gm_onnx_value *in, bool *wanted, bool *any,
                         gm_error *err)
{
    bool given;
    gm_status status = gm_onnx_axes(s, 1, in->tensor.rank, wanted, &given, err);
    *any = given || !gm_onnx_int(s, "noop_with_empty_axes", 0);
    for (int i = 0; !given && i < in->tensor.rank; i++) {
        wanted[i] = *any;
    }
    if (status == GM_OK && in->moves && !s->g->unbatched && in->tensor.rank > 0 && wanted[0] &&
        in->tensor.dim[0] == 1) {
        return gm_onnx_refuse(s, err, "over the first axis, the batch");
    }
    return status;
}

gm_status gm_onnx_emit_reduce(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    bool wanted[GM_ONNX_RANK], any, keep = gm_onnx_int(s, "keepdims", 1) != 0;
    gm_onnx_tensor out = {.rank = 0};
    gm_shape shape;
    int node;
    const reducer *r = reducers;
    while (strcmp(r->name, s->op->name) != 0) {
        r++;
    }
    gm_status status = axes_of(s, in, wanted, &any, err);
    if (status != GM_OK) return status;
    if (is_global_mean(s, in, wanted)) {
        return gm_onnx_emit_global_mean(s, keep ? in->tensor.rank : 2, err);
    }
    status = gm_onnx_node_of(s, in, &node, err);
    if (status == GM_OK) status = gm_onnx_shape_of(s, &in->tensor, &shape, err);
    if (status == GM_OK && shape.rank < in->tensor.rank) {
        status = gm_onnx_refuse(s, err, "an input of rank %d", in->tensor.rank);
    }
    if (status != GM_OK) return status;
    gm_reduce_config config = {.reduction = r->reduction, .keep = true};
    for (int i = 0; i < in->tensor.rank; i++) {
        if (wanted[i]) config.axes |= 1u << i;
        if (!wanted[i] || keep) out.dim[out.rank++] = wanted[i] ? 1 : in->tensor.dim[i];
    }
    if (r->before != GM_UNARIES) {
        status = gm_onnx_add_unary(s, r->before, r->power, 0.0, node, &node, err);
    }
    if (status == GM_OK && config.axes) {
        status = gm_onnx_add(s, &gm_layer_reduce, &config, 1, &node, &node, err);
    }
    if (status == GM_OK && r->after != GM_UNARIES) {
        status = gm_onnx_add_unary(s, r->after, 0.0, 0.0, node, &node, err);
    }
    if (status == GM_OK) gm_onnx_put(s, 0, out.rank, out.dim, node, -1);
    return status;
}

/* ---- the largest number ---- */

/* *node = the largest of every column of the node [rows, columns], as [1, columns]. */
static gm_status add_largest(const gm_onnx_step *s, size_t rows, int *node, gm_error *err)
{
    gm_pool_config config = {.window = gm_window_square(1, 1, 0, true)};
    config.window.kernel[1] = rows;
    return gm_onnx_add(s, &gm_layer_max_pool, &config, 1, node, node, err);
}

/* *node = m + log sum exp(x - m) with m the largest; of -inf in x nothing stays. */
static gm_status add_log_sum_exp(const gm_onnx_step *s, size_t rows, int *node, gm_error *err)
{
    gm_reduce_config sum = {.reduction = GM_REDUCE_SUM, .axes = 1, .keep = true};
    int largest = *node;
    gm_status status = add_largest(s, rows, &largest, err);
    if (status == GM_OK) {
        status = gm_onnx_add_binary(s, GM_BINARY_SUB, *node, largest, node, err);
    }
    if (status == GM_OK) status = gm_onnx_add_unary(s, GM_UNARY_EXP, 0.0, 0.0, *node, node, err);
    if (status == GM_OK) status = gm_onnx_add(s, &gm_layer_reduce, &sum, 1, node, node, err);
    if (status == GM_OK) status = gm_onnx_add_unary(s, GM_UNARY_LOG, 0.0, 0.0, *node, node, err);
    return status == GM_OK ? gm_onnx_add_binary(s, GM_BINARY_ADD, *node, largest, node, err)
                           : status;
}

/* *node = the input as [rows, columns], the axes that are reduced in front. */
static gm_status columns_of(const gm_onnx_step *s, gm_onnx_value *in, const bool *wanted,
                            size_t *rows, int *node, gm_error *err)
{
    gm_transpose_config order = {{0}};
    int rank = in->tensor.rank, count = 0;
    *rows = 1;
    if (rank < 1 || rank > GM_MAX_RANK) return gm_onnx_refuse(s, err, "an input of rank %d", rank);
    for (int part = 0; part < 2; part++) {
        for (int i = 0; i < rank; i++) {
            if (wanted[i] != (part == 0)) continue;
            order.axis[count++] = i;
            if (wanted[i]) *rows *= in->tensor.dim[i];
        }
    }
    gm_reshape_config flat = {{2, {*rows, in->tensor.count / *rows}}};
    gm_status status = gm_onnx_node_of(s, in, node, err);
    if (status == GM_OK) status = gm_onnx_add(s, &gm_layer_transpose, &order, 1, node, node, err);
    return status == GM_OK ? gm_onnx_add(s, &gm_layer_reshape, &flat, 1, node, node, err) : status;
}

gm_status gm_onnx_emit_extreme(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    bool wanted[GM_ONNX_RANK], any, keep = gm_onnx_int(s, "keepdims", 1) != 0;
    bool least = strcmp(s->op->name, "ReduceMin") == 0;
    size_t rows = 1, dim[GM_ONNX_RANK];
    int node = -1, rank = 0;
    gm_status status = axes_of(s, in, wanted, &any, err);
    if (status == GM_OK) status = columns_of(s, in, wanted, &rows, &node, err);
    if (status == GM_OK && least) {
        status = gm_onnx_add_unary(s, GM_UNARY_AFFINE, -1.0, 0.0, node, &node, err);
    }
    if (status != GM_OK) return status;
    status = strcmp(s->op->name, "ReduceLogSumExp") == 0 ? add_log_sum_exp(s, rows, &node, err)
                                                         : add_largest(s, rows, &node, err);
    if (status == GM_OK && least) {
        status = gm_onnx_add_unary(s, GM_UNARY_AFFINE, -1.0, 0.0, node, &node, err);
    }
    for (int i = 0; i < in->tensor.rank; i++) {
        if (!wanted[i] || keep) dim[rank++] = wanted[i] ? 1 : in->tensor.dim[i];
    }
    if (status == GM_OK) gm_onnx_put(s, 0, rank, dim, node, -1);
    return status;
}

/* ---- softmax ---- */

/* Since opset 13 along one axis; before, over all axes from that one on at once. */
gm_status gm_onnx_emit_softmax(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    gm_softmax_config config = {.log = strcmp(s->op->name, "LogSoftmax") == 0};
    bool single = s->g->opset >= 13;
    int axis, node;
    gm_shape shape;
    gm_status status =
        gm_onnx_axis(s, gm_onnx_int(s, "axis", single ? -1 : 1), in->tensor.rank, &axis, err);
    if (status == GM_OK) status = gm_onnx_shape_of(s, &in->tensor, &shape, err);
    if (status != GM_OK) return status;
    config.axis = axis - (in->tensor.rank - shape.rank);
    if (!single) {
        shape = (gm_shape){.rank = 2, .dim = {1, 1}};
        for (int i = 0; i < in->tensor.rank; i++) {
            shape.dim[i >= axis] *= in->tensor.dim[i];
        }
        config.axis = 1;
    }
    status = gm_onnx_node_as(s, in, &shape, &node, err);
    if (status == GM_OK) status = gm_onnx_add(s, &gm_layer_softmax, &config, 1, &node, &node, err);
    if (status == GM_OK) gm_onnx_put(s, 0, in->tensor.rank, in->tensor.dim, node, -1);
    return status;
}
