/* The curvature operators of theory section 1 on a linearized problem: products, dense matrices,
 * Gram forms, diagonals. */
#ifndef GRADIOMETER_CURVATURE_H
#define GRADIOMETER_CURVATURE_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/diff.h"
#include "gradiometer/operator.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gm_curvature {
    GM_HESSIAN, /* H   = second derivative of f */
    GM_GGN, /* G   = (1/n) sum J^T Lambda J, generalized Gauss-Newton (Fisher for the log-loss) */
    GM_MOMENT, /* M   = (1/n) sum g g^T, second moment of stochastic gradients (empirical Fisher) */
    GM_COVARIANCE, /* Sigma = M - mu mu^T, in the centred form */
    GM_RESIDUAL,   /* H_p = M - H, by the independent pass on (1/n) sum p_y(theta)/c (theory section
                      1) */
    GM_GN_RESIDUAL, /* R  = H - G */
    GM_CURVATURES
} gm_curvature;

const char *gm_curvature_name(
    gm_curvature kind); /* "hessian", "ggn", "moment", "covariance", "residual", "gn_residual" */
bool gm_curvature_parse(const char *name, gm_curvature *kind);

/* The whole net, or the diagonal block of one layer's parameters. Operators, dense matrices and
 * diagonals take the index of a group (gm_net_add_group) too. */
enum { GM_ALL_LAYERS = -1 };

/* op = the operator, of size p or of the layer's parameters; lin must outlive it. Destroyed by
 * gm_operator_destroy. Cost of a product, in passes of matrix products through the layers: 6 with
 * H, H_p and R, 4 with G, 2 with M and Sigma, 2 in the first layer; a gradient is 3. What the
 * budget of the problem does not hold is recomputed, at a gradient's cost. GM_ERR_MEMORY. */
gm_status gm_curvature_operator(gm_linearization *lin, gm_curvature kind, int layer,
                                gm_operator *op, gm_error *err);

/* The dense symmetric matrix [size, size], both triangles, row-major, the caller's, size = p or the
 * layer's. Cost for layers
 * whose per-sample gradient is an outer product: n size^2 flops and one tangent pass per unit; else
 * size products. */
gm_status gm_curvature_dense(gm_linearization *lin, gm_curvature kind, int layer, double *matrix,
                             gm_error *err);

/* The smaller matrix with the same non-zero eigenvalues, row-major, for GM_MOMENT, GM_COVARIANCE
 * ([n, n]) and GM_GGN ([nK, nK]): rows r_i with A = sum r_i r_i^T, gram = (r_i . r_j). No [n, p]
 * array for outer-product layers; other layers' rows are formed where they fit into the budget. */
size_t gm_gram_size(const gm_linearization *lin,
                    gm_curvature kind); /* 0 where there is no Gram form */
gm_status gm_curvature_gram(gm_linearization *lin, gm_curvature kind, int layer, double *gram,
                            gm_error *err);
/* vector [count, size] = sum_i weight[count, i] r_i: from eigenvectors of the Gram matrix to those
 * of the operator. */
gm_status gm_gram_vectors(gm_linearization *lin, gm_curvature kind, int layer, size_t count,
                          const double *weight, double *vector, gm_error *err);

/* Exact diagonal [size]. For H exact means: by diag(H) = diag(G) on piecewise-linear nets (K
 * backward passes at any size, theory section 1), else from the second derivatives with respect to
 * each unit (one tangent pass per unit), or, where weights act at several positions, from p
 * products. GM_ERR_NUMERIC where an entry is not finite; in single
 * precision that is reached early, since the inputs are squared. */
gm_status gm_curvature_diagonal(gm_linearization *lin, gm_curvature kind, int layer,
                                double *diagonal, gm_error *err);

/* --- per-sample gradients g_i, never formed --- */

/* Workspace for the two functions below on the whole net or one layer; lin must outlive it.
 * gm_samples_free accepts NULL. */
typedef struct gm_samples gm_samples;
gm_status gm_samples_create(gm_linearization *lin, int layer, gm_samples **samples, gm_error *err);
void gm_samples_free(gm_samples *samples);
/* dot [count, n] = g_i . v_j for v [count, size]. Cost for each vector: one matrix product per
 * layer. */
void gm_samples_dot(gm_samples *samples, size_t count, const double *v, double *dot);
/* sum [count, size] = sum_i weight[j, i] g_i for weight [count, n]. The same cost. */
void gm_samples_sum(gm_samples *samples, size_t count, const double *weight, double *sum);

/* --- the samples' Hessians H_i, never formed --- */

/* op = S = (1/n) sum_i H_i^2 of the whole net or one layer's block (of which H_i is the block):
 * with H it gives E_B[(I - eta H_B)^2] = (I - eta H)^2 + eta^2 kappa (S - H^2) for every eta and
 * batch size (theory section 3.5). lin must outlive it. Cost of a product where every layer's
 * gradient is an outer product: two with H; else 2 n passes of one sample. Destroyed by
 * gm_operator_destroy. */
gm_status gm_squares_operator(gm_linearization *lin, int layer, gm_operator *op, gm_error *err);

/* form [n, k (k + 1) / 2] = u_a . H_i u_b of every sample i for the vectors u [k, p], a <= b in the
 * order (0, 0), (0, 1), ..., (0, k - 1), (1, 1), ... GM_ERR_USAGE for k = 0; GM_ERR_MEMORY. Cost:
 * k products with H and 2 k products of matrices per layer; k^2 / 2 inner products of the layers'
 * widths per sample. */
gm_status gm_hessian_forms(gm_linearization *lin, size_t k, const double *u, double *form,
                           gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
