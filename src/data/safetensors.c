#include "data/safetensors.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "numbers are written as they lie in memory");

enum {
    LENGTH = 8,             /* bytes of the header's length */
    MAX_HEADER = 100000000, /* the format's own limit */
    ALIGN = 8,              /* where the numbers of a written file begin */
    BUFFER = 1 << 14        /* bytes converted at a time */
};

/* ---- types ---- */

static double from_f64(const unsigned char *bytes)
{
    double value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static double from_f32(const unsigned char *bytes)
{
    float value;
    memcpy(&value, bytes, sizeof value);
    return (double)value;
}

/* The upper half of a float. */
static double from_bf16(const unsigned char *bytes)
{
    return from_f32((const unsigned char[]){0, 0, bytes[0], bytes[1]});
}

/* IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction. */
static double from_f16(const unsigned char *bytes)
{
    unsigned bits = (unsigned)bytes[0] | (unsigned)bytes[1] << 8;
    int exponent = (int)(bits >> 10 & 31), fraction = (int)(bits & 1023);
    double value = exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                   : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                  : ldexp(fraction, -24);
    return bits >> 15 ? -value : value;
}

static const struct {
    const char *name;
    size_t size;
    double (*read)(const unsigned char *bytes); /* NULL: not read */
} types[] = {{"F64", 8, from_f64},   {"F32", 4, from_f32}, {"F16", 2, from_f16},
             {"BF16", 2, from_bf16}, {"I64", 8, NULL},     {"U64", 8, NULL},
             {"I32", 4, NULL},       {"U32", 4, NULL},     {"I16", 2, NULL},
             {"U16", 2, NULL},       {"I8", 1, NULL},      {"U8", 1, NULL},
             {"BOOL", 1, NULL},      {"F8_E4M3", 1, NULL}, {"F8_E5M2", 1, NULL}};
enum { TYPES = sizeof types / sizeof *types };

const char *gm_safetensor_type(const gm_safetensor *tensor)
{
    return types[tensor->type].name;
}

/* ---- the header ---- */

/* A tensor's entry while the header is read: where its bytes end. */
typedef struct entry {
    gm_safetensor tensor;
    size_t end;
} entry;

static gm_status bad_tensor(const gm_safetensors *file, const char *name, const char *expected,
                            gm_error *err)
{
    return gm_fail(err, GM_ERR_INPUT, "%s: tensor '%.80s': expected %s", file->path, name,
                   expected);
}

static gm_status parse_type(const gm_safetensors *file, const json_t *value, gm_safetensor *tensor,
                            gm_error *err)
{
    const char *word = json_string_value(value);
    if (!word) return bad_tensor(file, tensor->name, "dtype as a string", err);
    for (int type = 0; type < TYPES; type++) {
        if (strcmp(word, types[type].name) != 0) continue;
        tensor->type = type;
        tensor->reads = types[type].read != NULL;
        return GM_OK;
    }
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: tensor '%.80s': dtype '%.20s', expected F64, F32, F16 or BF16", file->path,
                   tensor->name, word);
}

/* A whole number from 0. */
static bool take_size(const json_t *value, size_t *size)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *size = (size_t)json_integer_value(value);
    return true;
}

static gm_status parse_shape(const gm_safetensors *file, const json_t *value, gm_safetensor *tensor,
                             gm_error *err)
{
    if (!json_is_array(value)) {
        return bad_tensor(file, tensor->name, "shape as a list of whole numbers", err);
    }
    if (json_array_size(value) > GM_SAFETENSORS_RANK) {
        return gm_fail(err, GM_ERR_INPUT, "%s: tensor '%.80s': %zu dimensions, expected at most %d",
                       file->path, tensor->name, json_array_size(value), (int)GM_SAFETENSORS_RANK);
    }
    /* The product of the sizes that are not 0 must fit too: a reader may step by it. */
    size_t nonzero = 1;
    tensor->count = 1;
    tensor->rank = (int)json_array_size(value);
    for (int i = 0; i < tensor->rank; i++) {
        size_t *dim = &tensor->dim[i];
        if (!take_size(json_array_get(value, (size_t)i), dim)) {
            return bad_tensor(file, tensor->name, "shape as a list of whole numbers", err);
        }
        tensor->count *= *dim;
        if (*dim && !gm_mul_size(nonzero, *dim, &nonzero)) {
            return bad_tensor(file, tensor->name, "a shape that does not overflow", err);
        }
    }
    return GM_OK;
}

static gm_status parse_tensor(const gm_safetensors *file, const char *name, const json_t *value,
                              entry *e, gm_error *err)
{
    gm_safetensor *tensor = &e->tensor;
    tensor->name = gm_strdup(name, err);
    if (!tensor->name) return GM_ERR_MEMORY;
    const json_t *offsets = json_object_get(value, "data_offsets");
    if (!json_is_object(value)) {
        return bad_tensor(file, name, "an object with dtype, shape and data_offsets", err);
    }
    gm_status status = parse_type(file, json_object_get(value, "dtype"), tensor, err);
    if (status == GM_OK) status = parse_shape(file, json_object_get(value, "shape"), tensor, err);
    if (status != GM_OK) return status;
    if (json_array_size(offsets) != 2 || !take_size(json_array_get(offsets, 0), &tensor->begin) ||
        !take_size(json_array_get(offsets, 1), &e->end) || e->end < tensor->begin) {
        return bad_tensor(file, name, "data_offsets as two whole numbers [begin, end]", err);
    }
    size_t bytes;
    bool fits = gm_mul_size(tensor->count, types[tensor->type].size, &bytes);
    if (fits && bytes == e->end - tensor->begin) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: tensor '%.80s': data_offsets hold %zu bytes, expected those of its %zu "
                   "elements of %s",
                   file->path, name, e->end - tensor->begin, tensor->count,
                   types[tensor->type].name);
}

static int by_place(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->tensor.begin != y->tensor.begin) return x->tensor.begin < y->tensor.begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1; /* empty ones first */
    return strcmp(x->tensor.name, y->tensor.name);
}

/* The tensors in order cover `bytes` bytes. */
static gm_status check_cover(const gm_safetensors *file, const entry *e, size_t count, size_t bytes,
                             gm_error *err)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const gm_safetensor *tensor = &e[i].tensor;
        if (e[i].end > bytes) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: tensor '%.80s' ends at byte %zu, the file after %zu", file->path,
                           tensor->name, e[i].end, bytes);
        }
        if (tensor->begin != at) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: tensor '%.80s' begins at byte %zu, expected %zu: tensors %s",
                           file->path, tensor->name, tensor->begin, at,
                           tensor->begin < at ? "overlap" : "leave a gap");
        }
        at = e[i].end;
    }
    if (at == bytes) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "%s: %zu bytes follow the last of its %zu tensors",
                   file->path, bytes - at, count);
}

/* file->tensor from the header's text [length]; `bytes` bytes follow it in the file. */
static gm_status parse_header(gm_safetensors *file, const char *text, size_t length, size_t bytes,
                              gm_error *err)
{
    json_error_t why;
    entry *list = NULL;
    size_t count = 0;
    gm_status status = GM_ERR_MEMORY;
    json_t *header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(header)) {
        status = gm_fail(err, GM_ERR_INPUT, "%s: safetensors header: expected a JSON object%s%s",
                         file->path, header ? "" : ", found ", header ? "" : why.text);
        goto done;
    }
    list = gm_alloc(json_object_size(header), sizeof *list, "tensors of the file", err);
    if (!list) goto done;
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        status = parse_tensor(file, name, value, &list[count++], err);
        if (status != GM_OK) goto done;
    }
    qsort(list, count, sizeof *list, by_place);
    status = check_cover(file, list, count, bytes, err);
    if (status != GM_OK) goto done;
    file->tensor = gm_alloc(count, sizeof *file->tensor, "tensors of the file", err);
    if (!file->tensor) status = GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        file->tensor[i] = list[i].tensor;
        list[i].tensor.name = NULL;
        file->tensors++;
    }
done:
    for (size_t i = 0; i < count; i++) {
        gm_free(list[i].tensor.name);
    }
    gm_free(list);
    json_decref(header);
    return status;
}

/* ---- reading ---- */

static gm_status read_bytes(const gm_safetensors *file, void *bytes, size_t count, gm_error *err)
{
    errno = 0;
    if (fread(bytes, 1, count, file->file) == count) return GM_OK;
    if (!ferror(file->file)) {
        return gm_fail(err, GM_ERR_INPUT, "%s: ends while it is read", file->path);
    }
    return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", file->path,
                   strerror(errno ? errno : EIO));
}

static gm_status read_header(gm_safetensors *file, size_t size, gm_error *err)
{
    unsigned char digits[LENGTH];
    if (size < LENGTH) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: not a safetensors file: %zu bytes, expected at least %d", file->path,
                       size, (int)LENGTH);
    }
    gm_status status = read_bytes(file, digits, sizeof digits, err);
    if (status != GM_OK) return status;
    uint64_t length;
    memcpy(&length, digits, sizeof length);
    if (length > MAX_HEADER || length > size - LENGTH) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: not a safetensors file, or cut short: a header of %llu bytes, expected "
                       "at most %zu",
                       file->path, (unsigned long long)length,
                       size - LENGTH < MAX_HEADER ? size - LENGTH : (size_t)MAX_HEADER);
    }
    char *text = gm_alloc_raw((size_t)length + 1, 1, "safetensors header", err);
    if (!text) return GM_ERR_MEMORY;
    status = read_bytes(file, text, (size_t)length, err);
    file->start = LENGTH + (size_t)length;
    if (status == GM_OK) {
        status = parse_header(file, text, (size_t)length, size - file->start, err);
    }
    gm_free(text);
    return status;
}

gm_status gm_safetensors_open(const char *path, gm_safetensors **file, gm_error *err)
{
    struct stat info;
    gm_status status = GM_ERR_MEMORY;
    *file = NULL;
    gm_safetensors *made = gm_alloc(1, sizeof *made, "safetensors file", err);
    if (!made) return GM_ERR_MEMORY;
    made->path = gm_strdup(path, err);
    if (!made->path) goto done;
    made->file = fopen(path, "rbe");
    if (!made->file || fstat(fileno(made->file), &info) != 0) {
        status = gm_fail(err, GM_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = gm_fail(err, GM_ERR_IO, "%s: not a regular file", path);
    } else {
        status = read_header(made, (size_t)info.st_size, err);
    }
done:
    if (status == GM_OK) {
        *file = made;
    } else {
        gm_safetensors_close(made);
    }
    return status;
}

void gm_safetensors_close(gm_safetensors *file)
{
    if (!file) return;
    for (size_t i = 0; i < file->tensors; i++) {
        gm_free(file->tensor[i].name);
    }
    if (file->file) fclose(file->file);
    gm_free(file->tensor);
    gm_free(file->path);
    gm_free(file);
}

size_t gm_safetensors_find(const gm_safetensors *file, const char *name)
{
    size_t index = 0;
    while (index < file->tensors && strcmp(file->tensor[index].name, name) != 0) {
        index++;
    }
    return index;
}

gm_status gm_safetensors_read(gm_safetensors *file, size_t index, double *values, gm_error *err)
{
    const gm_safetensor *tensor = &file->tensor[index];
    unsigned char buffer[BUFFER];
    size_t size = types[tensor->type].size;
    if (!tensor->reads) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: tensor '%.80s' is of dtype %s, expected F64, F32, F16 or BF16",
                       file->path, tensor->name, types[tensor->type].name);
    }
    if (fseeko(file->file, (off_t)(file->start + tensor->begin), SEEK_SET) != 0) {
        return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", file->path, strerror(errno));
    }
    for (size_t done = 0; done < tensor->count;) {
        size_t step = BUFFER / size;
        if (step > tensor->count - done) step = tensor->count - done;
        gm_status status = read_bytes(file, buffer, step * size, err);
        if (status != GM_OK) return status;
        for (size_t i = 0; i < step; i++, done++) {
            values[done] = types[tensor->type].read(buffer + i * size);
            if (isfinite(values[done])) continue;
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: tensor '%.80s': element %zu (counted from 0) is %s, expected a "
                           "finite number",
                           file->path, tensor->name, done,
                           isnan(values[done]) ? "NaN" : "infinite");
        }
    }
    return GM_OK;
}

/* ---- writing ---- */

static json_t *entry_value(gm_dtype dtype, const gm_shape *shape, size_t begin, size_t end)
{
    json_t *dims = json_array();
    for (int i = 0; i < shape->rank; i++) {
        json_array_append_new(dims, json_integer((json_int_t)shape->dim[i]));
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype == GM_F32 ? "F32" : "F64", "shape",
                     dims, "data_offsets", (json_int_t)begin, (json_int_t)end);
}

/* *text = the header, to be freed by free. */
static gm_status header_text(gm_dtype dtype, const gm_safetensor_out *tensor, size_t count,
                             const char *path, char **text, gm_error *err)
{
    size_t begin = 0;
    gm_status status = GM_OK;
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    *text = NULL;
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        size_t end = begin + gm_shape_size(&tensor[i].shape) * gm_dtype_size(dtype);
        bool twice = json_object_get(header, tensor[i].name) != NULL;
        json_t *value = entry_value(dtype, &tensor[i].shape, begin, end);
        if (json_object_set_new(header, tensor[i].name, value) != 0 || twice) {
            status = gm_fail(err, GM_ERR_INPUT,
                             "%s: tensor '%.80s': expected a name of its own in UTF-8", path,
                             tensor[i].name);
        }
        begin = end;
    }
    if (status == GM_OK) {
        *text = json_dumps(header, JSON_COMPACT);
        if (!*text) status = gm_fail(err, GM_ERR_MEMORY, "%s: no memory for the header", path);
    }
    json_decref(header);
    return status;
}

static void write_values(FILE *stream, gm_dtype dtype, size_t count, const double *values)
{
    if (dtype == GM_F64) {
        fwrite(values, sizeof *values, count, stream);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        float value = (float)values[i];
        fwrite(&value, sizeof value, 1, stream);
    }
}

gm_status gm_safetensors_write(const char *path, gm_dtype dtype, const gm_safetensor_out *tensor,
                               size_t count, gm_error *err)
{
    gm_file *file = NULL;
    char *text;
    gm_status status = header_text(dtype, tensor, count, path, &text, err);
    if (status == GM_OK) status = gm_file_create(path, &file, err);
    if (status == GM_OK) {
        FILE *stream = gm_file_stream(file);
        size_t length = strlen(text), padding = (ALIGN - length % ALIGN) % ALIGN;
        uint64_t total = length + padding;
        fwrite(&total, sizeof total, 1, stream);
        fprintf(stream, "%s%*s", text, (int)padding, "");
        for (size_t i = 0; i < count; i++) {
            write_values(stream, dtype, gm_shape_size(&tensor[i].shape), tensor[i].values);
        }
        status = gm_file_commit(&file, err);
    }
    free(text);
    return status;
}
