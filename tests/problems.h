/* Small problems for tests: a net, random data and parameters, in the library and in the reference.
 */
#ifndef GM_TESTS_PROBLEMS_H
#define GM_TESTS_PROBLEMS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gradiometer/curvature.h"
#include "gradiometer/random.h"
#include "reference.h"

typedef struct test_case {
    const char *spec;
    ref_net ref;
    size_t n;
    double scale; /* of the parameters' standard deviation, biases too: away from kinks */
} test_case;

typedef struct test_problem {
    const test_case *c;
    size_t p;
    double *x, *theta, *target;
    int32_t *label;
    ref_data ref;
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    gm_linearization *lin;
} test_problem;

static inline void expect_ok(gm_status status, const gm_error *err)
{
    if (status != GM_OK) fail_msg("%s: %s", gm_status_text(status), err->message);
}

/* Random x, labels (classes cycle) and targets, theta ~ scale * N(0, 1). */
static inline void test_problem_open(test_problem *t, const test_case *c, gm_dtype dtype,
                                     size_t chunk, size_t memory)
{
    gm_error err = {0};
    size_t in = c->ref.width[0], outputs = c->ref.width[c->ref.layers];
    gm_shape shape = {.rank = 1, .dim = {in}};
    *t = (test_problem){.c = c, .p = ref_parameters(&c->ref)};
    t->x = calloc(c->n * in, sizeof *t->x);
    t->theta = calloc(t->p, sizeof *t->theta);
    t->label = calloc(c->n, sizeof *t->label);
    t->target = calloc(c->n * outputs, sizeof *t->target);
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, c->n * in, t->x);
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 1), 0, t->p, t->theta);
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 2), 0, c->n * outputs, t->target);
    for (size_t j = 0; j < t->p; j++) {
        t->theta[j] *= c->scale;
    }
    for (size_t i = 0; i < c->n; i++) {
        t->label[i] = (int32_t)(i % outputs);
    }
    for (size_t i = 0; dtype == GM_F32 && i < c->n * in; i++) {
        t->x[i] = (double)(float)t->x[i]; /* what the library will see */
    }
    bool squared = c->ref.squared;
    t->ref = (ref_data){c->n, t->x, squared ? NULL : t->label, squared ? t->target : NULL};
    expect_ok(gm_net_from_spec(c->spec, &shape, 0, &t->net, &err), &err);
    expect_ok(gm_data_from_arrays("test", c->n, &shape, t->x, t->ref.label, t->ref.target,
                                  squared ? outputs : 0, dtype, outputs, &t->data, &err),
              &err);
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = squared ? GM_LOSS_SQUARED : GM_LOSS_CROSS_ENTROPY;
    options.chunk = chunk;
    options.memory = memory;
    expect_ok(gm_problem_create(t->net, t->data, &options, &t->problem, &err), &err);
    assert_int_equal(gm_problem_parameters(t->problem), t->p);
    expect_ok(gm_linearize(t->problem, t->theta, &t->lin, &err), &err);
}

static inline void test_problem_close(test_problem *t)
{
    gm_linearization_free(t->lin);
    gm_problem_free(t->problem);
    gm_dataset_free(t->data);
    gm_net_free(t->net);
    free(t->x);
    free(t->theta);
    free(t->label);
    free(t->target);
}

static inline double norm_of(size_t n, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    return sqrt(sum);
}

/* ||a - b|| / ||b||, NaN propagates. */
static inline double relative_error(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    }
    double norm = norm_of(n, b);
    return norm > 0 ? sqrt(sum) / norm : sqrt(sum);
}

/* Fails, naming the case, unless value <= bound (NaN fails). */
#define assert_at_most(value, bound, ...)                                                          \
    do {                                                                                           \
        double value_ = (value), bound_ = (bound);                                                 \
        if (!(value_ <= bound_)) {                                                                 \
            print_error(__VA_ARGS__);                                                              \
            fail_msg(": %s = %.3g > %.3g", #value, value_, bound_);                                \
        }                                                                                          \
    } while (0)

#endif
