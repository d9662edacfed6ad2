/* A folder that somebody else writes checkpoints to: which file comes next, and whether it is
 * whole.
 *
 * Files that count end in .safetensors or .npy, do not begin with a dot and have a number in their
 * names, the last one of which is their step. A file is taken once its size and its time of change
 * have stood still from one look to the next and its header agrees with its size. */
#ifndef GM_CLI_SERIES_WATCH_H
#define GM_CLI_SERIES_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

typedef struct gm_watched_file {
    char *name;
    int64_t step, size, changed; /* bytes; nanoseconds */
    double since;                /* when it was first seen like this, gm_cli_seconds */
} gm_watched_file;

typedef struct gm_watch {
    gm_cli *cli;
    const char *folder;
    size_t until;          /* files in all; 0: no limit */
    double idle;           /* seconds without a new one; 0: no limit */
    double last;           /* when the last one came */
    gm_watched_file *file; /* [files] as the last look saw them, by step */
    size_t files;
    char **taken; /* [takes] names of files that are done, or left aside */
    size_t takes, room;
    int64_t *step;  /* [takes] */
    size_t counted; /* of them, those that were done */
} gm_watch;

/* GM_ERR_IO where the folder cannot be read. *watch is for gm_watch_close in any case. */
gm_status gm_watch_open(gm_cli *cli, const char *folder, size_t until, double idle, gm_watch *watch,
                        gm_error *err);
void gm_watch_close(gm_watch *watch);

/* A file that is done already: it, and any other of its step, is not taken again. */
gm_status gm_watch_skip(gm_watch *watch, const char *name, int64_t step, gm_error *err);

/* Waits for the next whole file: *path (the caller's, gm_free) and *step; NULL at the end, after
 * `until` files or `idle` seconds. GM_ERR_INTERRUPTED after Ctrl-C. Files that stay damaged for
 * half a minute are noted and left aside. */
gm_status gm_watch_next(gm_watch *watch, char **path, int64_t *step, gm_error *err);

#endif
