/* From argv to a filled gm_cli, by one table per command that holds its own and the shared options.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/shell.h"
#include "cli/frame.h"

enum {
    MAX_SHARED = 64,
    HELP_CODE = 256, /* getopt_long's value for --help; option i of the table is FIRST_CODE + i */
    FIRST_CODE
};

/* ---- construction ---- */

static size_t count_own(const gm_command *command)
{
    size_t count = 0;
    while (command->options && command->options[count].name) {
        count++;
    }
    return count;
}

gm_status gm_cli_create(const gm_command *command, double start, gm_cli *cli, gm_error *err)
{
    *cli = (gm_cli){.command = command, .start = start};
    gm_shared_default(&cli->shared);
    cli->settings = gm_alloc(1, command->settings_size, "settings", err);
    if (!cli->settings) return GM_ERR_MEMORY;
    if (command->settings_size) memcpy(cli->settings, command->defaults, command->settings_size);

    gm_option shared[MAX_SHARED];
    size_t own = count_own(command);
    size_t common = gm_shared_options(command->takes, MAX_SHARED, shared);
    cli->entries = own + common;
    cli->entry = gm_alloc(cli->entries, sizeof *cli->entry, "options", err);
    if (!cli->entry) return GM_ERR_MEMORY;
    for (size_t i = 0; i < cli->entries; i++) {
        gm_entry *entry = cli->entry + i;
        entry->option = i < own ? command->options[i] : shared[i - own];
        char *base = i < own ? cli->settings : (char *)&cli->shared;
        entry->target = base + entry->option.offset;
    }
    return GM_OK;
}

void gm_cli_free(gm_cli *cli)
{
    for (size_t i = 0; i < cli->notes; i++) {
        gm_free(cli->note[i]);
    }
    gm_free(cli->note);
    gm_free(cli->entry);
    gm_free(cli->settings);
    gm_free(cli->line);
    memset(cli, 0, sizeof *cli);
}

static gm_status keep_line(gm_cli *cli, int argc, char **argv, gm_error *err)
{
    char *words = gm_shell_line((size_t)argc, (const char *const *)argv, err);
    if (words) cli->line = gm_format(err, "gradiometer %s", words);
    gm_free(words);
    return cli->line ? GM_OK : GM_ERR_MEMORY;
}

/* ---- parsing ---- */

static gm_status build_getopt(const gm_cli *cli, struct option **longs, char **shorts,
                              gm_error *err)
{
    *longs = gm_alloc(cli->entries + 2, sizeof **longs, "options", err);
    *shorts = gm_alloc(2 * cli->entries + 2, 1, "options", err);
    if (!*longs || !*shorts) return GM_ERR_MEMORY;
    char *s = *shorts;
    *s++ = ':'; /* a missing argument is told from an unknown option */
    for (size_t i = 0; i < cli->entries; i++) {
        const gm_option *o = &cli->entry[i].option;
        (*longs)[i] = (struct option){o->name, o->argument ? required_argument : no_argument, NULL,
                                      FIRST_CODE + (int)i};
        if (o->letter) *s++ = o->letter;
        if (o->letter && o->argument) *s++ = ':';
    }
    (*longs)[cli->entries] = (struct option){"help", no_argument, NULL, HELP_CODE};
    return GM_OK;
}

/* The option as typed, without "=VALUE": argv[optind - 1] right after getopt_long, or the word
 * before it where the argument stood alone. */
static void typed_option(char **argv, size_t size, char *name)
{
    const char *word = argv[optind - 1];
    if (optarg && optarg == word) word = argv[optind - 2];
    snprintf(name, size, "%.*s", (int)strcspn(word, "="), word);
}

/* The entry that the code from getopt_long stands for; NULL for --help and errors. */
static gm_entry *find_entry(const gm_cli *cli, int code)
{
    if (code >= FIRST_CODE) return cli->entry + (code - FIRST_CODE);
    for (size_t i = 0; i < cli->entries; i++) {
        if (code > 0 && code < HELP_CODE && cli->entry[i].option.letter == code) {
            return cli->entry + i;
        }
    }
    return NULL;
}

/* A prefix of a long option is refused like an unknown one: what is unambiguous today may not be
 * tomorrow, and scripts should not depend on it. */
static gm_status refuse_option(const gm_cli *cli, int code, char **argv, gm_error *err)
{
    char typed[128];
    typed_option(argv, sizeof typed, typed);
    bool is_long = strncmp(typed, "--", 2) == 0;
    if (!is_long) snprintf(typed, sizeof typed, "-%c", optopt);
    const gm_entry *entry = find_entry(cli, optopt);
    const char *name = entry ? entry->option.name : optopt == HELP_CODE ? "help" : "";
    bool whole = !is_long || strcmp(typed + 2, name) == 0;
    if (code == ':' && entry && whole) {
        return gm_fail(err, GM_ERR_USAGE, "%s: found no argument, expected %s", typed,
                       entry->option.argument);
    }
    if (code == '?' && is_long && whole) {
        return gm_fail(err, GM_ERR_USAGE, "%s: found an argument, expected none", typed);
    }
    return gm_fail(err, GM_ERR_USAGE,
                   "%s: no such option of '%s', expected one that 'gradiometer help %s' lists",
                   typed, cli->command->name, cli->command->name);
}

static gm_status take_option(gm_cli *cli, int code, char **argv, gm_error *err)
{
    gm_entry *entry = find_entry(cli, code);
    const gm_option *o = &entry->option;
    if (code >= FIRST_CODE) {
        char typed[128];
        typed_option(argv, sizeof typed, typed);
        if (strcmp(typed + 2, o->name) != 0) {
            return gm_fail(err, GM_ERR_USAGE,
                           "%s: found an abbreviation, expected the whole name (--%s?)", typed,
                           o->name);
        }
    }
    if (entry->given && o->argument) {
        return gm_fail(err, GM_ERR_USAGE, "--%s: found it twice, expected it once", o->name);
    }
    entry->given = true;
    return o->parse(o, optarg, entry->target, err);
}

static gm_status check_operands(const gm_cli *cli, gm_error *err)
{
    const gm_command *command = cli->command;
    if (cli->operands > command->operands_max) {
        return gm_fail(err, GM_ERR_USAGE,
                       "'%s': no argument expected here; usage: gradiometer %s %s",
                       cli->operand[command->operands_max], command->name, command->usage);
    }
    if (cli->operands < command->operands_min) {
        return gm_fail(err, GM_ERR_USAGE, "%s: found %d arguments, expected: gradiometer %s %s",
                       command->name, cli->operands, command->name, command->usage);
    }
    return GM_OK;
}

static gm_status check_contradictions(const gm_cli *cli, gm_error *err)
{
    if (cli->shared.verbose && cli->shared.quiet) {
        return gm_fail(err, GM_ERR_USAGE, "--quiet: found together with --verbose, expected one");
    }
    if (cli->shared.layer && cli->shared.each_layer) {
        return gm_fail(err, GM_ERR_USAGE, "--layers: found together with --layer, expected one");
    }
    const gm_shared *shared = &cli->shared;
    if (shared->watch && shared->params) {
        return gm_fail(err, GM_ERR_USAGE, "--params: found beside --watch, which finds the files");
    }
    if (!shared->watch && (shared->watch_until || shared->watch_idle > 0)) {
        return gm_fail(err, GM_ERR_USAGE, "--watch-%s: found without --watch, which it belongs to",
                       shared->watch_until ? "until" : "idle");
    }
    return GM_OK;
}

gm_status gm_cli_parse(gm_cli *cli, int argc, char **argv, bool *help, gm_error *err)
{
    struct option *longs = NULL;
    char *shorts = NULL;
    gm_status status = keep_line(cli, argc, argv, err); /* before getopt_long permutes argv */
    if (status == GM_OK) status = build_getopt(cli, &longs, &shorts, err);
    *help = false;
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    while (status == GM_OK) {
        int code = getopt_long(argc, argv, shorts, longs, NULL);
        if (code == -1) break;
        if (code == HELP_CODE) {
            char typed[128];
            typed_option(argv, sizeof typed, typed);
            *help = strcmp(typed, "--help") == 0;
            if (*help) goto done;
            code = '?';
            optopt = 0;
        }
        status = code == '?' || code == ':' ? refuse_option(cli, code, argv, err)
                                            : take_option(cli, code, argv, err);
    }
    if (status == GM_OK) {
        cli->operands = argc - optind;
        cli->operand = argv + optind;
        status = check_operands(cli, err);
    }
    if (status == GM_OK) status = check_contradictions(cli, err);
done:
    gm_free(longs);
    gm_free(shorts);
    return status;
}
