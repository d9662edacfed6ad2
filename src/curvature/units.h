/* Second derivatives of the loss by unit: what one unit's pre-activation does to everything after
 * it. */
#ifndef GM_CURVATURE_UNITS_H
#define GM_CURVATURE_UNITS_H

#include "curvature/parts.h"

/* One thread's arrays for unit passes over at most `rows` samples. */
typedef struct gm_unit_pass {
    gm_engine engine; /* the problem's, with scratch of this thread */
    gm_curvature kind;
    bool *moves, *wanted; /* [nodes], for the layer in hand */
    gm_arrays tangent, tsignal;
} gm_unit_pass;

gm_status gm_unit_pass_create(const gm_problem *problem, gm_curvature kind, size_t rows,
                              gm_unit_pass *u, gm_error *err);
void gm_unit_pass_free(gm_unit_pass *u);

/* Chooses the layer whose units follow. */
void gm_unit_pass_layer(gm_unit_pass *u, int node);

/* Moves the layer's pre-activation z[o] by one for every sample of c: afterwards tangent[i] =
 * da_i/dz[o], and tsignal[i] = the tangent of the backward signal at node i (for H, R and minus
 * H_p; for G by its linear part), for all nodes from the layer on. Cost: one tangent pass through
 * the layers after it. */
void gm_unit_pass_run(gm_unit_pass *u, const gm_chunk *c, int node, size_t o);

/* View of rows first ... first + n - 1 of a chunk; value and signal are [nodes] arrays of the
 * caller. */
gm_chunk gm_chunk_rows(const gm_engine *e, const gm_chunk *c, size_t first, size_t n, void **value,
                       void **signal);

#endif
