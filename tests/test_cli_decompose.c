/* gradiometer decompose as a user runs it: along a run, at one point, per layer, and what it
 * refuses. Its numbers are held against identities (H_p + H = M, sums of eigenvalues) and against
 * the same point measured alone; test_survey.c checks them against matrices of their own. */
#include "support.h"

#include <math.h>

#include "folder.h"
#include "gradiometer/run.h"
#include "program.h"

/* p = 53 parameters, n = 20 samples, checkpoints at steps 0, 100, 200. */
#define TRAIN                                                                                      \
    "train --model mlp:6-5-3,act=tanh --data gauss:k=3,d=6,n=20,seed=4 --steps 200 --batch 4 "     \
    "--keep-every 100 --threads 1 -q -o %s"
enum { P = 53, N = 20, K = 5, POINTS = 3 };

static const char *train(void)
{
    const char *run = folder_path("run.gmr");
    program_result r = program(TRAIN, run);
    if (r.exit != 0) fail_msg("%s", r.err);
    program_free(&r);
    return run;
}

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

/* Every operator with all p eigenvalues, descending, whose sums are trace and norm; ||H_p + H||_F =
 * ||M||_F. Tolerances: rounding of sums over 53 numbers. */
static void check_operators(const json_t *point)
{
    static const char *const names[] = {"hessian", "moment", "covariance", "residual", "ggn"};
    const json_t *operators = at(point, "operators");
    for (int i = 0; i < 5; i++) {
        const json_t *op = at(operators, names[i]), *value = at(op, "eigenvalues");
        double sum = 0, squares = 0, absolute = 0, least = 0;
        assert_int_equal(json_array_size(value), P);
        for (size_t j = 0; j < P; j++) {
            if (j) assert_true(number(value, j) <= number(value, j - 1));
            sum += number(value, j);
            absolute += fabs(number(value, j));
            squares += number(value, j) * number(value, j);
        }
        close_to(program_number(op, "trace"), sum, 1e-13 * absolute);
        close_to(program_number(op, "frobenius"), sqrt(squares), 1e-13 * absolute);
        double scale = fmax(fabs(number(value, 0)), fabs(number(value, P - 1)));
        for (size_t j = 0; j < P; j++) {
            least += number(value, j) < -0.01 * scale;
        }
        assert_true(program_number(op, "negative") == least);
    }
    double ratio = program_number(at(operators, "moment"), "frobenius") /
                   program_number(at(operators, "hessian"), "frobenius");
    close_to(program_number(point, "residual_plus_hessian"), ratio, 1e-12 * ratio);
    double error = program_number(point, "decomposition_error");
    assert_true(error > 0 && error < 1e-13);
}

static void check_overlaps(const json_t *point)
{
    const json_t *pairs = at(at(point, "overlap"), "pairs");
    assert_true(json_array_size(pairs) >= 5);
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair = json_array_get(pairs, i);
        assert_int_equal(json_array_size(at(pair, "k")), K);
        for (size_t j = 0; j < K; j++) {
            assert_true(number(at(pair, "k"), j) == (double)(j + 1));
            close_to(number(at(pair, "random"), j), (double)(j + 1) / P, 1e-15);
            double value = number(at(pair, "value"), j);
            assert_true(value >= 0 && value <= 1);
        }
    }
    /* H with M first: its last overlap is the mean squared cosine. */
    double squares = 0;
    for (size_t j = 0; j < K; j++) {
        double cosine = number(at(point, "cosines"), j);
        close_to(cos(number(at(point, "principal_angles"), j)), cosine, 1e-12);
        squares += cosine * cosine;
    }
    const json_t *first = json_array_get(pairs, 0);
    assert_string_equal(json_string_value(at(first, "a")), "hessian");
    assert_string_equal(json_string_value(at(first, "b")), "moment");
    close_to(number(at(first, "value"), K - 1), squares / K, 1e-12);
    double share = program_number(point, "gradient_share");
    assert_true(share > 0 && share <= 1);
}

static void test_trajectory(void **state)
{
    (void)state;
    const char *run = train();
    json_t *d =
        program_document(program("decompose --params %s@all --k %d --threads 1 -q --json", run, K));
    assert_non_null(d);
    const json_t *trajectory = at(d, "trajectory");
    assert_int_equal(json_array_size(trajectory), POINTS);
    for (size_t i = 0; i < POINTS; i++) {
        const json_t *point = json_array_get(trajectory, i);
        assert_int_equal(program_number(point, "step"), 100 * i);
        check_operators(point);
        check_overlaps(point);
        assert_true(json_is_null(at(at(point, "past"), "first")) == (i == 0));

        /* The point alone: the same numbers, but for what is about the past. */
        json_t *alone = program_document(
            program("decompose --params %s@%zu --k %d --threads 1 -q --json", run, 100 * i, K));
        assert_non_null(alone);
        static const char *const same[] = {"loss", "gradient_norm", "operators", "overlap",
                                           "cosines"};
        for (int j = 0; j < 5; j++) {
            assert_true(json_equal(at(alone, same[j]), at(point, same[j])));
        }
        assert_null(json_object_get(alone, "trajectory"));
        json_decref(alone);
    }
    /* The top level is the last point; the batch is the run's. */
    const json_t *last = json_array_get(trajectory, POINTS - 1);
    assert_true(json_equal(at(d, "operators"), at(last, "operators")));
    assert_int_equal(program_number(d, "step"), 200);
    assert_int_equal(program_number(at(d, "stochastic_gradient_share"), "batch"), 4);

    const json_t *findings = at(d, "findings");
    assert_int_equal(json_array_size(findings), 2);
    const json_t *residual = json_array_get(findings, 0);
    close_to(program_number(residual, "value"), program_number(d, "residual_plus_hessian"), 0);
    assert_true(json_is_boolean(at(residual, "holds")));
    assert_true(json_is_null(at(json_array_get(findings, 1), "holds"))); /* 5 < 10 directions */
    json_decref(d);
    folder_empty();
}

static void test_layers(void **state)
{
    (void)state;
    const char *run = train();
    json_t *d = program_document(
        program("decompose --params %s --k %d --layers each --threads 1 -q --json", run, K));
    assert_non_null(d);
    const json_t *layers = at(d, "layers");
    static const int size[] = {6 * 5 + 5, 5 * 3 + 3};
    double trace = 0;
    assert_int_equal(json_array_size(layers), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *layer = json_array_get(layers, i);
        const json_t *op = at(at(layer, "operators"), "hessian");
        assert_int_equal(json_array_size(at(op, "eigenvalues")), size[i]);
        trace += program_number(op, "trace");
    }
    double whole = program_number(at(at(d, "operators"), "hessian"), "trace");
    close_to(trace, whole, 1e-12 * fabs(whole));

    json_t *alone = program_document(
        program("decompose --params %s --k %d --layer 1 --threads 1 -q --json", run, K));
    assert_non_null(alone);
    assert_true(json_equal(at(alone, "operators"), at(json_array_get(layers, 1), "operators")));
    json_decref(alone);
    json_decref(d);
    folder_empty();
}

/* -o keeps the document and the arrays in the run file itself. */
static void test_record(void **state)
{
    (void)state;
    gm_error err = {0};
    const char *path = train();
    json_t *d = program_document(
        program("decompose --params %s@all --k %d --threads 1 -q --json -o %s", path, K, path));
    assert_non_null(d);
    gm_run *run;
    gm_run_result *list;
    size_t count;
    assert_int_equal(gm_run_open(path, GM_RUN_READ, &run, &err), GM_OK);
    assert_int_equal(gm_run_results(run, "decompose", &list, &count, &err), GM_OK);
    assert_int_equal(count, 1);
    assert_int_equal(list->step, 200);
    json_t *kept = json_loads(list->json, 0, NULL);
    assert_non_null(kept);
    assert_true(json_equal(at(kept, "trajectory"), at(d, "trajectory")));
    json_decref(kept);

    gm_run_array *array;
    assert_int_equal(gm_run_load_array(run, list->id, "hessian/eigenvalues", &array, &err), GM_OK);
    assert_int_equal(array->rank, 2);
    assert_int_equal(array->dim[0], POINTS);
    assert_int_equal(array->dim[1], P);
    const json_t *trajectory = at(d, "trajectory");
    for (size_t i = 0; i < POINTS * P; i++) {
        const json_t *point = json_array_get(trajectory, i / P);
        const json_t *value = at(at(at(point, "operators"), "hessian"), "eigenvalues");
        assert_true(array->data[i] == number(value, i % P));
    }
    gm_run_free(array);
    /* The vectors are orthonormal. */
    assert_int_equal(gm_run_load_array(run, list->id, "moment/vectors", &array, &err), GM_OK);
    assert_int_equal(array->rank, 3);
    assert_int_equal(array->dim[1], K);
    for (size_t i = 0; i < K; i++) {
        for (size_t j = 0; j < K; j++) {
            double dot = 0;
            for (size_t l = 0; l < P; l++) {
                dot += array->data[(K + i) * P + l] * array->data[(K + j) * P + l];
            }
            close_to(dot, i == j, 1e-13);
        }
    }
    gm_run_free(array);
    gm_run_free(list);
    gm_run_close(run);
    json_decref(d);
    folder_empty();
}

/* An estimate against the number from dense matrices: five standard errors, and rounding. */
static void estimate_close(const json_t *found, const char *key, const char *error,
                           const json_t *dense)
{
    double expected = program_number(dense, key);
    close_to(program_number(found, key), expected,
             5 * program_number(found, error) + 1e-12 * fabs(expected));
}

static void check_ends(const json_t *found, const json_t *dense, bool indefinite)
{
    const json_t *all = at(dense, "eigenvalues"), *lead = at(found, "eigenvalues");
    double scale = program_number(dense, "cut_scale");
    assert_int_equal(json_array_size(lead), K + 1);
    for (size_t j = 0; j <= K; j++) {
        close_to(number(lead, j), number(all, j), 1e-10 * scale);
        if (indefinite)
            close_to(number(at(found, "lowest"), j), number(all, P - 1 - j), 1e-10 * scale);
    }
    assert_int_equal(json_object_get(found, "lowest") != NULL, indefinite);
    close_to(program_number(found, "trace"), program_number(dense, "trace"), 1e-13 * scale * P);
    estimate_close(found, "frobenius", "frobenius_stderr", dense);
    /* Counts: the number, or null beside a lower bound. */
    double negative = program_number(dense, "negative");
    if (json_is_null(at(found, "negative"))) {
        assert_true(program_number(found, "negative_at_least") <= negative);
    } else {
        assert_true(program_number(found, "negative") == negative);
    }
    assert_true(json_is_true(at(found, "converged")));
    assert_true(program_number(found, "products") > 0);
}

static void test_products(void **state)
{
    (void)state;
    const char *run = train();
    json_t *dense =
        program_document(program("decompose --params %s@all --k %d --threads 1 -q --json", run, K));
    json_t *found = program_document(program("decompose --params %s@all --k %d --method products "
                                             "--threads 1 -q --json -o %s",
                                             run, K, run));
    assert_non_null(dense);
    assert_non_null(found);
    for (size_t i = 0; i < POINTS; i++) {
        const json_t *a = json_array_get(at(found, "trajectory"), i);
        const json_t *b = json_array_get(at(dense, "trajectory"), i);
        assert_string_equal(json_string_value(at(a, "method")), "products");
        assert_string_equal(json_string_value(at(b, "method")), "dense");
        const json_t *x = at(a, "operators"), *y = at(b, "operators");
        check_ends(at(x, "hessian"), at(y, "hessian"), true);
        check_ends(at(x, "residual"), at(y, "residual"), true);
        check_ends(at(x, "moment"), at(y, "moment"), false);
        check_ends(at(x, "covariance"), at(y, "covariance"), false);
        assert_true(json_is_null(at(at(x, "hessian"), "rank")));
        assert_string_equal(json_string_value(at(at(x, "moment"), "method")), "gram");
        estimate_close(a, "residual_plus_hessian", "residual_plus_hessian_stderr", b);
        for (size_t j = 0; j < K; j++) { /* gaps of more than 1e-4 of the scale */
            close_to(number(at(a, "cosines"), j), number(at(b, "cosines"), j), 1e-5);
        }
        assert_true(program_number(a, "decomposition_error") < 1e-13);
    }
    gm_error err = {0};
    gm_run *file;
    gm_run_result *list;
    gm_run_array *array;
    size_t count;
    assert_int_equal(gm_run_open(run, GM_RUN_READ, &file, &err), GM_OK);
    assert_int_equal(gm_run_results(file, "decompose", &list, &count, &err), GM_OK);
    assert_int_equal(gm_run_load_array(file, list->id, "residual/lowest", &array, &err), GM_OK);
    assert_int_equal(array->dim[0], POINTS);
    assert_int_equal(array->dim[1], K + 1);
    const json_t *last = at(at(at(found, "operators"), "residual"), "lowest");
    for (size_t j = 0; j <= K; j++) {
        assert_true(array->data[(POINTS - 1) * (K + 1) + j] == number(last, j));
    }
    gm_run_free(array);
    /* Vectors of the last point alone. */
    assert_int_equal(gm_run_load_array(file, list->id, "hessian/vectors", &array, &err), GM_OK);
    assert_int_equal(array->dim[0], 1);
    assert_int_equal(array->dim[2], P);
    gm_run_free(array);
    gm_run_free(list);
    gm_run_close(file);
    json_decref(dense);
    json_decref(found);

    /* The page takes the lower end of H_p from where it is, and says bounds as bounds. */
    const char *page = folder_path("page.html");
    program_result r = program("report %s -o %s", run, page);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char *text = program_slurp(page);
    assert_non_null(text);
    assert_non_null(strstr(text, "The ends of the spectra, found by products"));
    assert_non_null(strstr(text, "&ge;&nbsp;"));
    free(text);

    /* What did not converge is delivered, and said with status 1. */
    r = program("decompose --params %s --k %d --method products --max-products 8 --json", run, K);
    assert_int_equal(r.exit, 1);
    assert_true(program_one_line(r.err));
    assert_non_null(strstr(r.err, "not converged"));
    json_t *cut = json_loads(r.out, 0, NULL);
    assert_non_null(cut);
    assert_true(json_is_false(at(at(at(cut, "operators"), "hessian"), "converged")));
    json_decref(cut);
    program_free(&r);

    r = program("decompose --params %s@all --k %d --method products --threads 1", run, K);
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, " +- "));
    assert_non_null(strstr(r.out, "products in all"));
    program_free(&r);
    folder_empty();
}

/* Ctrl-C: status 1, and a whole document of the points that were finished. Until the program
 * listens, the shell has it ignore the signal: sent again and again, a second apart, since a second
 * one that is heard kills. Three thousand points take much longer than that. */
static void test_interrupt(void **state)
{
    (void)state;
    const char *run = folder_path("long.gmr");
    program_result r = program("train --model mlp:6-5-3,act=tanh --data gauss:k=3,d=6,n=20 --steps "
                               "3000 --keep-every 1 --threads 1 -q -o %s",
                               run);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    r = program("decompose --params %s@all --k 10 --method products --threads 1 -q --json & while "
                "sleep 1; do kill -INT $! 2>/dev/null || break; done; wait $!",
                run);
    if (r.exit != 1) fail_msg("status %d: %s", r.exit, r.err);
    json_t *d = json_loads(r.out, 0, NULL);
    assert_non_null(d);
    assert_true(json_is_true(at(d, "interrupted")));
    assert_int_equal(program_number(d, "points_asked"), 3001);
    size_t kept = json_array_size(at(d, "trajectory"));
    assert_true(kept >= 1 && kept < 3001);
    const json_t *last = json_array_get(at(d, "trajectory"), kept - 1);
    assert_true(program_number(d, "step") == program_number(last, "step"));
    assert_true(json_equal(at(d, "operators"), at(last, "operators")));
    assert_non_null(strstr(r.err, "interrupted"));
    json_decref(d);
    program_free(&r);
    folder_empty();
}

/* Tables: within 100 columns, both sentences, nothing on stderr. */
static void test_tables(void **state)
{
    (void)state;
    const char *run = train();
    program_result r = program("decompose --params %s@all --layers each --threads 1 -q", run);
    assert_int_equal(r.exit, 0);
    assert_string_equal(r.err, "");
    size_t column = 0;
    for (const char *c = r.out; *c; c++) {
        column = *c == '\n' ? 0 : column + 1;
        assert_true(column <= 100);
    }
    assert_non_null(strstr(r.out, "H_p stays significant after convergence and is close to -H: "));
    assert_non_null(strstr(r.out, "Top 10 directions of H and M well aligned: "));
    assert_non_null(strstr(r.out, "dense2"));
    program_free(&r);
    folder_empty();
}

static void test_refusals(void **state)
{
    (void)state;
    const char *run = train();
    static const struct {
        const char *arguments, *said;
    } bad[] = {
        {"--k 0", "--k"},
        {"--cut 1.5", "--cut"},
        {"--cut 1", "cut"},
        {"--layer 2", "layer"},
        {"--memory 10K", "p = 53"},
        {"--method lanczos", "--method"},
        {"--method products --tol 1e-17", "noise floor"},
        {"--method dense --memory 60K", "--method products"},
        {"--max-products 0", "max-products"},
        {"--batch 21 --replacement no", "21"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        program_result r = program("decompose --params %s@all %s", run, bad[i].arguments);
        assert_int_equal(r.exit, 2);
        assert_string_equal(r.out, "");
        assert_true(program_one_line(r.err));
        if (!strstr(r.err, bad[i].said)) fail_msg("%s: %s", bad[i].arguments, r.err);
        program_free(&r);
    }
    program_result r = program("export %s --params %s", run, folder_path("theta.npy"));
    assert_int_equal(r.exit, 0);
    program_free(&r);
    r = program("decompose --params %s@all --model mlp:6-5-3,act=tanh --data gauss:k=3,d=6,n=20",
                folder_path("theta.npy"));
    assert_int_equal(r.exit, 2);
    assert_true(program_one_line(r.err));
    assert_non_null(strstr(r.err, "@all"));
    program_free(&r);
    folder_empty();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trajectory), cmocka_unit_test(test_layers),
        cmocka_unit_test(test_record),     cmocka_unit_test(test_tables),
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_products),
        cmocka_unit_test(test_interrupt),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli_decompose", tests, folder_make, folder_remove);
}
