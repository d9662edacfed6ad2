/* Views: the same numbers under other dimensions, and the shapes of what moves numbers about, for
 * constants and activations alike. */
#include <string.h>

#include "base/memory.h"
#include "onnx/operators.h"

/* ---- dimensions ---- */

/* 0 copies the input's dimension, one -1 is what is left over. */
static gm_status fill_dims(const gm_onnx_step *s, const gm_onnx_tensor *in, size_t count,
                           const int64_t *wanted, int *rank, size_t *dim, gm_error *err)
{
    size_t known = 1;
    int open = -1;
    bool zeros = gm_onnx_int(s, "allowzero", 0) != 0;
    if (count > GM_ONNX_RANK) return gm_onnx_refuse(s, err, "a shape of rank %zu", count);
    *rank = (int)count;
    for (int i = 0; i < *rank; i++) {
        bool copies = wanted[i] == 0 && !zeros;
        if (wanted[i] < -1 || (wanted[i] == -1 && open >= 0) || (copies && i >= in->rank)) {
            return gm_onnx_refuse(s, err, "dimension %d of its shape is %lld", i,
                                  (long long)wanted[i]);
        }
        dim[i] = copies ? in->dim[i] : wanted[i] == -1 ? 1 : (size_t)wanted[i];
        if (wanted[i] == -1) open = i;
        if (!gm_mul_size(known, dim[i], &known)) {
            return gm_onnx_refuse(s, err, "its shape overflows");
        }
    }
    if (open >= 0 && known > 0 && in->count % known == 0) {
        dim[open] = in->count / known;
        known *= dim[open];
    }
    if (known == in->count) return GM_OK;
    return gm_onnx_refuse(s, err,
                          "%zu numbers (of one sample) cannot take a shape of %zu; is the size of "
                          "the batch fixed in the file?",
                          in->count, known);
}

static gm_status flat_dims(const gm_onnx_step *s, const gm_onnx_tensor *in, int *rank, size_t *dim,
                           gm_error *err)
{
    int64_t axis = gm_onnx_int(s, "axis", 1);
    if (axis < -in->rank || axis > in->rank) {
        return gm_onnx_refuse(s, err, "axis %lld of an input of rank %d", (long long)axis,
                              in->rank);
    }
    if (axis < 0) axis += in->rank;
    *rank = 2;
    dim[0] = dim[1] = 1;
    for (int i = 0; i < in->rank; i++) {
        dim[i >= axis] *= in->dim[i];
    }
    return GM_OK;
}

static gm_status squeezed_dims(const gm_onnx_step *s, const gm_onnx_tensor *in, int *rank,
                               size_t *dim, gm_error *err)
{
    bool wanted[GM_ONNX_RANK], given;
    gm_status status = gm_onnx_axes(s, 1, in->rank, wanted, &given, err);
    *rank = 0;
    for (int i = 0; status == GM_OK && i < in->rank; i++) {
        bool drops = given ? wanted[i] : in->dim[i] == 1;
        if (drops && in->dim[i] != 1) {
            status = gm_onnx_refuse(s, err, "axis %d has %zu numbers, expected 1", i, in->dim[i]);
        }
        if (!drops) dim[(*rank)++] = in->dim[i];
    }
    return status;
}

static gm_status unsqueezed_dims(const gm_onnx_step *s, const gm_onnx_tensor *in, int *rank,
                                 size_t *dim, gm_error *err)
{
    size_t count;
    bool wanted[GM_ONNX_RANK], given;
    const int64_t *axes = gm_onnx_ints(s, "axes", &count);
    gm_status status = axes ? GM_OK : gm_onnx_wholes(s, 1, &axes, &count, err);
    if (status != GM_OK) return status;
    if (count > GM_ONNX_RANK || in->rank + (int)count > GM_ONNX_RANK) {
        return gm_onnx_refuse(s, err, "a shape of rank %d and %zu more", in->rank, count);
    }
    *rank = in->rank + (int)count;
    status = gm_onnx_axes(s, 1, *rank, wanted, &given, err);
    for (int i = 0, from = 0; status == GM_OK && i < *rank; i++) {
        dim[i] = wanted[i] ? 1 : in->dim[from++];
    }
    return status;
}

gm_status gm_onnx_reshape_dims(const gm_onnx_step *s, const gm_onnx_tensor *in, int *rank,
                               size_t *dim, gm_error *err)
{
    const int64_t *wanted;
    size_t count;
    if (strcmp(s->op->name, "Flatten") == 0) return flat_dims(s, in, rank, dim, err);
    if (strcmp(s->op->name, "Squeeze") == 0) return squeezed_dims(s, in, rank, dim, err);
    if (strcmp(s->op->name, "Unsqueeze") == 0) return unsqueezed_dims(s, in, rank, dim, err);
    gm_status status = gm_onnx_wholes(s, 1, &wanted, &count, err);
    return status == GM_OK ? fill_dims(s, in, count, wanted, rank, dim, err) : status;
}

gm_status gm_onnx_permutation(const gm_onnx_step *s, int rank, int *axis, gm_error *err)
{
    size_t count;
    bool seen[GM_ONNX_RANK] = {false};
    const int64_t *perm = gm_onnx_ints(s, "perm", &count);
    if (perm && count != (size_t)rank) {
        return gm_onnx_refuse(s, err, "a permutation of %zu axes of an input of rank %d", count,
                              rank);
    }
    for (int i = 0; i < rank; i++) {
        axis[i] = rank - 1 - i;
        gm_status status = perm ? gm_onnx_axis(s, perm[i], rank, &axis[i], err) : GM_OK;
        if (status != GM_OK) return status;
        if (seen[axis[i]]) return gm_onnx_refuse(s, err, "axis %d is named twice", axis[i]);
        seen[axis[i]] = true;
    }
    return GM_OK;
}

gm_status gm_onnx_expand_dims(const gm_onnx_step *s, const gm_onnx_tensor *in, gm_onnx_tensor *out,
                              gm_error *err)
{
    const int64_t *wanted;
    size_t count;
    gm_onnx_tensor target = {0};
    gm_status status = gm_onnx_wholes(s, 1, &wanted, &count, err);
    if (status != GM_OK) return status;
    if (count > GM_ONNX_RANK) return gm_onnx_refuse(s, err, "a shape of rank %zu", count);
    target.rank = (int)count;
    for (size_t i = 0; i < count; i++) {
        if (wanted[i] < 0) return gm_onnx_refuse(s, err, "dimension %lld", (long long)wanted[i]);
        target.dim[i] = (size_t)wanted[i];
    }
    if (gm_onnx_broadcast(in, &target, out)) return GM_OK;
    return gm_onnx_refuse(s, err, "its input does not broadcast to its shape");
}

/* One axis of a slice: start and end clamped as the format says. */
static gm_status clamp(const gm_onnx_step *s, size_t length, int64_t start, int64_t end,
                       int64_t step, int axis, gm_onnx_range *r, gm_error *err)
{
    int64_t n = (int64_t)length, low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    if (step == 0 || step == INT64_MIN) return gm_onnx_refuse(s, err, "a step of 0");
    start = start < 0 ? (start < -n ? low : start + n) : start;
    end = end < 0 ? (end < -n ? low : end + n) : end;
    start = start < low ? low : start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    int64_t span = step > 0 ? end - start : start - end, width = step > 0 ? step : -step;
    r->start[axis] = start < 0 ? 0 : start;
    r->step[axis] = step;
    r->count[axis] = span > 0 ? (size_t)((span - 1) / width + 1) : 0;
    return GM_OK;
}

gm_status gm_onnx_slice_range(const gm_onnx_step *s, const gm_onnx_tensor *in, gm_onnx_range *r,
                              gm_error *err)
{
    size_t starts, ends, axes, steps = 0;
    const int64_t *start = gm_onnx_ints(s, "starts", &starts);
    const int64_t *end = gm_onnx_ints(s, "ends", &ends), *axis, *step = NULL;
    gm_status status = start ? GM_OK : gm_onnx_wholes(s, 1, &start, &starts, err);
    if (status == GM_OK && !end) status = gm_onnx_wholes(s, 2, &end, &ends, err);
    axis = gm_onnx_ints(s, "axes", &axes);
    if (status == GM_OK && !axis) status = gm_onnx_wholes(s, 3, &axis, &axes, err);
    if (status == GM_OK) status = gm_onnx_wholes(s, 4, &step, &steps, err);
    if (status != GM_OK) return status;
    if (starts != ends || (axis && axes != starts) || (step && steps != starts) ||
        (!axis && starts > (size_t)in->rank)) {
        return gm_onnx_refuse(s, err, "%zu starts, %zu ends, %zu axes and %zu steps", starts, ends,
                              axes, steps);
    }
    for (int i = 0; i < in->rank; i++) {
        r->start[i] = 0;
        r->step[i] = 1;
        r->count[i] = in->dim[i];
    }
    for (size_t i = 0; status == GM_OK && i < starts; i++) {
        int at = (int)i;
        if (axis) status = gm_onnx_axis(s, axis[i], in->rank, &at, err);
        if (status != GM_OK) break;
        status = clamp(s, in->dim[at], start[i], end[i], step ? step[i] : 1, at, r, err);
    }
    return status;
}

/* ---- activations and parameters ---- */

gm_status gm_onnx_emit_identity(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    return gm_onnx_alias(s, in, in->tensor.rank, in->tensor.dim, err);
}

gm_status gm_onnx_emit_reshape(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0);
    int rank = 0;
    size_t dim[GM_ONNX_RANK];
    gm_status status = gm_onnx_reshape_dims(s, &in->tensor, &rank, dim, err);
    return status == GM_OK ? gm_onnx_alias(s, in, rank, dim, err) : status;
}

gm_status gm_onnx_emit_cast(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_class to;
    int64_t type = gm_onnx_int(s, "to", 0);
    bool known = type > 0 && type < 1000 && gm_onnx_type_class((int32_t)type, &to);
    gm_onnx_class from = gm_onnx_in(s, 0)->tensor.of;
    if (known && to == GM_ONNX_TRUTH && from != to) return gm_onnx_emit_nonzero(s, err);
    if (!known || (to == GM_ONNX_WHOLE && from == GM_ONNX_REAL)) {
        return gm_onnx_refuse(s, err, "a cast of what depends on the sample to type %s",
                              known ? gm_onnx_type_name((int32_t)type) : "unknown");
    }
    gm_status status = gm_onnx_emit_identity(s, err);
    if (status == GM_OK) gm_onnx_out(s, 0)->tensor.of = to;
    return status;
}

gm_status gm_onnx_emit_dropout(gm_onnx_step *s, gm_error *err)
{
    double training;
    gm_status status = gm_onnx_scalar(s, 2, 0.0, &training, err);
    if (status != GM_OK) return status;
    if (training != 0.0) {
        return gm_onnx_refuse(s, err,
                              "in training mode it is random; export the net in inference "
                              "mode (model.eval())");
    }
    if (gm_onnx_wanted(s, 1)) return gm_onnx_refuse(s, err, "its mask is not supported");
    return gm_onnx_emit_identity(s, err);
}
