/* A plan looked at before anything runs. Every command is parsed by the table that will parse it
 * and checked by its own check, so that a study refuses what the command would refuse; what depends
 * on the training that it follows is compared with that. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/bound.h"
#include "cli/bound_optimize.h"
#include "cli/dynamics.h"
#include "cli/frame.h"
#include "cli/session.h"
#include "cli/study.h"
#include "net/net.h"
#include "sgd/schedule.h"

/* Ended by NULL. */
static const gm_command *const commands[] = {&gm_command_train,
                                             &gm_command_spectrum,
                                             &gm_command_decompose,
                                             &gm_command_dynamics,
                                             &gm_command_bound,
                                             &gm_command_landscape,
                                             NULL};

/* One command of the plan, parsed. */
typedef struct parsed {
    gm_cli cli;
    char **word; /* [words + 1]: the parser puts options first */
} parsed;

static void parsed_close(parsed *p)
{
    gm_cli_free(&p->cli);
    gm_free(p->word);
    *p = (parsed){0};
}

static gm_status parse(const gm_cli *study, const gm_study_task *task, parsed *p, gm_error *err)
{
    const gm_command *command = NULL;
    size_t count = task->words.count;
    bool help = false;
    for (size_t i = 0; commands[i]; i++) {
        if (strcmp(task->words.word[0], commands[i]->name) == 0) command = commands[i];
    }
    *p = (parsed){0};
    p->word = gm_alloc(count + 1, sizeof *p->word, "words", err);
    if (!p->word) return GM_ERR_MEMORY;
    memcpy(p->word, task->words.word, count * sizeof *p->word);
    gm_status status = gm_cli_create(command, 0, &p->cli, err);
    if (status == GM_OK) status = gm_cli_parse(&p->cli, (int)count, p->word, &help, err);
    if (status == GM_OK && help)
        status = gm_fail(err, GM_ERR_USAGE, "--help: not an option of a study's command");
    p->cli.row_solver = study->row_solver;
    return status == GM_OK && command->check ? command->check(&p->cli, err) : status;
}

static const void *value_of(const parsed *p, const char *option)
{
    const gm_entry *entry = gm_cli_entry(&p->cli, option);
    return entry ? entry->target : NULL;
}

/* ---- refusals ---- */

/* The field of the file that an error of a command is about: the option that it begins with. */
static char *field_of(const gm_study_plan *plan, const gm_study_cell *cell,
                      const gm_study_task *task, const char *message, gm_error *err)
{
    static const char *const option[GM_STUDY_AXES] = {"--model",  "--batch", "--random-labels",
                                                      "--subset", "--seed",  "--step"};
    if (task->measure != SIZE_MAX) return gm_format(err, "measure[%zu].run", task->measure);
    size_t length = strcspn(message, ": ");
    for (int a = 0; a < GM_STUDY_AXES; a++) {
        if (strlen(option[a]) == length && strncmp(message, option[a], length) == 0)
            return gm_study_field(plan, cell, (gm_study_axis)a, err);
    }
    const gm_study_settings *own = &plan->study->file->data[cell->data].own;
    const char *const key[] = {"steps", "precision", "loss", "options"};
    const char *const said[] = {own->steps, own->precision, own->loss, own->train};
    enum { OPTIONS = 3 };
    int k = 0;
    while (k < OPTIONS &&
           (length != strlen(key[k]) + 2 || strncmp(message + 2, key[k], strlen(key[k])) != 0)) {
        k++;
    }
    return said[k] ? gm_format(err, "data[%zu].%s", cell->data, key[k]) : gm_strdup(key[k], err);
}

/* The refusal of a command as one of the study. */
static gm_status refuse(const gm_study_plan *plan, const gm_study_cell *cell,
                        const gm_study_task *task, gm_status status, const char *message,
                        gm_error *err)
{
    if (status == GM_ERR_MEMORY) return gm_fail(err, status, "%s", message);
    char *field = field_of(plan, cell, task, message, err);
    if (!field) return GM_ERR_MEMORY;
    status =
        gm_study_refuse(plan->study->path, field, err, "%.300s (cell %.100s)", message, cell->name);
    gm_free(field);
    return status;
}

/* The same for a value on an axis. */
static gm_status refuse_axis(const gm_study_plan *plan, const gm_study_cell *cell,
                             gm_study_axis axis, const char *message, gm_error *err)
{
    char *field = gm_study_field(plan, cell, axis, err);
    if (!field) return GM_ERR_MEMORY;
    gm_status status =
        gm_study_refuse(plan->study->path, field, err, "%.300s (cell %.100s)", message, cell->name);
    gm_free(field);
    return status;
}

/* ---- data and nets ---- */

/* What is known of the data set and the net that were looked at last; cells come in this order. */
typedef struct known {
    size_t data; /* index in the file, SIZE_MAX before the first */
    gm_shape shape;
    size_t n, test, classes;
    const char *model; /* NULL before the first of this data set */
    gm_net *net;
    size_t parameters, outputs, activations;
    double forward;
    bool images;
} known;

static void forget(known *k)
{
    gm_net_free(k->net);
    *k = (known){.data = SIZE_MAX};
}

static const char *how_to_get(const gm_study_data *data)
{
    if (data->get) return data->get;
    if (strncmp(data->train, "mnist:", 6) == 0)
        return "the four files of MNIST (train-images-idx3-ubyte.gz and so on) from "
               "https://ossci-datasets.s3.amazonaws.com/mnist/";
    if (strncmp(data->train, "cifar10:", 8) == 0)
        return "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz, unpacked";
    return NULL;
}

static gm_status refuse_data(const gm_study_plan *plan, size_t index, const char *key,
                             const char *message, gm_error *err)
{
    const gm_study_data *data = plan->study->file->data + index;
    const char *get = how_to_get(data);
    bool movable = strstr(data->train, "$DATA") != NULL;
    char field[64];
    snprintf(field, sizeof field, "data[%zu].%s", index, key);
    return gm_study_refuse(plan->study->path, field, err, "%.220s%s%.150s%s", message,
                           get ? "; to be had: " : "", get ? get : "",
                           movable ? "; --data-dir says where it is" : "");
}

static gm_status know_data(const gm_study_plan *plan, const gm_study_cell *cell, const parsed *p,
                           known *k, gm_error *err)
{
    if (k->data == cell->data) return GM_OK;
    const gm_shared *shared = &p->cli.shared;
    gm_error inner = {0};
    forget(k);
    gm_status status = gm_data_describe(shared->data, &k->shape, &k->classes, &inner);
    if (status == GM_OK) status = gm_data_samples(shared->data, false, &k->n, &inner);
    if (status != GM_OK) return refuse_data(plan, cell->data, "train", inner.message, err);
    if (shared->test_data) status = gm_data_samples(shared->test_data, true, &k->test, &inner);
    if (status != GM_OK) return refuse_data(plan, cell->data, "test", inner.message, err);
    k->data = cell->data;
    return GM_OK;
}

/* Each weight works at every place of its layer's output. */
static void count_net(known *k)
{
    const gm_net *net = k->net;
    k->parameters = gm_net_parameters(net);
    k->outputs = gm_net_outputs(net);
    k->forward = 0.0;
    k->activations = 0;
    k->images = false;
    for (int i = 0; i < net->nodes; i++) {
        const gm_node *node = net->node + i;
        size_t units = node->shape.rank == 3   ? node->shape.dim[0]
                       : node->shape.rank == 2 ? node->shape.dim[1]
                                               : node->size;
        size_t places = units ? node->size / units : 1;
        k->activations += node->size;
        k->images = k->images || (node->parameters && node->shape.rank == 3);
        k->forward += (double)node->size + 2.0 * (double)node->parameters * (double)places;
    }
}

static gm_status know_net(const gm_study_plan *plan, const gm_study_cell *cell, const parsed *p,
                          known *k, gm_error *err)
{
    const gm_shared *shared = &p->cli.shared;
    if (k->model && strcmp(k->model, cell->value[GM_STUDY_MODEL]) == 0) return GM_OK;
    gm_error inner = {0};
    char text[256];
    size_t features = gm_shape_size(&k->shape);
    gm_net_free(k->net);
    k->net = NULL;
    gm_status status = gm_session_make_net(shared->model, shared->logits, shared->constants,
                                           shared->data, &k->net, &inner);
    if (status != GM_OK) return refuse_axis(plan, cell, GM_STUDY_MODEL, inner.message, err);
    if (gm_net_inputs(k->net) != features) {
        snprintf(text, sizeof text, "%.80s takes %zu numbers a sample, but the data set has %zu",
                 shared->model, gm_net_inputs(k->net), features);
        return refuse_axis(plan, cell, GM_STUDY_MODEL, text, err);
    }
    if (gm_net_outputs(k->net) < k->classes) {
        snprintf(text, sizeof text, "%.80s has %zu outputs, but the data set %zu classes",
                 shared->model, gm_net_outputs(k->net), k->classes);
        return refuse_axis(plan, cell, GM_STUDY_MODEL, text, err);
    }
    count_net(k);
    k->model = cell->value[GM_STUDY_MODEL];
    return GM_OK;
}

/* ---- one cell ---- */

static gm_status check_sizes(const gm_study_plan *plan, const gm_study_cell *cell, const known *k,
                             const parsed *p, gm_study_fact *fact, gm_error *err)
{
    enum { F64_PARAMETERS = 50000 }; /* as session.c chooses */
    const gm_shared *shared = &p->cli.shared;
    char text[256];
    if (shared->subset > k->n) {
        snprintf(text, sizeof text, "found %zu, but the data set has %zu samples", shared->subset,
                 k->n);
        return refuse_axis(plan, cell, GM_STUDY_SUBSET, text, err);
    }
    *fact = (gm_study_fact){.parameters = k->parameters,
                            .samples = shared->subset ? shared->subset : k->n,
                            .test_samples = k->test,
                            .features = gm_shape_size(&k->shape),
                            .stored = k->n + k->test,
                            .outputs = k->outputs,
                            .activations = k->activations,
                            .forward = k->forward,
                            .images = k->images,
                            .loss = shared->loss};
    bool given = gm_cli_given(&p->cli, "precision");
    fact->precision = given ? shared->precision : k->parameters <= F64_PARAMETERS ? GM_F64 : GM_F32;
    fact->train = *(const gm_train_options *)value_of(p, "step"); /* the settings begin there */
    fact->train.seed = shared->seed;
    fact->train.replacement = shared->replacement;
    if (fact->train.batch <= fact->samples) return GM_OK;
    snprintf(text, sizeof text, "found %zu, but there are %zu samples", fact->train.batch,
             fact->samples);
    return refuse_axis(plan, cell, GM_STUDY_BATCH, text, err);
}

static gm_status check_training(const gm_cli *study, const gm_study_plan *plan,
                                const gm_study_cell *cell, known *k, gm_study_fact *fact,
                                gm_error *err)
{
    parsed p;
    gm_error inner = {0};
    gm_status status = parse(study, cell->task, &p, &inner);
    if (status != GM_OK) {
        status = refuse(plan, cell, cell->task, status, inner.message, err);
    }
    if (status == GM_OK) status = know_data(plan, cell, &p, k, err);
    if (status == GM_OK) status = know_net(plan, cell, &p, k, err);
    if (status == GM_OK) status = check_sizes(plan, cell, k, &p, fact, err);
    if (status == GM_OK) {
        status = gm_train_options_check(&fact->train, fact->samples, &inner);
        if (status != GM_OK) status = refuse(plan, cell, cell->task, status, inner.message, err);
    }
    parsed_close(&p);
    return status;
}

/* A step that the training keeps, where the measurement is at one. */
static gm_status check_point(const gm_study_plan *plan, const gm_study_cell *cell,
                             const gm_study_task *task, const gm_study_fact *fact, gm_error *err)
{
    gm_schedule schedule;
    uint64_t step = 0;
    if (sscanf(task->at, "%" SCNu64, &step) != 1) return GM_OK;
    gm_schedule_init(&schedule, &fact->train, fact->samples, fact->parameters);
    if (step <= fact->train.steps && gm_schedule_keeps(&schedule, step)) return GM_OK;
    char field[64];
    snprintf(field, sizeof field, "measure[%zu].at", task->measure);
    return gm_study_refuse(plan->study->path, field, err,
                           "found step %s, which the training of %" PRIu64
                           " steps does not keep; options: \"--keep-every N\" keeps every N-th "
                           "(cell %.100s)",
                           task->at, fact->train.steps, cell->name);
}

/* --k and --deflate, of the whole net or, for spectrum, of the layer. */
static gm_status check_pairs(const parsed *p, const known *k, gm_error *err)
{
    static const char *const option[] = {"k", "deflate"};
    const char *name = p->cli.shared.layer;
    size_t size = k->parameters;
    int layer = GM_ALL_LAYERS;
    gm_status status = name ? gm_session_find_layer(k->net, name, &layer, err) : GM_OK;
    if (status != GM_OK) return status;
    bool group = layer != GM_ALL_LAYERS && (size_t)layer >= gm_net_layers(k->net);
    bool block = layer != GM_ALL_LAYERS && !group && p->cli.command == &gm_command_spectrum;
    if (block) size = gm_net_layer_at(k->net, (size_t)layer).parameters;
    for (size_t i = 0; i < sizeof option / sizeof *option; i++) {
        if (!gm_cli_given(&p->cli, option[i])) continue;
        size_t count = *(const size_t *)value_of(p, option[i]);
        if (count <= size) continue;
        return gm_fail(err, GM_ERR_USAGE, "--%s: found %zu, but the %s has %zu parameters",
                       option[i], count, block ? "layer" : "net", size);
    }
    return GM_OK;
}

/* What a measurement will find in the training before it. */
static gm_status check_against(const parsed *p, const known *k, const gm_study_fact *fact,
                               gm_error *err)
{
    const gm_cli *cli = &p->cli;
    gm_status status = check_pairs(p, k, err);
    if (status != GM_OK) return status;
    if (cli->command == &gm_command_dynamics)
        return gm_dynamics_check_training(cli, &fact->train, fact->samples, fact->parameters, err);
    if (cli->command != &gm_command_bound) return GM_OK;
    if (cli->operands && strcmp(cli->operand[0], "rescale") == 0)
        return gm_rescale_check_net(k->net, err);
    return gm_bound_optimize_check_loss(cli, fact->loss, err);
}

static gm_status check_measure(const gm_cli *study, const gm_study_plan *plan,
                               const gm_study_cell *cell, const gm_study_task *task, const known *k,
                               const gm_study_fact *fact, gm_error *err)
{
    parsed p;
    gm_error inner = {0};
    gm_status status = parse(study, task, &p, &inner);
    if (status == GM_OK) status = check_against(&p, k, fact, &inner);
    if (status != GM_OK) status = refuse(plan, cell, task, status, inner.message, err);
    parsed_close(&p);
    return status == GM_OK ? check_point(plan, cell, task, fact, err) : status;
}

gm_status gm_study_check(const gm_cli *cli, const gm_study_plan *plan, gm_study_fact **fact,
                         gm_error *err)
{
    known k = {.data = SIZE_MAX};
    *fact = gm_alloc(plan->cells, sizeof **fact, "cells", err);
    gm_status status = *fact ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < plan->cells; i++) {
        const gm_study_cell *cell = plan->cell + i;
        status = check_training(cli, plan, cell, &k, *fact + i, err);
        for (size_t t = 1; status == GM_OK && t < cell->tasks; t++) {
            status = check_measure(cli, plan, cell, cell->task + t, &k, *fact + i, err);
        }
    }
    forget(&k);
    return status;
}
