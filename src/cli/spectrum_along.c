/* A spectrum at several points: the checkpoints of a run, a series of files, a watched folder.
 *
 * At any time two points are in memory: the one that is measured, and the one before, from whose
 * eigenvectors Lanczos' method starts. What becomes of a point, a line, a result in the run file
 * and an entry of the trajectory, is written as soon as it is done. */
#include "cli/spectrum_along.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/document.h"

typedef struct along {
    gm_cli *cli;
    gm_session *session;
    gm_spectrum_source *source;
    gm_series *series;
    const gm_spectrum_settings *set;
    gm_spectrum_report *report;
    size_t blocks;
    gm_spectrum *before; /* [blocks] the point before, the caller's */
    gm_spectrum *now;    /* [blocks] */
    int width;           /* of the labels printed */
    bool begun;
} along;

gm_status gm_spectrum_along_check(const gm_cli *cli, gm_error *err)
{
    static const char *const single[] = {"precondition", "precondition-file", "data-resample"};
    if (!gm_series_asked(cli)) return GM_OK;
    for (size_t i = 0; i < sizeof single / sizeof *single; i++) {
        if (!gm_cli_given(cli, single[i])) continue;
        return gm_fail(err, GM_ERR_USAGE, "--%s: found beside several points, expected one",
                       single[i]);
    }
    return GM_OK;
}

/* ---- a line for each point ---- */

static void print_header(along *a)
{
    char label[GM_SERIES_LABEL];
    a->width = 16;
    for (size_t i = 0; i < a->series->count; i++) {
        gm_series_label(a->series, i, label);
        if ((int)strlen(label) > a->width) a->width = (int)strlen(label);
    }
    printf("%-*s  %10s  %10s  %12s  %12s  %12s  %8s\n", a->width, "point", "loss", "|gradient|",
           "largest", "second", "trace", "products");
    a->begun = true;
}

/* The numbers of a block that a line has room for, NaN where the method does not give them. */
static void print_block(const along *a, const char *label, const gm_spectrum *s)
{
    const gm_spectrum_pairs *pairs = &s->pairs;
    double number[] = {pairs->values > 0 ? pairs->value[0] : (double)NAN,
                       pairs->values > 1 ? pairs->value[1] : (double)NAN,
                       s->summed ? s->trace.value : (double)NAN};
    printf("%-*s  %10.6g  %10.4g", a->width, label, a->session->loss, a->session->gradient_norm);
    for (int i = 0; i < 3; i++) {
        if (isnan(number[i])) {
            printf("  %12s", "-");
        } else {
            printf("  %12.6g", number[i]);
        }
    }
    printf("  %8zu%s%s%s\n", s->products, s->layer ? "  " : "", s->layer ? s->layer : "",
           s->converged ? "" : "  not converged");
}

static void print_point(along *a, const char *label)
{
    if (a->cli->shared.json) return;
    if (!a->begun) print_header(a);
    for (size_t i = 0; i < a->blocks; i++) {
        print_block(a, label, a->now + i);
    }
    fflush(stdout);
}

/* ---- one point ---- */

static gm_status measure_block(along *a, size_t i, gm_error *err)
{
    gm_spectrum_operator target = {0};
    const gm_spectrum_pairs *past = &a->before[i].pairs;
    gm_status status = gm_spectrum_source_block(a->source, a->set, i, &target, err);
    target.steady = a->series->watched;
    if (a->set->method == GM_METHOD_LANCZOS && past->vector && !past->formed) {
        target.starts = past->k;
        target.start = past->vector;
        target.start_split = past->split;
    }
    if (status == GM_OK) status = gm_spectrum_measure(&target, a->set, a->now + i, err);
    gm_spectrum_operator_close(&target);
    return status;
}

static gm_status measure_point(along *a, size_t index, gm_error *err)
{
    gm_session *session = a->session;
    gm_status status = gm_series_read(a->series, index, &session->step, session->theta, err);
    if (status != GM_OK) return status;
    status = gm_spectrum_source_linearize(a->source, a->set, session->problem, err);
    if (status == GM_OK) gm_session_measure(session, a->source->lin);
    for (size_t i = 0; status == GM_OK && i < a->blocks; i++) {
        status = measure_block(a, i, err);
    }
    gm_spectrum_source_rest(a->source);
    return status;
}

static void drop(along *a, gm_spectrum *block)
{
    for (size_t i = 0; i < a->blocks; i++) {
        gm_spectrum_free(block + i);
    }
}

/* The document of this point alone, in the run file. */
static gm_status record_point(along *a, gm_error *err)
{
    if (!a->cli->shared.output) return GM_OK;
    json_t *document = gm_spectrum_document(a->report, err);
    if (!document) return GM_ERR_MEMORY;
    gm_status status = gm_spectrum_record(a->report, document, err);
    json_decref(document);
    return status == GM_OK ? gm_spectrum_record_metrics(a->report, err) : status;
}

/* What becomes of a point that is measured. */
static gm_status keep_point(along *a, size_t index, json_t *trajectory, gm_error *err)
{
    char label[GM_SERIES_LABEL], *whole = a->session->point;
    gm_series_label(a->series, index, label);
    a->report->block = a->now;
    a->session->point = gm_series_point(a->series, index, err);
    gm_status status = a->session->point ? record_point(a, err) : GM_ERR_MEMORY;
    gm_free(a->session->point);
    a->session->point = whole;
    if (status == GM_OK) {
        json_array_append_new(trajectory, gm_spectrum_entry(a->report, label));
        print_point(a, label);
    }
    drop(a, a->before);
    memcpy(a->before, a->now, a->blocks * sizeof *a->now);
    memset(a->now, 0, a->blocks * sizeof *a->now);
    a->report->block = a->before;
    return status;
}

/* What --output has of a watched folder already: the points that are done, and where to start. */
static gm_status go_on(along *a, gm_error *err)
{
    for (size_t i = 0; i < a->blocks; i++) {
        a->before[i].layer = gm_spectrum_source_layer(a->source, i);
        a->before[i].size = gm_spectrum_source_size(a->source, i);
    }
    if (!a->series->watched) return GM_OK;
    char *key = gm_spectrum_key(a->report, err);
    gm_status status = key ? gm_series_skip_recorded(a->series, key, err) : GM_ERR_MEMORY;
    gm_free(key);
    bool follows = a->series->earlier && a->set->method == GM_METHOD_LANCZOS;
    if (status != GM_OK || !follows) return status;
    return gm_spectrum_recall(a->report, a->series->last_result, a->before, err);
}

gm_status gm_spectrum_along(gm_spectrum_source *source, gm_series *series,
                            const gm_spectrum_settings *set, gm_spectrum_report *report,
                            gm_spectrum *block, size_t *done, gm_error *err)
{
    along a = {.cli = source->cli,
               .session = source->session,
               .source = source,
               .series = series,
               .set = set,
               .report = report,
               .blocks = report->blocks,
               .before = block};
    json_t *trajectory = json_array();
    bool found = false;
    *done = 0;
    a.now = gm_alloc(a.blocks, sizeof *a.now, "spectra", err);
    gm_status status = a.now ? go_on(&a, err) : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_series_await(series, 0, &found, err);
    while (status == GM_OK && found) {
        status = measure_point(&a, *done, err);
        if (status == GM_OK) status = keep_point(&a, *done, trajectory, err);
        *done += status == GM_OK;
        if (status == GM_OK) status = gm_series_await(series, *done, &found, err);
    }
    if (status == GM_ERR_INTERRUPTED && *done > 0 && !series->watched) {
        gm_fail(err, status, "interrupted after %zu of %zu points, the finished ones are kept",
                *done, series->count);
    }
    if (a.now) drop(&a, a.now);
    gm_free(a.now);
    report->trajectory = trajectory;
    return status;
}
