/* The cases by which other libraries test their estimators of traces and diagonals, at their
 * tolerances or tighter. Their leave-one-out identities (XTrace at size 50, XDiag at size 30, five
 * seeds each) are in test_trace.c. Theirs that are not symmetric or not square have symmetric
 * counterparts here: gm_operator describes no others. */
#include "support.h"

#include "gradiometer/estimate.h"
#include "known_operator.h"

static gm_trace_result trace_of(gm_operator *op, gm_trace_method method, size_t products,
                                bool gaussian, uint64_t seed)
{
    gm_estimate_options options;
    gm_estimate_options_default(&options);
    options.max_products = products;
    options.seed = seed;
    options.gaussian = gaussian;
    gm_trace_result result;
    gm_error err;
    if (gm_trace_estimate(op, method, &options, &result, &err) != GM_OK)
        fail_msg("%s", err.message);
    return result;
}

/* Entries uniform on (0, 1). */
static double *uniform_matrix(size_t n)
{
    double *a = new_numbers(n * n);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            a[i * n + j] = a[j * n + i] =
                gm_uniform(gm_stream_of(41, GM_PURPOSE_TEST, (uint32_t)n), i * n + j);
        }
    }
    return a;
}

/* Size 80, eigenvalues 1/(i + 1): Hutchinson with 400 products of either kind within 3 standard
 * errors; Hutch++ with 99 products to 5 %, here for every one of 30 seeds; with 60 products Hutch++
 * errs less than Hutchinson on average, XTrace less than both. */
static void decaying_spectrum(void **state)
{
    (void)state;
    enum { N = 80, SEEDS = 30 };
    double lambda[N], trace = 0, mean[3] = {0};
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 1 / (double)(i + 1);
        trace += lambda[i];
    }
    double *a = rotated(N, lambda, 51, NULL);
    gm_operator op = dense_operator(N, a);
    for (int gaussian = 0; gaussian < 2; gaussian++) {
        gm_trace_result t = trace_of(&op, GM_TRACE_HUTCHINSON, 400, gaussian, 0);
        near(t.trace.value, trace, 3 * t.trace.std_error);
        assert_true(t.trace.std_error < 0.025 * trace); /* exact: ||A||_F sqrt(2/400) = 0.018 */
    }
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        near(trace_of(&op, GM_TRACE_HUTCHPP, 99, false, seed).trace.value, trace, 5e-2 * trace);
        for (int m = 0; m < 3; m++) {
            gm_trace_result t = trace_of(&op, (gm_trace_method)m, 60, false, seed);
            mean[m] += fabs(t.trace.value - trace) / SEEDS;
        }
    }
    assert_true(mean[GM_TRACE_HUTCHPP] < mean[GM_TRACE_HUTCHINSON]);
    assert_true(mean[GM_TRACE_XTRACE] < mean[GM_TRACE_HUTCHPP]);
    gm_operator_destroy(&op);
    gm_free(a);
}

/* Signs leave a diagonal matrix no variance; Gaussian vectors do, 2 ||A||_F^2 per probe. With 400
 * probes the standard deviation of a variance is 7 % (more for the long tail of g^2: 10 %), of its
 * root half of that: 25 % are five of them. */
static void diagonal_matrix(void **state)
{
    (void)state;
    enum { N = 30 };
    double *a = new_numbers(N * N), trace = 0, squares = 0;
    for (size_t i = 0; i < N; i++) {
        a[i * N + i] = (double)i - 4.5;
        trace += a[i * N + i];
        squares += a[i * N + i] * a[i * N + i];
    }
    gm_operator op = dense_operator(N, a);
    gm_trace_result t = trace_of(&op, GM_TRACE_HUTCHINSON, 400, false, 0);
    near(t.trace.value, trace, 1e-12 * trace);
    near(t.trace.std_error, 0, 1e-12);
    t = trace_of(&op, GM_TRACE_HUTCHINSON, 400, true, 0);
    near(t.trace.std_error, sqrt(2 * squares / 400), 0.25 * sqrt(2 * squares / 400));
    near(t.trace.value, trace, 4 * t.trace.std_error);
    gm_operator_destroy(&op);
    gm_free(a);
}

/* The mean of estimates with few products each, looked at after every hundred of them, until
 * 100,000 products are spent: it must have come within the target (relative), and it must end
 * within four of its own standard errors, so that a chance hit of a biased estimator does not pass.
 */
enum { LOOSER = GM_TEST_SIZE(1, 100) }; /* a sanitizer build spends a hundredth of the products */
static void check_running_mean(const char *what, gm_operator *op, gm_trace_method method,
                               bool gaussian, bool norm, size_t products, double truth,
                               double target)
{
    size_t count = 0, most = GM_TEST_SIZE(100000, 1000) / products;
    double mean = 0, squares = 0, nearest = HUGE_VAL;
    while (count < most) {
        gm_trace_result t = trace_of(op, method, products, gaussian, count);
        double value = norm ? t.frobenius.value * t.frobenius.value : t.trace.value;
        double delta = value - mean;
        count++;
        mean += delta / (double)count;
        squares += delta * (value - mean);
        if (count % GM_TEST_SIZE(100, 10) == 0) nearest = fmin(nearest, fabs(mean - truth));
    }
    double std_error = sqrt(squares / ((double)count * (double)(count - 1)));
    if (nearest > LOOSER * target * fabs(truth) || fabs(mean - truth) > 4 * std_error) {
        fail_msg("%s, %zu products: mean %g +- %g, truth %g, nearest %g", what, products, mean,
                 std_error, truth, nearest);
    }
}

static void running_means_converge(void **state)
{
    (void)state;
    double *ten = uniform_matrix(10), *fifteen = uniform_matrix(15), trace[2] = {0}, squares = 0;
    for (size_t i = 0; i < 15; i++) {
        if (i < 10) trace[0] += ten[11 * i];
        trace[1] += fifteen[16 * i];
    }
    for (size_t i = 0; i < 100; i++) {
        squares += ten[i] * ten[i];
    }
    gm_operator small = dense_operator(10, ten), large = dense_operator(15, fifteen);
    for (size_t i = 0; i < 2; i++) {
        size_t few = 3 + 3 * i, some = 6 + 2 * i, couple = 2 + 6 * i;
        check_running_mean("Hutchinson", &small, GM_TRACE_HUTCHINSON, false, false, few, trace[0],
                           1e-3);
        /* standard error after all products: ||A||_F sqrt(2 / 100000) = 6e-3 of the trace */
        check_running_mean("Hutchinson, Gaussian", &small, GM_TRACE_HUTCHINSON, true, false, few,
                           trace[0], 3e-3);
        check_running_mean("Hutch++", &small, GM_TRACE_HUTCHPP, false, false, 2 * few, trace[0],
                           1e-3);
        check_running_mean("XTrace", &large, GM_TRACE_XTRACE, false, false, some, trace[1], 5e-4);
        check_running_mean("squared norm", &small, GM_TRACE_HUTCHINSON, false, true, couple,
                           squares, 1e-3);
    }
    gm_operator_destroy(&small);
    gm_operator_destroy(&large);
    gm_free(ten);
    gm_free(fifteen);
}

/* The same of diagonals, error in the largest norm: 2 % for Hutchinson, 3 % for XDiag. After
 * 100,000 products an entry's error is sqrt(sum a_ij^2 / 100000) = 0.01, the largest of thirty up
 * to three times that: a hit would be luck. After 400,000 it is not, and the end is what counts. */
static void check_running_diagonal(const double *a, gm_diagonal_method method, size_t products,
                                   double target)
{
    enum { N = 30 };
    gm_operator op = dense_operator(N, a);
    double mean[N] = {0}, value[N], error[N], largest = 0, worst = 0;
    for (size_t i = 0; i < N; i++) {
        largest = fmax(largest, a[i * N + i]);
    }
    for (size_t count = 1; count <= GM_TEST_SIZE(400000, 4000) / products; count++) {
        gm_estimate_options options;
        gm_diagonal_result result;
        gm_estimate_options_default(&options);
        options.max_products = products;
        options.seed = count;
        assert_int_equal(gm_diagonal_estimate(&op, method, &options, value, error, &result, NULL),
                         GM_OK);
        for (size_t i = 0; i < N; i++) {
            mean[i] += (value[i] - mean[i]) / (double)count;
        }
    }
    for (size_t i = 0; i < N; i++) {
        worst = fmax(worst, fabs(mean[i] - a[i * N + i]));
    }
    if (worst > LOOSER * target * largest) {
        fail_msg("method %d, %zu products: %g", (int)method, products, worst / largest);
    }
    gm_operator_destroy(&op);
}

static void running_diagonals_converge(void **state)
{
    (void)state;
    double *a = uniform_matrix(30);
    check_running_diagonal(a, GM_DIAGONAL_HUTCHINSON, 4, 2e-2);
    check_running_diagonal(a, GM_DIAGONAL_HUTCHINSON, 10, 2e-2);
    check_running_diagonal(a, GM_DIAGONAL_XDIAG, 10, 3e-2);
    gm_free(a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decaying_spectrum),
        cmocka_unit_test(diagonal_matrix),
        cmocka_unit_test(running_means_converge),
        cmocka_unit_test(running_diagonals_converge),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "peers' traces");
}
