/* gradiometer landscape: what its files share. */
#ifndef GM_CLI_LANDSCAPE_H
#define GM_CLI_LANDSCAPE_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/series.h"
#include "cli/session.h"
#include "gradiometer/eigen.h"
#include "gradiometer/landscape.h"

typedef enum gm_along {
    GM_ALONG_EIGENVECTORS,
    GM_ALONG_GRADIENT,
    GM_ALONG_RANDOM,
    GM_ALONG_CHECKPOINTS,
    GM_ALONG_PRINCIPAL
} gm_along;
extern const char *const gm_along_words[];

typedef struct gm_landscape_settings {
    gm_along along;
    size_t dimensions;
    double range;   /* 0: chosen */
    size_t points;  /* along each axis; 0: chosen */
    const char *to; /* NULL without */
    bool trajectory;
    gm_which which;
} gm_landscape_settings;

/* An axis of the slice. */
typedef struct gm_landscape_axis {
    char name[96];
    double norm;                 /* of the direction */
    double eigenvalue, residual; /* NaN unless it is an eigenvector */
    double share;                /* of the checkpoints' variance; NaN unless it is principal */
    double low, high;
    double *at; /* [points] */
} gm_landscape_axis;

/* The checkpoints of the run. */
typedef struct gm_landscape_path {
    size_t count; /* 0 without --trajectory */
    int64_t *step;
    double *theta;    /* [count, p] */
    double *place;    /* [count, dimensions] on the slice */
    double *distance; /* [count] from there */
    double *loss;     /* [count] */
    double share;     /* of their variance that the slice keeps */
} gm_landscape_path;

typedef struct gm_landscape_run {
    gm_along along;
    size_t dimensions, p;
    size_t points, count; /* along an axis; of all */
    double *direction;    /* [dimensions, p] */
    double *before;       /* the same at the point before; NULL at the first */
    gm_landscape_axis axis[GM_LANDSCAPE_DIMENSIONS];
    gm_landscape_model model;
    double *at;                 /* [count, dimensions] */
    gm_landscape_values values; /* [count]; NaN where not evaluated */
    double *quadratic;          /* [count] */
    size_t done;
    double training_error;
    double *to; /* [p]; NULL without --to */
    char *to_point;
    double to_loss, to_error;
    gm_landscape_path path;
} gm_landscape_run;

/* ---- landscape_directions.c ---- */

/* The other end, from --to. */
gm_status gm_landscape_read_to(gm_cli *cli, const gm_session *session, gm_landscape_run *run,
                               gm_error *err);
/* The steps of the checkpoints; GM_ERR_USAGE or GM_ERR_INPUT where there are too few for the slice,
 * GM_ERR_MEMORY where they exceed --memory. Then their parameters. */
gm_status gm_landscape_find_path(const gm_session *session, gm_landscape_run *run, gm_error *err);
gm_status gm_landscape_read_path(const gm_session *session, gm_landscape_run *run, gm_error *err);
/* Parameters that directions may move: the net's, or those of the layer. */
size_t gm_landscape_block_size(const gm_session *session);
/* Directions, their names and norms. */
gm_status gm_landscape_choose(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                              gm_landscape_run *run, gm_error *err);

/* ---- landscape_slice.c ---- */

/* All of it at session->theta. run->done < run->count after Ctrl-C. */
gm_status gm_landscape_measure(gm_cli *cli, gm_session *session, gm_landscape_run *run,
                               gm_error *err);
/* Drops what a point left, so that the next can be measured; keep: but for its directions. */
void gm_landscape_rest(gm_landscape_run *run, bool keep);

/* ---- landscape_output.c ---- */

/* "eigenvectors-2d", with "/LAYER" behind it for directions in one layer; for gm_free. */
char *gm_landscape_key(const gm_session *session, const gm_landscape_run *run, gm_error *err);
/* An entry of the key `series`: what is the slice's own in the document, and label. */
json_t *gm_landscape_entry(gm_cli *cli, const gm_session *session, const gm_landscape_run *run,
                           const char *label);
/* A line for a point of several, `width` letters for its label; the header first. */
void gm_landscape_print_header(const gm_session *session, const gm_landscape_run *run, int width);
void gm_landscape_print_point(const gm_session *session, const gm_landscape_run *run,
                              const char *label, int width);

/* NULL with err recorded when memory is short. */
json_t *gm_landscape_document(gm_cli *cli, const gm_session *session, const gm_landscape_run *run,
                              gm_error *err);
void gm_landscape_print(const gm_session *session, const gm_landscape_run *run);

/* ---- landscape_along.c ---- */

/* Stores the result of the point at hand; *document receives it (json_decref). */
gm_status gm_landscape_record(gm_cli *cli, const gm_session *session, const gm_landscape_run *run,
                              json_t **document, gm_error *err);
/* A slice at every point of the series, each recorded and printed as it is done; the document, with
 * the key `series`, at the end. */
gm_status gm_landscape_along(gm_cli *cli, gm_session *session, gm_series *series,
                             gm_landscape_run *run, gm_error *err);

#endif
