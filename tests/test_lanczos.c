/* One run of Lanczos: its basis and tridiagonal matrix against the operator they came from. */
#include "support.h"

#include <float.h>
#include <omp.h>
#include <stdlib.h>

#include "problems.h"

#include "kernels/parallel.h"
#include "known_operator.h"
#include "spectrum/lanczos.h"

static gm_lanczos run(gm_operator *op, size_t steps, const double *start, size_t known,
                      const double *known_vector)
{
    gm_lanczos l;
    gm_error err = {0};
    expect_ok(gm_lanczos_make(op->size, steps, known, known_vector, &l, &err), &err);
    if (!known) expect_ok(gm_lanczos_keep_image(&l, &err), &err);
    memcpy(l.basis, start, op->size * sizeof *start);
    expect_ok(gm_lanczos_run(op, &l, &err), &err);
    return l;
}

/* max |V V^T - I|, and of the known vectors with V */
static double defect(const gm_lanczos *l)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    double worst = 0;
    for (size_t i = 0; i < l->taken; i++) {
        const double *v = l->basis + i * l->size;
        for (size_t j = 0; j <= i; j++) {
            double product = k->dot(l->size, v, l->basis + j * l->size);
            worst = fmax(worst, fabs(product - (i == j)));
        }
        for (size_t j = 0; j < l->known; j++) {
            worst = fmax(worst, fabs(k->dot(l->size, v, l->known_vector + j * l->size)));
        }
    }
    return worst;
}

/* max |A v_j - beta_{j-1} v_{j-1} - alpha_j v_j - beta_j v_{j+1}| over all steps */
static double recurrence_error(gm_operator *op, const gm_lanczos *l)
{
    double worst = 0, *av = new_numbers(l->size);
    for (size_t j = 0; j < l->taken; j++) {
        const double *v = l->basis + j * l->size;
        assert_int_equal(gm_operator_apply(op, 1, v, av, NULL), GM_OK);
        /* the row after the last still has its length; after breakdown it is noise */
        double next = j + 1 < l->taken ? l->beta[j] : l->beta[j] > 0;
        for (size_t i = 0; i < l->size; i++) {
            double left = av[i] - l->alpha[j] * v[i] - next * v[l->size + i];
            if (j > 0) left -= l->beta[j - 1] * v[i - l->size];
            worst = fmax(worst, fabs(left));
        }
    }
    gm_free(av);
    return worst;
}

/* max |v_i . A v_j - T_ij| over all i and j: T is the operator on the span of V. */
static double projection_error(gm_operator *op, const gm_lanczos *l)
{
    double worst = 0, *av = new_numbers(l->size);
    for (size_t j = 0; j < l->taken; j++) {
        assert_int_equal(gm_operator_apply(op, 1, l->basis + j * l->size, av, NULL), GM_OK);
        for (size_t i = 0; i < l->taken; i++) {
            double t = i == j ? l->alpha[j] : i + 1 == j ? l->beta[i] : i == j + 1 ? l->beta[j] : 0;
            double found = gm_kernels_get(GM_F64)->dot(l->size, l->basis + i * l->size, av);
            worst = fmax(worst, fabs(found - t));
        }
    }
    gm_free(av);
    return worst;
}

/* max |A v_j - sum_i image[j, i] v_i|: the products, in the basis. */
static double image_error(gm_operator *op, const gm_lanczos *l)
{
    const gm_kernels *k = gm_kernels_get(GM_F64);
    size_t m = l->taken, n = l->size;
    double worst = 0, *av = new_numbers(n), *s = new_numbers(m), *image = new_numbers(m + 1);
    for (size_t j = 0; j < m; j++) {
        assert_int_equal(gm_operator_apply(op, 1, l->basis + j * n, av, NULL), GM_OK);
        memset(s, 0, m * sizeof *s);
        s[j] = 1;
        gm_lanczos_image(l, s, image);
        double square = k->dot(n, av, av), alpha = k->dot(n, l->basis + j * n, av);
        near(gm_lanczos_residual(l, 0.5, s), sqrt(fmax(0, square - alpha + 0.25)), 1e-6 * l->norm);
        if (j + 1 == m && l->beta[j] <= 0) break; /* what a breakdown leaves is nowhere kept */
        k->rows_axpy(m + 1, n, -1, image, l->basis, n, av);
        worst = fmax(worst, sqrt(k->dot(n, av, av)));
    }
    gm_free(av);
    gm_free(s);
    gm_free(image);
    return worst;
}

/* max |V^T T V - A|: at full order the factorization is A itself. */
static double rebuilt_error(gm_operator *op, const gm_lanczos *l)
{
    size_t n = l->size;
    double worst = 0, *unit = new_numbers(n), *column = new_numbers(n);
    assert_int_equal(l->taken, n);
    for (size_t c = 0; c < n; c++) {
        memset(unit, 0, n * sizeof *unit);
        unit[c] = 1;
        assert_int_equal(gm_operator_apply(op, 1, unit, column, NULL), GM_OK);
        for (size_t r = 0; r < n; r++) {
            for (size_t j = 0; j < n; j++) {
                const double *v = l->basis + j * n;
                double tv = l->alpha[j] * v[c];
                if (j > 0) tv += l->beta[j - 1] * v[c - n];
                if (j + 1 < n) tv += l->beta[j] * v[c + n];
                column[r] -= v[r] * tv;
            }
            worst = fmax(worst, fabs(column[r]));
        }
    }
    gm_free(unit);
    gm_free(column);
    return worst;
}

/* Eigenvalues 1 + i / 12 from the start (12, ..., 1), at 1, 5, 11 and all 12 steps; diag(1, 2, 3).
 */
static void small_matrices(void **state)
{
    (void)state;
    enum { N = 12 };
    const size_t order[] = {1, 5, 11, N};
    double lambda[N], start[N];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 1 + (double)i / N;
        start[i] = (double)(N - i);
    }
    double *a = rotated(N, lambda, 1, NULL);
    gm_operator op = dense_operator(N, a);
    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        gm_lanczos l = run(&op, order[k], start, 0, NULL);
        assert_int_equal(l.taken, order[k]);
        near(defect(&l), 0, 1e-14);
        if (order[k] < N) near(recurrence_error(&op, &l), 0, 1e-14);
        if (order[k] == N) near(rebuilt_error(&op, &l), 0, 1e-13);
        gm_lanczos_free(&l);
    }
    gm_operator_destroy(&op);
    gm_free(a);
    const double diagonal[9] = {1, 0, 0, 0, 2, 0, 0, 0, 3}, ones[3] = {1, 1, 1};
    op = dense_operator(3, diagonal);
    gm_lanczos l = run(&op, 3, ones, 0, NULL);
    near(rebuilt_error(&op, &l), 0, 1e-14);
    gm_lanczos_free(&l);
    gm_operator_destroy(&op);
}

/* The Hessian of a 3-7-2 net on 32 samples in chunks of 5, the last one of 2: full order gives it
 * back. The start is tilted so that no eigenvalue stays hidden; dead units would repeat zeros,
 * hence tanh. */
static void hessian_in_unequal_chunks(void **state)
{
    (void)state;
    const test_case c = {
        .spec = "mlp:3-7-2,act=tanh",
        .ref = {.layers = 2, .width = {3, 7, 2}, .act = REF_TANH, .bias = true, .squared = true},
        .n = 32,
        .scale = 0.7};
    test_problem t;
    gm_operator op;
    gm_error err = {0};
    test_problem_open(&t, &c, GM_F64, 5, 0);
    expect_ok(gm_curvature_operator(t.lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
    double *start = new_numbers(t.p);
    gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 0), 0, t.p, start);
    gm_lanczos l = run(&op, t.p, start, 0, NULL);
    near(defect(&l), 0, 1e-13);
    near(rebuilt_error(&op, &l), 0, 1e-12 * l.norm);
    gm_lanczos_free(&l);
    gm_operator_destroy(&op);
    test_problem_close(&t);
    gm_free(start);
}

/* ---- orthogonality ------------------------------------------------------------------------- */

typedef struct diagonal {
    size_t size;
    const double *value;
    bool rounded; /* products rounded to float, and the vectors before: not quite symmetric */
} diagonal;

static gm_status diagonal_apply(void *self, size_t count, const double *v, double *av,
                                gm_error *err)
{
    (void)err;
    const diagonal *d = self;
    for (size_t i = 0; i < count * d->size; i++) {
        av[i] = d->value[i % d->size] * v[i];
        if (d->rounded) av[i] = (double)((float)d->value[i % d->size] * (float)v[i]);
    }
    return GM_OK;
}

/* Hard spectra: one that converges early (outliers), condition 1e12, clusters, +- pairs. */
static double hard(int kind, size_t i, size_t n)
{
    double t = (double)i / (double)(n - 1);
    switch (kind) {
    case 0:
        return i < 10 ? pow(10, 6 - (double)i / 2) : t;
    case 1:
        return pow(10, -12 * t);
    case 2:
        return (double)(i % 7) + 1e-6 * t;
    default:
        return (i % 2 ? -1 : 1) * (1 + floor(t * 30));
    }
}

/* V stays orthonormal to 1e-12 in either precision of the products; and beyond the first sweep per
 * step few are needed, which is what makes a step cheap. */
static void basis_stays_orthonormal(void **state)
{
    (void)state;
    enum { N = 3000, STEPS = 120 };
    double *value = new_numbers(N), *start = new_numbers(N);
    gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 1), 0, N, start);
    for (int kind = 0; kind < 4; kind++) {
        for (int rounded = 0; rounded < 2; rounded++) {
            for (size_t i = 0; i < N; i++) {
                value[i] = hard(kind, i, N);
            }
            diagonal d = {N, value, rounded};
            gm_operator op = {.size = N,
                              .precision = rounded ? GM_F32 : GM_F64,
                              .name = "diagonal",
                              .self = &d,
                              .apply = diagonal_apply};
            gm_lanczos l = run(&op, STEPS, start, 0, NULL);
            if (!(defect(&l) <= 1e-12)) fail_msg("spectrum %d: defect %g", kind, defect(&l));
            if (!rounded) near(recurrence_error(&op, &l), 0, 1e-13 * l.norm);
            /* rounding of the products: float's 6e-8 and what it tilts */
            near(projection_error(&op, &l), 0, (rounded ? 3e-7 : 1e-13) * l.norm);
            near(image_error(&op, &l), 0, (rounded ? 3e-7 : 1e-13) * l.norm);
            assert_in_range(l.sweeps, l.taken / 2, l.taken + 2);
            if (kind == 3 && !rounded) assert_in_range(l.sweeps, l.taken / 2, l.taken / 2 + 4);
            gm_lanczos_free(&l);
        }
    }
    gm_free(value);
    gm_free(start);
}

typedef struct disturbed {
    diagonal inner;
    const double *direction; /* unit */
    double size;
} disturbed;

static gm_status disturbed_apply(void *self, size_t count, const double *v, double *av,
                                 gm_error *err)
{
    disturbed *d = self;
    gm_status status = diagonal_apply(&d->inner, count, v, av, err);
    for (size_t i = 0; i < count * d->inner.size; i++) {
        av[i] += d->size * d->direction[i % d->inner.size];
    }
    return status;
}

/* Products whose error, far above what their precision says, always points at the first vector,
 * nearly the eigenvector of 1e6 above a bulk of [0, 1]. A vector that waits for the next sweep is
 * then tilted by 0.1 towards it, its product by 1e5: V stays orthonormal all the same, and T the
 * true operator on it within the products' error. */
static void tilted_vectors_are_made_good(void **state)
{
    (void)state;
    enum { N = 1000, STEPS = 30 };
    double *value = new_numbers(N), *start = new_numbers(N), length;
    gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 3), 0, N, start);
    for (size_t i = 0; i < N; i++) {
        value[i] = i ? (double)i / N : 1e6;
        start[i] *= 1e-7;
    }
    start[0] = 1;
    length = sqrt(gm_kernels_get(GM_F64)->dot(N, start, start));
    for (size_t i = 0; i < N; i++) {
        start[i] /= length;
    }
    disturbed d = {{N, value, false}, start, 0.02};
    gm_operator op = {
        .size = N, .precision = GM_F64, .name = "disturbed", .self = &d, .apply = disturbed_apply};
    gm_lanczos l = run(&op, STEPS, start, 0, NULL);
    assert_int_equal(l.taken, STEPS);
    near(defect(&l), 0, 1e-12);
    op.apply = diagonal_apply;
    op.self = &d.inner;
    near(projection_error(&op, &l), 0, 0.1);
    near(image_error(&op, &l), 0, 0.1);
    gm_lanczos_free(&l);
    gm_free(value);
    gm_free(start);
}

/* Start and products almost wholly inside known vectors, which are only roughly eigenvectors: what
 * is left of them is small, so that one sweep would leave it full of rounding. */
static void known_vectors_are_kept_out(void **state)
{
    (void)state;
    enum { N = 500, K = 2, STEPS = 40 };
    double *value = new_numbers(N), *start = new_numbers(N), *known = new_numbers(K * N);
    for (size_t i = 0; i < N; i++) {
        value[i] = i < K ? 1e8 : 1 + (double)i / N;
        start[i] = i < K ? 1e6 : sin((double)(i * i));
    }
    known[0] = known[N + 1] = 1; /* turned by 1e-9 from the eigenvectors */
    known[5] = known[N + 6] = 1e-9;
    diagonal d = {N, value, false};
    gm_operator op = {
        .size = N, .precision = GM_F64, .name = "diagonal", .self = &d, .apply = diagonal_apply};
    gm_lanczos l = run(&op, STEPS, start, K, known);
    near(defect(&l), 0, 1e-12);
    assert_int_equal(l.taken, STEPS);
    for (size_t j = 0; j < STEPS; j++) {
        assert_true(l.alpha[j] > 0.9 && l.alpha[j] < 2.1); /* of the complement alone */
    }
    gm_lanczos_free(&l);
    gm_free(value);
    gm_free(start);
    gm_free(known);
}

/* Around the pieces' and threads' borders, with one thread and with two: equal bits. */
static void threads_do_not_change_the_result(void **state)
{
    (void)state;
    enum { STEPS = 9 };
    const size_t size[] = {17, 2047, 2048, 2049, GM_THREADED + 1, 64 * 2048 + 77};
    for (size_t s = 0; s < sizeof size / sizeof *size; s++) {
        size_t n = size[s];
        double *value = new_numbers(n), *start = new_numbers(n);
        gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 2), 0, n, start);
        for (size_t i = 0; i < n; i++) {
            value[i] = cos((double)i);
        }
        diagonal d = {n, value, false};
        gm_operator op = {.size = n,
                          .precision = GM_F64,
                          .name = "diagonal",
                          .self = &d,
                          .apply = diagonal_apply};
        int threads = omp_get_max_threads();
        omp_set_num_threads(1);
        gm_lanczos one = run(&op, STEPS, start, 0, NULL);
        omp_set_num_threads(2);
        gm_lanczos two = run(&op, STEPS, start, 0, NULL);
        omp_set_num_threads(threads);
        near(defect(&one), 0, 1e-14);
        near(recurrence_error(&op, &one), 0, 1e-14);
        assert_memory_equal(one.alpha, two.alpha, STEPS * sizeof *one.alpha);
        assert_memory_equal(one.beta, two.beta, STEPS * sizeof *one.beta);
        assert_memory_equal(one.basis, two.basis, (STEPS + 1) * n * sizeof *one.basis);
        gm_lanczos_free(&one);
        gm_lanczos_free(&two);
        gm_free(value);
        gm_free(start);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_matrices),
        cmocka_unit_test(hessian_in_unequal_chunks),
        cmocka_unit_test(basis_stays_orthonormal),
        cmocka_unit_test(tilted_vectors_are_made_good),
        cmocka_unit_test(known_vectors_are_kept_out),
        cmocka_unit_test(threads_do_not_change_the_result),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "lanczos");
}
