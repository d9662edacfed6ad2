/* gradiometer bench: how fast the products and the solvers are on this machine. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/bench.h"
#include "cli/interrupt.h"

#define DEFAULT_MODEL "mlp:784-512-512-10"
enum { DEFAULT_SAMPLES = 2000, QUICK_SAMPLES = 200, QUICK_PROBES = 2, QUICK_STEPS = 20 };

static const gm_bench_settings bench_defaults = {.parts = GM_BENCH_PRODUCTS | GM_BENCH_EIGENPAIRS |
                                                          GM_BENCH_DENSITY,
                                                 .rounds = 5,
                                                 .k = 10,
                                                 .probes = 10,
                                                 .steps = 80};

static const struct part {
    const char *name;
    unsigned bit;
} parts[] = {{"products", GM_BENCH_PRODUCTS}, {"eigenpairs", GM_BENCH_EIGENPAIRS},
             {"density", GM_BENCH_DENSITY},   {"dense", GM_BENCH_DENSE},
             {"series", GM_BENCH_SERIES},     {"ensemble", GM_BENCH_ENSEMBLE}};

/* The bit of the part named by text[length], 0 where there is none. */
static unsigned part_bit(const char *text, size_t length)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strlen(parts[i].name) == length && strncmp(parts[i].name, text, length) == 0) {
            return parts[i].bit;
        }
    }
    return 0;
}

/* unsigned; comma-separated names of parts. */
static gm_status parse_parts(const gm_option *o, const char *text, void *target, gm_error *err)
{
    unsigned found = 0;
    for (const char *word = text;;) {
        size_t length = strcspn(word, ",");
        unsigned bit = part_bit(word, length);
        if (!bit || (found & bit)) {
            return gm_fail(err, GM_ERR_USAGE,
                           "--%s: found '%.*s'%s, expected some of products, eigenpairs, density, "
                           "dense, series, ensemble",
                           o->name, (int)length, word, bit ? " twice" : "");
        }
        found |= bit;
        word += length;
        if (!*word) break;
        word++;
    }
    *(unsigned *)target = found;
    return GM_OK;
}

#define AT(field) offsetof(gm_bench_settings, field)

static const gm_option bench_options[] = {
    {"parts", 0, "LIST",
     "What to time, separated by commas: products (H, G, M and the gradient beside the bare matrix "
     "products of the same shapes), eigenpairs (the K largest of H), density (stochastic Lanczos "
     "quadrature of H), dense (the matrix H and all its eigenvalues), series (the eigenpairs at "
     "every checkpoint of the run file in --params, each from nothing and from the one before), "
     "ensemble (runs of SGD with the full loss in every step; of mlp:50-30-30-10 on 1,000 "
     "synthetic "
     "samples in f32 unless --model and --precision say otherwise). "
     "Default: products,eigenpairs,density.",
     parse_parts, AT(parts), NULL, 0},
    {"rounds", 0, "N",
     "Measure products, eigenpairs and dense matrices N times, in turn, and report medians. "
     "Default: 5.",
     gm_option_count, AT(rounds), NULL, 1000000},
    {"k", 'k', "K", "Number of eigenpairs. Default: 10.", gm_option_count, AT(k), NULL, 0},
    {"probes", 0, "N", "Random vectors of the density. Default: 10.", gm_option_count, AT(probes),
     NULL, 0},
    {"steps", 0, "N", "Lanczos steps for each of them. Default: 80.", gm_option_count, AT(steps),
     NULL, 0},
    {"quick", 0, NULL,
     "One round, a density of 2 probes and 20 steps, 200 synthetic samples, where these are not "
     "given: to see that everything works, not how fast it is.",
     gm_option_flag, AT(quick), NULL, 0},
    {0}};

/* ---- defaults and checks ---- */

static void shorten(const gm_cli *cli, gm_bench_settings *set)
{
    if (!set->quick) return;
    if (!gm_cli_given(cli, "rounds")) set->rounds = 1;
    if (!gm_cli_given(cli, "probes")) set->probes = QUICK_PROBES;
    if (!gm_cli_given(cli, "steps")) set->steps = QUICK_STEPS;
}

/* The default model, and synthetic data of the model's shape in *data (the caller's); a run file in
 * --params has both and takes precedence (session.h). */
static gm_status default_problem(gm_cli *cli, const gm_bench_settings *set, char **data,
                                 gm_error *err)
{
    gm_net *net = NULL;
    size_t samples = set->quick ? QUICK_SAMPLES : DEFAULT_SAMPLES;
    if (!cli->shared.model) cli->shared.model = DEFAULT_MODEL;
    if (cli->shared.data) return GM_OK;
    bool asks = gm_net_spec_asks_data(cli->shared.model) || gm_onnx_names_model(cli->shared.model);
    if (asks) return gm_cli_require(cli, "data", err);
    gm_status status = gm_net_from_spec(cli->shared.model, NULL, 0, &net, err);
    if (status != GM_OK) return status;
    *data =
        gm_format(err, "gauss:k=%zu,d=%zu,n=%zu", gm_net_outputs(net), gm_net_inputs(net), samples);
    gm_net_free(net);
    cli->shared.data = *data;
    return *data ? GM_OK : GM_ERR_MEMORY;
}

static gm_status check_series(const gm_session *session, gm_error *err)
{
    int64_t *step = NULL;
    size_t count = 0;
    if (session->run) {
        gm_status status = gm_run_checkpoints(session->run, &step, &count, err);
        gm_run_free(step);
        if (status != GM_OK) return status;
    }
    if (count >= 2) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--parts: series needs a run file in --params with at least two checkpoints, "
                   "found %zu",
                   count);
}

/* GM_ERR_MEMORY where a solver's vectors of p numbers exceed the budget. */
static gm_status check_basis(const gm_session *session, const char *what, size_t bytes,
                             gm_error *err)
{
    size_t p = gm_net_parameters(session->net);
    return gm_session_check_matrix(session, what, 1, bytes / (p * sizeof(double)) + 1, p, err);
}

static gm_status check_memory(const gm_session *session, const gm_bench_settings *set, double tol,
                              gm_error *err)
{
    size_t p = gm_net_parameters(session->net);
    gm_eigen_options options;
    gm_eigen_options_default(&options);
    options.k = set->k;
    options.tol = tol;
    gm_eigen_fit(p, (double)gm_session_memory(session), &options);
    gm_status status = GM_OK;
    if (set->parts & GM_BENCH_DENSE) {
        status = gm_session_check_matrix(session, "the matrix", 1, p, p, err);
    }
    if (status == GM_OK && (set->parts & (GM_BENCH_EIGENPAIRS | GM_BENCH_SERIES))) {
        status =
            check_basis(session, "the basis of the eigenpairs", gm_eigen_bytes(p, &options), err);
    }
    if (status == GM_OK && (set->parts & GM_BENCH_SERIES)) {
        status = check_basis(session, "the basis that follows the eigenpairs",
                             gm_eigen_track_bytes(p, &options, set->k), err);
    }
    if (status == GM_OK && (set->parts & GM_BENCH_DENSITY)) {
        size_t steps = set->steps < p ? set->steps : p;
        status = gm_session_check_matrix(session, "the basis of the density", 1, steps + 2, p, err);
    }
    return status;
}

static gm_status check(const gm_session *session, const gm_bench_settings *set, double tol,
                       gm_error *err)
{
    size_t p = gm_net_parameters(session->net);
    if ((set->parts & (GM_BENCH_EIGENPAIRS | GM_BENCH_SERIES)) && set->k > p) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--k: found %zu, expected at most %zu, the parameters of %s", set->k, p,
                       gm_net_name(session->net));
    }
    double floor = gm_eigen_floor(session->precision);
    if (tol < floor || tol > 1) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--tol: found %g, expected %.2g to 1: products in %s are no more exact", tol,
                       floor, gm_dtype_name(session->precision));
    }
    gm_status status = GM_OK;
    if (set->parts & GM_BENCH_SERIES) status = check_series(session, err);
    return status == GM_OK ? check_memory(session, set, tol, err) : status;
}

/* Load average of the last minute, below 0 where the system does not tell; a busy machine is
 * noted. */
static double note_load(gm_cli *cli)
{
    double load = -1;
    if (getloadavg(&load, 1) != 1) return -1;
    if (load > 0.5) {
        gm_cli_note(cli, "load average %.2f at the start: other programs may disturb the figures",
                    load);
    }
    return load;
}

/* ---- run ---- */

/* Products in the other precision, of which nothing else is measured. */
static gm_status measure_other(gm_cli *cli, const gm_bench *bench, gm_dtype precision,
                               gm_bench_products *out, gm_error *err)
{
    gm_session session = {0};
    gm_bench other = *bench;
    other.session = &session;
    other.lin = NULL;
    gm_status status = gm_session_open_in(cli, precision, &session, err);
    if (status == GM_OK) status = gm_linearize(session.problem, session.theta, &other.lin, err);
    if (status == GM_OK) status = gm_bench_measure_products(&other, out, err);
    gm_linearization_free(other.lin);
    gm_session_close(&session);
    return status;
}

static gm_status measure(gm_cli *cli, const gm_bench *bench, gm_bench_results *r, gm_error *err)
{
    unsigned asked = bench->settings->parts;
    gm_status status = GM_OK;
    r->precisions = 1;
    r->precision[0] = bench->session->precision;
    if (asked & GM_BENCH_PRODUCTS) {
        status = gm_bench_measure_products(bench, r->products, err);
        if (status == GM_OK && !gm_cli_given(cli, "precision")) {
            r->precisions = 2;
            r->precision[1] = r->precision[0] == GM_F32 ? GM_F64 : GM_F32;
            status = measure_other(cli, bench, r->precision[1], r->products + 1, err);
        }
    }
    if (status == GM_OK && (asked & GM_BENCH_EIGENPAIRS)) {
        status = gm_bench_measure_eigenpairs(bench, &r->eigenpairs, err);
    }
    if (status == GM_OK && (asked & GM_BENCH_DENSITY)) {
        status = gm_bench_measure_density(bench, &r->density, err);
    }
    if (status == GM_OK && (asked & GM_BENCH_DENSE)) {
        status = gm_bench_measure_dense(bench, &r->dense, err);
    }
    if (status == GM_OK && (asked & GM_BENCH_SERIES)) {
        status = gm_bench_measure_series(bench, &r->series, err);
    }
    if (status == GM_OK && (asked & GM_BENCH_ENSEMBLE)) {
        status = gm_bench_measure_ensemble(cli, bench, &r->ensemble, err);
    }
    if (status == GM_ERR_INTERRUPTED) {
        return gm_fail(err, status, "interrupted after %.3g s; --parts chooses fewer measurements",
                       gm_cli_seconds(cli));
    }
    return status;
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    gm_bench_settings *set = cli->settings;
    gm_session session = {0};
    gm_bench_results results = {0};
    char *data = NULL;
    double load = -1;
    shorten(cli, set);
    gm_bench bench = {.settings = set, .session = &session, .quiet = cli->shared.quiet};
    gm_status status = default_problem(cli, set, &data, err);
    if (status == GM_OK) status = gm_session_open(cli, &session, err);
    if (status == GM_OK) {
        bench.tol = cli->shared.tol > 0           ? cli->shared.tol
                    : session.precision == GM_F32 ? 1e-4
                                                  : 1e-10;
        status = check(&session, set, bench.tol, err);
    }
    if (status == GM_OK) status = gm_linearize(session.problem, session.theta, &bench.lin, err);
    if (status == GM_OK) {
        gm_session_measure(&session, bench.lin);
        load = note_load(cli);
        gm_cli_begin(cli);
        gm_interrupt_install();
        status = measure(cli, &bench, &results, err);
    }
    if (status == GM_OK && cli->shared.json) {
        status = gm_bench_print_json(cli, &bench, &results, load, err);
    } else if (status == GM_OK) {
        gm_bench_print_text(cli, &bench, &results, load);
    }
    gm_free(results.series.point);
    gm_bench_free_eigenpairs(&results.eigenpairs);
    gm_linearization_free(bench.lin);
    gm_session_close(&session);
    gm_free(data);
    return status;
}

const gm_command gm_command_bench = {
    .name = "bench",
    .summary = "time the products and solvers on this machine",
    .usage = "[--model SPEC] [--data SPEC] [OPTION]...",
    .description =
        "Times products with the Hessian H, the Gauss-Newton matrix G and the second moment M of "
        "the gradients, in both precisions unless --precision chooses one, beside the bare matrix "
        "products that they need; then the largest eigenpairs and the spectral density of H in the "
        "precision that the other commands would take.\n\n"
        "Without --model and --data it takes " DEFAULT_MODEL
        " and synthetic data of the model's shape, needs no files and about a minute. A disturbed "
        "machine gives disturbed figures: let nothing else run.",
    .examples =
        "  gradiometer bench\n"
        "  gradiometer bench --data mnist:DIR --subset 10000 --parts eigenpairs --rounds 3\n"
        "  gradiometer bench --params run.gmr --parts series --json\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA | GM_TAKES_TOLERANCE,
    .options = bench_options,
    .settings_size = sizeof(gm_bench_settings),
    .defaults = &bench_defaults,
    .run = run,
};
