/* Slices: values against separate evaluations and against a loss that is quadratic, curvature along
 * eigenvectors, filter normalization against a loop over each filter, planes of trajectories
 * against a singular value decomposition. */
#include "support.h"

#include <math.h>

#include "gradiometer/eigen.h"
#include "gradiometer/landscape.h"
#include "image_nets.h"
#include "kernels/lapack.h"

static const test_case linear = {"mlp:6-3", {1, {6, 3}, REF_RELU, true, true}, 9, 1.0};
static const test_case curved = {
    "mlp:4-5-3,act=tanh", {2, {4, 5, 3}, REF_TANH, true, false}, 7, 0.8};

static double *normals(size_t count, uint32_t run)
{
    double *x = calloc(count, sizeof *x);
    gm_normal_fill(gm_stream_of(3, GM_PURPOSE_TEST, run), 0, count, x);
    return x;
}

/* A grid of `side` by `side` points from -1 to 1; or a line where dimensions is 1. */
static size_t grid(size_t dimensions, size_t side, double *t)
{
    size_t count = dimensions == 1 ? side : side * side;
    for (size_t i = 0; i < count; i++) {
        t[i * dimensions] = -1.0 + 2.0 * (double)(i / (count / side)) / ((double)side - 1.0);
        if (dimensions > 1) t[2 * i + 1] = -1.0 + 2.0 * (double)(i % side) / ((double)side - 1.0);
    }
    return count;
}

/* theta at point i of the slice */
static double *at_point(const gm_landscape_slice *s, size_t p, size_t i)
{
    double *theta = calloc(p, sizeof *theta);
    for (size_t n = 0; n < p; n++) {
        theta[n] = s->origin[n];
        for (size_t a = 0; a < s->dimensions; a++) {
            theta[n] += s->coordinate[i * s->dimensions + a] * s->direction[a * p + n];
        }
    }
    return theta;
}

/* --- values --- */

enum { SIDE = 5, MOST = SIDE * SIDE };

/* A linear net with squared loss is its quadratic model, in both numbers of dimensions: sums of
 * some 100 terms of size 10, hence 1e-13 relative to the largest loss. */
static void quadratic(void **state)
{
    (void)state;
    gm_error err = {0};
    test_problem t;
    test_problem_open(&t, &linear, GM_F64, 0, 0);
    double *direction = normals(2 * t.p, 1), at[2 * MOST], loss[MOST], error[MOST];
    for (size_t dimensions = 1; dimensions <= 2; dimensions++) {
        gm_landscape_slice s = {dimensions, t.theta, direction, grid(dimensions, SIDE, at), at};
        gm_landscape_model model;
        size_t done;
        expect_ok(gm_landscape_model_make(t.lin, dimensions, direction, &model, &err), &err);
        expect_ok(gm_landscape_evaluate(t.problem, NULL, &s, NULL,
                                        &(gm_landscape_values){loss, error, NULL, NULL}, &done,
                                        &err),
                  &err);
        assert_int_equal(done, s.count);
        for (size_t i = 0; i < s.count; i++) {
            double expected = gm_landscape_model_at(&model, at + i * dimensions);
            assert_at_most(fabs(loss[i] - expected), 1e-13 * (1 + expected), "point %zu", i);
        }
        assert_true(model.curvature[0][0] > 0 && model.slope[0] != 0); /* no trivial slice */
    }
    free(direction);
    test_problem_close(&t);
}

/* Points against gm_problem_value at the same parameters: bits differ by the order of sums, n <= 9
 * losses of size 1 to 100. */
static void expect_values(gm_problem *problem, gm_problem *test, size_t p, const double *theta,
                          double eps)
{
    gm_error err = {0};
    double *direction = normals(2 * p, 1), at[2 * MOST], value[4][MOST];
    for (size_t n = 0; n < 2 * p; n++) {
        direction[n] *= 0.3;
    }
    gm_landscape_slice s = {2, theta, direction, grid(2, SIDE, at), at};
    size_t done;
    const gm_landscape_values v = {value[0], value[1], value[2], value[3]};
    expect_ok(gm_landscape_evaluate(problem, test, &s, NULL, &v, &done, &err), &err);
    assert_int_equal(done, MOST);
    for (size_t i = 0; i < MOST; i++) {
        double *there = at_point(&s, p, i), loss, wrong, test_loss, test_wrong;
        expect_ok(gm_problem_value(problem, there, &loss, &wrong, &err), &err);
        expect_ok(gm_problem_value(test, there, &test_loss, &test_wrong, &err), &err);
        assert_at_most(fabs(value[0][i] - loss), eps * loss, "loss at point %zu", i);
        assert_at_most(fabs(value[1][i] - wrong), 1e-15, "error at point %zu", i);
        assert_at_most(fabs(value[2][i] - test_loss), eps * test_loss, "test loss at point %zu", i);
        assert_at_most(fabs(value[3][i] - test_wrong), 1e-15, "test error at point %zu", i);
        free(there);
    }
    assert_true(value[0][0] != value[0][MOST - 1]);
    free(direction);
}

static void values(void **state)
{
    (void)state;
    static const image_case image = {
        "cnn:2", NULL, {.rank = 3, .dim = {2, 4, 4}}, .n = 6, .classes = 3};
    static const gm_dtype dtypes[] = {GM_F64, GM_F32};
    static const double eps[] = {1e-13, 1e-5};
    for (int d = 0; d < 2; d++) {
        test_problem t;
        test_problem_open(&t, &curved, dtypes[d], 3, 0);
        expect_values(t.problem, t.problem, t.p, t.theta, eps[d]); /* on tiles */
        test_problem_close(&t);
        image_problem i;
        image_open(&i, &image, dtypes[d], false, 2, 0);
        expect_values(i.problem, i.problem, i.p, i.theta, eps[d]); /* on problems of its own */
        image_close(&i);
    }
}

static bool after_one(void *context)
{
    return (*(size_t *)context)++ == 1;
}

/* Asked to stop after the first block: whole blocks have their values, and none else. */
static void stopped(void **state)
{
    (void)state;
    enum { POINTS = 5000 };
    gm_error err = {0};
    test_problem t;
    test_problem_open(&t, &curved, GM_F64, 0, 0);
    double *direction = normals(t.p, 1), *at = calloc(POINTS, sizeof *at);
    double *loss = calloc(POINTS, sizeof *loss), *error = calloc(POINTS, sizeof *error), value;
    size_t asked = 0, done;
    gm_landscape_hooks hooks = {.context = &asked, .stop = after_one};
    gm_landscape_slice s = {1, t.theta, direction, grid(1, POINTS, at), at};
    expect_ok(gm_landscape_evaluate(t.problem, NULL, &s, &hooks,
                                    &(gm_landscape_values){loss, error, NULL, NULL}, &done, &err),
              &err);
    assert_true(asked == 2 && done > 0 && done < POINTS);
    double *last = at_point(&s, t.p, done - 1);
    expect_ok(gm_problem_value(t.problem, last, &value, NULL, &err), &err);
    assert_at_most(fabs(loss[done - 1] - value), 1e-13, "the last point");
    for (size_t i = done; i < POINTS; i++) {
        assert_true(isnan(loss[i]) && isnan(error[i]));
    }
    free(last);
    free(direction);
    free(at);
    free(loss);
    free(error);
    test_problem_close(&t);
}

/* --- curvature --- */

/* (f(h) - 2 f(0) + f(-h)) / h^2 along unit eigenvectors: rounding 4 eps f / h^2 = 1e-9, the fourth
 * derivative's h^2 / 12 f'''' below 1e-6 for derivatives below 10. */
static void second_difference(void **state)
{
    (void)state;
    const double h = 1e-3, at[] = {-h, 0, h};
    gm_error err = {0};
    test_problem t;
    test_problem_open(&t, &curved, GM_F64, 0, 0);
    gm_operator op;
    gm_eigen pairs = {0};
    gm_eigen_options o;
    gm_eigen_options_default(&o);
    o.k = 3;
    o.tol = 1e-10;
    expect_ok(gm_curvature_operator(t.lin, GM_HESSIAN, GM_ALL_LAYERS, &op, &err), &err);
    expect_ok(gm_eigenpairs(&op, &o, &pairs, &err), &err);
    for (size_t j = 0; j < 3; j++) {
        double loss[3], error[3];
        size_t done;
        gm_landscape_model model;
        gm_landscape_slice s = {1, t.theta, pairs.vector + j * t.p, 3, at};
        expect_ok(gm_landscape_evaluate(t.problem, NULL, &s, NULL,
                                        &(gm_landscape_values){loss, error, NULL, NULL}, &done,
                                        &err),
                  &err);
        expect_ok(gm_landscape_model_make(t.lin, 1, s.direction, &model, &err), &err);
        double second = (loss[0] - 2 * loss[1] + loss[2]) / (h * h);
        double slope = (loss[2] - loss[0]) / (2 * h);
        assert_at_most(fabs(second - pairs.value[j]), 1e-6, "eigenvalue %zu", j);
        assert_at_most(fabs(model.curvature[0][0] - pairs.value[j]), 1e-9, "model %zu", j);
        assert_at_most(fabs(model.slope[0] - slope), 1e-5, "slope %zu", j); /* h^2 / 6 f''' */
        assert_true(model.loss == gm_linearization_loss(t.lin));
    }
    assert_true(pairs.value[0] - pairs.value[1] > 1e-3); /* told apart by the tolerance */
    gm_eigen_free(&pairs);
    gm_operator_destroy(&op);
    test_problem_close(&t);
}

/* --- filters --- */

/* Convolution [3, 2, 3, 3] + 3 at 0, normalization 3 + 3 at 57, dense [4, 48] + 4 at 63, dense
 * stored transposed [4, 2] + 2 at 259; 269 in all. */
static gm_net *filtered(void)
{
    gm_error err = {0};
    gm_net *net = NULL;
    gm_shape shape = {.rank = 3, .dim = {2, 4, 4}};
    expect_ok(gm_net_create("filters", &shape, &net, &err), &err);
    add_conv(net, gm_window_square(3, 1, 1, false), 3, 1);
    gm_norm_config norm = {.epsilon = 1e-5, .start = 1};
    add_layer(net, &gm_layer_norm, &norm);
    add_act(net, GM_ACT_RELU);
    add_dense(net, 4);
    gm_dense_config transposed = {.units = 2, .bias = true, .transposed = true};
    add_layer(net, &gm_layer_dense, &transposed);
    return net;
}

/* The share of theta's norm that remains to be explained on the entries first + k step, k < count,
 * and whether the direction there is a multiple of the raw one; 1e-14: sums of 48 terms. */
static void expect_filter(const double *theta, const double *raw, const double *made, size_t first,
                          size_t count, size_t step)
{
    double wanted = 0, found = 0, before = 0, along = 0;
    for (size_t k = 0; k < count; k++) {
        size_t i = first + k * step;
        wanted += theta[i] * theta[i];
        found += made[i] * made[i];
        before += raw[i] * raw[i];
        along += raw[i] * made[i];
    }
    assert_at_most(fabs(sqrt(found / wanted) - 1), 1e-14, "filter at %zu", first);
    assert_at_most(fabs(along / sqrt(found * before) - 1), 1e-14, "direction at %zu", first);
}

static void filters(void **state)
{
    (void)state;
    gm_net *net = filtered();
    size_t p = gm_net_parameters(net);
    assert_int_equal(p, 269);
    double *theta = normals(p, 0), *raw = normals(p, 1), *made = normals(p, 1);
    for (size_t k = 0; k < 18; k++) {
        theta[18 + k] = 0; /* the second filter of the convolution */
    }
    gm_landscape_normalize(net, theta, made);
    expect_filter(theta, raw, made, 0, 18, 1);
    expect_filter(theta, raw, made, 36, 18, 1);
    for (size_t k = 18; k < 36; k++) {
        assert_true(made[k] == 0);
    }
    for (size_t k = 54; k < 63; k++) { /* bias, scale, shift */
        assert_true(made[k] == 0);
    }
    for (size_t unit = 0; unit < 4; unit++) {
        expect_filter(theta, raw, made, 63 + 48 * unit, 48, 1);
        assert_true(made[255 + unit] == 0);
    }
    for (size_t unit = 0; unit < 2; unit++) {
        expect_filter(theta, raw, made, 259 + unit, 4, 2);
        assert_true(made[267 + unit] == 0);
    }
    double *again = calloc(p, sizeof *again);
    gm_landscape_random(net, theta, 5, 0, made);
    gm_landscape_random(net, theta, 5, 0, again);
    assert_memory_equal(made, again, p * sizeof *made);
    gm_landscape_random(net, theta, 5, 1, again);
    assert_true(made[0] != again[0]);
    expect_filter(theta, again, again, 63, 48, 1);
    free(theta);
    free(raw);
    free(made);
    free(again);
    gm_net_free(net);
}

/* --- planes --- */

enum { POINTS = 7, P = 30 };

/* point [POINTS, P] about a common place far from 0, as checkpoints are. */
static double *checkpoints(void)
{
    double *point = normals((size_t)POINTS * P, 2), *place = normals(P, 3);
    for (size_t i = 0; i < POINTS; i++) {
        for (size_t n = 0; n < P; n++) {
            point[i * P + n] = 5 * place[n] + point[i * P + n] * (n < 3 ? 4.0 - (double)n : 0.5);
        }
    }
    free(place);
    return point;
}

static double inner(const double *x, const double *y)
{
    double sum = 0;
    for (size_t n = 0; n < P; n++) {
        sum += x[n] * y[n];
    }
    return sum;
}

/* Against singular vectors of the centred points. The Gram matrix's rounding, 1e-15 of the largest
 * square, over gaps of more than a tenth of it: 1e-13 with room. */
static void plane(void **state)
{
    (void)state;
    gm_error err = {0};
    double *point = checkpoints(), centred[POINTS * P], s[POINTS], vt[POINTS * P], total = 0;
    double direction[2 * P], share[2], kept, at[2 * POINTS], off[POINTS];
    for (size_t n = 0; n < P; n++) {
        double mean = 0;
        for (size_t i = 0; i < POINTS; i++) {
            mean += point[i * P + n] / POINTS;
        }
        for (size_t i = 0; i < POINTS; i++) {
            centred[i * P + n] = point[i * P + n] - mean;
        }
    }
    double first[P];
    memcpy(first, centred, sizeof first);
    expect_ok(gm_svd(POINTS, P, centred, s, NULL, vt, &err), &err);
    for (size_t i = 0; i < POINTS; i++) {
        total += s[i] * s[i];
    }
    assert_true(s[0] > 1.1 * s[1] && s[1] > 1.1 * s[2]); /* directions that are determined */
    expect_ok(gm_landscape_plane(POINTS, P, point, 2, direction, share, &err), &err);
    for (size_t a = 0; a < 2; a++) {
        assert_at_most(fabs(fabs(inner(direction + a * P, vt + a * P)) - 1), 1e-13, "axis %zu", a);
        assert_at_most(fabs(share[a] - s[a] * s[a] / total), 1e-13, "share %zu", a);
        assert_at_most(inner(direction + a * P, first), 0, "the first point along axis %zu", a);
    }
    assert_at_most(fabs(inner(direction, direction + P)), 1e-13, "orthogonal");
    /* What the plane keeps is what the shares say, and so the distances add up to the rest. */
    gm_landscape_slice slice = {
        .dimensions = 2, .origin = point + (POINTS - 1) * P, .direction = direction};
    expect_ok(gm_landscape_project(POINTS, P, point, &slice, at, off, &kept, &err), &err);
    assert_at_most(fabs(kept - share[0] - share[1]), 1e-13, "kept");
    assert_true(at[2 * (POINTS - 1)] == 0 && off[POINTS - 1] == 0);
    free(point);
}

/* On directions that are neither orthogonal nor of length 1: what is left over is orthogonal to
 * both and as long as said, and the share is that of an orthonormal basis of their span. */
static void projection(void **state)
{
    (void)state;
    gm_error err = {0};
    double *point = checkpoints(), *direction = normals((size_t)2 * P, 4), *origin = normals(P, 5);
    double at[2 * POINTS], off[POINTS], kept, basis[2 * P], all = 0, inside = 0;
    for (size_t n = 0; n < P; n++) {
        direction[P + n] += 2 * direction[n];
    }
    gm_landscape_slice slice = {.dimensions = 2, .origin = origin, .direction = direction};
    expect_ok(gm_landscape_project(POINTS, P, point, &slice, at, off, &kept, &err), &err);
    memcpy(basis, direction, sizeof basis);
    expect_ok(gm_orthonormalize(2, P, basis, NULL, &err), &err);
    for (size_t i = 0; i < POINTS; i++) {
        double rest[P], spread[P];
        for (size_t n = 0; n < P; n++) {
            double mean = 0;
            for (size_t j = 0; j < POINTS; j++) {
                mean += point[j * P + n] / POINTS;
            }
            spread[n] = point[i * P + n] - mean;
            rest[n] = point[i * P + n] - origin[n] - at[2 * i] * direction[n] -
                      at[2 * i + 1] * direction[P + n];
        }
        /* Points are some 30 away, directions some 10 long. */
        assert_at_most(fabs(inner(rest, direction)), 1e-11, "point %zu", i);
        assert_at_most(fabs(inner(rest, direction + P)), 1e-11, "point %zu", i);
        assert_at_most(fabs(off[i] - sqrt(inner(rest, rest))), 1e-12, "point %zu", i);
        all += inner(spread, spread);
        inside += pow(inner(spread, basis), 2) + pow(inner(spread, basis + P), 2);
    }
    assert_at_most(fabs(kept - inside / all), 1e-13, "share");
    free(point);
    free(direction);
    free(origin);
}

/* --- refusals --- */

static void refusals(void **state)
{
    (void)state;
    gm_error err = {0};
    double *point = checkpoints(), direction[2 * P], share[2], at[2 * POINTS], off[POINTS];
    assert_int_equal(gm_landscape_plane(2, P, point, 2, direction, share, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "2 points"));
    assert_int_equal(gm_landscape_plane(1, P, point, 1, direction, share, &err), GM_ERR_INPUT);
    for (size_t i = 2; i < POINTS; i++) { /* all on the line through the first two */
        for (size_t n = 0; n < P; n++) {
            point[i * P + n] = point[n] + (double)i * (point[P + n] - point[n]);
        }
    }
    assert_int_equal(gm_landscape_plane(POINTS, P, point, 2, direction, share, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "fewer than 2 dimensions"));
    expect_ok(gm_landscape_plane(POINTS, P, point, 1, direction, share, &err), &err);
    assert_at_most(fabs(share[0] - 1), 1e-13, "a line keeps everything");
    for (size_t n = 0; n < P; n++) {
        direction[P + n] = -3 * direction[n];
    }
    gm_landscape_slice slice = {.dimensions = 2, .origin = point, .direction = direction};
    assert_int_equal(gm_landscape_project(POINTS, P, point, &slice, at, off, share, &err),
                     GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "parallel"));
    memset(direction, 0, sizeof direction);
    slice.dimensions = 1;
    assert_int_equal(gm_landscape_project(POINTS, P, point, &slice, at, off, share, &err),
                     GM_ERR_INPUT);
    test_problem t;
    test_problem_open(&t, &linear, GM_F64, 0, 0);
    size_t done;
    slice = (gm_landscape_slice){3, t.theta, t.theta, 1, at};
    assert_int_equal(gm_landscape_evaluate(t.problem, NULL, &slice, NULL,
                                           &(gm_landscape_values){at, off, NULL, NULL}, &done,
                                           &err),
                     GM_ERR_USAGE);
    slice.dimensions = 1;
    slice.count = 0;
    assert_int_equal(gm_landscape_evaluate(t.problem, NULL, &slice, NULL,
                                           &(gm_landscape_values){at, off, NULL, NULL}, &done,
                                           &err),
                     GM_ERR_USAGE);
    gm_landscape_model model;
    assert_int_equal(gm_landscape_model_make(t.lin, 0, t.theta, &model, &err), GM_ERR_USAGE);
    test_problem_close(&t);
    free(point);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quadratic), cmocka_unit_test(values),
        cmocka_unit_test(stopped),   cmocka_unit_test(filters),
        cmocka_unit_test(plane),     cmocka_unit_test(projection),
        cmocka_unit_test(refusals),  cmocka_unit_test(second_difference),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "landscape");
}
