/* A prior learned from a share of the data: it sees that share and nothing else, and the run file
 * says which one. */
#include "support.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "gradiometer/random.h"
#include "gradiometer/sgd.h"
#include "problems.h"

enum { N = 40, D = 3, CLASSES = 3 };

typedef struct world {
    double x[N * D];
    int32_t label[N];
    gm_net *net;
    gm_dataset *data;
    gm_problem *problem;
} world;

static void open_world(world *w)
{
    gm_error err;
    gm_shape shape = {.rank = 1, .dim = {D}};
    gm_problem_options options;
    gm_problem_options_default(&options);
    expect_ok(gm_net_from_spec("mlp:3-4-3", &shape, 0, &w->net, &err), &err);
    expect_ok(gm_data_from_arrays("prior", N, &shape, w->x, w->label, NULL, 0, GM_F64, CLASSES,
                                  &w->data, &err),
              &err);
    expect_ok(gm_problem_create(w->net, w->data, &options, &w->problem, &err), &err);
}

static void fill_world(world *w)
{
    gm_normal_fill(gm_stream_of(4, GM_PURPOSE_TEST, 0), 0, (size_t)N * D, w->x);
    for (int i = 0; i < N; i++) {
        w->label[i] = i % CLASSES;
    }
    open_world(w);
}

static void close_world(world *w)
{
    gm_problem_free(w->problem);
    gm_dataset_free(w->data);
    gm_net_free(w->net);
}

static void parts_of_the_split(void **state)
{
    (void)state;
    gm_error err;
    gm_prior_split a, b;
    expect_ok(gm_prior_split_make(1000, 0.3, 1, &a, &err), &err);
    expect_ok(gm_prior_split_make(1000, 0.3, 2, &b, &err), &err);
    assert_int_equal(a.n, 1000);
    assert_int_equal(a.seen, 300);
    bool mark[1000] = {false};
    size_t common = 0, mine[1000] = {0};
    for (size_t i = 0; i < 1000; i++) {
        assert_false(mark[a.index[i]]);
        mark[a.index[i]] = true;
        if (i && i != a.seen) assert_true(a.index[i] > a.index[i - 1]);
    }
    for (size_t i = 0; i < 300; i++) {
        mine[a.index[i]] = 1;
    }
    for (size_t i = 0; i < 300; i++) {
        common += mine[b.index[i]];
    }
    /* Hypergeometric, mean 90, standard deviation 6.6: five of them. */
    assert_in_range(common, 57, 123);
    gm_prior_split_free(&a);
    gm_prior_split_free(&b);
}

static void splits_refused(void **state)
{
    (void)state;
    const double bad[] = {0.0, 1.0, -0.5, 1.5, NAN, 0.01};
    gm_error err;
    gm_prior_split split;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(gm_prior_split_make(50, bad[i], 0, &split, &err), GM_ERR_USAGE);
        assert_non_null(strstr(err.message, "--prior-fraction"));
        gm_prior_split_free(&split);
    }
}

static void train(const world *w, const gm_prior_split *split, double *theta,
                  gm_train_result *result)
{
    gm_error err;
    gm_train_options options;
    gm_train_options_default(&options);
    options.steps = 50;
    options.batch = 5;
    gm_net_init(w->net, GM_INIT_HE, 1, 0, theta);
    expect_ok(gm_prior_train(w->problem, split, &options, NULL, theta, result, &err), &err);
}

/* The rest replaced by other numbers: the same prior, bit for bit; one seen sample moved: another.
 * Its errors are those of the parts, counted by a problem made of each. */
static void sees_its_share_alone(void **state)
{
    (void)state;
    static world a, b;
    gm_error err;
    gm_prior_split split;
    gm_train_result result;
    fill_world(&a);
    size_t p = gm_net_parameters(a.net);
    double *first = calloc(p, sizeof *first), *second = calloc(p, sizeof *second);
    expect_ok(gm_prior_split_make(N, 0.5, 3, &split, &err), &err);
    train(&a, &split, first, &result);

    memcpy(b.x, a.x, sizeof b.x);
    memcpy(b.label, a.label, sizeof b.label);
    for (size_t i = split.seen; i < N; i++) {
        b.x[split.index[i] * D] += 7.0;
        b.label[split.index[i]] = 0;
    }
    open_world(&b);
    train(&b, &split, second, &result);
    assert_memory_equal(first, second, p * sizeof *first);
    close_world(&b);

    b.x[split.index[0] * D] += 1.0;
    open_world(&b);
    train(&b, &split, second, &result);
    assert_memory_not_equal(first, second, p * sizeof *first);

    for (int part = 0; part < 2; part++) {
        gm_dataset *data;
        gm_problem *problem;
        gm_problem_options options;
        double error;
        gm_problem_options_default(&options);
        size_t start = part ? split.seen : 0, count = part ? N - split.seen : split.seen;
        expect_ok(gm_dataset_select(b.data, count, split.index + start, "part", &data, &err), &err);
        expect_ok(gm_problem_create(b.net, data, &options, &problem, &err), &err);
        expect_ok(gm_problem_value(problem, second, NULL, &error, &err), &err);
        assert_true(error == (part ? result.test_error_rate : result.error_rate));
        gm_problem_free(problem);
        gm_dataset_free(data);
    }
    close_world(&b);
    close_world(&a);
    gm_prior_split_free(&split);
    free(first);
    free(second);
}

static gm_run *create(const char *path)
{
    gm_error err;
    gm_run *run = NULL;
    expect_ok(gm_run_create(path, true, NULL, 0, &run, &err), &err);
    return run;
}

static void comes_back_from_the_file(void **state)
{
    (void)state;
    static world w;
    const char *path = "test_prior.gmr";
    gm_error err;
    gm_prior_split split, back;
    gm_train_result result = {.loss = 0.5, .test_loss = 0.6};
    fill_world(&w);
    gm_run *run = create(path);
    expect_ok(gm_prior_load(run, w.problem, &back, &err), &err);
    assert_int_equal(back.n, 0); /* a run without a prior */

    expect_ok(gm_prior_split_make(N, 0.25, 9, &split, &err), &err);
    expect_ok(gm_prior_store(run, w.problem, &split, 0.25, 50, &result, &err), &err);
    expect_ok(gm_prior_load(run, w.problem, &back, &err), &err);
    assert_int_equal(back.n, N);
    assert_int_equal(back.seen, 10);
    assert_memory_equal(back.index, split.index, N * sizeof *split.index);
    gm_prior_split_free(&back);

    /* Another label, another feature: the samples of the file are others. */
    static world other;
    for (int i = 0; i < 2; i++) {
        memcpy(other.x, w.x, sizeof other.x);
        memcpy(other.label, w.label, sizeof other.label);
        if (i == 0) other.label[0] = 1;
        if (i == 1) other.x[N * D - 1] += 1e-3;
        open_world(&other);
        assert_int_equal(gm_prior_load(run, other.problem, &back, &err), GM_ERR_INPUT);
        assert_non_null(strstr(err.message, "prior.data_crc32"));
        close_world(&other);
    }

    /* Samples twice, and beyond the data. */
    double twice[] = {1, 1}, beyond[] = {0, N}, broken[] = {0.5};
    const gm_run_array bad[] = {
        {.name = "samples", .dtype = GM_F64, .rank = 1, .dim = {2}, .data = twice},
        {.name = "samples", .dtype = GM_F64, .rank = 1, .dim = {2}, .data = beyond},
        {.name = "samples", .dtype = GM_F64, .rank = 1, .dim = {1}, .data = broken}};
    for (size_t i = 0; i < 3; i++) {
        gm_run_result damaged = {.command = "prior", .step = 0, .key = "", .json = "{}"};
        expect_ok(gm_run_add_result(run, &damaged, &bad[i], 1, NULL, &err), &err);
        assert_int_equal(gm_prior_load(run, w.problem, &back, &err), GM_ERR_INPUT);
        assert_non_null(strstr(err.message, "samples of its prior"));
    }
    gm_run_close(run);
    unlink(path);
    gm_prior_split_free(&split);
    close_world(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_the_split),
        cmocka_unit_test(splits_refused),
        cmocka_unit_test(sees_its_share_alone),
        cmocka_unit_test(comes_back_from_the_file),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "prior");
}
