/* A scale-invariant PAC-Bayes bound on the risk of a trained net (theory section 4).
 *
 * Notation: prior P = N(theta_0, diag(sigma_j^2)), posterior Q = N(theta, diag(1 / nu_j)), n
 * samples S from the distribution D. The bounds hold for the Gibbs risk L_D(Q), the expected loss
 * of a net drawn from Q on a new sample, for a loss in [0, 1], with probability at least 1 - delta
 * over S and for all Q at once. P must not depend on S. */
#ifndef GRADIOMETER_BOUND_H
#define GRADIOMETER_BOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/curvature.h"
#include "gradiometer/diff.h"
#include "gradiometer/net.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- inequalities --- */

/* kl(q || p) = q ln(q/p) + (1 - q) ln((1 - q)/(1 - p)) for q, p in [0, 1]: the divergence of two
 * coins. Infinite where p is 0 or 1 and q is not. Relative accuracy a few eps, at q near p too. */
double gm_kl_coin(double q, double p);

/* The largest p in [q, 1] with kl(q || p) <= c, for q in [0, 1] and c >= 0; and the smallest p in
 * [0, q]. Accurate to 1e-15 (the upper one relative to p - q and to p): at q = 0 the upper one is
 * -expm1(-c). NaN where q or c is out of range or NaN; c may be infinite. */
double gm_kl_inverse_upper(double q, double c);
double gm_kl_inverse_lower(double q, double c);

/* kl form (Seeger 2002; Maurer 2004, arXiv cs/0411099): the largest L_D(Q) with
 *   kl(L_S(Q) || L_D(Q)) <= (KL + ln(2 sqrt(n) grid / delta)) / n,
 * grid >= 1 the number of priors among which the data may have chosen. risk = L_S(Q) in [0, 1],
 * divergence = KL(Q || P) >= 0. (Maurer proves the 2 sqrt(n) for n >= 8; below, the constant was
 * found to hold by enumeration.) */
double gm_bound_kl(double risk, double divergence, size_t n, size_t grid, double delta);

/* Whether a bound on a loss in [0, 1] says anything: it is below 1 by more than 1e-12, the accuracy
 * that is promised for it. Where divergence / n is large the inversion ends a rounding error or two
 * below 1, which is a bound of 1. False for NaN. */
bool gm_bound_nonvacuous(double bound);

/* Fast-rate form (Catoni 2007, arXiv 0712.0248). For beta in (0, 1) fixed before the data,
 *   L_D(Q) <= [1 - exp(-ln(1/beta) L_S(Q) - C)] / (1 - beta)    (Catoni)
 *          <= a L_S(Q) + b C                                    (its linear form),
 * C = (KL + ln(grid / delta)) / n, a = ln(1/beta) / (1 - beta), b = 1 / (1 - beta); grid counts
 * pairs of prior and beta. Neither is cut at 1. */
typedef struct gm_catoni {
    double beta, a, b;
    double bound;  /* Catoni */
    double linear; /* its linear form */
} gm_catoni;
void gm_bound_catoni(double risk, double divergence, size_t n, size_t grid, double delta,
                     double beta, gm_catoni *result);
/* The beta among GM_CATONI_BETAS fixed ones, beta = exp(-2^(k/2)), k = -12 ... 8, with the smallest
 * bound; priors >= 1 counts priors alone: the grid is priors GM_CATONI_BETAS. */
enum { GM_CATONI_BETAS = 21 };
void gm_bound_catoni_best(double risk, double divergence, size_t n, size_t priors, double delta,
                          gm_catoni *result);

/* --- prior --- */

/* Scale of the prior, unit_j = sigma_j / c, from the initialization theta0 [p]: for the weights of
 * a layer rms(W at theta0); for its biases the product of rms(W_k) sqrt(fan_in_k) over the layers k
 * on the way from the input, its own included (where ways join, the largest product; 1 where there
 * is no way from the input, as for a learned scale without layer of its own). A layer's
 * rescaling by alpha multiplies both as it does theta0, so that the bound stays put. given
 * [gm_net_layers] or NULL: where given[l] > 0 it stands in the place of layer l's rms. unit [p].
 * GM_ERR_INPUT where all weights of a layer without a given scale are zero in theta0: the message
 * names it. */
gm_status gm_prior_unit(const gm_net *net, const double *theta0, const double *given, double *unit,
                        gm_error *err);

/* The grid of c, fixed before the data: 2^-5 ... 2. */
enum { GM_PRIOR_SCALES = 7 };
extern const double gm_prior_scale[GM_PRIOR_SCALES];

/* --- Gaussians --- */

/* The two Gaussians, each array [size] of the caller's. Precisions of Q are held as ratios to those
 * of P, which rescaling leaves alone and which are 1 exactly where Q has the prior's variance. */
typedef struct gm_gaussians {
    size_t size;
    const double *theta0; /* mean of P */
    const double *unit;   /* standard deviation of P: sigma_j = scale unit_j */
    double scale;         /* c > 0 */
    const double *theta;  /* mean of Q */
    const double *ratio;  /* sigma_j^2 nu_j > 0: standard deviation of Q is sigma_j / sqrt(ratio) */
} gm_gaussians;

/* ratio [size] = max(lambda h_j sigma_j^2, 1), that is nu_j = max(lambda h_j, 1 / sigma_j^2), from
 * the diagonal h [size] of the Hessian. Entries <= 0 (or NaN) of h give 1. */
void gm_posterior_ratio(size_t size, const double *h, double lambda, const double *unit,
                        double scale, double *ratio);

/* KL(Q || P) = 1/2 sum [ln r_j + 1/r_j - 1 + d_j^2], r_j = ratio, d_j = (theta_j - theta0_j) /
 * sigma_j, and the two terms that bound it: KL <= (effective_curvature + distance) / 2. */
typedef struct gm_divergence {
    double kl;
    double effective_curvature; /* sum of ln r_j over r_j > 1 */
    double distance;            /* sum of d_j^2 */
    size_t active;              /* coordinates with r_j > 1 */
} gm_divergence;
void gm_gaussian_divergence(const gm_gaussians *g, gm_divergence *divergence);
/* The same for coordinates first ... first + count - 1 alone, one layer's say. */
void gm_gaussian_divergence_part(const gm_gaussians *g, size_t first, size_t count,
                                 gm_divergence *divergence);

/* --- the Gibbs loss --- */

/* L_S(Q) from independent draws of the net: the terms are independent, lie in [0, 1], and their
 * mean is an unbiased estimate of L_S(Q). The number of draws is what the Monte Carlo slack depends
 * on (Hoeffding 1963, theorem 1, which does not ask for equal means), not how many samples each is
 * tried on.
 *   by layer  where each weight acts once on a sample (dense layers): each draw is tried on one
 *             sample, by its layers' outputs (local reparameterization, Kingma et al. 2015, arXiv
 *             1506.02557), N M draws for the work of N on M samples, all samples equally often
 *   whole     elsewhere, or on request: N weight vectors, each tried on one block of M samples,
 *             every block equally often; draw t takes the standard normal numbers t p ... (t + 1) p
 *             - 1 of the stream (seed, GM_PURPOSE_POSTERIOR, run), whatever Q is. */
typedef struct gm_gibbs_options {
    size_t draws;  /* 1000: N >= 1, raised so that all samples are met equally often */
    size_t block;  /* M: 0 = about 250 by layer, 1000 whole, n / N where that is more; n and above =
                      all */
    bool whole;    /* false: by layer where possible */
    double clip;   /* l_max of the clipped loss min(l, l_max) / l_max; 0 = ln(100 K) */
    uint64_t seed; /* 0 */
    uint32_t run;  /* 0 */
    void *context;
    bool (*stop)(void *context); /* NULL; asked between draws: GM_ERR_INTERRUPTED */
    const gm_team
        *team; /* NULL; else its ranks, which have all samples each, share the draws out */
} gm_gibbs_options;
void gm_gibbs_options_default(gm_gibbs_options *options);

/* Mean over the draws of a loss in [0, 1]. std_error is from the scatter of the terms: NaN for one
 * draw. */
typedef struct gm_gibbs_mean {
    double mean, std_error;
} gm_gibbs_mean;

typedef struct gm_gibbs {
    bool by_layer;
    size_t draws, blocks; /* by layer: blocks = n, of one sample each */
    size_t each;          /* samples in the largest block: 1 by layer */
    double span; /* blocks times the largest block / n: 1 where the blocks are of one size, else a
                    little more; a block's share in L_S(Q) lies in [0, span / blocks] */
    double clip;
    size_t overflowed;     /* draws that had logits or weights beyond the range of numbers: the
                              predictions count as wrong, with loss 1 */
    gm_gibbs_mean error;   /* 0-1 error */
    gm_gibbs_mean clipped; /* clipped loss */
} gm_gibbs;

/* Draws of Q on the data of the problem, in its precision. Cost by layer: two value passes over N M
 * samples, and a normal number for each of their units; whole: one value pass over N M samples, and
 * N p normal numbers. Memory: that of a problem, and p numbers per thread, or 2 p by layer.
 * GM_ERR_USAGE for no draws, GM_ERR_INTERRUPTED. */
gm_status gm_gibbs_estimate(gm_problem *problem, const gm_gaussians *g,
                            const gm_gibbs_options *options, gm_gibbs *result, gm_error *err);

/* The upper confidence limit of the expected loss for a mean over the draws of `gibbs`, with its
 * error: with probability at least 1 - delta over the draws it is no smaller. lower: likewise. By
 * the inversion of kl; where a draw is tried on several samples, so that terms scatter less than
 * coins do, that at delta / 2 or the limit by their own scatter at delta / 2, the better one
 * (Maurer and Pontil 2009, arXiv 0907.3740). */
double gm_gibbs_upper(const gm_gibbs *gibbs, gm_gibbs_mean mean, double delta);
double gm_gibbs_lower(const gm_gibbs *gibbs, gm_gibbs_mean mean, double delta);

/* --- the bound --- */

typedef enum gm_bound_form { GM_BOUND_KL, GM_BOUND_CATONI } gm_bound_form;

typedef struct gm_bound_options {
    double delta;       /* 0.05, in (0, 1): total failure probability of each bound */
    double draws_share; /* 0.1, in (0, 1): the part of delta spent on the draws, delta' */
    gm_bound_form form; /* GM_BOUND_KL */
    double prior_scale; /* 0: c from the grid, with its union bound; > 0: c fixed before the data */
    double posterior_scale;   /* 0: lambda among 1 and n {1/10, 1/3, 1, 3, 10}; > 0: lambda */
    const double *given;      /* scales of layers, as for gm_prior_unit; NULL */
    size_t diagonal_products; /* 0: diag H is exact where gm_curvature_diagonal has it, and takes
                                 100 products elsewhere; >= 2: it is estimated with so many */
    size_t trial_draws;       /* 16: draws for each pair (c, lambda) that is tried, none of them
                                 among those of the bound */
    gm_gibbs_options gibbs;   /* of the draws that the bound is made of */
} gm_bound_options;
void gm_bound_options_default(gm_bound_options *options);

/* A loss in [0, 1]: the estimate of L_S(Q), its upper limit, the bound on L_D(Q), and what the
 * bound is made of, in the order in which the parts are put on each other: bound = empirical +
 * monte_carlo + divergence + logarithm. */
typedef struct gm_bound_value {
    gm_gibbs_mean train;
    double lower, upper; /* limits of L_S(Q), each failing with probability delta' */
    double bound;        /* cut at 1 */
    double empirical;    /* train.mean */
    double monte_carlo;  /* upper - train.mean */
    double divergence;   /* what KL / n adds */
    double logarithm;    /* what the logarithm / n adds, that is delta and the union bound */
    gm_catoni catoni;    /* of the form used; zeros for GM_BOUND_KL */
} gm_bound_value;

/* One choice of c and lambda. */
typedef struct gm_bound_case {
    double prior_scale;     /* c */
    double posterior_scale; /* lambda */
    gm_divergence divergence;
    gm_gibbs gibbs;
    gm_bound_value error, clipped; /* of 0-1 error and of the clipped loss */
} gm_bound_case;

typedef struct gm_bound_layer {
    double prior_weight, prior_bias; /* sigma of its first weight and of its last parameter */
    gm_divergence divergence;        /* its part of that of the best case */
    size_t negative;                 /* entries of its part of diag H below 0, likewise */
} gm_bound_layer;

typedef struct gm_bound {
    size_t n, parameters, layers;
    double delta, delta_sample, delta_draws; /* total; for the sample; delta' of each case */
    double logarithm;    /* the whole logarithm of the form: ln(2 sqrt(n) |C| / delta_sample) or
                            ln(|C| |B| / delta_sample) */
    size_t priors;       /* |C| */
    size_t cases, tried; /* pairs (c, lambda), and those among them that draws were spent on */
    size_t negative;     /* entries of diag H below 0 by two errors or more: the posterior has the
                            prior's variance there */
    gm_bound_case best;  /* smallest bound on the 0-1 error among the trials */
    gm_bound_case plain; /* lambda = 1, the form of Li et al.; equal to best where that is it */
    bool plain_is_best;
    bool has_plain;           /* false where posterior_scale was given and is not 1 */
    gm_bound_layer *layer;    /* [layers] */
    double *diagonal;         /* diag H [p] */
    double *diagonal_error;   /* its standard errors [p]; NULL where it is exact */
    size_t diagonal_products; /* with H, spent on it */
    double divergence_error;  /* half of what the KL of the best case moves by between diag H plus
                                 and minus one standard error; 0 where exact. The bound holds
                                 whatever this is: an error makes for another posterior */
    double *unit;             /* sigma_j / c [p] */
    double *ratio;            /* sigma_j^2 nu_j of the best case [p] */
} gm_bound;

/* The bound at the point of lin from the initialization theta0 [p]: diagonal of H, prior and
 * posterior, divergence for every pair (c, lambda), a few draws for those that may be the best,
 * fresh draws for the best and for lambda = 1. Both are bounds at the same time: delta' is divided
 * by two where they differ. The choice itself costs no more: every Q is covered, and c by |C|.
 *
 * Whether the bound is valid is not looked at here: theta0 and all constants of the predictor
 * (standardization!) must not depend on the samples.
 *
 * Cost: the diagonal of H (K backward passes on piecewise-linear nets), at most 42 trial_draws
 * trial blocks and twice the draws. The result is freed by gm_bound_free. GM_ERR_USAGE for options
 * out of range; GM_ERR_INPUT from gm_prior_unit; GM_ERR_NUMERIC from gm_curvature_diagonal;
 * GM_ERR_MEMORY. */
gm_status gm_bound_measure(gm_linearization *lin, const double *theta0,
                           const gm_bound_options *options, gm_bound *bound, gm_error *err);
void gm_bound_free(gm_bound *bound);

/* --- re-scaling --- */

/* factor [p] of a random re-scaling that leaves the function of a positively homogeneous net alone:
 * the weights of layer l take alpha_l, its biases the product of alphas on the way from the input;
 * the product over every way to the output is 1, and where ways join it is the same on all of
 * them. The largest |ln alpha_l| is ln(magnitude), magnitude >= 1. alpha [gm_net_layers] or NULL.
 * Random numbers: stream (seed, GM_PURPOSE_RESCALE, run).
 * GM_ERR_INPUT where a layer is not positively homogeneous, with its name and why. */
gm_status gm_rescaling_make(const gm_net *net, double magnitude, uint64_t seed, uint32_t run,
                            double *factor, double *alpha, gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
