/* Standard deviations of the prior that move with the initialization under re-scaling (theory
 * section 4). */
#include <math.h>

#include "base/memory.h"
#include "gradiometer/bound.h"
#include "net/net.h"

const double gm_prior_scale[GM_PRIOR_SCALES] = {0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0, 2.0};

static double rms(size_t n, const double *x)
{
    double largest = 0.0, sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(x[i]));
    }
    if (largest == 0.0) return 0.0;
    for (size_t i = 0; i < n;
         i++) { /* relative to the largest: squares neither vanish nor overflow */
        sum += x[i] / largest * (x[i] / largest);
    }
    return largest * sqrt(sum / (double)n);
}

/* One layer: weights first, then biases, in the order of the tensors. way is the product over the
 * layers before it, *product that with this one's. */
static gm_status layer_unit(const gm_node *node, const double *theta0, double given, double way,
                            double *unit, double *product, gm_error *err)
{
    *product = way;
    size_t at = node->offset;
    for (int t = 0; t < node->tensors; t++) {
        size_t count = gm_shape_size(&node->tensor[t].shape);
        size_t fan_in = gm_tensor_ways(&node->tensor[t]);
        double scale = *product;
        if (fan_in > 0) {
            scale = given > 0.0 ? given : rms(count, theta0 + at);
            *product *= scale * sqrt((double)fan_in);
        }
        if (!(scale > 0.0 && isfinite(scale) && isfinite(*product))) {
            return gm_fail(err, GM_ERR_INPUT,
                           "layer %s: its %s at the initialization has the root mean square %g, "
                           "from which no prior scale follows; --layer-scale %s=S gives one",
                           node->name, node->tensor[t].name, scale, node->name);
        }
        for (size_t j = 0; j < count; j++) {
            unit[at + j] = scale;
        }
        at += count;
    }
    return GM_OK;
}

gm_status gm_prior_unit(const gm_net *net, const double *theta0, const double *given, double *unit,
                        gm_error *err)
{
    double *product = gm_alloc((size_t)net->nodes, sizeof *product, "prior scales", err);
    if (!product) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    product[0] = 1.0;
    for (int i = 1; status == GM_OK && i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        for (int k = 0; k < node->inputs; k++) {
            product[i] = fmax(product[i], product[node->input[k]]);
        }
        if (node->layer < 0) continue;
        /* Where no way from the input leads, the product is the empty one: a learned scale or
         * shift, a table of positions, and what is computed from these alone. */
        double way = product[i] > 0.0 ? product[i] : 1.0;
        status =
            layer_unit(node, theta0, given ? given[node->layer] : 0.0, way, unit, &product[i], err);
        if (node->inputs == 0) product[i] = 0.0;
    }
    gm_free(product);
    return status;
}
