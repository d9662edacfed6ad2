/* Eigenpairs from one run of Lanczos' method, without restarts. */
#ifndef GM_SPECTRUM_KRYLOV_H
#define GM_SPECTRUM_KRYLOV_H

#include "gradiometer/eigen.h"
#include "spectrum/lanczos.h"

/* An operator whose products with one Krylov basis are counted; the two first ones tell whether it
 * is symmetric. */
typedef struct gm_krylov_watch {
    gm_operator *op;
    const gm_lanczos *lanczos;
    double *image;  /* [size] A v_0; may be the last row of the basis */
    double largest; /* of ||A v|| / ||v|| */
    size_t products;
} gm_krylov_watch;

/* watched = watch->op with the watch. watch must outlive it. */
void gm_krylov_watch_operator(gm_krylov_watch *watch, gm_operator *watched);

/* The pairs that `options` asks for from at most `steps` steps, looked at from step `least` on;
 * *done where they have converged and the products of their vectors say so too: result is made
 * then. Else result->products and ->blocks alone are set, to what was spent. An invariant space
 * that is met on the way is left to others (of a repeated value it holds one vector), and so is the
 * zero operator. Cost: the steps, and where T says that the pairs have converged one product more,
 * k more where that does not bear out what the steps say of it. Errors of gm_eigenpairs. */
gm_status gm_eigen_krylov(gm_operator *op, const gm_eigen_options *options, size_t steps,
                          size_t least, gm_eigen *result, bool *done, gm_error *err);

#endif
