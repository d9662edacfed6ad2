/* Stochastic Lanczos quadrature (Golub and Welsch 1969; Ubaru, Chen, Saad 2017,
 * doi:10.1137/16M1104974).
 *
 * Lanczos from a unit vector v_1 gives T tridiagonal: its eigenvalues are the nodes, the squares of
 * its eigenvectors' first components the weights of the Gauss rule for the measure v_1 . f(A) v_1.
 * Without reorthogonalization copies of converged eigenvalues would appear. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/estimate.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"
#include "kernels/parallel.h"
#include "spectrum/lanczos.h"
#include "spectrum/sketch.h"

void gm_quadrature_options_default(gm_quadrature_options *options)
{
    *options = (gm_quadrature_options){.probes = 10, .steps = 80};
}

void gm_quadrature_free(gm_quadrature *q)
{
    if (!q) return;
    gm_free(q->node);
    gm_free(q->weight);
    gm_free(q->taken);
    gm_free(q->atom);
    memset(q, 0, sizeof *q);
}

size_t gm_quadrature_bytes(size_t size, const gm_quadrature_options *options)
{
    if (options->deflated >= size) return SIZE_MAX;
    size_t rest = size - options->deflated, vectors = 0, nodes = 0, more = 0;
    size_t steps = options->steps < rest ? options->steps : rest;
    /* basis and a vector; nodes, weights, steps taken; T, atoms, projections and their parts */
    bool fits = steps <= SIZE_MAX - 1 && gm_mul_size(steps + 1, size, &vectors) &&
                gm_mul_size(options->probes, 2 * sizeof(double), &nodes) &&
                gm_mul_size(nodes, steps + 1, &nodes) &&
                gm_mul_size(vectors, sizeof(double), &vectors) &&
                gm_add_size(steps, options->deflated + 3, &more) &&
                gm_mul_size(more, (2 * GM_PARTS + 6) * sizeof(double), &more);
    if (!fits || nodes > SIZE_MAX - more || vectors > SIZE_MAX - more - nodes) return SIZE_MAX;
    return vectors + nodes + more;
}

/* ---- the quadrature ------------------------------------------------------------------------ */

/* Row `probe` of nodes and weights from the first block of T. */
static gm_status gauss_rule(const gm_lanczos *l, double *first, size_t probe, gm_quadrature *q,
                            gm_error *err)
{
    size_t taken = q->taken[probe] = l->taken;
    double *node = q->node + probe * q->steps, *weight = q->weight + probe * q->steps;
    double share = (double)(q->size - q->deflated) / (double)q->size;
    gm_status status = gm_tridiagonal_eigen(taken, l->alpha, l->beta, node, first, err);
    if (status != GM_OK) return status;
    double sum = 0;
    for (size_t j = 0; j < taken; j++) {
        weight[j] = first[j] * first[j];
        sum += weight[j];
    }
    if (!(fabs(sum - 1) <= 1e-10)) {
        return gm_fail(err, GM_ERR_NUMERIC,
                       "quadrature weights of probe %zu sum to %.12g, expected 1", probe, sum);
    }
    for (size_t j = 0; j < taken; j++) {
        weight[j] *= share;
    }
    for (size_t j = taken; j < q->steps; j++) {
        node[j] = node[taken - 1];
    }
    return GM_OK;
}

/* The probes of all ranks, and how many products they took. */
static void exchange(const gm_team *team, size_t first, size_t count, gm_quadrature *q)
{
    size_t row = q->steps * sizeof *q->node, number = sizeof *q->taken;
    double products = (double)q->products;
    gm_team_gather(team, first * row, count * row, q->node);
    gm_team_gather(team, first * row, count * row, q->weight);
    gm_team_gather(team, first * number, count * number, q->taken);
    gm_team_sum(team, 1, &products);
    q->products = (size_t)products;
}

/* Of nodes and atoms; nodes descend. */
static void find_range(gm_quadrature *q)
{
    q->min = q->node[q->steps - 1];
    q->max = q->node[0];
    for (size_t i = 0; i < q->probes; i++) {
        q->min = fmin(q->min, q->node[i * q->steps + q->steps - 1]);
        q->max = fmax(q->max, q->node[i * q->steps]);
    }
    for (size_t i = 0; i < q->deflated; i++) {
        q->min = fmin(q->min, q->atom[i]);
        q->max = fmax(q->max, q->atom[i]);
    }
}

/* The known eigenpairs: checked, and their values copied. */
static gm_status keep_atoms(const gm_quadrature_options *options, gm_quadrature *q, gm_error *err)
{
    size_t size = q->size;
    for (size_t i = 0; i < q->deflated; i++) {
        for (size_t j = 0; j <= i; j++) {
            const double *u = options->deflated_vector + i * size;
            double dot = gm_kernels_get(GM_F64)->dot(size, u, options->deflated_vector + j * size);
            if (fabs(dot - (i == j)) <= 1e-8) continue;
            return gm_fail(err, GM_ERR_USAGE,
                           "deflated vectors %zu and %zu: product %.12g, expected orthonormal ones",
                           j, i, dot);
        }
        if (!isfinite(options->deflated_value[i])) {
            return gm_fail(err, GM_ERR_USAGE, "deflated value %zu: %g, expected a finite number", i,
                           options->deflated_value[i]);
        }
    }
    q->atom = gm_alloc(q->deflated + 1, sizeof *q->atom, "known eigenvalues", err);
    if (!q->atom) return GM_ERR_MEMORY;
    for (size_t i = 0; i < q->deflated; i++) {
        q->atom[i] = options->deflated_value[i];
    }
    return GM_OK;
}

gm_status gm_quadrature_make(gm_operator *op, const gm_quadrature_options *options,
                             gm_quadrature *q, gm_error *err)
{
    memset(q, 0, sizeof *q);
    if (options->probes < 1 || options->steps < 1 || op->size < 1) {
        return gm_fail(err, GM_ERR_USAGE,
                       "quadrature: %zu probes, %zu steps, size %zu, expected at least 1 of each",
                       options->probes, options->steps, op->size);
    }
    if (options->deflated >= op->size) {
        return gm_fail(err, GM_ERR_USAGE,
                       "deflated: %zu eigenpairs, expected fewer than the size %zu",
                       options->deflated, op->size);
    }
    size_t before = op->products, entries = 0;
    gm_stream stream = gm_stream_of(options->seed, GM_PURPOSE_PROBE, options->run);
    gm_lanczos l = {0};
    q->size = op->size;
    q->probes = options->probes;
    q->deflated = options->deflated;
    size_t rest = q->size - q->deflated;
    q->steps = options->steps < rest ? options->steps : rest;
    if (!gm_mul_size(q->probes, q->steps, &entries)) entries = SIZE_MAX;
    q->node = gm_alloc(entries, sizeof *q->node, "quadrature nodes", err);
    q->weight = gm_alloc(entries, sizeof *q->weight, "quadrature weights", err);
    q->taken = gm_alloc(q->probes, sizeof *q->taken, "steps taken", err);
    double *first = gm_alloc(q->steps, sizeof *first, "first components", err);
    gm_status status = q->node && q->weight && q->taken && first ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = keep_atoms(options, q, err);
    if (status == GM_OK) {
        status = gm_lanczos_make(q->size, q->steps, q->deflated, options->deflated_vector, &l, err);
    }
    for (size_t i = 0; status == GM_OK && i < q->deflated; i++) {
        l.norm = fmax(l.norm, fabs(q->atom[i])); /* what the products' rounding is relative to */
    }
    /* On the complement of known vectors signs would no longer have equal lengths. */
    gm_probe_kind kind = q->deflated ? GM_PROBE_SPHERE : GM_PROBE_SIGNS;
    size_t own, count;
    gm_team_share(options->team, q->probes, &own, &count);
    for (size_t probe = own; status == GM_OK && probe < own + count; probe++) {
        gm_probe_fill(stream, kind, probe, 1, q->size, l.basis);
        status = gm_lanczos_run(op, &l, err);
        if (status == GM_OK) status = gauss_rule(&l, first, probe, q, err);
    }
    q->products = op->products - before;
    if (status == GM_OK) {
        exchange(options->team, own, count, q);
        find_range(q);
        op->products = before + q->products;
        q->floor = gm_product_noise(op) * fmax(fabs(q->min), fabs(q->max));
    }
    gm_free(first);
    gm_lanczos_free(&l);
    return status;
}

/* ---- functions of the operator ------------------------------------------------------------- */

gm_status gm_quadrature_trace(const gm_quadrature *q, double (*f)(double lambda, void *context),
                              void *context, gm_estimate *estimate, gm_error *err)
{
    double *each = gm_alloc(q->probes, sizeof *each, "probes' traces", err);
    if (!each) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    double known = 0;
    for (size_t i = 0; i < q->deflated; i++) {
        double value = f(q->atom[i], context);
        if (!isfinite(value)) {
            status =
                gm_fail(err, GM_ERR_NUMERIC,
                        "function of the operator: %g at eigenvalue %g, expected a finite value",
                        value, q->atom[i]);
            goto done;
        }
        known += value;
    }
    for (size_t i = 0; i < q->probes; i++) {
        each[i] = known;
        for (size_t j = 0; j < q->taken[i]; j++) {
            double weight = q->weight[i * q->steps + j], node = q->node[i * q->steps + j];
            if (weight == 0) continue;
            double value = f(node, context);
            if (!isfinite(value)) {
                status = gm_fail(err, GM_ERR_NUMERIC,
                                 "function of the operator: %g at node %g, expected a finite value",
                                 value, node);
                goto done;
            }
            each[i] += (double)q->size * weight * value;
        }
    }
    *estimate = gm_estimate_mean(q->probes, each);
done:
    gm_free(each);
    return status;
}

static double square(double lambda, void *context)
{
    (void)context;
    return lambda * lambda;
}

gm_status gm_quadrature_frobenius(const gm_quadrature *q, gm_estimate *estimate, gm_error *err)
{
    gm_status status = gm_quadrature_trace(q, square, NULL, estimate, err);
    if (status != GM_OK) return status;
    double root = sqrt(estimate->value), slope = root > 0 ? 0.5 / root : 0;
    estimate->value = root;
    estimate->std_error *= slope;
    estimate->half_width *= slope;
    return GM_OK;
}

static double log_shifted(double lambda, void *context)
{
    const double *c = context;
    return log(lambda + *c); /* NaN or -infinity where A + c I is not positive definite */
}

gm_status gm_quadrature_logdet(const gm_quadrature *q, double c, gm_estimate *estimate,
                               gm_error *err)
{
    return gm_quadrature_trace(q, log_shifted, &c, estimate, err);
}

/* Bounds of one probe's share of (-infinity, x], by the inequalities of Chebyshev, Markov and
 * Stieltjes: with x between node j (below) and its upper neighbour, all weights strictly below node
 * j at least, all up to the neighbour at most. A rule after breakdown is exact. Nodes descend. */
static void share_below(const gm_quadrature *q, size_t probe, double x, double *low, double *value,
                        double *high)
{
    const double *node = q->node + probe * q->steps, *weight = q->weight + probe * q->steps;
    size_t taken = q->taken[probe], above = 0;
    while (above < taken && node[above] > x) {
        above++;
    }
    *value = 0;
    for (size_t j = taken; j-- > above;) {
        *value += weight[j];
    }
    bool exact = taken < q->steps || taken == q->size - q->deflated;
    *low = exact || above == taken ? *value : *value - weight[above];
    *high = exact || above == 0 ? *value : *value + weight[above - 1];
}

gm_status gm_quadrature_count(const gm_quadrature *q, double from, double to,
                              gm_count_result *result, gm_error *err)
{
    if (!(from <= to)) {
        return gm_fail(err, GM_ERR_USAGE, "interval: [%g, %g], expected from <= to", from, to);
    }
    double *each = gm_alloc(q->probes, sizeof *each, "probes' counts", err);
    if (!each) return GM_ERR_MEMORY;
    *result = (gm_count_result){0};
    double share = 1 / (double)q->probes, size = (double)q->size, known = 0;
    for (size_t i = 0; i < q->deflated; i++) {
        known += q->atom[i] >= from && q->atom[i] <= to;
    }
    for (size_t i = 0; i < q->probes; i++) {
        double low[2], value[2], high[2];
        share_below(q, i, nextafter(from, -DBL_MAX), low, value, high);
        share_below(q, i, to, low + 1, value + 1, high + 1);
        each[i] = known + size * (value[1] - value[0]);
        result->low += share * (known + size * fmax(low[1] - high[0], 0));
        double most = (size - (double)q->deflated) / size;
        result->high += share * (known + size * fmin(high[1] - low[0], most));
    }
    result->count = gm_estimate_mean(q->probes, each);
    gm_free(each);
    return GM_OK;
}

double gm_quadrature_unresolved(const gm_quadrature *q)
{
    double sum = 0;
    for (size_t i = 0; i < q->probes * q->steps; i++) {
        if (fabs(q->node[i]) <= q->floor) sum += q->weight[i];
    }
    sum /= (double)q->probes;
    for (size_t i = 0; i < q->deflated; i++) {
        if (fabs(q->atom[i]) <= q->floor) sum += 1 / (double)q->size;
    }
    return sum;
}

double gm_quadrature_spacing(const gm_quadrature *q, double x)
{
    double sum = 0;
    for (size_t i = 0; i < q->probes; i++) {
        size_t taken = q->taken[i], above = 0;
        const double *node = q->node + i * q->steps;
        if (taken < q->steps || taken == q->size) continue; /* exact */
        while (above < taken && node[above] > x) {
            above++;
        }
        if (above == 0) {
            sum += 2 * (x - node[0]);
        } else if (above == taken) {
            sum += 2 * (node[taken - 1] - x);
        } else {
            sum += node[above - 1] - node[above];
        }
    }
    return sum / (double)q->probes;
}
