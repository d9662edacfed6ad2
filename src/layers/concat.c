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
        if (added == 0 || added > (size_t)-1 - out->dim[axis] || !gm_shape_equal(&other, &in[0])) {
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

/* Where input i lies in rows of the output: `run` numbers from `at` on, of `stride`. */
typedef struct place {
    size_t run, stride, at, rows; /* rows: of a sample */
} place;

static place place_of(const gm_layer_call *c, int i)
{
    int axis = ((const gm_concat_config *)c->config)->axis;
    place p = {.run = run_of(&c->in_shape[i], axis), .stride = run_of(c->out_shape, axis)};
    for (int j = 0; j < i; j++) {
        p.at += run_of(&c->in_shape[j], axis);
    }
    p.rows = gm_shape_size(c->out_shape) / p.stride;
    return p;
}

/* n samples; inputs that are NULL are zeros. */
static void join(const gm_layer_call *c, size_t n, const void *const *in, char *out)
{
    size_t width = c->k->size;
    for (int i = 0; i < c->inputs; i++) {
        place p = place_of(c, i);
        for (size_t r = 0; r < n * p.rows; r++) {
            char *to = out + (r * p.stride + p.at) * width;
            if (in[i]) {
                memcpy(to, (const char *)in[i] + r * p.run * width, p.run * width);
            } else {
                memset(to, 0, p.run * width);
            }
        }
    }
}

static void split(const gm_layer_call *c, const char *signal)
{
    size_t width = c->k->size;
    for (int i = 0; i < c->inputs; i++) {
        if (!c->din[i]) continue;
        place p = place_of(c, i);
        for (size_t r = 0; r < c->b * c->n * p.rows; r++) {
            const char *from = signal + (r * p.stride + p.at) * width;
            char *to = (char *)c->din[i] + r * p.run * width;
            if (c->din_add[i]) {
                c->k->axpy(p.run, 1.0, from, to);
            } else {
                memcpy(to, from, p.run * width);
            }
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
