/* What happens before the first product of a process: the self-test of the matrix kernels and,
 * where it fails, one re-execution with the setting that helps. */
#ifndef GM_CLI_STARTUP_H
#define GM_CLI_STARTUP_H

#include <stdbool.h>

#include "gradiometer/status.h"

/* To be called first in main, before any thread is started. Runs gm_selftest. Where it fails, the
 * user has not set OPENBLAS_CORETYPE and this process is not itself the second start, executes the
 * program again with OPENBLAS_CORETYPE=Haswell (and the guard variable GRADIOMETER_REEXEC=1, which
 * stops a loop) and does not return: the library has long chosen its kernels when main runs, so
 * that setting the variable alone would do nothing. In the second start the guard is removed again,
 * so that programs started from here are judged afresh, while OPENBLAS_CORETYPE stays for them.
 *
 * *note is a sentence for the user where kernels were switched, else "". GM_ERR_KERNEL names the
 * failing kernel and the setting where the test fails for good; the caller must not compute on.
 * GM_ERR_USAGE for a GRADIOMETER_ISA that does not exist here. A few milliseconds. */
gm_status gm_cli_startup(char **argv, const char **note, gm_error *err);

/* The same with another self-test, for the test of this file. */
gm_status gm_cli_startup_with(gm_status (*selftest)(gm_error *err), char **argv, const char **note,
                              gm_error *err);

#endif
