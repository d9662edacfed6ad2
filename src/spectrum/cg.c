/* Conjugate gradients on (A + c I) x = b.
 *
 *   alpha = r.r / d.Bd, x += alpha d, r -= alpha B d, d = r + (r'.r' / r.r) d, B = A + c I
 *
 * The recursion's r drifts away from b - B x by the rounding of the products; so it decides only
 * when to look. What is returned is judged by b - B x itself, from which the recursion starts anew
 * (Sleijpen and van der Vorst's replacement of the residual, at its simplest).
 *
 * All is done for b / ||b||, so that neither very large nor very small b leave the range of a
 * double in between. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/solve.h"

enum { MAX_PRODUCTS = 1000 };

static const double default_tol = 1e-8;

void gm_solve_options_default(gm_solve_options *options)
{
    *options = (gm_solve_options){.tol = default_tol, .max_products = MAX_PRODUCTS};
}

const char *gm_solve_end_name(gm_solve_end end)
{
    static const char *const names[] = {
        [GM_SOLVE_CONVERGED] = "converged", [GM_SOLVE_OUT_OF_PRODUCTS] = "out of products",
        [GM_SOLVE_STALLED] = "stalled",     [GM_SOLVE_NEGATIVE_CURVATURE] = "negative curvature",
        [GM_SOLVE_SINGULAR] = "singular",
    };
    return names[end];
}

size_t gm_solve_bytes(size_t size)
{
    size_t bytes = 0;
    return gm_mul_size(size, 3 * sizeof(double), &bytes) ? bytes : SIZE_MAX;
}

static gm_status check_options(const gm_operator *op, const gm_solve_options *options,
                               gm_error *err)
{
    double floor = gm_dtype_eps(op->precision);
    if (!(options->shift >= 0) || !isfinite(options->shift)) {
        return gm_fail(err, GM_ERR_USAGE, "shift: %g, expected a finite number >= 0",
                       options->shift);
    }
    if (!(options->tol < 1) || !(options->tol > 0)) {
        return gm_fail(err, GM_ERR_USAGE, "tol: %g, expected a number in (0, 1)", options->tol);
    }
    if (options->tol < floor) {
        return gm_fail(err, GM_ERR_USAGE,
                       "tol: found %g, below the rounding %.2g of products in %s of the %s",
                       options->tol, floor, gm_dtype_name(op->precision), op->name);
    }
    if (options->max_products < 2) {
        return gm_fail(err, GM_ERR_USAGE, "max_products: %zu, expected at least 2",
                       options->max_products);
    }
    return GM_OK;
}

static double dot(size_t n, const double *x, const double *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* By way of the largest entry: the squares of 1e-200 or 1e200 are no doubles. */
static double norm_of(size_t n, const double *x)
{
    double largest = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(x[i]));
    }
    for (size_t i = 0; largest > 0 && i < n; i++) {
        squares += (x[i] / largest) * (x[i] / largest);
    }
    return largest * sqrt(squares);
}

static gm_status check_rhs(size_t n, const double *b, gm_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(b[i])) {
            return gm_fail(err, GM_ERR_INPUT, "b: entry %zu is %g, expected a finite number", i,
                           b[i]);
        }
    }
    if (!isfinite(norm_of(n, b))) {
        return gm_fail(err, GM_ERR_NUMERIC, "b: its norm is beyond the range of a double");
    }
    return GM_OK;
}

typedef struct iteration {
    gm_operator *op;
    const gm_solve_options *options;
    const double *b;
    double norm; /* ||b|| */
    size_t first, n;
    double *x, *r, *d, *bd; /* d's image, B d */
    gm_solve_result *result;
} iteration;

static size_t products_left(const iteration *it)
{
    return it->options->max_products - (it->op->products - it->first);
}

/* image = (A + c I) v */
static gm_status apply(const iteration *it, const double *v, double *image, gm_error *err)
{
    gm_status status = gm_operator_apply(it->op, 1, v, image, err);
    for (size_t i = 0; status == GM_OK && i < it->n; i++) {
        image[i] += it->options->shift * v[i];
    }
    return status;
}

/* r = b / ||b|| - B x */
static gm_status true_residual(const iteration *it, gm_error *err)
{
    gm_status status = apply(it, it->x, it->bd, err);
    if (status != GM_OK) return status;
    for (size_t i = 0; i < it->n; i++) {
        it->r[i] = it->b[i] / it->norm - it->bd[i];
    }
    it->result->residual = sqrt(dot(it->n, it->r, it->r));
    return GM_OK;
}

/* Curvature d.Bd along d against its rounding, eps ||d|| ||B d||. */
static gm_solve_end judge(const iteration *it, double dbd)
{
    double length = norm_of(it->n, it->d);
    double rounding = gm_dtype_eps(it->op->precision) * length * norm_of(it->n, it->bd);
    double curvature = dbd / length / length;
    if (fabs(dbd) <= rounding) curvature = 0;
    it->result->curvature = fmin(it->result->curvature, curvature); /* of NaN and it: it */
    if (curvature > 0) return GM_SOLVE_CONVERGED;
    return curvature < 0 ? GM_SOLVE_NEGATIVE_CURVATURE : GM_SOLVE_SINGULAR;
}

/* Conjugate gradients from the residual r until the recursion has ||r|| <= tol, one product is
 * left, or *end says what stopped it. */
static gm_status recursion(const iteration *it, gm_solve_end *end, gm_error *err)
{
    double rr = dot(it->n, it->r, it->r), tol = it->options->tol;
    memcpy(it->d, it->r, it->n * sizeof *it->d);
    while (sqrt(rr) > tol && products_left(it) > 1) {
        gm_status status = apply(it, it->d, it->bd, err);
        if (status != GM_OK) return status;
        double dbd = dot(it->n, it->d, it->bd);
        *end = judge(it, dbd);
        if (*end != GM_SOLVE_CONVERGED) return GM_OK;
        double alpha = rr / dbd, before = rr;
        for (size_t i = 0; i < it->n; i++) {
            it->x[i] += alpha * it->d[i];
            it->r[i] -= alpha * it->bd[i];
        }
        rr = dot(it->n, it->r, it->r);
        if (!isfinite(rr)) {
            return gm_fail(
                err, GM_ERR_NUMERIC,
                "conjugate gradients on the %s: step %zu is beyond the range of a double",
                it->op->name, it->result->steps + 1);
        }
        for (size_t i = 0; i < it->n; i++) {
            it->d[i] = it->r[i] + rr / before * it->d[i];
        }
        it->result->steps++;
    }
    return GM_OK;
}

/* x times ||b||, where that is a number of this kind. */
static gm_status unscale(const iteration *it, gm_error *err)
{
    double unit = norm_of(it->n, it->x);
    for (size_t i = 0; i < it->n; i++) {
        it->x[i] *= it->norm;
    }
    double full = norm_of(it->n, it->x);
    if (isfinite(full) && (full >= DBL_MIN || unit == 0)) return GM_OK;
    return gm_fail(err, GM_ERR_NUMERIC, "x: its norm, %.3g times %.3g, is no double", unit,
                   it->norm);
}

static gm_status iterate(const iteration *it, gm_error *err)
{
    gm_solve_result *result = it->result;
    gm_status status = GM_OK;
    double before = result->residual = 1; /* x = 0 */
    for (size_t i = 0; i < it->n; i++) {
        it->r[i] = it->b[i] / it->norm;
    }
    do {
        gm_solve_end end = GM_SOLVE_CONVERGED;
        before = result->residual;
        status = recursion(it, &end, err);
        if (status == GM_OK) status = true_residual(it, err);
        if (status != GM_OK) return status;
        result->converged = result->residual <= it->options->tol;
        result->end = result->converged           ? GM_SOLVE_CONVERGED
                      : end != GM_SOLVE_CONVERGED ? end
                      : products_left(it) < 2     ? GM_SOLVE_OUT_OF_PRODUCTS
                                                  : GM_SOLVE_STALLED;
    } while (result->end == GM_SOLVE_STALLED && result->residual < 0.5 * before);
    return unscale(it, err);
}

gm_status gm_solve(gm_operator *op, const double *b, const gm_solve_options *options, double *x,
                   gm_solve_result *result, gm_error *err)
{
    size_t n = op->size;
    *result = (gm_solve_result){.curvature = (double)NAN};
    gm_status status = check_options(op, options, err);
    if (status == GM_OK) status = check_rhs(n, b, err);
    if (status != GM_OK) return status;
    double norm = norm_of(n, b);
    memset(x, 0, n * sizeof *x);
    if (norm == 0) {
        result->converged = true;
        return GM_OK;
    }
    double *work = gm_alloc(n, 3 * sizeof *work, "vectors of conjugate gradients", err);
    if (!work) return GM_ERR_MEMORY;
    iteration it = {.op = op,
                    .options = options,
                    .b = b,
                    .norm = norm,
                    .first = op->products,
                    .n = n,
                    .x = x,
                    .r = work,
                    .d = work + n,
                    .bd = work + 2 * n,
                    .result = result};
    status = iterate(&it, err);
    result->products = op->products - it.first;
    gm_free(work);
    return status;
}
