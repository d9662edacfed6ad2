/* Stochastic Lanczos quadrature and densities against spectra known in closed form or by
 * construction, and against the probes' own spectral measures. */
#include "support.h"

#include <float.h>

#include "gradiometer/estimate.h"
#include "known_operator.h"

static const double pi = 3.14159265358979323846;

static gm_quadrature quadrature_of(gm_operator *op, size_t probes, size_t steps, uint64_t seed)
{
    gm_quadrature_options options;
    gm_quadrature q;
    gm_error err;
    gm_quadrature_options_default(&options);
    options.probes = probes;
    options.steps = steps;
    options.seed = seed;
    size_t before = op->products;
    if (gm_quadrature_make(op, &options, &q, &err) != GM_OK) fail_msg("%s", err.message);
    assert_int_equal(q.products, op->products - before);
    /* every row: weights >= 0 that sum to 1, nodes descending, none after breakdown */
    for (size_t i = 0; i < probes; i++) {
        const double *node = q.node + i * q.steps, *weight = q.weight + i * q.steps;
        double sum = 0;
        for (size_t j = 0; j < q.steps; j++) {
            sum += weight[j];
            assert_true(weight[j] >= 0);
            assert_true(j == 0 || node[j] <= node[j - 1]);
            if (j >= q.taken[i]) assert_true(weight[j] == 0 && node[j] == node[j - 1]);
        }
        near(sum, 1, 1e-13);
    }
    return q;
}

static gm_quadrature quadrature_of_matrix(size_t n, const double *a, size_t probes, size_t steps,
                                          uint64_t seed)
{
    gm_operator op = dense_operator(n, a);
    gm_quadrature q = quadrature_of(&op, probes, steps, seed);
    gm_operator_destroy(&op);
    return q;
}

/* The unit start vector of a probe, as the headers document it. */
static void start_vector(uint64_t seed, size_t probe, size_t n, double *v)
{
    gm_rademacher_fill(gm_stream_of(seed, GM_PURPOSE_PROBE, 0), (UINT64_C(1) << 63) + probe * n, n,
                       v);
    for (size_t i = 0; i < n; i++) {
        v[i] /= sqrt((double)n);
    }
}

/* Sum over eigenvectors (rows of u) with eigenvalue in [from, to] of f(lambda) (u . v)^2. */
static double measure(size_t n, const double *lambda, const double *u, const double *v, double from,
                      double to, double (*f)(double))
{
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        double dot = 0;
        if (lambda[j] < from || lambda[j] > to) continue;
        for (size_t i = 0; i < n; i++) {
            dot += u[j * n + i] * v[i];
        }
        sum += dot * dot * (f ? f(lambda[j]) : 1);
    }
    return sum;
}

/* Share of the smoothed spectrum in (from, to]. */
static double mass_in(const gm_quadrature *q, double width, double from, double to)
{
    const double edge[2] = {from, to};
    double mass;
    assert_int_equal(gm_density_mass(q, width, 1, edge, &mass, NULL, NULL, NULL), GM_OK);
    return mass;
}

/* --- the small eigenproblem --- */

/* The second difference: 2 - 2 cos(k pi / (n + 1)), first components sqrt(2 / (n + 1)) sin(...). */
static void tridiagonal_against_the_second_difference(void **state)
{
    (void)state;
    enum { N = 50 };
    double d[N], e[N], value[N], first[N];
    for (size_t i = 0; i < N; i++) {
        d[i] = 2;
        e[i] = -1;
    }
    assert_int_equal(gm_tridiagonal_eigen(N, d, e, value, first, NULL), GM_OK);
    for (size_t k = 0; k < N; k++) {
        double angle = (double)(N - k) * pi / (N + 1);
        near(value[k], 2 - 2 * cos(angle), 50 * DBL_EPSILON);
        near(fabs(first[k]), sqrt(2.0 / (N + 1)) * sin(angle), 50 * DBL_EPSILON);
        near(d[k], 2, 0);
        near(e[k], -1, 0);
    }
    assert_int_equal(gm_tridiagonal_eigen(1, d, NULL, value, first, NULL), GM_OK);
    near(value[0], 2, 0);
    near(fabs(first[0]), 1, 0);
    d[3] = (double)NAN;
    assert_int_equal(gm_tridiagonal_eigen(N, d, e, value, first, NULL), GM_ERR_NUMERIC);
}

/* --- breakdown --- */

static void zero_operator_exactly(void **state)
{
    (void)state;
    enum { N = 30 };
    double *a = new_numbers(N * N), edge[11], mass[10], error[10], total;
    gm_quadrature q = quadrature_of_matrix(N, a, 3, 20, 1);
    assert_int_equal(q.products, 3);
    for (size_t i = 0; i < 3 * q.steps; i++) {
        assert_true(q.node[i] == 0);
        assert_true(q.weight[i] == (i % q.steps ? 0 : 1));
    }
    gm_estimate e;
    assert_int_equal(gm_quadrature_frobenius(&q, &e, NULL), GM_OK);
    assert_true(e.value == 0 && e.std_error == 0);
    gm_count_result c;
    assert_int_equal(gm_quadrature_count(&q, 0, 0, &c, NULL), GM_OK);
    assert_true(c.count.value == N && c.low == N && c.high == N);
    assert_true(gm_quadrature_unresolved(&q) == 1);
    double width = gm_density_width(&q);
    assert_true(width > 0);
    gm_density_edges(&q, width, 10, edge);
    assert_int_equal(gm_density_mass(&q, width, 10, edge, mass, error, &total, NULL), GM_OK);
    near(total, 1, 1e-8);
    gm_quadrature_free(&q);
    gm_free(a);
}

/* lambda [n] holds `distinct` different values: every probe breaks down at that step, and the
 * weights are the squared projections of the start vector onto the eigenspaces. The rounding errors
 * of several steps multiply: after more than three, one step from such an error may follow
 * (`spare`), which splits the node at zero within the noise floor. */
static void check_distinct(size_t n, const double *lambda, size_t distinct, const double *value,
                           size_t spare, uint32_t draw)
{
    double *u = new_numbers(n * n), *a = rotated(n, lambda, draw, u), *v = new_numbers(n);
    gm_quadrature q = quadrature_of_matrix(n, a, 4, 30, 7);
    for (size_t i = 0; i < 4; i++) {
        assert_in_range(q.taken[i], distinct, distinct + spare);
        start_vector(7, i, n, v);
        size_t beyond_noise = 0, expected = 0;
        for (size_t j = 0; j < q.taken[i]; j++) {
            beyond_noise += fabs(q.node[i * q.steps + j]) > q.floor;
        }
        for (size_t k = 0; k < distinct; k++) {
            double weight = 0;
            for (size_t j = 0; j < q.taken[i]; j++) {
                bool near_value = fabs(q.node[i * q.steps + j] - value[k]) < 1e-11 * fabs(value[0]);
                if (near_value) weight += q.weight[i * q.steps + j];
            }
            near(weight, measure(n, lambda, u, v, value[k] - 1e-9, value[k] + 1e-9, NULL), 1e-11);
            expected += value[k] != 0;
        }
        assert_int_equal(beyond_noise, expected); /* no copies */
    }
    assert_in_range(q.products, 4 * distinct, 4 * (distinct + spare));
    gm_quadrature_free(&q);
    gm_free(u);
    gm_free(a);
    gm_free(v);
}

static void breakdown_gives_the_exact_measure(void **state)
{
    (void)state;
    enum { N = 60, LARGE = 200 };
    double lambda[LARGE] = {0};
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i < 30 ? 5 : 1;
    }
    check_distinct(N, lambda, 2, (const double[]){5, 1}, 0, 1); /* two clusters: step 2 */
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i < 30 ? 3 : i < 50 ? 2 : -1;
    }
    check_distinct(N, lambda, 3, (const double[]){3, 2, -1}, 0, 2); /* repeated eigenvalues */
    memset(lambda, 0, sizeof lambda);
    lambda[0] = 4;
    check_distinct(N, lambda, 2, (const double[]){4, 0}, 0, 3); /* rank 1 */
    for (size_t i = 0; i < 5; i++) {
        lambda[i] = 5 - (double)i;
    }
    check_distinct(LARGE, lambda, 6, (const double[]){5, 4, 3, 2, 1, 0}, 1,
                   4); /* rank 5: no copies */
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 2.5;
    }
    check_distinct(N, lambda, 1, (const double[]){2.5}, 0, 5);
}

/* --- nodes and weights --- */

/* Without reorthogonalization copies of the outlier appear within 80 steps. */
static void no_copies_of_an_outlier(void **state)
{
    (void)state;
    enum { N = 200 };
    double lambda[N];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i == 0 ? 100 : (double)i / N;
    }
    double *a = rotated(N, lambda, 6, NULL);
    gm_quadrature q = quadrature_of_matrix(N, a, 5, 80, 1);
    for (size_t i = 0; i < 5; i++) {
        near(q.node[i * 80], 100, 1e-11);
        assert_true(q.node[i * 80 + 1] < 1 + 1e-11);
    }
    gm_quadrature_free(&q);
    gm_free(a);
}

static double power(double lambda, void *context)
{
    return pow(lambda, *(double *)context);
}

/* tr A^j from the nodes is n v . A^j v of the same probes, j = 1 ... 4, to rounding: exact below
 * degree 2 steps, so three steps suffice. */
static void moments_are_those_of_the_probes(void **state)
{
    (void)state;
    enum { N = 40, PROBES = 6 };
    double lambda[N], x[N], ax[N];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = sin((double)i) + 0.2;
    }
    double *a = rotated(N, lambda, 7, NULL);
    gm_quadrature q = quadrature_of_matrix(N, a, PROBES, 3, 5);
    double expected[5] = {0};
    for (size_t p = 0; p < PROBES; p++) {
        double v[N];
        start_vector(5, p, N, v);
        memcpy(x, v, sizeof x);
        for (int j = 1; j <= 4; j++) {
            for (size_t i = 0; i < N; i++) {
                ax[i] = 0;
                for (size_t l = 0; l < N; l++) {
                    ax[i] += a[i * N + l] * x[l];
                }
            }
            memcpy(x, ax, sizeof x);
            for (size_t i = 0; i < N; i++) {
                expected[j] += N * v[i] * x[i] / PROBES;
            }
        }
    }
    for (int j = 1; j <= 4; j++) {
        double exponent = j;
        gm_estimate e;
        assert_int_equal(gm_quadrature_trace(&q, power, &exponent, &e, NULL), GM_OK);
        near(e.value, expected[j], 1e-12 * N);
    }
    /* and Hutchinson's trace and norm on these very probes */
    gm_operator op = dense_operator(N, a);
    gm_estimate_options options;
    gm_estimate_options_default(&options);
    options.max_products = PROBES;
    options.seed = 5;
    gm_trace_result t;
    double one = 1;
    gm_estimate trace, norm;
    assert_int_equal(gm_trace_estimate(&op, GM_TRACE_HUTCHINSON, &options, &t, NULL), GM_OK);
    assert_int_equal(gm_quadrature_trace(&q, power, &one, &trace, NULL), GM_OK);
    assert_int_equal(gm_quadrature_frobenius(&q, &norm, NULL), GM_OK);
    near(trace.value, t.trace.value, 1e-12);
    near(trace.std_error, t.trace.std_error, 1e-12);
    near(norm.value, t.frobenius.value, 1e-12);
    near(norm.std_error, t.frobenius.std_error, 1e-12);
    gm_operator_destroy(&op);
    gm_quadrature_free(&q);
    gm_free(a);
}

static double natural_log(double lambda)
{
    return log(lambda);
}

/* At full order the rule is the whole measure: extreme nodes are eigenvalues, v . log(A) v exact.
 */
static void full_order_is_exact(void **state)
{
    (void)state;
    enum { N = 50 };
    double lambda[N], v[N], u[N * N], exact = 0;
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 1 + (double)i;
    }
    double *a = rotated(N, lambda, 8, u);
    gm_quadrature q = quadrature_of_matrix(N, a, 2, 1000, 3);
    assert_int_equal(q.steps, N);
    near(q.max, 50, 1e-11);
    near(q.min, 1, 1e-11);
    for (size_t i = 0; i < 2; i++) {
        start_vector(3, i, N, v);
        exact += N * measure(N, lambda, u, v, 0, 100, natural_log) / 2;
    }
    gm_estimate e;
    assert_int_equal(gm_quadrature_logdet(&q, 0, &e, NULL), GM_OK);
    near(e.value, exact, 1e-10);
    assert_int_equal(gm_quadrature_logdet(&q, -1.5, &e, NULL), GM_ERR_NUMERIC);
    gm_quadrature_free(&q);
    gm_free(a);
}

/* 30 eigenvalues 1 + i / 200 above 170 at 1e-3, ten products and ten probes. */
static void log_determinant_of_two_scales(void **state)
{
    (void)state;
    enum { N = 200 };
    double lambda[N], exact = 0, shifted = 0;
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i < 30 ? 1 + (double)(i + 1) / N : 1e-3;
        exact += log(lambda[i]);
        shifted += log(lambda[i] + 0.5);
    }
    double *a = rotated(N, lambda, 9, NULL);
    gm_quadrature q = quadrature_of_matrix(N, a, 10, 10, 1);
    gm_estimate e;
    assert_int_equal(gm_quadrature_logdet(&q, 0, &e, NULL), GM_OK);
    near(e.value, exact, 1e-2 * fabs(exact));
    near(e.value, exact, e.half_width);
    assert_int_equal(gm_quadrature_logdet(&q, 0.5, &e, NULL), GM_OK);
    near(e.value, shifted, e.half_width);
    gm_quadrature_free(&q);
    gm_free(a);
}

/* --- statistics --- */

/* 95 % intervals of trace, norm, log-determinant and count over 200 seeds: at least 181 hits (three
 * standard deviations of 1.54 % below); the count's interval is widened by its quadrature bounds,
 * the bounds themselves hold for the probes' measures. */
static void error_bars_cover_the_truth(void **state)
{
    (void)state;
    enum { N = 60, SEEDS = 200, PROBES = 8 };
    double lambda[N], trace = 0, squares = 0, logs = 0, u[N * N], v[N];
    size_t inside = 0, hits[4] = {0};
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i < 4 ? 8.0 - (double)i : 1 - (double)i / 100;
        trace += lambda[i];
        squares += lambda[i] * lambda[i];
        logs += log(lambda[i] + 1);
        inside += lambda[i] >= 0.6 && lambda[i] <= 2;
    }
    double *a = rotated(N, lambda, 10, u), one = 1;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        gm_quadrature q = quadrature_of_matrix(N, a, PROBES, 12, seed);
        gm_estimate t, f, l;
        gm_count_result c;
        assert_int_equal(gm_quadrature_trace(&q, power, &one, &t, NULL), GM_OK);
        assert_int_equal(gm_quadrature_frobenius(&q, &f, NULL), GM_OK);
        assert_int_equal(gm_quadrature_logdet(&q, 1, &l, NULL), GM_OK);
        assert_int_equal(gm_quadrature_count(&q, 0.6, 2, &c, NULL), GM_OK);
        hits[0] += fabs(t.value - trace) <= t.half_width;
        hits[1] += fabs(f.value - sqrt(squares)) <= f.half_width;
        hits[2] += fabs(l.value - logs) <= l.half_width;
        hits[3] += c.low - c.count.half_width <= (double)inside &&
                   (double)inside <= c.high + c.count.half_width;
        double own = 0;
        for (size_t i = 0; i < PROBES; i++) {
            start_vector(seed, i, N, v);
            own += N * measure(N, lambda, u, v, 0.6 - 1e-9, 2, NULL) / PROBES;
        }
        assert_true(c.low <= own + 1e-9 && own <= c.high + 1e-9);
        assert_true(c.low <= c.count.value && c.count.value <= c.high);
        /* nothing lies above 10: there the upper bound is as tight as it can be */
        assert_int_equal(gm_quadrature_count(&q, 0.6, 10, &c, NULL), GM_OK);
        own = 0;
        for (size_t i = 0; i < PROBES; i++) {
            start_vector(seed, i, N, v);
            own += N * measure(N, lambda, u, v, 0.6 - 1e-9, 10, NULL) / PROBES;
        }
        assert_true(c.low <= own + 1e-9 && own <= c.high + 1e-9);
        gm_quadrature_free(&q);
    }
    for (int i = 0; i < 4; i++) {
        /* the norm is a root of a skewed mean: 175 */
        if (hits[i] < (i == 1 ? 175 : 181)) fail_msg("quantity %d: %zu hits", i, hits[i]);
    }
    gm_free(a);
}

/* --- densities --- */

/* The smoothed distribution lies between the true ones a few widths to either side, up to sampling:
 * F(x - 3 w) - tol <= F_w(x) <= F(x + 3 w) + tol. */
static void check_distribution(const gm_quadrature *q, double (*cdf)(double), double tolerance)
{
    enum { BINS = 400 };
    double edge[BINS + 1], mass[BINS], error[BINS], total, width = gm_density_width(q), sum = 0;
    gm_density_edges(q, width, BINS, edge);
    assert_int_equal(gm_density_mass(q, width, BINS, edge, mass, error, &total, NULL), GM_OK);
    near(total, 1, 3e-9);
    for (size_t b = 0; b < BINS; b++) {
        sum += mass[b];
        double x = edge[b + 1], low = cdf(x - 3 * width), high = cdf(x + 3 * width);
        if (sum < low - tolerance || sum > high + tolerance) {
            fail_msg("at %g: %g, expected within %g of [%g, %g]", x, sum, tolerance, low, high);
        }
    }
}

static double semicircle(double x)
{
    if (x <= -2) return 0;
    if (x >= 2) return 1;
    return 0.5 + x * sqrt(4 - x * x) / (4 * pi) + asin(x / 2) / pi;
}

/* Ratio 1/2: support (1 -+ sqrt(1/2))^2, density sqrt((b - x)(x - a)) / (pi x); by the midpoint
 * rule in the angle, where the integrand is smooth. */
static double marchenko_pastur(double x)
{
    double a = pow(1 - sqrt(0.5), 2), b = pow(1 + sqrt(0.5), 2), sum = 0;
    if (x <= a) return 0;
    if (x >= b) return 1;
    double centre = 0.5 * (a + b), radius = 0.5 * (b - a), end = acos((centre - x) / radius);
    for (int i = 0; i < 500; i++) {
        double t = end * (i + 0.5) / 500;
        sum += radius * radius * sin(t) * sin(t) / (pi * (centre - radius * cos(t))) * end / 500;
    }
    return sum;
}

/* Eigenvalues of random matrices lie within 1/n of these laws; a probe's share has a standard error
 * of about sqrt(2 F (1 - F) / n), 0.011 for ten probes: three of these and 2/n. */
static void random_matrix_laws(void **state)
{
    (void)state;
    enum { N = 400, M = 800 };
    double *a = new_numbers(N * N), *z = new_numbers(N * M);
    gm_stream stream = gm_stream_of(5, GM_PURPOSE_TEST, 0);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j <= i; j++) {
            double scale = (i == j ? sqrt(2) : 1) / sqrt(N);
            a[i * N + j] = a[j * N + i] = scale * gm_normal(stream, i * N + j);
        }
    }
    gm_quadrature q = quadrature_of_matrix(N, a, 10, 60, 1);
    check_distribution(&q, semicircle, 0.04);
    gm_quadrature_free(&q);
    gm_normal_fill(gm_stream_of(5, GM_PURPOSE_TEST, 1), 0, N * M, z);
    gm_kernels_get(GM_F64)->gemm(false, true, N, N, M, 1.0 / M, z, M, z, M, 0, a, N);
    q = quadrature_of_matrix(N, a, 10, 60, 1);
    check_distribution(&q, marchenko_pastur, 0.04);
    gm_quadrature_free(&q);
    gm_free(a);
    gm_free(z);
}

/* Largest difference between the distribution of the nodes and that of the eigenvalues value [n],
 * looked at halfway between neighbouring eigenvalues. */
static double kolmogorov(const gm_quadrature *q, size_t n, const double *value)
{
    double worst = 0;
    for (size_t k = 0; k + 1 < n; k++) {
        double cut = 0.5 * (value[k] + value[k + 1]), above = 0;
        for (size_t i = 0; i < q->probes * q->steps; i++) {
            if (q->node[i] > cut) above += q->weight[i] / (double)q->probes;
        }
        worst = fmax(worst, fabs(above - (double)(k + 1) / (double)n));
    }
    return worst;
}

/* Outliers 5, 4, 3 on a Wishart bulk; and a Wishart matrix of Pareto numbers, whose eigenvalues
 * range over many decades. */
static void nodes_are_distributed_as_eigenvalues(void **state)
{
    (void)state;
    enum { N = 300, M = 600 };
    double *a = new_numbers(N * N), *z = new_numbers(N * M), value[N];
    for (int pareto = 0; pareto < 2; pareto++) {
        size_t columns = pareto ? M : N;
        gm_stream stream = gm_stream_of(6, GM_PURPOSE_TEST, (uint32_t)pareto);
        for (size_t i = 0; i < N * columns; i++) {
            z[i] = pareto ? 1 / gm_uniform(stream, i) : gm_normal(stream, i);
        }
        gm_kernels_get(GM_F64)->gemm(false, true, N, N, columns, 1 / (double)columns, z, columns, z,
                                     columns, 0, a, N);
        for (size_t i = 0; !pareto && i < 3; i++) {
            a[i * N + i] += 5 - (double)i;
        }
        gm_quadrature q = quadrature_of_matrix(N, a, 10, 128, 1);
        assert_int_equal(gm_symmetric_eigen(N, a, 0, 0, value, NULL, NULL), GM_OK);
        near(q.max, value[0], 1e-11 * value[0]);
        for (size_t j = 0; !pareto && j < 3; j++) {
            near(q.node[j], value[j], 1e-11 * value[0]);
        }
        /* three standard errors of a share, sqrt(2 F (1 - F) / (10 n)) <= 0.013, and the weight of
         * one node, about 1/128 */
        double distance = kolmogorov(&q, N, value);
        if (distance > 0.047) fail_msg("pareto %d: distance %g", pareto, distance);
        gm_quadrature_free(&q);
    }
    gm_free(a);
    gm_free(z);
}

/* Masses of the density against the probes' own measures: 30 eigenvalues 1 and 30 eigenvalues 5. */
static void two_peaks(void **state)
{
    (void)state;
    enum { N = 60 };
    double lambda[N], u[N * N], v[N], own = 0;
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i < 30 ? 1 : 5;
    }
    double *a = rotated(N, lambda, 11, u), width;
    gm_quadrature q = quadrature_of_matrix(N, a, 20, 50, 2);
    width = gm_density_width(&q);
    near(width, 4 / 200.0, 1e-12);
    for (size_t i = 0; i < 20; i++) {
        start_vector(2, i, N, v);
        own += measure(N, lambda, u, v, 0, 2, NULL) / 20;
    }
    near(mass_in(&q, width, 1 - 8 * width, 1 + 8 * width), own, 1e-10);
    near(mass_in(&q, width, 5 - 8 * width, 5 + 8 * width), 1 - own, 1e-10);
    near(mass_in(&q, width, 1 + 8 * width, 5 - 8 * width), 0, 1e-14);
    near(mass_in(&q, width, 1, 5), 0.5, 1e-10); /* half of either peak */
    near(mass_in(&q, width, 5, 5 + width), (1 - own) * 0.3413447460685429, 1e-10);
    near(own, 0.5, 0.15);
    gm_quadrature_free(&q);
    gm_free(a);
}

/* A flat spectrum has no dips: 200 eigenvalues even on [0, 10]. */
static void flat_spectrum_is_flat(void **state)
{
    (void)state;
    enum { N = 200 };
    double lambda[N], low = 1, high = 0;
    for (size_t i = 0; i < N; i++) {
        lambda[i] = 10 * (double)i / (N - 1);
    }
    double *a = rotated(N, lambda, 12, NULL);
    gm_quadrature q = quadrature_of_matrix(N, a, 12, 80, 1);
    for (int b = 1; b < 9; b++) {
        double mass = mass_in(&q, 0.3, b, b + 1);
        low = fmin(low, mass);
        high = fmax(high, mass);
    }
    assert_true(low > 0.5 * high);
    near(mass_in(&q, 0.3, -10, 20), 1, 1e-12);
    gm_quadrature_free(&q);
    gm_free(a);
}

/* Density of c A at c x: masses in bins that scale along do not change. A width that is absolute
 * anywhere puts half of this positive spectrum below zero for c = 1e-3. */
static void densities_scale_with_the_operator(void **state)
{
    (void)state;
    enum { N = 150, BINS = 60 };
    const double factor[] = {1, 1e-3, 1e4, -1e-30};
    double lambda[N], mass[4][BINS], edge[BINS + 1], width[4];
    for (size_t i = 0; i < N; i++) {
        lambda[i] = i == 0 ? 10 : i == 1 ? 5 : 0.1 * (double)i / N;
    }
    double *a = rotated(N, lambda, 13, NULL), *ca = new_numbers(N * N);
    for (int c = 0; c < 4; c++) {
        for (size_t i = 0; i < N * N; i++) {
            ca[i] = factor[c] * a[i];
        }
        gm_quadrature q = quadrature_of_matrix(N, ca, 6, 40, 1);
        width[c] = gm_density_width(&q);
        near(width[c] / fabs(factor[c]), width[0], 1e-11 * width[0]);
        assert_true(width[c] <= (1 + 1e-15) * (q.max - q.min) /
                                    200); /* the default is equal to it, but for rounding */
        gm_density_edges(&q, width[c], BINS, edge);
        assert_int_equal(gm_density_mass(&q, width[c], BINS, edge, mass[c], NULL, NULL, NULL),
                         GM_OK);
        for (size_t b = 0; b < BINS; b++) {
            near(mass[c][factor[c] < 0 ? BINS - 1 - b : b], mass[0][b], 1e-9);
        }
        if (factor[c] > 0) {
            near(mass_in(&q, width[c], -1000 * factor[c], -5 * width[c]), 0, 1e-6);
            /* the outlier's share, 1/150, within the scatter of six probes */
            near(mass_in(&q, width[c], 9 * factor[c], 11 * factor[c]), 1.0 / N, 1.0 / N);
        }
        gm_quadrature_free(&q);
    }
    gm_free(a);
    gm_free(ca);
}

/* --- float32 --- */

enum { LARGE = 2000 };

/* H D H v in float with H = I - 2 u u^T, u = (1, ..., 1) / sqrt(n): 10, then 297 times 1e-3, then
 * 0. */
static gm_status reflected_apply(void *self, size_t count, const double *v, double *av,
                                 gm_error *err)
{
    (void)self;
    (void)err;
    for (size_t c = 0; c < count; c++) {
        float x[LARGE];
        for (size_t i = 0; i < LARGE; i++) {
            x[i] = (float)v[c * LARGE + i];
        }
        for (int pass = 0; pass < 2; pass++) {
            float sum = 0;
            for (size_t i = 0; i < LARGE; i++) {
                sum += x[i];
            }
            sum *= 2.0f / LARGE;
            for (size_t i = 0; i < LARGE; i++) {
                x[i] -= sum;
                if (pass == 0) x[i] *= i == 0 ? 10 : i < 298 ? 1e-3f : 0;
            }
        }
        for (size_t i = 0; i < LARGE; i++) {
            av[c * LARGE + i] = (double)x[i];
        }
    }
    return GM_OK;
}

/* Zeros come out as noise of either sign: it must be named as unresolved, no eigenvalue may seem
 * negative beyond the floor, and what lies above the floor must be counted right. */
static void float_noise_is_unresolved(void **state)
{
    (void)state;
    gm_operator op = {
        .size = LARGE, .precision = GM_F32, .name = "reflected", .apply = reflected_apply};
    gm_quadrature q = quadrature_of(&op, 5, 40, 1);
    double below = 0;
    bool noise = false;
    for (size_t i = 0; i < q.probes * q.steps; i++) {
        if (q.weight[i] > 0 && q.node[i] != 0 && fabs(q.node[i]) <= q.floor) noise = true;
        if (q.node[i] < -q.floor) below += q.weight[i];
    }
    assert_true(noise); /* else there is nothing to tell apart */
    assert_true(below == 0);
    assert_true(q.floor > 1e-6 && q.floor < 1e-4); /* 1e-6 of 10 */
    near(gm_quadrature_unresolved(&q), 1702.0 / LARGE, 0.02);
    gm_count_result c;
    assert_int_equal(gm_quadrature_count(&q, 5e-4, 2e-3, &c, NULL), GM_OK);
    near(c.count.value, 297, 40); /* sqrt(2 297 0.85 / 5) = 10 is one standard error */
    gm_quadrature_free(&q);
}

/* --- options --- */

static double infinite(double lambda, void *context)
{
    (void)context;
    return lambda / 0.0;
}

static double itself(double lambda, void *context)
{
    (void)context;
    return lambda;
}

/* The three largest of 200 eigenvalues given beforehand: they are atoms of 1 / 200 each, exact
 * whatever the width; the probes see the other 197 alone, and tr A is right within its error bar
 * over 200 seeds at 95 %: at least 180 of 200 (three standard deviations of the binomial). */
static void known_eigenpairs_are_atoms(void **state)
{
    (void)state;
    enum { N = 200, K = 3, SEEDS = 200 };
    double *a = new_numbers(N * N), *vector = new_numbers(K * N), trace = 0;
    const double value[K] = {50, 40, 30};
    for (size_t i = 0; i < N; i++) {
        a[i * N + i] = i < K ? value[i] : (double)i / N;
        if (i < K) vector[i * N + i] = 1;
    }
    /* rotated by a Householder reflection, so that the probes are no eigenvectors' friends */
    double *u = new_numbers(N), *au = new_numbers(N), uau = 0;
    for (size_t i = 0; i < N; i++) {
        u[i] = sqrt(1.0 / N);
        au[i] = a[i * N + i] * u[i];
        uau += u[i] * au[i];
        trace += a[i * N + i];
    }
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            a[i * N + j] += -2 * u[i] * au[j] - 2 * au[i] * u[j] + 4 * uau * u[i] * u[j];
        }
        for (size_t k = 0; k < K; k++) {
            vector[k * N + i] -= 2 * u[k] * u[i];
        }
    }
    gm_operator op = dense_operator(N, a);
    gm_quadrature_options options;
    gm_quadrature_options_default(&options);
    options.steps = 12;
    options.deflated = K;
    options.deflated_value = value;
    options.deflated_vector = vector;
    assert_true(gm_quadrature_bytes(N, &options) >= (12 + 1) * N * sizeof(double));
    assert_true(gm_quadrature_bytes(SIZE_MAX / 8, &options) == SIZE_MAX);
    gm_quadrature q;
    gm_error err;
    size_t covered = 0;
    for (size_t seed = 0; seed < SEEDS; seed++) {
        gm_estimate e;
        options.seed = seed;
        if (gm_quadrature_make(&op, &options, &q, &err) != GM_OK) fail_msg("%s", err.message);
        assert_int_equal(gm_quadrature_trace(&q, itself, NULL, &e, &err), GM_OK);
        covered += fabs(e.value - trace) <= e.half_width;
        if (seed + 1 < SEEDS) gm_quadrature_free(&q);
    }
    assert_true(covered >= 180);
    double width = gm_density_width(&q);
    assert_true(width < 0.05); /* of the bulk, not of the range up to 50 */
    near(mass_in(&q, width, 30 - 1e-9, 30), 1.0 / N, 1e-15);
    near(mass_in(&q, width, 10, 60), 3.0 / N, 1e-15);
    near(mass_in(&q, width, -1, 2), (N - 3.0) / N, 1e-12);
    gm_count_result c;
    assert_int_equal(gm_quadrature_count(&q, 2, 100, &c, &err), GM_OK);
    near(c.count.value, 3, 1e-11);
    near(c.low, 3, 1e-11);
    assert_true(q.max == 50);
    gm_quadrature_free(&q);
    vector[0] += 1e-3;
    assert_int_equal(gm_quadrature_make(&op, &options, &q, &err), GM_ERR_USAGE);
    gm_quadrature_free(&q);
    options.deflated = N;
    assert_int_equal(gm_quadrature_make(&op, &options, &q, &err), GM_ERR_USAGE);
    gm_quadrature_free(&q);
    gm_operator_destroy(&op);
    gm_free(u);
    gm_free(au);
    gm_free(vector);
    gm_free(a);
}

/* Between the nodes on either side, by hand; rules that broke down are exact. */
static void spacing_of_the_nodes(void **state)
{
    (void)state;
    double node[] = {3, 1, -2, -5, 4, 4, 4, 4}, weight[] = {0.1, 0.4, 0.4, 0.1, 1, 0, 0, 0};
    size_t taken[] = {4, 1};
    gm_quadrature q = {
        .size = 9, .probes = 1, .steps = 4, .node = node, .weight = weight, .taken = taken};
    assert_true(gm_quadrature_spacing(&q, 0) == 3);
    assert_true(gm_quadrature_spacing(&q, 10) == 14);
    assert_true(gm_quadrature_spacing(&q, -6) == 2);
    q.probes = 2;
    assert_true(gm_quadrature_spacing(&q, 0) == 1.5);
    q.size = 4; /* as many steps as there are eigenvalues */
    assert_true(gm_quadrature_spacing(&q, 0) == 0);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    const double a[4] = {2, 1, 1, 2};
    gm_operator op = dense_operator(2, a);
    gm_quadrature_options options;
    gm_quadrature q;
    gm_error err;
    gm_quadrature_options_default(&options);
    assert_true(options.probes == 10 && options.steps == 80);
    options.probes = 0;
    assert_int_equal(gm_quadrature_make(&op, &options, &q, &err), GM_ERR_USAGE);
    gm_quadrature_free(&q);
    options.probes = 1;
    options.steps = 0;
    assert_int_equal(gm_quadrature_make(&op, &options, &q, &err), GM_ERR_USAGE);
    gm_quadrature_free(&q);
    gm_quadrature_free(NULL);
    options.steps = 2;
    assert_int_equal(gm_quadrature_make(&op, &options, &q, &err), GM_OK);
    const double edge[3] = {0, 1, 1};
    double mass[2];
    assert_int_equal(gm_density_mass(&q, 0, 1, edge, mass, NULL, NULL, &err), GM_ERR_USAGE);
    assert_int_equal(gm_density_mass(&q, -1, 1, edge, mass, NULL, NULL, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "width"));
    assert_int_equal(gm_density_mass(&q, 1, 2, edge, mass, NULL, NULL, &err), GM_ERR_USAGE);
    assert_non_null(strstr(err.message, "bin 1"));
    gm_count_result c;
    assert_int_equal(gm_quadrature_count(&q, 1, 0, &c, &err), GM_ERR_USAGE);
    gm_estimate e;
    assert_int_equal(gm_quadrature_trace(&q, infinite, NULL, &e, &err), GM_ERR_NUMERIC);
    double one = 1;
    assert_int_equal(gm_quadrature_trace(&q, power, &one, &e, &err), GM_OK);
    assert_true(isnan(e.std_error)); /* one probe: no error known */
    gm_quadrature_free(&q);
    gm_operator_destroy(&op);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tridiagonal_against_the_second_difference),
        cmocka_unit_test(zero_operator_exactly),
        cmocka_unit_test(breakdown_gives_the_exact_measure),
        cmocka_unit_test(no_copies_of_an_outlier),
        cmocka_unit_test(moments_are_those_of_the_probes),
        cmocka_unit_test(full_order_is_exact),
        cmocka_unit_test(log_determinant_of_two_scales),
        cmocka_unit_test(error_bars_cover_the_truth),
        cmocka_unit_test(random_matrix_laws),
        cmocka_unit_test(nodes_are_distributed_as_eigenvalues),
        cmocka_unit_test(two_peaks),
        cmocka_unit_test(flat_spectrum_is_flat),
        cmocka_unit_test(densities_scale_with_the_operator),
        cmocka_unit_test(float_noise_is_unresolved),
        cmocka_unit_test(known_eigenpairs_are_atoms),
        cmocka_unit_test(spacing_of_the_nodes),
        cmocka_unit_test(bad_input_is_refused),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "density");
}
