/* The page and its parts; each writes HTML. */
#ifndef GM_REPORT_PAGE_H
#define GM_REPORT_PAGE_H

#include <stdio.h>

#include "gradiometer/status.h"
#include "report/subject.h"

/* The whole document for the runs subject [count], count >= 1: head, summaries, figures, tables.
 * Errors: those of the figures. Errors of the stream are left for its owner to find. */
gm_status gm_page_write(const gm_subject *subject, size_t count, FILE *page, gm_error *err);

/* The document up to the opened <body>, with this title (escaped here), and from the footer to its
 * end. */
void gm_page_begin(const char *title, FILE *page);
void gm_page_end(FILE *page);

/* The style sheet: light, dark by the reader's preference, and print. */
void gm_page_style(FILE *page);

/* What was trained, whether it converged, and what the decomposition found, in sentences. */
void gm_summary_write(const gm_subject *subject, FILE *page);

/* The settings of the run file as a table, and the commands that repeat it. */
void gm_tables_settings(const gm_subject *subject, FILE *page);
void gm_tables_repeat(const gm_subject *subject, FILE *page);
/* The numbers behind the figures: by step, and the leading directions at the last step. */
gm_status gm_tables_numbers(const gm_subject *subject, FILE *page, gm_error *err);

#endif
