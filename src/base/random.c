#include "gradiometer/random.h"

#include <Random123/philox.h>
#include <math.h>

static philox4x32_ctr_t block(gm_stream stream, uint64_t counter)
{
    philox4x32_key_t key = {{(uint32_t)stream.seed, (uint32_t)(stream.seed >> 32)}};
    philox4x32_ctr_t ctr = {
        {(uint32_t)counter, (uint32_t)(counter >> 32), stream.run, stream.purpose}};
    return philox4x32(ctr, key);
}

/* (0, 1): 52 random bits, centred in their cell, so that neither end is met. */
static double unit(uint32_t low, uint32_t high)
{
    uint64_t bits = ((uint64_t)high << 32) | low;
    return ((double)(bits >> 12) + 0.5) * 0x1p-52;
}

double gm_uniform(gm_stream stream, uint64_t index)
{
    philox4x32_ctr_t r = block(stream, index);
    return unit(r.v[0], r.v[1]);
}

static void normal_pair(gm_stream stream, uint64_t counter, double pair[2])
{
    philox4x32_ctr_t r = block(stream, counter);
    double radius = sqrt(-2.0 * log(unit(r.v[0], r.v[1])));
    double angle = 2.0 * 3.14159265358979323846 * unit(r.v[2], r.v[3]);
    pair[0] = radius * cos(angle);
    pair[1] = radius * sin(angle);
}

double gm_normal(gm_stream stream, uint64_t index)
{
    double pair[2];
    normal_pair(stream, index / 2, pair);
    return pair[index % 2];
}

double gm_rademacher(gm_stream stream, uint64_t index)
{
    philox4x32_ctr_t r = block(stream, index / 128);
    uint32_t bit = (uint32_t)(index % 128);
    return (r.v[bit / 32] >> (bit % 32)) & 1u ? 1.0 : -1.0;
}

uint64_t gm_below(gm_stream stream, uint64_t index, uint64_t bound)
{
    philox4x32_ctr_t r = block(stream, index);
    uint64_t bits = ((uint64_t)r.v[1] << 32) | r.v[0];
    return (uint64_t)(((unsigned __int128)bits * bound) >> 64);
}

void gm_normal_fill(gm_stream stream, uint64_t first, size_t n, double *out)
{
    size_t i = 0;
    if (first % 2 && n) out[i++] = gm_normal(stream, first);
    for (; i + 1 < n; i += 2) {
        normal_pair(stream, (first + i) / 2, out + i);
    }
    if (i < n) out[i] = gm_normal(stream, first + i);
}

void gm_rademacher_fill(gm_stream stream, uint64_t first, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = gm_rademacher(stream, first + i);
    }
}

void gm_permutation(gm_stream stream, uint64_t first, size_t n, size_t *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = i;
    }
    for (size_t i = n; i-- > 1;) {
        size_t j = (size_t)gm_below(stream, first + i, i + 1);
        size_t swap = out[i];
        out[i] = out[j];
        out[j] = swap;
    }
}
