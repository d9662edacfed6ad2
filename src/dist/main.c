/* The program gradiometer-mpi: every rank runs the command, rank 0 alone prints and writes. */
#include <stdio.h>

#include "cli/frame.h"
#include "cli/program.h"
#include "cli/startup.h"
#include "dist/dist.h"
#include "dist/solver.h"

/* Nobody but rank 0 has anything to say. */
static gm_status be_silent(gm_error *err)
{
    if (freopen("/dev/null", "w", stdout)) return GM_OK;
    return gm_fail(err, GM_ERR_IO, "/dev/null cannot be opened");
}

static gm_status run(const gm_dist *dist, gm_program *program, int argc, char **argv, gm_error *err)
{
    gm_status status = GM_OK;
    program->team = gm_dist_team(dist);
    program->row_solver = gm_dist_row_solver();
    if (gm_team_rank(program->team) > 0) status = be_silent(err);
    if (status == GM_OK) status = gm_dist_check_alike(dist, argc, argv, err);
    if (status != GM_OK) return status;
    if (argc < 2) {
        gm_help_program(stdout, program->commands);
        return gm_fail(err, GM_ERR_USAGE, "no command, expected one of those above");
    }
    return gm_program_run(program, argc, argv, err);
}

int main(int argc, char **argv)
{
    gm_program program = {.name = "gradiometer-mpi",
                          .commands = gm_program_commands,
                          .start = gm_program_clock(),
                          .note = ""};
    gm_error err = {0}, early = {0};
    gm_dist *dist = NULL;
    /* Before MPI: it may start the program again. */
    gm_status begun = gm_cli_startup(argv, &program.note, &early);
    gm_status status = gm_dist_start(&argc, &argv, &dist, &err);
    if (status == GM_OK && begun != GM_OK) {
        status = begun;
        err = early;
    }
    if (status == GM_OK) status = run(dist, &program, argc, argv, &err);
    return gm_dist_end(dist, program.name, status, &err);
}
