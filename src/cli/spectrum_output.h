/* What `gradiometer spectrum` prints and records: one document, one readable form, one result in
 * the run file, all of the same measurements. */
#ifndef GM_CLI_SPECTRUM_OUTPUT_H
#define GM_CLI_SPECTRUM_OUTPUT_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/session.h"
#include "cli/spectrum_measure.h"
#include "cli/spectrum_source.h"

typedef struct gm_spectrum_report {
    gm_cli *cli;
    const gm_session *session;
    const gm_spectrum_settings *set;
    const gm_spectrum_divisor *divisor; /* NULL: not preconditioned */
    const char *name;                   /* of the operator in the document: "hessian" */
    const char *title;                  /* of the operator in words: "Hessian H" */
    bool each;                          /* every layer's block; else block [1] */
    size_t blocks;
    const gm_spectrum *block; /* [blocks] */
    json_t *trajectory;       /* of several points, what gm_spectrum_entry gave for each; NULL */
} gm_spectrum_report;

/* What was measured at one of several points, with step, label, loss and gradient_norm of it. */
json_t *gm_spectrum_entry(const gm_spectrum_report *report, const char *label);

/* The whole document, for gm_document_print; NULL with err recorded when memory is short. */
json_t *gm_spectrum_document(const gm_spectrum_report *report, gm_error *err);

void gm_spectrum_print(const gm_spectrum_report *report);

/* Stores the document under OPERATOR/METHOD/LAYER in --output, with arrays for every block: see
 * docs/run-file.md. GM_OK without --output. */
gm_status gm_spectrum_record(const gm_spectrum_report *report, json_t *document, gm_error *err);

/* The name of that result, "hessian/lanczos/net", for gm_free; NULL with err recorded. */
char *gm_spectrum_key(const gm_spectrum_report *report, gm_error *err);
/* The eigenvectors of every block from that result, where --output keeps them: pairs.vector [k,
 * size] and pairs.k of block [blocks]. */
gm_status gm_spectrum_recall(const gm_spectrum_report *report, int64_t result, gm_spectrum *block,
                             gm_error *err);
/* The point's k leading eigenvalues as metrics of --output, which a figure shows along all points:
 * OPERATOR/eigenvalue/j, loss, gradient_norm. Of the whole net alone, and not in the run file of a
 * training, which has its own. GM_OK without --output. */
gm_status gm_spectrum_record_metrics(const gm_spectrum_report *report, gm_error *err);

#endif
