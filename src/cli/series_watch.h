/* A folder that somebody else writes checkpoints to: which file comes next, and whether it is
 * whole.
 *
 * Files that count end in .safetensors or .npy, do not begin with a dot and have a number in their
 * names, the last one of which is their step. A file is taken once its size and its time of change
 * have stood still from one look to the next and its header agrees with its size; and again once
 * these have changed and it holds other numbers. */
#ifndef GM_CLI_SERIES_WATCH_H
#define GM_CLI_SERIES_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"

/* How a file looks from outside; size -1: there is none. */
typedef struct gm_stamp {
    int64_t size, changed; /* bytes; nanoseconds */
} gm_stamp;
gm_stamp gm_stamp_of(const char *path);
bool gm_stamp_equal(gm_stamp a, gm_stamp b);

typedef struct gm_watched_file {
    char *name;
    int64_t step;
    gm_stamp stamp;
    double since; /* when it was first seen like this, gm_cli_seconds */
} gm_watched_file;

typedef enum gm_taken_state {
    GM_TAKEN_DONE,
    GM_TAKEN_DAMAGED, /* left aside until it changes */
    GM_TAKEN_ASIDE    /* left aside for good */
} gm_taken_state;

typedef struct gm_taken_file {
    char *name;
    int64_t step;
    gm_taken_state state;
    gm_stamp stamp; /* when it was taken, before it was read */
    uint64_t hash;  /* of the numbers that were measured */
} gm_taken_file;

typedef struct gm_watch {
    gm_cli *cli;
    const char *folder;
    size_t until; /* files in all; 0: no limit */
    double idle;  /* seconds without a new one; 0: no limit */
    double last;  /* when the last one came */
    /* Whether the file at path holds numbers of that hash. */
    bool (*holds)(void *self, const char *path, uint64_t hash);
    void *self;
    gm_watched_file *file; /* [files] as the last look saw them, by step */
    size_t files;
    gm_taken_file *taken; /* [takes] that are done, or left aside */
    size_t takes, room;
} gm_watch;

/* GM_ERR_IO where the folder cannot be read. *watch is for gm_watch_close in any case. */
gm_status gm_watch_open(gm_cli *cli, const char *folder, size_t until, double idle, gm_watch *watch,
                        gm_error *err);
void gm_watch_close(gm_watch *watch);

/* A file that is done already, as it looked before its numbers were hashed: while it holds them,
 * it, and any other of its step, is not taken again. */
gm_status gm_watch_skip(gm_watch *watch, const char *name, int64_t step, gm_stamp stamp,
                        uint64_t hash, gm_error *err);
/* The numbers that were read of a file that gm_watch_next gave. */
void gm_watch_measured(gm_watch *watch, const char *name, uint64_t hash);

/* Waits for the next whole file: *path (the caller's, gm_free) and *step; NULL at the end, after
 * `until` files or `idle` seconds. GM_ERR_INTERRUPTED after Ctrl-C. Files that stay damaged for
 * half a minute are noted and left aside. */
gm_status gm_watch_next(gm_watch *watch, char **path, int64_t *step, gm_error *err);

#endif
