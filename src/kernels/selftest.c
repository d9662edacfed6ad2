/* Self-test of the matrix kernels. Every product is compared with plain loops in double; the
 * tolerance is the bound on rounding, k eps |op(A)| |op(B)| with entries below 1 in size, whatever
 * the order of the sums. Large products have integer entries so small that they are exact in either
 * precision, and are compared after multiplication by a vector of +-1: that costs O(mn + mk + kn)
 * and still sees a single wrong entry, with no tolerance at all. */
#include "kernels/selftest.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/gemm.h"
#include "kernels/lapack.h"

/* One product to try: C [m, n], row stride n + pad, op(A) [m, k]. */
typedef struct trial {
    size_t m, n, k;
    double alpha, beta;
    size_t pad;
} trial;

/* Every element compared: odd sizes, edges of the micro-kernels, beyond the small-matrix paths. */
static const trial small_trials[] = {
    {1, 1, 1, 1, 0, 0},     {3, 5, 7, -0.5, 0, 1}, {17, 23, 31, 1, 0, 0},
    {1, 70, 33, 1, 0, 0},   {70, 1, 33, 1, 0, 0},  {33, 65, 17, 1, 1, 3},
    {19, 21, 256, 1, 0, 0}, {64, 64, 1, 2, 0, 0},  {40, 129, 65, 1, 0.5, 0},
};
/* Compared by a vector: beyond the blocking in each direction, enough work for several threads.
 * alpha and beta are integers. */
static const trial large_trials[] = {
    {129, 257, 65, 1, 0, 0},
    {257, 131, 300, -1, 0, 5},
    {40, 35, 1025, 1, 0, 0},
    {520, 70, 33, 1, 1, 0},
};
enum {
    SMALL_TRIALS = sizeof small_trials / sizeof *small_trials,
    LARGE_TRIALS = sizeof large_trials / sizeof *large_trials,
    SMALLEST = 10000, /* entries of the largest matrix of the small trials, with its padding */
    LARGEST = 100000, /* and of the large ones */
    LONGEST = 1100,   /* the longest side */
    WIDE = 511,       /* integer entries of A, more than the 8 bits of shortened formats, */
    NARROW = 7,       /* of B and C: 1025 * 511 * 7 + 7 < 2^24 */
    EIGEN_SIZE = 40
};

/* The matrices of one trial: in the kernels' precision, and as the same numbers in double. */
typedef struct bench {
    const gm_kernels *kernels;
    double *a, *b, *c;    /* [LARGEST] c before the product */
    void *ka, *kb, *kc;   /* [LARGEST] REAL */
    double *result;       /* [LARGEST] c after it */
    double *x, *bx, *abx; /* [LONGEST] */
} bench;

static void free_bench(bench *t)
{
    gm_free(t->a);
    gm_free(t->b);
    gm_free(t->c);
    gm_free(t->ka);
    gm_free(t->kb);
    gm_free(t->kc);
    gm_free(t->result);
    gm_free(t->x);
    gm_free(t->bx);
    gm_free(t->abx);
}

static gm_status make_bench(const gm_kernels *kernels, bench *t, gm_error *err)
{
    double **sides[] = {&t->x, &t->bx, &t->abx};
    double **arrays[] = {&t->a, &t->b, &t->c};
    void **rounded[] = {&t->ka, &t->kb, &t->kc};
    t->kernels = kernels;
    t->result = gm_alloc(LARGEST, sizeof(double), "self-test", err);
    if (!t->result) return GM_ERR_MEMORY;
    for (size_t i = 0; i < 3; i++) {
        *sides[i] = gm_alloc(LONGEST, sizeof(double), "self-test", err);
        *arrays[i] = gm_alloc(LARGEST, sizeof(double), "self-test", err);
        *rounded[i] = gm_alloc(LARGEST, kernels->size, "self-test", err);
        if (!*sides[i] || !*arrays[i] || !*rounded[i]) return GM_ERR_MEMORY;
    }
    return GM_OK;
}

/* 54 bits of a cheap generator: the numbers only need to differ, the same in every process. */
static uint64_t next_bits(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 10;
}

/* Entries on (-1, 1), rounded to the precision. */
static void fill_with_fractions(bench *t)
{
    double *arrays[] = {t->a, t->b, t->c};
    uint64_t state = 1;
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < SMALLEST; j++) {
            double number = (double)(next_bits(&state) >> 1) * 0x1p-52 - 1;
            arrays[i][j] = t->kernels->dtype == GM_F32 ? (double)(float)number : number;
        }
    }
}

/* Integers, and x = +-1. */
static void fill_with_integers(bench *t)
{
    uint64_t state = 2;
    for (size_t j = 0; j < LARGEST; j++) {
        uint64_t bits = next_bits(&state);
        t->a[j] = (double)(bits % (2 * WIDE + 1)) - WIDE;
        t->b[j] = (double)((bits >> 16) % (2 * NARROW + 1)) - NARROW;
        t->c[j] = (double)((bits >> 32) % (2 * NARROW + 1)) - NARROW;
    }
    for (size_t j = 0; j < LONGEST; j++) {
        t->x[j] = next_bits(&state) & 1 ? 1 : -1;
    }
}

/* The product under test into t->result. With beta = 0, C starts as NaN, which must not be read. */
static void multiply(bench *t, const trial *s, bool ta, bool tb)
{
    size_t ldc = s->n + s->pad, entries = s->m * ldc;
    const gm_kernels *k = t->kernels;
    k->from_double(s->m * s->k, t->a, t->ka);
    k->from_double(s->k * s->n, t->b, t->kb);
    if (s->beta == 0) {
        k->fill(entries, (double)NAN, t->kc);
    } else {
        k->from_double(entries, t->c, t->kc);
    }
    k->gemm(ta, tb, s->m, s->n, s->k, s->alpha, t->ka, ta ? s->m : s->k, t->kb, tb ? s->k : s->n,
            s->beta, t->kc, ldc);
    k->to_double(entries, t->kc, t->result);
}

static gm_status wrong_product(const bench *t, const trial *s, bool ta, bool tb, double error,
                               double limit, gm_error *err)
{
    bool f32 = t->kernels->dtype == GM_F32;
    return gm_fail(err, GM_ERR_KERNEL,
                   "%s matrix product (%s, %c%c, %zu x %zu x %zu) computes wrong results on this "
                   "processor: error %.3g, expected at most %.3g; %s",
                   f32 ? "float32" : "float64", f32 ? "oneDNN" : "OpenBLAS", ta ? 'T' : 'N',
                   tb ? 'T' : 'N', s->m, s->n, s->k, error, limit,
                   f32 ? "try DNNL_MAX_CPU_ISA=AVX2" : "try OPENBLAS_CORETYPE=Haswell");
}

/* Rounding of op(A) op(B) in the kernels' precision, entries below 1, and of joining C. */
static double rounding_bound(const bench *t, const trial *s)
{
    double eps = gm_dtype_eps(t->kernels->dtype);
    return eps * (fabs(s->alpha) * (double)s->k * (double)(s->k + 2) / 2 + 2 * fabs(s->beta));
}

/* row [n] = row i of alpha op(A) op(B) + beta C, by plain loops. */
static void plain_row(const bench *t, const trial *s, bool ta, bool tb, size_t i, double *row)
{
    for (size_t j = 0; j < s->n; j++) {
        row[j] = s->beta == 0 ? 0 : s->beta * t->c[i * (s->n + s->pad) + j];
    }
    for (size_t l = 0; l < s->k; l++) {
        double factor = s->alpha * t->a[ta ? l * s->m + i : i * s->k + l];
        for (size_t j = 0; j < s->n; j++) {
            row[j] += factor * t->b[tb ? j * s->k + l : l * s->n + j];
        }
    }
}

static gm_status check_elements(bench *t, const trial *s, bool ta, bool tb, gm_error *err)
{
    double limit = rounding_bound(t, s), worst = 0;
    multiply(t, s, ta, tb);
    for (size_t i = 0; i < s->m; i++) {
        plain_row(t, s, ta, tb, i, t->bx);
        for (size_t j = 0; j < s->n; j++) {
            double error = fabs(t->bx[j] - t->result[i * (s->n + s->pad) + j]);
            if (!(error <= worst)) worst = error;
        }
    }
    return worst <= limit ? GM_OK : wrong_product(t, s, ta, tb, worst, limit, err);
}

/* y = op(A) x for a [m, k] stored transposed or not. */
static void times_vector(bool ta, size_t m, size_t k, const double *a, const double *x, double *y)
{
    memset(y, 0, m * sizeof *y);
    if (ta) {
        for (size_t l = 0; l < k; l++) {
            for (size_t i = 0; i < m; i++) {
                y[i] += a[l * m + i] * x[l];
            }
        }
        return;
    }
    for (size_t i = 0; i < m; i++) {
        for (size_t l = 0; l < k; l++) {
            y[i] += a[i * k + l] * x[l];
        }
    }
}

/* (alpha op(A) op(B) + beta C) x against the rows of the product times x, exactly: all is integer.
 */
static gm_status check_by_vector(bench *t, const trial *s, bool ta, bool tb, gm_error *err)
{
    size_t ldc = s->n + s->pad;
    double worst = 0;
    multiply(t, s, ta, tb);
    times_vector(tb, s->k, s->n, t->b, t->x, t->bx);
    times_vector(ta, s->m, s->k, t->a, t->bx, t->abx);
    for (size_t i = 0; i < s->m; i++) {
        double sum = s->alpha * t->abx[i];
        for (size_t j = 0; j < s->n; j++) {
            sum += (s->beta * t->c[i * ldc + j] - t->result[i * ldc + j]) * t->x[j];
        }
        if (!(fabs(sum) <= worst)) worst = fabs(sum);
    }
    return worst <= 0 ? GM_OK : wrong_product(t, s, ta, tb, worst, 0, err);
}

static gm_status check_products(const gm_kernels *kernels, gm_error *err)
{
    bench t = {0};
    gm_status status = make_bench(kernels, &t, err);
    if (status == GM_OK) fill_with_fractions(&t);
    for (size_t i = 0; i < 4 * SMALL_TRIALS && status == GM_OK; i++) {
        status = check_elements(&t, &small_trials[i / 4], i & 1, i & 2, err);
    }
    if (status == GM_OK) fill_with_integers(&t);
    for (size_t i = 0; i < 4 * LARGE_TRIALS && status == GM_OK; i++) {
        status = check_by_vector(&t, &large_trials[i / 4], i & 1, i & 2, err);
    }
    free_bench(&t);
    return status;
}

/* A = sum_i lambda_i q_i q_i^T with lambda_i = i - 20 and q_i the columns of the symmetric
 * orthogonal matrix q_ij = sqrt(2 / (n + 1)) sin(pi (i + 1)(j + 1) / (n + 1)). */
static gm_status check_eigen(const gm_selftest_functions *functions, gm_error *err)
{
    enum { N = EIGEN_SIZE };
    double q[N][N], a[N][N], value[N], vector[2][N], worst = 0;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            q[i][j] = sqrt(2.0 / (N + 1)) *
                      sin(3.14159265358979323846 * (double)((i + 1) * (j + 1)) / (N + 1));
        }
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            a[i][j] = 0;
            for (size_t l = 0; l < N; l++) {
                a[i][j] += ((double)l - N / 2) * q[i][l] * q[l][j];
            }
        }
    }
    gm_status status = functions->eigen(N, &a[0][0], 1, 1, value, &vector[0][0], err);
    if (status != GM_OK) return status;
    double top = 0, bottom = 0;
    for (size_t i = 0; i < N; i++) {
        worst = fmax(worst, fabs(value[i] - ((double)(N - 1 - i) - N / 2)));
        top += vector[0][i] * q[N - 1][i];
        bottom += vector[1][i] * q[0][i];
    }
    worst = fmax(worst, fmax(fabs(fabs(top) - 1), fabs(fabs(bottom) - 1)));
    double limit = 10 * N * N * DBL_EPSILON; /* 10 n eps ||A||, gaps of 1 */
    if (worst <= limit) return GM_OK;
    return gm_fail(err, GM_ERR_KERNEL,
                   "eigenvalues (LAPACK, size %d) are wrong on this processor: error %.3g, "
                   "expected at most %.3g; try OPENBLAS_CORETYPE=Haswell",
                   N, worst, limit);
}

gm_status gm_selftest_run(const gm_selftest_functions *functions, gm_error *err)
{
    gm_status status = check_products(functions->kernels[0], err);
    if (status == GM_OK) status = check_products(functions->kernels[1], err);
    if (status == GM_OK) status = check_eigen(functions, err);
    return status;
}

gm_status gm_selftest(gm_error *err)
{
    gm_selftest_functions functions = {{gm_kernels_get(GM_F32), gm_kernels_get(GM_F64)},
                                       gm_symmetric_eigen};
    gm_status status = gm_gemm_check(err);
    return status == GM_OK ? gm_selftest_run(&functions, err) : status;
}
