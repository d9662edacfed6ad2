/* The grammar of --model for built-in nets: mlp:W0-W1-...-WL[,act=NAME][,bias=yes|no]. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/net.h"

enum { MAX_WIDTHS = 256, NAME_LENGTH = 4096 };

typedef struct mlp {
    size_t width[MAX_WIDTHS];
    int widths;
    gm_activation act;
    bool bias;
} mlp;

static gm_status parse_widths(const char *spec, const char *text, const char *end, mlp *m,
                              gm_error *err)
{
    while (text < end) {
        if (m->widths == MAX_WIDTHS) {
            return gm_fail(err, GM_ERR_USAGE, "--model %s: more than %d widths", spec, MAX_WIDTHS);
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
    if (m->widths < 2) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--model %s: %d width, expected at least two (input-output)", spec,
                       m->widths);
    }
    return GM_OK;
}

static bool text_is(const char *text, size_t length, const char *word)
{
    return length == strlen(word) && memcmp(text, word, length) == 0;
}

static gm_status parse_key(const char *spec, const char *key, size_t length, mlp *m, bool seen[2],
                           gm_error *err)
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

static gm_status parse_mlp(const char *spec, mlp *m, gm_error *err)
{
    *m = (mlp){.act = GM_ACT_RELU, .bias = true};
    const char *text = spec + strlen("mlp:");
    const char *end = text + strcspn(text, ",");
    gm_status status = parse_widths(spec, text, end, m, err);
    bool seen[2] = {false, false};
    while (status == GM_OK && *end == ',') {
        const char *key = end + 1;
        end = key + strcspn(key, ",");
        status = parse_key(spec, key, (size_t)(end - key), m, seen, err);
    }
    return status;
}

static gm_status build_mlp(const char *spec, const mlp *m, gm_net **net, gm_error *err)
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

gm_status gm_net_from_spec(const char *spec, const gm_shape *input, size_t classes, gm_net **net,
                           gm_error *err)
{
    *net = NULL;
    if (strncmp(spec, "mlp:", 4) != 0) {
        return gm_fail(
            err, GM_ERR_USAGE,
            "--model %s: unknown kind of net, expected mlp:WIDTHS such as mlp:784-512-10", spec);
    }
    if (strlen(spec) > NAME_LENGTH) {
        return gm_fail(err, GM_ERR_USAGE, "--model: specification longer than %d characters",
                       NAME_LENGTH);
    }
    mlp m;
    gm_status status = parse_mlp(spec, &m, err);
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
    status = build_mlp(spec, &m, net, err);
    if (status != GM_OK) {
        gm_net_free(*net);
        *net = NULL;
    }
    return status;
}
