/* Which initializers are parameters.
 *
 * An initializer is one where it is of a floating type, all its numbers are finite, and it enters
 * something that depends on the sample through a slot that is not set aside for constants (running
 * statistics, limits, exponents, shapes), unless the caller names it a constant. What the graph
 * computes on the way from it (a transposition, a slice) does not matter. Parameters stand in the
 * flat vector in the file's order.
 */
#include <fnmatch.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "onnx/graph.h"

/* What depends on the sample, from the input down. */
static void mark_moving(gm_onnx_graph *g)
{
    g->input->moves = true;
    for (size_t i = 0; i < g->nodes; i++) {
        gm_onnx_step s = {.g = g, .index = g->order[i], .node = g->proto->node[g->order[i]]};
        bool shapes = !g->op[s.index]->emit; /* of its inputs' shapes alone: known */
        bool moves = false;
        for (size_t j = 0; j < s.node->n_input && !shapes; j++) {
            const gm_onnx_value *in = gm_onnx_in(&s, j);
            moves = moves || (in && in->moves);
        }
        for (size_t j = 0; j < s.node->n_output; j++) {
            gm_onnx_value *out = gm_onnx_out(&s, j);
            if (out) out->moves = moves;
        }
    }
}

/* What is used as a weight, from the logits up. */
static void mark_weighing(gm_onnx_graph *g)
{
    for (size_t i = g->nodes; i-- > 0;) {
        gm_onnx_step s = {.g = g, .index = g->order[i], .node = g->proto->node[g->order[i]]};
        const gm_onnx_op *op = g->op[s.index];
        bool counts = false;
        for (size_t j = 0; j < s.node->n_output; j++) {
            const gm_onnx_value *out = gm_onnx_out(&s, j);
            counts = counts || (out && (out->moves || out->weighs));
        }
        for (size_t j = 0; counts && op->emit && j < s.node->n_input; j++) {
            gm_onnx_value *in = gm_onnx_in(&s, j);
            bool plain = j < 32 && (op->plain >> j & 1);
            if (in && !plain) in->weighs = true;
        }
    }
}

/* GM_ERR_INPUT at a number that is none; *finite false where one is infinite. */
static gm_status check_numbers(const gm_onnx_graph *g, const gm_onnx_value *value, bool *finite,
                               gm_error *err)
{
    const gm_onnx_tensor *t = &value->tensor;
    *finite = true;
    for (size_t i = 0; t->of == GM_ONNX_REAL && i < t->count; i++) {
        if (isnan(t->real[i])) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: initializer '%.200s': number %zu is no number (NaN)", g->path,
                           value->name, i);
        }
        *finite = *finite && !isinf(t->real[i]);
    }
    return GM_OK;
}

/* ---- constants by name ---- */

/* Cuts the first pattern off a list with commas between, in place. */
static const char *next_pattern(char **list)
{
    char *pattern = *list, *end = pattern + strcspn(pattern, ",");
    *list = *end ? end + 1 : end;
    *end = 0;
    return pattern;
}

/* kept[i]: a pattern matches the name of initializer i. Each must match one. */
static gm_status match_constants(const gm_onnx_graph *g, char *list, bool *kept, gm_error *err)
{
    while (*list) {
        const char *pattern = next_pattern(&list);
        bool any = false;
        for (int i = 0; i < g->initializers; i++) {
            if (fnmatch(pattern, g->value[i].name, 0) != 0) continue;
            kept[i] = any = true;
        }
        if (any) continue;
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: the constants '%.100s' are none of its %d initializers", g->path,
                       pattern, g->initializers);
    }
    return GM_OK;
}

static gm_status find_constants(const gm_onnx_graph *g, bool *kept, gm_error *err)
{
    if (!g->constants) return GM_OK;
    char *list = gm_strdup(g->constants, err);
    gm_status status = list ? match_constants(g, list, kept, err) : GM_ERR_MEMORY;
    gm_free(list);
    return status;
}

static gm_status set_roles(gm_onnx_graph *g, const bool *kept, gm_error *err)
{
    for (int i = 0; i < g->initializers; i++) { /* values begin with the initializers */
        gm_onnx_value *value = &g->value[i];
        bool finite;
        if (value->users == 0) continue;
        gm_status status = gm_onnx_tensor_read(&g->folder, g->proto->initializer[i], "initializer",
                                               &value->tensor, err);
        if (status == GM_OK) status = check_numbers(g, value, &finite, err);
        if (status != GM_OK) return status;
        value->what = GM_ONNX_CONSTANT;
        if (value->tensor.of != GM_ONNX_REAL || !value->weighs || !finite || kept[i] ||
            !value->tensor.count) {
            continue;
        }
        value->what = GM_ONNX_PARAMETER;
        g->offset[i] = g->parameters;
        if (!gm_add_size(g->parameters, value->tensor.count, &g->parameters) ||
            g->parameters > (size_t)1 << 56) {
            return gm_fail(err, GM_ERR_INPUT, "%s: its initializers overflow", g->path);
        }
    }
    return GM_OK;
}

gm_status gm_onnx_graph_roles(gm_onnx_graph *g, gm_error *err)
{
    mark_moving(g);
    mark_weighing(g);
    bool *kept = gm_alloc((size_t)g->initializers, sizeof *kept, "initializers", err);
    gm_status status = kept ? find_constants(g, kept, err) : GM_ERR_MEMORY;
    if (status == GM_OK) status = set_roles(g, kept, err);
    gm_free(kept);
    return status;
}
