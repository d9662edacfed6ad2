/* Nets from ONNX files in a session. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/session.h"
#include "kernels/kernels.h"

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

static gm_status check_repeats(const gm_session *session, gm_error *err)
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

/* ---- samples alone and together ---- */

enum { TOGETHER = 2, BATCHES = 2, ALONE = TOGETHER * BATCHES };

/* The same few samples for both nets, and targets that no output is likely to meet. */
typedef struct few_numbers {
    size_t features, outputs; /* of one sample */
    double *x, *target;       /* [ALONE, features], [ALONE, outputs] */
} few_numbers;

static gm_status take_few(const gm_session *session, few_numbers *few, gm_error *err)
{
    const gm_dataset *data = session->data;
    const gm_kernels *k = gm_kernels_get(data->dtype);
    *few = (few_numbers){.features = data->features, .outputs = gm_net_outputs(session->net)};
    few->x = gm_alloc(ALONE * few->features, sizeof *few->x, "samples", err);
    few->target = gm_alloc(ALONE * few->outputs, sizeof *few->target, "targets", err);
    if (!few->x || !few->target) return GM_ERR_MEMORY;
    for (size_t i = 0; i < ALONE; i++) {
        const char *from = (const char *)data->x + i % data->n * few->features * k->size;
        k->to_double(few->features, from, few->x + i * few->features);
    }
    for (size_t i = 0; i < ALONE * few->outputs; i++) {
        few->target[i] = (double)(i % few->outputs % 3) - 1.0;
    }
    return GM_OK;
}

/* Sum over the samples of loss and gradient [p] for a net that takes so many samples as one. */
static gm_status sums_of(const gm_session *session, const gm_net *net, const few_numbers *few,
                         size_t together, double *loss, double *gradient, gm_error *err)
{
    size_t n = ALONE / together, p = gm_net_parameters(net);
    gm_shape shape = {.rank = 1, .dim = {together * few->features}};
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = GM_LOSS_SQUARED;
    options.memory = session->shared.memory;
    gm_status status =
        gm_data_from_arrays("the first samples", n, &shape, few->x, NULL, few->target,
                            together * few->outputs, session->data->dtype, 0, &data, err);
    if (status == GM_OK) status = gm_problem_create(net, data, &options, &problem, err);
    if (status == GM_OK) {
        status = gm_problem_gradient(problem, session->theta, loss, NULL, gradient, err);
    }
    gm_problem_free(problem);
    gm_dataset_free(data);
    if (status != GM_OK) return status;
    *loss *= (double)n;
    for (size_t i = 0; i < p; i++) {
        gradient[i] *= (double)n;
    }
    return GM_OK;
}

/* Both are sums of the same numbers in other orders: half of the digits must be there. */
static gm_status compare_batches(const gm_session *session, const gm_net *batches, gm_error *err)
{
    size_t p = gm_net_parameters(session->net);
    double loss[2] = {0, 0}, apart = 0.0, size = 0.0;
    double tolerance = sqrt(gm_dtype_eps(session->data->dtype));
    few_numbers few;
    double *gradient = gm_alloc(2 * p, sizeof *gradient, "gradients", err);
    gm_status status = take_few(session, &few, err);
    if (!gradient) status = GM_ERR_MEMORY;
    if (status == GM_OK) status = sums_of(session, session->net, &few, 1, loss, gradient, err);
    if (status == GM_OK) {
        status = sums_of(session, batches, &few, TOGETHER, loss + 1, gradient + p, err);
    }
    for (size_t i = 0; status == GM_OK && i < p; i++) {
        apart = hypot(apart, gradient[i] - gradient[p + i]);
        size = hypot(size, gradient[i]);
    }
    gm_free(gradient);
    gm_free(few.x);
    gm_free(few.target);
    bool equal = fabs(loss[1] - loss[0]) <= tolerance * loss[0] && apart <= tolerance * size;
    if (status != GM_OK || equal || !isfinite(loss[0]) || !isfinite(size)) return status;
    return gm_fail(err, GM_ERR_INPUT,
                   "--model %s: it mixes the samples of a batch: squared loss %.9g of %d samples "
                   "one at a time, %.9g in batches of %d; expected a graph that works on each by "
                   "itself (is there a softmax, a reduction or a reshape over the first axis?)",
                   session->onnx->path, loss[0] / ALONE, ALONE, loss[1] / ALONE, TOGETHER);
}

static gm_status check_batches(const gm_session *session, gm_error *err)
{
    gm_onnx *batches = NULL;
    gm_error inner = {0};
    gm_onnx_options options;
    if (session->onnx->batch_of_one) return GM_OK; /* there is nothing to mix */
    gm_onnx_options_default(&options);
    options.logits = session->shared.logits;
    options.constants = session->shared.constants;
    options.together = TOGETHER;
    gm_status status = gm_onnx_load(session->onnx->path, &options, &batches, &inner);
    if (status == GM_ERR_INPUT) {
        return gm_fail(err, status,
                       "%s (with %d samples at once, as its free batch promises; export it with "
                       "dynamic_axes, or with a batch of 1)",
                       inner.message, TOGETHER);
    }
    if (status != GM_OK) return gm_fail(err, status, "%s", inner.message);
    status = compare_batches(session, batches->net, err);
    gm_onnx_free(batches);
    return status;
}

gm_status gm_session_check_import(const gm_session *session, gm_error *err)
{
    gm_status status = check_repeats(session, err);
    return status == GM_OK ? check_batches(session, err) : status;
}
