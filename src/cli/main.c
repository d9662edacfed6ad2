/* The program: finds the command, has its options parsed, runs it, and turns its status into the
 * exit status and, where it failed, one line on stderr. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/frame.h"
#include "cli/startup.h"
#include "gradiometer/version.h"

/* In the order of the help; ended by NULL. */
static const gm_command *const commands[] = {
    &gm_command_data,
    &gm_command_train,
    &gm_command_spectrum,
    &gm_command_decompose,
    &gm_command_dynamics,
    &gm_command_bound,
    &gm_command_landscape,
    &gm_command_report,
    &gm_command_export,
    &gm_command_bench,
    NULL,
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* NULL with err recorded where there is none of that name. */
static const gm_command *find_command(const char *name, gm_error *err)
{
    for (size_t i = 0; commands[i]; i++) {
        if (strcmp(name, commands[i]->name) == 0) return commands[i];
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

static gm_status run_command(const gm_command *command, int argc, char **argv, double start,
                             const char *note, gm_error *err)
{
    gm_cli cli;
    bool help = false;
    gm_status status = gm_cli_create(command, start, &cli, err);
    if (status == GM_OK) status = gm_cli_parse(&cli, argc, argv, &help, err);
    if (status == GM_OK && help) {
        gm_help_command(stdout, &cli);
    } else if (status == GM_OK) {
        if (*note) gm_cli_note(&cli, "%s", note);
        status = command->run(&cli, err);
        if (status == GM_OK) gm_cli_begin(&cli);
    }
    gm_cli_free(&cli);
    return status;
}

static gm_status help_command(int argc, char **argv, gm_error *err)
{
    if (argc < 3) {
        gm_help_program(stdout, commands);
        return GM_OK;
    }
    if (argc > 3) {
        return gm_fail(err, GM_ERR_USAGE, "'%s': no argument expected after 'help %s'", argv[3],
                       argv[2]);
    }
    const gm_command *command = find_command(argv[2], err);
    if (!command) return GM_ERR_USAGE;
    gm_cli cli;
    gm_status status = gm_cli_create(command, 0, &cli, err);
    if (status == GM_OK) gm_help_command(stdout, &cli);
    gm_cli_free(&cli);
    return status;
}

static gm_status dispatch(int argc, char **argv, double start, const char *note, gm_error *err)
{
    const char *word = argv[1];
    if (strcmp(word, "help") == 0) return help_command(argc, argv, err);
    if (strcmp(word, "--help") == 0) return help_command(2, argv, err);
    if (strcmp(word, "--version") == 0) {
        printf("gradiometer %s\n", gm_version());
        return GM_OK;
    }
    const gm_command *command = find_command(word, err);
    if (!command) return GM_ERR_USAGE;
    return run_command(command, argc - 1, argv + 1, start, note, err);
}

int main(int argc, char **argv)
{
    double start = now();
    gm_error err = {0};
    if (argc < 2) {
        gm_help_program(stderr, commands);
        return gm_status_exit(GM_ERR_USAGE);
    }
    const char *note = "";
    gm_status status = gm_cli_startup(argv, &note, &err);
    if (status == GM_OK) status = dispatch(argc, argv, start, note, &err);
    if (status == GM_OK) status = flush_output(&err);
    if (status != GM_OK) fprintf(stderr, "gradiometer: %s\n", err.message);
    return gm_status_exit(status);
}
