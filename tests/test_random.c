/* Random streams: known answers, one draw alone against a fill, moments, uniform permutations.
 * Every stream has a fixed seed, so that a check with a stated level either holds for good or
 * never. */
#include "gradiometer/random.h"

#include <Random123/philox.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Lines "philox4x32 10" of the file kat_vectors of the Random123 distribution: counter, key,
 * answer. */
static const uint32_t known[3][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e,
     0xa20bc7c6, 0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb,
     0x5001e420, 0x24126ea1},
};

static uint64_t join(uint32_t low, uint32_t high)
{
    return (uint64_t)high << 32 | low;
}

/* The generator itself, and the mapping of (seed, purpose, run, index) to key and counter: the
 * first two words of the answer are what gm_below scales. */
static void test_known_answers(void **state)
{
    (void)state;
    for (int v = 0; v < 3; v++) {
        const uint32_t *k = known[v];
        philox4x32_ctr_t counter = {{k[0], k[1], k[2], k[3]}};
        philox4x32_key_t key = {{k[4], k[5]}};
        philox4x32_ctr_t answer = philox4x32(counter, key);
        assert_memory_equal(answer.v, k + 6, sizeof answer.v);

        gm_stream stream = {.seed = join(k[4], k[5]), .run = k[2], .purpose = k[3]};
        uint64_t index = join(k[0], k[1]), bits = join(k[6], k[7]);
        assert_true(gm_below(stream, index, UINT64_C(1) << 63) == bits >> 1);
        assert_true(gm_below(stream, index, UINT64_C(1) << 32) == bits >> 32);
        assert_true(gm_below(stream, index, 1) == 0);
        /* 52 bits, centred in their cell: exact in double. */
        assert_true(gm_uniform(stream, index) == ((double)(bits >> 12) + 0.5) / 0x1p52);
    }
    /* All 128 bits of the first answer, and the two normal draws that it makes. */
    gm_stream zero = {0};
    for (unsigned b = 0; b < 128; b++) {
        double sign = known[0][6 + b / 32] >> b % 32 & 1 ? 1.0 : -1.0;
        assert_true(gm_rademacher(zero, b) == sign);
    }
    double u = gm_uniform(zero, 0);
    double angle = 2 * acos(-1.0) * ((double)(join(0xbc57ac4c, 0x9b00dbd8) >> 12) + 0.5) / 0x1p52;
    /* Two roundings of an argument of at most 2 pi. */
    assert_true(fabs(gm_normal(zero, 0) - sqrt(-2 * log(u)) * cos(angle)) < 1e-14);
    assert_true(fabs(gm_normal(zero, 1) - sqrt(-2 * log(u)) * sin(angle)) < 1e-14);
}

/* Draw k alone is the same bits as draw k of a fill, whatever the fill's first index and length. */
static void test_one_draw_as_in_a_fill(void **state)
{
    (void)state;
    enum { MOST = 300 };
    gm_stream stream = gm_stream_of(7, GM_PURPOSE_TEST, 3);
    static const uint64_t first[] = {0, 1, 2, 127, 128, 1000001, (UINT64_C(1) << 40) - 1};
    static const size_t length[] = {0, 1, 2, 3, 128, 299, MOST};
    double filled[MOST + 1];
    for (size_t f = 0; f < sizeof first / sizeof *first; f++) {
        for (size_t l = 0; l < sizeof length / sizeof *length; l++) {
            filled[length[l]] = 77; /* must stay */
            gm_normal_fill(stream, first[f], length[l], filled);
            for (size_t i = 0; i < length[l]; i++) {
                assert_true(filled[i] == gm_normal(stream, first[f] + i));
            }
            gm_rademacher_fill(stream, first[f], length[l], filled);
            for (size_t i = 0; i < length[l]; i++) {
                assert_true(filled[i] == gm_rademacher(stream, first[f] + i));
            }
            assert_true(filled[length[l]] == 77);
        }
    }
}

/* |mean - expected| in units of its standard error, from n draws of known variance. */
static double standard_errors(double sum, size_t n, double expected, double variance)
{
    return fabs(sum / (double)n - expected) / sqrt(variance / (double)n);
}

/* Moments of 10^6 draws. A sound generator exceeds 4.5 standard errors with probability 7e-6 per
 * check; there are ten. */
static void test_moments(void **state)
{
    (void)state;
    enum { N = 1000000 };
    const double most = 4.5;
    gm_stream stream = gm_stream_of(11, GM_PURPOSE_TEST, 0);
    double u[2] = {0}, z[5] = {0}, r = 0, pairs = 0, below = 0;
    for (uint64_t i = 0; i < N; i++) {
        double uniform = gm_uniform(stream, i), normal = gm_normal(stream, i);
        assert_true(uniform > 0 && uniform < 1);
        u[0] += uniform;
        u[1] += uniform * uniform;
        double power = 1;
        for (int k = 1; k <= 4; k++) {
            power *= normal;
            z[k] += power;
        }
        r += gm_rademacher(stream, i);
        if (i % 2) pairs += normal * gm_normal(stream, i - 1); /* of one Box-Muller pair */
        below += (double)gm_below(stream, i, 7);
    }
    assert_true(standard_errors(u[0], N, 1.0 / 2, 1.0 / 12) < most);
    assert_true(standard_errors(u[1], N, 1.0 / 3, 1.0 / 5 - 1.0 / 9) < most);
    /* Moments of N(0, 1): 0 1 0 3 0 15 0 105, so that var(z^k) = E z^2k - (E z^k)^2. */
    assert_true(standard_errors(z[1], N, 0, 1) < most);
    assert_true(standard_errors(z[2], N, 1, 2) < most);
    assert_true(standard_errors(z[3], N, 0, 15) < most);
    assert_true(standard_errors(z[4], N, 3, 96) < most);
    assert_true(standard_errors(pairs, N / 2, 0, 1) < most);
    assert_true(standard_errors(r, N, 0, 1) < most);
    assert_true(standard_errors(below, N, 3, 4) < most);
}

/* Streams that differ in one part of their name only are uncorrelated; seed s, run 1 is not seed
 * s + 1, run 0. */
static void test_streams_differ(void **state)
{
    (void)state;
    enum { N = 100000 };
    gm_stream base = gm_stream_of(5, GM_PURPOSE_TEST, 0);
    gm_stream other[] = {
        gm_stream_of(6, GM_PURPOSE_TEST, 0),
        gm_stream_of(5, GM_PURPOSE_TEST, 1),
        gm_stream_of(5, GM_PURPOSE_PROBE, 0),
        gm_stream_of(UINT64_C(5) | UINT64_C(1) << 32, GM_PURPOSE_TEST, 0),
    };
    for (size_t s = 0; s < sizeof other / sizeof *other; s++) {
        double product = 0;
        for (uint64_t i = 0; i < N; i++) {
            product += gm_normal(base, i) * gm_normal(other[s], i);
        }
        /* 4.5 standard errors: 7e-6 each. */
        assert_true(standard_errors(product, N, 0, 1) < 4.5);
    }
    assert_true(gm_uniform(other[0], 0) != gm_uniform(other[1], 0));
}

/* All 120 orders of 5 elements equally often in 60,000 permutations: chi-square with 119 degrees of
 * freedom, whose 99.9 % point is 172.4. */
static void test_permutations_uniform(void **state)
{
    (void)state;
    enum { K = 5, ORDERS = 120, TRIALS = 60000 };
    gm_stream stream = gm_stream_of(3, GM_PURPOSE_TEST, 0);
    int count[ORDERS] = {0};
    for (uint64_t t = 0; t < TRIALS; t++) {
        size_t order[K];
        gm_permutation(stream, t * K, K, order);
        size_t number = 0, seen = 0;
        for (size_t i = 0; i < K; i++) {
            size_t rank = 0;
            assert_true(order[i] < K && !(seen >> order[i] & 1));
            seen |= (size_t)1 << order[i];
            for (size_t j = i + 1; j < K; j++) {
                rank += order[j] < order[i];
            }
            number = number * (K - i) + rank;
        }
        count[number]++;
    }
    double chi_square = 0, expected = (double)TRIALS / ORDERS;
    for (int o = 0; o < ORDERS; o++) {
        chi_square += (count[o] - expected) * (count[o] - expected) / expected;
    }
    assert_true(chi_square < 172.4);
    /* And not too even either: the 0.1 % point is 77.0. */
    assert_true(chi_square > 77.0);

    size_t one = 9;
    gm_permutation(stream, 0, 1, &one);
    assert_int_equal(one, 0);
    gm_permutation(stream, 0, 0, &one);
    assert_int_equal(one, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_one_draw_as_in_a_fill),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_streams_differ),
        cmocka_unit_test(test_permutations_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
