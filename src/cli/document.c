#include "cli/document.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/version.h"

json_t *gm_json_number(gm_cli *cli, const char *what, double value)
{
    if (isfinite(value)) return json_real(value);
    gm_cli_note(cli, "%s is %s, written as null", what, isnan(value) ? "not a number" : "infinite");
    return json_null();
}

json_t *gm_json_numbers(gm_cli *cli, const char *what, size_t n, const double *value)
{
    json_t *array = json_array();
    size_t lost = 0;
    for (size_t i = 0; i < n; i++) {
        bool finite = isfinite(value[i]);
        lost += !finite;
        json_array_append_new(array, finite ? json_real(value[i]) : json_null());
    }
    if (lost) {
        gm_cli_note(cli, "%s: %zu of %zu numbers are not finite, written as null", what, lost, n);
    }
    return array;
}

static json_t *model_value(const gm_session *session)
{
    const gm_net *net = session->net;
    if (!net) return json_null();
    json_t *layers = json_array();
    for (size_t i = 0; i < gm_net_layers(net); i++) {
        gm_net_layer layer = gm_net_layer_at(net, i);
        json_t *entry = json_object();
        json_object_set_new(entry, "name", gm_json_text(layer.name));
        json_object_set_new(entry, "parameters", json_integer((json_int_t)layer.parameters));
        json_array_append_new(layers, entry);
    }
    json_t *model = json_object();
    json_object_set_new(model, "name", gm_json_text(gm_net_name(net)));
    json_object_set_new(model, "parameters", json_integer((json_int_t)gm_net_parameters(net)));
    json_object_set_new(model, "layers", layers);
    if (session->onnx) {
        char checksum[32];
        snprintf(checksum, sizeof checksum, "%08lx", session->onnx->checksum);
        json_object_set_new(model, "crc32", json_string(checksum));
    }
    return model;
}

/* The tensors of a group, by layers. */
static json_t *group_value(const gm_session *session)
{
    const gm_net *net = session->net;
    size_t index = (size_t)session->layer;
    json_t *tensors = json_array(), *group = json_object();
    for (size_t i = 0; i < gm_net_tensors(net); i++) {
        gm_net_tensor tensor = gm_net_tensor_at(net, i);
        if (!gm_net_holds(net, index, &tensor)) continue;
        json_t *entry = json_object();
        json_object_set_new(entry, "name", gm_json_text(tensor.name));
        json_object_set_new(entry, "parameters",
                            json_integer((json_int_t)gm_shape_size(&tensor.shape)));
        json_array_append_new(tensors, entry);
    }
    gm_net_layer layer = gm_net_layer_at(net, index);
    json_object_set_new(group, "pattern", gm_json_text(layer.name));
    json_object_set_new(group, "parameters", json_integer((json_int_t)layer.parameters));
    json_object_set_new(group, "tensors", tensors);
    return group;
}

static json_t *data_value(const gm_dataset *data)
{
    if (!data) return json_null();
    json_t *value = json_object();
    json_object_set_new(value, "name", gm_json_text(data->name));
    json_object_set_new(value, "n", json_integer((json_int_t)gm_dataset_samples(data)));
    json_object_set_new(value, "classes",
                        json_integer((json_int_t)(data->classes ? data->classes : data->outputs)));
    json_object_set_new(value, "random_labels", json_real(data->random_labels));
    return value;
}

static void set_loss(gm_cli *cli, const gm_session *session, json_t *document)
{
    bool measured = session->net && session->measured;
    json_object_set_new(document, "loss",
                        measured ? gm_json_number(cli, "loss", session->loss) : json_null());
    json_object_set_new(document, "loss_name",
                        session->net ? json_string(gm_loss_name(session->loss_kind)) : json_null());
    json_object_set_new(document, "reduction", session->net ? json_string("mean") : json_null());
    json_object_set_new(document, "gradient_norm",
                        measured ? gm_json_number(cli, "gradient_norm", session->gradient_norm)
                                 : json_null());
}

json_t *gm_document_create(gm_cli *cli, const gm_session *session, gm_error *err)
{
    json_t *document = json_object();
    if (!document) {
        gm_fail(err, GM_ERR_MEMORY, "no memory for the JSON document");
        return NULL;
    }
    json_object_set_new(document, "tool", json_string("gradiometer"));
    json_object_set_new(document, "version", json_string(gm_version()));
    json_object_set_new(document, "command", json_string(cli->command->name));
    json_object_set_new(document, "command_line", gm_json_text(cli->line)); /* repeats it */
    json_object_set_new(document, "seed", json_integer((json_int_t)session->seed));
    json_object_set_new(document, "precision", json_string(gm_dtype_name(session->precision)));
    json_object_set_new(document, "threads", json_integer(session->threads));
    json_object_set_new(document, "model", model_value(session));
    if (gm_session_has_group(session)) {
        json_object_set_new(document, "group", group_value(session));
    }
    json_object_set_new(document, "data", data_value(session->data));
    json_object_set_new(document, "point", gm_json_text_or_null(session->point));
    if (*session->params_hash) {
        json_object_set_new(document, "params_hash", json_string(session->params_hash));
    }
    json_object_set_new(document, "step",
                        session->step >= 0 ? json_integer(session->step) : json_null());
    set_loss(cli, session, document);
    return document;
}

/* Last of all, so that they tell the whole. */
static void set_closing(const gm_cli *cli, json_t *document)
{
    json_t *notes = json_array();
    for (size_t i = 0; i < cli->notes; i++) {
        json_array_append_new(notes, gm_json_text(cli->note[i]));
    }
    json_object_set_new(document, "seconds", json_real(gm_cli_seconds(cli)));
    json_object_set_new(document, "notes", notes);
}

char *gm_document_text(const gm_cli *cli, json_t *document, size_t flags, gm_error *err)
{
    char *text = NULL;
    if (document) {
        set_closing(cli, document);
        text = json_dumps(document, flags | JSON_REAL_PRECISION(17));
    }
    if (!text) gm_fail(err, GM_ERR_MEMORY, "no memory for the JSON document");
    return text;
}

gm_status gm_document_print(gm_cli *cli, json_t *document, gm_error *err)
{
    char *text = gm_document_text(cli, document, JSON_INDENT(1), err);
    json_decref(document);
    if (!text) return GM_ERR_MEMORY;
    errno = 0;
    bool written = puts(text) != EOF && fflush(stdout) == 0;
    int reason = errno;
    free(text);
    if (written) return GM_OK;
    return gm_fail(err, GM_ERR_IO, "standard output cannot be written: %s",
                   strerror(reason ? reason : EIO));
}

void gm_document_describe(const gm_session *session)
{
    const gm_dataset *data = session->data;
    if (session->net) {
        printf("model      %s, %zu parameters\n", gm_net_name(session->net),
               gm_net_parameters(session->net));
    }
    if (data) {
        printf("data       %s, n = %zu", data->name, gm_dataset_samples(data));
        if (data->positions > 1) printf(" sequences, labels at %zu positions", data->positions);
        if (data->random_labels > 0) {
            printf(", %.4g %% random labels (%zu redrawn)", 100 * data->random_labels,
                   data->redrawn);
        }
        putchar('\n');
    }
    if (session->point) printf("point      %s\n", session->point);
    if (session->net) {
        printf("loss       %s, mean over samples%s", gm_loss_name(session->loss_kind),
               data && data->positions > 1 ? " and positions" : "");
        if (session->measured) {
            printf(": f = %.6g, norm of its gradient %.6g", session->loss, session->gradient_norm);
        }
        putchar('\n');
    }
    printf("precision  %s, seed %llu, %d thread%s\n", gm_dtype_name(session->precision),
           (unsigned long long)session->seed, session->threads, session->threads == 1 ? "" : "s");
}
