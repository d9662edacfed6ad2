#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "report/html.h"
#include "report/page.h"
#include "report/result.h"
#include "report/spectra.h"

/* ---- settings ---- */

void gm_tables_settings(const gm_subject *subject, FILE *page)
{
    if (!subject->settings) {
        fputs("<p class=\"missing\">The run file holds no settings.</p>\n", page);
        return;
    }
    fputs("<div class=\"scroll\"><table class=\"settings\">\n<thead><tr><th class=\"text\" "
          "scope=\"col\">setting</th><th class=\"text\" scope=\"col\">value</th></tr></thead>\n"
          "<tbody>\n",
          page);
    for (size_t i = 0; i < subject->settings; i++) {
        fputs("<tr><th scope=\"row\">", page);
        gm_html_text(page, subject->setting[i].key);
        fputs("</th><td>", page);
        char digits[GM_SETTING_DIGITS];
        gm_html_text(page, gm_setting_shortest(subject->setting[i].value, digits));
        fputs("</td></tr>\n", page);
    }
    fputs("</tbody></table></div>\n", page);
}

void gm_tables_repeat(const gm_subject *subject, FILE *page)
{
    const char *command = gm_subject_setting(subject, "command");
    if (!command) {
        fputs("<p class=\"missing\">The run file does not say which command made it.</p>\n", page);
        return;
    }
    fputs("<pre>", page);
    gm_html_text(page, command);
    for (size_t i = 0; i < subject->results; i++) {
        const char *line = gm_result_text(subject->result[i].document, "command_line");
        if (!line || strcmp(line, command) == 0) continue;
        fputs("\n", page);
        gm_html_text(page, line);
    }
    fputs("</pre>\n", page);
    const char *version = gm_subject_setting(subject, "version");
    const char *machine = gm_subject_setting(subject, "machine");
    if (!version && !machine) return;
    fputs("<p class=\"note\">Made with version ", page);
    gm_html_text(page, version ? version : "unknown");
    if (machine) {
        fputs(" on ", page);
        gm_html_text(page, machine);
    }
    fputs(". Equal seeds, instruction sets and thread counts give equal bits.</p>\n", page);
}

/* ---- numbers ---- */

/* HTML of the first header cell. */
static const char step_heading[] = "<th scope=\"col\">step</th>";
static const char direction_heading[] = "<th scope=\"col\"><i>j</i></th>";
static const char layer_heading[] = "<th class=\"text\" scope=\"col\">layer</th>";

typedef struct column {
    const char *heading; /* HTML */
    const char *path;    /* of a number at a step, or of an array over directions */
    bool percent;
} column;

static void write_header(const char *caption, const char *first, const column *columns,
                         size_t count, FILE *page)
{
    fprintf(page, "<div class=\"scroll\"><table>\n<caption>%s</caption>\n<thead><tr>%s", caption,
            first);
    for (size_t i = 0; i < count; i++) {
        fprintf(page, "<th scope=\"col\">%s</th>", columns[i].heading);
    }
    fputs("</tr></thead>\n<tbody>\n", page);
}

static void write_cell(double value, bool percent, FILE *page)
{
    fputs("<td>", page);
    if (!isfinite(value)) {
        fputs("&ndash;", page);
    } else if (percent) {
        gm_html_percent(page, value);
    } else {
        gm_html_number(page, value);
    }
    fputs("</td>", page);
}

/* A number of a document; a count that is only known from below has its bound. */
static void write_cell_of(const json_t *document, const column *c, FILE *page)
{
    double value = gm_result_number(document, c->path);
    char path[80];
    snprintf(path, sizeof path, "%s_at_least", c->path);
    double least = gm_result_number(document, path);
    if (isfinite(value) || !isfinite(least)) {
        write_cell(value, c->percent, page);
        return;
    }
    fputs("<td>&ge;&nbsp;", page);
    gm_html_number(page, least);
    fputs("</td>", page);
}

static const column step_columns[] = {
    {"loss", "loss", false},
    {"training<br>error", "error_rate", true},
    {"&lambda;<sub>1</sub>(<i>H</i>)", "operators/hessian/max", false},
    {"&lambda;<sub>p</sub>(<i>H</i>)", "operators/hessian/min", false},
    {"nega&shy;tive", "operators/hessian/negative", false},
    {"gap<br>after", "operators/hessian/gap_after", false},
    {"tr&nbsp;<i>H</i>", "operators/hessian/trace", false},
    {"&lambda;<sub>1</sub>(<i>M</i>)", "operators/moment/max", false},
    {"gap<br>after", "operators/moment/gap_after", false},
    {"tr&nbsp;<i>M</i>", "operators/moment/trace", false},
    {"&#8214;<i>H</i><sub>p</sub>+<i>H</i>&#8214;<br>/&nbsp;&#8214;<i>H</i>&#8214;",
     "residual_plus_hessian", false},
    {"error of<br><i>M</i>&minus;<i>H</i><sub>p</sub>", "decomposition_error", false},
};
enum { STEP_COLUMNS = sizeof step_columns / sizeof *step_columns };

static void write_steps(const gm_subject *subject, FILE *page)
{
    write_header(
        "By training step: loss and error on the training set; extreme eigenvalues and "
        "traces; how many eigenvalues of <i>H</i> are negative; after which of the largest "
        "eigenvalues the widest gap (by ratio) follows; and the relative error of "
        "<i>H</i>&nbsp;=&nbsp;<i>M</i>&nbsp;&minus;&nbsp;<i>H</i><sub>p</sub>.",
        step_heading, step_columns, STEP_COLUMNS, page);
    for (size_t t = 0; t < subject->points; t++) {
        const gm_subject_point *point = &subject->point[t];
        fputs("<tr>", page);
        write_cell(point->step >= 0 ? (double)point->step : (double)NAN, false, page);
        for (size_t i = 0; i < STEP_COLUMNS; i++) {
            write_cell_of(point->document, &step_columns[i], page);
        }
        fputs("</tr>\n", page);
    }
    fputs("</tbody></table></div>\n", page);
}

static const column direction_columns[] = {
    {"&lambda;<sub>j</sub>(<i>H</i>)", "operators/hessian/eigenvalues", false},
    {"&lambda;<sub>j</sub>(<i>M</i>)", "operators/moment/eigenvalues", false},
    {"&lambda;<sub>j</sub>(<i>H</i><sub>p</sub>)", "operators/residual/eigenvalues", false},
    {"&lambda;<sub>p+1&minus;j</sub>(<i>H</i><sub>p</sub>)", "operators/residual", false},
    {"cosine of<br>angle <i>j</i>", "cosines", false},
    {"overlap<br><i>H</i>, <i>M</i>", "overlap/pairs/0/value", false},
    {"random", "overlap/pairs/0/random", false},
    {"gradient<br>share", "gradient_shares", false},
};
enum { DIRECTION_COLUMNS = sizeof direction_columns / sizeof *direction_columns, FROM_BELOW = 3 };

static double direction_value(const gm_numbers *numbers, size_t j)
{
    return j < numbers->rows ? numbers->value[j] : (double)NAN;
}

static gm_status write_directions(const gm_subject *subject, FILE *page, gm_error *err)
{
    const json_t *last = subject->point[subject->points - 1].document;
    gm_numbers numbers[DIRECTION_COLUMNS] = {{0}};
    gm_status status = GM_OK;
    for (size_t i = 0; i < DIRECTION_COLUMNS && status == GM_OK; i++) {
        const char *path = direction_columns[i].path;
        status = i == FROM_BELOW ? gm_result_end(gm_result_find(last, path), true, &numbers[i], err)
                                 : gm_result_numbers(last, path, &numbers[i], err);
    }
    double k = gm_result_number(last, "k");
    size_t rows = k >= 1.0 && k <= 1000.0 ? (size_t)k : 15;
    if (status == GM_OK) {
        write_header("The leading directions at the last step: eigenvalues from the largest down "
                     "(of <i>H</i><sub>p</sub> also from the lowest up), cosines of the principal "
                     "angles between the leading subspaces of <i>H</i> and <i>M</i>, their overlap "
                     "for dimension <i>j</i> and its value for random subspaces, and the share of "
                     "the gradient in the top <i>j</i> directions of <i>H</i>.",
                     direction_heading, direction_columns, DIRECTION_COLUMNS, page);
        for (size_t j = 0; j < rows; j++) {
            fprintf(page, "<tr><td>%zu</td>", j + 1);
            for (size_t i = 0; i < DIRECTION_COLUMNS; i++) {
                write_cell(direction_value(&numbers[i], j), false, page);
            }
            fputs("</tr>\n", page);
        }
        fputs("</tbody></table></div>\n", page);
    }
    for (size_t i = 0; i < DIRECTION_COLUMNS; i++) {
        gm_numbers_free(&numbers[i]);
    }
    return status;
}

static const column layer_columns[] = {
    {"para&shy;meters", "size", false},
    {"&lambda;<sub>1</sub>(<i>H</i>)", "operators/hessian/max", false},
    {"&lambda;<sub>p</sub>(<i>H</i>)", "operators/hessian/min", false},
    {"negative", "operators/hessian/negative", false},
    {"tr&nbsp;<i>H</i>", "operators/hessian/trace", false},
    {"&lambda;<sub>1</sub>(<i>M</i>)", "operators/moment/max", false},
    {"tr&nbsp;<i>M</i>", "operators/moment/trace", false},
    {"&#8214;<i>H</i><sub>p</sub>+<i>H</i>&#8214;<br>/&nbsp;&#8214;<i>H</i>&#8214;",
     "residual_plus_hessian", false},
    {"first<br>cosine", "cosines/0", false},
};
enum { LAYER_COLUMNS = sizeof layer_columns / sizeof *layer_columns };

static void write_layers(const json_t *layers, FILE *page)
{
    if (!json_array_size(layers)) return;
    write_header("By layer at the last step: the diagonal block of each layer's parameters.",
                 layer_heading, layer_columns, LAYER_COLUMNS, page);
    for (size_t l = 0; l < json_array_size(layers); l++) {
        const json_t *layer = json_array_get(layers, l);
        fputs("<tr><th scope=\"row\">", page);
        gm_html_text(page, gm_result_text(layer, "name"));
        fputs("</th>", page);
        for (size_t i = 0; i < LAYER_COLUMNS; i++) {
            write_cell_of(layer, &layer_columns[i], page);
        }
        fputs("</tr>\n", page);
    }
    fputs("</tbody></table></div>\n", page);
}

static const column spectrum_columns[] = {
    {"largest<br>shown", "eigenvalues/0", false},
    {"smallest<br>shown", "eigenvalues", false},
    {"largest<br>residual", "residuals", false},
    {"trace", "trace/value", false},
    {"its standard<br>error", "trace/stderr", false},
    {"Frobenius<br>norm", "frobenius/value", false},
    {"its standard<br>error", "frobenius/stderr", false},
    {"products", "products", false},
};
enum { SPECTRUM_COLUMNS = sizeof spectrum_columns / sizeof *spectrum_columns };
enum { SMALLEST_SHOWN = 1, LARGEST_RESIDUAL = 2 };

/* A number; of the array of eigenvalues the last one, of that of residuals the largest. */
static double spectrum_value(const json_t *block, size_t column_index)
{
    const char *path = spectrum_columns[column_index].path;
    if (column_index != SMALLEST_SHOWN && column_index != LARGEST_RESIDUAL)
        return gm_result_number(block, path);
    const json_t *list = gm_result_find(block, path);
    double found = (double)NAN;
    for (size_t i = 0; i < json_array_size(list); i++) {
        double value = json_number_value(json_array_get(list, i));
        found = column_index == SMALLEST_SHOWN ? value : fmax(found, value);
    }
    return found;
}

static const char spectrum_heading[] =
    "<th class=\"text\" scope=\"col\">operator</th><th class=\"text\" scope=\"col\">layer</th>"
    "<th scope=\"col\">step</th><th class=\"text\" scope=\"col\">method</th>";

static void write_spectra(const gm_subject *subject, FILE *page)
{
    if (!subject->spectra) return;
    write_header("Spectra, one measurement a line: eigenvalues by LAPACK or by products, with the "
                 "largest residual &#8214;<i>Av</i>&nbsp;&minus;&nbsp;&lambda;<i>v</i>&#8214; of "
                 "those checked; trace and Frobenius norm with the standard error of the estimate "
                 "(0 where exact); and what it cost.",
                 spectrum_heading, spectrum_columns, SPECTRUM_COLUMNS, page);
    for (size_t i = 0; i < subject->spectra; i++) {
        const gm_subject_spectrum *spectrum = &subject->spectrum[i];
        const char *layer = gm_result_text(spectrum->block, "layer");
        fputs("<tr><th scope=\"row\">", page);
        gm_operator_caption(gm_result_text(spectrum->document, "operator"), page);
        fputs("</th><td class=\"text\">", page);
        gm_html_text(page, layer ? layer : "all");
        fputs("</td>", page);
        write_cell(spectrum->step >= 0 ? (double)spectrum->step : (double)NAN, false, page);
        fputs("<td class=\"text\">", page);
        gm_html_text(page, gm_result_text(spectrum->document, "method"));
        fputs("</td>", page);
        for (size_t c = 0; c < SPECTRUM_COLUMNS; c++) {
            write_cell(spectrum_value(spectrum->block, c), false, page);
        }
        fputs("</tr>\n", page);
    }
    fputs("</tbody></table></div>\n", page);
}

gm_status gm_tables_numbers(const gm_subject *subject, FILE *page, gm_error *err)
{
    write_spectra(subject, page);
    if (!subject->points) {
        if (!subject->spectra)
            fputs("<p class=\"missing\">The run file holds no decomposition.</p>\n", page);
        return GM_OK;
    }
    write_steps(subject, page);
    write_layers(gm_result_find(subject->decomposition, "layers"), page);
    return write_directions(subject, page, err);
}
