/* The words "gauges:KEY=VALUE,...". */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gradiometer/track.h"
#include "track/words.h"

void gm_gauge_watch_options_default(gm_gauge_watch_options *options)
{
    *options = (gm_gauge_watch_options){.every = 1, .curvature = 10, .memory = 30, .alarm = 12.0};
}

static const gm_words words;

static gm_status set_alarm(const char *text, double *alarm, gm_error *err)
{
    char *end = NULL;
    *alarm = strtod(text, &end);
    if (end != text && !*end && *alarm > 0.0 && isfinite(*alarm)) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--track: gauges: alarm: found '%.40s', expected a number above 0", text);
}

static gm_status set_key(void *target, unsigned key, const char *value, gm_error *err)
{
    gm_gauge_watch_options *options = target;
    const uint64_t most = INT32_MAX;
    switch (key) {
    case 0:
        return gm_words_whole(&words, key, value, 1, most, &options->every, err);
    case 1:
        return gm_words_whole(&words, key, value, 0, most, &options->curvature, err);
    case 2:
        return gm_words_whole(&words, key, value, 1, most, &options->memory, err);
    default:
        return set_alarm(value, &options->alarm, err);
    }
}

static const char *const keys[] = {"every", "curvature", "memory", "alarm"};
static const gm_words words = {.name = "gauges",
                               .key = keys,
                               .keys = sizeof keys / sizeof *keys,
                               .expected = "every, curvature, memory or alarm",
                               .set = set_key};

bool gm_gauge_watch_match(const char *text)
{
    return gm_words_match(&words, text);
}

gm_status gm_gauge_watch_parse(const char *text, gm_gauge_watch_options *options, gm_error *err)
{
    if (gm_words_match(&words, text)) return gm_words_parse(&words, text, options, err);
    return gm_fail(err, GM_ERR_USAGE, "--track: found '%.40s', expected gauges", text);
}

void gm_gauge_watch_print(const gm_gauge_watch_options *o, char text[GM_TRACK_TEXT])
{
    snprintf(text, GM_TRACK_TEXT,
             "gauges:every=%" PRIu64 ",curvature=%" PRIu64 ",memory=%" PRIu64 ",alarm=%.17g",
             o->every, o->curvature, o->memory, o->alarm);
}
