/* Products with S = (1/n) sum_i H_i^2, H_i the Hessian of sample i's loss (theory section 3.5).
 *
 * Where the gradient of each layer is an outer product s (x) (a, 1), that of H_i v is the sum of
 * two, sdot (x) (a, 1) + s (x) (adot, 0), with the tangents along v. So u_i = H_i v need not be
 * formed: the tangent pass along the u_i, a direction for each sample of its own, takes from them
 *   u a  = sdot (a . a + 1) + s (adot . a)   forward, and
 *   u' s = a (sdot . s) + adot (s . s)       backward,
 * and H_i u_i is summed as for H: two passes for a product, and no array of n p numbers. The forms
 * are x_j . H_i x_l = sum over layers of sdot . (X_j a + b_j) + adot . (X_j' s), X_j a and X_j' s
 * once for each j. Other layers take the samples one by one. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "curvature/parts.h"
#include "curvature/units.h"

/* A worker's arrays for what follows the first pass. */
typedef struct second {
    gm_arrays tangent, tsignal; /* of the second pass, [block, chunk, size] */
    double *dots;               /* [chunk] */
    void *own;                  /* [block, size of the part]: one sample's products */
    void **value, **signal;     /* [nodes] views of one sample */
} second;

typedef struct squares {
    gm_linearization *lin;
    gm_part part;
    bool by_sample;
    bool *active; /* [nodes] */
    gm_sums *sums;
    void *native; /* [block, size] directions in single precision; NULL in double */
    const void *v[GM_MAX_BLOCK];
    size_t count; /* directions of the block in hand */
    second *worker;
} squares;

void gm_hessian_pass(const gm_engine *e, const gm_chunk *c, const bool *active,
                     const gm_directions *d, void *const *tangent, void *const *tsignal)
{
    int last = e->net->nodes - 1;
    gm_pass_tangent(e, c, active, 0, d->count, d, tangent);
    gm_pass_root(e, c, GM_ROOT_METRIC, d->count, tangent[last], tsignal[last]);
    gm_pass_tangent_backward(e, c, active, active, d->count, d, tangent, tsignal);
}

static void outer_work(const squares *q, const gm_worker *w, const gm_chunk *c, void *const *sum)
{
    const gm_engine *e = &w->engine;
    second *s = &q->worker[w->thread];
    gm_directions d = {
        .count = q->count, .offset = q->part.offset, .size = q->part.size, .v = q->v};
    gm_hessian_pass(e, c, q->active, &d, w->tangent.node, w->tsignal.node);
    gm_own_directions own = {q->active, w->tangent.node, w->tsignal.node, w->work, s->dots};
    d.v = NULL;
    d.own = &own;
    d.sum = sum;
    gm_hessian_pass(e, c, q->active, &d, s->tangent.node, s->tsignal.node);
}

/* u [count, size] = H_i v of one sample, a chunk of its own. */
static void own_products(const squares *q, const gm_worker *w, const gm_chunk *one, void **u)
{
    const gm_engine *e = &w->engine;
    second *s = &q->worker[w->thread];
    memset(s->own, 0, q->count * q->part.size * e->k->size);
    for (size_t j = 0; j < q->count; j++) {
        u[j] = (char *)s->own + j * q->part.size * e->k->size;
    }
    gm_directions d = {
        .count = q->count, .offset = q->part.offset, .size = q->part.size, .v = q->v, .sum = u};
    gm_hessian_pass(e, one, q->active, &d, w->tangent.node, w->tsignal.node);
}

static void single_work(const squares *q, const gm_worker *w, const gm_chunk *c, void *const *sum)
{
    const gm_engine *e = &w->engine;
    second *s = &q->worker[w->thread];
    void *u[GM_MAX_BLOCK];
    for (size_t i = 0; i < c->n; i++) {
        gm_chunk one = gm_chunk_rows(e, c, i, 1, s->value, s->signal);
        own_products(q, w, &one, u);
        gm_directions d = {.count = q->count,
                           .offset = q->part.offset,
                           .size = q->part.size,
                           .v = (const void *const *)u,
                           .sum = sum};
        gm_hessian_pass(e, &one, q->active, &d, w->tangent.node, w->tsignal.node);
    }
}

static void squares_work(void *job, gm_worker *w, size_t index)
{
    squares *q = job;
    const gm_chunk *c = gm_linearization_chunk(q->lin, w, index);
    void *const *sum = gm_sums_of(q->sums, w->thread);
    if (q->by_sample) {
        single_work(q, w, c, sum);
    } else {
        outer_work(q, w, c, sum);
    }
    gm_sums_added(q->sums, w->thread, c->n);
}

/* Directions block_v [q->count, size] in the kernels' precision. */
static void take_directions(squares *q, const double *block_v)
{
    const gm_kernels *k = gm_engine_of(q->lin)->k;
    size_t size = q->part.size;
    if (q->native) k->from_double(q->count * size, block_v, q->native);
    for (size_t j = 0; j < q->count; j++) {
        q->v[j] = q->native ? (const void *)((char *)q->native + j * size * k->size)
                            : (const void *)(block_v + j * size);
    }
}

static gm_status squares_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    squares *q = self;
    gm_problem *problem = q->lin->problem;
    size_t size = q->part.size, block = problem->block;
    for (size_t first = 0; first < count; first += block) {
        q->count = count - first < block ? count - first : block;
        take_directions(q, v + first * size);
        gm_sums_clear(q->sums);
        gm_sweep(problem, squares_work, q);
        gm_sums_finish(q->sums, 1.0 / (double)problem->samples, q->count, av + first * size);
    }
    gm_team_sum(problem->team, count * size, av);
    return GM_OK;
}

static void squares_destroy(void *self)
{
    squares *q = self;
    if (!q) return;
    for (int i = 0; q->worker && i < q->lin->problem->workers; i++) {
        gm_arrays_free(&q->worker[i].tangent);
        gm_arrays_free(&q->worker[i].tsignal);
        gm_free(q->worker[i].dots);
        gm_free(q->worker[i].own);
        gm_free(q->worker[i].value);
    }
    gm_free(q->worker);
    gm_sums_free(q->sums);
    gm_free(q->active);
    gm_free(q->native);
    gm_free(q);
}

static gm_status make_second(const squares *q, second *s, gm_error *err)
{
    const gm_problem *problem = q->lin->problem;
    const gm_engine *e = &problem->engine;
    size_t nodes = (size_t)e->net->nodes, rows = problem->block * problem->chunk;
    s->value = gm_alloc(2 * nodes, sizeof *s->value, "one sample", err);
    if (!s->value) return GM_ERR_MEMORY;
    s->signal = s->value + nodes;
    if (q->by_sample) {
        s->own = gm_alloc(problem->block * q->part.size, e->k->size, "one sample", err);
        return s->own ? GM_OK : GM_ERR_MEMORY;
    }
    s->dots = gm_alloc(problem->chunk, sizeof *s->dots, "tangents", err);
    if (!s->dots) return GM_ERR_MEMORY;
    gm_status status = gm_arrays_make(e->net, q->active, rows, e->k->size, &s->tangent, err);
    if (status != GM_OK) return status;
    return gm_arrays_make(e->net, q->active, rows, e->k->size, &s->tsignal, err);
}

static gm_status squares_allocate(squares *q, int layer, gm_error *err)
{
    gm_problem *problem = q->lin->problem;
    const gm_engine *e = &problem->engine;
    gm_status status = gm_problem_reserve(problem, err);
    if (status != GM_OK) return status;
    q->active = gm_alloc((size_t)e->net->nodes, sizeof(bool), "operator", err);
    q->worker = gm_alloc((size_t)problem->workers, sizeof *q->worker, "operator", err);
    if (!q->active || !q->worker) return GM_ERR_MEMORY;
    status = gm_sums_create(e->k, problem->workers, problem->block, q->part.size, &q->sums, err);
    if (status == GM_OK && e->k->dtype != GM_F64) {
        q->native = gm_alloc(problem->block * q->part.size, e->k->size, "directions", err);
        if (!q->native) status = GM_ERR_MEMORY;
    }
    gm_pass_active(e->net, layer, q->active);
    for (int i = 0; i < problem->workers && status == GM_OK; i++) {
        status = make_second(q, &q->worker[i], err);
    }
    return status;
}

gm_status gm_squares_make(gm_linearization *lin, int layer, bool by_sample, gm_operator *op,
                          gm_error *err)
{
    memset(op, 0, sizeof *op);
    squares *q = gm_alloc(1, sizeof *q, "operator", err);
    if (!q) return GM_ERR_MEMORY;
    q->lin = lin;
    gm_status status = gm_part_of(lin, layer, &q->part, err);
    if (status == GM_OK) {
        q->by_sample = by_sample || !gm_part_outer(lin, &q->part);
        status = squares_allocate(q, layer, err);
    }
    if (status != GM_OK) {
        squares_destroy(q);
        return status;
    }
    *op = (gm_operator){.size = q->part.size,
                        .precision = gm_engine_of(lin)->k->dtype,
                        .name = "mean squared Hessian",
                        .self = q,
                        .apply = squares_apply,
                        .destroy = squares_destroy};
    return GM_OK;
}

gm_status gm_squares_operator(gm_linearization *lin, int layer, gm_operator *op, gm_error *err)
{
    return gm_squares_make(lin, layer, false, op, err);
}
