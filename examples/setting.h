/* What the examples share, so that each is about its own subject: a small net on data of a spec,
 * linearized, and numbers printed beside what they should be. net_spectrum.c does the same with
 * arrays, step by step. */
#ifndef EXAMPLES_SETTING_H
#define EXAMPLES_SETTING_H

#include <gradiometer/gradiometer.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct setting {
    gm_dataset *data;
    gm_net *net;
    gm_problem *problem;
    size_t p;      /* parameters */
    double *theta; /* [p] He initialization, seed 0 */
} setting;

/* model and data are specs as on the command line, "mlp:6-5-3" and "gauss:k=3,d=6,n=60". */
static inline gm_status setting_open(const char *model, const char *data, setting *s, gm_error *err)
{
    gm_data_options options;
    gm_problem_options problem;
    *s = (setting){0};
    gm_data_options_default(&options);
    gm_problem_options_default(&problem);
    gm_status status = gm_selftest(err); /* of this machine's matrix kernels, once in a program */
    if (!status) status = gm_data_load(data, &options, &s->data, err);
    if (!status) status = gm_net_from_spec(model, &s->data->shape, s->data->classes, &s->net, err);
    if (!status) status = gm_problem_create(s->net, s->data, &problem, &s->problem, err);
    if (status) return status;
    s->p = gm_net_parameters(s->net);
    s->theta = malloc(s->p * sizeof *s->theta);
    if (!s->theta) return gm_fail(err, GM_ERR_MEMORY, "no memory for %zu parameters", s->p);
    gm_net_init(s->net, GM_INIT_HE, 0, 0, s->theta);
    return GM_OK;
}

/* Accepts what a failure left. */
static inline void setting_close(setting *s)
{
    gm_problem_free(s->problem);
    gm_net_free(s->net);
    gm_dataset_free(s->data);
    free(s->theta);
}

/* Trains theta for so many steps of plain SGD, recorded nowhere. */
static inline gm_status setting_train(setting *s, uint64_t steps, size_t batch, double step,
                                      gm_error *err)
{
    gm_train_options options;
    gm_train_result result;
    gm_train_options_default(&options);
    options.steps = steps;
    options.batch = batch;
    options.step = step;
    return gm_train(s->problem, NULL, &options, NULL, NULL, s->theta, &result, err);
}

static bool all_agree = true;

/* A number beside what it should be; allowed: how far apart the two may be. */
static inline void agree(const char *what, double found, double expected, double allowed)
{
    bool near = fabs(found - expected) <= allowed;
    printf("  %-34s %14.8g  expected %14.8g  +- %.1e  %s\n", what, found, expected, allowed,
           near ? "ok" : "WRONG");
    all_agree = all_agree && near;
}

static inline void holds(const char *what, bool it_does)
{
    printf("  %-34s %s\n", what, it_does ? "ok" : "WRONG");
    all_agree = all_agree && it_does;
}

/* The exit status: 0, or 1 where a number was off, or that of the error, which is printed. */
static inline int setting_end(gm_status status, const gm_error *err)
{
    if (status) fprintf(stderr, "%s\n", err->message);
    return status ? gm_status_exit(status) : !all_agree;
}

#endif
