#include "cli/train_track.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"

const char gm_train_track_setting[] = "train.track";

/* ---- the words ---- */

/* Trackers stand in a list, each at most once; there is one kind so far. */
static gm_status parse_list(const char *text, gm_track_options *options, gm_error *err)
{
    const char *end = strchr(text, ';');
    char item[GM_TRACK_TEXT];
    size_t length = end ? (size_t)(end - text) : strlen(text);
    if (length >= sizeof item) {
        return gm_fail(err, GM_ERR_USAGE, "--track: found %zu bytes, expected fewer than %zu",
                       length, sizeof item);
    }
    snprintf(item, sizeof item, "%.*s", (int)length, text);
    gm_status status = gm_track_options_parse(item, options, err);
    if (status != GM_OK || !end) return status;
    gm_track_options second;
    gm_track_options_default(&second);
    status = parse_list(end + 1, &second, err);
    if (status != GM_OK) return status;
    return gm_fail(err, GM_ERR_USAGE, "--track: found spectrum twice, expected it once");
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
        options->optimizer == GM_OPTIMIZER_ADAM || options->precondition != GM_PRECONDITION_NONE;
    if (scaled && o->kind == GM_HESSIAN) {
        gm_cli_note(cli, "--track follows the Hessian H itself; where the step becomes unstable is "
                         "decided by D^-1/2 H D^-1/2, D the divisor of the gradients (gradiometer "
                         "spectrum --precondition measures it at a checkpoint)");
    }
}

gm_status gm_train_track_open(gm_cli *cli, gm_session *session, const char *text,
                              const gm_train_options *options, gm_tracker **tracker,
                              char words[GM_TRACK_TEXT], gm_error *err)
{
    gm_track_options o;
    gm_track_options_default(&o);
    *tracker = NULL;
    if (!text) return GM_OK;
    gm_status status = parse_list(text, &o, err);
    if (status == GM_OK) status = gm_track_options_resolve(&o, session->problem, err);
    if (status == GM_OK) {
        status =
            gm_tracker_create(session->problem, &o, options->seed, options->steps, tracker, err);
    }
    if (status == GM_OK) status = check_memory(session, *tracker, err);
    if (status != GM_OK) return status;
    gm_track_options_print(&o, words);
    note_choices(cli, session, &o, options);
    return GM_OK;
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

void gm_train_track_short(const gm_tracker *tracker, char text[GM_TRAIN_TRACK_SHORT])
{
    text[0] = '\0';
    if (!tracker) return;
    extreme end = extreme_of(tracker);
    if (*end.name) snprintf(text, GM_TRAIN_TRACK_SHORT, "%s %.4g", end.name, end.value);
}

void gm_train_track_note(gm_cli *cli, const gm_tracker *tracker)
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

json_t *gm_train_track_value(gm_cli *cli, const gm_tracker *tracker)
{
    if (!tracker) return json_null();
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
    json_t *track = json_object();
    json_object_set_new(track, "spectrum", spectrum);
    return track;
}

/* Where plain descent with this step becomes unstable on a quadratic (theory section 3). */
static void print_threshold(const gm_train_options *o)
{
    double beta = o->momentum;
    if (beta == 0) {
        printf(", 2/eta = %.6g", 2 / o->step);
    } else if (o->nesterov) {
        printf(", (2+2 beta)/((1+2 beta) eta) = %.6g", (2 + 2 * beta) / ((1 + 2 * beta) * o->step));
    } else {
        printf(", (2+2 beta)/eta = %.6g", (2 + 2 * beta) / o->step);
    }
}

void gm_train_track_print(const gm_tracker *tracker, const gm_train_options *options)
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
    bool plain = options->optimizer == GM_OPTIMIZER_SGD &&
                 options->precondition == GM_PRECONDITION_NONE &&
                 options->policy.kind == GM_POLICY_FIXED;
    printf("tracked    %s, k = %zu: %s %.6g", gm_curvature_name(o->kind), o->k, end.name,
           end.value);
    if (top && o->kind == GM_HESSIAN && plain) print_threshold(options);
    printf("; %zu steps, %.0f products\n", found.count, products);
}
