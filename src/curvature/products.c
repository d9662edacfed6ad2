/* Products with H, G, M, Sigma, H_p and R on blocks of vectors, from one linearization (theory
 * section 1, table).
 *
 * With V a direction, per chunk of samples (W of the first layer has no tangent of its input):
 *   H, H_p, R  tangent forward (2 products a layer), root, tangent of backward (4): 6 a layer, 2
 * for the first; G          tangent forward (2), Lambda, backward (2): 4 a layer, 2 for the first;
 *   M, Sigma   g_i . v layer by layer from the kept signals (1), weighted backward (1): 2 a layer.
 * H, H_p and R differ in the root alone: Lambda zdot, (Lambda - r r^T) zdot with the sign turned,
 * 0. */
#include <string.h>

#include "base/memory.h"
#include "curvature/group.h"
#include "curvature/parts.h"

typedef struct product {
    gm_linearization *lin;
    gm_curvature kind;
    gm_part part;
    bool *active; /* [nodes] */
    gm_sums *sums;
    bool borrows; /* sums are the problem's own */
    void *native; /* [block, size] directions in single precision; NULL in double */
    double *dots; /* [block, n] for the covariance */
    const void *v[GM_MAX_BLOCK];
    size_t count; /* directions of the block in hand */
} product;

static gm_directions directions_of(const product *p, const gm_worker *w)
{
    return (gm_directions){.count = p->count,
                           .offset = p->part.offset,
                           .size = p->part.size,
                           .v = p->v,
                           .sum = gm_sums_of(p->sums, w->thread)};
}

/* H, H_p, R and G on one chunk. */
static void second_order_work(void *job, gm_worker *w, size_t index)
{
    product *p = job;
    const gm_engine *e = &w->engine;
    const gm_chunk *c = gm_linearization_chunk(p->lin, w, index);
    int last = e->net->nodes - 1;
    gm_directions d = directions_of(p, w);
    gm_pass_tangent(e, c, p->active, 0, d.count, &d, w->tangent.node);
    gm_pass_root(e, c, gm_root_of(p->kind), d.count, w->tangent.node[last], w->tsignal.node[last]);
    if (p->kind == GM_GGN) {
        gm_pass_backward(e, c, p->active, d.count, w->tsignal.node, &d);
    } else {
        gm_pass_tangent_backward(e, c, p->active, p->active, d.count, &d, w->tangent.node,
                                 w->tsignal.node);
    }
    gm_sums_added(p->sums, w->thread, c->n);
}

/* M on one chunk. */
static void moment_work(void *job, gm_worker *w, size_t index)
{
    product *p = job;
    const gm_engine *e = &w->engine;
    const gm_chunk *c = gm_linearization_chunk(p->lin, w, index);
    gm_directions d = directions_of(p, w);
    memset(w->dots, 0, d.count * c->n * sizeof *w->dots);
    gm_pass_dots(e, c, &d, w->work, w->dots);
    gm_pass_weighted(e, c, &d, w->dots, w->work);
    gm_sums_added(p->sums, w->thread, c->n);
}

/* Sigma, first sweep: t_i = g_i . v for all samples; [count, n of the chunk] at the chunk's place.
 */
static void dots_work(void *job, gm_worker *w, size_t index)
{
    product *p = job;
    const gm_chunk *c = gm_linearization_chunk(p->lin, w, index);
    gm_directions d = directions_of(p, w);
    double *t = p->dots + p->count * c->first;
    memset(t, 0, d.count * c->n * sizeof *t);
    gm_pass_dots(&w->engine, c, &d, w->work, t);
}

/* Sigma, second sweep: sum of (t_i - mean t) g_i. */
static void weighted_work(void *job, gm_worker *w, size_t index)
{
    product *p = job;
    const gm_chunk *c = gm_linearization_chunk(p->lin, w, index);
    gm_directions d = directions_of(p, w);
    gm_pass_weighted(&w->engine, c, &d, p->dots + p->count * c->first, w->work);
    gm_sums_added(p->sums, w->thread, c->n);
}

/* Subtracts from each direction's t its mean over all samples (the centred form: M v - mu (mu . v)
 * cancels). */
static void centre_dots(product *p)
{
    const gm_problem *problem = p->lin->problem;
    size_t n = problem->n;
    double mean[GM_MAX_BLOCK] = {0.0};
    for (int pass = 0; pass < 2; pass++) {
        for (size_t j = 0; j < p->count; j++) {
            for (size_t first = 0; first < n; first += problem->chunk) {
                size_t rows = n - first < problem->chunk ? n - first : problem->chunk;
                double *t = p->dots + p->count * first + j * rows;
                for (size_t i = 0; i < rows; i++) {
                    if (pass == 0) mean[j] += t[i] / (double)problem->samples;
                    if (pass == 1) t[i] -= mean[j];
                }
            }
        }
        if (pass == 0) gm_team_sum(problem->team, p->count, mean);
    }
}

/* The factor of the sums over samples. */
static double factor(const product *p)
{
    return (p->kind == GM_RESIDUAL ? -1.0 : 1.0) / (double)p->lin->problem->samples;
}

/* Sums over this rank's samples for the block in hand. */
static void sweep_block(product *p)
{
    gm_problem *problem = p->lin->problem;
    gm_sums_clear(p->sums);
    if (p->kind == GM_COVARIANCE) {
        gm_sweep(problem, dots_work, p);
        centre_dots(p);
        gm_sweep(problem, weighted_work, p);
    } else {
        gm_sweep(problem, p->kind == GM_MOMENT ? moment_work : second_order_work, p);
    }
}

static gm_status product_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    product *p = self;
    const gm_kernels *k = gm_engine_of(p->lin)->k;
    size_t size = p->part.size, block = p->lin->problem->block;
    for (size_t first = 0; first < count; first += block) {
        p->count = count - first < block ? count - first : block;
        const double *block_v = v + first * size;
        if (p->native) k->from_double(p->count * size, block_v, p->native);
        for (size_t j = 0; j < p->count; j++) {
            p->v[j] = p->native ? (const void *)((char *)p->native + j * size * k->size)
                                : (const void *)(block_v + j * size);
        }
        sweep_block(p);
        gm_sums_finish(p->sums, factor(p), p->count, av + first * size);
    }
    gm_team_sum(p->lin->problem->team, count * size, av);
    return GM_OK;
}

static void read_sum(void *vector, size_t first, size_t count, double *x)
{
    const product *p = vector;
    gm_sums_read(p->sums, 0, factor(p), first, count, x);
}

/* In single precision: the direction is put together as it is needed, and the sums go to those who
 * keep them, piece by piece. */
static gm_status product_apply_share(void *self, const double *v, double *av, gm_error *err)
{
    (void)err;
    product *p = self;
    const gm_team *team = p->lin->problem->team;
    const gm_kernels *k = gm_engine_of(p->lin)->k;
    size_t first, count;
    gm_team_share(team, p->part.size, &first, &count);
    if (count) k->from_double(count, v, (char *)p->native + first * k->size);
    gm_team_gather(team, first * k->size, count * k->size, p->native);
    p->count = 1;
    p->v[0] = p->native;
    sweep_block(p);
    gm_sums_close(p->sums);
    gm_team_scatter(team, p->part.size, read_sum, p, av);
    return GM_OK;
}

static void product_destroy(void *self)
{
    product *p = self;
    if (!p) return;
    if (!p->borrows) gm_sums_free(p->sums);
    gm_free(p->active);
    gm_free(p->native);
    gm_free(p->dots);
    gm_free(p);
}

/* One direction on the whole net takes sums as a gradient does: those of the problem, which the
 * linearization has made and which nobody needs during a product. */
static gm_status take_sums(product *p, gm_error *err)
{
    gm_problem *problem = p->lin->problem;
    const gm_engine *e = &problem->engine;
    size_t size = p->part.size;
    p->borrows = problem->block == 1 && size == gm_problem_parameters(problem) && problem->sums;
    if (!p->borrows)
        return gm_sums_create(e->k, problem->workers, problem->block, size, &p->sums, err);
    p->sums = problem->sums;
    return GM_OK;
}

static gm_status product_allocate(product *p, gm_error *err)
{
    gm_problem *problem = p->lin->problem;
    const gm_engine *e = &problem->engine;
    gm_status status = gm_problem_reserve(problem, err);
    if (status != GM_OK) return status;
    p->active = gm_alloc((size_t)e->net->nodes, sizeof(bool), "operator", err);
    if (!p->active) return GM_ERR_MEMORY;
    status = take_sums(p, err);
    if (status != GM_OK) return status;
    if (e->k->dtype != GM_F64) {
        p->native = gm_alloc(problem->block * p->part.size, e->k->size, "directions", err);
        if (!p->native) return GM_ERR_MEMORY;
    }
    if (p->kind == GM_COVARIANCE) {
        p->dots =
            gm_alloc(problem->block * problem->n, sizeof(double), "products with gradients", err);
        if (!p->dots) return GM_ERR_MEMORY;
    }
    return GM_OK;
}

gm_status gm_curvature_operator(gm_linearization *lin, gm_curvature kind, int layer,
                                gm_operator *op, gm_error *err)
{
    if (gm_is_group(lin, layer)) return gm_group_operator(lin, kind, layer, op, err);
    memset(op, 0, sizeof *op);
    product *p = gm_alloc(1, sizeof *p, "operator", err);
    if (!p) return GM_ERR_MEMORY;
    p->lin = lin;
    p->kind = kind;
    gm_status status = gm_part_of(lin, layer, &p->part, err);
    if (status == GM_OK) status = product_allocate(p, err);
    if (status != GM_OK) {
        product_destroy(p);
        return status;
    }
    gm_pass_active(gm_engine_of(lin)->net, layer, p->active);
    *op = (gm_operator){.size = p->part.size,
                        .precision = gm_engine_of(lin)->k->dtype,
                        .name = gm_curvature_name(kind),
                        .self = p,
                        .apply = product_apply,
                        .apply_share = p->native ? product_apply_share : NULL,
                        .destroy = product_destroy};
    return GM_OK;
}
