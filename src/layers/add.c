/* The sum of several inputs of one shape: where branches of a residual net meet. */
#include "layers/layer.h"

#include <string.h>

static unsigned add_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
}

static gm_status add_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                           gm_tensor *tensor, int *tensors, gm_error *err)
{
    (void)config;
    (void)tensor;
    *tensors = 0;
    for (int i = 1; i < inputs; i++) {
        if (gm_shape_equal(&in[i], &in[0])) continue;
        return gm_fail(err, GM_ERR_INPUT,
                       "input %d has %zu numbers, rank %d, expected the shape of input 0: %zu "
                       "numbers, rank %d",
                       i, gm_shape_size(&in[i]), in[i].rank, gm_shape_size(&in[0]), in[0].rank);
    }
    *out = in[0];
    return GM_OK;
}

/* out = the sum of n samples of those inputs that are not NULL. */
static void sum(const gm_layer_call *c, size_t n, const void *const *in, void *out)
{
    size_t count = n * gm_shape_size(c->out_shape);
    bool any = false;
    for (int i = 0; i < c->inputs; i++) {
        if (!in[i]) continue;
        if (any) {
            c->k->axpy(count, 1.0, in[i], out);
        } else {
            memcpy(out, in[i], count * c->k->size);
        }
        any = true;
    }
    if (!any) memset(out, 0, count * c->k->size);
}

static void spread(const gm_layer_call *c, const void *signal)
{
    size_t count = c->b * c->n * gm_shape_size(c->out_shape);
    for (int i = 0; i < c->inputs; i++) {
        if (!c->din[i]) continue;
        if (c->din_add[i]) {
            c->k->axpy(count, 1.0, signal, c->din[i]);
        } else {
            memcpy(c->din[i], signal, count * c->k->size);
        }
    }
}

static void add_value(const gm_layer_call *c)
{
    sum(c, c->n, c->in, c->out);
}

static void add_tangent(const gm_layer_call *c)
{
    sum(c, c->b * c->n, c->tin, c->tout);
}

static void add_backward(const gm_layer_call *c)
{
    spread(c, c->signal);
}

static void add_tangent_backward(const gm_layer_call *c)
{
    spread(c, c->tsignal);
}

const gm_layer_kind gm_layer_add = {
    .name = "add",
    .config_size = 1, /* nothing to configure: one byte that nobody reads */
    .traits = add_traits,
    .infer = add_infer,
    .value = add_value,
    .tangent = add_tangent,
    .backward = add_backward,
    .tangent_backward = add_tangent_backward,
};
