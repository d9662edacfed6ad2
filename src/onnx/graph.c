/* From messages to values and an order of nodes: what the logits depend on, makers before users. */
#include "onnx/graph.h"

#include <string.h>

#include "base/memory.h"

static const char *text(const char *maybe)
{
    return maybe ? maybe : "";
}

/* ---- opset ---- */

static gm_status find_opset(gm_onnx_graph *g, gm_error *err)
{
    int64_t version = 0;
    for (size_t i = 0; i < g->model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = g->model->opset_import[i];
        const char *domain = text(set->domain);
        if (*domain == 0 || strcmp(domain, "ai.onnx") == 0) version = set->version;
    }
    if (version < GM_ONNX_OPSET_LEAST || version > GM_ONNX_OPSET_MOST) {
        return gm_fail(err, GM_ERR_INPUT, "%s: opset %lld, expected %d ... %d", g->path,
                       (long long)version, GM_ONNX_OPSET_LEAST, GM_ONNX_OPSET_MOST);
    }
    g->opset = (int)version;
    return GM_OK;
}

/* ---- values ---- */

static gm_status make_room(gm_onnx_graph *g, gm_error *err)
{
    const Onnx__GraphProto *p = g->proto;
    size_t count = p->n_initializer + p->n_input + 1;
    for (size_t i = 0; i < p->n_node; i++) {
        count += p->node[i]->n_output;
    }
    g->nodes = p->n_node;
    if (count > INT32_MAX / 2 || g->nodes > INT32_MAX / 2) {
        return gm_fail(err, GM_ERR_INPUT, "%s: %zu values, too many", g->path, count);
    }
    g->initializers = (int)p->n_initializer;
    g->value = gm_alloc(count, sizeof *g->value, "values of the model", err);
    g->order = gm_alloc(g->nodes, sizeof *g->order, "nodes of the model", err);
    g->needed = gm_alloc(g->nodes, sizeof *g->needed, "nodes of the model", err);
    g->done = gm_alloc(g->nodes, sizeof *g->done, "nodes of the model", err);
    g->op = gm_alloc(g->nodes, sizeof(void *), "nodes of the model", err);
    g->offset = gm_alloc(p->n_initializer, sizeof *g->offset, "initializers", err);
    g->owner = gm_alloc(p->n_initializer, sizeof *g->owner, "initializers", err);
    if (!g->value || !g->order || !g->needed || !g->done || !g->op || !g->offset || !g->owner) {
        return GM_ERR_MEMORY;
    }
    return gm_onnx_names_make(count, &g->names, err);
}

static gm_status add_values(gm_onnx_graph *g, gm_error *err)
{
    const Onnx__GraphProto *p = g->proto;
    gm_onnx_value *value;
    gm_status status = GM_OK;
    if (p->n_sparse_initializer) {
        return gm_fail(err, GM_ERR_INPUT, "%s: sparse initializers are not read", g->path);
    }
    for (size_t i = 0; status == GM_OK && i < p->n_initializer; i++) {
        g->offset[i] = SIZE_MAX;
        status = gm_onnx_value_add(g, text(p->initializer[i]->name), &value, err);
        if (status == GM_OK) value->initializer = (int)i;
    }
    for (size_t i = 0; status == GM_OK && i < p->n_input; i++) {
        const char *name = text(p->input[i]->name);
        gm_onnx_value *known = gm_onnx_value_find(g, name); /* an initializer may stand here too */
        if (known && known->initializer >= 0) continue;
        status = gm_onnx_value_add(g, name, &value, err);
    }
    for (size_t i = 0; i < p->n_node; i++) {
        for (size_t j = 0; status == GM_OK && j < p->node[i]->n_output; j++) {
            if (*p->node[i]->output[j] == 0) continue;
            status = gm_onnx_value_add(g, p->node[i]->output[j], &value, err);
            if (status == GM_OK) value->maker = (int)i;
        }
    }
    return status;
}

/* ---- the logits ---- */

static gm_status find_logits(gm_onnx_graph *g, const char *name, gm_error *err)
{
    const Onnx__GraphProto *p = g->proto;
    if (!name && p->n_output == 1) name = text(p->output[0]->name);
    if (!name) {
        return gm_fail(err, GM_ERR_USAGE,
                       "%s: %zu outputs (%.60s, %.60s%s), expected --logits NAME to choose one",
                       g->path, p->n_output, p->n_output ? text(p->output[0]->name) : "none",
                       p->n_output > 1 ? text(p->output[1]->name) : "",
                       p->n_output > 2 ? ", ..." : "");
    }
    g->logits = gm_onnx_value_find(g, name);
    if (!g->logits) {
        return gm_fail(err, GM_ERR_USAGE, "%s: no value is named '%.200s', the logits", g->path,
                       name);
    }
    g->logits->users = 1;
    return GM_OK;
}

/* The node of the graph that makes the logits, behind views; NULL: none. */
static const Onnx__NodeProto *maker_of_logits(const gm_onnx_graph *g)
{
    static const char *const views[] = {"Identity", "Reshape",   "Flatten",
                                        "Squeeze",  "Unsqueeze", "Cast"};
    const gm_onnx_value *value = g->logits;
    while (value && value->maker >= 0) {
        const Onnx__NodeProto *node = g->proto->node[value->maker];
        bool view = false;
        for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
            view = view || strcmp(text(node->op_type), views[i]) == 0;
        }
        if (!view || node->n_input == 0) return node;
        value = gm_onnx_value_find(g, node->input[0]);
    }
    return NULL;
}

static gm_status refuse_softmax(const gm_onnx_graph *g, gm_error *err)
{
    const Onnx__NodeProto *maker = maker_of_logits(g);
    if (!maker || strcmp(text(maker->op_type), "Softmax") != 0) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: '%.100s' is the output of a Softmax, expected logits, to which the loss "
                   "applies its own: --logits '%.100s' names the input of the Softmax",
                   g->path, g->logits->name, maker->n_input ? maker->input[0] : "");
}

/* ---- order ---- */

/* A node on the way down, and which of its inputs is next. */
typedef struct visit {
    int node;
    size_t next;
} visit;

static gm_status read_slot(gm_onnx_graph *g, int reader, const char *name, gm_onnx_value **value,
                           gm_error *err)
{
    *value = *name ? gm_onnx_value_find(g, name) : NULL;
    if (!*value && *name) {
        return gm_fail(err, GM_ERR_INPUT, "%s: node '%.100s' reads '%.200s', which nothing makes",
                       g->path, text(g->proto->node[reader]->name), name);
    }
    if (*value) {
        (*value)->users++;
        (*value)->user = reader;
    }
    return GM_OK;
}

/* Depth first from the logits; a node met again on its own way down is a cycle. */
static gm_status walk(gm_onnx_graph *g, visit *stack, bool *open, size_t *ordered, gm_error *err)
{
    size_t depth = 0;
    *ordered = 0;
    if (g->logits->maker >= 0) {
        stack[depth++] = (visit){g->logits->maker, 0};
        g->needed[g->logits->maker] = open[g->logits->maker] = true;
    }
    while (depth > 0) {
        visit *top = &stack[depth - 1];
        const Onnx__NodeProto *node = g->proto->node[top->node];
        if (top->next == node->n_input) {
            open[top->node] = false;
            g->order[(*ordered)++] = top->node;
            depth--;
            continue;
        }
        gm_onnx_value *value;
        gm_status status = read_slot(g, top->node, node->input[top->next++], &value, err);
        if (status != GM_OK) return status;
        if (!value || value->maker < 0) continue;
        if (open[value->maker]) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: the graph has a cycle: node '%.100s' depends on "
                           "its own output '%.200s'",
                           g->path, text(g->proto->node[value->maker]->name), value->name);
        }
        if (g->needed[value->maker]) continue;
        g->needed[value->maker] = open[value->maker] = true;
        stack[depth++] = (visit){value->maker, 0};
    }
    return GM_OK;
}

static gm_status order_nodes(gm_onnx_graph *g, gm_error *err)
{
    visit *stack = gm_alloc(g->nodes, sizeof *stack, "nodes of the model", err);
    bool *open = gm_alloc(g->nodes, sizeof *open, "nodes of the model", err);
    gm_status status = stack && open ? walk(g, stack, open, &g->nodes, err) : GM_ERR_MEMORY;
    gm_free(stack);
    gm_free(open);
    return status;
}

/* ---- operators ---- */

static gm_status find_ops(gm_onnx_graph *g, gm_error *err)
{
    for (size_t i = 0; i < g->nodes; i++) {
        int index = g->order[i];
        gm_onnx_step s = {.g = g, .index = index, .node = g->proto->node[index]};
        const char *domain = text(s.node->domain);
        if (*domain && strcmp(domain, "ai.onnx") != 0) {
            return gm_onnx_refuse(&s, err, "its domain '%.60s' is not supported", domain);
        }
        s.op = gm_onnx_op_find(text(s.node->op_type));
        if (!s.op) return gm_onnx_refuse(&s, err, "this operator is not supported");
        if (g->opset < s.op->since) {
            return gm_onnx_refuse(&s, err, "this operator begins with opset %d", s.op->since);
        }
        if (s.node->n_input < s.op->least || (s.op->most && s.node->n_input > s.op->most)) {
            return gm_onnx_refuse(&s, err, "%zu inputs, expected %u ... %u", s.node->n_input,
                                  s.op->least, s.op->most);
        }
        if (s.node->n_output == 0) return gm_onnx_refuse(&s, err, "it has no output");
        for (unsigned j = 0; j < s.op->least; j++) {
            if (!gm_onnx_in(&s, j)) return gm_onnx_refuse(&s, err, "input %u is left out", j);
        }
        gm_status status = gm_onnx_check_attributes(&s, err);
        if (status != GM_OK) return status;
        g->op[index] = s.op;
    }
    return GM_OK;
}

/* ---- the input ---- */

static gm_status input_shape(gm_onnx_graph *g, const Onnx__ValueInfoProto *info,
                             gm_onnx_tensor *tensor, gm_error *err)
{
    const Onnx__TypeProto *type = info->type;
    const Onnx__TypeProto__Tensor *t = NULL;
    if (type && type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) t = type->tensor_type;
    if (!t || !t->shape || !gm_onnx_type_class(t->elem_type, &tensor->of)) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: input '%.100s' is no tensor of numbers with a known shape", g->path,
                       text(info->name));
    }
    int batch = g->unbatched ? 0 : 1;
    if (t->shape->n_dim < (size_t)batch || t->shape->n_dim > GM_MAX_RANK) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: input '%.100s' has %zu dimensions, expected %d ... %d%s", g->path,
                       text(info->name), t->shape->n_dim, batch, GM_MAX_RANK,
                       batch ? ", the first the batch" : "");
    }
    tensor->rank = (int)t->shape->n_dim;
    tensor->dim[0] = g->together;
    g->batch_of_one =
        batch && t->shape->dim[0]->dim_value == 1 &&
        t->shape->dim[0]->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    for (int i = batch; i < tensor->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
        bool known = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (!known || d->dim_value < 1) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: input '%.100s': dimension %d is free, only that of the batch, the "
                           "first, may be",
                           g->path, text(info->name), i);
        }
        tensor->dim[i] = (size_t)d->dim_value;
    }
    if (gm_onnx_count(tensor)) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT, "%s: input '%.100s': its dimensions overflow", g->path,
                   text(info->name));
}

static gm_status find_input(gm_onnx_graph *g, gm_error *err)
{
    for (size_t i = 0; i < g->proto->n_input; i++) {
        const Onnx__ValueInfoProto *info = g->proto->input[i];
        gm_onnx_value *value = gm_onnx_value_find(g, text(info->name));
        if (value->initializer >= 0 || value->users == 0) continue;
        if (g->input && g->input != value) {
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: the logits depend on two inputs, '%.100s' and '%.100s', expected "
                           "one, the samples",
                           g->path, g->input->name, value->name);
        }
        g->input = value;
        gm_status status = input_shape(g, info, &value->tensor, err);
        if (status != GM_OK) return status;
    }
    if (!g->input) {
        return gm_fail(err, GM_ERR_INPUT, "%s: '%.200s' depends on no input of the graph", g->path,
                       g->logits->name);
    }
    g->input->what = GM_ONNX_ACTIVATION;
    g->input->node = 0;
    return GM_OK;
}

gm_status gm_onnx_graph_open(gm_onnx_graph *g, const char *logits, gm_error *err)
{
    g->proto = g->model->graph;
    gm_status status = find_opset(g, err);
    if (status == GM_OK) status = make_room(g, err);
    if (status == GM_OK) status = add_values(g, err);
    if (status == GM_OK) status = find_logits(g, logits, err);
    if (status == GM_OK) status = order_nodes(g, err);
    if (status == GM_OK) status = refuse_softmax(g, err);
    if (status == GM_OK) status = find_ops(g, err);
    return status == GM_OK ? find_input(g, err) : status;
}

void gm_onnx_graph_close(gm_onnx_graph *g)
{
    for (size_t i = 0; i < g->values; i++) {
        gm_onnx_tensor_free(&g->value[i].tensor);
    }
    gm_free(g->value);
    gm_onnx_names_free(&g->names);
    gm_free(g->order);
    gm_free(g->needed);
    gm_free(g->done);
    gm_free(g->op);
    gm_free(g->offset);
    gm_free(g->owner);
    gm_net_free(g->net);
    *g = (gm_onnx_graph){0};
}
