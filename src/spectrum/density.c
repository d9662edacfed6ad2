/* Spectral densities: quadrature nodes smoothed by a Gaussian and integrated over bins, or counted
 * in the bins of a signed logarithmic axis. */
#include <float.h>
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

/* Ascending edges of bins. */
static gm_status check_edges(size_t bins, const double *edge, gm_error *err)
{
    for (size_t b = 0; b < bins; b++) {
        if (!(edge[b] < edge[b + 1])) {
            return gm_fail(err, GM_ERR_USAGE, "bin %zu: edges %g and %g, expected ascending ones",
                           b, edge[b], edge[b + 1]);
        }
    }
    return GM_OK;
}

/* Means and standard errors over probes of share [probes, bins]. */
static gm_status summarize(size_t probes, size_t bins, const double *share, double *mass,
                           double *std_error, double *total, gm_error *err)
{
    double *column = gm_alloc(probes, sizeof *column, "one bin's shares", err), sum = 0;
    if (!column) return GM_ERR_MEMORY;
    for (size_t b = 0; b < bins; b++) {
        for (size_t i = 0; i < probes; i++) {
            column[i] = share[i * bins + b];
        }
        gm_estimate e = gm_estimate_mean(probes, column);
        mass[b] = e.value;
        if (std_error) std_error[b] = e.std_error;
        sum += e.value;
    }
    if (total) *total = sum;
    gm_free(column);
    return GM_OK;
}

static double *new_shares(size_t probes, size_t bins, gm_error *err)
{
    size_t entries = 0;
    if (!gm_mul_size(probes, bins, &entries)) entries = SIZE_MAX;
    return gm_alloc(entries, sizeof(double), "probes' densities", err);
}

gm_status gm_density_mass(const gm_quadrature *q, double width, size_t bins, const double *edge,
                          double *mass, double *std_error, double *total, gm_error *err)
{
    if (!(width > 0) || !isfinite(width)) {
        return gm_fail(err, GM_ERR_USAGE, "kernel width: %g, expected a positive number", width);
    }
    gm_status status = check_edges(bins, edge, err);
    if (status != GM_OK) return status;
    double *share = new_shares(q->probes, bins, err);
    if (!share) return GM_ERR_MEMORY;
    for (size_t i = 0; i < q->probes; i++) {
        probe_mass(q, i, width, bins, edge, share + i * bins);
    }
    status = summarize(q->probes, bins, share, mass, std_error, total, err);
    gm_free(share);
    return status;
}

/* ---- signed logarithmic axis --------------------------------------------------------------- */

void gm_density_log_edges(const gm_quadrature *q, double from, size_t bins, double *edge)
{
    double top = fmax(fabs(q->min), fabs(q->max)), low = fmax(from, q->floor);
    if (!(top > 0)) top = 1;
    if (!(low > 0)) low = DBL_EPSILON * top;
    if (low >= top) top = 2 * low; /* one sided by a large `from`: still bins */
    for (size_t b = 0; b <= bins; b++) {
        double t = (double)b / (double)bins; /* both ends exactly */
        double x = b == 0 ? top : b == bins ? low : top * exp(t * log(low / top));
        edge[b] = -x;
        edge[2 * bins + 1 - b] = x;
    }
}

/* The bin of x, 2 bins + 1 where none. */
static size_t log_bin(size_t bins, const double *edge, double x)
{
    size_t count = 2 * bins + 1;
    if (x < edge[0] || x > edge[count]) return count;
    size_t b = 0;
    while (b < bins ? x >= edge[b + 1] : x > edge[b + 1]) {
        b++;
    }
    return b;
}

gm_status gm_density_log_mass(const gm_quadrature *q, size_t bins, const double *edge, double *mass,
                              double *std_error, double *total, gm_error *err)
{
    size_t count = 2 * bins + 1;
    gm_status status = check_edges(count, edge, err);
    if (status != GM_OK) return status;
    if (!(edge[bins] <= -q->floor && edge[bins + 1] >= q->floor)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "middle bin: %g to %g, expected at least the products' noise, -%g to %g",
                       edge[bins], edge[bins + 1], q->floor, q->floor);
    }
    double *share = new_shares(q->probes, count, err);
    if (!share) return GM_ERR_MEMORY;
    for (size_t i = 0; i < q->probes; i++) {
        double *row = share + i * count;
        for (size_t j = 0; j < q->taken[i]; j++) {
            size_t b = log_bin(bins, edge, q->node[i * q->steps + j]);
            if (b < count) row[b] += q->weight[i * q->steps + j];
        }
        for (size_t j = 0; j < q->deflated; j++) {
            size_t b = log_bin(bins, edge, q->atom[j]);
            if (b < count) row[b] += 1 / (double)q->size;
        }
    }
    status = summarize(q->probes, count, share, mass, std_error, total, err);
    gm_free(share);
    return status;
}
