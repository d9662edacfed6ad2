#include "base/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { BAR_WIDTH = 24 };
static const double REDRAW_SECONDS = 0.1; /* of the bar */
static const double LINE_SECONDS = 10.0;  /* between plain lines */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void gm_progress_start(gm_progress *progress, const char *what, const char *unit, size_t first,
                       size_t total, bool quiet)
{
    double start = now();
    *progress = (gm_progress){.what = what,
                              .unit = unit,
                              .total = total,
                              .first = first,
                              .quiet = quiet,
                              .terminal = isatty(STDERR_FILENO) == 1,
                              .start = start,
                              .last = start};
}

/* "1 h 02 min", "3 min 20 s", "7 s" */
static void print_duration(double seconds)
{
    unsigned long long s = (unsigned long long)(seconds + 0.5);
    if (s >= 3600) {
        fprintf(stderr, "%llu h %02llu min", s / 3600, s % 3600 / 60);
    } else if (s >= 60) {
        fprintf(stderr, "%llu min %02llu s", s / 60, s % 60);
    } else {
        fprintf(stderr, "%llu s", s);
    }
}

static void print_bar(double share)
{
    char bar[BAR_WIDTH + 1];
    int full = (int)(share * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < full ? '#' : '.';
    }
    bar[BAR_WIDTH] = 0;
    fprintf(stderr, " [%s]", bar);
}

void gm_progress_update(gm_progress *progress, size_t done, const char *text)
{
    if (progress->quiet) return;
    double t = now();
    if (t - progress->last < (progress->terminal ? REDRAW_SECONDS : LINE_SECONDS)) return;
    progress->last = t;

    double worked = (double)(done - progress->first);
    double rate = worked / (t - progress->start);
    if (progress->terminal) fputs("\r\033[K", stderr);
    fputs(progress->what, stderr);
    if (progress->total) {
        if (progress->terminal) print_bar((double)done / (double)progress->total);
        fprintf(stderr, " %zu/%zu", done, progress->total);
    } else {
        fprintf(stderr, " %zu", done);
    }
    fprintf(stderr, rate < 100 ? " %s, %.3g %s/s" : " %s, %.0f %s/s", progress->unit, rate,
            progress->unit);
    if (progress->total > done && rate > 0) {
        fputs(", ", stderr);
        print_duration((double)(progress->total - done) / rate);
        fputs(" left", stderr);
    }
    if (text) fprintf(stderr, ", %s", text);
    if (!progress->terminal) fputc('\n', stderr);
    fflush(stderr);
    progress->drawn = progress->terminal;
}

void gm_progress_finish(gm_progress *progress)
{
    if (!progress->drawn) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->drawn = false;
}
