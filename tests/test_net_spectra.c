/* Eigensolvers and estimators on the curvature operators of small nets, against the eigenvalues of
 * matrices assembled sample by sample from a second implementation (reference.h), over chunk sizes,
 * threads and both precisions.
 *
 * Tolerances: pairs are converged to 1e-9 of |lambda|_max, and a Ritz value lies within its
 * residual of an eigenvalue. In single precision a product carries some hundred eps_32
 * (test_curvature allows 3e-5). */
#include "support.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/eigen.h"
#include "gradiometer/estimate.h"
#include "kernels/lapack.h"
#include "problems.h"

static const test_case cases[] = {
    {"mlp:6-8-3,act=relu", {2, {6, 8, 3}, REF_RELU, true, false}, 12, 0.8},      /* n < p = 83 */
    {"mlp:5-6-4-3,act=tanh", {3, {5, 6, 4, 3}, REF_TANH, true, false}, 90, 0.8}, /* n > p = 79 */
    {"mlp:6-8-3,act=tanh", {2, {6, 8, 3}, REF_TANH, true, true}, 20, 0.8},       /* squared */
    {"mlp:5-7-4-2,act=softplus,bias=no", {3, {5, 7, 4, 2}, REF_SOFTPLUS, false, false}, 15, 0.9},
};
enum { CASES = sizeof cases / sizeof *cases, PAIRS = 4 };

static double *numbers(size_t count)
{
    double *x = gm_alloc(count, sizeof *x, "test array", NULL);
    assert_non_null(x);
    return x;
}

/* matrix [p, p] of any operator; R = H - G is put together here. */
static void reference(const test_problem *t, gm_curvature kind, double *matrix)
{
    static const ref_operator names[] = {
        [GM_HESSIAN] = REF_H,        [GM_GGN] = REF_G,       [GM_MOMENT] = REF_M,
        [GM_COVARIANCE] = REF_SIGMA, [GM_RESIDUAL] = REF_HP, [GM_GN_RESIDUAL] = REF_H};
    ref_matrix(&t->c->ref, t->theta, &t->ref, names[kind], matrix);
    if (kind != GM_GN_RESIDUAL) return;
    double *ggn = numbers(t->p * t->p);
    ref_matrix(&t->c->ref, t->theta, &t->ref, REF_G, ggn);
    for (size_t i = 0; i < t->p * t->p; i++) {
        matrix[i] -= ggn[i];
    }
    gm_free(ggn);
}

typedef struct truth {
    size_t p;
    double *matrix, *value, *vector; /* value descending */
    double scale;                    /* largest |value| */
} truth;

static void find_truth(const test_problem *t, gm_curvature kind, truth *a)
{
    gm_error err = {0};
    size_t p = t->p;
    *a = (truth){p, numbers(p * p), numbers(p), numbers(p * p), 0};
    double *copy = numbers(p * p);
    reference(t, kind, a->matrix);
    memcpy(copy, a->matrix, p * p * sizeof *copy);
    expect_ok(gm_symmetric_eigen(p, copy, p, 0, a->value, a->vector, &err), &err);
    a->scale = fmax(fabs(a->value[0]), fabs(a->value[p - 1]));
    gm_free(copy);
}

static void free_truth(truth *a)
{
    gm_free(a->matrix);
    gm_free(a->value);
    gm_free(a->vector);
}

static void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("%s: found %.17g, expected %.17g within %.3g", what, found, expected, tolerance);
    }
}

/* ---- eigenpairs ---- */

/* Eigenvalue j of the count that `which` asks for, descending. */
static double extreme(const truth *a, gm_which which, size_t count, size_t j)
{
    size_t top = which == GM_WHICH_SA ? 0 : which == GM_WHICH_BE ? count - count / 2 : count;
    if (which == GM_WHICH_LM) {
        top = 0;
        for (size_t taken = 0; taken < count; taken++) {
            top += fabs(a->value[top]) >= fabs(a->value[a->p - 1 - (taken - top)]);
        }
    }
    return a->value[j < top ? j : a->p - count + j];
}

/* Whether a value asked for is met twice: the zeros of an operator of low rank, say. Of those
 * ARPACK's solver may miss some, the block solver may not. */
static bool repeated(const truth *a, gm_which which, size_t count)
{
    for (size_t j = 0; j < count; j++) {
        size_t same = 0;
        for (size_t i = 0; i < a->p; i++) {
            same += fabs(a->value[i] - extreme(a, which, count, j)) < 1e-6 * a->scale;
        }
        if (same > 1) return true;
    }
    return false;
}

static double nearest(const truth *a, double value)
{
    double best = a->value[0];
    for (size_t i = 0; i < a->p; i++) {
        if (fabs(a->value[i] - value) < fabs(best - value)) best = a->value[i];
    }
    return best;
}

static void pairs_of_every_operator(void **state)
{
    (void)state;
    gm_error err = {0};
    size_t separate = 0;
    gm_which ends[] = {GM_WHICH_LA, GM_WHICH_SA, GM_WHICH_BE, GM_WHICH_LM};
    for (int c = 0; c < CASES; c++) {
        test_problem t;
        test_problem_open(&t, &cases[c], GM_F64, 0, 0);
        for (int kind = 0; kind < GM_CURVATURES; kind++) {
            truth a;
            gm_operator op;
            find_truth(&t, kind, &a);
            expect_ok(gm_curvature_operator(t.lin, kind, GM_ALL_LAYERS, &op, &err), &err);
            for (int e = 0; e < 8; e++) {
                gm_eigen_options o;
                gm_eigen r;
                gm_eigen_options_default(&o);
                o.which = ends[e % 4];
                o.k = PAIRS;
                o.tol = 1e-9;
                o.seed = 7;
                /* Where eigenvalues of 1e-5 crowd at 0, a narrow basis takes thousands of products.
                 */
                if (e >= 4) o.basis = t.p;
                if (e < 4) expect_ok(gm_eigenpairs(&op, &o, &r, &err), &err);
                if (e >= 4) expect_ok(gm_eigen_track(&op, &o, 0, NULL, &r, &err), &err);
                /* p products form the operator: the other solver may prefer that. */
                if (e >= 4) assert_false(r.dense);
                assert_int_equal(r.count, PAIRS);
                assert_int_equal(r.stop, GM_EIGEN_CONVERGED);
                bool alone = e >= 4 || !repeated(&a, o.which, PAIRS);
                for (size_t j = 0; j < PAIRS; j++) {
                    double expected =
                        alone ? extreme(&a, o.which, PAIRS, j) : nearest(&a, r.value[j]);
                    near(r.value[j], expected, 2e-9 * a.scale, cases[c].spec);
                }
                separate += alone;
                gm_eigen_free(&r);
            }
            gm_operator_destroy(&op);
            free_truth(&a);
        }
        test_problem_close(&t);
    }
    /* The block solver's 96 results, and most of the other's. */
    assert_true(separate >= 150);
}

/* ---- traces and diagonals ---- */

static void traces_of_every_operator(void **state)
{
    (void)state;
    gm_error err = {0};
    for (int c = 0; c < CASES; c++) {
        test_problem t;
        test_problem_open(&t, &cases[c], GM_F64, 0, 0);
        double *value = numbers(t.p), *error = numbers(t.p);
        for (int kind = 0; kind < GM_CURVATURES; kind++) {
            truth a;
            gm_operator op;
            find_truth(&t, kind, &a);
            expect_ok(gm_curvature_operator(t.lin, kind, GM_ALL_LAYERS, &op, &err), &err);
            double trace = 0, squares = 0;
            for (size_t i = 0; i < t.p; i++) {
                trace += a.value[i];
                squares += a.value[i] * a.value[i];
            }
            for (int method = GM_TRACE_HUTCHINSON; method <= GM_TRACE_XTRACE; method++) {
                gm_estimate_options o;
                gm_trace_result r;
                gm_estimate_options_default(&o);
                o.max_products = 4 * t.p; /* bases fill the space: exact but for Hutchinson */
                expect_ok(gm_trace_estimate(&op, (gm_trace_method)method, &o, &r, &err), &err);
                /* Three half-widths are six standard errors. */
                bool estimate = method == GM_TRACE_HUTCHINSON;
                assert_true(estimate ? !r.exact : r.exact);
                near(r.trace.value, trace,
                     (estimate ? 3 * r.trace.half_width : 0) + 1e-10 * a.scale * (double)t.p,
                     cases[c].spec);
                near(r.frobenius.value, sqrt(squares),
                     (estimate ? 3 * r.frobenius.half_width : 0) + 1e-10 * a.scale * (double)t.p,
                     cases[c].spec);
            }
            gm_estimate_options o;
            gm_diagonal_result r;
            gm_estimate_options_default(&o);
            o.max_products = 2 * t.p;
            expect_ok(gm_diagonal_estimate(&op, GM_DIAGONAL_XDIAG, &o, value, error, &r, &err),
                      &err);
            assert_true(r.exact);
            for (size_t i = 0; i < t.p; i++) {
                near(value[i], a.matrix[i * t.p + i], 1e-10 * a.scale, cases[c].spec);
            }
            gm_operator_destroy(&op);
            free_truth(&a);
        }
        gm_free(value);
        gm_free(error);
        test_problem_close(&t);
    }
}

/* ---- densities ---- */

static double power(double lambda, void *context)
{
    return pow(lambda, *(const int *)context);
}

static void moments_of_every_operator(void **state)
{
    (void)state;
    gm_error err = {0};
    for (int c = 0; c < CASES; c++) {
        test_problem t;
        test_problem_open(&t, &cases[c], GM_F64, 0, 0);
        for (int kind = 0; kind < GM_CURVATURES; kind++) {
            truth a;
            gm_operator op;
            gm_quadrature q;
            gm_quadrature_options o;
            find_truth(&t, kind, &a);
            expect_ok(gm_curvature_operator(t.lin, kind, GM_ALL_LAYERS, &op, &err), &err);
            gm_quadrature_options_default(&o);
            o.probes = 60;
            o.steps = 12;
            expect_ok(gm_quadrature_make(&op, &o, &q, &err), &err);
            for (int j = 0; j <= 4; j++) {
                gm_estimate m;
                double exact = 0;
                for (size_t i = 0; i < t.p; i++) {
                    exact += pow(a.value[i], j);
                }
                expect_ok(gm_quadrature_trace(&q, power, &j, &m, &err), &err);
                /* 6 standard errors; moment 0 is exact. */
                near(m.value, exact, 3 * m.half_width + 1e-9 * (double)t.p * pow(a.scale, j),
                     cases[c].spec);
            }
            /* Nodes lie between the eigenvalues at either end. */
            assert_at_most(q.max, a.value[0] + 1e-10 * a.scale, "%s", cases[c].spec);
            assert_at_most(-q.min, -a.value[t.p - 1] + 1e-10 * a.scale, "%s", cases[c].spec);
            gm_quadrature_free(&q);
            gm_operator_destroy(&op);
            free_truth(&a);
        }
        test_problem_close(&t);
    }
}

/* ---- chunks, threads, precisions ---- */

enum { NUMBERS = PAIRS + 3 };

/* Top pairs, a trace, a Frobenius norm and the density's largest node of H. */
static void measure(gm_dtype dtype, size_t chunk, double *out)
{
    gm_error err = {0};
    test_problem t;
    gm_operator op;
    gm_eigen_options e;
    gm_eigen pairs;
    gm_estimate_options o;
    gm_trace_result trace;
    gm_quadrature q;
    gm_quadrature_options qo;
    test_problem_open(&t, &cases[1], dtype, chunk, 0);
    expect_ok(gm_curvature_operator(t.lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
    gm_eigen_options_default(&e);
    e.k = PAIRS;
    e.tol = dtype == GM_F32 ? 1e-5 : 1e-10;
    expect_ok(gm_eigenpairs(&op, &e, &pairs, &err), &err);
    assert_int_equal(pairs.stop, GM_EIGEN_CONVERGED);
    memcpy(out, pairs.value, PAIRS * sizeof *out);
    gm_eigen_free(&pairs);
    gm_estimate_options_default(&o);
    o.max_products = 30;
    expect_ok(gm_trace_estimate(&op, GM_TRACE_XTRACE, &o, &trace, &err), &err);
    out[PAIRS] = trace.trace.value;
    out[PAIRS + 1] = trace.frobenius.value;
    gm_quadrature_options_default(&qo);
    qo.probes = 2;
    qo.steps = 10;
    expect_ok(gm_quadrature_make(&op, &qo, &q, &err), &err);
    out[PAIRS + 2] = q.max;
    gm_quadrature_free(&q);
    gm_operator_destroy(&op);
    test_problem_close(&t);
}

static void chunks_and_threads_change_rounding_alone(void **state)
{
    (void)state;
    size_t chunks[] = {1, 7, 64, 0}; /* of 90 samples: short last chunks too */
    int threads[] = {1, 2, 3}, before = omp_get_max_threads();
    double exact[NUMBERS], now[NUMBERS], again[NUMBERS];
    for (int d = 0; d < 2; d++) {
        gm_dtype dtype = d ? GM_F32 : GM_F64;
        omp_set_num_threads(1);
        if (!d) measure(GM_F64, 0, exact);
        for (int c = 0; c < 4; c++) {
            for (int i = 0; i < 3; i++) {
                omp_set_num_threads(threads[i]);
                measure(dtype, chunks[c], now);
                measure(dtype, chunks[c], again);
                assert_memory_equal(now, again, sizeof now); /* equal settings, equal bits */
                for (int j = 0; j < NUMBERS; j++) {
                    /* All are linear or better conditioned functions of the products, sums of up
                     * to p = 79 of their numbers. */
                    near(now[j], exact[j], (d ? 1e-3 : 1e-10) * exact[PAIRS + 1], "chunks");
                }
            }
        }
    }
    omp_set_num_threads(before);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_every_operator),
        cmocka_unit_test(traces_of_every_operator),
        cmocka_unit_test(moments_of_every_operator),
        cmocka_unit_test(chunks_and_threads_change_rounding_alone),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "spectra of nets");
}
