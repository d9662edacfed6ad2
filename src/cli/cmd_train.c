/* gradiometer train: stochastic gradient descent, recorded in a run file and resumable. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/document.h"
#include "cli/interrupt.h"
#include "cli/record.h"
#include "cli/session.h"
#include "cli/train_output.h"
#include "gradiometer/run.h"
#include "gradiometer/sgd.h"

typedef struct train_settings {
    gm_train_options train; /* seed and replacement come from the shared options */
    const char *resume, *track;
    gm_train_prior prior;
} train_settings;

/* As gm_train_options_default; a test compares them. */
static const train_settings train_defaults = {
    .train = {.steps = 1000, .batch = 64, .step = 0.1, .beta1 = 0.9}};

static const char *const optimizer_words[] = {"sgd", "adam", "rmsprop", "adagrad", NULL};
static const char *const precondition_words[] = {"none",        "rmsprop",      "adagrad",
                                                 "diag-moment", "diag-hessian", NULL};

static gm_status parse_step(const gm_option *option, const char *text, void *target, gm_error *err)
{
    (void)option;
    gm_train_options *train = target;
    return gm_policy_parse(text, &train->policy, &train->step, err);
}

/* Steps and file counters are SQLite integers. */
#define MOST_STEPS (INT64_MAX - 1)
#define AT(field)  offsetof(train_settings, field)

static const gm_option train_options[] = {
    {"steps", 0, "T", "Number of steps. Default: 1000.", gm_option_steps, AT(train.steps), NULL,
     MOST_STEPS},
    {"batch", 0, "M", "Samples in a mini-batch. Default: 64.", gm_option_count, AT(train.batch),
     NULL, 0},
    {"step", 0, "ETA|POLICY",
     "Step size: a number; decay:ETA,every=N[,factor=0.1]; cosine:ETA[,final=0]; or chosen before "
     "each batch so that the loss does not rise in expectation, half of eta_lim = 2 |mu|^2 / (L "
     "tr M_m): oracle (exact), estimated (from the batches before), both without momentum and "
     "weight decay, or oracle-model, |mu|^2 / tr(H M_m), without guarantee. Their keys, as "
     "oracle:max=0.5,every=10: share of eta_lim (0.5), max (1), floor of L (1e-3), every, steps "
     "between measurements (1; estimated: of L, ten passes over the data), memory of the means "
     "(estimated, 100 steps). Default: 0.1.",
     parse_step, AT(train), NULL, 0},
    {"momentum", 0, "B", "Momentum, from 0 to below 1. Default: 0.", gm_option_fraction,
     AT(train.momentum), NULL, 0},
    {"nesterov", 0, NULL, "Nesterov's form of the momentum.", gm_option_flag, AT(train.nesterov),
     NULL, 0},
    {"weight-decay", 0, "W",
     "Add W times the parameters to each gradient; the loss that is reported never includes it. "
     "Default: 0.",
     gm_option_nonnegative, AT(train.weight_decay), NULL, 0},
    {"optimizer", 0, "NAME",
     "sgd; or adam, rmsprop, adagrad in PyTorch's form, whose divisor contains the gradient it "
     "divides: for comparison. Default: sgd.",
     gm_option_choice, AT(train.optimizer), optimizer_words, 0},
    {"precondition", 0, "NAME",
     "Divide each gradient by a diagonal D known before its batch is drawn: none; rmsprop or "
     "adagrad, the root of the running mean or sum of earlier squared gradients, begun with a "
     "batch before step 0; diag-moment or diag-hessian, sqrt(diag M) or |diag H|, exact, on the "
     "whole training set; each plus --epsilon. Not with momentum. Default: none.",
     gm_option_choice, AT(train.precondition), precondition_words, 0},
    {"precondition-every", 0, "Q",
     "Steps from one exact diagonal to the next. Default: n/M for diag-moment and K n/M for "
     "diag-hessian, which cost about as much as the diagonal.",
     gm_option_steps, AT(train.precondition_every), NULL, MOST_STEPS},
    {"beta1", 0, "B", "Decay of Adam's mean, from 0 to below 1. Default: 0.9.", gm_option_fraction,
     AT(train.beta1), NULL, 0},
    {"beta2", 0, "B",
     "Decay of the mean of squares, below 1. Default: 0.999 for adam, 0.99 for rmsprop of either "
     "kind.",
     gm_option_positive, AT(train.beta2), NULL, 0},
    {"epsilon", 0, "E",
     "Added to the divisor, which it is alone where a weight meets its first gradient or shows no "
     "curvature. Default: 1e-8 for adam and the optimizer rmsprop, 1e-10 for the optimizer "
     "adagrad, 0.3 for "
     "diag-hessian, 1e-3 for the other preconditioners.",
     gm_option_positive, AT(train.epsilon), NULL, 0},
    {"checkpoint-every", 0, "N",
     "Save the latest state at least every N steps. Default: so often that saving costs at most "
     "5 % of the time.",
     gm_option_steps, AT(train.checkpoint_every), NULL, MOST_STEPS},
    {"keep-every", 0, "N",
     "Keep the parameters of every N-th step in the history. Default: the start, and ten steps "
     "spaced evenly on a logarithmic scale, the last of them T.",
     gm_option_steps, AT(train.keep_every), NULL, MOST_STEPS},
    {"record-every", 0, "N",
     "Measure loss, error and gradient on the whole sets at every N-th step, beside the first, the "
     "last and those that --keep-every keeps. Default: about 200 steps, dense at first; fewer "
     "where that would take "
     "more than a quarter of the training, but at least about 20.",
     gm_option_steps, AT(train.record_every), NULL, MOST_STEPS},
    {"prior-fraction", 0, "F",
     "Learn the prior of `gradiometer bound` first: train on this share of the samples, above 0 "
     "and below 1, drawn by --seed, and begin the run itself, on all samples, where that ends. "
     "Step 0 is then the prior, and a bound is computed on the samples that it has not seen.",
     gm_option_positive, AT(prior.fraction), NULL, 0},
    {"prior-steps", 0, "T", "Steps of the prior's training. Default: as many as --steps.",
     gm_option_steps, AT(prior.steps), NULL, MOST_STEPS},
    {"track", 0, "LIST",
     "Follow the training: the largest eigenvalues of the Hessian, spectrum:KEY=VALUE,... with k, "
     "how many (10); every, at steps 0, every, 2 every, ... and the last (50); which, LA, SA, BE "
     "or "
     "LM (LA); operator, hessian, ggn, moment, covariance, residual or gn_residual (hessian); n, "
     "on the first n samples only (all); tol (1e-4 in f32, 1e-10 in f64); products, at most so "
     "many each time (no limit). gauges:KEY=VALUE,... takes from the training's own batches the "
     "noise scale, Batch Sharpness and a running sharpness, with errors, and an alarm where the "
     "loss rises above its predicted band: every, steps from one measurement to the next (1); "
     "curvature, every so many of them with the sharpnesses (10; 0 for none); memory of the "
     "running "
     "means, in measurements (30); alarm, s of the band (12). A list is separated by ';'.",
     gm_option_text, AT(track), NULL, 0},
    {"resume", 0, "RUN.gmr",
     "Continue the training in this run file where it stopped, to the same numbers as if it had "
     "never stopped. All settings come from the file; only --threads, --json, -v and -q may stand "
     "beside it.",
     gm_option_text, AT(resume), NULL, 0},
    {0}};

/* ---- progress ---- */

typedef struct watcher {
    gm_progress progress;
    bool started, quiet;
    gm_train_tracks tracks;
} watcher;

static void show_progress(void *context, uint64_t t, uint64_t steps, double batch_loss)
{
    watcher *w = context;
    if (!w->started) {
        gm_progress_start(&w->progress, "train", "steps", (size_t)t - 1, (size_t)steps, w->quiet);
        w->started = true;
    }
    char text[192], tracked[GM_TRAIN_TRACK_SHORT];
    gm_train_track_short(&w->tracks, tracked);
    snprintf(text, sizeof text, "batch loss %.4g%s%s", batch_loss, *tracked ? ", " : "", tracked);
    gm_progress_update(&w->progress, (size_t)t, text);
}

/* ---- tracking ---- */

static bool track_due(void *context, uint64_t t)
{
    const watcher *w = context;
    return gm_tracker_due(w->tracks.spectrum, t);
}

static gm_status track_measure(void *context, uint64_t t, const double *theta, gm_error *err)
{
    const watcher *w = context;
    return gm_tracker_measure(w->tracks.spectrum, t, theta, err);
}

static gm_status track_save(void *context, gm_run *run, gm_error *err)
{
    const watcher *w = context;
    gm_status status = w->tracks.spectrum ? gm_tracker_save(w->tracks.spectrum, run, err) : GM_OK;
    if (status != GM_OK || !w->tracks.gauges) return status;
    return gm_gauge_watch_save(w->tracks.gauges, run, err);
}

static gm_status track_batch(void *context, const gm_train_batch *batch, gm_error *err)
{
    const watcher *w = context;
    return gm_gauge_watch_batch(w->tracks.gauges, batch, err);
}

/* What text asks for (NULL: nothing) hangs on the hooks. */
static gm_status open_tracks(gm_cli *cli, gm_session *session, const char *text,
                             const gm_train_options *options, gm_train_hooks *hooks,
                             char words[GM_TRAIN_TRACK_WORDS], gm_error *err)
{
    watcher *w = hooks->context;
    gm_status status = gm_train_track_open(cli, session, text, options, &w->tracks, words, err);
    if (status != GM_OK || !text) return status;
    hooks->save = track_save;
    if (w->tracks.gauges) hooks->batch = track_batch;
    if (!w->tracks.spectrum) return GM_OK;
    gm_tracker_watch(w->tracks.spectrum, gm_interrupt_requested, NULL);
    hooks->due = track_due;
    hooks->measure = track_measure;
    return GM_OK;
}

/* ---- run ---- */

static bool stop_at_once(void *context)
{
    (void)context;
    return true;
}

/* Writes a run file at `fresh` that holds all settings, the words of --track among them ("" without
 * it), and the training at step 0. */
static gm_status write_start(const gm_cli *cli, gm_session *session, const char *fresh,
                             const gm_train_options *options, const gm_learned_prior *prior,
                             const char *track, gm_train_result *result, gm_error *err)
{
    gm_run *run = NULL;
    gm_record_settings settings;
    gm_train_hooks hooks = {.stop = stop_at_once};
    gm_status status = gm_record_settings_fill(cli, session, &settings, err);
    if (status == GM_OK) {
        status = gm_run_create(fresh, true, settings.item, settings.count, &run, err);
    }
    if (status == GM_OK && *track) {
        gm_setting words = {gm_train_track_setting, track};
        status = gm_run_set(run, &words, 1, err);
    }
    if (status == GM_OK) status = gm_learned_prior_store(run, session, prior, err);
    if (status == GM_OK) {
        status = gm_train(session->problem, session->test_problem, options, &hooks, run,
                          session->theta, result, err);
    }
    if (status == GM_OK && result->outcome == GM_TRAIN_INTERRUPTED) {
        gm_run_state running = {.status = "running", .message = "", .seconds = result->seconds};
        status = gm_run_save(run, &running, 0, false, NULL, 0, err);
    }
    gm_run_close(run);
    gm_record_settings_free(&settings);
    return status;
}

/* Trains into the run file of --output. The file takes its name when the training can be resumed
 * from it, so that there is no moment at which a kill leaves one that cannot. */
static gm_status train_recorded(gm_cli *cli, gm_session *session, const gm_train_options *options,
                                const gm_train_hooks *hooks, const gm_learned_prior *prior,
                                const char *track, gm_train_result *result, gm_error *err)
{
    const char *path = cli->shared.output;
    gm_run *run = NULL;
    char *fresh = gm_format(err, "%s.new", path);
    if (!fresh) return GM_ERR_MEMORY;
    gm_status status = write_start(cli, session, fresh, options, prior, track, result, err);
    if (status == GM_OK && rename(fresh, path) != 0) {
        status =
            gm_fail(err, GM_ERR_IO, "--output: %s cannot be written: %s", path, strerror(errno));
    }
    if (status != GM_OK) unlink(fresh);
    gm_free(fresh);
    if (status != GM_OK || result->outcome != GM_TRAIN_INTERRUPTED) return status;

    status = gm_run_open(path, GM_RUN_WRITE, &run, err);
    if (status == GM_OK) {
        status = gm_train_resume(session->problem, session->test_problem, hooks, run,
                                 session->theta, result, err);
    }
    gm_run_close(run);
    return status;
}

static gm_status check_output(const gm_cli *cli, gm_error *err)
{
    const char *path = cli->shared.output;
    if (!path) return GM_OK;
    if (access(path, F_OK) == 0) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--output: %s exists already; remove it, or continue it with --resume",
                       path);
    }
    return gm_cli_check_writable("output", path, err);
}

static gm_status start(gm_cli *cli, gm_session *session, gm_train_options *options,
                       gm_train_hooks *hooks, gm_learned_prior *prior, gm_train_result *result,
                       gm_error *err)
{
    const train_settings *set = cli->settings;
    char track[GM_TRAIN_TRACK_WORDS] = "";
    gm_status status = check_output(cli, err);
    if (status == GM_OK) status = gm_session_open(cli, session, err);
    if (status != GM_OK) return status;
    options->seed = session->seed;
    options->replacement = cli->shared.replacement;
    status = gm_train_options_check(options, session->data->n, err);
    if (status != GM_OK) return status;
    gm_train_options_resolve(options, session->problem);
    status = gm_learned_prior_open(cli, session, &set->prior, options, prior, err);
    if (status == GM_OK) {
        status = open_tracks(cli, session, set->track, options, hooks, track, err);
    }
    if (status != GM_OK) return status;
    if (!cli->shared.output) gm_cli_note(cli, "no run file is written; -o RUN.gmr records one");
    gm_cli_begin(cli);
    gm_interrupt_install();
    status = gm_learned_prior_train(cli, session, options, prior, err);
    if (status != GM_OK) return status;
    if (cli->shared.output) {
        return train_recorded(cli, session, options, hooks, prior, track, result, err);
    }
    return gm_train(session->problem, session->test_problem, options, hooks, NULL, session->theta,
                    result, err);
}

/* What the run was started with, where it stands. */
static gm_status reopen_tracks(gm_cli *cli, gm_session *session, const gm_train_options *options,
                               gm_train_hooks *hooks, gm_run *run, gm_error *err)
{
    const watcher *w = hooks->context;
    char *recorded = NULL, words[GM_TRAIN_TRACK_WORDS];
    gm_status status = gm_run_get(run, gm_train_track_setting, &recorded, err);
    if (status == GM_OK) {
        gm_error inner = {0};
        status = open_tracks(cli, session, recorded, options, hooks, words, &inner);
        if (status == GM_ERR_USAGE) status = GM_ERR_INPUT; /* the file's words, not the user's */
        if (status != GM_OK) {
            status = gm_fail(err, status, "%s: %.400s", gm_run_path(run), inner.message);
        }
    }
    gm_run_free(recorded);
    if (status == GM_OK && w->tracks.spectrum)
        status = gm_tracker_load(w->tracks.spectrum, run, err);
    if (status == GM_OK && w->tracks.gauges)
        status = gm_gauge_watch_load(w->tracks.gauges, run, err);
    return status;
}

static gm_status resume(gm_cli *cli, const char *path, gm_session *session,
                        gm_train_options *options, gm_train_hooks *hooks, gm_train_result *result,
                        gm_error *err)
{
    gm_run *run = NULL;
    gm_status status = gm_session_reopen(cli, path, session, err);
    if (status == GM_OK) status = gm_run_open(path, GM_RUN_WRITE, &run, err);
    if (status == GM_OK) status = gm_train_options_load(run, options, err);
    if (status == GM_OK) status = reopen_tracks(cli, session, options, hooks, run, err);
    if (status == GM_OK) {
        gm_cli_begin(cli);
        gm_interrupt_install();
        status = gm_train_resume(session->problem, session->test_problem, hooks, run,
                                 session->theta, result, err);
    }
    gm_run_close(run);
    return status;
}

static gm_status check(gm_cli *cli, gm_error *err)
{
    static const char *const beside[] = {"threads", "json", "verbose", "quiet", NULL};
    const train_settings *set = cli->settings;
    if (set->resume) return gm_cli_only(cli, "resume", beside, err);
    if (gm_cli_given(cli, "beta1") && set->train.optimizer != GM_OPTIMIZER_ADAM)
        return gm_fail(err, GM_ERR_USAGE, "--beta1: expected with --optimizer adam only");
    gm_status status = gm_learned_prior_check(cli, err);
    return status == GM_OK ? gm_train_track_check(set->track, err) : status;
}

static gm_status run_train(gm_cli *cli, gm_error *err)
{
    const train_settings *set = cli->settings;
    gm_train_options options = set->train;
    gm_session session = {0};
    gm_train_result result;
    gm_learned_prior prior = {0};
    watcher watch = {.quiet = cli->shared.quiet};
    gm_train_hooks hooks = {
        .context = &watch, .stop = gm_interrupt_requested, .progress = show_progress};
    gm_status status = set->resume
                           ? resume(cli, set->resume, &session, &options, &hooks, &result, err)
                           : start(cli, &session, &options, &hooks, &prior, &result, err);
    if (watch.started) gm_progress_finish(&watch.progress);
    if (status == GM_OK) {
        const char *path = set->resume ? set->resume : cli->shared.output;
        status =
            gm_train_deliver(cli, &session, &options, path, &result, &prior, &watch.tracks, err);
    }
    gm_train_tracks_free(&watch.tracks);
    gm_prior_split_free(&prior.split);
    gm_session_close(&session);
    return status;
}

const gm_command gm_command_train = {
    .name = "train",
    .summary = "train with SGD and record the run",
    .usage = "--model SPEC --data SPEC -o RUN.gmr [OPTION]...\n"
             "  or:  gradiometer train --resume RUN.gmr",
    .description =
        "Trains a net with stochastic gradient descent and records settings, "
        "metrics and parameters in a run file, from which the other commands take them.\n\n"
        "The run file may be read while it is written. Ctrl-C ends the training after the current "
        "step and saves; that, or a kill at any moment, is continued with --resume.\n\n"
        "With --prior-fraction the run begins at a net trained on a share of the samples, the same "
        "way, and the run file says which they were: `gradiometer bound` takes that net as its "
        "prior and the other samples for its bound. The run itself trains on all samples. An "
        "interruption while the prior is trained leaves nothing.\n\n"
        "With --track, eigenvalues are followed along the training, each time from the "
        "eigenvectors "
        "found before; `gradiometer report` shows them beside the size at which the step becomes "
        "unstable; or gauges of stability are taken from the training's own batches, at little "
        "cost. "
        "The training's own numbers do not depend on it.",
    .examples =
        "  gradiometer train --model mlp:50-30-10 --data gauss:n=100 --batch 5 --steps 20000 "
        "-o run.gmr\n"
        "  gradiometer train --model mlp:50-30-10 --data gauss: --track spectrum:k=10,every=50 "
        "-o run.gmr\n"
        "  gradiometer train --model mlp:50-30-10 --data gauss: --step oracle:max=2,every=10 "
        "-o run.gmr\n"
        "  gradiometer train --model mlp:50-30-10 --data gauss: --track 'gauges;spectrum:k=1' "
        "-o run.gmr\n"
        "  gradiometer train --resume run.gmr\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA | GM_TAKES_TEST | GM_TAKES_BATCH | GM_TAKES_OUTPUT,
    .options = train_options,
    .settings_size = sizeof(train_settings),
    .defaults = &train_defaults,
    .check = check,
    .run = run_train,
};
