/* What a tracker stores in the run file, in the transactions of the training's state, and how it
 * goes on from there. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "run/store.h"
#include "track/tracker.h"

static const char command[] = "track", key[] = "spectrum", array_name[] = "subspace";

enum { NAME_LENGTH = 64 };

/* The series of a tracker, 2 k + 2 of them: eigenvalue/1 ... k, residual/1 ... k, products,
 * converged. */
static size_t series_count(const gm_tracker *tr)
{
    return 2 * tr->options.k + 2;
}

static void series_name(const gm_tracker *tr, size_t i, char name[NAME_LENGTH])
{
    const char *kind = gm_curvature_name(tr->options.kind);
    size_t k = tr->options.k;
    if (i < 2 * k) {
        snprintf(name, NAME_LENGTH, "%s/%s/%zu", kind, i < k ? "eigenvalue" : "residual",
                 i % k + 1);
    } else {
        snprintf(name, NAME_LENGTH, "%s/%s", kind, i == 2 * k ? "products" : "converged");
    }
}

static double *series_place(const gm_tracker *tr, size_t i, size_t row)
{
    size_t k = tr->options.k;
    if (i < k) return &tr->value[row * k + i];
    if (i < 2 * k) return &tr->residual[row * k + i - k];
    return i == 2 * k ? &tr->products[row] : &tr->converged[row];
}

/* ---- saving ---- */

static gm_status save_metrics(const gm_tracker *tr, gm_run *run, gm_error *err)
{
    size_t rows = tr->count - tr->saved;
    gm_metric *metric = gm_alloc(rows, sizeof *metric, "tracked metrics", err);
    gm_status status = metric ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; i < series_count(tr) && status == GM_OK; i++) {
        char name[NAME_LENGTH];
        series_name(tr, i, name);
        for (size_t j = 0; j < rows; j++) {
            size_t row = tr->saved + j;
            metric[j] = (gm_metric){tr->step[row], name, *series_place(tr, i, row)};
        }
        status = gm_run_add_metrics(run, metric, rows, err);
    }
    gm_free(metric);
    return status;
}

static gm_status save_subspace(const gm_tracker *tr, gm_run *run, gm_error *err)
{
    char spec[GM_TRACK_TEXT], json[GM_TRACK_TEXT + 64];
    gm_track_options_print(&tr->options, spec);
    snprintf(json, sizeof json, "{\"command\":\"track\",\"track\":\"%s\",\"step\":%" PRId64 "}",
             spec, tr->step[tr->count - 1]);
    gm_run_result result = {.command = command, .step = GM_RUN_NO_STEP, .key = key, .json = json};
    gm_run_array array = {.name = array_name,
                          .dtype = tr->dtype,
                          .rank = 2,
                          .dim = {tr->vectors, tr->p},
                          .data = tr->vector};
    return gm_run_add_result(run, &result, &array, 1, NULL, err);
}

gm_status gm_tracker_save(gm_tracker *tr, gm_run *run, gm_error *err)
{
    if (tr->saved == tr->count) return GM_OK;
    gm_status status = gm_run_begin_write(run, err);
    if (status != GM_OK) return status;
    status = save_metrics(tr, run, err);
    if (status == GM_OK && tr->unsaved) status = save_subspace(tr, run, err);
    status = gm_run_end(run, status, err);
    if (status != GM_OK) return status;
    tr->saved = tr->count;
    tr->unsaved = false;
    return GM_OK;
}

/* ---- loading ---- */

static gm_status damaged(const gm_run *run, const char *what, gm_error *err)
{
    return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: %s does not fit the tracking",
                   gm_run_path(run), what);
}

/* Series i into its column; the first one decides which steps there are. */
static gm_status load_series(gm_tracker *tr, size_t i, gm_run *run, gm_error *err)
{
    char name[NAME_LENGTH];
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    series_name(tr, i, name);
    gm_status status = gm_run_metric(run, name, &step, &value, &count, err);
    if (i == 0) {
        while (status == GM_OK && tr->count < count) {
            status = gm_tracker_grow(tr, err);
            if (status == GM_OK) tr->step[tr->count] = step[tr->count];
            if (status == GM_OK) tr->count++;
        }
    }
    if (status == GM_OK && count != tr->count) status = damaged(run, name, err);
    for (size_t row = 0; row < count && status == GM_OK; row++) {
        if (step[row] != tr->step[row]) status = damaged(run, name, err);
        if (status == GM_OK) *series_place(tr, i, row) = value[row];
    }
    gm_run_free(step);
    gm_run_free(value);
    return status;
}

static gm_status load_array(gm_tracker *tr, int64_t id, gm_run *run, gm_error *err)
{
    gm_run_array *array = NULL;
    gm_status status = gm_run_load_array(run, id, array_name, &array, err);
    if (status != GM_OK) return status;
    if (array->rank != 2 || array->dim[0] > tr->options.k || array->dim[1] != tr->p) {
        status = damaged(run, array_name, err);
    } else {
        tr->vectors = array->dim[0];
        memcpy(tr->vector, array->data, tr->vectors * tr->p * sizeof *tr->vector);
    }
    gm_run_free(array);
    return status;
}

/* There is none where nothing was measured yet, or nothing that is a number. */
static gm_status load_subspace(gm_tracker *tr, gm_run *run, gm_error *err)
{
    gm_run_result *result = NULL;
    size_t count = 0;
    gm_status status = gm_run_results(run, command, &result, &count, err);
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        if (strcmp(result[i].key, key) == 0) status = load_array(tr, result[i].id, run, err);
    }
    gm_run_free(result);
    return status;
}

gm_status gm_tracker_load(gm_tracker *tr, gm_run *run, gm_error *err)
{
    gm_status status = gm_run_begin_read(run, err);
    if (status != GM_OK) return status;
    tr->count = 0;
    for (size_t i = 0; i < series_count(tr) && status == GM_OK; i++) {
        status = load_series(tr, i, run, err);
    }
    if (status == GM_OK) status = load_subspace(tr, run, err);
    tr->saved = tr->count;
    tr->unsaved = false;
    return gm_run_end(run, status, err);
}
