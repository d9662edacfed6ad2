/* The gradient behind the optimization of a posterior, for its tests. */
#ifndef GM_BOUND_OPTIMIZE_H
#define GM_BOUND_OPTIMIZE_H

#include "bound/local.h"

/* Mean log-loss of samples index [n], each with its own draw (gm_local_value), and its gradient by
 * means and variances of the weights, dmean and dvariance [p], overwritten. weight [n] is a
 * workspace. */
double gm_posterior_loss(gm_local *local, size_t n, const size_t *index, const void *mean,
                         const void *variance, gm_stream noise, uint64_t first, double *weight,
                         void *dmean, void *dvariance);

#endif
