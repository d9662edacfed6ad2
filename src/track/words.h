/* The words of a tracker, NAME or NAME:KEY=VALUE,..., read into its options. */
#ifndef GM_TRACK_WORDS_H
#define GM_TRACK_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "gradiometer/status.h"

typedef struct gm_words {
    const char *name;       /* "spectrum" */
    const char *const *key; /* [keys] */
    unsigned keys;          /* up to 32 */
    const char *expected;   /* the keys in a sentence: "k, every or tol" */
    /* The value of key number `key` into options. */
    gm_status (*set)(void *options, unsigned key, const char *value, gm_error *err);
} gm_words;

/* Whether text begins with the tracker's name, alone or before a colon. */
bool gm_words_match(const gm_words *words, const char *text);
/* text must match. GM_ERR_USAGE names the key, what was found and what was expected. */
gm_status gm_words_parse(const gm_words *words, const char *text, void *options, gm_error *err);
/* A whole number from least to most. */
gm_status gm_words_whole(const gm_words *words, unsigned key, const char *text, uint64_t least,
                         uint64_t most, uint64_t *value, gm_error *err);

#endif
