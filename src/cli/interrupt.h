/* Ctrl-C: the first one asks the running computation to finish its step, the second one kills. */
#ifndef GM_CLI_INTERRUPT_H
#define GM_CLI_INTERRUPT_H

#include <stdbool.h>

/* Installs the handler of SIGINT and SIGTERM; called by a command that asks
 * gm_interrupt_requested between steps, right before its computation. Elsewhere the first Ctrl-C
 * ends the program. */
void gm_interrupt_install(void);
/* The stop callback of long-running library calls: true after the first Ctrl-C. The argument is
 * ignored. */
bool gm_interrupt_requested(void *unused);

#endif
