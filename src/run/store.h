/* What the files of this room share: the handle, SQL with errors of one line, transactions. */
#ifndef GM_RUN_STORE_H
#define GM_RUN_STORE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/run.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers go into the run file as they lie in memory, which must be little-endian"
#endif

struct gm_run {
    sqlite3 *db;
    char *path;
    bool writable;
    int depth; /* of nested transactions; only the outermost is one for SQLite */
};

/* Records SQLite's last error in one line with the file's name; `doing` completes "while ...". */
gm_status gm_sql_fail(const gm_run *run, const char *doing, gm_error *err);

gm_status gm_sql_exec(const gm_run *run, const char *sql, const char *doing, gm_error *err);
gm_status gm_sql_prepare(const gm_run *run, const char *sql, sqlite3_stmt **stmt, gm_error *err);

/* One step of a statement: *row tells whether there is one. */
gm_status gm_sql_step(const gm_run *run, sqlite3_stmt *stmt, bool *row, const char *doing,
                      gm_error *err);
/* Runs a statement that gives no row and makes it ready for the next. */
gm_status gm_sql_run(const gm_run *run, sqlite3_stmt *stmt, const char *doing, gm_error *err);

/* Transactions nest: only the outermost begins and ends one. gm_run_end commits where status is
 * GM_OK and rolls everything back otherwise; it returns status, or why the commit failed. */
gm_status gm_run_begin_write(gm_run *run, gm_error *err);
gm_status gm_run_begin_read(gm_run *run, gm_error *err);
gm_status gm_run_end(gm_run *run, gm_status status, gm_error *err);

/* First of two passes over a query (inside a transaction, so that both see the same rows): counts
 * its rows and allocates, in one piece, count items of item_size and room for the text of all text
 * columns. *text points at that room. Then gm_sql_text copies column by column. */
gm_status gm_sql_allocate(const gm_run *run, sqlite3_stmt *stmt, size_t item_size, void **memory,
                          char **text, size_t *count, gm_error *err);
const char *gm_sql_text(sqlite3_stmt *stmt, int column, char **text);

/* "f4" or "f8"; and back, false for anything else. */
const char *gm_run_dtype_name(gm_dtype dtype);
bool gm_run_dtype_parse(const char *name, gm_dtype *dtype);

/* Checks that column holds `count` numbers of the type that column dtype_column names, and gives
 * both; GM_ERR_INPUT names `what`. */
gm_status gm_sql_numbers(const gm_run *run, sqlite3_stmt *stmt, int column, int dtype_column,
                         size_t count, const char *what, gm_dtype *dtype, const void **data,
                         gm_error *err);

/* *bytes of count numbers; GM_ERR_IO where a row cannot hold them. */
gm_status gm_run_blob_size(const gm_run *run, size_t count, gm_dtype dtype, const char *what,
                           size_t *bytes, gm_error *err);

/* out [n] doubles from n numbers in memory order, and n numbers from doubles. */
void gm_run_widen(gm_dtype dtype, size_t n, const void *data, double *out);
void gm_run_narrow(gm_dtype dtype, size_t n, const double *data, void *out);

#endif
