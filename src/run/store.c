#include "run/store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

gm_status gm_sql_fail(const gm_run *run, const char *doing, gm_error *err)
{
    int code = sqlite3_extended_errcode(run->db);
    int system = sqlite3_system_errno(run->db);
    const char *reason = system ? strerror(system) : sqlite3_errmsg(run->db);
    switch (code & 0xff) {
    case SQLITE_FULL:
        return gm_fail(err, GM_ERR_IO, "%s: the disk is full while %s", run->path, doing);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return gm_fail(err, GM_ERR_IO, "%s: locked by another process for too long while %s",
                       run->path, doing);
    case SQLITE_READONLY:
        return gm_fail(err, GM_ERR_IO, "%s: not writable while %s", run->path, doing);
    case SQLITE_NOTADB:
        return gm_fail(err, GM_ERR_INPUT, "%s: not a run file (no SQLite database)", run->path);
    case SQLITE_CORRUPT:
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file, found while %s", run->path, doing);
    case SQLITE_CANTOPEN:
        return gm_fail(err, GM_ERR_IO, "%s: run file cannot be opened: %s", run->path, reason);
    case SQLITE_IOERR:
        return gm_fail(err, GM_ERR_IO, "%s: input/output error while %s: %s", run->path, doing,
                       reason);
    case SQLITE_NOMEM:
        return gm_fail(err, GM_ERR_MEMORY, "%s: out of memory while %s", run->path, doing);
    default:
        return gm_fail(err, GM_ERR_IO, "%s: SQLite error while %s: %s", run->path, doing,
                       sqlite3_errmsg(run->db));
    }
}

gm_status gm_sql_exec(const gm_run *run, const char *sql, const char *doing, gm_error *err)
{
    if (sqlite3_exec(run->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return gm_sql_fail(run, doing, err);
    return GM_OK;
}

gm_status gm_sql_prepare(const gm_run *run, const char *sql, sqlite3_stmt **stmt, gm_error *err)
{
    if (sqlite3_prepare_v2(run->db, sql, -1, stmt, NULL) == SQLITE_OK) return GM_OK;
    /* Our own SQL cannot be wrong but against tables that are not ours. */
    if (sqlite3_errcode(run->db) == SQLITE_ERROR)
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: %s", run->path,
                       sqlite3_errmsg(run->db));
    return gm_sql_fail(run, "reading its tables", err);
}

gm_status gm_sql_step(const gm_run *run, sqlite3_stmt *stmt, bool *row, const char *doing,
                      gm_error *err)
{
    int code = sqlite3_step(stmt);
    *row = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE) return gm_sql_fail(run, doing, err);
    return GM_OK;
}

gm_status gm_sql_run(const gm_run *run, sqlite3_stmt *stmt, const char *doing, gm_error *err)
{
    bool row;
    gm_status status = gm_sql_step(run, stmt, &row, doing, err);
    sqlite3_reset(stmt);
    return status;
}

static gm_status begin(gm_run *run, const char *sql, gm_error *err)
{
    if (run->depth == 0) {
        gm_status status = gm_sql_exec(run, sql, "beginning a transaction", err);
        if (status) return status;
    }
    run->depth++;
    return GM_OK;
}

gm_status gm_run_begin_write(gm_run *run, gm_error *err)
{
    if (!run->writable) return gm_fail(err, GM_ERR_USAGE, "%s: opened for reading only", run->path);
    /* IMMEDIATE: a transaction that read first could find no lock left to write. */
    return begin(run, "BEGIN IMMEDIATE", err);
}

gm_status gm_run_begin_read(gm_run *run, gm_error *err)
{
    return begin(run, "BEGIN", err);
}

gm_status gm_run_end(gm_run *run, gm_status status, gm_error *err)
{
    if (--run->depth > 0) return status;
    if (!status) status = gm_sql_exec(run, "COMMIT", "saving", err);
    /* After some failures SQLite has rolled back by itself; then this does nothing. */
    if (status) sqlite3_exec(run->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

gm_status gm_sql_allocate(const gm_run *run, sqlite3_stmt *stmt, size_t item_size, void **memory,
                          char **text, size_t *count, gm_error *err)
{
    size_t rows = 0, characters = 0, bytes;
    for (;;) {
        bool row;
        gm_status status = gm_sql_step(run, stmt, &row, "reading", err);
        if (status) return status;
        if (!row) break;
        rows++;
        for (int c = 0; c < sqlite3_column_count(stmt); c++) {
            if (sqlite3_column_type(stmt, c) != SQLITE_TEXT) continue;
            if (!gm_add_size(characters, (size_t)sqlite3_column_bytes(stmt, c) + 1, &characters))
                return gm_fail(err, GM_ERR_MEMORY, "%s: text too long", run->path);
        }
    }
    sqlite3_reset(stmt);
    if (!gm_mul_size(rows, item_size, &bytes) || !gm_add_size(bytes, characters, &bytes))
        return gm_fail(err, GM_ERR_MEMORY, "%s: %zu rows do not fit into memory", run->path, rows);
    *memory = gm_alloc(bytes, 1, "rows of a run file", err);
    if (!*memory) return GM_ERR_MEMORY;
    *text = (char *)*memory + rows * item_size;
    *count = rows;
    return GM_OK;
}

const char *gm_sql_text(sqlite3_stmt *stmt, int column, char **text)
{
    /* Only what the first pass counted; a column of another type (a damaged file) reads as "". */
    if (sqlite3_column_type(stmt, column) != SQLITE_TEXT) return "";
    size_t length = (size_t)sqlite3_column_bytes(stmt, column);
    char *copy = *text;
    memcpy(copy, sqlite3_column_text(stmt, column), length);
    copy[length] = '\0';
    *text += length + 1;
    return copy;
}

const char *gm_run_dtype_name(gm_dtype dtype)
{
    return dtype == GM_F32 ? "f4" : "f8";
}

bool gm_run_dtype_parse(const char *name, gm_dtype *dtype)
{
    if (!name || (strcmp(name, "f4") != 0 && strcmp(name, "f8") != 0)) return false;
    *dtype = name[1] == '4' ? GM_F32 : GM_F64;
    return true;
}

gm_status gm_sql_numbers(const gm_run *run, sqlite3_stmt *stmt, int column, int dtype_column,
                         size_t count, const char *what, gm_dtype *dtype, const void **data,
                         gm_error *err)
{
    const char *name = (const char *)sqlite3_column_text(stmt, dtype_column);
    if (!gm_run_dtype_parse(name, dtype))
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: %s has type '%.20s', not f4 or f8",
                       run->path, what, name ? name : "");
    size_t expected;
    *data = sqlite3_column_blob(stmt, column);
    size_t bytes = (size_t)sqlite3_column_bytes(stmt, column);
    if (!gm_mul_size(count, gm_dtype_size(*dtype), &expected) || bytes != expected)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: damaged run file: %s holds %zu bytes, not %zu numbers of type %s",
                       run->path, what, bytes, count, gm_run_dtype_name(*dtype));
    if (bytes && !*data)
        return gm_fail(err, GM_ERR_MEMORY, "%s: %s does not fit into memory", run->path, what);
    return GM_OK;
}

gm_status gm_run_blob_size(const gm_run *run, size_t count, gm_dtype dtype, const char *what,
                           size_t *bytes, gm_error *err)
{
    /* A row holds its other columns, too. */
    size_t limit = (size_t)sqlite3_limit(run->db, SQLITE_LIMIT_LENGTH, -1) - 4096;
    if (!gm_mul_size(count, gm_dtype_size(dtype), bytes) || *bytes > limit)
        return gm_fail(err, GM_ERR_IO,
                       "%s: %s has %zu numbers of type %s; a row of a run file holds %zu bytes",
                       run->path, what, count, gm_run_dtype_name(dtype), limit);
    return GM_OK;
}

void gm_run_widen(gm_dtype dtype, size_t n, const void *data, double *out)
{
    /* Blobs need not be aligned. */
    if (dtype == GM_F64) {
        if (n) memcpy(out, data, n * sizeof(double));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        float value;
        memcpy(&value, (const char *)data + i * sizeof value, sizeof value);
        out[i] = (double)value;
    }
}

void gm_run_narrow(gm_dtype dtype, size_t n, const double *data, void *out)
{
    if (dtype == GM_F64) {
        if (n) memcpy(out, data, n * sizeof(double));
        return;
    }
    float *narrow = out;
    for (size_t i = 0; i < n; i++) {
        narrow[i] = (float)data[i];
    }
}

void gm_run_free(void *memory)
{
    gm_free(memory);
}
