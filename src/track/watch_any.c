/* The gauges of batches through nets that are more than dense layers and activations: weights that
 * act at several positions, or in several layers. Per-sample gradients come layer by layer, one
 * sample at a time where a layer's is no outer product; the quadratic forms of the batch from the
 * products H_B u and H_B v themselves, one tangent and one backward pass each. */
#include <string.h>

#include "curvature/parts.h"
#include "track/watch.h"

bool gm_watch_plain(const gm_net *net)
{
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        bool known = node->parameters ? (node->traits & GM_TRAIT_OUTER) != 0
                                      : node->kind == &gm_layer_activation;
        if (!known) return false;
    }
    return true;
}

size_t gm_watch_widest(const gm_net *net)
{
    size_t widest = 0;
    for (int l = 0; l < net->layers; l++) {
        const gm_node *node = &net->node[net->layer_node[l]];
        bool outer = (node->traits & GM_TRAIT_OUTER) != 0;
        if (!outer && node->parameters > widest) widest = node->parameters;
    }
    return widest;
}

void gm_watch_any_norms(gm_gauge_watch *w, const gm_worker *worker, const gm_chunk *c,
                        const void *gradient, double *own, double *along)
{
    const gm_engine *e = &worker->engine;
    const gm_net *net = e->net;
    for (int l = 0; l < net->layers; l++) {
        int index = net->layer_node[l];
        const gm_node *node = &net->node[index];
        if (node->traits & GM_TRAIT_OUTER) {
            gm_watch_outer_norms(w, c, node, c->value[node->input[0]], c->signal[index], own);
            continue;
        }
        for (size_t i = 0; i < c->n; i++) {
            gm_pass_sample_gradient(e, c, index, i, c->signal, i, w->sample);
            own[i] += w->k->dot(node->parameters, w->sample, w->sample);
        }
    }
    const void *direction[] = {gradient};
    gm_directions d = {.count = 1, .size = w->p, .v = direction};
    gm_pass_dots(e, c, &d, w->work, along);
}

void gm_watch_any_curvature(gm_gauge_watch *w, gm_worker *worker, const gm_chunk *c,
                            const void *unit)
{
    const bool *moves = w->problem->active;
    const void *direction[1];
    void *sum[1];
    gm_directions d = {.count = 1, .size = w->p, .v = direction, .sum = sum};
    for (int second = unit ? 0 : 1; second < 2; second++) {
        direction[0] = second ? w->vector : unit;
        sum[0] = second ? w->image : w->unit_image;
        gm_hessian_pass(&worker->engine, c, moves, &d, worker->tangent.node, worker->tsignal.node);
    }
}
