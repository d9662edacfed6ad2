/* gradiometer dynamics ensemble as a user runs it: keys of the document, runs alone, going on after
 * Ctrl-C and kills, refusals. The mathematics is tested in test_ensemble.c. */
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "folder.h"
#include "gradiometer/ensemble.h"
#include "gradiometer/run.h"
#include "program.h"

#define SMALL "--model mlp:6-5-3 --data gauss:k=3,d=6,n=60 --batch 8 --threads 2 -q"

static json_t *document(const char *arguments)
{
    json_t *d = program_document(program("dynamics ensemble " SMALL " --json %s", arguments));
    assert_non_null(d);
    return d;
}

static const json_t *quantity(const json_t *d, const char *name)
{
    const json_t *value = json_object_get(json_object_get(d, "quantities"), name);
    if (!value) fail_msg("no quantity %s", name);
    return value;
}

static double at(const json_t *d, const char *name, const char *column, size_t index)
{
    const json_t *value = json_array_get(json_object_get(quantity(d, name), column), index);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void test_document(void **state)
{
    (void)state;
    json_t *d = document("--runs 30 --steps 10 --record all --test-data gauss:k=3,d=6,n=60");
    static const char *const keys[] = {"tool",     "model",      "data",         "setup",
                                       "runs",     "runs_asked", "steps",        "diverged",
                                       "notes",    "histograms", "way",          "quantile_method",
                                       "finished", "loss",       "gradient_norm"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!json_object_get(d, keys[i])) fail_msg("no key %s", keys[i]);
    }
    assert_int_equal(json_array_size(json_object_get(d, "steps")), 11);
    assert_string_equal(json_string_value(json_object_get(d, "quantile_method")), "exact");
    assert_int_equal(json_object_size(json_object_get(d, "quantities")), GM_QUANTITIES);
    assert_true(fabs(at(d, "loss", "mean", 0) - program_number(d, "loss")) < 1e-14);
    assert_true(fabs(at(d, "gradient_square", "mean", 0) -
                     pow(program_number(d, "gradient_norm"), 2)) < 1e-12);
    for (size_t t = 0; t < 10; t++) {
        double change = at(d, "loss", "mean", t + 1) - at(d, "loss", "mean", t);
        assert_true(fabs(at(d, "delta", "mean", t) - change) < 1e-14);
        assert_true(fabs(at(d, "delta", "stderr", t) * sqrt(30) - at(d, "delta", "sd", t)) < 1e-15);
        const json_t *q = json_object_get(quantity(d, "delta"), "quantiles");
        const json_t *values = json_object_get(q, "values");
        assert_int_equal(json_array_size(values), 7);
        for (size_t l = 1; l < 7; l++) {
            assert_true(json_number_value(json_array_get(json_array_get(values, l), t)) >=
                        json_number_value(json_array_get(json_array_get(values, l - 1), t)));
        }
    }
    /* There is no step after the last, and no gradient of one. */
    assert_true(json_is_null(json_array_get(json_object_get(quantity(d, "delta"), "mean"), 10)));
    assert_true(json_is_null(json_array_get(json_object_get(quantity(d, "cosine"), "mean"), 9)));
    const json_t *histogram = json_array_get(json_object_get(d, "histograms"), 0);
    double sum = program_number(histogram, "below") + program_number(histogram, "above");
    const json_t *counts = json_object_get(histogram, "counts");
    for (size_t i = 0; i < json_array_size(counts); i++) {
        sum += json_number_value(json_array_get(counts, i));
    }
    assert_true(sum == 30);
    json_decref(d);
}

/* Two runs alone and both together. */
static void test_run_alone(void **state)
{
    (void)state;
    static const char *const ways[] = {"",
                                       "--precision f32 --init fresh",
                                       "--optimizer adam",
                                       "--precondition rmsprop --step 0.02",
                                       "--step cosine:0.3 --momentum 0.5",
                                       "--step oracle"};
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        json_t *d[3];
        static const char *const which[] = {"--first-run 4 --runs 2", "--first-run 4 --runs 1",
                                            "--first-run 5 --runs 1"};
        for (int i = 0; i < 3; i++) {
            char arguments[256];
            snprintf(arguments, sizeof arguments, "--steps 12 %s %s", ways[w], which[i]);
            d[i] = document(arguments);
        }
        for (size_t t = 0; t < 12; t++) {
            double a = at(d[1], "loss", "mean", t), b = at(d[2], "loss", "mean", t);
            assert_true(at(d[0], "loss", "mean", t) == a + (b - a) / 2);
            assert_true(t == 0 || a != b);
        }
        for (int i = 0; i < 3; i++) {
            json_decref(d[i]);
        }
    }
}

/* ---- stopped and continued ---- */

enum { LONG_RUNS = GM_TEST_SIZE(150, 40) };
#define LONG                                                                                       \
    "dynamics", "ensemble", "--model", "mlp:20-30-10", "--data", "gauss:d=20,n=500", "--batch",    \
        "16", "--runs", LONG_RUNS == 150 ? "150" : "40", "--steps", "60", "--exact-runs", "50",    \
        "--threads", "2", "-q"

static pid_t start(const char *run)
{
    pid_t pid = fork();
    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), 1);
        dup2(open(folder_path("err"), O_CREAT | O_WRONLY | O_TRUNC, 0600), 2);
        execl(GM_PROGRAM, "gradiometer", LONG, "-o", run, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* The stored document; NULL while there is none. */
static json_t *stored(const char *path)
{
    gm_run *run = NULL;
    gm_run_result *result = NULL;
    size_t count = 0;
    json_t *d = NULL;
    if (gm_run_open(path, GM_RUN_READ, &run, NULL) == GM_OK &&
        gm_run_results(run, "dynamics", &result, &count, NULL) == GM_OK && count > 0) {
        assert_int_equal(count, 1);
        d = json_loads(result[0].json, 0, NULL);
    }
    gm_run_free(result);
    gm_run_close(run);
    return d;
}

static size_t runs_in(const char *path)
{
    json_t *d = stored(path);
    size_t runs = d ? (size_t)program_number(d, "runs") : 0;
    json_decref(d);
    return runs;
}

static int stop_after(pid_t pid, const char *run, size_t runs, int number)
{
    int status;
    while (runs_in(run) < runs) {
        if (waitpid(pid, &status, WNOHANG) != 0) return status;
        usleep(10000); /* a look costs some milliseconds */
    }
    kill(pid, number);
    waitpid(pid, &status, 0);
    return status;
}

static void same_results(const char *a, const char *b)
{
    static const char *const keys[] = {"quantities", "histograms", "diverged", "steps", "runs"};
    json_t *x = stored(a), *y = stored(b);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!json_equal(json_object_get(x, keys[i]), json_object_get(y, keys[i])))
            fail_msg("%s and %s differ in %s", a, b, keys[i]);
    }
    json_decref(x);
    json_decref(y);
}

/* Killed as soon as something is saved, interrupted later, finished by the same command: the bits
 * of an ensemble that never stopped. Where the machine is so fast that a signal comes too late,
 * there is less to continue, and the comparison holds all the same. */
static void test_continue(void **state)
{
    (void)state;
    const char *whole = folder_path("whole.gmr"), *cut = folder_path("cut.gmr");
    int status;
    waitpid(start(whole), &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = stop_after(start(cut), cut, 1, SIGKILL);
    assert_true(WIFSIGNALED(status) || runs_in(cut) == LONG_RUNS);
    size_t killed = runs_in(cut);
    status = stop_after(start(cut), cut, killed + 1, SIGINT);
    if (runs_in(cut) < LONG_RUNS) {
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        char *text = program_slurp(folder_path("err"));
        assert_true(program_one_line(text));
        assert_non_null(strstr(text, "the same command again"));
        free(text);
    }
    waitpid(start(cut), &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(runs_in(cut), LONG_RUNS);
    same_results(whole, cut);
    waitpid(start(cut), &status, 0); /* nothing left to do */
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    same_results(whole, cut);
    folder_empty();
}

static void expect_refusal(const char *arguments, const char *named)
{
    program_result r = program("dynamics ensemble %s", arguments);
    if (r.exit != 2 || *r.out || !program_one_line(r.err) || !strstr(r.err, named)) {
        fail_msg("%s: status %d, '%s', expected one line that names %s", arguments, r.exit, r.err,
                 named);
    }
    program_free(&r);
}

static void test_more_runs(void **state)
{
    (void)state;
    const char *path = folder_path("grow.gmr");
    char arguments[512];
    for (int runs = 5; runs <= 9; runs += 4) {
        snprintf(arguments, sizeof arguments, "--steps 6 --keep-runs 2,4 --runs %d -o %s", runs,
                 path);
        json_decref(document(arguments));
    }
    json_t *grown = stored(path);
    json_t *whole = document("--steps 6 --keep-runs 2,4 --runs 9");
    assert_true(
        json_equal(json_object_get(grown, "quantities"), json_object_get(whole, "quantities")));
    json_decref(whole);
    json_decref(grown);
    snprintf(arguments, sizeof arguments, SMALL " --steps 6 --keep-runs 2,4 --runs 7 -o %s", path);
    expect_refusal(arguments, "--runs");
    snprintf(arguments, sizeof arguments, SMALL " --steps 7 --keep-runs 2,4 --runs 9 -o %s", path);
    expect_refusal(arguments, "its steps is 6, here it is 7");
    snprintf(arguments, sizeof arguments,
             SMALL " --steps 6 --keep-runs 2,4 --runs 9 --random-labels 0.5 -o %s", path);
    expect_refusal(arguments, "data_crc32");
    folder_empty();
}

/* From a checkpoint: batch, step and replacement of the run, and none of its batches. */
static void test_from_checkpoint(void **state)
{
    (void)state;
    const char *run = folder_path("run.gmr");
    program_result r = program("train --model mlp:6-5-3 --data gauss:k=3,d=6,n=60 --batch 7 --step "
                               "0.25 --replacement no --momentum 0.5 --steps 20 -q -o %s",
                               run);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    json_t *d = program_document(
        program("dynamics ensemble --params %s --runs 3 --steps 5 --json -q", run));
    const json_t *setup = json_object_get(d, "setup");
    assert_true(program_number(setup, "batch") == 7 && program_number(setup, "momentum") == 0.5);
    assert_true(program_number(setup, "first_run") == 1);
    assert_string_equal(json_string_value(json_object_get(setup, "step")), "0.25");
    assert_string_equal(json_string_value(json_object_get(setup, "replacement")), "no");
    json_decref(d);
    /* Another optimizer than the run's has its own numbers and no momentum of the run's. */
    d = program_document(
        program("dynamics ensemble --params %s --runs 3 --steps 5 --json -q --step 0.01 "
                "--optimizer rmsprop",
                run));
    setup = json_object_get(d, "setup");
    assert_string_equal(json_string_value(json_object_get(setup, "optimizer")), "rmsprop");
    assert_true(program_number(setup, "momentum") == 0);
    json_decref(d);
    folder_empty();
}

/* Fan charts of all that was recorded, and histograms with the prediction over the first. */
static void test_figures(void **state)
{
    (void)state;
    const char *path = folder_path("fan.gmr"), *pictures = folder_path("pictures");
    char arguments[512], name[600];
    snprintf(arguments, sizeof arguments, "--runs 50 --steps 40 --record all -o %s", path);
    json_decref(document(arguments));
    program_result r = program("dynamics predict " SMALL " --draws 50 -o %s", path);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    r = program("report %s --figures svg --dir %s", path, pictures);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    static const struct {
        const char *file, *word;
        bool has;
    } expected[] = {{"ensemble.svg", "loss", true},
                    {"ensemble2.svg", "cos", true},
                    {"ensemble4.svg", "tr", true},
                    {"changes.svg", "predicted", true},
                    {"changes2.svg", "predicted", false},
                    {"changes2.svg", "step 3", true},
                    {"predicted.svg", "predicted band", true},
                    {"predicted.svg", "batch", true}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        snprintf(name, sizeof name, "%s/%s", pictures, expected[i].file);
        char *svg = program_slurp(name);
        if (!svg) fail_msg("no %s", name);
        if ((strstr(svg, expected[i].word) != NULL) != expected[i].has)
            fail_msg("'%s' in %s", expected[i].word, expected[i].file);
        free(svg);
    }
    snprintf(name, sizeof name, "rm -r '%s'", pictures);
    assert_int_equal(system(name), 0);
    folder_empty();
}

static void test_text(void **state)
{
    (void)state;
    program_result r =
        program("dynamics ensemble " SMALL " --runs 12 --steps 30 --step 60 --record "
                "loss,error_rate,trace_sigma --loss squared");
    assert_int_equal(r.exit, 0); /* divergence is a result */
    assert_string_equal(r.err, "");
    static const char *const words[] = {"12 runs",           "exact",    "loss f(theta_t)",
                                        "wrong predictions", "diverged", "infinite",
                                        "standard error"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!strstr(r.out, words[i])) fail_msg("no '%s' in\n%s", words[i], r.out);
    }
    program_free(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"--runs 0", "--runs"},
        {"--steps 0", "--steps"},
        {"--step 0", "--step"},
        {"--step -0.1", "--step"},
        {"--step decay:0.1", "--step"},
        {"--batch 61 --replacement no", "--batch"},
        {"--batch 4,8", "--batch"},
        {"--record loss,speed", "--record"},
        {"--record test_error_rate", "--test-data"},
        {"--gradient-every 7", "--gradient-every"},
        {"--keep-runs 3,2", "--keep-runs"},
        {"--keep-runs 1000", "--keep-runs"},
        {"--init warm", "--init"},
        {"--draws 5", "--draws"},
        {"--runs 10000000 --steps 100000 --exact-runs 10000000 --memory 1G", "--memory"},
        {"-o /nowhere/runs.gmr", "/nowhere"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char arguments[512];
        snprintf(arguments, sizeof arguments, SMALL " %s", cases[i][0]);
        expect_refusal(arguments, cases[i][1]);
    }
    program_result r = program("dynamics predict " SMALL " --runs 5");
    assert_int_equal(r.exit, 2);
    assert_non_null(strstr(r.err, "--runs: not an option of dynamics predict"));
    program_free(&r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),        cmocka_unit_test(test_run_alone),
        cmocka_unit_test(test_continue),        cmocka_unit_test(test_more_runs),
        cmocka_unit_test(test_from_checkpoint), cmocka_unit_test(test_text),
        cmocka_unit_test(test_figures),         cmocka_unit_test(test_refusals),
    };
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "cli_ensemble");
    return folder_remove(NULL) ? 1 : failed;
}
