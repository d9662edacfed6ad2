/* Mini-batches and schedules: what is drawn, how often, and that a step's batch depends on the step
 * alone. Seeds are fixed, so a statistical bound either holds for good or not at all. */
#include <math.h>
#include <string.h>

#include "gradiometer/random.h"
#include "gradiometer/sgd.h"
#include "sgd/schedule.h"
#include "support.h"

static gm_sampler *sampler_of(size_t n, size_t batch, gm_replacement replacement)
{
    gm_error err;
    gm_sampler *sampler = NULL;
    if (gm_sampler_create(n, batch, replacement, 5, 2, &sampler, &err)) fail_msg("%s", err.message);
    return sampler;
}

static void with_replacement_is_the_stream(void **unused)
{
    (void)unused;
    enum { N = 7, M = 5, STEPS = 4000 };
    gm_sampler *sampler = sampler_of(N, M, GM_REPLACEMENT_YES);
    gm_stream stream = gm_stream_of(5, GM_PURPOSE_BATCH, 2);
    double seen[N] = {0}, chi = 0;
    bool repeats = false;
    for (uint64_t t = 0; t < STEPS; t++) {
        size_t index[M];
        assert_int_equal(gm_sampler_draw(sampler, t, index), M);
        for (size_t j = 0; j < M; j++) {
            assert_int_equal(index[j], gm_below(stream, t * M + j, N)); /* the documented rule */
            seen[index[j]]++;
            for (size_t i = 0; i < j; i++) {
                repeats = repeats || index[i] == index[j];
            }
        }
    }
    for (size_t i = 0; i < N; i++) {
        double expected = (double)STEPS * M / N;
        chi += (seen[i] - expected) * (seen[i] - expected) / expected;
    }
    assert_true(chi < 22.5); /* chi-square with 6 degrees of freedom: exceeded with 0.1 % */
    assert_true(repeats);
    gm_sampler_free(sampler);
    sampler = sampler_of(2, 9, GM_REPLACEMENT_YES); /* more than there are */
    size_t index[9];
    assert_int_equal(gm_sampler_draw(sampler, 3, index), 9);
    gm_sampler_free(sampler);
}

static void without_replacement_is_a_subset(void **unused)
{
    (void)unused;
    enum { N = 6, M = 3, STEPS = 6000 };
    gm_sampler *sampler = sampler_of(N, M, GM_REPLACEMENT_NO);
    gm_stream stream = gm_stream_of(5, GM_PURPOSE_BATCH, 2);
    double pairs[N][N] = {{0}}, chi = 0;
    for (uint64_t t = 0; t < STEPS; t++) {
        size_t index[M];
        assert_int_equal(gm_sampler_draw(sampler, t, index), M);
        size_t deck[N] = {0, 1, 2, 3, 4, 5};
        for (size_t j = 0; j < M; j++) {
            size_t place = j + (size_t)gm_below(stream, t * M + j, N - j), old = deck[j];
            deck[j] = deck[place];
            deck[place] = old;
            assert_int_equal(index[j], deck[j]); /* the documented rule */
            assert_true(index[j] < N);
            for (size_t i = 0; i < M; i++) {
                if (i == j) continue;
                assert_int_not_equal(index[i], index[j]);
                pairs[index[i]][index[j]]++;
            }
        }
    }
    /* Every pair is in a subset with probability m(m-1)/(n(n-1)), which a biased shuffle would
     * miss; the variance of a count is below its mean. */
    double expected = (double)STEPS * M * (M - 1) / (N * (N - 1));
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_true(pairs[i][j] == pairs[j][i]);
            chi += (pairs[i][j] - expected) * (pairs[i][j] - expected) / expected;
        }
    }
    assert_true(chi < 36.1); /* 15 unordered pairs, 14 free: exceeded with 0.1 % */
    gm_sampler_free(sampler);

    sampler = sampler_of(N, N, GM_REPLACEMENT_NO); /* the whole set */
    size_t all[N], sum = 0;
    gm_sampler_draw(sampler, 17, all);
    for (size_t i = 0; i < N; i++) {
        sum += (size_t)1 << all[i];
    }
    assert_int_equal(sum, (1 << N) - 1);
    gm_sampler_free(sampler);
}

static void an_epoch_covers_all_once(void **unused)
{
    (void)unused;
    enum { N = 11, M = 4, BATCHES = 3 };
    gm_sampler *sampler = sampler_of(N, M, GM_REPLACEMENT_EPOCH);
    size_t former[N] = {0};
    for (uint64_t epoch = 0; epoch < 50; epoch++) {
        size_t order[N], rule[N], sum = 0, place = 0;
        for (uint64_t b = 0; b < BATCHES; b++) {
            size_t index[M];
            size_t count = gm_sampler_draw(sampler, epoch * BATCHES + b, index);
            assert_int_equal(count, b == BATCHES - 1 ? 3 : 4); /* short, and not dropped */
            for (size_t j = 0; j < count; j++) {
                sum += (size_t)1 << index[j];
                order[place++] = index[j];
            }
        }
        assert_int_equal(sum, (1 << N) - 1);
        gm_permutation(gm_stream_of(5, GM_PURPOSE_BATCH, 2), epoch * N, N, rule);
        assert_memory_equal(order, rule, sizeof order); /* the documented rule */
        assert_memory_not_equal(order, former, sizeof order);
        memcpy(former, order, sizeof order);
    }
    gm_sampler_free(sampler);
    sampler = sampler_of(8, 4, GM_REPLACEMENT_EPOCH); /* divides evenly: no short batch */
    size_t index[4];
    assert_int_equal(gm_sampler_draw(sampler, 1, index), 4);
    assert_int_equal(gm_sampler_draw(sampler, 2, index), 4);
    gm_sampler_free(sampler);
}

/* In any order, again, and from another sampler. */
static void a_batch_depends_on_its_step_alone(void **unused)
{
    (void)unused;
    enum { N = 13, M = 5 };
    static const uint64_t order[] = {40, 2, 7, 40, 0, 1000000, 7, 2, 39};
    for (int r = GM_REPLACEMENT_YES; r <= GM_REPLACEMENT_EPOCH; r++) {
        gm_sampler *wandering = sampler_of(N, M, (gm_replacement)r);
        for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
            size_t a[M] = {0}, b[M] = {0}, c[M] = {0};
            gm_sampler *fresh = sampler_of(N, M, (gm_replacement)r);
            assert_int_equal(gm_sampler_draw(wandering, order[i], a),
                             gm_sampler_draw(fresh, order[i], b));
            assert_memory_equal(a, b, sizeof a);
            gm_sampler_draw(fresh, order[i] + 1, c);
            assert_memory_not_equal(a, c, sizeof a);
            gm_sampler_free(fresh);
        }
        gm_sampler_free(wandering);
    }
}

static void streams_differ_by_seed_and_run(void **unused)
{
    (void)unused;
    gm_error err;
    gm_sampler *a = NULL, *b = NULL, *c = NULL;
    size_t x[20], y[20], z[20];
    assert_int_equal(gm_sampler_create(1000, 20, GM_REPLACEMENT_YES, 1, 0, &a, &err), GM_OK);
    assert_int_equal(gm_sampler_create(1000, 20, GM_REPLACEMENT_YES, 2, 0, &b, &err), GM_OK);
    assert_int_equal(gm_sampler_create(1000, 20, GM_REPLACEMENT_YES, 1, 1, &c, &err), GM_OK);
    gm_sampler_draw(a, 0, x);
    gm_sampler_draw(b, 0, y);
    gm_sampler_draw(c, 0, z);
    assert_memory_not_equal(x, y, sizeof x);
    assert_memory_not_equal(x, z, sizeof x);
    gm_sampler_free(a);
    gm_sampler_free(b);
    gm_sampler_free(c);
}

static void impossible_batches_are_refused(void **unused)
{
    (void)unused;
    gm_error err;
    gm_sampler *sampler = NULL;
    static const struct {
        size_t n, batch;
        gm_replacement replacement;
    } cases[] = {{5, 0, GM_REPLACEMENT_YES},
                 {0, 5, GM_REPLACEMENT_YES},
                 {5, 6, GM_REPLACEMENT_NO},
                 {5, 6, GM_REPLACEMENT_EPOCH}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(gm_sampler_create(cases[i].n, cases[i].batch, cases[i].replacement, 1, 0,
                                           &sampler, &err),
                         GM_ERR_USAGE);
        assert_null(sampler);
        assert_non_null(strstr(err.message, "--batch"));
    }
}

static void names_of_replacement(void **unused)
{
    (void)unused;
    gm_replacement r;
    for (int i = GM_REPLACEMENT_YES; i <= GM_REPLACEMENT_EPOCH; i++) {
        assert_true(gm_replacement_parse(gm_replacement_name((gm_replacement)i), &r));
        assert_int_equal(r, i);
    }
    assert_false(gm_replacement_parse("maybe", &r));
    assert_false(gm_replacement_parse("", &r));
}

/* ---- schedules ---- */

static void kept_steps(void **unused)
{
    (void)unused;
    static const uint64_t expected[] = {0, 2, 4, 8, 16, 32, 63, 126, 251, 501, 1000};
    gm_train_options options;
    gm_train_options_default(&options);
    assert_int_equal(options.steps, 1000);
    size_t next = 0;
    for (uint64_t t = 0; t <= 1000; t++) {
        if (gm_train_keeps(&options, t)) assert_int_equal(t, expected[next++]);
    }
    assert_int_equal(next, sizeof expected / sizeof *expected);
    options.keep_every = 300;
    for (uint64_t t = 0; t <= 1000; t++) {
        assert_int_equal(gm_train_keeps(&options, t), t % 300 == 0 || t == 1000);
    }
    options = (gm_train_options){.steps = 1, .batch = 1};
    assert_true(gm_train_keeps(&options, 0) && gm_train_keeps(&options, 1));
}

static void measured_steps(void **unused)
{
    (void)unused;
    static const struct {
        uint64_t steps;
        size_t batch, n, p, least, most;
    } cases[] = {
        /* of no account: about 200, dense at first */
        {1000, 5, 100, 2000, 150, 240},
        {50, 5, 100, 2000, 51, 51},
        /* a small share of the training: likewise */
        {100000, 64, 1000, 1000000, 150, 240},
        {1000000, 64, 1000, 1000000, 150, 240},
        /* a measurement costs as much as 781 steps: 40 to 60 of them a quarter of the training */
        {200000, 64, 50000, 1000000, 50, 64 + GM_KEPT_BY_DEFAULT},
        /* of 25 times as many steps, about 20, half of them kept ones */
        {20000, 64, 50000, 1000000, 18, 32},
        /* all of the kept ones cost no more than the training */
        {10000, 64, 50000, 1000000, 11, 12},
        /* some of them */
        {4000, 64, 50000, 1000000, 4, 5},
        /* start and end, which are there in any case */
        {100, 128, 60000, 1000000, 2, 2},
        {1, 1, 100, 1000000, 2, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gm_train_options options;
        gm_train_options_default(&options);
        options.steps = cases[i].steps;
        options.batch = cases[i].batch;
        gm_schedule schedule;
        gm_schedule_init(&schedule, &options, cases[i].n, cases[i].p);
        size_t count = 0;
        for (uint64_t t = 0; t <= options.steps; t++) {
            bool due = gm_schedule_records(&schedule, t);
            count += due;
            bool kept = gm_train_keeps(&options, t) && cases[i].least >= GM_KEPT_BY_DEFAULT + 1;
            if (t == 0 || t == options.steps || kept) assert_true(due);
            /* Asked for one step alone the answer is the same: a resumed run meets the same. */
            if (t < 3000)
                assert_int_equal(due, gm_train_records(&options, cases[i].n, cases[i].p, t));
        }
        assert_in_range(count, cases[i].least, cases[i].most);
    }
    gm_train_options options;
    gm_train_options_default(&options);
    options.record_every = 7;
    for (uint64_t t = 0; t <= options.steps; t++) {
        assert_int_equal(gm_train_records(&options, 5, 5, t), t % 7 == 0 || t == options.steps);
    }
    options.keep_every = 10; /* what is asked for is measured too */
    for (uint64_t t = 0; t <= options.steps; t++) {
        assert_int_equal(gm_train_records(&options, 5, 5, t),
                         t % 7 == 0 || t % 10 == 0 || t == options.steps);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_replacement_is_the_stream),
        cmocka_unit_test(without_replacement_is_a_subset),
        cmocka_unit_test(an_epoch_covers_all_once),
        cmocka_unit_test(a_batch_depends_on_its_step_alone),
        cmocka_unit_test(streams_differ_by_seed_and_run),
        cmocka_unit_test(impossible_batches_are_refused),
        cmocka_unit_test(names_of_replacement),
        cmocka_unit_test(kept_steps),
        cmocka_unit_test(measured_steps),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "sampler");
}
