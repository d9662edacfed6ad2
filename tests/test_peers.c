/* The operator cases of other tools' test suites, re-expressed (numbers of the list of peers' cases
 * C12 ... C16), and the traps that some of them fell into (T1, T16). Tolerances are theirs or
 * tighter; where only rounding remains, 1e-12 in double. */
#include "support.h"

#include "kernels/kernels.h"
#include "problems.h"

/* C12: (p u - p <p, u>) against dense diag(p) - p p^T at 8 classes; large vocabularies against a
 * double loop; one logit at +50; equal logits give (u - mean u)/V. */
static void fused_softmax_metric(void **state)
{
    (void)state;
    const size_t sizes[] = {7, 8, 100, 50257, 130000};
    const gm_kernels *k = gm_kernels_get(GM_F32), *k64 = gm_kernels_get(GM_F64);
    for (int variant = 0; variant < 3; variant++) { /* random logits, one at +50, all equal */
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            size_t size = sizes[s];
            double *z = calloc(size, sizeof *z), *u = calloc(size, sizeof *u),
                   *exact = calloc(size, sizeof *exact);
            double *found = calloc(size, sizeof *found), *p = calloc(size, sizeof *p), sum = 0,
                   pu = 0, mean = 0;
            float *f = calloc(4 * size, sizeof *f);
            gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, size, u);
            if (variant < 2) gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 1), 0, size, z);
            if (variant == 1) z[size / 2] = 50;
            k->from_double(size, z, f);
            k->from_double(size, u, f + size);
            for (size_t c = 0; c < size; c++) {
                sum += p[c] = exp((double)f[c] - (variant == 1 ? 50 : 0));
                mean += u[c] / (double)size;
            }
            for (size_t c = 0; c < size; c++) {
                /* about the entry at +50: there p (u - <p, u>) itself would cancel, in double too
                 */
                double shift = variant == 1 ? u[size / 2] : 0;
                pu += (p[c] /= sum) * (u[c] - shift);
            }
            for (size_t c = 0; c < size; c++) {
                exact[c] = variant == 2 ? (u[c] - mean) / (double)size
                                        : p[c] * (u[c] - (variant == 1 ? u[size / 2] : 0) - pu);
            }
            int32_t label = 0;
            k->softmax_loss(1, size, f, &label, NULL, NULL, f + 2 * size, NULL);
            k->softmax_metric(1, size, f + 2 * size, f + size, f + 3 * size);
            k->to_double(size, f + 3 * size, found);
            assert_at_most(relative_error(size, found, exact), 1e-5, "f32, V = %zu, variant %d",
                           size, variant);
            k64->softmax_loss(1, size, z, &label, NULL, NULL, p, NULL);
            k64->softmax_metric(1, size, p, u, found);
            if (variant == 2) {
                assert_at_most(relative_error(size, found, exact), 1e-12, "f64, V = %zu", size);
            }
            free(z);
            free(u);
            free(exact);
            free(found);
            free(p);
            free(f);
        }
    }
}

/* C12, masked rows: all their outputs and their metric are exactly 0, the other rows' bits those of
 * a call without them; probabilities in the place of the logits, and the signal made from them, to
 * the bit. */
static void masked_rows_of(const gm_kernels *k, size_t size)
{
    const int32_t label[] = {2, -100, (int32_t)size - 1};
    size_t bytes = size * k->size;
    double *z = calloc(3 * size, sizeof *z), loss[3], one;
    char *f = calloc(5 * 3, bytes), *zero = calloc(1, bytes);
    char *p = f + 3 * bytes, *signal = p + 3 * bytes, *again = signal + 3 * bytes, *u = again;
    uint8_t wrong[3];
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 2), 0, 3 * size, z);
    k->from_double(3 * size, z, f);
    k->softmax_loss(3, size, f, label, loss, wrong, p, signal);
    assert_true(loss[1] == 0 && wrong[1] == 0);
    assert_memory_equal(p + bytes, zero, bytes);
    assert_memory_equal(signal + bytes, zero, bytes);
    k->softmax_signal(3, size, p, label, again);
    assert_memory_equal(again, signal, 3 * bytes);
    k->softmax_loss(1, size, f + 2 * bytes, label + 2, &one, NULL, again, NULL);
    assert_true(one == loss[2]);
    assert_memory_equal(again, p + 2 * bytes, bytes);
    memcpy(u, f, 3 * bytes);
    k->softmax_metric(3, size, p, u, u);
    for (size_t c = 0; c < size; c++) {
        k->to_double(1, u + bytes + c * k->size, &one);
        assert_true(one == 0);
    }
    k->softmax_loss(3, size, f, label, NULL, NULL, f, NULL);
    assert_memory_equal(f, p, 3 * bytes);
    free(z);
    free(f);
    free(zero);
}

static void masked_rows(void **state)
{
    (void)state;
    masked_rows_of(gm_kernels_get(GM_F32), 50257);
    masked_rows_of(gm_kernels_get(GM_F64), 7);
    masked_rows_of(gm_kernels_get(GM_F64), 300);
}

/* C12 through the whole library: a net whose parameters are its logits, so that H v = p (v - p.v)
 * and the gradient is p less the labels' shares; and what a linearization keeps of 50,257 classes:
 * one copy of the logits. */
static void large_vocabulary(void **state)
{
    (void)state;
    enum { V = 50257, N = 3 };
    const gm_shape shape = {.rank = 1, .dim = {1}};
    const double x[N] = {1, 1, 1};
    const int32_t label[N] = {0, 7, V - 1};
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
    gm_linearization *lin;
    gm_operator op;
    gm_problem_options options;
    gm_error err = {0};
    double *theta = calloc(4 * (size_t)V, sizeof *theta), *v = theta + V, *p = v + V,
           *found = p + V;
    double sum = 0, mean = 0;
    size_t bytes;
    gm_problem_options_default(&options);
    options.chunk = 1;
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 3), 0, V, theta);
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 4), 0, V, v);
    expect_ok(gm_net_from_spec("mlp:1-50257,bias=no", &shape, V, &net, &err), &err);
    expect_ok(gm_data_from_arrays("v", N, &shape, x, label, NULL, 0, GM_F32, V, &data, &err), &err);
    expect_ok(gm_problem_create(net, data, &options, &problem, &err), &err);
    expect_ok(gm_linearize(problem, theta, &lin, &err), &err);
    for (size_t c = 0; c < V; c++) {
        sum += p[c] = exp((double)(float)theta[c]);
    }
    for (size_t c = 0; c < V; c++) {
        mean += (p[c] /= sum) * v[c];
    }
    expect_ok(gm_curvature_operator(lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
    expect_ok(gm_operator_apply(&op, 1, v, found, &err), &err);
    for (size_t c = 0; c < V; c++) {
        v[c] = p[c] * (v[c] - mean);
        for (int i = 0; i < N; i++) {
            p[c] -= (size_t)label[i] == c ? 1.0 / N : 0;
        }
    }
    assert_at_most(relative_error(V, found, v), 1e-5, "product over 50,257 classes");
    assert_at_most(relative_error(V, gm_linearization_gradient(lin), p), 1e-5, "gradient");
    assert_true(gm_linearization_cached(lin, &bytes) == 1.0);
    assert_int_equal(bytes, (size_t)N * V * sizeof(float));
    gm_operator_destroy(&op);
    gm_linearization_free(lin);
    gm_problem_free(problem);
    gm_dataset_free(data);
    gm_net_free(net);
    free(theta);
}

/* C13, C14: nets of the peers' suites, H, G and M against dense references in double at 1e-12
 * (theirs: 1e-7, 1e-5), in two unequal batches; G and M positive semi-definite along 20 probes. */
static void peers_nets(void **state)
{
    (void)state;
    static const struct {
        test_case c;
        size_t batch;
    } nets[] = {
        {{"mlp:3-5-2,act=tanh", {2, {3, 5, 2}, REF_TANH, true, true}, 8, 1.0}, 5},
        {{"mlp:3-5-4,act=tanh", {2, {3, 5, 4}, REF_TANH, true, false}, 6, 1.0}, 4},
        {{"mlp:10-5-3", {2, {10, 5, 3}, REF_RELU, true, false}, 7, 0.5}, 3},
        {{"mlp:8-5-3", {2, {8, 5, 3}, REF_RELU, true, true}, 8, 0.5}, 6},
        {{"mlp:3-7-2", {2, {3, 7, 2}, REF_RELU, true, true}, 32, 0.7},
         5}, /* C8: batches of 5, the last of 2 */
    };
    const struct {
        gm_curvature kind;
        ref_operator ref;
    } pairs[] = {{GM_HESSIAN, REF_H}, {GM_GGN, REF_G}, {GM_MOMENT, REF_M}};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        test_problem t;
        test_problem_open(&t, &nets[i].c, GM_F64, nets[i].batch, 0);
        size_t p = t.p;
        gm_error err = {0};
        double *a = calloc(p * p, sizeof *a), *v = calloc(20 * p, sizeof *v),
               *av = calloc(20 * p, sizeof *av);
        double *exact = calloc(p, sizeof *exact);
        gm_normal_fill(gm_stream_of(7, GM_PURPOSE_TEST, 0), 0, 20 * p, v);
        for (int k = 0; k < 3; k++) {
            gm_operator op;
            ref_matrix(&nets[i].c.ref, t.theta, &t.ref, pairs[k].ref, a);
            expect_ok(gm_curvature_operator(t.lin, pairs[k].kind, GM_ALL_LAYERS, &op, &err), &err);
            expect_ok(gm_operator_apply(&op, 20, v, av, &err), &err);
            for (size_t j = 0; j < 20; j++) {
                double form = 0;
                for (size_t r = 0; r < p; r++) {
                    exact[r] = 0;
                    for (size_t s = 0; s < p; s++) {
                        exact[r] += a[r * p + s] * v[j * p + s];
                    }
                    form += v[j * p + r] * av[j * p + r];
                }
                assert_at_most(relative_error(p, av + j * p, exact), 1e-12, "%s probe %zu",
                               nets[i].c.spec, j);
                if (pairs[k].kind != GM_HESSIAN) assert_true(form >= -1e-13);
            }
            gm_operator_destroy(&op);
        }
        free(a);
        free(v);
        free(av);
        free(exact);
        test_problem_close(&t);
    }
}

/* C18: ten samples are three and seven of them: n H, n G and n M add up, to rounding. */
static void parts_of_the_data(void **state)
{
    (void)state;
    static const test_case net = {
        "mlp:3-20-2,act=tanh", {2, {3, 20, 2}, REF_TANH, true, false}, 10, 0.7};
    const size_t index[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    const gm_curvature kinds[] = {GM_HESSIAN, GM_GGN, GM_MOMENT};
    test_problem t;
    test_problem_open(&t, &net, GM_F64, 4, 0);
    gm_error err = {0};
    gm_problem_options options;
    gm_problem_options_default(&options);
    for (int k = 0; k < 3; k++) {
        size_t p = t.p;
        double *whole = calloc(p * p, sizeof *whole), *sum = calloc(p * p, sizeof *sum);
        double *part = calloc(p * p, sizeof *part);
        expect_ok(gm_curvature_dense(t.lin, kinds[k], GM_ALL_LAYERS, whole, &err), &err);
        for (size_t first = 0, m = 3; first < 10; first += m, m = 7) {
            gm_dataset *data;
            gm_problem *problem;
            gm_linearization *lin;
            expect_ok(gm_dataset_select(t.data, m, index + first, "a part", &data, &err), &err);
            expect_ok(gm_problem_create(t.net, data, &options, &problem, &err), &err);
            expect_ok(gm_linearize(problem, t.theta, &lin, &err), &err);
            expect_ok(gm_curvature_dense(lin, kinds[k], GM_ALL_LAYERS, part, &err), &err);
            for (size_t j = 0; j < p * p; j++) {
                sum[j] += (double)m / 10 * part[j];
            }
            gm_linearization_free(lin);
            gm_problem_free(problem);
            gm_dataset_free(data);
        }
        assert_at_most(relative_error(p * p, sum, whole), 1e-14, "operator %d", k);
        free(whole);
        free(sum);
        free(part);
    }
    test_problem_close(&t);
}

static void open_regression(const double *x, const double *target, size_t n, size_t d,
                            size_t outputs, size_t chunk, const double *theta, test_problem *t)
{
    gm_error err = {0};
    char spec[64];
    gm_shape shape = {.rank = 1, .dim = {d}};
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.loss = GM_LOSS_SQUARED;
    options.chunk = chunk;
    snprintf(spec, sizeof spec, "mlp:%zu-%zu,bias=no", d, outputs);
    *t = (test_problem){.p = d * outputs};
    expect_ok(gm_net_from_spec(spec, &shape, 0, &t->net, &err), &err);
    expect_ok(gm_data_from_arrays("regression", n, &shape, x, NULL, target, outputs, GM_F64, 0,
                                  &t->data, &err),
              &err);
    expect_ok(gm_problem_create(t->net, t->data, &options, &t->problem, &err), &err);
    expect_ok(gm_linearize(t->problem, theta, &t->lin, &err), &err);
}

/* C16: loss 1/2 E (z . x)^2 with z ~ N(0, diag(9, 4, 1, 0)) at x = (2, 1, 1, 1/2): loss 20.5,
 * gradient (18, 4, 1, 0), H 1 = (9, 4, 1, 0). 200,000 draws; a mean of products of normals of
 * variance s^2 each lies within 5 standard errors (confidence 1 - 6e-7 each): sd of 1/2 y^2, y ~
 * N(0, 41), is 41/sqrt 2 = 29; of z_j y at most sqrt(9 41 2) = 27. */
static void quadratic_of_known_mean(void **state)
{
    (void)state;
    enum { N = 200000 };
    const double sd[4] = {3, 2, 1, 0}, theta[4] = {2, 1, 1, 0.5}, ones[4] = {1, 1, 1, 1};
    const double gradient[4] = {18, 4, 1, 0}, image[4] = {9, 4, 1, 0};
    double *x = calloc(4 * N, sizeof *x), *target = calloc(N, sizeof *target), found[4];
    gm_normal_fill(gm_stream_of(9, GM_PURPOSE_TEST, 0), 0, 4 * N, x);
    for (size_t i = 0; i < 4 * N; i++) {
        x[i] *= sd[i % 4];
    }
    test_problem t;
    gm_error err = {0};
    gm_operator op;
    open_regression(x, target, N, 4, 1, 0, theta, &t);
    double bound = 5 * 29 / sqrt(N);
    assert_at_most(fabs(gm_linearization_loss(t.lin) - 20.5), bound, "loss");
    expect_ok(gm_curvature_operator(t.lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
    expect_ok(gm_operator_apply(&op, 1, ones, found, &err), &err);
    for (int j = 0; j < 4; j++) {
        assert_at_most(fabs(gm_linearization_gradient(t.lin)[j] - gradient[j]), bound,
                       "gradient %d", j);
        assert_at_most(fabs(found[j] - image[j]), bound, "H 1, entry %d", j);
    }
    gm_operator_destroy(&op);
    free(x);
    free(target);
    test_problem_close(&t);
}

/* C16, second half: loss 1/2 |x|^2 + 1/2 |y|^2 at x = (4, 2, 1), y = (1, 1, 1): g g^T 1 on x = (40,
 * 20, 10) exactly. */
static void outer_product_exactly(void **state)
{
    (void)state;
    const double x = 1, target[6] = {0}, theta[6] = {4, 2, 1, 1, 1, 1},
                 ones[6] = {1, 1, 1, 1, 1, 1};
    double found[6];
    test_problem t;
    gm_error err = {0};
    gm_operator op;
    open_regression(&x, target, 1, 1, 6, 0, theta, &t);
    expect_ok(gm_curvature_operator(t.lin, GM_MOMENT, GM_ALL_LAYERS, &op, &err), &err);
    expect_ok(gm_operator_apply(&op, 1, ones, found, &err), &err);
    for (int j = 0; j < 6; j++) {
        assert_true(found[j] == 10 * theta[j]);
    }
    gm_operator_destroy(&op);
    test_problem_close(&t);
}

/* T1: batches of 50, 50 and 1 weigh by their size; with the last sample scaled by 10 an average of
 * batch means would be off by a factor of 30. Against X^T X / n, and every other division into
 * batches. */
static void unequal_batches(void **state)
{
    (void)state;
    enum { N = 101, D = 5 };
    double x[N * D], target[N] = {0}, theta[D] = {0}, exact[D * D], found[D * D];
    for (int scaled = 0; scaled < 2; scaled++) {
        gm_normal_fill(gm_stream_of(11, GM_PURPOSE_TEST, 0), 0, N * D, x);
        for (int k = 0; scaled && k < D; k++) {
            x[(N - 1) * D + k] *= 10;
        }
        memset(exact, 0, sizeof exact);
        for (int i = 0; i < N * D * D; i++) {
            int r = i / D % D, s = i % D;
            exact[r * D + s] += x[i / (D * D) * D + r] * x[i / (D * D) * D + s] / N;
        }
        for (size_t chunk = 1; chunk <= N; chunk++) {
            test_problem t;
            gm_error err = {0};
            gm_operator op;
            double eye[D * D] = {0};
            for (int j = 0; j < D; j++) {
                eye[j * D + j] = 1;
            }
            open_regression(x, target, N, D, 1, chunk, theta, &t);
            expect_ok(gm_curvature_operator(t.lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
            expect_ok(gm_operator_apply(&op, D, eye, found, &err), &err);
            assert_at_most(relative_error(D * D, found, exact), 1e-13, "chunk %zu", chunk);
            gm_operator_destroy(&op);
            test_problem_close(&t);
        }
    }
}

/* T16: the trace of a layer's block is not the full product's part along a random vector, but that
 * of the block: exact blocks sum to the whole trace. */
static void layer_traces(void **state)
{
    (void)state;
    const test_case c = {"mlp:6-5-4", {2, {6, 5, 4}, REF_RELU, true, false}, 12, 0.7};
    test_problem t;
    gm_error err = {0};
    test_problem_open(&t, &c, GM_F64, 0, 0);
    double *d = calloc(t.p, sizeof *d), *a = calloc(t.p * t.p, sizeof *a);
    ref_matrix(&c.ref, t.theta, &t.ref, REF_H, a);
    for (size_t l = 0; l < 2; l++) {
        gm_net_layer layer = gm_net_layer_at(t.net, l);
        double trace = 0, exact = 0;
        expect_ok(gm_curvature_diagonal(t.lin, GM_HESSIAN, (int)l, d, &err), &err);
        for (size_t j = 0; j < layer.parameters; j++) {
            trace += d[j];
            exact += a[(layer.offset + j) * (t.p + 1)];
        }
        assert_at_most(fabs(trace / exact - 1), 1e-12, "layer %zu", l);
    }
    free(d);
    free(a);
    test_problem_close(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_softmax_metric),  cmocka_unit_test(masked_rows),
        cmocka_unit_test(large_vocabulary),      cmocka_unit_test(peers_nets),
        cmocka_unit_test(parts_of_the_data),     cmocka_unit_test(quadratic_of_known_mean),
        cmocka_unit_test(outer_product_exactly), cmocka_unit_test(unequal_batches),
        cmocka_unit_test(layer_traces),          cmocka_unit_test(masked_rows),
        cmocka_unit_test(large_vocabulary),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "peers");
}
