/* One step of SGD: the model against brute force over every mini-batch of a small set, with
 * gradients and Hessian of a second implementation (reference.h).
 *
 * Tolerances: in double both sides are sums of at most p^2 n terms, 1e-11 relative to the sum's
 * largest parts. */
#include "step_case.h"

#include <string.h>

#include "gradiometer/dynamics.h"
#include "problems.h"

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
    for (int c = 0; c < STEP_CASES; c++) {
        test_problem t;
        brute b;
        gm_step_model model;
        gm_step_options o;
        test_problem_open(&t, &step_cases[c], GM_F64, 3, 0);
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
    for (int c = 0; c < 3 * STEP_CASES; c++) {
        test_problem t;
        brute b;
        gm_step_model model;
        gm_step_options o;
        gm_step_prediction q;
        size_t m = 2;
        double eta = 0.4, mean, variance, a[MOST], along = 0, square = 0;
        test_problem_open(&t, &step_cases[c % STEP_CASES], GM_F64, 3, 0);
        brute_open(&t, &b);
        size_t p = t.p, n = b.n;
        assert_true(p <= MOST);
        gm_step_options_default(&o);
        o.divisor = b.divisor = c / STEP_CASES != 1 ? divisor : NULL;
        o.drift = b.drift = c / STEP_CASES != 2 ? drift : NULL;
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
    for (int c = 0; c < STEP_CASES; c++) {
        test_problem t;
        gm_step_model model;
        gm_step_options o;
        gm_step_prediction q;
        size_t over[LEVELS] = {0}, under[LEVELS] = {0};
        double eta = 1.5, kappa = 0.5, a[MOST], b[MOST], z[MOST], lower[LEVELS], upper[LEVELS];
        test_problem_open(&t, &step_cases[c], GM_F64, 0, 0);
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
    for (int c = 0; c < STEP_CASES; c++) {
        test_problem t;
        brute b;
        gm_step_model model;
        gm_step_options o;
        gm_step_prediction q;
        size_t m = 2;
        double eta = 0.7, kappa = 1.0 / (double)m;
        test_problem_open(&t, &step_cases[c], GM_F64, 0, 0);
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_batch),         cmocka_unit_test(few_samples),
        cmocka_unit_test(gaussian_noise),      cmocka_unit_test(other_steps),
        cmocka_unit_test(band_over_a_million),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "one step");
}
