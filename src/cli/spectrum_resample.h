/* spectrum --data-resample B: the measurement repeated on B bootstrap resamples of the data (Efron
 * 1979). The scatter over them is the sampling error of the data itself: how far the numbers would
 * move had another n samples been drawn. The error of an estimate, or the residual of an
 * eigenpair, says nothing of that. */
#ifndef GM_CLI_SPECTRUM_RESAMPLE_H
#define GM_CLI_SPECTRUM_RESAMPLE_H

#include <jansson.h>

#include "cli/spectrum_measure.h"
#include "cli/spectrum_source.h"

gm_status gm_resample_check_options(const gm_cli *cli, const gm_spectrum_settings *set,
                                    gm_error *err);

/* Measures all blocks on every resample, by the settings and random vectors of the blocks
 * themselves, so that their scatter is that of the data. Nothing without --data-resample. The
 * source's linearization is freed first: one at a time is in memory. */
gm_status gm_spectrum_resample(gm_spectrum_source *source, const gm_spectrum_settings *set,
                               size_t blocks, gm_spectrum *block, gm_error *err);

/* How the document and the readable form say it. */
json_t *gm_resamples_value(gm_cli *cli, const gm_spectrum *s);
void gm_resamples_print(const gm_spectrum *s);

#endif
