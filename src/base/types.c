#include "gradiometer/types.h"

#include <float.h>

#include "base/memory.h"

size_t gm_dtype_size(gm_dtype dtype)
{
    return dtype == GM_F32 ? sizeof(float) : sizeof(double);
}

double gm_dtype_eps(gm_dtype dtype)
{
    return dtype == GM_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
}

const char *gm_dtype_name(gm_dtype dtype)
{
    return dtype == GM_F32 ? "f32" : "f64";
}

size_t gm_shape_size(const gm_shape *shape)
{
    size_t size = 1;
    for (int i = 0; i < shape->rank; i++) {
        if (!gm_mul_size(size, shape->dim[i], &size)) return 0;
    }
    return size;
}
