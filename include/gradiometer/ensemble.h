/* Ensembles of SGD runs (theory section 3.1): R runs of T steps, and how the loss, its one-step
 * change, the angle between successive stochastic gradients and other quantities are distributed
 * over the runs at each step.
 *
 * Run r = first_run ... first_run + R - 1 draws its batches from stream (seed, GM_PURPOSE_BATCH, r)
 * and, with fresh initialization, its start from (seed, GM_PURPOSE_INIT, r): alone or among others
 * it is the same run, bit for bit. (Small dense nets: always; other nets: for equal numbers of
 * threads, since gradients are summed in chunks that depend on them.) */
#ifndef GRADIOMETER_ENSEMBLE_H
#define GRADIOMETER_ENSEMBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/diff.h"
#include "gradiometer/run.h"
#include "gradiometer/sgd.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is recorded at step t. g_t is the stochastic gradient of step t at theta_t, mu_t the full
 * gradient there, both without weight decay. */
typedef enum gm_quantity {
    GM_QUANTITY_LOSS,            /* f(theta_t) */
    GM_QUANTITY_DELTA,           /* f(theta_{t+1}) - f(theta_t) */
    GM_QUANTITY_COSINE,          /* cos of the angle between g_t and g_{t+1} */
    GM_QUANTITY_DISTANCE,        /* ||theta_t - theta_0|| */
    GM_QUANTITY_ERROR,           /* share of wrong predictions on the training set */
    GM_QUANTITY_TEST_ERROR,      /* the same on the test set */
    GM_QUANTITY_MEAN_COSINE,     /* cos of the angle between g_t and mu_t */
    GM_QUANTITY_GRADIENT_SQUARE, /* ||mu_t||^2 */
    GM_QUANTITY_NOISE_TRACE,     /* tr Sigma_t, of the gradients of single samples */
    GM_QUANTITIES
} gm_quantity;

/* "loss", "delta", "cosine", "distance", "error_rate", "test_error_rate", "cosine_mean",
 * "gradient_square", "trace_sigma" */
const char *gm_quantity_name(gm_quantity quantity);
bool gm_quantity_parse(const char *name, size_t length, gm_quantity *quantity);
/* The last three take a pass over the whole set of their own: recorded at chosen steps. */
bool gm_quantity_costly(gm_quantity quantity);

enum { GM_ENSEMBLE_LEVELS = 7 };
extern const double gm_ensemble_level[GM_ENSEMBLE_LEVELS]; /* 0.01 ... 0.99 */

typedef struct gm_ensemble_options {
    /* steps, batch, step, momentum and so on, replacement, seed; run is the number of the first
     * run. The *_every fields are not read. */
    gm_train_options train;
    size_t runs;             /* 1000: R >= 1 */
    bool fresh;              /* false: every run starts from the theta given; else from He
                                initialization of its own */
    unsigned record;         /* bits 1 << GM_QUANTITY_...: loss, delta, cosine, distance */
    uint64_t record_every;   /* 0: steps from one recorded step to the next; 0: so that there are at
                                most 1001. Step T is recorded always. */
    uint64_t gradient_every; /* 0: the same for the costly ones, a multiple of record_every; 0: so
                                that there are about 20 */
    size_t exact_runs;       /* 1000: up to so many runs all values are kept and quantiles are
                                exact; beyond, they come from sketches, within 1/256 of their value */
    const uint32_t *keep;    /* [keeps] numbers of runs whose last parameters are kept */
    size_t keeps;            /* 0 */
    bool general;            /* false; true: the way of any net also for small dense ones */
    /* NULL: [scatters, p], kept alive by the caller. A fixed start of run r becomes theta + sum_a
     * z_a scatter_a, z of gm_ensemble_scatter_draw; distances are those from theta. */
    const double *scatter;
    size_t scatters;
    const gm_team *team; /* NULL; else its ranks share the runs out. Rank 0 alone has the
                            statistics, those of one process to the bit */
} gm_ensemble_options;

void gm_ensemble_options_default(gm_ensemble_options *options);

/* z [count], standard normal: of stream (seed, GM_PURPOSE_SCATTER, run). */
void gm_ensemble_scatter_draw(uint64_t seed, uint32_t run, size_t count, double *z);

/* Checks every field for n samples, with or without a test set; GM_ERR_USAGE names the option. */
gm_status gm_ensemble_options_check(const gm_ensemble_options *options, size_t n, bool test,
                                    gm_error *err);

/* An ensemble under way: statistics of the runs done so far. */
typedef struct gm_ensemble gm_ensemble;

/* problem and test (may be NULL) must outlive it; theta [p] is copied, NULL with fresh. Errors of
 * the options; GM_ERR_INPUT for parameters that are not finite; GM_ERR_MEMORY. */
gm_status gm_ensemble_create(gm_problem *problem, gm_problem *test,
                             const gm_ensemble_options *options, const double *theta,
                             gm_ensemble **ensemble, gm_error *err);
void gm_ensemble_free(gm_ensemble *ensemble);

/* An estimate of the bytes of the statistics, workspaces not counted: 8 a value where all are kept,
 * 4 KiB a step and quantity in sketches. */
double gm_ensemble_bytes(const gm_ensemble_options *options);

typedef struct gm_ensemble_hooks {
    void *context;
    /* Asked in every step of every run, from several threads; true ends the work: runs that are not
     * complete are given up, and come again when it goes on. */
    bool (*stop)(void *context);
    /* Told by one thread after each of its steps: steps done of all R T. */
    void (*progress)(void *context, uint64_t steps);
    /* Called between blocks of runs, when the statistics are those of the first gm_ensemble_done
     * runs; a failure ends the work. */
    gm_status (*block)(void *context, gm_ensemble *ensemble, gm_error *err);
} gm_ensemble_hooks;

/* Does the runs that are missing, a block of them after the other, a thread each. GM_OK also where
 * stop ended it: see gm_ensemble_done. hooks may be NULL. A run whose loss is no longer finite is
 * no error: it counts as diverged from then on. Cost of a step: one batch gradient, and a forward
 * pass over the whole set where the loss is recorded at t or before. Memory beyond the statistics:
 * per thread a few vectors of p numbers, and one block of runs' values, at most about 64 MB.
 *
 * With a team all ranks call it; how many runs are done is what rank 0 says. gm_ensemble_done is
 * the same at all of them afterwards, as is the status where a run failed or was stopped. */
gm_status gm_ensemble_run(gm_ensemble *ensemble, const gm_ensemble_hooks *hooks, gm_error *err);

const gm_ensemble_options *gm_ensemble_options_of(const gm_ensemble *ensemble); /* resolved */
size_t gm_ensemble_done(const gm_ensemble *ensemble);                           /* runs */
size_t gm_ensemble_steps(const gm_ensemble *ensemble);                /* recorded steps, >= 2 */
uint64_t gm_ensemble_step(const gm_ensemble *ensemble, size_t index); /* ascending */
bool gm_ensemble_exact(const gm_ensemble *ensemble);                  /* quantiles are exact */
bool gm_ensemble_tiled(const gm_ensemble *ensemble); /* the fast way of small dense nets */
/* Flops of the matrix products of one run's step: one forward pass over the whole set, three
 * batch-sized ones but for the first layer's last. 0 unless tiled. */
double gm_ensemble_flops(const gm_ensemble *ensemble);
/* Runs that had diverged by a recorded step. */
size_t gm_ensemble_diverged(const gm_ensemble *ensemble, size_t index);

/* One quantity at one recorded step, over the runs done. */
typedef struct gm_ensemble_summary {
    bool recorded;          /* false: not measured at this step, all below is 0 or NaN */
    size_t count, infinite; /* runs with a finite value; with an infinite one */
    size_t undefined;       /* with none: a gradient that vanishes, a run that had diverged */
    double mean, sd,
        stderror;    /* of the finite values; sd with count - 1; stderror = sd/sqrt(count) */
    double min, max; /* of the finite values */
    double quantile[GM_ENSEMBLE_LEVELS]; /* of finite and infinite values together */
} gm_ensemble_summary;
gm_status gm_ensemble_summarize(const gm_ensemble *ensemble, gm_quantity quantity, size_t index,
                                gm_ensemble_summary *summary, gm_error *err);

/* Counts of the finite values in `bins` equal bins from low to high: count [bins]; values below and
 * above go into *below and *above with the infinite ones. Exact for kept values; a sketch's number
 * counts where its bin's middle lies. */
gm_status gm_ensemble_histogram(const gm_ensemble *ensemble, gm_quantity quantity, size_t index,
                                double low, double high, size_t bins, double *count, double *below,
                                double *above, gm_error *err);

/* Last parameters [p] of the kept runs that are done: run[i], theta_T [p] of it. */
size_t gm_ensemble_kept(const gm_ensemble *ensemble);
uint32_t gm_ensemble_kept_run(const gm_ensemble *ensemble, size_t index);
const double *gm_ensemble_kept_theta(const gm_ensemble *ensemble, size_t index);

/* The state as arrays for gm_run_add_result, freed by gm_ensemble_state_free: all that
 * gm_ensemble_load needs to go on to the same bits. Owned by the ensemble until then. */
typedef struct gm_ensemble_state {
    gm_run_array *array; /* [arrays] */
    size_t arrays;
} gm_ensemble_state;
gm_status gm_ensemble_save(const gm_ensemble *ensemble, gm_ensemble_state *state, gm_error *err);
void gm_ensemble_state_free(gm_ensemble_state *state);
/* Takes over the arrays of a stored result; the ensemble must be fresh and of the same options but
 * for runs, which may have grown while quantiles stay of one kind. GM_ERR_INPUT where they do not
 * fit. */
gm_status gm_ensemble_load(gm_ensemble *ensemble, gm_run *run, int64_t result, gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
