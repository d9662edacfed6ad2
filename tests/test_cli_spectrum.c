/* gradiometer spectrum by products alone, as a user runs it: every method beside all eigenvalues of
 * the same operator by LAPACK. The solvers and estimators themselves are tested in test_eigen.c,
 * test_trace.c and test_density.c; what the program refuses in test_cli_spectrum_limits.c. */
#include "support.h"

#include <math.h>
#include <sqlite3.h>

#include "data/npy.h"
#include "folder.h"
#include "program.h"

/* An indefinite Hessian of 115 parameters, 88 and 27 in the two layers: more than twice a basis, so
 * that no solver forms it. M has rank 40. */
#define NET "spectrum --model mlp:10-8-3 --data gauss:k=3,d=10,n=40 --threads 1 "
enum { P = 115, RANK = 40, K = 5, FIRST = 88 };

/* ---- helpers ---- */

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

/* The document of NET with these further arguments. */
static json_t *measure(const char *arguments)
{
    json_t *document = program_document(program(NET "--json %s", arguments));
    if (!document) fail_msg("%s", arguments);
    return document;
}

static void close_to(const char *what, double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("%s: found %.17g, expected %.17g within %.3g", what, found, expected, tolerance);
    }
}

/* value [P] = all eigenvalues of the Hessian, descending. */
static void hessian_values(double *value)
{
    json_t *d = measure("--method dense");
    assert_int_equal(json_array_size(at(d, "eigenvalues")), P);
    for (size_t i = 0; i < P; i++) {
        value[i] = number(at(d, "eigenvalues"), i);
    }
    json_decref(d);
}

static double power_sum(size_t n, const double *value, int power)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += pow(value[i], power);
    }
    return sum;
}

/* values of a file [rows, columns] in f8; columns 0: a vector. */
static double *read_npy(const char *path, size_t rows, size_t columns)
{
    gm_error err;
    gm_npy *npy = NULL;
    assert_int_equal(gm_npy_open(path, &npy, &err), GM_OK);
    assert_int_equal(npy->type, GM_NPY_F8);
    assert_int_equal(npy->rank, columns ? 2 : 1);
    assert_int_equal(npy->dim[0], rows);
    if (columns) assert_int_equal(npy->dim[1], columns);
    size_t count = rows * (columns ? columns : 1);
    double *value = malloc(count * sizeof *value);
    assert_int_equal(gm_npy_read(npy, count, value, &err), GM_OK);
    gm_npy_close(npy);
    return value;
}

/* ---- eigenpairs ---- */

/* Places in the descending spectrum of the K pairs of each --which: known from all of it. */
static void places(const char *which, const double *value, size_t *place)
{
    size_t top = 0;
    if (strcmp(which, "LA") == 0) top = K;
    if (strcmp(which, "BE") == 0) top = K - K / 2;
    for (size_t taken = 0; strcmp(which, "LM") == 0 && taken < K; taken++) {
        top += fabs(value[top]) >= fabs(value[P - 1 - (taken - top)]);
    }
    for (size_t i = 0; i < K; i++) {
        place[i] = i < top ? i : P - K + i;
    }
}

/* Symmetric matrices: an eigenvalue lies within the residual, here 1e-10 of the largest one. */
static void check_pairs(const json_t *d, const char *which, const char *solver, const double *value)
{
    size_t place[K];
    double scale = fmax(fabs(value[0]), fabs(value[P - 1]));
    places(which, value, place);
    assert_int_equal(json_array_size(at(d, "eigenvalues")), K);
    assert_int_equal(json_array_size(at(d, "residuals")), K);
    for (size_t i = 0; i < K; i++) {
        close_to(which, number(at(d, "eigenvalues"), i), value[place[i]], 1.01e-10 * scale);
        assert_true(number(at(d, "residuals"), i) <= 1e-10 * scale);
    }
    const char *by = json_string_value(at(d, "solver"));
    if (strcmp(by, "dense") != 0) assert_string_equal(by, solver); /* formed after many products */
    assert_string_equal(json_string_value(at(d, "stop")), "converged");
    assert_string_equal(json_string_value(at(d, "which")), which);
    assert_true(json_is_true(at(d, "converged")));
    assert_true(json_is_null(at(d, "layer")) && json_is_null(at(d, "step")));
    assert_int_equal(program_number(d, "pairs_wanted"), K);
    assert_int_equal(program_number(d, "pairs_converged"), K);
    assert_int_equal(program_number(d, "size"), P);
    assert_true(program_number(d, "tol") == 1e-10);
    assert_true(program_number(d, "noise_floor") > 0 && program_number(d, "noise_floor") < 1e-14);
    double seen = program_number(d, "scale"), products = program_number(d, "products");
    assert_true(seen <= scale * (1 + 1e-12) && seen >= 0.5 * scale);
    assert_true(products > K && products < 8 * P);
    assert_true(program_number(d, "solver_products") + program_number(d, "check_products") ==
                products);
    assert_true(program_number(d, "block_products") > 0);
    assert_true(program_number(d, "block_products") <= products);
}

static void test_pairs(void **state)
{
    (void)state;
    static const char *const ends[] = {"LA", "SA", "BE", "LM"};
    static const char *const solvers[] = {"arpack", "block"};
    double value[P];
    hessian_values(value);
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 2; j++) {
            char arguments[128];
            snprintf(arguments, sizeof arguments, "--method lanczos --k %d --which %s --solver %s",
                     K, ends[i], solvers[j]);
            json_t *d = measure(arguments);
            check_pairs(d, ends[i], solvers[j], value);
            json_decref(d);
        }
    }
}

/* M has 75 eigenvalues 0 at its lower end: every pair asked for is one of them, within the loose
 * tolerance, by the solver that is chosen there; the other one is named where the user insists. */
static void test_repeated_zeros(void **state)
{
    (void)state;
    json_t *d = measure("--method lanczos --operator moment --which SA --k 5 --tol 1e-4");
    assert_string_equal(json_string_value(at(d, "solver")), "block");
    double largest = program_number(d, "scale");
    for (size_t i = 0; i < K; i++) {
        close_to("zero", number(at(d, "eigenvalues"), i), 0, 1e-4 * largest);
    }
    char *notes = json_dumps(at(d, "notes"), 0);
    assert_non_null(strstr(notes, "solver block: 0 is met many times"));
    free(notes);
    json_decref(d);
    program_result r = program(NET "--method lanczos --operator moment --which SA --k 5 --tol 1e-4 "
                                   "--solver arpack");
    assert_non_null(strstr(r.out, "0 is met many times at the lower end of this operator"));
    program_free(&r);
}

/* Products in single precision: within the tolerance, 1e-4, of the same in double. */
static void test_single_precision(void **state)
{
    (void)state;
    double value[P];
    hessian_values(value);
    json_t *d = measure("--method lanczos --precision f32 --k 5");
    assert_true(program_number(d, "tol") == 1e-4);
    for (size_t i = 0; i < K; i++) {
        close_to("f32", number(at(d, "eigenvalues"), i), value[i], 1e-4 * value[0]);
    }
    json_decref(d);
    d = measure("--method trace --precision f32");
    close_to("trace", program_number(at(d, "trace"), "value"), power_sum(P, value, 1),
             1e-5 * power_sum(P, value, 1));
    json_decref(d);
}

/* Vectors of both methods are the same up to their signs: the eigenvalues are simple, gaps above
 * 1e-2, residuals below 1e-10. */
static void test_export_vectors(void **state)
{
    (void)state;
    const char *file[] = {folder_path("lanczos.npy"), folder_path("dense.npy")};
    double *vector[2];
    for (int i = 0; i < 2; i++) {
        char arguments[1024];
        snprintf(arguments, sizeof arguments, "--method %s --k %d --export-vectors %s",
                 i ? "dense" : "lanczos", K, file[i]);
        json_decref(measure(arguments));
        vector[i] = read_npy(file[i], K, P);
    }
    for (size_t i = 0; i < K; i++) {
        for (size_t j = 0; j < K; j++) {
            double dot = 0;
            for (size_t l = 0; l < P; l++) {
                dot += vector[0][i * P + l] * vector[1][j * P + l];
            }
            close_to("vectors", fabs(dot), i == j, 1e-7);
        }
    }
    free(vector[0]);
    free(vector[1]);
}

/* ---- traces ---- */

static void test_trace_exhausted(void **state)
{
    (void)state;
    double value[P];
    hessian_values(value);
    json_t *d = measure("--method trace");
    const json_t *trace = at(d, "trace"), *norm = at(d, "frobenius");
    double expected = power_sum(P, value, 1), squares = power_sum(P, value, 2);
    close_to("trace", program_number(trace, "value"), expected, 1e-10 * expected);
    close_to("norm", program_number(norm, "value"), sqrt(squares), 1e-10 * sqrt(squares));
    assert_true(program_number(trace, "stderr") == 0 && program_number(norm, "stderr") == 0);
    assert_true(json_is_true(at(trace, "exact")));
    assert_string_equal(json_string_value(at(trace, "estimator")), "xtrace");
    assert_true(program_number(trace, "products") == program_number(d, "products"));
    assert_true(json_is_true(at(d, "converged")));
    json_decref(d);
}

/* The 95 % interval holds the truth in all but some of 12 seeds: more than 3 misses are a matter of
 * 2 in 1,000 where the rate is 5 %. */
static void test_trace_errors(void **state)
{
    (void)state;
    enum { SEEDS = 12, PRODUCTS = 60 };
    static const char *const estimators[] = {"hutchinson", "hutchpp", "xtrace"};
    double value[P];
    hessian_values(value);
    double expected = power_sum(P, value, 1);
    for (int i = 0; i < 3; i++) {
        int misses = 0;
        for (int seed = 0; seed < SEEDS; seed++) {
            char arguments[128];
            /* The same point, other probes: the parameters come from a file. */
            snprintf(arguments, sizeof arguments,
                     "--method trace --estimator %s --max-products %d --seed %d --params %s",
                     estimators[i], PRODUCTS, seed, folder_path("theta.npy"));
            json_t *d = measure(arguments);
            const json_t *trace = at(d, "trace");
            double error = program_number(trace, "value") - expected;
            assert_true(program_number(trace, "stderr") > 0);
            assert_true(program_number(trace, "half_width") > program_number(trace, "stderr"));
            assert_true(program_number(d, "products") <= PRODUCTS);
            misses += fabs(error) > program_number(trace, "half_width");
            json_decref(d);
        }
        if (misses > 3) fail_msg("%s: %d misses of %d", estimators[i], misses, SEEDS);
    }
}

static void test_trace_rel_error(void **state)
{
    (void)state;
    json_t *d = measure("--method trace --estimator hutchinson --rel-error 0.1");
    const json_t *trace = at(d, "trace");
    assert_true(program_number(trace, "half_width") <= 0.1 * program_number(trace, "value"));
    assert_true(program_number(d, "products") < 10000);
    json_decref(d);
    d = measure("--method trace --rel-error 0.1"); /* needs no estimator to be named */
    assert_true(program_number(at(d, "trace"), "half_width") <=
                0.1 * program_number(at(d, "trace"), "value"));
    json_decref(d);
    d = measure("--method diagonal --estimator hutchinson --rel-error 0.1");
    assert_true(program_number(at(d, "diagonal"), "half_width") <=
                0.1 * program_number(at(d, "diagonal"), "norm"));
    json_decref(d);
}

/* ---- densities ---- */

/* Integral of the density's values over its grid of equal bins. */
static double integral(const json_t *density)
{
    const json_t *grid = at(density, "grid"), *values = at(density, "values");
    size_t n = json_array_size(grid);
    assert_int_equal(json_array_size(values), n);
    assert_int_equal(json_array_size(at(density, "stderr")), n);
    double step = (number(grid, n - 1) - number(grid, 0)) / (double)(n - 1), sum = 0;
    for (size_t i = 0; i < n; i++) {
        close_to("grid", number(grid, i), number(grid, 0) + (double)i * step,
                 1e-9 * step * (double)n);
        assert_true(number(values, i) >= 0);
        sum += number(values, i) * step;
    }
    return sum;
}

/* Sum of weight node^power of one probe. */
static double probe_moment(const json_t *density, size_t probe, int power)
{
    const json_t *node = json_array_get(at(density, "nodes"), probe);
    const json_t *weight = json_array_get(at(density, "weights"), probe);
    double sum = 0;
    for (size_t j = 0; j < json_array_size(node); j++) {
        sum += number(weight, j) * pow(number(node, j), power);
    }
    return sum;
}

/* [probes, steps], nodes descending, rows of weights that sum to `weights`. */
static void check_nodes(const json_t *density, size_t probes, size_t steps, double weights)
{
    assert_int_equal(json_array_size(at(density, "nodes")), probes);
    assert_int_equal(json_array_size(at(density, "weights")), probes);
    assert_int_equal(json_array_size(at(density, "taken")), probes);
    for (size_t i = 0; i < probes; i++) {
        const json_t *node = json_array_get(at(density, "nodes"), i);
        const json_t *weight = json_array_get(at(density, "weights"), i);
        size_t taken = (size_t)number(at(density, "taken"), i);
        assert_int_equal(json_array_size(node), steps);
        assert_int_equal(json_array_size(weight), steps);
        close_to("weights", probe_moment(density, i, 0), weights, 1e-12);
        for (size_t j = 1; j < steps; j++) {
            assert_true(number(node, j) <= number(node, j - 1));
            if (j >= taken) assert_true(number(weight, j) == 0);
            if (j >= taken) assert_true(number(node, j) == number(node, taken - 1));
        }
    }
}

/* The means over probes of the first four moments, beside those of all eigenvalues: within 4
 * standard errors of the mean over 30 probes (6e-5 for a Gaussian, for each). */
static void check_moments(const json_t *density, size_t probes, size_t n, const double *value)
{
    for (int power = 1; power <= 4; power++) {
        double sum = 0, squares = 0, count = (double)probes;
        for (size_t i = 0; i < probes; i++) {
            double moment = probe_moment(density, i, power) * P;
            sum += moment;
            squares += moment * moment;
        }
        double mean = sum / count;
        double error = sqrt((squares / count - mean * mean) / (count - 1));
        close_to("moment", mean, power_sum(n, value, power), 4 * error);
        assert_true(error < 0.5 * power_sum(n, value, 2 * ((power + 1) / 2)));
    }
}

/* Shares between powers of sqrt(10) on either side of zero: ascending edges that mirror each other,
 * all of the weight, and the share above 0.1 beside the true one: within 0.03, the weight of a node
 * at the boundary and the scatter of 30 probes. */
static void check_log(const json_t *density, size_t n, const double *value)
{
    const json_t *edge = at(at(density, "log"), "edges"), *share = at(at(density, "log"), "share");
    size_t bins = json_array_size(share);
    assert_int_equal(json_array_size(edge), bins + 1);
    assert_int_equal(json_array_size(at(at(density, "log"), "stderr")), bins);
    double total = 0, positive = 0, expected = 0;
    for (size_t b = 0; b < bins; b++) {
        assert_true(number(edge, b) < number(edge, b + 1));
        assert_true(number(edge, b) == -number(edge, bins - b));
        total += number(share, b);
        if (number(edge, b) > 0.099) positive += number(share, b);
    }
    for (size_t i = 0; i < n; i++) {
        expected += value[i] > 0.1;
    }
    close_to("log shares", total, 1, 1e-12);
    close_to("share above 0.1", positive, expected / (double)n, 0.03);
}

static void test_density(void **state)
{
    (void)state;
    enum { PROBES = 30, STEPS = 25 };
    double value[P], shifted = 0, above = 0;
    hessian_values(value);
    json_t *d = measure("--method density --probes 30 --steps 25 --log-det 1 --count 0.1,inf");
    const json_t *density = at(d, "density");
    check_nodes(density, PROBES, STEPS, 1);
    check_moments(density, PROBES, P, value);
    assert_int_equal(program_number(d, "products"), PROBES * STEPS);
    assert_int_equal(json_array_size(at(density, "deflated")), 0);
    close_to("integral", integral(density), program_number(density, "mass"), 1e-9);
    close_to("mass", program_number(density, "mass"), 1, 1e-8);
    check_log(density, P, value);
    double range = value[0] - value[P - 1];
    assert_true(program_number(density, "width") <= range / 200);
    assert_true(program_number(density, "width") > range / 1e4);

    /* Functions of the operator: within four standard errors of theirs. */
    for (size_t i = 0; i < P; i++) {
        shifted += log(value[i] + 1);
        above += value[i] >= 0.1;
    }
    const json_t *trace = at(d, "trace"), *log_det = at(d, "log_det"), *count = at(d, "count");
    close_to("trace", program_number(trace, "value"), power_sum(P, value, 1),
             4 * program_number(trace, "stderr"));
    close_to("norm", program_number(at(d, "frobenius"), "value"), sqrt(power_sum(P, value, 2)),
             4 * program_number(at(d, "frobenius"), "stderr"));
    close_to("log det", program_number(log_det, "value"), shifted,
             4 * program_number(log_det, "stderr"));
    assert_true(program_number(log_det, "shift") == 1);
    double slack = 2 * program_number(count, "half_width");
    assert_true(program_number(count, "low") - slack <= above);
    assert_true(program_number(count, "high") + slack >= above);
    assert_true(program_number(count, "low") <= program_number(count, "value"));
    assert_true(program_number(count, "value") <= program_number(count, "high"));
    assert_true(program_number(count, "from") == 0.1 && json_is_null(at(count, "to")));
    json_decref(d);

    d = measure("--method density --probes 1 --width 0.25 --bins 77 --steps 9");
    density = at(d, "density");
    assert_true(program_number(density, "width") == 0.25);
    assert_int_equal(json_array_size(at(density, "grid")), 77);
    assert_true(json_is_null(json_array_get(at(density, "stderr"), 3))); /* one probe: unknown */
    assert_true(json_is_null(at(at(d, "trace"), "stderr")));
    close_to("integral", integral(density), 1, 1e-8);
    json_decref(d);
}

/* M has rank 40: Lanczos breaks down after at most 41 steps, and the 75 zeros are not told from
 * the noise. */
static void test_density_breakdown(void **state)
{
    (void)state;
    json_t *d = measure("--method density --operator moment --probes 3 --steps 500");
    const json_t *density = at(d, "density");
    check_nodes(density, 3, P, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_true(number(at(density, "taken"), i) <= RANK + 1);
    }
    assert_true(program_number(d, "products") <= 3 * (RANK + 1));
    assert_true(program_number(density, "unresolved") > 0.3);
    assert_true(program_number(density, "floor") > 0);
    json_decref(d);
}

/* Six eigenvalues taken out: exact themselves, and the moments of the rest are those of the other
 * 109 eigenvalues. */
static void test_density_deflated(void **state)
{
    (void)state;
    enum { OUT = 6, PROBES = 30, STEPS = 25 };
    double value[P];
    hessian_values(value);
    for (int block = 0; block < 2; block++) {
        json_t *d =
            measure(block ? "--method density --probes 30 --steps 25 --deflate 6 --solver block"
                          : "--method density --probes 30 --steps 25 --deflate 6");
        const json_t *density = at(d, "density"), *out = at(density, "deflated");
        double share = 1 - OUT / (double)P;
        assert_int_equal(json_array_size(out), OUT);
        for (size_t i = 0; i < OUT; i++) {
            close_to("deflated", number(out, i), value[i], 1.01e-10 * value[0]);
            assert_true(number(at(d, "eigenvalues"), i) == number(out, i));
            assert_true(number(at(d, "residuals"), i) <= 1e-10 * value[0]);
        }
        check_nodes(density, PROBES, STEPS, share);
        check_moments(density, PROBES, P - OUT, value + OUT);
        check_log(density, P, value);
        close_to("mass", program_number(density, "mass"), share, 1e-8);
        close_to("integral", integral(density), program_number(density, "mass"), 1e-9);
        const json_t *grid = at(density, "grid");
        double width = program_number(density, "width");
        assert_true(number(grid, json_array_size(grid) - 1) <= value[OUT] + 6 * width);
        assert_true(program_number(d, "products") > PROBES * STEPS + OUT);
        const json_t *trace = at(d, "trace");
        close_to("trace", program_number(trace, "value"), power_sum(P, value, 1),
                 4 * program_number(trace, "stderr"));
        json_decref(d);
    }
    json_t *d = measure("--method density --probes 3 --deflate 2 --which SA");
    close_to("smallest", number(at(at(d, "density"), "deflated"), 1), value[P - 1], 1e-9);
    json_decref(d);
}

/* ---- diagonals ---- */

static void test_diagonal(void **state)
{
    (void)state;
    const char *file[] = {folder_path("exact.npy"), folder_path("matrix.npy"),
                          folder_path("hutchinson.npy"), folder_path("xdiag.npy")};
    static const char *const how[] = {"diagonal", "dense",
                                      "diagonal --max-products 60 --estimator hutchinson",
                                      "diagonal --max-products 60 --estimator xdiag"};
    double *diagonal[4];
    for (int i = 0; i < 4; i++) {
        char arguments[1024];
        snprintf(arguments, sizeof arguments, "--method %s --export-diagonal %s", how[i], file[i]);
        json_t *d = measure(arguments);
        const json_t *summary = at(d, "diagonal");
        diagonal[i] = read_npy(file[i], P, 0);
        double least = diagonal[i][0], most = least, sum = 0, squares = 0;
        for (size_t j = 0; j < P; j++) {
            least = fmin(least, diagonal[i][j]);
            most = fmax(most, diagonal[i][j]);
            sum += diagonal[i][j];
            squares += pow(diagonal[i][j] - diagonal[0][j], 2);
        }
        assert_true(program_number(summary, "min") == least);
        assert_true(program_number(summary, "max") == most);
        close_to("mean", program_number(summary, "mean"), sum / P, 1e-14);
        assert_true(json_is_true(at(summary, "exact")) == (i < 2));
        if (i < 2) { /* two exact ways: equal to rounding */
            close_to("exact", sqrt(squares), 0, 1e-12);
            close_to("trace", program_number(at(d, "trace"), "value"), sum, 1e-12);
        } else { /* the norm of the error, of which the standard error is the root mean square */
            double error = program_number(summary, "stderr");
            assert_true(sqrt(squares) > 0.2 * error && sqrt(squares) < 3 * error);
            assert_int_equal(program_number(summary, "products"), 60);
        }
        json_decref(d);
    }
    for (int i = 0; i < 4; i++) {
        free(diagonal[i]);
    }
}

/* ---- layers, the run file, the report ---- */

/* The array of the only result of that method, equal to the list. */
static void check_array(const char *path, const char *method, const char *name, const json_t *list)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *ask = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT a.dim0, a.dim1, a.data FROM array a JOIN result r ON r.id = "
                           "a.result WHERE a.name = ? AND r.key = ?",
                           -1, &ask, NULL),
        SQLITE_OK);
    char key[64];
    snprintf(key, sizeof key, "hessian/%s/each", method);
    sqlite3_bind_text(ask, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(ask, 2, key, -1, SQLITE_STATIC);
    if (sqlite3_step(ask) != SQLITE_ROW) fail_msg("%s: no array %s", method, name);
    size_t rows = (size_t)sqlite3_column_int64(ask, 0);
    const double *data = sqlite3_column_blob(ask, 2);
    assert_int_equal(rows, json_array_size(list));
    for (size_t i = 0; i < rows; i++) {
        const json_t *row = json_array_get(list, i);
        size_t columns = json_is_array(row) ? json_array_size(row) : 1;
        if (json_is_array(row)) assert_int_equal(sqlite3_column_int64(ask, 1), columns);
        for (size_t j = 0; j < columns; j++) {
            double expected = json_is_array(row) ? number(row, j) : json_number_value(row);
            assert_true(data[i * columns + j] == expected);
        }
    }
    assert_int_equal(sqlite3_step(ask), SQLITE_DONE);
    sqlite3_finalize(ask);
    sqlite3_close(db);
}

static void test_layers_recorded(void **state)
{
    (void)state;
    static const char *const methods[] = {"dense", "lanczos", "density", "trace", "diagonal"};
    static const char *const layers[] = {"dense1", "dense2"};
    const char *run = folder_path("each.gmr"), *results = folder_path("results.json");
    json_t *document[5];
    for (int i = 0; i < 5; i++) {
        char arguments[1024], name[64];
        snprintf(arguments, sizeof arguments, "--layers each -o %s --method %s%s", run, methods[i],
                 i == 2 ? " --probes 4 --deflate 3" : "");
        document[i] = measure(arguments);
        const json_t *blocks = at(document[i], "blocks");
        assert_int_equal(json_array_size(blocks), 2);
        for (size_t j = 0; j < 2; j++) {
            const json_t *block = json_array_get(blocks, j);
            assert_string_equal(json_string_value(at(block, "layer")), layers[j]);
            assert_int_equal(program_number(block, "size"), j ? P - FIRST : FIRST);
            static const char *const pairs[] = {"eigenvalues"};
            static const char *const parts[] = {"grid", "values", "nodes", "weights", "deflated"};
            for (int l = 0; l < 1 && i < 2; l++) {
                snprintf(name, sizeof name, "%s/%s", layers[j], pairs[l]);
                check_array(run, methods[i], name, at(block, pairs[l]));
            }
            for (int l = 0; l < 5 && i == 2; l++) {
                snprintf(name, sizeof name, "%s/density/%s", layers[j], parts[l]);
                check_array(run, methods[i], name, at(at(block, "density"), parts[l]));
            }
        }
    }
    /* Every way gives the same trace of a block: exact but for the density's. */
    for (size_t j = 0; j < 2; j++) {
        double trace[5];
        for (int i = 0; i < 5; i++) {
            if (i == 1) continue;
            const json_t *block = json_array_get(at(document[i], "blocks"), j);
            trace[i] = program_number(at(block, "trace"), "value");
            double error = program_number(at(block, "trace"), "stderr");
            close_to(methods[i], trace[i], trace[0], 4 * error + 1e-10 * fabs(trace[0]));
        }
    }
    /* Exported, and drawn: the deflated eigenvalues as exact ones. */
    program_result r = program("export %s --results %s", run, results);
    assert_string_equal(r.err, "");
    program_free(&r);
    json_t *all = json_load_file(results, 0, NULL);
    assert_int_equal(json_array_size(at(all, "results")), 5);
    json_decref(all);
    const char *page = folder_path("page.html");
    r = program("report %s -o %s", run, page);
    assert_string_equal(r.err, "");
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char *html = program_slurp(page);
    assert_non_null(strstr(html, "eigenvalues marked were computed exactly"));
    assert_non_null(strstr(html, "<svg id=\"r1density\""));
    free(html);
    for (int i = 0; i < 5; i++) {
        json_decref(document[i]);
    }
}

/* ---- reproducibility ---- */

/* The measured parts of a document as text. */
static char *measured(const json_t *d)
{
    static const char *const keys[] = {"eigenvalues", "residuals", "density",
                                       "trace",       "frobenius", "diagonal"};
    json_t *parts = json_object();
    for (int i = 0; i < 6; i++) {
        json_t *value = json_object_get(d, keys[i]);
        if (value) json_object_set(parts, keys[i], value);
    }
    char *text = json_dumps(parts, 0);
    json_decref(parts);
    return text;
}

static void test_seeds(void **state)
{
    (void)state;
    static const char *const methods[] = {
        "lanczos", "lanczos --solver block", "density --probes 2 --steps 20",
        "trace --max-products 40", "diagonal --estimator xdiag --max-products 40"};
    for (int i = 0; i < 5; i++) {
        char *text[3];
        for (int j = 0; j < 3; j++) {
            char arguments[1024];
            snprintf(arguments, sizeof arguments, "--method %s --seed %d --params %s", methods[i],
                     j == 2 ? 8 : 7, folder_path("theta.npy"));
            json_t *d = measure(arguments);
            text[j] = measured(d);
            json_decref(d);
        }
        assert_string_equal(text[0], text[1]);
        assert_string_not_equal(text[0], text[2]);
        for (int j = 0; j < 3; j++) {
            free(text[j]);
        }
    }
}

/* Sums over samples are put together in another order: equal to rounding, which the solver
 * amplifies to no more than its tolerance. */
static void test_threads(void **state)
{
    (void)state;
#define ONE "spectrum --json --model mlp:10-8-3 --data gauss:k=3,d=10,n=40 "
    json_t *one = program_document(program(ONE "--threads 1 --method lanczos"));
    json_t *two = program_document(program(ONE "--threads 2 --method lanczos"));
    assert_true(one && two);
    assert_int_equal(program_number(two, "threads"), 2);
    double largest = number(at(one, "eigenvalues"), 0);
    for (size_t i = 0; i < 10; i++) {
        close_to("threads", number(at(two, "eigenvalues"), i), number(at(one, "eigenvalues"), i),
                 1e-12 * largest);
    }
    json_decref(one);
    json_decref(two);
    one = program_document(program(ONE "--threads 1 --method trace --max-products 60"));
    two = program_document(program(ONE "--threads 2 --method trace --max-products 60"));
    assert_true(one && two);
    double trace = program_number(at(one, "trace"), "value");
    close_to("trace", program_number(at(two, "trace"), "value"), trace, 1e-10 * fabs(trace));
    json_decref(one);
    json_decref(two);
#undef ONE
}

/* The parameters of seed 0 as a file: other seeds then mean other probes, not another point. */
static int write_parameters(void **state)
{
    if (folder_make(state) != 0) return -1;
    program_result r = program("train --model mlp:10-8-3 --data gauss:k=3,d=10,n=40 --steps 1 "
                               "--batch 4 --threads 1 -q -o %s",
                               folder_path("start.gmr"));
    program_free(&r);
    r = program("export %s --at 0 --params %s", folder_path("start.gmr"), folder_path("theta.npy"));
    int status = r.exit;
    program_free(&r);
    return status;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_single_precision),
        cmocka_unit_test(test_repeated_zeros),
        cmocka_unit_test(test_export_vectors),
        cmocka_unit_test(test_trace_exhausted),
        cmocka_unit_test(test_trace_errors),
        cmocka_unit_test(test_trace_rel_error),
        cmocka_unit_test(test_density),
        cmocka_unit_test(test_density_breakdown),
        cmocka_unit_test(test_density_deflated),
        cmocka_unit_test(test_diagonal),
        cmocka_unit_test(test_layers_recorded),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_threads),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli_spectrum", tests, write_parameters, folder_remove);
}
