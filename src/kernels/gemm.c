/* The only file that knows oneDNN and OpenBLAS's matrix products. */
#include "kernels/gemm.h"

#include <cblas.h>
#include <limits.h>
#include <oneapi/dnnl/dnnl.h>

#define REAL     float
#define FN(name) name##_f32
#include "kernels/gemm_body.h"
#undef REAL
#undef FN
#define REAL     double
#define FN(name) name##_f64
#include "kernels/gemm_body.h"
#undef REAL
#undef FN

void gm_gemm_f32(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const void *a,
                 size_t lda, const void *b, size_t ldb, double beta, void *c, size_t ldc)
{
    if (m == 0 || n == 0) return;
    if (k == 0) {
        scale_matrix_f32(m, n, beta, c, ldc);
        return;
    }
    dnnl_status_t status = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', (dnnl_dim_t)m, (dnnl_dim_t)n,
                                      (dnnl_dim_t)k, (float)alpha, a, (dnnl_dim_t)lda, b,
                                      (dnnl_dim_t)ldb, (float)beta, c, (dnnl_dim_t)ldc);
    if (status != dnnl_success) {
        plain_product_f32(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    }
}

/* One call of cblas_dgemm: all sizes fit its int. */
static void product(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const double *a,
                    size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
    cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void gm_gemm_f64(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const void *a,
                 size_t lda, const void *b, size_t ldb, double beta, void *c, size_t ldc)
{
    const double *aa = a, *bb = b;
    double *cc = c;
    if (m == 0 || n == 0) return;
    if (k == 0) {
        scale_matrix_f64(m, n, beta, cc, ldc);
        return;
    }
    if (lda > INT_MAX || ldb > INT_MAX || ldc > INT_MAX) {
        plain_product_f64(ta, tb, m, n, k, alpha, aa, lda, bb, ldb, beta, cc, ldc);
        return;
    }
    const size_t most = (size_t)1 << 30; /* cblas counts in int */
    for (size_t i = 0; i < m; i += most) {
        for (size_t j = 0; j < n; j += most) {
            for (size_t l = 0; l < k; l += most) {
                product(ta, tb, least(m - i, most), least(n - j, most), least(k - l, most), alpha,
                        aa + (ta ? l * lda + i : i * lda + l), lda,
                        bb + (tb ? j * ldb + l : l * ldb + j), ldb, l == 0 ? beta : 1,
                        cc + i * ldc + j, ldc);
            }
        }
    }
}

gm_status gm_gemm_check(gm_error *err)
{
    int parallel = openblas_get_parallel();
    if (parallel == OPENBLAS_OPENMP) return GM_OK;
    return gm_fail(err, GM_ERR_DEPENDENCY,
                   "OpenBLAS: the build loaded uses %s, expected OpenMP (package "
                   "libopenblas0-openmp)",
                   parallel == OPENBLAS_THREAD ? "threads of its own" : "one thread");
}
