/* The program gradiometer-mpi: every rank runs the command, rank 0 alone prints and writes. */
#include <stdio.h>

#include "cli/frame.h"
#include "cli/interrupt.h"
#include "cli/program.h"
#include "cli/startup.h"
#include "cli/study.h"
#include "dist/bench.h"
#include "dist/dist.h"
#include "dist/solver.h"

enum { GM_MOST_COMMANDS = 32 };

/* Those of gradiometer, but for the bench. */
static const gm_command *const *rank_commands(const gm_command *room[GM_MOST_COMMANDS])
{
    size_t i = 0;
    for (; gm_program_commands[i] && i < GM_MOST_COMMANDS - 1; i++) {
        room[i] = gm_program_commands[i];
        if (room[i] == &gm_command_bench) room[i] = &gm_command_rank_bench;
    }
    room[i] = NULL;
    return room;
}

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
    gm_status done = gm_program_run(program, argc, argv, err);
    /* What is asked of a rank that waits for the others is asked of these too. */
    if (gm_team_rank(program->team) > 0) gm_interrupt_install();
    return done;
}

int main(int argc, char **argv)
{
    const gm_command *room[GM_MOST_COMMANDS];
    gm_program program = {.name = "gradiometer-mpi",
                          .commands = rank_commands(room),
                          .start = gm_program_clock(),
                          .note = ""};
    gm_error err = {0}, early = {0};
    gm_dist *dist = NULL;
    if (gm_study_is_cell()) return gm_program_alone(argc, argv); /* no rank, but a rank's child */
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
