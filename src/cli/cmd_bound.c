/* gradiometer bound: the scale-invariant generalization bound. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "bound/local.h"
#include "cli/bound.h"
#include "cli/bound_compare.h"
#include "cli/bound_optimize.h"
#include "cli/interrupt.h"

static const gm_bound_settings defaults = {.prior_scale = "auto",
                                           .posterior_scale = "auto",
                                           .magnitudes = "10,100,1000",
                                           .delta = 0.05,
                                           .radius = 0.05,
                                           .form = GM_BOUND_KL,
                                           .draws = 1000,
                                           .rescalings = 1,
                                           .optimize_batch = 250,
                                           .optimize_step = 0.05,
                                           .resamples = 2000,
                                           .certainty = 0.5};

static const char *const objectives[] = {"kl", "quadratic", "catoni", NULL};
static const char *const scales[] = {"auto", "learned", "fixed", NULL};
static const char *const forms[] = {"kl", "linear", NULL};
static const char *const measured[] = {"all", "fast", "none", NULL};

#define AT(field) offsetof(gm_bound_settings, field)

static const gm_option options[] = {
    {"params0", 0, "FILE",
     "The initialization: .npy, .safetensors or run file (run.gmr, run.gmr@STEP; step 0 by "
     "default). Default: "
     "step 0 of the run file in --params.",
     gm_option_text, AT(params0), NULL, 0},
    {"delta", 0, "D",
     "Each bound fails with probability at most D over the data and the draws (default 0.05).",
     gm_option_positive, AT(delta), NULL, 0},
    {"form", 0, "kl|linear",
     "Inequality: inversion of kl (default), or Catoni's fast-rate form with beta from a grid, "
     "with "
     "its linear form beside it.",
     gm_option_choice, AT(form), forms, 0},
    {"prior-scale", 0, "auto|C",
     "c in sigma = c rms(W at the initialization): the best of a grid from 2^-5 to 2, paid for by "
     "a "
     "union bound (auto, the default), or a number chosen before the data was seen.",
     gm_option_text, AT(prior_scale), NULL, 0},
    {"posterior-scale", 0, "auto|n|L",
     "lambda in nu = max(lambda H_jj, 1/sigma^2): the best among 1 and n times 1/10, 1/3, 1, 3, 10 "
     "(auto, the default, with 1 reported beside it), n, or a number.",
     gm_option_text, AT(posterior_scale), NULL, 0},
    {"layer-scale", 0, "NAME=S[,NAME=S]...",
     "Scale in the place of rms(W) for layers whose initial weights are zero.", gm_option_text,
     AT(layer_scale), NULL, 0},
    {"prior-fraction", 0, "F",
     "The share of the samples that the prior was learned from by `train --prior-fraction F`. The "
     "run file says so itself, sample by sample, and the bound is computed on the others; given "
     "here, it must agree.",
     gm_option_fraction, AT(prior_fraction), NULL, 0},
    {"optimize", 0, "STEPS",
     "Minimize the bound on the 0-1 error over means and precisions of the posterior by so many "
     "steps of natural gradients from the one that the Hessian gives, and certify both by fresh "
     "draws.",
     gm_option_steps, AT(optimize), NULL, INT64_MAX - 1},
    {"objective", 0, "NAME",
     "optimize: kl, the inverse of kl itself (the default); quadratic; or catoni.",
     gm_option_choice, AT(objective), objectives, 0},
    {"optimize-batch", 0, "M", "optimize: samples in a step (default 250).", gm_option_count,
     AT(optimize_batch), NULL, 0},
    {"optimize-step", 0, "ETA",
     "optimize: share of the way to where the gradients say the optimum is that a step goes "
     "(default 0.05, falling like 1/t).",
     gm_option_positive, AT(optimize_step), NULL, 0},
    {"optimize-scales", 0, "auto|learned|fixed",
     "optimize: learn the scale of the prior for each tensor along with the posterior, from a grid "
     "that a union bound pays for with 2 to 7 nats each, or keep it. auto, the default: learned "
     "with at least 4,000 samples for each tensor.",
     gm_option_choice, AT(optimize_scales), scales, 0},
    {"optimize-draws", 0, "N",
     "optimize: draws for each sample in the two certificates (default 10, or what makes 250,000 "
     "of "
     "all).",
     gm_option_count, AT(rounds), NULL, 1000000},
    {"diagonal-products", 0, "N",
     "Estimate diag H with N products on random signs scaled by the prior. Default: exact for "
     "dense layers and for piecewise linear nets, else 100 products.",
     gm_option_count, AT(diagonal_products), NULL, 0},
    {"draws", 0, "N",
     "Draws of the net that the Gibbs loss is estimated from (default 1000), each tried on M "
     "samples, all samples by turns. With dense layers alone every sample has a draw to itself: N "
     "M independent draws for the same work, whose Monte Carlo part is that much smaller.",
     gm_option_count, AT(draws), NULL, 0},
    {"draw-samples", 0, "M",
     "Samples that each draw is tried on (default: about 250 by layer, 1000 otherwise, n/N where "
     "that is more).",
     gm_option_count, AT(block), NULL, 0},
    {"whole-draws", 0, NULL,
     "Draw whole weight vectors where draws by layer, one for each sample, are possible too.",
     gm_option_flag, AT(whole_draws), NULL, 0},
    {"clip", 0, "L",
     "The loss is bounded as min(loss, L)/L beside the 0-1 error (default: ln(100 K)).",
     gm_option_positive, AT(clip), NULL, 0},
    {"measures", 0, "all|fast|none",
     "Classical measures beside the bound: all (default), fast (without those that take tens of "
     "products with H: lambda_max, its Frobenius norm, the sharpness), none.",
     gm_option_choice, AT(measured), measured, 0},
    {"radius", 0, "R", "Radius of the sharpness (default 0.05).", gm_option_positive, AT(radius),
     NULL, 0},
    {"magnitudes", 0, "A[,A]...",
     "rescale: the largest factor of a layer, or its inverse (default 10,100,1000).",
     gm_option_text, AT(magnitudes), NULL, 0},
    {"rescalings", 0, "N", "rescale: random re-scalings of each magnitude (default 1).",
     gm_option_count, AT(rescalings), NULL, 0},
    {"measure", 0, NULL,
     "compare: measure the bound of runs that hold none, with the options given, and record it in "
     "their files.",
     gm_option_flag, AT(measure), NULL, 0},
    {"resamples", 0, "B", "compare: bootstrap resamples for the intervals (default 2000).",
     gm_option_count, AT(resamples), NULL, 10000000},
    {"certainty", 0, "P",
     "compare: pairs of runs whose gaps are in the order measured with less certainty, by the size "
     "of the test sets, are left out of the sign errors (default 0.5).",
     gm_option_fraction, AT(certainty), NULL, 0},
    {0}};

/* ---- the initialization ---- */

void gm_bound_origin_free(gm_bound_origin *origin)
{
    for (size_t i = 0; i < origin->reasons; i++) {
        gm_free(origin->reason[i]);
    }
    gm_free(origin->theta0);
    gm_free(origin->point);
    gm_free(origin->given);
    json_decref(origin->learned);
    memset(origin, 0, sizeof *origin);
}

static gm_status add_reason(gm_bound_origin *origin, char *text)
{
    if (!text) return GM_ERR_MEMORY;
    origin->reason[origin->reasons++] = text;
    return GM_OK;
}

static gm_status check_length(const gm_session *session, const char *path, size_t found,
                              gm_error *err)
{
    size_t p = gm_net_parameters(session->net);
    if (found == p) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "--params0: %s holds %zu numbers, expected %zu, those of %s",
                   path, found, p, gm_net_name(session->net));
}

static gm_status from_run(gm_cli *cli, gm_session *session, gm_run *run, int64_t step,
                          gm_bound_origin *origin, gm_error *err)
{
    double *theta = NULL;
    size_t found, p = gm_net_parameters(session->net);
    gm_status status = gm_run_parameters(run, step, &theta, &found, NULL, err);
    if (status == GM_OK) status = check_length(session, gm_run_path(run), found, err);
    if (status == GM_OK) {
        origin->theta0 = gm_alloc(p, sizeof *theta, "initialization", err);
        if (origin->theta0) memcpy(origin->theta0, theta, p * sizeof *theta);
        origin->point = gm_format(err, "%s, step %lld", gm_run_path(run), (long long)step);
        if (!origin->theta0 || !origin->point) status = GM_ERR_MEMORY;
    }
    gm_run_free(theta);
    if (status == GM_OK && step > 0) {
        return add_reason(
            origin, gm_format(err, "the prior's mean, %s, was trained, not drawn", origin->point));
    }
    return status == GM_OK ? gm_bound_rest(cli, session, run, origin, err) : status;
}

static gm_status from_file(gm_cli *cli, gm_session *session, const char *path,
                           gm_bound_origin *origin, gm_error *err)
{
    if (gm_session_names_parameters(path)) {
        gm_status status =
            gm_session_read_parameters(cli, session, "params0", path, &origin->theta0, err);
        if (status != GM_OK) return status;
        gm_cli_note(cli, "that %s does not depend on the samples is taken for granted", path);
        origin->point = gm_strdup(path, err);
        return origin->point ? GM_OK : GM_ERR_MEMORY;
    }
    char *name = NULL;
    int64_t step;
    gm_run *run = NULL;
    gm_status status = gm_run_split(path, &name, &step, err);
    if (status == GM_OK) status = gm_run_open(name, GM_RUN_READ, &run, err);
    if (status == GM_OK) {
        status = from_run(cli, session, run, step == GM_RUN_LAST ? 0 : step, origin, err);
    }
    gm_run_close(run);
    gm_run_free(name);
    return status;
}

static gm_status load_initialization(gm_cli *cli, gm_session *session, gm_bound_origin *origin,
                                     gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    if (set->params0) return from_file(cli, session, set->params0, origin, err);
    if (session->run) {
        gm_cli_note(cli, "the initialization is step 0 of %s", gm_run_path(session->run));
        return from_run(cli, session, session->run, 0, origin, err);
    }
    return gm_fail(
        err, GM_ERR_USAGE,
        "--params0 is needed: the initialization that training started from. `gradiometer "
        "train -o run.gmr` records it as step 0, which --params run.gmr then finds");
}

/* ---- options ---- */

/* auto: 0; else a number > 0. */
static gm_status parse_scale(const char *name, const char *text, size_t n, double *value,
                             gm_error *err)
{
    *value = 0.0;
    if (strcmp(text, "auto") == 0) return GM_OK;
    if (n && strcmp(text, "n") == 0) {
        *value = (double)n;
        return GM_OK;
    }
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    bool number = *text >= '0' && *text <= '9' && !*end && errno == 0;
    if (number && isfinite(*value) && *value > 0.0) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE, "--%s: found '%s', expected auto%s or a number > 0", name,
                   text, n ? ", n" : "");
}

/* Into given [layers of net]; net NULL: the form alone. */
static gm_status parse_layer_scale(const gm_net *net, const char *text, double *given,
                                   gm_error *err)
{
    char *copy = gm_strdup(text, err), *rest = copy;
    gm_status status = copy ? GM_OK : GM_ERR_MEMORY;
    while (status == GM_OK && rest) {
        char *item = rest, *value = strchr(item, '=');
        size_t layer = 0;
        double scale;
        rest = strchr(item, ',');
        if (rest) *rest++ = 0;
        if (!value || (rest && value > rest)) {
            status = gm_fail(err, GM_ERR_USAGE, "--layer-scale: found '%s', expected NAME=S", item);
            break;
        }
        *value++ = 0;
        status = parse_scale("layer-scale", value, 0, &scale, err);
        if (status == GM_OK && net) status = gm_net_find_layer(net, item, &layer, err);
        if (status == GM_OK && net) given[layer] = scale;
    }
    gm_free(copy);
    return status;
}

static gm_status take_options(const gm_cli *cli, const gm_session *session, gm_bound_origin *origin,
                              gm_bound_options *o, gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    gm_bound_options_default(o);
    o->delta = set->delta;
    o->form = set->form;
    o->diagonal_products = set->diagonal_products;
    o->gibbs.draws = set->draws;
    o->gibbs.block = set->block;
    o->gibbs.whole = set->whole_draws;
    o->gibbs.clip = set->clip;
    o->gibbs.seed = session->seed;
    o->gibbs.stop = gm_interrupt_requested;
    o->gibbs.team = session->team;
    gm_status status = parse_scale("prior-scale", set->prior_scale, 0, &o->prior_scale, err);
    if (status == GM_OK) {
        status = parse_scale("posterior-scale", set->posterior_scale, session->data->n,
                             &o->posterior_scale, err);
    }
    if (status != GM_OK || !set->layer_scale) return status;
    origin->given = gm_alloc(gm_net_layers(session->net), sizeof *origin->given, "scales", err);
    if (!origin->given) return GM_ERR_MEMORY;
    o->given = origin->given;
    return parse_layer_scale(session->net, set->layer_scale, origin->given, err);
}

gm_status gm_bound_prepare(gm_cli *cli, gm_session *session, gm_bound_origin *origin,
                           gm_bound_options *o, gm_error *err)
{
    gm_status status = load_initialization(cli, session, origin, err);
    if (status == GM_OK) status = take_options(cli, session, origin, o, err);
    bool whole = o->gibbs.whole || !gm_local_possible(session->net, NULL);
    if (status == GM_OK && whole) {
        status =
            gm_session_check_matrix(session, "the losses of --draws", 3, 1, o->gibbs.draws, err);
    }
    if (status == GM_OK) { /* zero layers are named now rather than after the work */
        double *unit = gm_alloc(gm_net_parameters(session->net), sizeof *unit, "prior scales", err);
        status =
            unit ? gm_prior_unit(session->net, origin->theta0, o->given, unit, err) : GM_ERR_MEMORY;
        gm_free(unit);
    }
    if (status != GM_OK || !session->data->standardized) return status;
    return add_reason(origin,
                      gm_format(err, "the inputs are standardized by mean and spread of the "
                                     "training samples (--standardize), so that the "
                                     "predictor depends on them beyond theta"));
}

/* ---- invariants ---- */

const char *const gm_bound_invariant[GM_BOUND_INVARIANTS] = {
    "loss", "kl", "effective_curvature", "distance", "gibbs_loss", "bound", "clipped_bound"};

void gm_bound_invariants(double loss, const gm_bound *bound, double value[GM_BOUND_INVARIANTS])
{
    const gm_bound_case *c = &bound->best;
    const double all[GM_BOUND_INVARIANTS] = {loss,
                                             c->divergence.kl,
                                             c->divergence.effective_curvature,
                                             c->divergence.distance,
                                             c->clipped.train.mean,
                                             c->error.bound,
                                             c->clipped.bound};
    memcpy(value, all, sizeof all);
}

double gm_relative_change(double a, double b)
{
    return a == b ? 0.0 : fabs(a - b) / fabs(b);
}

/* ---- the command ---- */

/* The subcommands, and the options that are theirs alone. */
static const struct {
    const char *name;
    gm_status (*run)(gm_cli *cli, gm_error *err);
    const char *own[4];
} subcommands[] = {
    {"rescale", gm_rescale_command, {"magnitudes", "rescalings", NULL}},
    {"compare", gm_bound_compare_command, {"resamples", "certainty", "measure", NULL}}};
enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

/* One checkpoint, or all of them. */
static gm_status measure_bounds(gm_cli *cli, gm_error *err)
{
    char *path = NULL;
    gm_status status = gm_session_strip_all(cli->shared.params, &path, err);
    if (status == GM_OK) {
        status = path ? gm_bound_course(cli, path, err) : gm_bound_measure_run(cli, err);
    }
    gm_free(path);
    return status;
}

/* The draws are shared out; what leads to them every rank computes for itself. */
static gm_sharing sharing(const gm_cli *cli)
{
    return cli->operands || cli->shared.watch ? GM_SHARING_NONE : GM_SHARING_RUNS;
}

typedef gm_status (*runner)(gm_cli *cli, gm_error *err);

/* NULL for a subcommand that there is not. */
static runner find_runner(const gm_cli *cli)
{
    if (!cli->operands) return measure_bounds;
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        if (strcmp(cli->operand[0], subcommands[i].name) == 0) return subcommands[i].run;
    }
    return NULL;
}

/* The subcommand, and the options that belong to another. */
static gm_status check_subcommand(const gm_cli *cli, gm_error *err)
{
    runner chosen = find_runner(cli);
    const char *name = cli->operands ? cli->operand[0] : "";
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        for (const char *const *own = subcommands[i].own; *own; own++) {
            if (chosen == subcommands[i].run || !gm_cli_given(cli, *own)) continue;
            return gm_fail(err, GM_ERR_USAGE, "--%s: an option of bound %s", *own,
                           subcommands[i].name);
        }
    }
    if (!chosen)
        return gm_fail(err, GM_ERR_USAGE, "bound: found '%s', expected rescale, compare or nothing",
                       name);
    if (chosen != gm_bound_compare_command && cli->operands > 1)
        return gm_fail(err, GM_ERR_USAGE, "bound: found '%s' after %s, expected options only",
                       cli->operand[1], name);
    return GM_OK;
}

static gm_status check(gm_cli *cli, gm_error *err)
{
    const gm_bound_settings *set = cli->settings;
    double scale;
    gm_status status = check_subcommand(cli, err);
    if (status != GM_OK) return status;
    if (!(set->delta < 1.0))
        return gm_fail(err, GM_ERR_USAGE, "--delta: found %g, expected a number between 0 and 1",
                       set->delta);
    if (set->diagonal_products == 1)
        return gm_fail(err, GM_ERR_USAGE, "--diagonal-products: found 1, expected at least 2");
    status = parse_scale("prior-scale", set->prior_scale, 0, &scale, err);
    if (status == GM_OK)
        status = parse_scale("posterior-scale", set->posterior_scale, 1, &scale, err);
    if (status == GM_OK && set->layer_scale)
        status = parse_layer_scale(NULL, set->layer_scale, NULL, err);
    if (status == GM_OK) status = gm_rescale_check(cli, err);
    return status == GM_OK ? gm_bound_optimize_check(cli, err) : status;
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    runner chosen = find_runner(cli);
    return chosen ? chosen(cli, err) : GM_ERR_USAGE; /* which check has said */
}

const gm_command gm_command_bound = {
    .name = "bound",
    .summary = "scale-invariant generalization bound, its terms, measures beside it",
    .usage = "[rescale] --params FILE [--params0 FILE] [OPTION]...\n"
             "  or:  gradiometer bound compare RUN.gmr RUN.gmr... [OPTION]...",
    .description =
        "A PAC-Bayes bound on the error that a trained net makes on new samples, from its training "
        "data alone. The prior is a Gaussian around the initialization with the scale of each "
        "layer's initial weights; the posterior is a Gaussian around the trained parameters, as "
        "narrow as the diagonal of the Hessian asks for. The divergence of the two is half the sum "
        "of two terms, effective curvature and weighted squared distance from the initialization. "
        "With probability at least 1 - delta the bound holds for the Gibbs error, that of a net "
        "drawn from the posterior; the error of the net itself is printed beside it and "
        "labelled.\n\n"
        "Not valid where initialization or constants of the predictor depend on the training "
        "samples: the result then says so.\n\n"
        "Tighter, each labelled: a run begun by `train --prior-fraction` has a prior learned from "
        "a "
        "share of the samples, and the bound is that of the others. --optimize minimizes the bound "
        "over the posterior, from the one above, and shows both. --params run.gmr@all gives a "
        "certificate for every checkpoint, which `gradiometer report` draws.\n\n"
        "compare: over run files, or folders of studies, in which `bound -o` recorded a result "
        "with a test set, which measure tells how far test and training error are apart: Kendall's "
        "tau with the gap and "
        "its bootstrap interval, and the share of pairs differing in one setting that the measure "
        "puts in the wrong order, on average and in the worst environment (Dziugaite et al. 2020, "
        "arXiv 2010.11924).\n\n"
        "rescale: multiplies the layers of a net of relu, leaky_relu or identity by random factors "
        "whose product is 1, which leaves its function alone, and shows what that does to the "
        "curvature, to the classical measures, and to the bound: nothing. In f64 unless "
        "--precision "
        "is given.",
    .examples =
        "  gradiometer bound --params run.gmr\n"
        "  gradiometer bound --params run.gmr --form linear --delta 0.01 --json\n"
        "  gradiometer bound --model mlp:784-512-10 --params end.npy --params0 start.npy \\\n"
        "      --data mnist:DIR --test-data mnist:DIR --measures fast\n"
        "  gradiometer bound rescale --params run.gmr --magnitudes 10,1000\n"
        "  gradiometer bound --params run.gmr@all --measures none -o run.gmr\n"
        "  gradiometer bound --params run.gmr --optimize 2000\n"
        "  gradiometer bound compare run*.gmr -o compare.gmr\n"
        "  gradiometer bound compare out -o compare.gmr\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA | GM_TAKES_TEST | GM_TAKES_OUTPUT,
    .options = options,
    .settings_size = sizeof(gm_bound_settings),
    .defaults = &defaults,
    .operands_min = 0,
    .operands_max = 100000,
    .check = check,
    .run = run,
    .sharing = sharing,
};
