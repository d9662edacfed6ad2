/* Helpers of the tests of the run file. */
#ifndef GM_TESTS_RUN_CASE_H
#define GM_TESTS_RUN_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "gradiometer/run.h"

static inline void ok(gm_status status, const gm_error *err)
{
    if (status != GM_OK) fail_msg("unexpected: %s", err->message);
}

/* The status, and a message of one line that names the file and holds `part`. */
static inline void fails(gm_status status, gm_status expected, const gm_error *err,
                         const char *path, const char *part)
{
    if (status != expected)
        fail_msg("status %d, expected %d: %s", (int)status, (int)expected, err->message);
    assert_int_equal(err->status, expected);
    assert_null(strchr(err->message, '\n'));
    if (path && strncmp(err->message, path, strlen(path)) != 0)
        fail_msg("'%s' does not begin with %s", err->message, path);
    if (!strstr(err->message, part)) fail_msg("'%s' does not say '%s'", err->message, part);
}

static inline gm_run *create(const char *path)
{
    gm_error err;
    gm_run *run = NULL;
    ok(gm_run_create(path, true, NULL, 0, &run, &err), &err);
    return run;
}

static inline gm_run *reopen(const char *path, gm_run_mode mode)
{
    gm_error err;
    gm_run *run = NULL;
    ok(gm_run_open(path, mode, &run, &err), &err);
    return run;
}

/* A single integer asked of the file by SQLite alone. */
static inline int64_t ask(const char *path, const char *sql)
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

static inline void tell(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static inline char *slurp(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 22);
    *size = fread(bytes, 1, 1 << 22, file);
    fclose(file);
    return bytes;
}

static inline gm_run_state state_of(int64_t step, size_t p, const double *theta)
{
    return (gm_run_state){.step = step,
                          .status = "running",
                          .message = "",
                          .dtype = GM_F64,
                          .parameters = p,
                          .theta = theta};
}

#endif
