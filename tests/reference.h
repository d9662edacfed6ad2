/* A second, slow and plain implementation of the loss of a multi-layer perceptron, to hold the
 * library against.
 *
 * It is written in complex arithmetic, so that derivatives of it are exact: for an analytic
 * function F, Im F(theta + i h v) / h is the directional derivative with an error of h^2, and with
 * h = 1e-30 nothing is subtracted and nothing is lost (Squire and Trapp 1998,
 * doi:10.1137/S003614459631241X). Hessians from it carry rounding only. */
#ifndef GM_TESTS_REFERENCE_H
#define GM_TESTS_REFERENCE_H

#include <complex.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef enum ref_act {
    REF_IDENTITY,
    REF_RELU,
    REF_LEAKY,
    REF_TANH,
    REF_SIGMOID,
    REF_SOFTPLUS
} ref_act;

enum { REF_LAYERS = 20 };

typedef struct ref_net {
    int layers; /* dense layers */
    size_t width[REF_LAYERS + 1];
    ref_act act;
    bool bias, squared;
} ref_net;

static inline size_t ref_parameters(const ref_net *net)
{
    size_t p = 0;
    for (int l = 0; l < net->layers; l++) {
        p += net->width[l + 1] * (net->width[l] + (net->bias ? 1 : 0));
    }
    return p;
}

static inline double complex ref_phi(ref_act act, double complex z)
{
    switch (act) {
    case REF_RELU:
        return creal(z) > 0 ? z : 0;
    case REF_LEAKY:
        return creal(z) > 0 ? z : 0.01 * z;
    case REF_TANH:
        return ctanh(z);
    case REF_SIGMOID:
        return 1 / (1 + cexp(-z));
    case REF_SOFTPLUS:
        return clog(1 + cexp(z));
    default:
        return z;
    }
}

static inline double complex ref_slope(ref_act act, double complex z)
{
    switch (act) {
    case REF_RELU:
        return creal(z) > 0;
    case REF_LEAKY:
        return creal(z) > 0 ? 1 : 0.01;
    case REF_TANH:
        return 1 - ctanh(z) * ctanh(z);
    case REF_SIGMOID:
        return 1 / ((1 + cexp(-z)) * (1 + cexp(z)));
    case REF_SOFTPLUS:
        return 1 / (1 + cexp(-z));
    default:
        return 1;
    }
}

/* Loss of one sample and its gradient [p]. root (or NULL) replaces the signal at the logits: the
 * gradient is then that of root . z, one row of the Jacobian for a unit vector. logits [K] (or
 * NULL) receives z. */
static inline double complex ref_sample(const ref_net *net, const double complex *theta,
                                        const double *x, int label, const double *target,
                                        const double *root, double complex *gradient,
                                        double complex *logits)
{
    double complex *z[REF_LAYERS + 1] = {NULL}, *a[REF_LAYERS + 1] = {NULL};
    const double complex *w[REF_LAYERS];
    size_t outputs = net->width[net->layers];
    for (int l = 0; l <= net->layers; l++) {
        z[l] = calloc(net->width[l], sizeof **z);
        a[l] = calloc(net->width[l], sizeof **a);
    }
    for (size_t k = 0; k < net->width[0]; k++) {
        a[0][k] = x[k];
    }
    const double complex *next = theta;
    for (int l = 0; l < net->layers; l++) {
        size_t in = net->width[l], out = net->width[l + 1];
        w[l] = next;
        for (size_t o = 0; o < out; o++) {
            z[l + 1][o] = net->bias ? w[l][in * out + o] : 0;
            for (size_t k = 0; k < in; k++) {
                z[l + 1][o] += w[l][o * in + k] * a[l][k];
            }
            a[l + 1][o] = l + 1 < net->layers ? ref_phi(net->act, z[l + 1][o]) : z[l + 1][o];
        }
        next += out * (in + (net->bias ? 1 : 0));
    }
    double complex loss = 0, *zl = z[net->layers];
    double complex *signal = calloc(outputs, sizeof *signal);
    double top = creal(zl[0]);
    for (size_t c = 0; c < outputs; c++) {
        top = creal(zl[c]) > top ? creal(zl[c]) : top;
        if (logits) logits[c] = zl[c];
    }
    if (net->squared) {
        for (size_t c = 0; c < outputs; c++) {
            signal[c] = zl[c] - target[c];
            loss += 0.5 * signal[c] * signal[c];
        }
    } else {
        double complex sum = 0;
        for (size_t c = 0; c < outputs; c++) {
            sum += cexp(zl[c] - top);
        }
        for (size_t c = 0; c < outputs; c++) {
            signal[c] = cexp(zl[c] - top) / sum - ((int)c == label);
        }
        loss = clog(sum) + top - zl[label];
    }
    for (size_t c = 0; root && c < outputs; c++) {
        signal[c] = root[c];
    }
    for (int l = net->layers - 1; l >= 0; l--) {
        size_t in = net->width[l], out = net->width[l + 1], offset = (size_t)(w[l] - theta);
        double complex *back = calloc(in, sizeof *back);
        for (size_t o = 0; o < out; o++) {
            for (size_t k = 0; k < in; k++) {
                gradient[offset + o * in + k] = signal[o] * a[l][k];
                back[k] += signal[o] * w[l][o * in + k];
            }
            if (net->bias) gradient[offset + in * out + o] = signal[o];
        }
        for (size_t k = 0; l > 0 && k < in; k++) {
            back[k] *= ref_slope(net->act, z[l][k]);
        }
        free(signal);
        signal = back;
    }
    free(signal);
    for (int l = 0; l <= net->layers; l++) {
        free(z[l]);
        free(a[l]);
    }
    return loss;
}

typedef struct ref_data {
    size_t n;
    const double *x;      /* [n, width 0] */
    const int32_t *label; /* [n] or */
    const double *target; /* [n, K] */
} ref_data;

/* Mean loss and per-sample gradients rows [n, p] at a real theta. */
static inline double ref_gradients(const ref_net *net, const double *theta, const ref_data *data,
                                   double *rows)
{
    size_t p = ref_parameters(net), outputs = net->width[net->layers];
    double complex *point = calloc(p, sizeof *point), *g = calloc(p, sizeof *g);
    double mean = 0;
    for (size_t j = 0; j < p; j++) {
        point[j] = theta[j];
    }
    for (size_t i = 0; i < data->n; i++) {
        mean += creal(ref_sample(net, point, data->x + i * net->width[0],
                                 data->label ? data->label[i] : 0,
                                 data->target ? data->target + i * outputs : NULL, NULL, g, NULL)) /
                (double)data->n;
        for (size_t j = 0; rows && j < p; j++) {
            rows[i * p + j] = creal(g[j]);
        }
    }
    free(point);
    free(g);
    return mean;
}

typedef enum ref_operator { REF_H, REF_G, REF_M, REF_SIGMA, REF_HP } ref_operator;

/* Rows of S^T J: sqrt of the GGN's terms, from the Jacobian one output at a time; adds (1/n) J^T
 * Lambda J. */
static inline void ref_add_ggn(const ref_net *net, const double complex *point,
                               const ref_data *data, size_t i, double *matrix)
{
    size_t p = ref_parameters(net), outputs = net->width[net->layers];
    double *jac = calloc(outputs * p, sizeof *jac), *prob = calloc(outputs, sizeof *prob);
    double complex *g = calloc(p, sizeof *g), *z = calloc(outputs, sizeof *z);
    double sum = 0, *root = calloc(outputs, sizeof *root);
    for (size_t c = 0; c < outputs; c++) {
        memset(root, 0, outputs * sizeof *root);
        root[c] = 1;
        ref_sample(net, point, data->x + i * net->width[0], data->label ? data->label[i] : 0,
                   data->target ? data->target + i * outputs : NULL, root, g, z);
        for (size_t j = 0; j < p; j++) {
            jac[c * p + j] = creal(g[j]);
        }
    }
    for (size_t c = 0; c < outputs; c++) {
        prob[c] = exp(creal(z[c]) - creal(z[0]));
        sum += prob[c];
    }
    for (size_t c = 0; c < outputs; c++) {
        for (size_t d = 0; d < outputs; d++) {
            double lambda = net->squared
                                ? (double)(c == d)
                                : (c == d ? prob[c] / sum : 0) - prob[c] * prob[d] / (sum * sum);
            for (size_t r = 0; r < p; r++) {
                for (size_t s = 0; s < p; s++) {
                    matrix[r * p + s] += lambda * jac[c * p + r] * jac[d * p + s] / (double)data->n;
                }
            }
        }
    }
    free(jac);
    free(prob);
    free(g);
    free(z);
    free(root);
}

/* Adds column j of H (or of H_p: of the mean of p_y(theta)/p_y(theta_0)) by a complex step. */
static inline void ref_add_column(const ref_net *net, double complex *point, const ref_data *data,
                                  size_t i, size_t j, bool residual, double complex *g,
                                  double *matrix)
{
    const double h = 1e-30;
    size_t p = ref_parameters(net), outputs = net->width[net->layers];
    point[j] = creal(point[j]) + h * (double complex)I;
    double complex loss =
        ref_sample(net, point, data->x + i * net->width[0], data->label ? data->label[i] : 0,
                   data->target ? data->target + i * outputs : NULL, NULL, g, NULL);
    point[j] = creal(point[j]);
    for (size_t r = 0; r < p; r++) {
        /* grad of exp(-loss(theta) + loss(theta_0)) = -ratio * grad loss, ratio = 1 at theta_0 */
        double complex ratio = residual ? -cexp(-(loss - creal(loss))) : 1;
        matrix[r * p + j] += cimag(ratio * g[r]) / h / (double)data->n;
    }
}

/* The dense operator [p, p], assembled sample by sample. */
static inline void ref_matrix(const ref_net *net, const double *theta, const ref_data *data,
                              ref_operator kind, double *matrix)
{
    size_t p = ref_parameters(net), n = data->n;
    double complex *point = calloc(p, sizeof *point), *g = calloc(p, sizeof *g);
    double *rows = calloc(n * p, sizeof *rows), *mu = calloc(p, sizeof *mu);
    memset(matrix, 0, p * p * sizeof *matrix);
    for (size_t j = 0; j < p; j++) {
        point[j] = theta[j];
    }
    ref_gradients(net, theta, data, rows);
    for (size_t i = 0; i < n * p; i++) {
        mu[i % p] += rows[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        if (kind == REF_G) ref_add_ggn(net, point, data, i, matrix);
        for (size_t j = 0; (kind == REF_H || kind == REF_HP) && j < p; j++) {
            ref_add_column(net, point, data, i, j, kind == REF_HP, g, matrix);
        }
        for (size_t r = 0; (kind == REF_M || kind == REF_SIGMA) && r < p; r++) {
            for (size_t s = 0; s < p; s++) {
                double a = rows[i * p + r] - (kind == REF_SIGMA ? mu[r] : 0);
                double b = rows[i * p + s] - (kind == REF_SIGMA ? mu[s] : 0);
                matrix[r * p + s] += a * b / (double)n;
            }
        }
    }
    free(point);
    free(g);
    free(rows);
    free(mu);
}

#endif
