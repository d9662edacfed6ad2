/* What the readers hand to the operators: a dense or a sparse matrix, square and finite, not yet
 * known to be symmetric. */
#ifndef GM_MATRIX_MATRIX_H
#define GM_MATRIX_MATRIX_H

#include <stddef.h>
#include <stdint.h>

#include "gradiometer/operator.h"
#include "gradiometer/status.h"

/* Compressed rows: entries start[i] ... start[i + 1] - 1 belong to row i, columns ascending. */
typedef struct gm_sparse {
    size_t *start;    /* [size + 1] */
    uint32_t *column; /* [entries] */
    double *value;    /* [entries] */
} gm_sparse;

typedef struct gm_matrix {
    size_t size;
    double *dense;    /* [size, size]; NULL where sparse */
    gm_sparse sparse; /* of NULLs where dense */
    double tolerance; /* of |a_ij - a_ji|, relative to the largest |entry| */
    int base;         /* 0 or 1: how the file counts rows, for messages */
} gm_matrix;

/* Accepts NULL and a struct of zeros. */
void gm_matrix_free(gm_matrix *m);

/* Entries in the order of a file, before duplicates are summed. */
typedef struct gm_triplets {
    size_t count;
    uint32_t *row, *column; /* [count], < size */
    double *value;          /* [count] */
} gm_triplets;

/* Sorts the triplets into compressed rows and sums duplicates (in the order of the file). Takes
 * over their arrays, also on failure. */
gm_status gm_sparse_build(size_t size, gm_triplets *triplets, gm_sparse *sparse, gm_error *err);

/* The Matrix Market file at path; memory as for gm_operator_load. m is for gm_matrix_free in any
 * case. */
gm_status gm_market_read(const char *path, size_t memory, gm_matrix *m, gm_error *err);

/* GM_ERR_MEMORY "path: ... takes" where bytes exceed memory (0: never). bytes may be inexact. */
gm_status gm_matrix_check_memory(const char *path, size_t size, double bytes, size_t memory,
                                 gm_error *err);

/* GM_ERR_INPUT naming the first pair of entries that differ beyond the tolerance; those within it
 * become their mean. */
gm_status gm_matrix_symmetrize(const char *path, gm_matrix *m, gm_error *err);

#endif
