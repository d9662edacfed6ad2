/* The operators' own test cases of ONNX (Debian's libonnx-testdata): every case whose operators are
 * supported is imported and computed in float64, and must give the output that the case holds. What
 * does not apply is counted by reason; nothing is left out without a word.
 *
 * A case has its inputs as files. The first one that is floating becomes the sample, the others
 * initializers. The whole input is one sample, or, where operators ask for a batch, its first axis
 * is the batch. Where no input can be a sample, or the outputs are integers or booleans, all inputs
 * become constants, so that the graph is folded; its outputs, cast to float, are added to a sample
 * that is 0. */
#include <dirent.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "support.h"

#include "folder.h"
#include "net_outputs.h"
#include "onnx/graph.h"
#include "onnx_model.h"
#include "problems.h"

static const char cases[] = "/usr/share/libonnx-testdata/data/node";

enum { MOST_INPUTS = 8 };

/* Refusals that are right, by a part of the case's name and of the message. */
static const struct {
    const char *name, *message;
} expected_refusals[] = {
    {"test_batchnorm_epsilon_training_mode", "in training mode"},
    {"test_batchnorm_example_training_mode", "in training mode"},
    {"test_training_dropout", "in training mode"},
    {"test_dropout_default_mask", "its mask is not supported"}, /* y itself is compared */
    {"test_training_dropout_zero_ratio_mask", "in training mode"},
    {"test_edge_pad", "expected mode constant"},
    {"test_reflect_pad", "expected mode constant"},
    {"test_constant_pad", "expected mode constant, zeros"},
    {"test_maxpool_3d", "expected images"},
    {"test_averagepool_3d", "expected images"},
    {"test_maxpool_with_argmax", "indices of the largest"},
    {"test_layer_normalization", "its mean and deviation as outputs"}, /* Y itself is compared */
    {"test_bernoulli", "it is random"},
    {"test_convtranspose_3d", "expected images"},
    {"test_convtranspose_autopad_same", "expected auto_pad NOTSET"},
    {"test_convtranspose", "attribute 'output_shape' is not supported"},
    {"test_resize_tf_crop_and_resize", "'tf_crop_and_resize' is not supported"},
};

typedef struct node_case {
    char name[256];
    Onnx__ModelProto *model;
    int inputs;
    Onnx__TensorProto *input[MOST_INPUTS];
    size_t outputs;
    Onnx__TensorProto *output[MOST_INPUTS];
} node_case;

/* ---- files ---- */

static void *read_file(const char *path, size_t *count)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *count = (size_t)ftell(file);
    rewind(file);
    void *bytes = malloc(*count + 1);
    if (fread(bytes, 1, *count, file) != *count) fail_msg("%s: cannot be read", path);
    fclose(file);
    return bytes;
}

static Onnx__TensorProto *read_tensor(const char *name, const char *kind, int i)
{
    char path[1024];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s/test_data_set_0/%s_%d.pb", cases, name, kind, i);
    void *bytes = read_file(path, &count);
    Onnx__TensorProto *t = bytes ? onnx__tensor_proto__unpack(NULL, count, bytes) : NULL;
    free(bytes);
    return t;
}

static void open_case(const char *name, node_case *c)
{
    char path[1024];
    size_t count = 0;
    memset(c, 0, sizeof *c);
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(path, sizeof path, "%s/%s/model.onnx", cases, name);
    void *bytes = read_file(path, &count);
    c->model = bytes ? onnx__model_proto__unpack(NULL, count, bytes) : NULL;
    free(bytes);
    if (!c->model) fail_msg("%s: no model", name);
    while (c->inputs < MOST_INPUTS &&
           (c->input[c->inputs] = read_tensor(name, "input", c->inputs))) {
        c->inputs++;
    }
    while (c->outputs < MOST_INPUTS &&
           (c->output[c->outputs] = read_tensor(name, "output", (int)c->outputs))) {
        c->outputs++;
    }
}

static void close_case(node_case *c)
{
    onnx__model_proto__free_unpacked(c->model, NULL);
    for (int i = 0; i < c->inputs; i++) {
        onnx__tensor_proto__free_unpacked(c->input[i], NULL);
    }
    for (size_t i = 0; i < c->outputs; i++) {
        onnx__tensor_proto__free_unpacked(c->output[i], NULL);
    }
}

/* ---- which cases apply ---- */

static bool supported(const node_case *c)
{
    const Onnx__GraphProto *g = c->model->graph;
    for (size_t i = 0; i < g->n_node; i++) {
        bool other = g->node[i]->domain && *g->node[i]->domain;
        if (other || !gm_onnx_op_find(g->node[i]->op_type)) return false;
    }
    return g->n_node > 0;
}

static bool floating(const Onnx__TensorProto *t)
{
    return t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
           t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE ||
           t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
}

/* Index of the input that is the sample: floating, and no slot for constants; -1: none. */
static int sample_of(const node_case *c)
{
    const Onnx__GraphProto *g = c->model->graph;
    const Onnx__NodeProto *node = g->node[0];
    const gm_onnx_op *op = gm_onnx_op_find(node->op_type);
    for (int i = 0; i < c->inputs; i++) {
        bool plain = false;
        for (size_t j = 0; g->n_node == 1 && j < node->n_input && j < 32; j++) {
            if (strcmp(node->input[j], g->input[i]->name) == 0) plain = op->plain >> j & 1;
        }
        if (floating(c->input[i]) && !plain && op->emit) return i;
    }
    return -1;
}

/* A case is stored with the opset in which its operator got its last form: one older than ours says
 * that the form still holds in ours. */
static void raise_opset(const node_case *c)
{
    for (size_t i = 0; i < c->model->n_opset_import; i++) {
        Onnx__OperatorSetIdProto *set = c->model->opset_import[i];
        bool own = !set->domain || !*set->domain;
        if (own && set->version < GM_ONNX_OPSET_LEAST) set->version = GM_ONNX_OPSET_MOST;
    }
}

/* NULL where it applies. */
static const char *reason_against(const node_case *c)
{
    gm_onnx_class class;
    for (size_t i = 0; i < c->model->graph->n_input; i++) {
        const Onnx__TypeProto *type = c->model->graph->input[i]->type;
        if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
            return "sequences or optionals";
    }
    if (strstr(c->name, "BFLOAT16")) return "BFLOAT16 that the case itself stores as UINT16";
    for (int i = 0; i < c->inputs; i++) {
        if (!gm_onnx_type_class(c->input[i]->data_type, &class)) return "texts";
    }
    for (size_t i = 0; i < c->outputs; i++) {
        if (!gm_onnx_type_class(c->output[i]->data_type, &class)) return "texts";
        for (size_t j = 0; j < c->output[i]->n_dims; j++) {
            if (c->output[i]->dims[j] == 0) return "an output without numbers";
        }
    }
    return NULL;
}

/* True where an input is the sample; else all are constants. */
static bool has_sample(const node_case *c)
{
    bool real = sample_of(c) >= 0;
    for (size_t i = 0; i < c->outputs; i++) {
        real = real && floating(c->output[i]);
    }
    return real;
}

/* ---- computing ---- */

/* Numbers of the case, as double. */
static gm_onnx_tensor numbers_of(const Onnx__TensorProto *proto)
{
    gm_onnx_folder nowhere = {.path = "case"};
    gm_onnx_tensor t;
    gm_error err = {0};
    expect_ok(gm_onnx_tensor_read(&nowhere, proto, "tensor", &t, &err), &err);
    for (size_t i = 0; t.of != GM_ONNX_REAL && i < t.count; i++) {
        t.real[i] = (double)t.whole[i];
    }
    return t;
}

static bool ends_in_softmax(const node_case *c)
{
    const Onnx__GraphProto *g = c->model->graph;
    return strcmp(g->node[g->n_node - 1]->op_type, "Softmax") == 0;
}

static void write_case(const Onnx__ModelProto *model)
{
    size_t count;
    unsigned char *bytes = model_pack(model, &count);
    folder_write("case.onnx", bytes, count);
    free(bytes);
}

/* Nodes, initializers and inputs of the case with ours behind them, for as long as it is written.
 */
static Onnx__GraphProto lent_graph(const node_case *c, Onnx__GraphProto *own)
{
    *own = *c->model->graph;
    Onnx__GraphProto g = *own;
    g.node = model_take((own->n_node + 3 * MOST_INPUTS) * sizeof(void *));
    g.initializer = model_take((own->n_initializer + MOST_INPUTS) * sizeof(void *));
    for (size_t i = 0; i < own->n_initializer; i++) {
        g.initializer[i] = own->initializer[i];
    }
    return g;
}

/* All inputs but the sample's become initializers. What a Softmax gives is not the end: its
 * absolute value, the same, is. */
static void write_with_sample(node_case *c, int sample)
{
    Onnx__GraphProto own, g = lent_graph(c, &own);
    memcpy(g.node, own.node, own.n_node * sizeof(void *));
    for (int i = 0; i < c->inputs; i++) {
        if (i == sample) continue;
        Onnx__TensorProto *t = model_take(sizeof *t);
        *t = *c->input[i];
        t->name = own.input[i]->name;
        g.initializer[g.n_initializer++] = t;
    }
    for (size_t i = 0; i < c->outputs; i++) {
        char end[300];
        model_graph.node = g.node;
        model_graph.n_node = g.n_node;
        snprintf(end, sizeof end, "abs_%s", own.output[i]->name);
        if (ends_in_softmax(c)) model_node("Abs", own.output[i]->name, end);
        g.n_node = model_graph.n_node;
    }
    *c->model->graph = g;
    write_case(c->model);
    *c->model->graph = own;
}

/* All inputs become Constant nodes; each output, as a float, plus the sample `zero` is "sum_NAME".
 */
static void write_constants(node_case *c)
{
    Onnx__GraphProto own, g = lent_graph(c, &own);
    long one = 1;
    g.n_node = 0;
    model_graph.node = g.node;
    model_graph.n_node = 0;
    for (int i = 0; i < c->inputs; i++) {
        model_tensor_value(model_node("Constant", "", own.input[i]->name), "value", c->input[i]);
    }
    memcpy(g.node + model_graph.n_node, own.node, own.n_node * sizeof(void *));
    model_graph.n_node += own.n_node;
    for (size_t i = 0; i < c->outputs; i++) {
        char inputs[300], cast[300], sum[300];
        snprintf(cast, sizeof cast, "cast_%s", own.output[i]->name);
        snprintf(inputs, sizeof inputs, "%.250s,zero", cast);
        snprintf(sum, sizeof sum, "sum_%s", own.output[i]->name);
        model_int(model_node("Cast", own.output[i]->name, cast), "to", 1);
        model_node("Add", inputs, sum);
    }
    g.n_node = model_graph.n_node;
    Onnx__ValueInfoProto *input = model_info("zero", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 1, &one);
    g.n_input = 1;
    g.input = &input;
    *c->model->graph = g;
    write_case(c->model);
    *c->model->graph = own;
}

/* Worst deviation from what the case holds, relative to 1 + its size; negative with err where the
 * import was refused. sample NULL: one number, 0. */
static double worst_of(const char *name, size_t n, bool unbatched, const Onnx__TensorProto *sample,
                       const Onnx__TensorProto *expected, gm_error *err)
{
    gm_onnx *model = NULL;
    gm_onnx_options options = {.logits = name, .unbatched = unbatched};
    if (gm_onnx_load(folder_path("case.onnx"), &options, &model, err) != GM_OK) return -1;
    gm_onnx_tensor x = {.count = 1}, y = numbers_of(expected);
    double worst = INFINITY, zero = 0;
    if (sample) x = numbers_of(sample);
    if (n * gm_net_inputs(model->net) == x.count && n * gm_net_outputs(model->net) == y.count) {
        double *out = calloc(y.count, sizeof *out);
        net_outputs(model->net, model->theta, n, sample ? x.real : &zero, out);
        worst = 0;
        for (size_t i = 0; i < y.count; i++) {
            bool same = out[i] == y.real[i] || (isnan(out[i]) && isnan(y.real[i]));
            double off = same ? 0 : fabs(out[i] - y.real[i]) / (1 + fabs(y.real[i]));
            worst = off <= worst ? worst : off; /* NaN stays */
        }
        free(out);
    }
    gm_onnx_tensor_free(&x);
    gm_onnx_tensor_free(&y);
    gm_onnx_free(model);
    return worst;
}

static double tolerance_of(const Onnx__TensorProto *t)
{
    bool half = t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
    return half ? 1e-3 : 2e-5; /* 11 bits, or 24, some after sums of thousands */
}

/* True where all outputs are right, by either reading of the first axis; *err is the refusal. */
static bool passes(node_case *c, gm_error *err, double *worst)
{
    bool moves = has_sample(c);
    int sample = sample_of(c);
    const Onnx__TensorProto *x = moves ? c->input[sample] : NULL;
    model_begin(17); /* memory for what is lent */
    if (moves) {
        write_with_sample(c, sample);
    } else {
        write_constants(c);
    }
    for (size_t i = 0; i < c->outputs; i++) {
        const char *output = c->model->graph->output[i]->name;
        char name[300];
        double tolerance = tolerance_of(c->output[i]);
        gm_error whole = {0}, batch = {0};
        if (moves && tolerance_of(x) > tolerance) tolerance = tolerance_of(x);
        if (strstr(c->name, "window")) tolerance = 1e-4; /* these graphs write 3.1415 for pi */
        snprintf(name, sizeof name, "%s%s",
                 !moves               ? "sum_"
                 : ends_in_softmax(c) ? "abs_"
                                      : "",
                 output);
        *worst = worst_of(name, 1, true, x, c->output[i], &whole);
        if (*worst >= 0 && *worst <= tolerance) continue;
        double other = moves && x->n_dims > 0 && x->dims[0] > 0
                           ? worst_of(name, (size_t)x->dims[0], false, x, c->output[i], &batch)
                           : -1;
        if (other >= 0 && other <= tolerance) continue;
        *err = *worst < 0 ? whole : batch;
        *worst = *worst < 0 ? other : *worst;
        return false;
    }
    return true;
}

static bool refused_rightly(const char *name, const gm_error *err)
{
    for (size_t i = 0; i < sizeof expected_refusals / sizeof *expected_refusals; i++) {
        if (strncmp(name, expected_refusals[i].name, strlen(expected_refusals[i].name)) == 0 &&
            strstr(err->message, expected_refusals[i].message)) {
            return true;
        }
    }
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list_cases(char ***names)
{
    size_t count = 0;
    DIR *dir = opendir(cases);
    struct dirent *entry;
    *names = calloc(4096, sizeof **names);
    while (dir && (entry = readdir(dir)) && count < 4096) {
        if (entry->d_name[0] != '.') (*names)[count++] = strdup(entry->d_name);
    }
    if (dir) closedir(dir);
    qsort(*names, count, sizeof **names, compare_names);
    return count;
}

static void test_cases(void **state)
{
    (void)state;
    static struct {
        const char *reason;
        size_t count;
    } reasons[8];
    size_t run = 0, passed = 0, refused = 0, unlike = 0, used = 0;
    char **names;
    size_t count = list_cases(&names);
    if (count < 900) fail_msg("%s: %zu cases, expected libonnx-testdata to be there", cases, count);
    for (size_t i = 0; i < count; i++) {
        node_case c;
        gm_error err = {0};
        double worst = 0;
        open_case(names[i], &c);
        raise_opset(&c);
        const char *reason =
            supported(&c) ? reason_against(&c) : "operators that are not supported";
        if (reason) {
            size_t r = 0;
            while (r < used && strcmp(reasons[r].reason, reason) != 0) {
                r++;
            }
            used += r == used;
            reasons[r].reason = reason;
            reasons[r].count++;
        } else {
            run++;
            if (passes(&c, &err, &worst)) {
                passed++;
            } else if (refused_rightly(names[i], &err)) {
                refused++;
            } else {
                unlike++;
                print_error("%s: off by %.3g, %s\n", names[i], worst, err.message);
            }
        }
        close_case(&c);
        free(names[i]);
    }
    free(names);
    print_message("%zu cases: %zu run, %zu passed, %zu refused as they should be\n", count, run,
                  passed, refused);
    size_t total = run;
    for (size_t r = 0; r < used; r++) {
        print_message("not run: %zu, %s\n", reasons[r].count, reasons[r].reason);
        total += reasons[r].count;
    }
    assert_int_equal(total, count);
    assert_int_equal(unlike, 0);
    assert_int_equal(passed + refused, run);
    assert_true(passed >= 523); /* those of version 1.12: an operator lost would not be silent */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    if (folder_make(NULL) != 0) return 99;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "onnx operators");
    folder_remove(NULL);
    return failed;
}
