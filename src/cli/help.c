/* Help texts, printed from the tables that parse; in the form that help2man turns into pages. */
#include <string.h>

#include "cli/frame.h"

enum { WIDTH = 79, OPTION_COLUMN = 28 };

/* Prints text in lines of at most WIDTH columns, each indented, the first one starting at column
 * `at` (where the cursor stands). "\n\n" ends a paragraph. */
static void print_wrapped(FILE *out, const char *text, int indent, int at)
{
    int column = at;
    while (*text) {
        if (*text == '\n') {
            fputs("\n\n", out);
            column = 0;
            text += strspn(text, "\n ");
            continue;
        }
        int word = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + word > WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        if (column > indent) {
            fputc(' ', out);
            column++;
        } else {
            fprintf(out, "%*s", indent - column, "");
            column = indent;
        }
        fwrite(text, 1, (size_t)word, out);
        column += word;
        text += word;
        text += *text == ' ';
    }
    fputc('\n', out);
}

static void print_option(FILE *out, char letter, const char *name, const char *argument,
                         const char *help)
{
    int column =
        letter ? fprintf(out, "  -%c, --%s", letter, name) : fprintf(out, "      --%s", name);
    if (argument) column += fprintf(out, "=%s", argument);
    if (column > OPTION_COLUMN - 2) {
        fputc('\n', out);
        column = 0;
    }
    print_wrapped(out, help, OPTION_COLUMN, column);
}

void gm_help_command(FILE *out, const gm_cli *cli)
{
    const gm_command *command = cli->command;
    fprintf(out, "Usage: gradiometer %s %s\n\n", command->name, command->usage);
    print_wrapped(out, command->description, 0, 0);
    fputs("\nOptions:\n", out);
    for (size_t i = 0; i < cli->entries; i++) {
        const gm_option *o = &cli->entry[i].option;
        print_option(out, o->letter, o->name, o->argument, o->help);
    }
    print_option(out, 0, "help", NULL, "Print this help.");
    fputs("\nExit status: 0 success; 1 the computation failed; 2 bad usage or bad input.\n", out);
    fprintf(out, "\nExamples:\n%s", command->examples);
}

void gm_help_program(FILE *out, const gm_command *const *command)
{
    fputs("Usage: gradiometer COMMAND [OPTION]...\n"
          "  or:  gradiometer help COMMAND\n"
          "  or:  gradiometer --version\n\n",
          out);
    print_wrapped(
        out,
        "Surveys the loss of a deep net: its Hessian, the second moment of its stochastic "
        "gradients and what they have in common, the dynamics of SGD that follow from them, and a "
        "bound on the error on new samples.",
        0, 0);
    fputs("\nCommands:\n", out);
    for (size_t i = 0; command[i]; i++) {
        fprintf(out, "  %-12s%s\n", command[i]->name, command[i]->summary);
    }
    fputs("\n'gradiometer help COMMAND' prints the options of a command with an example.\n", out);
}
