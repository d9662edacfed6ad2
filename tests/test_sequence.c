/* Layer kinds that sequence models are made of, in small nets: products of activations, dense
 * layers by position, views, gather, embedding (tests/net_checks.h). */
#include "support.h"

#include "bound/gibbs.h"
#include "bound/measures.h"
#include "data/dataset.h"
#include "data/npy.h"
#include "net_checks.h"

static int add_dense_at(gm_net *net, size_t units, bool bias, bool transposed)
{
    gm_dense_config config = {
        .units = units, .bias = bias, .by_position = true, .transposed = transposed};
    return add_layer(net, &gm_layer_dense, &config);
}

static int join(gm_net *net, const gm_layer_kind *kind, const void *config, int a, int b)
{
    gm_error err = {0};
    const int ends[] = {a, b};
    int node;
    expect_ok(gm_net_add(net, kind, config, 2, ends, NULL, &node, &err), &err);
    return node;
}

static int after(gm_net *net, const gm_layer_kind *kind, const void *config, int input)
{
    gm_error err = {0};
    int node;
    expect_ok(gm_net_add(net, kind, config, 1, &input, NULL, &node, &err), &err);
    return node;
}

/* [3, 4] samples: dense layers in both layouts by position and once, tanh between. */
static void build_positions(gm_net *net, bool other)
{
    (void)other;
    add_dense_at(net, 5, true, false);
    add_act(net, GM_ACT_TANH);
    add_dense_at(net, 3, true, true);
    add_act(net, GM_ACT_GELU);
    add_dense_at(net, 2, false, true);
    gm_dense_config last = {.units = 3, .bias = true, .transposed = true};
    add_layer(net, &gm_layer_dense, &last);
}

/* The same with kinks: diag(H) = diag(G). */
static void build_piecewise_positions(gm_net *net, bool other)
{
    (void)other;
    add_dense_at(net, 5, true, true);
    add_act(net, GM_ACT_RELU);
    add_dense_at(net, 3, true, false);
    add_act(net, GM_ACT_LEAKY_RELU);
    add_dense(net, 3);
}

/* [4, 6] samples in 2 heads of 3: q k' over the square root of 3, tanh in the place of a softmax,
 * times v: plain, transposed and broadcast products. */
static void build_heads(gm_net *net, bool other)
{
    (void)other;
    gm_reshape_config heads = {.shape = {3, {4, 2, 3}}}, flat = {.shape = {2, {4, 6}}};
    gm_transpose_config turn = {.axis = {1, 0, 2}}, key = {.axis = {1, 2, 0}};
    gm_matmul_config scores = {.factor = 0.5773502691896258}, mix = {.factor = 1};
    gm_dense_config dense = {.units = 6, .bias = true, .by_position = true};
    int ends[3];
    for (int i = 0; i < 3; i++) {
        dense.transposed = i == 1;
        int all = after(net, &gm_layer_dense, &dense, 0);
        ends[i] = after(net, &gm_layer_transpose, i == 1 ? &key : &turn,
                        after(net, &gm_layer_reshape, &heads, all));
    }
    int q = ends[0], k = ends[1], v = ends[2];
    int weights = after(net, &gm_layer_activation, &(gm_activation_config){GM_ACT_TANH},
                        join(net, &gm_layer_matmul, &scores, q, k));
    int mixed = join(net, &gm_layer_matmul, &mix, weights, v);
    after(net, &gm_layer_reshape, &flat, after(net, &gm_layer_transpose, &turn, mixed));
    add_dense(net, 3);
}

/* [2, 3, 4] samples: products with both operands stored transposed, of a node with itself, and
 * broadcast over the leading axes from either side and from both. */
static void build_products(gm_net *net, bool other)
{
    (void)other;
    gm_matmul_config both = {.transpose_a = true, .transpose_b = true, .factor = -0.7};
    gm_matmul_config left = {.transpose_a = true, .factor = 0.3};
    gm_matmul_config right = {.transpose_b = true, .factor = 0.5};
    gm_slice_config one = {.start = {1}, .count = {1}, .step = {1}};
    gm_reshape_config matrix = {.shape = {2, {3, 4}}};
    int x = add_dense_at(net, 4, true, false);
    int first = after(net, &gm_layer_reshape, &matrix, after(net, &gm_layer_slice, &one, x));
    int square = join(net, &gm_layer_matmul, &right, x, x);         /* [2, 3, 3] */
    int across = join(net, &gm_layer_matmul, &left, first, square); /* [2, 4, 3] */
    int back = join(net, &gm_layer_matmul, &both, across, first);   /* [2, 3, 3] */
    int last = join(net, &gm_layer_matmul, &right, first, x);       /* [2, 3, 3] */
    const gm_concat_config side = {.axis = 0};
    gm_reshape_config wide = {.shape = {4, {2, 1, 3, 4}}}, tall = {.shape = {3, {3, 2, 4}}};
    gm_reshape_config rows = {.shape = {3, {4, 3, 3}}};
    int outer = join(net, &gm_layer_matmul, &right, after(net, &gm_layer_reshape, &wide, x),
                     after(net, &gm_layer_reshape, &tall, x)); /* [2, 3, 3, 2] */
    back = join(net, &gm_layer_concat, &side, back, last);
    join(net, &gm_layer_concat, &side, back, after(net, &gm_layer_reshape, &rows, outer));
    add_act(net, GM_ACT_TANH);
    add_dense(net, 3);
}

/* [3, 4] samples through every view, forward and backward, with a node that several read. */
static void build_views(gm_net *net, bool other)
{
    (void)other;
    gm_error err = {0};
    const double index[] = {2, 0, 2, 1, 2};
    gm_slice_config strided = {.start = {2, 3}, .count = {2, 2}, .step = {-2, -3}};
    gm_slice_config middle = {.start = {0, 1}, .count = {0, 2}, .step = {0, 1}};
    gm_transpose_config turn = {.axis = {2, 0, 1}};
    gm_pad_config pad = {.before = {1, 0, 2}, .after = {0, 1, 1}};
    gm_expand_config wide = {.shape = {3, {2, 3, 4}}}, tall = {.shape = {3, {2, 3, 5}}};
    gm_slice_config column = {.start = {0, 1}, .count = {0, 1}, .step = {0, 1}};
    gm_gather_config gather = {.axis = 0, .count = 5};
    const gm_concat_config side = {.axis = 0};
    expect_ok(gm_net_keep(net, 5, index, &gather.index, &err), &err);
    int x = add_dense_at(net, 4, true, false);
    int a = after(net, &gm_layer_expand, &wide, x);
    a = after(net, &gm_layer_pad, &pad, after(net, &gm_layer_transpose, &turn, a));
    int b = after(net, &gm_layer_slice, &strided, x), c = after(net, &gm_layer_slice, &middle, x);
    int d = after(net, &gm_layer_gather, &gather, c);
    int e = after(net, &gm_layer_expand, &tall, after(net, &gm_layer_slice, &column, c));
    const int flats[] = {a, b, c, d, e};
    int nodes[5];
    for (int i = 0; i < 5; i++) {
        gm_reshape_config flat = {
            .shape = {.rank = 1, .dim = {gm_shape_size(&net->node[flats[i]].shape)}}};
        nodes[i] = after(net, &gm_layer_reshape, &flat, flats[i]);
    }
    expect_ok(gm_net_add(net, &gm_layer_concat, &side, 5, nodes, NULL, &x, &err), &err);
    add_act(net, GM_ACT_SOFTPLUS);
    add_dense(net, 3);
}

/* [4] tokens: an embedding, a gather along the width, tanh, a dense layer. */
static void build_tokens(gm_net *net, bool other)
{
    (void)other;
    gm_error err = {0};
    const double index[] = {2, 1, 1, 0};
    gm_gather_config gather = {.axis = 1, .count = 4};
    gm_embedding_config table = {.vocabulary = 5, .width = 3};
    expect_ok(gm_net_keep(net, 4, index, &gather.index, &err), &err);
    add_layer(net, &gm_layer_embedding, &table);
    add_layer(net, &gm_layer_gather, &gather);
    add_act(net, GM_ACT_TANH);
    add_dense(net, 3);
}

/* [2] tokens: a table that is also the last layer's weight, [3, 4]. */
static void build_tied_table(gm_net *net, bool other)
{
    (void)other;
    gm_error err = {0};
    gm_embedding_config table = {.vocabulary = 3, .width = 4};
    gm_dense_config dense = {.units = 4, .bias = true}, out = {.units = 3};
    int owner = add_layer(net, &gm_layer_embedding, &table), last;
    add_layer(net, &gm_layer_dense, &dense);
    last = add_act(net, GM_ACT_TANH);
    expect_ok(gm_net_add_tied(net, &gm_layer_dense, &out, 1, &last, owner, &last, &err), &err);
}

/* [3, 4] samples: one layer three times, with kinks: linear in no single weight. */
static void build_tied_layers(gm_net *net, bool other)
{
    (void)other;
    gm_error err = {0};
    gm_dense_config dense = {.units = 4, .bias = true, .by_position = true};
    int last = add_layer(net, &gm_layer_dense, &dense), owner = last;
    for (int i = 0; i < 2; i++) {
        last = add_act(net, GM_ACT_RELU);
        expect_ok(gm_net_add_tied(net, &gm_layer_dense, &dense, 1, &last, i ? last - 1 : owner,
                                  &last, &err),
                  &err);
    }
    add_dense(net, 3);
}

/* [4] tokens to logits [4, 3] at their positions, by an embedding, tanh, neighbours mixed, a dense
 * layer by position; some labels masked (tests/image_nets.h). */
static void build_labels(gm_net *net, bool other)
{
    (void)other;
    gm_embedding_config table = {.vocabulary = 5, .width = 3};
    gm_matmul_config mix = {.transpose_b = true, .factor = 0.4}, apply = {.factor = 1};
    int x = add_layer(net, &gm_layer_embedding, &table);
    int scores = join(net, &gm_layer_matmul, &mix, x, x);
    scores = after(net, &gm_layer_activation, &(gm_activation_config){GM_ACT_TANH}, scores);
    join(net, &gm_layer_matmul, &apply, scores, x);
    add_act(net, GM_ACT_GELU);
    add_dense_at(net, 3, true, true);
}

/* curvlinops' case 10-5-3 on sequences of five, here seven of them in chunks that do not divide;
 * diag(H) = diag(G) comes from the factors of every position. */
static void build_piecewise_labels(gm_net *net, bool other)
{
    (void)other;
    add_dense_at(net, 5, true, false);
    add_act(net, GM_ACT_RELU);
    add_dense_at(net, 3, true, false);
}

static const image_case cases[] = {
    {"positions", build_positions, {2, {3, 4}}, 5, 3, true, false},
    {"piecewise positions", build_piecewise_positions, {2, {3, 4}}, 5, 3, false, false},
    {"heads", build_heads, {2, {4, 6}}, 4, 3, true, false},
    {"products", build_products, {3, {2, 3, 4}}, 4, 3, true, true},
    {"views", build_views, {2, {3, 4}}, 4, 3, true, false},
    {"labels", build_labels, {1, {4}}, 5, 3, true, false},
    {"piecewise labels", build_piecewise_labels, {2, {5, 10}}, 7, 3, false, false},
    {"tied table", build_tied_table, {1, {2}}, 6, 3, true, false},
    {"tied layers", build_tied_layers, {2, {3, 4}}, 4, 3, false, false},
    {"tokens", build_tokens, {1, {4}}, 6, 3, true, false},
};
enum { CASES = sizeof cases / sizeof *cases, LABELS = 5, TIED_LAYERS = 8 };
static net_list nets = {cases, CASES};

/* out [p] = the Hessian of sample i alone times v; returns what its loss alone is multiplied with
 * in its loss as one of the set: there a position weighs n / scored, here 1 / its own number. */
static double image_one_hessian(const image_problem *t, const image_case *c, size_t i,
                                const double *v, double *out)
{
    gm_error err = {0};
    gm_dataset *data;
    gm_problem_options options;
    gm_problem_options_default(&options);
    image_problem one = *t;
    size_t scored = 0, in = gm_net_inputs(t->net), T = t->positions;
    for (size_t s = 0; s < T; s++) {
        scored += t->label[i * T + s] != GM_LABEL_MASKED;
    }
    expect_ok(gm_data_from_sequences("one", 1, &c->input, t->x + i * in, T, t->label + i * T,
                                     GM_F64, c->classes, &data, &err),
              &err);
    expect_ok(gm_problem_create(t->net, data, &options, &one.problem, &err), &err);
    expect_ok(gm_linearize(one.problem, t->theta, &one.lin, &err), &err);
    image_product(&one, GM_HESSIAN, v, out);
    gm_linearization_free(one.lin);
    gm_problem_free(one.problem);
    gm_dataset_free(data);
    return t->data->weight * (double)scored;
}

/* Loss and share of wrong predictions are means over the positions that are not masked, found one
 * by one in problems of one sample and one label; a mini-batch is the mean of its samples. */
static void mean_over_positions(void **state)
{
    (void)state;
    const size_t batch[] = {4, 0, 0, 3};
    image_problem t;
    gm_error err = {0};
    image_open(&t, &cases[LABELS], GM_F64, true, 2, 0);
    double *g = numbers(t.p), *batch_g = numbers(t.p), *sum = numbers(t.p), *one = numbers(t.p);
    double loss, error, total = 0, wrong = 0, batch_total = 0;
    size_t scored = 0, T = t.positions;
    for (size_t i = 0; i < t.n * T; i++) {
        scored += t.label[i] != GM_LABEL_MASKED;
    }
    for (size_t i = 0; i < t.n; i++) {
        size_t times = 0;
        for (size_t b = 0; b < 4; b++) {
            times += batch[b] == i;
        }
        for (size_t s = 0; s < T; s++) {
            double least = INFINITY, mine;
            int32_t label[4] = {GM_LABEL_MASKED, GM_LABEL_MASKED, GM_LABEL_MASKED, GM_LABEL_MASKED};
            int32_t own = t.label[i * T + s], best = 0;
            if (own == GM_LABEL_MASKED) continue;
            for (label[s] = 0; label[s] < 3; label[s]++) {
                double l = image_sample(&t, i, 3, label, NULL, one);
                if (l < least) best = label[s];
                least = fmin(l, least);
            }
            label[s] = own;
            mine = image_sample(&t, i, 3, label, NULL, one);
            total += mine / (double)scored;
            wrong += (best != own) / (double)scored;
            batch_total += (double)times / 4 * mine * t.data->weight;
            for (size_t j = 0; j < t.p; j++) {
                sum[j] += one[j] / (double)scored;
                batch_g[j] += (double)times / 4 * one[j] * t.data->weight;
            }
        }
    }
    assert_true(scored < t.n * T && wrong > 0 && wrong < 1);
    expect_ok(gm_problem_gradient(t.problem, t.theta, &loss, &error, g, &err), &err);
    assert_at_most(fabs(loss - total), 1e-14 * total, "loss");
    assert_at_most(fabs(error - wrong), 1e-15, "share of wrong predictions");
    assert_at_most(relative_error(t.p, g, sum), 1e-13, "gradient");
    assert_at_most(fabs(gm_linearization_error_rate(t.lin) - wrong), 1e-15, "linearization");
    expect_ok(gm_problem_batch_gradient(t.problem, t.theta, 4, batch, &loss, g, &err), &err);
    assert_at_most(fabs(loss - batch_total), 1e-14 * batch_total, "loss of a batch");
    assert_at_most(relative_error(t.p, g, batch_g), 1e-13, "gradient of a batch");
    free(g);
    free(batch_g);
    free(sum);
    free(one);
    image_close(&t);
}

/* S = (1/n) sum H_i^2 and the forms u . H_i v, by H_i from problems of one sample each. */
static void squares_and_forms(void **state)
{
    (void)state;
    const int which[] = {LABELS, TIED_LAYERS};
    for (int w = 0; w < 2; w++) {
        const image_case *c = &cases[which[w]];
        image_problem t;
        gm_error err = {0};
        gm_operator op;
        image_open(&t, c, GM_F64, true, 2, 0);
        double *u = image_numbers(2 * t.p, 7, 1), *found = numbers(t.p), *sum = numbers(t.p);
        double *hu = numbers(2 * t.p), *form = numbers(3 * t.n);
        expect_ok(gm_squares_operator(t.lin, GM_ALL_LAYERS, &op, &err), &err);
        expect_ok(gm_operator_apply(&op, 1, u, found, &err), &err);
        gm_operator_destroy(&op);
        expect_ok(gm_hessian_forms(t.lin, 2, u, form, &err), &err);
        for (size_t i = 0; i < t.n; i++) {
            double share = image_one_hessian(&t, c, i, u, hu), uhv = 0;
            image_one_hessian(&t, c, i, hu, hu + t.p);
            for (size_t j = 0; j < t.p; j++) {
                sum[j] += share * share * hu[t.p + j] / (double)t.n;
                uhv += share * hu[j] * u[t.p + j];
            }
            assert_at_most(fabs(form[3 * i + 1] - uhv), 1e-12 * norm_of(t.p, hu) * norm_of(t.p, u),
                           "%s: form of sample %zu", c->name, i);
        }
        assert_at_most(relative_error(t.p, found, sum), 1e-12, "%s: S", c->name);
        free(u);
        free(found);
        free(sum);
        free(hu);
        free(form);
        image_close(&t);
    }
}

static void write_npy(const char *path, gm_npy_type type, size_t rows, size_t columns,
                      const void *values)
{
    gm_error err = {0};
    const size_t dim[] = {rows, columns};
    expect_ok(gm_npy_write(path, type, columns ? 2 : 1, dim, values, &err), &err);
}

/* Tokens and labels from files, both integers; subset, redrawn labels, written and read again; what
 * is refused. */
static void files(void **state)
{
    (void)state;
    const char *spec = "npy:test_sequence_x.npy,test_sequence_y.npy";
    const int64_t x[] = {0, 1, 2, 3, 4, 5, 6, 7}, y[] = {1, -100, 2, 0, 2, 2, -100, -100};
    const int64_t bad[] = {1, -100, 2, 0, -1, 2, 0, 0}, none[] = {-100, -100, -100, -100};
    gm_error err = {0};
    gm_dataset *data = NULL, *again = NULL;
    gm_shape shape;
    size_t classes;
    gm_data_options options;
    gm_data_options_default(&options);
    write_npy("test_sequence_x.npy", GM_NPY_I8, 4, 2, x);
    write_npy("test_sequence_y.npy", GM_NPY_I8, 4, 2, y);
    expect_ok(gm_data_describe(spec, &shape, &classes, &err), &err);
    assert_int_equal(classes, 3);
    expect_ok(gm_data_samples(spec, false, &classes, &err), &err);
    assert_int_equal(classes, 4);
    expect_ok(gm_data_load(spec, &options, &data, &err), &err);
    assert_int_equal(data->positions, 2);
    assert_int_equal(data->classes, 3);
    assert_true(data->weight == 4.0 / 5.0);
    for (size_t i = 0; i < 8; i++) {
        assert_true(((double *)data->x)[i] == (double)x[i] && data->label[i] == y[i]);
    }
    expect_ok(gm_dataset_write(data, "test_sequence_a.npy,test_sequence_b.npy", &err), &err);
    expect_ok(gm_data_load("npy:test_sequence_a.npy,test_sequence_b.npy", &options, &again, &err),
              &err);
    assert_memory_equal(again->label, data->label, 8 * sizeof *data->label);
    gm_dataset_free(again);
    assert_int_equal(gm_dataset_write(data, "test_sequence.csv", &err), GM_ERR_USAGE);
    assert_int_equal(gm_dataset_one_hot(data, &err), GM_ERR_INPUT);
    const size_t picks[] = {3, 0};
    expect_ok(gm_dataset_select(data, 2, picks, "two", &again, &err), &err);
    assert_true(again->label[0] == -100 && again->label[2] == 1 && again->weight == data->weight);
    gm_dataset_free(again);

    gm_net *net; /* a net with one label a sample, and one with other positions */
    gm_problem *problem;
    gm_problem_options o;
    gm_problem_options_default(&o);
    expect_ok(gm_net_from_spec("mlp:2-3", NULL, 0, &net, &err), &err);
    assert_int_equal(gm_problem_create(net, data, &o, &problem, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "labels at 2 positions, but the output of mlp:2-3 has rank "
                                        "1 and 3 rows, expected [2, K]"));
    gm_net_free(net);
    gm_dataset_free(data);

    options.random_labels = 1;
    expect_ok(gm_data_load(spec, &options, &data, &err), &err);
    assert_int_equal(data->redrawn, 5);
    assert_true(data->label[1] == -100 && data->label[7] == -100);
    gm_dataset_free(data);
    gm_data_options_default(&options);
    const struct {
        const int64_t *y;
        size_t columns, classes;
        const char *message;
    } refused[] = {{y, 2, 4, "label 2, expected 0 ... 1 (K = 2)"},
                   {y, 2, 5, "labels at 2 positions, but the model's 5 outputs"},
                   {bad, 2, 0, "row 2 (counted from 0): label -1, expected 0"},
                   {bad, 0, 0, "label -100, expected 0"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        options.classes = refused[i].classes;
        write_npy("test_sequence_y.npy", GM_NPY_I8, 4, refused[i].columns, refused[i].y);
        assert_int_equal(gm_data_load(spec, &options, &data, &err), GM_ERR_INPUT);
        if (!strstr(err.message, refused[i].message)) fail_msg("%zu: %s", i, err.message);
    }
    write_npy("test_sequence_x.npy", GM_NPY_I8, 2, 2, x);
    write_npy("test_sequence_y.npy", GM_NPY_I8, 2, 2, none);
    options.classes = 0;
    assert_int_equal(gm_data_load(spec, &options, &data, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "all 4 labels are -100 (masked)"));
    const char *made[] = {"x", "y", "a", "b"};
    for (int i = 0; i < 4; i++) {
        char path[32];
        snprintf(path, sizeof path, "test_sequence_%s.npy", made[i]);
        remove(path);
    }
}

/* C14: the squared loss at positions, targets [n, T, K] from a file. A net of dense layers by
 * position is the mlp on n T samples: loss, gradient, H and G are T times those, M is put together
 * from the gradients of a sample's positions. All to rounding. */
static void squared_positions(void **state)
{
    (void)state;
    enum { N = 8, T = 5, IN = 8, K = 3, P = 5 * 9 + 3 * 6 };
    const gm_shape sequence = {2, {T, IN}}, flat = {1, {IN}};
    const size_t dim[3] = {N, T, K}, xdim[3] = {N, T, IN};
    gm_error err = {0};
    double *x = image_numbers(N * T * IN, 3, 1), *y = image_numbers(N * T * K, 4, 1),
           *theta = image_numbers(P, 5, 0.5), *v = image_numbers(P, 6, 1), found[P], expected[P],
           weight[N * T], dot = 0;
    expect_ok(gm_npy_write("test_sequence_x.npy", GM_NPY_F8, 3, xdim, x, &err), &err);
    expect_ok(gm_npy_write("test_sequence_y.npy", GM_NPY_F8, 3, dim, y, &err), &err);
    gm_net *net[2];
    gm_dataset *data[2];
    gm_problem *problem[2];
    gm_linearization *lin[2];
    gm_data_options options;
    gm_problem_options o;
    gm_data_options_default(&options);
    gm_problem_options_default(&o);
    options.dtype = GM_F64;
    o.loss = GM_LOSS_SQUARED;
    o.chunk = 6; /* batches of 6 and 2 sequences */
    expect_ok(gm_data_load("npy:test_sequence_x.npy,test_sequence_y.npy", &options, &data[0], &err),
              &err);
    assert_int_equal(data[0]->outputs, T * K);
    expect_ok(gm_data_from_arrays("rows", N * T, &flat, x, NULL, y, K, GM_F64, K, &data[1], &err),
              &err);
    for (int i = 0; i < 2; i++) {
        expect_ok(gm_net_create(i ? "rows" : "sequences", i ? &flat : &sequence, &net[i], &err),
                  &err);
        add_dense_at(net[i], 5, true, false);
        add_act(net[i], GM_ACT_RELU);
        add_dense_at(net[i], K, true, false);
        assert_int_equal(gm_net_parameters(net[i]), P);
        expect_ok(gm_problem_create(net[i], data[i], &o, &problem[i], &err), &err);
        expect_ok(gm_linearize(problem[i], theta, &lin[i], &err), &err);
    }
    double loss = gm_linearization_loss(lin[0]);
    assert_at_most(fabs(loss - T * gm_linearization_loss(lin[1])), 1e-13 * loss, "loss");
    const gm_curvature kinds[] = {GM_HESSIAN, GM_GGN, GM_MOMENT};
    for (int k = -1; k < 3; k++) {
        gm_operator op;
        for (int i = 0; k >= 0 && i < 2; i++) {
            expect_ok(gm_curvature_operator(lin[i], kinds[k], GM_ALL_LAYERS, &op, &err), &err);
            expect_ok(gm_operator_apply(&op, 1, v, i ? expected : found, &err), &err);
            gm_operator_destroy(&op);
        }
        for (int j = 0; j < P; j++) {
            if (k < 0) found[j] = gm_linearization_gradient(lin[0])[j];
            if (k < 0) expected[j] = gm_linearization_gradient(lin[1])[j];
            expected[j] *= T;
            if (k == 2) expected[j] = 0;
        }
        gm_samples *samples;
        expect_ok(gm_samples_create(lin[1], GM_ALL_LAYERS, &samples, &err), &err);
        for (int s = 0; k == 2 && s < N; s++) {
            double g[P];
            for (int r = 0; r < N * T; r++) {
                weight[r] = r / T == s;
            }
            gm_samples_sum(samples, 1, weight, g);
            dot = 0;
            for (int j = 0; j < P; j++) {
                dot += g[j] * v[j] / N;
            }
            for (int j = 0; j < P; j++) {
                expected[j] += dot * g[j];
            }
        }
        gm_samples_free(samples);
        assert_at_most(relative_error(P, found, expected), 1e-12, "%d", k);
    }
    for (int i = 0; i < 2; i++) {
        gm_linearization_free(lin[i]);
        gm_problem_free(problem[i]);
        gm_dataset_free(data[i]);
        gm_net_free(net[i]);
    }
    double *arrays[] = {x, y, theta, v};
    for (int i = 0; i < 4; i++) {
        free(arrays[i]);
    }
    remove("test_sequence_x.npy");
    remove("test_sequence_y.npy");
}

/* One label a sample asks for one row of logits, whatever its shape. */
static void one_row(void **state)
{
    (void)state;
    image_problem t;
    gm_error err = {0};
    gm_dataset *data;
    gm_problem *problem;
    gm_problem_options options;
    gm_problem_options_default(&options);
    image_open(&t, &cases[LABELS], GM_F64, true, 0, 0);
    const int32_t label[5] = {0, 1, 2, 0, 1};
    expect_ok(gm_data_from_arrays("test", 5, &cases[LABELS].input, t.x, label, NULL, 0, GM_F64, 12,
                                  &data, &err),
              &err);
    assert_int_equal(gm_problem_create(t.net, data, &options, &problem, &err), GM_ERR_INPUT);
    assert_string_equal(err.message, "test: one label a sample, but the output of labels has rank "
                                     "2 and 4 rows, expected labels [n, 4] or one row of logits");
    gm_reshape_config column = {.shape = {3, {12, 1, 1}}};
    add_layer(t.net, &gm_layer_reshape, &column);
    expect_ok(gm_problem_create(t.net, data, &options, &problem, &err), &err);
    gm_problem_free(problem);
    gm_dataset_free(data);
    image_close(&t);
}

/* The bound, its draws by layer and the margins are for one label a sample. */
static void no_bound(void **state)
{
    (void)state;
    image_problem t;
    gm_error err = {0};
    gm_gibbs_options o;
    gm_gibbs_sampler sampler;
    gm_local local;
    double quantile[GM_MARGIN_LEVELS];
    gm_gibbs_options_default(&o);
    image_open(&t, &cases[LABELS], GM_F64, true, 0, 0);
    assert_int_equal(gm_gibbs_sampler_open(t.problem, &o, &sampler, &err), GM_ERR_USAGE);
    gm_gibbs_sampler_close(&sampler);
    assert_int_equal(gm_local_open(t.problem, 2, &local, &err), GM_ERR_USAGE);
    gm_local_close(&local);
    assert_int_equal(gm_measure_margins(t.problem, t.theta, quantile, &err), GM_ERR_USAGE);
    assert_string_equal(err.message, "test: the bound is for one label a sample, found 4");
    image_close(&t);
}

/* Tied layers count once and keep no trait of weights met once; other shapes are refused. */
static void ties(void **state)
{
    (void)state;
    gm_error err = {0};
    gm_net *net = image_net(&cases[CASES - 2], true);
    int node, last = net->nodes - 1;
    gm_dense_config other = {.units = 5, .bias = true};
    assert_int_equal(gm_net_layers(net), 2);
    assert_int_equal(gm_net_parameters(net), 4 * 4 + 4 + 12 * 3 + 3);
    assert_string_equal(gm_net_layer_at(net, 1).name, "dense4");
    assert_false(gm_net_piecewise_linear(net));
    assert_false(gm_net_homogeneous(net));
    assert_int_equal(gm_net_add_tied(net, &gm_layer_dense, &other, 1, &last, 1, &node, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message,
                           "a layer (dense) of 20 parameters tied to a layer (dense) of "
                           "20, expected tensors of the same shapes"));
    assert_int_equal(gm_net_add_tied(net, &gm_layer_dense, &other, 1, &last, 2, &node, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "tied to a layer (activation) of 0"));
    gm_net_free(net);
}

/* Tokens outside of the table, and what is no whole number, with sample and place; a table of what
 * another layer computes. */
static void tokens(void **state)
{
    (void)state;
    const double values[] = {5, -1, 1.5};
    const gm_shape input = {1, {4}};
    const int32_t label[] = {0, 1};
    gm_net *net = image_net(&cases[CASES - 1], true);
    for (int i = 0; i <= 3; i++) {
        double x[8] = {0, 1, 2, 3, 4, 0, 0, 0};
        gm_error err = {0};
        gm_dataset *data;
        gm_problem *problem;
        gm_problem_options options;
        char expected[64];
        if (i < 3) x[6] = values[i];
        if (i == 3) { /* a second table, of the output */
            gm_embedding_config table = {.vocabulary = 5, .width = 3};
            add_layer(net, &gm_layer_embedding, &table);
        }
        snprintf(expected, sizeof expected, "token %g at place 2 of sample 1, expected",
                 values[i % 3]);
        gm_problem_options_default(&options);
        expect_ok(gm_data_from_arrays("test", 2, &input, x, label, NULL, 0, GM_F32, 9, &data, &err),
                  &err);
        assert_int_equal(gm_problem_create(net, data, &options, &problem, &err), GM_ERR_INPUT);
        if (i == 3) snprintf(expected, sizeof expected, "embedding2 come from a dense");
        if (!strstr(err.message, expected)) fail_msg("%d: %s", i, err.message);
        gm_dataset_free(data);
    }
    gm_net_free(net);

    const double x[4] = {0};
    gm_error err = {0};
    gm_dataset *data;
    gm_problem *problem;
    gm_problem_options options;
    gm_embedding_config large = {.vocabulary = (1 << 24) + 1, .width = 1};
    gm_problem_options_default(&options);
    expect_ok(gm_net_create("large", &input, &net, &err), &err);
    add_layer(net, &gm_layer_embedding, &large);
    expect_ok(gm_data_from_arrays("test", 1, &input, x, label, NULL, 0, GM_F32, 9, &data, &err),
              &err);
    assert_int_equal(gm_problem_create(net, data, &options, &problem, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "16777217 tokens of layer embedding1 are more than"));
    gm_dataset_free(data);
    gm_net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(check_gradients, &nets),
        cmocka_unit_test_prestate(check_products, &nets),
        cmocka_unit_test_prestate(check_dense_matrices, &nets),
        cmocka_unit_test_prestate(check_diagonals, &nets),
        cmocka_unit_test_prestate(check_gram_forms, &nets),
        cmocka_unit_test_prestate(check_nothing_else_matters, &nets),
        cmocka_unit_test_prestate(check_single_precision, &nets),

        cmocka_unit_test(mean_over_positions),
        cmocka_unit_test(files),
        cmocka_unit_test(squares_and_forms),
        cmocka_unit_test(squared_positions),
        cmocka_unit_test(one_row),
        cmocka_unit_test(no_bound),
        cmocka_unit_test(ties),
        cmocka_unit_test(tokens),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "sequence");
}
