/* Mean-square stability: the identity of a batch's squared step by enumeration of all batches, the
 * growth of second moments against the matrix E[A (x) A] of all batches, the limits in closed form
 * and as the places where the growth is 1, and linearized runs against the prediction.
 *
 * Tolerance of what is exact: 1e-11 relative, the rounding of fourth powers of p numbers. */
#include "support.h"

#include <math.h>

#include "base/memory.h"
#include "gradiometer/stability.h"
#include "kernels/lapack.h"
#include "problems.h"
#include "sgd/kappa.h"

/* H_i [n, p, p] */
static double *single_hessians(const test_problem *t)
{
    size_t p = t->p, n = t->c->n, in = t->c->ref.width[0],
           outputs = t->c->ref.width[t->c->ref.layers];
    double *hessian = calloc(n * p * p, sizeof *hessian);
    for (size_t i = 0; i < n; i++) {
        ref_data one = {1, t->x + i * in, t->ref.label ? t->label + i : NULL,
                        t->ref.target ? t->target + i * outputs : NULL};
        ref_matrix(&t->c->ref, t->theta, &one, REF_H, hessian + i * p * p);
    }
    return hessian;
}

/* a = I - eta (H_i + H_j) / 2 */
static void step_matrix(size_t p, const double *hessian, size_t i, size_t j, double eta, double *a)
{
    for (size_t r = 0; r < p * p; r++) {
        a[r] = (r / p == r % p ? 1.0 : 0.0) -
               0.5 * eta * (hessian[i * p * p + r] + hessian[j * p * p + r]);
    }
}

/* Means over all batches of two: square [p, p] of A^2, kron [p^2, p^2] of A (x) A (or NULL). */
static void enumerate(size_t p, size_t n, const double *hessian, bool without, double eta,
                      double *square, double *kron)
{
    double *a = calloc(p * p, sizeof *a), batches = (double)(n * (without ? n - 1 : n));
    for (size_t pair = 0; pair < n * n; pair++) {
        size_t i = pair / n, j = pair % n;
        if (without && i == j) continue;
        step_matrix(p, hessian, i, j, eta, a);
        for (size_t r = 0; r < p * p; r++) {
            for (size_t c = 0; c < p; c++) {
                square[r] += a[r / p * p + c] * a[c * p + r % p] / batches;
            }
            for (size_t c = 0; kron && c < p * p; c++) { /* row (r, s), column (u, v) */
                kron[r * p * p + c] += a[r / p * p + c / p] * a[r % p * p + c % p] / batches;
            }
        }
    }
    free(a);
}

static double top_of(size_t order, double *matrix)
{
    gm_error err = {0};
    double *value = calloc(order, sizeof *value);
    expect_ok(gm_symmetric_eigen(order, matrix, 0, 0, value, NULL, &err), &err);
    double top = value[0];
    free(value);
    return top;
}

static void products_of(gm_operator *op, size_t p, double *matrix)
{
    gm_error err = {0};
    double *eye = calloc(p * p, sizeof *eye);
    for (size_t j = 0; j < p; j++) {
        eye[j * p + j] = 1;
    }
    expect_ok(gm_operator_apply(op, p, eye, matrix, &err), &err);
    free(eye);
}

static void span_of(test_problem *t, size_t k, double cut, gm_span *span)
{
    gm_error err = {0};
    gm_span_options o;
    gm_span_options_default(&o);
    o.k = k;
    o.cut = cut;
    o.tol = 1e-10;
    expect_ok(gm_span_make(t->lin, &o, span, &err), &err);
}

static const test_case tanh_case = {
    "mlp:2-3-2,act=tanh", {2, {2, 3, 2}, REF_TANH, true, true}, 5, 0.8};
static const test_case linear_case = {"mlp:2-2", {1, {2, 2}, REF_IDENTITY, true, true}, 7, 0.8};

/* E (I - eta H_B)^2 = (I - eta H)^2 + eta^2 kappa (S - H^2), and its largest eigenvalue. */
static void batch_identity(void **state)
{
    (void)state;
    gm_error err = {0};
    test_problem t;
    test_problem_open(&t, &tanh_case, GM_F64, 0, 0);
    size_t p = t.p, n = tanh_case.n;
    double *hessian = single_hessians(&t), eta = 0.7;
    double *h = calloc(p * p, sizeof *h), *s = calloc(p * p, sizeof *s);
    gm_operator op = {0};
    expect_ok(gm_curvature_operator(t.lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
    products_of(&op, p, h);
    gm_operator_destroy(&op);
    expect_ok(gm_squares_operator(t.lin, GM_ALL_LAYERS, &op, &err), &err);
    products_of(&op, p, s);
    gm_operator_destroy(&op);
    for (int without = 0; without < 2; without++) {
        double *expected = calloc(p * p, sizeof *expected), *found = calloc(p * p, sizeof *found);
        double kappa = gm_kappa_of(n, 2, without), first, error;
        enumerate(p, n, hessian, without, eta, expected, NULL);
        for (size_t r = 0; r < p * p; r++) {
            double square = 0;
            for (size_t c = 0; c < p; c++) {
                square += h[r / p * p + c] * h[c * p + r % p];
            }
            found[r] = (r / p == r % p ? 1.0 : 0.0) - 2 * eta * h[r] + eta * eta * square +
                       eta * eta * kappa * (s[r] - square);
        }
        assert_at_most(relative_error(p * p, found, expected), 1e-13, "without %d", without);
        expect_ok(gm_stability_first(t.lin, kappa, eta, 1e-12, 0, &first, &error, &err), &err);
        double top = top_of(p, expected);
        assert_at_most(fabs(first - top), 1e-10 * top, "without %d: %.17g, %.17g", without, first,
                       top);
        free(expected);
        free(found);
    }
    free(hessian);
    free(h);
    free(s);
    test_problem_close(&t);
}

/* The whole space as span, negative curvature and all: growth is the spectral radius of E[A (x) A].
 */
static void growth_by_enumeration(void **state)
{
    (void)state;
    gm_error err = {0};
    test_problem t;
    gm_span span;
    test_problem_open(&t, &tanh_case, GM_F64, 0, 0);
    size_t p = t.p, n = tanh_case.n, q = p * p;
    double *hessian = single_hessians(&t);
    span_of(&t, 0, -(double)INFINITY, &span);
    assert_true(span.complete && span.k == p);
    assert_true(span.lambda_min < 0);
    for (int without = 0; without < 2; without++) {
        for (int i = 0; i < 2; i++) {
            double eta = i ? 0.05 : 0.9, growth, first;
            double *square = calloc(q, sizeof *square), *kron = calloc(q * q, sizeof *kron);
            enumerate(p, n, hessian, without, eta, square, kron);
            double radius = top_of(q, kron), top = top_of(p, square);
            expect_ok(
                gm_stability_growth(&span, gm_kappa_of(n, 2, without), eta, &growth, &first, &err),
                &err);
            assert_at_most(fabs(growth - radius), 1e-11 * radius, "growth %.17g, radius %.17g",
                           growth, radius);
            assert_at_most(fabs(first - top), 1e-11 * top, "first %.17g, top %.17g", first, top);
            free(square);
            free(kron);
        }
    }
    gm_stability_limits limits;
    expect_ok(gm_stability_limits_find(&span, 0.5, &limits, &err), &err);
    assert_true(limits.boundary == 0 && limits.sufficient == 0 && limits.one_step == 0);
    free(hessian);
    gm_span_free(&span);
    test_problem_close(&t);
}

/* Every direction curved: at the limits the growth is 1, and they stand in their order. */
static void limits_are_where_growth_is_one(void **state)
{
    (void)state;
    gm_error err = {0};
    test_problem t;
    gm_span span, few;
    test_problem_open(&t, &linear_case, GM_F64, 3, 0);
    span_of(&t, 0, 0.0, &span);
    span_of(&t, 4, 0.0, &few);
    assert_true(span.complete);
    assert_int_equal(few.k, 4);
    const size_t batch[] = {1, 2, 5, 7};
    for (size_t i = 0; i < 8; i++) {
        double kappa = gm_kappa_of(7, batch[i % 4], i > 3), growth, first, along = INFINITY;
        gm_stability_limits limits, part;
        expect_ok(gm_stability_limits_find(&span, kappa, &limits, &err), &err);
        expect_ok(gm_stability_limits_find(&few, kappa, &part, &err), &err);
        expect_ok(gm_stability_growth(&span, kappa, limits.boundary, &growth, &first, &err), &err);
        assert_at_most(fabs(growth - 1), 1e-11, "boundary, kappa %g", kappa);
        expect_ok(gm_stability_growth(&span, kappa, limits.sufficient, &growth, &first, &err),
                  &err);
        assert_at_most(fabs(first - 1), 1e-11, "sufficient, kappa %g", kappa);
        for (size_t j = 0; j < span.k; j++) {
            double l = span.lambda[j], s = span.square[j * span.k + j];
            along = fmin(along, 2 / (l + kappa * (s - l * l) / l)); /* theory section 3.5 */
        }
        assert_at_most(fabs(along / limits.one_step - 1), 1e-12, "one step, kappa %g", kappa);
        assert_true(limits.sufficient <= limits.one_step * (1 + 1e-12));
        assert_true(limits.sufficient <= limits.boundary * (1 + 1e-12));
        assert_true(limits.boundary <= limits.half * (1 + 1e-12));
        assert_true(limits.boundary <= part.boundary * (1 + 1e-9));
        if (kappa == 0) { /* the full batch */
            assert_at_most(fabs(limits.boundary * span.lambda_max / 2 - 1), 1e-12, "full batch");
        } else {
            assert_true(limits.boundary * span.lambda_max < 2);
        }
    }
    gm_span_free(&span);
    gm_span_free(&few);
    test_problem_close(&t);
}

/* One weight, squared loss: H_i = x_i^2, growth (1 - eta h)^2 + eta^2 kappa (mean h_i^2 - h^2). */
static void one_parameter(void **state)
{
    (void)state;
    test_case c = {"mlp:1-1,bias=no", {1, {1, 1}, REF_IDENTITY, false, true}, 6, 0.5};
    gm_error err = {0};
    test_problem t;
    gm_span span;
    gm_stability_limits limits;
    test_problem_open(&t, &c, GM_F64, 0, 0);
    double h = 0, square = 0, growth, first;
    for (size_t i = 0; i < 6; i++) {
        h += t.x[i] * t.x[i] / 6;
        square += pow(t.x[i], 4) / 6;
    }
    span_of(&t, 0, 0.0, &span);
    for (int m = 1; m < 5; m++) {
        double kappa = 1.0 / m, eta = 0.3;
        double expected = pow(1 - eta * h, 2) + eta * eta * kappa * (square - h * h);
        expect_ok(gm_stability_growth(&span, kappa, eta, &growth, &first, &err), &err);
        assert_at_most(fabs(growth - expected), 1e-13, "m = %d", m);
        assert_at_most(fabs(first - expected), 1e-13, "m = %d", m);
        expect_ok(gm_stability_limits_find(&span, kappa, &limits, &err), &err);
        expected = 2 * h / ((1 - kappa) * h * h + kappa * square);
        assert_at_most(fabs(limits.boundary - expected), 1e-13 * expected, "m = %d", m);
        assert_at_most(fabs(limits.sufficient - expected), 1e-13 * expected, "m = %d", m);
    }
    gm_span_free(&span);
    test_problem_close(&t);
}

/* Runs against tr T^2: 4.5 standard errors on either side, one in 10^5 by chance for normal
 * means; the seed is fixed. Two steps, so that the tails stay light. */
static void runs_follow_the_prediction(void **state)
{
    (void)state;
    gm_error err = {0};
    test_problem t;
    gm_span span;
    gm_stability_limits limits;
    gm_stability_runs o;
    gm_stability_seen seen[3], again[3];
    test_problem_open(&t, &linear_case, GM_F64, 0, 0);
    span_of(&t, 0, 0.0, &span);
    expect_ok(gm_stability_limits_find(&span, 0.25, &limits, &err), &err);
    gm_stability_runs_default(&o);
    o.batch = 4;
    o.etas = 3;
    o.eta[0] = 0.5 * limits.boundary;
    o.eta[1] = limits.boundary;
    o.eta[2] = 1.5 * limits.boundary;
    o.runs = 3000;
    o.horizon = 2;
    expect_ok(gm_stability_observe(t.lin, &span, &o, NULL, seen, &err), &err);
    for (int e = 0; e < 3; e++) {
        assert_at_most(fabs(seen[e].mean - seen[e].predicted), 4.5 * seen[e].error,
                       "eta %d: mean %g +- %g, predicted %g", e, seen[e].mean, seen[e].error,
                       seen[e].predicted);
        assert_at_most(seen[e].error, 0.1 * seen[e].mean, "eta %d", e);
        assert_true(seen[e].median < seen[e].mean); /* products of random factors */
    }
    assert_at_most(fabs(seen[1].predicted - 1), 1e-3, "at the boundary"); /* 64 steps away from I */
    assert_true(seen[0].grew < seen[2].grew && seen[2].grew <= 3000);
    expect_ok(gm_stability_observe(t.lin, &span, &o, NULL, again, &err), &err);
    assert_memory_equal(seen, again, sizeof seen);
    o.replacement = GM_REPLACEMENT_NO; /* kappa = 1/8 */
    expect_ok(gm_stability_observe(t.lin, &span, &o, NULL, again, &err), &err);
    assert_true(again[2].predicted < seen[2].predicted);
    assert_at_most(fabs(again[2].mean - again[2].predicted), 4.5 * again[2].error, "without");
    gm_span_free(&span);
    test_problem_close(&t);
}

/* On a quadratic SGD on the net is the linearized map, whatever the noise of the gradients at the
 * point, which is no minimum: pairs of runs meet the same prediction, and the size of the
 * distance does not matter. */
static void pairs_follow_the_prediction(void **state)
{
    (void)state;
    gm_error err = {0};
    test_problem t;
    gm_span span;
    gm_stability_limits limits;
    gm_stability_runs o;
    gm_stability_seen seen[3], again[3];
    test_problem_open(&t, &linear_case, GM_F64, 0, 0);
    span_of(&t, 0, 0.0, &span);
    expect_ok(gm_stability_limits_find(&span, 0.25, &limits, &err), &err);
    gm_stability_runs_default(&o);
    o.batch = 4;
    o.etas = 3;
    o.eta[0] = 0.5 * limits.boundary;
    o.eta[1] = limits.boundary;
    o.eta[2] = 1.5 * limits.boundary;
    o.runs = 2000;
    o.horizon = 2;
    expect_ok(gm_stability_observe_net(t.problem, t.theta, &span, &o, NULL, seen, &err), &err);
    for (int e = 0; e < 3; e++) {
        assert_at_most(fabs(seen[e].mean - seen[e].predicted), 4.5 * seen[e].error,
                       "eta %d: mean %g +- %g, predicted %g", e, seen[e].mean, seen[e].error,
                       seen[e].predicted);
        assert_at_most(seen[e].error, 0.1 * seen[e].mean, "eta %d", e);
        assert_int_equal(seen[e].infinite, 0);
    }
    assert_true(seen[0].grew < seen[2].grew && seen[2].grew <= 2000);
    o.away = 1e-2; /* the net is linear in its distance */
    expect_ok(gm_stability_observe_net(t.problem, t.theta, &span, &o, NULL, again, &err), &err);
    assert_at_most(fabs(again[1].mean / seen[1].mean - 1), 1e-8, "of any size");
    o.eta[0] = 1e120; /* beyond all numbers in two steps: a result */
    o.runs = 4;
    expect_ok(gm_stability_observe_net(t.problem, t.theta, &span, &o, NULL, again, &err), &err);
    assert_true(again[0].infinite == 4 && isinf(again[0].mean) && again[0].grew == 4);
    assert_true(again[1].infinite == 0 && isfinite(again[1].mean));
    gm_span_free(&span);
    test_problem_close(&t);
}

/* A net with more parameters than directions, in both precisions: pairs from Lanczos, the same
 * limits, and the gradient's part. */
static void more_parameters_than_directions(void **state)
{
    (void)state;
    test_case c = {"mlp:6-8-4,act=tanh", {2, {6, 8, 4}, REF_TANH, true, false}, 12, 0.5};
    gm_stability_limits limits[2];
    gm_span span[2];
    for (int dtype = 0; dtype < 2; dtype++) {
        gm_error err = {0};
        gm_span_options o;
        test_problem t;
        test_problem_open(&t, &c, (gm_dtype)dtype, 5, 0);
        gm_span_options_default(&o);
        o.k = 10;
        o.tol = 1e-5;
        expect_ok(gm_span_make(t.lin, &o, &span[dtype], &err), &err);
        assert_false(span[dtype].complete);
        assert_true(span[dtype].k <= 10 && span[dtype].fall > 0);
        assert_at_most(fabs(span[dtype].lambda[0] / span[dtype].lambda_max - 1), 1e-4, "top");
        expect_ok(gm_stability_limits_find(&span[dtype], 0.25, &limits[dtype], &err), &err);
        test_problem_close(&t);
    }
    assert_at_most(fabs(limits[0].boundary / limits[1].boundary - 1), 1e-3, "f32 against f64");
    assert_at_most(fabs(limits[0].sufficient / limits[1].sufficient - 1), 1e-3, "f32 against f64");
    gm_span_free(&span[0]);
    gm_span_free(&span[1]);
}

/* What leaves a span of few directions: the boundary of everything that has curvature lies within
 * the error below that of the span. A convex loss; of its 12 directions 4 are flat for all samples,
 * so that nothing leaves the others. */
static void error_reaches_the_whole(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case c = {"mlp:3-3", {1, {3, 3}, REF_IDENTITY, true, true}, 9, 0.8};
    test_problem t;
    gm_span whole, span;
    gm_stability_limits all, few;
    test_problem_open(&t, &c, GM_F64, 3, 0);
    span_of(&t, 12, 1e-9, &whole);
    assert_true(whole.complete && whole.k == 12);
    for (int m = 1; m <= 4; m *= 2) {
        double before = HUGE_VAL;
        expect_ok(gm_stability_limits_find(&whole, 1.0 / m, &all, &err), &err);
        assert_true(all.error == 0);
        for (size_t k = 2; k < 12; k += 2) {
            span_of(&t, k, 1e-9, &span);
            expect_ok(gm_stability_limits_find(&span, 1.0 / m, &few, &err), &err);
            assert_true(few.error >= 0 && few.error <= few.boundary);
            assert_at_most(few.boundary - all.boundary, few.error + 1e-9 * few.boundary,
                           "the boundary of all");
            assert_at_most(all.boundary, few.boundary * (1 + 1e-9), "more directions lower it");
            before = fmin(before, few.error);
            gm_span_free(&span);
        }
        assert_true(before < 0.5 * all.boundary); /* some span is told to be nearly enough */
    }
    gm_span_free(&whole);
    test_problem_close(&t);
}

static void refusals(void **state)
{
    (void)state;
    gm_error err = {0};
    test_problem t;
    gm_span span, none;
    gm_span_options o;
    gm_stability_limits limits;
    gm_stability_runs runs;
    gm_stability_seen seen;
    double growth, first;
    test_problem_open(&t, &linear_case, GM_F64, 0, 0);
    gm_span_options_default(&o);
    o.k = 7; /* of 6 */
    assert_int_equal(gm_span_make(t.lin, &o, &none, &err), GM_ERR_USAGE);
    gm_span_free(&none);
    o.k = 0;
    o.cut = 1.0; /* nothing lies above the largest */
    assert_int_equal(gm_span_make(t.lin, &o, &none, &err), GM_ERR_NUMERIC);
    gm_span_free(&none);
    span_of(&t, 0, 0.0, &span);
    assert_int_equal(gm_stability_limits_find(&span, 1.5, &limits, &err), GM_ERR_USAGE);
    assert_int_equal(gm_stability_growth(&span, 1, 0, &growth, &first, &err), GM_ERR_USAGE);
    assert_int_equal(gm_stability_growth(&span, -1, 1, &growth, &first, &err), GM_ERR_USAGE);
    gm_stability_runs_default(&runs);
    runs.replacement = GM_REPLACEMENT_EPOCH;
    assert_int_equal(gm_stability_observe(t.lin, &span, &runs, NULL, &seen, &err), GM_ERR_USAGE);
    runs.replacement = GM_REPLACEMENT_NO;
    runs.batch = 8;
    assert_int_equal(gm_stability_observe(t.lin, &span, &runs, NULL, &seen, &err), GM_ERR_USAGE);
    runs.batch = 1;
    runs.runs = 1;
    assert_int_equal(gm_stability_observe(t.lin, &span, &runs, NULL, &seen, &err), GM_ERR_USAGE);
    gm_span_free(&span);
    test_problem_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_identity),
        cmocka_unit_test(growth_by_enumeration),
        cmocka_unit_test(limits_are_where_growth_is_one),
        cmocka_unit_test(one_parameter),
        cmocka_unit_test(runs_follow_the_prediction),
        cmocka_unit_test(pairs_follow_the_prediction),
        cmocka_unit_test(more_parameters_than_directions),
        cmocka_unit_test(error_reaches_the_whole),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
