/* The gauges in the run file: metrics as they come, and the state as a result with two arrays. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "run/store.h"
#include "track/watch.h"

const char *const gm_gauge_series_name[GM_SERIES] = {"gauge/gradient_square",
                                                     "gauge/gradient_square_error",
                                                     "gauge/trace",
                                                     "gauge/trace_error",
                                                     "gauge/noise_scale",
                                                     "gauge/noise_scale_error",
                                                     "gauge/batch_sharpness",
                                                     "gauge/batch_sharpness_mean",
                                                     "gauge/batch_sharpness_error",
                                                     "gauge/sharpness",
                                                     "gauge/sharpness_mean",
                                                     "gauge/sharpness_error",
                                                     "gauge/interaction",
                                                     "gauge/interaction_error",
                                                     "gauge/delta",
                                                     "gauge/delta_expected",
                                                     "gauge/delta_band",
                                                     "gauge/alarm"};

static const char command[] = "track", key[] = "gauges";
static const char numbers_name[] = "state", vector_name[] = "vector";

gm_status gm_watch_note(gm_gauge_watch *w, uint64_t t, gm_gauge_series series, double value,
                        gm_error *err)
{
    if (w->metrics == w->room) {
        size_t room = w->room ? 2 * w->room : 1024;
        gm_metric *larger = gm_alloc(room, sizeof *larger, "gauges", err);
        if (!larger) return GM_ERR_MEMORY;
        if (w->metrics) memcpy(larger, w->metric, w->metrics * sizeof *larger);
        gm_free(w->metric);
        w->metric = larger;
        w->room = room;
    }
    w->metric[w->metrics++] = (gm_metric){(int64_t)t, gm_gauge_series_name[series], value};
    return GM_OK;
}

static gm_status save_state(const gm_gauge_watch *w, gm_run *run, gm_error *err)
{
    char spec[GM_TRACK_TEXT], json[GM_TRACK_TEXT + 64];
    gm_gauge_watch_print(&w->options, spec);
    snprintf(json, sizeof json, "{\"command\":\"track\",\"track\":\"%s\"}", spec);
    double *vector = gm_alloc(w->p, sizeof *vector, "vector of the gauges", err);
    if (!vector) return GM_ERR_MEMORY;
    w->k->to_double(w->p, w->vector, vector);
    gm_run_result result = {.command = command, .step = GM_RUN_NO_STEP, .key = key, .json = json};
    gm_run_array array[] = {
        {.name = numbers_name,
         .dtype = GM_F64,
         .rank = 1,
         .dim = {GM_WATCH_NUMBERS},
         .data = (double *)&w->state},
        {.name = vector_name, .dtype = w->k->dtype, .rank = 1, .dim = {w->p}, .data = vector}};
    gm_status status = gm_run_add_result(run, &result, array, 2, NULL, err);
    gm_free(vector);
    return status;
}

gm_status gm_gauge_watch_save(gm_gauge_watch *w, gm_run *run, gm_error *err)
{
    if (!w->unsaved) return GM_OK;
    gm_status status = gm_run_begin_write(run, err);
    if (status != GM_OK) return status;
    if (w->metrics) status = gm_run_add_metrics(run, w->metric, w->metrics, err);
    if (status == GM_OK) status = save_state(w, run, err);
    status = gm_run_end(run, status, err);
    if (status != GM_OK) return status;
    w->metrics = 0;
    w->unsaved = false;
    return GM_OK;
}

/* *array of this size; GM_ERR_INPUT for another. */
static gm_status load_array(gm_run *run, int64_t id, const char *name, size_t size,
                            gm_run_array **array, gm_error *err)
{
    gm_status status = gm_run_load_array(run, id, name, array, err);
    if (status != GM_OK || ((*array)->rank == 1 && (*array)->dim[0] == size)) return status;
    return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: %s does not fit the gauges",
                   gm_run_path(run), name);
}

static gm_status load_state(gm_gauge_watch *w, int64_t id, gm_run *run, gm_error *err)
{
    gm_run_array *numbers = NULL, *vector = NULL;
    gm_status status = load_array(run, id, numbers_name, GM_WATCH_NUMBERS, &numbers, err);
    if (status == GM_OK) status = load_array(run, id, vector_name, w->p, &vector, err);
    if (status == GM_OK) {
        memcpy(&w->state, numbers->data, sizeof w->state);
        w->k->from_double(w->p, vector->data, w->vector);
    }
    gm_run_free(numbers);
    gm_run_free(vector);
    return status;
}

gm_status gm_gauge_watch_load(gm_gauge_watch *w, gm_run *run, gm_error *err)
{
    gm_run_result *result = NULL;
    size_t count = 0;
    gm_status status = gm_run_begin_read(run, err);
    if (status != GM_OK) return status;
    status = gm_run_results(run, command, &result, &count, err);
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        if (strcmp(result[i].key, key) == 0) status = load_state(w, result[i].id, run, err);
    }
    gm_run_free(result);
    w->metrics = 0;
    w->unsaved = false;
    return gm_run_end(run, status, err);
}
