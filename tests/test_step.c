/* One step of SGD: the model against brute force over every mini-batch of a small set, with
 * gradients and Hessian of a second implementation (reference.h); draws against enumeration;
 * Clopper-Pearson intervals against their definition.
 *
 * Tolerances: in double both sides are sums of at most p^2 n terms, 1e-11 relative to the sum's
 * largest parts. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/dynamics.h"
#include "problems.h"

static const test_case cases[] = {
    {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 8, 0.8},
    {"mlp:4-5-3,act=relu", {2, {4, 5, 3}, REF_RELU, true, true}, 8, 0.8},
    {"mlp:3-4-4-2,act=softplus,bias=no", {3, {3, 4, 4, 2}, REF_SOFTPLUS, false, false}, 7, 1.0},
};
enum { CASES = sizeof cases / sizeof *cases };

static double *numbers(size_t count)
{
    double *x = gm_alloc(count, sizeof *x, "test array", NULL);
    assert_non_null(x);
    return x;
}

static double dot(size_t n, const double *x, const double *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

static void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("%s: found %.17g, expected %.17g within %.3g", what, found, expected, tolerance);
    }
}

/* Gradients, their mean and H from the reference. */
typedef struct brute {
    size_t n, p;
    double *row, *mean, *hessian, *work;
    const double *divisor, *drift; /* of the step eta D^-1 (drift + g); NULL for I and 0 */
} brute;

static void brute_open(const test_problem *t, brute *b)
{
    *b = (brute){t->c->n,
                 t->p,
                 numbers(t->c->n * t->p),
                 numbers(t->p),
                 numbers(t->p * t->p),
                 numbers(2 * t->p),
                 NULL,
                 NULL};
    ref_gradients(&t->c->ref, t->theta, &t->ref, b->row);
    ref_matrix(&t->c->ref, t->theta, &t->ref, REF_H, b->hessian);
    for (size_t i = 0; i < b->n; i++) {
        for (size_t j = 0; j < b->p; j++) {
            b->mean[j] += b->row[i * b->p + j] / (double)b->n;
        }
    }
}

static void brute_close(brute *b)
{
    gm_free(b->row);
    gm_free(b->mean);
    gm_free(b->hessian);
    gm_free(b->work);
}

/* x . H y */
static double form(const brute *b, const double *x, const double *y)
{
    double sum = 0;
    for (size_t i = 0; i < b->p; i++) {
        sum += x[i] * dot(b->p, b->hessian + i * b->p, y);
    }
    return sum;
}

/* Q of the batch index [m]. */
static double model_of(const brute *b, size_t m, const size_t *index, double eta)
{
    double *g = b->work;
    memset(g, 0, b->p * sizeof *g);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < b->p; j++) {
            g[j] += b->row[index[i] * b->p + j] / (double)m;
        }
    }
    for (size_t j = 0; j < b->p; j++) {
        g[j] = (g[j] + (b->drift ? b->drift[j] : 0)) / (b->divisor ? b->divisor[j] : 1);
    }
    return -eta * dot(b->p, b->mean, g) + 0.5 * eta * eta * form(b, g, g);
}

/* Mean and variance of Q over all batches of m <= 3 samples: ordered with repeats, or subsets. */
static void enumerate(const brute *b, size_t m, bool distinct, double eta, double *mean,
                      double *variance)
{
    size_t index[3] = {0}, count = 0;
    double sum = 0, square = 0;
    for (int pass = 0; pass < 2; pass++) {
        count = 0;
        for (size_t code = 0; code < (size_t)pow((double)b->n, (double)m); code++) {
            size_t rest = code;
            bool skip = false;
            for (size_t i = 0; i < m; i++) {
                index[i] = rest % b->n;
                rest /= b->n;
                for (size_t j = 0; distinct && j < i; j++) {
                    skip = skip || index[j] == index[i];
                }
            }
            if (skip) continue;
            double q = model_of(b, m, index, eta);
            if (pass == 0) sum += q;
            if (pass == 1) square += (q - sum) * (q - sum);
            count++;
        }
        if (pass == 0) sum /= (double)count;
    }
    *mean = sum;
    *variance = square / (double)count;
}

static void every_batch(void **state)
{
    (void)state;
    gm_error err = {0};
    const double etas[] = {0.05, 0.5, 3.0};
    for (int c = 0; c < CASES; c++) {
        test_problem t;
        brute b;
        gm_step_model model;
        gm_step_options o;
        test_problem_open(&t, &cases[c], GM_F64, 3, 0);
        brute_open(&t, &b);
        gm_step_options_default(&o);
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        assert_true(model.exact);
        near(model.slope, dot(t.p, b.mean, b.mean), 1e-12, "gradient");
        for (size_t m = 1; m <= 3; m++) {
            for (int e = 0; e < 3; e++) {
                for (int distinct = 0; distinct < 2; distinct++) {
                    gm_step_prediction q;
                    double mean, variance;
                    enumerate(&b, m, distinct, etas[e], &mean, &variance);
                    expect_ok(gm_step_predict(&model, m, distinct, etas[e], &q, &err), &err);
                    near(q.mean, mean, 1e-11 * (1 + fabs(mean)), "mean");
                    assert_true(q.mean_error == 0 && q.v_error == 0 && q.variance_error == 0);
                    near(q.variance, variance, 1e-11 * (1 + variance), "variance");
                }
            }
        }
        gm_step_model_free(&model);
        brute_close(&b);
        test_problem_close(&t);
    }
}

/* Steps with momentum and a divisor, eta D^-1 (drift + g): over every batch the mean and the
 * variance of Q, V and the ends from rows D^-1 (g_i - mu), and draws. */
static void other_steps(void **state)
{
    (void)state;
    gm_error err = {0};
    enum { MOST = 64, DRAWS = 2000 };
    double divisor[MOST], drift[MOST];
    static double delta[DRAWS];
    for (size_t j = 0; j < MOST; j++) {
        divisor[j] = 0.4 + gm_uniform(gm_stream_of(12, GM_PURPOSE_TEST, 0), j);
        drift[j] = 0.1 * gm_normal(gm_stream_of(12, GM_PURPOSE_TEST, 1), j);
    }
    for (int c = 0; c < 3 * CASES; c++) {
        test_problem t;
        brute b;
        gm_step_model model;
        gm_step_options o;
        gm_step_prediction q;
        size_t m = 2;
        double eta = 0.4, mean, variance, a[MOST], along = 0, square = 0;
        test_problem_open(&t, &cases[c % CASES], GM_F64, 3, 0);
        brute_open(&t, &b);
        size_t p = t.p, n = b.n;
        assert_true(p <= MOST);
        gm_step_options_default(&o);
        o.divisor = b.divisor = c / CASES != 1 ? divisor : NULL;
        o.drift = b.drift = c / CASES != 2 ? drift : NULL;
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        for (int distinct = 0; distinct < 2; distinct++) {
            enumerate(&b, m, distinct, eta, &mean, &variance);
            expect_ok(gm_step_predict(&model, m, distinct, eta, &q, &err), &err);
            near(q.mean, mean, 1e-11 * (1 + fabs(mean)), "mean");
            near(q.variance, variance, 1e-11 * (1 + variance), "variance");
        }
        expect_ok(gm_step_predict(&model, m, false, eta, &q, &err), &err);
        double *w = b.work + p;
        for (size_t j = 0; j < p; j++) {
            double d = b.divisor ? divisor[j] : 1;
            w[j] = (b.mean[j] + (b.drift ? drift[j] : 0)) / d;
            for (size_t i = 0; i < n; i++) {
                b.row[i * p + j] = (b.row[i * p + j] - b.mean[j]) / d;
            }
        }
        for (size_t j = 0; j < p; j++) {
            a[j] = eta * eta * dot(p, b.hessian + j * p, w) - eta * b.mean[j];
        }
        for (size_t i = 0; i < n; i++) {
            double x = dot(p, a, b.row + i * p);
            along += x * x / (double)n;
            for (size_t l = 0; l < n; l++) {
                double entry = form(&b, b.row + i * p, b.row + l * p) / (double)n;
                square += entry * entry;
            }
        }
        double v = 0.5 * along + 0.5 * pow(eta, 4) * 0.25 * square;
        near(q.v, v, 1e-11 * (1 + v), "V");

        /* Draws at a step so small that the model's terms beyond the second are lost in the error
         * of the mean: within five standard errors. */
        gm_draw_options draw;
        double sum = 0, moment = 0;
        gm_draw_options_default(&draw);
        draw.batch = m;
        draw.step = 1e-3;
        draw.draws = DRAWS;
        draw.divisor = o.divisor;
        draw.drift = o.drift;
        expect_ok(gm_step_draw(t.problem, t.theta, &draw, delta, &err), &err);
        expect_ok(gm_step_predict(&model, m, false, draw.step, &q, &err), &err);
        for (size_t d = 0; d < DRAWS; d++) {
            sum += delta[d] / DRAWS;
            moment += delta[d] * delta[d] / DRAWS;
        }
        near(sum, q.mean, 5 * sqrt(q.variance / DRAWS), "mean of the draws");
        near(moment - sum * sum, q.variance, 0.25 * q.variance, "variance of the draws");
        gm_step_model_free(&model);
        brute_close(&b);
        test_problem_close(&t);
    }
}

/* The band of theory section 3.2 under Gaussian noise, a million draws of the exact law of Q
 * (and 100,000 for other nets): the
 * crossings on either side are never significantly more than e^-s (Clopper-Pearson, 99.99 %). */
static void band_over_a_million(void **state)
{
    (void)state;
    enum { DRAWS = 1000000, LEVELS = 6, MOST = 8 };
    const double levels[LEVELS] = {0.25, 0.5, 1, 2, 4, 8};
    gm_error err = {0};
    for (int c = 0; c < CASES; c++) {
        test_problem t;
        gm_step_model model;
        gm_step_options o;
        gm_step_prediction q;
        size_t over[LEVELS] = {0}, under[LEVELS] = {0};
        double eta = 1.5, kappa = 0.5, a[MOST], b[MOST], z[MOST], lower[LEVELS], upper[LEVELS];
        test_problem_open(&t, &cases[c], GM_F64, 0, 0);
        gm_step_options_default(&o);
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        expect_ok(gm_step_predict(&model, 2, false, eta, &q, &err), &err);
        size_t n = t.c->n;
        assert_true(n <= MOST);
        for (size_t j = 0; j < n; j++) {
            a[j] = sqrt(kappa) * (eta * eta * model.along[1][j] - eta * model.along[0][j]);
            b[j] = 0.5 * eta * eta * kappa * model.value[j];
        }
        for (int l = 0; l < LEVELS; l++) {
            gm_step_band(&q, levels[l], &lower[l], &upper[l]);
        }
        size_t draws = c == 0 ? DRAWS : DRAWS / 10;
        for (size_t d = 0; d < draws; d++) {
            double value = q.mean;
            gm_normal_fill(gm_stream_of(13, GM_PURPOSE_TEST, (uint32_t)c), d * n, n, z);
            for (size_t j = 0; j < n; j++) {
                value += a[j] * z[j] + b[j] * (z[j] * z[j] - 1);
            }
            for (int l = 0; l < LEVELS; l++) {
                over[l] += value > upper[l];
                under[l] += value < lower[l];
            }
        }
        for (int l = 0; l < LEVELS; l++) {
            double low, high;
            gm_clopper_pearson(over[l], draws, 0.9999, &low, &high);
            assert_true(low <= exp(-levels[l]));
            gm_clopper_pearson(under[l], draws, 0.9999, &low, &high);
            assert_true(low <= exp(-levels[l]));
        }
        /* The band is not so wide that nothing could cross it. */
        assert_true(over[0] > 100 && under[0] > 100 && over[2] + under[2] > 100);
        gm_step_model_free(&model);
        test_problem_close(&t);
    }
}

/* One to four samples, where terms of the variance without replacement have no batches to stand
 * for: every m up to n. */
static void few_samples(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case c = {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 1, 0.8};
    for (c.n = 1; c.n <= 4; c.n++) {
        test_problem t;
        brute b;
        gm_step_model model;
        gm_step_options o;
        test_problem_open(&t, &c, GM_F64, 0, 0);
        brute_open(&t, &b);
        gm_step_options_default(&o);
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        for (size_t m = 1; m <= c.n && m <= 3; m++) {
            gm_step_prediction q;
            double mean, variance;
            enumerate(&b, m, true, 2.0, &mean, &variance);
            expect_ok(gm_step_predict(&model, m, true, 2.0, &q, &err), &err);
            near(q.mean, mean, 1e-11 * (1 + fabs(mean)), "mean");
            near(q.variance, variance, 1e-11 * (1 + variance), "variance");
            if (m < c.n) assert_true(variance > 1e-6);
            if (m == c.n) assert_true(q.variance == 0 && q.v == 0);
        }
        gm_step_model_free(&model);
        brute_close(&b);
        test_problem_close(&t);
    }
}

/* V, lambda_+- and the law for Gaussian noise, from Sigma and H as matrices: V = a.Sigma_m a +
 * eta^4/2 tr(H Sigma_m H Sigma_m), and B = eta^2/2 Sigma_m^(1/2) H Sigma_m^(1/2) has the
 * eigenvalues of eta^2/2 kappa X H X^T / n, X the rows x_i. */
static void gaussian_noise(void **state)
{
    (void)state;
    gm_error err = {0};
    for (int c = 0; c < CASES; c++) {
        test_problem t;
        brute b;
        gm_step_model model;
        gm_step_options o;
        gm_step_prediction q;
        size_t m = 2;
        double eta = 0.7, kappa = 1.0 / (double)m;
        test_problem_open(&t, &cases[c], GM_F64, 0, 0);
        brute_open(&t, &b);
        size_t p = t.p, n = b.n;
        gm_step_options_default(&o);
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        expect_ok(gm_step_predict(&model, m, false, eta, &q, &err), &err);
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < p; j++) {
                b.row[i * p + j] -= b.mean[j];
            }
        }
        double *a = numbers(p), along = 0, square = 0;
        for (size_t j = 0; j < p; j++) {
            a[j] = eta * eta * dot(p, b.hessian + j * p, b.mean) - eta * b.mean[j];
        }
        for (size_t i = 0; i < n; i++) {
            double x = dot(p, a, b.row + i * p);
            along += x * x / (double)n;
            for (size_t l = 0; l < n; l++) {
                double entry = form(&b, b.row + i * p, b.row + l * p) / (double)n;
                square += entry * entry;
            }
        }
        double v = kappa * along + 0.5 * pow(eta, 4) * kappa * kappa * square;
        near(q.v, v, 1e-11 * (1 + v), "V");
        /* The largest and smallest of e . C e over many directions stay within the ends, and the
         * ends' own eigenvectors were found: sum of eigenvalues and of squares agree. */
        double trace = 0, squares = 0;
        for (size_t j = 0; j < n; j++) {
            trace += model.value[j];
            squares += model.value[j] * model.value[j];
            assert_true(j == 0 || model.value[j] <= model.value[j - 1]);
        }
        near(trace, model.trace.value, 1e-11, "trace");
        near(squares, square, 1e-11 * (1 + square), "Frobenius norm");
        near(q.lambda_plus, 0.5 * eta * eta * kappa * fmax(0, model.value[0]), 1e-14, "lambda+");
        near(q.lambda_minus, 0.5 * eta * eta * kappa * fmax(0, -model.value[n - 1]), 1e-14,
             "lambda-");

        /* Gaussian noise drawn here in the space of the parameters, xi = sqrt(kappa/n) sum z_i x_i:
         * quantiles and crossings of the band. 20,000 draws: the standard error of a frequency f
         * is sqrt(f (1 - f) / 20,000), five of them are allowed. */
        enum { DRAWS = 20000 };
        double levels[] = {0.01, 0.25, 0.5, 0.75, 0.99}, quantile[5], lower, upper, share[5] = {0};
        expect_ok(gm_step_quantiles(&model, m, false, eta, 200000, 3, 5, levels, quantile, &err),
                  &err);
        gm_step_band(&q, 3.0, &lower, &upper);
        double *z = numbers(n), *g = numbers(p), over = 0, under = 0, mean = 0;
        for (size_t d = 0; d < DRAWS; d++) {
            gm_normal_fill(gm_stream_of(9, GM_PURPOSE_TEST, 4), d * n, n, z);
            memcpy(g, b.mean, p * sizeof *g);
            for (size_t i = 0; i < n; i++) {
                for (size_t j = 0; j < p; j++) {
                    g[j] += sqrt(kappa / (double)n) * z[i] * b.row[i * p + j];
                }
            }
            double x = -eta * dot(p, b.mean, g) + 0.5 * eta * eta * form(&b, g, g);
            for (int l = 0; l < 5; l++) {
                share[l] += (x <= quantile[l]) / (double)DRAWS;
            }
            over += (x > upper) / (double)DRAWS;
            under += (x < lower) / (double)DRAWS;
            mean += x / DRAWS;
        }
        near(mean, q.mean, 5 * sqrt(q.v / DRAWS), "mean of the draws");
        for (int l = 0; l < 5; l++) {
            /* The quantiles are from 200,000 draws, an error of a third of that of the shares. */
            near(share[l], levels[l], 6 * sqrt(levels[l] * (1 - levels[l]) / DRAWS), "quantile");
        }
        assert_true(over <= exp(-3) && under <= exp(-3));
        assert_true(over + under > 0); /* a band that nothing crosses says nothing */
        gm_free(z);
        gm_free(g);
        gm_free(a);
        gm_step_model_free(&model);
        brute_close(&b);
        test_problem_close(&t);
    }
}

/* Estimates from all samples and many signs are the exact numbers; from few, they cover them. */
static void estimates_cover_the_exact_model(void **state)
{
    (void)state;
    gm_error err = {0};
    test_case large = {"mlp:5-6-3,act=tanh", {2, {5, 6, 3}, REF_TANH, true, false}, 200, 0.8};
    test_problem t;
    gm_step_model exact, model;
    gm_step_options o;
    test_problem_open(&t, &large, GM_F64, 0, 0);
    gm_step_options_default(&o);
    expect_ok(gm_step_model_make(t.lin, &o, &exact, &err), &err);
    o.exact_samples = 10;
    o.probes = 200;
    expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
    assert_false(model.exact);
    near(model.trace.value, exact.trace.value, 1e-11, "trace of all samples");
    near(model.fourth.value, exact.fourth.value, 1e-10, "fourth moment of all samples");
    near(model.third[0].value, exact.third[0].value, 1e-11, "third moment of all samples");
    near(model.third[1].value, exact.third[1].value, 1e-11, "third moment of all samples");
    /* Ends by Lanczos at 1e-3 of the larger: a Ritz value's error is of second order. */
    near(model.lambda_max, exact.lambda_max, 1e-3 * fabs(exact.lambda_max), "largest");
    near(model.lambda_min, exact.lambda_min, 1e-3 * fabs(exact.lambda_max), "smallest");
    gm_step_model_free(&model);

    /* 95 % intervals over 200 seeds: at least 178 hits, four standard deviations (3.1) below 190.
     */
    size_t hits[3] = {0}, within[3] = {0};
    double sum = 0, squares = 0, off = 0, away = 0;
    o.probes = 40;
    for (uint64_t seed = 0; seed < 200; seed++) {
        o.seed = seed;
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        off += model.trace.value - exact.trace.value;
        away += pow(model.trace.value - exact.trace.value, 2);
        hits[0] += fabs(model.trace.value - exact.trace.value) <= model.trace.half_width;
        hits[1] += fabs(model.frobenius_square.value - exact.frobenius_square.value) <=
                   model.frobenius_square.half_width;
        hits[2] += fabs(model.fourth.value - exact.fourth.value) <= model.fourth.half_width;
        gm_step_prediction truth, q;
        for (int without = 0; without < 2; without++) {
            expect_ok(gm_step_predict(&exact, 8, without, 0.5, &truth, &err), &err);
            expect_ok(gm_step_predict(&model, 8, without, 0.5, &q, &err), &err);
            within[without] += fabs(q.variance - truth.variance) <= 2 * q.variance_error;
        }
        within[2] += fabs(q.v - truth.v) <= 2 * q.v_error;
        sum += model.fourth.value;
        squares += model.fourth.value * model.fourth.value;
        gm_step_model_free(&model);
    }
    assert_true(hits[0] >= 178 && hits[1] >= 178);
    assert_true(within[0] >= 178 && within[1] >= 178 && within[2] >= 178);
    /* No side is favoured: the mean error is within 4 standard errors of zero. */
    near(off / 200, 0, 4 * sqrt(away) / 200, "mean error of the trace");
    /* d_i^2 is heavy-tailed: 40 of its 200 values miss the few large ones too often for a Student
     * interval, three of four cover. Its mean over the seeds is right. */
    double mean = sum / 200, spread = sqrt(squares / 200 - mean * mean);
    assert_true(hits[2] >= 130);
    near(mean, exact.fourth.value, 4 * spread / sqrt(200.0), "mean of the fourth moments");
    gm_step_model_free(&exact);
    test_problem_close(&t);
}

/* Delta of single-sample batches takes one of n values, each computed here by gm_problem_value; the
 * draws' frequencies are binomial. */
static void draws_are_steps(void **state)
{
    (void)state;
    gm_error err = {0};
    enum { DRAWS = 4000 };
    test_problem t;
    gm_draw_options o;
    test_problem_open(&t, &cases[0], GM_F64, 0, 0);
    size_t p = t.p, n = t.c->n;
    double *row = numbers(n * p), *moved = numbers(p), *value = numbers(n), *delta = numbers(DRAWS);
    double before;
    ref_gradients(&t.c->ref, t.theta, &t.ref, row);
    expect_ok(gm_problem_value(t.problem, t.theta, &before, NULL, &err), &err);
    gm_draw_options_default(&o);
    o.step = 0.3;
    o.draws = DRAWS;
    o.seed = 5;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < p; j++) {
            moved[j] = t.theta[j] - o.step * row[i * p + j];
        }
        expect_ok(gm_problem_value(t.problem, moved, &value[i], NULL, &err), &err);
        value[i] -= before;
    }
    expect_ok(gm_step_draw(t.problem, t.theta, &o, delta, &err), &err);
    for (size_t i = 0; i < n; i++) {
        size_t count = 0;
        for (size_t d = 0; d < DRAWS; d++) {
            count += fabs(delta[d] - value[i]) < 1e-12;
        }
        /* n = 8: 500 expected, standard deviation 21. */
        near((double)count, DRAWS / (double)n, 5 * sqrt(DRAWS / (double)n), "frequency");
    }
    /* A run with the same seed draws other batches: theta may be its parameters, and a batch that
     * made them is not fresh. As good as independent, one of n = 8 agrees. */
    gm_sampler *sampler;
    size_t same = 0;
    expect_ok(gm_sampler_create(n, 1, GM_REPLACEMENT_YES, o.seed, o.run, &sampler, &err), &err);
    for (size_t d = 0; d < DRAWS; d++) {
        size_t i;
        gm_sampler_draw(sampler, d, &i);
        same += fabs(delta[d] - value[i]) < 1e-12;
    }
    gm_sampler_free(sampler);
    near((double)same, DRAWS / (double)n, 5 * sqrt(DRAWS / (double)n), "batches of a run");
    o.replacement = GM_REPLACEMENT_EPOCH;
    assert_int_equal(gm_step_draw(t.problem, t.theta, &o, delta, &err), GM_ERR_USAGE);
    o.replacement = GM_REPLACEMENT_NO;
    o.batch = n; /* the whole set: no noise */
    expect_ok(gm_step_draw(t.problem, t.theta, &o, delta, &err), &err);
    for (size_t d = 1; d < DRAWS; d++) {
        near(delta[d], delta[0], 1e-12, "the whole set");
    }
    gm_step_model model;
    gm_step_options mo;
    gm_step_prediction q;
    gm_step_options_default(&mo);
    expect_ok(gm_step_model_make(t.lin, &mo, &model, &err), &err);
    expect_ok(gm_step_predict(&model, n, true, 0.3, &q, &err), &err);
    assert_true(q.v == 0 && q.lambda_plus == 0 && q.lambda_minus == 0);
    assert_int_equal(gm_step_predict(&model, n + 1, true, 0.3, &q, &err), GM_ERR_USAGE);
    assert_int_equal(gm_step_predict(&model, 0, false, 0.3, &q, &err), GM_ERR_USAGE);
    assert_int_equal(gm_step_predict(&model, 1, false, 0.0, &q, &err), GM_ERR_USAGE);
    assert_int_equal(gm_step_predict(&model, 1, false, (double)NAN, &q, &err), GM_ERR_USAGE);
    gm_step_model_free(&model);
    gm_free(row);
    gm_free(moved);
    gm_free(value);
    gm_free(delta);
    test_problem_close(&t);
}

/* Steps that leave the range of the numbers, in single precision long before double does: such a
 * draw is infinite, never an error and never NaN, beside draws that are finite. */
static void overflowing_steps(void **state)
{
    (void)state;
    gm_error err = {0};
    enum { DRAWS = 50 };
    const double steps[] = {1e10, 1e30, 1e39, 1e60, 1e150, 1e307};
    double delta[DRAWS];
    for (int narrow = 0; narrow < 2; narrow++) {
        test_problem t;
        gm_draw_options o;
        size_t infinite = 0, finite = 0;
        test_problem_open(&t, &cases[1], narrow ? GM_F32 : GM_F64, 0, 0);
        gm_draw_options_default(&o);
        o.draws = DRAWS;
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            o.step = steps[s];
            expect_ok(gm_step_draw(t.problem, t.theta, &o, delta, &err), &err);
            for (size_t d = 0; d < DRAWS; d++) {
                assert_true(isfinite(delta[d]) || delta[d] == (double)INFINITY);
                infinite += !isfinite(delta[d]);
                finite += isfinite(delta[d]);
            }
        }
        assert_true(infinite >= DRAWS && finite >= DRAWS);
        test_problem_close(&t);
    }
}

/* A fitted net: gradients and H near 1e-26, H g near 1e-52. Single precision, whose range ends at
 * 1e-45, gives the numbers of double precision to its rounding, a few 1e-6 of gradients and H. */
static void fitted_net(void **state)
{
    (void)state;
    gm_error err = {0};
    const test_case c = {"mlp:3-2,act=identity", {1, {3, 2}, REF_IDENTITY, true, false}, 6, 1};
    gm_step_model model[2];
    for (int narrow = 0; narrow < 2; narrow++) {
        test_problem t;
        gm_step_options o;
        gm_error ignored = {0};
        test_problem_open(&t, &c, narrow ? GM_F32 : GM_F64, 0, 0);
        gm_linearization_free(t.lin);
        t.lin = NULL;
        /* One class for all samples and biases that are sure of it. */
        for (size_t i = 0; i < c.n; i++) {
            t.data->label[i] = 0;
        }
        for (size_t j = 0; j < t.p; j++) {
            t.theta[j] = (double)(float)(0.3 * t.theta[j]);
        }
        t.theta[t.p - 2] = 60;
        t.theta[t.p - 1] = 0;
        expect_ok(gm_linearize(t.problem, t.theta, &t.lin, &ignored), &ignored);
        gm_step_options_default(&o);
        expect_ok(gm_step_model_make(t.lin, &o, &model[narrow], &err), &err);
        test_problem_close(&t);
    }
    const gm_step_model *wide = &model[0], *single = &model[1];
    assert_true(wide->trace.value > 0 && wide->trace.value < 1e-60);
    near(single->trace.value, wide->trace.value, 1e-4 * wide->trace.value, "trace");
    near(single->bend, wide->bend, 1e-4 * wide->bend, "curvature along the gradient");
    near(single->lambda_max, wide->lambda_max, 1e-4 * wide->lambda_max, "largest eigenvalue");
    near(single->noise[1], wide->noise[1], 1e-4 * fabs(wide->noise[1]), "noise");
    gm_step_model_free(&model[0]);
    gm_step_model_free(&model[1]);
}

/* Without noise (one sample; a net without classes to choose from) the estimates are zeros. */
static void no_noise(void **state)
{
    (void)state;
    gm_error err = {0};
    const test_case none[] = {
        {"mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 1, 0.8},
        {"mlp:3-1,act=tanh", {1, {3, 1}, REF_TANH, true, false}, 2, 0.8},
        {"mlp:3-1,act=tanh", {1, {3, 1}, REF_TANH, true, false}, 5, 0.8},
    };
    for (int c = 0; c < 3; c++) {
        test_problem t;
        gm_step_model model;
        gm_step_options o;
        gm_step_prediction q;
        test_problem_open(&t, &none[c], GM_F64, 0, 0);
        gm_step_options_default(&o);
        o.exact_samples = 0;
        expect_ok(gm_step_model_make(t.lin, &o, &model, &err), &err);
        for (int without = 0; without < 2; without++) {
            expect_ok(gm_step_predict(&model, 1, without, 0.1, &q, &err), &err);
            assert_true(q.v == 0 && q.variance == 0 && q.mean_error == 0);
            assert_true(q.lambda_plus == 0 && q.lambda_minus == 0 && isfinite(q.mean));
        }
        gm_step_model_free(&model);
        test_problem_close(&t);
    }
}

/* P(X >= k) by its definition. */
static double at_least(size_t k, size_t n, double p)
{
    double sum = 0;
    for (size_t i = k; i <= n; i++) {
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) +
                   (double)i * log(p) + (double)(n - i) * log1p(-p));
    }
    return sum;
}

static void intervals_by_definition(void **state)
{
    (void)state;
    double low, high;
    const size_t trials[] = {1, 10, 1000};
    for (int i = 0; i < 3; i++) {
        for (size_t k = 0; k <= trials[i]; k += 1 + trials[i] / 7) {
            gm_clopper_pearson(k, trials[i], 0.95, &low, &high);
            if (k == 0) assert_true(low == 0);
            if (k > 0) near(at_least(k, trials[i], low), 0.025, 1e-10, "lower end");
            if (k == trials[i]) assert_true(high == 1);
            if (k < trials[i]) near(at_least(k + 1, trials[i], high), 0.975, 1e-10, "upper end");
        }
    }
    /* Closed forms: no success in n trials has the upper end 1 - 0.025^(1/n). */
    gm_clopper_pearson(0, 1000000, 0.95, &low, &high);
    near(high, -expm1(log(0.025) / 1e6), 1e-15, "a million trials");
    gm_clopper_pearson(10, 10, 0.95, &low, &high);
    near(low, pow(0.025, 0.1), 1e-12, "all of ten");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_batch),
        cmocka_unit_test(few_samples),
        cmocka_unit_test(gaussian_noise),
        cmocka_unit_test(estimates_cover_the_exact_model),
        cmocka_unit_test(draws_are_steps),
        cmocka_unit_test(other_steps),
        cmocka_unit_test(band_over_a_million),
        cmocka_unit_test(overflowing_steps),
        cmocka_unit_test(fitted_net),
        cmocka_unit_test(no_noise),

        cmocka_unit_test(intervals_by_definition),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "one step");
}
