/* The functions that stand for the bound while a posterior is optimized, with their derivatives. */
#include <math.h>

#include "gradiometer/posterior.h"

static const char *const names[] = {"kl", "quadratic", "catoni"};

const char *gm_objective_name(gm_objective objective)
{
    return names[objective];
}

/* p = kl^-1(q, c): with F(q, p) = kl(q || p) - c = 0, dp/dc = 1/F_p and dp/dq = -F_q/F_p,
 *   F_p = (p - q) / (p (1 - p)),  F_q = ln(q (1 - p) / (p (1 - q))).
 * At q = 0 the derivative by q is infinite; the smallest risk that differs from 0 stands for it. */
static gm_objective_value inverse(double q, double c)
{
    q = fmax(q, 1e-12);
    double p = gm_kl_inverse_upper(q, c);
    double by_p = (p - q) / (p * (1.0 - p)), by_q = log(q / p) + log1p(-p) - log1p(-q);
    return (gm_objective_value){p, -by_q / by_p, 1.0 / by_p};
}

static gm_objective_value quadratic(double q, double c)
{
    double a = sqrt(q + 0.5 * c), b = sqrt(0.5 * c), sum = a + b;
    return (gm_objective_value){sum * sum, sum / a, 0.5 * sum * (1.0 / a + 1.0 / b)};
}

gm_objective_value gm_objective_at(gm_objective objective, double risk, double divergence, size_t n,
                                   size_t grid, double delta)
{
    double samples = (double)n;
    if (objective == GM_OBJECTIVE_CATONI) {
        gm_catoni c;
        gm_bound_catoni_best(risk, divergence, n, grid, delta, &c);
        double slope = c.b - c.bound; /* exp(-t L - C) / (1 - beta) */
        return (gm_objective_value){c.bound, -log(c.beta) * slope, slope / samples};
    }
    double c = (divergence + log(2.0 * sqrt(samples) * (double)grid / delta)) / samples;
    gm_objective_value v = objective == GM_OBJECTIVE_KL ? inverse(risk, c) : quadratic(risk, c);
    v.by_kl /= samples;
    return v;
}
