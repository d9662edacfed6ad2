/* The self-test over functions of the caller's choice, so that a test can hand it a broken one. */
#ifndef GM_KERNELS_SELFTEST_H
#define GM_KERNELS_SELFTEST_H

#include "gradiometer/selftest.h"
#include "kernels/kernels.h"

typedef struct gm_selftest_functions {
    const gm_kernels *kernels[2]; /* by gm_dtype */
    gm_status (*eigen)(size_t n, double *a, size_t top, size_t bottom, double *value,
                       double *vector, gm_error *err); /* gm_symmetric_eigen */
} gm_selftest_functions;

/* What gm_selftest does, with these functions. */
gm_status gm_selftest_run(const gm_selftest_functions *functions, gm_error *err);

#endif
