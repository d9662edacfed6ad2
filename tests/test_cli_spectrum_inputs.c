/* gradiometer spectrum on what is not a net on its data: a matrix from a file. */
#include "support.h"

#include <math.h>

#include "data/npy.h"
#include "folder.h"
#include "program.h"

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

static void save(const char *name, int rank, size_t rows, size_t columns, const double *value)
{
    gm_error err = {0};
    size_t dim[] = {rows, columns};
    if (gm_npy_write(folder_path(name), GM_NPY_F8, rank, dim, value, &err) != GM_OK) {
        fail_msg("%s", err.message);
    }
}

/* ---- a matrix in the place of a net ---- */

/* The second difference on a line of N points with fixed ends: eigenvalues 2 - 2 cos(j pi/(N + 1)),
 * trace 2 N, ||A||_F^2 = 4 N + 2 (N - 1). */
enum { N = 60 };

static double known(size_t j) /* descending, j = 0 ... N - 1 */
{
    return 2 - 2 * cos((double)(N - j) * acos(-1) / (N + 1));
}

static void write_known(void)
{
    static double a[N][N];
    FILE *file = fopen(folder_path("a.mtx"), "w");
    fprintf(file, "%%%%MatrixMarket matrix coordinate real symmetric\n%d %d %d\n", N, N, 2 * N - 1);
    for (int i = 0; i < N; i++) {
        a[i][i] = 2;
        fprintf(file, "%d %d 2\n", i + 1, i + 1);
        if (i == 0) continue;
        a[i][i - 1] = a[i - 1][i] = -1;
        fprintf(file, "%d %d -1\n", i + 1, i);
    }
    fclose(file);
    save("a.npy", 2, N, N, a[0]);
}

/* The keys every document has, with nothing of a net in them. */
static void check_common(const json_t *d, const char *method)
{
    static const char *const none[] = {"model", "data", "loss", "loss_name", "gradient_norm"};
    for (int i = 0; i < 5; i++) {
        assert_true(json_is_null(at(d, none[i])));
    }
    assert_string_equal(json_string_value(at(d, "tool")), "gradiometer");
    assert_string_equal(json_string_value(at(d, "command")), "spectrum");
    assert_string_equal(json_string_value(at(d, "operator")), "matrix");
    assert_string_equal(json_string_value(at(d, "method")), method);
    assert_string_equal(json_string_value(at(d, "precision")), "f64");
    assert_int_equal(json_integer_value(at(d, "seed")), 3);
    assert_int_equal(json_integer_value(at(at(d, "matrix"), "size")), N);
    assert_true(json_is_array(at(d, "notes")));
    assert_true(json_is_true(at(d, "converged")));
    at(d, "version"), at(d, "threads"), at(d, "seconds");
}

static json_t *measure(const char *file, const char *method, const char *more)
{
    json_t *d = program_document(program("spectrum --json --seed 3 --threads 1 --matrix %s "
                                         "--method %s %s",
                                         folder_path(file), method, more));
    assert_non_null(d);
    check_common(d, method);
    return d;
}

/* Dense from either file: all eigenvalues within the rounding of LAPACK, N eps ||A||. */
static void test_matrix_dense(void **state)
{
    (void)state;
    for (int f = 0; f < 2; f++) {
        json_t *d = measure(f ? "a.mtx" : "a.npy", "dense", "");
        const json_t *value = at(d, "eigenvalues");
        assert_int_equal(json_array_size(value), N);
        for (size_t j = 0; j < N; j++) {
            close_to(number(value, j), known(j), 5e-14);
        }
        close_to(program_number(at(d, "trace"), "value"), 2 * N, 1e-12);
        json_decref(d);
    }
}

/* Lanczos from both ends: an eigenvalue lies within its residual, here below 1e-10 of 4. */
static void test_matrix_lanczos(void **state)
{
    (void)state;
    json_t *d = measure("a.mtx", "lanczos", "--k 5 --which BE");
    const json_t *value = at(d, "eigenvalues");
    assert_int_equal(json_array_size(value), 5);
    for (size_t j = 0; j < 5; j++) {
        close_to(number(value, j), known(j < 3 ? j : N - 5 + j), 4e-10);
    }
    json_decref(d);
}

/* The diagonal is read off, without a product; the estimates lie within five of their standard
 * errors, which for these seeds is a fact and not a chance. */
static void test_matrix_estimates(void **state)
{
    (void)state;
    json_t *d = measure("a.mtx", "diagonal", "");
    assert_true(json_is_true(at(at(d, "diagonal"), "exact")));
    assert_int_equal(json_integer_value(at(d, "products")), 0);
    assert_true(program_number(at(d, "diagonal"), "min") == 2);
    assert_true(program_number(at(d, "diagonal"), "max") == 2);
    json_decref(d);

    static const char *const methods[] = {"trace", "density"};
    static const char *const more[] = {"--max-products 40 --estimator hutchpp", "--steps 20"};
    for (int m = 0; m < 2; m++) {
        d = measure("a.npy", methods[m], more[m]);
        const json_t *trace = at(d, "trace"), *norm = at(d, "frobenius");
        assert_true(program_number(trace, "stderr") > 0);
        close_to(program_number(trace, "value"), 2 * N, 5 * program_number(trace, "stderr"));
        close_to(program_number(norm, "value"), sqrt(6 * N - 2),
                 5 * program_number(norm, "stderr"));
        json_decref(d);
    }
}

/* -o makes a run file of it, which names the matrix and can be drawn. */
static void test_matrix_recorded(void **state)
{
    (void)state;
    const char *run = folder_path("m.gmr");
    program_result r =
        program("spectrum --matrix %s --method lanczos -q -o %s", folder_path("a.mtx"), run);
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "60 x 60"));
    program_free(&r);
    const char *results = folder_path("m.json");
    r = program("export %s --results %s", run, results);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    json_t *d = json_load_file(results, 0, NULL);
    assert_non_null(d);
    assert_non_null(strstr(json_string_value(at(at(d, "settings"), "matrix")), "a.mtx"));
    assert_int_equal(json_array_size(at(d, "results")), 1);
    json_decref(d);
}

/* ---- refusals ---- */

typedef struct refusal {
    const char *arguments, *culprit;
} refusal;

/* Runs in the folder: one line on stderr that names the culprit, status 2, nothing on stdout. */
static void check_refusals(size_t count, const refusal *refused)
{
    for (size_t i = 0; i < count; i++) {
        char arguments[512] = "", *end = arguments;
        for (const char *c = refused[i].arguments; *c; c++) { /* @ stands for the folder */
            end += *c == '@' ? sprintf(end, "%s/", folder) : sprintf(end, "%c", *c);
        }
        program_result r = program("spectrum -v %s", arguments);
        if (r.exit != 2 || !program_one_line(r.err) || *r.out ||
            !strstr(r.err, refused[i].culprit)) {
            fail_msg("%s: expected one line with '%s' and status 2, found %d: %s", arguments,
                     refused[i].culprit, r.exit, r.err);
        }
        program_free(&r);
    }
}
#define CHECK(refused) check_refusals(sizeof(refused) / sizeof *(refused), refused)

static void test_matrix_refusals(void **state)
{
    (void)state;
    static const refusal refused[] = {
        {"--matrix @none.npy", "none.npy"},
        {"--matrix @text.npy", "text.npy"},
        {"--matrix @rows.npy", "2 rows and 3 columns"},
        {"--matrix @skew.npy", "symmetric"},
        {"--matrix @nan.npy", "nan.npy"},
        {"--matrix @vector.npy", "1 dimensions"},
        {"--matrix @a.npy --k 61", "--k"},
        {"--matrix @a.npy --memory 1000", "budget"},
        {"--matrix @a.npy --model mlp:2-2", "--model"},
        {"--matrix @a.npy --data gauss:n=10", "--data"},
        {"--matrix @a.npy --params x.npy", "--params"},
        {"--matrix @a.npy --layer 0", "--layer"},
        {"--matrix @a.npy --layers each", "--layers"},
        {"--matrix @a.npy --operator ggn", "--operator"},
        {"--matrix @a.npy --loss squared", "--loss"},
        {"--matrix @a.npy --precision f32", "--precision"},
        {"--matrix @a.npy --subset 5", "--subset"},
        {"--matrix @a.npy --method trace --which SA", "--which"},
    };
    CHECK(refused);
}

/* ---- files of all tests ---- */

static int make_files(void **state)
{
    if (folder_make(state) != 0) return -1;
    write_known();
    save("rows.npy", 2, 2, 3, (double[]){1, 2, 3, 4, 5, 6});
    save("skew.npy", 2, 2, 2, (double[]){1, 2, -2, 1});
    save("nan.npy", 2, 2, 2, (double[]){1, (double)NAN, (double)NAN, 1});
    save("vector.npy", 1, 3, 0, (double[]){1, 2, 3});
    folder_write("text.npy", "no matrix\n", 10);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix_dense),     cmocka_unit_test(test_matrix_lanczos),
        cmocka_unit_test(test_matrix_estimates), cmocka_unit_test(test_matrix_recorded),
        cmocka_unit_test(test_matrix_refusals),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli_spectrum_inputs", tests, make_files, folder_remove);
}
