#include "report/result.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

const json_t *gm_result_find(const json_t *document, const char *path)
{
    const json_t *at = document;
    while (at && *path) {
        size_t length = strcspn(path, "/");
        if (json_is_array(at)) {
            at = json_array_get(at, strtoul(path, NULL, 10));
        } else {
            at = json_object_getn(at, path, length);
        }
        path += length;
        if (*path == '/') path++;
    }
    return json_is_null(at) ? NULL : at;
}

static double number_of(const json_t *value)
{
    if (json_is_number(value)) return json_number_value(value);
    if (json_is_boolean(value)) return json_is_true(value) ? 1.0 : 0.0;
    return (double)NAN;
}

double gm_result_number(const json_t *document, const char *path)
{
    return number_of(gm_result_find(document, path));
}

const char *gm_result_text(const json_t *document, const char *path)
{
    return json_string_value(gm_result_find(document, path));
}

/* Columns of an array that is all numbers (1) or all arrays of one length; 0 for anything else. */
static size_t columns_of(const json_t *array)
{
    size_t columns = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *row = json_array_get(array, i);
        size_t width = json_is_array(row) ? json_array_size(row) : 1;
        if (!json_is_array(row) && !json_is_number(row) && !json_is_null(row)) return 0;
        if (i && width != columns) return 0;
        columns = width;
    }
    return columns;
}

gm_status gm_result_numbers(const json_t *document, const char *path, gm_numbers *numbers,
                            gm_error *err)
{
    *numbers = (gm_numbers){0};
    const json_t *array = gm_result_find(document, path);
    size_t rows = json_array_size(array), columns = columns_of(array), size;
    if (!rows || !columns) return GM_OK;
    if (!gm_mul_size(rows, columns, &size))
        return gm_fail(err, GM_ERR_MEMORY, "%s: too many numbers", path);
    numbers->value = gm_alloc(size, sizeof(double), path, err);
    if (!numbers->value) return GM_ERR_MEMORY;
    numbers->rows = rows;
    numbers->columns = columns;
    for (size_t i = 0; i < rows; i++) {
        const json_t *row = json_array_get(array, i);
        for (size_t j = 0; j < columns; j++) {
            double value = number_of(json_is_array(row) ? json_array_get(row, j) : row);
            numbers->value[i * columns + j] = value;
            numbers->finite += isfinite(value) ? 1 : 0;
        }
    }
    return GM_OK;
}

void gm_numbers_free(gm_numbers *numbers)
{
    gm_free(numbers->value);
    *numbers = (gm_numbers){0};
}

const json_t *gm_result_pair(const json_t *document, const char *a, const char *b)
{
    const json_t *pairs = gm_result_find(document, "overlap/pairs");
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair = json_array_get(pairs, i);
        const char *first = gm_result_text(pair, "a"), *second = gm_result_text(pair, "b");
        if (first && second && strcmp(first, a) == 0 && strcmp(second, b) == 0) return pair;
    }
    return NULL;
}

bool gm_result_partial(const json_t *operator)
{
    return gm_result_find(operator, "products") != NULL;
}

gm_status gm_result_end(const json_t *operator, bool low, gm_numbers *numbers, gm_error *err)
{
    bool partial = gm_result_partial(operator);
    bool searched = partial && gm_result_find(operator, "lowest");
    if (low && searched) return gm_result_numbers(operator, "lowest", numbers, err);
    gm_status status = gm_result_numbers(operator, "eigenvalues", numbers, err);
    if (status != GM_OK || !low) return status;
    size_t rows = numbers->rows;
    for (size_t i = 0; i < rows / 2; i++) {
        double other = numbers->value[rows - 1 - i];
        numbers->value[rows - 1 - i] = numbers->value[i];
        numbers->value[i] = other;
    }
    /* Of the leading ones alone the rest may lie anywhere above the negative ones found. */
    while (partial && numbers->rows > 0 && !(numbers->value[numbers->rows - 1] < 0.0)) {
        numbers->rows--;
    }
    return GM_OK;
}
