/* The operators against matrices assembled sample by sample from a second implementation
 * (reference.h), against finite differences, closed forms and each other.
 *
 * Tolerances: the reference is exact to rounding (complex step), so that in double only the
 * rounding of sums remains: 1e-12 relative to the operator's norm covers n p terms of size eps.
 * Single precision: 3e-5, a few hundred eps_32 through four layers of sums. */
#include "support.h"

#include "curvature/parts.h"
#include "problems.h"

static const test_case cases[] = {
    {"mlp:4-5-3,act=relu", {2, {4, 5, 3}, REF_RELU, true, false}, 7, 0.8},
    {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 60, 0.8}, /* n > p = 43 */
    {"mlp:3-4-4-3,act=sigmoid", {3, {3, 4, 4, 3}, REF_SIGMOID, true, false}, 9, 1.0},
    {"mlp:3-4-4-3,act=softplus,bias=no", {3, {3, 4, 4, 3}, REF_SOFTPLUS, false, false}, 9, 1.0},
    {"mlp:4-5-4-3,act=leaky_relu", {3, {4, 5, 4, 3}, REF_LEAKY, true, false}, 11, 0.7},
    {"mlp:5-4-2,act=identity", {2, {5, 4, 2}, REF_IDENTITY, true, false}, 6, 0.7},
    {"mlp:6-3", {1, {6, 3}, REF_RELU, true, false}, 5, 1.0},
    {"mlp:4-5-3,act=relu", {2, {4, 5, 3}, REF_RELU, true, true}, 8, 0.8},
    {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, true}, 8, 0.8},
    {"mlp:3-4-1,act=tanh", {2, {3, 4, 1}, REF_TANH, true, false}, 4, 0.8}, /* one class: f = 0 */
    {"mlp:4-5-3,act=relu", {2, {4, 5, 3}, REF_RELU, true, false}, 1, 0.8}, /* one sample */
};
enum { CASES = sizeof cases / sizeof *cases };

static const struct pair {
    gm_curvature kind;
    ref_operator ref;
} pairs[] = {{GM_HESSIAN, REF_H},
             {GM_GGN, REF_G},
             {GM_MOMENT, REF_M},
             {GM_COVARIANCE, REF_SIGMA},
             {GM_RESIDUAL, REF_HP}};
enum { PAIRS = sizeof pairs / sizeof *pairs };

/* Scale for absolute errors: operators that vanish (one class, one sample) are compared with the
 * data's own size. */
static double size_of(size_t p, const double *matrix)
{
    double norm = norm_of(p * p, matrix);
    return norm > 1e-3 ? norm : 1.0;
}

static double worst_difference(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return sqrt(sum);
}

/* The operator's matrix by products with the identity. */
static void by_products(gm_linearization *lin, gm_curvature kind, int layer, size_t size,
                        double *matrix)
{
    gm_error err = {0};
    gm_operator op;
    double *eye = calloc(size * size, sizeof *eye);
    for (size_t j = 0; j < size; j++) {
        eye[j * size + j] = 1;
    }
    expect_ok(gm_curvature_operator(lin, kind, layer, &op, &err), &err);
    assert_int_equal(op.size, size);
    expect_ok(gm_operator_apply(&op, size, eye, matrix, &err), &err);
    assert_int_equal(op.products, size);
    gm_operator_destroy(&op);
    free(eye);
}

static void products_match_reference(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int dtype = 0; dtype < 2; dtype++) {
            test_problem t;
            test_problem_open(&t, &cases[i], (gm_dtype)dtype, 3, 0);
            size_t p = t.p;
            double *expected = calloc(p * p, sizeof *expected),
                   *found = calloc(p * p, sizeof *found);
            for (int k = 0; k < PAIRS; k++) {
                ref_matrix(&cases[i].ref, t.theta, &t.ref, pairs[k].ref, expected);
                by_products(t.lin, pairs[k].kind, GM_ALL_LAYERS, p, found);
                assert_at_most(worst_difference(p * p, found, expected) / size_of(p, expected),
                               dtype == GM_F64 ? 1e-12 : 3e-5, "%s %s %s", cases[i].spec,
                               gm_curvature_name(pairs[k].kind), gm_dtype_name((gm_dtype)dtype));
            }
            free(expected);
            free(found);
            test_problem_close(&t);
        }
    }
}

static void dense_match_reference(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int dtype = 0; dtype < 2; dtype++) {
            test_problem t;
            test_problem_open(&t, &cases[i], (gm_dtype)dtype, 4, 0);
            size_t p = t.p;
            gm_error err = {0};
            double *expected = calloc(p * p, sizeof *expected),
                   *found = calloc(p * p, sizeof *found);
            for (int k = 0; k < PAIRS; k++) {
                ref_matrix(&cases[i].ref, t.theta, &t.ref, pairs[k].ref, expected);
                expect_ok(gm_curvature_dense(t.lin, pairs[k].kind, GM_ALL_LAYERS, found, &err),
                          &err);
                assert_at_most(worst_difference(p * p, found, expected) / size_of(p, expected),
                               dtype == GM_F64 ? 1e-12 : 3e-5, "%s %s %s", cases[i].spec,
                               gm_curvature_name(pairs[k].kind), gm_dtype_name((gm_dtype)dtype));
                for (size_t r = 0; r < p; r++) {
                    for (size_t s = 0; s < r; s++) {
                        assert_true(found[r * p + s] == found[s * p + r]);
                    }
                }
            }
            free(expected);
            free(found);
            test_problem_close(&t);
        }
    }
}

/* R = H - G, and 0 to the last bit for a linear net. */
static void gauss_newton_residual(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        test_problem t;
        test_problem_open(&t, &cases[i], GM_F64, 0, 0);
        size_t p = t.p;
        gm_error err = {0};
        double *h = calloc(p * p, sizeof *h), *g = calloc(p * p, sizeof *g),
               *r = calloc(p * p, sizeof *r);
        expect_ok(gm_curvature_dense(t.lin, GM_HESSIAN, GM_ALL_LAYERS, h, &err), &err);
        expect_ok(gm_curvature_dense(t.lin, GM_GGN, GM_ALL_LAYERS, g, &err), &err);
        for (size_t j = 0; j < p * p; j++) {
            h[j] -= g[j];
        }
        by_products(t.lin, GM_GN_RESIDUAL, GM_ALL_LAYERS, p, r);
        assert_at_most(worst_difference(p * p, r, h), 1e-12 * size_of(p, g), "products %s",
                       cases[i].spec);
        expect_ok(gm_curvature_dense(t.lin, GM_GN_RESIDUAL, GM_ALL_LAYERS, r, &err), &err);
        assert_at_most(worst_difference(p * p, r, h), 1e-12 * size_of(p, g), "dense %s",
                       cases[i].spec);
        if (cases[i].ref.layers == 1) assert_true(norm_of(p * p, r) == 0.0);
        free(h);
        free(g);
        free(r);
        test_problem_close(&t);
    }
}

/* H = M - H_p with the independent pass for H_p, to 1e-13 of the largest term. */
static void decomposition(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        test_problem t;
        test_problem_open(&t, &cases[i], GM_F64, 0, 0);
        size_t p = t.p;
        gm_error err = {0};
        gm_operator op[3];
        const gm_curvature kind[3] = {GM_HESSIAN, GM_MOMENT, GM_RESIDUAL};
        double *v = calloc(p, sizeof *v), *av = calloc(3 * p, sizeof *av);
        gm_normal_fill(gm_stream_of(2, GM_PURPOSE_TEST, 0), 0, p, v);
        double largest = 0, error = 0;
        for (int k = 0; k < 3; k++) {
            expect_ok(gm_curvature_operator(t.lin, kind[k], GM_ALL_LAYERS, &op[k], &err), &err);
            expect_ok(gm_operator_apply(&op[k], 1, v, av + (size_t)k * p, &err), &err);
            gm_operator_destroy(&op[k]);
            largest = fmax(largest, norm_of(p, av + (size_t)k * p));
        }
        for (size_t j = 0; j < p; j++) {
            error = fmax(error, fabs(av[j] - av[p + j] + av[2 * p + j]));
        }
        assert_at_most(error, 1e-13 * largest + 1e-300, "%s", cases[i].spec);
        free(v);
        free(av);
        test_problem_close(&t);
    }
}

/* Central differences of the library's own gradient, smooth activations (gelu has no reference):
 * relative 1e-7, the optimum of eps^(2/3) at step 1e-5; and u.Hv = v.Hu to 1e-12. */
static void finite_differences_and_symmetry(void **state)
{
    (void)state;
    const char *specs[] = {"mlp:5-6-5-4,act=gelu", "mlp:5-6-5-4,act=tanh",
                           "mlp:5-6-5-4,act=softplus", "mlp:5-6-5-4,act=sigmoid"};
    for (int i = 0; i < 8; i++) {
        test_case c = {specs[i % 4], {3, {5, 6, 5, 4}, REF_TANH, true, i >= 4}, 10, 0.8};
        test_problem t;
        test_problem_open(&t, &c, GM_F64, 0, 0);
        size_t p = t.p;
        gm_error err = {0};
        double *uv = calloc(2 * p, sizeof *uv), *huv = calloc(2 * p, sizeof *huv),
               *g = calloc(2 * p, sizeof *g);
        double *moved = calloc(p, sizeof *moved), h = 1e-5;
        gm_operator op;
        gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 0), 0, 2 * p, uv);
        expect_ok(gm_curvature_operator(t.lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
        expect_ok(gm_operator_apply(&op, 2, uv, huv, &err), &err);
        for (int side = 0; side < 2; side++) {
            for (size_t j = 0; j < p; j++) {
                moved[j] = t.theta[j] + (side ? h : -h) * uv[j];
            }
            expect_ok(gm_problem_gradient(t.problem, moved, NULL, NULL, g + (size_t)side * p, &err),
                      &err);
        }
        for (size_t j = 0; j < p; j++) {
            g[j] = (g[p + j] - g[j]) / (2 * h);
        }
        assert_at_most(relative_error(p, huv, g), 1e-7, "%s", specs[i % 4]);
        double uhv = 0, vhu = 0;
        for (size_t j = 0; j < p; j++) {
            uhv += uv[j] * huv[p + j];
            vhu += uv[p + j] * huv[j];
        }
        assert_at_most(fabs(uhv - vhu), 1e-12 * (fabs(uhv) + norm_of(p, uv) * norm_of(p, huv + p)),
                       "%s", specs[i % 4]);
        gm_operator_destroy(&op);
        free(uv);
        free(huv);
        free(g);
        free(moved);
        test_problem_close(&t);
    }
}

/* Each layer's operator is the diagonal block of the whole. */
/* place [size] = where the parameters of a layer or group stand in the flat vector. */
static void places_of(const gm_net *net, size_t block, size_t *place)
{
    for (size_t i = 0; i < gm_net_tensors(net); i++) {
        gm_net_tensor tensor = gm_net_tensor_at(net, i);
        for (size_t j = 0; gm_net_holds(net, block, &tensor) && j < gm_shape_size(&tensor.shape);
             j++) {
            *place++ = tensor.offset + j;
        }
    }
}

/* Layers, and groups whose slices are apart. */
static void layer_blocks(void **state)
{
    (void)state;
    test_problem t;
    test_problem_open(&t, &cases[2], GM_F64, 4, 0);
    size_t p = t.p;
    gm_error err = {0};
    double *whole = calloc(p * p, sizeof *whole), *block = calloc(p * p, sizeof *block);
    size_t *place = calloc(p, sizeof *place), layers = gm_net_layers(t.net), group;
    static const char *const patterns[] = {"*.weight", "dense[12].bias", "dense2"};
    for (size_t i = 0; i < 3; i++) {
        expect_ok(gm_net_add_group(t.net, patterns[i], &group, &err), &err);
        assert_int_equal(group, layers + i);
    }
    for (int kind = 0; kind < GM_CURVATURES; kind++) {
        expect_ok(gm_curvature_dense(t.lin, (gm_curvature)kind, GM_ALL_LAYERS, whole, &err), &err);
        for (size_t l = 0; l < layers + 3; l++) {
            size_t size = gm_net_layer_at(t.net, l).parameters;
            double norm = size_of(p, whole), *cut = calloc(size * size, sizeof *cut);
            places_of(t.net, l, place);
            for (size_t r = 0; r < size * size; r++) {
                cut[r] = whole[place[r / size] * p + place[r % size]];
            }
            by_products(t.lin, (gm_curvature)kind, (int)l, size, block);
            assert_at_most(worst_difference(size * size, block, cut), 1e-13 * norm,
                           "products layer %zu", l);
            expect_ok(gm_curvature_dense(t.lin, (gm_curvature)kind, (int)l, block, &err), &err);
            assert_at_most(worst_difference(size * size, block, cut), 1e-13 * norm,
                           "dense layer %zu", l);
            double *diagonal = calloc(size, sizeof *diagonal);
            expect_ok(gm_curvature_diagonal(t.lin, (gm_curvature)kind, (int)l, diagonal, &err),
                      &err);
            for (size_t r = 0; r < size; r++) {
                assert_at_most(fabs(diagonal[r] - cut[r * size + r]), 1e-13 * norm,
                               "diagonal layer %zu", l);
            }
            free(diagonal);
            free(cut);
        }
    }
    assert_int_equal(gm_net_add_group(t.net, "conv*", &group, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "--layer conv*: matches none of the"));
    assert_non_null(strstr(err.message, "tensors: dense1.weight, dense1.bias, dense2.weight"));
    free(place);
    free(whole);
    free(block);
    test_problem_close(&t);
}

/* Exact diagonals of all operators against the reference, in both precisions. */
static void diagonals(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int dtype = 0; dtype < 2; dtype++) {
            test_problem t;
            test_problem_open(&t, &cases[i], (gm_dtype)dtype, 3, 0);
            size_t p = t.p;
            gm_error err = {0};
            double *matrix = calloc(p * p, sizeof *matrix), *diagonal = calloc(p, sizeof *diagonal);
            for (int k = 0; k < PAIRS; k++) {
                ref_matrix(&cases[i].ref, t.theta, &t.ref, pairs[k].ref, matrix);
                expect_ok(
                    gm_curvature_diagonal(t.lin, pairs[k].kind, GM_ALL_LAYERS, diagonal, &err),
                    &err);
                for (size_t j = 0; j < p; j++) {
                    assert_at_most(fabs(diagonal[j] - matrix[j * p + j]),
                                   (dtype == GM_F64 ? 1e-13 : 3e-6) * size_of(p, matrix),
                                   "%s %s %s entry %zu", cases[i].spec,
                                   gm_curvature_name(pairs[k].kind), gm_dtype_name((gm_dtype)dtype),
                                   j);
                }
            }
            free(matrix);
            free(diagonal);
            test_problem_close(&t);
        }
    }
}

/* diag(H) = diag(G) for piecewise-linear nets: from the reference, where nothing assumes it, to
 * rounding. */
static void diagonal_identity(void **state)
{
    (void)state;
    int checked = 0;
    for (int i = 0; i < CASES; i++) {
        test_problem t;
        test_problem_open(&t, &cases[i], GM_F64, 0, 0);
        size_t p = t.p;
        double *h = calloc(p * p, sizeof *h), *g = calloc(p * p, sizeof *g), worst = 0;
        ref_matrix(&cases[i].ref, t.theta, &t.ref, REF_H, h);
        ref_matrix(&cases[i].ref, t.theta, &t.ref, REF_G, g);
        for (size_t j = 0; j < p; j++) {
            worst = fmax(worst, fabs(h[j * p + j] - g[j * p + j]));
        }
        if (gm_net_piecewise_linear(t.net)) {
            assert_at_most(worst, 1e-13 * size_of(p, h), "%s", cases[i].spec);
            checked++;
        } else if (cases[i].ref.width[cases[i].ref.layers] > 1) {
            assert_true(worst >
                        1e-4 * size_of(p, h)); /* the check can fail: smooth nets do not have it */
        }
        free(h);
        free(g);
        test_problem_close(&t);
    }
    assert_int_equal(checked, 6);
}

/* Gram matrices: the same trace and Frobenius norm as the dense operator (so the same non-zero
 * spectrum's first two moments), and row combinations that map through it: A (sum_r w_r row_r) =
 * sum_r (gram w)_r row_r. */
static void gram_form(void **state)
{
    (void)state;
    const gm_curvature kinds[] = {GM_MOMENT, GM_COVARIANCE, GM_GGN};
    for (int i = 0; i < CASES; i++) {
        test_problem t;
        test_problem_open(&t, &cases[i], GM_F64, 3, 0);
        size_t p = t.p;
        gm_error err = {0};
        double *a = calloc(p * p, sizeof *a);
        for (int k = 0; k < 3; k++) {
            for (int layer = -1; layer < (int)gm_net_layers(t.net); layer++) {
                size_t rows = gm_gram_size(t.lin, kinds[k]);
                size_t size = layer < 0 ? p : gm_net_layer_at(t.net, (size_t)layer).parameters;
                double *gram = calloc(rows * rows, sizeof *gram), *w = calloc(2 * rows, sizeof *w);
                double *vector = calloc(2 * size, sizeof *vector),
                       *image = calloc(size, sizeof *image);
                expect_ok(gm_curvature_dense(t.lin, kinds[k], layer, a, &err), &err);
                expect_ok(gm_curvature_gram(t.lin, kinds[k], layer, gram, &err), &err);
                double trace = 0, expected = 0, scale = norm_of(size * size, a) + 1e-3;
                for (size_t r = 0; r < rows; r++) {
                    trace += gram[r * rows + r];
                }
                for (size_t r = 0; r < size; r++) {
                    expected += a[r * size + r];
                }
                assert_at_most(fabs(trace - expected), 1e-12 * scale, "trace %s", cases[i].spec);
                assert_at_most(fabs(norm_of(rows * rows, gram) - norm_of(size * size, a)),
                               1e-12 * scale, "norm %s", cases[i].spec);
                gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 0), 0, rows, w);
                for (size_t r = 0; r < rows; r++) {
                    for (size_t s = 0; s < rows; s++) {
                        w[rows + r] += gram[r * rows + s] * w[s];
                    }
                }
                expect_ok(gm_gram_vectors(t.lin, kinds[k], layer, 2, w, vector, &err), &err);
                for (size_t r = 0; r < size; r++) {
                    for (size_t s = 0; s < size; s++) {
                        image[r] += a[r * size + s] * vector[s];
                    }
                }
                assert_at_most(worst_difference(size, image, vector + size),
                               1e-11 * scale * (1 + norm_of(rows, w)), "vectors %s", cases[i].spec);
                free(gram);
                free(w);
                free(vector);
                free(image);
            }
        }
        free(a);
        test_problem_close(&t);
    }
}

/* Any chunk size (ragged last chunks too) and memory budget gives the same product to rounding. */
static void chunks_and_memory(void **state)
{
    (void)state;
    int recomputed = 0;
    for (int dtype = 0; dtype < 2; dtype++) {
        for (int kind = 0; kind < GM_CURVATURES; kind++) {
            double *expected = NULL, *diagonal = NULL, *dense = NULL;
            for (size_t chunk = 0; chunk <= 60; chunk += chunk < 8 ? 1 : 13) {
                for (int tight = 0; tight < 2; tight++) {
                    test_problem t;
                    /* room for the workers and no more: nothing is kept */
                    test_problem_open(&t, &cases[1], (gm_dtype)dtype, chunk, tight ? 200000 : 0);
                    size_t p = t.p, bytes;
                    gm_error err = {0};
                    gm_operator op;
                    double cached = gm_linearization_cached(t.lin, &bytes);
                    if (!tight) assert_true(cached == 1.0);
                    recomputed += cached < 1.0;
                    double *v = calloc(5 * p, sizeof *v), *av = calloc(5 * p, sizeof *av),
                           *d = calloc(p, sizeof *d);
                    double *a = calloc(p * p, sizeof *a);
                    gm_normal_fill(gm_stream_of(5, GM_PURPOSE_TEST, 0), 0, 5 * p, v);
                    expect_ok(
                        gm_curvature_operator(t.lin, (gm_curvature)kind, GM_ALL_LAYERS, &op, &err),
                        &err);
                    expect_ok(gm_operator_apply(&op, 5, v, av, &err), &err);
                    expect_ok(
                        gm_curvature_diagonal(t.lin, (gm_curvature)kind, GM_ALL_LAYERS, d, &err),
                        &err);
                    expect_ok(gm_curvature_dense(t.lin, (gm_curvature)kind, GM_ALL_LAYERS, a, &err),
                              &err);
                    gm_operator_destroy(&op);
                    test_problem_close(&t);
                    free(v);
                    if (!expected) {
                        expected = av;
                        diagonal = d;
                        dense = a;
                        continue;
                    }
                    double tolerance = dtype == GM_F64 ? 1e-13 : 2e-6;
                    assert_at_most(relative_error(5 * p, av, expected), tolerance, "chunk %zu",
                                   chunk);
                    assert_at_most(relative_error(p, d, diagonal), tolerance, "diagonal, chunk %zu",
                                   chunk);
                    assert_at_most(relative_error(p * p, a, dense), tolerance, "dense, chunk %zu",
                                   chunk);
                    free(av);
                    free(d);
                    free(a);
                }
            }
            free(expected);
            free(diagonal);
            free(dense);
        }
    }
    assert_true(recomputed > 0); /* some of the budgets were tight indeed */
}

/* The linearization that keeps nothing is exercised at all: a budget below what the activations
 * take. */
static void budget_is_kept(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case c = {"mlp:4-200-3,act=tanh", {2, {4, 200, 3}, REF_TANH, true, false}, 4000, 0.5};
    test_problem t;
    test_problem_open(&t, &c, GM_F64, 0, 4000000);
    size_t bytes;
    double cached = gm_linearization_cached(t.lin, &bytes);
    assert_true(cached < 0.5 && bytes < 4000000);
    gm_linearization_free(t.lin);
    gm_problem *problem = NULL;
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.memory = 1000;
    assert_int_equal(gm_problem_create(t.net, t.data, &options, &problem, &err), GM_ERR_MEMORY);
    assert_null(problem);
    assert_non_null(strstr(err.message, "need"));
    t.lin = NULL;
    test_problem_close(&t);
}

/* Closed forms (peers' case C11, rtol 1e-8 there, 1e-12 here): linear regression H = X^T X / n;
 * softmax regression H = (1/n) sum (diag p - p p^T) (x) x x^T, class-block-major; binary logistic
 * as two-class softmax. G = H in all. */
static void closed_forms(void **state)
{
    (void)state;
    const test_case forms[] = {
        {"mlp:5-1,bias=no", {1, {5, 1}, REF_IDENTITY, false, true}, 16, 1.0},
        {"mlp:5-2,bias=no", {1, {5, 2}, REF_IDENTITY, false, false}, 16, 1.0},
        {"mlp:4-3,bias=no", {1, {4, 3}, REF_IDENTITY, false, false}, 12, 1.0},
    };
    for (int f = 0; f < 3; f++) {
        test_problem t;
        test_problem_open(&t, &forms[f], GM_F64, 5, 0);
        size_t p = t.p, d = forms[f].ref.width[0], classes = forms[f].ref.width[1], n = forms[f].n;
        gm_error err = {0};
        double *expected = calloc(p * p, sizeof *expected), *found = calloc(p * p, sizeof *found);
        for (size_t i = 0; i < n; i++) {
            double prob[3] = {0}, sum = 0;
            const double *x = t.x + i * d;
            for (size_t c = 0; c < classes; c++) {
                double z = 0;
                for (size_t k = 0; k < d; k++) {
                    z += t.theta[c * d + k] * x[k];
                }
                sum += prob[c] = exp(z);
            }
            for (size_t r = 0; r < p; r++) {
                for (size_t s = 0; s < p; s++) {
                    size_t c = r / d, e = s / d;
                    double lambda =
                        f == 0 ? 1.0
                               : (c == e ? prob[c] / sum : 0) - prob[c] * prob[e] / (sum * sum);
                    expected[r * p + s] += lambda * x[r % d] * x[s % d] / (double)n;
                }
            }
        }
        for (int kind = GM_HESSIAN; kind <= GM_GGN; kind++) {
            expect_ok(gm_curvature_dense(t.lin, (gm_curvature)kind, GM_ALL_LAYERS, found, &err),
                      &err);
            assert_at_most(relative_error(p * p, found, expected), 1e-12, "%s dense",
                           forms[f].spec);
            by_products(t.lin, (gm_curvature)kind, GM_ALL_LAYERS, p, found);
            assert_at_most(relative_error(p * p, found, expected), 1e-12, "%s products",
                           forms[f].spec);
        }
        free(expected);
        free(found);
        test_problem_close(&t);
    }
}

/* Softmax saturated to p = 1 in single precision: 1 - p is 0 there, yet loss, gradient and G keep
 * their relative accuracy (theory section 1, "Softmax in the limit"). One sample, logits (s, 0): 1
 * - p = exp(-s) / (1 + exp(-s)). */
static void saturated_softmax(void **state)
{
    (void)state;
    const double s = 30.0;
    const double x = 1.0, theta[2] = {s, 0.0};
    const int32_t label = 0;
    gm_shape shape = {.rank = 1, .dim = {1}};
    double rest = exp(-s) / (1 + exp(-s));
    for (int dtype = 0; dtype < 2; dtype++) {
        gm_error err = {0};
        gm_net *net;
        gm_dataset *data;
        gm_problem *problem;
        gm_linearization *lin;
        gm_problem_options options;
        gm_problem_options_default(&options);
        expect_ok(gm_net_from_spec("mlp:1-2,bias=no", &shape, 0, &net, &err), &err);
        expect_ok(gm_data_from_arrays("one", 1, &shape, &x, &label, NULL, 0, (gm_dtype)dtype, 2,
                                      &data, &err),
                  &err);
        expect_ok(gm_problem_create(net, data, &options, &problem, &err), &err);
        expect_ok(gm_linearize(problem, theta, &lin, &err), &err);
        double tolerance = dtype == GM_F64 ? 1e-13 : 1e-5, g[4], d[2];
        assert_at_most(fabs(gm_linearization_loss(lin) / log1p(exp(-s)) - 1), tolerance, "loss");
        assert_at_most(fabs(gm_linearization_gradient(lin)[0] / -rest - 1), tolerance,
                       "gradient 0");
        assert_at_most(fabs(gm_linearization_gradient(lin)[1] / rest - 1), tolerance, "gradient 1");
        expect_ok(gm_curvature_dense(lin, GM_GGN, GM_ALL_LAYERS, g, &err), &err);
        for (int i = 0; i < 4; i++) {
            double exact = rest * (1 - rest) * (i == 0 || i == 3 ? 1 : -1);
            assert_at_most(fabs(g[i] / exact - 1), tolerance, "G[%d]", i);
        }
        expect_ok(gm_curvature_diagonal(lin, GM_GGN, GM_ALL_LAYERS, d, &err), &err);
        assert_at_most(fabs(d[0] / (rest * (1 - rest)) - 1), tolerance, "diagonal");
        gm_linearization_free(lin);
        gm_problem_free(problem);
        gm_dataset_free(data);
        gm_net_free(net);
    }
}

/* Dead ReLUs and a zero gradient: operators are exactly zero where they must be, and nothing is
 * NaN. */
static void dead_units(void **state)
{
    (void)state;
    test_problem t;
    test_problem_open(&t, &cases[0], GM_F64, 0, 0);
    size_t p = t.p, first = 5 * 4;
    gm_error err = {0};
    for (size_t j = 0; j < 5; j++) {
        t.theta[first + j] = -1e6; /* biases of the first layer: every hidden unit is dead */
    }
    gm_linearization *lin;
    expect_ok(gm_linearize(t.problem, t.theta, &lin, &err), &err);
    double *a = calloc(p * p, sizeof *a), *expected = calloc(p * p, sizeof *expected);
    for (int k = 0; k < PAIRS; k++) {
        expect_ok(gm_curvature_dense(lin, pairs[k].kind, GM_ALL_LAYERS, a, &err), &err);
        ref_matrix(&cases[0].ref, t.theta, &t.ref, pairs[k].ref, expected);
        assert_at_most(worst_difference(p * p, a, expected), 1e-13, "%s",
                       gm_curvature_name(pairs[k].kind));
        for (size_t r = 0; r < first + 5; r++) {
            for (size_t s = 0; s < p; s++) {
                assert_true(a[r * p + s] == 0.0);
            }
        }
    }
    free(a);
    free(expected);
    gm_linearization_free(lin);
    test_problem_close(&t);
}

/* Sigma where the mean dwarfs the noise: equal samples but for 1e-6. M v - mu (mu.v) would lose all
 * digits. */
static void covariance_does_not_cancel(void **state)
{
    (void)state;
    test_case c = {"mlp:3-2,bias=no", {1, {3, 2}, REF_IDENTITY, false, true}, 40, 1.0};
    for (int dtype = 0; dtype < 2; dtype++) {
        test_problem t;
        test_problem_open(&t, &c, (gm_dtype)dtype, 0, 0);
        for (size_t i = 0; i < c.n;
             i++) { /* targets around 1e4: the gradient's noise is 1e-4 of it */
            for (size_t o = 0; o < 2; o++) {
                t.target[i * 2 + o] = 1e4 + t.target[i * 2 + o];
            }
            for (size_t k = 0; k < 3; k++) {
                t.x[i * 3 + k] = 1.0 + (double)(i % 5) * 0x1p-12;
            }
        }
        gm_error err = {0};
        gm_shape shape = {.rank = 1, .dim = {3}};
        gm_dataset *data;
        gm_problem *problem;
        gm_linearization *lin;
        gm_problem_options options;
        gm_problem_options_default(&options);
        options.loss = GM_LOSS_SQUARED;
        expect_ok(gm_data_from_arrays("near", c.n, &shape, t.x, NULL, t.target, 2, (gm_dtype)dtype,
                                      2, &data, &err),
                  &err);
        expect_ok(gm_problem_create(t.net, data, &options, &problem, &err), &err);
        expect_ok(gm_linearize(problem, t.theta, &lin, &err), &err);
        double expected[36], found[36];
        ref_matrix(&c.ref, t.theta, &t.ref, REF_SIGMA, expected);
        by_products(lin, GM_COVARIANCE, GM_ALL_LAYERS, 6, found);
        /* single precision: g is known to eps_32 |g|, 1e-4 relative noise keeps three digits */
        assert_at_most(relative_error(36, found, expected), dtype == GM_F64 ? 1e-9 : 5e-3,
                       "products");
        expect_ok(gm_curvature_dense(lin, GM_COVARIANCE, GM_ALL_LAYERS, found, &err), &err);
        assert_at_most(relative_error(36, found, expected), dtype == GM_F64 ? 1e-9 : 5e-3, "dense");
        double diagonal[6];
        expect_ok(gm_curvature_diagonal(lin, GM_COVARIANCE, GM_ALL_LAYERS, diagonal, &err), &err);
        for (int j = 0; j < 6; j++) {
            assert_at_most(fabs(diagonal[j] / expected[7 * j] - 1), dtype == GM_F64 ? 1e-9 : 5e-3,
                           "diagonal");
        }
        gm_linearization_free(lin);
        gm_problem_free(problem);
        gm_dataset_free(data);
        test_problem_close(&t);
    }
}

/* Equal settings give equal bits. */
static void repeatable(void **state)
{
    (void)state;
    for (int dtype = 0; dtype < 2; dtype++) {
        double *first = NULL;
        for (int round = 0; round < 3; round++) {
            test_problem t;
            test_problem_open(&t, &cases[1], (gm_dtype)dtype, 7, 0);
            gm_error err = {0};
            double *a = calloc(t.p * t.p, sizeof *a);
            by_products(t.lin, GM_HESSIAN, GM_ALL_LAYERS, t.p, a);
            expect_ok(GM_OK, &err);
            if (first) assert_memory_equal(a, first, t.p * t.p * sizeof *a);
            if (first) free(a);
            if (!first) first = a;
            test_problem_close(&t);
        }
        free(first);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_match_reference),
        cmocka_unit_test(dense_match_reference),
        cmocka_unit_test(gauss_newton_residual),
        cmocka_unit_test(decomposition),
        cmocka_unit_test(finite_differences_and_symmetry),
        cmocka_unit_test(layer_blocks),
        cmocka_unit_test(diagonals),
        cmocka_unit_test(diagonal_identity),
        cmocka_unit_test(gram_form),
        cmocka_unit_test(chunks_and_memory),
        cmocka_unit_test(budget_is_kept),
        cmocka_unit_test(closed_forms),
        cmocka_unit_test(saturated_softmax),
        cmocka_unit_test(dead_units),
        cmocka_unit_test(covariance_does_not_cancel),
        cmocka_unit_test(repeatable),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "curvature");
}
