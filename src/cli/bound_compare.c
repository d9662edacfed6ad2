/* gradiometer bound compare: from run files to tables, ranks and sign errors. */
#include "cli/bound_compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/interrupt.h"
#include "cli/record.h"
#include "cli/study_operands.h"
#include "report/result.h"

const char *const gm_compared_setting[GM_COMPARED_SETTINGS] = {
    "model",    "data",         "n",         "random_labels", "batch",         "step", "steps",
    "momentum", "weight_decay", "optimizer", "precondition",  "prior_fraction"};
enum { DATA = 1, SAMPLES = 2, LABELS = 3 };
static const char *const keys[GM_COMPARED_SETTINGS] = {"model",
                                                       "data",
                                                       NULL,
                                                       "random_labels",
                                                       "train.batch",
                                                       "train.step",
                                                       "train.steps",
                                                       "train.momentum",
                                                       "train.weight_decay",
                                                       "train.optimizer",
                                                       "train.precondition",
                                                       "prior.fraction"};

/* ---- one run ---- */

/* The spec of the data without its number of samples, which is a setting of its own. */
static void drop_samples(char *spec)
{
    char *at = strstr(spec, ",n=");
    if (!at) return;
    size_t length = 1 + strcspn(at + 1, ",");
    memmove(at, at + length, strlen(at + length) + 1);
}

/* A number is recorded with 17 digits: here with as many as a reader typed. */
static gm_status shorten(char **text, gm_error *err)
{
    char *end = NULL;
    double value = strtod(*text, &end);
    if (end == *text || *end) return GM_OK;
    gm_free(*text);
    *text = gm_format(err, "%.15g", value);
    return *text ? GM_OK : GM_ERR_MEMORY;
}

static gm_status take_setting(gm_run *run, const json_t *document, size_t s, char **text,
                              gm_error *err)
{
    char *value = NULL;
    gm_status status = GM_OK;
    if (keys[s]) status = gm_run_get(run, keys[s], &value, err);
    if (status != GM_OK) return status;
    if (s == SAMPLES) {
        *text = gm_format(err, "%.0f", gm_result_number(document, "data/n"));
    } else {
        *text = gm_strdup(value ? value : s == LABELS ? "0" : "", err);
    }
    gm_run_free(value);
    if (!*text) return GM_ERR_MEMORY;
    if (s == DATA) drop_samples(*text);
    return shorten(text, err);
}

/* The document of one result: kept unless it lacks measures that the one kept before has. */
static gm_status keep_document(const gm_run_result *result, gm_compared *r, bool *measured,
                               gm_error *err)
{
    json_t *document = json_loads(result->json, 0, NULL);
    if (!document)
        return gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: the document of its bound",
                       r->path);
    bool has = json_is_object(json_object_get(document, "measures"));
    r->older = *measured && !has;
    *measured = *measured || has;
    json_decref(r->older ? document : r->document);
    if (!r->older) r->document = document;
    return GM_OK;
}

/* The document of the last checkpoint that has a bound with measures beside it, or else a bound. */
static gm_status take_document(gm_run *run, gm_compared *r, gm_error *err)
{
    gm_run_result *list = NULL;
    size_t count = 0;
    bool measured = false;
    gm_status status = gm_run_results(run, "bound", &list, &count, err);
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        if (strcmp(list[i].key, "bound") == 0) status = keep_document(&list[i], r, &measured, err);
    }
    if (status == GM_OK && !r->document) {
        status =
            gm_fail(err, GM_ERR_INPUT,
                    "%s: holds no bound; `gradiometer bound --params %s -o %s` records one, as "
                    "--measure does",
                    r->path, r->path, r->path);
    }
    gm_run_free(list);
    return status;
}

static gm_status take_numbers(gm_compared *r, gm_error *err)
{
    r->training_error = gm_result_number(r->document, "training_error");
    r->test_error = gm_result_number(r->document, "test_error");
    r->test_samples = gm_result_number(r->document, "test_data/n");
    r->bound = gm_result_number(r->document, "bound");
    r->gap = r->test_error - r->training_error;
    if (isfinite(r->gap) && r->test_samples >= 1.0) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: its bound was measured without a test set, so that no gap is known; "
                   "expected `gradiometer bound --test-data SPEC`",
                   r->path);
}

static gm_status take_run(const char *path, gm_compared *r, gm_error *err)
{
    gm_run *run = NULL;
    char *seed = NULL;
    r->path = path;
    gm_status status = gm_run_open(path, GM_RUN_READ, &run, err);
    if (status == GM_OK) status = take_document(run, r, err);
    if (status == GM_OK) status = take_numbers(r, err);
    for (size_t s = 0; status == GM_OK && s < GM_COMPARED_SETTINGS; s++) {
        status = take_setting(run, r->document, s, &r->setting[s], err);
    }
    if (status == GM_OK) status = gm_run_get(run, "seed", &seed, err);
    if (status == GM_OK) {
        r->seed = gm_strdup(seed ? seed : "", err);
        if (!r->seed) status = GM_ERR_MEMORY;
    }
    gm_run_free(seed);
    gm_run_close(run);
    return status;
}

/* ---- runs without a bound ---- */

static gm_status has_bound(const char *path, bool *has, gm_error *err)
{
    gm_run *run = NULL;
    gm_run_result *list = NULL;
    size_t count = 0;
    *has = false;
    gm_status status = gm_run_open(path, GM_RUN_READ, &run, err);
    if (status == GM_OK) status = gm_run_results(run, "bound", &list, &count, err);
    for (size_t i = 0; i < count; i++) {
        *has = *has || strcmp(list[i].key, "bound") == 0;
    }
    gm_run_free(list);
    gm_run_close(run);
    return status;
}

/* As `bound --params PATH -o PATH` does; a run without a test set is refused beforehand. */
static gm_status measure_run(gm_cli *cli, const char *path, gm_error *err)
{
    gm_session session = {0};
    gm_bound_run run = {0};
    cli->shared.params = cli->shared.output = path;
    gm_status status = gm_session_open(cli, &session, err);
    if (status == GM_OK && !session.test)
        status = gm_fail(err, GM_ERR_INPUT,
                         "%s: was trained without a test set, so that no gap is known", path);
    if (status == GM_OK) status = gm_bound_prepare(cli, &session, &run.origin, &run.options, err);
    if (status == GM_OK) status = gm_bound_take(cli, &session, &run, err);
    if (status == GM_OK) {
        json_t *document = gm_bound_document(cli, &session, &run, err);
        status = document ? gm_record_result(cli, &session, "bound", document, NULL, 0, err)
                          : GM_ERR_MEMORY;
        json_decref(document);
    }
    gm_bound_free(&run.bound);
    gm_bound_origin_free(&run.origin);
    gm_session_close(&session);
    return status;
}

static gm_status measure_missing(gm_cli *cli, gm_error *err)
{
    const char *output = cli->shared.output;
    gm_status status = GM_OK;
    gm_interrupt_install();
    for (int i = 1; status == GM_OK && i < cli->operands; i++) {
        bool has = false;
        status = has_bound(cli->operand[i], &has, err);
        if (status == GM_OK && !has) status = measure_run(cli, cli->operand[i], err);
        if (status == GM_ERR_INTERRUPTED)
            status =
                gm_fail(err, status,
                        "interrupted at %s; the bounds of the runs before it are recorded, the "
                        "same command goes on from there",
                        cli->operand[i]);
    }
    cli->shared.params = NULL;
    cli->shared.output = output;
    return status;
}

/* ---- levels and clusters ---- */

/* Number of the first run that has the same text; equal texts have equal numbers. */
static size_t level_of(const gm_comparison *c, size_t run, size_t setting)
{
    size_t first = 0;
    while (strcmp(c->run[first].setting[setting], c->run[run].setting[setting]) != 0) {
        first++;
    }
    return first;
}

static gm_status number_levels(gm_comparison *c, gm_error *err)
{
    size_t numbers;
    for (size_t s = 0; s < GM_COMPARED_SETTINGS; s++) {
        for (size_t i = 0; i < c->runs; i++) {
            c->varies[s] = c->varies[s] || level_of(c, i, s) != 0;
        }
        c->settings += c->varies[s];
    }
    if (!gm_mul_size(c->runs, c->settings + 1, &numbers))
        return gm_fail(err, GM_ERR_MEMORY, "settings of %zu runs overflow", c->runs);
    c->level = gm_alloc(numbers, sizeof *c->level, "settings", err);
    c->cluster = gm_alloc(c->runs, sizeof *c->cluster, "settings", err);
    c->gap = gm_alloc(2 * c->runs, sizeof *c->gap, "gaps", err);
    if (!c->level || !c->cluster || !c->gap) return GM_ERR_MEMORY;
    c->samples = c->gap + c->runs;
    for (size_t i = 0; i < c->runs; i++) {
        size_t *row = c->level + i * c->settings, at = 0;
        for (size_t s = 0; s < GM_COMPARED_SETTINGS; s++) {
            if (c->varies[s]) row[at++] = level_of(c, i, s);
        }
        while (memcmp(c->level + c->cluster[i] * c->settings, row, c->settings * sizeof *row) !=
               0) {
            c->cluster[i]++;
        }
        c->gap[i] = c->run[i].gap;
        c->samples[i] = c->run[i].test_samples;
    }
    return GM_OK;
}

const char *gm_comparison_setting(const gm_comparison *c, size_t index)
{
    size_t s = 0;
    while (!c->varies[s] || index-- > 0) {
        s++;
    }
    return gm_compared_setting[s];
}

const char *gm_comparison_level(const gm_comparison *c, size_t index, size_t level)
{
    size_t s = 0;
    while (!c->varies[s] || index-- > 0) {
        s++;
    }
    return c->run[level].setting[s];
}

/* ---- measures ---- */

/* Those of the bound itself, by their place in its document. */
static const char *const own[] = {"bound", "clipped_loss/bound", "kl", "effective_curvature",
                                  "distance"};
static const char *const own_names[] = {"bound", "bound on the loss", "KL", "effective curvature",
                                        "weighted distance"};
enum { OWN = sizeof own / sizeof *own };

static gm_status add_measure(gm_comparison *c, const char *name, const char *path, double sign,
                             gm_error *err)
{
    gm_compared_measure *m = &c->measure[c->measures++];
    snprintf(m->name, sizeof m->name, "%s%s", sign < 0.0 ? "-" : "", name);
    m->value = gm_alloc(c->runs, sizeof *m->value, "measure", err);
    if (!m->value) return GM_ERR_MEMORY;
    for (size_t i = 0; i < c->runs; i++) {
        m->value[i] = sign * gm_result_number(c->run[i].document, path);
        m->runs += !isnan(m->value[i]);
    }
    return GM_OK;
}

/* A measure that falls where the gap is expected to grow is negated. */
static gm_status collect_measures(gm_comparison *c, gm_error *err)
{
    c->measure = gm_alloc((size_t)OWN + GM_MEASURES, sizeof *c->measure, "measures", err);
    if (!c->measure) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < OWN; i++) {
        status = add_measure(c, own_names[i], own[i], 1.0, err);
    }
    for (int i = 0; status == GM_OK && i < GM_MEASURES; i++) {
        char path[64];
        snprintf(path, sizeof path, "measures/%s/value", gm_measure_kinds[i].name);
        status = add_measure(c, gm_measure_kinds[i].name, path, i == GM_MEASURE_MARGIN ? -1.0 : 1.0,
                             err);
    }
    return status;
}

/* Rank correlation over the runs that have the measure. */
static gm_status rank(const gm_comparison *c, gm_compared_measure *m, gm_error *err)
{
    double *x = gm_alloc(2 * c->runs, sizeof *x, "measure", err);
    size_t *cluster = gm_alloc(c->runs, sizeof *cluster, "settings", err), count = 0;
    gm_status status = x && cluster ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        size_t *number = gm_alloc(c->runs, sizeof *number, "settings", err), clusters = 0;
        status = number ? GM_OK : GM_ERR_MEMORY;
        for (size_t i = 0; number && i < c->runs; i++) {
            if (isnan(m->value[i])) continue;
            size_t *mine = &number[c->cluster[i]];
            if (!*mine) *mine = ++clusters;
            x[count] = m->value[i];
            x[c->runs + count] = c->gap[i];
            cluster[count++] = *mine - 1;
        }
        gm_free(number);
    }
    if (status == GM_OK) {
        status = gm_rank_correlate(count, x, x + c->runs, cluster, &c->rank, &m->rank, err);
    }
    gm_free(x);
    gm_free(cluster);
    return status;
}

static gm_status judge(gm_comparison *c, gm_error *err)
{
    const gm_run_table table = {c->runs, c->settings, c->level, c->gap, c->samples};
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < c->measures; i++) {
        gm_compared_measure *m = &c->measure[i];
        status = rank(c, m, err);
        if (status == GM_OK)
            status = gm_robust_scores(&table, m->value, c->certainty, &m->robust, err);
    }
    return status;
}

/* ---- the command ---- */

static void close_comparison(gm_comparison *c)
{
    for (size_t i = 0; c->run && i < c->runs; i++) {
        for (size_t s = 0; s < GM_COMPARED_SETTINGS; s++) {
            gm_free(c->run[i].setting[s]);
        }
        gm_free(c->run[i].seed);
        json_decref(c->run[i].document);
    }
    for (size_t i = 0; c->measure && i < c->measures; i++) {
        gm_free(c->measure[i].value);
        gm_robust_free(&c->measure[i].robust);
    }
    gm_free(c->run);
    gm_free(c->measure);
    gm_free(c->level);
    gm_free(c->cluster);
    gm_free(c->gap);
}

static gm_status check(const gm_cli *cli, gm_error *err)
{
    static const char *const foreign[] = {"params", "model", "data", "test-data", "params0"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (gm_cli_given(cli, foreign[i]))
            return gm_fail(err, GM_ERR_USAGE,
                           "--%s: not an option of bound compare, which takes run files: bound "
                           "compare RUN.gmr...",
                           foreign[i]);
    }
    if (cli->operands < 3)
        return gm_fail(err, GM_ERR_USAGE, "bound compare: found %d run file%s, expected at least 2",
                       cli->operands - 1, cli->operands == 2 ? "" : "s");
    for (int i = 1; i < cli->operands; i++) {
        for (int j = 1; j < i; j++) {
            if (strcmp(cli->operand[i], cli->operand[j]) == 0)
                return gm_fail(err, GM_ERR_USAGE, "bound compare: found %s twice", cli->operand[i]);
        }
    }
    return gm_record_check(cli, err);
}

static gm_status compare(gm_cli *cli, gm_comparison *c, gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    gm_rank_options_default(&c->rank);
    c->rank.resamples = set->resamples;
    c->rank.seed = cli->shared.seed;
    c->certainty = set->certainty;
    c->runs = (size_t)cli->operands - 1;
    c->run = gm_alloc(c->runs, sizeof *c->run, "runs", err);
    if (!c->run) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < c->runs; i++) {
        status = take_run(cli->operand[i + 1], &c->run[i], err);
        if (status == GM_OK && c->run[i].older)
            gm_cli_note(cli,
                        "%s: its last bound has no measures beside it, an earlier one is taken",
                        c->run[i].path);
    }
    if (status == GM_OK) status = number_levels(c, err);
    if (status == GM_OK) status = collect_measures(c, err);
    if (status != GM_OK) return status;
    gm_cli_begin(cli);
    return judge(c, err);
}

gm_status gm_bound_compare_command(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_comparison c = {0};
    json_t *document = NULL;
    gm_study_operands operands;
    gm_session_open_alone(cli, &session);
    gm_status status = gm_study_operands_open(cli, &operands, err);
    if (status == GM_OK) status = check(cli, err);
    const gm_bound_settings *set = cli->settings;
    if (status == GM_OK && set->measure) status = measure_missing(cli, err);
    if (status == GM_OK) status = compare(cli, &c, err);
    if (status == GM_OK && (cli->shared.json || cli->shared.output)) {
        document = gm_comparison_document(cli, &session, &c, err);
        status = document ? gm_record_result(cli, &session, "compare", document, NULL, 0, err)
                          : GM_ERR_MEMORY;
    }
    if (status == GM_OK && cli->shared.json) {
        status = gm_document_print(cli, document, err);
        document = NULL;
    } else if (status == GM_OK) {
        gm_comparison_print(&c);
    }
    json_decref(document);
    close_comparison(&c);
    gm_session_close(&session);
    gm_study_operands_close(cli, &operands);
    return status;
}
