/* gradiometer bench as a user runs it: that every figure is there, positive and consistent with the
 * others, never how large it is; and what it refuses. */
#include "support.h"

#include <math.h>

#include "folder.h"
#include "program.h"

#define SMALL "--model mlp:5-4-3 --data gauss:k=3,d=5,n=50 --threads 1 -q"
enum { P = 5 * 4 + 4 + 4 * 3 + 3, N = 50 };

static const json_t *at(const json_t *document, const char *key)
{
    const json_t *value = json_object_get(document, key);
    if (!value) fail_msg("no key %s", key);
    return value;
}

static double positive(const json_t *object, const char *key)
{
    double value = json_number_value(at(object, key));
    if (!(value > 0 && isfinite(value))) fail_msg("%s is %g, expected it above 0", key, value);
    return value;
}

static void close_to(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("found %.17g, expected %.17g within %.3g", found, expected, tolerance);
    }
}

static void is_text(const json_t *object, const char *key, const char *expected)
{
    const char *found = json_string_value(at(object, key));
    if (!found || strcmp(found, expected) != 0) fail_msg("%s is %s", key, found ? found : "none");
}

static void check_common(const json_t *d)
{
    is_text(d, "tool", "gradiometer");
    is_text(d, "command", "bench");
    is_text(d, "precision", "f64");
    is_text(d, "reduction", "mean");
    assert_int_equal(program_number(d, "seed"), 0);
    assert_int_equal(program_number(d, "threads"), 1);
    assert_int_equal(program_number(at(d, "model"), "parameters"), P);
    assert_int_equal(program_number(at(d, "data"), "n"), N);
    assert_true(json_is_array(at(d, "notes")));
    positive(d, "seconds");
    positive(d, "loss");
    positive(d, "gradient_norm");
}

/* Ratios of one entry follow from its times; 1e-12 is their rounding. */
static void check_product(const json_t *entry, const json_t *bare, double flops)
{
    double gflop = positive(entry, "gflop"), ms = positive(entry, "milliseconds");
    close_to(gflop, 1e-9 * flops, 1e-12 * gflop);
    close_to(positive(entry, "per_second") * ms, 1e3, 1e-9);
    double gflops = positive(entry, "gflops");
    close_to(gflops, 1e3 * gflop / ms, 1e-12 * gflops);
    double share = positive(entry, "share_of_bare");
    close_to(share, gflops / positive(bare, "gflops"), 1e-12 * share);
}

static void check_products(const json_t *bench)
{
    static const char *const precision[] = {"f64", "f32"};
    static const char *const operator[] = {"hessian", "ggn", "moment"};
    /* matrix products of an operator in the first layer (5 x 4) and in the second one (4 x 3) */
    static const double first = 2.0 * N * 5 * 4, second = 2.0 * N * 4 * 3, later[] = {6, 4, 2};
    const json_t *bare = at(bench, "matrix_products"), *products = at(bench, "products");
    const json_t *gradient = at(bench, "gradient");
    assert_int_equal(json_array_size(bare), 2);
    assert_int_equal(json_array_size(products), 6);
    assert_int_equal(json_array_size(gradient), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *alone = json_array_get(bare, i), *slope = json_array_get(gradient, i);
        is_text(alone, "precision", precision[i]);
        is_text(slope, "precision", precision[i]);
        positive(alone, "milliseconds");
        check_product(slope, alone, 2 * first + 3 * second);
        for (size_t j = 0; j < 3; j++) {
            const json_t *entry = json_array_get(products, 3 * i + j);
            is_text(entry, "precision", precision[i]);
            is_text(entry, "operator", operator[j]);
            check_product(entry, alone, 2 * first + later[j] * second);
            double ratio = positive(entry, "gradients");
            close_to(ratio, positive(entry, "milliseconds") / positive(slope, "milliseconds"),
                     1e-12 * ratio);
        }
    }
}

/* The solver's time contains its products'. */
static void check_time(const json_t *entry, size_t products)
{
    double seconds = positive(entry, "seconds"), inside = positive(entry, "seconds_of_products");
    double own = json_number_value(at(entry, "own_share"));
    assert_int_equal(program_number(entry, "products"), products);
    assert_true(inside <= seconds);
    close_to(own, (seconds - inside) / seconds, 1e-12);
    positive(entry, "gflops_of_products");
}

/* product: the entry of H in the precision of the solver. */
static void check_times_of_products(const json_t *entry, const json_t *product)
{
    double alone = 1e-3 * positive(product, "milliseconds") * positive(entry, "products");
    double times = positive(entry, "times_of_products");
    close_to(times, positive(entry, "seconds") / alone, 1e-12 * times);
}

static void test_figures(void **state)
{
    (void)state;
    json_t *d = program_document(program("bench --quick --json " SMALL));
    assert_non_null(d);
    check_common(d);
    const json_t *bench = at(d, "bench"), *machine = at(bench, "machine");
    static const char *const words[][2] = {
        {"openblas", "build"}, {"openblas", "core"}, {"onednn", "version"}, {"onednn", "isa"}};
    assert_true(json_string_length(at(machine, "processor")) > 0);
    assert_true(json_string_length(at(machine, "instruction_set")) > 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        assert_true(json_string_length(at(at(machine, words[i][0]), words[i][1])) > 0);
    }
    positive(machine, "processors");
    assert_int_equal(program_number(bench, "rounds"), 1);
    positive(bench, "peak_memory");
    check_products(bench);

    /* A net of 39 parameters has its matrix formed by 39 products, whose trace and largest
     * eigenvalue are those that quadrature finds: 20 steps from each of 2 probes see the top of 39
     * eigenvalues, and the trace within 5 standard errors sqrt(2) ||H||_F / sqrt(probes). */
    const json_t *eigenpairs = at(bench, "eigenpairs"), *density = at(bench, "density");
    const json_t *value = at(eigenpairs, "eigenvalues");
    check_time(eigenpairs, P);
    assert_int_equal(program_number(eigenpairs, "k"), 10);
    assert_int_equal(program_number(eigenpairs, "converged"), 10);
    assert_int_equal(json_array_size(value), 10);
    assert_true(json_is_true(at(eigenpairs, "dense")));
    assert_true(program_number(eigenpairs, "tol") == 1e-10);
    assert_true(program_number(eigenpairs, "worst_residual") < 1e-10);
    check_time(density, 2 * 20);
    const json_t *product = json_array_get(at(bench, "products"), 0);
    check_times_of_products(eigenpairs, product);
    check_times_of_products(density, product);
    double top = json_number_value(json_array_get(value, 0));
    close_to(positive(density, "largest"), top, 1e-6 * top);
    json_t *spectrum = program_document(program("spectrum --method dense --json " SMALL));
    assert_non_null(spectrum);
    const json_t *all = at(spectrum, "eigenvalues");
    for (size_t i = 0; i < 10; i++) {
        close_to(json_number_value(json_array_get(value, i)),
                 json_number_value(json_array_get(all, i)), 1e-12 * top);
    }
    double trace = program_number(at(spectrum, "trace"), "value");
    double norm = program_number(at(spectrum, "frobenius"), "value");
    close_to(program_number(at(density, "trace"), "value"), trace, 5 * norm);
    json_decref(spectrum);
    json_decref(d);
}

/* One precision where one is asked for; only the parts asked for. */
static void test_parts(void **state)
{
    (void)state;
    json_t *d = program_document(
        program("bench --quick --json --parts products,dense --precision f32 --rounds 3 " SMALL));
    assert_non_null(d);
    const json_t *bench = at(d, "bench"), *dense = at(bench, "dense");
    is_text(d, "precision", "f32");
    assert_int_equal(program_number(bench, "rounds"), 3);
    assert_int_equal(json_array_size(at(bench, "matrix_products")), 1);
    assert_int_equal(json_array_size(at(bench, "products")), 3);
    assert_null(json_object_get(bench, "eigenpairs"));
    assert_null(json_object_get(bench, "density"));
    assert_null(json_object_get(bench, "series"));
    positive(dense, "square_gflops");
    positive(dense, "share_of_square");
    close_to(positive(dense, "gflop"), 1e-9 * N * P * P, 1e-18);
    close_to(positive(dense, "seconds"),
             positive(dense, "seconds_of_matrix") + positive(dense, "seconds_of_eigenvalues"),
             1e-12);
    json_decref(d);
}

/* Ten pairs at every checkpoint; the tracked ones are those found from nothing. p = 203: too large
 * to be formed (theory section 5), so that both solvers work. */
static void test_series(void **state)
{
    (void)state;
    program_result r = program("train --model mlp:20-8-5 --data gauss:k=5,d=20,n=100 --steps 30 "
                               "--batch 5 --keep-every 10 --threads 1 -q -o %s",
                               folder_path("run.gmr"));
    if (r.exit != 0) fail_msg("%s", r.err);
    program_free(&r);
    json_t *d = program_document(program(
        "bench --json --parts series --k 3 --tol 1e-6 --params %s -q", folder_path("run.gmr")));
    assert_non_null(d);
    const json_t *series = at(at(d, "bench"), "series"), *points = at(series, "points");
    size_t count = json_array_size(points);
    assert_int_equal(count, 4);
    double cold = 0, warm = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *point = json_array_get(points, i), *tracked = at(point, "warm");
        assert_int_equal(program_number(point, "step"), 10 * i);
        check_time(at(point, "cold"), (size_t)program_number(at(point, "cold"), "products"));
        assert_int_equal(program_number(at(point, "cold"), "converged"), 3);
        cold += positive(at(point, "cold"), "products");
        if (i == 0) {
            assert_true(json_is_null(tracked));
            warm += positive(at(point, "cold"), "products");
            continue;
        }
        check_time(tracked, (size_t)program_number(tracked, "products"));
        assert_int_equal(program_number(tracked, "converged"), 3);
        positive(tracked, "blocks");
        warm += positive(tracked, "products");
        /* Residuals r <= 1e-6 |lambda|_max bound the error of each value by r. */
        assert_true(program_number(tracked, "difference") <= 2e-6);
    }
    double starts = positive(series, "cold_starts_by_products");
    close_to(starts, (double)count * warm / cold, 1e-12 * starts);
    json_decref(d);
    folder_empty();
}

static void test_tables(void **state)
{
    (void)state;
    program_result r = program("bench --quick --parts products,eigenpairs,density,dense " SMALL);
    assert_int_equal(r.exit, 0);
    assert_string_equal(r.err, "");
    static const char *const parts[] = {
        "machine ",        "mlp:5-4-3",     "\nproducts, f64",
        "\nproducts, f32", "bare products", "\n10 largest eigenpairs",
        "\ndensity of H",  "\ndense H",     "\npeak memory "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!strstr(r.out, parts[i])) fail_msg("no '%s' in\n%s", parts[i], r.out);
    }
    program_free(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *culprit;
    } cases[] = {
        {"--parts product", "'product'"},
        {"--parts products,", "''"},
        {"--parts density,density", "twice"},
        {"--parts series " SMALL, "--params"},
        {"--k 40 " SMALL, "39"},
        {"--k 0 " SMALL, "--k"},
        {"--rounds 0", "--rounds"},
        {"--steps 0", "--steps"},
        {"--probes -1", "--probes"},
        {"--tol 1e-17 " SMALL, "--tol"},
        {"--tol 2 " SMALL, "--tol"},
        {"--parts dense --memory 1M --model mlp:50-40-10 --quick", "--memory"},
        {"--parts eigenpairs --memory 30M --quick", "eigenpairs"},
        {"--parts density --memory 30M --quick", "density"},
        {"--quick --data gauss:k=3,d=5,n=20", "784"},
        {"--quick --layer 1", "--layer"},
        {"--quick run.gmr", "run.gmr"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        program_result r = program("bench %s", cases[i].arguments);
        if (r.exit != 2 || *r.out || !program_one_line(r.err) || !strstr(r.err, cases[i].culprit)) {
            fail_msg("bench %s: status %d\n%s%s", cases[i].arguments, r.exit, r.out, r.err);
        }
        program_free(&r);
    }
}

/* Ctrl-C: status 1, one line that says so, no half document. A million rounds would take minutes.
 * Until the program listens, the shell has it ignore the signal: sent again and again. */
static void test_interrupt(void **state)
{
    (void)state;
    program_result r = program("bench --parts products --rounds 1000000 --json " SMALL
                               " & while sleep 0.3; do kill -INT $! 2>/dev/null || break; done; "
                               "wait $!");
    assert_int_equal(r.exit, 1);
    assert_string_equal(r.out, "");
    assert_true(program_one_line(r.err));
    assert_non_null(strstr(r.err, "interrupted"));
    program_free(&r);
}

static void test_ensemble(void **state)
{
    (void)state;
    json_t *d = program_document(program("bench --quick --json --parts ensemble " SMALL));
    const json_t *e = at(at(d, "bench"), "ensemble");
    is_text(e, "precision", "f32");
    is_text(e, "way", "tiles");
    is_text(e, "model", "mlp:5-4-3");
    positive(e, "problem_microseconds");
    double us = positive(e, "microseconds"), mflop = positive(e, "mflop");
    /* A forward pass over all samples and three over a batch of 50, without the signal at the
     * input. */
    close_to(mflop, 1e-6 * (2.0 * 32 * N + 50 * (3 * 2 * 32 - 2 * 20)), 1e-12);
    close_to(positive(e, "gflops"), 1e3 * mflop / us, 1e-9 * mflop / us);
    close_to(positive(e, "share_of_bare"), positive(e, "gflops") / positive(e, "bare_gflops"),
             1e-12);
    json_decref(d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),  cmocka_unit_test(test_parts),
        cmocka_unit_test(test_series),   cmocka_unit_test(test_tables),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_ensemble),
    };
    (void)argc, (void)argv;
    return cmocka_run_group_tests_name("cli_bench", tests, folder_make, folder_remove);
}
