/* A number that tells two pieces of memory apart, now or when a run file has kept it. */
#ifndef GM_BASE_HASH_H
#define GM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Of the bytes that came before, gm_hash_start at first, and these. Fowler, Noll and Vo's 1a on
 * words of 8 bytes: no defence against anybody who wants two pieces to look alike. */
static const uint64_t gm_hash_start = 14695981039346656037u;
uint64_t gm_hash(uint64_t before, const void *data, size_t bytes);

#endif
