/* Histograms of Delta over the runs of an ensemble at some steps, and over the first one the step
 * as `dynamics predict` foretold it, where the run file has that. Two steps to a picture. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/ensembles.h"
#include "report/figure.h"
#include "report/html.h"
#include "report/plot.h"

enum { PANELS = 2 };

/* What was predicted for the step at which all runs of an ensemble still stand together. */
typedef struct prediction {
    bool known;
    double mean, lower, upper, s;
} prediction;

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

/* Whether `predict` looked at the start of the ensemble, on the same data. */
static bool same_point(const json_t *ensemble, const json_t *predict)
{
    return gm_result_number(ensemble, "loss") == gm_result_number(predict, "loss") &&
           same_text(ensemble, "point", predict, "point") &&
           same_text(ensemble, "data/name", predict, "data/name") &&
           same_text(ensemble, "setup/replacement", predict, "replacement") &&
           gm_result_number(ensemble, "setup/momentum") == 0.0 &&
           gm_result_number(ensemble, "setup/weight_decay") == 0.0 &&
           strcmp(gm_result_text(ensemble, "setup/optimizer"), "sgd") == 0 &&
           strcmp(gm_result_text(ensemble, "setup/precondition"), "none") == 0;
}

/* The prediction of one batch and step size with the band whose s is nearest to 3. */
static void read_case(const json_t *predicted, const json_t *coverage, prediction *p)
{
    double nearest = HUGE_VAL;
    for (size_t i = 0; i < json_array_size(coverage); i++) {
        const json_t *band = json_array_get(coverage, i);
        double s = gm_result_number(band, "s");
        if (!(fabs(s - 3.0) < nearest)) continue;
        nearest = fabs(s - 3.0);
        *p = (prediction){true, gm_result_number(predicted, "mean"),
                          gm_result_number(band, "bound/0"), gm_result_number(band, "bound/1"), s};
    }
}

static prediction find_prediction(const gm_subject *subject, const json_t *ensemble)
{
    prediction p = {0};
    const json_t *d;
    const char *text = gm_result_text(ensemble, "setup/step");
    double batch = gm_result_number(ensemble, "setup/batch"), step = text ? strtod(text, NULL) : 0;
    for (size_t i = 0; (d = gm_dynamics_of(subject, "predict", i)); i++) {
        const json_t *predicted = gm_result_find(d, "predicted");
        const json_t *coverage = gm_result_find(d, "coverage");
        if (!same_point(ensemble, d)) continue;
        bool several = json_is_array(predicted);
        for (size_t c = 0; c < (several ? json_array_size(predicted) : 1); c++) {
            const json_t *one = several ? json_array_get(predicted, c) : predicted;
            if (gm_result_number(one, "batch") == batch && gm_result_number(one, "step") == step)
                read_case(one, several ? json_array_get(coverage, c) : coverage, &p);
        }
    }
    return p;
}

/* ---- drawing ---- */

static const gm_legend_entry bars = {NULL, 0, "blue", "runs"};
static const gm_legend_entry mean_line = {"dt 1 lc rgb vermillion", 0, NULL, "predicted mean"};

static void write_bars(const json_t *h, int number, gm_axis *x, gm_axis *y, FILE *script)
{
    const json_t *counts = gm_result_find(h, "counts");
    size_t bins = json_array_size(counts);
    double low = gm_result_number(h, "low"), high = gm_result_number(h, "high"), most = 0.0;
    double width = (high - low) / (double)(bins ? bins : 1);
    double runs = gm_result_number(h, "below") + gm_result_number(h, "above");
    for (size_t i = 0; i < bins; i++) {
        runs += json_number_value(json_array_get(counts, i));
    }
    fprintf(script, "$bars%d << EOD\n", number);
    for (size_t i = 0; i < bins; i++) {
        double share = json_number_value(json_array_get(counts, i)) / runs;
        most = fmax(most, share);
        fprintf(script, "%.10g %.8g %.10g\n", low + ((double)i + 0.5) * width, 100 * share, width);
    }
    fputs("EOD\n", script);
    *x = (gm_axis){GM_SCALE_LINEAR, 0.0, low, high};
    *y = (gm_axis){GM_SCALE_LINEAR, 0.0, 0.0, 110 * most};
}

static void plot_prediction(const prediction *p, const gm_axis *x, FILE *script)
{
    const struct {
        double place;
        const char *line;
    } lines[] = {{p->mean, "dt 1 lc rgb vermillion"},
                 {p->lower, "dt (7,3) lc rgb vermillion"},
                 {p->upper, "dt (7,3) lc rgb vermillion"}};
    for (size_t i = 0; i < 3; i++) {
        if (lines[i].place < x->low || lines[i].place > x->high) continue;
        fprintf(
            script,
            "set arrow %zu from first %.10g, graph 0 to first %.10g, graph 1 nohead front lw 1.8 "
            "%s\n",
            i + 1, lines[i].place, lines[i].place, lines[i].line);
    }
}

/* The legend stands above the first panel, which alone is given its entries. */
static void plot_panel(const json_t *h, const gm_layout *layout, int column, const prediction *p,
                       const gm_legend_entry *entry, size_t entries, FILE *script)
{
    gm_axis x, y;
    write_bars(h, column, &x, &y, script);
    if (p->known) {
        double reach = 0.05 * (p->upper - p->lower);
        x.low = fmin(x.low, p->lower - reach);
        x.high = fmax(x.high, p->upper + reach);
        plot_prediction(p, &x, script);
    }
    gm_panel(layout, column, column ? "" : "% of the runs", script);
    if (entry) gm_legend(layout, -1, entry, entries, script);
    gm_axis_script(&x, "x", GM_LABELS_SHOWN, script);
    gm_axis_script(&y, "y", GM_LABELS_SHOWN, script);
    fprintf(script, "set title \"step %.0f\"\n", gm_result_number(h, "step"));
    fprintf(script, "plot $bars%d using 1:2:3 with boxes fs solid 0.5 noborder lc rgb blue\n",
            column);
    gm_panel_end(script);
    fputs("unset title\nunset arrow\n", script);
}

static void write_caption(const json_t *document, const prediction *p, FILE *caption)
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

static void write_script(const json_t *document, size_t first, const prediction *p,
                         gm_drawing *drawing)
{
    FILE *script = drawing->script;
    size_t total = json_array_size(gm_result_find(document, "histograms"));
    size_t panels = total - first < PANELS ? total - first : PANELS, entries = 1;
    gm_legend_entry entry[3] = {bars};
    if (p->known) {
        entry[entries++] = mean_line;
        entry[entries] = (gm_legend_entry){"dt (7,3) lc rgb vermillion", 0, NULL, ""};
        snprintf(entry[entries].label, sizeof entry[entries].label, "predicted band, e^{−%g}",
                 p->s);
        entries++;
    }
    gm_layout layout = {(int)panels, false, 300, 8 + GM_TITLE_ROW, 0};
    layout.top += GM_LEGEND_ROW * gm_legend_rows(&layout, -1, entry, entries);
    drawing->height = layout.height;
    fputs("set multiplot\nset xlabel \"{/:Italic Δ}\"\n", script);
    for (size_t i = 0; i < panels; i++) {
        const json_t *h = histogram(document, first + i);
        prediction none = {0};
        bool together = p->known && gm_result_number(h, "step") == 0.0;
        plot_panel(h, &layout, (int)i, together ? p : &none, i == 0 ? entry : NULL, entries,
                   script);
    }
    fputs("unset multiplot\n", script);
    write_caption(document, p, drawing->caption);
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
    prediction p = {0};
    if (number == 0) p = find_prediction(subject, document);
    write_script(document, PANELS * number, &p, drawing);
    return GM_OK;
}

const gm_figure gm_figure_changes = {"changes", "Changes of the loss in one step", draw, count};
