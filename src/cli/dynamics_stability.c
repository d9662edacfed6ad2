/* gradiometer dynamics stability: the map of mean-square stability over batch and step sizes, and
 * where the run stands on it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/dynamics.h"
#include "cli/interrupt.h"
#include "cli/record.h"
#include "sgd/kappa.h"

const double gm_stability_factor[GM_STABILITY_FACTORS] = {0.5, 0.8, 1.25, 2.0};

/* Lists as given; one row of the map and the factors of the boundary are ours. */
enum {
    MOST_BATCHES = GM_STABILITY_BATCHES - 1,
    MOST_STEPS = GM_STABILITY_STEPS - GM_STABILITY_FACTORS
};
typedef struct lists {
    double batch[MOST_BATCHES], step[MOST_STEPS];
    size_t batches, steps;
} lists;

/* ---- options ---- */

gm_status gm_stability_refuse_directions(size_t directions, size_t parameters, gm_error *err)
{
    return gm_fail(err, GM_ERR_USAGE,
                   "--directions: found %zu, expected at most the %zu parameters of the net",
                   directions, parameters);
}

gm_status gm_stability_check(const gm_cli *cli, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    if (set->observe == 1)
        return gm_fail(err, GM_ERR_USAGE, "--observe: found 1, expected at least 2");
    if (!set->observe && gm_cli_given(cli, "horizon"))
        return gm_fail(err, GM_ERR_USAGE, "--horizon: only with --observe");
    return gm_dynamics_check_lists(cli, MOST_BATCHES, MOST_STEPS, err);
}

static gm_status take_lists(const gm_cli *cli, const gm_session *session, gm_stability *s,
                            lists *own, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const char *batch = gm_dynamics_recorded(session, "train.batch");
    char *step = NULL;
    gm_status status = gm_dynamics_run_step(session, &step, err);
    if (status != GM_OK) return status;
    const char *batches = set->batch ? set->batch : batch ? batch : "1";
    const char *steps = set->step ? set->step : step ? step : "0.1";
    status = gm_dynamics_list("batch", batches, true, MOST_BATCHES, own->batch, &own->batches, err);
    if (status == GM_OK)
        status = gm_dynamics_list("step", steps, false, MOST_STEPS, own->step, &own->steps, err);
    gm_free(step);
    s->replacement = gm_dynamics_replacement(cli, session);
    s->cut = set->cut;
    if (status != GM_OK) return status;
    return gm_dynamics_check_batches(s->replacement, false, own->batches, own->batch,
                                     session->data->n, err);
}

static gm_status check_options(gm_cli *cli, const gm_session *session, const gm_stability *s,
                               const lists *own, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    size_t p = gm_problem_parameters(session->problem), n = session->data->n;
    size_t k = set->directions ? set->directions : p <= GM_SPAN_MOST ? p : 20;
    if (k > p) {
        return gm_stability_refuse_directions(k, p, err);
    }
    if (s->replacement == GM_REPLACEMENT_EPOCH) {
        gm_cli_note(cli,
                    "the run drew its batches by epochs: within one they depend on each other; "
                    "the map is that of fresh batches without replacement");
    }
    size_t q = k * (k + 1) / 2;
    gm_status status = GM_OK;
    if (set->observe) { /* pairs of runs are held in blocks */
        size_t block = 1 + (size_t)2e6 / p;
        status = gm_session_check_matrix(session, "the runs of --observe", 2,
                                         set->observe < block ? set->observe : block, p, err);
    }
    for (size_t i = 0; set->observe && status == GM_OK && i < own->batches; i++) {
        status = gm_session_check_matrix(session, "a mini-batch of --observe", 1,
                                         (size_t)own->batch[i], session->data->features, err);
    }
    if (status != GM_OK) return status;
    status = gm_session_check_matrix(session,
                                     "the Hessians of the samples between "
                                     "--directions",
                                     1, n, q, err);
    if (status != GM_OK) return status;
    return gm_session_check_matrix(session, "the map of second moments between --directions", 4, q,
                                   q, err);
}

static int by_batch(const void *a, const void *b)
{
    size_t x = ((const gm_stability_row *)a)->batch, y = ((const gm_stability_row *)b)->batch;
    return (x > y) - (x < y);
}

static void add_row(gm_stability *s, size_t batch)
{
    for (size_t i = 0; i < s->rows; i++) {
        if (s->row[i].batch == batch) return;
    }
    if (s->rows < GM_STABILITY_BATCHES) s->row[s->rows++].batch = batch;
}

/* The batch sizes asked for, and the powers of two up to n where none were. */
static void choose_rows(const gm_cli *cli, const lists *own, size_t n, gm_stability *s)
{
    const gm_dynamics_settings *set = cli->settings;
    for (size_t i = 0; i < own->batches; i++) {
        add_row(s, (size_t)own->batch[i]);
    }
    for (size_t m = 1; !set->batch && m <= n; m *= 2) {
        add_row(s, m);
    }
    qsort(s->row, s->rows, sizeof *s->row, by_batch);
    for (size_t i = 0; i < s->rows; i++) {
        s->row[i].kappa = gm_kappa_of(n, s->row[i].batch, s->replacement != GM_REPLACEMENT_YES);
    }
}

/* ---- measuring ---- */

static gm_status place_points(gm_cli *cli, gm_linearization *lin, const lists *own, uint64_t seed,
                              gm_stability *s, gm_error *err)
{
    gm_status status = GM_OK;
    s->points = own->batches * own->steps;
    s->point = gm_alloc(s->points, sizeof *s->point, "points of the map", err);
    if (!s->point) return GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < s->points; i++) {
        gm_stability_point *point = &s->point[i];
        point->batch = (size_t)own->batch[i / own->steps];
        point->step = own->step[i % own->steps];
        const gm_stability_row *row = s->row;
        while (row->batch != point->batch) {
            row++;
        }
        point->boundary = row->limits.boundary;
        status = gm_stability_growth(&s->span, row->kappa, point->step, &point->growth,
                                     &point->first, err);
        if (status != GM_OK) break;
        gm_error failure = {0};
        status = gm_stability_first(lin, row->kappa, point->step, 1e-4, seed, &point->any,
                                    &point->any_error, &failure);
        if (status == GM_ERR_NUMERIC) {
            gm_cli_note(cli, "batch %zu, step %g: %s", point->batch, point->step, failure.message);
            point->any = point->any_error = (double)NAN;
            status = GM_OK;
        } else if (status != GM_OK) {
            *err = failure;
        }
    }
    return status;
}

/* Progress over all rows and both kinds of runs. */
typedef struct observation {
    gm_progress bar;
    uint64_t done; /* steps before the call under way */
} observation;

static void show_progress(void *context, uint64_t steps)
{
    observation *o = context;
    gm_progress_update(&o->bar, (size_t)(o->done + steps), NULL);
}

/* What is run in one row: beside the boundary on both sides, and the step sizes asked for. */
static void choose_runs(const gm_dynamics_settings *set, const lists *own, uint64_t seed,
                        gm_replacement replacement, gm_stability_row *row)
{
    gm_stability_runs *o = &row->runs;
    gm_stability_runs_default(o);
    o->batch = row->batch;
    o->replacement = replacement == GM_REPLACEMENT_YES ? GM_REPLACEMENT_YES : GM_REPLACEMENT_NO;
    o->runs = set->observe;
    o->horizon = set->horizon;
    o->seed = seed;
    o->etas = 0;
    for (int f = 0; f < GM_STABILITY_FACTORS; f++) {
        o->eta[o->etas++] = gm_stability_factor[f] * row->limits.boundary;
    }
    for (size_t j = 0; j < own->steps; j++) {
        o->eta[o->etas++] = own->step[j];
    }
}

static gm_status observe(const gm_cli *cli, const gm_session *session, gm_linearization *lin,
                         const lists *own, gm_stability *s, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    size_t steps = set->observe * set->horizon, etas = GM_STABILITY_FACTORS + own->steps;
    observation seen = {0};
    gm_ensemble_hooks hooks = {
        .context = &seen, .stop = gm_interrupt_requested, .progress = show_progress};
    gm_status status = GM_OK;
    if (!set->observe || !(s->row[0].limits.boundary > 0.0)) return GM_OK;
    gm_interrupt_install();
    gm_progress_start(&seen.bar, "dynamics stability", "steps", 0, s->rows * steps * (1 + 2 * etas),
                      cli->shared.quiet);
    for (size_t i = 0; status == GM_OK && i < s->rows; i++) {
        gm_stability_row *row = &s->row[i];
        choose_runs(set, own, session->seed, s->replacement, row);
        status = gm_stability_observe(lin, &s->span, &row->runs, &hooks, row->seen, err);
        seen.done += steps;
        if (status == GM_OK) {
            status = gm_stability_observe_net(session->problem, session->theta, &s->span,
                                              &row->runs, &hooks, row->net, err);
        }
        seen.done += 2 * etas * steps;
    }
    gm_progress_finish(&seen.bar);
    return status;
}

static gm_status measure(gm_cli *cli, gm_session *session, const lists *own, gm_stability *s,
                         gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    gm_linearization *lin = NULL;
    gm_span_options o;
    gm_span_options_default(&o);
    o.k = set->directions;
    o.cut = set->cut;
    o.seed = session->seed;
    gm_status status = gm_linearize(session->problem, session->theta, &lin, err);
    if (status == GM_OK) {
        gm_session_measure(session, lin);
        status = gm_span_make(lin, &o, &s->span, err);
    }
    for (size_t i = 0; status == GM_OK && i < s->rows; i++) {
        status = gm_stability_limits_find(&s->span, s->row[i].kappa, &s->row[i].limits, err);
    }
    if (status == GM_OK) status = place_points(cli, lin, own, session->seed, s, err);
    if (status == GM_OK) status = observe(cli, session, lin, own, s, err);
    gm_linearization_free(lin);
    return status;
}

gm_status gm_stability_run(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    json_t *document = NULL;
    lists own = {0};
    gm_stability *s = gm_alloc(1, sizeof *s, "map of stability", err);
    gm_status status = s ? gm_session_open(cli, &session, err) : GM_ERR_MEMORY;
    if (status == GM_OK) status = take_lists(cli, &session, s, &own, err);
    if (status == GM_OK) status = check_options(cli, &session, s, &own, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status != GM_OK) goto done;
    choose_rows(cli, &own, session.data->n, s);
    gm_dynamics_note_optimizer(cli, &session, false);
    gm_cli_begin(cli);
    status = measure(cli, &session, &own, s, err);
    if (status != GM_OK) goto done;
    document = gm_stability_document(cli, &session, s, err);
    status = document ? gm_record_result(cli, &session, "stability", document, NULL, 0, err)
                      : GM_ERR_MEMORY;
    if (status == GM_OK && cli->shared.json) {
        status = gm_document_print(cli, document, err);
        document = NULL;
    } else if (status == GM_OK) {
        gm_stability_print(cli, &session, s);
    }
done:
    json_decref(document);
    if (s) {
        gm_span_free(&s->span);
        gm_free(s->point);
    }
    gm_free(s);
    gm_session_close(&session);
    return status;
}
