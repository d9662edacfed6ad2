#include "cli/session.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "cli/frame.h"
#include "data/npy.h"
#include "kernels/kernels.h"
#include "survey/survey.h"

/* Up to this many parameters the products are in float64 unless the user says otherwise. */
enum { F64_PARAMETERS = 50000 };

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* ---- the run file in --params ---- */

/* True where --params names a run file rather than an .npy: by its ending, or by what is in it. */
static bool names_run(const char *params)
{
    return ends_with(params, ".gmr") || strstr(params, ".gmr@") || gm_run_is_file(params);
}

/* What the run recorded for a shared option; NULL where it recorded nothing. Keys are the options'
 * names with _ for -. */
const char *gm_session_recorded(const gm_session *session, const char *name)
{
    for (size_t i = 0; i < session->recordings; i++) {
        const char *a = session->recorded[i].key, *b = name;
        while (*a && (*a == *b || (*a == '_' && *b == '-'))) {
            a++, b++;
        }
        if (!*a && !*b) return session->recorded[i].value;
    }
    return NULL;
}

static gm_status inherit_option(const gm_entry *entry, gm_session *session, gm_error *err)
{
    const gm_option *o = &entry->option;
    const char *value = gm_session_recorded(session, o->name);
    if (!value || !*value) return GM_OK;
    if (!o->argument && strcmp(value, "true") != 0) return GM_OK;
    gm_error inner = {0};
    void *target = (char *)&session->shared + o->offset;
    gm_status status = o->parse(o, value, target, &inner);
    if (status == GM_OK) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "%s: recorded settings: %s", gm_run_path(session->run),
                   inner.message);
}

/* Fills the options listed that the user did not give with what the run recorded. */
static gm_status inherit_options(const gm_cli *cli, gm_session *session, size_t count,
                                 const char *const *name, gm_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const gm_entry *entry = gm_cli_entry(cli, name[i]);
        if (!entry || entry->given) continue;
        gm_status status = inherit_option(entry, session, err);
        if (status != GM_OK) return status;
    }
    return GM_OK;
}

/* An explicit --data is another data set: the recorded subset, random labels and standardization
 * belong to the old one and are left out with it. */
static gm_status inherit(const gm_cli *cli, gm_session *session, bool reopen, gm_error *err)
{
    static const char *const always[] = {"model", "logits", "constants", "test-data",
                                         "loss",  "seed",   "precision"};
    static const char *const of_data[] = {"data", "subset", "random-labels", "standardize"};
    static const char *const of_rounding[] = {"threads", "memory"};
    gm_status status = inherit_options(cli, session, 7, always, err);
    if (status == GM_OK && !gm_cli_given(cli, "data")) {
        status = inherit_options(cli, session, 4, of_data, err);
    }
    if (status == GM_OK && reopen) status = inherit_options(cli, session, 2, of_rounding, err);
    return status;
}

static gm_status open_run(const gm_cli *cli, gm_session *session, bool reopen, gm_error *err)
{
    const char *params = session->shared.params;
    if (!params || (!reopen && !names_run(params))) return GM_OK;
    char *path = NULL;
    gm_status status = GM_OK;
    if (!reopen) status = gm_run_split(params, &path, &session->step, err);
    if (status != GM_OK) return status;
    session->run_step = session->step != GM_RUN_LAST;
    status = gm_run_open(reopen ? params : path, GM_RUN_READ, &session->run, err);
    gm_run_free(path);
    if (status != GM_OK) return status;
    status = gm_run_settings(session->run, &session->recorded, &session->recordings, err);
    if (status != GM_OK) return status;
    return inherit(cli, session, reopen, err);
}

static const char all_steps[] = "@all";

bool gm_session_asks_all(const char *params)
{
    size_t length = params ? strlen(params) : 0, tail = sizeof all_steps - 1;
    return length > tail && strcmp(params + length - tail, all_steps) == 0;
}

gm_status gm_session_strip_all(const char *params, char **path, gm_error *err)
{
    *path = NULL;
    if (!gm_session_asks_all(params)) return GM_OK;
    *path = gm_strdup(params, err);
    if (!*path) return GM_ERR_MEMORY;
    (*path)[strlen(params) - (sizeof all_steps - 1)] = 0;
    return GM_OK;
}

/* ---- model, precision, threads ---- */

gm_status gm_session_make_net(const char *model, const char *logits, const char *constants,
                              const char *data, gm_net **net, gm_error *err)
{
    gm_shape shape;
    size_t classes = 0;
    *net = NULL;
    if (gm_onnx_names_model(model)) {
        return gm_session_import_net(model, logits, constants, net, err);
    }
    bool asks = gm_net_spec_asks_data(model);
    gm_status status = asks ? gm_data_describe(data, &shape, &classes, err) : GM_OK;
    if (status != GM_OK) return status;
    return gm_net_from_spec(model, asks ? &shape : NULL, classes, net, err);
}

bool gm_session_has_group(const gm_session *session)
{
    return session->net && session->layer >= 0 &&
           (size_t)session->layer >= gm_net_layers(session->net);
}

static bool names_tensor(const gm_net *net, const char *name)
{
    for (size_t i = 0; i < gm_net_tensors(net); i++) {
        if (strcmp(gm_net_tensor_at(net, i).name, name) == 0) return true;
    }
    return false;
}

gm_status gm_session_find_layer(gm_net *net, const char *name, int *layer, gm_error *err)
{
    size_t index;
    bool group = strpbrk(name, "*?[") || names_tensor(net, name);
    gm_status status = group ? gm_net_add_group(net, name, &index, err)
                             : gm_net_find_layer(net, name, &index, err);
    if (status == GM_OK) *layer = (int)index;
    return status;
}

static gm_status open_net(const gm_cli *cli, gm_session *session, gm_error *err)
{
    if (!session->shared.model) return gm_cli_require(cli, "model", err);
    const gm_shared *shared = &session->shared;
    bool asks = gm_net_spec_asks_data(shared->model);
    if (asks && !shared->data) return gm_cli_require(cli, "data", err);
    gm_status status;
    if (gm_onnx_names_model(shared->model)) {
        status = gm_session_import(cli, session, err);
    } else if (gm_cli_given(cli, "logits")) {
        status =
            gm_fail(err, GM_ERR_USAGE, "--logits: the model %s is no ONNX file", shared->model);
    } else if (gm_cli_given(cli, "constants")) {
        status =
            gm_fail(err, GM_ERR_USAGE, "--constants: the model %s is no ONNX file", shared->model);
    } else {
        status = gm_session_make_net(shared->model, NULL, NULL, shared->data, &session->net, err);
    }
    if (status != GM_OK) return status;
    session->layer = GM_ALL_LAYERS;
    session->each_layer = session->shared.each_layer;
    if (!session->shared.layer) return GM_OK;
    return gm_session_find_layer(session->net, session->shared.layer, &session->layer, err);
}

static bool has_recorded(const gm_session *session, const char *name)
{
    const char *value = gm_session_recorded(session, name);
    return value && *value;
}

static void choose_precision(gm_cli *cli, gm_session *session)
{
    if (session->precision_fixed) return;
    if (gm_cli_given(cli, "precision") || has_recorded(session, "precision")) {
        session->precision = session->shared.precision;
    } else {
        size_t p = gm_net_parameters(session->net);
        session->precision = p <= F64_PARAMETERS ? GM_F64 : GM_F32;
        gm_cli_note(cli, "precision %s, the default for %zu parameters (f64 up to %d)",
                    gm_dtype_name(session->precision), p, F64_PARAMETERS);
    }
    gm_cli_note(cli, "element kernels built for %s", gm_kernels_get(session->precision)->isa);
}

/* Ranks on one machine share its processors, unless each was bound to some of them. */
static int threads_of_rank(const gm_team *team)
{
    long machine = sysconf(_SC_NPROCESSORS_ONLN);
    int share = (int)(machine > 0 ? machine : 1) / gm_team_here(team);
    int own = omp_get_max_threads();
    return share < 1 ? 1 : share < own ? share : own;
}

static void set_threads(gm_session *session)
{
    int threads = (int)session->shared.threads;
    if (!threads && session->team && !getenv("OMP_NUM_THREADS")) {
        threads = threads_of_rank(session->team);
    }
    if (!threads) threads = omp_get_max_threads();
    /* What every rank computes for itself must be the same to the bit. */
    gm_team_broadcast(session->team, sizeof threads, &threads);
    omp_set_num_threads(threads);
    session->threads = omp_get_max_threads();
}

/* Half of the machine's memory, shared by the ranks on it; the same at all ranks, whose decisions
 * hang on it. */
static void set_budget(gm_session *session)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    session->budget = pages > 0 && page > 0 ? (size_t)pages * (size_t)page / 2 : (size_t)1 << 31;
    session->budget /= (size_t)gm_team_here(session->team);
    gm_team_broadcast(session->team, sizeof session->budget, &session->budget);
}

/* Fields of a session of this invocation, before anything is opened. */
static void begin_session(const gm_cli *cli, gm_session *session)
{
    *session = (gm_session){.shared = cli->shared,
                            .step = GM_RUN_NO_STEP,
                            .team = cli->team,
                            .joined = cli->sharing == GM_SHARING_SAMPLES ||
                                      cli->sharing == GM_SHARING_SUMS};
    set_budget(session);
}

/* ---- data ---- */

static gm_status load_data(const gm_cli *cli, gm_session *session, gm_error *err)
{
    const gm_shared *shared = &session->shared;
    if (!shared->data) return gm_cli_require(cli, "data", err);
    gm_data_options options;
    gm_data_options_default(&options);
    options.dtype = session->precision;
    options.seed = session->seed;
    options.subset = shared->subset;
    options.random_labels = shared->random_labels;
    options.standardize = shared->standardize;
    options.classes = session->net ? gm_net_outputs(session->net) : 0;
    options.team = session->team;
    options.share = cli->sharing == GM_SHARING_SAMPLES;
    if (cli->sharing == GM_SHARING_PROBES) options.share_above = gm_session_memory(session) / 4;
    gm_status status = gm_data_load(shared->data, &options, &session->data, err);
    if (status == GM_OK && session->data->whole) session->joined = true;
    if (status == GM_OK && shared->test_data) {
        options.subset = 0;
        options.test = true;
        options.reference = session->data;
        options.classes = 0; /* the reference's */
        status = gm_data_load(shared->test_data, &options, &session->test, err);
    }
    return status;
}

static gm_status squared_targets(gm_session *session, gm_error *err)
{
    if (session->loss_kind != GM_LOSS_SQUARED) return GM_OK;
    gm_status status = gm_dataset_one_hot(session->data, err);
    if (status == GM_OK && session->test) status = gm_dataset_one_hot(session->test, err);
    return status;
}

/* ---- parameters ---- */

static gm_status check_length(const gm_session *session, const char *path, size_t found,
                              gm_error *err)
{
    size_t p = gm_net_parameters(session->net);
    if (found == p) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "--params: %s holds %zu numbers, expected %zu, those of %s",
                   path, found, p, gm_net_name(session->net));
}

bool gm_session_names_parameters(const char *path)
{
    return ends_with(path, ".npy") || ends_with(path, ".safetensors");
}

gm_status gm_session_read_parameters(gm_cli *cli, const gm_session *session, const char *option,
                                     const char *path, double **theta, gm_error *err)
{
    gm_error inner = {0}, note = {0};
    *theta = NULL;
    if (!gm_session_names_parameters(path)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--%s: found '%s', expected an .npy or .safetensors file or a run file "
                       "(run.gmr, run.gmr@STEP)",
                       option, path);
    }
    if (strpbrk(path, "*?[") && access(path, F_OK) != 0) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--%s: found '%s', expected one file (decompose and spectrum go through a "
                       "series)",
                       option, path);
    }
    *theta = gm_alloc(gm_net_parameters(session->net), sizeof **theta, "parameters", err);
    if (!*theta) return GM_ERR_MEMORY;
    gm_status status = gm_net_read_parameters(session->net, path, *theta, &note, &inner);
    if (*note.message) gm_cli_note(cli, "%s", note.message);
    if (status == GM_OK) return GM_OK;
    gm_free(*theta);
    *theta = NULL;
    return gm_fail(err, status, "--%s: %s", option, inner.message);
}

static gm_status load_parameters(gm_cli *cli, gm_session *session, gm_error *err)
{
    const char *params = session->shared.params;
    size_t p = gm_net_parameters(session->net), found = p;
    gm_status status = GM_OK;
    if (session->run) {
        double *theta = NULL;
        status =
            gm_run_parameters(session->run, session->step, &theta, &found, &session->step, err);
        if (status != GM_OK) return status;
        status = check_length(session, params, found, err);
        session->theta = status == GM_OK ? gm_alloc(p, sizeof(double), "parameters", err) : NULL;
        if (session->theta) memcpy(session->theta, theta, p * sizeof(double));
        gm_run_free(theta);
        if (!session->theta) return status == GM_OK ? GM_ERR_MEMORY : status;
        session->point =
            gm_format(err, "%s, step %lld", gm_run_path(session->run), (long long)session->step);
    } else if (params) {
        status = gm_session_read_parameters(cli, session, "params", params, &session->theta, err);
        if (status != GM_OK) return status;
        session->point = gm_strdup(params, err);
    } else if (session->onnx) {
        session->theta = gm_alloc(p, sizeof(double), "parameters", err);
        if (!session->theta) return GM_ERR_MEMORY;
        memcpy(session->theta, session->onnx->theta, p * sizeof(double));
        session->point = gm_format(err, "%s, as stored", session->onnx->path);
    } else {
        session->theta = gm_alloc(p, sizeof(double), "parameters", err);
        if (!session->theta) return GM_ERR_MEMORY;
        gm_net_init(session->net, GM_INIT_HE, session->seed, 0, session->theta);
        session->point =
            gm_format(err, "He initialization, seed %llu", (unsigned long long)session->seed);
    }
    return session->point ? GM_OK : GM_ERR_MEMORY;
}

/* ---- the whole ---- */

static gm_status create_problems(gm_session *session, gm_error *err)
{
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = session->loss_kind;
    options.memory = session->team ? gm_session_memory(session) : session->shared.memory;
    if (session->joined) options.team = session->team;
    gm_status status =
        gm_problem_create(session->net, session->data, &options, &session->problem, err);
    if (status == GM_OK && session->test) {
        status =
            gm_problem_create(session->net, session->test, &options, &session->test_problem, err);
    }
    session->alone = session->problem;
    if (status != GM_OK || !options.team) return status;
    session->alone = NULL;
    if (session->data->whole) return GM_OK;
    options.team = NULL;
    return gm_problem_create(session->net, session->data, &options, &session->alone, err);
}

/* Everything but data and parameters. */
static gm_status open_model(gm_cli *cli, gm_session *session, bool reopen, gm_error *err)
{
    gm_status status = open_run(cli, session, reopen, err);
    if (status == GM_OK) status = open_net(cli, session, err);
    if (status != GM_OK) return status;
    session->seed = session->shared.seed;
    session->loss_kind = session->shared.loss;
    choose_precision(cli, session);
    set_threads(session);
    return GM_OK;
}

/* Ranks that would compute something else are found here: other parameters, or another net. (The
 * data were compared as they were read, the options before.) */
static gm_status compare_ranks(const gm_session *session, gm_error *err)
{
    if (!session->team) return GM_OK;
    const char *name = gm_net_name(session->net);
    size_t p = gm_net_parameters(session->net);
    int odd = gm_team_odd_one(session->team, gm_hash(gm_hash_start, name, strlen(name)));
    if (odd > 0) {
        return gm_fail(err, GM_ERR_INPUT, "--model: rank %d has another net than rank 0, %s", odd,
                       session->shared.model);
    }
    odd = gm_team_odd_one(session->team,
                          gm_hash(gm_hash_start, session->theta, p * sizeof *session->theta));
    if (odd < 0) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "--params: rank %d has other parameters than rank 0 (%s)",
                   odd, session->point);
}

static gm_status open_session(gm_cli *cli, gm_session *session, bool reopen, gm_error *err)
{
    gm_status status = open_model(cli, session, reopen, err);
    if (status == GM_OK && cli->command->check_net)
        status = cli->command->check_net(cli, session->net, err);
    if (status != GM_OK) return status;
    status = load_data(cli, session, err);
    if (status == GM_OK) status = squared_targets(session, err);
    if (status == GM_OK) status = create_problems(session, err); /* the fit of net and data */
    if (status == GM_OK) status = load_parameters(cli, session, err);
    if (status == GM_OK) status = compare_ranks(session, err);
    if (status == GM_OK && session->onnx) status = gm_session_check_import(session, err);
    return status;
}

gm_status gm_session_open(gm_cli *cli, gm_session *session, gm_error *err)
{
    begin_session(cli, session);
    return open_session(cli, session, false, err);
}

gm_status gm_session_open_in(gm_cli *cli, gm_dtype precision, gm_session *session, gm_error *err)
{
    begin_session(cli, session);
    session->precision = precision;
    session->precision_fixed = true;
    return open_session(cli, session, false, err);
}

gm_status gm_session_open_model(gm_cli *cli, gm_session *session, gm_error *err)
{
    begin_session(cli, session);
    return open_model(cli, session, false, err);
}

gm_status gm_session_reopen(gm_cli *cli, const char *path, gm_session *session, gm_error *err)
{
    begin_session(cli, session);
    session->step = GM_RUN_LAST;
    session->shared.params = path;
    return open_session(cli, session, true, err);
}

void gm_session_open_alone(gm_cli *cli, gm_session *session)
{
    begin_session(cli, session);
    session->seed = cli->shared.seed;
    session->precision = GM_F64;
    session->layer = GM_ALL_LAYERS;
    set_threads(session);
}

gm_status gm_session_open_data(gm_cli *cli, gm_session *session, gm_error *err)
{
    gm_session_open_alone(cli, session);
    return load_data(cli, session, err);
}

void gm_session_close(gm_session *session)
{
    gm_problem_free(session->test_problem);
    if (session->alone != session->problem) gm_problem_free(session->alone);
    gm_problem_free(session->problem);
    gm_dataset_free(session->test);
    gm_dataset_free(session->data);
    if (!session->onnx) gm_net_free(session->net);
    gm_onnx_free(session->onnx);
    gm_free(session->theta);
    gm_free(session->point);
    gm_run_free(session->recorded);
    gm_run_close(session->run);
    memset(session, 0, sizeof *session);
}

size_t gm_session_memory(const gm_session *session)
{
    return session->shared.memory ? session->shared.memory : session->budget;
}

gm_status gm_session_check_matrix(const gm_session *session, const char *what, size_t count,
                                  size_t rows, size_t columns, gm_error *err)
{
    double needed = (double)count * (double)rows * (double)columns * (double)sizeof(double);
    double budget = (double)gm_session_memory(session);
    if (needed <= budget) return GM_OK;
    return gm_fail(err, GM_ERR_MEMORY,
                   "--memory: %s (%zu x %zu numbers%s) takes %.4g MiB, the budget is %.4g MiB",
                   what, rows, columns, count > 1 ? ", with workspace" : "", needed / 0x1p20,
                   budget / 0x1p20);
}

void gm_session_measure(gm_session *session, const gm_linearization *lin)
{
    const double *gradient = gm_linearization_gradient(lin);
    size_t p = gm_net_parameters(session->net);
    session->measured = true;
    session->loss = gm_linearization_loss(lin);
    session->gradient_norm = gm_survey_norm(p, gradient);
}
