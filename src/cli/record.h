/* Results of an analysis in a run file (-o, --output of spectrum and decompose). */
#ifndef GM_CLI_RECORD_H
#define GM_CLI_RECORD_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/session.h"
#include "gradiometer/run.h"

/* To be called while options are checked: GM_OK without --output; refuses a path that cannot be
 * written or that names a file which is no run file. */
gm_status gm_record_check(const gm_cli *cli, gm_error *err);

/* Stores document (with its arrays) under (command, session->step, key) in the run file that
 * --output names, which is created where it does not exist; GM_OK without --output. The document is
 * stored as gm_document_print would print it, so call it right before. */
gm_status gm_record_result(gm_cli *cli, const gm_session *session, const char *key,
                           json_t *document, const gm_run_array *array, size_t arrays,
                           gm_error *err);

#endif
