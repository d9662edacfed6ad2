/* One self-contained HTML page from run files: a summary in words, figures, tables, and how to
 * repeat it all. */
#ifndef GRADIOMETER_REPORT_H
#define GRADIOMETER_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the page about the runs run_path [count], count >= 1, in the order given, to page_path.
 * It needs no network and no other file; figures are SVG made by gnuplot (Debian package
 * gnuplot-nox), and follow the reader's preference for dark or light. What was measured at several
 * steps of a training is moved through by a slider, which a few lines of script in the page serve;
 * without scripts, and in print, the first, the middle and the last step are shown. What a run file
 * does not hold (no training, no decomposition, not a finite number) is said in a sentence in its
 * place. Nothing in the page depends on the time or place of writing: equal run files give equal
 * bytes.
 *
 * The page appears under its name only when complete. Errors: those of reading run files
 * (GM_ERR_IO, GM_ERR_INPUT, GM_ERR_USAGE for count 0 or where page_path is itself
 * a run file), GM_ERR_DEPENDENCY without gnuplot, GM_ERR_IO where the page cannot be written.
 * Numbers that gnuplot cannot draw are said in the picture's place. Cost: one process of gnuplot
 * for each run, some 20 ms a figure; memory: the run files' results and metrics. */
gm_status gm_report_write(size_t count, const char *const *run_path, const char *page_path,
                          gm_error *err);

typedef enum gm_report_format { GM_REPORT_PDF, GM_REPORT_PNG, GM_REPORT_SVG } gm_report_format;

/* Writes the figures of the page as files of their own, on white, into folder, which is made where
 * it is missing (the folder above it must exist): FIGURE.pdf (.png, .svg) with the figure's name in
 * the page ("loss", "density", "density2"); with several runs runN-FIGURE.pdf, N from 1 in the
 * order given, and all-FIGURE.pdf where they are compared. Figures that the run files have no
 * numbers for are left out; *written (or NULL) is how many there are. PNG has twice the pixels of
 * the page, PDF is 7.6 inches wide. Errors as above, and GM_ERR_NUMERIC where gnuplot fails. */
gm_status gm_report_figures(size_t count, const char *const *run_path, gm_report_format format,
                            const char *folder, size_t *written, gm_error *err);

/* A page of the caller's own: begin (up to the opened <body>, in the style of all pages, with this
 * title), what the caller and gm_report_compare write, end (footer and the rest). Errors of the
 * stream are the caller's to find. */
void gm_report_page_begin(const char *title, FILE *page);
void gm_report_page_end(FILE *page);
/* text as HTML, everything that would be markup escaped, what is not UTF-8 replaced. */
void gm_report_text(const char *text, FILE *page);

/* The comparison of the runs run_path [count] as a piece of HTML, for a page begun as above: the
 * settings that differ, measures side by side, curves over one another. name [count] is what they
 * are called (NULL: their files' names). Runs that differ in their seeds alone are drawn alike.
 * Errors as above. Cost: one process of gnuplot, and reading the run files. */
gm_status gm_report_compare(size_t count, const char *const *run_path, const char *const *name,
                            FILE *page, gm_error *err);

/* The pages of a study in folder (`gradiometer study -o`): folder/index.html with the grid, its
 * results against batch size, share of random labels and what else varies, and the runs side by
 * side; and a page for each cell that is trained, folder/cells/NAME.html, where there is none yet.
 * stop (NULL: never) is asked between cells: GM_ERR_INTERRUPTED, and what is written stays. Errors:
 * those of the index (GM_ERR_IO, GM_ERR_INPUT), and as above. */
gm_status gm_report_study(const char *folder, bool (*stop)(void *context), void *context,
                          gm_error *err);

#ifdef __cplusplus
}
#endif
#endif
