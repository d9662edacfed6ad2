/* Ensembles on quadratics, where the law of SGD is known: linear regression with squared loss. Each
 * batch B moves theta to theta - eta (H_B theta - b_B), so that the mean and the second moment of
 * theta_t over runs follow from those of step t - 1 by enumeration of the batches. Ensembles of
 * thousands of runs must agree within their own standard errors. */
#include <math.h>

#include "support.h"
/* after cmocka */
#include "ensemble_case.h"
#include "sgd_case.h"

/* The seeds are fixed, so that these cannot fail by chance once they have passed. 5 standard errors
 * are exceeded with probability 6e-7 for normal means; some hundred are compared. */
static const double sigmas = 5.0;

enum { D = 2, N = 8, STEPS = 40, RUNS = GM_TEST_SIZE(4000, 400) };

/* Mean u and second moment s of theta, and the quadratic f = theta.H theta/2 - b.theta + c. */
typedef struct law {
    double u[D], s[D][D];
} law;

typedef struct quadratic {
    double h[D][D], b[D], c;
} quadratic;

/* The quadratic of the samples index[m]. */
static quadratic of_batch(const sgd_case *p, size_t m, const size_t *index)
{
    quadratic q = {0};
    for (size_t k = 0; k < m; k++) {
        const double *x = p->x + index[k] * D;
        double y = p->y[index[k]];
        for (int i = 0; i < D; i++) {
            for (int j = 0; j < D; j++) {
                q.h[i][j] += x[i] * x[j] / (double)m;
            }
            q.b[i] += y * x[i] / (double)m;
        }
        q.c += 0.5 * y * y / (double)m;
    }
    return q;
}

/* next += weight * law of A theta + eta b, A = I - eta H. */
static void join(const law *now, const quadratic *q, double eta, double weight, law *next)
{
    double a[D][D], v[D], au[D] = {0};
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++) {
            a[i][j] = (i == j) - eta * q->h[i][j];
            au[i] += a[i][j] * now->u[j];
        }
        v[i] = eta * q->b[i];
        next->u[i] += weight * (au[i] + v[i]);
    }
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++) {
            double sum = au[i] * v[j] + v[i] * au[j] + v[i] * v[j];
            for (int k = 0; k < D; k++) {
                for (int l = 0; l < D; l++) {
                    sum += a[i][k] * now->s[k][l] * a[j][l];
                }
            }
            next->s[i][j] += weight * sum;
        }
    }
}

/* E f and E |H theta - b|^2. */
static void expect(const law *now, const quadratic *q, double *loss, double *square)
{
    *loss = q->c;
    *square = 0;
    for (int i = 0; i < D; i++) {
        *loss -= q->b[i] * now->u[i];
        *square += q->b[i] * q->b[i];
        for (int j = 0; j < D; j++) {
            *loss += 0.5 * q->h[i][j] * now->s[i][j];
            *square -= 2 * q->b[i] * q->h[i][j] * now->u[j];
            for (int k = 0; k < D; k++) {
                *square += q->h[k][i] * q->h[k][j] * now->s[i][j];
            }
        }
    }
}

static law step(const sgd_case *p, const law *now, double eta, bool without)
{
    law next = {0};
    double batches = without ? N * (N - 1) : N * N;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++) {
            if (without && i == j) continue;
            quadratic q = of_batch(p, 2, (const size_t[]){i, j});
            join(now, &q, eta, 1 / batches, &next);
        }
    }
    return next;
}

static void agree(const gm_ensemble *e, gm_quantity quantity, size_t t, double expected)
{
    gm_ensemble_summary s;
    assert_int_equal(gm_ensemble_summarize(e, quantity, t, &s, NULL), GM_OK);
    assert_int_equal(s.count, RUNS);
    /* At step 0 all runs have one value, to rounding. */
    assert_at_most(fabs(s.mean - expected), sigmas * s.stderror + 1e-13 * (1 + fabs(expected)),
                   "%s at step %zu: %g +- %g, expected %g", gm_quantity_name(quantity), t, s.mean,
                   s.stderror, expected);
}

static void test_moments(void **state)
{
    (void)state;
    const double eta = 0.15, start[D] = {2.0, -1.5};
    for (int without = 0; without < 2; without++) {
        sgd_case p;
        gm_error err = {0};
        expect_ok(sgd_case_open(&p, N, D, NULL, GM_F64, &err), &err);
        gm_ensemble_options o;
        gm_ensemble_options_default(&o);
        o.runs = RUNS;
        o.train.steps = STEPS;
        o.train.batch = 2;
        o.train.step = eta;
        o.train.replacement = without ? GM_REPLACEMENT_NO : GM_REPLACEMENT_YES;
        o.record |= 1u << GM_QUANTITY_GRADIENT_SQUARE;
        o.record_every = o.gradient_every = 1;
        gm_ensemble *e = NULL;
        expect_ok(gm_ensemble_create(p.problem, NULL, &o, start, &e, &err), &err);
        expect_ok(gm_ensemble_run(e, NULL, &err), &err);

        const size_t all[N] = {0, 1, 2, 3, 4, 5, 6, 7};
        quadratic whole = of_batch(&p, N, all);
        law now = {.u = {start[0], start[1]}};
        for (int i = 0; i < D * D; i++) {
            now.s[i / D][i % D] = start[i / D] * start[i % D];
        }
        double before = 0;
        for (size_t t = 0; t <= STEPS; t++) {
            double loss, square;
            expect(&now, &whole, &loss, &square);
            agree(e, GM_QUANTITY_LOSS, t, loss);
            agree(e, GM_QUANTITY_GRADIENT_SQUARE, t, square);
            if (t > 0) agree(e, GM_QUANTITY_DELTA, t - 1, loss - before);
            before = loss;
            now = step(&p, &now, eta, without);
        }
        gm_ensemble_free(e);
        sgd_case_close(&p);
    }
}

/* One weight, all inputs c: H = lambda = c^2 for every batch, and the noise of a batch of m is
 * additive with variance sigma^2 = c^2 var(y)/m, close to Gaussian. Then theta_t has mean theta* +
 * (1 - eta lambda)^t (theta_0 - theta*), and in the end variance eta sigma^2 / (lambda (2 - eta
 * lambda)). */
static void test_stationary(void **state)
{
    (void)state;
    enum { SAMPLES = 50, M = 12, LONG = 120 };
    const double c = 1.3, eta = 0.2, lambda = c * c, start = 4.0;
    double x[SAMPLES], y[SAMPLES], mean_y = 0, var_y = 0;
    gm_normal_fill(gm_stream_of(9, GM_PURPOSE_TEST, 0), 0, SAMPLES, y);
    for (int i = 0; i < SAMPLES; i++) {
        x[i] = c;
        mean_y += y[i] / SAMPLES;
    }
    for (int i = 0; i < SAMPLES; i++) {
        var_y += (y[i] - mean_y) * (y[i] - mean_y) / SAMPLES;
    }
    gm_error err = {0};
    gm_shape shape = {.rank = 1, .dim = {1}};
    gm_net *net = NULL;
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_problem_options po;
    gm_problem_options_default(&po);
    po.loss = GM_LOSS_SQUARED;
    expect_ok(gm_net_from_spec("mlp:1-1,bias=no", &shape, 0, &net, &err), &err);
    expect_ok(gm_data_from_arrays("line", SAMPLES, &shape, x, NULL, y, 1, GM_F64, 0, &data, &err),
              &err);
    expect_ok(gm_problem_create(net, data, &po, &problem, &err), &err);

    uint32_t *keep = calloc(RUNS, sizeof *keep);
    for (uint32_t r = 0; r < RUNS; r++) {
        keep[r] = r;
    }
    gm_ensemble_options o;
    gm_ensemble_options_default(&o);
    o.runs = RUNS;
    o.train.batch = M;
    o.train.step = eta;
    o.keep = keep;
    o.keeps = RUNS;
    /* In the end no memory of the start is left: (1 - eta lambda)^120 = 2e-22. */
    static const uint64_t lengths[] = {1, 3, LONG};
    for (int l = 0; l < 3; l++) {
        o.train.steps = lengths[l];
        gm_ensemble *e = NULL;
        expect_ok(gm_ensemble_create(problem, NULL, &o, &start, &e, &err), &err);
        expect_ok(gm_ensemble_run(e, NULL, &err), &err);
        double fade = pow(1 - eta * lambda, (double)lengths[l]), sigma2 = lambda * var_y / M;
        double mean = mean_y / c + fade * (start - mean_y / c);
        double variance = eta * sigma2 / (lambda * (2 - eta * lambda)) * (1 - fade * fade);
        double sum = 0, square = 0, fourth = 0;
        for (size_t r = 0; r < RUNS; r++) {
            sum += *gm_ensemble_kept_theta(e, r) / RUNS;
        }
        for (size_t r = 0; r < RUNS; r++) {
            double away = *gm_ensemble_kept_theta(e, r) - sum;
            square += away * away / (RUNS - 1);
            fourth += pow(away, 4) / RUNS;
        }
        assert_at_most(fabs(sum - mean), sigmas * sqrt(variance / RUNS), "mean of theta");
        assert_at_most(fabs(square - variance), sigmas * sqrt((fourth - square * square) / RUNS),
                       "variance of theta");
        gm_ensemble_summary s;
        assert_int_equal(
            gm_ensemble_summarize(e, GM_QUANTITY_LOSS, gm_ensemble_steps(e) - 1, &s, NULL), GM_OK);
        double away = mean - mean_y / c;
        double loss = 0.5 * var_y + 0.5 * lambda * (variance + away * away);
        assert_at_most(fabs(s.mean - loss), sigmas * s.stderror, "loss");
        gm_ensemble_free(e);
    }
    free(keep);
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_moments),
                                       cmocka_unit_test(test_stationary)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "ensemble_quadratic");
}
