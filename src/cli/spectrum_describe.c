/* spectrum --describe: what the parameters of a net are, without data. */
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/spectrum_describe.h"

enum { SHAPE_TEXT = 160 };

/* "[16, 3, 3, 3]" */
static const char *shape_text(const gm_onnx_initializer *i, char text[SHAPE_TEXT])
{
    size_t at = (size_t)snprintf(text, SHAPE_TEXT, "[");
    for (int d = 0; d < i->rank && at < SHAPE_TEXT; d++) {
        at += (size_t)snprintf(text + at, SHAPE_TEXT - at, d ? ", %zu" : "%zu", i->dim[d]);
    }
    if (at < SHAPE_TEXT) snprintf(text + at, SHAPE_TEXT - at, "]");
    return text;
}

static const char *role_word(gm_onnx_role role)
{
    static const char *const word[] = {[GM_ONNX_IS_PARAMETER] = "parameter",
                                       [GM_ONNX_IS_CONSTANT] = "constant",
                                       [GM_ONNX_IS_UNUSED] = "unused"};
    return word[role];
}

/* ---- JSON ---- */

static json_t *initializers_value(const gm_onnx *model)
{
    json_t *list = json_array();
    for (size_t i = 0; i < model->initializers; i++) {
        const gm_onnx_initializer *from = &model->initializer[i];
        json_t *shape = json_array(), *entry = json_object();
        for (int d = 0; d < from->rank; d++) {
            json_array_append_new(shape, json_integer((json_int_t)from->dim[d]));
        }
        json_object_set_new(entry, "name", gm_json_text(from->name));
        json_object_set_new(entry, "shape", shape);
        json_object_set_new(entry, "type", json_string(from->type));
        json_object_set_new(entry, "role", json_string(role_word(from->role)));
        json_object_set_new(entry, "offset",
                            from->role == GM_ONNX_IS_PARAMETER
                                ? json_integer((json_int_t)from->offset)
                                : json_null());
        json_object_set_new(entry, "aliases", json_integer((json_int_t)from->aliases));
        json_array_append_new(list, entry);
    }
    return list;
}

static gm_status print_document(gm_cli *cli, const gm_session *session, gm_error *err)
{
    json_t *document = gm_document_create(cli, session, err);
    if (!document) return GM_ERR_MEMORY;
    const gm_onnx *model = session->onnx;
    json_t *onnx = model ? json_object() : json_null();
    if (model) {
        json_object_set_new(onnx, "opset", json_integer(model->opset));
        json_object_set_new(onnx, "input", gm_json_text(model->input));
        json_object_set_new(onnx, "logits", gm_json_text(model->logits));
        json_object_set_new(onnx, "initializers", initializers_value(model));
    }
    json_object_set_new(document, "inputs", json_integer((json_int_t)gm_net_inputs(session->net)));
    json_object_set_new(document, "outputs",
                        json_integer((json_int_t)gm_net_outputs(session->net)));
    json_object_set_new(document, "onnx", onnx);
    return gm_document_print(cli, document, err);
}

/* ---- text ---- */

static int widest_name(const gm_session *session)
{
    size_t width = 11;
    for (size_t i = 0; i < gm_net_layers(session->net); i++) {
        size_t length = strlen(gm_net_layer_at(session->net, i).name);
        width = length > width ? length : width;
    }
    for (size_t i = 0; session->onnx && i < session->onnx->initializers; i++) {
        size_t length = strlen(session->onnx->initializer[i].name);
        width = length > width ? length : width;
    }
    return (int)(width < 60 ? width : 60);
}

static void print_initializers(const gm_onnx *model, int width)
{
    char shape[SHAPE_TEXT];
    printf("\n%-*s  %-18s %-8s  role\n", width, "initializer", "shape", "type");
    for (size_t i = 0; i < model->initializers; i++) {
        const gm_onnx_initializer *from = &model->initializer[i];
        printf("%-*s  %-18s %-8s  %s", width, from->name, shape_text(from, shape), from->type,
               role_word(from->role));
        if (from->role == GM_ONNX_IS_PARAMETER) {
            printf("s %zu ... %zu", from->offset, from->offset + from->count - 1);
        }
        if (from->aliases) printf(", also %s", from->alias);
        if (from->aliases > 1) printf(" and %zu more", from->aliases - 1);
        putchar('\n');
    }
}

static void print_text(const gm_session *session)
{
    const gm_onnx *model = session->onnx;
    const gm_net *net = session->net;
    int width = widest_name(session);
    printf("model      %s, %zu parameters in %zu layers\n", gm_net_name(net),
           gm_net_parameters(net), gm_net_layers(net));
    if (model) {
        printf("file       opset %d, %zu initializers, CRC-32 %08lx\n", model->opset,
               model->initializers, model->checksum);
    }
    printf("input      %s%s%zu numbers a sample\n", model ? model->input : "", model ? ", " : "",
           gm_net_inputs(net));
    printf("logits     %s%s%zu numbers a sample\n", model ? model->logits : "", model ? ", " : "",
           gm_net_outputs(net));
    if (model) print_initializers(model, width);
    printf("\n%-*s  %-10s  parameters\n", width, "layer", "from");
    for (size_t i = 0; i < gm_net_layers(net); i++) {
        gm_net_layer layer = gm_net_layer_at(net, i);
        printf("%-*s  %-10zu  %zu\n", width, layer.name, layer.offset, layer.parameters);
    }
}

gm_status gm_spectrum_describe(gm_cli *cli, gm_error *err)
{
    gm_session session;
    gm_status status = gm_session_open_model(cli, &session, err);
    if (status == GM_OK) {
        gm_cli_begin(cli);
        if (cli->shared.json) {
            status = print_document(cli, &session, err);
        } else {
            print_text(&session);
        }
    }
    gm_session_close(&session);
    return status;
}
