/* What a run file holds, as a list of items with names, and its writers: CSV, NPZ, NPY, JSON
 * (docs/export.md). */
#ifndef GM_CLI_EXPORT_H
#define GM_CLI_EXPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/run.h"
#include "gradiometer/status.h"

typedef enum gm_export_kind {
    GM_EXPORT_SETTINGS,   /* settings */
    GM_EXPORT_STATE,      /* state: where the training stands, without its vectors */
    GM_EXPORT_SERIES,     /* metrics/NAME */
    GM_EXPORT_VECTORS,    /* state:theta [p], state:optimizer [slots, p] */
    GM_EXPORT_CHECKPOINT, /* checkpoints/STEP [p] */
    GM_EXPORT_DOCUMENT,   /* results/COMMAND[@STEP][/KEY] */
    GM_EXPORT_ARRAY       /* results/...:NAME, any shape */
} gm_export_kind;

typedef struct gm_export_item {
    gm_export_kind kind;
    char *name;
    size_t index; /* of the metric, checkpoint or result; vectors: 0 theta, 1 optimizer */
    const gm_run_array *array; /* GM_EXPORT_ARRAY: its entry in the list */
    bool chosen;
} gm_export_item;

/* The arrays of one result, without their numbers. */
typedef struct gm_export_arrays {
    gm_run_array *array;
    size_t count;
} gm_export_arrays;

typedef struct gm_export {
    gm_run *run; /* the caller's */
    gm_setting *setting;
    size_t settings;
    gm_run_state *state; /* NULL without a training */
    const char **metric;
    size_t metrics;
    int64_t *step; /* [steps] of the checkpoints */
    size_t steps;
    gm_run_result *result;
    size_t results;
    gm_export_arrays *arrays; /* [results] */
    gm_export_item *item;
    size_t items;
} gm_export;

/* Lists the items of a run file; none is chosen. gm_export_close accepts what a failure left. */
gm_status gm_export_open(gm_run *run, gm_export *e, gm_error *err);
void gm_export_close(gm_export *e);

/* Chooses the items that the words name, all without words. A word names the item of that name;
 * else those that it matches as a pattern (* ? [...], * across slashes too); else those below it
 * ("metrics", "results/spectrum"). GM_ERR_USAGE for a word that names none, with names there are.
 */
gm_status gm_export_choose(gm_export *e, size_t words, char *const *word, gm_error *err);
/* Prints every chosen item with what it is. */
gm_status gm_export_list(const gm_export *e, gm_error *err);

/* True for vectors, checkpoints and arrays. */
bool gm_export_is_numbers(gm_export_kind kind);
/* Their numbers as doubles, and the type they have in the file. */
typedef struct gm_export_numbers {
    gm_dtype dtype;
    int rank;
    size_t dim[GM_RUN_ARRAY_RANK];
    const double *data;
    void *memory;
} gm_export_numbers;
gm_status gm_export_load(const gm_export *e, const gm_export_item *item, gm_export_numbers *numbers,
                         gm_error *err);
void gm_export_unload(gm_export_numbers *numbers);

/* A metric by ascending step. */
typedef struct gm_export_series {
    int64_t *step; /* [count] */
    double *value; /* [count] */
    size_t count;
} gm_export_series;
gm_status gm_export_load_series(const gm_export *e, const gm_export_item *item,
                                gm_export_series *series, gm_error *err);
void gm_export_unload_series(gm_export_series *series);
/* The settings, the state, or the document of a result; the caller's (json_decref). NULL with *err
 * recorded: GM_ERR_INPUT where the file holds no JSON, GM_ERR_MEMORY. */
json_t *gm_export_object(const gm_export *e, const gm_export_item *item, gm_error *err);

/* Writers of the chosen items (docs/export.md). Each file appears whole or not at all. err is not
 * NULL. The checks see whether the format can hold the items: one kind of them in CSV, one array in
 * NPY. */
gm_status gm_export_check_csv(const gm_export *e, const char *path, gm_error *err);
gm_status gm_export_check_npy(const gm_export *e, const char *path, gm_error *err);
gm_status gm_export_csv(const gm_export *e, const char *path, gm_error *err);
gm_status gm_export_npy(const gm_export *e, const char *path, gm_error *err);
gm_status gm_export_npz(const gm_export *e, const char *path, gm_error *err);
gm_status gm_export_json(const gm_export *e, const char *path, gm_error *err);

#endif
