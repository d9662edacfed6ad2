/* The latest state, written in place, and the history of checkpoints. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "run/store.h"

/* ---- saving ---- */

/* Step of the stored state, -1 for none. */
static gm_status stored_step(gm_run *run, int64_t *step, gm_error *err)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    *step = -1;
    gm_status status = gm_sql_prepare(run, "SELECT step FROM state", &stmt, err);
    if (!status) status = gm_sql_step(run, stmt, &row, "reading the state", err);
    if (!status && row) *step = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return status;
}

static gm_status write_state(gm_run *run, const gm_run_state *state, gm_error *err)
{
    static const char sql[] =
        "INSERT INTO state(id, step, status, message, seconds, updated, stream_seed,"
        " stream_purpose, stream_run, stream_position, dtype, parameters, slots, theta, optimizer)"
        " VALUES(1, ?1, ?2, ?3, ?4, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?5, ?6, ?7, ?8, ?9, ?10,"
        " ?11, ?12, ?13) ON CONFLICT(id) DO UPDATE SET step = excluded.step,"
        " status = excluded.status, message = excluded.message, seconds = excluded.seconds,"
        " updated = excluded.updated, stream_seed = excluded.stream_seed,"
        " stream_purpose = excluded.stream_purpose, stream_run = excluded.stream_run,"
        " stream_position = excluded.stream_position, dtype = excluded.dtype,"
        " parameters = excluded.parameters, slots = excluded.slots, theta = excluded.theta,"
        " optimizer = excluded.optimizer";
    size_t count, theta_bytes, optimizer_bytes, both;
    if (!gm_mul_size(state->parameters, state->slots, &count) ||
        !gm_add_size(count, state->parameters, &both))
        return gm_fail(err, GM_ERR_USAGE, "%s: %zu vectors of %zu parameters overflow", run->path,
                       state->slots, state->parameters);
    gm_status status = gm_run_blob_size(run, both, state->dtype, "the state", &both, err);
    if (status) return status;
    theta_bytes = state->parameters * gm_dtype_size(state->dtype);
    optimizer_bytes = count * gm_dtype_size(state->dtype);

    sqlite3_stmt *stmt = NULL;
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, state->stream_seed);
    status = gm_sql_prepare(run, sql, &stmt, err);
    if (status) return status;
    sqlite3_bind_int64(stmt, 1, state->step);
    sqlite3_bind_text(stmt, 2, state->status, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, state->message ? state->message : "", -1, SQLITE_STATIC);
    sqlite3_bind_double(stmt, 4, state->seconds);
    sqlite3_bind_text(stmt, 5, seed, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 6, state->stream_purpose);
    sqlite3_bind_int64(stmt, 7, state->stream_run);
    sqlite3_bind_int64(stmt, 8, (int64_t)state->stream_position);
    sqlite3_bind_text(stmt, 9, gm_run_dtype_name(state->dtype), -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 10, (int64_t)state->parameters);
    sqlite3_bind_int64(stmt, 11, (int64_t)state->slots);
    sqlite3_bind_blob64(stmt, 12, state->theta, theta_bytes, SQLITE_STATIC);
    if (state->slots)
        sqlite3_bind_blob64(stmt, 13, state->optimizer, optimizer_bytes, SQLITE_STATIC);
    status = gm_sql_run(run, stmt, "saving the state", err);
    sqlite3_finalize(stmt);
    return status;
}

/* Where only the words change: the parameters stay those of the stored state. */
static gm_status write_status(gm_run *run, const gm_run_state *state, gm_error *err)
{
    sqlite3_stmt *stmt = NULL;
    gm_status status = gm_sql_prepare(run,
                                      "UPDATE state SET status = ?1, message = ?2, seconds = ?3,"
                                      " updated = strftime('%Y-%m-%dT%H:%M:%SZ', 'now')",
                                      &stmt, err);
    if (status) return status;
    sqlite3_bind_text(stmt, 1, state->status, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, state->message ? state->message : "", -1, SQLITE_STATIC);
    sqlite3_bind_double(stmt, 3, state->seconds);
    status = gm_sql_run(run, stmt, "saving the state", err);
    sqlite3_finalize(stmt);
    return status;
}

static gm_status write_checkpoint(gm_run *run, int64_t step, gm_dtype dtype, size_t parameters,
                                  const void *theta, gm_error *err)
{
    size_t bytes;
    gm_status status = gm_run_blob_size(run, parameters, dtype, "a checkpoint", &bytes, err);
    if (status) return status;
    sqlite3_stmt *stmt = NULL;
    status = gm_sql_prepare(run,
                            "INSERT OR REPLACE INTO checkpoint(step, dtype, parameters, theta)"
                            " VALUES(?1, ?2, ?3, ?4)",
                            &stmt, err);
    if (status) return status;
    sqlite3_bind_int64(stmt, 1, step);
    sqlite3_bind_text(stmt, 2, gm_run_dtype_name(dtype), -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 3, (int64_t)parameters);
    sqlite3_bind_blob64(stmt, 4, theta, bytes, SQLITE_STATIC);
    status = gm_sql_run(run, stmt, "saving a checkpoint", err);
    sqlite3_finalize(stmt);
    return status;
}

gm_status gm_run_save(gm_run *run, const gm_run_state *state, int64_t expected, bool keep,
                      const gm_metric *metric, size_t count, gm_error *err)
{
    gm_status status = gm_run_begin_write(run, err);
    if (status) return status;
    int64_t step;
    status = stored_step(run, &step, err);
    if (!status && step != expected)
        status = gm_fail(err, GM_ERR_IO,
                         "%s: another process is training in this file: its state is at step "
                         "%" PRId64 ", expected %" PRId64,
                         run->path, step, expected);
    if (!status && count) status = gm_run_add_metrics(run, metric, count, err);
    if (!status)
        status = state->theta ? write_state(run, state, err) : write_status(run, state, err);
    if (!status && keep && state->theta)
        status =
            write_checkpoint(run, state->step, state->dtype, state->parameters, state->theta, err);
    return gm_run_end(run, status, err);
}

gm_status gm_run_add_checkpoint(gm_run *run, int64_t step, gm_dtype dtype, size_t parameters,
                                const double *theta, gm_error *err)
{
    if (step < 0)
        return gm_fail(err, GM_ERR_USAGE, "%s: checkpoint of step %" PRId64 ", expected 0 or more",
                       run->path, step);
    void *numbers = gm_alloc(parameters, gm_dtype_size(dtype), "checkpoint", err);
    if (!numbers) return GM_ERR_MEMORY;
    gm_run_narrow(dtype, parameters, theta, numbers);
    gm_status status = gm_run_begin_write(run, err);
    if (!status) {
        status = write_checkpoint(run, step, dtype, parameters, numbers, err);
        status = gm_run_end(run, status, err);
    }
    gm_free(numbers);
    return status;
}

/* ---- loading ---- */

/* A count column as a size; a negative one (a damaged file) becomes one that no blob has. */
static size_t column_size(sqlite3_stmt *stmt, int column)
{
    int64_t value = sqlite3_column_int64(stmt, column);
    return value < 0 ? SIZE_MAX : (size_t)value;
}

/* Copies the row of load_state's query into one piece of memory: struct, numbers, text. */
static gm_status copy_state(gm_run *run, sqlite3_stmt *stmt, gm_run_state **state, gm_error *err)
{
    gm_dtype dtype;
    const void *theta, *optimizer;
    size_t p = column_size(stmt, 10), slots = column_size(stmt, 11), numbers;
    if (!gm_mul_size(p, slots, &numbers)) numbers = SIZE_MAX;
    gm_status status =
        gm_sql_numbers(run, stmt, 12, 9, p, "the state's theta", &dtype, &theta, err);
    if (!status)
        status = gm_sql_numbers(run, stmt, 13, 9, numbers, "the state's optimizer", &dtype,
                                &optimizer, err);
    if (status) return status;

    const char *word = (const char *)sqlite3_column_text(stmt, 1);
    const char *message = (const char *)sqlite3_column_text(stmt, 2);
    const char *seed = (const char *)sqlite3_column_text(stmt, 4);
    if (!word || !message || !seed)
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: a column of the state is empty",
                       run->path);
    size_t theta_bytes = p * gm_dtype_size(dtype), optimizer_bytes = numbers * gm_dtype_size(dtype);
    size_t head = (sizeof(gm_run_state) + 63) / 64 * 64;
    size_t theta_room = (theta_bytes + 63) / 64 * 64, optimizer_room = optimizer_bytes;
    size_t word_room = strlen(word) + 1, message_room = strlen(message) + 1;
    char *memory = gm_alloc(head + theta_room + optimizer_room + word_room + message_room, 1,
                            "state of a run", err);
    if (!memory) return GM_ERR_MEMORY;
    char *text = memory + head + theta_room + optimizer_room;
    gm_run_state *copy = (gm_run_state *)memory;
    *copy = (gm_run_state){.step = sqlite3_column_int64(stmt, 0),
                           .status = memcpy(text, word, word_room),
                           .message = memcpy(text + word_room, message, message_room),
                           .seconds = sqlite3_column_double(stmt, 3),
                           .dtype = dtype,
                           .parameters = p,
                           .theta = memory + head,
                           .slots = slots,
                           .optimizer = slots ? memory + head + theta_room : NULL,
                           .stream_seed = strtoull(seed, NULL, 10),
                           .stream_purpose = (uint32_t)sqlite3_column_int64(stmt, 6),
                           .stream_run = (uint32_t)sqlite3_column_int64(stmt, 7),
                           .stream_position = (uint64_t)sqlite3_column_int64(stmt, 8)};
    if (theta_bytes) memcpy(memory + head, theta, theta_bytes);
    if (optimizer_bytes) memcpy(memory + head + theta_room, optimizer, optimizer_bytes);
    *state = copy;
    return GM_OK;
}

gm_status gm_run_load_state(gm_run *run, gm_run_state **state, gm_error *err)
{
    *state = NULL;
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    gm_status status = gm_sql_prepare(
        run,
        "SELECT step, status, message, seconds, stream_seed, updated, stream_purpose, stream_run,"
        " stream_position, dtype, parameters, slots, theta, optimizer FROM state",
        &stmt, err);
    if (!status) status = gm_sql_step(run, stmt, &row, "reading the state", err);
    if (!status && row) status = copy_state(run, stmt, state, err);
    sqlite3_finalize(stmt);
    return status;
}

gm_status gm_run_checkpoints(gm_run *run, int64_t **step, size_t *count, gm_error *err)
{
    *step = NULL;
    *count = 0;
    sqlite3_stmt *stmt = NULL;
    void *memory = NULL;
    char *text = NULL;
    size_t rows = 0;
    gm_status status = gm_run_begin_read(run, err);
    if (status) return status;
    status = gm_sql_prepare(
        run, "SELECT step FROM checkpoint UNION SELECT step FROM state ORDER BY step", &stmt, err);
    if (!status) status = gm_sql_allocate(run, stmt, sizeof(int64_t), &memory, &text, &rows, err);
    int64_t *item = memory;
    for (size_t i = 0; i < rows && !status; i++) {
        bool row;
        status = gm_sql_step(run, stmt, &row, "reading checkpoints", err);
        if (!status) item[i] = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    status = gm_run_end(run, status, err);
    if (status || !rows) {
        gm_free(memory);
        return status;
    }
    *step = item;
    *count = rows;
    return GM_OK;
}

/* Says which checkpoints there are: all where they are few, else the ends. */
static gm_status fail_no_checkpoint(gm_run *run, int64_t step, gm_error *err)
{
    int64_t *have = NULL;
    size_t count = 0;
    gm_status status = gm_run_checkpoints(run, &have, &count, err);
    if (status) return status;
    char list[256] = "";
    int used = 0;
    enum { FEW = 12 };
    for (size_t i = 0; count <= FEW && i < count && used < (int)sizeof list; i++) {
        used +=
            snprintf(list + used, sizeof list - (size_t)used, "%s%" PRId64, i ? ", " : "", have[i]);
    }
    if (!count)
        gm_fail(err, GM_ERR_INPUT, "%s: the run file holds no parameters", run->path);
    else if (count <= FEW)
        gm_fail(err, GM_ERR_INPUT, "%s: no checkpoint of step %" PRId64 "; there are steps %s",
                run->path, step, list);
    else
        gm_fail(err, GM_ERR_INPUT,
                "%s: no checkpoint of step %" PRId64 "; there are %zu from step %" PRId64
                " to %" PRId64,
                run->path, step, count, have[0], have[count - 1]);
    gm_free(have);
    return GM_ERR_INPUT;
}

gm_status gm_run_parameters(gm_run *run, int64_t step, double **theta, size_t *parameters,
                            int64_t *found, gm_error *err)
{
    *theta = NULL;
    *parameters = 0;
    if (step < GM_RUN_LAST)
        return gm_fail(err, GM_ERR_USAGE, "%s: step %" PRId64 ", expected 0 or more", run->path,
                       step);
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    gm_status status = gm_run_begin_read(run, err);
    if (status) return status;
    status = gm_sql_prepare(
        run,
        "SELECT step, dtype, parameters, theta FROM ("
        "SELECT step, dtype, parameters, theta FROM state WHERE ?1 IN (-1, step) UNION ALL "
        "SELECT step, dtype, parameters, theta FROM checkpoint"
        " WHERE step = iif(?1 = -1, (SELECT max(step) FROM checkpoint), ?1))"
        " ORDER BY step DESC LIMIT 1",
        &stmt, err);
    if (status) goto done;
    sqlite3_bind_int64(stmt, 1, step);
    status = gm_sql_step(run, stmt, &row, "reading a checkpoint", err);
    if (status) goto done;
    if (!row) {
        status = fail_no_checkpoint(run, step, err);
        goto done;
    }
    gm_dtype dtype;
    const void *data;
    size_t p = column_size(stmt, 2);
    status = gm_sql_numbers(run, stmt, 3, 1, p, "a checkpoint", &dtype, &data, err);
    if (status) goto done;
    *theta = gm_alloc(p, sizeof(double), "parameters of a checkpoint", err);
    if (!*theta) {
        status = GM_ERR_MEMORY;
        goto done;
    }
    gm_run_widen(dtype, p, data, *theta);
    *parameters = p;
    if (found) *found = sqlite3_column_int64(stmt, 0);

done:
    sqlite3_finalize(stmt);
    return gm_run_end(run, status, err);
}
