/* Layers without inputs: a parameter tensor or constant numbers, the same for every sample, as an
 * operand of other layers (a positional embedding, a class token, a learned scale, a mask).
 *
 *   value             a_i     = w             (i: each sample of the chunk)
 *   tangent           adot_i  = wdot
 *   backward          dw     += sum_i s_i
 *   tangent_backward  dwdot  += sum_i sdot_i
 *
 * Each sample has a copy of its own, so that what reads them need not know. */
#include "layers/layer.h"

#include <string.h>

/* Linear in each weight; but no homogeneous layer between two others: it has no input to scale. */
static unsigned source_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE;
}

static gm_status shape_of(const gm_shape *shape, gm_shape *out, gm_error *err)
{
    if (shape->rank < 0 || shape->rank > GM_MAX_RANK || gm_shape_size(shape) == 0) {
        return gm_fail(err, GM_ERR_INPUT,
                       "a shape of rank %d, empty or too large, expected one of rank 0 ... %d and "
                       "at least one number",
                       shape->rank, GM_MAX_RANK);
    }
    *out = *shape;
    return GM_OK;
}

/* The first of n samples is there: the others become copies of it. */
static void repeat(const gm_layer_call *c, void *array)
{
    size_t bytes = gm_shape_size(c->out_shape) * c->k->size;
    for (size_t i = 1; i < c->n; i++) {
        memcpy((char *)array + i * bytes, array, bytes);
    }
}

/* ---- parameter ---- */

static gm_status parameter_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                                 gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_parameter_config *c = config;
    (void)inputs;
    (void)in;
    tensor[0] =
        (gm_tensor){.name = "value", .shape = c->shape, .fan_in = c->fan_in, .start = c->start};
    *tensors = 1;
    return shape_of(&c->shape, out, err);
}

static void parameter_value(const gm_layer_call *c)
{
    memcpy(c->out, c->param, gm_shape_size(c->out_shape) * c->k->size);
    repeat(c, c->out);
}

static void parameter_tangent(const gm_layer_call *c)
{
    size_t size = gm_shape_size(c->out_shape) * c->k->size;
    for (size_t j = 0; j < c->b; j++) {
        char *to = (char *)c->tout + j * c->n * size;
        if (c->tparam) {
            memcpy(to, c->tparam[j], size);
        } else {
            memset(to, 0, size);
        }
        repeat(c, to);
    }
}

static void add_sums(const gm_layer_call *c, const void *signal)
{
    size_t size = gm_shape_size(c->out_shape);
    for (size_t j = 0; c->grad && j < c->b; j++) {
        c->k->column_sums(c->n, size, (const char *)signal + j * c->n * size * c->k->size,
                          c->grad[j]);
    }
}

static void parameter_backward(const gm_layer_call *c)
{
    add_sums(c, c->signal);
}

static void parameter_tangent_backward(const gm_layer_call *c)
{
    add_sums(c, c->tsignal);
}

/* ---- constant ---- */

static gm_status constant_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                                gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_constant_config *c = config;
    (void)inputs;
    (void)in;
    (void)tensor;
    *tensors = 0;
    return shape_of(&c->shape, out, err);
}

static void constant_value(const gm_layer_call *c)
{
    const gm_constant_config *config = c->config;
    c->k->from_double(gm_shape_size(c->out_shape), config->numbers, c->out);
    repeat(c, c->out);
}

static void constant_tangent(const gm_layer_call *c)
{
    memset(c->tout, 0, c->b * c->n * gm_shape_size(c->out_shape) * c->k->size);
}

static void constant_backward(const gm_layer_call *c)
{
    (void)c; /* nothing behind it */
}

const gm_layer_kind gm_layer_parameter = {
    .name = "parameter",
    .config_size = sizeof(gm_parameter_config),
    .source = true,
    .traits = source_traits,
    .infer = parameter_infer,
    .value = parameter_value,
    .tangent = parameter_tangent,
    .backward = parameter_backward,
    .tangent_backward = parameter_tangent_backward,
};

const gm_layer_kind gm_layer_constant = {
    .name = "constant",
    .config_size = sizeof(gm_constant_config),
    .source = true,
    .traits = source_traits,
    .infer = constant_infer,
    .value = constant_value,
    .tangent = constant_tangent,
    .backward = constant_backward,
    .tangent_backward = constant_backward,
};
