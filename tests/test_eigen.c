/* Eigenpairs of operators whose spectrum is known by construction, from either solver; the traps
 * that other tools step into. */
#include "spectra.h"

#include <pthread.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "kernels/kernels.h"
#include "kernels/lapack.h"

typedef gm_status solver(gm_operator *op, const gm_eigen_options *options, gm_eigen *result,
                         gm_error *err);

static gm_status by_blocks(gm_operator *op, const gm_eigen_options *options, gm_eigen *result,
                           gm_error *err)
{
    return gm_eigen_track(op, options, 0, NULL, result, err);
}

static solver *const solvers[] = {gm_eigenpairs, by_blocks};
enum { SOLVERS = 2 };

static gm_eigen_options asked(gm_which which, size_t k, double tol)
{
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.which = which;
    options.k = k;
    options.tol = tol;
    return options;
}

static void succeed(gm_status status, const gm_error *err)
{
    if (status != GM_OK) fail_msg("%s", err->message);
}

/* --- known spectra --- */

/* What fills a spectrum of p values. */
static void clustered(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] = i < 3 ? 10.0 + 0.01 * (double)i : i < 6 ? 5.0 : (double)i / (double)p;
    }
}
static void sevenfold(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] = i < 7 ? 4.0 : i < 10 ? 3.0 - 0.1 * (double)i : -1.0 + (double)i / (double)p;
    }
}
static void mirrored(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        double size = i < 12 ? 20.0 - (double)(i / 2) : (double)(i / 2) / (double)p;
        value[i] = i % 2 == 0 ? size : -size;
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
static void one_small_negative(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] = i == 0 ? -0.012 : i < 5 ? 10.0 + (double)i : 1e-3 * (double)i / (double)p;
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
    static const size_t sizes[] = {100, 1000, 100000};
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
                succeed(solvers[m](&op, &options, &r, &err), &err);
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
            succeed(solvers[m](&op, &options, &r, &err), &err);
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
            succeed(solvers[m](&op, &options, &r, &err), &err);
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
            succeed(solvers[m](&op, &options, &r, &err), &err);
            assert_int_equal(r.converged_count, count);
            /* The others ask for 1e-5 of each value, here 1e-10 of the largest (at most 4). */
            for (size_t j = 0; j < count; j++) {
                near(r.value[j], expected[j], 4e-10);
            }
            if (count + 1 >= n) {
                assert_true(r.dense);
                assert_int_equal(r.products, n);
            }
            succeed(solvers[m](&op, &options, &again, &err), &err);
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
            succeed(solvers[m](&op, &options, &r, &err), &err);
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
        succeed(solvers[m](&op, &options, &r, &err), &err);
        check_pairs(&k, GM_WHICH_LM, &r, 5, 1e-6);
        gm_eigen_free(&r);

        k.value[1] = -0.999;
        k.value[2] = -3.5768;
        for (size_t count = 1; count <= 3; count++) {
            options = asked(GM_WHICH_LM, count, 1e-6);
            succeed(solvers[m](&op, &options, &r, &err), &err);
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
        succeed(solvers[m](&op, &options, &r, &err), &err);
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
            succeed(solvers[m](&op, &options, &r, &err), &err);
            check_pairs(&k, GM_WHICH_BE, &r, 2, 1.4e-7);
            near(r.value[0], 14.0, 1.4e-7);
            near(r.value[1], equal ? -14.0 : -0.012, 1.4e-7);
            gm_eigen_free(&r);
            known_free(&k);
        }
    }
}

#ifdef __GLIBC__
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
            k.value[i] = i < 2 ? 1.02 + 0.02 * (double)i : x;
        }
        k.inside = watch_heap;
        double before = heap();
        gm_eigen_options options = asked(GM_WHICH_LA, 2, 1e-8);
        succeed(solvers[m](&op, &options, &r, &err), &err);
        check_pairs(&k, GM_WHICH_LA, &r, 2, 2e-8);
        /* 20 + 2 + 8 vectors of ARPACK; 2 x 26 + 6 of the block method. */
        double vectors = (k.watermark - before) / (8.0 * (double)k.p);
        assert_true(vectors < 60.0);
        assert_true(r.products > 90);
        gm_eigen_free(&r);
        known_free(&k);
    }
}
#endif

/* --- noise, limits, counts --- */

static void float_products(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        known k;
        gm_operator op;
        gm_eigen r;
        gm_error err;
        known_make(5000, &k, &op);
        clustered(k.p, k.value);
        k.value[9] = -0.5;
        k.rounded = true;
        op.precision = GM_F32;
        gm_eigen_options options = asked(GM_WHICH_BE, 2, 2e-6);
        succeed(solvers[m](&op, &options, &r, &err), &err);
        check_pairs(&k, GM_WHICH_BE, &r, 2, 2e-5);
        near(r.floor, 9.5367431640625e-7, 0.0);
        gm_eigen_free(&r);
        /* Below the floor: refused, with the floor, before any product. */
        options.tol = 5e-7;
        k.done = 0;
        assert_int_equal(solvers[m](&op, &options, &r, &err), GM_ERR_USAGE);
        assert_non_null(strstr(err.message, "noise floor 9.5e-07"));
        assert_int_equal(k.done, 0);
        op.precision = GM_F64;
        options.tol = 1e-15;
        assert_int_equal(solvers[m](&op, &options, &r, &err), GM_ERR_USAGE);
        assert_non_null(strstr(err.message, "noise floor 3.6e-15"));
        known_free(&k);
    }
}

/* Products that are noisier than they claim: the solver's own estimate of the residuals falls below
 * any tolerance, the true ones stay at the noise, 3e-5 of the largest eigenvalue. */
static void noise_beyond_the_tolerance_is_admitted(void **state)
{
    (void)state;
    known k;
    gm_operator op;
    gm_eigen r;
    gm_error err;
    known_make(2000, &k, &op);
    clustered(k.p, k.value);
    k.grain = 2e-5;
    op.precision = GM_F32;
    gm_eigen_options options = asked(GM_WHICH_LA, 3, 1e-6);
    succeed(gm_eigenpairs(&op, &options, &r, &err), &err);
    assert_int_equal(r.stop, GM_EIGEN_STALLED);
    assert_int_equal(r.converged_count, 0);
    for (size_t j = 0; j < r.count; j++) {
        assert_false(r.converged[j]);
        assert_true(r.residual[j] > 1e-6 * r.scale);
    }
    gm_eigen_free(&r);
    known_free(&k);
}

/* Products as few as those of the usual driver of ARPACK (2 k + 1 Krylov vectors, the same start
 * and tolerance), but for the one of the symmetry check and the k of the true residuals. Counted
 * with ARPACK-NG 3.8, for both spectra: 22. */
static void as_few_products_as_arpack_needs(void **state)
{
    (void)state;
    for (int spectrum = 0; spectrum < 2; spectrum++) {
        known k;
        gm_operator op;
        gm_eigen r;
        gm_error err;
        known_make(20000, &k, &op);
        for (size_t i = 0; i < k.p; i++) {
            double x = (double)i / (double)k.p;
            if (spectrum == 0)
                k.value[i] = i < 10 ? 12.0 - (double)i : x;
            else
                k.value[i] = i < 30 ? 3.0 * exp(-0.2 * (double)i) : 1e-3 * x;
        }
        gm_eigen_options options = asked(GM_WHICH_LA, 10, 1e-4);
        succeed(gm_eigenpairs(&op, &options, &r, &err), &err);
        check_pairs(&k, GM_WHICH_LA, &r, 10, 1.2e-3);
        assert_true(r.products <= 22 + 1 + 10);
        gm_eigen_free(&r);
        known_free(&k);
    }
}

static void limited_products(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        bool some = false, all = false;
        for (size_t limit = 1; limit < 400; limit += limit < 40 ? 1 : 23) {
            known k;
            gm_operator op;
            gm_eigen r;
            gm_error err;
            known_make(500, &k, &op);
            for (size_t i = 0; i < k.p; i++) {
                k.value[i] = i == 0 ? 50.0 : i < 6 ? 2.0 - 0.1 * (double)i : (double)i / 500.0;
            }
            gm_eigen_options options = asked(GM_WHICH_LA, 4, 1e-5);
            options.max_products = limit;
            succeed(solvers[m](&op, &options, &r, &err), &err);
            assert_int_equal(r.products, k.done);
            assert_true(k.done <= limit);
            assert_int_equal(r.stop == GM_EIGEN_CONVERGED, r.converged_count == 4);
            if (r.converged_count < 4) assert_int_equal(r.stop, GM_EIGEN_PRODUCTS);
            for (size_t j = 0; j < r.count; j++) {
                assert_int_equal(r.converged[j], r.residual[j] <= 1e-5 * r.scale);
                if (j == 0 && r.converged[0]) near(r.value[0], 50.0, 5e-4);
            }
            some = some || (r.converged_count > 0 && r.converged_count < 4);
            all = all || r.converged_count == 4;
            gm_eigen_free(&r);
            known_free(&k);
        }
        assert_true(some && all);
    }
}

/* --- bad operators and arguments --- */

static void refusals(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        known k;
        gm_operator op;
        gm_eigen r;
        gm_error err;
        known_make(200, &k, &op);
        clustered(k.p, k.value);
        const struct {
            size_t count, basis;
            double tol;
            const char *says;
        } bad[] = {{0, 0, 1e-4, "k: found 0"},        {201, 0, 1e-4, "expected 1 ... 200"},
                   {3, 0, 0.0, "tol: found 0"},       {3, 0, -1.0, "tol: found -1"},
                   {3, 0, 1.5, "tol: found 1.5"},     {3, 0, (double)NAN, "tol: found"},
                   {30, 30, 1e-4, "more than k = 30"}};
        for (size_t c = 0; c < sizeof bad / sizeof *bad; c++) {
            gm_eigen_options options = asked(GM_WHICH_LA, bad[c].count, bad[c].tol);
            options.basis = bad[c].basis;
            assert_int_equal(solvers[m](&op, &options, &r, &err), GM_ERR_USAGE);
            assert_non_null(strstr(err.message, bad[c].says));
            assert_null(r.value);
        }
        assert_int_equal(k.done, 0);

        gm_eigen_options options = asked(GM_WHICH_LA, 4, 1e-4);
        k.bad = 11; /* the residuals' block and the solver's alike can be the one */
        assert_int_equal(solvers[m](&op, &options, &r, &err), GM_ERR_NUMERIC);
        assert_non_null(strstr(err.message, "product"));
        assert_non_null(strstr(err.message, "not finite"));
        assert_null(r.value);
        known_free(&k);
    }
}

/* Refused by its size, before any memory is asked for. */
static void sizes_beyond_32_bits(void **state)
{
    (void)state;
    gm_operator op = {
        .size = (size_t)1 << 30, .precision = GM_F64, .name = "huge", .apply = known_apply};
    gm_eigen_options options = asked(GM_WHICH_LA, 2, 1e-4);
    gm_eigen r;
    gm_error err;
    assert_int_equal(gm_eigenpairs(&op, &options, &r, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "32-bit"));
    op.size = 1000000;
    options.k = 50000; /* its workspace of (2 k + 1)^2 numbers is the one that does not fit */
    assert_int_equal(gm_eigenpairs(&op, &options, &r, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "32-bit"));
}

static void asymmetric_operators(void **state)
{
    (void)state;
    for (size_t m = 0; m < SOLVERS; m++) {
        for (size_t count = 3; count < 300; count += 296) { /* the second is the dense way */
            for (int precision = GM_F32; precision <= GM_F64; precision++) {
                known k;
                gm_operator op;
                gm_eigen r;
                gm_error err;
                known_make(300, &k, &op);
                clustered(k.p, k.value);
                op.precision = (gm_dtype)precision;
                k.rounded = precision == GM_F32;
                k.skew = precision == GM_F32 ? 1.0 : 1e-6;
                gm_eigen_options options = asked(GM_WHICH_LA, count, 1e-4);
                assert_int_equal(solvers[m](&op, &options, &r, &err), GM_ERR_INPUT);
                assert_non_null(strstr(err.message, "not symmetric"));
                k.skew = 0.0;
                succeed(solvers[m](&op, &options, &r, &err), &err);
                gm_eigen_free(&r);
                known_free(&k);
            }
        }
    }
}

static gm_status nested(known *k, gm_error *err)
{
    gm_operator op = {
        .size = k->p, .precision = GM_F64, .name = "inner", .self = k, .apply = known_apply};
    gm_eigen_options options = asked(GM_WHICH_LA, 2, 1e-4);
    gm_eigen r;
    k->inside = NULL;
    gm_status status = gm_eigenpairs(&op, &options, &r, err);
    gm_eigen_free(&r);
    return status;
}

static void nested_eigenproblem(void **state)
{
    (void)state;
    known k;
    gm_operator op;
    gm_eigen r;
    gm_error err;
    known_make(300, &k, &op);
    clustered(k.p, k.value);
    k.inside = nested;
    gm_eigen_options options = asked(GM_WHICH_LA, 2, 1e-4);
    assert_int_equal(gm_eigenpairs(&op, &options, &r, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "from within a product"));
    /* The lock is free again. */
    succeed(gm_eigenpairs(&op, &options, &r, &err), &err);
    check_pairs(&k, GM_WHICH_LA, &r, 2, 1e-3);
    gm_eigen_free(&r);
    known_free(&k);
}

typedef struct task {
    size_t p;
    double values[6];
    gm_status status;
} task;

static void *work(void *argument)
{
    task *t = argument;
    known k;
    gm_operator op;
    known_make(t->p, &k, &op);
    clustered(k.p, k.value);
    for (int round = 0; round < 10 && t->status == GM_OK; round++) {
        gm_eigen r;
        gm_eigen_options options = asked(GM_WHICH_LA, 6, 1e-10);
        t->status = gm_eigenpairs(&op, &options, &r, NULL);
        if (t->status == GM_OK && r.converged_count < 6) t->status = GM_ERR_NUMERIC;
        for (size_t j = 0; t->status == GM_OK && j < 6; j++) {
            t->values[j] = r.value[j];
        }
        gm_eigen_free(&r);
    }
    known_free(&k);
    return NULL;
}

static void two_threads(void **state)
{
    (void)state;
    task tasks[2] = {{.p = 300}, {.p = 700}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, &tasks[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    const double expected[6] = {10.02, 10.01, 10.0, 5.0, 5.0, 5.0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tasks[i].status, GM_OK);
        for (int j = 0; j < 6; j++) {
            near(tasks[i].values[j], expected[j], 1e-8);
        }
    }
}

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
#ifdef __GLIBC__
        cmocka_unit_test(memory_stays_within_the_basis),
#endif
        cmocka_unit_test(float_products),
        cmocka_unit_test(noise_beyond_the_tolerance_is_admitted),
        cmocka_unit_test(as_few_products_as_arpack_needs),
        cmocka_unit_test(limited_products),
        cmocka_unit_test(refusals),
        cmocka_unit_test(sizes_beyond_32_bits),
        cmocka_unit_test(asymmetric_operators),
        cmocka_unit_test(nested_eigenproblem),
        cmocka_unit_test(two_threads),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "eigen");
}
