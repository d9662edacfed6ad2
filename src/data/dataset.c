/* From a spec to a data set: open the source, decide which of its samples go where, read them one
 * by one, then settle classes, random labels and standardization. */
#include "data/dataset.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "data/read.h"
#include "gradiometer/random.h"

void gm_data_options_default(gm_data_options *options)
{
    *options = (gm_data_options){.dtype = GM_F64};
}

void gm_dataset_free(gm_dataset *data)
{
    if (!data) return;
    gm_free(data->name);
    gm_free(data->x);
    gm_free(data->label);
    gm_free(data->target);
    gm_free(data->mean);
    gm_free(data->sd);
    gm_free(data);
}

size_t gm_dataset_samples(const gm_dataset *data)
{
    return data->whole ? data->whole : data->n;
}

static gm_status check_options(const gm_data_options *options, gm_error *err)
{
    if (options->dtype != GM_F32 && options->dtype != GM_F64)
        return gm_fail(err, GM_ERR_USAGE, "data: unknown precision %d", (int)options->dtype);
    if (!(options->random_labels >= 0 && options->random_labels <= 1))
        return gm_fail(err, GM_ERR_USAGE, "random labels: share %g, expected 0 ... 1",
                       options->random_labels);
    if (options->standardize && options->reference && !options->reference->standardized)
        return gm_fail(err, GM_ERR_USAGE,
                       "standardize: the reference set %s has not been standardized itself",
                       options->reference->name);
    return GM_OK;
}

/* K as asked for: of the model, else of the reference set, else of format or spec; 0 = unknown. */
static size_t classes_asked(const gm_source *source, const gm_data_options *options)
{
    if (options->classes) return options->classes / gm_source_positions(source);
    return options->reference ? options->reference->classes : source->classes;
}

/* What the options ask must suit what the source has. */
static gm_status check_source(const gm_source *source, const gm_data_options *options,
                              gm_error *err)
{
    const gm_dataset *reference = options->reference;
    size_t classes = classes_asked(source, options);
    if (options->subset > source->n)
        return gm_fail(err, GM_ERR_USAGE, "subset: %zu samples, but %s has %zu", options->subset,
                       source->x_file, source->n);
    if (options->standardize && reference && reference->features != source->features)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: %zu features, expected the %zu of the reference set %s", source->x_file,
                       source->features, reference->features, reference->name);
    if (options->classes % gm_source_positions(source))
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: labels at %zu positions, but the model's %zu outputs are not so many "
                       "times K",
                       source->y_file, gm_source_positions(source), options->classes);
    if (reference && reference->positions != gm_source_positions(source))
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: labels at %zu positions, expected the %zu of the reference set %s",
                       source->y_file, gm_source_positions(source), reference->positions,
                       reference->name);
    if (source->outputs && options->random_labels > 0)
        return gm_fail(err, GM_ERR_USAGE, "random labels: %s holds targets, expected labels",
                       source->y_file);
    if (source->outputs && classes && source->outputs != classes)
        return gm_fail(err, GM_ERR_INPUT, "%s: targets have %zu columns, expected K = %zu",
                       source->y_file, source->outputs, classes);
    if (classes && classes < source->classes)
        return gm_fail(err, GM_ERR_INPUT, "%s: has %zu classes, expected at most K = %zu",
                       source->x_file, source->classes, classes);
    if (source->classes > GM_MAX_CLASSES || classes > GM_MAX_CLASSES)
        return gm_fail(err, GM_ERR_INPUT, "%s: %zu classes, expected at most %d", source->y_file,
                       source->classes > classes ? source->classes : classes, (int)GM_MAX_CLASSES);
    return GM_OK;
}

/* position[i] = place of the source's sample i in the set: the first `kept` of a seeded shuffle. */
static gm_status choose_subset(const gm_data_options *options, size_t n, size_t kept,
                               size_t *position, gm_error *err)
{
    size_t *order = gm_alloc(n, sizeof *order, "the shuffle", err);
    if (!order) return GM_ERR_MEMORY;
    gm_permutation(gm_stream_of(options->seed, GM_PURPOSE_SUBSET, options->test), 0, n, order);
    for (size_t i = 0; i < n; i++) {
        position[order[i]] = i < kept ? i : gm_left_out;
    }
    gm_free(order);
    return GM_OK;
}

/* Sample i of the set is redrawn where uniform draw 2i falls below the share; draw 2i + 1 is its
 * new label. Keyed by the place in the subset; what a small share redraws, a larger one redraws to
 * the same label. */
static void redraw_labels(const gm_data_options *options, gm_dataset *data)
{
    gm_stream stream = gm_stream_of(options->seed, GM_PURPOSE_LABELS, options->test);
    double redrawn = 0.0;
    data->random_labels = options->random_labels;
    for (size_t i = 0; i < data->n * data->positions && options->random_labels > 0; i++) {
        uint64_t place = (uint64_t)(data->first * data->positions + i);
        if (data->label[i] == GM_LABEL_MASKED) continue;
        if (gm_uniform(stream, 2 * place) >= options->random_labels) continue;
        data->label[i] = (int32_t)gm_below(stream, 2 * place + 1, data->classes);
        redrawn++;
    }
    if (data->whole) gm_team_sum(options->team, 1, &redrawn);
    data->redrawn = (size_t)redrawn;
}

/* The weight of a position, from how many labels are not masked. */
static gm_status weigh_positions(const gm_team *team, gm_dataset *data, gm_error *err)
{
    size_t samples = gm_dataset_samples(data);
    double scored = 0.0;
    for (size_t i = 0; i < data->n * data->positions; i++) {
        scored += data->label[i] != GM_LABEL_MASKED;
    }
    gm_team_sum(team, 1, &scored);
    if (scored == 0.0)
        return gm_fail(err, GM_ERR_INPUT, "%s: all %zu labels are %d (masked)", data->name,
                       samples * data->positions, (int)GM_LABEL_MASKED);
    data->weight = (double)samples / scored;
    return GM_OK;
}

/* Whether each rank keeps a share alone. */
static bool is_shared(const gm_source *source, size_t n, const gm_data_options *options)
{
    double bytes = (double)n * (double)source->features * (double)gm_dtype_size(options->dtype);
    return options->share || (options->share_above && bytes > (double)options->share_above);
}

/* What the heads of the files say must be the same at all ranks, whose parts hang on it. */
static gm_status compare_heads(const gm_team *team, const gm_source *source, const char *name,
                               gm_error *err)
{
    size_t numbers[] = {source->n, source->features, source->classes, source->outputs,
                        gm_source_positions(source)};
    int odd = gm_team_odd_one(team, gm_hash(gm_hash_start, numbers, sizeof numbers));
    if (odd < 0) return GM_OK;
    return gm_fail(err, GM_ERR_INPUT,
                   "data %s: rank %d reads other samples than rank 0, of another number or shape",
                   name, odd);
}

/* Name, arrays and samples of the set. */
static gm_status read_set(gm_source *source, const char *name, const gm_data_options *options,
                          gm_dataset *data, gm_error *err)
{
    const gm_team *team = options->team;
    size_t n = options->subset ? options->subset : source->n, share = n, *position = NULL;
    data->name = gm_strdup(source->name ? source->name : name, err);
    if (!data->name) return GM_ERR_MEMORY;
    gm_status status = compare_heads(team, source, data->name, err);
    if (status != GM_OK) return status;
    if (gm_team_size(team) > 1 && is_shared(source, n, options)) {
        gm_team_share(team, n, &data->first, &share);
        data->whole = n;
    }
    status = gm_source_allocate(source, share, data, err);
    if (status == GM_OK && options->subset) {
        position = gm_alloc(source->n, sizeof *position, "the subset", err);
        status = position ? choose_subset(options, source->n, n, position, err) : GM_ERR_MEMORY;
    }
    if (status == GM_OK) {
        size_t classes = classes_asked(source, options);
        status = gm_source_read(source, position, classes, team, data, err);
    }
    gm_free(position);
    return status;
}

static gm_status build(gm_source *source, const char *name, const gm_data_options *options,
                       gm_dataset *data, gm_error *err)
{
    data->dtype = options->dtype;
    gm_status status = check_source(source, options, err);
    if (status == GM_OK) status = read_set(source, name, options, data, err);
    if (status != GM_OK) return status;
    const gm_team *team = data->whole ? options->team : NULL;
    if (data->positions > 1) status = weigh_positions(team, data, err);
    if (status != GM_OK) return status;
    if (!source->outputs) redraw_labels(options, data);
    if (options->standardize) {
        status = gm_dataset_standardize(data, options->reference, team, err);
    }
    return status;
}

/* A set from an open source, or NULL; closes the source either way. */
static gm_status load_source(gm_source *source, const char *name, const gm_data_options *options,
                             gm_dataset **data, gm_error *err)
{
    gm_dataset *set = gm_alloc(1, sizeof *set, "data set", err);
    gm_status status = set ? build(source, name, options, set, err) : GM_ERR_MEMORY;
    if (status == GM_OK)
        *data = set;
    else
        gm_dataset_free(set);
    gm_source_close(source);
    return status;
}

static gm_status open_spec(const char *spec, bool test, gm_source *source, gm_error *err)
{
    static const struct {
        const char *scheme;
        gm_status (*open)(const char *, bool, gm_source *, gm_error *);
    } formats[] = {{"gauss", gm_gauss_open},  {"idx", gm_idx_open},
                   {"mnist", gm_mnist_open},  {"cifar10", gm_cifar10_open},
                   {"npy", gm_npy_pair_open}, {"csv", gm_csv_open}};
    size_t length = strcspn(spec, ":");
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        if (strlen(formats[f].scheme) != length || strncmp(spec, formats[f].scheme, length) != 0)
            continue;
        return formats[f].open(spec + length + (spec[length] == ':'), test, source, err);
    }
    return gm_fail(err, GM_ERR_USAGE,
                   "data \"%s\": expected gauss:KEY=VALUE,..., idx:IMAGES,LABELS, mnist:DIR, "
                   "cifar10:DIR, npy:X.npy,Y.npy or csv:FILE",
                   spec);
}

gm_status gm_data_load(const char *spec, const gm_data_options *options, gm_dataset **data,
                       gm_error *err)
{
    *data = NULL;
    gm_status status = check_options(options, err);
    if (status != GM_OK) return status;
    gm_plain_locale locale;
    status = gm_plain_locale_enter(&locale, err);
    if (status != GM_OK) return status;
    gm_source source = {0};
    status = open_spec(spec, options->test, &source, err);
    if (status == GM_OK)
        status = load_source(&source, spec, options, data, err);
    else
        gm_source_close(&source);
    gm_plain_locale_leave(&locale);
    return status;
}

/* *classes = the largest label of all samples plus one. */
static gm_status count_classes(gm_source *source, size_t *classes, gm_error *err)
{
    gm_sample sample = {0};
    gm_status status = GM_OK;
    sample.x = gm_alloc(source->features, sizeof *sample.x, "a sample", err);
    sample.label = gm_alloc(gm_source_positions(source), sizeof *sample.label, "labels", err);
    if (!sample.x || !sample.label) status = GM_ERR_MEMORY;
    *classes = 0;
    for (size_t i = 0; status == GM_OK && i < source->n; i++) {
        status = source->next(source, &sample, err);
        for (size_t t = 0; status == GM_OK && t < gm_source_positions(source); t++) {
            int64_t label = sample.label[t];
            status = gm_source_check_label(source, label, 0, err);
            if (label >= 0 && (size_t)label >= *classes) *classes = (size_t)label + 1;
        }
    }
    gm_free(sample.x);
    gm_free(sample.label);
    return status;
}

gm_status gm_data_describe(const char *spec, gm_shape *shape, size_t *classes, gm_error *err)
{
    gm_plain_locale locale;
    gm_status status = gm_plain_locale_enter(&locale, err);
    if (status != GM_OK) return status;
    gm_source source = {0};
    status = open_spec(spec, false, &source, err);
    if (status == GM_OK) {
        *shape = source.shape;
        *classes = source.outputs ? source.outputs : source.classes;
        if (*classes == 0) status = count_classes(&source, classes, err);
    }
    gm_source_close(&source);
    gm_plain_locale_leave(&locale);
    return status;
}

gm_status gm_data_samples(const char *spec, bool test, size_t *n, gm_error *err)
{
    gm_plain_locale locale;
    gm_status status = gm_plain_locale_enter(&locale, err);
    if (status != GM_OK) return status;
    gm_source source = {0};
    status = open_spec(spec, test, &source, err);
    if (status == GM_OK) *n = source.n;
    gm_source_close(&source);
    gm_plain_locale_leave(&locale);
    return status;
}

/* --- sets from the caller's arrays --- */

typedef struct arrays {
    const double *x, *target;
    const int32_t *label;
    size_t next;
} arrays;

static gm_status arrays_next(gm_source *source, gm_sample *sample, gm_error *err)
{
    (void)err;
    arrays *a = source->state;
    size_t i = a->next++;
    memcpy(sample->x, a->x + i * source->features, source->features * sizeof *sample->x);
    if (a->label)
        for (size_t t = 0; t < source->positions; t++) {
            sample->label[t] = a->label[i * source->positions + t];
        }
    else
        memcpy(sample->target, a->target + i * source->outputs,
               source->outputs * sizeof *sample->target);
    source->position = i;
    return GM_OK;
}

static gm_status from_arrays(const char *name, size_t n, const gm_shape *shape, const double *x,
                             size_t positions, const int32_t *label, const double *target,
                             size_t outputs, gm_dtype dtype, size_t classes, gm_dataset **data,
                             gm_error *err)
{
    *data = NULL;
    if (!name || !shape || !x || n < 1 || shape->rank < 1 || shape->rank > GM_MAX_RANK)
        return gm_fail(err, GM_ERR_USAGE,
                       "data from arrays: expected a name, x, 1 or more samples, rank 1 ... %d",
                       (int)GM_MAX_RANK);
    if (!label == !target || (target && outputs < 1))
        return gm_fail(err, GM_ERR_USAGE, "%s: expected either labels or targets", name);
    gm_data_options options;
    gm_data_options_default(&options);
    options.dtype = dtype;
    if (!gm_mul_size(classes, positions, &options.classes)) options.classes = SIZE_MAX;
    gm_status status = check_options(&options, err);
    if (status != GM_OK) return status;

    arrays state = {x, target, label, 0};
    gm_source source = {.n = n,
                        .shape = *shape,
                        .outputs = target ? outputs : 0,
                        .positions = positions,
                        .x_file = name,
                        .y_file = name,
                        .unit = "row",
                        .state = &state,
                        .next = arrays_next};
    status = gm_source_set_features(&source, name, err);
    return status == GM_OK ? load_source(&source, name, &options, data, err) : status;
}

gm_status gm_data_from_arrays(const char *name, size_t n, const gm_shape *shape, const double *x,
                              const int32_t *label, const double *target, size_t outputs,
                              gm_dtype dtype, size_t classes, gm_dataset **data, gm_error *err)
{
    return from_arrays(name, n, shape, x, 1, label, target, outputs, dtype, classes, data, err);
}

gm_status gm_data_from_sequences(const char *name, size_t n, const gm_shape *shape, const double *x,
                                 size_t positions, const int32_t *label, gm_dtype dtype,
                                 size_t classes, gm_dataset **data, gm_error *err)
{
    *data = NULL;
    if (positions < 1)
        return gm_fail(err, GM_ERR_USAGE, "%s: 0 positions, expected 1 or more", name);
    return from_arrays(name, n, shape, x, positions, label, NULL, 0, dtype, classes, data, err);
}

gm_status gm_dataset_one_hot(gm_dataset *data, gm_error *err)
{
    if (data->target) return GM_OK;
    if (data->positions > 1)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: labels at %zu positions have no squared loss, expected cross_entropy",
                       data->name, data->positions);
    size_t count;
    if (!gm_mul_size(data->n, data->classes, &count))
        return gm_fail(err, GM_ERR_MEMORY, "%s: %zu samples of %zu classes overflow", data->name,
                       data->n, data->classes);
    double *target = gm_alloc(count, sizeof *target, "one-hot targets", err);
    if (!target) return GM_ERR_MEMORY;
    for (size_t i = 0; i < data->n; i++) {
        target[i * data->classes + (size_t)data->label[i]] = 1;
    }
    gm_free(data->label);
    data->label = NULL;
    data->target = target;
    data->outputs = data->classes;
    return GM_OK;
}
