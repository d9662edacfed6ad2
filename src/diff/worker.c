#include "diff/worker.h"

#include <string.h>

#include "base/memory.h"

/* Samples whose contributions are added up in single precision before they join the double sum: the
 * rounding of such a sum stays near that of its terms, and the double sum costs little beside the
 * products. */
enum { FLUSH_SAMPLES = 2048, PANEL = 4096 /* numbers that are read together */ };

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
    sums->begun = gm_alloc((size_t)workers, sizeof *sums->begun, "sums", err);
    bool narrow = k->dtype != GM_F64;
    if (fits && narrow) {
        sums->total_memory = gm_alloc_raw(numbers, sizeof(double), "sums over samples", err);
        sums->partial_memory = gm_alloc(numbers, k->size, "sums over samples", err);
    } else if (fits) {
        sums->total_memory = gm_alloc(numbers, sizeof(double), "sums over samples", err);
    }
    if (!sums->partial || !sums->total || !sums->pending || !sums->begun || !sums->total_memory ||
        (narrow && !sums->partial_memory)) {
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
    gm_free(sums->begun);
    gm_free(sums->partial_memory);
    gm_free(sums->total_memory);
    gm_free(sums);
}

void gm_sums_clear(gm_sums *sums)
{
    size_t numbers = (size_t)sums->workers * sums->count * sums->size;
    if (sums->partial_memory) {
        memset(sums->partial_memory, 0, numbers * sums->k->size);
    } else {
        memset(sums->total_memory, 0, numbers * sizeof(double));
    }
    memset(sums->pending, 0, (size_t)sums->workers * sizeof *sums->pending);
    memset(sums->begun, 0, (size_t)sums->workers * sizeof *sums->begun);
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
        if (sums->begun[worker]) {
            sums->k->accumulate(sums->size, 1.0, sums->partial[slot], sums->total[slot]);
        } else {
            sums->k->to_double(sums->size, sums->partial[slot], sums->total[slot]);
        }
        memset(sums->partial[slot], 0, sums->size * sums->k->size);
    }
    sums->begun[worker] = true;
}

void gm_sums_added(gm_sums *sums, int worker, size_t n)
{
    sums->pending[worker] += n;
    if (sums->pending[worker] >= FLUSH_SAMPLES) flush(sums, worker);
}

void gm_sums_close(gm_sums *sums)
{
    for (int w = 0; w < sums->workers; w++) {
        if (sums->pending[w] && sums->begun[w]) flush(sums, w);
    }
}

/* out += the worker's sum. A partial sum that never joined a total is the sum. */
static void add_worker(const gm_sums *sums, int w, size_t j, size_t first, size_t count,
                       double *out)
{
    size_t slot = (size_t)w * sums->count + j;
    if (sums->partial_memory && !sums->begun[w]) {
        const char *partial = sums->partial[slot];
        sums->k->accumulate(count, 1.0, partial + first * sums->k->size, out);
        return;
    }
    const double *total = sums->total[slot] + first;
    for (size_t i = 0; i < count; i++) {
        out[i] += total[i];
    }
}

void gm_sums_read(const gm_sums *sums, size_t j, double scale, size_t first, size_t count,
                  double *out)
{
    memset(out, 0, count * sizeof *out);
    for (int w = 0; w < sums->workers; w++) {
        add_worker(sums, w, j, first, count, out);
    }
    for (size_t i = 0; i < count; i++) {
        out[i] *= scale;
    }
}

void gm_sums_finish(gm_sums *sums, double scale, size_t count, double *out)
{
    size_t size = sums->size;
    gm_sums_close(sums);
    for (size_t j = 0; j < count; j++) {
#pragma omp parallel for schedule(static) if (size > 65536)
        for (size_t first = 0; first < size; first += PANEL) {
            size_t numbers = size - first < PANEL ? size - first : PANEL;
            gm_sums_read(sums, j, scale, first, numbers, out + j * size + first);
        }
    }
}
