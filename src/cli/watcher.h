/* The progress bar of a library call that reports steps and one number that falls. */
#ifndef GM_CLI_WATCHER_H
#define GM_CLI_WATCHER_H

#include <stdint.h>

#include "base/progress.h"

typedef struct gm_watcher {
    const char *what, *value; /* "posterior", "objective" */
    bool quiet;
    bool started;
    gm_progress progress;
} gm_watcher;

/* The progress callback; context: a gm_watcher, started at the first call. */
void gm_watcher_show(void *context, uint64_t t, uint64_t steps, double value);
void gm_watcher_finish(gm_watcher *watcher);

#endif
