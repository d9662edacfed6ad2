/* Ctrl-C: the first one asks the running computation to finish its step, the second one kills. */
#ifndef GM_CLI_INTERRUPT_H
#define GM_CLI_INTERRUPT_H

#include <stdbool.h>

#include "gradiometer/team.h"

/* Installs the handler of SIGINT, SIGTERM and SIGUSR1 (which MPI's launchers pass on to the ranks,
 * and batch systems send before a job's time is over); called by a command that asks
 * gm_interrupt_requested between steps, right before its computation. Elsewhere the first Ctrl-C
 * ends the program. */
void gm_interrupt_install(void);
/* The stop callback of long-running library calls: true after the first Ctrl-C. The argument is
 * ignored. */
bool gm_interrupt_requested(void *unused);

/* The same for ranks that work in step (a const gm_team *; NULL: this process alone): true at all
 * of them once one has been asked, so that they end after the same step. All ranks call it at the
 * same places, from the first thread; a number is sent each time. */
bool gm_interrupt_agreed(void *team);

#endif
