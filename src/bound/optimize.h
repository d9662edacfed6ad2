/* The gradient behind the optimization of a posterior, for its tests. */
#ifndef GM_BOUND_OPTIMIZE_H
#define GM_BOUND_OPTIMIZE_H

#include "bound/local.h"

/* Mean log-loss and 0-1 *error of samples index [n], each with its own draw (gm_local_value), and
 * the gradient of the loss by means and variances of the weights, dmean and dvariance [p],
 * overwritten. weight [n] is a workspace, and so is piece [2 p], NULL where local->shared is 0.
 *
 * With shared layers the samples are taken in up to ten pieces, each with its own draw of their
 * weights, and dvariance there is not the gradient but half the variance of a sample's gradient, as
 * the pieces' gradients scatter: the Fisher matrix in the place of the Hessian (half of whose mean
 * dL/dv is), positive, and far less noisy than the gradient through the draw. */
double gm_posterior_loss(gm_local *local, size_t n, const size_t *index, const void *mean,
                         const void *variance, gm_stream noise, uint64_t first, double *weight,
                         double *piece, void *dmean, void *dvariance, double *error);

#endif
