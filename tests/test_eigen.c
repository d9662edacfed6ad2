/* Eigenpairs of operators whose spectrum is known by construction, from either solver; the traps
 * that other tools step into. */
#include "spectra.h"

/* The heap is told by glibc, unless a sanitizer has taken its place. */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HEAP_IS_TOLD
#include <malloc.h>
#endif

#include "kernels/kernels.h"
#include "kernels/lapack.h"

/* --- known spectra --- */

/* What fills a spectrum of p values. */
static void sevenfold(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] = i < 7 ? 4.0 : i < 10 ? 3.0 - 0.1 * (double)i : -1.0 + (double)i / (double)p;
    }
}
static void low_rank(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] = i < 8 ? 8.0 - (double)i : 1e-6 * sin((double)i);
    }
}
static void ill_conditioned(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] =
            i < 20 ? pow(10.0, -(double)i / 4.0) : pow(10.0, -5.0 - 7.0 * (double)i / (double)p);
    }
}

static void singular(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] = i == 0 ? 0.0 : 1.0 + (double)i / (double)p;
    }
}

static void every_spectrum_and_size(void **state)
{
    (void)state;
    static const struct {
        void (*fill)(size_t p, double *value);
        gm_which which;
        size_t k;
    } cases[] = {{clustered, GM_WHICH_LA, 6},         {sevenfold, GM_WHICH_LA, 10},
                 {mirrored, GM_WHICH_BE, 7},          {mirrored, GM_WHICH_LM, 4},
                 {mirrored, GM_WHICH_SA, 3},          {low_rank, GM_WHICH_LA, 8},
                 {low_rank, GM_WHICH_LM, 5},          {ill_conditioned, GM_WHICH_LA, 5},
                 {singular, GM_WHICH_SA, 1},          {one_small_negative, GM_WHICH_SA, 1},
                 {one_small_negative, GM_WHICH_BE, 2}};
    static const size_t sizes[] = {100, 1000, GM_TEST_SIZE(50000, 5000)};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (size_t s = 0; s < 3; s++) {
            for (size_t m = cases[c].fill == sevenfold ? 1 : 0; m < SOLVERS; m++) {
                known k;
                gm_operator op;
                gm_eigen r;
                gm_error err;
                known_make(sizes[s], &k, &op);
                cases[c].fill(k.p, k.value);
                gm_eigen_options options = asked(cases[c].which, cases[c].k, 1e-9);
                succeed(solve_with(m, &op, &options, &r, &err), &err);
                assert_int_equal(r.products, k.done);
                assert_int_equal(r.products, op.products);
                assert_int_equal(r.blocks, k.calls);
                assert_false(r.dense);
                check_pairs(&k, cases[c].which, &r, cases[c].k, 1e-9 * r.scale + 1e-13);
                gm_eigen_free(&r);
                known_free(&k);
            }
        }
    }
}

/* ARPACK's own threshold is absolute near zero: a spectrum in tiny units would pass for converged
 * at once. Powers of two change no digit. */
static void every_scale(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        double first[6] = {0};
        for (int e = -200; e <= 200; e += 200) {
            known k;
            gm_operator op;
            gm_eigen r;
            gm_error err;
            known_make(400, &k, &op);
            clustered(k.p, k.value);
            for (size_t i = 0; i < k.p; i++) {
                k.value[i] = ldexp(k.value[i], e);
            }
            gm_eigen_options options = asked(GM_WHICH_LA, 6, 1e-8);
            succeed(solve_with(m, &op, &options, &r, &err), &err);
            check_pairs(&k, GM_WHICH_LA, &r, 6, ldexp(1e-7, e));
            for (size_t j = 0; j < 6; j++) {
                if (e == -200) first[j] = ldexp(r.value[j], 200);
                near(ldexp(r.value[j], -e), first[j], 1e-12);
            }
            gm_eigen_free(&r);
            known_free(&k);
        }
    }
}

static void zero_and_rank_one(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        for (int rank = 0; rank < 2; rank++) {
            known k;
            gm_operator op;
            gm_eigen r;
            gm_error err;
            known_make(300, &k, &op);
            if (rank == 1) k.value[7] = 3.0;
            gm_eigen_options options = asked(GM_WHICH_LM, rank == 0 ? 5 : 1, 1e-10);
            succeed(solve_with(m, &op, &options, &r, &err), &err);
            check_pairs(&k, GM_WHICH_LM, &r, options.k, rank == 0 ? 0.0 : 3e-10);
            gm_eigen_free(&r);
            known_free(&k);
        }
    }
}

/* --- dense comparisons of other tools' tests, tighter --- */

/* A^T A / n + shift I with A [n, n] standard normal; values by LAPACK, descending. */
static double *wishart(size_t n, double shift, double *value)
{
    double *a = numbers(n * n), *w = numbers(n * n), *copy = numbers(n * n);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, (uint32_t)n), 0, n * n, a);
    gm_kernels_get(GM_F64)->gemm(true, false, n, n, n, 1.0 / (double)n, a, n, a, n, 0.0, w, n);
    for (size_t i = 0; i < n; i++) {
        w[i * n + i] += shift;
    }
    memcpy(copy, w, n * n * sizeof *w);
    assert_int_equal(gm_symmetric_eigen(n, copy, 0, 0, value, NULL, NULL), GM_OK);
    gm_free(a);
    gm_free(copy);
    return w;
}

static void wishart_matrices(void **state)
{
    (void)state;
    static const struct {
        size_t n, k, basis;
        double shift;
        gm_which which;
    } cases[] = {{40, 5, 30, 0.0, GM_WHICH_LM},  {40, 4, 30, -0.5, GM_WHICH_LA},
                 {60, 3, 40, -0.5, GM_WHICH_SA}, {40, 1, 20, 0.0, GM_WHICH_LA},
                 {50, 5, 0, 0.0, GM_WHICH_LM},   {10, 2, 0, 0.0, GM_WHICH_BE},
                 {15, 2, 0, 0.0, GM_WHICH_BE},   {30, 29, 0, -0.5, GM_WHICH_LM},
                 {30, 30, 0, 0.0, GM_WHICH_SA},  {200, 40, 0, 0.0, GM_WHICH_LA}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t n = cases[c].n, count = cases[c].k;
        known truth = {.p = n, .value = numbers(n)};
        double *expected = numbers(count);
        double *w = wishart(n, cases[c].shift, truth.value);
        known_extreme(&truth, cases[c].which, count, expected);
        for (size_t m = 0; m < SOLVERS; m++) {
            gm_operator op;
            gm_eigen r, again;
            gm_error err;
            succeed(gm_operator_dense(n, w, &op, &err), &err);
            gm_eigen_options options = asked(cases[c].which, count, 1e-11);
            options.basis = cases[c].basis;
            succeed(solve_with(m, &op, &options, &r, &err), &err);
            assert_int_equal(r.converged_count, count);
            /* The others ask for 1e-5 of each value, here 1e-10 of the largest (at most 4). */
            for (size_t j = 0; j < count; j++) {
                near(r.value[j], expected[j], 4e-10);
            }
            if (count + 1 >= n) {
                assert_true(r.dense);
                assert_int_equal(r.products, n);
            }
            succeed(solve_with(m, &op, &options, &again, &err), &err);
            assert_memory_equal(r.value, again.value, count * sizeof *r.value);
            assert_memory_equal(r.vector, again.vector, count * n * sizeof *r.vector);
            gm_eigen_free(&r);
            gm_eigen_free(&again);
            gm_operator_destroy(&op);
        }
        gm_free(w);
        gm_free(truth.value);
        gm_free(expected);
    }
}

static void ends_of_tiny_diagonals(void **state)
{
    (void)state;
    static const double diagonal[][5] = {{1, 2, 3, 4, 5}, {-2, -1, 3, 4, 5}, {1, 2, 3, 3, 3}};
    for (size_t c = 0; c < 3; c++) {
        double a[25] = {0};
        for (size_t i = 0; i < 5; i++) {
            a[6 * i] = diagonal[c][i];
        }
        for (size_t m = 0; m < SOLVERS; m++) {
            gm_operator op;
            gm_eigen r;
            gm_error err;
            succeed(gm_operator_dense(5, a, &op, &err), &err);
            gm_eigen_options options = asked(GM_WHICH_BE, 2, 1e-12);
            succeed(solve_with(m, &op, &options, &r, &err), &err);
            near(r.value[0], diagonal[c][4], 1e-12);
            near(r.value[1], diagonal[c][0], 1e-12);
            gm_eigen_free(&r);
            gm_operator_destroy(&op);
        }
    }
}

/* --- traps --- */

/* A rule that watches the change of the eigenvalue stops at .985 on the first spectrum and at the
 * start vector's accident, 0.38 say, on the second. A Rayleigh quotient taken off the vector that
 * was iterated is off by the momentum; a norm in its place loses the sign. */
static void slow_change_is_no_convergence(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        known k;
        gm_operator op;
        gm_eigen r;
        gm_error err;
        known_make(300, &k, &op);
        for (size_t i = 0; i < k.p; i++) {
            k.value[i] = i < 5 ? 1.0 - 0.02 * (double)i : 0.9 * (double)i / (double)k.p;
        }
        gm_eigen_options options = asked(GM_WHICH_LM, 5, 1e-6);
        succeed(solve_with(m, &op, &options, &r, &err), &err);
        check_pairs(&k, GM_WHICH_LM, &r, 5, 1e-6);
        gm_eigen_free(&r);

        k.value[1] = -0.999;
        k.value[2] = -3.5768;
        for (size_t count = 1; count <= 3; count++) {
            options = asked(GM_WHICH_LM, count, 1e-6);
            succeed(solve_with(m, &op, &options, &r, &err), &err);
            check_pairs(&k, GM_WHICH_LM, &r, count, 4e-6);
            near(r.value[count - 1], -3.5768, 4e-6);
            gm_eigen_free(&r);
        }
        known_free(&k);
    }
}

/* Without full reorthogonalization the outliers come back several times, all flagged converged:
 * check_pairs asks for orthonormal vectors and the right number of copies, one each. */
static void many_pairs_stay_orthogonal(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        known k;
        gm_operator op;
        gm_eigen r;
        gm_error err;
        known_make(800, &k, &op);
        for (size_t i = 0; i < k.p; i++) {
            k.value[i] = i == 0   ? 100.0
                         : i == 1 ? 60.0
                         : i < 40 ? 30.0 - 0.5 * (double)i
                                  : 1e-3 * (double)i / (double)k.p;
        }
        gm_eigen_options options = asked(GM_WHICH_LA, 40, 1e-9);
        succeed(solve_with(m, &op, &options, &r, &err), &err);
        check_pairs(&k, GM_WHICH_LA, &r, 40, 1e-7);
        gm_eigen_free(&r);
        known_free(&k);
    }
}

/* Both ends, very unequal in size and equal. */
static void both_ends(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        for (int equal = 0; equal < 2; equal++) {
            known k;
            gm_operator op;
            gm_eigen r;
            gm_error err;
            known_make(1500, &k, &op);
            one_small_negative(k.p, k.value);
            if (equal) k.value[0] = -14.0; /* the top is 14 */
            gm_eigen_options options = asked(GM_WHICH_BE, 2, 1e-8);
            succeed(solve_with(m, &op, &options, &r, &err), &err);
            check_pairs(&k, GM_WHICH_BE, &r, 2, 1.4e-7);
            near(r.value[0], 14.0, 1.4e-7);
            near(r.value[1], equal ? -14.0 : -0.012, 1.4e-7);
            gm_eigen_free(&r);
            known_free(&k);
        }
    }
}

#ifdef HEAP_IS_TOLD
static double heap(void)
{
    struct mallinfo2 now = mallinfo2();
    return (double)now.uordblks + (double)now.hblkhd;
}

static gm_status watch_heap(known *k, gm_error *err)
{
    (void)err;
    k->watermark = fmax(k->watermark, heap());
    return GM_OK;
}

/* Keeping every Krylov vector would take `products` vectors. */
static void memory_stays_within_the_basis(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        known k;
        gm_operator op;
        gm_eigen r;
        gm_error err;
        known_make(20000, &k, &op);
        for (size_t i = 0; i < k.p; i++) {
            double x = (double)i / (double)k.p;
            k.value[i] = i < 2 ? 1.005 + 0.005 * (double)i : x;
        }
        k.inside = watch_heap;
        double before = heap();
        gm_eigen_options options = asked(GM_WHICH_LA, 2, 1e-8);
        options.spare = 80 * k.p * sizeof(double);
        succeed(solve_with(m, &op, &options, &r, &err), &err);
        check_pairs(&k, GM_WHICH_LA, &r, 2, 2e-8);
        /* 80 + 6 + 2 x 2 vectors of ARPACK; 2 x 26 + 6 of the block method. What is told in
         * advance covers it, and not much more. */
        double most = (double)(m == 0 ? gm_eigen_bytes(k.p, &options)
                                      : gm_eigen_track_bytes(k.p, &options, 0));
        double vectors = (k.watermark - before) / (8.0 * (double)k.p);
        assert_true(vectors < (m == 0 ? 92.0 : 60.0));
        assert_in_range((k.watermark - before) / 1e3, 0.8 * most / 1e3, most / 1e3);
        assert_true(r.products > 90);
        gm_eigen_free(&r);
        known_free(&k);
    }
}
#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spectrum_and_size),
        cmocka_unit_test(every_scale),
        cmocka_unit_test(zero_and_rank_one),
        cmocka_unit_test(wishart_matrices),
        cmocka_unit_test(ends_of_tiny_diagonals),
        cmocka_unit_test(slow_change_is_no_convergence),
        cmocka_unit_test(many_pairs_stay_orthogonal),
        cmocka_unit_test(both_ends),
#ifdef HEAP_IS_TOLD
        cmocka_unit_test(memory_stays_within_the_basis),
#endif
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "eigen");
}
