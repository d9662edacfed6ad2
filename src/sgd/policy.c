/* Step-size policies: their words, their checks, and those that are functions of time (theory
 * section 3.3). */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gradiometer/sgd.h"

static const char *const names[] = {"fixed",  "decay",        "cosine",
                                    "oracle", "oracle-model", "estimated"};
enum { KINDS = sizeof names / sizeof *names };

const char *gm_policy_name(gm_policy_kind kind)
{
    return names[kind];
}

bool gm_policy_timed(const gm_policy *policy)
{
    return policy->kind <= GM_POLICY_COSINE;
}

void gm_policy_default(gm_policy_kind kind, gm_policy *policy)
{
    *policy = (gm_policy){.kind = kind};
    if (kind == GM_POLICY_DECAY) policy->factor = 0.1;
    if (kind == GM_POLICY_ORACLE || kind == GM_POLICY_ORACLE_MODEL) policy->every = 1;
    if (gm_policy_timed(policy)) return;
    policy->share = 0.5;
    policy->max = 1.0;
    policy->floor = 1e-3;
    if (kind == GM_POLICY_ESTIMATED) policy->memory = 100.0;
}

double gm_policy_step(const gm_policy *policy, double step, uint64_t t, uint64_t steps)
{
    if (policy->kind == GM_POLICY_DECAY) {
        double drops = (double)(t / policy->every);
        return step * pow(policy->factor, drops);
    }
    if (policy->kind == GM_POLICY_COSINE) {
        double turn = cos(acos(-1.0) * (double)t / (double)steps);
        return policy->final + 0.5 * (step - policy->final) * (1.0 + turn);
    }
    return step;
}

/* ---- keys ---- */

enum { EVERY, FACTOR, FINAL, SHARE, MAX, FLOOR, MEMORY, KEYS };

enum {
    DECAY = 1 << GM_POLICY_DECAY,
    COSINE = 1 << GM_POLICY_COSINE,
    ESTIMATED = 1 << GM_POLICY_ESTIMATED,
    LOOKING = 1 << GM_POLICY_ORACLE | 1 << GM_POLICY_ORACLE_MODEL | ESTIMATED
};

static const char number_above_0[] = "a finite number above 0";
static const char share_of_1[] = "a number above 0, at most 1";

static const struct {
    const char *name, *expected;
    size_t offset;      /* of a double; EVERY is a uint64_t */
    double least, most; /* of the value, least itself only where `from` */
    unsigned kinds;
    bool from;
} keys[KEYS] = {
    [EVERY] = {"every", "a whole number of steps from 1", offsetof(gm_policy, every), 1.0, 0x1p53,
               DECAY | LOOKING, true},
    [FACTOR] = {"factor", share_of_1, offsetof(gm_policy, factor), 0.0, 1.0, DECAY, false},
    [FINAL] = {"final", "a finite number, 0 or more", offsetof(gm_policy, final), 0.0,
               (double)INFINITY, COSINE, true},
    [SHARE] = {"share", share_of_1, offsetof(gm_policy, share), 0.0, 1.0, LOOKING, false},
    [MAX] = {"max", number_above_0, offsetof(gm_policy, max), 0.0, (double)INFINITY, LOOKING,
             false},
    [FLOOR] = {"floor", number_above_0, offsetof(gm_policy, floor), 0.0, (double)INFINITY, LOOKING,
               false},
    [MEMORY] = {"memory", "a finite number of steps from 1", offsetof(gm_policy, memory), 1.0,
                (double)INFINITY, ESTIMATED, true},
};

static bool belongs(int key, gm_policy_kind kind)
{
    return (keys[key].kinds >> kind & 1U) != 0;
}

static double value_of(const gm_policy *policy, int key)
{
    if (key == EVERY) return (double)policy->every;
    return *(const double *)((const char *)policy + keys[key].offset);
}

static bool is_valid(int key, double value)
{
    bool low = keys[key].from ? value >= keys[key].least : value > keys[key].least;
    return low && value <= keys[key].most && isfinite(value);
}

gm_status gm_policy_check(const gm_policy *policy, double step, gm_error *err)
{
    if (gm_policy_timed(policy) && (!(step > 0.0) || !isfinite(step)))
        return gm_fail(err, GM_ERR_USAGE, "--step: %g, expected a positive number", step);
    for (int i = 0; i < KEYS; i++) {
        double value = value_of(policy, i);
        /* 0: chosen by the program */
        bool chosen = i == EVERY && policy->kind == GM_POLICY_ESTIMATED && policy->every == 0;
        if (!belongs(i, policy->kind) || chosen || is_valid(i, value)) continue;
        return gm_fail(err, GM_ERR_USAGE, "--step: %s: %s: found %g, expected %s",
                       names[policy->kind], keys[i].name, value, keys[i].expected);
    }
    return GM_OK;
}

/* ---- from text ---- */

static bool parse_number(const char *text, double *value)
{
    char *end = NULL;
    bool number = (*text >= '0' && *text <= '9') || *text == '.';
    errno = 0;
    *value = number ? strtod(text, &end) : 0.0;
    return number && !*end && !errno && isfinite(*value);
}

static gm_status parse_pair(char *pair, unsigned *seen, gm_policy *policy, gm_error *err)
{
    const char *kind = names[policy->kind];
    char *text = strchr(pair, '=');
    double value = 0.0;
    if (text) *text++ = '\0';
    int i = 0;
    while (i < KEYS && (strcmp(pair, keys[i].name) != 0 || !belongs(i, policy->kind))) {
        i++;
    }
    if (i == KEYS || !text) {
        char known[64] = "";
        for (int j = 0; j < KEYS; j++) {
            size_t used = strlen(known);
            if (belongs(j, policy->kind))
                snprintf(known + used, sizeof known - used, "%s%s=", used ? ", " : "",
                         keys[j].name);
        }
        return gm_fail(err, GM_ERR_USAGE, "--step: %s: found '%.40s', expected %s", kind, pair,
                       known);
    }
    if (*seen & 1U << i)
        return gm_fail(err, GM_ERR_USAGE, "--step: %s: %s: found it twice, expected it once", kind,
                       pair);
    *seen |= 1U << i;
    if (!parse_number(text, &value) || !is_valid(i, value) || (i == EVERY && value != floor(value)))
        return gm_fail(err, GM_ERR_USAGE, "--step: %s: %s: found '%.40s', expected %s", kind, pair,
                       text, keys[i].expected);
    if (i == EVERY) {
        policy->every = (uint64_t)value;
    } else {
        *(double *)((char *)policy + keys[i].offset) = value;
    }
    return GM_OK;
}

/* What follows the name and the colon: a number first for timed policies, then pairs. */
static gm_status parse_rest(char *text, gm_policy *policy, double *step, gm_error *err)
{
    char *next = strchr(text, ',');
    unsigned seen = 0;
    if (gm_policy_timed(policy)) {
        if (next) *next++ = '\0';
        if (!parse_number(text, step) || !(*step > 0.0))
            return gm_fail(err, GM_ERR_USAGE,
                           "--step: %s: found '%.40s', expected a first step above 0",
                           names[policy->kind], text);
        text = next;
    }
    gm_status status = GM_OK;
    for (char *pair = text; pair && !status; pair = next) {
        next = strchr(pair, ',');
        if (next) *next++ = '\0';
        status = parse_pair(pair, &seen, policy, err);
    }
    if (!status && policy->kind == GM_POLICY_DECAY && !(seen & 1U << EVERY))
        return gm_fail(err, GM_ERR_USAGE, "--step: decay: found no every=, expected every=STEPS");
    return status;
}

static gm_status parse_item(char *item, gm_policy *policy, double *step, gm_error *err)
{
    char *rest = strchr(item, ':');
    if (rest) *rest++ = '\0';
    *step = 0.0;
    gm_policy_default(GM_POLICY_FIXED, policy);
    if (!rest && parse_number(item, step) && *step > 0.0) return GM_OK;
    int kind = GM_POLICY_FIXED + 1;
    while (kind < KINDS && strcmp(item, names[kind]) != 0) {
        kind++;
    }
    if (kind == KINDS)
        return gm_fail(err, GM_ERR_USAGE,
                       "--step: found '%.60s', expected a number above 0, or decay:, cosine:, "
                       "oracle, oracle-model or estimated with their keys",
                       item);
    gm_policy_default((gm_policy_kind)kind, policy);
    *step = 0.0;
    if (rest) return parse_rest(rest, policy, step, err);
    if (!gm_policy_timed(policy)) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE, "--step: found '%s', expected %s:ETA,...", item, item);
}

gm_status gm_policy_parse_list(const char *text, gm_policy *policy, double *step, const char **rest,
                               gm_error *err)
{
    /* A comma before KEY=VALUE goes on with this policy, any other begins the next. */
    const char *end = text + strcspn(text, ",");
    while (*end) {
        size_t length = strcspn(end + 1, ",");
        if (!memchr(end + 1, '=', length) || memchr(end + 1, ':', length)) break;
        end += 1 + length;
    }
    char item[GM_POLICY_TEXT];
    size_t length = (size_t)(end - text);
    if (length >= sizeof item)
        return gm_fail(err, GM_ERR_USAGE, "--step: found %zu bytes, expected fewer than %zu",
                       length, sizeof item);
    snprintf(item, sizeof item, "%.*s", (int)length, text);
    *rest = *end ? end + 1 : NULL;
    return parse_item(item, policy, step, err);
}

gm_status gm_policy_parse(const char *text, gm_policy *policy, double *step, gm_error *err)
{
    const char *rest = NULL;
    gm_status status = gm_policy_parse_list(text, policy, step, &rest, err);
    if (status || !rest) return status;
    return gm_fail(err, GM_ERR_USAGE, "--step: found '%.60s', expected one policy", text);
}

/* ---- to text ---- */

/* In 15 digits where they suffice, else 17. */
static void print_number(double value, char text[32])
{
    snprintf(text, 32, "%.15g", value);
    if (strtod(text, NULL) != value) snprintf(text, 32, "%.17g", value);
}

void gm_policy_print(const gm_policy *policy, double step, char text[GM_POLICY_TEXT])
{
    char number[32], separator = ':';
    size_t used = 0;
    text[0] = '\0';
    if (policy->kind != GM_POLICY_FIXED)
        used = (size_t)snprintf(text, GM_POLICY_TEXT, "%s", names[policy->kind]);
    if (gm_policy_timed(policy)) {
        print_number(step, number);
        used +=
            (size_t)snprintf(text + used, GM_POLICY_TEXT - used, "%s%s", used ? ":" : "", number);
        separator = ',';
    }
    for (int i = 0; i < KEYS; i++) {
        if (!belongs(i, policy->kind) || (i == EVERY && policy->every == 0)) continue;
        print_number(value_of(policy, i), number);
        used += (size_t)snprintf(text + used, GM_POLICY_TEXT - used, "%c%s=%s", separator,
                                 keys[i].name, number);
        separator = ',';
    }
}
