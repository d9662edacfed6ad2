/* Diagonals by random probes.
 *   Hutchinson   mean of g * (A g)
 *   XDiag        mean over i of diag(P_i A) + (omega_i * (I - P_i) A omega_i) / (omega_i *
 * omega_i), P_i the projector on the images of all probes but i (Epperly, Tropp, Webber 2024, arXiv
 * 2301.07825). With Q, Z, R, s_i as in sketch.h, P_i A = Q (I - s_i s_i^T) Z^T and (I - P_i) A
 * omega_i = Q s_i (s_i . r_i). */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/estimate.h"
#include "kernels/kernels.h"
#include "spectrum/sketch.h"

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

static gm_status xdiag(const gm_sketch *s, double *mean, double *squares, gm_error *err)
{
    const gm_kernels *kernels = gm_kernels_get(GM_F64);
    size_t k = s->probes, size = s->size;
    double *r = gm_alloc(k * k, 2 * sizeof *r, "triangle of a sketch", err);
    double *qs = gm_alloc(k * size, 2 * sizeof *qs, "left-out directions", err);
    double *omega = gm_alloc(size, 2 * sizeof *omega, "probe", err);
    gm_status status = r && qs && omega ? GM_OK : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    double *leave = r + k * k, *zs = qs + k * size, *all = omega + size;
    gm_sketch_leave_out(s, r, leave);
    kernels->gemm(false, false, k, size, k, 1, leave, k, s->q, size, 0, qs, size);
    kernels->gemm(false, false, k, size, k, 1, leave, k, s->z, size, 0, zs, size);
    basis_diagonal(s, all);
    memset(mean, 0, size * sizeof *mean);
    memset(squares, 0, size * sizeof *squares);
    for (size_t i = 0; i < k; i++) {
        const double *qsi = qs + i * size, *zsi = zs + i * size;
        double sr = 0;
        for (size_t a = 0; a < k; a++) {
            sr += leave[i * k + a] * r[a * k + i];
        }
        gm_probe_fill(s->stream, s->kind, i, 1, size, omega);
        for (size_t j = 0; j < size; j++) {
            double value = all[j] - qsi[j] * zsi[j] + sr * qsi[j] / omega[j];
            add_value(i + 1, value, mean + j, squares + j);
        }
    }
    finish_errors(k, size, squares);
done:
    gm_free(r);
    gm_free(qs);
    gm_free(omega);
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
    /* left-out directions and their images; a probe, all of the diagonal, squared deviations; two
     * triangles */
    bool fits = gm_mul_size(smaller(k, size), 2, &left) && gm_add_size(vectors, left, &vectors) &&
                gm_add_size(vectors, 3, &vectors) && gm_mul_size(numbers, 2, &numbers);
    return fits ? gm_estimate_bytes_of(size, vectors, numbers) : SIZE_MAX;
}

gm_status gm_diagonal_estimate(gm_operator *op, gm_diagonal_method method,
                               const gm_estimate_options *options, double *value, double *std_error,
                               gm_diagonal_result *result, gm_error *err)
{
    size_t cost = method == GM_DIAGONAL_HUTCHINSON ? 1 : 2;
    *result = (gm_diagonal_result){0};
    gm_status status = gm_estimate_check(options, 2 * cost, cost == 1, err);
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
