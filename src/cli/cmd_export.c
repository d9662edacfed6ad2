/* gradiometer export: what a run file holds, as files that other programs read. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/export.h"
#include "cli/session.h"
#include "data/npy.h"
#include "gradiometer/run.h"

typedef enum format { FORMAT_CSV, FORMAT_NPZ, FORMAT_NPY, FORMAT_JSON, FORMATS } format;
static const char *const format_words[] = {"csv", "npz", "npy", "json", NULL};

typedef struct export_settings {
    const char *output, *params, *metrics, *results;
    int format; /* FORMATS: by the ending of output */
    uint64_t at;
    bool list;
} export_settings;

static const export_settings export_defaults = {.format = FORMATS};

#define AT(field) offsetof(export_settings, field)

static const gm_option export_options[] = {
    {"list", 0, NULL, "Print the items of the file, or those named, one a line, and write nothing.",
     gm_option_flag, AT(list), NULL, 0},
    {"output", 'o', "OUT",
     "Write the items named, or all of them: OUT.csv (one table: metrics by step, arrays side by "
     "side, or documents as lines of path and value), OUT.npz (NumPy's archive, any items), "
     "OUT.npy "
     "(one array), OUT.json (one document, any items).",
     gm_option_text, AT(output), NULL, 0},
    {"format", 0, "FORMAT", "csv, npz, npy or json, whatever OUT is called (/dev/stdout, say).",
     gm_option_choice, AT(format), format_words, 0},
    {"params", 0, "OUT",
     "Write the last parameters, or those of --at: OUT.npy, one flat f8 vector [p]; "
     "OUT.safetensors, tensors under their names such as dense1.weight, in F32 where that loses "
     "nothing, else in F64.",
     gm_option_text, AT(params), NULL, 0},
    {"at", 0, "STEP", "Step of the checkpoint for --params. Default: the last one.", gm_option_seed,
     AT(at), NULL, INT64_MAX},
    {"metrics", 0, "OUT.csv",
     "Write every metric: a line for each step, a column for each metric, empty where it was not "
     "measured. The same as: metrics --format csv -o OUT.csv.",
     gm_option_text, AT(metrics), NULL, 0},
    {"results", 0, "OUT.json",
     "Write the settings of the run and the stored documents of analyses as one JSON document, "
     "with "
     "the names and shapes of their arrays.",
     gm_option_text, AT(results), NULL, 0},
    {0}};

/* ---- parameters ---- */

static bool ends_with(const char *path, const char *ending)
{
    size_t length = strlen(path), tail = strlen(ending);
    return length > tail && path[length - tail - 1] == '.' &&
           strcmp(path + length - tail, ending) == 0;
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
        status = ends_with(path, "safetensors") ? write_tensors(run, path, p, theta, err)
                                                : gm_npy_write(path, GM_NPY_F8, 1, &p, theta, err);
    }
    if (status == GM_OK) printf("%s: %zu parameters of step %" PRId64 "\n", path, p, found);
    gm_run_free(theta);
    return status;
}

/* ---- items ---- */

static gm_status find_format(const export_settings *set, int *found, gm_error *err)
{
    *found = set->format;
    for (int f = 0; f < FORMATS && *found == FORMATS; f++) {
        if (ends_with(set->output, format_words[f])) *found = f;
    }
    if (*found != FORMATS) return GM_OK;
    return gm_fail(
        err, GM_ERR_USAGE,
        "--output: found %s, expected it to end in .csv, .npz, .npy or .json, or --format",
        set->output);
}

static void say_written(const gm_export *e, const char *path)
{
    size_t chosen = 0;
    for (size_t i = 0; i < e->items; i++) {
        chosen += e->item[i].chosen;
    }
    if (strncmp(path, "/dev/", 5) != 0)
        printf("%s: %zu item%s\n", path, chosen, chosen == 1 ? "" : "s");
}

static gm_status check_items(const gm_export *e, format f, const char *path, gm_error *err)
{
    if (f == FORMAT_CSV) return gm_export_check_csv(e, path, err);
    return f == FORMAT_NPY ? gm_export_check_npy(e, path, err) : GM_OK;
}

static gm_status write_items(const gm_export *e, format f, const char *path, gm_error *err)
{
    static gm_status (*const writer[FORMATS])(const gm_export *, const char *, gm_error *) = {
        gm_export_csv, gm_export_npz, gm_export_npy, gm_export_json};
    gm_status status = writer[f](e, path, err);
    if (status == GM_OK) say_written(e, path);
    return status;
}

/* --metrics and --results: the items of these kinds. */
static gm_status write_kinds(gm_export *e, gm_export_kind first, gm_export_kind second, format f,
                             const char *path, gm_error *err)
{
    for (size_t i = 0; i < e->items; i++) {
        e->item[i].chosen = e->item[i].kind == first || e->item[i].kind == second;
    }
    return write_items(e, f, path, err);
}

static gm_status export_items(gm_cli *cli, gm_run *run, gm_error *err)
{
    const export_settings *set = cli->settings;
    gm_export e = {0};
    int f = FORMATS;
    gm_status status = gm_export_open(run, &e, err);
    if (status == GM_OK)
        status = gm_export_choose(&e, (size_t)cli->operands - 1, cli->operand + 1, err);
    if (status == GM_OK && set->output) status = find_format(set, &f, err);
    if (status == GM_OK && set->output) status = check_items(&e, (format)f, set->output, err);
    if (status == GM_OK) gm_cli_begin(cli);
    if (status == GM_OK && set->list) status = gm_export_list(&e, err);
    if (status == GM_OK && set->output) status = write_items(&e, (format)f, set->output, err);
    if (status == GM_OK && set->metrics)
        status = write_kinds(&e, GM_EXPORT_SERIES, GM_EXPORT_SERIES, FORMAT_CSV, set->metrics, err);
    if (status == GM_OK && set->results)
        status =
            write_kinds(&e, GM_EXPORT_SETTINGS, GM_EXPORT_DOCUMENT, FORMAT_JSON, set->results, err);
    gm_export_close(&e);
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

/* Options against each other. */
static gm_status check(gm_cli *cli, gm_error *err)
{
    const export_settings *set = cli->settings;
    if (!set->output && !set->list && !set->params && !set->metrics && !set->results)
        return gm_fail(err, GM_ERR_USAGE,
                       "export: nothing to write, expected -o OUT, --list, --params, --metrics or "
                       "--results");
    if (cli->operands > 1 && !set->output && !set->list)
        return gm_fail(err, GM_ERR_USAGE,
                       "export: found item %s, expected -o OUT or --list with it", cli->operand[1]);
    if (set->format != FORMATS && !set->output)
        return gm_fail(err, GM_ERR_USAGE, "--format: found without -o, which it belongs to");
    if (gm_cli_given(cli, "at") && !set->params) {
        return gm_fail(err, GM_ERR_USAGE, "--at: found without --params, which it belongs to");
    }
    bool device = set->params && strncmp(set->params, "/dev/", 5) == 0;
    bool named =
        set->params && (ends_with(set->params, "npy") || ends_with(set->params, "safetensors"));
    if (set->params && !device && !named)
        return gm_fail(err, GM_ERR_USAGE,
                       "--params: found %s, expected it to end in .npy or .safetensors",
                       set->params);
    return GM_OK;
}

static gm_status check_outputs(const gm_cli *cli, gm_error *err)
{
    const export_settings *set = cli->settings;
    const char *run = cli->operand[0];
    gm_status status = check_output("output", set->output, run, err);
    if (status == GM_OK) status = check_output("params", set->params, run, err);
    if (status == GM_OK) status = check_output("metrics", set->metrics, run, err);
    if (status == GM_OK) status = check_output("results", set->results, run, err);
    return status;
}

static gm_status run_export(gm_cli *cli, gm_error *err)
{
    const export_settings *set = cli->settings;
    gm_run *run = NULL;
    gm_status status = check_outputs(cli, err);
    if (status == GM_OK) status = gm_run_open(cli->operand[0], GM_RUN_READ, &run, err);
    if (status == GM_OK && (set->output || set->list || set->metrics || set->results))
        status = export_items(cli, run, err);
    if (status == GM_OK) gm_cli_begin(cli);
    if (status == GM_OK && set->params) {
        int64_t step = gm_cli_given(cli, "at") ? (int64_t)set->at : GM_RUN_LAST;
        status = export_parameters(run, set->params, step, err);
    }
    gm_run_close(run);
    return status;
}

const gm_command gm_command_export = {
    .name = "export",
    .summary = "contents of a run file as CSV, NumPy arrays, JSON or safetensors",
    .usage = "RUN.gmr [ITEM]... -o OUT.csv|.npz|.npy|.json\n"
             "  or:  gradiometer export RUN.gmr [ITEM]... --list\n"
             "  or:  gradiometer export RUN.gmr --params OUT [--at STEP]",
    .description =
        "Writes what a run file holds as files that other programs read. The run file may be one "
        "that a training is still writing. Each file appears whole or not at all.\n\n"
        "Items are settings, state, metrics/NAME, checkpoints/STEP, state:theta, state:optimizer, "
        "results/COMMAND[@STEP]/KEY (the document of an analysis) and results/...:ARRAY (its "
        "arrays); --list shows those of a file. An ITEM is a name, a pattern in quotes with *, ? "
        "or "
        "[...], or the beginning of names up to a /, @ or : (metrics, results/spectrum). Without "
        "any, all items are meant.\n\n"
        "docs/export.md describes the files.",
    .examples = "  gradiometer export run.gmr --list\n"
                "  gradiometer export run.gmr metrics/loss metrics/test_loss -o loss.csv\n"
                "  gradiometer export run.gmr 'results/decompose*eigenvalues' -o spectra.npz\n"
                "  gradiometer export run.gmr -o everything.json\n"
                "  gradiometer export run.gmr --params theta.safetensors --at 1000\n",
    .takes = 0,
    .options = export_options,
    .settings_size = sizeof(export_settings),
    .defaults = &export_defaults,
    .operands_min = 1,
    .operands_max = 1000,
    .check = check,
    .run = run_export,
};
