/* Convolutions as gm_kernels documents them: float32 by oneDNN, float64 by unfolding and matrix
 * products, which also serve where oneDNN has no kernel. */
#ifndef GM_KERNELS_CONV_H
#define GM_KERNELS_CONV_H

#include "kernels/image.h"

size_t gm_conv_scratch_f32(const gm_conv *g, size_t n);
size_t gm_conv_scratch_f64(const gm_conv *g, size_t n);
void gm_conv_forward_f32(const gm_conv *g, size_t n, const void *x, const void *weight,
                         const void *bias, bool add, void *y, gm_scratch scratch);
void gm_conv_forward_f64(const gm_conv *g, size_t n, const void *x, const void *weight,
                         const void *bias, bool add, void *y, gm_scratch scratch);
void gm_conv_backward_data_f32(const gm_conv *g, size_t n, const void *dy, const void *weight,
                               bool add, void *dx, gm_scratch scratch);
void gm_conv_backward_data_f64(const gm_conv *g, size_t n, const void *dy, const void *weight,
                               bool add, void *dx, gm_scratch scratch);
void gm_conv_backward_weight_f32(const gm_conv *g, size_t n, const void *x, const void *dy,
                                 void *dweight, gm_scratch scratch);
void gm_conv_backward_weight_f64(const gm_conv *g, size_t n, const void *x, const void *dy,
                                 void *dweight, gm_scratch scratch);

/* --- oneDNN, in src/kernels/conv_dnnl.c: false where it cannot, and nothing is written then --- */

/* Bytes that the three functions below need for n samples, whatever the number of threads. */
size_t gm_dnnl_conv_scratch(const gm_conv *g, size_t n);
bool gm_dnnl_conv_forward(const gm_conv *g, size_t n, const float *x, const float *weight,
                          const float *bias, bool add, float *y, gm_scratch scratch);
bool gm_dnnl_conv_backward_data(const gm_conv *g, size_t n, const float *dy, const float *weight,
                                bool add, float *dx, gm_scratch scratch);
bool gm_dnnl_conv_backward_weight(const gm_conv *g, size_t n, const float *x, const float *dy,
                                  float *dweight, gm_scratch scratch);

#endif
