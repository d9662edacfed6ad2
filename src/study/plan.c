/* The commands of every cell. */
#include "study/plan.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

/* ---- measurements ---- */

/* Commands that measure, with their subcommand or, NULL, without any. `series`: takes run.gmr@all;
 * `whole`: looks at all checkpoints of the run by itself. */
static const struct {
    const char *command, *subcommand;
    bool series, whole;
} measures[] = {{"spectrum", NULL, true, false},
                {"decompose", NULL, true, false},
                {"dynamics", "ensemble", false, false},
                {"dynamics", "predict", false, false},
                {"dynamics", "martingale", false, true},
                {"dynamics", "phases", false, true},
                {"dynamics", "advise", false, false},
                {"dynamics", "stability", false, false},
                {"bound", NULL, true, false},
                {"bound", "rescale", false, false},
                {"landscape", NULL, true, false}};
enum { MEASURES = sizeof measures / sizeof *measures };

/* One measurement of the file, its words split. */
typedef struct measure {
    gm_words words;
    char name[64];
    int kind; /* index in measures */
} measure;

static int find_kind(const gm_words *words)
{
    for (int i = 0; i < MEASURES; i++) {
        const char *next = words->count > 1 ? words->word[1] : "-";
        if (strcmp(words->word[0], measures[i].command) != 0) continue;
        if (measures[i].subcommand ? strcmp(next, measures[i].subcommand) == 0 : *next == '-')
            return i;
    }
    return MEASURES;
}

/* The first of the options (ended by NULL) that the words have; NULL where there is none. */
static const char *find_option(const gm_words *words, const char *const *option)
{
    for (; *option; option++) {
        for (size_t w = 0; w < words->count; w++) {
            size_t length = strcspn(words->word[w], "=");
            if (strlen(*option) == length && strncmp(words->word[w], *option, length) == 0)
                return *option;
        }
    }
    return NULL;
}

/* Splits a text of options; refuses what the plan gives itself, and files that are not one of each
 * cell. */
static gm_status split(const gm_study *study, const char *field, const char *text, gm_words *words,
                       gm_error *err)
{
    static const char *const given[] = {"-o",       "--output", "--params", "--json", "--threads",
                                        "--memory", "--resume", "--watch",  NULL};
    static const char *const files[] = {"--export-vectors", "--export-diagonal", NULL};
    bool closed;
    gm_status status = gm_words_split(words, text, &closed, err);
    if (status != GM_OK) return status;
    if (!closed) return gm_study_refuse(study->path, field, err, "a quote is not closed");
    const char *option = find_option(words, given);
    if (option)
        return gm_study_refuse(study->path, field, err, "found %s, which the study itself gives",
                               option);
    option = find_option(words, files);
    if (option)
        return gm_study_refuse(study->path, field, err,
                               "found %s, a file that each cell would write over; their run files "
                               "have its numbers, for gradiometer export",
                               option);
    return GM_OK;
}

static gm_status check_at(const gm_study *study, unsigned index, const measure *m, gm_error *err)
{
    const gm_study_list *at = &study->file->measure[index].at;
    char field[64];
    for (unsigned i = 0; i < at->count; i++) {
        bool all = strcmp(at->item[i], "all") == 0;
        snprintf(field, sizeof field, "measure[%u].at[%u]", index, i);
        if (all && !measures[m->kind].series && !measures[m->kind].whole)
            return gm_study_refuse(study->path, field, err,
                                   "found all, but %s looks at one checkpoint: expected start, end "
                                   "or a step",
                                   m->words.word[0]);
        if (!all && measures[m->kind].whole)
            return gm_study_refuse(study->path, field, err,
                                   "found %s, but dynamics %s looks at all checkpoints; its --at "
                                   "chooses",
                                   at->item[i], measures[m->kind].subcommand);
    }
    return GM_OK;
}

static gm_status open_measure(const gm_study *study, unsigned index, measure *m, gm_error *err)
{
    const gm_study_measure *given = study->file->measure + index;
    char field[64], unnamed[64];
    snprintf(field, sizeof field, "measure[%u].run", index);
    gm_status status = split(study, field, given->run, &m->words, err);
    if (status != GM_OK) return status;
    m->kind = m->words.count ? find_kind(&m->words) : MEASURES;
    if (m->kind == MEASURES)
        return gm_study_refuse(study->path, field, err,
                               "found '%.80s', expected spectrum, decompose, dynamics (ensemble, "
                               "predict, martingale, phases, advise or stability), bound or "
                               "landscape, with options",
                               given->run);
    const char *sub = measures[m->kind].subcommand;
    snprintf(unnamed, sizeof unnamed, "%s", sub ? sub : measures[m->kind].command);
    gm_words_file_name(given->name ? given->name : unnamed, sizeof m->name, m->name);
    if (!*m->name) snprintf(m->name, sizeof m->name, "%u", index + 1);
    return check_at(study, index, m, err);
}

/* m[measures of the file]. */
static gm_status open_measures(const gm_study *study, measure *m, gm_error *err)
{
    gm_status status = GM_OK;
    for (unsigned i = 0; status == GM_OK && i < study->file->measure_count; i++) {
        status = open_measure(study, i, m + i, err);
        bool taken = status == GM_OK && strcmp(m[i].name, "train") == 0;
        for (unsigned j = 0; status == GM_OK && j < i; j++) {
            taken = taken || strcmp(m[i].name, m[j].name) == 0;
        }
        if (!taken) continue;
        char field[64];
        snprintf(field, sizeof field, "measure[%u]%s", i,
                 study->file->measure[i].name ? ".name" : "");
        status =
            gm_study_refuse(study->path, field, err,
                            "found the name '%s' twice, expected a name of its own", m[i].name);
    }
    return status;
}

/* ---- commands ---- */

static gm_status add_pair(gm_words *words, const char *option, const char *value, gm_error *err)
{
    if (!value) return GM_OK;
    gm_status status = gm_words_add(words, option, err);
    return status == GM_OK ? gm_words_add(words, value, err) : status;
}

/* A spec of data, $DATA replaced. */
static gm_status add_data(gm_words *words, const char *option, const char *spec,
                          const gm_study_place *place, gm_error *err)
{
    char *found = NULL;
    if (!spec) return GM_OK;
    gm_status status = gm_words_replace(spec, "$DATA", place->data_dir, &found, err);
    if (status == GM_OK) status = add_pair(words, option, found, err);
    gm_free(found);
    return status;
}

/* What ends every command. */
static gm_status add_place(gm_words *words, const gm_study_place *place, const gm_study_cell *cell,
                           gm_error *err)
{
    char *threads = gm_format(err, "%zu", place->threads);
    char *memory = gm_format(err, "%zu", place->memory);
    char *run = gm_format(err, "%s/%s", place->folder, cell->run);
    gm_status status = threads && memory && run ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = add_pair(words, "--threads", threads, err);
    if (status == GM_OK && place->memory) status = add_pair(words, "--memory", memory, err);
    if (status == GM_OK) status = add_pair(words, "-o", run, err);
    if (status == GM_OK) status = add_pair(words, "--json", "-q", err);
    gm_free(threads);
    gm_free(memory);
    gm_free(run);
    return status;
}

/* The words of one value of the axis step: the step size or policy, then more options. */
static gm_status add_step(const gm_study_plan *plan, const gm_study_cell *cell, gm_words *words,
                          gm_error *err)
{
    const char *text = cell->value[GM_STUDY_STEP];
    if (!text) return GM_OK;
    char *field = gm_study_field(plan, cell, GM_STUDY_STEP, err);
    if (!field) return GM_ERR_MEMORY;
    gm_status status = gm_words_add(words, "--step", err);
    if (status == GM_OK) status = split(plan->study, field, text, words, err);
    gm_free(field);
    return status;
}

static gm_status add_options(const gm_study *study, const char *field, const char *text,
                             gm_words *words, gm_error *err)
{
    return text ? split(study, field, text, words, err) : GM_OK;
}

/* The training, as it would be typed. */
static gm_status train_words(const gm_study_plan *plan, const gm_study_cell *cell,
                             const gm_study_place *place, gm_words *words, gm_error *err)
{
    static const char *const option[GM_STUDY_AXES] = {"--model",  "--batch", "--random-labels",
                                                      "--subset", "--seed",  NULL};
    const gm_study_file *file = plan->study->file;
    const gm_study_data *data = file->data + cell->data;
    const char *precision = data->own.precision ? data->own.precision : file->common.precision;
    const char *loss = data->own.loss ? data->own.loss : file->common.loss;
    char own[64];
    snprintf(own, sizeof own, "data[%zu].options", cell->data);
    gm_status status = gm_words_add(words, "train", err);
    if (status == GM_OK) status = add_pair(words, "--model", cell->value[GM_STUDY_MODEL], err);
    if (status == GM_OK) status = add_data(words, "--data", data->train, place, err);
    if (status == GM_OK) status = add_data(words, "--test-data", data->test, place, err);
    for (int a = GM_STUDY_BATCH; status == GM_OK && a < GM_STUDY_STEP; a++) {
        status = add_pair(words, option[a], cell->value[a], err);
    }
    if (status == GM_OK && data->standardize) status = gm_words_add(words, "--standardize", err);
    if (status == GM_OK) status = add_step(plan, cell, words, err);
    if (status == GM_OK)
        status = add_pair(words, "--steps", gm_study_steps(plan->study, cell->data), err);
    if (status == GM_OK) status = add_pair(words, "--precision", precision, err);
    if (status == GM_OK) status = add_pair(words, "--loss", loss, err);
    if (status == GM_OK)
        status = add_options(plan->study, "options", file->common.train, words, err);
    if (status == GM_OK) status = add_options(plan->study, own, data->own.train, words, err);
    return status == GM_OK ? add_place(words, place, cell, err) : status;
}

/* "RUN", "RUN@STEP" or "RUN@all". */
static gm_status add_point(const measure *m, const char *at, const gm_study_cell *cell,
                           const gm_study_place *place, gm_words *words, gm_error *err)
{
    bool start = strcmp(at, "start") == 0, last = strcmp(at, "end") == 0;
    bool bare = last || measures[m->kind].whole;
    char *point = gm_format(err, "%s/%s%s%s", place->folder, cell->run, bare ? "" : "@",
                            bare    ? ""
                            : start ? "0"
                                    : at);
    gm_status status = point ? add_pair(words, "--params", point, err) : GM_ERR_MEMORY;
    gm_free(point);
    return status;
}

static gm_status measure_words(const measure *m, const char *at, const gm_study_cell *cell,
                               const gm_study_place *place, gm_words *words, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t w = 0; status == GM_OK && w < m->words.count; w++) {
        status = gm_words_add(words, m->words.word[w], err);
    }
    if (status == GM_OK) status = add_point(m, at, cell, place, words, err);
    return status == GM_OK ? add_place(words, place, cell, err) : status;
}

/* ---- tasks ---- */

static gm_status name_task(const gm_study_plan *plan, const gm_study_cell *cell, const char *name,
                           const char *at, gm_study_task *task, gm_error *err)
{
    static const char folder[] = "cells/", partial[] = ".part"; /* while it is written */
    task->at = at;
    task->name = gm_format(err, "%s%s%s", name, *at ? "@" : "", at);
    if (!task->name) return GM_ERR_MEMORY;
    task->file = gm_format(err, "%s%s.%s.json", folder, cell->name, task->name);
    if (!task->file) return GM_ERR_MEMORY;
    size_t length = strlen(task->file) - strlen(folder) + strlen(partial);
    if (length <= NAME_MAX) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: the file %s%s would have a name of %zu bytes, expected at most %d: shorter "
                   "names of data sets, models or measurements",
                   plan->study->path, task->file, partial, length, NAME_MAX);
}

static bool measured(const gm_study_plan *plan, const gm_study_cell *cell, unsigned index)
{
    const gm_study_filter *only = plan->study->file->measure[index].only;
    return !only || gm_grid_matches(plan, cell, only);
}

/* Where a measurement without `at` is taken. */
static const char *default_at(const measure *m)
{
    return measures[m->kind].whole ? "all" : "end";
}

static gm_status add_measure(const gm_study_plan *plan, gm_study_cell *cell, const measure *m,
                             unsigned index, const gm_study_place *place, gm_error *err)
{
    const gm_study_list *at = &plan->study->file->measure[index].at;
    gm_status status = GM_OK;
    for (unsigned i = 0; status == GM_OK && i < (at->count ? at->count : 1); i++) {
        const char *where = at->count ? at->item[i] : default_at(m);
        gm_study_task *task = cell->task + cell->tasks++;
        task->measure = index;
        status = name_task(plan, cell, m->name, where, task, err);
        if (status == GM_OK) status = measure_words(m, where, cell, place, &task->words, err);
    }
    return status;
}

static gm_status add_tasks(gm_study_plan *plan, gm_study_cell *cell, const measure *m,
                           const gm_study_place *place, gm_error *err)
{
    const gm_study_file *file = plan->study->file;
    size_t most = 1;
    for (unsigned i = 0; i < file->measure_count; i++) {
        most += file->measure[i].at.count + 1;
    }
    cell->task = gm_alloc(most, sizeof *cell->task, "tasks", err);
    if (!cell->task) return GM_ERR_MEMORY;
    cell->tasks = 1;
    cell->task[0].measure = SIZE_MAX;
    gm_status status = name_task(plan, cell, "train", "", cell->task, err);
    if (status == GM_OK) status = train_words(plan, cell, place, &cell->task[0].words, err);
    for (unsigned i = 0; status == GM_OK && i < file->measure_count; i++) {
        if (measured(plan, cell, i)) status = add_measure(plan, cell, m + i, i, place, err);
    }
    plan->tasks += cell->tasks;
    return status;
}

gm_status gm_study_expand(const gm_study *study, const gm_study_place *place, gm_study_plan *plan,
                          gm_error *err)
{
    *plan = (gm_study_plan){.study = study};
    unsigned count = study->file->measure_count;
    measure *m = gm_alloc(count, sizeof *m, "measurements", err);
    gm_status status = m ? gm_grid_expand(plan, err) : GM_ERR_MEMORY;
    if (status == GM_OK) status = open_measures(study, m, err);
    for (size_t i = 0; status == GM_OK && i < plan->cells; i++) {
        status = add_tasks(plan, plan->cell + i, m, place, err);
    }
    for (unsigned i = 0; m && i < count; i++) {
        gm_words_free(&m[i].words);
    }
    gm_free(m);
    if (status != GM_OK) gm_study_plan_free(plan);
    return status;
}

/* ---- what became of them ---- */

bool gm_study_settled(const gm_study_task *task)
{
    return task->state == GM_STUDY_DONE || task->state == GM_STUDY_DIVERGED;
}

gm_study_state gm_study_cell_state(const gm_study_cell *cell)
{
    gm_study_state state = GM_STUDY_DONE;
    if (cell->task[0].state == GM_STUDY_DIVERGED) return GM_STUDY_DIVERGED;
    for (size_t t = 0; t < cell->tasks; t++) {
        if (cell->task[t].state == GM_STUDY_FAILED) return GM_STUDY_FAILED;
        if (cell->task[t].state == GM_STUDY_WAITING) state = GM_STUDY_WAITING;
    }
    return state;
}

gm_status gm_study_skip(gm_study_cell *cell, size_t *skipped, gm_error *err)
{
    gm_study_state state = cell->task[0].state;
    *skipped = 0;
    if (state != GM_STUDY_FAILED && state != GM_STUDY_DIVERGED) return GM_OK;
    for (size_t t = 1; t < cell->tasks; t++) {
        gm_study_task *task = cell->task + t;
        if (task->state != GM_STUDY_WAITING) continue;
        task->message = gm_format(err, "not run, the training %s",
                                  state == GM_STUDY_FAILED ? "failed" : "diverged");
        if (!task->message) return GM_ERR_MEMORY;
        task->state = state;
        ++*skipped;
    }
    return GM_OK;
}

void gm_study_plan_free(gm_study_plan *plan)
{
    for (size_t i = 0; i < plan->cells; i++) {
        gm_study_cell *cell = plan->cell + i;
        for (size_t t = 0; t < cell->tasks; t++) {
            gm_free(cell->task[t].name);
            gm_free(cell->task[t].file);
            gm_free(cell->task[t].message);
            gm_words_free(&cell->task[t].words);
        }
        gm_free(cell->task);
        gm_free(cell->name);
        gm_free(cell->run);
    }
    gm_free(plan->cell);
    *plan = (gm_study_plan){0};
}
