/* Do measures of complexity tell which of two trained nets generalizes worse? Rank correlation with
 * a bootstrap interval, and the sign errors that replaced it. Numbers in, numbers out: a table of
 * runs, each with its settings, its measured gap (test error - training error) and one measure that
 * is meant to grow with the gap. */
#ifndef GRADIOMETER_COMPARE_H
#define GRADIOMETER_COMPARE_H

#include <stddef.h>
#include <stdint.h>

#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Kendall's tau-b (Kendall 1945) of x [n] and y [n]: (concordant - discordant) / sqrt(pairs not
 * tied in x times pairs not tied in y), from -1 to 1. NaN where all of x or all of y is tied, n < 2
 * included, and where an entry is NaN; infinities are ranked. Cost: n^2/2 comparisons. */
double gm_kendall_tau(size_t n, const double *x, const double *y);

typedef struct gm_rank_options {
    size_t resamples; /* 2000: >= 1 */
    double level;     /* 0.95: of the interval, above 0 and below 1 */
    uint64_t seed;    /* 0: resample b draws from stream (seed, GM_PURPOSE_RESAMPLE, b) */
} gm_rank_options;
void gm_rank_options_default(gm_rank_options *options);

typedef struct gm_rank {
    double tau;       /* gm_kendall_tau */
    double low, high; /* percentile interval; NaN where no resample had a tau */
    size_t clusters;  /* drawn in each resample */
    size_t undefined; /* resamples without a tau, left out of the interval */
} gm_rank;

/* tau with the percentile interval of the bootstrap (Efron 1979). cluster [n] (NULL: each row is
 * its own) numbers the settings from 0 to below n: rows of one cluster, replicates of one setting
 * with different seeds, are drawn together, since they are not independent of each other. A row
 * drawn twice is tied with its copy in x and y, and such pairs drop out of tau-b. GM_ERR_USAGE for
 * options out of range or a cluster >= n. Cost: resamples times that of tau. */
gm_status gm_rank_correlate(size_t n, const double *x, const double *y, const size_t *cluster,
                            const gm_rank_options *options, gm_rank *rank, gm_error *err);

/* A table of runs. Level l of setting s in row i is level[i * settings + s], any number: rows with
 * equal levels are replicates. */
typedef struct gm_run_table {
    size_t runs, settings;
    const size_t *level;   /* [runs, settings] */
    const double *gap;     /* [runs] test error - training error */
    const double *samples; /* [runs] test samples behind gap */
} gm_run_table;

/* Probability, by Hoeffding's inequality, with which the sign of a difference of two gaps measured
 * on n test samples each is right: max(0, 1 - 2 exp(-2 n (difference/2)^2))^2, both errors being
 * within half the difference of the truth (Dziugaite et al. 2020, arXiv 2010.11924). The training
 * error is known, not estimated, and adds nothing. */
double gm_sign_certainty(double difference, double n);

/* An environment: one setting goes from one level to another, all else equal. */
typedef struct gm_environment {
    size_t setting, low, high; /* levels, low < high */
    size_t pairs;              /* pairs of runs that differ in this alone */
    size_t kept;               /* of which the certainty reached the limit */
    double weight;             /* sum of the certainties kept */
    double error;              /* their weighted mean sign error; NaN where none was kept */
} gm_environment;

typedef struct gm_robust {
    gm_environment *environment; /* [environments], by setting, low, high */
    size_t environments;
    size_t pairs, kept;
    double mean;     /* sign error over all kept pairs, weighted; NaN without any */
    double worst;    /* largest error of an environment with kept pairs; NaN without any */
    size_t worst_at; /* its index; 0 where worst is NaN */
} gm_robust;

/* Sign errors of a measure [runs] over the pairs of runs that differ in exactly one setting
 * (Dziugaite et al. 2020): 0 where measure and gap grow together, 1 where one grows and the other
 * falls, 1/2 where the measure is equal in both (a coin flip). Pairs whose certainty is below
 * `least` (0 ... 1; 0.5 is the default of the program) are left out as noise, others weighted by
 * it. Runs whose measure or gap is NaN take part in no pair. *robust is ended by gm_robust_free,
 * after a failure too. Cost: runs^2 settings / 2. */
gm_status gm_robust_scores(const gm_run_table *table, const double *measure, double least,
                           gm_robust *robust, gm_error *err);
void gm_robust_free(gm_robust *robust);

#ifdef __cplusplus
}
#endif
#endif
