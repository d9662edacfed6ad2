/* Run files with `spectrum` results and followed eigenvalues, as the commands record them: the
 * density is that of a matrix known by construction, by the estimator itself. */
#ifndef TESTS_SPECTRA_CASE_H
#define TESTS_SPECTRA_CASE_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "gradiometer/estimate.h"
#include "gradiometer/random.h"
#include "gradiometer/run.h"
#include "report_case.h"

/* The matrix: SPECTRA_OUTLIERS large eigenvalues, a bulk of both signs, the rest zero to the
 * rounding of float32, in the orthogonal basis of a Walsh-Hadamard transform with random signs. */
enum {
    SPECTRA_P = 2048,
    SPECTRA_OUTLIERS = 8,
    SPECTRA_BULK = 900,
    SPECTRA_PROBES = 8,
    SPECTRA_STEPS = 60,
    SPECTRA_BINS = 400
};

static inline double spectra_eigenvalue(size_t i)
{
    if (i < SPECTRA_OUTLIERS) return 12.0 * pow(0.75, (double)i);
    if (i >= SPECTRA_OUTLIERS + SPECTRA_BULK) return 1e-8 * (double)((int)(i % 3) - 1);
    double size = 0.6 * pow(1e-4, (double)(i - SPECTRA_OUTLIERS) / SPECTRA_BULK);
    return i % 4 == 0 ? -0.3 * size : size;
}

/* x = W x, the orthonormal Walsh-Hadamard transform. */
static inline void spectra_transform(double *x)
{
    for (size_t half = 1; half < SPECTRA_P; half *= 2) {
        for (size_t i = 0; i < SPECTRA_P; i++) {
            if (i & half) continue;
            double a = x[i], b = x[i + half];
            x[i] = (a + b) * sqrt(0.5);
            x[i + half] = (a - b) * sqrt(0.5);
        }
    }
}

/* A = S W D W S with signs S. */
static inline gm_status spectra_apply(void *self, size_t count, const double *v, double *av,
                                      gm_error *err)
{
    (void)self;
    (void)err;
    static double sign[SPECTRA_P];
    gm_rademacher_fill(gm_stream_of(7, GM_PURPOSE_TEST, 0), 0, SPECTRA_P, sign);
    for (size_t j = 0; j < count; j++) {
        double *x = av + j * SPECTRA_P;
        for (size_t i = 0; i < SPECTRA_P; i++) {
            x[i] = sign[i] * v[j * SPECTRA_P + i];
        }
        spectra_transform(x);
        for (size_t i = 0; i < SPECTRA_P; i++) {
            x[i] *= spectra_eigenvalue(i);
        }
        spectra_transform(x);
        for (size_t i = 0; i < SPECTRA_P; i++) {
            x[i] *= sign[i];
        }
    }
    return GM_OK;
}

static inline json_t *spectra_numbers(size_t count, const double *value)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, json_real(value[i]));
    }
    return list;
}

static inline json_t *spectra_rows(size_t rows, size_t columns, const double *value)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rows; i++) {
        json_array_append_new(list, spectra_numbers(columns, value + i * columns));
    }
    return list;
}

/* density {grid, values, stderr, width, nodes, weights}: per unit of eigenvalue at bin centres. */
static inline json_t *spectra_density(size_t probes)
{
    gm_operator op = {.size = SPECTRA_P, .precision = GM_F32, .name = "A", .apply = spectra_apply};
    gm_quadrature_options options;
    gm_quadrature_options_default(&options);
    options.probes = probes;
    options.steps = SPECTRA_STEPS;
    gm_quadrature q;
    gm_error err = {0};
    case_need(gm_quadrature_make(&op, &options, &q, &err), &err);
    static double edge[SPECTRA_BINS + 1], mass[SPECTRA_BINS], error[SPECTRA_BINS];
    double width = gm_density_width(&q);
    gm_density_edges(&q, width, SPECTRA_BINS, edge);
    case_need(gm_density_mass(&q, width, SPECTRA_BINS, edge, mass, error, NULL, &err), &err);
    json_t *grid = json_array();
    for (size_t b = 0; b < SPECTRA_BINS; b++) {
        double bin = edge[b + 1] - edge[b];
        json_array_append_new(grid, json_real(0.5 * (edge[b] + edge[b + 1])));
        mass[b] /= bin;
        error[b] = probes > 1 ? error[b] / bin : 0.0;
    }
    json_t *density = json_object();
    json_object_set_new(density, "grid", grid);
    json_object_set_new(density, "values", spectra_numbers(SPECTRA_BINS, mass));
    json_object_set_new(density, "stderr",
                        probes > 1 ? spectra_numbers(SPECTRA_BINS, error) : json_null());
    json_object_set_new(density, "width", json_real(width));
    json_object_set_new(density, "nodes", spectra_rows(q.probes, q.steps, q.node));
    json_object_set_new(density, "weights", spectra_rows(q.probes, q.steps, q.weight));
    gm_quadrature_free(&q);
    return density;
}

/* What every `spectrum` document says. */
static inline json_t *spectra_document(const char *method, const char *name)
{
    return json_pack("{s:s,s:s,s:s,s:n,s:i,s:s,s:{s:s,s:i},s:{s:s,s:i,s:i,s:f},s:f,s:s,s:i}",
                     "operator", "hessian", "method", method, "command_line", name, "layer", "size",
                     SPECTRA_P, "precision", "f32", "model", "name", name, "parameters", SPECTRA_P,
                     "data", "name", name, "n", 100, "classes", 10, "random_labels", 0.0, "loss",
                     0.25, "loss_name", "cross_entropy", "products", 480);
}

static inline json_t *spectra_lanczos(const char *name, bool broken)
{
    enum { K = 10 };
    json_t *document = spectra_document("lanczos", name), *values = json_array();
    json_t *residuals = json_array();
    for (size_t i = 0; i < K; i++) {
        json_array_append_new(values, broken ? json_null() : json_real(spectra_eigenvalue(i)));
        json_array_append_new(residuals, json_real(1e-4 * pow(3.0, (double)i - 4.0)));
    }
    json_object_set_new(document, "eigenvalues", values);
    json_object_set_new(document, "residuals", residuals);
    json_object_set_new(document, "tol", json_real(1e-4));
    json_object_set_new(document, "converged", json_false());
    return document;
}

static inline void spectra_add(gm_run *run, int64_t step, const char *key, json_t *document)
{
    gm_error err = {0};
    char *text = json_dumps(document, JSON_REAL_PRECISION(17));
    gm_run_result result = {.command = "spectrum", .step = step, .key = key, .json = text};
    case_need(gm_run_add_result(run, &result, NULL, 0, NULL, &err), &err);
    free(text);
    json_decref(document);
}

/* Followed eigenvalues: lambda_1 rises to 2/eta and stays there. */
enum { SPECTRA_FOLLOWED = 5 };

static inline double spectra_followed(int64_t step, int j)
{
    double top = 40.0 * (1.0 - 0.95 * exp(-(double)step / 150.0)) + 2.0 * sin((double)step / 40.0);
    return j < 4 ? top * pow(0.6, j) : -0.01 * top;
}

static inline void spectra_track(gm_run *run)
{
    gm_error err = {0};
    for (int64_t step = 0; step <= 1000; step += 50) {
        for (int j = 0; j < SPECTRA_FOLLOWED; j++) {
            char name[64];
            snprintf(name, sizeof name, "hessian/eigenvalue/%d", j + 1);
            gm_metric metric = {step, name, spectra_followed(step, j)};
            case_need(gm_run_add_metrics(run, &metric, 1, &err), &err);
        }
    }
}

#endif
