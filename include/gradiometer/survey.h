/* The measurements of theory section 2: the Hessian against the second moment of stochastic
 * gradients, at one point and along a training run; by dense matrices where these are small, by
 * products alone where they are not. */
#ifndef GRADIOMETER_SURVEY_H
#define GRADIOMETER_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/curvature.h"
#include "gradiometer/spectrum.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gm_decompose_method {
    GM_DECOMPOSE_AUTO,    /* for each block: dense up to GM_DENSE_PARAMETERS where the matrices fit
                             the memory allowed, else products */
    GM_DECOMPOSE_DENSE,   /* every eigenvalue, exact to rounding */
    GM_DECOMPOSE_PRODUCTS /* leading eigenpairs; norms from random probes, with their errors */
} gm_decompose_method;
const char *gm_decompose_method_name(gm_decompose_method method); /* "auto", "dense", "products" */

enum { GM_DENSE_PARAMETERS = 5000 };

typedef struct gm_decompose_options {
    gm_decompose_method method; /* auto */
    size_t k;                   /* 15: leading directions compared; at most p of them */
    bool by_magnitude;          /* false: leading = largest lambda; true: largest |lambda| */
    double cut;       /* 1e-2, relative to the largest |lambda|: eigenvalues below -cut count as
                         negative */
    int layer;        /* GM_ALL_LAYERS; else one layer's diagonal block in place of the net's */
    bool each_layer;  /* false; true surveys every layer's block too */
    bool gn_residual; /* false; true takes R = H - G along */
    size_t probes;    /* 8: random vectors of the decomposition error, >= 1; by products also of
                         the norms, which need 2 for an error */
    double tol;       /* 0 = 1e-4 in f32, 1e-10 in f64: residual of an eigenpair found by products,
                         relative to the largest |lambda|; gm_eigen_floor ... 1 */
    size_t max_products; /* 0 = no limit: products for the pairs at one end of one operator's
                            spectrum, at each point */
    size_t batch;        /* 1: m of the stochastic gradients' share, 1 ... n without replacement */
    bool without_replacement; /* false: how such a batch is drawn (kappa of theory section 1) */
    uint64_t seed;            /* 0: of the probes and of the random subspaces */
    size_t memory;            /* bytes for matrices or vectors; 0 = half of the machine's memory */
    /* Asked before every product of a survey by products; true ends it with GM_ERR_INTERRUPTED.
     * NULL: never. */
    bool (*stop)(void *watch);
    void *watch;
} gm_decompose_options;
void gm_decompose_options_default(gm_decompose_options *options);

/* How the pairs at one end of a spectrum are looked for along a run: from those of the point before
 * with at most three quarters of the products that the last start from nothing took, then, where
 * these do not suffice, from nothing; after the f-th failure in a row 2^f - 1 points start from
 * nothing at once. So they do where the last such start took more than 8 products for each pair:
 * these are the edge of a bulk, which is followed with more products than it is found with. */
typedef struct gm_decompose_start {
    size_t cold;       /* products of the last start from nothing */
    unsigned failures; /* in a row */
    unsigned wait;     /* points left that start from nothing */
} gm_decompose_start;

/* One operator: eigenvalues, their summary, and the leading eigenpairs.
 *
 * By products only the ends of a spectrum are known (unless the Gram form gives all of it), and the
 * summary says less: frobenius is an estimate (frobenius_error), the trace comes from the exact
 * diagonal, rank and positive_rank count the pairs found whose value exceeds its residual and the
 * floor, gaps and outliers are looked for among the leading ones, min (or max, by magnitude) is NaN
 * where that end was not seen, effective_rank is NaN, above and below are lower bounds unless said
 * to be known. floor is gm_eigen_floor times the scale there. */
typedef struct gm_operator_survey {
    bool measured;
    bool gram;     /* eigenvalues through the Gram form, zeros (exact) for the rest */
    bool products; /* by products: the flags and counts below matter */
    size_t values; /* dense: size; by products the leading ones alone, count of them or, of a Gram
                      form, up to k + 1 */
    double *value; /* [values] descending */
    gm_spectral_summary summary;
    double frobenius_error;        /* standard error; 0: exact to rounding */
    bool above_known, below_known; /* summary.above, below are the numbers, not lower bounds */
    bool by_magnitude;             /* order of the leading eigenpairs */
    size_t count;         /* leading eigenpairs held: k + 1 (to see whether the k-th is separated),
                             less where the size or, in Gram form, the rank is smaller, or where
                             max_products ended the search */
    double *lead_value;   /* [count], largest lambda or |lambda| first */
    double *residual;     /* [count] ||A v - lambda v||, by true products */
    double *lead_vector;  /* [count, size]; kept for H and M, NULL for the others */
    size_t low_count;     /* by products and by value, of H, H_p and R: the lowest eigenpairs */
    double *low_value;    /* [low_count], lowest first */
    double *low_residual; /* [low_count] */
    double *low_vector;   /* [low_count, size], NULL in a finished survey */
    bool converged;       /* every pair looked for reached the tolerance; true where dense */
    size_t spent;         /* products with this operator; 0 where dense */
    gm_decompose_start lead_start, low_start;
} gm_operator_survey;

/* Overlap of two operators' leading subspaces, or of one with its own past. */
typedef struct gm_overlap_survey {
    const char *a, *b;
    size_t size;    /* p: overlap[j-1] of random subspaces is j / size */
    size_t k;       /* min(k asked, rank a, rank b) */
    double *value;  /* [k] ||U_j^T V_j||_F^2 / j */
    bool *resolved; /* [k] false where lambda_j and lambda_{j+1} of a or b agree within their
                       residuals: that subspace is then not determined */
} gm_overlap_survey;

/* The pairs that are compared: H-M, H-G, H-Sigma, M-G, H-H_p and H-(-H_p), the last because the
 * leading directions of H are found at the other end of H_p's spectrum where H_p is close to -H. */
enum { GM_SURVEY_PAIRS = 6 };

/* The whole net, or one layer's diagonal block. Undefined quotients are NaN. */
typedef struct gm_block_survey {
    const char *name; /* "net", or the layer's name (owned by the net) */
    int layer;        /* GM_ALL_LAYERS, or the layer's index */
    size_t size;      /* p of this block */
    size_t k;         /* min(k asked, size) */
    bool products;    /* by products, else dense */
    gm_operator_survey op[GM_CURVATURES];
    gm_overlap_survey pair[GM_SURVEY_PAIRS];

    size_t angles;   /* min(k, rank H, rank M) */
    double *angle;   /* [angles] principal angles of the leading subspaces of H and M, ascending,
                        radians */
    double *cosine;  /* [angles] their cosines, descending */
    double *product; /* [angles, angles] |u_j . v_l|, u_j of H, v_l of M */

    size_t shares;           /* min(k, rank H); 0 where the gradient vanishes */
    double *share;           /* [shares] ||U_j^T mu||^2 / ||mu||^2, U_j of H */
    double stochastic_share; /* E ||U_k^T g||^2 / E ||g||^2 for mini-batch gradients g, exact; 1
                                where rounding lifts it above; NaN where both gradients vanish */

    /* ||H_p + H||_F / ||H||_F, H_p by its independent pass: from the dense matrices, or from
     * products with the probes, the same ones for both norms. NaN where H = 0. */
    double residual_plus_hessian;
    double residual_plus_hessian_error; /* standard error, 0 where dense */
    double moment_share;                /* tr M / tr H; NaN where tr H = 0 */
    double decomposition_error; /* largest ||(H - M + H_p) v|| / (||H v|| + ||M v|| + ||H_p v||)
                                   over the probes, H_p v by the independent pass */

    gm_overlap_survey previous, first; /* leading subspace of H here against the point before and
                                          the first one; k = 0 where there is none */
} gm_block_survey;

typedef struct gm_decomposition {
    int64_t step; /* of the run; -1 outside one */
    double loss, error_rate, gradient_norm;
    gm_block_survey block; /* the net, or the layer that the options name */
    size_t layers;
    gm_block_survey *layer; /* [layers] with each_layer, else NULL */
} gm_decomposition;

/* The method that a block of this size is surveyed by: dense or products. */
gm_decompose_method gm_decompose_choice(size_t size, const gm_decompose_options *options);

/* Largest number of bytes that a survey of so many points takes at once beside the problem's own,
 * over the blocks asked for. Dense: 24 size^2 (two matrices and LAPACK's workspace). By products:
 * the eigensolver, the eigenvectors held beside it and the probes; along a run also those that the
 * next point starts from. SIZE_MAX where it overflows and for a layer out of range. */
size_t gm_decompose_bytes(const gm_problem *problem, const gm_decompose_options *options,
                          size_t points);

/* Refuses options out of range (GM_ERR_USAGE), and a survey that does not fit in the memory allowed
 * (GM_ERR_MEMORY, with both numbers), before anything is computed. */
gm_status gm_decompose_check(const gm_problem *problem, const gm_decompose_options *options,
                             size_t points, gm_error *err);

/* Surveys the point that lin was made at. *result is the caller's, ended by gm_decomposition_free,
 * and all zeros after a failure.
 *
 * Dense: H and H_p and their eigenvalues, 8/3 p^3 flops beside the matrices; M, Sigma and G through
 * their Gram forms where those are smaller than p; 2 or 3 k products for residuals.
 *
 * By products: the k + 1 leading pairs of each operator and, by value, the k + 1 lowest ones of the
 * indefinite ones H, H_p and R, each by gm_eigenpairs; M, Sigma and G through a Gram form of at
 * most 2,000 rows where the memory has room for it; one product for each operator and probe; traces
 * from exact diagonals (gm_curvature_diagonal). With U, Lambda the eigenpairs found,
 *     ||A||_F^2 = sum lambda^2 + E ||(A - U Lambda U^T) g||^2
 * for random signs g (the idea of Hutch++, arXiv 2010.09649), and
 *     ||H_p + H||_F^2 = ||M||_F^2 + E (||(H_p + H) g||^2 - ||M g||^2),
 * M g serving as a control variate: the scatter vanishes where H_p + H = M, which is not assumed.
 *
 * Errors: those of gm_decompose_check, GM_ERR_NUMERIC where a matrix or product is not finite. */
gm_status gm_decompose(gm_linearization *lin, const gm_decompose_options *options,
                       gm_decomposition *result, gm_error *err);
void gm_decomposition_free(gm_decomposition *result);

/* The points of a run, handed out and received one by one, so that one parameter vector is held at
 * a time. A status other than GM_OK from either function ends the survey with it. */
typedef struct gm_decompose_points {
    size_t count;
    void *self;
    /* theta [p] of point index, and its step (-1 outside of a run). */
    gm_status (*at)(void *self, size_t index, int64_t *step, double *theta, gm_error *err);
    /* Told of every finished point, overlaps with the past included. May be NULL. */
    gm_status (*done)(void *self, size_t index, const gm_decomposition *point, gm_error *err);
} gm_decompose_points;

/* gm_decompose at every point, and the overlap of each with its past. By products, each point after
 * the first starts from the eigenvectors of the one before (gm_eigen_track), and the survey keeps
 * the vectors of H at the first and of H and M at the last point alone. result [points->count] are
 * the caller's, *finished (NULL: not wanted) of them measured. After GM_ERR_INTERRUPTED from
 * points->at or options->stop the finished ones are kept and the rest are zeros; after any other
 * failure all are zeros and *finished is 0. */
gm_status gm_decompose_run(gm_problem *problem, const gm_decompose_points *points,
                           const gm_decompose_options *options, gm_decomposition *result,
                           size_t *finished, gm_error *err);

/* --- the two findings that a study of this kind reports (theory section 2) --- */

typedef enum gm_verdict { GM_HOLDS, GM_DOES_NOT_HOLD, GM_UNDECIDED } gm_verdict;
const char *gm_verdict_name(gm_verdict verdict); /* "holds", "does not hold", "undecided" */

enum { GM_FINDINGS = 2 };

typedef struct gm_finding {
    const char *name; /* "residual_close_to_minus_hessian", "top_directions_aligned" */
    gm_verdict verdict;
    double value;        /* the number that decides, at the last point */
    double error;        /* of it: one standard error, or a bound for a cosine; 0: to rounding */
    double threshold;    /* what it is compared to */
    char criterion[256]; /* when it is said to hold */
    char sentence[1024]; /* whether it does in this run, with the numbers */
} gm_finding;

/* Criteria: H_p is close to -H where ||H_p + H||_F / ||H||_F is below the first; the two leading
 * subspaces are well aligned where at least GM_FINDING_DIRECTIONS principal cosines reach
 * the second. Undecided where an estimate lies within GM_FINDING_ERRORS standard errors of what it
 * is compared to, and where residuals leave open on which side a cosine is. */
#define GM_FINDING_RESIDUAL 0.1
#define GM_FINDING_COSINE   0.9
enum { GM_FINDING_DIRECTIONS = 10, GM_FINDING_ERRORS = 3 };

/* Evaluates both findings on the points of a run in order of step [count >= 1]; the last point
 * decides, the others are told. The cosines of random subspaces are a mean over seeded draws. */
gm_status gm_decompose_findings(size_t count, const gm_decomposition *point, uint64_t seed,
                                gm_finding finding[GM_FINDINGS], gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
