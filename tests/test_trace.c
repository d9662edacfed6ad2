/* Traces, Frobenius norms and diagonals against matrices whose answers are known, and against the
 * estimators' definitions computed the slow way. */
#include "support.h"

#include <float.h>

#include "gradiometer/estimate.h"
#include "known_operator.h"

static gm_estimate_options with(size_t products, double rel_error, uint64_t seed)
{
    gm_estimate_options options;
    gm_estimate_options_default(&options);
    options.max_products = products;
    options.rel_error = rel_error;
    options.seed = seed;
    return options;
}

static gm_trace_result trace_of(size_t n, const double *a, gm_trace_method method, size_t products,
                                double rel_error, uint64_t seed)
{
    gm_operator op = dense_operator(n, a);
    gm_estimate_options options = with(products, rel_error, seed);
    gm_trace_result result;
    gm_error err;
    if (gm_trace_estimate(&op, method, &options, &result, &err) != GM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(result.products, op.products);
    assert_true(result.products <= products);
    gm_operator_destroy(&op);
    return result;
}

static gm_diagonal_result diagonal_of(size_t n, const double *a, gm_diagonal_method method,
                                      size_t products, uint64_t seed, double *value,
                                      double *std_error)
{
    gm_operator op = dense_operator(n, a);
    gm_estimate_options options = with(products, 0, seed);
    gm_diagonal_result result;
    gm_error err;
    if (gm_diagonal_estimate(&op, method, &options, value, std_error, &result, &err) != GM_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(result.products, op.products);
    gm_operator_destroy(&op);
    return result;
}

static double trace_norm(size_t n, const double *a, double *frobenius)
{
    double trace = 0, squares = 0;
    for (size_t i = 0; i < n * n; i++) {
        if (i / n == i % n) trace += a[i];
        squares += a[i] * a[i];
    }
    *frobenius = sqrt(squares);
    return trace;
}

/* --- exact cases --- */

/* Signs square to 1: no variance for a diagonal matrix. */
static void hutchinson_is_exact_on_diagonals(void **state)
{
    (void)state;
    enum { N = 40 };
    double *a = new_numbers(N * N), value[N], error[N], sum = 0;
    for (size_t i = 0; i < N; i++) {
        a[i * N + i] = (double)i - 12.5;
        sum += a[i * N + i];
    }
    gm_trace_result t = trace_of(N, a, GM_TRACE_HUTCHINSON, 7, 0, 1);
    near(t.trace.value, sum, 1e-12);
    near(t.trace.std_error, 0, 1e-12);
    gm_diagonal_result d = diagonal_of(N, a, GM_DIAGONAL_HUTCHINSON, 5, 1, value, error);
    assert_int_equal(d.products, 5);
    for (size_t i = 0; i < N; i++) {
        near(value[i], a[i * N + i], 0);
        near(error[i], 0, 0);
    }
    gm_free(a);
}

/* The range is exhausted after `rank` images: known from one probe more, then exact. */
static void check_low_rank(size_t n, size_t rank, const double *a)
{
    double value[64], error[64], frobenius, trace = trace_norm(n, a, &frobenius);
    for (int m = 0; m < 2; m++) {
        gm_trace_method method = m ? GM_TRACE_XTRACE : GM_TRACE_HUTCHPP;
        gm_trace_result t = trace_of(n, a, method, 30, 0, 3);
        assert_true(t.exact && t.exhausted && t.converged);
        near(t.trace.value, trace, 1e-12 * frobenius);
        near(t.frobenius.value, frobenius, 1e-12 * frobenius);
        assert_true(t.trace.std_error == 0 && t.trace.half_width == 0);
        assert_int_equal(t.products, (m ? 15 : 10) + rank);
        t = trace_of(n, a, method, 300, 1e-9, 3);
        assert_true(t.exact && t.converged);
        assert_int_equal(t.products, 8 + rank); /* the first round suffices */
    }
    gm_diagonal_result d = diagonal_of(n, a, GM_DIAGONAL_XDIAG, 30, 3, value, error);
    assert_true(d.exact && d.exhausted && d.half_width == 0);
    for (size_t i = 0; i < n; i++) {
        near(value[i], a[i * n + i], 1e-12 * frobenius);
        assert_true(error[i] == 0);
    }
}

static void low_ranks_are_exact(void **state)
{
    (void)state;
    enum { N = 50 };
    double lambda[N] = {0}, *zero = new_numbers(N * N);
    check_low_rank(N, 0, zero);
    gm_trace_result t = trace_of(N, zero, GM_TRACE_HUTCHINSON, 300, 0.01, 3);
    assert_true(t.converged && t.trace.value == 0 && t.trace.std_error == 0);
    lambda[0] = 3;
    double *one = rotated(N, lambda, 1, NULL);
    check_low_rank(N, 1, one);
    lambda[1] = -2;
    lambda[2] = 1e-4;
    double *three = rotated(N, lambda, 2, NULL);
    check_low_rank(N, 3, three);
    gm_free(zero);
    gm_free(one);
    gm_free(three);
}

/* An operator that acts on two coordinates only: among eight vectors of mere signs some images
 * would be equal or opposite and pass for an exhausted range; (1, 1) and (1, -1) of a rank-one
 * matrix would be taken for zero. Ours must be right for every seed. */
static void few_coordinates_are_no_exhausted_range(void **state)
{
    (void)state;
    enum { N = 20 };
    double *a = new_numbers(N * N), *b = new_numbers(N * N), value[N], error[N];
    a[0] = a[N + 1] = 1;
    b[0] = b[1] = b[N] = b[N + 1] = 0.5;
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (int m = 0; m < 2; m++) {
            gm_trace_method method = m ? GM_TRACE_XTRACE : GM_TRACE_HUTCHPP;
            near(trace_of(N, a, method, 24, 0, seed).trace.value, 2, 1e-13);
            near(trace_of(N, b, method, 24, 0, seed).trace.value, 1, 1e-13);
        }
        gm_diagonal_result d = diagonal_of(N, a, GM_DIAGONAL_XDIAG, 16, seed, value, error);
        assert_true(d.exact);
        near(value[0], 1, 1e-13);
        near(value[1], 1, 1e-13);
    }
    gm_free(a);
    gm_free(b);
}

/* As many probes as coordinates: the whole space. */
static void full_bases_are_exact(void **state)
{
    (void)state;
    enum { N = 15 };
    double *a = new_numbers(N * N), value[N], error[N], frobenius;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j <= i; j++) {
            a[i * N + j] = a[j * N + i] =
                gm_uniform(gm_stream_of(2, GM_PURPOSE_TEST, 1), i * N + j);
        }
    }
    double trace = trace_norm(N, a, &frobenius);
    for (int m = 0; m < 2; m++) {
        gm_trace_result t = trace_of(N, a, m ? GM_TRACE_XTRACE : GM_TRACE_HUTCHPP, 100, 0, 4);
        assert_true(t.exact && !t.exhausted);
        near(t.trace.value, trace, 1e-13 * frobenius);
        near(t.frobenius.value, frobenius, 1e-13 * frobenius);
    }
    assert_true(diagonal_of(N, a, GM_DIAGONAL_XDIAG, 100, 4, value, error).exact);
    for (size_t i = 0; i < N; i++) {
        near(value[i], a[i * N + i], 1e-12);
    }
    gm_free(a);
}

/* --- against the definitions --- */

/* The probes as the header documents them. */
static void sphere_probe(uint64_t seed, size_t j, size_t n, double *v)
{
    double squares = 0;
    gm_normal_fill(gm_stream_of(seed, GM_PURPOSE_PROBE, 0), j * n, n, v);
    for (size_t i = 0; i < n; i++) {
        squares += v[i] * v[i];
    }
    for (size_t i = 0; i < n; i++) {
        v[i] *= sqrt((double)n / squares);
    }
}

static void rough_probe(uint64_t seed, size_t j, size_t n, double *v)
{
    gm_stream stream = gm_stream_of(seed, GM_PURPOSE_PROBE, 0);
    for (size_t i = 0; i < n; i++) {
        v[i] = gm_rademacher(stream, (UINT64_C(1) << 63) + j * n + i) *
               (0.9 + 0.2 * gm_uniform(stream, j * n + i));
    }
}

static void multiply(size_t n, const double *a, const double *v, double *av)
{
    for (size_t i = 0; i < n; i++) {
        av[i] = 0;
        for (size_t l = 0; l < n; l++) {
            av[i] += a[i * n + l] * v[l];
        }
    }
}

static double inner(size_t n, const double *x, const double *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* v -= Q Q^T v, rows of q [k, n]. */
static void remove_basis(size_t k, size_t n, const double *q, double *v)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t a = 0; a < k; a++) {
            double c = inner(n, q + a * n, v);
            for (size_t i = 0; i < n; i++) {
                v[i] -= c * q[a * n + i];
            }
        }
    }
}

/* Basis of the images of all probes but `left`. */
static double *basis_without(size_t k, size_t left, size_t n, const double *a, const double *omega)
{
    double *q = new_numbers((k - 1) * n);
    for (size_t j = 0, row = 0; j < k; j++) {
        if (j != left) multiply(n, a, omega + j * n, q + n * row++);
    }
    assert_int_equal(gm_orthonormalize(k - 1, n, q, NULL, NULL), GM_OK);
    return q;
}

/* each [k]: the terms of XTrace on the given probes; returns their mean. */
static double plain_xtrace(size_t n, size_t k, const double *a, const double *omega, double *each)
{
    double *v = new_numbers(n), *av = new_numbers(n), mean = 0;
    for (size_t i = 0; i < k; i++) {
        double *q = basis_without(k, i, n, a, omega);
        each[i] = 0;
        for (size_t b = 0; b < k - 1; b++) {
            multiply(n, a, q + b * n, av);
            each[i] += inner(n, q + b * n, av);
        }
        memcpy(v, omega + i * n, n * sizeof *v);
        remove_basis(k - 1, n, q, v);
        multiply(n, a, v, av);
        each[i] += (double)(n - k + 1) * inner(n, v, av) / inner(n, v, v);
        mean += each[i] / (double)k;
        gm_free(q);
    }
    gm_free(v);
    gm_free(av);
    return mean;
}

static double sum_of_squares(size_t k, const double *x)
{
    double mean = 0, squares = 0;
    for (size_t i = 0; i < k; i++) {
        mean += x[i] / (double)k;
    }
    for (size_t i = 0; i < k; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
    }
    return squares;
}

static void xtrace_is_its_definition(void **state)
{
    (void)state;
    enum { N = 50, K = 12 };
    double lambda[N], omega[K * N], rest[K * N], each[K], without[K], unused[K];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = (i % 3 ? 1.0 : -0.5) / (double)(i + 1);
    }
    double *a = rotated(N, lambda, 5, NULL);
    for (uint64_t seed = 0; seed < 5; seed++) {
        for (size_t j = 0; j < K; j++) {
            sphere_probe(seed, j, N, omega + j * N);
        }
        double mean = plain_xtrace(N, K, a, omega, each);
        for (size_t j = 0; j < K; j++) {
            memcpy(rest, omega, j * N * sizeof *rest);
            memcpy(rest + j * N, omega + (j + 1) * N, (K - 1 - j) * N * sizeof *rest);
            without[j] = plain_xtrace(N, K - 1, a, rest, unused);
        }
        double scatter = sum_of_squares(K, each) / (K * (K - 1));
        double jackknife = sum_of_squares(K, without) * (K - 1) / K;
        gm_trace_result t = trace_of(N, a, GM_TRACE_XTRACE, 2 * K, 0, seed);
        near(t.trace.value, mean, 1e-10);
        near(t.trace.std_error, sqrt(sqrt(scatter * jackknife)), 1e-10);
        assert_int_equal(t.products, 2 * K);
    }
    gm_free(a);
}

/* each [k, n]: the terms of XDiag on the given probes; mean [n]. */
static void plain_xdiag(size_t n, size_t k, const double *a, const double *omega, double *each,
                        double *mean)
{
    double *av = new_numbers(n);
    memset(mean, 0, n * sizeof *mean);
    for (size_t i = 0; i < k; i++) {
        double *q = basis_without(k, i, n, a, omega), *row = each + i * n;
        multiply(n, a, omega + i * n, av);
        remove_basis(k - 1, n, q, av);
        for (size_t j = 0; j < n; j++) {
            row[j] = av[j] / omega[i * n + j];
        }
        for (size_t b = 0; b < k - 1; b++) {
            multiply(n, a, q + b * n, av);
            for (size_t j = 0; j < n; j++) {
                row[j] += q[b * n + j] * av[j];
            }
        }
        for (size_t j = 0; j < n; j++) {
            mean[j] += row[j] / (double)k;
        }
        gm_free(q);
    }
    gm_free(av);
}

static void xdiag_is_its_definition(void **state)
{
    (void)state;
    enum { N = 30, K = 10 };
    double lambda[N], omega[K * N], rest[K * N], mean[N], value[N], error[N], column[K];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = (i % 4 ? 1.0 : -1.0) / (double)(i + 1);
    }
    double *a = rotated(N, lambda, 6, NULL), *each = new_numbers(K * N);
    double *unused = new_numbers(K * N), *without = new_numbers(K * N);
    for (uint64_t seed = 0; seed < 5; seed++) {
        for (size_t j = 0; j < K; j++) {
            rough_probe(seed, j, N, omega + j * N);
        }
        plain_xdiag(N, K, a, omega, each, mean);
        for (size_t j = 0; j < K; j++) {
            memcpy(rest, omega, j * N * sizeof *rest);
            memcpy(rest + j * N, omega + (j + 1) * N, (K - 1 - j) * N * sizeof *rest);
            plain_xdiag(N, K - 1, a, rest, unused, without + j * N);
        }
        diagonal_of(N, a, GM_DIAGONAL_XDIAG, 2 * K, seed, value, error);
        for (size_t j = 0; j < N; j++) {
            for (size_t i = 0; i < K; i++) {
                column[i] = each[i * N + j];
            }
            double scatter = sum_of_squares(K, column) / (K * (K - 1));
            for (size_t i = 0; i < K; i++) {
                column[i] = without[i * N + j];
            }
            double jackknife = sum_of_squares(K, column) * (K - 1) / K;
            near(value[j], mean[j], 1e-10);
            near(error[j], sqrt(sqrt(scatter * jackknife)), 1e-10);
        }
    }
    gm_free(a);
    gm_free(each);
    gm_free(unused);
    gm_free(without);
}

/* Hutch++ projects its residual probes before the product; ours afterwards. */
static void hutchpp_is_its_definition(void **state)
{
    (void)state;
    enum { N = 40, K = 9 };
    double lambda[N], q[K * N], omega[N], g[N], ag[N], each[K];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = (i % 3 ? 1.0 : -0.5) / (double)(i + 1);
    }
    double *a = rotated(N, lambda, 7, NULL);
    for (uint64_t seed = 0; seed < 5; seed++) {
        double value = 0, mean = 0, squares = 0;
        for (size_t j = 0; j < K; j++) {
            sphere_probe(seed, j, N, omega);
            multiply(N, a, omega, q + j * N);
        }
        assert_int_equal(gm_orthonormalize(K, N, q, NULL, NULL), GM_OK);
        for (size_t j = 0; j < K; j++) {
            multiply(N, a, q + j * N, ag);
            value += inner(N, q + j * N, ag);
            gm_rademacher_fill(gm_stream_of(seed, GM_PURPOSE_PROBE, 0), (UINT64_C(1) << 63) + j * N,
                               N, g);
            remove_basis(K, N, q, g);
            multiply(N, a, g, ag);
            each[j] = inner(N, g, ag);
            mean += each[j] / K;
        }
        for (size_t j = 0; j < K; j++) {
            squares += (each[j] - mean) * (each[j] - mean);
        }
        gm_trace_result t = trace_of(N, a, GM_TRACE_HUTCHPP, 3 * K, 0, seed);
        near(t.trace.value, value + mean, 1e-10);
        near(t.trace.std_error, sqrt(squares / (K * (K - 1))), 1e-10);
    }
    gm_free(a);
}

/* --- statistics --- */

/* Decaying spectrum: 80 eigenvalues 1/(i+1). */
static void better_methods_err_less(void **state)
{
    (void)state;
    enum { N = 80, SEEDS = 30 };
    double lambda[N], frobenius, mean[3] = {0};
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 1 / (double)(i + 1);
    }
    double *a = rotated(N, lambda, 8, NULL), trace = trace_norm(N, a, &frobenius);
    gm_trace_result t = trace_of(N, a, GM_TRACE_HUTCHINSON, 400, 0, 1);
    near(t.trace.value, trace, 3 * t.trace.std_error);
    assert_true(t.trace.std_error <
                0.02 * trace); /* exact: ||offdiag|| sqrt(2/400) = 0.016 trace */
    near(trace_of(N, a, GM_TRACE_HUTCHPP, 99, 0, 1).trace.value, trace, 5e-3 * trace);
    near(trace_of(N, a, GM_TRACE_XTRACE, 98, 0, 1).trace.value, trace, 5e-3 * trace);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (int m = 0; m < 3; m++) {
            gm_trace_result r = trace_of(N, a, (gm_trace_method)m, 60, 0, seed);
            mean[m] += fabs(r.trace.value - trace) / SEEDS;
        }
    }
    assert_true(mean[GM_TRACE_HUTCHPP] < 0.5 * mean[GM_TRACE_HUTCHINSON]);
    assert_true(mean[GM_TRACE_XTRACE] < mean[GM_TRACE_HUTCHPP]);
    gm_free(a);
}

/* 95 % intervals over 200 seeds: at least 181 hits (three standard deviations, 1.54 % each, below
 * 95 %); and errors as large as stated: the mean of (error / std_error)^2 is (k - 1)/(k - 3) for
 * Student's distribution, within a factor of 1.6 either way; XTrace may state up to twice too much.
 * ||A||_F is held to 175 hits: its square root and skewed squares cost a little. */
static void error_bars_cover_the_truth(void **state)
{
    (void)state;
    enum { N = 60, SEEDS = 200, PROBES = 20 };
    double lambda[N], frobenius;
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i < 5 ? 10.0 - (double)i : 1 - 0.03 * (double)i;
    }
    double *a = rotated(N, lambda, 9, NULL), trace = trace_norm(N, a, &frobenius);
    for (int m = 0; m < 3; m++) {
        size_t products = PROBES * (m == GM_TRACE_HUTCHINSON ? 1 : m == GM_TRACE_XTRACE ? 2 : 3);
        size_t hits = 0, norm_hits = 0;
        double ratio = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            gm_trace_result t = trace_of(N, a, (gm_trace_method)m, products, 0, seed);
            double error = t.trace.value - trace;
            hits += fabs(error) <= t.trace.half_width;
            norm_hits += fabs(t.frobenius.value - frobenius) <= t.frobenius.half_width;
            ratio += error * error / (t.trace.std_error * t.trace.std_error) / SEEDS;
        }
        double expected = (PROBES - 1.0) / (PROBES - 3.0);
        if (hits < 181 || norm_hits < 175 || ratio > 1.6 * expected ||
            ratio < expected / (m == GM_TRACE_XTRACE ? 4 : 1.6)) {
            fail_msg("method %d: trace %zu, norm %zu of %d, ratio %g", m, hits, norm_hits, SEEDS,
                     ratio);
        }
    }
    gm_free(a);
}

static void diagonal_error_bars_cover_the_truth(void **state)
{
    (void)state;
    enum { N = 40, SEEDS = 200, PROBES = 20 };
    double lambda[N], value[N], error[N];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i < 3 ? 10.0 - (double)i : 1 - 0.05 * (double)i;
    }
    double *a = rotated(N, lambda, 10, NULL);
    for (int m = 0; m < 2; m++) {
        size_t hits = 0;
        double ratio = 0, student = 2.093; /* 19 degrees of freedom */
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            gm_diagonal_result d = diagonal_of(N, a, (gm_diagonal_method)m,
                                               (size_t)(m + 1) * PROBES, seed, value, error);
            assert_int_equal(d.probes, PROBES);
            for (size_t i = 0; i < N; i++) {
                double miss = fabs(value[i] - a[i * N + i]);
                hits += miss <= student * error[i];
                ratio += miss * miss / (error[i] * error[i]) / (SEEDS * N);
            }
        }
        double rate = (double)hits / (SEEDS * N), expected = (PROBES - 1.0) / (PROBES - 3.0);
        /* 8,000 entries: 95 % to 1 % with room for their dependence and for skewed samples. */
        if (rate < 0.93 || rate > 0.985 || ratio > 1.6 * expected || ratio < expected / 1.6) {
            fail_msg("method %d: coverage %g, ratio %g", m, rate, ratio);
        }
    }
    gm_free(a);
}

/* An indefinite matrix, relative error 5 %: what stops when the running mean stands still for a
 * moment misses in half of the cases. */
static void stops_on_the_interval(void **state)
{
    (void)state;
    enum { N = 60, SEEDS = 100 };
    double lambda[N], frobenius;
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i % 2 ? 1.5 : -0.5;
    }
    double *a = rotated(N, lambda, 12, NULL), trace = trace_norm(N, a, &frobenius);
    for (int m = 0; m < 3; m++) {
        size_t hits = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            gm_trace_result t = trace_of(N, a, (gm_trace_method)m, 20000, 0.05, seed);
            assert_true(t.converged);
            assert_true(t.trace.half_width <= 0.05 * fabs(t.trace.value));
            hits += fabs(t.trace.value - trace) <= 0.05 * trace;
        }
        /* 95 % less three standard deviations and the price of looking several times */
        if (hits < 86) fail_msg("method %d: %zu of %d", m, hits, SEEDS);
    }
    /* out of products: says so, and spent what it had */
    gm_trace_result t = trace_of(N, a, GM_TRACE_HUTCHINSON, 50, 1e-6, 1);
    assert_true(!t.converged && t.products == 50);
    gm_free(a);
}

/* Rounds that grow lead to the same numbers as all probes at once, and repeat no product. */
static void growing_repeats_nothing(void **state)
{
    (void)state;
    enum { N = 60 };
    double lambda[N], value[2][N], error[2][N];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 1 / (double)(i + 1) - 0.1;
    }
    double *a = rotated(N, lambda, 13, NULL);
    for (int m = 0; m < 3; m++) {
        gm_trace_result grown = trace_of(N, a, (gm_trace_method)m, 81, 1e-12, 2);
        gm_trace_result once = trace_of(N, a, (gm_trace_method)m, 81, 0, 2);
        near(grown.trace.value, once.trace.value, 1e-11);
        near(grown.trace.std_error, once.trace.std_error, 1e-11);
        near(grown.frobenius.value, once.frobenius.value, 1e-11);
        assert_int_equal(grown.products, once.products);
    }
    for (int m = 0; m < 2; m++) {
        gm_diagonal_result result[2];
        for (int grown = 0; grown < 2; grown++) {
            gm_operator op = dense_operator(N, a);
            gm_estimate_options options = with(80, grown ? 1e-12 : 0, 2);
            assert_int_equal(gm_diagonal_estimate(&op, (gm_diagonal_method)m, &options,
                                                  value[grown], error[grown], result + grown, NULL),
                             GM_OK);
            gm_operator_destroy(&op);
        }
        assert_int_equal(result[0].products, result[1].products);
        assert_true(result[0].converged && !result[1].converged);
        for (size_t i = 0; i < N; i++) {
            near(value[0][i], value[1][i], 1e-11);
            near(error[0][i], error[1][i], 1e-11);
        }
    }
    gm_free(a);
}

/* Seed 0, run 1 is not seed 1, run 0. */
static void seeds_and_runs_are_two_things(void **state)
{
    (void)state;
    enum { N = 20 };
    double lambda[N], found[4];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 1 + (double)i;
    }
    double *a = rotated(N, lambda, 14, NULL);
    for (int m = 0; m < 3; m++) {
        for (size_t s = 0; s < 4; s++) {
            gm_operator op = dense_operator(N, a);
            gm_estimate_options options = with(12, 0, s / 2);
            gm_trace_result t;
            options.run = (uint32_t)(s % 2);
            assert_int_equal(gm_trace_estimate(&op, (gm_trace_method)m, &options, &t, NULL), GM_OK);
            found[s] = t.trace.value;
            for (size_t before = 0; before < s; before++) {
                assert_true(found[before] != found[s]);
            }
            gm_operator_destroy(&op);
        }
    }
    gm_free(a);
}

/* Entries uniform on (0, 1), 1 % for the trace within 200,000 products; diagonal and norm at a
 * fixed number. Tolerances are about three standard errors, known from the entries: sqrt(sum a_ij^2
 * / N) = 0.007 for an entry of the diagonal. */
static void long_runs_converge(void **state)
{
    (void)state;
    enum { N = 30 };
    double a[N * N], value[N], error[N], frobenius;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j <= i; j++) {
            a[i * N + j] = a[j * N + i] =
                gm_uniform(gm_stream_of(3, GM_PURPOSE_TEST, 0), i * N + j);
        }
    }
    double trace = trace_norm(N, a, &frobenius);
    gm_trace_result t = trace_of(N, a, GM_TRACE_HUTCHINSON, 200000, 0.01, 5);
    assert_true(t.converged);
    near(t.trace.value, trace, 0.01 * trace);
    near(t.frobenius.value, frobenius, 0.01 * frobenius);
    diagonal_of(N, a, GM_DIAGONAL_HUTCHINSON, 200000, 5, value, error);
    for (size_t i = 0; i < N; i++) {
        near(value[i], a[i * N + i], 0.025);
        assert_true(error[i] < 0.01);
    }
}

/* --- float32, failures --- */

static gm_status round_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    gm_operator *inner_op = self;
    gm_status status = gm_operator_apply(inner_op, count, v, av, err);
    for (size_t i = 0; i < count * inner_op->size; i++) {
        av[i] = (double)(float)av[i];
    }
    return status;
}

/* Rounding of products in float32 keeps the range from ever being exhausted in double: the noise
 * floor of the products' precision decides. */
static void float_products_exhaust_their_range(void **state)
{
    (void)state;
    enum { N = 50 };
    double lambda[N] = {2, -1};
    double *a = rotated(N, lambda, 15, NULL);
    gm_operator inner_op = dense_operator(N, a);
    gm_operator op = {.size = N,
                      .precision = GM_F32,
                      .name = "rounded matrix",
                      .self = &inner_op,
                      .apply = round_apply};
    gm_estimate_options options = with(40, 0, 1);
    gm_trace_result t;
    assert_int_equal(gm_trace_estimate(&op, GM_TRACE_XTRACE, &options, &t, NULL), GM_OK);
    assert_true(t.exact && t.exhausted);
    assert_int_equal(t.products, 22);
    near(t.trace.value, 1, 1e-6); /* eight float eps of the largest eigenvalue */
    gm_operator_destroy(&inner_op);
    gm_free(a);
}

static gm_status nan_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    for (size_t i = 0; i < count * *(size_t *)self; i++) {
        av[i] = v[i] * (double)NAN;
    }
    return GM_OK;
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    size_t size = 5;
    double value[5], error[5];
    gm_operator op = {
        .size = size, .precision = GM_F64, .name = "H", .self = &size, .apply = nan_apply};
    gm_trace_result t;
    gm_diagonal_result d;
    gm_error err;
    const size_t fewest[] = {2, 6, 4};
    for (int m = 0; m < 3; m++) {
        gm_estimate_options options = with(fewest[m] - 1, 0, 0);
        assert_int_equal(gm_trace_estimate(&op, (gm_trace_method)m, &options, &t, &err),
                         GM_ERR_USAGE);
        assert_non_null(strstr(err.message, "max_products"));
        options = with(100, -0.1, 0);
        assert_int_equal(gm_trace_estimate(&op, (gm_trace_method)m, &options, &t, &err),
                         GM_ERR_USAGE);
        assert_non_null(strstr(err.message, "rel_error"));
        options = with(100, 0, 0);
        assert_int_equal(gm_trace_estimate(&op, (gm_trace_method)m, &options, &t, &err),
                         GM_ERR_NUMERIC);
        assert_non_null(strstr(err.message, "product 1"));
    }
    for (int m = 0; m < 2; m++) {
        gm_estimate_options options = with((size_t)m + 1, 0, 0);
        assert_int_equal(
            gm_diagonal_estimate(&op, (gm_diagonal_method)m, &options, value, error, &d, &err),
            GM_ERR_USAGE);
        options = with(100, 0, 0);
        assert_int_equal(
            gm_diagonal_estimate(&op, (gm_diagonal_method)m, &options, value, error, &d, &err),
            GM_ERR_NUMERIC);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hutchinson_is_exact_on_diagonals),
        cmocka_unit_test(low_ranks_are_exact),
        cmocka_unit_test(few_coordinates_are_no_exhausted_range),
        cmocka_unit_test(full_bases_are_exact),
        cmocka_unit_test(xtrace_is_its_definition),
        cmocka_unit_test(xdiag_is_its_definition),
        cmocka_unit_test(hutchpp_is_its_definition),
        cmocka_unit_test(better_methods_err_less),
        cmocka_unit_test(error_bars_cover_the_truth),
        cmocka_unit_test(diagonal_error_bars_cover_the_truth),
        cmocka_unit_test(stops_on_the_interval),
        cmocka_unit_test(growing_repeats_nothing),
        cmocka_unit_test(seeds_and_runs_are_two_things),
        cmocka_unit_test(long_runs_converge),
        cmocka_unit_test(float_products_exhaust_their_range),
        cmocka_unit_test(bad_input_is_refused),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "trace");
}
