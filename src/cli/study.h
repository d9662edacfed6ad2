/* The parts of gradiometer study: checks of a plan by the commands' own parsers, an estimate, the
 * processes. */
#ifndef GM_CLI_STUDY_H
#define GM_CLI_STUDY_H

#include "cli/cli.h"
#include "study/folder.h"
#include "study/study.h"

typedef struct gm_study_options {
    const char *output;   /* [NULL] */
    const char *data_dir; /* ["data"] */
    size_t jobs;          /* [0: the file's, else all processors] */
    bool dry_run, resume; /* [false] */
} gm_study_options;

/* What a cell is in numbers, for the estimate. */
typedef struct gm_study_fact {
    size_t parameters, samples, test_samples; /* samples after --subset */
    size_t features, stored; /* numbers of a sample; samples held in memory, before --subset too */
    size_t outputs, activations; /* K; numbers that a sample leaves in a forward pass */
    double forward;              /* operations of a forward pass of one sample */
    bool images;                 /* with convolutions */
    gm_train_options train;
    gm_loss loss;
    gm_dtype precision;
} gm_study_fact;

/* Has every command of the plan parsed and checked by its command's own table and check, and
 * compares what can be compared without reading whole data sets: missing files, nets that do not
 * fit, layers that they do not have, batches above n, steps that are no checkpoints, k above p,
 * what the training's run file will not be able to answer. fact: [cells], the caller's (gm_free).
 * Refusals name file, line, field and cell. */
gm_status gm_study_check(const gm_cli *cli, const gm_study_plan *plan, gm_study_fact **fact,
                         gm_error *err);

typedef struct gm_study_estimate {
    double *seconds; /* [tasks] of the plan: counted, then scaled by what was finished; gm_free */
    size_t *order;   /* [cells]: as they are given out, long ones early enough; gm_free */
    double total;    /* wall clock of what is left, over `jobs` processes */
    double all;      /* sum over all tasks of the plan */
    double rate;     /* operations a second of one process, as calibrated */
    size_t finished; /* commands whose times went in */
    size_t left;     /* commands that are not finished */
    size_t memory;   /* bytes: the largest `jobs` cells together */
    const char *largest; /* name of the cell that needs most memory */
} gm_study_estimate;

/* Counts operations and memory of every task, calibrates by matrix products on `threads` threads
 * (about 50 ms), and scales each command by the ratio of times.csv to the count where it has
 * finished tasks. `folder` may not exist. */
gm_status gm_study_estimate_make(const gm_study_plan *plan, const gm_study_fact *fact,
                                 const char *folder, const gm_study_place *place, size_t jobs,
                                 gm_study_estimate *estimate, gm_error *err);

typedef struct gm_study_run {
    gm_cli *cli;
    gm_study_plan *plan;
    const gm_study_place *place;
    const char *folder;
    size_t jobs;
    const size_t *order; /* [cells]: in which they are given out; the same on all ranks */
    double time;         /* budget in seconds; 0 = none */
    const gm_team *team; /* NULL; else its ranks share the cells out, in a folder that all see */
} gm_study_run;

typedef enum gm_study_end {
    GM_STUDY_COMPLETE,
    GM_STUDY_STOPPED, /* Ctrl-C */
    GM_STUDY_EXPIRED, /* the time is used up */
    GM_STUDY_DISK_FULL
} gm_study_end;

/* Runs every task that is not done, each cell's in their order, up to `jobs` cells at a time, and
 * writes the index now and then and at the end. A task that fails is marked with the last line of
 * what it said; where the training failed or diverged, the cell's measurements are marked as that
 * too. With a team
 * `jobs` are those of a rank, and all know in the end what became of every task; rank 0 writes the
 * index. */
gm_status gm_study_run_all(gm_study_run *run, gm_study_end *end, gm_error *err);

/* Whether a study started this process. */
bool gm_study_is_cell(void);
/* In a process that a study started: dies with it. False where the study is gone already. */
bool gm_study_follow_parent(void);

#endif
