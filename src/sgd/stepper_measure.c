/* What a step-size policy measures at theta_t (theory sections 3.3 and 3.4). With D = I or a
 * diagonal, M_m = (1 - kappa) mu mu^T + kappa M and kappa = 1/m, or (n - m) / (m (n - 1)) without
 * replacement:
 *   tr(D^-1 M_m D^-1) = sum_j [(1 - kappa) mu_j^2 + kappa M_jj] / D_j^2
 *   tr(D^-1 H D^-1 M_m) = (1 - kappa) a.H a + kappa (1/n) sum_i a_i.H a_i, a = D^-1 mu, a_i = D^-1
 * g_i. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/curvature.h"
#include "gradiometer/eigen.h"
#include "gradiometer/random.h"
#include "sgd/kappa.h"
#include "sgd/stepper.h"

enum {
    EXACT_SAMPLES = 2000, /* sum over all samples up to here */
    SIGNS = 64,           /* else random vectors */
    BLOCK = 16,
    ORACLE_PRODUCTS = 300,   /* of one search for lambda_max: its residual tells how far it got */
    ESTIMATED_PRODUCTS = 12, /* a few Lanczos steps */
    SHRINKS = 20
};

static double kappa_of(const gm_stepper *s)
{
    return gm_kappa_of(s->n, s->batch, s->replacement != GM_REPLACEMENT_YES);
}

static double dot(size_t n, const double *x, const double *y)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* ---- traces ---- */

/* weight [count, n] of which sums of gradients a block takes: units, or signs over sqrt(n). */
static void fill_weights(const gm_stepper *s, size_t first, size_t count, bool exact, uint64_t t,
                         double *weight)
{
    size_t n = s->n;
    if (exact) {
        memset(weight, 0, count * n * sizeof *weight);
        for (size_t j = 0; j < count; j++) {
            weight[j * n + first + j] = 1.0;
        }
        return;
    }
    gm_stream stream = gm_stream_of(s->seed, GM_PURPOSE_POLICY, s->run);
    gm_rademacher_fill(stream, (t * SIGNS + first) * n, count * n, weight);
}

/* *mean = (1/n) sum_i a_i.H a_i: signs e_i give E |.|^2 of sum_i e_i a_i = sum_i of the diagonal.
 */
static gm_status sum_over_samples(gm_stepper *s, gm_linearization *lin, gm_operator *hessian,
                                  const double *divisor, uint64_t t, double *mean, gm_error *err)
{
    size_t n = s->n, p = s->p, count;
    bool exact = n <= EXACT_SAMPLES;
    gm_samples *samples = NULL;
    double *weight = gm_alloc(BLOCK * n, sizeof *weight, "weights of the samples", err);
    double *a = gm_alloc(2 * BLOCK * p, sizeof *a, "gradients and their products with H", err);
    gm_status status = weight && a ? GM_OK : GM_ERR_MEMORY;
    if (!status) status = gm_samples_create(lin, GM_ALL_LAYERS, &samples, err);
    size_t vectors = exact ? n : SIGNS;
    *mean = 0.0;
    for (size_t first = 0; !status && first < vectors; first += count) {
        count = vectors - first < BLOCK ? vectors - first : BLOCK;
        fill_weights(s, first, count, exact, t, weight);
        gm_samples_sum(samples, count, weight, a);
        for (size_t i = 0; divisor && i < count * p; i++) {
            a[i] /= divisor[i % p];
        }
        status = gm_operator_apply(hessian, count, a, a + BLOCK * p, err);
        for (size_t j = 0; !status && j < count; j++) {
            *mean += dot(p, a + j * p, a + (BLOCK + j) * p);
        }
    }
    *mean /= (double)n * (exact ? 1.0 : (double)SIGNS);
    gm_samples_free(samples);
    gm_free(weight);
    gm_free(a);
    return status;
}

static gm_status trace_curvature(gm_stepper *s, gm_linearization *lin, const double *divisor,
                                 uint64_t t, double *trace, gm_error *err)
{
    gm_operator hessian = {0};
    double kappa = kappa_of(s), along = 0.0, mean = 0.0;
    gm_status status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, err);
    if (!status) {
        const double *mu = gm_linearization_gradient(lin);
        for (size_t i = 0; i < s->p; i++) {
            s->mu[i] = divisor ? mu[i] / divisor[i] : mu[i];
        }
        status = gm_operator_apply(&hessian, 1, s->mu, s->moved, err);
        along = dot(s->p, s->mu, s->moved);
    }
    if (!status && kappa > 0.0) status = sum_over_samples(s, lin, &hessian, divisor, t, &mean, err);
    *trace = (1.0 - kappa) * along + kappa * mean;
    gm_operator_destroy(&hessian);
    return status;
}

gm_status gm_stepper_inputs(gm_stepper *s, gm_linearization *lin, const double *divisor, uint64_t t,
                            gm_step_choice *choice, gm_error *err)
{
    const double *mu = gm_linearization_gradient(lin);
    double kappa = kappa_of(s), square = 0.0, trace = 0.0;
    gm_status status = gm_curvature_diagonal(lin, GM_MOMENT, GM_ALL_LAYERS, s->moved, err);
    for (size_t i = 0; !status && i < s->p; i++) {
        double d = divisor ? divisor[i] : 1.0, g = mu[i] * mu[i];
        square += g / d;
        trace += ((1.0 - kappa) * g + kappa * s->moved[i]) / (d * d);
    }
    choice->gradient_square = square;
    choice->trace_moment = trace;
    if (!status && s->policy.kind == GM_POLICY_ORACLE_MODEL) {
        status = trace_curvature(s, lin, divisor, t, &choice->trace_curvature, err);
    }
    return status;
}

/* ---- L ---- */

void gm_stepper_finish(const gm_policy *policy, double curvature, gm_step_choice *choice)
{
    double slope = choice->gradient_square, bend = curvature * choice->trace_moment;
    if (choice->trace_curvature > 0.0) bend = choice->trace_curvature; /* NaN: not asked for */
    choice->limit = !(slope > 0.0) ? 0.0 : bend > 0.0 ? 2.0 * slope / bend : (double)INFINITY;
    choice->step = fmin(policy->max, policy->share * choice->limit);
}

static void keep_vector(gm_stepper *s, const double *vector)
{
    bool narrow = s->k->dtype == GM_F32;
    for (size_t i = 0; i < s->p; i++) {
        s->vector[i] = narrow ? (double)(float)vector[i] : vector[i];
    }
    s->has_vector = true;
}

/* lambda_max + residual at lin's point: infinite where a product with H is not finite, 0 where H is
 * lost in the rounding of its products. */
static gm_status take_end(gm_stepper *s, gm_linearization *lin, double *bound, gm_error *err)
{
    bool estimated = s->policy.kind == GM_POLICY_ESTIMATED;
    gm_operator hessian = {0};
    gm_eigen_options o;
    gm_eigen found = {0};
    gm_eigen_options_default(&o);
    o.k = 1;
    o.tol = estimated ? 0.05 : 1e-3;
    o.max_products = estimated ? ESTIMATED_PRODUCTS : ORACLE_PRODUCTS;
    o.seed = s->seed;
    gm_status status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, err);
    if (!status) status = gm_eigen_track(&hessian, &o, s->has_vector, s->vector, &found, err);
    *bound = (double)INFINITY;
    if (!status && found.count > 0) {
        *bound = found.value[0] + found.residual[0];
        keep_vector(s, found.vector);
    } else if (status == GM_ERR_INPUT) {
        *bound = 0.0;
    }
    if (status == GM_ERR_NUMERIC || status == GM_ERR_INPUT) status = GM_OK;
    gm_eigen_free(&found);
    gm_operator_destroy(&hessian);
    return status;
}

/* The same at moved; infinite too where that is no point or has no finite loss. */
static gm_status take_end_at_trial(gm_stepper *s, double *bound, gm_error *err)
{
    gm_linearization *lin = NULL;
    *bound = (double)INFINITY;
    for (size_t i = 0; i < s->p; i++) {
        double x = s->moved[i];
        if (!isfinite(x) || (s->k->dtype == GM_F32 && !isfinite((float)x))) return GM_OK;
    }
    gm_status status = gm_linearize(s->problem, s->moved, &lin, err);
    if (!status && isfinite(gm_linearization_loss(lin))) status = take_end(s, lin, bound, err);
    gm_linearization_free(lin);
    return status;
}

gm_status gm_stepper_curvature(gm_stepper *s, gm_linearization **lin, const double *divisor,
                               gm_step_choice *choice, double *trial, gm_error *err)
{
    double here, there = (double)INFINITY;
    const double *theta = gm_linearization_theta(*lin);
    gm_status status = take_end(s, *lin, &here, err);
    if (status) return status;
    double curvature = fmax(here, s->policy.floor);
    gm_stepper_finish(&s->policy, curvature, choice);
    *trial = choice->step;
    const double *mu = gm_linearization_gradient(*lin);
    for (size_t i = 0; i < s->p; i++) {
        s->mu[i] = divisor ? mu[i] / divisor[i] : mu[i];
        s->point[i] = theta[i];
    }
    gm_linearization_free(*lin);
    *lin = NULL;
    for (int k = 0; !status && *trial > 0.0 && k < SHRINKS; k++) {
        for (size_t i = 0; i < s->p; i++) {
            s->moved[i] = s->point[i] - *trial * s->mu[i];
        }
        status = take_end_at_trial(s, &there, err);
        if (status || isfinite(there)) break;
        *trial *= 0.25;
    }
    if (*trial > 0.0) curvature = fmax(curvature, there);
    choice->curvature = curvature;
    return status;
}
