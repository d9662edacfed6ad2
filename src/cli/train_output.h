/* What a training came to, printed. */
#ifndef GM_CLI_TRAIN_OUTPUT_H
#define GM_CLI_TRAIN_OUTPUT_H

#include "cli/cli.h"
#include "cli/session.h"
#include "cli/train_prior.h"
#include "cli/train_track.h"
#include "gradiometer/sgd.h"

/* Prints the result, as text or with --json as the document; path: the run file, or NULL. The
 * session takes the place and the numbers of the last step. GM_ERR_INTERRUPTED and GM_ERR_NUMERIC
 * for a training that was interrupted or diverged, after printing. */
gm_status gm_train_deliver(gm_cli *cli, gm_session *session, const gm_train_options *options,
                           const char *path, const gm_train_result *r,
                           const gm_learned_prior *prior, const gm_train_tracks *tracks,
                           gm_error *err);

#endif
