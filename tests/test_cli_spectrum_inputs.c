/* gradiometer spectrum on what is not a net on its data: a matrix from a file, operators between
 * two D^{-1/2}. */
#include "support.h"

#include <math.h>

#include "data/npy.h"
#include "folder.h"
#include "gradiometer/run.h"
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

/* ---- preconditioned ---- */

/* p = 53 parameters, n = 80 samples: no Gram form is smaller. */
#define NET  "--model mlp:6-5-3,act=tanh --data gauss:k=3,d=6,n=80,seed=4 --threads 1 "
#define TINY "-q --steps 40 --batch 8 --step 0.05 -o "
enum { P = 53, FIRST = 35 };

static double *load(const char *path, size_t count)
{
    gm_npy *npy = NULL;
    gm_error err = {0};
    double *value = calloc(count, sizeof *value);
    if (gm_npy_open(path, &npy, &err) != GM_OK || npy->count != count ||
        gm_npy_read(npy, count, value, &err) != GM_OK) {
        fail_msg("%s: %s", path, err.message);
    }
    gm_npy_close(npy);
    return value;
}

/* The matrix [size, size] put together from all its eigenpairs. */
static double *whole(size_t size, const char *arguments)
{
    const char *vectors = folder_path("v.npy");
    json_t *d = program_document(program("spectrum --json --method dense --k %zu --export-vectors "
                                         "%s %s",
                                         size, vectors, arguments));
    assert_non_null(d);
    assert_int_equal(json_array_size(at(d, "eigenvalues")), size);
    double *v = load(vectors, size * size), *a = calloc(size * size, sizeof *a);
    for (size_t e = 0; e < size; e++) {
        double lambda = number(at(d, "eigenvalues"), e);
        for (size_t i = 0; i < size; i++) {
            for (size_t j = 0; j < size; j++) {
                a[i * size + j] += lambda * v[e * size + i] * v[e * size + j];
            }
        }
    }
    free(v);
    json_decref(d);
    return a;
}

/* scaled [size, size] = D^{-1/2} a D^{-1/2}. LAPACK's eigenpairs carry p eps |lambda|_max, here
 * 1e-14 of the largest entry at most; times 100. */
static void check_scaled(size_t size, const double *a, const double *divisor, const double *scaled)
{
    double largest = 0;
    for (size_t i = 0; i < size * size; i++) {
        largest = fmax(largest, fabs(scaled[i]));
    }
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j < size; j++) {
            close_to(scaled[i * size + j], a[i * size + j] / sqrt(divisor[i] * divisor[j]),
                     1e-12 * largest);
        }
    }
}

static void train(const char *name, const char *how)
{
    program_result r = program("train " NET TINY "%s %s", folder_path(name), how);
    if (r.exit != 0) fail_msg("%s", r.err);
    program_free(&r);
}

/* A divisor of one's own: matrices, a layer's slice of it, and what the document says. */
static void test_divisor_file(void **state)
{
    (void)state;
    static const char *const kinds[] = {"hessian", "moment", "residual"};
    double *divisor = load(folder_path("d.npy"), P);
    for (int k = 0; k < 3; k++) {
        char plain[256], scaled[512];
        snprintf(plain, sizeof plain, NET "--operator %s", kinds[k]);
        snprintf(scaled, sizeof scaled, "%s --precondition-file %s", plain, folder_path("d.npy"));
        double *a = whole(P, plain), *b = whole(P, scaled);
        check_scaled(P, a, divisor, b);
        free(a);
        free(b);
    }
    char scaled[512];
    snprintf(scaled, sizeof scaled, NET "--layer dense2 --precondition-file %s",
             folder_path("d.npy"));
    double *a = whole(P - FIRST, NET "--layer dense2"), *b = whole(P - FIRST, scaled);
    check_scaled(P - FIRST, a, divisor + FIRST, b);
    free(a);
    free(b);

    json_t *d = program_document(program("spectrum --json %s", scaled));
    assert_non_null(d);
    const json_t *precondition = at(d, "precondition");
    assert_string_equal(json_string_value(at(precondition, "name")), "file");
    double least = divisor[FIRST], most = divisor[FIRST];
    for (size_t i = FIRST; i < P; i++) {
        least = fmin(least, divisor[i]);
        most = fmax(most, divisor[i]);
    }
    assert_true(program_number(precondition, "min") == least);
    assert_true(program_number(precondition, "max") == most);
    json_decref(d);
    free(divisor);
}

/* diag-moment and diag-hessian, with the diagonals of matrices put together here. */
static void test_divisor_exact(void **state)
{
    (void)state;
    static const char *const names[] = {"diag-moment", "diag-hessian"};
    static const char *const kinds[] = {"moment", "hessian"};
    static const double eps[] = {1e-3, 0.25}; /* the default, and one given */
    double *h = whole(P, NET);
    for (int k = 0; k < 2; k++) {
        char arguments[512], more[64] = "";
        double divisor[P], *diagonal;
        if (k) snprintf(more, sizeof more, "--precondition-eps %g", eps[k]);
        snprintf(arguments, sizeof arguments, NET "--operator %s", kinds[k]);
        diagonal = whole(P, arguments);
        for (size_t i = 0; i < P; i++) {
            double entry = diagonal[i * P + i];
            divisor[i] = (k ? fabs(entry) : sqrt(entry)) + eps[k];
        }
        snprintf(arguments, sizeof arguments, NET "--precondition %s %s", names[k], more);
        double *scaled = whole(P, arguments);
        check_scaled(P, h, divisor, scaled);
        free(diagonal);
        free(scaled);
    }
    free(h);
}

/* The states of three optimizers, from the run file's own numbers; "optimizer" takes whichever. */
static void test_divisor_state(void **state)
{
    (void)state;
    static const char *const names[] = {"rmsprop", "adagrad", "adam"};
    for (int k = 0; k < 3; k++) {
        char path[64], arguments[512];
        gm_run *run = NULL;
        gm_run_state *stored = NULL;
        gm_error err = {0};
        double divisor[P];
        snprintf(path, sizeof path, "%s.gmr", names[k]);
        assert_int_equal(gm_run_open(folder_path(path), GM_RUN_READ, &run, &err), GM_OK);
        assert_int_equal(gm_run_load_state(run, &stored, &err), GM_OK);
        const double *square = (const double *)stored->optimizer + (k == 2 ? P : 0);
        double unbias = k == 2 ? 1 / (1 - pow(0.999, 40)) : 1, eps = k == 2 ? 1e-8 : 1e-3;
        for (size_t i = 0; i < P; i++) {
            divisor[i] = sqrt(square[i] * unbias) + eps;
        }
        gm_run_free(stored);
        gm_run_close(run);
        snprintf(arguments, sizeof arguments, "--threads 1 --params %s", folder_path(path));
        double *h = whole(P, arguments);
        snprintf(arguments, sizeof arguments, "--threads 1 --params %s --precondition %s",
                 folder_path(path), k == 1 ? "optimizer" : names[k]);
        double *scaled = whole(P, arguments);
        check_scaled(P, h, divisor, scaled);
        json_t *d = program_document(program("spectrum --json %s", arguments));
        assert_string_equal(json_string_value(at(at(d, "precondition"), "name")), names[k]);
        json_decref(d);
        free(h);
        free(scaled);
    }
}

/* The methods that form no matrix: eigenpairs within their residuals (1e-10), the diagonal to
 * rounding, the trace of either kind within five of its errors. */
static void test_divisor_methods(void **state)
{
    (void)state;
    char more[512];
    const char *file = folder_path("d.npy");
    snprintf(more, sizeof more, NET "--precondition-file %s", file);
    double *a = whole(P, NET), *divisor = load(file, P), trace = 0;
    json_t *dense = program_document(program("spectrum --json --method dense %s", more));
    json_t *few =
        program_document(program("spectrum --json --method lanczos --solver block --k 4 %s", more));
    assert_non_null(dense);
    assert_non_null(few);
    double scale = number(at(dense, "eigenvalues"), 0);
    for (size_t j = 0; j < 4; j++) {
        close_to(number(at(few, "eigenvalues"), j), number(at(dense, "eigenvalues"), j),
                 1e-10 * scale);
    }
    const char *path = folder_path("diagonal.npy");
    json_t *diagonal = program_document(
        program("spectrum --json --method diagonal --export-diagonal %s %s", path, more));
    assert_non_null(diagonal);
    double *found = load(path, P);
    for (size_t i = 0; i < P; i++) {
        close_to(found[i], a[i * P + i] / divisor[i], 1e-12 * scale);
        trace += found[i];
    }
    static const char *const methods[] = {"trace --max-products 30", "density --steps 20"};
    for (int m = 0; m < 2; m++) {
        json_t *d = program_document(program("spectrum --json --method %s %s", methods[m], more));
        assert_non_null(d);
        const json_t *sum = at(d, "trace");
        close_to(program_number(sum, "value"), trace, 5 * program_number(sum, "stderr"));
        json_decref(d);
    }
    json_decref(dense);
    json_decref(few);
    json_decref(diagonal);
    free(found);
    free(divisor);
    free(a);
}

/* Recorded beside the plain spectrum and not in its place; words say preconditioned. */
static void test_divisor_recorded(void **state)
{
    (void)state;
    const char *run = folder_path("rmsprop.gmr"), *results = folder_path("r.json");
    static const char *const how[] = {"", "--precondition optimizer"};
    for (int i = 0; i < 2; i++) {
        program_result r =
            program("spectrum -q --params %s --method lanczos --k 2 %s -o %s", run, how[i], run);
        assert_int_equal(r.exit, 0);
        assert_true(!strstr(r.out, "preconditioned Hessian") == (i == 0));
        assert_true(!strstr(r.out, "2/eta") == (i == 0));
        program_free(&r);
    }
    program_result r = program("export %s --results %s", run, results);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    json_t *d = json_load_file(results, 0, NULL);
    assert_int_equal(json_array_size(at(d, "results")), 2);
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
        for (const char *c = refused[i].arguments; *c; c++) { /* " @" stands for the folder */
            end += *c == '@' && c[-1] == ' ' ? sprintf(end, "%s/", folder) : sprintf(end, "%c", *c);
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
        {"--matrix @a.npy --precondition adam", "--precondition"},
        {"--matrix @a.npy --data-resample 5", "--data-resample"},
        {"--matrix @a.npy --method trace --which SA", "--which"},
    };
    CHECK(refused);
}

static void test_divisor_refusals(void **state)
{
    (void)state;
    static const refusal refused[] = {
        {NET "--precondition bogus", "--precondition"},
        {NET "--precondition adam", "--params"},
        {NET "--precondition optimizer --params @theta.npy", "--precondition"},
        {"--params @plain.gmr --precondition optimizer", "plain SGD"},
        {"--params @plain.gmr --precondition adam", "no preconditioner"},
        {"--params @rmsprop.gmr --precondition adagrad", "trained with rmsprop"},
        {"--params @rmsprop.gmr@0 --precondition rmsprop", "step 40 alone"},
        {NET "--precondition diag-moment --precondition-eps 0", "--precondition-eps"},
        {NET "--precondition-eps 1", "--precondition-eps"},
        {NET "--precondition-file @d.npy --precondition diag-moment", "--precondition-file"},
        {NET "--precondition-file @none.npy", "none.npy"},
        {NET "--precondition-file @vector.npy", "holds 3 numbers, expected 53"},
        {NET "--precondition-file @rows.npy", "rows.npy"},
        {NET "--precondition-file @zero.npy", "entry 7"},
        {NET "--precondition-file @infinite.npy", "infinite.npy"},
        {"--matrix @a.npy --precondition-file @d.npy", "holds 53 numbers, expected 60"},
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
    double divisor[P];
    for (int i = 0; i < P; i++) { /* no order in it: a wrong slice is seen */
        divisor[i] = 0.05 + fabs(sin(7.3 * i));
    }
    save("d.npy", 1, P, 0, divisor);
    save("theta.npy", 1, P, 0, divisor);
    divisor[7] = 0;
    save("zero.npy", 1, P, 0, divisor);
    divisor[7] = (double)INFINITY;
    save("infinite.npy", 1, P, 0, divisor);
    train("plain.gmr", "");
    train("rmsprop.gmr", "--precondition rmsprop");
    train("adagrad.gmr", "--precondition adagrad");
    train("adam.gmr", "--optimizer adam");
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix_dense),     cmocka_unit_test(test_matrix_lanczos),
        cmocka_unit_test(test_matrix_estimates), cmocka_unit_test(test_matrix_recorded),
        cmocka_unit_test(test_matrix_refusals),  cmocka_unit_test(test_divisor_file),
        cmocka_unit_test(test_divisor_exact),    cmocka_unit_test(test_divisor_state),
        cmocka_unit_test(test_divisor_methods),  cmocka_unit_test(test_divisor_recorded),
        cmocka_unit_test(test_divisor_refusals),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli_spectrum_inputs", tests, make_files, folder_remove);
}
