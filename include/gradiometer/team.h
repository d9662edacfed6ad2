/* Processes that compute one thing together, each a rank 0 ... size - 1 of a team. The library
 * knows no way to send anything: whoever does fills the struct (src/dist over MPI). NULL is the
 * team of one, and the functions below have nothing to send for it.
 *
 * All ranks call the same functions in the same order. What they get is the same to the bit at
 * every rank and does not depend on timing. Nothing here fails: where a rank is lost, the team's
 * maker ends the whole job. */
#ifndef GRADIOMETER_TEAM_H
#define GRADIOMETER_TEAM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Entries first ... first + count - 1 of a rank's vector, into x [count]. */
typedef void gm_team_reader(void *vector, size_t first, size_t count, double *x);

typedef struct gm_team gm_team;
struct gm_team {
    int rank, size;
    int here;   /* ranks on this rank's machine, which share its memory and processors */
    void *self; /* the maker's data */
    /* x [count] = the ranks' x added up in the order of the ranks, at all of them. */
    void (*sum)(void *self, size_t count, double *x);
    /* own [share] = the rank's share (gm_team_share) of the sum, in the order of the ranks, of
     * vectors [total] of which each rank's is read in pieces. */
    void (*scatter)(void *self, size_t total, gm_team_reader *read, void *vector, double *own);
    /* Every rank has put its bytes, of a number of its own, at all + first; afterwards those of all
     * ranks are there. */
    void (*gather)(void *self, size_t first, size_t bytes, void *all);
    /* data [bytes] = that of rank 0. */
    void (*broadcast)(void *self, size_t bytes, void *data);
};

int gm_team_rank(const gm_team *team); /* 0 without a team */
int gm_team_size(const gm_team *team); /* 1 without a team */
int gm_team_here(const gm_team *team); /* 1 without a team */
void gm_team_sum(const gm_team *team, size_t count, double *x);
void gm_team_scatter(const gm_team *team, size_t total, gm_team_reader *read, void *vector,
                     double *own);
void gm_team_gather(const gm_team *team, size_t first, size_t bytes, void *all);
void gm_team_broadcast(const gm_team *team, size_t bytes, void *data);

/* The rank's share of total things: *count of them from *first on; contiguous, in the order of the
 * ranks, none larger by more than one. The last ranks have none where there are too few. */
void gm_team_share(const gm_team *team, size_t total, size_t *first, size_t *count);

/* The first rank whose number is not that of rank 0; -1 where all are equal. */
int gm_team_odd_one(const gm_team *team, uint64_t number);

#ifdef __cplusplus
}
#endif
#endif
