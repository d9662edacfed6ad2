/* Numbers that are known when a net is imported: shapes, axes, masks, and the initializers.
 *
 * Floating types are held as double, integers and booleans as int64_t; eight bytes each, so that
 * moving numbers about needs one code for both. */
#ifndef GM_ONNX_TENSOR_H
#define GM_ONNX_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/status.h"
#include "onnx.pb-c.h"

enum { GM_ONNX_RANK = 8 };

typedef enum gm_onnx_class { GM_ONNX_REAL, GM_ONNX_WHOLE, GM_ONNX_TRUTH } gm_onnx_class;

typedef struct gm_onnx_tensor {
    gm_onnx_class of;
    int rank;
    size_t dim[GM_ONNX_RANK]; /* a dimension may be 0 */
    size_t count;             /* product of dim */
    union {
        void *numbers; /* [count] of 8 bytes, gm_free; NULL where only the shape is known */
        double *real;
        int64_t *whole;
    };
} gm_onnx_tensor;

/* Name of a data type of the format, "FLOAT16" say; "type 99" for an unknown one. */
const char *gm_onnx_type_name(int32_t type);
/* Its class; false for types that are not read (strings, complex numbers, unknown ones). */
bool gm_onnx_type_class(int32_t type, gm_onnx_class *of);

/* Numbers of a tensor of those dimensions; false where they overflow or the rank is beyond 8. */
bool gm_onnx_count(gm_onnx_tensor *tensor);

/* Room for the numbers, zeroed. */
gm_status gm_onnx_tensor_make(gm_onnx_class of, int rank, const size_t *dim, gm_onnx_tensor *tensor,
                              gm_error *err);
void gm_onnx_tensor_free(gm_onnx_tensor *tensor);

/* Where tensors' numbers may lie beside the file, and what was read of them. */
typedef struct gm_onnx_folder {
    const char *path;       /* of the model's file */
    unsigned long checksum; /* CRC-32 of what was read, in order */
} gm_onnx_folder;

/* Shape and class of a tensor of the file; its numbers too with gm_onnx_tensor_read: from the typed
 * fields, raw_data, or a file in the model's folder. Refuses what does not fit, naming `what` and
 * the tensor. */
gm_status gm_onnx_tensor_shape(const gm_onnx_folder *folder, const Onnx__TensorProto *proto,
                               const char *what, gm_onnx_tensor *tensor, gm_error *err);
gm_status gm_onnx_tensor_read(gm_onnx_folder *folder, const Onnx__TensorProto *proto,
                              const char *what, gm_onnx_tensor *tensor, gm_error *err);

/* Bytes of a tensor that lie in a file of the model's folder; *bytes is the caller's. */
gm_status gm_onnx_external_read(gm_onnx_folder *folder, const Onnx__TensorProto *proto,
                                const char *what, size_t expected, void **bytes, gm_error *err);

#endif
