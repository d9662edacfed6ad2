/* Draws of the posterior on blocks of data. */
#ifndef GM_BOUND_GIBBS_H
#define GM_BOUND_GIBBS_H

#include "bound/local.h"
#include "diff/problem.h"
#include "gradiometer/bound.h"

/* Where draws are tried: for whole draws a problem of its own, cut into blocks of `group` chunks.
 */
typedef struct gm_gibbs_sampler {
    const gm_gibbs_options *options;
    const gm_problem *source;
    bool by_layer;
    size_t blocks;       /* whole draws go by turns through so many */
    size_t each;         /* samples in a block, as planned, */
    size_t largest;      /* and in the largest one of whole draws */
    double span;         /* as in gm_gibbs */
    gm_local local;      /* by layer, else zeros */
    gm_problem *problem; /* whole, else NULL */
    size_t group;
    void **native; /* [workers]: weights of a draw, in the precision of the problem */
    double clip;
} gm_gibbs_sampler;

/* For draws as options say from the data of `problem`; both must outlive the sampler.
 * gm_gibbs_sampler_close accepts what a failure left. */
gm_status gm_gibbs_sampler_open(const gm_problem *problem, const gm_gibbs_options *options,
                                gm_gibbs_sampler *sampler, gm_error *err);
void gm_gibbs_sampler_close(gm_gibbs_sampler *sampler);

/* Draws 0 ... draws - 1 of the stream (options->seed, GM_PURPOSE_POSTERIOR, run); draw t on block
 * t mod blocks, or, for fewer draws than blocks, on evenly spaced ones. By layer: as many draws of
 * single samples as those would be tried on, likewise. */
gm_status gm_gibbs_sample(gm_gibbs_sampler *sampler, const gm_gaussians *g, size_t draws,
                          uint32_t run, gm_gibbs *result, gm_error *err);
/* The same with options->draws, raised so that all samples are met equally often. */
gm_status gm_gibbs_sample_all(gm_gibbs_sampler *sampler, const gm_gaussians *g, gm_gibbs *result,
                              gm_error *err);

#endif
