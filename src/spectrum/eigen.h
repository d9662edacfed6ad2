/* What the eigensolvers share. */
#ifndef GM_SPECTRUM_EIGEN_H
#define GM_SPECTRUM_EIGEN_H

#include "gradiometer/eigen.h"

/* Checks the options that both solvers read. */
gm_status gm_eigen_check(const gm_operator *op, const gm_eigen_options *options, gm_error *err);

/* GM_ERR_INPUT where u.Av and v.Au differ by more than the noise of the products allows. One pair
 * of vectors: fails to notice an asymmetry below about 10 floor sqrt(size) of the operator. */
gm_status gm_eigen_symmetric(const gm_operator *op, const double *u, const double *au,
                             const double *v, const double *av, gm_error *err);

/* The same from u.Av, v.Au and ||u|| ||Av|| + ||v|| ||Au||. */
gm_status gm_eigen_mirrored(const gm_operator *op, double uav, double vau, double largest,
                            gm_error *err);

/* Order of preference among value [count], descending: order[0] is what `which` wants first. */
void gm_eigen_order(gm_which which, size_t count, const double *value, size_t *order);

/* Arrays of a result of count pairs, zeroed but for the vectors; size and floor are set. */
gm_status gm_eigen_alloc(const gm_operator *op, size_t count, gm_eigen *result, gm_error *err);

/* Fills converged, converged_count and stop (unless limited, when max_products ended the solver)
 * from values and residuals, solver_products from products and check_products; scale is raised to
 * the largest |value|. */
void gm_eigen_judge(gm_eigen *result, size_t wanted, double tol, bool limited);

/* gm_eigen_residuals takes that many of count vectors to a block of products, to bound its memory;
 * and that many blocks. */
size_t gm_eigen_residual_rows(size_t size, size_t count);
size_t gm_eigen_residual_blocks(size_t size, size_t count);

/* By size products with the unit vectors and a dense solver. */
gm_status gm_eigen_dense(gm_operator *op, const gm_eigen_options *options, gm_eigen *result,
                         gm_error *err);

/* Memory that gm_eigen_dense takes for k pairs, in bytes; SIZE_MAX where it does not fit. */
size_t gm_eigen_dense_bytes(size_t size, size_t k);

#endif
