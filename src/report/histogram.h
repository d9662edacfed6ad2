/* A histogram of Delta over runs or draws, with what was predicted of it drawn over: the mean and
 * the band that Gaussian noise leaves on either side with probability at most e^-s. */
#ifndef GM_REPORT_HISTOGRAM_H
#define GM_REPORT_HISTOGRAM_H

#include "report/figure.h"
#include "report/plot.h"
#include "report/result.h"

/* What `dynamics predict` says of one batch and step size. */
typedef struct gm_predicted_band {
    bool known;
    double mean, lower, upper, s;
} gm_predicted_band;

/* From an entry of `predicted` and one of `coverage` (a list of bands), with the band whose s is
 * nearest to 3; unknown where there is none. */
gm_predicted_band gm_predicted_band_read(const json_t *predicted, const json_t *coverage);

/* Panels side by side that share one legend. */
typedef struct gm_histograms {
    const char *of; /* "runs", "draws" */
    gm_layout layout;
    gm_legend_entry entry[3];
    size_t entries;
} gm_histograms;

/* Lays out `panels` of them and starts the multiplot, which the caller ends; the legend names the
 * band where it is known. */
void gm_histograms_begin(gm_histograms *h, int panels, const char *of,
                         const gm_predicted_band *band, gm_drawing *drawing);
/* One of them: histogram has low, high, counts, below, above; title in gnuplot's enhanced text. */
void gm_histograms_panel(const gm_histograms *h, int column, const json_t *histogram,
                         const gm_predicted_band *band, const char *title, FILE *script);

#endif
