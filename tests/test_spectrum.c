/* Subspaces with angles known by construction, spectra known in closed form. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "gradiometer/spectrum.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"

#define EPS 2.220446049250313e-16
static const double pi = 3.14159265358979323846;

static double *numbers(size_t count)
{
    double *x = gm_alloc(count, sizeof *x, "test array", NULL);
    assert_non_null(x);
    return x;
}

/* Random orthonormal rows [k, size]; draw names them. */
static double *random_basis(size_t k, size_t size, uint32_t draw)
{
    double *q = numbers(k * size);
    gm_normal_fill(gm_stream_of(11, GM_PURPOSE_TEST, draw), 0, k * size, q);
    assert_int_equal(gm_orthonormalize(k, size, q, NULL, NULL), GM_OK);
    return q;
}

static void close_to(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("found %.17g, expected %.17g within %.3g", found, expected, tolerance);
    }
}

/* --- principal angles --- */

enum { ANGLES = 8 };

/* Two k-dimensional subspaces of R^size whose principal angles are the given ones: with q a random
 * orthonormal basis, u_j = q_j and v_j = cos a_j q_j + sin a_j q_{k+j}. Both bases are then mixed
 * by random rotations within their spans, so that no vector of one faces its partner. */
static void constructed_pair(size_t k, size_t size, const double *angle, double *u, double *v)
{
    double *q = random_basis(2 * k, size, 1), *raw = numbers(2 * k * size);
    double *mix_u = random_basis(k, k, 2), *mix_v = random_basis(k, k, 3);
    for (size_t j = 0; j < k; j++) {
        for (size_t i = 0; i < size; i++) {
            double a = q[j * size + i], b = q[(k + j) * size + i];
            raw[j * size + i] = a;
            raw[(k + j) * size + i] = cos(angle[j]) * a + sin(angle[j]) * b;
        }
    }
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    kernels->gemm(false, false, k, size, k, 1.0, mix_u, k, raw, size, 0.0, u, size);
    kernels->gemm(false, false, k, size, k, 1.0, mix_v, k, raw + k * size, size, 0.0, v, size);
    gm_free(q);
    gm_free(raw);
    gm_free(mix_u);
    gm_free(mix_v);
}

static void angles_from_tiny_to_right(void **state)
{
    (void)state;
    /* 1e-9 and pi/2 - 1e-9 are lost by arccos and by arcsin alone (both err by 1e-8 there). */
    const double angle[ANGLES] = {1e-9, 1e-6, 1e-3, 0.1, pi / 4, 1.2, pi / 2 - 1e-6, pi / 2 - 1e-9};
    enum { SIZE = 60 };
    double u[ANGLES * SIZE], v[ANGLES * SIZE], found[ANGLES], cosine[ANGLES];
    constructed_pair(ANGLES, SIZE, angle, u, v);
    assert_int_equal(gm_principal_angles(ANGLES, ANGLES, SIZE, u, v, found, cosine, NULL), GM_OK);
    /* Bases orthonormal to a few eps give angles to a few tens of eps. */
    for (size_t j = 0; j < ANGLES; j++) {
        close_to(found[j], angle[j], 50 * EPS);
        close_to(cosine[j], cos(angle[j]), 50 * EPS);
    }
}

static void angles_of_equal_and_orthogonal_spaces(void **state)
{
    (void)state;
    enum { K = 5, SIZE = 40 };
    double *q = random_basis(2 * K, SIZE, 4), *mix = random_basis(K, K, 5);
    double turned[K * SIZE], angle[K], cosine[K];
    gm_kernels_get(GM_F64)->gemm(false, false, K, SIZE, K, 1.0, mix, K, q, SIZE, 0.0, turned, SIZE);
    assert_int_equal(gm_principal_angles(K, K, SIZE, q, turned, angle, cosine, NULL), GM_OK);
    for (size_t j = 0; j < K; j++) {
        close_to(angle[j], 0.0, 20 * EPS);
        close_to(cosine[j], 1.0, 20 * EPS);
        assert_true(cosine[j] <= 1.0);
    }
    assert_int_equal(gm_principal_angles(K, K, SIZE, q, q + K * SIZE, angle, NULL, NULL), GM_OK);
    for (size_t j = 0; j < K; j++) {
        close_to(angle[j], pi / 2, 20 * EPS);
    }
    gm_free(q);
    gm_free(mix);
}

/* A plane of R^3 and a line at 30 degrees to it, either way round. */
static void angles_of_unequal_dimensions(void **state)
{
    (void)state;
    const double plane[] = {1, 0, 0, 0, 1, 0};
    const double line[] = {cos(pi / 6) * 0.6, cos(pi / 6) * 0.8, sin(pi / 6)};
    double angle[2] = {-1, -1}, cosine[2];
    assert_int_equal(gm_principal_angles(2, 1, 3, plane, line, angle, cosine, NULL), GM_OK);
    close_to(angle[0], pi / 6, 4 * EPS);
    assert_true(angle[1] == -1); /* one angle only */
    assert_int_equal(gm_principal_angles(1, 2, 3, line, plane, angle, cosine, NULL), GM_OK);
    close_to(angle[0], pi / 6, 4 * EPS);
    close_to(cosine[0], cos(pi / 6), 4 * EPS);
    assert_int_equal(gm_principal_angles(0, 2, 3, line, plane, angle, cosine, NULL), GM_OK);
}

/* --- overlap --- */

static void overlap_against_its_definition(void **state)
{
    (void)state;
    enum { K = 9, SIZE = 30 };
    double *u = random_basis(K, SIZE, 6), *v = random_basis(K, SIZE, 7);
    double product[K * K], overlap[K];
    gm_subspace_products(K, K, SIZE, u, v, product);
    gm_subspace_overlap(K, K, product, overlap);
    for (size_t k = 1; k <= K; k++) {
        double sum = 0.0;
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < k; j++) {
                double dot = 0.0;
                for (size_t l = 0; l < SIZE; l++) {
                    dot += u[i * SIZE + l] * v[j * SIZE + l];
                }
                sum += dot * dot;
            }
        }
        close_to(overlap[k - 1], sum / (double)k, 20 * EPS);
    }
    gm_subspace_products(K, K, SIZE, u, u, product);
    gm_subspace_overlap(K, K, product, overlap);
    for (size_t k = 1; k <= K; k++) {
        close_to(overlap[k - 1], 1.0, 20 * EPS);
        assert_true(overlap[k - 1] <= 1.0);
    }
    gm_free(u);
    gm_free(v);
}

/* The mean over independent uniformly random pairs is k / p. The projection of a fixed unit vector
 * has variance 2 (k/p) (1 - k/p) / (p + 2); a k-dimensional overlap varies less, so four standard
 * errors of that bound hold with a probability above 0.9999 if the mean is right (the stream is
 * fixed: it either passes for ever or is wrong). */
static void overlap_of_random_subspaces(void **state)
{
    (void)state;
    enum { K = 6, SIZE = 50, DRAWS = 400 };
    double mean[K] = {0}, product[K * K], overlap[K];
    for (uint32_t draw = 0; draw < DRAWS; draw++) {
        double *u = random_basis(K, SIZE, 100 + 2 * draw);
        double *v = random_basis(K, SIZE, 101 + 2 * draw);
        gm_subspace_products(K, K, SIZE, u, v, product);
        gm_subspace_overlap(K, K, product, overlap);
        for (size_t k = 0; k < K; k++) {
            mean[k] += overlap[k] / DRAWS;
        }
        gm_free(u);
        gm_free(v);
    }
    for (size_t k = 1; k <= K; k++) {
        double expected = (double)k / SIZE;
        double error = sqrt(2 * expected * (1 - expected) / (SIZE + 2) / DRAWS);
        close_to(mean[k - 1], expected, 4 * error);
    }
}

/* --- share of a vector --- */

static void share_of_a_vector(void **state)
{
    (void)state;
    const double axes[] = {1, 0, 0, 0, 0, 1, 0, 0};
    const double x[] = {3e-200, 4e-200, 0, 12e-200}; /* squares underflow */
    double share[2] = {-1, -1};
    assert_true(gm_subspace_share(2, 4, axes, x, share));
    close_to(share[0], 9.0 / 169.0, 4 * EPS);
    close_to(share[1], 25.0 / 169.0, 4 * EPS);

    const double zero[4] = {0};
    share[0] = -1;
    assert_false(gm_subspace_share(2, 4, axes, zero, share));
    assert_true(share[0] == -1);
    const double broken[] = {1, (double)NAN, 0, 0};
    assert_false(gm_subspace_share(2, 4, axes, broken, share));
}

/* --- eigenpairs --- */

static void residuals_of_exact_and_wrong_pairs(void **state)
{
    (void)state;
    /* Eigenvalues 3 and 1 along (1, 1) and (1, -1). */
    const double a[] = {2, 1, 1, 2}, h = sqrt(0.5);
    const double vector[] = {h, h, h, -h, 1, 0};
    const double value[] = {3, 1.5, 2};
    double residual[3];
    gm_operator op;
    assert_int_equal(gm_operator_dense(2, a, &op, NULL), GM_OK);
    assert_int_equal(gm_eigen_residuals(&op, 3, value, vector, residual, NULL), GM_OK);
    close_to(residual[0], 0.0, 4 * EPS);
    close_to(residual[1], 0.5, 4 * EPS); /* the value is off by 0.5 */
    close_to(residual[2], 1.0, 4 * EPS); /* A e_1 = (2, 1), no eigenvector */
    assert_int_equal(op.products, 3);
    assert_int_equal(gm_eigen_residuals(&op, 0, NULL, NULL, NULL, NULL), GM_OK);
    gm_operator_destroy(&op);
}

static void repeated_eigenvalues_are_flagged(void **state)
{
    (void)state;
    const double value[] = {5, 5 - 1e-15, 3, 2, 0, 0}, residual[] = {1e-15, 1e-15, 0, 0, 0, 0};
    bool resolved[6];
    gm_eigen_resolved(6, 6, value, residual, 0.0, false, 6, resolved);
    const bool expected[] = {false, true, true, true, false, true};
    assert_memory_equal(resolved, expected, sizeof expected);

    /* A gap of 1 is no gap at residuals of 0.6, or above a floor of 1. */
    const double loose[] = {0, 0, 0.6, 0.6, 0, 0};
    gm_eigen_resolved(6, 6, value, loose, 0.0, false, 4, resolved);
    assert_true(resolved[1]);
    assert_false(resolved[2]);
    assert_true(resolved[3]);
    gm_eigen_resolved(6, 6, value, residual, 1.0, false, 4, resolved);
    assert_false(resolved[2]);

    /* The order by |value| of 3 and -3 is chance, though the eigenvalues are far apart. */
    const double mirrored[] = {3, -3, 1, -1, 0, 0};
    gm_eigen_resolved(6, 6, mirrored, residual, 0.0, true, 3, resolved);
    const bool by_magnitude[] = {false, true, false};
    assert_memory_equal(resolved, by_magnitude, sizeof by_magnitude);
    gm_eigen_resolved(6, 6, mirrored, residual, 0.0, false, 3, resolved);
    assert_true(resolved[0] && resolved[1] && resolved[2]);

    /* Three pairs of a Gram form in R^10: what follows the third is an exact zero. */
    gm_eigen_resolved(10, 3, value, residual, 1e-12, false, 3, resolved);
    assert_true(resolved[2]);
}

/* A matrix with a threefold eigenvalue: whichever basis LAPACK picks, the flags and the overlap of
 * the whole eigenspace do not depend on it. */
static void repeated_eigenvalue_of_a_matrix(void **state)
{
    (void)state;
    enum { SIZE = 20, K = 4 };
    const double spectrum[K] = {7, 2, 2, 2};
    double *q = random_basis(SIZE, SIZE, 8), a[SIZE * SIZE] = {0}, copy[SIZE * SIZE];
    for (size_t j = 0; j < K; j++) {
        for (size_t i = 0; i < SIZE * SIZE; i++) {
            a[i] += spectrum[j] * q[j * SIZE + i / SIZE] * q[j * SIZE + i % SIZE];
        }
    }
    memcpy(copy, a, sizeof a);
    double value[SIZE], vector[(K + 1) * SIZE], residual[K + 1], product[K * K], overlap[K];
    assert_int_equal(gm_symmetric_eigen(SIZE, copy, K + 1, 0, value, vector, NULL), GM_OK);
    gm_operator op;
    assert_int_equal(gm_operator_dense(SIZE, a, &op, NULL), GM_OK);
    assert_int_equal(gm_eigen_residuals(&op, K + 1, value, vector, residual, NULL), GM_OK);
    gm_operator_destroy(&op);
    gm_spectral_summary summary;
    gm_spectral_summarize(SIZE, value, 1e-3, EPS, 0, &summary);
    assert_int_equal(summary.rank, K);
    bool resolved[K];
    gm_eigen_resolved(SIZE, K + 1, value, residual, summary.floor, false, K, resolved);
    const bool expected[K] = {true, false, false, true};
    assert_memory_equal(resolved, expected, sizeof expected);
    gm_subspace_products(K, K, SIZE, vector, q, product);
    gm_subspace_overlap(K, K, product, overlap);
    close_to(overlap[0], 1.0, 100 * EPS);
    close_to(overlap[K - 1], 1.0, 100 * EPS);
    gm_free(q);
}

/* --- summary --- */

static void summary_of_a_known_spectrum(void **state)
{
    (void)state;
    const double value[] = {4, 2, 1, 0.5, 0.003, 0, -0.003, -1};
    gm_spectral_summary s;
    gm_spectral_summarize(8, value, 1e-3, EPS, 0, &s);
    close_to(s.trace, 6.5, 8 * EPS);
    close_to(s.frobenius, sqrt(22.25 + 2 * 9e-6), 8 * EPS);
    assert_true(s.max == 4 && s.min == -1 && s.scale == 4);
    assert_int_equal(s.rank, 7);
    assert_int_equal(s.positive_rank, 5);
    assert_int_equal(s.above, 4); /* 0.003 < 4e-3 */
    assert_int_equal(s.below, 1); /* -0.003 is above -4e-3 */
    close_to(s.effective_rank, 8.506 * 8.506 / (22.25 + 2 * 9e-6), 1e-14);
    gm_spectral_summarize(8, value, 0.0, EPS, 0, &s);
    assert_int_equal(s.below, 2);

    /* Negative definite: the cut is relative to the largest |lambda|, the least one. */
    const double negative[] = {-1e-6, -1, -10};
    gm_spectral_summarize(3, negative, 1e-3, EPS, 0, &s);
    assert_int_equal(s.above, 0);
    assert_int_equal(s.below, 2);
    assert_int_equal(s.outliers, 0);
    assert_true(s.scale == 10);

    const double zero[3] = {0};
    gm_spectral_summarize(3, zero, 1e-3, EPS, 0, &s);
    assert_int_equal(s.rank + s.above + s.below + s.outliers, 0);
    assert_true(s.effective_rank == 0 && s.trace == 0 && s.gap == 0);

    /* All eigenvalues equal: effective rank is the size, whatever the unit (squares of 1e-200
     * underflow). */
    const double tiny[] = {1e-200, 1e-200, 1e-200};
    gm_spectral_summarize(3, tiny, 1e-3, EPS, 0, &s);
    close_to(s.effective_rank, 3.0, 8 * EPS);
    close_to(s.frobenius / 1e-200, sqrt(3.0), 8 * EPS);
}

static size_t outliers(size_t size, const double *value, size_t limit, double *gap)
{
    gm_spectral_summary s;
    gm_spectral_summarize(size, value, 1e-3, EPS, limit, &s);
    *gap = s.gap;
    return s.outliers;
}

static void outliers_stand_off_the_bulk(void **state)
{
    (void)state;
    double gap;
    /* Nine outliers, then a bulk that decays and ends in exact zeros: the step into the zeros (a
     * factor of 12 down to the bulk level) must not win over the gap of 4. */
    double value[60] = {0};
    for (size_t i = 0; i < 9; i++) {
        value[i] = 1.0 - 0.1 * (double)i;
    }
    for (size_t i = 9; i < 20; i++) {
        value[i] = 0.05 * pow(0.88, (double)(i - 9));
    }
    assert_int_equal(outliers(60, value, 30, &gap), 9);
    close_to(gap, 0.2 / 0.05, 1e-14);

    /* Rounding noise in place of the zeros changes nothing. */
    for (size_t i = 20; i < 60; i++) {
        value[i] = (40.0 - (double)i) * 1e-17;
    }
    assert_int_equal(outliers(60, value, 30, &gap), 9);
    /* The gap is not looked for beyond the limit. */
    assert_int_equal(outliers(60, value, 8, &gap), 0);
    assert_true(gap < 2);

    /* Nothing but zeros behind: all are outliers, and so is a single one. */
    const double low_rank[] = {5, 4, 3, 0, 0, 0};
    assert_int_equal(outliers(6, low_rank, 30, &gap), 3);
    close_to(gap, 3 / 5e-3, 1e-10);
    const double single[] = {2, 0, 0};
    assert_int_equal(outliers(3, single, 30, &gap), 1);

    /* A spectrum without any gap has none. */
    for (size_t i = 0; i < 60; i++) {
        value[i] = pow(0.9, (double)i);
    }
    assert_int_equal(outliers(60, value, 30, &gap), 0);
    close_to(gap, 1 / 0.9, 1e-13);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(angles_from_tiny_to_right),
        cmocka_unit_test(angles_of_equal_and_orthogonal_spaces),
        cmocka_unit_test(angles_of_unequal_dimensions),
        cmocka_unit_test(overlap_against_its_definition),
        cmocka_unit_test(overlap_of_random_subspaces),
        cmocka_unit_test(share_of_a_vector),
        cmocka_unit_test(residuals_of_exact_and_wrong_pairs),
        cmocka_unit_test(repeated_eigenvalues_are_flagged),
        cmocka_unit_test(repeated_eigenvalue_of_a_matrix),
        cmocka_unit_test(summary_of_a_known_spectrum),
        cmocka_unit_test(outliers_stand_off_the_bulk),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "spectrum");
}
