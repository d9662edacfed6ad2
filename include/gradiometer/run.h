/* The run file: one SQLite database (suffix .gmr) that holds what was run, every metric by step,
 * checkpoints, and the results of analyses. Its schema is in docs/run-file.md.
 *
 * It is in WAL mode: readers may open it while a training run writes it, and a kill at any moment
 * leaves the last commit. A gm_run is used by one thread at a time. Every function that fails
 * leaves the file as it was before the call, and its message starts with the file's name. Steps are
 * numbers of updates done: step 0 is the initialization. */
#ifndef GRADIOMETER_RUN_H
#define GRADIOMETER_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/status.h"
#include "gradiometer/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GM_RUN_SCHEMA = 1,  /* version of the schema that this library writes (user_version) */
    GM_RUN_LAST = -1,   /* in place of a step: the latest one */
    GM_RUN_NO_STEP = -1 /* step of a result that belongs to no checkpoint of this run */
};

typedef struct gm_run gm_run;

/* One setting: what was run. The keys in use are listed in docs/run-file.md. */
typedef struct gm_setting {
    const char *key;
    const char *value;
} gm_setting;

/* Creates a run file that holds the settings [count], committed, and opens it for writing. It
 * appears under its name only when complete; after a failure there is nothing new in the folder.
 * An existing file is refused (GM_ERR_USAGE) unless overwrite, and then too where it is not a run
 * file. *run is the caller's, ended by gm_run_close. */
gm_status gm_run_create(const char *path, bool overwrite, const gm_setting *setting, size_t count,
                        gm_run **run, gm_error *err);

typedef enum gm_run_mode { GM_RUN_READ, GM_RUN_WRITE } gm_run_mode;

/* Opens an existing run file. A file that is not one (GM_ERR_INPUT), one of a newer schema
 * (GM_ERR_INPUT, with both versions), one that is missing or not permitted (GM_ERR_IO) is refused;
 * an older schema is migrated first. */
gm_status gm_run_open(const char *path, gm_run_mode mode, gm_run **run, gm_error *err);

/* Ends the use of a run; NULL is accepted. What was committed is in the file whatever happens
 * here. */
void gm_run_close(gm_run *run);

const char *gm_run_path(const gm_run *run);

/* True where path is a readable file that begins like a run file (SQLite with our application_id).
 */
bool gm_run_is_file(const char *path);

/* Splits "run.gmr" or "run.gmr@STEP" into *path (the caller's, gm_run_free) and *step (GM_RUN_LAST
 * where none is named). A file whose name itself holds the '@' is taken whole. GM_ERR_USAGE where
 * what follows the last '@' of a missing file is no step. */
gm_status gm_run_split(const char *text, char **path, int64_t *step, gm_error *err);

/* Frees any array or string that a function of this header handed out; NULL is accepted. */
void gm_run_free(void *memory);

/* ---- settings ---- */

/* Stores settings in one transaction; an existing key is replaced. */
gm_status gm_run_set(gm_run *run, const gm_setting *setting, size_t count, gm_error *err);
/* *value: copy of the setting, the caller's (gm_run_free); NULL with GM_OK where there is none. */
gm_status gm_run_get(gm_run *run, const char *key, char **value, gm_error *err);
/* All settings sorted by key, in one piece of memory: gm_run_free(list) frees the strings too. */
gm_status gm_run_settings(gm_run *run, gm_setting **list, size_t *count, gm_error *err);

/* ---- metrics ---- */

typedef struct gm_metric {
    int64_t step;
    const char *name;
    double value; /* NaN and infinity are kept (NaN as NULL in the table) */
} gm_metric;

/* Stores metrics in one transaction; (name, step) present already is replaced. */
gm_status gm_run_add_metrics(gm_run *run, const gm_metric *metric, size_t count, gm_error *err);
/* Names that occur, sorted, in one piece of memory: gm_run_free(names) frees the strings too. */
gm_status gm_run_metric_names(gm_run *run, const char ***names, size_t *count, gm_error *err);
/* One series by ascending step: *step [count], *value [count], the caller's; count 0 and NULLs
 * where the name does not occur. */
gm_status gm_run_metric(gm_run *run, const char *name, int64_t **step, double **value,
                        size_t *count, gm_error *err);

/* ---- training state and checkpoints ---- */

/* Where a training run stands. Written in place, in the same transaction as its metrics. */
typedef struct gm_run_state {
    int64_t step;
    const char *status;    /* "running", "finished", "interrupted" or "diverged" */
    const char *message;   /* a sentence for people about the status; "" where there is none */
    double seconds;        /* spent so far, over all sessions */
    gm_dtype dtype;        /* of both arrays below */
    size_t parameters;     /* p */
    const void *theta;     /* [p] */
    size_t slots;          /* vectors that the optimizer carries: 0 plain, 1 momentum */
    const void *optimizer; /* [slots, p]; NULL where slots = 0 */
    uint64_t stream_seed;  /* random stream of the batches ... */
    uint32_t stream_purpose;
    uint32_t stream_run;
    uint64_t stream_position; /* ... and the step whose batch comes next */
} gm_run_state;

/* In one transaction: the metrics [count], the state (one row, overwritten) and, where keep, a
 * checkpoint of theta in the history. `expected` is the step of the state that the caller saved or
 * loaded last, -1 for none: where another process has moved it since, nothing is written
 * (GM_ERR_IO). state->theta NULL updates status, message and seconds of the stored state alone. */
gm_status gm_run_save(gm_run *run, const gm_run_state *state, int64_t expected, bool keep,
                      const gm_metric *metric, size_t count, gm_error *err);

/* The latest state, in one piece of memory (gm_run_free); *state NULL with GM_OK where the run
 * holds none. */
gm_status gm_run_load_state(gm_run *run, gm_run_state **state, gm_error *err);

/* Steps whose parameters are in the file, ascending: the history and the latest state. *step
 * [count], the caller's; count 0 and NULL where there are none. */
gm_status gm_run_checkpoints(gm_run *run, int64_t **step, size_t *count, gm_error *err);

/* Stores parameters theta [parameters] as the checkpoint of a step, in dtype. For training use
 * gm_run_save. */
gm_status gm_run_add_checkpoint(gm_run *run, int64_t step, gm_dtype dtype, size_t parameters,
                                const double *theta, gm_error *err);

/* Parameters of exactly that step (or GM_RUN_LAST) as doubles: *theta [*parameters], the caller's.
 * *found (may be NULL) is the step. GM_ERR_INPUT where there is no such checkpoint, with those
 * there are. */
gm_status gm_run_parameters(gm_run *run, int64_t step, double **theta, size_t *parameters,
                            int64_t *found, gm_error *err);

/* ---- results of analyses ---- */

enum { GM_RUN_ARRAY_RANK = 4 };

/* A named array of numbers that goes with a result: a spectrum [k], eigenvectors [k, p], ... */
typedef struct gm_run_array {
    const char *name; /* up to 255 bytes */
    gm_dtype dtype;   /* in the file, little-endian; in memory always double */
    int rank;         /* 0 ... GM_RUN_ARRAY_RANK */
    size_t dim[GM_RUN_ARRAY_RANK];
    const double *data; /* row-major; NULL in lists */
} gm_run_array;

/* A whole JSON document as a command printed it. (command, step, key) names it: storing it again
 * replaces document and arrays. */
typedef struct gm_run_result {
    int64_t id; /* given by the file; ascending in the order of storing */
    const char *command;
    int64_t step;     /* checkpoint it was measured at, or GM_RUN_NO_STEP */
    const char *key;  /* tells results of one command at one step apart; "" where that suffices */
    const char *json; /* the document */
    const char *created; /* UTC, "2024-05-17T12:34:56Z"; set by the file */
} gm_run_result;

/* Stores a result with its arrays [arrays] in one transaction; id and created of *result are not
 * read. *id (may be NULL) receives its number. */
gm_status gm_run_add_result(gm_run *run, const gm_run_result *result, const gm_run_array *array,
                            size_t arrays, int64_t *id, gm_error *err);

/* Results of one command (NULL: of all) by ascending step, then id, in one piece of memory:
 * gm_run_free(list) frees the strings too. */
gm_status gm_run_results(gm_run *run, const char *command, gm_run_result **list, size_t *count,
                         gm_error *err);

/* The arrays of a result, sorted by name, without their data; gm_run_free(list). */
gm_status gm_run_arrays(gm_run *run, int64_t result, gm_run_array **list, size_t *count,
                        gm_error *err);

/* One array with its data, in one piece of memory (gm_run_free). GM_ERR_INPUT where there is none
 * of that name. */
gm_status gm_run_load_array(gm_run *run, int64_t result, const char *name, gm_run_array **array,
                            gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
