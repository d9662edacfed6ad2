/* The end of a job. Ranks that fail alike (a bad option, say) meet here at once, and one of them
 * speaks for all. A rank that fails alone waits a little for the others, which may be on their way;
 * if they are not, they wait for it in a sum that will never be complete, and the job is ended. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "dist/comm.h"
#include "dist/solver.h"

enum { GRACE_SECONDS = 2, POLL_NANOSECONDS = 1000000 };

typedef struct verdict {
    int status;
    unsigned words; /* a hash of the message: equal words, equal failures */
} verdict;

static unsigned hash_words(const char *text)
{
    unsigned hash = 2166136261u; /* FNV-1a */
    for (; *text; text++) {
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    }
    return hash;
}

/* Whether all ranks came in time; without a limit it waits for as long as they work. */
static bool meet(const gm_dist *dist, const verdict *mine, verdict *all, bool limited)
{
    MPI_Request request;
    int done = 0;
    double start = MPI_Wtime();
    MPI_Iallgather(mine, sizeof *mine, MPI_BYTE, all, sizeof *mine, MPI_BYTE, dist->ending,
                   &request);
    for (;;) {
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (done) break;
        /* The request stays open, and the job ends. NOLINTNEXTLINE(*-optin.mpi.MPI-Checker) */
        if (limited && MPI_Wtime() - start > GRACE_SECONDS) return false;
        nanosleep(&(struct timespec){.tv_nsec = POLL_NANOSECONDS}, NULL);
    }
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    return true;
}

/* The first rank that failed, or -1; *alike where all did, with the same words. */
static int first_failed(int ranks, const verdict *all, bool *alike)
{
    int first = -1;
    *alike = true;
    for (int r = 0; r < ranks; r++) {
        if (all[r].status != GM_OK && first < 0) first = r;
        if (memcmp(&all[r], &all[0], sizeof *all) != 0) *alike = false;
    }
    return first;
}

static void speak_for_rank(const gm_dist *dist, const char *program, const gm_error *err)
{
    fprintf(stderr, "%s: rank %d of %d: %s\n", program, dist->team.rank, dist->team.size,
            err->message);
    fflush(stderr);
}

int gm_dist_end(gm_dist *dist, const char *program, gm_status status, const gm_error *err)
{
    int code = gm_status_exit(status);
    if (!dist) { /* MPI did not even start */
        fprintf(stderr, "%s: %s\n", program, err->message);
        return code;
    }
    bool alike;
    verdict mine = {status, hash_words(status == GM_OK ? "" : err->message)};
    verdict *all = gm_alloc((size_t)dist->team.size, sizeof *all, "ranks", NULL);
    if (!all || !meet(dist, &mine, all, status != GM_OK)) {
        speak_for_rank(dist, program, err);
        MPI_Abort(MPI_COMM_WORLD, code);
    }
    int failed = first_failed(dist->team.size, all, &alike);
    if (failed == dist->team.rank) {
        if (alike || failed == 0) { /* rank 0: it worked alone */
            fprintf(stderr, "%s: %s\n", program, err->message);
        } else {
            speak_for_rank(dist, program, err);
        }
    }
    if (failed >= 0) code = gm_status_exit((gm_status)all[failed].status);
    gm_free(all);
    gm_dist_row_solver_end();
    gm_dist_free(dist);
    MPI_Finalize();
    return code;
}
