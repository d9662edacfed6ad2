/* Mini-batches from the counter-based stream: the batch of any step can be had alone.
 *
 * With replacement, index j of step t is draw t m + j. Without, the first m places of a
 * Fisher-Yates shuffle of 0 ... n-1 are drawn, with the same draws, and undone. Per epoch, epoch e
 * is the permutation of draws e n ... e n + n - 1, cut into ceil(n/m) batches. */
#include "sgd/sampler.h"

#include "base/memory.h"

struct gm_sampler {
    size_t n, batch;
    gm_replacement replacement;
    gm_stream stream;
    size_t *order;  /* [n]: 0 ... n-1 without replacement; the epoch's permutation per epoch */
    size_t *chosen; /* [batch]: places swapped, without replacement */
    bool has_epoch;
    uint64_t epoch; /* that order holds */
};

gm_status gm_sampler_create(size_t n, size_t batch, gm_replacement replacement, uint64_t seed,
                            uint32_t run, gm_sampler **sampler, gm_error *err)
{
    return gm_sampler_create_from(gm_stream_of(seed, GM_PURPOSE_BATCH, run), n, batch, replacement,
                                  sampler, err);
}

gm_status gm_sampler_create_from(gm_stream stream, size_t n, size_t batch,
                                 gm_replacement replacement, gm_sampler **sampler, gm_error *err)
{
    *sampler = NULL;
    if (n < 1 || batch < 1)
        return gm_fail(err, GM_ERR_USAGE, "--batch: %zu of %zu samples, expected at least 1", batch,
                       n);
    if (batch > n && replacement != GM_REPLACEMENT_YES)
        return gm_fail(err, GM_ERR_USAGE,
                       "--batch: %zu samples without replacement, but the data set has %zu", batch,
                       n);
    gm_sampler *fresh = gm_alloc(1, sizeof *fresh, "mini-batches", err);
    if (!fresh) return GM_ERR_MEMORY;
    fresh->n = n;
    fresh->batch = batch;
    fresh->replacement = replacement;
    fresh->stream = stream;
    if (replacement != GM_REPLACEMENT_YES) {
        fresh->order = gm_alloc(n, sizeof *fresh->order, "order of the samples", err);
        fresh->chosen = gm_alloc(batch, sizeof *fresh->chosen, "mini-batch", err);
        if (!fresh->order || !fresh->chosen) {
            gm_sampler_free(fresh);
            return GM_ERR_MEMORY;
        }
        for (size_t i = 0; i < n; i++) {
            fresh->order[i] = i;
        }
    }
    *sampler = fresh;
    return GM_OK;
}

void gm_sampler_free(gm_sampler *sampler)
{
    if (!sampler) return;
    gm_free(sampler->order);
    gm_free(sampler->chosen);
    gm_free(sampler);
}

static void swap(size_t *a, size_t *b)
{
    size_t old = *a;
    *a = *b;
    *b = old;
}

static size_t draw_subset(gm_sampler *s, uint64_t t, size_t *index)
{
    for (size_t j = 0; j < s->batch; j++) {
        s->chosen[j] = j + (size_t)gm_below(s->stream, t * s->batch + j, s->n - j);
        swap(&s->order[j], &s->order[s->chosen[j]]);
        index[j] = s->order[j];
    }
    /* Back to 0 ... n-1: a batch depends on its step alone. */
    for (size_t j = s->batch; j-- > 0;) {
        swap(&s->order[j], &s->order[s->chosen[j]]);
    }
    return s->batch;
}

static size_t draw_epoch(gm_sampler *s, uint64_t t, size_t *index)
{
    uint64_t batches = (s->n + s->batch - 1) / s->batch, epoch = t / batches;
    if (!s->has_epoch || s->epoch != epoch) {
        gm_permutation(s->stream, epoch * s->n, s->n, s->order);
        s->epoch = epoch;
        s->has_epoch = true;
    }
    size_t first = (size_t)(t % batches) * s->batch;
    size_t count = s->n - first < s->batch ? s->n - first : s->batch;
    for (size_t j = 0; j < count; j++) {
        index[j] = s->order[first + j];
    }
    return count;
}

size_t gm_sampler_draw(gm_sampler *s, uint64_t t, size_t *index)
{
    if (s->replacement == GM_REPLACEMENT_NO) return draw_subset(s, t, index);
    if (s->replacement == GM_REPLACEMENT_EPOCH) return draw_epoch(s, t, index);
    for (size_t j = 0; j < s->batch; j++) {
        index[j] = (size_t)gm_below(s->stream, t * s->batch + j, s->n);
    }
    return s->batch;
}
