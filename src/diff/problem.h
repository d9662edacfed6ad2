/* Inside of a problem: chunks of samples over workers. */
#ifndef GM_DIFF_PROBLEM_H
#define GM_DIFF_PROBLEM_H

#include "diff/worker.h"
#include "gradiometer/diff.h"

struct gm_problem {
    gm_engine engine;
    const gm_dataset *data;
    gm_problem_options options;
    const gm_team *team; /* NULL without ranks */
    size_t samples;      /* of the whole problem, n in all means */
    size_t n;            /* those of this rank, over which it sweeps */
    size_t row;          /* the first of them in data, and */
    size_t first;        /* in the whole problem */
    size_t memory;       /* bytes, resolved */
    size_t chunk, chunks;
    size_t block; /* directions that one pass carries */
    int workers;  /* > 1: chunks side by side, one thread each; 1: one after another, threads inside
                     the kernels */
    bool *all;    /* [nodes] every node but the input */
    bool *active; /* [nodes] nodes that depend on any parameter */
    gm_worker *worker;
    bool reserved;          /* tangents allocated */
    gm_sums *sums;          /* of one gradient, made when first asked */
    double *batch_sum;      /* [p] of a mini-batch that workers share, made when first asked */
    const size_t *gathered; /* the batch that worker 0 holds, all of it; or NULL */
};

struct gm_linearization {
    gm_problem *problem;
    double *theta;
    void *theta_native; /* theta in the kernels' precision; theta itself in double */
    gm_chunk *chunk;    /* [cached]: the first chunks, kept */
    size_t cached;
    size_t bytes;
    void *memory;
    void **pointers;
    double loss, error_rate;
    double *gradient;
};

/* work is called for every worker, side by side. */
typedef void gm_worker_work(void *job, gm_worker *worker);
void gm_each_worker(gm_problem *problem, gm_worker_work *work, void *job);

/* work is called for every chunk: in order of index within a worker, a contiguous range of chunks
 * each. */
typedef void gm_sweep_work(void *job, gm_worker *worker, size_t index);
void gm_sweep(gm_problem *problem, gm_sweep_work *work, void *job);

/* Samples index[first] ... of a batch of m, up to the problem's chunk, with values, signals and
 * prob of the unperturbed net and the losses in *worker: those that gm_problem_batch_gradient at
 * the same theta left, where the batch is one chunk and nothing was computed since, else anew (one
 * forward pass and the signals). Valid until the problem is used again. */
const gm_chunk *gm_problem_batch_chunk(gm_problem *problem, const void *theta, size_t m,
                                       const size_t *index, size_t first, gm_worker **worker);

/* Sums over the worker's chunk of the losses and the wrong predictions that gm_pass_loss left. */
void gm_worker_losses(const gm_worker *w, double *loss, double *wrong);

/* Means over all samples of the chunks' sums of losses and of wrong predictions, [chunks] each, in
 * their order; either result may be NULL. Parameters and features are finite, so that NaN comes
 * from logits that overflow (infinity - infinity): the mean is infinity then. */
void gm_chunks_means(const gm_problem *problem, const double *loss, const double *wrong,
                     double *mean_loss, double *mean_wrong);

/* out [count, size] = scale times the sum over all samples, of all workers and all ranks, for the
 * first count directions. */
void gm_problem_sums(const gm_problem *problem, gm_sums *sums, double scale, size_t count,
                     double *out);

/* Bytes of a worker's arrays for one sample (with tangents of one direction). */
size_t gm_problem_sample_bytes(const gm_problem *problem);
/* Allocates the workers' tangents. */
gm_status gm_problem_reserve(gm_problem *problem, gm_error *err);
/* *native = theta converted (owned by the caller in *owned, NULL in double where native = theta);
 * refuses entries that are not finite or do not fit the precision. */
gm_status gm_problem_theta(const gm_problem *problem, const double *theta, const void **native,
                           void **owned, gm_error *err);
/* Points the worker's chunk at samples of chunk index, with arrays of the worker. Chunks count from
 * the rank's first sample. */
void gm_worker_load(const gm_problem *problem, gm_worker *worker, const void *theta, size_t index);
/* The chunk with index of the linearization: kept, or computed again into the worker's arrays; its
 * signal at the logits is in the worker's either way, until the worker's next chunk. */
const gm_chunk *gm_linearization_chunk(const gm_linearization *lin, gm_worker *worker,
                                       size_t index);

#endif
