/* What the figures about `spectrum` results share: which results they show, and how an operator is
 * named in titles, captions and pictures. */
#ifndef GM_REPORT_SPECTRA_H
#define GM_REPORT_SPECTRA_H

#include <stdbool.h>
#include <stdio.h>

#include "report/figure.h"
#include "report/result.h"
#include "report/subject.h"

/* How many spectra of a run hold something at path, and the one with that number among them (NULL
 * where there are fewer). */
size_t gm_spectra_count(const gm_subject *subject, const char *path);
const gm_subject_spectrum *gm_spectra_find(const gm_subject *subject, const char *path,
                                           size_t number);

/* Whether two measurements tell of one operator: of the same layer, between the same factors. */
bool gm_spectra_alike(const gm_subject_spectrum *a, const gm_subject_spectrum *b);

/* Whether the operator stands between two factors of a preconditioner. */
bool gm_spectrum_preconditioned(const gm_subject_spectrum *spectrum);

/* Ends the drawing's title, ": Hessian H, layer dense1", and sets its step. */
void gm_spectrum_title(const gm_subject_spectrum *spectrum, gm_drawing *drawing);
/* HTML: "of the Hessian <i>H</i> of layer <code>dense1</code>". */
void gm_spectrum_caption(const gm_subject_spectrum *spectrum, FILE *caption);
/* An operator of the documents by its key ("ggn"), as plain text ("Gauss-Newton matrix G") and as
 * HTML; the key itself where it is none of ours. */
void gm_operator_title(const char *key, FILE *title);
void gm_operator_caption(const char *key, FILE *caption);

/* Eigenvalues no larger than this are not told from zero: what the document says, else the rounding
 * of the products times scale, the largest size of an eigenvalue. */
double gm_spectrum_floor(const gm_subject_spectrum *spectrum, const char *path, double scale);

#endif
