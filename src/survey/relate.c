/* How the leading subspaces of a block's operators lie to each other, and the share of the gradient
 * in those of H. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "survey/survey.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

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

gm_status gm_survey_pair(gm_block_survey *block, int index, const gm_low_end *low, gm_error *err)
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

    gm_overlap_survey *pair = &block->pair[index];
    if (index < PAIRS) {
        gm_side a = gm_side_of(gm_curvature_name(pairs[index].a), &block->op[pairs[index].a]);
        gm_side b = gm_side_of(gm_curvature_name(pairs[index].b), &block->op[pairs[index].b]);
        return gm_survey_overlap(block->size, block->k, &a, &b, pair, err);
    }
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
    return gm_survey_overlap(block->size, block->k, &hessian, &minus, pair, err);
}

gm_status gm_survey_angles(gm_block_survey *block, gm_error *err)
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
    double n = (double)gm_problem_samples(gm_linearization_problem(task->lin));
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

/* part [size] = the block's coordinates of the gradient. */
static void gradient_of(const gm_block_task *task, double *part)
{
    const double *gradient = gm_linearization_gradient(task->lin);
    const gm_net *net = gm_problem_net(gm_linearization_problem(task->lin));
    size_t layer = (size_t)task->layer;
    const gm_slice *slice = NULL;
    gm_slice own = {0, task->size};
    size_t slices = task->layer < 0 ? 0 : gm_net_group_slices(net, layer, &slice);
    if (task->layer >= 0 && !slices) own.offset = gm_net_layer_at(net, layer).offset;
    if (!slices) slice = &own;
    for (size_t i = 0; i < (slices ? slices : 1); i++) {
        memcpy(part, gradient + slice[i].offset, slice[i].size * sizeof *part);
        part += slice[i].size;
    }
}

gm_status gm_survey_shares(const gm_block_task *task, gm_block_survey *block, gm_error *err)
{
    size_t count = smaller(block->k, block->op[GM_HESSIAN].summary.rank);
    double *gradient = gm_alloc(task->size, sizeof *gradient, "gradient of the block", err);
    block->share = gm_alloc(count, sizeof(double), "shares of the gradient", err);
    gm_status status = gradient && block->share ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        gradient_of(task, gradient);
        bool defined = gm_subspace_share(count, task->size, block->op[GM_HESSIAN].lead_vector,
                                         gradient, block->share);
        block->shares = defined ? count : 0;
        status = measure_stochastic_share(task, gradient, block, err);
    }
    gm_free(gradient);
    return status;
}
