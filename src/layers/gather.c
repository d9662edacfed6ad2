/* Some places along an axis of the input, by constant indices; a place may come several times.
 *
 *   value, tangent              a[.., i, ..] = x[.., index[i], ..]
 *   backward, tangent_backward  dx[.., index[i], ..] += s[.., i, ..] */
#include "layers/layer.h"

#include <string.h>

static unsigned gather_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
}

static gm_status gather_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                              gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_gather_config *c = config;
    (void)tensor;
    *tensors = 0;
    if (inputs != 1) return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 1", inputs);
    if (c->axis < 0 || c->axis >= in->rank) {
        return gm_fail(err, GM_ERR_INPUT, "axis %d, expected 0 ... %d", c->axis, in->rank - 1);
    }
    size_t size = in->dim[c->axis];
    for (size_t i = 0; i < c->count; i++) {
        double index = c->index[i];
        if (index >= 0 && index < (double)size && index == (double)(size_t)index) continue;
        return gm_fail(err, GM_ERR_INPUT, "index %g in place %zu, expected whole numbers 0 ... %zu",
                       index, i, size - 1);
    }
    *out = *in;
    out->dim[c->axis] = c->count;
    return GM_OK;
}

/* rows of `size` places of `run` numbers each, in one sample of the input. */
typedef struct sizes {
    size_t rows, size, run;
} sizes;

static sizes sizes_of(const gm_layer_call *c)
{
    const gm_gather_config *config = c->config;
    const gm_shape *in = &c->in_shape[0];
    sizes s = {.rows = 1, .size = in->dim[config->axis], .run = 1};
    for (int i = 0; i < in->rank; i++) {
        if (i < config->axis) s.rows *= in->dim[i];
        if (i > config->axis) s.run *= in->dim[i];
    }
    return s;
}

static void pick(const gm_layer_call *c, size_t n, const char *x, char *y)
{
    const gm_gather_config *config = c->config;
    sizes s = sizes_of(c);
    size_t bytes = s.run * c->k->size;
    for (size_t r = 0; r < n * s.rows; r++) {
        for (size_t i = 0; i < config->count; i++) {
            memcpy(y, x + (r * s.size + (size_t)config->index[i]) * bytes, bytes);
            y += bytes;
        }
    }
}

static void spread(const gm_layer_call *c, const char *signal)
{
    const gm_gather_config *config = c->config;
    sizes s = sizes_of(c);
    size_t bytes = s.run * c->k->size, rows = c->b * c->n * s.rows;
    char *to = c->din[0];
    if (!to) return;
    if (!c->din_add[0]) memset(to, 0, rows * s.size * bytes);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < config->count; i++) {
            c->k->axpy(s.run, 1.0, signal, to + (r * s.size + (size_t)config->index[i]) * bytes);
            signal += bytes;
        }
    }
}

static void gather_value(const gm_layer_call *c)
{
    pick(c, c->n, c->in[0], c->out);
}

static void gather_tangent(const gm_layer_call *c)
{
    pick(c, c->b * c->n, c->tin[0], c->tout);
}

static void gather_backward(const gm_layer_call *c)
{
    spread(c, c->signal);
}

static void gather_tangent_backward(const gm_layer_call *c)
{
    spread(c, c->tsignal);
}

const gm_layer_kind gm_layer_gather = {
    .name = "gather",
    .config_size = sizeof(gm_gather_config),
    .traits = gather_traits,
    .infer = gather_infer,
    .value = gather_value,
    .tangent = gather_tangent,
    .backward = gather_backward,
    .tangent_backward = gather_tangent_backward,
};
