/* `gradiometer spectrum` at several points, one after the other. */
#ifndef GM_CLI_SPECTRUM_ALONG_H
#define GM_CLI_SPECTRUM_ALONG_H

#include "cli/series.h"
#include "cli/spectrum_output.h"
#include "cli/spectrum_source.h"

/* GM_ERR_USAGE for options that make no sense at several points. */
gm_status gm_spectrum_along_check(const gm_cli *cli, gm_error *err);

/* Measures report->blocks blocks at every point of the series: lanczos from the eigenvectors of the
 * point before. Each is printed as a line (without --json) and recorded as it is done. Then
 * report->block [blocks] (the caller's, zeros) is the last point's, and report->trajectory (the
 * caller's) has them all. GM_ERR_INTERRUPTED with *done > 0 leaves these in place. */
gm_status gm_spectrum_along(gm_spectrum_source *source, gm_series *series,
                            const gm_spectrum_settings *set, gm_spectrum_report *report,
                            gm_spectrum *block, size_t *done, gm_error *err);

#endif
