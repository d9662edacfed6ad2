/* Vectors that are split over the ranks of a team by rows, each rank holding its share
 * (gm_team_share) of the entries of each: what eigensolvers on many machines keep their bases in.
 * All ranks call the functions below together. */
#ifndef GM_SPECTRUM_ROWS_H
#define GM_SPECTRUM_ROWS_H

#include <stddef.h>

#include "gradiometer/eigen.h"
#include "gradiometer/operator.h"
#include "gradiometer/team.h"

typedef struct gm_rows {
    const gm_team *team;
    size_t size;         /* of a whole vector */
    size_t first, count; /* this rank's rows */
} gm_rows;

gm_rows gm_rows_of(const gm_team *team, size_t size);

/* x . y and the norm of x over all ranks; x, y [count]. */
double gm_rows_dot(const gm_rows *rows, const double *x, const double *y);
double gm_rows_norm(const gm_rows *rows, const double *x);

/* The share mine [count] of a vector on its way to rank 0, which takes the whole in ascending
 * order, a megabyte at a time; the other ranks' take is not called. What take returns on rank 0
 * every rank returns, the message being rank 0's. */
typedef gm_status gm_rows_taker(void *context, size_t count, const double *values, gm_error *err);
gm_status gm_rows_deliver(const gm_rows *rows, const double *mine, gm_rows_taker *take,
                          void *context, gm_error *err);

/* *whole [count, size] on every rank, the caller's, from the shares mine [count, rows]. */
gm_status gm_rows_whole(const gm_rows *rows, size_t count, const double *mine, double **whole,
                        gm_error *err);

/* ---- products ---- */

typedef struct gm_row_product {
    gm_rows rows;
    gm_operator *op; /* the caller's; all ranks apply it together */
    double *v, *av;  /* [size] the whole vectors of the product in hand; NULL with apply_share */
    size_t products; /* taken so far */
    double largest;  /* of ||A v|| / ||v||, at most |lambda|_max */
    /* A pair u, A u [count each], the caller's, against which the next product is held: NULL
     * without, and once that is done. */
    const double *u, *au;
} gm_row_product;

/* Memory: two whole vectors, where the operator does not take shares. *product is for
 * gm_row_product_free in any case. */
gm_status gm_row_product_make(const gm_team *team, gm_operator *op, gm_row_product *product,
                              gm_error *err);
void gm_row_product_free(gm_row_product *product);

/* av = A v, both [count]. What fails on one rank fails on all. GM_ERR_INPUT where u.Av = v.Au
 * fails; else the errors of gm_operator_apply. Cost: a product, one vector gathered. */
gm_status gm_row_product_apply(gm_row_product *product, const double *v, double *av, gm_error *err);

/* residual[j] = ||A v_j - value_j v_j|| of count vectors [count, rows]: as many products. */
gm_status gm_row_residuals(gm_row_product *product, size_t count, const double *value,
                           const double *vector, double *residual, gm_error *err);

/* ---- solvers ---- */

/* A way to the eigenpairs of operators whose Krylov vectors are more than one machine holds. The
 * library has none: src/dist has one by SLEPc. */
typedef struct gm_row_solver {
    const char *name;
    size_t (*most)(void); /* largest size of an operator; solve refuses larger ones with
                             GM_ERR_DEPENDENCY */
    /* k extreme pairs as gm_eigenpairs gives them, from nothing (start_count = 0) or near the span
     * of start [start_count, rows]; but result->vector is [count, rows], this rank's share of
     * each. The same in everything else on all ranks. */
    gm_status (*solve)(const gm_team *team, gm_operator *op, const gm_eigen_options *options,
                       size_t start_count, const double *start, gm_eigen *result, gm_error *err);
    /* What that takes at its peak on the rank that has most, in bytes, the result included; beside
     * the start, what the operator takes for itself, and two whole vectors where it does not take
     * shares. SIZE_MAX where the sum overflows. */
    size_t (*bytes)(const gm_team *team, size_t size, const gm_eigen_options *options,
                    size_t start_count);
} gm_row_solver;

#endif
