/* The span of directions on which mean-square stability is decided, and the moments of the samples'
 * Hessians there (gradiometer/stability.h).
 *
 *   1. U = everything, or eigenvectors of H and of S with the largest eigenvalues, orthonormal
 *   2. turn U so that U'HU is diagonal, drop directions below the cut
 *   3. U'SU; the forms u_a . H_i u_b of all samples and P = their second moments; K from P:
 *      with e_ab = s_ab (e_a e_b' + e_b e_a'), s_ab = 1/2 for a = b and 1/sqrt 2 else,
 *      K[ab, cd] = 2 s_ab s_cd (P[ac, bd] + P[ad, bc]) */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/span.h"
#include "gradiometer/eigen.h"
#include "kernels/gemm.h"
#include "kernels/lapack.h"

enum { SPAN_DEFAULT = 20 };

void gm_span_options_default(gm_span_options *options)
{
    *options = (gm_span_options){.cut = 1e-3, .tol = 1e-4};
}

void gm_span_free(gm_span *span)
{
    gm_free(span->vector);
    gm_free(span->lambda);
    gm_free(span->residual);
    gm_free(span->rest);
    gm_free(span->square);
    gm_free(span->fourth);
    *span = (gm_span){0};
}

static double dot(size_t n, const double *x, const double *y)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* ---- the directions ---- */

/* vector [k, p] = the k leading eigenvectors; value and error those of the first. */
static gm_status leading(gm_operator *op, const gm_span_options *options, gm_which which, size_t k,
                         double *vector, double *value, double *error, gm_error *err)
{
    gm_eigen_options o;
    gm_eigen r = {0};
    gm_eigen_options_default(&o);
    o.which = which;
    o.k = k;
    o.tol = options->tol;
    o.seed = options->seed;
    gm_status status = gm_eigenpairs(op, &o, &r, err);
    if (status == GM_OK && r.count < k) {
        status = gm_fail(err, GM_ERR_NUMERIC, "%s: %zu of %zu eigenpairs converged in %zu products",
                         op->name, r.count, k, r.products);
    }
    if (status == GM_OK) {
        if (vector) memcpy(vector, r.vector, k * op->size * sizeof *vector);
        *value = r.value[0];
        *error = r.residual[0];
    }
    gm_eigen_free(&r);
    return status;
}

static gm_status start_directions(gm_operator *hessian, gm_operator *squares,
                                  const gm_span_options *options, gm_span *s, gm_error *err)
{
    size_t p = s->p, k = s->k, own = (k + 1) / 2;
    if (k == p) {
        for (size_t j = 0; j < k; j++) {
            s->vector[j * p + j] = 1.0;
        }
        return GM_OK;
    }
    double top, residual;
    gm_status status = leading(hessian, options, GM_WHICH_LA, own, s->vector, &s->lambda_max,
                               &s->lambda_max_error, err);
    if (status == GM_OK) {
        status = leading(hessian, options, GM_WHICH_SA, 1, NULL, &s->lambda_min,
                         &s->lambda_min_error, err);
    }
    if (status == GM_OK && k > own) {
        status = leading(squares, options, GM_WHICH_LA, k - own, s->vector + own * p, &top,
                         &residual, err);
    }
    if (status == GM_OK) status = gm_orthonormalize(k, p, s->vector, NULL, err);
    return status;
}

/* rows [k, p] = turn [k, k] rows. */
static gm_status turn_rows(size_t k, size_t p, const double *turn, double *rows, gm_error *err)
{
    double *copy = gm_alloc(k * p, sizeof *copy, "directions", err);
    if (!copy) return GM_ERR_MEMORY;
    memcpy(copy, rows, k * p * sizeof *copy);
    gm_gemm_f64(false, false, k, p, k, 1.0, turn, k, copy, p, 0.0, rows, p);
    gm_free(copy);
    return GM_OK;
}

/* Turns the directions into those of U'HU, takes their residuals and drops those below the cut. */
static gm_status turn_directions(gm_operator *hessian, double cut, gm_span *s, gm_error *err)
{
    size_t p = s->p, k = s->k;
    double *image = gm_alloc(k * p, sizeof *image, "products with H", err);
    double *inner = gm_alloc(2 * k * k, sizeof *inner, "H between directions", err);
    gm_status status = image && inner ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_operator_apply(hessian, k, s->vector, image, err);
    if (status == GM_OK) {
        gm_gemm_f64(false, true, k, k, p, 1.0, s->vector, p, image, p, 0.0, inner, k);
        status = gm_symmetric_eigen(k, inner, k, 0, s->lambda, inner + k * k, err);
    }
    if (status == GM_OK) status = turn_rows(k, p, inner + k * k, s->vector, err);
    if (status == GM_OK) status = turn_rows(k, p, inner + k * k, image, err);
    for (size_t j = 0; status == GM_OK && j < k; j++) {
        double *h = image + j * p;
        for (size_t i = 0; i < p; i++) {
            h[i] -= s->lambda[j] * s->vector[j * p + i];
        }
        s->residual[j] = sqrt(dot(p, h, h));
    }
    double *rest = inner; /* of all k directions; those of the first few are its first rows */
    if (status == GM_OK) gm_gemm_f64(false, true, k, k, p, 1.0, image, p, image, p, 0.0, rest, k);
    if (status == GM_OK && k == p) {
        s->lambda_max = s->lambda[0];
        s->lambda_max_error = s->residual[0];
        s->lambda_min = s->lambda[k - 1];
        s->lambda_min_error = s->residual[k - 1];
    }
    while (status == GM_OK && s->k && !(s->lambda[s->k - 1] > cut * fabs(s->lambda_max))) {
        if (!isfinite(cut)) break;
        s->k--;
    }
    if (status == GM_OK && !s->k) {
        status =
            gm_fail(err, GM_ERR_NUMERIC,
                    "no direction of positive curvature: lambda_max of H is %g", s->lambda_max);
    }
    for (size_t a = 0; status == GM_OK && a < s->k; a++) {
        memcpy(s->rest + a * s->k, rest + a * k, s->k * sizeof *rest);
    }
    gm_free(image);
    gm_free(inner);
    return status;
}

/* ---- second moments ---- */

static gm_status take_squares(gm_operator *squares, gm_span *s, gm_error *err)
{
    size_t p = s->p, k = s->k;
    double *image = gm_alloc(k * p, sizeof *image, "products with S", err);
    if (!image) return GM_ERR_MEMORY;
    gm_status status = gm_operator_apply(squares, k, s->vector, image, err);
    if (status == GM_OK)
        gm_gemm_f64(false, true, k, k, p, 1.0, s->vector, p, image, p, 0.0, s->square, k);
    gm_free(image);
    return status;
}

/* second [q, q] = P, to s->fourth = K. */
static void moments_to_map(gm_span *s, const double *second)
{
    size_t k = s->k, q = gm_span_pairs(k);
    for (size_t a = 0; a < k; a++) {
        for (size_t b = a; b < k; b++) {
            double *row = s->fourth + gm_span_pair(k, a, b) * q;
            double left = a == b ? 0.5 : sqrt(0.5);
            for (size_t c = 0; c < k; c++) {
                const double *ac = second + gm_span_pair(k, a, c) * q;
                const double *bc = second + gm_span_pair(k, b, c) * q;
                for (size_t d = c; d < k; d++) {
                    double right = c == d ? 0.5 : sqrt(0.5);
                    row[gm_span_pair(k, c, d)] =
                        2.0 * left * right *
                        (ac[gm_span_pair(k, b, d)] + bc[gm_span_pair(k, a, d)]);
                }
            }
        }
    }
}

static gm_status take_moments(gm_linearization *lin, gm_span *s, gm_error *err)
{
    size_t q = gm_span_pairs(s->k), n = s->n;
    double *form = gm_alloc(n * q, sizeof *form, "forms of the samples' Hessians", err);
    double *second = gm_alloc(q * q, sizeof *second, "second moments of the Hessians", err);
    s->fourth = gm_alloc(q * q, sizeof *s->fourth, "second moments of the Hessians", err);
    gm_status status = form && second && s->fourth ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_hessian_forms(lin, s->k, s->vector, form, err);
    if (status == GM_OK) {
        gm_gemm_f64(true, false, q, q, n, 1.0 / (double)n, form, q, form, q, 0.0, second, q);
        moments_to_map(s, second);
    }
    gm_free(form);
    gm_free(second);
    return status;
}

/* ---- all of it ---- */

static void take_gradient(const gm_linearization *lin, gm_span *s)
{
    const double *mu = gm_linearization_gradient(lin);
    s->gradient_norm = sqrt(dot(s->p, mu, mu));
    for (size_t j = 0; j < s->k; j++) {
        double along = dot(s->p, mu, s->vector + j * s->p);
        if (s->lambda[j] > 0.0) s->fall += 0.5 * along * along / s->lambda[j];
    }
}

static gm_status allocate(gm_span *s, gm_error *err)
{
    s->vector = gm_alloc(s->k * s->p, sizeof *s->vector, "directions", err);
    s->lambda = gm_alloc(s->k, sizeof *s->lambda, "directions", err);
    s->residual = gm_alloc(s->k, sizeof *s->residual, "directions", err);
    s->rest = gm_alloc(s->k * s->k, sizeof *s->rest, "directions", err);
    s->square = gm_alloc(s->k * s->k, sizeof *s->square, "directions", err);
    return s->vector && s->lambda && s->residual && s->rest && s->square ? GM_OK : GM_ERR_MEMORY;
}

gm_status gm_span_make(gm_linearization *lin, const gm_span_options *options, gm_span *span,
                       gm_error *err)
{
    const gm_problem *problem = gm_linearization_problem(lin);
    size_t p = gm_problem_parameters(problem), k = options->k;
    *span = (gm_span){.n = gm_problem_data(problem)->n, .p = p};
    if (k > GM_SPAN_MOST || k > p) {
        return gm_fail(err, GM_ERR_USAGE, "--directions: found %zu, expected at most %zu", k,
                       p < GM_SPAN_MOST ? p : (size_t)GM_SPAN_MOST);
    }
    span->k = k ? k : p <= GM_SPAN_MOST ? p : SPAN_DEFAULT;
    gm_operator hessian = {0}, squares = {0};
    gm_status status = allocate(span, err);
    if (status == GM_OK)
        status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, err);
    if (status == GM_OK) status = gm_squares_operator(lin, GM_ALL_LAYERS, &squares, err);
    if (status == GM_OK) status = start_directions(&hessian, &squares, options, span, err);
    if (status == GM_OK) status = turn_directions(&hessian, options->cut, span, err);
    if (status == GM_OK) status = take_squares(&squares, span, err);
    if (status == GM_OK) status = take_moments(lin, span, err);
    if (status == GM_OK) take_gradient(lin, span);
    span->complete = span->k == p;
    span->products = hessian.products + squares.products;
    gm_operator_destroy(&hessian);
    gm_operator_destroy(&squares);
    return status;
}
