/* Element kernels for x86-64 processors with AVX-512 F, DQ, BW and VL. */
#if defined(__x86_64__)
#define GM_TABLES gm_tables_avx512
#define GM_ISA    "avx512"
#include "kernels/elements_body.h"
#endif
