/* Results of analyses: whole JSON documents and the arrays that go with them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "run/store.h"

enum { NAME_LENGTH = 256 }; /* of an array, with its end */

/* ---- storing ---- */

/* Number of elements of an array; checks rank and overflow. */
static gm_status array_size(const gm_run *run, const gm_run_array *array, size_t *size,
                            gm_error *err)
{
    if (array->rank < 0 || array->rank > GM_RUN_ARRAY_RANK)
        return gm_fail(err, GM_ERR_USAGE, "%s: array %s has rank %d, expected 0 to %d", run->path,
                       array->name, array->rank, GM_RUN_ARRAY_RANK);
    *size = 1;
    for (int i = 0; i < array->rank; i++) {
        if (array->dim[i] > INT64_MAX || !gm_mul_size(*size, array->dim[i], size))
            return gm_fail(err, GM_ERR_USAGE, "%s: shape of array %s overflows", run->path,
                           array->name);
    }
    return GM_OK;
}

static gm_status write_array(gm_run *run, sqlite3_stmt *stmt, int64_t id, const gm_run_array *array,
                             gm_error *err)
{
    size_t size, bytes;
    if (strlen(array->name) >= NAME_LENGTH)
        return gm_fail(err, GM_ERR_USAGE, "%s: name of array %.40s... has more than %d bytes",
                       run->path, array->name, NAME_LENGTH - 1);
    gm_status status = array_size(run, array, &size, err);
    if (!status) status = gm_run_blob_size(run, size, array->dtype, array->name, &bytes, err);
    if (status) return status;
    void *narrow = NULL;
    if (array->dtype == GM_F32) {
        narrow = gm_alloc(size, sizeof(float), array->name, err);
        if (!narrow) return GM_ERR_MEMORY;
        gm_run_narrow(GM_F32, size, array->data, narrow);
    }
    sqlite3_clear_bindings(stmt); /* dimensions beyond the rank are NULL */
    sqlite3_bind_int64(stmt, 1, id);
    sqlite3_bind_text(stmt, 2, array->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, gm_run_dtype_name(array->dtype), -1, SQLITE_STATIC);
    sqlite3_bind_int(stmt, 4, array->rank);
    for (int i = 0; i < array->rank; i++) {
        sqlite3_bind_int64(stmt, 5 + i, (int64_t)array->dim[i]);
    }
    if (size)
        sqlite3_bind_blob64(stmt, 9, narrow ? narrow : array->data, bytes, SQLITE_STATIC);
    else
        sqlite3_bind_zeroblob(stmt, 9, 0);
    status = gm_sql_run(run, stmt, "storing an array", err);
    gm_free(narrow);
    return status;
}

static gm_status remove_result(gm_run *run, const gm_run_result *result, gm_error *err)
{
    sqlite3_stmt *stmt = NULL;
    gm_status status = gm_sql_prepare(
        run, "DELETE FROM result WHERE command = ?1 AND step = ?2 AND key = ?3", &stmt, err);
    if (status) return status;
    sqlite3_bind_text(stmt, 1, result->command, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, result->step);
    sqlite3_bind_text(stmt, 3, result->key ? result->key : "", -1, SQLITE_STATIC);
    status = gm_sql_run(run, stmt, "replacing a result", err); /* its arrays go with it */
    sqlite3_finalize(stmt);
    return status;
}

static gm_status insert_result(gm_run *run, const gm_run_result *result, int64_t *id, gm_error *err)
{
    sqlite3_stmt *stmt = NULL;
    gm_status status =
        gm_sql_prepare(run,
                       "INSERT INTO result(command, step, key, created, json)"
                       " VALUES(?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?4)",
                       &stmt, err);
    if (status) return status;
    sqlite3_bind_text(stmt, 1, result->command, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, result->step);
    sqlite3_bind_text(stmt, 3, result->key ? result->key : "", -1, SQLITE_STATIC);
    sqlite3_bind_text64(stmt, 4, result->json, strlen(result->json), SQLITE_STATIC, SQLITE_UTF8);
    status = gm_sql_run(run, stmt, "storing a result", err);
    *id = sqlite3_last_insert_rowid(run->db);
    sqlite3_finalize(stmt);
    return status;
}

gm_status gm_run_add_result(gm_run *run, const gm_run_result *result, const gm_run_array *array,
                            size_t arrays, int64_t *id, gm_error *err)
{
    if (result->step < GM_RUN_NO_STEP)
        return gm_fail(err, GM_ERR_USAGE, "%s: result of step %" PRId64 ", expected 0 or more",
                       run->path, result->step);
    sqlite3_stmt *stmt = NULL;
    int64_t number = 0;
    gm_status status = gm_run_begin_write(run, err);
    if (status) return status;
    status = remove_result(run, result, err);
    if (!status) status = insert_result(run, result, &number, err);
    if (!status)
        status = gm_sql_prepare(
            run,
            "INSERT INTO array(result, name, dtype, rank, dim0, dim1, dim2, dim3, data)"
            " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            &stmt, err);
    for (size_t i = 0; i < arrays && !status; i++) {
        status = write_array(run, stmt, number, array + i, err);
    }
    sqlite3_finalize(stmt);
    status = gm_run_end(run, status, err);
    if (!status && id) *id = number;
    return status;
}

/* ---- reading ---- */

gm_status gm_run_results(gm_run *run, const char *command, gm_run_result **list, size_t *count,
                         gm_error *err)
{
    *list = NULL;
    *count = 0;
    sqlite3_stmt *stmt = NULL;
    void *memory = NULL;
    char *text = NULL;
    size_t rows = 0;
    gm_status status = gm_run_begin_read(run, err);
    if (status) return status;
    status = gm_sql_prepare(run,
                            "SELECT id, command, step, key, created, json FROM result"
                            " WHERE ?1 IS NULL OR command = ?1 ORDER BY step, id",
                            &stmt, err);
    if (!status) {
        if (command) sqlite3_bind_text(stmt, 1, command, -1, SQLITE_STATIC);
        status = gm_sql_allocate(run, stmt, sizeof(gm_run_result), &memory, &text, &rows, err);
    }
    gm_run_result *item = memory;
    for (size_t i = 0; i < rows && !status; i++) {
        bool row;
        status = gm_sql_step(run, stmt, &row, "reading results", err);
        if (status) break;
        item[i].id = sqlite3_column_int64(stmt, 0);
        item[i].command = gm_sql_text(stmt, 1, &text);
        item[i].step = sqlite3_column_int64(stmt, 2);
        item[i].key = gm_sql_text(stmt, 3, &text);
        item[i].created = gm_sql_text(stmt, 4, &text);
        item[i].json = gm_sql_text(stmt, 5, &text);
    }
    sqlite3_finalize(stmt);
    status = gm_run_end(run, status, err);
    if (status) {
        gm_free(memory);
        return status;
    }
    *list = item;
    *count = rows;
    return GM_OK;
}

/* Everything of an array but its data, from columns name, dtype, rank, dim0 ... dim3. */
static gm_status read_head(gm_run *run, sqlite3_stmt *stmt, char **text, gm_run_array *array,
                           gm_error *err)
{
    array->name = gm_sql_text(stmt, 0, text);
    if (!gm_run_dtype_parse((const char *)sqlite3_column_text(stmt, 1), &array->dtype))
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: array %s is neither f4 nor f8",
                       run->path, array->name);
    array->rank = sqlite3_column_int(stmt, 2);
    for (int i = 0; i < GM_RUN_ARRAY_RANK && i < array->rank; i++) {
        int64_t dim = sqlite3_column_int64(stmt, 3 + i);
        array->dim[i] = dim < 0 ? SIZE_MAX : (size_t)dim;
    }
    size_t size;
    if (array_size(run, array, &size, NULL))
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: shape of array %s", run->path,
                       array->name);
    return GM_OK;
}

gm_status gm_run_arrays(gm_run *run, int64_t result, gm_run_array **list, size_t *count,
                        gm_error *err)
{
    *list = NULL;
    *count = 0;
    sqlite3_stmt *stmt = NULL;
    void *memory = NULL;
    char *text = NULL;
    size_t rows = 0;
    gm_status status = gm_run_begin_read(run, err);
    if (status) return status;
    status = gm_sql_prepare(run,
                            "SELECT name, dtype, rank, dim0, dim1, dim2, dim3 FROM array"
                            " WHERE result = ?1 ORDER BY name",
                            &stmt, err);
    if (!status) {
        sqlite3_bind_int64(stmt, 1, result);
        status = gm_sql_allocate(run, stmt, sizeof(gm_run_array), &memory, &text, &rows, err);
    }
    gm_run_array *item = memory;
    for (size_t i = 0; i < rows && !status; i++) {
        bool row;
        status = gm_sql_step(run, stmt, &row, "reading arrays", err);
        if (!status) status = read_head(run, stmt, &text, item + i, err);
    }
    sqlite3_finalize(stmt);
    status = gm_run_end(run, status, err);
    if (status) {
        gm_free(memory);
        return status;
    }
    *list = item;
    *count = rows;
    return GM_OK;
}

/* Struct, numbers and name of the row at hand in one piece. */
static gm_status copy_array(gm_run *run, sqlite3_stmt *stmt, gm_run_array **array, gm_error *err)
{
    char name[NAME_LENGTH];
    snprintf(name, sizeof name, "%s", (const char *)sqlite3_column_text(stmt, 0));
    char *text = name;
    gm_run_array head = {.name = name};
    size_t length = (size_t)sqlite3_column_bytes(stmt, 0), size = 0, room;
    gm_dtype dtype;
    const void *data;
    if (length >= sizeof name)
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: name of an array", run->path);
    gm_status status = read_head(run, stmt, &text, &head, err);
    if (!status) status = array_size(run, &head, &size, err);
    if (!status) status = gm_sql_numbers(run, stmt, 7, 1, size, head.name, &dtype, &data, err);
    if (status) return status;

    size_t start = (sizeof(gm_run_array) + 63) / 64 * 64;
    if (!gm_mul_size(size, sizeof(double), &room) || !gm_add_size(room, start + length + 1, &room))
        return gm_fail(err, GM_ERR_MEMORY, "%s: array %s does not fit into memory", run->path,
                       head.name);
    char *memory = gm_alloc(room, 1, "array of a run file", err);
    if (!memory) return GM_ERR_MEMORY;
    double *numbers = (double *)(memory + start);
    gm_run_widen(dtype, size, data, numbers);
    head.data = numbers;
    head.name = memcpy(numbers + size, name, length + 1);
    *array = memcpy(memory, &head, sizeof head);
    return GM_OK;
}

gm_status gm_run_load_array(gm_run *run, int64_t result, const char *name, gm_run_array **array,
                            gm_error *err)
{
    *array = NULL;
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    gm_status status = gm_sql_prepare(run,
                                      "SELECT name, dtype, rank, dim0, dim1, dim2, dim3, data"
                                      " FROM array WHERE result = ?1 AND name = ?2",
                                      &stmt, err);
    if (!status) {
        sqlite3_bind_int64(stmt, 1, result);
        sqlite3_bind_text(stmt, 2, name, -1, SQLITE_STATIC);
        status = gm_sql_step(run, stmt, &row, "reading an array", err);
    }
    if (!status && !row)
        status = gm_fail(err, GM_ERR_INPUT, "%s: result %" PRId64 " has no array %s", run->path,
                         result, name);
    if (!status) status = copy_array(run, stmt, array, err);
    sqlite3_finalize(stmt);
    return status;
}
