/* Convolution and pooling: the geometry that kernels share.
 *
 * Images are [n, C, H, W] (channels first) or [n, H, W, C] (channels last, the faster one). A
 * one-dimensional signal is an image of height 1. An output position o looks at the input positions
 * o stride - pad + k dilation, k = 0 ... kernel - 1; those outside the image are zeros for a
 * convolution and do not take part in pooling. */
#ifndef GM_KERNELS_IMAGE_H
#define GM_KERNELS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

/* Pairs are (vertical, horizontal). */
typedef struct gm_window {
    size_t channels; /* of the input */
    size_t in[2], out[2];
    size_t kernel[2], stride[2], dilation[2];
    size_t pad[2]; /* before the first row and column; what lies behind the last follows from out */
    size_t beyond[2]; /* how far the last windows reach beyond the padded image (0 without ceil) */
    bool channels_last;
} gm_window;

/* weight [out_channels, channels / groups, kernel[0], kernel[1]] */
typedef struct gm_conv {
    gm_window window;
    size_t out_channels, groups;
} gm_conv;

/* Memory of the caller that a kernel may use as it likes: 64-byte aligned. */
typedef struct gm_scratch {
    void *memory;
    size_t bytes;
} gm_scratch;

#endif
