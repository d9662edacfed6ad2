/* Several runs side by side: which settings tell them apart, what each is called and how it is
 * drawn, and the part of a page that compares them. */
#ifndef GM_REPORT_RUNS_H
#define GM_REPORT_RUNS_H

#include <stdbool.h>
#include <stdio.h>

#include "gradiometer/status.h"
#include "report/axis.h"
#include "report/subject.h"

enum {
    GM_RUNS_LABEL = 56,
    GM_RUNS_COLOURS = 7,
    GM_RUNS_TOLD = 3 * GM_RUNS_COLOURS /* groups that lines can tell apart */
};

/* A setting that is not the same in all runs. */
typedef struct gm_runs_setting {
    const char *key; /* as in the run files */
    bool names;      /* tells what was run, not with which seed or on which machine */
} gm_runs_setting;

typedef struct gm_runs {
    const gm_subject *run; /* [count], the caller's */
    size_t count;
    gm_runs_setting *setting; /* [settings] what differs, sorted by key */
    size_t settings;
    /* Runs of one group are drawn alike: those that differ in their seeds alone; of very many
     * groups those with one value of `by`. */
    size_t *group; /* [count] */
    size_t groups;
    char (*label)[GM_RUNS_LABEL]; /* [groups] what tells the group apart */
    const char *by;               /* the key of that setting; NULL where groups are whole */
    gm_axis step_axis;            /* one scale of training steps for all */
    bool linked;                  /* the page has a section #runN for each; set by the caller */
    bool figures_first; /* above the tables, which are long, and without the settings, which
                           the page has elsewhere; set by the caller */
} gm_runs;

/* Errors: GM_ERR_MEMORY. Cost: settings * count^2 comparisons of texts. */
gm_status gm_runs_make(const gm_subject *run, size_t count, gm_runs *runs, gm_error *err);
void gm_runs_free(gm_runs *runs);

/* A setting of a run; a share of random labels that is not named is "0". NULL without. */
const char *gm_runs_value(const gm_subject *run, const char *key);

/* Appends a setting to a label: "batch 5"; of a data set or a net the value alone, of a path its
 * end; ", " before it unless it is the first. */
void gm_runs_append(char label[GM_RUNS_LABEL], const char *key, const char *value);

/* The comparison as HTML: settings that differ, measures side by side, curves over one another.
 * Errors: those of the figures. */
gm_status gm_runs_write(const gm_runs *runs, FILE *page, gm_error *err);

/* Its tables. */
void gm_runs_settings(const gm_runs *runs, FILE *page);
gm_status gm_runs_measures(const gm_runs *runs, FILE *page, gm_error *err);

/* How group g is drawn in all figures: gnuplot's line and the name of its colour. */
void gm_runs_line(const gm_runs *runs, size_t g, char line[64], const char **colour);

#endif
