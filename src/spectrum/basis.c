#include "spectrum/basis.h"

#include "base/memory.h"
#include "spectrum/eigen.h"

enum {
    LEAST_BASIS = 20,
    SPARE_BASIS = 60,  /* more vectors for ARPACK where memory allows: fewer restarts */
    FIRST_BASIS = 512, /* steps of the first run where memory allows: no restarts at all */
};

size_t gm_basis_least(size_t k)
{
    return 2 * k + 1 > LEAST_BASIS ? 2 * k + 1 : LEAST_BASIS;
}

size_t gm_basis_choose(size_t n, const gm_eigen_options *options, bool *dense)
{
    size_t k = options->k, basis = options->basis;
    *dense = k + 1 >= n || (basis != 0 && basis >= n);
    if (basis != 0) return basis;
    basis = gm_basis_least(k);
    /* A first basis and a restart or two would cost as much. */
    if (n <= 2 * basis) *dense = true;
    /* Beyond half of the size all of the operator is nearly as cheap. */
    size_t wide = n / 2 < FIRST_BASIS ? n / 2 : FIRST_BASIS;
    if (wide < basis + SPARE_BASIS) wide = basis + SPARE_BASIS;
    if (wide >= n) wide = n - 1;
    size_t room = options->spare / sizeof(double) / n;
    if (wide > room) wide = room;
    return wide > basis ? wide : basis;
}

size_t gm_basis_restarted(const gm_eigen_options *options, size_t basis)
{
    size_t wide = gm_basis_least(options->k) + SPARE_BASIS;
    return options->basis == 0 && basis > wide ? wide : basis;
}

bool gm_basis_fit(const gm_eigen_options *options, size_t *basis, size_t *restarts)
{
    size_t k = options->k;
    *restarts = GM_BASIS_RESTARTS;
    if (options->max_products == 0) return true;
    if (options->max_products < 3 * k + 3) return false;
    size_t budget = options->max_products - 2 * k - 1;
    if (2 * *basis - k > budget) *basis = (budget + k) / 2;
    size_t most = (budget - *basis) / (*basis - k);
    if (most < *restarts) *restarts = most;
    return true;
}

size_t gm_eigen_bytes(size_t size, const gm_eigen_options *options)
{
    bool dense;
    size_t k = options->k, basis = gm_basis_choose(size, options, &dense);
    size_t formed = gm_eigen_dense_bytes(size, k);
    if (dense) return formed;
    /* ARPACK's vectors, those of the symmetry check, the result, a block of residuals; then T. */
    size_t vectors = basis + 6 + k + gm_eigen_residual_rows(size, k), numbers;
    if (basis > UINT32_MAX || !gm_mul_size(vectors, size, &numbers) ||
        !gm_add_size(numbers, 4 * (basis + 8) * basis, &numbers) ||
        !gm_mul_size(numbers, sizeof(double), &numbers))
        return SIZE_MAX;
    return size <= GM_BASIS_FORMED && formed > numbers ? formed : numbers;
}

void gm_eigen_fit(size_t size, double bytes, gm_eigen_options *options)
{
    while (options->spare > 0 && (double)gm_eigen_bytes(size, options) > bytes) {
        options->spare -= options->spare / 16 + 1;
    }
}
