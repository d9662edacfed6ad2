/* Minimizing the bound over the posterior.
 *
 * Coordinates d = (theta - theta0) / sigma and rho = ln r, r = sigma^2 nu, per weight; then
 *   KL = 1/2 sum [rho + exp(-rho) - 1 + d^2],   variance v = sigma^2 exp(-rho),
 * and with a = d objective / d risk and b = d objective / d KL
 *   by d    a sigma dL/dtheta + b d
 *   by rho  -a v dL/dv + b (1 - exp(-rho)) / 2,
 * dL/dtheta and dL/dv of a mini-batch by the local reparameterization. Adam (Kingma and Ba 2015) on
 * n times these, with a step that falls to 0 like a cosine: what the noise of the batches leaves in
 * a million coordinates is divergence, and must die out. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "bound/local.h"
#include "bound/optimize.h"
#include "bound/posterior.h"

enum { SLICE = 4096 };

void gm_optimize_options_default(gm_optimize_options *options)
{
    *options = (gm_optimize_options){
        .steps = 1000, .batch = 250, .step = 0.005, .grid = GM_PRIOR_SCALES, .delta = 0.045};
}

static gm_status check(const gm_problem *problem, const gm_optimize_options *o, gm_error *err)
{
    if (gm_problem_loss(problem) != GM_LOSS_CROSS_ENTROPY)
        return gm_fail(err, GM_ERR_USAGE,
                       "--optimize: found the squared loss, expected cross_entropy: its clipped "
                       "form is what is minimized");
    if (o->steps < 1 || o->batch < 1 || o->grid < 1)
        return gm_fail(err, GM_ERR_USAGE,
                       "--optimize: %llu steps of batch %zu, expected at least 1 of each",
                       (unsigned long long)o->steps, o->batch);
    if (!(o->step > 0.0) || !isfinite(o->step))
        return gm_fail(err, GM_ERR_USAGE, "--optimize-step: found %g, expected a number > 0",
                       o->step);
    if (!(o->delta > 0.0 && o->delta < 1.0))
        return gm_fail(err, GM_ERR_USAGE, "--delta: found %g, expected a number between 0 and 1",
                       o->delta);
    return gm_posterior_check(problem, err);
}

/* ---- gradient of a mini-batch ---- */

double gm_posterior_risk(gm_local *l, double clip, size_t n, const size_t *index, const void *mean,
                         const void *variance, gm_stream noise, uint64_t first, double *weight,
                         void *dmean, void *dvariance)
{
    double risk = 0.0;
    size_t bytes = gm_problem_parameters(l->problem) * l->engine.k->size;
    gm_local_value(l, n, index, mean, variance, noise, first);
    for (size_t i = 0; i < n; i++) {
        bool cut = !(l->loss[i] < clip);
        risk += cut ? 1.0 : l->loss[i] / clip;
        weight[i] = cut ? 0.0 : 1.0 / (clip * (double)n);
    }
    memset(dmean, 0, bytes);
    memset(dvariance, 0, bytes);
    gm_local_gradient(l, mean, variance, weight, dmean, dvariance);
    return risk / (double)n;
}

/* ---- Adam ---- */

typedef struct work {
    const gm_optimize_options *o;
    const double *theta0, *unit;
    double scale, clip;
    size_t n, p;
    gm_local local;
    double *memory, *d, *rho, *m, *s;          /* d, rho [p]; m, s [2 p]: Adam's means of both */
    void *mean, *variance, *dmean, *dvariance; /* native [p] */
    size_t *index;                             /* [batch] */
    double *weight;                            /* [batch] */
    double kl, risk;                           /* risk: running mean */
} work;

static gm_status open_work(gm_problem *problem, const gm_gaussians *start, work *w, gm_error *err)
{
    size_t p = w->p, size = problem->engine.k->size, numbers;
    if (!gm_mul_size(p, 6, &numbers))
        return gm_fail(err, GM_ERR_MEMORY, "posterior of %zu parameters overflows", p);
    w->memory = gm_alloc(numbers, sizeof *w->memory, "posterior", err);
    w->dmean = gm_alloc(p, size, "gradient", err);
    w->dvariance = gm_alloc(p, size, "gradient", err);
    w->index = gm_alloc(w->o->batch, sizeof *w->index, "mini-batch", err);
    w->weight = gm_alloc(w->o->batch, sizeof *w->weight, "mini-batch", err);
    if (!w->memory || !w->dmean || !w->dvariance || !w->index || !w->weight) return GM_ERR_MEMORY;
    w->d = w->memory;
    w->rho = w->d + p;
    w->m = w->rho + p;
    w->s = w->m + 2 * p;
    for (size_t j = 0; j < p; j++) {
        w->d[j] = (start->theta[j] - start->theta0[j]) / (start->scale * start->unit[j]);
        w->rho[j] = log(start->ratio[j]);
        w->kl += 0.5 * (w->rho[j] + expm1(-w->rho[j]) + w->d[j] * w->d[j]);
    }
    gm_status status = gm_posterior_native(problem, start, &w->mean, &w->variance, err);
    if (status != GM_OK) return status;
    return gm_local_open(problem, w->o->batch, &w->local, err);
}

static void close_work(work *w)
{
    gm_local_close(&w->local);
    gm_free(w->memory);
    gm_free(w->mean);
    gm_free(w->variance);
    gm_free(w->dmean);
    gm_free(w->dvariance);
    gm_free(w->index);
    gm_free(w->weight);
}

/* One coordinate of Adam: eta and root hold the corrections of the bias. */
static double adam(double g, double eta, double root, double *mean, double *square)
{
    *mean += 0.1 * (g - *mean);
    *square += 0.001 * (g * g - *square);
    return eta * *mean / (sqrt(*square) * root + 1e-8);
}

/* Coordinates first ... end - 1; returns their part of KL, after the step. */
static double step_slice(work *w, size_t first, size_t end, double a, double b, double eta,
                         double root)
{
    const gm_kernels *k = w->local.engine.k;
    double gd[SLICE], gv[SLICE], kl = 0.0;
    size_t count = end - first, p = w->p, shift = first * k->size;
    k->to_double(count, (char *)w->dmean + shift, gd);
    k->to_double(count, (char *)w->dvariance + shift, gv);
    for (size_t i = 0; i < count; i++) {
        size_t j = first + i;
        double sigma = w->scale * w->unit[j], e = exp(-w->rho[j]), v = sigma * sigma * e;
        double by_d = a * sigma * gd[i] + b * w->d[j];
        double by_rho = -a * v * gv[i] + 0.5 * b * (1.0 - e);
        w->d[j] -= adam(by_d, eta, root, &w->m[j], &w->s[j]);
        w->rho[j] -= adam(by_rho, eta, root, &w->m[p + j], &w->s[p + j]);
        e = exp(-w->rho[j]);
        kl += 0.5 * (w->rho[j] + e - 1.0 + w->d[j] * w->d[j]);
        gd[i] = w->theta0[j] + sigma * w->d[j];
        gv[i] = sigma * sigma * e;
    }
    k->from_double(count, gd, (char *)w->mean + shift);
    k->from_double(count, gv, (char *)w->variance + shift);
    return kl;
}

/* n times the objective has derivatives a and b by risk and KL. */
static void adam_step(work *w, uint64_t t, double a, double b)
{
    double after = (double)(t + 1), share = (double)t / (double)w->o->steps;
    double eta = w->o->step * 0.5 * (1.0 + cos(acos(-1.0) * share)) / (1.0 - pow(0.9, after));
    double root = 1.0 / sqrt(1.0 - pow(0.999, after)), kl = 0.0;
#pragma omp parallel for ordered schedule(static, 1)
    for (size_t at = 0; at < w->p; at += SLICE) {
        double part = step_slice(w, at, w->p - at < SLICE ? w->p : at + SLICE, a, b, eta, root);
#pragma omp ordered
        kl += part;
    }
    w->kl = kl;
}

/* Gradient of step t; its risk goes into the running mean. False where it is no number. */
static bool gradient(work *w, uint64_t t)
{
    const gm_optimize_options *o = w->o;
    gm_stream batch = gm_stream_of(o->seed, GM_PURPOSE_OPTIMIZE, 0);
    gm_stream noise = gm_stream_of(o->seed, GM_PURPOSE_OPTIMIZE, 1);
    for (size_t i = 0; i < o->batch; i++) {
        w->index[i] = (size_t)gm_below(batch, t * o->batch + i, w->n);
    }
    double risk =
        gm_posterior_risk(&w->local, w->clip, o->batch, w->index, w->mean, w->variance, noise,
                          t * o->batch * w->local.units, w->weight, w->dmean, w->dvariance);
    const gm_kernels *k = w->local.engine.k;
    double size = k->dot(w->p, w->dmean, w->dmean) + k->dot(w->p, w->dvariance, w->dvariance);
    w->risk = t == 0 ? risk : w->risk + fmax(0.02, 1.0 / (double)(t + 1)) * (risk - w->risk);
    return isfinite(size);
}

static gm_objective_value objective(const work *w)
{
    return gm_objective_at(w->o->objective, fmin(w->risk, 1.0 - 1e-9), w->kl, w->n, w->o->grid,
                           w->o->delta);
}

static void note(const work *w, uint64_t t, double value, gm_optimize_result *r)
{
    r->point[r->points++] = (gm_optimize_point){t, w->risk, w->kl, value};
}

static void run_steps(work *w, gm_optimize_result *r)
{
    const gm_optimize_options *o = w->o;
    uint64_t steps = o->steps, every = (steps + GM_OPTIMIZE_POINTS - 2) / (GM_OPTIMIZE_POINTS - 1);
    double samples = (double)w->n;
    for (uint64_t t = 0; t < steps; t++) {
        if (o->stop && o->stop(o->context)) break;
        if (!gradient(w, t)) {
            r->diverged = true;
            break;
        }
        gm_objective_value v = objective(w);
        if (t % every == 0) note(w, t, v.value, r);
        adam_step(w, t, samples * v.by_risk, samples * v.by_kl);
        r->steps = t + 1;
        if (o->progress) o->progress(o->context, t + 1, steps, v.value);
    }
    if (r->steps) note(w, r->steps, objective(w).value, r);
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
              .clip = gm_posterior_clip(problem, options->clip),
              .n = gm_problem_data(problem)->n,
              .p = p};
    status = open_work(problem, &start, &w, err);
    if (status == GM_OK) {
        run_steps(&w, result);
        for (size_t j = 0; j < p && result->steps; j++) {
            theta[j] = theta0[j] + scale * unit[j] * w.d[j];
            ratio[j] = exp(w.rho[j]);
        }
    }
    close_work(&w);
    return status;
}
