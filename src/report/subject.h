/* What a page is made from: one run file, read whole. The only place of this room that knows run
 * files; figures see settings, metrics and documents. */
#ifndef GM_REPORT_SUBJECT_H
#define GM_REPORT_SUBJECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "gradiometer/run.h"
#include "gradiometer/status.h"
#include "report/axis.h"

/* A series by ascending step. */
typedef struct gm_subject_metric {
    size_t count;
    int64_t *step; /* [count] */
    double *value; /* [count] */
} gm_subject_metric;

enum {
    GM_SUBJECT_BATCH_LOSS,
    GM_SUBJECT_LOSS,
    GM_SUBJECT_ERROR,
    GM_SUBJECT_TEST_LOSS,
    GM_SUBJECT_TEST_ERROR,
    GM_SUBJECT_GRADIENT,
    GM_SUBJECT_DISTANCE,
    GM_SUBJECT_BATCH_SHARPNESS,
    GM_SUBJECT_BATCH_SHARPNESS_ERROR,
    GM_SUBJECT_SHARPNESS,
    GM_SUBJECT_SHARPNESS_ERROR,
    GM_SUBJECT_NOISE_SCALE,
    GM_SUBJECT_NOISE_SCALE_ERROR,
    GM_SUBJECT_ALARM,
    GM_SUBJECT_STEP_SIZE,
    GM_SUBJECT_STEP_LIMIT,
    GM_SUBJECT_METRICS
};

/* The decomposition at one step of the run. */
typedef struct gm_subject_point {
    int64_t step;           /* GM_RUN_NO_STEP where the document names none */
    const json_t *document; /* keys operators, overlap, ... */
} gm_subject_point;

/* What one `spectrum` document says of one operator: the whole net, or one layer's block. */
typedef struct gm_subject_spectrum {
    int64_t step;           /* GM_RUN_NO_STEP where the document names none */
    const json_t *document; /* keys operator, method, data, precision, ... */
    const json_t *block;    /* keys eigenvalues, density, ...: the document or one of its blocks */
} gm_subject_spectrum;

/* Eigenvalues of one operator that a training followed: metrics OPERATOR/eigenvalue/1, 2, ... */
enum { GM_SUBJECT_OPERATOR = 32 };
typedef struct gm_subject_track {
    char operator[GM_SUBJECT_OPERATOR]; /* "hessian" */
    size_t count;
    gm_subject_metric *eigenvalue; /* [count] */
} gm_subject_track;

/* A result and its document. */
typedef struct gm_subject_result {
    const gm_run_result *stored;
    json_t *document;
} gm_subject_result;

typedef struct gm_subject {
    char *path;
    const char *name; /* the file's name without its folder */
    size_t number;    /* 1, 2, ...: its place among the runs of a page */
    gm_setting *setting;
    size_t settings;
    gm_subject_metric metric[GM_SUBJECT_METRICS];
    gm_run_state *state;       /* NULL where the run holds no training */
    gm_run_result *stored;     /* [results] as the run file holds them */
    gm_subject_result *result; /* [results] the same, parsed */
    size_t results;
    const json_t *decomposition; /* the latest whole document of `decompose`; NULL without */
    gm_subject_point *point;     /* [points] by ascending step, one per step */
    size_t points;
    gm_subject_spectrum *spectrum; /* [spectra] by ascending step, then in the order of storing */
    size_t spectra;
    gm_subject_track *track; /* [tracks] */
    size_t tracks;
    gm_axis step_axis; /* one scale of training steps for all figures of the run */
} gm_subject;

/* Reads the run file at path. Errors: those of gm_run_open, and GM_ERR_INPUT where a stored
 * document is no JSON. */
gm_status gm_subject_load(const char *path, gm_subject *subject, gm_error *err);
void gm_subject_free(gm_subject *subject);

/* The value of a setting, NULL where there is none. */
const char *gm_subject_setting(const gm_subject *subject, const char *key);
/* A value as it was given: a number in the fewest digits that mean the same ("0.05" for
 * "0.050000000000000003"), written to digits; any other text as it is. */
enum { GM_SETTING_DIGITS = 40 };
const char *gm_setting_shortest(const char *value, char digits[GM_SETTING_DIGITS]);
/* First and last finite value of a metric; NaN where there is none. */
double gm_subject_first(const gm_subject *subject, int metric);
double gm_subject_last(const gm_subject *subject, int metric);
/* The document that says what was run: of the decomposition, else of the latest spectrum; NULL
 * without. */
const json_t *gm_subject_document(const gm_subject *subject);
/* Whether the run file holds a training. */
bool gm_subject_trained(const gm_subject *subject);

#endif
