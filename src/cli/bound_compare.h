/* gradiometer bound compare: measures against gaps over a list of run files. */
#ifndef GM_CLI_BOUND_COMPARE_H
#define GM_CLI_BOUND_COMPARE_H

#include <jansson.h>

#include "cli/bound.h"
#include "gradiometer/compare.h"

enum { GM_COMPARED_SETTINGS = 12, GM_COMPARED_NAME = 40 };
extern const char *const gm_compared_setting[GM_COMPARED_SETTINGS]; /* "batch", ... */

/* One run: its settings as text, and what `bound` recorded of it. */
typedef struct gm_compared {
    const char *path;
    char *setting[GM_COMPARED_SETTINGS]; /* "" where the run has none */
    char *seed;
    json_t *document; /* of `bound` */
    bool older;       /* not the last one: that has no measures */
    double training_error, test_error, gap, test_samples, bound;
} gm_compared;

/* One measure over all runs. */
typedef struct gm_compared_measure {
    char name[GM_COMPARED_NAME];
    double *value; /* [runs], NaN where a run has none */
    size_t runs;   /* that have one */
    gm_rank rank;
    gm_robust robust;
} gm_compared_measure;

typedef struct gm_comparison {
    size_t runs;
    gm_compared *run;
    bool varies[GM_COMPARED_SETTINGS]; /* not the same in all runs */
    size_t settings;                   /* that vary */
    size_t *level;                     /* [runs, settings] */
    size_t *cluster;                   /* [runs]: runs that differ in nothing but the seed */
    double *gap, *samples;             /* [runs] */
    size_t measures;
    gm_compared_measure *measure; /* [measures] */
    gm_rank_options rank;
    double certainty;
} gm_comparison;

gm_status gm_bound_compare_command(gm_cli *cli, gm_error *err);
json_t *gm_comparison_document(gm_cli *cli, const gm_session *session, const gm_comparison *c,
                               gm_error *err);
void gm_comparison_print(const gm_comparison *c);
/* Name of varying setting number `index`. */
const char *gm_comparison_setting(const gm_comparison *c, size_t index);
/* Text that stands for a level of it. */
const char *gm_comparison_level(const gm_comparison *c, size_t index, size_t level);

#endif
