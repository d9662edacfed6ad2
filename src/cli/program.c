#include "cli/program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/frame.h"
#include "cli/startup.h"
#include "cli/study.h"
#include "gradiometer/version.h"

const gm_command *const gm_program_commands[] = {
    &gm_command_data,     &gm_command_train,  &gm_command_spectrum,  &gm_command_decompose,
    &gm_command_dynamics, &gm_command_bound,  &gm_command_landscape, &gm_command_study,
    &gm_command_report,   &gm_command_export, &gm_command_bench,     NULL,
};

double gm_program_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* NULL with err recorded where there is none of that name. */
static const gm_command *find_command(const gm_program *program, const char *name, gm_error *err)
{
    for (size_t i = 0; program->commands[i]; i++) {
        if (strcmp(name, program->commands[i]->name) == 0) return program->commands[i];
    }
    gm_fail(err, GM_ERR_USAGE,
            "'%s': no such command, expected one that 'gradiometer --help' lists", name);
    return NULL;
}

/* Buffered output that could not be written is a failure like any other. */
static gm_status flush_output(gm_error *err)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return GM_OK;
    return gm_fail(err, GM_ERR_IO, "standard output cannot be written: %s",
                   strerror(errno ? errno : EIO));
}

/* Who works: all ranks on a command that is shared, else rank 0, for which there is no team then.
 * The others keep silent. False for a rank that has nothing to do. */
static bool take_part(gm_cli *cli, const gm_team *team)
{
    bool first = gm_team_rank(team) == 0;
    if (gm_team_size(team) == 1) return true;
    cli->sharing = cli->command->sharing ? cli->command->sharing(cli) : GM_SHARING_NONE;
    if (!first) {
        cli->shared.quiet = true;
        cli->shared.verbose = false;
        cli->silent = true;
    }
    if (cli->sharing != GM_SHARING_NONE) {
        cli->team = team;
        gm_cli_note(cli, "%d ranks: %s", team->size, gm_sharing_text(cli->sharing));
        return true;
    }
    gm_cli_note(cli, "%d ranks: rank 0 works alone, since this has no parts to share out",
                team->size);
    return first;
}

static gm_status run_command(const gm_program *program, const gm_command *command, int argc,
                             char **argv, gm_error *err)
{
    gm_cli cli;
    bool help = false;
    gm_status status = gm_cli_create(command, program->start, &cli, err);
    if (status == GM_OK) status = gm_cli_parse(&cli, argc, argv, &help, err);
    if (status == GM_OK && help) {
        gm_help_command(stdout, &cli);
    } else if (status == GM_OK && take_part(&cli, program->team)) {
        cli.row_solver = program->row_solver;
        if (*program->note) gm_cli_note(&cli, "%s", program->note);
        if (command->check) status = command->check(&cli, err);
        if (status == GM_OK) status = command->run(&cli, err);
        if (status == GM_OK) gm_cli_begin(&cli);
    }
    gm_cli_free(&cli);
    return status;
}

static gm_status help_command(const gm_program *program, int argc, char **argv, gm_error *err)
{
    if (argc < 3) {
        gm_help_program(stdout, program->commands);
        return GM_OK;
    }
    if (argc > 3) {
        return gm_fail(err, GM_ERR_USAGE, "'%s': no argument expected after 'help %s'", argv[3],
                       argv[2]);
    }
    const gm_command *command = find_command(program, argv[2], err);
    if (!command) return GM_ERR_USAGE;
    gm_cli cli;
    gm_status status = gm_cli_create(command, 0, &cli, err);
    if (status == GM_OK) gm_help_command(stdout, &cli);
    gm_cli_free(&cli);
    return status;
}

static gm_status dispatch(const gm_program *program, int argc, char **argv, gm_error *err)
{
    const char *word = argv[1];
    if (strcmp(word, "help") == 0) return help_command(program, argc, argv, err);
    if (strcmp(word, "--help") == 0) return help_command(program, 2, argv, err);
    if (strcmp(word, "--version") == 0) {
        printf("%s %s\n", program->name, gm_version());
        return GM_OK;
    }
    const gm_command *command = find_command(program, word, err);
    if (!command) return GM_ERR_USAGE;
    return run_command(program, command, argc - 1, argv + 1, err);
}

gm_status gm_program_run(const gm_program *program, int argc, char **argv, gm_error *err)
{
    gm_status status = dispatch(program, argc, argv, err);
    return status == GM_OK ? flush_output(err) : status;
}

int gm_program_alone(int argc, char **argv)
{
    gm_program program = {.name = "gradiometer",
                          .commands = gm_program_commands,
                          .start = gm_program_clock(),
                          .note = ""};
    gm_error err = {0};
    if (argc < 2) {
        gm_help_program(stderr, program.commands);
        return gm_status_exit(GM_ERR_USAGE);
    }
    if (!gm_study_follow_parent()) return gm_status_exit(GM_ERR_INTERRUPTED);
    gm_status status = gm_cli_startup(argv, &program.note, &err);
    if (status == GM_OK) status = gm_program_run(&program, argc, argv, &err);
    if (status != GM_OK) fprintf(stderr, "%s: %s\n", program.name, err.message);
    return gm_status_exit(status);
}
