/* Results of an analysis in a run file (-o, --output of spectrum and decompose). */
#ifndef GM_CLI_RECORD_H
#define GM_CLI_RECORD_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/document.h"
#include "cli/session.h"
#include "gradiometer/run.h"

enum { GM_RECORD_SETTINGS = 20 };

/* Settings of a run file that say what was run; values are owned. */
typedef struct gm_record_settings {
    gm_setting item[GM_RECORD_SETTINGS];
    size_t count;
} gm_record_settings;

/* The command, the versions and the resolved shared options, under the options' names with _ for -
 * (flags as "true"). gm_record_settings_free accepts what a failure left. */
gm_status gm_record_settings_fill(const gm_cli *cli, const gm_session *session,
                                  gm_record_settings *settings, gm_error *err);
void gm_record_settings_free(gm_record_settings *settings);

/* To be called while options are checked: GM_OK without --output; refuses a path that cannot be
 * written or that names a file which is no run file. */
gm_status gm_record_check(const gm_cli *cli, gm_error *err);

/* Stores document (with its arrays) under (command, session->step, key) in the run file that
 * --output names, which is created where it does not exist; GM_OK without --output. The document is
 * stored as gm_document_print would print it, so call it right before. */
gm_status gm_record_result(gm_cli *cli, const gm_session *session, const char *key,
                           json_t *document, const gm_run_array *array, size_t arrays,
                           gm_error *err);

/* Metrics for the run file that --output names, which is there; none for that of a training. */
gm_status gm_record_metrics(const gm_cli *cli, const gm_metric *metric, size_t count,
                            gm_error *err);

#endif
