/* The loss on slices through parameter space: directions to cut along, values on a grid of the
 * slice, the quadratic model of gradient and Hessian beside them, and the plane that a trajectory
 * of checkpoints keeps closest to (theory section 6).
 *
 * A slice is theta = origin + sum_a t_a d_a with directions d [dimensions, p], which need be
 * neither orthogonal nor of length 1; t are its coordinates. */
#ifndef GRADIOMETER_LANDSCAPE_H
#define GRADIOMETER_LANDSCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/diff.h"
#include "gradiometer/net.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GM_LANDSCAPE_DIMENSIONS = 2 }; /* at most */

/* ---- directions ---- */

/* Filter normalization (Li et al. 2018, arXiv 1712.09913): each filter of direction [p], the
 * weights that lead into one unit or channel (a row of an embedding), is scaled to the norm of the
 * same filter of theta [p]. Biases, and scales and shifts of normalizations, become 0. A filter
 * that is zero in either stays or becomes zero. */
void gm_landscape_normalize(const gm_net *net, const double *theta, double *direction);

/* direction [p] = normal numbers of stream (seed, GM_PURPOSE_LANDSCAPE, index), filter-normalized
 * by theta [p]. */
void gm_landscape_random(const gm_net *net, const double *theta, uint64_t seed, uint32_t index,
                         double *direction);

/* ---- the quadratic model ---- */

/* q(t) = loss + slope . t + t . curvature t / 2 with slope_a = mu . d_a, curvature_ab = d_a . H d_b
 * at the point of the linearization. Entries beyond its dimensions are 0. */
typedef struct gm_landscape_model {
    size_t dimensions;
    double loss;
    double slope[GM_LANDSCAPE_DIMENSIONS];
    double curvature[GM_LANDSCAPE_DIMENSIONS][GM_LANDSCAPE_DIMENSIONS]; /* symmetric */
} gm_landscape_model;

/* Cost: one product with H per direction. Errors: those of the products; GM_ERR_USAGE unless
 * dimensions is 1 or 2; GM_ERR_MEMORY. */
gm_status gm_landscape_model_make(gm_linearization *lin, size_t dimensions, const double *direction,
                                  gm_landscape_model *model, gm_error *err);
double gm_landscape_model_at(const gm_landscape_model *model, const double *t);

/* ---- values on the slice ---- */

typedef struct gm_landscape_slice {
    size_t dimensions;        /* 1 or 2 */
    const double *origin;     /* [p] */
    const double *direction;  /* [dimensions, p] */
    size_t count;             /* points */
    const double *coordinate; /* [count, dimensions] */
} gm_landscape_slice;

typedef struct gm_landscape_hooks {
    void *context;
    /* Asked between blocks of points; true ends the work there. */
    bool (*stop)(void *context);
    /* Told after each block: points done of all. */
    void (*progress)(void *context, size_t done);
    const gm_team *team; /* NULL; else its ranks share the points out, all get all values, and what
                            stop says at rank 0 is done */
} gm_landscape_hooks;

/* Loss and share of wrong predictions at the points of the slice, in their order, each [count], the
 * caller's; those on the test set are NULL without one. */
typedef struct gm_landscape_values {
    double *loss, *error_rate;
    double *test_loss, *test_error_rate;
} gm_landscape_values;

/* Fills values, whose test columns are NULL where test is. A loss that is not a number is infinite.
 * *done points have their values, the others are NaN: fewer than count only where hooks->stop
 * (hooks may be NULL) said so.
 *
 * Points are taken a block at a time, each thread one parameter vector after the other with
 * workspaces of its own: small dense nets in tiles of samples that stay in the caches, others
 * through matrix products of chunks, within the memory of the problem. Cost: a forward pass for
 * each point. Errors: GM_ERR_USAGE unless dimensions is 1 or 2 and count >= 1; GM_ERR_MEMORY. */
gm_status gm_landscape_evaluate(const gm_problem *problem, const gm_problem *test,
                                const gm_landscape_slice *slice, const gm_landscape_hooks *hooks,
                                const gm_landscape_values *values, size_t *done, gm_error *err);

/* ---- trajectories ---- */

/* direction [dimensions, p], orthonormal: the principal directions of point [count, p] about their
 * mean, the most variance first, each with the first point at or below the mean along it; share
 * [dimensions] of the whole variance that each keeps. Cost: count^2 p flops, memory count^2
 * numbers. GM_ERR_INPUT where the points span fewer dimensions (fewer than dimensions + 1 points
 * do). */
gm_status gm_landscape_plane(size_t count, size_t p, const double *point, size_t dimensions,
                             double *direction, double *share, gm_error *err);

/* Where point [count, p] stands on the slice of origin and direction: coordinate [count,
 * dimensions] of the nearest point of it, distance [count] from there, and the *share of the
 * points' variance about their mean that the slice keeps (NaN where that is zero). slice->count and
 * coordinate are not read. GM_ERR_INPUT where the directions are zero or parallel. Cost: a few
 * passes over the points. */
gm_status gm_landscape_project(size_t count, size_t p, const double *point,
                               const gm_landscape_slice *slice, double *coordinate,
                               double *distance, double *share, gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
