/* gradiometer-mpi bench: what a product costs on 1, 2, 4 ... ranks here, and a model of what it
 * would cost on more.
 *
 *   T(N) = c (a + b n / N) + R(N)     n samples, p parameters, N ranks
 *   R(N) = 2 (N - 1) q L + 2 (N - 1) / N 8 p / B
 *
 * a: what a product costs whatever the samples (passes over p numbers), b: per sample, both from
 * two sizes of n on one rank; L and B: latency of a message and bandwidth, both from the team's own
 * sum over two ranks, of one number and of p; q: pieces in which p numbers go; c: how much longer a
 * rank computes when N ranks here compute at once, each for itself, from products of a quarter of
 * the samples: they share memory, caches, the processors' power, and processors where N is more
 * than these. */
#ifndef GM_DIST_BENCH_H
#define GM_DIST_BENCH_H

#include "cli/session.h"
#include "dist/dist.h"

enum { GM_BENCH_TEAMS = 8, GM_BENCH_AHEAD = 8 }; /* 1, 2, 4 ... 128; 8 ... 1024 */

typedef struct gm_rank_settings {
    size_t rounds;
    double latency, bandwidth; /* of the network asked about, seconds and bytes a second; 0: here */
    double samples, parameters; /* of the problem asked about; 0: the one that is timed */
    bool quick;
} gm_rank_settings;

typedef struct gm_rank_model {
    double fixed, sample;      /* a, b in seconds */
    double latency, bandwidth; /* L in seconds, B in bytes a second */
    double flops;              /* a second and rank, of the matrix products in b */
} gm_rank_model;

typedef struct gm_rank_line {
    int ranks;
    double seconds;                          /* of a product: median over the rounds */
    double compute, wait, reduction;         /* means over the ranks, of the same product */
    double slowdown;                         /* c */
    double predicted;                        /* T(ranks) */
    double threads_seconds;                  /* one process with as many threads; 0: not measured */
    double ratio;                            /* of these two, median over the rounds; likewise */
    double ensemble_seconds, ensemble_ratio; /* likewise of an ensemble; 0 for one rank */
} gm_rank_line;

typedef struct gm_rank_bench {
    const gm_rank_settings *settings;
    size_t samples, parameters;
    int processors, threads;
    double full; /* c of the largest team that does not take turns on the processors */
    gm_rank_model model;
    size_t lines;
    gm_rank_line line[GM_BENCH_TEAMS];
} gm_rank_bench;

/* Seconds that N ranks would take, as above; slowdown: the c. */
double gm_rank_reduction(const gm_rank_model *model, int ranks, double parameters);
double gm_rank_predict(const gm_rank_model *model, int ranks, double slowdown, double samples,
                       double parameters);

/* All ranks call it; rank 0 has the figures. */
gm_status gm_rank_measure(gm_dist *dist, const gm_session *session, gm_rank_bench *bench,
                          gm_error *err);
/* Ensembles, likewise. */
gm_status gm_rank_measure_ensembles(gm_cli *cli, gm_dist *dist, gm_rank_bench *bench,
                                    gm_error *err);

gm_status gm_rank_print_json(gm_cli *cli, const gm_session *session, const gm_rank_bench *bench,
                             gm_error *err);
void gm_rank_print_text(const gm_session *session, const gm_rank_bench *bench);

extern const gm_command gm_command_rank_bench;

#endif
