/* Runs of SGD as plain loops, for tests of ensembles: nothing of src/dynamics in them, batches
 * drawn from the documented streams by hand. */
#ifndef GM_TESTS_ENSEMBLE_CASE_H
#define GM_TESTS_ENSEMBLE_CASE_H

#include <math.h>

#include "gradiometer/ensemble.h"
#include "problems.h"

/* Values of every quantity at steps 0 ... T of one run, [GM_QUANTITIES][T + 1]; NaN where it has
 * none. */
typedef struct plain_run {
    size_t steps, p;
    double *value, *theta;
} plain_run;

static inline double *plain_at(const plain_run *r, gm_quantity q, size_t t)
{
    return &r->value[(size_t)q * (r->steps + 1) + t];
}

static inline void plain_free(plain_run *r)
{
    free(r->value);
    free(r->theta);
}

/* Batch of step t of run: with replacement, or the first m of a Fisher-Yates shuffle. */
static inline void plain_batch(const gm_train_options *o, uint32_t run, size_t n, uint64_t t,
                               size_t *index)
{
    gm_stream stream = gm_stream_of(o->seed, GM_PURPOSE_BATCH, run);
    size_t *order = calloc(n, sizeof *order);
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
    }
    for (size_t j = 0; j < o->batch; j++) {
        bool with = o->replacement == GM_REPLACEMENT_YES;
        uint64_t drawn = gm_below(stream, t * o->batch + j, with ? n : n - j);
        size_t at = with ? (size_t)drawn : j + (size_t)drawn;
        index[j] = order[at];
        if (with) continue;
        order[at] = order[j];
        order[j] = index[j];
    }
    free(order);
}

/* Gradient over the samples index[m], as that of a data set of them. */
static inline void plain_gradient(gm_problem *problem, const double *theta, size_t m,
                                  const size_t *index, double *gradient)
{
    gm_error err;
    gm_dataset *part = NULL;
    gm_problem *of_part = NULL;
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = gm_problem_loss(problem);
    expect_ok(gm_dataset_select(gm_problem_data(problem), m, index, "part", &part, &err), &err);
    expect_ok(gm_problem_create(gm_problem_net(problem), part, &options, &of_part, &err), &err);
    expect_ok(gm_problem_gradient(of_part, theta, NULL, NULL, gradient, &err), &err);
    gm_problem_free(of_part);
    gm_dataset_free(part);
}

static inline double plain_dot(size_t p, const double *x, const double *y)
{
    double sum = 0;
    for (size_t i = 0; i < p; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

static inline double plain_cosine(size_t p, const double *x, const double *y)
{
    return plain_dot(p, x, y) / sqrt(plain_dot(p, x, x) * plain_dot(p, y, y));
}

/* tr Sigma from the gradients of single samples. */
static inline double plain_trace(gm_problem *problem, const double *theta, const double *mu)
{
    size_t n = gm_problem_data(problem)->n, p = gm_problem_parameters(problem);
    double *g = calloc(p, sizeof *g), sum = 0;
    for (size_t i = 0; i < n; i++) {
        plain_gradient(problem, theta, 1, &i, g);
        for (size_t j = 0; j < p; j++) {
            sum += (g[j] - mu[j]) * (g[j] - mu[j]);
        }
    }
    free(g);
    return sum / (double)n;
}

/* SGD with momentum and weight decay from start [p]; test may be NULL. */
static inline plain_run plain_sgd(gm_problem *problem, gm_problem *test, const gm_train_options *o,
                                  uint32_t run, const double *start)
{
    size_t p = gm_problem_parameters(problem), n = gm_problem_data(problem)->n;
    plain_run r = {.steps = (size_t)o->steps, .p = p};
    gm_error err;
    r.value = calloc(GM_QUANTITIES * (r.steps + 1), sizeof *r.value);
    r.theta = calloc(p, sizeof *r.theta);
    double *g = calloc(p, sizeof *g), *last = calloc(p, sizeof *g), *mu = calloc(p, sizeof *mu);
    double *velocity = calloc(p, sizeof *velocity), *away = calloc(p, sizeof *away);
    size_t *index = calloc(o->batch, sizeof *index);
    memcpy(r.theta, start, p * sizeof *start);
    for (size_t i = 0; i < GM_QUANTITIES * (r.steps + 1); i++) {
        r.value[i] = (double)NAN;
    }
    for (size_t t = 0; t <= r.steps; t++) {
        double *loss = plain_at(&r, GM_QUANTITY_LOSS, t);
        expect_ok(gm_problem_gradient(problem, r.theta, loss, plain_at(&r, GM_QUANTITY_ERROR, t),
                                      mu, &err),
                  &err);
        if (test)
            expect_ok(gm_problem_value(test, r.theta, NULL, plain_at(&r, GM_QUANTITY_TEST_ERROR, t),
                                       &err),
                      &err);
        for (size_t j = 0; j < p; j++) {
            away[j] = r.theta[j] - start[j];
        }
        *plain_at(&r, GM_QUANTITY_DISTANCE, t) = sqrt(plain_dot(p, away, away));
        *plain_at(&r, GM_QUANTITY_GRADIENT_SQUARE, t) = plain_dot(p, mu, mu);
        *plain_at(&r, GM_QUANTITY_NOISE_TRACE, t) = plain_trace(problem, r.theta, mu);
        if (t > 0)
            *plain_at(&r, GM_QUANTITY_DELTA, t - 1) =
                *loss - *plain_at(&r, GM_QUANTITY_LOSS, t - 1);
        if (t == r.steps) break;
        plain_batch(o, run, n, t, index);
        plain_gradient(problem, r.theta, o->batch, index, g);
        if (t > 0) *plain_at(&r, GM_QUANTITY_COSINE, t - 1) = plain_cosine(p, last, g);
        *plain_at(&r, GM_QUANTITY_MEAN_COSINE, t) = plain_cosine(p, mu, g);
        memcpy(last, g, p * sizeof *g);
        for (size_t j = 0; j < p; j++) {
            velocity[j] = o->momentum * velocity[j] + g[j] + o->weight_decay * r.theta[j];
            r.theta[j] -= o->step * velocity[j];
        }
    }
    free(g);
    free(last);
    free(mu);
    free(velocity);
    free(away);
    free(index);
    return r;
}

#endif
