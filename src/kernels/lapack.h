/* Dense symmetric eigenproblems and small factorizations in double precision: the only file that
 * knows LAPACK. */
#ifndef GM_KERNELS_LAPACK_H
#define GM_KERNELS_LAPACK_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/status.h"

/* All eigenvalues of the symmetric matrix a [n, n] and the eigenvectors of the `top` largest and
 * `bottom` smallest. a's lower triangle (row-major) is read; a is destroyed. value [n] descending.
 * vector [top + bottom, n], orthonormal rows: first the top ones in descending order of eigenvalue,
 * then the bottom ones, the smallest eigenvalue last (NULL when top + bottom = 0; top + bottom <=
 * n). Cost 4/3 n^3 flops for the reduction to tridiagonal form, O(n^2) for the values and 2 n^2 per
 * vector. GM_ERR_NUMERIC where LAPACK does not converge or a holds NaN. */
gm_status gm_symmetric_eigen(size_t n, double *a, size_t top, size_t bottom, double *value,
                             double *vector, gm_error *err);

/* Eigenvalues of the symmetric tridiagonal matrix with diagonal d [n] and off-diagonal e [n - 1] (e
 * may be NULL for n = 1): value [n] descending, first [n] the first components of the normalized
 * eigenvectors in the same order, their signs free. d and e are left alone. Implicit QL, O(n^3)
 * with the vectors. GM_ERR_NUMERIC where LAPACK does not converge or an entry is not finite. */
gm_status gm_tridiagonal_eigen(size_t n, const double *d, const double *e, double *value,
                               double *first, gm_error *err);

/* Singular values of a [m, n] (row-major, destroyed), s [min(m, n)] descending; u [m, r] and vt [r,
 * n] with r = min(m, n), or NULL. */
gm_status gm_svd(size_t m, size_t n, double *a, double *s, double *u, double *vt, gm_error *err);

/* Rows of q [k, n] replaced by an orthonormal basis of their span in the same order (Householder QR
 * of the transpose); diag [k] = |R_kk|, or NULL. k <= n. */
gm_status gm_orthonormalize(size_t k, size_t n, double *q, double *diag, gm_error *err);

#endif
