/* A study: a grid of experiments in one YAML file, as a list of cells, each a list of commands of
 * our own program. This room reads the file, expands the grid and keeps the index; it knows no nets
 * and runs nothing. docs/study.md describes the file and the folder.
 *
 *     data sets x models x batches x shares of random labels x subsets x seeds x steps
 *
 * Words. axis: one of the lists that span the grid. cell: one choice from each. task: one command
 * of a cell, its training or a measurement at one checkpoint. A task is done where its document, a
 * file of its own that takes its name when whole, is there. */
#ifndef GM_STUDY_STUDY_H
#define GM_STUDY_STUDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/status.h"
#include "study/words.h"

typedef struct gm_study_list {
    char **item; /* [count] */
    unsigned count;
} gm_study_list;

/* The axes beside the data sets; each is named as the option of `train` that it sets. */
typedef enum gm_study_axis {
    GM_STUDY_MODEL,
    GM_STUDY_BATCH,
    GM_STUDY_LABELS,
    GM_STUDY_SUBSET,
    GM_STUDY_SEED,
    GM_STUDY_STEP,
    GM_STUDY_AXES
} gm_study_axis;

/* The key in the file, "random_labels". */
extern const char *const gm_study_axis_key[GM_STUDY_AXES];

/* The cells that have one of the values on every list that is not empty. */
typedef struct gm_study_filter {
    gm_study_list data; /* names of data sets */
    gm_study_list axis[GM_STUDY_AXES];
} gm_study_filter;

/* What a data set may say for itself, and the file for all of them. */
typedef struct gm_study_settings {
    gm_study_list axis[GM_STUDY_AXES];
    char *steps, *precision, *loss;
    char *train; /* more options of `train` */
} gm_study_settings;

typedef struct gm_study_data {
    char *name;
    char *train, *test; /* specs as for --data and --test-data */
    char *get;          /* how to get it, for people who lack it */
    bool standardize;
    gm_study_settings own;
} gm_study_data;

typedef struct gm_study_measure {
    char *name;
    char *run;             /* "decompose --k 15" */
    gm_study_list at;      /* checkpoints: start, end, all or a step */
    gm_study_filter *only; /* NULL: every cell */
} gm_study_measure;

typedef struct gm_study_budget {
    char *time, *memory, *processes;
} gm_study_budget;

/* The file as it stands, after gm_study_load: every field that is read has its form checked; texts
 * that are missing are NULL, lists empty. */
typedef struct gm_study_file {
    char *name, *title, *question;
    gm_study_settings common;
    gm_study_data *data;
    unsigned data_count;
    gm_study_measure *measure;
    unsigned measure_count;
    gm_study_filter *exclude;
    unsigned exclude_count;
    gm_study_budget *budget;
} gm_study_file;

typedef struct gm_study {
    char *path;
    gm_study_file *file;
} gm_study;

/* Reads and checks the file at path. GM_ERR_IO where it cannot be read, GM_ERR_INPUT with file,
 * line and field for everything else: what is no YAML, unknown keys, values of the wrong form,
 * names that occur twice. *study is the caller's. */
gm_status gm_study_load(const char *path, gm_study **study, gm_error *err);
void gm_study_free(gm_study *study);

/* GM_ERR_INPUT "FILE:LINE: FIELD: text"; field as "data[1].batch[0]", counted from 0. The line is
 * that of the innermost part of field that the file has. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
gm_status
gm_study_refuse(const char *path, const char *field, gm_error *err, const char *format, ...);

/* Compares two such files, whatever their comments, order of keys and layout, and what no cell
 * depends on: title, question, budget. *field (gm_free) is
 * the first field in which they differ, NULL where there is none; *line is its line in path. */
gm_status gm_study_difference(const char *path, const char *other, char **field, size_t *line,
                              gm_error *err);

/* Seconds in "90", "90s", "5m", "1.5h"; false for anything else. */
bool gm_study_seconds(const char *text, double *seconds);

/* ---- the plan ---- */

/* Diverged: a training that came to no finite loss, which is a result and has its document; and the
 * measurements of its cell, which are not taken. */
typedef enum gm_study_state {
    GM_STUDY_WAITING,
    GM_STUDY_DONE,
    GM_STUDY_FAILED,
    GM_STUDY_DIVERGED
} gm_study_state;

typedef struct gm_study_task {
    char *name;           /* "train", "decompose@0" */
    gm_words words;       /* a command of our program and its options */
    char *file;           /* of its document, below the folder: "cells/NAME.decompose@0.json" */
    size_t measure;       /* index in the file; SIZE_MAX for the training */
    const char *at;       /* checkpoint as in the file, "" for the training */
    gm_study_state state; /* GM_STUDY_WAITING */
    char *message;        /* of a task that failed or diverged, one line; else NULL */
} gm_study_task;

typedef struct gm_study_cell {
    char *name;
    char *run;                        /* of its run file, below the folder: "cells/NAME.gmr" */
    size_t data;                      /* index in the file */
    const char *value[GM_STUDY_AXES]; /* as in the file; NULL where the axis is empty */
    unsigned index[GM_STUDY_AXES];    /* place of value in its list */
    gm_study_task *task;              /* task[0] is the training */
    size_t tasks;
} gm_study_cell;

typedef struct gm_study_plan {
    const gm_study *study;
    gm_study_cell *cell; /* data set by data set, the last axis fastest */
    size_t cells, tasks; /* tasks of all cells */
} gm_study_plan;

typedef struct gm_study_place {
    const char *folder;   /* that the run files go to; part of every command */
    const char *data_dir; /* stands for $DATA in specs of data */
    size_t threads;       /* of each process */
    size_t memory;        /* bytes for each process; 0 = not said */
} gm_study_place;

/* Expands the grid. GM_ERR_INPUT with file, line and field for two cells of one name, a filter that
 * names nothing of the grid, a grid that is empty or has more than GM_STUDY_MOST cells. *plan is
 * the caller's, and refers to study. */
enum { GM_STUDY_MOST = 10000 };
gm_status gm_study_expand(const gm_study *study, const gm_study_place *place, gm_study_plan *plan,
                          gm_error *err);
void gm_study_plan_free(gm_study_plan *plan);

/* There is nothing left to do for the task, whenever the study goes on. */
bool gm_study_settled(const gm_study_task *task);
/* That of the training where it diverged; else failed where any task is, done where all are. */
gm_study_state gm_study_cell_state(const gm_study_cell *cell);
/* Marks the waiting measurements of a cell whose training failed or diverged as that, with a
 * message; *skipped is how many they are. */
gm_status gm_study_skip(gm_study_cell *cell, size_t *skipped, gm_error *err);

/* Where the file says a cell's value on that axis, for messages: "data[1].batch[0]"; gm_free. */
char *gm_study_field(const gm_study_plan *plan, const gm_study_cell *cell, gm_study_axis axis,
                     gm_error *err);
/* The settings that count for a cell: its data set's own, else those for all. */
const char *gm_study_steps(const gm_study *study, size_t data);

#endif
