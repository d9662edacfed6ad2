/* What holds for every net, checked on a list of small ones: gradients by central differences,
 * products by central differences of gradients, symmetry, H = M - H_p, G and M against matrices put
 * together sample by sample, exact diagonals and Gram forms against dense matrices; chunks, threads
 * and precision change nothing.
 *
 * Central differences with step h = 1e-5 carry h^2 times a third derivative (1e-10 here, relative)
 * and eps/h = 2e-11 of rounding relative to the value: 1e-6 leaves room for the larger third
 * derivatives of these nets. Identities hold to rounding: 1e-11. */
#ifndef GM_TESTS_NET_CHECKS_H
#define GM_TESTS_NET_CHECKS_H

#include <omp.h>

#include "image_nets.h"

/* What a program's nets are checked by: a test's initial state, cmocka_unit_test_prestate. */
typedef struct net_list {
    const image_case *cases;
    int count;
} net_list;

static inline double *numbers(size_t count)
{
    double *x = calloc(count, sizeof *x);
    assert_non_null(x);
    return x;
}

static inline void check_gradients(void **state)
{
    const net_list *nets = *state;
    for (int i = 0; i < nets->count; i++) {
        image_problem t;
        gm_error err = {0};
        image_open(&t, &nets->cases[i], GM_F64, true, 0, 0);
        const double *g = gm_linearization_gradient(t.lin), h = 1e-5;
        double *differences = numbers(t.p);
        for (size_t j = 0; j < t.p; j++) {
            double up, down, keep = t.theta[j];
            t.theta[j] = keep + h;
            expect_ok(gm_problem_value(t.problem, t.theta, &up, NULL, &err), &err);
            t.theta[j] = keep - h;
            expect_ok(gm_problem_value(t.problem, t.theta, &down, NULL, &err), &err);
            t.theta[j] = keep;
            differences[j] = (up - down) / (2 * h);
        }
        assert_at_most(relative_error(t.p, g, differences), 1e-6, "%s", nets->cases[i].name);
        free(differences);
        image_close(&t);
    }
}

/* H v against differences of gradients; u.Hv = v.Hu; H = M - H_p and H = G + R by passes of their
 * own. */
static inline void check_products(void **state)
{
    const net_list *nets = *state;
    for (int i = 0; i < nets->count; i++) {
        image_problem t;
        gm_error err = {0};
        image_open(&t, &nets->cases[i], GM_F64, true, 0, 0);
        const double h = 1e-5;
        double *u = image_numbers(t.p, 7, 1), *v = image_numbers(t.p, 8, 1), *a[6];
        double *up = numbers(t.p), *down = numbers(t.p), *point = numbers(t.p), *hu = numbers(t.p);
        for (int kind = 0; kind < 6; kind++) {
            a[kind] = numbers(t.p);
            image_product(&t, (gm_curvature)kind, v, a[kind]);
        }
        for (int sign = -1; sign <= 1; sign += 2) {
            for (size_t j = 0; j < t.p; j++) {
                point[j] = t.theta[j] + sign * h * v[j];
            }
            expect_ok(gm_problem_gradient(t.problem, point, NULL, NULL, sign > 0 ? up : down, &err),
                      &err);
        }
        for (size_t j = 0; j < t.p; j++) {
            up[j] = (up[j] - down[j]) / (2 * h);
            point[j] = a[GM_MOMENT][j] - a[GM_RESIDUAL][j];
            down[j] = a[GM_GGN][j] + a[GM_GN_RESIDUAL][j];
        }
        const char *name = nets->cases[i].name;
        assert_at_most(relative_error(t.p, a[GM_HESSIAN], up), 1e-6, "differences, %s", name);
        assert_at_most(relative_error(t.p, point, a[GM_HESSIAN]), 1e-11, "M - H_p, %s", name);
        assert_at_most(relative_error(t.p, down, a[GM_HESSIAN]), 1e-11, "G + R, %s", name);
        for (int kind = 0; kind < 6; kind++) {
            double uav = 0, vau = 0, size = norm_of(t.p, u) * norm_of(t.p, a[kind]);
            image_product(&t, (gm_curvature)kind, u, hu);
            for (size_t j = 0; j < t.p; j++) {
                uav += u[j] * a[kind][j];
                vau += v[j] * hu[j];
            }
            assert_at_most(fabs(uav - vau), 1e-12 * size, "symmetry of %d, %s", kind, name);
        }
        double *arrays[] = {u, v, up, down, point, hu, a[0], a[1], a[2], a[3], a[4], a[5]};
        for (size_t j = 0; j < sizeof arrays / sizeof *arrays; j++) {
            free(arrays[j]);
        }
        image_close(&t);
    }
}

/* The dense G, M and Sigma against matrices from per-sample gradients and Jacobians. */
static inline void check_dense_matrices(void **state)
{
    const net_list *nets = *state;
    for (int i = 0; i < nets->count; i++) {
        image_problem t;
        gm_error err = {0};
        image_open(&t, &nets->cases[i], GM_F64, true, 2, 0);
        size_t size = t.p * t.p;
        double *ggn = numbers(size), *moment = numbers(size), *found = numbers(size);
        const double *mu = gm_linearization_gradient(t.lin);
        image_matrices(&t, &nets->cases[i], ggn, moment);
        expect_ok(gm_curvature_dense(t.lin, GM_GGN, GM_ALL_LAYERS, found, &err), &err);
        assert_at_most(relative_error(size, found, ggn), 1e-11, "G of %s", nets->cases[i].name);
        expect_ok(gm_curvature_dense(t.lin, GM_MOMENT, GM_ALL_LAYERS, found, &err), &err);
        assert_at_most(relative_error(size, found, moment), 1e-11, "M of %s", nets->cases[i].name);
        for (size_t r = 0; r < t.p; r++) {
            for (size_t s = 0; s < t.p; s++) {
                moment[r * t.p + s] -= mu[r] * mu[s];
            }
        }
        expect_ok(gm_curvature_dense(t.lin, GM_COVARIANCE, GM_ALL_LAYERS, found, &err), &err);
        assert_at_most(relative_error(size, found, moment), 1e-11, "Sigma of %s",
                       nets->cases[i].name);
        free(ggn);
        free(moment);
        free(found);
        image_close(&t);
    }
}

/* Exact diagonals against those of the dense matrices, whole net and first layer; for the piecewise
 * nets that of H by K backward passes, which is that of G. */
static inline void check_diagonals(void **state)
{
    const net_list *nets = *state;
    for (int i = 0; i < nets->count; i++) {
        image_problem t;
        gm_error err = {0};
        image_open(&t, &nets->cases[i], GM_F64, true, 2, 0);
        double *matrix = numbers(t.p * t.p), *found = numbers(t.p), *expected = numbers(t.p);
        size_t first = gm_net_layer_at(t.net, 0).parameters;
        for (int kind = 0; kind < 6; kind++) {
            expect_ok(gm_curvature_dense(t.lin, (gm_curvature)kind, GM_ALL_LAYERS, matrix, &err),
                      &err);
            expect_ok(gm_curvature_diagonal(t.lin, (gm_curvature)kind, GM_ALL_LAYERS, found, &err),
                      &err);
            double largest = 0;
            for (size_t j = 0; j < t.p; j++) {
                expected[j] = matrix[j * t.p + j];
                largest = fmax(largest, fabs(expected[j]));
            }
            largest = fmax(largest, 1e-3);
            for (size_t j = 0; j < t.p; j++) {
                assert_at_most(fabs(found[j] - expected[j]), 1e-11 * largest, "%s, operator %d",
                               nets->cases[i].name, kind);
            }
            expect_ok(gm_curvature_diagonal(t.lin, (gm_curvature)kind, 0, found, &err), &err);
            for (size_t j = 0; j < first; j++) {
                assert_at_most(fabs(found[j] - expected[j]), 1e-11 * largest, "%s, layer 0",
                               nets->cases[i].name);
            }
        }
        free(matrix);
        free(found);
        free(expected);
        image_close(&t);
    }
}

/* Gram forms: the rows r_i that gm_gram_vectors gives for unit weights have the Gram matrix as
 * inner products and the operator as sum of squares. */
static inline void check_gram_forms(void **state)
{
    const net_list *nets = *state;
    const gm_curvature kinds[] = {GM_MOMENT, GM_COVARIANCE, GM_GGN};
    for (int i = 0; i < nets->count; i++) {
        image_problem t;
        gm_error err = {0};
        image_open(&t, &nets->cases[i], GM_F64, true, 2, 0);
        double *matrix = numbers(t.p * t.p), *sum = numbers(t.p * t.p);
        for (int k = 0; k < 3; k++) {
            size_t n = gm_gram_size(t.lin, kinds[k]);
            assert_int_equal(n, t.n * (kinds[k] == GM_GGN ? gm_net_outputs(t.net) : 1));
            double *gram = numbers(n * n), *weight = numbers(n * n), *row = numbers(n * t.p);
            for (size_t r = 0; r < n; r++) {
                weight[r * n + r] = 1;
            }
            expect_ok(gm_curvature_gram(t.lin, kinds[k], GM_ALL_LAYERS, gram, &err), &err);
            expect_ok(gm_gram_vectors(t.lin, kinds[k], GM_ALL_LAYERS, n, weight, row, &err), &err);
            expect_ok(gm_curvature_dense(t.lin, kinds[k], GM_ALL_LAYERS, matrix, &err), &err);
            for (size_t r = 0; r < n * n; r++) {
                const double *a = row + r / n * t.p, *b = row + r % n * t.p;
                weight[r] = 0;
                for (size_t j = 0; j < t.p; j++) {
                    weight[r] += a[j] * b[j];
                }
            }
            assert_at_most(relative_error(n * n, gram, weight), 1e-11, "%s: Gram matrix of %d",
                           nets->cases[i].name, k);
            for (size_t j = 0; j < t.p * t.p; j++) {
                sum[j] = 0;
                for (size_t r = 0; r < n; r++) {
                    sum[j] += row[r * t.p + j / t.p] * row[r * t.p + j % t.p];
                }
            }
            assert_at_most(relative_error(t.p * t.p, sum, matrix), 1e-11, "%s: rows of %d",
                           nets->cases[i].name, k);
            free(gram);
            free(weight);
            free(row);
        }
        free(matrix);
        free(sum);
        image_close(&t);
    }
}

/* Gradient and the products with all six operators, [7, p]. */
static inline double *everything(const image_problem *t)
{
    double *v = image_numbers(t->p, 8, 1), *out = numbers(7 * t->p);
    memcpy(out, gm_linearization_gradient(t->lin), t->p * sizeof *out);
    for (int kind = 0; kind < 6; kind++) {
        image_product(t, (gm_curvature)kind, v, out + (size_t)(kind + 1) * t->p);
    }
    free(v);
    return out;
}

/* The other layout, chunks of every size, one thread or two, recomputed chunks: the same numbers.
 */
static inline void check_nothing_else_matters(void **state)
{
    const net_list *nets = *state;
    int threads = omp_get_max_threads();
    for (int i = 0; i < nets->count; i++) {
        image_problem t;
        image_open(&t, &nets->cases[i], GM_F64, true, 0, 0);
        double *expected = everything(&t);
        image_close(&t);
        for (int way = 0; way < 5; way++) {
            omp_set_num_threads(way == 1 ? 1 : 2);
            bool last = way != 0;
            image_open(&t, &nets->cases[i], GM_F64, last,
                       way == 2   ? 1
                       : way == 3 ? 2
                                  : 0,
                       way == 4 ? 3 << 20 : 0);
            double *found = everything(&t);
            for (int row = 0; row < 7; row++) {
                size_t at = (size_t)row * t.p;
                /* R of a piecewise net is exactly what the signals make it: compare with G's size
                 */
                double scale = norm_of(t.p, expected + (row == 0 ? 0 : t.p)), error = 0;
                for (size_t j = 0; j < t.p; j++) {
                    error = fmax(error, fabs(found[at + j] - expected[at + j]));
                }
                assert_at_most(error, 1e-12 * scale, "%s, way %d, row %d", nets->cases[i].name, way,
                               row);
            }
            free(found);
            image_close(&t);
        }
        free(expected);
    }
    omp_set_num_threads(threads);
}

/* Single precision: some hundred roundings of 6e-8. */
static inline void check_single_precision(void **state)
{
    const net_list *nets = *state;
    for (int i = 0; i < nets->count; i++) {
        image_problem t;
        image_open(&t, &nets->cases[i], GM_F64, true, 0, 0);
        double *expected = everything(&t);
        image_close(&t);
        image_open(&t, &nets->cases[i], GM_F32, true, 0, 0);
        double *found = everything(&t);
        for (size_t row = 0; row < 7; row++) {
            double scale = norm_of(t.p, expected + (row == 0 ? 0 : t.p)), error = 0;
            for (size_t j = row * t.p; j < (row + 1) * t.p; j++) {
                error = fmax(error, fabs(found[j] - expected[j]));
            }
            assert_at_most(error, 3e-5 * scale, "%s, row %zu", nets->cases[i].name, row);
        }
        free(found);
        free(expected);
        image_close(&t);
    }
}

#endif
