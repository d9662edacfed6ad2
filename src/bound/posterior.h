/* What the certificate and the optimization of a posterior share. */
#ifndef GM_BOUND_POSTERIOR_H
#define GM_BOUND_POSTERIOR_H

#include "diff/problem.h"
#include "gradiometer/posterior.h"

/* l_max: clip, or ln(100 K) for 0. */
double gm_posterior_clip(const gm_problem *problem, double clip);
/* *mean and *variance [p] of Q's weights in the precision of the problem, freed by gm_free, after a
 * failure too. */
gm_status gm_posterior_native(const gm_problem *problem, const gm_gaussians *g, void **mean,
                              void **variance, gm_error *err);

#endif
