/* --method density: stochastic Lanczos quadrature, smoothed by a Gaussian; trace, Frobenius norm,
 * log-determinant and counts from the same nodes. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/spectrum_methods.h"

enum { LEAST_BINS = 200, MOST_BINS = 2000 };

/* Two bins per kernel width, so that the picture shows what the kernel resolves. */
static size_t choose_bins(const gm_quadrature *q, double width)
{
    double bins = ceil(2 * ((q->max - q->min) / width + 12));
    return bins < LEAST_BINS ? LEAST_BINS : bins > MOST_BINS ? MOST_BINS : (size_t)bins;
}

static size_t steps_of(const gm_spectrum_settings *set, size_t size)
{
    return set->steps < size ? set->steps : size;
}

gm_status gm_check_density(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_error *err)
{
    size_t size = target->op.size, steps = steps_of(set, size);
    double vectors = (double)steps + 2, nodes = 2.0 * (double)set->probes * (double)steps;
    char what[96];
    snprintf(what, sizeof what, "a basis of %zu + 2 vectors of %zu numbers", steps, size);
    return gm_spectrum_fits(set, what, (vectors * (double)size + nodes) * sizeof(double), err);
}

static gm_status smooth(const gm_spectrum_settings *set, gm_spectrum_density *d, gm_error *err)
{
    d->width_chosen = set->width == 0;
    d->width = set->width > 0 ? set->width : gm_density_width(&d->quadrature);
    d->bins = set->bins ? set->bins : choose_bins(&d->quadrature, d->width);
    d->edge = gm_alloc(d->bins + 1, sizeof *d->edge, "edges", err);
    d->value = gm_alloc(d->bins, sizeof *d->value, "density", err);
    d->std_error = gm_alloc(d->bins, sizeof *d->std_error, "errors of the density", err);
    if (!d->edge || !d->value || !d->std_error) return GM_ERR_MEMORY;
    gm_density_edges(&d->quadrature, d->width, d->bins, d->edge);
    gm_status status = gm_density_mass(&d->quadrature, d->width, d->bins, d->edge, d->value,
                                       d->std_error, &d->mass, err);
    for (size_t b = 0; status == GM_OK && b < d->bins; b++) { /* from shares to a density */
        double step = d->edge[b + 1] - d->edge[b];
        d->value[b] /= step;
        d->std_error[b] /= step;
    }
    d->unresolved = gm_quadrature_unresolved(&d->quadrature);
    return status;
}

static double identity(double lambda, void *unused)
{
    (void)unused;
    return lambda;
}

/* What the options ask of the nodes beside the density. */
static gm_status evaluate(const gm_spectrum_settings *set, gm_spectrum *s, gm_error *err)
{
    const gm_quadrature *q = &s->density.quadrature;
    gm_status status = gm_quadrature_trace(q, identity, NULL, &s->trace, err);
    if (status == GM_OK) status = gm_quadrature_frobenius(q, &s->frobenius, err);
    if (status == GM_OK && set->log_det_wanted) {
        gm_error inner = {0};
        status = gm_quadrature_logdet(q, set->log_det, &s->density.log_det, &inner);
        if (status != GM_OK) return gm_fail(err, status, "--log-det: %s", inner.message);
    }
    if (status == GM_OK && set->count_wanted) {
        status = gm_quadrature_count(q, set->count.from, set->count.to, &s->density.count, err);
    }
    s->summed = s->normed = status == GM_OK;
    s->trace_products = q->products;
    return status;
}

gm_status gm_measure_density(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                             gm_spectrum *s, gm_error *err)
{
    gm_quadrature_options options;
    gm_quadrature_options_default(&options);
    options.probes = set->probes;
    options.steps = set->steps;
    options.seed = set->seed;
    gm_spectrum_operator_watch(target, set->probes * steps_of(set, s->size));
    gm_status status = gm_quadrature_make(&target->op, &options, &s->density.quadrature, err);
    if (status == GM_OK) status = smooth(set, &s->density, err);
    if (status == GM_OK) status = evaluate(set, s, err);
    return status;
}
