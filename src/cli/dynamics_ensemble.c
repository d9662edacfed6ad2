/* gradiometer dynamics ensemble: thousands of runs of SGD, and how they are distributed. */
#include "cli/dynamics_ensemble.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/interrupt.h"
#include "cli/record.h"

/* Saving may take this share of the time, and is not done more often than this in seconds. */
static const double save_share = 0.05, save_pause = 0.25;

enum { DEFAULT_BATCH = 64 };

/* ---- options ---- */

/* Bits of the quantities in a comma list. */
static gm_status parse_record(const char *text, unsigned *record, gm_error *err)
{
    *record = 0;
    for (const char *word = text;;) {
        size_t length = strcspn(word, ",");
        gm_quantity quantity;
        if (!gm_quantity_parse(word, length, &quantity)) {
            return gm_fail(err, GM_ERR_USAGE,
                           "--record: found '%.*s', expected some of loss, delta, cosine, "
                           "distance, error_rate, test_error_rate, cosine_mean, gradient_square, "
                           "trace_sigma, or all",
                           (int)length, word);
        }
        *record |= 1u << quantity;
        if (!word[length]) return GM_OK;
        word += length + 1;
    }
}

static gm_status choose_record(const gm_ensemble_settings *set, bool test, unsigned *record,
                               gm_error *err)
{
    if (!set->record) return GM_OK;
    if (strcmp(set->record, "all") != 0) return parse_record(set->record, record, err);
    *record = (1u << GM_QUANTITIES) - 1;
    if (!test) *record &= ~(1u << GM_QUANTITY_TEST_ERROR);
    return GM_OK;
}

/* Ascending numbers of runs in a comma list, into *keep [*keeps], the caller's. */
static gm_status parse_keep(const char *text, uint32_t **keep, size_t *keeps, gm_error *err)
{
    *keep = gm_alloc(strlen(text) / 2 + 1, sizeof **keep, "kept runs", err);
    if (!*keep) return GM_ERR_MEMORY;
    for (const char *at = text;;) {
        char *end;
        errno = 0;
        unsigned long long run = strtoull(at, &end, 10);
        bool number = *at >= '0' && *at <= '9' && (*end == ',' || *end == 0) && errno == 0;
        if (!number || run > UINT32_MAX || (*keeps && run <= (*keep)[*keeps - 1])) {
            return gm_fail(err, GM_ERR_USAGE,
                           "--keep-runs: found '%s', expected ascending numbers of runs separated "
                           "by commas",
                           text);
        }
        (*keep)[(*keeps)++] = (uint32_t)run;
        if (*end == 0) return GM_OK;
        at = end + 1;
    }
}

gm_status gm_ensemble_check(const gm_cli *cli, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const gm_ensemble_settings *own = &set->ensemble;
    gm_policy policy;
    double eta;
    unsigned record;
    uint32_t *keep = NULL;
    size_t keeps = 0;
    gm_status status = gm_dynamics_check_lists(cli, 1, 0, err);
    if (status == GM_OK && set->step) status = gm_policy_parse(set->step, &policy, &eta, err);
    if (status == GM_OK) status = choose_record(own, cli->shared.test_data != NULL, &record, err);
    if (status == GM_OK && own->keep_runs) status = parse_keep(own->keep_runs, &keep, &keeps, err);
    gm_free(keep);
    return status;
}

/* Another optimizer or preconditioner than the run's comes with its own defaults. */
static void choose_method(const gm_cli *cli, gm_train_options *train)
{
    const gm_ensemble_settings *own = &((const gm_dynamics_settings *)cli->settings)->ensemble;
    bool optimizer = gm_cli_given(cli, "optimizer"), divisor = gm_cli_given(cli, "precondition");
    if (!optimizer && !divisor) return;
    gm_optimizer trained = train->optimizer;
    gm_precondition conditioned = train->precondition;
    train->optimizer = optimizer ? own->optimizer : GM_OPTIMIZER_SGD;
    train->precondition = divisor ? own->precondition : GM_PRECONDITION_NONE;
    if (train->optimizer == trained && train->precondition == conditioned) return;
    train->beta2 = train->epsilon = 0.0;
    train->precondition_every = 0;
    bool plain =
        train->optimizer == GM_OPTIMIZER_SGD && train->precondition == GM_PRECONDITION_NONE;
    if (plain) return;
    if (!gm_cli_given(cli, "momentum")) train->momentum = 0.0;
    if (!gm_cli_given(cli, "nesterov") && train->momentum == 0.0) train->nesterov = false;
}

/* Batch, step, optimizer as given; else as the run in --params was trained. */
static gm_status choose_training(const gm_cli *cli, const gm_session *session,
                                 gm_train_options *train, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const gm_ensemble_settings *own = &set->ensemble;
    gm_status status = GM_OK;
    gm_train_options_default(train);
    train->batch = DEFAULT_BATCH;
    if (gm_dynamics_recorded(session, "train.steps"))
        status = gm_train_options_load(session->run, train, err);
    if (status == GM_OK && set->step)
        status = gm_policy_parse(set->step, &train->policy, &train->step, err);
    if (status == GM_OK && set->batch) {
        double batch = 0.0;
        size_t count;
        status = gm_dynamics_list("batch", set->batch, true, 1, &batch, &count, err);
        train->batch = (size_t)batch;
    }
    if (set->momentum >= 0.0) train->momentum = set->momentum;
    if (gm_cli_given(cli, "nesterov")) train->nesterov = own->nesterov;
    if (gm_cli_given(cli, "weight-decay")) train->weight_decay = own->weight_decay;
    choose_method(cli, train);
    train->replacement = gm_dynamics_replacement(cli, session);
    train->steps = own->steps;
    train->seed = session->seed;
    train->checkpoint_every = train->keep_every = train->record_every = 0;
    return status;
}

static gm_status choose_options(const gm_cli *cli, const gm_session *session,
                                gm_ensemble_view *view, gm_error *err)
{
    const gm_ensemble_settings *set = &((const gm_dynamics_settings *)cli->settings)->ensemble;
    gm_ensemble_options *o = &view->options;
    gm_ensemble_options_default(o);
    gm_status status = choose_training(cli, session, &o->train, err);
    if (status == GM_OK) status = choose_record(set, session->test != NULL, &o->record, err);
    if (status == GM_OK && set->keep_runs)
        status = parse_keep(set->keep_runs, &view->keep, &o->keeps, err);
    if (status != GM_OK) return status;
    o->keep = view->keep;
    o->runs = set->runs;
    o->fresh = set->fresh;
    if (o->fresh && session->onnx) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--init fresh: the model %s has parameters of its own, and no rule to draw "
                       "others",
                       session->onnx->path);
    }
    o->record_every = set->record_every;
    o->gradient_every = set->gradient_every;
    o->exact_runs = set->exact_runs;
    o->team = session->team;
    /* Run 0 of the same seed has the batches with which the run in --params came here. */
    o->train.run =
        set->first_run != SIZE_MAX ? (uint32_t)set->first_run : session->run && !o->fresh;
    status = gm_ensemble_options_check(o, session->data->n, session->test != NULL, err);
    if (status != GM_OK) return status;
    size_t numbers = (size_t)(gm_ensemble_bytes(o) / sizeof(double));
    status = gm_session_check_matrix(session, "the statistics of the ensemble", 1, 1, numbers, err);
    if (status != GM_OK || !o->keeps) return status;
    return gm_session_check_matrix(session, "the parameters of the kept runs", 1, o->keeps,
                                   gm_net_parameters(session->net), err);
}

/* ---- running ---- */

typedef struct watcher {
    gm_cli *cli;
    const gm_session *session;
    const gm_ensemble_view *view;
    gm_progress progress;
    double saved_at, cost; /* seconds since the start of the program; cost of the last save */
} watcher;

static void show_progress(void *context, uint64_t steps)
{
    watcher *w = context;
    char text[64];
    snprintf(text, sizeof text, "%zu of %zu runs", gm_ensemble_done(w->view->ensemble),
             w->view->options.runs);
    gm_progress_update(&w->progress, (size_t)steps, text);
}

static gm_status save(watcher *w, gm_error *err)
{
    double begin = gm_cli_seconds(w->cli);
    json_t *document = gm_ensemble_document(w->cli, w->session, w->view, err);
    gm_status status =
        document ? gm_ensemble_keep(w->cli, w->session, w->view, document, err) : GM_ERR_MEMORY;
    json_decref(document);
    w->saved_at = gm_cli_seconds(w->cli);
    w->cost = w->saved_at - begin;
    return status;
}

/* Between blocks: saves where it is time. */
static gm_status after_block(void *context, gm_ensemble *ensemble, gm_error *err)
{
    watcher *w = context;
    double since = gm_cli_seconds(w->cli) - w->saved_at;
    bool last = gm_ensemble_done(ensemble) == w->view->options.runs;
    if (!w->cli->shared.output || w->cli->silent || last)
        return GM_OK; /* the whole is recorded in the end */
    if (since < save_pause || since < w->cost / save_share) return GM_OK;
    return save(w, err);
}

static gm_status run_ensemble(gm_cli *cli, const gm_session *session, const gm_ensemble_view *view,
                              gm_error *err)
{
    watcher w = {.cli = cli, .session = session, .view = view, .saved_at = gm_cli_seconds(cli)};
    gm_ensemble_hooks hooks = {.context = &w,
                               .stop = gm_interrupt_requested,
                               .progress = show_progress,
                               .block = after_block};
    uint64_t steps = view->options.train.steps;
    gm_progress_start(&w.progress, "dynamics ensemble", "steps",
                      (size_t)(gm_ensemble_done(view->ensemble) * steps),
                      (size_t)(view->options.runs * steps), cli->shared.quiet);
    gm_status status = gm_ensemble_run(view->ensemble, &hooks, err);
    gm_progress_finish(&w.progress);
    return status;
}

/* loss and gradient_norm of the document are those of the common start. */
static gm_status measure_start(gm_session *session, const gm_ensemble_view *view, gm_error *err)
{
    if (view->options.fresh) return GM_OK;
    gm_linearization *lin = NULL;
    gm_status status = gm_linearize(session->problem, session->theta, &lin, err);
    if (status == GM_OK) gm_session_measure(session, lin);
    gm_linearization_free(lin);
    return status;
}

static void note_ensemble(gm_cli *cli, const gm_session *session, const gm_ensemble_view *view)
{
    const gm_ensemble_options *o = gm_ensemble_options_of(view->ensemble);
    gm_cli_note(cli, "%s",
                gm_ensemble_tiled(view->ensemble)
                    ? "small dense net: samples go through all layers in tiles"
                    : "each thread does its runs with a problem of its own");
    if (!gm_cli_given(cli, "batch") && !gm_dynamics_recorded(session, "train.batch"))
        gm_cli_note(cli, "batches of %zu, the default", o->train.batch);
    if (!o->fresh && session->run && o->train.run == 1)
        gm_cli_note(cli, "runs are numbered from 1: run 0 of this seed has the batches of the "
                         "training that led to the start");
    if (!cli->shared.output)
        gm_cli_note(cli, "no run file is written; -o RUN.gmr records the ensemble, and continues "
                         "it where it was interrupted");
}

static gm_status deliver(gm_cli *cli, const gm_session *session, const gm_ensemble_view *view,
                         bool fresh_runs, gm_error *err)
{
    json_t *document = NULL;
    gm_status status = GM_OK;
    if (!cli->silent) {
        document = gm_ensemble_document(cli, session, view, err);
        if (!document) status = GM_ERR_MEMORY;
    }
    if (document && fresh_runs) status = gm_ensemble_keep(cli, session, view, document, err);
    if (document && status == GM_OK && cli->shared.json) {
        status = gm_document_print(cli, document, err);
        document = NULL;
    } else if (document && status == GM_OK) {
        status = gm_ensemble_print(cli, session, view, err);
    }
    json_decref(document);
    size_t done = gm_ensemble_done(view->ensemble), runs = view->options.runs;
    if (status != GM_OK || done == runs) return status;
    return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted after %zu of %zu runs; %s", done, runs,
                   cli->shared.output ? "to go on, give the same command again"
                                      : "nothing was recorded (-o RUN.gmr)");
}

/* ---- the command ---- */

gm_status gm_ensemble_run_command(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_ensemble_view view = {0};
    gm_status status = gm_session_open(cli, &session, err);
    if (status == GM_OK) status = choose_options(cli, &session, &view, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status == GM_OK)
        status = gm_ensemble_create(session.problem, session.test_problem, &view.options,
                                    session.theta, &view.ensemble, err);
    if (status == GM_OK) {
        gm_ensemble_describe(&session, &view);
        status = gm_ensemble_recall(cli, &session, &view, err);
    }
    if (status != GM_OK) goto done;
    note_ensemble(cli, &session, &view);
    gm_cli_begin(cli);
    gm_interrupt_install();
    bool fresh_runs = gm_ensemble_done(view.ensemble) < view.options.runs;
    status = measure_start(&session, &view, err);
    if (status == GM_OK) status = run_ensemble(cli, &session, &view, err);
    if (status == GM_OK) status = deliver(cli, &session, &view, fresh_runs, err);
done:
    json_decref(view.setup);
    gm_ensemble_free(view.ensemble);
    gm_free(view.keep);
    gm_session_close(&session);
    return status;
}
