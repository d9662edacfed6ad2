/* Spectrum and leading eigenpairs of one curvature operator on one block. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/lapack.h"
#include "survey/survey.h"

void gm_survey_drop_vectors(gm_operator_survey *survey)
{
    gm_free(survey->lead_vector);
    gm_free(survey->low_vector);
    survey->lead_vector = survey->low_vector = NULL;
}

void gm_operator_survey_clear(gm_operator_survey *survey)
{
    gm_free(survey->value);
    gm_free(survey->lead_value);
    gm_free(survey->residual);
    gm_free(survey->low_value);
    gm_free(survey->low_residual);
    gm_survey_drop_vectors(survey);
    memset(survey, 0, sizeof *survey);
}

void gm_low_end_clear(gm_low_end *low)
{
    gm_free(low->value);
    gm_free(low->residual);
    gm_free(low->vector);
    memset(low, 0, sizeof *low);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Room for `count` leading pairs. */
static gm_status allocate_leads(size_t count, size_t size, bool by_magnitude,
                                gm_operator_survey *survey, gm_error *err)
{
    size_t numbers;
    if (!gm_mul_size(count, size, &numbers)) numbers = SIZE_MAX;
    survey->by_magnitude = by_magnitude;
    survey->count = count;
    survey->lead_value = gm_alloc(count, sizeof(double), "leading eigenvalues", err);
    survey->residual = gm_alloc(count, sizeof(double), "residuals", err);
    survey->lead_vector = gm_alloc(numbers, sizeof(double), "leading eigenvectors", err);
    bool whole = survey->lead_value && survey->residual && survey->lead_vector;
    return whole ? GM_OK : GM_ERR_MEMORY;
}

/* Eigenvectors of the two ends of a spectrum as gm_symmetric_eigen gives them: `high` rows from the
 * largest eigenvalue down, and `low` rows, the last of them the smallest one's. Where the two would
 * overlap they are the same rows, a whole basis. */
typedef struct spectrum_ends {
    size_t high, low, rows;
    double *vector; /* [rows, size] */
} spectrum_ends;

static const double *low_vector(const spectrum_ends *ends, size_t size, size_t j)
{
    return ends->vector + (ends->rows - 1 - j) * size;
}

/* Picks the leading pairs: by value the highest ones; by magnitude the two ends are merged from
 * outside. */
static void pick_leads(const gm_block_task *task, const spectrum_ends *ends,
                       gm_operator_survey *survey)
{
    size_t size = task->size, high = 0, low = 0;
    const double *value = survey->value;
    for (size_t j = 0; j < survey->count; j++) {
        bool from_low =
            task->options->by_magnitude && fabs(value[size - 1 - low]) > fabs(value[high]);
        const double *row = from_low ? low_vector(ends, size, low) : ends->vector + high * size;
        survey->lead_value[j] = from_low ? value[size - 1 - low++] : value[high++];
        memcpy(survey->lead_vector + j * size, row, size * sizeof(double));
    }
}

/* The lower end as the leading end of -A. */
static gm_status take_low_end(size_t size, const spectrum_ends *ends, const double *value,
                              gm_low_end *low, gm_error *err)
{
    low->count = ends->low;
    low->value = gm_alloc(low->count, sizeof(double), "lowest eigenvalues", err);
    low->residual = gm_alloc(low->count, sizeof(double), "residuals", err);
    low->vector = gm_alloc(low->count * size, sizeof(double), "lowest eigenvectors", err);
    if (!low->value || !low->residual || !low->vector) return GM_ERR_MEMORY;
    for (size_t j = 0; j < low->count; j++) {
        low->value[j] = -value[size - 1 - j];
        memcpy(low->vector + j * size, low_vector(ends, size, j), size * sizeof(double));
    }
    return GM_OK;
}

static gm_status from_dense(const gm_block_task *task, double *matrix, gm_operator_survey *survey,
                            gm_low_end *low, gm_error *err)
{
    size_t size = task->size;
    spectrum_ends ends = {.high = smaller(task->k + 1, size)};
    ends.low = low || task->options->by_magnitude ? ends.high : 0;
    ends.rows = smaller(ends.high + ends.low, size);
    ends.vector = gm_alloc(ends.rows * size, sizeof(double), "eigenvectors", err);
    survey->value = gm_alloc(size, sizeof(double), "eigenvalues", err);
    if (!ends.vector || !survey->value) {
        gm_free(ends.vector);
        return GM_ERR_MEMORY;
    }
    survey->values = size;
    survey->converged = survey->above_known = survey->below_known = true;

    size_t top = ends.rows == size ? size : ends.high;
    gm_status status =
        gm_symmetric_eigen(size, matrix, top, ends.rows - top, survey->value, ends.vector, err);
    if (status == GM_OK)
        status = allocate_leads(ends.high, size, task->options->by_magnitude, survey, err);
    if (status == GM_OK) pick_leads(task, &ends, survey);
    if (status == GM_OK && low) status = take_low_end(size, &ends, survey->value, low, err);
    gm_free(ends.vector);
    if (status == GM_OK) {
        gm_spectral_summarize(size, survey->value, task->options->cut, task->eps,
                              task->outlier_limit, &survey->summary);
    }
    return status;
}

/* From the eigenvectors of the Gram matrix to those of the operator: sum_i w_i r_i has the squared
 * norm lambda, and the directions of small lambda carry the rounding of large ones, so the mapped
 * vectors are orthonormalized in the order of their eigenvalues. */
static gm_status map_leads(const gm_block_task *task, gm_curvature kind, size_t count,
                           const double *weight, gm_operator_survey *survey, gm_error *err)
{
    size_t size = task->size;
    gm_status status = allocate_leads(count, size, task->options->by_magnitude, survey, err);
    if (status != GM_OK || count == 0) return status;
    memcpy(survey->lead_value, survey->value, count * sizeof(double));
    status = gm_gram_vectors(task->lin, kind, task->layer, count, weight, survey->lead_vector, err);
    for (size_t j = 0; status == GM_OK && j < count; j++) {
        double scale = 1.0 / sqrt(survey->value[j]); /* positive: above the numerical floor */
        for (size_t i = 0; i < size; i++) {
            survey->lead_vector[j * size + i] *= scale;
        }
    }
    if (status == GM_OK) status = gm_orthonormalize(count, size, survey->lead_vector, NULL, err);
    return status;
}

size_t gm_survey_gram_rows(const gm_block_task *task, gm_curvature kind)
{
    const gm_net *net = gm_problem_net(gm_linearization_problem(task->lin));
    bool group = task->layer >= 0 && (size_t)task->layer >= gm_net_layers(net);
    return group ? 0 : gm_gram_size(task->lin, kind);
}

gm_status gm_survey_gram(const gm_block_task *task, gm_curvature kind, size_t rows, bool all,
                         gm_operator_survey *survey, gm_error *err)
{
    size_t size = task->size, top = smaller(task->k + 1, rows), known = all ? size : rows;
    gm_status status = GM_ERR_MEMORY;
    double *gram = gm_alloc(rows * rows, sizeof *gram, "Gram matrix", err);
    double *weight = gm_alloc(top * rows, sizeof *weight, "eigenvectors of the Gram matrix", err);
    survey->value = gm_alloc(known, sizeof(double), "eigenvalues", err);
    if (!gram || !weight || !survey->value) goto done;
    survey->gram = true;
    survey->values = all ? size : top;
    survey->converged = survey->above_known = survey->below_known = true;
    status = gm_curvature_gram(task->lin, kind, task->layer, gram, err);
    if (status != GM_OK) goto done;
    status = gm_symmetric_eigen(rows, gram, top, 0, survey->value, weight, err);
    if (status != GM_OK) goto done;
    /* A Gram matrix has no negative eigenvalue: what is below zero is rounding. */
    for (size_t i = 0; i < rows; i++) {
        survey->value[i] = fmax(survey->value[i], 0.0);
    }
    gm_spectral_summarize(known, survey->value, task->options->cut, task->eps, task->outlier_limit,
                          &survey->summary);
    survey->summary.size = size; /* the others are zeros */
    if (rows < size) survey->summary.min = 0.0;
    status = map_leads(task, kind, smaller(top, survey->summary.rank), weight, survey, err);
done:
    gm_free(gram);
    gm_free(weight);
    return status;
}

/* Residuals of the leading pairs, and of the lower end against A (v and lambda of -A have the
 * residual of v and -lambda). */
static gm_status measure_residuals(const gm_block_task *task, gm_curvature kind,
                                   gm_operator_survey *survey, gm_low_end *low, gm_error *err)
{
    gm_operator op = {0};
    gm_status status = gm_curvature_operator(task->lin, kind, task->layer, &op, err);
    if (status == GM_OK) {
        status = gm_eigen_residuals(&op, survey->count, survey->lead_value, survey->lead_vector,
                                    survey->residual, err);
    }
    if (status == GM_OK && low) {
        for (size_t j = 0; j < low->count; j++) {
            low->value[j] = -low->value[j];
        }
        status = gm_eigen_residuals(&op, low->count, low->value, low->vector, low->residual, err);
        for (size_t j = 0; j < low->count; j++) {
            low->value[j] = -low->value[j];
        }
    }
    gm_operator_destroy(&op);
    return status;
}

gm_status gm_survey_operator(const gm_block_task *task, gm_curvature kind, double *matrix,
                             gm_operator_survey *survey, gm_low_end *low, gm_error *err)
{
    gm_status status;
    if (matrix) {
        status = from_dense(task, matrix, survey, low, err);
    } else {
        status = gm_survey_gram(task, kind, gm_survey_gram_rows(task, kind), true, survey, err);
    }
    if (status == GM_OK) status = measure_residuals(task, kind, survey, low, err);
    survey->measured = status == GM_OK;
    return status;
}
