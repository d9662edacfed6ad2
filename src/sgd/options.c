/* Options of a training: defaults, checks, and their way into the run file and back. */
#include "sgd/options.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sgd/schedule.h"

static const char *const replacement_names[] = {"yes", "no", "epoch"};

const char *gm_replacement_name(gm_replacement replacement)
{
    return replacement_names[replacement];
}

bool gm_replacement_parse(const char *name, gm_replacement *replacement)
{
    for (int i = 0; i <= (int)GM_REPLACEMENT_EPOCH; i++) {
        if (strcmp(name, replacement_names[i]) == 0) {
            *replacement = (gm_replacement)i;
            return true;
        }
    }
    return false;
}

void gm_train_options_default(gm_train_options *options)
{
    *options = (gm_train_options){.steps = 1000, .batch = 64, .step = 0.1};
}

gm_status gm_train_options_check(const gm_train_options *o, size_t n, gm_error *err)
{
    /* Draw number t * batch + j must fit 64 bits, a step number SQLite's signed ones. */
    uint64_t draws;
    if (o->steps < 1 || o->steps >= INT64_MAX)
        return gm_fail(err, GM_ERR_USAGE, "--steps: %" PRIu64 ", expected at least 1", o->steps);
    if (o->batch < 1)
        return gm_fail(err, GM_ERR_USAGE, "--batch: %zu, expected at least 1", o->batch);
    if (o->batch > n && o->replacement != GM_REPLACEMENT_YES)
        return gm_fail(err, GM_ERR_USAGE,
                       "--batch: %zu samples without replacement, but the data set has %zu",
                       o->batch, n);
    if (__builtin_mul_overflow(o->steps, (uint64_t)o->batch, &draws))
        return gm_fail(err, GM_ERR_USAGE, "--steps: %" PRIu64 " steps of batch %zu are too many",
                       o->steps, o->batch);
    if (!(o->step > 0.0) || !isfinite(o->step))
        return gm_fail(err, GM_ERR_USAGE, "--step: %g, expected a positive number", o->step);
    if (!(o->momentum >= 0.0 && o->momentum < 1.0))
        return gm_fail(err, GM_ERR_USAGE, "--momentum: %g, expected 0 to below 1", o->momentum);
    if (o->nesterov && o->momentum == 0.0)
        return gm_fail(err, GM_ERR_USAGE, "--nesterov: needs --momentum above 0");
    if (!(o->weight_decay >= 0.0) || !isfinite(o->weight_decay))
        return gm_fail(err, GM_ERR_USAGE, "--weight-decay: %g, expected 0 or more",
                       o->weight_decay);
    return GM_OK;
}

bool gm_train_keeps(const gm_train_options *options, uint64_t t)
{
    gm_schedule schedule;
    gm_schedule_init(&schedule, options, 1, 1);
    return gm_schedule_keeps(&schedule, t);
}

bool gm_train_records(const gm_train_options *options, size_t n, size_t parameters, uint64_t t)
{
    gm_schedule schedule;
    gm_schedule_init(&schedule, options, n, parameters);
    return gm_schedule_records(&schedule, t);
}

/* ---- in the run file ---- */

typedef enum kind { COUNT, SIZE, SMALL, NUMBER, SWITCH, REPLACEMENT } kind;

/* One list, so that what is written is what is read. */
static const struct {
    const char *key;
    kind kind;
    size_t offset;
} fields[] = {
    {"train.steps", COUNT, offsetof(gm_train_options, steps)},
    {"train.batch", SIZE, offsetof(gm_train_options, batch)},
    {"train.step", NUMBER, offsetof(gm_train_options, step)},
    {"train.momentum", NUMBER, offsetof(gm_train_options, momentum)},
    {"train.nesterov", SWITCH, offsetof(gm_train_options, nesterov)},
    {"train.weight_decay", NUMBER, offsetof(gm_train_options, weight_decay)},
    {"train.replacement", REPLACEMENT, offsetof(gm_train_options, replacement)},
    {"train.seed", COUNT, offsetof(gm_train_options, seed)},
    {"train.run", SMALL, offsetof(gm_train_options, run)},
    {"train.checkpoint_every", COUNT, offsetof(gm_train_options, checkpoint_every)},
    {"train.keep_every", COUNT, offsetof(gm_train_options, keep_every)},
    {"train.record_every", COUNT, offsetof(gm_train_options, record_every)},
};
enum { FIELDS = sizeof fields / sizeof fields[0], VALUE_LENGTH = 32 };

static void print_field(size_t f, const gm_train_options *options, char value[VALUE_LENGTH])
{
    const char *field = (const char *)options + fields[f].offset;
    switch (fields[f].kind) {
    case COUNT:
        snprintf(value, VALUE_LENGTH, "%" PRIu64, *(const uint64_t *)field);
        break;
    case SIZE:
        snprintf(value, VALUE_LENGTH, "%zu", *(const size_t *)field);
        break;
    case SMALL:
        snprintf(value, VALUE_LENGTH, "%" PRIu32, *(const uint32_t *)field);
        break;
    case NUMBER:
        snprintf(value, VALUE_LENGTH, "%.17g", *(const double *)field);
        break;
    case SWITCH:
        snprintf(value, VALUE_LENGTH, "%s", *(const bool *)field ? "true" : "false");
        break;
    case REPLACEMENT:
        snprintf(value, VALUE_LENGTH, "%s", gm_replacement_name(*(const gm_replacement *)field));
        break;
    }
}

static bool parse_whole(const char *value, uint64_t most, uint64_t *number)
{
    char *end = NULL;
    errno = 0;
    *number = strtoull(value, &end, 10);
    return value[0] >= '0' && value[0] <= '9' && !*end && !errno && *number <= most;
}

static bool parse_field(size_t f, const char *value, gm_train_options *options)
{
    char *field = (char *)options + fields[f].offset, *end = NULL;
    uint64_t whole = 0;
    switch (fields[f].kind) {
    case COUNT:
        return parse_whole(value, UINT64_MAX, (uint64_t *)field);
    case SIZE:
        if (!parse_whole(value, SIZE_MAX, &whole)) return false;
        *(size_t *)field = (size_t)whole;
        return true;
    case SMALL:
        if (!parse_whole(value, UINT32_MAX, &whole)) return false;
        *(uint32_t *)field = (uint32_t)whole;
        return true;
    case NUMBER:
        *(double *)field = strtod(value, &end);
        return end != value && !*end;
    case SWITCH:
        *(bool *)field = strcmp(value, "true") == 0;
        return *(bool *)field || strcmp(value, "false") == 0;
    case REPLACEMENT:
        return gm_replacement_parse(value, (gm_replacement *)field);
    }
    return false;
}

gm_status gm_train_options_store(gm_run *run, const gm_train_options *options, gm_error *err)
{
    gm_setting setting[FIELDS];
    char value[FIELDS][VALUE_LENGTH];
    for (size_t f = 0; f < FIELDS; f++) {
        print_field(f, options, value[f]);
        setting[f] = (gm_setting){fields[f].key, value[f]};
    }
    return gm_run_set(run, setting, FIELDS, err);
}

gm_status gm_train_options_load(gm_run *run, gm_train_options *options, gm_error *err)
{
    gm_train_options_default(options);
    for (size_t f = 0; f < FIELDS; f++) {
        char *value = NULL;
        gm_status status = gm_run_get(run, fields[f].key, &value, err);
        if (status) return status;
        if (!value)
            return gm_fail(err, GM_ERR_INPUT, "%s: holds no training (no setting %s)",
                           gm_run_path(run), fields[f].key);
        if (!parse_field(f, value, options))
            status = gm_fail(err, GM_ERR_INPUT, "%s: damaged run file: setting %s is '%.40s'",
                             gm_run_path(run), fields[f].key, value);
        gm_run_free(value);
        if (status) return status;
    }
    return GM_OK;
}
