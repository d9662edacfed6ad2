/* ONNX files for tests, put together message by message with protobuf-c. */
#ifndef TESTS_ONNX_MODEL_H
#define TESTS_ONNX_MODEL_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx.pb-c.h"

/* A model under construction: one at a time, in memory that the next model_begin takes again. */
enum { MODEL_ARENA = 1 << 22, MODEL_NODES = 256, MODEL_SLOTS = 16 };
static _Alignas(64) char model_arena[MODEL_ARENA];
static size_t model_used;
static Onnx__ModelProto model_proto;
static Onnx__GraphProto model_graph;
static Onnx__OperatorSetIdProto model_opset;

static inline void *model_take(size_t bytes)
{
    void *at = model_arena + model_used;
    model_used += (bytes + 15) & ~(size_t)15;
    if (model_used > MODEL_ARENA) {
        fprintf(stderr, "model: arena too small\n");
        _Exit(99);
    }
    memset(at, 0, bytes);
    return at;
}

static inline char *model_text(const char *text)
{
    return strcpy(model_take(strlen(text) + 1), text);
}

static inline void model_begin(int opset)
{
    static Onnx__OperatorSetIdProto *sets[1] = {&model_opset};
    model_used = 0;
    onnx__model_proto__init(&model_proto);
    onnx__graph_proto__init(&model_graph);
    onnx__operator_set_id_proto__init(&model_opset);
    model_opset.has_version = 1;
    model_opset.version = opset;
    model_proto.has_ir_version = 1;
    model_proto.ir_version = 7;
    model_proto.n_opset_import = 1;
    model_proto.opset_import = sets;
    model_proto.graph = &model_graph;
    model_graph.name = model_text("test");
    model_graph.node = model_take(MODEL_NODES * sizeof(void *));
    model_graph.initializer = model_take(MODEL_NODES * sizeof(void *));
    model_graph.input = model_take(MODEL_SLOTS * sizeof(void *));
    model_graph.output = model_take(MODEL_SLOTS * sizeof(void *));
}

/* A dimension of -1 is free. rank -1: without a shape. */
static inline Onnx__ValueInfoProto *model_info(const char *name, int type, int rank,
                                               const long *dim)
{
    Onnx__ValueInfoProto *info = model_take(sizeof *info);
    onnx__value_info_proto__init(info);
    info->name = model_text(name);
    info->type = model_take(sizeof *info->type);
    onnx__type_proto__init(info->type);
    info->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    Onnx__TypeProto__Tensor *t = info->type->tensor_type = model_take(sizeof *t);
    onnx__type_proto__tensor__init(t);
    t->has_elem_type = 1;
    t->elem_type = type;
    if (rank < 0) return info;
    t->shape = model_take(sizeof *t->shape);
    onnx__tensor_shape_proto__init(t->shape);
    t->shape->n_dim = (size_t)rank;
    t->shape->dim = model_take((size_t)rank * sizeof(void *) + 1);
    for (int i = 0; i < rank; i++) {
        Onnx__TensorShapeProto__Dimension *d = t->shape->dim[i] = model_take(sizeof *d);
        onnx__tensor_shape_proto__dimension__init(d);
        d->value_case = dim[i] < 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                   : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (dim[i] < 0) d->dim_param = model_text("batch");
        if (dim[i] >= 0) d->dim_value = dim[i];
    }
    return info;
}

static inline void model_input(const char *name, int rank, const long *dim)
{
    model_graph.input[model_graph.n_input++] =
        model_info(name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, rank, dim);
}

static inline void model_output(const char *name)
{
    model_graph.output[model_graph.n_output++] =
        model_info(name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, -1, NULL);
}

static inline Onnx__TensorProto *model_tensor(const char *name, int type, int rank, const long *dim)
{
    Onnx__TensorProto *t = model_take(sizeof *t);
    onnx__tensor_proto__init(t);
    t->name = model_text(name);
    t->has_data_type = 1;
    t->data_type = type;
    t->n_dims = (size_t)rank;
    t->dims = model_take((size_t)rank * sizeof *t->dims + 1);
    for (int i = 0; i < rank; i++) {
        t->dims[i] = dim[i];
    }
    return t;
}

static inline void model_keep(Onnx__TensorProto *t)
{
    model_graph.initializer[model_graph.n_initializer++] = t;
}

/* A double tensor as raw data. */
static inline Onnx__TensorProto *model_numbers(const char *name, int rank, const long *dim,
                                               const double *numbers)
{
    Onnx__TensorProto *t = model_tensor(name, ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE, rank, dim);
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        count *= (size_t)dim[i];
    }
    t->has_raw_data = 1;
    t->raw_data.len = count * sizeof(double);
    t->raw_data.data = model_take(t->raw_data.len + 1);
    memcpy(t->raw_data.data, numbers, t->raw_data.len);
    return t;
}

/* An initializer with numbers that differ and have no pattern. */
static inline void model_weight(const char *name, int rank, const long *dim)
{
    static double numbers[1 << 16];
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        count *= (size_t)dim[i];
    }
    for (size_t i = 0; i < count; i++) {
        numbers[i] = 0.6 * sin(1.7 * (double)i + (double)strlen(name) + (double)name[0]);
    }
    model_keep(model_numbers(name, rank, dim, numbers));
}

static inline Onnx__TensorProto *model_integers(const char *name, int rank, const long *dim,
                                                size_t count, const long *numbers)
{
    Onnx__TensorProto *t = model_tensor(name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, rank, dim);
    t->n_int64_data = count;
    t->int64_data = model_take(count * sizeof *t->int64_data + 1);
    for (size_t i = 0; i < count; i++) {
        t->int64_data[i] = numbers[i];
    }
    return t;
}

/* Splits "a,b,,c" (an empty word is an input left out). */
static inline size_t model_words(const char *list, char ***words)
{
    size_t count = 0;
    *words = model_take(MODEL_SLOTS * sizeof(char *));
    while (*list || count == 0) {
        size_t length = strcspn(list, ",");
        char *word = model_take(length + 1);
        memcpy(word, list, length);
        (*words)[count++] = word;
        list += length;
        if (*list == 0) break;
        list++;
    }
    return count;
}

static inline Onnx__NodeProto *model_node(const char *op, const char *inputs, const char *outputs)
{
    Onnx__NodeProto *node = model_take(sizeof *node);
    onnx__node_proto__init(node);
    node->op_type = model_text(op);
    char name[64];
    snprintf(name, sizeof name, "%s_%zu", op, model_graph.n_node);
    node->name = model_text(name);
    if (*inputs) node->n_input = model_words(inputs, &node->input);
    node->n_output = model_words(outputs, &node->output);
    node->attribute = model_take(MODEL_SLOTS * sizeof(void *));
    model_graph.node[model_graph.n_node++] = node;
    return node;
}

static inline Onnx__AttributeProto *model_attribute(Onnx__NodeProto *node, const char *name,
                                                    int type)
{
    Onnx__AttributeProto *a = model_take(sizeof *a);
    onnx__attribute_proto__init(a);
    a->name = model_text(name);
    a->has_type = 1;
    a->type = (Onnx__AttributeProto__AttributeType)type;
    node->attribute[node->n_attribute++] = a;
    return a;
}

static inline void model_int(Onnx__NodeProto *node, const char *name, long value)
{
    Onnx__AttributeProto *a =
        model_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = value;
}

static inline void model_float(Onnx__NodeProto *node, const char *name, float value)
{
    Onnx__AttributeProto *a =
        model_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    a->has_f = 1;
    a->f = value;
}

static inline void model_ints(Onnx__NodeProto *node, const char *name, size_t count,
                              const long *value)
{
    Onnx__AttributeProto *a =
        model_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    a->n_ints = count;
    a->ints = model_take(count * sizeof *a->ints + 1);
    for (size_t i = 0; i < count; i++) {
        a->ints[i] = value[i];
    }
}

static inline void model_tensor_value(Onnx__NodeProto *node, const char *name,
                                      Onnx__TensorProto *value)
{
    model_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t = value;
}

/* The bytes of a model; the caller frees them. */
static inline unsigned char *model_pack(const Onnx__ModelProto *model, size_t *count)
{
    *count = onnx__model_proto__get_packed_size(model);
    unsigned char *bytes = malloc(*count + 1);
    if (bytes) onnx__model_proto__pack(model, bytes);
    return bytes;
}

/* Writes the model at path. */
static inline void model_write(const char *path)
{
    size_t count;
    unsigned char *bytes = model_pack(&model_proto, &count);
    FILE *file = fopen(path, "wb");
    if (!bytes || !file || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        perror(path);
        _Exit(99);
    }
    free(bytes);
}

#endif
