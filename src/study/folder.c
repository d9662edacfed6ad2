#include "study/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

static char *below(const char *folder, const char *name, gm_error *err)
{
    return gm_format(err, "%s/%s", folder, name);
}

static bool exists(const char *folder, const char *name)
{
    char *path = below(folder, name, NULL);
    bool there = path && access(path, F_OK) == 0;
    gm_free(path);
    return there;
}

/* ---- what every command was given ---- */

gm_status gm_study_place_load(const char *folder, bool *found, gm_study_place *place,
                              char **data_dir, gm_error *err)
{
    enum { MOST_THREADS = 4096 };
    *found = false;
    *data_dir = NULL;
    if (!exists(folder, "study.yaml")) return GM_OK;
    char *path = below(folder, "place.json", err);
    if (!path) return GM_ERR_MEMORY;
    json_t *read = json_load_file(path, 0, NULL);
    json_int_t threads = json_integer_value(json_object_get(read, "threads"));
    json_int_t memory = json_integer_value(json_object_get(read, "memory"));
    const char *data = json_string_value(json_object_get(read, "data_dir"));
    gm_status status = GM_OK;
    if (threads < 1 || threads > MOST_THREADS || memory < 0 || !data)
        status =
            gm_fail(err, GM_ERR_INPUT, "%s: damaged, expected threads, memory and data_dir", path);
    if (status == GM_OK) {
        *found = true;
        place->threads = (size_t)threads;
        place->memory = (size_t)memory;
        *data_dir = gm_strdup(data, err);
        if (!*data_dir) status = GM_ERR_MEMORY;
    }
    json_decref(read);
    gm_free(path);
    return status;
}

static gm_status write_document(const char *folder, const char *name, const json_t *document,
                                gm_error *err)
{
    char *path = below(folder, name, err);
    if (!path) return GM_ERR_MEMORY;
    gm_file *file = NULL;
    gm_status status = gm_file_create(path, &file, err);
    if (status == GM_OK)
        status = gm_json_write(document, JSON_INDENT(1), gm_file_stream(file), err);
    if (status == GM_OK) {
        fputc('\n', gm_file_stream(file));
        status = gm_file_commit(&file, err);
    }
    gm_file_discard(&file);
    gm_free(path);
    return status;
}

static gm_status place_write(const char *folder, const gm_study_place *place, gm_error *err)
{
    json_t *data_dir = json_string(place->data_dir);
    if (!data_dir)
        return gm_fail(err, GM_ERR_USAGE, "--data-dir: found %s, expected a name in UTF-8",
                       place->data_dir);
    json_t *document = json_pack("{s:I, s:I, s:o}", "threads", (json_int_t)place->threads, "memory",
                                 (json_int_t)place->memory, "data_dir", data_dir);
    gm_status status = write_document(folder, "place.json", document, err);
    json_decref(document);
    return status;
}

static gm_status copy_file(const char *from, const char *to, gm_error *err)
{
    FILE *in = fopen(from, "rb");
    if (!in) return gm_fail(err, GM_ERR_IO, "%s: %s", from, strerror(errno));
    gm_file *file = NULL;
    gm_status status = gm_file_create(to, &file, err);
    char piece[4096];
    while (status == GM_OK) {
        size_t count = fread(piece, 1, sizeof piece, in);
        if (!count) break;
        fwrite(piece, 1, count, gm_file_stream(file));
    }
    if (status == GM_OK && ferror(in)) status = gm_fail(err, GM_ERR_IO, "%s: cannot be read", from);
    if (status == GM_OK) status = gm_file_commit(&file, err);
    gm_file_discard(&file);
    fclose(in);
    return status;
}

/* ---- beginning and going on ---- */

static bool is_empty(const char *folder)
{
    DIR *list = opendir(folder);
    bool empty = true;
    for (struct dirent *entry; list && empty && (entry = readdir(list));) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    if (list) closedir(list);
    return empty;
}

static gm_status make_folder(const char *path, gm_error *err)
{
    struct stat info;
    if (mkdir(path, 0777) == 0) return GM_OK;
    int failure = errno;
    if (failure == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return GM_OK;
    if (failure == EEXIST)
        return gm_fail(err, GM_ERR_USAGE, "--output: %s is a file, expected a folder", path);
    return gm_fail(err, GM_ERR_IO, "--output: %s cannot be made: %s", path, strerror(failure));
}

/* Processes of a study that was just killed may live for another moment. */
static gm_status take_lock(const char *folder, int *lock, gm_error *err)
{
    enum { TRIES = 20 };
    static const struct timespec pause = {.tv_nsec = 50000000};
    char *path = below(folder, "lock", err);
    if (!path) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    *lock = open(path, O_RDWR | O_CREAT, 0666);
    if (*lock < 0) {
        status = gm_fail(err, GM_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    }
    for (int i = 1; status == GM_OK && flock(*lock, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK) {
            status = gm_fail(err, GM_ERR_IO, "%s: cannot be locked: %s", path, strerror(errno));
        } else if (i == TRIES) {
            status = gm_fail(err, GM_ERR_USAGE,
                             "--output: another study is writing to %s; expected a folder of its "
                             "own",
                             folder);
        } else {
            nanosleep(&pause, NULL);
        }
    }
    gm_free(path);
    return status;
}

/* Refuses a file other than the one that the folder was begun with. */
static gm_status check_file(const char *folder, const gm_study *study, gm_error *err)
{
    char *copy = below(folder, "study.yaml", err), *field = NULL;
    size_t line;
    if (!copy) return GM_ERR_MEMORY;
    gm_status status = gm_study_difference(study->path, copy, &field, &line, err);
    if (status == GM_OK && field)
        status = gm_fail(err, GM_ERR_USAGE,
                         "%s:%zu: %s: is not as it was when %s was begun (see %s); expected the "
                         "same study, or another folder",
                         study->path, line, field, folder, copy);
    gm_free(field);
    gm_free(copy);
    return status;
}

/* study.yaml comes last: it says that all is there. */
static gm_status begin(const char *folder, const gm_study *study, const gm_study_place *place,
                       gm_error *err)
{
    char *cells = below(folder, "cells", err), *copy = below(folder, "study.yaml", err);
    gm_status status = cells && copy ? make_folder(cells, err) : GM_ERR_MEMORY;
    if (status == GM_OK) status = place_write(folder, place, err);
    if (status == GM_OK) status = copy_file(study->path, copy, err);
    gm_free(cells);
    gm_free(copy);
    return status;
}

gm_status gm_study_folder_open(const char *folder, bool resume, const gm_study *study,
                               const gm_study_place *place, int *lock, gm_error *err)
{
    *lock = -1;
    bool foreign = !is_empty(folder) && !exists(folder, "lock");
    if (foreign || (!resume && exists(folder, "study.yaml"))) {
        return gm_fail(err, GM_ERR_USAGE,
                       foreign ? "--output: %s is not empty and no study; expected an empty folder "
                                 "or a new one"
                               : "--output: %s holds a study; --resume goes on with it, another "
                                 "folder begins anew",
                       folder);
    }
    gm_status status = make_folder(folder, err);
    if (status == GM_OK) status = take_lock(folder, lock, err);
    if (status == GM_OK)
        status = exists(folder, "study.yaml") ? check_file(folder, study, err)
                                              : begin(folder, study, place, err);
    if (status != GM_OK && *lock >= 0) {
        close(*lock);
        *lock = -1;
    }
    return status;
}

gm_status gm_study_diverged(const char *path, char **message, gm_error *err)
{
    *message = NULL;
    json_t *document = json_load_file(path, 0, NULL);
    const char *outcome = json_string_value(json_object_get(document, "outcome"));
    const char *said = json_string_value(json_object_get(document, "message"));
    gm_status status = GM_OK;
    if (outcome && strcmp(outcome, "diverged") == 0) {
        *message = gm_strdup(said ? said : outcome, err);
        if (!*message) status = GM_ERR_MEMORY;
    }
    json_decref(document);
    return status;
}

static gm_status scan_task(const char *folder, gm_study_task *task, gm_error *err)
{
    char *path = below(folder, task->file, err);
    if (!path) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    task->state = access(path, F_OK) == 0 ? GM_STUDY_DONE : GM_STUDY_WAITING;
    if (task->state == GM_STUDY_DONE && task->measure == SIZE_MAX) {
        status = gm_study_diverged(path, &task->message, err);
        if (task->message) task->state = GM_STUDY_DIVERGED;
    }
    gm_free(path);
    return status;
}

gm_status gm_study_scan(const char *folder, gm_study_plan *plan, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < plan->cells; i++) {
        gm_study_cell *cell = plan->cell + i;
        size_t skipped;
        for (size_t t = 0; status == GM_OK && t < cell->tasks; t++) {
            status = scan_task(folder, cell->task + t, err);
        }
        if (status == GM_OK && cell->task[0].state == GM_STUDY_DIVERGED)
            status = gm_study_skip(cell, &skipped, err);
    }
    return status;
}

/* ---- times ---- */

void gm_study_time_add(const char *folder, const char *cell, const char *task, double seconds)
{
    char *path = below(folder, "times.csv", NULL);
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s,%s,%.3f\n", cell, task, seconds);
        fclose(file);
    }
    gm_free(path);
}

/* Number of the task among those of all cells; SIZE_MAX where there is none. */
static size_t find_task(const gm_study_plan *plan, const char *cell, const char *task)
{
    size_t number = 0;
    for (size_t i = 0; i < plan->cells; i++) {
        const gm_study_cell *c = plan->cell + i;
        for (size_t t = 0; strcmp(c->name, cell) == 0 && t < c->tasks; t++) {
            if (strcmp(c->task[t].name, task) == 0) return number + t;
        }
        number += c->tasks;
    }
    return SIZE_MAX;
}

gm_status gm_study_times(const char *folder, const gm_study_plan *plan, double **seconds,
                         gm_error *err)
{
    *seconds = gm_alloc(plan->tasks, sizeof **seconds, "times", err);
    char *path = below(folder, "times.csv", err);
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[1024], cell[512], task[256];
    while (*seconds && file && fgets(line, sizeof line, file)) {
        double value;
        if (sscanf(line, "%511[^,],%255[^,],%lf", cell, task, &value) != 3) continue;
        size_t number = find_task(plan, cell, task);
        if (number != SIZE_MAX && value >= 0.0) (*seconds)[number] = value;
    }
    if (file) fclose(file);
    gm_free(path);
    return *seconds && path ? GM_OK : GM_ERR_MEMORY;
}

/* ---- the index ---- */

bool gm_study_is_folder(const char *path)
{
    return exists(path, "index.json");
}

static const char *const state_word[] = {"unfinished", "finished", "failed", "diverged"};

/* A number where the text is one, so that readers need not parse. */
static json_t *value_of(const char *text)
{
    char *end;
    if (!text) return json_null();
    long long whole = strtoll(text, &end, 10);
    if (*text && !*end) return json_integer(whole);
    double real = strtod(text, &end);
    return *text && !*end ? json_real(real) : json_string(text);
}

static json_t *task_value(const gm_study_task *task)
{
    json_t *value = json_object(), *command = json_array();
    for (size_t w = 0; w < task->words.count; w++) {
        json_array_append_new(command, gm_json_text(task->words.word[w]));
    }
    json_object_set_new(value, "name", json_string(task->name));
    json_object_set_new(value, "command", command);
    json_object_set_new(value, "at", *task->at ? json_string(task->at) : json_null());
    json_object_set_new(value, "file", json_string(task->file));
    json_object_set_new(value, "status", json_string(state_word[task->state]));
    json_object_set_new(value, "message", gm_json_text_or_null(task->message));
    return value;
}

/* What the training came to, of its document: nothing that depends on the time or the machine. */
static gm_status results_of(const char *folder, const gm_study_task *training, json_t **results,
                            gm_error *err)
{
    static const char *const kept[] = {
        "loss", "error_rate", "test_loss", "test_error_rate", "gradient_norm", "distance"};
    *results = json_null();
    if (!gm_study_settled(training)) return GM_OK;
    char *path = below(folder, training->file, err);
    if (!path) return GM_ERR_MEMORY;
    json_t *document = json_load_file(path, 0, NULL);
    gm_status status =
        document ? GM_OK : gm_fail(err, GM_ERR_INPUT, "%s: no JSON; remove it", path);
    if (document) *results = json_object();
    for (size_t i = 0; document && i < sizeof kept / sizeof *kept; i++) {
        json_t *value = json_object_get(document, kept[i]);
        json_object_set(*results, kept[i], value ? value : json_null());
    }
    json_decref(document);
    gm_free(path);
    return status;
}

static gm_status cell_value(const char *folder, const gm_study_plan *plan,
                            const gm_study_cell *cell, json_t **value, gm_error *err)
{
    json_t *results, *tasks = json_array();
    gm_status status = results_of(folder, cell->task, &results, err);
    *value = json_object();
    json_object_set_new(*value, "name", json_string(cell->name));
    json_object_set_new(*value, "data", json_string(plan->study->file->data[cell->data].name));
    for (int a = 0; a < GM_STUDY_AXES; a++) {
        bool text = a == GM_STUDY_MODEL || a == GM_STUDY_STEP;
        json_t *found =
            text && cell->value[a] ? json_string(cell->value[a]) : value_of(cell->value[a]);
        json_object_set_new(*value, gm_study_axis_key[a], found);
    }
    json_object_set_new(*value, "steps", value_of(gm_study_steps(plan->study, cell->data)));
    json_object_set_new(*value, "run", json_string(cell->run));
    json_object_set_new(*value, "status", json_string(state_word[gm_study_cell_state(cell)]));
    json_object_set_new(*value, "results", results);
    for (size_t t = 0; t < cell->tasks; t++) {
        json_array_append_new(tasks, task_value(cell->task + t));
    }
    json_object_set_new(*value, "tasks", tasks);
    return status;
}

gm_status gm_study_index_write(const char *folder, const gm_study_plan *plan,
                               const gm_study_place *place, gm_error *err)
{
    const gm_study_file *file = plan->study->file;
    json_t *document = json_object(), *cells = json_array();
    json_object_set_new(document, "study", json_integer(1));
    json_object_set_new(document, "name", json_string(file->name));
    json_object_set_new(document, "title", gm_json_text_or_null(file->title));
    json_object_set_new(document, "question", gm_json_text_or_null(file->question));
    json_object_set_new(document, "threads", json_integer((json_int_t)place->threads));
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < plan->cells; i++) {
        json_t *value;
        status = cell_value(folder, plan, plan->cell + i, &value, err);
        json_array_append_new(cells, value);
    }
    json_object_set_new(document, "cells", cells);
    if (status == GM_OK) status = write_document(folder, "index.json", document, err);
    json_decref(document);
    return status;
}

gm_status gm_study_index_load(const char *folder, json_t **index, gm_error *err)
{
    char *path = below(folder, "index.json", err);
    if (!path) return GM_ERR_MEMORY;
    json_error_t problem;
    gm_status status = GM_OK;
    *index = json_load_file(path, 0, &problem);
    if (!*index && access(path, R_OK) != 0) {
        status = gm_fail(err, GM_ERR_IO, "%s: %s", path, strerror(errno));
    } else if (!*index) {
        status = gm_fail(err, GM_ERR_INPUT, "%s:%d: no JSON: %s", path, problem.line, problem.text);
    } else if (json_integer_value(json_object_get(*index, "study")) != 1 ||
               !json_is_array(json_object_get(*index, "cells"))) {
        status =
            gm_fail(err, GM_ERR_INPUT, "%s: no index of a study that this version reads", path);
        json_decref(*index);
        *index = NULL;
    }
    gm_free(path);
    return status;
}

gm_status gm_study_runs(const char *folder, char ***run, size_t *count, gm_error *err)
{
    json_t *index = NULL, *cell;
    size_t i;
    *run = NULL;
    *count = 0;
    gm_status status = gm_study_index_load(folder, &index, err);
    const json_t *cells = json_object_get(index, "cells");
    if (status == GM_OK) {
        *run = gm_alloc(json_array_size(cells), sizeof **run, "runs", err);
        if (!*run) status = GM_ERR_MEMORY;
    }
    json_array_foreach(cells, i, cell)
    {
        const char *state = json_string_value(json_object_get(cell, "status"));
        const char *path = json_string_value(json_object_get(cell, "run"));
        if (status != GM_OK || !state || !path || strcmp(state, "finished") != 0) continue;
        (*run)[*count] = below(folder, path, err);
        if (!(*run)[(*count)++]) status = GM_ERR_MEMORY;
    }
    json_decref(index);
    if (status == GM_OK && !*count)
        status = gm_fail(err, GM_ERR_INPUT, "%s: a study without a finished cell", folder);
    if (status != GM_OK) {
        gm_study_runs_free(*run, *count);
        *run = NULL;
        *count = 0;
    }
    return status;
}

void gm_study_runs_free(char **run, size_t count)
{
    for (size_t i = 0; run && i < count; i++) {
        gm_free(run[i]);
    }
    gm_free(run);
}
