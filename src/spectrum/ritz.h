/* Ritz pairs of a Lanczos factorization under way: V [rows, n] orthonormal, A v_i = beta_{i-1}
 * v_{i-1} + alpha_i v_i + beta_i v_{i+1}, T tridiagonal of alpha [rows] and beta [rows]. */
#ifndef GM_SPECTRUM_RITZ_H
#define GM_SPECTRUM_RITZ_H

#include "gradiometer/eigen.h"

/* Of |lambda|_max: a looser tolerance than this does not end a run of Lanczos' method, since pairs
 * of which the start vector holds little would then be missed now and then, however far apart. */
static const double gm_ritz_loosest = 1e-4;

/* Ritz values [rows], descending, and their residuals by T alone, beta_rows |last component|. Cost
 * O(rows^3). */
gm_status gm_ritz_values(size_t rows, const double *alpha, const double *beta, double *value,
                         double *residual, gm_error *err);

/* Whether the pairs that `options` asks for have converged as far as T tells: beta_rows |last
 * component of T's eigenvector| <= share tol max(least, the largest |value| asked for at the same
 * end). A small end beside a large one is so held to its own size, `least` apart. False for rows <
 * k. Cost O(rows^3). */
gm_status gm_ritz_converged(const gm_eigen_options *options, size_t rows, const double *alpha,
                            const double *beta, double share, double least, bool *converged,
                            gm_error *err);

/* The k pairs asked for into result, which has room for them (gm_eigen_alloc): values divided by
 * unit, rows of vector, descending; and, unless NULL, into coefficient [k, rows], vector =
 * coefficient V. Cost 2 rows k n flops. */
gm_status gm_ritz_pairs(const gm_eigen_options *options, size_t rows, const double *alpha,
                        const double *beta, double unit, const double *v, double *coefficient,
                        gm_eigen *result, gm_error *err);

#endif
