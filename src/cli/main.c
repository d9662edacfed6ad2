/* The program gradiometer: one process. Turns the status into the exit status and, where it failed,
 * one line on stderr. */
#include <stdio.h>

#include "cli/frame.h"
#include "cli/program.h"
#include "cli/startup.h"
#include "cli/study.h"

int main(int argc, char **argv)
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
