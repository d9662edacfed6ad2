/* v . H_i v of single samples from a tangent pass alone: the second derivative of the loss along v
 * is that of the logits' loss along zdot, and the signals times the second derivatives of the
 * layers, a dense one's being 2 V adot and an activation's phi'' zdot^2. */
#include <string.h>

#include "curvature/parts.h"

static void dense_term(const gm_engine *e, const gm_chunk *c, const gm_node *node,
                       const gm_directions *d, const void *adot, const void *signal, void *work,
                       double *form)
{
    size_t in = gm_shape_size(&node->in_shape[0]);
    const char *v = (const char *)d->v[0] + node->offset * e->k->size;
    /* twice: both factors of the product move */
    e->k->gemm(false, true, c->n, node->size, in, 2.0, adot, in, v, in, 0.0, work, node->size);
    e->k->row_dots(c->n, node->size, signal, work, form);
}

static void activation_term(const gm_engine *e, const gm_chunk *c, const gm_node *node, int index,
                            void *const *tangent, void *work, double *form)
{
    const gm_activation_config *config = node->config;
    int input = node->input[0];
    size_t numbers = c->n * node->size;
    void *bend = (char *)work + numbers * e->k->size;
    memset(work, 0, numbers * e->k->size); /* act_curve adds phi' times this */
    e->k->act_curve(config->act, numbers, c->value[input], c->value[index], work, tangent[input],
                    c->signal[index], false, bend);
    e->k->row_dots(c->n, node->size, bend, tangent[input], form);
}

void gm_sample_curvature(const gm_engine *e, const gm_chunk *c, const bool *moves,
                         const gm_directions *d, void *const *tangent, void *root, void *work,
                         double *form)
{
    int last = e->net->nodes - 1;
    gm_pass_root(e, c, GM_ROOT_METRIC, 1, tangent[last], root);
    e->k->row_dots(c->n, e->net->node[last].size, root, tangent[last], form);
    for (int i = 1; i <= last; i++) {
        const gm_node *node = &e->net->node[i];
        int input = node->input[0];
        if (!moves[input]) continue;
        if (node->parameters) {
            dense_term(e, c, node, d, tangent[input], c->signal[i], work, form);
        } else if (!(node->traits & GM_TRAIT_PIECEWISE)) {
            activation_term(e, c, node, i, tangent, work, form);
        }
    }
}
