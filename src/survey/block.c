/* One block, the whole net or one layer, at one point: its operators and how they lie to each
 * other. By dense matrices here; by products in products.c.
 *
 *   1. dense H and H_p: ||H_p + H||_F / ||H||_F, then their spectra (the matrices are destroyed)
 *   2. spectra of M, Sigma, G: through the Gram form where it is smaller, else dense
 *   3. overlaps, principal angles, shares of the gradient
 *   4. H = M - H_p on random vectors, by three independent products */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "survey/survey.h"

static void overlap_clear(gm_overlap_survey *overlap)
{
    gm_free(overlap->value);
    gm_free(overlap->resolved);
    memset(overlap, 0, sizeof *overlap);
}

void gm_block_survey_clear(gm_block_survey *block)
{
    for (int i = 0; i < GM_CURVATURES; i++) {
        gm_operator_survey_clear(&block->op[i]);
    }
    for (int i = 0; i < GM_SURVEY_PAIRS; i++) {
        overlap_clear(&block->pair[i]);
    }
    overlap_clear(&block->previous);
    overlap_clear(&block->first);
    gm_free(block->angle);
    gm_free(block->cosine);
    gm_free(block->product);
    gm_free(block->share);
    memset(block, 0, sizeof *block);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- operators --- */

/* ||a + b|| / ||b||, NaN for b = 0: undefined. Each norm relative to its largest number, for the
 * reason of gm_survey_norm. */
static double ratio_of_sum(size_t n, const double *a, const double *b)
{
    double top = 0.0, base = 0.0, sum = 0.0, square = 0.0;
    for (size_t i = 0; i < n; i++) {
        top = fmax(top, fabs(a[i] + b[i]));
        base = fmax(base, fabs(b[i]));
    }
    if (base == 0.0) return (double)NAN;
    if (top == 0.0) return 0.0;
    for (size_t i = 0; i < n; i++) {
        double both = (a[i] + b[i]) / top, one = b[i] / base;
        sum += both * both;
        square += one * one;
    }
    return top / base * sqrt(sum / square);
}

/* Dense H and H_p side by side, the one place where two matrices of size^2 are needed. */
static gm_status survey_hessian_and_residual(gm_block_task *task, gm_block_survey *block,
                                             gm_low_end *low, gm_error *err)
{
    double *hessian = task->matrix[0], *residual = task->matrix[1];
    gm_status status = gm_curvature_dense(task->lin, GM_HESSIAN, task->layer, hessian, err);
    if (status == GM_OK) {
        status = gm_curvature_dense(task->lin, GM_RESIDUAL, task->layer, residual, err);
    }
    if (status != GM_OK) return status;

    block->residual_plus_hessian = ratio_of_sum(task->size * task->size, residual, hessian);
    status = gm_survey_operator(task, GM_RESIDUAL, residual, &block->op[GM_RESIDUAL], low, err);
    if (status != GM_OK) return status;
    return gm_survey_operator(task, GM_HESSIAN, hessian, &block->op[GM_HESSIAN], NULL, err);
}

static gm_status survey_others(gm_block_task *task, gm_block_survey *block, gm_error *err)
{
    static const gm_curvature others[] = {GM_MOMENT, GM_COVARIANCE, GM_GGN, GM_GN_RESIDUAL};
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < sizeof others / sizeof others[0]; i++) {
        gm_curvature kind = others[i];
        if (kind == GM_GN_RESIDUAL && !task->options->gn_residual) continue;
        size_t rows = gm_survey_gram_rows(task, kind);
        double *matrix = rows > 0 && rows < task->size ? NULL : task->matrix[0];
        if (matrix) status = gm_curvature_dense(task->lin, kind, task->layer, matrix, err);
        if (status == GM_OK) {
            status = gm_survey_operator(task, kind, matrix, &block->op[kind], NULL, err);
        }
    }
    return status;
}

/* --- the check of the decomposition --- */

double gm_survey_mismatch(size_t size, size_t count, const double *hessian, const double *moment,
                          const double *residual, double *work)
{
    double worst = 0.0;
    for (size_t j = 0; j < count; j++) {
        const double *h = hessian + j * size, *m = moment + j * size, *r = residual + j * size;
        for (size_t i = 0; i < size; i++) {
            work[i] = h[i] - m[i] + r[i];
        }
        double total = gm_survey_norm(size, h) + gm_survey_norm(size, m) + gm_survey_norm(size, r);
        if (total > 0.0) worst = fmax(worst, gm_survey_norm(size, work) / total);
    }
    return worst; /* 0 where all three are the zero operator */
}

static gm_status measure_decomposition_error(const gm_block_task *task, gm_block_survey *block,
                                             gm_error *err)
{
    static const gm_curvature kinds[] = {GM_HESSIAN, GM_MOMENT, GM_RESIDUAL};
    size_t size = task->size, count = task->options->probes, block_size, numbers;
    if (!gm_mul_size(count, size, &block_size)) block_size = SIZE_MAX;
    if (!gm_mul_size(3, block_size, &numbers)) numbers = SIZE_MAX;
    gm_operator op = {0};
    gm_status status = GM_ERR_MEMORY;
    double *v = gm_alloc(block_size, sizeof *v, "random vectors", err);
    double *product = gm_alloc(numbers, sizeof *product, "products", err);
    if (!v || !product) goto done;
    gm_normal_fill(gm_stream_of(task->options->seed, GM_PURPOSE_PROBE, 0), 0, block_size, v);
    for (size_t i = 0; i < 3; i++) {
        status = gm_curvature_operator(task->lin, kinds[i], task->layer, &op, err);
        if (status == GM_OK) {
            status = gm_operator_apply(&op, count, v, product + i * block_size, err);
        }
        gm_operator_destroy(&op);
        if (status != GM_OK) goto done;
    }
    block->decomposition_error =
        gm_survey_mismatch(size, count, product, product + block_size, product + 2 * block_size, v);
done:
    gm_free(v);
    gm_free(product);
    return status;
}

/* --- the whole --- */

static void name_block(const gm_block_task *task, gm_block_survey *block)
{
    const gm_net *net = gm_problem_net(gm_linearization_problem(task->lin));
    bool whole = task->layer == GM_ALL_LAYERS;
    block->layer = task->layer;
    block->name = whole ? "net" : gm_net_layer_at(net, (size_t)task->layer).name;
    block->size = task->size;
    block->k = task->k;
}

/* Dense matrices, the two of them the only arrays of size^2 numbers. */
static gm_status survey_dense(gm_block_task *task, gm_block_survey *block, gm_error *err)
{
    gm_low_end low = {0};
    gm_status status = GM_ERR_MEMORY;
    for (int i = 0; i < 2; i++) {
        task->matrix[i] = gm_alloc(task->size * task->size, sizeof(double), "dense matrix", err);
        if (!task->matrix[i]) goto done;
    }
    status = survey_hessian_and_residual(task, block, &low, err);
    if (status != GM_OK) goto done;
    status = survey_others(task, block, err);
    if (status != GM_OK) goto done;
    double trace = block->op[GM_HESSIAN].summary.trace;
    block->moment_share = trace != 0.0 ? block->op[GM_MOMENT].summary.trace / trace : (double)NAN;

    for (int i = 0; status == GM_OK && i < GM_SURVEY_PAIRS; i++) {
        status = gm_survey_pair(block, i, &low, err);
    }
    if (status == GM_OK) status = gm_survey_angles(block, err);
    if (status == GM_OK) status = gm_survey_shares(task, block, err);
    if (status == GM_OK) status = measure_decomposition_error(task, block, err);
    for (int i = 0; i < GM_CURVATURES; i++) {
        if (i == GM_HESSIAN || i == GM_MOMENT) continue;
        gm_free(block->op[i].lead_vector);
        block->op[i].lead_vector = NULL;
    }
done:
    gm_low_end_clear(&low);
    gm_free(task->matrix[0]);
    gm_free(task->matrix[1]);
    return status;
}

gm_status gm_survey_block(gm_linearization *lin, const gm_decompose_options *options, int layer,
                          gm_block_survey *past, bool keep, gm_block_survey *block, gm_error *err)
{
    const gm_problem *problem = gm_linearization_problem(lin);
    const gm_net *net = gm_problem_net(problem);
    gm_block_task task = {.lin = lin, .options = options, .layer = layer, .past = past};
    task.keep = keep;
    task.size = layer == GM_ALL_LAYERS ? gm_net_parameters(net)
                                       : gm_net_layer_at(net, (size_t)layer).parameters;
    task.k = smaller(options->k, task.size);
    task.precision = gm_problem_data(problem)->dtype;
    task.eps = gm_dtype_eps(task.precision);
    task.outlier_limit = 3 * gm_net_outputs(net) / gm_problem_data(problem)->positions;
    name_block(&task, block);
    block->products = gm_decompose_choice(task.size, options) == GM_DECOMPOSE_PRODUCTS;
    return block->products ? gm_survey_products(&task, block, err)
                           : survey_dense(&task, block, err);
}
