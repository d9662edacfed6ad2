/* Eigenpairs followed along a training: at steps 0, every, 2 every, ... and the last one, k extreme
 * pairs of a curvature operator by gm_eigen_track, which starts from those of the step before.
 *
 * A tracker hangs on the hooks of gm_train. It changes none of the training's numbers, and its own
 * are a function of its options, the problem and the parameters measured so far: with the subspace
 * in the run file, a training that was killed goes on to equal bits. */
#ifndef GRADIOMETER_TRACK_H
#define GRADIOMETER_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/curvature.h"
#include "gradiometer/diff.h"
#include "gradiometer/eigen.h"
#include "gradiometer/run.h"
#include "gradiometer/sgd.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gm_track_options {
    gm_curvature kind;   /* GM_HESSIAN: of the training loss */
    gm_which which;      /* GM_WHICH_LA */
    size_t k;            /* 0: 10, or p where that is less; else 1 ... p */
    uint64_t every;      /* 50: >= 1 */
    double tol;          /* 0: 1e-4 in f32, 1e-10 in f64; else gm_eigen_floor ... 1 */
    size_t samples;      /* 0: the whole training set; else its first so many samples alone */
    size_t max_products; /* 0: no limit; else of one measurement */
} gm_track_options;

const char *gm_which_name(gm_which which); /* "LA", "SA", "BE", "LM" */

void gm_track_options_default(gm_track_options *options);

/* Reads "spectrum", or "spectrum:KEY=VALUE,..." with the keys k, every, which (LA, SA, BE, LM),
 * tol, operator (a name of gm_curvature), n (samples) and products (max_products) into options that
 * hold the defaults. GM_ERR_USAGE names what was found and what was expected. */
gm_status gm_track_options_parse(const char *text, gm_track_options *options, gm_error *err);

/* Puts numbers in the place of the zeros of k, tol and samples, and checks all of them against the
 * problem; GM_ERR_USAGE names the key. */
gm_status gm_track_options_resolve(gm_track_options *options, const gm_problem *problem,
                                   gm_error *err);

/* Resolved options as text that gm_track_options_parse reads back to equal bits. */
enum { GM_TRACK_TEXT = 256 };
void gm_track_options_print(const gm_track_options *options, char text[GM_TRACK_TEXT]);

typedef struct gm_tracker gm_tracker;

/* A tracker of a training of so many steps on problem, which must outlive it. options must be
 * resolved; seed is of the random vectors that accompany each start. Memory: k vectors of p doubles
 * at rest; while it measures, gm_tracker_bytes beside the linearization. GM_ERR_USAGE where k
 * vectors are more than a run file can hold in one array. */
gm_status gm_tracker_create(gm_problem *problem, const gm_track_options *options, uint64_t seed,
                            uint64_t steps, gm_tracker **tracker, gm_error *err);
void gm_tracker_free(gm_tracker *tracker);
size_t gm_tracker_bytes(const gm_tracker *tracker); /* SIZE_MAX where that overflows */

/* Asked before every block of products; true ends the measurement with GM_ERR_INTERRUPTED. */
void gm_tracker_watch(gm_tracker *tracker, bool (*stop)(void *context), void *context);

/* The hooks of gm_train_hooks. Steps that were measured are not due again. */
bool gm_tracker_due(const gm_tracker *tracker, uint64_t t);

/* theta [p]. Pairs that did not converge are no error: their residuals say so. Where products are
 * not finite, or so noisy that the operator is not symmetric, the values are NaN. Cost: one
 * linearization and the products. */
gm_status gm_tracker_measure(gm_tracker *tracker, uint64_t t, const double *theta, gm_error *err);

/* Stores what was measured since the last call in one transaction: metrics NAME/eigenvalue/j,
 * NAME/residual/j (j = 1 ... k), NAME/products and NAME/converged, NAME the operator's; and the
 * subspace, in the precision of the problem, in place of the one before (docs/run-file.md). */
gm_status gm_tracker_save(gm_tracker *tracker, gm_run *run, gm_error *err);

/* Continues where the run file stands: everything measured before, and the subspace. GM_OK where it
 * holds none yet; GM_ERR_INPUT where it does not fit the options. */
gm_status gm_tracker_load(gm_tracker *tracker, gm_run *run, gm_error *err);

/* Everything measured so far, earlier sessions included; it belongs to the tracker. */
typedef struct gm_tracked {
    size_t k, count;
    const int64_t *step;       /* [count] ascending */
    const double *value;       /* [count, k] descending, NaN where missing */
    const double *residual;    /* [count, k] ||A v - value v|| */
    const double *products;    /* [count] */
    const double *converged;   /* [count] pairs of k */
    uint64_t invalid;          /* measurements of this session that gave NaN, and ... */
    const char *invalid_cause; /* ... why the last one did; "" without */
} gm_tracked;

gm_tracked gm_tracker_results(const gm_tracker *tracker);
const gm_track_options *gm_tracker_options(const gm_tracker *tracker); /* resolved */

/* --- gauges of stability along a training (theory section 3.5) --- */

/* What the batches of the training say of its step, from their own activations and signals: no pass
 * over the data set. Chains of dense layers and activations take their short cuts; other nets form
 * the gradient of each sample in layers whose weights act at several positions, and two products
 * with H_B where curvature is measured. Running means are exponential, over
 * about `memory` measurements; their errors take these as independent. */
typedef struct gm_gauge_watch_options {
    uint64_t every;     /* 1: steps from one measurement to the next */
    uint64_t curvature; /* 10: of them, every so many with products: the sharpnesses; 0: none */
    uint64_t memory;    /* 30: of the running means */
    double alarm;       /* 12: s of the band that the loss should leave with probability e^-s */
} gm_gauge_watch_options;

void gm_gauge_watch_options_default(gm_gauge_watch_options *options);
/* "gauges", or "gauges:KEY=VALUE,..." with the keys above; true where text begins with the name. */
bool gm_gauge_watch_match(const char *text);
gm_status gm_gauge_watch_parse(const char *text, gm_gauge_watch_options *options, gm_error *err);
void gm_gauge_watch_print(const gm_gauge_watch_options *options, char text[GM_TRACK_TEXT]);

typedef struct gm_gauge_watch gm_gauge_watch;

/* For a training with these options on problem, which must outlive it. Memory: two vectors of p
 * numbers, and the batch's tangents. GM_ERR_USAGE for options out of range; GM_ERR_MEMORY. */
gm_status gm_gauge_watch_create(gm_problem *problem, const gm_gauge_watch_options *options,
                                const gm_train_options *training, gm_gauge_watch **watch,
                                gm_error *err);
void gm_gauge_watch_free(gm_gauge_watch *watch);

/* The hook `batch` of gm_train_hooks. Cost where a measurement is due: per-sample norms, and the
 * Gram matrix of the batch or one product of matrices per layer, whichever is less; with products a
 * tangent pass along g_B and a product with H_B. Else that of the losses' spread. */
gm_status gm_gauge_watch_batch(gm_gauge_watch *watch, const gm_train_batch *batch, gm_error *err);

/* The metrics since the last call, gauge/NAME (docs/run-file.md), and the state, in one
 * transaction; and back. */
gm_status gm_gauge_watch_save(gm_gauge_watch *watch, gm_run *run, gm_error *err);
gm_status gm_gauge_watch_load(gm_gauge_watch *watch, gm_run *run, gm_error *err);

/* A mean over measurements and its standard error; NaN before the first. */
typedef struct gm_gauge_mean {
    double value, error;
} gm_gauge_mean;

/* As the running means stand. */
typedef struct gm_watched_gauges {
    uint64_t measured, curved;            /* measurements, and those with products */
    gm_gauge_mean gradient_square, trace; /* |mu|^2, tr Sigma */
    gm_gauge_mean noise_scale;            /* tr Sigma / |mu|^2 */
    gm_gauge_mean batch_sharpness;        /* g_B . H_B g_B / |g_B|^2 */
    /* v . H_B v of a vector that earlier batches turned towards the top: unbiased for v . H v, so
     * below lambda_max in expectation. */
    gm_gauge_mean sharpness;
    gm_gauge_mean interaction;        /* g_B . H_B g_B / |mu|^2 */
    bool predicted;                   /* the training is one whose step the alarm can predict */
    uint64_t watched, alarms;         /* changes of the batch loss, and those above their band */
    uint64_t first_alarm, last_alarm; /* steps */
} gm_watched_gauges;

gm_watched_gauges gm_gauge_watch_results(const gm_gauge_watch *watch);
const gm_gauge_watch_options *gm_gauge_watch_options_of(const gm_gauge_watch *watch);

#ifdef __cplusplus
}
#endif
#endif
