/* Dense eigenproblems, singular values and bases against matrices whose answers are known by
 * construction, and against the definition: residuals and orthonormality computed here. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"

static double *new_matrix(size_t rows, size_t columns)
{
    size_t entries = 0;
    assert_true(gm_mul_size(rows, columns, &entries));
    double *a = gm_alloc(entries, sizeof *a, "test", NULL);
    assert_non_null(a);
    return a;
}

static double *new_normal(size_t rows, size_t columns, uint32_t run)
{
    double *a = new_matrix(rows, columns);
    gm_normal_fill(gm_stream_of(11, GM_PURPOSE_TEST, run), 0, rows * columns, a);
    return a;
}

static double *copy_matrix(size_t rows, size_t columns, const double *a)
{
    double *copy = new_matrix(rows, columns);
    memcpy(copy, a, rows * columns * sizeof *a);
    return copy;
}

/* C [m, n] = A [m, k] op(B) */
static void product(bool tb, size_t m, size_t n, size_t k, const double *a, const double *b,
                    double *c)
{
    gm_kernels_get(GM_F64)->gemm(false, tb, m, n, k, 1, a, k, b, tb ? k : n, 0, c, n);
}

/* Largest |entry| of A A^T - I, A [rows, n]. */
static double orthonormality_error(size_t rows, size_t n, const double *a)
{
    double *gram = new_matrix(rows, rows), worst = 0;
    product(true, rows, rows, n, a, a, gram);
    for (size_t i = 0; i < rows * rows; i++) {
        double error = fabs(gram[i] - (i / rows == i % rows ? 1 : 0));
        if (!(error <= worst)) worst = error;
    }
    gm_free(gram);
    return worst;
}

/* Largest |entry| of V A - diag(value) V, V [rows, n]. */
static double residual(size_t rows, size_t n, const double *a, const double *value, const double *v)
{
    double *va = new_matrix(rows, n), worst = 0;
    product(false, rows, n, n, v, a, va);
    for (size_t i = 0; i < rows * n; i++) {
        double error = fabs(va[i] - value[i / n] * v[i]);
        if (!(error <= worst)) worst = error;
    }
    gm_free(va);
    return worst;
}

/* A = Q diag(value) Q^T with a random orthogonal Q: the product of three Householder reflectors,
 * A -> P A P, so that no eigensolver is needed to make it. */
static double *with_spectrum(size_t n, const double *value)
{
    double *a = new_matrix(n, n), *u = new_matrix(1, n), *w = new_matrix(1, n);
    for (size_t i = 0; i < n; i++) {
        a[i * n + i] = value[i];
    }
    for (uint32_t r = 0; r < 3; r++) {
        double norm = 0, inner = 0;
        gm_normal_fill(gm_stream_of(12, GM_PURPOSE_TEST, r), 0, n, u);
        for (size_t i = 0; i < n; i++) {
            norm += u[i] * u[i];
        }
        for (size_t i = 0; i < n; i++) {
            w[i] = 0;
            for (size_t j = 0; j < n; j++) {
                w[i] += 2 / norm * a[i * n + j] * u[j];
            }
            inner += w[i] * u[i] / norm;
        }
        for (size_t i = 0; i < n; i++) {
            w[i] -= inner * u[i];
        }
        for (size_t i = 0; i < n * n; i++) {
            a[i] -= u[i / n] * w[i % n] + w[i / n] * u[i % n];
        }
    }
    gm_free(u);
    gm_free(w);
    return a;
}

/* Runs gm_symmetric_eigen on a matrix with the given descending spectrum and checks values, order,
 * residuals and orthonormality, all to n eps ||A|| or n eps. */
static void check_spectrum(size_t n, const double *spectrum, size_t top, size_t bottom)
{
    gm_error err = {0};
    double norm = fmax(fabs(spectrum[0]), fabs(spectrum[n - 1]));
    double *a = with_spectrum(n, spectrum), *value = new_matrix(1, n), *selected = new_matrix(1, n);
    double *vector = new_matrix(top + bottom, n), *work = copy_matrix(n, n, a);
    for (size_t i = 0; i < n; i++) { /* only the lower triangle may be read */
        for (size_t j = i + 1; j < n; j++) {
            work[i * n + j] = (double)NAN;
        }
    }
    if (gm_symmetric_eigen(n, work, top, bottom, value, vector, &err) != GM_OK) {
        fail_msg("%s", err.message);
    }
    double limit = 10 * (double)n * DBL_EPSILON;
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || value[i] <= value[i - 1]);
        assert_true(fabs(value[i] - spectrum[i]) <= limit * norm);
    }
    for (size_t i = 0; i < top + bottom; i++) {
        selected[i] = value[i < top ? i : n - bottom + (i - top)];
    }
    assert_true(residual(top + bottom, n, a, selected, vector) <= limit * norm);
    /* tighter: what LAPACK leaves at n eps is polished; a few roundings of the way back remain */
    assert_true(orthonormality_error(top + bottom, n, vector) <= 1e-14 * (1 + (double)n / 50));
    gm_free(a);
    gm_free(value);
    gm_free(selected);
    gm_free(vector);
    gm_free(work);
}

static void test_known_spectra(void **state)
{
    (void)state;
    const size_t sizes[] = {1, 2, 3, 10, 65, 200};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s];
        double *spectrum = new_matrix(1, n);
        for (size_t i = 0; i < n; i++) {
            spectrum[i] = 3 - 5 * ((double)i + 0.5) / (double)n;
        }
        check_spectrum(n, spectrum, 0, 0);
        check_spectrum(n, spectrum, n, 0);
        check_spectrum(n, spectrum, 0, n);
        check_spectrum(n, spectrum, 1, 0);
        check_spectrum(n, spectrum, n / 8, n / 16);
        check_spectrum(n, spectrum, n - n / 2, n / 2);
        gm_free(spectrum);
    }
}

/* What curvature of nets looks like: most eigenvalues zero, a few large, some repeated. */
static void test_repeated_eigenvalues(void **state)
{
    (void)state;
    enum { N = 600 };
    double spectrum[N] = {0};
    for (size_t i = 0; i < 9; i++) {
        spectrum[i] = 100 - 10 * (double)i;
    }
    check_spectrum(N, spectrum, 15, 0); /* the last six of the top belong to the zeros */
    check_spectrum(N, spectrum, 15, 15);
    spectrum[1] = spectrum[2] = spectrum[0];
    spectrum[N - 2] = spectrum[N - 1] = -3;
    check_spectrum(N, spectrum, 15, 4);
    for (size_t i = 0; i < N; i++) {
        spectrum[i] = 1;
    }
    check_spectrum(N, spectrum, 15, 15);
    for (size_t i = 0; i < N; i++) {
        spectrum[i] = 0;
    }
    check_spectrum(N, spectrum, 15, 15);
}

/* A matrix that needs no reduction and splits into blocks: Wilkinson's, whose large eigenvalues
 * come in pairs that agree to rounding. */
static void test_wilkinson(void **state)
{
    (void)state;
    enum { N = 81 };
    gm_error err = {0};
    double *a = new_matrix(N, N), *work, value[N], *vector = new_matrix(20, N);
    for (size_t i = 0; i < N; i++) {
        a[i * N + i] = fabs((double)i - N / 2);
        if (i) a[i * N + i - 1] = a[(i - 1) * N + i] = 1;
    }
    work = copy_matrix(N, N, a);
    assert_int_equal(gm_symmetric_eigen(N, work, 20, 0, value, vector, &err), GM_OK);
    assert_true(residual(20, N, a, value, vector) < 1e-12);
    assert_true(orthonormality_error(20, N, vector) < 1e-13);
    gm_free(a);
    gm_free(work);
    gm_free(vector);
}

/* Wilkinson's matrices in a row, joined by couplings near rounding: every eigenvalue comes in a
 * cluster of twice as many, the hard case of the methods that compute some eigenvectors only. */
static void test_glued_wilkinson(void **state)
{
    (void)state;
    enum { BLOCK = 21, BLOCKS = 20, N = BLOCK * BLOCKS, TOP = 50 };
    const double glue[] = {1e-14, 1e-8, 1e-4};
    gm_error err = {0};
    for (size_t g = 0; g < 3; g++) {
        double *a = new_matrix(N, N), *value = new_matrix(1, N), *vector = new_matrix(TOP, N);
        for (size_t i = 0; i < N; i++) {
            a[i * N + i] = fabs((double)(i % BLOCK) - BLOCK / 2);
            if (i) a[i * N + i - 1] = a[(i - 1) * N + i] = i % BLOCK ? 1 : glue[g];
        }
        double *work = copy_matrix(N, N, a);
        assert_int_equal(gm_symmetric_eigen(N, work, TOP, 0, value, vector, &err), GM_OK);
        assert_true(residual(TOP, N, a, value, vector) < 1e-11);
        assert_true(orthonormality_error(TOP, N, vector) < 1e-13);
        gm_free(a);
        gm_free(value);
        gm_free(vector);
        gm_free(work);
    }
}

/* Scales at which squares over- or underflow. */
static void test_scales(void **state)
{
    (void)state;
    enum { N = 30 };
    const double scales[] = {1e-300, 1e-170, 1e150, 1e300};
    double spectrum[N];
    for (size_t s = 0; s < 4; s++) {
        for (size_t i = 0; i < N; i++) {
            spectrum[i] = scales[s] * (1 - 2 * (double)i / N);
        }
        check_spectrum(N, spectrum, 2, 1);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    gm_error err = {0};
    double a[9] = {1, 0, 0, 0, (double)NAN, 0, 0, 0, 1}, value[3], vector[9];
    assert_int_equal(gm_symmetric_eigen(3, a, 1, 0, value, vector, &err), GM_ERR_NUMERIC);
    a[4] = (double)INFINITY;
    assert_int_equal(gm_symmetric_eigen(3, a, 0, 0, value, NULL, &err), GM_ERR_NUMERIC);
    assert_int_equal(gm_svd(3, 3, a, value, NULL, NULL, &err), GM_ERR_NUMERIC);
    assert_int_equal(gm_orthonormalize(3, 3, a, NULL, &err), GM_ERR_NUMERIC);
    a[4] = 1;
    assert_int_equal(gm_symmetric_eigen(3, a, 2, 2, value, vector, &err), GM_ERR_USAGE);
    assert_int_equal(gm_symmetric_eigen(3, a, SIZE_MAX, 2, value, vector, &err), GM_ERR_USAGE);
    assert_int_equal(gm_orthonormalize(3, 2, a, NULL, &err), GM_ERR_INPUT);
    assert_int_equal(gm_symmetric_eigen(0, a, 0, 0, value, NULL, &err), GM_OK);
    assert_int_equal(gm_svd(0, 3, a, value, NULL, NULL, &err), GM_OK);
    assert_int_equal(gm_orthonormalize(0, 3, a, NULL, &err), GM_OK);
}

/* U diag(s) V^T is A again, the factors are orthonormal, s descends; the Frobenius norm agrees. */
static void check_svd(size_t m, size_t n)
{
    gm_error err = {0};
    size_t r = m < n ? m : n;
    double *a = new_normal(m, n, 1), *work = copy_matrix(m, n, a), *s = new_matrix(1, r);
    double *u = new_matrix(m, r), *vt = new_matrix(r, n), *back = new_matrix(m, n), squares = 0;
    double *ut = new_matrix(r, m);
    if (gm_svd(m, n, work, s, u, vt, &err) != GM_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < m * r; i++) {
        ut[i % r * m + i / r] = u[i];
    }
    assert_true(orthonormality_error(r, m, ut) < 1e-13);
    assert_true(orthonormality_error(r, n, vt) < 1e-13);
    for (size_t i = 0; i < m * r; i++) {
        u[i] *= s[i % r];
    }
    product(false, m, n, r, u, vt, back);
    for (size_t i = 0; i < m * n; i++) {
        assert_true(fabs(back[i] - a[i]) < 1e-12); /* ||A|| below 40 */
        squares += a[i] * a[i];
    }
    for (size_t i = 0; i < r; i++) {
        squares -= s[i] * s[i];
        assert_true(s[i] >= 0 && (i == 0 || s[i] <= s[i - 1]));
    }
    assert_true(fabs(squares) < 1e-9);
    /* values alone, and one factor alone, are the same */
    double *again = new_matrix(1, r), *half = new_matrix(r, n);
    memcpy(work, a, m * n * sizeof *a);
    assert_int_equal(gm_svd(m, n, work, again, NULL, NULL, &err), GM_OK);
    for (size_t i = 0; i < r; i++) {
        assert_true(fabs(again[i] - s[i]) < 1e-12);
    }
    memcpy(work, a, m * n * sizeof *a);
    assert_int_equal(gm_svd(m, n, work, again, NULL, half, &err), GM_OK);
    assert_true(orthonormality_error(r, n, half) < 1e-13);
    memcpy(work, a, m * n * sizeof *a);
    assert_int_equal(gm_svd(m, n, work, again, u, NULL, &err), GM_OK);
    double *freed[] = {a, work, s, u, vt, back, ut, again, half};
    for (size_t i = 0; i < sizeof freed / sizeof *freed; i++) {
        gm_free(freed[i]);
    }
}

static void test_svd(void **state)
{
    (void)state;
    check_svd(1, 1);
    check_svd(5, 5);
    check_svd(17, 4);
    check_svd(4, 17);
    check_svd(60, 33);
    check_svd(33, 60);
}

/* The same rows as classical Gram-Schmidt in long double, and |R_kk| its norms. */
static void test_orthonormalize(void **state)
{
    (void)state;
    enum { K = 7, N = 50 };
    gm_error err = {0};
    double *q = new_normal(K, N, 3), diag[K];
    long double g[K][N];
    for (size_t i = 0; i < K; i++) {
        for (size_t j = 0; j < N; j++) {
            g[i][j] = (long double)q[i * N + j];
        }
    }
    assert_int_equal(gm_orthonormalize(K, N, q, diag, &err), GM_OK);
    assert_true(orthonormality_error(K, N, q) < 1e-14);
    for (size_t i = 0; i < K; i++) {
        long double norm = 0;
        for (size_t l = 0; l < i; l++) {
            long double inner = 0;
            for (size_t j = 0; j < N; j++) {
                inner += g[i][j] * g[l][j];
            }
            for (size_t j = 0; j < N; j++) {
                g[i][j] -= inner * g[l][j];
            }
        }
        for (size_t j = 0; j < N; j++) {
            norm += g[i][j] * g[i][j];
        }
        norm = sqrtl(norm);
        assert_true(fabs(diag[i] - (double)norm) < 1e-13);
        for (size_t j = 0; j < N; j++) {
            g[i][j] /= norm;
            assert_true(fabs(q[i * N + j] - (double)g[i][j]) < 1e-13);
        }
    }
    /* an orthonormal basis stays what it is */
    double *same = copy_matrix(K, N, q);
    assert_int_equal(gm_orthonormalize(K, N, same, NULL, &err), GM_OK);
    for (size_t i = 0; i < (size_t)K * N; i++) {
        assert_true(fabs(same[i] - q[i]) < 1e-14);
    }
    /* a dependent row shows in diag, and the result is orthonormal all the same */
    memcpy(same + 2 * N, same, N * sizeof *same);
    assert_int_equal(gm_orthonormalize(K, N, same, diag, &err), GM_OK);
    assert_true(diag[2] < 1e-14 && diag[1] > 0.99);
    assert_true(orthonormality_error(K, N, same) < 1e-14);
    gm_free(same);
    gm_free(q);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_spectra), cmocka_unit_test(test_repeated_eigenvalues),
        cmocka_unit_test(test_wilkinson),     cmocka_unit_test(test_glued_wilkinson),
        cmocka_unit_test(test_scales),        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_svd),           cmocka_unit_test(test_orthonormalize),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "lapack");
}
