#include "report/histogram.h"

#include <math.h>

#define MEAN_LINE "dt 1 lc rgb vermillion"
#define BAND_LINE "dt (7,3) lc rgb vermillion"

gm_predicted_band gm_predicted_band_read(const json_t *predicted, const json_t *coverage)
{
    gm_predicted_band band = {0};
    double nearest = HUGE_VAL;
    for (size_t i = 0; i < json_array_size(coverage); i++) {
        const json_t *one = json_array_get(coverage, i);
        double s = gm_result_number(one, "s");
        if (!(fabs(s - 3.0) < nearest)) continue;
        nearest = fabs(s - 3.0);
        band = (gm_predicted_band){true, gm_result_number(predicted, "mean"),
                                   gm_result_number(one, "bound/0"),
                                   gm_result_number(one, "bound/1"), s};
    }
    return band;
}

static void write_bars(const json_t *h, int number, gm_axis *x, gm_axis *y, FILE *script)
{
    const json_t *counts = gm_result_find(h, "counts");
    size_t bins = json_array_size(counts);
    double low = gm_result_number(h, "low"), high = gm_result_number(h, "high"), most = 0.0;
    double width = (high - low) / (double)(bins ? bins : 1);
    double all = gm_result_number(h, "below") + gm_result_number(h, "above");
    for (size_t i = 0; i < bins; i++) {
        all += json_number_value(json_array_get(counts, i));
    }
    fprintf(script, "$bars%d << EOD\n", number);
    for (size_t i = 0; i < bins; i++) {
        double share = json_number_value(json_array_get(counts, i)) / all;
        most = fmax(most, share);
        fprintf(script, "%.10g %.8g %.10g\n", low + ((double)i + 0.5) * width, 100 * share, width);
    }
    fputs("EOD\n", script);
    *x = (gm_axis){GM_SCALE_LINEAR, 0.0, low, high};
    *y = (gm_axis){GM_SCALE_LINEAR, 0.0, 0.0, 110 * most};
}

static void plot_band(const gm_predicted_band *band, const gm_axis *x, FILE *script)
{
    const struct {
        double place;
        const char *line;
    } lines[] = {{band->mean, MEAN_LINE}, {band->lower, BAND_LINE}, {band->upper, BAND_LINE}};
    for (size_t i = 0; i < 3; i++) {
        if (lines[i].place < x->low || lines[i].place > x->high) continue;
        fprintf(
            script,
            "set arrow %zu from first %.10g, graph 0 to first %.10g, graph 1 nohead front lw 1.8 "
            "%s\n",
            i + 1, lines[i].place, lines[i].place, lines[i].line);
    }
}

void gm_histograms_begin(gm_histograms *h, int panels, const char *of,
                         const gm_predicted_band *band, gm_drawing *drawing)
{
    *h = (gm_histograms){.of = of, .layout = {panels, false, 300, 8 + GM_TITLE_ROW, 0}};
    h->entry[h->entries] = (gm_legend_entry){NULL, 0, "blue", ""};
    snprintf(h->entry[h->entries++].label, sizeof h->entry->label, "%s", of);
    if (band->known) {
        h->entry[h->entries++] = (gm_legend_entry){MEAN_LINE, 0, NULL, "predicted mean"};
        h->entry[h->entries] = (gm_legend_entry){BAND_LINE, 0, NULL, ""};
        snprintf(h->entry[h->entries++].label, sizeof h->entry->label,
                 "predicted band, {/:Italic s} = %g", band->s);
    }
    h->layout.top += GM_LEGEND_ROW * gm_legend_rows(&h->layout, -1, h->entry, h->entries);
    drawing->height = h->layout.height;
    fputs("set multiplot\nset xlabel \"{/:Italic Δ}\"\n", drawing->script);
}

/* The legend stands above the first panel, which alone is given its entries. */
void gm_histograms_panel(const gm_histograms *h, int column, const json_t *histogram,
                         const gm_predicted_band *band, const char *title, FILE *script)
{
    gm_axis x, y;
    char label[64] = "";
    write_bars(histogram, column, &x, &y, script);
    if (band->known) {
        double reach = 0.05 * (band->upper - band->lower);
        x.low = fmin(x.low, band->lower - reach);
        x.high = fmax(x.high, band->upper + reach);
        plot_band(band, &x, script);
    }
    if (column == 0) snprintf(label, sizeof label, "%% of the %s", h->of);
    gm_panel(&h->layout, column, label, script);
    if (column == 0) gm_legend(&h->layout, -1, h->entry, h->entries, script);
    gm_axis_script(&x, "x", GM_LABELS_SHOWN, script);
    gm_axis_script(&y, "y", GM_LABELS_SHOWN, script);
    fprintf(script, "set title \"%s\"\n", title);
    fprintf(script, "plot $bars%d using 1:2:3 with boxes fs solid 0.5 noborder lc rgb blue\n",
            column);
    gm_panel_end(script);
    fputs("set title \"\"\nunset arrow\n", script);
}
