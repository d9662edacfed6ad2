/* gradiometer data: describe a data set, or write it. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/document.h"
#include "cli/session.h"
#include "data/dataset.h"

typedef struct settings {
    const char *output, *test_output;
} settings;

static const settings defaults = {NULL, NULL};

static const gm_option options[] = {
    {"output", 'o', "FILES",
     "Write the set as it is after subset, random labels and standardization: X.npy,Y.npy (two "
     "names with a comma) or FILE.csv (label in the last column).",
     gm_option_text, offsetof(settings, output), NULL, 0},
    {"test-output", 0, "FILES", "Write the set of --test-data likewise.", gm_option_text,
     offsetof(settings, test_output), NULL, 0},
    {0}};

/* What is said of one set beyond its own fields. */
typedef struct description {
    double mean, sd, min, max;  /* over all numbers of x */
    size_t constant;            /* features that do not vary */
    size_t *count;              /* [classes] labels per class; NULL where there are targets */
    size_t masked;              /* labels that are GM_LABEL_MASKED */
    size_t empty, fewest, most; /* classes without samples; smallest and largest count */
} description;

static void count_classes(const gm_dataset *data, description *d)
{
    for (size_t i = 0; i < data->n * data->positions; i++) {
        if (data->label[i] == GM_LABEL_MASKED) {
            d->masked++;
        } else {
            d->count[data->label[i]]++;
        }
    }
    d->fewest = data->n * data->positions;
    for (size_t k = 0; k < data->classes; k++) {
        d->empty += d->count[k] == 0;
        if (d->count[k] < d->fewest) d->fewest = d->count[k];
        if (d->count[k] > d->most) d->most = d->count[k];
    }
}

static gm_status describe(const gm_dataset *data, description *d, gm_error *err)
{
    size_t features = data->features;
    double *mean = gm_alloc(features, sizeof *mean, "feature means", err);
    double *sd = gm_alloc(features, sizeof *sd, "feature deviations", err);
    double *row = gm_alloc(features, sizeof *row, "a sample", err);
    gm_status status = mean && sd && row ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_dataset_moments(data, NULL, mean, sd, err);
    if (status == GM_OK && data->label) {
        d->count = gm_alloc(data->classes, sizeof *d->count, "class counts", err);
        status = d->count ? GM_OK : GM_ERR_MEMORY;
    }
    if (status != GM_OK) goto done;
    if (data->label) count_classes(data, d);

    /* Mean of means; variance within the features plus variance of their means. */
    double variance = 0, count = (double)features;
    for (size_t j = 0; j < features; j++) {
        d->mean += mean[j] / count;
        d->constant += sd[j] == 0;
    }
    for (size_t j = 0; j < features; j++) {
        variance += (sd[j] * sd[j] + (mean[j] - d->mean) * (mean[j] - d->mean)) / count;
    }
    d->sd = sqrt(variance);
    d->min = HUGE_VAL;
    d->max = -HUGE_VAL;
    for (size_t i = 0; i < data->n; i++) {
        gm_dataset_row(data, i, row);
        for (size_t j = 0; j < features; j++) {
            d->min = fmin(d->min, row[j]);
            d->max = fmax(d->max, row[j]);
        }
    }
done:
    gm_free(mean);
    gm_free(sd);
    gm_free(row);
    return status;
}

/* ---- the document ---- */

static void set_description(gm_cli *cli, const gm_dataset *data, const description *d,
                            json_t *object)
{
    json_t *shape = json_array(), *x = json_object();
    for (int i = 0; i < data->shape.rank; i++) {
        json_array_append_new(shape, json_integer((json_int_t)data->shape.dim[i]));
    }
    json_object_set_new(x, "mean", gm_json_number(cli, "feature mean", d->mean));
    json_object_set_new(x, "sd", gm_json_number(cli, "feature sd", d->sd));
    json_object_set_new(x, "min", json_real(d->min));
    json_object_set_new(x, "max", json_real(d->max));
    json_object_set_new(x, "constant", json_integer((json_int_t)d->constant));
    json_object_set_new(object, "shape", shape);
    json_object_set_new(object, "features", json_integer((json_int_t)data->features));
    json_object_set_new(object, "x", x);
    json_object_set_new(object, "standardized", json_boolean(data->standardized));
    json_object_set_new(object, "redrawn", json_integer((json_int_t)data->redrawn));
    json_object_set_new(object, "targets", json_boolean(data->target != NULL));
    if (!d->count) return;
    json_object_set_new(object, "positions", json_integer((json_int_t)data->positions));
    json_object_set_new(object, "masked", json_integer((json_int_t)d->masked));
    json_t *counts = json_array();
    for (size_t k = 0; k < data->classes; k++) {
        json_array_append_new(counts, json_integer((json_int_t)d->count[k]));
    }
    json_object_set_new(object, "class_counts", counts);
}

static gm_status print_document(gm_cli *cli, const gm_session *session, const description *train,
                                const description *test, gm_error *err)
{
    json_t *document = gm_document_create(cli, session, err);
    if (!document) return GM_ERR_MEMORY;
    set_description(cli, session->data, train, json_object_get(document, "data"));
    if (session->test) {
        /* The same object that a session of the test set alone would have under "data". */
        gm_session alone = *session;
        alone.data = session->test;
        json_t *other = gm_document_create(cli, &alone, err);
        json_t *object = json_object_get(other, "data");
        set_description(cli, session->test, test, object);
        json_object_set(document, "test_data", object);
        json_decref(other);
    }
    return gm_document_print(cli, document, err);
}

/* ---- the readable form ---- */

static void print_counts(const gm_dataset *data, const description *d)
{
    enum { LISTED = 100, PER_LINE = 10 };
    if (!d->count) {
        printf("targets    %zu columns\n", data->outputs);
        return;
    }
    printf("classes    %zu, with %zu", data->classes, d->fewest);
    if (d->most > d->fewest) printf(" to %zu", d->most);
    printf(" %s each", data->positions > 1 ? "labels" : "samples");
    if (d->empty) printf(" (%zu without any)", d->empty);
    putchar('\n');
    for (size_t k = 0; k < data->classes && data->classes <= LISTED; k++) {
        if (k % PER_LINE == 0) printf("  from %-4zu", k);
        bool last = k + 1 == data->classes || (k + 1) % PER_LINE == 0;
        printf("%7zu%s", d->count[k], last ? "\n" : "");
    }
}

static void print_set(const char *title, const gm_dataset *data, const description *d)
{
    printf("%-10s %s\n", title, data->name);
    printf("samples    %zu of %zu features", data->n, data->features);
    for (int i = 0; i < data->shape.rank && data->shape.rank > 1; i++) {
        printf("%s%zu", i ? " x " : ", ", data->shape.dim[i]);
    }
    printf("\nfeatures   mean %.5g, sd %.5g, from %.5g to %.5g", d->mean, d->sd, d->min, d->max);
    if (d->constant) printf("; %zu do not vary", d->constant);
    if (data->standardized) printf("; standardized");
    putchar('\n');
    print_counts(data, d);
    if (data->positions > 1) {
        printf("positions  %zu in each sample; %zu of %zu labels are masked (%d)\n",
               data->positions, d->masked, data->n * data->positions, (int)GM_LABEL_MASKED);
    }
    if (data->random_labels > 0) {
        printf("labels     %zu redrawn, each with probability %g\n", data->redrawn,
               data->random_labels);
    }
}

static void print_text(const gm_cli *cli, const gm_session *session, const description *train,
                       const description *test)
{
    const settings *set = cli->settings;
    print_set("data", session->data, train);
    if (set->output) printf("written    %s\n", set->output);
    if (session->test) {
        putchar('\n');
        print_set("test data", session->test, test);
        if (set->test_output) printf("written    %s\n", set->test_output);
    }
}

/* ---- run ---- */

/* The form of an output and that its files can be written. */
static gm_status check_output(const char *option, const char *output, gm_error *err)
{
    if (!output) return GM_OK;
    char *path[2];
    gm_status status = gm_dataset_paths(output, path, err);
    for (int i = 0; i < 2 && status == GM_OK; i++) {
        if (path[i]) status = gm_cli_check_writable(option, path[i], err);
    }
    gm_free(path[0]);
    gm_free(path[1]);
    return status;
}

static gm_status check(const gm_cli *cli, gm_error *err)
{
    const settings *set = cli->settings;
    if (set->test_output && !cli->shared.test_data) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--test-output: there is no test set, expected "
                       "--test-data too");
    }
    gm_status status = check_output("output", set->output, err);
    return status == GM_OK ? check_output("test-output", set->test_output, err) : status;
}

static gm_status run(gm_cli *cli, gm_error *err)
{
    const settings *set = cli->settings;
    gm_session session = {0};
    description train = {0}, test = {0};
    gm_status status = check(cli, err);
    if (status == GM_OK) status = gm_session_open_data(cli, &session, err);
    if (status != GM_OK) goto done;
    gm_cli_begin(cli);

    status = describe(session.data, &train, err);
    if (status == GM_OK && session.test) status = describe(session.test, &test, err);
    if (status == GM_OK && set->output) status = gm_dataset_write(session.data, set->output, err);
    if (status == GM_OK && set->test_output)
        status = gm_dataset_write(session.test, set->test_output, err);
    if (status != GM_OK) goto done;
    if (cli->shared.json)
        status = print_document(cli, &session, &train, &test, err);
    else
        print_text(cli, &session, &train, &test);
done:
    gm_free(train.count);
    gm_free(test.count);
    gm_session_close(&session);
    return status;
}

const gm_command gm_command_data = {
    .name = "data",
    .summary = "make or inspect a data set",
    .usage = "--data SPEC [--test-data SPEC] [-o FILES] [OPTION]...",
    .description =
        "Reads or makes the data set that every other command would see with the same options, "
        "checks all of it, and describes it: samples, shape, classes and their counts, the range "
        "of the features, redrawn labels.\n\n"
        "With -o it also writes the set, as npy:X.npy,Y.npy or csv:FILE read it again: X in f8 "
        "with the shape of the samples, Y as i4 labels or f8 targets; or one line of numbers per "
        "sample with the label behind them. The ending of the name decides.",
    .examples = "  gradiometer data --data gauss:k=10,d=50,n=1000 --random-labels 0.15\n"
                "  gradiometer data --data mnist:DIR --test-data mnist:DIR --standardize --json\n"
                "  gradiometer data --data cifar10:DIR --subset 500 -o X.npy,Y.npy\n",
    .takes = GM_TAKES_DATA | GM_TAKES_TEST,
    .options = options,
    .settings_size = sizeof(settings),
    .defaults = &defaults,
    .run = run,
};
