/* gradiometer spectrum: eigenvalues, density, trace and diagonal of one operator. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/document.h"
#include "cli/record.h"
#include "cli/series.h"
#include "cli/session.h"
#include "cli/spectrum_along.h"
#include "cli/spectrum_describe.h"
#include "cli/spectrum_measure.h"
#include "cli/spectrum_output.h"
#include "cli/spectrum_resample.h"
#include "cli/spectrum_source.h"
#include "data/npy.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

static const gm_spectrum_settings spectrum_defaults = {
    .kind = GM_HESSIAN, .method = GM_METHOD_DENSE, .which = GM_WHICH_LA, .probes = 10, .steps = 80};

/* ---- options ---- */

static const char *const kind_words[] = {"hessian",  "ggn",         "moment", "covariance",
                                         "residual", "gn_residual", NULL};
static const char *const end_words[] = {"LA", "SA", "BE", "LM", NULL};

/* A number, maybe infinite, that ends at `stop`; NULL where there is none, else what follows it. */
static const char *scan_number(const char *text, char stop, double *value)
{
    char *end;
    bool begins = *text && strchr("+-.0123456789i", *text);
    *value = begins ? strtod(text, &end) : 0;
    if (!begins || end == text || *end != stop || isnan(*value)) return NULL;
    return stop ? end + 1 : end;
}

/* double, finite */
static gm_status parse_number(const gm_option *o, const char *text, void *target, gm_error *err)
{
    double *value = target;
    if (scan_number(text, 0, value) && isfinite(*value)) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE, "--%s: found '%s', expected a number", o->name, text);
}

/* gm_spectrum_interval */
static gm_status parse_interval(const gm_option *o, const char *text, void *target, gm_error *err)
{
    gm_spectrum_interval *interval = target;
    const char *second = scan_number(text, ',', &interval->from);
    if (second && scan_number(second, 0, &interval->to) && interval->from <= interval->to) {
        return GM_OK;
    }
    return gm_fail(err, GM_ERR_USAGE,
                   "--%s: found '%s', expected two numbers A,B with A <= B (or -inf, inf)", o->name,
                   text);
}

#define AT(field) offsetof(gm_spectrum_settings, field)

static const gm_option spectrum_options[] = {
    {"matrix", 0, "FILE",
     "Measure this symmetric matrix in the place of a net on data: [p, p] in an .npy file, or a "
     "Matrix Market .mtx file, which stays sparse where it is. In f64.",
     gm_option_text, AT(matrix), NULL, 0},
    {"operator", 0, "A",
     "hessian H (the default); ggn G, generalized Gauss-Newton; moment M, second moment of the "
     "per-sample gradients; covariance, M minus the gradient's outer product; residual, M - H; "
     "gn_residual, H - G.",
     gm_option_choice, AT(kind), kind_words, 0},
    {"precondition", 0, "D",
     "Put D^-1/2 on both sides of the operator, for the diagonal D by which a training divides its "
     "gradients: optimizer, the state in the run file of --params, or its name, rmsprop, adagrad "
     "or adam; diag-moment, sqrt(diag M) + E; diag-hessian, |diag H| + E. Default: none.",
     gm_option_choice, AT(divisor), gm_divisor_words, 0},
    {"precondition-file", 0, "F.npy", "The same for a D of one's own, [p] positive numbers.",
     gm_option_text, AT(divisor_file), NULL, 0},
    {"precondition-eps", 0, "E",
     "E of diag-moment and diag-hessian. Default: 0.001 and 0.3, as in train.", gm_option_positive,
     AT(divisor_eps), NULL, 0},
    {"method", 0, "METHOD",
     "dense: all eigenvalues by LAPACK, of the Gram form where that is smaller; lanczos: K extreme "
     "eigenpairs by products alone; density: the whole spectrum, smoothed, by stochastic Lanczos "
     "quadrature; trace: trace and Frobenius norm by random probes; diagonal: the exact diagonal "
     "and its sum. Default: dense up to 5,000 parameters where the matrix fits the memory, else "
     "lanczos.",
     gm_option_choice, AT(method), gm_spectrum_methods, 0},
    {"k", 'k', "K",
     "lanczos: number of eigenpairs; dense: number checked by true products. Default: 10.",
     gm_option_count, AT(k), NULL, 0},
    {"which", 0, "END",
     "Which ones: LA, the largest (the default); SA, the smallest; BE, from both ends; LM, the "
     "largest in absolute value.",
     gm_option_choice, AT(which), end_words, 0},
    {"solver", 0, "SOLVER",
     "lanczos: arpack, implicitly restarted Lanczos, the fewest products; of a repeated eigenvalue "
     "it may miss copies at loose tolerances. block, a block method from random vectors: finds "
     "every copy, takes more products. slepc, in gradiometer-mpi alone: like arpack, with each "
     "vector split over the ranks. Default: arpack, but block at the lower end of G, M and the "
     "covariance, where 0 is met many times, and slepc where it can be had and the vectors of "
     "arpack do not fit --memory.",
     gm_option_choice, AT(solver), gm_spectrum_solvers, 0},
    {"max-products", 0, "N",
     "lanczos: stop after N products with what has converged; default: no limit. trace, estimated "
     "diagonal: N products; default: 300, with --rel-error at most 10,000.",
     gm_option_count, AT(max_products), NULL, 0},
    {"estimator", 0, "E",
     "trace: xtrace (the default where its vectors, three for every two products, fit the memory: "
     "most accurate, exact at low rank, its error covers everything); hutchpp (fewer vectors; its "
     "error is that of the random part); hutchinson (32 vectors whatever the number of products; "
     "the default otherwise). diagonal: hutchinson or xdiag in place of the exact one.",
     gm_option_choice, AT(estimator), gm_spectrum_estimators, 0},
    {"rel-error", 0, "E",
     "trace, estimated diagonal: go on until half the 95 % confidence interval is at most E times "
     "the value.",
     gm_option_positive, AT(rel_error), NULL, 0},
    {"probes", 0, "N", "density: random start vectors. Default: 10.", gm_option_count, AT(probes),
     NULL, 1000000},
    {"steps", 0, "N", "density: Lanczos steps, products for each probe. Default: 80.",
     gm_option_count, AT(steps), NULL, 1000000},
    {"width", 0, "W",
     "density: standard deviation of the smoothing kernel. Default: from the nodes, at most 1/200 "
     "of their range.",
     gm_option_positive, AT(width), NULL, 0},
    {"bins", 0, "N", "density: points of the grid. Default: two for every width, 200 to 2,000.",
     gm_option_count, AT(bins), NULL, 1000000},
    {"deflate", 0, "K",
     "density: find K extreme eigenpairs first (--which, --solver, --tol as for lanczos), keep "
     "those "
     "exact, and smooth the rest of the spectrum alone. Default: none.",
     gm_option_count, AT(deflate), NULL, 0},
    {"log-det", 0, "C", "density: estimate also log det(A + C I).", parse_number, AT(log_det), NULL,
     0},
    {"count", 0, "A,B", "density: estimate also the number of eigenvalues in [A, B].",
     parse_interval, AT(count), NULL, 0},
    {"data-resample", 0, "B",
     "Repeat the measurement on B bootstrap resamples of the data and show the spread: the "
     "sampling error of the data itself, which no estimator's error contains.",
     gm_option_count, AT(resamples), NULL, 100000},
    {"export-vectors", 0, "F.npy",
     "dense, lanczos: write the K eigenvectors, [K, p] in f8, in descending order of their "
     "eigenvalues.",
     gm_option_text, AT(export_vectors), NULL, 0},
    {"export-diagonal", 0, "F.npy", "dense, diagonal: write the diagonal, [p] in f8.",
     gm_option_text, AT(export_diagonal), NULL, 0},
    {"describe", 0, NULL,
     "Measure nothing: list the parameters of the model, layer by layer, and of an ONNX file which "
     "initializers are parameters and which are constants. Takes no data.",
     gm_option_flag, AT(describe), NULL, 0},
    {0}};

static const char *const titles[] = {
    [GM_HESSIAN] = "Hessian H",
    [GM_GGN] = "generalized Gauss-Newton matrix G",
    [GM_MOMENT] = "second moment M of the per-sample gradients",
    [GM_COVARIANCE] = "covariance of the per-sample gradients",
    [GM_RESIDUAL] = "residual H_p = M - H",
    [GM_GN_RESIDUAL] = "Gauss-Newton residual R = H - G",
};

/* ---- run ---- */

/* Files arrive in a watched folder at a time that ranks may see differently; a matrix has no
 * samples; resamples are drawn from all of them. */
static gm_sharing sharing(const gm_cli *cli)
{
    const gm_spectrum_settings *set = cli->settings;
    if (cli->shared.watch || set->matrix || set->describe) return GM_SHARING_NONE;
    if (set->resamples) return GM_SHARING_SUMS;
    bool given = gm_cli_given(cli, "method");
    bool density = given && set->method == GM_METHOD_DENSITY && !set->deflate;
    bool trace = given && set->method == GM_METHOD_TRACE && gm_cli_given(cli, "estimator") &&
                 set->estimator == GM_ESTIMATOR_HUTCHINSON;
    return density || trace ? GM_SHARING_PROBES : GM_SHARING_SAMPLES;
}

/* A net with more parameters than the solver that was asked for counts. */
static gm_status check_net(const gm_cli *cli, const gm_net *net, gm_error *err)
{
    const gm_spectrum_settings *set = cli->settings;
    size_t p = gm_net_parameters(net);
    if (set->solver != GM_SOLVER_SLEPC || !set->row_solver || cli->shared.layer) return GM_OK;
    if (p <= set->row_solver->most()) return GM_OK;
    return gm_fail(err, GM_ERR_DEPENDENCY,
                   "--solver slepc: %s has %zu parameters, expected at most %zu, what the integers "
                   "of this PETSc count (--with-64-bit-indices has more)",
                   gm_net_name(net), p, set->row_solver->most());
}

/* Of an operator; what --describe takes it looks at itself. */
static gm_status check(gm_cli *cli, gm_error *err)
{
    gm_spectrum_settings *set = cli->settings;
    if (set->describe) return GM_OK;
    set->log_det_wanted = gm_cli_given(cli, "log-det");
    set->count_wanted = gm_cli_given(cli, "count");
    gm_status status = gm_spectrum_check_inputs(cli, set, err);
    if (status == GM_OK) status = gm_spectrum_check_options(cli, set, err);
    return status == GM_OK ? gm_spectrum_along_check(cli, err) : status;
}

/* The files that are written in the end. */
static gm_status check_outputs(const gm_cli *cli, gm_error *err)
{
    const gm_spectrum_settings *set = cli->settings;
    gm_status status = gm_record_check(cli, err);
    if (status == GM_OK && set->export_vectors) {
        status = gm_cli_check_writable("export-vectors", set->export_vectors, err);
    }
    if (status == GM_OK && set->export_diagonal) {
        status = gm_cli_check_writable("export-diagonal", set->export_diagonal, err);
    }
    return status;
}

/* Checks that every block can be done. */
static gm_status check_blocks(gm_cli *cli, gm_spectrum_source *source, size_t blocks, gm_error *err)
{
    const gm_spectrum_settings *set = cli->settings;
    gm_spectrum_operator target = {0};
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < blocks; i++) {
        status = gm_spectrum_source_block(source, set, i, &target, err);
        if (status == GM_OK) status = gm_spectrum_check(cli, &target, set, err);
        gm_spectrum_operator_close(&target);
    }
    if (status == GM_OK) gm_cli_begin(cli);
    return status;
}

static gm_status measure_blocks(gm_spectrum_source *source, const gm_spectrum_settings *set,
                                size_t blocks, gm_spectrum *block, gm_error *err)
{
    gm_spectrum_operator target = {0};
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < blocks; i++) {
        status = gm_spectrum_source_block(source, set, i, &target, err);
        if (status == GM_OK) status = gm_spectrum_measure(&target, set, block + i, err);
        gm_spectrum_operator_close(&target);
    }
    return status;
}

static gm_status export_arrays(const gm_spectrum_settings *set, const gm_spectrum *s, gm_error *err)
{
    gm_status status = GM_OK;
    if (set->export_vectors && !s->pairs.split) {
        status = gm_npy_write(set->export_vectors, GM_NPY_F8, 2, (size_t[]){s->pairs.k, s->size},
                              s->pairs.vector, err);
    }
    if (status == GM_OK && set->export_diagonal) {
        status = gm_npy_write(set->export_diagonal, GM_NPY_F8, 1, &s->size, s->diagonal.value, err);
    }
    return status;
}

/* Vectors of which each rank holds a share leave with the help of all. */
static gm_status export_shares(const gm_spectrum_settings *set, const gm_spectrum *s, gm_error *err)
{
    if (!set->export_vectors || !s->pairs.split) return GM_OK;
    return gm_spectrum_export_rows(set->export_vectors, set, s, err);
}

/* Everything after the measurement: files, record, and what is printed. */
static gm_status deliver(const gm_spectrum_report *report, gm_error *err)
{
    gm_status status = export_shares(report->set, report->block, err);
    if (report->cli->silent) return status;
    if (status == GM_OK) status = export_arrays(report->set, report->block, err);
    if (status != GM_OK) return status;
    json_t *document = gm_spectrum_document(report, err);
    if (!document) return GM_ERR_MEMORY;
    if (!report->trajectory) status = gm_spectrum_record(report, document, err);
    if (status == GM_OK && report->cli->shared.json) {
        return gm_document_print(report->cli, document, err);
    }
    json_decref(document);
    if (status == GM_OK) gm_spectrum_print(report);
    return status;
}

static gm_status refuse_resamples(const gm_spectrum_report *report, gm_error *err)
{
    for (size_t i = 0; i < report->blocks; i++) {
        const gm_spectrum_resamples *r = &report->block[i].resamples;
        if (r->converged == r->count) continue;
        return gm_fail(err, GM_ERR_NUMERIC, "not converged: %zu of %zu resamples of the data",
                       r->count - r->converged, r->count);
    }
    return GM_OK;
}

/* A result that did not converge is printed all the same; then this is the line on stderr. */
static gm_status refuse_unconverged(const gm_spectrum_report *report, gm_error *err)
{
    const gm_spectrum_settings *set = report->set;
    const gm_spectrum *s = report->block;
    for (size_t i = 0; i < report->blocks && s->converged; i++) {
        s = report->block + i;
    }
    if (s->converged) return refuse_resamples(report, err);
    const gm_spectrum_pairs *pairs = &s->pairs;
    if (pairs->value && pairs->stop == GM_EIGEN_PRODUCTS) {
        return gm_fail(err, GM_ERR_NUMERIC,
                       "not converged: %zu of %zu eigenpairs after %zu products, the limit of "
                       "--max-products",
                       pairs->converged, pairs->wanted, s->products);
    }
    if (pairs->value && pairs->values < pairs->wanted) {
        return gm_fail(err, GM_ERR_NUMERIC,
                       "not converged: %zu of %zu eigenpairs after %zu products, where the solver "
                       "gave up; expected a larger --tol or --solver block",
                       pairs->converged, pairs->wanted, s->products);
    }
    if (pairs->value && pairs->noise > 0.1 * set->tol * pairs->scale) {
        return gm_fail(err, GM_ERR_NUMERIC,
                       "not converged: residuals reach %.2g of the largest |eigenvalue|, --tol "
                       "expects at most %.2g; the products' own noise is %.2g of it",
                       pairs->worst, set->tol, pairs->noise / pairs->scale);
    }
    if (pairs->value) {
        return gm_fail(err, GM_ERR_NUMERIC,
                       "not converged: residuals reach %.2g of the largest |eigenvalue|, --tol "
                       "expects at most %.2g",
                       pairs->worst, set->tol);
    }
    const gm_diagonal_result *d = &s->diagonal.estimate;
    bool diagonal = s->diagonal.value;
    double half = diagonal ? d->half_width : s->trace.half_width;
    double value = diagonal ? d->norm : fabs(s->trace.value);
    return gm_fail(err, GM_ERR_NUMERIC,
                   "not converged: half the 95 %% confidence interval is %.2g of the %s after %zu "
                   "products, --rel-error expects at most %.2g",
                   half / value, diagonal ? "diagonal's norm" : "trace", s->products,
                   set->rel_error);
}

/* The measurement at one point, with its resamples. */
static gm_status measure_once(gm_spectrum_source *source, const gm_spectrum_report *report,
                              gm_spectrum *block, gm_error *err)
{
    gm_status status = measure_blocks(source, report->set, report->blocks, block, err);
    if (status == GM_OK) {
        status = gm_spectrum_resample(source, report->set, report->blocks, block, err);
    }
    if (status == GM_OK) status = deliver(report, err);
    return status == GM_OK ? refuse_unconverged(report, err) : status;
}

/* At several points; those that were finished before Ctrl-C are delivered. */
static gm_status measure_along(gm_spectrum_source *source, gm_series *series,
                               gm_spectrum_report *report, gm_spectrum *block, gm_error *err)
{
    size_t done;
    gm_error later = {0}; /* err holds what an interruption is reported by */
    gm_spectrum_source_rest(source);
    gm_status status = gm_spectrum_along(source, series, report->set, report, block, &done, err);
    bool interrupted = status == GM_ERR_INTERRUPTED && done > 0;
    if ((status == GM_OK && done > 0) || interrupted) {
        status = gm_series_finish(series, done, interrupted, &later);
        if (status == GM_OK) status = deliver(report, &later);
    }
    if (status == GM_OK && !interrupted && done > 0) status = refuse_unconverged(report, &later);
    if (status == GM_OK && done == 0) status = gm_series_print_nothing(series, &later);
    if (status != GM_OK && *later.message) *err = later;
    json_decref(report->trajectory);
    return status == GM_OK && interrupted ? GM_ERR_INTERRUPTED : status;
}

/* Where vectors are split because whole ones are too many, those that are not needed any more go.
 */
static void spare_memory(gm_session *session, const gm_spectrum_settings *set,
                         gm_spectrum_source *source)
{
    bool more = set->following || set->resamples; /* linearizations at these parameters or others */
    if (set->solver != GM_SOLVER_SLEPC || more || !source->lin) return;
    gm_linearization_trim(source->lin);
    gm_free(session->theta);
    session->theta = NULL;
#ifdef __GLIBC__
    malloc_trim(0); /* MPI has the C library keep what is freed */
#endif
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    gm_spectrum_settings *set = cli->settings;
    gm_session session = {0};
    gm_spectrum_source source = {0};
    gm_series series = {0};
    gm_spectrum *block = NULL;
    size_t blocks = 0;
    if (set->describe) return gm_spectrum_describe(cli, err);
    gm_status status = check_outputs(cli, err);
    if (status == GM_OK) status = gm_series_open(cli, &series, err);
    if (status == GM_OK) status = gm_spectrum_source_open(cli, set, &session, &source, err);
    if (status == GM_OK) status = gm_series_attach(&series, &session, err);
    if (status != GM_OK) goto done;

    set->following = series.trajectory;
    set->probers = session.joined ? NULL : session.team;
    status = gm_spectrum_settle(cli, gm_spectrum_source_largest(&source), session.precision,
                                session.seed, gm_session_memory(&session), set, err);
    if (status != GM_OK) goto done;
    blocks = gm_spectrum_source_blocks(&source);
    block = gm_alloc(blocks, sizeof *block, "spectra", err);
    status =
        block ? gm_spectrum_source_linearize(&source, set, session.problem, err) : GM_ERR_MEMORY;
    if (status == GM_OK && source.lin) gm_session_measure(&session, source.lin);
    if (status == GM_OK) spare_memory(&session, set, &source);
    if (status == GM_OK) status = check_blocks(cli, &source, blocks, err);
    if (status == GM_OK) {
        gm_spectrum_report report = {.cli = cli,
                                     .session = &session,
                                     .set = set,
                                     .divisor = source.divisor.name ? &source.divisor : NULL,
                                     .name = set->matrix ? "matrix" : kind_words[set->kind],
                                     .title = set->matrix ? "matrix" : titles[set->kind],
                                     .each = session.each_layer,
                                     .blocks = blocks,
                                     .block = block};
        status = series.trajectory ? measure_along(&source, &series, &report, block, err)
                                   : measure_once(&source, &report, block, err);
    }
done:
    for (size_t i = 0; block && i < blocks; i++) {
        gm_spectrum_free(block + i);
    }
    gm_free(block);
    gm_spectrum_source_close(&source);
    gm_session_close(&session);
    gm_series_close(&series);
    return status;
}

const gm_command gm_command_spectrum = {
    .name = "spectrum",
    .summary = "eigenvalues, density, trace and diagonal of one curvature operator",
    .usage = "--model SPEC --data SPEC [--params FILE] [OPTION]... | --matrix FILE [OPTION]...",
    .description =
        "Computes the eigenvalues of the Hessian of the training loss, or of an operator related "
        "to it, at one point of the parameter space. The loss is the mean over the samples.\n\n"
        "The dense method forms the matrix with all its parameters and hands it to LAPACK; it is "
        "for nets of up to some ten thousand parameters. The others work by products alone and "
        "take nets of millions: lanczos finds extreme eigenpairs with their residuals, density "
        "the shape of the whole spectrum, trace and diagonal what their names say. Every estimate "
        "stands beside its standard error and the number of products it took.\n\n"
        "With --params run.gmr@all, or a pattern in quotes such as 'ckpt-*.safetensors' (2 before "
        "10), it does so at one checkpoint after the other, lanczos from the eigenvectors of the "
        "one before; each is recorded as it is done. --watch does the same with the files that a "
        "training writes to a folder, as they come.\n\n"
        "Eigenvalues are printed in descending order. A result that did not converge is printed "
        "and recorded, and the exit status is 1. Ctrl-C ends after the current product.",
    .examples =
        "  gradiometer spectrum --model mlp:50-30-10 --data gauss:n=100 --json\n"
        "  gradiometer spectrum --params run.gmr@1000 --operator moment --k 15\n"
        "  gradiometer spectrum --params run.gmr --method lanczos --k 20 --which BE -o run.gmr\n"
        "  gradiometer spectrum --model mlp:50-30-10 --data gauss:n=100 \\\n"
        "              --params 'ckpt-*.safetensors' --method lanczos -o ckpt.gmr\n"
        "  gradiometer spectrum --model mlp:50-30-10 --data gauss:n=100 --method lanczos \\\n"
        "              --watch checkpoints/ --watch-idle 600 -o watch.gmr\n"
        "  gradiometer spectrum --params run.gmr --method density --count 0.1,inf\n"
        "  gradiometer spectrum --params run.gmr --method trace --rel-error 0.01\n"
        "  gradiometer spectrum --params run.gmr --method diagonal --export-diagonal d.npy\n"
        "  gradiometer spectrum --params run.gmr --precondition optimizer --method lanczos\n"
        "  gradiometer spectrum --matrix A.mtx --method lanczos --k 20 --which BE\n"
        "  gradiometer spectrum --model net.onnx --describe\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA | GM_TAKES_TOLERANCE | GM_TAKES_LAYER |
             GM_TAKES_OUTPUT | GM_TAKES_WATCH,
    .options = spectrum_options,
    .settings_size = sizeof(gm_spectrum_settings),
    .defaults = &spectrum_defaults,
    .check = check,
    .run = run,
    .check_net = check_net,
    .sharing = sharing,
};
