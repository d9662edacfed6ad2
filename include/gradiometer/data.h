/* Data sets: features X, labels or targets Y, in memory, in the precision of the model that will
 * read them. */
#ifndef GRADIOMETER_DATA_H
#define GRADIOMETER_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/status.h"
#include "gradiometer/team.h"
#include "gradiometer/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The label of a position that has no loss, as in PyTorch. */
enum { GM_LABEL_MASKED = -100 };

typedef struct gm_dataset {
    char *name;      /* the resolved spec, e.g. "gauss:k=10,d=50,n=1000,sep=2,seed=1" */
    size_t n;        /* samples, >= 1; those held, of a share of a set >= 0 */
    size_t whole;    /* a share alone: samples of the set that it is of, else 0 */
    size_t first;    /* which of them is its first */
    gm_shape shape;  /* of one sample: [d] or [channels, height, width] */
    size_t features; /* product of shape */
    gm_dtype dtype;
    void *x;          /* [n, features], dtype; all finite */
    size_t positions; /* labels of a sample: 1, or T for a loss at each place of a sequence */
    int32_t *label;   /* [n, positions], 0 ... classes-1, or GM_LABEL_MASKED where positions > 1;
                         NULL where target is given */
    double weight;  /* of a position's loss in its sample's: n over the labels that are not masked,
                       so that the mean over samples is that over positions; 1 for one label */
    double *target; /* [n, outputs]; NULL where label is given */
    size_t classes; /* K: width of the model's output (at one position); largest label + 1 where no
                       model is named */
    size_t outputs; /* columns of target, 0 without */
    double random_labels; /* share asked for; redrawn counts how many were redrawn, same label or
                             not */
    size_t redrawn;
    bool standardized;
    double *mean; /* [features] subtracted, and */
    double *sd; /* [features] divided by, when standardized (1 where a feature does not vary); else
                   NULL */
} gm_dataset;

typedef struct gm_data_options {
    gm_dtype dtype;       /* GM_F64 */
    uint64_t seed;        /* 0: of subset and random labels */
    size_t subset;        /* 0 = all; else the first N after a seeded shuffle, 1 ... n */
    double random_labels; /* 0: each label redrawn uniformly over the classes with this probability,
                             0 ... 1 */
    size_t classes;       /* 0 = unknown (largest label + 1); else the outputs of the model, below
                             which labels must lie: K, or T K for labels at T positions */
    bool standardize;     /* false */
    bool test; /* false; true reads the test half of mnist: and cifar10:, the test stream of gauss:,
                  and redraws labels from a stream of its own */
    const gm_dataset
        *reference;      /* NULL; the training set whose mean and sd standardize a test set */
    const gm_team *team; /* NULL; else all ranks load the set, and what they read is compared */
    size_t share_above;  /* 0; else bytes of features above which share is on */
    bool share;          /* false; true: the rank keeps its share of the samples alone, that of
                            gm_team_share. It reads these, and once more the share of one other
                            rank, to compare; the rest is passed over */
} gm_data_options;

void gm_data_options_default(gm_data_options *options);

/* Reads or makes the set that spec names (docs/guide.md): gauss:..., idx:IMAGES,LABELS,
 * mnist:DIR[,split=S] (labels below S are class 0, the others class 1), cifar10:DIR,
 * npy:X.npy,Y.npy, csv:FILE. On success *data is the caller's, freed by gm_dataset_free; on failure
 * *data is NULL and err names file and field: GM_ERR_USAGE for a spec that is none, GM_ERR_IO for
 * a file that cannot be read, GM_ERR_INPUT for one that holds something else, labels out of range,
 * NaN or infinity; GM_ERR_MEMORY. Order of the steps: read, subset, random labels, standardize. */
gm_status gm_data_load(const char *spec, const gm_data_options *options, gm_dataset **data,
                       gm_error *err);

/* Shape of a sample and number of classes (columns of targets where there are such) of the set that
 * spec names, for a net that takes both from the data. Cost: the labels are read where the format
 * does not fix their number. */
gm_status gm_data_describe(const char *spec, gm_shape *shape, size_t *classes, gm_error *err);

/* Number of samples of that set, or of its test half, as the heads of its files say: nothing else
 * is read, except of a CSV file, whose lines are counted. */
gm_status gm_data_samples(const char *spec, bool test, size_t *n, gm_error *err);

/* A data set over copies of the caller's arrays: x [n, product of shape] double, label [n] or
 * target [n, outputs] (exactly one of them not NULL). Checked like a file. */
gm_status gm_data_from_arrays(const char *name, size_t n, const gm_shape *shape, const double *x,
                              const int32_t *label, const double *target, size_t outputs,
                              gm_dtype dtype, size_t classes, gm_dataset **data, gm_error *err);

/* Likewise for sequences: labels [n, positions], each 0 ... classes - 1 or GM_LABEL_MASKED. */
gm_status gm_data_from_sequences(const char *name, size_t n, const gm_shape *shape, const double *x,
                                 size_t positions, const int32_t *label, gm_dtype dtype,
                                 size_t classes, gm_dataset **data, gm_error *err);

/* One-hot targets [n, classes] in place of labels, for the squared loss; does nothing where targets
 * exist. GM_ERR_INPUT for labels at positions. */
gm_status gm_dataset_one_hot(gm_dataset *data, gm_error *err);

/* Samples of the set, all of them where data is a share. */
size_t gm_dataset_samples(const gm_dataset *data);

/* The samples index[0 ... m - 1] of data (repeats allowed) as a set of their own, named "NAME,
 * WHAT"; all else is as in data. *out is the caller's, NULL after a failure: GM_ERR_USAGE for m =
 * 0, an index beyond n or a share, GM_ERR_MEMORY. */
gm_status gm_dataset_select(const gm_dataset *data, size_t m, const size_t *index, const char *what,
                            gm_dataset **out, gm_error *err);

/* A bootstrap resample (Efron 1979): n samples drawn from data with replacement, sample i of *out
 * being sample gm_below(gm_stream_of(seed, GM_PURPOSE_RESAMPLE, index), i, n) of data. All else is
 * as in data (standardization, targets, classes); redrawn stays the count of data. *out is the
 * caller's and as large as data; NULL with GM_ERR_MEMORY, GM_ERR_USAGE for a share. */
gm_status gm_dataset_resample(const gm_dataset *data, uint64_t seed, uint32_t index,
                              gm_dataset **out, gm_error *err);

void gm_dataset_free(gm_dataset *data);

#ifdef __cplusplus
}
#endif
#endif
