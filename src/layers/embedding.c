/* Rows of a table by the whole numbers of the input (tokens): out = W[token], W [vocabulary,
 * width].
 *
 *   value             a      = W[token]
 *   tangent           adot   = Wdot[token]
 *   backward          dW[token] += s
 *   tangent_backward  dWdot[token] += sdot
 * The input does not move and gets no signal. That tokens are whole numbers below the vocabulary is
 * checked against the data once, when a problem is made (src/diff/problem.c). */
#include "layers/layer.h"

#include <string.h>

static unsigned embedding_traits(const void *config)
{
    (void)config;
    return GM_TRAIT_PIECEWISE | GM_TRAIT_NEEDS_IN | GM_TRAIT_TOKENS;
}

static gm_status embedding_infer(const void *config, int inputs, const gm_shape *in, gm_shape *out,
                                 gm_tensor *tensor, int *tensors, gm_error *err)
{
    const gm_embedding_config *c = config;
    if (inputs != 1) return gm_fail(err, GM_ERR_INPUT, "%d inputs, expected 1", inputs);
    if (c->vocabulary == 0 || c->width == 0 || in->rank >= GM_MAX_RANK) {
        return gm_fail(
            err, GM_ERR_INPUT,
            "a table [%zu, %zu] and tokens of rank %d, expected no 0 and a rank below %d",
            c->vocabulary, c->width, in->rank, (int)GM_MAX_RANK);
    }
    *out = *in;
    out->dim[out->rank++] = c->width;
    tensor[0] = (gm_tensor){.name = "weight",
                            .shape = {.rank = 2, .dim = {c->vocabulary, c->width}},
                            .fan_in = c->width,
                            .fan_out = c->width};
    *tensors = 1;
    return GM_OK;
}

static size_t tokens_of(const gm_layer_call *c)
{
    return c->n * gm_shape_size(&c->in_shape[0]);
}

static size_t width_of(const gm_layer_call *c)
{
    return ((const gm_embedding_config *)c->config)->width;
}

static void embedding_value(const gm_layer_call *c)
{
    c->k->embed(tokens_of(c), width_of(c), c->in[0], c->param, c->out);
}

static void embedding_tangent(const gm_layer_call *c)
{
    size_t numbers = tokens_of(c) * width_of(c), bytes = numbers * c->k->size;
    if (!c->tparam) memset(c->tout, 0, c->b * bytes);
    for (size_t j = 0; c->tparam && j < c->b; j++) {
        c->k->embed(tokens_of(c), width_of(c), c->in[0], c->tparam[j], (char *)c->tout + j * bytes);
    }
}

static void add_rows(const gm_layer_call *c, const void *signal)
{
    size_t bytes = tokens_of(c) * width_of(c) * c->k->size;
    for (size_t j = 0; c->grad && j < c->b; j++) {
        c->k->embed_add(tokens_of(c), width_of(c), c->in[0], (const char *)signal + j * bytes,
                        c->grad[j]);
    }
}

static void embedding_backward(const gm_layer_call *c)
{
    add_rows(c, c->signal);
}

static void embedding_tangent_backward(const gm_layer_call *c)
{
    add_rows(c, c->tsignal);
}

const gm_layer_kind gm_layer_embedding = {
    .name = "embedding",
    .config_size = sizeof(gm_embedding_config),
    .traits = embedding_traits,
    .infer = embedding_infer,
    .value = embedding_value,
    .tangent = embedding_tangent,
    .backward = embedding_backward,
    .tangent_backward = embedding_tangent_backward,
};
