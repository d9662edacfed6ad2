/* gradiometer-mpi bench: the command. */
#include "dist/bench.h"

#include <omp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"

#define DEFAULT_MODEL "mlp:784-512-512-10"
enum { DEFAULT_SAMPLES = 10000, QUICK_SAMPLES = 200, MOST_ROUNDS = 64 };

static const gm_rank_settings rank_defaults = {.rounds = 5};

#define AT(field) offsetof(gm_rank_settings, field)

/* Microseconds and GB/s are what networks are sold in. */
static gm_status parse_latency(const gm_option *o, const char *text, void *target, gm_error *err)
{
    gm_status status = gm_option_positive(o, text, target, err);
    *(double *)target *= 1e-6;
    return status;
}

static gm_status parse_bandwidth(const gm_option *o, const char *text, void *target, gm_error *err)
{
    gm_status status = gm_option_positive(o, text, target, err);
    *(double *)target *= 1e9;
    return status;
}

static const gm_option rank_options[] = {
    {"rounds", 0, "N", "Measure N times, in turn, and report medians. Default: 5.", gm_option_count,
     AT(rounds), NULL, MOST_ROUNDS},
    {"for-samples", 0, "N", "Say what more ranks would do with N samples. Default: those timed.",
     gm_option_positive, AT(samples), NULL, 0},
    {"for-parameters", 0, "P",
     "And with P parameters, in layers like those of the net that is timed. Default: its own.",
     gm_option_positive, AT(parameters), NULL, 0},
    {"latency", 0, "US",
     "Microseconds that a message takes on the network asked about. Default: as measured here, "
     "between ranks on one machine where there is only one.",
     parse_latency, AT(latency), NULL, 0},
    {"bandwidth", 0, "GBS", "GB/s of that network, for each rank. Default: likewise.",
     parse_bandwidth, AT(bandwidth), NULL, 0},
    {"quick", 0, NULL,
     "One round, 200 synthetic samples and short ensembles, where these are not given: to see that "
     "everything works, not how fast it is.",
     gm_option_flag, AT(quick), NULL, 0},
    {0}};

/* The default model on synthetic data of its shape, in *data (the caller's). */
static gm_status default_problem(gm_cli *cli, const gm_rank_settings *set, char **data,
                                 gm_error *err)
{
    gm_net *net = NULL;
    if (!cli->shared.model) cli->shared.model = DEFAULT_MODEL;
    if (cli->shared.data) return GM_OK;
    if (gm_net_spec_asks_data(cli->shared.model) || gm_onnx_names_model(cli->shared.model))
        return gm_cli_require(cli, "data", err);
    gm_status status = gm_net_from_spec(cli->shared.model, NULL, 0, &net, err);
    if (status != GM_OK) return status;
    *data = gm_format(err, "gauss:k=%zu,d=%zu,n=%d", gm_net_outputs(net), gm_net_inputs(net),
                      set->quick ? QUICK_SAMPLES : DEFAULT_SAMPLES);
    gm_net_free(net);
    cli->shared.data = *data;
    return *data ? GM_OK : GM_ERR_MEMORY;
}

static void note_load(gm_cli *cli, const gm_rank_bench *bench)
{
    double load = -1;
    if (getloadavg(&load, 1) == 1 && load > 0.5)
        gm_cli_note(cli, "load average %.2f at the start: other programs may disturb the figures",
                    load);
    if (bench->line[bench->lines - 1].ranks * bench->threads > bench->processors)
        gm_cli_note(cli, "%d processors: the ranks of the larger teams take turns on them",
                    bench->processors);
    int allowed = omp_get_num_procs();
    if (bench->lines > 1 && allowed < bench->processors)
        gm_cli_note(
            cli,
            "rank 0 is bound to %d of %d processors, as mpirun does by itself, and so are "
            "the threads that the ranks are compared with; mpirun --bind-to none frees them",
            allowed, bench->processors);
}

static gm_status measure(gm_cli *cli, const gm_session *session, gm_rank_bench *bench,
                         gm_error *err)
{
    gm_dist *dist = cli->team->self;
    gm_status status = gm_rank_measure(dist, session, bench, err);
    if (status == GM_OK) status = gm_rank_measure_ensembles(cli, dist, bench, err);
    if (status != GM_OK || cli->silent) return status;
    note_load(cli, bench);
    if (cli->shared.json) return gm_rank_print_json(cli, session, bench, err);
    gm_rank_print_text(session, bench);
    return GM_OK;
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    gm_rank_settings *set = cli->settings;
    gm_session session = {0};
    char *data = NULL;
    if (!cli->team) {
        return gm_fail(err, GM_ERR_USAGE,
                       "bench: found 1 rank, expected more (mpirun -n 4 gradiometer-mpi bench); "
                       "'gradiometer bench' times one process");
    }
    if (set->quick && !gm_cli_given(cli, "rounds")) set->rounds = 1;
    gm_status status = default_problem(cli, set, &data, err);
    if (status == GM_OK) status = gm_session_open(cli, &session, err);
    if (status == GM_OK) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        gm_rank_bench bench = {.settings = set,
                               .samples = session.data->n,
                               .parameters = gm_net_parameters(session.net),
                               .processors = processors > 0 ? (int)processors : 1,
                               .threads = session.threads};
        gm_cli_begin(cli);
        status = measure(cli, &session, &bench, err);
    }
    gm_session_close(&session);
    gm_free(data);
    return status;
}

static gm_sharing sharing(const gm_cli *cli)
{
    (void)cli;
    return GM_SHARING_TIMED;
}

const gm_command gm_command_rank_bench = {
    .name = "bench",
    .summary = "time products and ensembles on 1, 2, 4 ... ranks, and say what more would do",
    .usage = "[--model SPEC] [--data SPEC] [OPTION]...",
    .description =
        "Times one product with the Hessian H on teams of 1, 2, 4 ... of the ranks that mpirun "
        "started, and on one process with as many threads: how long each rank computes, waits for "
        "the last one, and joins its sums with the others'. Ensembles of runs likewise. Ranks that "
        "are not asked sleep.\n\n"
        "From these it fits what a product costs: a part that does not depend on the samples, a "
        "part for each of them, the latency of a message and the bandwidth; and says what 8 to "
        "1,024 ranks would do, here or on a network of another --latency and --bandwidth. What it "
        "says of the teams that were timed stands beside what was timed.\n\n"
        "Without --model and --data it takes " DEFAULT_MODEL
        " and 10,000 synthetic samples. 'gradiometer bench' times everything else.",
    .examples =
        "  mpirun -n 4 gradiometer-mpi bench --threads 1\n"
        "  mpirun -n 2 gradiometer-mpi bench --for-samples 1e6 --latency 2 --bandwidth 12\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA,
    .options = rank_options,
    .settings_size = sizeof(gm_rank_settings),
    .defaults = &rank_defaults,
    .run = run,
    .sharing = sharing,
};
