/* Everything that is a sum over samples, computed by ranks that hold a share each: equal to the bit
 * at all ranks, and to rounding what one process with all samples gets. The ranks are threads here;
 * what MPI adds is tested with the program (tests/mpi). */
#include "support.h"

#include <math.h>
#include <omp.h>

#include "gradiometer/curvature.h"
#include "gradiometer/estimate.h"
#include "gradiometer/random.h"
#include "team_case.h"

enum { VECTORS = 3, NUMBERS = 1 << 18 };

typedef struct survey {
    const char *net, *data; /* specs */
    gm_dtype dtype;
    bool share;        /* the rank holds its share alone; else all, and sums over its share */
    const size_t *cut; /* NULL, or the shares' ends, for shares of any size */
    size_t count, samples, held;
    double *number; /* [NUMBERS]: all results, one after the other */
    char failure[GM_ERROR_LENGTH];
} survey;

static double *room(survey *s, size_t count)
{
    double *at = s->number + s->count;
    s->count += count;
    if (s->count > NUMBERS) abort();
    return at;
}

#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = call;                                                                             \
        if (status != GM_OK) goto done;                                                            \
    } while (0)

static gm_status products(gm_linearization *lin, size_t p, survey *s, gm_error *err)
{
    double *v = malloc(VECTORS * p * sizeof *v);
    gm_status status = GM_OK;
    gm_operator op = {0};
    for (int kind = 0; kind <= GM_CURVATURES; kind++) {
        TRY(kind < GM_CURVATURES
                ? gm_curvature_operator(lin, (gm_curvature)kind, GM_ALL_LAYERS, &op, err)
                : gm_squares_operator(lin, GM_ALL_LAYERS, &op, err));
        gm_normal_fill(gm_stream_of(7, GM_PURPOSE_TEST, 0), 0, VECTORS * p, v);
        TRY(gm_operator_apply(&op, VECTORS, v, room(s, VECTORS * p), err));
        gm_operator_destroy(&op);
    }
done:
    free(v);
    gm_operator_destroy(&op);
    return status;
}

static gm_status matrices(gm_linearization *lin, size_t p, survey *s, gm_error *err)
{
    gm_status status = GM_OK;
    double *gram;
    for (int kind = 0; kind < GM_CURVATURES; kind++) {
        TRY(gm_curvature_dense(lin, (gm_curvature)kind, 0, room(s, 4096), err));
        TRY(gm_curvature_diagonal(lin, (gm_curvature)kind, GM_ALL_LAYERS, room(s, p), err));
        size_t rows = gm_gram_size(lin, (gm_curvature)kind);
        if (rows == 0) continue;
        gram = room(s, rows * rows);
        TRY(gm_curvature_gram(lin, (gm_curvature)kind, GM_ALL_LAYERS, gram, err));
        TRY(gm_gram_vectors(lin, (gm_curvature)kind, GM_ALL_LAYERS, 2, gram, room(s, 2 * p), err));
    }
done:
    return status;
}

static gm_status by_sample(gm_linearization *lin, size_t p, survey *s, gm_error *err)
{
    gm_samples *samples = NULL;
    const double *mu = gm_linearization_gradient(lin);
    double *two = malloc(2 * p * sizeof *two);
    gm_status status = GM_OK;
    gm_normal_fill(gm_stream_of(8, GM_PURPOSE_TEST, 0), 0, 2 * p, two);
    memcpy(room(s, p), mu, p * sizeof *mu);
    TRY(gm_samples_create(lin, GM_ALL_LAYERS, &samples, err));
    double *dot = room(s, 2 * s->samples);
    gm_samples_dot(samples, 2, two, dot);
    gm_samples_sum(samples, 2, dot, room(s, 2 * p));
    TRY(gm_hessian_forms(lin, 2, two, room(s, 3 * s->samples), err));
done:
    gm_samples_free(samples);
    free(two);
    return status;
}

/* Samples of data from first on, as a share of it. */
static gm_status cut_out(gm_dataset *data, size_t first, size_t count)
{
    size_t row = data->features * gm_dtype_size(data->dtype);
    data->whole = data->n;
    data->first = first;
    data->n = count;
    memmove(data->x, (char *)data->x + first * row, count * row);
    memmove(data->label, data->label + first, count * sizeof *data->label);
    return GM_OK;
}

static gm_status measure(const gm_team *team, survey *s, gm_error *err)
{
    gm_data_options load;
    gm_problem_options options;
    gm_dataset *data = NULL;
    gm_net *net = NULL;
    gm_problem *problem = NULL;
    gm_linearization *lin = NULL;
    static const gm_shape image = {3, {1, 4, 4}};
    size_t rank = (size_t)gm_team_rank(team), p;
    double *theta = NULL;
    gm_status status;
    gm_data_options_default(&load);
    load.dtype = s->dtype;
    load.random_labels = 0.3;
    load.subset = 20;
    load.standardize = true;
    load.classes = 3;
    load.team = team;
    load.share = s->share;
    TRY(gm_data_load(s->data, &load, &data, err));
    if (s->cut && gm_team_size(team) > 1) {
        size_t first = rank ? s->cut[rank - 1] : 0;
        TRY(cut_out(data, first, s->cut[rank] - first));
    }
    s->samples = gm_dataset_samples(data);
    s->held = data->n;
    *room(s, 1) = (double)data->redrawn;
    TRY(gm_net_from_spec(s->net, strncmp(s->net, "mlp", 3) ? &image : NULL, 3, &net, err));
    p = gm_net_parameters(net);
    theta = malloc(p * sizeof *theta);
    gm_net_init(net, GM_INIT_HE, 3, 0, theta);
    gm_problem_options_default(&options);
    options.memory = 64 << 20;
    options.chunk = 4;
    options.team = team;
    TRY(gm_problem_create(net, data, &options, &problem, err));
    if (gm_problem_samples(problem) != s->samples) abort();
    TRY(gm_problem_gradient(problem, theta, room(s, 1), room(s, 1), room(s, p), err));
    TRY(gm_linearize(problem, theta, &lin, err));
    *room(s, 1) = gm_linearization_loss(lin);
    TRY(products(lin, p, s, err));
    TRY(by_sample(lin, p, s, err));
    TRY(matrices(lin, p, s, err));
done:
    gm_linearization_free(lin);
    gm_problem_free(problem);
    gm_net_free(net);
    gm_dataset_free(data);
    free(theta);
    return status;
}

static void work(const gm_team *team, void *data)
{
    survey *s = data;
    gm_error err = {0};
    omp_set_num_threads(1);
    if (measure(team, s, &err) != GM_OK) memcpy(s->failure, err.message, sizeof s->failure);
}

/* The ranks' numbers against those of one process. Sums over samples in another grouping: the terms
 * are of order 1, a few hundred roundings apart. */
static void compare(const survey *one, const survey *many, int size, double tolerance)
{
    for (int r = 0; r < size; r++) {
        if (*many[r].failure) fail_msg("rank %d of %d: %s", r, size, many[r].failure);
        assert_int_equal(many[r].count, one->count);
        assert_memory_equal(many[r].number, many[0].number, one->count * sizeof(double));
    }
    for (size_t i = 0; i < one->count; i++) {
        double a = one->number[i], b = many[0].number[i];
        if (!(fabs(a - b) <= tolerance * fmax(1.0, fabs(a))))
            fail_msg("%s, %d ranks: number %zu is %.17g, alone %.17g", one->net, size, i, b, a);
    }
}

static void run_case(survey pattern, int size, double tolerance)
{
    survey one = pattern, many[TEAM_MOST];
    void *data[TEAM_MOST];
    one.number = calloc(NUMBERS, sizeof(double));
    work(NULL, &one);
    if (*one.failure) fail_msg("alone: %s", one.failure);
    size_t held = 0;
    for (int r = 0; r < size; r++) {
        many[r] = pattern;
        many[r].number = calloc(NUMBERS, sizeof(double));
        data[r] = &many[r];
    }
    team_run(size, work, data);
    compare(&one, many, size, tolerance);
    for (int r = 0; r < size; r++) {
        held += many[r].held;
        free(many[r].number);
    }
    assert_int_equal(held, pattern.share || pattern.cut ? one.held : one.held * (size_t)size);
    free(one.number);
}

static const survey dense = {
    .net = "mlp:5-4-3,act=tanh", .data = "gauss:k=3,d=5,n=25", .dtype = GM_F64, .share = true};

static void shares(void **state)
{
    (void)state;
    for (int size = 2; size <= 4; size++) {
        run_case(dense, size, 1e-12);
    }
}

/* Nobody holds a share of its own, and layers that are no outer products: weights at several
 * places. */
static void sums(void **state)
{
    (void)state;
    survey images = {.net = "cnn:2", .data = "gauss:k=3,d=16,n=25", .dtype = GM_F64};
    run_case(images, 3, 1e-12);
}

/* None, many, one, all the rest. */
static void ragged(void **state)
{
    (void)state;
    static const size_t cut[] = {0, 11, 12, 20};
    survey s = dense;
    s.share = false;
    s.cut = cut;
    run_case(s, 4, 1e-12);
    s.dtype = GM_F32;
    run_case(s, 4, 2e-5);
}

/* ---- more ranks than samples ---- */

static void share_of(const gm_team *team, void *data)
{
    size_t *found = data;
    gm_team_share(team, 5, &found[0], &found[1]);
}

static void few_samples(void **state)
{
    (void)state;
    size_t found[7][2], next = 0;
    void *data[7];
    for (int r = 0; r < 7; r++) {
        data[r] = found[r];
    }
    team_run(7, share_of, data);
    for (int r = 0; r < 7; r++) {
        assert_int_equal(found[r][0], next);
        assert_int_equal(found[r][1], r < 5);
        next += found[r][1];
    }
    assert_int_equal(next, 5);
}

/* ---- probes ---- */

enum { SIZE = 30 };

typedef struct probing {
    double *a; /* [SIZE, SIZE] */
    gm_trace_method method;
    size_t most;
    double rel_error;
    gm_trace_result result;
    size_t products; /* as the operator counts them */
    gm_error err;
} probing;

static void probe(const gm_team *team, void *data)
{
    probing *p = data;
    gm_operator op = {0};
    gm_estimate_options o;
    gm_estimate_options_default(&o);
    o.max_products = p->most;
    o.rel_error = p->rel_error;
    o.team = team;
    omp_set_num_threads(1);
    gm_operator_dense(SIZE, p->a, &op, NULL);
    gm_trace_estimate(&op, p->method, &o, &p->result, &p->err);
    p->products = op.products;
    gm_operator_destroy(&op);
}

static void same_estimate(const gm_estimate *one, const gm_estimate *many)
{
    double scale = fabs(one->value) + one->std_error;
    if (!(fabs(one->value - many->value) <= 1e-12 * scale) ||
        !(fabs(one->std_error - many->std_error) <= 1e-9 * scale))
        fail_msg("%.17g +- %.17g alone, %.17g +- %.17g by ranks", one->value, one->std_error,
                 many->value, many->std_error);
}

/* Hutchinson's probes shared out: the estimate of one process to rounding (products of other blocks
 * of vectors), the same bits at all ranks; fewer probes than ranks; rounds until an error is
 * reached; a matrix of which no rank has a unit. */
static void probes(void **state)
{
    (void)state;
    double a[SIZE * SIZE], zero[SIZE * SIZE] = {0};
    gm_normal_fill(gm_stream_of(6, GM_PURPOSE_TEST, 0), 0, SIZE * SIZE, a);
    for (size_t i = 0; i < SIZE; i++) {
        a[i * SIZE + i] += 1e-3 * (double)i + 40;
        for (size_t j = 0; j < i; j++) {
            a[i * SIZE + j] = a[j * SIZE + i];
        }
    }
    const probing cases[] = {{.a = a, .most = 37},
                             {.a = a, .most = 2},
                             {.a = a, .most = 400, .rel_error = 0.01},
                             {.a = zero, .most = 20}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        probing one = cases[c], many[4];
        probe(NULL, &one);
        if (*one.err.message) fail_msg("alone: %s", one.err.message);
        for (int size = 2; size <= 4; size++) {
            void *data[4];
            for (int r = 0; r < size; r++) {
                many[r] = cases[c];
                data[r] = &many[r];
            }
            team_run(size, probe, data);
            for (int r = 0; r < size; r++) {
                if (*many[r].err.message) fail_msg("rank %d: %s", r, many[r].err.message);
                same_estimate(&one.result.trace, &many[r].result.trace);
                same_estimate(&one.result.frobenius, &many[r].result.frobenius);
                assert_true(many[r].result.trace.value == many[0].result.trace.value);
                assert_int_equal(many[r].result.products, one.result.products);
                assert_int_equal(many[r].result.probes, one.result.probes);
                assert_int_equal(many[r].products, one.products);
            }
        }
    }
}

/* ---- refusals ---- */

static void refuse_team(const gm_team *team, void *data)
{
    double a[SIZE * SIZE] = {0};
    probing p = {.a = a, .method = GM_TRACE_XTRACE, .most = 40};
    probe(team, &p);
    *(gm_error *)data = p.err;
}

static void refuse(const gm_team *team, void *data)
{
    gm_error *err = data;
    gm_data_options load;
    gm_problem_options options;
    gm_dataset *set = NULL, *out = NULL;
    gm_net *net = NULL;
    gm_problem *problem = NULL;
    double theta[39] = {0}, gradient[39];
    size_t index[] = {0};
    gm_data_options_default(&load);
    load.team = team;
    load.share = true;
    omp_set_num_threads(1);
    gm_data_load("gauss:k=3,d=5,n=25", &load, &set, NULL);
    gm_net_from_spec("mlp:5-4-3", NULL, 0, &net, NULL);
    gm_problem_options_default(&options);
    gm_problem_create(net, set, &options, &problem, &err[0]);
    gm_dataset_select(set, 1, index, "some", &out, &err[1]);
    gm_dataset_resample(set, 1, 1, &out, &err[2]);
    options.team = team;
    gm_problem_create(net, set, &options, &problem, NULL);
    gm_problem_batch_gradient(problem, theta, 1, index, NULL, gradient, &err[3]);
    gm_problem_free(problem);
    problem = NULL;
    if (team->rank == 1) set->n--; /* a rank that lost one */
    gm_problem_create(net, set, &options, &problem, &err[4]);
    gm_problem_free(problem);
    gm_net_free(net);
    gm_dataset_free(set);
}

static void refusals(void **state)
{
    (void)state;
    gm_error err[2][5] = {0};
    void *data[] = {err[0], err[1]};
    team_run(2, refuse, data);
    static const char *const expected[] = {
        "a share of it, but no team", "samples of a share of it cannot be selected",
        "samples of a share of it cannot be selected", "a mini-batch needs all samples",
        "the ranks hold 24 of its 25 samples"};
    gm_error none[2] = {0};
    void *nothing[] = {&none[0], &none[1]};
    team_run(2, refuse_team, nothing);
    assert_non_null(strstr(none[1].message, "team: found one, expected none for this method"));
    for (int r = 0; r < 2; r++) {
        for (int i = 0; i < 5; i++) {
            if (!strstr(err[r][i].message, expected[i]))
                fail_msg("rank %d: '%s', expected '%s'", r, err[r][i].message, expected[i]);
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares), cmocka_unit_test(sums),
                                       cmocka_unit_test(ragged), cmocka_unit_test(few_samples),
                                       cmocka_unit_test(probes), cmocka_unit_test(refusals)};
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "team");
}
