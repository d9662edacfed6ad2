/* Fresh mini-batches at a fixed point, shared out over the ranks: draw j is the same whoever does
 * it. */
#include <string.h>

#include "base/memory.h"
#include "cli/dynamics.h"

enum { SLICE = 16 };

size_t gm_dynamics_slice(const gm_session *session)
{
    return SLICE * (size_t)gm_team_size(session->team);
}

gm_status gm_dynamics_draw(const gm_session *session, const double *theta,
                           const gm_draw_options *options, double *delta, gm_error *err)
{
    gm_draw_options own = *options;
    size_t first, count;
    gm_team_share(session->team, options->draws, &first, &count);
    own.first += first;
    own.draws = count;
    gm_status status = GM_OK;
    if (count > 0) status = gm_step_draw(session->alone, theta, &own, delta + first, err);
    if (status != GM_OK) return status;
    gm_team_gather(session->team, first * sizeof *delta, count * sizeof *delta, delta);
    return GM_OK;
}
