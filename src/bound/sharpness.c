/* Worst-case sharpness: how far the loss rises within a ball around theta.
 *
 * Over the ball of radius R the linearization of f at theta + delta is largest at R g / ||g||, g
 * the gradient there; going to that point again and again never falls where f is convex, and finds
 * the leading eigenvector where it is quadratic. The largest value seen is a lower bound elsewhere.
 */
#include <math.h>

#include "base/memory.h"
#include "bound/measures.h"

typedef struct climb {
    gm_problem *problem;
    const double *theta;
    size_t p;
    const gm_measure_options *o;
    double loss, most;
    double *moved, *gradient; /* [p] */
} climb;

/* Starts at theta + sign R u / ||u||. */
static gm_status climb_from(climb *c, const double *u, double sign, gm_error *err)
{
    const double *direction = u;
    for (size_t step = 0; step < c->o->ascent; step++) {
        double square = 0.0, loss;
        for (size_t j = 0; j < c->p; j++) {
            square += direction[j] * direction[j];
        }
        if (!(square > 0.0 && isfinite(square))) return GM_OK;
        for (size_t j = 0; j < c->p; j++) {
            c->moved[j] = c->theta[j] + sign * c->o->radius / sqrt(square) * direction[j];
        }
        if (c->o->stop && c->o->stop(c->o->context))
            return gm_fail(err, GM_ERR_INTERRUPTED, "interrupted while looking for the sharpness");
        gm_status status = gm_problem_gradient(c->problem, c->moved, &loss, NULL, c->gradient, err);
        if (status != GM_OK) return status;
        double rise = loss - c->loss;
        bool settled = step > 0 && rise <= c->most + 1e-4 * fabs(c->most);
        c->most = fmax(c->most, rise);
        if (settled) return GM_OK;
        direction = c->gradient;
        sign = 1.0;
    }
    return GM_OK;
}

gm_status gm_measure_sharpness(gm_linearization *lin, const double *direction,
                               const gm_measure_options *o, double *value, gm_error *err)
{
    climb c = {.problem = gm_linearization_problem(lin),
               .theta = gm_linearization_theta(lin),
               .o = o,
               .loss = gm_linearization_loss(lin)};
    c.p = gm_problem_parameters(c.problem);
    c.moved = gm_alloc(c.p, sizeof *c.moved, "moved parameters", err);
    c.gradient = gm_alloc(c.p, sizeof *c.gradient, "gradient", err);
    gm_status status = c.moved && c.gradient ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = climb_from(&c, gm_linearization_gradient(lin), 1.0, err);
    if (status == GM_OK && direction) status = climb_from(&c, direction, 1.0, err);
    if (status == GM_OK && direction) status = climb_from(&c, direction, -1.0, err);
    *value = c.most;
    gm_free(c.moved);
    gm_free(c.gradient);
    return status;
}
