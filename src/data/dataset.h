/* What other rooms' code (the data command) and the files of this room need of a data set beyond
 * the public header. */
#ifndef GM_DATA_DATASET_H
#define GM_DATA_DATASET_H

#include "gradiometer/data.h"

/* row [features] = sample i, i < n. */
void gm_dataset_row(const gm_dataset *data, size_t i, double *row);

/* Mean and standard deviation (divided by n, two passes, double) of every feature, [features] each.
 * sd is exactly 0 where a feature does not vary. Cost: two passes over x. */
gm_status gm_dataset_moments(const gm_dataset *data, double *mean, double *sd, gm_error *err);

/* Subtracts mean and divides by sd: the set's own (sd 1 where a feature does not vary), or those of
 * reference, a standardized set with as many features. Fills data->mean and data->sd. */
gm_status gm_dataset_standardize(gm_dataset *data, const gm_dataset *reference, gm_error *err);

/* row [features] becomes sample i, rounded to the set's precision. Returns the first column whose
 * value is NaN, infinite or beyond that precision, or features where there is none. */
size_t gm_dataset_store(gm_dataset *data, size_t i, const double *row);

#endif
