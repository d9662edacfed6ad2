/* What a run file has of a watched folder already: points that are done, unless their files, the
 * model or the data are others now. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/series.h"

static bool has_text(const json_t *document, const char *group, const char *key, const char *text)
{
    const char *found = json_string_value(json_object_get(json_object_get(document, group), key));
    return found && strcmp(found, text) == 0;
}

/* The same net on the same data, as far as the document says. */
static bool same_problem(const gm_session *session, const json_t *document)
{
    const json_t *p = json_object_get(json_object_get(document, "model"), "parameters");
    return has_text(document, "model", "name", gm_net_name(session->net)) &&
           has_text(document, "data", "name", session->data->name) &&
           json_integer_value(p) == (json_int_t)gm_net_parameters(session->net);
}

/* A file in --model that was exported anew, however alike its graph. */
static gm_status check_model(const gm_series *series, const json_t *document, gm_error *err)
{
    const gm_session *session = series->session;
    const json_t *model = json_object_get(document, "model");
    const char *measured = json_string_value(json_object_get(model, "crc32"));
    char found[32];
    if (!session->onnx || !measured) return GM_OK;
    snprintf(found, sizeof found, "%08lx", session->onnx->checksum);
    if (strcmp(found, measured) == 0) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT,
                   "--output: %s holds this measurement of %s before it changed: checksum %s, now "
                   "%s; expected another file",
                   series->cli->shared.output, session->onnx->path, measured, found);
}

/* The file at a point is done unless it holds other numbers than were measured. One that is gone or
 * cannot be read has not changed. */
static gm_status skip_unchanged(gm_series *series, const gm_run_result *result,
                                const json_t *document, const char *point, gm_error *err)
{
    const char *measured = json_string_value(json_object_get(document, "params_hash"));
    char *path = gm_format(err, "%s/%s", series->watch.folder, gm_series_name(point));
    if (!path) return GM_ERR_MEMORY;
    uint64_t hash = measured ? strtoull(measured, NULL, 16) : 0, found;
    gm_stamp stamp = gm_stamp_of(path);
    bool changed = measured && gm_series_hash(series, path, &found) && found != hash;
    gm_free(path);
    if (changed) {
        gm_cli_note(series->cli, "%s has changed since it was measured, and is measured again",
                    gm_series_name(point));
        return GM_OK;
    }
    series->earlier++;
    if (result->id > series->last_result) series->last_result = result->id;
    return gm_watch_skip(&series->watch, gm_series_name(point), result->step, stamp, hash, err);
}

/* A result of the same measurement: its file is done, unless it has changed since. */
static gm_status skip_result(gm_series *series, const gm_run_result *result, gm_error *err)
{
    const gm_session *session = series->session;
    json_t *document = json_loads(result->json, 0, NULL);
    const char *point = json_string_value(json_object_get(document, "point"));
    gm_status status = GM_OK;
    if (!same_problem(session, document)) {
        status =
            gm_fail(err, GM_ERR_INPUT,
                    "--output: %s holds this measurement of another net or other data, at step "
                    "%lld; expected another file",
                    series->cli->shared.output, (long long)result->step);
    } else if (point) {
        status = check_model(series, document, err);
        if (status == GM_OK) status = skip_unchanged(series, result, document, point, err);
    }
    json_decref(document);
    return status;
}

gm_status gm_series_skip_recorded(gm_series *series, const char *key, gm_error *err)
{
    const gm_cli *cli = series->cli;
    gm_run *run = NULL;
    gm_run_result *result = NULL;
    size_t count = 0;
    if (!series->watched || !cli->shared.output || access(cli->shared.output, F_OK) != 0) {
        return GM_OK;
    }
    gm_status status = gm_run_open(cli->shared.output, GM_RUN_READ, &run, err);
    if (status == GM_OK) status = gm_run_results(run, cli->command->name, &result, &count, err);
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        if (strcmp(result[i].key, key) == 0) status = skip_result(series, &result[i], err);
    }
    gm_run_free(result);
    gm_run_close(run);
    if (status == GM_OK && series->earlier) {
        gm_cli_note(series->cli, "%zu points are in %s already", series->earlier,
                    cli->shared.output);
    }
    return status;
}
