/* Conjugate gradients against known spectra and dense inverses. Whatever happens, a solution that
 * is called converged must be one: every test recomputes the residual by products of its own. */
#include "support.h"

#include "gradiometer/solve.h"
#include "known_operator.h"
#include "problems.h"

static gm_solve_options with(double shift, double tol, size_t max_products)
{
    gm_solve_options options;
    gm_solve_options_default(&options);
    options.shift = shift;
    options.tol = tol;
    options.max_products = max_products;
    return options;
}

/* ||b - (A + c I) x|| / ||b|| in long double. */
static double residual_of(size_t n, const double *a, double c, const double *b, const double *x)
{
    long double rest = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        long double sum = (long double)b[i] - (long double)c * x[i];
        for (size_t j = 0; j < n; j++) {
            sum -= (long double)a[i * n + j] * x[j];
        }
        rest += sum * sum;
        squares += (long double)b[i] * b[i];
    }
    return (double)sqrtl(rest / squares);
}

/* Solves, and holds the result against what the header promises of any result. */
static gm_solve_result solved(size_t n, const double *a, const double *b, gm_solve_options options,
                              double *x)
{
    gm_operator op = dense_operator(n, a);
    gm_solve_result result;
    gm_error err;
    if (gm_solve(&op, b, &options, x, &result, &err) != GM_OK) fail_msg("%s", err.message);
    assert_int_equal(result.products, op.products);
    assert_true(result.products <= options.max_products);
    assert_true(result.converged == (result.end == GM_SOLVE_CONVERGED));
    assert_true(result.converged == (result.residual <= options.tol));
    /* rounding of a product: n eps ||A|| ||x|| / ||b|| */
    double own = residual_of(n, a, options.shift, b, x), norms = 0, size = 0, right = 0;
    for (size_t i = 0; i < n; i++) {
        size += x[i] * x[i];
        right += b[i] * b[i];
        for (size_t j = 0; j < n; j++) {
            norms += a[i * n + j] * a[i * n + j];
        }
    }
    near(result.residual, own, 1e-15 * (double)n * (1 + sqrt(norms * size / right)));
    gm_operator_destroy(&op);
    return result;
}

static void draw(size_t n, uint32_t number, double *b)
{
    gm_normal_fill(gm_stream_of(7, GM_PURPOSE_TEST, number), 0, n, b);
}

/* (G + 0.02 mean(diag G) I)^-1 applied to every unit vector against LAPACK's inverse by eigenpairs.
 */
static void matches_the_inverse_of_a_damped_ggn(void **state)
{
    (void)state;
    static const test_case net = {
        "mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 20, 0.8};
    test_problem t;
    test_problem_open(&t, &net, GM_F64, 3, 0);
    size_t p = t.p;
    gm_error err = {0};
    gm_operator op;
    double *dense = new_numbers(p * p), *q = new_numbers(p * p), *value = new_numbers(p);
    double *e = new_numbers(p), *x = new_numbers(p), mean = 0;
    expect_ok(gm_curvature_operator(t.lin, GM_GGN, GM_ALL_LAYERS, &op, &err), &err);
    expect_ok(gm_curvature_dense(t.lin, GM_GGN, GM_ALL_LAYERS, dense, &err), &err);
    for (size_t i = 0; i < p; i++) {
        mean += dense[i * p + i] / (double)p;
    }
    expect_ok(gm_symmetric_eigen(p, dense, p, 0, value, q, &err), &err);
    gm_solve_options options = with(0.02 * mean, 1e-8, 1000);
    for (size_t j = 0; j < p; j++) {
        gm_solve_result result;
        memset(e, 0, p * sizeof *e);
        e[j] = 1;
        expect_ok(gm_solve(&op, e, &options, x, &result, &err), &err);
        assert_true(result.converged && result.curvature > 0);
        for (size_t i = 0; i < p; i++) {
            double inverse = 0;
            for (size_t l = 0; l < p; l++) {
                inverse += q[l * p + i] * q[l * p + j] / (value[l] + options.shift);
            }
            near(x[i], inverse, 5e-8 + 5e-5 * fabs(inverse));
        }
    }
    gm_operator_destroy(&op);
    gm_free(dense);
    gm_free(q);
    gm_free(value);
    gm_free(e);
    gm_free(x);
    test_problem_close(&t);
}

/* B^T B of a matrix B [n, n] that need not be symmetric, by products with B and then with B^T. */
enum { MOST_ROWS = 40 };
typedef struct normal_matrix {
    size_t n;
    double b[MOST_ROWS * MOST_ROWS];
} normal_matrix;

static void matrix_product(const normal_matrix *m, bool transposed, const double *x, double *y)
{
    for (size_t i = 0; i < m->n; i++) {
        y[i] = 0;
        for (size_t j = 0; j < m->n; j++) {
            y[i] += (transposed ? m->b[j * m->n + i] : m->b[i * m->n + j]) * x[j];
        }
    }
}

static gm_status normal_apply(void *self, size_t count, const double *x, double *y, gm_error *err)
{
    (void)err;
    const normal_matrix *m = self;
    double image[MOST_ROWS];
    for (size_t v = 0; v < count; v++) {
        matrix_product(m, false, x + v * m->n, image);
        matrix_product(m, true, image, y + v * m->n);
    }
    return GM_OK;
}

/* x of the normal equations (B^T B + c I) x = B^T b, which is what a least-squares solver damped by
 * sqrt(c) finds, and the solution of B x = b for c = 0. */
static gm_solve_result least_squares(normal_matrix *m, double c, const double *b, double *x)
{
    gm_operator op = {.size = m->n,
                      .precision = GM_F64,
                      .name = "normal matrix",
                      .self = m,
                      .apply = normal_apply};
    gm_error err = {0};
    double right[MOST_ROWS];
    gm_solve_options options = with(c, 1e-12, 1000);
    gm_solve_result result;
    matrix_product(m, true, b, right);
    expect_ok(gm_solve(&op, right, &options, x, &result, &err), &err);
    gm_operator_destroy(&op);
    return result;
}

/* A damped least-squares solution with a symmetric matrix, indefinite and singular, against its
 * eigenpairs: x = sum_j q_j lambda_j (q_j . b) / (lambda_j^2 + c). Condition 9 / c = 22,500: 1e-12
 * of the right-hand side leaves 2e-8 of x at the most. */
static void damped_least_squares(void **state)
{
    (void)state;
    normal_matrix m = {.n = MOST_ROWS};
    const double c = 0.02 * 0.02;
    double lambda[MOST_ROWS], b[MOST_ROWS], x[MOST_ROWS], expected[MOST_ROWS] = {0};
    double *q = new_numbers(m.n * m.n);
    for (size_t i = 0; i < m.n; i++) {
        lambda[i] = i % 4 == 0 ? 0 : 3 - 0.15 * (double)i;
    }
    double *a = rotated(m.n, lambda, 57, q);
    memcpy(m.b, a, m.n * m.n * sizeof *a);
    draw(m.n, 3, b);
    gm_solve_result result = least_squares(&m, c, b, x);
    assert_true(result.converged);
    for (size_t j = 0; j < m.n; j++) {
        double along = gm_kernels_get(GM_F64)->dot(m.n, q + j * m.n, b);
        for (size_t i = 0; i < m.n; i++) {
            expected[i] += q[j * m.n + i] * along * lambda[j] / (lambda[j] * lambda[j] + c);
        }
    }
    for (size_t i = 0; i < m.n; i++) {
        near(x[i], expected[i], 1e-7);
    }
    gm_free(a);
    gm_free(q);
}

/* I + T of the usual example of a Neumann series, T [3, 3] substochastic, against the inverse by
 * cofactors; and twice that, where the series sum (I - A)^k would diverge. Its users ask for 1e-3.
 */
static void inverse_where_neumann_series_diverge(void **state)
{
    (void)state;
    const double t[9] = {0, 0.5, 0.25, 5.0 / 7, 0, 1.0 / 7, 0.3, 0.6, 0};
    for (int factor = 1; factor <= 2; factor++) {
        normal_matrix m = {.n = 3};
        for (size_t i = 0; i < 9; i++) {
            m.b[i] = factor * (t[i] + (i % 4 == 0));
        }
        const double *a = m.b;
        double det = 0, inverse[9], x[3];
        for (size_t i = 0; i < 3; i++) {
            for (size_t j = 0; j < 3; j++) {
                size_t r = (j + 1) % 3, s = (j + 2) % 3, u = (i + 1) % 3, v = (i + 2) % 3;
                inverse[i * 3 + j] = a[r * 3 + u] * a[s * 3 + v] - a[r * 3 + v] * a[s * 3 + u];
            }
        }
        for (size_t j = 0; j < 3; j++) {
            det += a[j] * inverse[j * 3];
        }
        for (size_t j = 0; j < 3; j++) {
            double unit[3] = {j == 0, j == 1, j == 2};
            assert_true(least_squares(&m, 0, unit, x).converged);
            for (size_t i = 0; i < 3; i++) {
                near(x[i], inverse[i * 3 + j] / det, 1e-10);
            }
        }
    }
}

/* Steps: one for each distinct eigenvalue, whatever their multiplicity. */
static void takes_a_step_for_each_distinct_eigenvalue(void **state)
{
    (void)state;
    enum { N = 60 };
    double lambda[N], b[N], x[N];
    for (size_t distinct = 1; distinct <= 5; distinct++) {
        for (size_t i = 0; i < N; i++) {
            lambda[i] = 1 + (double)(i % distinct);
        }
        double *a = rotated(N, lambda, 31, NULL);
        draw(N, 1, b);
        gm_solve_result result = solved(N, a, b, with(0, 1e-12, 100), x);
        assert_true(result.converged);
        assert_int_equal(result.steps, distinct);
        assert_int_equal(result.products, distinct + 1);
        assert_true(result.curvature >= 1 - 1e-12);
        result = solved(N, a, b, with(3, 1e-12, 100), x);
        assert_true(result.converged && result.curvature >= 4 - 1e-12);
        gm_free(a);
    }
}

/* A solution known beforehand. The error of x is at most condition times the residual; with
 * condition 1e12 the rounding of the products alone leaves a residual of up to 1e-16 1e12. */
static void says_what_condition_allows(void **state)
{
    (void)state;
    enum { N = 50 };
    double lambda[N], truth[N], b[N], x[N];
    const double conditions[] = {1, 1e2, 1e4, 1e6};
    for (size_t c = 0; c < sizeof conditions / sizeof *conditions; c++) {
        for (size_t i = 0; i < N; i++) {
            lambda[i] = pow(conditions[c], -(double)i / (N - 1));
        }
        double *a = rotated(N, lambda, 32, NULL), error = 0, right = 0;
        draw(N, 2, truth);
        for (size_t i = 0; i < N; i++) {
            b[i] = 0;
            for (size_t j = 0; j < N; j++) {
                b[i] += a[i * N + j] * truth[j];
            }
            right += b[i] * b[i];
        }
        gm_solve_result result = solved(N, a, b, with(0, 1e-9, 5000), x);
        assert_true(result.converged);
        for (size_t i = 0; i < N; i++) {
            error += (x[i] - truth[i]) * (x[i] - truth[i]);
        }
        assert_true(sqrt(error) <= 1e-9 * 1.01 * conditions[c] * sqrt(right));
        /* not enough products: said */
        result = solved(N, a, b, with(0, 1e-9, conditions[c] > 1 ? 5 : 2), x);
        assert_true(result.converged == (conditions[c] <= 1));
        if (!result.converged) assert_int_equal(result.end, GM_SOLVE_OUT_OF_PRODUCTS);
        gm_free(a);
    }
    /* b along the flattest direction's neighbourhood: ||x|| = 1e12 ||b|| */
    for (size_t i = 0; i < N; i++) {
        lambda[i] = pow(1e12, -(double)i / (N - 1));
    }
    double *a = rotated(N, lambda, 32, NULL);
    draw(N, 3, b);
    gm_solve_result result = solved(N, a, b, with(0, 1e-10, 20000), x);
    assert_true(!result.converged);
    assert_true(result.residual > 1e-10);
    /* damped it is easy again */
    assert_true(solved(N, a, b, with(1e-4, 1e-10, 1000), x).converged);
    gm_free(a);
}

/* One negative eigenvalue among 40, small or large, and whole negative spectra; c as large as
 * needed makes the system definite. */
static void negative_curvature_is_a_result(void **state)
{
    (void)state;
    enum { N = 40 };
    double lambda[N], b[N], x[N];
    const double lowest[] = {-1e-3, -0.5, -100};
    draw(N, 4, b);
    for (size_t l = 0; l < 3; l++) {
        for (size_t i = 0; i < N; i++) {
            lambda[i] = 1 + (double)i / N;
        }
        lambda[0] = lowest[l];
        double *a = rotated(N, lambda, 33, NULL);
        gm_solve_result result = solved(N, a, b, with(0, 1e-14, 1000), x);
        if (!result.converged) { /* what is left of b may be solved for before it is seen */
            assert_int_equal(result.end, GM_SOLVE_NEGATIVE_CURVATURE);
            assert_true(result.curvature < 0 && result.curvature >= lowest[l] - 1e-12);
        }
        assert_true(!result.converged || l == 0);
        result = solved(N, a, b, with(0.1 - lowest[l], 1e-10, 1000), x);
        assert_true(result.converged && result.curvature > 0);
        gm_free(a);
    }
    for (size_t i = 0; i < N; i++) {
        lambda[i] = -1 - (double)i;
    }
    double *a = rotated(N, lambda, 34, NULL);
    gm_solve_result result = solved(N, a, b, with(0, 1e-8, 100), x);
    assert_int_equal(result.end, GM_SOLVE_NEGATIVE_CURVATURE);
    assert_int_equal(result.products, 2);
    near(result.residual, 1, 1e-15); /* x = 0 */
    gm_free(a);
    /* first direction of curvature 0: r.A r = 0 for eigenvalues 1 and -1 in equal shares */
    double swap[4] = {1, 0, 0, -1}, even[2] = {1, 1};
    result = solved(2, swap, even, with(0, 1e-8, 100), x);
    assert_int_equal(result.end, GM_SOLVE_SINGULAR);
    assert_true(!result.converged);
}

/* b in the range of a singular matrix is solved, b outside is not, and neither is A = 0. */
static void singular_systems_are_told_apart(void **state)
{
    (void)state;
    enum { N = 30 };
    double lambda[N] = {3, 2, 1, 0.5}, q[N * N], b[N] = {0}, x[N];
    double *a = rotated(N, lambda, 35, q), *zero = new_numbers(N * N);
    for (size_t i = 0; i < N; i++) {
        b[i] = q[i] + q[N + i] - 2 * q[3 * N + i];
    }
    gm_solve_result result = solved(N, a, b, with(0, 1e-12, 100), x);
    assert_true(result.converged);
    assert_int_equal(result.steps, 3);
    for (size_t i = 0; i < N; i++) {
        near(x[i], q[i] / 3 + q[N + i] / 2 - 4 * q[3 * N + i], 1e-11);
        b[i] += q[10 * N + i];
    }
    assert_true(!solved(N, a, b, with(0, 1e-12, 1000), x).converged);
    assert_true(solved(N, a, b, with(1, 1e-12, 1000), x).converged);
    result = solved(N, zero, b, with(0, 1e-8, 100), x);
    assert_int_equal(result.end, GM_SOLVE_SINGULAR);
    result = solved(N, zero, b, with(4, 1e-8, 100), x);
    assert_true(result.converged && result.steps == 1);
    for (size_t i = 0; i < N; i++) {
        near(x[i], b[i] / 4, 1e-15);
    }
    memset(b, 0, sizeof b);
    gm_operator op = dense_operator(N, a);
    gm_solve_options options = with(0, 1e-8, 2);
    x[3] = 7;
    assert_int_equal(gm_solve(&op, b, &options, x, &result, NULL), GM_OK);
    assert_true(result.converged && result.residual == 0 && result.products == 0);
    assert_true(isnan(result.curvature));
    for (size_t i = 0; i < N; i++) {
        assert_true(x[i] == 0);
    }
    gm_operator_destroy(&op);
    gm_free(a);
    gm_free(zero);
}

/* A Neumann series for (I - B)^-1 diverges for 2 B and must then be scaled by hand. Conjugate
 * gradients know no such scale: A, 2 A, 1e200 A and 1e-200 A take the same steps to the same
 * residual. */
static void knows_no_scale(void **state)
{
    (void)state;
    enum { N = 20 };
    double lambda[N], b[N], x[N], scaled[N * N], big[N];
    const double scales[] = {1, 2, 0.5, 0x1p-600, 0x1p600};
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 0.1 + (double)i;
    }
    double *a = rotated(N, lambda, 36, NULL);
    draw(N, 5, b);
    gm_solve_result one = {0};
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        for (size_t i = 0; i < N * N; i++) {
            scaled[i] = a[i] * scales[s];
        }
        for (size_t r = 0; r < 2; r++) { /* b as it is, and as large or small as A */
            gm_operator op = dense_operator(N, scaled);
            gm_solve_options options = with(0, 1e-10, 100);
            gm_solve_result result;
            for (size_t i = 0; i < N; i++) {
                big[i] = b[i] * (r ? scales[s] : 1);
            }
            assert_int_equal(gm_solve(&op, big, &options, x, &result, NULL), GM_OK);
            if (s == 0) one = result;
            assert_true(result.converged);
            assert_int_equal(result.steps, one.steps);
            assert_true(result.residual == one.residual); /* powers of two round nothing */
            assert_true(result.curvature == one.curvature * scales[s]);
            gm_operator_destroy(&op);
        }
    }
    /* x = 2^1200, or 2^-1200, is none: said, not returned as infinity or zero */
    for (size_t s = 3; s < 5; s++) {
        for (size_t i = 0; i < N * N; i++) {
            scaled[i] = a[i] * scales[s];
        }
        for (size_t i = 0; i < N; i++) {
            big[i] = b[i] / scales[s];
        }
        gm_operator op = dense_operator(N, scaled);
        gm_solve_options options = with(0, 1e-10, 100);
        gm_solve_result result;
        assert_int_equal(gm_solve(&op, big, &options, x, &result, NULL), GM_ERR_NUMERIC);
        gm_operator_destroy(&op);
    }
    gm_free(a);
}

static gm_status skew_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    const double *a = self; /* 3 x 3 */
    for (size_t j = 0; j < count; j++) {
        for (size_t i = 0; i < 3; i++) {
            av[3 * j + i] = 0;
            for (size_t l = 0; l < 3; l++) {
                av[3 * j + i] += a[3 * i + l] * v[3 * j + l];
            }
        }
    }
    return GM_OK;
}

/* Matrices that are not symmetric, which no operator should be: never called solved by mistake. */
static void false_operators_never_pass(void **state)
{
    (void)state;
    double a[3][9] = {{1, -0.5, -0.25, -5.0 / 7, 1, -1.0 / 7, -0.3, -0.6, 1},
                      {1, 5, 0, -5, 1, 3, 0, -3, 1},
                      {2, 1, 0, 0, 2, 1, 0, 0, 2}};
    size_t wrong = 0;
    for (size_t m = 0; m < 3; m++) {
        double b[3] = {1, -2, 0.5}, x[3];
        gm_operator op = {
            .size = 3, .precision = GM_F64, .name = "false", .self = a[m], .apply = skew_apply};
        gm_solve_options options = with(0, 1e-10, 200);
        gm_solve_result result;
        assert_int_equal(gm_solve(&op, b, &options, x, &result, NULL), GM_OK);
        double own = residual_of(3, a[m], 0, b, x);
        near(result.residual, own, 1e-12);
        assert_true(result.converged == (own <= 1e-10));
        wrong += !result.converged;
    }
    assert_true(wrong > 0); /* else this tests nothing */
}

static gm_status float_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    gm_operator *op = self;
    gm_status status = gm_operator_apply(op, count, v, av, err);
    for (size_t i = 0; i < count * op->size; i++) {
        av[i] = (double)(float)av[i];
    }
    return status;
}

/* Products in float32, condition 1e3 and 1e9: the residual by such a product decides. It differs
 * from the true one by the rounding of A x, 6e-8 ||A|| ||x||, x being at most condition times as
 * long as b. Where that is above tol the end is a stall, or runs out of products while it restarts.
 */
static void float_products_stall_openly(void **state)
{
    (void)state;
    enum { N = 50 };
    double lambda[N], b[N], x[N];
    const double conditions[] = {1e3, 1e9};
    draw(N, 6, b);
    for (size_t c = 0; c < 2; c++) {
        for (size_t i = 0; i < N; i++) {
            lambda[i] = pow(conditions[c], -(double)i / (N - 1));
        }
        double *a = rotated(N, lambda, 37, NULL);
        gm_operator inner = dense_operator(N, a);
        gm_operator op = {.size = N,
                          .precision = GM_F32,
                          .name = "rounded",
                          .self = &inner,
                          .apply = float_apply};
        gm_solve_result result;
        gm_solve_options options = with(0, c ? 2e-7 : 1e-4, 5000);
        assert_int_equal(gm_solve(&op, b, &options, x, &result, NULL), GM_OK);
        assert_true(result.converged == (c == 0));
        if (c == 0) near(result.residual, residual_of(N, a, 0, b, x), 6e-5);
        if (c == 1) assert_true(result.residual > 2e-7 && result.end != GM_SOLVE_CONVERGED);
        gm_operator_destroy(&inner);
        gm_free(a);
    }
}

static gm_status nan_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    for (size_t i = 0; i < count * *(size_t *)self; i++) {
        av[i] = v[i] * (double)NAN;
    }
    return GM_OK;
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    size_t size = 2;
    double b[2] = {1, 2}, x[2];
    gm_operator op = {
        .size = size, .precision = GM_F32, .name = "H", .self = &size, .apply = nan_apply};
    const struct {
        gm_solve_options options;
        const char *says;
    } cases[] = {
        {with(-1, 1e-3, 10), "shift"},
        {with((double)NAN, 1e-3, 10), "shift"},
        {with((double)INFINITY, 1e-3, 10), "shift"},
        {with(0, 0, 10), "tol"},
        {with(0, 1, 10), "tol"},
        {with(0, (double)NAN, 10), "tol"},
        {with(0, 1e-9, 10), "1.2e-07"}, /* eps of float32 */
        {with(0, 1e-3, 1), "max_products"},
    };
    gm_solve_result result;
    gm_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gm_status status = gm_solve(&op, b, &cases[i].options, x, &result, &err);
        assert_int_equal(status, GM_ERR_USAGE);
        if (!strstr(err.message, cases[i].says)) fail_msg("%s", err.message);
    }
    gm_solve_options options = with(0, 1e-3, 10);
    assert_int_equal(gm_solve(&op, b, &options, x, &result, &err), GM_ERR_NUMERIC);
    assert_non_null(strstr(err.message, "product 1"));
    b[1] = (double)NAN;
    assert_int_equal(gm_solve(&op, b, &options, x, &result, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "entry 1"));
    assert_true(gm_solve_bytes(10) == 240 && gm_solve_bytes(SIZE_MAX / 8) == SIZE_MAX);
    assert_string_equal(gm_solve_end_name(GM_SOLVE_STALLED), "stalled");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_the_inverse_of_a_damped_ggn),
        cmocka_unit_test(damped_least_squares),
        cmocka_unit_test(inverse_where_neumann_series_diverge),
        cmocka_unit_test(takes_a_step_for_each_distinct_eigenvalue),
        cmocka_unit_test(says_what_condition_allows),
        cmocka_unit_test(negative_curvature_is_a_result),
        cmocka_unit_test(singular_systems_are_told_apart),
        cmocka_unit_test(knows_no_scale),
        cmocka_unit_test(false_operators_never_pass),
        cmocka_unit_test(float_products_stall_openly),
        cmocka_unit_test(bad_input_is_refused),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "solve");
}
