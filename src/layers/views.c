/* The same numbers in other places: transpose, slice and expand show their input through a strided
 * view, and pad lets its input show through one of its output, between zeros.
 *
 *   value, tangent              a  = V x
 *   backward, tangent_backward  dx += V' s
 * with V the view and V' its transpose; for pad the two change places. */
#include "layers/layer.h"

#include <string.h>

static unsigned view_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
}

/* All of an array, row-major. */
static gm_view whole(const gm_shape *shape)
{
    gm_view v = {.rank = shape->rank};
    ptrdiff_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        v.dim[i] = shape->dim[i];
        v.stride[i] = stride;
        stride *= (ptrdiff_t)shape->dim[i];
    }
    return v;
}

static gm_status one_input(int inputs, int *tensors, gm_error *err)
{
    *tensors = 0;
    if (inputs == 1) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 1", inputs);
}

/* y [n, out] = V x [n, in] */
static void show(const gm_layer_call *c, gm_view v, size_t n, const void *x, void *y)
{
    c->k->view_read(&v, n, gm_shape_size(&c->in_shape[0]), x, false, y);
}

/* din (+)= V' s */
static void give_back(const gm_layer_call *c, gm_view v, const void *signal)
{
    size_t n = c->b * c->n, size = gm_shape_size(&c->in_shape[0]);
    if (!c->din[0]) return;
    if (!c->din_add[0]) memset(c->din[0], 0, n * size * c->k->size);
    c->k->view_add(&v, n, size, signal, c->din[0]);
}

/* ---- transpose ---- */

static gm_status transpose_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                                 gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_transpose_config *c = config;
    bool seen[GM_MAX_RANK] = {false};
    (void)tensor;
    gm_status status = one_input(inputs, tensors, err);
    if (status != GM_OK) return status;
    out->rank = in->rank;
    for (int i = 0; i < in->rank; i++) {
        int axis = c->axis[i];
        if (axis < 0 || axis >= in->rank || seen[axis]) {
            return gm_fail(err, GM_ERR_INPUT, "axis %d in place %d, expected each of 0 ... %d once",
                           axis, i, in->rank - 1);
        }
        seen[axis] = true;
        out->dim[i] = in->dim[axis];
    }
    return GM_OK;
}

static gm_view transpose_view(const gm_layer_call *c)
{
    const gm_transpose_config *config = c->config;
    gm_view in = whole(&c->in_shape[0]), v = in;
    for (int i = 0; i < in.rank; i++) {
        v.dim[i] = in.dim[config->axis[i]];
        v.stride[i] = in.stride[config->axis[i]];
    }
    return v;
}

static void transpose_value(const gm_layer_call *c)
{
    show(c, transpose_view(c), c->n, c->in[0], c->out);
}

static void transpose_tangent(const gm_layer_call *c)
{
    show(c, transpose_view(c), c->b * c->n, c->tin[0], c->tout);
}

/* The input's signal as a view of the output's: nothing to clear. */
static void transpose_back(const gm_layer_call *c, const void *signal)
{
    const gm_transpose_config *config = c->config;
    gm_view out = whole(c->out_shape), v = out;
    if (!c->din[0]) return;
    for (int i = 0; i < out.rank; i++) {
        v.dim[config->axis[i]] = out.dim[i];
        v.stride[config->axis[i]] = out.stride[i];
    }
    c->k->view_read(&v, c->b * c->n, gm_shape_size(c->out_shape), signal, c->din_add[0], c->din[0]);
}

static void transpose_backward(const gm_layer_call *c)
{
    transpose_back(c, c->signal);
}

static void transpose_tangent_backward(const gm_layer_call *c)
{
    transpose_back(c, c->tsignal);
}

const gm_layer_kind gm_layer_transpose = {
    .name = "transpose",
    .config_size = sizeof(gm_transpose_config),
    .traits = view_traits,
    .infer = transpose_infer,
    .value = transpose_value,
    .tangent = transpose_tangent,
    .backward = transpose_backward,
    .tangent_backward = transpose_tangent_backward,
};

/* ---- slice ---- */

static gm_status slice_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                             gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_slice_config *c = config;
    (void)tensor;
    gm_status status = one_input(inputs, tensors, err);
    if (status != GM_OK) return status;
    *out = *in;
    for (int i = 0; i < in->rank; i++) {
        size_t last = c->count[i] - 1, start = c->start[i], size = in->dim[i];
        if (c->count[i] == 0) continue;
        size_t step = (size_t)(c->step[i] < 0 ? -(long)c->step[i] : (long)c->step[i]);
        size_t room = c->step[i] < 0 ? start : size - 1 - start; /* beyond the start */
        if (step == 0 || start >= size || last > room / step) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%zu numbers from %zu in steps of %d along axis %d, which has %zu",
                           c->count[i], start, c->step[i], i, size);
        }
        out->dim[i] = c->count[i];
    }
    return GM_OK;
}

static gm_view slice_view(const gm_layer_call *c)
{
    const gm_slice_config *config = c->config;
    gm_view v = whole(&c->in_shape[0]);
    for (int i = 0; i < v.rank; i++) {
        if (config->count[i] == 0) continue;
        v.dim[i] = config->count[i];
        v.at += config->start[i] * (size_t)v.stride[i];
        v.stride[i] *= config->step[i];
    }
    return v;
}

static void slice_value(const gm_layer_call *c)
{
    show(c, slice_view(c), c->n, c->in[0], c->out);
}

static void slice_tangent(const gm_layer_call *c)
{
    show(c, slice_view(c), c->b * c->n, c->tin[0], c->tout);
}

static void slice_backward(const gm_layer_call *c)
{
    give_back(c, slice_view(c), c->signal);
}

static void slice_tangent_backward(const gm_layer_call *c)
{
    give_back(c, slice_view(c), c->tsignal);
}

const gm_layer_kind gm_layer_slice = {
    .name = "slice",
    .config_size = sizeof(gm_slice_config),
    .traits = view_traits,
    .infer = slice_infer,
    .value = slice_value,
    .tangent = slice_tangent,
    .backward = slice_backward,
    .tangent_backward = slice_tangent_backward,
};

/* ---- expand ---- */

static gm_status expand_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                              gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_expand_config *c = config;
    (void)tensor;
    gm_status status = one_input(inputs, tensors, err);
    if (status != GM_OK) return status;
    int front = c->shape.rank - in->rank;
    if (front < 0 || c->shape.rank > GM_MAX_RANK) {
        return gm_fail(err, GM_ERR_INPUT, "shape of rank %d for an input of rank %d", c->shape.rank,
                       in->rank);
    }
    for (int i = 0; i < in->rank; i++) {
        size_t size = c->shape.dim[front + i];
        if (in->dim[i] == size || in->dim[i] == 1) continue;
        return gm_fail(err, GM_ERR_INPUT, "axis %d of length %zu, expected 1 or %zu", i, in->dim[i],
                       size);
    }
    *out = c->shape;
    return GM_OK;
}

static gm_view expand_view(const gm_layer_call *c)
{
    gm_view in = whole(&c->in_shape[0]), v = whole(c->out_shape);
    int front = v.rank - in.rank;
    for (int i = 0; i < v.rank; i++) {
        v.stride[i] = i < front || in.dim[i - front] == 1 ? 0 : in.stride[i - front];
    }
    return v;
}

static void expand_value(const gm_layer_call *c)
{
    show(c, expand_view(c), c->n, c->in[0], c->out);
}

static void expand_tangent(const gm_layer_call *c)
{
    show(c, expand_view(c), c->b * c->n, c->tin[0], c->tout);
}

static void expand_backward(const gm_layer_call *c)
{
    give_back(c, expand_view(c), c->signal);
}

static void expand_tangent_backward(const gm_layer_call *c)
{
    give_back(c, expand_view(c), c->tsignal);
}

const gm_layer_kind gm_layer_expand = {
    .name = "expand",
    .config_size = sizeof(gm_expand_config),
    .traits = view_traits,
    .infer = expand_infer,
    .value = expand_value,
    .tangent = expand_tangent,
    .backward = expand_backward,
    .tangent_backward = expand_tangent_backward,
};

/* ---- pad ---- */

static gm_status pad_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                           gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_pad_config *c = config;
    (void)tensor;
    gm_status status = one_input(inputs, tensors, err);
    if (status != GM_OK) return status;
    *out = *in;
    for (int i = 0; i < in->rank; i++) {
        const size_t most = (size_t)1 << 40;
        if (c->before[i] > most || c->after[i] > most) {
            return gm_fail(err, GM_ERR_INPUT, "%zu and %zu zeros around axis %d: too many",
                           c->before[i], c->after[i], i);
        }
        out->dim[i] += c->before[i] + c->after[i];
    }
    return GM_OK;
}

/* Where the input shows in the output. */
static gm_view pad_view(const gm_layer_call *c)
{
    const gm_pad_config *config = c->config;
    gm_view v = whole(c->out_shape);
    for (int i = 0; i < v.rank; i++) {
        v.dim[i] = c->in_shape[0].dim[i];
        v.at += config->before[i] * (size_t)v.stride[i];
    }
    return v;
}

static void pad_forward(const gm_layer_call *c, size_t n, const void *x, void *y)
{
    gm_view v = pad_view(c);
    size_t size = gm_shape_size(c->out_shape);
    memset(y, 0, n * size * c->k->size);
    c->k->view_add(&v, n, size, x, y);
}

static void pad_back(const gm_layer_call *c, const void *signal)
{
    gm_view v = pad_view(c);
    if (!c->din[0]) return;
    c->k->view_read(&v, c->b * c->n, gm_shape_size(c->out_shape), signal, c->din_add[0], c->din[0]);
}

static void pad_value(const gm_layer_call *c)
{
    pad_forward(c, c->n, c->in[0], c->out);
}

static void pad_tangent(const gm_layer_call *c)
{
    pad_forward(c, c->b * c->n, c->tin[0], c->tout);
}

static void pad_backward(const gm_layer_call *c)
{
    pad_back(c, c->signal);
}

static void pad_tangent_backward(const gm_layer_call *c)
{
    pad_back(c, c->tsignal);
}

const gm_layer_kind gm_layer_pad = {
    .name = "pad",
    .config_size = sizeof(gm_pad_config),
    .traits = view_traits,
    .infer = pad_infer,
    .value = pad_value,
    .tangent = pad_tangent,
    .backward = pad_backward,
    .tangent_backward = pad_tangent_backward,
};
