/* The team over MPI.
 *
 * A sum goes piece by piece. Of a piece, rank r owns block r: everybody sends it that block
 * (MPI_Alltoall), it adds the blocks up in the order of the ranks, and its sum goes to everybody
 * (MPI_Allgather). Each number crosses the wire twice, whatever the number of ranks; MPI_Allreduce
 * would cost the same but leaves the order of the additions to the library. */
#include "dist/comm.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"

enum {
    PIECE = GM_DIST_PIECE,
    MESSAGE_BYTES = 1 << 30, /* of one broadcast: MPI counts in int */
    REST_NANOSECONDS = 200000
};

/* ---- waiting and exchanging, told apart ---- */

static double enter(gm_dist *dist)
{
    if (!dist->measuring) return 0.0;
    double start = MPI_Wtime();
    MPI_Barrier(dist->comm);
    double met = MPI_Wtime();
    dist->times.wait += met - start;
    return met;
}

static void leave(gm_dist *dist, double met)
{
    if (!dist->measuring) return;
    dist->times.exchange += MPI_Wtime() - met;
    dist->times.calls++;
}

void gm_dist_measure(gm_dist *dist, bool on)
{
    dist->measuring = on;
    dist->times = (gm_dist_times){0};
}

gm_dist_times gm_dist_times_since(gm_dist *dist)
{
    gm_dist_times times = dist->times;
    dist->times = (gm_dist_times){0};
    return times;
}

/* ---- the team ---- */

/* x [count] of a piece, block numbers for each rank. */
static void sum_piece(gm_dist *dist, size_t count, size_t block, double *x)
{
    size_t ranks = (size_t)dist->team.size;
    double *own = dist->piece, *others = dist->piece + PIECE;
    memcpy(own, x, count * sizeof *x);
    memset(own + count, 0, (block * ranks - count) * sizeof *x);
    MPI_Alltoall(own, (int)block, MPI_DOUBLE, others, (int)block, MPI_DOUBLE, dist->comm);
    for (size_t r = 1; r < ranks; r++) {
        for (size_t i = 0; i < block; i++) {
            others[i] += others[r * block + i];
        }
    }
    MPI_Allgather(others, (int)block, MPI_DOUBLE, own, (int)block, MPI_DOUBLE, dist->comm);
    memcpy(x, own, count * sizeof *x);
}

/* Rows first ... first + count - 1 of a rank's share of the sum. */
typedef struct block {
    size_t first, count;
} block;

static block block_of(const gm_dist *dist, size_t total, int rank, size_t done, size_t most)
{
    gm_team other = dist->team;
    size_t first, count;
    other.rank = rank;
    gm_team_share(&other, total, &first, &count);
    if (done >= count) return (block){0, 0};
    return (block){first + done, count - done < most ? count - done : most};
}

/* In rounds: everybody sends every rank the next block of its rows. */
static void team_scatter(void *self, size_t total, gm_team_reader *read, void *vector, double *own)
{
    gm_dist *dist = self;
    int ranks = dist->team.size;
    size_t most = PIECE / (size_t)ranks, longest = (total + (size_t)ranks - 1) / (size_t)ranks;
    if (most > longest) most = longest;
    double met = enter(dist), *out = dist->piece, *in = dist->piece + PIECE;
    for (size_t done = 0; done < longest; done += most) {
        for (int r = 0; r < ranks; r++) {
            block b = block_of(dist, total, r, done, most);
            if (b.count) read(vector, b.first, b.count, out + (size_t)r * most);
        }
        MPI_Alltoall(out, (int)most, MPI_DOUBLE, in, (int)most, MPI_DOUBLE, dist->comm);
        block mine = block_of(dist, total, dist->team.rank, done, most);
        for (size_t i = 0; i < mine.count; i++) {
            double sum = in[i];
            for (size_t r = 1; r < (size_t)ranks; r++) {
                sum += in[r * most + i];
            }
            own[done + i] = sum;
        }
    }
    leave(dist, met);
}

static void team_sum(void *self, size_t count, double *x)
{
    gm_dist *dist = self;
    size_t ranks = (size_t)dist->team.size, most = PIECE / ranks;
    double met = enter(dist);
    for (size_t first = 0; first < count; first += most * ranks) {
        size_t rest = count - first < most * ranks ? count - first : most * ranks;
        sum_piece(dist, rest, (rest + ranks - 1) / ranks, x + first);
    }
    leave(dist, met);
}

static void send_from(gm_dist *dist, int root, size_t bytes, char *data)
{
    for (size_t first = 0; first < bytes; first += MESSAGE_BYTES) {
        size_t rest = bytes - first < MESSAGE_BYTES ? bytes - first : MESSAGE_BYTES;
        MPI_Bcast(data + first, (int)rest, MPI_BYTE, root, dist->comm);
    }
}

static void team_gather(void *self, size_t first, size_t bytes, void *all)
{
    gm_dist *dist = self;
    unsigned long long mine[2] = {first, bytes};
    double met = enter(dist);
    MPI_Allgather(mine, 2, MPI_UNSIGNED_LONG_LONG, dist->place, 2, MPI_UNSIGNED_LONG_LONG,
                  dist->comm);
    for (int r = 0; r < dist->team.size; r++) {
        send_from(dist, r, (size_t)dist->place[2 * r + 1], (char *)all + dist->place[2 * r]);
    }
    leave(dist, met);
}

static void team_broadcast(void *self, size_t bytes, void *data)
{
    gm_dist *dist = self;
    double met = enter(dist);
    send_from(dist, 0, bytes, data);
    leave(dist, met);
}

const gm_team *gm_dist_team(const gm_dist *dist)
{
    return &dist->team;
}

/* ---- start ---- */

/* How many ranks of these share this one's machine. */
static int ranks_here(MPI_Comm comm)
{
    MPI_Comm here;
    int count = 1;
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &here);
    MPI_Comm_size(here, &count);
    MPI_Comm_free(&here);
    return count;
}

/* A team of the ranks of comm, which it takes over; *made whole or not. */
static gm_status make_team(MPI_Comm comm, gm_dist **made, gm_error *err)
{
    gm_dist *dist = gm_alloc(1, sizeof *dist, "ranks", err);
    *made = dist;
    if (!dist) return GM_ERR_MEMORY;
    dist->comm = comm;
    dist->ending = MPI_COMM_NULL;
    dist->team = (gm_team){.here = ranks_here(comm),
                           .self = dist,
                           .sum = team_sum,
                           .scatter = team_scatter,
                           .gather = team_gather,
                           .broadcast = team_broadcast};
    MPI_Comm_rank(comm, &dist->team.rank);
    MPI_Comm_size(comm, &dist->team.size);
    size_t ranks = (size_t)dist->team.size;
    dist->place = gm_alloc(2 * ranks, sizeof *dist->place, "ranks", err);
    dist->piece = gm_alloc(2 * (size_t)PIECE, sizeof *dist->piece, "a piece of a sum", err);
    if (!dist->place || !dist->piece) return GM_ERR_MEMORY;
    if (ranks > PIECE) return gm_fail(err, GM_ERR_USAGE, "%zu ranks, expected fewer", ranks);
    return GM_OK;
}

void gm_dist_free(gm_dist *dist)
{
    if (!dist) return;
    if (dist->comm != MPI_COMM_NULL) MPI_Comm_free(&dist->comm);
    if (dist->ending != MPI_COMM_NULL) MPI_Comm_free(&dist->ending);
    gm_free(dist->place);
    gm_free(dist->piece);
    gm_free(dist);
}

gm_status gm_dist_start(int *argc, char ***argv, gm_dist **made, gm_error *err)
{
    int provided;
    MPI_Comm comm, ending;
    *made = NULL;
    /* MPI is called by the first thread alone; the others compute. */
    if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
        return gm_fail(err, GM_ERR_DEPENDENCY, "MPI does not start");
    }
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_dup(MPI_COMM_WORLD, &ending);
    gm_status status = make_team(comm, made, err);
    if (*made) (*made)->ending = ending;
    return status;
}

/* ---- some of the ranks ---- */

gm_status gm_dist_part(const gm_dist *whole, int ranks, gm_dist **part, gm_error *err)
{
    MPI_Comm comm;
    int rank = whole->team.rank;
    *part = NULL;
    MPI_Comm_split(whole->comm, rank < ranks ? 0 : MPI_UNDEFINED, rank, &comm);
    return comm == MPI_COMM_NULL ? GM_OK : make_team(comm, part, err);
}

void gm_dist_rest(const gm_dist *dist)
{
    MPI_Request request;
    int done = 0;
    MPI_Ibarrier(dist->comm, &request);
    for (;;) {
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (done) break;
        nanosleep(&(struct timespec){.tv_nsec = REST_NANOSECONDS}, NULL);
    }
}
