/* Files that are no run files, of another version, damaged, not permitted, on a full disk: never
 * more than an error of one line, and never less. */
#include <grp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gradiometer/random.h"
#include "run/schema.h"
#include "run_case.h"

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
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(newer_schema_is_refused),
        cmocka_unit_test(migration_runs_the_missing_steps),
        cmocka_unit_test(damaged_files_give_errors),
        cmocka_unit_test(contradictions_are_noticed),
        cmocka_unit_test(readonly_folder_can_be_read),
        cmocka_unit_test(full_disk_keeps_the_last_save),
    };
    return cmocka_run_group_tests_name("run_damage", tests, folder_make, folder_remove);
}
