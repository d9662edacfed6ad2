/* What a training does to theta with the gradient of a mini-batch, and the vectors that this
 * carries from step to step. At the top of step t they are a function of theta_0 and the batches
 * before t, so that a state (theta_t, vectors, t) is all that resuming needs. */
#ifndef GM_SGD_UPDATE_H
#define GM_SGD_UPDATE_H

#include <stddef.h>
#include <stdint.h>

#include "gradiometer/sgd.h"
#include "kernels/kernels.h"

typedef struct gm_update {
    gm_train_options options; /* resolved */
    const gm_kernels *k;
    size_t p;
    size_t slots; /* momentum: 1, v; Adam: 2, mean and square; RMSProp and AdaGrad of either
                     kind: 1, s; exact
                     diagonals: 1, D without epsilon */
    void *state;  /* [slots, p], numbers of k->dtype, NULL without */
} gm_update;

size_t gm_update_slots(const gm_train_options *options);

/* The vectors are zero. gm_update_free accepts what a failure left. */
gm_status gm_update_init(gm_update *update, const gm_train_options *options, const gm_kernels *k,
                         size_t p, gm_error *err);
void gm_update_free(gm_update *update);

/* What is known before step 0, at theta_0 [p] in the problem's precision. */
gm_status gm_update_start(gm_update *update, gm_problem *problem, const void *theta, gm_error *err);

/* Step t of size eta: theta_t becomes theta_{t+1} by the gradient of its batch. */
void gm_update_apply(gm_update *update, uint64_t t, double eta, const void *gradient, void *theta);

/* divisor [p] = D_t, known before the batch of step t; of SGD with a preconditioner alone. */
void gm_update_divisor(const gm_update *update, double *divisor);

/* What has to be known before the batch of step t is drawn and depends on theta_t. GM_ERR_NUMERIC
 * where the exact diagonal is not finite. */
gm_status gm_update_prepare(gm_update *update, gm_problem *problem, uint64_t t, const void *theta,
                            gm_error *err);

#endif
