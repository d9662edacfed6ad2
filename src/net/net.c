/* The graph: nodes in topological order, each with its slice of the flat parameter vector. */
#include "net/net.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/random.h"

gm_status gm_net_create(const char *name, const gm_shape *input, gm_net **net, gm_error *err)
{
    *net = NULL;
    size_t size = gm_shape_size(input);
    if (size == 0) return gm_fail(err, GM_ERR_INPUT, "%s: input of size 0 or too large", name);
    gm_net *made = gm_alloc(1, sizeof *made, "net", err);
    if (!made) return GM_ERR_MEMORY;
    made->name = gm_strdup(name, err);
    made->capacity = 8;
    made->node = gm_alloc((size_t)made->capacity, sizeof *made->node, "nodes of the net", err);
    if (!made->name || !made->node) {
        gm_net_free(made);
        return GM_ERR_MEMORY;
    }
    made->node[0] = (gm_node){.shape = *input, .size = size, .layer = -1};
    made->nodes = 1;
    *net = made;
    return GM_OK;
}

static gm_status reserve_node(gm_net *net, gm_error *err)
{
    if (net->nodes < net->capacity) return GM_OK;
    int capacity = 2 * net->capacity;
    gm_node *node = gm_alloc((size_t)capacity, sizeof *node, "nodes of the net", err);
    if (!node) return GM_ERR_MEMORY;
    memcpy(node, net->node, (size_t)net->nodes * sizeof *node);
    gm_free(net->node);
    net->node = node;
    net->capacity = capacity;
    return GM_OK;
}

/* Elements of a node's parameter tensors; false where they overflow. */
static bool count_parameters(gm_node *node)
{
    node->parameters = 0;
    for (int t = 0; t < node->tensors; t++) {
        size_t size = gm_shape_size(&node->tensor[t].shape);
        if (size == 0 || !gm_add_size(node->parameters, size, &node->parameters)) return false;
    }
    return true;
}

/* Nodes of a kind that are there already. */
static int of_kind(const gm_net *net, const gm_layer_kind *kind)
{
    int count = 0;
    for (int i = 1; i < net->nodes; i++) {
        count += net->node[i].kind == kind;
    }
    return count;
}

static gm_status name_tensors(gm_node *node, gm_error *err)
{
    for (int t = 0; t < node->tensors; t++) {
        node->tensor_name[t] = gm_format(err, "%s.%s", node->name, node->tensor[t].name);
        if (!node->tensor_name[t]) return GM_ERR_MEMORY;
    }
    return GM_OK;
}

gm_status gm_net_name_tensor(gm_net *net, int node, int t, const char *name, gm_error *err)
{
    char *copy = gm_strdup(name, err);
    if (!copy) return GM_ERR_MEMORY;
    gm_free(net->node[node].tensor_name[t]);
    net->node[node].tensor_name[t] = copy;
    net->named = true;
    return GM_OK;
}

static gm_status add_layer_index(gm_net *net, gm_node *node, const char *name, gm_error *err)
{
    if (node->parameters == 0 || node->owner != net->nodes) return GM_OK;
    int *layer_node =
        gm_alloc((size_t)net->layers + 1, sizeof *layer_node, "layers of the net", err);
    if (!layer_node) return GM_ERR_MEMORY;
    if (net->layers) memcpy(layer_node, net->layer_node, (size_t)net->layers * sizeof *layer_node);
    layer_node[net->layers] = net->nodes;
    gm_free(net->layer_node);
    net->layer_node = layer_node;
    node->layer = net->layers++;
    node->name = name ? gm_strdup(name, err)
                      : gm_format(err, "%s%d", node->kind->name, 1 + of_kind(net, node->kind));
    return node->name ? name_tensors(node, err) : GM_ERR_MEMORY;
}

/* Signals run backward: a new user of a node is the first to write there, so that every older one
 * adds. */
static void mark_shared(gm_net *net, const gm_node *user)
{
    for (int i = 1; i < net->nodes; i++) {
        gm_node *node = &net->node[i];
        for (int j = 0; j < node->inputs; j++) {
            for (int l = 0; l < user->inputs; l++) {
                node->input_shared[j] = node->input_shared[j] || node->input[j] == user->input[l];
            }
        }
    }
}

/* Puts the node on the slice of its owner, both without the traits that hold for a weight met once.
 */
static gm_status share_slice(gm_net *net, gm_node *node, gm_error *err)
{
    const unsigned once = GM_TRAIT_OUTER | GM_TRAIT_PIECEWISE | GM_TRAIT_HOMOGENEOUS;
    gm_node *owner = &net->node[node->owner];
    bool fits = owner->parameters > 0 && owner->tensors == node->tensors;
    for (int t = 0; fits && t < node->tensors; t++) {
        fits = gm_shape_equal(&owner->tensor[t].shape, &node->tensor[t].shape);
    }
    if (!fits) {
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: a layer (%s) of %zu parameters tied to a layer (%s) of %zu, expected "
                       "tensors of the same shapes",
                       net->name, node->kind->name, node->parameters,
                       owner->kind ? owner->kind->name : "the input", owner->parameters);
    }
    node->offset = owner->offset;
    node->layer = owner->layer;
    owner->traits &= ~once;
    node->traits &= ~once;
    return GM_OK;
}

/* Marks node `end` and all that it depends on. */
static void mark_behind(const gm_net *net, int end, bool *behind)
{
    behind[end] = true;
    for (int i = end; i > 0; i--) {
        for (int j = 0; behind[i] && j < net->node[i].inputs; j++) {
            behind[net->node[i].input[j]] = true;
        }
    }
}

/* A product of two inputs is linear in each single weight where none is behind both. (Where one is
 * tied to another later, share_slice takes the trait from these two.) */
static gm_status join_bilinear(const gm_net *net, gm_node *node, gm_error *err)
{
    if (!(node->traits & GM_TRAIT_BILINEAR) || node->inputs != 2) return GM_OK;
    size_t nodes = (size_t)net->nodes;
    bool *behind = gm_alloc(2 * nodes, sizeof *behind, "nodes of the net", err), apart = true;
    if (!behind) return GM_ERR_MEMORY;
    mark_behind(net, node->input[0], behind);
    mark_behind(net, node->input[1], behind + nodes);
    for (size_t i = 0; i < nodes; i++) {
        if (behind[i] && behind[nodes + i] && net->node[i].parameters) apart = false;
    }
    if (apart) node->traits |= GM_TRAIT_PIECEWISE;
    gm_free(behind);
    return GM_OK;
}

/* owner < 0: the layer brings its own parameters. */
static gm_status add_node(gm_net *net, const gm_layer_kind *kind, const void *config, int inputs,
                          const int *input, const char *name, int owner, int *index, gm_error *err)
{
    gm_status status = reserve_node(net, err);
    if (status != GM_OK) return status;
    gm_node node = {.kind = kind,
                    .inputs = inputs,
                    .layer = -1,
                    .owner = owner < 0 ? net->nodes : net->node[owner].owner};
    int least = kind->source ? 0 : 1, most = kind->source ? 0 : GM_MAX_INPUTS;
    if (inputs < least || inputs > most) {
        return gm_fail(err, GM_ERR_INPUT, "%s: %d inputs, expected %d ... %d", kind->name, inputs,
                       least, most);
    }
    for (int i = 0; i < inputs; i++) {
        node.input[i] = input[i];
        node.in_shape[i] = net->node[input[i]].shape;
        for (int j = 0; j < i; j++) {
            node.input_shared[i] = node.input_shared[i] || input[j] == input[i];
        }
    }
    gm_error inner = {0};
    status =
        kind->infer(config, inputs, node.in_shape, &node.shape, node.tensor, &node.tensors, &inner);
    if (status != GM_OK) {
        return gm_fail(err, status, "%s: layer %s%d: %s", net->name, kind->name,
                       1 + of_kind(net, kind), inner.message);
    }
    node.size = gm_shape_size(&node.shape);
    node.offset = net->parameters;
    size_t total;
    if (node.size == 0 || !count_parameters(&node) ||
        !gm_add_size(net->parameters, node.parameters, &total) || total > (size_t)1 << 56) {
        return gm_fail(err, GM_ERR_INPUT, "%s: the layer's size overflows", net->name);
    }
    node.traits = kind->traits(config);
    status = join_bilinear(net, &node, err);
    if (status != GM_OK) return status;
    if (node.owner != net->nodes) {
        status = share_slice(net, &node, err);
        if (status != GM_OK) return status;
        total = net->parameters;
    }
    node.config = gm_alloc(1, kind->config_size, "layer", err);
    if (!node.config) return GM_ERR_MEMORY;
    memcpy(node.config, config, kind->config_size);
    status = add_layer_index(net, &node, name, err);
    mark_shared(net, &node);
    net->node[net->nodes] = node; /* owned by the net from here on, also when half built */
    *index = net->nodes++;
    net->parameters = total;
    return status;
}

gm_status gm_net_add(gm_net *net, const gm_layer_kind *kind, const void *config, int inputs,
                     const int *input, const char *name, int *index, gm_error *err)
{
    return add_node(net, kind, config, inputs, input, name, -1, index, err);
}

gm_status gm_net_add_tied(gm_net *net, const gm_layer_kind *kind, const void *config, int inputs,
                          const int *input, int owner, int *index, gm_error *err)
{
    return add_node(net, kind, config, inputs, input, NULL, owner, index, err);
}

void gm_net_place(gm_net *net, int node, size_t offset)
{
    net->node[node].offset = offset;
}

void gm_net_settle(gm_net *net, size_t parameters)
{
    net->parameters = parameters;
    for (int i = 1; i < net->layers; i++) { /* insertion: they are nearly in order */
        int moving = net->layer_node[i], to = i;
        for (; to > 0; to--) {
            int before = net->layer_node[to - 1];
            if (net->node[before].offset <= net->node[moving].offset) break;
            net->layer_node[to] = before;
        }
        net->layer_node[to] = moving;
    }
    for (int i = 0; i < net->layers; i++) {
        net->node[net->layer_node[i]].layer = i;
    }
    for (int i = 1; i < net->nodes; i++) { /* tied ones */
        gm_node *node = &net->node[i];
        if (node->parameters) node->layer = net->node[node->owner].layer;
    }
}

gm_status gm_net_keep(gm_net *net, size_t count, const double *numbers, const double **kept,
                      gm_error *err)
{
    size_t held = (size_t)net->constants;
    double **constant = gm_alloc(held + 1, sizeof *constant, "constants of the net", err);
    double *copy = gm_alloc(count, sizeof *copy, "constants of the net", err);
    if (!constant || !copy) {
        gm_free(constant);
        gm_free(copy);
        return GM_ERR_MEMORY;
    }
    if (held) memcpy(constant, net->constant, held * sizeof *constant);
    memcpy(copy, numbers, count * sizeof *copy);
    gm_free(net->constant);
    net->constant = constant;
    net->constant[net->constants++] = copy;
    *kept = copy;
    return GM_OK;
}

void gm_net_free(gm_net *net)
{
    if (!net) return;
    for (int i = 0; i < net->nodes; i++) {
        gm_free(net->node[i].config);
        gm_free(net->node[i].name);
        for (int t = 0; t < net->node[i].tensors; t++) {
            gm_free(net->node[i].tensor_name[t]);
        }
    }
    gm_free(net->node);
    for (int i = 0; i < net->constants; i++) {
        gm_free(net->constant[i]);
    }
    gm_free(net->constant);
    gm_net_free_groups(net);
    gm_free(net->layer_node);
    gm_free(net->name);
    gm_free(net);
}

const char *gm_net_name(const gm_net *net)
{
    return net->name;
}

size_t gm_net_parameters(const gm_net *net)
{
    return net->parameters;
}

size_t gm_net_inputs(const gm_net *net)
{
    return net->node[0].size;
}

size_t gm_net_outputs(const gm_net *net)
{
    return net->node[net->nodes - 1].size;
}

size_t gm_net_layers(const gm_net *net)
{
    return (size_t)net->layers;
}

gm_net_layer gm_net_layer_at(const gm_net *net, size_t index)
{
    if (index >= (size_t)net->layers) {
        const gm_net_group *group = &net->group[index - (size_t)net->layers];
        return (gm_net_layer){group->pattern, group->slice->offset, group->parameters};
    }
    const gm_node *node = &net->node[net->layer_node[index]];
    return (gm_net_layer){node->name, node->offset, node->parameters};
}

size_t gm_net_tensors(const gm_net *net)
{
    size_t tensors = 0;
    for (int i = 0; i < net->layers; i++) {
        tensors += (size_t)net->node[net->layer_node[i]].tensors;
    }
    return tensors;
}

gm_net_tensor gm_net_tensor_at(const gm_net *net, size_t index)
{
    const int *layer = net->layer_node;
    while (index >= (size_t)net->node[*layer].tensors) {
        index -= (size_t)net->node[*layer++].tensors;
    }
    const gm_node *node = &net->node[*layer];
    gm_net_tensor tensor = {.name = node->tensor_name[index],
                            .layer = (size_t)node->layer,
                            .offset = node->offset,
                            .shape = node->tensor[index].shape};
    for (size_t t = 0; t < index; t++) {
        tensor.offset += gm_shape_size(&node->tensor[t].shape);
    }
    return tensor;
}

gm_status gm_net_find_layer(const gm_net *net, const char *name, size_t *index, gm_error *err)
{
    for (size_t i = 0; i < gm_net_layers(net); i++) {
        if (strcmp(name, gm_net_layer_at(net, i).name) == 0) {
            *index = i;
            return GM_OK;
        }
    }
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (name[0] >= '0' && name[0] <= '9' && *end == 0 && number < gm_net_layers(net)) {
        *index = number;
        return GM_OK;
    }
    return gm_fail(err, GM_ERR_USAGE,
                   "--layer %s: not in %s, whose %zu layers are %s ... %s (or 0 ... %zu)", name,
                   net->name, gm_net_layers(net), gm_net_layer_at(net, 0).name,
                   gm_net_layer_at(net, gm_net_layers(net) - 1).name, gm_net_layers(net) - 1);
}

static bool all_nodes_have(const gm_net *net, unsigned trait)
{
    for (int i = 1; i < net->nodes; i++) {
        if (!(net->node[i].traits & trait)) return false;
    }
    return true;
}

bool gm_net_piecewise_linear(const gm_net *net)
{
    return all_nodes_have(net, GM_TRAIT_PIECEWISE);
}

bool gm_net_homogeneous(const gm_net *net)
{
    return all_nodes_have(net, GM_TRAIT_HOMOGENEOUS);
}

void gm_net_init(const gm_net *net, gm_init init, uint64_t seed, uint32_t run, double *theta)
{
    gm_stream stream = gm_stream_of(seed, GM_PURPOSE_INIT, run);
    gm_normal_fill(stream, 0, net->parameters, theta);
    for (int i = 0; i < net->layers; i++) {
        const gm_node *node = &net->node[net->layer_node[i]];
        double *slice = theta + node->offset;
        for (int t = 0; t < node->tensors; t++) {
            const gm_tensor *tensor = &node->tensor[t];
            size_t size = gm_shape_size(&tensor->shape);
            double fan =
                (double)tensor->fan_in + (init == GM_INIT_GLOROT ? (double)tensor->fan_out : 0.0);
            double scale = tensor->fan_in ? __builtin_sqrt(2.0 / fan) : 0.0;
            for (size_t j = 0; j < size; j++) {
                slice[j] = slice[j] * scale + tensor->start;
            }
            slice += size;
        }
    }
}
