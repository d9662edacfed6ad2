/* What the files of the gauges share. */
#ifndef GM_TRACK_WATCH_H
#define GM_TRACK_WATCH_H

#include "diff/problem.h"
#include "gradiometer/track.h"

/* Exponential sums over measurements x: of their weights w and w^2, of w x and w x^2. */
typedef struct gm_running {
    double weight, weights, sum, squares;
} gm_running;

enum {
    GM_RUNNING_SQUARE, /* |mu|^2 */
    GM_RUNNING_TRACE,  /* tr Sigma */
    GM_RUNNING_RATIO,  /* g_B . H_B g_B / |g_B|^2 */
    GM_RUNNING_FORM,   /* g_B . H_B g_B */
    GM_RUNNING_SHARP,  /* v . H_B v */
    GM_RUNNINGS
};

/* All numbers that a resumed training needs beside the vector: doubles alone, stored as one array.
 */
typedef struct gm_watch_state {
    gm_running running[GM_RUNNINGS];
    double measured, curved, watched, alarms, first_alarm, last_alarm;
    double pending;                  /* 1: the next batch's loss is expected to be ... */
    double loss, expected, variance; /* loss + expected, with this variance beside its own */
} gm_watch_state;
enum { GM_WATCH_NUMBERS = sizeof(gm_watch_state) / sizeof(double) };

/* Names of the metrics, after "gauge/". */
typedef enum gm_gauge_series {
    GM_SERIES_SQUARE,
    GM_SERIES_SQUARE_ERROR,
    GM_SERIES_TRACE,
    GM_SERIES_TRACE_ERROR,
    GM_SERIES_NOISE_SCALE,
    GM_SERIES_NOISE_SCALE_ERROR,
    GM_SERIES_BATCH_SHARPNESS,
    GM_SERIES_BATCH_SHARPNESS_MEAN,
    GM_SERIES_BATCH_SHARPNESS_ERROR,
    GM_SERIES_SHARPNESS,
    GM_SERIES_SHARPNESS_MEAN,
    GM_SERIES_SHARPNESS_ERROR,
    GM_SERIES_INTERACTION,
    GM_SERIES_INTERACTION_ERROR,
    GM_SERIES_DELTA,
    GM_SERIES_DELTA_EXPECTED,
    GM_SERIES_DELTA_BAND,
    GM_SERIES_ALARM,
    GM_SERIES
} gm_gauge_series;
extern const char *const gm_gauge_series_name[GM_SERIES]; /* "gauge/gradient_square", ... */

struct gm_gauge_watch {
    gm_gauge_watch_options options;
    gm_problem *problem;
    const gm_kernels *k;
    size_t p, capacity; /* samples of a batch */
    uint64_t seed;
    bool without_replacement, predicted;
    bool plain; /* dense layers and activations alone */

    gm_watch_state state;
    void *vector; /* v [p], of length 1 */
    bool unsaved; /* since the last save */

    /* For work; n below are samples of a chunk. */
    void *image;               /* H_B v, times m [p] */
    void *unit_image, *sample; /* any net: H_B g_B / |g_B|, times m [p]; one sample's gradient by
                                  the largest layer that needs it */
    void *work;                /* [2, n, largest width], also two matrices [m, m] */
    double *own, *along, *form,
        *sharp;   /* [capacity] |g_i|^2, g_i . g_B, g_B . H_i g_B, v . H_i v */
    double *loss; /* [capacity] */
    double *dots; /* [n] */

    gm_metric *metric; /* [room], `metrics` of them not saved yet */
    size_t metrics, room;
};

/* Whether the net is a chain of dense layers and activations, each with weights of its own. */
bool gm_watch_plain(const gm_net *net);
/* Parameters of the largest layer whose per-sample gradient is no outer product; 0 without. */
size_t gm_watch_widest(const gm_net *net);
/* own [n] += |s|^2 (|a|^2 + 1) of a dense layer. */
void gm_watch_outer_norms(gm_gauge_watch *w, const gm_chunk *c, const gm_node *node, const void *in,
                          const void *signal, double *own);

/* Of a chunk of any net, gradient that of the batch: own [n] += |g_i|^2, along [n] += g_i . g_B.
 * Cost: a backward call per sample for each layer that is no outer product, and one tangent call
 * per layer. */
void gm_watch_any_norms(gm_gauge_watch *w, const gm_worker *worker, const gm_chunk *c,
                        const void *gradient, double *own, double *along);
/* image += sum H_i v and, unless unit is NULL, unit_image += sum H_i unit over the chunk. */
void gm_watch_any_curvature(gm_gauge_watch *w, gm_worker *worker, const gm_chunk *c,
                            const void *unit);

/* A finite number for the next save. */
gm_status gm_watch_note(gm_gauge_watch *watch, uint64_t t, gm_gauge_series series, double value,
                        gm_error *err);

#endif
