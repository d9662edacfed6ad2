/* The diagonal of the Hessian for the posterior. */
#ifndef GM_BOUND_DIAGONAL_H
#define GM_BOUND_DIAGONAL_H

#include "gradiometer/bound.h"

/* diagonal [p] = diag H: exact where gm_curvature_diagonal has it and products = 0; else estimated
 * with so many products (0: 100) from the seed of options, which may stop it; *std_error [p] then
 * being the caller's (gm_free), NULL for an exact one. *products is what was spent. */
gm_status gm_posterior_diagonal(gm_linearization *lin, const double *unit,
                                const gm_gibbs_options *options, size_t *products, double *diagonal,
                                double **std_error, gm_error *err);

#endif
