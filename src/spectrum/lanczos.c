/* Stochastic Lanczos quadrature (Golub and Welsch 1969; Ubaru, Chen, Saad 2017,
 * doi:10.1137/16M1104974).
 *
 * From a unit vector v_1: A V = V T + beta_m v_{m+1} e_m^T, V orthonormal, T tridiagonal with
 * diagonal alpha and off-diagonal beta. The eigenvalues of T are the nodes, the squares of its
 * eigenvectors' first components the weights of the Gauss rule for the measure v_1 . f(A) v_1.
 * Without reorthogonalization copies of converged eigenvalues appear; twice is enough. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/estimate.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"
#include "spectrum/sketch.h"

enum { CHUNK = 4096 }; /* entries of a vector that stay in cache through all rows of the basis */

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
    /* basis and two vectors; nodes and weights; steps taken; atoms and projections; T */
    bool fits = steps <= SIZE_MAX - 2 && gm_mul_size(steps + 2, size, &vectors) &&
                gm_mul_size(options->probes, 2 * sizeof(double), &nodes) &&
                gm_mul_size(nodes, steps + 1, &nodes) &&
                gm_mul_size(vectors, sizeof(double), &vectors) &&
                gm_mul_size(steps + options->deflated, 8 * sizeof(double), &more);
    if (!fits || nodes > SIZE_MAX - more || vectors > SIZE_MAX - more - nodes) return SIZE_MAX;
    return vectors + nodes + more;
}

/* ---- one run of Lanczos -------------------------------------------------------------------- */

typedef struct lanczos {
    double *basis;        /* [steps, size] */
    double *next;         /* [size] */
    double *alpha, *beta; /* [steps] */
    double *c;            /* [steps] projections */
    double *first;        /* [steps] first components of T's eigenvectors */
    double *inside;       /* [deflated] projections onto the known eigenvectors */
    double norm;          /* lower bound of ||A||, the largest ||A v|| seen in any run */
} lanczos;

static void free_lanczos(lanczos *l)
{
    gm_free(l->basis);
    gm_free(l->next);
    gm_free(l->alpha);
    gm_free(l->inside);
}

static gm_status make_lanczos(size_t steps, size_t size, size_t deflated, lanczos *l, gm_error *err)
{
    size_t entries = 0;
    if (!gm_mul_size(steps, size, &entries)) entries = SIZE_MAX;
    l->basis = gm_alloc(entries, sizeof *l->basis, "Krylov basis", err);
    l->next = gm_alloc(size, sizeof *l->next, "Krylov vector", err);
    l->alpha = gm_alloc(steps, 4 * sizeof *l->alpha, "tridiagonal matrix", err);
    l->inside = gm_alloc(deflated + 1, sizeof *l->inside, "projections", err);
    if (!l->basis || !l->next || !l->alpha || !l->inside) return GM_ERR_MEMORY;
    l->beta = l->alpha + steps;
    l->c = l->beta + steps;
    l->first = l->c + steps;
    return GM_OK;
}

/* w -= V (V^T w), rows of basis [rows, size]. Each number is summed in an order of its own,
 * whatever the threads. */
static void project_out(size_t rows, size_t size, const double *basis, double *c, double *w)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
#pragma omp parallel for schedule(static) if (rows * size > 100000)
    for (size_t j = 0; j < rows; j++) {
        c[j] = kernels->dot(size, basis + j * size, w);
    }
#pragma omp parallel for schedule(static) if (rows * size > 100000)
    for (size_t start = 0; start < size; start += CHUNK) {
        size_t length = size - start < CHUNK ? size - start : CHUNK;
        for (size_t j = 0; j < rows; j++) {
            kernels->axpy(length, -c[j], basis + j * size + start, w + start);
        }
    }
}

static double norm_of(size_t size, const double *v)
{
    return sqrt(gm_kernels_get(GM_F64)->dot(size, v, v));
}

/* alpha and beta of one probe; taken: steps until breakdown. */
static gm_status run_lanczos(gm_operator *op, gm_stream stream,
                             const gm_quadrature_options *options, size_t probe, size_t steps,
                             lanczos *l, size_t *taken, gm_error *err)
{
    size_t size = op->size;
    double noise = gm_product_noise(op) * sqrt((double)steps);
    size_t known = options->deflated;
    const double *vector = options->deflated_vector;
    gm_probe_fill(stream, known ? GM_PROBE_SPHERE : GM_PROBE_SIGNS, probe, 1, size, l->basis);
    project_out(known, size, vector, l->inside, l->basis);
    project_out(known, size, vector, l->inside, l->basis);
    double length = known ? norm_of(size, l->basis) : sqrt((double)size);
    for (size_t i = 0; i < size; i++) {
        l->basis[i] /= length;
    }
    for (size_t j = 0; j < steps; j++) {
        double *v = l->basis + j * size, *w = l->next;
        gm_status status = gm_operator_apply(op, 1, v, w, err);
        if (status != GM_OK) return status;
        l->norm = fmax(l->norm, norm_of(size, w));
        project_out(known, size, vector, l->inside, w);
        project_out(j + 1, size, l->basis, l->c, w);
        l->alpha[j] = l->c[j];
        project_out(known, size, vector, l->inside, w);
        project_out(j + 1, size, l->basis, l->c, w);
        l->alpha[j] += l->c[j];
        *taken = j + 1;
        l->beta[j] = norm_of(size, w);
        if (l->beta[j] <= noise * l->norm) { /* an invariant space */
            l->beta[j] = 0;
            break;
        }
        if (j + 1 == steps) break;
        for (size_t i = 0; i < size; i++) {
            v[size + i] = w[i] / l->beta[j];
        }
    }
    return GM_OK;
}

/* ---- the quadrature ------------------------------------------------------------------------ */

/* Row `probe` of nodes and weights from the first block of T. */
static gm_status gauss_rule(const lanczos *l, size_t probe, gm_quadrature *q, gm_error *err)
{
    size_t taken = q->taken[probe];
    double *node = q->node + probe * q->steps, *weight = q->weight + probe * q->steps;
    double share = (double)(q->size - q->deflated) / (double)q->size;
    gm_status status = gm_tridiagonal_eigen(taken, l->alpha, l->beta, node, l->first, err);
    if (status != GM_OK) return status;
    double sum = 0;
    for (size_t j = 0; j < taken; j++) {
        weight[j] = l->first[j] * l->first[j];
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
    q->min = probe ? fmin(q->min, node[taken - 1]) : node[taken - 1];
    q->max = probe ? fmax(q->max, node[0]) : node[0];
    return GM_OK;
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
    lanczos l = {0};
    q->size = op->size;
    q->probes = options->probes;
    q->deflated = options->deflated;
    size_t rest = q->size - q->deflated;
    q->steps = options->steps < rest ? options->steps : rest;
    if (!gm_mul_size(q->probes, q->steps, &entries)) entries = SIZE_MAX;
    q->node = gm_alloc(entries, sizeof *q->node, "quadrature nodes", err);
    q->weight = gm_alloc(entries, sizeof *q->weight, "quadrature weights", err);
    q->taken = gm_alloc(q->probes, sizeof *q->taken, "steps taken", err);
    gm_status status = q->node && q->weight && q->taken ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = keep_atoms(options, q, err);
    if (status == GM_OK) status = make_lanczos(q->steps, q->size, q->deflated, &l, err);
    for (size_t probe = 0; status == GM_OK && probe < q->probes; probe++) {
        status = run_lanczos(op, stream, options, probe, q->steps, &l, q->taken + probe, err);
        if (status == GM_OK) status = gauss_rule(&l, probe, q, err);
    }
    for (size_t i = 0; status == GM_OK && i < q->deflated; i++) {
        q->min = fmin(q->min, q->atom[i]);
        q->max = fmax(q->max, q->atom[i]);
    }
    q->floor = gm_product_noise(op) * fmax(fabs(q->min), fabs(q->max));
    q->products = op->products - before;
    free_lanczos(&l);
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
