/* Operators that move numbers about: transpositions, pieces of axes, rows of tables. */
#include <string.h>

#include "base/memory.h"
#include "onnx/operators.h"

/* The node of an input whose axes are those of its shape. */
static gm_status node_with_axes(const gm_onnx_step *s, gm_onnx_value *in, int *node, gm_error *err)
{
    if (in->tensor.rank > GM_MAX_RANK || in->tensor.rank < 1) {
        return gm_onnx_refuse(s, err, "an input of rank %d, expected 1 ... %d", in->tensor.rank,
                              GM_MAX_RANK);
    }
    return gm_onnx_node_of(s, in, node, err);
}

/* True where a parameter is a matrix in the file too, and no view of other dimensions. */
static bool is_matrix(const gm_onnx_step *s, const gm_onnx_value *value)
{
    return s->g->value[value->initializer].tensor.rank == 2;
}

gm_status gm_onnx_emit_transpose(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0), *out = gm_onnx_out(s, 0);
    int axis[GM_ONNX_RANK] = {0}, moved = 0, last = -1;
    size_t dim[GM_ONNX_RANK];
    gm_status status = gm_onnx_permutation(s, in->tensor.rank, axis, err);
    if (status != GM_OK) return status;
    for (int i = 0; i < in->tensor.rank; i++) {
        dim[i] = in->tensor.dim[axis[i]];
        if (dim[i] == 1) continue; /* axes of length 1 may go anywhere */
        moved += axis[i] < last;
        last = axis[i];
    }
    if (moved == 0) return gm_onnx_alias(s, in, in->tensor.rank, dim, err);
    if (in->what == GM_ONNX_PARAMETER && in->tensor.rank == 2 && is_matrix(s, in)) {
        status = gm_onnx_alias(s, in, 2, in->tensor.dim, err);
        out->swapped = !in->swapped;
        out->node = -1;
        memcpy(out->tensor.dim, dim, 2 * sizeof *dim);
        return status;
    }
    gm_transpose_config config = {{0}};
    memcpy(config.axis, axis,
           sizeof(int) * (size_t)(in->tensor.rank < GM_MAX_RANK ? in->tensor.rank : GM_MAX_RANK));
    int node = -1;
    status = gm_onnx_node_of(s, in, &node, err);
    if (status == GM_OK && in->tensor.rank > GM_MAX_RANK) {
        status = gm_onnx_refuse(s, err, "an input of rank %d", in->tensor.rank);
    }
    if (status == GM_OK) {
        status = gm_onnx_add(s, &gm_layer_transpose, &config, 1, &node, &node, err);
    }
    if (status == GM_OK) gm_onnx_put(s, 0, in->tensor.rank, dim, node, -1);
    return status;
}

gm_status gm_onnx_emit_concat(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *first = gm_onnx_in(s, 0);
    int axis = 0, rank = first->tensor.rank, node[GM_MAX_INPUTS] = {0}, count = 0;
    gm_onnx_tensor out = first->tensor;
    gm_status status = gm_onnx_axis(s, gm_onnx_int(s, "axis", 0), rank, &axis, err);
    gm_concat_config config = {.axis = axis};
    out.dim[status == GM_OK ? axis : 0] = 0;
    for (size_t i = 0; status == GM_OK && i < s->node->n_input; i++) {
        gm_onnx_value *in = gm_onnx_in(s, i);
        if (!in || in->tensor.rank != rank) {
            return gm_onnx_refuse(s, err, "input %zu does not fit the first", i);
        }
        if (count == GM_MAX_INPUTS) { /* more than a layer takes: those so far side by side first */
            status = gm_onnx_add(s, &gm_layer_concat, &config, count, node, &node[0], err);
            count = 1;
        }
        if (status == GM_OK) status = gm_onnx_node_of(s, in, &node[count++], err);
        if (status == GM_OK && !gm_add_size(out.dim[axis], in->tensor.dim[axis], &out.dim[axis])) {
            return gm_onnx_refuse(s, err, "its size overflows");
        }
    }
    if (status != GM_OK) return status;
    int made = node[0];
    if (count > 1) status = gm_onnx_add(s, &gm_layer_concat, &config, count, node, &made, err);
    if (status == GM_OK) gm_onnx_put(s, 0, rank, out.dim, made, -1);
    return status;
}

/* ---- pieces ---- */

static gm_status put_slice(gm_onnx_step *s, size_t slot, gm_onnx_value *in, const gm_onnx_range *r,
                           gm_error *err)
{
    gm_slice_config config = {.start = {0}};
    bool whole = true;
    int node = -1;
    gm_status status = node_with_axes(s, in, &node, err);
    if (status != GM_OK) return status;
    for (int i = 0; i < in->tensor.rank; i++) {
        if (r->count[i] == 0) return gm_onnx_refuse(s, err, "nothing is left of axis %d", i);
        if (r->step[i] > INT32_MAX || r->step[i] < INT32_MIN) {
            return gm_onnx_refuse(s, err, "a step of %lld", (long long)r->step[i]);
        }
        config.start[i] = (size_t)r->start[i];
        config.count[i] = r->count[i];
        config.step[i] = (int)r->step[i];
        whole = whole && r->count[i] == in->tensor.dim[i] && r->step[i] > 0;
    }
    if (!whole) status = gm_onnx_add(s, &gm_layer_slice, &config, 1, &node, &node, err);
    if (status == GM_OK) gm_onnx_put(s, slot, in->tensor.rank, r->count, node, -1);
    return status;
}

gm_status gm_onnx_emit_slice(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    gm_onnx_range r;
    gm_status status = gm_onnx_slice_range(s, &in->tensor, &r, err);
    return status == GM_OK ? put_slice(s, 0, in, &r, err) : status;
}

gm_status gm_onnx_emit_split(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    size_t count, outputs = s->node->n_output, at = 0;
    const int64_t *given = gm_onnx_ints(s, "split", &count);
    int axis;
    gm_onnx_range r;
    gm_status status = gm_onnx_axis(s, gm_onnx_int(s, "axis", 0), in->tensor.rank, &axis, err);
    if (status == GM_OK && !given) status = gm_onnx_wholes(s, 1, &given, &count, err);
    if (status != GM_OK) return status;
    size_t length = in->tensor.dim[axis];
    if ((given && count != outputs) || (!given && length % outputs)) {
        return gm_onnx_refuse(s, err, "%zu numbers into %zu outputs", length, outputs);
    }
    for (int i = 0; i < in->tensor.rank; i++) {
        r.start[i] = 0;
        r.step[i] = 1;
        r.count[i] = in->tensor.dim[i];
    }
    for (size_t i = 0; status == GM_OK && i < outputs; i++) {
        int64_t part = given ? given[i] : (int64_t)(length / outputs);
        if (part < 0 || (size_t)part > length - at) {
            return gm_onnx_refuse(s, err, "part %zu of %lld numbers, %zu are left", i,
                                  (long long)part, length - at);
        }
        r.start[axis] = (int64_t)at;
        r.count[axis] = (size_t)part;
        at += (size_t)part;
        if (gm_onnx_wanted(s, i)) status = put_slice(s, i, in, &r, err);
    }
    return status;
}

/* ---- rows of tables ---- */

/* Rows of a weight by the numbers of the sample. */
static gm_status emit_embedding(gm_onnx_step *s, gm_onnx_value *table, gm_onnx_value *tokens,
                                gm_error *err)
{
    int node = -1;
    size_t dim[GM_ONNX_RANK + 1];
    if (!gm_onnx_is_weight(table) || table->tensor.rank != 2 || gm_onnx_int(s, "axis", 0) != 0 ||
        tokens->tensor.rank >= GM_MAX_RANK) {
        return gm_onnx_refuse(s, err,
                              "indices that depend on the sample, expected rows of an "
                              "initializer [rows, width]");
    }
    gm_embedding_config config = {.vocabulary = table->tensor.dim[0],
                                  .width = table->tensor.dim[1]};
    gm_status status = gm_onnx_node_of(s, tokens, &node, err);
    if (status == GM_OK) {
        status = gm_onnx_add_weighted(s, &gm_layer_embedding, &config, 1, &node, table, NULL, &node,
                                      err);
    }
    if (status != GM_OK) return status;
    memcpy(dim, tokens->tensor.dim, sizeof tokens->tensor.dim);
    dim[tokens->tensor.rank] = config.width;
    gm_onnx_put(s, 0, tokens->tensor.rank + 1, dim, node, -1);
    return GM_OK;
}

/* Constant places along an axis: index [count], none of them negative any more. */
static gm_status take_index(gm_onnx_step *s, const gm_onnx_tensor *pick, size_t length,
                            const double **index, bool *all, gm_error *err)
{
    double *place = gm_alloc(pick->count, sizeof *place, "indices", err);
    gm_status status = place ? gm_onnx_count_folded(s, pick->count, err) : GM_ERR_MEMORY;
    *all = pick->count == length;
    for (size_t i = 0; status == GM_OK && i < pick->count; i++) {
        int64_t at = pick->whole[i] < 0 ? pick->whole[i] + (int64_t)length : pick->whole[i];
        if (at < 0 || at >= (int64_t)length) {
            status = gm_onnx_refuse(s, err, "index %lld of an axis of %zu",
                                    (long long)pick->whole[i], length);
        }
        place[i] = (double)at;
        *all = *all && at == (int64_t)i;
    }
    if (status == GM_OK) status = gm_net_keep(s->g->net, pick->count, place, index, err);
    gm_free(place);
    return status;
}

gm_status gm_onnx_emit_gather(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0), *pick = gm_onnx_in(s, 1);
    if (pick->what != GM_ONNX_CONSTANT) return emit_embedding(s, in, pick, err);
    gm_gather_config config = {.count = pick->tensor.count};
    int axis, node = -1, rank = 0;
    bool all;
    size_t dim[2 * GM_ONNX_RANK];
    gm_status status = gm_onnx_axis(s, gm_onnx_int(s, "axis", 0), in->tensor.rank, &axis, err);
    if (status != GM_OK) return status;
    if (pick->tensor.of == GM_ONNX_REAL || pick->tensor.count == 0 ||
        in->tensor.rank - 1 + pick->tensor.rank > GM_MAX_RANK) {
        return gm_onnx_refuse(s, err, "indices of rank %d, %zu of them", pick->tensor.rank,
                              pick->tensor.count);
    }
    for (int i = 0; i < in->tensor.rank; i++) {
        for (int j = 0; i == axis && j < pick->tensor.rank; j++) {
            dim[rank++] = pick->tensor.dim[j];
        }
        if (i != axis) dim[rank++] = in->tensor.dim[i];
    }
    config.axis = axis;
    status = take_index(s, &pick->tensor, in->tensor.dim[axis], &config.index, &all, err);
    if (status == GM_OK) status = node_with_axes(s, in, &node, err);
    if (status == GM_OK && !all) {
        status = gm_onnx_add(s, &gm_layer_gather, &config, 1, &node, &node, err);
    }
    if (status == GM_OK) gm_onnx_put(s, 0, rank, dim, node, -1);
    return status;
}

/* ---- more numbers ---- */

static gm_status emit_expanded(gm_onnx_step *s, const gm_onnx_tensor *out, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    gm_expand_config config;
    int node = -1;
    gm_status status = gm_onnx_node_of(s, in, &node, err);
    if (status == GM_OK) status = gm_onnx_shape_of(s, out, &config.shape, err);
    if (status == GM_OK && out->count != in->tensor.count) {
        status = gm_onnx_add(s, &gm_layer_expand, &config, 1, &node, &node, err);
    }
    if (status == GM_OK) gm_onnx_put(s, 0, out->rank, out->dim, node, -1);
    return status;
}

gm_status gm_onnx_emit_expand(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_tensor out = {0};
    gm_status status = gm_onnx_expand_dims(s, &gm_onnx_in(s, 0)->tensor, &out, err);
    return status == GM_OK ? emit_expanded(s, &out, err) : status;
}

gm_status gm_onnx_emit_pad(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    gm_pad_config config = {.before = {0}};
    size_t count, dim[GM_ONNX_RANK];
    double fill;
    int node, rank = in->tensor.rank;
    const int64_t *pads = gm_onnx_ints(s, "pads", &count);
    gm_status status = pads ? GM_OK : gm_onnx_wholes(s, 1, &pads, &count, err);
    if (status == GM_OK) status = gm_onnx_scalar(s, 2, gm_onnx_float(s, "value", 0.0), &fill, err);
    if (status == GM_OK) status = node_with_axes(s, in, &node, err);
    if (status != GM_OK) return status;
    if (!gm_onnx_text_is(s, "mode", "constant", true) || fill != 0.0 || count != 2 * (size_t)rank) {
        return gm_onnx_refuse(s, err,
                              "expected mode constant, zeros, and two numbers for each of "
                              "%d axes",
                              rank);
    }
    for (int i = 0; i < rank; i++) {
        if (pads[i] < 0 || pads[i + rank] < 0 || pads[i] > 1 << 24 || pads[i + rank] > 1 << 24) {
            return gm_onnx_refuse(s, err, "padding of %lld and %lld", (long long)pads[i],
                                  (long long)pads[i + rank]);
        }
        config.before[i] = (size_t)pads[i];
        config.after[i] = (size_t)pads[i + rank];
        dim[i] = in->tensor.dim[i] + config.before[i] + config.after[i];
    }
    status = gm_onnx_add(s, &gm_layer_pad, &config, 1, &node, &node, err);
    if (status == GM_OK) gm_onnx_put(s, 0, rank, dim, node, -1);
    return status;
}
