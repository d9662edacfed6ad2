/* Draws of the posterior on blocks of data. */
#ifndef GM_BOUND_GIBBS_H
#define GM_BOUND_GIBBS_H

#include "diff/problem.h"
#include "gradiometer/bound.h"

/* Where draws are tried: a problem of its own, cut into blocks of `group` chunks. */
typedef struct gm_gibbs_sampler {
    gm_problem *problem;
    size_t group, blocks;
    double span;   /* as in gm_gibbs */
    void **native; /* [workers]: weights of a draw, in the precision of the problem */
    double clip;
} gm_gibbs_sampler;

/* Blocks of options->block samples (0: chosen, for options->draws draws) from the data of
 * `problem`, to which the sampler keeps references. gm_gibbs_sampler_close accepts what a failure
 * left. */
gm_status gm_gibbs_sampler_open(const gm_problem *problem, const gm_gibbs_options *options,
                                gm_gibbs_sampler *sampler, gm_error *err);
void gm_gibbs_sampler_close(gm_gibbs_sampler *sampler);

/* Draws 0 ... draws - 1 of the stream (seed, GM_PURPOSE_POSTERIOR, run); draw t on block
 * t mod blocks, or, for fewer draws than blocks, on evenly spaced ones. */
gm_status gm_gibbs_sample(gm_gibbs_sampler *sampler, const gm_gaussians *g, size_t draws,
                          uint64_t seed, uint32_t run, gm_gibbs *result, gm_error *err);

#endif
