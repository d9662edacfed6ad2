/* --method density: stochastic Lanczos quadrature, smoothed by a Gaussian; trace, Frobenius norm,
 * log-determinant and counts from the same nodes. With --deflate some eigenpairs are found first:
 * they are exact and the quadrature is that of the rest. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/spectrum_methods.h"

static const double LOG_RANGE = 1e-6; /* of the shares, from the largest node down */
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

/* The eigenproblem of --deflate, as --method lanczos has it. */
static gm_spectrum_settings deflation_of(const gm_spectrum_settings *set, size_t size)
{
    gm_spectrum_settings pairs = *set;
    pairs.method = GM_METHOD_LANCZOS;
    pairs.k = set->deflate < size ? set->deflate : size - 1;
    return pairs;
}

static gm_quadrature_options options_of(const gm_spectrum_settings *set)
{
    gm_quadrature_options options;
    gm_quadrature_options_default(&options);
    options.probes = set->probes;
    options.steps = set->steps;
    options.seed = set->seed;
    options.team = set->probers;
    return options;
}

gm_status gm_check_density(const gm_spectrum_operator *target, const gm_spectrum_settings *set,
                           gm_error *err)
{
    size_t size = target->op.size;
    gm_quadrature_options options = options_of(set);
    if (set->deflate && size > 1) {
        gm_spectrum_settings pairs = deflation_of(set, size);
        gm_status status = gm_check_lanczos(target, &pairs, err);
        if (status != GM_OK) return status;
        options.deflated = pairs.k;
    }
    double vectors = (double)options.deflated * (double)size * sizeof(double);
    char what[128];
    snprintf(what, sizeof what, "a basis of %zu + %zu vectors of %zu numbers", steps_of(set, size),
             options.deflated + 2, size);
    return gm_spectrum_fits(set, what, vectors + (double)gm_quadrature_bytes(size, &options), err);
}

/* Finds the pairs to be taken out; those that converged are moved to the front of the vectors and
 * their values to known [k]. */
static gm_status find_known(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                            gm_spectrum *s, double **known, size_t *count, gm_error *err)
{
    gm_spectrum_settings wanted = deflation_of(set, s->size);
    gm_status status = gm_measure_lanczos(target, &wanted, s, err);
    if (status != GM_OK) return status;
    gm_spectrum_operator_rest(target);
    gm_spectrum_pairs *pairs = &s->pairs;
    *known = gm_alloc(pairs->k + 1, sizeof **known, "deflated eigenvalues", err);
    if (!*known) return GM_ERR_MEMORY;
    for (size_t i = 0; i < pairs->k; i++) {
        if (pairs->residual[i] > set->tol * pairs->scale) continue;
        (*known)[*count] = pairs->value[i];
        memmove(pairs->vector + *count * s->size, pairs->vector + i * s->size,
                s->size * sizeof *pairs->vector);
        ++*count;
    }
    return GM_OK;
}

static gm_status make_quadrature(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                                 gm_spectrum *s, gm_error *err)
{
    gm_quadrature_options options = options_of(set);
    double *known = NULL;
    gm_status status = GM_OK;
    if (set->deflate && s->size > 1) {
        status = find_known(target, set, s, &known, &options.deflated, err);
        options.deflated_value = known;
        options.deflated_vector = s->pairs.vector;
    }
    if (status == GM_OK) {
        gm_spectrum_operator_watch(target, set->probes * steps_of(set, s->size - options.deflated));
        status = gm_quadrature_make(&target->op, &options, &s->density.quadrature, err);
    }
    gm_free(known);
    gm_free(s->pairs.vector); /* not those of the pairs any more */
    s->pairs.vector = NULL;
    return status;
}

/* The quadrature without its atoms, whose arrays it shares: what the grid shows. */
static gm_quadrature without_atoms(const gm_quadrature *q)
{
    gm_quadrature rest = *q;
    rest.deflated = 0;
    rest.min = rest.max = q->node[0];
    for (size_t i = 0; i < q->probes * q->steps; i++) {
        rest.min = fmin(rest.min, q->node[i]);
        rest.max = fmax(rest.max, q->node[i]);
    }
    return rest;
}

gm_status gm_density_on_grid(const gm_quadrature *q, double width, size_t bins, const double *edge,
                             double *value, double *std_error, double *mass, gm_error *err)
{
    gm_quadrature rest = without_atoms(q);
    gm_status status = gm_density_mass(&rest, width, bins, edge, value, std_error, mass, err);
    for (size_t b = 0; status == GM_OK && b < bins; b++) { /* from shares to a density */
        double step = edge[b + 1] - edge[b];
        value[b] /= step;
        std_error[b] /= step;
    }
    return status;
}

static gm_status smooth(const gm_spectrum_settings *set, gm_spectrum_density *d, gm_error *err)
{
    gm_quadrature rest = without_atoms(&d->quadrature);
    d->width_chosen = set->width == 0;
    d->width = set->width > 0 ? set->width : gm_density_width(&rest);
    d->bins = set->bins ? set->bins : choose_bins(&rest, d->width);
    d->edge = gm_alloc(d->bins + 1, sizeof *d->edge, "edges", err);
    d->value = gm_alloc(d->bins, sizeof *d->value, "density", err);
    d->std_error = gm_alloc(d->bins, sizeof *d->std_error, "errors of the density", err);
    if (!d->edge || !d->value || !d->std_error) return GM_ERR_MEMORY;
    gm_density_edges(&rest, d->width, d->bins, d->edge);
    d->unresolved = gm_quadrature_unresolved(&d->quadrature);
    return gm_density_on_grid(&d->quadrature, d->width, d->bins, d->edge, d->value, d->std_error,
                              &d->mass, err);
}

/* Shares between powers of sqrt(10): round edges, of which the reader needs no list. */
static gm_status share_out(gm_spectrum_density *d, gm_error *err)
{
    const gm_quadrature *q = &d->quadrature;
    double scale = fmax(fabs(q->min), fabs(q->max));
    if (!(scale > 0)) return GM_OK;
    /* Bins narrower than the distance of the nodes would show where these lie. */
    d->spacing = gm_quadrature_spacing(q, 0);
    double floor = fmax(fmax(q->floor, LOG_RANGE * scale), d->spacing);
    int top = (int)ceil(2 * log10(scale)), bottom = (int)ceil(2 * log10(floor));
    while (pow(10, 0.5 * top) < scale) { /* by rounding */
        top++;
    }
    if (top <= bottom) bottom = top - 1;
    size_t bins = (size_t)(top - bottom);
    d->log_edge = gm_alloc(2 * bins + 2, sizeof *d->log_edge, "edges", err);
    d->log_share = gm_alloc(2 * bins + 1, sizeof *d->log_share, "shares", err);
    d->log_error = gm_alloc(2 * bins + 1, sizeof *d->log_error, "errors of the shares", err);
    if (!d->log_edge || !d->log_share || !d->log_error) return GM_ERR_MEMORY;
    d->log_bins = bins;
    for (size_t i = 0; i <= bins; i++) {
        double edge = pow(10, 0.5 * (bottom + (int)i));
        d->log_edge[bins + 1 + i] = edge;
        d->log_edge[bins - i] = -edge;
    }
    return gm_density_log_mass(q, bins, d->log_edge, d->log_share, d->log_error, NULL, err);
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
    gm_status status = make_quadrature(target, set, s, err);
    if (status == GM_OK) status = smooth(set, &s->density, err);
    if (status == GM_OK) status = share_out(&s->density, err);
    if (status == GM_OK) status = evaluate(set, s, err);
    return status;
}
