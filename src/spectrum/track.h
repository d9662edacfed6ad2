/* Inside of gm_eigen_track: the basis, its products, and the stages that both starts share. */
#ifndef GM_SPECTRUM_TRACK_H
#define GM_SPECTRUM_TRACK_H

#include <stdint.h>

#include "gradiometer/eigen.h"
#include "spectrum/lanczos.h"

typedef struct gm_tracker {
    gm_operator *op;
    const gm_eigen_options *options;
    size_t p, most;       /* size, rows that fit */
    size_t rows, applied; /* of q; those with products in w */
    size_t guards, limit; /* limit: pairs at most */
    size_t wanted;        /* pairs that must converge now */
    size_t candidates;    /* rows of r: residuals computed */
    gm_lanczos lanczos;   /* owns q */
    double *q, *w;        /* [most, p] */
    double *r;            /* [limit + guards, p] */
    double *t, *y;        /* [most, most]; y's rows are Ritz vectors, theta descending */
    double *work;         /* [most, most] */
    double *theta;        /* [most] */
    double *residual;     /* [limit + guards], of order's first pairs */
    size_t *order;        /* [most] */
    double scale;
    size_t products, blocks;
    size_t checks;  /* of the products, those that measured their noise */
    uint64_t drawn; /* random numbers */
    double noise;   /* of a product, where it has been measured */
    bool limited;   /* by max_products */
} gm_tracker;

double gm_track_norm(size_t n, const double *x);
/* Makes x the next row of q, orthogonal to the others; false where nothing new is left of it. */
bool gm_track_append(gm_tracker *s, const double *x);
/* Ritz pairs theta, y of the rows that have products, their order of preference, and scale. */
gm_status gm_track_rayleigh_ritz(gm_tracker *s, gm_error *err);
/* How many pairs are wanted, and whose residuals matter: k, and those above the threshold. */
void gm_track_choose(gm_tracker *s);
/* Candidates whose residuals are above the tolerance; with `look` the guards count too. */
size_t gm_track_open(const gm_tracker *s, bool look);

typedef enum gm_track_stage {
    GM_TRACK_FRESH, /* rows without products, of which nothing is known: guards are in order */
    GM_TRACK_OPEN,  /* the block method goes on */
    GM_TRACK_DONE   /* the pairs have converged, or max_products is spent: residuals are set */
} gm_track_stage;

/* A basis from the rows of start [start_count >= 1, p], and how far that went. */
gm_status gm_track_warm_start(gm_tracker *s, size_t start_count, const double *start,
                              gm_track_stage *stage, gm_error *err);

#endif
