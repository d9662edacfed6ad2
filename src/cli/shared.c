/* The options that several commands share (names and meanings are fixed: other programs rely on
 * them). */
#include "cli/frame.h"

#include <stdint.h>
#include <string.h>

static const char *const loss_words[] = {"cross_entropy", "squared", NULL};
static const char *const precision_words[] = {"f32", "f64", NULL};
static const char *const replacement_words[] = {"yes", "no", "epoch", NULL};

enum { MODEL = GM_TAKES_MODEL, DATA = GM_TAKES_DATA, ALL = ~0 };

typedef struct shared_option {
    unsigned takes; /* any of these bits brings the option in */
    gm_option option;
} shared_option;

/* --layers has one word so far; bool. */
static gm_status parse_each(const gm_option *o, const char *text, void *target, gm_error *err)
{
    if (strcmp(text, "each") != 0) {
        return gm_fail(err, GM_ERR_USAGE, "--%s: found '%s', expected each", o->name, text);
    }
    *(bool *)target = true;
    return GM_OK;
}

#define AT(field) offsetof(gm_shared, field)

static const shared_option shared_table[] = {
    {MODEL,
     {"model", 0, "SPEC",
      "The net: mlp:50-30-10 for dense layers of these widths with ReLU between; options follow "
      "after commas: act=NAME (relu, leaky_relu, tanh, sigmoid, softplus, gelu, identity) and "
      "bias=yes|no. On images, whose size and classes come from the data: cnn:16-32-64 (for each "
      "width a 3x3 convolution with padding, ReLU and 2x2 max-pooling, then a dense layer; the "
      "same "
      "options), lenet and resnet20 (normalization in inference mode). Or an ONNX file, net.onnx: "
      "its initializers are the parameters, in their order there, and it must end in logits.",
      gm_option_text, AT(model), NULL, 0}},
    {MODEL,
     {"logits", 0, "NAME",
      "Of an ONNX file: the value that holds the logits, an output or any other. Default: its only "
      "output.",
      gm_option_text, AT(logits), NULL, 0}},
    {MODEL,
     {"constants", 0, "NAMES",
      "Of an ONNX file: initializers that are constants, not parameters, such as a mask of -1e9 "
      "that is added; patterns in quotes, commas between: '*.mask,scale'. See --describe of "
      "spectrum.",
      gm_option_text, AT(constants), NULL, 0}},
    {MODEL,
     {"params", 0, "FILE",
      "Parameters: an .npy file with one flat vector (layers in order, each weight row-major [out, "
      "in(, kh, kw)], then its bias), a .safetensors file (matched by name where the names are the "
      "net's own, else by order and shape), or a run file, run.gmr for its last state or "
      "run.gmr@STEP for a checkpoint; spectrum, decompose and landscape also go through "
      "run.gmr@all and the files of a quoted pattern, 'ckpt-*.safetensors', bound through "
      "run.gmr@all. With a run file model, data, test set, loss, seed and precision default to "
      "what it recorded. Default: those in the ONNX file, else He initialization from --seed, "
      "biases 0.",
      gm_option_text, AT(params), NULL, 0}},
    {DATA,
     {"data", 0, "SPEC",
      "The data set: gauss:k=10,d=50,n=1000,sep=2.0,seed=1 (Gaussian classes; these are the "
      "defaults), idx:IMAGES,LABELS, mnist:DIR (with ,split=5 digits below 5 against the others), "
      "cifar10:DIR, npy:X.npy,Y.npy, or csv:FILE with the "
      "label in the last column.",
      gm_option_text, AT(data), NULL, 0}},
    {GM_TAKES_TEST,
     {"test-data", 0, "SPEC",
      "A test set, likewise; mnist:, cifar10: and gauss: give their test half or stream here.",
      gm_option_text, AT(test_data), NULL, 0}},
    {DATA,
     {"subset", 0, "N", "Use the first N samples after a shuffle seeded by --seed.",
      gm_option_count, AT(subset), NULL, 0}},
    {DATA,
     {"random-labels", 0, "FRACTION",
      "Redraw each label uniformly over the classes with this probability, seeded by --seed.",
      gm_option_fraction, AT(random_labels), NULL, 0}},
    {DATA,
     {"standardize", 0, NULL,
      "Subtract each feature's mean and divide by its standard deviation; a test set uses those of "
      "the training set.",
      gm_option_flag, AT(standardize), NULL, 0}},
    {MODEL,
     {"loss", 0, "LOSS",
      "cross_entropy (the default), or squared: half the sum of squares over the outputs.",
      gm_option_choice, AT(loss), loss_words, 0}},
    {GM_TAKES_LAYER | GM_TAKES_ONE_LAYER,
     {"layer", 0, "LAYER",
      "Restrict operator or directions to the parameters of one layer, given by name or by number "
      "from 0, or "
      "to all tensors that a pattern in quotes matches by their own or their layer's name: "
      "'blocks.*.attn.*', '*.weight'.",
      gm_option_text, AT(layer), NULL, 0}},
    {GM_TAKES_LAYER,
     {"layers", 0, "each", "Do every layer's block after the other.", parse_each, AT(each_layer),
      NULL, 0}},
    {GM_TAKES_BATCH,
     {"replacement", 0, "HOW",
      "How batches are drawn: yes, with replacement (the default); no, a fresh subset for each "
      "step; epoch, a permutation for each epoch.",
      gm_option_choice, AT(replacement), replacement_words, 0}},
    {GM_TAKES_TOLERANCE,
     {"tol", 0, "T",
      "An eigenpair counts as converged where its residual is at most T times the largest absolute "
      "eigenvalue. Default: 1e-4 in f32, 1e-10 in f64.",
      gm_option_positive, AT(tol), NULL, 0}},
    {MODEL | DATA,
     {"seed", 0, "N", "Seed of everything random. Default: 0.", gm_option_seed, AT(seed), NULL,
      INT64_MAX}},
    {MODEL,
     {"precision", 0, "P",
      "f32 or f64: of activations and matrix products. Default: f64 up to 50,000 parameters, else "
      "f32.",
      gm_option_choice, AT(precision), precision_words, 0}},
    {MODEL | DATA,
     {"threads", 0, "N", "Number of threads. Default: as many as the machine has processors.",
      gm_option_count, AT(threads), NULL, 4096}},
    {MODEL,
     {"memory", 0, "SIZE",
      "Budget for cached activations and dense matrices: 512M, 2G, 1.5GiB. Default: half of the "
      "machine's memory.",
      gm_option_bytes, AT(memory), NULL, 0}},
    {GM_TAKES_OUTPUT,
     {"output", 'o', "RUN.gmr", "Record in this run file.", gm_option_text, AT(output), NULL, 0}},
    {GM_TAKES_WATCH,
     {"watch", 0, "DIR",
      "Follow this folder: measure each file of parameters that comes, .safetensors or .npy with a "
      "number in its name, once it is whole; Ctrl-C ends after the one at hand. With --output each "
      "is saved as it is done, and the same command goes on from there.",
      gm_option_text, AT(watch), NULL, 0}},
    {GM_TAKES_WATCH,
     {"watch-until", 0, "N", "End after N files, those done earlier included.", gm_option_count,
      AT(watch_until), NULL, 1000000}},
    {GM_TAKES_WATCH,
     {"watch-idle", 0, "SECONDS", "End where none has come for so long.", gm_option_positive,
      AT(watch_idle), NULL, 0}},
    {MODEL | DATA,
     {"json", 0, NULL, "Print one JSON document on standard output and nothing else there.",
      gm_option_flag, AT(json), NULL, 0}},
    {ALL,
     {"verbose", 'v', NULL, "Print notices (defaults chosen, kernels switched) on standard error.",
      gm_option_flag, AT(verbose), NULL, 0}},
    {ALL, {"quiet", 'q', NULL, "Show no progress.", gm_option_flag, AT(quiet), NULL, 0}},
};

size_t gm_shared_options(unsigned takes, size_t most, gm_option *option)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof shared_table / sizeof *shared_table; i++) {
        if (shared_table[i].takes != (unsigned)ALL && !(shared_table[i].takes & takes)) continue;
        if (count < most) option[count] = shared_table[i].option;
        count++;
    }
    return count;
}

void gm_shared_default(gm_shared *shared)
{
    memset(shared, 0, sizeof *shared);
    shared->loss = GM_LOSS_CROSS_ENTROPY;
    shared->replacement = GM_REPLACEMENT_YES;
}
