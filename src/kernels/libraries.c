#include "kernels/libraries.h"

#include <cblas.h>
#include <oneapi/dnnl/dnnl.h>

#include "kernels/kernels.h"

static const char *isa_name(dnnl_cpu_isa_t isa)
{
    switch (isa) {
    case dnnl_cpu_isa_sse41:
        return "sse41";
    case dnnl_cpu_isa_avx:
        return "avx";
    case dnnl_cpu_isa_avx2:
        return "avx2";
    case dnnl_cpu_isa_avx2_vnni:
        return "avx2_vnni";
    case dnnl_cpu_isa_avx512_core:
        return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni:
        return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16:
        return "avx512_core_bf16";
    case dnnl_cpu_isa_avx512_core_amx:
        return "avx512_core_amx";
    default:
        return "other";
    }
}

void gm_libraries_describe(gm_libraries *libraries)
{
    const dnnl_version_t *version = dnnl_version();
    *libraries = (gm_libraries){
        .elements = gm_kernels_get(GM_F32)->isa,
        .blas = openblas_get_config(),
        .blas_core = openblas_get_corename(),
        .onednn = {version->major, version->minor, version->patch},
        .onednn_isa = isa_name(dnnl_get_effective_cpu_isa()),
    };
}
