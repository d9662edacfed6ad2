/* Strided views of the array that belongs to one sample: transpositions, slices, broadcasts. */
#ifndef GM_KERNELS_VIEW_H
#define GM_KERNELS_VIEW_H

#include <stddef.h>

enum { GM_VIEW_RANK = 6 };

/* Element (i0, i1, ...) of the view is number at + i0 stride[0] + i1 stride[1] + ... of the array;
 * strides may be 0 or negative. */
typedef struct gm_view {
    int rank; /* 0 ... GM_VIEW_RANK */
    size_t dim[GM_VIEW_RANK];
    ptrdiff_t stride[GM_VIEW_RANK];
    size_t at;
} gm_view;

#endif
