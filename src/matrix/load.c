/* A matrix in a file becomes an operator: dense ones by matrix products, sparse ones row by row. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "data/npy.h"
#include "gradiometer/matrix.h"
#include "kernels/kernels.h"
#include "kernels/parallel.h"
#include "matrix/matrix.h"

/* ---- products ---- */

/* The rows of av are those of v times A, which is its own transpose. */
static gm_status dense_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    const gm_matrix *m = self;
    size_t n = m->size;
    gm_kernels_get(GM_F64)->gemm(false, false, count, n, n, 1, v, n, m->dense, n, 0, av, n);
    return GM_OK;
}

/* One row is one thread's, so that its sum has one order whatever the number of threads. */
static gm_status sparse_apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    (void)err;
    const gm_matrix *m = self;
    const gm_sparse *s = &m->sparse;
    size_t n = m->size;
    bool threaded = gm_threaded(count * s->start[n]);
#pragma omp parallel for schedule(static) if (threaded)
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < count; j++) {
            double sum = 0.0;
            for (size_t e = s->start[i]; e < s->start[i + 1]; e++) {
                sum += s->value[e] * v[j * n + s->column[e]];
            }
            av[j * n + i] = sum;
        }
    }
    return GM_OK;
}

static void destroy(void *self)
{
    gm_matrix_free(self);
    gm_free(self);
}

void gm_operator_load_diagonal(const gm_operator *op, double *diagonal)
{
    const gm_matrix *m = op->self;
    const gm_sparse *s = &m->sparse;
    for (size_t i = 0; m->dense && i < m->size; i++) {
        diagonal[i] = m->dense[i * m->size + i];
    }
    for (size_t i = 0; !m->dense && i < m->size; i++) {
        diagonal[i] = 0;
        for (size_t e = s->start[i]; e < s->start[i + 1]; e++) {
            if (s->column[e] == i) diagonal[i] = s->value[e];
        }
    }
}

/* ---- dense matrices in NPY files ---- */

static gm_status check_array(const gm_npy *npy, size_t memory, gm_error *err)
{
    if (npy->rank != 2)
        return gm_fail(err, GM_ERR_INPUT, "%s: has %d dimensions, expected 2 (a matrix [p, p])",
                       npy->path, npy->rank);
    if (npy->dim[0] != npy->dim[1] || npy->dim[0] == 0)
        return gm_fail(err, GM_ERR_INPUT, "%s: %zu rows and %zu columns, expected a square matrix",
                       npy->path, npy->dim[0], npy->dim[1]);
    if (npy->type != GM_NPY_F4 && npy->type != GM_NPY_F8)
        return gm_fail(err, GM_ERR_INPUT, "%s: elements of type %s, expected f4 or f8", npy->path,
                       gm_npy_type_name(npy->type));
    return gm_matrix_check_memory(npy->path, npy->dim[0], 8.0 * (double)npy->count, memory, err);
}

/* Fortran order is C order of the transposed matrix: the same one once it is known to be symmetric.
 * Until then the places that messages name are turned round here. */
static gm_status read_array(gm_npy *npy, size_t memory, gm_matrix *m, gm_error *err)
{
    gm_status status = check_array(npy, memory, err);
    if (status != GM_OK) return status;
    size_t n = npy->dim[0];
    *m = (gm_matrix){.size = n, .tolerance = npy->type == GM_NPY_F4 ? 1e-6 : 1e-12};
    m->dense = gm_alloc(npy->count, sizeof *m->dense, npy->path, err);
    if (!m->dense) return GM_ERR_MEMORY;
    status = gm_npy_read(npy, npy->count, m->dense, err);
    if (status != GM_OK) return status;
    for (size_t e = 0; e < npy->count; e++) {
        if (isfinite(m->dense[e])) continue;
        size_t row = npy->fortran ? e % n : e / n, column = npy->fortran ? e / n : e % n;
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: entry (%zu, %zu) (counted from 0) is %s, expected a finite number",
                       npy->path, row, column, isnan(m->dense[e]) ? "NaN" : "infinite");
    }
    for (size_t i = 0; npy->fortran && i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            double upper = m->dense[j * n + i];
            m->dense[j * n + i] = m->dense[i * n + j];
            m->dense[i * n + j] = upper;
        }
    }
    return GM_OK;
}

static gm_status npy_read(const char *path, size_t memory, gm_matrix *m, gm_error *err)
{
    gm_npy *npy;
    gm_status status = gm_npy_open_any_order(path, &npy, err);
    if (status == GM_OK) status = read_array(npy, memory, m, err);
    gm_npy_close(npy);
    return status;
}

/* ---- either ---- */

/* The first byte tells the formats apart, whatever the file is called. */
static gm_status first_byte(const char *path, int *byte, gm_error *err)
{
    struct stat info;
    FILE *stream = fopen(path, "rbe");
    if (!stream || fstat(fileno(stream), &info) != 0) {
        gm_status status =
            gm_fail(err, GM_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
        if (stream) fclose(stream);
        return status;
    }
    bool regular = S_ISREG(info.st_mode);
    if (regular) *byte = fgetc(stream);
    fclose(stream);
    if (regular) return GM_OK;
    return gm_fail(err, GM_ERR_IO, "%s: not a regular file", path);
}

static gm_status read_matrix(const char *path, size_t memory, gm_matrix *m, gm_error *err)
{
    int byte = EOF;
    gm_status status = first_byte(path, &byte, err);
    if (status != GM_OK) return status;
    if (byte != 0x93 && byte != '%')
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: neither an NPY array nor a Matrix Market file (%%%%MatrixMarket ...)",
                       path);
    status = byte == 0x93 ? npy_read(path, memory, m, err) : gm_market_read(path, memory, m, err);
    if (status == GM_OK) status = gm_matrix_symmetrize(path, m, err);
    return status;
}

gm_status gm_operator_load(const char *path, size_t memory, gm_operator *op, gm_error *err)
{
    *op = (gm_operator){0};
    gm_matrix *m = gm_alloc(1, sizeof *m, "matrix", err);
    if (!m) return GM_ERR_MEMORY;
    gm_status status = read_matrix(path, memory, m, err);
    if (status != GM_OK) {
        destroy(m);
        return status;
    }
    *op = (gm_operator){.size = m->size,
                        .precision = GM_F64,
                        .name = "matrix",
                        .self = m,
                        .apply = m->dense ? dense_apply : sparse_apply,
                        .destroy = destroy};
    return GM_OK;
}
