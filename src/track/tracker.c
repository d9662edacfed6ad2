#include "track/tracker.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "diff/problem.h"

/* ---- construction ---- */

/* SQLite's limit of a row is 10^9 bytes; a little of it is the row's own. */
static const size_t largest_blob = 999999000;

static gm_status check_size(const gm_tracker *tr, gm_error *err)
{
    size_t numbers, bytes;
    if (gm_mul_size(tr->options.k, tr->p, &numbers) &&
        gm_mul_size(numbers, gm_dtype_size(tr->dtype), &bytes) && bytes <= largest_blob)
        return GM_OK;
    return gm_fail(
        err, GM_ERR_USAGE,
        "--track: spectrum: k: found %zu, expected at most %zu vectors of %zu parameters "
        "in %s, what a run file can hold",
        tr->options.k, largest_blob / gm_dtype_size(tr->dtype) / tr->p, tr->p,
        gm_dtype_name(tr->dtype));
}

/* The problem on the first samples alone. */
static gm_status take_subset(gm_tracker *tr, gm_problem *problem, gm_error *err)
{
    const gm_dataset *data = gm_problem_data(problem);
    gm_problem_options options;
    char what[64];
    size_t *index = gm_alloc(tr->options.samples, sizeof *index, "samples of the tracker", err);
    if (!index) return GM_ERR_MEMORY;
    for (size_t i = 0; i < tr->options.samples; i++) {
        index[i] = i;
    }
    snprintf(what, sizeof what, "first %zu", tr->options.samples);
    gm_status status = gm_dataset_select(data, tr->options.samples, index, what, &tr->subset, err);
    gm_free(index);
    if (status != GM_OK) return status;
    gm_problem_options_default(&options);
    options.loss = gm_problem_loss(problem);
    options.memory = problem->memory;
    status = gm_problem_create(gm_problem_net(problem), tr->subset, &options, &tr->own, err);
    tr->problem = tr->own;
    return status;
}

gm_status gm_tracker_create(gm_problem *problem, const gm_track_options *options, uint64_t seed,
                            uint64_t steps, gm_tracker **tracker, gm_error *err)
{
    *tracker = NULL;
    gm_tracker *tr = gm_alloc(1, sizeof *tr, "tracker", err);
    if (!tr) return GM_ERR_MEMORY;
    *tr = (gm_tracker){.options = *options,
                       .seed = seed,
                       .steps = steps,
                       .p = gm_problem_parameters(problem),
                       .dtype = gm_problem_data(problem)->dtype,
                       .problem = problem};
    gm_status status = check_size(tr, err);
    if (status == GM_OK) {
        tr->vector = gm_alloc(options->k * tr->p, sizeof *tr->vector, "tracked subspace", err);
        if (!tr->vector) status = GM_ERR_MEMORY;
    }
    if (status == GM_OK && options->samples < gm_problem_data(problem)->n)
        status = take_subset(tr, problem, err);
    if (status == GM_OK) {
        *tracker = tr;
    } else {
        gm_tracker_free(tr);
    }
    return status;
}

void gm_tracker_free(gm_tracker *tr)
{
    if (!tr) return;
    gm_problem_free(tr->own);
    gm_dataset_free(tr->subset);
    gm_free(tr->step);
    gm_free(tr->value);
    gm_free(tr->residual);
    gm_free(tr->products);
    gm_free(tr->converged);
    gm_free(tr->vector);
    gm_free(tr);
}

void gm_tracker_watch(gm_tracker *tr, bool (*stop)(void *context), void *context)
{
    tr->stop = stop;
    tr->context = context;
}

static gm_eigen_options eigen_options(const gm_tracker *tr, uint64_t t)
{
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.which = tr->options.which;
    options.k = tr->options.k;
    options.tol = tr->options.tol;
    options.max_products = tr->options.max_products;
    /* Other companions at each step: a pair that is orthogonal to one is seen by the next. */
    options.seed = tr->seed + t;
    return options;
}

size_t gm_tracker_bytes(const gm_tracker *tr)
{
    gm_eigen_options options = eigen_options(tr, 0);
    return gm_eigen_track_bytes(tr->p, &options, tr->options.k);
}

/* ---- history ---- */

/* array [capacity, width] moves to a larger one. */
static gm_status move(double **array, size_t count, size_t capacity, size_t width, gm_error *err)
{
    double *larger = gm_alloc(capacity * width, sizeof *larger, "tracked eigenvalues", err);
    if (!larger) return GM_ERR_MEMORY;
    if (count) memcpy(larger, *array, count * width * sizeof *larger);
    gm_free(*array);
    *array = larger;
    return GM_OK;
}

gm_status gm_tracker_grow(gm_tracker *tr, gm_error *err)
{
    if (tr->count < tr->capacity) return GM_OK;
    size_t capacity = tr->capacity ? 2 * tr->capacity : 64, k = tr->options.k, numbers;
    if (!gm_mul_size(capacity, k, &numbers))
        return gm_fail(err, GM_ERR_MEMORY, "%zu tracked eigenvalues a step are too many", k);
    int64_t *step = gm_alloc(capacity, sizeof *step, "tracked steps", err);
    if (!step) return GM_ERR_MEMORY;
    if (tr->count) memcpy(step, tr->step, tr->count * sizeof *step);
    gm_free(tr->step);
    tr->step = step;
    gm_status status = move(&tr->value, tr->count, capacity, k, err);
    if (status == GM_OK) status = move(&tr->residual, tr->count, capacity, k, err);
    if (status == GM_OK) status = move(&tr->products, tr->count, capacity, 1, err);
    if (status == GM_OK) status = move(&tr->converged, tr->count, capacity, 1, err);
    if (status == GM_OK) tr->capacity = capacity;
    return status;
}

gm_tracked gm_tracker_results(const gm_tracker *tr)
{
    return (gm_tracked){.k = tr->options.k,
                        .count = tr->count,
                        .step = tr->step,
                        .value = tr->value,
                        .residual = tr->residual,
                        .products = tr->products,
                        .converged = tr->converged,
                        .invalid = tr->invalid,
                        .invalid_cause = tr->cause};
}

const gm_track_options *gm_tracker_options(const gm_tracker *tr)
{
    return &tr->options;
}

/* ---- measuring ---- */

bool gm_tracker_due(const gm_tracker *tr, uint64_t t)
{
    if (t % tr->options.every != 0 && t != tr->steps) return false;
    return tr->count == 0 || tr->step[tr->count - 1] < (int64_t)t;
}

typedef struct watched {
    gm_operator inner;
    const gm_tracker *tracker;
} watched;

static gm_status watched_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    watched *w = self;
    if (w->tracker->stop && w->tracker->stop(w->tracker->context))
        return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted while eigenvalues were tracked");
    return w->inner.apply(w->inner.self, count, v, av, err);
}

/* A row of the history from what was found; found of zeros leaves NaN. */
static void append(gm_tracker *tr, uint64_t t, const gm_eigen *found, size_t products)
{
    size_t k = tr->options.k, row = tr->count++;
    tr->step[row] = (int64_t)t;
    tr->products[row] = (double)products;
    tr->converged[row] = (double)found->converged_count;
    for (size_t j = 0; j < k; j++) {
        tr->value[row * k + j] = j < found->count ? found->value[j] : (double)NAN;
        tr->residual[row * k + j] = j < found->count ? found->residual[j] : (double)NAN;
    }
}

/* Rounded, so that the next measurement starts from the numbers that the run file holds. */
static void keep_subspace(gm_tracker *tr, const gm_eigen *found)
{
    size_t rows = found->count < tr->options.k ? found->count : tr->options.k;
    if (!rows) return;
    for (size_t i = 0; i < rows * tr->p; i++) {
        tr->vector[i] = tr->dtype == GM_F32 ? (double)(float)found->vector[i] : found->vector[i];
    }
    tr->vectors = rows;
    tr->unsaved = true;
}

gm_status gm_tracker_measure(gm_tracker *tr, uint64_t t, const double *theta, gm_error *err)
{
    gm_eigen_options options = eigen_options(tr, t);
    gm_linearization *lin = NULL;
    gm_eigen found = {0};
    watched w = {.tracker = tr};
    gm_operator op = {0};
    gm_status status = gm_tracker_grow(tr, err);
    if (status == GM_OK) status = gm_linearize(tr->problem, theta, &lin, err);
    if (status == GM_OK)
        status = gm_curvature_operator(lin, tr->options.kind, GM_ALL_LAYERS, &w.inner, err);
    if (status == GM_OK) {
        op = (gm_operator){.size = w.inner.size,
                           .precision = w.inner.precision,
                           .name = w.inner.name,
                           .self = &w,
                           .apply = watched_apply};
        status = gm_eigen_track(&op, &options, tr->vectors, tr->vector, &found, err);
        if (status == GM_ERR_NUMERIC || status == GM_ERR_INPUT) {
            tr->invalid++;
            snprintf(tr->cause, sizeof tr->cause, "%.200s", err->message);
            status = GM_OK;
        }
        if (status == GM_OK) append(tr, t, &found, op.products);
        if (status == GM_OK) keep_subspace(tr, &found);
    }
    gm_eigen_free(&found);
    gm_operator_destroy(&w.inner);
    gm_linearization_free(lin);
    return status;
}
