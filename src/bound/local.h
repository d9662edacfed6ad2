/* Draws of the posterior on a chunk of samples, with gradients by its means and variances: by
 * layer, the local reparameterization (Kingma, Salimans and Welling 2015, arXiv 1506.02557), where
 * that is possible.
 *
 * Where each weight acts once on a sample, weights N(m_j, v_j) make of an input a the outputs
 *   z = W a + b  ~  N(M a + m_b, V a^2 + v_b),   independent of each other,
 * so that every sample of a chunk has a draw of the weights to itself, for the price of two passes
 * and one normal number per unit instead of one per weight. Gradients with respect to m and v go
 * back through z = mean + sqrt(variance) e:
 *   dm by the signal s at z, dv by s e / (2 sd), da = M^T s + 2 a (V^T (s e / (2 sd))).
 *
 * A weight that acts more than once on a sample, as in convolutions, makes outputs that depend on
 * each other. Such a layer, called shared here, has its weights w = m + sqrt(v) e drawn whole, once
 * for the chunk; with the gradient s by w, dm = s. The product s e / (2 sd) would be an unbiased
 * dv, but one whose noise exceeds it a hundredfold; what takes its place is for the caller to say.
 */
#ifndef GM_BOUND_LOCAL_H
#define GM_BOUND_LOCAL_H

#include "diff/problem.h"
#include "gradiometer/bound.h"
#include "gradiometer/random.h"

enum { GM_LOCAL_ROWS = 512 }; /* samples at once that make for fast products */

typedef struct gm_local {
    const gm_problem *problem;
    gm_engine engine;
    size_t rows;             /* samples at once */
    size_t units;            /* outputs of layers drawn by unit */
    size_t shared;           /* weights of shared layers, those of tied layers once */
    gm_arrays value, signal; /* [rows, size] of every node */
    /* [nodes]: standard deviations and noise [rows, size] of layers drawn by unit, else NULL. */
    void **spread, **noise;
    void *memory;        /* of these */
    void *drawn, *pull;  /* [p], NULL without shared layers: their weights, the gradient by them */
    void *square, *push; /* [rows, widest]: squared inputs, signals */
    double *normal;      /* [rows, widest] */
    void *prob, *x;      /* [rows, K], [rows, features] */
    int32_t *label;
    double *target, *loss; /* [rows, outputs], [rows] */
    uint8_t *wrong;        /* [rows] */
    gm_chunk chunk;        /* the samples in hand */
} gm_local;

/* Whether no layer is shared, so that every sample has a draw to itself; *layer (may be NULL) is
 * the first that is. */
bool gm_local_possible(const gm_net *net, const char **layer);

/* GM_ERR_USAGE for labels at several positions, where this room's errors and margins are not
 * defined. */
gm_status gm_one_label(const gm_problem *problem, gm_error *err);

/* Workspace for `rows` samples of the problem, which must outlive it. gm_local_close accepts what a
 * failure left. */
gm_status gm_local_open(const gm_problem *problem, size_t rows, gm_local *local, gm_error *err);
void gm_local_close(gm_local *local);

/* Losses and predictions of samples index[0 ... n-1] (n <= rows), each with its own draw (shared
 * layers: all with one draw) from weights of means and variances [p], in the precision of the
 * problem: into local->loss and ->wrong. first numbers the draw of sample 0, first + i that of
 * sample i: equal numbers, equal draws, and shared layers draw anew for another first. */
void gm_local_value(gm_local *local, size_t n, const size_t *index, const void *mean,
                    const void *variance, gm_stream stream, uint64_t first);

/* Sums over draws of single samples. */
typedef struct gm_local_sums {
    size_t draws;            /* done */
    double error, clipped;   /* 0-1 errors; losses min(l, clip) / clip */
    double error2, clipped2; /* their squares */
    size_t overflowed;       /* draws whose loss is no number or infinite: wrong, with loss 1 */
} gm_local_sums;

/* `draws` draws on one sample each, for nets without shared layers: all samples by turns, or evenly
 * spaced ones where there are fewer draws than samples. Draw t takes the normal numbers from t
 * units on. stop (may be NULL) is asked between chunks: sums->draws < draws where it ended the
 * work. With a team, whose ranks all have the same samples, each does some of the chunks and all
 * get the sums. */
void gm_local_sample(gm_local *local, const void *mean, const void *variance, double clip,
                     size_t draws, gm_stream stream, const gm_team *team, bool (*stop)(void *),
                     void *context, gm_local_sums *sums);
gm_gibbs_mean gm_local_mean(size_t draws, double sum, double squares);

/* The gradient of sum_i weight[i] loss[i] of the last gm_local_value, added to dmean and, but for
 * shared layers, to dvariance [p]; that by the weights of shared layers is left in local->pull.
 * Spoils the values. */
void gm_local_gradient(gm_local *local, const void *mean, const void *variance,
                       const double *weight, void *dmean, void *dvariance);

#endif
