/* Diagonals by random probes.
 *   Hutchinson   mean of g * (A g)
 *   XDiag        mean over i of diag(P_i A) + (omega_i * (I - P_i) A omega_i) / (omega_i *
 * omega_i), P_i the projector on the images of all probes but i (Epperly, Tropp, Webber 2024, arXiv
 * 2301.07825). With Q, Z, R, s_i as in sketch.h, P_i A = Q (I - s_i s_i^T) Z^T and (I - P_i) A
 * omega_i = Q s_i (s_i . r_i). The terms share probes, as those of XTrace do, so that their scatter
 * understates the error; the standard error is, as there (trace.c), its geometric mean with the
 * jackknife's: the spread of XDiag with each probe j left out altogether. With t_ij the unit vector
 * along what s_j adds to s_i that takes Q t_ij (t_ij . Z^T) from P_i A and adds Q t_ij (t_ij .
 * r_i), t_ij . r_i = -(s_i . s_j) (s_i . r_i) / ||s_j - (s_i . s_j) s_i||, to the rest. No product.
 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/estimate.h"
#include "kernels/kernels.h"
#include "spectrum/sketch.h"

enum { BLOCK = 128 }; /* coordinates looked at together */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Welford's running mean and sum of squared deviations of entry i after `count` values. */
static void add_value(size_t count, double x, double *mean, double *squares)
{
    double delta = x - *mean;
    *mean += delta / (double)count;
    *squares += delta * (x - *mean);
}

/* Sums of squared deviations become standard errors of the mean. */
static void finish_errors(size_t count, size_t size, double *squares)
{
    double scale = 1 / ((double)count * (double)(count - 1));
    for (size_t i = 0; i < size; i++) {
        squares[i] = sqrt(squares[i] * scale);
    }
}

/* ---- Hutchinson ---------------------------------------------------------------------------- */

/* Adds probes number `done` ... count - 1 to mean and squares. */
static gm_status add_probes(const gm_sketch *s, gm_probe_kind kind, size_t done, size_t count,
                            double *mean, double *squares, gm_error *err)
{
    size_t size = s->size;
    double *g = gm_alloc(size, 2 * GM_PROBE_BLOCK * sizeof *g, "probes", err);
    if (!g) return GM_ERR_MEMORY;
    double *ag = g + GM_PROBE_BLOCK * size;
    gm_status status = GM_OK;
    while (done < count && status == GM_OK) {
        size_t block = smaller(GM_PROBE_BLOCK, count - done);
        gm_probe_fill(s->stream, kind, done, block, size, g);
        status = gm_unit_apply(s->op, block, g, ag, err);
        for (size_t j = 0; status == GM_OK && j < block; j++) {
            done++;
            for (size_t i = 0; i < size; i++) {
                add_value(done, g[j * size + i] * ag[j * size + i], mean + i, squares + i);
            }
        }
    }
    gm_free(g);
    return status;
}

/* ---- XDiag --------------------------------------------------------------------------------- */

/* all [size] = diag(Q Z^T) = diag of A's part in the basis; the whole of it where that is exact. */
static void basis_diagonal(const gm_sketch *s, double *all)
{
    memset(all, 0, s->size * sizeof *all);
    for (size_t a = 0; a < s->rank; a++) {
        for (size_t i = 0; i < s->size; i++) {
            all[i] += s->q[a * s->size + i] * s->z[a * s->size + i];
        }
    }
}

/* What XDiag's terms are made of. */
typedef struct terms {
    const gm_sketch *sketch;
    size_t k, size;
    double *sr;       /* [k] s_i . r_i */
    double *along;    /* [k, k] s_i . s_j */
    double *qs, *zs;  /* [k, size] Q s_i, Z s_i */
    double *all;      /* [size] diag(Q Z^T) */
    double *inverse;  /* [k, BLOCK] 1 / omega_i on a block of coordinates */
    double *each;     /* [k, BLOCK] terms there */
    double *left_out; /* [k, BLOCK] means there without probe j */
} terms;

static void free_terms(terms *t)
{
    gm_free(t->sr);
    gm_free(t->qs);
    gm_free(t->all);
    gm_free(t->inverse);
}

static gm_status make_terms(const gm_sketch *s, terms *t, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    size_t k = s->probes, size = s->size;
    *t = (terms){.sketch = s, .k = k, .size = size};
    double *r = gm_alloc(k * k, 2 * sizeof *r, "triangle of a sketch", err);
    t->sr = gm_alloc(k * (k + 1), sizeof *t->sr, "products of directions", err);
    t->qs = gm_alloc(k * size, 2 * sizeof *t->qs, "left-out directions", err);
    t->all = gm_alloc(size, sizeof *t->all, "diagonal in a sketch", err);
    t->inverse = gm_alloc(k * BLOCK, 3 * sizeof *t->inverse, "terms of a block", err);
    gm_status status = r && t->sr && t->qs && t->all && t->inverse ? GM_OK : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    double *leave = r + k * k;
    t->along = t->sr + k;
    t->zs = t->qs + k * size;
    t->each = t->inverse + k * BLOCK;
    t->left_out = t->each + k * BLOCK;
    gm_sketch_leave_out(s, r, leave);
    kernels->gemm(false, false, k, size, k, 1, leave, k, s->q, size, 0, t->qs, size);
    kernels->gemm(false, false, k, size, k, 1, leave, k, s->z, size, 0, t->zs, size);
    kernels->gemm(false, true, k, k, k, 1, leave, k, leave, k, 0, t->along, k);
    for (size_t i = 0; i < k; i++) {
        for (size_t a = 0; a < k; a++) {
            t->sr[i] += leave[i * k + a] * r[a * k + i];
        }
    }
    basis_diagonal(s, t->all);
done:
    gm_free(r);
    return status;
}

/* Term i on coordinates first ... first + count - 1. */
static void plain_terms(const terms *t, size_t first, size_t count)
{
    for (size_t i = 0; i < t->k; i++) {
        const double *qs = t->qs + i * t->size + first, *zs = t->zs + i * t->size + first;
        double *inverse = t->inverse + i * BLOCK, *each = t->each + i * BLOCK;
        gm_probe_part(t->sketch->stream, t->sketch->kind, i * t->size + first, count, inverse);
        for (size_t c = 0; c < count; c++) {
            inverse[c] = 1 / inverse[c];
            each[c] = t->all[first + c] - qs[c] * zs[c] + t->sr[i] * qs[c] * inverse[c];
        }
    }
}

/* Adds to left_out what term i changes by where probe j is left out too. */
static void add_second(const terms *t, size_t i, size_t j, size_t first, size_t count)
{
    double along = t->along[i * t->k + j], length = sqrt(fmax(1 - along * along, 0));
    if (length < 1e-12) return;
    double scale = 1 / length, tr = -along * t->sr[i] * scale;
    const double *qi = t->qs + i * t->size + first, *zi = t->zs + i * t->size + first;
    const double *qj = t->qs + j * t->size + first, *zj = t->zs + j * t->size + first;
    const double *inverse = t->inverse + i * BLOCK;
    double *left_out = t->left_out + j * BLOCK;
    for (size_t c = 0; c < count; c++) {
        double qt = (qj[c] - along * qi[c]) * scale, zt = (zj[c] - along * zi[c]) * scale;
        left_out[c] += qt * (tr * inverse[c] - zt);
    }
}

static void means_left_out(const terms *t, size_t first, size_t count)
{
    memset(t->left_out, 0, t->k * BLOCK * sizeof *t->left_out);
    for (size_t j = 0; j < t->k; j++) {
        double *left_out = t->left_out + j * BLOCK;
        for (size_t i = 0; i < t->k; i++) {
            if (i == j) continue;
            add_second(t, i, j, first, count);
            for (size_t c = 0; c < count; c++) {
                left_out[c] += t->each[i * BLOCK + c];
            }
        }
        for (size_t c = 0; c < count; c++) {
            left_out[c] /= (double)(t->k - 1);
        }
    }
}

/* Mean and sum of squared deviations of column c of values [k, BLOCK]. */
static void column_spread(const double *values, size_t k, size_t c, double *mean, double *squares)
{
    *mean = *squares = 0;
    for (size_t i = 0; i < k; i++) {
        add_value(i + 1, values[i * BLOCK + c], mean, squares);
    }
}

/* Both k^2 size multiplications, as orthogonalizing the basis takes. */
static gm_status xdiag(const gm_sketch *s, double *value, double *std_error, gm_error *err)
{
    terms t;
    gm_status status = make_terms(s, &t, err);
    double k = (double)s->probes;
    for (size_t first = 0; status == GM_OK && first < s->size; first += BLOCK) {
        size_t count = smaller(BLOCK, s->size - first);
        plain_terms(&t, first, count);
        means_left_out(&t, first, count);
        for (size_t c = 0; c < count; c++) {
            double unused, scatter, spread;
            column_spread(t.left_out, t.k, c, &unused, &spread);
            column_spread(t.each, t.k, c, value + first + c, &scatter);
            double jackknife = sqrt(spread * (k - 1) / k);
            std_error[first + c] = sqrt(jackknife * sqrt(scatter / (k * (k - 1))));
        }
    }
    free_terms(&t);
    return status;
}

/* ---- rounds -------------------------------------------------------------------------------- */

static gm_status measure_xdiag(size_t probes, gm_sketch *s, double *value, double *std_error,
                               gm_diagonal_result *result, gm_error *err)
{
    gm_status status = gm_sketch_grow(s, probes, err);
    if (status != GM_OK) return status;
    result->probes = s->probes;
    if (!gm_sketch_exact(s)) return xdiag(s, value, std_error, err);
    basis_diagonal(s, value);
    memset(std_error, 0, s->size * sizeof *std_error);
    result->exact = true;
    result->exhausted = s->exhausted;
    return GM_OK;
}

/* squares [size] keeps the sums of squared deviations between rounds. */
static gm_status measure_probes(const gm_sketch *s, gm_probe_kind kind, size_t probes,
                                double *squares, double *value, double *std_error,
                                gm_diagonal_result *result, gm_error *err)
{
    gm_status status = add_probes(s, kind, result->probes, probes, value, squares, err);
    if (status != GM_OK) return status;
    result->probes = probes;
    memcpy(std_error, squares, s->size * sizeof *squares);
    finish_errors(probes, s->size, std_error);
    return GM_OK;
}

static void summarize(size_t size, const double *value, const double *std_error,
                      gm_diagonal_result *result)
{
    double values = 0, errors = 0;
    for (size_t i = 0; i < size; i++) {
        values += value[i] * value[i];
        errors += std_error[i] * std_error[i];
    }
    result->norm = sqrt(values);
    result->std_error = sqrt(errors);
    result->half_width =
        result->exact ? 0 : gm_student_quantile(result->probes - 1) * result->std_error;
}

/* From the operator's own unit to numbers of A. */
static gm_status unscale(const gm_unit_operator *op, double *value, double *std_error,
                         gm_diagonal_result *result, gm_error *err)
{
    double unit = gm_unit_of(op);
    for (size_t i = 0; i < op->op->size; i++) {
        value[i] *= unit;
        std_error[i] *= unit;
    }
    result->norm *= unit;
    result->std_error *= unit;
    result->half_width *= unit;
    if (isfinite(result->norm)) return GM_OK;
    return gm_fail(err, GM_ERR_NUMERIC, "diagonal of the %s: beyond the range of a double",
                   op->op->name);
}

size_t gm_diagonal_bytes(size_t size, gm_diagonal_method method, const gm_estimate_options *options)
{
    size_t vectors = 2 * GM_PROBE_BLOCK + 1, numbers = 0, k = options->max_products / 2, left = 0;
    if (method == GM_DIAGONAL_HUTCHINSON) return gm_estimate_bytes_of(size, vectors, 0);
    gm_sketch_need(size, k, false, &vectors, &numbers);
    /* left-out directions and their images; all of the diagonal, squared deviations; triangles,
     * products and blocks */
    bool fits = gm_mul_size(smaller(k, size), 2, &left) && gm_add_size(vectors, left, &vectors) &&
                gm_add_size(vectors, 2, &vectors) && gm_mul_size(numbers, 4, &numbers);
    return fits ? gm_estimate_bytes_of(size, vectors, numbers) : SIZE_MAX;
}

gm_status gm_diagonal_estimate(gm_operator *op, gm_diagonal_method method,
                               const gm_estimate_options *options, double *value, double *std_error,
                               gm_diagonal_result *result, gm_error *err)
{
    size_t cost = method == GM_DIAGONAL_HUTCHINSON ? 1 : 2;
    *result = (gm_diagonal_result){0};
    gm_status status = gm_estimate_check(options, 2 * cost, cost == 1, false, err);
    if (status != GM_OK) return status;
    size_t most = options->max_products / cost, before = op->products;
    bool adaptive = options->rel_error > 0;
    gm_probe_kind kind = options->gaussian ? GM_PROBE_NORMAL : GM_PROBE_SIGNS;
    gm_unit_operator unit = {.op = op};
    gm_sketch sketch = {.op = &unit,
                        .stream = gm_stream_of(options->seed, GM_PURPOSE_PROBE, options->run),
                        .kind = GM_PROBE_ROUGH,
                        .size = op->size};
    double *squares = gm_alloc(op->size, sizeof *squares, "squared deviations", err);
    if (!squares) status = GM_ERR_MEMORY;
    memset(value, 0, op->size * sizeof *value);
    size_t probes = adaptive ? smaller(GM_PROBE_START, most) : most;
    while (status == GM_OK) {
        status = cost == 2 ? measure_xdiag(probes, &sketch, value, std_error, result, err)
                           : measure_probes(&sketch, kind, probes, squares, value, std_error,
                                            result, err);
        if (status != GM_OK) break;
        summarize(op->size, value, std_error, result);
        double bound = options->rel_error * result->norm;
        result->converged = !adaptive || result->half_width <= bound;
        if (result->converged || probes == most) break;
        probes = smaller(gm_probe_next(probes), most);
    }
    if (status == GM_OK) status = unscale(&unit, value, std_error, result, err);
    result->products = op->products - before;
    gm_free(squares);
    gm_sketch_free(&sketch);
    return status;
}
