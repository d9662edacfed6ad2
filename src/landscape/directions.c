/* Directions of a slice, and the quadratic model along them.
 *
 * Filter normalization takes out what a net of homogeneous activations is blind to: the loss does
 * not change where a filter is scaled and the layer above it scaled back, so that a step of fixed
 * length means little by itself (Li et al. 2018, section 4). */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/curvature.h"
#include "gradiometer/random.h"
#include "kernels/kernels.h"
#include "landscape/landscape.h"
#include "net/net.h"

/* ---- filters ---- */

/* `length` numbers of both arrays, `stride` apart: direction to the norm of theta. */
static void scale_filter(size_t length, size_t stride, const double *theta, double *direction)
{
    double of_theta = 0.0, of_direction = 0.0;
    for (size_t i = 0; i < length; i++) {
        of_theta += theta[i * stride] * theta[i * stride];
        of_direction += direction[i * stride] * direction[i * stride];
    }
    double scale = of_direction > 0.0 ? sqrt(of_theta / of_direction) : 0.0;
    for (size_t i = 0; i < length; i++) {
        direction[i * stride] *= scale;
    }
}

static bool is_transposed(const gm_node *node)
{
    return node->kind == &gm_layer_dense && ((const gm_dense_config *)node->config)->transposed;
}

/* The filters of a tensor of weights: its first axis counts them, or, of weights stored transposed,
 * its last. */
static void scale_tensor(const gm_node *node, const gm_shape *shape, const double *theta,
                         double *direction)
{
    size_t size = gm_shape_size(shape), filters = shape->dim[0];
    if (is_transposed(node)) {
        filters = shape->dim[shape->rank - 1];
        for (size_t f = 0; f < filters; f++) {
            scale_filter(size / filters, filters, theta + f, direction + f);
        }
        return;
    }
    size_t length = size / filters;
    for (size_t f = 0; f < filters; f++) {
        scale_filter(length, 1, theta + f * length, direction + f * length);
    }
}

void gm_landscape_normalize(const gm_net *net, const double *theta, double *direction)
{
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        if (node->owner != i) continue; /* a slice met before */
        size_t at = node->offset;
        for (int t = 0; t < node->tensors; t++) {
            const gm_tensor *tensor = &node->tensor[t];
            size_t size = gm_shape_size(&tensor->shape);
            if (tensor->fan_in && size) {
                scale_tensor(node, &tensor->shape, theta + at, direction + at);
            } else { /* biases, and parameters of normalizations */
                memset(direction + at, 0, size * sizeof *direction);
            }
            at += size;
        }
    }
}

void gm_landscape_random(const gm_net *net, const double *theta, uint64_t seed, uint32_t index,
                         double *direction)
{
    gm_normal_fill(gm_stream_of(seed, GM_PURPOSE_LANDSCAPE, index), 0, net->parameters, direction);
    gm_landscape_normalize(net, theta, direction);
}

/* ---- the quadratic model ---- */

gm_status gm_landscape_check(size_t dimensions, gm_error *err)
{
    if (dimensions >= 1 && dimensions <= GM_LANDSCAPE_DIMENSIONS) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE, "slice of %zu dimensions, expected 1 or 2", dimensions);
}

gm_status gm_landscape_model_make(gm_linearization *lin, size_t dimensions, const double *direction,
                                  gm_landscape_model *model, gm_error *err)
{
    size_t p = gm_problem_parameters(gm_linearization_problem(lin));
    const double *gradient = gm_linearization_gradient(lin);
    const gm_kernels *k = gm_kernels_get(GM_F64);
    gm_operator hessian = {0};
    *model = (gm_landscape_model){.dimensions = dimensions, .loss = gm_linearization_loss(lin)};
    gm_status status = gm_landscape_check(dimensions, err);
    if (status != GM_OK) return status;
    double *product = gm_alloc(dimensions * p, sizeof *product, "products with directions", err);
    if (!product) return GM_ERR_MEMORY;
    status = gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &hessian, err);
    if (status == GM_OK) status = gm_operator_apply(&hessian, dimensions, direction, product, err);
    for (size_t a = 0; status == GM_OK && a < dimensions; a++) {
        model->slope[a] = k->dot(p, gradient, direction + a * p);
        for (size_t b = 0; b <= a; b++) {
            model->curvature[a][b] = 0.5 * (k->dot(p, direction + a * p, product + b * p) +
                                            k->dot(p, direction + b * p, product + a * p));
            model->curvature[b][a] = model->curvature[a][b];
        }
    }
    gm_operator_destroy(&hessian);
    gm_free(product);
    return status;
}

double gm_landscape_model_at(const gm_landscape_model *model, const double *t)
{
    double value = model->loss;
    for (size_t a = 0; a < model->dimensions; a++) {
        value += model->slope[a] * t[a];
        for (size_t b = 0; b < model->dimensions; b++) {
            value += 0.5 * t[a] * model->curvature[a][b] * t[b];
        }
    }
    return value;
}
