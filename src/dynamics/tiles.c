/* A dense net and its data in tiles. */
#include "dynamics/tiles.h"

#include <string.h>

#include "base/memory.h"
#include "net/net.h"

/* Parameters beyond this many bytes leave the second cache, where a matrix library is better. */
enum { WEIGHTS_BYTES = 256 << 10 };

/* ---- from the net ---- */

bool gm_tiles_fit(const gm_problem *problem)
{
    const gm_net *net = gm_problem_net(problem);
    size_t size = gm_kernels_get(gm_problem_data(problem)->dtype)->size;
    if (net->parameters > WEIGHTS_BYTES / size) return false;
    if (gm_problem_data(problem)->positions > 1) return false;
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        bool dense = node->kind == &gm_layer_dense && (node->traits & GM_TRAIT_OUTER);
        bool act =
            node->kind == &gm_layer_activation && i > 1 && net->node[i - 1].kind == &gm_layer_dense;
        if (!(dense || act) || node->inputs != 1 || node->input[0] != i - 1) return false;
    }
    return net->nodes > 1;
}

static gm_status read_net(gm_tiles *t, const gm_net *net, gm_error *err)
{
    t->layer = gm_alloc((size_t)net->layers, sizeof *t->layer, "layers", err);
    if (!t->layer) return GM_ERR_MEMORY;
    t->p = net->parameters;
    t->widest = t->sum_widths = gm_net_inputs(net);
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        if (node->kind == &gm_layer_activation) {
            const gm_activation_config *config = node->config;
            t->layer[t->layers - 1].act = config->act;
            continue;
        }
        const gm_dense_config *config = node->config;
        size_t in = gm_shape_size(&node->in_shape[0]);
        t->layer[t->layers++] = (gm_tile_layer){.in = in,
                                                .out = node->size,
                                                .offset = node->offset,
                                                .stride = gm_tile_whole(t->k, in + 1),
                                                .at = t->sums,
                                                .bias = config->bias,
                                                .act = GM_ACT_IDENTITY};
        t->sums += node->size * gm_tile_whole(t->k, in + 1);
        t->sum_widths += node->size;
        if (node->size > t->widest) t->widest = node->size;
    }
    return GM_OK;
}

/* ---- from the data ---- */

static int32_t largest_target(const gm_dataset *data, size_t i)
{
    const double *row = data->target + i * data->outputs;
    size_t top = 0;
    for (size_t c = 1; c < data->outputs; c++) {
        if (row[c] > row[top]) top = c;
    }
    return (int32_t)top;
}

static gm_status tile_data(const gm_tiles *t, const gm_dataset *data, gm_tiled *out, gm_error *err)
{
    const size_t w = t->width, in = data->features;
    size_t columns, entries, targets;
    out->n = data->n;
    out->tiles = (data->n + w - 1) / w;
    bool fits = gm_mul_size(out->tiles, w, &columns) && gm_mul_size(columns, in, &entries) &&
                gm_mul_size(columns, data->outputs, &targets);
    if (!fits) return gm_fail(err, GM_ERR_MEMORY, "tiles of the data exceed the address space");
    out->x = gm_alloc(entries, t->k->size, "tiles of the data", err);
    out->label = gm_alloc(columns, sizeof *out->label, "tiles of the data", err);
    if (!out->x || !out->label) return GM_ERR_MEMORY;
    if (data->target) {
        out->target = gm_alloc(targets, sizeof *out->target, "tiles of the data", err);
        if (!out->target) return GM_ERR_MEMORY;
    }
    for (size_t i = 0; i < out->tiles; i++) {
        size_t count = data->n - i * w < w ? data->n - i * w : w;
        t->k->transpose(count, in, (const char *)data->x + i * w * in * t->k->size, in,
                        out->x + i * w * in * t->k->size, w);
    }
    for (size_t i = 0; i < data->n; i++) {
        out->label[i] = data->label ? data->label[i] : largest_target(data, i);
        for (size_t c = 0; data->target && c < data->outputs; c++) {
            out->target[(i / w * data->outputs + c) * w + i % w] =
                data->target[i * data->outputs + c];
        }
    }
    return GM_OK;
}

/* Samples in rows of whole vectors, each with the one that the bias sees. */
static gm_status copy_rows(gm_tiles *t, gm_error *err)
{
    const gm_dataset *data = t->data;
    const double one = 1.0;
    size_t entries;
    t->row = gm_tile_whole(t->k, data->features + 1);
    if (!gm_mul_size(data->n, t->row, &entries)) entries = SIZE_MAX;
    t->rows = gm_alloc(entries, t->k->size, "samples in rows", err);
    if (!t->rows) return GM_ERR_MEMORY;
    for (size_t i = 0; i < data->n; i++) {
        char *row = t->rows + i * t->row * t->k->size;
        memcpy(row, (const char *)data->x + i * data->features * t->k->size,
               data->features * t->k->size);
        t->k->from_double(1, &one, row + data->features * t->k->size);
    }
    return GM_OK;
}

gm_status gm_tiles_create(const gm_problem *problem, const gm_problem *test, gm_tiles **made,
                          gm_error *err)
{
    *made = NULL;
    gm_tiles *t = gm_alloc(1, sizeof *t, "tiles", err);
    if (!t) return GM_ERR_MEMORY;
    t->data = gm_problem_data(problem);
    t->loss = gm_problem_loss(problem);
    t->k = gm_kernels_get(t->data->dtype);
    t->width = 2 * t->k->lanes;
    gm_status status = read_net(t, gm_problem_net(problem), err);
    if (status == GM_OK) status = tile_data(t, t->data, &t->train, err);
    if (status == GM_OK && test) status = tile_data(t, gm_problem_data(test), &t->test, err);
    if (status == GM_OK) status = copy_rows(t, err);
    if (status != GM_OK) {
        gm_tiles_free(t);
        return status;
    }
    *made = t;
    return GM_OK;
}

static void free_tiled(gm_tiled *data)
{
    gm_free(data->x);
    gm_free(data->label);
    gm_free(data->target);
}

void gm_tiles_free(gm_tiles *t)
{
    if (!t) return;
    free_tiled(&t->train);
    free_tiled(&t->test);
    gm_free(t->rows);
    gm_free(t->layer);
    gm_free(t);
}

double gm_tiles_flops(const gm_tiles *t)
{
    double flops = 0.0;
    for (size_t l = 0; l < t->layers; l++) {
        flops += 2.0 * (double)t->layer[l].in * (double)t->layer[l].out;
    }
    return flops;
}

double gm_tiles_first_flops(const gm_tiles *t)
{
    return 2.0 * (double)t->layer[0].in * (double)t->layer[0].out;
}
