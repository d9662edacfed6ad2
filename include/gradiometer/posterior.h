/* A posterior optimized for the bound itself, and the certificate of any Gaussian posterior by
 * draws of single samples (theory section 4). Notation of gradiometer/bound.h. */
#ifndef GRADIOMETER_POSTERIOR_H
#define GRADIOMETER_POSTERIOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/bound.h"
#include "gradiometer/diff.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- objectives --- */

/* What is minimized, a function of a risk L in [0, 1] and the divergence KL; with
 * C = (KL + ln(2 sqrt(n) grid / delta)) / n:
 *   kl         kl^-1(L, C), the bound of the kl form itself
 *   quadratic  (sqrt(L + C/2) + sqrt(C/2))^2 >= kl^-1 (Perez-Ortiz et al. 2021, arXiv 2007.12911)
 *   catoni     gm_bound_catoni_best, whose logarithm is another. */
typedef enum gm_objective {
    GM_OBJECTIVE_KL,
    GM_OBJECTIVE_QUADRATIC,
    GM_OBJECTIVE_CATONI
} gm_objective;
const char *gm_objective_name(gm_objective objective); /* "kl", "quadratic", "catoni" */

typedef struct gm_objective_value {
    double value;          /* not cut at 1 */
    double by_risk, by_kl; /* its derivatives; beta of catoni held, as the best one allows */
} gm_objective_value;
/* risk in [0, 1), divergence >= 0. */
gm_objective_value gm_objective_at(gm_objective objective, double risk, double divergence, size_t n,
                                   size_t grid, double delta);

/* --- optimizing --- */

typedef struct gm_optimize_options {
    gm_objective objective; /* GM_OBJECTIVE_KL */
    uint64_t steps;         /* 1000: >= 1 */
    size_t batch;           /* 250: samples in a step, drawn with replacement; >= 1 */
    double step;            /* 0.05: the share of the way to where the gradients say the optimum is
                               that a step goes, in (0, 1]; falls like 1/t */
    double *learned;        /* NULL: the prior's scales are kept. [p]: those of its tensors are
                               learned too; out: unit times the factor of its tensor */
    size_t grid;            /* 7 = GM_PRIOR_SCALES: priors among which the data may choose */
    double delta;           /* 0.045, in (0, 1): failure probability of the sample */
    uint64_t seed;          /* 0 */
    void *context;          /* of the two below, either NULL */
    bool (*stop)(void *context);
    void (*progress)(void *context, uint64_t t, uint64_t steps, double objective);
} gm_optimize_options;
void gm_optimize_options_default(gm_optimize_options *options);

/* A moment of the optimization: running means of the 0-1 error and of the log-loss, divergence,
 * objective. */
typedef struct gm_optimize_point {
    uint64_t step;
    double risk, loss, kl, objective;
} gm_optimize_point;

enum { GM_OPTIMIZE_POINTS = 64 };
typedef struct gm_optimize_result {
    uint64_t steps; /* done: fewer than asked for where stopped */
    bool diverged;  /* a gradient that was no number: theta and ratio are those before it */
    double cost;    /* nats that the union bound over learned scales takes, else 0 */
    size_t points;
    gm_optimize_point point[GM_OPTIMIZE_POINTS]; /* evenly spaced, first and last included */
} gm_optimize_result;

/* Minimizes the objective at the 0-1 error, whose gradient is taken from the log-loss,
 * over means theta [p] and precisions ratio [p] of Q (both read as the start and overwritten), for
 * the prior N(theta0, (scale unit)^2), by natural gradients: nothing depends on the scales of the
 * layers. Each step draws a batch, with a draw of the weights for each sample (local
 * reparameterization, Kingma et al. 2015, arXiv 1506.02557); layers whose weights act more than
 * once on a sample (convolutions) have one draw for a tenth of the batch, and their precisions go
 * by the scatter of gradients over it, the Fisher matrix in the place of the Hessian.
 *
 * GM_ERR_USAGE for options out of range, the squared loss, and several labels a sample. Cost: about
 * two gradients of a batch a step, and three p numbers' update. Memory: seven arrays of p numbers.
 */
gm_status gm_posterior_optimize(gm_problem *problem, const double *theta0, const double *unit,
                                double scale, const gm_optimize_options *options, double *theta,
                                double *ratio, gm_optimize_result *result, gm_error *err);

/* Whether learned scales are likely to be worth their union bound: 4,000 samples a tensor. */
bool gm_posterior_scales_pay(const gm_net *net, size_t n);

/* --- certificate --- */

typedef struct gm_certificate_options {
    double delta;       /* 0.05, in (0, 1) */
    double draws_share; /* 0.1, in (0, 1): the part of delta spent on the draws */
    size_t rounds;      /* 0: draws for each sample; 0 = 10, or what makes 250,000 of all */
    double clip;        /* l_max of the loss min(l, l_max) / l_max; 0 = ln(100 K) */
    double cost;        /* 0: nats of a union bound over unit: that of gm_optimize_result */
    bool fixed_scale;   /* false: c may be any of gm_prior_scale, with the union bound; true: the c
                           given was fixed before the data */
    uint64_t seed;      /* 0: draws of stream (seed, GM_PURPOSE_POSTERIOR, run) */
    uint32_t run;       /* 0 */
    void *context;
    bool (*stop)(void *context); /* asked between chunks; GM_ERR_INTERRUPTED */
} gm_certificate_options;
void gm_certificate_options_default(gm_certificate_options *options);

/* Of a loss in [0, 1]: mean over the draws, its upper limit, and the bound. */
typedef struct gm_certified {
    double mean, std_error, upper, bound;
} gm_certified;

typedef struct gm_certificate {
    size_t n, priors, draws; /* samples; |C|; draws */
    size_t each;             /* samples that a draw is tried on, at most: 1 without convolutions */
    double delta_sample, delta_draws;
    double scale;     /* c: the one of the grid with the smallest divergence */
    double logarithm; /* ln(2 sqrt(n) |C| / delta_sample) + cost */
    gm_divergence divergence;
    size_t overflowed; /* draws beyond the range of numbers: they count as wrong, with loss 1 */
    gm_certified error, clipped; /* of 0-1 error and of the clipped loss */
} gm_certificate;

/* The kl bound for one Q fixed before these draws: each sample of problem is tried on `rounds`
 * draws of the weights, each draw on one sample, so that there are rounds n independent terms in
 * [0, 1] with mean L_S(Q) (Hoeffding 1963, theorem 1): many for the price of few passes. With
 * convolutions a draw is of all weights, tried on 32 samples (gm_gibbs_estimate). scale,
 * unit and theta0 define the prior, ratio the precisions of Q at that scale; where c is free, the c
 * in the result is the best for this Q. GM_ERR_USAGE as for gm_posterior_optimize (the squared loss
 * is allowed). Cost: 2 rounds value passes and rounds n units normal numbers. */
gm_status gm_certificate_measure(gm_problem *problem, const gm_gaussians *g,
                                 const gm_certificate_options *options, gm_certificate *certificate,
                                 gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
