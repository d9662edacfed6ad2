/* gradiometer spectrum at its limits, as a user meets them: what is refused before anything is
 * computed, what is given although it did not converge, and what an interruption leaves behind. */
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <time.h>

#include "data/npy.h"
#include "folder.h"
#include "program.h"

#define NET "spectrum --model mlp:10-8-3 --data gauss:k=3,d=10,n=40 --threads 1 "
enum { P = 115 };

static const json_t *at(const json_t *document, const char *key)
{
    const json_t *value = json_object_get(document, key);
    if (!value) fail_msg("no key %s", key);
    return value;
}

/* Status `exit`, nothing on stdout, and one line on stderr that holds every given part. */
static void refuses(int exit, const char *arguments, const char *const *part, size_t parts)
{
    program_result r = program("%s", arguments);
    if (r.exit != exit || *r.out || !program_one_line(r.err)) {
        fail_msg("%s: status %d, output '%s', error '%s'", arguments, r.exit, r.out, r.err);
    }
    for (size_t i = 0; i < parts && part[i]; i++) {
        if (!strstr(r.err, part[i])) {
            fail_msg("%s: '%s' does not say '%s'", arguments, r.err, part[i]);
        }
    }
    program_free(&r);
}

/* ---- options ---- */

/* With -v: a refusal is the only line on stderr even where notices wait. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *part[3];
    } refused[] = {
        {NET "-v --method lanczos --k 116", {"--k", "116", "115"}},
        {NET "-v --method dense --k 116", {"--k", "116", "115"}},
        {NET "-v --method lanczos --k 0", {"--k", "'0'"}},
        {NET "-v --method lanczos --layer dense2 --k 28", {"--k", "28", "27"}},
        {NET "-v --method power", {"--method", "power", "lanczos"}},
        {NET "-v --method lanczos --which SM", {"--which", "SM", "LM"}},
        {NET "-v --method lanczos --solver lobpcg", {"--solver", "lobpcg", "block"}},
        {NET "-v --method trace --estimator na", {"--estimator", "na", "xtrace"}},
        {NET "-v --operator fisher", {"--operator", "fisher", "ggn"}},
        /* tolerances: their floors are 16 and 8 eps */
        {NET "-v --method lanczos --tol 1e-16", {"--tol", "1e-16", "3.6e-15"}},
        {NET "-v --method lanczos --precision f32 --tol 1e-8", {"--tol", "1e-08", "9.5e-07"}},
        {NET "-v --method lanczos --solver block --tol 1e-16", {"--tol", "1e-16", "3.6e-15"}},
        {NET "-v --method density --deflate 2 --tol 1e-16", {"--tol", "1e-16", "3.6e-15"}},
        {NET "-v --method lanczos --tol 2", {"--tol", "2"}},
        {NET "-v --method lanczos --tol -1", {"--tol", "-1"}},
        {NET "-v --method lanczos --max-products 0", {"--max-products", "'0'"}},
        /* densities */
        {NET "-v --method density --width 0", {"--width", "'0'"}},
        {NET "-v --method density --width -0.1", {"--width", "-0.1"}},
        {NET "-v --method density --width nan", {"--width", "nan"}},
        {NET "-v --method density --steps 0", {"--steps", "'0'"}},
        {NET "-v --method density --probes 0", {"--probes", "'0'"}},
        {NET "-v --method density --bins 0", {"--bins", "'0'"}},
        {NET "-v --method density --count 1", {"--count", "'1'", "A,B"}},
        {NET "-v --method density --count 2,1", {"--count", "2,1", "A <= B"}},
        {NET "-v --method density --log-det x", {"--log-det", "'x'"}},
        {NET "-v --method density --log-det inf", {"--log-det", "inf"}},
        {NET "-v --method density --deflate 115", {"--deflate", "115"}},
        {NET "-v --method density --deflate 0", {"--deflate", "'0'"}},
        {NET "-v --method density --which SA", {"--which", "--deflate"}},
        {NET "-v --method density --solver block", {"--solver", "--deflate"}},
        /* estimators */
        {NET "-v --method trace --estimator xdiag", {"--estimator", "xdiag", "trace"}},
        {NET "-v --method diagonal --estimator xtrace", {"--estimator", "xtrace", "diagonal"}},
        {NET "-v --method diagonal --rel-error 0.1", {"--rel-error", "exact", "--estimator"}},
        {NET "-v --method diagonal --max-products 50", {"--max-products", "exact", "--estimator"}},
        {NET "-v --method trace --rel-error 0", {"--rel-error", "'0'"}},
        {NET "-v --method trace --rel-error -1", {"--rel-error", "-1"}},
        {NET "-v --method trace --estimator hutchpp --max-products 5",
         {"--max-products", "5", "at least 6"}},
        /* options of other methods */
        {NET "-v --method lanczos --probes 3", {"--probes", "lanczos", "density"}},
        {NET "-v --method lanczos --estimator xtrace", {"--estimator", "lanczos", "trace"}},
        {NET "-v --method lanczos --width 1", {"--width", "lanczos", "density"}},
        {NET "-v --method lanczos --export-diagonal d.npy", {"--export-diagonal", "diagonal"}},
        {NET "-v --method trace --k 3", {"--k", "trace", "lanczos"}},
        {NET "-v --method trace --tol 0.1", {"--tol", "trace", "lanczos"}},
        {NET "-v --method trace --export-vectors v.npy", {"--export-vectors", "trace", "lanczos"}},
        {NET "-v --method density --k 3", {"--k", "density", "lanczos"}},
        {NET "-v --method density --max-products 9", {"--max-products", "density", "lanczos"}},
        {NET "-v --method dense --solver block", {"--solver", "dense", "lanczos"}},
        {NET "-v --method dense --rel-error 0.1", {"--rel-error", "dense", "trace"}},
        {NET "-v --method diagonal --which SA", {"--which", "diagonal", "lanczos"}},
        {NET "-v --method diagonal --deflate 2", {"--deflate", "diagonal", "density"}},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        refuses(2, refused[i].arguments, refused[i].part, 3);
    }
}

/* Every method says how much it would take, before anything is computed and without a file. The
 * nets take more for their vectors than for the linearization, which has a budget of its own. */
static void test_memory(void **state)
{
    (void)state;
#define LARGE                                                                                      \
    "spectrum -v --model mlp:300-200-5 --data gauss:k=5,d=300,n=20 --threads 1 --memory 2M "
    static const char *const methods[] = {
        "dense",
        "lanczos --k 50",
        "lanczos --k 50 --solver block",
        "density",
        "density --deflate 5 --steps 20",
        "trace --estimator xtrace",
        "trace --estimator hutchpp",
        "trace --estimator hutchinson",
        "diagonal --estimator xdiag",
    };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char arguments[512];
        const char *run = folder_path("none.gmr");
        static const char *const part[] = {"--memory", "MiB, the budget is", "takes"};
        snprintf(arguments, sizeof arguments, LARGE "-o %s --method %s", run, methods[i]);
        refuses(2, arguments, part, 3);
        assert_int_equal(access(run, F_OK), -1);
    }
    /* The default of traces gives way: fewer vectors. */
    json_t *d = program_document(program(
        "spectrum --json --model mlp:300-200-5 --data gauss:k=5,d=300,n=20 --threads 1 --memory "
        "24M --method trace"));
    assert_non_null(d);
    assert_string_equal(json_string_value(at(at(d, "trace"), "estimator")), "hutchinson");
    json_decref(d);
#undef LARGE
}

/* ---- not converged: printed, recorded, status 1 ---- */

/* A document although the status is 1, and one line that says why. */
static json_t *unconverged(const char *arguments, const char *part)
{
    program_result r = program(NET "--json %s", arguments);
    assert_int_equal(r.exit, 1);
    if (!program_one_line(r.err) || !strstr(r.err, part)) fail_msg("%s: %s", arguments, r.err);
    json_t *d = json_loads(r.out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(d);
    assert_true(json_is_false(at(d, "converged")));
    program_free(&r);
    return d;
}

static void test_max_products(void **state)
{
    (void)state;
    json_t *all = program_document(program(NET "--json --method dense"));
    assert_non_null(all);
    /* Enough for some of the pairs at a loose tolerance, not for all. */
    const char *run = folder_path("cut.gmr");
    char arguments[512];
    snprintf(arguments, sizeof arguments,
             "--method lanczos --k 8 --tol 1e-8 --max-products 40 -o %s", run);
    json_t *d = unconverged(arguments, "--max-products");
    size_t found = json_array_size(at(d, "eigenvalues"));
    assert_string_equal(json_string_value(at(d, "stop")), "max_products");
    assert_true(program_number(d, "products") <= 40);
    assert_int_equal(program_number(d, "pairs_wanted"), 8);
    assert_int_equal(json_array_size(at(d, "residuals")), found);
    assert_true(program_number(d, "pairs_converged") < 8);
    double largest = json_number_value(json_array_get(at(all, "eigenvalues"), 0));
    size_t good = 0;
    for (size_t i = 0; i < found; i++) {
        double value = json_number_value(json_array_get(at(d, "eigenvalues"), i));
        double residual = json_number_value(json_array_get(at(d, "residuals"), i)), nearest = 1e9;
        for (size_t j = 0; j < P; j++) {
            double other = json_number_value(json_array_get(at(all, "eigenvalues"), j));
            nearest = fmin(nearest, fabs(value - other));
        }
        assert_true(nearest <= residual + 1e-12 * largest);
        good += residual <= 1e-8 * largest;
    }
    assert_int_equal(program_number(d, "pairs_converged"), good);
    assert_true(good > 0);
    assert_int_equal(access(run, F_OK), 0); /* recorded all the same */
    json_decref(d);
    json_decref(all);

    /* Too few for anything: no pairs, and still a document. */
    d = unconverged("--method lanczos --k 5 --max-products 3", "0 of 5 eigenpairs");
    assert_int_equal(program_number(d, "pairs_converged"), 0);
    json_decref(d);
    d = unconverged("--method lanczos --k 5 --solver block --max-products 12", "--max-products");
    assert_true(program_number(d, "products") <= 12);
    json_decref(d);
    d = unconverged("--method trace --estimator hutchinson --rel-error 1e-6 --max-products 20",
                    "--rel-error");
    assert_int_equal(program_number(d, "products"), 20);
    json_decref(d);
    d = unconverged("--method diagonal --estimator hutchinson --rel-error 1e-6 --max-products 20",
                    "--rel-error");
    json_decref(d);
}

/* ---- products that are no numbers ---- */

/* Inputs of 1e160 give a finite loss and gradient at zero weights, but products of 1e320. */
static void test_not_finite(void **state)
{
    (void)state;
    static const double x[] = {1e160, -1e160, 1e160, 1e160, -1e160, 1e160};
    static const int64_t y[] = {0, 1, 0};
    double theta[6] = {0};
    gm_error err;
    static const char *const names[] = {"x.npy", "y.npy", "zero.npy"};
    const char *files[] = {folder_path(names[0]), folder_path(names[1]), folder_path(names[2])};
    assert_int_equal(gm_npy_write(files[0], GM_NPY_F8, 2, (size_t[]){3, 2}, x, &err), GM_OK);
    assert_int_equal(gm_npy_write(files[1], GM_NPY_I8, 1, (size_t[]){3}, y, &err), GM_OK);
    assert_int_equal(gm_npy_write(files[2], GM_NPY_F8, 1, (size_t[]){6}, theta, &err), GM_OK);
    static const char *const methods[] = {
        "lanczos --k 1", "lanczos --k 1 --solver block",    "density",
        "trace",         "diagonal --estimator hutchinson", "dense"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char arguments[1024];
        const char *run = folder_path("nan.gmr"); /* of eight rotating buffers */
        for (int j = 0; j < 3; j++) {
            files[j] = folder_path(names[j]);
        }
        static const char *const part[] = {"the hessian is not finite: NaN or overflow"};
        snprintf(arguments, sizeof arguments,
                 "spectrum --model mlp:2-2 --data npy:%s,%s --params %s --threads 1 -o %s "
                 "--method %s",
                 files[0], files[1], files[2], run, methods[i]);
        refuses(1, arguments, part, 1);
        assert_int_equal(access(run, F_OK), -1);
    }
}

/* ---- Ctrl-C ---- */

/* A density of hours, stopped as soon as its products have begun. */
static void test_interrupt(void **state)
{
    (void)state;
    const char *run = folder_path("stopped.gmr");
    int before = folder_entries();
    char arguments[1024];
    snprintf(arguments, sizeof arguments,
             "spectrum --model mlp:10-8-3 --data gauss:k=3,d=10,n=40 --threads 1 --method density "
             "--probes 1000000 -q --json -o %s",
             run);
    program_result r = program_interrupted(arguments);
    assert_int_equal(r.exit, 1);
    assert_string_equal(r.out, "");
    assert_true(program_one_line(r.err));
    assert_non_null(strstr(r.err, "interrupted after "));
    assert_non_null(strstr(r.err, "products"));
    program_free(&r);
    assert_int_equal(access(run, F_OK), -1);
    assert_int_equal(folder_entries(), before); /* nothing of the result */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_max_products), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_interrupt),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli_spectrum_limits", tests, folder_make, folder_remove);
}
