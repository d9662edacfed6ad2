#include "onnx/tensor.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

typedef struct number_type {
    const char *name;
    size_t bytes; /* in raw data; 0: not read */
    gm_onnx_class of;
} number_type;

static const number_type types[] = {
    [ONNX__TENSOR_PROTO__DATA_TYPE__UNDEFINED] = {"UNDEFINED", 0, GM_ONNX_REAL},
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT] = {"FLOAT", 4, GM_ONNX_REAL},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT8] = {"UINT8", 1, GM_ONNX_WHOLE},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT8] = {"INT8", 1, GM_ONNX_WHOLE},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT16] = {"UINT16", 2, GM_ONNX_WHOLE},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT16] = {"INT16", 2, GM_ONNX_WHOLE},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT32] = {"INT32", 4, GM_ONNX_WHOLE},
    [ONNX__TENSOR_PROTO__DATA_TYPE__INT64] = {"INT64", 8, GM_ONNX_WHOLE},
    [ONNX__TENSOR_PROTO__DATA_TYPE__STRING] = {"STRING", 0, GM_ONNX_REAL},
    [ONNX__TENSOR_PROTO__DATA_TYPE__BOOL] = {"BOOL", 1, GM_ONNX_TRUTH},
    [ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16] = {"FLOAT16", 2, GM_ONNX_REAL},
    [ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE] = {"DOUBLE", 8, GM_ONNX_REAL},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT32] = {"UINT32", 4, GM_ONNX_WHOLE},
    [ONNX__TENSOR_PROTO__DATA_TYPE__UINT64] = {"UINT64", 8, GM_ONNX_WHOLE},
    [ONNX__TENSOR_PROTO__DATA_TYPE__COMPLEX64] = {"COMPLEX64", 0, GM_ONNX_REAL},
    [ONNX__TENSOR_PROTO__DATA_TYPE__COMPLEX128] = {"COMPLEX128", 0, GM_ONNX_REAL},
    [ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16] = {"BFLOAT16", 2, GM_ONNX_REAL},
};
enum { TYPES = sizeof types / sizeof *types };

const char *gm_onnx_type_name(int32_t type)
{
    return type >= 0 && type < TYPES ? types[type].name : "of an unknown type";
}

bool gm_onnx_type_class(int32_t type, gm_onnx_class *of)
{
    if (type < 0 || type >= TYPES || types[type].bytes == 0) return false;
    *of = types[type].of;
    return true;
}

bool gm_onnx_count(gm_onnx_tensor *tensor)
{
    size_t count = 1;
    bool fits = tensor->rank <= GM_ONNX_RANK, empty = false;
    for (int i = 0; fits && i < tensor->rank; i++) {
        empty = empty || tensor->dim[i] == 0;
        fits = tensor->dim[i] == 0 || gm_mul_size(count, tensor->dim[i], &count);
    }
    tensor->count = empty ? 0 : count;
    return fits && count <= (size_t)1 << 56;
}

gm_status gm_onnx_tensor_make(gm_onnx_class of, int rank, const size_t *dim, gm_onnx_tensor *tensor,
                              gm_error *err)
{
    gm_onnx_tensor made = {.of = of, .rank = rank};
    for (int i = 0; i < rank && i < GM_ONNX_RANK; i++) {
        made.dim[i] = dim[i];
    }
    *tensor = (gm_onnx_tensor){0};
    if (!gm_onnx_count(&made)) {
        return gm_fail(err, GM_ERR_INPUT, "a constant of rank %d is too large", rank);
    }
    made.numbers = gm_alloc(made.count, sizeof(double), "constants of the model", err);
    if (!made.numbers) return GM_ERR_MEMORY;
    *tensor = made;
    return GM_OK;
}

void gm_onnx_tensor_free(gm_onnx_tensor *tensor)
{
    gm_free(tensor->numbers);
    tensor->numbers = NULL;
}

static const char *name_of(const Onnx__TensorProto *proto)
{
    return proto->name ? proto->name : "";
}

gm_status gm_onnx_tensor_shape(const gm_onnx_folder *folder, const Onnx__TensorProto *proto,
                               const char *what, gm_onnx_tensor *tensor, gm_error *err)
{
    *tensor = (gm_onnx_tensor){.rank = (int)(proto->n_dims < 1000 ? proto->n_dims : 1000)};
    if (!gm_onnx_type_class(proto->data_type, &tensor->of)) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: %s '%.100s' is %s (type %d), expected floating numbers, integers or "
                       "booleans",
                       folder->path, what, name_of(proto), gm_onnx_type_name(proto->data_type),
                       (int)proto->data_type);
    }
    if (proto->n_dims > GM_ONNX_RANK) {
        return gm_fail(err, GM_ERR_INPUT, "%s: %s '%.100s' has %zu dimensions, at most %d",
                       folder->path, what, name_of(proto), proto->n_dims, GM_ONNX_RANK);
    }
    for (size_t i = 0; i < proto->n_dims; i++) {
        if (proto->dims[i] < 0) {
            return gm_fail(err, GM_ERR_INPUT, "%s: %s '%.100s': dimension %zu is %lld",
                           folder->path, what, name_of(proto), i, (long long)proto->dims[i]);
        }
        tensor->dim[i] = (size_t)proto->dims[i];
    }
    if (gm_onnx_count(tensor)) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "%s: %s '%.100s': its dimensions overflow", folder->path,
                   what, name_of(proto));
}

/* ---- numbers as stored ---- */

static double half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023, sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31) return sign * (fraction > 0 ? (double)NAN : (double)INFINITY);
    if (exponent == 0) return sign * ldexp(fraction, -24);
    return sign * ldexp(1024.0 + fraction, exponent - 25);
}

static double bfloat_value(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

static double real_of(int32_t type, const unsigned char *bytes)
{
    float single;
    double value;
    uint16_t bits;
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        memcpy(&single, bytes, sizeof single);
        return (double)single;
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
        memcpy(&value, bytes, sizeof value);
        return value;
    default:
        memcpy(&bits, bytes, sizeof bits);
        return type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ? half_value(bits)
                                                              : bfloat_value(bits);
    }
}

/* An unsigned number beyond int64_t becomes its largest. */
static int64_t whole_of(int32_t type, const unsigned char *bytes)
{
    uint64_t u = 0;
    size_t width = types[type].bytes;
    memcpy(&u, bytes, width);
    switch (type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
        return u != 0;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
        return (int8_t)u;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
        return (int16_t)u;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
        return (int32_t)u;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
        return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    default:
        return (int64_t)u;
    }
}

static void decode(int32_t type, const unsigned char *bytes, gm_onnx_tensor *tensor)
{
    size_t width = types[type].bytes;
    for (size_t i = 0; i < tensor->count; i++) {
        if (tensor->of == GM_ONNX_REAL) {
            tensor->real[i] = real_of(type, bytes + i * width);
        } else {
            tensor->whole[i] = whole_of(type, bytes + i * width);
        }
    }
}

/* Numbers in the typed field of a type: 32-bit integers carry the small ones, and the bits of the
 * short floating numbers. */
static size_t typed_count(const Onnx__TensorProto *proto)
{
    switch (proto->data_type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        return proto->n_float_data;
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
        return proto->n_double_data;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
        return proto->n_int64_data;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
        return proto->n_uint64_data;
    default:
        return proto->n_int32_data;
    }
}

/* Number i of that field, which is there. */
static void take_typed(const Onnx__TensorProto *proto, size_t i, gm_onnx_tensor *tensor)
{
    switch (proto->data_type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        tensor->real[i] = (double)proto->float_data[i];
        return;
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
        tensor->real[i] = proto->double_data[i];
        return;
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
        tensor->whole[i] = proto->int64_data[i];
        return;
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT64:
    case ONNX__TENSOR_PROTO__DATA_TYPE__UINT32:
        tensor->whole[i] = whole_of(ONNX__TENSOR_PROTO__DATA_TYPE__UINT64,
                                    (const unsigned char *)&proto->uint64_data[i]);
        return;
    default:
        break;
    }
    const unsigned char *bytes = (const unsigned char *)&proto->int32_data[i];
    if (tensor->of == GM_ONNX_REAL) {
        tensor->real[i] = real_of(proto->data_type, bytes);
    } else {
        tensor->whole[i] = whole_of(proto->data_type, bytes);
    }
}

gm_status gm_onnx_tensor_read(gm_onnx_folder *folder, const Onnx__TensorProto *proto,
                              const char *what, gm_onnx_tensor *tensor, gm_error *err)
{
    gm_status status = gm_onnx_tensor_shape(folder, proto, what, tensor, err);
    if (status != GM_OK) return status;
    size_t bytes = tensor->count * types[proto->data_type].bytes; /* count <= 2^56 */
    if (proto->segment) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: %s '%.100s' is stored in segments, which are not read", folder->path,
                       what, name_of(proto));
    }
    bool outside = proto->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    if (!outside && proto->has_raw_data && proto->raw_data.len != bytes) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: %s '%.100s': raw_data holds %zu bytes, its %zu numbers of type %s take "
                       "%zu",
                       folder->path, what, name_of(proto), proto->raw_data.len, tensor->count,
                       gm_onnx_type_name(proto->data_type), bytes);
    }
    size_t typed = typed_count(proto);
    if (!outside && !proto->has_raw_data && typed != tensor->count) {
        return gm_fail(err, GM_ERR_INPUT, "%s: %s '%.100s' holds %zu numbers, its shape has %zu",
                       folder->path, what, name_of(proto), typed, tensor->count);
    }
    void *read = NULL;
    if (outside) status = gm_onnx_external_read(folder, proto, what, bytes, &read, err);
    if (status != GM_OK) return status;
    tensor->numbers = gm_alloc(tensor->count, sizeof(double), "constants of the model", err);
    if (!tensor->numbers) {
        status = GM_ERR_MEMORY;
    } else if (outside || proto->has_raw_data) {
        decode(proto->data_type, read ? read : proto->raw_data.data, tensor);
    } else {
        for (size_t i = 0; i < typed; i++) {
            take_typed(proto, i, tensor);
        }
    }
    gm_free(read);
    return status;
}
