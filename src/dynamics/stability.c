/* The limits of mean-square stability and the growth beyond them (gradiometer/stability.h). In the
 * basis of the span H is diagonal, so that L(X) = Lambda X + X Lambda is (lambda_a + lambda_b) on
 * pair ab: positive, and both conditions become eigenproblems scaled by its root. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/span.h"
#include "gradiometer/eigen.h"
#include "kernels/lapack.h"

static gm_status check(double kappa, double eta, gm_error *err)
{
    if (!(kappa >= 0.0 && kappa <= 1.0)) {
        return gm_fail(err, GM_ERR_USAGE, "kappa: found %g, expected 0 ... 1", kappa);
    }
    if (!(eta > 0.0 && isfinite(eta))) {
        return gm_fail(err, GM_ERR_USAGE, "--step: found %g, expected a finite number > 0", eta);
    }
    return GM_OK;
}

/* ---- the two quadratic forms ---- */

/* (1 - kappa) Lambda^2 + kappa S, entry a, b. */
static double first_entry(const gm_span *s, double kappa, size_t a, size_t b)
{
    double own = a == b ? s->lambda[a] * s->lambda[a] : 0.0;
    return (1.0 - kappa) * own + kappa * s->square[a * s->k + b];
}

/* (1 - kappa) Lambda.Lambda + kappa K, entry ab, cd. */
static double map_entry(const gm_span *s, double kappa, size_t a, size_t b, size_t row, size_t col)
{
    double own = row == col ? s->lambda[a] * s->lambda[b] : 0.0;
    return (1.0 - kappa) * own + kappa * s->fourth[row * gm_span_pairs(s->k) + col];
}

/* out [k, k] = -2 eta Lambda + eta^2 (...) where eta > 0, else the form scaled by Lambda^(-1/2). */
static void first_matrix(const gm_span *s, double kappa, double eta, double *out)
{
    for (size_t a = 0; a < s->k; a++) {
        for (size_t b = 0; b < s->k; b++) {
            double entry = first_entry(s, kappa, a, b);
            out[a * s->k + b] = eta > 0.0
                                    ? eta * eta * entry - (a == b ? 2.0 * eta * s->lambda[a] : 0.0)
                                    : entry / sqrt(s->lambda[a] * s->lambda[b]);
        }
    }
}

/* The same of the map, on the pairs of the first k directions: out [q, q]. */
static void map_matrix(const gm_span *s, double kappa, double eta, size_t k, double *out)
{
    size_t q = gm_span_pairs(k);
    for (size_t a = 0; a < k; a++) {
        for (size_t b = a; b < k; b++) {
            size_t row = gm_span_pair(s->k, a, b), to = gm_span_pair(k, a, b);
            double left = s->lambda[a] + s->lambda[b];
            for (size_t c = 0; c < k; c++) {
                for (size_t d = c; d < k; d++) {
                    size_t col = gm_span_pair(s->k, c, d);
                    double right = s->lambda[c] + s->lambda[d];
                    double entry = map_entry(s, kappa, a, b, row, col);
                    out[to * q + gm_span_pair(k, c, d)] =
                        eta > 0.0 ? eta * eta * entry - (row == col ? eta * left : 0.0)
                                  : entry / sqrt(left * right);
                }
            }
        }
    }
}

/* The largest eigenvalue of a matrix, which is destroyed; and its eigenvector, unless NULL. */
static gm_status largest(size_t order, double *matrix, double *value, double *vector, gm_error *err)
{
    double *all = gm_alloc(order, sizeof *all, "eigenvalues", err);
    if (!all) return GM_ERR_MEMORY;
    gm_status status = gm_symmetric_eigen(order, matrix, vector ? 1 : 0, 0, all, vector, err);
    *value = all[0];
    gm_free(all);
    return status;
}

static gm_status largest_first(const gm_span *s, double kappa, double eta, double *value,
                               gm_error *err)
{
    double *matrix = gm_alloc(s->k * s->k, sizeof *matrix, "E (I - eta H_B)^2", err);
    if (!matrix) return GM_ERR_MEMORY;
    first_matrix(s, kappa, eta, matrix);
    gm_status status = largest(s->k, matrix, value, NULL, err);
    gm_free(matrix);
    return status;
}

static gm_status largest_map(const gm_span *s, double kappa, double eta, size_t k, double *value,
                             double *vector, gm_error *err)
{
    size_t q = gm_span_pairs(k);
    double *matrix = gm_alloc(q * q, sizeof *matrix, "map of second moments", err);
    if (!matrix) return GM_ERR_MEMORY;
    map_matrix(s, kappa, eta, k, matrix);
    gm_status status = largest(q, matrix, value, vector, err);
    gm_free(matrix);
    return status;
}

/* ---- what leaves the span ---- */

/* tr K(X) of x [q] in the basis of the pairs. */
static double trace_of_map(const gm_span *s, const double *x)
{
    size_t q = gm_span_pairs(s->k);
    double trace = 0.0;
    for (size_t a = 0; a < s->k; a++) {
        const double *row = s->fourth + gm_span_pair(s->k, a, a) * q;
        for (size_t j = 0; j < q; j++) {
            trace += row[j] * x[j];
        }
    }
    return trace;
}

/* |X|_2 of x [q], and tr(X A) for A = rest and square. */
static gm_status take_shape(const gm_span *s, const double *x, double *norm, double *rest,
                            double *square, gm_error *err)
{
    size_t k = s->k;
    double *full = gm_alloc(k * k, sizeof *full, "growing matrix", err);
    if (!full) return GM_ERR_MEMORY;
    *rest = *square = 0.0;
    for (size_t i = 0; i < k * k; i++) {
        size_t a = i / k, b = i % k;
        full[i] = x[gm_span_pair(k, a, b)] * (a == b ? 1.0 : sqrt(0.5));
        *rest += full[i] * s->rest[i];
        *square += full[i] * s->square[i];
    }
    gm_status status = largest(k, full, norm, NULL, err);
    gm_free(full);
    return status;
}

/* grows [q]: the eigenvector of the scaled map at the boundary, L^(1/2) X; becomes X. */
static gm_status take_error(const gm_span *s, double kappa, double *grows,
                            gm_stability_limits *limits, gm_error *err)
{
    size_t k = s->k, q = gm_span_pairs(k);
    double square = 0.0, trace = 0.0, slope = 0.0, eta = limits->boundary;
    for (size_t a = 0; a < k; a++) {
        for (size_t b = a; b < k; b++) {
            double *x = grows + gm_span_pair(k, a, b), left = s->lambda[a] + s->lambda[b];
            *x /= sqrt(left);
            square += *x * *x;
            slope += left * *x * *x;
            if (a == b) trace += *x;
        }
    }
    for (size_t j = 0; j < q; j++) {
        grows[j] *= copysign(1.0 / sqrt(square), trace);
    }
    double norm, rest, squares;
    gm_status status = take_shape(s, grows, &norm, &rest, &squares, err);
    if (status != GM_OK) return status;
    double out = kappa * fmax(0.0, squares - trace_of_map(s, grows)) + (1.0 - kappa) * rest;
    double leak = eta * eta * fmax(0.0, out);
    double residual = sqrt(2.0 * norm * leak + leak * leak);
    limits->error = fmin(eta, residual * square / slope);
    return GM_OK;
}

/* ---- limits ---- */

gm_status gm_stability_limits_find(const gm_span *span, double kappa, gm_stability_limits *limits,
                                   gm_error *err)
{
    *limits = (gm_stability_limits){0};
    gm_status status = check(kappa, 1.0, err);
    if (status != GM_OK || !(span->lambda[span->k - 1] > 0.0)) return status;
    limits->one_step = (double)INFINITY;
    for (size_t j = 0; j < span->k; j++) {
        limits->one_step =
            fmin(limits->one_step, 2.0 * span->lambda[j] / first_entry(span, kappa, j, j));
    }
    double value;
    bool leaves = !span->complete;
    double *grows = gm_alloc(gm_span_pairs(span->k), sizeof *grows, "growing matrix", err);
    status = grows ? largest_first(span, kappa, 0.0, &value, err) : GM_ERR_MEMORY;
    if (status == GM_OK) {
        limits->sufficient = 2.0 / value;
        status = largest_map(span, kappa, 0.0, span->k, &value, leaves ? grows : NULL, err);
    }
    if (status == GM_OK) {
        limits->boundary = 1.0 / value;
        if (leaves) status = take_error(span, kappa, grows, limits, err);
    }
    if (status == GM_OK) {
        status = largest_map(span, kappa, 0.0, (span->k + 1) / 2, &value, NULL, err);
        limits->half = 1.0 / value;
    }
    gm_free(grows);
    return status;
}

/* ---- growth ---- */

gm_status gm_stability_growth(const gm_span *span, double kappa, double eta, double *growth,
                              double *first, gm_error *err)
{
    double value = 0.0;
    gm_status status = check(kappa, eta, err);
    if (status == GM_OK) status = largest_map(span, kappa, eta, span->k, &value, NULL, err);
    *growth = 1.0 + value;
    if (status == GM_OK) status = largest_first(span, kappa, eta, &value, err);
    *first = 1.0 + value;
    return status;
}

/* x [q] becomes T(x), by way of y [q]; map [q, q] is T - I. Returns the trace of T(x). */
static double apply_map(size_t k, const double *map, double *x, double *y)
{
    size_t q = gm_span_pairs(k);
    double trace = 0.0;
    memcpy(y, x, q * sizeof *y);
    for (size_t i = 0; i < q; i++) {
        for (size_t j = 0; j < q; j++) {
            x[i] += map[i * q + j] * y[j];
        }
    }
    for (size_t a = 0; a < k; a++) {
        trace += x[gm_span_pair(k, a, a)];
    }
    return trace;
}

gm_status gm_stability_course(const gm_span *span, double kappa, double eta, size_t steps,
                              double *shape, double *factor, gm_error *err)
{
    enum { TOWARDS = 64 };
    size_t k = span->k, q = gm_span_pairs(k);
    gm_status status = check(kappa, eta, err);
    if (status != GM_OK) return status;
    double *map = gm_alloc(q * q + 2 * q, sizeof *map, "map of second moments", err);
    if (!map) return GM_ERR_MEMORY;
    double *x = map + q * q, *y = x + q;
    map_matrix(span, kappa, eta, k, map);
    for (size_t a = 0; a < k; a++) {
        x[gm_span_pair(k, a, a)] = 1.0 / (double)k;
    }
    for (int i = 0; i < TOWARDS; i++) {
        double trace = apply_map(k, map, x, y);
        for (size_t j = 0; j < q; j++) {
            x[j] /= trace;
        }
    }
    for (size_t a = 0; a < k; a++) {
        for (size_t b = 0; b < k; b++) {
            shape[a * k + b] = x[gm_span_pair(k, a, b)] * (a == b ? 1.0 : sqrt(0.5));
        }
    }
    *factor = 1.0;
    for (size_t t = 0; t < steps; t++) {
        *factor = apply_map(k, map, x, y);
    }
    gm_free(map);
    return GM_OK;
}

/* ---- every direction ---- */

typedef struct step_map {
    gm_operator hessian, squares;
    double kappa, eta;
} step_map;

/* av = (T(I) - I) v = eta^2 ((1 - kappa) H H v + kappa S v) - 2 eta H v */
static gm_status step_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    step_map *m = self;
    size_t numbers = count * m->hessian.size;
    double *hv = gm_alloc(2 * numbers, sizeof *hv, "products", err);
    if (!hv) return GM_ERR_MEMORY;
    double *sv = hv + numbers, square = m->eta * m->eta;
    gm_status status = gm_operator_apply(&m->hessian, count, v, hv, err);
    if (status == GM_OK) status = gm_operator_apply(&m->hessian, count, hv, av, err);
    if (status == GM_OK) status = gm_operator_apply(&m->squares, count, v, sv, err);
    for (size_t i = 0; status == GM_OK && i < numbers; i++) {
        av[i] = square * ((1.0 - m->kappa) * av[i] + m->kappa * sv[i]) - 2.0 * m->eta * hv[i];
    }
    gm_free(hv);
    return status;
}

gm_status gm_stability_first(gm_linearization *lin, double kappa, double eta, double tol,
                             uint64_t seed, double *first, double *error, gm_error *err)
{
    step_map map = {.kappa = kappa, .eta = eta};
    gm_eigen_options o;
    gm_eigen r = {0};
    gm_eigen_options_default(&o);
    o.k = 1;
    o.tol = tol;
    o.seed = seed;
    gm_status status = check(kappa, eta, err);
    if (status == GM_OK)
        status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &map.hessian, err);
    if (status == GM_OK) status = gm_squares_operator(lin, GM_ALL_LAYERS, &map.squares, err);
    if (status == GM_OK) {
        gm_operator op = {.size = map.hessian.size,
                          .precision = map.hessian.precision,
                          .name = "mean squared step",
                          .self = &map,
                          .apply = step_apply};
        status = gm_eigenpairs(&op, &o, &r, err);
    }
    if (status == GM_OK && r.count < 1) {
        status =
            gm_fail(err, GM_ERR_NUMERIC,
                    "the largest growth of one step did not converge in %zu products", r.products);
    }
    if (status == GM_OK) {
        *first = 1.0 + r.value[0];
        *error = r.residual[0];
    }
    gm_eigen_free(&r);
    gm_operator_destroy(&map.hessian);
    gm_operator_destroy(&map.squares);
    return status;
}
