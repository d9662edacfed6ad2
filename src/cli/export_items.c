/* The items of a run file: their names, which are chosen, and what is in them. */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/document.h"
#include "cli/export.h"

/* ---- reading the lists ---- */

static gm_status read_lists(gm_export *e, gm_error *err)
{
    gm_status status = gm_run_settings(e->run, &e->setting, &e->settings, err);
    if (status == GM_OK) status = gm_run_load_state(e->run, &e->state, err);
    if (status == GM_OK) status = gm_run_metric_names(e->run, &e->metric, &e->metrics, err);
    if (status == GM_OK) status = gm_run_checkpoints(e->run, &e->step, &e->steps, err);
    if (status == GM_OK) status = gm_run_results(e->run, NULL, &e->result, &e->results, err);
    if (status != GM_OK) return status;
    e->arrays = gm_alloc(e->results, sizeof *e->arrays, "results", err);
    if (!e->arrays) return GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < e->results; i++) {
        status =
            gm_run_arrays(e->run, e->result[i].id, &e->arrays[i].array, &e->arrays[i].count, err);
    }
    return status;
}

/* The next item; its name, printf-style, says whether there is memory. */
__attribute__((format(printf, 5, 6))) static gm_status append(gm_export *e, gm_export_kind kind,
                                                              size_t index, gm_error *err,
                                                              const char *format, ...)
{
    char name[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    gm_export_item *item = &e->item[e->items];
    *item = (gm_export_item){.kind = kind, .index = index, .name = gm_strdup(name, err)};
    if (!item->name) return GM_ERR_MEMORY;
    e->items++;
    return GM_OK;
}

static gm_status append_result(gm_export *e, size_t i, gm_error *err)
{
    const gm_run_result *r = &e->result[i];
    char step[32] = "", name[1024];
    if (r->step >= 0) snprintf(step, sizeof step, "@%" PRId64, r->step);
    snprintf(name, sizeof name, "results/%s%s%s%s", r->command, step, *r->key ? "/" : "", r->key);
    gm_status status = append(e, GM_EXPORT_DOCUMENT, i, err, "%s", name);
    for (size_t j = 0; status == GM_OK && j < e->arrays[i].count; j++) {
        status = append(e, GM_EXPORT_ARRAY, i, err, "%s:%s", name, e->arrays[i].array[j].name);
        if (status == GM_OK) e->item[e->items - 1].array = &e->arrays[i].array[j];
    }
    return status;
}

static gm_status append_all(gm_export *e, gm_error *err)
{
    size_t room = 4 + e->metrics + e->steps + e->results;
    for (size_t i = 0; i < e->results; i++) {
        room += e->arrays[i].count;
    }
    e->item = gm_alloc(room, sizeof *e->item, "items of a run file", err);
    if (!e->item) return GM_ERR_MEMORY;
    gm_status status = append(e, GM_EXPORT_SETTINGS, 0, err, "settings");
    if (status == GM_OK && e->state) {
        status = append(e, GM_EXPORT_STATE, 0, err, "state");
        if (status == GM_OK) status = append(e, GM_EXPORT_VECTORS, 0, err, "state:theta");
        if (status == GM_OK && e->state->slots)
            status = append(e, GM_EXPORT_VECTORS, 1, err, "state:optimizer");
    }
    for (size_t i = 0; status == GM_OK && i < e->metrics; i++) {
        status = append(e, GM_EXPORT_SERIES, i, err, "metrics/%s", e->metric[i]);
    }
    for (size_t i = 0; status == GM_OK && i < e->steps; i++) {
        status = append(e, GM_EXPORT_CHECKPOINT, i, err, "checkpoints/%" PRId64, e->step[i]);
    }
    for (size_t i = 0; status == GM_OK && i < e->results; i++) {
        status = append_result(e, i, err);
    }
    return status;
}

gm_status gm_export_open(gm_run *run, gm_export *e, gm_error *err)
{
    *e = (gm_export){.run = run};
    gm_status status = read_lists(e, err);
    return status == GM_OK ? append_all(e, err) : status;
}

void gm_export_close(gm_export *e)
{
    for (size_t i = 0; i < e->items; i++) {
        gm_free(e->item[i].name);
    }
    gm_free(e->item);
    for (size_t i = 0; e->arrays && i < e->results; i++) {
        gm_run_free(e->arrays[i].array);
    }
    gm_free(e->arrays);
    gm_run_free(e->result);
    gm_run_free(e->step);
    gm_run_free(e->metric);
    gm_run_free(e->state);
    gm_run_free(e->setting);
    *e = (gm_export){0};
}

/* ---- choosing ---- */

typedef enum match { NAMED, MATCHED, BELOW, WAYS } match;

static bool matches(match how, const char *word, const char *name)
{
    size_t length = strlen(word);
    switch (how) {
    case NAMED:
        return strcmp(word, name) == 0;
    case MATCHED:
        return fnmatch(word, name, 0) == 0;
    default:
        return strncmp(word, name, length) == 0 && name[length] && strchr("/@:", name[length]);
    }
}

/* Names for a message: those that share the folder of the word, else everything's folders. */
static void name_known(const gm_export *e, const char *word, char *text, size_t room)
{
    const char *slash = strchr(word, '/');
    size_t folder = slash ? (size_t)(slash - word) + 1 : 0, used = 0, named = 0, left = 0;
    for (size_t i = 0; folder && i < e->items; i++) {
        left += strncmp(e->item[i].name, word, folder) == 0;
    }
    if (!left) {
        snprintf(text, room, "settings%s%s%s%s", e->state ? ", state, state:theta" : "",
                 e->metrics ? ", metrics/..." : "", e->steps ? ", checkpoints/..." : "",
                 e->results ? ", results/..." : "");
        return;
    }
    for (size_t i = 0; i < e->items; i++) {
        const char *name = e->item[i].name;
        if (strncmp(name, word, folder) != 0) continue;
        if (used + strlen(name) + 32 >= room) break;
        used += (size_t)snprintf(text + used, room - used, "%s%s", named ? ", " : "", name);
        named++;
    }
    if (named < left) snprintf(text + used, room - used, " and %zu more", left - named);
}

static gm_status choose(gm_export *e, const char *word, gm_error *err)
{
    char known[320];
    for (match how = NAMED; how < WAYS; how++) {
        bool any = false;
        for (size_t i = 0; i < e->items; i++) {
            if (!matches(how, word, e->item[i].name)) continue;
            e->item[i].chosen = any = true;
        }
        if (any) return GM_OK;
    }
    name_known(e, word, known, sizeof known);
    return gm_fail(err, GM_ERR_USAGE, "%s: found no item '%s', expected some of %s (see --list)",
                   gm_run_path(e->run), word, known);
}

gm_status gm_export_choose(gm_export *e, size_t words, char *const *word, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t i = 0; i < e->items && !words; i++) {
        e->item[i].chosen = true;
    }
    for (size_t i = 0; status == GM_OK && i < words; i++) {
        status = choose(e, word[i], err);
    }
    return status;
}

/* ---- contents ---- */

bool gm_export_is_numbers(gm_export_kind kind)
{
    return kind == GM_EXPORT_VECTORS || kind == GM_EXPORT_CHECKPOINT || kind == GM_EXPORT_ARRAY;
}

/* The vectors of the state, which are in memory in its own precision. */
static gm_status load_vectors(const gm_run_state *s, bool optimizer, gm_export_numbers *n,
                              gm_error *err)
{
    size_t count = s->parameters * (optimizer ? s->slots : 1);
    const void *stored = optimizer ? s->optimizer : s->theta;
    double *value = gm_alloc(count, sizeof *value, "state", err);
    if (!value) return GM_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        value[i] =
            s->dtype == GM_F32 ? (double)((const float *)stored)[i] : ((const double *)stored)[i];
    }
    *n = (gm_export_numbers){.dtype = s->dtype, .data = value, .memory = value};
    n->rank = optimizer ? 2 : 1;
    n->dim[0] = optimizer ? s->slots : s->parameters;
    n->dim[1] = optimizer ? s->parameters : 0;
    return GM_OK;
}

gm_status gm_export_load(const gm_export *e, const gm_export_item *item, gm_export_numbers *n,
                         gm_error *err)
{
    *n = (gm_export_numbers){0};
    if (item->kind == GM_EXPORT_VECTORS) return load_vectors(e->state, item->index == 1, n, err);
    if (item->kind == GM_EXPORT_CHECKPOINT) {
        double *theta = NULL;
        gm_status status =
            gm_run_parameters(e->run, e->step[item->index], &theta, &n->dim[0], NULL, err);
        n->dtype = GM_F64;
        n->rank = 1;
        n->data = n->memory = theta;
        return status;
    }
    gm_run_array *array = NULL;
    gm_status status =
        gm_run_load_array(e->run, e->result[item->index].id, item->array->name, &array, err);
    if (status != GM_OK) return status;
    n->dtype = array->dtype;
    n->rank = array->rank;
    memcpy(n->dim, array->dim, sizeof n->dim);
    n->data = array->data;
    n->memory = array;
    return GM_OK;
}

void gm_export_unload(gm_export_numbers *n)
{
    gm_run_free(n->memory);
    *n = (gm_export_numbers){0};
}

gm_status gm_export_load_series(const gm_export *e, const gm_export_item *item, gm_export_series *s,
                                gm_error *err)
{
    *s = (gm_export_series){0};
    return gm_run_metric(e->run, e->metric[item->index], &s->step, &s->value, &s->count, err);
}

void gm_export_unload_series(gm_export_series *s)
{
    gm_run_free(s->step);
    gm_run_free(s->value);
    *s = (gm_export_series){0};
}

static json_t *settings_object(const gm_export *e)
{
    json_t *object = json_object();
    for (size_t i = 0; i < e->settings; i++) {
        json_object_set_new(object, e->setting[i].key, gm_json_text(e->setting[i].value));
    }
    return object;
}

static json_t *state_object(const gm_run_state *s)
{
    char seed[32]; /* 64 bits without a sign: more than JSON's integers */
    snprintf(seed, sizeof seed, "%" PRIu64, s->stream_seed);
    return json_pack("{s:I, s:s, s:s, s:f, s:s, s:I, s:I, s:s, s:I, s:I, s:I}", "step",
                     (json_int_t)s->step, "status", s->status, "message", s->message, "seconds",
                     s->seconds, "precision", gm_dtype_name(s->dtype), "parameters",
                     (json_int_t)s->parameters, "slots", (json_int_t)s->slots, "stream_seed", seed,
                     "stream_purpose", (json_int_t)s->stream_purpose, "stream_run",
                     (json_int_t)s->stream_run, "stream_position", (json_int_t)s->stream_position);
}

json_t *gm_export_object(const gm_export *e, const gm_export_item *item, gm_error *err)
{
    json_t *object;
    if (item->kind == GM_EXPORT_DOCUMENT) {
        const gm_run_result *r = &e->result[item->index];
        object = json_loads(r->json, 0, NULL);
        if (!object)
            gm_fail(err, GM_ERR_INPUT, "%s: result %" PRId64 " holds no JSON document",
                    gm_run_path(e->run), r->id);
        return object;
    }
    object = item->kind == GM_EXPORT_SETTINGS ? settings_object(e) : state_object(e->state);
    if (!object) gm_fail(err, GM_ERR_MEMORY, "no memory for %s", item->name);
    return object;
}

/* ---- listing ---- */

static gm_status describe(const gm_export *e, const gm_export_item *item, char *text, size_t room,
                          gm_error *err)
{
    gm_export_series s;
    gm_export_numbers n;
    gm_status status = GM_OK;
    switch (item->kind) {
    case GM_EXPORT_SETTINGS:
        snprintf(text, room, "%zu keys", e->settings);
        break;
    case GM_EXPORT_STATE:
        snprintf(text, room, "step %" PRId64 ", %s", e->state->step, e->state->status);
        break;
    case GM_EXPORT_SERIES:
        status = gm_export_load_series(e, item, &s, err);
        if (status == GM_OK && s.count)
            snprintf(text, room, "%zu steps, %" PRId64 " ... %" PRId64, s.count, s.step[0],
                     s.step[s.count - 1]);
        gm_export_unload_series(&s);
        break;
    case GM_EXPORT_DOCUMENT:
        snprintf(text, room, "document of %s", e->result[item->index].created);
        break;
    default:
        if (item->kind == GM_EXPORT_ARRAY) {
            n = (gm_export_numbers){.dtype = item->array->dtype, .rank = item->array->rank};
            memcpy(n.dim, item->array->dim, sizeof n.dim);
        } else {
            status = gm_export_load(e, item, &n, err);
        }
        if (status != GM_OK) break;
        for (int i = 0, used = snprintf(text, room, "["); i <= n.rank; i++) {
            used += i < n.rank ? snprintf(text + used, room - (size_t)used, "%s%zu", i ? ", " : "",
                                          n.dim[i])
                               : snprintf(text + used, room - (size_t)used, "] %s",
                                          n.dtype == GM_F32 ? "f4" : "f8");
        }
        if (item->kind != GM_EXPORT_ARRAY) gm_export_unload(&n);
    }
    return status;
}

gm_status gm_export_list(const gm_export *e, gm_error *err)
{
    char text[128];
    size_t width = 0;
    gm_status status = GM_OK;
    for (size_t i = 0; i < e->items; i++) {
        size_t length = strlen(e->item[i].name);
        if (e->item[i].chosen && length > width) width = length;
    }
    for (size_t i = 0; status == GM_OK && i < e->items; i++) {
        if (!e->item[i].chosen) continue;
        *text = 0;
        status = describe(e, &e->item[i], text, sizeof text, err);
        if (status == GM_OK) printf("%-*s  %s\n", (int)width, e->item[i].name, text);
    }
    return status;
}
