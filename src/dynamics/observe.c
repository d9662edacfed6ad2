/* Linearized runs near a point, against the growth that the span predicts
 * (gradiometer/stability.h).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/batch.h"
#include "dynamics/observe.h"
#include "dynamics/power.h"
#include "gradiometer/stability.h"
#include "kernels/lapack.h"
#include "sgd/kappa.h"
#include "sgd/sampler.h"

void gm_stability_runs_default(gm_stability_runs *options)
{
    *options = (gm_stability_runs){
        .batch = 1, .etas = 1, .eta = {0.1}, .runs = 100, .horizon = 10, .away = 1e-3};
}

gm_status gm_observe_check(const gm_stability_runs *o, size_t n, gm_error *err)
{
    if (o->replacement == GM_REPLACEMENT_EPOCH) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--replacement: found epoch, expected yes or no: the batches of an epoch "
                       "are not fresh");
    }
    if (o->batch < 1 || (o->replacement == GM_REPLACEMENT_NO && o->batch > n)) {
        return gm_fail(err, GM_ERR_USAGE, "--batch: %zu of %zu samples", o->batch, n);
    }
    if (o->runs < 2) {
        return gm_fail(err, GM_ERR_USAGE, "--observe: found %zu, expected at least 2", o->runs);
    }
    if (o->horizon < 1 || o->etas < 1 || o->etas > GM_STABILITY_STEPS) {
        return gm_fail(err, GM_ERR_USAGE, "%zu steps of %zu step sizes", o->horizon, o->etas);
    }
    if (!(o->away > 0.0 && isfinite(o->away))) {
        return gm_fail(err, GM_ERR_USAGE, "starts %g away, expected a finite number > 0", o->away);
    }
    return GM_OK;
}

typedef struct observer {
    gm_linearization *lin;
    const gm_span *span;
    const gm_stability_runs *options;
    gm_sampler *sampler; /* of the run in hand */
    size_t *index;       /* [m] */
    double *root;        /* [etas, k, k] shape^(1/2) */
    double *away;        /* [etas, p] theta - theta* */
    double *image;       /* [etas, p] */
    double *before;      /* [etas, runs] |theta_0 - theta*|^2 */
    double *after;       /* [etas, runs] |theta_T - theta*|^2 */
} observer;

static void observer_free(observer *o)
{
    gm_sampler_free(o->sampler);
    gm_free(o->index);
    gm_free(o->root);
    gm_free(o->away);
    gm_free(o->image);
    gm_free(o->before);
    gm_free(o->after);
}

/* root [k, k] = shape^(1/2) by its eigenvectors; shape is destroyed. */
static gm_status root_of(size_t k, double *shape, double *root, gm_error *err)
{
    double *value = gm_alloc(k + k * k, sizeof *value, "shape of the growth", err);
    if (!value) return GM_ERR_MEMORY;
    double *vector = value + k;
    gm_status status = gm_symmetric_eigen(k, shape, k, 0, value, vector, err);
    for (size_t j = 0; status == GM_OK && j < k; j++) {
        double scale = sqrt(fmax(0.0, value[j]));
        for (size_t a = 0; a < k; a++) {
            for (size_t b = 0; b < k; b++) {
                root[a * k + b] += scale * vector[j * k + a] * vector[j * k + b];
            }
        }
    }
    gm_free(value);
    return status;
}

gm_status gm_observe_roots(const gm_span *span, const gm_stability_runs *options, double *root,
                           gm_stability_seen *seen, gm_error *err)
{
    size_t k = span->k;
    double kappa = gm_kappa_of(span->n, options->batch, options->replacement != GM_REPLACEMENT_YES);
    double *shape = gm_alloc(k * k, sizeof *shape, "shape of the growth", err);
    gm_status status = shape ? GM_OK : GM_ERR_MEMORY;
    for (size_t e = 0; status == GM_OK && e < options->etas; e++) {
        status = gm_stability_course(span, kappa, options->eta[e], options->horizon, shape,
                                     &seen[e].predicted, err);
        if (status == GM_OK) status = root_of(k, shape, root + e * k * k, err);
    }
    gm_free(shape);
    return status;
}

/* Where run r starts, for each eta. */
static void start(observer *o, uint32_t r)
{
    size_t k = o->span->k, p = o->span->p;
    double z[GM_SPAN_MOST];
    gm_normal_fill(gm_stream_of(o->options->seed, GM_PURPOSE_LINEAR, 2 * r), 0, k, z);
    memset(o->away, 0, o->options->etas * p * sizeof *o->away);
    for (size_t e = 0; e < o->options->etas; e++) {
        double *square = &o->before[e * o->options->runs + r];
        for (size_t a = 0; a < k; a++) {
            double along = 0.0;
            for (size_t b = 0; b < k; b++) {
                along += o->root[(e * k + a) * k + b] * z[b];
            }
            *square += along * along;
            for (size_t i = 0; i < p; i++) {
                o->away[e * p + i] += along * o->span->vector[a * p + i];
            }
        }
    }
}

/* away -= eta H_B away for every eta, on batch t of the run in hand; the powers of two that keep
 * away in the range of the products go to power [etas]. */
static gm_status step(observer *o, size_t t, int *power, gm_error *err)
{
    size_t p = o->span->p, m = gm_sampler_draw(o->sampler, t, o->index);
    gm_batch_point batch;
    for (size_t e = 0; e < o->options->etas; e++) {
        power[e] += gm_near_one(p, o->away + e * p);
    }
    gm_status status = gm_batch_point_open(
        gm_linearization_problem(o->lin), gm_linearization_theta(o->lin), m, o->index, &batch, err);
    if (status == GM_OK)
        status = gm_operator_apply(&batch.hessian, o->options->etas, o->away, o->image, err);
    for (size_t e = 0; status == GM_OK && e < o->options->etas; e++) {
        for (size_t i = 0; i < p; i++) {
            o->away[e * p + i] -= o->options->eta[e] * o->image[e * p + i];
        }
    }
    gm_batch_point_close(&batch);
    return status;
}

static gm_status run(observer *o, uint32_t r, gm_stability_seen *seen, gm_error *err)
{
    const gm_stability_runs *set = o->options;
    gm_stream stream = gm_stream_of(set->seed, GM_PURPOSE_LINEAR, 2 * r + 1);
    int power[GM_STABILITY_STEPS] = {0};
    start(o, r);
    gm_sampler_free(o->sampler);
    o->sampler = NULL;
    gm_status status =
        gm_sampler_create_from(stream, o->span->n, set->batch, set->replacement, &o->sampler, err);
    for (size_t t = 0; status == GM_OK && t < set->horizon; t++) {
        status = step(o, t, power, err);
    }
    for (size_t e = 0; status == GM_OK && e < set->etas; e++) {
        const double *away = o->away + e * o->span->p;
        double square = 0.0;
        for (size_t i = 0; i < o->span->p; i++) {
            square += away[i] * away[i];
        }
        square = ldexp(square, 2 * power[e]);
        o->after[e * set->runs + r] = square;
        seen[e].grew += square > o->before[e * set->runs + r];
    }
    return status;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The quotient of the means, with the standard error of quotients, and the median of the runs' own.
 */
void gm_observe_summarize(size_t runs, const double *before, double *after, gm_stability_seen *seen)
{
    double from = 0.0, to = 0.0, squares = 0.0, count = (double)runs;
    for (size_t r = 0; r < runs; r++) {
        from += before[r] / count;
        to += after[r] / count;
    }
    seen->mean = to / from;
    for (size_t r = 0; r < runs; r++) {
        double rest = after[r] - seen->mean * before[r];
        squares += rest * rest;
        after[r] /= before[r];
    }
    qsort(after, runs, sizeof *after, ascending);
    bool finite = isfinite(seen->mean);
    seen->error = finite ? sqrt(squares / (count * (count - 1.0))) / from : (double)INFINITY;
    seen->median = 0.5 * (after[(runs - 1) / 2] + after[runs / 2]);
}

gm_status gm_stability_observe(gm_linearization *lin, const gm_span *span,
                               const gm_stability_runs *options, const gm_ensemble_hooks *hooks,
                               gm_stability_seen *seen, gm_error *err)
{
    gm_status status = gm_observe_check(options, span->n, err);
    if (status != GM_OK) return status;
    size_t k = span->k, p = span->p, etas = options->etas;
    observer o = {.lin = lin, .span = span, .options = options};
    memset(seen, 0, etas * sizeof *seen);
    o.index = gm_alloc(options->batch, sizeof *o.index, "mini-batch", err);
    o.root = gm_alloc(etas * k * k, sizeof *o.root, "starts of the runs", err);
    o.away = gm_alloc(etas * p, sizeof *o.away, "linearized runs", err);
    o.image = gm_alloc(etas * p, sizeof *o.image, "linearized runs", err);
    o.before = gm_alloc(etas * options->runs, sizeof *o.before, "distances of the runs", err);
    o.after = gm_alloc(etas * options->runs, sizeof *o.after, "distances of the runs", err);
    bool made = o.index && o.root && o.away && o.image && o.before && o.after;
    status = made ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_observe_roots(span, options, o.root, seen, err);
    for (size_t r = 0; status == GM_OK && r < options->runs; r++) {
        status = run(&o, (uint32_t)r, seen, err);
        if (status != GM_OK || !hooks) continue;
        if (hooks->progress) hooks->progress(hooks->context, (r + 1) * options->horizon);
        if (hooks->stop && hooks->stop(hooks->context))
            status = gm_fail(err, GM_ERR_INTERRUPTED, "interrupted; nothing was recorded");
    }
    for (size_t e = 0; status == GM_OK && e < etas; e++) {
        size_t shift = e * options->runs;
        gm_observe_summarize(options->runs, o.before + shift, o.after + shift, &seen[e]);
    }
    observer_free(&o);
    return status;
}
