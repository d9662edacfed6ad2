/* Traces, norms, diagonals and spectral densities of operators known only by their products, each
 * with its standard error and the number of products it cost (theory section 5).
 *
 * Random vectors come from the stream (seed, GM_PURPOSE_PROBE, run): vector j is its draws j size
 * ... (j + 1) size - 1 (normal or uniform), or the signs 2^63 + j size ... of it. Equal options
 * give equal results; different seeds or runs give independent ones. */
#ifndef GRADIOMETER_ESTIMATE_H
#define GRADIOMETER_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/operator.h"
#include "gradiometer/status.h"
#include "gradiometer/team.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A mean over random probes. */
typedef struct gm_estimate {
    double value;
    double std_error;  /* of value, from the scatter of the probes; >= 0 */
    double half_width; /* of the 95 % confidence interval: Student's quantile times std_error */
} gm_estimate;

typedef struct gm_estimate_options {
    size_t max_products; /* default 300; all are spent where rel_error = 0 */
    double rel_error;    /* default 0; > 0: stop where half_width <= rel_error |value| */
    uint64_t seed;       /* default 0 */
    uint32_t run;        /* default 0 */
    bool gaussian;       /* default false: signs. Hutchinson's methods alone have the choice */
    /* NULL; else its ranks, each with an operator of its own that is the same, share the probes of
     * GM_TRACE_HUTCHINSON out, and all get the same result. The other methods put all images into
     * one basis, at every rank: to send them costs what it costs to share the products themselves.
     */
    const gm_team *team;
} gm_estimate_options;

void gm_estimate_options_default(gm_estimate_options *options);

/* --- trace and Frobenius norm --- */

typedef enum gm_trace_method {
    /* mean of g . A g over Rademacher g; one product per probe. Exact for a diagonal matrix.
     * Gaussian g have the larger variance, 2 ||A||_F^2 for 2 sum of squares off the diagonal, which
     * the eigenvalues alone tell; and skewed samples where few eigenvalues prevail: with 20 probes
     * the 95 % interval then covers 86 %. */
    GM_TRACE_HUTCHINSON,
    /* tr(Q^T A Q) plus Hutchinson on the rest, Q a basis of A Omega; products in equal thirds
     * (Meyer, Musco, Musco, Woodruff 2021, arXiv 2010.09649). Its std_error is that of the rest:
     * the first part carries none. */
    GM_TRACE_HUTCHPP,
    /* The mean, over probes, of Hutch++ with that probe left out of the basis, on probes uniform
     * on the sphere; two products per probe (Epperly, Tropp, Webber 2024, arXiv 2301.07825). Its
     * std_error is the geometric mean of the terms' scatter, which understates the error, and of
     * the jackknife, which overstates it. */
    GM_TRACE_XTRACE
} gm_trace_method;

typedef struct gm_trace_result {
    gm_estimate trace;
    gm_estimate frobenius; /* ||A||_F, from E ||A g||^2 over the same probes */
    size_t probes;
    size_t products;
    /* The probes' images span A's whole range, to the rounding of the products (theory section 5),
     * or fill the space: both values are then exact to rounding, their errors 0. */
    bool exact;
    bool exhausted; /* the range was found to be smaller than the number of probes */
    bool converged; /* rel_error was reached by the trace (by exactness too); true without one */
} gm_trace_result;

/* Memory that gm_trace_estimate takes at the most beside the operator's own, in bytes: 32 size
 * doubles and, but for Hutchinson, 3 size per probe (4 where rel_error lets the probes grow) and
 * some squares of the number of probes. SIZE_MAX where it does not fit a size_t. */
size_t gm_trace_bytes(size_t size, gm_trace_method method, const gm_estimate_options *options);

/* Estimates tr A and ||A||_F. With rel_error the number of probes grows by halves from 8 and the
 * confidence interval alone decides when to stop: never a change between rounds, never the sign or
 * size of the value (tr A = 0 is not reached by any rel_error). A result that ran into max_products
 * has converged = false. GM_ERR_USAGE for options out of range (fewest products: 2, 6 and 4 for the
 * three methods; rel_error finite and >= 0; gaussian or a team where the method has no choice);
 * GM_ERR_INPUT where the first probes show that A is not symmetric, or not the same from call to
 * call (one pair of products, so that little escapes it, but not all); GM_ERR_NUMERIC where a
 * result is beyond the range of a double; the errors of gm_operator_apply and GM_ERR_MEMORY. */
gm_status gm_trace_estimate(gm_operator *op, gm_trace_method method,
                            const gm_estimate_options *options, gm_trace_result *result,
                            gm_error *err);

/* --- diagonal --- */

typedef enum gm_diagonal_method {
    /* mean of g * (A g), entry by entry, over Rademacher g; one product per probe */
    GM_DIAGONAL_HUTCHINSON,
    /* the leave-one-out estimator of Epperly, Tropp and Webber; two products per probe. Probes are
     * random signs with magnitudes uniform on [0.9, 1.1]: mere signs can repeat themselves on the
     * coordinates that matter, which would look like an exhausted range.
     * Standard errors are made as XTrace's. */
    GM_DIAGONAL_XDIAG
} gm_diagonal_method;

typedef struct gm_diagonal_result {
    size_t probes;
    size_t products;
    double norm;       /* ||diagonal||_2 of the estimate */
    double std_error;  /* sqrt(sum of the entries' squared standard errors) */
    double half_width; /* 95 %: Student's quantile times std_error; what rel_error norm bounds */
    bool exact, exhausted, converged; /* as in gm_trace_result */
} gm_diagonal_result;

/* As gm_trace_bytes: 33 size doubles for Hutchinson, 5 size per probe for XDiag. */
size_t gm_diagonal_bytes(size_t size, gm_diagonal_method method,
                         const gm_estimate_options *options);

/* value [size] = estimate of diag A, std_error [size] the standard error of each entry. Options,
 * growth and errors as for gm_trace_estimate (fewest products: 2 and 4). */
gm_status gm_diagonal_estimate(gm_operator *op, gm_diagonal_method method,
                               const gm_estimate_options *options, double *value, double *std_error,
                               gm_diagonal_result *result, gm_error *err);

/* --- stochastic Lanczos quadrature --- */

typedef struct gm_quadrature_options {
    size_t probes; /* default 10, >= 1 */
    size_t steps;  /* default 80, >= 1; at most size are made */
    uint64_t seed; /* default 0 */
    uint32_t run;  /* default 0 */
    /* Eigenpairs to be taken as known (deflated = 0 by default, < size): value [deflated] and
     * orthonormal vector [deflated, size], read during gm_quadrature_make only. Their eigenvalues
     * are exact atoms and the probes see the rest of the spectrum. */
    size_t deflated;
    const double *deflated_value, *deflated_vector;
    /* NULL; else its ranks, each with an operator of its own that is the same, share the probes
     * out, and all get all of them. */
    const gm_team *team;
} gm_quadrature_options;

void gm_quadrature_options_default(gm_quadrature_options *options);

/* Memory that gm_quadrature_make takes beside the operator's own, in bytes; SIZE_MAX where it does
 * not fit a size_t. */
size_t gm_quadrature_bytes(size_t size, const gm_quadrature_options *options);

/* Gauss quadratures of the spectral measures of random unit vectors v: for each probe, v . f(A) v
 * is the sum of weight f(node), exactly for polynomials f of degree below 2 steps. */
typedef struct gm_quadrature {
    size_t size;     /* of the operator */
    size_t probes;   /* rows */
    size_t steps;    /* columns: min(steps asked for, size - deflated) */
    double *node;    /* [probes, steps] descending */
    double *weight;  /* [probes, steps] >= 0, every row sums to 1 - deflated / size */
    size_t *taken;   /* [probes]: steps before breakdown, 1 ... steps. The rule is then exact for
                        every f; the later nodes repeat the last one with weight 0. */
    size_t deflated; /* atoms: eigenvalues known beforehand, each of weight 1 / size in any probe */
    double *atom;    /* [deflated] */
    double min, max; /* of all nodes and atoms */
    double floor;    /* noise of the products: eigenvalues within it are not told from 0 */
    size_t products; /* of all ranks */
} gm_quadrature;

/* m steps of Lanczos with full reorthogonalization (to 1e-12) from each of the Rademacher probes.
 * Breakdown is an off-diagonal below the rounding of the products times sqrt(m); it becomes exactly
 * 0 (theory section 5). With deflated pairs all of it happens on their complement, from probes
 * uniform on its sphere: the mean of (size - deflated) v . f(A) v is then the trace of f there
 * without bias. Cost: probes x steps products; memory: (steps + 1) size doubles. q is for
 * gm_quadrature_free in any case. GM_ERR_USAGE for options out of range, and for deflated vectors
 * that are not orthonormal within 1e-8; errors of gm_operator_apply; GM_ERR_MEMORY; GM_ERR_NUMERIC
 * where weights do not sum to 1 within 1e-10. */
gm_status gm_quadrature_make(gm_operator *op, const gm_quadrature_options *options,
                             gm_quadrature *q, gm_error *err);

/* Accepts NULL and a struct of zeros. */
void gm_quadrature_free(gm_quadrature *q);

/* tr f(A) for any f: the sum over atoms plus size times the mean over probes of sum weight f(node).
 * f sees nodes of positive weight only. The standard error is that of the probes; one probe gives
 * NaN for it. GM_ERR_NUMERIC where f returns NaN or infinity (the message names the node). */
gm_status gm_quadrature_trace(const gm_quadrature *q, double (*f)(double lambda, void *context),
                              void *context, gm_estimate *estimate, gm_error *err);

/* ||A||_F = sqrt(tr A^2). */
gm_status gm_quadrature_frobenius(const gm_quadrature *q, gm_estimate *estimate, gm_error *err);

/* log det(A + c I); GM_ERR_NUMERIC where a node is <= -c. */
gm_status gm_quadrature_logdet(const gm_quadrature *q, double c, gm_estimate *estimate,
                               gm_error *err);

/* Number of eigenvalues in [from, to]. The indicator function has steps, which quadrature resolves
 * to the weights beside them: low and high are the means over probes of the bounds that the
 * Chebyshev-Markov-Stieltjes inequalities give for each probe's true share; low <= estimate <=
 * high, and all agree where every probe broke down. The interval is half_width wider at either end.
 */
typedef struct gm_count_result {
    gm_estimate count;
    double low, high;
} gm_count_result;

gm_status gm_quadrature_count(const gm_quadrature *q, double from, double to,
                              gm_count_result *result, gm_error *err);

/* Share of weight at |node or atom| <= q->floor: eigenvalues that the products' precision does not
 * tell from 0, whatever their sign seems to be. */
double gm_quadrature_unresolved(const gm_quadrature *q);

/* --- density: the nodes smoothed by a Gaussian --- */

/* Width (standard deviation) of the kernel by default: the spread of the nodes (not atoms) times
 * the smaller of 1/200 and 1/((steps - 1) sqrt(8 ln 3)). Nodes that all agree to the noise floor
 * count as spread by their own size (by 1 where they are 0), so that the width is positive; other
 * operators c A have |c| times the width of A. */
double gm_density_width(const gm_quadrature *q);

/* edge [bins + 1]: equal bins from 6 widths below the smallest node to 6 widths above the largest;
 * all but 2e-9 of the mass lies there. bins >= 1. */
void gm_density_edges(const gm_quadrature *q, double width, size_t bins, double *edge);

/* mass[b] = share of the spectrum in (edge[b], edge[b+1]], b < bins: the integral of the smoothed
 * density over the bin, by the error function, so that nothing is lost between grid points;
 * atoms are not smoothed.
 * std_error [bins] (NULL: not wanted) over probes; NaN for one probe. total (or NULL): the sum of
 * mass, 1 up to what lies outside the edges. edge [bins + 1] ascending; width > 0, else
 * GM_ERR_USAGE. Cost: probes x steps x bins error functions. */
gm_status gm_density_mass(const gm_quadrature *q, double width, size_t bins, const double *edge,
                          double *mass, double *std_error, double *total, gm_error *err);

/* How far apart the nodes around x lie: the mean over probes of the distance between the nodes on
 * either side of it (twice that to the nearest node where all lie on one side). Details finer than
 * that are not resolved. 0 where every probe broke down, the rules being exact. */
double gm_quadrature_spacing(const gm_quadrature *q, double x);

/* --- the same spectrum on a signed logarithmic axis: nothing smoothed --- */

/* edge [2 bins + 2] ascending, bins >= 1: `bins` equal steps in log |x| on either side of zero,
 * from the largest |node or atom| down to max(from, q->floor); from = 0: the floor. The bin between
 * the sides, number `bins`, is what is not told from 0. Edges of c A are |c| times those of A for
 * `from` scaled along. An operator without any eigenvalue but 0 gets edges from 1 to DBL_EPSILON.
 */
void gm_density_log_edges(const gm_quadrature *q, double from, size_t bins, double *edge);

/* mass[b], b < 2 bins + 1: the share of the spectrum in bin b, the sum of the weights of the nodes
 * and atoms in it (an end of a bin belongs to the bin that is nearer to zero), for any edges made
 * of two sides and a middle. It is a share per bin, of any sign and all eigenvalues: the sides add
 * up to the shares of negative and of positive eigenvalues, all bins to total (or NULL), 1 where
 * all nodes lie within the edges. Per decade it is mass / log10(ratio of the bin's edges). A bin
 * narrower than the distance of the nodes shows where the nodes are, not where eigenvalues are.
 * std_error as for gm_density_mass. GM_ERR_USAGE for edges that do not ascend, for a middle bin
 * that does not hold [-floor, floor]: what lies there is rounding. */
gm_status gm_density_log_mass(const gm_quadrature *q, size_t bins, const double *edge, double *mass,
                              double *std_error, double *total, gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
