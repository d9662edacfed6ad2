/* Extreme eigenpairs of symmetric operators too large to form, by products only (theory section 5).
 *
 * Two solvers. gm_eigenpairs starts from nothing, takes single products and needs the fewest of
 * them. gm_eigen_track takes blocks of products, starts from a subspace that is nearly right, and
 * finds every copy of a repeated eigenvalue, of which the first may miss some at loose tolerances.
 *
 * Vectors are rows: vector [count, size]. Residuals are ||A v - value v|| by true products, taken
 * with v or with the basis that v is a combination of;
 * converged means residual <= tol |lambda|_max (scale below). A result that did not converge is no
 * error. */
#ifndef GRADIOMETER_EIGEN_H
#define GRADIOMETER_EIGEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/operator.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gm_which {
    GM_WHICH_LA, /* the k largest */
    GM_WHICH_SA, /* the k smallest */
    GM_WHICH_BE, /* k / 2 of either end, the odd one from the top */
    GM_WHICH_LM  /* the k largest in magnitude */
} gm_which;

typedef struct gm_eigen_options {
    gm_which which;
    size_t k;            /* pairs asked for, 1 ... size */
    double tol;          /* of the residual, relative to |lambda|_max; gm_eigen_floor ... 1 */
    size_t basis;        /* vectors held at once; 0 = chosen from k and spare */
    size_t spare;        /* bytes up to which a basis is larger than it must be */
    size_t max_products; /* 0 = no limit */
    uint64_t seed;       /* of the start vectors */
    /* For gm_eigen_track alone: pairs beyond the k-th are added while they lie above the threshold
     * (LA: value > threshold, SA: value < -threshold, BE and LM: |value| > threshold), up to
     * max_pairs in all. */
    double threshold; /* infinity = none are added */
    size_t max_pairs; /* 0 = 2 k */
} gm_eigen_options;

/* LA, k = 10, tol = 1e-4, seed 0, no limit, no threshold, spare 512 MiB. */
void gm_eigen_options_default(gm_eigen_options *options);

/* The smallest tolerance that makes sense with products of this precision: 8 eps in f32 (9.5e-7),
 * 16 eps in f64 (3.6e-15). */
double gm_eigen_floor(gm_dtype precision);

typedef enum gm_eigen_stop {
    GM_EIGEN_CONVERGED, /* every pair asked for */
    GM_EIGEN_PRODUCTS,  /* max_products was reached first */
    GM_EIGEN_STALLED    /* the solver cannot get on, or its products are too noisy for tol */
} gm_eigen_stop;

typedef struct gm_eigen {
    size_t size, count; /* count <= k where stopped early; more than k where pairs were added */
    double *value;      /* [count], descending */
    double *vector;     /* [count, size], orthonormal rows */
    double *residual;   /* [count] */
    bool *converged;    /* [count] */
    size_t converged_count;
    double scale; /* |lambda|_max as far as the products showed it, at most the true one */
    double floor; /* gm_eigen_floor of the operator */
    /* ||A x - sum s_j A v_j|| for one unit vector x = sum s_j v_j: what the products' rounding
     * makes of a product, and more where they are noisier than their precision says. Measured by
     * Lanczos' first run as it ends, and by gm_eigen_track where it hardly gets on; 0 = not. */
    double noise;
    size_t products; /* all of them: the solver's and the check's */
    size_t solver_products;
    size_t check_products; /* those of the residuals, where the solver does not know them anyway */
    size_t blocks;         /* calls of the operator that they took */
    gm_eigen_stop stop;
    bool dense; /* the operator was formed: every eigenvalue is exact to rounding */
} gm_eigen;

void gm_eigen_free(gm_eigen *result);

/* k extreme eigenpairs by Lanczos' method until they have converged: looked at from the
 * max(2 k + 1, 20)-th product on, and confirmed by true residuals. One run with full
 * reorthogonalization comes first (without max_products), of size / 2 steps, 512 at most, fewer
 * where so many vectors take more than `spare` bytes, none where only the least max(2 k + 1, 20)
 * fit. Its products give the residuals too; one more, with a random combination of the
 * eigenvectors, is held against them, and where that differs by more than 5 % of tol each vector
 * gets its own. What the run does not find is left to implicitly restarted Lanczos (ARPACK), from
 * the start again, with a basis of the least size and 60 more vectors where they fit. A basis that
 * was given serves both. The operator is formed instead (result->dense) where size <= 2 max(2 k +
 * 1, 20), or k >= size - 1, or size <= a basis that was given; and, up to size 5,000, as soon as
 * Lanczos has spent as many products as that takes (eigenvalues that crowd at the end asked for).
 * Of a repeated eigenvalue some copies may be missed, at loose tolerances above all; gm_eigen_track
 * finds them. Looser than 1e-4, residuals are as small as asked before every pair has shown up:
 * without max_products both solvers then go on to 1e-4. With max_products the pairs converged by
 * then are returned, maybe none.
 *
 * ARPACK is not re-entrant: callers in several threads take turns, and an operator that calls this
 * function from within a product, in the same thread, is refused. (From a thread that it starts
 * itself and waits for, it would wait for ever.)
 *
 * Cost: the solver's products and 1, or count, for the residuals, both told apart; (basis + count +
 * 6) size doubles and, for the residuals, count size more or half a gigabyte. Errors: GM_ERR_USAGE
 * for k outside 1 ... size, tol outside floor ... 1, basis <= k, sizes beyond ARPACK's 32-bit
 * integers, an operator that starts another eigenproblem; GM_ERR_INPUT where u.Av = v.Au fails for
 * the start and the first Krylov vector; GM_ERR_MEMORY; those of gm_operator_apply. */
gm_status gm_eigenpairs(gm_operator *op, const gm_eigen_options *options, gm_eigen *result,
                        gm_error *err);

/* The same pairs by a method that starts from start [start_count, size], rows that need not be
 * orthonormal (the pairs of a neighbouring operator), or from random vectors where start_count = 0.
 *
 * Where A times one combination of the start stays within its span, a block of products with the
 * span and one look beyond it suffice. Otherwise Lanczos' method goes on from such a combination
 * and some noise: between checkpoints of a training, where directions turn by a few percent, it
 * takes about four fifths of the products of gm_eigenpairs. From nothing, blocks of k random
 * vectors find every copy of a repeated value. New pairs are noticed through random vectors, or
 * noise, that accompany the start; one that hardly differs from the bulk, or from the last pair
 * asked for, can take a later call to be seen.
 *
 * Method: Rayleigh-Ritz on a basis Q and A Q, expanded by the residuals of the pairs that have not
 * converged, orthogonalized twice, thick restart when the basis is full (default: the start or
 * max_pairs, guards and max(2 max_pairs, 20 or, from a start, 30) vectors). Residuals come from A
 * Q: they are true ones and cost no products. Where 20 rounds have hardly brought the pairs nearer,
 * one product tells how noisy they are: GM_EIGEN_STALLED above 0.3 tol, and after 100 such rounds.
 * Cost: its products; (2 basis + 2 max_pairs) size
 * doubles. Errors: as above; start_count > 0 with entries that are not finite is GM_ERR_INPUT. */
gm_status gm_eigen_track(gm_operator *op, const gm_eigen_options *options, size_t start_count,
                         const double *start, gm_eigen *result, gm_error *err);

/* The memory that gm_eigenpairs, or gm_eigen_track from start_count vectors, takes at its peak for
 * an operator of this size, in bytes, the result included; beside the caller's start and what the
 * operator takes for itself. The options must be valid; SIZE_MAX where the sum overflows. */
size_t gm_eigen_bytes(size_t size, const gm_eigen_options *options);
/* Lowers options->spare as far as it must be, to 0 at most, for gm_eigen_bytes to stay within
 * `bytes`. */
void gm_eigen_fit(size_t size, double bytes, gm_eigen_options *options);
size_t gm_eigen_track_bytes(size_t size, const gm_eigen_options *options, size_t start_count);

#ifdef __cplusplus
}
#endif
#endif
