/* From a file to a net: operators one after the other, makers before users. */
#include <string.h>

#include "base/memory.h"
#include "onnx/file.h"
#include "onnx/graph.h"

bool gm_onnx_names_model(const char *spec)
{
    size_t length = strlen(spec);
    return length > 5 && strcmp(spec + length - 5, ".onnx") == 0;
}

/* ---- the net ---- */

/* An operator that works on the samples of a batch one at a time, on each of `together`: [m, ...]
 * in pieces of [1, ...], and what became of them side by side. */
static gm_status emit_each(gm_onnx_step *s, gm_error *err)
{
    gm_onnx_value *in = gm_onnx_in(s, 0), *out = gm_onnx_out(s, 0);
    const gm_onnx_value whole = *in;
    size_t together = s->g->together;
    gm_slice_config piece = {.start = {0}};
    gm_concat_config side_by_side = {.axis = 0};
    int node, part[GM_MAX_INPUTS], made;
    if (!out) return gm_onnx_refuse(s, err, "its output is left out");
    gm_status status = gm_onnx_node_of(s, in, &node, err);
    for (int i = 0; i < whole.tensor.rank && i < GM_MAX_RANK; i++) {
        piece.count[i] = i ? whole.tensor.dim[i] : 1;
        piece.step[i] = 1;
    }
    for (size_t i = 0; status == GM_OK && i < together; i++) {
        piece.start[0] = i;
        *in = whole;
        in->tensor.dim[0] = 1;
        in->tensor.count /= together;
        in->last = -1;
        status = gm_onnx_add(s, &gm_layer_slice, &piece, 1, &node, &in->node, err);
        if (status == GM_OK) status = s->op->emit(s, err);
        if (status == GM_OK) status = gm_onnx_node_of(s, out, &part[i], err);
    }
    *in = whole;
    if (status != GM_OK) return status;
    status = gm_onnx_add(s, &gm_layer_concat, &side_by_side, (int)together, part, &made, err);
    size_t dim[GM_ONNX_RANK];
    memcpy(dim, out->tensor.dim, sizeof dim);
    dim[0] = together;
    if (status == GM_OK) gm_onnx_put(s, 0, out->tensor.rank, dim, made, -1);
    return status;
}

/* By the format's own definition these work on each sample of a batch by itself. */
static bool works_alone(const char *operator)
{
    static const char *const name[] = {"Conv",
                                       "ConvTranspose",
                                       "MaxPool",
                                       "AveragePool",
                                       "GlobalAveragePool",
                                       "GlobalMaxPool",
                                       "BatchNormalization",
                                       "InstanceNormalization"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        if (strcmp(name[i], operator) == 0) return true;
    }
    return false;
}

static gm_status emit(gm_onnx_step *s, gm_error *err)
{
    const gm_onnx_value *in = gm_onnx_in(s, 0);
    if (s->g->together == 1 || !in || !in->moves || !works_alone(s->op->name))
        return s->op->emit(s, err);
    if (in->tensor.rank > 0 && in->tensor.dim[0] == s->g->together) return emit_each(s, err);
    return gm_onnx_refuse(s, err, "%zu along the first axis of its input for %zu samples",
                          in->tensor.rank ? in->tensor.dim[0] : 0, s->g->together);
}

static gm_status run_node(gm_onnx_graph *g, int index, gm_error *err)
{
    gm_onnx_step s = {.g = g, .index = index, .node = g->proto->node[index], .op = g->op[index]};
    bool constant = true;
    for (size_t i = 0; i < s.node->n_input; i++) {
        const gm_onnx_value *in = gm_onnx_in(&s, i);
        constant = constant && (!in || in->what == GM_ONNX_CONSTANT);
        if (in && in->what == GM_ONNX_UNSET) {
            return gm_onnx_refuse(&s, err, "input '%.100s' was not computed", in->name);
        }
    }
    gm_status status;
    bool of_shapes = strcmp(s.op->name, "Shape") == 0 || strcmp(s.op->name, "Size") == 0;
    if (s.op->fold && (constant || of_shapes)) {
        status = s.op->fold(&s, err);
    } else if (s.op->emit) {
        status = emit(&s, err);
    } else {
        status = gm_onnx_refuse(&s, err,
                                "supported on constants only, here its input depends on "
                                "the sample or on parameters");
    }
    for (size_t i = 0; status == GM_OK && i < s.node->n_output; i++) {
        const gm_onnx_value *out = gm_onnx_out(&s, i);
        if (out && out->users && out->what == GM_ONNX_UNSET) {
            status =
                gm_onnx_refuse(&s, err, "output %zu, '%.100s', is not supported", i, out->name);
        }
    }
    return status;
}

/* The logits as the last node, of the net's own form: [1, K] is K numbers. */
static gm_status finish(gm_onnx_graph *g, gm_error *err)
{
    gm_onnx_value *value = g->logits;
    int maker = value->maker < 0 ? 0 : value->maker, node;
    if (value->what != GM_ONNX_ACTIVATION || value->maker < 0 || !value->moves) {
        return gm_fail(err, GM_ERR_INPUT, "%s: the logits '%.100s' do not depend on the sample",
                       g->path, value->name);
    }
    gm_onnx_step s = {.g = g, .index = maker, .node = g->proto->node[maker], .op = g->op[maker]};
    bool batched = !g->unbatched;
    if (batched && (value->tensor.rank < 1 || value->tensor.dim[0] != g->together)) {
        return gm_onnx_refuse(&s, err,
                              "the logits '%.100s' have %zu along their first axis for a batch of "
                              "%zu, expected that number",
                              value->name, value->tensor.rank ? value->tensor.dim[0] : 0,
                              g->together);
    }
    gm_onnx_tensor form = value->tensor;
    if (batched && form.rank > 1 && g->together == 1) {
        form.rank--;
        memmove(form.dim, value->tensor.dim + 1, (size_t)form.rank * sizeof *form.dim);
    }
    gm_shape shape;
    gm_status status = gm_onnx_shape_of(&s, &form, &shape, err);
    if (status == GM_OK) status = gm_onnx_node_as(&s, value, &shape, &node, err);
    if (status == GM_OK && node != g->net->nodes - 1) { /* a view of an earlier node */
        gm_reshape_config config = {.shape = shape};
        status = gm_onnx_add(&s, &gm_layer_reshape, &config, 1, &node, &node, err);
    }
    for (int i = 0; status == GM_OK && i < g->initializers; i++) {
        if (g->offset[i] == SIZE_MAX || g->owner[i] > 0) continue;
        status = gm_fail(err, GM_ERR_INPUT, "%s: no layer takes initializer '%.200s'", g->path,
                         g->value[i].name);
    }
    if (status == GM_OK) gm_net_settle(g->net, g->parameters);
    return status;
}

/* Values as they were before a net was built. */
static void begin_anew(gm_onnx_graph *g)
{
    gm_net_free(g->net);
    g->net = NULL;
    g->torn = false;
    g->folded = 0;
    memset(g->done, 0, g->proto->n_node * sizeof *g->done);
    memset(g->owner, 0, (size_t)g->initializers * sizeof *g->owner);
    for (size_t i = 0; i < g->values; i++) {
        gm_onnx_value *value = &g->value[i];
        value->node = value == g->input ? 0 : -1;
        value->last = -1;
        if (value->maker < 0) continue;
        gm_onnx_tensor_free(&value->tensor);
        value->tensor = (gm_onnx_tensor){0};
        value->what = GM_ONNX_UNSET;
        value->initializer = -1;
        value->swapped = false;
        value->ties = GM_ONNX_JOINS;
    }
}

static gm_status build_once(gm_onnx_graph *g, gm_error *err)
{
    gm_shape shape = {.rank = g->input->tensor.rank};
    memcpy(shape.dim, g->input->tensor.dim, sizeof shape.dim);
    gm_status status = gm_net_create(g->path, &shape, &g->net, err);
    for (size_t i = 0; status == GM_OK && i < g->nodes; i++) {
        if (!g->done[g->order[i]]) status = run_node(g, g->order[i], err);
    }
    return status == GM_OK ? finish(g, err) : status;
}

/* Again each time that an initializer has lost a tie; where that goes on, once more without any. */
enum { BUILDS = 64 };

static gm_status build(gm_onnx_graph *g, gm_error *err)
{
    gm_status status = build_once(g, err);
    for (int builds = 1; status == GM_ERR_INPUT && g->torn; builds++) {
        for (int i = 0; builds == BUILDS && i < g->initializers; i++) {
            g->value[i].ties = GM_ONNX_OPERAND;
        }
        begin_anew(g);
        status = build_once(g, err);
    }
    return status;
}

/* ---- the model ---- */

static gm_status list_initializer(const gm_onnx_graph *g, int i, gm_onnx_initializer *to,
                                  gm_error *err)
{
    const gm_onnx_value *value = &g->value[i];
    gm_onnx_tensor shape;
    const Onnx__TensorProto *proto = g->proto->initializer[i];
    gm_error unread;
    if (value->users) {
        shape = value->tensor;
    } else if (gm_onnx_tensor_shape(&g->folder, proto, "initializer", &shape, &unread) != GM_OK) {
        shape = (gm_onnx_tensor){0}; /* of a type that is not read, but nothing asks for it */
    }
    *to = (gm_onnx_initializer){.name = gm_strdup(value->name, err),
                                .type = gm_onnx_type_name(proto->data_type),
                                .role = value->users == 0 ? GM_ONNX_IS_UNUSED : GM_ONNX_IS_CONSTANT,
                                .rank = shape.rank,
                                .count = shape.count};
    memcpy(to->dim, shape.dim, sizeof to->dim);
    if (g->offset[i] != SIZE_MAX) {
        to->role = GM_ONNX_IS_PARAMETER;
        to->offset = g->offset[i];
    }
    return to->name ? GM_OK : GM_ERR_MEMORY;
}

/* Other names of parameters: exporters write Identity where two layers share one. */
static gm_status list_aliases(const gm_onnx_graph *g, gm_onnx *model, gm_error *err)
{
    for (size_t i = 0; i < g->nodes; i++) {
        const Onnx__NodeProto *node = g->proto->node[g->order[i]];
        const gm_onnx_value *in = gm_onnx_value_find(g, node->n_input ? node->input[0] : "");
        if (strcmp(g->op[g->order[i]]->name, "Identity") != 0 || !in || in->maker >= 0 ||
            in->what != GM_ONNX_PARAMETER) {
            continue;
        }
        gm_onnx_initializer *to = &model->initializer[in->initializer];
        if (to->aliases++ == 0) to->alias = gm_strdup(node->output[0], err);
        if (!to->alias) return GM_ERR_MEMORY;
    }
    return GM_OK;
}

static gm_status deliver(gm_onnx_graph *g, gm_onnx *model, gm_error *err)
{
    size_t count = (size_t)g->initializers;
    model->path = gm_strdup(g->path, err);
    model->input = gm_strdup(g->input->name, err);
    model->logits = gm_strdup(g->logits->name, err);
    model->theta = gm_alloc(g->parameters, sizeof(double), "parameters", err);
    model->initializer = gm_alloc(count, sizeof *model->initializer, "initializers", err);
    if (!model->path || !model->input || !model->logits || !model->theta || !model->initializer) {
        return GM_ERR_MEMORY;
    }
    model->opset = g->opset;
    model->checksum = g->folder.checksum;
    model->batch_of_one = g->batch_of_one;
    for (int i = 0; i < g->initializers; i++) {
        gm_status status = list_initializer(g, i, &model->initializer[i], err);
        if (status != GM_OK) return status;
        model->initializers++;
        const gm_onnx_tensor *t = &g->value[i].tensor;
        if (g->offset[i] == SIZE_MAX) continue;
        memcpy(model->theta + g->offset[i], t->real, t->count * sizeof(double));
    }
    model->net = g->net;
    g->net = NULL;
    return list_aliases(g, model, err);
}

void gm_onnx_options_default(gm_onnx_options *options)
{
    *options = (gm_onnx_options){.logits = NULL, .unbatched = false, .together = 0};
}

gm_status gm_onnx_load(const char *path, const gm_onnx_options *options, gm_onnx **model,
                       gm_error *err)
{
    gm_onnx_graph g = {.path = path,
                       .constants = options->constants,
                       .unbatched = options->unbatched,
                       .together = options->together > 1 ? options->together : 1};
    *model = NULL;
    if (g.together > GM_MAX_INPUTS || (g.together > 1 && g.unbatched)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "%s: %zu samples together, expected at most %d, of a graph with a batch",
                       path, g.together, (int)GM_MAX_INPUTS);
    }
    gm_status status = gm_onnx_file_read(path, &g.folder, &g.model, err);
    if (status == GM_OK) status = gm_onnx_graph_open(&g, options->logits, err);
    if (status == GM_OK) status = gm_onnx_graph_roles(&g, err);
    if (status == GM_OK) status = build(&g, err);
    if (status == GM_OK) {
        *model = gm_alloc(1, sizeof **model, "model", err);
        status = *model ? deliver(&g, *model, err) : GM_ERR_MEMORY;
    }
    Onnx__ModelProto *messages = g.model;
    gm_onnx_graph_close(&g);
    gm_onnx_file_free(messages);
    if (status != GM_OK) {
        gm_onnx_free(*model);
        *model = NULL;
    }
    return status;
}

void gm_onnx_free(gm_onnx *model)
{
    if (!model) return;
    for (size_t i = 0; i < model->initializers; i++) {
        gm_free((char *)model->initializer[i].name);
        gm_free((char *)model->initializer[i].alias);
    }
    gm_free(model->initializer);
    gm_free(model->path);
    gm_free(model->input);
    gm_free(model->logits);
    gm_free(model->theta);
    gm_net_free(model->net);
    gm_free(model);
}
