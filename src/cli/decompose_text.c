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
    printf("%9s %9s %6s %9s %9s %9s %9s %7s %4s %9s %6s %6s\n", label, "loss", "error", "max(H)",
           "max(M)", "tr H", "tr M", "outlier", "neg", "|H_p+H|", "over-", "grad.");
    printf("%9s %9s %6s %9s %9s %9s %9s %7s %4s %9s %6s %6s\n", "", "", "%", "", "", "", "", "H/M",
           "H", "/|H|", "lap", "share");
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

static void print_row(const char *label, const gm_decomposition *point,
                      const gm_block_survey *block)
{
    const gm_spectral_summary *h = &block->op[GM_HESSIAN].summary;
    const gm_spectral_summary *m = &block->op[GM_MOMENT].summary;
    size_t k = smaller(SHORT_K, block->pair[0].k);
    char outliers[32];
    snprintf(outliers, sizeof outliers, "%zu/%zu", h->outliers, m->outliers);
    printf("%9s %9.3g %6.2f %9.3g %9.3g %9.3g %9.3g %7s %4zu", label, point->loss,
           100.0 * point->error_rate, h->max, m->max, h->trace, m->trace, outliers, h->below);
    print_defined("%*.3g", 9, isfinite(block->residual_plus_hessian), block->residual_plus_hessian);
    print_defined("%*.3f", 6, k > 0, k > 0 ? block->pair[0].value[k - 1] : 0.0);
    print_defined("%*.3f", 6, block->shares > 0,
                  block->shares ? block->share[block->shares - 1] : 0.0);
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
             "max: largest eigenvalue; tr: trace; outlier: how many eigenvalues stand off the bulk "
             "of H and of M (the largest ratio of two neighbours, at least %g, above %g of the "
             "largest); neg: eigenvalues of H below -%g of the largest |eigenvalue|; overlap: of "
             "the top %zu eigenvectors of H and M by %s (random subspaces: %.2g); grad. share: of "
             "the squared gradient in the top %zu eigenvectors of H.",
             GM_OUTLIER_GAP, GM_BULK_LEVEL, results->options->cut, k,
             results->options->by_magnitude ? "magnitude" : "value",
             (double)k / (double)block->size, block->k);
    print_wrapped(text, 0);
}

static void print_points(const gm_decompose_results *results)
{
    print_row_header(results->trajectory ? "step" : "");
    for (size_t i = 0; i < results->count; i++) {
        char label[32];
        name_point(&results->point[i], "", label, sizeof label);
        print_row(label, &results->point[i], &results->point[i].block);
    }
    putchar('\n');
    print_legend(results);
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
    print_defined("%*.4f", 6, j < block->angles, j < block->angles ? block->cosine[j] : 0.0);
    bool loose = j < block->pair[0].k && !block->pair[0].resolved[j];
    putchar(loose ? '*' : ' ');
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
        printf("   %27s", label);
    }
    printf("\n   ");
    for (size_t c = 0; c < columns; c++) {
        printf("   %10s %9s %6s ", "H", "M", "cos");
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
