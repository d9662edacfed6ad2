/* The Hessian of a mini-batch: a problem of its own. */
#ifndef GM_DYNAMICS_BATCH_H
#define GM_DYNAMICS_BATCH_H

#include "gradiometer/curvature.h"

typedef struct gm_batch_point {
    gm_dataset *data;
    gm_problem *problem;
    gm_linearization *lin;
    gm_operator hessian; /* H_B */
} gm_batch_point;

/* The loss on the m samples index[] (repeats allowed) of whole's data, linearized at theta. What a
 * failure left is for gm_batch_point_close too. Cost: one gradient on m samples. */
gm_status gm_batch_point_open(const gm_problem *whole, const double *theta, size_t m,
                              const size_t *index, gm_batch_point *point, gm_error *err);
void gm_batch_point_close(gm_batch_point *point);

#endif
