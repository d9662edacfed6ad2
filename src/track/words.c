#include "track/words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gradiometer/track.h"

gm_status gm_words_whole(const gm_words *words, unsigned key, const char *text, uint64_t least,
                         uint64_t most, uint64_t *value, gm_error *err)
{
    char *end = NULL;
    errno = 0;
    bool digit = *text >= '0' && *text <= '9';
    *value = digit ? strtoull(text, &end, 10) : 0;
    if (digit && !*end && !errno && *value >= least && *value <= most) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--track: %s: %s: found '%.40s', expected a whole number from %" PRIu64
                   " to %" PRIu64,
                   words->name, words->key[key], text, least, most);
}

static gm_status parse_pair(const gm_words *w, char *pair, unsigned *seen, void *options,
                            gm_error *err)
{
    char *value = strchr(pair, '=');
    if (value) *value++ = '\0';
    unsigned i = 0;
    while (i < w->keys && strcmp(pair, w->key[i]) != 0) {
        i++;
    }
    if (i == w->keys)
        return gm_fail(err, GM_ERR_USAGE, "--track: %s: found '%.40s', expected %s", w->name, pair,
                       w->expected);
    if (!value || !*value)
        return gm_fail(err, GM_ERR_USAGE, "--track: %s: %s: found no value, expected %s=VALUE",
                       w->name, pair, pair);
    if (*seen & 1U << i)
        return gm_fail(err, GM_ERR_USAGE, "--track: %s: %s: found it twice, expected it once",
                       w->name, pair);
    *seen |= 1U << i;
    return w->set(options, i, value, err);
}

bool gm_words_match(const gm_words *words, const char *text)
{
    size_t length = strlen(words->name);
    return strncmp(text, words->name, length) == 0 && (!text[length] || text[length] == ':');
}

gm_status gm_words_parse(const gm_words *words, const char *text, void *options, gm_error *err)
{
    char copy[GM_TRACK_TEXT];
    size_t length = strlen(words->name);
    if (!text[length]) return GM_OK;
    if (strlen(text) >= sizeof copy)
        return gm_fail(err, GM_ERR_USAGE, "--track: found %zu bytes, expected fewer than %zu",
                       strlen(text), sizeof copy);
    snprintf(copy, sizeof copy, "%s", text + length + 1);
    unsigned seen = 0;
    gm_status status = GM_OK;
    for (char *pair = copy, *next = NULL; pair && status == GM_OK; pair = next) {
        next = strchr(pair, ',');
        if (next) *next++ = '\0';
        status = parse_pair(words, pair, &seen, options, err);
    }
    return status;
}
