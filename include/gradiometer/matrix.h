/* Symmetric operators from files, for trying the solvers on matrices of one's own: dense ones in
 * NumPy's NPY format, dense and sparse ones in the Matrix Market format (Boisvert, Pozo, Remington
 * 1996, NISTIR 5935). */
#ifndef GRADIOMETER_MATRIX_H
#define GRADIOMETER_MATRIX_H

#include <stddef.h>

#include "gradiometer/operator.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* op = the symmetric matrix in the file at path, with products in double precision:
 * - NPY 1.0, 2.0 or 3.0 holding [p, p] numbers f4 or f8, in C or in Fortran order;
 * - Matrix Market: "matrix coordinate" or "matrix array"; real, integer or (coordinate only)
 *   pattern, whose entries are 1; general or symmetric. Entries given twice are summed.
 * Which of the two it is, the first bytes say. A coordinate matrix stays sparse: 12 bytes for each
 * entry of either triangle, about three times that while it is read. All others are dense: 8 p^2
 * bytes.
 *
 * The matrix must be symmetric: |a_ij - a_ji| at most 1e-12 of the largest |entry| (1e-6 where the
 * file holds f4, which keeps seven digits); what differs within that becomes the mean of the two.
 *
 * memory: bytes that reading may take, 0 = as much as there is. Cost of a product: 2 p^2 flops, or
 * 2 per stored entry; threads share the rows, and their number does not change a sparse product.
 *
 * Errors name the file and, in text, the line: GM_ERR_IO where it cannot be read; GM_ERR_INPUT for
 * anything that is not such a matrix (damaged or cut files, not square, indices out of range, NaN
 * or infinity, complex, skew-symmetric and Hermitian kinds, not symmetric); GM_ERR_MEMORY. */
gm_status gm_operator_load(const char *path, size_t memory, gm_operator *op, gm_error *err);

/* The entry (i, i) of a matrix made by gm_operator_load, for all i: diagonal [size]. No product. */
void gm_operator_load_diagonal(const gm_operator *op, double *diagonal);

#ifdef __cplusplus
}
#endif
#endif
