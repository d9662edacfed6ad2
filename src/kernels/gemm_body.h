/* Parts of a matrix product that no library is needed for, per precision. */
#ifndef REAL
#define REAL     double
#define FN(name) name##_f64
#endif

/* C = beta C, not read where beta = 0: what is left of a product with k = 0. */
static void FN(scale_matrix)(size_t m, size_t n, double beta, REAL *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            c[i * ldc + j] = beta == 0 ? 0 : (REAL)beta * c[i * ldc + j];
        }
    }
}

/* The product by plain loops, for what the library refuses. */
static void FN(plain_product)(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha,
                              const REAL *a, size_t lda, const REAL *b, size_t ldb, double beta,
                              REAL *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t l = 0; l < k; l++) {
                sum += (double)(ta ? a[l * lda + i] : a[i * lda + l]) *
                       (double)(tb ? b[j * ldb + l] : b[l * ldb + j]);
            }
            double old = beta == 0 ? 0 : beta * (double)c[i * ldc + j];
            c[i * ldc + j] = (REAL)(alpha * sum + old);
        }
    }
}
