/* Inside of the step-size policies that look at theta_t: what they measure and what they keep. */
#ifndef GM_SGD_STEPPER_H
#define GM_SGD_STEPPER_H

#include "gradiometer/sgd.h"
#include "kernels/kernels.h"

struct gm_stepper {
    gm_problem *problem;
    gm_policy policy;
    const gm_kernels *k;
    size_t n, p, batch;
    gm_replacement replacement;
    uint64_t seed, refresh; /* refresh: steps between measurements */
    uint32_t run;

    /* What later choices depend on. */
    gm_step_choice choice; /* the last one */
    bool has_vector;
    double
        *vector; /* [p] of lambda_max, where the next search starts; in the problem's precision */

    double *point, *moved, *mu; /* [p]: theta, a place near it, D^-1 mu */
    void *half[2];              /* gradients of the halves of a batch [p] */
    double *wide[2];            /* the same in double */
};

/* mu.D^-1 mu, tr(D^-1 M_m D^-1) and, for oracle-model, tr(D^-1 H D^-1 M_m) at lin's point, exact
 * (theory section 3.3); that of oracle-model by random signs of step t for many samples. */
gm_status gm_stepper_inputs(gm_stepper *s, gm_linearization *lin, const double *divisor, uint64_t t,
                            gm_step_choice *choice, gm_error *err);

/* choice->curvature = L, and *trial the largest step at whose trial point L was looked at: from lin
 * at theta, which it ends, and the other inputs of choice. */
gm_status gm_stepper_curvature(gm_stepper *s, gm_linearization **lin, const double *divisor,
                               gm_step_choice *choice, double *trial, gm_error *err);

/* eta_lim of the inputs for this curvature, and min(max, share eta_lim). */
void gm_stepper_finish(const gm_policy *policy, double curvature, gm_step_choice *choice);

#endif
