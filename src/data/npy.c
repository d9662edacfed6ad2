#include "data/npy.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "arrays are written as they lie in memory");

enum {
    PREAMBLE = 8,         /* magic and version */
    MAX_HEADER = 1 << 16, /* a header of the largest rank takes some 250 bytes */
    BUFFER = 1 << 14      /* bytes converted at a time */
};
static const char magic[] = "\x93NUMPY";

static const struct {
    const char *name;
    size_t size;
    bool integer;
} types[] = {
    [GM_NPY_U1] = {"u1", 1, true}, [GM_NPY_U8] = {"u8", 8, true},  [GM_NPY_I4] = {"i4", 4, true},
    [GM_NPY_I8] = {"i8", 8, true}, [GM_NPY_F4] = {"f4", 4, false}, [GM_NPY_F8] = {"f8", 8, false},
};
enum { TYPES = sizeof types / sizeof types[0] };

bool gm_npy_is_integer(const gm_npy *npy)
{
    return types[npy->type].integer;
}

const char *gm_npy_type_name(gm_npy_type type)
{
    return types[type].name;
}

size_t gm_npy_type_size(gm_npy_type type)
{
    return types[type].size;
}

void gm_npy_type_code(gm_npy_type type, char code[8])
{
    snprintf(code, 8, "%s%s", types[type].size == 1 ? "|" : "<", types[type].name);
}

/* --- the header: a Python dictionary of three keys --- */

typedef struct parser {
    gm_npy *npy;
    const char *at; /* the text ends with a NUL */
} parser;

static gm_status bad_header(const parser *p, const char *expected, gm_error *err)
{
    return gm_fail(err, GM_ERR_INPUT, "%s: NPY header at \"%.20s\": expected %s", p->npy->path,
                   p->at, expected);
}

static void skip_spaces(parser *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r') {
        p->at++;
    }
}

static bool take(parser *p, char wanted)
{
    skip_spaces(p);
    if (*p->at != wanted) return false;
    p->at++;
    return true;
}

/* A quoted string without escapes into text [size]. */
static bool take_string(parser *p, char *text, size_t size)
{
    skip_spaces(p);
    char quote = *p->at;
    if (quote != '\'' && quote != '"') return false;
    const char *begin = p->at + 1;
    size_t length = strcspn(begin, quote == '\'' ? "'\\" : "\"\\");
    if (begin[length] != quote || length >= size) return false;
    memcpy(text, begin, length);
    text[length] = '\0';
    p->at = begin + length + 1;
    return true;
}

static bool take_word(parser *p, const char *word)
{
    skip_spaces(p);
    if (strncmp(p->at, word, strlen(word)) != 0) return false;
    p->at += strlen(word);
    return true;
}

static gm_status parse_descr(parser *p, gm_error *err)
{
    char descr[32];
    if (!take_string(p, descr, sizeof descr))
        return bad_header(p, "descr as one type (records are not read)", err);
    for (int type = 0; type < TYPES; type++) {
        bool byte = types[type].size == 1;
        if (strcmp(descr + (*descr != '\0'), types[type].name) != 0) continue;
        if (*descr != '<' && *descr != '>' && !(byte && *descr == '|')) continue;
        p->npy->type = (gm_npy_type)type;
        p->npy->swap = *descr == '>' && !byte;
        return GM_OK;
    }
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: NPY descr '%s': expected one of |u1, <u8, <i4, <i8, <f4, <f8", p->npy->path,
                   descr);
}

static gm_status parse_order(parser *p, gm_error *err)
{
    if (take_word(p, "False")) return GM_OK;
    if (!take_word(p, "True")) return bad_header(p, "fortran_order as False or True", err);
    p->npy->fortran = true;
    return GM_OK;
}

static gm_status parse_shape(parser *p, gm_error *err)
{
    gm_npy *npy = p->npy;
    if (!take(p, '(')) return bad_header(p, "shape as a tuple", err);
    npy->count = 1;
    bool comma = true;
    while (!take(p, ')')) {
        skip_spaces(p);
        if (!comma || *p->at < '0' || *p->at > '9')
            return bad_header(p, "shape as a tuple of whole numbers", err);
        if (npy->rank == GM_NPY_MAX_RANK)
            return gm_fail(err, GM_ERR_INPUT, "%s: NPY shape has more than %d dimensions",
                           npy->path, (int)GM_NPY_MAX_RANK);
        size_t dim = 0;
        for (; *p->at >= '0' && *p->at <= '9'; p->at++) {
            if (!gm_mul_size(dim, 10, &dim) || !gm_add_size(dim, (size_t)(*p->at - '0'), &dim))
                return gm_fail(err, GM_ERR_INPUT, "%s: NPY shape overflows", npy->path);
        }
        npy->dim[npy->rank++] = dim;
        comma = take(p, ',');
    }
    if (npy->rank == 1 && !comma) return bad_header(p, "shape as a tuple: (n,)", err);
    /* The product of the sizes that are not 0 must fit too: a reader may step by it. */
    size_t nonzero = 1;
    for (int i = 0; i < npy->rank; i++) {
        npy->count *= npy->dim[i];
        if (npy->dim[i] && !gm_mul_size(nonzero, npy->dim[i], &nonzero))
            return gm_fail(err, GM_ERR_INPUT, "%s: NPY shape overflows", npy->path);
    }
    return GM_OK;
}

static gm_status parse_header(gm_npy *npy, const char *text, gm_error *err)
{
    static const struct {
        const char *key;
        gm_status (*parse)(parser *, gm_error *);
    } fields[] = {{"descr", parse_descr}, {"fortran_order", parse_order}, {"shape", parse_shape}};
    enum { FIELDS = sizeof fields / sizeof fields[0] };

    parser p = {npy, text};
    unsigned seen = 0;
    if (!take(&p, '{')) return bad_header(&p, "a dictionary", err);
    while (!take(&p, '}')) {
        char key[32];
        int field = 0;
        const char *begin = p.at;
        if (!take_string(&p, key, sizeof key)) return bad_header(&p, "a key in quotes", err);
        while (field < FIELDS && strcmp(key, fields[field].key) != 0) {
            field++;
        }
        if (field == FIELDS || seen & (1u << field)) {
            p.at = begin;
            return bad_header(&p, "descr, fortran_order and shape once each", err);
        }
        seen |= 1u << field;
        if (!take(&p, ':')) return bad_header(&p, "a colon", err);
        gm_status status = fields[field].parse(&p, err);
        if (status != GM_OK) return status;
        skip_spaces(&p);
        if (!take(&p, ',') && *p.at != '}') return bad_header(&p, "a comma or the end", err);
    }
    skip_spaces(&p);
    if (*p.at) return bad_header(&p, "nothing after the dictionary", err);
    for (int field = 0; field < FIELDS; field++) {
        if (!(seen & (1u << field)))
            return gm_fail(err, GM_ERR_INPUT, "%s: NPY header lacks the key %s", npy->path,
                           fields[field].key);
    }
    return GM_OK;
}

/* --- reading --- */

static gm_status read_bytes(gm_npy *npy, void *bytes, size_t count, const char *what, gm_error *err)
{
    errno = 0;
    if (fread(bytes, 1, count, npy->file) == count) return GM_OK;
    if (ferror(npy->file))
        return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", npy->path,
                       strerror(errno ? errno : EIO));
    return gm_fail(err, GM_ERR_INPUT, "%s: ends within %s", npy->path, what);
}

/* Magic, version and the header's text (NUL at its end); *offset is where the elements begin. */
static gm_status read_header(gm_npy *npy, char text[MAX_HEADER + 1], size_t *offset, gm_error *err)
{
    unsigned char preamble[PREAMBLE], digits[4] = {0};
    gm_status status = read_bytes(npy, preamble, sizeof preamble, "the NPY magic", err);
    if (status != GM_OK) return status;
    if (memcmp(preamble, magic, sizeof magic - 1) != 0)
        return gm_fail(err, GM_ERR_INPUT, "%s: not an NPY file (wrong magic)", npy->path);
    int major = preamble[6], minor = preamble[7];
    if (major < 1 || major > 3 || minor != 0)
        return gm_fail(err, GM_ERR_INPUT, "%s: NPY version %d.%d: expected 1.0, 2.0 or 3.0",
                       npy->path, major, minor);

    size_t width = major == 1 ? 2 : 4;
    status = read_bytes(npy, digits, width, "the NPY header", err);
    if (status != GM_OK) return status;
    size_t length = (size_t)digits[0] | (size_t)digits[1] << 8 | (size_t)digits[2] << 16 |
                    (size_t)digits[3] << 24;
    if (length > MAX_HEADER)
        return gm_fail(err, GM_ERR_INPUT, "%s: NPY header of %zu bytes: expected at most %d",
                       npy->path, length, (int)MAX_HEADER);
    status = read_bytes(npy, text, length, "the NPY header", err);
    if (status != GM_OK) return status;
    text[length] = '\0';
    if (strlen(text) != length)
        return gm_fail(err, GM_ERR_INPUT, "%s: NPY header holds a zero byte", npy->path);
    *offset = PREAMBLE + width + length;
    return GM_OK;
}

static gm_status check_size(const gm_npy *npy, size_t offset, gm_error *err)
{
    struct stat info;
    if (fstat(fileno(npy->file), &info) != 0)
        return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", npy->path, strerror(errno));
    size_t bytes, end, size = (size_t)info.st_size;
    if (!gm_mul_size(npy->count, types[npy->type].size, &bytes) ||
        !gm_add_size(bytes, offset, &end) || end > size)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: %zu elements of %s expected, the file ends after %zu", npy->path,
                       npy->count, types[npy->type].name, (size - offset) / types[npy->type].size);
    if (end < size)
        return gm_fail(err, GM_ERR_INPUT, "%s: %zu bytes follow the last of its %zu elements",
                       npy->path, size - end, npy->count);
    return GM_OK;
}

gm_status gm_npy_open(const char *path, gm_npy **npy, gm_error *err)
{
    gm_status status = gm_npy_open_any_order(path, npy, err);
    if (status != GM_OK || !(*npy)->fortran) return status;
    gm_npy_close(*npy);
    *npy = NULL;
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: NPY fortran_order True: expected C order (numpy.ascontiguousarray)", path);
}

gm_status gm_npy_open_any_order(const char *path, gm_npy **npy, gm_error *err)
{
    *npy = NULL;
    char *text = NULL;
    size_t offset = 0;
    gm_status status = GM_ERR_MEMORY;
    gm_npy *file = gm_alloc(1, sizeof *file, "NPY file", err);
    if (!file) goto done;
    text = gm_alloc(MAX_HEADER + 1, 1, "NPY header", err);
    file->path = gm_strdup(path, err);
    if (!text || !file->path) goto done;

    file->file = fopen(path, "rbe");
    struct stat info;
    if (!file->file || fstat(fileno(file->file), &info) != 0) {
        status = gm_fail(err, GM_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        status = gm_fail(err, GM_ERR_IO, "%s: not a regular file", path);
        goto done;
    }
    status = read_header(file, text, &offset, err);
    if (status == GM_OK) status = parse_header(file, text, err);
    if (status == GM_OK) status = check_size(file, offset, err);
done:
    gm_free(text);
    if (status == GM_OK)
        *npy = file;
    else
        gm_npy_close(file);
    return status;
}

void gm_npy_close(gm_npy *npy)
{
    if (!npy) return;
    if (npy->file) fclose(npy->file);
    gm_free(npy->path);
    gm_free(npy);
}

/* One element of any type, little-endian. A float travels through memory, never through a
 * conversion. */
static double element_double(gm_npy_type type, const unsigned char *bytes)
{
    union {
        uint64_t u8;
        int32_t i4;
        int64_t i8;
        float f4;
        double f8;
    } element = {0};
    memcpy(&element, bytes, types[type].size);
    switch (type) {
    case GM_NPY_U1:
        return (double)*bytes;
    case GM_NPY_U8:
        return (double)element.u8;
    case GM_NPY_I4:
        return (double)element.i4;
    case GM_NPY_I8:
        return (double)element.i8;
    case GM_NPY_F4:
        return (double)element.f4;
    case GM_NPY_F8:
        break;
    }
    return element.f8;
}

static int64_t element_integer(gm_npy_type type, const unsigned char *bytes)
{
    if (type == GM_NPY_U1) return *bytes;
    if (type == GM_NPY_I4) {
        int32_t value;
        memcpy(&value, bytes, sizeof value);
        return value;
    }
    int64_t value;
    memcpy(&value, bytes, sizeof value);
    return type == GM_NPY_U8 && value < 0 ? INT64_MAX : value;
}

/* Reads the next count elements and hands each to doubles or to integers (one is NULL). */
static gm_status read_elements(gm_npy *npy, size_t count, double *doubles, int64_t *integers,
                               gm_error *err)
{
    unsigned char buffer[BUFFER];
    size_t size = types[npy->type].size, done = 0;
    while (done < count) {
        size_t step = count - done < BUFFER / size ? count - done : BUFFER / size;
        gm_status status = read_bytes(npy, buffer, step * size, "its elements", err);
        if (status != GM_OK) return status;
        for (size_t i = 0; i < step; i++) {
            unsigned char *bytes = buffer + i * size;
            for (size_t b = 0; npy->swap && b < size / 2; b++) {
                unsigned char swapped = bytes[b];
                bytes[b] = bytes[size - 1 - b];
                bytes[size - 1 - b] = swapped;
            }
            if (doubles)
                doubles[done + i] = element_double(npy->type, bytes);
            else
                integers[done + i] = element_integer(npy->type, bytes);
        }
        done += step;
        npy->next += step;
    }
    return GM_OK;
}

gm_status gm_npy_read(gm_npy *npy, size_t count, double *values, gm_error *err)
{
    return read_elements(npy, count, values, NULL, err);
}

gm_status gm_npy_read_integers(gm_npy *npy, size_t count, int64_t *values, gm_error *err)
{
    return read_elements(npy, count, NULL, values, err);
}

gm_status gm_npy_pass_over(gm_npy *npy, size_t count, gm_error *err)
{
    npy->next += count;
    if (fseeko(npy->file, (off_t)(count * types[npy->type].size), SEEK_CUR) == 0) return GM_OK;
    return gm_fail(err, GM_ERR_IO, "%s: cannot be read: %s", npy->path, strerror(errno));
}

gm_status gm_npy_read_vector(const char *path, double **values, size_t *n, gm_error *err)
{
    *values = NULL;
    *n = 0;
    double *vector = NULL;
    gm_npy *npy = NULL;
    gm_status status = gm_npy_open(path, &npy, err);
    if (status != GM_OK) return status;
    if (npy->rank != 1) {
        status = gm_fail(err, GM_ERR_INPUT, "%s: has %d dimensions, expected 1 (one flat vector)",
                         path, npy->rank);
        goto done;
    }
    if (npy->count == 0) {
        status = gm_fail(err, GM_ERR_INPUT, "%s: holds no numbers", path);
        goto done;
    }
    vector = gm_alloc(npy->count, sizeof *vector, path, err);
    status = vector ? gm_npy_read(npy, npy->count, vector, err) : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < npy->count; i++) {
        if (!isfinite(vector[i]))
            status = gm_fail(err, GM_ERR_INPUT,
                             "%s: element %zu (counted from 0) is %s, expected a finite number",
                             path, i, isnan(vector[i]) ? "NaN" : "infinite");
    }
done:
    if (status == GM_OK) {
        *values = vector;
        *n = npy->count;
    } else {
        gm_free(vector);
    }
    gm_npy_close(npy);
    return status;
}

/* --- writing --- */

size_t gm_npy_header(const char *descr, int rank, const size_t *dim,
                     unsigned char header[GM_NPY_HEADER])
{
    enum { ALIGN = 64, START = PREAMBLE + 2 };
    char *text = (char *)header + START;
    size_t room = GM_NPY_HEADER - START;
    int length = snprintf(text, room, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < rank; i++) {
        length += snprintf(text + length, room - (size_t)length, i ? ", %zu" : "%zu", dim[i]);
    }
    length += snprintf(text + length, room - (size_t)length, "%s), }", rank == 1 ? "," : "");

    size_t used = START + (size_t)length + 1;
    size_t padding = (ALIGN - used % ALIGN) % ALIGN;
    size_t total = (size_t)length + padding + 1;
    memset(text + length, ' ', padding);
    text[total - 1] = '\n';
    memcpy(header, magic, sizeof magic - 1);
    header[PREAMBLE - 2] = 1; /* version 1.0 */
    header[PREAMBLE - 1] = 0;
    header[PREAMBLE] = (unsigned char)(total & 255);
    header[PREAMBLE + 1] = (unsigned char)(total >> 8);
    return START + total;
}

void gm_npy_write_header(FILE *stream, gm_npy_type type, int rank, const size_t *dim)
{
    char code[8];
    unsigned char header[GM_NPY_HEADER];
    gm_npy_type_code(type, code);
    fwrite(header, 1, gm_npy_header(code, rank, dim, header), stream);
}

gm_status gm_npy_write(const char *path, gm_npy_type type, int rank, const size_t *dim,
                       const void *values, gm_error *err)
{
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        if (!gm_mul_size(count, dim[i], &count))
            return gm_fail(err, GM_ERR_MEMORY, "%s: the shape to write overflows", path);
    }
    gm_file *file = NULL;
    gm_status status = gm_file_create(path, &file, err);
    if (status != GM_OK) return status;
    gm_npy_write_header(gm_file_stream(file), type, rank, dim);
    fwrite(values, types[type].size, count, gm_file_stream(file));
    return gm_file_commit(&file, err);
}
