/* What `gradiometer spectrum` measures, and what comes out: the settings of all methods, the
 * results of one operator, and the way from the first to the second. One file per method, each
 * knowing a gm_spectrum_operator and nothing of nets (spectrum_methods.h). */
#ifndef GM_CLI_SPECTRUM_MEASURE_H
#define GM_CLI_SPECTRUM_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/spectrum_operator.h"
#include "gradiometer/curvature.h"
#include "gradiometer/eigen.h"
#include "gradiometer/estimate.h"
#include "spectrum/rows.h"

typedef enum gm_spectrum_method {
    GM_METHOD_DENSE,
    GM_METHOD_LANCZOS,
    GM_METHOD_DENSITY,
    GM_METHOD_TRACE,
    GM_METHOD_DIAGONAL,
    GM_METHODS
} gm_spectrum_method;

/* "dense", ..., ended by NULL. */
extern const char *const gm_spectrum_methods[GM_METHODS + 1];

typedef enum gm_spectrum_solver {
    GM_SOLVER_ARPACK,
    GM_SOLVER_BLOCK,
    GM_SOLVER_SLEPC
} gm_spectrum_solver;
extern const char *const gm_spectrum_solvers[];

typedef enum gm_spectrum_estimator {
    GM_ESTIMATOR_HUTCHINSON,
    GM_ESTIMATOR_HUTCHPP,
    GM_ESTIMATOR_XTRACE,
    GM_ESTIMATOR_XDIAG
} gm_spectrum_estimator;
extern const char *const gm_spectrum_estimators[];

/* An interval of the spectrum, --count A,B. */
typedef struct gm_spectrum_interval {
    double from, to;
} gm_spectrum_interval;

/* Whose D stands on both sides, --precondition. */
typedef enum gm_divisor_kind {
    GM_DIVISOR_NONE,
    GM_DIVISOR_OPTIMIZER, /* whatever the run file in --params was trained with */
    GM_DIVISOR_RMSPROP,
    GM_DIVISOR_ADAGRAD,
    GM_DIVISOR_ADAM,
    GM_DIVISOR_DIAG_MOMENT,
    GM_DIVISOR_DIAG_HESSIAN
} gm_divisor_kind;
extern const char *const gm_divisor_words[];

/* The options as given; what they leave open is settled by gm_spectrum_settle. */
typedef struct gm_spectrum_settings {
    bool describe;      /* the net, and measure nothing */
    const char *matrix; /* file in the place of net and data; NULL: none */
    gm_curvature kind;
    gm_divisor_kind divisor;
    const char *divisor_file; /* NULL: none */
    double divisor_eps;       /* 0: as in training */
    gm_spectrum_method method;
    size_t k; /* eigenpairs wanted (lanczos) or checked (dense); 0: 10, or all where fewer */
    gm_which which;
    gm_spectrum_solver solver;
    size_t max_products; /* 0: as the method has it */
    gm_spectrum_estimator estimator;
    double rel_error;           /* 0: none */
    size_t probes, steps;       /* of the density */
    double width;               /* 0: chosen from the nodes */
    size_t bins;                /* 0: chosen from the width */
    size_t deflate;             /* eigenpairs taken out of the density first; 0: none */
    double log_det;             /* log det(A + log_det I), where log_det_wanted */
    gm_spectrum_interval count; /* where count_wanted */
    bool log_det_wanted, count_wanted;
    bool estimate;    /* the diagonal by products: --estimator was given */
    bool following;   /* one of several points: lanczos starts from the vectors before */
    size_t resamples; /* of the data; 0: none */
    const char *export_vectors, *export_diagonal; /* NULL: not wanted */

    double tol;                      /* of the residuals, relative to |lambda|_max */
    uint64_t seed;                   /* of the random vectors */
    size_t memory;                   /* budget in bytes, of this rank */
    size_t basis;                    /* of GM_SOLVER_SLEPC: vectors held; 0: as many as it likes */
    bool whole;                      /* products are taken of whole vectors alone (gm_operator) */
    const gm_row_solver *row_solver; /* of GM_SOLVER_SLEPC; NULL: there is none */
    const gm_team *team;             /* whose ranks it works on; NULL: this process */
    const gm_team *probers;          /* whose ranks share out probes; NULL: all do all */
} gm_spectrum_settings;

/* Vectors are recorded, and put together where they were found in shares, up to this many numbers,
 * 8 MB; --export-vectors has no such limit. */
enum { GM_SPECTRUM_VECTOR_NUMBERS = 1000000 };

/* Eigenvalues: all of them (dense), or k from the ends (lanczos). */
typedef struct gm_spectrum_pairs {
    size_t values;
    double *value; /* [values] descending; NULL for the other methods */
    /* The pairs known with their vectors. Dense: those checked by true products; their numbers are
     * index [k] into value. Lanczos: all that were found, k = values, no index. */
    size_t k;
    size_t *index;
    double *vector; /* [k, size]; where split [k, rows], this rank's share (spectrum/rows.h) */
    bool split;
    double *residual; /* [k] */
    double worst;     /* largest residual relative to |lambda|_max, 0 where that is 0 */
    size_t wanted;    /* pairs asked for */
    size_t converged; /* pairs whose residual is within tol */
    bool formed;      /* the operator was formed: dense, and lanczos on small operators */
    bool gram;        /* dense, by the Gram form */
    gm_eigen_stop stop;
    double scale, floor; /* lanczos: |lambda|_max as seen; smallest sensible tol */
    double noise;        /* lanczos: of a product, where it was measured */
    size_t solver_products, check_products; /* lanczos: of the solver, and of the residuals */
    size_t blocks;                          /* calls of the operator that they took */
} gm_spectrum_pairs;

/* Of a deflated density the grid holds the rest of the spectrum only; the deflated eigenvalues are
 * the atoms of the quadrature, a share 1 / size each. */
typedef struct gm_spectrum_density {
    gm_quadrature quadrature; /* zeros for the other methods */
    double width;
    bool width_chosen;
    size_t bins;
    double *edge;      /* [bins + 1] */
    double *value;     /* [bins] per unit eigenvalue: the mass of a bin divided by its width */
    double *std_error; /* [bins] of value */
    double mass;       /* within the edges: 1 - deflated / size, but for the kernels' tails */
    double unresolved; /* share of weight that is not told from 0 */
    /* The nodes and atoms, not smoothed, between powers of sqrt(10) on either side of zero; the bin
     * in the middle, number log_bins, is what is not told from 0 or below 1e-6 of the largest. */
    size_t log_bins;   /* on either side; 0 where every node is 0 */
    double *log_edge;  /* [2 log_bins + 2] ascending */
    double *log_share; /* [2 log_bins + 1] of the spectrum */
    double spacing;    /* of the nodes around 0: nearer eigenvalues are one bin */
    double *log_error; /* [2 log_bins + 1] standard errors */
    gm_estimate log_det;
    gm_count_result count;
} gm_spectrum_density;

typedef struct gm_spectrum_diagonal {
    double *value;     /* [size]; NULL where not measured */
    double *std_error; /* [size]; NULL where the diagonal is exact */
    double min, max, mean;
    gm_diagonal_result estimate; /* of an estimated one */
} gm_spectrum_diagonal;

/* Numbers that every resample of the data has: [columns] of them. */
typedef struct gm_spectrum_series {
    size_t columns;
    double *value; /* [resamples, columns]; NaN where a resample lacks it. NULL: not measured */
    double *mean, *sd, *min, *max; /* [columns] over the resamples; in one piece of memory */
} gm_spectrum_series;

/* The measurement on resamples of the data. */
typedef struct gm_spectrum_resamples {
    size_t count; /* 0: none */
    /* Eigenvalues: as in the pairs; of the dense method those of the pairs' index. */
    gm_spectrum_series eigenvalues, trace, frobenius;
    gm_spectrum_series diagonal; /* [3]: least, most, mean */
    gm_spectrum_series density;  /* [bins], on the grid of the density */
    double worst;                /* largest residual relative to |lambda|_max, over all resamples */
    size_t products;             /* of all resamples */
    size_t converged;            /* resamples in which everything did */
} gm_spectrum_resamples;

void gm_spectrum_resamples_free(gm_spectrum_resamples *r);

/* One operator on the whole net or on one layer's block, measured. */
typedef struct gm_spectrum {
    const char *layer; /* NULL for the whole operator */
    size_t size;
    size_t products; /* with the operator, all together */
    bool converged;  /* everything that can fail to */
    gm_spectrum_pairs pairs;
    gm_spectrum_density density;
    gm_spectrum_diagonal diagonal;
    bool summed, normed;          /* whether there are */
    gm_estimate trace, frobenius; /* std_error 0 where exact */
    size_t trace_products;
    gm_trace_result estimate; /* of --method trace */
    gm_spectrum_resamples resamples;
} gm_spectrum;

void gm_spectrum_free(gm_spectrum *s);

/* Checks the options against each other and fills in what needs no operator: an option that the
 * method does not use is refused by name. Called before anything is opened. */
gm_status gm_spectrum_check_options(const gm_cli *cli, gm_spectrum_settings *set, gm_error *err);

/* Fills in what was left open, once the operators (their largest size, their precision) are known:
 * the method where none was given (a note says which and why), the tolerance. */
gm_status gm_spectrum_settle(gm_cli *cli, size_t largest, gm_dtype precision, uint64_t seed,
                             size_t memory, gm_spectrum_settings *set, gm_error *err);

/* Refuses what cannot be computed for this operator, before anything is: memory beyond
 * the budget (GM_ERR_MEMORY, with the bytes needed), a tolerance below its floor. */
gm_status gm_spectrum_check(gm_cli *cli, const gm_spectrum_operator *target,
                            const gm_spectrum_settings *set, gm_error *err);

/* Writes split vectors of s to an .npy file [k, size]; called by all ranks, rank 0 writes. */
gm_status gm_spectrum_export_rows(const char *path, const gm_spectrum_settings *set,
                                  const gm_spectrum *s, gm_error *err);

/* Measures the operator by the method of the settings; *s is for gm_spectrum_free in any case. */
gm_status gm_spectrum_measure(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                              gm_spectrum *s, gm_error *err);

#endif
