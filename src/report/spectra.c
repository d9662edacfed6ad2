#include "report/spectra.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "report/html.h"

static const struct {
    const char *key, *words, *letter, *letter_html;
} operators[] = {
    {"hessian", "Hessian", "H", "<i>H</i>"},
    {"ggn", "Gauss-Newton matrix", "G", "<i>G</i>"},
    {"moment", "second moment of stochastic gradients", "M", "<i>M</i>"},
    {"covariance", "covariance of stochastic gradients", "Σ", "&Sigma;"},
    {"residual", "residual", "H_p", "<i>H</i><sub>p</sub>"},
    {"gn_residual", "Gauss-Newton residual", "R", "<i>R</i>"},
    {"matrix", "matrix", "A", "<i>A</i>"},
};
enum { OPERATORS = sizeof operators / sizeof *operators };

static size_t operator_index(const char *key)
{
    size_t i = 0;
    while (i < OPERATORS && !(key && strcmp(operators[i].key, key) == 0)) {
        i++;
    }
    return i;
}

size_t gm_spectra_count(const gm_subject *subject, const char *path)
{
    size_t count = 0;
    for (size_t i = 0; i < subject->spectra; i++) {
        count += gm_result_find(subject->spectrum[i].block, path) ? 1 : 0;
    }
    return count;
}

const gm_subject_spectrum *gm_spectra_find(const gm_subject *subject, const char *path,
                                           size_t number)
{
    for (size_t i = 0; i < subject->spectra; i++) {
        if (!gm_result_find(subject->spectrum[i].block, path)) continue;
        if (number-- == 0) return &subject->spectrum[i];
    }
    return NULL;
}

void gm_operator_title(const char *key, FILE *title)
{
    size_t i = operator_index(key);
    if (i < OPERATORS) {
        fprintf(title, "%s %s", operators[i].words, operators[i].letter);
    } else {
        fputs(key ? key : "operator", title);
    }
}

void gm_operator_caption(const char *key, FILE *caption)
{
    size_t i = operator_index(key);
    if (i < OPERATORS) {
        fprintf(caption, "%s %s", operators[i].words, operators[i].letter_html);
    } else {
        gm_html_text(caption, key ? key : "operator");
    }
}

static const char *layer_of(const gm_subject_spectrum *spectrum)
{
    return gm_result_text(spectrum->block, "layer");
}

static const char *precondition_of(const gm_subject_spectrum *spectrum)
{
    const char *name = gm_result_text(spectrum->document, "precondition");
    if (!name) name = gm_result_text(spectrum->document, "precondition/name");
    return name && strcmp(name, "none") != 0 ? name : NULL;
}

bool gm_spectra_alike(const gm_subject_spectrum *a, const gm_subject_spectrum *b)
{
    static const char *const of_document[] = {"operator", "precondition", "precondition/name"};
    const char *x = gm_result_text(a->block, "layer"), *y = gm_result_text(b->block, "layer");
    bool same = x && y ? strcmp(x, y) == 0 : x == y;
    for (size_t i = 0; i < sizeof of_document / sizeof *of_document; i++) {
        x = gm_result_text(a->document, of_document[i]);
        y = gm_result_text(b->document, of_document[i]);
        same = same && (x && y ? strcmp(x, y) == 0 : x == y);
    }
    return same;
}

bool gm_spectrum_preconditioned(const gm_subject_spectrum *spectrum)
{
    return precondition_of(spectrum) != NULL;
}

void gm_spectrum_title(const gm_subject_spectrum *spectrum, gm_drawing *drawing)
{
    FILE *title = drawing->title;
    const char *layer = layer_of(spectrum), *precondition = precondition_of(spectrum);
    fputs(": ", title);
    gm_operator_title(gm_result_text(spectrum->document, "operator"), title);
    if (precondition) fprintf(title, " preconditioned (%s)", precondition);
    if (layer) fprintf(title, ", layer %s", layer);
    drawing->step = spectrum->step;
}

void gm_spectrum_caption(const gm_subject_spectrum *spectrum, FILE *caption)
{
    const char *layer = layer_of(spectrum), *precondition = precondition_of(spectrum);
    fputs("of the ", caption);
    gm_operator_caption(gm_result_text(spectrum->document, "operator"), caption);
    if (layer) {
        fputs(" of layer <code>", caption);
        gm_html_text(caption, layer);
        fputs("</code>", caption);
    }
    if (precondition) {
        fputs(", preconditioned by <code>", caption);
        gm_html_text(caption, precondition);
        fputs("</code>", caption);
    }
}

double gm_spectrum_floor(const gm_subject_spectrum *spectrum, const char *path, double scale)
{
    double stated = gm_result_number(spectrum->block, path);
    if (isfinite(stated)) return stated;
    const char *precision = gm_result_text(spectrum->document, "precision");
    bool single = precision && strcmp(precision, "f32") == 0;
    return scale * (single ? 8.0 * (double)FLT_EPSILON : 16.0 * DBL_EPSILON);
}
