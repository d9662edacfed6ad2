/* --method dense: all eigenvalues by LAPACK, some eigenpairs checked by true products. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/spectrum_methods.h"
#include "gradiometer/spectrum.h"
#include "kernels/lapack.h"

/* Products at a time where the matrix is formed by them. */
enum { FORM_BLOCK = 32 };

/* ---- which eigenpairs ---- */

/* How many from either end of the spectrum hold the k that --which asks for; LM needs k from both
 * until the values are known. */
static void ends_needed(gm_which which, size_t k, size_t size, size_t *top, size_t *bottom)
{
    *top = which == GM_WHICH_SA ? 0 : which == GM_WHICH_BE ? k - k / 2 : k;
    *bottom = which == GM_WHICH_LA ? 0 : which == GM_WHICH_BE ? k / 2 : k;
    if (*top + *bottom > size) {
        *top = size;
        *bottom = 0;
    }
}

/* index [k] = the k of the `size` descending values that --which asks for, ascending. For LM two
 * fingers walk in from the ends. */
static void choose(gm_which which, size_t k, size_t size, const double *value, size_t *index)
{
    size_t top = which == GM_WHICH_SA ? 0 : which == GM_WHICH_BE ? k - k / 2 : k;
    if (which == GM_WHICH_LM) {
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

/* ---- the matrix ---- */

/* matrix [size, size] by `size` products with the unit vectors, made symmetric: the two triangles
 * differ by rounding. */
static gm_status form_by_products(gm_spectrum_operator *target, double *matrix, gm_error *err)
{
    size_t n = target->op.size;
    double *unit = gm_alloc(FORM_BLOCK * n, sizeof *unit, "unit vectors", err);
    gm_status status = unit ? GM_OK : GM_ERR_MEMORY;
    if (unit) gm_spectrum_operator_watch(target, n);
    for (size_t from = 0; status == GM_OK && from < n; from += FORM_BLOCK) {
        size_t count = n - from < FORM_BLOCK ? n - from : FORM_BLOCK;
        memset(unit, 0, count * n * sizeof *unit);
        for (size_t j = 0; j < count; j++) {
            unit[j * n + from + j] = 1;
        }
        status = gm_operator_apply(&target->op, count, unit, matrix + from * n, err);
    }
    gm_spectrum_operator_rest(target);
    for (size_t i = 0; status == GM_OK && i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            double mean = 0.5 * (matrix[i * n + j] + matrix[j * n + i]);
            matrix[i * n + j] = matrix[j * n + i] = mean;
        }
    }
    gm_free(unit);
    return status;
}

/* Trace and Frobenius norm of a symmetric matrix [n, n]. */
static void take_norms(size_t n, const double *matrix, gm_spectrum *s)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += matrix[i * n + i];
        for (size_t j = 0; j < n; j++) {
            squares += matrix[i * n + j] * matrix[i * n + j];
        }
    }
    s->summed = s->normed = true;
    s->trace.value = sum;
    s->frobenius.value = sqrt(squares);
}

/* ---- eigenpairs ---- */

static gm_status allocate_pairs(size_t size, size_t k, gm_spectrum_pairs *pairs, gm_error *err)
{
    pairs->k = k;
    pairs->index = gm_alloc(k, sizeof *pairs->index, "eigenvalue numbers", err);
    pairs->vector = gm_alloc(k * size, sizeof *pairs->vector, "eigenvectors", err);
    pairs->residual = gm_alloc(k, sizeof *pairs->residual, "residuals", err);
    return pairs->index && pairs->vector && pairs->residual ? GM_OK : GM_ERR_MEMORY;
}

static gm_status solve_direct(gm_spectrum_operator *target, gm_which which, size_t k,
                              gm_spectrum *s, gm_error *err)
{
    size_t top, bottom, n = s->size;
    gm_spectrum_pairs *pairs = &s->pairs;
    ends_needed(which, k, n, &top, &bottom);
    double *matrix = gm_alloc(n * n, sizeof *matrix, "dense matrix", err);
    double *ends = gm_alloc((top + bottom) * n, sizeof *ends, "eigenvectors", err);
    gm_status status = matrix && ends ? allocate_pairs(n, k, pairs, err) : GM_ERR_MEMORY;
    if (status == GM_OK) {
        status = target->form ? target->form(target, matrix, err)
                              : form_by_products(target, matrix, err);
    }
    if (status == GM_OK) {
        take_norms(n, matrix, s);
        status = gm_symmetric_eigen(n, matrix, top, bottom, pairs->value, ends, err);
    }
    if (status == GM_OK) {
        choose(which, k, n, pairs->value, pairs->index);
        for (size_t i = 0; i < k; i++) {
            size_t at = pairs->index[i], row = at < top ? at : at - (n - top - bottom);
            memcpy(pairs->vector + i * n, ends + row * n, n * sizeof *ends);
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

/* Scales vector [size] to norm 1. */
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
static gm_status solve_gram(gm_spectrum_operator *target, size_t k, gm_spectrum *s, gm_error *err)
{
    size_t n = target->gram, most = k < n ? k : n, rank = 0;
    gm_spectrum_pairs *pairs = &s->pairs;
    double *gram = gm_alloc(n * n, sizeof *gram, "Gram matrix", err);
    double *weight = gm_alloc(most * n, sizeof *weight, "weights", err);
    gm_status status = gram && weight ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = target->form_gram(target, gram, err);
    if (status == GM_OK) {
        take_norms(n, gram, s);
        status = gm_symmetric_eigen(n, gram, most, 0, pairs->value, weight, err);
    }
    if (status == GM_OK) {
        double floor = (double)n * gm_dtype_eps(target->op.precision) * pairs->value[0];
        while (rank < most && pairs->value[rank] > floor) {
            rank++;
        }
        qsort(pairs->value, s->size, sizeof *pairs->value, descending); /* the zeros */
        status = allocate_pairs(s->size, rank, pairs, err);
    }
    if (status == GM_OK && rank) {
        status = target->gram_vectors(target, rank, weight, pairs->vector, err);
    }
    for (size_t i = 0; status == GM_OK && i < rank; i++) {
        pairs->index[i] = i;
        normalize(s->size, pairs->vector + i * s->size);
    }
    gm_free(gram);
    gm_free(weight);
    return status;
}

static gm_status check_pairs(gm_spectrum_operator *target, double tol, gm_spectrum *s,
                             gm_error *err)
{
    gm_spectrum_pairs *pairs = &s->pairs;
    double *chosen = gm_alloc(pairs->k, sizeof *chosen, "eigenvalues", err);
    if (!chosen) return GM_ERR_MEMORY;
    for (size_t i = 0; i < pairs->k; i++) {
        chosen[i] = pairs->value[pairs->index[i]];
    }
    gm_status status =
        gm_eigen_residuals(&target->op, pairs->k, chosen, pairs->vector, pairs->residual, err);
    gm_free(chosen);
    if (status != GM_OK) return status;
    double scale = fmax(fabs(pairs->value[0]), fabs(pairs->value[s->size - 1]));
    pairs->scale = scale;
    for (size_t i = 0; i < pairs->k; i++) {
        pairs->converged += pairs->residual[i] <= tol * scale;
        if (scale > 0) pairs->worst = fmax(pairs->worst, pairs->residual[i] / scale);
    }
    s->converged = pairs->converged == pairs->k;
    return GM_OK;
}

/* ---- the method ---- */

/* Where the Gram matrix is smaller, and no vectors of the null space are asked for, which a Gram
 * form does not have. */
static bool takes_gram(const gm_spectrum_operator *target, const gm_spectrum_settings *set)
{
    bool largest = set->which == GM_WHICH_LA || set->which == GM_WHICH_LM;
    return largest && target->gram && target->gram < target->op.size;
}

/* The matrix, and at worst LAPACK's vectors and workspace. */
double gm_dense_bytes(size_t n)
{
    return 3.0 * (double)n * (double)n * (double)sizeof(double);
}

gm_status gm_check_dense(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                         gm_error *err)
{
    bool gram = takes_gram(target, set);
    size_t n = gram ? target->gram : target->op.size;
    char what[96];
    snprintf(what, sizeof what, "the %s matrix (%zu x %zu numbers, with workspace)",
             gram ? "Gram" : "dense", n, n);
    return gm_spectrum_fits(set, what, gm_dense_bytes(n), err);
}

gm_status gm_measure_dense(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_spectrum *s, gm_error *err)
{
    gm_spectrum_pairs *pairs = &s->pairs;
    size_t k = gm_spectrum_k(set, s->size);
    pairs->wanted = k;
    pairs->formed = true;
    pairs->gram = takes_gram(target, set);
    pairs->values = s->size;
    pairs->value = gm_alloc(s->size, sizeof *pairs->value, "eigenvalues", err);
    if (!pairs->value) return GM_ERR_MEMORY;
    gm_status status =
        pairs->gram ? solve_gram(target, k, s, err) : solve_direct(target, set->which, k, s, err);
    if (status == GM_OK) status = check_pairs(target, set->tol, s, err);
    return status;
}
