/* The loss of a net on a data set as a function of its parameters: value, gradient, and the
 * linearization that serves every later product. */
#ifndef GRADIOMETER_DIFF_H
#define GRADIOMETER_DIFF_H

#include <stddef.h>
#include <stdint.h>

#include "gradiometer/data.h"
#include "gradiometer/net.h"
#include "gradiometer/status.h"
#include "gradiometer/team.h"
#include "gradiometer/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gm_loss { GM_LOSS_CROSS_ENTROPY, GM_LOSS_SQUARED } gm_loss;
const char *gm_loss_name(gm_loss loss); /* "cross_entropy", "squared" */

typedef struct gm_problem_options {
    gm_loss loss; /* GM_LOSS_CROSS_ENTROPY */
    size_t
        memory; /* bytes for cached activations and workspaces; 0 = half of the machine's memory */
    size_t chunk;        /* samples handled together; 0 = chosen from the widths and the memory */
    const gm_team *team; /* NULL; else the problem is one of all ranks together */
} gm_problem_options;
void gm_problem_options_default(gm_problem_options *options);

/* f(theta) = (1/n) sum of the samples' losses, in the data's precision. Keeps references to net and
 * data, which must outlive it. Refuses data that does not fit (shape, labels beyond K, targets of
 * another width: GM_ERR_INPUT) and a memory budget too small for one sample (GM_ERR_MEMORY), saying
 * how much is needed. Threads: as many as OpenMP gives (omp_set_num_threads).
 *
 * With a team each rank computes on its share of the samples: those of data where that is a share
 * (gm_data_options), else the rank's of them. Sums over samples are joined over the ranks, in
 * double, before anybody sees them: loss, gradient, products, diagonals and matrices are those of
 * all samples, equal at all ranks, as long as all ask for the same in the same order. Mini-batches
 * stay each rank's own, and need a data set that is no share. The memory is that of a rank. */
typedef struct gm_problem gm_problem;
gm_status gm_problem_create(const gm_net *net, const gm_dataset *data,
                            const gm_problem_options *options, gm_problem **problem, gm_error *err);
void gm_problem_free(gm_problem *problem);
size_t gm_problem_chunk(const gm_problem *problem); /* samples in a chunk, as chosen */
size_t gm_problem_parameters(const gm_problem *problem);
size_t gm_problem_samples(const gm_problem *problem); /* n, over all ranks */
const gm_net *gm_problem_net(const gm_problem *problem);
const gm_dataset *gm_problem_data(const gm_problem *problem);
gm_loss gm_problem_loss(const gm_problem *problem);
const gm_team *gm_problem_team(const gm_problem *problem); /* NULL without ranks */

/* Loss (mean over samples) and share of wrong predictions (first arg-max) at theta [p]; any output
 * NULL. theta must be finite (GM_ERR_INPUT names the first entry that is not). A loss that
 * overflows is returned as infinity. One forward pass. */
gm_status gm_problem_value(gm_problem *problem, const double *theta, double *loss,
                           double *error_rate, gm_error *err);
/* Loss, share of wrong predictions (either may be NULL) and gradient [p]. One forward and one
 * backward pass. */
gm_status gm_problem_gradient(gm_problem *problem, const double *theta, double *loss,
                              double *error_rate, double *gradient, gm_error *err);

/* Mean loss and mean gradient over the m samples index[] (repeats allowed), for training: theta [p]
 * and gradient [p] in the problem's own precision. GM_ERR_USAGE where the data is a share. */
gm_status gm_problem_batch_gradient(gm_problem *problem, const void *theta, size_t m,
                                    const size_t *index, double *loss, void *gradient,
                                    gm_error *err);

/* The problem linearized at theta [p] (copied): activations and backward signals of the unperturbed
 * net, computed once and kept within the memory budget, recomputed chunk by chunk past it. Cost:
 * one gradient. GM_ERR_INPUT for a theta that is not finite; GM_ERR_MEMORY. A loss that
 * overflows is infinite. The problem must outlive it. */
typedef struct gm_linearization gm_linearization;
gm_status gm_linearize(gm_problem *problem, const double *theta, gm_linearization **lin,
                       gm_error *err);
void gm_linearization_free(gm_linearization *lin);
double gm_linearization_loss(const gm_linearization *lin);
double gm_linearization_error_rate(const gm_linearization *lin);
const double *gm_linearization_gradient(const gm_linearization *lin); /* mu [p] */
const double *gm_linearization_theta(const gm_linearization *lin);    /* [p] */
gm_problem *gm_linearization_problem(const gm_linearization *lin);
/* Gives back what products with the operators do not need: gradient and, of products in single
 * precision, theta are NULL from here on, two vectors of p doubles less. Matrices and diagonals of
 * the covariance must not be asked for any more. */
void gm_linearization_trim(gm_linearization *lin);
/* Share of the samples whose activations are kept, 0 ... 1, and the bytes that takes. */
double gm_linearization_cached(const gm_linearization *lin, size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
