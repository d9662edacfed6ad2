/* The figures of a page. Each kind is one file fig_NAME.c that defines one `const gm_figure`,
 * listed in figure.c: it turns a run into a gnuplot script, a caption, or a sentence that says why
 * there is nothing to draw. */
#ifndef GM_REPORT_FIGURE_H
#define GM_REPORT_FIGURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gradiometer/status.h"
#include "report/runs.h"
#include "report/subject.h"

typedef struct gm_drawing {
    size_t number; /* which one of the kind, 0 ... count - 1 */
    FILE *script;  /* gnuplot commands; terminal, fonts, colours and line styles are set already */
    FILE *caption; /* HTML: what is shown and how to read it */
    FILE *missing; /* HTML: why there is no picture; whatever is written here replaces it */
    FILE *title;   /* plain text that goes behind the figure's title */
    int height;    /* of the picture, set by draw */
    int64_t
        step; /* of the training, set by draw where the picture is about one; it ends the title */
} gm_drawing;

typedef struct gm_figure {
    const char *id;    /* letters and digits; becomes part of every id in the picture */
    const char *title; /* plain text */
    gm_status (*draw)(const gm_subject *subject, gm_drawing *drawing, gm_error *err);
    size_t (*count)(const gm_subject *subject); /* how many pictures of the kind a run has */
} gm_figure;

extern const gm_figure gm_figure_loss;
extern const gm_figure gm_figure_eigenvalues;
extern const gm_figure gm_figure_spectra;
extern const gm_figure gm_figure_angles;
extern const gm_figure gm_figure_point;
extern const gm_figure gm_figure_overlap;
extern const gm_figure gm_figure_overlap_at;
extern const gm_figure gm_figure_residual;
extern const gm_figure gm_figure_alignment;
extern const gm_figure gm_figure_subspace;
extern const gm_figure gm_figure_tracked;
extern const gm_figure gm_figure_extremes;
extern const gm_figure gm_figure_resample;
extern const gm_figure gm_figure_density;
extern const gm_figure gm_figure_stability;
extern const gm_figure gm_figure_gauges;
extern const gm_figure gm_figure_steps;
extern const gm_figure gm_figure_phases;
extern const gm_figure gm_figure_martingale;
extern const gm_figure gm_figure_bound;
extern const gm_figure gm_figure_posterior;
extern const gm_figure gm_figure_rescaling;
extern const gm_figure gm_figure_bound_course;
extern const gm_figure gm_figure_ranks;
extern const gm_figure gm_figure_bounds;
extern const gm_figure gm_figure_ensemble;
extern const gm_figure gm_figure_changes;
extern const gm_figure gm_figure_predicted;
extern const gm_figure gm_figure_growth;
extern const gm_figure gm_figure_slice;
extern const gm_figure gm_figure_landscape;

/* Counts of the figures that tell of the training, and of the decomposition: one, or a sentence in
 * its place, unless the run file was made for something else. */
size_t gm_figure_of_training(const gm_subject *subject);
size_t gm_figure_of_decomposition(const gm_subject *subject);

/* For figures that follow the decomposition over training: true where it has two steps or more,
 * else says in drawing->missing what there is. */
bool gm_drawing_has_course(const gm_subject *subject, gm_drawing *drawing);

/* All figures in the order of the page, ended by NULL. */
extern const gm_figure *const gm_figures[];

/* A figure about several runs side by side. */
typedef struct gm_runs_figure gm_runs_figure;
struct gm_runs_figure {
    const char *id, *title;
    gm_status (*draw)(const gm_runs *runs, const gm_runs_figure *figure, gm_drawing *drawing,
                      gm_error *err);
    size_t (*count)(const gm_runs *runs); /* NULL: one */
    const void *shows;                    /* what draw needs to know */
};

extern const gm_runs_figure gm_runs_figure_errors;
extern const gm_runs_figure gm_runs_figure_curvature;
extern const gm_runs_figure gm_runs_figure_agreement;
extern const gm_runs_figure gm_runs_figure_certificate;

/* All of them in the order of the page, ended by NULL. */
extern const gm_runs_figure *const gm_runs_figures[];

#endif
