/* Points along a run at which `gradiometer dynamics` measures. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/dynamics.h"

void gm_points_free(gm_points *points)
{
    gm_free(points->step);
    *points = (gm_points){0};
}

static bool holds(const int64_t *step, size_t count, int64_t wanted)
{
    for (size_t i = 0; i < count; i++) {
        if (step[i] == wanted) return true;
    }
    return false;
}

gm_status gm_points_parse(const char *text, gm_points *points, gm_error *err)
{
    *points = (gm_points){0};
    points->step = gm_alloc(strlen(text) / 2 + 1, sizeof *points->step, "steps", err);
    if (!points->step) return GM_ERR_MEMORY;
    for (const char *at = text;; at++) {
        char *end = NULL;
        errno = 0;
        long long step = *at >= '0' && *at <= '9' ? strtoll(at, &end, 10) : -1;
        if (step < 0 || errno || (*end != ',' && *end != '\0')) {
            return gm_fail(err, GM_ERR_USAGE,
                           "--at: found '%.60s', expected steps separated by commas", text);
        }
        if (points->count > 0 && step <= points->step[points->count - 1]) {
            return gm_fail(err, GM_ERR_USAGE, "--at: found '%.60s', expected ascending steps",
                           text);
        }
        points->step[points->count++] = step;
        at = end;
        if (*at == '\0') return GM_OK;
    }
}

gm_status gm_points_check(const gm_cli *cli, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    gm_points points = {0};
    gm_status status = set->at ? gm_points_parse(set->at, &points, err) : GM_OK;
    gm_points_free(&points);
    return status;
}

/* Each of the steps of --at is a checkpoint. */
static gm_status check_kept(const gm_session *session, const int64_t *kept, size_t checkpoints,
                            const gm_points *points, gm_error *err)
{
    for (size_t i = 0; i < points->count; i++) {
        if (holds(kept, checkpoints, points->step[i])) continue;
        return gm_fail(err, GM_ERR_INPUT, "--at: %s holds no parameters of step %" PRId64,
                       gm_run_path(session->run), points->step[i]);
    }
    return GM_OK;
}

gm_status gm_points_find(const gm_cli *cli, const gm_session *session, gm_points *points,
                         gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    int64_t *kept = NULL;
    size_t checkpoints = 0;
    *points = (gm_points){0};
    if (set->at && (!session->run || session->run_step)) {
        return gm_fail(err, GM_ERR_USAGE, "--at: expected a whole run in --params, as run.gmr");
    }
    gm_status status = GM_OK;
    if (session->run && !session->run_step) {
        status = gm_run_checkpoints(session->run, &kept, &checkpoints, err);
        if (status != GM_OK) return status;
    }
    if (set->at) {
        status = gm_points_parse(set->at, points, err);
        if (status == GM_OK) status = check_kept(session, kept, checkpoints, points, err);
        gm_run_free(kept);
        return status;
    }
    points->step = gm_alloc(checkpoints + 1, sizeof *points->step, "steps", err);
    if (!points->step) {
        status = GM_ERR_MEMORY;
    } else if (checkpoints) {
        memcpy(points->step, kept, checkpoints * sizeof *kept);
        points->count = checkpoints;
    } else {
        points->step[points->count++] = session->step;
    }
    gm_run_free(kept);
    return status;
}

gm_status gm_points_load(const gm_session *session, int64_t step, double *theta, gm_error *err)
{
    size_t p = gm_problem_parameters(session->problem), found = 0;
    double *from_run = NULL;
    if (!session->run || session->run_step) {
        memcpy(theta, session->theta, p * sizeof *theta);
        return GM_OK;
    }
    gm_status status = gm_run_parameters(session->run, step, &from_run, &found, NULL, err);
    if (status == GM_OK && found != p) {
        status =
            gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: step %" PRId64 " has %zu parameters",
                    gm_run_path(session->run), step, found);
    }
    if (status == GM_OK) memcpy(theta, from_run, p * sizeof *theta);
    gm_run_free(from_run);
    return status;
}

gm_status gm_points_step_size(const gm_session *session, int64_t step, double *eta, gm_error *err)
{
    int64_t *at = NULL;
    double *value = NULL;
    size_t count = 0;
    *eta = (double)NAN;
    if (!session->run) return GM_OK;
    gm_status status = gm_run_metric(session->run, "step_size", &at, &value, &count, err);
    for (size_t i = 0; i < count && at[i] <= step; i++) {
        *eta = value[i];
    }
    gm_run_free(at);
    gm_run_free(value);
    return status;
}

gm_status gm_points_batch(const gm_cli *cli, const gm_session *session, size_t *batch,
                          gm_replacement *replacement, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const char *trained = gm_dynamics_recorded(session, "train.batch");
    const char *text = set->batch ? set->batch : trained ? trained : "1";
    size_t count, n = session->data->n;
    double number;
    gm_status status = gm_dynamics_list("batch", text, true, 1, &number, &count, err);
    if (status != GM_OK) return status;
    *batch = (size_t)number;
    *replacement = gm_dynamics_replacement(cli, session);
    status = gm_dynamics_check_batches(*replacement, true, 1, &number, n, err);
    if (status != GM_OK) return status;
    return gm_session_check_matrix(session, "the indices of a mini-batch", 1, 1, *batch, err);
}

gm_status gm_points_measure_session(gm_session *session, gm_error *err)
{
    gm_linearization *lin = NULL;
    gm_status status = gm_linearize(session->problem, session->theta, &lin, err);
    if (status == GM_OK) gm_session_measure(session, lin);
    gm_linearization_free(lin);
    return status;
}
