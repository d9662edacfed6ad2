#include "curvature/units.h"

#include <string.h>

#include "base/memory.h"

gm_status gm_unit_pass_create(const gm_problem *problem, gm_curvature kind, size_t rows,
                              gm_unit_pass *u, gm_error *err)
{
    const gm_engine *e = &problem->engine;
    size_t nodes = (size_t)e->net->nodes;
    *u = (gm_unit_pass){.engine = *e, .kind = kind};
    u->engine.scratch.bytes = gm_pass_scratch(e, rows, 1);
    u->engine.scratch.memory = gm_alloc(u->engine.scratch.bytes, 1, "workspace of the layers", err);
    if (!u->engine.scratch.memory) return GM_ERR_MEMORY;
    u->moves = gm_alloc(2 * nodes, sizeof(bool), "unit pass", err);
    if (!u->moves) return GM_ERR_MEMORY;
    u->wanted = u->moves + nodes;
    gm_status status = gm_arrays_make(e->net, problem->all, rows, e->k->size, &u->tangent, err);
    if (status != GM_OK) return status;
    return gm_arrays_make(e->net, problem->all, rows, e->k->size, &u->tsignal, err);
}

void gm_unit_pass_free(gm_unit_pass *u)
{
    gm_free(u->moves);
    gm_free(u->engine.scratch.memory);
    u->engine.scratch.memory = NULL;
    gm_arrays_free(&u->tangent);
    gm_arrays_free(&u->tsignal);
    u->moves = NULL;
}

void gm_unit_pass_layer(gm_unit_pass *u, int node)
{
    const gm_net *net = u->engine.net;
    for (int i = 0; i < net->nodes; i++) {
        u->wanted[i] = i >= node;
        u->moves[i] = i == node;
        for (int j = 0; i > node && j < net->node[i].inputs; j++) {
            u->moves[i] = u->moves[i] || u->moves[net->node[i].input[j]];
        }
    }
}

void gm_unit_pass_run(gm_unit_pass *u, const gm_chunk *c, int node, size_t o)
{
    const gm_engine *e = &u->engine;
    int last = e->net->nodes - 1;
    size_t width = e->net->node[node].size;
    char *seed = u->tangent.node[node];
    memset(seed, 0, c->n * width * e->k->size);
    for (size_t i = 0; i < c->n; i++) {
        e->k->fill(1, 1.0, seed + (i * width + o) * e->k->size);
    }
    gm_pass_tangent(e, c, u->moves, node, 1, NULL, u->tangent.node);
    gm_pass_root(e, c, gm_root_of(u->kind), 1, u->tangent.node[last], u->tsignal.node[last]);
    if (u->kind == GM_GGN) {
        gm_pass_backward(e, c, u->wanted, 1, u->tsignal.node, NULL);
    } else {
        gm_pass_tangent_backward(e, c, u->moves, u->wanted, 1, NULL, u->tangent.node,
                                 u->tsignal.node);
    }
}

gm_chunk gm_chunk_rows(const gm_engine *e, const gm_chunk *c, size_t first, size_t n, void **value,
                       void **signal)
{
    gm_chunk rows = *c;
    size_t outputs = e->net->node[e->net->nodes - 1].size;
    for (int i = 0; i < e->net->nodes; i++) {
        size_t shift = first * e->net->node[i].size * e->k->size;
        value[i] = c->value[i] ? (char *)c->value[i] + shift : NULL;
        signal[i] = c->signal[i] ? (char *)c->signal[i] + shift : NULL;
    }
    rows.first += first;
    rows.n = n;
    rows.value = value;
    rows.signal = signal;
    if (c->prob) rows.prob = (char *)c->prob + first * outputs * e->k->size;
    if (c->label) rows.label = c->label + first * e->positions;
    if (c->target) rows.target = c->target + first * outputs;
    return rows;
}
