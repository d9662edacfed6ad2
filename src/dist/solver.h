/* The eigensolver of gradiometer-mpi, where it was built with one. */
#ifndef GM_DIST_SOLVER_H
#define GM_DIST_SOLVER_H

#include "spectrum/rows.h"

/* NULL: built without SLEPc. */
const gm_row_solver *gm_dist_row_solver(void);
/* Before MPI ends. */
void gm_dist_row_solver_end(void);

#endif
