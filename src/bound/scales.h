/* Scales of the prior that are learned with the posterior, one for each tensor of the net. */
#ifndef GM_BOUND_SCALES_H
#define GM_BOUND_SCALES_H

#include "net/net.h"

/* A stretch of one tensor, small enough for the stack. */
typedef struct gm_stretch {
    size_t first, end, tensor;
} gm_stretch;

typedef struct gm_scales {
    size_t tensors, stretches;
    gm_stretch *stretch; /* [stretches]: of every number of the flat vector once */
    /* [tensors]: ln of the factor on the prior's scale; sum of d^2, and of 1 - 1/r */
    double *log_factor, *distance, *gain;
} gm_scales;

/* Stretches of at most `longest` numbers; factors 1. gm_scales_close accepts what a failure left.
 */
gm_status gm_scales_open(const gm_net *net, size_t longest, gm_scales *scales, gm_error *err);
void gm_scales_close(gm_scales *scales);

/* One step of share eta, from the sums of all tensors in distance and gain. */
void gm_scales_step(gm_scales *scales, double eta);
/* To the nearest factors that the union bound has a weight for. */
void gm_scales_round(gm_scales *scales);
/* Nats that the union bound costs for these factors. */
double gm_scales_cost(const gm_scales *scales);

#endif
