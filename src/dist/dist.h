/* Ranks over MPI: the team that the rooms below compute with, the check that all ranks were started
 * alike, and the end of a job that one rank may have spoiled. MPI is known in this room alone. */
#ifndef GM_DIST_DIST_H
#define GM_DIST_DIST_H

#include <stdbool.h>

#include "gradiometer/status.h"
#include "gradiometer/team.h"

typedef struct gm_dist gm_dist;

/* Starts MPI; *dist has a team of all ranks. A broken link ends the job, so that nothing the team
 * does can fail. GM_ERR_DEPENDENCY, GM_ERR_MEMORY. */
gm_status gm_dist_start(int *argc, char ***argv, gm_dist **dist, gm_error *err);
const gm_team *gm_dist_team(const gm_dist *dist);

/* A team of the first `ranks` of them; NULL at the others. Called by all; freed by gm_dist_free. */
gm_status gm_dist_part(const gm_dist *whole, int ranks, gm_dist **part, gm_error *err);
void gm_dist_free(gm_dist *dist); /* accepts NULL */
/* Waits for all ranks, asleep: leaves the processors to those that work. */
void gm_dist_rest(const gm_dist *dist);

/* Seconds that the team's calls took since the last clearing: waiting for the last rank to come,
 * and after it. Measured, by a barrier before each call, only while gm_dist_measure is on. */
typedef struct gm_dist_times {
    double wait, exchange;
    size_t calls;
} gm_dist_times;
void gm_dist_measure(gm_dist *dist, bool on);
gm_dist_times gm_dist_times_since(gm_dist *dist);

/* GM_ERR_USAGE, GM_ERR_DEPENDENCY, with the same line at all ranks, where one was started with
 * other options than rank 0 or computes with other kernels. */
gm_status gm_dist_check_alike(const gm_dist *dist, int argc, char **argv, gm_error *err);

/* Every rank comes here last, with the status of its work and the one line in err where it failed.
 * Where all fail alike that line is printed once, after `program`; where one does, it is printed
 * with the rank's number, and ranks still at work are ended a few seconds later. Ends MPI; returns
 * the exit status. */
int gm_dist_end(gm_dist *dist, const char *program, gm_status status, const gm_error *err);

#endif
