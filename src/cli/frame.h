/* What main needs of the frame and commands do not: building an invocation from argv, and help. */
#ifndef GM_CLI_FRAME_H
#define GM_CLI_FRAME_H

#include <stdio.h>

#include "cli/cli.h"

/* One line of the table that parses argv and prints the help. */
typedef struct gm_entry {
    gm_option option; /* a copy, so that shared and own options stand in one array */
    void *target;
    bool given;
} gm_entry;

/* The shared options that a command with these GM_TAKES_... bits has, in the order of the help:
 * writes at most `most` of them to option and returns how many there are. Offsets are into
 * gm_shared. */
size_t gm_shared_options(unsigned takes, size_t most, gm_option *option);
void gm_shared_default(gm_shared *shared);

/* Sets up cli for command with all defaults; the command's own options come first in the table.
 * gm_cli_free accepts what a failure left. */
gm_status gm_cli_create(const gm_command *command, double start, gm_cli *cli, gm_error *err);
/* Parses argv (argv[0] is the command's name). *help is set where --help was met, and parsing
 * stopped there. */
gm_status gm_cli_parse(gm_cli *cli, int argc, char **argv, bool *help, gm_error *err);
void gm_cli_free(gm_cli *cli);

/* The entry of a long name; NULL where the command has no such option. */
gm_entry *gm_cli_entry(const gm_cli *cli, const char *name);

/* Help of the program (command ended by NULL) and of one command, in the form that help2man reads.
 */
void gm_help_program(FILE *out, const gm_command *const *command);
void gm_help_command(FILE *out, const gm_cli *cli);

#endif
