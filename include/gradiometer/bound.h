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
 * on the way from the input, its own included (where ways join, the largest product). A layer's
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

#ifdef __cplusplus
}
#endif
#endif
