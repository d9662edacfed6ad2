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

#ifdef __cplusplus
}
#endif
#endif
