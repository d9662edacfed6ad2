/* Nets from ONNX files in a session. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/session.h"

/* The file must be what the run was made with, unless the user names one on purpose. */
static gm_status check_recorded(const gm_cli *cli, const gm_session *session, gm_error *err)
{
    char found[32];
    const char *recorded = gm_session_recorded(session, "model-crc32");
    snprintf(found, sizeof found, "%08lx", session->onnx->checksum);
    if (!recorded || gm_cli_given(cli, "model") || strcmp(recorded, found) == 0) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: its model %s has changed since: checksum %s, expected %s (--model names a "
                   "file all the same)",
                   gm_run_path(session->run), session->onnx->path, found, recorded);
}

gm_status gm_session_import(const gm_cli *cli, gm_session *session, gm_error *err)
{
    const gm_shared *shared = &session->shared;
    gm_error inner = {0};
    gm_onnx_options options;
    gm_onnx_options_default(&options);
    options.logits = shared->logits;
    options.constants = shared->constants;
    gm_status status = gm_onnx_load(shared->model, &options, &session->onnx, &inner);
    if (status == GM_ERR_IO && session->run && !gm_cli_given(cli, "model")) {
        return gm_fail(err, status, "%s: the model that it recorded is gone: %s",
                       gm_run_path(session->run), inner.message);
    }
    if (status != GM_OK) return gm_fail(err, status, "%s", inner.message);
    session->net = session->onnx->net;
    return check_recorded(cli, session, err);
}

gm_status gm_session_import_net(const char *path, const char *logits, const char *constants,
                                gm_net **net, gm_error *err)
{
    gm_onnx *model;
    gm_onnx_options options;
    gm_onnx_options_default(&options);
    options.logits = logits;
    options.constants = constants;
    gm_status status = gm_onnx_load(path, &options, &model, err);
    if (status != GM_OK) return status;
    *net = model->net;
    model->net = NULL;
    gm_onnx_free(model);
    return GM_OK;
}

/* ---- the same twice ---- */

enum { REPEATED_SAMPLES = 32 };

/* The first few samples, in the data's order; of a share its own. */
static gm_status few_samples(const gm_session *session, gm_dataset **few, gm_error *err)
{
    gm_dataset held = *session->data;
    size_t index[REPEATED_SAMPLES], count = 0;
    for (; count < REPEATED_SAMPLES && count < held.n; count++) {
        index[count] = count;
    }
    held.whole = held.first = 0;
    return gm_dataset_select(&held, count, index, "the first samples", few, err);
}

static gm_status compare_passes(const gm_session *session, gm_problem *problem, double *gradient,
                                gm_error *err)
{
    size_t p = gm_net_parameters(session->net);
    double loss[2] = {0, 0};
    gm_status status = GM_OK;
    for (int i = 0; status == GM_OK && i < 2; i++) {
        status = gm_problem_gradient(problem, session->theta, &loss[i], NULL,
                                     gradient + (size_t)i * p, err);
    }
    bool equal = loss[0] == loss[1] || (isnan(loss[0]) && isnan(loss[1]));
    bool same = equal && memcmp(gradient, gradient + p, p * sizeof *gradient) == 0;
    if (status != GM_OK || same) return status;
    return gm_fail(err, GM_ERR_INPUT,
                   "--model %s: two passes over the same samples disagree, losses %.17g and %.17g",
                   session->onnx->path, loss[0], loss[1]);
}

gm_status gm_session_check_repeats(const gm_session *session, gm_error *err)
{
    gm_dataset *few = NULL;
    gm_problem *problem = NULL;
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = session->loss_kind;
    options.memory = session->shared.memory;
    if (session->data->n == 0) return GM_OK;
    double *gradient =
        gm_alloc(2 * gm_net_parameters(session->net), sizeof *gradient, "gradients", err);
    gm_status status = gradient ? few_samples(session, &few, err) : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_problem_create(session->net, few, &options, &problem, err);
    if (status == GM_OK) status = compare_passes(session, problem, gradient, err);
    gm_problem_free(problem);
    gm_dataset_free(few);
    gm_free(gradient);
    return status;
}
