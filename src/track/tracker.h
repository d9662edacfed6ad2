/* What the files of this room share. */
#ifndef GM_TRACK_TRACKER_H
#define GM_TRACK_TRACKER_H

#include "gradiometer/track.h"

struct gm_tracker {
    gm_track_options options; /* resolved */
    uint64_t seed, steps;
    size_t p;
    gm_dtype dtype;      /* of the training; the subspace is rounded to it */
    gm_problem *problem; /* what is measured: the training's, or `own` */
    gm_problem *own;     /* on `subset`; NULL where all samples are measured */
    gm_dataset *subset;  /* the first samples */
    bool (*stop)(void *context);
    void *context;

    /* History, [capacity] rows of which count are filled and the first `saved` are in the run. */
    size_t count, saved, capacity;
    int64_t *step;
    double *value, *residual;     /* [capacity, k] */
    double *products, *converged; /* [capacity] */
    uint64_t invalid;
    char cause[256];

    size_t vectors; /* of the subspace, 0 before the first */
    double *vector; /* [k, p], numbers of dtype */
    bool unsaved;   /* it has changed since it was stored */
};

/* Room for one more row. */
gm_status gm_tracker_grow(gm_tracker *tracker, gm_error *err);

#endif
