/* safetensors files: named tensors of numbers, strict reading, atomic writing.
 *
 * The format: the length N of the header as 8 bytes little-endian, the header [N], a JSON object
 * that gives each tensor's dtype, shape and place, then the numbers, little-endian and row-major,
 * which the tensors cover without a gap. Reference: github.com/huggingface/safetensors. */
#ifndef GM_DATA_SAFETENSORS_H
#define GM_DATA_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "gradiometer/status.h"
#include "gradiometer/types.h"

enum { GM_SAFETENSORS_RANK = 8 };

typedef struct gm_safetensor {
    char *name;
    int type;   /* private to safetensors.c */
    bool reads; /* F64, F32, F16 or BF16: gm_safetensors_read takes it */
    int rank;   /* 0 ... GM_SAFETENSORS_RANK */
    size_t dim[GM_SAFETENSORS_RANK];
    size_t count; /* elements, product of dim; may be 0 */
    size_t begin; /* of its bytes, behind the header */
} gm_safetensor;

typedef struct gm_safetensors {
    char *path;
    FILE *file;
    size_t start; /* of the numbers in the file */
    size_t tensors;
    gm_safetensor *tensor; /* [tensors] in the order of their bytes */
} gm_safetensors;

/* Opens path and checks everything but the numbers: the header's length against the file and 100
 * MB, its JSON (keys given twice are refused), every dtype, shapes that overflow or do not fit
 * their bytes, and that the tensors cover the rest of the file without gap or overlap. GM_ERR_IO
 * where it cannot be opened or read, GM_ERR_INPUT where it is no such file; the message names the
 * tensor. *file is the caller's. */
gm_status gm_safetensors_open(const char *path, gm_safetensors **file, gm_error *err);
void gm_safetensors_close(gm_safetensors *file); /* accepts NULL */

/* "F32" */
const char *gm_safetensor_type(const gm_safetensor *tensor);
/* Index of the tensor of that name; file->tensors where there is none. Takes time in proportion to
 * the number of tensors. */
size_t gm_safetensors_find(const gm_safetensors *file, const char *name);
/* All numbers of one tensor as doubles, exactly: values [count]. Refuses a dtype that is not read,
 * and NaN or infinity by the tensor's name and the first index. */
gm_status gm_safetensors_read(gm_safetensors *file, size_t index, double *values, gm_error *err);

/* One tensor to be written. */
typedef struct gm_safetensor_out {
    const char *name;
    gm_shape shape;
    const double *values;
} gm_safetensor_out;

/* Writes the tensors [count >= 1] in the order given, in F64 or F32 (values rounded), whole or not
 * at all (base/file.h). Names are distinct and valid UTF-8, or it is GM_ERR_INPUT. */
gm_status gm_safetensors_write(const char *path, gm_dtype dtype, const gm_safetensor_out *tensor,
                               size_t count, gm_error *err);

#endif
