/* The survey of a point, and of the points of a run. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "survey/survey.h"

/* H and H_p, and what LAPACK needs beside one of them. */
enum { MATRICES = 3 };

void gm_decompose_options_default(gm_decompose_options *options)
{
    *options = (gm_decompose_options){
        .k = 15, .cut = 1e-2, .layer = GM_ALL_LAYERS, .probes = 4, .batch = 1};
}

void gm_decomposition_free(gm_decomposition *result)
{
    if (!result) return;
    gm_block_survey_clear(&result->block);
    for (size_t i = 0; i < result->layers; i++) {
        gm_block_survey_clear(&result->layer[i]);
    }
    gm_free(result->layer);
    memset(result, 0, sizeof *result);
}

/* --- limits --- */

static bool layer_exists(const gm_net *net, int layer)
{
    return layer == GM_ALL_LAYERS || (layer >= 0 && (size_t)layer < gm_net_layers(net));
}

static size_t largest_block(const gm_net *net, const gm_decompose_options *options)
{
    if (options->layer == GM_ALL_LAYERS) return gm_net_parameters(net);
    size_t size = gm_net_layer_at(net, (size_t)options->layer).parameters;
    for (size_t i = 0; options->each_layer && i < gm_net_layers(net); i++) {
        size_t parameters = gm_net_layer_at(net, i).parameters;
        if (parameters > size) size = parameters;
    }
    return size;
}

size_t gm_decompose_bytes(const gm_problem *problem, const gm_decompose_options *options)
{
    const gm_net *net = gm_problem_net(problem);
    if (!layer_exists(net, options->layer)) return SIZE_MAX;
    size_t size = largest_block(net, options), bytes;
    if (!gm_mul_size(size, size, &bytes)) return SIZE_MAX;
    if (!gm_mul_size(bytes, MATRICES * sizeof(double), &bytes)) return SIZE_MAX;
    return bytes;
}

static double memory_allowed(const gm_decompose_options *options)
{
    if (options->memory) return (double)options->memory;
    return 0.5 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

gm_status gm_decompose_check(const gm_problem *problem, const gm_decompose_options *options,
                             gm_error *err)
{
    const gm_net *net = gm_problem_net(problem);
    size_t n = gm_problem_data(problem)->n;
    if (options->k == 0) {
        return gm_fail(err, GM_ERR_USAGE, "decompose: k is 0, expected at least 1");
    }
    if (options->probes == 0) {
        return gm_fail(err, GM_ERR_USAGE, "decompose: probes is 0, expected at least 1");
    }
    if (!(options->cut >= 0.0 && options->cut < 1.0)) {
        return gm_fail(err, GM_ERR_USAGE, "decompose: the cut is %g, expected 0 <= cut < 1",
                       options->cut);
    }
    if (options->batch == 0 || (options->without_replacement && options->batch > n)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "decompose: the batch is %zu, expected at least 1%s (n = %zu)",
                       options->batch, options->without_replacement ? " and at most n" : "", n);
    }
    if (!layer_exists(net, options->layer)) {
        return gm_fail(err, GM_ERR_USAGE, "decompose: layer %d, expected 0 to %zu", options->layer,
                       gm_net_layers(net) - 1);
    }
    size_t size = largest_block(net, options);
    double needed = (double)size * (double)size * (MATRICES * sizeof(double));
    double allowed = memory_allowed(options);
    if (needed <= allowed) return GM_OK;
    return gm_fail(err, GM_ERR_MEMORY,
                   "decompose: dense matrices of p = %zu parameters need %.4g GB and %.4g GB are "
                   "allowed (--memory); this release decomposes by dense matrices only, up to p = "
                   "%.0f here, one layer at a time with --layer",
                   size, needed / 1e9, allowed / 1e9,
                   floor(sqrt(allowed / (MATRICES * sizeof(double)))));
}

/* --- one point --- */

gm_status gm_decompose(gm_linearization *lin, const gm_decompose_options *options,
                       gm_decomposition *result, gm_error *err)
{
    const gm_problem *problem = gm_linearization_problem(lin);
    memset(result, 0, sizeof *result);
    gm_status status = gm_decompose_check(problem, options, err);
    if (status != GM_OK) return status;

    result->step = -1;
    result->loss = gm_linearization_loss(lin);
    result->error_rate = gm_linearization_error_rate(lin);
    result->gradient_norm =
        gm_survey_norm(gm_problem_parameters(problem), gm_linearization_gradient(lin));
    status = gm_survey_block(lin, options, options->layer, &result->block, err);
    if (status == GM_OK && options->each_layer) {
        size_t layers = gm_net_layers(gm_problem_net(problem));
        result->layer = gm_alloc(layers, sizeof *result->layer, "layers", err);
        if (result->layer) {
            result->layers = layers;
        } else {
            status = GM_ERR_MEMORY;
        }
        for (size_t i = 0; status == GM_OK && i < layers; i++) {
            status = gm_survey_block(lin, options, (int)i, &result->layer[i], err);
        }
    }
    if (status != GM_OK) gm_decomposition_free(result);
    return status;
}

/* --- a run --- */

static gm_status relate_blocks(gm_block_survey *now, const gm_block_survey *previous,
                               const gm_block_survey *first, gm_error *err)
{
    gm_side side = gm_side_of("hessian", &now->op[GM_HESSIAN]);
    gm_side before = gm_side_of("hessian_previous", &previous->op[GM_HESSIAN]);
    gm_side start = gm_side_of("hessian_first", &first->op[GM_HESSIAN]);
    gm_status status = gm_survey_overlap(now->size, now->k, &side, &before, &now->previous, err);
    if (status != GM_OK) return status;
    return gm_survey_overlap(now->size, now->k, &side, &start, &now->first, err);
}

static gm_status relate_to_past(gm_decomposition *result, size_t index, gm_error *err)
{
    gm_decomposition *now = &result[index];
    if (index == 0) return GM_OK;
    gm_status status = relate_blocks(&now->block, &result[index - 1].block, &result[0].block, err);
    for (size_t i = 0; status == GM_OK && i < now->layers; i++) {
        status =
            relate_blocks(&now->layer[i], &result[index - 1].layer[i], &result[0].layer[i], err);
    }
    return status;
}

static gm_status survey_point(gm_problem *problem, const gm_decompose_points *points,
                              const gm_decompose_options *options, size_t index, double *theta,
                              gm_decomposition *result, gm_error *err)
{
    gm_linearization *lin = NULL;
    int64_t step = -1;
    gm_status status = points->at(points->self, index, &step, theta, err);
    if (status == GM_OK) status = gm_linearize(problem, theta, &lin, err);
    if (status == GM_OK) status = gm_decompose(lin, options, &result[index], err);
    gm_linearization_free(lin);
    if (status != GM_OK) return status;
    result[index].step = step;
    status = relate_to_past(result, index, err);
    if (status == GM_OK && points->done) {
        status = points->done(points->self, index, &result[index], err);
    }
    return status;
}

gm_status gm_decompose_run(gm_problem *problem, const gm_decompose_points *points,
                           const gm_decompose_options *options, gm_decomposition *result,
                           size_t *finished, gm_error *err)
{
    size_t done = 0;
    if (finished) *finished = 0;
    memset(result, 0, points->count * sizeof *result);
    gm_status status = gm_decompose_check(problem, options, err);
    if (status != GM_OK) return status;
    double *theta =
        gm_alloc(gm_problem_parameters(problem), sizeof *theta, "parameters of a point", err);
    if (!theta) return GM_ERR_MEMORY;
    while (status == GM_OK && done < points->count) {
        status = survey_point(problem, points, options, done, theta, result, err);
        done += status == GM_OK;
    }
    /* An interrupted survey keeps its whole points. */
    if (status != GM_OK && status != GM_ERR_INTERRUPTED) done = 0;
    for (size_t i = done; i < points->count; i++) {
        gm_decomposition_free(&result[i]);
    }
    if (finished) *finished = done;
    gm_free(theta);
    return status;
}
