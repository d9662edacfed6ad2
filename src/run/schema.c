#include "run/schema.h"

#include <stdio.h>

#include "gradiometer/run.h"

/* Blobs are little-endian numbers; dtype is 'f4' or 'f8'. */
static const char version_1[] =
    "CREATE TABLE setting("
    "  key TEXT PRIMARY KEY NOT NULL,"
    "  value TEXT NOT NULL) WITHOUT ROWID;"

    "CREATE TABLE metric("
    "  name TEXT NOT NULL,"
    "  step INTEGER NOT NULL,"
    "  value DOUBLE," /* NULL is NaN: SQLite stores none */
    "  PRIMARY KEY(name, step)) WITHOUT ROWID;"

    "CREATE TABLE state(" /* one row, overwritten in place */
    "  id INTEGER PRIMARY KEY CHECK(id = 1),"
    "  step INTEGER NOT NULL,"
    "  status TEXT NOT NULL,"
    "  message TEXT NOT NULL,"
    "  seconds DOUBLE NOT NULL,"
    "  updated TEXT NOT NULL,"
    "  stream_seed TEXT NOT NULL," /* decimal: 64 unsigned bits do not fit an SQLite integer */
    "  stream_purpose INTEGER NOT NULL,"
    "  stream_run INTEGER NOT NULL,"
    "  stream_position INTEGER NOT NULL,"
    "  dtype TEXT NOT NULL,"
    "  parameters INTEGER NOT NULL,"
    "  slots INTEGER NOT NULL,"
    "  theta BLOB NOT NULL," /* [parameters] */
    "  optimizer BLOB);"     /* [slots, parameters] */

    "CREATE TABLE checkpoint("
    "  step INTEGER PRIMARY KEY,"
    "  dtype TEXT NOT NULL,"
    "  parameters INTEGER NOT NULL,"
    "  theta BLOB NOT NULL);" /* [parameters] */

    "CREATE TABLE result("
    "  id INTEGER PRIMARY KEY,"
    "  command TEXT NOT NULL,"
    "  step INTEGER NOT NULL,"
    "  key TEXT NOT NULL,"
    "  created TEXT NOT NULL,"
    "  json TEXT NOT NULL,"
    "  UNIQUE(command, step, key));"

    "CREATE TABLE array("
    "  result INTEGER NOT NULL REFERENCES result(id) ON DELETE CASCADE,"
    "  name TEXT NOT NULL,"
    "  dtype TEXT NOT NULL,"
    "  rank INTEGER NOT NULL,"
    "  dim0 INTEGER, dim1 INTEGER, dim2 INTEGER, dim3 INTEGER," /* NULL from rank on */
    "  data BLOB NOT NULL,"                                     /* row-major */
    "  PRIMARY KEY(result, name));";

const char *const gm_schema_steps[] = {version_1};

_Static_assert(sizeof gm_schema_steps / sizeof gm_schema_steps[0] == GM_RUN_SCHEMA,
               "one step for each version");

int gm_schema_pragma(sqlite3 *db, const char *name, int *value)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA %s", name);
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(stmt);
        if (code == SQLITE_ROW) {
            *value = sqlite3_column_int(stmt, 0);
            code = SQLITE_OK;
        }
    }
    sqlite3_finalize(stmt);
    return code;
}

int gm_schema_migrate(sqlite3 *db, const char *const *step, int target)
{
    int version = 0;
    int code = gm_schema_pragma(db, "user_version", &version);
    if (code == SQLITE_OK && version > target) code = SQLITE_MISMATCH;
    for (; code == SQLITE_OK && version < target; version++) {
        code = sqlite3_exec(db, step[version], NULL, NULL, NULL);
        if (code != SQLITE_OK) break;
        char sql[64];
        snprintf(sql, sizeof sql, "PRAGMA user_version = %d", version + 1);
        code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    }
    return code;
}
