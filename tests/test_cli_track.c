/* train --track through the program: what it prints and records, beside a training without it,
 * stopped and resumed, and refused. */
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "folder.h"
#include "gradiometer/run.h"
#include "program.h"
#include "sgd_case.h"
#include "support.h"

#define SMALL "--model mlp:8-20-4 --data gauss:k=4,d=8,n=60 --batch 6 --threads 1 "

static const json_t *spectrum_of(const json_t *document)
{
    return json_object_get(json_object_get(document, "track"), "spectrum");
}

static double entry(const json_t *spectrum, const char *key, size_t i, size_t j)
{
    return json_number_value(json_array_get(json_array_get(json_object_get(spectrum, key), i), j));
}

static bool noted(const json_t *document, const char *part)
{
    const json_t *notes = json_object_get(document, "notes");
    for (size_t i = 0; i < json_array_size(notes); i++) {
        if (strstr(json_string_value(json_array_get(notes, i)), part)) return true;
    }
    return false;
}

static json_t *train_json(const char *run, const char *more)
{
    json_t *d =
        program_document(program("train --json -q -o %s --steps 25 " SMALL "%s", run, more));
    assert_non_null(d);
    return d;
}

/* The document agrees with `spectrum` at the kept checkpoints (two solvers, each to 1e-10 of the
 * largest) and with the metrics of the file; a resumed finished run tells the same. */
static void the_document_tells_all(void **unused)
{
    (void)unused;
    const char *run = folder_path("t.gmr");
    static const int steps[] = {0, 10, 20, 25};
    json_t *d = train_json(run, "--keep-every 10 --track spectrum:k=3,every=10");
    const json_t *s = spectrum_of(d);
    assert_string_equal(json_string_value(json_object_get(s, "operator")), "hessian");
    assert_int_equal(program_number(s, "k"), 3);
    assert_int_equal(program_number(s, "every"), 10);
    assert_int_equal(json_array_size(json_object_get(s, "steps")), 4);
    gm_run *file = NULL;
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    assert_int_equal(gm_run_open(run, GM_RUN_READ, &file, NULL), GM_OK);
    assert_int_equal(gm_run_metric(file, "hessian/eigenvalue/2", &step, &value, &count, NULL),
                     GM_OK);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(json_integer_value(json_array_get(json_object_get(s, "steps"), i)),
                         steps[i]);
        assert_int_equal(json_integer_value(json_array_get(json_object_get(s, "converged"), i)), 3);
        assert_true(json_integer_value(json_array_get(json_object_get(s, "products"), i)) > 0);
        assert_true(step[i] == steps[i] && value[i] == entry(s, "eigenvalues", i, 1));
        json_t *there = program_document(
            program("spectrum --json --method lanczos -k 3 --params %s@%d", run, steps[i]));
        assert_non_null(there);
        const json_t *expected = json_object_get(there, "eigenvalues");
        double scale = json_number_value(json_array_get(expected, 0));
        for (size_t j = 0; j < 3; j++) {
            double difference =
                entry(s, "eigenvalues", i, j) - json_number_value(json_array_get(expected, j));
            assert_true(fabs(difference) <= 2e-10 * scale);
            assert_true(entry(s, "residuals", i, j) <= 1e-10 * scale);
        }
        json_decref(there);
    }
    gm_run_free(step);
    gm_run_free(value);
    gm_run_close(file);
    json_t *again = program_document(program("train --json -q --resume %s", run));
    assert_true(json_equal(json_object_get(again, "track"), json_object_get(d, "track")));
    json_decref(again);
    json_decref(d);
    folder_empty();
}

static void text_and_notes(void **unused)
{
    (void)unused;
    program_result r = program("train -q --steps 12 --momentum 0.5 --step 0.1 " SMALL
                               "--track spectrum:k=2,every=6,n=30");
    assert_int_equal(r.exit, 0);
    assert_non_null(strstr(r.out, "tracked    hessian, k = 2: lambda_max "));
    assert_non_null(strstr(r.out, "(2+2 beta)/eta = 30; 3 steps, "));
    program_free(&r);
    r = program("train -q --steps 12 --step 0.1 " SMALL "--track spectrum:k=2,which=SA");
    assert_non_null(strstr(r.out, "lambda_min "));
    assert_null(strstr(r.out, "2/eta"));
    program_free(&r);
    r = program("train --steps 12 --step 0.1 " SMALL "--track spectrum:k=2");
    assert_non_null(strstr(r.out, ", 2/eta = 20; 2 steps, "));
    program_free(&r);

    json_t *d = train_json(folder_path("n.gmr"), "--track spectrum:n=30,k=2,products=9,every=25 "
                                                 "--precondition rmsprop");
    assert_true(noted(d, "first 30 of 60 samples"));
    assert_true(noted(d, "D^-1/2 H D^-1/2"));
    assert_true(noted(d, "at 2 of 2 steps not all 2 eigenpairs converged"));
    json_decref(d);
    d = train_json(folder_path("p.gmr"), "");
    assert_true(json_is_null(json_object_get(d, "track")));
    json_decref(d);
    folder_empty();
}

static void the_report_shows_it(void **unused)
{
    (void)unused;
    const char *run = folder_path("r.gmr"), *page = folder_path("r.html");
    json_decref(train_json(run, "--track spectrum:k=2,every=5,n=30"));
    program_result r = program("report %s -o %s", run, page);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    char *text = program_slurp(page);
    assert_non_null(text);
    assert_non_null(strstr(text, "Eigenvalues along the training"));
    assert_non_null(strstr(text, " of the loss on the first <data value=\"30\">30</data> of "));
    free(text);
    folder_empty();
}

/* Gauges change none of the training's numbers; the document, the text and the figure tell of them.
 */
static void gauges_tell(void **unused)
{
    (void)unused;
    const char *run = folder_path("g.gmr"), *plain = folder_path("plain.gmr");
    char figures[512], path[600];
    json_t *d = train_json(run, "--track gauges:curvature=5");
    const json_t *g = json_object_get(json_object_get(d, "track"), "gauges");
    assert_int_equal(program_number(g, "measured"), 25);
    assert_int_equal(program_number(g, "watched"), 24);
    assert_int_equal(program_number(g, "alarms"), 0);
    static const char *const mean[] = {"trace", "noise_scale", "batch_sharpness", "sharpness"};
    for (size_t i = 0; i < sizeof mean / sizeof *mean; i++) {
        const json_t *value = json_object_get(g, mean[i]);
        assert_true(program_number(value, "value") > 0 && program_number(value, "stderr") > 0);
    }
    json_decref(d);
    json_decref(train_json(plain, ""));
    gm_run *file[2] = {NULL};
    double *value[2];
    int64_t *step[2];
    size_t count[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gm_run_open(i ? plain : run, GM_RUN_READ, &file[i], NULL), GM_OK);
        assert_int_equal(gm_run_metric(file[i], "batch_loss", &step[i], &value[i], &count[i], NULL),
                         GM_OK);
    }
    assert_int_equal(count[0], 25);
    assert_memory_equal(value[0], value[1], 25 * sizeof(double));
    for (int i = 0; i < 2; i++) {
        gm_run_free(value[i]);
        gm_run_free(step[i]);
        gm_run_close(file[i]);
    }
    snprintf(figures, sizeof figures, "%s", folder_path("figures"));
    program_result r = program("report %s --figures svg --dir %s", run, figures);
    assert_int_equal(r.exit, 0);
    program_free(&r);
    snprintf(path, sizeof path, "%s/gauges.svg", figures);
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "rm -r %s", figures);
    assert_int_equal(system(path), 0);

    d = train_json(folder_path("m.gmr"), "--momentum 0.5 --track gauges");
    assert_true(noted(d, "no alarm"));
    g = json_object_get(json_object_get(d, "track"), "gauges");
    assert_true(json_is_null(json_object_get(g, "alarms")));
    json_decref(d);
    r = program("train -q --steps 12 --step 0.1 " SMALL "--track gauges");
    assert_non_null(strstr(r.out, "Batch Sharpness "));
    assert_non_null(strstr(r.out, ", 2/eta = 20"));
    program_free(&r);
    /* From a start that the net has nearly learned, a step far beyond 2/lambda_max. */
    r = program("train -q --steps 60 --step 40 " SMALL "--track gauges:alarm=3");
    assert_non_null(strstr(r.out, "ALARM "));
    program_free(&r);
    folder_empty();
}

/* ---- stopped and resumed ---- */

/* Starts the training that the next test stops, or goes on with it. */
static pid_t start_training(const char *run, bool resume)
{
    char command[1024];
    if (resume) {
        snprintf(command, sizeof command, "exec %s train -q --resume %s", GM_PROGRAM, run);
    } else {
        snprintf(command, sizeof command,
                 "exec %s train -q -o %s --steps 1500 --checkpoint-every 10 --model mlp:8-20-4 "
                 "--data gauss:k=4,d=8,n=60 --batch 6 --threads 1 --track "
                 "'spectrum:k=2,every=10,tol=1e-6;gauges:every=3,curvature=2'",
                 GM_PROGRAM, run);
    }
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int64_t state_of(const char *path)
{
    gm_run *run = NULL;
    gm_run_state *state = NULL;
    int64_t step = -1;
    if (gm_run_open(path, GM_RUN_READ, &run, NULL) == GM_OK &&
        gm_run_load_state(run, &state, NULL) == GM_OK && state) {
        step = state->step;
    }
    gm_run_free(state);
    gm_run_close(run);
    return step;
}

/* Sends the signal once the state has come to `step`; returns how the process ended. */
static int stop_training(pid_t pid, const char *run, int64_t step, int number)
{
    int status;
    while (state_of(run) < step && waitpid(pid, &status, WNOHANG) == 0) {
        usleep(10000);
    }
    kill(pid, number);
    waitpid(pid, &status, 0);
    return status;
}

static void drop_line(char *dump, const char *start)
{
    char *line = strstr(dump, start), *end = line ? strchr(line, '\n') : NULL;
    if (end) memmove(line, end + 1, strlen(end + 1) + 1);
}

static void stops_change_nothing(void **unused)
{
    (void)unused;
    const char *whole = folder_path("whole.gmr"), *cut = folder_path("cut.gmr");
    int status;
    waitpid(start_training(whole, false), &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = stop_training(start_training(cut, false), cut, 50, SIGKILL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = stop_training(start_training(cut, true), cut, state_of(cut) + 30, SIGKILL);
    assert_true(WIFSIGNALED(status));
    status = stop_training(start_training(cut, true), cut, state_of(cut) + 30, SIGINT);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    waitpid(start_training(cut, true), &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    char *expected = run_dump(whole), *found = run_dump(cut);
    assert_non_null(expected);
    assert_non_null(found);
    drop_line(expected, "command = "); /* it names the file */
    drop_line(found, "command = ");
    assert_non_null(strstr(expected, "hessian/eigenvalue/2 1500 "));
    assert_non_null(strstr(expected, "gauge/batch_sharpness_mean 1494 "));
    if (strcmp(found, expected) != 0) fail_msg("the stopped run differs");
    free(expected);
    free(found);
    folder_empty();
}

/* ---- refusals ---- */

static void bad_words_are_refused(void **unused)
{
    (void)unused;
    static const char *const words[] = {
        "''",
        "bogus",
        "';'",
        "'spectrum;'",
        "'spectrum;bogus'",
        "'spectrum;spectrum:operator=ggn'",
        "spectrum:k=0",
        "spectrum:k=265",
        "spectrum:every=0",
        "spectrum:bogus=1",
        "spectrum:n=61",
        "spectrum:operator=bogus",
        "spectrum --memory 150K",
        "gauges:every=0",
        "gauges:bogus=1",
        "'gauges;gauges'",
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        program_result r =
            program("train -v -o %s " SMALL "--track %s", folder_path("new.gmr"), words[i]);
        if (r.exit != 2 || !program_one_line(r.err) || *r.out || folder_entries() ||
            !strstr(r.err, "--track"))
            fail_msg("--track %s: exit status %d: %s", words[i], r.exit, r.err);
        program_free(&r);
    }
    const char *run = folder_path("t.gmr");
    json_decref(train_json(run, ""));
    program_result r = program("train --resume %s --track spectrum", run);
    assert_int_equal(r.exit, 2);
    assert_non_null(strstr(r.err, "--track"));
    program_free(&r);
    folder_empty();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_tells_all), cmocka_unit_test(text_and_notes),
        cmocka_unit_test(the_report_shows_it),    cmocka_unit_test(stops_change_nothing),
        cmocka_unit_test(bad_words_are_refused),  cmocka_unit_test(gauges_tell),
    };
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "program: --track");
    return folder_remove(NULL) ? 1 : failed;
}
