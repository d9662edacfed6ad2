/* Settings and metrics. */
#include <math.h>

#include "base/memory.h"
#include "run/store.h"

/* ---- settings ---- */

gm_status gm_run_set(gm_run *run, const gm_setting *setting, size_t count, gm_error *err)
{
    sqlite3_stmt *stmt = NULL;
    gm_status status = gm_run_begin_write(run, err);
    if (status) return status;
    status = gm_sql_prepare(run, "INSERT OR REPLACE INTO setting(key, value) VALUES(?1, ?2)", &stmt,
                            err);
    for (size_t i = 0; i < count && !status; i++) {
        sqlite3_bind_text(stmt, 1, setting[i].key, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, setting[i].value, -1, SQLITE_STATIC);
        status = gm_sql_run(run, stmt, "storing settings", err);
    }
    sqlite3_finalize(stmt);
    return gm_run_end(run, status, err);
}

gm_status gm_run_get(gm_run *run, const char *key, char **value, gm_error *err)
{
    *value = NULL;
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    gm_status status = gm_sql_prepare(run, "SELECT value FROM setting WHERE key = ?1", &stmt, err);
    if (!status) {
        sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
        status = gm_sql_step(run, stmt, &row, "reading settings", err);
    }
    if (!status && row) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        *value = gm_strdup(text ? text : "", err);
        if (!*value) status = GM_ERR_MEMORY;
    }
    sqlite3_finalize(stmt);
    return status;
}

gm_status gm_run_settings(gm_run *run, gm_setting **list, size_t *count, gm_error *err)
{
    *list = NULL;
    *count = 0;
    sqlite3_stmt *stmt = NULL;
    void *memory = NULL;
    char *text = NULL;
    size_t rows = 0;
    gm_status status = gm_run_begin_read(run, err);
    if (status) return status;
    status = gm_sql_prepare(run, "SELECT key, value FROM setting ORDER BY key", &stmt, err);
    if (!status)
        status = gm_sql_allocate(run, stmt, sizeof(gm_setting), &memory, &text, &rows, err);
    gm_setting *item = memory;
    for (size_t i = 0; i < rows && !status; i++) {
        bool row;
        status = gm_sql_step(run, stmt, &row, "reading settings", err);
        if (status) break;
        item[i].key = gm_sql_text(stmt, 0, &text);
        item[i].value = gm_sql_text(stmt, 1, &text);
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

/* ---- metrics ---- */

gm_status gm_run_add_metrics(gm_run *run, const gm_metric *metric, size_t count, gm_error *err)
{
    sqlite3_stmt *stmt = NULL;
    gm_status status = gm_run_begin_write(run, err);
    if (status) return status;
    status = gm_sql_prepare(
        run, "INSERT OR REPLACE INTO metric(name, step, value) VALUES(?1, ?2, ?3)", &stmt, err);
    for (size_t i = 0; i < count && !status; i++) {
        sqlite3_bind_text(stmt, 1, metric[i].name, -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 2, metric[i].step);
        sqlite3_bind_double(stmt, 3, metric[i].value); /* NaN becomes NULL */
        status = gm_sql_run(run, stmt, "storing metrics", err);
    }
    sqlite3_finalize(stmt);
    return gm_run_end(run, status, err);
}

gm_status gm_run_metric_names(gm_run *run, const char ***names, size_t *count, gm_error *err)
{
    *names = NULL;
    *count = 0;
    sqlite3_stmt *stmt = NULL;
    void *memory = NULL;
    char *text = NULL;
    size_t rows = 0;
    gm_status status = gm_run_begin_read(run, err);
    if (status) return status;
    /* Skips from name to name in the index; DISTINCT would read every row. */
    status = gm_sql_prepare(run,
                            "WITH RECURSIVE series(name) AS (SELECT min(name) FROM metric UNION ALL"
                            " SELECT (SELECT min(name) FROM metric WHERE name > series.name)"
                            " FROM series WHERE series.name IS NOT NULL)"
                            " SELECT name FROM series WHERE name IS NOT NULL",
                            &stmt, err);
    if (!status)
        status = gm_sql_allocate(run, stmt, sizeof(const char *), &memory, &text, &rows, err);
    const char **item = memory;
    for (size_t i = 0; i < rows && !status; i++) {
        bool row;
        status = gm_sql_step(run, stmt, &row, "reading metrics", err);
        if (!status) item[i] = gm_sql_text(stmt, 0, &text);
    }
    sqlite3_finalize(stmt);
    status = gm_run_end(run, status, err);
    if (status) {
        gm_free(memory);
        return status;
    }
    *names = item;
    *count = rows;
    return GM_OK;
}

gm_status gm_run_metric(gm_run *run, const char *name, int64_t **step, double **value,
                        size_t *count, gm_error *err)
{
    *step = NULL;
    *value = NULL;
    *count = 0;
    sqlite3_stmt *stmt = NULL;
    int64_t *steps = NULL;
    double *values = NULL;
    size_t rows = 0, filled = 0;
    bool row = false;
    gm_status status = gm_run_begin_read(run, err);
    if (status) return status;
    status = gm_sql_prepare(run, "SELECT count(*) FROM metric WHERE name = ?1", &stmt, err);
    if (status) goto done;
    sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    status = gm_sql_step(run, stmt, &row, "reading metrics", err);
    if (!status) rows = (size_t)sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    stmt = NULL;
    if (status || !rows) goto done;

    steps = gm_alloc(rows, sizeof *steps, "steps of a metric", err);
    values = gm_alloc(rows, sizeof *values, "values of a metric", err);
    status = steps && values ? GM_OK : GM_ERR_MEMORY;
    if (!status)
        status = gm_sql_prepare(run, "SELECT step, value FROM metric WHERE name = ?1 ORDER BY step",
                                &stmt, err);
    if (status) goto done;
    sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    for (; filled < rows && !status; filled++) {
        status = gm_sql_step(run, stmt, &row, "reading metrics", err);
        if (status || !row) break;
        steps[filled] = sqlite3_column_int64(stmt, 0);
        values[filled] = sqlite3_column_type(stmt, 1) == SQLITE_NULL
                             ? (double)NAN
                             : sqlite3_column_double(stmt, 1);
    }

done:
    sqlite3_finalize(stmt);
    status = gm_run_end(run, status, err);
    if (status) {
        gm_free(steps);
        gm_free(values);
        return status;
    }
    *step = steps;
    *value = values;
    *count = filled;
    return GM_OK;
}
