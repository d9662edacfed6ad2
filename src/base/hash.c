#include "base/hash.h"

#include <string.h>

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 1099511628211u;
    return hash ^ hash >> 32; /* the upper half of a word reaches the lower half of the hash */
}

uint64_t gm_hash(uint64_t before, const void *data, size_t bytes)
{
    const char *at = data;
    uint64_t hash = before, word;
    for (; bytes >= sizeof word; at += sizeof word, bytes -= sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = mix(hash, word);
    }
    word = bytes;
    memcpy(&word, at, bytes);
    return mix(hash, word);
}
