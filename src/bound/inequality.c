/* PAC-Bayes inequalities and the inversion of the kl divergence of two coins.
 *
 * With d = p - q,
 *   kl(q || p) = q phi(d/q) + (1 - q) phi(-d/(1 - q)),   phi(x) = x - log1p(x) >= 0,
 * a sum of two terms that are never negative: nothing cancels, however near p is to q. */
#include "gradiometer/bound.h"

#include <float.h>
#include <math.h>

#include "bound/log_excess.h"

/* q phi(d/q), for q >= 0 and d >= -q. */
static double coin_term(double q, double d)
{
    if (q == 0.0) return d;
    double x = d / q;
    /* d may exceed the range of numbers times q: then ln(1 + d/q) = ln(d) - ln(q) to the last bit
     */
    if (x > 1e300) return d - q * (log(d) - log(q));
    return q * gm_log_excess(x);
}

double gm_kl_coin(double q, double p)
{
    double d = p - q;
    if (d == 0.0) return 0.0;
    return coin_term(q, d) + coin_term(1.0 - q, -d);
}

/* Newton's method in u = -ln((1 - p)/(1 - q)): there the divergence is convex, with the slope
 * (p - q)/p in [0, 1), so that from the right of the root every step stays to its right. The start
 * comes from Pinsker's inequality, kl >= 2 (p - q)^2, and from kl >= (1 - q) u - (-q ln q). */
double gm_kl_inverse_upper(double q, double c)
{
    if (!(q >= 0.0 && q <= 1.0 && c >= 0.0)) return (double)NAN;
    if (q == 0.0) return -expm1(-c);
    if (q == 1.0 || c == 0.0) return q;
    double rest = 1.0 - q, u = (c - q * log(q)) / rest;
    double near = (c + sqrt(c * c + 2.0 * c * q)) / rest;
    if (near < 1.0) u = fmin(u, -log1p(-near));
    double d = -rest * expm1(-u);
    for (int i = 0; i < 100 && isfinite(u); i++) {
        double excess = coin_term(q, d) + coin_term(rest, -d) - c;
        double next = u - excess * (q + d) / d;
        if (!(next < u) || !(next > 0.0)) break;
        bool done = u - next <= DBL_EPSILON * u;
        u = next;
        d = -rest * expm1(-u);
        if (done) break;
    }
    return fmin(q + d, 1.0);
}

double gm_kl_inverse_lower(double q, double c)
{
    return 1.0 - gm_kl_inverse_upper(1.0 - q, c);
}

double gm_bound_kl(double risk, double divergence, size_t n, size_t grid, double delta)
{
    double samples = (double)n;
    double logarithm = log(2.0) + 0.5 * log(samples) + log((double)grid) - log(delta);
    return gm_kl_inverse_upper(risk, (divergence + logarithm) / samples);
}

bool gm_bound_nonvacuous(double bound)
{
    return bound < 1.0 - 1e-12;
}

void gm_bound_catoni(double risk, double divergence, size_t n, size_t grid, double delta,
                     double beta, gm_catoni *result)
{
    double budget = (divergence + log((double)grid) - log(delta)) / (double)n;
    double t = -log(beta), b = 1.0 / (1.0 - beta);
    *result = (gm_catoni){.beta = beta,
                          .a = t * b,
                          .b = b,
                          .bound = -expm1(-t * risk - budget) * b,
                          .linear = t * b * risk + b * budget};
}

void gm_bound_catoni_best(double risk, double divergence, size_t n, size_t priors, double delta,
                          gm_catoni *result)
{
    for (int k = 0; k < GM_CATONI_BETAS; k++) {
        gm_catoni one;
        double beta = exp(-exp2(0.5 * (k - 12)));
        gm_bound_catoni(risk, divergence, n, priors * GM_CATONI_BETAS, delta, beta, &one);
        if (k == 0 || one.bound < result->bound) *result = one;
    }
}
