/* The JSON document of a command, and the first lines of its readable output. */
#ifndef GM_CLI_DOCUMENT_H
#define GM_CLI_DOCUMENT_H

#include "base/json.h"
#include "cli/cli.h"
#include "cli/session.h"

/* A new object with the keys common to every document (docs/guide.md): tool, version, command,
 * seed, precision, threads, model, data, loss, loss_name, reduction, gradient_norm. model, loss,
 * loss_name, reduction and gradient_norm are null where the session has no net. NULL with err
 * recorded when memory is short. */
json_t *gm_document_create(gm_cli *cli, const gm_session *session, gm_error *err);

/* Adds seconds and notes, prints the document and a newline on stdout with 17 significant digits,
 * and drops it (also on failure; NULL is refused as out of memory, so that builders need not check
 * every step). GM_ERR_IO where the write fails. */
gm_status gm_document_print(gm_cli *cli, json_t *document, gm_error *err);

/* The document as text, with seconds and notes as of now; flags of json_dumps for the layout. Freed
 * by free(); NULL with err recorded when memory is short. */
char *gm_document_text(const gm_cli *cli, json_t *document, size_t flags, gm_error *err);

/* A number; NaN and infinities become null and a notice that names `what`. */
json_t *gm_json_number(gm_cli *cli, const char *what, double value);
/* Array of n numbers, the same. */
json_t *gm_json_numbers(gm_cli *cli, const char *what, size_t n, const double *value);

/* The readable counterpart: lines saying model, p, data, n, loss and reduction, point, precision,
 * seed, threads, and, once measured, the loss and the gradient's norm. */
void gm_document_describe(const gm_session *session);

#endif
