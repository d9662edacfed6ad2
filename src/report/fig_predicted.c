/* The step of SGD that `dynamics predict` looked at: a histogram of Delta over its draws, with the
 * predicted mean and band drawn over. Two pairs of batch and step size to a picture. */
#include <math.h>

#include "report/curves.h"
#include "report/figure.h"
#include "report/histogram.h"
#include "report/html.h"

enum { PANELS = 2, PICTURES = 8 }; /* of one document at most */

static size_t cases(const json_t *document)
{
    return json_array_size(gm_result_find(document, "histograms"));
}

static size_t pictures(const json_t *document)
{
    size_t all = (cases(document) + PANELS - 1) / PANELS;
    return all < PICTURES ? all : PICTURES;
}

static size_t count(const gm_subject *subject)
{
    const json_t *document;
    size_t total = 0;
    for (size_t i = 0; (document = gm_dynamics_result(subject, "predict", i)); i++) {
        total += pictures(document);
    }
    return total;
}

/* Entry `index` of the list at a key whose value stands alone where there is one case. */
static const json_t *entry(const json_t *document, const char *key, size_t index)
{
    const json_t *value = gm_result_find(document, key);
    return cases(document) > 1 ? json_array_get(value, index) : value;
}

/* Where the draws of one case fell. */
static void write_coverage(const json_t *document, size_t index, const gm_predicted_band *band,
                           FILE *caption)
{
    const json_t *coverage = entry(document, "coverage", index);
    for (size_t i = 0; i < json_array_size(coverage); i++) {
        const json_t *one = json_array_get(coverage, i);
        if (gm_result_number(one, "s") != band->s) continue;
        fputs(" Batch ", caption);
        gm_html_number(caption, gm_result_number(entry(document, "predicted", index), "batch"));
        fputs(", step ", caption);
        gm_html_number(caption, gm_result_number(entry(document, "predicted", index), "step"));
        fputs(": ", caption);
        gm_html_number(caption, 100.0 * gm_result_number(one, "lower/frequency"));
        fputs("&nbsp;% fell below the band and ", caption);
        gm_html_number(caption, 100.0 * gm_result_number(one, "upper/frequency"));
        fputs("&nbsp;% above", caption);
        double infinite = gm_result_number(entry(document, "observed", index), "infinite");
        if (infinite > 0.0) {
            fputs(", <strong>", caption);
            gm_html_number(caption, infinite);
            fputs(" of them without a finite loss</strong>", caption);
        }
        fputs(".", caption);
    }
}

static void write_caption(const json_t *document, size_t first, size_t panels,
                          const gm_predicted_band *band, FILE *caption)
{
    fputs("How &Delta; = f(&theta; &minus; &eta;g) &minus; f(&theta;) is distributed over ",
          caption);
    gm_html_number(caption, gm_result_number(entry(document, "observed", first), "draws"));
    fputs(" fresh mini-batches at one point, and what the second-order model predicts: the mean "
          "and, dashed, the band that Gaussian noise leaves on either side with probability at "
          "most e<sup>&minus;",
          caption);
    gm_html_number(caption, band->s);
    fputs("</sup> = ", caption);
    gm_html_number(caption, 100.0 * exp(-band->s));
    fputs("&nbsp;%. The far ends of the tails are cut off.", caption);
    for (size_t i = 0; i < panels; i++) {
        write_coverage(document, first + i, band, caption);
    }
    if (cases(document) > PANELS * PICTURES) {
        fputs(" The other pairs of batch and step size are in the document.", caption);
    }
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *document = NULL;
    size_t number = drawing->number;
    (void)err;
    for (size_t i = 0; (document = gm_dynamics_result(subject, "predict", i)); i++) {
        if (number < pictures(document)) break;
        number -= pictures(document);
    }
    size_t first = PANELS * number, left = cases(document) - first;
    size_t panels = left < PANELS ? left : PANELS;
    double step = gm_result_number(document, "step");
    if (isfinite(step)) fprintf(drawing->title, " from step %.0f", step);
    gm_predicted_band band[PANELS] = {{0}};
    for (size_t i = 0; i < panels; i++) {
        band[i] = gm_predicted_band_read(entry(document, "predicted", first + i),
                                         entry(document, "coverage", first + i));
    }
    gm_histograms h;
    gm_histograms_begin(&h, (int)panels, "draws", band, drawing);
    for (size_t i = 0; i < panels; i++) {
        const json_t *predicted = entry(document, "predicted", first + i);
        char title[96];
        snprintf(title, sizeof title, "batch %.0f, step %g", gm_result_number(predicted, "batch"),
                 gm_result_number(predicted, "step"));
        gm_histograms_panel(&h, (int)i,
                            json_array_get(gm_result_find(document, "histograms"), first + i),
                            &band[i], title, drawing->script);
    }
    fputs("unset multiplot\n", drawing->script);
    write_caption(document, first, panels, band, drawing->caption);
    return GM_OK;
}

const gm_figure gm_figure_predicted = {"predicted", "A step of SGD, predicted and observed", draw,
                                       count};
