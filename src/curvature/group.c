/* P^T A P for the operator A of the whole net and the columns P of the identity that a group of
 * parameters chooses: its diagonal block. */
#include "curvature/group.h"

#include <string.h>

#include "base/memory.h"

typedef struct group {
    gm_operator whole;
    size_t slices, size, block; /* block: vectors at a time */
    const gm_slice *slice;      /* [slices], the net's */
    double *in, *out;           /* [block, p] */
} group;

static size_t slices_of(const gm_linearization *lin, int layer, const gm_slice **slice)
{
    *slice = NULL;
    return layer < 0 ? 0 : gm_net_group_slices(gm_engine_of(lin)->net, (size_t)layer, slice);
}

bool gm_is_group(const gm_linearization *lin, int layer)
{
    const gm_slice *slice;
    return slices_of(lin, layer, &slice) > 0;
}

/* part [size] = the group's coordinates of whole [p]. */
static void gather(size_t slices, const gm_slice *slice, const double *whole, double *part)
{
    for (size_t i = 0; i < slices; i++) {
        memcpy(part, whole + slice[i].offset, slice[i].size * sizeof *part);
        part += slice[i].size;
    }
}

/* And back; the others are left as they are. */
static void scatter(size_t slices, const gm_slice *slice, const double *part, double *whole)
{
    for (size_t i = 0; i < slices; i++) {
        memcpy(whole + slice[i].offset, part, slice[i].size * sizeof *part);
        part += slice[i].size;
    }
}

static gm_status group_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    group *g = self;
    size_t p = g->whole.size;
    for (size_t first = 0; first < count; first += g->block) {
        size_t rows = count - first < g->block ? count - first : g->block;
        for (size_t j = 0; j < rows; j++) {
            scatter(g->slices, g->slice, v + (first + j) * g->size, g->in + j * p);
        }
        gm_status status = gm_operator_apply(&g->whole, rows, g->in, g->out, err);
        if (status != GM_OK) return status;
        for (size_t j = 0; j < rows; j++) {
            gather(g->slices, g->slice, g->out + j * p, av + (first + j) * g->size);
        }
    }
    return GM_OK;
}

static void group_destroy(void *self)
{
    group *g = self;
    if (!g) return;
    gm_operator_destroy(&g->whole);
    gm_free(g->in);
    gm_free(g->out);
    gm_free(g);
}

gm_status gm_group_operator(gm_linearization *lin, gm_curvature kind, int layer, gm_operator *op,
                            gm_error *err)
{
    memset(op, 0, sizeof *op);
    group *g = gm_alloc(1, sizeof *g, "operator of a group", err);
    if (!g) return GM_ERR_MEMORY;
    g->block = lin->problem->block;
    g->slices = slices_of(lin, layer, &g->slice);
    g->size = gm_net_layer_at(gm_engine_of(lin)->net, (size_t)layer).parameters;
    gm_status status = gm_curvature_operator(lin, kind, GM_ALL_LAYERS, &g->whole, err);
    if (status == GM_OK) {
        size_t numbers = g->block * g->whole.size;
        g->in = gm_alloc(numbers, sizeof(double), "vectors of the whole net", err);
        g->out = gm_alloc(numbers, sizeof(double), "vectors of the whole net", err);
        if (!g->in || !g->out) status = GM_ERR_MEMORY;
    }
    if (status != GM_OK) {
        group_destroy(g);
        return status;
    }
    *op = (gm_operator){.size = g->size,
                        .precision = g->whole.precision,
                        .name = g->whole.name,
                        .self = g,
                        .apply = group_apply,
                        .destroy = group_destroy};
    return GM_OK;
}

gm_status gm_group_diagonal(gm_linearization *lin, gm_curvature kind, int layer, double *diagonal,
                            gm_error *err)
{
    const gm_slice *slice;
    size_t slices = slices_of(lin, layer, &slice), p = gm_engine_of(lin)->net->parameters;
    double *whole = gm_alloc(p, sizeof *whole, "diagonal of the whole net", err);
    if (!whole) return GM_ERR_MEMORY;
    gm_status status = gm_curvature_diagonal(lin, kind, GM_ALL_LAYERS, whole, err);
    if (status == GM_OK) gather(slices, slice, whole, diagonal);
    gm_free(whole);
    return status;
}
