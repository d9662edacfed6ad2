/* Gauges of how near a step of SGD is to instability (theory section 3.5). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "diff/problem.h"
#include "dynamics/batch.h"
#include "dynamics/power.h"
#include "gradiometer/dynamics.h"
#include "gradiometer/eigen.h"
#include "sgd/kappa.h"
#include "sgd/sampler.h"

static const double farthest = 1e6; /* of a step along the gradient, times ||mu|| */

void gm_gauge_options_default(gm_gauge_options *options)
{
    *options = (gm_gauge_options){.batch = 1, .step = 0.1, .draws = 64, .tol = 1e-4};
}

static gm_status check(const gm_gauge_options *options, size_t n, gm_error *err)
{
    if (options->batch < 1 || (options->replacement != GM_REPLACEMENT_YES && options->batch > n)) {
        return gm_fail(err, GM_ERR_USAGE, "--batch: %zu of %zu samples", options->batch, n);
    }
    if (!(options->step > 0.0 && isfinite(options->step))) {
        return gm_fail(err, GM_ERR_USAGE, "--step: found %g, expected a finite number > 0",
                       options->step);
    }
    if (!(options->momentum >= 0.0 && options->momentum < 1.0)) {
        return gm_fail(err, GM_ERR_USAGE, "--momentum: found %g, expected 0 <= beta < 1",
                       options->momentum);
    }
    if (!(options->averaging >= 0.0 && options->averaging < 1.0)) {
        return gm_fail(err, GM_ERR_USAGE, "--beta1: found %g, expected 0 <= beta1 < 1",
                       options->averaging);
    }
    if (options->draws < 2) {
        return gm_fail(err, GM_ERR_USAGE, "--draws: found %zu, expected at least 2",
                       options->draws);
    }
    return GM_OK;
}

static double dot(size_t n, const double *x, const double *y)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* ---- sharpness ---- */

/* The largest eigenvalue of op and its residual, NaN where it did not converge. */
static gm_status lambda_max(gm_operator *op, const gm_gauge_options *options, double *value,
                            double *residual, size_t *products, gm_error *err)
{
    gm_eigen_options o;
    gm_eigen r = {0};
    gm_eigen_options_default(&o);
    o.k = 1;
    o.tol = options->tol;
    o.seed = options->seed;
    gm_status status = gm_eigenpairs(op, &o, &r, err);
    if (status == GM_OK) {
        *value = r.count > 0 ? r.value[0] : (double)NAN;
        *residual = r.count > 0 ? r.residual[0] : (double)NAN;
        *products += r.products;
    }
    gm_eigen_free(&r);
    return status;
}

static gm_status take_preconditioned(gm_operator *hessian, const gm_gauge_options *options,
                                     gm_gauges *g, gm_error *err)
{
    gm_operator scaled = {0};
    g->preconditioned_sharpness = g->preconditioned_sharpness_error = (double)NAN;
    if (!options->divisor) return GM_OK;
    double *scale = gm_alloc(hessian->size, sizeof *scale, "preconditioner", err);
    if (!scale) return GM_ERR_MEMORY;
    gm_status status = gm_precondition_scale(hessian->size, options->divisor, scale, err);
    if (status == GM_OK) status = gm_operator_scaled(hessian, scale, &scaled, err);
    if (status == GM_OK) {
        status = lambda_max(&scaled, options, &g->preconditioned_sharpness,
                            &g->preconditioned_sharpness_error, &g->products, err);
    }
    gm_operator_destroy(&scaled);
    gm_free(scale);
    return status;
}

static gm_status take_sharpness(gm_linearization *lin, const gm_gauge_options *options,
                                gm_gauges *g, gm_error *err)
{
    gm_operator hessian = {0};
    gm_status status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, err);
    if (status == GM_OK) {
        status =
            lambda_max(&hessian, options, &g->sharpness, &g->sharpness_error, &g->products, err);
    }
    if (status == GM_OK && isnan(g->sharpness)) {
        status = gm_fail(err, GM_ERR_NUMERIC, "lambda_max of H did not converge in %zu products",
                         g->products);
    }
    if (status == GM_OK) status = take_preconditioned(&hessian, options, g, err);
    gm_operator_destroy(&hessian);
    return status;
}

/* ---- Batch Sharpness ---- */

/* g_B . H_B g_B / ||g_B||^2 of one batch, a problem of its own; NaN for a zero gradient. g [2, p]
 * is for work. */
static gm_status rayleigh_quotient(const gm_problem *whole, const double *theta, size_t m,
                                   const size_t *index, double *g, double *quotient, gm_error *err)
{
    gm_batch_point batch;
    gm_status status = gm_batch_point_open(whole, theta, m, index, &batch, err);
    if (status == GM_OK) {
        size_t p = batch.hessian.size;
        memcpy(g, gm_linearization_gradient(batch.lin), p * sizeof *g);
        gm_near_one(p, g); /* the quotient knows no length, and small squares vanish */
        status = gm_operator_apply(&batch.hessian, 1, g, g + p, err);
        double square = dot(p, g, g), form = dot(p, g, g + p);
        *quotient = square > 0.0 ? form / square : (double)NAN;
    }
    gm_batch_point_close(&batch);
    return status;
}

static gm_status take_batch_sharpness(gm_linearization *lin, const gm_gauge_options *options,
                                      gm_gauges *g, gm_error *err)
{
    const gm_problem *problem = gm_linearization_problem(lin);
    size_t p = gm_problem_parameters(problem), n = gm_problem_data(problem)->n, count = 0;
    gm_replacement drawn =
        options->replacement == GM_REPLACEMENT_YES ? GM_REPLACEMENT_YES : GM_REPLACEMENT_NO;
    gm_sampler *sampler = NULL;
    size_t *index = gm_alloc(options->batch, sizeof *index, "mini-batch", err);
    double *g_and_hg = gm_alloc(2 * p, sizeof *g_and_hg, "gradient and its product with H", err);
    double *each = gm_alloc(options->draws, sizeof *each, "quotients", err);
    gm_status status = index && g_and_hg && each ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        gm_stream stream = gm_stream_of(options->seed, GM_PURPOSE_DRAW, 1);
        status = gm_sampler_create_from(stream, n, options->batch, drawn, &sampler, err);
    }
    for (size_t j = 0; status == GM_OK && j < options->draws; j++) {
        size_t m = gm_sampler_draw(sampler, j, index);
        status = rayleigh_quotient(problem, gm_linearization_theta(lin), m, index, g_and_hg,
                                   each + count, err);
        if (status == GM_OK) count += isfinite(each[count]);
    }
    if (status == GM_OK) {
        double mean = 0.0, squares = 0.0;
        for (size_t j = 0; j < count; j++) {
            mean += each[j] / (double)count;
        }
        for (size_t j = 0; j < count; j++) {
            squares += (each[j] - mean) * (each[j] - mean);
        }
        double error = sqrt(squares / ((double)count * ((double)count - 1.0)));
        g->batch_sharpness = count > 1 ? (gm_estimate){mean, error, 1.96 * error}
                                       : (gm_estimate){(double)NAN, (double)NAN, (double)NAN};
    }
    gm_sampler_free(sampler);
    gm_free(index);
    gm_free(g_and_hg);
    gm_free(each);
    return status;
}

/* ---- critical sharpness ---- */

/* f(theta - eta mu) - f(theta) */
static gm_status rise(gm_linearization *lin, double eta, double *moved, double *change,
                      gm_error *err)
{
    gm_problem *problem = gm_linearization_problem(lin);
    const double *theta = gm_linearization_theta(lin), *mu = gm_linearization_gradient(lin);
    for (size_t i = 0; i < gm_problem_parameters(problem); i++) {
        moved[i] = theta[i] - eta * mu[i];
    }
    double loss;
    gm_status status = gm_problem_value(problem, moved, &loss, NULL, err);
    *change = loss - gm_linearization_loss(lin);
    return status;
}

/* What a change of the loss may be of rounding alone. */
static double rounding(gm_linearization *lin)
{
    bool narrow = gm_problem_data(gm_linearization_problem(lin))->dtype == GM_F32;
    return 4.0 * (narrow ? (double)FLT_EPSILON : DBL_EPSILON) * fabs(gm_linearization_loss(lin));
}

/* A quadratic falls by step |mu|^2 / 4 on the way to the step at which it is back, where it rises
 * with slope |mu|^2. */
static void bracket(gm_linearization *lin, double low, double high, bool found,
                    double gradient_square, gm_gauges *g)
{
    double noise = rounding(lin), shift = noise / gradient_square;
    if (!(0.25 * high * gradient_square > noise)) return; /* what rises and falls is rounding */
    g->critical_sharpness = found ? 2.0 / sqrt(low * high) : 0.0;
    g->critical[0] = found ? 2.0 / (high + shift) : 0.0;
    g->critical[1] = 2.0 / ((found ? low : high) - shift);
}

/* Doubles the step until the loss is above its value, then halves the interval. */
static gm_status take_critical_sharpness(gm_linearization *lin, double gradient_square,
                                         gm_gauges *g, gm_error *err)
{
    size_t p = gm_problem_parameters(gm_linearization_problem(lin));
    g->critical_sharpness = g->critical[0] = g->critical[1] = (double)NAN;
    if (!(gradient_square > 0.0)) return GM_OK;
    double *moved = gm_alloc(p, sizeof *moved, "parameters", err);
    if (!moved) return GM_ERR_MEMORY;
    /* From well below the quadratic model's answer, 2 / (its curvature along mu) <= 2/lambda_max.
     */
    double low = g->sharpness > 0.0 ? 0.5 / g->sharpness : 1e-3, high = low, change = 0.0;
    double most = farthest / sqrt(gradient_square);
    gm_status status = rise(lin, low, moved, &change, err);
    while (status == GM_OK && change > 0.0 && low > 1e-12 * most) { /* nearer than expected */
        high = low;
        low *= 0.5;
        status = rise(lin, low, moved, &change, err);
    }
    bool found = high > low;
    while (status == GM_OK && !found && high < most) {
        low = high;
        high *= 2.0;
        status = rise(lin, high, moved, &change, err);
        found = !(change <= 0.0); /* infinity and NaN are above too */
    }
    while (status == GM_OK && found && high > 1.01 * low) {
        double middle = sqrt(low * high);
        status = rise(lin, middle, moved, &change, err);
        if (change <= 0.0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if (status == GM_OK) bracket(lin, low, high, found, gradient_square, g);
    gm_free(moved);
    return status;
}

/* ---- ratios of the model's numbers ---- */

static gm_status take_trace(gm_linearization *lin, double *trace, gm_error *err)
{
    size_t p = gm_problem_parameters(gm_linearization_problem(lin));
    double *diagonal = gm_alloc(p, sizeof *diagonal, "diagonal of M", err);
    if (!diagonal) return GM_ERR_MEMORY;
    gm_status status = gm_curvature_diagonal(lin, GM_MOMENT, GM_ALL_LAYERS, diagonal, err);
    *trace = 0.0;
    for (size_t i = 0; status == GM_OK && i < p; i++) {
        *trace += diagonal[i];
    }
    gm_free(diagonal);
    return status;
}

static double quotient(double a, double b)
{
    return b > 0.0 ? a / b : (double)NAN;
}

/* Of all that enters, tr(H Sigma) alone may be an estimate: its standard error carries over by what
 * it is multiplied with. */
static void take_ratios(const gm_step_model *model, const gm_gauge_options *options,
                        double trace_moment, gm_gauges *g)
{
    double eta = options->step;
    double kappa =
        gm_kappa_of(model->n, options->batch, options->replacement != GM_REPLACEMENT_YES);
    double square = model->slope, bend = model->bend;
    double trace = bend + kappa * model->trace.value; /* tr(H M_m) */
    double sigma = fmax(0.0, trace_moment - square);
    g->gradient_square = square;
    g->trace_moment = square + kappa * sigma;
    g->interaction = quotient(trace, square);
    g->interaction_error = quotient(kappa * model->trace.std_error, square);
    g->noise_scale = quotient(sigma, square);
    g->noise_scale_error = quotient(0.0, square);
    g->curvature_noise_scale = quotient(model->trace.value, bend);
    g->curvature_noise_scale_error = quotient(model->trace.std_error, bend);
    g->model_step = quotient(2.0 * square, trace);
    g->model_step_error = g->model_step * quotient(kappa * model->trace.std_error, trace);
    double bound = g->sharpness + g->sharpness_error;
    g->local_step = bound > 0.0 ? quotient(2.0 * square, bound * g->trace_moment) : (double)NAN;
    g->local_step_error = g->local_step * quotient(g->sharpness_error, bound);
    /* -eta |mu|^2 + eta^2/2 (mu.H mu + tr(H Sigma)/b) = 0 for the batch size b */
    double signal = square - 0.5 * eta * bend, noise = 0.5 * eta * model->trace.value;
    bool balanced = signal > 0.0 && noise > 0.0;
    g->balance_batch = balanced ? noise / signal : (double)NAN;
    g->balance_batch_error = balanced ? 0.5 * eta * model->trace.std_error / signal : (double)NAN;
    double beta = options->momentum;
    g->limit = (2.0 + 2.0 * beta) / eta;
    g->nesterov_limit = (2.0 + 2.0 * beta) / ((1.0 + 2.0 * beta) * eta);
    double beta1 = options->averaging;
    g->preconditioned_limit = beta1 > 0.0 ? (2.0 + 2.0 * beta1) / ((1.0 - beta1) * eta) : g->limit;
    g->batch_limit[0] = 2.0 * (1.0 - beta) / eta;
    g->batch_limit[1] = 2.0 * (1.0 + beta) / eta;
}

gm_status gm_gauges_measure(gm_linearization *lin, const gm_step_model *model,
                            const gm_gauge_options *options, gm_gauges *gauges, gm_error *err)
{
    double trace_moment = 0.0;
    memset(gauges, 0, sizeof *gauges);
    gm_status status = check(options, model->n, err);
    if (status == GM_OK) status = take_sharpness(lin, options, gauges, err);
    if (status == GM_OK) status = take_batch_sharpness(lin, options, gauges, err);
    if (status == GM_OK) {
        status = take_critical_sharpness(lin, model->slope, gauges, err);
    }
    if (status == GM_OK) status = take_trace(lin, &trace_moment, err);
    if (status == GM_OK) take_ratios(model, options, trace_moment, gauges);
    return status;
}
