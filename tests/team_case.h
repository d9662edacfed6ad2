/* A team whose ranks are threads of the test: what the library does with ranks, without MPI. */
#ifndef TESTS_TEAM_CASE_H
#define TESTS_TEAM_CASE_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "gradiometer/team.h"

enum { TEAM_MOST = 8 };

typedef struct team_meeting {
    int size;
    pthread_barrier_t barrier;
    void *at[TEAM_MOST]; /* each rank's array */
    size_t first[TEAM_MOST], bytes[TEAM_MOST];
} team_meeting;

typedef struct team_rank {
    gm_team team;
    team_meeting *meeting;
    void (*work)(const gm_team *team, void *data);
    void *data;
} team_rank;

static inline void team_sum(void *self, size_t count, double *x)
{
    team_rank *r = self;
    team_meeting *m = r->meeting;
    double *total = malloc((count + 1) * sizeof *total);
    m->at[r->team.rank] = x;
    pthread_barrier_wait(&m->barrier);
    for (size_t i = 0; i < count; i++) {
        total[i] = ((double *)m->at[0])[i];
        for (int other = 1; other < m->size; other++) {
            total[i] += ((double *)m->at[other])[i];
        }
    }
    pthread_barrier_wait(&m->barrier);
    memcpy(x, total, count * sizeof *x);
    free(total);
}

static inline void team_gather(void *self, size_t first, size_t bytes, void *all)
{
    team_rank *r = self;
    team_meeting *m = r->meeting;
    int rank = r->team.rank;
    m->at[rank] = all;
    m->first[rank] = first;
    m->bytes[rank] = bytes;
    pthread_barrier_wait(&m->barrier);
    for (int other = 0; other < m->size; other++) {
        if (other == rank) continue;
        memcpy((char *)all + m->first[other], (char *)m->at[other] + m->first[other],
               m->bytes[other]);
    }
    pthread_barrier_wait(&m->barrier);
}

static inline void team_broadcast(void *self, size_t bytes, void *data)
{
    team_rank *r = self;
    team_meeting *m = r->meeting;
    m->at[r->team.rank] = data;
    pthread_barrier_wait(&m->barrier);
    if (r->team.rank > 0) memcpy(data, m->at[0], bytes);
    pthread_barrier_wait(&m->barrier);
}

static inline void *team_thread(void *self)
{
    team_rank *r = self;
    r->work(&r->team, r->data);
    return NULL;
}

/* Runs work on every rank of a team of that size, with the rank's own data. */
static inline void team_run(int size, void (*work)(const gm_team *team, void *data), void **data)
{
    team_meeting meeting = {.size = size};
    team_rank rank[TEAM_MOST];
    pthread_t thread[TEAM_MOST];
    pthread_barrier_init(&meeting.barrier, NULL, (unsigned)size);
    for (int i = 0; i < size; i++) {
        rank[i] = (team_rank){.team = {.rank = i,
                                       .size = size,
                                       .here = size,
                                       .self = &rank[i],
                                       .sum = team_sum,
                                       .gather = team_gather,
                                       .broadcast = team_broadcast},
                              .meeting = &meeting,
                              .work = work,
                              .data = data[i]};
        pthread_create(&thread[i], NULL, team_thread, &rank[i]);
    }
    for (int i = 0; i < size; i++) {
        pthread_join(thread[i], NULL);
    }
    pthread_barrier_destroy(&meeting.barrier);
}

#endif
