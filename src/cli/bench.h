/* What gradiometer bench measures. Seconds are of the wall clock; a figure of several rounds is
 * their median, and what is compared is measured in turn within a round, so that a disturbance hits
 * all of it.
 *
 * Every measurement asks gm_interrupt_requested between rounds and products and then returns
 * GM_ERR_INTERRUPTED. */
#ifndef GM_CLI_BENCH_H
#define GM_CLI_BENCH_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/session.h"
#include "gradiometer/eigen.h"
#include "gradiometer/estimate.h"

typedef struct gm_bench_settings {
    unsigned parts; /* GM_BENCH_... */
    size_t rounds;
    size_t k;             /* eigenpairs */
    size_t probes, steps; /* of the density */
    bool quick;
} gm_bench_settings;

enum {
    GM_BENCH_PRODUCTS = 1 << 0,
    GM_BENCH_EIGENPAIRS = 1 << 1,
    GM_BENCH_DENSITY = 1 << 2,
    GM_BENCH_DENSE = 1 << 3,
    GM_BENCH_SERIES = 1 << 4,
    GM_BENCH_ENSEMBLE = 1 << 5
};

/* One problem, linearized: what all measurements of a precision work on. */
typedef struct gm_bench {
    const gm_bench_settings *settings;
    const gm_session *session;
    gm_linearization *lin;
    double tol;
    bool quiet;
} gm_bench;

/* --- products (bench_products.c) --- */

typedef struct gm_bench_product {
    double seconds;
    double flops; /* of the matrix products that it cannot do without */
} gm_bench_product;

enum { GM_BENCH_H, GM_BENCH_G, GM_BENCH_M, GM_BENCH_GRADIENT, GM_BENCH_KINDS };

typedef struct gm_bench_products {
    gm_bench_product bare; /* the matrix products of one Hessian product and nothing else */
    gm_bench_product kind[GM_BENCH_KINDS];
} gm_bench_products;

/* One product with H, G, M and one gradient beside the bare matrix products of the same shapes. */
gm_status gm_bench_measure_products(const gm_bench *bench, gm_bench_products *out, gm_error *err);

/* Flops of one product with H on these data. */
double gm_bench_hessian_flops(const gm_session *session);

/* Best speed of a square matrix product in this precision over three, flops a second; [n, n] with n
 * where it is at its best, smaller when quick. */
gm_status gm_bench_square_speed(gm_dtype precision, bool quick, double *speed, gm_error *err);

/* Median of count values, which are sorted. */
double gm_bench_median(size_t count, double *value);

/* --- solvers (bench_solvers.c) --- */

/* How a solver's time divides into its operator's products and its own work. */
typedef struct gm_bench_time {
    double seconds, products_seconds;
    size_t products, blocks; /* blocks: calls of the operator */
} gm_bench_time;

/* Share of the solver's own work, 0 ... 1. */
double gm_bench_own_share(const gm_bench_time *time);

typedef struct gm_bench_eigenpairs {
    gm_bench_time time; /* of the round with the median seconds */
    size_t count, converged;
    double *value; /* [count], descending; freed by gm_bench_free_eigenpairs */
    double worst;  /* residual, relative to |lambda|_max */
    bool dense;    /* the net is so small that the matrix was formed */
} gm_bench_eigenpairs;

/* The k largest eigenpairs of H from nothing. */
gm_status gm_bench_measure_eigenpairs(const gm_bench *bench, gm_bench_eigenpairs *out,
                                      gm_error *err);
void gm_bench_free_eigenpairs(gm_bench_eigenpairs *result);

typedef struct gm_bench_density {
    gm_bench_time time;
    size_t probes, steps; /* as made */
    double min, max;      /* of the nodes */
    gm_estimate trace, frobenius;
} gm_bench_density;

/* Stochastic Lanczos quadrature of H; one round, whose products are its repetitions. */
gm_status gm_bench_measure_density(const gm_bench *bench, gm_bench_density *out, gm_error *err);

typedef struct gm_bench_dense {
    double square_speed;   /* gm_bench_square_speed, flops a second */
    double matrix;         /* seconds: linearization and the dense H */
    double eigenvalues;    /* seconds: all of them by LAPACK */
    double flops;          /* n p^2, of the structured way to the matrix */
    double products_flops; /* of p products, the plain way */
    double largest;        /* eigenvalue */
} gm_bench_dense;

/* The dense Hessian and all its eigenvalues. */
gm_status gm_bench_measure_dense(const gm_bench *bench, gm_bench_dense *out, gm_error *err);

typedef struct gm_bench_point {
    int64_t step;
    gm_bench_time cold; /* from nothing, by gm_eigenpairs */
    gm_bench_time warm; /* from the pairs of the point before, by gm_eigen_track; 0 at the first */
    size_t cold_converged, warm_converged;
    double difference; /* of the eigenvalues of the two, largest, relative to |lambda|_max */
} gm_bench_point;

typedef struct gm_bench_series {
    size_t count;
    gm_bench_point *point; /* [count], freed by gm_free */
} gm_bench_series;

/* The k largest eigenpairs of H at every checkpoint of the run file in --params (session->run):
 * each from nothing, and tracked from one to the next. */
gm_status gm_bench_measure_series(const gm_bench *bench, gm_bench_series *out, gm_error *err);

/* --- ensembles (bench_ensemble.c) --- */

typedef struct gm_bench_ensemble {
    char model[128];
    gm_dtype precision;
    size_t parameters, samples, batch;
    uint64_t steps;         /* of a run */
    bool tiled;             /* the fast way of small dense nets */
    size_t runs[2];         /* two sizes, and ... */
    double seconds[2];      /* ... a run and step of each */
    double flops;           /* of its matrix products; 0 unless tiled */
    double square_speed;    /* gm_bench_square_speed, flops a second, measured in turn with them */
    double problem_seconds; /* a run and step by the way of any net */
} gm_bench_ensemble;

/* Ensembles with the full loss in every step; of a small net of its own in f32, unless the options
 * name a model or a precision. */
gm_status gm_bench_measure_ensemble(gm_cli *cli, const gm_bench *bench, gm_bench_ensemble *out,
                                    gm_error *err);

/* --- results (bench_results.c) --- */

/* Everything measured; a part that was not asked for is marked so. */
typedef struct gm_bench_results {
    size_t precisions;
    gm_dtype precision[2];
    gm_bench_products products[2]; /* by precision, with GM_BENCH_PRODUCTS */
    gm_bench_eigenpairs eigenpairs;
    gm_bench_density density;
    gm_bench_dense dense;
    gm_bench_series series;
    gm_bench_ensemble ensemble;
} gm_bench_results;

/* The document with its key "bench", printed; and the readable form. load is the machine's load
 * average when the measurement began, below 0 where unknown. */
gm_status gm_bench_print_json(gm_cli *cli, const gm_bench *bench, const gm_bench_results *results,
                              double load, gm_error *err);
void gm_bench_print_text(const gm_cli *cli, const gm_bench *bench, const gm_bench_results *results,
                         double load);

#endif
