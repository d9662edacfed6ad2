/* KL divergence of two Gaussians with diagonal covariances, as two terms (theory section 4).
 *
 * Per coordinate, with r = sigma^2 nu: ln r + 1/r - 1 = phi(1/r - 1), phi(x) = x - log1p(x), which
 * is 0 exactly at r = 1 and never negative. */
#include <math.h>

#include "bound/log_excess.h"
#include "gradiometer/bound.h"

double gm_log_excess(double x)
{
    if (fabs(x) > 0.5) return x - log1p(x);
    /* ln(1 + x) = 2 atanh r with r = x / (2 + x), and x - 2 r = r x: the large parts are taken
     * from each other by algebra, what is left is smaller than they are. |r| <= 1/3. */
    double r = x / (2.0 + x), square = r * r, power = 1.0, sum = 0.0;
    for (int k = 3; k < 40; k += 2) {
        double term = power / k;
        sum += term;
        if (term < 1e-17 * sum) break;
        power *= square;
    }
    return r * x - 2.0 * r * square * sum;
}

void gm_posterior_ratio(size_t size, const double *h, double lambda, const double *unit,
                        double scale, double *ratio)
{
#pragma omp parallel for schedule(static) if (size > 65536)
    for (size_t j = 0; j < size; j++) {
        double sigma = scale * unit[j], r = lambda * h[j] * sigma * sigma;
        ratio[j] = r > 1.0 ? r : 1.0;
    }
}

void gm_gaussian_divergence_part(const gm_gaussians *g, size_t first, size_t count,
                                 gm_divergence *divergence)
{
    double excess = 0.0;
    *divergence = (gm_divergence){0};
    for (size_t j = first; j < first + count; j++) {
        double d = (g->theta[j] - g->theta0[j]) / (g->scale * g->unit[j]), r = g->ratio[j];
        divergence->distance += d * d;
        if (r == 1.0) continue;
        excess += gm_log_excess(1.0 / r - 1.0);
        if (r > 1.0) {
            divergence->effective_curvature += log(r);
            divergence->active++;
        }
    }
    divergence->kl = 0.5 * (excess + divergence->distance);
}

void gm_gaussian_divergence(const gm_gaussians *g, gm_divergence *divergence)
{
    gm_gaussian_divergence_part(g, 0, g->size, divergence);
}
