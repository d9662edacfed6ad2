/* What tests of imported graphs write them with, beside onnx_model.h. */
#ifndef TESTS_ONNX_GRAPH_H
#define TESTS_ONNX_GRAPH_H

#include "onnx_model.h"

#define DIMS(...)                                                                                  \
    (sizeof((long[]){__VA_ARGS__}) / sizeof(long)), (long[])                                       \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define INPUT(...)        model_input("x", (int)DIMS(__VA_ARGS__))
#define WEIGHT(name, ...) model_weight(name, (int)DIMS(__VA_ARGS__))
#define WHOLE(name, ...)                                                                           \
    model_keep(model_integers(name, 1, (long[]){sizeof((long[]){__VA_ARGS__}) / sizeof(long)},     \
                              DIMS(__VA_ARGS__)))

/* A Constant node of numbers that are never parameters. */
static inline void fixed(const char *name, int rank, const long *dim, const double *numbers)
{
    model_tensor_value(model_node("Constant", "", name), "value",
                       model_numbers("", rank, dim, numbers));
}

static inline void fixed_number(const char *name, double number)
{
    fixed(name, 0, NULL, &number);
}

static inline void text(Onnx__NodeProto *node, const char *name, const char *value)
{
    Onnx__AttributeProto *a =
        model_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s.data = (uint8_t *)model_text(value);
    a->s.len = strlen(value);
}

static inline void einsum(const char *equation, const char *inputs, const char *output)
{
    text(model_node("Einsum", inputs, output), "equation", equation);
}

static inline void resize(const char *input, const char *by, const char *mode, const char *align,
                          const char *output)
{
    char inputs[64];
    snprintf(inputs, sizeof inputs, "%s,,%s", input, by);
    Onnx__NodeProto *node = model_node("Resize", inputs, output);
    text(node, "mode", mode);
    text(node, "coordinate_transformation_mode", align);
}

#endif
