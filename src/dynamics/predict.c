/* One step of SGD predicted by the second-order model (theory section 3.2).
 *
 *   E Q  = -eta |mu|^2 + eta^2/2 mu.H mu + eta^2/2 kappa tr C
 *   V    = kappa (1/n) sum (x_i.a)^2 + eta^4/2 kappa^2 |C|_F^2,   a = -eta mu + eta^2 H mu
 *   Var Q = V + eta^2 k_3 + eta^4/4 k_4      (batches with replacement)
 *     k_3 = (1/m^2) (1/n) sum (a.x_i) d_i
 *     k_4 = (1/m^3) [(1/n) sum d_i^2 - (tr C)^2 - 2 |C|_F^2],     d_i = x_i.H x_i
 *   lambda_+- = eta^2/2 kappa max(0, +-lambda(C))
 *
 * Batches without replacement: Q - const = sum_{i in S} (l_i/m + c d_i) + c sum_{i != j in S} K_ij
 * over a random subset S, l_i = a.x_i, c = eta^2/(2 m^2), K = n C. Its second moment needs the
 * probabilities pi_k = (m)_k / (n)_k that k given samples are in S, (m)_k = m (m-1) ... (m-k+1).
 * The x_i sum to 0, hence the l_i and every row of K, and what is left is
 *
 *   Var Q = p_1 sum l_i^2 / m^2 + (2 p_1 - 4 p_2) c/m sum l_i d_i
 *           + c^2 [ (p_1 - 6 q) sum d_i^2 + 2 q n^2 |C|_F^2 + (q - p_1^2) (n tr C)^2 ]
 *     p_1 = pi_1 - pi_2 = m (n-m) / (n)_2,   p_2 = pi_2 - pi_3 = (m)_2 (n-m) / (n)_3
 *     q = pi_2 - 2 pi_3 + pi_4 = (m)_2 (n-m)_2 / (n)_4
 *
 * Everything about theta is in the model; eta and m enter as powers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/dynamics.h"
#include "gradiometer/random.h"
#include "sgd/kappa.h"

static gm_status check(const gm_step_model *model, size_t batch, bool without_replacement,
                       double eta, gm_error *err)
{
    if (batch < 1 || (without_replacement && batch > model->n)) {
        return gm_fail(err, GM_ERR_USAGE, "--batch: %zu of %zu samples, expected at least 1%s",
                       batch, model->n, without_replacement ? " and no more than there are" : "");
    }
    if (!(eta > 0.0 && isfinite(eta))) {
        return gm_fail(err, GM_ERR_USAGE, "--step: found %g, expected a finite number > 0", eta);
    }
    return GM_OK;
}

/* Var Q as a sum of what depends on neither m nor the way to draw: a . Sigma a, (1/n) sum_i (a.x_i)
 * d_i, (1/n) sum_i d_i^2, |C|_F^2 and (tr C)^2 times these. */
typedef struct weights {
    double along, third, fourth, square, trace;
} weights;

static weights weights_with(double m, double c)
{
    return (weights){.along = 1.0 / m,
                     .third = 2.0 * c,
                     .fourth = c * c * m,
                     .square = 2.0 * c * c * m * (m - 1.0),
                     .trace = -c * c * m};
}

static weights weights_without(double n, double m, double c)
{
    double left = n - m, p2 = 0.0, q = 0.0;
    if (left < 1.0) return (weights){0};
    double p1 = m / n * left / (n - 1.0);
    if (m > 1.0) p2 = p1 * (m - 1.0) / (n - 2.0);
    if (m > 1.0 && left > 1.0) q = p2 * (left - 1.0) / (n - 3.0);
    return (weights){.along = p1 * n / (m * m),
                     .third = (2.0 * p1 - 4.0 * p2) * n * c / m,
                     .fourth = (p1 - 6.0 * q) * n * c * c,
                     .square = 2.0 * q * n * n * c * c,
                     .trace = (q - p1 * p1) * n * n * c * c};
}

gm_status gm_step_predict(const gm_step_model *model, size_t batch, bool without_replacement,
                          double eta, gm_step_prediction *prediction, gm_error *err)
{
    gm_status status = check(model, batch, without_replacement, eta, err);
    if (status != GM_OK) return status;
    double kappa = gm_kappa_of(model->n, batch, without_replacement), half = 0.5 * eta * eta;
    double m = (double)batch, trace = model->trace.value, square = model->frobenius_square.value;
    const double *s = model->noise;
    gm_step_prediction *q = prediction;
    q->mean = -eta * model->slope + half * (model->bend + kappa * trace);
    q->mean_error = half * kappa * model->trace.std_error;
    double along = eta * eta * (s[0] - 2.0 * eta * s[1] + eta * eta * s[2]); /* a . Sigma a */
    q->v = kappa * along + 2.0 * half * half * kappa * kappa * square;
    q->v_error = 2.0 * half * half * kappa * kappa * model->frobenius_square.std_error;
    double third = eta * eta * model->third[1].value - eta * model->third[0].value;
    double c = half / (m * m);
    weights w = without_replacement ? weights_without((double)model->n, m, c) : weights_with(m, c);
    q->variance = w.along * along + w.third * third + w.fourth * model->fourth.value +
                  w.square * square + w.trace * trace * trace;
    /* Estimates from the same samples: a sum's standard error is at most the sum of theirs. */
    q->variance_error =
        fabs(w.third) * (eta * eta * model->third[1].std_error + eta * model->third[0].std_error) +
        fabs(w.fourth) * model->fourth.std_error +
        fabs(w.square) * model->frobenius_square.std_error +
        fabs(2.0 * w.trace * trace) * model->trace.std_error;
    q->lambda_error = half * kappa * model->lambda_error;
    q->lambda_plus = half * kappa * fmax(0.0, model->lambda_max);
    q->lambda_minus = half * kappa * fmax(0.0, -model->lambda_min);
    return GM_OK;
}

void gm_step_band(const gm_step_prediction *prediction, double s, double *lower, double *upper)
{
    double root = sqrt(2.0 * prediction->v * s);
    *lower = prediction->mean - root - 2.0 * prediction->lambda_minus * s;
    *upper = prediction->mean + root + 2.0 * prediction->lambda_plus * s;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

gm_status gm_step_quantiles(const gm_step_model *model, size_t batch, bool without_replacement,
                            double eta, size_t draws, uint64_t seed, size_t count,
                            const double *level, double *value, gm_error *err)
{
    gm_status status = check(model, batch, without_replacement, eta, err);
    if (status != GM_OK) return status;
    if (!model->exact || draws < 1) {
        return gm_fail(err, GM_ERR_USAGE,
                       "quantiles need the whole spectrum of C and at least 1 draw");
    }
    size_t n = model->n;
    double kappa = gm_kappa_of(n, batch, without_replacement);
    double *z = gm_alloc(n, sizeof *z, "normal numbers", err);
    double *a = gm_alloc(n, sizeof *a, "noise along the step", err);
    double *q = gm_alloc(draws, sizeof *q, "draws", err);
    gm_step_prediction mean;
    status = z && a && q ? gm_step_predict(model, batch, without_replacement, eta, &mean, err)
                         : GM_ERR_MEMORY;
    if (status != GM_OK) goto done;
    for (size_t j = 0; j < n; j++) {
        a[j] = sqrt(kappa) * (eta * eta * model->along[1][j] - eta * model->along[0][j]);
    }
    double half = 0.5 * eta * eta * kappa;
    for (size_t d = 0; d < draws; d++) {
        gm_normal_fill(gm_stream_of(seed, GM_PURPOSE_PROBE, 2), d * n, n, z);
        q[d] = mean.mean;
        for (size_t j = 0; j < n; j++) {
            q[d] += a[j] * z[j] + half * model->value[j] * (z[j] * z[j] - 1.0);
        }
    }
    qsort(q, draws, sizeof *q, ascending);
    for (size_t i = 0; i < count; i++) {
        double place = level[i] * (double)(draws - 1);
        size_t low = (size_t)place, next = low + 1 < draws ? low + 1 : low;
        value[i] = q[low] + (place - (double)low) * (q[next] - q[low]);
    }
done:
    gm_free(z);
    gm_free(a);
    gm_free(q);
    return status;
}
