/* Progress of a long computation on stderr: a bar with rate and time left where stderr is a
 * terminal, a plain line every 10 s where it is not, nothing when quiet. */
#ifndef GM_BASE_PROGRESS_H
#define GM_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct gm_progress gm_progress;
struct gm_progress {
    const char *what; /* "train", "products" */
    const char *unit; /* of the rate, plural: "steps" */
    size_t total;     /* 0 where unknown */
    size_t first;     /* where the work started (a resumed run), for an honest rate */
    bool quiet;
    bool terminal;
    bool drawn;
    double start, last; /* seconds, monotonic clock */
};

/* Starts a progress display; what and unit must outlive it. */
void gm_progress_start(gm_progress *progress, const char *what, const char *unit, size_t first,
                       size_t total, bool quiet);
/* done of total are finished; text (NULL for none) is appended, "loss 0.123" say. Cheap enough to
 * be called every step: it looks at the clock and seldom prints. */
void gm_progress_update(gm_progress *progress, size_t done, const char *text);
/* Clears the bar, so that results start on an empty line. */
void gm_progress_finish(gm_progress *progress);

#endif
