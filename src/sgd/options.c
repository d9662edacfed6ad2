/* Options of a training: defaults, checks, and their way into the run file and back. */
#include "sgd/options.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sgd/schedule.h"

/* ---- names ---- */

static const char *const replacement_names[] = {"yes", "no", "epoch", NULL};
static const char *const optimizer_names[] = {"sgd", "adam", "rmsprop", "adagrad", NULL};
static const char *const precondition_names[] = {"none",        "rmsprop",      "adagrad",
                                                 "diag-moment", "diag-hessian", NULL};

/* Place of name in a list ended by NULL, -1 where it is not there. */
static int find(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(name, names[i]) == 0) return i;
    }
    return -1;
}

const char *gm_replacement_name(gm_replacement replacement)
{
    return replacement_names[replacement];
}

bool gm_replacement_parse(const char *name, gm_replacement *replacement)
{
    int i = find(replacement_names, name);
    if (i >= 0) *replacement = (gm_replacement)i;
    return i >= 0;
}

const char *gm_optimizer_name(gm_optimizer optimizer)
{
    return optimizer_names[optimizer];
}

bool gm_optimizer_parse(const char *name, gm_optimizer *optimizer)
{
    int i = find(optimizer_names, name);
    if (i >= 0) *optimizer = (gm_optimizer)i;
    return i >= 0;
}

const char *gm_precondition_name(gm_precondition precondition)
{
    return precondition_names[precondition];
}

bool gm_precondition_parse(const char *name, gm_precondition *precondition)
{
    int i = find(precondition_names, name);
    if (i >= 0) *precondition = (gm_precondition)i;
    return i >= 0;
}

/* ---- defaults and checks ---- */

void gm_train_options_default(gm_train_options *options)
{
    *options = (gm_train_options){.steps = 1000, .batch = 64, .step = 0.1, .beta1 = 0.9};
}

static bool is_exact(gm_precondition precondition)
{
    return precondition == GM_PRECONDITION_DIAG_MOMENT ||
           precondition == GM_PRECONDITION_DIAG_HESSIAN;
}

static bool has_beta2(const gm_train_options *o)
{
    return o->optimizer == GM_OPTIMIZER_ADAM || o->optimizer == GM_OPTIMIZER_RMSPROP ||
           o->precondition == GM_PRECONDITION_RMSPROP;
}

static bool has_epsilon(const gm_train_options *o)
{
    return o->optimizer != GM_OPTIMIZER_SGD || o->precondition != GM_PRECONDITION_NONE;
}

static gm_status check_numbers_of_method(const gm_train_options *o, gm_error *err)
{
    if (o->optimizer == GM_OPTIMIZER_ADAM && !(o->beta1 >= 0.0 && o->beta1 < 1.0))
        return gm_fail(err, GM_ERR_USAGE, "--beta1: %g, expected 0 to below 1", o->beta1);
    if (o->beta2 != 0.0 && !has_beta2(o))
        return gm_fail(err, GM_ERR_USAGE,
                       "--beta2: found %g, expected it with --optimizer adam or rmsprop, or with "
                       "--precondition rmsprop only",
                       o->beta2);
    if (!(o->beta2 >= 0.0 && o->beta2 < 1.0))
        return gm_fail(err, GM_ERR_USAGE, "--beta2: %g, expected above 0 and below 1", o->beta2);
    if (o->epsilon != 0.0 && !has_epsilon(o))
        return gm_fail(
            err, GM_ERR_USAGE,
            "--epsilon: found %g, expected it with --optimizer adam, rmsprop or adagrad, "
            "or with --precondition only",
            o->epsilon);
    if (!(o->epsilon >= 0.0) || !isfinite(o->epsilon))
        return gm_fail(err, GM_ERR_USAGE, "--epsilon: %g, expected a positive number", o->epsilon);
    if (o->precondition_every && !is_exact(o->precondition))
        return gm_fail(err, GM_ERR_USAGE,
                       "--precondition-every: found %" PRIu64
                       ", expected it with --precondition diag-moment or diag-hessian only",
                       o->precondition_every);
    return GM_OK;
}

static gm_status check_method(const gm_train_options *o, gm_error *err)
{
    bool conditioned = o->precondition != GM_PRECONDITION_NONE;
    const char *name = gm_optimizer_name(o->optimizer);
    if (o->optimizer != GM_OPTIMIZER_SGD && conditioned)
        return gm_fail(err, GM_ERR_USAGE,
                       "--precondition: found %s with --optimizer %s, which has a divisor of its "
                       "own; expected one of them",
                       gm_precondition_name(o->precondition), name);
    if (o->optimizer != GM_OPTIMIZER_SGD && o->momentum > 0.0)
        return gm_fail(err, GM_ERR_USAGE, "--momentum: found %g with --optimizer %s, expected %s",
                       o->momentum, name,
                       o->optimizer == GM_OPTIMIZER_ADAM ? "--beta1" : "one of them");
    if (conditioned && o->momentum > 0.0)
        return gm_fail(err, GM_ERR_USAGE,
                       "--momentum: found %g with --precondition %s, expected one of them: with "
                       "both, the loss alone is no super-martingale",
                       o->momentum, gm_precondition_name(o->precondition));
    return check_numbers_of_method(o, err);
}

/* What looks at theta_t needs the loss alone to be the thing that falls. */
static gm_status check_policy(const gm_train_options *o, gm_error *err)
{
    const char *name = gm_policy_name(o->policy.kind);
    if (gm_policy_timed(&o->policy)) return GM_OK;
    if (o->optimizer != GM_OPTIMIZER_SGD)
        return gm_fail(err, GM_ERR_USAGE,
                       "--step: found %s with --optimizer %s, whose divisor contains the gradient "
                       "of the step; expected --precondition, a number, decay or cosine",
                       name, gm_optimizer_name(o->optimizer));
    if (o->momentum > 0.0)
        return gm_fail(err, GM_ERR_USAGE,
                       "--step: found %s with --momentum %g, with which the loss alone is no "
                       "super-martingale; expected a number, decay or cosine",
                       name, o->momentum);
    if (o->weight_decay > 0.0)
        return gm_fail(err, GM_ERR_USAGE,
                       "--step: found %s with --weight-decay %g, which is not in the loss that the "
                       "policy bounds; expected a number, decay or cosine",
                       name, o->weight_decay);
    return GM_OK;
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
    gm_status status = gm_policy_check(&o->policy, o->step, err);
    if (status) return status;
    if (!(o->momentum >= 0.0 && o->momentum < 1.0))
        return gm_fail(err, GM_ERR_USAGE, "--momentum: %g, expected 0 to below 1", o->momentum);
    if (o->nesterov && o->momentum == 0.0)
        return gm_fail(err, GM_ERR_USAGE, "--nesterov: needs --momentum above 0");
    if (!(o->weight_decay >= 0.0) || !isfinite(o->weight_decay))
        return gm_fail(err, GM_ERR_USAGE, "--weight-decay: %g, expected 0 or more",
                       o->weight_decay);
    status = check_method(o, err);
    return status ? status : check_policy(o, err);
}

double gm_train_epsilon_default(gm_optimizer optimizer, gm_precondition precondition)
{
    if (optimizer == GM_OPTIMIZER_ADAGRAD) return 1e-10;
    if (optimizer != GM_OPTIMIZER_SGD) return 1e-8;
    /* |diag H| has the units of a curvature, not of a gradient, and is tiny wherever a unit rests
     * at the moment: eta / epsilon is then the step. */
    return precondition == GM_PRECONDITION_DIAG_HESSIAN ? 0.3 : 1e-3;
}

void gm_train_options_resolve(gm_train_options *o, const gm_problem *problem)
{
    bool adam = o->optimizer == GM_OPTIMIZER_ADAM;
    if (has_beta2(o) && o->beta2 == 0.0) o->beta2 = adam ? 0.999 : 0.99;
    if (has_epsilon(o) && o->epsilon == 0.0)
        o->epsilon = gm_train_epsilon_default(o->optimizer, o->precondition);
    if (is_exact(o->precondition) && o->precondition_every == 0) {
        /* diag M takes one pass over the set, diag H one for each class, or a few more. */
        bool hessian = o->precondition == GM_PRECONDITION_DIAG_HESSIAN;
        size_t passes = hessian ? gm_net_outputs(gm_problem_net(problem)) : 1;
        double steps = (double)passes * (double)gm_problem_data(problem)->n / (double)o->batch;
        o->precondition_every = (uint64_t)fmax(1.0, ceil(steps));
    }
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

typedef enum kind {
    COUNT,
    SIZE,
    SMALL,
    NUMBER,
    SWITCH,
    REPLACEMENT,
    OPTIMIZER,
    PRECONDITION,
    POLICY
} kind;

/* One list, so that what is written is what is read. */
static const struct {
    const char *key;
    size_t offset;
    kind kind;
    bool later; /* not in the first run files; there it has its default */
} fields[] = {
    {"train.steps", offsetof(gm_train_options, steps), COUNT, false},
    {"train.batch", offsetof(gm_train_options, batch), SIZE, false},
    {"train.step", offsetof(gm_train_options, step), NUMBER, false},
    {"train.policy", offsetof(gm_train_options, policy), POLICY, true},
    {"train.momentum", offsetof(gm_train_options, momentum), NUMBER, false},
    {"train.nesterov", offsetof(gm_train_options, nesterov), SWITCH, false},
    {"train.weight_decay", offsetof(gm_train_options, weight_decay), NUMBER, false},
    {"train.replacement", offsetof(gm_train_options, replacement), REPLACEMENT, false},
    {"train.seed", offsetof(gm_train_options, seed), COUNT, false},
    {"train.run", offsetof(gm_train_options, run), SMALL, false},
    {"train.checkpoint_every", offsetof(gm_train_options, checkpoint_every), COUNT, false},
    {"train.keep_every", offsetof(gm_train_options, keep_every), COUNT, false},
    {"train.record_every", offsetof(gm_train_options, record_every), COUNT, false},
    {"train.optimizer", offsetof(gm_train_options, optimizer), OPTIMIZER, true},
    {"train.precondition", offsetof(gm_train_options, precondition), PRECONDITION, true},
    {"train.beta1", offsetof(gm_train_options, beta1), NUMBER, true},
    {"train.beta2", offsetof(gm_train_options, beta2), NUMBER, true},
    {"train.epsilon", offsetof(gm_train_options, epsilon), NUMBER, true},
    {"train.precondition_every", offsetof(gm_train_options, precondition_every), COUNT, true},
};
enum { FIELDS = sizeof fields / sizeof fields[0], VALUE_LENGTH = GM_POLICY_TEXT };

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
    case OPTIMIZER:
        snprintf(value, VALUE_LENGTH, "%s", gm_optimizer_name(*(const gm_optimizer *)field));
        break;
    case PRECONDITION:
        snprintf(value, VALUE_LENGTH, "%s", gm_precondition_name(*(const gm_precondition *)field));
        break;
    case POLICY:
        gm_policy_print((const gm_policy *)field, options->step, value);
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
    double step; /* train.step has it */
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
    case OPTIMIZER:
        return gm_optimizer_parse(value, (gm_optimizer *)field);
    case PRECONDITION:
        return gm_precondition_parse(value, (gm_precondition *)field);
    case POLICY:
        return gm_policy_parse(value, (gm_policy *)field, &step, NULL) == GM_OK;
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
        if (!value && fields[f].later) continue;
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
