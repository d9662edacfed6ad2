/* Which builds of the matrix libraries this process runs, for reports of speed: they choose their
 * kernels by the processor, and the choice decides the figures. */
#ifndef GM_KERNELS_LIBRARIES_H
#define GM_KERNELS_LIBRARIES_H

typedef struct gm_libraries {
    const char *elements;   /* instruction set of our own kernels: "avx2" */
    const char *blas;       /* OpenBLAS' own description of its build */
    const char *blas_core;  /* the kernels that it chose: "Haswell" */
    int onednn[3];          /* version: major, minor, patch */
    const char *onednn_isa; /* the widest instruction set that it may use: "avx512_core_vnni" */
} gm_libraries;

/* All strings are static. */
void gm_libraries_describe(gm_libraries *libraries);

#endif
