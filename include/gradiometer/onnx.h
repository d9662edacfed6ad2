/* Nets from ONNX files, opsets 9 to 17 (docs/onnx.md lists operators). */
#ifndef GRADIOMETER_ONNX_H
#define GRADIOMETER_ONNX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/net.h"
#include "gradiometer/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GM_ONNX_OPSET_LEAST = 9, GM_ONNX_OPSET_MOST = 17 };

/* What an initializer of the file is to the net. */
typedef enum gm_onnx_role {
    GM_ONNX_IS_PARAMETER, /* floating, and enters the logits as a weight */
    GM_ONNX_IS_CONSTANT,  /* a shape, an axis, a mask, a running statistic */
    GM_ONNX_IS_UNUSED     /* the logits do not depend on it */
} gm_onnx_role;

typedef struct gm_onnx_initializer {
    const char *name;
    const char *type; /* "FLOAT", "INT64", ... */
    gm_onnx_role role;
    int rank; /* 0 ... 8 */
    size_t dim[8];
    size_t count;      /* numbers */
    size_t offset;     /* of a parameter, in the flat vector */
    size_t aliases;    /* further names that the graph gives to it by Identity: weights that layers
                          share, or equal ones that an exporter has merged */
    const char *alias; /* the first of these, NULL: none */
} gm_onnx_initializer;

typedef struct gm_onnx {
    char *path;
    int opset;
    char *input, *logits;   /* their names in the file */
    bool batch_of_one;      /* the file fixes the size of its batch at 1 */
    unsigned long checksum; /* CRC-32 of the file and of the external data that was read */
    gm_net *net;
    double *theta; /* [parameters of the net], as the file has them */
    size_t initializers;
    gm_onnx_initializer *initializer; /* in the file's order, which is that of the parameters */
} gm_onnx;

typedef struct gm_onnx_options {
    const char *logits; /* NULL: the graph's only output; else the value that holds them */
    /* Initializers that are constants whatever they enter: patterns of their names as the shell has
     * them, with commas between; NULL: none. */
    const char *constants;
    bool unbatched; /* false; true: the graph's input is one sample, without a batch */
    /* 0: the net is one of single samples. m > 1: one whose samples are m of the file's, the graph
     * at work on a batch of m: inputs [m, ...], outputs [m ...]. Where it gives anything else than
     * the net of single samples, the graph mixes the samples of a batch. */
    size_t together;
} gm_onnx_options;
void gm_onnx_options_default(gm_onnx_options *options);

/* True for what --model names as an ONNX file: it ends in ".onnx". */
bool gm_onnx_names_model(const char *spec);

/* Reads the file at path: its graph as a net, its initializers as parameters in the file's order.
 * The net is one of single samples: the first dimension of the graph's input is the batch. *model
 * is the caller's.
 * GM_ERR_INPUT where the file is damaged, hostile, or holds what cannot be computed with: the line
 * names node, operator and opset; where a pattern of options->constants matches nothing. Memory:
 * the file, and twice its numbers as double. */
gm_status gm_onnx_load(const char *path, const gm_onnx_options *options, gm_onnx **model,
                       gm_error *err);
void gm_onnx_free(gm_onnx *model); /* with its net; accepts NULL */

#ifdef __cplusplus
}
#endif
#endif
