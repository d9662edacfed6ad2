/* The two faces of a decomposition: its JSON document and its tables. */
#ifndef GM_CLI_DECOMPOSE_H
#define GM_CLI_DECOMPOSE_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/series.h"
#include "cli/session.h"
#include "gradiometer/survey.h"

/* What a decompose command measured. */
typedef struct gm_decompose_results {
    const gm_decompose_options *options;
    size_t first; /* of the points in the series */
    size_t count;
    const gm_decomposition *point; /* [count] by ascending step */
    const gm_series *series;       /* where the points are from; its trajectory says whether one */
    size_t asked;                  /* more than count where the survey was interrupted */
    gm_finding finding[GM_FINDINGS];
} gm_decompose_results;

/* The document: common keys, the last point's measurements at top level, findings and, of several
 * points, trajectory with the same keys for every point. NULL with err recorded. */
json_t *gm_decompose_document(gm_cli *cli, const gm_session *session,
                              const gm_decompose_results *results, gm_error *err);

/* The row of a single point, as it is done; the first one with its heading. */
void gm_decompose_print_line(const gm_decompose_results *results);
void gm_decompose_print(const gm_cli *cli, const gm_session *session,
                        const gm_decompose_results *results);

#endif
