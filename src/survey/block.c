/* One block, the whole net or one layer, at one point: its operators and how they lie to each
 * other.
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

/* --- relations --- */

gm_side gm_side_of(const char *name, const gm_operator_survey *survey)
{
    return (gm_side){.name = name,
                     .rank = survey->summary.rank,
                     .count = survey->count,
                     .floor = survey->summary.floor,
                     .by_magnitude = survey->by_magnitude,
                     .value = survey->lead_value,
                     .residual = survey->residual,
                     .vector = survey->lead_vector};
}

gm_status gm_survey_overlap(size_t size, size_t most, const gm_side *a, const gm_side *b,
                            gm_overlap_survey *overlap, gm_error *err)
{
    size_t k = smaller(most, smaller(smaller(a->rank, a->count), smaller(b->rank, b->count)));
    gm_status status = GM_ERR_MEMORY;
    double *product = gm_alloc(k * k, sizeof *product, "products of two bases", err);
    bool *resolved = gm_alloc(k, sizeof *resolved, "flags", err);
    *overlap = (gm_overlap_survey){.a = a->name, .b = b->name, .size = size, .k = k};
    overlap->value = gm_alloc(k, sizeof(double), "overlaps", err);
    overlap->resolved = gm_alloc(k, sizeof(bool), "flags", err);
    if (!product || !resolved || !overlap->value || !overlap->resolved) goto done;

    gm_subspace_products(k, k, size, a->vector, b->vector, product);
    gm_subspace_overlap(k, k, product, overlap->value);
    gm_eigen_resolved(size, a->count, a->value, a->residual, a->floor, a->by_magnitude, k,
                      overlap->resolved);
    gm_eigen_resolved(size, b->count, b->value, b->residual, b->floor, b->by_magnitude, k,
                      resolved);
    for (size_t j = 0; j < k; j++) {
        overlap->resolved[j] = overlap->resolved[j] && resolved[j];
    }
    status = GM_OK;
done:
    gm_free(product);
    gm_free(resolved);
    return status;
}

static gm_status measure_overlaps(gm_block_survey *block, const gm_low_end *low, gm_error *err)
{
    static const struct {
        gm_curvature a, b;
    } pairs[] = {{GM_HESSIAN, GM_MOMENT},
                 {GM_HESSIAN, GM_GGN},
                 {GM_HESSIAN, GM_COVARIANCE},
                 {GM_MOMENT, GM_GGN},
                 {GM_HESSIAN, GM_RESIDUAL}};
    enum { PAIRS = sizeof pairs / sizeof pairs[0] };
    _Static_assert(PAIRS + 1 == GM_SURVEY_PAIRS, "the last pair is H with -H_p");

    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < PAIRS; i++) {
        gm_side a = gm_side_of(gm_curvature_name(pairs[i].a), &block->op[pairs[i].a]);
        gm_side b = gm_side_of(gm_curvature_name(pairs[i].b), &block->op[pairs[i].b]);
        status = gm_survey_overlap(block->size, block->k, &a, &b, &block->pair[i], err);
    }
    if (status != GM_OK) return status;

    /* By magnitude H_p and -H_p have the same leading directions. */
    const gm_operator_survey *residual = &block->op[GM_RESIDUAL];
    gm_side hessian = gm_side_of(gm_curvature_name(GM_HESSIAN), &block->op[GM_HESSIAN]);
    gm_side minus = gm_side_of("minus_residual", residual);
    if (!residual->by_magnitude) {
        minus.count = low->count;
        minus.value = low->value;
        minus.residual = low->residual;
        minus.vector = low->vector;
    }
    return gm_survey_overlap(block->size, block->k, &hessian, &minus, &block->pair[PAIRS], err);
}

static gm_status measure_angles(gm_block_survey *block, gm_error *err)
{
    const gm_operator_survey *h = &block->op[GM_HESSIAN], *m = &block->op[GM_MOMENT];
    size_t count = block->pair[0].k; /* H against M: ranks respected */
    block->angles = count;
    block->angle = gm_alloc(count, sizeof(double), "principal angles", err);
    block->cosine = gm_alloc(count, sizeof(double), "cosines", err);
    block->product = gm_alloc(count * count, sizeof(double), "products of two bases", err);
    if (!block->angle || !block->cosine || !block->product) return GM_ERR_MEMORY;
    gm_subspace_products(count, count, block->size, h->lead_vector, m->lead_vector, block->product);
    for (size_t i = 0; i < count * count; i++) {
        block->product[i] = fabs(block->product[i]);
    }
    return gm_principal_angles(count, count, block->size, h->lead_vector, m->lead_vector,
                               block->angle, block->cosine, err);
}

double gm_survey_norm(size_t n, const double *x)
{
    double largest = 0.0, sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return fabs(x[i]);
        largest = fmax(largest, fabs(x[i]));
    }
    if (largest == 0.0) return 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (x[i] / largest) * (x[i] / largest);
    }
    return largest * sqrt(sum);
}

/* Rounding of a share of 1, in units of the products' eps: sums over samples are taken in double,
 * so a few roundings of g and of U are what is left. */
static const double SHARE_ROUNDING = 64.0;

/* E ||U^T g||^2 / E ||g||^2 over mini-batches: E g g^T = mu mu^T + kappa Sigma = (1 - kappa) mu
 * mu^T + kappa M (theory section 1), so traces of M on the subspace are all it takes. */
static gm_status measure_stochastic_share(const gm_block_task *task, const double *gradient,
                                          gm_block_survey *block, gm_error *err)
{
    const gm_decompose_options *options = task->options;
    size_t size = task->size, k = smaller(block->k, block->op[GM_HESSIAN].summary.rank);
    const double *u = block->op[GM_HESSIAN].lead_vector;
    gm_operator moment = {0};
    gm_status status = GM_ERR_MEMORY;
    double *product = gm_alloc(k * size, sizeof *product, "products with M", err);
    if (!product) goto done;
    status = gm_curvature_operator(task->lin, GM_MOMENT, task->layer, &moment, err);
    if (status == GM_OK && k > 0) status = gm_operator_apply(&moment, k, u, product, err);
    if (status != GM_OK) goto done;

    double inside = 0.0; /* tr U^T M U */
    for (size_t i = 0; i < k * size; i++) {
        inside += u[i] * product[i];
    }
    double n = (double)gm_problem_data(gm_linearization_problem(task->lin))->n;
    double m = (double)options->batch;
    double kappa = 1.0 / m;
    if (options->without_replacement) kappa = n > 1.0 ? (n - m) / (m * (n - 1.0)) : 0.0;
    double square = gm_survey_norm(size, gradient) * gm_survey_norm(size, gradient);
    double mean_share = block->shares ? block->share[block->shares - 1] : 0.0;
    double total = (1.0 - kappa) * square + kappa * block->op[GM_MOMENT].summary.trace;
    double share = ((1.0 - kappa) * square * mean_share + kappa * inside) / total;
    /* All of the gradient may lie within: then rounding of the products decides on which side of 1.
     * More than that would be a defect, and is shown. */
    bool rounding = share > 1.0 && share < 1.0 + SHARE_ROUNDING * task->eps;
    block->stochastic_share = rounding ? 1.0 : share;
done:
    gm_operator_destroy(&moment);
    gm_free(product);
    return status;
}

static gm_status measure_shares(const gm_block_task *task, gm_block_survey *block, gm_error *err)
{
    const double *gradient = gm_linearization_gradient(task->lin);
    if (task->layer != GM_ALL_LAYERS) {
        const gm_net *net = gm_problem_net(gm_linearization_problem(task->lin));
        gradient += gm_net_layer_at(net, (size_t)task->layer).offset;
    }
    size_t count = smaller(block->k, block->op[GM_HESSIAN].summary.rank);
    block->share = gm_alloc(count, sizeof(double), "shares of the gradient", err);
    if (!block->share) return GM_ERR_MEMORY;
    bool defined = gm_subspace_share(count, task->size, block->op[GM_HESSIAN].lead_vector, gradient,
                                     block->share);
    block->shares = defined ? count : 0;
    return measure_stochastic_share(task, gradient, block, err);
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
        size_t rows = gm_gram_size(task->lin, kind);
        double *matrix = rows > 0 && rows < task->size ? NULL : task->matrix[0];
        if (matrix) status = gm_curvature_dense(task->lin, kind, task->layer, matrix, err);
        if (status == GM_OK) {
            status = gm_survey_operator(task, kind, matrix, &block->op[kind], NULL, err);
        }
    }
    return status;
}

/* --- the check of the decomposition --- */

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
    double worst = 0.0;
    for (size_t j = 0; j < count; j++) {
        const double *h = product + j * size, *m = h + block_size, *r = m + block_size;
        for (size_t i = 0; i < size; i++) {
            v[i] = h[i] - m[i] + r[i]; /* the probes have served */
        }
        double total = gm_survey_norm(size, h) + gm_survey_norm(size, m) + gm_survey_norm(size, r);
        if (total > 0.0) worst = fmax(worst, gm_survey_norm(size, v) / total);
    }
    block->decomposition_error = worst; /* 0 where all three are the zero operator */
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

gm_status gm_survey_block(gm_linearization *lin, const gm_decompose_options *options, int layer,
                          gm_block_survey *block, gm_error *err)
{
    const gm_problem *problem = gm_linearization_problem(lin);
    const gm_net *net = gm_problem_net(problem);
    gm_block_task task = {.lin = lin, .options = options, .layer = layer};
    task.size = layer == GM_ALL_LAYERS ? gm_net_parameters(net)
                                       : gm_net_layer_at(net, (size_t)layer).parameters;
    task.k = smaller(options->k, task.size);
    task.eps = gm_dtype_eps(gm_problem_data(problem)->dtype);
    task.outlier_limit = 3 * gm_net_outputs(net);
    name_block(&task, block);

    gm_low_end low = {0};
    gm_status status = GM_ERR_MEMORY;
    for (int i = 0; i < 2; i++) {
        task.matrix[i] = gm_alloc(task.size * task.size, sizeof(double), "dense matrix", err);
        if (!task.matrix[i]) goto done;
    }
    status = survey_hessian_and_residual(&task, block, &low, err);
    if (status != GM_OK) goto done;
    status = survey_others(&task, block, err);
    if (status != GM_OK) goto done;
    double trace = block->op[GM_HESSIAN].summary.trace;
    block->moment_share = trace != 0.0 ? block->op[GM_MOMENT].summary.trace / trace : (double)NAN;

    status = measure_overlaps(block, &low, err);
    if (status == GM_OK) status = measure_angles(block, err);
    if (status == GM_OK) status = measure_shares(&task, block, err);
    if (status == GM_OK) status = measure_decomposition_error(&task, block, err);
    for (int i = 0; i < GM_CURVATURES; i++) {
        if (i == GM_HESSIAN || i == GM_MOMENT) continue;
        gm_free(block->op[i].lead_vector);
        block->op[i].lead_vector = NULL;
    }
done:
    gm_low_end_clear(&low);
    gm_free(task.matrix[0]);
    gm_free(task.matrix[1]);
    return status;
}
