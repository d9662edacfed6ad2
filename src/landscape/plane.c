/* A trajectory of checkpoints and planes: its principal directions, and where it stands on a slice.
 *
 * Few points in many dimensions: with C the points less their mean [count, p], the eigenpairs
 * (s_a^2, u_a) of C C^T [count, count] give the directions d_a = C^T u_a / s_a, and s_a^2 / sum s^2
 * is the share of the variance. Squaring loses directions with s below 1e-8 of the largest, which
 * are no plane to look at. */
#include <float.h>
#include <math.h>

#include "base/memory.h"
#include "kernels/kernels.h"
#include "kernels/lapack.h"
#include "landscape/landscape.h"

static double dot(size_t n, const double *x, const double *y)
{
    return gm_kernels_get(GM_F64)->dot(n, x, y);
}

/* y += a x */
static void add(size_t n, double a, const double *x, double *y)
{
    gm_kernels_get(GM_F64)->axpy(n, a, x, y);
}

/* mean [p] of point [count, p] */
static void mean_of(size_t count, size_t p, const double *point, double *mean)
{
    for (size_t i = 0; i < count; i++) {
        add(p, 1.0 / (double)count, point + i * p, mean);
    }
}

/* ---- principal directions ---- */

/* gram [count, count] of the points about their mean; work [2, p]. */
static void centred_gram(size_t count, size_t p, const double *point, const double *mean,
                         double *work, double *gram)
{
    double *a = work, *b = work + p;
    for (size_t i = 0; i < count; i++) {
        for (size_t n = 0; n < p; n++) {
            a[n] = point[i * p + n] - mean[n];
        }
        for (size_t j = 0; j <= i; j++) {
            for (size_t n = 0; n < p; n++) {
                b[n] = point[j * p + n] - mean[n];
            }
            gram[i * count + j] = gram[j * count + i] = dot(p, a, b);
        }
    }
}

/* direction [p] = C^T u, of length 1, the first point at or below the mean. */
static void direction_of(size_t count, size_t p, const double *point, const double *mean,
                         const double *u, double *direction)
{
    double sign = u[0] > 0.0 ? -1.0 : 1.0;
    for (size_t n = 0; n < p; n++) {
        direction[n] = 0.0;
    }
    for (size_t i = 0; i < count; i++) {
        add(p, sign * u[i], point + i * p, direction);
        add(p, -sign * u[i], mean, direction);
    }
    double norm = sqrt(dot(p, direction, direction));
    for (size_t n = 0; n < p; n++) {
        direction[n] /= norm;
    }
}

static gm_status find_plane(size_t count, size_t p, const double *point, size_t dimensions,
                            double *work, double *square, double *direction, double *share,
                            gm_error *err)
{
    double *mean = work, *value = square, *u = square + count, *gram = u + dimensions * count;
    double total = 0.0;
    mean_of(count, p, point, mean);
    centred_gram(count, p, point, mean, work + p, gram);
    for (size_t i = 0; i < count; i++) {
        total += gram[i * count + i];
    }
    gm_status status = gm_symmetric_eigen(count, gram, dimensions, 0, value, u, err);
    if (status != GM_OK) return status;
    /* Below the rounding of the Gram matrix a direction is noise. */
    double floor = (double)count * DBL_EPSILON * value[0];
    if (!(value[dimensions - 1] > floor))
        return gm_fail(err, GM_ERR_INPUT,
                       "the %zu points of the trajectory span fewer than %zu "
                       "dimensions",
                       count, dimensions);
    for (size_t a = 0; a < dimensions; a++) {
        share[a] = value[a] / total;
        direction_of(count, p, point, mean, u + a * count, direction + a * p);
    }
    return GM_OK;
}

gm_status gm_landscape_plane(size_t count, size_t p, const double *point, size_t dimensions,
                             double *direction, double *share, gm_error *err)
{
    size_t squares;
    if (dimensions < 1 || count <= dimensions)
        return gm_fail(err, GM_ERR_INPUT,
                       "%zu points of a trajectory, expected at least %zu for its %zu principal "
                       "directions",
                       count, dimensions + 1, dimensions);
    if (!gm_mul_size(count, count + dimensions + 1, &squares))
        return gm_fail(err, GM_ERR_MEMORY, "%zu points of a trajectory are too many", count);
    double *work = gm_alloc(3 * p, sizeof *work, "points of a trajectory", err);
    double *square = gm_alloc(squares, sizeof *square, "products of a trajectory's points", err);
    gm_status status = work && square ? find_plane(count, p, point, dimensions, work, square,
                                                   direction, share, err)
                                      : GM_ERR_MEMORY;
    gm_free(work);
    gm_free(square);
    return status;
}

/* ---- projection ---- */

/* x = G^-1 b for the Gram matrix of 1 or 2 directions. */
static void solve(size_t dimensions, const double g[2][2], const double b[2], double *x)
{
    if (dimensions == 1) {
        x[0] = b[0] / g[0][0];
        return;
    }
    double determinant = g[0][0] * g[1][1] - g[0][1] * g[1][0];
    x[0] = (g[1][1] * b[0] - g[0][1] * b[1]) / determinant;
    x[1] = (g[0][0] * b[1] - g[1][0] * b[0]) / determinant;
}

static gm_status gram_of(size_t p, const gm_landscape_slice *s, double g[2][2], gm_error *err)
{
    for (size_t a = 0; a < s->dimensions; a++) {
        for (size_t b = 0; b < s->dimensions; b++) {
            g[a][b] = dot(p, s->direction + a * p, s->direction + b * p);
        }
        if (!(g[a][a] > 0.0)) return gm_fail(err, GM_ERR_INPUT, "direction %zu is zero", a + 1);
    }
    double cosine = s->dimensions > 1 ? g[0][1] / sqrt(g[0][0] * g[1][1]) : 0.0;
    /* Beyond this angle, 1e-6, coordinates would be rounding. */
    if (fabs(cosine) < 1.0 - 5e-13) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "the two directions are parallel");
}

/* moved [p] = x - from; its coordinates t on the slice. */
static void place(size_t p, const gm_landscape_slice *s, const double g[2][2], const double *x,
                  const double *from, double *moved, double *t)
{
    double b[2] = {0.0, 0.0};
    for (size_t n = 0; n < p; n++) {
        moved[n] = x[n] - from[n];
    }
    for (size_t a = 0; a < s->dimensions; a++) {
        b[a] = dot(p, s->direction + a * p, moved);
    }
    solve(s->dimensions, g, b, t);
}

/* |moved - sum t_a d_a| */
static double left_over(size_t p, const gm_landscape_slice *s, double *moved, const double *t)
{
    for (size_t a = 0; a < s->dimensions; a++) {
        add(p, -t[a], s->direction + a * p, moved);
    }
    return sqrt(dot(p, moved, moved));
}

gm_status gm_landscape_project(size_t count, size_t p, const double *point,
                               const gm_landscape_slice *slice, double *coordinate,
                               double *distance, double *share, gm_error *err)
{
    double g[2][2] = {{0.0}}, total = 0.0, lost = 0.0;
    gm_status status = gm_landscape_check(slice->dimensions, err);
    if (status == GM_OK) status = gram_of(p, slice, g, err);
    if (status != GM_OK) return status;
    double *work = gm_alloc(2 * p, sizeof *work, "points of a trajectory", err);
    if (!work) return GM_ERR_MEMORY;
    double *mean = work, *moved = work + p;
    mean_of(count, p, point, mean);
    for (size_t i = 0; i < count; i++) {
        double *t = coordinate + i * slice->dimensions, about[2];
        place(p, slice, g, point + i * p, mean, moved, about);
        total += dot(p, moved, moved);
        double off = left_over(p, slice, moved, about);
        lost += off * off;
        place(p, slice, g, point + i * p, slice->origin, moved, t);
        distance[i] = left_over(p, slice, moved, t);
    }
    *share = total > 0.0 ? 1.0 - lost / total : (double)NAN;
    gm_free(work);
    return GM_OK;
}
