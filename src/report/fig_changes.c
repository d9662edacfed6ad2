/* Histograms of Delta over the runs of an ensemble at some steps, and over the first one the step
 * as `dynamics predict` foretold it, where the run file has that. Two steps to a picture. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/curves.h"
#include "report/ensembles.h"
#include "report/figure.h"
#include "report/histogram.h"
#include "report/html.h"

enum { PANELS = 2 };

static const json_t *histogram(const json_t *document, size_t index)
{
    return json_array_get(gm_result_find(document, "histograms"), index);
}

static size_t pictures(const json_t *document)
{
    return (json_array_size(gm_result_find(document, "histograms")) + PANELS - 1) / PANELS;
}

/* ---- the prediction ---- */

static bool same_text(const json_t *a, const char *path_a, const json_t *b, const char *path_b)
{
    const char *x = gm_result_text(a, path_a), *y = gm_result_text(b, path_b);
    return x && y && strcmp(x, y) == 0;
}

static bool is_text(const json_t *document, const char *path, const char *text)
{
    const char *found = gm_result_text(document, path);
    return found && strcmp(found, text) == 0;
}

/* Whether `predict` looked at the start of the ensemble, on the same data. */
static bool same_point(const json_t *ensemble, const json_t *predict)
{
    return gm_result_number(ensemble, "loss") == gm_result_number(predict, "loss") &&
           same_text(ensemble, "point", predict, "point") &&
           same_text(ensemble, "data/name", predict, "data/name") &&
           same_text(ensemble, "setup/replacement", predict, "replacement") &&
           gm_result_number(ensemble, "setup/momentum") == 0.0 &&
           gm_result_number(ensemble, "setup/weight_decay") == 0.0 &&
           is_text(ensemble, "setup/optimizer", "sgd") &&
           is_text(ensemble, "setup/precondition", "none");
}

static gm_predicted_band find_prediction(const gm_subject *subject, const json_t *ensemble)
{
    gm_predicted_band p = {0};
    const json_t *d;
    const char *text = gm_result_text(ensemble, "setup/step");
    double batch = gm_result_number(ensemble, "setup/batch"), step = text ? strtod(text, NULL) : 0;
    for (size_t i = 0; (d = gm_dynamics_result(subject, "predict", i)); i++) {
        const json_t *predicted = gm_result_find(d, "predicted");
        const json_t *coverage = gm_result_find(d, "coverage");
        if (!same_point(ensemble, d)) continue;
        bool several = json_is_array(predicted);
        for (size_t c = 0; c < (several ? json_array_size(predicted) : 1); c++) {
            const json_t *one = several ? json_array_get(predicted, c) : predicted;
            if (gm_result_number(one, "batch") == batch && gm_result_number(one, "step") == step)
                p = gm_predicted_band_read(one, several ? json_array_get(coverage, c) : coverage);
        }
    }
    return p;
}

/* ---- drawing ---- */

static void write_caption(const json_t *document, const gm_predicted_band *p, FILE *caption)
{
    fputs("How &Delta;<sub>t</sub> = f(&theta;<sub>t+1</sub>) &minus; f(&theta;<sub>t</sub>) is "
          "distributed over ",
          caption);
    gm_html_number(caption, gm_result_number(document, "runs"));
    fputs(" runs at some steps; the far ends of the tails are cut off.", caption);
    if (p->known) {
        fputs(
            " At the first step all runs stand at the same point: the lines are the mean that the "
            "second-order model predicts there (<code>dynamics predict</code>) and, dashed, the "
            "band that Gaussian noise leaves on either side with probability at most "
            "e<sup>&minus;",
            caption);
        gm_html_number(caption, p->s);
        fputs("</sup>.", caption);
    }
}

static void write_script(const json_t *document, size_t first, const gm_predicted_band *band,
                         gm_drawing *drawing)
{
    static const gm_predicted_band none = {0};
    size_t total = json_array_size(gm_result_find(document, "histograms"));
    size_t panels = total - first < PANELS ? total - first : PANELS;
    gm_histograms h;
    gm_histograms_begin(&h, (int)panels, "runs", band, drawing);
    for (size_t i = 0; i < panels; i++) {
        const json_t *one = histogram(document, first + i);
        double step = gm_result_number(one, "step");
        char title[64];
        snprintf(title, sizeof title, "step %.0f", step);
        gm_histograms_panel(&h, (int)i, one, step == 0.0 ? band : &none, title, drawing->script);
    }
    fputs("unset multiplot\n", drawing->script);
    write_caption(document, band, drawing->caption);
}

static size_t count(const gm_subject *subject)
{
    const json_t *document;
    size_t total = 0;
    for (size_t i = 0; (document = gm_ensemble_of(subject, i)); i++) {
        total += pictures(document);
    }
    return total;
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    const json_t *document = NULL;
    size_t number = drawing->number;
    (void)err;
    for (size_t i = 0; (document = gm_ensemble_of(subject, i)); i++) {
        if (number < pictures(document)) break;
        number -= pictures(document);
    }
    gm_predicted_band p = {0};
    if (number == 0) p = find_prediction(subject, document);
    write_script(document, PANELS * number, &p, drawing);
    return GM_OK;
}

const gm_figure gm_figure_changes = {"changes", "Changes of the loss in one step", draw, count};
