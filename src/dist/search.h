/* Inside of gm_dist_row_solver: one search for eigenpairs, from nothing (eigen.c) or from a start
 * (near.c). */
#ifndef GM_DIST_SEARCH_H
#define GM_DIST_SEARCH_H

#include <stdbool.h>

#include "spectrum/rows.h"

typedef struct gm_search {
    const gm_eigen_options *options;
    gm_row_product product;
    size_t basis;
    double tol;     /* the solver's */
    double typical; /* ||A x|| / ||x|| of the random start; from a start: |lambda|_max as seen */
    double *start;  /* [starts, rows], in own or in the result */
    size_t starts;
    double *own; /* what is freed; may be NULL */
    bool limited;
} gm_search;

/* The pairs asked for into result, descending; block: by LOBPCG, at one end. */
gm_status gm_search_ends(gm_search *s, bool block, gm_eigen *result, gm_error *err);
/* Residuals by true products, and the verdict. */
gm_status gm_search_conclude(gm_search *s, gm_eigen *result, gm_error *err);

/* The whole of a search near the span of start [start_count, rows], in a result that has room for
 * k pairs. */
gm_status gm_search_near(gm_search *s, size_t start_count, const double *start, gm_eigen *result,
                         gm_error *err);

#endif
