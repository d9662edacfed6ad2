/* Matrix Market files: a line "%%MatrixMarket matrix FORMAT FIELD SYMMETRY", comments (%), a line
 * of sizes, then one entry to a line. Rows and columns are counted from 1. Of a symmetric matrix
 * only the lower triangle is in the file; an array goes column by column. Reference: Boisvert,
 * Pozo, Remington 1996, NISTIR 5935.
 *
 * Why not a library: Debian keeps no package of NIST's mmio. SuiteSparse's CHOLMOD reads the
 * format, but does not say which line is wrong, takes a number beyond the range of doubles for
 * infinity, and would bring seven libraries along, among them whatever BLAS the alternatives choose
 * beside the one that serves here. What is left to write is the splitting of lines;
 * fuzz/fuzz_matrix.c throws bytes at it. */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "data/source.h"
#include "matrix/matrix.h"

typedef struct market {
    const char *path;
    FILE *stream;
    char *line; /* of getline */
    size_t capacity;
    size_t number; /* of the line last read, from 1 */
    size_t bytes;  /* of the whole file */
    bool array, symmetric, integer, pattern;
    size_t size, entries; /* as the line of sizes declares them */
} market;

enum { SHOWN = 40 }; /* bytes of a bad line that a message shows */

static gm_status fail_line(const market *file, const char *expected, gm_error *err)
{
    return gm_fail(err, GM_ERR_INPUT, "%s: line %zu: found \"%.*s\", expected %s", file->path,
                   file->number, SHOWN, file->line, expected);
}

/* The next line, without its line end; *found is false at the end of the file. */
static gm_status next_line(market *file, bool *found, gm_error *err)
{
    errno = 0;
    ssize_t length = getline(&file->line, &file->capacity, file->stream);
    *found = length >= 0;
    if (!*found) {
        if (feof(file->stream)) return GM_OK;
        return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", file->path,
                       strerror(errno ? errno : EIO));
    }
    file->number++;
    if (memchr(file->line, '\0', (size_t)length))
        return gm_fail(err, GM_ERR_INPUT, "%s: line %zu holds a zero byte, expected text",
                       file->path, file->number);
    while (length > 0 && strchr(" \t\r\n", file->line[length - 1])) {
        file->line[--length] = '\0';
    }
    return GM_OK;
}

/* The next line that is neither blank nor a comment. */
static gm_status next_content(market *file, bool *found, gm_error *err)
{
    gm_status status;
    do {
        status = next_line(file, found, err);
    } while (status == GM_OK && *found && (!*file->line || *file->line == '%'));
    return status;
}

/* ---- fields of a line ---- */

static bool take_size(const char **at, size_t *value)
{
    const char *c = *at + strspn(*at, " \t");
    if (*c < '0' || *c > '9') return false;
    for (*value = 0; *c >= '0' && *c <= '9'; c++) {
        if (!gm_mul_size(*value, 10, value) || !gm_add_size(*value, (size_t)(*c - '0'), value))
            return false;
    }
    if (*c && *c != ' ' && *c != '\t') return false;
    *at = c;
    return true;
}

static bool take_number(const char **at, double *value)
{
    char *stop;
    *value = strtod(*at, &stop);
    if (stop == *at || (*stop && *stop != ' ' && *stop != '\t')) return false;
    *at = stop;
    return true;
}

static bool at_end(const char *at)
{
    return !at[strspn(at, " \t")];
}

/* ---- the first two lines ---- */

/* Index of the word in the NULL-terminated list of those that are read; what is not is refused with
 * the words that are. */
static gm_status parse_word(const market *file, const char *word, const char *what,
                            const char *const *known, const char *expected, int *index,
                            gm_error *err)
{
    for (*index = 0; known[*index]; ++*index) {
        if (strcasecmp(word, known[*index]) == 0) return GM_OK;
    }
    return gm_fail(err, GM_ERR_INPUT, "%s: line 1: %s %s, expected %s", file->path, what, word,
                   expected);
}

static gm_status read_banner(market *file, gm_error *err)
{
    static const char *const objects[] = {"matrix", NULL};
    static const char *const formats[] = {"coordinate", "array", NULL};
    static const char *const fields[] = {"real", "double", "integer", "pattern", NULL};
    static const char *const symmetries[] = {"general", "symmetric", NULL};
    char word[4][24], banner[24], extra[2];
    bool found;
    int object, format, field, symmetry;
    gm_status status = next_line(file, &found, err);
    if (status != GM_OK) return status;
    if (!found ||
        sscanf(file->line, "%23s %23s %23s %23s %23s %1s", banner, word[0], word[1], word[2],
               word[3], extra) != 5 ||
        strcasecmp(banner, "%%MatrixMarket") != 0) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: line 1: found \"%.*s\", expected \"%%%%MatrixMarket matrix FORMAT "
                       "FIELD SYMMETRY\"",
                       file->path, SHOWN, found ? file->line : "");
    }
    status = parse_word(file, word[0], "object", objects, "matrix", &object, err);
    if (status == GM_OK) {
        status = parse_word(file, word[1], "format", formats, "coordinate or array", &format, err);
    }
    if (status == GM_OK) {
        status =
            parse_word(file, word[2], "field", fields, "real, integer or pattern", &field, err);
    }
    if (status == GM_OK) {
        status = parse_word(file, word[3], "symmetry", symmetries, "general or symmetric",
                            &symmetry, err);
    }
    if (status != GM_OK) return status;
    file->array = format == 1;
    file->integer = field == 2;
    file->pattern = field == 3;
    file->symmetric = symmetry == 1;
    if (file->array && file->pattern)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: line 1: an array of field pattern has no values, expected real or "
                       "integer",
                       file->path);
    return GM_OK;
}

/* Sizes that the file could hold at all: a hostile header must not make us allocate for entries
 * that are not there. The shortest entry is "1 1" or "0", each with its line end. */
static gm_status check_sizes(market *file, size_t rows, size_t columns, gm_error *err)
{
    size_t least = file->array ? 2 : file->pattern ? 4 : 6;
    if (rows != columns)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: line %zu: %zu rows and %zu columns, expected a square matrix",
                       file->path, file->number, rows, columns);
    if (rows == 0 || rows > UINT32_MAX)
        return gm_fail(err, GM_ERR_INPUT, "%s: line %zu: %zu rows, expected 1 ... %lu", file->path,
                       file->number, rows, (unsigned long)UINT32_MAX);
    file->size = rows;
    if (file->array) {
        /* rows fits 32 bits, so its square fits 64. */
        file->entries = file->symmetric ? rows * (rows + 1) / 2 : rows * rows;
    }
    if (file->entries > file->bytes / least + 1)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: line %zu declares %zu entries, more than its %zu bytes can hold",
                       file->path, file->number, file->entries, file->bytes);
    return GM_OK;
}

static gm_status read_sizes(market *file, gm_error *err)
{
    const char *expected = file->array ? "rows and columns" : "rows, columns and entries";
    bool found;
    size_t rows, columns;
    gm_status status = next_content(file, &found, err);
    if (status != GM_OK) return status;
    if (!found)
        return gm_fail(err, GM_ERR_INPUT, "%s: ends before the line of sizes, expected %s",
                       file->path, expected);
    const char *at = file->line;
    if (!take_size(&at, &rows) || !take_size(&at, &columns) ||
        (!file->array && !take_size(&at, &file->entries)) || !at_end(at))
        return fail_line(file, expected, err);
    return check_sizes(file, rows, columns, err);
}

/* ---- entries ---- */

/* The line of entry number `next` (from 0). */
static gm_status next_entry(market *file, size_t next, gm_error *err)
{
    bool found;
    gm_status status = next_content(file, &found, err);
    if (status != GM_OK || found) return status;
    return gm_fail(err, GM_ERR_INPUT, "%s: ends after %zu of %zu entries", file->path, next,
                   file->entries);
}

static gm_status take_value(const market *file, const char **at, double *value, gm_error *err)
{
    if (!take_number(at, value)) {
        return fail_line(file, file->array ? "one number" : "row, column and value", err);
    }
    if (!isfinite(*value)) return fail_line(file, "a finite number", err);
    if (file->integer && floor(*value) != *value) return fail_line(file, "a whole number", err);
    return GM_OK;
}

/* Row, column (from 1) and value of one line of coordinates. */
static gm_status parse_coordinate(const market *file, size_t *row, size_t *column, double *value,
                                  gm_error *err)
{
    const char *expected = file->pattern ? "row and column" : "row, column and value";
    const char *at = file->line;
    *value = 1;
    if (!take_size(&at, row) || !take_size(&at, column)) return fail_line(file, expected, err);
    if (!file->pattern) {
        gm_status status = take_value(file, &at, value, err);
        if (status != GM_OK) return status;
    }
    if (!at_end(at)) return fail_line(file, expected, err);
    if (*row < 1 || *row > file->size || *column < 1 || *column > file->size)
        return gm_fail(err, GM_ERR_INPUT, "%s: line %zu: entry (%zu, %zu), expected 1 ... %zu",
                       file->path, file->number, *row, *column, file->size);
    if (file->symmetric && *column > *row)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: line %zu: entry (%zu, %zu) is above the diagonal, expected the lower "
                       "triangle of a symmetric matrix",
                       file->path, file->number, *row, *column);
    return GM_OK;
}

static void append(gm_triplets *t, size_t row, size_t column, double value)
{
    t->row[t->count] = (uint32_t)row;
    t->column[t->count] = (uint32_t)column;
    t->value[t->count++] = value;
}

static gm_status read_triplets(market *file, gm_triplets *t, gm_error *err)
{
    for (size_t e = 0; e < file->entries; e++) {
        size_t row = 0, column = 0;
        double value = 0;
        gm_status status = next_entry(file, e, err);
        if (status == GM_OK) status = parse_coordinate(file, &row, &column, &value, err);
        if (status != GM_OK) return status;
        append(t, row - 1, column - 1, value);
        if (file->symmetric && row != column) append(t, column - 1, row - 1, value);
    }
    return GM_OK;
}

static gm_status check_sums(const market *file, const gm_sparse *s, gm_error *err)
{
    for (size_t i = 0; i < file->size; i++) {
        for (size_t e = s->start[i]; e < s->start[i + 1]; e++) {
            if (!isfinite(s->value[e]))
                return gm_fail(err, GM_ERR_INPUT,
                               "%s: entry (%zu, %zu) overflows where its duplicates are summed",
                               file->path, i + 1, (size_t)s->column[e] + 1);
        }
    }
    return GM_OK;
}

static gm_status read_coordinates(market *file, size_t memory, gm_matrix *m, gm_error *err)
{
    gm_triplets t = {0};
    /* entries is bounded by the file's bytes, so twice that cannot overflow. */
    size_t most = file->symmetric ? 2 * file->entries : file->entries;
    size_t entry = 2 * sizeof *t.row + sizeof *t.value; /* triplets, and sorted once more */
    double bytes = 2.0 * (double)entry * (double)most + 2.0 * 8.0 * (double)file->size;
    gm_status status = gm_matrix_check_memory(file->path, file->size, bytes, memory, err);
    if (status != GM_OK) return status;
    t.row = gm_alloc(most, sizeof *t.row, file->path, err);
    t.column = gm_alloc(most, sizeof *t.column, file->path, err);
    t.value = gm_alloc(most, sizeof *t.value, file->path, err);
    status = t.row && t.column && t.value ? read_triplets(file, &t, err) : GM_ERR_MEMORY;
    if (status == GM_OK) {
        status = gm_sparse_build(file->size, &t, &m->sparse, err);
        return status == GM_OK ? check_sums(file, &m->sparse, err) : status;
    }
    gm_free(t.row);
    gm_free(t.column);
    gm_free(t.value);
    return status;
}

static gm_status read_array(market *file, size_t memory, gm_matrix *m, gm_error *err)
{
    size_t n = file->size, next = 0;
    double bytes = 8.0 * (double)n * (double)n;
    gm_status status = gm_matrix_check_memory(file->path, n, bytes, memory, err);
    if (status != GM_OK) return status;
    m->dense = gm_alloc(n * n, sizeof *m->dense, file->path, err);
    if (!m->dense) return GM_ERR_MEMORY;
    for (size_t j = 0; j < n; j++) {
        for (size_t i = file->symmetric ? j : 0; i < n; i++) {
            double value = 0;
            status = next_entry(file, next++, err);
            const char *at = file->line;
            if (status == GM_OK) status = take_value(file, &at, &value, err);
            if (status == GM_OK && !at_end(at)) status = fail_line(file, "one number", err);
            if (status != GM_OK) return status;
            m->dense[i * n + j] = value;
            if (file->symmetric) m->dense[j * n + i] = value;
        }
    }
    return GM_OK;
}

/* ---- the whole ---- */

static gm_status read_file(market *file, size_t memory, gm_matrix *m, gm_error *err)
{
    bool found;
    gm_status status = read_banner(file, err);
    if (status == GM_OK) status = read_sizes(file, err);
    if (status != GM_OK) return status;
    m->size = file->size;
    status =
        file->array ? read_array(file, memory, m, err) : read_coordinates(file, memory, m, err);
    if (status == GM_OK) status = next_content(file, &found, err);
    if (status != GM_OK || !found) return status;
    return gm_fail(err, GM_ERR_INPUT, "%s: line %zu follows the last of the %zu entries declared",
                   file->path, file->number, file->entries);
}

gm_status gm_market_read(const char *path, size_t memory, gm_matrix *m, gm_error *err)
{
    market file = {.path = path};
    struct stat info;
    gm_plain_locale locale;
    *m = (gm_matrix){.tolerance = 1e-12, .base = 1};
    gm_status status = gm_plain_locale_enter(&locale, err);
    if (status != GM_OK) return status;
    file.stream = fopen(path, "re");
    if (!file.stream || fstat(fileno(file.stream), &info) != 0) {
        status = gm_fail(err, GM_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    } else {
        file.bytes = (size_t)info.st_size;
        status = read_file(&file, memory, m, err);
    }
    if (file.stream) fclose(file.stream);
    free(file.line);
    gm_plain_locale_leave(&locale);
    return status;
}
