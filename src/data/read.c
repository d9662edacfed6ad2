#include "data/read.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "data/dataset.h"

gm_status gm_source_allocate(const gm_source *source, size_t n, gm_dataset *data, gm_error *err)
{
    size_t count, targets, labels;
    if (!gm_mul_size(n, source->features, &count) || !gm_mul_size(n, source->outputs, &targets) ||
        !gm_mul_size(n, gm_source_positions(source), &labels))
        return gm_fail(err, GM_ERR_MEMORY, "%s: %zu samples of %zu numbers overflow",
                       source->x_file, n, source->features);
    data->n = n;
    data->shape = source->shape;
    data->features = source->features;
    data->outputs = source->outputs;
    data->positions = gm_source_positions(source);
    data->weight = 1.0;
    data->x = gm_alloc(count, gm_dtype_size(data->dtype), source->x_file, err);
    if (!data->x) return GM_ERR_MEMORY;
    if (source->outputs)
        data->target = gm_alloc(targets, sizeof *data->target, source->y_file, err);
    else
        data->label = gm_alloc(labels, sizeof *data->label, source->y_file, err);
    return data->target || data->label ? GM_OK : GM_ERR_MEMORY;
}

/* ---- one sample ---- */

static gm_status fail_number(const gm_source *source, const char *file, size_t column, double value,
                             gm_error *err)
{
    const char *found = isnan(value) ? "NaN" : isinf(value) ? "infinity" : "a number beyond f32";
    return gm_fail(err, GM_ERR_INPUT, "%s: %s %zu, column %zu%s: %s, expected a finite number",
                   file, source->unit, source->position, column + (size_t)source->base,
                   source->base ? "" : " (counted from 0)", found);
}

gm_status gm_source_check_label(const gm_source *source, int64_t label, size_t classes,
                                gm_error *err)
{
    const char *note = source->base ? "" : " (counted from 0)";
    if (label >= 0 && (uint64_t)label < (classes ? classes : GM_MAX_CLASSES)) return GM_OK;
    const char *masked = gm_source_positions(source) > 1 ? ", or -100 where masked" : "";
    if (label == GM_LABEL_MASKED && *masked) return GM_OK;
    if (classes)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: %s %zu%s: label %lld, expected 0 ... %zu (K = %zu)%s", source->y_file,
                       source->unit, source->position, note, (long long)label, classes - 1, classes,
                       masked);
    return gm_fail(err, GM_ERR_INPUT, "%s: %s %zu%s: label %lld, expected 0 ... %d%s",
                   source->y_file, source->unit, source->position, note, (long long)label,
                   GM_MAX_CLASSES - 1, masked);
}

/* Checks the sample that the source has just delivered and stores it as number `at` of data. limit:
 * labels must lie below it, 0 = unknown. */
static gm_status store_sample(const gm_source *source, const gm_sample *sample, size_t limit,
                              size_t at, gm_dataset *data, gm_error *err)
{
    size_t bad = gm_dataset_store(data, at, sample->x);
    if (bad < source->features)
        return fail_number(source, source->x_file, bad, sample->x[bad], err);
    size_t positions = gm_source_positions(source);
    for (size_t t = 0; !source->outputs && t < positions; t++) {
        gm_status status = gm_source_check_label(source, sample->label[t], limit, err);
        if (status != GM_OK) return status;
        data->label[at * positions + t] = (int32_t)sample->label[t];
    }
    for (size_t k = 0; k < source->outputs; k++) {
        if (!isfinite(sample->target[k]))
            return fail_number(source, source->y_file, k, sample->target[k], err);
        data->target[at * source->outputs + k] = sample->target[k];
    }
    return GM_OK;
}

static uint64_t hash_sample(const gm_source *source, const gm_sample *sample, uint64_t hash)
{
    hash = gm_hash(hash, sample->x, source->features * sizeof *sample->x);
    hash = gm_hash(hash, sample->target, source->outputs * sizeof *sample->target);
    if (source->outputs) return hash;
    return gm_hash(hash, sample->label, gm_source_positions(source) * sizeof *sample->label);
}

/* ---- what a rank reads ---- */

/* The samples that a rank answers for: places of the set, and numbers in the source of samples that
 * are left out. */
typedef struct turn {
    size_t first, count;
    size_t first_out, count_out;
} turn;

static turn turn_of(const gm_team *team, int rank, size_t places, size_t samples)
{
    gm_team other = *team;
    turn t;
    other.rank = rank;
    gm_team_share(&other, places, &t.first, &t.count);
    gm_team_share(&other, samples, &t.first_out, &t.count_out);
    return t;
}

static bool is_in(const turn *t, size_t i, size_t place)
{
    return place == gm_left_out ? i - t->first_out < t->count_out : place - t->first < t->count;
}

/* The rank whose turn this one compares: half a team away, most likely on another machine. */
static int compared_by(const gm_team *team, int rank)
{
    return (rank + (team->size + 1) / 2) % team->size;
}

/* What a rank has found, for all to see. */
typedef struct verdict {
    uint64_t own, other; /* hashes of its turn, and of the turn that it compares */
    int64_t largest;     /* label */
    size_t refused;      /* number of the first sample that is, SIZE_MAX where none is */
    gm_error why;
} verdict;

typedef struct reader {
    gm_source *source;
    gm_dataset *data;
    gm_dataset aside; /* room for one sample that is not kept */
    gm_sample sample;
    size_t limit; /* of labels, 0 = unknown */
    size_t next;  /* sample that the source delivers next */
    bool compares;
    turn own, other;
    verdict found;
} reader;

static gm_status reader_make(gm_source *source, size_t classes, const gm_team *team,
                             gm_dataset *data, reader *r, gm_error *err)
{
    *r = (reader){.source = source,
                  .data = data,
                  .aside = {.dtype = data->dtype},
                  .limit = source->classes ? source->classes : classes,
                  .compares = gm_team_size(team) > 1,
                  .own = {0, data->n, 0, source->n},
                  .found = {gm_hash_start, gm_hash_start, 0, SIZE_MAX, {0}}};
    if (data->whole) {
        int rank = team->rank;
        r->own = turn_of(team, rank, data->whole, source->n);
        r->other = turn_of(team, compared_by(team, rank), data->whole, source->n);
    }
    gm_status status = gm_source_allocate(source, 1, &r->aside, err);
    if (status != GM_OK) return status;
    r->sample.x = gm_alloc(source->features, sizeof *r->sample.x, "a sample", err);
    r->sample.target = gm_alloc(source->outputs, sizeof *r->sample.target, "a target", err);
    r->sample.label = gm_alloc(gm_source_positions(source), sizeof *r->sample.label, "labels", err);
    return r->sample.x && r->sample.target && r->sample.label ? GM_OK : GM_ERR_MEMORY;
}

static void reader_free(reader *r)
{
    gm_free(r->sample.x);
    gm_free(r->sample.target);
    gm_free(r->sample.label);
    gm_free(r->aside.x);
    gm_free(r->aside.label);
    gm_free(r->aside.target);
}

/* Sample i, which is in the rank's turn or in the one that it compares. */
static gm_status read_sample(reader *r, size_t i, size_t place, bool own, gm_error *err)
{
    gm_source *source = r->source;
    bool kept = own && place != gm_left_out;
    uint64_t *hash = own ? &r->found.own : &r->found.other;
    gm_status status = i > r->next ? source->seek(source, i, err) : GM_OK;
    if (status == GM_OK) status = source->next(source, &r->sample, err);
    if (status == GM_OK) {
        r->next = i + 1;
        status = store_sample(source, &r->sample, r->limit, kept ? place - r->own.first : 0,
                              kept ? r->data : &r->aside, err);
    }
    if (status != GM_OK) return status;
    if (r->compares) *hash = hash_sample(source, &r->sample, *hash);
    for (size_t t = 0; t < gm_source_positions(source); t++) {
        if (r->sample.label[t] > r->found.largest) r->found.largest = r->sample.label[t];
    }
    return GM_OK;
}

/* Stops at the first sample that is refused. */
static gm_status read_turns(reader *r, const size_t *position, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < r->source->n; i++) {
        size_t place = position ? position[i] : i;
        bool own = is_in(&r->own, i, place);
        if (!own && !is_in(&r->other, i, place)) continue;
        status = read_sample(r, i, place, own, err);
        if (status == GM_ERR_INPUT) r->found.refused = i;
    }
    return status;
}

/* ---- what the ranks have found together ---- */

/* The first sample that is refused. Two ranks have read it; where one of them alone refuses it, it
 * has another file. */
static gm_status refuse(int size, const verdict *all, gm_error *err)
{
    int first = 0, who = 0;
    for (int r = 1; r < size; r++) {
        if (all[r].refused < all[first].refused) first = r;
    }
    for (int r = 0; r < size; r++) {
        who += all[r].refused == all[first].refused;
    }
    const gm_error *why = &all[first].why;
    if (all[first].refused == SIZE_MAX) return GM_OK;
    if (who > 1) return gm_fail(err, GM_ERR_INPUT, "%s", why->message);
    return gm_fail(err, GM_ERR_INPUT, "rank %d alone: %s", first, why->message);
}

static gm_status compare(const gm_team *team, const verdict *all, const char *name, gm_error *err)
{
    for (int r = 0; r < team->size; r++) {
        int other = compared_by(team, r);
        if (all[r].other == all[other].own) continue;
        return gm_fail(err, GM_ERR_INPUT, "data %s: rank %d reads other samples than rank %d", name,
                       r > other ? r : other, r > other ? other : r);
    }
    return GM_OK;
}

/* Of ranks with a share each: one verdict for all. */
static gm_status join_verdicts(const gm_team *team, const char *name, verdict *found, gm_error *err)
{
    size_t ranks = (size_t)team->size, rank = (size_t)team->rank;
    verdict *all = gm_alloc(ranks, sizeof *all, "ranks", err);
    if (!all) return GM_ERR_MEMORY;
    all[rank] = *found;
    gm_team_gather(team, rank * sizeof *all, sizeof *all, all);
    gm_status status = refuse(team->size, all, err);
    if (status == GM_OK) status = compare(team, all, name, err);
    for (size_t r = 0; r < ranks; r++) {
        if (all[r].largest > found->largest) found->largest = all[r].largest;
    }
    gm_free(all);
    return status;
}

gm_status gm_source_read(gm_source *source, const size_t *position, size_t classes,
                         const gm_team *team, gm_dataset *data, gm_error *err)
{
    reader r;
    gm_error why = {0};
    gm_status status = reader_make(source, classes, team, data, &r, err);
    if (status != GM_OK) goto done;
    status = read_turns(&r, position, &why);
    bool apart = status != GM_OK && (status != GM_ERR_INPUT || !data->whole);
    if (apart) {
        if (err) *err = why;
        goto done;
    }
    if (data->whole) {
        r.found.why = why;
        status = join_verdicts(team, data->name, &r.found, err);
    } else {
        int odd = gm_team_odd_one(team, r.found.own);
        if (odd > 0)
            status = gm_fail(err, GM_ERR_INPUT, "data %s: rank %d reads other samples than rank 0",
                             data->name, odd);
    }
    data->classes = source->outputs ? source->outputs
                    : classes       ? classes
                                    : (size_t)r.found.largest + 1;
done:
    reader_free(&r);
    return status;
}
