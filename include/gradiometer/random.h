/* Counter-based random streams (Philox4x32-10 of Random123; Salmon et al. 2011,
 * doi:10.1145/2063384.2063405).
 *
 * A stream is named by (seed, purpose, run); draw number `index` of it can be had alone, in any
 * order and from any thread, and is the same bits every time. Streams with different names are
 * independent: never seed + run. */
#ifndef GRADIOMETER_RANDOM_H
#define GRADIOMETER_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a stream is for. The numbers are part of the run file's contract: append, never renumber. */
typedef enum gm_purpose {
    GM_PURPOSE_DATA =
        1, /* synthetic data: class means (run 0), samples (run 1), test samples (run 2) */
    GM_PURPOSE_LABELS = 2,     /* random labels: run 0 training, run 1 test */
    GM_PURPOSE_SUBSET = 3,     /* the shuffle before --subset */
    GM_PURPOSE_INIT = 4,       /* initial weights */
    GM_PURPOSE_BATCH = 5,      /* mini-batches of a training run */
    GM_PURPOSE_PROBE = 6,      /* random vectors of estimators and checks */
    GM_PURPOSE_RESAMPLE = 7,   /* bootstrap resamples of the data */
    GM_PURPOSE_POSTERIOR = 8,  /* posterior draws */
    GM_PURPOSE_KRYLOV = 9,     /* start vectors of eigensolvers */
    GM_PURPOSE_START = 10,     /* the batch before step 0 that starts a preconditioner */
    GM_PURPOSE_DRAW = 11,      /* fresh mini-batches at a fixed point, none of a training run's */
    GM_PURPOSE_POLICY = 12,    /* batches and random signs of step-size policies */
    GM_PURPOSE_RESCALE = 13,   /* random re-scalings of layers */
    GM_PURPOSE_LINEAR = 16,    /* linearized runs near a point: starts (even), batches (odd) */
    GM_PURPOSE_SCATTER = 17,   /* scattered starts of an ensemble's runs */
    GM_PURPOSE_PRIOR = 30,     /* the split of the data before a prior is learned */
    GM_PURPOSE_OPTIMIZE = 31,  /* optimizing a posterior: run 0 batches, run 1 noise */
    GM_PURPOSE_LANDSCAPE = 40, /* random directions of slices */
    GM_PURPOSE_TEST = 100      /* tests and benches */
} gm_purpose;

typedef struct gm_stream {
    uint64_t seed;
    uint32_t purpose;
    uint32_t run;
} gm_stream;

static inline gm_stream gm_stream_of(uint64_t seed, gm_purpose purpose, uint32_t run)
{
    gm_stream stream = {seed, (uint32_t)purpose, run};
    return stream;
}

/* Uniform on (0, 1), 52 bits, never 0 or 1. */
double gm_uniform(gm_stream stream, uint64_t index);
/* Standard normal (Box-Muller: draws 2j and 2j+1 come from one counter). */
double gm_normal(gm_stream stream, uint64_t index);
/* +1 or -1 with probability 1/2 each. */
double gm_rademacher(gm_stream stream, uint64_t index);
/* Uniform integer in [0, bound), without modulo bias beyond 2^-64; bound >= 1. */
uint64_t gm_below(gm_stream stream, uint64_t index, uint64_t bound);

/* out[i] = draw first + i, i < n. */
void gm_normal_fill(gm_stream stream, uint64_t first, size_t n, double *out);
void gm_rademacher_fill(gm_stream stream, uint64_t first, size_t n, double *out);

/* out = a uniformly random permutation of 0 ... n-1 (Fisher-Yates); uses draws first ... first + n
 * - 1. */
void gm_permutation(gm_stream stream, uint64_t first, size_t n, size_t *out);

#ifdef __cplusplus
}
#endif
#endif
