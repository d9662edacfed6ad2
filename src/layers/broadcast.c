/* The geometry of operands that are repeated, and of sums over axes. */
#include "layers/layer.h"

/* Axis a of `axes` axes, of an operand aligned at the last ones: 1 where it has none. */
static size_t dim_of(const gm_shape *shape, int axes, int a)
{
    int own = a - (axes - shape->rank);
    return own < 0 ? 1 : shape->dim[own];
}

/* Drops axes of 1 and joins neighbours along which both operands move as along one axis. */
static void join_axes(gm_broadcast *g)
{
    gm_broadcast joined = *g;
    joined.rank = 0;
    for (int a = 0; a < g->rank; a++) {
        if (g->dim[a] == 1) continue;
        int last = joined.rank - 1;
        bool one = last >= 0;
        for (int w = 0; one && w < 2; w++) {
            one = joined.step[w][last] == g->step[w][a] * g->dim[a];
        }
        int to = one ? last : joined.rank++;
        joined.dim[to] = one ? joined.dim[last] * g->dim[a] : g->dim[a];
        joined.step[0][to] = g->step[0][a];
        joined.step[1][to] = g->step[1][a];
    }
    if (joined.rank == 0) { /* one number */
        joined.rank = 1;
        joined.dim[0] = 1;
        joined.step[0][0] = joined.step[1][0] = 1;
    }
    *g = joined;
}

void gm_broadcast_make(const gm_shape *full, const gm_shape *x, const gm_shape *y, gm_broadcast *g)
{
    const gm_shape *operand[2] = {x, y};
    *g = (gm_broadcast){.rank = full->rank, .size = gm_shape_size(full)};
    for (int w = 0; w < 2; w++) {
        size_t step = 1;
        for (int a = full->rank - 1; a >= 0; a--) {
            size_t dim = dim_of(operand[w], full->rank, a);
            g->dim[a] = full->dim[a];
            g->step[w][a] = dim == 1 ? 0 : step;
            step *= dim;
        }
        g->operand[w] = step;
    }
    join_axes(g);
}

bool gm_broadcast_shape(const gm_shape *x, const gm_shape *y, gm_shape *full)
{
    *full = (gm_shape){.rank = x->rank > y->rank ? x->rank : y->rank};
    for (int a = 0; a < full->rank; a++) {
        size_t dx = dim_of(x, full->rank, a), dy = dim_of(y, full->rank, a);
        if (dx != dy && dx != 1 && dy != 1) return false;
        full->dim[a] = dx == 1 ? dy : dx;
    }
    return true;
}
