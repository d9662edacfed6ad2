#include "cli/train_track.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"

const char gm_train_track_setting[] = "train.track";

/* ---- the words ---- */

/* The trackers of a list, each at most once. */
typedef struct track_list {
    bool spectrum, gauges;
    gm_track_options spectrum_options;
    gm_gauge_watch_options gauge_options;
} track_list;

static gm_status parse_item(const char *item, track_list *list, gm_error *err)
{
    bool gauges = gm_gauge_watch_match(item), *seen = gauges ? &list->gauges : &list->spectrum;
    gm_status status = gauges ? gm_gauge_watch_parse(item, &list->gauge_options, err)
                              : gm_track_options_parse(item, &list->spectrum_options, err);
    if (status == GM_OK && *seen) {
        status = gm_fail(err, GM_ERR_USAGE, "--track: found %s twice, expected it once",
                         gauges ? "gauges" : "spectrum");
    }
    *seen = true;
    return status;
}

static gm_status parse_list(const char *text, track_list *list, gm_error *err)
{
    *list = (track_list){0};
    gm_track_options_default(&list->spectrum_options);
    gm_gauge_watch_options_default(&list->gauge_options);
    gm_status status = GM_OK;
    for (const char *at = text; at && status == GM_OK;) {
        const char *end = strchr(at, ';');
        char item[GM_TRACK_TEXT];
        size_t length = end ? (size_t)(end - at) : strlen(at);
        if (length >= sizeof item) {
            return gm_fail(err, GM_ERR_USAGE, "--track: found %zu bytes, expected fewer than %zu",
                           length, sizeof item);
        }
        snprintf(item, sizeof item, "%.*s", (int)length, at);
        status = parse_item(item, list, err);
        at = end ? end + 1 : NULL;
    }
    return status;
}

gm_status gm_train_track_check(const char *text, gm_error *err)
{
    track_list list;
    return text ? parse_list(text, &list, err) : GM_OK;
}

static gm_status check_memory(const gm_session *session, const gm_tracker *tracker, gm_error *err)
{
    double bytes = (double)gm_tracker_bytes(tracker);
    double budget = (double)gm_session_memory(session);
    if (bytes <= budget) return GM_OK;
    return gm_fail(err, GM_ERR_MEMORY,
                   "--memory: the basis of --track takes %.4g MiB, the budget is %.4g MiB",
                   bytes / 0x1p20, budget / 0x1p20);
}

static void note_choices(gm_cli *cli, const gm_session *session, const gm_track_options *o,
                         const gm_train_options *options)
{
    if (o->samples < session->data->n) {
        gm_cli_note(cli, "--track: the %s is that of the loss on the first %zu of %zu samples",
                    gm_curvature_name(o->kind), o->samples, session->data->n);
    }
    bool scaled =
        options->optimizer != GM_OPTIMIZER_SGD || options->precondition != GM_PRECONDITION_NONE;
    if (scaled && o->kind == GM_HESSIAN) {
        gm_cli_note(cli, "--track follows the Hessian H itself; where the step becomes unstable is "
                         "decided by D^-1/2 H D^-1/2, D the divisor of the gradients (gradiometer "
                         "spectrum --precondition measures it at a checkpoint)");
    }
}

static gm_status open_spectrum(gm_cli *cli, gm_session *session, gm_track_options *o,
                               const gm_train_options *options, gm_tracker **tracker,
                               char words[GM_TRACK_TEXT], gm_error *err)
{
    gm_status status = gm_track_options_resolve(o, session->problem, err);
    if (status == GM_OK) {
        status =
            gm_tracker_create(session->problem, o, options->seed, options->steps, tracker, err);
    }
    if (status == GM_OK) status = check_memory(session, *tracker, err);
    if (status != GM_OK) return status;
    gm_track_options_print(o, words);
    note_choices(cli, session, o, options);
    return GM_OK;
}

gm_status gm_train_track_open(gm_cli *cli, gm_session *session, const char *text,
                              const gm_train_options *options, gm_train_tracks *tracks,
                              char words[GM_TRAIN_TRACK_WORDS], gm_error *err)
{
    track_list list;
    char spectrum[GM_TRACK_TEXT] = "", gauges[GM_TRACK_TEXT] = "";
    *tracks = (gm_train_tracks){0};
    if (!text) return GM_OK;
    gm_status status = parse_list(text, &list, err);
    if (status == GM_OK && list.spectrum) {
        status = open_spectrum(cli, session, &list.spectrum_options, options, &tracks->spectrum,
                               spectrum, err);
    }
    if (status == GM_OK && list.gauges) {
        status = gm_gauge_watch_create(session->problem, &list.gauge_options, options,
                                       &tracks->gauges, err);
        gm_gauge_watch_print(&list.gauge_options, gauges);
    }
    if (status != GM_OK) return status;
    snprintf(words, GM_TRAIN_TRACK_WORDS, "%s%s%s", spectrum, *spectrum && *gauges ? ";" : "",
             gauges);
    if (tracks->gauges && !gm_gauge_watch_results(tracks->gauges).predicted) {
        gm_cli_note(cli, "--track: gauges: no alarm: the change of the loss is predicted for plain "
                         "SGD without momentum, preconditioner and weight decay, batches of two or "
                         "more and curvature above 0");
    }
    return GM_OK;
}

void gm_train_tracks_free(gm_train_tracks *tracks)
{
    gm_tracker_free(tracks->spectrum);
    gm_gauge_watch_free(tracks->gauges);
}

/* ---- what it found ---- */

typedef struct extreme {
    const char *name;
    double value; /* at the last measured step */
} extreme;

static extreme extreme_of(const gm_tracker *tracker)
{
    gm_tracked found = gm_tracker_results(tracker);
    if (!found.count) return (extreme){"", (double)NAN};
    const double *last = found.value + (found.count - 1) * found.k;
    switch (gm_tracker_options(tracker)->which) {
    case GM_WHICH_SA: {
        size_t j = found.k;
        while (j > 1 && isnan(last[j - 1])) {
            j--;
        }
        return (extreme){"lambda_min", last[j - 1]};
    }
    case GM_WHICH_LM: {
        double largest = last[0];
        for (size_t j = 1; j < found.k; j++) {
            if (fabs(last[j]) > fabs(largest)) largest = last[j];
        }
        return (extreme){"largest |lambda|:", largest};
    }
    case GM_WHICH_LA:
    case GM_WHICH_BE:
        break;
    }
    return (extreme){"lambda_max", last[0]};
}

void gm_train_track_short(const gm_train_tracks *tracks, char text[GM_TRAIN_TRACK_SHORT])
{
    text[0] = '\0';
    if (tracks->spectrum) {
        extreme end = extreme_of(tracks->spectrum);
        if (*end.name) snprintf(text, GM_TRAIN_TRACK_SHORT, "%s %.4g", end.name, end.value);
    }
    if (!tracks->gauges) return;
    gm_watched_gauges g = gm_gauge_watch_results(tracks->gauges);
    size_t used = strlen(text);
    if (!g.alarms) return;
    snprintf(text + used, GM_TRAIN_TRACK_SHORT - used,
             "%sALARM at step %" PRIu64 ": loss above its band", used ? ", " : "", g.last_alarm);
}

static void note_spectrum(gm_cli *cli, const gm_tracker *tracker)
{
    gm_tracked found = gm_tracker_results(tracker);
    size_t short_of = 0;
    for (size_t i = 0; i < found.count; i++) {
        if (found.converged[i] < (double)found.k) short_of++;
    }
    if (short_of) {
        gm_cli_note(cli,
                    "--track: at %zu of %zu steps not all %zu eigenpairs converged; their "
                    "residuals are recorded",
                    short_of, found.count, found.k);
    }
    if (found.invalid) {
        gm_cli_note(cli, "--track: %" PRIu64 " measurements gave no numbers; the last: %s",
                    found.invalid, found.invalid_cause);
    }
}

void gm_train_track_note(gm_cli *cli, const gm_train_tracks *tracks)
{
    if (tracks->spectrum) note_spectrum(cli, tracks->spectrum);
    if (!tracks->gauges) return;
    gm_watched_gauges g = gm_gauge_watch_results(tracks->gauges);
    if (!g.alarms) return;
    gm_cli_note(cli,
                "--track: alarm: at %" PRIu64 " of %" PRIu64
                " steps the loss rose above its predicted band, first at step %" PRIu64
                ", last at step %" PRIu64,
                g.alarms, g.watched, g.first_alarm, g.last_alarm);
}

/* Rows [count, k] as arrays. */
static json_t *rows_value(gm_cli *cli, const char *what, const gm_tracked *found,
                          const double *value)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < found->count; i++) {
        json_array_append_new(rows, gm_json_numbers(cli, what, found->k, value + i * found->k));
    }
    return rows;
}

static json_t *counts_value(const gm_tracked *found, const double *value)
{
    json_t *counts = json_array();
    for (size_t i = 0; i < found->count; i++) {
        json_array_append_new(counts, json_integer((json_int_t)value[i]));
    }
    return counts;
}

static json_t *spectrum_value(gm_cli *cli, const gm_tracker *tracker)
{
    gm_tracked found = gm_tracker_results(tracker);
    const gm_track_options *o = gm_tracker_options(tracker);
    json_t *steps = json_array();
    for (size_t i = 0; i < found.count; i++) {
        json_array_append_new(steps, json_integer(found.step[i]));
    }
    json_t *spectrum = json_object();
    json_object_set_new(spectrum, "operator", json_string(gm_curvature_name(o->kind)));
    json_object_set_new(spectrum, "which", json_string(gm_which_name(o->which)));
    json_object_set_new(spectrum, "k", json_integer((json_int_t)o->k));
    json_object_set_new(spectrum, "every", json_integer((json_int_t)o->every));
    json_object_set_new(spectrum, "tol", json_real(o->tol));
    json_object_set_new(spectrum, "n", json_integer((json_int_t)o->samples));
    json_object_set_new(spectrum, "steps", steps);
    json_object_set_new(spectrum, "eigenvalues",
                        rows_value(cli, "track.spectrum.eigenvalues", &found, found.value));
    json_object_set_new(spectrum, "residuals",
                        rows_value(cli, "track.spectrum.residuals", &found, found.residual));
    json_object_set_new(spectrum, "products", counts_value(&found, found.products));
    json_object_set_new(spectrum, "converged", counts_value(&found, found.converged));
    return spectrum;
}

static json_t *mean_value(gm_cli *cli, const char *what, gm_gauge_mean mean)
{
    json_t *o = json_object();
    json_object_set_new(o, "value", gm_json_number(cli, what, mean.value));
    json_object_set_new(o, "stderr", gm_json_number(cli, what, mean.error));
    return o;
}

static json_t *gauges_value(gm_cli *cli, const gm_gauge_watch *watch)
{
    gm_watched_gauges g = gm_gauge_watch_results(watch);
    const gm_gauge_watch_options *o = gm_gauge_watch_options_of(watch);
    const struct {
        const char *key;
        gm_gauge_mean mean;
    } mean[] = {{"gradient_square", g.gradient_square},
                {"trace", g.trace},
                {"noise_scale", g.noise_scale},
                {"batch_sharpness", g.batch_sharpness},
                {"sharpness", g.sharpness},
                {"interaction", g.interaction}};
    json_t *gauges = json_object();
    json_object_set_new(gauges, "every", json_integer((json_int_t)o->every));
    json_object_set_new(gauges, "curvature", json_integer((json_int_t)o->curvature));
    json_object_set_new(gauges, "memory", json_integer((json_int_t)o->memory));
    json_object_set_new(gauges, "measured", json_integer((json_int_t)g.measured));
    for (size_t i = 0; i < sizeof mean / sizeof *mean; i++) {
        json_object_set_new(gauges, mean[i].key, mean_value(cli, mean[i].key, mean[i].mean));
    }
    json_object_set_new(gauges, "alarms",
                        g.predicted ? json_integer((json_int_t)g.alarms) : json_null());
    json_object_set_new(gauges, "first_alarm",
                        g.alarms ? json_integer((json_int_t)g.first_alarm) : json_null());
    json_object_set_new(gauges, "watched", json_integer((json_int_t)g.watched));
    return gauges;
}

json_t *gm_train_track_value(gm_cli *cli, const gm_train_tracks *tracks)
{
    if (!tracks->spectrum && !tracks->gauges) return json_null();
    json_t *track = json_object();
    if (tracks->spectrum)
        json_object_set_new(track, "spectrum", spectrum_value(cli, tracks->spectrum));
    if (tracks->gauges) json_object_set_new(track, "gauges", gauges_value(cli, tracks->gauges));
    return track;
}

/* Where plain descent with this step becomes unstable on a quadratic (theory section 3). */
static void print_threshold(const gm_train_options *o)
{
    double beta = o->momentum;
    if (o->policy.kind != GM_POLICY_FIXED) return; /* no one step */
    if (beta == 0) {
        printf(", 2/eta = %.6g", 2 / o->step);
    } else if (o->nesterov) {
        printf(", (2+2 beta)/((1+2 beta) eta) = %.6g", (2 + 2 * beta) / ((1 + 2 * beta) * o->step));
    } else {
        printf(", (2+2 beta)/eta = %.6g", (2 + 2 * beta) / o->step);
    }
}

static void print_spectrum(const gm_tracker *tracker, const gm_train_options *options)
{
    gm_tracked found = gm_tracker_results(tracker);
    if (!found.count) return;
    const gm_track_options *o = gm_tracker_options(tracker);
    extreme end = extreme_of(tracker);
    double products = 0;
    for (size_t i = 0; i < found.count; i++) {
        products += found.products[i];
    }
    bool top = o->which == GM_WHICH_LA || o->which == GM_WHICH_BE;
    bool plain =
        options->optimizer == GM_OPTIMIZER_SGD && options->precondition == GM_PRECONDITION_NONE;
    printf("tracked    %s, k = %zu: %s %.6g", gm_curvature_name(o->kind), o->k, end.name,
           end.value);
    if (top && o->kind == GM_HESSIAN && plain) print_threshold(options);
    printf("; %zu steps, %.0f products\n", found.count, products);
}

static void print_gauges(const gm_gauge_watch *watch, const gm_train_options *options)
{
    gm_watched_gauges g = gm_gauge_watch_results(watch);
    if (!g.measured) return;
    printf("gauges     of batches, means over about %" PRIu64 " of %" PRIu64
           " measurements: noise scale ",
           gm_gauge_watch_options_of(watch)->memory, g.measured);
    if (isnan(g.noise_scale.value)) {
        printf("undefined");
    } else {
        printf("%.4g +- %.1g", g.noise_scale.value, g.noise_scale.error);
    }
    if (g.curved) {
        printf(";\n           Batch Sharpness %.4g +- %.1g, v.Hv %.4g +- %.1g",
               g.batch_sharpness.value, g.batch_sharpness.error, g.sharpness.value,
               g.sharpness.error);
        if (options->optimizer == GM_OPTIMIZER_SGD &&
            options->precondition == GM_PRECONDITION_NONE) {
            print_threshold(options);
        }
    }
    printf("\n");
    if (g.alarms) {
        printf("ALARM      the loss rose above its predicted band at %" PRIu64 " of %" PRIu64
               " steps, first at step %" PRIu64 ", last at step %" PRIu64 "\n",
               g.alarms, g.watched, g.first_alarm, g.last_alarm);
    }
}

void gm_train_track_print(const gm_train_tracks *tracks, const gm_train_options *options)
{
    if (tracks->spectrum) print_spectrum(tracks->spectrum, options);
    if (tracks->gauges) print_gauges(tracks->gauges, options);
}
