/* Operators on constants: moving numbers about. */
#include <string.h>

#include "base/memory.h"
#include "onnx/operators.h"

gm_status gm_onnx_count_folded(const gm_onnx_step *s, size_t count, gm_error *err)
{
    if (count > GM_ONNX_FOLDED) {
        return gm_onnx_refuse(s, err, "a constant of more than %d numbers", GM_ONNX_FOLDED);
    }
    s->g->folded += count;
    if (s->g->folded <= GM_ONNX_FOLDED_ALL) return GM_OK;
    return gm_onnx_refuse(s, err, "the graph's constants take more than %d numbers",
                          GM_ONNX_FOLDED_ALL);
}

gm_status gm_onnx_fold_make(const gm_onnx_step *s, size_t slot, gm_onnx_class of, int rank,
                            const size_t *dim, gm_onnx_tensor **out, gm_error *err)
{
    gm_onnx_value *value = gm_onnx_out(s, slot);
    gm_onnx_tensor made = {.of = of, .rank = rank};
    *out = NULL;
    if (!value) return gm_onnx_refuse(s, err, "output %zu is left out", slot);
    if (rank > 0) memcpy(made.dim, dim, (size_t)rank * sizeof *dim);
    if (!gm_onnx_count(&made)) made.count = SIZE_MAX;
    gm_status status = gm_onnx_count_folded(s, made.count, err);
    if (status != GM_OK) return status;
    gm_onnx_tensor_free(&value->tensor);
    status = gm_onnx_tensor_make(of, rank, dim, &value->tensor, err);
    value->what = GM_ONNX_CONSTANT;
    *out = &value->tensor;
    return status;
}

void gm_onnx_strides(const gm_onnx_tensor *t, ptrdiff_t *stride)
{
    ptrdiff_t run = 1;
    for (int i = t->rank; i-- > 0;) {
        stride[i] = run;
        run *= (ptrdiff_t)t->dim[i];
    }
}

void gm_onnx_fold_strided(const gm_onnx_tensor *in, ptrdiff_t base, const ptrdiff_t *stride,
                          gm_onnx_tensor *out)
{
    size_t index[GM_ONNX_RANK] = {0};
    ptrdiff_t at = base;
    for (size_t i = 0; i < out->count; i++) {
        out->whole[i] = in->whole[at]; /* eight bytes of either class */
        for (int j = out->rank; j-- > 0;) {
            at += stride[j];
            if (++index[j] < out->dim[j]) break;
            at -= stride[j] * (ptrdiff_t)out->dim[j];
            index[j] = 0;
        }
    }
}

bool gm_onnx_broadcast(const gm_onnx_tensor *a, const gm_onnx_tensor *b, gm_onnx_tensor *joint)
{
    joint->rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < joint->rank; i++) {
        int ia = i - (joint->rank - a->rank), ib = i - (joint->rank - b->rank);
        size_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        if (da != db && da != 1 && db != 1) return false;
        joint->dim[i] = da == 1 ? db : da;
    }
    return gm_onnx_count(joint);
}

void gm_onnx_broadcast_strides(const gm_onnx_tensor *t, const gm_onnx_tensor *joint,
                               ptrdiff_t *stride)
{
    ptrdiff_t own[GM_ONNX_RANK];
    gm_onnx_strides(t, own);
    for (int i = 0; i < joint->rank; i++) {
        int it = i - (joint->rank - t->rank);
        stride[i] = it < 0 || t->dim[it] == 1 ? 0 : own[it];
    }
}

/* ---- the operators ---- */

static gm_status copy_as(gm_onnx_step *s, const gm_onnx_tensor *in, int rank, const size_t *dim,
                         gm_error *err)
{
    gm_onnx_tensor *out;
    gm_status status = gm_onnx_fold_make(s, 0, in->of, rank, dim, &out, err);
    if (status == GM_OK && out->count != in->count) {
        return gm_onnx_refuse(s, err, "%zu numbers become %zu", in->count, out->count);
    }
    if (status == GM_OK && in->count) memcpy(out->numbers, in->numbers, in->count * sizeof(double));
    return status;
}

gm_status gm_onnx_fold_identity(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    return copy_as(s, in, in->rank, in->dim, err);
}

gm_status gm_onnx_fold_reshape(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    int rank;
    size_t dim[GM_ONNX_RANK];
    gm_status status = gm_onnx_reshape_dims(s, in, &rank, dim, err);
    return status == GM_OK ? copy_as(s, in, rank, dim, err) : status;
}

gm_status gm_onnx_fold_constant(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_tensor read = {0}, *out;
    gm_status status;
    const Onnx__TensorProto *proto = gm_onnx_tensor_of(s, "value");
    size_t ints;
    const int64_t *whole = gm_onnx_ints(s, "value_ints", &ints);
    if (proto) {
        status = gm_onnx_tensor_read(&s->g->folder, proto, "the value of a Constant,", &read, err);
        if (status == GM_OK) status = copy_as(s, &read, read.rank, read.dim, err);
        gm_onnx_tensor_free(&read);
        return status;
    }
    if (s->node->n_attribute != 1) return gm_onnx_refuse(s, err, "it has no value");
    const char *name = s->node->attribute[0]->name;
    if (strcmp(name, "value_ints") == 0) {
        status = gm_onnx_fold_make(s, 0, GM_ONNX_WHOLE, 1, &ints, &out, err);
        if (status == GM_OK && ints) memcpy(out->whole, whole, ints * sizeof *whole);
    } else if (strcmp(name, "value_int") == 0) {
        status = gm_onnx_fold_make(s, 0, GM_ONNX_WHOLE, 0, NULL, &out, err);
        if (status == GM_OK) out->whole[0] = gm_onnx_int(s, "value_int", 0);
    } else {
        status = gm_onnx_fold_make(s, 0, GM_ONNX_REAL, 0, NULL, &out, err);
        if (status == GM_OK) out->real[0] = gm_onnx_float(s, "value_float", 0.0);
    }
    return status;
}

gm_status gm_onnx_fold_shape(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    gm_onnx_tensor *out;
    int64_t first = gm_onnx_int(s, "start", 0), end = gm_onnx_int(s, "end", in->rank);
    first = first < 0 ? first + in->rank : first;
    end = end < 0 ? end + in->rank : end;
    first = first < 0 ? 0 : first > in->rank ? in->rank : first;
    end = end < first ? first : end > in->rank ? in->rank : end;
    size_t count = (size_t)(end - first);
    gm_status status = gm_onnx_fold_make(s, 0, GM_ONNX_WHOLE, 1, &count, &out, err);
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        out->whole[i] = (int64_t)in->dim[(size_t)first + i];
    }
    return status;
}

gm_status gm_onnx_fold_size(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_tensor *out;
    gm_status status = gm_onnx_fold_make(s, 0, GM_ONNX_WHOLE, 0, NULL, &out, err);
    if (status == GM_OK) out->whole[0] = (int64_t)gm_onnx_in(s, 0)->tensor.count;
    return status;
}

gm_status gm_onnx_fold_transpose(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    int axis[GM_ONNX_RANK];
    size_t dim[GM_ONNX_RANK];
    ptrdiff_t own[GM_ONNX_RANK], stride[GM_ONNX_RANK];
    gm_onnx_tensor *out;
    gm_status status = gm_onnx_permutation(s, in->rank, axis, err);
    if (status != GM_OK) return status;
    gm_onnx_strides(in, own);
    for (int i = 0; i < in->rank; i++) {
        dim[i] = in->dim[axis[i]];
        stride[i] = own[axis[i]];
    }
    status = gm_onnx_fold_make(s, 0, in->of, in->rank, dim, &out, err);
    if (status == GM_OK) gm_onnx_fold_strided(in, 0, stride, out);
    return status;
}

gm_status gm_onnx_fold_slice(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    gm_onnx_range r;
    ptrdiff_t own[GM_ONNX_RANK], stride[GM_ONNX_RANK], base = 0;
    gm_onnx_tensor *out;
    gm_status status = gm_onnx_slice_range(s, in, &r, err);
    if (status != GM_OK) return status;
    gm_onnx_strides(in, own);
    for (int i = 0; i < in->rank; i++) {
        base += own[i] * (ptrdiff_t)r.start[i];
        stride[i] = own[i] * (ptrdiff_t)r.step[i];
    }
    status = gm_onnx_fold_make(s, 0, in->of, in->rank, r.count, &out, err);
    if (status == GM_OK) gm_onnx_fold_strided(in, base, stride, out);
    return status;
}

gm_status gm_onnx_fold_expand(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor;
    gm_onnx_tensor joint = {0}, *out;
    ptrdiff_t stride[GM_ONNX_RANK];
    gm_status status = gm_onnx_expand_dims(s, in, &joint, err);
    if (status == GM_OK) {
        status = gm_onnx_fold_make(s, 0, in->of, joint.rank, joint.dim, &out, err);
    }
    if (status != GM_OK) return status;
    gm_onnx_broadcast_strides(in, out, stride);
    gm_onnx_fold_strided(in, 0, stride, out);
    return GM_OK;
}

gm_status gm_onnx_fold_constant_of_shape(gm_onnx_step *s, gm_error *err)
{
    const int64_t *whole;
    size_t rank, dim[GM_ONNX_RANK];
    gm_onnx_tensor fill = {.of = GM_ONNX_REAL, .count = 1}, *out;
    const Onnx__TensorProto *proto = gm_onnx_tensor_of(s, "value");
    gm_status status = gm_onnx_wholes(s, 0, &whole, &rank, err);
    if (status != GM_OK) return status;
    if (rank > GM_ONNX_RANK) return gm_onnx_refuse(s, err, "a constant of rank %zu", rank);
    for (size_t i = 0; i < rank; i++) {
        if (whole[i] < 0) return gm_onnx_refuse(s, err, "dimension %lld", (long long)whole[i]);
        dim[i] = (size_t)whole[i];
    }
    double zero = 0.0;
    if (proto) status = gm_onnx_tensor_read(&s->g->folder, proto, "the value of", &fill, err);
    if (status != GM_OK) return status;
    if (fill.count != 1) {
        gm_onnx_tensor_free(&fill);
        return gm_onnx_refuse(s, err, "its value has %zu numbers, expected 1", fill.count);
    }
    status = gm_onnx_fold_make(s, 0, fill.of, (int)rank, dim, &out, err);
    for (size_t i = 0; status == GM_OK && i < out->count; i++) {
        memcpy(&out->whole[i], proto ? fill.numbers : &zero, sizeof zero);
    }
    gm_onnx_tensor_free(&fill);
    return status;
}

gm_status gm_onnx_fold_gather(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *in = &gm_onnx_in(s, 0)->tensor, *pick = &gm_onnx_in(s, 1)->tensor;
    int axis, rank = in->rank - 1 + pick->rank;
    size_t dim[2 * GM_ONNX_RANK], outer = 1, inner = 1;
    gm_onnx_tensor *out;
    if (pick->of == GM_ONNX_REAL) return gm_onnx_refuse(s, err, "indices that are no integers");
    gm_status status = gm_onnx_axis(s, gm_onnx_int(s, "axis", 0), in->rank, &axis, err);
    if (status == GM_OK && rank > GM_ONNX_RANK) {
        status = gm_onnx_refuse(s, err, "a result of rank %d", rank);
    }
    if (status != GM_OK) return status;
    for (int i = 0; i < rank; i++) {
        dim[i] = i < axis                ? in->dim[i]
                 : i < axis + pick->rank ? pick->dim[i - axis]
                                         : in->dim[i - pick->rank + 1];
    }
    for (int i = 0; i < in->rank; i++) {
        outer *= i < axis ? in->dim[i] : 1;
        inner *= i > axis ? in->dim[i] : 1;
    }
    int64_t length = (int64_t)in->dim[axis];
    for (size_t i = 0; i < pick->count; i++) {
        if (pick->whole[i] >= -length && pick->whole[i] < length) continue;
        return gm_onnx_refuse(s, err, "index %lld of an axis of %lld", (long long)pick->whole[i],
                              (long long)length);
    }
    status = gm_onnx_fold_make(s, 0, in->of, rank, dim, &out, err);
    for (size_t o = 0; status == GM_OK && o < outer; o++) {
        for (size_t i = 0; i < pick->count; i++) {
            int64_t from = pick->whole[i] + (pick->whole[i] < 0 ? length : 0);
            memcpy(out->whole + (o * pick->count + i) * inner,
                   in->whole + (o * (size_t)length + (size_t)from) * inner, inner * sizeof(double));
        }
    }
    return status;
}

gm_status gm_onnx_fold_concat(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_tensor *first = &gm_onnx_in(s, 0)->tensor;
    size_t dim[GM_ONNX_RANK], at = 0, rows = 1, row = 1;
    gm_onnx_tensor *out;
    int axis;
    gm_status status = gm_onnx_axis(s, gm_onnx_int(s, "axis", 0), first->rank, &axis, err);
    if (status != GM_OK) return status;
    memcpy(dim, first->dim, sizeof dim);
    dim[axis] = 0;
    for (size_t i = 0; i < s->node->n_input; i++) {
        const gm_onnx_value *value = gm_onnx_in(s, i);
        const gm_onnx_tensor *in = value ? &value->tensor : NULL;
        bool fits = in && in->rank == first->rank &&
                    (in->of == GM_ONNX_REAL) == (first->of == GM_ONNX_REAL);
        for (int j = 0; fits && j < in->rank; j++) {
            fits = j == axis || in->dim[j] == first->dim[j];
        }
        if (!fits || !gm_add_size(dim[axis], in->dim[axis], &dim[axis])) {
            return gm_onnx_refuse(s, err, "input %zu does not fit the first", i);
        }
    }
    status = gm_onnx_fold_make(s, 0, first->of, first->rank, dim, &out, err);
    for (int i = 0; i < first->rank; i++) {
        rows *= i < axis ? dim[i] : 1;
        row *= i >= axis ? dim[i] : 1;
    }
    for (size_t i = 0; status == GM_OK && i < s->node->n_input; i++) {
        const gm_onnx_tensor *in = &gm_onnx_in(s, i)->tensor;
        size_t run = rows ? in->count / rows : 0;
        for (size_t r = 0; r < rows && run; r++) {
            memcpy(out->whole + r * row + at, in->whole + r * run, run * sizeof(double));
        }
        at += run;
    }
    return status;
}
