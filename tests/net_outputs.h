/* Outputs of a net by one pass of values, in float64. */
#ifndef GM_TESTS_NET_OUTPUTS_H
#define GM_TESTS_NET_OUTPUTS_H

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "diff/pass.h"

/* out [n, K] for x [n, inputs] */
static inline void net_outputs(const gm_net *net, const double *theta, size_t n, double *x,
                               double *out)
{
    gm_error err = {0};
    gm_engine engine = {.net = net, .k = gm_kernels_get(GM_F64)};
    size_t bytes = gm_pass_scratch(&engine, n, 1), nodes = (size_t)net->nodes;
    engine.scratch = (gm_scratch){gm_alloc(bytes + 1, 1, "scratch", &err), bytes};
    void **value = calloc(nodes, sizeof *value);
    value[0] = x;
    for (size_t i = 1; i < nodes; i++) {
        value[i] = gm_alloc(n * net->node[i].size, sizeof(double), "values", &err);
    }
    gm_chunk chunk = {.n = n, .theta = theta, .value = value};
    gm_pass_value(&engine, &chunk);
    memcpy(out, value[nodes - 1], n * gm_net_outputs(net) * sizeof *out);
    for (size_t i = 1; i < nodes; i++) {
        gm_free(value[i]);
    }
    free(value);
    gm_free(engine.scratch.memory);
}

#endif
