/* Eigenvalues by rank, both axes logarithmic: what the figures of whole spectra draw. */
#ifndef GM_REPORT_RANKS_H
#define GM_REPORT_RANKS_H

#include <stdbool.h>
#include <stdio.h>

#include "report/result.h"

/* Rounding of zero in the spectrum of an operator of a decomposition, whose eigenvalues are `all`
 * (or one end of them, where the document says what its floor is). */
double gm_ranks_floor(const json_t *operator, const gm_numbers * all);

/* Sizes of the eigenvalues on one side of zero by rank, largest first, as logarithms in the data
 * block $name; thinned beyond rank 100, where neighbours cannot be told apart. Those within
 * floor_size of zero are left out. Extends *largest and *smallest to those written; returns how
 * many. */
size_t gm_ranks_write(const char *name, bool negative, const gm_numbers *end, double floor_size,
                      double *largest, double *smallest, FILE *script);

#endif
