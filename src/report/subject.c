#include "report/subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "report/result.h"

static const char *const metric_name[GM_SUBJECT_METRICS] = {
    [GM_SUBJECT_BATCH_LOSS] = "batch_loss",
    [GM_SUBJECT_LOSS] = "loss",
    [GM_SUBJECT_ERROR] = "error_rate",
    [GM_SUBJECT_TEST_LOSS] = "test_loss",
    [GM_SUBJECT_TEST_ERROR] = "test_error_rate",
    [GM_SUBJECT_GRADIENT] = "gradient_norm",
    [GM_SUBJECT_DISTANCE] = "distance",
    [GM_SUBJECT_BATCH_SHARPNESS] = "gauge/batch_sharpness_mean",
    [GM_SUBJECT_BATCH_SHARPNESS_ERROR] = "gauge/batch_sharpness_error",
    [GM_SUBJECT_SHARPNESS] = "gauge/sharpness_mean",
    [GM_SUBJECT_SHARPNESS_ERROR] = "gauge/sharpness_error",
    [GM_SUBJECT_NOISE_SCALE] = "gauge/noise_scale",
    [GM_SUBJECT_NOISE_SCALE_ERROR] = "gauge/noise_scale_error",
    [GM_SUBJECT_ALARM] = "gauge/alarm",
    [GM_SUBJECT_STEP_SIZE] = "step_size",
    [GM_SUBJECT_STEP_LIMIT] = "step_limit",
};

static gm_status load_metrics(gm_run *run, gm_subject *subject, gm_error *err)
{
    gm_status status = GM_OK;
    for (int m = 0; m < GM_SUBJECT_METRICS && status == GM_OK; m++) {
        gm_subject_metric *metric = &subject->metric[m];
        status =
            gm_run_metric(run, metric_name[m], &metric->step, &metric->value, &metric->count, err);
    }
    return status;
}

static gm_status load_documents(gm_run *run, gm_subject *subject, gm_error *err)
{
    gm_status status = gm_run_results(run, NULL, &subject->stored, &subject->results, err);
    if (status != GM_OK) return status;
    subject->result = gm_alloc(subject->results, sizeof *subject->result, "documents", err);
    if (!subject->result) return GM_ERR_MEMORY;
    for (size_t i = 0; i < subject->results; i++) {
        const gm_run_result *stored = &subject->stored[i];
        json_error_t problem;
        json_t *document = json_loads(stored->json, 0, &problem);
        if (!document)
            return gm_fail(err, GM_ERR_INPUT, "%s: result %lld of %s: not a JSON document: %s",
                           subject->path, (long long)stored->id, stored->command, problem.text);
        subject->result[i] = (gm_subject_result){stored, document};
    }
    return GM_OK;
}

/* Keeps the points ascending by step; a later document replaces an earlier one of the same step. */
static void add_point(gm_subject *subject, int64_t step, const json_t *document)
{
    size_t at = subject->points;
    while (at && subject->point[at - 1].step >= step) {
        at--;
    }
    bool replaces = at < subject->points && subject->point[at].step == step;
    if (!replaces) {
        memmove(subject->point + at + 1, subject->point + at,
                (subject->points - at) * sizeof *subject->point);
        subject->points++;
    }
    subject->point[at] = (gm_subject_point){step, document};
}

static int64_t step_of(const json_t *document, int64_t otherwise)
{
    const json_t *step = gm_result_find(document, "step");
    return json_is_integer(step) ? json_integer_value(step) : otherwise;
}

/* The points of all `decompose` documents: each document is one, and so is every entry of its
 * trajectory. */
static gm_status collect_points(gm_subject *subject, gm_error *err)
{
    size_t most = 0;
    for (size_t i = 0; i < subject->results; i++) {
        most += 1 + json_array_size(gm_result_find(subject->result[i].document, "trajectory"));
    }
    subject->point = gm_alloc(most, sizeof *subject->point, "steps", err);
    if (!subject->point) return GM_ERR_MEMORY;
    int64_t latest = -1;
    for (size_t i = 0; i < subject->results; i++) {
        const gm_run_result *result = subject->result[i].stored;
        const json_t *document = subject->result[i].document;
        if (strcmp(result->command, "decompose") != 0 || *result->key) continue;
        const json_t *trajectory = gm_result_find(document, "trajectory");
        for (size_t j = 0; j < json_array_size(trajectory); j++) {
            const json_t *entry = json_array_get(trajectory, j);
            add_point(subject, step_of(entry, GM_RUN_NO_STEP), entry);
        }
        add_point(subject, step_of(document, result->step), document);
        if (result->id > latest) {
            latest = result->id;
            subject->decomposition = document;
        }
    }
    return GM_OK;
}

/* The operators that `spectrum` documents tell of. */
static gm_status collect_spectra(gm_subject *subject, gm_error *err)
{
    size_t most = 0;
    for (size_t i = 0; i < subject->results; i++) {
        most += 1 + json_array_size(gm_result_find(subject->result[i].document, "blocks"));
    }
    subject->spectrum = gm_alloc(most, sizeof *subject->spectrum, "spectra", err);
    if (!subject->spectrum) return GM_ERR_MEMORY;
    for (size_t i = 0; i < subject->results; i++) {
        const gm_run_result *result = subject->result[i].stored;
        const json_t *document = subject->result[i].document;
        if (strcmp(result->command, "spectrum") != 0) continue;
        const json_t *blocks = gm_result_find(document, "blocks");
        int64_t step = step_of(document, result->step);
        for (size_t j = 0; j < json_array_size(blocks); j++) {
            subject->spectrum[subject->spectra++] =
                (gm_subject_spectrum){step, document, json_array_get(blocks, j)};
        }
        if (!blocks)
            subject->spectrum[subject->spectra++] = (gm_subject_spectrum){step, document, document};
    }
    return GM_OK;
}

/* The operator's name and the number j of a metric OPERATOR/eigenvalue/j; 0 for any other. */
static size_t tracked_number(const char *name, char operator[GM_SUBJECT_OPERATOR])
{
    static const char middle[] = "/eigenvalue/";
    enum { MOST = 10000 };
    const char *found = strstr(name, middle);
    if (!found || found == name || found - name >= GM_SUBJECT_OPERATOR) return 0;
    char *end;
    unsigned long number = strtoul(found + sizeof middle - 1, &end, 10);
    if (*end || number < 1 || number > MOST) return 0;
    snprintf(operator, GM_SUBJECT_OPERATOR, "%.*s", (int)(found - name), name);
    return number;
}

static gm_subject_track *track_of(gm_subject *subject, const char *operator)
{
    for (size_t i = 0; i < subject->tracks; i++) {
        if (strcmp(subject->track[i].operator, operator) == 0) return &subject->track[i];
    }
    gm_subject_track *track = &subject->track[subject->tracks++];
    snprintf(track->operator, sizeof track->operator, "%s", operator);
    return track;
}

static gm_status load_track(gm_run *run, gm_subject_track *track, gm_error *err)
{
    track->eigenvalue = gm_alloc(track->count, sizeof *track->eigenvalue, "eigenvalues", err);
    gm_status status = track->eigenvalue ? GM_OK : GM_ERR_MEMORY;
    for (size_t j = 0; j < track->count && status == GM_OK; j++) {
        char name[GM_SUBJECT_OPERATOR + 32];
        snprintf(name, sizeof name, "%s/eigenvalue/%zu", track->operator, j + 1);
        gm_subject_metric *metric = &track->eigenvalue[j];
        status = gm_run_metric(run, name, &metric->step, &metric->value, &metric->count, err);
    }
    return status;
}

static gm_status load_tracks(gm_run *run, gm_subject *subject, gm_error *err)
{
    const char **name = NULL;
    size_t names = 0;
    gm_status status = gm_run_metric_names(run, &name, &names, err);
    if (status != GM_OK) return status;
    subject->track = gm_alloc(names, sizeof *subject->track, "tracked eigenvalues", err);
    if (!subject->track) status = GM_ERR_MEMORY;
    for (size_t i = 0; i < names && status == GM_OK; i++) {
        char operator[GM_SUBJECT_OPERATOR];
        size_t number = tracked_number(name[i], operator);
        if (!number) continue;
        gm_subject_track *track = track_of(subject, operator);
        if (number > track->count) track->count = number;
    }
    gm_run_free(name);
    for (size_t i = 0; i < subject->tracks && status == GM_OK; i++) {
        status = load_track(run, &subject->track[i], err);
    }
    return status;
}

/* Steps are shown on a logarithmic axis where the steps looked at are crowded at the start, as
 * kept checkpoints are. */
static gm_status choose_step_axis(gm_subject *subject, gm_error *err)
{
    const gm_subject_metric *metric = &subject->metric[GM_SUBJECT_LOSS];
    bool by_point = subject->points > 2;
    size_t count = by_point ? subject->points : metric->count, early = 0;
    double *step = gm_alloc(count, sizeof *step, "steps", err);
    if (!step) return GM_ERR_MEMORY;
    double last = 0.0;
    for (size_t i = 0; i < count; i++) {
        step[i] = (double)(by_point ? subject->point[i].step : metric->step[i]);
        last = fmax(last, step[i]);
    }
    for (size_t i = 0; i < count; i++) {
        early += step[i] < 0.1 * last ? 1 : 0;
    }
    enum { DECADES = 6 };
    double span = 2 * early > count ? 50.0 : HUGE_VAL;
    subject->step_axis = gm_axis_for(count, step, span, DECADES);
    /* Steps begin at 0, whether or not it was looked at. */
    if (subject->step_axis.scale == GM_SCALE_LOG) subject->step_axis.scale = GM_SCALE_SIGNED;
    gm_free(step);
    for (int m = 0; m < GM_SUBJECT_METRICS; m++) {
        metric = &subject->metric[m];
        if (!metric->count) continue;
        double end = (double)metric->step[metric->count - 1];
        subject->step_axis.high = fmax(subject->step_axis.high, end);
    }
    subject->step_axis.low = 0.0;
    return GM_OK;
}

gm_status gm_subject_load(const char *path, gm_subject *subject, gm_error *err)
{
    gm_run *run = NULL;
    *subject = (gm_subject){0};
    subject->path = gm_strdup(path, err);
    if (!subject->path) return GM_ERR_MEMORY;
    const char *slash = strrchr(subject->path, '/');
    subject->name = slash && slash[1] ? slash + 1 : subject->path;

    gm_status status = gm_run_open(path, GM_RUN_READ, &run, err);
    if (status == GM_OK) status = gm_run_settings(run, &subject->setting, &subject->settings, err);
    if (status == GM_OK) status = load_metrics(run, subject, err);
    if (status == GM_OK) status = load_tracks(run, subject, err);
    if (status == GM_OK) status = gm_run_load_state(run, &subject->state, err);
    if (status == GM_OK) status = load_documents(run, subject, err);
    if (status == GM_OK) status = collect_points(subject, err);
    if (status == GM_OK) status = collect_spectra(subject, err);
    if (status == GM_OK) status = choose_step_axis(subject, err);
    gm_run_close(run);
    if (status != GM_OK) gm_subject_free(subject);
    return status;
}

void gm_subject_free(gm_subject *subject)
{
    for (size_t i = 0; subject->result && i < subject->results; i++) {
        json_decref(subject->result[i].document);
    }
    for (int m = 0; m < GM_SUBJECT_METRICS; m++) {
        gm_run_free(subject->metric[m].step);
        gm_run_free(subject->metric[m].value);
    }
    for (size_t i = 0; i < subject->tracks; i++) {
        gm_subject_track *track = &subject->track[i];
        for (size_t j = 0; track->eigenvalue && j < track->count; j++) {
            gm_run_free(track->eigenvalue[j].step);
            gm_run_free(track->eigenvalue[j].value);
        }
        gm_free(track->eigenvalue);
    }
    gm_free(subject->track);
    gm_free(subject->spectrum);
    gm_free(subject->point);
    gm_free(subject->result);
    gm_run_free(subject->stored);
    gm_run_free(subject->state);
    gm_run_free(subject->setting);
    gm_free(subject->path);
    *subject = (gm_subject){0};
}

const char *gm_subject_setting(const gm_subject *subject, const char *key)
{
    for (size_t i = 0; i < subject->settings; i++) {
        if (strcmp(subject->setting[i].key, key) == 0) return subject->setting[i].value;
    }
    return NULL;
}

const char *gm_setting_shortest(const char *value, char digits[GM_SETTING_DIGITS])
{
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !strchr(value, '.') || !isfinite(number)) return value;
    for (int count = 1; count <= 17; count++) {
        snprintf(digits, GM_SETTING_DIGITS, "%.*g", count, number);
        if (strtod(digits, NULL) == number) break;
    }
    return digits;
}

double gm_subject_first(const gm_subject *subject, int metric)
{
    const gm_subject_metric *m = &subject->metric[metric];
    for (size_t i = 0; i < m->count; i++) {
        if (isfinite(m->value[i])) return m->value[i];
    }
    return (double)NAN;
}

double gm_subject_last(const gm_subject *subject, int metric)
{
    const gm_subject_metric *m = &subject->metric[metric];
    for (size_t i = m->count; i-- > 0;) {
        if (isfinite(m->value[i])) return m->value[i];
    }
    return (double)NAN;
}

const json_t *gm_subject_document(const gm_subject *subject)
{
    if (subject->decomposition || !subject->spectra) return subject->decomposition;
    return subject->spectrum[subject->spectra - 1].document;
}

bool gm_subject_trained(const gm_subject *subject)
{
    return subject->state || isfinite(gm_subject_last(subject, GM_SUBJECT_LOSS)) ||
           isfinite(gm_subject_last(subject, GM_SUBJECT_BATCH_LOSS));
}
