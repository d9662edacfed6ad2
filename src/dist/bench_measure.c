/* Times of products by teams of 1, 2, 4 ... ranks, and by one process with as many threads; in turn
 * within a round, so that a disturbance hits all of them. Ranks that are not asked sleep. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "cli/bench.h"
#include "dist/bench.h"
#include "gradiometer/curvature.h"
#include "gradiometer/ensemble.h"
#include "gradiometer/random.h"

enum { MOST_ROUNDS = 64, LATENCY_CALLS = 400, BANDWIDTH_CALLS = 10 };

/* One way of making a product. */
typedef struct way {
    int ranks, threads;
    gm_dist *part; /* NULL: this rank alone */
    bool member;   /* this rank takes part */
    gm_dataset *data;
    gm_problem *problem;
    gm_linearization *lin;
    gm_operator op;
    double seconds[MOST_ROUNDS];
    gm_dist_times times[MOST_ROUNDS];
} way;

static void close_way(way *w)
{
    gm_operator_destroy(&w->op);
    gm_linearization_free(w->lin);
    gm_problem_free(w->problem);
    gm_dataset_free(w->data);
    gm_dist_free(w->part);
    memset(w, 0, sizeof *w);
}

/* The first samples of the data as a set of their own. */
static gm_status first_samples(const gm_dataset *data, size_t count, gm_dataset **few,
                               gm_error *err)
{
    size_t *index = gm_alloc(count, sizeof *index, "samples", err);
    if (!index) return GM_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        index[i] = i;
    }
    gm_status status = gm_dataset_select(data, count, index, "some", few, err);
    gm_free(index);
    return status;
}

static gm_status open_way(const gm_dist *dist, const gm_session *session, int ranks, int threads,
                          size_t samples, bool together, way *w, gm_error *err)
{
    gm_problem_options options;
    gm_status status = GM_OK;
    *w = (way){.ranks = ranks, .threads = threads};
    if (together && ranks > 1) status = gm_dist_part(dist, ranks, &w->part, err);
    w->member = gm_dist_team(dist)->rank < ranks;
    if (status != GM_OK || !w->member) return status;
    if (samples < session->data->n) status = first_samples(session->data, samples, &w->data, err);
    gm_problem_options_default(&options);
    options.loss = session->loss_kind;
    options.memory = gm_session_memory(session);
    options.team = w->part ? gm_dist_team(w->part) : NULL;
    omp_set_num_threads(threads);
    if (status == GM_OK)
        status = gm_problem_create(session->net, w->data ? w->data : session->data, &options,
                                   &w->problem, err);
    if (status == GM_OK) status = gm_linearize(w->problem, session->theta, &w->lin, err);
    if (status != GM_OK) return status;
    return gm_curvature_operator(w->lin, GM_HESSIAN, GM_ALL_LAYERS, &w->op, err);
}

/* One product; everybody's clock starts when the last one is there. */
static gm_status time_way(const gm_dist *dist, way *w, size_t round, const double *v, double *av,
                          gm_error *err)
{
    gm_status status = GM_OK;
    gm_dist_rest(dist);
    if (!w->member) return GM_OK;
    omp_set_num_threads(w->threads);
    if (w->part) {
        double meet = 0.0;
        gm_team_sum(gm_dist_team(w->part), 1, &meet);
        gm_dist_measure(w->part, true);
    }
    double start = omp_get_wtime();
    status = gm_operator_apply(&w->op, 1, v, av, err);
    w->seconds[round] = omp_get_wtime() - start;
    if (w->part) {
        w->times[round] = gm_dist_times_since(w->part);
        gm_dist_measure(w->part, false);
    }
    return status;
}

/* Means over the ranks of what the median round was made of. */
static void split_time(const way *w, size_t rounds, gm_rank_line *line)
{
    double wait[MOST_ROUNDS], exchange[MOST_ROUNDS], seconds[MOST_ROUNDS], mean[3];
    for (size_t r = 0; r < rounds; r++) {
        seconds[r] = w->seconds[r];
        wait[r] = w->times[r].wait;
        exchange[r] = w->times[r].exchange;
    }
    mean[0] = gm_bench_median(rounds, wait);
    mean[1] = gm_bench_median(rounds, exchange);
    mean[2] = gm_bench_median(rounds, seconds);
    if (w->part) gm_team_sum(gm_dist_team(w->part), 3, mean);
    line->wait = mean[0] / w->ranks;
    line->reduction = mean[1] / w->ranks;
    line->seconds = mean[2] / w->ranks;
    line->compute = line->seconds - line->wait - line->reduction;
}

static double median_ratio(size_t rounds, const double *above, const double *below)
{
    double ratio[MOST_ROUNDS];
    for (size_t r = 0; r < rounds; r++) {
        ratio[r] = above[r] / below[r];
    }
    return gm_bench_median(rounds, ratio);
}

/* ---- the network ---- */

/* Least seconds of the team's sum of `count` numbers: what others do on the machine is not the
 * network's. */
static double time_sum(const gm_team *team, size_t count, double *x, size_t calls)
{
    double least = (double)INFINITY;
    for (size_t i = 0; i < calls; i++) {
        double start = omp_get_wtime();
        gm_team_sum(team, count, x);
        least = fmin(least, omp_get_wtime() - start);
    }
    return least;
}

/* L and B, from R(2) = 2 q L + 8 p / B. */
static void measure_network(const gm_team *team, size_t p, double *x, gm_rank_model *model)
{
    memset(x, 0, p * sizeof *x);
    model->latency = 0.5 * time_sum(team, 1, x, LATENCY_CALLS);
    gm_rank_model unit = {.latency = model->latency, .bandwidth = (double)INFINITY};
    double rest = time_sum(team, p, x, BANDWIDTH_CALLS) - gm_rank_reduction(&unit, 2, (double)p);
    model->bandwidth = rest > 0.0 ? (double)sizeof(double) * (double)p / rest : (double)INFINITY;
}

/* ---- products ---- */

enum { WAYS = 2 * GM_BENCH_TEAMS };

/* All that is timed. */
typedef struct ways {
    way way[WAYS]; /* the teams, then one process with as many threads for each of them */
    way small;     /* a quarter of the samples, every rank for itself */
    double at_once[GM_BENCH_TEAMS][MOST_ROUNDS]; /* of it, by as many ranks as the teams have */
} ways;

static gm_status open_ways(const gm_dist *dist, const gm_session *session, gm_rank_bench *bench,
                           ways *w, gm_error *err)
{
    gm_status status = GM_OK;
    int size = gm_dist_team(dist)->size;
    for (int ranks = 1; status == GM_OK && ranks <= size && bench->lines < GM_BENCH_TEAMS;
         ranks *= 2) {
        size_t i = bench->lines++;
        bench->line[i].ranks = ranks;
        status =
            open_way(dist, session, ranks, bench->threads, bench->samples, true, &w->way[i], err);
        if (status != GM_OK || ranks == 1) continue;
        status = open_way(dist, session, 1, ranks * bench->threads, bench->samples, true,
                          &w->way[GM_BENCH_TEAMS + i], err);
    }
    if (status != GM_OK) return status;
    return open_way(dist, session, size, bench->threads, (bench->samples + 3) / 4, false, &w->small,
                    err);
}

/* The small product by the first ranks at once. */
static gm_status time_at_once(const gm_dist *dist, const gm_rank_line *line, ways *w, size_t i,
                              size_t round, const double *v, double *av, gm_error *err)
{
    way *small = &w->small;
    small->member = gm_dist_team(dist)->rank < line->ranks;
    gm_status status = time_way(dist, small, round, v, av, err);
    w->at_once[i][round] = small->member ? small->seconds[round] : 0.0;
    return status;
}

static gm_status run_rounds(const gm_dist *dist, const gm_rank_bench *bench, ways *w, double *v,
                            double *av, gm_error *err)
{
    gm_status status = GM_OK;
    for (int warm = 1; warm >= 0; warm--) { /* the first round counts for nothing */
        for (size_t r = 0; status == GM_OK && r < (warm ? 1 : bench->settings->rounds); r++) {
            for (size_t i = 0; status == GM_OK && i < WAYS; i++) {
                if (w->way[i].ranks) status = time_way(dist, &w->way[i], r, v, av, err);
            }
            for (size_t i = 0; status == GM_OK && i < bench->lines; i++) {
                status = time_at_once(dist, &bench->line[i], w, i, r, v, av, err);
            }
        }
    }
    return status;
}

/* c of every team, means over its ranks; *alone: seconds of the small product on one rank. */
static void find_slowdowns(const gm_dist *dist, ways *w, gm_rank_bench *bench, double *alone)
{
    for (size_t i = 0; i < bench->lines; i++) {
        gm_rank_line *line = &bench->line[i];
        double mean = gm_bench_median(bench->settings->rounds, w->at_once[i]);
        gm_team_sum(gm_dist_team(dist), 1, &mean);
        mean /= line->ranks;
        if (i == 0) *alone = mean;
        line->slowdown = mean / *alone;
        if (i == 0 || line->ranks * bench->threads <= bench->processors)
            bench->full = line->slowdown;
    }
}

static void evaluate(const gm_session *session, ways *w, double alone, gm_rank_bench *bench)
{
    size_t rounds = bench->settings->rounds;
    double n = (double)bench->samples, quarter = (double)((bench->samples + 3) / 4);
    gm_rank_model *m = &bench->model;
    m->sample = n > quarter ? (bench->line[0].seconds - alone) / (n - quarter) : 0.0;
    if (m->sample < 0.0) m->sample = 0.0; /* by a disturbance */
    m->fixed = bench->line[0].seconds - m->sample * n;
    if (m->fixed < 0.0) {
        m->fixed = 0.0;
        m->sample = bench->line[0].seconds / n;
    }
    m->flops = gm_bench_hessian_flops(session) / (m->sample * n);
    for (size_t i = 0; i < bench->lines; i++) {
        gm_rank_line *line = &bench->line[i];
        double *threads = w->way[GM_BENCH_TEAMS + i].seconds;
        line->predicted =
            gm_rank_predict(m, line->ranks, line->slowdown, n, (double)bench->parameters);
        if (i == 0) continue;
        line->ratio = median_ratio(rounds, threads, w->way[i].seconds);
        line->threads_seconds = gm_bench_median(rounds, threads);
    }
}

gm_status gm_rank_measure(gm_dist *dist, const gm_session *session, gm_rank_bench *bench,
                          gm_error *err)
{
    size_t p = bench->parameters;
    ways *w = gm_alloc(1, sizeof *w, "bench", err);
    double *v = gm_alloc(2 * p, sizeof *v, "bench", err);
    gm_status status = w && v ? open_ways(dist, session, bench, w, err) : GM_ERR_MEMORY;
    if (status == GM_OK) {
        gm_normal_fill(gm_stream_of(session->seed, GM_PURPOSE_TEST, 0), 0, p, v);
        status = run_rounds(dist, bench, w, v, v + p, err);
    }
    if (status == GM_OK) {
        gm_dist_rest(dist);
        const way *two = &w->way[1];
        if (two->member) measure_network(gm_dist_team(two->part), p, v, &bench->model);
        for (size_t i = 0; i < bench->lines; i++) {
            gm_dist_rest(dist);
            const way *team = &w->way[i];
            if (team->member) split_time(team, bench->settings->rounds, &bench->line[i]);
        }
        gm_dist_rest(dist);
        double alone = 0.0;
        find_slowdowns(dist, w, bench, &alone);
        if (gm_dist_team(dist)->rank == 0) evaluate(session, w, alone, bench);
    }
    for (size_t i = 0; w && i < WAYS; i++) {
        close_way(&w->way[i]);
    }
    if (w) close_way(&w->small);
    omp_set_num_threads(bench->threads);
    gm_free(w);
    gm_free(v);
    return status;
}
