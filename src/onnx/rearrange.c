/* Operators that are known transpositions between two views, and repetitions: DepthToSpace,
 * SpaceToDepth, Tile. */
#include <string.h>

#include "base/memory.h"
#include "onnx/operators.h"

/* ---- pixels and channels ---- */

/* The output [dim] is the input as [apart], its axes in that order. */
static gm_status rearrange(const gm_onnx_step *s, const gm_shape *apart,
                           const gm_transpose_config *order, const size_t *dim, gm_error *err)
{
    int node = -1;
    gm_status status = gm_onnx_node_as(s, gm_onnx_in(s, 0), apart, &node, err);
    if (status == GM_OK) {
        status = gm_onnx_add(s, &gm_layer_transpose, order, 1, &node, &node, err);
    }
    if (status == GM_OK) gm_onnx_put(s, 0, 4, dim, node, -1);
    return status;
}

/* The length of a block, which must divide what it divides. */
static gm_status block_of(const gm_onnx_step *s, bool channels, size_t *block, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    int64_t given = gm_onnx_int(s, "blocksize", 0);
    bool fits = in->rank == 4 && given > 0 && given < 1 << 16;
    size_t b = fits ? (size_t)given : 1;
    fits = fits && (channels ? in->dim[1] % (b * b) == 0 : in->dim[2] % b + in->dim[3] % b == 0);
    *block = b;
    if (fits) return GM_OK;
    return gm_onnx_refuse(s, err, "blocks of %lld in an input of rank %d", (long long)given,
                          in->rank);
}

gm_status gm_onnx_emit_depth_to_space(gm_onnx_step *s, gm_error *err)
{
    const size_t *in = gm_onnx_in(s, 0)->tensor.dim;
    size_t b;
    gm_status status = block_of(s, true, &b, err);
    if (status != GM_OK) return status;
    size_t deep = in[1] / (b * b), dim[] = {in[0], deep, in[2] * b, in[3] * b};
    gm_shape blocks_first = {6, {in[0], b, b, deep, in[2], in[3]}};
    gm_shape depth_first = {6, {in[0], deep, b, b, in[2], in[3]}};
    if (gm_onnx_text_is(s, "mode", "DCR", true)) {
        return rearrange(s, &blocks_first, &(gm_transpose_config){{0, 3, 4, 1, 5, 2}}, dim, err);
    }
    if (gm_onnx_text_is(s, "mode", "CRD", false)) {
        return rearrange(s, &depth_first, &(gm_transpose_config){{0, 1, 4, 2, 5, 3}}, dim, err);
    }
    return gm_onnx_refuse(s, err, "its mode is not supported");
}

gm_status gm_onnx_emit_space_to_depth(gm_onnx_step *s, gm_error *err)
{
    const size_t *in = gm_onnx_in(s, 0)->tensor.dim;
    size_t b;
    gm_status status = block_of(s, false, &b, err);
    if (status != GM_OK) return status;
    size_t dim[] = {in[0], in[1] * b * b, in[2] / b, in[3] / b};
    gm_shape apart = {6, {in[0], in[1], dim[2], b, dim[3], b}};
    return rearrange(s, &apart, &(gm_transpose_config){{0, 3, 5, 1, 2, 4}}, dim, err);
}

/* ---- repetitions ---- */

/* dim [rank] of the input, repeated. */
static gm_status tiled_dims(const gm_onnx_step *s, size_t *dim, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    const int64_t *times;
    size_t count;
    gm_status status = gm_onnx_wholes(s, 1, &times, &count, err);
    if (status == GM_OK && count != (size_t)in->rank) {
        status = gm_onnx_refuse(s, err, "%zu repetitions of an input of rank %d", count, in->rank);
    }
    for (int i = 0; status == GM_OK && i < in->rank; i++) {
        bool good = times[i] > 0 && times[i] <= GM_ONNX_FOLDED;
        if (!good || !gm_mul_size(in->dim[i], (size_t)times[i], &dim[i])) {
            status = gm_onnx_refuse(s, err, "axis %d repeated %lld times", i, (long long)times[i]);
        }
    }
    return status;
}

gm_status gm_onnx_fold_tile(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    size_t dim[GM_ONNX_RANK];
    ptrdiff_t stride[GM_ONNX_RANK];
    gm_onnx_tensor *out;
    gm_status status = tiled_dims(s, dim, err);
    if (status == GM_OK) status = gm_onnx_fold_make(s, 0, in->of, in->rank, dim, &out, err);
    if (status != GM_OK) return status;
    gm_onnx_strides(in, stride);
    for (size_t i = 0; i < out->count; i++) {
        size_t rest = i, from = 0;
        for (int j = in->rank; j-- > 0;) {
            from += rest % dim[j] % in->dim[j] * (size_t)stride[j];
            rest /= dim[j];
        }
        out->whole[i] = in->whole[from]; /* eight bytes of either class */
    }
    return GM_OK;
}

/* Axis by axis: the places 0 ... n - 1 again and again. */
gm_status gm_onnx_emit_tile(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    size_t dim[GM_ONNX_RANK] = {0};
    int node = -1;
    if (in->tensor.rank > GM_MAX_RANK) {
        return gm_onnx_refuse(s, err, "an input of rank %d, at most %d", in->tensor.rank,
                              GM_MAX_RANK);
    }
    gm_status status = tiled_dims(s, dim, err);
    if (status == GM_OK) status = gm_onnx_node_of(s, in, &node, err);
    for (int i = 0; status == GM_OK && i < in->tensor.rank; i++) {
        size_t n = in->tensor.dim[i];
        if (dim[i] == n) continue;
        gm_gather_config places = {.axis = i, .count = dim[i]};
        status = gm_onnx_count_folded(s, dim[i], err);
        if (status != GM_OK) return status;
        double *place = gm_alloc(dim[i], sizeof *place, "places of an axis", err);
        for (size_t j = 0; place && j < dim[i]; j++) {
            place[j] = (double)(j % n);
        }
        status = place ? gm_net_keep(s->g->net, dim[i], place, &places.index, err) : GM_ERR_MEMORY;
        gm_free(place);
        if (status == GM_OK)
            status = gm_onnx_add(s, &gm_layer_gather, &places, 1, &node, &node, err);
    }
    if (status == GM_OK) gm_onnx_put(s, 0, in->tensor.rank, dim, node, -1);
    return status;
}
