/* Eigenpairs by SLEPc against spectra known by construction, against ARPACK and against the dense
 * solver. Every rank runs this and checks the whole result. */
#include "spectra.h"

#include "failing_memory.h"

#include "cli/startup.h"
#include "dist/dist.h"
#include "dist/solver.h"
#include "gradiometer/curvature.h"
#include "spectrum/rows.h"

static const gm_team *team;

/* The shares of all ranks in the place of this one's. */
static void make_whole(gm_eigen *r)
{
    gm_rows rows = gm_rows_of(team, r->size);
    double *whole = numbers(r->count * r->size);
    for (size_t j = 0; j < r->count; j++) {
        double *row = whole + j * r->size;
        memcpy(row + rows.first, r->vector + j * rows.count, rows.count * sizeof *row);
        gm_team_gather(team, rows.first * sizeof *row, rows.count * sizeof *row, row);
    }
    gm_free(r->vector);
    r->vector = whole;
}

static gm_status solve_rows(gm_operator *op, const gm_eigen_options *options, size_t starts,
                            const double *start, gm_eigen *r, gm_error *err)
{
    gm_rows rows = gm_rows_of(team, op->size);
    double *mine = starts ? numbers(starts * (rows.count + 1)) : NULL;
    for (size_t j = 0; j < starts; j++) {
        memcpy(mine + j * rows.count, start + j * op->size + rows.first, rows.count * sizeof *mine);
    }
    gm_status status = gm_dist_row_solver()->solve(team, op, options, starts, mine, r, err);
    gm_free(mine);
    if (status == GM_OK) make_whole(r);
    return status;
}

static void fresh(gm_operator *op, const gm_eigen_options *options, gm_eigen *r)
{
    gm_error err = {0};
    op->products = 0;
    succeed(solve_rows(op, options, 0, NULL, r, &err), &err);
    assert_int_equal(r->products, op->products);
    assert_int_equal(r->products, r->solver_products + r->check_products);
}

/* ---- known spectra ---- */

static void low_rank(size_t p, double *value)
{
    for (size_t i = 0; i < p; i++) {
        value[i] = i < 8 ? 8.0 - (double)i : 0.0;
    }
}

static void every_spectrum(void **state)
{
    (void)state;
    static const struct {
        void (*fill)(size_t p, double *value);
        gm_which which;
        size_t p, k;
    } cases[] = {
        {clustered, GM_WHICH_LA, 100, 6},          {clustered, GM_WHICH_LA, 3001, 6},
        {mirrored, GM_WHICH_BE, 3001, 7},          {mirrored, GM_WHICH_LM, 1000, 4},
        {mirrored, GM_WHICH_SA, 1000, 3},          {low_rank, GM_WHICH_LA, 1000, 8},
        {low_rank, GM_WHICH_LM, 100, 5},           {one_small_negative, GM_WHICH_SA, 1000, 1},
        {one_small_negative, GM_WHICH_BE, 1000, 2}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        known k;
        gm_operator op;
        gm_eigen r;
        known_make(cases[c].p, &k, &op);
        cases[c].fill(k.p, k.value);
        gm_eigen_options options = asked(cases[c].which, cases[c].k, 1e-9);
        fresh(&op, &options, &r);
        assert_false(r.dense);
        check_pairs(&k, cases[c].which, &r, cases[c].k, 1e-9 * r.scale + 1e-13);
        assert_in_range(r.products, cases[c].k, 60);
        gm_eigen_free(&r);
        known_free(&k);
    }
}

/* The same pairs as ARPACK's and LAPACK's, to the bound that the residuals give. */
static void as_the_others(void **state)
{
    (void)state;
    known k;
    gm_operator op;
    gm_eigen mine, arpack, dense;
    gm_error err = {0};
    known_make(150, &k, &op);
    mirrored(k.p, k.value);
    gm_eigen_options options = asked(GM_WHICH_BE, 7, 1e-10);
    fresh(&op, &options, &mine);
    succeed(gm_eigenpairs(&op, &options, &arpack, &err), &err);
    options.basis = 150; /* formed */
    fresh(&op, &options, &dense);
    assert_true(dense.dense);
    assert_false(mine.dense || arpack.dense);
    for (size_t j = 0; j < 7; j++) {
        near(mine.value[j], dense.value[j], 2e-9);
        near(arpack.value[j], dense.value[j], 2e-9);
    }
    gm_eigen_free(&mine);
    gm_eigen_free(&arpack);
    gm_eigen_free(&dense);
    known_free(&k);
}

/* Exactly 0, converged, of few products. */
static void zero_operator(void **state)
{
    (void)state;
    known k;
    gm_operator op;
    gm_eigen r;
    known_make(300, &k, &op);
    gm_eigen_options options = asked(GM_WHICH_LM, 5, 1e-10);
    fresh(&op, &options, &r);
    for (size_t j = 0; j < 5; j++) {
        assert_true(r.value[j] == 0.0);
    }
    check_pairs(&k, GM_WHICH_LM, &r, 5, 0.0);
    gm_eigen_free(&r);
    known_free(&k);
}

/* Ranks without rows: sizes below the number of ranks, in SLEPc's hands and formed. */
static void fewer_rows_than_ranks(void **state)
{
    (void)state;
    double a[9] = {3, 0, 0, 0, -1, 0, 0, 0, 2};
    for (size_t basis = 0; basis <= 2; basis += 2) {
        gm_operator op;
        gm_eigen r;
        gm_error err = {0};
        succeed(gm_operator_dense(3, a, &op, &err), &err);
        gm_eigen_options options = asked(GM_WHICH_LA, 1, 1e-10);
        options.basis = basis;
        fresh(&op, &options, &r);
        assert_int_equal(r.dense, basis == 0);
        near(r.value[0], 3.0, 1e-9);
        assert_int_equal(r.converged_count, 1);
        gm_eigen_free(&r);
        gm_operator_destroy(&op);
    }
}

/* ---- tracking ---- */

/* From the operator's own pairs, `turned` off and not of unit length: the products that takes. */
static void tracked(double turned, size_t least, size_t most)
{
    static const gm_which ends[] = {GM_WHICH_SA, GM_WHICH_BE};
    for (size_t e = 0; e < 2; e++) {
        known k;
        gm_operator op;
        gm_eigen first, again;
        gm_error err = {0};
        known_make(1000, &k, &op);
        mirrored(k.p, k.value);
        gm_eigen_options options = asked(ends[e], 6, 1e-10);
        fresh(&op, &options, &first);
        double *noise = numbers(6 * k.p);
        gm_normal_fill(gm_stream_of(8, GM_PURPOSE_TEST, 0), 0, 6 * k.p, noise);
        for (size_t i = 0; i < 6 * k.p; i++) {
            first.vector[i] = 3 * (first.vector[i] + turned * noise[i]);
        }
        options.tol = 1e-8;
        op.products = 0;
        succeed(solve_rows(&op, &options, 6, first.vector, &again, &err), &err);
        assert_in_range(again.products, least, most);
        assert_int_equal(again.products, op.products);
        check_pairs(&k, ends[e], &again, 6, 1e-8 * again.scale);
        gm_free(noise);
        gm_eigen_free(&first);
        gm_eigen_free(&again);
        known_free(&k);
    }
}

static void exact_subspace(void **state)
{
    (void)state;
    tracked(0, 6, 6); /* one block */
}

static void turned_subspace(void **state)
{
    (void)state;
    tracked(0.003, 12, 60); /* by 5 degrees */
}

/* Three copies of the largest value, which one start vector cannot tell apart: at this tolerance
 * the values after them have converged before rounding has made the other copies. */
static void repeated_value(void **state)
{
    (void)state;
    enum { K = 6 };
    known k;
    gm_operator op;
    gm_eigen r;
    gm_error err = {0};
    known_make(1000, &k, &op);
    for (size_t i = 0; i < k.p; i++) {
        k.value[i] = i < 3 ? 8.0 : i < 10 ? 8.0 - 0.5 * (double)i : (double)i / (double)k.p;
    }
    double *start = numbers(K * k.p), *noise = numbers(K * k.p);
    gm_normal_fill(gm_stream_of(8, GM_PURPOSE_TEST, 0), 0, K * k.p, noise);
    for (size_t j = 0; j < K; j++) { /* A's eigenvectors are unit vectors reflected */
        start[j * k.p + j] = 1.0;
        reflect(k.p, k.u, start + j * k.p);
        for (size_t i = 0; i < k.p; i++) {
            start[j * k.p + i] += 2e-5 * noise[j * k.p + i];
        }
    }
    gm_eigen_options options = asked(GM_WHICH_LA, K, 1e-4);
    succeed(solve_rows(&op, &options, K, start, &r, &err), &err);
    check_pairs(&k, GM_WHICH_LA, &r, K, 1e-4 * r.scale);
    assert_in_range(r.products, K, 600); /* LOBPCG takes 4 (K + 3) an iteration */
    gm_free(start);
    gm_free(noise);
    gm_eigen_free(&r);
    known_free(&k);
}

/* ---- products of shares ---- */

/* A product taken in shares is the rows of the one taken whole, bit for bit: the direction is
 * rounded to single precision once, and the ranks' sums are added up in the same order. For every
 * operator, with more samples than are summed in single precision, and with fewer than ranks. */
static void shares_of_products(void **state)
{
    (void)state;
    static const char *const sets[] = {"gauss:k=3,d=7,n=9000", "gauss:k=3,d=7,n=3"};
    for (size_t d = 0; d < 2; d++) {
        gm_net *net;
        gm_dataset *data;
        gm_problem *problem;
        gm_linearization *lin;
        gm_error err = {0};
        gm_data_options load;
        gm_problem_options options;
        gm_data_options_default(&load);
        gm_problem_options_default(&options);
        load.dtype = GM_F32;
        load.team = options.team = team;
        succeed(gm_data_load(sets[d], &load, &data, &err), &err);
        succeed(gm_net_from_spec("mlp:7-11-3", &data->shape, 3, &net, &err), &err);
        size_t p = gm_net_parameters(net);
        succeed(gm_problem_create(net, data, &options, &problem, &err), &err);
        double *theta = numbers(p), *v = numbers(p), *av = numbers(p), *share = numbers(p);
        gm_net_init(net, GM_INIT_HE, 0, 0, theta);
        gm_normal_fill(gm_stream_of(9, GM_PURPOSE_TEST, 0), 0, p, v);
        succeed(gm_linearize(problem, theta, &lin, &err), &err);
        gm_linearization_trim(lin); /* nothing of it is missed */
        for (int kind = 0; kind < GM_CURVATURES; kind++) {
            gm_operator op;
            gm_rows rows = gm_rows_of(team, p);
            succeed(gm_curvature_operator(lin, (gm_curvature)kind, GM_ALL_LAYERS, &op, &err), &err);
            succeed(gm_operator_apply(&op, 1, v, av, &err), &err);
            assert_non_null(op.apply_share);
            succeed(op.apply_share(op.self, v + rows.first, share, &err), &err);
            assert_memory_equal(share, av + rows.first, rows.count * sizeof *share);
            assert_true(gm_rows_norm(&rows, share) > 0);
            gm_operator_destroy(&op);
        }
        gm_free(theta);
        gm_free(v);
        gm_free(av);
        gm_free(share);
        gm_linearization_free(lin);
        gm_problem_free(problem);
        gm_dataset_free(data);
        gm_net_free(net);
    }
}

/* ---- where it has to stop ---- */

static void fails_with(known *k, gm_operator *op, gm_status status, const char *words)
{
    gm_eigen r;
    gm_error err = {0};
    gm_eigen_options options = asked(GM_WHICH_LA, 5, 1e-9);
    assert_int_equal(solve_rows(op, &options, 0, NULL, &r, &err), status);
    if (!strstr(err.message, words)) fail_msg("found '%s', expected '%s'", err.message, words);
    assert_null(r.vector);
    known_free(k);
}

static gm_status fail_on_last(known *k, gm_error *err)
{
    if (k->calls < 9 || gm_team_rank(team) + 1 < gm_team_size(team)) return GM_OK;
    return gm_fail(err, GM_ERR_NUMERIC, "this rank alone");
}

static void bad_operators(void **state)
{
    (void)state;
    known k;
    gm_operator op;
    known_make(1000, &k, &op);
    clustered(k.p, k.value);
    k.bad = 7;
    fails_with(&k, &op, GM_ERR_NUMERIC, "product 7 with the known is not finite");
    known_make(1000, &k, &op);
    clustered(k.p, k.value);
    k.skew = 0.1;
    fails_with(&k, &op, GM_ERR_INPUT, "the known is not symmetric");
    known_make(1000, &k, &op);
    clustered(k.p, k.value);
    k.inside = fail_on_last;
    bool last = gm_team_rank(team) + 1 == gm_team_size(team);
    fails_with(&k, &op, GM_ERR_NUMERIC, last ? "this rank alone" : "failed on another rank");
}

/* Alone: ranks that fail apart from each other end the job, elsewhere. From nothing, and from a
 * start. */
static gm_status solve_twice(gm_error *err)
{
    double value[60], u[60], start[120] = {[0] = 1, [1] = 1, [60 + 2] = 1};
    known k = {.p = 60, .value = value, .u = u};
    gm_operator op = {
        .size = 60, .precision = GM_F64, .name = "known", .self = &k, .apply = known_apply};
    gm_eigen r = {0};
    clustered(60, value);
    memset(u, 0, sizeof u);
    u[7] = 1;
    gm_eigen_options options = asked(GM_WHICH_LA, 2, 1e-6);
    gm_status status = gm_dist_row_solver()->solve(NULL, &op, &options, 0, NULL, &r, err);
    gm_eigen_free(&r);
    if (status == GM_OK)
        status = gm_dist_row_solver()->solve(NULL, &op, &options, 2, start, &r, err);
    gm_eigen_free(&r);
    return status;
}

static void out_of_memory(void **state)
{
    (void)state;
    if (gm_team_size(team) == 1) fail_every_allocation(solve_twice, 25);
}

/* What has converged within the limit is the result, maybe nothing. */
static void limited_products(void **state)
{
    (void)state;
    static const size_t limits[] = {3, 20, 30, 45};
    for (size_t l = 0; l < 4; l++) {
        known k;
        gm_operator op;
        gm_eigen r;
        known_make(1000, &k, &op);
        clustered(k.p, k.value);
        gm_eigen_options options = asked(GM_WHICH_LA, 6, 1e-9);
        options.max_products = limits[l];
        fresh(&op, &options, &r);
        assert_in_range(r.products, 0, limits[l]);
        assert_int_equal(r.stop, GM_EIGEN_PRODUCTS);
        assert_in_range(r.count, 0, 5);
        assert_int_equal(r.converged_count, r.count);
        gm_eigen_free(&r);
        known_free(&k);
    }
}

/* A vector of several pieces arrives whole and in order; what stops rank 0 stops all. */
typedef struct taken {
    size_t count, most;
    bool right;
} taken;

static gm_status take(void *context, size_t count, const double *values, gm_error *err)
{
    taken *t = context;
    for (size_t i = 0; i < count; i++) {
        t->right = t->right && values[i] == (double)(t->count + i);
    }
    t->count += count;
    return t->count <= t->most ? GM_OK : gm_fail(err, GM_ERR_IO, "no more");
}

static void rows_for_rank_zero(void **state)
{
    (void)state;
    gm_rows rows = gm_rows_of(team, 300001);
    double *mine = numbers(rows.count);
    for (size_t i = 0; i < rows.count; i++) {
        mine[i] = (double)(rows.first + i);
    }
    bool first = gm_team_rank(team) == 0;
    taken t = {.most = rows.size, .right = true};
    assert_int_equal(gm_rows_deliver(&rows, mine, take, &t, NULL), GM_OK);
    assert_true(t.right);
    assert_int_equal(t.count, first ? rows.size : 0);
    t = (taken){.most = 1000, .right = true};
    assert_int_equal(gm_rows_deliver(&rows, mine, take, &t, NULL), GM_ERR_IO);
    gm_free(mine);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spectrum), cmocka_unit_test(as_the_others),
        cmocka_unit_test(zero_operator),  cmocka_unit_test(fewer_rows_than_ranks),
        cmocka_unit_test(exact_subspace), cmocka_unit_test(turned_subspace),
        cmocka_unit_test(repeated_value), cmocka_unit_test(shares_of_products),
        cmocka_unit_test(bad_operators),  cmocka_unit_test(limited_products),
        cmocka_unit_test(out_of_memory),  cmocka_unit_test(rows_for_rank_zero),
    };
    gm_dist *dist;
    gm_error err = {0};
    const char *note;
    /* Before MPI: it may start the program again. */
    if (gm_cli_startup(argv, &note, &err) != GM_OK) return 1;
    if (gm_dist_start(&argc, &argv, &dist, &err) != GM_OK) return 1;
    team = gm_dist_team(dist);
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "slepc");
    gm_status status = failed ? gm_fail(&err, GM_ERR_NUMERIC, "%d tests failed", failed) : GM_OK;
    return gm_dist_end(dist, "test_slepc", status, &err);
}
