/* Following eigenpairs from a known subspace: repeated values, warm starts, newcomers. */
#include "spectra.h"

static void track(gm_operator *op, const gm_eigen_options *options, size_t start_count,
                  const double *start, gm_eigen *result)
{
    gm_error err;
    if (gm_eigen_track(op, options, start_count, start, result, &err) != GM_OK)
        fail_msg("%s", err.message);
}

/* A bulk within 0.05 of zero and ten values from 12 down to 3. */
static void outliers(size_t p, known *k, gm_operator *op)
{
    known_make(p, k, op);
    for (size_t i = 0; i < p; i++) {
        k->value[i] = i < 10 ? 12.0 - (double)i : 0.1 * (double)i / (double)p - 0.05;
    }
}

/* One vector at a time finds six of seven at such a tolerance. */
static void every_copy_of_a_repeated_value(void **state)
{
    (void)state;
    static const size_t sizes[] = {100, 1000, GM_TEST_SIZE(100000, 10000)};
    for (size_t s = 0; s < 3; s++) {
        for (size_t count = 5; count <= 9; count += 2) {
            known k;
            gm_operator op;
            gm_eigen r;
            known_make(sizes[s], &k, &op);
            for (size_t i = 0; i < k.p; i++) {
                k.value[i] = i < 7 ? 4.0 : i < 10 ? 3.0 - 0.1 * (double)i : (double)i / (double)k.p;
            }
            gm_eigen_options options = asked(GM_WHICH_LA, count, 1e-4);
            track(&op, &options, 0, NULL, &r);
            check_pairs(&k, GM_WHICH_LA, &r, count, 4e-4);
            gm_eigen_free(&r);
            known_free(&k);
        }
    }
}

static void exact_subspace_takes_two_blocks(void **state)
{
    (void)state;
    static const gm_which which[] = {GM_WHICH_LA, GM_WHICH_SA, GM_WHICH_BE, GM_WHICH_LM};
    for (size_t w = 0; w < 4; w++) {
        known k;
        gm_operator op;
        gm_eigen cold, warm;
        outliers(3000, &k, &op);
        for (size_t i = 0; i < 5; i++) {
            k.value[20 + i] = -9.0 + (double)i;
        }
        gm_eigen_options options = asked(which[w], 5, 1e-10);
        track(&op, &options, 0, NULL, &cold);
        check_pairs(&k, which[w], &cold, 5, 2e-9);
        options.tol = 1e-6;
        options.seed = 9; /* other guards */
        k.calls = 0;
        track(&op, &options, cold.count, cold.vector, &warm);
        check_pairs(&k, which[w], &warm, 5, 1.3e-5);
        /* The product that asks whether the start still holds, a block of the pairs and the guards,
         * and one look at where the guards go. */
        assert_true(warm.blocks <= 3 && warm.products <= 1 + 8 + 3);
        gm_eigen_free(&cold);
        gm_eigen_free(&warm);
        known_free(&k);
    }
}

static void neighbour_takes_half_of_a_cold_start(void **state)
{
    (void)state;
    known k;
    gm_operator op;
    gm_eigen before, cold, warm;
    /* A bulk that fills 0 ... 1 below the outliers 12 ... 3. (Where the bulk is so narrow that a
     * cold start takes four blocks, the two that a warm one takes are little more than half.) */
    outliers(5000, &k, &op);
    for (size_t i = 10; i < k.p; i++) {
        k.value[i] = (double)i / (double)k.p;
    }
    gm_eigen_options options = asked(GM_WHICH_LA, 10, 1e-4);
    track(&op, &options, 0, NULL, &before);
    k.tilt = 0.01; /* every direction turns by 0.01, 100 tolerances; values move by a percent */
    for (size_t i = 0; i < k.p; i++) {
        k.value[i] *= 1.0 + 0.01 * sin(3.0 * (double)i);
    }
    options.seed = 4;
    track(&op, &options, 0, NULL, &cold);
    track(&op, &options, before.count, before.vector, &warm);
    check_pairs(&k, GM_WHICH_LA, &cold, 10, 1.3e-3);
    check_pairs(&k, GM_WHICH_LA, &warm, 10, 1.3e-3);
    assert_true(2 * warm.products <= cold.products);
    gm_eigen_free(&before);
    gm_eigen_free(&cold);
    gm_eigen_free(&warm);
    known_free(&k);
}

static void pairs_above_the_threshold_join(void **state)
{
    (void)state;
    static const gm_which which[] = {GM_WHICH_LA, GM_WHICH_SA, GM_WHICH_LM};
    for (size_t w = 0; w < 3; w++) {
        known k;
        gm_operator op;
        gm_eigen three, r;
        outliers(2000, &k, &op);
        for (size_t i = 0; i < k.p && which[w] == GM_WHICH_SA; i++) {
            k.value[i] = -k.value[i];
        }
        gm_eigen_options options = asked(which[w], 3, 1e-8);
        track(&op, &options, 0, NULL, &three);
        check_pairs(&k, which[w], &three, 3, 2e-7);
        options.threshold = 4.5; /* 12 ... 5: eight of them */
        options.max_pairs = 9;
        track(&op, &options, three.count, three.vector, &r);
        check_pairs(&k, which[w], &r, 8, 2e-7);
        gm_eigen_free(&r);
        options.max_pairs = 5;
        track(&op, &options, three.count, three.vector, &r);
        check_pairs(&k, which[w], &r, 5, 2e-7);
        gm_eigen_free(&r);
        options.max_pairs = 0; /* 2 k */
        track(&op, &options, 0, NULL, &r);
        check_pairs(&k, which[w], &r, 6, 2e-7);
        gm_eigen_free(&r);
        gm_eigen_free(&three);
        known_free(&k);
    }
}

/* The start spans pairs that are exact and no longer the largest. */
static void a_newcomer_is_seen(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        known k;
        gm_operator op;
        gm_eigen before, r;
        outliers(2000, &k, &op);
        gm_eigen_options options = asked(GM_WHICH_LA, 6, 1e-6);
        track(&op, &options, 0, NULL, &before);
        k.value[1000] = 20.0;
        k.value[1001] = 8.5;
        options.seed = seed;
        track(&op, &options, before.count, before.vector, &r);
        check_pairs(&k, GM_WHICH_LA, &r, 6, 2e-5);
        near(r.value[0], 20.0, 2e-5);
        gm_eigen_free(&before);
        gm_eigen_free(&r);
        known_free(&k);
    }
}

/* -0.999 converges before the larger 1, which others crowd. */
static void an_emerging_pair_is_waited_for(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        known k;
        gm_operator op;
        gm_eigen r;
        known_make(300, &k, &op);
        for (size_t i = 0; i < k.p; i++) {
            k.value[i] = i < 5 ? 1.0 - 0.02 * (double)i : 0.9 * (double)i / (double)k.p;
        }
        k.value[1] = -0.999;
        k.value[2] = -3.5768;
        gm_eigen_options options = asked(GM_WHICH_LM, 2, 1e-6);
        options.seed = seed;
        track(&op, &options, 0, NULL, &r);
        check_pairs(&k, GM_WHICH_LM, &r, 2, 4e-6);
        gm_eigen_free(&r);
        known_free(&k);
    }
}

/* A small basis restarts over and over; the spectrum has no gap to speak of. */
static void many_restarts_keep_the_basis_orthogonal(void **state)
{
    (void)state;
    known k;
    gm_operator op;
    gm_eigen r;
    known_make(1000, &k, &op);
    for (size_t i = 0; i < k.p; i++) {
        double x = (double)i / (double)k.p;
        k.value[i] = 1.0 - x * x;
    }
    k.value[0] = 1.001;
    gm_eigen_options options = asked(GM_WHICH_SA, 3, 1e-9);
    options.basis = 17;
    track(&op, &options, 0, NULL, &r);
    check_pairs(&k, GM_WHICH_SA, &r, 3, 2e-9);
    assert_true(r.products > 4 * options.basis);
    gm_eigen_free(&r);
    known_free(&k);
}

/* What one pass of orthogonalization leaves of a near copy is off by eps / 1e-7. */
static void near_copies_of_the_pairs(void **state)
{
    (void)state;
    known k;
    gm_operator op;
    gm_eigen exact, r;
    outliers(400, &k, &op);
    gm_eigen_options options = asked(GM_WHICH_LA, 4, 1e-9);
    track(&op, &options, 0, NULL, &exact);
    double *start = numbers(8 * k.p);
    for (size_t i = 0; i < 8 * k.p; i++) {
        start[i] = exact.vector[i % (4 * k.p)];
        if (i >= 4 * k.p) start[i] += 1e-8 * sin((double)(i * i));
    }
    options.k = 8;
    track(&op, &options, 8, start, &r);
    check_pairs(&k, GM_WHICH_LA, &r, 8, 2e-8);
    assert_true(r.products < 32); /* four blocks of eight */
    gm_free(start);
    gm_eigen_free(&exact);
    gm_eigen_free(&r);
    known_free(&k);
}

static void poor_starts(void **state)
{
    (void)state;
    known k;
    gm_operator op;
    gm_eigen r;
    gm_error err;
    outliers(400, &k, &op);
    gm_eigen_options options = asked(GM_WHICH_LA, 4, 1e-7);
    double *start = numbers(401 * k.p);
    /* Zero, twice the same, and no unit length. */
    for (size_t i = 0; i < k.p; i++) {
        start[k.p + i] = start[2 * k.p + i] = 1e3 * cos((double)i);
        start[3 * k.p + i] = 1e-3 * sin(5.0 * (double)i);
    }
    static const size_t counts[] = {1, 3, 4, 20}; /* rows 4 ... 19 are zero */
    for (size_t c = 0; c < 4; c++) {
        track(&op, &options, counts[c], start, &r);
        check_pairs(&k, GM_WHICH_LA, &r, 4, 2e-6);
        gm_eigen_free(&r);
    }
    k.done = 0;
    assert_int_equal(gm_eigen_track(&op, &options, 401, start, &r, &err), GM_ERR_USAGE);
    start[2 * k.p + 5] = (double)NAN;
    assert_int_equal(gm_eigen_track(&op, &options, 4, start, &r, &err), GM_ERR_INPUT);
    assert_non_null(strstr(err.message, "vector 2"));
    options.threshold = (double)NAN;
    assert_int_equal(gm_eigen_track(&op, &options, 0, NULL, &r, &err), GM_ERR_USAGE);
    options.threshold = 1.0;
    options.max_pairs = 3; /* below k */
    assert_int_equal(gm_eigen_track(&op, &options, 0, NULL, &r, &err), GM_ERR_USAGE);
    assert_int_equal(k.done, 0);
    gm_free(start);
    known_free(&k);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_copy_of_a_repeated_value),
        cmocka_unit_test(exact_subspace_takes_two_blocks),
        cmocka_unit_test(neighbour_takes_half_of_a_cold_start),
        cmocka_unit_test(pairs_above_the_threshold_join),
        cmocka_unit_test(a_newcomer_is_seen),
        cmocka_unit_test(an_emerging_pair_is_waited_for),
        cmocka_unit_test(many_restarts_keep_the_basis_orthogonal),
        cmocka_unit_test(near_copies_of_the_pairs),
        cmocka_unit_test(poor_starts),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "eigen_track");
}
