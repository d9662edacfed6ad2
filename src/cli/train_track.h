/* --track of `gradiometer train`: from its words to a tracker, and what it found into the output.
 */
#ifndef GM_CLI_TRAIN_TRACK_H
#define GM_CLI_TRAIN_TRACK_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/session.h"
#include "gradiometer/sgd.h"
#include "gradiometer/track.h"

/* The setting in the run file that holds the words, with every default filled in. */
extern const char gm_train_track_setting[]; /* "train.track" */

/* A tracker for the list in text, checked against the session and its memory budget; *tracker is
 * NULL where text is. The words as resolved go to words. Notes what is worth noting. */
gm_status gm_train_track_open(gm_cli *cli, gm_session *session, const char *text,
                              const gm_train_options *options, gm_tracker **tracker,
                              char words[GM_TRACK_TEXT], gm_error *err);

/* "lambda_max 12.3" for the progress line, "" before the first measurement. */
enum { GM_TRAIN_TRACK_SHORT = 48 };
void gm_train_track_short(const gm_tracker *tracker, char text[GM_TRAIN_TRACK_SHORT]);

/* Notes pairs that did not converge, and measurements that were not numbers. */
void gm_train_track_note(gm_cli *cli, const gm_tracker *tracker);

/* Value of the key `track`: null without a tracker. */
json_t *gm_train_track_value(gm_cli *cli, const gm_tracker *tracker);

/* A line of the readable output, for a tracker that measured something. */
void gm_train_track_print(const gm_tracker *tracker, const gm_train_options *options);

#endif
