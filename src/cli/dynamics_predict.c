/* gradiometer dynamics predict: what one step does to the loss, by the model and by draws. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/dynamics.h"
#include "cli/interrupt.h"
#include "cli/record.h"

enum { DRAWS = 1000, QUANTILE_DRAWS = 20000 };

const double gm_predict_level[GM_PREDICT_QUANTILES] = {0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99};

void gm_predict_free(gm_predict *predict)
{
    for (size_t i = 0; predict->item && i < predict->cases; i++) {
        gm_free(predict->item[i].delta);
    }
    gm_free(predict->item);
    gm_free(predict->divisor);
    gm_free(predict->drift);
    gm_step_model_free(&predict->model);
    memset(predict, 0, sizeof *predict);
}

/* ---- options ---- */

gm_status gm_predict_check(const gm_cli *cli, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    double level[GM_PREDICT_LEVELS];
    size_t levels;
    gm_status status = gm_dynamics_check_lists(cli, GM_DYNAMICS_LIST, GM_DYNAMICS_LIST, err);
    if (status != GM_OK) return status;
    return gm_dynamics_list("levels", set->levels, false, GM_PREDICT_LEVELS, level, &levels, err);
}

/* The pairs of batch and step size, batch first. */
static gm_status make_cases(const gm_cli *cli, const gm_session *session, gm_predict *predict,
                            gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const char *trained_batch = gm_dynamics_recorded(session, "train.batch");
    char *trained_step = NULL;
    double batch[GM_DYNAMICS_LIST], step[GM_DYNAMICS_LIST];
    size_t batches, steps;
    gm_status status = gm_dynamics_list("batch",
                                        set->batch      ? set->batch
                                        : trained_batch ? trained_batch
                                                        : "1",
                                        true, GM_DYNAMICS_LIST, batch, &batches, err);
    if (status == GM_OK) status = gm_dynamics_run_step(session, &trained_step, err);
    if (status == GM_OK) {
        status = gm_dynamics_list("step",
                                  set->step      ? set->step
                                  : trained_step ? trained_step
                                                 : "0.1",
                                  false, GM_DYNAMICS_LIST, step, &steps, err);
    }
    gm_free(trained_step);
    if (status == GM_OK) {
        status = gm_dynamics_list("levels", set->levels, false, GM_PREDICT_LEVELS, predict->level,
                                  &predict->levels, err);
    }
    gm_replacement replacement = gm_dynamics_replacement(cli, session);
    if (status == GM_OK)
        status =
            gm_dynamics_check_batches(replacement, true, batches, batch, session->data->n, err);
    if (status != GM_OK) return status;
    predict->without_replacement = replacement == GM_REPLACEMENT_NO;
    size_t draws = set->draws ? set->draws : DRAWS;
    predict->cases = batches * steps;
    status = gm_session_check_matrix(session, "the draws", cli->shared.output ? 2 : 1,
                                     predict->cases, draws, err);
    if (status == GM_OK)
        status = gm_dynamics_step_options(cli, session, false, &predict->noise, err);
    if (status != GM_OK) return status;
    predict->item = gm_alloc(predict->cases, sizeof *predict->item, "batch and step sizes", err);
    if (!predict->item) return GM_ERR_MEMORY;
    for (size_t i = 0; i < predict->cases; i++) {
        gm_predict_case *c = &predict->item[i];
        c->batch = (size_t)batch[i / steps];
        c->step = step[i % steps];
        c->draws = draws;
        c->delta = gm_alloc(c->draws, sizeof *c->delta, "draws", err);
        if (!c->delta) return GM_ERR_MEMORY;
    }
    return GM_OK;
}

static gm_status check_batches(const gm_session *session, const gm_predict *predict, gm_error *err)
{
    for (size_t i = 0; i < predict->cases; i++) {
        gm_status status = gm_session_check_matrix(session, "the indices of a mini-batch", 1, 1,
                                                   predict->item[i].batch, err);
        if (status != GM_OK) return status;
    }
    return GM_OK;
}

/* ---- measuring ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Statistics of the sorted draws; the losses that overflowed are the last of them. */
static void summarize(const gm_predict *predict, gm_predict_case *c)
{
    while (c->infinite < c->draws && !isfinite(c->delta[c->draws - 1 - c->infinite])) {
        c->infinite++;
    }
    size_t finite = c->draws - c->infinite;
    for (size_t i = 0; i < finite; i++) {
        c->mean += c->delta[i] / (double)finite;
    }
    for (size_t i = 0; i < finite; i++) {
        c->variance += (c->delta[i] - c->mean) * (c->delta[i] - c->mean) / (double)(finite - 1);
    }
    if (finite < 2) c->variance = (double)NAN;
    if (finite < 1) c->mean = (double)NAN;
    c->mean_error = sqrt(c->variance / (double)finite);
    for (int q = 0; q < GM_PREDICT_QUANTILES; q++) {
        double place = gm_predict_level[q] * (double)(c->draws - 1);
        size_t low = (size_t)place, next = low + 1 < c->draws ? low + 1 : low;
        double share = place - (double)low, rise = c->delta[next] - c->delta[low];
        c->observed[q] = c->delta[low];
        if (share > 0.0 && isfinite(c->delta[low])) c->observed[q] += share * rise;
    }
    for (size_t l = 0; l < predict->levels; l++) {
        gm_coverage *band = &c->coverage[l];
        band->s = predict->level[l];
        gm_step_band(&c->predicted, band->s, &band->lower, &band->upper);
        for (size_t i = 0; i < c->draws; i++) {
            band->below += c->delta[i] < band->lower;
            band->above += c->delta[i] > band->upper;
        }
    }
}

static gm_status draw_case(gm_session *session, const gm_predict *predict, gm_predict_case *c,
                           size_t index, gm_progress *progress, gm_error *err)
{
    gm_draw_options o;
    gm_draw_options_default(&o);
    o.batch = c->batch;
    o.step = c->step;
    o.replacement = predict->without_replacement ? GM_REPLACEMENT_NO : GM_REPLACEMENT_YES;
    o.seed = session->seed;
    o.divisor = predict->divisor;
    o.drift = predict->drift;
    size_t slice = gm_dynamics_slice(session);
    for (size_t done = 0; done < c->draws; done += o.draws) {
        if (gm_interrupt_agreed((void *)session->team)) {
            return gm_fail(err, GM_ERR_INTERRUPTED,
                           "interrupted after %zu of %zu draws; nothing was recorded",
                           index * c->draws + done, predict->cases * c->draws);
        }
        o.first = done;
        o.draws = c->draws - done < slice ? c->draws - done : slice;
        gm_status status = gm_dynamics_draw(session, session->theta, &o, c->delta + done, err);
        if (status != GM_OK) return status;
        gm_progress_update(progress, index * c->draws + done + o.draws, NULL);
    }
    qsort(c->delta, c->draws, sizeof *c->delta, ascending);
    return GM_OK;
}

static gm_status predict_case(const gm_session *session, const gm_predict *predict,
                              gm_predict_case *c, gm_error *err)
{
    gm_status status = gm_step_predict(&predict->model, c->batch, predict->without_replacement,
                                       c->step, &c->predicted, err);
    if (status == GM_OK && predict->model.exact) {
        return gm_step_quantiles(&predict->model, c->batch, predict->without_replacement, c->step,
                                 QUANTILE_DRAWS, session->seed, GM_PREDICT_QUANTILES,
                                 gm_predict_level, c->quantile, err);
    }
    for (int q = 0; q < GM_PREDICT_QUANTILES; q++) {
        c->quantile[q] = (double)NAN;
    }
    return status;
}

static void note_limits(gm_cli *cli, const gm_session *session, const gm_predict *predict)
{
    const gm_step_model *model = &predict->model;
    if (!model->exact) {
        gm_cli_note(cli,
                    "n = %zu exceeds --exact-samples: the noise is estimated, and the model's "
                    "quantiles under Gaussian noise are left out",
                    model->n);
    }
    if (session->precision == GM_F32) {
        gm_cli_note(cli,
                    "Delta is the difference of two losses in f32, with a resolution of about %.1g",
                    6e-8 * model->loss);
    }
}

static gm_status measure(gm_cli *cli, gm_session *session, gm_predict *predict, gm_error *err)
{
    gm_step_options o = predict->noise;
    gm_linearization *lin = NULL;
    gm_status status = gm_linearize(session->problem, session->theta, &lin, err);
    if (status == GM_OK) {
        gm_session_measure(session, lin);
        status = gm_predict_take_step(cli, session, lin, predict, err);
    }
    if (status == GM_OK) {
        o.divisor = predict->divisor;
        o.drift = predict->drift;
        status = gm_step_model_make(lin, &o, &predict->model, err);
    }
    gm_linearization_free(lin);
    if (status != GM_OK) return status;
    note_limits(cli, session, predict);

    gm_progress progress;
    gm_interrupt_install();
    gm_progress_start(&progress, "dynamics predict", "draws", 0,
                      predict->cases * predict->item[0].draws, cli->shared.quiet);
    for (size_t i = 0; status == GM_OK && i < predict->cases; i++) {
        status = predict_case(session, predict, &predict->item[i], err);
        if (status == GM_OK) {
            status = draw_case(session, predict, &predict->item[i], i, &progress, err);
        }
        if (status == GM_OK) summarize(predict, &predict->item[i]);
    }
    gm_progress_finish(&progress);
    return status;
}

/* ---- the command ---- */

static gm_status record(gm_cli *cli, const gm_session *session, const gm_predict *predict,
                        json_t *document, gm_error *err)
{
    if (!cli->shared.output) return GM_OK;
    size_t draws = predict->item[0].draws, entries;
    if (!gm_mul_size(predict->cases, draws, &entries)) entries = SIZE_MAX;
    double *delta = gm_alloc(entries, sizeof *delta, "draws", err);
    if (!delta) return GM_ERR_MEMORY;
    for (size_t i = 0; i < predict->cases; i++) {
        memcpy(delta + i * draws, predict->item[i].delta, draws * sizeof *delta);
    }
    gm_run_array array = {
        .name = "delta", .dtype = GM_F64, .rank = 2, .dim = {predict->cases, draws}, .data = delta};
    gm_status status = gm_record_result(cli, session, "predict", document, &array, 1, err);
    gm_free(delta);
    return status;
}

gm_status gm_predict_run(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_predict predict = {0};
    json_t *document = NULL;
    gm_status status = gm_session_open(cli, &session, err);
    if (status == GM_OK) status = make_cases(cli, &session, &predict, err);
    if (status == GM_OK) status = check_batches(&session, &predict, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status != GM_OK) goto done;
    gm_cli_begin(cli);
    status = measure(cli, &session, &predict, err);
    if (status != GM_OK) goto done;
    if (cli->shared.json || cli->shared.output) {
        document = gm_predict_document(cli, &session, &predict, err);
        status = document ? record(cli, &session, &predict, document, err) : GM_ERR_MEMORY;
    }
    if (status == GM_OK && cli->shared.json) {
        status = gm_document_print(cli, document, err);
        document = NULL;
    } else if (status == GM_OK) {
        gm_predict_print(cli, &session, &predict);
    }
done:
    json_decref(document);
    gm_predict_free(&predict);
    gm_session_close(&session);
    return status;
}
