/* What the second-order model of a step needs to know of theta (theory section 3.2, "in per-sample
 * terms"): exact from the matrix C for few samples, else estimated through products with it.
 *
 *   1. mu, the mean step w, H w, and the samples' components mu.x_i and (H w).x_i
 *   2. exact: C by products with unit vectors, its eigenpairs; d_i = n C_ii
 *   3. else: d_i of a random subset, tr C and |C|_F by random signs, the ends of C's spectrum by
 *      Lanczos
 *   4. trace_only: tr C by unit vectors, or by XTrace, to which few products say much: the spectrum
 *      of C, like that of H, is a few large eigenvalues and a bulk near 0 */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "dynamics/power.h"
#include "gradiometer/dynamics.h"
#include "gradiometer/eigen.h"
#include "gradiometer/random.h"
#include "kernels/lapack.h"

enum { UNIT_BLOCK = 16 };

void gm_step_options_default(gm_step_options *options)
{
    *options = (gm_step_options){.exact_samples = 2000, .probes = 64};
}

void gm_step_model_free(gm_step_model *model)
{
    if (!model) return;
    gm_free(model->value);
    gm_free(model->along[0]);
    gm_free(model->along[1]);
    memset(model, 0, sizeof *model);
}

static double dot(size_t n, const double *x, const double *y)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* w [3, p] = D^-1 (drift + mu), its product with H, D^-1 mu; what they say of the step; and [1] and
 * [2] brought near 1 after D^-1: *power of two [2] taken out of them. */
static gm_status take_step(gm_linearization *lin, const gm_step_options *options,
                           gm_step_model *model, double *w, int *power, gm_error *err)
{
    const double *mu = gm_linearization_gradient(lin), *d = options->divisor;
    size_t p = gm_problem_parameters(gm_linearization_problem(lin));
    double *hw = w + p, *scaled = w + 2 * p;
    gm_operator hessian = {0};
    gm_status status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, err);
    if (status != GM_OK) return status;
    for (size_t i = 0; i < p; i++) {
        double along = mu[i] + (options->drift ? options->drift[i] : 0.0);
        w[i] = d ? along / d[i] : along;
        scaled[i] = d ? mu[i] / d[i] : mu[i];
    }
    int out = gm_near_one(p, w);
    status = gm_operator_apply(&hessian, 1, w, hw, err);
    gm_operator_destroy(&hessian);
    if (status != GM_OK) return status;
    model->bend = ldexp(dot(p, w, hw), 2 * out);
    model->slope = ldexp(dot(p, mu, w), out);
    for (size_t i = 0; d && i < p; i++) {
        hw[i] /= d[i];
    }
    power[0] = out + gm_near_one(p, hw);
    power[1] = gm_near_one(p, scaled);
    model->products = 1;
    return GM_OK;
}

/* along [2, n] = mu.x_i and (H w).x_i; the numbers that need no more. */
static gm_status take_gradient(gm_linearization *lin, const gm_step_options *options,
                               gm_step_model *model, double *along, gm_error *err)
{
    size_t p = gm_problem_parameters(gm_linearization_problem(lin)), n = model->n;
    gm_samples *samples = NULL;
    int power[2] = {0};
    double *w = gm_alloc(3 * p, sizeof *w, "gradient and its product with H", err);
    gm_status status = w ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = take_step(lin, options, model, w, power, err);
    if (status == GM_OK) status = gm_samples_create(lin, GM_ALL_LAYERS, &samples, err);
    if (status != GM_OK) goto done;
    gm_samples_dot(samples, 1, w + 2 * p, along);
    gm_samples_dot(samples, 1, w + p, along + n);
    for (int j = 0; j < 2; j++) {
        double mean = 0.0, *row = along + (size_t)j * n;
        gm_times_power(n, power[1 - j], row);
        for (size_t i = 0; i < n; i++) {
            mean += row[i] / (double)n;
        }
        for (size_t i = 0; i < n; i++) {
            row[i] -= mean;
        }
    }
    model->noise[0] = dot(n, along, along) / (double)n;
    model->noise[1] = dot(n, along, along + n) / (double)n;
    model->noise[2] = dot(n, along + n, along + n) / (double)n;
done:
    gm_samples_free(samples);
    gm_free(w);
    return status;
}

/* ---- exact ---- */

static gm_status form(gm_operator *c, double *matrix, gm_error *err)
{
    size_t n = c->size;
    double *unit = gm_alloc(UNIT_BLOCK * n, sizeof *unit, "unit vectors", err);
    if (!unit) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    for (size_t first = 0; status == GM_OK && first < n; first += UNIT_BLOCK) {
        size_t count = n - first < UNIT_BLOCK ? n - first : UNIT_BLOCK;
        memset(unit, 0, UNIT_BLOCK * n * sizeof *unit);
        for (size_t j = 0; j < count; j++) {
            unit[j * n + first + j] = 1.0;
        }
        status = gm_operator_apply(c, count, unit, matrix + first * n, err);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            double mean = 0.5 * (matrix[i * n + j] + matrix[j * n + i]);
            matrix[i * n + j] = matrix[j * n + i] = mean;
        }
    }
    gm_free(unit);
    return status;
}

static gm_status exact_model(gm_operator *c, const double *along, gm_step_model *model,
                             gm_error *err)
{
    size_t n = model->n, entries;
    if (!gm_mul_size(n, n, &entries)) entries = SIZE_MAX;
    double *matrix = gm_alloc(entries, sizeof *matrix, "Hessian between samples", err);
    double *vector = gm_alloc(entries, sizeof *vector, "its eigenvectors", err);
    gm_status status = GM_ERR_MEMORY;
    model->value = gm_alloc(n, sizeof(double), "its eigenvalues", err);
    model->along[0] = gm_alloc(n, sizeof(double), "noise along the gradient", err);
    model->along[1] = gm_alloc(n, sizeof(double), "noise along its product", err);
    if (!matrix || !vector || !model->value || !model->along[0] || !model->along[1]) goto done;
    status = form(c, matrix, err);
    if (status != GM_OK) goto done;
    for (size_t i = 0; i < n; i++) {
        double d = (double)n * matrix[i * n + i];
        model->trace.value += matrix[i * n + i];
        model->third[0].value += along[i] * d / (double)n;
        model->third[1].value += along[n + i] * d / (double)n;
        model->fourth.value += d * d / (double)n;
    }
    model->frobenius_square.value = dot(entries, matrix, matrix);
    status = gm_symmetric_eigen(n, matrix, n, 0, model->value, vector, err);
    if (status != GM_OK) goto done;
    for (size_t j = 0; j < n; j++) {
        for (int i = 0; i < 2; i++) {
            model->along[i][j] = dot(n, vector + j * n, along + (size_t)i * n) / sqrt((double)n);
        }
    }
    model->lambda_max = model->value[0];
    model->lambda_min = model->value[n - 1];
    model->exact = true;
done:
    gm_free(matrix);
    gm_free(vector);
    return status;
}

/* ---- estimated ---- */

/* Means over a random subset of the samples, without replacement: the error carries the factor
 * sqrt(1 - subset/n). */
static gm_estimate subset_mean(size_t n, size_t count, const double *x)
{
    double mean = 0.0, squares = 0.0;
    for (size_t i = 0; i < count; i++) {
        mean += x[i] / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
    }
    double share = 1.0 - (double)count / (double)n;
    double error = sqrt(share * squares / ((double)count * (double)(count - 1)));
    return (gm_estimate){mean, error, 1.96 * error};
}

static gm_status take_subset(gm_operator *c, const gm_step_options *options, const double *along,
                             gm_step_model *model, gm_error *err)
{
    size_t n = model->n, count = options->probes < n ? options->probes : n;
    gm_stream stream = gm_stream_of(options->seed, GM_PURPOSE_PROBE, 3);
    size_t *order = gm_alloc(n, sizeof *order, "order of the samples", err);
    double *unit = gm_alloc(2 * n, sizeof *unit, "unit vector", err);
    double *each = gm_alloc(4 * count, sizeof *each, "curvature of the samples", err);
    gm_status status = order && unit && each ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < n; i++) {
        order[i] = i;
    }
    for (size_t j = 0; status == GM_OK && j < count; j++) {
        size_t pick = j + (size_t)gm_below(stream, j, n - j), i = order[pick];
        order[pick] = order[j];
        unit[i] = 1.0;
        status = gm_operator_apply(c, 1, unit, unit + n, err);
        unit[i] = 0.0;
        double d = (double)n * unit[n + i];
        each[j] = d;
        each[count + j] = along[i] * d;
        each[2 * count + j] = along[n + i] * d;
        each[3 * count + j] = d * d;
    }
    if (status == GM_OK) {
        model->trace = subset_mean(n, count, each);
        model->third[0] = subset_mean(n, count, each + count);
        model->third[1] = subset_mean(n, count, each + 2 * count);
        model->fourth = subset_mean(n, count, each + 3 * count);
    }
    gm_free(order);
    gm_free(unit);
    gm_free(each);
    return status;
}

/* Both are unbiased and independent. Equal weights are fixed in advance: estimate and error of such
 * skewed numbers go together, so that to take the one of smaller error would lean to one side. */
static gm_estimate mean_of_two(const gm_estimate *a, const gm_estimate *b)
{
    return (gm_estimate){0.5 * (a->value + b->value), 0.5 * hypot(a->std_error, b->std_error),
                         0.5 * hypot(a->half_width, b->half_width)};
}

static gm_status take_signs(gm_operator *c, const gm_step_options *options, gm_step_model *model,
                            gm_error *err)
{
    gm_estimate_options e;
    gm_trace_result r;
    gm_estimate_options_default(&e);
    e.max_products = options->probes;
    e.seed = options->seed;
    gm_status status = gm_trace_estimate(c, GM_TRACE_HUTCHINSON, &e, &r, err);
    if (status != GM_OK) return status;
    if (options->probes < model->n) model->trace = mean_of_two(&model->trace, &r.trace);
    double norm = r.frobenius.value;
    model->frobenius_square = (gm_estimate){norm * norm, 2.0 * norm * r.frobenius.std_error,
                                            2.0 * norm * r.frobenius.half_width};
    return GM_OK;
}

static gm_status take_ends(gm_operator *c, const gm_step_options *options, gm_step_model *model,
                           gm_error *err)
{
    gm_eigen_options e;
    gm_eigen r;
    gm_eigen_options_default(&e);
    e.which = GM_WHICH_BE;
    e.k = 2;
    e.tol = 1e-3;
    e.seed = options->seed;
    gm_status status = gm_eigenpairs(c, &e, &r, err);
    if (status != GM_OK) return status;
    if (r.count < 2) {
        status =
            gm_fail(err, GM_ERR_NUMERIC,
                    "the ends of the spectrum of C did not converge in %zu products", r.products);
    } else {
        model->lambda_max = r.value[0];
        model->lambda_min = r.value[1];
        model->lambda_error = fmax(r.residual[0], r.residual[1]);
    }
    gm_eigen_free(&r);
    return status;
}

/* ---- the trace alone ---- */

static const double trace_rel_error = 0.01;
enum { XTRACE_LEAST = 4 }; /* products */

static gm_status exact_trace(gm_operator *c, gm_step_model *model, gm_error *err)
{
    size_t n = model->n;
    double *unit = gm_alloc(2 * UNIT_BLOCK * n, sizeof *unit, "unit vectors", err);
    double *image = unit ? unit + UNIT_BLOCK * n : NULL;
    gm_status status = unit ? GM_OK : GM_ERR_MEMORY;
    for (size_t first = 0; status == GM_OK && first < n; first += UNIT_BLOCK) {
        size_t count = n - first < UNIT_BLOCK ? n - first : UNIT_BLOCK;
        for (size_t j = 0; j < count; j++) {
            unit[j * n + first + j] = 1.0;
        }
        status = gm_operator_apply(c, count, unit, image, err);
        for (size_t j = 0; j < count; j++) {
            unit[j * n + first + j] = 0.0;
            model->trace.value += image[j * n + first + j];
        }
    }
    gm_free(unit);
    return status;
}

static gm_status take_trace(gm_operator *c, const gm_step_options *options, gm_step_model *model,
                            gm_error *err)
{
    gm_estimate_options e;
    gm_trace_result r;
    if (model->n <= options->exact_samples || model->n <= XTRACE_LEAST) {
        return exact_trace(c, model, err);
    }
    gm_estimate_options_default(&e);
    e.max_products = 2 * options->probes;
    e.rel_error = trace_rel_error;
    e.seed = options->seed;
    gm_status status = gm_trace_estimate(c, GM_TRACE_XTRACE, &e, &r, err);
    if (status == GM_OK) model->trace = r.trace;
    return status;
}

/* ---- the whole ---- */

gm_status gm_step_model_make(gm_linearization *lin, const gm_step_options *options,
                             gm_step_model *model, gm_error *err)
{
    memset(model, 0, sizeof *model);
    if (options->probes < 2) {
        return gm_fail(err, GM_ERR_USAGE, "--probes: found %zu, expected at least 2",
                       options->probes);
    }
    size_t n = gm_problem_data(gm_linearization_problem(lin))->n;
    gm_operator c = {0};
    model->n = n;
    model->loss = gm_linearization_loss(lin);
    double *along = gm_alloc(2 * n, sizeof *along, "noise along the step", err);
    gm_status status = along ? take_gradient(lin, options, model, along, err) : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_noise_operator(lin, options->divisor, &c, err);
    /* Of one or two samples the spectrum has no two ends to look for. */
    if (status == GM_OK && options->trace_only) {
        status = take_trace(&c, options, model, err);
    } else if (status == GM_OK && (n <= options->exact_samples || n <= 2)) {
        status = exact_model(&c, along, model, err);
    } else if (status == GM_OK) {
        status = take_subset(&c, options, along, model, err);
        if (status == GM_OK) status = take_signs(&c, options, model, err);
        if (status == GM_OK) status = take_ends(&c, options, model, err);
    }
    model->products += c.products;
    gm_operator_destroy(&c);
    gm_free(along);
    if (status != GM_OK) gm_step_model_free(model);
    return status;
}
