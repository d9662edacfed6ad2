/* gradiometer landscape: the loss on slices through parameter space. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/document.h"
#include "cli/interrupt.h"
#include "cli/landscape.h"
#include "cli/record.h"

static const gm_landscape_settings defaults = {.dimensions = 1};

static const char *const end_words[] = {"LA", "SA", "BE", "LM", NULL};

#define AT(field) offsetof(gm_landscape_settings, field)

static const gm_option options[] = {
    {"along", 0, "DIRECTIONS",
     "eigenvectors (of the Hessian; the default), gradient (with two dimensions and the leading "
     "eigenvector, made orthogonal to it), random (normal numbers of --seed, each filter scaled to "
     "the norm of the net's own, biases and parameters of normalizations left alone), checkpoints "
     "(the line to --to), principal (the plane that the run's checkpoints keep closest to).",
     gm_option_choice, AT(along), gm_along_words, 0},
    {"dimensions", 0, "1|2", "A line (default) or a plane.", gm_option_count, AT(dimensions), NULL,
     2},
    {"which", 0, "END",
     "eigenvectors: LA the largest eigenvalues (default), SA the smallest, BE one of either end, "
     "LM the largest in magnitude.",
     gm_option_choice, AT(which), end_words, 0},
    {"to", 0, "FILE",
     "The other end of the line: .npy, .safetensors, run.gmr or run.gmr@STEP. Coordinate 0 is the "
     "point of --params, 1 that of --to.",
     gm_option_text, AT(to), NULL, 0},
    {"trajectory", 0, NULL,
     "Place the checkpoints kept in the run file of --params on the slice and say how much of "
     "their variance it keeps. Without --along: on their principal plane.",
     gm_option_flag, AT(trajectory), NULL, 0},
    {"range", 0, "R",
     "Coordinates from -R to R, for checkpoints from -R to 1 + R. Default: 1 for random "
     "directions, 0.25 for checkpoints, with --trajectory what the checkpoints need, else where "
     "the curvature alone would raise the loss to five times its value.",
     gm_option_positive, AT(range), NULL, 0},
    {"points", 0, "N",
     "Grid points along each axis, at least 2 (default 61 on a line, 31 on a "
     "plane).",
     gm_option_count, AT(points), NULL, 0},
    {0}};

/* ---- options ---- */

static gm_status choose_along(const gm_cli *cli, gm_landscape_run *run, gm_error *err)
{
    const gm_landscape_settings *set = cli->settings;
    bool given = gm_cli_given(cli, "along");
    run->along = given             ? set->along
                 : set->to         ? GM_ALONG_CHECKPOINTS
                 : set->trajectory ? GM_ALONG_PRINCIPAL
                                   : GM_ALONG_EIGENVECTORS;
    run->dimensions = set->dimensions;
    if (!given && run->along == GM_ALONG_PRINCIPAL && !gm_cli_given(cli, "dimensions"))
        run->dimensions = 2;
    if (run->along == GM_ALONG_CHECKPOINTS && !set->to)
        return gm_fail(err, GM_ERR_USAGE,
                       "--along checkpoints: --to FILE is needed, the other end of the line");
    if (set->to && run->along != GM_ALONG_CHECKPOINTS)
        return gm_fail(err, GM_ERR_USAGE, "--to: only with --along checkpoints, found --along %s",
                       gm_along_words[run->along]);
    if (run->along == GM_ALONG_CHECKPOINTS && run->dimensions > 1)
        return gm_fail(err, GM_ERR_USAGE,
                       "--dimensions: found 2, expected 1 for the line to another checkpoint");
    if (gm_cli_given(cli, "which") && run->along != GM_ALONG_EIGENVECTORS)
        return gm_fail(err, GM_ERR_USAGE, "--which: only with --along eigenvectors");
    return GM_OK;
}

static gm_status check_tolerance(const gm_session *session, const gm_landscape_run *run,
                                 gm_error *err)
{
    double tol = session->shared.tol, floor = gm_eigen_floor(session->precision);
    size_t k = run->along == GM_ALONG_GRADIENT ? 2 : run->dimensions;
    bool pairs = run->along == GM_ALONG_EIGENVECTORS ||
                 (run->along == GM_ALONG_GRADIENT && run->dimensions > 1);
    if (!pairs) return GM_OK;
    if (tol > 0.0 && !(tol >= floor && tol <= 1.0))
        return gm_fail(err, GM_ERR_USAGE, "--tol: found %g, expected %.2g ... 1 in %s", tol, floor,
                       gm_dtype_name(session->precision));
    if (k > run->p)
        return gm_fail(err, GM_ERR_USAGE,
                       "--dimensions: %zu eigenvectors, but the net has %zu parameter%s", k, run->p,
                       run->p == 1 ? "" : "s");
    return GM_OK;
}

static gm_status check_sizes(const gm_cli *cli, const gm_session *session, gm_landscape_run *run,
                             gm_error *err)
{
    const gm_landscape_settings *set = cli->settings;
    run->points = set->points ? set->points : run->dimensions > 1 ? 31 : 61;
    if (run->points < 2)
        return gm_fail(err, GM_ERR_USAGE, "--points: found 1, expected at least 2");
    run->count = run->points;
    gm_status status =
        gm_session_check_matrix(session, "the values of --points", 4 + run->dimensions, run->points,
                                run->dimensions > 1 ? run->points : 1, err);
    if (status != GM_OK) return status;
    if (run->dimensions > 1) run->count *= run->points;
    return gm_session_check_matrix(session, "the directions", 2, run->dimensions, run->p, err);
}

static gm_status prepare(gm_cli *cli, const gm_session *session, gm_landscape_run *run,
                         gm_error *err)
{
    const gm_landscape_settings *set = cli->settings;
    run->p = gm_net_parameters(session->net);
    gm_status status = check_tolerance(session, run, err);
    if (status == GM_OK) status = check_sizes(cli, session, run, err);
    if (status == GM_OK) status = gm_landscape_read_to(cli, session, run, err);
    bool path = set->trajectory || run->along == GM_ALONG_PRINCIPAL;
    if (status == GM_OK && path) status = gm_landscape_find_path(session, run, err);
    return status == GM_OK ? gm_record_check(cli, err) : status;
}

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
    double **array[] = {&run->loss, &run->error, &run->quadratic, &run->test_error};
    for (size_t i = 0; i < (session->test ? 4 : 3); i++) {
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
    gm_landscape_hooks hooks = {
        .context = &bar, .stop = gm_interrupt_requested, .progress = show_progress};
    gm_progress_start(&bar, "landscape", "points", 0, run->count, cli->shared.quiet);
    gm_status status =
        gm_landscape_evaluate(session->problem, session->test_problem, &slice, &hooks, run->loss,
                              run->error, run->test_error, &run->done, err);
    gm_progress_finish(&bar);
    return status;
}

static gm_status measure(gm_cli *cli, gm_session *session, gm_landscape_run *run, gm_error *err)
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
    if (status == GM_OK)
        status = gm_landscape_model_make(lin, run->dimensions, run->direction, &run->model, err);
    gm_linearization_free(lin);
    if (status == GM_OK && run->path.count) {
        gm_landscape_slice slice = slice_of(session, run);
        status = gm_landscape_project(run->path.count, run->p, run->path.theta, &slice,
                                      run->path.place, run->path.distance, &run->path.share, err);
    }
    if (status == GM_OK) status = lay_grid(cli, session, run, err);
    return status == GM_OK ? evaluate(cli, session, run, err) : status;
}

/* ---- the command ---- */

static gm_status deliver(gm_cli *cli, const gm_session *session, const gm_landscape_run *run,
                         gm_error *err)
{
    char key[64];
    const gm_run_array array = {.name = "directions",
                                .dtype = GM_F64,
                                .rank = 2,
                                .dim = {run->dimensions, run->p},
                                .data = run->direction};
    snprintf(key, sizeof key, "%s-%zud", gm_along_words[run->along], run->dimensions);
    json_t *document = gm_landscape_document(cli, session, run, err);
    if (!document) return GM_ERR_MEMORY;
    gm_status status = gm_record_result(cli, session, key, document, &array, 1, err);
    if (status == GM_OK && cli->shared.json) return gm_document_print(cli, document, err);
    json_decref(document);
    if (status == GM_OK) gm_landscape_print(session, run);
    return status;
}

static void run_free(gm_landscape_run *run)
{
    void *array[] = {
        run->direction,     run->at,        run->loss,       run->error,      run->quadratic,
        run->test_error,    run->to,        run->to_point,   run->path.theta, run->path.place,
        run->path.distance, run->path.loss, run->axis[0].at, run->axis[1].at};
    for (size_t i = 0; i < sizeof array / sizeof *array; i++) {
        gm_free(array[i]);
    }
    gm_run_free(run->path.step);
}

static gm_status run_landscape(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_landscape_run run = {0};
    gm_status status = choose_along(cli, &run, err);
    if (status == GM_OK) status = gm_session_open(cli, &session, err);
    if (status == GM_OK) status = prepare(cli, &session, &run, err);
    if (status == GM_OK) {
        gm_cli_begin(cli);
        gm_interrupt_install();
        status = measure(cli, &session, &run, err);
    }
    if (status == GM_OK && run.done > 0) status = deliver(cli, &session, &run, err);
    if (status == GM_OK && run.done < run.count)
        status = gm_fail(err, GM_ERR_INTERRUPTED, "interrupted after %zu of %zu points%s", run.done,
                         run.count, run.done ? "; the others are left out" : "");
    run_free(&run);
    gm_session_close(&session);
    return status;
}

const gm_command gm_command_landscape = {
    .name = "landscape",
    .summary = "loss on slices along eigenvectors, gradients or between checkpoints",
    .usage = "--model SPEC --data SPEC [OPTION]...\n"
             "       gradiometer landscape --params RUN.gmr [OPTION]...",
    .description =
        "The loss f and the share of wrong predictions on a line or a plane through the point of "
        "--params, and beside them the quadratic model of the exact gradient and Hessian there, "
        "f + t g.d + t^2 d.Hd / 2: where the two part, the Hessian has stopped to tell about the "
        "loss.\n\n"
        "Directions have length 1 along eigenvectors, the gradient and principal directions, so "
        "that coordinates are distances in parameter space; the length of the net's own filters at "
        "random; the way from one point to the other between checkpoints. What a plane shows is a "
        "cut: a minimum on it need not be one off it, nor a trajectory be where it is drawn. "
        "--trajectory says how far the checkpoints are from it and what share of their variance "
        "it keeps.\n\n"
        "-o records the slice, and `gradiometer report` draws it: the loss over the model, or "
        "levels of the loss with the trajectory. Ctrl-C ends after the points in hand.",
    .examples =
        "  gradiometer landscape --params run.gmr\n"
        "  gradiometer landscape --params run.gmr --which BE --dimensions 2 -o run.gmr\n"
        "  gradiometer landscape --params run.gmr --trajectory -o run.gmr\n"
        "  gradiometer landscape --params run.gmr@0 --to run.gmr\n"
        "  gradiometer landscape --model mlp:784-512-10 --params net.npy --data mnist:DIR \\\n"
        "      --along random --dimensions 2 --points 25 -o slice.gmr\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA | GM_TAKES_TEST | GM_TAKES_TOLERANCE | GM_TAKES_OUTPUT,
    .options = options,
    .settings_size = sizeof(gm_landscape_settings),
    .defaults = &defaults,
    .run = run_landscape,
};
