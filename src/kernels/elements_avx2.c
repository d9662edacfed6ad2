/* Element kernels for x86-64 processors with AVX2 and FMA. */
#if defined(__x86_64__)
#define GM_TABLES gm_tables_avx2
#define GM_ISA    "avx2"
#include "kernels/elements_body.h"
#endif
