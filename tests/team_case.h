/* A team whose ranks are threads of the test: what the library does with ranks, without MPI. */
#ifndef TESTS_TEAM_CASE_H
#define TESTS_TEAM_CASE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "gradiometer/team.h"

enum { TEAM_MOST = 8 };

typedef struct team_meeting {
    int size, waiting;
    unsigned round; /* meetings that were complete */
    bool left;      /* a rank has: nobody is waited for any more */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void *at[TEAM_MOST]; /* each rank's array */
    size_t first[TEAM_MOST], bytes[TEAM_MOST];
} team_meeting;

typedef struct team_rank {
    gm_team team;
    team_meeting *meeting;
    void (*work)(const gm_team *team, void *data);
    void *data;
} team_rank;

/* Waits for all ranks; false where one has left. */
static inline bool team_meet(team_meeting *m)
{
    pthread_mutex_lock(&m->lock);
    unsigned round = m->round;
    if (!m->left && ++m->waiting == m->size) {
        m->waiting = 0;
        m->round++;
        pthread_cond_broadcast(&m->changed);
    }
    while (m->round == round && !m->left) {
        pthread_cond_wait(&m->changed, &m->lock);
    }
    bool complete = m->round != round;
    pthread_mutex_unlock(&m->lock);
    return complete;
}

/* For a rank that fails alone, of a team of two: the other one goes on with what it has, in the
 * place of being ended. */
static inline void team_leave(const gm_team *team)
{
    team_meeting *m = ((team_rank *)team->self)->meeting;
    pthread_mutex_lock(&m->lock);
    m->left = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static inline void team_sum(void *self, size_t count, double *x)
{
    team_rank *r = self;
    team_meeting *m = r->meeting;
    m->at[r->team.rank] = x;
    if (!team_meet(m)) return;
    double *total = malloc((count + 1) * sizeof *total);
    for (size_t i = 0; i < count; i++) {
        total[i] = ((double *)m->at[0])[i];
        for (int other = 1; other < m->size; other++) {
            total[i] += ((double *)m->at[other])[i];
        }
    }
    team_meet(m);
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
    if (!team_meet(m)) return;
    for (int other = 0; other < m->size; other++) {
        if (other == rank) continue;
        memcpy((char *)all + m->first[other], (char *)m->at[other] + m->first[other],
               m->bytes[other]);
    }
    team_meet(m);
}

static inline void team_broadcast(void *self, size_t bytes, void *data)
{
    team_rank *r = self;
    team_meeting *m = r->meeting;
    m->at[r->team.rank] = data;
    if (!team_meet(m)) return;
    if (r->team.rank > 0) memcpy(data, m->at[0], bytes);
    team_meet(m);
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
    pthread_mutex_init(&meeting.lock, NULL);
    pthread_cond_init(&meeting.changed, NULL);
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
    pthread_mutex_destroy(&meeting.lock);
    pthread_cond_destroy(&meeting.changed);
}

#endif
