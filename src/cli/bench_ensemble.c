/* Ensembles of runs: microseconds for a run and step, against the speed of a bare matrix product on
 * the same threads.
 *
 * The full loss is taken in every step. Flops counted: those of the matrix products, one forward
 * pass over all samples and three passes over the batch (two in the first layer); nothing for
 * losses, updates and statistics. */
#include <omp.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/bench.h"
#include "cli/interrupt.h"
#include "gradiometer/ensemble.h"

enum { BATCH = 50, RUNS = 32, STEPS = 100, QUICK_RUNS = 4, QUICK_STEPS = 5, MOST_ROUNDS = 64 };
#define DEFAULT_MODEL "mlp:50-30-30-10"
#define DEFAULT_DATA  "gauss:k=10,d=50,n=1000"

/* Seconds for one run and step of an ensemble of so many runs. */
static gm_status time_runs(const gm_session *session, size_t runs, uint64_t steps, bool general,
                           gm_bench_ensemble *out, double *seconds, gm_error *err)
{
    gm_ensemble_options options;
    gm_ensemble *ensemble = NULL;
    gm_ensemble_options_default(&options);
    options.runs = runs;
    options.train.steps = steps;
    options.train.batch = out->batch;
    options.train.step = 0.1;
    options.general = general;
    gm_status status =
        gm_ensemble_create(session->problem, NULL, &options, session->theta, &ensemble, err);
    if (status == GM_OK) {
        double start = omp_get_wtime();
        status = gm_ensemble_run(ensemble, NULL, err);
        *seconds = (omp_get_wtime() - start) / (double)runs / (double)steps;
        if (!general) out->tiled = gm_ensemble_tiled(ensemble);
        if (!general) out->flops = gm_ensemble_flops(ensemble);
    }
    gm_ensemble_free(ensemble);
    return status;
}

static gm_status measure(const gm_bench *bench, const gm_session *session, gm_bench_ensemble *out,
                         gm_error *err)
{
    double few[MOST_ROUNDS], many[MOST_ROUNDS], square[MOST_ROUNDS], problem[MOST_ROUNDS];
    bool quick = bench->settings->quick;
    size_t rounds = bench->settings->rounds < MOST_ROUNDS ? bench->settings->rounds : MOST_ROUNDS;
    out->steps = quick ? QUICK_STEPS : STEPS;
    out->runs[0] = quick ? QUICK_RUNS : RUNS;
    out->runs[1] = 4 * out->runs[0];
    gm_progress progress;
    gm_progress_start(&progress, "bench ensemble", "rounds", 0, rounds, bench->quiet);
    gm_status status = GM_OK;
    for (size_t r = 0; status == GM_OK && r < rounds; r++) {
        status = gm_bench_square_speed(session->precision, quick, &square[r], err);
        if (status == GM_OK)
            status = time_runs(session, out->runs[0], out->steps, false, out, &few[r], err);
        if (status == GM_OK)
            status = time_runs(session, out->runs[1], out->steps, false, out, &many[r], err);
        if (status == GM_OK)
            status = time_runs(session, out->runs[0], out->steps, true, out, &problem[r], err);
        if (status == GM_OK && gm_interrupt_requested(NULL)) status = GM_ERR_INTERRUPTED;
        gm_progress_update(&progress, r + 1, NULL);
    }
    gm_progress_finish(&progress);
    if (status != GM_OK) return status;
    out->square_speed = gm_bench_median(rounds, square);
    out->seconds[0] = gm_bench_median(rounds, few);
    out->seconds[1] = gm_bench_median(rounds, many);
    out->problem_seconds = gm_bench_median(rounds, problem);
    return GM_OK;
}

gm_status gm_bench_measure_ensemble(gm_cli *cli, const gm_bench *bench, gm_bench_ensemble *out,
                                    gm_error *err)
{
    gm_session session = {0};
    const gm_shared shared = cli->shared;
    bool own = !gm_cli_given(cli, "model") && !gm_cli_given(cli, "params");
    if (own) cli->shared.model = DEFAULT_MODEL;
    if (own && !gm_cli_given(cli, "data")) cli->shared.data = DEFAULT_DATA;
    gm_dtype precision = gm_cli_given(cli, "precision") ? shared.precision : GM_F32;
    gm_status status = gm_session_open_in(cli, precision, &session, err);
    cli->shared = shared;
    if (status == GM_OK) {
        *out = (gm_bench_ensemble){.precision = precision,
                                   .parameters = gm_net_parameters(session.net),
                                   .samples = session.data->n,
                                   .batch = BATCH};
        snprintf(out->model, sizeof out->model, "%s", gm_net_name(session.net));
        status = measure(bench, &session, out, err);
    }
    gm_session_close(&session);
    return status;
}
