/* Bytes to messages. protobuf-c checks lengths; what it does not check is how deep messages nest,
 * and it calls itself for every level: that is looked at first. */
#include "onnx/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/memory.h"

/* A graph of ours takes 7: model, graph, node, attribute, tensor, external data. */
enum { DEEPEST = 40 };

/* `error` learns of memory that is short. */
static void *take(void *error, size_t size)
{
    return gm_alloc_raw(size, 1, "messages of the model", error);
}

static void give(void *unused, void *memory)
{
    (void)unused;
    gm_free(memory);
}

/* ---- nesting ---- */

typedef struct span {
    const uint8_t *at, *end;
} span;

static bool take_varint(span *s, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && s->at < s->end; shift += 7) {
        uint8_t byte = *s->at++;
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

/* The next field: its number and, of fields with a length, their bytes in *inner (else empty).
 * False at the end and where the bytes are none. */
static bool take_field(span *s, unsigned *number, span *inner)
{
    uint64_t key, length = 0;
    if (!take_varint(s, &key)) return false;
    *number = (unsigned)(key >> 3);
    *inner = (span){s->at, s->at};
    switch (key & 7) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        return take_varint(s, &length);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        length = 8;
        break;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        length = 4;
        break;
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        if (!take_varint(s, &length)) return false;
        if (length <= (uint64_t)(s->end - s->at)) *inner = (span){s->at, s->at + length};
        break;
    default:
        return false;
    }
    if (length > (uint64_t)(s->end - s->at)) return false;
    s->at += length;
    return true;
}

/* False where messages nest deeper than `levels`. What is malformed is left to the unpacking. */
static bool shallow(const ProtobufCMessageDescriptor *message, span s, int levels)
{
    unsigned number;
    span inner;
    if (levels == 0) return false;
    while (take_field(&s, &number, &inner)) {
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(message, number);
        if (!field || field->type != PROTOBUF_C_TYPE_MESSAGE || inner.at == inner.end) continue;
        if (!shallow(field->descriptor, inner, levels - 1)) return false;
    }
    return true;
}

/* ---- the file ---- */

static gm_status read_bytes(const char *path, void **bytes, size_t *count, gm_error *err)
{
    struct stat info;
    FILE *file = NULL;
    *bytes = NULL;
    if (stat(path, &info) != 0) {
        return gm_fail(err, GM_ERR_IO, "--model %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return gm_fail(err, GM_ERR_INPUT, "--model %s: no regular file", path);
    }
    if (info.st_size >= (off_t)1 << 31) {
        return gm_fail(
            err, GM_ERR_INPUT,
            "--model %s: %lld bytes, a model has fewer than 2 GiB (larger ones keep their "
            "numbers in external data)",
            path, (long long)info.st_size);
    }
    file = fopen(path, "rb");
    if (!file) return gm_fail(err, GM_ERR_IO, "--model %s: %s", path, strerror(errno));
    *count = (size_t)info.st_size;
    *bytes = gm_alloc_raw(*count, 1, "model", err);
    gm_status status = *bytes ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK && fread(*bytes, 1, *count, file) != *count) {
        status = gm_fail(err, GM_ERR_IO, "--model %s: cannot be read to its end", path);
    }
    fclose(file);
    return status;
}

static gm_status unpack(const char *path, const void *bytes, size_t count, Onnx__ModelProto **model,
                        gm_error *err)
{
    const uint8_t *from = bytes;
    if (!shallow(&onnx__model_proto__descriptor, (span){from, from + count}, DEEPEST)) {
        return gm_fail(err, GM_ERR_INPUT, "--model %s: its messages nest deeper than %d levels",
                       path, DEEPEST);
    }
    gm_error shortage = {0};
    ProtobufCAllocator allocator = {take, give, &shortage};
    *model = onnx__model_proto__unpack(&allocator, count, from);
    if (!*model && shortage.status != GM_OK) {
        return gm_fail(err, shortage.status, "%s", shortage.message);
    }
    if (!*model) {
        return gm_fail(err, GM_ERR_INPUT,
                       "--model %s: no ONNX model: its %zu bytes are no whole protobuf message "
                       "(truncated or damaged?)",
                       path, count);
    }
    if ((*model)->graph) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "--model %s: no ONNX model: it has no graph", path);
}

gm_status gm_onnx_file_read(const char *path, gm_onnx_folder *folder, Onnx__ModelProto **model,
                            gm_error *err)
{
    void *bytes;
    size_t count = 0;
    *model = NULL;
    *folder = (gm_onnx_folder){.path = path};
    gm_status status = read_bytes(path, &bytes, &count, err);
    if (status == GM_OK) {
        folder->checksum = crc32_z(crc32_z(0, NULL, 0), bytes, count);
        status = unpack(path, bytes, count, model, err);
    }
    gm_free(bytes);
    if (status != GM_OK) {
        gm_onnx_file_free(*model);
        *model = NULL;
    }
    return status;
}

void gm_onnx_file_free(Onnx__ModelProto *model)
{
    ProtobufCAllocator allocator = {take, give, NULL};
    if (model) onnx__model_proto__free_unpacked(model, &allocator);
}
