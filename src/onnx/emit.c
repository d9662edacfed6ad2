/* Nodes of the net for values of the graph. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "onnx/graph.h"

gm_status gm_onnx_shape_of(const gm_onnx_step *s, const gm_onnx_tensor *tensor, gm_shape *shape,
                           gm_error *err)
{
    int rank = tensor->rank, skip = 0;
    *shape = (gm_shape){0};
    while (rank - skip > GM_MAX_RANK && tensor->dim[skip] == 1) {
        skip++;
    }
    if (rank - skip > GM_MAX_RANK) {
        return gm_onnx_refuse(s, err, "a tensor of rank %d, at most %d", rank, GM_MAX_RANK);
    }
    if (tensor->count == 0) return gm_onnx_refuse(s, err, "a tensor without numbers");
    *shape = (gm_shape){.rank = rank - skip};
    memcpy(shape->dim, tensor->dim + skip, (size_t)(rank - skip) * sizeof *shape->dim);
    if (shape->rank == 0) *shape = (gm_shape){.rank = 1, .dim = {1}};
    return GM_OK;
}

/* ---- layers ---- */

gm_status gm_onnx_add(const gm_onnx_step *s, const gm_layer_kind *kind, const void *config,
                      int inputs, const int *input, int *node, gm_error *err)
{
    gm_error inner = {0};
    gm_status status = gm_net_add(s->g->net, kind, config, inputs, input, NULL, node, &inner);
    if (status == GM_OK) return GM_OK;
    if (status == GM_ERR_MEMORY) return gm_fail(err, status, "%s", inner.message);
    return gm_onnx_refuse(s, err, "%s", inner.message);
}

bool gm_onnx_is_weight(const gm_onnx_value *value)
{
    return value->what == GM_ONNX_PARAMETER && !value->swapped && value->ties < GM_ONNX_OPERAND;
}

bool gm_onnx_follows(const gm_onnx_step *s, const gm_onnx_value *first, const gm_onnx_value *second)
{
    const size_t *offset = s->g->offset;
    return offset[second->initializer] == offset[first->initializer] + first->tensor.count;
}

bool gm_onnx_joins(const gm_onnx_step *s, const gm_onnx_value *weight, const gm_onnx_value *second)
{
    return weight->ties == GM_ONNX_JOINS && second->ties == GM_ONNX_JOINS &&
           gm_onnx_is_weight(second) && gm_onnx_follows(s, weight, second) &&
           s->g->owner[weight->initializer] == s->g->owner[second->initializer];
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length > tail && strcmp(text + length - tail, end) == 0;
}

static bool name_taken(const gm_net *net, const char *name, size_t length)
{
    for (size_t i = 0; i < gm_net_layers(net); i++) {
        const char *other = gm_net_layer_at(net, i).name;
        if (strlen(other) == length && memcmp(other, name, length) == 0) return true;
    }
    return false;
}

/* Length of the layer's name within the weight's: what weight and bias have in common before their
 * last part ("block.0.fc.weight", "block.0.fc.bias"), or all of it. */
static size_t name_length(const gm_net *net, const char *weight, const char *second)
{
    const char *dot = strrchr(weight, '.'), *slash = strrchr(weight, '/');
    const char *cut = slash > dot ? slash : dot;
    size_t whole = strlen(weight), length = cut ? (size_t)(cut - weight) : 0;
    bool common = second ? strncmp(weight, second, length + 1) == 0 &&
                               strpbrk(second + length + 1, "./") == NULL
                         : ends_with(weight, ".weight");
    return length > 0 && common && !name_taken(net, weight, length) ? length : whole;
}

/* Fewer ties for an initializer and for those that share a layer with it: the net is built again.
 */
static void loosen(gm_onnx_graph *g, int initializer)
{
    int owner = g->owner[initializer];
    for (int i = 0; i < g->initializers; i++) {
        gm_onnx_value *value = &g->value[i];
        if (i != initializer && (owner <= 0 || g->owner[i] != owner)) continue;
        if (value->ties == GM_ONNX_OPERAND) continue;
        value->ties++;
        g->torn = true;
    }
}

/* Traits and shapes permitting, the layer works on the slice of one that is there already. */
static gm_status add_tied(const gm_onnx_step *s, const gm_layer_kind *kind, const void *config,
                          int inputs, const int *input, const gm_onnx_value *weight,
                          const gm_onnx_value *second, int *node, gm_error *err)
{
    gm_onnx_graph *g = s->g;
    int owner = g->owner[weight->initializer];
    gm_error inner = {0};
    bool alike = owner > 0 && (!second || g->owner[second->initializer] == owner);
    gm_status status = GM_ERR_INPUT;
    if (alike) status = gm_net_add_tied(g->net, kind, config, inputs, input, owner, node, &inner);
    if (status == GM_OK) return GM_OK;
    if (status == GM_ERR_MEMORY) return gm_fail(err, status, "%s", inner.message);
    loosen(g, weight->initializer);
    if (second) loosen(g, second->initializer);
    return gm_onnx_refuse(s, err, "weight '%.100s' serves another layer, in another way",
                          g->value[weight->initializer].name);
}

bool gm_onnx_is_placed(const gm_onnx_step *s, const gm_onnx_value *value)
{
    return s->g->owner[value->initializer] > 0;
}

gm_status gm_onnx_add_weighted(const gm_onnx_step *s, const gm_layer_kind *kind, const void *config,
                               int inputs, const int *input, const gm_onnx_value *weight,
                               const gm_onnx_value *second, int *node, gm_error *err)
{
    gm_onnx_graph *g = s->g;
    const char *name = g->value[weight->initializer].name;
    const char *other = second ? g->value[second->initializer].name : NULL;
    if (gm_onnx_is_placed(s, weight) || (second && gm_onnx_is_placed(s, second))) {
        return add_tied(s, kind, config, inputs, input, weight, second, node, err);
    }
    size_t length = kind->source ? strlen(name) : name_length(g->net, name, other);
    char *layer = gm_format(err, "%.*s", (int)length, name);
    if (!layer) return GM_ERR_MEMORY;
    gm_error inner = {0};
    gm_status status = gm_net_add(g->net, kind, config, inputs, input, layer, node, &inner);
    gm_free(layer);
    if (status == GM_ERR_MEMORY) return gm_fail(err, status, "%s", inner.message);
    if (status != GM_OK) return gm_onnx_refuse(s, err, "%s", inner.message);
    size_t expected = weight->tensor.count + (second ? second->tensor.count : 0);
    size_t found = g->net->node[*node].parameters;
    if (found != expected) {
        return gm_onnx_refuse(s, err, "weight '%.100s'%s has %zu numbers, its layer takes %zu",
                              name, second ? " with what follows it" : "", expected, found);
    }
    g->owner[weight->initializer] = *node;
    gm_net_place(g->net, *node, g->offset[weight->initializer]);
    status = gm_net_name_tensor(g->net, *node, 0, name, err);
    if (status != GM_OK || !second) return status;
    g->owner[second->initializer] = *node;
    return gm_net_name_tensor(g->net, *node, 1, other, err);
}

gm_status gm_onnx_add_frozen(const gm_onnx_step *s, gm_frozen_config *config,
                             const gm_onnx_value *weight, int input, int *node, gm_error *err)
{
    const gm_onnx_tensor *t = &weight->tensor;
    config->count = t->count;
    gm_status status = gm_net_keep(s->g->net, t->count, t->real, &config->numbers, err);
    if (status != GM_OK) return status;
    return gm_onnx_add(s, &gm_layer_frozen, config, 1, &input, node, err);
}

/* ---- values as nodes ---- */

/* A parameter tensor as a node, of the initializer's own shape: one for all its users. */
static gm_status parameter_node(const gm_onnx_step *s, gm_onnx_value *value, gm_error *err)
{
    gm_onnx_value *own = &s->g->value[value->initializer];
    gm_parameter_config config = {.fan_in = 0};
    gm_status status = gm_onnx_shape_of(s, &own->tensor, &config.shape, err);
    for (int i = 1; config.shape.rank > 1 && i < config.shape.rank; i++) { /* as a matrix's rows */
        config.fan_in = (config.fan_in ? config.fan_in : 1) * config.shape.dim[i];
    }
    if (status == GM_OK && own->node < 0) {
        status = gm_onnx_add_weighted(s, &gm_layer_parameter, &config, 0, NULL, own, NULL,
                                      &own->node, err);
    }
    if (status != GM_OK || !value->swapped) {
        value->node = own->node;
        return status;
    }
    gm_transpose_config swap = {.axis = {1, 0}};
    return gm_onnx_add(s, &gm_layer_transpose, &swap, 1, &own->node, &value->node, err);
}

static gm_status constant_node(const gm_onnx_step *s, gm_onnx_value *value, gm_error *err)
{
    const gm_onnx_tensor *t = &value->tensor;
    gm_constant_config config;
    gm_status status = gm_onnx_shape_of(s, t, &config.shape, err);
    if (status != GM_OK) return status;
    double *numbers = gm_alloc(t->count, sizeof *numbers, "constants of the model", err);
    for (size_t i = 0; numbers && i < t->count; i++) {
        numbers[i] = t->of == GM_ONNX_REAL ? t->real[i] : (double)t->whole[i];
    }
    status =
        numbers ? gm_net_keep(s->g->net, t->count, numbers, &config.numbers, err) : GM_ERR_MEMORY;
    gm_free(numbers);
    if (status != GM_OK) return status;
    return gm_onnx_add(s, &gm_layer_constant, &config, 0, NULL, &value->node, err);
}

/* The node with the numbers in the value's own order. */
static gm_status plain_node(const gm_onnx_step *s, gm_onnx_value *value, gm_error *err)
{
    if (value->node >= 0) return GM_OK;
    if (value->what == GM_ONNX_PARAMETER) return parameter_node(s, value, err);
    if (value->what == GM_ONNX_CONSTANT) return constant_node(s, value, err);
    gm_channels_config first = {.channels_last = false};
    return gm_onnx_add(s, &gm_layer_layout, &first, 1, &value->last, &value->node, err);
}

gm_status gm_onnx_node_as(const gm_onnx_step *s, gm_onnx_value *value, const gm_shape *shape,
                          int *node, gm_error *err)
{
    gm_status status = plain_node(s, value, err);
    *node = value->node;
    if (status != GM_OK || gm_shape_equal(&s->g->net->node[*node].shape, shape)) return status;
    gm_reshape_config config = {.shape = *shape};
    int from = value->node;
    return gm_onnx_add(s, &gm_layer_reshape, &config, 1, &from, node, err);
}

gm_status gm_onnx_node_of(const gm_onnx_step *s, gm_onnx_value *value, int *node, gm_error *err)
{
    gm_shape shape;
    gm_status status = gm_onnx_shape_of(s, &value->tensor, &shape, err);
    return status == GM_OK ? gm_onnx_node_as(s, value, &shape, node, err) : status;
}

gm_status gm_onnx_image_of(const gm_onnx_step *s, gm_onnx_value *value, int *node, gm_error *err)
{
    const gm_onnx_tensor *t = &value->tensor;
    if ((t->rank != 3 && t->rank != 4) || t->dim[0] != 1) {
        return gm_onnx_refuse(s, err,
                              "input '%.100s' is of rank %d, %zu along its first axis, expected "
                              "images [batch, C, H, W] or signals [batch, C, L]",
                              value->name, t->rank, t->rank ? t->dim[0] : 0);
    }
    *node = value->last;
    if (value->last >= 0) return GM_OK;
    gm_shape image = {.rank = t->rank - 1};
    memcpy(image.dim, t->dim + 1, (size_t)image.rank * sizeof *image.dim);
    gm_status status = gm_onnx_node_as(s, value, &image, node, err);
    if (status != GM_OK) return status;
    gm_channels_config last = {.channels_last = true};
    status = gm_onnx_add(s, &gm_layer_layout, &last, 1, node, &value->last, err);
    *node = value->last;
    return status;
}

void gm_onnx_put(const gm_onnx_step *s, size_t slot, int rank, const size_t *dim, int node,
                 int last)
{
    gm_onnx_value *out = gm_onnx_out(s, slot);
    if (!out) return;
    out->what = GM_ONNX_ACTIVATION;
    out->tensor = (gm_onnx_tensor){.of = GM_ONNX_REAL, .rank = rank};
    memcpy(out->tensor.dim, dim, (size_t)rank * sizeof *dim);
    gm_onnx_count(&out->tensor);
    out->node = node;
    out->last = last;
}

gm_status gm_onnx_alias(const gm_onnx_step *s, gm_onnx_value *in, int rank, const size_t *dim,
                        gm_error *err)
{
    gm_onnx_value *out = gm_onnx_out(s, 0);
    if (!out) return gm_onnx_refuse(s, err, "its output is left out");
    if (in->what == GM_ONNX_CONSTANT) {
        gm_onnx_tensor *copy;
        gm_status made = gm_onnx_fold_make(s, 0, in->tensor.of, rank, dim, &copy, err);
        if (made == GM_OK && in->tensor.count) {
            memcpy(copy->numbers, in->tensor.numbers, in->tensor.count * sizeof(double));
        }
        return made;
    }
    bool same =
        rank == in->tensor.rank && memcmp(dim, in->tensor.dim, (size_t)rank * sizeof *dim) == 0;
    if ((in->what == GM_ONNX_ACTIVATION || in->swapped) && !same) {
        gm_status status = plain_node(s, in, err);
        if (status != GM_OK) return status;
    }
    out->what = in->swapped && !same ? GM_ONNX_ACTIVATION : in->what;
    out->tensor = (gm_onnx_tensor){.of = in->tensor.of, .rank = rank};
    memcpy(out->tensor.dim, dim, (size_t)rank * sizeof *dim);
    gm_onnx_count(&out->tensor);
    out->initializer = in->initializer;
    out->swapped = in->swapped;
    out->ties = in->ties;
    out->node = in->node;
    out->last = same ? in->last : -1;
    return GM_OK;
}
