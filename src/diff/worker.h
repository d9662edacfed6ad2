/* A thread's memory for one chunk of samples, and the sums over samples that threads collect. */
#ifndef GM_DIFF_WORKER_H
#define GM_DIFF_WORKER_H

#include "diff/pass.h"

/* One array per node, cut from one piece of memory; in-place layers share theirs with their input.
 */
typedef struct gm_arrays {
    void *memory;
    void **node; /* [nodes], NULL where there is none */
} gm_arrays;

/* Numbers per sample that gm_arrays_make needs for the nodes in member. */
size_t gm_arrays_width(const gm_net *net, const bool *member);
/* Arrays [rows, size of the node] of numbers of `size` bytes for the nodes in member. */
gm_status gm_arrays_make(const gm_net *net, const bool *member, size_t rows, size_t size,
                         gm_arrays *arrays, gm_error *err);
/* Lays the arrays out over memory the caller has (gm_arrays_width * rows numbers); node is [nodes].
 */
void gm_arrays_lay(const gm_net *net, const bool *member, size_t rows, size_t size, void *memory,
                   void **node);
void gm_arrays_free(gm_arrays *arrays);

typedef struct gm_worker {
    int thread;
    gm_engine engine; /* the problem's, with this worker's scratch */
    gm_chunk chunk;   /* the chunk in hand: pointers into value and signal below, or into a cache */
    gm_arrays value, signal;    /* [chunk, size] */
    gm_arrays tangent, tsignal; /* [block, chunk, size]; made by gm_problem_reserve */
    void *work;                 /* [block, chunk, largest width]; likewise */
    void *prob;                 /* [chunk, outputs], or NULL: in the place of the logits */
    double *loss;               /* [chunk, positions] */
    uint8_t *wrong;             /* [chunk, positions] */
    double *dots;               /* [block, chunk]; by gm_problem_reserve */
    void *x; /* [chunk, features], label [chunk, positions] or target: a gathered mini-batch, made
                when first asked */
    int32_t *label;
    double *target;
    double batch_loss; /* sum over this worker's part of a mini-batch */
} gm_worker;

/* Where the worker's probabilities go. */
static inline void *gm_worker_prob(const gm_worker *w)
{
    return w->prob ? w->prob : w->value.node[w->engine.net->nodes - 1];
}

/* Sums over samples, one set for each worker: collected in the kernels' precision over at most a
 * few thousand samples, then joined to sums in double; joined over workers in their order. In
 * double precision there is one sum only. */
typedef struct gm_sums {
    const gm_kernels *k;
    int workers;
    size_t count, size;
    void **partial;  /* [workers * count] pointers to [size] */
    double **total;  /* likewise */
    size_t *pending; /* [workers]: samples in partial */
    bool *begun;     /* [workers]: total holds some; else its memory is not even touched */
    void *partial_memory;
    double *total_memory;
} gm_sums;

gm_status gm_sums_create(const gm_kernels *k, int workers, size_t count, size_t size,
                         gm_sums **sums, gm_error *err);
void gm_sums_free(gm_sums *sums);
void gm_sums_clear(gm_sums *sums);
/* Where the worker adds: [count] pointers. */
void *const *gm_sums_of(gm_sums *sums, int worker);
/* The worker has added n more samples. */
void gm_sums_added(gm_sums *sums, int worker, size_t n);
/* Nothing is added any more until the sums are cleared. */
void gm_sums_close(gm_sums *sums);
/* out [count] = scale * the sum over all workers, entries first ... first + count - 1 of direction
 * j of closed sums. */
void gm_sums_read(const gm_sums *sums, size_t j, double scale, size_t first, size_t count,
                  double *out);
/* out [count, size] = the same for the first count directions; closes. */
void gm_sums_finish(gm_sums *sums, double scale, size_t count, double *out);

#endif
