/* Eigenvalues and eigenspaces of symmetric operators: residuals, summaries of a spectrum, and how
 * the leading subspaces of two operators lie to each other (theory sections 2 and 5). Knows
 * operators and matrices, no nets.
 *
 * A basis u [k, size] holds k orthonormal vectors as rows, leading direction first. */
#ifndef GRADIOMETER_SPECTRUM_H
#define GRADIOMETER_SPECTRUM_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/operator.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- eigenpairs --- */

/* residual[j] = ||A v_j - value_j v_j||, by true products with the operator. vector [count, size],
 * value and residual [count]. Cost: count products. Errors: those of gm_operator_apply, and
 * GM_ERR_MEMORY. */
gm_status gm_eigen_residuals(gm_operator *op, size_t count, const double *value,
                             const double *vector, double *residual, gm_error *err);

/* resolved[j-1], j = 1 ... k: whether the span of the first j eigenvectors is determined, that is
 * |value_j - value_{j+1}| > residual_j + residual_{j+1} + floor (by_magnitude: | |value_j| -
 * |value_{j+1}| |, since the choice of the first j is then by |value|). value and residual [count]
 * are in the order of the directions; a value beyond the last one counts as 0 with residual 0, as
 * in a spectrum padded with zeros. j = size is always resolved (the whole space). k <= count. */
void gm_eigen_resolved(size_t size, size_t count, const double *value, const double *residual,
                       double floor, bool by_magnitude, size_t k, bool *resolved);

/* --- summary of a spectrum --- */

/* Numbers that describe all eigenvalues of one operator. Outliers are the eigenvalues that stand
 * off the bulk: among the `outlier_limit` largest, the j with the largest ratio
 * lambda_j / max(lambda_{j+1}, GM_BULK_LEVEL lambda_1), looked for above the numerical rank only,
 * so that the step from the last non-zero eigenvalue to an exact zero (or to rounding noise in its
 * place) is not taken for a gap. A ratio below GM_OUTLIER_GAP is no gap: then the outliers are all
 * positive eigenvalues where those end above the bulk level within the limit (nothing but zeros
 * follows), and none otherwise. */
typedef struct gm_spectral_summary {
    size_t size;
    double trace, frobenius;
    double max, min;      /* largest and smallest eigenvalue */
    double scale;         /* largest |lambda| */
    double floor;         /* eps * size * scale: eigenvalues within it are numerically zero */
    size_t rank;          /* |lambda| > floor */
    size_t positive_rank; /* lambda > floor */
    double cut;           /* as given, relative to scale */
    size_t above, below;  /* lambda > cut * scale, lambda < -cut * scale */
    double
        effective_rank;   /* (sum |lambda|)^2 / sum lambda^2, 1 ... size; 0 for the zero operator */
    size_t outlier_limit; /* how many of the largest were looked at */
    size_t outliers;
    size_t gap_after; /* j of the largest ratio, whether it counts as a gap or not; 0 without one */
    double gap;       /* that ratio */
} gm_spectral_summary;

#define GM_BULK_LEVEL  1e-3
#define GM_OUTLIER_GAP 2.0

/* Summary of the eigenvalues value [size], descending. cut >= 0 is relative to the largest
 * |lambda|; eps is the relative accuracy of the eigenvalues' matrix (gm_dtype_eps of the products);
 * outlier_limit the most outliers looked for (3 K for K classes), 0 = 30. */
void gm_spectral_summarize(size_t size, const double *value, double cut, double eps,
                           size_t outlier_limit, gm_spectral_summary *summary);

/* --- subspaces --- */

/* product [ku, kv] = u_j . v_l for two bases u [ku, size] and v [kv, size]. Cost: 2 ku kv size
 * flops. */
void gm_subspace_products(size_t ku, size_t kv, size_t size, const double *u, const double *v,
                          double *product);

/* overlap[j-1] = ||U_j^T V_j||_F^2 / j in [0, 1] for j = 1 ... k, from the products of the two
 * bases, product [rows >= k, columns] with row stride `columns` >= k (theory section 2). For random
 * subspaces its mean is j / size. */
void gm_subspace_overlap(size_t k, size_t columns, const double *product, double *overlap);

/* Principal angles between span(u) and span(v), ascending, in radians: angle and cosine
 * [min(ku, kv)]. Cosines are the singular values of U^T V, sines those of V - U U^T V (of the
 * smaller space against the larger); the angle is atan2 of the two, so that it is accurate to a
 * few eps in absolute terms over the whole range, at 1e-9 as near pi/2 (Bjorck and Golub 1973,
 * doi:10.1090/S0025-5718-1973-0348991-3). cosine may be NULL. Cost: O(k^2 size). */
gm_status gm_principal_angles(size_t ku, size_t kv, size_t size, const double *u, const double *v,
                              double *angle, double *cosine, gm_error *err);

/* share[j-1] = ||U_j^T x||^2 / ||x||^2 for j = 1 ... k, x [size]. Returns false, leaving share
 * alone, where x is zero or not finite: the share is then undefined. */
bool gm_subspace_share(size_t k, size_t size, const double *u, const double *x, double *share);

#ifdef __cplusplus
}
#endif
#endif
