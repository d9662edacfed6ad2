/* Compressed rows: from triplets, and the check for symmetry of both kinds of matrix. */
#include <math.h>

#include "base/memory.h"
#include "matrix/matrix.h"

void gm_matrix_free(gm_matrix *m)
{
    if (!m) return;
    gm_free(m->dense);
    gm_free(m->sparse.start);
    gm_free(m->sparse.column);
    gm_free(m->sparse.value);
    *m = (gm_matrix){0};
}

/* next [size + 1] = where each bucket of key begins. */
static void bucket_starts(size_t size, size_t count, const uint32_t *key, size_t *next)
{
    for (size_t i = 0; i <= size; i++) {
        next[i] = 0;
    }
    for (size_t e = 0; e < count; e++) {
        next[key[e] + 1]++;
    }
    for (size_t i = 0; i < size; i++) {
        next[i + 1] += next[i];
    }
}

/* Adds up neighbours of the same row and column; start moves along. Returns the entries left. */
static size_t sum_duplicates(size_t size, gm_sparse *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < size; i++) {
        size_t first = s->start[i], last = s->start[i + 1], row = kept;
        for (size_t e = first; e < last; e++) {
            if (kept > row && s->column[kept - 1] == s->column[e]) {
                s->value[kept - 1] += s->value[e];
            } else {
                s->column[kept] = s->column[e];
                s->value[kept++] = s->value[e];
            }
        }
        s->start[i] = row;
    }
    s->start[size] = kept;
    return kept;
}

/* Two stable counting sorts, by column and then by row; the second one writes to the arrays that
 * the first one has read. */
gm_status gm_sparse_build(size_t size, gm_triplets *triplets, gm_sparse *sparse, gm_error *err)
{
    gm_triplets t = *triplets;
    *triplets = (gm_triplets){0};
    size_t entries = t.count;
    size_t *next = gm_alloc(size + 1, sizeof *next, "rows of the matrix", err);
    uint32_t *row = gm_alloc(entries, sizeof *row, "entries of the matrix", err);
    uint32_t *column = gm_alloc(entries, sizeof *column, "entries of the matrix", err);
    double *value = gm_alloc(entries, sizeof *value, "entries of the matrix", err);
    sparse->start = gm_alloc(size + 1, sizeof *sparse->start, "rows of the matrix", err);
    gm_status status = next && row && column && value && sparse->start ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        bucket_starts(size, entries, t.column, next);
        for (size_t e = 0; e < entries; e++) {
            size_t at = next[t.column[e]]++;
            row[at] = t.row[e];
            column[at] = t.column[e];
            value[at] = t.value[e];
        }
        bucket_starts(size, entries, row, next);
        bucket_starts(size, entries, row, sparse->start);
        for (size_t e = 0; e < entries; e++) {
            size_t at = next[row[e]]++;
            t.column[at] = column[e];
            t.value[at] = value[e];
        }
        sparse->column = t.column;
        sparse->value = t.value;
        t.column = NULL;
        t.value = NULL;
        sum_duplicates(size, sparse);
    }
    gm_free(next);
    gm_free(row);
    gm_free(column);
    gm_free(value);
    gm_free(t.row);
    gm_free(t.column);
    gm_free(t.value);
    return status;
}

gm_status gm_matrix_check_memory(const char *path, size_t size, double bytes, size_t memory,
                                 gm_error *err)
{
    if (!memory || bytes <= (double)memory) return GM_OK;
    return gm_fail(err, GM_ERR_MEMORY,
                   "%s: a matrix of %zu rows takes %.4g MiB to read, the budget is %.4g MiB", path,
                   size, bytes / 0x1p20, (double)memory / 0x1p20);
}

/* ---- symmetry ---- */

static gm_status fail_symmetry(const char *path, const gm_matrix *m, size_t i, size_t j, double a,
                               double b, gm_error *err)
{
    size_t base = (size_t)m->base;
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: entry (%zu, %zu) is %.17g, entry (%zu, %zu) is %.17g (counted from %d), "
                   "expected a symmetric matrix",
                   path, i + base, j + base, a, j + base, i + base, b, m->base);
}

static gm_status symmetrize_dense(const char *path, gm_matrix *m, gm_error *err)
{
    size_t n = m->size;
    double *a = m->dense, largest = 0;
    for (size_t e = 0; e < n * n; e++) {
        largest = fmax(largest, fabs(a[e]));
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            double *upper = a + i * n + j, *lower = a + j * n + i;
            if (*upper == *lower) continue;
            if (!(fabs(*upper - *lower) <= m->tolerance * largest))
                return fail_symmetry(path, m, i, j, *upper, *lower, err);
            *upper = *lower = 0.5 * *upper + 0.5 * *lower;
        }
    }
    return GM_OK;
}

/* The entry (i, j), or NULL where none is stored. */
static double *find_entry(const gm_sparse *s, size_t i, size_t j)
{
    size_t low = s->start[i], high = s->start[i + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->column[middle] < j)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->start[i + 1] && s->column[low] == j ? s->value + low : NULL;
}

/* Every stored entry against its mirror image, which counts as 0 where it is not stored. */
static gm_status symmetrize_sparse(const char *path, gm_matrix *m, gm_error *err)
{
    gm_sparse *s = &m->sparse;
    double largest = 0;
    for (size_t e = 0; e < s->start[m->size]; e++) {
        largest = fmax(largest, fabs(s->value[e]));
    }
    for (size_t i = 0; i < m->size; i++) {
        for (size_t e = s->start[i]; e < s->start[i + 1]; e++) {
            size_t j = s->column[e];
            double *mirror = find_entry(s, j, i), b = mirror ? *mirror : 0;
            if (s->value[e] == b) continue;
            if (!(fabs(s->value[e] - b) <= m->tolerance * largest))
                return fail_symmetry(path, m, i, j, s->value[e], b, err);
            s->value[e] = mirror ? 0.5 * s->value[e] + 0.5 * b : 0;
            if (mirror) *mirror = s->value[e];
        }
    }
    return GM_OK;
}

gm_status gm_matrix_symmetrize(const char *path, gm_matrix *m, gm_error *err)
{
    return m->dense ? symmetrize_dense(path, m, err) : symmetrize_sparse(path, m, err);
}
