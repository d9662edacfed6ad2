/* From argv to a status: finds the command, has its options parsed and runs it. What the programs
 * gradiometer and gradiometer-mpi have in common; each has a main of its own. */
#ifndef GM_CLI_PROGRAM_H
#define GM_CLI_PROGRAM_H

#include "cli/cli.h"

typedef struct gm_program {
    const char *name;                  /* as messages name it */
    const gm_command *const *commands; /* in the order of the help, ended by NULL */
    double start;                      /* gm_program_clock() when the program began */
    const char *note;                  /* what the start-up has to say; "" for nothing */
    const gm_team *team;               /* whose rank this process is; NULL: it is alone */
    const gm_row_solver *row_solver;   /* NULL: there is none */
} gm_program;

/* The commands of gradiometer. */
extern const gm_command *const gm_program_commands[];

/* Seconds of the monotonic clock. */
double gm_program_clock(void);

/* The whole of gradiometer, one process: returns its exit status, and where that is not 0 has
 * printed one line on stderr. */
int gm_program_alone(int argc, char **argv);

/* argc >= 2. Whatever can fail has its one line in err. */
gm_status gm_program_run(const gm_program *program, int argc, char **argv, gm_error *err);

#endif
