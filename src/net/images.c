/* The built-in nets on images.
 *
 * resnet20 is the net of He et al. 2016 (arXiv 1512.03385) for CIFAR-10, with identity shortcuts
 * padded with zeros; but its batch normalization is in inference mode from the start, with running
 * statistics 0 and 1: a scale and a shift. Training mode has no per-sample gradients. So that it
 * trains all the same, the last scale of each of its nine branches starts at 1/sqrt(9): the
 * variance of the sum then grows by (1 + 1/9)^9 < e, whatever the data (compare Zhang et al. 2019,
 * arXiv 1901.09321; De and Smith 2020, arXiv 2002.10444).
 *
 * Inside they keep the channels last, which convolutions are faster with; one layer turns the
 * images on their way in, another turns them back before they are flattened, so that parameters
 * stand in the order of the same net in PyTorch. */
#include "net/net.h"

/* A net under construction: `last` is the node that the next layer reads. */
typedef struct growth {
    gm_net *net;
    int last;
} growth;

static gm_status grow(growth *g, const gm_layer_kind *kind, const void *config, gm_error *err)
{
    return gm_net_add(g->net, kind, config, 1, &g->last, NULL, &g->last, err);
}

static gm_status grow_layout(growth *g, bool channels_last, gm_error *err)
{
    gm_channels_config layout = {.channels_last = channels_last};
    return grow(g, &gm_layer_layout, &layout, err);
}

/* Square convolution of stride 1, activation, 2x2 max-pooling. */
static gm_status grow_block(growth *g, size_t channels, size_t kernel, size_t pad, bool bias,
                            gm_activation act, gm_error *err)
{
    gm_conv_config conv = {.window = gm_window_square(kernel, 1, pad, true),
                           .out_channels = channels,
                           .groups = 1,
                           .bias = bias};
    gm_activation_config activation = {.act = act};
    gm_pool_config pool = {.window = gm_window_square(2, 2, 0, true)};
    gm_status status = grow(g, &gm_layer_conv, &conv, err);
    if (status == GM_OK) status = grow(g, &gm_layer_activation, &activation, err);
    return status == GM_OK ? grow(g, &gm_layer_max_pool, &pool, err) : status;
}

static gm_status grow_dense(growth *g, size_t units, bool bias, gm_error *err)
{
    gm_dense_config dense = {.units = units, .bias = bias};
    return grow(g, &gm_layer_dense, &dense, err);
}

gm_status gm_net_build_cnn(const char *spec, const gm_net_widths *w, const gm_shape *input,
                           size_t classes, gm_net **net, gm_error *err)
{
    gm_status status = gm_net_create(spec, input, net, err);
    if (status != GM_OK) return status;
    growth g = {*net, 0};
    status = grow_layout(&g, true, err);
    for (int i = 0; status == GM_OK && i < w->widths; i++) {
        status = grow_block(&g, w->width[i], 3, 1, w->bias, w->act, err);
    }
    if (status == GM_OK) status = grow_layout(&g, false, err);
    return status == GM_OK ? grow_dense(&g, classes, w->bias, err) : status;
}

gm_status gm_net_build_lenet(const char *spec, const gm_shape *input, size_t classes, gm_net **net,
                             gm_error *err)
{
    static const size_t units[] = {120, 84};
    gm_activation_config relu = {.act = GM_ACT_RELU};
    gm_status status = gm_net_create(spec, input, net, err);
    if (status != GM_OK) return status;
    growth g = {*net, 0};
    size_t pad = input->dim[1] == 28 && input->dim[2] == 28 ? 2 : 0;
    status = grow_layout(&g, true, err);
    if (status == GM_OK) status = grow_block(&g, 6, 5, pad, true, relu.act, err);
    if (status == GM_OK) status = grow_block(&g, 16, 5, 0, true, relu.act, err);
    if (status == GM_OK) status = grow_layout(&g, false, err);
    for (int i = 0; status == GM_OK && i < 2; i++) {
        status = grow_dense(&g, units[i], true, err);
        if (status == GM_OK) status = grow(&g, &gm_layer_activation, &relu, err);
    }
    return status == GM_OK ? grow_dense(&g, classes, true, err) : status;
}

/* Convolution without bias, then scale and shift. */
static gm_status grow_normed(growth *g, size_t channels, size_t stride, double start, gm_error *err)
{
    gm_conv_config conv = {
        .window = gm_window_square(3, stride, 1, true), .out_channels = channels, .groups = 1};
    gm_norm_config norm = {.epsilon = 1e-5, .start = start, .channels_last = true};
    gm_status status = grow(g, &gm_layer_conv, &conv, err);
    return status == GM_OK ? grow(g, &gm_layer_norm, &norm, err) : status;
}

/* relu(x + branch(x)), with two convolutions in the branch. */
static gm_status grow_residual(growth *g, size_t channels, size_t stride, double start,
                               gm_error *err)
{
    gm_activation_config relu = {.act = GM_ACT_RELU};
    growth way = *g;
    const unsigned char nothing = 0;
    gm_status status = grow_normed(g, channels, stride, 1.0, err);
    if (status == GM_OK) status = grow(g, &gm_layer_activation, &relu, err);
    if (status == GM_OK) status = grow_normed(g, channels, 1, start, err);
    if (status == GM_OK && stride > 1) {
        gm_shortcut_config narrow = {
            .stride = stride, .before = channels / 4, .after = channels / 4};
        status = grow(&way, &gm_layer_shortcut, &narrow, err);
    }
    if (status != GM_OK) return status;
    int ends[] = {way.last, g->last};
    status = gm_net_add(g->net, &gm_layer_add, &nothing, 2, ends, NULL, &g->last, err);
    return status == GM_OK ? grow(g, &gm_layer_activation, &relu, err) : status;
}

gm_status gm_net_build_resnet20(const char *spec, const gm_shape *input, size_t classes,
                                gm_net **net, gm_error *err)
{
    enum { BLOCKS = 9 };
    const double start = 1.0 / 3.0; /* 1 / sqrt(BLOCKS) */
    gm_activation_config relu = {.act = GM_ACT_RELU};
    gm_channels_config layout = {.channels_last = true};
    gm_status status = gm_net_create(spec, input, net, err);
    if (status != GM_OK) return status;
    growth g = {*net, 0};
    status = grow_layout(&g, true, err);
    if (status == GM_OK) status = grow_normed(&g, 16, 1, 1.0, err);
    if (status == GM_OK) status = grow(&g, &gm_layer_activation, &relu, err);
    for (size_t block = 0; status == GM_OK && block < BLOCKS; block++) {
        size_t channels = (size_t)16 << block / 3, stride = block == 3 || block == 6 ? 2 : 1;
        status = grow_residual(&g, channels, stride, start, err);
    }
    if (status == GM_OK) status = grow(&g, &gm_layer_global_mean_pool, &layout, err);
    return status == GM_OK ? grow_dense(&g, classes, true, err) : status;
}
