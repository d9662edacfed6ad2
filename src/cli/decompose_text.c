/* The tables of a decomposition, in at most 100 columns. */
#include "cli/decompose.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"

enum { WIDTH = 100, COLUMNS = 3, SHORT_K = 10, EIGENVALUES_SHOWN = 15 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Text in lines of at most WIDTH columns; all but the first are indented. */
static void print_wrapped(const char *text, int indent)
{
    int column = 0;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > 0 && column + 1 + word > WIDTH)
            column = printf("\n%*s", indent, "") - 1;
        else if (column > 0)
            column += printf(" ");
        column += printf("%.*s", word, text);
        text += word;
        text += *text == ' ';
    }
    putchar('\n');
}

/* ---- one row per point or layer ---- */

static void print_row_header(const char *label)
{
    printf("%6s %7s %5s %8s %6s %8s %7s %7s %6s %6s %4s %7s %5s %5s\n", label, "loss", "error",
           "max(H)", "min(H)", "max(M)", "tr H", "tr M", "gap H", "gap M", "neg", "|H_p+H|",
           "over-", "grad.");
    printf("%6s %7s %5s %8s %6s %8s %7s %7s %6s %6s %4s %7s %5s %5s\n", "", "", "%", "", "/max", "",
           "", "", "", "", "H", "/|H|", "lap", "share");
}

/* Three digits in width columns, two where three do not fit. */
static void print_short(int width, double value)
{
    char text[32];
    if (snprintf(text, sizeof text, "%.3g", value) > width) {
        snprintf(text, sizeof text, "%.2g", value);
    }
    printf(" %*s", width, text);
}

/* A number that may be undefined. */
static void print_defined(const char *format, int width, bool defined, double value)
{
    putchar(' ');
    if (defined) {
        printf(format, width, value);
    } else {
        printf("%*s", width, "-");
    }
}

/* Where the largest ratio of neighbouring eigenvalues stands, and the ratio. */
static void print_gap(const gm_spectral_summary *summary)
{
    char text[48];
    snprintf(text, sizeof text, summary->gap < 9.95 ? "%zu:%.1f" : "%zu:%.0f", summary->gap_after,
             summary->gap);
    printf(" %6s", summary->gap_after ? text : "-");
}

static void print_row(const char *label, const gm_decomposition *point,
                      const gm_block_survey *block)
{
    const gm_spectral_summary *h = &block->op[GM_HESSIAN].summary;
    const gm_spectral_summary *m = &block->op[GM_MOMENT].summary;
    size_t k = smaller(SHORT_K, block->pair[0].k), shares = block->shares;
    printf("%6s", label);
    print_short(7, point->loss);
    printf(" %5.1f", 100.0 * point->error_rate);
    print_defined("%*.3g", 8, isfinite(h->max), h->max);
    print_defined("%*.3f", 6, h->max > 0.0 && isfinite(h->min), h->min / h->max);
    print_defined("%*.3g", 8, isfinite(m->max), m->max);
    print_short(7, h->trace);
    print_short(7, m->trace);
    print_gap(h);
    print_gap(m);
    char below[32]; /* "12+": at least */
    snprintf(below, sizeof below, "%zu%s", h->below, block->op[GM_HESSIAN].below_known ? "" : "+");
    printf(" %4s", below);
    if (isfinite(block->residual_plus_hessian)) {
        print_short(7, block->residual_plus_hessian);
    } else {
        printf(" %7s", "-");
    }
    print_defined("%*.3f", 5, k > 0, k > 0 ? block->pair[0].value[k - 1] : 0.0);
    print_defined("%*.3f", 5, shares > 0, shares > 0 ? block->share[shares - 1] : 0.0);
    putchar('\n');
}

static void name_point(const gm_decomposition *point, const char *prefix, char *text, size_t size)
{
    if (point->step < 0) {
        snprintf(text, size, "point");
    } else {
        snprintf(text, size, "%s%lld", prefix, (long long)point->step);
    }
}

static void print_legend(const gm_decompose_results *results)
{
    const gm_decomposition *last = &results->point[results->count - 1];
    const gm_block_survey *block = &last->block;
    size_t k = smaller(SHORT_K, block->k);
    char text[640];
    snprintf(text, sizeof text,
             "max, min: largest and smallest eigenvalue; tr: trace; gap j:r: among the top %zu "
             "eigenvalues the largest ratio r of neighbours follows the j-th (down to %g of the "
             "largest; r >= %g: these j stand off the bulk); neg: eigenvalues of H below -%g of "
             "the largest |eigenvalue|; overlap: of the top %zu eigenvectors of H and M by %s "
             "(random subspaces: %.2g); grad. share: of the squared gradient in the top %zu "
             "eigenvectors of H.",
             block->op[GM_HESSIAN].summary.outlier_limit, GM_BULK_LEVEL, GM_OUTLIER_GAP,
             results->options->cut, k, results->options->by_magnitude ? "magnitude" : "value",
             (double)k / (double)block->size, block->k);
    print_wrapped(text, 0);
}

/* What is estimated by products, with its standard error, and what it took. */
static void print_estimates(const gm_decompose_results *results)
{
    static const gm_curvature kinds[] = {GM_HESSIAN, GM_MOMENT, GM_RESIDUAL};
    static const char *const names[] = {"H", "M", "H_p"};
    bool converged = true;
    size_t products = 0;
    if (!results->point[0].block.products) return;
    printf("\nFrobenius norms from %zu random vectors, +- one standard error, and ||H_p + H|| / "
           "||H||:\n",
           results->options->probes);
    for (size_t i = 0; i < results->count; i++) {
        const gm_block_survey *block = &results->point[i].block;
        char label[32];
        name_point(&results->point[i], "", label, sizeof label);
        printf("%6s", label);
        for (int j = 0; j < 3; j++) {
            const gm_operator_survey *op = &block->op[kinds[j]];
            printf("  %s %.3g", names[j], op->summary.frobenius);
            if (op->frobenius_error > 0.0) printf(" +- %.1g", op->frobenius_error);
        }
        if (isnan(block->residual_plus_hessian)) /* H = 0 */
            printf("  ratio undefined");
        else
            printf("  ratio %.3g", block->residual_plus_hessian);
        if (block->residual_plus_hessian_error > 0.0)
            printf(" +- %.1g", block->residual_plus_hessian_error);
        putchar('\n');
        for (int kind = 0; kind < GM_CURVATURES; kind++) {
            if (!block->op[kind].measured) continue;
            products += block->op[kind].spent;
            converged = converged && block->op[kind].converged;
        }
    }
    printf("%zu products in all; traces are exact, neg with a + is a lower bound\n", products);
    if (!converged) {
        print_wrapped(
            "Not every eigenpair converged: residuals and the key converged are in --json.", 0);
    }
}

/* Which files the steps stand for, where their names do not say. */
static void print_names(const gm_decompose_results *results)
{
    const gm_series *series = results->series;
    for (size_t i = 0; series->path && i < results->count; i++) {
        char label[GM_SERIES_LABEL];
        if (gm_series_number(series->path[i]) == series->step[i]) continue;
        gm_series_label(series, i, label);
        printf("step %lld: %s\n", (long long)series->step[i], label);
    }
}

static void print_points(const gm_decompose_results *results)
{
    print_row_header(results->series->trajectory ? "step" : "");
    for (size_t i = 0; i < results->count; i++) {
        char label[32];
        name_point(&results->point[i], "", label, sizeof label);
        print_row(label, &results->point[i], &results->point[i].block);
    }
    putchar('\n');
    print_names(results);
    print_legend(results);
    print_estimates(results);
}

void gm_decompose_print_line(const gm_decompose_results *results)
{
    char label[32];
    name_point(results->point, "", label, sizeof label);
    if (results->first == 0) print_row_header("step");
    print_row(label, results->point, &results->point->block);
    fflush(stdout);
}

static void print_layers(const gm_decompose_results *results)
{
    const gm_decomposition *last = &results->point[results->count - 1];
    if (!last->layers) return;
    char label[32];
    name_point(last, "step ", label, sizeof label);
    printf("\nLayers (diagonal blocks) at %s\n\n", last->step < 0 ? "this point" : label);
    print_row_header("layer");
    for (size_t i = 0; i < last->layers; i++) {
        print_row(last->layer[i].name, last, &last->layer[i]);
    }
}

/* ---- eigenvalues and principal cosines side by side ---- */

/* First, middle and last point; fewer where there are fewer. */
static size_t pick_columns(size_t count, size_t column[COLUMNS])
{
    column[0] = 0;
    if (count == 1) return 1;
    column[1] = count / 2;
    column[count > 2 ? 2 : 1] = count - 1;
    return smaller(count, COLUMNS);
}

static void print_lead(const gm_block_survey *block, size_t j)
{
    const gm_operator_survey *h = &block->op[GM_HESSIAN], *m = &block->op[GM_MOMENT];
    printf("   ");
    print_defined("%*.3g", 9, j < h->count, j < h->count ? h->lead_value[j] : 0.0);
    print_defined("%*.3g", 9, j < m->count, j < m->count ? m->lead_value[j] : 0.0);
    bool loose = j < block->pair[0].k && !block->pair[0].resolved[j];
    putchar(loose ? '*' : ' ');
    print_defined("%*.4f", 6, j < block->angles, j < block->angles ? block->cosine[j] : 0.0);
}

static void print_spectra(const gm_decompose_results *results)
{
    size_t column[COLUMNS], columns = pick_columns(results->count, column);
    bool loose = false;
    size_t rows = 0;
    for (size_t c = 0; c < columns; c++) {
        const gm_block_survey *block = &results->point[column[c]].block;
        if (block->k > rows) rows = block->k;
        for (size_t j = 0; j < block->pair[0].k; j++) {
            loose = loose || !block->pair[0].resolved[j];
        }
    }
    rows = smaller(rows, EIGENVALUES_SHOWN);
    printf("\nLeading eigenvalues of H and M, and cosines of the principal angles between their "
           "top-%zu spans\n\n  j",
           results->point[0].block.k);
    for (size_t c = 0; c < columns; c++) {
        char label[32];
        name_point(&results->point[column[c]], "step ", label, sizeof label);
        printf("   %28s", label);
    }
    printf("\n   ");
    for (size_t c = 0; c < columns; c++) {
        printf("   %10s %9s %7s", "H", "M", "cos");
    }
    putchar('\n');
    for (size_t j = 0; j < rows; j++) {
        printf("%3zu", j + 1);
        for (size_t c = 0; c < columns; c++) {
            print_lead(&results->point[column[c]].block, j);
        }
        putchar('\n');
    }
    if (loose) {
        printf("* the j-th and the next eigenvalue of H or M agree within their residuals: the "
               "first j directions\n  are not determined\n");
    }
}

/* ---- the whole ---- */

static void print_closing(const gm_cli *cli, const gm_decompose_results *results)
{
    double worst = 0.0;
    for (size_t i = 0; i < results->count; i++) {
        worst = fmax(worst, results->point[i].block.decomposition_error);
    }
    printf("\nH = M - H_p on %zu random vectors, by three independent products: largest relative "
           "error %.2g\n\n",
           results->options->probes, worst);
    for (int i = 0; i < GM_FINDINGS; i++) {
        print_wrapped(results->finding[i].sentence, 2);
        char criterion[sizeof results->finding[i].criterion + 16];
        snprintf(criterion, sizeof criterion, "  (Criterion: %s.)", results->finding[i].criterion);
        print_wrapped(criterion, 2);
    }
    if (cli->shared.verbose) printf("\n%.1f s\n", gm_cli_seconds(cli));
}

void gm_decompose_print(const gm_cli *cli, const gm_session *session,
                        const gm_decompose_results *results)
{
    gm_document_describe(session);
    if (results->options->layer != GM_ALL_LAYERS) {
        printf("block      layer %s, %zu parameters\n", results->point[0].block.name,
               results->point[0].block.size);
    }
    putchar('\n');
    print_points(results);
    print_layers(results);
    print_spectra(results);
    print_closing(cli, results);
}
