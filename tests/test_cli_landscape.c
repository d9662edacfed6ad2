/* gradiometer landscape as a user runs it: keys of the document, numbers against each other and
 * against other commands, the run file and its figures, refusals. The mathematics is tested in
 * test_landscape.c. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "data/npy.h"
#include "folder.h"
#include "gradiometer/run.h"
#include "program.h"

#define NET  "--model mlp:6-5-3,act=tanh --data gauss:k=3,d=6,n=60"
#define LINE NET " --threads 1 -q"

static const json_t *at(const json_t *document, const char *key)
{
    const json_t *value = json_object_get(document, key);
    if (!value) fail_msg("no key %s", key);
    return value;
}

static double number_at(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

static void refused(const char *arguments, const char *expected)
{
    program_result r = program("landscape %s", arguments);
    if (r.exit != 2 || !program_one_line(r.err) || !strstr(r.err, expected)) {
        fail_msg("landscape %s: exit status %d, '%s', expected '%s'", arguments, r.exit, r.err,
                 expected);
    }
    assert_true(*r.out == 0);
    program_free(&r);
}

static json_t *document(const char *arguments)
{
    json_t *d = program_document(program("landscape --json %s", arguments));
    assert_non_null(d);
    return d;
}

/* A run of 8 checkpoints, steps 0, 10, ..., 70. */
static void make_run(char path[512])
{
    snprintf(path, 512, "%s", folder_path("run.gmr"));
    program_result r = program("train " LINE " --batch 5 --step 0.2 --steps 70 --keep-every 10 "
                               "-o %s",
                               path);
    assert_int_equal(r.exit, 0);
    program_free(&r);
}

static double loss_of(const char *params)
{
    json_t *d =
        program_document(program("spectrum --json -q --method lanczos --k 1 --params %s", params));
    assert_non_null(d);
    double loss = program_number(d, "loss");
    json_decref(d);
    return loss;
}

/* Eigenvalues are those that spectrum finds; the middle point is the document's own loss; the test
 * set is measured too. */
static void eigenvectors(void **state)
{
    (void)state;
    json_t *d =
        document(LINE " --test-data gauss:k=3,d=6,n=20 --which BE --dimensions 2 --points 5");
    json_t *s =
        program_document(program("spectrum --json " LINE " --method lanczos --k 2 --which BE"));
    const json_t *directions = at(d, "directions"), *grid = at(d, "grid"),
                 *model = at(d, "quadratic");
    for (size_t a = 0; a < 2; a++) {
        const json_t *direction = json_array_get(directions, a);
        double value = program_number(direction, "eigenvalue");
        double expected = number_at(at(s, "eigenvalues"), a);
        assert_true(fabs(value - expected) < 1e-8 * fabs(expected)); /* residuals of 1e-10 */
        assert_true(fabs(program_number(direction, "curvature") - value) < 1e-8);
        assert_true(fabs(program_number(direction, "norm") - 1) < 1e-12);
        assert_int_equal(json_array_size(json_array_get(at(grid, "axes"), a)), 5);
    }
    const json_t *row = json_array_get(at(grid, "loss"), 2);
    assert_true(fabs(number_at(row, 2) - program_number(d, "loss")) < 1e-13);
    assert_true(fabs(number_at(json_array_get(at(grid, "error"), 2), 2) -
                     program_number(d, "training_error")) < 1e-13);
    assert_true(number_at(json_array_get(at(grid, "test_error"), 4), 4) > 0);
    assert_true(number_at(json_array_get(at(grid, "test_loss"), 4), 4) > 0);
    assert_true(number_at(json_array_get(at(grid, "test_loss"), 2), 2) !=
                number_at(json_array_get(at(grid, "loss"), 2), 2));
    assert_true(number_at(json_array_get(at(grid, "quadratic"), 2), 2) ==
                program_number(d, "loss"));
    assert_true(fabs(number_at(json_array_get(at(model, "curvature"), 0), 1)) < 1e-8);
    assert_int_equal(program_number(grid, "evaluated"), 25);
    assert_true(json_is_null(at(d, "variance_share")) && json_is_null(at(d, "trajectory")));
    assert_true(json_is_null(at(model, "holds")));
    json_decref(d);
    json_decref(s);
}

/* Three layers far out overflow the loss (t^6) and not the model (t^2), which does not hold there.
 */
static void overflow(void **state)
{
    (void)state;
    json_t *d = document("--model mlp:3-4-4-2 --data gauss:k=2,d=3,n=20 --loss squared "
                         "--range 1e100 --points 3");
    const json_t *holds = at(at(d, "quadratic"), "holds");
    assert_true(json_is_null(json_array_get(at(at(d, "grid"), "loss"), 0)));
    assert_true(number_at(at(at(d, "grid"), "quadratic"), 0) > 1e199);
    assert_true(program_number(holds, "low") == 0 && program_number(holds, "high") == 0);
    json_decref(d);
}

/* The ends of the line are the losses of the two checkpoints, and so is what is said of the other
 * one. */
static void between_checkpoints(void **state)
{
    (void)state;
    char run[512], arguments[1400], from[600];
    make_run(run);
    snprintf(from, sizeof from, "%s@10", run);
    snprintf(arguments, sizeof arguments, "-q --params %s --to %s --points 13", from, run);
    json_t *d = document(arguments);
    const json_t *grid = at(d, "grid"), *t = json_array_get(at(grid, "axes"), 0);
    double start = loss_of(from), end = loss_of(run); /* -0.25, -0.125, 0, ..., 1, 1.125, 1.25 */
    assert_true(number_at(t, 2) == 0 && number_at(t, 10) == 1 && number_at(t, 12) == 1.25);
    assert_true(fabs(number_at(at(grid, "loss"), 2) - start) < 1e-13);
    assert_true(fabs(number_at(at(grid, "loss"), 10) - end) < 1e-13);
    assert_true(fabs(program_number(at(d, "to"), "loss") - end) < 1e-13);
    assert_non_null(strstr(json_string_value(at(at(d, "to"), "point")), "step 70"));
    assert_true(program_number(d, "loss") == start && start - end > 0.1);
    json_decref(d);
    snprintf(arguments, sizeof arguments, "--params %s --to %s", from, from);
    refused(arguments, "is the point itself");
    folder_empty();
}

/* On the principal plane of 8 checkpoints; into the run file, and from there to figures. */
static void trajectory(void **state)
{
    (void)state;
    char run[512], arguments[1400], path[600];
    make_run(run);
    snprintf(arguments, sizeof arguments, "-q --params %s --trajectory --points 6 -o %s", run, run);
    json_t *d = document(arguments);
    const json_t *path_value = at(d, "trajectory"), *steps = at(path_value, "steps");
    const json_t *last = json_array_get(at(path_value, "coordinates"), 7);
    assert_string_equal(json_string_value(at(d, "along")), "principal");
    assert_int_equal(json_array_size(steps), 8);
    assert_true(number_at(steps, 7) == 70 && number_at(last, 0) == 0 && number_at(last, 1) == 0);
    double share = 0;
    for (size_t a = 0; a < 2; a++) {
        share += program_number(json_array_get(at(d, "directions"), a), "variance_share");
    }
    assert_true(fabs(share - program_number(d, "variance_share")) < 1e-12);
    assert_true(share > 0.5 && share < 1);
    assert_true(fabs(number_at(at(path_value, "loss"), 7) - program_number(d, "loss")) < 1e-13);
    json_decref(d);
    program_result r =
        program("landscape -q --params %s --trajectory --along random -o %s", run, run);
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "of the variance of 8 checkpoints"));
    program_free(&r);
    r = program("report %s --figures svg --dir %s", run, folder_path("figures"));
    assert_int_equal(r.exit, 0);
    program_free(&r);
    snprintf(path, sizeof path, "%s/figures/landscape.svg", folder);
    char *svg = program_slurp(path);
    assert_true(svg && strstr(svg, "checkpoints") && strstr(svg, "of the quadratic model"));
    free(svg);
    snprintf(path, sizeof path, "%s/figures/slice.svg", folder);
    svg = program_slurp(path);
    assert_true(svg && strstr(svg, "quadratic model") && strstr(svg, "checkpoints"));
    free(svg);
    r = program("report %s -o %s", run, folder_path("page.html"));
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char *page = program_slurp(folder_path("page.html"));
    assert_true(page && strstr(page, "Loss on a plane") && strstr(page, "Loss on a line"));
    free(page);
    snprintf(path, sizeof path, "rm -r %s/figures", folder);
    assert_int_equal(system(path), 0);
    folder_empty();
}

/* The run file's own recorded test loss is that of the middle point. */
static void test_loss(void **state)
{
    (void)state;
    char run[512], arguments[1400];
    snprintf(run, sizeof run, "%s", folder_path("tested.gmr"));
    program_result r = program("train " LINE " --test-data gauss:k=3,d=6,n=20 --batch 5 --steps 5 "
                               "-o %s",
                               run);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    snprintf(arguments, sizeof arguments, "-q --params %s --along gradient --points 3", run);
    json_t *d = document(arguments);
    gm_error err = {0};
    gm_run *file = NULL;
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    assert_int_equal(gm_run_open(run, GM_RUN_READ, &file, &err), GM_OK);
    assert_int_equal(gm_run_metric(file, "test_loss", &step, &value, &count, &err), GM_OK);
    double found = number_at(at(at(d, "grid"), "test_loss"), 1), expected = value[count - 1];
    assert_true(fabs(found - expected) < 1e-13 * expected);
    gm_run_free(step);
    gm_run_free(value);
    gm_run_close(file);
    json_decref(d);
    snprintf(arguments, sizeof arguments, "landscape -q --params %s --points 3", run);
    r = program("%s", arguments);
    assert_non_null(strstr(r.out, "test loss"));
    program_free(&r);
    folder_empty();
}

/* Directions within one layer move nothing else: eigenvalues are those of its block, the way to
 * another point ends at the loss of a mixed net, and random filters have the layer's norm. */
static void one_layer(void **state)
{
    (void)state;
    json_t *d = document(LINE " --layer dense2 --dimensions 2 --points 3");
    json_t *s = program_document(program("spectrum --json " LINE " --method dense --layer dense2"));
    assert_string_equal(json_string_value(at(d, "layer")), "dense2");
    for (size_t a = 0; a < 2; a++) {
        double value = program_number(json_array_get(at(d, "directions"), a), "curvature");
        double expected = number_at(at(s, "eigenvalues"), a);
        assert_true(fabs(value - expected) < 1e-8 * expected);
    }
    json_decref(d);
    json_decref(s);

    char run[512], arguments[1400], from[600];
    make_run(run);
    snprintf(from, sizeof from, "%s@10", run);
    gm_error err = {0};
    gm_run *file = NULL;
    double *start = NULL, *end = NULL;
    size_t p = 0;
    assert_int_equal(gm_run_open(run, GM_RUN_READ, &file, &err), GM_OK);
    assert_int_equal(gm_run_parameters(file, 10, &start, &p, NULL, &err), GM_OK);
    assert_int_equal(gm_run_parameters(file, 70, &end, &p, NULL, &err), GM_OK);
    gm_run_close(file);
    memcpy(end, start, 35 * sizeof *end); /* dense1 of 6-5-3: 6 x 5 + 5, stays */
    size_t dim = p;
    assert_int_equal(gm_npy_write(folder_path("mixed.npy"), GM_NPY_F8, 1, &dim, end, &err), GM_OK);
    gm_run_free(start);
    gm_run_free(end);
    snprintf(arguments, sizeof arguments, "-q --params %s --to %s --layer 1 --points 13", from,
             run);
    d = document(arguments);
    snprintf(arguments, sizeof arguments, "%s " NET, folder_path("mixed.npy"));
    double mixed = loss_of(arguments);
    assert_true(fabs(number_at(at(at(d, "grid"), "loss"), 10) - mixed) < 1e-13);
    assert_true(fabs(mixed - program_number(at(d, "to"), "loss")) > 1e-3);
    json_decref(d);
    /* The plane of one layer keeps no more than that of all, and its shares add up. */
    snprintf(arguments, sizeof arguments, "-q --params %s --trajectory --points 3", run);
    d = document(arguments);
    double all = program_number(d, "variance_share");
    json_decref(d);
    snprintf(arguments, sizeof arguments,
             "-q --params %s --trajectory --points 3 --layer '*.weight'", run);
    d = document(arguments);
    double share = program_number(d, "variance_share"), sum = 0;
    for (size_t a = 0; a < 2; a++) {
        sum += program_number(json_array_get(at(d, "directions"), a), "variance_share");
    }
    assert_true(share > 0.3 && share < all && fabs(sum - share) < 1e-12);
    json_decref(d);
    folder_empty();
}

/* A slice at each checkpoint is what the command gives at that checkpoint alone, but for signs. */
static void along_a_run(void **state)
{
    (void)state;
    char run[512], arguments[1400], into[600];
    make_run(run);
    snprintf(into, sizeof into, "%s", folder_path("into.gmr"));
    snprintf(arguments, sizeof arguments, "-q --params %s@all --points 5 --range 1 -o %s", run,
             into);
    json_t *d = document(arguments);
    const json_t *series = at(d, "series");
    assert_int_equal(json_array_size(series), 8);
    assert_int_equal(program_number(d, "step"), 70);
    for (size_t i = 0; i < 8; i++) {
        const json_t *entry = json_array_get(series, i);
        snprintf(arguments, sizeof arguments, "-q --params %s@%d --points 5 --range 1", run,
                 10 * (int)i);
        json_t *alone = document(arguments);
        const json_t *a = at(at(entry, "grid"), "loss"), *b = at(at(alone, "grid"), "loss");
        size_t last = fabs(number_at(a, 0) - number_at(b, 0)) < 1e-9 ? 0 : 4; /* turned round */
        for (size_t j = 0; j < 5; j++) {
            assert_true(fabs(number_at(a, j) - number_at(b, last ? last - j : j)) < 1e-9);
        }
        assert_int_equal(program_number(entry, "step"), 10 * (int)i);
        assert_true(program_number(entry, "loss") == program_number(alone, "loss"));
        json_decref(alone);
    }
    json_decref(d);
    gm_error err = {0};
    gm_run *file = NULL;
    gm_run_result *result = NULL;
    size_t count = 0;
    assert_int_equal(gm_run_open(into, GM_RUN_READ, &file, &err), GM_OK);
    assert_int_equal(gm_run_results(file, "landscape", &result, &count, &err), GM_OK);
    assert_int_equal(count, 8);
    assert_true(result[0].step == 0 && result[7].step == 70);
    assert_string_equal(result[3].key, "eigenvectors-1d");
    gm_run_free(result);
    gm_run_close(file);
    program_result r = program("landscape -q --params %s@all --along gradient --dimensions 2 "
                               "--points 3 --layer dense1",
                               run);
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "step 70"));
    assert_non_null(strstr(r.out, "along gradient within dense1 at every point"));
    program_free(&r);
    snprintf(arguments, sizeof arguments, "--params %s@all --to %s", run, run);
    refused(arguments, "--to: found beside several points");
    snprintf(arguments, sizeof arguments, "--params %s@all --trajectory", run);
    refused(arguments, "--trajectory: found beside several points");
    folder_empty();
}

/* Two checkpoints span no plane; another net's is none of this one's. */
static void few_checkpoints(void **state)
{
    (void)state;
    char run[512], arguments[1400];
    snprintf(run, sizeof run, "%s", folder_path("short.gmr"));
    program_result r = program("train " LINE " --batch 5 --step 0.2 --steps 1 -o %s", run);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    snprintf(arguments, sizeof arguments, "--params %s --trajectory", run);
    refused(arguments, "holds 2 checkpoints, expected at least 3");
    snprintf(arguments, sizeof arguments, "--model mlp:6-3 --data gauss:k=3,d=6,n=60 --to %s", run);
    refused(arguments, "expected 21");
    snprintf(arguments, sizeof arguments, LINE " --to %s", folder_path("none.gmr"));
    refused(arguments, "none.gmr");
    folder_empty();
}

static void refusals(void **state)
{
    (void)state;
    refused(NET " --range 0", "--range");
    refused(NET " --points 1", "--points: found 1");
    refused(NET " --points 0", "--points");
    refused(NET " --dimensions 3", "--dimensions");
    refused(NET " --along nowhere", "--along");
    refused(NET " --along checkpoints", "--to FILE is needed");
    refused(NET " --along random --to x.npy", "--to: only with --along checkpoints");
    refused(NET " --dimensions 2 --to x.npy", "--dimensions: found 2");
    refused(NET " --along random --which SA", "--which");
    refused(NET " --tol 2", "--tol");
    refused(NET " --layer dense3", "--layer");
    refused(NET " --layers each", "--layers");
    refused("--model mlp:1-1 --data gauss:k=1,d=1 --layer '*.bias' --dimensions 2",
            "but the layer has 1 parameter");
    refused(NET " --trajectory", "a run file are needed");
    refused(NET " --along principal", "a run file are needed");
    refused(NET " --points 100000 --dimensions 2 --memory 100M", "--memory");
    refused("--data gauss:", "--model");
    refused(NET " -o /nowhere/x.gmr", "--output");
}

static void interrupted(void **state)
{
    (void)state;
    program_result r =
        program_interrupted("landscape --along random --dimensions 2 --points 300 "
                            "--model mlp:50-30-10 --data gauss: --threads 1 -q --json");
    assert_int_equal(r.exit, 1);
    assert_non_null(strstr(r.err, "interrupted after "));
    assert_non_null(strstr(r.err, "of 90000 points"));
    if (*r.out) { /* some were done */
        json_t *d = json_loads(r.out, 0, NULL);
        const json_t *grid = at(d, "grid");
        size_t done = (size_t)program_number(grid, "evaluated");
        assert_true(done > 0 && done < 90000);
        for (size_t i = 0; i < 2; i++) { /* the last one done, and the next */
            const json_t *row = json_array_get(at(grid, "loss"), (done - 1 + i) / 300);
            assert_true(json_is_null(json_array_get(row, (done - 1 + i) % 300)) == (i == 1));
        }
        json_decref(d);
    }
    program_free(&r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eigenvectors),    cmocka_unit_test(between_checkpoints),
        cmocka_unit_test(trajectory),      cmocka_unit_test(test_loss),
        cmocka_unit_test(one_layer),       cmocka_unit_test(along_a_run),
        cmocka_unit_test(few_checkpoints), cmocka_unit_test(refusals),
        cmocka_unit_test(interrupted),     cmocka_unit_test(overflow),
    };
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "cli landscape");
    return folder_remove(NULL) ? 1 : failed;
}
