/* Pictures made of figures: drawn by gnuplot, many in one process, and put into a page or a file.
 */
#ifndef GM_REPORT_PICTURES_H
#define GM_REPORT_PICTURES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gradiometer/report.h"
#include "report/figure.h"

/* One picture to be made: number `number` of a figure of one run, or of a figure of several runs.
 */
typedef struct gm_picture {
    const gm_figure *figure;
    const gm_subject *subject;
    const gm_runs_figure *across; /* in the place of figure and subject where runs is not NULL */
    const gm_runs *runs;
    size_t number;
} gm_picture;

/* All pictures of one run, or of several, in the order of the page: *picture [*count], the caller's
 * (gm_free). */
gm_status gm_pictures_of_run(const gm_subject *subject, gm_picture **picture, size_t *count,
                             gm_error *err);
gm_status gm_pictures_of_runs(const gm_runs *runs, gm_picture **picture, size_t *count,
                              gm_error *err);

/* Writes the <figure> elements of pictures [count]. Those that show one thing at several steps of
 * the training become a film (report/film.h), and *films is set. Of several runs what has nothing
 * to draw is left out. Errors: those of draw and of gnuplot. Cost: one process of gnuplot for all.
 */
gm_status gm_pictures_write(const gm_picture *picture, size_t count, FILE *page, bool *films,
                            gm_error *err);

/* What the file of a picture is called, without suffix: "density2", "run1-density2" where `several`
 * runs are reported, "all-loss" for one about all of them. *name is the caller's (gm_free). */
gm_status gm_picture_name(const gm_picture *picture, bool several, char **name, gm_error *err);

/* Writes one picture to the file at path, on white; *drawn is false, and there is no file, where
 * there is nothing to draw. */
gm_status gm_picture_write_file(const gm_picture *picture, gm_report_format format,
                                const char *path, bool *drawn, gm_error *err);

/* Where a picture goes: into the page, or into a file of its own. */
typedef enum gm_picture_form {
    GM_FORM_PAGE,
    GM_FORM_PDF,
    GM_FORM_PNG,
    GM_FORM_SVG
} gm_picture_form;

/* gnuplot's terminal, fonts, colours and what else all figures share: axes left and below only,
 * ticks outside, a faint grid, and no key, since legends stand above the plot where they cover no
 * data. */
void gm_picture_prelude(gm_picture_form form, const char *id, int height, FILE *script);

#endif
