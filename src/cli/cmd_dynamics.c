/* gradiometer dynamics: the dynamics of SGD, predicted and observed. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/dynamics.h"

static const gm_dynamics_settings defaults = {
    .levels = "0.5,1,2,3,5",
    .momentum = -1.0,
    .exact_samples = SIZE_MAX,
    .probes = 64,
    .cut = 1e-3,
    .horizon = 10,
    .balance = 0.5,
    .ensemble = {.runs = 1000, .first_run = SIZE_MAX, .steps = 500, .exact_runs = 1000}};

static const char *const init_words[] = {"fixed", "fresh", NULL};
static const char *const optimizer_words[] = {"sgd", "adam", "rmsprop", "adagrad", NULL};
static const char *const precondition_words[] = {"none",        "rmsprop",      "adagrad",
                                                 "diag-moment", "diag-hessian", NULL};

#define AT(field) offsetof(gm_dynamics_settings, field)

static const gm_option options[] = {
    {"batch", 0, "M[,M]...",
     "Batch sizes (advise and ensemble: one). Default: that of the run in --params, else 1 "
     "(ensemble: 64); stability maps the powers of two beside it.",
     gm_option_text, AT(batch), NULL, 0},
    {"step", 0, "ETA[,ETA]...",
     "Step sizes (advise, phases: one; martingale: also policies, as in train; ensemble: one, or a "
     "policy). Default: that of the run in --params at the point, else 0.1.",
     gm_option_text, AT(step), NULL, 0},
    {"momentum", 0, "B",
     "advise: momentum of the run, which moves the thresholds; ensemble: momentum of its runs. "
     "Default: that of the run in --params, else 0.",
     gm_option_fraction, AT(momentum), NULL, 0},
    {"draws", 0, "N",
     "Mini-batches drawn: predict, for each pair of batch and step size (default 1000); "
     "martingale, at each point (default 1000); advise, for the Batch Sharpness (default 64).",
     gm_option_count, AT(draws), NULL, 0},
    {"levels", 0, "S[,S]...",
     "predict: levels s of the bands that Gaussian noise would leave on either side with "
     "probability at most exp(-s). Default: 0.5,1,2,3,5.",
     gm_option_text, AT(levels), NULL, 0},
    {"exact-samples", 0, "N",
     "Up to this many samples the noise is taken exactly, by one product with H per sample "
     "(default: predict 2000; advise and phases, which need its trace alone, 128); beyond, it is "
     "estimated.",
     gm_option_natural, AT(exact_samples), NULL, 0},
    {"probes", 0, "N",
     "Samples and random vectors behind each such estimate (default 64); of advise and phases at "
     "most twice as many products, fewer where the error is below 1 %.",
     gm_option_count, AT(probes), NULL, 0},
    {"directions", 0, "K",
     "stability: directions of curvature looked at, half of them the leading eigenvectors of H, "
     "half "
     "those of S. Default: all of up to 60 parameters, else 20.",
     gm_option_count, AT(directions), NULL, GM_SPAN_MOST},
    {"cut", 0, "C", "stability: of them, those with more than C lambda_max. Default: 0.001.",
     gm_option_fraction, AT(cut), NULL, 0},
    {"observe", 0, "R",
     "stability: R linearized runs, and R pairs of runs of SGD on the net itself from near the "
     "point, at each batch size and 0.5, 0.8, 1.25 and 2 times its boundary, and at the step sizes "
     "asked for. Default: none.",
     gm_option_count, AT(observe), NULL, 1000000},
    {"at", 0, "STEP[,STEP]...",
     "martingale, phases: steps of the run in --params. Default: all its checkpoints.",
     gm_option_text, AT(at), NULL, 0},
    {"plain", 0, NULL,
     "predict: look at the step theta - eta g, whatever the run's own is. By default momentum, "
     "preconditioner and weight decay of the run in --params are part of it where the run file "
     "holds them: momentum, rmsprop and adagrad at the latest step alone.",
     gm_option_flag, AT(plain), NULL, 0},
    {"balance", 0, "SHARE",
     "phases: the slow phase begins where the noise takes back this share of what the gradient "
     "gains. Default: 0.5.",
     gm_option_positive, AT(balance), NULL, 0},
    {"horizon", 0, "T", "stability: steps of each such run. Default: 10.", gm_option_count,
     AT(horizon), NULL, 100000},
    {"runs", 0, "R", "ensemble: number of runs. Default: 1000.", gm_option_count, AT(ensemble.runs),
     NULL, UINT32_MAX},
    {"steps", 0, "T", "ensemble: steps of each run. Default: 500.", gm_option_steps,
     AT(ensemble.steps), NULL, INT64_MAX - 1},
    {"init", 0, "HOW",
     "ensemble: fixed, every run from the parameters of --params (or of He initialization by "
     "--seed); fresh, each from a He initialization of its own. Default: fixed.",
     gm_option_choice, AT(ensemble.fresh), init_words, 0},
    {"record", 0, "LIST",
     "ensemble: what is recorded, separated by commas: loss, delta (its change in one step), "
     "cosine "
     "(of the angle between the stochastic gradients of successive steps), distance (from the "
     "start), error_rate, test_error_rate (with --test-data); and, at the steps of "
     "--gradient-every, cosine_mean (with the full gradient), gradient_square (of the full "
     "gradient), trace_sigma (tr Sigma of single samples); or all. Default: "
     "loss,delta,cosine,distance.",
     gm_option_text, AT(ensemble.record), NULL, 0},
    {"record-every", 0, "N",
     "ensemble: record at steps 0, N, 2 N, ... and the last. Default: 1 up to 1,000 steps, else so "
     "that there are at most 1,001.",
     gm_option_steps, AT(ensemble.record_every), NULL, INT64_MAX},
    {"gradient-every", 0, "N",
     "ensemble: the same for the last three quantities, a multiple of --record-every. Default: so "
     "that there are about 20.",
     gm_option_steps, AT(ensemble.gradient_every), NULL, INT64_MAX},
    {"exact-runs", 0, "N",
     "ensemble: up to this many runs quantiles are exact, from all values; beyond, from sketches, "
     "with every order statistic within 1/256 of its value. Default: 1000.",
     gm_option_natural, AT(ensemble.exact_runs), NULL, 0},
    {"first-run", 0, "K",
     "ensemble: number of the first run, which names its random streams. Run K alone, --first-run "
     "K --runs 1, is the run K of any ensemble with these options, bit for bit. Default: 0; 1 "
     "where a run file in --params gives the start, whose own batches were those of run 0.",
     gm_option_natural, AT(ensemble.first_run), NULL, UINT32_MAX},
    {"keep-runs", 0, "K[,K]...",
     "ensemble: keep the last parameters of these runs in the run file (array kept_theta).",
     gm_option_text, AT(ensemble.keep_runs), NULL, 0},
    {"nesterov", 0, NULL, "ensemble: Nesterov's form of the momentum.", gm_option_flag,
     AT(ensemble.nesterov), NULL, 0},
    {"weight-decay", 0, "W",
     "ensemble: add W times the parameters to each gradient of a step; no recorded quantity "
     "includes it. Default: that of the run in --params, else 0.",
     gm_option_nonnegative, AT(ensemble.weight_decay), NULL, 0},
    {"optimizer", 0, "NAME",
     "ensemble: sgd, adam, rmsprop or adagrad, as in train. Default: that of the run, else sgd.",
     gm_option_choice, AT(ensemble.optimizer), optimizer_words, 0},
    {"precondition", 0, "NAME",
     "ensemble: none, rmsprop, adagrad, diag-moment or diag-hessian, as in train. Default: that of "
     "the run, else none.",
     gm_option_choice, AT(ensemble.precondition), precondition_words, 0},
    {0}};

/* Options that are not every subcommand's. */
static const struct {
    const char *option, *subcommands;
} owned[] = {{"momentum", "advise ensemble"},
             {"levels", "predict"},
             {"draws", "predict advise martingale"},
             {"exact-samples", "predict advise phases"},
             {"probes", "predict advise phases"},
             {"directions", "stability"},
             {"cut", "stability"},
             {"observe", "stability"},
             {"horizon", "stability"},
             {"at", "martingale phases"},
             {"balance", "phases"},
             {"plain", "predict"},
             {"runs", "ensemble"},
             {"steps", "ensemble"},
             {"init", "ensemble"},
             {"record", "ensemble"},
             {"record-every", "ensemble"},
             {"gradient-every", "ensemble"},
             {"exact-runs", "ensemble"},
             {"first-run", "ensemble"},
             {"keep-runs", "ensemble"},
             {"nesterov", "ensemble"},
             {"weight-decay", "ensemble"},
             {"optimizer", "ensemble"},
             {"precondition", "ensemble"},
             {"test-data", "ensemble"}};

/* ---- what the subcommands share ---- */

const char *gm_dynamics_recorded(const gm_session *session, const char *key)
{
    for (size_t i = 0; i < session->recordings; i++) {
        if (strcmp(session->recorded[i].key, key) == 0) return session->recorded[i].value;
    }
    return NULL;
}

gm_status gm_dynamics_run_step(const gm_session *session, char **text, gm_error *err)
{
    const char *policy = gm_dynamics_recorded(session, "train.policy");
    const char *fixed = gm_dynamics_recorded(session, "train.step");
    gm_policy parsed = {0};
    double eta = 0.0;
    *text = NULL;
    if (policy) {
        gm_status status = gm_policy_parse(policy, &parsed, &eta, err);
        if (status != GM_OK) return status;
    }
    if (parsed.kind == GM_POLICY_FIXED) {
        if (fixed) *text = gm_strdup(fixed, err);
        return fixed && !*text ? GM_ERR_MEMORY : GM_OK;
    }
    int64_t *step = NULL;
    double *value = NULL;
    size_t count = 0;
    gm_status status = gm_run_metric(session->run, "step_size", &step, &value, &count, err);
    for (size_t i = 0; i < count && step[i] <= session->step; i++) {
        if (value[i] > 0.0) eta = value[i];
    }
    gm_run_free(step);
    gm_run_free(value);
    if (status != GM_OK || !(eta > 0.0)) return status;
    *text = gm_format(err, "%.17g", eta);
    return *text ? GM_OK : GM_ERR_MEMORY;
}

gm_replacement gm_dynamics_replacement(const gm_cli *cli, const gm_session *session)
{
    gm_replacement replacement = cli->shared.replacement;
    const char *drawn = gm_dynamics_recorded(session, "train.replacement");
    if (drawn && !gm_cli_given(cli, "replacement")) gm_replacement_parse(drawn, &replacement);
    return replacement;
}

gm_status gm_dynamics_list(const char *name, const char *text, bool whole, size_t most,
                           double *value, size_t *count, gm_error *err)
{
    const char *expected = whole ? "integers >= 1" : "numbers > 0";
    *count = 0;
    for (const char *at = text;;) {
        char *end;
        errno = 0;
        double x = strtod(at, &end);
        bool number = *at >= '0' && *at <= '9' && (*end == ',' || *end == 0) && errno == 0;
        if (!number || !isfinite(x) || !(x > 0.0) || (whole && (x != floor(x) || x > 1e15))) {
            return gm_fail(err, GM_ERR_USAGE, "--%s: found '%s', expected %s separated by commas",
                           name, text, expected);
        }
        if (*count == most) {
            return gm_fail(err, GM_ERR_USAGE, "--%s: found more than %zu numbers", name, most);
        }
        value[(*count)++] = x;
        if (*end == 0) return GM_OK;
        at = end + 1;
    }
}

gm_status gm_dynamics_check_lists(const gm_cli *cli, size_t batches, size_t steps, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    double number[GM_DYNAMICS_LIST];
    size_t count;
    gm_status status = GM_OK;
    if (set->batch)
        status = gm_dynamics_list("batch", set->batch, true, batches, number, &count, err);
    if (status == GM_OK && set->step && steps)
        status = gm_dynamics_list("step", set->step, false, steps, number, &count, err);
    return status;
}

gm_status gm_dynamics_check_draws(const gm_cli *cli, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    if (set->draws != 1) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE, "--draws: found 1, expected at least 2");
}

gm_status gm_dynamics_check_batches(gm_replacement replacement, bool fresh, size_t batches,
                                    const double *batch, size_t n, gm_error *err)
{
    if (fresh && replacement == GM_REPLACEMENT_EPOCH)
        return gm_fail(err, GM_ERR_USAGE,
                       "--replacement: the batches of an epoch are no fresh draws at one point, "
                       "expected yes or no");
    for (size_t i = 0; i < batches && replacement != GM_REPLACEMENT_YES; i++) {
        if (batch[i] <= (double)n) continue;
        return gm_fail(err, GM_ERR_USAGE,
                       "--batch: %.15g samples without replacement, but the data set has %zu",
                       batch[i], n);
    }
    return GM_OK;
}

void gm_dynamics_note_optimizer(gm_cli *cli, const gm_session *session, bool momentum_used)
{
    const char *optimizer = gm_dynamics_recorded(session, "train.optimizer");
    const char *divisor = gm_dynamics_recorded(session, "train.precondition");
    const char *momentum = gm_dynamics_recorded(session, "train.momentum");
    const char *scaled = optimizer && strcmp(optimizer, "sgd") != 0 ? optimizer
                         : divisor && strcmp(divisor, "none") != 0  ? divisor
                                                                    : NULL;
    if (scaled) {
        gm_cli_note(cli,
                    "the run was trained with %s: its division of the step, parameter by "
                    "parameter, is left out, all numbers are of the step theta - eta g",
                    scaled);
    }
    double beta = momentum ? strtod(momentum, NULL) : 0.0;
    if (beta > 0.0 && !momentum_used) {
        gm_cli_note(cli,
                    "the run was trained with momentum %g: it is left out, all numbers are of the "
                    "step theta - eta g",
                    beta);
    }
}

gm_status gm_dynamics_step_options(const gm_cli *cli, const gm_session *session, bool trace_only,
                                   gm_step_options *o, gm_error *err)
{
    enum { TRACE_SAMPLES = 128, VECTORS_OF_PROBE = 4, MORE = 32 };
    const gm_dynamics_settings *set = cli->settings;
    size_t n = session->data->n;
    gm_step_options_default(o);
    o->trace_only = trace_only;
    o->probes = set->probes;
    o->seed = session->seed;
    if (trace_only) o->exact_samples = TRACE_SAMPLES;
    if (gm_cli_given(cli, "exact-samples")) o->exact_samples = set->exact_samples;
    if (!trace_only && n <= o->exact_samples) {
        return gm_session_check_matrix(
            session, "the Hessian between samples, formed for n up to --exact-samples,", 3, n, n,
            err);
    }
    size_t vectors = o->probes < n ? o->probes : n;
    return gm_session_check_matrix(session, "the --probes", VECTORS_OF_PROBE, vectors + MORE, n,
                                   err);
}

void gm_dynamics_note_trace(gm_cli *cli, const gm_session *session, const gm_step_options *o)
{
    size_t n = session->data->n;
    if (n <= o->exact_samples) return;
    gm_cli_note(cli,
                "n = %zu exceeds --exact-samples %zu: tr(H Sigma) is estimated by XTrace to 1 %%, "
                "in at most %zu products",
                n, o->exact_samples, 2 * o->probes);
}

/* ---- the command ---- */

typedef struct subcommand {
    const char *name;
    gm_status (*check)(const gm_cli *cli, gm_error *err); /* its options by themselves */
    gm_status (*run)(gm_cli *cli, gm_error *err);
} subcommand;

static const subcommand subcommands[] = {{"ensemble", gm_ensemble_check, gm_ensemble_run_command},
                                         {"predict", gm_predict_check, gm_predict_run},
                                         {"advise", gm_advise_check, gm_advise_run},
                                         {"stability", gm_stability_check, gm_stability_run},
                                         {"martingale", gm_martingale_check, gm_martingale_run},
                                         {"phases", gm_phases_check, gm_phases_run}};

/* NULL where there is none of that name. */
static const subcommand *find_subcommand(const char *name)
{
    for (size_t i = 0; i < sizeof subcommands / sizeof *subcommands; i++) {
        if (strcmp(name, subcommands[i].name) == 0) return subcommands + i;
    }
    return NULL;
}

static gm_status check_owned(const gm_cli *cli, const char *name, gm_error *err)
{
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        if (strstr(owned[i].subcommands, name) || !gm_cli_given(cli, owned[i].option)) continue;
        return gm_fail(err, GM_ERR_USAGE, "--%s: not an option of dynamics %s", owned[i].option,
                       name);
    }
    return GM_OK;
}

static gm_sharing sharing(const gm_cli *cli)
{
    if (strcmp(cli->operand[0], "ensemble") == 0) return GM_SHARING_RUNS;
    return GM_SHARING_SUMS;
}

static gm_status check(gm_cli *cli, gm_error *err)
{
    const gm_dynamics_settings *set = cli->settings;
    const subcommand *chosen = find_subcommand(cli->operand[0]);
    if (!chosen)
        return gm_fail(err, GM_ERR_USAGE,
                       "dynamics: found '%s', expected ensemble, predict, martingale, phases, "
                       "advise or stability",
                       cli->operand[0]);
    gm_status status = check_owned(cli, chosen->name, err);
    if (status != GM_OK) return status;
    if (set->probes < 2)
        return gm_fail(err, GM_ERR_USAGE, "--probes: found %zu, expected at least 2", set->probes);
    return chosen->check(cli, err);
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    const subcommand *chosen = find_subcommand(cli->operand[0]);
    return chosen ? chosen->run(cli, err) : GM_ERR_USAGE; /* which check has said */
}

const gm_command gm_command_dynamics = {
    .name = "dynamics",
    .summary = "ensembles of SGD runs; steps predicted and observed, gauges, advice",
    .usage = "ensemble|predict|martingale|phases|advise|stability --model SPEC --data SPEC "
             "[--params FILE] [OPTION]...",
    .description =
        "ensemble: R runs of SGD of T steps each, from one start or from fresh ones, and per step "
        "the mean, standard deviation and 1, 5, 25, 50, 75, 95 and 99 % quantiles over the runs of "
        "the loss, its one-step change Delta, the angle between successive stochastic gradients, "
        "the distance from the start and other quantities (--record). Runs that diverge are "
        "counted, and infinite in the quantiles. With -o the ensemble is recorded while it grows; "
        "Ctrl-C saves the runs that are complete. The same command again continues it after that "
        "or after a kill, and with a larger --runs adds runs, to the same numbers as if it had "
        "never stopped.\n\n"
        "predict: at one point of the parameter space, what a step of SGD does to the loss f. For "
        "a step eta along the gradient of a mini-batch of m samples, Delta is the change of f on "
        "the whole set. Its mean, its variance and a two-sided band follow from the gradient, the "
        "Hessian and the covariance of the samples' gradients by a second-order model; beside "
        "them stands what fresh mini-batches do, drawn as often as --draws says, with "
        "Clopper-Pearson intervals (95 %) for how often the band is left.\n\n"
        "The mean is exact for any noise; the band and V hold for Gaussian noise, which that of "
        "mini-batches is not: look at the observed frequencies. Several batch and step sizes can "
        "be asked for in one call.\n\n"
        "martingale: at every checkpoint of a run, whether a step lowers the loss in expectation: "
        "fresh mini-batches give the mean of Delta with the upper end of its 95 % interval, beside "
        "the bound -eta |mu|^2 + eta^2/2 L tr M_m. Several steps and policies are compared at the "
        "same points with the same batches, as --step 0.5,oracle; a run's estimated policy is "
        "checked at the steps that it recorded.\n\n"
        "phases: where along a run fast convergence ends and slow diffusion begins. By the "
        "second-order model a step gains eta |mu|^2 - eta^2/2 mu.H mu along the gradient, and the "
        "noise takes back eta^2/2 tr(H Sigma_m); the slow phase begins at the first checkpoint "
        "from which on at least --balance of the gain is taken back.\n\n"
        "advise: for a checkpoint, every gauge of how near a step is to instability beside its "
        "threshold (sharpness, Batch Sharpness, the interaction of gradients and noise, critical "
        "sharpness, noise scales), the largest and the best step in expectation, and the batch "
        "size at which noise and signal balance, with error bars.\n\n"
        "stability: for every batch size the largest steps at which SGD, linearized at this point, "
        "stays near it in mean square, from H and S = (1/n) sum H_i^2: from every direction in "
        "every step (sufficient), and in the long run (the boundary); exact for everything that "
        "has curvature up to 60 parameters, on --directions of it beyond. The run's own batch and "
        "step size are placed on that map.",
    .examples =
        "  gradiometer dynamics ensemble --model mlp:50-30-30-10 --data gauss: --runs 10000 "
        "--batch 50 --precision f32 -o runs.gmr\n"
        "  gradiometer dynamics ensemble --params run.gmr@100 --steps 200 --record all --json\n"
        "  gradiometer dynamics predict --params run.gmr@1000 --batch 10,50 --step 0.05,0.1\n"
        "  gradiometer dynamics predict --model mlp:50-30-10 --data gauss:n=500 --draws 5000 "
        "--json\n"
        "  gradiometer dynamics martingale --params run.gmr --step 0.5,oracle --draws 500\n"
        "  gradiometer dynamics phases --params run.gmr -o run.gmr\n"
        "  gradiometer dynamics advise --params run.gmr --batch 50 --step 0.1\n"
        "  gradiometer dynamics stability --params run.gmr --observe 200 -o run.gmr\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA | GM_TAKES_TEST | GM_TAKES_BATCH | GM_TAKES_OUTPUT,
    .options = options,
    .settings_size = sizeof(gm_dynamics_settings),
    .defaults = &defaults,
    .operands_min = 1,
    .operands_max = 1,
    .check = check,
    .run = run,
    .sharing = sharing,
};
