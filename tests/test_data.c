/* Data sets: Gaussian classes, subset, random labels, standardization, arrays of the caller, and
 * the real sets where they are present. */
#include "gradiometer/data.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "data/dataset.h"
#include "gradiometer/random.h"

static gm_data_options defaults(void)
{
    gm_data_options options;
    memset(&options, 0xa5, sizeof options); /* so that a field without a default shows */
    gm_data_options_default(&options);
    return options;
}

static gm_dataset *load(const char *spec, gm_data_options options)
{
    gm_dataset *data;
    gm_error err = {0};
    if (gm_data_load(spec, &options, &data, &err) != GM_OK) fail_msg("%s: %s", spec, err.message);
    return data;
}

static void assert_refused(const char *spec, gm_data_options options, gm_status expected,
                           const char *part)
{
    gm_dataset *data = (gm_dataset *)1;
    gm_error err = {0};
    gm_status status = gm_data_load(spec, &options, &data, &err);
    if (status != expected || !strstr(err.message, part))
        fail_msg("%s: status %d (expected %d), message \"%s\" (expected \"%s\")", spec, (int)status,
                 (int)expected, err.message, part);
    assert_null(data);
}

static void test_defaults(void **state)
{
    (void)state;
    gm_data_options o = defaults();
    assert_int_equal(o.dtype, GM_F64);
    assert_true(o.seed == 0 && o.subset == 0 && o.random_labels == 0 && o.classes == 0);
    assert_false(o.standardize || o.test);
    assert_null(o.reference);
}

/* --- gauss --- */

/* The recipe of the file's head, written out with single draws. */
static void test_gauss_recipe(void **state)
{
    (void)state;
    enum { K = 3, D = 5, N = 7 };
    const double sep = 1.5;
    for (int test = 0; test <= 1; test++) {
        gm_data_options options = defaults();
        options.test = test;
        gm_dataset *data = load("gauss:n=7,k=3,sep=1.5,d=5,seed=9", options);
        assert_string_equal(data->name, "gauss:k=3,d=5,n=7,sep=1.5,seed=9");
        assert_int_equal(data->classes, K);
        assert_int_equal(data->shape.rank, 1);
        for (size_t i = 0; i < N; i++) {
            size_t y = i % K;
            assert_int_equal(data->label[i], y);
            gm_stream means = gm_stream_of(9, GM_PURPOSE_DATA, 0);
            gm_stream noise = gm_stream_of(9, GM_PURPOSE_DATA, test ? 2 : 1);
            double square = 0;
            for (size_t j = 0; j < D; j++) {
                square += pow(gm_normal(means, y * D + j), 2);
            }
            for (size_t j = 0; j < D; j++) {
                double x =
                    sep * gm_normal(means, y * D + j) / sqrt(square) + gm_normal(noise, i * D + j);
                /* A few roundings of numbers below 8. */
                assert_true(fabs(((double *)data->x)[i * D + j] - x) < 8 * 4 * DBL_EPSILON);
            }
        }
        gm_dataset_free(data);
    }
}

static void test_gauss_stability(void **state)
{
    (void)state;
    gm_dataset *all = load("gauss:", defaults());
    assert_string_equal(all->name, "gauss:k=10,d=50,n=1000,sep=2,seed=1");
    assert_int_equal(all->n, 1000);
    assert_int_equal(all->features, 50);
    /* Sample i does not depend on n; the same in float is the rounded one. */
    gm_data_options options = defaults();
    options.dtype = GM_F32;
    gm_dataset *few = load("gauss:n=30", options);
    for (size_t i = 0; i < 30 * 50; i++) {
        assert_true(((float *)few->x)[i] == (float)((double *)all->x)[i]);
    }
    gm_dataset_free(few);
    /* Training and test samples differ. */
    options = defaults();
    options.test = true;
    gm_dataset *test = load("gauss", options);
    assert_memory_not_equal(test->x, all->x, 50 * sizeof(double));
    gm_dataset_free(test);
    gm_dataset_free(all);

    /* sep=0: the classes are one. Label k-1 need not occur for K to be k. */
    gm_dataset *same = load("gauss:sep=0,k=10,n=4", defaults());
    assert_int_equal(same->classes, 10);
    gm_stream noise = gm_stream_of(1, GM_PURPOSE_DATA, 1);
    assert_true(((double *)same->x)[60] == gm_normal(noise, 60));
    gm_dataset_free(same);
}

/* 40,000 samples in 4 dimensions: class means within 4.5 standard errors of a point at distance
 * sep, noise of variance 1 (standard error of a variance: sqrt(2/n)). */
static void test_gauss_moments(void **state)
{
    (void)state;
    enum { N = 40000, K = 2, D = 4 };
    gm_dataset *data = load("gauss:n=40000,k=2,d=4,sep=3", defaults());
    const double *x = data->x;
    double mean[K][D] = {{0}}, variance = 0;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < D; j++) {
            mean[i % K][j] += x[i * D + j] * K / N;
        }
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < D; j++) {
            variance += pow(x[i * D + j] - mean[i % K][j], 2) / (N * D);
        }
    }
    for (int c = 0; c < K; c++) {
        double square = 0;
        for (int j = 0; j < D; j++) {
            square += mean[c][j] * mean[c][j];
        }
        assert_true(fabs(sqrt(square) - 3) < 4.5 * sqrt((double)K / N));
    }
    assert_true(fabs(variance - 1) < 4.5 * sqrt(2.0 / (N * D)));
    gm_dataset_free(data);
}

static void test_bad_specs(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *part;
    } cases[] = {
        {"gauss:classes=3", "unknown key \"classes\""},
        {"gauss:k=3,k=3", "\"k\" appears twice"},
        {"gauss:k", "\"k\", expected key=value"},
        {"gauss:k=3,", "\"\", expected key=value"},
        {"gauss:,k=3", "\"\", expected key=value"},
        {"gauss:k=", "k=\"\""},
        {"gauss:k=0", "k=\"0\", expected a whole number, 1 or more"},
        {"gauss:d=0", "d=\"0\""},
        {"gauss:n=0", "n=\"0\""},
        {"gauss:n=-1", "n=\"-1\""},
        {"gauss:n=+1", "n=\"+1\""},
        {"gauss:n= 1", "n=\" 1\""},
        {"gauss:n=1e3", "n=\"1e3\""},
        {"gauss:n=10x", "n=\"10x\""},
        {"gauss:n=99999999999999999999", "n=\"99999999999999999999\""},
        {"gauss:sep=-1", "sep=\"-1\""},
        {"gauss:sep=nan", "sep=\"nan\""},
        {"gauss:sep=inf", "sep=\"inf\""},
        {"gauss:sep=1,5", "\"5\", expected key=value"},
        {"gauss:sep=", "sep=\"\""},
        {"gauss:seed=1.5", "seed=\"1.5\""},
        {"gauss:seed=18446744073709551616", "seed="},
        {"gauss:n=4294967296,d=4294967296,k=1", "n=4294967296 times d=4294967296 overflows"},
        {"gauss:k=4294967296,d=4294967296,n=1", "k=4294967296 times d=4294967296 overflows"},
        {"", "gauss:KEY=VALUE"},
        {"gaus:k=3", "gauss:KEY=VALUE"},
        {"gaussian:k=3", "gauss:KEY=VALUE"},
        {"/some/file.csv", "csv:FILE"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        assert_refused(cases[c].spec, defaults(), GM_ERR_USAGE, cases[c].part);
    }
    /* Fits as a number of elements, not as a number of bytes. */
    assert_refused("gauss:n=1152921504606846976,d=4,k=2", defaults(), GM_ERR_MEMORY, "overflow");
    assert_refused("gauss:k=20000000,d=1,n=1", defaults(), GM_ERR_INPUT, "20000000 classes");
}

static void test_options_refused(void **state)
{
    (void)state;
    static const double shares[] = {-0.1, 1.1, NAN, INFINITY};
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
        gm_data_options options = defaults();
        options.random_labels = shares[s];
        assert_refused("gauss:", options, GM_ERR_USAGE, "expected 0 ... 1");
    }
    gm_data_options options = defaults();
    options.subset = 1001;
    assert_refused("gauss:", options, GM_ERR_USAGE, "1001 samples, but gauss has 1000");
    options = defaults();
    options.classes = 9;
    assert_refused("gauss:", options, GM_ERR_INPUT, "10 classes, expected at most K = 9");
    options = defaults();
    options.dtype = (gm_dtype)7;
    assert_refused("gauss:", options, GM_ERR_USAGE, "precision");

    gm_dataset *raw = load("gauss:d=3", defaults());
    options = defaults();
    options.standardize = true;
    options.reference = raw;
    assert_refused("gauss:d=3", options, GM_ERR_USAGE, "has not been standardized");
    gm_dataset_free(raw);
    options.reference = NULL;
    gm_dataset *reference = load("gauss:d=3", options);
    options.reference = reference;
    assert_refused("gauss:d=4", options, GM_ERR_INPUT, "4 features, expected the 3");
    gm_dataset_free(reference);
}

/* --- subset, random labels, standardization --- */

static void test_subset(void **state)
{
    (void)state;
    enum { N = 40, KEPT = 15 };
    size_t order[N];
    gm_dataset *all = load("gauss:n=40,d=3", defaults());
    gm_data_options options = defaults();
    options.seed = 5;
    options.subset = KEPT;
    gm_dataset *some = load("gauss:n=40,d=3", options);
    gm_permutation(gm_stream_of(5, GM_PURPOSE_SUBSET, 0), 0, N, order);
    assert_int_equal(some->n, KEPT);
    for (size_t i = 0; i < KEPT; i++) {
        assert_int_equal(some->label[i], all->label[order[i]]);
        assert_memory_equal((double *)some->x + 3 * i, (double *)all->x + 3 * order[i],
                            3 * sizeof(double));
    }
    /* K is that of the whole set; a smaller subset begins a larger one. */
    assert_int_equal(some->classes, 10);
    options.subset = N;
    gm_dataset *shuffled = load("gauss:n=40,d=3", options);
    assert_memory_equal(shuffled->x, some->x, KEPT * 3 * sizeof(double));
    gm_dataset_free(shuffled);
    /* A test set is shuffled by a stream of its own. */
    options.test = true;
    gm_permutation(gm_stream_of(5, GM_PURPOSE_SUBSET, 1), 0, N, order);
    gm_dataset *test = load("gauss:n=40,d=3", options);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(test->label[i], order[i] % 10);
    }
    gm_dataset_free(test);
    gm_dataset_free(some);
    gm_dataset_free(all);
}

static void test_random_labels(void **state)
{
    (void)state;
    enum { N = 20000, K = 10 };
    const char *spec = "gauss:n=20000,d=1";
    gm_dataset *sound = load(spec, defaults());
    gm_data_options options = defaults();
    options.seed = 3;
    options.random_labels = 0.15;
    gm_dataset *some = load(spec, options);
    options.random_labels = 1;
    gm_dataset *every = load(spec, options);
    gm_stream stream = gm_stream_of(3, GM_PURPOSE_LABELS, 0);
    size_t redrawn = 0, changed = 0, count[K] = {0};
    for (size_t i = 0; i < N; i++) {
        bool redraw = gm_uniform(stream, 2 * i) < 0.15;
        int32_t drawn = (int32_t)gm_below(stream, 2 * i + 1, K);
        assert_int_equal(some->label[i], redraw ? drawn : sound->label[i]);
        assert_int_equal(every->label[i], drawn);
        redrawn += redraw;
        changed += some->label[i] != sound->label[i];
        count[drawn]++;
    }
    assert_true(some->random_labels == 0.15 && some->redrawn == redrawn);
    assert_true(every->redrawn == N && sound->redrawn == 0 && sound->random_labels == 0);
    /* Within 4.5 standard errors: redrawn 0.15 n, of which a tenth gets its old label back. */
    assert_true(fabs((double)redrawn - 0.15 * N) < 4.5 * sqrt(0.15 * 0.85 * N));
    assert_true(fabs((double)changed - 0.135 * N) < 4.5 * sqrt(0.135 * 0.865 * N));
    /* Uniform over the classes: chi-square, 9 degrees of freedom, 99.9 % point 27.9. */
    double chi_square = 0;
    for (int c = 0; c < K; c++) {
        chi_square += pow((double)count[c] - (double)N / K, 2) / ((double)N / K);
    }
    assert_true(chi_square < 27.9);

    /* A test set has a stream of its own; keyed by place in the subset, not in the file. */
    options.test = true;
    gm_dataset *test = load(spec, options);
    assert_memory_not_equal(test->label, every->label, N * sizeof(int32_t));
    gm_dataset_free(test);
    options.test = false;
    options.subset = 100;
    gm_dataset *subset = load(spec, options);
    assert_memory_equal(subset->label, every->label, 100 * sizeof(int32_t));
    gm_dataset_free(subset);
    /* A model wider than the data: labels are redrawn over all its outputs. */
    options.subset = 0;
    options.classes = 40;
    gm_dataset *wide = load(spec, options);
    assert_int_equal(wide->classes, 40);
    int32_t largest = 0;
    for (size_t i = 0; i < N; i++) {
        if (wide->label[i] > largest) largest = wide->label[i];
    }
    assert_int_equal(largest, 39);
    gm_dataset_free(wide);
    gm_dataset_free(every);
    gm_dataset_free(some);
    gm_dataset_free(sound);
}

/* Features: far from 0 against its spread (where a one-pass formula fails), constant, two-valued.
 */
static void test_standardize(void **state)
{
    (void)state;
    enum { N = 4, D = 3 };
    static const double x[N * D] = {1e9 + 1, 0.1, 0, 1e9 + 2, 0.1, 2,
                                    1e9 + 3, 0.1, 0, 1e9 + 4, 0.1, 2};
    static const int32_t label[N] = {0, 1, 0, 1};
    gm_shape shape = {1, {D}};
    gm_error err;
    gm_dataset *data;
    assert_int_equal(gm_data_from_arrays("x", N, &shape, x, label, NULL, 0, GM_F64, 0, &data, &err),
                     GM_OK);
    assert_false(data->standardized);
    assert_int_equal(gm_dataset_standardize(data, NULL, NULL, &err), GM_OK);
    assert_true(data->standardized);
    /* Exact: the differences are small whole numbers; variance of 1, 2, 3, 4 is 5/4. */
    assert_true(data->mean[0] == 1e9 + 2.5 && data->mean[1] == 0.1 && data->mean[2] == 1);
    assert_true(data->sd[0] == sqrt(1.25) && data->sd[1] == 1 && data->sd[2] == 1);
    const double *z = data->x;
    assert_true(z[0] == -1.5 / sqrt(1.25) && z[1] == 0 && z[2] == -1 && z[11] == 1);

    /* Others by the reference's numbers, in float too. */
    static const double other[D] = {1e9 + 2.5, 1.1, 5};
    gm_dataset *test;
    assert_int_equal(
        gm_data_from_arrays("t", 1, &shape, other, label, NULL, 0, GM_F64, 0, &test, &err), GM_OK);
    assert_int_equal(gm_dataset_standardize(test, data, NULL, &err), GM_OK);
    z = test->x;
    assert_true(z[0] == 0 && z[1] == 1.1 - 0.1 && z[2] == 4);
    gm_dataset_free(test);
    gm_dataset_free(data);

    /* A feature that does not vary, whose mean by summing would be off by a rounding. */
    double tenth[10];
    static const int32_t zeros[10];
    gm_shape single = {1, {1}};
    for (int i = 0; i < 10; i++) {
        tenth[i] = 0.1;
    }
    assert_int_equal(
        gm_data_from_arrays("c", 10, &single, tenth, zeros, NULL, 0, GM_F64, 0, &data, &err),
        GM_OK);
    assert_int_equal(gm_dataset_standardize(data, NULL, NULL, &err), GM_OK);
    assert_true(data->mean[0] == 0.1 && data->sd[0] == 1 && *(double *)data->x == 0);
    gm_dataset_free(data);

    /* Squares that overflow are refused, not turned into zeros. */
    static const double far[2] = {-1e300, 1e300};
    assert_int_equal(
        gm_data_from_arrays("f", 2, &single, far, label, NULL, 0, GM_F64, 0, &data, &err), GM_OK);
    assert_int_equal(gm_dataset_standardize(data, NULL, NULL, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "feature 0 spreads too far"));
    gm_dataset_free(data);
}

/* Through gm_data_load: mean 0 and variance 1 to rounding, test set by the training set's numbers.
 */
static void test_standardize_loaded(void **state)
{
    (void)state;
    enum { N = 500, D = 4 };
    gm_data_options options = defaults();
    options.standardize = true;
    gm_dataset *data = load("gauss:n=500,d=4", options);
    double mean[D], sd[D];
    gm_error err;
    assert_int_equal(gm_dataset_moments(data, NULL, mean, sd, &err), GM_OK);
    for (int j = 0; j < D; j++) {
        assert_true(fabs(mean[j]) < 1e-14 && fabs(sd[j] - 1) < 1e-14); /* N roundings at most */
    }
    options.reference = data;
    options.test = true;
    gm_dataset *test = load("gauss:n=500,d=4", options);
    options = defaults();
    options.test = true;
    gm_dataset *raw = load("gauss:n=500,d=4", options);
    for (int i = 0; i < N * D; i++) {
        double expected = (((double *)raw->x)[i] - data->mean[i % D]) / data->sd[i % D];
        assert_true(((double *)test->x)[i] == expected);
    }
    assert_memory_equal(test->mean, data->mean, sizeof mean);
    gm_dataset_free(raw);
    gm_dataset_free(test);
    gm_dataset_free(data);
}

/* --- arrays and one-hot --- */

static void test_from_arrays(void **state)
{
    (void)state;
    double x[6] = {1, 2, 3, 4, 5, 6}, target[3] = {0.5, 1, 1.5};
    int32_t label[3] = {2, 0, 2};
    gm_shape shape = {2, {1, 2}};
    gm_error err;
    gm_dataset *data;
    assert_int_equal(gm_data_from_arrays("a", 3, &shape, x, label, NULL, 0, GM_F32, 4, &data, &err),
                     GM_OK);
    assert_true(data->n == 3 && data->features == 2 && data->classes == 4 && data->outputs == 0);
    assert_true(((float *)data->x)[5] == 6.0f && data->label[2] == 2);
    assert_int_equal(gm_dataset_one_hot(data, &err), GM_OK);
    static const double one_hot[12] = {0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0};
    assert_null(data->label);
    assert_int_equal(data->outputs, 4);
    assert_memory_equal(data->target, one_hot, sizeof one_hot);
    assert_int_equal(gm_dataset_one_hot(data, &err), GM_OK);
    assert_memory_equal(data->target, one_hot, sizeof one_hot);
    gm_dataset_free(data);

    assert_int_equal(
        gm_data_from_arrays("a", 3, &shape, x, NULL, target, 1, GM_F64, 0, &data, &err), GM_OK);
    assert_true(data->classes == 1 && data->target[2] == 1.5);
    gm_dataset_free(data);

    assert_int_equal(gm_data_from_arrays("a", 3, &shape, x, label, NULL, 0, GM_F64, 2, &data, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "a: row 0 (counted from 0): label 2, expected 0 ... 1"));
    assert_int_equal(
        gm_data_from_arrays("a", 3, &shape, x, NULL, target, 1, GM_F64, 2, &data, &err),
        GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "targets have 1 columns, expected K = 2"));
    assert_int_equal(
        gm_data_from_arrays("a", 3, &shape, x, label, target, 1, GM_F64, 0, &data, &err),
        GM_ERR_USAGE);
    assert_int_equal(gm_data_from_arrays("a", 3, &shape, x, NULL, NULL, 1, GM_F64, 0, &data, &err),
                     GM_ERR_USAGE);
    assert_int_equal(gm_data_from_arrays("a", 0, &shape, x, label, NULL, 0, GM_F64, 0, &data, &err),
                     GM_ERR_USAGE);
    x[3] = NAN;
    assert_int_equal(gm_data_from_arrays("a", 3, &shape, x, label, NULL, 0, GM_F64, 0, &data, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "a: row 1, column 1 (counted from 0): NaN"));
    assert_null(data);
    gm_dataset_free(NULL);
}

/* --- real data --- */

/* "scheme:FOLDER", or skips the test where the folder lacks `file`. */
static const char *real_spec(const char *scheme, const char *base, const char *name,
                             const char *file)
{
    static char spec[1024], path[1024];
    snprintf(path, sizeof path, "%s/%s/%s", base, name, file);
    if (access(path, R_OK) != 0) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    snprintf(spec, sizeof spec, "%s:%s/%s", scheme, base, name);
    return spec;
}

static const char *shared_data(void)
{
    const char *variable = getenv("GM_TEST_DATA");
    return variable ? variable : GM_SHARED_DATA;
}

static void class_counts(const gm_dataset *data, size_t count[10])
{
    assert_int_equal(data->classes, 10);
    memset(count, 0, 10 * sizeof *count);
    for (size_t i = 0; i < data->n; i++) {
        count[data->label[i]]++;
    }
}

static double overall_mean(const gm_dataset *data)
{
    const float *x = data->x;
    double sum = 0;
    for (size_t i = 0; i < data->n * data->features; i++) {
        sum += (double)x[i];
    }
    return sum / (double)(data->n * data->features);
}

static void test_mnist(void **state)
{
    (void)state;
    const char *spec = real_spec("mnist", shared_data(), "mnist", "train-images-idx3-ubyte.gz");
    static const size_t known[] = {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949};
    gm_data_options options = defaults();
    options.dtype = GM_F32;
    gm_dataset *data = load(spec, options);
    size_t count[10];
    class_counts(data, count);
    assert_memory_equal(count, known, sizeof known);
    assert_int_equal(data->n, 60000);
    size_t samples = 0;
    assert_int_equal(gm_data_samples(spec, false, &samples, NULL), GM_OK);
    assert_int_equal(samples, 60000);
    assert_int_equal(gm_data_samples(spec, true, &samples, NULL), GM_OK);
    assert_int_equal(samples, 10000);
    assert_int_equal(data->features, 784);
    /* The published mean, to its four digits. */
    assert_true(fabs(overall_mean(data) - 0.1307) < 0.00005);
    gm_dataset_free(data);
    options.test = true;
    data = load(spec, options);
    assert_int_equal(data->n, 10000);
    gm_dataset_free(data);
}

static void test_fashion_mnist(void **state)
{
    (void)state;
    const char *spec =
        real_spec("mnist", "/usr/share/datasets", "fashion-mnist", "t10k-images-idx3-ubyte.gz");
    gm_data_options options = defaults();
    options.dtype = GM_F32;
    options.test = true;
    gm_dataset *data = load(spec, options);
    size_t count[10];
    class_counts(data, count);
    for (int c = 0; c < 10; c++) {
        assert_int_equal(count[c], 1000);
    }
    gm_dataset_free(data);
    options.test = false;
    options.subset = 500;
    options.standardize = true; /* border pixels hardly vary in 500 samples */
    data = load(spec, options);
    assert_int_equal(data->n, 500);
    gm_dataset_free(data);
}

static void test_cifar10(void **state)
{
    (void)state;
    const char *spec = real_spec("cifar10", shared_data(), "cifar10", "test_batch.bin");
    gm_data_options options = defaults();
    options.dtype = GM_F32;
    options.test = true;
    gm_dataset *data = load(spec, options);
    size_t count[10];
    class_counts(data, count);
    assert_int_equal(data->features, 3072);
    for (int c = 1; c < 10; c++) {
        assert_int_equal(count[c], count[0]); /* balanced */
    }
    /* The published mean of the three channels is 0.473; a test part of it within 0.01. */
    assert_true(fabs(overall_mean(data) - 0.473) < 0.01);
    gm_dataset_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_gauss_recipe),
        cmocka_unit_test(test_gauss_stability), cmocka_unit_test(test_gauss_moments),
        cmocka_unit_test(test_bad_specs),       cmocka_unit_test(test_options_refused),
        cmocka_unit_test(test_subset),          cmocka_unit_test(test_random_labels),
        cmocka_unit_test(test_standardize),     cmocka_unit_test(test_standardize_loaded),
        cmocka_unit_test(test_from_arrays),     cmocka_unit_test(test_mnist),
        cmocka_unit_test(test_fashion_mnist),   cmocka_unit_test(test_cifar10),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
