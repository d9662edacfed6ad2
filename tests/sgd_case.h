/* A small regression problem for tests of training, and dumps of run files that can be compared. */
#ifndef GM_TESTS_SGD_CASE_H
#define GM_TESTS_SGD_CASE_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gradiometer/random.h"
#include "gradiometer/sgd.h"

/* n samples x ~ N(0, 1) [n, d], y = sum of x + noise; the net is "mlp:d-1,bias=no" (or `spec`), the
 * loss 1/2 (w.x - y)^2. */
typedef struct sgd_case {
    size_t n, d, p;
    double *x, *y;
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
} sgd_case;

static inline gm_status sgd_case_open(sgd_case *c, size_t n, size_t d, const char *spec,
                                      gm_dtype dtype, gm_error *err)
{
    gm_shape shape = {.rank = 1, .dim = {d}};
    char linear[64];
    snprintf(linear, sizeof linear, "mlp:%zu-1,bias=no", d);
    *c = (sgd_case){.n = n, .d = d};
    c->x = calloc(n * d, sizeof *c->x);
    c->y = calloc(n, sizeof *c->y);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 0), 0, n * d, c->x);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, 1), 0, n, c->y);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) {
            c->y[i] += c->x[i * d + j];
        }
    }
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = GM_LOSS_SQUARED;
    gm_status status = gm_net_from_spec(spec ? spec : linear, &shape, 0, &c->net, err);
    if (!status)
        status = gm_data_from_arrays("regression", n, &shape, c->x, NULL, c->y, 1, dtype, 0,
                                     &c->data, err);
    if (!status) status = gm_problem_create(c->net, c->data, &options, &c->problem, err);
    if (!status) c->p = gm_net_parameters(c->net);
    return status;
}

static inline void sgd_case_close(sgd_case *c)
{
    gm_problem_free(c->problem);
    gm_dataset_free(c->data);
    gm_net_free(c->net);
    free(c->x);
    free(c->y);
}

/* All arrays of a run file's results with what they belong to. */
static inline bool run_dump_arrays(gm_run *run, FILE *out, gm_error *err)
{
    gm_run_result *result = NULL;
    size_t count = 0;
    bool good = gm_run_results(run, NULL, &result, &count, err) == GM_OK;
    for (size_t i = 0; good && i < count; i++) {
        gm_run_array *list = NULL;
        size_t arrays = 0;
        fprintf(out, "result %s %" PRId64 " %s %s\n", result[i].command, result[i].step,
                result[i].key, result[i].json);
        good = gm_run_arrays(run, result[i].id, &list, &arrays, err) == GM_OK;
        for (size_t j = 0; good && j < arrays; j++) {
            gm_run_array *array = NULL;
            good = gm_run_load_array(run, result[i].id, list[j].name, &array, err) == GM_OK;
            size_t numbers = 1;
            for (int d = 0; good && d < array->rank; d++) {
                numbers *= array->dim[d];
            }
            for (size_t k = 0; good && k < numbers; k++) {
                fprintf(out, "%s %zu %a\n", list[j].name, k, array->data[k]);
            }
            gm_run_free(array);
        }
        gm_run_free(list);
    }
    gm_run_free(result);
    return good;
}

/* Everything of a run file that must not depend on interruptions, to the bit, as text: settings,
 * metrics, checkpoints, arrays, and the latest state but for its clock. Freed by the caller; NULL
 * where something cannot be read. */
static inline char *run_dump(const char *path)
{
    gm_error err;
    gm_run *run = NULL;
    char *text = NULL;
    size_t length = 0, count = 0, series = 0, steps = 0;
    gm_setting *setting = NULL;
    const char **name = NULL;
    int64_t *kept = NULL;
    gm_run_state *state = NULL;
    FILE *out = open_memstream(&text, &length);
    bool good = gm_run_open(path, GM_RUN_READ, &run, &err) == GM_OK &&
                gm_run_settings(run, &setting, &count, &err) == GM_OK &&
                gm_run_metric_names(run, &name, &series, &err) == GM_OK &&
                gm_run_checkpoints(run, &kept, &steps, &err) == GM_OK &&
                gm_run_load_state(run, &state, &err) == GM_OK && state;
    for (size_t i = 0; good && i < count; i++) {
        fprintf(out, "%s = %s\n", setting[i].key, setting[i].value);
    }
    for (size_t i = 0; good && i < series; i++) {
        int64_t *step = NULL;
        double *value = NULL;
        size_t rows = 0;
        good = gm_run_metric(run, name[i], &step, &value, &rows, &err) == GM_OK;
        for (size_t j = 0; good && j < rows; j++) {
            fprintf(out, "%s %" PRId64 " %a\n", name[i], step[j], value[j]);
        }
        gm_run_free(step);
        gm_run_free(value);
    }
    for (size_t i = 0; good && i < steps; i++) {
        double *theta = NULL;
        size_t p = 0;
        good = gm_run_parameters(run, kept[i], &theta, &p, NULL, &err) == GM_OK;
        for (size_t j = 0; good && j < p; j++) {
            fprintf(out, "theta %" PRId64 " %zu %a\n", kept[i], j, theta[j]);
        }
        gm_run_free(theta);
    }
    good = good && run_dump_arrays(run, out, &err);
    if (good) {
        const unsigned char *bytes = state->optimizer;
        fprintf(out, "state %" PRId64 " %s %" PRIu64 " ", state->step, state->status,
                state->stream_position);
        for (size_t i = 0; i < state->slots * state->parameters * gm_dtype_size(state->dtype);
             i++) {
            fprintf(out, "%02x", bytes[i]);
        }
    }
    gm_run_free(setting);
    gm_run_free(name);
    gm_run_free(kept);
    gm_run_free(state);
    gm_run_close(run);
    fclose(out);
    if (!good) {
        fprintf(stderr, "%s\n", err.message);
        free(text);
        return NULL;
    }
    return text;
}

#endif
