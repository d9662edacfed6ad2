/* Densities on the cases of other tools' tests and examples, with the assertions that those lack,
 * and on what went wrong there. (Breakdown at repeated eigenvalues, flat spectra, log-determinants
 * on two scales and the float noise of a rank-deficient operator: test_density.c; orthogonality and
 * full order: test_lanczos.c.) */
#include "support.h"

#include <float.h>
#include <malloc.h>
#include <stdlib.h>

#include "problems.h"

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
    if (gm_quadrature_make(op, &options, &q, &err) != GM_OK) fail_msg("%s", err.message);
    return q;
}

/* ---- operators by products ----------------------------------------------------------------- */

typedef struct matrix {
    size_t n;
    const double *a;
} matrix;

static gm_status matrix_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    const matrix *m = self;
    gm_kernels_get(GM_F64)->gemm(false, false, count, m->n, m->n, 1, v, m->n, m->a, m->n, 0, av,
                                 m->n);
    return GM_OK;
}

static gm_operator matrix_operator(matrix *m)
{
    return (gm_operator){
        .size = m->n, .precision = GM_F64, .name = "matrix", .self = m, .apply = matrix_apply};
}

/* H D H with H = I - 2 u u^T, u = (1, ..., 1) / sqrt(n): eigenvalues value [n]. */
typedef struct reflected {
    size_t n;
    const double *value;
} reflected;

static void reflect(size_t n, double *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    for (size_t i = 0; i < n; i++) {
        x[i] -= 2 * sum / (double)n;
    }
}

static gm_status reflected_apply(void *self, size_t count, const double *v, double *av,
                                 gm_error *err)
{
    (void)err;
    const reflected *r = self;
    memcpy(av, v, count * r->n * sizeof *av);
    for (size_t c = 0; c < count; c++) {
        reflect(r->n, av + c * r->n);
        for (size_t i = 0; i < r->n; i++) {
            av[c * r->n + i] *= r->value[i];
        }
        reflect(r->n, av + c * r->n);
    }
    return GM_OK;
}

static gm_operator reflected_operator(reflected *r)
{
    return (gm_operator){.size = r->n,
                         .precision = GM_F64,
                         .name = "reflected",
                         .self = r,
                         .apply = reflected_apply};
}

static gm_quadrature quadrature_of_values(size_t n, const double *value, size_t probes,
                                          size_t steps, uint64_t seed)
{
    reflected r = {n, value};
    gm_operator op = reflected_operator(&r);
    return quadrature_of(&op, probes, steps, seed);
}

/* ---- Kolmogorov distances ------------------------------------------------------------------ */

/* Share of nodes and atoms <= x. */
static double share_below(const gm_quadrature *q, double x)
{
    double sum = 0;
    for (size_t i = 0; i < q->probes; i++) {
        for (size_t j = 0; j < q->taken[i]; j++) {
            double weight = q->weight[i * q->steps + j] / (double)q->probes;
            if (q->node[i * q->steps + j] <= x) sum += weight;
        }
    }
    for (size_t i = 0; i < q->deflated; i++) {
        if (q->atom[i] <= x) sum += 1 / (double)q->size;
    }
    return sum;
}

/* Between the quadrature and value [n] descending, at the middles of neighbours. */
static double distance_to_values(const gm_quadrature *q, size_t n, const double *value)
{
    double worst = 0;
    for (size_t k = 0; k + 1 < n; k++) {
        double share = share_below(q, 0.5 * (value[k] + value[k + 1]));
        worst = fmax(worst, fabs(share - (double)(n - k - 1) / (double)n));
    }
    return worst;
}

/* Marchenko-Pastur of ratio 1, density sqrt((4 - x) / x) / (2 pi); with x = 4 sin^2 t. */
static double marchenko_pastur(double x)
{
    if (x <= 0) return 0;
    if (x >= 4) return 1;
    double t = asin(sqrt(x) / 2);
    return (2 * t + sin(2 * t)) / pi;
}

static double distance_to_law(const gm_quadrature *q)
{
    double worst = 0;
    for (int i = 1; i < 400; i++) {
        worst = fmax(worst, fabs(share_below(q, i / 100.0) - marchenko_pastur(i / 100.0)));
    }
    return worst;
}

/* diag(5, 4, 3, 0, ...) + Z Z^T / n, n = 1000 (2000 in the original: all eigenvalues take eight
 * times as long), 128 steps, 10 probes; plain, and with the three largest pairs known. A share has
 * a standard error of sqrt(2 F (1 - F) / (10 n)) <= 1 / sqrt(20 n) over ten probes; to three of
 * them the weight of a node adds, at most 1 / 64 where 128 of them cover the range; the law holds
 * to a few / n. */
static void outliers_on_a_bulk(void **state)
{
    (void)state;
    enum { N = GM_TEST_SIZE(1000, 300), K = 3 };
    const double scatter = 3 / sqrt(20.0 * N);
    double *z = new_numbers((size_t)N * N), *a = new_numbers((size_t)N * N);
    double *value = new_numbers(N), *vector = new_numbers((size_t)K * N);
    gm_normal_fill(gm_stream_of(6, GM_PURPOSE_TEST, 2), 0, (size_t)N * N, z);
    gm_kernels_get(GM_F64)->gemm(false, true, N, N, N, 1.0 / N, z, N, z, N, 0, a, N);
    for (size_t i = 0; i < K; i++) {
        a[i * N + i] += 5 - (double)i;
    }
    memcpy(z, a, (size_t)N * N * sizeof *a);
    assert_int_equal(gm_symmetric_eigen(N, z, K, 0, value, vector, NULL), GM_OK);
    matrix m = {N, a};
    gm_operator op = matrix_operator(&m);
    gm_quadrature_options options;
    gm_quadrature_options_default(&options);
    options.steps = 128;
    options.deflated_value = value;
    options.deflated_vector = vector;
    for (options.deflated = 0; options.deflated <= K; options.deflated += K) {
        gm_quadrature q;
        gm_error err;
        expect_ok(gm_quadrature_make(&op, &options, &q, &err), &err);
        for (size_t j = 0; j < K; j++) {
            double found = options.deflated ? q.atom[j] : q.node[j];
            near(found, value[j], 1e-11 * value[0]);
        }
        double distance = distance_to_values(&q, N, value);
        assert_at_most(distance, scatter + 0.005, "%zu known", q.deflated);
        assert_at_most(distance_to_law(&q), scatter + 0.005 + 5.0 / N, "%zu known", q.deflated);
        /* the kernel is that of the bulk, 4 wide, once the outliers are known */
        if (q.deflated) near(gm_density_width(&q), 4 / (127 * sqrt(8 * log(3))), 3e-4);
        double above = gm_density_width(&q) * 4 + value[3], top[1], edge[2] = {above, 10};
        assert_int_equal(gm_density_mass(&q, gm_density_width(&q), 1, edge, top, NULL, NULL, NULL),
                         GM_OK);
        if (q.deflated) near(top[0], (double)K / N, 1e-6); /* exact; else the probes' scatter */
        gm_quadrature_free(&q);
    }
    gm_free(z);
    gm_free(a);
    gm_free(value);
    gm_free(vector);
}

/* ---- small cases --------------------------------------------------------------------------- */

/* diag(linspace(1, 5, 50)), 8 probes x 40 steps; diag(1 ... 5) and diag(-2, -1, 3, 4, 5): the
 * bounds are the extreme eigenvalues, and the density's integral is 1. */
static void bounds_and_integrals(void **state)
{
    (void)state;
    enum { N = 50, BINS = 4000 };
    const double five[5] = {1, 2, 3, 4, 5}, mixed[5] = {-2, -1, 3, 4, 5};
    double value[N], *edge = new_numbers(BINS + 1), *mass = new_numbers(BINS), total;
    for (size_t i = 0; i < N; i++) {
        value[i] = 1 + 4 * (double)i / (N - 1);
    }
    for (int c = 0; c < 3; c++) {
        const double *values = c == 0 ? value : c == 1 ? five : mixed;
        gm_quadrature q = quadrature_of_values(c ? 5 : N, values, 8, 40, 1);
        /* 40 of 50 steps: the ends of an even spectrum are found to a few digits */
        near(q.max, 5, c ? 1e-13 : 1e-4);
        near(q.min, c == 2 ? -2 : 1, c ? 1e-13 : 1e-4);
        double width = gm_density_width(&q);
        gm_density_edges(&q, width, BINS, edge);
        assert_int_equal(gm_density_mass(&q, width, BINS, edge, mass, NULL, &total, NULL), GM_OK);
        near(total, 1, 3e-9);
        assert_true(edge[0] < q.min && edge[BINS] > q.max);
        gm_quadrature_free(&q);
    }
    gm_free(edge);
    gm_free(mass);
}

/* G G^T of orders 10 and 15 at full order: extremes, and the smoothed density with the probes' own
 * weights, are exact. Five draws. */
static void full_order_densities(void **state)
{
    (void)state;
    enum { MOST = 15, BINS = 50 };
    for (size_t n = 10; n <= MOST; n += 5) {
        for (uint32_t draw = 0; draw < 5; draw++) {
            double g[MOST * MOST], a[MOST * MOST], value[MOST], u[MOST * MOST], v[MOST];
            gm_normal_fill(gm_stream_of(6, GM_PURPOSE_TEST, 10 + draw), 0, n * n, g);
            gm_kernels_get(GM_F64)->gemm(false, true, n, n, n, 1, g, n, g, n, 0, a, n);
            memcpy(g, a, sizeof g);
            assert_int_equal(gm_symmetric_eigen(n, g, n, 0, value, u, NULL), GM_OK);
            matrix m = {n, a};
            gm_operator op = matrix_operator(&m);
            gm_quadrature q = quadrature_of(&op, 1, n, 3);
            near(q.max, value[0], 1e-12 * value[0]);
            near(q.min, value[n - 1], 1e-12 * value[0]);
            double edge[BINS + 1], mass[BINS], width = 0.1 * value[0];
            gm_density_edges(&q, width, BINS, edge);
            assert_int_equal(gm_density_mass(&q, width, BINS, edge, mass, NULL, NULL, NULL), GM_OK);
            gm_rademacher_fill(gm_stream_of(3, GM_PURPOSE_PROBE, 0), UINT64_C(1) << 63, n, v);
            for (size_t b = 0; b < BINS; b++) {
                double expected = 0;
                for (size_t k = 0; k < n; k++) {
                    double dot = gm_kernels_get(GM_F64)->dot(n, u + k * n, v);
                    double part = erf((edge[b + 1] - value[k]) / width * sqrt(0.5)) -
                                  erf((edge[b] - value[k]) / width * sqrt(0.5));
                    expected += dot * dot / (double)n * 0.5 * part;
                }
                near(mass[b], expected, 1e-11);
            }
            gm_quadrature_free(&q);
        }
    }
}

/* A tanh net's Hessian at full order: the bins bracket its spectrum, the extremes are right. */
static void hessian_at_full_order(void **state)
{
    (void)state;
    const test_case c = {
        .spec = "mlp:3-5-2,act=tanh",
        .ref = {.layers = 2, .width = {3, 5, 2}, .act = REF_TANH, .bias = true, .squared = true},
        .n = 8,
        .scale = 1};
    test_problem t;
    gm_operator op;
    gm_error err = {0};
    test_problem_open(&t, &c, GM_F64, 3, 0);
    double *h = new_numbers(t.p * t.p), *value = new_numbers(t.p), edge[11];
    expect_ok(gm_curvature_dense(t.lin, GM_HESSIAN, GM_ALL_LAYERS, h, &err), &err);
    expect_ok(gm_symmetric_eigen(t.p, h, 0, 0, value, NULL, &err), &err);
    expect_ok(gm_curvature_operator(t.lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
    gm_quadrature q = quadrature_of(&op, 2, t.p, 1);
    near(q.max, value[0], 1e-12 * value[0]);
    near(q.min, value[t.p - 1], 1e-12 * value[0]);
    gm_density_edges(&q, gm_density_width(&q), 10, edge);
    assert_true(edge[0] < value[t.p - 1] && edge[10] > value[0]);
    gm_quadrature_free(&q);
    gm_operator_destroy(&op);
    test_problem_close(&t);
    gm_free(h);
    gm_free(value);
}

/* ---- the logarithmic axis ------------------------------------------------------------------ */

/* Z Z^T / 1000 with Z 500 x 1000 of Pareto(1, 1) numbers: eigenvalues over many decades. In 60 bins
 * the cumulated shares differ from the eigenvalues' counts by three standard errors, 0.021 for ten
 * probes, and the weight of one node of 128. */
static void heavy_tails_on_a_log_axis(void **state)
{
    (void)state;
    enum { N = 500, M = 1000, BINS = 60, ALL = 2 * BINS + 1 };
    double *z = new_numbers((size_t)N * M), *a = new_numbers((size_t)N * N),
           *value = new_numbers(N);
    gm_stream stream = gm_stream_of(6, GM_PURPOSE_TEST, 3);
    for (size_t i = 0; i < (size_t)N * M; i++) {
        z[i] = 1 / gm_uniform(stream, i);
    }
    gm_kernels_get(GM_F64)->gemm(false, true, N, N, M, 1.0 / M, z, M, z, M, 0, a, N);
    matrix m = {N, a};
    gm_operator op = matrix_operator(&m);
    gm_quadrature q = quadrature_of(&op, 10, 256, 1);
    assert_int_equal(gm_symmetric_eigen(N, a, 0, 0, value, NULL, NULL), GM_OK);
    assert_true(value[0] > 1e4 * value[N / 2]); /* else no linear axis would fail */
    double edge[ALL + 1], mass[ALL], error[ALL], total, sum = 0, worst = 0;
    gm_density_log_edges(&q, 1e-2, BINS, edge);
    assert_int_equal(gm_density_log_mass(&q, BINS, edge, mass, error, &total, NULL), GM_OK);
    near(total, 1, 1e-12);
    for (size_t b = 0; b < ALL; b++) {
        size_t below = 0;
        for (size_t k = 0; k < N; k++) {
            below += value[k] <= edge[b + 1];
        }
        sum += mass[b];
        worst = fmax(worst, fabs(sum - (double)below / N));
        if (b < BINS) assert_true(mass[b] == 0); /* nothing negative */
    }
    assert_at_most(worst, 0.03, "Kolmogorov distance in bins");
    assert_at_most(distance_to_values(&q, N, value), 0.03, "Kolmogorov distance");
    gm_quadrature_free(&q);
    gm_free(z);
    gm_free(a);
    gm_free(value);
}

/* Both signs, seven decades, a third of zeros: the counts of either side and of the middle are
 * right whatever the scale of the operator, at the edges that scale along; the probes break down,
 * so that each share is a squared projection, known up to its scatter only: sqrt(2 F (1 - F) / (n
 * probes)), four of them. */
static void signs_and_scales_on_a_log_axis(void **state)
{
    (void)state;
    enum { N = 300, BINS = 14, ALL = 2 * BINS + 1, PROBES = 40 };
    const double factor[] = {1, 1e-12, 1e12, -1};
    double base[N], value[N], edge[ALL + 1], first[ALL + 1], mass[4][ALL], total;
    for (size_t i = 0; i < N; i++) { /* 60 negative: -1 ... -1e-2; 140 positive; 100 zeros */
        base[i] = i < 60 ? -pow(10, -(double)(i % 3)) : i < 200 ? pow(10, 3 - (double)(i % 7)) : 0;
    }
    for (int c = 0; c < 4; c++) {
        for (size_t i = 0; i < N; i++) {
            value[i] = factor[c] * base[i];
        }
        gm_quadrature q = quadrature_of_values(N, value, PROBES, 30, 1);
        gm_density_log_edges(&q, 2e-4 * fabs(factor[c]), BINS, edge);
        if (c == 0) memcpy(first, edge, sizeof first);
        assert_int_equal(gm_density_log_mass(&q, BINS, edge, mass[c], NULL, &total, NULL), GM_OK);
        near(total, 1, 1e-12);
        double side[3] = {0};
        for (size_t b = 0; b < ALL; b++) {
            near(edge[b], first[b] * fabs(factor[c]), 1e-11 * fabs(edge[b]));
            near(mass[c][b], mass[0][c == 3 ? ALL - 1 - b : b], 1e-9);
            side[b < BINS ? 0 : b == BINS ? 1 : 2] += mass[c][b];
        }
        const double expected[3] = {c == 3 ? 140.0 / N : 60.0 / N, 100.0 / N,
                                    c == 3 ? 60.0 / N : 140.0 / N};
        for (int s = 0; s < 3; s++) {
            near(side[s], expected[s], 4 * sqrt(2 * 0.25 / (N * PROBES)));
        }
        /* below the noise of the products there is nothing to be seen */
        gm_error err;
        double narrow[4] = {-1, -0.5 * q.floor, 0.5 * q.floor, fabs(factor[c]) * 1e4}, three[3];
        narrow[0] = -narrow[3];
        assert_int_equal(gm_density_log_mass(&q, 1, narrow, three, NULL, NULL, &err), GM_ERR_USAGE);
        assert_non_null(strstr(err.message, "noise"));
        gm_density_log_edges(&q, 0, 1, narrow);
        near(narrow[2], q.floor, 0);
        assert_int_equal(gm_density_log_mass(&q, 1, narrow, three, NULL, NULL, &err), GM_OK);
        near(three[1], gm_quadrature_unresolved(&q), 1e-13);
        narrow[3] = narrow[2];
        assert_int_equal(gm_density_log_mass(&q, 1, narrow, three, NULL, NULL, &err), GM_ERR_USAGE);
        gm_quadrature_free(&q);
    }
    /* the zero operator: all of it in the middle */
    memset(value, 0, sizeof value);
    gm_quadrature q = quadrature_of_values(N, value, 2, 30, 1);
    gm_density_log_edges(&q, 0, BINS, edge);
    assert_int_equal(gm_density_log_mass(&q, BINS, edge, mass[0], NULL, NULL, NULL), GM_OK);
    assert_true(mass[0][BINS] == 1 && edge[BINS + 1] > 0);
    gm_quadrature_free(&q);
}

/* ---- thresholds and memory ----------------------------------------------------------------- */

/* Breakdown is relative: eigenvalues of size 1e-25 do not end a run early, and rounding of those of
 * size 1e25 ends it. */
static void breakdown_is_relative(void **state)
{
    (void)state;
    enum { N = 100 };
    const double scale[] = {1e-25, 1, 1e25};
    double value[N];
    for (int s = 0; s < 3; s++) {
        for (size_t i = 0; i < N; i++) {
            value[i] = scale[s] * (1 + (double)i);
        }
        gm_quadrature q = quadrature_of_values(N, value, 3, 20, 1);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(q.taken[i], 20);
        }
        gm_quadrature_free(&q);
        for (size_t i = 0; i < N; i++) {
            value[i] = scale[s] * (i < 2 ? 3 : i < 5 ? 2 : 0);
        }
        q = quadrature_of_values(N, value, 3, 20, 1);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(q.taken[i], 3);
            near(q.node[i * 20], scale[s] * 3, 1e-13 * scale[s]);
            near(q.node[i * 20 + 1], scale[s] * 2, 1e-13 * scale[s]);
        }
        gm_quadrature_free(&q);
    }
}

typedef struct watched {
    const double *value;
    size_t n, most; /* bytes in use during products, at most */
} watched;

static size_t bytes_in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static gm_status watched_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    watched *w = self;
    size_t now = bytes_in_use();
    if (now > w->most) w->most = now;
    for (size_t i = 0; i < count * w->n; i++) {
        av[i] = w->value[i % w->n] * v[i];
    }
    return GM_OK;
}

/* What gm_quadrature_bytes promises holds: one basis however many probes, nothing kept after. */
static void memory_is_one_basis(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* the sanitizer's own allocator does not tell mallinfo */
#endif
    enum { N = 20000, PROBES = 4, STEPS = 30 };
    double *value = new_numbers(N);
    for (size_t i = 0; i < N; i++) {
        value[i] = sin((double)i);
    }
    watched w = {value, N, 0};
    gm_operator op = {
        .size = N, .precision = GM_F64, .name = "watched", .self = &w, .apply = watched_apply};
    gm_quadrature_options options;
    gm_quadrature_options_default(&options);
    options.probes = PROBES;
    options.steps = STEPS;
    size_t before = bytes_in_use(), told = gm_quadrature_bytes(N, &options);
    gm_quadrature q = quadrature_of(&op, PROBES, STEPS, 0);
    size_t slack = 4096 * 16; /* pages and headers of a dozen arrays */
    assert_in_range(w.most - before, STEPS * N * sizeof(double), told + slack);
    assert_true(told <= (STEPS + 2) * N * sizeof(double));
    gm_quadrature_free(&q);
    assert_true(bytes_in_use() <= before + slack);
    gm_free(value);
}

/* ---- error bars ---------------------------------------------------------------------------- */

static double power(double lambda, void *context)
{
    return pow(lambda, *(double *)context);
}

static double normal_share(double a, double b)
{
    return 0.5 * (erf(b * sqrt(0.5)) - erf(a * sqrt(0.5)));
}

/* 95 % intervals over 200 seeds of the first four moments, the masses of smoothed bins and those on
 * a logarithmic axis. Ten eigenvalues, twelve each: the rules are exact, so that nothing but the
 * probes' scatter is asked; 181 hits are three standard deviations of the binomial below 95 %, 175
 * the bound where the distribution of a share, about that of a chi-square of few degrees, is skewed
 * and Student's interval reaches 93 % only. */
static void error_bars_of_masses_and_moments(void **state)
{
    (void)state;
    enum { N = 120, VALUES = 10, SEEDS = 200, PROBES = 10, BINS = 5, ALL = 2 * BINS + 1 };
    double value[N], width = 0.2;
    const double edge[BINS + 1] = {-6, -0.3, 0.4, 1.1, 4, 9}, student = 2.262157162740992;
    size_t moment[4] = {0}, linear[BINS] = {0}, logarithmic[ALL] = {0};
    for (size_t i = 0; i < N; i++) {
        size_t k = i % VALUES;
        value[i] = k == 0 ? 0 : (k % 2 ? 1 : -1) * pow(2, 3 - (double)(k - 1));
    }
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        gm_quadrature q = quadrature_of_values(N, value, PROBES, VALUES + 2, seed);
        for (int j = 0; j < 4; j++) {
            double exponent = j + 1, exact = 0;
            gm_estimate e;
            for (size_t i = 0; i < N; i++) {
                exact += pow(value[i], exponent);
            }
            assert_int_equal(gm_quadrature_trace(&q, power, &exponent, &e, NULL), GM_OK);
            moment[j] += fabs(e.value - exact) <= e.half_width;
        }
        double mass[ALL], error[ALL], sides[ALL + 1];
        assert_int_equal(gm_density_mass(&q, width, BINS, edge, mass, error, NULL, NULL), GM_OK);
        for (size_t b = 0; b < BINS; b++) {
            double exact = 0;
            for (size_t i = 0; i < N; i++) {
                exact +=
                    normal_share((edge[b] - value[i]) / width, (edge[b + 1] - value[i]) / width) /
                    N;
            }
            linear[b] += fabs(mass[b] - exact) <= student * error[b];
        }
        for (size_t b = 0; b <= BINS;
             b++) { /* cut between the values, at powers of two times 3/4 */
            sides[ALL - b] = 12 * pow(4, -(double)b);
            sides[b] = -sides[ALL - b];
        }
        assert_int_equal(gm_density_log_mass(&q, BINS, sides, mass, error, NULL, NULL), GM_OK);
        for (size_t b = 0; b < ALL; b++) {
            size_t count = 0;
            for (size_t i = 0; i < N; i++) {
                count += value[i] > sides[b] && value[i] <= sides[b + 1];
            }
            logarithmic[b] += fabs(mass[b] - (double)count / N) <= student * error[b];
        }
        gm_quadrature_free(&q);
    }
    for (int j = 0; j < 4; j++) {
        if (moment[j] < 181) fail_msg("moment %d: %zu hits of 200", j + 1, moment[j]);
    }
    for (int b = 0; b < BINS; b++) {
        if (linear[b] < 175) fail_msg("bin %d: %zu hits of 200", b, linear[b]);
    }
    for (int b = 0; b < ALL; b++) {
        if (logarithmic[b] < 175) fail_msg("log bin %d: %zu hits of 200", b, logarithmic[b]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outliers_on_a_bulk),
        cmocka_unit_test(bounds_and_integrals),
        cmocka_unit_test(full_order_densities),
        cmocka_unit_test(hessian_at_full_order),
        cmocka_unit_test(heavy_tails_on_a_log_axis),
        cmocka_unit_test(signs_and_scales_on_a_log_axis),
        cmocka_unit_test(breakdown_is_relative),
        cmocka_unit_test(memory_is_one_basis),
        cmocka_unit_test(error_bars_of_masses_and_moments),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "density_peers");
}
