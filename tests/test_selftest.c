/* The self-test passes real kernels and detects broken ones, and the start-up acts on it. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "gradiometer/selftest.h"
#include "kernels/isa.h"
#include "kernels/lapack.h"
#include "kernels/selftest.h"

static gm_selftest_functions real_functions(void)
{
    gm_selftest_functions functions = {{gm_kernels_get(GM_F32), gm_kernels_get(GM_F64)},
                                       gm_symmetric_eigen};
    return functions;
}

/* A table that is right but for gemm, which spoils one entry of products that `where` selects. */
typedef void gemm_function(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha,
                           const void *a, size_t lda, const void *b, size_t ldb, double beta,
                           void *c, size_t ldc);

static void nudge_last(gm_dtype dtype, size_t m, size_t n, void *c, size_t ldc)
{
    size_t last = (m - 1) * ldc + n - 1;
    if (dtype == GM_F32) {
        ((float *)c)[last] += 1;
    } else {
        ((double *)c)[last] += 1;
    }
}

#define GOOD(dtype)                                                                                \
    gm_kernels_get(dtype)->gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)

/* Wrong in one transposition, large sizes only, one entry: what the worst real defects look like.
 */
static void wrong_tn_large(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha,
                           const void *a, size_t lda, const void *b, size_t ldb, double beta,
                           void *c, size_t ldc)
{
    GOOD(GM_F64);
    if (ta && !tb && m > 256 && n > 128) nudge_last(GM_F64, m, n, c, ldc);
}

/* Wrong at the edge of odd sizes. */
static void wrong_odd(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const void *a,
                      size_t lda, const void *b, size_t ldb, double beta, void *c, size_t ldc)
{
    GOOD(GM_F32);
    if (m % 4 == 1 && n % 4 == 1 && m > 4) nudge_last(GM_F32, m, n, c, ldc);
}

/* Drops the last of a long sum. */
static void wrong_long_sum(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha,
                           const void *a, size_t lda, const void *b, size_t ldb, double beta,
                           void *c, size_t ldc)
{
    if (k > 512) k--;
    GOOD(GM_F64);
}

/* Reads C where beta = 0. */
static void wrong_beta(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const void *a,
                       size_t lda, const void *b, size_t ldb, double beta, void *c, size_t ldc)
{
    double *cc = c, old = cc[0];
    GOOD(GM_F64);
    if (beta == 0) cc[0] += 0 * old;
}

/* Ignores beta. */
static void wrong_no_beta(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha,
                          const void *a, size_t lda, const void *b, size_t ldb, double beta,
                          void *c, size_t ldc)
{
    beta = 0;
    GOOD(GM_F64);
}

/* float64 products in float32 precision. */
static void wrong_precision(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha,
                            const void *a, size_t lda, const void *b, size_t ldb, double beta,
                            void *c, size_t ldc)
{
    double *cc = c;
    GOOD(GM_F64);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            cc[i * ldc + j] = (double)(float)cc[i * ldc + j];
        }
    }
}

static gm_status wrong_eigen(size_t n, double *a, size_t top, size_t bottom, double *value,
                             double *vector, gm_error *err)
{
    gm_status status = gm_symmetric_eigen(n, a, top, bottom, value, vector, err);
    value[n / 2] += 1e-9;
    return status;
}

static gm_status wrong_vector(size_t n, double *a, size_t top, size_t bottom, double *value,
                              double *vector, gm_error *err)
{
    gm_status status = gm_symmetric_eigen(n, a, top, bottom, value, vector, err);
    vector[n - 1] += 1e-3;
    return status;
}

static void test_real_kernels(void **state)
{
    (void)state;
    gm_error err = {0};
    if (gm_selftest(&err) != GM_OK) fail_msg("%s", err.message);
    for (size_t i = 0; gm_isa_name(i); i++) { /* tables of every instruction set */
        gm_selftest_functions functions = real_functions();
        functions.kernels[0] = gm_kernels_for(gm_isa_name(i), GM_F32);
        functions.kernels[1] = gm_kernels_for(gm_isa_name(i), GM_F64);
        if (!functions.kernels[0]) continue;
        if (gm_selftest_run(&functions, &err) != GM_OK) fail_msg("%s", err.message);
    }
}

static void test_injected_products(void **state)
{
    (void)state;
    const struct {
        gm_dtype dtype;
        gemm_function *gemm;
        const char *named; /* in the message */
    } broken[] = {
        {GM_F64, wrong_tn_large, "float64 matrix product (OpenBLAS, TN, 257 x 131 x 300)"},
        {GM_F32, wrong_odd, "float32 matrix product (oneDNN, NN, 33 x 65 x 17)"},
        {GM_F64, wrong_long_sum, "1025"},
        {GM_F64, wrong_beta, "float64"},
        {GM_F64, wrong_no_beta, "float64"},
        {GM_F64, wrong_precision, "float64"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        gm_selftest_functions functions = real_functions();
        gm_error err = {0};
        size_t d = broken[i].dtype == GM_F32 ? 0 : 1;
        gm_kernels table = *functions.kernels[d];
        table.gemm = broken[i].gemm;
        functions.kernels[d] = &table;
        assert_int_equal(gm_selftest_run(&functions, &err), GM_ERR_KERNEL);
        assert_int_equal(err.status, GM_ERR_KERNEL);
        if (!strstr(err.message, broken[i].named)) fail_msg("%zu: %s", i, err.message);
        if (d == 1) assert_non_null(strstr(err.message, "OPENBLAS_CORETYPE=Haswell"));
    }
}

static void test_injected_eigenproblem(void **state)
{
    (void)state;
    gm_selftest_functions functions = real_functions();
    gm_error err = {0};
    functions.eigen = wrong_eigen;
    assert_int_equal(gm_selftest_run(&functions, &err), GM_ERR_KERNEL);
    assert_non_null(strstr(err.message, "OPENBLAS_CORETYPE=Haswell"));
    functions.eigen = wrong_vector;
    assert_int_equal(gm_selftest_run(&functions, &err), GM_ERR_KERNEL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_kernels),
        cmocka_unit_test(test_injected_products),
        cmocka_unit_test(test_injected_eigenproblem),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "selftest");
}
