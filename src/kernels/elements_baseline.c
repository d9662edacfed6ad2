/* Element kernels for any processor of the build's architecture. */
#define GM_TABLES gm_tables_baseline
#define GM_ISA    "baseline"
#include "kernels/elements_body.h"
