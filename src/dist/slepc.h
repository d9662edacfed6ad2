/* One eigenproblem handed to SLEPc: the only place that knows it and PETSc. */
#ifndef GM_DIST_SLEPC_H
#define GM_DIST_SLEPC_H

#include <stdbool.h>

#include "spectrum/rows.h"

typedef struct gm_slepc_task {
    gm_row_product *product;
    gm_which which; /* all but GM_WHICH_BE */
    size_t k;       /* pairs wanted */
    size_t basis;   /* Krylov vectors held, k < basis <= size */
    bool block;     /* LOBPCG, of size >= 5 (k + GM_SLEPC_GUARDS), LA or SA; else Krylov-Schur */
    double tol;     /* of residuals, relative to max(|value|, *least) */
    const double *least;
    size_t max_products; /* with product; 0: no limit */
    size_t starts;
    double *start; /* [starts, rows]; Krylov-Schur takes the first alone */
    size_t deflated;
    double *deflate; /* [deflated, rows] orthonormal: the pairs are sought beside them */
    /* Out: what has converged by the solver's own residuals, descending. */
    size_t count;   /* <= k */
    double *value;  /* [k] */
    double *vector; /* [k, rows] orthonormal */
    bool limited;   /* max_products ended it */
} gm_slepc_task;

enum { GM_SLEPC_GUARDS = 3 }; /* vectors of LOBPCG beside those wanted */

/* Called by all ranks of the product's team. What SLEPc and PETSc report is one line in err; the
 * products' own errors pass through. Memory: gm_slepc_vectors(task) vectors of the rank's rows. */
gm_status gm_slepc_solve(gm_slepc_task *task, gm_error *err);
size_t gm_slepc_vectors(const gm_slepc_task *task);

/* The largest operator, by PETSc's integers: 2^31 - 1 as most are built. */
size_t gm_slepc_most(void);

/* Before MPI ends; nothing where SLEPc was never called. */
void gm_slepc_end(void);

#endif
