/* Inside of an ensemble: statistics, workers, one run. */
#ifndef GM_DYNAMICS_ENSEMBLE_H
#define GM_DYNAMICS_ENSEMBLE_H

#include "dynamics/evaluator.h"
#include "dynamics/quantile_sketch.h"
#include "gradiometer/ensemble.h"
#include "kernels/kernels.h"
#include "sgd/update.h"

/* ---- statistics of one quantity at one step ---- */

/* Mean and squares by Welford's update, run after run: the order is that of the runs' numbers,
 * whatever the blocks. */
typedef struct gm_cell {
    size_t count, infinite;
    double mean, squares; /* squares: sum of (x - mean)^2 */
    gm_quantile_sketch sketch;
} gm_cell;

struct gm_ensemble {
    gm_ensemble_options options; /* resolved; keep points to own memory */
    uint32_t *keep;
    gm_problem *problem, *test;
    const gm_kernels *k;
    size_t p, steps; /* steps: recorded ones */
    void *start;     /* theta_0 [p], k->dtype; NULL where fresh */
    gm_tiles *tiles; /* NULL: every worker has a problem of its own */
    size_t quantities;
    gm_quantity quantity[GM_QUANTITIES]; /* [quantities] the recorded ones */
    bool exact;
    size_t done;
    gm_cell *cell;      /* [quantities, steps] */
    double *value;      /* exact: [quantities, steps, runs], NaN where undefined; else NULL */
    uint64_t *diverged; /* [steps] */
    double *kept_theta; /* [keeps, p] */
    bool *kept;         /* [keeps] done */
};

/* Adds a run's values [quantities, steps], NaN where undefined; diverged: index of the first
 * recorded step at which its loss was not finite, steps where there is none. */
gm_status gm_ensemble_add(gm_ensemble *e, const double *row, size_t diverged, gm_error *err);

/* Index of step t among the recorded ones; false where it is not. */
bool gm_ensemble_slot(const gm_ensemble *e, uint64_t t, size_t *index);
/* Whether the costly quantities are measured at step t. */
bool gm_ensemble_measures(const gm_ensemble *e, uint64_t t);

/* ---- one run ---- */

typedef struct gm_ensemble_worker {
    const gm_ensemble *e;
    const gm_ensemble_hooks *hooks;
    gm_evaluator *evaluator;
    void *theta, *start, *gradient[2], *mu, *moved; /* [p] */
    double *wide;                                   /* [p] */
    size_t *index;                                  /* [batch] */
    double *z;                                      /* [scatters] */
    /* For progress: steps done by this worker; those before this call; all workers, where this one
     * tells of it, else NULL. */
    uint64_t steps, before;
    const struct gm_ensemble_worker *team;
    size_t workers;
} gm_ensemble_worker;

gm_status gm_ensemble_worker_init(gm_ensemble_worker *w, const gm_ensemble *e, size_t workers,
                                  const gm_ensemble_hooks *hooks, gm_error *err);
void gm_ensemble_worker_free(gm_ensemble_worker *w);

/* Run number `run` into row [quantities, steps] and *diverged as above; last (may be NULL) [p] =
 * its last parameters. GM_ERR_INTERRUPTED where stop said so. */
gm_status gm_ensemble_one(gm_ensemble_worker *w, uint32_t run, double *row, size_t *diverged,
                          double *last, gm_error *err);

#endif
