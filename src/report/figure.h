/* The figures of a page. Each kind is one file fig_NAME.c that defines one `const gm_figure`,
 * listed in figure.c: it turns a run into a gnuplot script, a caption, or a sentence that says why
 * there is nothing to draw. */
#ifndef GM_REPORT_FIGURE_H
#define GM_REPORT_FIGURE_H

#include <stdbool.h>
#include <stdio.h>

#include "gradiometer/status.h"
#include "report/subject.h"

typedef struct gm_drawing {
    FILE *script;  /* gnuplot commands; terminal, fonts, colours and line styles are set already */
    FILE *caption; /* HTML: what is shown and how to read it */
    FILE *missing; /* HTML: why there is no picture; whatever is written here replaces it */
    int height;    /* of the picture, set by draw */
} gm_drawing;

typedef struct gm_figure {
    const char *id;    /* letters and digits; becomes part of every id in the picture */
    const char *title; /* plain text */
    gm_status (*draw)(const gm_subject *subject, gm_drawing *drawing, gm_error *err);
} gm_figure;

extern const gm_figure gm_figure_loss;
extern const gm_figure gm_figure_eigenvalues;
extern const gm_figure gm_figure_spectra;
extern const gm_figure gm_figure_angles;
extern const gm_figure gm_figure_overlap;
extern const gm_figure gm_figure_residual;
extern const gm_figure gm_figure_alignment;
extern const gm_figure gm_figure_subspace;

/* For figures that follow the decomposition over training: true where it has two steps or more,
 * else says in drawing->missing what there is. */
bool gm_drawing_has_course(const gm_subject *subject, gm_drawing *drawing);

/* All figures in the order of the page, ended by NULL. */
extern const gm_figure *const gm_figures[];

/* Writes the <figure> element of one figure of one run. Errors: those of draw and of gnuplot. */
gm_status gm_figure_write(const gm_figure *figure, const gm_subject *subject, FILE *page,
                          gm_error *err);

#endif
