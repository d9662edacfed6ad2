/* A reader of NPZ archives for tests, written apart from the writer: it goes by the directory at
 * the end of the file, follows ZIP64's fields wherever a number is the mark for them, holds every
 * local header and every checksum against it, and inflates what is compressed. */
#ifndef TESTS_NPZ_READER_H
#define TESTS_NPZ_READER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct npz_member {
    char *name; /* without .npy */
    char descr[32];
    int rank;
    size_t dim[8], count;
    const unsigned char *data; /* the elements, within the member's bytes */
    unsigned char *bytes;
} npz_member;

typedef struct npz_file {
    npz_member *member;
    size_t count;
    bool wide; /* some number was in a ZIP64 field */
    char problem[128];
} npz_file;

static inline uint64_t npz_number(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes; i-- > 0;) {
        value = value << 8 | at[i];
    }
    return value;
}

static inline bool npz_wrong(npz_file *file, const char *problem)
{
    snprintf(file->problem, sizeof file->problem, "%s", problem);
    return false;
}

/* The NPY header of a member; version 1.0 as numpy writes it. */
static inline bool npz_header(npz_file *file, npz_member *m, size_t size)
{
    char text[600] = "", *shape;
    if (size < 10 || memcmp(m->bytes, "\x93NUMPY\x01\x00", 8) != 0)
        return npz_wrong(file, "no NPY 1.0");
    size_t length = npz_number(m->bytes + 8, 2);
    if (10 + length > size || length >= sizeof text || (10 + length) % 64)
        return npz_wrong(file, "length of the NPY header");
    memcpy(text, m->bytes + 10, length);
    if (sscanf(text, "{'descr': '%31[^']', 'fortran_order': False,", m->descr) != 1 ||
        !(shape = strstr(text, "'shape': (")) || text[length - 1] != '\n')
        return npz_wrong(file, "NPY header");
    m->count = 1;
    for (char *at = shape + 10; *at != ')';) {
        m->dim[m->rank] = strtoul(at, &at, 10);
        m->count *= m->dim[m->rank++];
        at += strspn(at, ", ");
    }
    m->data = m->bytes + 10 + length;
    if (10 + length + m->count * strtoul(m->descr + 2, NULL, 10) != size)
        return npz_wrong(file, "size of a member");
    return true;
}

/* The next 8 bytes of the extra field where *value is the mark. */
static inline void npz_widen(npz_file *file, uint64_t *value, const unsigned char **extra)
{
    if (*value != UINT32_MAX) return;
    *value = npz_number(*extra, 8);
    *extra += 8;
    file->wide = true;
}

static inline bool npz_take(npz_file *file, const unsigned char *all, size_t length,
                            const unsigned char **entry)
{
    const unsigned char *e = *entry;
    if (npz_number(e, 4) != 0x02014b50) return npz_wrong(file, "directory");
    size_t name = npz_number(e + 28, 2), extra = npz_number(e + 30, 2);
    uint64_t packed = npz_number(e + 20, 4), size = npz_number(e + 24, 4),
             offset = npz_number(e + 42, 4);
    const unsigned char *more = e + 46 + name + 4; /* behind identifier and length */
    if (extra && npz_number(more - 4, 2) != 1) return npz_wrong(file, "extra field");
    npz_widen(file, &size, &more);
    npz_widen(file, &packed, &more);
    npz_widen(file, &offset, &more);
    *entry = e + 46 + name + extra + npz_number(e + 32, 2);

    const unsigned char *local = all + offset;
    if (offset + 30 > length || npz_number(local, 4) != 0x04034b50 ||
        npz_number(local + 14, 4) != npz_number(e + 16, 4) || npz_number(local + 26, 2) != name ||
        memcmp(local + 30, e + 46, name) != 0)
        return npz_wrong(file, "local header");
    uint64_t there = npz_number(local + 22, 4);
    if (there == UINT32_MAX) there = npz_number(local + 30 + name + 4, 8);
    const unsigned char *data = local + 30 + name + npz_number(local + 28, 2);
    if (there != size || (size_t)(data - all) + packed > length)
        return npz_wrong(file, "size in the local header");

    npz_member *m = &file->member[file->count++];
    m->name = strndup((const char *)e + 46, name - 4);
    m->bytes = malloc(size + 1);
    if (memcmp(e + 46 + name - 4, ".npy", 4) != 0) return npz_wrong(file, "name");
    if (npz_number(e + 10, 2) == 0) {
        memcpy(m->bytes, data, size);
    } else {
        uLongf room = size;
        z_stream z = {.next_in = (unsigned char *)(uintptr_t)data,
                      .avail_in = (uInt)packed,
                      .next_out = m->bytes,
                      .avail_out = (uInt)room};
        inflateInit2(&z, -15);
        int end = inflate(&z, Z_FINISH);
        inflateEnd(&z);
        if (end != Z_STREAM_END || z.total_out != size) return npz_wrong(file, "deflated member");
    }
    if (crc32(0, m->bytes, (uInt)size) != npz_number(e + 16, 4)) return npz_wrong(file, "checksum");
    return npz_header(file, m, size);
}

/* All of it; file->problem is "" where nothing was wrong. */
static inline npz_file npz_read(const char *path)
{
    npz_file file = {0};
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        npz_wrong(&file, "cannot be opened");
        return file;
    }
    fseek(stream, 0, SEEK_END);
    size_t length = (size_t)ftell(stream);
    unsigned char *all = malloc(length + 1);
    rewind(stream);
    bool whole = fread(all, 1, length, stream) == length && length >= 22;
    fclose(stream);
    const unsigned char *end = all + length - 22; /* no comment */
    if (!whole || npz_number(end, 4) != 0x06054b50) {
        npz_wrong(&file, "no end of a zip file");
        free(all);
        return file;
    }
    uint64_t count = npz_number(end + 10, 2), start = npz_number(end + 16, 4);
    if (length >= 42 && npz_number(end - 20, 4) == 0x07064b50) {
        const unsigned char *wide = all + npz_number(end - 12, 8);
        if (npz_number(wide, 4) != 0x06064b50) npz_wrong(&file, "ZIP64 end");
        count = npz_number(wide + 32, 8);
        start = npz_number(wide + 48, 8);
        file.wide = true;
    }
    file.member = calloc(count + 1, sizeof *file.member);
    const unsigned char *entry = all + start;
    for (uint64_t i = 0; i < count && !*file.problem; i++) {
        npz_take(&file, all, length, &entry);
    }
    free(all);
    return file;
}

static inline const npz_member *npz_find(const npz_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++) {
        if (strcmp(file->member[i].name, name) == 0) return &file->member[i];
    }
    return NULL;
}

static inline double npz_double(const npz_member *m, size_t index)
{
    double wide;
    float narrow;
    if (m->descr[2] == '4') {
        memcpy(&narrow, m->data + 4 * index, 4);
        return (double)narrow;
    }
    memcpy(&wide, m->data + 8 * index, 8);
    return wide;
}

static inline void npz_free(npz_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        free(file->member[i].name);
        free(file->member[i].bytes);
    }
    free(file->member);
}

#endif
