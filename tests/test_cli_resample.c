/* gradiometer spectrum --data-resample: every number of every resample against the same measurement
 * of a data set that was drawn here. */
#include "support.h"

#include <math.h>

#include "data/npy.h"
#include "folder.h"
#include "gradiometer/random.h"
#include "gradiometer/run.h"
#include "program.h"

enum { SAMPLES = 30, FEATURES = 6, RESAMPLES = 3, SEED = 5 };
#define SMALL "--model mlp:6-5-3,act=tanh --seed 5 --threads 1 --data npy:%s/x%s.npy,%s/y%s.npy "

static const json_t *at(const json_t *document, const char *key)
{
    const json_t *value = json_object_get(document, key);
    if (!value) fail_msg("no key %s", key);
    return value;
}

static double number(const json_t *array, size_t index)
{
    return json_number_value(json_array_get(array, index));
}

static void close_to(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("found %.17g, expected %.17g within %.3g", found, expected, tolerance);
    }
}

/* Samples of three classes, in order (resample < 0) or as the bootstrap draws them: sample i is
 * draw i of stream (seed, GM_PURPOSE_RESAMPLE, resample). */
static void write_samples(const char *suffix, int resample)
{
    double x[SAMPLES * FEATURES];
    int32_t y[SAMPLES];
    char name[64];
    size_t dim[] = {SAMPLES, FEATURES};
    gm_stream features = gm_stream_of(1, GM_PURPOSE_TEST, 0);
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t from = i;
        if (resample >= 0) {
            gm_stream draws = gm_stream_of(SEED, GM_PURPOSE_RESAMPLE, (uint32_t)resample);
            from = gm_below(draws, i, SAMPLES);
        }
        y[i] = (int32_t)(from % 3);
        for (size_t j = 0; j < FEATURES; j++) {
            x[i * FEATURES + j] = gm_normal(features, from * FEATURES + j) + (double)y[i];
        }
    }
    gm_error err = {0};
    snprintf(name, sizeof name, "x%s.npy", suffix);
    assert_int_equal(gm_npy_write(folder_path(name), GM_NPY_F8, 2, dim, x, &err), GM_OK);
    snprintf(name, sizeof name, "y%s.npy", suffix);
    assert_int_equal(gm_npy_write(folder_path(name), GM_NPY_I4, 1, dim, y, &err), GM_OK);
}

/* The document of spectrum on the samples of that suffix. */
static json_t *measure(const char *suffix, const char *more)
{
    json_t *d = program_document(
        program("spectrum --json " SMALL "%s", folder, suffix, folder, suffix, more));
    assert_non_null(d);
    return d;
}

/* ---- the numbers ---- */

/* mean and sd (RESAMPLES - 1 in the denominator) to rounding, which in the sd is relative to the
 * values. */
static void check_statistics(const double *value, double mean, double sd)
{
    double sum = 0, squares = 0;
    for (int r = 0; r < RESAMPLES; r++) {
        sum += value[r];
    }
    for (int r = 0; r < RESAMPLES; r++) {
        squares += pow(value[r] - sum / RESAMPLES, 2);
    }
    close_to(mean, sum / RESAMPLES, 1e-13 * fabs(value[0]));
    close_to(sd, sqrt(squares / (RESAMPLES - 1)), 1e-13 * fabs(value[0]));
    assert_true(sd > 0);
}

/* {values, mean, sd} against key/entry of the resamples measured by themselves. Equal samples are
 * summed in another order than there, and Lanczos bases differ in rounding: 1e-9. */
static void check_number(const json_t *object, json_t *const *alone, const char *key,
                         const char *entry)
{
    double value[RESAMPLES];
    for (int r = 0; r < RESAMPLES; r++) {
        value[r] = number(at(object, "values"), (size_t)r);
        double expected = program_number(at(alone[r], key), entry);
        close_to(value[r], expected, 1e-9 * fabs(expected));
    }
    check_statistics(value, program_number(object, "mean"), program_number(object, "sd"));
}

/* Every eigenvalue of every resample, by the places that `index` names; 1e-9 as above and for the
 * tolerance of the eigenproblems, 1e-10. */
static void check_eigenvalues(const json_t *resampled, json_t *const *alone, size_t count)
{
    const json_t *rows = at(resampled, "eigenvalues");
    assert_int_equal(json_array_size(rows), RESAMPLES);
    for (size_t j = 0; j < count; j++) {
        double value[RESAMPLES], least = HUGE_VAL, most = -HUGE_VAL;
        size_t place = (size_t)number(at(resampled, "index"), j);
        for (size_t r = 0; r < RESAMPLES; r++) {
            const json_t *row = json_array_get(rows, r), *own = at(alone[r], "eigenvalues");
            assert_int_equal(json_array_size(row), count);
            value[r] = number(row, j);
            close_to(value[r], number(own, place), 1e-9 * number(own, 0));
            least = fmin(least, value[r]);
            most = fmax(most, value[r]);
        }
        check_statistics(value, number(at(resampled, "mean"), j), number(at(resampled, "sd"), j));
        assert_true(number(at(resampled, "min"), j) == least);
        assert_true(number(at(resampled, "max"), j) == most);
    }
}

/* One method with and without --data-resample, and on the resamples drawn here. What it says of the
 * data itself stays the same. */
static void check_method(const char *how, size_t eigenvalues, const char *sum)
{
    char more[256], suffix[16];
    snprintf(more, sizeof more, "%s --data-resample %d", how, RESAMPLES);
    json_t *d = measure("", more), *plain = measure("", how), *alone[RESAMPLES];
    for (int r = 0; r < RESAMPLES; r++) {
        snprintf(suffix, sizeof suffix, "%d", r);
        alone[r] = measure(suffix, how);
    }
    const json_t *resampled = at(d, "data_resample");
    assert_int_equal(json_integer_value(at(resampled, "resamples")), RESAMPLES);
    assert_int_equal(json_integer_value(at(resampled, "converged")), RESAMPLES);
    if (sum) {
        check_number(at(resampled, sum), alone, sum, "value");
        assert_true(json_equal(at(d, sum), at(plain, sum)));
    }
    if (eigenvalues) {
        check_eigenvalues(resampled, alone, eigenvalues);
        assert_true(json_equal(at(d, "eigenvalues"), at(plain, "eigenvalues")));
    }
    if (json_object_get(d, "diagonal")) {
        const json_t *diagonal = at(resampled, "diagonal");
        check_number(at(diagonal, "min"), alone, "diagonal", "min");
        check_number(at(diagonal, "max"), alone, "diagonal", "max");
        check_number(at(diagonal, "mean"), alone, "diagonal", "mean");
    }
    if (json_object_get(d, "density")) {
        size_t bins = json_array_size(at(at(d, "density"), "values"));
        assert_int_equal(json_array_size(at(at(resampled, "density"), "mean")), bins);
        assert_int_equal(json_array_size(at(at(resampled, "density"), "sd")), bins);
    }
    json_decref(d);
    json_decref(plain);
    for (int r = 0; r < RESAMPLES; r++) {
        json_decref(alone[r]);
    }
}

static void test_methods(void **state)
{
    (void)state;
    check_method("--method dense --k 4 --which BE", 4, "trace");
    check_method("--method lanczos --k 3", 3, NULL);
    check_method("--method trace --max-products 20", 0, "trace");
    check_method("--method trace --estimator hutchinson", 0, "frobenius");
    check_method("--method diagonal", 0, "trace");
    check_method("--method density --steps 10", 0, "trace");
}

/* The Gram form, and a D that is taken anew on every resample. */
static void test_operators(void **state)
{
    (void)state;
    check_method("--method dense --k 2 --operator moment", 2, "trace");
    check_method("--method dense --k 2 --precondition diag-moment", 2, "trace");
}

/* Traces of the layers' blocks sum to that of the whole net, resample by resample. */
static void test_layers(void **state)
{
    (void)state;
    json_t *d = measure("", "--method diagonal --layers each --data-resample 3");
    json_t *net = measure("", "--method diagonal --data-resample 3");
    const json_t *whole = at(at(at(net, "data_resample"), "trace"), "values");
    for (size_t r = 0; r < RESAMPLES; r++) {
        double sum = 0;
        for (size_t i = 0; i < 2; i++) {
            const json_t *block = json_array_get(at(d, "blocks"), i);
            sum += number(at(at(at(block, "data_resample"), "trace"), "values"), r);
        }
        close_to(sum, number(whole, r), 1e-12);
    }
    json_decref(d);
    json_decref(net);
}

/* ---- what comes out ---- */

/* The words tell the two errors apart; the run file keeps the eigenvalues of all resamples, under a
 * key of their own. */
static void test_recorded(void **state)
{
    (void)state;
    const char *run = folder_path("b.gmr");
    program_result r =
        program("spectrum -q --k 2 --method lanczos --data-resample 4 " SMALL "-o %s", folder, "",
                folder, "", run);
    if (r.exit != 0) fail_msg("%s", r.err);
    assert_non_null(strstr(r.out, "4 bootstrap resamples of the data"));
    assert_non_null(strstr(r.out, "estimator's"));
    program_free(&r);
    gm_run *file = NULL;
    gm_run_result *list = NULL;
    gm_run_array *array = NULL;
    gm_error err = {0};
    size_t count;
    assert_int_equal(gm_run_open(run, GM_RUN_READ, &file, &err), GM_OK);
    assert_int_equal(gm_run_results(file, "spectrum", &list, &count, &err), GM_OK);
    assert_int_equal(count, 1);
    assert_string_equal(list->key, "hessian/lanczos/net/data_resample");
    assert_int_equal(
        gm_run_load_array(file, list->id, "net/data_resample/eigenvalues", &array, &err), GM_OK);
    assert_int_equal(array->dim[0], 4);
    assert_int_equal(array->dim[1], 2);
    gm_run_free(array);
    gm_run_free(list);
    gm_run_close(file);
}

/* Traces cut off before their error is small enough: they are printed, the status is 1. */
static void test_unconverged(void **state)
{
    (void)state;
    program_result r = program("spectrum --json --method trace --estimator hutchinson "
                               "--rel-error 1e-6 --max-products 20 --data-resample 2 " SMALL,
                               folder, "", folder, "");
    json_t *d = json_loads(r.out, 0, NULL);
    assert_non_null(d);
    assert_int_equal(json_integer_value(at(at(d, "data_resample"), "converged")), 0);
    assert_int_equal(r.exit, 1);
    assert_true(program_one_line(r.err));
    assert_non_null(strstr(r.err, "not converged"));
    json_decref(d);
    program_free(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"1", "0", "-3", "many", "1000000000", "2.5"};
    for (int i = 0; i < 6; i++) {
        program_result r =
            program("spectrum -v " SMALL "--data-resample %s", folder, "", folder, "", bad[i]);
        assert_int_equal(r.exit, 2);
        assert_true(program_one_line(r.err));
        assert_non_null(strstr(r.err, "--data-resample"));
        assert_string_equal(r.out, "");
        program_free(&r);
    }
}

static int make_samples(void **state)
{
    if (folder_make(state) != 0) return -1;
    write_samples("", -1);
    write_samples("0", 0);
    write_samples("1", 1);
    write_samples("2", 2);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods),     cmocka_unit_test(test_operators),
        cmocka_unit_test(test_layers),      cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_unconverged), cmocka_unit_test(test_refusals),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli_resample", tests, make_samples, folder_remove);
}
