/* What happens before the first product of a process: the self-test of the matrix kernels and,
 * where it fails or where idle threads would spin, a re-execution with the setting that helps. */
#ifndef GM_CLI_STARTUP_H
#define GM_CLI_STARTUP_H

#include <stdbool.h>

#include "gradiometer/status.h"

/* To be called first in main, before any thread is started. Runs gm_selftest. Where it fails and
 * the user has not set OPENBLAS_CORETYPE, executes the program again with
 * OPENBLAS_CORETYPE=Haswell: the library has long chosen its kernels when main runs, so that
 * setting the variable alone would do nothing. Where the user has set neither OMP_WAIT_POLICY nor
 * GOMP_SPINCOUNT, executes it again with GOMP_SPINCOUNT=1000, for the same reason: threads that
 * spin for long while they wait stall a program as soon as another one wants the processors (all
 * eigenvalues of a matrix of order 2770 on two busy processors: 24 s, against 6 s so and 4 s with
 * OMP_WAIT_POLICY=passive), and threads that sleep at once waste an idle machine (there 1.7 s,
 * against 0.57 s so and with active waiting). Each happens
 * once at most; the guard variable GRADIOMETER_REEXEC stops a loop and says what was done. It is
 * removed again at the end, so that programs started from here are judged afresh, while the
 * settings stay for them.
 *
 * *note is a sentence for the user on what was set, else "". GM_ERR_KERNEL names the failing kernel
 * and the setting where the test fails for good; the caller must not compute on. GM_ERR_USAGE for a
 * GRADIOMETER_ISA that does not exist here. Some 15 ms warm, 60 ms of processor time cold: where
 * GRADIOMETER_SELFTEST=passed, what starts a program again and again has run the test itself, on
 * this machine and with these settings, and it is left out. */
gm_status gm_cli_startup(char **argv, const char **note, gm_error *err);

/* The same with another self-test, for the test of this file. */
gm_status gm_cli_startup_with(gm_status (*selftest)(gm_error *err), char **argv, const char **note,
                              gm_error *err);

#endif
