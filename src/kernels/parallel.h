/* When a kernel splits its work over threads, and into which pieces. The pieces depend on the size
 * alone, never on the number of threads, so that the threads cannot change a result. */
#ifndef GM_KERNELS_PARALLEL_H
#define GM_KERNELS_PARALLEL_H

#include <omp.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    GM_BLOCK = 16384,    /* elements in a piece */
    GM_THREADED = 65536, /* elements from which waking a second thread pays */
    GM_PARTS = 64        /* pieces of a sum, at most */
};

/* True where a kernel on n elements should start threads: never inside a parallel region. */
static inline bool gm_threaded(size_t n)
{
    return n >= GM_THREADED && omp_get_max_threads() > 1 && !omp_in_parallel();
}

/* Elements in the piece that starts at first. */
static inline size_t gm_block(size_t n, size_t first)
{
    return n - first < GM_BLOCK ? n - first : GM_BLOCK;
}

/* Rows of width d in a piece, at least 1. */
static inline size_t gm_block_rows(size_t d)
{
    return d < GM_BLOCK ? GM_BLOCK / (d ? d : 1) : 1;
}

/* The same two for a matrix [n, d] cut between rows; a single piece starts no threads. */
static inline bool gm_threaded_rows(size_t n, size_t d)
{
    return n > gm_block_rows(d) && gm_threaded(n * d);
}

static inline size_t gm_rows(size_t n, size_t d, size_t first)
{
    return n - first < gm_block_rows(d) ? n - first : gm_block_rows(d);
}

#endif
