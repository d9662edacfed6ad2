#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/dataset.h"
#include "data/npy.h"
#include "data/source.h"

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length > tail && strcmp(text + length - tail, end) == 0;
}

gm_status gm_dataset_paths(const char *output, char *path[2], gm_error *err)
{
    path[0] = path[1] = NULL;
    if (ends_with(output, ".csv") && !strchr(output, ',')) {
        path[0] = gm_strdup(output, err);
        return path[0] ? GM_OK : GM_ERR_MEMORY;
    }
    const char *comma = strchr(output, ',');
    if (comma && ends_with(output, ".npy")) {
        path[0] = gm_format(err, "%.*s", (int)(comma - output), output);
        path[1] = gm_strdup(comma + 1, err);
        if (!path[0] || !path[1]) return GM_ERR_MEMORY;
        if (ends_with(path[0], ".npy") && !strchr(path[1], ',') && strcmp(path[0], path[1]) != 0)
            return GM_OK;
    }
    return gm_fail(err, GM_ERR_USAGE, "output \"%s\": expected X.npy,Y.npy or FILE.csv", output);
}

static void write_x(const gm_dataset *data, FILE *stream)
{
    size_t dim[1 + GM_MAX_RANK] = {data->n};
    memcpy(dim + 1, data->shape.dim, (size_t)data->shape.rank * sizeof *dim);
    gm_npy_write_header(stream, data->dtype == GM_F32 ? GM_NPY_F4 : GM_NPY_F8, 1 + data->shape.rank,
                        dim);
    fwrite(data->x, gm_dtype_size(data->dtype), data->n * data->features, stream);
}

static void write_y(const gm_dataset *data, FILE *stream)
{
    size_t dim[2] = {data->n, data->label ? data->positions : data->outputs};
    if (data->label) {
        gm_npy_write_header(stream, GM_NPY_I4, data->positions > 1 ? 2 : 1, dim);
        fwrite(data->label, sizeof *data->label, data->n * data->positions, stream);
    } else {
        gm_npy_write_header(stream, GM_NPY_F8, 2, dim);
        fwrite(data->target, sizeof *data->target, data->n * data->outputs, stream);
    }
}

/* Digits enough to read the same bits again. */
static gm_status write_lines(const gm_dataset *data, FILE *stream, gm_error *err)
{
    gm_plain_locale locale;
    double *row = gm_alloc(data->features, sizeof *row, "a sample", err);
    if (!row) return GM_ERR_MEMORY;
    gm_status status = gm_plain_locale_enter(&locale, err);
    if (status != GM_OK) goto done;
    int digits = data->dtype == GM_F32 ? 9 : 17;
    for (size_t i = 0; i < data->n; i++) {
        gm_dataset_row(data, i, row);
        for (size_t j = 0; j < data->features; j++) {
            fprintf(stream, "%.*g,", digits, row[j]);
        }
        fprintf(stream, "%d\n", (int)data->label[i]);
    }
    gm_plain_locale_leave(&locale);
done:
    gm_free(row);
    return status;
}

gm_status gm_dataset_write(const gm_dataset *data, const char *output, gm_error *err)
{
    char *path[2];
    gm_file *x = NULL, *y = NULL;
    gm_status status = gm_dataset_paths(output, path, err);
    if (status != GM_OK) goto done;
    if (!path[1] && (!data->label || data->positions > 1)) {
        status = gm_fail(err, GM_ERR_USAGE,
                         "output \"%s\": CSV has room for one label alone, expected X.npy,Y.npy",
                         output);
        goto done;
    }
    status = gm_file_create(path[0], &x, err);
    if (status == GM_OK && path[1]) status = gm_file_create(path[1], &y, err);
    if (status != GM_OK) goto done;
    if (y) {
        write_x(data, gm_file_stream(x));
        write_y(data, gm_file_stream(y));
    } else {
        status = write_lines(data, gm_file_stream(x), err);
    }
    if (status == GM_OK) status = gm_file_sync(x, err);
    if (status == GM_OK && y) status = gm_file_sync(y, err);
    if (status == GM_OK) status = gm_file_commit(&x, err);
    if (status == GM_OK && y) status = gm_file_commit(&y, err);
done:
    gm_file_discard(&x);
    gm_file_discard(&y);
    gm_free(path[0]);
    gm_free(path[1]);
    return status;
}
