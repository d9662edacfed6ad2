/* Files written all or nothing: the bytes go to a temporary file in the folder of the target, which
 * takes the target's name only when every byte is on disk. A failure (a full disk, a kill, an error
 * between create and commit) leaves what was there before. */
#ifndef GM_BASE_FILE_H
#define GM_BASE_FILE_H

#include <stdio.h>

#include "gradiometer/status.h"

typedef struct gm_file gm_file;

/* The descriptor that path stands for: /dev/stdout, /dev/stderr, /dev/fd/N (what a shell gives for
 * >(COMMAND)); -1 for any other path. */
int gm_file_descriptor(const char *path);

/* Begins to write path. An existing file keeps its permissions, a link stays a link; a device, a
 * pipe or an open descriptor is written directly, from where it stands. GM_ERR_IO where the folder
 * is missing, path is a folder or is write-protected. *file belongs to the caller until commit or
 * discard. */
gm_status gm_file_create(const char *path, gm_file **file, gm_error *err);

/* The stream to write to (stdio, fully buffered); valid until commit or discard. Errors of single
 * writes need no check: commit finds them. */
FILE *gm_file_stream(gm_file *file);

/* Brings every byte to disk under the temporary name; nothing more can be written, the stream is
 * closed. For writers of several files: sync all, then commit all. Status as for commit. */
gm_status gm_file_sync(gm_file *file, gm_error *err);

/* Makes the file appear under its name: flush, fsync, rename, fsync of the folder. On failure
 * (GM_ERR_IO, with the cause: "No space left on device") the temporary file is removed and an old
 * file under that name is untouched. Frees *file either way and sets it to NULL. */
gm_status gm_file_commit(gm_file **file, gm_error *err);

/* Drops what was written, removes the temporary file, frees *file and sets it to NULL. Accepts
 * *file == NULL. */
void gm_file_discard(gm_file **file);

#endif
