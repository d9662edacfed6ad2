/* gradiometer decompose: the Hessian against the second moment of stochastic gradients. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/decompose.h"
#include "cli/document.h"
#include "cli/interrupt.h"
#include "cli/record.h"

typedef struct settings {
    gm_decompose_method method;
    size_t k;
    size_t max_products; /* 0: no limit */
    bool by_magnitude;
    double cut;
    bool gn_residual;
    size_t batch; /* 0: that of the run in --params, else 1 */
} settings;

static const settings defaults = {.k = 15, .cut = 1e-2};

static const char *const methods[] = {"auto", "dense", "products", NULL};

static const gm_option options[] = {
    {"method", 0, "METHOD",
     "dense: every eigenvalue, by LAPACK; products: the leading eigenpairs by products alone, "
     "norms "
     "from random vectors with standard errors, traces exact; auto (the default): dense up to "
     "5,000 "
     "parameters where the matrices fit the memory, else products.",
     gm_option_choice, offsetof(settings, method), methods, 0},
    {"max-products", 0, "N",
     "products: at most N for either end of an operator's spectrum at a point; what has converged "
     "by then is kept, and said not to be all. Default: no limit.",
     gm_option_count, offsetof(settings, max_products), NULL, 0},
    {"k", 'k', "K",
     "How many leading eigenvectors to compare (default 15; overlaps stop at the smaller rank).",
     gm_option_count, offsetof(settings, k), NULL, 0},
    {"by-magnitude", 0, NULL,
     "Leading means largest absolute eigenvalue; default: largest eigenvalue.", gm_option_flag,
     offsetof(settings, by_magnitude), NULL, 0},
    {"cut", 0, "C",
     "Eigenvalues below -C times the largest absolute one count as negative (default 1e-2).",
     gm_option_fraction, offsetof(settings, cut), NULL, 0},
    {"gn-residual", 0, NULL, "Take the residual of Gauss-Newton, R = H - G, along.", gm_option_flag,
     offsetof(settings, gn_residual), NULL, 0},
    {"batch", 0, "M",
     "Batch size of the stochastic gradients whose share in the leading directions is computed "
     "(default: that of the run, else 1).",
     gm_option_count, offsetof(settings, batch), NULL, 0},
    {0}};

/* ---- options ---- */

static const char *recorded(const gm_session *session, const char *key)
{
    for (size_t i = 0; i < session->recordings; i++) {
        if (strcmp(session->recorded[i].key, key) == 0) return session->recorded[i].value;
    }
    return NULL;
}

/* Batch and replacement as given, else as the run was trained with, else single samples. */
static void choose_batch(gm_cli *cli, const gm_session *session, gm_decompose_options *o)
{
    const settings *given = cli->settings;
    const char *batch = recorded(session, "train.batch");
    const char *drawn = recorded(session, "train.replacement");
    unsigned long long trained = batch ? strtoull(batch, NULL, 10) : 0;
    gm_replacement replacement = cli->shared.replacement;
    if (drawn && !gm_cli_given(cli, "replacement")) gm_replacement_parse(drawn, &replacement);
    o->batch = given->batch ? given->batch : trained ? (size_t)trained : 1;
    o->without_replacement = replacement != GM_REPLACEMENT_YES;
}

/* Which method every block gets, where it was not said; and options that none of them heeds. */
static void tell_method(gm_cli *cli, const gm_session *session, const gm_decompose_options *o)
{
    size_t layers = gm_net_layers(session->net), products = 0;
    size_t size = gm_net_parameters(session->net);
    if (o->layer != GM_ALL_LAYERS)
        size = gm_net_layer_at(session->net, (size_t)o->layer).parameters;
    bool whole = gm_decompose_choice(size, o) == GM_DECOMPOSE_PRODUCTS;
    for (size_t i = 0; o->each_layer && i < layers; i++) {
        size_t parameters = gm_net_layer_at(session->net, i).parameters;
        products += gm_decompose_choice(parameters, o) == GM_DECOMPOSE_PRODUCTS;
    }
    if (o->method == GM_DECOMPOSE_AUTO && whole) {
        gm_cli_note(cli,
                    "%zu parameters: by products (--method), which gives the ends of the spectra, "
                    "exact traces, and norms with standard errors",
                    size);
    }
    if (!whole && !products && (o->tol > 0.0 || o->max_products > 0)) {
        gm_cli_note(cli, "--tol and --max-products are those of --method products, and all is "
                         "dense here");
    }
}

static void resolve_options(gm_cli *cli, const gm_session *session, gm_decompose_options *o)
{
    const settings *given = cli->settings;
    gm_decompose_options_default(o);
    o->method = given->method;
    o->stop = gm_interrupt_agreed;
    o->watch = (void *)session->team;
    o->tol = cli->shared.tol;
    o->max_products = given->max_products;
    o->k = given->k;
    o->by_magnitude = given->by_magnitude;
    o->cut = given->cut;
    o->gn_residual = given->gn_residual;
    o->layer = session->layer;
    o->each_layer = session->each_layer;
    o->seed = session->seed;
    o->memory = gm_session_memory(session);
    choose_batch(cli, session, o);
    if (o->k > gm_net_parameters(session->net)) {
        gm_cli_note(cli, "k = %zu exceeds the number of parameters, which is taken instead", o->k);
    }
}

/* ---- run file ---- */

/* Stacked over the points: steps [T], all eigenvalues [T, p] of five operators, leading vectors
 * [T, k, p] of H and M and principal cosines [T, k], both with zeros beyond the rank. By products
 * the leading eigenvalues alone [T, k + 1], NaN where fewer were found, the lowest ones [T, k + 1]
 * of H and H_p, and the vectors of the last point [1, k, p]. */
typedef enum content { STEPS, EIGENVALUES, LOWEST, VECTORS, COSINES } content;

static const struct {
    const char *name;
    gm_curvature kind;
    content what;
} stacks[] = {{"steps", GM_HESSIAN, STEPS},
              {"hessian/eigenvalues", GM_HESSIAN, EIGENVALUES},
              {"moment/eigenvalues", GM_MOMENT, EIGENVALUES},
              {"covariance/eigenvalues", GM_COVARIANCE, EIGENVALUES},
              {"residual/eigenvalues", GM_RESIDUAL, EIGENVALUES},
              {"ggn/eigenvalues", GM_GGN, EIGENVALUES},
              {"hessian/vectors", GM_HESSIAN, VECTORS},
              {"moment/vectors", GM_MOMENT, VECTORS},
              {"cosines", GM_HESSIAN, COSINES},
              /* by products alone */
              {"hessian/lowest", GM_HESSIAN, LOWEST},
              {"residual/lowest", GM_RESIDUAL, LOWEST}};
enum { ARRAYS = sizeof stacks / sizeof stacks[0], DENSE_ARRAYS = ARRAYS - 2 };

static void copy_or_nan(size_t count, const double *value, size_t row, double *out)
{
    for (size_t j = 0; j < row; j++) {
        out[j] = j < count ? value[j] : (double)NAN;
    }
}

/* The numbers that one point contributes to an array, at most row of them. */
static void copy_point(const gm_decomposition *point, size_t i, size_t row, double *out)
{
    const gm_block_survey *block = &point->block;
    const gm_operator_survey *op = &block->op[stacks[i].kind];
    switch (stacks[i].what) {
    case STEPS:
        *out = (double)point->step;
        break;
    case EIGENVALUES:
        copy_or_nan(op->values, op->value, row, out);
        break;
    case LOWEST:
        copy_or_nan(op->low_count, op->low_value, row, out);
        break;
    case COSINES:
        memcpy(out, block->cosine, block->angles * sizeof *out);
        break;
    case VECTORS: {
        size_t held = op->count * block->size; /* one pair more than k where the rank allows */
        if (!op->lead_vector) held = 0;        /* given up for a point that was interrupted */
        if (held > row) held = row;
        if (held) memcpy(out, op->lead_vector, held * sizeof *out);
    }
    }
}

static gm_status stack_array(const gm_decompose_results *results, size_t i, gm_run_array *array,
                             double **data, gm_error *err)
{
    const gm_block_survey *block = &results->point[0].block;
    size_t row = 1, total, first = 0, ends = block->products ? block->k + 1 : block->size;
    content what = stacks[i].what;
    /* Of the points by products only the last one still has its vectors. */
    if (what == VECTORS && block->products) first = results->count - 1;
    *array = (gm_run_array){.name = stacks[i].name, .dtype = GM_F64, .rank = 1};
    array->dim[0] = results->count - first;
    if (what == VECTORS || what == COSINES) array->dim[array->rank++] = block->k;
    if (what == VECTORS) array->dim[array->rank++] = block->size;
    if (what == EIGENVALUES || what == LOWEST)
        array->dim[array->rank++] = ends < block->size ? ends : block->size;
    for (int d = 1; d < array->rank; d++) {
        row *= array->dim[d];
    }
    if (!gm_mul_size(array->dim[0], row, &total)) total = SIZE_MAX;
    *data = gm_alloc(total, sizeof **data, stacks[i].name, err);
    if (!*data) return GM_ERR_MEMORY;
    for (size_t t = first; t < results->count; t++) {
        copy_point(&results->point[t], i, row, *data + (t - first) * row);
    }
    array->data = *data;
    return GM_OK;
}

static const char *key_of(const gm_session *session)
{
    return session->layer == GM_ALL_LAYERS
               ? ""
               : gm_net_layer_at(session->net, (size_t)session->layer).name;
}

static gm_status record(gm_cli *cli, const gm_session *session, const gm_decompose_results *results,
                        json_t *document, gm_error *err)
{
    if (!cli->shared.output) return GM_OK;
    gm_run_array array[ARRAYS] = {0};
    double *data[ARRAYS] = {0};
    gm_status status = GM_OK;
    const gm_block_survey *block = &results->point[0].block;
    size_t count = block->products && !block->op[GM_HESSIAN].by_magnitude ? ARRAYS : DENSE_ARRAYS;
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        status = stack_array(results, i, &array[i], &data[i], err);
    }
    if (status == GM_OK) {
        /* A layer's block stands beside the whole net's result, it does not replace it. */
        const char *key = key_of(session);
        status = gm_record_result(cli, session, key, document, array, count, err);
    }
    for (size_t i = 0; i < ARRAYS; i++) {
        gm_free(data[i]);
    }
    return status;
}

/* ---- the points ---- */

/* Points of a watched folder at most: their measurements stay in memory. */
enum { MOST_WATCHED = 4096 };

typedef struct walk {
    gm_cli *cli;
    gm_session *session;
    gm_series *series;
    const gm_decompose_options *options;
    bool ended; /* a watched folder brings no more */
    gm_progress progress;
} walk;

static gm_status point_at(void *self, size_t index, int64_t *step, double *theta, gm_error *err)
{
    walk *w = self;
    bool found;
    gm_status status = gm_series_await(w->series, index, &found, err);
    if (status != GM_OK) return status;
    w->ended = !found;
    if (w->ended) return gm_fail(err, GM_ERR_INTERRUPTED, "no more points");
    return gm_series_read(w->series, index, step, theta, err);
}

/* The session says that it stands at this point. */
static void stand_at(gm_session *session, const gm_decomposition *point)
{
    session->measured = true;
    session->loss = point->loss;
    session->gradient_norm = point->gradient_norm;
}

/* A point of a watched folder: a line, and a result of its own in the run file. */
static gm_status deliver_point(const walk *w, size_t index, const gm_decomposition *point,
                               gm_error *err)
{
    gm_session *session = w->session;
    gm_decompose_results one = {.options = w->options,
                                .first = index,
                                .count = 1,
                                .asked = 1,
                                .point = point,
                                .series = w->series};
    if (!w->cli->shared.json) gm_decompose_print_line(&one);
    if (!w->cli->shared.output) return GM_OK;
    char *whole = session->point;
    session->point = gm_series_point(w->series, index, err);
    session->step = point->step;
    stand_at(session, point);
    gm_status status = session->point ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK)
        status = gm_decompose_findings(1, point, w->options->seed, one.finding, err);
    json_t *document = status == GM_OK ? gm_decompose_document(w->cli, session, &one, err) : NULL;
    if (status == GM_OK) {
        status = document ? record(w->cli, session, &one, document, err) : GM_ERR_MEMORY;
    }
    json_decref(document);
    gm_free(session->point);
    session->point = whole;
    return status;
}

static gm_status point_done(void *self, size_t index, const gm_decomposition *point, gm_error *err)
{
    walk *w = self;
    if (w->series->watched) return deliver_point(w, index, point, err);
    gm_progress_update(&w->progress, index + 1, NULL);
    return GM_OK;
}

/* ---- the command ---- */

static gm_status deliver(gm_cli *cli, const gm_session *session,
                         const gm_decompose_results *results, gm_error *err)
{
    gm_status status = GM_OK;
    json_t *document = NULL;
    if (cli->silent) return GM_OK;
    if (cli->shared.json || cli->shared.output) {
        document = gm_decompose_document(cli, session, results, err);
        if (!document) return GM_ERR_MEMORY;
        if (!results->series->watched) status = record(cli, session, results, document, err);
    }
    if (status == GM_OK && cli->shared.json) return gm_document_print(cli, document, err);
    if (status == GM_OK) gm_decompose_print(cli, session, results);
    json_decref(document);
    return status;
}

/* A result that did not converge is delivered all the same; then this is the line on stderr. */
static gm_status refuse_unconverged(const gm_decompose_results *results, gm_error *err)
{
    for (size_t i = 0; i < results->count; i++) {
        const gm_decomposition *point = &results->point[i];
        for (size_t l = 0; l <= point->layers; l++) {
            const gm_block_survey *block = l ? &point->layer[l - 1] : &point->block;
            for (int kind = 0; kind < GM_CURVATURES; kind++) {
                const gm_operator_survey *op = &block->op[kind];
                if (!op->measured || op->converged) continue;
                return gm_fail(err, GM_ERR_NUMERIC,
                               "not converged: eigenpairs of the %s of %s after %zu products; "
                               "expected a larger --tol or --max-products",
                               gm_curvature_name((gm_curvature)kind), block->name, op->spent);
            }
        }
    }
    return GM_OK;
}

/* Findings and documents of the points that there are; *later: what went wrong there. */
static gm_status conclude(walk *w, gm_decompose_results *results, bool interrupted, gm_error *later)
{
    if (results->count == 0) {
        return w->series->watched ? gm_series_print_nothing(w->series, later) : GM_OK;
    }
    gm_status status = gm_series_finish(w->series, results->count, interrupted, later);
    if (status != GM_OK) return status;
    stand_at(w->session, &results->point[results->count - 1]);
    status = gm_decompose_findings(results->count, results->point, w->options->seed,
                                   results->finding, later);
    if (status == GM_OK) status = deliver(w->cli, w->session, results, later);
    return status == GM_OK && !interrupted ? refuse_unconverged(results, later) : status;
}

static gm_status measure(gm_cli *cli, gm_session *session, gm_series *series,
                         const gm_decompose_options *o, gm_error *err)
{
    walk w = {.cli = cli, .session = session, .series = series, .options = o};
    size_t most = series->watched ? MOST_WATCHED : series->count;
    gm_decompose_results results = {.options = o, .asked = most, .series = series};
    gm_decomposition *point = gm_alloc(most, sizeof *point, "points", err);
    if (!point) return GM_ERR_MEMORY;
    results.point = point;
    gm_decompose_points source = {.count = most, .self = &w, .at = point_at, .done = point_done};
    gm_progress_start(&w.progress, "decompose", "points", 0, most,
                      cli->shared.quiet || most == 1 || series->watched);
    gm_interrupt_install();
    gm_status status = gm_decompose_run(session->problem, &source, o, point, &results.count, err);
    gm_progress_finish(&w.progress);
    gm_error later = {0}; /* err holds what an interruption is reported by */
    bool interrupted = status == GM_ERR_INTERRUPTED && !w.ended;
    if (series->watched) results.asked = results.count;
    if (status == GM_OK || w.ended || (interrupted && results.count > 0)) {
        status = conclude(&w, &results, interrupted, &later);
        if (status != GM_OK && *later.message) *err = later;
        if (status == GM_OK && interrupted) status = GM_ERR_INTERRUPTED;
    }
    for (size_t i = 0; i < most; i++) {
        gm_decomposition_free(&point[i]);
    }
    gm_free(point);
    return status;
}

/* Files arrive in a watched folder at a time that ranks may see differently. */
static gm_sharing sharing(const gm_cli *cli)
{
    return cli->shared.watch ? GM_SHARING_NONE : GM_SHARING_SAMPLES;
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_decompose_options o;
    gm_series p;
    gm_status status = gm_series_open(cli, &p, err);
    if (status == GM_OK) status = gm_session_open(cli, &session, err);
    if (status == GM_OK) status = gm_series_attach(&p, &session, err);
    if (status != GM_OK) goto done;
    resolve_options(cli, &session, &o);
    tell_method(cli, &session, &o);
    if (p.watched) o.stop = NULL; /* Ctrl-C ends after the point at hand */
    status = gm_decompose_check(session.problem, &o, p.watched ? 2 : p.count, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status == GM_OK) status = gm_series_skip_recorded(&p, key_of(&session), err);
    if (status != GM_OK) goto done;
    gm_cli_begin(cli);
    status = measure(cli, &session, &p, &o, err);
done:
    gm_session_close(&session);
    gm_series_close(&p);
    return status;
}

const gm_command gm_command_decompose = {
    .name = "decompose",
    .summary = "the Hessian against the second moment of stochastic gradients",
    .usage = "--model SPEC --data SPEC [OPTION]...",
    .description =
        "Takes the Hessian H of the loss apart into the second moment M of the stochastic "
        "gradients and the residual H_p, H = M - H_p, and measures how they lie to each other: "
        "eigenvalues of H, M, their covariance, H_p and the Gauss-Newton matrix G, overlaps and "
        "principal angles of their leading eigenspaces against those of random subspaces, and the "
        "share of the gradient in them.\n\n"
        "With --params run.gmr@all it does so at every checkpoint of a training run, with --params "
        "'ckpt-*.safetensors' at every file that the pattern matches (2 before 10), and says "
        "whether two findings hold in it: that H_p stays significant after convergence and is "
        "close to -H, and that the top directions of H and M are well aligned. --watch follows a "
        "folder that a training writes such files to.\n\n"
        "Up to 5,000 parameters this is done by dense matrices, whose memory grows as the square "
        "of "
        "the number of parameters; beyond, by products, which give the leading eigenpairs, exact "
        "traces, and Frobenius norms with standard errors. --layer takes one layer's diagonal "
        "block "
        "in place of the net, --layers each takes all of them along.",
    .examples = "  gradiometer decompose --model mlp:50-30-10 --data gauss:n=100\n"
                "  gradiometer decompose --params run.gmr@all -o run.gmr\n"
                "  gradiometer decompose --model mlp:50-30-10 --data gauss:n=100 \\\n"
                "              --params 'ckpt-*.safetensors' -o ckpt.gmr\n"
                "  gradiometer decompose --params run.gmr@1000 --layers each --json\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA | GM_TAKES_BATCH | GM_TAKES_LAYER | GM_TAKES_OUTPUT |
             GM_TAKES_TOLERANCE | GM_TAKES_WATCH,
    .options = options,
    .settings_size = sizeof(settings),
    .defaults = &defaults,
    .run = run,
    .sharing = sharing};
