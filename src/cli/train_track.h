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

/* What follows the training; NULL where --track does not ask for it. */
typedef struct gm_train_tracks {
    gm_tracker *spectrum;
    gm_gauge_watch *gauges;
} gm_train_tracks;
void gm_train_tracks_free(gm_train_tracks *tracks);

/* The form of the list, where there is one. */
gm_status gm_train_track_check(const char *text, gm_error *err);
/* The list in text, checked against the session and its memory budget; nothing where text is NULL.
 * The words as resolved go to words. Notes what is worth noting. */
enum { GM_TRAIN_TRACK_WORDS = 2 * GM_TRACK_TEXT };
gm_status gm_train_track_open(gm_cli *cli, gm_session *session, const char *text,
                              const gm_train_options *options, gm_train_tracks *tracks,
                              char words[GM_TRAIN_TRACK_WORDS], gm_error *err);

/* "lambda_max 12.3, 2 alarms" for the progress line, "" before the first measurement. */
enum { GM_TRAIN_TRACK_SHORT = 96 };
void gm_train_track_short(const gm_train_tracks *tracks, char text[GM_TRAIN_TRACK_SHORT]);

/* Notes pairs that did not converge, measurements that were not numbers, and alarms. */
void gm_train_track_note(gm_cli *cli, const gm_train_tracks *tracks);

/* Value of the key `track`: null where nothing is tracked. */
json_t *gm_train_track_value(gm_cli *cli, const gm_train_tracks *tracks);

/* Lines of the readable output, for what measured something. */
void gm_train_track_print(const gm_train_tracks *tracks, const gm_train_options *options);

#endif
