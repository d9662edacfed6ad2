/* Creating, opening and recognizing run files.
 *
 * A run file is never touched but through SQLite: closing any other descriptor of it would drop the
 * locks that this process holds on it (POSIX record locks), and another process could then remove
 * the write-ahead log under a running training. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "run/schema.h"
#include "run/store.h"

enum { BUSY_MILLISECONDS = 30000 };

/* A path as SQLite must see it: "./" keeps ":memory:", "" and "file:..." from meaning anything. */
static char *plain_path(const char *path, gm_error *err)
{
    return gm_format(err, "%s%s", path[0] == '/' ? "" : "./", path);
}

static void remove_with(const char *path, const char *suffix)
{
    char *name = gm_format(NULL, "%s%s", path, suffix);
    if (name) unlink(name);
    gm_free(name);
}

static bool exists_with(const char *path, const char *suffix)
{
    struct stat info;
    char *name = gm_format(NULL, "%s%s", path, suffix);
    bool exists = name && stat(name, &info) == 0 && info.st_size > 0;
    gm_free(name);
    return exists;
}

void gm_run_close(gm_run *run)
{
    if (!run) return;
    sqlite3_close_v2(run->db);
    gm_free(run->path);
    gm_free(run);
}

const char *gm_run_path(const gm_run *run)
{
    return run->path;
}

static gm_status handle_new(const char *path, gm_run **run, gm_error *err)
{
    gm_run *fresh = gm_alloc(1, sizeof *fresh, "run", err);
    if (!fresh) return GM_ERR_MEMORY;
    fresh->path = gm_strdup(path, err);
    if (!fresh->path) {
        gm_run_close(fresh);
        return GM_ERR_MEMORY;
    }
    *run = fresh;
    return GM_OK;
}

/* Settings of a connection that are not kept in the file. */
static gm_status configure(gm_run *run, gm_error *err)
{
    sqlite3_extended_result_codes(run->db, 1);
    sqlite3_busy_timeout(run->db, BUSY_MILLISECONDS);
    return gm_sql_exec(run,
                       "PRAGMA foreign_keys = ON;"
                       "PRAGMA synchronous = NORMAL;"
                       "PRAGMA trusted_schema = OFF;"
                       "PRAGMA secure_delete = OFF;" /* overwritten states are no secret */
                       "PRAGMA cell_size_check = ON;",
                       "opening it", err);
}

static gm_status connect(gm_run *run, const char *name, int flags, gm_error *err)
{
    if (sqlite3_open_v2(name, &run->db, flags, NULL) != SQLITE_OK) {
        if (!run->db)
            return gm_fail(err, GM_ERR_MEMORY, "%s: out of memory while opening it", run->path);
        return gm_sql_fail(run, "opening it", err);
    }
    run->writable = sqlite3_db_readonly(run->db, "main") == 0;
    return configure(run, err);
}

/* "file:" URI of a path, with everything escaped that means something in one. */
static char *immutable_uri(const char *path, gm_error *err)
{
    static const char hex[] = "0123456789ABCDEF";
    char *escaped = gm_alloc(3 * strlen(path) + 1, 1, "file name", err);
    if (!escaped) return NULL;
    char *end = escaped;
    for (const char *c = path; *c; c++) {
        if (strchr("%?#&=+ ", *c)) {
            *end++ = '%';
            *end++ = hex[(unsigned char)*c / 16];
            *end++ = hex[(unsigned char)*c % 16];
        } else {
            *end++ = *c;
        }
    }
    char *uri = gm_format(err, "file:%s%s?immutable=1", path[0] == '/' ? "" : "./", escaped);
    gm_free(escaped);
    return uri;
}

/* In a folder without write permission a file in WAL mode can only be read as one that nobody
 * changes; true as long as no log stands beside it. */
static bool needs_immutable(const gm_run *run)
{
    int code = run->db ? sqlite3_errcode(run->db) & 0xff : SQLITE_OK;
    return (code == SQLITE_CANTOPEN || code == SQLITE_READONLY) && !exists_with(run->path, "-wal");
}

static gm_status connect_immutable(gm_run *run, gm_error *err)
{
    sqlite3_close_v2(run->db);
    run->db = NULL;
    char *uri = immutable_uri(run->path, err);
    if (!uri) return GM_ERR_MEMORY;
    gm_status status = connect(run, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    gm_free(uri);
    return status;
}

static gm_status check_path(const char *path, gm_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return gm_fail(err, GM_ERR_IO, "%s: run file cannot be opened: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return gm_fail(err, GM_ERR_INPUT, "%s: not a run file (%s)", path,
                       S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
    if (access(path, R_OK) != 0)
        return gm_fail(err, GM_ERR_IO, "%s: run file cannot be read: %s", path, strerror(errno));
    return GM_OK;
}

/* Is it ours? Reads the first page, so that it also finds what only shows then. */
static gm_status check_application(gm_run *run, gm_error *err)
{
    int id = 0;
    if (gm_schema_pragma(run->db, "application_id", &id) != SQLITE_OK)
        return gm_sql_fail(run, "opening it", err);
    if (id != GM_RUN_APPLICATION_ID)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: not a run file (application_id 0x%08x, expected 0x%08x)", run->path,
                       (unsigned)id, (unsigned)GM_RUN_APPLICATION_ID);
    return GM_OK;
}

static gm_status migrate(gm_run *run, gm_error *err)
{
    gm_status status = gm_run_begin_write(run, err);
    if (status) return status;
    if (gm_schema_migrate(run->db, gm_schema_steps, GM_RUN_SCHEMA) != SQLITE_OK)
        status = gm_sql_fail(run, "making its tables", err);
    return gm_run_end(run, status, err);
}

static gm_status check_version(gm_run *run, gm_error *err)
{
    int version = 0;
    if (gm_schema_pragma(run->db, "user_version", &version) != SQLITE_OK)
        return gm_sql_fail(run, "reading its version", err);
    if (version > GM_RUN_SCHEMA)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: run file of a newer Gradiometer: schema %d, this one reads up to %d",
                       run->path, version, GM_RUN_SCHEMA);
    if (version < 1)
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: schema %d, expected 1 to %d",
                       run->path, version, GM_RUN_SCHEMA);
    return version < GM_RUN_SCHEMA ? migrate(run, err) : GM_OK;
}

/* A connection to an existing file that is known to be ours. */
static gm_status connect_ours(gm_run *run, bool reading, gm_error *err)
{
    char *name = plain_path(run->path, err);
    if (!name) return GM_ERR_MEMORY;
    /* Readers too ask for write access: only then can the last one to leave remove the log. */
    gm_status status = connect(run, name, SQLITE_OPEN_READWRITE, err);
    gm_free(name);
    if (!status) status = check_application(run, err);
    if (status && reading && needs_immutable(run)) {
        status = connect_immutable(run, err);
        if (!status) status = check_application(run, err);
    }
    return status;
}

gm_status gm_run_open(const char *path, gm_run_mode mode, gm_run **run, gm_error *err)
{
    *run = NULL;
    gm_run *fresh = NULL;
    gm_status status = check_path(path, err);
    if (!status) status = handle_new(path, &fresh, err);
    if (!status) status = connect_ours(fresh, mode == GM_RUN_READ, err);
    if (!status) status = check_version(fresh, err);
    if (!status && mode == GM_RUN_WRITE && !fresh->writable)
        status = gm_fail(err, GM_ERR_IO, "%s: run file is not writable", path);
    if (!status && mode == GM_RUN_READ)
        status = gm_sql_exec(fresh, "PRAGMA query_only = ON", "opening it", err);
    if (status) {
        gm_run_close(fresh);
        return status;
    }
    fresh->writable = mode == GM_RUN_WRITE;
    *run = fresh;
    return GM_OK;
}

bool gm_run_is_file(const char *path)
{
    gm_run *run = NULL;
    gm_status status = check_path(path, NULL);
    if (!status) status = handle_new(path, &run, NULL);
    if (!status) status = connect_ours(run, true, NULL);
    gm_run_close(run);
    return status == GM_OK;
}

/* A complete file with the settings, closed again, under a name of its own. */
static gm_status build(const char *path, const char *temporary, const gm_setting *setting,
                       size_t count, gm_error *err)
{
    gm_run *run = NULL;
    char *name = NULL;
    char sql[64];
    gm_status status = handle_new(path, &run, err); /* messages name the file that was asked for */
    if (!status && !(name = plain_path(temporary, err))) status = GM_ERR_MEMORY;
    if (!status) status = connect(run, name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d", GM_RUN_APPLICATION_ID);
    if (!status) status = gm_sql_exec(run, sql, "creating it", err);
    if (!status) status = migrate(run, err);
    if (!status) status = gm_run_set(run, setting, count, err);
    if (!status) status = gm_sql_exec(run, "PRAGMA journal_mode = WAL", "creating it", err);
    gm_run_close(run);
    gm_free(name);
    return status;
}

static gm_status check_target(const char *path, bool overwrite, gm_error *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) return GM_OK;
    if (!overwrite)
        return gm_fail(err, GM_ERR_USAGE, "%s: exists already; a run file is not overwritten",
                       path);
    if (!gm_run_is_file(path))
        return gm_fail(err, GM_ERR_USAGE, "%s: not a run file, so not overwritten", path);
    return GM_OK;
}

/* Moves the finished file to its name. */
static gm_status publish(const char *temporary, const char *path, bool overwrite, gm_error *err)
{
    /* A log that a killed process left must not be played into the new file. */
    remove_with(path, "-wal");
    remove_with(path, "-shm");
    if (overwrite) {
        if (rename(temporary, path) == 0) return GM_OK;
    } else {
        /* A link, unlike a rename, does not replace a file that has appeared meanwhile. */
        if (link(temporary, path) == 0) {
            unlink(temporary);
            return GM_OK;
        }
        bool no_links = errno == EPERM || errno == ENOTSUP || errno == ENOSYS;
        if (no_links && rename(temporary, path) == 0) return GM_OK;
        if (errno == EEXIST)
            return gm_fail(err, GM_ERR_USAGE, "%s: exists already; a run file is not overwritten",
                           path);
    }
    return gm_fail(err, GM_ERR_IO, "%s: run file cannot be created: %s", path, strerror(errno));
}

gm_status gm_run_create(const char *path, bool overwrite, const gm_setting *setting, size_t count,
                        gm_run **run, gm_error *err)
{
    *run = NULL;
    gm_status status = check_target(path, overwrite, err);
    if (status) return status;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char *temporary = gm_format(err, "%s.%ld-%09ld.new", path, (long)getpid(), (long)now.tv_nsec);
    if (!temporary) return GM_ERR_MEMORY;
    status = build(path, temporary, setting, count, err);
    if (!status) status = publish(temporary, path, overwrite, err);
    if (status) {
        remove_with(temporary, "");
        remove_with(temporary, "-journal");
        remove_with(temporary, "-wal");
        remove_with(temporary, "-shm");
    }
    gm_free(temporary);
    if (!status) status = gm_run_open(path, GM_RUN_WRITE, run, err);
    return status;
}

gm_status gm_run_split(const char *text, char **path, int64_t *step, gm_error *err)
{
    *path = NULL;
    *step = GM_RUN_LAST;
    struct stat info;
    const char *at = strrchr(text, '@');
    if (at && stat(text, &info) != 0) {
        char *end = NULL;
        errno = 0;
        intmax_t value = strtoimax(at + 1, &end, 10);
        bool digits = at[1] >= '0' && at[1] <= '9';
        if (!digits || *end || errno || value > INT64_MAX)
            return gm_fail(err, GM_ERR_USAGE, "%s: no such file, and '%s' after the '@' is no step",
                           text, at + 1);
        *step = (int64_t)value;
    } else {
        at = text + strlen(text);
    }
    *path = gm_format(err, "%.*s", (int)(at - text), text);
    return *path ? GM_OK : GM_ERR_MEMORY;
}
