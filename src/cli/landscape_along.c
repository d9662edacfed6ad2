/* A slice at each of several points: the checkpoints of a run, a series of files. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/document.h"
#include "cli/landscape.h"
#include "cli/record.h"

gm_status gm_landscape_record(gm_cli *cli, const gm_session *session, const gm_landscape_run *run,
                              json_t **document, gm_error *err)
{
    const gm_run_array array = {.name = "directions",
                                .dtype = GM_F64,
                                .rank = 2,
                                .dim = {run->dimensions, run->p},
                                .data = run->direction};
    char *key = gm_landscape_key(session, run, err);
    *document = key ? gm_landscape_document(cli, session, run, err) : NULL;
    gm_status status =
        *document ? gm_record_result(cli, session, key, *document, &array, 1, err) : GM_ERR_MEMORY;
    gm_free(key);
    return status;
}

static int label_width(const gm_series *series)
{
    char label[GM_SERIES_LABEL];
    int width = 10;
    for (size_t i = 0; i < series->count; i++) {
        gm_series_label(series, i, label);
        if ((int)strlen(label) > width) width = (int)strlen(label);
    }
    return width;
}

/* Point `index`, in the run file and on a line of its own; *document is its document. */
static gm_status take_point(gm_cli *cli, gm_session *session, gm_series *series,
                            gm_landscape_run *run, size_t index, json_t *entries, json_t **document,
                            gm_error *err)
{
    char label[GM_SERIES_LABEL], *whole = session->point;
    int width = label_width(series);
    gm_series_label(series, index, label);
    gm_status status = gm_series_read(series, index, &session->step, session->theta, err);
    if (status != GM_OK) return status;
    session->point = gm_series_point(series, index, err);
    if (!session->point) status = GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_landscape_measure(cli, session, run, err);
    if (status == GM_OK && run->done < run->count)
        status = gm_fail(err, GM_ERR_INTERRUPTED,
                         "interrupted after %zu of %zu points, the finished ones are kept", index,
                         series->count);
    if (status == GM_OK) {
        json_decref(*document);
        status = gm_landscape_record(cli, session, run, document, err);
    }
    gm_free(session->point);
    session->point = whole;
    if (status != GM_OK) return status;
    json_array_append_new(entries, gm_landscape_entry(cli, session, run, label));
    if (cli->shared.json) return GM_OK;
    if (index == 0) {
        session->measured = false; /* f of the first point is none of the series */
        gm_document_describe(session);
        session->measured = true;
        gm_landscape_print_header(session, run, width);
    }
    gm_landscape_print_point(session, run, label, width);
    return GM_OK;
}

gm_status gm_landscape_along(gm_cli *cli, gm_session *session, gm_series *series,
                             gm_landscape_run *run, gm_error *err)
{
    json_t *entries = json_array(), *document = NULL;
    size_t done = 0;
    bool found = false;
    gm_error later = {0}; /* err holds what an interruption is reported by */
    gm_status status = gm_series_await(series, 0, &found, err);
    while (status == GM_OK && found) {
        status = take_point(cli, session, series, run, done, entries, &document, err);
        if (status != GM_OK) break;
        gm_landscape_rest(run, true);
        status = gm_series_await(series, ++done, &found, err);
    }
    gm_status end = GM_OK;
    if (done && (status == GM_OK || status == GM_ERR_INTERRUPTED)) {
        end = gm_series_finish(series, done, status == GM_ERR_INTERRUPTED, &later);
        if (end == GM_OK && document && cli->shared.json) {
            json_object_set(document, "series", entries);
            end = gm_document_print(cli, document, &later);
            document = NULL;
        }
    }
    json_decref(document);
    json_decref(entries);
    if (end != GM_OK && err) *err = later;
    return end != GM_OK ? end : status;
}
