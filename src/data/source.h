/* A source delivers the samples of one data set in order, one row of doubles at a time, whatever
 * the format. gm_source_read (read.c) is its only reader of samples: it selects, checks and stores.
 * So a format holds no more than a bounded buffer, and a new format is one file with one open
 * function.
 */
#ifndef GM_DATA_SOURCE_H
#define GM_DATA_SOURCE_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/data.h"

/* One sample on its way: x [features], and either label [positions] or target [outputs]. */
typedef struct gm_sample {
    double *x;
    double *target;
    int64_t *label;
} gm_sample;

typedef struct gm_source gm_source;

struct gm_source {
    char *name; /* resolved spec; NULL = as the user wrote it */
    size_t n;   /* samples, >= 1 */
    gm_shape shape;
    size_t features;  /* product of shape, >= 1 */
    size_t classes;   /* fixed by the format or spec; 0 = largest label + 1 */
    size_t outputs;   /* columns of target; 0 = labels */
    size_t positions; /* labels of a sample; 0 = 1 */

    /* Where the sample delivered last stands, for messages: files of x and of y, "row" or "line",
     * its number, and what rows and columns are counted from. */
    const char *x_file, *y_file, *unit;
    size_t position;
    int base;

    void *state;
    /* Delivers the next sample into the buffers of *sample. After the last one it has checked the
     * end of its files. Called n times at most. NaN, infinity and labels of any value may pass: the
     * reader checks them. */
    gm_status (*next)(gm_source *source, gm_sample *sample, gm_error *err);
    /* Moves on to sample i, beyond the one delivered last; next delivers it. What is passed over is
     * not kept, checked or converted, and not read where the format has a place for every sample.
     * Called for ranks alone (NULL: for none). */
    gm_status (*seek)(gm_source *source, size_t i, gm_error *err);
    void (*close)(void *state); /* accepts a half-built state */
};

/* The open functions, one per file. body is the spec behind "scheme:"; test selects the test half
 * where there is one. On failure the caller still calls gm_source_close. */
gm_status gm_gauss_open(const char *body, bool test, gm_source *source, gm_error *err);
gm_status gm_idx_open(const char *body, bool test, gm_source *source, gm_error *err);
gm_status gm_mnist_open(const char *body, bool test, gm_source *source, gm_error *err);
gm_status gm_cifar10_open(const char *body, bool test, gm_source *source, gm_error *err);
gm_status gm_npy_pair_open(const char *body, bool test, gm_source *source, gm_error *err);
gm_status gm_csv_open(const char *body, bool test, gm_source *source, gm_error *err);

void gm_source_close(gm_source *source);

/* Labels of a sample, at least 1. */
size_t gm_source_positions(const gm_source *source);

/* Sets source->features; GM_ERR_INPUT naming file where the shape is empty or overflows. */
gm_status gm_source_set_features(gm_source *source, const char *file, gm_error *err);

/* Splits "FIRST,SECOND" into two fresh strings (gm_free). GM_ERR_USAGE, showing the form expected
 * ("idx:IMAGES,LABELS"), where there is not exactly one comma with text on both sides. */
gm_status gm_split_pair(const char *body, const char *form, char **first, char **second,
                        gm_error *err);

/* Numbers in specs and text files have a point in them, whatever the host's locale: between enter
 * and leave this thread reads and prints numbers as C does. leave is due only where enter succeeded
 * (GM_ERR_MEMORY). */
typedef struct gm_plain_locale {
    locale_t plain, before;
} gm_plain_locale;
gm_status gm_plain_locale_enter(gm_plain_locale *locale, gm_error *err);
void gm_plain_locale_leave(gm_plain_locale *locale);

#endif
