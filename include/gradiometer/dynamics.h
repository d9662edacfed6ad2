/* The dynamics of SGD (theory section 3): what one step theta' = theta - eta g, g the gradient of a
 * mini-batch, does to the loss, as the second-order model predicts it and as draws of mini-batches
 * show it.
 *
 * Notation: mu the full gradient, H the Hessian, g_i the samples' gradients, x_i = g_i - mu; a
 * mini-batch of m samples has gradient mu + xi with covariance Sigma_m = kappa Sigma, kappa = 1/m
 * with replacement and (n - m) / (m (n - 1)) without. Delta = f(theta') - f(theta); its model is
 * Q(g) = -eta mu.g + eta^2/2 g.Hg. */
#ifndef GRADIOMETER_DYNAMICS_H
#define GRADIOMETER_DYNAMICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/curvature.h"
#include "gradiometer/estimate.h"
#include "gradiometer/operator.h"
#include "gradiometer/sgd.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- the noise seen by the Hessian --- */

/* op = C [n, n], C_ij = x_i . H x_j / n (theory section 3.2): tr C = tr(H Sigma), ||C||_F^2 = tr(H
 * Sigma H Sigma), and its eigenvalues other than 0 are those of H Sigma. divisor [p]: D > 0,
 * copied, for x_i = D^-1 (g_i - mu); NULL for I. lin must outlive it. Cost of a product: a weighted
 * backward pass (1 matrix product per layer), one with H, and a per-sample tangent pass (1).
 * Destroyed by gm_operator_destroy. */
gm_status gm_noise_operator(gm_linearization *lin, const double *divisor, gm_operator *op,
                            gm_error *err);

/* --- one step predicted --- */

typedef struct gm_step_options {
    size_t exact_samples; /* 2000: C is formed (n products) for n up to this, and up to 2 always */
    size_t probes;        /* 64 >= 2: else, samples and random vectors of each estimate */
    /* false. true: of C its trace alone, all that the mean of a step and the gauges need: from n
     * products up to exact_samples, else by XTrace to rel_error 1 %, at most 2 probes products. */
    bool trace_only;
    uint64_t seed; /* 0 */
    /* Of the step eta D^-1 (drift + g), all known before g is drawn: D [p], all positive, or NULL
     * for I; drift [p], or NULL for 0. Momentum: drift = beta v_t; Nesterov's: D / (1 + beta) and
     * beta^2 v_t / (1 + beta). */
    const double *divisor, *drift;
} gm_step_options;
void gm_step_options_default(gm_step_options *options);

/* All that the prediction needs of theta, whatever eta and m. With w = D^-1
 * (drift + mu), which is mu for plain SGD, x_i = D^-1 (g_i - mu) and Sigma its covariance, w0 = mu,
 * w1 = H w, and d_i = x_i . H x_i: */
typedef struct gm_step_model {
    size_t n;
    bool exact; /* C was formed; else the estimates below have errors > 0. With trace_only false,
                   and what is not about loss, slope, bend, trace and noise is 0 */
    double loss;
    double slope;                  /* mu . w, ||mu||^2 for plain SGD */
    double bend;                   /* w . H w */
    gm_estimate trace;             /* tr C */
    gm_estimate frobenius_square;  /* ||C||_F^2 */
    double lambda_max, lambda_min; /* of C */
    double lambda_error;           /* their residual */
    double noise[3];               /* w0 . Sigma w0, w0 . Sigma w1, w1 . Sigma w1 */
    /* Heavy-tailed sums: where few samples stand for many, their intervals are too short. */
    gm_estimate third[2]; /* (1/n) sum_i (w_j . x_i) d_i, j = 0, 1 */
    gm_estimate fourth;   /* (1/n) sum_i d_i^2 */
    size_t products;      /* with H */
    /* Eigenvalues of C and the components of noise: xi = sqrt(kappa) sum_j z_j e_j with z standard
     * normal has w . xi = sqrt(kappa) sum_j z_j along[.][j] and xi . H xi = kappa sum_j value[j]
     * z_j^2. [n] each; NULL unless exact. */
    double *value, *along[2];
} gm_step_model;

/* From a linearization. Cost: exact, n + 1 products with H and as many per-sample passes, 4/3 n^3
 * flops and 2 n^2 doubles; else 2 probes + 1 products and an eigenproblem of C by Lanczos; with
 * trace_only at most 2 probes + 1 products, or n + 1 up to exact_samples, and 3 n doubles a probe.
 * GM_ERR_USAGE for probes < 2; errors of the products; GM_ERR_MEMORY. gm_step_model_free accepts
 * what a failure left. */
gm_status gm_step_model_make(gm_linearization *lin, const gm_step_options *options,
                             gm_step_model *model, gm_error *err);
void gm_step_model_free(gm_step_model *model);

/* Q for one step size and one way to draw batches. The errors are 0 where the model is exact. */
typedef struct gm_step_prediction {
    double mean, mean_error; /* E Q, for any noise; its standard error */
    double v, v_error;       /* variance of Q for Gaussian noise, the variance factor of the band */
    double variance, variance_error;  /* of Q for mini-batches, in the way they are drawn; an upper
                                         bound of its standard error */
    double lambda_plus, lambda_minus; /* >= 0, of eta^2/2 Sigma_m^(1/2) H Sigma_m^(1/2) */
    double lambda_error;              /* their residual */
} gm_step_prediction;

/* batch 1 ... n without replacement, >= 1 with; eta > 0 finite: else GM_ERR_USAGE. */
gm_status gm_step_predict(const gm_step_model *model, size_t batch, bool without_replacement,
                          double eta, gm_step_prediction *prediction, gm_error *err);

/* The band that Gaussian noise leaves on either side with probability at most exp(-s): *lower =
 * mean - sqrt(2 v s) - 2 lambda_minus s, *upper = mean + sqrt(2 v s) + 2 lambda_plus s. s >= 0. */
void gm_step_band(const gm_step_prediction *prediction, double s, double *lower, double *upper);

/* Quantiles of Q under Gaussian noise: value [count] at level [count] in (0, 1), from `draws`
 * seeded draws of the exact law. GM_ERR_USAGE for a model that is not exact. Cost: draws n normal
 * numbers. */
gm_status gm_step_quantiles(const gm_step_model *model, size_t batch, bool without_replacement,
                            double eta, size_t draws, uint64_t seed, size_t count,
                            const double *level, double *value, gm_error *err);

/* --- one step observed --- */

typedef struct gm_draw_options {
    size_t batch; /* 1: m */
    double step;  /* 0.1: eta */
    /* yes; GM_REPLACEMENT_EPOCH is refused: the batches of an epoch are not fresh */
    gm_replacement replacement;
    size_t draws;                  /* 1000 */
    uint64_t seed;                 /* 0 */
    uint32_t run;                  /* 0 */
    uint64_t first;                /* 0: number of the first draw */
    const double *divisor, *drift; /* NULL; as in gm_step_options */
} gm_draw_options;
void gm_draw_options_default(gm_draw_options *options);

/* delta [draws] = f(theta - eta g) - f(theta) on the whole set, for fresh mini-batches: draw j is
 * batch first + j of stream (seed, GM_PURPOSE_DRAW, run), which no training run draws from.
 * Infinite where the loss overflows. Cost: draws batch gradients and forward passes. */
gm_status gm_step_draw(gm_problem *problem, const double *theta, const gm_draw_options *options,
                       double *delta, gm_error *err);

/* E[f(theta_{t+1}) | theta_t] - f(theta_t) by draws (theory section 3.3). The upper limit is that
 * of Student's two-sided 95 % interval: draws are independent, and their mean is nearly normal for
 * hundreds of them; a bound that holds for any number of draws (Hoeffding) would need one of Delta,
 * which there is not. A heavy upper tail that was not drawn is not seen. */
typedef struct gm_rise {
    size_t draws, infinite; /* infinite: draws whose loss is no finite number */
    double mean, std_error; /* of Delta; infinite where a draw is */
    double upper;           /* of the mean */
    bool ok;                /* upper <= 0 */
} gm_rise;

/* delta [draws], draws >= 2. */
void gm_rise_of(size_t draws, const double *delta, gm_rise *rise);

/* --- stability gauges (theory section 3.5) --- */

typedef struct gm_gauge_options {
    size_t batch;               /* 1: m */
    double step;                /* 0.1: eta, for the balance of noise and signal */
    double momentum;            /* 0: beta of the run, 0 <= beta < 1, for the thresholds */
    gm_replacement replacement; /* yes; of an epoch's batches the law is that of `no` */
    size_t draws;               /* 64 >= 2: mini-batches for the Batch Sharpness */
    double tol;                 /* 1e-4: of lambda_max, relative; at least gm_eigen_floor */
    uint64_t seed;              /* 0 */
    const double *divisor;      /* NULL: D [p], all positive, of a run with steps eta D^-1 g (theory
                                   section 3.4), for the preconditioned sharpness alone */
    double averaging; /* 0: beta1 of a step eta D^-1 m, m = beta1 m + (1 - beta1) g (Adam's), 0
                         <= beta1 < 1; for the preconditioned sharpness' threshold alone */
} gm_gauge_options;
void gm_gauge_options_default(gm_gauge_options *options);

/* Undefined quotients (a trace that is not positive; a gradient that vanishes, or whose square
 * does, from 1e-162 downwards) are NaN; the Batch Sharpness alone minds no lengths. */
typedef struct gm_gauges {
    double sharpness, sharpness_error; /* lambda_max(H) and its residual */
    /* lambda_max(D^-1/2 H D^-1/2) and its residual; NaN without a divisor, and where it did not
     * converge. */
    double preconditioned_sharpness, preconditioned_sharpness_error;
    gm_estimate batch_sharpness; /* E_B [g_B . H_B g_B / ||g_B||^2], over the batches drawn with
                                    a gradient other than 0 */
    double interaction;          /* tr(H M_m) / ||mu||^2 */
    double interaction_error;    /* standard error, 0 where tr(H Sigma) is exact */
    double noise_scale, noise_scale_error; /* tr Sigma / ||mu||^2, always exact at these data: 0 */
    double curvature_noise_scale, curvature_noise_scale_error; /* tr(H Sigma) / (mu . H mu) */
    /* 2 / eta_c, eta_c the smallest step along -mu at which the loss is back at its value, within
     * 1 %; 0 where no step up to 1e6 / ||mu|| does so, NaN where the change of the loss on the way
     * is lost in its rounding. lower and upper from the steps between which the loss, known to 4
     * roundings, comes back: critical[0] <= critical_sharpness <= critical[1]. */
    double critical_sharpness, critical[2];
    /* Thresholds to compare them with, for the step eta and momentum beta. */
    double limit;          /* 2/eta; heavy ball (2 + 2 beta)/eta */
    double nesterov_limit; /* (2 + 2 beta) / ((1 + 2 beta) eta) */
    /* Of the preconditioned sharpness, D held fixed: limit, or with an averaged gradient (2 + 2
     * beta1) / ((1 - beta1) eta). */
    double preconditioned_limit;
    double batch_limit[2]; /* of the Batch Sharpness: 2 (1 - beta)/eta for small batches, 2 (1 +
                              beta)/eta for large ones */
    /* Largest and best step of plain SGD: by the second-order model, 2 ||mu||^2 / tr(H M_m), and
     * with lambda_max + residual in the place of L, 2 ||mu||^2 / (L tr M_m). Half of each is the
     * best. Their errors: the standard error that tr(H Sigma) leaves, 0 where that is exact; the
     * residual of lambda_max. */
    double model_step, model_step_error, local_step, local_step_error;
    /* Batch size, with replacement, at which the model's loss neither rises nor falls at step eta;
     * NaN where it rises for every batch size or falls for every one. Its standard error, 0 where
     * tr(H Sigma) is exact. */
    double balance_batch, balance_batch_error;
    double gradient_square, trace_moment; /* ||mu||^2, tr M_m */
    size_t products;                      /* with H, for the two lambda_max */
} gm_gauges;

/* Gauges at the point of model and lin (of the same theta). Cost: an eigenproblem of H (two with
 * a divisor), the traces in the model, a backward pass for tr M, draws gradients and products with
 * H on m samples each, 25 forward passes. GM_ERR_USAGE for options out of range; GM_ERR_INPUT for a
 * divisor that is not positive; errors of the parts. */
gm_status gm_gauges_measure(gm_linearization *lin, const gm_step_model *model,
                            const gm_gauge_options *options, gm_gauges *gauges, gm_error *err);

/* --- frequencies --- */

/* Clopper-Pearson interval of a probability, `count` successes in `trials` >= 1, at confidence
 * level in (0, 1): *low, *high in [0, 1]. */
void gm_clopper_pearson(size_t count, size_t trials, double level, double *low, double *high);

#ifdef __cplusplus
}
#endif
#endif
