/* How good an eigenpair is, and whether a span of them is determined at all. */
#include <math.h>

#include "base/memory.h"
#include "gradiometer/spectrum.h"

gm_status gm_eigen_residuals(gm_operator *op, size_t count, const double *value,
                             const double *vector, double *residual, gm_error *err)
{
    size_t size = op->size;
    if (count == 0) return GM_OK;
    double *product = gm_alloc(count * size, sizeof *product, "products of eigenvectors", err);
    if (!product) return GM_ERR_MEMORY;
    gm_status status = gm_operator_apply(op, count, vector, product, err);
    for (size_t j = 0; status == GM_OK && j < count; j++) {
        double sum = 0.0;
        for (size_t i = 0; i < size; i++) {
            double r = product[j * size + i] - value[j] * vector[j * size + i];
            sum += r * r;
        }
        residual[j] = sqrt(sum);
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
