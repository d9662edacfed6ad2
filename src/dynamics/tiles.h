/* A dense net and its data as evaluator_tiles.c walks over them. */
#ifndef GM_DYNAMICS_TILES_H
#define GM_DYNAMICS_TILES_H

#include "dynamics/evaluator.h"
#include "kernels/kernels.h"

typedef struct gm_tile_layer {
    size_t in, out, offset; /* offset: of the weights in the flat vector; biases follow them */
    size_t stride;          /* of a row of dW, its bias at column `in`: whole vectors */
    size_t at;              /* of this dW among all */
    bool bias;
    gm_activation act;
} gm_tile_layer;

/* A data set in tiles: x [tiles][in, width], labels and targets likewise. The last tile may have
 * fewer samples; its other columns are 0. */
typedef struct gm_tiled {
    size_t n, tiles;
    char *x;
    int32_t *label; /* [tiles, width] */
    double *target; /* [tiles][K, width], or NULL */
} gm_tiled;

struct gm_tiles {
    const gm_kernels *k;
    const gm_dataset *data;
    gm_loss loss;
    size_t width;
    size_t p, layers, widest, sum_widths, sums; /* sums: entries of all dW */
    gm_tile_layer *layer;
    gm_tiled train, test; /* test.n = 0 without */
    char *rows;           /* [n, row]: samples in rows, for batches, a one after the features */
    size_t row;
};

/* n rounded up to whole vectors. */
static inline size_t gm_tile_whole(const gm_kernels *k, size_t n)
{
    return (n + k->lanes - 1) / k->lanes * k->lanes;
}

#endif
