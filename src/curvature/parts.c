#include "curvature/parts.h"

#include <string.h>

#include "base/memory.h"

static const char *const names[GM_CURVATURES] = {"hessian",    "ggn",      "moment",
                                                 "covariance", "residual", "gn_residual"};

const char *gm_curvature_name(gm_curvature kind)
{
    return (unsigned)kind < GM_CURVATURES ? names[kind] : "unknown operator";
}

bool gm_curvature_parse(const char *name, gm_curvature *kind)
{
    for (int i = 0; i < GM_CURVATURES; i++) {
        if (strcmp(name, names[i]) == 0) {
            *kind = (gm_curvature)i;
            return true;
        }
    }
    return false;
}

gm_status gm_part_of(const gm_linearization *lin, int layer, gm_part *part, gm_error *err)
{
    const gm_net *net = gm_engine_of(lin)->net;
    if (layer == GM_ALL_LAYERS) {
        *part = (gm_part){0, net->parameters, 0, net->layers - 1};
        return GM_OK;
    }
    if (layer < 0 || layer >= net->layers) {
        return gm_fail(err, GM_ERR_USAGE, "layer %d: %s has layers 0 ... %d", layer, net->name,
                       net->layers - 1);
    }
    const gm_node *node = &net->node[net->layer_node[layer]];
    *part = (gm_part){node->offset, node->parameters, layer, layer};
    return GM_OK;
}

gm_root gm_root_of(gm_curvature kind)
{
    if (kind == GM_RESIDUAL) return GM_ROOT_RESIDUAL;
    return kind == GM_GN_RESIDUAL ? GM_ROOT_ZERO : GM_ROOT_METRIC;
}

bool gm_part_outer(const gm_linearization *lin, const gm_part *part)
{
    const gm_net *net = gm_engine_of(lin)->net;
    for (int i = part->first_layer; i <= part->last_layer; i++) {
        if (!(net->node[net->layer_node[i]].traits & GM_TRAIT_OUTER)) return false;
    }
    return true;
}

gm_outer_layer *gm_part_layers(const gm_linearization *lin, const gm_part *part, gm_error *err)
{
    const gm_net *net = gm_engine_of(lin)->net;
    size_t count = (size_t)(part->last_layer - part->first_layer + 1);
    gm_outer_layer *layers = gm_alloc(count, sizeof *layers, "layers", err);
    for (size_t i = 0; layers && i < count; i++) {
        int index = net->layer_node[(size_t)part->first_layer + i];
        const gm_node *node = &net->node[index];
        size_t in = gm_shape_size(&node->in_shape[0]);
        size_t offset = node->offset - part->offset;
        if (node->traits & GM_TRAIT_OUTER) {
            size_t aug = in + (node->tensors > 1 ? 1 : 0);
            layers[i] = (gm_outer_layer){index, true, in, node->size, aug, offset};
        } else {
            layers[i] = (gm_outer_layer){index, false, 1, node->parameters, 1, offset};
        }
    }
    return layers;
}

void gm_augmented_input(const gm_engine *e, const gm_chunk *c, const gm_outer_layer *layer,
                        double *out)
{
    if (!layer->outer) {
        for (size_t i = 0; i < c->n; i++) {
            out[i] = 1.0;
        }
        return;
    }
    const char *in = c->value[e->net->node[layer->node].input[0]];
    for (size_t i = 0; i < c->n; i++) {
        double *row = out + i * layer->aug;
        e->k->to_double(layer->in, in + i * layer->in * e->k->size, row);
        if (layer->aug > layer->in) row[layer->in] = 1.0;
    }
}

size_t gm_widest_shared(const gm_outer_layer *layer, size_t layers)
{
    size_t widest = 0;
    for (size_t l = 0; l < layers; l++) {
        if (!layer[l].outer && layer[l].out > widest) widest = layer[l].out;
    }
    return widest;
}

void gm_layer_signal(const gm_engine *e, const gm_chunk *c, const gm_outer_layer *layer, size_t i,
                     void *const *signal, size_t row, void *own, double *out)
{
    const void *from = own;
    if (layer->outer) {
        from = (const char *)signal[layer->node] + row * layer->out * e->k->size;
    } else {
        gm_pass_sample_gradient(e, c, layer->node, i, signal, row, own);
    }
    e->k->to_double(layer->out, from, out);
}

void gm_layer_signals(const gm_engine *e, const gm_chunk *c, const gm_outer_layer *layer,
                      void *const *signal, void *own, double *out)
{
    if (layer->outer) {
        e->k->to_double(c->n * layer->out, signal[layer->node], out);
        return;
    }
    for (size_t i = 0; i < c->n; i++) {
        gm_layer_signal(e, c, layer, i, signal, i, own, out + i * layer->out);
    }
}

void gm_unpack_units(const gm_outer_layer *layer, const double *units, double scale, double *slice)
{
    double *bias = slice + layer->in * layer->out;
    for (size_t o = 0; o < layer->out; o++) {
        const double *unit = units + o * layer->aug;
        for (size_t k = 0; k < layer->in; k++) {
            slice[o * layer->in + k] += scale * unit[k];
        }
        if (layer->aug > layer->in) bias[o] += scale * unit[layer->in];
    }
}
