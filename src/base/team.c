#include "gradiometer/team.h"

int gm_team_rank(const gm_team *team)
{
    return team ? team->rank : 0;
}

int gm_team_size(const gm_team *team)
{
    return team ? team->size : 1;
}

int gm_team_here(const gm_team *team)
{
    return team ? team->here : 1;
}

void gm_team_sum(const gm_team *team, size_t count, double *x)
{
    if (gm_team_size(team) > 1) team->sum(team->self, count, x);
}

void gm_team_scatter(const gm_team *team, size_t total, gm_team_reader *read, void *vector,
                     double *own)
{
    if (gm_team_size(team) > 1) {
        team->scatter(team->self, total, read, vector, own);
    } else {
        read(vector, 0, total, own);
    }
}

void gm_team_gather(const gm_team *team, size_t first, size_t bytes, void *all)
{
    if (gm_team_size(team) > 1) team->gather(team->self, first, bytes, all);
}

void gm_team_broadcast(const gm_team *team, size_t bytes, void *data)
{
    if (gm_team_size(team) > 1) team->broadcast(team->self, bytes, data);
}

void gm_team_share(const gm_team *team, size_t total, size_t *first, size_t *count)
{
    size_t size = (size_t)gm_team_size(team), rank = (size_t)gm_team_rank(team);
    size_t each = total / size, larger = total % size;
    *first = rank * each + (rank < larger ? rank : larger);
    *count = each + (rank < larger);
}

int gm_team_odd_one(const gm_team *team, uint64_t number)
{
    uint64_t first = number;
    gm_team_broadcast(team, sizeof first, &first);
    double odd = number != first;
    gm_team_sum(team, 1, &odd);
    if (odd == 0.0) return -1;
    for (int r = 1; r < gm_team_size(team); r++) {
        double is = r == gm_team_rank(team) && number != first;
        gm_team_sum(team, 1, &is);
        if (is > 0.0) return r;
    }
    return -1;
}
