/* S = (1/n) sum H_i^2 and the forms u_a . H_i u_b against the Hessians of single samples from a
 * second implementation (reference.h).
 *
 * Tolerances: 1e-11 relative in double, the rounding of squares and sums; in single precision 1e-4,
 * the square of numbers that carry 3e-5 (test_curvature). */
#include "support.h"

#include "curvature/parts.h"
#include "problems.h"

static const test_case cases[] = {
    {"mlp:4-5-3,act=relu", {2, {4, 5, 3}, REF_RELU, true, false}, 7, 0.8},
    {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, true}, 8, 0.8},
    {"mlp:3-4-4-3,act=softplus,bias=no", {3, {3, 4, 4, 3}, REF_SOFTPLUS, false, false}, 9, 1.0},
    {"mlp:4-5-4-3,act=leaky_relu", {3, {4, 5, 4, 3}, REF_LEAKY, true, false}, 11, 0.7},
    {"mlp:6-3", {1, {6, 3}, REF_RELU, true, true}, 5, 1.0},
    {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 1, 0.8},
};
enum { CASES = sizeof cases / sizeof *cases };

/* hessian [n, p, p] of the single samples, square [p, p] the mean of their squares. */
static void reference(const test_problem *t, double *hessian, double *square)
{
    size_t p = t->p, n = t->c->n, in = t->c->ref.width[0],
           outputs = t->c->ref.width[t->c->ref.layers];
    for (size_t i = 0; i < n; i++) {
        ref_data one = {1, t->x + i * in, t->ref.label ? t->label + i : NULL,
                        t->ref.target ? t->target + i * outputs : NULL};
        double *h = hessian + i * p * p;
        ref_matrix(&t->c->ref, t->theta, &one, REF_H, h);
        for (size_t a = 0; a < p; a++) {
            for (size_t b = 0; b < p; b++) {
                for (size_t c = 0; c < p; c++) {
                    square[a * p + b] += h[a * p + c] * h[c * p + b] / (double)n;
                }
            }
        }
    }
}

static void squares_match(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int way = 0; way < 4; way++) { /* precision, and one sample at a time */
            gm_dtype dtype = way % 2 ? GM_F64 : GM_F32;
            gm_error err = {0};
            gm_operator op = {0};
            test_problem t;
            test_problem_open(&t, &cases[i], dtype, 3, 0);
            size_t p = t.p;
            double *hessian = calloc(cases[i].n * p * p, sizeof *hessian);
            double *expected = calloc(p * p, sizeof *expected);
            double *found = calloc(p * p, sizeof *found), *eye = calloc(p * p, sizeof *eye);
            for (size_t j = 0; j < p; j++) {
                eye[j * p + j] = 1;
            }
            reference(&t, hessian, expected);
            expect_ok(gm_squares_make(t.lin, GM_ALL_LAYERS, way > 1, &op, &err), &err);
            expect_ok(gm_operator_apply(&op, p, eye, found, &err), &err);
            assert_at_most(relative_error(p * p, found, expected), dtype == GM_F64 ? 1e-11 : 1e-4,
                           "%s, way %d", cases[i].spec, way);
            gm_operator_destroy(&op);
            free(hessian);
            free(expected);
            free(found);
            free(eye);
            test_problem_close(&t);
        }
    }
}

/* A layer's block of H_i, squared, not the block of H_i^2. */
static void layers_match(void **state)
{
    (void)state;
    const test_case *c = &cases[3];
    gm_error err = {0};
    test_problem t;
    test_problem_open(&t, c, GM_F64, 4, 0);
    size_t p = t.p, first = 25, size = 24; /* 5 * 4 + 4 after 4 * 5 + 5 */
    double *hessian = calloc(c->n * p * p, sizeof *hessian), *whole = calloc(p * p, sizeof *whole);
    double *v = calloc(size, sizeof *v), *expected = calloc(size, sizeof *expected);
    double *found = calloc(size, sizeof *found);
    reference(&t, hessian, whole);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 0), 0, size, v);
    for (size_t i = 0; i < c->n; i++) {
        const double *h = hessian + i * p * p;
        double u[24] = {0};
        for (size_t a = 0; a < size; a++) {
            for (size_t b = 0; b < size; b++) {
                u[a] += h[(first + a) * p + first + b] * v[b];
            }
        }
        for (size_t a = 0; a < size; a++) {
            for (size_t b = 0; b < size; b++) {
                expected[a] += h[(first + a) * p + first + b] * u[b] / (double)c->n;
            }
        }
    }
    for (int way = 0; way < 2; way++) {
        gm_operator op = {0};
        expect_ok(gm_squares_make(t.lin, 1, way == 1, &op, &err), &err);
        assert_int_equal(op.size, size);
        expect_ok(gm_operator_apply(&op, 1, v, found, &err), &err);
        assert_at_most(relative_error(size, found, expected), 1e-11, "way %d", way);
        gm_operator_destroy(&op);
    }
    free(hessian);
    free(whole);
    free(v);
    free(expected);
    free(found);
    test_problem_close(&t);
}

/* More vectors than one pass carries. */
static void forms_match(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int way = 0; way < 4; way++) {
            gm_dtype dtype = way % 2 ? GM_F64 : GM_F32;
            gm_error err = {0};
            test_problem t;
            test_problem_open(&t, &cases[i], dtype, 3, 0);
            size_t p = t.p, n = cases[i].n, k = i == 3 ? 35 : 3, pairs = k * (k + 1) / 2;
            double *hessian = calloc(n * p * p, sizeof *hessian);
            double *square = calloc(p * p, sizeof *square), *u = calloc(k * p, sizeof *u);
            double *found = calloc(n * pairs, sizeof *found);
            double *expected = calloc(n * pairs, sizeof *expected);
            gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 0), 0, k * p, u);
            reference(&t, hessian, square);
            for (size_t s = 0, at = 0; s < n; s++) {
                for (size_t a = 0; a < k; a++) {
                    for (size_t b = a; b < k; b++, at++) {
                        for (size_t r = 0; r < p * p; r++) {
                            expected[at] +=
                                u[a * p + r / p] * hessian[s * p * p + r] * u[b * p + r % p];
                        }
                    }
                }
            }
            expect_ok(gm_forms_make(t.lin, k, u, way > 1, found, &err), &err);
            assert_at_most(relative_error(n * pairs, found, expected),
                           dtype == GM_F64 ? 1e-11 : 1e-4, "%s, way %d", cases[i].spec, way);
            free(hessian);
            free(square);
            free(u);
            free(found);
            free(expected);
            test_problem_close(&t);
        }
    }
    test_problem t;
    gm_error err = {0};
    double none = 0;
    test_problem_open(&t, &cases[0], GM_F64, 3, 0);
    assert_int_equal(gm_hessian_forms(t.lin, 0, &none, &none, &err), GM_ERR_USAGE);
    test_problem_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(squares_match),
        cmocka_unit_test(layers_match),
        cmocka_unit_test(forms_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
