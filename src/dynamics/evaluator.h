/* What a run of an ensemble asks of its net: losses and gradients at one theta. Each worker thread
 * has an evaluator of its own and calls it inside a parallel region.
 *
 * Two kinds. On tiles: dense nets, whose samples go through all layers a tile at a time with the
 * products of gm_kernels.tile_product, so that all but the data stay in the first caches; the bits
 * do not depend on threads or on other runs. On a problem: any net, through gm_problem. */
#ifndef GM_DYNAMICS_EVALUATOR_H
#define GM_DYNAMICS_EVALUATOR_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/diff.h"

typedef struct gm_evaluator gm_evaluator;

/* Mean loss and share of wrong predictions on a set. */
typedef struct gm_evaluation {
    double loss, error_rate;
} gm_evaluation;

typedef struct gm_evaluator_kind {
    gm_status (*batch)(gm_evaluator *e, const void *theta, size_t m, const size_t *index,
                       void *gradient, gm_error *err);
    gm_status (*value)(gm_evaluator *e, const void *theta, gm_evaluation *train,
                       gm_evaluation *test, gm_error *err);
    gm_status (*full)(gm_evaluator *e, const void *theta, void *mu, double *trace, gm_error *err);
    gm_problem *(*problem)(gm_evaluator *e);
    void (*free)(gm_evaluator *e);
} gm_evaluator_kind;

struct gm_evaluator {
    const gm_evaluator_kind *kind;
};

/* gradient [p] = mean over the m samples index[]; theta and gradient in the problem's precision. */
static inline gm_status gm_evaluator_batch(gm_evaluator *e, const void *theta, size_t m,
                                           const size_t *index, void *gradient, gm_error *err)
{
    return e->kind->batch(e, theta, m, index, gradient, err);
}

/* On the training set, and on the test set where test is not NULL. A loss is infinity where it or
 * theta is not finite. */
static inline gm_status gm_evaluator_value(gm_evaluator *e, const void *theta, gm_evaluation *train,
                                           gm_evaluation *test, gm_error *err)
{
    return e->kind->value(e, theta, train, test, err);
}

/* mu [p] = gradient on the whole set, in the problem's precision; *trace = tr Sigma of the samples'
 * gradients, infinite where it overflows; left alone where trace is NULL. */
static inline gm_status gm_evaluator_full(gm_evaluator *e, const void *theta, void *mu,
                                          double *trace, gm_error *err)
{
    return e->kind->full(e, theta, mu, trace, err);
}

static inline void gm_evaluator_free(gm_evaluator *e)
{
    if (e) e->kind->free(e);
}

/* The data as tiles, shared by the workers' evaluators. problem and test (may be NULL) must outlive
 * them. */
typedef struct gm_tiles gm_tiles;

/* True where the net is a chain of dense layers and activations that is small enough to stay in the
 * caches. */
bool gm_tiles_fit(const gm_problem *problem);
/* Cost: a copy of the data, twice. */
gm_status gm_tiles_create(const gm_problem *problem, const gm_problem *test, gm_tiles **tiles,
                          gm_error *err);
void gm_tiles_free(gm_tiles *tiles);
/* Flops that the matrix products of one forward pass of a sample take, and those of the first layer
 * among them. */
double gm_tiles_flops(const gm_tiles *tiles);
double gm_tiles_first_flops(const gm_tiles *tiles);
/* batch: the most samples that a mini-batch has. */
gm_status gm_tiles_evaluator(const gm_tiles *tiles, size_t batch, gm_evaluator **e, gm_error *err);

/* `workers`: among how many the memory of the problem's options is divided. */
gm_status gm_problem_evaluator(const gm_problem *problem, const gm_problem *test, size_t workers,
                               gm_evaluator **e, gm_error *err);

#endif
