#include "diff/worker.h"

#include <string.h>

#include "base/memory.h"

/* Samples whose contributions are added up in single precision before they join the double sum: the
 * rounding of such a sum stays near that of its terms, and the double sum costs little beside the
 * products. */
enum { FLUSH_SAMPLES = 2048 };

/* The node whose memory serves node i: its user's, where that is an in-place layer and nobody else
 * reads i. */
static int home_of(const gm_net *net, const bool *member, int i)
{
    int users = 0, user = 0;
    for (int j = i + 1; j < net->nodes; j++) {
        for (int l = 0; l < net->node[j].inputs; l++) {
            if (net->node[j].input[l] == i) {
                users++;
                user = j;
            }
        }
    }
    bool shares = users == 1 && member[user] && (net->node[user].traits & GM_TRAIT_INPLACE) &&
                  user != net->nodes - 1 && !(net->node[i].traits & GM_TRAIT_NEEDS_OUT);
    return shares ? user : i;
}

size_t gm_arrays_width(const gm_net *net, const bool *member)
{
    size_t width = 0;
    for (int i = 0; i < net->nodes; i++) {
        if (member[i] && home_of(net, member, i) == i) width += net->node[i].size;
    }
    return width;
}

void gm_arrays_lay(const gm_net *net, const bool *member, size_t rows, size_t size, void *memory,
                   void **node)
{
    char *next = memory;
    for (int i = net->nodes - 1; i >= 0;
         i--) { /* users before their inputs: a shared home is known already */
        node[i] = NULL;
        if (!member[i]) continue;
        int home = home_of(net, member, i);
        if (home != i) {
            node[i] = node[home];
            continue;
        }
        node[i] = next;
        next += rows * net->node[i].size * size;
    }
}

gm_status gm_arrays_make(const gm_net *net, const bool *member, size_t rows, size_t size,
                         gm_arrays *arrays, gm_error *err)
{
    size_t count;
    if (!gm_mul_size(gm_arrays_width(net, member), rows, &count)) {
        return gm_fail(err, GM_ERR_MEMORY, "%s: activations of %zu samples overflow", net->name,
                       rows);
    }
    arrays->node = gm_alloc((size_t)net->nodes, sizeof *arrays->node, "activations", err);
    arrays->memory = gm_alloc(count, size, "activations", err);
    if (!arrays->node || !arrays->memory) return GM_ERR_MEMORY;
    gm_arrays_lay(net, member, rows, size, arrays->memory, arrays->node);
    return GM_OK;
}

void gm_arrays_free(gm_arrays *arrays)
{
    gm_free(arrays->memory);
    gm_free(arrays->node);
    *arrays = (gm_arrays){NULL, NULL};
}

gm_status gm_sums_create(const gm_kernels *k, int workers, size_t count, size_t size,
                         gm_sums **made, gm_error *err)
{
    *made = NULL;
    gm_sums *sums = gm_alloc(1, sizeof *sums, "sums", err);
    if (!sums) return GM_ERR_MEMORY;
    size_t slots = (size_t)workers * count, numbers;
    bool fits = gm_mul_size(slots, size, &numbers);
    *sums = (gm_sums){.k = k, .workers = workers, .count = count, .size = size};
    sums->partial = gm_alloc(slots, sizeof *sums->partial, "sums", err);
    sums->total = gm_alloc(slots, sizeof *sums->total, "sums", err);
    sums->pending = gm_alloc((size_t)workers, sizeof *sums->pending, "sums", err);
    sums->total_memory = fits ? gm_alloc(numbers, sizeof(double), "sums over samples", err) : NULL;
    if (k->dtype != GM_F64)
        sums->partial_memory = gm_alloc(numbers, k->size, "sums over samples", err);
    if (!sums->partial || !sums->total || !sums->pending || !sums->total_memory ||
        (k->dtype != GM_F64 && !sums->partial_memory)) {
        gm_sums_free(sums);
        return fits ? GM_ERR_MEMORY : gm_fail(err, GM_ERR_MEMORY, "sums over samples overflow");
    }
    for (size_t i = 0; i < slots; i++) {
        sums->total[i] = sums->total_memory + i * size;
        sums->partial[i] = sums->partial_memory ? (char *)sums->partial_memory + i * size * k->size
                                                : (void *)sums->total[i];
    }
    *made = sums;
    return GM_OK;
}

void gm_sums_free(gm_sums *sums)
{
    if (!sums) return;
    gm_free(sums->partial);
    gm_free(sums->total);
    gm_free(sums->pending);
    gm_free(sums->partial_memory);
    gm_free(sums->total_memory);
    gm_free(sums);
}

void gm_sums_clear(gm_sums *sums)
{
    size_t numbers = (size_t)sums->workers * sums->count * sums->size;
    memset(sums->total_memory, 0, numbers * sizeof(double));
    if (sums->partial_memory) memset(sums->partial_memory, 0, numbers * sums->k->size);
    memset(sums->pending, 0, (size_t)sums->workers * sizeof *sums->pending);
}

void *const *gm_sums_of(gm_sums *sums, int worker)
{
    return sums->partial + (size_t)worker * sums->count;
}

static void flush(gm_sums *sums, int worker)
{
    sums->pending[worker] = 0;
    if (!sums->partial_memory) return;
    for (size_t j = 0; j < sums->count; j++) {
        size_t slot = (size_t)worker * sums->count + j;
        sums->k->accumulate(sums->size, 1.0, sums->partial[slot], sums->total[slot]);
        memset(sums->partial[slot], 0, sums->size * sums->k->size);
    }
}

void gm_sums_added(gm_sums *sums, int worker, size_t n)
{
    sums->pending[worker] += n;
    if (sums->pending[worker] >= FLUSH_SAMPLES) flush(sums, worker);
}

void gm_sums_finish(gm_sums *sums, double scale, size_t count, double *out)
{
    for (int w = 0; w < sums->workers; w++) {
        if (sums->pending[w]) flush(sums, w);
    }
    size_t size = sums->size;
    for (size_t j = 0; j < count; j++) {
        double *to = out + j * size;
        const double *first = sums->total[j];
#pragma omp parallel for schedule(static) if (size > 65536)
        for (size_t i = 0; i < size; i++) {
            double sum = first[i];
            for (int w = 1; w < sums->workers; w++) {
                sum += sums->total[(size_t)w * sums->count + j][i];
            }
            to[i] = scale * sum;
        }
    }
}
