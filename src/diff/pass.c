#include "diff/pass.h"

#include <string.h>

#include "base/memory.h"

void gm_pass_active(const gm_net *net, int layer, bool *member)
{
    member[0] = false;
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        member[i] = node->parameters > 0 && (layer < 0 || node->layer == layer);
        for (int j = 0; j < node->inputs; j++) {
            member[i] = member[i] || member[node->input[j]];
        }
    }
}

bool gm_pass_keeps_value(const gm_net *net, int index)
{
    if (index == 0 || (net->node[index].traits & GM_TRAIT_NEEDS_OUT)) return true;
    for (int i = index + 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        if (!(node->traits & GM_TRAIT_NEEDS_IN)) continue;
        for (int j = 0; j < node->inputs; j++) {
            if (node->input[j] == index) return true;
        }
    }
    return false;
}

bool gm_pass_keeps_signal(const gm_net *net, int index)
{
    const gm_node *node = &net->node[index];
    return index > 0 && (node->parameters > 0 || (node->traits & GM_TRAIT_NEEDS_SIGNAL));
}

size_t gm_pass_scratch(const gm_engine *e, size_t n, size_t b)
{
    size_t most = 0;
    for (int i = 1; i < e->net->nodes; i++) {
        const gm_node *node = &e->net->node[i];
        if (!node->kind->scratch) continue;
        size_t bytes = node->kind->scratch(e->k, node->config, node->in_shape, n, b);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static const void *slice(const gm_engine *e, const void *array, size_t index)
{
    return (const char *)array + index * e->k->size;
}

/* What every call on a node has in common. */
static gm_layer_call call_of(const gm_engine *e, const gm_chunk *c, const gm_node *node, size_t b)
{
    gm_layer_call call = {.k = e->k,
                          .config = node->config,
                          .n = c->n,
                          .b = b,
                          .inputs = node->inputs,
                          .in_shape = node->in_shape,
                          .out_shape = &node->shape,
                          .param = slice(e, c->theta, node->offset),
                          .scratch = e->scratch,
                          .out = c->value[node - e->net->node]};
    for (int j = 0; j < node->inputs; j++) {
        call.in[j] = c->value[node->input[j]];
    }
    return call;
}

/* Pointers to one layer's slice of each direction, for reading and for adding to. */
typedef struct slices {
    const void *v[GM_MAX_BLOCK];
    void *sum[GM_MAX_BLOCK];
} slices;

/* True where the node's parameters lie in the block of d; fills in its slices. */
static bool in_block(const gm_engine *e, const gm_node *node, const gm_directions *d, slices *s)
{
    if (!d || node->parameters == 0 || node->offset < d->offset ||
        node->offset >= d->offset + d->size) {
        return false;
    }
    size_t shift = (node->offset - d->offset) * e->k->size;
    for (size_t j = 0; j < d->count; j++) {
        if (d->v) s->v[j] = (const char *)d->v[j] + shift;
        if (d->sum) s->sum[j] = (char *)d->sum[j] + shift;
    }
    return true;
}

/* Where a node's signals go: to the inputs that are wanted. Users of a wanted node are wanted
 * themselves, so that the last of them is the first to write there. */
static void aim_signals(gm_layer_call *call, const gm_node *node, const bool *wanted,
                        void *const *signal)
{
    for (int j = 0; j < node->inputs; j++) {
        int input = node->input[j];
        if (!wanted[input]) continue;
        call->din[j] = signal[input];
        call->din_add[j] = node->input_shared[j];
    }
}

/* ---- directions of the samples' own ---- */

/* to[i, :] += (x[i] . y[i]) z[i, :] for n rows: x, y [n, inner], z, to [n, outer]. */
static void add_scaled(const gm_engine *e, const gm_own_directions *own, size_t n, size_t inner,
                       const void *x, const void *y, size_t outer, const void *z, void *to)
{
    memset(own->dots, 0, n * sizeof *own->dots);
    e->k->row_dots(n, inner, x, y, own->dots);
    e->k->scale_rows(n, outer, own->dots, z, own->work);
    e->k->axpy(n * outer, 1.0, own->work, to);
}

/* What the own directions of the node's weights do to its tangent: sdot (a . a + 1) + s (adot . a),
 * the 1 where it has a bias. */
static void add_own_tangent(const gm_engine *e, const gm_chunk *c, const gm_layer_call *call,
                            const gm_node *node, const gm_own_directions *own)
{
    size_t i = (size_t)(node - e->net->node), in = gm_shape_size(&node->in_shape[0]);
    int input = node->input[0];
    for (size_t j = 0; j < call->b; j++) {
        void *to = (char *)call->tout + j * c->n * node->size * e->k->size;
        const void *sdot = slice(e, own->tsignal[i], j * c->n * node->size);
        add_scaled(e, own, c->n, in, call->in[0], call->in[0], node->size, sdot, to);
        if (node->tensors > 1) e->k->axpy(c->n * node->size, 1.0, sdot, to);
        if (!own->moves[input]) continue;
        const void *adot = slice(e, own->tangent[input], j * c->n * in);
        add_scaled(e, own, c->n, in, adot, call->in[0], node->size, c->signal[i], to);
    }
}

/* And to the tangent of its input's signal: a (sdot . s) + adot (s . s). */
static void add_own_signal(const gm_engine *e, const gm_chunk *c, const gm_layer_call *call,
                           const gm_node *node, const gm_own_directions *own)
{
    size_t i = (size_t)(node - e->net->node), in = gm_shape_size(&node->in_shape[0]);
    int input = node->input[0];
    if (!call->din[0]) return;
    for (size_t j = 0; j < call->b; j++) {
        void *to = (char *)call->din[0] + j * c->n * in * e->k->size;
        const void *sdot = slice(e, own->tsignal[i], j * c->n * node->size);
        add_scaled(e, own, c->n, node->size, sdot, c->signal[i], in, call->in[0], to);
        const void *adot = slice(e, own->tangent[input], j * c->n * in);
        add_scaled(e, own, c->n, node->size, c->signal[i], c->signal[i], in, adot, to);
    }
}

/* ---- passes ---- */

void gm_pass_value(const gm_engine *e, const gm_chunk *c)
{
    for (int i = 1; i < e->net->nodes; i++) {
        const gm_node *node = &e->net->node[i];
        gm_layer_call call = call_of(e, c, node, 1);
        node->kind->value(&call);
    }
}

/* The samples' losses from those of their positions, in place. */
static void join_positions(const gm_engine *e, size_t n, double *loss)
{
    for (size_t i = 0; loss && i < n; i++) {
        double sum = 0.0;
        for (size_t t = 0; t < e->positions; t++) {
            sum += loss[i * e->positions + t];
        }
        loss[i] = e->weight * sum;
    }
}

void gm_pass_output_signal(const gm_engine *e, const gm_chunk *c)
{
    int last = e->net->nodes - 1;
    size_t width = e->net->node[last].size;
    void *signal = c->signal[last];
    e->k->softmax_signal(c->n * e->positions, width / e->positions, c->prob, c->label, signal);
    if (e->positions > 1) e->k->scale_rows(1, c->n * width, &e->weight, signal, signal);
}

void gm_pass_loss(const gm_engine *e, const gm_chunk *c, double *loss, uint8_t *wrong)
{
    int last = e->net->nodes - 1;
    size_t width = e->net->node[last].size;
    if (e->loss == GM_LOSS_CROSS_ENTROPY) {
        e->k->softmax_loss(c->n * e->positions, width / e->positions, c->value[last], c->label,
                           loss, wrong, c->prob, NULL);
        if (e->positions > 1) join_positions(e, c->n, loss);
        if (c->signal[last]) gm_pass_output_signal(e, c);
    } else {
        e->k->squared_loss(c->n, width, c->value[last], c->target, loss, wrong, c->signal[last]);
    }
}

void gm_pass_backward(const gm_engine *e, const gm_chunk *c, const bool *wanted, size_t b,
                      void *const *signal, const gm_directions *d)
{
    for (int i = e->net->nodes - 1; i > 0; i--) {
        if (!wanted[i]) continue;
        const gm_node *node = &e->net->node[i];
        slices s;
        gm_layer_call call = call_of(e, c, node, b);
        call.signal = signal[i];
        aim_signals(&call, node, wanted, signal);
        if (in_block(e, node, d, &s)) call.grad = s.sum;
        node->kind->backward(&call);
    }
}

void gm_pass_tangent(const gm_engine *e, const gm_chunk *c, const bool *moves, int seed, size_t b,
                     const gm_directions *d, void *const *tangent)
{
    for (int i = seed + 1; i < e->net->nodes; i++) {
        if (!moves[i]) continue;
        const gm_node *node = &e->net->node[i];
        slices s;
        gm_layer_call call = call_of(e, c, node, b);
        for (int j = 0; j < node->inputs; j++) {
            if (moves[node->input[j]]) call.tin[j] = tangent[node->input[j]];
        }
        bool inside = in_block(e, node, d, &s);
        if (inside && d->v) call.tparam = s.v;
        call.tout = tangent[i];
        node->kind->tangent(&call);
        if (inside && d->own) add_own_tangent(e, c, &call, node, d->own);
    }
}

void gm_pass_root(const gm_engine *e, const gm_chunk *c, gm_root root, size_t b,
                  const void *tangent, void *out)
{
    const gm_kernels *k = e->k;
    int last = e->net->nodes - 1;
    size_t width = e->net->node[last].size, rows = b * c->n;
    if (root == GM_ROOT_ZERO) {
        memset(out, 0, rows * width * k->size);
        return;
    }
    for (size_t j = 0; j < b; j++) {
        size_t shift = j * c->n * width;
        const void *in = slice(e, tangent, shift);
        void *to = (char *)out + shift * k->size;
        if (e->loss == GM_LOSS_CROSS_ENTROPY) {
            k->softmax_metric(c->n * e->positions, width / e->positions, c->prob, in, to);
            if (e->positions > 1) k->scale_rows(1, c->n * width, &e->weight, to, to);
        } else {
            memcpy(to, in, c->n * width * k->size);
        }
    }
    if (root != GM_ROOT_RESIDUAL) return;
    for (size_t i = 0; i < rows; i++) { /* minus r (r . zdot), r = -signal */
        const void *r = slice(e, c->signal[last], (i % c->n) * width);
        k->axpy(width, -k->dot(width, r, slice(e, tangent, i * width)), r,
                (char *)out + i * width * k->size);
    }
}

void gm_pass_tangent_backward(const gm_engine *e, const gm_chunk *c, const bool *moves,
                              const bool *wanted, size_t b, const gm_directions *d,
                              void *const *tangent, void *const *tsignal)
{
    for (int i = e->net->nodes - 1; i > 0; i--) {
        if (!wanted[i]) continue;
        const gm_node *node = &e->net->node[i];
        slices s;
        gm_layer_call call = call_of(e, c, node, b);
        call.signal = c->signal[i];
        call.tsignal = tsignal[i];
        for (int j = 0; j < node->inputs; j++) {
            if (moves[node->input[j]]) call.tin[j] = tangent[node->input[j]];
        }
        aim_signals(&call, node, wanted, tsignal);
        bool inside = in_block(e, node, d, &s);
        if (inside && d->v) call.tparam = s.v;
        if (inside && d->sum) call.grad = s.sum;
        node->kind->tangent_backward(&call);
        if (inside && d->own) add_own_signal(e, c, &call, node, d->own);
    }
}

void gm_pass_dots(const gm_engine *e, const gm_chunk *c, const gm_directions *d, void *work,
                  double *t)
{
    for (int i = 1; i < e->net->nodes; i++) {
        const gm_node *node = &e->net->node[i];
        slices s;
        if (!in_block(e, node, d, &s)) continue;
        gm_layer_call call = call_of(e, c, node, d->count);
        call.tparam = s.v;
        call.tout = work;
        node->kind->tangent(&call);
        for (size_t j = 0; j < d->count; j++) {
            e->k->row_dots(c->n, node->size, c->signal[i], slice(e, work, j * c->n * node->size),
                           t + j * c->n);
        }
    }
}

void gm_pass_sample_gradient(const gm_engine *e, const gm_chunk *c, int index, size_t i,
                             void *const *signal, size_t row, void *gradient)
{
    int owner = e->net->node[index].owner;
    memset(gradient, 0, e->net->node[owner].parameters * e->k->size);
    for (int user = owner; user < e->net->nodes; user++) {
        const gm_node *node = &e->net->node[user];
        if (node->owner != owner) continue;
        gm_layer_call call = call_of(e, c, node, 1);
        call.n = 1;
        for (int j = 0; j < node->inputs; j++) {
            size_t size = e->net->node[node->input[j]].size;
            if (call.in[j]) call.in[j] = slice(e, call.in[j], i * size);
        }
        if (call.out) call.out = (char *)call.out + i * node->size * e->k->size;
        call.signal = slice(e, signal[user], row * node->size);
        call.grad = &gradient;
        node->kind->backward(&call);
    }
}

void gm_pass_weighted(const gm_engine *e, const gm_chunk *c, const gm_directions *d,
                      const double *t, void *work)
{
    for (int i = 1; i < e->net->nodes; i++) {
        const gm_node *node = &e->net->node[i];
        slices s;
        if (!in_block(e, node, d, &s)) continue;
        for (size_t j = 0; j < d->count; j++) {
            e->k->scale_rows(c->n, node->size, t + j * c->n, c->signal[i],
                             (char *)work + j * c->n * node->size * e->k->size);
        }
        gm_layer_call call = call_of(e, c, node, d->count);
        call.signal = work;
        call.grad = s.sum;
        node->kind->backward(&call);
    }
}
