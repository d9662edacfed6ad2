/* What the eigensolvers share: options, order, the verdict on each pair, and the dense way. */
#include "spectrum/eigen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"

/* Products with this many vectors at a time when the operator is formed. */
enum { DENSE_BLOCK = 64 };

static const size_t SPARE = (size_t)512 << 20;

void gm_eigen_options_default(gm_eigen_options *options)
{
    *options = (gm_eigen_options){
        .which = GM_WHICH_LA, .k = 10, .tol = 1e-4, .spare = SPARE, .threshold = (double)INFINITY};
}

double gm_eigen_floor(gm_dtype precision)
{
    return (precision == GM_F32 ? 8.0 : 16.0) * gm_dtype_eps(precision);
}

void gm_eigen_free(gm_eigen *result)
{
    if (!result) return;
    gm_free(result->value);
    gm_free(result->vector);
    gm_free(result->residual);
    gm_free(result->converged);
    memset(result, 0, sizeof *result);
}

gm_status gm_eigen_check(const gm_operator *op, const gm_eigen_options *options, gm_error *err)
{
    double floor = gm_eigen_floor(op->precision);
    if (options->k < 1 || options->k > op->size) {
        return gm_fail(err, GM_ERR_USAGE, "k: found %zu, expected 1 ... %zu, the size of the %s",
                       options->k, op->size, op->name);
    }
    if (!(options->tol <= 1.0) || options->tol <= 0.0) {
        return gm_fail(err, GM_ERR_USAGE, "tol: found %g, expected %.2g ... 1", options->tol,
                       floor);
    }
    if (options->tol < floor) {
        return gm_fail(err, GM_ERR_USAGE,
                       "tol: found %g, below the noise floor %.2g of products in %s of the %s",
                       options->tol, floor, gm_dtype_name(op->precision), op->name);
    }
    if (options->basis != 0 && options->basis <= options->k && options->basis < op->size) {
        return gm_fail(err, GM_ERR_USAGE, "basis: found %zu vectors, expected more than k = %zu",
                       options->basis, options->k);
    }
    return GM_OK;
}

gm_status gm_eigen_mirrored(const gm_operator *op, double uav, double vau, double largest,
                            gm_error *err)
{
    double noise = (op->precision == GM_F32 ? 1e-5 : 1e-11) * largest;
    if (fabs(uav - vau) > noise) {
        return gm_fail(err, GM_ERR_INPUT,
                       "the %s is not symmetric: u.Av = %.9g, v.Au = %.9g for two vectors",
                       op->name, uav, vau);
    }
    return GM_OK;
}

gm_status gm_eigen_symmetric(const gm_operator *op, const double *u, const double *au,
                             const double *v, const double *av, gm_error *err)
{
    size_t p = op->size;
    double (*dot)(size_t, const void *, const void *) = gm_kernels_get(GM_F64)->dot;
    double largest =
        sqrt(dot(p, u, u)) * sqrt(dot(p, av, av)) + sqrt(dot(p, v, v)) * sqrt(dot(p, au, au));
    return gm_eigen_mirrored(op, dot(p, u, av), dot(p, v, au), largest, err);
}

void gm_eigen_order(gm_which which, size_t count, const double *value, size_t *order)
{
    size_t top = 0, bottom = count;
    for (size_t j = 0; j < count; j++) {
        bool from_top = true;
        switch (which) {
        case GM_WHICH_LA:
            break;
        case GM_WHICH_SA:
            from_top = false;
            break;
        case GM_WHICH_BE:
            from_top = j % 2 == 0;
            break;
        case GM_WHICH_LM:
            from_top = fabs(value[top]) >= fabs(value[bottom - 1]);
            break;
        }
        order[j] = from_top ? top++ : --bottom;
    }
}

gm_status gm_eigen_alloc(const gm_operator *op, size_t count, gm_eigen *result, gm_error *err)
{
    size_t entries;
    if (!gm_mul_size(count, op->size, &entries)) {
        return gm_fail(err, GM_ERR_MEMORY, "%zu eigenvectors of %zu numbers do not fit", count,
                       op->size);
    }
    *result = (gm_eigen){.size = op->size, .count = count, .floor = gm_eigen_floor(op->precision)};
    result->value = gm_alloc(count, sizeof *result->value, "eigenvalues", err);
    result->vector = gm_alloc_raw(entries, sizeof *result->vector, "eigenvectors", err);
    result->residual = gm_alloc(count, sizeof *result->residual, "residuals", err);
    result->converged = gm_alloc(count, sizeof *result->converged, "convergence flags", err);
    if (result->value && result->vector && result->residual && result->converged) return GM_OK;
    gm_eigen_free(result);
    return GM_ERR_MEMORY;
}

void gm_eigen_judge(gm_eigen *result, size_t wanted, double tol, bool limited)
{
    for (size_t j = 0; j < result->count; j++) {
        result->scale = fmax(result->scale, fabs(result->value[j]));
    }
    result->solver_products = result->products - result->check_products;
    result->converged_count = 0;
    for (size_t j = 0; j < result->count; j++) {
        result->converged[j] = result->residual[j] <= tol * result->scale;
        result->converged_count += result->converged[j];
    }
    result->stop = limited                             ? GM_EIGEN_PRODUCTS
                   : result->converged_count >= wanted ? GM_EIGEN_CONVERGED
                                                       : GM_EIGEN_STALLED;
}

/* a [size, size] = the operator, row by row. */
static gm_status form(gm_operator *op, double *a, gm_eigen *cost, gm_error *err)
{
    size_t p = op->size, block = p < DENSE_BLOCK ? p : DENSE_BLOCK;
    double *unit = gm_alloc(block * p, sizeof *unit, "unit vectors", err);
    if (!unit) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    for (size_t first = 0; status == GM_OK && first < p; first += block) {
        size_t count = p - first < block ? p - first : block;
        memset(unit, 0, block * p * sizeof *unit);
        for (size_t j = 0; j < count; j++) {
            unit[j * p + first + j] = 1.0;
        }
        status = gm_operator_apply(op, count, unit, a + first * p, err);
        cost->products += count;
        cost->blocks++;
    }
    gm_free(unit);
    return status;
}

static gm_status form_symmetric(const gm_operator *op, const double *a, gm_error *err)
{
    size_t p = op->size;
    double largest = 0.0, worst = 0.0;
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j < i; j++) {
            largest = fmax(largest, fmax(fabs(a[i * p + j]), fabs(a[j * p + i])));
            worst = fmax(worst, fabs(a[i * p + j] - a[j * p + i]));
        }
    }
    if (worst > (op->precision == GM_F32 ? 1e-4 : 1e-10) * largest) {
        return gm_fail(err, GM_ERR_INPUT,
                       "the %s is not symmetric: two mirrored entries differ by %.3g, the largest "
                       "entry is %.3g",
                       op->name, worst, largest);
    }
    return GM_OK;
}

/* residual[j] of the pairs of result from the formed operator, A v = sum_i v_i A e_i. */
static gm_status formed_residuals(const double *a, gm_eigen *result, gm_error *err)
{
    size_t p = result->size, count = result->count;
    double *av = gm_alloc(count * p, sizeof *av, "products of eigenvectors", err);
    if (!av) return GM_ERR_MEMORY;
    gm_kernels_get(GM_F64)->gemm(false, false, count, p, p, 1.0, result->vector, p, a, p, 0.0, av,
                                 p);
    for (size_t j = 0; j < count; j++) {
        double sum = 0.0;
        for (size_t i = 0; i < p; i++) {
            double r = av[j * p + i] - result->value[j] * result->vector[j * p + i];
            sum += r * r;
        }
        result->residual[j] = sqrt(sum);
    }
    gm_free(av);
    return GM_OK;
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

size_t gm_eigen_dense_bytes(size_t size, size_t k)
{
    /* The matrix, its copy and its eigenvectors, and two rows of them for each pair. */
    size_t rows, numbers;
    if (!gm_mul_size(3, size, &rows) || !gm_add_size(rows, 2 * k + 3, &rows) ||
        !gm_mul_size(rows, size, &numbers) || !gm_mul_size(numbers, sizeof(double), &numbers))
        return SIZE_MAX;
    return numbers;
}

gm_status gm_eigen_dense(gm_operator *op, const gm_eigen_options *options, gm_eigen *result,
                         gm_error *err)
{
    size_t p = op->size, k = options->k, entries;
    if (options->max_products && options->max_products < p) {
        gm_status none = gm_eigen_alloc(op, 0, result, err);
        if (none == GM_OK) gm_eigen_judge(result, k, options->tol, true);
        return none;
    }
    if (!gm_mul_size(p, p, &entries)) {
        return gm_fail(err, GM_ERR_MEMORY, "a matrix of size %zu does not fit", p);
    }
    gm_status status = gm_eigen_alloc(op, k, result, err);
    if (status != GM_OK) return status;
    status = GM_ERR_MEMORY;
    double *a = gm_alloc(entries, sizeof *a, "matrix of the operator", err);
    double *work = gm_alloc(entries, sizeof *work, "copy of the matrix", err);
    double *vector = gm_alloc(entries, sizeof *vector, "eigenvectors", err);
    double *value = gm_alloc(p, sizeof *value, "eigenvalues", err);
    size_t *order = gm_alloc(p, sizeof *order, "order of the eigenvalues", err);
    if (!a || !work || !vector || !value || !order) goto done;

    status = form(op, a, result, err);
    if (status != GM_OK) goto done;
    status = form_symmetric(op, a, err);
    if (status != GM_OK) goto done;
    memcpy(work, a, entries * sizeof *work);
    status = gm_symmetric_eigen(p, work, p, 0, value, vector, err);
    if (status != GM_OK) goto done;
    gm_eigen_order(options->which, p, value, order);
    qsort(order, k, sizeof *order, compare_sizes); /* the chosen ones, descending by value */
    for (size_t j = 0; j < k; j++) {
        result->value[j] = value[order[j]];
        memcpy(result->vector + j * p, vector + order[j] * p, p * sizeof *vector);
    }
    status = formed_residuals(a, result, err);
    result->scale = fmax(fabs(value[0]), fabs(value[p - 1]));
    result->dense = true;
    gm_eigen_judge(result, k, options->tol, false);
done:
    gm_free(a);
    gm_free(work);
    gm_free(vector);
    gm_free(value);
    gm_free(order);
    if (status != GM_OK) gm_eigen_free(result);
    return status;
}
