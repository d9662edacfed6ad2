/* Matrix products C = alpha op(A) op(B) + beta C, as gm_kernels.gemm documents them. */
#ifndef GM_KERNELS_GEMM_H
#define GM_KERNELS_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/status.h"

/* float32, by oneDNN. */
void gm_gemm_f32(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const void *a,
                 size_t lda, const void *b, size_t ldb, double beta, void *c, size_t ldc);
/* float64, by OpenBLAS. */
void gm_gemm_f64(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const void *a,
                 size_t lda, const void *b, size_t ldb, double beta, void *c, size_t ldc);

/* GM_ERR_DEPENDENCY where the OpenBLAS that was loaded is not the OpenMP build: two thread pools
 * would fight for the processors. */
gm_status gm_gemm_check(gm_error *err);

#endif
