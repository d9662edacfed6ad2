/* The run file: what goes in comes out, and what fails leaves the file as it was. Numbers must come
 * back to the bit, so comparisons are exact. */
#include <math.h>
#include <unistd.h>

#include "gradiometer/random.h"
#include "run/schema.h"
#include "run/store.h"
#include "run_case.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_come_back),         cmocka_unit_test(metrics_come_back),
        cmocka_unit_test(state_comes_back),           cmocka_unit_test(second_writer_is_noticed),
        cmocka_unit_test(readers_see_whole_commits),  cmocka_unit_test(checkpoints_are_exact),
        cmocka_unit_test(results_come_back),          cmocka_unit_test(creation_is_all_or_nothing),
        cmocka_unit_test(stale_log_is_not_replayed),  cmocka_unit_test(odd_names_are_plain),
        cmocka_unit_test(names_with_steps_are_split),
    };
    return cmocka_run_group_tests_name("run", tests, folder_make, folder_remove);
}
