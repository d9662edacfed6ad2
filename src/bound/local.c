#include "bound/local.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

enum { SLICE = 1024 }; /* weights drawn at once */
/* Normal numbers from here on are those of shared layers. */
static const uint64_t SHARED = (uint64_t)1 << 63;

bool gm_local_possible(const gm_net *net, const char **layer)
{
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        if (!node->parameters || (node->traits & GM_TRAIT_OUTER)) continue;
        if (layer) *layer = node->name;
        return false;
    }
    return true;
}

gm_status gm_one_label(const gm_problem *problem, gm_error *err)
{
    if (problem->engine.positions <= 1) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE, "%s: the bound is for one label a sample, found %zu",
                   problem->data->name, problem->engine.positions);
}

/* ---- workspace ---- */

static bool is_shared(const gm_node *node)
{
    return node->parameters && !(node->traits & GM_TRAIT_OUTER);
}

/* Tied layers have one draw, which the first of them takes. */
static bool has_draw(const gm_net *net, int i)
{
    const gm_node *node = &net->node[i];
    bool first = is_shared(node);
    for (int j = 1; first && j < i; j++) {
        first = !(is_shared(&net->node[j]) && net->node[j].offset == node->offset);
    }
    return first;
}

/* units and shared of l; size of the largest node. */
static size_t measure_net(gm_local *l)
{
    const gm_net *net = l->engine.net;
    size_t widest = 0;
    for (int i = 0; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        if (node->size > widest) widest = node->size;
        if (has_draw(net, i)) l->shared += node->parameters;
        if (node->parameters && !is_shared(node)) l->units += node->size;
    }
    return widest;
}

static gm_status make_draws(gm_local *l, gm_error *err)
{
    const gm_net *net = l->engine.net;
    size_t size = l->engine.k->size, nodes = (size_t)net->nodes, count, units;
    if (!gm_mul_size(l->units, l->rows, &units) || !gm_mul_size(units, 2, &count))
        return gm_fail(err, GM_ERR_MEMORY, "%s: draws for %zu samples overflow", net->name,
                       l->rows);
    l->spread = gm_alloc(nodes, sizeof *l->spread, "draws by layer", err);
    l->noise = gm_alloc(nodes, sizeof *l->noise, "draws by layer", err);
    l->memory = gm_alloc(count, size, "draws by layer", err);
    if (!l->spread || !l->noise || !l->memory) return GM_ERR_MEMORY;
    char *next = l->memory;
    for (int i = 0; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        if (!node->parameters || is_shared(node)) continue;
        l->spread[i] = next;
        l->noise[i] = next + units * size;
        next += l->rows * node->size * size;
    }
    if (!l->shared) return GM_OK;
    size_t p = gm_problem_parameters(l->problem);
    l->drawn = gm_alloc(p, size, "drawn weights", err);
    l->pull = gm_alloc(p, size, "gradient by drawn weights", err);
    return l->drawn && l->pull ? GM_OK : GM_ERR_MEMORY;
}

gm_status gm_local_open(const gm_problem *problem, size_t rows, gm_local *l, gm_error *err)
{
    const gm_dataset *data = problem->data;
    *l = (gm_local){.problem = problem, .engine = problem->engine, .rows = rows};
    gm_status status = gm_one_label(problem, err);
    if (status != GM_OK) return status;
    const gm_engine *e = &l->engine;
    size_t widest = measure_net(l), outputs = gm_net_outputs(e->net), numbers;
    status = gm_arrays_make(e->net, problem->all, rows, e->k->size, &l->value, err);
    if (status == GM_OK)
        status = gm_arrays_make(e->net, problem->all, rows, e->k->size, &l->signal, err);
    if (status == GM_OK) status = make_draws(l, err);
    if (status != GM_OK) return status;
    if (!gm_mul_size(rows, widest, &numbers))
        return gm_fail(err, GM_ERR_MEMORY, "%s: draws for %zu samples overflow", e->net->name,
                       rows);
    l->engine.scratch.bytes = gm_pass_scratch(e, rows, 1);
    l->engine.scratch.memory = gm_alloc(l->engine.scratch.bytes, 1, "workspace of the layers", err);
    l->square = gm_alloc(numbers, e->k->size, "draws by layer", err);
    l->push = gm_alloc(numbers, e->k->size, "draws by layer", err);
    l->normal = gm_alloc(numbers, sizeof *l->normal, "draws by layer", err);
    l->prob = gm_alloc(rows * outputs, e->k->size, "probabilities", err);
    l->x = gm_alloc(rows * data->features, e->k->size, "samples", err);
    l->loss = gm_alloc(rows, sizeof *l->loss, "losses", err);
    l->wrong = gm_alloc(rows, sizeof *l->wrong, "predictions", err);
    if (data->label) l->label = gm_alloc(rows, sizeof *l->label, "labels", err);
    if (data->target) l->target = gm_alloc(rows * outputs, sizeof *l->target, "targets", err);
    bool complete = l->engine.scratch.memory && l->square && l->push && l->normal && l->prob &&
                    l->x && l->loss && l->wrong && (!data->label || l->label) &&
                    (!data->target || l->target);
    return complete ? GM_OK : GM_ERR_MEMORY;
}

void gm_local_close(gm_local *l)
{
    gm_arrays_free(&l->value);
    gm_arrays_free(&l->signal);
    gm_free(l->spread);
    gm_free(l->noise);
    gm_free(l->drawn);
    gm_free(l->pull);
    gm_free(l->memory);
    gm_free(l->engine.scratch.memory);
    gm_free(l->square);
    gm_free(l->push);
    gm_free(l->normal);
    gm_free(l->prob);
    gm_free(l->x);
    gm_free(l->label);
    gm_free(l->target);
    gm_free(l->loss);
    gm_free(l->wrong);
    *l = (gm_local){0};
}

/* ---- value ---- */

static void load(gm_local *l, size_t n, const size_t *index, const void *mean)
{
    const gm_dataset *data = l->problem->data;
    l->engine.k->gather_rows(n, data->features, index, data->x, l->x);
    for (size_t i = 0; i < n; i++) {
        if (data->label) l->label[i] = data->label[index[i]];
        if (data->target)
            memcpy(l->target + i * data->outputs, data->target + index[i] * data->outputs,
                   data->outputs * sizeof *l->target);
    }
    l->value.node[0] = l->x;
    l->chunk = (gm_chunk){.n = n,
                          .theta = mean,
                          .value = l->value.node,
                          .signal = l->signal.node,
                          .prob = l->prob,
                          .label = l->label,
                          .target = l->target};
}

static gm_layer_call call_of(const gm_local *l, int i, const void *param)
{
    const gm_node *node = &l->engine.net->node[i];
    gm_layer_call call = {.k = l->engine.k,
                          .config = node->config,
                          .n = l->chunk.n,
                          .b = 1,
                          .inputs = node->inputs,
                          .in_shape = node->in_shape,
                          .out_shape = &node->shape,
                          .param = (const char *)param + node->offset * l->engine.k->size,
                          .scratch = l->engine.scratch,
                          .out = l->value.node[i]};
    for (int j = 0; j < node->inputs; j++) {
        call.in[j] = l->value.node[node->input[j]];
    }
    return call;
}

/* noise of node i: unit u of sample s is normal number (first + s) units + at + u. */
static void fill_noise(gm_local *l, int i, gm_stream stream, uint64_t first, uint64_t at)
{
    size_t n = l->chunk.n, width = l->engine.net->node[i].size;
#pragma omp parallel for schedule(static) if (n * width > 4096)
    for (size_t s = 0; s < n; s++) {
        gm_normal_fill(stream, (first + s) * l->units + at, width, l->normal + s * width);
    }
    l->engine.k->from_double(n * width, l->normal, l->noise[i]);
}

/* Weights of the shared node i: number j of the net takes the normal number SHARED + first p + j.
 */
static void draw_weights(gm_local *l, int i, const void *mean, const void *variance,
                         gm_stream stream, uint64_t first)
{
    const gm_kernels *k = l->engine.k;
    const gm_node *node = &l->engine.net->node[i];
    uint64_t from = SHARED + first * gm_problem_parameters(l->problem);
    size_t end = node->offset + node->parameters;
    double z[SLICE], m[SLICE], v[SLICE];
    for (size_t at = node->offset; at < end; at += SLICE) {
        size_t count = end - at < SLICE ? end - at : SLICE;
        gm_normal_fill(stream, from + at, count, z);
        k->to_double(count, (const char *)mean + at * k->size, m);
        k->to_double(count, (const char *)variance + at * k->size, v);
        for (size_t j = 0; j < count; j++) {
            z[j] = m[j] + sqrt(v[j]) * z[j];
        }
        k->from_double(count, z, (char *)l->drawn + at * k->size);
    }
}

/* Squared input of node i, its only one, into l->square. */
static void square_input(gm_local *l, int i)
{
    const gm_node *node = &l->engine.net->node[i];
    const void *in = l->value.node[node->input[0]];
    size_t width = l->engine.net->node[node->input[0]].size;
    l->engine.k->multiply(l->chunk.n * width, in, in, l->square);
}

void gm_local_value(gm_local *l, size_t n, const size_t *index, const void *mean,
                    const void *variance, gm_stream stream, uint64_t first)
{
    const gm_net *net = l->engine.net;
    uint64_t units = 0;
    load(l, n, index, mean);
    for (int i = 1; i < net->nodes; i++) {
        const gm_node *node = &net->node[i];
        gm_layer_call call = call_of(l, i, is_shared(node) ? l->drawn : mean);
        if (has_draw(net, i)) draw_weights(l, i, mean, variance, stream, first);
        node->kind->value(&call);
        if (!node->parameters || is_shared(node)) continue;
        gm_layer_call spread = call_of(l, i, variance);
        square_input(l, i);
        spread.in[0] = l->square;
        spread.out = l->spread[i];
        node->kind->value(&spread);
        fill_noise(l, i, stream, first, units);
        units += node->size;
        l->engine.k->perturb(n * node->size, l->noise[i], l->spread[i], l->value.node[i]);
    }
    gm_pass_loss(&l->engine, &l->chunk, l->loss, l->wrong);
}

/* ---- many draws ---- */

static void add_losses(const gm_local *l, double clip, gm_local_sums *s)
{
    for (size_t i = 0; i < l->chunk.n; i++) {
        bool lost = !isfinite(l->loss[i]);
        double error = lost ? 1.0 : l->wrong[i];
        double loss = lost || l->loss[i] > clip ? 1.0 : l->loss[i] / clip;
        s->overflowed += lost;
        s->error += error;
        s->error2 += error * error;
        s->clipped += loss;
        s->clipped2 += loss * loss;
    }
    s->draws += l->chunk.n;
}

/* The sums of all ranks. */
static void join_sums(const gm_team *team, gm_local_sums *s)
{
    double sum[] = {(double)s->draws, s->error,    s->clipped,
                    s->error2,        s->clipped2, (double)s->overflowed};
    gm_team_sum(team, sizeof sum / sizeof *sum, sum);
    *s = (gm_local_sums){.draws = (size_t)sum[0],
                         .error = sum[1],
                         .clipped = sum[2],
                         .error2 = sum[3],
                         .clipped2 = sum[4],
                         .overflowed = (size_t)sum[5]};
}

void gm_local_sample(gm_local *l, const void *mean, const void *variance, double clip, size_t draws,
                     gm_stream stream, const gm_team *team, bool (*stop)(void *), void *context,
                     gm_local_sums *s)
{
    size_t n = l->problem->data->n, index[GM_LOCAL_ROWS];
    size_t most = l->rows < GM_LOCAL_ROWS ? l->rows : GM_LOCAL_ROWS;
    size_t first, chunks, all = draws / most + (draws % most > 0);
    *s = (gm_local_sums){0};
    gm_team_share(team, all, &first, &chunks);
    for (size_t c = first; c < first + chunks; c++) {
        if (stop && stop(context)) break;
        size_t at = c * most, count = draws - at < most ? draws - at : most;
        for (size_t i = 0; i < count; i++) {
            index[i] = draws < n ? (at + i) * n / draws : (at + i) % n;
        }
        gm_local_value(l, count, index, mean, variance, stream, at);
        add_losses(l, clip, s);
    }
    join_sums(team, s);
}

gm_gibbs_mean gm_local_mean(size_t draws, double sum, double squares)
{
    double n = (double)draws, mean = sum / n;
    double error = sqrt(fmax(0.0, squares / n - mean * mean) / (n - 1.0));
    return (gm_gibbs_mean){mean, draws > 1 ? error : (double)NAN};
}

/* ---- gradient ---- */

static void aim(const gm_local *l, gm_layer_call *call, const gm_node *node)
{
    for (int j = 0; j < node->inputs; j++) {
        int input = node->input[j];
        if (!l->problem->active[input]) continue;
        call->din[j] = l->signal.node[input];
        call->din_add[j] = node->input_shared[j];
    }
}

static void *slice(const gm_local *l, void *array, const gm_node *node)
{
    return (char *)array + node->offset * l->engine.k->size;
}

/* Through the variance of node i: its parameters', and 2 a times the signal at a^2 to the input. */
static void through_variance(gm_local *l, int i, const void *variance, void *dvariance)
{
    const gm_kernels *k = l->engine.k;
    const gm_node *node = &l->engine.net->node[i];
    int input = node->input[0];
    size_t n = l->chunk.n, width = l->engine.net->node[input].size;
    bool wanted = l->problem->active[input];
    gm_layer_call call = call_of(l, i, variance);
    void *grad = slice(l, dvariance, node);
    /* spread becomes the signal at the variance: it is not needed again. */
    k->perturb_signal(n * node->size, l->noise[i], l->spread[i], l->signal.node[i], l->spread[i]);
    square_input(l, i);
    call.in[0] = l->square;
    call.signal = l->spread[i];
    call.grad = &grad;
    call.din[0] = wanted ? l->push : NULL;
    node->kind->backward(&call);
    if (!wanted) return;
    k->multiply(n * width, l->value.node[input], l->push, l->push);
    k->axpy(n * width, 2.0, l->push, l->signal.node[input]);
}

void gm_local_gradient(gm_local *l, const void *mean, const void *variance, const double *weight,
                       void *dmean, void *dvariance)
{
    const gm_net *net = l->engine.net;
    int last = net->nodes - 1;
    size_t p = gm_problem_parameters(l->problem);
    void *root = l->signal.node[last];
    if (l->shared) memset(l->pull, 0, p * l->engine.k->size);
    l->engine.k->scale_rows(l->chunk.n, net->node[last].size, weight, root, root);
    for (int i = last; i > 0; i--) {
        const gm_node *node = &net->node[i];
        if (!l->problem->active[i]) continue;
        bool shared = is_shared(node);
        gm_layer_call call = call_of(l, i, shared ? l->drawn : mean);
        void *grad = node->parameters ? slice(l, shared ? l->pull : dmean, node) : NULL;
        call.signal = l->signal.node[i];
        if (grad) call.grad = &grad;
        aim(l, &call, node);
        node->kind->backward(&call);
        if (node->parameters && !shared) through_variance(l, i, variance, dvariance);
    }
    if (l->shared) l->engine.k->axpy(p, 1.0, l->pull, dmean);
}
