/* What a running command asks of its frame: given options, notices, the clock, output paths. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/frame.h"

gm_entry *gm_cli_entry(const gm_cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->entries; i++) {
        if (strcmp(cli->entry[i].option.name, name) == 0) return cli->entry + i;
    }
    return NULL;
}

bool gm_cli_given(const gm_cli *cli, const char *name)
{
    const gm_entry *entry = gm_cli_entry(cli, name);
    return entry && entry->given;
}

gm_status gm_cli_require(const gm_cli *cli, const char *name, gm_error *err)
{
    if (gm_cli_given(cli, name)) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--%s: not given, but '%s' needs it; see 'gradiometer help %s'", name,
                   cli->command->name, cli->command->name);
}

gm_status gm_cli_only(const gm_cli *cli, const char *name, const char *const *beside, gm_error *err)
{
    for (size_t i = 0; i < cli->entries; i++) {
        const char *given = cli->entry[i].option.name;
        if (!cli->entry[i].given || strcmp(given, name) == 0) continue;
        const char *const *allowed = beside;
        while (*allowed && strcmp(*allowed, given) != 0) {
            allowed++;
        }
        if (!*allowed) {
            return gm_fail(err, GM_ERR_USAGE,
                           "--%s: found beside --%s, which takes its settings from the run file",
                           given, name);
        }
    }
    return GM_OK;
}

const char *gm_sharing_text(gm_sharing sharing)
{
    static const char *const text[GM_SHARING_COUNT] = {
        [GM_SHARING_NONE] = "rank 0 works alone",
        [GM_SHARING_SAMPLES] = "each holds a share of the samples, and their sums are joined",
        [GM_SHARING_RUNS] = "each does a share of the runs, cells or draws",
        [GM_SHARING_PROBES] = "each takes a share of the probes, or of the samples",
        [GM_SHARING_TIMED] = "teams of 1, 2, 4 ... of them are timed",
        [GM_SHARING_SUMS] = "each sums over a share of the samples, and the sums are joined",
    };
    return text[sharing];
}

double gm_cli_seconds(const gm_cli *cli)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec - cli->start;
}

static void print_note(const gm_cli *cli, const char *text)
{
    if (cli->shared.verbose) fprintf(stderr, "gradiometer: note: %s\n", text);
}

void gm_cli_note(gm_cli *cli, const char *format, ...)
{
    gm_error text = {0}; /* gm_fail's buffer keeps a note to one line as well */
    char line[GM_ERROR_LENGTH];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    gm_fail(&text, GM_OK, "%s", line);

    char **grown = gm_alloc(cli->notes + 1, sizeof *grown, "notes", NULL);
    char *copy = gm_strdup(text.message, NULL);
    if (!grown || !copy) {
        gm_free(grown);
        gm_free(copy);
        return;
    }
    if (cli->notes) memcpy(grown, cli->note, cli->notes * sizeof *grown);
    gm_free(cli->note);
    cli->note = grown;
    cli->note[cli->notes++] = copy;
    if (cli->begun) print_note(cli, copy);
}

void gm_cli_begin(gm_cli *cli)
{
    if (cli->begun) return;
    cli->begun = true;
    for (size_t i = 0; i < cli->notes; i++) {
        print_note(cli, cli->note[i]);
    }
}

static gm_status cannot_write(const char *option, const char *path, int error, gm_error *err)
{
    return gm_fail(err, GM_ERR_IO, "--%s: %s cannot be written: %s", option, path, strerror(error));
}

static gm_status check_descriptor(const char *option, const char *path, int given, gm_error *err)
{
    int flags = fcntl(given, F_GETFL);
    bool writes = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
    return writes ? GM_OK : cannot_write(option, path, flags < 0 ? errno : EBADF, err);
}

gm_status gm_cli_check_writable(const char *option, const char *path, gm_error *err)
{
    struct stat info;
    int given = gm_file_descriptor(path);
    if (given >= 0) return check_descriptor(option, path, given, err);
    char *real = realpath(path, NULL); /* a link is followed, as by those who write */
    const char *file = real ? real : path;
    if (real && stat(real, &info) == 0 && S_ISDIR(info.st_mode)) {
        free(real);
        return gm_fail(err, GM_ERR_IO, "--%s: %s is a folder, expected a file", option, path);
    }
    bool device = real && !S_ISREG(info.st_mode);
    const char *slash = strrchr(file, '/');
    char *folder =
        gm_format(err, "%.*s", slash > file ? (int)(slash - file) : 1, slash ? file : ".");
    if (!folder) {
        free(real);
        return GM_ERR_MEMORY;
    }
    /* Files are written beside their place and renamed: the folder must allow it too. */
    int failed = real ? access(real, W_OK) : 0;
    if (failed == 0 && !device) {
        failed = stat(folder, &info);
        if (failed == 0 && !S_ISDIR(info.st_mode)) {
            errno = ENOTDIR;
            failed = -1;
        }
        if (failed == 0) failed = access(folder, W_OK | X_OK);
    }
    gm_status status = failed ? cannot_write(option, path, errno, err) : GM_OK;
    gm_free(folder);
    free(real);
    return status;
}
