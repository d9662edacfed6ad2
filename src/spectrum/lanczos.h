/* Lanczos tridiagonalization with full reorthogonalization: A V = V T + beta_m v_{m+1} e_m^T, rows
 * of V orthonormal to rounding, T tridiagonal. */
#ifndef GM_SPECTRUM_LANCZOS_H
#define GM_SPECTRUM_LANCZOS_H

#include <stdbool.h>

#include "gradiometer/operator.h"

typedef struct gm_lanczos gm_lanczos;
struct gm_lanczos {
    size_t size, steps;         /* steps at most */
    size_t known;               /* rows of known_vector [known, size], orthonormal, the caller's */
    const double *known_vector; /* everything happens on their complement */
    double *basis;              /* [steps + 1, size]; orthonormal in rows 0 ... taken - 1; the row
                                   after them is beta_m v_{m+1} */
    double *alpha, *beta;       /* [steps] diagonal of T; beta[j]: length of what step j left */
    size_t taken;               /* steps until breakdown, where the last beta is exactly 0 */
    double norm;                /* lower bound of ||A||: only grows, over all runs */
    size_t sweeps;              /* over the basis so far (two readings each), in all runs */
    /* NULL, or [steps, steps + 1]: A v_j = sum_i image[j, i] v_i as the product was taken, to
     * rounding in double (its last vector of unit length); of a run without known vectors. */
    double *image;
    /* Asked after each step: true in *enough ends the run. Where the step's row of T is not swept
     * yet (every second one, as a rule), it is before the question is asked again. May be NULL. */
    gm_status (*stop)(const gm_lanczos *l, void *context, bool *enough, gm_error *err);
    void *context;
    double *product; /* [2, known + steps + 1] workspaces */
    double *part;    /* [pieces, 2 (known + steps + 1) + 3] */
};

/* Cost in memory: (steps + 1) size doubles. *l is for gm_lanczos_free in any case. */
gm_status gm_lanczos_make(size_t size, size_t steps, size_t known, const double *known_vector,
                          gm_lanczos *l, gm_error *err);
/* Runs from now on keep the image: steps^2 doubles. */
gm_status gm_lanczos_keep_image(gm_lanczos *l, gm_error *err);
void gm_lanczos_free(gm_lanczos *l);

/* Runs from row 0 of the basis, whose part outside the known vectors is made a unit vector first
 * (it must have one). Breakdown: an off-diagonal below the rounding of the products times
 * sqrt(steps). Cost: a product per step, and every second step two readings of the basis so
 * far; where a step lost more than half of its length to rounding, up to four each. The result does
 * not depend on the threads. */
gm_status gm_lanczos_run(gm_operator *op, gm_lanczos *l, gm_error *err);

/* What the products say of x = s V, s [taken]: A x = entry V', V' the taken + 1 rows of the basis
 * as they stand; entry[taken] = 0 after breakdown. The run must have kept the image. */
void gm_lanczos_image(const gm_lanczos *l, const double *s, double *entry);

/* ||A x - value x|| by the same products. */
double gm_lanczos_residual(const gm_lanczos *l, double value, const double *s);

#endif
