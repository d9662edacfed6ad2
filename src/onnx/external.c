/* Numbers of a tensor in a file beside the model. Nothing outside of the model's folder is read,
 * whatever the model says: no absolute path, no "..", no link that leads out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/memory.h"
#include "onnx/tensor.h"

typedef struct place {
    const char *location;
    unsigned long long offset, length;
    bool has_length;
} place;

static bool whole_number(const char *text, unsigned long long *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0 && *number < 1ull << 62;
}

static gm_status parse_place(const gm_onnx_folder *folder, const Onnx__TensorProto *proto,
                             const char *what, place *p, gm_error *err)
{
    *p = (place){0};
    for (size_t i = 0; i < proto->n_external_data; i++) {
        const char *key = proto->external_data[i]->key, *value = proto->external_data[i]->value;
        if (!key || !value) continue;
        bool offset = strcmp(key, "offset") == 0, length = strcmp(key, "length") == 0;
        if (strcmp(key, "location") == 0) p->location = value;
        if ((offset || length) && !whole_number(value, offset ? &p->offset : &p->length)) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: %s '%.100s': external %s '%.40s', expected a whole number",
                           folder->path, what, proto->name ? proto->name : "", key, value);
        }
        p->has_length = p->has_length || length;
    }
    if (p->location && *p->location) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "%s: %s '%.100s': external data without a location",
                   folder->path, what, proto->name ? proto->name : "");
}

/* The file's true path, or NULL with err: missing, or not below the model's folder. The caller
 * calls free. */
static char *inside(const gm_onnx_folder *folder, const char *location, gm_error *err)
{
    const char *slash = strrchr(folder->path, '/');
    int length = slash ? (int)(slash - folder->path) : 0;
    char *base = slash ? gm_format(err, "%.*s/", length, folder->path) : gm_strdup("./", err);
    char *joined = base ? gm_format(err, "%s%s", base, location) : NULL;
    char *root = joined ? realpath(base, NULL) : NULL;
    char *path = root && location[0] != '/' ? realpath(joined, NULL) : NULL;
    if (joined && !path && location[0] != '/') {
        gm_fail(err, GM_ERR_IO, "%s: external data '%.200s': %s", folder->path, location,
                strerror(errno));
    }
    size_t tail = root ? strlen(root) : 0;
    bool below = path && (tail == 1 || (strncmp(path, root, tail) == 0 && path[tail] == '/'));
    if (joined && ((path && !below) || location[0] == '/')) {
        gm_fail(err, GM_ERR_INPUT, "%s: external data '%.200s' lies outside of the model's folder",
                folder->path, location);
        free(path);
        path = NULL;
    }
    free(root);
    gm_free(base);
    gm_free(joined);
    return path;
}

static gm_status read_range(gm_onnx_folder *folder, const char *path, const place *p,
                            size_t expected, void **bytes, gm_error *err)
{
    struct stat info;
    FILE *file = stat(path, &info) == 0 && S_ISREG(info.st_mode) ? fopen(path, "rb") : NULL;
    if (!file)
        return gm_fail(err, GM_ERR_IO, "%s: external data '%s' cannot be read", folder->path, path);
    unsigned long long size = (unsigned long long)info.st_size;
    gm_status status = GM_OK;
    if (p->offset > size || size - p->offset < expected) {
        status = gm_fail(err, GM_ERR_INPUT,
                         "%s: external data '%s' has %llu bytes, expected %zu from byte %llu on",
                         folder->path, path, size, expected, p->offset);
    }
    void *read = status == GM_OK ? gm_alloc(expected, 1, "external data", err) : NULL;
    if (status == GM_OK && !read) status = GM_ERR_MEMORY;
    if (status == GM_OK && (fseeko(file, (off_t)p->offset, SEEK_SET) != 0 ||
                            fread(read, 1, expected, file) != expected)) {
        status =
            gm_fail(err, GM_ERR_IO, "%s: external data '%s' cannot be read", folder->path, path);
    }
    fclose(file);
    if (status != GM_OK) {
        gm_free(read);
        return status;
    }
    folder->checksum = crc32_z(folder->checksum, read, expected);
    *bytes = read;
    return GM_OK;
}

gm_status gm_onnx_external_read(gm_onnx_folder *folder, const Onnx__TensorProto *proto,
                                const char *what, size_t expected, void **bytes, gm_error *err)
{
    place p;
    *bytes = NULL;
    gm_status status = parse_place(folder, proto, what, &p, err);
    if (status != GM_OK) return status;
    if (p.has_length && p.length != expected) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: %s '%.100s': external length %llu, its numbers take %zu bytes",
                       folder->path, what, proto->name ? proto->name : "", p.length, expected);
    }
    gm_error inner = {.status = GM_ERR_MEMORY};
    char *path = inside(folder, p.location, &inner);
    if (!path) return gm_fail(err, inner.status, "%s", inner.message);
    status = read_range(folder, path, &p, expected, bytes, err);
    free(path);
    return status;
}
