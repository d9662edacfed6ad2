/* gradiometer dynamics: what the subcommands share. */
#ifndef GM_CLI_DYNAMICS_H
#define GM_CLI_DYNAMICS_H

#include <jansson.h>

#include "cli/document.h"
#include "cli/session.h"
#include "gradiometer/dynamics.h"
#include "gradiometer/stability.h"

/* Of ensemble alone. */
typedef struct gm_ensemble_settings {
    size_t runs, first_run; /* first_run: SIZE_MAX for 0, or 1 where --params names a run file */
    uint64_t steps;
    int fresh;             /* 0: fixed, 1: fresh */
    const char *record;    /* comma list; NULL: loss, delta, cosine, distance */
    const char *keep_runs; /* comma list; NULL: none */
    uint64_t record_every, gradient_every;
    size_t exact_runs;
    bool nesterov;
    double weight_decay;
    gm_optimizer optimizer;
    gm_precondition precondition;
} gm_ensemble_settings;

typedef struct gm_dynamics_settings {
    const char *batch, *step; /* comma lists; NULL: those of the run in --params, else 1 and 0.1 */
    const char *levels;       /* comma list */
    double momentum;          /* < 0: that of the run, else 0 */
    size_t draws;             /* 0: 1000 for predict, 64 for advise */
    size_t exact_samples;     /* SIZE_MAX: as each subcommand has it */
    size_t probes;
    size_t directions; /* stability: 0 for all up to GM_SPAN_MOST, else 20 */
    double cut;
    size_t observe, horizon; /* runs and steps of each */
    const char *at;          /* comma list of steps; NULL: all checkpoints */
    bool plain;              /* predict: the step theta - eta g, whatever the run's is */
    double balance;          /* phases: share of the gain that the noise takes back */
    gm_ensemble_settings ensemble;
} gm_dynamics_settings;

/* The text of a setting with which the run in --params was trained; NULL where there is none. */
const char *gm_dynamics_recorded(const gm_session *session, const char *key);
/* The step size of the run in --params at the point: its fixed step, or what its policy chose there
 * or last before; *text is the caller's (gm_free), NULL where there is none. */
gm_status gm_dynamics_run_step(const gm_session *session, char **text, gm_error *err);
/* Numbers of a comma list, at most `most` of them; whole: integers >= 1, else finite numbers > 0.
 * GM_ERR_USAGE names the option. */
gm_status gm_dynamics_list(const char *name, const char *text, bool whole, size_t most,
                           double *value, size_t *count, gm_error *err);
/* Of --batch and --step, where given: at most so many numbers; steps 0: --step is no list of them.
 */
enum { GM_DYNAMICS_LIST = 64 };
gm_status gm_dynamics_check_lists(const gm_cli *cli, size_t batches, size_t steps, gm_error *err);
/* Of --draws, where a spread is to be seen. */
gm_status gm_dynamics_check_draws(const gm_cli *cli, gm_error *err);
/* Whether mini-batches of these sizes can be drawn from n samples; fresh: one after the other at
 * one point, which the batches of an epoch are not. */
gm_status gm_dynamics_check_batches(gm_replacement replacement, bool fresh, size_t batches,
                                    const double *batch, size_t n, gm_error *err);
/* Of a training that is to come, on n samples and with `parameters` numbers: what its run file
 * will not be able to answer (batches, --at, policies of another training). */
gm_status gm_dynamics_check_training(const gm_cli *cli, const gm_train_options *train, size_t n,
                                     size_t parameters, gm_error *err);
/* The loss differences delta [draws] of options->draws fresh mini-batches at theta [p], as by
 * gm_step_draw on the session's data, each rank its share of them. Best in slices of so many,
 * between which an interruption is heeded. */
size_t gm_dynamics_slice(const gm_session *session);
gm_status gm_dynamics_draw(const gm_session *session, const double *theta,
                           const gm_draw_options *options, double *delta, gm_error *err);

/* How batches are drawn: as given, else as the run was trained. */
gm_replacement gm_dynamics_replacement(const gm_cli *cli, const gm_session *session);

/* Notes what of the optimizer of the run in --params the numbers leave out. */
void gm_dynamics_note_optimizer(gm_cli *cli, const gm_session *session, bool momentum_used);
/* How the noise is taken, by --exact-samples, --probes and the seed. GM_ERR_USAGE for --probes,
 * GM_ERR_MEMORY where it exceeds --memory. */
gm_status gm_dynamics_step_options(const gm_cli *cli, const gm_session *session, bool trace_only,
                                   gm_step_options *o, gm_error *err);
/* Notes that tr(H Sigma) was estimated, where it was. */
void gm_dynamics_note_trace(gm_cli *cli, const gm_session *session, const gm_step_options *o);

/* ---- histograms of Delta ---- */

enum { GM_DELTA_BINS = 60 }; /* at most */

typedef struct gm_delta_histogram {
    double low, high, below, above; /* below, above: how many lie outside */
    size_t bins;
    double count[GM_DELTA_BINS]; /* [bins] from low to high */
} gm_delta_histogram;

/* Sets low, high and bins for `count` values with these 1 and 99 % quantiles, least and largest
 * value: from the 0.1 % to the 99.9 % point, about. false where the quantiles are equal but for
 * rounding, or one is not finite. */
bool gm_delta_histogram_frame(gm_delta_histogram *h, size_t count, const double quantile[2],
                              const double extreme[2]);
/* Keys counts, low, high, below, above. */
json_t *gm_delta_histogram_value(const gm_delta_histogram *h);

/* ---- points along a run ---- */

/* The checkpoints of the run in --params, those that --at names, or one point. */
typedef struct gm_points {
    size_t count;
    int64_t *step; /* [count] ascending; GM_RUN_NO_STEP for parameters of no run */
} gm_points;

/* The steps of a list like "0,250,1000", ascending; gm_points_free in any case. */
gm_status gm_points_parse(const char *text, gm_points *points, gm_error *err);
/* The form of --at, where given. */
gm_status gm_points_check(const gm_cli *cli, gm_error *err);
gm_status gm_points_find(const gm_cli *cli, const gm_session *session, gm_points *points,
                         gm_error *err);
void gm_points_free(gm_points *points);
/* theta [p] of a point. */
gm_status gm_points_load(const gm_session *session, int64_t step, double *theta, gm_error *err);
/* The step size that the run took at a point, or last before it; NaN where none is recorded. */
gm_status gm_points_step_size(const gm_session *session, int64_t step, double *eta, gm_error *err);
/* loss and gradient_norm of the document: at the session's own point. */
gm_status gm_points_measure_session(gm_session *session, gm_error *err);
/* The run's batch size or that of --batch, checked against the data; one number. */
gm_status gm_points_batch(const gm_cli *cli, const gm_session *session, size_t *batch,
                          gm_replacement *replacement, gm_error *err);

/* ---- martingale ---- */

enum { GM_MARTINGALE_POLICIES = 8 };

typedef struct gm_martingale_entry {
    gm_step_choice choice; /* with the numbers of the bound for every policy */
    double bound;          /* -eta mu.D^-1 mu + eta^2/2 L tr(D^-1 M_m D^-1) */
    gm_rise rise;
} gm_martingale_entry;

typedef struct gm_martingale {
    size_t batch, draws, policies;
    gm_replacement replacement;
    gm_precondition precondition;
    double epsilon; /* of its exact diagonal */
    gm_policy policy[GM_MARTINGALE_POLICIES];
    double first[GM_MARTINGALE_POLICIES]; /* eta of those that have one */
    gm_points points;
    gm_martingale_entry *entry; /* [points, policies] */
} gm_martingale;

gm_status gm_martingale_check(const gm_cli *cli, gm_error *err);
gm_status gm_martingale_check_training(const gm_cli *cli, const gm_train_options *train,
                                       gm_error *err);
gm_status gm_martingale_run(gm_cli *cli, gm_error *err);
/* How many points of a policy are ok. */
size_t gm_martingale_ok(const gm_martingale *martingale, size_t policy);
json_t *gm_martingale_document(gm_cli *cli, const gm_session *session,
                               const gm_martingale *martingale, gm_error *err);
void gm_martingale_print(const gm_cli *cli, const gm_session *session,
                         const gm_martingale *martingale);

/* ---- phases ---- */

/* What one step does by the second-order model: the gradient gains, the noise takes back. */
typedef struct gm_phase {
    double eta;                          /* of the step, divided by 1 - beta with momentum */
    double gradient_square, trace_sigma; /* |mu|^2, tr Sigma_m */
    double gain;                         /* eta |mu|^2 - eta^2/2 mu.H mu */
    double noise, noise_error;           /* eta^2/2 tr(H Sigma_m) and its standard error */
    double ratio, ratio_error;           /* noise / gain; infinite where nothing is gained */
} gm_phase;

typedef struct gm_phases {
    gm_step_options noise;
    size_t batch;
    gm_replacement replacement;
    double step, momentum, balance; /* step: fixed, or NaN where the run recorded it */
    gm_points points;
    gm_phase *phase; /* [points] */
    /* The first point from which on all are slow, points.count where there is none; the last point
     * before it that is fast beyond its error, and the first from it on that is slow beyond it. */
    size_t change, after, until;
} gm_phases;

gm_status gm_phases_check(const gm_cli *cli, gm_error *err);
gm_status gm_phases_run(gm_cli *cli, gm_error *err);
json_t *gm_phases_document(gm_cli *cli, const gm_session *session, const gm_phases *phases,
                           gm_error *err);
void gm_phases_print(const gm_cli *cli, const gm_session *session, const gm_phases *phases);
/* ---- ensemble ---- */

gm_status gm_ensemble_check(const gm_cli *cli, gm_error *err);
gm_status gm_ensemble_run_command(gm_cli *cli, gm_error *err);

/* ---- predict ---- */

enum { GM_PREDICT_QUANTILES = 7, GM_PREDICT_LEVELS = 16 };
extern const double gm_predict_level[GM_PREDICT_QUANTILES]; /* of the quantiles, in (0, 1) */

/* How often draws left the band of one s. */
typedef struct gm_coverage {
    double s, lower, upper; /* the band: mean - ..., mean + ... */
    size_t below, above;    /* draws outside */
} gm_coverage;

/* One batch size and one step size. */
typedef struct gm_predict_case {
    size_t batch;
    double step;
    gm_step_prediction predicted;
    double
        quantile[GM_PREDICT_QUANTILES]; /* of the model under Gaussian noise; NaN where unknown */
    size_t draws, infinite;             /* infinite: draws whose loss is no finite number */
    double mean, variance, mean_error;  /* of the finite draws */
    double observed[GM_PREDICT_QUANTILES];
    gm_coverage coverage[GM_PREDICT_LEVELS];
    double *delta; /* [draws] sorted */
} gm_predict_case;

typedef struct gm_predict {
    gm_step_options noise; /* without divisor and drift */
    gm_step_model model;
    bool without_replacement;
    size_t levels;
    double level[GM_PREDICT_LEVELS]; /* s */
    size_t cases;
    gm_predict_case *item;   /* batch first, then step */
    double *divisor, *drift; /* [p] of the step eta D^-1 (drift + g); NULL for I and 0 */
} gm_predict;

/* *divisor [p], the caller's: D of the run in --params, trained by these options with one: the
 * exact ones at lin's point, the others from the run's latest state, which must be that of the
 * point. */
gm_status gm_dynamics_divisor(const gm_session *session, gm_linearization *lin,
                              const gm_train_options *o, double **divisor, gm_error *err);

/* divisor and drift of the run in --params at its point, as far as its file holds them; notes what
 * the step is, and what is left out. */
gm_status gm_predict_take_step(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                               gm_predict *predict, gm_error *err);

gm_status gm_predict_check(const gm_cli *cli, gm_error *err);
gm_status gm_predict_run(gm_cli *cli, gm_error *err);
void gm_predict_free(gm_predict *predict);

json_t *gm_predict_document(gm_cli *cli, const gm_session *session, const gm_predict *predict,
                            gm_error *err);
void gm_predict_print(const gm_cli *cli, const gm_session *session, const gm_predict *predict);

/* ---- advise ---- */

typedef struct gm_advise {
    gm_gauge_options options;
    gm_step_options noise;
    double *divisor; /* [p] of the run's steps, or NULL; that of options */
    gm_step_model model;
    gm_gauges gauges;
} gm_advise;

gm_status gm_advise_check(const gm_cli *cli, gm_error *err);
gm_status gm_advise_run(gm_cli *cli, gm_error *err);
json_t *gm_advise_document(gm_cli *cli, const gm_session *session, const gm_advise *advise,
                           gm_error *err);
void gm_advise_print(const gm_cli *cli, const gm_session *session, const gm_advise *advise);

/* ---- stability ---- */

enum { GM_STABILITY_BATCHES = 32, GM_STABILITY_FACTORS = 4 };
extern const double
    gm_stability_factor[GM_STABILITY_FACTORS]; /* of the boundary, where runs are observed */

/* One batch size of the map. */
typedef struct gm_stability_row {
    size_t batch;
    double kappa;
    gm_stability_limits limits;
    gm_stability_runs runs;                     /* as observed; runs.etas is 0 without --observe */
    gm_stability_seen seen[GM_STABILITY_STEPS]; /* [runs.etas] linearized runs */
    gm_stability_seen net[GM_STABILITY_STEPS];  /* [runs.etas] pairs of runs of the net itself */
} gm_stability_row;

/* A batch and a step size placed on the map. */
typedef struct gm_stability_point {
    size_t batch;
    double step, growth, first; /* gm_stability_growth */
    double any, any_error;      /* gm_stability_first; NaN where it did not converge */
    double boundary;            /* at this batch size */
} gm_stability_point;

typedef struct gm_stability {
    gm_replacement replacement;
    double cut;
    gm_span span;
    size_t rows, points;
    gm_stability_row row[GM_STABILITY_BATCHES]; /* ascending by batch */
    gm_stability_point *point;                  /* [points] batch first, then step */
} gm_stability;

gm_status gm_stability_check(const gm_cli *cli, gm_error *err);
gm_status gm_stability_refuse_directions(size_t directions, size_t parameters, gm_error *err);
gm_status gm_stability_run(gm_cli *cli, gm_error *err);
json_t *gm_stability_document(gm_cli *cli, const gm_session *session, const gm_stability *stability,
                              gm_error *err);
void gm_stability_print(const gm_cli *cli, const gm_session *session,
                        const gm_stability *stability);

#endif
