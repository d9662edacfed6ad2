/* Inputs side by side along one axis; their other dimensions agree. */
#include "layers/layer.h"

#include <string.h>

static unsigned concat_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
}

static gm_status concat_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                              gm_tensor *tensor, int *tensors, gm_error *err)
{
    int axis = ((const gm_concat_config *)config)->axis;
    (void)tensor;
    *tensors = 0;
    if (axis < 0 || axis >= in[0].rank) {
        return gm_fail(err, GM_ERR_INPUT, "axis %d, expected 0 ... %d", axis, in[0].rank - 1);
    }
    *out = in[0];
    for (int i = 1; i < inputs; i++) {
        gm_shape other = in[i];
        size_t added = other.rank == out->rank ? other.dim[axis] : 0;
        other.dim[axis] = in[0].dim[axis];
        if (added == 0 || added > (size_t)-1 - out->dim[axis] ||
            memcmp(&other, &in[0], sizeof other) != 0) {
            return gm_fail(err, GM_ERR_INPUT,
                           "input %d has rank %d, %zu numbers, expected the shape of input 0 (rank "
                           "%d, %zu numbers) but for axis %d",
                           i, in[i].rank, gm_shape_size(&in[i]), in[0].rank, gm_shape_size(&in[0]),
                           axis);
        }
        out->dim[axis] += added;
    }
    return GM_OK;
}

/* Numbers behind one index of the axes before `axis`. */
static size_t run_of(const gm_shape *shape, int axis)
{
    size_t run = 1;
    for (int i = axis; i < shape->rank; i++) {
        run *= shape->dim[i];
    }
    return run;
}

/* Copies input i of n samples to its place in `whole`, or from there (back), overwriting or adding;
 * part NULL: zeros. */
static void carry(const gm_layer_call *c, int i, size_t n, bool back, bool add, char *part,
                  char *whole)
{
    int axis = ((const gm_concat_config *)c->config)->axis;
    size_t width = c->k->size, run = run_of(&c->in_shape[i], axis);
    size_t stride = run_of(c->out_shape, axis), at = 0;
    for (int j = 0; j < i; j++) {
        at += run_of(&c->in_shape[j], axis);
    }
    size_t rows = n * gm_shape_size(c->out_shape) / stride;
    for (size_t r = 0; r < rows; r++) {
        char *a = part ? part + r * run * width : NULL, *b = whole + (r * stride + at) * width;
        if (!a) {
            memset(b, 0, run * width);
        } else if (add) {
            c->k->axpy(run, 1.0, b, a);
        } else {
            memcpy(back ? a : b, back ? b : a, run * width);
        }
    }
}

static void join(const gm_layer_call *c, size_t n, const void *const *in, void *out)
{
    for (int i = 0; i < c->inputs; i++) {
        union {
            const void *read;
            char *part;
        } source = {.read = in[i]}; /* only read, since back is false */
        carry(c, i, n, false, false, source.part, out);
    }
}

static void split(const gm_layer_call *c, const void *signal)
{
    union {
        const void *read;
        char *whole;
    } source = {.read = signal}; /* only read, since back is true */
    for (int i = 0; i < c->inputs; i++) {
        if (c->din[i]) {
            carry(c, i, c->b * c->n, true, c->din_add[i], c->din[i], source.whole);
        }
    }
}

static void concat_value(const gm_layer_call *c)
{
    join(c, c->n, c->in, c->out);
}

static void concat_tangent(const gm_layer_call *c)
{
    join(c, c->b * c->n, c->tin, c->tout);
}

static void concat_backward(const gm_layer_call *c)
{
    split(c, c->signal);
}

static void concat_tangent_backward(const gm_layer_call *c)
{
    split(c, c->tsignal);
}

const gm_layer_kind gm_layer_concat = {
    .name = "concat",
    .config_size = sizeof(gm_concat_config),
    .traits = concat_traits,
    .infer = concat_infer,
    .value = concat_value,
    .tangent = concat_tangent,
    .backward = concat_backward,
    .tangent_backward = concat_tangent_backward,
};
