/* The file of a study: the schema that libcyaml reads it by, and what a schema cannot say. All
 * numbers are taken as texts: they become options of commands, and should stand there as they were
 * written. */
#include <cyaml/cyaml.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "study/yaml.h"

const char *const gm_study_axis_key[GM_STUDY_AXES] = {"model",  "batch", "random_labels",
                                                      "subset", "seed",  "step"};

/* ---- the schema ---- */

enum { NO_LIMIT = CYAML_UNLIMITED };

static const cyaml_schema_value_t text_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, NO_LIMIT)};

/* NOLINTBEGIN(bugprone-macro-parentheses): names of members and structures */
#define OPTIONAL_POINTER (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

#define TEXT(key, structure, member)                                                               \
    CYAML_FIELD_STRING_PTR(key, OPTIONAL_POINTER, structure, member, 1, NO_LIMIT)
#define LIST(key, structure, member)                                                               \
    CYAML_FIELD_SEQUENCE_COUNT(key, OPTIONAL_POINTER, structure, member.item, member.count,        \
                               &text_value, 1, NO_LIMIT)
#define AXES(structure, member)                                                                    \
    LIST("model", structure, member[GM_STUDY_MODEL]),                                              \
        LIST("batch", structure, member[GM_STUDY_BATCH]),                                          \
        LIST("random_labels", structure, member[GM_STUDY_LABELS]),                                 \
        LIST("subset", structure, member[GM_STUDY_SUBSET]),                                        \
        LIST("seed", structure, member[GM_STUDY_SEED]),                                            \
        LIST("step", structure, member[GM_STUDY_STEP])
#define SETTINGS(structure, member)                                                                \
    AXES(structure, member.axis), TEXT("steps", structure, member.steps),                          \
        TEXT("precision", structure, member.precision), TEXT("loss", structure, member.loss)
/* NOLINTEND(bugprone-macro-parentheses) */

static const cyaml_schema_field_t filter_fields[] = {LIST("data", gm_study_filter, data),
                                                     AXES(gm_study_filter, axis), CYAML_FIELD_END};
static const cyaml_schema_value_t filter_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, gm_study_filter, filter_fields)};

static const cyaml_schema_field_t data_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, gm_study_data, name, 1, NO_LIMIT),
    CYAML_FIELD_STRING_PTR("train", CYAML_FLAG_POINTER, gm_study_data, train, 1, NO_LIMIT),
    TEXT("test", gm_study_data, test),
    TEXT("get", gm_study_data, get),
    CYAML_FIELD_BOOL("standardize", CYAML_FLAG_OPTIONAL, gm_study_data, standardize),
    SETTINGS(gm_study_data, own),
    TEXT("options", gm_study_data, own.train),
    CYAML_FIELD_END};
static const cyaml_schema_value_t data_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, gm_study_data, data_fields)};

static const cyaml_schema_field_t measure_fields[] = {
    TEXT("name", gm_study_measure, name),
    CYAML_FIELD_STRING_PTR("run", CYAML_FLAG_POINTER, gm_study_measure, run, 1, NO_LIMIT),
    LIST("at", gm_study_measure, at),
    CYAML_FIELD_MAPPING_PTR("only", OPTIONAL_POINTER, gm_study_measure, only, filter_fields),
    CYAML_FIELD_END};
static const cyaml_schema_value_t measure_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, gm_study_measure, measure_fields)};

static const cyaml_schema_field_t budget_fields[] = {
    TEXT("time", gm_study_budget, time), TEXT("memory", gm_study_budget, memory),
    TEXT("processes", gm_study_budget, processes), CYAML_FIELD_END};

static const cyaml_schema_field_t file_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, gm_study_file, name, 1, NO_LIMIT),
    TEXT("title", gm_study_file, title),
    TEXT("question", gm_study_file, question),
    CYAML_FIELD_SEQUENCE("data", CYAML_FLAG_POINTER, gm_study_file, data, &data_value, 1, 1000),
    SETTINGS(gm_study_file, common),
    TEXT("options", gm_study_file, common.train),
    CYAML_FIELD_SEQUENCE("measure", OPTIONAL_POINTER, gm_study_file, measure, &measure_value, 0,
                         1000),
    CYAML_FIELD_SEQUENCE("exclude", OPTIONAL_POINTER, gm_study_file, exclude, &filter_value, 0,
                         1000),
    CYAML_FIELD_MAPPING_PTR("budget", OPTIONAL_POINTER, gm_study_file, budget, budget_fields),
    CYAML_FIELD_END};
static const cyaml_schema_value_t file_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, gm_study_file, file_fields)};

/* ---- what libcyaml says, as one line of ours ---- */

/* Its log of one failure: the cause, then the place from the inside out. */
typedef struct complaint {
    char cause[256];
    char field[256];
} complaint;

static void prepend(complaint *c, const char *part)
{
    size_t before = strlen(c->field), added = strlen(part);
    bool dot = before && *c->field != '[';
    if (before + added + dot >= sizeof c->field) return;
    memmove(c->field + added + dot, c->field, before + 1);
    memcpy(c->field, part, added);
    if (dot) c->field[added] = '.';
}

/* The log callback: lines "Load: CAUSE" and "  in mapping field 'KEY' (line: ...)". */
static void listen(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    complaint *c = context;
    char line[256], part[128];
    (void)level;
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = 0;
    unsigned entry;
    if (strncmp(line, "Load: ", 6) == 0 && !*c->cause) {
        snprintf(c->cause, sizeof c->cause, "%s", line + 6);
    } else if (sscanf(line, " in mapping field '%100[^']'", part) == 1) {
        prepend(c, part);
    } else if (sscanf(line, " in sequence entry '%u'", &entry) == 1 && entry > 0) {
        snprintf(part, sizeof part, "[%u]", entry - 1);
        prepend(c, part);
    }
}

/* Drops the last ".key": libcyaml names the field that it read before it found one missing. */
static void drop_last(char *field)
{
    char *dot = strrchr(field, '.'), *bracket = strrchr(field, ']');
    if (dot && (!bracket || dot > bracket)) {
        *dot = 0;
    } else if (!bracket || bracket[1]) {
        *field = 0;
    }
}

static gm_status explain(const char *path, cyaml_err_t code, complaint *c, gm_error *err)
{
    const char *colon = strrchr(c->cause, ':'), *named = colon ? colon + 2 : "";
    char field[sizeof c->field + sizeof c->cause];
    if (code == CYAML_ERR_INVALID_KEY || code == CYAML_ERR_MAPPING_FIELD_MISSING) {
        if (code == CYAML_ERR_MAPPING_FIELD_MISSING) drop_last(c->field);
        snprintf(field, sizeof field, "%s%s%s", c->field, *c->field ? "." : "", named);
        return code == CYAML_ERR_INVALID_KEY
                   ? gm_study_refuse(path, field, err, "no such key; docs/study.md lists them")
                   : gm_study_refuse(path, field, err, "missing, expected a value");
    }
    if (code == CYAML_ERR_STRING_LENGTH_MIN)
        return gm_study_refuse(path, c->field, err, "found nothing, expected a value");
    if (code == CYAML_ERR_SEQUENCE_ENTRIES_MIN)
        return gm_study_refuse(path, c->field, err, "found an empty list, expected a value in it");
    if (strstr(c->cause, "Expecting SEQUENCE"))
        return gm_study_refuse(path, c->field, err, "found one value, expected a list, as [5]");
    if (strstr(c->cause, "Expecting STRING"))
        return gm_study_refuse(path, c->field, err, "found a list or keys, expected one value");
    if (strstr(c->cause, "Expecting MAPPING"))
        return gm_study_refuse(path, c->field, err, "found no keys, expected keys with values");
    if (strstr(c->cause, "already seen"))
        return gm_study_refuse(path, c->field, err, "found twice, expected it once");
    if (code == CYAML_ERR_OOM) return gm_fail(err, GM_ERR_MEMORY, "%s: no memory to read it", path);
    return gm_study_refuse(path, c->field, err, "%s", *c->cause ? c->cause : cyaml_strerror(code));
}

static cyaml_config_t configuration(complaint *c)
{
    return (cyaml_config_t){.log_fn = listen,
                            .log_ctx = c,
                            .mem_fn = cyaml_mem,
                            .log_level = CYAML_LOG_WARNING,
                            .flags = CYAML_CFG_DEFAULT};
}

void gm_study_free(gm_study *study)
{
    if (!study) return;
    complaint unread = {0};
    cyaml_config_t config = configuration(&unread);
    cyaml_free(&config, &file_value, study->file, 0);
    gm_free(study->path);
    gm_free(study);
}

/* ---- what the schema cannot say ---- */

static bool is_whole(const char *text, unsigned long long least)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && errno == 0 && value >= least &&
           value <= INT64_MAX;
}

static bool is_share(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    return ((*text >= '0' && *text <= '9') || *text == '.') && !*end && value >= 0.0 &&
           value <= 1.0;
}

bool gm_study_seconds(const char *text, double *seconds)
{
    char *end;
    double value = strtod(text, &end);
    double unit = strcmp(end, "h") == 0 ? 3600.0 : strcmp(end, "m") == 0 ? 60.0 : 1.0;
    bool known = !*end || strcmp(end, "s") == 0 || unit > 1.0;
    *seconds = value * unit;
    return *text >= '0' && *text <= '9' && known && isfinite(*seconds) && *seconds > 0.0;
}

/* What is expected of a value on that axis; NULL where it is met. */
static const char *missed(gm_study_axis axis, const char *text)
{
    switch (axis) {
    case GM_STUDY_BATCH:
    case GM_STUDY_SUBSET:
        return is_whole(text, 1) ? NULL : "an integer of at least 1";
    case GM_STUDY_SEED:
        return is_whole(text, 0) ? NULL : "an integer of at least 0";
    case GM_STUDY_LABELS:
        return is_share(text) ? NULL : "a share from 0 to 1";
    default:
        return NULL;
    }
}

/* Whether the first `count` of a list have the text. */
static bool is_among(const gm_study_list *list, unsigned count, const char *text)
{
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(list->item[i], text) == 0) return true;
    }
    return false;
}

static gm_status check_axes(const gm_study *study, const char *prefix, const gm_study_list *axis,
                            gm_error *err)
{
    char field[128];
    for (int a = 0; a < GM_STUDY_AXES; a++) {
        for (unsigned i = 0; i < axis[a].count; i++) {
            const char *text = axis[a].item[i], *expected = missed((gm_study_axis)a, text);
            snprintf(field, sizeof field, "%s%s[%u]", prefix, gm_study_axis_key[a], i);
            if (expected)
                return gm_study_refuse(study->path, field, err, "found %.80s, expected %s", text,
                                       expected);
            if (is_among(&axis[a], i, text))
                return gm_study_refuse(study->path, field, err, "found %.80s twice", text);
        }
    }
    return GM_OK;
}

static gm_status check_settings(const gm_study *study, const char *prefix,
                                const gm_study_settings *set, gm_error *err)
{
    char field[128];
    gm_status status = check_axes(study, prefix, set->axis, err);
    if (status != GM_OK || !set->steps || is_whole(set->steps, 1)) return status;
    snprintf(field, sizeof field, "%ssteps", prefix);
    return gm_study_refuse(study->path, field, err,
                           "found %.80s, expected an integer of at least 1", set->steps);
}

static gm_status check_filter(const gm_study *study, const char *field,
                              const gm_study_filter *filter, gm_error *err)
{
    unsigned named = filter->data.count;
    for (int a = 0; a < GM_STUDY_AXES; a++) {
        named += filter->axis[a].count;
    }
    if (!named) return gm_study_refuse(study->path, field, err, "found nothing, expected lists");
    char prefix[128];
    snprintf(prefix, sizeof prefix, "%s.", field);
    return check_axes(study, prefix, filter->axis, err);
}

static gm_status check_budget(const gm_study *study, const gm_study_budget *budget, gm_error *err)
{
    double seconds;
    if (budget->time && !gm_study_seconds(budget->time, &seconds))
        return gm_study_refuse(study->path, "budget.time", err,
                               "found %.80s, expected a time: 90s, 5m, 1.5h", budget->time);
    if (budget->processes && !is_whole(budget->processes, 1))
        return gm_study_refuse(study->path, "budget.processes", err,
                               "found %.80s, expected an integer of at least 1", budget->processes);
    return GM_OK;
}

/* Where the checkpoints of a measurement are: start, end, all, or steps. */
static gm_status check_measure(const gm_study *study, unsigned index, gm_error *err)
{
    const gm_study_measure *m = study->file->measure + index;
    char field[64];
    for (unsigned i = 0; i < m->at.count; i++) {
        const char *at = m->at.item[i];
        bool known = strcmp(at, "start") == 0 || strcmp(at, "end") == 0 || strcmp(at, "all") == 0;
        snprintf(field, sizeof field, "measure[%u].at[%u]", index, i);
        if (!known && !is_whole(at, 0))
            return gm_study_refuse(study->path, field, err,
                                   "found %.80s, expected start, end, all or a step", at);
        if (is_among(&m->at, i, at))
            return gm_study_refuse(study->path, field, err, "found %.80s twice", at);
    }
    snprintf(field, sizeof field, "measure[%u].only", index);
    return m->only ? check_filter(study, field, m->only, err) : GM_OK;
}

static gm_status check(const gm_study *study, gm_error *err)
{
    const gm_study_file *file = study->file;
    char prefix[64];
    gm_status status = check_settings(study, "", &file->common, err);
    for (unsigned i = 0; status == GM_OK && i < file->data_count; i++) {
        snprintf(prefix, sizeof prefix, "data[%u].", i);
        status = check_settings(study, prefix, &file->data[i].own, err);
    }
    for (unsigned i = 0; status == GM_OK && i < file->measure_count; i++) {
        status = check_measure(study, i, err);
    }
    for (unsigned i = 0; status == GM_OK && i < file->exclude_count; i++) {
        snprintf(prefix, sizeof prefix, "exclude[%u]", i);
        status = check_filter(study, prefix, &file->exclude[i], err);
    }
    if (status == GM_OK && file->budget) status = check_budget(study, file->budget, err);
    return status;
}

gm_status gm_study_load(const char *path, gm_study **study, gm_error *err)
{
    *study = NULL;
    gm_status status = gm_yaml_check(path, err);
    if (status != GM_OK) return status;
    gm_study *fresh = gm_alloc(1, sizeof *fresh, "study", err);
    if (!fresh) return GM_ERR_MEMORY;
    fresh->path = gm_strdup(path, err);
    complaint said = {0};
    cyaml_config_t config = configuration(&said);
    if (!fresh->path) status = GM_ERR_MEMORY;
    if (status == GM_OK) {
        cyaml_err_t code =
            cyaml_load_file(path, &config, &file_value, (cyaml_data_t **)&fresh->file, NULL);
        if (code != CYAML_OK) status = explain(path, code, &said, err);
    }
    if (status == GM_OK && !fresh->file)
        status =
            gm_fail(err, GM_ERR_INPUT,
                    "%s: empty when read again, as a pipe is: expected a file that stays", path);
    if (status == GM_OK) status = check(fresh, err);
    if (status != GM_OK) {
        gm_study_free(fresh);
        return status;
    }
    *study = fresh;
    return GM_OK;
}
