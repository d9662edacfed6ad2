/* Norms of the weights, layer by layer and along paths, in double precision. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "bound/measures.h"
#include "diff/worker.h"
#include "gradiometer/eigen.h"

static const double tolerance = 1e-10; /* of sigma^2 */

/* The linear map A of one layer: its value without biases. */
typedef struct layer_map {
    const gm_node *node;
    const gm_kernels *k;
    double *param; /* biases zero */
    double *out;   /* [capacity, out] */
    double *in;    /* [capacity, in]: zeros, for layers that read their input */
    gm_scratch scratch;
    size_t capacity;
} layer_map;

static gm_layer_call call_of(const layer_map *m, size_t n)
{
    return (gm_layer_call){.k = m->k,
                           .config = m->node->config,
                           .n = n,
                           .b = 1,
                           .inputs = 1,
                           .in_shape = m->node->in_shape,
                           .out_shape = &m->node->shape,
                           .param = m->param,
                           .out = m->out,
                           .scratch = m->scratch};
}

static gm_status reserve(layer_map *m, size_t count, gm_error *err)
{
    if (count <= m->capacity) return GM_OK;
    size_t in = gm_shape_size(&m->node->in_shape[0]);
    gm_free(m->out);
    gm_free(m->in);
    gm_free(m->scratch.memory);
    if (m->node->kind->scratch) {
        m->scratch.bytes =
            m->node->kind->scratch(m->k, m->node->config, m->node->in_shape, count, 1);
    }
    m->scratch.memory = gm_alloc(m->scratch.bytes, 1, "workspace of a layer", err);
    m->out = gm_alloc(count * m->node->size, sizeof *m->out, "a layer's outputs", err);
    m->in = gm_alloc(count * in, sizeof *m->in, "a layer's inputs", err);
    m->capacity = m->out && m->in && m->scratch.memory ? count : 0;
    return m->capacity ? GM_OK : GM_ERR_MEMORY;
}

/* av = A^T A v */
static gm_status apply_square(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    layer_map *m = self;
    gm_status status = reserve(m, count, err);
    if (status != GM_OK) return status;
    gm_layer_call call = call_of(m, count);
    call.in[0] = v;
    m->node->kind->value(&call);
    call = call_of(m, count);
    call.in[0] = m->in;
    call.signal = m->out;
    call.din[0] = av;
    m->node->kind->backward(&call);
    return GM_OK;
}

static gm_status layer_norm(const gm_node *node, const double *theta, double *norm, double *error,
                            gm_error *err)
{
    layer_map m = {.node = node, .k = gm_kernels_get(GM_F64)};
    gm_eigen r = {0};
    gm_operator op = {.size = gm_shape_size(&node->in_shape[0]),
                      .precision = GM_F64,
                      .name = node->name,
                      .self = &m,
                      .apply = apply_square};
    gm_eigen_options o;
    gm_eigen_options_default(&o);
    o.k = 1;
    o.tol = tolerance;
    m.param = gm_alloc(node->parameters, sizeof *m.param, "a layer's weights", err);
    gm_status status = m.param ? GM_OK : GM_ERR_MEMORY;
    size_t at = 0;
    for (int t = 0; status == GM_OK && t < node->tensors; t++) {
        size_t count = gm_shape_size(&node->tensor[t].shape);
        if (gm_tensor_ways(&node->tensor[t]) > 0) {
            memcpy(m.param + at, theta + node->offset + at, count * sizeof *m.param);
        }
        at += count;
    }
    if (status == GM_OK) status = gm_eigenpairs(&op, &o, &r, err);
    if (status == GM_OK && r.count < 1) {
        status = gm_fail(err, GM_ERR_NUMERIC, "layer %s: its norm did not converge", node->name);
    }
    if (status == GM_OK) {
        *norm = sqrt(fmax(0.0, r.value[0]));
        *error = *norm > 0.0 ? 0.5 * r.residual[0] / *norm : 0.0;
    }
    gm_eigen_free(&r);
    gm_free(m.param);
    gm_free(m.out);
    gm_free(m.in);
    gm_free(m.scratch.memory);
    return status;
}

/* Not so a look-up, a parameter tensor without input, a normalization by the sample's own moments.
 */
static bool linear_in_input(const gm_node *node)
{
    unsigned traits = node->kind->traits(node->config);
    return node->inputs == 1 && (traits & GM_TRAIT_PIECEWISE) && !(traits & GM_TRAIT_TOKENS);
}

gm_status gm_measure_spectral_norm(const gm_net *net, const double *theta, double *value,
                                   double *error, gm_error *err)
{
    double relative = 0.0;
    *value = 1.0;
    *error = 0.0;
    for (int l = 0; l < net->layers; l++) {
        if (linear_in_input(&net->node[net->layer_node[l]])) continue;
        *value = (double)NAN;
        return GM_OK;
    }
    for (int l = 0; l < net->layers; l++) {
        double norm, residual;
        gm_status status = layer_norm(&net->node[net->layer_node[l]], theta, &norm, &residual, err);
        if (status != GM_OK) return status;
        *value *= norm;
        if (norm > 0.0) relative += residual / norm;
    }
    *error = *value * relative;
    return GM_OK;
}

gm_status gm_measure_path_norm(const gm_net *net, const double *theta, double *value, gm_error *err)
{
    *value = (double)NAN;
    if (!gm_net_homogeneous(net)) return GM_OK;
    size_t p = gm_net_parameters(net), inputs = gm_net_inputs(net), outputs = gm_net_outputs(net);
    gm_engine e = {.net = net, .k = gm_kernels_get(GM_F64), .loss = GM_LOSS_CROSS_ENTROPY};
    e.scratch.bytes = gm_pass_scratch(&e, 1, 1);
    e.scratch.memory = gm_alloc(e.scratch.bytes, 1, "workspace of the layers", err);
    gm_arrays arrays = {0};
    bool *member = gm_alloc((size_t)net->nodes, sizeof *member, "nodes", err);
    double *ones = gm_alloc(inputs, sizeof *ones, "an input", err);
    double *magnitude = gm_alloc(p, sizeof *magnitude, "magnitudes of parameters", err);
    gm_status status = member && ones && magnitude && e.scratch.memory ? GM_OK : GM_ERR_MEMORY;
    for (int i = 1; status == GM_OK && i < net->nodes; i++) {
        member[i] = true;
    }
    if (status == GM_OK) status = gm_arrays_make(net, member, 1, sizeof(double), &arrays, err);
    if (status == GM_OK) {
        for (size_t j = 0; j < p; j++) {
            magnitude[j] = fabs(theta[j]);
        }
        e.k->fill(inputs, 1.0, ones);
        arrays.node[0] = ones;
        gm_chunk chunk = {.n = 1, .theta = magnitude, .value = arrays.node};
        gm_pass_value(&e, &chunk);
        const double *out = arrays.node[net->nodes - 1];
        *value = 0.0;
        for (size_t c = 0; c < outputs; c++) {
            *value += out[c];
        }
    }
    gm_arrays_free(&arrays);
    gm_free(e.scratch.memory);
    gm_free(member);
    gm_free(ones);
    gm_free(magnitude);
    return status;
}
