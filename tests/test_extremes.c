/* Sizes and surroundings at the edges of what is promised: one output, more classes than a block or
 * a buffer holds, layers wider than a panel, deep and narrow nets, any number of threads, other
 * people's parallel regions. (test_scales.c has the edges of the numbers themselves.)
 *
 * Tolerances: where the reference (reference.h) is exact to rounding, 1e-12 of the operator's norm
 * in double and 1e-4 in single precision, whose rounding passes through up to 20 layers; relative
 * to the largest of all operators, since H_p and R are differences. */
#include "support.h"

#include <omp.h>

#include "curvature/parts.h"
#include "problems.h"

static const ref_operator reference_of[] = {REF_H, REF_G, REF_M, REF_SIGMA, REF_HP};
enum { REFERENCES = sizeof reference_of / sizeof *reference_of };

static double *numbers(size_t n)
{
    double *array = calloc(n ? n : 1, sizeof *array);
    assert_non_null(array);
    return array;
}

static void apply(gm_linearization *lin, gm_curvature kind, int layer, size_t count,
                  const double *v, double *av)
{
    gm_error err = {0};
    gm_operator op;
    expect_ok(gm_curvature_operator(lin, kind, layer, &op, &err), &err);
    expect_ok(gm_operator_apply(&op, count, v, av, &err), &err);
    gm_operator_destroy(&op);
}

/* --- every form of every operator on every layer ---------------------------------------------- */

/* expected [p, p] of each operator; R = H - G. */
static double *references(const test_problem *t)
{
    size_t square = t->p * t->p;
    double *all = numbers(GM_CURVATURES * square);
    for (int k = 0; k < REFERENCES; k++) {
        ref_matrix(&t->c->ref, t->theta, &t->ref, reference_of[k], all + (size_t)k * square);
    }
    for (size_t i = 0; i < square; i++) {
        all[GM_GN_RESIDUAL * square + i] = all[i] - all[GM_GGN * square + i];
    }
    return all;
}

/* Rows r_i of the Gram form, from unit weights: sum r_i r_i^T is the operator, r_i . r_j the Gram
 * matrix. */
static void check_gram(const test_problem *t, gm_curvature kind, int layer, size_t size,
                       const double *expected, double tolerance)
{
    gm_error err = {0};
    size_t rows = gm_gram_size(t->lin, kind);
    double *gram = numbers(rows * rows), *eye = numbers(rows * rows), *row = numbers(rows * size);
    double *sum = numbers(size * size), *dots = numbers(rows * rows);
    for (size_t r = 0; r < rows; r++) {
        eye[r * rows + r] = 1;
    }
    expect_ok(gm_gram_vectors(t->lin, kind, layer, rows, eye, row, &err), &err);
    expect_ok(gm_curvature_gram(t->lin, kind, layer, gram, &err), &err);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < size; i++) {
            for (size_t j = 0; j < size; j++) {
                sum[i * size + j] += row[r * size + i] * row[r * size + j];
            }
            for (size_t s = 0; s < rows; s++) {
                dots[r * rows + s] += row[r * size + i] * row[s * size + i];
            }
        }
    }
    for (size_t i = 0; i < size * size; i++) {
        assert_at_most(fabs(sum[i] - expected[i]), tolerance, "rows of %s, %s layer %d",
                       gm_curvature_name(kind), t->c->spec, layer);
    }
    for (size_t i = 0; i < rows * rows; i++) {
        assert_at_most(fabs(dots[i] - gram[i]), tolerance, "Gram of %s, %s layer %d",
                       gm_curvature_name(kind), t->c->spec, layer);
    }
    free(gram);
    free(eye);
    free(row);
    free(sum);
    free(dots);
}

static void check_forms(const test_problem *t, gm_curvature kind, int layer, const double *whole,
                        double tolerance)
{
    gm_error err = {0};
    gm_part part;
    expect_ok(gm_part_of(t->lin, layer, &part, &err), &err);
    size_t size = part.size;
    double *expected = numbers(size * size), *eye = numbers(size * size);
    double *found[2] = {numbers(size * size), numbers(size * size)}, *diagonal = numbers(size);
    for (size_t i = 0; i < size; i++) {
        eye[i * size + i] = 1;
        memcpy(expected + i * size, whole + (part.offset + i) * t->p + part.offset,
               size * sizeof *expected);
    }
    apply(t->lin, kind, layer, size, eye, found[0]);
    expect_ok(gm_curvature_dense(t->lin, kind, layer, found[1], &err), &err);
    expect_ok(gm_curvature_diagonal(t->lin, kind, layer, diagonal, &err), &err);
    for (size_t i = 0; i < size * size; i++) {
        for (int way = 0; way < 2; way++) {
            assert_at_most(fabs(found[way][i] - expected[i]), tolerance, "%s of %s, %s layer %d",
                           way ? "dense" : "products", gm_curvature_name(kind), t->c->spec, layer);
        }
    }
    for (size_t i = 0; i < size; i++) {
        assert_at_most(fabs(diagonal[i] - expected[i * size + i]), tolerance,
                       "diagonal of %s, %s layer %d", gm_curvature_name(kind), t->c->spec, layer);
    }
    if (gm_gram_size(t->lin, kind)) check_gram(t, kind, layer, size, expected, tolerance);
    free(expected);
    free(eye);
    free(found[0]);
    free(found[1]);
    free(diagonal);
}

static void check_case(const test_case *c, gm_dtype dtype, size_t chunk)
{
    test_problem t;
    test_problem_open(&t, c, dtype, chunk, 0);
    size_t square = t.p * t.p;
    double *expected = references(&t);
    double tolerance = (dtype == GM_F64 ? 1e-12 : 1e-4) * norm_of(GM_CURVATURES * square, expected);
    for (int k = 0; k < GM_CURVATURES; k++) {
        for (int layer = GM_ALL_LAYERS; layer < c->ref.layers; layer++) {
            check_forms(&t, (gm_curvature)k, layer, expected + (size_t)k * square, tolerance);
        }
    }
    free(expected);
    test_problem_close(&t);
}

/* Regression with one output, where G has as many Gram rows as M has: theirs are J_i, not g_i. */
static void one_output(void **state)
{
    (void)state;
    const test_case cases[] = {
        {"mlp:3-4-1,act=tanh", {2, {3, 4, 1}, REF_TANH, true, true}, 6, 0.8},
        {"mlp:3-4-1,act=relu,bias=no", {2, {3, 4, 1}, REF_RELU, false, true}, 40, 0.8},
        {"mlp:1-1,bias=no", {1, {1, 1}, REF_IDENTITY, false, true}, 1, 0.8},
    };
    for (int i = 0; i < 3; i++) {
        check_case(&cases[i], GM_F64, 4);
        check_case(&cases[i], GM_F32, 0);
    }
}

/* More classes than a block of directions carries (32). */
static void many_classes(void **state)
{
    (void)state;
    const test_case cases[] = {
        {"mlp:1-1-40,act=tanh", {2, {1, 1, 40}, REF_TANH, true, false}, 3, 0.8},
        {"mlp:1-1-40,act=tanh", {2, {1, 1, 40}, REF_TANH, true, true}, 3, 0.8},
    };
    for (int i = 0; i < 2; i++) {
        check_case(&cases[i], GM_F64, 2);
    }
}

/* More classes than a Gram tile or a buffer of exponentials holds (256), in closed form: two equal
 * samples of a linear model, H = G = x^2 (diag(p) - p p^T), M from the labels 0 and 1. */
static void more_classes_than_a_buffer(void **state)
{
    (void)state;
    enum { K = 261 };
    const test_case c = {"mlp:1-261,bias=no", {1, {1, K}, REF_IDENTITY, false, false}, 2, 0.8};
    test_problem t;
    gm_error err = {0};
    gm_shape shape = {.rank = 1, .dim = {1}};
    gm_problem_options options;
    gm_problem_options_default(&options);
    test_problem_open(&t, &c, GM_F64, 0, 0);
    gm_linearization_free(t.lin);
    gm_problem_free(t.problem);
    gm_dataset_free(t.data);
    t.x[0] = t.x[1] = 1.5;
    expect_ok(
        gm_data_from_arrays("test", 2, &shape, t.x, t.label, NULL, 0, GM_F64, K, &t.data, &err),
        &err);
    expect_ok(gm_problem_create(t.net, t.data, &options, &t.problem, &err), &err);
    expect_ok(gm_linearize(t.problem, t.theta, &t.lin, &err), &err);

    double prob[K], sum = 0, *a[GM_CURVATURES];
    for (int j = 0; j < K; j++) {
        sum += prob[j] = exp(1.5 * t.theta[j]);
    }
    for (int k = 0; k < GM_CURVATURES; k++) {
        a[k] = numbers(K * K);
    }
    for (int r = 0; r < K; r++) {
        for (int s = 0; s < K; s++) {
            double p = prob[r] / sum, q = prob[s] / sum, moment = 0,
                   half = (r < 2) * (s < 2) * 0.25;
            for (int y = 0; y < 2; y++) {
                moment += 0.5 * 2.25 * (p - (r == y)) * (q - (s == y));
            }
            double h = 2.25 * ((r == s) * p - p * q);
            a[GM_HESSIAN][r * K + s] = a[GM_GGN][r * K + s] = h;
            a[GM_MOMENT][r * K + s] = moment;
            a[GM_RESIDUAL][r * K + s] = moment - h;
            a[GM_COVARIANCE][r * K + s] = 2.25 * (r == s ? half : -half); /* of the labels */
        }
    }
    for (int k = 0; k < GM_CURVATURES; k++) {
        check_forms(&t, (gm_curvature)k, 0, a[k], 1e-12);
        free(a[k]);
    }
    test_problem_close(&t);
}

/* A layer with more inputs than a panel has columns (384); more samples than rows are taken at a
 * time (128) in ragged chunks; 20 layers of widths 1 and 2. */
static void wide_long_and_deep(void **state)
{
    (void)state;
    const test_case cases[] = {
        {"mlp:390-1-2,act=sigmoid", {2, {390, 1, 2}, REF_SIGMOID, true, false}, 2, 0.1},
        {"mlp:2-2-2,act=tanh", {2, {2, 2, 2}, REF_TANH, true, false}, 300, 0.8},
        {"mlp:2-1-2-1-2-1-2-1-2-1-2-1-2-1-2-1-2-1-2-1-2,act=softplus",
         {20,
          {2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2},
          REF_SOFTPLUS,
          true,
          false},
         5,
         1.0},
    };
    check_case(&cases[0], GM_F64, 0);
    check_case(&cases[1], GM_F64, 131);
    check_case(&cases[2], GM_F64, 1);
    check_case(&cases[2], GM_F32, 3);
}

/* --- threads ---------------------------------------------------------------------------------- */

enum { DIRECTIONS = 3 };

/* Products, diagonal and dense matrix of all operators: [GM_CURVATURES, (DIRECTIONS + 1 + p) p]. */
static double *everything(const test_case *c, gm_dtype dtype, bool dense, size_t *count)
{
    gm_error err = {0};
    test_problem t;
    test_problem_open(&t, c, dtype, 0, 0);
    size_t p = t.p, each = (DIRECTIONS + 1 + (dense ? p : 0)) * p;
    double *all = numbers(GM_CURVATURES * each), *v = numbers(DIRECTIONS * p);
    gm_normal_fill(gm_stream_of(6, GM_PURPOSE_TEST, 0), 0, DIRECTIONS * p, v);
    for (int k = 0; k < GM_CURVATURES; k++) {
        double *out = all + (size_t)k * each;
        apply(t.lin, (gm_curvature)k, GM_ALL_LAYERS, DIRECTIONS, v, out);
        out += DIRECTIONS * p;
        expect_ok(gm_curvature_diagonal(t.lin, (gm_curvature)k, GM_ALL_LAYERS, out, &err), &err);
        if (!dense) continue;
        expect_ok(gm_curvature_dense(t.lin, (gm_curvature)k, GM_ALL_LAYERS, out + p, &err), &err);
    }
    *count = GM_CURVATURES * each;
    free(v);
    test_problem_close(&t);
    return all;
}

/* 1, 2, 3 and 8 threads, more than there are processors: one answer to rounding (sums of a few
 * hundred samples in another order), and equal bits in each repetition. The second net is large
 * enough for its kernels and products to take threads. */
static void any_number_of_threads(void **state)
{
    (void)state;
    const test_case cases[] = {
        {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 301, 0.8},
        {"mlp:200-200-10", {2, {200, 200, 10}, REF_RELU, true, false}, 400, 0.08},
    };
    const int threads[] = {1, 2, 3, 8};
    int before = omp_get_max_threads();
    for (int i = 0; i < 4; i++) {
        gm_dtype dtype = i % 2 ? GM_F32 : GM_F64;
        double *expected = NULL;
        for (int j = 0; j < 4; j++) {
            size_t count;
            omp_set_num_threads(threads[j]);
            double *found = everything(&cases[i / 2], dtype, i < 2, &count);
            double *again = everything(&cases[i / 2], dtype, i < 2, &count);
            assert_memory_equal(found, again, count * sizeof *found);
            free(again);
            if (!expected) {
                expected = found;
                continue;
            }
            assert_at_most(relative_error(count, found, expected), dtype == GM_F64 ? 1e-13 : 5e-6,
                           "%s, %d threads", cases[i / 2].spec, threads[j]);
            free(found);
        }
        free(expected);
    }
    omp_set_num_threads(before);
}

/* Inside somebody else's parallel region OpenMP may give one thread where a team was planned: the
 * bits stay those of the team. */
static void inside_a_parallel_region(void **state)
{
    (void)state;
    enum { PROBLEMS = 3 };
    const test_case c = {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 60, 0.8};
    int before = omp_get_max_threads(), levels = omp_get_max_active_levels();
    omp_set_num_threads(4);
    test_problem t[PROBLEMS];
    double *v[PROBLEMS], *alone[PROBLEMS], *nested[PROBLEMS];
    gm_status status[PROBLEMS];
    for (int i = 0; i < PROBLEMS; i++) {
        test_problem_open(&t[i], &c, GM_F64, 7, 0);
        size_t count = DIRECTIONS * t[i].p;
        v[i] = numbers(count);
        alone[i] = numbers(count);
        nested[i] = numbers(count);
        gm_normal_fill(gm_stream_of(7, GM_PURPOSE_TEST, (uint32_t)i), 0, count, v[i]);
    }
    for (int k = 0; k < GM_CURVATURES; k++) {
        for (int active = 1; active <= 2; active++) {
            for (int i = 0; i < PROBLEMS; i++) {
                apply(t[i].lin, (gm_curvature)k, GM_ALL_LAYERS, DIRECTIONS, v[i], alone[i]);
            }
            omp_set_max_active_levels(active);
#pragma omp parallel for num_threads(PROBLEMS)
            for (int i = 0; i < PROBLEMS; i++) {
                gm_error err = {0};
                gm_operator op;
                status[i] =
                    gm_curvature_operator(t[i].lin, (gm_curvature)k, GM_ALL_LAYERS, &op, &err);
                if (status[i] == GM_OK) {
                    status[i] = gm_operator_apply(&op, DIRECTIONS, v[i], nested[i], &err);
                }
                gm_operator_destroy(&op);
            }
            omp_set_max_active_levels(levels);
            for (int i = 0; i < PROBLEMS; i++) {
                assert_int_equal(status[i], GM_OK);
                assert_memory_equal(nested[i], alone[i], DIRECTIONS * t[i].p * sizeof(double));
            }
        }
    }
    for (int i = 0; i < PROBLEMS; i++) {
        free(v[i]);
        free(alone[i]);
        free(nested[i]);
        test_problem_close(&t[i]);
    }
    omp_set_num_threads(before);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_output),
        cmocka_unit_test(many_classes),
        cmocka_unit_test(more_classes_than_a_buffer),
        cmocka_unit_test(wide_long_and_deep),
        cmocka_unit_test(any_number_of_threads),
        cmocka_unit_test(inside_a_parallel_region),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "extremes");
}
