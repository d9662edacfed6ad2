/* Linear systems with a symmetric operator known by its products: (A + c I) x = b (theory section
 * 5). */
#ifndef GRADIOMETER_SOLVE_H
#define GRADIOMETER_SOLVE_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/operator.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gm_solve_options {
    double shift;        /* c; default 0; finite and >= 0 */
    double tol;          /* default 1e-8; in [eps of the products' precision, 1) */
    size_t max_products; /* default 1000, >= 2: one step and the residual */
} gm_solve_options;

void gm_solve_options_default(gm_solve_options *options);

/* Why the iteration ended. Only the first of them is a solution. */
typedef enum gm_solve_end {
    GM_SOLVE_CONVERGED,
    GM_SOLVE_OUT_OF_PRODUCTS,
    /* The residual by a product no longer shrinks though the recursion says so: the rounding of the
     * products does not allow tol at this condition number. */
    GM_SOLVE_STALLED,
    /* A direction d with d . (A + c I) d < 0 was met: A + c I is indefinite, and its quadratic has
     * no minimum. */
    GM_SOLVE_NEGATIVE_CURVATURE,
    /* A direction d with d . (A + c I) d = 0 to the products' rounding: A + c I is singular there
     */
    GM_SOLVE_SINGULAR
} gm_solve_end;

/* "converged", "out of products", "stalled", "negative curvature", "singular" */
const char *gm_solve_end_name(gm_solve_end end);

typedef struct gm_solve_result {
    gm_solve_end end;
    bool converged; /* residual <= tol; the same as end = GM_SOLVE_CONVERGED */
    /* ||b - (A + c I) x|| / ||b|| of the x returned, by a product of its own; 0 for b = 0 */
    double residual;
    /* Smallest d . (A + c I) d / ||d||^2 over the directions searched: an upper bound of the
     * smallest eigenvalue of A + c I, negative exactly where that is known to be negative; NaN for
     * b = 0 */
    double curvature;
    size_t steps; /* of the conjugate gradients, all restarts together */
    size_t products;
} gm_solve_result;

/* Memory that gm_solve takes beside the operator's own, in bytes: 3 size doubles (x, the caller's,
 * is the fourth). SIZE_MAX where it does not fit a size_t. */
size_t gm_solve_bytes(size_t size);

/* x [size] = (A + c I)^{-1} b by conjugate gradients from x = 0 (Hestenes and Stiefel 1952); b
 * [size], not x. One product a step, at most as many steps as A has distinct eigenvalues but for
 * rounding, of the order of sqrt(condition) log(1/tol) otherwise. Whatever the recursion says, the
 * residual is computed from x by a product at the end, and conjugate gradients start anew from it
 * as long as that halves it. A + c I must be positive semidefinite with b in its range: what is met
 * to the contrary ends the iteration and is a result, not an error, as is running out of products;
 * x is then the last iterate and residual says what it is worth. Non-symmetric operators are
 * nothing gm_operator describes; the residual would show them too.
 *
 * GM_ERR_USAGE for options out of range (a tol below eps of the products names that floor),
 * GM_ERR_INPUT where b holds NaN or infinity (the first index is named), GM_ERR_NUMERIC where x
 * is beyond the range of a double; errors of gm_operator_apply; GM_ERR_MEMORY. */
gm_status gm_solve(gm_operator *op, const double *b, const gm_solve_options *options, double *x,
                   gm_solve_result *result, gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
