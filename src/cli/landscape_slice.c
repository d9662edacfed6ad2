/* A slice through one point: its directions, its grid, and the values on it. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/interrupt.h"
#include "cli/landscape.h"
#include "kernels/kernels.h"

/* ---- the grid ---- */

/* From the least to the largest coordinate of the checkpoints and 0, with room; false where these
 * are one. */
static bool range_of_path(const gm_landscape_run *run, size_t a, gm_landscape_axis *axis)
{
    const double room = 0.2;
    double low = 0.0, high = 0.0;
    for (size_t i = 0; i < run->path.count; i++) {
        low = fmin(low, run->path.place[i * run->dimensions + a]);
        high = fmax(high, run->path.place[i * run->dimensions + a]);
    }
    axis->low = low - room * (high - low);
    axis->high = high + room * (high - low);
    return high > low;
}

/* Where t^2 |curvature| / 2 is four times the loss; no further than the point is from 0. */
static double reach_of(const gm_session *session, const gm_landscape_run *run, size_t a)
{
    double square = 0.0, curvature = fabs(run->model.curvature[a][a]);
    for (size_t n = 0; n < run->p; n++) {
        square += session->theta[n] * session->theta[n];
    }
    double reach = sqrt(8.0 * run->model.loss / curvature), most = sqrt(square);
    if (!(most > 0.0)) most = 1.0;
    return reach > 0.0 && reach < most ? reach : most;
}

static void choose_range(const gm_cli *cli, const gm_session *session, gm_landscape_run *run,
                         size_t a)
{
    const gm_landscape_settings *set = cli->settings;
    gm_landscape_axis *axis = &run->axis[a];
    bool line = run->along == GM_ALONG_CHECKPOINTS;
    if (set->range == 0.0 && run->path.count && range_of_path(run, a, axis)) return;
    double range = set->range > 0.0                ? set->range
                   : line                          ? 0.25
                   : run->along == GM_ALONG_RANDOM ? 1.0
                                                   : reach_of(session, run, a);
    axis->low = -range;
    axis->high = line ? 1.0 + range : range;
}

static gm_status lay_grid(const gm_cli *cli, const gm_session *session, gm_landscape_run *run,
                          gm_error *err)
{
    gm_landscape_values *v = &run->values;
    double **array[] = {&v->loss, &v->error_rate, &run->quadratic, &v->test_loss,
                        &v->test_error_rate};
    for (size_t i = 0; i < (session->test ? 5 : 3); i++) {
        *array[i] = gm_alloc(run->count, sizeof(double), "values of the slice", err);
        if (!*array[i]) return GM_ERR_MEMORY;
    }
    run->at = gm_alloc(run->count * run->dimensions, sizeof *run->at, "points of the slice", err);
    if (!run->at) return GM_ERR_MEMORY;
    for (size_t a = 0; a < run->dimensions; a++) {
        gm_landscape_axis *axis = &run->axis[a];
        choose_range(cli, session, run, a);
        axis->at = gm_alloc(run->points, sizeof *axis->at, "points of the slice", err);
        if (!axis->at) return GM_ERR_MEMORY;
        for (size_t i = 0; i < run->points; i++) {
            double share = (double)i / ((double)run->points - 1.0);
            axis->at[i] = axis->low + (axis->high - axis->low) * share;
        }
    }
    for (size_t i = 0; i < run->count; i++) {
        double *t = run->at + i * run->dimensions;
        t[0] = run->axis[0].at[run->dimensions > 1 ? i / run->points : i];
        if (run->dimensions > 1) t[1] = run->axis[1].at[i % run->points];
        run->quadratic[i] = gm_landscape_model_at(&run->model, t);
    }
    return GM_OK;
}

/* ---- measuring ---- */

static gm_landscape_slice slice_of(const gm_session *session, const gm_landscape_run *run)
{
    return (gm_landscape_slice){run->dimensions, session->theta, run->direction, run->count,
                                run->at};
}

static void show_progress(void *context, size_t done)
{
    gm_progress_update(context, done, NULL);
}

static gm_status evaluate(const gm_cli *cli, const gm_session *session, gm_landscape_run *run,
                          gm_error *err)
{
    gm_progress bar;
    gm_landscape_slice slice = slice_of(session, run);
    gm_landscape_hooks hooks = {.context = &bar,
                                .stop = gm_interrupt_requested,
                                .progress = show_progress,
                                .team = session->team};
    gm_progress_start(&bar, "landscape", "points", 0, run->count, cli->shared.quiet);
    gm_status status = gm_landscape_evaluate(session->problem, session->test_problem, &slice,
                                             &hooks, &run->values, &run->done, err);
    gm_progress_finish(&bar);
    return status;
}

/* Where the checkpoints stand on the slice. In the plane of one layer, each direction's share is
 * that of all their variance, not of the layer's alone. */
static gm_status project(const gm_session *session, gm_landscape_run *run, gm_error *err)
{
    gm_landscape_path *path = &run->path;
    gm_landscape_slice slice = slice_of(session, run);
    slice.dimensions = 1; /* first each direction alone: place is written again below */
    gm_status status = GM_OK;
    bool each = run->along == GM_ALONG_PRINCIPAL && session->layer != GM_ALL_LAYERS;
    for (size_t a = 0; status == GM_OK && each && a < run->dimensions; a++) {
        slice.direction = run->direction + a * run->p;
        status = gm_landscape_project(path->count, run->p, path->theta, &slice, path->place,
                                      path->distance, &run->axis[a].share, err);
    }
    slice = slice_of(session, run);
    if (status != GM_OK) return status;
    return gm_landscape_project(path->count, run->p, path->theta, &slice, path->place,
                                path->distance, &path->share, err);
}

/* Signs of eigenvectors are anybody's: those nearer to the directions of the point before. */
static void follow_signs(const gm_landscape_run *run)
{
    for (size_t a = 0; run->before && a < run->dimensions; a++) {
        double *d = run->direction + a * run->p;
        if (gm_kernels_get(GM_F64)->dot(run->p, d, run->before + a * run->p) >= 0.0) continue;
        for (size_t n = 0; n < run->p; n++) {
            d[n] = -d[n];
        }
    }
}

gm_status gm_landscape_measure(gm_cli *cli, gm_session *session, gm_landscape_run *run,
                               gm_error *err)
{
    gm_linearization *lin = NULL;
    run->direction = gm_alloc(run->dimensions * run->p, sizeof(double), "directions", err);
    gm_status status = run->direction ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_linearize(session->problem, session->theta, &lin, err);
    if (status == GM_OK) {
        gm_session_measure(session, lin);
        run->training_error = gm_linearization_error_rate(lin);
        if (run->path.count) status = gm_landscape_read_path(session, run, err);
    }
    if (status == GM_OK && run->to)
        status = gm_problem_value(session->problem, run->to, &run->to_loss, &run->to_error, err);
    if (status == GM_OK) status = gm_landscape_choose(cli, session, lin, run, err);
    if (status == GM_OK && run->along == GM_ALONG_EIGENVECTORS) follow_signs(run);
    if (status == GM_OK)
        status = gm_landscape_model_make(lin, run->dimensions, run->direction, &run->model, err);
    gm_linearization_free(lin);
    if (status == GM_OK && run->path.count) status = project(session, run, err);
    if (status == GM_OK) status = lay_grid(cli, session, run, err);
    return status == GM_OK ? evaluate(cli, session, run, err) : status;
}

/* ---- the next point ---- */

void gm_landscape_rest(gm_landscape_run *run, bool keep)
{
    gm_landscape_values *v = &run->values;
    double **array[] = {
        &run->at,        &v->loss,         &v->error_rate,  &v->test_loss, &v->test_error_rate,
        &run->quadratic, &run->axis[0].at, &run->axis[1].at};
    gm_free(run->before);
    run->before = keep ? run->direction : NULL;
    if (!keep) gm_free(run->direction);
    run->direction = NULL;
    for (size_t i = 0; i < sizeof array / sizeof *array; i++) {
        gm_free(*array[i]);
        *array[i] = NULL;
    }
    run->done = 0;
}
