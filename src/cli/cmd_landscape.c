/* gradiometer landscape: the loss on slices through parameter space. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
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

/* What belongs to one point makes no sense at each of several. */
static gm_status check_several(const gm_cli *cli, const gm_landscape_run *run, gm_error *err)
{
    const gm_landscape_settings *set = cli->settings;
    if (run->along == GM_ALONG_CHECKPOINTS)
        return gm_fail(err, GM_ERR_USAGE, "--to: found beside several points, expected one");
    if (set->trajectory || run->along == GM_ALONG_PRINCIPAL)
        return gm_fail(err, GM_ERR_USAGE,
                       "--%s: found beside several points, expected one, which the plane of all "
                       "checkpoints goes through",
                       set->trajectory ? "trajectory" : "along principal");
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
    size_t size = gm_landscape_block_size(session);
    if (k > size)
        return gm_fail(
            err, GM_ERR_USAGE, "--dimensions: %zu eigenvectors, but the %s has %zu parameter%s", k,
            session->layer == GM_ALL_LAYERS ? "net" : "layer", size, size == 1 ? "" : "s");
    return GM_OK;
}

static gm_status check_sizes(const gm_cli *cli, const gm_session *session, gm_landscape_run *run,
                             gm_error *err)
{
    const gm_landscape_settings *set = cli->settings;
    run->points = set->points ? set->points : run->dimensions > 1 ? 31 : 61;
    run->count = run->points;
    gm_status status =
        gm_session_check_matrix(session, "the values of --points", 4 + run->dimensions, run->points,
                                run->dimensions > 1 ? run->points : 1, err);
    if (status != GM_OK) return status;
    if (run->dimensions > 1) run->count *= run->points;
    return gm_session_check_matrix(session, "the directions", 3, run->dimensions, run->p, err);
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

/* ---- the command ---- */

static gm_status deliver(gm_cli *cli, const gm_session *session, const gm_landscape_run *run,
                         gm_error *err)
{
    json_t *document = NULL;
    gm_status status = gm_landscape_record(cli, session, run, &document, err);
    if (status == GM_OK && cli->shared.json) return gm_document_print(cli, document, err);
    json_decref(document);
    if (status == GM_OK) gm_landscape_print(session, run);
    return status;
}

static gm_status measure_once(gm_cli *cli, gm_session *session, gm_landscape_run *run,
                              gm_error *err)
{
    gm_status status = gm_landscape_measure(cli, session, run, err);
    if (status == GM_OK && run->done > 0) status = deliver(cli, session, run, err);
    if (status == GM_OK && run->done < run->count)
        status = gm_fail(err, GM_ERR_INTERRUPTED, "interrupted after %zu of %zu points%s",
                         run->done, run->count, run->done ? "; the others are left out" : "");
    return status;
}

static void run_free(gm_landscape_run *run)
{
    void *array[] = {run->to,         run->to_point,      run->path.theta,
                     run->path.place, run->path.distance, run->path.loss};
    gm_landscape_rest(run, false);
    for (size_t i = 0; i < sizeof array / sizeof *array; i++) {
        gm_free(array[i]);
    }
    gm_run_free(run->path.step);
}

static gm_sharing sharing(const gm_cli *cli)
{
    (void)cli;
    return GM_SHARING_SUMS; /* and points of the slice */
}

static gm_status check(gm_cli *cli, gm_error *err)
{
    const gm_landscape_settings *set = cli->settings;
    gm_landscape_run any = {0};
    gm_status status = choose_along(cli, &any, err);
    if (status == GM_OK && set->points == 1)
        status = gm_fail(err, GM_ERR_USAGE, "--points: found 1, expected at least 2");
    return status == GM_OK && gm_series_asked(cli) ? check_several(cli, &any, err) : status;
}

static gm_status run_landscape(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_landscape_run run = {0};
    gm_series series = {0};
    gm_status status = choose_along(cli, &run, err);
    if (status == GM_OK) status = gm_series_open(cli, &series, err);
    if (status == GM_OK) status = gm_session_open(cli, &session, err);
    if (status == GM_OK) status = prepare(cli, &session, &run, err);
    if (status == GM_OK) status = gm_series_attach(&series, &session, err);
    if (status == GM_OK) {
        gm_cli_begin(cli);
        gm_interrupt_install();
        status = series.trajectory ? gm_landscape_along(cli, &session, &series, &run, err)
                                   : measure_once(cli, &session, &run, err);
    }
    run_free(&run);
    gm_series_close(&series);
    gm_session_close(&session);
    return status;
}

const gm_command gm_command_landscape = {
    .name = "landscape",
    .summary = "loss on slices along eigenvectors, gradients or between checkpoints",
    .usage = "--model SPEC --data SPEC [OPTION]...\n"
             "  or:  gradiometer landscape --params RUN.gmr [OPTION]...",
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
        "it keeps. --layer restricts directions to the parameters of a layer: eigenvectors are "
        "those of its block, the way to another point is the layer's alone.\n\n"
        "--params run.gmr@all, or a pattern in quotes that matches files, takes a slice at every "
        "point, each recorded by -o; --test-data adds loss and error on a test set.\n\n"
        "-o records the slice, and `gradiometer report` draws it: the loss over the model, or "
        "levels of the loss with the trajectory. Ctrl-C ends after the points in hand.",
    .examples =
        "  gradiometer landscape --params run.gmr\n"
        "  gradiometer landscape --params run.gmr --which BE --dimensions 2 -o run.gmr\n"
        "  gradiometer landscape --params run.gmr --trajectory -o run.gmr\n"
        "  gradiometer landscape --params run.gmr@0 --to run.gmr --layer dense1\n"
        "  gradiometer landscape --params run.gmr@all -o run.gmr\n"
        "  gradiometer landscape --model mlp:784-512-10 --params net.npy --data mnist:DIR \\\n"
        "      --along random --dimensions 2 --points 25 -o slice.gmr\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA | GM_TAKES_TEST | GM_TAKES_TOLERANCE |
             GM_TAKES_ONE_LAYER | GM_TAKES_OUTPUT,
    .options = options,
    .settings_size = sizeof(gm_landscape_settings),
    .defaults = &defaults,
    .check = check,
    .run = run_landscape,
    .sharing = sharing,
};
