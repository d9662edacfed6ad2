/* A zip file, front to back: of each member a local header and its bytes, then the directory with
 * a header for each member, then its end. What is written is little-endian. */
#include "data/npz.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/file.h"
#include "base/memory.h"

enum {
    NAME_MOST = 60000,    /* a name's length takes 16 bits, with room for ".npy" */
    COUNT_LIMIT = 0xffff, /* members from which on their number takes ZIP64 fields */
    UTF8 = 1 << 11,       /* flag: the name is UTF-8 */
    DATE = 1 << 5 | 1,    /* 1980-01-01 */
    VERSION = 20,
    VERSION_64 = 45,
    EXTRA_64 = 1 /* identifier of ZIP64's extra field */
};

typedef struct member {
    char *name; /* with .npy */
    uint64_t size, offset;
    uint32_t crc;
} member;

struct gm_npz {
    gm_file *file;
    uint32_t limit;
    uint64_t at; /* bytes written */
    member *member;
    size_t count, room;
};

/* ---- bytes ---- */

static void put(gm_npz *npz, const void *bytes, size_t count)
{
    fwrite(bytes, 1, count, gm_file_stream(npz->file));
    npz->at += count;
}

static void put_number(gm_npz *npz, int bytes, uint64_t value)
{
    unsigned char digit[8];
    for (int i = 0; i < bytes; i++) {
        digit[i] = (unsigned char)(value >> 8 * i);
    }
    put(npz, digit, (size_t)bytes);
}

static void put16(gm_npz *npz, uint64_t value)
{
    put_number(npz, 2, value);
}

static void put32(gm_npz *npz, uint64_t value)
{
    put_number(npz, 4, value);
}

static void put64(gm_npz *npz, uint64_t value)
{
    put_number(npz, 8, value);
}

/* In 32 bits, or the mark that its place is the extra field. */
static void put_short(gm_npz *npz, uint64_t value)
{
    put32(npz, value >= npz->limit ? UINT32_MAX : value);
}

/* ---- headers ---- */

/* What the local header and the directory have in common: from the version needed to the length of
 * the name. */
static void put_description(gm_npz *npz, const member *m, bool wide)
{
    put16(npz, wide ? VERSION_64 : VERSION);
    put16(npz, UTF8);
    put16(npz, 0); /* method: stored */
    put16(npz, 0); /* time */
    put16(npz, DATE);
    put32(npz, m->crc);
    put_short(npz, m->size);
    put_short(npz, m->size);
    put16(npz, strlen(m->name));
}

static void put_local_header(gm_npz *npz, const member *m)
{
    bool wide = m->size >= npz->limit;
    put32(npz, 0x04034b50);
    put_description(npz, m, wide);
    put16(npz, wide ? 20 : 0);
    put(npz, m->name, strlen(m->name));
    if (!wide) return;
    put16(npz, EXTRA_64);
    put16(npz, 16);
    put64(npz, m->size);
    put64(npz, m->size);
}

/* The extra field holds those numbers alone that are beyond the limit. */
static void put_directory_entry(gm_npz *npz, const member *m)
{
    bool large = m->size >= npz->limit, far = m->offset >= npz->limit;
    unsigned extra = (large ? 16 : 0) + (far ? 8 : 0);
    put32(npz, 0x02014b50);
    put16(npz, large || far ? VERSION_64 : VERSION); /* made by */
    put_description(npz, m, large || far);
    put16(npz, extra ? extra + 4 : 0);
    put16(npz, 0); /* comment */
    put16(npz, 0); /* disk */
    put16(npz, 0); /* attributes */
    put32(npz, 0);
    put_short(npz, m->offset);
    put(npz, m->name, strlen(m->name));
    if (!extra) return;
    put16(npz, EXTRA_64);
    put16(npz, extra);
    if (large) put64(npz, m->size);
    if (large) put64(npz, m->size);
    if (far) put64(npz, m->offset);
}

static void put_end(gm_npz *npz, uint64_t start)
{
    uint64_t size = npz->at - start, end = npz->at;
    bool wide = npz->count >= COUNT_LIMIT || size >= npz->limit || start >= npz->limit;
    if (wide) {
        put32(npz, 0x06064b50);
        put64(npz, 44); /* bytes that follow in this record */
        put16(npz, VERSION_64);
        put16(npz, VERSION_64);
        put32(npz, 0); /* disks */
        put32(npz, 0);
        put64(npz, npz->count);
        put64(npz, npz->count);
        put64(npz, size);
        put64(npz, start);
        put32(npz, 0x07064b50); /* where that record is */
        put32(npz, 0);
        put64(npz, end);
        put32(npz, 1);
    }
    put32(npz, 0x06054b50);
    put16(npz, 0); /* disks */
    put16(npz, 0);
    put16(npz, npz->count >= COUNT_LIMIT ? COUNT_LIMIT : npz->count);
    put16(npz, npz->count >= COUNT_LIMIT ? COUNT_LIMIT : npz->count);
    put_short(npz, size);
    put_short(npz, start);
    put16(npz, 0); /* comment */
}

/* ---- members ---- */

gm_status gm_npz_create(const char *path, uint32_t limit, gm_npz **npz, gm_error *err)
{
    gm_npz *z = gm_alloc(1, sizeof *z, "archive", err);
    *npz = NULL;
    if (!z) return GM_ERR_MEMORY;
    z->limit = limit;
    gm_status status = gm_file_create(path, &z->file, err);
    if (status != GM_OK) {
        gm_free(z);
        return status;
    }
    *npz = z;
    return GM_OK;
}

static gm_status make_room(gm_npz *npz, gm_error *err)
{
    if (npz->count < npz->room) return GM_OK;
    size_t room = npz->room ? 2 * npz->room : 64;
    member *larger = gm_alloc(room, sizeof *larger, "archive", err);
    if (!larger) return GM_ERR_MEMORY;
    if (npz->count) memcpy(larger, npz->member, npz->count * sizeof *larger);
    gm_free(npz->member);
    npz->member = larger;
    npz->room = room;
    return GM_OK;
}

static gm_status add(gm_npz *npz, const char *name, const char *descr, int rank, const size_t *dim,
                     size_t bytes, const void *values, gm_error *err)
{
    unsigned char header[GM_NPY_HEADER];
    size_t length = gm_npy_header(descr, rank, dim, header);
    if (!*name || strlen(name) > NAME_MOST)
        return gm_fail(err, GM_ERR_USAGE, "member of %zu letters, expected 1 ... %d", strlen(name),
                       NAME_MOST);
    gm_status status = make_room(npz, err);
    if (status != GM_OK) return status;
    member *m = &npz->member[npz->count];
    *m = (member){.name = gm_format(err, "%s.npy", name), .size = length, .offset = npz->at};
    if (!m->name) return GM_ERR_MEMORY;
    npz->count++;
    m->size += bytes;
    m->crc = (uint32_t)crc32_z(crc32_z(0, header, length), values, bytes);
    put_local_header(npz, m);
    put(npz, header, length);
    put(npz, values, bytes);
    return GM_OK;
}

gm_status gm_npz_add(gm_npz *npz, const char *name, gm_npy_type type, int rank, const size_t *dim,
                     const void *values, gm_error *err)
{
    char code[8];
    size_t bytes = gm_npy_type_size(type);
    gm_npy_type_code(type, code);
    for (int i = 0; i < rank; i++) {
        if (!gm_mul_size(bytes, dim[i], &bytes))
            return gm_fail(err, GM_ERR_MEMORY, "%s: the shape to write overflows", name);
    }
    return add(npz, name, code, rank, dim, bytes, values, err);
}

gm_status gm_npz_add_text(gm_npz *npz, const char *name, const char *text, gm_error *err)
{
    char descr[32];
    size_t bytes = strlen(text);
    if (!bytes) bytes = 1; /* the byte that ends it: NumPy drops such bytes */
    snprintf(descr, sizeof descr, "|S%zu", bytes);
    return add(npz, name, descr, 0, NULL, bytes, text, err);
}

/* ---- end ---- */

static void free_npz(gm_npz **npz)
{
    for (size_t i = 0; i < (*npz)->count; i++) {
        gm_free((*npz)->member[i].name);
    }
    gm_free((*npz)->member);
    gm_free(*npz);
    *npz = NULL;
}

gm_status gm_npz_commit(gm_npz **npz, gm_error *err)
{
    uint64_t start = (*npz)->at;
    for (size_t i = 0; i < (*npz)->count; i++) {
        put_directory_entry(*npz, &(*npz)->member[i]);
    }
    put_end(*npz, start);
    gm_status status = gm_file_commit(&(*npz)->file, err);
    free_npz(npz);
    return status;
}

void gm_npz_discard(gm_npz **npz)
{
    if (!*npz) return;
    gm_file_discard(&(*npz)->file);
    free_npz(npz);
}
