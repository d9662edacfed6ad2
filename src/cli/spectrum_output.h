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
} gm_spectrum_report;

/* The whole document, for gm_document_print; NULL with err recorded when memory is short. */
json_t *gm_spectrum_document(const gm_spectrum_report *report, gm_error *err);

void gm_spectrum_print(const gm_spectrum_report *report);

/* Stores the document under OPERATOR/METHOD/LAYER in --output, with arrays for every block: see
 * docs/run-file.md. GM_OK without --output. */
gm_status gm_spectrum_record(const gm_spectrum_report *report, json_t *document, gm_error *err);

#endif
