/* Values of the layer kinds that move numbers, multiply activations or act by position, against
 * loops over indices in both precisions; and what these kinds refuse. Their derivatives are the
 * matter of test_sequence.c. */
#include "support.h"

#include "image_nets.h"

/* Number `index` of an array of this shape. */
static size_t flat_index(const gm_shape *shape, const size_t *index)
{
    size_t at = 0;
    for (int i = 0; i < shape->rank; i++) {
        at = at * shape->dim[i] + index[i];
    }
    return at;
}

/* The output of a layer for two samples, [2, out]: in both precisions, which differ by the rounding
 * of sums of at most eight products. */
static double *layer_value(const gm_layer_kind *kind, const void *config, int inputs,
                           const gm_shape *shape, double *const *in, const double *param,
                           gm_shape *out)
{
    gm_error err = {0};
    gm_tensor tensor[GM_MAX_TENSORS];
    int tensors;
    expect_ok(kind->infer(config, inputs, shape, out, tensor, &tensors, &err), &err);
    size_t size = 2 * gm_shape_size(out), p = 0;
    for (int t = 0; t < tensors; t++) {
        p += gm_shape_size(&tensor[t].shape);
    }
    double *value[2];
    for (int d = 0; d < 2; d++) {
        const gm_kernels *k = gm_kernels_get(d ? GM_F32 : GM_F64);
        void *x[2], *w = calloc(p + 1, k->size), *y = calloc(size, k->size);
        gm_layer_call c = {.k = k, .config = config, .n = 2, .b = 1, .inputs = inputs};
        for (int i = 0; i < inputs; i++) {
            size_t numbers = 2 * gm_shape_size(&shape[i]);
            x[i] = calloc(numbers, k->size);
            k->from_double(numbers, in[i], x[i]);
            c.in[i] = x[i];
        }
        if (p) k->from_double(p, param, w);
        c.in_shape = shape;
        c.out_shape = out;
        c.param = w;
        c.out = y;
        kind->value(&c);
        value[d] = calloc(size, sizeof(double));
        k->to_double(size, y, value[d]);
        for (int i = 0; i < inputs; i++) {
            free(x[i]);
        }
        free(w);
        free(y);
    }
    for (size_t i = 0; i < size; i++) {
        assert_at_most(fabs(value[0][i] - value[1][i]), 1e-5, "%s in single precision", kind->name);
    }
    free(value[1]);
    return value[0];
}

/* Where element `index` of the output stands in the input, or (size_t)-1 for a zero. */
typedef size_t source_of(const gm_shape *in, const size_t *index);

static size_t transposed_from(const gm_shape *in, const size_t *o)
{
    return flat_index(in, (size_t[]){o[1], o[2], o[0]}); /* axis = {2, 0, 1} */
}

static size_t sliced_from(const gm_shape *in, const size_t *o)
{
    return flat_index(in, (size_t[]){o[0], 2 - 2 * o[1], 1 + 2 * o[2]});
}

static size_t expanded_from(const gm_shape *in, const size_t *o)
{
    return flat_index(in, (size_t[]){o[1], 0, o[3]});
}

static size_t padded_from(const gm_shape *in, const size_t *o)
{
    bool inside = o[0] >= 1 && o[0] < 3 && o[1] < 3 && o[2] >= 2 && o[2] < 6;
    return inside ? flat_index(in, (size_t[]){o[0] - 1, o[1], o[2] - 2}) : (size_t)-1;
}

static const double gathered[] = {2, 0, 2, 1};
static size_t gathered_from(const gm_shape *in, const size_t *o)
{
    return flat_index(in, (size_t[]){o[0], (size_t)gathered[o[1]], o[2]});
}

static void moved_values(void **state)
{
    (void)state;
    const gm_transpose_config turn = {.axis = {2, 0, 1}};
    const gm_slice_config slice = {.start = {0, 2, 1}, .count = {0, 2, 2}, .step = {0, -2, 2}};
    const gm_expand_config expand = {.shape = {4, {2, 2, 5, 4}}};
    const gm_pad_config pad = {.before = {1, 0, 2}, .after = {0, 1, 1}};
    const gm_gather_config gather = {.axis = 1, .count = 4, .index = gathered};
    const struct {
        const gm_layer_kind *kind;
        const void *config;
        source_of *from;
        size_t middle; /* of the input [2, middle, 4] */
        gm_shape out;
    } moves[] = {
        {&gm_layer_transpose, &turn, transposed_from, 3, {3, {4, 2, 3}}},
        {&gm_layer_slice, &slice, sliced_from, 3, {3, {2, 2, 2}}},
        {&gm_layer_expand, &expand, expanded_from, 1, {4, {2, 2, 5, 4}}},
        {&gm_layer_pad, &pad, padded_from, 3, {3, {3, 4, 7}}},
        {&gm_layer_gather, &gather, gathered_from, 3, {3, {2, 4, 4}}},
    };
    for (size_t m = 0; m < sizeof moves / sizeof *moves; m++) {
        gm_shape in = {3, {2, moves[m].middle, 4}}, out;
        size_t size = gm_shape_size(&in);
        double *x = image_numbers(2 * size, 3, 1);
        double *y = layer_value(moves[m].kind, moves[m].config, 1, &in, &x, NULL, &out);
        assert_true(gm_shape_equal(&out, &moves[m].out));
        size_t numbers = gm_shape_size(&out), index[GM_MAX_RANK];
        for (size_t i = 0; i < 2 * numbers; i++) {
            size_t rest = i % numbers;
            for (int a = out.rank - 1; a >= 0; a--) {
                index[a] = rest % out.dim[a];
                rest /= out.dim[a];
            }
            size_t from = moves[m].from(&in, index);
            double expected = from == (size_t)-1 ? 0 : x[i / numbers * size + from];
            if (y[i] != expected) fail_msg("%s: number %zu", moves[m].kind->name, i);
        }
        free(x);
        free(y);
    }
}

/* All four ways to store the operands, [2, 1, r, q] times [3, q, s]: leading axes [2, 3]. */
static void product_values(void **state)
{
    (void)state;
    enum { R = 3, Q = 5, S = 2 };
    for (int way = 0; way < 4; way++) {
        bool ta = way & 1, tb = way & 2;
        const gm_matmul_config config = {.transpose_a = ta, .transpose_b = tb, .factor = -0.5};
        const gm_shape in[] = {{4, {2, 1, ta ? Q : R, ta ? R : Q}},
                               {3, {3, tb ? S : Q, tb ? Q : S}}};
        double *x[] = {image_numbers(2 * 2 * R * Q, 3, 1), image_numbers(2 * 3 * Q * S, 4, 1)};
        gm_shape out;
        double *y = layer_value(&gm_layer_matmul, &config, 2, in, x, NULL, &out);
        assert_true(gm_shape_equal(&out, &(gm_shape){4, {2, 3, R, S}}));
        for (size_t i = 0; i < 2 * 2 * 3 * R * S; i++) {
            size_t n = i / (6 * R * S), u = i / (3 * R * S) % 2, v = i / (R * S) % 3;
            size_t r = i / S % R, s = i % S;
            const double *a = x[0] + (n * 2 + u) * R * Q, *b = x[1] + (n * 3 + v) * Q * S;
            double sum = 0;
            for (size_t q = 0; q < Q; q++) {
                sum += a[ta ? q * R + r : r * Q + q] * b[tb ? s * Q + q : q * S + s];
            }
            assert_at_most(fabs(y[i] + 0.5 * sum), 1e-14, "way %d, number %zu", way, i);
        }
        free(x[0]);
        free(x[1]);
        free(y);
    }
}

/* Dense layers on [2, 3] samples, in both layouts, by position and once; rows of a table. */
static void weighted_values(void **state)
{
    (void)state;
    enum { T = 2, U = 4 };
    double *x = image_numbers(2 * T * 3, 3, 1), *w = image_numbers(U * 6 + U, 4, 1);
    gm_shape in = {2, {T, 3}}, out;
    for (int way = 0; way < 4; way++) {
        const gm_dense_config config = {
            .units = U, .bias = true, .by_position = way & 1, .transposed = way & 2};
        size_t width = config.by_position ? 3 : 6, rows = 12 / width;
        double *y = layer_value(&gm_layer_dense, &config, 1, &in, &x, w, &out);
        assert_int_equal(out.rank, config.by_position ? 2 : 1);
        for (size_t i = 0; i < rows * U; i++) {
            size_t u = i % U;
            double sum = w[U * width + u];
            for (size_t j = 0; j < width; j++) {
                sum += x[i / U * width + j] * w[config.transposed ? j * U + u : u * width + j];
            }
            assert_at_most(fabs(y[i] - sum), 1e-14, "way %d, number %zu", way, i);
        }
        free(y);
    }
    const gm_embedding_config table = {.vocabulary = 5, .width = 3};
    for (size_t i = 0; i < 2 * T * 3; i++) {
        x[i] = (double)(i * 3 % 5);
    }
    double *y = layer_value(&gm_layer_embedding, &table, 1, &in, &x, w, &out);
    assert_true(gm_shape_equal(&out, &(gm_shape){3, {T, 3, 3}}));
    for (size_t i = 0; i < 2 * T * 9; i++) {
        assert_true(y[i] == w[(size_t)x[i / 3] * 3 + i % 3]);
    }
    free(y);
    free(x);
    free(w);
}

/* What does not fit is refused by the layer, with what was found and expected. */
static void refusals(void **state)
{
    (void)state;
    const double index[] = {0, 3};
    const gm_transpose_config twice = {.axis = {1, 1, 0}};
    const gm_slice_config beyond = {.start = {1}, .count = {2}, .step = {1}};
    const gm_slice_config before = {.start = {0, 1}, .count = {0, 2}, .step = {0, -2}};
    const gm_slice_config still = {.start = {1}, .count = {1}, .step = {0}};
    const gm_expand_config narrow = {.shape = {2, {3, 4}}}, other = {.shape = {3, {2, 5, 4}}};
    const gm_pad_config huge = {.before = {0, (size_t)-1}};
    const gm_gather_config gather = {.axis = 1, .count = 2, .index = index};
    const gm_gather_config axis = {.axis = 3, .count = 2, .index = index};
    const gm_embedding_config empty = {.vocabulary = 0, .width = 3};
    const gm_matmul_config plain = {.factor = 1};
    const struct {
        const gm_layer_kind *kind;
        const void *config;
        int inputs;
        const char *message;
    } bad[] = {
        {&gm_layer_transpose, &twice, 1, "transpose1: axis 1 in place 1, expected each of 0 ... 2"},
        {&gm_layer_slice, &beyond, 1, "slice1: 2 numbers from 1 in steps of 1 along axis 0"},
        {&gm_layer_slice, &before, 1, "2 numbers from 1 in steps of -2 along axis 1, which has 3"},
        {&gm_layer_slice, &still, 1, "in steps of 0"},
        {&gm_layer_expand, &narrow, 1, "expand1: shape of rank 2 for an input of rank 3"},
        {&gm_layer_expand, &other, 1, "axis 1 of length 3, expected 1 or 5"},
        {&gm_layer_pad, &huge, 1, "zeros around axis 1: too many"},
        {&gm_layer_gather, &gather, 1, "index 3 in place 1, expected whole numbers 0 ... 2"},
        {&gm_layer_gather, &axis, 1, "axis 3, expected 0 ... 2"},
        {&gm_layer_embedding, &empty, 1, "a table [0, 3]"},
        {&gm_layer_matmul, &plain, 1, "1 inputs, expected two of rank 2 or more"},
        {&gm_layer_matmul, &plain, 2, "rows of length 4 against columns of length 3"},
    };
    const gm_shape input = {3, {2, 3, 4}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gm_error err = {0};
        gm_net *net;
        const int inputs[] = {0, 0};
        int node;
        expect_ok(gm_net_create("test", &input, &net, &err), &err);
        gm_status status =
            gm_net_add(net, bad[i].kind, bad[i].config, bad[i].inputs, inputs, NULL, &node, &err);
        assert_int_equal(status, GM_ERR_INPUT);
        if (!strstr(err.message, bad[i].message)) fail_msg("%zu: %s", i, err.message);
        gm_net_free(net);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved_values),
        cmocka_unit_test(product_values),
        cmocka_unit_test(weighted_values),
        cmocka_unit_test(refusals),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "layer values");
}
