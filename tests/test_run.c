/* The run file: what goes in comes out, what fails leaves the file as it was, and no file, however
 * broken, does more than give an error of one line. Numbers must come back to the bit, so
 * comparisons are exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <grp.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "gradiometer/random.h"
#include "gradiometer/run.h"
#include "run/schema.h"
#include "run/store.h"

/* ---- helpers ---- */

static void ok(gm_status status, const gm_error *err)
{
    if (status != GM_OK) fail_msg("unexpected: %s", err->message);
}

/* The status, and a message of one line that names the file and holds `part`. */
static void fails(gm_status status, gm_status expected, const gm_error *err, const char *path,
                  const char *part)
{
    if (status != expected)
        fail_msg("status %d, expected %d: %s", (int)status, (int)expected, err->message);
    assert_int_equal(err->status, expected);
    assert_null(strchr(err->message, '\n'));
    if (path && strncmp(err->message, path, strlen(path)) != 0)
        fail_msg("'%s' does not begin with %s", err->message, path);
    if (!strstr(err->message, part)) fail_msg("'%s' does not say '%s'", err->message, part);
}

static gm_run *create(const char *path)
{
    gm_error err;
    gm_run *run = NULL;
    ok(gm_run_create(path, true, NULL, 0, &run, &err), &err);
    return run;
}

static gm_run *reopen(const char *path, gm_run_mode mode)
{
    gm_error err;
    gm_run *run = NULL;
    ok(gm_run_open(path, mode, &run, &err), &err);
    return run;
}

/* A single integer asked of the file by SQLite alone. */
static int64_t ask(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

static void tell(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static char *slurp(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 22);
    *size = fread(bytes, 1, 1 << 22, file);
    fclose(file);
    return bytes;
}

static gm_run_state state_of(int64_t step, size_t p, const double *theta)
{
    return (gm_run_state){.step = step,
                          .status = "running",
                          .message = "",
                          .dtype = GM_F64,
                          .parameters = p,
                          .theta = theta};
}

/* ---- settings and metrics ---- */

static void settings_come_back(void **unused)
{
    (void)unused;
    const char *path = folder_path("settings.gmr");
    gm_error err;
    gm_run *run = NULL;
    const gm_setting first[] = {{"model", "mlp:50-30-10"}, {"command", "train 'a b' \xc3\xa9\n2"}};
    ok(gm_run_create(path, false, first, 2, &run, &err), &err);
    /* Committed with the creation: another connection sees them at once. */
    assert_int_equal(ask(path, "SELECT count(*) FROM setting"), 2);
    const gm_setting more[] = {{"model", "lenet"}, {"empty", ""}};
    ok(gm_run_set(run, more, 2, &err), &err);
    gm_run_close(run);

    run = reopen(path, GM_RUN_READ);
    gm_setting *list = NULL;
    size_t count = 0;
    ok(gm_run_settings(run, &list, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_string_equal(list[0].key, "command");
    assert_string_equal(list[0].value, "train 'a b' \xc3\xa9\n2");
    assert_string_equal(list[1].key, "empty");
    assert_string_equal(list[1].value, "");
    assert_string_equal(list[2].value, "lenet");
    gm_run_free(list);
    char *value = NULL;
    ok(gm_run_get(run, "model", &value, &err), &err);
    assert_string_equal(value, "lenet");
    gm_run_free(value);
    ok(gm_run_get(run, "none", &value, &err), &err);
    assert_null(value);
    fails(gm_run_set(run, more, 2, &err), GM_ERR_USAGE, &err, path, "reading only");
    assert_string_equal(gm_run_path(run), path);
    gm_run_close(run);
    assert_int_equal(ask(path, "PRAGMA application_id"), GM_RUN_APPLICATION_ID);
    assert_int_equal(ask(path, "PRAGMA user_version"), GM_RUN_SCHEMA);
    folder_empty();
}

static void metrics_come_back(void **unused)
{
    (void)unused;
    const char *path = folder_path("metrics.gmr");
    gm_error err;
    gm_run *run = create(path);
    const gm_metric metric[] = {{7, "loss", 0.1},
                                {0, "loss", -0.0},
                                {3, "loss", (double)NAN},
                                {5, "loss", (double)INFINITY},
                                {7, "batch_loss", 1e-310},
                                {7, "loss", 0.2}, /* replaces */
                                {INT64_MAX, "zz", 1.0 / 3.0}};
    ok(gm_run_add_metrics(run, metric, 7, &err), &err);
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    ok(gm_run_metric(run, "loss", &step, &value, &count, &err), &err);
    assert_int_equal(count, 4);
    const int64_t steps[] = {0, 3, 5, 7};
    assert_memory_equal(step, steps, sizeof steps);
    assert_true(value[0] == 0.0 && isnan(value[1]) && isinf(value[2]) && value[3] == 0.2);
    gm_run_free(step);
    gm_run_free(value);
    ok(gm_run_metric(run, "batch_loss", &step, &value, &count, &err), &err);
    assert_true(count == 1 && value[0] == 1e-310);
    gm_run_free(step);
    gm_run_free(value);
    ok(gm_run_metric(run, "nothing", &step, &value, &count, &err), &err);
    assert_true(count == 0 && !step && !value);
    const char **names = NULL;
    ok(gm_run_metric_names(run, &names, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_string_equal(names[0], "batch_loss");
    assert_string_equal(names[1], "loss");
    assert_string_equal(names[2], "zz");
    gm_run_free(names);
    gm_run_close(run);
    run = create(path);
    ok(gm_run_metric_names(run, &names, &count, &err), &err);
    assert_int_equal(count, 0);
    gm_run_free(names);
    gm_run_close(run);
    folder_empty();
}

/* ---- state and checkpoints ---- */

static void state_comes_back(void **unused)
{
    (void)unused;
    const char *path = folder_path("state.gmr");
    gm_error err;
    gm_run *run = create(path);
    gm_run_state *state = NULL;
    ok(gm_run_load_state(run, &state, &err), &err);
    assert_null(state);

    const float theta[3] = {1.5f, -0.0f, 1e-40f}, velocity[3] = {3.0f, 4.0f, -5.0f};
    gm_run_state put = {.step = 12,
                        .status = "interrupted",
                        .message = "by hand",
                        .seconds = 1.25,
                        .dtype = GM_F32,
                        .parameters = 3,
                        .theta = theta,
                        .slots = 1,
                        .optimizer = velocity,
                        .stream_seed = UINT64_MAX - 4,
                        .stream_purpose = GM_PURPOSE_BATCH,
                        .stream_run = UINT32_MAX,
                        .stream_position = 12};
    const gm_metric metric = {12, "loss", 0.5};
    ok(gm_run_save(run, &put, -1, false, &metric, 1, &err), &err);
    gm_run_close(run);
    run = reopen(path, GM_RUN_WRITE);
    ok(gm_run_load_state(run, &state, &err), &err);
    assert_int_equal(state->step, 12);
    assert_string_equal(state->status, "interrupted");
    assert_string_equal(state->message, "by hand");
    assert_true(state->seconds == 1.25 && state->dtype == GM_F32);
    assert_true(state->parameters == 3 && state->slots == 1);
    assert_memory_equal(state->theta, theta, sizeof theta);
    assert_memory_equal(state->optimizer, velocity, sizeof velocity);
    assert_true(state->stream_seed == UINT64_MAX - 4 && state->stream_run == UINT32_MAX);
    assert_true(state->stream_purpose == GM_PURPOSE_BATCH && state->stream_position == 12);
    gm_run_free(state);

    /* Status alone: the parameters and their step stay. */
    gm_run_state word = {.step = 99, .status = "diverged", .message = "m", .seconds = 2};
    ok(gm_run_save(run, &word, 12, true, NULL, 0, &err), &err);
    ok(gm_run_load_state(run, &state, &err), &err);
    assert_int_equal(state->step, 12);
    assert_string_equal(state->status, "diverged");
    assert_memory_equal(state->theta, theta, sizeof theta);
    gm_run_free(state);

    /* Overwritten in place, and without an optimizer. */
    const double wide[3] = {1, 2, 3};
    gm_run_state next = state_of(13, 3, wide);
    ok(gm_run_save(run, &next, 12, true, NULL, 0, &err), &err);
    ok(gm_run_load_state(run, &state, &err), &err);
    assert_true(state->step == 13 && state->slots == 0 && !state->optimizer);
    assert_memory_equal(state->theta, wide, sizeof wide);
    gm_run_free(state);
    gm_run_close(run);
    assert_int_equal(ask(path, "SELECT count(*) FROM state"), 1);
    assert_int_equal(ask(path, "SELECT count(*) FROM checkpoint"), 1);
    folder_empty();
}

static void second_writer_is_noticed(void **unused)
{
    (void)unused;
    const char *path = folder_path("two.gmr");
    gm_error err;
    gm_run *a = create(path), *b = reopen(path, GM_RUN_WRITE);
    const double theta[2] = {1, 2};
    gm_run_state s0 = state_of(0, 2, theta), s5 = state_of(5, 2, theta), s6 = state_of(6, 2, theta);
    ok(gm_run_save(a, &s0, -1, true, NULL, 0, &err), &err);
    ok(gm_run_save(b, &s5, 0, true, NULL, 0, &err), &err);
    const gm_metric metric = {6, "loss", 0.5};
    fails(gm_run_save(a, &s6, 0, true, &metric, 1, &err), GM_ERR_IO, &err, path,
          "another process is training");
    /* Nothing of the refused save is there. */
    assert_int_equal(ask(path, "SELECT step FROM state"), 5);
    assert_int_equal(ask(path, "SELECT count(*) FROM metric"), 0);
    assert_int_equal(ask(path, "SELECT max(step) FROM checkpoint"), 5);

    /* Results may come from other processes; one that finds the file locked for good says so. */
    ok(gm_run_begin_write(b, &err), &err);
    sqlite3_busy_timeout(a->db, 0);
    fails(gm_run_add_metrics(a, &metric, 1, &err), GM_ERR_IO, &err, path, "locked");
    ok(gm_run_end(b, GM_OK, &err), &err);
    ok(gm_run_add_metrics(a, &metric, 1, &err), &err);
    gm_run_close(a);
    gm_run_close(b);
    folder_empty();
}

static void readers_see_whole_commits(void **unused)
{
    (void)unused;
    const char *path = folder_path("reader.gmr");
    gm_error err;
    gm_run *writer = create(path);
    const double theta[2] = {1, 2};
    gm_run_state s0 = state_of(0, 2, theta), s1 = state_of(1, 2, theta);
    ok(gm_run_save(writer, &s0, -1, true, NULL, 0, &err), &err);

    ok(gm_run_begin_write(writer, &err), &err);
    ok(gm_run_save(writer, &s1, 0, true, NULL, 0, &err), &err);
    gm_run *reader = reopen(path, GM_RUN_READ); /* opened in the middle of a write */
    gm_run_state *state = NULL;
    ok(gm_run_load_state(reader, &state, &err), &err);
    assert_int_equal(state->step, 0);
    gm_run_free(state);
    ok(gm_run_end(writer, GM_OK, &err), &err);
    ok(gm_run_load_state(reader, &state, &err), &err);
    assert_int_equal(state->step, 1);
    gm_run_free(state);
    gm_run_close(reader);
    gm_run_close(writer);
    assert_int_equal(folder_entries(), 1); /* no log is left */
    folder_empty();
}

static void checkpoints_are_exact(void **unused)
{
    (void)unused;
    const char *path = folder_path("steps.gmr");
    gm_error err;
    gm_run *run = create(path);
    int64_t *step = NULL, found = 0;
    double *theta = NULL;
    size_t count = 0, p = 0;
    ok(gm_run_checkpoints(run, &step, &count, &err), &err);
    assert_true(count == 0 && !step);
    fails(gm_run_parameters(run, GM_RUN_LAST, &theta, &p, NULL, &err), GM_ERR_INPUT, &err, path,
          "no parameters");

    const double a[2] = {0.1, 1e300}, b[2] = {0.1, 3.0}, c[2] = {5, 6};
    ok(gm_run_add_checkpoint(run, 0, GM_F64, 2, a, &err), &err);
    ok(gm_run_add_checkpoint(run, 40, GM_F32, 2, b, &err), &err);
    ok(gm_run_parameters(run, GM_RUN_LAST, &theta, &p, &found, &err), &err);
    assert_true(found == 40 && p == 2 && theta[0] == (double)0.1f && theta[1] == 3.0);
    gm_run_free(theta);
    gm_run_state state = state_of(50, 2, c); /* the latest state counts, too */
    ok(gm_run_save(run, &state, -1, false, NULL, 0, &err), &err);
    ok(gm_run_parameters(run, GM_RUN_LAST, &theta, &p, &found, &err), &err);
    assert_true(found == 50 && theta[0] == 5.0);
    gm_run_free(theta);
    ok(gm_run_parameters(run, 0, &theta, &p, &found, &err), &err);
    assert_true(found == 0 && theta[0] == 0.1 && theta[1] == 1e300);
    gm_run_free(theta);
    ok(gm_run_parameters(run, 50, &theta, &p, NULL, &err), &err);
    gm_run_free(theta);
    fails(gm_run_parameters(run, 41, &theta, &p, NULL, &err), GM_ERR_INPUT, &err, path,
          "no checkpoint of step 41; there are steps 0, 40, 50");
    assert_null(theta);
    fails(gm_run_parameters(run, -2, &theta, &p, NULL, &err), GM_ERR_USAGE, &err, path, "-2");
    fails(gm_run_add_checkpoint(run, -1, GM_F64, 2, a, &err), GM_ERR_USAGE, &err, path, "-1");
    for (int64_t i = 1; i <= 20; i++) {
        ok(gm_run_add_checkpoint(run, i, GM_F64, 2, a, &err), &err);
    }
    fails(gm_run_parameters(run, 41, &theta, &p, NULL, &err), GM_ERR_INPUT, &err, path,
          "there are 23 from step 0 to 50");
    ok(gm_run_checkpoints(run, &step, &count, &err), &err);
    assert_true(count == 23 && step[0] == 0 && step[20] == 20 && step[22] == 50);
    gm_run_free(step);
    gm_run_close(run);
    folder_empty();
}

/* ---- results ---- */

static void results_come_back(void **unused)
{
    (void)unused;
    const char *path = folder_path("results.gmr");
    gm_error err;
    gm_run *run = create(path);
    double vectors[6] = {1, 2, 3, 4, 5, 1.0 / 3.0}, scalar = -7;
    const gm_run_array arrays[] = {
        {.name = "vectors", .dtype = GM_F32, .rank = 2, .dim = {2, 3}, .data = vectors},
        {.name = "exact", .dtype = GM_F64, .rank = 2, .dim = {3, 2}, .data = vectors},
        {.name = "scalar", .dtype = GM_F64, .rank = 0, .data = &scalar},
        {.name = "empty", .dtype = GM_F64, .rank = 1, .dim = {0}}};
    gm_run_result result = {.command = "decompose", .step = 4, .key = "", .json = "{\"a\": 1}"};
    int64_t id = 0, other = 0;
    ok(gm_run_add_result(run, &result, arrays, 4, &id, &err), &err);
    result.step = GM_RUN_NO_STEP;
    result.key = "k";
    ok(gm_run_add_result(run, &result, NULL, 0, &other, &err), &err);
    result.command = "spectrum";
    ok(gm_run_add_result(run, &result, NULL, 0, NULL, &err), &err);

    gm_run_result *list = NULL;
    size_t count = 0;
    ok(gm_run_results(run, NULL, &list, &count, &err), &err);
    assert_int_equal(count, 3);
    gm_run_free(list);
    ok(gm_run_results(run, "decompose", &list, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_int_equal(list[0].step, GM_RUN_NO_STEP);
    assert_string_equal(list[0].key, "k");
    assert_true(list[1].id == id && list[1].step == 4);
    assert_string_equal(list[1].json, "{\"a\": 1}");
    assert_int_equal(strlen(list[1].created), strlen("2024-05-17T12:34:56Z"));
    gm_run_free(list);

    gm_run_array *array = NULL;
    ok(gm_run_arrays(run, id, &array, &count, &err), &err);
    assert_int_equal(count, 4);
    assert_string_equal(array[3].name, "vectors");
    assert_true(array[3].rank == 2 && array[3].dim[0] == 2 && array[3].dim[1] == 3);
    assert_true(array[3].dtype == GM_F32 && !array[3].data);
    gm_run_free(array);
    ok(gm_run_load_array(run, id, "vectors", &array, &err), &err);
    assert_true(array->data[4] == 5.0 && array->data[5] == (double)(float)(1.0 / 3.0));
    gm_run_free(array);
    ok(gm_run_load_array(run, id, "exact", &array, &err), &err);
    assert_string_equal(array->name, "exact");
    assert_memory_equal(array->data, vectors, sizeof vectors);
    gm_run_free(array);
    ok(gm_run_load_array(run, id, "scalar", &array, &err), &err);
    assert_true(array->rank == 0 && array->data[0] == -7.0);
    gm_run_free(array);
    ok(gm_run_load_array(run, id, "empty", &array, &err), &err);
    assert_true(array->rank == 1 && array->dim[0] == 0);
    gm_run_free(array);
    fails(gm_run_load_array(run, id, "nope", &array, &err), GM_ERR_INPUT, &err, path, "nope");

    /* Storing again replaces document and arrays together. */
    result = (gm_run_result){.command = "decompose", .step = 4, .key = "", .json = "{}"};
    ok(gm_run_add_result(run, &result, arrays + 2, 1, &id, &err), &err);
    ok(gm_run_arrays(run, id, &array, &count, &err), &err);
    assert_int_equal(count, 1);
    gm_run_free(array);
    assert_int_equal(ask(path, "SELECT count(*) FROM array"), 1);
    assert_int_equal(ask(path, "SELECT count(*) FROM result"), 3);

    /* A failure half-way leaves the former result whole. */
    gm_run_array bad[] = {arrays[0], {.name = "bad", .rank = 5}};
    fails(gm_run_add_result(run, &result, bad, 2, &id, &err), GM_ERR_USAGE, &err, path, "rank 5");
    bad[1] = (gm_run_array){
        .name = "huge", .dtype = GM_F64, .rank = 2, .dim = {SIZE_MAX / 2, 3}, .data = vectors};
    fails(gm_run_add_result(run, &result, bad, 2, &id, &err), GM_ERR_USAGE, &err, path, "huge");
    bad[1] = (gm_run_array){
        .name = "large", .dtype = GM_F64, .rank = 1, .dim = {(size_t)1 << 30}, .data = vectors};
    fails(gm_run_add_result(run, &result, bad, 2, &id, &err), GM_ERR_IO, &err, path, "large");
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[299] = '\0';
    bad[1] = (gm_run_array){.name = name, .dtype = GM_F64, .rank = 0, .data = &scalar};
    fails(gm_run_add_result(run, &result, bad, 2, &id, &err), GM_ERR_USAGE, &err, path,
          "255 bytes");
    assert_int_equal(ask(path, "SELECT count(*) FROM array WHERE name = 'scalar'"), 1);
    assert_int_equal(ask(path, "SELECT count(*) FROM array"), 1);
    gm_run_close(run);
    folder_empty();
}

/* ---- creating ---- */

static void creation_is_all_or_nothing(void **unused)
{
    (void)unused;
    const char *path = folder_path("new.gmr");
    gm_error err;
    gm_run *run = NULL;
    const gm_setting setting = {"model", "first"}, broken = {"model", NULL};
    assert_int_not_equal(gm_run_create(path, false, &broken, 1, &run, &err), GM_OK);
    assert_null(run);
    assert_int_equal(folder_entries(), 0);

    ok(gm_run_create(path, false, &setting, 1, &run, &err), &err);
    gm_run_close(run);
    fails(gm_run_create(path, false, NULL, 0, &run, &err), GM_ERR_USAGE, &err, path, "exists");
    assert_int_not_equal(gm_run_create(path, true, &broken, 1, &run, &err), GM_OK);
    assert_int_equal(ask(path, "SELECT count(*) FROM setting"), 1);
    assert_int_equal(folder_entries(), 1);
    ok(gm_run_create(path, true, NULL, 0, &run, &err), &err);
    gm_run_close(run);
    assert_int_equal(ask(path, "SELECT count(*) FROM setting"), 0);

    const char *thesis = folder_path("thesis.tex");
    folder_write("thesis.tex", "\\documentclass", 14);
    fails(gm_run_create(thesis, true, NULL, 0, &run, &err), GM_ERR_USAGE, &err, thesis,
          "not a run file");
    const char *nowhere = folder_path("no/such/folder.gmr");
    fails(gm_run_create(nowhere, false, NULL, 0, &run, &err), GM_ERR_IO, &err, nowhere,
          "No such file or directory");
    assert_int_equal(folder_entries(), 2);
    folder_empty();
}

/* A log beside a missing file (the user removed a run whose process was killed) is not played into
 * the new file of that name. */
static void stale_log_is_not_replayed(void **unused)
{
    (void)unused;
    const char *path = folder_path("stale.gmr"), *log = folder_path("stale.gmr-wal");
    gm_error err;
    gm_run *run = create(path);
    const gm_metric metric = {1, "old", 1.0};
    ok(gm_run_add_metrics(run, &metric, 1, &err), &err);
    size_t size = 0;
    char *bytes = slurp(log, &size);
    assert_true(size > 0);
    gm_run_close(run);
    unlink(path);
    folder_write("stale.gmr-wal", bytes, size);
    free(bytes);
    ok(gm_run_create(path, false, NULL, 0, &run, &err), &err);
    gm_run_close(run);
    assert_int_equal(ask(path, "SELECT count(*) FROM metric"), 0);
    folder_empty();
}

/* Names that mean something to SQLite or in a URI are plain names here. */
static void odd_names_are_plain(void **unused)
{
    (void)unused;
    static const char *const names[] = {":memory:", "file:x?mode=memory", "a b%41#c?d&e.gmr"};
    char before[512];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < 3; i++) {
        gm_error err;
        gm_run *run = NULL;
        const gm_setting setting = {"key", names[i]};
        ok(gm_run_create(names[i], false, &setting, 1, &run, &err), &err);
        gm_run_close(run);
        assert_int_equal(access(names[i], F_OK), 0);
        assert_true(gm_run_is_file(names[i]));
        run = reopen(names[i], GM_RUN_READ);
        char *value = NULL;
        ok(gm_run_get(run, "key", &value, &err), &err);
        assert_string_equal(value, names[i]);
        gm_run_free(value);
        gm_run_close(run);
    }
    assert_int_equal(folder_entries(), 3);
    assert_int_equal(chdir(before), 0);
    folder_empty();
}

static void names_with_steps_are_split(void **unused)
{
    (void)unused;
    gm_error err;
    char *path = NULL;
    int64_t step = 0;
    ok(gm_run_split("a/run.gmr", &path, &step, &err), &err);
    assert_string_equal(path, "a/run.gmr");
    assert_int_equal(step, GM_RUN_LAST);
    gm_run_free(path);
    ok(gm_run_split("run.gmr@0120", &path, &step, &err), &err);
    assert_string_equal(path, "run.gmr");
    assert_int_equal(step, 120);
    gm_run_free(path);
    static const char *const wrong[] = {"run.gmr@",   "run.gmr@x",  "run.gmr@1x",
                                        "run.gmr@-1", "run.gmr@+1", "run.gmr@99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        fails(gm_run_split(wrong[i], &path, &step, &err), GM_ERR_USAGE, &err, wrong[i], "no step");
        assert_null(path);
    }
    const char *name = folder_path("me@5");
    gm_run_close(create(name));
    ok(gm_run_split(name, &path, &step, &err), &err);
    assert_string_equal(path, name);
    assert_int_equal(step, GM_RUN_LAST);
    gm_run_free(path);
    folder_empty();
}

/* ---- files that are not run files ---- */

static void other_files_are_refused(void **unused)
{
    (void)unused;
    gm_error err;
    gm_run *run = NULL;
    char noise[8192];
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (char)gm_below(gm_stream_of(1, GM_PURPOSE_TEST, 0), i, 256);
    }
    folder_write("text", "loss 0.5\n", 9);
    folder_write("noise", noise, sizeof noise);
    folder_write("empty", noise, 0);
    tell(folder_path("other.db"), "CREATE TABLE t(x)");
    mkdir(folder_path("folder"), 0777);
    mkfifo(folder_path("pipe"), 0666);
    static const struct {
        const char *name, *part;
    } cases[] = {{"text", "not a run file"},   {"noise", "not a run file"},
                 {"empty", "not a run file"},  {"other.db", "not a run file (application_id"},
                 {"folder", "not a run file"}, {"pipe", "not a run file"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = folder_path(cases[i].name);
        fails(gm_run_open(path, GM_RUN_READ, &run, &err), GM_ERR_INPUT, &err, path, cases[i].part);
        assert_null(run);
        fails(gm_run_open(path, GM_RUN_WRITE, &run, &err), GM_ERR_INPUT, &err, path, cases[i].part);
        assert_false(gm_run_is_file(path));
    }
    const char *missing = folder_path("missing.gmr");
    fails(gm_run_open(missing, GM_RUN_WRITE, &run, &err), GM_ERR_IO, &err, missing, "No such file");
    assert_false(gm_run_is_file(missing));
    assert_int_equal(folder_entries(), 6); /* nothing was made */
    folder_empty();
}

static void newer_schema_is_refused(void **unused)
{
    (void)unused;
    const char *path = folder_path("newer.gmr");
    gm_error err;
    gm_run *run = create(path);
    gm_run_close(run);
    tell(path, "PRAGMA user_version = 7");
    fails(gm_run_open(path, GM_RUN_READ, &run, &err), GM_ERR_INPUT, &err, path,
          "newer Gradiometer: schema 7, this one reads up to 1");
    fails(gm_run_open(path, GM_RUN_WRITE, &run, &err), GM_ERR_INPUT, &err, path, "schema 7");
    assert_int_equal(ask(path, "PRAGMA user_version"), 7);
    tell(path, "PRAGMA user_version = 0");
    fails(gm_run_open(path, GM_RUN_READ, &run, &err), GM_ERR_INPUT, &err, path, "schema 0");
    tell(path, "PRAGMA user_version = -3");
    fails(gm_run_open(path, GM_RUN_READ, &run, &err), GM_ERR_INPUT, &err, path, "schema -3");
    folder_empty();
}

/* The mechanism on made-up scripts: only the missing ones run, and a failing one undoes all. */
static void migration_runs_the_missing_steps(void **unused)
{
    (void)unused;
    static const char *const good[] = {"CREATE TABLE a(x);",
                                       "ALTER TABLE a ADD COLUMN y; INSERT INTO a VALUES(1, 2);",
                                       "UPDATE a SET y = y + 40;"};
    static const char *const bad[] = {"", "", "", "INSERT INTO a VALUES(5, 6);", "nonsense;"};
    sqlite3 *db = NULL;
    int version = -1;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    assert_int_equal(gm_schema_migrate(db, good, 1), SQLITE_OK);
    sqlite3_exec(db, "COMMIT; BEGIN", NULL, NULL, NULL);
    assert_int_equal(gm_schema_migrate(db, good, 3), SQLITE_OK);
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    assert_int_equal(gm_schema_pragma(db, "user_version", &version), SQLITE_OK);
    assert_int_equal(version, 3);

    sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    assert_int_equal(gm_schema_migrate(db, bad, 5), SQLITE_ERROR);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    assert_int_equal(gm_schema_pragma(db, "user_version", &version), SQLITE_OK);
    assert_int_equal(version, 3);
    assert_int_equal(gm_schema_migrate(db, good, 2), SQLITE_MISMATCH);
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(db, "SELECT count(*), sum(y) FROM a", -1, &stmt, NULL);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), 1);
    assert_int_equal(sqlite3_column_int(stmt, 1), 42);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

/* ---- damaged files ---- */

/* Everything that reads; each call may succeed or fail, with one line and the right statuses. */
static void read_everything(const char *path)
{
    gm_error err = {0};
    gm_run *run = NULL;
    gm_setting *setting = NULL;
    gm_run_state *state = NULL;
    gm_run_result *result = NULL;
    gm_run_array *arrays = NULL, *array = NULL;
    const char **names = NULL;
    int64_t *step = NULL, *steps = NULL;
    double *value = NULL, *theta = NULL;
    size_t count = 0, p = 0;
    gm_status status[9] = {gm_run_open(path, GM_RUN_READ, &run, &err)};
    if (!status[0]) {
        status[1] = gm_run_settings(run, &setting, &count, &err);
        status[2] = gm_run_metric_names(run, &names, &count, &err);
        status[3] = gm_run_metric(run, "loss", &step, &value, &count, &err);
        status[4] = gm_run_load_state(run, &state, &err);
        status[5] = gm_run_checkpoints(run, &steps, &count, &err);
        status[6] = gm_run_parameters(run, 0, &theta, &p, NULL, &err);
        status[7] = gm_run_results(run, NULL, &result, &count, &err);
        status[8] = gm_run_arrays(run, 1, &arrays, &count, &err);
        gm_run_load_array(run, 1, "vectors", &array, &err);
    }
    for (int i = 0; i < 9; i++) {
        assert_true(status[i] == GM_OK || status[i] == GM_ERR_INPUT || status[i] == GM_ERR_IO ||
                    status[i] == GM_ERR_MEMORY);
    }
    gm_run_free(setting);
    gm_run_free(names);
    gm_run_free(step);
    gm_run_free(value);
    gm_run_free(state);
    gm_run_free(steps);
    gm_run_free(theta);
    gm_run_free(result);
    gm_run_free(arrays);
    gm_run_free(array);
    gm_run_close(run);
}

static void fill(const char *path)
{
    gm_error err;
    const gm_setting setting = {"model", "mlp:2-2"};
    gm_run *run = NULL;
    ok(gm_run_create(path, true, &setting, 1, &run, &err), &err);
    double theta[300];
    gm_metric metric[50];
    for (int i = 0; i < 300; i++) {
        theta[i] = i;
    }
    for (int i = 0; i < 50; i++) {
        metric[i] = (gm_metric){i, i % 2 ? "loss" : "batch_loss", 1.0 / (i + 1)};
    }
    gm_run_state state = state_of(0, 300, theta);
    state.slots = 1;
    state.optimizer = theta;
    ok(gm_run_save(run, &state, -1, true, metric, 50, &err), &err);
    const gm_run_array array = {
        .name = "vectors", .dtype = GM_F64, .rank = 2, .dim = {3, 100}, .data = theta};
    const gm_run_result result = {.command = "decompose", .step = 0, .key = "", .json = "{}"};
    ok(gm_run_add_result(run, &result, &array, 1, NULL, &err), &err);
    gm_run_close(run);
}

/* Bytes overwritten at random (seeded), and the file cut at many places: never a crash, which the
 * sanitizer build of this test would show. At least some must be noticed. */
static void damaged_files_give_errors(void **unused)
{
    (void)unused;
    const char *path = folder_path("good.gmr");
    fill(path);
    size_t size = 0;
    char *good = slurp(path, &size), *bad = malloc(size);
    gm_stream stream = gm_stream_of(2, GM_PURPOSE_TEST, 0);
    for (uint64_t round = 0; round < 300; round++) {
        memcpy(bad, good, size);
        size_t length = size;
        if (round % 5 == 0) length = (size_t)gm_below(stream, 1000 * round + 999, size);
        for (uint64_t i = 0; i < 1 + round % 40; i++) {
            size_t place = (size_t)gm_below(stream, 1000 * round + 2 * i, size);
            bad[place] = (char)gm_below(stream, 1000 * round + 2 * i + 1, 256);
        }
        folder_write("bad.gmr", bad, length);
        read_everything(folder_path("bad.gmr"));
    }
    memcpy(bad, good, size);
    memset(bad + 4096, 0x5a, size - 4096); /* everything after the schema */
    folder_write("bad.gmr", bad, size);
    gm_error err;
    gm_run *run = reopen(folder_path("bad.gmr"), GM_RUN_READ);
    gm_run_state *state = NULL;
    fails(gm_run_load_state(run, &state, &err), GM_ERR_INPUT, &err, folder_path("bad.gmr"),
          "damaged run file");
    gm_run_close(run);
    free(good);
    free(bad);
    folder_empty();
}

/* Rows that SQLite finds in order but that contradict themselves. */
static void contradictions_are_noticed(void **unused)
{
    (void)unused;
    static const struct {
        const char *sql, *part;
    } cases[] = {
        {"UPDATE state SET parameters = 299", "theta holds 2400 bytes, not 299"},
        {"UPDATE state SET parameters = -1", "theta holds"},
        {"UPDATE state SET slots = 2", "optimizer holds 2400 bytes, not 600"},
        {"UPDATE state SET slots = 9223372036854775807", "optimizer holds"},
        {"UPDATE state SET dtype = 'f2'", "type 'f2'"},
        {"UPDATE state SET theta = 'text'", "theta holds"},
        {"DROP TABLE state", "no such table"},
    };
    const char *path = folder_path("odd.gmr");
    gm_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fill(path);
        tell(path, cases[i].sql);
        gm_run *run = reopen(path, GM_RUN_READ);
        gm_run_state *state = NULL;
        fails(gm_run_load_state(run, &state, &err), GM_ERR_INPUT, &err, path, cases[i].part);
        assert_null(state);
        gm_run_close(run);
    }
    static const char *const shapes[] = {
        "rank = 5", "rank = -1", "dim0 = -3", "dim1 = 101", "dim0 = 9223372036854775807",
        "dtype = 8"};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char sql[128];
        fill(path);
        snprintf(sql, sizeof sql, "UPDATE array SET %s", shapes[i]);
        tell(path, sql);
        gm_run *run = reopen(path, GM_RUN_READ);
        gm_run_array *array = NULL;
        fails(gm_run_load_array(run, 1, "vectors", &array, &err), GM_ERR_INPUT, &err, path,
              "damaged run file");
        assert_null(array);
        gm_run_close(run);
    }
    folder_empty();
}

/* ---- places that cannot be written ---- */

/* Runs work in a child process; its asserts end it with another status than 0. */
static void in_child(void (*work)(const char *path), const char *path)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        work(path);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* In the child, where cmocka's asserts have nowhere to jump to. */
static void demand(bool condition, const char *what, const gm_error *err)
{
    if (condition) return;
    fprintf(stderr, "%s: %s\n", what, err->message);
    _exit(1);
}

static void use_readonly(const char *path)
{
    if (geteuid() == 0 && (setgroups(0, NULL) || setgid(65534) || setuid(65534))) _exit(2);
    gm_error err = {0};
    gm_run *run = NULL;
    char other[600], *value = NULL;
    gm_status status = gm_run_open(path, GM_RUN_WRITE, &run, &err);
    demand(status == GM_ERR_IO && !run && strncmp(err.message, path, strlen(path)) == 0,
           "open for writing", &err);
    status = gm_run_open(path, GM_RUN_READ, &run, &err);
    demand(status == GM_OK, "open for reading", &err);
    status = gm_run_get(run, "model", &value, &err);
    demand(status == GM_OK && strcmp(value, "mlp:2-2") == 0, "read", &err);
    gm_run_free(value);
    gm_run_close(run);
    demand(gm_run_is_file(path), "recognize", &err);
    snprintf(other, sizeof other, "%s.new", path);
    status = gm_run_create(other, false, NULL, 0, &run, &err);
    demand(status == GM_ERR_IO && strncmp(err.message, other, strlen(other)) == 0, "create", &err);
    status = gm_run_create(path, true, NULL, 0, &run, &err);
    demand(status == GM_ERR_IO && strncmp(err.message, path, strlen(path)) == 0, "overwrite", &err);
}

static void readonly_folder_can_be_read(void **unused)
{
    (void)unused;
    const char *path = folder_path("readonly %20.gmr");
    fill(path);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    in_child(use_readonly, path);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(folder_entries(), 1);
    folder_empty();
}

/* A file size limit stands in for a full disk: writes past it fail like those. */
static void save_until_full(const char *path)
{
    enum { P = 4000 };
    static double theta[P];
    gm_error err = {0};
    gm_run *run = NULL;
    struct rlimit limit = {300000, 300000};
    signal(SIGXFSZ, SIG_IGN);
    demand(gm_run_open(path, GM_RUN_WRITE, &run, &err) == GM_OK, "open", &err);
    demand(setrlimit(RLIMIT_FSIZE, &limit) == 0, "limit", &err);
    gm_status status = GM_OK;
    for (int64_t step = 0; step < 100 && !status; step++) {
        theta[0] = theta[P - 1] = (double)step;
        gm_run_state state = state_of(step, P, theta);
        const gm_metric metric = {step, "loss", (double)step};
        status = gm_run_save(run, &state, step - 1, true, &metric, 1, &err);
    }
    demand(status == GM_ERR_IO && strncmp(err.message, path, strlen(path)) == 0, "full", &err);
    /* The file is still of use: reading, and writing little where there is room. */
    gm_run_state *state = NULL;
    demand(gm_run_load_state(run, &state, &err) == GM_OK && state, "read when full", &err);
    gm_run_free(state);
    gm_run_close(run);
}

static void full_disk_keeps_the_last_save(void **unused)
{
    (void)unused;
    const char *path = folder_path("full.gmr");
    gm_run_close(create(path));
    in_child(save_until_full, path);

    gm_error err;
    gm_run *run = reopen(path, GM_RUN_WRITE);
    gm_run_state *state = NULL;
    ok(gm_run_load_state(run, &state, &err), &err);
    assert_non_null(state);
    assert_true(state->step > 0);
    const double *theta = state->theta;
    assert_true(theta[0] == (double)state->step && theta[3999] == (double)state->step);
    int64_t *step = NULL, *kept = NULL;
    double *value = NULL;
    size_t count = 0, checkpoints = 0;
    ok(gm_run_metric(run, "loss", &step, &value, &count, &err), &err);
    assert_int_equal(count, state->step + 1); /* metrics and state are of the same commit */
    ok(gm_run_checkpoints(run, &kept, &checkpoints, &err), &err);
    assert_int_equal(checkpoints, state->step + 1);
    gm_run_free(step);
    gm_run_free(value);
    gm_run_free(kept);
    gm_run_free(state);
    gm_run_close(run);
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    sqlite3_open(path, &db);
    sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    folder_empty();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_come_back),
        cmocka_unit_test(metrics_come_back),
        cmocka_unit_test(state_comes_back),
        cmocka_unit_test(second_writer_is_noticed),
        cmocka_unit_test(readers_see_whole_commits),
        cmocka_unit_test(checkpoints_are_exact),
        cmocka_unit_test(results_come_back),
        cmocka_unit_test(creation_is_all_or_nothing),
        cmocka_unit_test(stale_log_is_not_replayed),
        cmocka_unit_test(odd_names_are_plain),
        cmocka_unit_test(names_with_steps_are_split),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(newer_schema_is_refused),
        cmocka_unit_test(migration_runs_the_missing_steps),
        cmocka_unit_test(damaged_files_give_errors),
        cmocka_unit_test(contradictions_are_noticed),
        cmocka_unit_test(readonly_folder_can_be_read),
        cmocka_unit_test(full_disk_keeps_the_last_save),
    };
    return cmocka_run_group_tests_name("run", tests, folder_make, folder_remove);
}
