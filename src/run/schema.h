/* The tables of a run file and how an older file becomes a newer one. */
#ifndef GM_RUN_SCHEMA_H
#define GM_RUN_SCHEMA_H

#include <sqlite3.h>

enum { GM_RUN_APPLICATION_ID = 0x4772646d }; /* "Grdm" */

/* gm_schema_steps[v]: the SQL that turns version v into version v + 1, v < GM_RUN_SCHEMA; the first
 * makes a new file. */
extern const char *const gm_schema_steps[];

/* Brings db from its user_version up to `target` by the SQL scripts step[version] ..., and sets the
 * user_version to match. Inside a transaction that the caller began and ends, so that a failure
 * leaves the file at the version it had. An SQLite result code; SQLITE_MISMATCH where the file is
 * newer than target. */
int gm_schema_migrate(sqlite3 *db, const char *const *step, int target);

/* Value of an integer pragma ("user_version", "application_id"); an SQLite result code. */
int gm_schema_pragma(sqlite3 *db, const char *name, int *value);

#endif
