/* What other rooms' code (the data command) and the files of this room need of a data set beyond
 * the public header. */
#ifndef GM_DATA_DATASET_H
#define GM_DATA_DATASET_H

#include "gradiometer/data.h"

/* row [features] = sample i, i < n. */
void gm_dataset_row(const gm_dataset *data, size_t i, double *row);

/* Mean and standard deviation (divided by n, two passes, double) of every feature, [features] each,
 * over all samples where data is a share whose team it is (else NULL). sd is exactly 0 where a
 * feature does not vary. Cost: two passes over x. */
gm_status gm_dataset_moments(const gm_dataset *data, const gm_team *team, double *mean, double *sd,
                             gm_error *err);

/* Subtracts mean and divides by sd: the set's own (sd 1 where a feature does not vary), or those of
 * reference, a standardized set with as many features. Fills data->mean and data->sd. */
gm_status gm_dataset_standardize(gm_dataset *data, const gm_dataset *reference, const gm_team *team,
                                 gm_error *err);

/* row [features] becomes sample i, rounded to the set's precision. Returns the first column whose
 * value is NaN, infinite or beyond that precision, or features where there is none. */
size_t gm_dataset_store(gm_dataset *data, size_t i, const double *row);

/* The files that `output` names: "X.npy,Y.npy" (two) or "FILE.csv" (one, path[1] NULL), both freed
 * by gm_free, also after a failure. GM_ERR_USAGE for anything else, and for the same name twice. */
gm_status gm_dataset_paths(const char *output, char *path[2], gm_error *err);

/* Writes the set as it is in memory, so that npy:X.npy,Y.npy or csv:FILE reads the same numbers
 * again: X [n, shape...] in the set's precision and Y as i4 labels or f8 targets; or one line of
 * numbers per sample with the label behind them (GM_ERR_USAGE where the set has targets). No file
 * appears unless all could be written. */
gm_status gm_dataset_write(const gm_dataset *data, const char *output, gm_error *err);

#endif
