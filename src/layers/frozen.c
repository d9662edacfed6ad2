/* A dense layer or a convolution whose weight is constant: the layer itself, without parameters.
 *
 *   value             a = F(x, W)
 *   tangent           adot = F(xdot, W)
 *   backward, tangent_backward  dx += F^T s, F^T sdot
 * The numbers are put into the net's precision for each call, in front of the layer's own scratch:
 * little beside the layer's work on a chunk of samples. */
#include "layers/layer.h"

/* Linear in the input, and nothing of it is asked for. */
static unsigned frozen_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
}

static gm_status frozen_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                              gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_frozen_config *c = config;
    gm_status status = c->kind->infer(&c->of, inputs, in, out, tensor, tensors, err);
    size_t expected = status == GM_OK ? gm_shape_size(&tensor[0].shape) : 0;
    if (status == GM_OK && (*tensors != 1 || expected != c->count)) {
        status = gm_fail(err, GM_ERR_INPUT, "a weight of %zu numbers, expected %zu and no bias",
                         c->count, expected);
    }
    *tensors = 0;
    return status;
}

/* Bytes in front of the layer's own scratch. */
static size_t front(const gm_kernels *k, const gm_frozen_config *c)
{
    return (c->count * k->size + 63) / 64 * 64;
}

static size_t frozen_scratch(const gm_kernels *k, const void *config, const gm_shape *in, size_t n,
                             size_t b)
{
    const gm_frozen_config *c = config;
    return front(k, c) + (c->kind->scratch ? c->kind->scratch(k, &c->of, in, n, b) : 0);
}

/* The call of the layer inside. */
static gm_layer_call inner(const gm_layer_call *c)
{
    const gm_frozen_config *config = c->config;
    gm_layer_call call = *c;
    size_t bytes = front(c->k, config);
    c->k->from_double(config->count, config->numbers, c->scratch.memory);
    call.config = &config->of;
    call.param = c->scratch.memory;
    call.tparam = NULL;
    call.grad = NULL;
    call.scratch = (gm_scratch){(char *)c->scratch.memory + bytes, c->scratch.bytes - bytes};
    return call;
}

static const gm_layer_kind *kind_of(const gm_layer_call *c)
{
    return ((const gm_frozen_config *)c->config)->kind;
}

static void frozen_value(const gm_layer_call *c)
{
    gm_layer_call call = inner(c);
    kind_of(c)->value(&call);
}

static void frozen_tangent(const gm_layer_call *c)
{
    gm_layer_call call = inner(c);
    kind_of(c)->tangent(&call);
}

static void frozen_backward(const gm_layer_call *c)
{
    gm_layer_call call = inner(c);
    kind_of(c)->backward(&call);
}

static void frozen_tangent_backward(const gm_layer_call *c)
{
    gm_layer_call call = inner(c);
    kind_of(c)->tangent_backward(&call);
}

const gm_layer_kind gm_layer_frozen = {
    .name = "frozen",
    .config_size = sizeof(gm_frozen_config),
    .traits = frozen_traits,
    .infer = frozen_infer,
    .scratch = frozen_scratch,
    .value = frozen_value,
    .tangent = frozen_tangent,
    .backward = frozen_backward,
    .tangent_backward = frozen_tangent_backward,
};
