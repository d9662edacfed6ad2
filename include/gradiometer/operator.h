/* A symmetric linear operator on R^size, known only by its products: the one thing that curvature
 * and spectrum share. Curvature makes them from a net; a user makes his own by filling the struct.
 */
#ifndef GRADIOMETER_OPERATOR_H
#define GRADIOMETER_OPERATOR_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/status.h"
#include "gradiometer/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gm_operator gm_operator;
struct gm_operator {
    size_t size; /* p */
    gm_dtype
        precision; /* of the products: sets the noise floor below which no tolerance makes sense */
    const char *name; /* for messages; owned by whoever made the operator, outlives it */
    void *self;       /* the maker's data */
    /* av[j] = A v[j] for the count vectors v [count, size], row-major; v and av do not overlap. */
    gm_status (*apply)(void *self, size_t count, const double *v, double *av, gm_error *err);
    void (*destroy)(void *self); /* may be NULL */
    size_t products;             /* number of vectors applied so far; kept by gm_operator_apply */
    /* May be NULL. The same for one vector of which each rank of the operator's team holds its
     * share (gm_team_share): v and av [share]. No whole vector of doubles is made. */
    gm_status (*apply_share)(void *self, const double *v, double *av, gm_error *err);
};

/* av = A v for a block of count vectors [count, size]. Cost: count products. GM_ERR_NUMERIC when a
 * product holds NaN or infinity (the message says which vector); otherwise whatever the operator's
 * own apply reports. */
gm_status gm_operator_apply(gm_operator *op, size_t count, const double *v, double *av,
                            gm_error *err);

/* Calls the maker's destroy; accepts NULL and a struct of zeros. The struct itself is the caller's.
 */
void gm_operator_destroy(gm_operator *op);

/* The dense symmetric matrix a [size, size], row-major, as an operator in double precision; a stays
 * the caller's and must outlive the operator. Cost of a product: 2 size^2 flops. */
gm_status gm_operator_dense(size_t size, const double *a, gm_operator *op, gm_error *err);

/* op = S A S with S = diag(scale), scale [size], finite, copied: symmetric where A = *inner is. Its
 * name is inner's after "preconditioned", its precision inner's. inner stays the caller's and must
 * outlive op; products count in both. Cost of a product: one with inner, two passes over the
 * vectors. GM_ERR_INPUT where scale holds NaN or infinity, naming the first index. */
gm_status gm_operator_scaled(gm_operator *inner, const double *scale, gm_operator *op,
                             gm_error *err);

/* op: the products of *inner, until stop(context) says true: then GM_ERR_INTERRUPTED, before a
 * product. Whatever solver has it in hand ends there. *watch is the caller's, as inner is, and must
 * outlive op; op needs no gm_operator_destroy. */
typedef struct gm_operator_watch {
    gm_operator *inner;
    bool (*stop)(void *context); /* NULL: never */
    void *context;
} gm_operator_watch;
void gm_operator_watched(gm_operator_watch *watch, gm_operator *op);

/* scale [size] = D^{-1/2} of a diagonal preconditioner D > 0, so that the operator above has the
 * eigenvalues of D^{-1} A (theory sections 3.4 and 3.5). GM_ERR_INPUT where an entry is zero,
 * negative, NaN or infinite, or so small or large that its inverse is not a number of this kind:
 * the message names the first index. scale may be diagonal. */
gm_status gm_precondition_scale(size_t size, const double *diagonal, double *scale, gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
