/* Spectral densities: quadrature nodes smoothed by a Gaussian, integrated over bins. */
#include <math.h>

#include "base/memory.h"
#include "gradiometer/estimate.h"
#include "spectrum/sketch.h"

/* The bins reach this many widths beyond the nodes. */
static const double reach = 6;

double gm_density_width(const gm_quadrature *q)
{
    double min = q->node[0], max = q->node[0];
    for (size_t i = 0; i < q->probes * q->steps; i++) {
        min = fmin(min, q->node[i]);
        max = fmax(max, q->node[i]);
    }
    double spread = max - min, size = fmax(fabs(max), fabs(min));
    if (spread <= q->floor) spread = size > 0 ? size : 1;
    /* Neighbouring kernels of `steps` even nodes meet at a third of their height. */
    double overlap = 1 / ((double)(q->steps > 1 ? q->steps - 1 : 1) * sqrt(8 * log(3)));
    return spread * fmin(1.0 / 200, overlap);
}

void gm_density_edges(const gm_quadrature *q, double width, size_t bins, double *edge)
{
    double from = q->min - reach * width, to = q->max + reach * width;
    for (size_t b = 0; b <= bins; b++) {
        double t = (double)b / (double)bins;
        edge[b] = (1 - t) * from + t * to;
    }
}

/* Integral of the normal density over (a, b], a <= b, by the tail in which neither end rounds to 1.
 */
static double normal_mass(double a, double b)
{
    const double root = sqrt(0.5);
    if (a > 0) return 0.5 * (erfc(a * root) - erfc(b * root));
    if (b < 0) return 0.5 * (erfc(-b * root) - erfc(-a * root));
    return 0.5 * (erf(b * root) - erf(a * root));
}

/* share [bins] of one probe */
static void probe_mass(const gm_quadrature *q, size_t probe, double width, size_t bins,
                       const double *edge, double *share)
{
    for (size_t b = 0; b < bins; b++) {
        share[b] = 0;
        for (size_t i = 0; i < q->deflated; i++) {
            if (q->atom[i] > edge[b] && q->atom[i] <= edge[b + 1]) share[b] += 1 / (double)q->size;
        }
        for (size_t j = 0; j < q->taken[probe]; j++) {
            double node = q->node[probe * q->steps + j], weight = q->weight[probe * q->steps + j];
            share[b] +=
                weight * normal_mass((edge[b] - node) / width, (edge[b + 1] - node) / width);
        }
    }
}

gm_status gm_density_mass(const gm_quadrature *q, double width, size_t bins, const double *edge,
                          double *mass, double *std_error, double *total, gm_error *err)
{
    if (!(width > 0) || !isfinite(width)) {
        return gm_fail(err, GM_ERR_USAGE, "kernel width: %g, expected a positive number", width);
    }
    for (size_t b = 0; b < bins; b++) {
        if (!(edge[b] < edge[b + 1])) {
            return gm_fail(err, GM_ERR_USAGE, "bin %zu: edges %g and %g, expected ascending ones",
                           b, edge[b], edge[b + 1]);
        }
    }
    double *share = gm_alloc(q->probes * bins, sizeof *share, "probes' densities", err);
    double *column = gm_alloc(q->probes, sizeof *column, "one bin's shares", err);
    gm_status status = share && column ? GM_OK : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    for (size_t i = 0; i < q->probes; i++) {
        probe_mass(q, i, width, bins, edge, share + i * bins);
    }
    double sum = 0;
    for (size_t b = 0; b < bins; b++) {
        for (size_t i = 0; i < q->probes; i++) {
            column[i] = share[i * bins + b];
        }
        gm_estimate e = gm_estimate_mean(q->probes, column);
        mass[b] = e.value;
        if (std_error) std_error[b] = e.std_error;
        sum += e.value;
    }
    if (total) *total = sum;
done:
    gm_free(share);
    gm_free(column);
    return status;
}
