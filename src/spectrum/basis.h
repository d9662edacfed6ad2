/* How many Krylov vectors extreme eigenpairs are sought with, and the memory that takes. */
#ifndef GM_SPECTRUM_BASIS_H
#define GM_SPECTRUM_BASIS_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/eigen.h"

enum {
    GM_BASIS_RESTARTS = 300, /* of ARPACK, at most */
    GM_BASIS_FORMED = 5000   /* size up to which an operator is formed when that is cheaper */
};

/* For k pairs. */
size_t gm_basis_least(size_t k);

/* Krylov vectors of a problem of size n; *dense where it is cheaper to form the operator. */
size_t gm_basis_choose(size_t n, const gm_eigen_options *options, bool *dense);

/* Of these, those that ARPACK gets: it turns its whole basis at every restart. */
size_t gm_basis_restarted(const gm_eigen_options *options, size_t basis);

/* Krylov vectors and restarts that stay within max_products: ARPACK takes at most 1 + ncv +
 * restarts (ncv - nev) products, the residuals nev, those of an early end that they turn down as
 * many (one such end at most). False where nothing can be had. */
bool gm_basis_fit(const gm_eigen_options *options, size_t *basis, size_t *restarts);

#endif
