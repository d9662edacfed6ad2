/* What operators are written with: refusals, inputs, attributes, constant operands. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "onnx/graph.h"

gm_status gm_onnx_refuse(const gm_onnx_step *s, gm_error *err, const char *format, ...)
{
    char why[GM_ERROR_LENGTH];
    const Onnx__NodeProto *node = s->node;
    const char *name = node->name && *node->name ? node->name
                       : node->n_output > 0      ? node->output[0]
                                                 : "";
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return gm_fail(err, GM_ERR_INPUT, "%s: node '%.100s' (%.40s, opset %d): %s", s->g->path, name,
                   node->op_type ? node->op_type : "no operator", s->g->opset, why);
}

gm_onnx_value *gm_onnx_in(const gm_onnx_step *s, size_t slot)
{
    if (slot >= s->node->n_input || *s->node->input[slot] == 0) return NULL;
    return gm_onnx_value_find(s->g, s->node->input[slot]);
}

gm_onnx_value *gm_onnx_out(const gm_onnx_step *s, size_t slot)
{
    if (slot >= s->node->n_output || *s->node->output[slot] == 0) return NULL;
    return gm_onnx_value_find(s->g, s->node->output[slot]);
}

bool gm_onnx_wanted(const gm_onnx_step *s, size_t slot)
{
    const gm_onnx_value *out = gm_onnx_out(s, slot);
    return out && out->users > 0;
}

/* ---- attributes ---- */

static const struct {
    char letter;
    Onnx__AttributeProto__AttributeType type;
    const char *words;
} letters[] = {{'i', ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT, "an integer"},
               {'f', ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT, "a number"},
               {'s', ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING, "a text"},
               {'t', ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR, "a tensor"},
               {'F', ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS, "numbers"},
               {'I', ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS, "integers"}};
enum { LETTERS = sizeof letters / sizeof *letters };

/* Letter of an attribute in "axis:i alpha:f"; 0 where it is not listed. */
static char listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    while (list && *list) {
        size_t word = strcspn(list, " ");
        if (word == length + 2 && memcmp(list, name, length) == 0) return list[word - 1];
        list += word + (list[word] == ' ');
    }
    return 0;
}

static gm_status check_attribute(const gm_onnx_step *s, const Onnx__AttributeProto *a,
                                 gm_error *err)
{
    const char *name = a->name ? a->name : "";
    char letter = listed(s->op->attributes, name);
    if (!letter) return gm_onnx_refuse(s, err, "attribute '%.60s' is not supported", name);
    for (int i = 0; i < LETTERS; i++) {
        if (letters[i].letter != letter) continue;
        bool fits = a->type == letters[i].type || a->type == 0; /* very old files name no type */
        bool there = (letter != 't' || a->t) && (letter != 's' || a->has_s) &&
                     (letter != 'i' || a->has_i) && (letter != 'f' || a->has_f);
        if (fits && there) return GM_OK;
        return gm_onnx_refuse(s, err, "attribute '%.60s' is of type %d, expected %s", name,
                              (int)a->type, letters[i].words);
    }
    return GM_OK;
}

gm_status gm_onnx_check_attributes(const gm_onnx_step *s, gm_error *err)
{
    if (s->op->attributes && strcmp(s->op->attributes, "*") == 0) return GM_OK;
    for (size_t i = 0; i < s->node->n_attribute; i++) {
        gm_status status = check_attribute(s, s->node->attribute[i], err);
        if (status != GM_OK) return status;
    }
    return GM_OK;
}

static const Onnx__AttributeProto *attribute(const gm_onnx_step *s, const char *name)
{
    for (size_t i = 0; i < s->node->n_attribute; i++) {
        const Onnx__AttributeProto *a = s->node->attribute[i];
        if (a->name && strcmp(a->name, name) == 0) return a;
    }
    return NULL;
}

int64_t gm_onnx_int(const gm_onnx_step *s, const char *name, int64_t otherwise)
{
    const Onnx__AttributeProto *a = attribute(s, name);
    return a ? a->i : otherwise;
}

double gm_onnx_float(const gm_onnx_step *s, const char *name, double otherwise)
{
    const Onnx__AttributeProto *a = attribute(s, name);
    return a ? (double)a->f : otherwise;
}

bool gm_onnx_text_is(const gm_onnx_step *s, const char *name, const char *text, bool otherwise)
{
    const Onnx__AttributeProto *a = attribute(s, name);
    if (!a) return otherwise;
    return a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0;
}

const char *gm_onnx_text(const gm_onnx_step *s, const char *name, size_t *length)
{
    const Onnx__AttributeProto *a = attribute(s, name);
    *length = a ? a->s.len : 0;
    return *length ? (const char *)a->s.data : "";
}

const int64_t *gm_onnx_ints(const gm_onnx_step *s, const char *name, size_t *count)
{
    const Onnx__AttributeProto *a = attribute(s, name);
    *count = a ? a->n_ints : 0;
    return a ? a->ints : NULL;
}

const Onnx__TensorProto *gm_onnx_tensor_of(const gm_onnx_step *s, const char *name)
{
    const Onnx__AttributeProto *a = attribute(s, name);
    return a ? a->t : NULL;
}

/* ---- axes and constant operands ---- */

gm_status gm_onnx_axis(const gm_onnx_step *s, int64_t given, int rank, int *axis, gm_error *err)
{
    if (given < -rank || given >= rank) {
        return gm_onnx_refuse(s, err, "axis %lld of an input of rank %d", (long long)given, rank);
    }
    *axis = (int)(given < 0 ? given + rank : given);
    return GM_OK;
}

gm_status gm_onnx_wholes(const gm_onnx_step *s, size_t slot, const int64_t **numbers, size_t *count,
                         gm_error *err)
{
    const gm_onnx_value *in = gm_onnx_in(s, slot);
    *numbers = NULL;
    *count = 0;
    if (!in) return GM_OK;
    if (in->what != GM_ONNX_CONSTANT || in->tensor.of == GM_ONNX_REAL) {
        return gm_onnx_refuse(s, err, "input '%.100s' is not made of constant integers", in->name);
    }
    *numbers = in->tensor.whole;
    *count = in->tensor.count;
    return GM_OK;
}

gm_status gm_onnx_axes(const gm_onnx_step *s, size_t slot, int rank, bool *wanted, bool *given,
                       gm_error *err)
{
    size_t count;
    memset(wanted, 0, (size_t)rank * sizeof *wanted);
    const int64_t *axes = gm_onnx_ints(s, "axes", &count);
    gm_status status = axes ? GM_OK : gm_onnx_wholes(s, slot, &axes, &count, err);
    *given = axes && count > 0;
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        int axis = 0;
        status = gm_onnx_axis(s, axes[i], rank, &axis, err);
        if (status == GM_OK && wanted[axis]) {
            status = gm_onnx_refuse(s, err, "axis %d is named twice", axis);
        }
        if (status == GM_OK) wanted[axis] = true;
    }
    return status;
}

gm_status gm_onnx_scalar(const gm_onnx_step *s, size_t slot, double otherwise, double *number,
                         gm_error *err)
{
    const gm_onnx_value *in = gm_onnx_in(s, slot);
    *number = otherwise;
    if (!in) return GM_OK;
    if (in->what != GM_ONNX_CONSTANT || in->tensor.count != 1) {
        return gm_onnx_refuse(s, err, "input '%.100s' is not one constant number", in->name);
    }
    *number = in->tensor.of == GM_ONNX_REAL ? in->tensor.real[0] : (double)in->tensor.whole[0];
    return GM_OK;
}
