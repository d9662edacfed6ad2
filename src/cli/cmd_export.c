/* gradiometer export: what a run file holds, as files that other programs read. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/session.h"
#include "data/npy.h"
#include "gradiometer/run.h"
#include "gradiometer/version.h"

typedef struct export_settings {
    const char *params, *metrics, *results;
    uint64_t at;
} export_settings;

static const export_settings export_defaults = {0};

#define AT(field) offsetof(export_settings, field)

static const gm_option export_options[] = {
    {"params", 0, "OUT",
     "Write the last parameters, or those of --at: OUT.npy, one flat f8 vector [p]; "
     "OUT.safetensors, tensors under their names such as dense1.weight, in F32 where that loses "
     "nothing, else in F64.",
     gm_option_text, AT(params), NULL, 0},
    {"at", 0, "STEP", "Step of the checkpoint to write. Default: the last one.", gm_option_seed,
     AT(at), NULL, INT64_MAX},
    {"metrics", 0, "OUT.csv",
     "Write every metric: a line for each step, a column for each metric, empty where it was not "
     "measured.",
     gm_option_text, AT(metrics), NULL, 0},
    {"results", 0, "OUT.json",
     "Write the settings of the run and the stored results of analyses as one JSON document.",
     gm_option_text, AT(results), NULL, 0},
    {0}};

/* ---- parameters ---- */

static bool names_tensors(const char *path)
{
    static const char suffix[] = ".safetensors";
    size_t length = strlen(path), tail = sizeof suffix - 1;
    return length >= tail && strcmp(path + length - tail, suffix) == 0;
}

/* The net that the run was trained on, for the names of its tensors. */
static gm_status write_tensors(gm_run *run, const char *path, size_t p, const double *theta,
                               gm_error *err)
{
    char *model = NULL, *logits = NULL, *constants = NULL, *data = NULL;
    gm_net *net = NULL;
    gm_status status = gm_run_get(run, "model", &model, err);
    if (status == GM_OK) status = gm_run_get(run, "logits", &logits, err);
    if (status == GM_OK) status = gm_run_get(run, "constants", &constants, err);
    if (status == GM_OK) status = gm_run_get(run, "data", &data, err);
    if (status == GM_OK && (!model || !data)) {
        status = gm_fail(err, GM_ERR_INPUT, "%s: no setting %s, expected those of a training",
                         gm_run_path(run), model ? "data" : "model");
    }
    if (status == GM_OK) status = gm_session_make_net(model, logits, constants, data, &net, err);
    if (status == GM_OK && gm_net_parameters(net) != p) {
        status = gm_fail(err, GM_ERR_INPUT, "%s: %zu parameters, expected %zu, those of %s",
                         gm_run_path(run), p, gm_net_parameters(net), model);
    }
    if (status == GM_OK) status = gm_net_write_parameters(net, path, theta, err);
    gm_net_free(net);
    gm_run_free(model);
    gm_run_free(logits);
    gm_run_free(constants);
    gm_run_free(data);
    return status;
}

static gm_status export_parameters(gm_run *run, const char *path, int64_t step, gm_error *err)
{
    double *theta = NULL;
    size_t p = 0;
    int64_t found = 0;
    gm_status status = gm_run_parameters(run, step, &theta, &p, &found, err);
    if (status == GM_OK) {
        status = names_tensors(path) ? write_tensors(run, path, p, theta, err)
                                     : gm_npy_write(path, GM_NPY_F8, 1, &p, theta, err);
    }
    if (status == GM_OK) printf("%s: %zu parameters of step %" PRId64 "\n", path, p, found);
    gm_run_free(theta);
    return status;
}

/* ---- metrics ---- */

typedef struct series {
    int64_t *step; /* [count] ascending */
    double *value; /* [count] */
    size_t count, next;
} series;

/* Prints a line for every step that occurs in any of the series, in ascending order. */
static size_t print_rows(FILE *out, size_t columns, series *column)
{
    for (size_t rows = 0;; rows++) {
        int64_t step = INT64_MAX;
        for (size_t i = 0; i < columns; i++) {
            const series *s = column + i;
            if (s->next < s->count && s->step[s->next] < step) step = s->step[s->next];
        }
        if (step == INT64_MAX) return rows;
        fprintf(out, "%" PRId64, step);
        for (size_t i = 0; i < columns; i++) {
            series *s = column + i;
            fputc(',', out);
            if (s->next < s->count && s->step[s->next] == step) {
                fprintf(out, "%.17g", s->value[s->next++]);
            }
        }
        fputc('\n', out);
    }
}

/* A name as a CSV field: quoted where it holds what would end the field. */
static void print_field(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static gm_status export_metrics(gm_run *run, const char *path, gm_error *err)
{
    const char **name = NULL;
    series *column = NULL;
    gm_file *file = NULL;
    size_t columns = 0, rows = 0;
    gm_status status = gm_run_metric_names(run, &name, &columns, err);
    if (status == GM_OK) {
        column = gm_alloc(columns, sizeof *column, "metrics", err);
        if (!column) status = GM_ERR_MEMORY;
    }
    for (size_t i = 0; status == GM_OK && i < columns; i++) {
        status =
            gm_run_metric(run, name[i], &column[i].step, &column[i].value, &column[i].count, err);
    }
    if (status == GM_OK) status = gm_file_create(path, &file, err);
    if (status == GM_OK) {
        FILE *out = gm_file_stream(file);
        fputs("step", out);
        for (size_t i = 0; i < columns; i++) {
            fputc(',', out);
            print_field(out, name[i]);
        }
        fputc('\n', out);
        rows = print_rows(out, columns, column);
        status = gm_file_commit(&file, err);
    }
    if (status == GM_OK) printf("%s: %zu metrics at %zu steps\n", path, columns, rows);
    for (size_t i = 0; column && i < columns; i++) {
        gm_run_free(column[i].step);
        gm_run_free(column[i].value);
    }
    gm_free(column);
    gm_run_free(name);
    return status;
}

/* ---- results ---- */

static gm_status settings_value(gm_run *run, json_t *object, gm_error *err)
{
    gm_setting *setting = NULL;
    size_t count = 0;
    gm_status status = gm_run_settings(run, &setting, &count, err);
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        json_object_set_new(object, setting[i].key, json_string(setting[i].value));
    }
    gm_run_free(setting);
    return status;
}

/* Names and shapes of the arrays that go with a result; their numbers are in its document. */
static gm_status arrays_value(gm_run *run, int64_t id, json_t *list, gm_error *err)
{
    gm_run_array *array = NULL;
    size_t count = 0;
    gm_status status = gm_run_arrays(run, id, &array, &count, err);
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        json_t *shape = json_array();
        for (int j = 0; j < array[i].rank; j++) {
            json_array_append_new(shape, json_integer((json_int_t)array[i].dim[j]));
        }
        json_t *entry = json_object();
        json_object_set_new(entry, "name", json_string(array[i].name));
        json_object_set_new(entry, "shape", shape);
        json_array_append_new(list, entry);
    }
    gm_run_free(array);
    return status;
}

static gm_status results_value(gm_run *run, json_t *list, gm_error *err)
{
    gm_run_result *result = NULL;
    size_t count = 0;
    gm_status status = gm_run_results(run, NULL, &result, &count, err);
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        json_t *document = json_loads(result[i].json, 0, NULL);
        if (!document) {
            status = gm_fail(err, GM_ERR_INPUT, "%s: result %" PRId64 " holds no JSON document",
                             gm_run_path(run), result[i].id);
            break;
        }
        json_t *arrays = json_array();
        json_t *entry = json_object();
        json_object_set_new(entry, "command", json_string(result[i].command));
        json_object_set_new(entry, "step",
                            result[i].step >= 0 ? json_integer(result[i].step) : json_null());
        json_object_set_new(entry, "key", json_string(result[i].key));
        json_object_set_new(entry, "created", json_string(result[i].created));
        json_object_set_new(entry, "document", document);
        json_object_set_new(entry, "arrays", arrays);
        json_array_append_new(list, entry);
        status = arrays_value(run, result[i].id, arrays, err);
    }
    gm_run_free(result);
    return status;
}

static gm_status export_results(gm_run *run, const char *path, gm_error *err)
{
    json_t *settings = json_object(), *results = json_array(), *document = json_object();
    json_object_set_new(document, "tool", json_string("gradiometer"));
    json_object_set_new(document, "version", json_string(gm_version()));
    json_object_set_new(document, "command", json_string("export"));
    json_object_set_new(document, "run", json_string(gm_run_path(run)));
    json_object_set_new(document, "settings", settings);
    json_object_set_new(document, "results", results);
    gm_file *file = NULL;
    gm_status status = settings_value(run, settings, err);
    if (status == GM_OK) status = results_value(run, results, err);
    if (status == GM_OK) status = gm_file_create(path, &file, err);
    if (status == GM_OK) {
        size_t flags = JSON_INDENT(1) | JSON_REAL_PRECISION(17);
        if (json_dumpf(document, gm_file_stream(file), flags) != 0) {
            status = gm_fail(err, GM_ERR_IO, "%s cannot be written: %s", path, strerror(errno));
            gm_file_discard(&file);
        } else {
            fputc('\n', gm_file_stream(file));
            status = gm_file_commit(&file, err);
        }
    }
    if (status == GM_OK) printf("%s: %zu results\n", path, json_array_size(results));
    json_decref(document);
    return status;
}

/* ---- run ---- */

/* An output must be writable, and must not take the place of the run file itself. */
static gm_status check_output(const char *option, const char *path, const char *run, gm_error *err)
{
    if (!path) return GM_OK;
    struct stat a, b;
    if (stat(path, &a) == 0 && stat(run, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino) {
        return gm_fail(err, GM_ERR_USAGE, "--%s: %s is the run file itself, expected another name",
                       option, path);
    }
    return gm_cli_check_writable(option, path, err);
}

static gm_status check(const gm_cli *cli, gm_error *err)
{
    const export_settings *set = cli->settings;
    const char *run = cli->operand[0];
    if (!set->params && !set->metrics && !set->results) {
        return gm_fail(err, GM_ERR_USAGE,
                       "export: nothing to write, expected --params, --metrics or --results");
    }
    if (gm_cli_given(cli, "at") && !set->params) {
        return gm_fail(err, GM_ERR_USAGE, "--at: found without --params, which it belongs to");
    }
    gm_status status = check_output("params", set->params, run, err);
    if (status == GM_OK) status = check_output("metrics", set->metrics, run, err);
    if (status == GM_OK) status = check_output("results", set->results, run, err);
    return status;
}

static gm_status run_export(gm_cli *cli, gm_error *err)
{
    const export_settings *set = cli->settings;
    gm_run *run = NULL;
    gm_status status = check(cli, err);
    if (status == GM_OK) status = gm_run_open(cli->operand[0], GM_RUN_READ, &run, err);
    if (status == GM_OK) gm_cli_begin(cli);
    if (status == GM_OK && set->params) {
        int64_t step = gm_cli_given(cli, "at") ? (int64_t)set->at : GM_RUN_LAST;
        status = export_parameters(run, set->params, step, err);
    }
    if (status == GM_OK && set->metrics) status = export_metrics(run, set->metrics, err);
    if (status == GM_OK && set->results) status = export_results(run, set->results, err);
    gm_run_close(run);
    return status;
}

const gm_command gm_command_export = {
    .name = "export",
    .summary = "contents of a run file as NPY, safetensors, CSV or JSON",
    .usage = "RUN.gmr [--params OUT [--at STEP]] [--metrics OUT.csv] [--results OUT.json]",
    .description =
        "Writes what a run file holds as files that other programs read. The run file may be one "
        "that a training is still writing. Each file appears whole or not at all.",
    .examples = "  gradiometer export run.gmr --params theta.npy --at 1000\n"
                "  gradiometer export run.gmr --params theta.safetensors\n"
                "  gradiometer export run.gmr --metrics metrics.csv --results results.json\n",
    .takes = 0,
    .options = export_options,
    .settings_size = sizeof(export_settings),
    .defaults = &export_defaults,
    .operands_min = 1,
    .operands_max = 1,
    .run = run_export,
};
