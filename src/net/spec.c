/* The grammar of --model for built-in nets: mlp:W0-W1-...-WL and cnn:W1-...-WL, each with
 * [,act=NAME][,bias=yes|no]; lenet; resnet20. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/net.h"

enum { NAME_LENGTH = 4096 };

static gm_status parse_widths(const char *spec, const char *text, const char *end, int least,
                              gm_net_widths *m, gm_error *err)
{
    while (text < end) {
        if (m->widths == GM_MAX_WIDTHS) {
            return gm_fail(err, GM_ERR_USAGE, "--model %s: more than %d widths", spec,
                           GM_MAX_WIDTHS);
        }
        char *stop;
        errno = 0;
        unsigned long long width = isdigit((unsigned char)*text) ? strtoull(text, &stop, 10) : 0;
        if (width == 0 || errno || width > (1ull << 40)) {
            return gm_fail(err, GM_ERR_USAGE,
                           "--model %s: width %d is '%.*s', expected a whole number from 1 to 2^40",
                           spec, m->widths + 1, (int)strcspn(text, "-,"), text);
        }
        m->width[m->widths++] = (size_t)width;
        text = stop;
        if (text == end) break;
        if (*text != '-' || text + 1 == end) {
            return gm_fail(err, GM_ERR_USAGE,
                           "--model %s: '%c' after width %d, expected '-' and a width", spec, *text,
                           m->widths);
        }
        text++;
    }
    if (m->widths < least) {
        return gm_fail(err, GM_ERR_USAGE, "--model %s: %d width, expected at least %s", spec,
                       m->widths, least == 2 ? "two (input-output)" : "one");
    }
    return GM_OK;
}

static bool text_is(const char *text, size_t length, const char *word)
{
    return length == strlen(word) && memcmp(text, word, length) == 0;
}

static gm_status parse_key(const char *spec, const char *key, size_t length, gm_net_widths *m,
                           bool seen[2], gm_error *err)
{
    const char *equals = memchr(key, '=', length);
    size_t name = equals ? (size_t)(equals - key) : length;
    bool act = text_is(key, name, "act");
    if (!equals || (!act && !text_is(key, name, "bias"))) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--model %s: unknown key '%.*s', expected act=NAME or bias=yes|no", spec,
                       (int)length, key);
    }
    if (seen[act]) {
        return gm_fail(err, GM_ERR_USAGE, "--model %s: key '%.*s' given twice", spec, (int)name,
                       key);
    }
    seen[act] = true;
    const char *value = equals + 1;
    size_t size = length - name - 1;
    if (act) {
        if (gm_activation_parse(value, size, &m->act)) return GM_OK;
        return gm_fail(
            err, GM_ERR_USAGE,
            "--model %s: act=%.*s, expected relu, leaky_relu, tanh, sigmoid, softplus, gelu or "
            "identity",
            spec, (int)size, value);
    }
    m->bias = text_is(value, size, "yes");
    if (m->bias || text_is(value, size, "no")) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE, "--model %s: bias=%.*s, expected yes or no", spec, (int)size,
                   value);
}

/* Widths, at least so many, and keys behind "kind:". */
static gm_status parse_body(const char *spec, int least, gm_net_widths *m, gm_error *err)
{
    *m = (gm_net_widths){.act = GM_ACT_RELU, .bias = true};
    const char *text = strchr(spec, ':') + 1;
    const char *end = text + strcspn(text, ",");
    gm_status status = parse_widths(spec, text, end, least, m, err);
    bool seen[2] = {false, false};
    while (status == GM_OK && *end == ',') {
        const char *key = end + 1;
        end = key + strcspn(key, ",");
        status = parse_key(spec, key, (size_t)(end - key), m, seen, err);
    }
    return status;
}

static gm_status add_mlp_layers(const char *spec, const gm_net_widths *m, gm_net **net,
                                gm_error *err)
{
    gm_shape input = {.rank = 1, .dim = {m->width[0]}};
    gm_status status = gm_net_create(spec, &input, net, err);
    int last = 0;
    for (int i = 1; status == GM_OK && i < m->widths; i++) {
        gm_dense_config dense = {.units = m->width[i], .bias = m->bias};
        status = gm_net_add(*net, &gm_layer_dense, &dense, 1, &last, NULL, &last, err);
        if (status == GM_OK && i + 1 < m->widths) {
            gm_activation_config act = {.act = m->act};
            status = gm_net_add(*net, &gm_layer_activation, &act, 1, &last, NULL, &last, err);
        }
    }
    return status;
}

static gm_status build_mlp(const char *spec, const gm_shape *input, size_t classes, gm_net **net,
                           gm_error *err)
{
    gm_net_widths m;
    gm_status status = parse_body(spec, 2, &m, err);
    if (status != GM_OK) return status;
    if (input && gm_shape_size(input) != m.width[0]) {
        return gm_fail(err, GM_ERR_INPUT,
                       "--model %s: input width %zu, but a sample of the data has %zu numbers",
                       spec, m.width[0], gm_shape_size(input));
    }
    if (classes && classes > m.width[m.widths - 1]) {
        return gm_fail(err, GM_ERR_INPUT,
                       "--model %s: output width %zu, but the data has %zu classes", spec,
                       m.width[m.widths - 1], classes);
    }
    return add_mlp_layers(spec, &m, net, err);
}

static gm_status check_image(const char *spec, const gm_shape *input, size_t classes, gm_error *err)
{
    if (!input || classes == 0) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--model %s: takes the image size and the classes from the data, and there "
                       "is none",
                       spec);
    }
    if (input->rank == 3 && gm_shape_size(input) > 0) return GM_OK;
    return gm_fail(
        err, GM_ERR_INPUT,
        "--model %s: a sample of the data is of rank %d, %zu numbers, expected an image of "
        "rank 3: channels, height, width",
        spec, input->rank, gm_shape_size(input));
}

static gm_status build_cnn(const char *spec, const gm_shape *input, size_t classes, gm_net **net,
                           gm_error *err)
{
    gm_net_widths w;
    gm_status status = parse_body(spec, 1, &w, err);
    if (status == GM_OK) status = check_image(spec, input, classes, err);
    return status == GM_OK ? gm_net_build_cnn(spec, &w, input, classes, net, err) : status;
}

static gm_status build_lenet(const char *spec, const gm_shape *input, size_t classes, gm_net **net,
                             gm_error *err)
{
    gm_status status = check_image(spec, input, classes, err);
    return status == GM_OK ? gm_net_build_lenet(spec, input, classes, net, err) : status;
}

static gm_status build_resnet20(const char *spec, const gm_shape *input, size_t classes,
                                gm_net **net, gm_error *err)
{
    gm_status status = check_image(spec, input, classes, err);
    return status == GM_OK ? gm_net_build_resnet20(spec, input, classes, net, err) : status;
}

typedef struct builder {
    const char *begins; /* with ':' where widths follow, else the whole spec */
    bool asks_data;
    gm_status (*build)(const char *spec, const gm_shape *input, size_t classes, gm_net **net,
                       gm_error *err);
} builder;

static const builder builders[] = {{"mlp:", false, build_mlp},
                                   {"cnn:", true, build_cnn},
                                   {"lenet", true, build_lenet},
                                   {"resnet20", true, build_resnet20}};

/* NULL where no built-in net has such a spec. */
static const builder *builder_of(const char *spec)
{
    for (size_t i = 0; i < sizeof builders / sizeof *builders; i++) {
        const char *begins = builders[i].begins;
        bool widths = strchr(begins, ':') != NULL;
        if (widths ? strncmp(spec, begins, strlen(begins)) == 0 : strcmp(spec, begins) == 0) {
            return &builders[i];
        }
    }
    return NULL;
}

bool gm_net_spec_asks_data(const char *spec)
{
    const builder *b = builder_of(spec);
    return b && b->asks_data;
}

gm_status gm_net_from_spec(const char *spec, const gm_shape *input, size_t classes, gm_net **net,
                           gm_error *err)
{
    *net = NULL;
    const builder *b = builder_of(spec);
    if (!b) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--model %s: unknown kind of net, expected mlp:WIDTHS such as "
                       "mlp:784-512-10, cnn:WIDTHS such as cnn:16-32-64, lenet or "
                       "resnet20",
                       spec);
    }
    if (strlen(spec) > NAME_LENGTH) {
        return gm_fail(err, GM_ERR_USAGE, "--model: specification longer than %d characters",
                       NAME_LENGTH);
    }
    gm_status status = b->build(spec, input, classes, net, err);
    if (status != GM_OK) {
        gm_net_free(*net);
        *net = NULL;
    }
    return status;
}
