/* gradiometer report: one HTML page from run files. */
#include <stdio.h>

#include "cli/cli.h"
#include "gradiometer/report.h"

typedef struct settings {
    const char *output;
} settings;

static const settings defaults = {.output = "report.html"};

static const gm_option options[] = {{"output", 'o', "FILE",
                                     "The page to write (default report.html).", gm_option_text,
                                     offsetof(settings, output), NULL, 0},
                                    {0}};

static gm_status run(gm_cli *cli, gm_error *err)
{
    const settings *given = cli->settings;
    gm_status status = gm_cli_check_writable("output", given->output, err);
    if (status != GM_OK) return status;
    gm_cli_begin(cli);
    status = gm_report_write((size_t)cli->operands, (const char *const *)cli->operand,
                             given->output, err);
    if (status != GM_OK) return status;
    if (!cli->shared.quiet) {
        printf("%s: page about %d run%s\n", given->output, cli->operands,
               cli->operands == 1 ? "" : "s");
    }
    return GM_OK;
}

const gm_command gm_command_report = {
    .name = "report",
    .summary = "one self-contained HTML page, or figure files, from a run file",
    .usage = "RUN.gmr... [OPTION]...",
    .description =
        "Writes one HTML page about one or several run files: what was trained, whether it "
        "converged and what the decomposition found, in sentences with their numbers; figures; "
        "tables; and the commands that repeat it. The page stands alone: no network, no scripts, "
        "no other files.\n\n"
        "The figures are drawn by gnuplot (Debian package gnuplot-nox).",
    .examples = "  gradiometer report run.gmr -o run.html\n"
                "  gradiometer report true.gmr random.gmr -o both.html\n",
    .takes = 0,
    .options = options,
    .settings_size = sizeof(settings),
    .defaults = &defaults,
    .operands_min = 1,
    .operands_max = 1000,
    .run = run};
