/* The folder of a study:
 *
 *     lock            held (flock) by the study that writes here and by its processes
 *     place.json      what every command was given: threads, memory, $DATA
 *     study.yaml      copy of the file that the folder was begun with
 *     index.json      what each cell is and came to, without times: equal after any interruption
 *     times.csv       cell,task,seconds of every command that was finished
 *     cells/NAME.gmr, cells/NAME.TASK.json, cells/NAME.TASK.log (of a command that failed)
 */
#ifndef GM_STUDY_FOLDER_H
#define GM_STUDY_FOLDER_H

#include <jansson.h>

#include "study/study.h"

/* *found: whether the folder was begun as a study; then *place is what it was begun with (threads,
 * memory; data_dir is *data_dir, the caller's, gm_free). Else nothing is changed. */
gm_status gm_study_place_load(const char *folder, bool *found, gm_study_place *place,
                              char **data_dir, gm_error *err);

/* Makes the folder (those above it must exist) or goes on with it, and locks it: *lock is a file
 * descriptor that processes started from here inherit, so that the folder stays locked while one of
 * them lives; close ends it. Refused (GM_ERR_USAGE): a folder that is not empty unless resume, one
 * that another study holds for longer than a second, one begun with another file (with the field).
 */
gm_status gm_study_folder_open(const char *folder, bool resume, const gm_study *study,
                               const gm_study_place *place, int *lock, gm_error *err);

/* What the document at path says of a training that diverged, in *message, the caller's (gm_free);
 * NULL where it did not, or where there is no document of a training. */
gm_status gm_study_diverged(const char *path, char **message, gm_error *err);
/* Sets the state of every task of the plan by whether its document is there. */
gm_status gm_study_scan(const char *folder, gm_study_plan *plan, gm_error *err);

/* Appends to times.csv; a failure is no harm. */
void gm_study_time_add(const char *folder, const char *cell, const char *task, double seconds);
/* Seconds of a task by times.csv, the last of several; 0 where it is not there. */
gm_status gm_study_times(const char *folder, const gm_study_plan *plan, double **seconds,
                         gm_error *err);

/* Writes index.json from the state of the tasks and the documents of the trainings. */
gm_status gm_study_index_write(const char *folder, const gm_study_plan *plan,
                               const gm_study_place *place, gm_error *err);
/* *index: the document, the caller's (json_decref). GM_ERR_IO where the folder has none,
 * GM_ERR_INPUT where it is damaged. */
gm_status gm_study_index_load(const char *folder, json_t **index, gm_error *err);

/* True where path is a folder with an index. */
bool gm_study_is_folder(const char *path);
/* The run files of all finished cells, in the order of the index: run[*count], gm_study_list_free
 * frees them. */
gm_status gm_study_runs(const char *folder, char ***run, size_t *count, gm_error *err);
void gm_study_runs_free(char **run, size_t count);

#endif
