/* Parsers of option values: strict, and each error names the option, what was found and what was
 * expected. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

gm_status gm_option_flag(const gm_option *o, const char *text, void *target, gm_error *err)
{
    (void)o, (void)text, (void)err;
    *(bool *)target = true;
    return GM_OK;
}

gm_status gm_option_text(const gm_option *o, const char *text, void *target, gm_error *err)
{
    if (!*text) {
        return gm_fail(err, GM_ERR_USAGE, "--%s: found nothing, expected %s", o->name, o->argument);
    }
    *(const char **)target = text;
    return GM_OK;
}

/* Decimal digits and nothing else, least ... most (0 = the type's own limit). */
static gm_status parse_whole(const gm_option *o, const char *text, unsigned long long least,
                             unsigned long long *value, gm_error *err)
{
    char *end = NULL;
    errno = 0;
    bool digit = *text >= '0' && *text <= '9'; /* strtoull would take spaces and a minus sign */
    *value = digit ? strtoull(text, &end, 10) : 0;
    bool fits = errno == 0 && *value >= least && (o->most == 0 || *value <= o->most);
    if (digit && !*end && fits) return GM_OK;
    if (o->most) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--%s: found '%s', expected a whole number from %llu to %llu", o->name, text,
                       least, o->most);
    }
    return gm_fail(err, GM_ERR_USAGE,
                   "--%s: found '%s', expected a whole number of at least %llu%s", o->name, text,
                   least, errno == ERANGE ? " and below 2^64" : "");
}

gm_status gm_option_count(const gm_option *o, const char *text, void *target, gm_error *err)
{
    unsigned long long value;
    gm_status status = parse_whole(o, text, 1, &value, err);
    if (status == GM_OK) *(size_t *)target = (size_t)value;
    return status;
}

gm_status gm_option_natural(const gm_option *o, const char *text, void *target, gm_error *err)
{
    unsigned long long value;
    gm_status status = parse_whole(o, text, 0, &value, err);
    if (status == GM_OK) *(size_t *)target = (size_t)value;
    return status;
}

gm_status gm_option_seed(const gm_option *o, const char *text, void *target, gm_error *err)
{
    unsigned long long value;
    gm_status status = parse_whole(o, text, 0, &value, err);
    if (status == GM_OK) *(uint64_t *)target = value;
    return status;
}

gm_status gm_option_steps(const gm_option *o, const char *text, void *target, gm_error *err)
{
    unsigned long long value;
    gm_status status = parse_whole(o, text, 1, &value, err);
    if (status == GM_OK) *(uint64_t *)target = value;
    return status;
}

/* A finite decimal number with nothing before or after it; *end points past it. */
static bool scan_real(const char *text, double *value, const char **end)
{
    char first = text[*text == '-' || *text == '+'];
    if (!((first >= '0' && first <= '9') || first == '.')) return false; /* spaces, nan, inf */
    char *stop;
    *value = strtod(text, &stop);
    *end = stop;
    return stop != text && isfinite(*value);
}

gm_status gm_option_positive(const gm_option *o, const char *text, void *target, gm_error *err)
{
    double value;
    const char *end;
    if (!scan_real(text, &value, &end) || *end || !(value > 0)) {
        return gm_fail(err, GM_ERR_USAGE, "--%s: found '%s', expected a number above 0", o->name,
                       text);
    }
    *(double *)target = value;
    return GM_OK;
}

gm_status gm_option_nonnegative(const gm_option *o, const char *text, void *target, gm_error *err)
{
    double value;
    const char *end;
    if (!scan_real(text, &value, &end) || *end || value < 0) {
        return gm_fail(err, GM_ERR_USAGE, "--%s: found '%s', expected a number of at least 0",
                       o->name, text);
    }
    *(double *)target = value;
    return GM_OK;
}

gm_status gm_option_fraction(const gm_option *o, const char *text, void *target, gm_error *err)
{
    double value;
    const char *end;
    if (!scan_real(text, &value, &end) || *end || value < 0 || value > 1) {
        return gm_fail(err, GM_ERR_USAGE, "--%s: found '%s', expected a number from 0 to 1",
                       o->name, text);
    }
    *(double *)target = value;
    return GM_OK;
}

gm_status gm_option_bytes(const gm_option *o, const char *text, void *target, gm_error *err)
{
    static const char units[] = "KMGT";
    double value = 0;
    const char *end = text;
    bool good = scan_real(text, &value, &end);
    if (good && *end) {
        const char *unit = strchr(units, *end);
        good = unit != NULL;
        if (good) value = ldexp(value, 10 * (int)(unit - units + 1));
        good = good && (end[1] == 0 || strcmp(end + 1, "iB") == 0);
    }
    /* 2^63 keeps the sum of a few budgets within size_t. */
    if (!good || value < 1 || value >= 0x1p63) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--%s: found '%s', expected a size such as 512M, 2G or 1.5GiB", o->name,
                       text);
    }
    *(size_t *)target = (size_t)value;
    return GM_OK;
}

gm_status gm_option_choice(const gm_option *o, const char *text, void *target, gm_error *err)
{
    char known[256] = "";
    for (int i = 0; o->choices[i]; i++) {
        if (strcmp(text, o->choices[i]) == 0) {
            *(int *)target = i;
            return GM_OK;
        }
        if (i) strncat(known, o->choices[i + 1] ? ", " : " or ", sizeof known - strlen(known) - 1);
        strncat(known, o->choices[i], sizeof known - strlen(known) - 1);
    }
    return gm_fail(err, GM_ERR_USAGE, "--%s: found '%s', expected %s", o->name, text, known);
}
