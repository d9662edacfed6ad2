/* Memory runs out at every single place: pipelines of library calls are run again and again, the
 * k-th allocation failing for k = 0, 1, 2, ... until none is left to fail. Each time they must
 * report GM_ERR_MEMORY, name the array, and give back all they took (the address sanitizer's build
 * looks for leaks). */
#include "failing_memory.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/npz.h"
#include "gradiometer/gradiometer.h"
#include "kernels/lapack.h"
#include "net/net.h"
#include "spectrum/rows.h"
#include "study/folder.h"
#include "team_case.h"

/* --- a small problem that every pipeline stands on --- */

typedef struct world {
    gm_dataset *data;
    gm_net *net;
    gm_problem *problem;
    gm_linearization *lin;
    double *theta;
} world;

static gm_status open_net(world *w, const char *spec, gm_dtype dtype, gm_error *err)
{
    gm_data_options options;
    gm_data_options_default(&options);
    options.dtype = dtype;
    options.subset = 11;
    options.random_labels = 0.2;
    options.standardize = true;
    gm_status status = gm_data_load("gauss:k=3,d=4,n=13", &options, &w->data, err);
    if (status == GM_OK) {
        status = gm_net_from_spec(spec, &w->data->shape, w->data->classes, &w->net, err);
    }
    if (status == GM_OK) {
        gm_problem_options po;
        gm_problem_options_default(&po);
        po.chunk = 4;
        status = gm_problem_create(w->net, w->data, &po, &w->problem, err);
    }
    if (status != GM_OK) return status;
    w->theta = gm_alloc(gm_net_parameters(w->net), sizeof(double), "parameters", err);
    if (!w->theta) return GM_ERR_MEMORY;
    gm_net_init(w->net, GM_INIT_HE, 7, 0, w->theta);
    return gm_linearize(w->problem, w->theta, &w->lin, err);
}

static gm_status open_world(world *w, gm_dtype dtype, gm_error *err)
{
    return open_net(w, "mlp:4-5-3,act=tanh", dtype, err);
}

static void close_world(world *w)
{
    gm_linearization_free(w->lin);
    gm_free(w->theta);
    gm_problem_free(w->problem);
    gm_net_free(w->net);
    gm_dataset_free(w->data);
}

/* --- pipelines --- */

static gm_status products(gm_curvature kind, gm_dtype dtype, gm_error *err)
{
    world w = {0};
    gm_operator op = {0};
    double *v = NULL;
    gm_status status = open_world(&w, dtype, err);
    if (status == GM_OK) status = gm_curvature_operator(w.lin, kind, GM_ALL_LAYERS, &op, err);
    if (status == GM_OK) {
        size_t p = gm_net_parameters(w.net);
        v = gm_alloc(2 * 3 * p, sizeof *v, "directions", err);
        if (!v) status = GM_ERR_MEMORY;
        if (v) gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, 3 * p, v);
        if (v) status = gm_operator_apply(&op, 3, v, v + 3 * p, err);
    }
    gm_operator_destroy(&op);
    gm_free(v);
    close_world(&w);
    return status;
}

/* A net on images: all that its shared weights take beyond what dense layers need. */
static gm_status image_matrices(world *w, gm_error *err)
{
    size_t p = gm_net_parameters(w->net), n = gm_gram_size(w->lin, GM_GGN), index[] = {0, 2, 1, 1};
    double *matrix = gm_alloc(p * p + n * n, sizeof *matrix, "matrix", err);
    if (!matrix) return GM_ERR_MEMORY;
    gm_status status = gm_curvature_dense(w->lin, GM_COVARIANCE, GM_ALL_LAYERS, matrix, err);
    for (int kind = 0; status == GM_OK && kind < GM_CURVATURES; kind++) {
        status = gm_curvature_diagonal(w->lin, (gm_curvature)kind, GM_ALL_LAYERS, matrix, err);
    }
    if (status == GM_OK) status = gm_curvature_gram(w->lin, GM_GGN, GM_ALL_LAYERS, matrix, err);
    if (status == GM_OK) {
        status = gm_problem_batch_gradient(w->problem, w->theta, 4, index, NULL, matrix, err);
    }
    gm_free(matrix);
    return status;
}

/* Gauges of one batch with everything that they have. */
static gm_status watch_batch(const world *w, gm_error *err)
{
    gm_gauge_watch_options o;
    gm_train_options training;
    gm_gauge_watch *watch = NULL;
    size_t p = gm_net_parameters(w->net), index[2] = {0, 1};
    double loss, *gradient = gm_alloc(p, sizeof *gradient, "gradient", err);
    gm_gauge_watch_options_default(&o);
    gm_train_options_default(&training);
    training.batch = 2;
    o.curvature = 1;
    gm_status status = gradient ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_gauge_watch_create(w->problem, &o, &training, &watch, err);
    if (status == GM_OK)
        status = gm_problem_batch_gradient(w->problem, w->theta, 2, index, &loss, gradient, err);
    if (status == GM_OK) {
        gm_train_batch batch = {0, 0.1, 2, index, loss, w->theta, gradient};
        status = gm_gauge_watch_batch(watch, &batch, err);
    }
    gm_gauge_watch_free(watch);
    gm_free(gradient);
    return status;
}

/* A parameter and constants as operands, a layer norm, a softmax: no spec has them. */
static gm_status build_parts(const gm_shape *input, gm_net **net, gm_error *err)
{
    const double numbers[] = {1, 0.5};
    const gm_dense_config dense = {.units = 2, .bias = true};
    const gm_parameter_config shift = {.shape = {1, {2}}};
    const gm_binary_config add = {.function = GM_BINARY_ADD}, times = {.function = GM_BINARY_MUL};
    const gm_layer_norm_config norm = {.axes = 1, .epsilon = 0.1, .affine = true};
    const gm_softmax_config softmax = {.axis = 0, .log = true};
    gm_constant_config fixed = {.shape = {1, {2}}};
    int pair[2] = {0, 0}, *x = &pair[0], *y = &pair[1];
    gm_status status = gm_net_create("parts", input, net, err);
    if (status == GM_OK) status = gm_net_keep(*net, 2, numbers, &fixed.numbers, err);
    if (status == GM_OK) status = gm_net_add(*net, &gm_layer_dense, &dense, 1, x, NULL, x, err);
    if (status == GM_OK) status = gm_net_add(*net, &gm_layer_parameter, &shift, 0, y, NULL, y, err);
    if (status == GM_OK) status = gm_net_add(*net, &gm_layer_binary, &add, 2, pair, NULL, x, err);
    if (status == GM_OK) status = gm_net_add(*net, &gm_layer_layer_norm, &norm, 1, x, NULL, x, err);
    if (status == GM_OK) status = gm_net_add(*net, &gm_layer_constant, &fixed, 0, y, NULL, y, err);
    if (status == GM_OK) status = gm_net_add(*net, &gm_layer_binary, &times, 2, pair, NULL, x, err);
    return status == GM_OK ? gm_net_add(*net, &gm_layer_softmax, &softmax, 1, x, NULL, x, err)
                           : status;
}

/* Of the net by its spec, or of build_parts. */
static gm_status images(const char *spec, gm_error *err)
{
    world w = {0};
    const gm_shape shape = {3, {1, 4, 4}};
    const int32_t label[] = {0, 1, 1};
    double x[3 * 16];
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.chunk = 2;
    gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, 3 * 16, x);
    gm_status status =
        gm_data_from_arrays("images", 3, &shape, x, label, NULL, 0, GM_F64, 2, &w.data, err);
    if (status == GM_OK) {
        status = spec ? gm_net_from_spec(spec, &shape, 2, &w.net, err)
                      : build_parts(&shape, &w.net, err);
    }
    if (status == GM_OK) status = gm_problem_create(w.net, w.data, &options, &w.problem, err);
    w.theta = status == GM_OK
                  ? gm_alloc(gm_net_parameters(w.net), sizeof(double), "parameters", err)
                  : NULL;
    if (w.theta) {
        gm_net_init(w.net, GM_INIT_HE, 7, 0, w.theta);
        status = gm_linearize(w.problem, w.theta, &w.lin, err);
    } else if (status == GM_OK) {
        status = GM_ERR_MEMORY;
    }
    if (status == GM_OK) status = image_matrices(&w, err);
    if (status == GM_OK) status = watch_batch(&w, err);
    close_world(&w);
    return status;
}

static gm_status watching(gm_error *err)
{
    world w = {0};
    gm_status status = open_world(&w, GM_F64, err);
    if (status == GM_OK) status = watch_batch(&w, err);
    close_world(&w);
    return status;
}

/* Tokens, a table that is the last layer's weight too, and labels at two positions. */
static gm_status sequences(gm_error *err)
{
    world w = {0};
    const gm_shape shape = {1, {2}};
    const gm_embedding_config table = {.vocabulary = 3, .width = 2};
    const gm_dense_config out = {.units = 3, .by_position = true};
    const int32_t label[] = {0, 1, GM_LABEL_MASKED, 2, 1, 2};
    const double x[] = {0, 1, 2, 0, 1, 2};
    const size_t index[] = {2, 0};
    gm_dataset *picked = NULL;
    gm_problem_options options;
    gm_problem_options_default(&options);
    options.chunk = 2;
    int node, tied;
    gm_status status =
        gm_data_from_sequences("sequences", 3, &shape, x, 2, label, GM_F32, 3, &w.data, err);
    if (status == GM_OK) status = gm_dataset_select(w.data, 2, index, "two", &picked, err);
    if (status == GM_OK) status = gm_net_create("tied", &shape, &w.net, err);
    if (status == GM_OK) {
        int input = 0;
        status = gm_net_add(w.net, &gm_layer_embedding, &table, 1, &input, NULL, &node, err);
    }
    if (status == GM_OK) {
        status = gm_net_add_tied(w.net, &gm_layer_dense, &out, 1, &node, node, &tied, err);
    }
    if (status == GM_OK) status = gm_problem_create(w.net, w.data, &options, &w.problem, err);
    if (status == GM_OK) {
        w.theta = gm_alloc(6, sizeof(double), "parameters", err);
        status = w.theta ? gm_linearize(w.problem, w.theta, &w.lin, err) : GM_ERR_MEMORY;
    }
    if (status == GM_OK) status = image_matrices(&w, err);
    gm_dataset_free(picked);
    close_world(&w);
    return status;
}

static gm_status straight_images(gm_error *err)
{
    return images("cnn:2", err);
}

static gm_status curved_images(gm_error *err)
{
    return images("cnn:2,act=tanh", err);
}

static gm_status net_of_parts(gm_error *err)
{
    return images(NULL, err);
}

static gm_status residual_net(gm_error *err)
{
    const gm_shape shape = {3, {1, 8, 8}};
    const double mean[] = {0.5};
    const double *kept;
    gm_net *net = NULL;
    gm_status status = gm_net_from_spec("resnet20", &shape, 2, &net, err);
    if (status == GM_OK) status = gm_net_keep(net, 1, mean, &kept, err);
    gm_net_free(net);
    return status;
}

static gm_status generalization(gm_error *err)
{
    world w = {0};
    gm_bound bound = {0};
    double *factor = NULL;
    gm_status status = open_net(&w, "mlp:4-5-3", GM_F32, err);
    if (status == GM_OK) {
        gm_bound_options o;
        gm_bound_options_default(&o);
        o.gibbs.draws = 8;
        o.trial_draws = 2;
        status = gm_bound_measure(w.lin, w.theta, &o, &bound, err);
    }
    if (status == GM_OK) {
        gm_bound probed;
        gm_bound_options o;
        gm_bound_options_default(&o);
        o.gibbs.draws = o.trial_draws = o.diagonal_products = 2;
        o.gibbs.whole = true;
        status = gm_bound_measure(w.lin, w.theta, &o, &probed, err);
        if (status == GM_OK) gm_bound_free(&probed);
    }
    if (status == GM_OK) {
        gm_measures measures;
        gm_measure_options o;
        gm_measure_options_default(&o);
        status = gm_measures_take(w.lin, w.theta, NULL, &o, &measures, err);
    }
    if (status == GM_OK) {
        factor = gm_alloc(gm_net_parameters(w.net), sizeof *factor, "factors", err);
        status = factor ? gm_rescaling_make(w.net, 10.0, 1, 0, factor, NULL, err) : GM_ERR_MEMORY;
    }
    gm_free(factor);
    gm_bound_free(&bound);
    close_world(&w);
    return status;
}

static gm_status all_products(gm_dtype dtype, gm_error *err)
{
    gm_status status = GM_OK;
    for (int kind = 0; kind < GM_CURVATURES && status == GM_OK; kind++) {
        status = products((gm_curvature)kind, dtype, err);
    }
    return status;
}

static gm_status products_f32(gm_error *err)
{
    return all_products(GM_F32, err);
}

static gm_status products_f64(gm_error *err)
{
    return all_products(GM_F64, err);
}

/* Dense matrix, Gram form where there is one, diagonal; eigenvalues of the first. */
static gm_status dense_of(world *w, gm_curvature kind, gm_error *err)
{
    size_t p = gm_net_parameters(w->net), g = gm_gram_size(w->lin, kind);
    double *matrix = gm_alloc(p * p, sizeof(double), "matrix", err);
    double *vector = gm_alloc(2 * p, sizeof(double), "vectors", err);
    double *gram = gm_alloc(g * g, sizeof(double), "gram", err);
    gm_status status = matrix && vector && gram ? GM_OK : GM_ERR_MEMORY;
    if (status == GM_OK) status = gm_curvature_diagonal(w->lin, kind, 0, vector, err);
    if (status == GM_OK) status = gm_curvature_dense(w->lin, kind, GM_ALL_LAYERS, matrix, err);
    if (status == GM_OK) status = gm_symmetric_eigen(p, matrix, 1, 0, vector, vector + p, err);
    if (status == GM_OK && g) {
        status = gm_curvature_gram(w->lin, kind, GM_ALL_LAYERS, gram, err);
        if (status == GM_OK) {
            status = gm_gram_vectors(w->lin, kind, GM_ALL_LAYERS, 1, gram, vector, err);
        }
    }
    gm_free(gram);
    gm_free(vector);
    gm_free(matrix);
    return status;
}

static gm_status dense(gm_error *err)
{
    world w = {0};
    gm_status status = open_world(&w, GM_F64, err);
    for (int kind = 0; kind < GM_CURVATURES && status == GM_OK; kind++) {
        status = dense_of(&w, (gm_curvature)kind, err);
    }
    close_world(&w);
    return status;
}

static gm_status survey_by(gm_decompose_method method, gm_error *err)
{
    world w = {0};
    gm_decomposition result = {0};
    gm_finding finding[GM_FINDINGS];
    gm_decompose_options options;
    gm_decompose_options_default(&options);
    options.method = method;
    options.k = 3;
    options.each_layer = method == GM_DECOMPOSE_DENSE; /* products: the same again and again */
    options.gn_residual = true;
    gm_status status = open_world(&w, GM_F64, err);
    if (status == GM_OK) status = gm_decompose(w.lin, &options, &result, err);
    if (status == GM_OK) status = gm_decompose_findings(1, &result, 0, finding, err);
    gm_decomposition_free(&result);
    close_world(&w);
    return status;
}

static gm_status survey(gm_error *err)
{
    return survey_by(GM_DECOMPOSE_DENSE, err);
}

static gm_status survey_by_products(gm_error *err)
{
    return survey_by(GM_DECOMPOSE_PRODUCTS, err);
}

static gm_status training(gm_error *err)
{
    world w = {0};
    gm_train_result result;
    gm_train_options options;
    gm_train_options_default(&options);
    options.steps = 6;
    options.batch = 4;
    options.momentum = 0.5;
    options.replacement = GM_REPLACEMENT_EPOCH;
    gm_status status = open_world(&w, GM_F32, err);
    if (status == GM_OK) {
        status = gm_train(w.problem, NULL, &options, NULL, NULL, w.theta, &result, err);
    }
    close_world(&w);
    return status;
}

/* An ensemble on tiles, with sketches, through a run file, and one by problems of the workers' own.
 */
static gm_status ensemble_of(gm_problem *problem, const double *theta, bool general, gm_error *err)
{
    char path[64];
    snprintf(path, sizeof path, "out_of_memory_ensemble_%ld.gmr", (long)getpid());
    gm_ensemble_options o;
    gm_ensemble_options_default(&o);
    o.runs = 3;
    o.train.steps = 2;
    o.train.batch = 4;
    o.train.replacement = GM_REPLACEMENT_NO;
    o.train.momentum = 0.5;
    o.exact_runs = general ? 3 : 0;
    o.record |= 1u << GM_QUANTITY_NOISE_TRACE;
    o.general = general;
    o.keep = (const uint32_t[]){1};
    o.keeps = 1;
    gm_ensemble *e = NULL, *back = NULL;
    gm_ensemble_state state = {0};
    gm_ensemble_summary summary;
    gm_run *run = NULL;
    int64_t id = 0;
    double bins[4], below, above;
    gm_status status = gm_ensemble_create(problem, NULL, &o, theta, &e, err);
    if (status == GM_OK) status = gm_ensemble_run(e, NULL, err);
    if (status == GM_OK) status = gm_ensemble_summarize(e, GM_QUANTITY_LOSS, 1, &summary, err);
    if (status == GM_OK)
        status = gm_ensemble_histogram(e, GM_QUANTITY_LOSS, 1, 0, 9, 4, bins, &below, &above, err);
    if (status == GM_OK) status = gm_ensemble_save(e, &state, err);
    if (status == GM_OK) status = gm_run_create(path, true, NULL, 0, &run, err);
    if (status == GM_OK) {
        gm_run_result result = {.command = "dynamics", .step = 0, .key = "", .json = "{}"};
        status = gm_run_add_result(run, &result, state.array, state.arrays, &id, err);
    }
    if (status == GM_OK) status = gm_ensemble_create(problem, NULL, &o, theta, &back, err);
    if (status == GM_OK) status = gm_ensemble_load(back, run, id, err);
    gm_ensemble_state_free(&state);
    gm_run_close(run);
    gm_ensemble_free(back);
    gm_ensemble_free(e);
    unlink(path);
    return status;
}

static gm_status ensemble(gm_error *err)
{
    world w = {0};
    gm_status status = open_world(&w, GM_F32, err);
    if (status == GM_OK) status = ensemble_of(w.problem, w.theta, false, err);
    if (status == GM_OK) status = ensemble_of(w.problem, w.theta, true, err);
    close_world(&w);
    return status;
}

/* A run file written by a training, read back. */
static gm_status recording(gm_error *err)
{
    char path[64];
    snprintf(path, sizeof path, "out_of_memory_%ld.gmr", (long)getpid());
    world w = {0};
    gm_run *run = NULL;
    gm_run_state *state = NULL;
    gm_setting setting = {"note", "six steps"}, *settings = NULL;
    gm_train_result result;
    gm_train_options options;
    gm_train_options_default(&options);
    options.steps = 6;
    options.batch = 4;
    size_t count;
    gm_status status = open_world(&w, GM_F64, err);
    if (status == GM_OK) status = gm_run_create(path, true, &setting, 1, &run, err);
    if (status == GM_OK) {
        status = gm_train(w.problem, w.problem, &options, NULL, run, w.theta, &result, err);
    }
    gm_run_close(run);
    run = NULL;
    if (status == GM_OK) status = gm_run_open(path, GM_RUN_READ, &run, err);
    if (status == GM_OK) status = gm_run_load_state(run, &state, err);
    if (status == GM_OK) status = gm_run_settings(run, &settings, &count, err);
    gm_run_free(settings);
    gm_run_free(state);
    gm_run_close(run);
    close_world(&w);
    unlink(path);
    return status;
}

/* Adam and every preconditioner. */
static gm_status optimizers(gm_error *err)
{
    gm_status status = GM_OK;
    for (int i = GM_PRECONDITION_NONE; i <= GM_PRECONDITION_DIAG_HESSIAN && status == GM_OK; i++) {
        world w = {0};
        gm_train_result result;
        gm_train_options options;
        gm_train_options_default(&options);
        options.steps = 3;
        options.batch = 4;
        options.precondition = (gm_precondition)i;
        if (i == GM_PRECONDITION_NONE) options.optimizer = GM_OPTIMIZER_ADAM;
        status = open_world(&w, i % 2 ? GM_F32 : GM_F64, err);
        if (status == GM_OK) {
            status = gm_train(w.problem, NULL, &options, NULL, NULL, w.theta, &result, err);
        }
        close_world(&w);
    }
    return status;
}

/* The divisor of a training, read from its run file. */
static gm_status divisor(gm_error *err)
{
    char path[64];
    snprintf(path, sizeof path, "out_of_memory_%ld.gmr", (long)getpid());
    world w = {0};
    gm_run *run = NULL;
    double *diagonal = NULL;
    char *what = NULL;
    size_t p;
    gm_train_result result;
    gm_train_options options;
    gm_train_options_default(&options);
    options.steps = 1;
    options.batch = 4;
    options.precondition = GM_PRECONDITION_RMSPROP;
    gm_status status = open_world(&w, GM_F64, err);
    if (status == GM_OK) status = gm_run_create(path, true, NULL, 0, &run, err);
    if (status == GM_OK) {
        status = gm_train(w.problem, NULL, &options, NULL, run, w.theta, &result, err);
    }
    if (status == GM_OK) status = gm_precondition_from_run(run, &diagonal, &p, &what, err);
    gm_run_free(diagonal);
    gm_run_free(what);
    gm_run_close(run);
    close_world(&w);
    unlink(path);
    return status;
}

/* A tracker on a net that is too large for the solver to form the matrix, saved and loaded. */
static gm_status tracking(gm_error *err)
{
    char path[64];
    snprintf(path, sizeof path, "out_of_memory_%ld.gmr", (long)getpid());
    world w = {0};
    gm_run *run = NULL;
    gm_tracker *tracker = NULL, *next = NULL;
    gm_track_options o;
    gm_track_options_default(&o);
    gm_status status = open_net(&w, "mlp:4-30-3,act=tanh", GM_F32, err);
    if (status == GM_OK) status = gm_track_options_parse("spectrum:k=1,n=6,products=12", &o, err);
    if (status == GM_OK) status = gm_track_options_resolve(&o, w.problem, err);
    if (status == GM_OK) status = gm_tracker_create(w.problem, &o, 0, 100, &tracker, err);
    if (status == GM_OK) status = gm_tracker_create(w.problem, &o, 0, 100, &next, err);
    for (uint64_t t = 0; t <= 100 && status == GM_OK; t += 50) {
        status = gm_tracker_measure(tracker, t, w.theta, err);
    }
    if (status == GM_OK) status = gm_run_create(path, true, NULL, 0, &run, err);
    if (status == GM_OK) status = gm_tracker_save(tracker, run, err);
    if (status == GM_OK) status = gm_tracker_load(next, run, err);
    gm_tracker_free(next);
    gm_tracker_free(tracker);
    gm_run_close(run);
    close_world(&w);
    unlink(path);
    return status;
}

static gm_status load_and_scale(const char *path, gm_error *err)
{
    static const double scale[3] = {1, 2, 0.5}, v[6] = {1, 1, 1, 0, 1, 0};
    double av[6];
    gm_operator matrix = {0}, op = {0};
    gm_status status = gm_operator_load(path, 0, &matrix, err);
    if (status == GM_OK) status = gm_operator_scaled(&matrix, scale, &op, err);
    if (status == GM_OK) status = gm_operator_apply(&op, 1, v, av, err);
    if (status == GM_OK) status = gm_operator_apply(&op, 2, v, av, err);
    gm_operator_destroy(&op);
    gm_operator_destroy(&matrix);
    return status;
}

/* Matrices from files, sparse and dense, scaled. */
static gm_status matrices(gm_error *err)
{
    static const char *const text[] = {
        "%%MatrixMarket matrix coordinate real symmetric\n3 3 2\n1 1 2\n3 1 1\n",
        "%%MatrixMarket matrix array real symmetric\n3 3\n1\n0\n0\n1\n0\n1\n"};
    char path[64];
    gm_status status = GM_OK;
    snprintf(path, sizeof path, "out_of_memory_%ld.mtx", (long)getpid());
    for (int i = 0; i < 2 && status == GM_OK; i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(text[i], file);
        assert_int_equal(fclose(file), 0);
        status = load_and_scale(path, err);
    }
    unlink(path);
    return status;
}

static gm_status resampling(gm_error *err)
{
    world w = {0};
    gm_dataset *labels = NULL, *targets = NULL;
    gm_status status = open_world(&w, GM_F32, err);
    if (status == GM_OK) status = gm_dataset_resample(w.data, 1, 2, &labels, err);
    if (status == GM_OK) status = gm_dataset_one_hot(labels, err);
    if (status == GM_OK) status = gm_dataset_resample(labels, 1, 3, &targets, err);
    gm_dataset_free(targets);
    gm_dataset_free(labels);
    close_world(&w);
    return status;
}

/* The model of a step, exact and estimated, what is drawn from it, and the gauges. */
static gm_status one_step(gm_error *err)
{
    static const double level[] = {0.5, 0.9};
    world w = {0};
    gm_step_model model = {0};
    gm_step_options o;
    gm_draw_options draw;
    gm_gauge_options gauge;
    gm_gauges gauges;
    double value[2], delta[3], divisor[64];
    for (int i = 0; i < 64; i++) {
        divisor[i] = 2.0;
    }
    gm_step_options_default(&o);
    gm_draw_options_default(&draw);
    gm_gauge_options_default(&gauge);
    o.probes = 4;
    draw.batch = gauge.batch = 3;
    draw.replacement = gauge.replacement = GM_REPLACEMENT_NO;
    draw.draws = 3;
    gauge.draws = 2;
    gm_status status = open_world(&w, GM_F32, err);
    o.divisor = draw.divisor = gauge.divisor = divisor;
    for (int way = 0; way < 4 && status == GM_OK; way++) {
        o.exact_samples = way % 2 ? 2000 : 0;
        o.trace_only = way < 2;
        gm_step_model_free(&model);
        status = gm_step_model_make(w.lin, &o, &model, err);
    }
    if (status == GM_OK) {
        status = gm_step_quantiles(&model, 3, true, 0.1, 5, 1, 2, level, value, err);
    }
    if (status == GM_OK) status = gm_step_draw(w.problem, w.theta, &draw, delta, err);
    if (status == GM_OK) status = gm_gauges_measure(w.lin, &model, &gauge, &gauges, err);
    gm_step_model_free(&model);
    close_world(&w);
    return status;
}

/* Mean-square stability: a span cut from more, runs. */
static gm_status stability(gm_error *err)
{
    world w = {0};
    gm_span span = {0};
    gm_span_options o;
    gm_stability_limits limits;
    gm_stability_runs runs;
    gm_stability_seen seen;
    double first, error, growth;
    gm_span_options_default(&o);
    gm_stability_runs_default(&runs);
    runs.runs = 2;
    runs.horizon = 1;
    o.k = 4;
    gm_status status = open_world(&w, GM_F32, err);
    if (status == GM_OK) status = gm_span_make(w.lin, &o, &span, err);
    if (status == GM_OK) status = gm_stability_limits_find(&span, 0.5, &limits, err);
    if (status == GM_OK) status = gm_stability_growth(&span, 0.5, 0.1, &growth, &first, err);
    if (status == GM_OK) {
        status = gm_stability_first(w.lin, 0.5, 0.1, 1e-3, 0, &first, &error, err);
    }
    if (status == GM_OK) status = gm_stability_observe(w.lin, &span, &runs, NULL, &seen, err);
    if (status == GM_OK)
        status = gm_stability_observe_net(w.problem, w.theta, &span, &runs, NULL, &seen, err);
    gm_span_free(&span);
    close_world(&w);
    return status;
}

/* A slice of five points: its model, its values, and three points placed on it. */
static gm_status slices(gm_error *err)
{
    world w = {0};
    gm_landscape_model model;
    gm_landscape_slice s = {.dimensions = 1, .count = 5};
    double at[5] = {-1, -0.5, 0, 0.5, 1}, value[4][5], share;
    const gm_landscape_values values = {value[0], value[1], value[2], value[3]};
    size_t done, p = 0;
    double *points = NULL;
    gm_status status = open_world(&w, GM_F32, err);
    if (status == GM_OK) {
        p = gm_net_parameters(w.net);
        points = gm_alloc(4 * p, sizeof *points, "points", err);
        if (!points) status = GM_ERR_MEMORY;
    }
    if (status == GM_OK) {
        gm_normal_fill(gm_stream_of(1, GM_PURPOSE_TEST, 0), 0, 3 * p, points);
        s.origin = w.theta;
        s.direction = points + 3 * p;
        s.coordinate = at;
        status = gm_landscape_plane(3, p, points, 1, points + 3 * p, &share, err);
    }
    if (status == GM_OK) status = gm_landscape_model_make(w.lin, 1, s.direction, &model, err);
    if (status == GM_OK)
        status = gm_landscape_evaluate(w.problem, w.problem, &s, NULL, &values, &done, err);
    if (status == GM_OK)
        status = gm_landscape_project(3, p, points, &s, value[0], value[1], &share, err);
    gm_free(points);
    close_world(&w);
    return status;
}

static void test_slices(void **unused)
{
    (void)unused;
    fail_every_allocation(slices, 30);
}

/* A net's parameters out to a file of tensors and back. */
static gm_status parameter_files(gm_error *err)
{
    world w = {0};
    gm_error note;
    char path[64];
    snprintf(path, sizeof path, "/tmp/gradiometer-oom-%ld.safetensors", (long)getpid());
    gm_status status = gm_net_from_spec("mlp:4-5-3", NULL, 0, &w.net, err);
    double theta[43] = {0.5};
    if (status == GM_OK) status = gm_net_name_tensor(w.net, 1, 0, "body.weight", err);
    size_t group;
    if (status == GM_OK) status = gm_net_add_group(w.net, "body*", &group, err);
    if (status == GM_OK) status = gm_net_add_group(w.net, "*.bias", &group, err);
    if (status == GM_OK) status = gm_net_write_parameters(w.net, path, theta, err);
    if (status == GM_OK) status = gm_net_read_parameters(w.net, path, theta, &note, err);
    close_world(&w);
    unlink(path);
    return status;
}

/* An archive of 70 arrays, more than its list has room for at first, and a text. */
static gm_status archive(gm_error *err)
{
    char path[64];
    gm_npz *npz = NULL;
    const double value[2] = {1, 2};
    const size_t two = 2;
    snprintf(path, sizeof path, "/tmp/gradiometer-oom-%ld.npz", (long)getpid());
    gm_status status = gm_npz_create(path, UINT32_MAX, &npz, err);
    for (int i = 0; status == GM_OK && i < 70; i++) {
        status = gm_npz_add(npz, "value", GM_NPY_F8, 1, &two, value, err);
    }
    if (status == GM_OK) status = gm_npz_add_text(npz, "text", "x", err);
    if (status == GM_OK) status = gm_npz_commit(&npz, err);
    gm_npz_discard(&npz);
    unlink(path);
    return status;
}

static void test_archive(void **unused)
{
    (void)unused;
    fail_every_allocation(archive, 75);
}

/* A transformer from a file: messages, constants that its graph computes, layers of every room. */
static gm_status onnx_model(gm_error *err)
{
    gm_onnx *model;
    gm_onnx_options options;
    gm_onnx_options_default(&options);
    options.constants = "*.mask,wpe.*";
    gm_status status = gm_onnx_load(GM_FIXTURES "/onnx-gpt/net.onnx", &options, &model, err);
    gm_onnx_free(model);
    return status;
}

static void test_onnx(void **unused)
{
    (void)unused;
    fail_every_allocation(onnx_model, 500);
}

static void test_parameter_files(void **unused)
{
    (void)unused;
    fail_every_allocation(parameter_files, 20);
}

static void test_stability(void **unused)
{
    (void)unused;
    fail_every_allocation(stability, 100);
}

static void test_one_step(void **unused)
{
    (void)unused;
    fail_every_allocation(one_step, 100);
}

static void test_bounds(void **unused)
{
    (void)unused;
    fail_every_allocation(generalization, 40);
}

static void test_images(void **unused)
{
    (void)unused;
    fail_every_allocation(watching, 30);
    fail_every_allocation(straight_images, 60);
    fail_every_allocation(curved_images, 60);
    fail_every_allocation(residual_net, 60);
    fail_every_allocation(sequences, 60);
    fail_every_allocation(net_of_parts, 60);
}

static void test_products(void **unused)
{
    (void)unused;
    fail_every_allocation(products_f32, 60);
    fail_every_allocation(products_f64, 60);
}

static void test_dense(void **unused)
{
    (void)unused;
    fail_every_allocation(dense, 20);
}

static void test_survey(void **unused)
{
    (void)unused;
    fail_every_allocation(survey, 40);
    fail_every_allocation(survey_by_products, 40);
}

/* Policies that look at theta_t. */
static gm_status policies(gm_error *err)
{
    static const char *const words[] = {"oracle-model", "estimated", "oracle"};
    static const size_t index[] = {3, 1, 4};
    world w = {0};
    gm_status status = open_world(&w, GM_F64, err);
    for (int i = 0; i < 3 && status == GM_OK; i++) {
        gm_policy policy;
        gm_stepper *stepper = NULL;
        gm_step_choice choice;
        double step, loss, gradient[64];
        status = gm_policy_parse(words[i], &policy, &step, err);
        if (status == GM_OK) {
            status =
                gm_stepper_create(w.problem, &policy, 3, GM_REPLACEMENT_NO, 1, 0, &stepper, err);
        }
        if (status == GM_OK) status = gm_stepper_start(stepper, w.theta, NULL, err);
        if (status == GM_OK) status = gm_stepper_choose(stepper, 0, w.theta, NULL, &choice, err);
        if (status == GM_OK) {
            status = gm_stepper_gradient(stepper, 0, w.theta, 3, index, NULL, &loss, gradient, err);
        }
        gm_stepper_free(stepper);
    }
    close_world(&w);
    return status;
}

static void test_policies(void **unused)
{
    (void)unused;
    fail_every_allocation(policies, 100);
}

static void test_training(void **unused)
{
    (void)unused;
    fail_every_allocation(training, 12);
    fail_every_allocation(ensemble, 100);
}

static void test_recording(void **unused)
{
    (void)unused;
    fail_every_allocation(recording, 15);
}

static void test_optimizers(void **unused)
{
    (void)unused;
    fail_every_allocation(optimizers, 60);
}

static void test_divisor(void **unused)
{
    (void)unused;
    fail_every_allocation(divisor, 20);
}

static void test_tracking(void **unused)
{
    (void)unused;
    fail_every_allocation(tracking, 60);
}

static void test_matrices(void **unused)
{
    (void)unused;
    fail_every_allocation(matrices, 20);
}

static void test_resampling(void **unused)
{
    (void)unused;
    fail_every_allocation(resampling, 30);
}

/* A density with one eigenpair known beforehand, and what is read off its nodes. */
static gm_status density_pipeline(gm_error *err)
{
    const double a[9] = {3, 0, 0, 0, 2, 1, 0, 1, 2}, value = 3, vector[3] = {1, 0, 0};
    gm_operator op = {0};
    gm_quadrature q = {0};
    gm_quadrature_options options;
    gm_estimate norm;
    gm_count_result count;
    double edge[5], mass[4];
    gm_quadrature_options_default(&options);
    options.deflated = 1;
    options.deflated_value = &value;
    options.deflated_vector = vector;
    gm_status status = gm_operator_dense(3, a, &op, err);
    if (status == GM_OK) status = gm_quadrature_make(&op, &options, &q, err);
    if (status == GM_OK) status = gm_quadrature_frobenius(&q, &norm, err);
    if (status == GM_OK) status = gm_quadrature_count(&q, 0, 2, &count, err);
    if (status == GM_OK) {
        double width = gm_density_width(&q);
        gm_density_edges(&q, width, 4, edge);
        status = gm_density_mass(&q, width, 4, edge, mass, NULL, NULL, err);
    }
    gm_quadrature_free(&q);
    gm_operator_destroy(&op);
    return status;
}

static void test_density(void **unused)
{
    (void)unused;
    fail_every_allocation(density_pipeline, 12);
}

/* Three sketches with growing bases, both diagonals, and a linear system. */
static gm_status estimate_pipeline(gm_error *err)
{
    double a[144] = {0}, b[12] = {1, 2}, x[12], error[12];
    gm_operator op = {0};
    gm_estimate_options options;
    gm_trace_result trace;
    gm_diagonal_result diagonal;
    gm_solve_options solve;
    gm_solve_result solved;
    for (size_t i = 0; i < 12; i++) {
        a[13 * i] = 1 + (double)i;
        a[i] = a[12 * i] = 1;
    }
    gm_estimate_options_default(&options);
    gm_solve_options_default(&solve);
    options.max_products = 33;
    options.rel_error = 1e-9;
    gm_status status = gm_operator_dense(12, a, &op, err);
    for (int m = 0; m < 3 && status == GM_OK; m++) {
        status = gm_trace_estimate(&op, (gm_trace_method)m, &options, &trace, err);
    }
    for (int m = 0; m < 2 && status == GM_OK; m++) {
        status =
            gm_diagonal_estimate(&op, (gm_diagonal_method)m, &options, x, error, &diagonal, err);
    }
    if (status == GM_OK) status = gm_solve(&op, b, &solve, x, &solved, err);
    gm_operator_destroy(&op);
    return status;
}

static void test_estimates(void **unused)
{
    (void)unused;
    fail_every_allocation(estimate_pipeline, 50);
}

/* A posterior optimized for a few steps, and its certificate. */
static gm_status posterior(gm_error *err)
{
    world w = {0};
    gm_optimize_options oo;
    gm_optimize_result result;
    gm_certificate_options co;
    gm_certificate certificate;
    double *array = NULL;
    gm_optimize_options_default(&oo);
    gm_certificate_options_default(&co);
    oo.steps = 2;
    oo.batch = 3;
    co.rounds = 1;
    gm_status status = open_world(&w, GM_F32, err);
    if (status == GM_OK) {
        size_t p = gm_net_parameters(w.net);
        array = gm_alloc(4 * p, sizeof *array, "posterior", err);
        if (!array) status = GM_ERR_MEMORY;
        if (array) {
            double *unit = array, *theta = array + p, *ratio = array + 2 * p;
            memcpy(theta, w.theta, p * sizeof *theta);
            oo.learned = array + 3 * p;
            for (size_t j = 0; j < p; j++) {
                ratio[j] = 1;
            }
            status = gm_prior_unit(w.net, w.theta, NULL, unit, err);
            if (status == GM_OK) {
                status = gm_posterior_optimize(w.problem, w.theta, unit, 0.5, &oo, theta, ratio,
                                               &result, err);
            }
            if (status == GM_OK) {
                gm_gaussians g = {p, w.theta, unit, 0.5, theta, ratio};
                status = gm_certificate_measure(w.problem, &g, &co, &certificate, err);
            }
        }
    }
    gm_free(array);
    close_world(&w);
    return status;
}

static void test_posterior(void **unused)
{
    (void)unused;
    fail_every_allocation(posterior, 60);
}

/* A bootstrap over clusters and the sign errors of a small table. */
static gm_status comparison(gm_error *err)
{
    const double x[6] = {1, 2, 3, 4, 5, 6}, n[6] = {100, 100, 100, 100, 100, 100};
    const size_t level[6] = {0, 0, 1, 1, 2, 2};
    const gm_run_table table = {6, 1, level, x, n};
    gm_rank_options options;
    gm_rank rank;
    gm_robust robust;
    gm_rank_options_default(&options);
    gm_status status = gm_rank_correlate(6, x, x, level, &options, &rank, err);
    if (status == GM_OK) status = gm_robust_scores(&table, x, 0.5, &robust, err);
    if (status == GM_OK) gm_robust_free(&robust);
    return status;
}

/* --- vectors in shares, those of one rank --- */

static gm_status take_row(void *context, size_t count, const double *values, gm_error *err)
{
    (void)context, (void)count, (void)values, (void)err;
    return GM_OK;
}

static gm_status run_rows(gm_error *err)
{
    static const double a[4] = {2, 1, 1, 2}, v[4] = {1, 1, 1, -1}, value[2] = {3, 1};
    gm_operator op = {0};
    gm_row_product product = {0};
    double residual[2], *whole = NULL;
    gm_status status = gm_operator_dense(2, a, &op, err);
    if (status == GM_OK) status = gm_row_product_make(NULL, &op, &product, err);
    if (status == GM_OK) status = gm_row_residuals(&product, 2, value, v, residual, err);
    if (status == GM_OK) status = gm_rows_whole(&product.rows, 2, v, &whole, err);
    if (status == GM_OK) status = gm_rows_deliver(&product.rows, v, take_row, NULL, err);
    gm_free(whole);
    gm_row_product_free(&product);
    gm_operator_destroy(&op);
    return status;
}

static void test_rows(void **unused)
{
    (void)unused;
    fail_every_allocation(run_rows, 6);
}

static void test_comparison(void **unused)
{
    (void)unused;
    fail_every_allocation(comparison, 6);
}

/* The file of a study read and expanded, its index written and read back. */
static gm_status studies(gm_error *err)
{
    static const gm_study_place place = {
        .folder = "test_out_of_memory_study", .data_dir = "data", .threads = 1, .memory = 5};
    gm_study *study = NULL;
    gm_study_plan plan = {0};
    json_t *index = NULL;
    gm_status status = gm_study_load("test_out_of_memory_study/study.yaml", &study, err);
    if (status == GM_OK) status = gm_study_expand(study, &place, &plan, err);
    if (status == GM_OK) status = gm_study_scan(place.folder, &plan, err);
    if (status == GM_OK) status = gm_study_index_write(place.folder, &plan, &place, err);
    if (status == GM_OK) status = gm_study_index_load(place.folder, &index, err);
    json_decref(index);
    gm_study_plan_free(&plan);
    gm_study_free(study);
    return status;
}

static void test_studies(void **unused)
{
    (void)unused;
    mkdir("test_out_of_memory_study", 0777);
    FILE *file = fopen("test_out_of_memory_study/study.yaml", "w");
    assert_non_null(file);
    fputs("name: s\ndata: [{name: g, train: 'npy:$DATA/x'}]\nmodel: [m]\nstep: [0.1 --a]\n"
          "measure: [{run: bound}]\n",
          file);
    fclose(file);
    fail_every_allocation(studies, 40);
    unlink("test_out_of_memory_study/study.yaml");
    unlink("test_out_of_memory_study/index.json");
    rmdir("test_out_of_memory_study");
}

/* --- two ranks, of which one runs out of memory --- */

typedef struct shared_world {
    world w;
    gm_operator op;
    double *v; /* [2, p] */
    gm_status status;
    gm_error err;
} shared_world;

static gm_status open_shared(const gm_team *team, shared_world *s)
{
    gm_data_options data;
    gm_problem_options options;
    world *w = &s->w;
    gm_data_options_default(&data);
    gm_problem_options_default(&options);
    data.subset = 11;
    data.random_labels = 0.2;
    data.standardize = data.share = true;
    data.team = options.team = team;
    options.chunk = 4;
    gm_status status = gm_data_load("gauss:k=3,d=4,n=13", &data, &w->data, &s->err);
    if (status == GM_OK)
        status = gm_net_from_spec("mlp:4-5-3", &w->data->shape, 3, &w->net, &s->err);
    if (status == GM_OK)
        status = gm_problem_create(w->net, w->data, &options, &w->problem, &s->err);
    if (status != GM_OK) return status;
    size_t p = gm_net_parameters(w->net);
    w->theta = gm_alloc(p, sizeof(double), "parameters", &s->err);
    s->v = gm_alloc(2 * p, sizeof(double), "vectors", &s->err);
    if (!w->theta || !s->v) return GM_ERR_MEMORY;
    gm_net_init(w->net, GM_INIT_HE, 7, 0, w->theta);
    return gm_linearize(w->problem, w->theta, &w->lin, &s->err);
}

/* Sums of samples in shares, and probes. */
static gm_status measure_shared(const gm_team *team, shared_world *s)
{
    size_t p = gm_net_parameters(s->w.net);
    double identity[4] = {1, 0, 0, 1};
    gm_operator alone = {0}; /* each rank's own: probes of it are shared out */
    gm_estimate_options options;
    gm_trace_result trace;
    gm_estimate_options_default(&options);
    options.max_products = 6;
    options.team = team;
    gm_status status = gm_curvature_operator(s->w.lin, GM_HESSIAN, GM_ALL_LAYERS, &s->op, &s->err);
    if (status == GM_OK) status = gm_operator_apply(&s->op, 1, s->v, s->v + p, &s->err);
    if (status == GM_OK)
        status = gm_curvature_diagonal(s->w.lin, GM_GGN, GM_ALL_LAYERS, s->v, &s->err);
    if (status == GM_OK) status = gm_operator_dense(2, identity, &alone, &s->err);
    if (status == GM_OK)
        status = gm_trace_estimate(&alone, GM_TRACE_HUTCHINSON, &options, &trace, &s->err);
    gm_operator_destroy(&alone);
    return status;
}

static void work_shared(const gm_team *team, void *data)
{
    shared_world *s = data;
    omp_set_num_threads(1);
    s->status = open_shared(team, s);
    if (s->status == GM_OK) s->status = measure_shared(team, s);
    if (s->status != GM_OK) team_leave(team);
    gm_operator_destroy(&s->op);
    gm_free(s->v);
    close_world(&s->w);
}

static gm_status by_ranks(gm_error *err)
{
    shared_world both[2] = {0};
    void *data[] = {&both[0], &both[1]};
    team_run(2, work_shared, data);
    int failed = both[1].status == GM_ERR_MEMORY; /* the other one may fail of what it then lacks */
    *err = both[failed].err;
    return both[failed].status;
}

static void test_ranks(void **unused)
{
    (void)unused;
    fail_every_allocation(by_ranks, 60);
}

/* Two runs compared, with a figure that they have numbers for. */
static gm_status reports(gm_error *err)
{
    static const char *const path[] = {"test_out_of_memory_a.gmr", "test_out_of_memory_b.gmr"};
    char *html = NULL;
    size_t size;
    FILE *page = open_memstream(&html, &size);
    gm_status status = gm_report_compare(2, path, NULL, page, err);
    fclose(page);
    free(html);
    return status;
}

static void test_reports(void **unused)
{
    (void)unused;
    static const char *const path[] = {"test_out_of_memory_a.gmr", "test_out_of_memory_b.gmr"};
    static const gm_metric metric[] = {{0, "loss", 2.0}, {9, "loss", 1.0}};
    gm_error err = {0};
    for (int i = 0; i < 2; i++) {
        gm_setting setting = {"train.batch", i ? "5" : "50"};
        gm_run *run = NULL;
        assert_int_equal(gm_run_create(path[i], true, &setting, 1, &run, &err), GM_OK);
        assert_int_equal(gm_run_add_metrics(run, metric, 2, &err), GM_OK);
        gm_run_close(run);
    }
    fail_every_allocation(reports, 60);
    unlink(path[0]);
    unlink(path[1]);
}

int main(int argc, char **argv)
{
    omp_set_num_threads(1); /* which of several meets the end of memory would be chance */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),  cmocka_unit_test(test_dense),
        cmocka_unit_test(test_survey),    cmocka_unit_test(test_training),
        cmocka_unit_test(test_recording), cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_density),   cmocka_unit_test(test_resampling),
        cmocka_unit_test(test_estimates), cmocka_unit_test(test_optimizers),
        cmocka_unit_test(test_divisor),   cmocka_unit_test(test_tracking),
        cmocka_unit_test(test_one_step),  cmocka_unit_test(test_comparison),
        cmocka_unit_test(test_stability), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_policies),  cmocka_unit_test(test_posterior),
        cmocka_unit_test(test_images),    cmocka_unit_test(test_parameter_files),
        cmocka_unit_test(test_onnx),      cmocka_unit_test(test_slices),
        cmocka_unit_test(test_archive),   cmocka_unit_test(test_studies),
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_reports),
        cmocka_unit_test(test_ranks),
    };
    return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "out of memory");
}
