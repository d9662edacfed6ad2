/* Small nets on images and signals for tests, built layer by layer or from a spec, with random data
 * and parameters; and per-sample gradients, Jacobians and probabilities of any net, found through
 * single-sample problems and gradients alone. */
#ifndef GM_TESTS_IMAGE_NETS_H
#define GM_TESTS_IMAGE_NETS_H

#include "gradiometer/onnx.h"
#include "net/net.h"
#include "problems.h"

typedef void image_builder(gm_net *net, bool channels_last);

typedef struct image_case {
    const char *name; /* a spec where build is NULL, or a file that ends in .onnx */
    image_builder *build;
    gm_shape input;
    size_t n, classes;
    bool smooth, squared;
} image_case;

typedef struct image_problem {
    size_t p, n, positions; /* labels of a sample: the rows of an output [T, K], else 1 */
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    gm_linearization *lin;
    double *theta, *x, *target;
    int32_t *label;
} image_problem;

static inline int add_layer(gm_net *net, const gm_layer_kind *kind, const void *config)
{
    gm_error err = {0};
    int last = net->nodes - 1;
    expect_ok(gm_net_add(net, kind, config, 1, &last, NULL, &last, &err), &err);
    return last;
}

static inline int add_conv(gm_net *net, gm_window_config window, size_t out, size_t groups)
{
    gm_conv_config conv = {.window = window, .out_channels = out, .groups = groups, .bias = true};
    return add_layer(net, &gm_layer_conv, &conv);
}

static inline int add_act(gm_net *net, gm_activation act)
{
    gm_activation_config config = {.act = act};
    return add_layer(net, &gm_layer_activation, &config);
}

static inline int add_pool(gm_net *net, const gm_layer_kind *kind, gm_window_config window)
{
    gm_pool_config config = {.window = window};
    return add_layer(net, kind, &config);
}

static inline int add_layout(gm_net *net, bool channels_last)
{
    gm_channels_config config = {.channels_last = channels_last};
    return add_layer(net, &gm_layer_layout, &config);
}

static inline int add_dense(gm_net *net, size_t units)
{
    gm_dense_config config = {.units = units, .bias = true};
    return add_layer(net, &gm_layer_dense, &config);
}

static inline gm_net *image_net(const image_case *c, bool channels_last)
{
    gm_error err = {0};
    gm_net *net = NULL;
    if (gm_onnx_names_model(c->name)) {
        gm_onnx *model = NULL;
        gm_onnx_options options;
        gm_onnx_options_default(&options);
        expect_ok(gm_onnx_load(c->name, &options, &model, &err), &err);
        net = model->net;
        model->net = NULL;
        gm_onnx_free(model);
        return net;
    }
    if (!c->build) {
        expect_ok(gm_net_from_spec(c->name, &c->input, c->classes, &net, &err), &err);
        return net;
    }
    expect_ok(gm_net_create(c->name, &c->input, &net, &err), &err);
    c->build(net, channels_last);
    return net;
}

/* Numbers of a stream of its own, rounded to single precision so that both precisions see the same.
 */
static inline double *image_numbers(size_t count, uint32_t run, double scale)
{
    double *x = calloc(count, sizeof *x);
    gm_normal_fill(gm_stream_of(5, GM_PURPOSE_TEST, run), 0, count, x);
    for (size_t i = 0; i < count; i++) {
        x[i] = (double)(float)(scale * x[i]);
    }
    return x;
}

static inline void image_data(image_problem *t, const image_case *c, gm_dtype dtype)
{
    gm_error err = {0};
    if (t->positions > 1) {
        expect_ok(gm_data_from_sequences("test", c->n, &c->input, t->x, t->positions, t->label,
                                         dtype, c->classes, &t->data, &err),
                  &err);
        return;
    }
    expect_ok(gm_data_from_arrays("test", c->n, &c->input, t->x, c->squared ? NULL : t->label,
                                  c->squared ? t->target : NULL, c->squared ? c->classes : 0, dtype,
                                  c->classes, &t->data, &err),
              &err);
}

/* Rows of the first table that the net looks tokens up in; 0 where its samples are no tokens. */
static inline size_t image_tokens(const gm_net *net)
{
    for (int i = 1; i < net->nodes; i++) {
        if (net->node[i].traits & GM_TRAIT_TOKENS) return net->node[i].tensor[0].shape.dim[0];
    }
    return 0;
}

static inline void image_open(image_problem *t, const image_case *c, gm_dtype dtype,
                              bool channels_last, size_t chunk, size_t memory)
{
    gm_error err = {0};
    *t = (image_problem){.n = c->n, .net = image_net(c, channels_last)};
    t->p = gm_net_parameters(t->net);
    t->x = image_numbers(c->n * gm_shape_size(&c->input), 0, 1);
    size_t tokens = image_tokens(t->net);
    for (size_t i = 0; tokens && i < c->n * gm_shape_size(&c->input); i++) {
        t->x[i] = (double)gm_below(gm_stream_of(5, GM_PURPOSE_TEST, 3), i, tokens);
    }
    t->theta = image_numbers(t->p, 1, 1);
    t->target = image_numbers(c->n * c->classes, 2, 1);
    const gm_shape *out = &t->net->node[t->net->nodes - 1].shape;
    t->positions = out->rank == 2 ? out->dim[0] : 1;
    t->label = calloc(c->n * t->positions, sizeof *t->label);
    for (size_t i = 0; i < c->n * t->positions; i++) {
        bool masked = t->positions > 1 && (i == 1 || i % 7 == 5);
        t->label[i] = masked ? GM_LABEL_MASKED : (int32_t)(i % c->classes);
    }
    /* He's scale for the weights, and biases that keep units off their kinks. */
    double *he = calloc(t->p, sizeof *he);
    gm_net_init(t->net, GM_INIT_HE, 1, 0, he);
    for (size_t j = 0; j < t->p; j++) {
        t->theta[j] = (double)(float)(he[j] != 0 ? he[j] : 0.3 * t->theta[j]);
    }
    free(he);
    image_data(t, c, dtype);
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = c->squared ? GM_LOSS_SQUARED : GM_LOSS_CROSS_ENTROPY;
    options.chunk = chunk;
    options.memory = memory;
    expect_ok(gm_problem_create(t->net, t->data, &options, &t->problem, &err), &err);
    expect_ok(gm_linearize(t->problem, t->theta, &t->lin, &err), &err);
}

static inline void image_close(image_problem *t)
{
    gm_linearization_free(t->lin);
    gm_problem_free(t->problem);
    gm_dataset_free(t->data);
    gm_net_free(t->net);
    free(t->x);
    free(t->theta);
    free(t->target);
    free(t->label);
}

/* out [p] = A v */
static inline void image_product(const image_problem *t, gm_curvature kind, const double *v,
                                 double *out)
{
    gm_error err = {0};
    gm_operator op;
    expect_ok(gm_curvature_operator(t->lin, kind, GM_ALL_LAYERS, &op, &err), &err);
    expect_ok(gm_operator_apply(&op, 1, v, out, &err), &err);
    gm_operator_destroy(&op);
}

/* Gradient (and loss) of one sample: with its labels, or with target y [classes] under the squared
 * loss. */
static inline double image_sample(const image_problem *t, size_t i, size_t classes,
                                  const int32_t *label, const double *y, double *gradient)
{
    gm_error err = {0};
    gm_dataset *data;
    gm_problem *problem;
    gm_problem_options options;
    double loss;
    size_t in = gm_net_inputs(t->net);
    if (y || t->positions == 1) {
        expect_ok(gm_data_from_arrays("one", 1, &t->data->shape, t->x + i * in, y ? NULL : label, y,
                                      y ? classes : 0, GM_F64, classes, &data, &err),
                  &err);
    } else {
        expect_ok(gm_data_from_sequences("one", 1, &t->data->shape, t->x + i * in, t->positions,
                                         label, GM_F64, classes, &data, &err),
                  &err);
    }
    gm_problem_options_default(&options);
    options.loss = y ? GM_LOSS_SQUARED : GM_LOSS_CROSS_ENTROPY;
    expect_ok(gm_problem_create(t->net, data, &options, &problem, &err), &err);
    expect_ok(gm_problem_gradient(problem, t->theta, &loss, NULL, gradient, &err), &err);
    gm_problem_free(problem);
    gm_dataset_free(data);
    return loss;
}

/* g [p], jacobian [T K, p] and prob [T K] of sample i: the gradient of the squared loss falls by
 * J^T e_c when target c grows by one, and p_c = exp(-loss with label c), all other positions
 * masked. */
static inline void image_derivatives(const image_problem *t, const image_case *c, size_t i,
                                     double *g, double *jacobian, double *prob)
{
    size_t outputs = t->positions * c->classes, scored = 0;
    double *y = calloc(outputs, sizeof *y), *base = calloc(t->p, sizeof *base);
    int32_t *label = calloc(t->positions, sizeof *label);
    image_sample(t, i, outputs, NULL, y, base);
    for (size_t k = 0; k < outputs; k++) {
        y[k] = 1;
        double *row = jacobian + k * t->p;
        image_sample(t, i, outputs, NULL, y, row);
        y[k] = 0;
        for (size_t j = 0; j < t->p; j++) {
            row[j] = base[j] - row[j];
        }
        for (size_t s = 0; s < t->positions; s++) {
            label[s] = s == k / c->classes ? (int32_t)(k % c->classes) : GM_LABEL_MASKED;
        }
        prob[k] = exp(-image_sample(t, i, c->classes, label, NULL, g));
    }
    const int32_t *own = t->label + i * t->positions;
    for (size_t s = 0; s < t->positions; s++) {
        scored += own[s] != GM_LABEL_MASKED;
    }
    image_sample(t, i, c->classes, own, c->squared ? t->target + i * c->classes : NULL, g);
    for (size_t j = 0; t->positions > 1 && j < t->p; j++) {
        g[j] *= t->data->weight * (double)scored; /* alone, its positions weigh 1 / scored */
    }
    free(y);
    free(base);
    free(label);
}

/* sum [p, p] += weight (J^T (diag(p) - p p^T) J), or J^T J under the squared loss, of the K outputs
 * at one position. */
static inline void image_add_metric(size_t p, size_t classes, bool squared, double weight,
                                    const double *jacobian, const double *prob, double *mean,
                                    double *sum)
{
    for (size_t j = 0; j < p; j++) {
        mean[j] = 0;
        for (size_t k = 0; k < classes; k++) {
            mean[j] += prob[k] * jacobian[k * p + j];
        }
    }
    for (size_t r = 0; r < p; r++) {
        for (size_t s = 0; s < p; s++) {
            double entry = squared ? 0 : -mean[r] * mean[s];
            for (size_t k = 0; k < classes; k++) {
                entry += (squared ? 1 : prob[k]) * jacobian[k * p + r] * jacobian[k * p + s];
            }
            sum[r * p + s] += weight * entry;
        }
    }
}

/* G and M [p, p], put together sample by sample. */
static inline void image_matrices(const image_problem *t, const image_case *c, double *ggn,
                                  double *moment)
{
    size_t p = t->p, classes = c->classes, outputs = t->positions * classes;
    double *g = calloc(p, sizeof *g), *jacobian = calloc(outputs * p, sizeof *jacobian);
    double *prob = calloc(outputs, sizeof *prob), *mean = calloc(p, sizeof *mean);
    for (size_t i = 0; i < t->n; i++) {
        image_derivatives(t, c, i, g, jacobian, prob);
        for (size_t s = 0; s < t->positions; s++) {
            if (t->label[i * t->positions + s] == GM_LABEL_MASKED) continue;
            image_add_metric(p, classes, c->squared, t->data->weight / (double)t->n,
                             jacobian + s * classes * p, prob + s * classes, mean, ggn);
        }
        for (size_t r = 0; r < p * p; r++) {
            moment[r] += g[r / p] * g[r % p] / (double)t->n;
        }
    }
    free(g);
    free(jacobian);
    free(prob);
    free(mean);
}

#endif
