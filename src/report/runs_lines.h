/* Lines through runs against a setting that is a number: which runs are on one, and what it is
 * called. */
#ifndef GM_REPORT_RUNS_LINES_H
#define GM_REPORT_RUNS_LINES_H

#include "report/runs.h"

/* The runs of a line agree in all settings that name them but the axis. Runs that have no
 * counterpart at another place on the axis are on no line, unless that is so of all. */
typedef struct gm_runs_lines {
    size_t *of_run; /* [runs] GM_RUNS_NO_LINE: on none */
    size_t *first;  /* [count] its first run */
    size_t count;
    const char *key; /* of the axis */
    bool alone;      /* some runs are on no line */
} gm_runs_lines;
#define GM_RUNS_NO_LINE SIZE_MAX

/* l is for gm_runs_lines_free in any case. */
gm_status gm_runs_lines_find(const gm_runs *runs, const char *key, gm_runs_lines *l, gm_error *err);
/* The groups of the runs as such lines, without of_run. */
gm_status gm_runs_lines_of_groups(const gm_runs *runs, gm_runs_lines *l, gm_error *err);
void gm_runs_lines_free(gm_runs_lines *l);

/* The settings that tell the lines apart, without those that follow from others (the precision from
 * the data set, say); returns how many. Cost: settings^2 * lines^2 comparisons of texts. */
enum { GM_RUNS_KEYS = 32 };
size_t gm_runs_lines_keys(const gm_runs *runs, const gm_runs_lines *l,
                          const char *key[GM_RUNS_KEYS]);
/* What the runs of a line have in common and others have not, by these keys. */
void gm_runs_lines_label(const gm_runs *runs, const gm_runs_lines *l, size_t line,
                         const char *const *key, size_t keys, char label[GM_RUNS_LABEL]);

/* What all lines have in common and not all runs; "" where there is nothing of note. */
void gm_runs_lines_common(const gm_runs *runs, const gm_runs_lines *l, char text[GM_RUNS_LABEL]);

/* A setting of a run as a number, NaN where it is none. */
double gm_runs_number(const gm_subject *run, const char *key);
/* Whether the runs differ in that setting. */
bool gm_runs_told(const gm_runs *runs, const char *key);

#endif
