/* Scaled operators against dense matrices scaled by hand, preconditioners that are none, and
 * bootstrap resamples of the data. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gradiometer/eigen.h"
#include "known_operator.h"
#include "problems.h"

enum { N = 60 };

/* Symmetric, indefinite, eigenvalues -29 ... 30; D over eight orders of magnitude. */
static double *matrix_and_diagonal(double *diagonal)
{
    double lambda[N];
    for (int i = 0; i < N; i++) {
        lambda[i] = 30 - i;
        diagonal[i] =
            pow(10, 8.0 * gm_uniform(gm_stream_of(3, GM_PURPOSE_TEST, 0), (uint64_t)i) - 4);
    }
    return rotated(N, lambda, 5, NULL);
}

static void test_products(void **state)
{
    (void)state;
    double diagonal[N], scale[N], v[3 * N], av[3 * N];
    double *a = matrix_and_diagonal(diagonal);
    gm_operator inner = dense_operator(N, a), op;
    gm_error err = {0};
    assert_int_equal(gm_precondition_scale(N, diagonal, scale, &err), GM_OK);
    assert_int_equal(gm_operator_scaled(&inner, scale, &op, &err), GM_OK);
    assert_string_equal(op.name, "preconditioned dense matrix");
    assert_int_equal(op.size, N);
    assert_int_equal(op.precision, inner.precision);
    memset(scale, 0, sizeof scale); /* it was copied */
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 1), 0, 3 * N, v);
    for (size_t count = 1; count <= 3; count += 2) {
        assert_int_equal(gm_operator_apply(&op, count, v, av, &err), GM_OK);
        for (size_t j = 0; j < count; j++) {
            for (size_t i = 0; i < N; i++) {
                double sum = 0, size = 0;
                for (size_t l = 0; l < N; l++) {
                    double term = a[i * N + l] / sqrt(diagonal[i] * diagonal[l]) * v[j * N + l];
                    sum += term;
                    size += fabs(term);
                }
                /* N products of five rounded factors, summed */
                near(av[j * N + i], sum, (N + 10) * DBL_EPSILON * size);
            }
        }
    }
    assert_int_equal(op.products, 4);
    assert_int_equal(inner.products, 4);
    gm_operator_destroy(&op);
    gm_operator_destroy(&inner);
    gm_free(a);
}

/* Largest and smallest eigenvalues by products, against LAPACK's of the matrix scaled by hand; and
 * D^{-1} A (D^{-1/2} u) = lambda (D^{-1/2} u), what theory section 3.5 wants them for. */
static void test_eigenvalues(void **state)
{
    (void)state;
    enum { K = 3 };
    double diagonal[N], scale[N], value[N];
    double *a = matrix_and_diagonal(diagonal), *scaled = new_numbers(N * N);
    gm_operator inner = dense_operator(N, a), op;
    gm_error err = {0};
    assert_int_equal(gm_precondition_scale(N, diagonal, scale, &err), GM_OK);
    assert_int_equal(gm_operator_scaled(&inner, scale, &op, &err), GM_OK);
    for (size_t i = 0; i < N * N; i++) {
        scaled[i] = a[i] / sqrt(diagonal[i / N] * diagonal[i % N]);
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < i; j++) {
            scaled[i * N + j] = scaled[j * N + i];
        }
    }
    assert_int_equal(gm_symmetric_eigen(N, scaled, 0, 0, value, NULL, &err), GM_OK);
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.which = GM_WHICH_BE;
    options.k = 2 * K;
    options.tol = 1e-11;
    options.basis = 2 * K + 12; /* below N: by Lanczos, not by forming it */
    gm_eigen result;
    expect_ok(gm_eigenpairs(&op, &options, &result, &err), &err);
    assert_int_equal(result.converged_count, 2 * K);
    for (size_t j = 0; j < 2 * K; j++) {
        double expected = value[j < K ? j : N - 2 * K + j];
        near(result.value[j], expected, 1e-10 * result.scale); /* ten residuals */
        const double *u = result.vector + j * N;
        for (size_t i = 0; i < N; i++) {
            double sum = 0;
            for (size_t l = 0; l < N; l++) {
                sum += a[i * N + l] * u[l] / sqrt(diagonal[l]);
            }
            /* D^{1/2} (D^{-1} A w - lambda w) is the residual of u */
            near(sum / sqrt(diagonal[i]), result.value[j] * u[i], 1e-10 * result.scale);
        }
    }
    gm_eigen_free(&result);
    gm_operator_destroy(&op);
    gm_operator_destroy(&inner);
    gm_free(scaled);
    gm_free(a);
}

static void test_refusals(void **state)
{
    (void)state;
    static const double a[4] = {1, 0, 0, 1};
    static const double bad[] = {0, -1, NAN, INFINITY, -INFINITY, DBL_TRUE_MIN, -0.0};
    gm_operator inner = dense_operator(2, a), op;
    gm_error err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double diagonal[3] = {1, bad[i], bad[i]}, scale[3];
        assert_int_equal(gm_precondition_scale(3, diagonal, scale, &err), GM_ERR_INPUT);
        assert_non_null(strstr(err.message, "entry 1 (counted from 0)"));
        if (isfinite(bad[i])) continue;
        assert_int_equal(gm_operator_scaled(&inner, diagonal, &op, &err), GM_ERR_INPUT);
        assert_non_null(strstr(err.message, "entry 1 (counted from 0)"));
        assert_null(op.self);
    }
    /* A scale of zero is no preconditioner, but a fine operator. */
    double half[2] = {0, 2}, v[2] = {1, 1}, av[2];
    assert_int_equal(gm_operator_scaled(&inner, half, &op, &err), GM_OK);
    assert_int_equal(gm_operator_apply(&op, 1, v, av, &err), GM_OK);
    near(av[0], 0, 0);
    near(av[1], 4, 0);
    gm_operator_destroy(&op);
    gm_operator_destroy(&inner);
}

static gm_status fail_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)self, (void)count, (void)v, (void)av;
    return gm_fail(err, GM_ERR_IO, "no product to be had");
}

static void test_inner_failure(void **state)
{
    (void)state;
    gm_operator inner = {.size = 1, .name = "broken", .apply = fail_apply}, op;
    double scale[1] = {1}, v[1] = {1}, av[1];
    gm_error err = {0};
    assert_int_equal(gm_operator_scaled(&inner, scale, &op, &err), GM_OK);
    assert_int_equal(gm_operator_apply(&op, 1, v, av, &err), GM_ERR_IO);
    assert_string_equal(err.message, "no product to be had");
    assert_int_equal(op.products, 0);
    gm_operator_destroy(&op);
}

/* ---- resamples ---- */

/* Every sample of a resample is the one of the original that the stream names, whole; each original
 * is drawn about as often as Poisson(1) says. */
static void check_resample(const gm_dataset *data)
{
    gm_error err = {0};
    size_t n = data->n, row = data->features * gm_dtype_size(data->dtype), absent = 0;
    size_t *drawn = calloc(n, sizeof *drawn);
    gm_dataset *out;
    expect_ok(gm_dataset_resample(data, 9, 4, &out, &err), &err);
    assert_int_equal(out->n, n);
    assert_int_equal(out->features, data->features);
    assert_int_equal(out->classes, data->classes);
    assert_int_equal(out->outputs, data->outputs);
    assert_int_equal(out->standardized, data->standardized);
    assert_string_not_equal(out->name, data->name);
    for (size_t i = 0; i < n; i++) {
        size_t from = (size_t)gm_below(gm_stream_of(9, GM_PURPOSE_RESAMPLE, 4), i, n);
        drawn[from]++;
        assert_memory_equal((char *)out->x + i * row, (const char *)data->x + from * row, row);
        if (data->label) assert_int_equal(out->label[i], data->label[from]);
        if (data->target) {
            assert_memory_equal(out->target + i * data->outputs,
                                data->target + from * data->outputs,
                                data->outputs * sizeof *data->target);
        }
    }
    for (size_t i = 0; i < n; i++) {
        absent += drawn[i] == 0;
    }
    /* Absent: a share of 1/e, standard deviation 0.31/sqrt(n); six of them. */
    near((double)absent / (double)n, exp(-1), 6 * 0.31 / sqrt((double)n));
    if (data->standardized) {
        assert_memory_equal(out->mean, data->mean, data->features * sizeof *data->mean);
        assert_memory_equal(out->sd, data->sd, data->features * sizeof *data->sd);
        assert_ptr_not_equal(out->mean, data->mean);
    }
    gm_dataset_free(out);
    free(drawn);
}

static void test_resample(void **state)
{
    (void)state;
    gm_data_options options;
    gm_error err = {0};
    for (int c = 0; c < 4; c++) {
        gm_dataset *data, *again, *other;
        gm_data_options_default(&options);
        options.dtype = c & 1 ? GM_F32 : GM_F64;
        options.standardize = c > 1;
        expect_ok(gm_data_load("gauss:k=4,d=3,n=500", &options, &data, &err), &err);
        check_resample(data);
        expect_ok(gm_dataset_one_hot(data, &err), &err);
        check_resample(data);
        expect_ok(gm_dataset_resample(data, 9, 4, &again, &err), &err);
        expect_ok(gm_dataset_resample(data, 9, 5, &other, &err), &err);
        size_t bytes = data->n * data->features * gm_dtype_size(data->dtype);
        assert_memory_not_equal(again->x, other->x, bytes);
        gm_dataset_free(other);
        expect_ok(gm_dataset_resample(data, 9, 4, &other, &err), &err);
        assert_memory_equal(again->x, other->x, bytes);
        gm_dataset_free(other);
        gm_dataset_free(again);
        gm_dataset_free(data);
    }
}

/* ---- the bootstrap's promise ---- */

enum { SAMPLES = 200, FEATURES = 3, SETS = 200, RESAMPLES = 200 };

/* lambda_max of the Hessian of linear regression, (1/n) sum x x^T (one output, a bias), whatever
 * the targets are. */
static double regression_sharpness(const gm_dataset *data)
{
    enum { P = FEATURES + 1 };
    double theta[P] = {0}, matrix[P * P], value[P];
    gm_error err = {0};
    gm_net *net;
    gm_problem *problem;
    gm_linearization *lin;
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = GM_LOSS_SQUARED;
    expect_ok(gm_net_from_spec("mlp:3-1", NULL, 0, &net, &err), &err);
    expect_ok(gm_problem_create(net, data, &options, &problem, &err), &err);
    expect_ok(gm_linearize(problem, theta, &lin, &err), &err);
    expect_ok(gm_curvature_dense(lin, GM_HESSIAN, GM_ALL_LAYERS, matrix, &err), &err);
    expect_ok(gm_symmetric_eigen(P, matrix, 0, 0, value, NULL, &err), &err);
    gm_linearization_free(lin);
    gm_problem_free(problem);
    gm_net_free(net);
    return value[0];
}

static gm_dataset *fresh_set(uint32_t set)
{
    static const double spread[FEATURES] = {3, 1, 0.5};
    double x[SAMPLES * FEATURES], y[SAMPLES];
    gm_shape shape = {.rank = 1, .dim = {FEATURES}};
    gm_dataset *data;
    gm_error err = {0};
    gm_normal_fill(gm_stream_of(17, GM_PURPOSE_TEST, set), 0, SAMPLES * FEATURES, x);
    for (size_t i = 0; i < SAMPLES; i++) {
        y[i] = x[i * FEATURES];
        for (size_t j = 0; j < FEATURES; j++) {
            x[i * FEATURES + j] *= spread[j];
        }
    }
    expect_ok(gm_data_from_arrays("fresh", SAMPLES, &shape, x, NULL, y, 1, GM_F64, 1, &data, &err),
              &err);
    return data;
}

static double deviation(size_t n, const double *x)
{
    double mean = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        mean += x[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
    }
    return sqrt(squares / (double)(n - 1));
}

/* The spread of lambda_max over resamples of one data set against its spread over fresh data sets.
 * With the variances 9, 1, 1/4 the largest eigenvalue is a sample variance of 200 normal numbers,
 * standard deviation 9 sqrt(2/200) = 0.9; that of one bootstrap depends on the set's fourth moment
 * and varies by sqrt((mu_8/(mu_4 - mu_2^2)^2)/n)/2, about 15 %, so the geometric mean over eight
 * sets by 6 %, that of 200 fresh sets by 5 %: the ratio lies within 1.35 either way (four standard
 * deviations). One set alone stays within 2. */
static void test_bootstrap_spread(void **state)
{
    (void)state;
    enum { OBSERVED = 8 };
    double fresh[SETS], resampled[RESAMPLES], ratio = 0;
    gm_error err = {0};
    for (uint32_t s = 0; s < SETS; s++) {
        gm_dataset *data = fresh_set(s);
        fresh[s] = regression_sharpness(data);
        gm_dataset_free(data);
    }
    double truth = deviation(SETS, fresh);
    near(truth, 0.9, 0.2); /* 5 % standard deviation, four of them */
    for (uint32_t s = 0; s < OBSERVED; s++) {
        gm_dataset *data = fresh_set(1000 + s);
        for (uint32_t b = 0; b < RESAMPLES; b++) {
            gm_dataset *out;
            expect_ok(gm_dataset_resample(data, s, b, &out, &err), &err);
            resampled[b] = regression_sharpness(out);
            gm_dataset_free(out);
        }
        double one = deviation(RESAMPLES, resampled) / truth;
        assert_true(one > 0.5 && one < 2);
        ratio += log(one) / OBSERVED;
        gm_dataset_free(data);
    }
    near(ratio, 0, log(1.35));
}

/* The products of the operator itself until stop says so, and none after that. */
static bool after_three(void *context)
{
    return ((gm_operator *)context)->products >= 3;
}

static void test_watched(void **state)
{
    (void)state;
    double diagonal[N], v[2 * N], direct[2 * N], av[2 * N];
    double *a = matrix_and_diagonal(diagonal);
    gm_operator inner = dense_operator(N, a), op;
    gm_operator_watch watch = {&inner, NULL, &inner};
    gm_error err = {0};
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 1), 0, 2 * N, v);
    assert_int_equal(inner.apply(inner.self, 2, v, direct, &err), GM_OK);
    gm_operator_watched(&watch, &op);
    assert_int_equal(gm_operator_apply(&op, 2, v, av, &err), GM_OK);
    assert_memory_equal(av, direct, sizeof direct);
    watch.stop = after_three;
    assert_int_equal(gm_operator_apply(&op, 1, v, av, &err), GM_OK);
    assert_int_equal(gm_operator_apply(&op, 1, v, av, &err), GM_ERR_INTERRUPTED);
    assert_non_null(strstr(err.message, "interrupted after 3 products with the dense matrix"));
    assert_int_equal(inner.products, 3);
    gm_operator_destroy(&inner);
    gm_free(a);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products), cmocka_unit_test(test_eigenvalues),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_inner_failure),
        cmocka_unit_test(test_resample), cmocka_unit_test(test_bootstrap_spread),
        cmocka_unit_test(test_watched),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "scaled");
}
