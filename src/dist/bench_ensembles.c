/* Ensembles of the small dense net of `gradiometer bench`, shared out over teams of ranks, against
 * one process with as many threads. */
#include <omp.h>
#include <string.h>

#include "cli/bench.h"
#include "dist/bench.h"
#include "gradiometer/ensemble.h"

enum { BATCH = 50, RUNS = 64, STEPS = 100, QUICK_RUNS = 4, QUICK_STEPS = 5, MOST_ROUNDS = 64 };
#define DEFAULT_MODEL "mlp:50-30-30-10"
#define DEFAULT_DATA  "gauss:k=10,d=50,n=1000"

/* Seconds of a run and step; runs for every processor that works. */
static gm_status time_runs(const gm_session *session, const gm_team *team, int threads, size_t runs,
                           uint64_t steps, double *seconds, gm_error *err)
{
    gm_ensemble_options options;
    gm_ensemble *ensemble = NULL;
    gm_ensemble_options_default(&options);
    options.runs = runs;
    options.train.steps = steps;
    options.train.batch = BATCH;
    options.train.step = 0.1;
    options.team = team;
    omp_set_num_threads(threads);
    gm_status status =
        gm_ensemble_create(session->problem, NULL, &options, session->theta, &ensemble, err);
    if (status == GM_OK) {
        double meet = 0.0;
        gm_team_sum(team, 1, &meet);
        double start = omp_get_wtime();
        status = gm_ensemble_run(ensemble, NULL, err);
        *seconds = (omp_get_wtime() - start) / (double)runs / (double)steps;
    }
    gm_ensemble_free(ensemble);
    return status;
}

static gm_status measure_line(const gm_dist *dist, const gm_session *session,
                              const gm_rank_settings *set, int threads, gm_rank_line *line,
                              gm_error *err)
{
    gm_dist *part = NULL;
    double seconds[MOST_ROUNDS] = {0}, alone[MOST_ROUNDS] = {0}, ratio[MOST_ROUNDS];
    size_t runs = (set->quick ? QUICK_RUNS : RUNS) * (size_t)(line->ranks * threads);
    uint64_t steps = set->quick ? QUICK_STEPS : STEPS;
    gm_status status = gm_dist_part(dist, line->ranks, &part, err);
    for (size_t r = 0; status == GM_OK && r < set->rounds; r++) {
        gm_dist_rest(dist);
        if (part)
            status = time_runs(session, gm_dist_team(part), threads, runs, steps, &seconds[r], err);
        gm_dist_rest(dist);
        if (status != GM_OK || gm_dist_team(dist)->rank > 0) continue;
        status = time_runs(session, NULL, line->ranks * threads, runs, steps, &alone[r], err);
        ratio[r] = alone[r] / seconds[r];
    }
    gm_dist_free(part);
    if (status != GM_OK || gm_dist_team(dist)->rank > 0) return status;
    line->ensemble_seconds = gm_bench_median(set->rounds, seconds);
    line->ensemble_ratio = gm_bench_median(set->rounds, ratio);
    return GM_OK;
}

gm_status gm_rank_measure_ensembles(gm_cli *cli, gm_dist *dist, gm_rank_bench *bench, gm_error *err)
{
    gm_session session = {0};
    const gm_shared shared = cli->shared;
    cli->shared.model = DEFAULT_MODEL;
    cli->shared.data = DEFAULT_DATA;
    cli->shared.params = NULL;
    gm_status status = gm_session_open_in(cli, GM_F32, &session, err);
    cli->shared = shared;
    for (size_t i = 1; status == GM_OK && i < bench->lines; i++) {
        status =
            measure_line(dist, &session, bench->settings, bench->threads, &bench->line[i], err);
    }
    omp_set_num_threads(bench->threads);
    gm_session_close(&session);
    return status;
}
