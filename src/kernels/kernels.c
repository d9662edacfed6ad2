/* The choice of an instruction set, and the names of the activations. */
#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/isa.h"

static const char *const isa_names[] = {"avx512", "avx2", "baseline", NULL};
enum { ISAS = sizeof isa_names / sizeof *isa_names - 1 };

const char *gm_isa_name(size_t index)
{
    return index < ISAS ? isa_names[index] : NULL;
}

const gm_kernels *gm_kernels_for(const char *isa, gm_dtype dtype)
{
    size_t d = dtype == GM_F32 ? 0 : 1;
    if (strcmp(isa, "baseline") == 0) return gm_tables_baseline[d];
#if defined(__x86_64__)
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (avx2 && strcmp(isa, "avx2") == 0) return gm_tables_avx2[d];
    if (avx512 && strcmp(isa, "avx512") == 0) return gm_tables_avx512[d];
#endif
    return NULL;
}

const gm_kernels *gm_kernels_get(gm_dtype dtype)
{
    const char *wanted = getenv("GRADIOMETER_ISA");
    const gm_kernels *table = wanted ? gm_kernels_for(wanted, dtype) : NULL;
    for (size_t i = 0; !table && i < ISAS; i++) {
        table = gm_kernels_for(isa_names[i], dtype);
    }
    return table;
}

gm_status gm_isa_check(gm_error *err)
{
    const char *wanted = getenv("GRADIOMETER_ISA");
    if (!wanted || gm_kernels_for(wanted, GM_F64)) return GM_OK;
    for (size_t i = 0; i < ISAS; i++) {
        if (strcmp(wanted, isa_names[i]) == 0) {
            return gm_fail(err, GM_ERR_USAGE,
                           "GRADIOMETER_ISA=%s: this processor or build lacks it, expected %s",
                           wanted, gm_kernels_get(GM_F64)->isa);
        }
    }
    return gm_fail(err, GM_ERR_USAGE, "GRADIOMETER_ISA=%s: expected baseline, avx2 or avx512",
                   wanted);
}

static const char *const activation_names[] = {
    [GM_ACT_IDENTITY] = "identity",
    [GM_ACT_RELU] = "relu",
    [GM_ACT_LEAKY_RELU] = "leaky_relu",
    [GM_ACT_TANH] = "tanh",
    [GM_ACT_SIGMOID] = "sigmoid",
    [GM_ACT_SOFTPLUS] = "softplus",
    [GM_ACT_GELU] = "gelu",
};
enum { ACTIVATIONS = sizeof activation_names / sizeof *activation_names };

bool gm_activation_parse(const char *name, size_t length, gm_activation *act)
{
    for (size_t i = 0; i < ACTIVATIONS; i++) {
        if (strlen(activation_names[i]) == length &&
            memcmp(name, activation_names[i], length) == 0) {
            *act = (gm_activation)i;
            return true;
        }
    }
    return false;
}

const char *gm_activation_name(gm_activation act)
{
    return (size_t)act < ACTIVATIONS ? activation_names[act] : "unknown";
}
