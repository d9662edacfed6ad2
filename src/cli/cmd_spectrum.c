/* gradiometer spectrum: eigenvalues, trace and diagonal of one curvature operator. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/document.h"
#include "cli/record.h"
#include "cli/session.h"
#include "cli/spectrum_measure.h"
#include "data/npy.h"
#include "gradiometer/spectrum.h"

static const gm_spectrum_settings spectrum_defaults = {
    .kind = GM_HESSIAN, .method = GM_METHOD_DENSE, .k = 10, .which = GM_END_LA};

static const char *const kind_words[] = {"hessian",  "ggn",         "moment", "covariance",
                                         "residual", "gn_residual", NULL};
static const char *const method_words[] = {"dense", "diagonal", NULL};
static const char *const end_words[] = {"LA", "SA", "BE", "LM", NULL};

#define AT(field) offsetof(gm_spectrum_settings, field)

static const gm_option spectrum_options[] = {
    {"operator", 0, "A",
     "hessian H (the default); ggn G, generalized Gauss-Newton; moment M, second moment of the "
     "per-sample gradients; covariance, M minus the gradient's outer product; residual, M - H; "
     "gn_residual, H - G.",
     gm_option_choice, AT(kind), kind_words, 0},
    {"method", 0, "METHOD",
     "dense (the default): all eigenvalues by LAPACK, of the Gram form where that is smaller; "
     "diagonal: the exact diagonal and the trace.",
     gm_option_choice, AT(method), method_words, 0},
    {"k", 'k', "K", "Number of eigenpairs checked by true products. Default: 10.", gm_option_count,
     AT(k), NULL, 0},
    {"which", 0, "END",
     "Which ones: LA, the largest (the default); SA, the smallest; BE, from both ends; LM, the "
     "largest in absolute value.",
     gm_option_choice, AT(which), end_words, 0},
    {"export-vectors", 0, "F.npy",
     "Write these K eigenvectors, [K, p] in f8, in descending order of their eigenvalues.",
     gm_option_text, AT(export_vectors), NULL, 0},
    {"export-diagonal", 0, "F.npy", "Write the diagonal, [p] in f8.", gm_option_text,
     AT(export_diagonal), NULL, 0},
    {0}};

/* ---- the document ---- */

static json_t *sum_value(gm_cli *cli, const char *what, double value, bool products)
{
    json_t *object = json_object();
    json_object_set_new(object, "value", gm_json_number(cli, what, value));
    json_object_set_new(object, "stderr", json_real(0)); /* exact, no estimate */
    if (products) json_object_set_new(object, "products", json_integer(0));
    return object;
}

static json_t *diagonal_value(gm_cli *cli, const gm_spectrum *s)
{
    json_t *object = json_object();
    json_object_set_new(object, "min", gm_json_number(cli, "diagonal min", s->diagonal_min));
    json_object_set_new(object, "max", gm_json_number(cli, "diagonal max", s->diagonal_max));
    json_object_set_new(object, "mean", gm_json_number(cli, "diagonal mean", s->diagonal_mean));
    json_object_set_new(object, "exact", json_true());
    return object;
}

/* Adds what was measured to object: the document itself, or one block of --layers each. */
static void set_spectrum(gm_cli *cli, const gm_session *session, const gm_spectrum *s,
                         json_t *object)
{
    bool whole = s->layer == GM_ALL_LAYERS;
    json_object_set_new(object, "layer",
                        whole ? json_null()
                              : json_string(gm_net_layer_at(session->net, (size_t)s->layer).name));
    json_object_set_new(object, "size", json_integer((json_int_t)s->size));
    if (s->value) {
        json_t *index = json_array();
        for (size_t i = 0; i < s->k; i++) {
            json_array_append_new(index, json_integer((json_int_t)s->index[i]));
        }
        json_object_set_new(object, "form", json_string(s->gram ? "gram" : "direct"));
        json_object_set_new(object, "eigenvalues",
                            gm_json_numbers(cli, "eigenvalues", s->size, s->value));
        json_object_set_new(object, "checked", index);
        json_object_set_new(object, "residuals",
                            gm_json_numbers(cli, "residuals", s->k, s->residual));
        json_object_set_new(object, "converged", json_boolean(s->converged));
        json_object_set_new(object, "frobenius", sum_value(cli, "frobenius", s->frobenius, false));
    }
    json_object_set_new(object, "products", json_integer((json_int_t)s->products));
    json_object_set_new(object, "trace", sum_value(cli, "trace", s->trace, true));
    if (s->diagonal) json_object_set_new(object, "diagonal", diagonal_value(cli, s));
}

static json_t *build_document(gm_cli *cli, const gm_session *session, size_t blocks,
                              const gm_spectrum *block, gm_error *err)
{
    const gm_spectrum_settings *set = cli->settings;
    json_t *document = gm_document_create(cli, session, err);
    if (!document) return NULL;
    json_object_set_new(document, "operator", json_string(kind_words[set->kind]));
    json_object_set_new(document, "method", json_string(method_words[set->method]));
    if (!session->each_layer) {
        set_spectrum(cli, session, block, document);
        return document;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < blocks; i++) {
        json_t *object = json_object();
        set_spectrum(cli, session, block + i, object);
        json_array_append_new(list, object);
    }
    json_object_set_new(document, "blocks", list);
    return document;
}

/* ---- the readable form ---- */

static const char *const titles[] = {
    [GM_HESSIAN] = "Hessian H",
    [GM_GGN] = "generalized Gauss-Newton matrix G",
    [GM_MOMENT] = "second moment M of the per-sample gradients",
    [GM_COVARIANCE] = "covariance of the per-sample gradients",
    [GM_RESIDUAL] = "residual H_p = M - H",
    [GM_GN_RESIDUAL] = "Gauss-Newton residual R = H - G",
};

static void print_ends(size_t k, const gm_spectrum *s)
{
    printf("\n%6s  %16s  %16s\n", "", "largest", "smallest");
    for (size_t i = 0; i < k && i < s->size; i++) {
        printf("%6zu  %16.8e  %16.8e\n", i + 1, s->value[i], s->value[s->size - 1 - i]);
    }
}

/* Eigenvalues beyond shares of the largest absolute one, never against zero: where the noise of the
 * products ends is a question of scale. */
static void print_counts(const gm_spectrum *s, double eps)
{
    static const double cuts[] = {1e-1, 1e-2, 1e-3, 1e-4};
    gm_spectral_summary summary[4];
    for (int i = 0; i < 4; i++) {
        gm_spectral_summarize(s->size, s->value, cuts[i], eps, 0, summary + i);
    }
    printf("\ncut, relative to the largest |eigenvalue|");
    for (int i = 0; i < 4; i++) {
        printf("%9.0e", cuts[i]);
    }
    printf("\neigenvalues above it                     ");
    for (int i = 0; i < 4; i++) {
        printf("%9zu", summary[i].above);
    }
    printf("\neigenvalues below minus it               ");
    for (int i = 0; i < 4; i++) {
        printf("%9zu", summary[i].below);
    }
    printf("\n\ntrace %.8g, Frobenius norm %.8g, effective rank %.4g of %zu\n", s->trace,
           s->frobenius, summary[0].effective_rank, s->size);
}

static void print_spectrum(const gm_session *session, const gm_spectrum_settings *set,
                           const gm_spectrum *s)
{
    if (s->layer != GM_ALL_LAYERS) {
        printf("\nblock of layer %s, %zu parameters\n",
               gm_net_layer_at(session->net, (size_t)s->layer).name, s->size);
    }
    if (s->value) {
        print_ends(set->k, s);
        print_counts(s, gm_dtype_eps(session->precision));
        printf("%zu eigenpairs checked by true products: residuals at most %.2g of the largest "
               "|eigenvalue|%s\n",
               s->k, s->worst, s->converged ? "" : " (above the tolerance)");
    } else {
        printf("\ntrace %.8g\n", s->trace);
    }
    if (s->diagonal) {
        printf("diagonal, exact: from %.8g to %.8g, mean %.8g\n", s->diagonal_min, s->diagonal_max,
               s->diagonal_mean);
    }
}

static void print_text(const gm_cli *cli, const gm_session *session, size_t blocks,
                       const gm_spectrum *block)
{
    const gm_spectrum_settings *set = cli->settings;
    printf("operator   %s, %s\n", titles[set->kind], method_words[set->method]);
    gm_document_describe(session);
    for (size_t i = 0; i < blocks; i++) {
        print_spectrum(session, set, block + i);
    }
    printf("%.3g s\n", gm_cli_seconds(cli));
}

/* ---- run ---- */

static gm_status check(const gm_cli *cli, gm_error *err)
{
    const gm_spectrum_settings *set = cli->settings;
    bool exports = set->export_vectors || set->export_diagonal;
    if (set->export_vectors && set->method == GM_METHOD_DIAGONAL) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--export-vectors: --method diagonal has no eigenvectors, expected dense");
    }
    if (exports && cli->shared.each_layer) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--export-%s: one file cannot hold every layer, expected --layer",
                       set->export_vectors ? "vectors" : "diagonal");
    }
    gm_status status = gm_record_check(cli, err);
    if (status == GM_OK && set->export_vectors) {
        status = gm_cli_check_writable("export-vectors", set->export_vectors, err);
    }
    if (status == GM_OK && set->export_diagonal) {
        status = gm_cli_check_writable("export-diagonal", set->export_diagonal, err);
    }
    return status;
}

static gm_status export_arrays(const gm_spectrum_settings *set, const gm_spectrum *s, gm_error *err)
{
    gm_status status = GM_OK;
    if (set->export_vectors) {
        status = gm_npy_write(set->export_vectors, GM_NPY_F8, 2, (size_t[]){s->k, s->size},
                              s->vector, err);
    }
    if (status == GM_OK && set->export_diagonal) {
        status = gm_npy_write(set->export_diagonal, GM_NPY_F8, 1, &s->size, s->diagonal, err);
    }
    return status;
}

/* In the run file: the document, and as arrays the eigenvalues or the diagonal of each block. */
static gm_status record(gm_cli *cli, const gm_session *session, size_t blocks,
                        const gm_spectrum *block, json_t *document, gm_error *err)
{
    const gm_spectrum_settings *set = cli->settings;
    gm_run_array *array = gm_alloc(2 * blocks, sizeof *array, "record", err);
    char **name = gm_alloc(2 * blocks, sizeof *name, "record", err);
    char *key = NULL;
    size_t arrays = 0;
    gm_status status = array && name ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < blocks; i++) {
        const gm_spectrum *s = block + i;
        const char *layer = s->layer == GM_ALL_LAYERS
                                ? "net"
                                : gm_net_layer_at(session->net, (size_t)s->layer).name;
        for (int j = 0; status == GM_OK && j < 2; j++) {
            const double *data = j ? s->diagonal : s->value;
            if (!data) continue;
            name[arrays] = gm_format(err, "%s/%s", layer, j ? "diagonal" : "eigenvalues");
            if (!name[arrays]) status = GM_ERR_MEMORY;
            array[arrays] = (gm_run_array){
                .name = name[arrays], .dtype = GM_F64, .rank = 1, .dim = {s->size}, .data = data};
            arrays++;
        }
    }
    if (status == GM_OK) {
        key = gm_format(err, "%s/%s/%s", kind_words[set->kind], method_words[set->method],
                        session->each_layer   ? "each"
                        : session->layer >= 0 ? session->shared.layer
                                              : "net");
        status =
            key ? gm_record_result(cli, session, key, document, array, arrays, err) : GM_ERR_MEMORY;
    }
    for (size_t i = 0; i < arrays; i++) {
        gm_free(name[i]);
    }
    gm_free(name);
    gm_free(array);
    gm_free(key);
    return status;
}

/* Everything after the measurement: files, record, and what is printed. */
static gm_status deliver(gm_cli *cli, const gm_session *session, size_t blocks,
                         const gm_spectrum *block, gm_error *err)
{
    gm_status status = export_arrays(cli->settings, block, err);
    if (status != GM_OK) return status;
    json_t *document = build_document(cli, session, blocks, block, err);
    if (!document) return GM_ERR_MEMORY;
    status = record(cli, session, blocks, block, document, err);
    if (status == GM_OK && cli->shared.json) return gm_document_print(cli, document, err);
    json_decref(document);
    if (status == GM_OK) print_text(cli, session, blocks, block);
    return status;
}

/* Checks that every block fits, then measures them one by one. */
static gm_status measure_blocks(gm_cli *cli, const gm_session *session, gm_linearization *lin,
                                double tol, size_t blocks, gm_spectrum *block, gm_error *err)
{
    gm_status status = GM_OK;
    for (size_t i = 0; status == GM_OK && i < blocks; i++) {
        int layer = session->each_layer ? (int)i : session->layer;
        status = gm_spectrum_check(session, lin, cli->settings, layer, err);
    }
    if (status == GM_OK) gm_cli_begin(cli);
    for (size_t i = 0; status == GM_OK && i < blocks; i++) {
        int layer = session->each_layer ? (int)i : session->layer;
        status = gm_spectrum_measure(session, lin, cli->settings, tol, layer, block + i, err);
    }
    return status;
}

static gm_status refuse_unconverged(size_t blocks, const gm_spectrum *block, double tol,
                                    gm_error *err)
{
    for (size_t i = 0; i < blocks; i++) {
        if (block[i].converged) continue;
        return gm_fail(err, GM_ERR_NUMERIC,
                       "not converged: residuals reach %.2g of the largest |eigenvalue|, --tol "
                       "expects at most %.2g",
                       block[i].worst, tol);
    }
    return GM_OK;
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    gm_session session = {0};
    gm_linearization *lin = NULL;
    gm_spectrum *block = NULL;
    size_t blocks = 0;
    gm_status status = check(cli, err);
    if (status == GM_OK) status = gm_session_open(cli, &session, err);
    if (status != GM_OK) goto done;

    blocks = session.each_layer ? gm_net_layers(session.net) : 1;
    double tol = cli->shared.tol > 0 ? cli->shared.tol : session.precision == GM_F32 ? 1e-4 : 1e-10;
    block = gm_alloc(blocks, sizeof *block, "spectra", err);
    status = block ? gm_linearize(session.problem, session.theta, &lin, err) : GM_ERR_MEMORY;
    if (status == GM_OK) {
        gm_session_measure(&session, lin);
        status = measure_blocks(cli, &session, lin, tol, blocks, block, err);
    }
    if (status == GM_OK) status = deliver(cli, &session, blocks, block, err);
    if (status == GM_OK) status = refuse_unconverged(blocks, block, tol, err);
done:
    for (size_t i = 0; block && i < blocks; i++) {
        gm_spectrum_free(block + i);
    }
    gm_free(block);
    gm_linearization_free(lin);
    gm_session_close(&session);
    return status;
}

const gm_command gm_command_spectrum = {
    .name = "spectrum",
    .summary = "eigenvalues, trace and diagonal of one curvature operator",
    .usage = "--model SPEC --data SPEC [--params FILE] [OPTION]...",
    .description =
        "Computes the eigenvalues of the Hessian of the training loss, or of an operator related "
        "to it, at one point of the parameter space. The loss is the mean over the samples.\n\n"
        "The dense method forms the matrix with all its parameters and hands it to LAPACK; it is "
        "for nets of up to some ten thousand parameters. Eigenvalues are printed in descending "
        "order; K eigenpairs are checked by products with the operator itself.",
    .examples =
        "  gradiometer spectrum --model mlp:50-30-10 --data gauss:n=100 --json\n"
        "  gradiometer spectrum --params run.gmr@1000 --operator moment --k 15\n"
        "  gradiometer spectrum --params run.gmr --method diagonal --export-diagonal d.npy\n",
    .takes = GM_TAKES_MODEL | GM_TAKES_DATA | GM_TAKES_TOLERANCE | GM_TAKES_LAYER | GM_TAKES_OUTPUT,
    .options = spectrum_options,
    .settings_size = sizeof(gm_spectrum_settings),
    .defaults = &spectrum_defaults,
    .run = run,
};
