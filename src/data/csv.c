/* csv:FILE: one sample per line, numbers between commas, the label (a whole number) in the last
 * column. The first line is a header where none of its fields is a number; blank lines are skipped.
 * Lines and columns are counted from 1 in messages.
 *
 * A library would bring quoting, which numbers do not need, and leave us the rest (conversion, line
 * numbers, equal lengths): splitting at commas is the small part. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "data/source.h"

typedef struct csv {
    char *path;
    FILE *stream;
    char *line; /* of getline */
    size_t capacity;
    size_t number; /* of the line last read, from 1 */
    size_t next;   /* sample that comes next */
    size_t columns;
} csv;

enum { SHOWN = 24 }; /* bytes of a bad field that a message shows */

static gm_status fail_field(const csv *file, size_t column, const char *field, gm_error *err)
{
    int length = (int)strcspn(field, ",");
    if (length == 0)
        return gm_fail(err, GM_ERR_INPUT, "%s: line %zu, column %zu is empty, expected a number",
                       file->path, file->number, column);
    return gm_fail(err, GM_ERR_INPUT, "%s: line %zu, column %zu: \"%.*s\", expected a number%s",
                   file->path, file->number, column, length < SHOWN ? length : SHOWN, field,
                   *field == '"' ? " without quotes" : "");
}

/* Reads the field at text; its end (a comma or the NUL) goes to *end. False where it is no number.
 */
static bool read_number(const char *text, const char **end, double *value)
{
    char *stop;
    *end = text + strcspn(text, ",");
    *value = strtod(text, &stop);
    if (stop == text || stop > *end) return false;
    while (*stop == ' ' || *stop == '\t') {
        stop++;
    }
    return stop == *end;
}

/* The next line that is not blank, without its line end; *found is false at the end of the file. */
static gm_status next_line(csv *file, bool *found, gm_error *err)
{
    *found = false;
    ssize_t length;
    errno = 0;
    while ((length = getline(&file->line, &file->capacity, file->stream)) >= 0) {
        file->number++;
        if (memchr(file->line, '\0', (size_t)length))
            return gm_fail(err, GM_ERR_INPUT, "%s: line %zu holds a zero byte, expected text",
                           file->path, file->number);
        while (length > 0 && strchr(" \t\r\n", file->line[length - 1])) {
            file->line[--length] = '\0';
        }
        if (length > 0) {
            *found = true;
            return GM_OK;
        }
    }
    if (ferror(file->stream) || !feof(file->stream))
        return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", file->path,
                       strerror(errno ? errno : EIO));
    return GM_OK;
}

static size_t count_columns(const char *line)
{
    size_t columns = 1;
    for (; *line; line++) {
        columns += *line == ',';
    }
    return columns;
}

static bool is_header(const char *line)
{
    const char *end;
    double value;
    for (;; line = end + 1) {
        if (read_number(line, &end, &value)) return false;
        if (!*end) return true;
    }
}

/* Moves behind byte order mark and header. */
static gm_status skip_header(csv *file, gm_error *err)
{
    bool found;
    rewind(file->stream);
    file->number = 0;
    gm_status status = next_line(file, &found, err);
    if (status != GM_OK) return status;
    if (!found) return gm_fail(err, GM_ERR_INPUT, "%s: holds no samples", file->path);
    const char *line = file->line;
    bool mark = strncmp(line, "\xef\xbb\xbf", 3) == 0;
    if (mark) line += 3;
    file->columns = count_columns(line);
    if (file->columns < 2)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: line %zu has 1 column, expected features and a label, comma-separated",
                       file->path, file->number);
    if (is_header(line)) return GM_OK;
    rewind(file->stream);
    file->number = 0;
    if (mark) fseek(file->stream, 3, SEEK_SET);
    return GM_OK;
}

static gm_status next_sample(csv *file, gm_error *err)
{
    bool found;
    gm_status status = next_line(file, &found, err);
    file->next++;
    if (status == GM_OK && !found)
        return gm_fail(err, GM_ERR_IO, "%s: became shorter while it was read", file->path);
    return status;
}

static gm_status csv_seek(gm_source *source, size_t i, gm_error *err)
{
    csv *file = source->state;
    gm_status status = GM_OK;
    while (status == GM_OK && file->next < i) {
        status = next_sample(file, err);
    }
    return status;
}

static gm_status csv_next(gm_source *source, gm_sample *sample, gm_error *err)
{
    csv *file = source->state;
    gm_status status = next_sample(file, err);
    if (status != GM_OK) return status;
    source->position = file->number;
    size_t columns = count_columns(file->line);
    if (columns != file->columns)
        return gm_fail(err, GM_ERR_INPUT, "%s: line %zu has %zu columns, expected %zu", file->path,
                       file->number, columns, file->columns);

    const char *field = file->line, *end;
    double value = 0;
    for (size_t j = 0; j < columns; j++, field = end + 1) {
        if (!read_number(field, &end, &value)) return fail_field(file, j + 1, field, err);
        if (j < source->features) sample->x[j] = value;
    }
    /* Beyond 2^53 a double is no label; the cast stays within int64_t. */
    if (!(fabs(value) <= 0x1p53) || floor(value) != value)
        return gm_fail(err, GM_ERR_INPUT, "%s: line %zu: label %g, expected a whole number",
                       file->path, file->number, value);
    *sample->label = (int64_t)value;
    return GM_OK;
}

static void csv_close(void *state)
{
    csv *file = state;
    if (!file) return;
    if (file->stream) fclose(file->stream);
    free(file->line);
    gm_free(file->path);
    gm_free(file);
}

/* Counts the samples, then stands before the first one again. */
static gm_status count_samples(csv *file, size_t *n, gm_error *err)
{
    bool found = true;
    *n = 0;
    gm_status status = skip_header(file, err);
    while (status == GM_OK && found) {
        status = next_line(file, &found, err);
        *n += found;
    }
    if (status == GM_OK && *n == 0)
        return gm_fail(err, GM_ERR_INPUT, "%s: holds no samples", file->path);
    return status == GM_OK ? skip_header(file, err) : status;
}

gm_status gm_csv_open(const char *body, bool test, gm_source *source, gm_error *err)
{
    (void)test;
    if (!*body) return gm_fail(err, GM_ERR_USAGE, "data \"csv:\": expected csv:FILE");
    csv *file = gm_alloc(1, sizeof *file, "CSV file", err);
    if (!file) return GM_ERR_MEMORY;
    source->state = file;
    source->close = csv_close;
    source->next = csv_next;
    source->seek = csv_seek;
    file->path = gm_strdup(body, err);
    if (!file->path) return GM_ERR_MEMORY;
    struct stat info;
    file->stream = fopen(body, "re");
    if (!file->stream || fstat(fileno(file->stream), &info) != 0)
        return gm_fail(err, GM_ERR_IO, "%s: cannot be opened: %s", body, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return gm_fail(err, GM_ERR_IO, "%s: not a regular file (it is read twice)", body);

    gm_status status = count_samples(file, &source->n, err);
    if (status != GM_OK) return status;
    source->shape = (gm_shape){1, {file->columns - 1}};
    source->x_file = source->y_file = file->path;
    source->unit = "line";
    source->base = 1;
    return gm_source_set_features(source, file->path, err);
}
