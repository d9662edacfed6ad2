/* Whether the ranks were started alike. They compute much of what they do each for itself, counting
 * on the same bits: the same options, the same program, the same kernels. (What they read is
 * compared when it is read.) */
#include <string.h>

#include "base/hash.h"
#include "dist/dist.h"
#include "gradiometer/version.h"
#include "kernels/libraries.h"

static uint64_t hash_text(uint64_t before, const char *text)
{
    return gm_hash(before, text, strlen(text) + 1);
}

gm_status gm_dist_check_alike(const gm_dist *dist, int argc, char **argv, gm_error *err)
{
    const gm_team *team = gm_dist_team(dist);
    uint64_t options = gm_hash_start, program = hash_text(gm_hash_start, gm_version());
    gm_libraries libraries;
    for (int i = 1; i < argc; i++) {
        options = hash_text(options, argv[i]);
    }
    int odd = gm_team_odd_one(team, options);
    if (odd > 0) {
        return gm_fail(err, GM_ERR_USAGE,
                       "rank %d was started with other options than rank 0, expected the same at "
                       "all ranks",
                       odd);
    }
    gm_libraries_describe(&libraries);
    program = hash_text(program, libraries.elements);
    program = hash_text(program, libraries.blas_core);
    program = hash_text(program, libraries.blas);
    program = hash_text(program, libraries.onednn_isa);
    odd = gm_team_odd_one(team, program);
    if (odd < 0) return GM_OK;
    return gm_fail(
        err, GM_ERR_DEPENDENCY,
        "rank %d computes with other kernels than rank 0 (%s, OpenBLAS for %s), expected "
        "the same program on processors of one kind",
        odd, libraries.elements, libraries.blas_core);
}
