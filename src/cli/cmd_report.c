/* gradiometer report: one HTML page from run files, or its figures as files. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/study_operands.h"
#include "gradiometer/report.h"
#include "study/folder.h"

enum { NO_FIGURES = -1 };

typedef struct settings {
    const char *output;
    int figures; /* gm_report_format, or NO_FIGURES */
    const char *folder;
} settings;

static const settings defaults = {.figures = NO_FIGURES};

static const char default_page[] = "report.html";
static const char *const format_words[] = {"pdf", "png", "svg", NULL};

static const gm_option options[] = {
    {"output", 'o', "FILE", "The page to write (default report.html).", gm_option_text,
     offsetof(settings, output), NULL, 0},
    {"figures", 0, "FORMAT",
     "Write the figures as files of their own, pdf, png or svg, and no page.", gm_option_choice,
     offsetof(settings, figures), format_words, 0},
    {"dir", 0, "D", "The folder for them, made where it is missing (with --figures).",
     gm_option_text, offsetof(settings, folder), NULL, 0},
    {0}};

/* The two forms exclude each other's options. */
static gm_status check(const settings *given, gm_error *err)
{
    if (given->figures == NO_FIGURES && given->folder)
        return gm_fail(err, GM_ERR_USAGE, "--dir: found no --figures, expected it with --dir");
    if (given->figures == NO_FIGURES)
        return gm_cli_check_writable("output", given->output ? given->output : default_page, err);
    if (!given->folder)
        return gm_fail(err, GM_ERR_USAGE,
                       "--figures: found no --dir, expected the folder to write to");
    if (given->output)
        return gm_fail(err, GM_ERR_USAGE,
                       "--output: is for the page, found with --figures, expected --dir alone");
    return GM_OK;
}

static gm_status write_page(const gm_cli *cli, gm_error *err)
{
    const settings *given = cli->settings;
    const char *page = given->output ? given->output : default_page;
    gm_status status =
        gm_report_write((size_t)cli->operands, (const char *const *)cli->operand, page, err);
    if (status == GM_OK && !cli->shared.quiet) {
        printf("%s: page about %d run%s\n", page, cli->operands, cli->operands == 1 ? "" : "s");
    }
    return status;
}

static gm_status write_figures(const gm_cli *cli, gm_error *err)
{
    const settings *given = cli->settings;
    static const gm_report_format format[] = {GM_REPORT_PDF, GM_REPORT_PNG, GM_REPORT_SVG};
    size_t written;
    gm_status status = gm_report_figures((size_t)cli->operands, (const char *const *)cli->operand,
                                         format[given->figures], given->folder, &written, err);
    if (status == GM_OK && !cli->shared.quiet) {
        printf("%s: %zu figure%s\n", given->folder, written, written == 1 ? "" : "s");
    }
    return status;
}

/* The folder of a study alone: its own pages, in it. */
static gm_status write_study(gm_cli *cli, gm_error *err)
{
    const settings *given = cli->settings;
    const char *folder = cli->operand[0];
    if (given->output)
        return gm_fail(err, GM_ERR_USAGE,
                       "--output: the pages of a study go to its folder, %s/index.html", folder);
    gm_interrupt_install();
    gm_status status = gm_report_study(folder, gm_interrupt_requested, NULL, err);
    if (status == GM_OK && !cli->shared.quiet) printf("%s/index.html: page of a study\n", folder);
    return status;
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    const settings *given = cli->settings;
    bool pages = given->figures == NO_FIGURES;
    if (pages && !given->folder && cli->operands == 1 && gm_study_is_folder(cli->operand[0]))
        return write_study(cli, err);
    gm_study_operands operands;
    gm_status status = gm_study_operands_open(cli, &operands, err);
    if (status == GM_OK) status = check(given, err);
    if (status == GM_OK) {
        gm_cli_begin(cli);
        status = pages ? write_page(cli, err) : write_figures(cli, err);
    }
    gm_study_operands_close(cli, &operands);
    return status;
}

const gm_command gm_command_report = {
    .name = "report",
    .summary = "one self-contained HTML page, or figure files, from a run file",
    .usage = "RUN.gmr|DIR... [OPTION]...",
    .description =
        "Writes one HTML page about one or several run files: what was trained, whether it "
        "converged and what the decomposition found, in sentences with their numbers; figures, "
        "those of recorded spectra included; tables; and the commands that repeat it. A slider "
        "(or the arrow keys) moves through what was measured at several steps of the training. "
        "The page stands alone: no network, no other files.\n\n"
        "Several run files are compared first: the settings that differ, their numbers side by "
        "side, and curves of all of them over one another.\n\n"
        "With --figures the same figures are written as files for papers and slides: "
        "D/density.pdf, say, or D/run2-density.pdf for the second of several run files and "
        "D/all-loss.pdf for all of them.\n\n"
        "The folder of a study stands for the run files of its finished cells; alone, it gets its "
        "own pages, DIR/index.html and one for each cell.\n\n"
        "The figures are drawn by gnuplot (Debian package gnuplot-nox).",
    .examples = "  gradiometer report run.gmr -o run.html\n"
                "  gradiometer report true.gmr random.gmr -o both.html\n"
                "  gradiometer report run.gmr --figures pdf --dir figures\n"
                "  gradiometer report out     # the folder of a study: out/index.html\n",
    .takes = 0,
    .options = options,
    .settings_size = sizeof(settings),
    .defaults = &defaults,
    .operands_min = 1,
    .operands_max = 1000,
    .run = run};
