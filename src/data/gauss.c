/* gauss:k=10,d=50,n=1000,sep=2.0,seed=1: K Gaussian classes in d dimensions.
 *
 *   mean of class c    m_c = sep g_c / |g_c|,  g_c ~ N(0, I_d):  draws c d ... c d + d - 1 of run 0
 *   label of sample i  y_i = i mod K           (balanced; --subset shuffles)
 *   sample i           x_i = m_{y_i} + N(0, I_d):  draws i d ... i d + d - 1 of run 1, test set run
 * 2
 *
 * all of stream (seed, GM_PURPOSE_DATA). So sample i depends on neither n nor the other samples, a
 * mean does not depend on K, and training and test set share the means. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/source.h"
#include "gradiometer/random.h"

enum { RUN_MEANS = 0, RUN_TRAIN = 1, RUN_TEST = 2 };

typedef struct gauss {
    size_t k, d, n;
    double sep;
    uint64_t seed;
    gm_stream stream;
    size_t next;
    double *mean; /* [k, d] */
} gauss;

static bool parse_whole(const char *text, uint64_t *value)
{
    if (*text < '0' || *text > '9') return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    *value = number;
    return *end == '\0' && errno == 0;
}

static bool parse_real(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

static gm_status set_key(gauss *g, const char *key, const char *value, unsigned *seen,
                         gm_error *err)
{
    static const char *const keys[] = {"k", "d", "n", "sep", "seed"};
    enum { K, D, N, SEP, SEED, KEYS };
    size_t *const sizes[] = {&g->k, &g->d, &g->n};

    int key_index = 0;
    while (key_index < KEYS && strcmp(key, keys[key_index]) != 0) {
        key_index++;
    }
    if (key_index == KEYS)
        return gm_fail(err, GM_ERR_USAGE, "gauss: unknown key \"%s\", expected k, d, n, sep, seed",
                       key);
    if (*seen & (1u << key_index))
        return gm_fail(err, GM_ERR_USAGE, "gauss: key \"%s\" appears twice", key);
    *seen |= 1u << key_index;

    uint64_t whole;
    if (key_index == SEP) {
        if (!parse_real(value, &g->sep) || g->sep < 0)
            return gm_fail(err, GM_ERR_USAGE, "gauss: sep=\"%s\", expected a number, 0 or more",
                           value);
    } else if (key_index == SEED) {
        if (!parse_whole(value, &g->seed))
            return gm_fail(err, GM_ERR_USAGE,
                           "gauss: seed=\"%s\", expected a whole number, 0 ... 2^64 - 1", value);
    } else {
        if (!parse_whole(value, &whole) || whole < 1 || whole > SIZE_MAX)
            return gm_fail(err, GM_ERR_USAGE,
                           "gauss: %s=\"%s\", expected a whole number, 1 or more", key, value);
        *sizes[key_index] = (size_t)whole;
    }
    return GM_OK;
}

static gm_status parse_spec(gauss *g, const char *body, gm_error *err)
{
    if (!*body) return GM_OK;
    char *text = gm_strdup(body, err);
    if (!text) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    unsigned seen = 0;
    char *rest = text;
    while (rest && status == GM_OK) {
        char *key = strsep(&rest, ",");
        char *equals = strchr(key, '=');
        if (!equals) {
            status = gm_fail(err, GM_ERR_USAGE, "gauss: \"%s\", expected key=value", key);
        } else {
            *equals = '\0';
            status = set_key(g, key, equals + 1, &seen, err);
        }
    }
    gm_free(text);
    return status;
}

static gm_status make_means(gauss *g, gm_error *err)
{
    gm_stream stream = gm_stream_of(g->seed, GM_PURPOSE_DATA, RUN_MEANS);
    size_t count;
    if (!gm_mul_size(g->k, g->d, &count))
        return gm_fail(err, GM_ERR_USAGE, "gauss: k=%zu times d=%zu overflows", g->k, g->d);
    g->mean = gm_alloc(count, sizeof *g->mean, "class means", err);
    if (!g->mean) return GM_ERR_MEMORY;
    gm_normal_fill(stream, 0, count, g->mean);
    for (size_t c = 0; c < g->k; c++) {
        double *mean_c = g->mean + c * g->d;
        double square = 0;
        for (size_t j = 0; j < g->d; j++) {
            square += mean_c[j] * mean_c[j];
        }
        for (size_t j = 0; j < g->d; j++) {
            mean_c[j] *= g->sep / sqrt(square);
        }
    }
    return GM_OK;
}

static gm_status gauss_next(gm_source *source, gm_sample *sample, gm_error *err)
{
    (void)err;
    gauss *g = source->state;
    size_t i = g->next++, y = i % g->k;
    gm_normal_fill(g->stream, (uint64_t)i * g->d, g->d, sample->x);
    for (size_t j = 0; j < g->d; j++) {
        sample->x[j] += g->mean[y * g->d + j];
    }
    *sample->label = (int64_t)y;
    source->position = i;
    return GM_OK;
}

static gm_status gauss_seek(gm_source *source, size_t i, gm_error *err)
{
    (void)err;
    ((gauss *)source->state)->next = i;
    return GM_OK;
}

static void gauss_close(void *state)
{
    gauss *g = state;
    if (g) gm_free(g->mean);
    gm_free(g);
}

gm_status gm_gauss_open(const char *body, bool test, gm_source *source, gm_error *err)
{
    gauss *g = gm_alloc(1, sizeof *g, "gauss", err);
    if (!g) return GM_ERR_MEMORY;
    source->state = g;
    source->close = gauss_close;
    source->next = gauss_next;
    source->seek = gauss_seek;
    *g = (gauss){.k = 10, .d = 50, .n = 1000, .sep = 2.0, .seed = 1};
    gm_status status = parse_spec(g, body, err);
    if (status != GM_OK) return status;
    size_t count;
    if (!gm_mul_size(g->n, g->d, &count))
        return gm_fail(err, GM_ERR_USAGE, "gauss: n=%zu times d=%zu overflows", g->n, g->d);
    status = make_means(g, err);
    if (status != GM_OK) return status;

    g->stream = gm_stream_of(g->seed, GM_PURPOSE_DATA, test ? RUN_TEST : RUN_TRAIN);
    source->n = g->n;
    source->shape = (gm_shape){1, {g->d}};
    source->classes = g->k;
    source->x_file = source->y_file = "gauss";
    source->unit = "sample";
    source->name = gm_format(err, "gauss:k=%zu,d=%zu,n=%zu,sep=%.17g,seed=%llu", g->k, g->d, g->n,
                             g->sep, (unsigned long long)g->seed);
    return source->name ? gm_source_set_features(source, "gauss", err) : GM_ERR_MEMORY;
}
