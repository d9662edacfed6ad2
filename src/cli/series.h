/* The points of the parameter space that a command goes through: one; the checkpoints of a run
 * file, run.gmr@all; a series of files, 'ckpt-*.safetensors'; or files as they arrive in a folder
 * (--watch). */
#ifndef GM_CLI_SERIES_H
#define GM_CLI_SERIES_H

#include "cli/cli.h"
#include "cli/series_watch.h"
#include "cli/session.h"

typedef struct gm_series {
    gm_cli *cli;
    gm_session *session;
    bool trajectory; /* more than the session's own point was asked for */
    bool all;        /* run.gmr@all */
    bool watched;    /* files that arrive in a folder; count grows */
    gm_watch watch;
    gm_stamp model;      /* of --model, before it was read */
    size_t earlier;      /* points that --output had already */
    int64_t last_result; /* the number of the latest of these in its file */
    size_t count, capacity;
    int64_t *step; /* [count] ascending; NULL: the session's own point */
    char **path;   /* [count] files; NULL: checkpoints of the run file */
    char *params;  /* what cli->shared.params points to instead of "run.gmr@all" */
} gm_series;

/* Whether --params or --watch asks for more than one point. */
bool gm_series_asked(const gm_cli *cli);
/* Before the session: takes "@all" off --params, or finds the files that its pattern matches, in
 * natural order of their names, and leaves the last one there. The step of a file is the last
 * number in its name, or, where these do not ascend, its place in the series. *series is for
 * gm_series_close in any case. */
gm_status gm_series_open(gm_cli *cli, gm_series *series, gm_error *err);
/* After gm_session_open: the checkpoints of the run, and what the session says of its point. */
gm_status gm_series_attach(gm_series *series, gm_session *session, gm_error *err);
void gm_series_close(gm_series *series);

/* Of a watched folder: points that --output holds results of, of this command and key, are done
 * already. GM_ERR_INPUT where these are of another net or other data. */
gm_status gm_series_skip_recorded(gm_series *series, const char *key, gm_error *err);

/* Whether there is a point of this index; in a watched folder it is waited for. GM_ERR_INTERRUPTED
 * after Ctrl-C. */
gm_status gm_series_await(gm_series *series, size_t index, bool *found, gm_error *err);

/* theta [p] and step of point index < count. */
gm_status gm_series_read(gm_series *series, size_t index, int64_t *step, double *theta,
                         gm_error *err);
/* The point in a word: the file's name, or "step 100" in text. */
enum { GM_SERIES_LABEL = 256 };
void gm_series_label(const gm_series *series, size_t index, char text[GM_SERIES_LABEL]);

/* What is delivered where a watched folder brought nothing new. */
gm_status gm_series_print_nothing(const gm_series *series, gm_error *err);

/* The session stands at the last of the `finished` points (at least one) that there are; a note
 * where an interruption left others out. */
gm_status gm_series_finish(gm_series *series, size_t finished, bool interrupted, gm_error *err);

/* The point as documents name it: the file, or "run.gmr, step 100"; for gm_free. */
char *gm_series_point(const gm_series *series, size_t index, gm_error *err);

/* A path without its folders. */
const char *gm_series_name(const char *path);
/* *hash of the parameters that a file holds; false where it cannot be read as such. */
bool gm_series_hash(const gm_series *series, const char *path, uint64_t *hash);

/* The last number in the name of a file, without its ending; -1 where there is none. */
int64_t gm_series_number(const char *path);

#endif
