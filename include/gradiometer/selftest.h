/* Self-test of the matrix kernels that this process has loaded. */
#ifndef GRADIOMETER_SELFTEST_H
#define GRADIOMETER_SELFTEST_H

#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Checks the matrix products in both precisions (odd sizes, all transpositions, sizes beyond the
 * blocking) and one small eigenproblem against plain loops; a few milliseconds. Some packaged BLAS
 * builds miscompute on newer processors: call it before the first product and do not compute on
 * where it fails. Returns GM_OK, or GM_ERR_KERNEL with the kernel, the size and the error found,
 * and the setting (OPENBLAS_CORETYPE=Haswell) that helps. The program re-executes itself once with
 * that setting; the library never does. */
gm_status gm_selftest(gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
