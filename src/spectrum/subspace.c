/* Leading subspaces of two operators against each other.
 *
 *   U [ku, size], V [kv, size]   orthonormal rows
 *   C = U V^T                    products of the bases
 *   overlap_k = sum_{i,j <= k} C_ij^2 / k
 *   cos theta = singular values of C, sin theta = singular values of V - C^T U
 *
 * A cosine alone loses small angles (cos 1e-9 rounds to 1), a sine alone those near pi/2: both are
 * computed and joined by atan2, which takes from each what it knows. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/spectrum.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"

void gm_subspace_products(size_t ku, size_t kv, size_t size, const double *u, const double *v,
                          double *product)
{
    gm_kernels_get(GM_F64)->gemm(false, true, ku, kv, size, 1.0, u, size, v, size, 0.0, product,
                                 kv);
}

void gm_subspace_overlap(size_t k, size_t columns, const double *product, double *overlap)
{
    double sum = 0.0;
    for (size_t j = 0; j < k; j++) {
        /* From k = j to k = j + 1 the square grows by one row and one column. */
        for (size_t l = 0; l < j; l++) {
            double row = product[j * columns + l], column = product[l * columns + j];
            sum += row * row + column * column;
        }
        sum += product[j * columns + j] * product[j * columns + j];
        overlap[j] = fmin(sum / (double)(j + 1), 1.0);
    }
}

gm_status gm_principal_angles(size_t ku, size_t kv, size_t size, const double *u, const double *v,
                              double *angle, double *cosine, gm_error *err)
{
    if (kv > ku) return gm_principal_angles(kv, ku, size, v, u, angle, cosine, err);
    if (kv == 0) return GM_OK;

    gm_status status = GM_ERR_MEMORY;
    double *product = gm_alloc(ku * kv, sizeof *product, "products of two bases", err);
    double *outside = gm_alloc(kv * size, sizeof *outside, "part of a basis off another", err);
    double *cosines = gm_alloc(kv, sizeof *cosines, "cosines", err);
    double *sines = gm_alloc(kv, sizeof *sines, "sines", err);
    if (!product || !outside || !cosines || !sines) goto done;

    gm_subspace_products(ku, kv, size, u, v, product);
    memcpy(outside, v, kv * size * sizeof *outside);
    gm_kernels_get(GM_F64)->gemm(true, false, kv, size, ku, -1.0, product, kv, u, size, 1.0,
                                 outside, size); /* V - C^T U */
    status = gm_svd(ku, kv, product, cosines, NULL, NULL, err);
    if (status != GM_OK) goto done;
    status = gm_svd(kv, size, outside, sines, NULL, NULL, err);
    if (status != GM_OK) goto done;

    for (size_t j = 0; j < kv; j++) {
        /* Cosines fall while sines rise: the j-th of one belongs to the j-th last of the other. */
        angle[j] = atan2(sines[kv - 1 - j], cosines[j]);
        if (cosine) cosine[j] = fmin(cosines[j], 1.0);
    }
done:
    gm_free(product);
    gm_free(outside);
    gm_free(cosines);
    gm_free(sines);
    return status;
}

bool gm_subspace_share(size_t k, size_t size, const double *u, const double *x, double *share)
{
    double largest = 0.0, total = 0.0;
    for (size_t i = 0; i < size; i++) {
        if (!isfinite(x[i])) return false;
        largest = fmax(largest, fabs(x[i]));
    }
    if (largest == 0.0) return false;
    for (size_t i = 0; i < size; i++) {
        total += (x[i] / largest) * (x[i] / largest);
    }
    double inside = 0.0;
    for (size_t j = 0; j < k; j++) {
        double dot = 0.0;
        for (size_t i = 0; i < size; i++) {
            dot += u[j * size + i] * (x[i] / largest);
        }
        inside += dot * dot;
        share[j] = fmin(inside / total, 1.0);
    }
    return true;
}
