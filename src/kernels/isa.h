/* The tables of every instruction set, for the choice at start and for tests of each of them. */
#ifndef GM_KERNELS_ISA_H
#define GM_KERNELS_ISA_H

#include "gradiometer/status.h"
#include "kernels/kernels.h"

/* [2], by gm_dtype. The wider ones exist in builds for x86-64 and must only be called where the
 * processor has the set. */
extern const gm_kernels *const gm_tables_baseline[2];
extern const gm_kernels *const gm_tables_avx2[2];
extern const gm_kernels *const gm_tables_avx512[2];

/* Names of the instruction sets, widest first: "avx512", "avx2", "baseline"; NULL past the end. */
const char *gm_isa_name(size_t index);

/* The table of the named instruction set; NULL for an unknown name and for a set that this build or
 * this processor lacks. */
const gm_kernels *gm_kernels_for(const char *isa, gm_dtype dtype);

/* GM_ERR_USAGE where environment variable GRADIOMETER_ISA names a set that is unknown or missing
 * here; gm_kernels_get would then ignore it. */
gm_status gm_isa_check(gm_error *err);

#endif
