/* How good an eigenpair is, and whether a span of them is determined at all. */
#include <math.h>

#include "base/memory.h"
#include "gradiometer/spectrum.h"
#include "kernels/kernels.h"
#include "spectrum/eigen.h"

/* Numbers of a block of products at most, 512 MiB. */
static const size_t BLOCK_NUMBERS = (size_t)1 << 26;

size_t gm_eigen_residual_rows(size_t size, size_t count)
{
    size_t rows = BLOCK_NUMBERS / size > 1 ? BLOCK_NUMBERS / size : 1;
    return count < rows ? count : rows;
}

size_t gm_eigen_residual_blocks(size_t size, size_t count)
{
    if (count == 0) return 0;
    size_t rows = gm_eigen_residual_rows(size, count);
    return (count + rows - 1) / rows;
}

gm_status gm_eigen_residuals(gm_operator *op, size_t count, const double *value,
                             const double *vector, double *residual, gm_error *err)
{
    size_t size = op->size;
    if (count == 0) return GM_OK;
    size_t rows = gm_eigen_residual_rows(size, count);
    double *product = gm_alloc_raw(rows * size, sizeof *product, "products of eigenvectors", err);
    if (!product) return GM_ERR_MEMORY;
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    gm_status status = GM_OK;
    for (size_t first = 0; status == GM_OK && first < count; first += rows) {
        size_t block = count - first < rows ? count - first : rows;
        status = gm_operator_apply(op, block, vector + first * size, product, err);
        for (size_t j = 0; status == GM_OK && j < block; j++) {
            double *r = product + j * size;
            kernels->axpy(size, -value[first + j], vector + (first + j) * size, r);
            residual[first + j] = sqrt(kernels->dot(size, r, r));
        }
    }
    gm_free(product);
    return status;
}

void gm_eigen_resolved(size_t size, size_t count, const double *value, const double *residual,
                       double floor, bool by_magnitude, size_t k, bool *resolved)
{
    for (size_t j = 0; j < k; j++) {
        bool last = j + 1 == count;
        double here = value[j], next = last ? 0.0 : value[j + 1];
        double gap = by_magnitude ? fabs(fabs(here) - fabs(next)) : fabs(here - next);
        double doubt = residual[j] + (last ? 0.0 : residual[j + 1]) + floor;
        resolved[j] = j + 1 == size || gap > doubt;
    }
}
