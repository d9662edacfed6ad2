/* Mean-square stability of SGD (theory section 3.5). Linearized at a point theta*, a step on batch
 * B is theta - theta* -> (I - eta H_B)(theta - theta*), and X = E (theta - theta*)(theta - theta*)'
 * goes to
 *   T(X) = (I - eta H) X (I - eta H) + eta^2 kappa ((1/n) sum_i H_i X H_i - H X H),
 * kappa = 1/m with replacement and (n - m) / (m (n - 1)) without. T keeps positive matrices
 * positive and is symmetric for the inner product tr(XY), so that its spectral radius is its
 * largest eigenvalue: E |theta - theta*|^2 shrinks in the long run where that is below 1. It
 * shrinks in every single step from every direction where E_B (I - eta H_B)^2 = T(I) has all
 * eigenvalues below 1, with S = (1/n) sum_i H_i^2: T(I) = I - 2 eta H + eta^2 ((1 - kappa) H^2 +
 * kappa S).
 *
 * Everything is taken on a span of k directions of positive curvature, once for all eta and m:
 * there H is Lambda = diag(lambda), and both conditions are eigenproblems of their own in eta,
 * without a search, sufficient  eta < 2 / lambda_max(Lambda^-1/2 ((1 - kappa) Lambda^2 + kappa S)
 * Lambda^-1/2) boundary    eta < 1 / lambda_max(L^-1/2 ((1 - kappa) Lambda.Lambda + kappa K)
 * L^-1/2) with L(X) = Lambda X + X Lambda, Lambda.Lambda (X) = Lambda X Lambda and K(X) = (1/n)
 * sum_i H_i X H_i on the symmetric matrices of the span. The boundary of a span is never below that
 * of a larger one, and exact where the span is everything that has curvature. */
#ifndef GRADIOMETER_STABILITY_H
#define GRADIOMETER_STABILITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/curvature.h"
#include "gradiometer/ensemble.h"
#include "gradiometer/sgd.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GM_SPAN_MOST = 60 }; /* directions of a span */

typedef struct gm_span_options {
    size_t k;   /* 0: p up to GM_SPAN_MOST, else 20; 1 ... GM_SPAN_MOST, at most p */
    double cut; /* 1e-3: directions with curvature above cut lambda_max; -infinity: all of them */
    double tol; /* 1e-4: of the eigenpairs, relative */
    uint64_t seed; /* 0 */
} gm_span_options;
void gm_span_options_default(gm_span_options *options);

/* The span and what is needed of it. Where p <= k it starts from everything, else from the k/2
 * eigenvectors of H and those of S with the largest eigenvalues; in it, the directions are turned
 * into those of H and cut. */
typedef struct gm_span {
    size_t n, p, k;
    bool complete;    /* k = p */
    double *vector;   /* [k, p] orthonormal */
    double *lambda;   /* [k] u.Hu, descending */
    double *residual; /* [k] |H u - lambda u| */
    double *rest;     /* [k, k] inner products of H u_a - lambda_a u_a */
    double *square;   /* [k, k] u_a . S u_b */
    double *fourth;   /* [q, q], q = k (k + 1) / 2: K in the orthonormal basis e_a e_a', (e_a e_b' +
                         e_b e_a') / sqrt 2, pairs a <= b as gm_hessian_forms orders them */
    double lambda_max, lambda_max_error; /* of H, and the residual; likewise */
    double lambda_min, lambda_min_error;
    double gradient_norm;
    /* The quadratic model's fall of the loss within the span, 1/2 sum (u.mu)^2 / lambda over
     * lambda > 0: 0 at a minimum. */
    double fall;
    size_t products; /* with H and with S, 3 passes or so each */
} gm_span;

/* Cost: eigenproblems of H at either end and of S, where p > k; 2 k products with H, k with S; n q
 * doubles; 2 n q^2 flops. GM_ERR_USAGE for options out of range; GM_ERR_NUMERIC where an eigenpair
 * does not converge or no direction is left; GM_ERR_MEMORY. gm_span_free accepts what a failure
 * left. */
gm_status gm_span_make(gm_linearization *lin, const gm_span_options *options, gm_span *span,
                       gm_error *err);
void gm_span_free(gm_span *span);

/* Largest stable steps for batches of kappa in 0 ... 1. All are 0 where the span has a direction
 * without curvature or with a negative one: no step is stable. */
typedef struct gm_stability_limits {
    double one_step; /* along each u_j alone: min 2 lambda / ((1 - kappa) lambda^2 + kappa u.Su) */
    double sufficient; /* from every direction of the span */
    double boundary;   /* in the long run, within the span */
    /* How far below it the boundary may lie for what leaves the span: 0 where the span is complete,
     * and at most the boundary. With X the growing matrix at the boundary, |X|_F = 1, T(X) = X
     * within the span, and T(X) is positive: with l the trace of its part outside, its residual is
     * at most r = sqrt(2 |X|_2 l + l^2). An eigenvalue of T lies in [1, 1 + r]; where it is the
     * largest, the boundary moves by r / tr(X L(X)), to first order in r. */
    double error;
    double half; /* the boundary of the first (k + 1) / 2 directions: how it falls with k */
} gm_stability_limits;

/* Cost: two eigenproblems of order k, q and q/4 by LAPACK. GM_ERR_USAGE for kappa out of range. */
gm_status gm_stability_limits_find(const gm_span *span, double kappa, gm_stability_limits *limits,
                                   gm_error *err);

/* What a step eta does to E |theta - theta*|^2 within the span: *growth the factor per step in the
 * long run (the largest eigenvalue of T), *first the largest factor of one step from any direction
 * of the span (of T(I), what leaves the span included). */
gm_status gm_stability_growth(const gm_span *span, double kappa, double eta, double *growth,
                              double *first, gm_error *err);

/* shape [k, k] = T^64(I) over its trace: positive, and near the matrices that grow most. *factor =
 * tr T^steps(shape), the factor of E |theta - theta*|^2 in so many steps from there, growth^steps
 * but for the rest of the way. Cost: 64 + steps products with a matrix of order q. */
gm_status gm_stability_course(const gm_span *span, double kappa, double eta, size_t steps,
                              double *shape, double *factor, gm_error *err);

/* The largest factor of one step from any direction at all, by Lanczos on T(I) - I, and the
 * residual. Cost: an eigenproblem whose product is two with H and one with S. GM_ERR_NUMERIC where
 * it does not converge. */
gm_status gm_stability_first(gm_linearization *lin, double kappa, double eta, double tol,
                             uint64_t seed, double *first, double *error, gm_error *err);

/* --- observed --- */

enum { GM_STABILITY_STEPS = 16 };

typedef struct gm_stability_runs {
    size_t batch;               /* 1: m */
    gm_replacement replacement; /* yes; GM_REPLACEMENT_EPOCH is refused */
    size_t etas; /* 1 ... GM_STABILITY_STEPS step sizes at once, on the same batches */
    double eta[GM_STABILITY_STEPS];
    size_t runs;    /* 100 >= 2 */
    size_t horizon; /* 10 >= 1: steps of a run */
    uint64_t seed;  /* 0 */
    double away; /* 1e-3 > 0: of gm_stability_observe_net, sqrt E |theta_0 - theta*|^2 in |theta*|
                    (in 1 where that is 0) */
} gm_stability_runs;
void gm_stability_runs_default(gm_stability_runs *options);

/* Squared distances at the end over those at the start, for linearized runs. Means of such products
 * have heavy tails: where few runs carry them, their errors are too small and the median tells what
 * most runs do. */
typedef struct gm_stability_seen {
    double predicted;   /* factor of gm_stability_course */
    double mean, error; /* E |theta_T - theta*|^2 / E |theta_0 - theta*|^2, its standard error */
    double median;      /* of the runs' own quotients */
    size_t grew;        /* runs that ended farther away than they started */
    size_t
        infinite; /* of them, those that ended nowhere finite: then mean and error are infinite */
} gm_stability_seen;

/* Runs start from theta_0 - theta* = sum_ab (shape^1/2)_ab z_b u_a, z standard normal, shape that
 * of gm_stability_growth for each eta; batch t of run r is of stream (seed, GM_PURPOSE_LINEAR, 2
 * r
 * + 1), z of 2 r. seen [etas]. Cost: runs horizon times a gradient and etas products with H_B, on m
 * samples. hooks may be NULL: told of runs times horizon steps, and asked after each run;
 * GM_ERR_INTERRUPTED. */
gm_status gm_stability_observe(gm_linearization *lin, const gm_span *span,
                               const gm_stability_runs *options, const gm_ensemble_hooks *hooks,
                               gm_stability_seen *seen, gm_error *err);

/* The same for runs of SGD on the net itself, in pairs: run r from theta* and run r from theta* +
 * away |theta*| sum_ab (shape^1/2)_ab z_b u_a, on the same batches; before and after are the
 * squared distances between the two. To first order in them the noise of the gradients at theta*
 * drops out, and what is left is the map at the places where the runs come by. Runs are those of an
 * ensemble (gradiometer/ensemble.h) with numbers 1, 2, ... Cost: 2 etas runs horizon batch
 * gradients; hooks are told of so many steps. */
gm_status gm_stability_observe_net(gm_problem *problem, const double *theta, const gm_span *span,
                                   const gm_stability_runs *options, const gm_ensemble_hooks *hooks,
                                   gm_stability_seen *seen, gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
