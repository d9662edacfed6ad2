/* Minimizing the bound over the posterior by natural gradients.
 *
 * Coordinates d = (theta - theta0) / sigma and r = sigma^2 nu > 0, per weight; then
 *   KL = 1/2 sum [ln r + 1/r - 1 + d^2],   variance v = sigma^2 / r.
 * With T = n (d objective / d risk) / (n d objective / d KL), the number of nats that the risk is
 * worth, and the gradients of a mini-batch by the local reparameterization, the objective is
 * stationary where
 *   r = 1 + 2 T sigma^2 dL/dv,   d = -T sigma dL/dtheta,
 * dL/dv being half the mean curvature under Q. In the metric of Gaussians a step of length eta goes
 *   r += eta x + eta^2 x^2 / (2 r),  x = 1 + 2 T sigma^2 dL/dv - r     (r stays positive: Lin,
 *                                                  Schmidt and Khan 2020, arXiv 2002.10060)
 *   d -= eta (T sigma m + d) / r,    m the running mean of dL/dtheta over ten steps:
 * Newton's step with the curvature that the posterior needs anyway. The noise of the batches leaves
 * in d a variance of order eta in each of a million coordinates, which is divergence, so that eta
 * falls like 1/t: all gradients then count alike in the end. The scales of the prior may be learned
 * on the way (bound/scales.h).
 *
 * The risk that the objective is taken at is the 0-1 error e, whose gradient is taken to be that of
 * the log-loss L in the share e/L: the two fall together, and where losses are large at the start
 * the share is small. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "bound/local.h"
#include "bound/log_excess.h"
#include "bound/optimize.h"
#include "bound/posterior.h"
#include "bound/scales.h"

enum {
    SLICE = 4096,
    PIECES = 10, /* of a batch, each with its own draw of shared weights */
    FALL = 3,    /* the step falls to eta / (1 + eta t / FALL) */
    WARM = 30,   /* steps in which the means' step grows to its full length */
};
static const double MEMORY = 0.9, /* of the mean of gradients, for a step */
    FAR = 0.3,                    /* a coordinate's longest step, in standard deviations of Q */
    LEAST = 1e-3,                 /* of r */
    LEARN = 0.8;                  /* of the steps move the prior's scales */

void gm_optimize_options_default(gm_optimize_options *options)
{
    *options = (gm_optimize_options){
        .steps = 1000, .batch = 250, .step = 0.05, .grid = GM_PRIOR_SCALES, .delta = 0.045};
}

static gm_status check(const gm_problem *problem, const gm_optimize_options *o, gm_error *err)
{
    if (gm_problem_loss(problem) != GM_LOSS_CROSS_ENTROPY)
        return gm_fail(err, GM_ERR_USAGE,
                       "--optimize: found the squared loss, expected cross_entropy: its "
                       "gradient is what the steps go by");
    if (o->steps < 1 || o->batch < 1 || o->grid < 1)
        return gm_fail(err, GM_ERR_USAGE,
                       "--optimize: %llu steps of batch %zu, expected at least 1 of each",
                       (unsigned long long)o->steps, o->batch);
    if (!(o->step > 0.0 && o->step <= 1.0))
        return gm_fail(err, GM_ERR_USAGE,
                       "--optimize-step: found %g, expected a number above 0 and at most 1",
                       o->step);
    if (!(o->delta > 0.0 && o->delta < 1.0))
        return gm_fail(err, GM_ERR_USAGE, "--delta: found %g, expected a number between 0 and 1",
                       o->delta);
    return gm_one_label(problem, err);
}

/* ---- gradient of a mini-batch ---- */

/* Sum and sum of squares of a piece's mean gradient, pull times `scale`. */
static void add_piece(const gm_local *l, double scale, size_t p, double *piece)
{
    const gm_kernels *k = l->engine.k;
    double g[SLICE];
    for (size_t at = 0; at < p; at += SLICE) {
        size_t count = p - at < SLICE ? p - at : SLICE;
        k->to_double(count, (const char *)l->pull + at * k->size, g);
        for (size_t j = 0; j < count; j++) {
            piece[at + j] += scale * g[j];
            piece[p + at + j] += scale * scale * g[j] * g[j];
        }
    }
}

/* dvariance += half the variance of a sample's gradient, from `pieces` means of `each` samples: 0
 * for one piece, and where no shared layer is. */
static void add_scatter(const gm_local *l, size_t pieces, double each, size_t p,
                        const double *piece, void *dvariance)
{
    const gm_kernels *k = l->engine.k;
    double count = (double)pieces, half[SLICE];
    for (size_t at = 0; at < p && pieces > 1; at += SLICE) {
        size_t numbers = p - at < SLICE ? p - at : SLICE;
        for (size_t j = 0; j < numbers; j++) {
            double sum = piece[at + j], squares = piece[p + at + j];
            half[j] = 0.5 * each * fmax(0.0, squares - sum * sum / count) / (count - 1.0);
        }
        k->from_double(numbers, half, l->pull);
        k->axpy(numbers, 1.0, l->pull, (char *)dvariance + at * k->size);
    }
}

double gm_posterior_loss(gm_local *l, size_t n, const size_t *index, const void *mean,
                         const void *variance, gm_stream noise, uint64_t first, double *weight,
                         double *piece, void *dmean, void *dvariance, double *error)
{
    double loss = 0.0;
    size_t wrong = 0, p = gm_problem_parameters(l->problem), bytes = p * l->engine.k->size;
    size_t pieces = !l->shared ? 1 : n < PIECES ? n : PIECES;
    memset(dmean, 0, bytes);
    memset(dvariance, 0, bytes);
    if (l->shared) memset(piece, 0, 2 * p * sizeof *piece);
    for (size_t i = 0, at = 0; i < pieces; i++) {
        size_t count = (i + 1) * n / pieces - at;
        gm_local_value(l, count, index + at, mean, variance, noise, first + at);
        for (size_t j = 0; j < count; j++) {
            loss += l->loss[j];
            wrong += l->wrong[j];
            weight[j] = 1.0 / (double)n;
        }
        gm_local_gradient(l, mean, variance, weight, dmean, dvariance);
        if (l->shared) add_piece(l, (double)n / (double)count, p, piece);
        at += count;
    }
    if (l->shared) add_scatter(l, pieces, (double)n / (double)pieces, p, piece, dvariance);
    *error = (double)wrong / (double)n;
    return loss / (double)n;
}

/* ---- steps ---- */

typedef struct work {
    const gm_optimize_options *o;
    const double *theta0, *unit;
    double scale;
    size_t n, p;
    gm_local local;
    double *memory, *d, *r, *m;                /* [p] */
    void *mean, *variance, *dmean, *dvariance; /* native [p] */
    size_t *index;                             /* [batch] */
    double *weight;                            /* [batch] */
    double *piece;                             /* [2 p], with shared layers */
    gm_scales scales;                          /* of the prior */
    double cost;                               /* of learned scales */
    double kl, risk, loss;                     /* risk, loss: running means */
} work;

static gm_status open_work(gm_problem *problem, const gm_gaussians *start, work *w, gm_error *err)
{
    size_t p = w->p, size = problem->engine.k->size, numbers;
    if (!gm_mul_size(p, 3, &numbers))
        return gm_fail(err, GM_ERR_MEMORY, "posterior of %zu parameters overflows", p);
    w->memory = gm_alloc(numbers, sizeof *w->memory, "posterior", err);
    w->dmean = gm_alloc(p, size, "gradient", err);
    w->dvariance = gm_alloc(p, size, "gradient", err);
    w->index = gm_alloc(w->o->batch, sizeof *w->index, "mini-batch", err);
    w->weight = gm_alloc(w->o->batch, sizeof *w->weight, "mini-batch", err);
    if (!w->memory || !w->dmean || !w->dvariance || !w->index || !w->weight) return GM_ERR_MEMORY;
    w->d = w->memory;
    w->r = w->d + p;
    w->m = w->r + p;
    gm_divergence divergence;
    gm_gaussian_divergence(start, &divergence);
    w->kl = divergence.kl;
    for (size_t j = 0; j < p; j++) {
        w->d[j] = (start->theta[j] - start->theta0[j]) / (start->scale * start->unit[j]);
        w->r[j] = start->ratio[j];
    }
    gm_status status = gm_posterior_native(problem, start, &w->mean, &w->variance, err);
    if (status != GM_OK) return status;
    status = gm_scales_open(gm_problem_net(problem), SLICE, &w->scales, err);
    if (status == GM_OK) status = gm_local_open(problem, w->o->batch, &w->local, err);
    if (status == GM_OK && w->o->learned) w->cost = gm_scales_cost(&w->scales);
    if (status != GM_OK || !w->local.shared) return status;
    w->piece = gm_alloc(p, 2 * sizeof *w->piece, "gradients of draws", err);
    return w->piece ? GM_OK : GM_ERR_MEMORY;
}

static void close_work(work *w)
{
    gm_local_close(&w->local);
    gm_scales_close(&w->scales);
    gm_free(w->memory);
    gm_free(w->mean);
    gm_free(w->variance);
    gm_free(w->dmean);
    gm_free(w->dvariance);
    gm_free(w->index);
    gm_free(w->weight);
    gm_free(w->piece);
}

/* Length of a step in d and in r, and what the mean of the gradients so far is divided by. */
typedef struct length {
    double d, r, whole;
} length;

static length length_at(const work *w, uint64_t t)
{
    double after = (double)(t + 1), eta = w->o->step;
    double falling = eta / (1.0 + eta * (double)t / FALL);
    return (length){
        .d = falling * fmin(1.0, after / WARM), .r = falling, .whole = 1.0 - pow(MEMORY, after)};
}

/* Sums over some coordinates, after the step: twice their KL but for the distance; and as in
 * gm_scales. */
typedef struct sums {
    double excess, distance, gain;
} sums;

static sums step_stretch(work *w, const gm_stretch *at, double worth, length eta)
{
    const gm_kernels *k = w->local.engine.k;
    double gd[SLICE], gv[SLICE], factor = exp(w->scales.log_factor[at->tensor]);
    size_t count = at->end - at->first, shift = at->first * k->size;
    sums s = {0};
    k->to_double(count, (char *)w->dmean + shift, gd);
    k->to_double(count, (char *)w->dvariance + shift, gv);
    for (size_t i = 0; i < count; i++) {
        size_t j = at->first + i;
        double sigma = w->scale * w->unit[j] * factor, r = w->r[j];
        double x = 1.0 + 2.0 * worth * sigma * sigma * gv[i] - r;
        r = fmax(fmin(r + eta.r * x + 0.5 * eta.r * eta.r * x * x / r, 2.0 * r), LEAST);
        w->m[j] += (1.0 - MEMORY) * (sigma * gd[i] - w->m[j]);
        double move = eta.d * (worth * w->m[j] / eta.whole + w->d[j]) / r, most = FAR / sqrt(r);
        w->d[j] -= fmax(-most, fmin(move, most));
        w->r[j] = r;
        s.excess += gm_log_excess(1.0 / r - 1.0);
        s.distance += w->d[j] * w->d[j];
        s.gain += 1.0 - 1.0 / r;
        gd[i] = w->theta0[j] + sigma * w->d[j];
        gv[i] = sigma * sigma / r;
    }
    k->from_double(count, gd, (char *)w->mean + shift);
    k->from_double(count, gv, (char *)w->variance + shift);
    return s;
}

static void take_step(work *w, uint64_t t, double worth)
{
    length eta = length_at(w, t);
    gm_scales *scales = &w->scales;
    double kl = 0.0;
    memset(scales->distance, 0, 2 * scales->tensors * sizeof *scales->distance);
#pragma omp parallel for ordered schedule(static, 1)
    for (size_t i = 0; i < scales->stretches; i++) {
        const gm_stretch *at = &scales->stretch[i];
        sums s = step_stretch(w, at, worth, eta);
#pragma omp ordered
        {
            kl += s.excess + s.distance;
            scales->distance[at->tensor] += s.distance;
            scales->gain[at->tensor] += s.gain;
        }
    }
    w->kl = 0.5 * kl;
    if (!w->o->learned || t < WARM) return;
    uint64_t round = (uint64_t)(LEARN * (double)w->o->steps);
    if (t + 1 < round) gm_scales_step(scales, eta.r);
    if (t + 1 == round) gm_scales_round(scales);
    w->cost = gm_scales_cost(scales);
}

static void follow(double *mean, double value, uint64_t t)
{
    *mean += fmax(0.02, 1.0 / (double)(t + 1)) * (value - *mean);
}

/* Gradient of step t; its loss and errors go into the running means. False where it is no number.
 */
static bool gradient(work *w, uint64_t t)
{
    const gm_optimize_options *o = w->o;
    gm_stream batch = gm_stream_of(o->seed, GM_PURPOSE_OPTIMIZE, 0);
    gm_stream noise = gm_stream_of(o->seed, GM_PURPOSE_OPTIMIZE, 1);
    for (size_t i = 0; i < o->batch; i++) {
        w->index[i] = (size_t)gm_below(batch, t * o->batch + i, w->n);
    }
    double error,
        loss = gm_posterior_loss(&w->local, o->batch, w->index, w->mean, w->variance, noise,
                                 t * o->batch, w->weight, w->piece, w->dmean, w->dvariance, &error);
    const gm_kernels *k = w->local.engine.k;
    double size = k->dot(w->p, w->dmean, w->dmean) + k->dot(w->p, w->dvariance, w->dvariance);
    follow(&w->loss, loss, t);
    follow(&w->risk, error, t);
    return isfinite(size) && isfinite(loss);
}

static gm_objective_value objective(const work *w)
{
    return gm_objective_at(w->o->objective, fmin(fmax(w->risk, 1e-6), 1.0 - 1e-9), w->kl + w->cost,
                           w->n, w->o->grid, w->o->delta);
}

static void note(const work *w, uint64_t t, double value, gm_optimize_result *r)
{
    r->point[r->points++] = (gm_optimize_point){t, w->risk, w->loss, w->kl, value};
}

static void run_steps(work *w, gm_optimize_result *r)
{
    const gm_optimize_options *o = w->o;
    uint64_t steps = o->steps, every = (steps + GM_OPTIMIZE_POINTS - 2) / (GM_OPTIMIZE_POINTS - 1);
    for (uint64_t t = 0; t < steps; t++) {
        if (o->stop && o->stop(o->context)) break;
        if (!gradient(w, t)) {
            r->diverged = true;
            break;
        }
        gm_objective_value v = objective(w);
        if (t % every == 0) note(w, t, v.value, r);
        take_step(w, t, v.by_risk / v.by_kl * fmax(w->risk, 1e-6) / fmax(w->loss, 1e-12));
        r->steps = t + 1;
        if (o->progress) o->progress(o->context, t + 1, steps, v.value);
    }
    if (r->steps) note(w, r->steps, objective(w).value, r);
}

/* Prior and, where a step was made, posterior. */
static void take_result(work *w, double *theta, double *ratio, gm_optimize_result *result)
{
    gm_scales_round(&w->scales);
    if (w->o->learned) result->cost = gm_scales_cost(&w->scales);
    for (size_t i = 0; i < w->scales.stretches; i++) {
        const gm_stretch *at = &w->scales.stretch[i];
        double factor = exp(w->scales.log_factor[at->tensor]);
        for (size_t j = at->first; j < at->end; j++) {
            double unit = w->unit[j] * factor;
            if (w->o->learned) w->o->learned[j] = unit;
            if (result->steps == 0) continue;
            theta[j] = w->theta0[j] + w->scale * unit * w->d[j];
            ratio[j] = w->r[j];
        }
    }
}

gm_status gm_posterior_optimize(gm_problem *problem, const double *theta0, const double *unit,
                                double scale, const gm_optimize_options *options, double *theta,
                                double *ratio, gm_optimize_result *result, gm_error *err)
{
    *result = (gm_optimize_result){0};
    gm_status status = check(problem, options, err);
    if (status != GM_OK) return status;
    size_t p = gm_problem_parameters(problem);
    gm_gaussians start = {p, theta0, unit, scale, theta, ratio};
    work w = {.o = options,
              .theta0 = theta0,
              .unit = unit,
              .scale = scale,
              .n = gm_problem_data(problem)->n,
              .p = p};
    status = open_work(problem, &start, &w, err);
    if (status == GM_OK) {
        run_steps(&w, result);
        take_result(&w, theta, ratio, result);
    }
    close_work(&w);
    return status;
}
