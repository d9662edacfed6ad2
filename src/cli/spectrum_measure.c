#include "cli/spectrum_measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/spectrum.h"
#include "kernels/lapack.h"

void gm_spectrum_free(gm_spectrum *s)
{
    gm_free(s->value);
    gm_free(s->index);
    gm_free(s->vector);
    gm_free(s->residual);
    gm_free(s->diagonal);
    memset(s, 0, sizeof *s);
}

/* ---- which eigenpairs ---- */

/* How many from either end of the spectrum hold the k that --which asks for; LM needs k from both
 * until the values are known. */
static void ends_needed(gm_spectrum_end which, size_t k, size_t size, size_t *top, size_t *bottom)
{
    *top = which == GM_END_SA ? 0 : which == GM_END_BE ? k - k / 2 : k;
    *bottom = which == GM_END_LA ? 0 : which == GM_END_BE ? k / 2 : k;
    if (*top + *bottom > size) {
        *top = size;
        *bottom = 0;
    }
}

/* index [k] = the k of the `size` descending values that --which asks for, ascending. For LM two
 * fingers walk in from the ends. */
static void choose(gm_spectrum_end which, size_t k, size_t size, const double *value, size_t *index)
{
    size_t top = which == GM_END_SA ? 0 : which == GM_END_BE ? k - k / 2 : k;
    if (which == GM_END_LM) {
        top = 0;
        for (size_t taken = 0; taken < k; taken++) {
            size_t bottom = taken - top;
            top += fabs(value[top]) >= fabs(value[size - 1 - bottom]);
        }
    }
    for (size_t i = 0; i < k; i++) {
        index[i] = i < top ? i : size - k + i;
    }
}

/* ---- measuring ---- */

static gm_status allocate_pairs(gm_spectrum *s, size_t k, gm_error *err)
{
    s->k = k;
    s->index = gm_alloc(k, sizeof *s->index, "eigenvalue numbers", err);
    s->vector = gm_alloc(k * s->size, sizeof *s->vector, "eigenvectors", err);
    s->residual = gm_alloc(k, sizeof *s->residual, "residuals", err);
    return s->index && s->vector && s->residual ? GM_OK : GM_ERR_MEMORY;
}

/* Trace and Frobenius norm of a symmetric matrix [n, n]. */
static void take_norms(size_t n, const double *matrix, gm_spectrum *s)
{
    double squares = 0;
    s->trace = 0;
    for (size_t i = 0; i < n; i++) {
        s->trace += matrix[i * n + i];
        for (size_t j = 0; j < n; j++) {
            squares += matrix[i * n + j] * matrix[i * n + j];
        }
    }
    s->frobenius = sqrt(squares);
}

static gm_status solve_direct(gm_linearization *lin, const gm_spectrum_settings *set, size_t k,
                              gm_spectrum *s, gm_error *err)
{
    size_t top, bottom, n = s->size;
    ends_needed(set->which, k, n, &top, &bottom);
    double *matrix = gm_alloc(n * n, sizeof *matrix, "dense matrix", err);
    double *ends = gm_alloc((top + bottom) * n, sizeof *ends, "eigenvectors", err);
    gm_status status = matrix && ends ? allocate_pairs(s, k, err) : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_curvature_dense(lin, set->kind, s->layer, matrix, err);
    if (status == GM_OK) {
        take_norms(n, matrix, s);
        status = gm_symmetric_eigen(n, matrix, top, bottom, s->value, ends, err);
    }
    if (status == GM_OK) {
        choose(set->which, k, n, s->value, s->index);
        for (size_t i = 0; i < k; i++) {
            size_t row = s->index[i] < top ? s->index[i] : s->index[i] - (n - top - bottom);
            memcpy(s->vector + i * n, ends + row * n, n * sizeof *ends);
        }
    }
    gm_free(matrix);
    gm_free(ends);
    return status;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Scales row i of vector [size] to norm 1. */
static void normalize(size_t size, double *vector)
{
    double squares = 0;
    for (size_t j = 0; j < size; j++) {
        squares += vector[j] * vector[j];
    }
    for (size_t j = 0; j < size && squares > 0; j++) {
        vector[j] /= sqrt(squares);
    }
}

/* By the Gram matrix [n, n] of the rows whose outer products sum to the operator (theory section
 * 1): its eigenvalues, and zeros for the rest. Eigenvectors exist for those that are resolved,
 * lambda > n eps lambda_max, only. */
static gm_status solve_gram(gm_linearization *lin, const gm_spectrum_settings *set, size_t n,
                            size_t k, gm_spectrum *s, gm_error *err)
{
    size_t most = k < n ? k : n, rank = 0;
    double *gram = gm_alloc(n * n, sizeof *gram, "Gram matrix", err);
    double *weight = gm_alloc(most * n, sizeof *weight, "weights", err);
    gm_status status = gram && weight ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_curvature_gram(lin, set->kind, s->layer, gram, err);
    if (status == GM_OK) {
        take_norms(n, gram, s);
        status = gm_symmetric_eigen(n, gram, most, 0, s->value, weight, err);
    }
    if (status == GM_OK) {
        gm_dtype dtype = gm_problem_data(gm_linearization_problem(lin))->dtype;
        double floor = (double)n * gm_dtype_eps(dtype) * s->value[0];
        while (rank < most && s->value[rank] > floor) {
            rank++;
        }
        qsort(s->value, s->size, sizeof *s->value, descending); /* the zeros into their place */
        status = allocate_pairs(s, rank, err);
    }
    if (status == GM_OK && rank) {
        status = gm_gram_vectors(lin, set->kind, s->layer, rank, weight, s->vector, err);
    }
    for (size_t i = 0; status == GM_OK && i < rank; i++) {
        s->index[i] = i;
        normalize(s->size, s->vector + i * s->size);
    }
    gm_free(gram);
    gm_free(weight);
    return status;
}

static gm_status check_pairs(gm_linearization *lin, gm_curvature kind, double tol, gm_spectrum *s,
                             gm_error *err)
{
    gm_operator op = {0};
    double *chosen = gm_alloc(s->k, sizeof *chosen, "eigenvalues", err);
    gm_status status =
        chosen ? gm_curvature_operator(lin, kind, s->layer, &op, err) : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < s->k; i++) {
        chosen[i] = s->value[s->index[i]];
    }
    if (status == GM_OK) {
        status = gm_eigen_residuals(&op, s->k, chosen, s->vector, s->residual, err);
    }
    s->products = op.products;
    double scale = fmax(fabs(s->value[0]), fabs(s->value[s->size - 1]));
    s->converged = status == GM_OK;
    s->worst = 0;
    for (size_t i = 0; status == GM_OK && i < s->k; i++) {
        s->converged = s->converged && s->residual[i] <= tol * scale;
        if (scale > 0) s->worst = fmax(s->worst, s->residual[i] / scale);
    }
    gm_operator_destroy(&op);
    gm_free(chosen);
    return status;
}

static size_t block_size(const gm_session *session, int layer)
{
    return layer == GM_ALL_LAYERS ? gm_net_parameters(session->net)
                                  : gm_net_layer_at(session->net, (size_t)layer).parameters;
}

/* Size of the Gram form, 0 where the dense matrix serves better: where it is smaller, and where
 * vectors of the null space are asked for, which a Gram form does not have. */
static size_t gram_form(gm_linearization *lin, const gm_spectrum_settings *set, size_t size)
{
    bool largest = set->which == GM_END_LA || set->which == GM_END_LM;
    size_t gram = gm_gram_size(lin, set->kind);
    return largest && gram < size ? gram : 0;
}

gm_status gm_spectrum_check(const gm_session *session, gm_linearization *lin,
                            const gm_spectrum_settings *set, int layer, gm_error *err)
{
    if (set->method != GM_METHOD_DENSE) return GM_OK;
    size_t size = block_size(session, layer), gram = gram_form(lin, set, size);
    size_t n = gram ? gram : size;
    /* The matrix, and at worst LAPACK's vectors and workspace. */
    return gm_session_check_matrix(session, gram ? "the Gram matrix" : "the dense matrix", 3, n, n,
                                   err);
}

static gm_status measure_dense(gm_linearization *lin, const gm_spectrum_settings *set, double tol,
                               gm_spectrum *s, gm_error *err)
{
    size_t k = set->k < s->size ? set->k : s->size;
    size_t gram = gram_form(lin, set, s->size);
    s->gram = gram > 0;
    s->value = gm_alloc(s->size, sizeof *s->value, "eigenvalues", err);
    if (!s->value) return GM_ERR_MEMORY;
    gm_status status =
        s->gram ? solve_gram(lin, set, gram, k, s, err) : solve_direct(lin, set, k, s, err);
    if (status == GM_OK) status = check_pairs(lin, set->kind, tol, s, err);
    return status;
}

static gm_status measure_diagonal(gm_linearization *lin, gm_curvature kind, gm_spectrum *s,
                                  gm_error *err)
{
    s->diagonal = gm_alloc(s->size, sizeof *s->diagonal, "diagonal", err);
    if (!s->diagonal) return GM_ERR_MEMORY;
    gm_status status = gm_curvature_diagonal(lin, kind, s->layer, s->diagonal, err);
    if (status != GM_OK) return status;
    double sum = 0;
    s->diagonal_min = s->diagonal_max = s->diagonal[0];
    for (size_t i = 0; i < s->size; i++) {
        s->diagonal_min = fmin(s->diagonal_min, s->diagonal[i]);
        s->diagonal_max = fmax(s->diagonal_max, s->diagonal[i]);
        sum += s->diagonal[i];
    }
    s->diagonal_mean = sum / (double)s->size;
    if (!s->value) s->trace = sum; /* with the dense method it is the matrix's own */
    return GM_OK;
}

gm_status gm_spectrum_measure(const gm_session *session, gm_linearization *lin,
                              const gm_spectrum_settings *set, double tol, int layer,
                              gm_spectrum *s, gm_error *err)
{
    *s = (gm_spectrum){.layer = layer, .converged = true};
    s->size = block_size(session, layer);
    bool dense = set->method == GM_METHOD_DENSE;
    gm_status status = GM_OK;
    if (dense) status = measure_dense(lin, set, tol, s, err);
    if (status == GM_OK && (!dense || set->export_diagonal)) {
        status = measure_diagonal(lin, set->kind, s, err);
    }
    return status;
}
