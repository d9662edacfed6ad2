/* The survey of a point, and of the points of a run. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "gradiometer/eigen.h"
#include "survey/survey.h"

enum {
    MATRICES = 3,      /* H and H_p, and what LAPACK needs beside one of them */
    PROBE_BLOCKS = 5,  /* signs and products, [probes, p] each */
    GRAM_ROWS = 2000,  /* beyond it products are cheaper */
    GRAM_MATRICES = 3, /* the matrix, and what LAPACK needs beside it */
    LEAST_PROBES = 2   /* for a standard error */
};

void gm_decompose_options_default(gm_decompose_options *options)
{
    *options = (gm_decompose_options){
        .k = 15, .cut = 1e-2, .layer = GM_ALL_LAYERS, .probes = 8, .batch = 1};
}

const char *gm_decompose_method_name(gm_decompose_method method)
{
    switch (method) {
    case GM_DECOMPOSE_AUTO:
        break;
    case GM_DECOMPOSE_DENSE:
        return "dense";
    case GM_DECOMPOSE_PRODUCTS:
        return "products";
    }
    return "auto";
}

double gm_decompose_tolerance(const gm_decompose_options *options, gm_dtype precision)
{
    if (options->tol > 0.0) return options->tol;
    return precision == GM_F32 ? 1e-4 : 1e-10;
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
    const gm_slice *slice;
    if (layer == GM_ALL_LAYERS) return true;
    if (layer < 0) return false;
    return (size_t)layer < gm_net_layers(net) ||
           gm_net_group_slices(net, (size_t)layer, &slice) > 0;
}

static double memory_allowed(const gm_decompose_options *options)
{
    if (options->memory) return (double)options->memory;
    return 0.5 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

static double dense_bytes(size_t size)
{
    return (double)size * (double)size * (MATRICES * sizeof(double));
}

gm_decompose_method gm_decompose_choice(size_t size, const gm_decompose_options *options)
{
    if (options->method != GM_DECOMPOSE_AUTO) return options->method;
    bool small = size <= GM_DENSE_PARAMETERS && dense_bytes(size) <= memory_allowed(options);
    return small ? GM_DECOMPOSE_DENSE : GM_DECOMPOSE_PRODUCTS;
}

/* The eigensolver at its most, beside it the eigenvectors of other operators and the probes; a
 * double, so that no size overflows it. `all` parameters in the blocks that hold vectors. */
static double products_bytes(const gm_problem *problem, size_t size, double all,
                             const gm_decompose_options *options, size_t points)
{
    gm_eigen_options eigen;
    gm_eigen_options_default(&eigen);
    eigen.k = options->k < size ? options->k + 1 : size;
    eigen.tol = gm_decompose_tolerance(options, gm_problem_data(problem)->dtype);
    eigen.spare = 0; /* what is left may be used, gm_decompose_spare */
    size_t leads = eigen.k, solver = gm_eigen_bytes(size, &eigen);
    size_t ends = options->by_magnitude ? 1 : 2; /* of an indefinite operator */
    /* H, M and one end of another. Along a run those of all operators, some from this point and
     * some from the one before, and H twice more: the point before and the first. */
    double sets = 3.0;
    if (points > 1) {
        size_t following = gm_eigen_track_bytes(size, &eigen, leads);
        if (following > solver) solver = following;
        sets = 3.0 + 3.0 + (double)ends * (options->gn_residual ? 3.0 : 2.0);
    }
    double vectors =
        sets * (double)leads * all + (double)(PROBE_BLOCKS * options->probes + 2) * (double)size;
    return (double)solver + vectors * sizeof(double);
}

/* What the largest block takes by the method chosen for it. */
static double bytes_needed(const gm_problem *problem, const gm_decompose_options *options,
                           size_t points, size_t *largest, gm_decompose_method *method)
{
    const gm_net *net = gm_problem_net(problem);
    size_t layers = options->each_layer ? gm_net_layers(net) : 0;
    double most = 0.0;
    *largest = 0;
    for (size_t i = 0; i <= layers; i++) {
        int layer = i == 0 ? options->layer : (int)i - 1;
        size_t size = layer == GM_ALL_LAYERS ? gm_net_parameters(net)
                                             : gm_net_layer_at(net, (size_t)layer).parameters;
        double all = (double)size;
        if (options->each_layer) all += (double)gm_net_parameters(net);
        gm_decompose_method how = gm_decompose_choice(size, options);
        double needed = how == GM_DECOMPOSE_DENSE
                            ? dense_bytes(size)
                            : products_bytes(problem, size, all, options, points);
        if (needed <= most) continue;
        most = needed;
        *largest = size;
        *method = how;
    }
    return most;
}

size_t gm_decompose_bytes(const gm_problem *problem, const gm_decompose_options *options,
                          size_t points)
{
    size_t size;
    gm_decompose_method method;
    if (!layer_exists(gm_problem_net(problem), options->layer)) return SIZE_MAX;
    double bytes = bytes_needed(problem, options, points, &size, &method);
    return bytes < (double)SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

/* Bytes allowed beyond what is needed. */
static double bytes_left(const gm_problem *problem, const gm_decompose_options *options,
                         size_t points)
{
    size_t size;
    gm_decompose_method method;
    return memory_allowed(options) - bytes_needed(problem, options, points, &size, &method);
}

size_t gm_decompose_spare(const gm_problem *problem, const gm_decompose_options *options,
                          size_t points)
{
    gm_eigen_options eigen;
    gm_eigen_options_default(&eigen);
    double half = 0.5 * bytes_left(problem, options, points);
    if (!(half > 0.0)) return 0;
    return half < (double)eigen.spare ? (size_t)half : eigen.spare;
}

size_t gm_decompose_gram_rows(const gm_problem *problem, const gm_decompose_options *options,
                              size_t points)
{
    double left =
        bytes_left(problem, options, points) - (double)gm_decompose_spare(problem, options, points);
    double rows = left > 0.0 ? floor(sqrt(left / (GRAM_MATRICES * sizeof(double)))) : 0.0;
    return rows < GRAM_ROWS ? (size_t)rows : GRAM_ROWS;
}

/* What products need; probes alone may be fewer where every block is dense. */
static gm_status check_products(const gm_problem *problem, const gm_decompose_options *options,
                                gm_error *err)
{
    gm_dtype precision = gm_problem_data(problem)->dtype;
    double tol = gm_decompose_tolerance(options, precision), least = gm_eigen_floor(precision);
    if (!(tol >= least && tol <= 1.0)) {
        return gm_fail(
            err, GM_ERR_USAGE,
            "decompose: tol is %g, expected %.2g (the noise floor of products in %s) to 1", tol,
            least, gm_dtype_name(precision));
    }
    if (options->method != GM_DECOMPOSE_DENSE && options->probes < LEAST_PROBES) {
        return gm_fail(err, GM_ERR_USAGE,
                       "decompose: probes is %zu, expected at least %d for norms by products",
                       options->probes, LEAST_PROBES);
    }
    return GM_OK;
}

static gm_status check_memory(const gm_problem *problem, const gm_decompose_options *options,
                              size_t points, gm_error *err)
{
    size_t size;
    gm_decompose_method method = GM_DECOMPOSE_DENSE;
    double needed = bytes_needed(problem, options, points, &size, &method);
    double allowed = memory_allowed(options);
    if (needed <= allowed) return GM_OK;
    if (method == GM_DECOMPOSE_DENSE) {
        return gm_fail(err, GM_ERR_MEMORY,
                       "decompose: dense matrices of p = %zu parameters need %.4g GB and %.4g GB "
                       "are allowed (--memory), enough for p = %.0f; --method products needs none, "
                       "--layer takes one layer at a time",
                       size, needed / 1e9, allowed / 1e9,
                       floor(sqrt(allowed / (MATRICES * sizeof(double)))));
    }
    return gm_fail(err, GM_ERR_MEMORY,
                   "decompose: eigenvectors and probes of p = %zu parameters need %.4g GB for k = "
                   "%zu%s and %.4g GB are allowed (--memory); a smaller k%s, or --layer for one "
                   "layer at a time, needs less",
                   size, needed / 1e9, options->k, points > 1 ? " along a run" : "", allowed / 1e9,
                   points > 1 ? ", or a single point," : "");
}

gm_status gm_decompose_check(const gm_problem *problem, const gm_decompose_options *options,
                             size_t points, gm_error *err)
{
    const gm_net *net = gm_problem_net(problem);
    size_t n = gm_problem_samples(problem);
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
    gm_status status = check_products(problem, options, err);
    return status == GM_OK ? check_memory(problem, options, points, err) : status;
}

/* --- one point --- */

/* past: the point before, NULL without; keep: a point follows (survey.h). */
static gm_status survey(gm_linearization *lin, const gm_decompose_options *options,
                        gm_decomposition *past, bool keep, gm_decomposition *result, gm_error *err)
{
    const gm_problem *problem = gm_linearization_problem(lin);
    result->step = -1;
    result->loss = gm_linearization_loss(lin);
    result->error_rate = gm_linearization_error_rate(lin);
    result->gradient_norm =
        gm_survey_norm(gm_problem_parameters(problem), gm_linearization_gradient(lin));
    gm_status status = gm_survey_block(lin, options, options->layer, past ? &past->block : NULL,
                                       keep, &result->block, err);
    if (status == GM_OK && options->each_layer) {
        size_t layers = gm_net_layers(gm_problem_net(problem));
        result->layer = gm_alloc(layers, sizeof *result->layer, "layers", err);
        if (result->layer) {
            result->layers = layers;
        } else {
            status = GM_ERR_MEMORY;
        }
        for (size_t i = 0; status == GM_OK && i < layers; i++) {
            status = gm_survey_block(lin, options, (int)i, past ? &past->layer[i] : NULL, keep,
                                     &result->layer[i], err);
        }
    }
    if (status != GM_OK) gm_decomposition_free(result);
    return status;
}

gm_status gm_decompose(gm_linearization *lin, const gm_decompose_options *options,
                       gm_decomposition *result, gm_error *err)
{
    memset(result, 0, sizeof *result);
    gm_status status = gm_decompose_check(gm_linearization_problem(lin), options, 1, err);
    if (status != GM_OK) return status;
    return survey(lin, options, NULL, false, result, err);
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

/* The eigenvectors by products that nothing is compared with any more: those of H stay where
 * `hessian`, those of M where `moment`. */
static void drop_block(gm_block_survey *block, bool hessian, bool moment)
{
    for (int i = 0; block->products && i < GM_CURVATURES; i++) {
        gm_operator_survey *op = &block->op[i];
        gm_free(op->low_vector);
        op->low_vector = NULL;
        if ((i == GM_HESSIAN && hessian) || (i == GM_MOMENT && moment)) continue;
        gm_survey_drop_vectors(op);
    }
}

static void drop_vectors(gm_decomposition *point, bool hessian, bool moment)
{
    drop_block(&point->block, hessian, moment);
    for (size_t i = 0; i < point->layers; i++) {
        drop_block(&point->layer[i], hessian, moment);
    }
}

static gm_status survey_point(gm_problem *problem, const gm_decompose_points *points,
                              const gm_decompose_options *options, size_t index, double *theta,
                              gm_decomposition *result, gm_error *err)
{
    gm_linearization *lin = NULL;
    int64_t step = -1;
    gm_status status = points->at(points->self, index, &step, theta, err);
    if (status == GM_OK) status = gm_linearize(problem, theta, &lin, err);
    if (status == GM_OK) {
        status = survey(lin, options, index ? &result[index - 1] : NULL, points->count > 1,
                        &result[index], err);
    }
    gm_linearization_free(lin);
    if (status != GM_OK) return status;
    result[index].step = step;
    status = relate_to_past(result, index, err);
    if (index > 0) drop_vectors(&result[index - 1], index == 1, false);
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
    gm_status status = gm_decompose_check(problem, options, points->count, err);
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
    if (done > 0) drop_vectors(&result[done - 1], true, true);
    for (size_t i = done; i < points->count; i++) {
        gm_decomposition_free(&result[i]);
    }
    if (finished) *finished = done;
    gm_free(theta);
    return status;
}
