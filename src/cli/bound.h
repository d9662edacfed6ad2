/* gradiometer bound: what the subcommands share. */
#ifndef GM_CLI_BOUND_H
#define GM_CLI_BOUND_H

#include <jansson.h>

#include "cli/document.h"
#include "cli/session.h"
#include "gradiometer/bound.h"
#include "gradiometer/measures.h"
#include "gradiometer/posterior.h"

typedef enum gm_bound_measured {
    GM_MEASURED_ALL,
    GM_MEASURED_FAST,
    GM_MEASURED_NONE
} gm_bound_measured;

typedef enum gm_bound_scales { GM_SCALES_AUTO, GM_SCALES_LEARNED, GM_SCALES_FIXED } gm_bound_scales;

typedef struct gm_bound_settings {
    const char *params0;         /* NULL: step 0 of the run in --params */
    const char *prior_scale;     /* "auto" or a number */
    const char *posterior_scale; /* "auto", "n" or a number */
    const char *layer_scale;     /* NAME=S[,NAME=S]... or NULL */
    const char *magnitudes;      /* comma list, rescale */
    double delta, radius, clip;
    gm_bound_form form;
    gm_bound_scales optimize_scales;
    size_t draws, block; /* block 0: chosen */
    bool whole_draws;
    size_t rescalings;        /* for each magnitude */
    size_t diagonal_products; /* 0: exact where possible */
    gm_bound_measured measured;
    double prior_fraction; /* 0: whatever the run file says */
    uint64_t optimize;     /* steps, 0: not */
    gm_objective objective;
    size_t optimize_batch, rounds;
    double optimize_step;
    size_t resamples; /* compare */
    bool measure;     /* compare: runs without a bound */
    double certainty; /* compare */
} gm_bound_settings;

/* Where the initialization is from, and what speaks against the bound. */
enum { GM_BOUND_REASONS = 4 };
typedef struct gm_bound_origin {
    double *theta0; /* [p] */
    char *point;    /* "run.gmr, step 0" */
    double *given;  /* [layers]: scales from --layer-scale, 0 where not given; or NULL */
    char *reason[GM_BOUND_REASONS];
    size_t reasons;  /* 0: nothing is known against it */
    json_t *learned; /* where step 0 of a run is a learned prior: what the run file says of it, the
                        session's training set being the samples that it has not seen; else NULL */
} gm_bound_origin;

/* Initialization, layers' scales and options of the library, checked; reasons collected. */
gm_status gm_bound_prepare(gm_cli *cli, gm_session *session, gm_bound_origin *origin,
                           gm_bound_options *options, gm_error *err);
void gm_bound_origin_free(gm_bound_origin *origin);

/* What `run`, in which the initialization is step 0, says of a prior learned from a share of the
 * data: the session's training set becomes the samples that it has not seen. Does nothing where
 * step 0 is an initialization; --prior-fraction, where given, must agree. */
gm_status gm_bound_rest(gm_cli *cli, gm_session *session, gm_run *run, gm_bound_origin *origin,
                        gm_error *err);

/* Terms that re-scaling must leave alone, of one bound and its measures. */
enum { GM_BOUND_INVARIANTS = 7 };
extern const char *const gm_bound_invariant[GM_BOUND_INVARIANTS];
void gm_bound_invariants(double loss, const gm_bound *bound, double value[GM_BOUND_INVARIANTS]);
/* |a - b| / |b|, 0 where both are equal. */
double gm_relative_change(double a, double b);

/* ---- bound ---- */

/* A check of the invariance on some of the samples. */
typedef struct gm_bound_check {
    bool made;
    size_t samples;
    double magnitude, change;
} gm_bound_check;

typedef struct gm_bound_run {
    gm_bound_origin origin;
    gm_bound_options options;
    gm_bound bound;
    gm_measures measures;                /* NaN where not asked for */
    bool measured, measured_all, tested; /* tested: test, test_error */
    double radius;
    double error, test_error; /* of the deterministic net; test_error NaN without test data */
    gm_gibbs test;
    gm_bound_check check;
} gm_bound_run;

/* Everything of one document at the session's point; run->origin and options are prepared. After
 * Ctrl-C GM_ERR_INTERRUPTED: the bound itself is finished where run->bound.n > 0, and what is not
 * is missing from the document. */
gm_status gm_bound_take(gm_cli *cli, gm_session *session, gm_bound_run *run, gm_error *err);
gm_status gm_bound_measure_run(gm_cli *cli, gm_error *err);
/* A bound for every checkpoint of the run file at path. */
gm_status gm_bound_course(gm_cli *cli, const char *path, gm_error *err);
json_t *gm_bound_document(gm_cli *cli, const gm_session *session, const gm_bound_run *run,
                          gm_error *err);
void gm_bound_print(const gm_session *session, const gm_bound_run *run);
/* The measures as an object, with definitions, references and marks. */
json_t *gm_bound_measures(gm_cli *cli, const gm_measures *measures, double radius);

/* ---- bound rescale ---- */

/* One re-scaling: magnitude 1 is the net as it is. */
typedef struct gm_rescaled {
    double magnitude;
    double *alpha; /* [layers] */
    double loss, error;
    double invariant[GM_BOUND_INVARIANTS];
    gm_measures measures;
} gm_rescaled;

typedef struct gm_rescale_run {
    gm_bound_origin origin;
    gm_bound_options options;
    gm_measure_options measure;
    size_t count, layers; /* of item; the first is the net as it is */
    gm_rescaled *item;
    double change;       /* largest relative change of the invariants */
    const char *changed; /* which of them changed that much */
} gm_rescale_run;

gm_status gm_rescale_check(const gm_cli *cli, gm_error *err);
/* Whether the layers of the net can be re-scaled at all. */
gm_status gm_rescale_check_net(const gm_net *net, gm_error *err);
gm_status gm_rescale_command(gm_cli *cli, gm_error *err);
json_t *gm_rescale_document(gm_cli *cli, const gm_session *session, const gm_rescale_run *run,
                            gm_error *err);
void gm_rescale_print(const gm_cli *cli, const gm_session *session, const gm_rescale_run *run);

#endif
