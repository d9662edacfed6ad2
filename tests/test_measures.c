/* The measures beside the bound: against dense matrices of the second implementation, hand-made
 * sums and searches at random; and their marks, under re-scaling. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "gradiometer/bound.h"
#include "gradiometer/measures.h"
#include "kernels/lapack.h"
#include "problems.h"

static void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("%s: found %.17g, expected %.17g within %.3g", what, found, expected, tolerance);
    }
}

enum { IN = 5, HIDDEN = 6, OUT = 3, P = (IN + 1) * HIDDEN + (HIDDEN + 1) * OUT };
static const test_case net_case = {
    "mlp:5-6-3", {2, {IN, HIDDEN, OUT}, REF_RELU, true, false}, 40, 0.7};

static const double *w1(const double *theta)
{
    return theta;
}

static const double *b1(const double *theta)
{
    return theta + IN * HIDDEN;
}

static const double *w2(const double *theta)
{
    return theta + (IN + 1) * HIDDEN;
}

static const double *b2(const double *theta)
{
    return w2(theta) + HIDDEN * OUT;
}

static void logits(const double *theta, const double *x, double *z)
{
    double a[HIDDEN];
    for (int i = 0; i < HIDDEN; i++) {
        a[i] = b1(theta)[i];
        for (int j = 0; j < IN; j++) {
            a[i] += w1(theta)[i * IN + j] * x[j];
        }
        a[i] = fmax(0.0, a[i]);
    }
    for (int i = 0; i < OUT; i++) {
        z[i] = b2(theta)[i];
        for (int j = 0; j < HIDDEN; j++) {
            z[i] += w2(theta)[i * HIDDEN + j] * a[j];
        }
    }
}

/* Largest singular value of w [rows, columns] by many steps of the power method. */
static double largest_singular(const double *w, int rows, int columns)
{
    double v[8] = {1, 0.5, -0.3, 0.2, 0.7, -0.1, 0.4, 0.9}, norm = 0.0;
    for (int step = 0; step < 5000; step++) {
        double u[8] = {0};
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < columns; j++) {
                u[i] += w[i * columns + j] * v[j];
            }
        }
        memset(v, 0, sizeof v);
        for (int j = 0; j < columns; j++) {
            for (int i = 0; i < rows; i++) {
                v[j] += w[i * columns + j] * u[i];
            }
        }
        norm = norm_of((size_t)columns, v);
        for (int j = 0; j < columns; j++) {
            v[j] /= norm;
        }
    }
    return sqrt(norm);
}

/* Every path from an input or a bias to an output. */
static double paths(const double *theta)
{
    double sum = 0.0;
    for (int o = 0; o < OUT; o++) {
        sum += fabs(b2(theta)[o]);
        for (int h = 0; h < HIDDEN; h++) {
            double second = fabs(w2(theta)[o * HIDDEN + h]);
            sum += second * fabs(b1(theta)[h]);
            for (int i = 0; i < IN; i++) {
                sum += second * fabs(w1(theta)[h * IN + i]);
            }
        }
    }
    return sum;
}

static void check_hessian(const test_problem *t, const gm_measures *m)
{
    double *h = calloc((size_t)P * P, sizeof *h), value[P], trace = 0.0, square = 0.0;
    gm_error err = {0};
    assert_non_null(h);
    ref_matrix(&t->c->ref, t->theta, &t->ref, REF_H, h);
    for (size_t i = 0; i < P; i++) {
        trace += h[i * P + i];
        for (size_t j = 0; j < P; j++) {
            square += h[i * P + j] * h[i * P + j];
        }
    }
    expect_ok(gm_symmetric_eigen(P, h, 0, 0, value, NULL, &err), &err);
    double largest = fmax(value[0], value[P - 1]);
    near(m->value[GM_MEASURE_TRACE], trace, 1e-11 * trace, "trace");
    near(m->value[GM_MEASURE_FROBENIUS], sqrt(square), 1e-11 * sqrt(square), "Frobenius norm");
    near(m->value[GM_MEASURE_LAMBDA_MAX], largest, 1e-6 * largest, "lambda_max");
    free(h);
}

static void check_fisher_rao(const test_problem *t, const gm_measures *m)
{
    double *g = calloc((size_t)P * P, sizeof *g), form = 0.0;
    assert_non_null(g);
    ref_matrix(&t->c->ref, t->theta, &t->ref, REF_G, g);
    for (size_t i = 0; i < P; i++) {
        for (size_t j = 0; j < P; j++) {
            form += t->theta[i] * g[i * P + j] * t->theta[j];
        }
    }
    near(m->value[GM_MEASURE_FISHER_RAO], form, 1e-11 * form, "Fisher-Rao norm");
    free(g);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void check_margins(const test_problem *t, const gm_measures *m)
{
    double margin[40], z[OUT];
    for (size_t i = 0; i < 40; i++) {
        double other = -1e300;
        logits(t->theta, t->x + i * IN, z);
        for (int k = 0; k < OUT; k++) {
            if (k != t->label[i]) other = fmax(other, z[k]);
        }
        margin[i] = z[t->label[i]] - other;
    }
    qsort(margin, 40, sizeof *margin, ascending);
    static const size_t place[GM_MARGIN_LEVELS] = {0, 1, 3, 9, 19, 29, 35};
    for (int q = 0; q < GM_MARGIN_LEVELS; q++) {
        near(m->margin[q], margin[place[q]], 1e-13, "margin");
    }
    near(m->value[GM_MEASURE_MARGIN], margin[19], 1e-13, "median margin");
}

static void test_values(void **state)
{
    test_problem t;
    gm_measures m;
    gm_measure_options o;
    gm_error err = {0};
    double theta0[P], distance = 0.0;
    (void)state;
    test_problem_open(&t, &net_case, GM_F64, 0, 0);
    assert_int_equal(t.p, P);
    gm_net_init(t.net, GM_INIT_HE, 3, 0, theta0);
    gm_measure_options_default(&o);
    o.tol = 1e-8;
    expect_ok(gm_measures_take(t.lin, theta0, NULL, &o, &m, &err), &err);
    check_hessian(&t, &m);
    check_fisher_rao(&t, &m);
    check_margins(&t, &m);
    for (size_t j = 0; j < P; j++) {
        distance += (t.theta[j] - theta0[j]) * (t.theta[j] - theta0[j]);
    }
    near(m.value[GM_MEASURE_NORM], norm_of(P, t.theta), 1e-13, "norm");
    near(m.value[GM_MEASURE_DISTANCE], sqrt(distance), 1e-13, "distance");
    double spectral =
        largest_singular(w1(t.theta), HIDDEN, IN) * largest_singular(w2(t.theta), OUT, HIDDEN);
    near(m.value[GM_MEASURE_SPECTRAL_NORM], spectral, 1e-8 * spectral, "spectral norms");
    near(m.value[GM_MEASURE_PATH_NORM], paths(t.theta), 1e-12 * paths(t.theta), "path norm");
    /* By probes, where H is too large to be formed; without the products; without theta0. */
    double exact = m.value[GM_MEASURE_FROBENIUS];
    o.dense = 0;
    o.probes = 400;
    expect_ok(gm_measures_take(t.lin, theta0, NULL, &o, &m, &err), &err);
    assert_true(m.error[GM_MEASURE_FROBENIUS] > 0.0);
    near(m.value[GM_MEASURE_FROBENIUS], exact, 4.0 * m.error[GM_MEASURE_FROBENIUS], "estimate");
    o.products = false;
    expect_ok(gm_measures_take(t.lin, NULL, NULL, &o, &m, &err), &err);
    assert_true(isnan(m.value[GM_MEASURE_LAMBDA_MAX]) && isnan(m.value[GM_MEASURE_SHARPNESS]));
    assert_true(isnan(m.value[GM_MEASURE_DISTANCE]) && !isnan(m.value[GM_MEASURE_TRACE]));
    o.radius = 0.0;
    assert_int_equal(gm_measures_take(t.lin, NULL, NULL, &o, &m, &err), GM_ERR_USAGE);
    test_problem_close(&t);
}

/* No random point of the sphere does better than ascent, and near theta the rise is that of the
 * second-order model along the gradient or more. */
static void test_sharpness(void **state)
{
    static const double radii[] = {1e-3, 0.05, 0.5};
    test_problem t;
    gm_error err = {0};
    (void)state;
    test_problem_open(&t, &net_case, GM_F64, 0, 0);
    double slope = norm_of(P, gm_linearization_gradient(t.lin));
    for (size_t r = 0; r < 3; r++) {
        gm_measures m;
        gm_measure_options o;
        gm_measure_options_default(&o);
        o.radius = radii[r];
        expect_ok(gm_measures_take(t.lin, NULL, NULL, &o, &m, &err), &err);
        double found = m.value[GM_MEASURE_SHARPNESS], moved[P], best = 0.0;
        for (uint64_t i = 0; i < 2000; i++) {
            double loss;
            gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 0), i * P, P, moved);
            double norm = norm_of(P, moved);
            for (size_t j = 0; j < P; j++) {
                moved[j] = t.theta[j] + radii[r] / norm * moved[j];
            }
            expect_ok(gm_problem_value(t.problem, moved, &loss, NULL, &err), &err);
            best = fmax(best, loss - gm_linearization_loss(t.lin));
        }
        assert_true(found > best);
        if (r == 0) near(found / (1e-3 * slope), 1.0, 0.05, "rise along the gradient");
    }
    test_problem_close(&t);
}

/* Measures marked invariant stay, the others move. */
static void test_marks(void **state)
{
    test_problem t;
    gm_measures before, after;
    gm_measure_options o;
    gm_error err = {0};
    gm_linearization *lin = NULL;
    double theta0[P], factor[P], moved[P], moved0[P];
    (void)state;
    test_problem_open(&t, &net_case, GM_F64, 0, 0);
    gm_net_init(t.net, GM_INIT_HE, 3, 0, theta0);
    gm_measure_options_default(&o);
    o.tol = 1e-8;
    expect_ok(gm_measures_take(t.lin, theta0, NULL, &o, &before, &err), &err);
    expect_ok(gm_rescaling_make(t.net, 50.0, 1, 0, factor, NULL, &err), &err);
    for (size_t j = 0; j < P; j++) {
        moved[j] = factor[j] * t.theta[j];
        moved0[j] = factor[j] * theta0[j];
    }
    expect_ok(gm_linearize(t.problem, moved, &lin, &err), &err);
    expect_ok(gm_measures_take(lin, moved0, NULL, &o, &after, &err), &err);
    for (int i = 0; i < GM_MEASURES; i++) {
        const gm_measure_kind *kind = &gm_measure_kinds[i];
        double change = fabs(after.value[i] / before.value[i] - 1.0);
        assert_true(strlen(kind->name) > 0 && strstr(kind->reference, "arXiv"));
        if (kind->invariant ? !(change < 1e-8) : !(change > 0.1)) {
            fail_msg("%s changed by %g", kind->name, change);
        }
    }
    gm_linearization_free(lin);
    test_problem_close(&t);
}

/* Path norms are for positively homogeneous nets; all else is for any. */
static void test_smooth(void **state)
{
    static const test_case tanh_case = {
        "mlp:5-6-3,act=tanh", {2, {IN, HIDDEN, OUT}, REF_TANH, true, false}, 40, 0.7};
    test_problem t;
    gm_measures m;
    gm_measure_options o;
    gm_error err = {0};
    (void)state;
    test_problem_open(&t, &tanh_case, GM_F64, 0, 0);
    gm_measure_options_default(&o);
    o.tol = 1e-8;
    expect_ok(gm_measures_take(t.lin, t.theta, NULL, &o, &m, &err), &err);
    check_hessian(&t, &m);
    check_fisher_rao(&t, &m);
    assert_true(isnan(m.value[GM_MEASURE_PATH_NORM]));
    near(m.value[GM_MEASURE_DISTANCE], 0.0, 0.0, "distance");
    test_problem_close(&t);
}

typedef struct count_down {
    size_t asked, stop_at;
} count_down;

static bool counts(void *context)
{
    count_down *c = context;
    return ++c->asked > c->stop_at;
}

/* Whenever it is asked to stop, it stops at once and says so. */
static void test_interrupted(void **state)
{
    test_problem t;
    gm_measures m;
    gm_measure_options o;
    gm_error err = {0};
    count_down c = {.stop_at = SIZE_MAX};
    (void)state;
    test_problem_open(&t, &net_case, GM_F64, 0, 0);
    gm_measure_options_default(&o);
    o.stop = counts;
    o.context = &c;
    expect_ok(gm_measures_take(t.lin, NULL, NULL, &o, &m, &err), &err);
    size_t all = c.asked;
    assert_true(all > 10);
    for (size_t k = 0; k < all; k++) {
        c = (count_down){.stop_at = k};
        assert_int_equal(gm_measures_take(t.lin, NULL, NULL, &o, &m, &err), GM_ERR_INTERRUPTED);
        assert_int_equal(c.asked, k + 1);
    }
    test_problem_close(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),      cmocka_unit_test(test_sharpness),
        cmocka_unit_test(test_marks),       cmocka_unit_test(test_smooth),
        cmocka_unit_test(test_interrupted),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "measures");
}
