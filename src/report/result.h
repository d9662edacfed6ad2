/* Reading numbers and texts out of a result's JSON document by path. */
#ifndef GM_REPORT_RESULT_H
#define GM_REPORT_RESULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/status.h"

/* The value at path: names separated by '/', numbers index arrays ("overlap/pairs/0/value"). NULL
 * where there is none or it is null; document may be NULL. */
const json_t *gm_result_find(const json_t *document, const char *path);

/* The number at path (true counts as 1, false as 0); NaN where there is none. */
double gm_result_number(const json_t *document, const char *path);

/* The text at path, owned by the document; NULL where there is none. */
const char *gm_result_text(const json_t *document, const char *path);

/* An array of numbers, or of arrays of numbers of one length. */
typedef struct gm_numbers {
    size_t rows, columns; /* columns is 1 for a plain array */
    double *value;        /* [rows, columns]; NaN in place of null; NULL where rows is 0 */
    size_t finite;        /* how many are finite */
} gm_numbers;

/* The numbers at path; rows = 0 with GM_OK where there are none (missing, empty, ragged, not
 * numbers). Freed by gm_numbers_free. GM_ERR_MEMORY. */
gm_status gm_result_numbers(const json_t *document, const char *path, gm_numbers *numbers,
                            gm_error *err);
void gm_numbers_free(gm_numbers *numbers);

/* The entry of overlap/pairs of a decomposition that is about operators a and b; NULL without. */
const json_t *gm_result_pair(const json_t *document, const char *a, const char *b);

/* Whether only the ends of this operator's spectrum are known (decompose by products). */
bool gm_result_partial(const json_t *operator);

/* The eigenvalues of an operator of a decomposition from one end inwards: the largest first or,
 * with low, the lowest first. All of them where all are known. By products the ones found at that
 * end; without a search for the lowest, those that are negative. Errors as above. */
gm_status gm_result_end(const json_t *operator, bool low, gm_numbers *numbers, gm_error *err);

#endif
