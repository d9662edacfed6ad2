/* Random re-scalings of layers that leave the function alone (theory section 4).
 *
 * A positively homogeneous net gives every node i a factor e_i > 0 by which its value may be
 * multiplied: 1 at the input and at the output, one for both ends of a node without parameters and
 * for all inputs where ways join. Nodes that share a factor form a class; a layer with parameters
 * between the classes of i (in) and o (out) has alpha = e_o / e_i, its biases take e_o. So the
 * products over all ways agree whatever the graph. */
#include <math.h>

#include "base/memory.h"
#include "gradiometer/bound.h"
#include "gradiometer/random.h"
#include "net/net.h"

static gm_status check_homogeneous(const gm_net *net, gm_error *err)
{
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        if (node->traits & GM_TRAIT_HOMOGENEOUS) continue;
        if (node->kind == &gm_layer_norm)
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: %s subtracts a running mean, a constant that no re-scaled "
                           "parameter moves, so that layers cannot be re-scaled without changing "
                           "the function; norms without running means can",
                           net->name, node->name);
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: node %d (%s) is not positively homogeneous, f(c a) = c f(a) for c > 0, "
                       "so that layers cannot be re-scaled without changing the function; relu, "
                       "leaky_relu, identity and norms without running means are",
                       net->name, i, node->name ? node->name : node->kind->name);
    }
    return GM_OK;
}

static int root_of(const int *class, int node)
{
    while (class[node] != node) {
        node = class[node];
    }
    return node;
}

/* class [nodes]: a forest, one tree for each class. */
static void join_classes(const gm_net *net, int *class)
{
    for (int i = 0; i < net->nodes; i++) {
        class[i] = i;
        const gm_node *node = &net->node[i];
        for (int k = 0; k < node->inputs; k++) {
            int input = root_of(class, node->input[k]);
            if (node->layer < 0) {
                class[root_of(class, i)] = input;
            } else if (k > 0) {
                class[input] = root_of(class, node->input[0]);
            }
        }
    }
}

/* logs [nodes] = ln e_i: random, 0 in the classes of input and output, scaled to the magnitude. */
static void random_factors(const gm_net *net, const int *class, double magnitude, gm_stream stream,
                           double *logs)
{
    int input = root_of(class, 0), output = root_of(class, net->nodes - 1);
    for (int i = 0; i < net->nodes; i++) {
        int root = root_of(class, i);
        bool fixed = root == input || root == output;
        logs[i] = fixed ? 0.0 : 2.0 * gm_uniform(stream, (uint64_t)root) - 1.0;
    }
    double largest = 0.0;
    for (int l = 0; l < net->layers; l++) {
        int i = net->layer_node[l];
        largest = fmax(largest, fabs(logs[i] - logs[net->node[i].input[0]]));
    }
    for (int i = 0; largest > 0.0 && i < net->nodes; i++) {
        logs[i] *= log(magnitude) / largest;
    }
}

gm_status gm_rescaling_make(const gm_net *net, double magnitude, uint64_t seed, uint32_t run,
                            double *factor, double *alpha, gm_error *err)
{
    gm_status status = check_homogeneous(net, err);
    if (status != GM_OK) return status;
    int *class = gm_alloc((size_t)net->nodes, sizeof *class, "re-scaling", err);
    double *logs = gm_alloc((size_t)net->nodes, sizeof *logs, "re-scaling", err);
    status = class && logs ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) {
        join_classes(net, class);
        random_factors(net, class, magnitude, gm_stream_of(seed, GM_PURPOSE_RESCALE, run), logs);
        for (int l = 0; l < net->layers; l++) {
            const gm_node *node = &net->node[net->layer_node[l]];
            double out = logs[net->layer_node[l]], own = exp(out - logs[node->input[0]]);
            size_t at = node->offset;
            for (int t = 0; t < node->tensors; t++) {
                size_t count = gm_shape_size(&node->tensor[t].shape);
                for (size_t i = 0; i < count; i++) {
                    factor[at++] = gm_tensor_ways(&node->tensor[t]) > 0 ? own : exp(out);
                }
            }
            if (alpha) alpha[l] = own;
        }
    }
    gm_free(class);
    gm_free(logs);
    return status;
}
