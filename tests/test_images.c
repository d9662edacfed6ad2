/* Nets with convolutions and pooling: gradients by central differences, products by central
 * differences of gradients, symmetry, H = M - H_p, G and M against matrices put together sample by
 * sample; the layout of the images, chunks, threads and precision change nothing
 * (tests/net_checks.h). */
#include "support.h"

#include "net_checks.h"

static gm_window_config window(size_t kernel, size_t stride, size_t pad, size_t dilation, bool last)
{
    gm_window_config w = gm_window_square(kernel, stride, pad, last);
    w.dilation[0] = w.dilation[1] = dilation;
    return w;
}

/* Every smooth kind: strides that do not divide, dilation, groups, mean-pooling with padding. */
static void build_smooth(gm_net *net, bool last)
{
    if (last) add_layout(net, true);
    add_conv(net, window(3, 1, 1, 1, last), 4, 1);
    add_act(net, GM_ACT_TANH);
    gm_pool_config pool = {.window = window(2, 2, 1, 1, last), .padded = true};
    add_layer(net, &gm_layer_mean_pool, &pool);
    add_conv(net, window(2, 2, 1, 2, last), 6, 2);
    add_act(net, GM_ACT_SOFTPLUS);
    if (last) add_layout(net, false);
    add_dense(net, 3);
}

/* Every piecewise linear kind, overlapping windows, a global mean at the end. */
static void build_piecewise(gm_net *net, bool last)
{
    if (last) add_layout(net, true);
    add_conv(net, window(3, 2, 1, 1, last), 4, 1);
    add_act(net, GM_ACT_RELU);
    add_pool(net, &gm_layer_max_pool, window(3, 2, 1, 1, last));
    add_conv(net, window(2, 1, 1, 1, last), 4, 1);
    add_act(net, GM_ACT_LEAKY_RELU);
    add_pool(net, &gm_layer_mean_pool, window(2, 1, 0, 1, last));
    gm_channels_config channels = {.channels_last = last};
    add_layer(net, &gm_layer_global_mean_pool, &channels);
    add_dense(net, 3);
}

/* A signal of two channels; flattened by a reshape. */
static void build_signal(gm_net *net, bool last)
{
    if (last) add_layout(net, true);
    add_conv(net, window(3, 2, 2, 2, last), 3, 1);
    add_act(net, GM_ACT_TANH);
    add_pool(net, &gm_layer_max_pool, window(2, 2, 0, 1, last));
    if (last) add_layout(net, false);
    gm_reshape_config flat = {
        .shape = {.rank = 1, .dim = {gm_shape_size(&net->node[net->nodes - 1].shape)}}};
    add_layer(net, &gm_layer_reshape, &flat);
    add_dense(net, 4);
}

/* A small residual net: normalization with statistics, a shortcut that narrows, one that joins a
 * node with itself, smooth activations. */
static void build_residual(gm_net *net, bool last)
{
    const double mean[] = {0.3, -0.2, 0.1, 0.5}, variance[] = {0.5, 2, 1, 0.2};
    gm_error err = {0};
    gm_norm_config norm = {.epsilon = 1e-3, .start = 1, .channels_last = true};
    gm_shortcut_config narrow = {.stride = 2, .before = 1, .after = 1};
    gm_channels_config channels = {.channels_last = true};
    const unsigned char nothing = 0;
    (void)last;
    expect_ok(gm_net_keep(net, 4, mean, &norm.mean, &err), &err);
    expect_ok(gm_net_keep(net, 4, variance, &norm.variance, &err), &err);
    add_layout(net, true);
    int way = add_conv(net, window(3, 1, 1, 1, true), 2, 1), joined;
    add_act(net, GM_ACT_TANH);
    add_conv(net, window(3, 2, 1, 1, true), 4, 1);
    int end = add_layer(net, &gm_layer_norm, &norm);
    expect_ok(gm_net_add(net, &gm_layer_shortcut, &narrow, 1, &way, NULL, &way, &err), &err);
    int ends[] = {way, end, end};
    expect_ok(gm_net_add(net, &gm_layer_add, &nothing, 3, ends, NULL, &joined, &err), &err);
    add_act(net, GM_ACT_SOFTPLUS);
    add_layer(net, &gm_layer_global_mean_pool, &channels);
    add_dense(net, 3);
}

/* Two branches side by side, by channels; one of them comes twice. */
static void build_branches(gm_net *net, bool last)
{
    gm_concat_config by_channel = {.axis = last ? 2 : 0};
    gm_error err = {0};
    if (last) add_layout(net, true);
    int left = add_conv(net, window(3, 1, 1, 1, last), 2, 1), joined;
    int right = add_act(net, GM_ACT_TANH);
    right = add_conv(net, window(1, 1, 0, 1, last), 3, 1);
    int ends[] = {right, left, right};
    expect_ok(gm_net_add(net, &gm_layer_concat, &by_channel, 3, ends, NULL, &joined, &err), &err);
    add_act(net, GM_ACT_SOFTPLUS);
    if (last) add_layout(net, false);
    add_dense(net, 3);
}

/* Normalization of an image with the channels first and without statistics, and of a vector. */
static void build_normed(gm_net *net, bool last)
{
    gm_norm_config norm = {.epsilon = 1e-5, .start = 1, .channels_last = last};
    if (last) add_layout(net, true);
    add_layer(net, &gm_layer_norm, &norm);
    add_conv(net, window(3, 1, 0, 1, last), 2, 1);
    add_act(net, GM_ACT_RELU);
    add_layer(net, &gm_layer_norm, &norm);
    if (last) add_layout(net, false);
    add_dense(net, 4);
    add_layer(net, &gm_layer_norm, &norm);
    add_act(net, GM_ACT_RELU);
    add_dense(net, 3);
}

static const image_case cases[] = {
    {"residual", build_residual, {3, {2, 6, 5}}, 5, 3, true, false},
    {"branches", build_branches, {3, {2, 4, 5}}, 5, 3, true, false},
    {"normed", build_normed, {3, {2, 5, 5}}, 5, 3, false, false},
    {"smooth", build_smooth, {3, {2, 6, 5}}, 5, 3, true, false},
    {"smooth, squared", build_smooth, {3, {2, 6, 5}}, 5, 3, true, true},
    {"piecewise", build_piecewise, {3, {2, 9, 8}}, 6, 3, false, false},
    {"signal", build_signal, {2, {2, 21}}, 5, 4, true, false},
    {"cnn:3-4", NULL, {3, {2, 8, 9}}, 5, 3, false, false},
    {"cnn:3-4,act=tanh,bias=no", NULL, {3, {1, 8, 8}}, 5, 3, true, false},
};
enum { CASES = sizeof cases / sizeof *cases };
static net_list nets = {cases, CASES};

/* A mini-batch shared out over workers is the mean of its samples' gradients, repeats included. */
static void batches(void **state)
{
    (void)state;
    const size_t index[] = {3, 3, 0, 4, 2, 2, 1};
    int threads = omp_get_max_threads();
    for (int workers = 1; workers <= 2; workers++) {
        image_problem t;
        gm_error err = {0};
        omp_set_num_threads(workers);
        image_open(&t, &cases[5], GM_F64, true, 2, 0);
        double *g = numbers(t.p), *sum = numbers(t.p), *one = numbers(t.p), loss, total = 0;
        for (size_t m = 1; m <= 7; m++) {
            total += image_sample(&t, index[m - 1], 3, &t.label[index[m - 1]], NULL, one);
            for (size_t j = 0; j < t.p; j++) {
                sum[j] += one[j];
                one[j] = sum[j] / (double)m;
            }
            expect_ok(gm_problem_batch_gradient(t.problem, t.theta, m, index, &loss, g, &err),
                      &err);
            assert_at_most(relative_error(t.p, g, one), 1e-12, "m = %zu", m);
            assert_at_most(fabs(loss - total / (double)m), 1e-12 * loss, "loss, m = %zu", m);
        }
        free(g);
        free(sum);
        free(one);
        image_close(&t);
    }
    omp_set_num_threads(threads);
}

/* Parameters of the built-in nets: counts, names, places, shapes of the data they take. */
static void built_in(void **state)
{
    (void)state;
    gm_error err = {0};
    gm_net *net;
    const gm_shape cifar = {3, {3, 32, 32}}, mnist = {3, {1, 28, 28}}, small = {3, {1, 8, 8}};
    expect_ok(gm_net_from_spec("cnn:16-32-64", &cifar, 10, &net, &err), &err);
    /* 3*9*16+16, 16*9*32+32, 32*9*64+64, 64*4*4*10+10 */
    assert_int_equal(gm_net_parameters(net), 448 + 4640 + 18496 + 10250);
    assert_string_equal(gm_net_layer_at(net, 2).name, "conv3");
    assert_string_equal(gm_net_layer_at(net, 3).name, "dense1");
    assert_int_equal(gm_net_layer_at(net, 1).offset, 448);
    assert_true(gm_net_piecewise_linear(net) && gm_net_homogeneous(net));
    gm_net_free(net);
    for (int i = 0; i < 2; i++) { /* 5x5x6, 5x5x16, 120, 84, K on either size of images */
        size_t first = i ? 25 * 6 + 6 : 3 * 25 * 6 + 6;
        expect_ok(gm_net_from_spec("lenet", i ? &mnist : &cifar, 10, &net, &err), &err);
        assert_int_equal(gm_net_parameters(net), first + 2416 + 400 * 120 + 120 + 10164 + 850);
        assert_int_equal(gm_net_layers(net), 5);
        gm_net_free(net);
    }
    expect_ok(gm_net_from_spec("resnet20", &cifar, 10, &net, &err), &err);
    assert_int_equal(gm_net_parameters(net), 269722); /* He et al. give 0.27 M */
    assert_string_equal(gm_net_layer_at(net, 37).name, "norm19");
    double *theta = numbers(269722);
    gm_net_init(net, GM_INIT_HE, 0, 0, theta);
    size_t at = gm_net_layer_at(net, 1).offset;
    assert_true(theta[at] == 1 && theta[at + 15] == 1 && theta[at + 16] == 0); /* scale, shift */
    assert_true(theta[gm_net_layer_at(net, 5).offset] == 1.0 / 3.0);
    free(theta);
    assert_true(gm_net_piecewise_linear(net));
    gm_net_free(net);
    const char *bad[] = {
        "resnet20:3",     "cnn:",       "cnn:16-",     "cnn:0",
        "cnn:16,act=rel", "cnn:16,x=1", "cnn:8-8-8-8", "cnn:1099511627776-1099511627776",
        "lenet:5",        "lenet"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gm_status status = gm_net_from_spec(bad[i], &small, 10, &net, &err);
        if (status == GM_OK) fail_msg("%s was accepted", bad[i]);
        assert_int_equal(gm_status_exit(status), 2);
        assert_null(net);
    }
    assert_non_null(strstr(err.message, "conv2: a window of 5x5"));
    const gm_shape flat = {1, {784}};
    assert_int_equal(gm_net_from_spec("lenet", &flat, 10, &net, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "784"));
    assert_int_equal(gm_net_from_spec("lenet", NULL, 0, &net, &err), GM_ERR_USAGE);
}

/* Layers that do not fit their input are refused with the layer's name and both sizes. */
static void misfits(void **state)
{
    (void)state;
    gm_error err = {0};
    gm_net *net;
    int node = 0, inputs[2] = {0, 0};
    const gm_shape input = {3, {4, 6, 6}};
    expect_ok(gm_net_create("net", &input, &net, &err), &err);
    const gm_conv_config conv[] = {
        {.window = window(7, 1, 0, 1, false), .out_channels = 2, .groups = 1},
        {.window = window(3, 1, 0, 1, false), .out_channels = 2, .groups = 3},
        {.window = window(3, 1, 0, 1, false), .out_channels = 3, .groups = 2},
        {.window = window(3, 0, 0, 1, false), .out_channels = 2, .groups = 1},
        {.window = window(3, 1, 0, 0, false), .out_channels = 2, .groups = 1},
        {.window = window(0, 1, 0, 1, false), .out_channels = 2, .groups = 1},
        {.window = window(3, 1, (size_t)-2, 1, false), .out_channels = 2, .groups = 1},
        {.window = window(3, 1, 0, 1, false), .out_channels = 0, .groups = 1},
    };
    for (size_t i = 0; i < sizeof conv / sizeof *conv; i++) {
        assert_int_equal(gm_net_add(net, &gm_layer_conv, &conv[i], 1, &node, NULL, &node, &err),
                         GM_ERR_INPUT);
        assert_non_null(strstr(err.message, "layer conv1"));
    }
    gm_pool_config pool = {.window = window(2, 2, 2, 1, false)};
    gm_reshape_config reshape = {.shape = {1, {143}}};
    assert_int_equal(gm_net_add(net, &gm_layer_max_pool, &pool, 1, &node, NULL, &node, &err),
                     GM_ERR_INPUT);
    assert_int_equal(gm_net_add(net, &gm_layer_reshape, &reshape, 1, &node, NULL, &node, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "144"));
    assert_int_equal(gm_net_add(net, &gm_layer_conv, &conv[0], 2, inputs, NULL, &node, &err),
                     GM_ERR_INPUT);
    gm_net_free(net);
}

/* With `ceil` a last window may reach beyond the image: PyTorch's rule. */
static void ceil_mode(void **state)
{
    (void)state;
    const size_t in[] = {5, 6, 7, 8}, out[] = {2, 3, 3, 4}; /* kernel 3, stride 2 */
    gm_window_config config = gm_window_square(3, 2, 0, false);
    config.ceil = true;
    for (int i = 0; i < 4; i++) {
        gm_shape shape = {3, {1, in[i], in[i]}}, result;
        gm_window w;
        gm_error err = {0};
        expect_ok(gm_window_over(&config, &shape, 0, &w, &result, &err), &err);
        assert_int_equal(w.out[0], out[i]);
        assert_int_equal(result.dim[2], out[i]);
    }
}

/* Windows of 3 in steps of 2 over 6 numbers and one zero on either side, the last of which reaches
 * one beyond the zero behind: it counts one number and the zero, as PyTorch and later opsets do. */
static void mean_beyond_the_padding(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, 4, 5, 7}, s[] = {6, 6, 6, 6};
    const double mean[] = {1, 3, 16 / 3.0, 3.5}, inside[] = {1.5, 3, 16 / 3.0, 7};
    const double back[] = {2, 4, 2, 4, 2, 5};
    gm_window_config config = gm_window_square(3, 2, 1, true);
    config.ceil = true;
    config.pad_after[1] = 1;
    for (int padded = 0; padded < 2; padded++) {
        gm_shape shape = {2, {6, 1}}, result;
        gm_window w;
        gm_error err = {0};
        double y[4], d[6];
        expect_ok(gm_window_over(&config, &shape, 0, &w, &result, &err), &err);
        assert_int_equal(result.dim[0], 4);
        const gm_kernels *k = gm_kernels_get(GM_F64);
        k->mean_pool(&w, padded, 1, x, y);
        k->mean_pool_spread(&w, padded, 1, s, false, d);
        for (int i = 0; i < 4; i++) {
            assert_at_most(fabs(y[i] - (padded ? mean : inside)[i]), 1e-15, "mean %d", i);
        }
        for (int i = 0; padded && i < 6; i++) {
            assert_at_most(fabs(d[i] - back[i]), 1e-15, "signal %d", i);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(check_diagonals, &nets),
        cmocka_unit_test_prestate(check_gram_forms, &nets),
        cmocka_unit_test_prestate(check_gradients, &nets),
        cmocka_unit_test_prestate(check_products, &nets),
        cmocka_unit_test_prestate(check_dense_matrices, &nets),
        cmocka_unit_test_prestate(check_nothing_else_matters, &nets),
        cmocka_unit_test_prestate(check_single_precision, &nets),
        cmocka_unit_test(batches),
        cmocka_unit_test(built_in),
        cmocka_unit_test(misfits),
        cmocka_unit_test(ceil_mode),
        cmocka_unit_test(mean_beyond_the_padding),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "images");
}
