/* The parts of a training: its vectors, its measurements, its saving. */
#ifndef GM_SGD_TRAINER_H
#define GM_SGD_TRAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/sgd.h"
#include "kernels/kernels.h"
#include "sgd/schedule.h"
#include "sgd/update.h"

typedef struct gm_trainer {
    gm_problem *problem, *test; /* test may be NULL */
    gm_train_options options;   /* resolved */
    gm_train_hooks hooks;
    gm_run *run; /* may be NULL */
    gm_train_result *result;
    const gm_kernels *k;
    size_t p;

    void *theta, *gradient;       /* [p], numbers of k->dtype */
    double *start;                /* theta_0 [p] */
    double *wide, *wide_gradient; /* theta_t and the full gradient [p] */
    size_t *index;                /* [batch] */
    gm_update update;
    gm_stepper *stepper; /* NULL for policies that are functions of time */
    double *divisor;     /* D_t [p], for the stepper; NULL for D = I */
    double eta;          /* of the step before */
    gm_sampler *sampler;
    gm_schedule schedule;

    gm_metric *metric; /* not saved yet */
    size_t metrics, capacity;
    int64_t saved;                     /* step of the state in the file, -1 for none */
    double began, saved_at, save_cost; /* seconds, monotonic clock; cost of the last save */
    double before;                     /* seconds spent in earlier sessions */
} gm_trainer;

/* Everything but the contents of theta, start and the state of the update. */
gm_status gm_trainer_init(gm_trainer *trainer, gm_problem *problem, gm_problem *test,
                          const gm_train_options *options, const gm_train_hooks *hooks, gm_run *run,
                          gm_train_result *result, gm_error *err);
void gm_trainer_free(gm_trainer *trainer);

double gm_trainer_clock(void);

/* Notes a metric for the next save; does nothing without a run. */
gm_status gm_trainer_note(gm_trainer *trainer, uint64_t t, const char *name, double value,
                          gm_error *err);

/* Full loss, errors, gradient norm and distance at theta_t: into the result and the metrics. */
gm_status gm_trainer_measure(gm_trainer *trainer, uint64_t t, gm_error *err);

/* Is theta_t to be saved now? */
bool gm_trainer_due(const gm_trainer *trainer, uint64_t t);

/* Saves theta_t with the metrics noted so far; with_theta false leaves the stored state at the step
 * it has and changes its status alone. Does nothing without a run. */
gm_status gm_trainer_save(gm_trainer *trainer, uint64_t t, const char *status, const char *message,
                          bool with_theta, gm_error *err);

/* Values of the last measured step of a run into the result; what was never measured stays. */
gm_status gm_trainer_recall(gm_run *run, gm_train_result *result, gm_error *err);

#endif
