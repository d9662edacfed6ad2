/* From the shared options to a net, data, parameters and problem that fit each other. */
#ifndef GM_CLI_SESSION_H
#define GM_CLI_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "gradiometer/curvature.h"
#include "gradiometer/data.h"
#include "gradiometer/diff.h"
#include "gradiometer/net.h"
#include "gradiometer/onnx.h"
#include "gradiometer/run.h"

enum { GM_SESSION_HASH = 17 }; /* 16 digits */

typedef struct gm_session {
    gm_shared shared;     /* as given, filled up from the run file in --params */
    const char *matrix;   /* --matrix: the file in the place of net and data; else NULL */
    gm_net *net;          /* NULL in a session of data, or of nothing, alone */
    gm_onnx *onnx;        /* the file that net is from and belongs to; else NULL */
    gm_dataset *data;     /* the training set */
    gm_dataset *test;     /* NULL without --test-data */
    double *theta;        /* [p] */
    char *point;          /* where theta is from, in words: "He initialization, seed 0" */
    int64_t step;         /* of a checkpoint, else GM_RUN_NO_STEP */
    gm_run *run;          /* the run file in --params, open for reading; else NULL */
    gm_setting *recorded; /* [recordings] its settings */
    size_t recordings;
    bool run_step;            /* --params named one step of it, run.gmr@STEP */
    gm_problem *problem;      /* f on data */
    gm_problem *alone;        /* the same without the other ranks; NULL where samples are shared */
    gm_problem *test_problem; /* NULL without test data */
    gm_loss loss_kind;
    gm_dtype precision;
    bool precision_fixed; /* by the caller, whatever the options say */
    uint64_t seed;
    const gm_team *team; /* whose ranks share the work; else NULL */
    bool joined;         /* the problems are those of all ranks together */
    size_t budget;       /* bytes, what --memory is by default */
    int threads;
    int layer;                  /* --layer resolved: index of a layer or group, or GM_ALL_LAYERS */
    double loss, gradient_norm; /* where `measured`; set by the command, for its documents */
    bool measured;
    bool each_layer;                   /* --layers each */
    char params_hash[GM_SESSION_HASH]; /* of the numbers [p] of a point that a file brought; else ""
                                        */
} gm_session;

/* Opens everything that the shared options name: run file, model, layer, precision, threads, data,
 * test data, problem, parameters. Notices of defaults are noted in cli, nothing is printed.
 * gm_session_close accepts what a failure left. */
gm_status gm_session_open(gm_cli *cli, gm_session *session, gm_error *err);
/* The same in this precision, whatever --precision says. */
gm_status gm_session_open_in(gm_cli *cli, gm_dtype precision, gm_session *session, gm_error *err);
/* The same for the run file at path, whose threads and memory are taken over too where not given:
 * rounding depends on them, and the training is to go on as it was. */
gm_status gm_session_reopen(gm_cli *cli, const char *path, gm_session *session, gm_error *err);
/* Run file, model and layer alone, which need no data. */
gm_status gm_session_open_model(gm_cli *cli, gm_session *session, gm_error *err);
/* The same for commands that take no model: threads and data (in f64). */
gm_status gm_session_open_data(gm_cli *cli, gm_session *session, gm_error *err);
/* The same for commands that take neither: threads, seed and memory, nothing that can fail. */
void gm_session_open_alone(gm_cli *cli, gm_session *session);
void gm_session_close(gm_session *session);

/* True where --layer names a group of tensors by a pattern. */
bool gm_session_has_group(const gm_session *session);

/* The net of a --model (and --logits and --constants, or NULL), with the sizes that some take from
 * the data of this
 * --data. *net is the caller's. */
gm_status gm_session_make_net(const char *model, const char *logits, const char *constants,
                              const char *data, gm_net **net, gm_error *err);

/* True where the ending is that of a file of parameters: .npy, .safetensors. */
bool gm_session_names_parameters(const char *path);
/* *theta [p] (the caller's) from such a file that --OPTION names; notes what was left aside. */
gm_status gm_session_read_parameters(gm_cli *cli, const gm_session *session, const char *option,
                                     const char *path, double **theta, gm_error *err);

/* The layer of that name or number; a pattern or a tensor's name makes a group of tensors, which
 * the net takes as one more layer. */
gm_status gm_session_find_layer(gm_net *net, const char *name, int *layer, gm_error *err);

/* Whether params is "RUN.gmr@all". */
bool gm_session_asks_all(const char *params);
/* "run.gmr@all" becomes "run.gmr" in *path (the caller's, gm_free); NULL where params names no
 * "@all". */
gm_status gm_session_strip_all(const char *params, char **path, gm_error *err);

/* ---- nets from ONNX files, in session_onnx.c ---- */

/* session->onnx and net from the file in --model. Where the run file in --params named it, it must
 * be the file that the run was made with. */
gm_status gm_session_import(const gm_cli *cli, gm_session *session, gm_error *err);
/* The net alone, the caller's. */
gm_status gm_session_import_net(const char *path, const char *logits, const char *constants,
                                gm_net **net, gm_error *err);
/* GM_ERR_INPUT unless two passes over a few samples give the same loss and gradient, and the graph
 * gives the same for samples alone as for several of them in one batch. */
gm_status gm_session_check_import(const gm_session *session, gm_error *err);

/* What the run recorded for a shared option; NULL where it recorded nothing. */
const char *gm_session_recorded(const gm_session *session, const char *name);

/* Budget for dense matrices in bytes: --memory, or half of the machine's memory. */
size_t gm_session_memory(const gm_session *session);
/* GM_ERR_MEMORY where `count` matrices [rows, columns] of doubles exceed that budget; the message
 * says what would be needed and that --memory raises it. To be called before they are allocated. */
gm_status gm_session_check_matrix(const gm_session *session, const char *what, size_t count,
                                  size_t rows, size_t columns, gm_error *err);

/* loss and gradient_norm of every document, from a linearization at session->theta. */
void gm_session_measure(gm_session *session, const gm_linearization *lin);

#endif
