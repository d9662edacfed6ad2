/* Types that every room shares. */
#ifndef GRADIOMETER_TYPES_H
#define GRADIOMETER_TYPES_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Precision of activations, weights and matrix products. Parameters, Krylov vectors, reductions
 * over samples and all scalars that cross the public interface are double in either case. */
typedef enum gm_dtype { GM_F32 = 0, GM_F64 = 1 } gm_dtype;

/* Size of one number in bytes: 4 or 8. */
size_t gm_dtype_size(gm_dtype dtype);
/* Unit round-off times two, the spacing at 1: 1.19e-7 or 2.22e-16. */
double gm_dtype_eps(gm_dtype dtype);
/* "f32" or "f64". */
const char *gm_dtype_name(gm_dtype dtype);

enum { GM_MAX_RANK = 6 };

/* Shape of one sample's tensor (the batch dimension is never part of it), row-major: a vector has
 * rank 1, an image rank 3 (channels, height, width). */
typedef struct gm_shape {
    int rank;
    size_t dim[GM_MAX_RANK];
} gm_shape;

/* Numbers offset ... offset + size - 1 of a vector. */
typedef struct gm_slice {
    size_t offset, size;
} gm_slice;

/* Number of elements; 0 where the product overflows size_t. */
size_t gm_shape_size(const gm_shape *shape);

#ifdef __cplusplus
}
#endif
#endif
