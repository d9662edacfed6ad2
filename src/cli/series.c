#include "cli/series.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/natural.h"
#include "cli/document.h"
#include "cli/interrupt.h"

/* ---- a series of files ---- */

const char *gm_series_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int64_t gm_series_number(const char *path)
{
    const char *name = gm_series_name(path), *end = strrchr(name, '.');
    if (!end) end = name + strlen(name);
    while (end > name && !isdigit((unsigned char)end[-1])) {
        end--;
    }
    const char *begin = end;
    while (begin > name && isdigit((unsigned char)begin[-1])) {
        begin--;
    }
    errno = 0;
    long long number = begin < end ? strtoll(begin, NULL, 10) : -1;
    return errno ? -1 : number;
}

static bool is_pattern(const char *params)
{
    return params && strpbrk(params, "*?[") && access(params, F_OK) != 0;
}

bool gm_series_asked(const gm_cli *cli)
{
    const char *params = cli->shared.params;
    return cli->shared.watch || gm_session_asks_all(params) || is_pattern(params);
}

static int in_natural_order(const void *a, const void *b)
{
    return gm_natural_compare(*(char *const *)a, *(char *const *)b);
}

/* Numbers in the names where these ascend, else places. */
static void set_steps(gm_series *series)
{
    bool ascending = true;
    for (size_t i = 0; i < series->count; i++) {
        series->step[i] = gm_series_number(series->path[i]);
        ascending =
            ascending && series->step[i] >= 0 && (i == 0 || series->step[i] > series->step[i - 1]);
    }
    for (size_t i = 0; !ascending && i < series->count; i++) {
        series->step[i] = (int64_t)i;
    }
}

static gm_status keep_files(gm_series *series, const char *pattern, size_t count, char **path,
                            gm_error *err)
{
    series->step = gm_alloc(count, sizeof *series->step, "points", err);
    series->path = gm_alloc(count, sizeof *series->path, "points", err);
    if (!series->step || !series->path) return GM_ERR_MEMORY;
    qsort(path, count, sizeof *path, in_natural_order);
    for (size_t i = 0; i < count; i++) {
        if (!gm_session_names_parameters(path[i])) {
            return gm_fail(err, GM_ERR_USAGE,
                           "--params: '%s' matches %s, expected .npy or .safetensors files alone",
                           pattern, path[i]);
        }
        series->path[i] = gm_strdup(path[i], err);
        if (!series->path[i]) return GM_ERR_MEMORY;
        series->count++;
    }
    set_steps(series);
    return GM_OK;
}

static gm_status find_files(gm_series *series, const char *pattern, gm_error *err)
{
    glob_t found = {0};
    gm_status status;
    int code = glob(pattern, GLOB_NOSORT | GLOB_ERR, NULL, &found);
    if (code == GLOB_NOSPACE) {
        status = gm_fail(err, GM_ERR_MEMORY, "--params: '%s': no memory for the names", pattern);
    } else if (code != 0) {
        status = gm_fail(err, GM_ERR_IO, "--params: '%s' matches no file", pattern);
    } else {
        status = keep_files(series, pattern, found.gl_pathc, found.gl_pathv, err);
    }
    globfree(&found);
    return status;
}

/* ---- the numbers in a file ---- */

/* Of theta [p], whatever file it is in. */
static uint64_t hash_of(const double *theta, size_t p)
{
    return gm_hash(gm_hash_start, theta, p * sizeof *theta);
}

static void hash_text(uint64_t hash, char text[GM_SESSION_HASH])
{
    snprintf(text, GM_SESSION_HASH, "%016llx", (unsigned long long)hash);
}

bool gm_series_hash(const gm_series *series, const char *path, uint64_t *hash)
{
    const gm_net *net = series->session->net;
    gm_error unread;
    double *theta = gm_alloc(gm_net_parameters(net), sizeof *theta, "parameters", &unread);
    bool read = theta && gm_net_read_parameters(net, path, theta, NULL, &unread) == GM_OK;
    if (read) *hash = hash_of(theta, gm_net_parameters(net));
    gm_free(theta);
    return read;
}

/* What cannot be read is not what was measured: to measure it says why. */
static bool file_holds(void *self, const char *path, uint64_t hash)
{
    uint64_t found;
    return gm_series_hash(self, path, &found) && found == hash;
}

/* ---- open, find, close ---- */

static gm_status open_watch(gm_cli *cli, gm_series *series, gm_error *err)
{
    const gm_shared *shared = &cli->shared;
    series->watched = series->trajectory = true;
    series->count = 0;
    series->last_result = -1;
    if (shared->model) series->model = gm_stamp_of(shared->model);
    gm_status status = gm_watch_open(cli, shared->watch, shared->watch_until, shared->watch_idle,
                                     &series->watch, err);
    series->watch.holds = file_holds;
    series->watch.self = series;
    return status;
}

gm_status gm_series_open(gm_cli *cli, gm_series *series, gm_error *err)
{
    *series = (gm_series){.cli = cli, .count = 1};
    if (cli->shared.watch) return open_watch(cli, series, err);
    gm_status status = gm_session_strip_all(cli->shared.params, &series->params, err);
    if (status != GM_OK) return status;
    series->all = series->params != NULL;
    if (series->all) cli->shared.params = series->params;
    series->trajectory = series->all || is_pattern(cli->shared.params);
    if (series->all || !series->trajectory) return GM_OK;
    series->count = 0;
    status = find_files(series, cli->shared.params, err);
    if (status == GM_OK) cli->shared.params = series->path[series->count - 1];
    return status;
}

/* What the session says of itself: f is at the last point. */
static gm_status name_point(const gm_series *series, gm_session *session, gm_error *err)
{
    size_t last = series->count - 1;
    char *point =
        series->all
            ? gm_format(err, "%s, %zu checkpoints from step %lld to %lld; f at the last one",
                        gm_run_path(session->run), series->count, (long long)series->step[0],
                        (long long)series->step[last])
            : gm_format(err, "%zu files from %s to %s; f at the last one", series->count,
                        series->path[0], series->path[last]);
    if (!point) return GM_ERR_MEMORY;
    gm_free(session->point);
    session->point = point;
    session->step = series->step[last];
    return GM_OK;
}

gm_status gm_series_attach(gm_series *series, gm_session *session, gm_error *err)
{
    series->session = session;
    if (!series->trajectory || series->watched) return GM_OK;
    gm_status status = GM_OK;
    if (series->all && !session->run) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--params: found '%s@all', expected a run file before @all",
                       session->shared.params);
    }
    if (series->all) {
        int64_t *step = NULL;
        status = gm_run_checkpoints(session->run, &step, &series->count, err);
        if (status != GM_OK || series->count == 0) return status;
        series->step = gm_alloc(series->count, sizeof *series->step, "points", err);
        if (series->step) memcpy(series->step, step, series->count * sizeof *step);
        gm_run_free(step);
        if (!series->step) return GM_ERR_MEMORY;
    }
    return name_point(series, session, err);
}

void gm_series_close(gm_series *series)
{
    gm_watch_close(&series->watch);
    for (size_t i = 0; series->path && i < series->count; i++) {
        gm_free(series->path[i]);
    }
    gm_free(series->path);
    gm_free(series->step);
    gm_free(series->params);
    memset(series, 0, sizeof *series);
}

/* ---- one point ---- */

/* While a folder is watched its model must stay what was read: files that come belong to it. */
static gm_status check_model_file(gm_series *series, gm_error *err)
{
    const gm_session *session = series->session;
    gm_onnx *model = NULL;
    gm_onnx_options options;
    gm_error unread = {0};
    if (!session->onnx) return GM_OK;
    const char *path = session->onnx->path;
    gm_stamp now = gm_stamp_of(path);
    if (now.size < 0 || gm_stamp_equal(now, series->model)) return GM_OK;
    gm_onnx_options_default(&options);
    options.logits = session->shared.logits;
    options.constants = session->shared.constants;
    gm_status status = gm_onnx_load(path, &options, &model, &unread);
    unsigned long found = status == GM_OK ? model->checksum : 0;
    gm_onnx_free(model);
    if (status == GM_ERR_MEMORY) return gm_fail(err, status, "%s", unread.message);
    if (status != GM_OK) {
        return gm_fail(err, GM_ERR_INPUT,
                       "--model %s has changed while the folder was watched, and is no model now: "
                       "%s",
                       path, unread.message);
    }
    if (found != session->onnx->checksum) {
        return gm_fail(err, GM_ERR_INPUT,
                       "--model %s has changed while the folder was watched: checksum %08lx, "
                       "expected %08lx; what was measured before is kept",
                       path, found, session->onnx->checksum);
    }
    series->model = now;
    return GM_OK;
}

/* One more file of the watched folder, if one comes. */
static gm_status await_file(gm_series *series, gm_error *err)
{
    char *path = NULL;
    int64_t step = 0;
    if (series->count == series->capacity) {
        size_t capacity = series->capacity ? 2 * series->capacity : 64;
        char **paths = gm_alloc(capacity, sizeof *paths, "points", err);
        int64_t *steps = gm_alloc(capacity, sizeof *steps, "points", err);
        if (!paths || !steps) {
            gm_free(paths);
            gm_free(steps);
            return GM_ERR_MEMORY;
        }
        if (series->count) {
            memcpy(paths, series->path, series->count * sizeof *paths);
            memcpy(steps, series->step, series->count * sizeof *steps);
        }
        gm_free(series->path);
        gm_free(series->step);
        series->path = paths;
        series->step = steps;
        series->capacity = capacity;
    }
    gm_status status = gm_watch_next(&series->watch, &path, &step, err);
    if (status == GM_OK && path) status = check_model_file(series, err);
    if (status != GM_OK) gm_free(path);
    if (status != GM_OK || !path) return status;
    series->step[series->count] = step;
    series->path[series->count++] = path;
    return GM_OK;
}

static gm_status interrupted(const gm_series *series, size_t index, gm_error *err)
{
    if (series->watched && series->cli->shared.output) {
        return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted after %zu points; to go on: %s", index,
                       series->cli->line);
    }
    if (series->watched) {
        return gm_fail(err, GM_ERR_INTERRUPTED,
                       "interrupted after %zu points; with -o RUN.gmr the same command would go on",
                       index);
    }
    return gm_fail(err, GM_ERR_INTERRUPTED,
                   "interrupted after %zu of %zu points, the finished ones are kept; a single one "
                   "is done by --params %s",
                   index, series->count, series->path ? "FILE" : "RUN@STEP");
}

gm_status gm_series_await(gm_series *series, size_t index, bool *found, gm_error *err)
{
    gm_status status = GM_OK;
    if (series->watched && index == 0) gm_interrupt_install();
    if (series->watched && index >= series->count) status = await_file(series, err);
    *found = index < series->count;
    if (status == GM_ERR_INTERRUPTED ||
        (*found && gm_interrupt_agreed((void *)series->cli->team))) {
        return interrupted(series, index, err);
    }
    return status;
}

/* ---- one point of them ---- */

char *gm_series_point(const gm_series *series, size_t index, gm_error *err)
{
    if (series->path) return gm_strdup(series->path[index], err);
    if (!series->step) return gm_strdup(series->session->point, err);
    return gm_format(err, "%s, step %lld", gm_run_path(series->session->run),
                     (long long)series->step[index]);
}

static gm_status read_checkpoint(const gm_series *series, size_t index, double *theta,
                                 gm_error *err)
{
    double *stored = NULL;
    gm_run *run = series->session->run;
    int64_t step = series->step[index];
    size_t found, size = gm_net_parameters(series->session->net);
    gm_status status = gm_run_parameters(run, step, &stored, &found, NULL, err);
    if (status != GM_OK) return status;
    if (found == size) {
        memcpy(theta, stored, size * sizeof *theta);
    } else {
        status = gm_fail(err, GM_ERR_INPUT, "%s: step %lld holds %zu parameters, expected %zu",
                         gm_run_path(run), (long long)step, found, size);
    }
    gm_run_free(stored);
    return status;
}

gm_status gm_series_read(gm_series *series, size_t index, int64_t *step, double *theta,
                         gm_error *err)
{
    gm_session *session = series->session;
    if (!series->step) {
        *step = session->step;
        memcpy(theta, session->theta, gm_net_parameters(session->net) * sizeof *theta);
        return GM_OK;
    }
    *step = series->step[index];
    if (!series->path) return read_checkpoint(series, index, theta, err);
    gm_status status = gm_net_read_parameters(session->net, series->path[index], theta, NULL, err);
    if (status != GM_OK) return status;
    uint64_t hash = hash_of(theta, gm_net_parameters(session->net));
    hash_text(hash, session->params_hash);
    if (series->watched)
        gm_watch_measured(&series->watch, gm_series_name(series->path[index]), hash);
    return GM_OK;
}

void gm_series_label(const gm_series *series, size_t index, char text[GM_SERIES_LABEL])
{
    if (series->path) {
        snprintf(text, GM_SERIES_LABEL, "%.*s", GM_SERIES_LABEL - 1,
                 gm_series_name(series->path[index]));
    } else {
        snprintf(text, GM_SERIES_LABEL, "step %lld",
                 (long long)(series->step ? series->step[index] : series->session->step));
    }
}

gm_status gm_series_finish(gm_series *series, size_t finished, bool interrupted, gm_error *err)
{
    char first[GM_SERIES_LABEL], last[GM_SERIES_LABEL];
    gm_series_label(series, 0, first);
    gm_series_label(series, finished - 1, last);
    if (series->step) series->session->step = series->step[finished - 1];
    if (interrupted && !series->watched) {
        gm_cli_note(series->cli,
                    "interrupted after %zu of %zu points, %s to %s: f is at the last one", finished,
                    series->count, first, last);
    }
    if (!series->watched) return GM_OK;
    char *point = gm_format(err, "%zu files of %s from %s to %s; f at the last one", finished,
                            series->watch.folder, first, last);
    if (!point) return GM_ERR_MEMORY;
    gm_free(series->session->point);
    series->session->point = point;
    return GM_OK;
}

gm_status gm_series_print_nothing(const gm_series *series, gm_error *err)
{
    gm_cli *cli = series->cli;
    if (!cli->shared.json) {
        printf("nothing new in %s; %zu points are done\n", series->watch.folder, series->earlier);
        return GM_OK;
    }
    json_t *document = gm_document_create(cli, series->session, err);
    if (!document) return GM_ERR_MEMORY;
    json_object_set_new(document, "trajectory", json_array());
    return gm_document_print(cli, document, err);
}
