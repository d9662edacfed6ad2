#include "spectrum/ritz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"
#include "spectrum/eigen.h"

gm_status gm_ritz_values(size_t rows, const double *alpha, const double *beta, double *value,
                         double *residual, gm_error *err)
{
    double *d = gm_alloc(rows, 2 * sizeof *d, "tridiagonal matrix", err), *e = d + rows;
    if (!d) return GM_ERR_MEMORY;
    /* Turned end for end: the first components of T's eigenvectors are then the last ones. */
    for (size_t i = 0; i < rows; i++) {
        d[i] = alpha[rows - 1 - i];
        if (i + 1 < rows) e[i] = beta[rows - 2 - i];
    }
    gm_status status = gm_tridiagonal_eigen(rows, d, e, value, residual, err);
    for (size_t i = 0; i < rows && status == GM_OK; i++) {
        residual[i] = beta[rows - 1] * fabs(residual[i]);
    }
    gm_free(d);
    return status;
}

gm_status gm_ritz_converged(const gm_eigen_options *options, size_t rows, const double *alpha,
                            const double *beta, double share, double least, bool *converged,
                            gm_error *err)
{
    size_t k = options->k;
    *converged = false;
    if (rows < k) return GM_OK;
    double *value = gm_alloc(rows, 2 * sizeof *value, "Ritz values", err);
    size_t *order = gm_alloc(rows, sizeof *order, "order of the Ritz values", err);
    gm_status status = value && order ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        double *residual = value + rows;
        status = gm_ritz_values(rows, alpha, beta, value, residual, err);
        gm_eigen_order(options->which, rows, value, order);
        double scale[2] = {least, least}; /* at the top and at the bottom */
        for (int pass = 0; pass < 2 && status == GM_OK; pass++) {
            *converged = pass == 1;
            for (size_t j = 0; j < k; j++) {
                bool bottom =
                    options->which == GM_WHICH_SA || (options->which == GM_WHICH_BE && j % 2 == 1);
                size_t i = order[j];
                if (pass == 0)
                    scale[bottom] = fmax(scale[bottom], fabs(value[i]));
                else if (!(residual[i] <= share * options->tol * scale[bottom]))
                    *converged = false;
            }
        }
    }
    gm_free(value);
    gm_free(order);
    return status;
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

gm_status gm_ritz_pairs(const gm_eigen_options *options, size_t rows, const double *alpha,
                        const double *beta, double unit, const double *v, double *coefficient,
                        gm_eigen *result, gm_error *err)
{
    size_t k = options->k, n = result->size;
    gm_status status = GM_ERR_MEMORY;
    double *t = gm_alloc(rows * rows, sizeof *t, "tridiagonal matrix", err);
    double *y = gm_alloc(rows * rows, sizeof *y, "eigenvectors of the tridiagonal matrix", err);
    double *value = gm_alloc(rows, sizeof *value, "Ritz values", err);
    double *chosen = gm_alloc(k * rows, sizeof *chosen, "Ritz vectors", err);
    size_t *order = gm_alloc(rows, sizeof *order, "order of the Ritz values", err);
    if (!t || !y || !value || !chosen || !order) goto done;
    for (size_t i = 0; i < rows; i++) {
        t[i * rows + i] = alpha[i];
        if (i + 1 < rows) t[(i + 1) * rows + i] = beta[i];
    }
    status = gm_symmetric_eigen(rows, t, rows, 0, value, y, err);
    if (status != GM_OK) goto done;
    gm_eigen_order(options->which, rows, value, order);
    qsort(order, k, sizeof *order, compare_sizes); /* the chosen ones, descending by value */
    for (size_t j = 0; j < k; j++) {
        result->value[j] = value[order[j]] / unit;
        for (size_t i = 0; i < rows; i++) {
            chosen[j * rows + i] = y[order[j] * rows + i];
        }
    }
    gm_kernels_get(GM_F64)->gemm(false, false, k, n, rows, 1.0, chosen, rows, v, n, 0.0,
                                 result->vector, n);
    if (coefficient) memcpy(coefficient, chosen, k * rows * sizeof *chosen);
done:
    gm_free(t);
    gm_free(y);
    gm_free(value);
    gm_free(chosen);
    gm_free(order);
    return status;
}
