/* One block by products alone.
 *
 *   1. signs g; the ends of H and its products H g
 *   2. M likewise: overlap and angles with H, shares of the gradient
 *   3. G, Sigma, H_p, R one after the other, their overlaps with H and M
 *   4. norms, each from ||A||_F^2 = sum lambda^2 + E ||(A - U Lambda U^T) g||^2
 *
 * Vectors of G, Sigma, H_p and R are given up after their overlaps unless a point follows that
 * starts from them. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "survey/survey.h"

typedef struct probing {
    size_t count, size;
    double *sign;                       /* [count, size] */
    double *hessian, *moment, *product; /* [count, size] products with the signs */
    double *rest;                       /* [count, size] what the eigenpairs leave of them */
    double *square[GM_CURVATURES];      /* [count] samples of ||A||_F^2, in units of scale^2 */
} probing;

static void probing_free(probing *p)
{
    gm_free(p->sign);
    gm_free(p->hessian);
    gm_free(p->moment);
    gm_free(p->product);
    gm_free(p->rest);
    for (int i = 0; i < GM_CURVATURES; i++) {
        gm_free(p->square[i]);
    }
}

static gm_status probing_make(const gm_block_task *task, probing *p, gm_error *err)
{
    size_t numbers;
    p->count = task->options->probes;
    p->size = task->size;
    if (!gm_mul_size(p->count, p->size, &numbers)) numbers = SIZE_MAX;
    p->sign = gm_alloc(numbers, sizeof(double), "random signs", err);
    p->hessian = gm_alloc(numbers, sizeof(double), "products", err);
    p->moment = gm_alloc(numbers, sizeof(double), "products", err);
    p->product = gm_alloc(numbers, sizeof(double), "products", err);
    p->rest = gm_alloc(numbers, sizeof(double), "products", err);
    if (!p->sign || !p->hessian || !p->moment || !p->product || !p->rest) return GM_ERR_MEMORY;
    for (int i = 0; i < GM_CURVATURES; i++) {
        p->square[i] = gm_alloc(p->count, sizeof(double), "samples of a norm", err);
        if (!p->square[i]) return GM_ERR_MEMORY;
    }
    /* Run 0 are the normal vectors of dense blocks. */
    gm_rademacher_fill(gm_stream_of(task->options->seed, GM_PURPOSE_PROBE, 1), 0, numbers, p->sign);
    return GM_OK;
}

/* Mean and its standard error. */
static double mean_of(size_t count, const double *x, double *error)
{
    double mean = 0.0, square = 0.0;
    for (size_t j = 0; j < count; j++) {
        mean += x[j] / (double)count;
    }
    for (size_t j = 0; j < count; j++) {
        square += (x[j] - mean) * (x[j] - mean);
    }
    *error = sqrt(square / ((double)count * (double)(count - 1)));
    return mean;
}

/* Root of an estimated square, and the root's standard error to first order. */
static double root_of(double square, double error, double *root_error)
{
    double root = sqrt(fmax(square, 0.0));
    *root_error = root > 0.0 ? error / (2.0 * root) : sqrt(error);
    return root;
}

/* rest -= U Lambda U^T g for the pairs given; sums of lambda^2 into *inside, in units of unit^2. */
static gm_status deflate(const probing *p, size_t pairs, const double *value, const double *vector,
                         double unit, double *inside, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    if (pairs == 0) return GM_OK;
    double *part = gm_alloc(p->count * pairs, sizeof *part, "parts along eigenvectors", err);
    if (!part) return GM_ERR_MEMORY;
    kernels->gemm(false, true, p->count, pairs, p->size, 1.0, p->sign, p->size, vector, p->size,
                  0.0, part, pairs);
    for (size_t j = 0; j < pairs; j++) {
        for (size_t i = 0; i < p->count; i++) {
            part[i * pairs + j] *= value[j];
        }
        *inside += (value[j] / unit) * (value[j] / unit);
    }
    kernels->gemm(false, false, p->count, p->size, pairs, -1.0, part, pairs, vector, p->size, 1.0,
                  p->rest, p->size);
    gm_free(part);
    return GM_OK;
}

static double unit_of(const gm_operator_survey *survey)
{
    return survey->summary.scale > 0.0 ? survey->summary.scale : 1.0;
}

/* product [count, size] = A g, and from it the samples and the norm where that is not known. */
static gm_status probe(const gm_block_task *task, gm_curvature kind, probing *p, double *product,
                       gm_operator_survey *survey, gm_error *err)
{
    gm_operator op = {0};
    gm_status status = gm_curvature_operator(task->lin, kind, task->layer, &op, err);
    if (status == GM_OK) status = gm_operator_apply(&op, p->count, p->sign, product, err);
    survey->spent += op.products;
    gm_operator_destroy(&op);
    if (status != GM_OK) return status;

    double unit = unit_of(survey), inside = 0.0, error;
    if (survey->gram) {
        double exact = survey->summary.frobenius / unit;
        for (size_t j = 0; j < p->count; j++) {
            p->square[kind][j] = exact * exact;
        }
        return GM_OK;
    }
    size_t lows = task->size - survey->count;
    if (survey->low_count < lows) lows = survey->low_count; /* the others are leading ones too */
    memcpy(p->rest, product, p->count * p->size * sizeof *product);
    status = deflate(p, survey->count, survey->lead_value, survey->lead_vector, unit, &inside, err);
    if (status == GM_OK) {
        status = deflate(p, lows, survey->low_value, survey->low_vector, unit, &inside, err);
    }
    if (status != GM_OK) return status;
    for (size_t j = 0; j < p->count; j++) {
        double left = gm_survey_norm(p->size, p->rest + j * p->size) / unit;
        p->square[kind][j] = inside + left * left;
    }
    double square = mean_of(p->count, p->square[kind], &error);
    survey->summary.frobenius = unit * root_of(square, error, &survey->frobenius_error);
    survey->frobenius_error *= unit;
    return GM_OK;
}

/* ||H_p + H||_F / ||H||_F with M g as a control variate, everything in units of the largest of the
 * three operators; product holds H_p g. */
static gm_status measure_ratio(const probing *p, gm_block_survey *block, gm_error *err)
{
    double *above = gm_alloc(p->count, sizeof *above, "samples of a norm", err);
    double *below = gm_alloc(p->count, sizeof *below, "samples of a norm", err);
    gm_status status = above && below ? GM_OK : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    const gm_operator_survey *h = &block->op[GM_HESSIAN], *m = &block->op[GM_MOMENT];
    double unit =
        fmax(fmax(h->summary.scale, m->summary.scale), block->op[GM_RESIDUAL].summary.scale);
    if (unit == 0.0) unit = 1.0;
    double of_h = unit_of(h) / unit, of_m = unit_of(m) / unit;
    for (size_t j = 0; j < p->count; j++) {
        size_t at = j * p->size;
        for (size_t i = 0; i < p->size; i++) {
            p->rest[i] = p->product[at + i] + p->hessian[at + i];
        }
        double sum = gm_survey_norm(p->size, p->rest) / unit;
        double part = gm_survey_norm(p->size, p->moment + at) / unit;
        above[j] = of_m * of_m * p->square[GM_MOMENT][j] + (sum - part) * (sum + part);
        below[j] = of_h * of_h * p->square[GM_HESSIAN][j];
    }
    double error, base = mean_of(p->count, below, &error);
    double square = mean_of(p->count, above, &error) / base;
    if (!(base > 0.0)) {
        block->residual_plus_hessian = (double)NAN;
        goto done;
    }
    for (size_t j = 0; j < p->count; j++) { /* of a quotient, to first order */
        above[j] = (above[j] - square * below[j]) / base;
    }
    mean_of(p->count, above, &error);
    block->residual_plus_hessian = root_of(square, error, &block->residual_plus_hessian_error);
done:
    gm_free(above);
    gm_free(below);
    return status;
}

/* Overlap of H with -H_p, whose leading directions are the lowest ones of H_p. */
static gm_status pair_with_minus(gm_block_survey *block, gm_error *err)
{
    gm_operator_survey *residual = &block->op[GM_RESIDUAL];
    gm_low_end low = {.count = residual->low_count,
                      .residual = residual->low_residual,
                      .vector = residual->low_vector};
    low.value = gm_alloc(low.count, sizeof(double), "lowest eigenvalues", err);
    if (!low.value) return GM_ERR_MEMORY;
    for (size_t j = 0; j < low.count; j++) {
        low.value[j] = -residual->low_value[j];
    }
    gm_status status = gm_survey_pair(block, GM_SURVEY_PAIRS - 1, &low, err);
    gm_free(low.value);
    return status;
}

static gm_status survey_leading(const gm_block_task *task, size_t gram_rows, probing *p,
                                gm_block_survey *block, gm_error *err)
{
    gm_operator_survey *h = &block->op[GM_HESSIAN], *m = &block->op[GM_MOMENT];
    gm_status status = gm_survey_operator_by_products(task, GM_HESSIAN, gram_rows, h, err);
    if (status == GM_OK) status = probe(task, GM_HESSIAN, p, p->hessian, h, err);
    if (status != GM_OK) return status;
    if (!task->keep) {
        gm_free(h->low_vector);
        h->low_vector = NULL;
    }
    status = gm_survey_operator_by_products(task, GM_MOMENT, gram_rows, m, err);
    if (status == GM_OK) status = probe(task, GM_MOMENT, p, p->moment, m, err);
    if (status != GM_OK) return status;
    block->moment_share =
        h->summary.trace != 0.0 ? m->summary.trace / h->summary.trace : (double)NAN;
    status = gm_survey_pair(block, 0, NULL, err);
    if (status == GM_OK) status = gm_survey_angles(block, err);
    if (status == GM_OK) status = gm_survey_shares(task, block, err);
    return status;
}

/* An operator beside H and M, with the pairs of gm_survey_pair that it is part of. */
static gm_status survey_other(const gm_block_task *task, gm_curvature kind, size_t gram_rows,
                              probing *p, gm_block_survey *block, gm_error *err)
{
    gm_operator_survey *survey = &block->op[kind];
    gm_status status = gm_survey_operator_by_products(task, kind, gram_rows, survey, err);
    if (status == GM_OK) status = probe(task, kind, p, p->product, survey, err);
    if (status != GM_OK) return status;
    switch (kind) {
    case GM_GGN:
        status = gm_survey_pair(block, 1, NULL, err);
        if (status == GM_OK) status = gm_survey_pair(block, 3, NULL, err);
        break;
    case GM_COVARIANCE:
        status = gm_survey_pair(block, 2, NULL, err);
        break;
    case GM_RESIDUAL:
        status = gm_survey_pair(block, 4, NULL, err);
        if (status == GM_OK) status = pair_with_minus(block, err);
        if (status == GM_OK) status = measure_ratio(p, block, err);
        block->decomposition_error =
            gm_survey_mismatch(p->size, p->count, p->hessian, p->moment, p->product, p->rest);
        break;
    default:
        break;
    }
    if (!task->keep) gm_survey_drop_vectors(survey);
    return status;
}

gm_status gm_survey_products(const gm_block_task *task, gm_block_survey *block, gm_error *err)
{
    static const gm_curvature others[] = {GM_GGN, GM_COVARIANCE, GM_RESIDUAL, GM_GN_RESIDUAL};
    const gm_problem *problem = gm_linearization_problem(task->lin);
    size_t points = task->keep || task->past ? 2 : 1;
    size_t gram_rows = gm_decompose_gram_rows(problem, task->options, points);
    probing p = {0};
    gm_status status = probing_make(task, &p, err);
    if (status == GM_OK) status = survey_leading(task, gram_rows, &p, block, err);
    for (size_t i = 0; status == GM_OK && i < sizeof others / sizeof others[0]; i++) {
        if (others[i] == GM_GN_RESIDUAL && !task->options->gn_residual) continue;
        status = survey_other(task, others[i], gram_rows, &p, block, err);
    }
    probing_free(&p);
    return status;
}
