/* NumPy's NPY files (format versions 1.0, 2.0, 3.0): strict reading in order, atomic writing.
 *
 * The format: magic "\x93NUMPY", version, length of the header, the header (a Python dictionary
 * with the keys descr, fortran_order and shape), then the elements without a gap to the end of the
 * file. Reference: numpy.lib.format, NEP 1. */
#ifndef GM_DATA_NPY_H
#define GM_DATA_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "gradiometer/status.h"

enum { GM_NPY_MAX_RANK = 8 };

/* Element types that are read; the code in the file is |u1, <u8, <i4, <i8, <f4, <f8 or, with > for
 * <, its big-endian form. */
typedef enum gm_npy_type {
    GM_NPY_U1,
    GM_NPY_U8,
    GM_NPY_I4,
    GM_NPY_I8,
    GM_NPY_F4,
    GM_NPY_F8
} gm_npy_type;

typedef struct gm_npy {
    char *path;
    gm_npy_type type;
    int rank; /* 0 ... GM_NPY_MAX_RANK */
    size_t dim[GM_NPY_MAX_RANK];
    size_t count; /* elements, product of dim */
    size_t next;  /* element that the next read delivers */
    bool swap;    /* stored big-endian */
    bool fortran; /* column-major; only from gm_npy_open_any_order */
    FILE *file;
} gm_npy;

/* Opens path and checks everything but the elements: magic, version, header, type, C order, no more
 * than GM_NPY_MAX_RANK dimensions, and that the file ends with the last element. GM_ERR_IO where it
 * cannot be opened or read, GM_ERR_INPUT where it is no such file; the message names the field.
 * *npy is the caller's. */
gm_status gm_npy_open(const char *path, gm_npy **npy, gm_error *err);
/* The same, accepting Fortran order too (npy->fortran): elements are then delivered as stored. */
gm_status gm_npy_open_any_order(const char *path, gm_npy **npy, gm_error *err);
void gm_npy_close(gm_npy *npy); /* accepts NULL */

bool gm_npy_is_integer(const gm_npy *npy);
/* "u1", ..., "f8"; the bytes of one element; what a file calls the type ("|u1", ..., "<f8"). */
const char *gm_npy_type_name(gm_npy_type type);
size_t gm_npy_type_size(gm_npy_type type);
void gm_npy_type_code(gm_npy_type type, char code[8]);

/* Next count elements as stored, any type, as double (integers beyond 2^53 are rounded; NaN and
 * infinity pass). next + count <= npy->count is the caller's duty. */
gm_status gm_npy_read(gm_npy *npy, size_t count, double *values, gm_error *err);
/* Likewise as integers, of integer types only. A u8 beyond INT64_MAX becomes INT64_MAX. */
gm_status gm_npy_read_integers(gm_npy *npy, size_t count, int64_t *values, gm_error *err);
/* Moves on by count elements; the caller's duty as above. GM_ERR_IO. */
gm_status gm_npy_pass_over(gm_npy *npy, size_t count, gm_error *err);

/* Reads a whole file that holds one vector: *values [*n], freed by gm_free. Refuses any rank but 1,
 * length 0, and NaN or infinity, naming the first index that has one. What a parameter file
 * (--params F.npy) is read with. */
gm_status gm_npy_read_vector(const char *path, double **values, size_t *n, gm_error *err);

/* The bytes before the elements of a C-order array of that shape, in *header; returns how many:
 * version 1.0, padded to a multiple of 64. descr is NumPy's code of the type ("<f8", "|S20"), rank
 * 0 ... GM_NPY_MAX_RANK. */
enum { GM_NPY_HEADER = 512 };
size_t gm_npy_header(const char *descr, int rank, const size_t *dim,
                     unsigned char header[GM_NPY_HEADER]);
/* Writes the header of a C-order array of that type and shape (little-endian). The elements are the
 * caller's to write. */
void gm_npy_write_header(FILE *stream, gm_npy_type type, int rank, const size_t *dim);

/* Writes values (elements of that type in memory: uint8_t, ..., double), C order, whole or not at
 * all (base/file.h). rank 0 ... GM_NPY_MAX_RANK. */
gm_status gm_npy_write(const char *path, gm_npy_type type, int rank, const size_t *dim,
                       const void *values, gm_error *err);

#endif
