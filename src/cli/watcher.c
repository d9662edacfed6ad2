#include "cli/watcher.h"

#include <stdio.h>

void gm_watcher_show(void *context, uint64_t t, uint64_t steps, double value)
{
    gm_watcher *w = context;
    char text[64];
    if (!w->started) gm_progress_start(&w->progress, w->what, "steps", 0, (size_t)steps, w->quiet);
    w->started = true;
    snprintf(text, sizeof text, "%s %.5g", w->value, value);
    gm_progress_update(&w->progress, (size_t)t, text);
}

void gm_watcher_finish(gm_watcher *watcher)
{
    if (watcher->started) gm_progress_finish(&watcher->progress);
}
