/* Our side of the comparison with PyTorch (bench/peers.sh): one setting in one process, so that its
 * peak memory is its own.
 *
 *     peers_gradiometer products DIR MODEL f32|f64 THREADS ROUNDS
 *     peers_gradiometer dense    DIR MODEL f32|f64 THREADS ROUNDS
 *
 * Reads DIR/x.npy, y.npy, theta.npy and, for the products, v.npy; writes what it computed there as
 * hv, gv, mv and gradient (and, of an ONNX file's own parameters, stored), or hessian and
 * eigenvalues, with the precision before .npy. One JSON line on stdout: seconds of every round and
 * memory in bytes. */
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/startup.h"
#include "data/npy.h"
#include "gradiometer/curvature.h"
#include "gradiometer/onnx.h"
#include "kernels/lapack.h"

typedef struct setting {
    const char *dir;
    int rounds;
    gm_dtype dtype;
    gm_net *net;
    gm_onnx *onnx; /* the file that net belongs to, or NULL */
    gm_dataset *data;
    gm_problem *problem;
    size_t p;
    double *theta; /* [p] */
} setting;

static void check(gm_status status, const gm_error *err)
{
    if (status == GM_OK) return;
    fprintf(stderr, "peers_gradiometer: %s\n", err->message);
    exit(gm_status_exit(status));
}

/* A number of /proc/self/status in bytes. VmHWM, unlike ru_maxrss, starts anew with the program. */
static json_t *memory(const char *key)
{
    char line[256];
    double kilobytes = 0.0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)) == 0) kilobytes = strtod(line + strlen(key) + 1, NULL);
    }
    if (file) fclose(file);
    return json_real(1024 * kilobytes);
}

/* DIR/name.npy to read, DIR/name_f64.npy to write. */
static char *path_of(const setting *s, const char *name, bool ours)
{
    gm_error err = {0};
    char *path = ours ? gm_format(&err, "%s/%s_%s.npy", s->dir, name, gm_dtype_name(s->dtype))
                      : gm_format(&err, "%s/%s.npy", s->dir, name);
    if (!path) check(GM_ERR_MEMORY, &err);
    return path;
}

static double *read_parameters(const setting *s, const char *name)
{
    gm_error err = {0};
    double *values;
    size_t count;
    char *path = path_of(s, name, false);
    check(gm_npy_read_vector(path, &values, &count, &err), &err);
    gm_free(path);
    if (count != s->p) {
        check(gm_fail(&err, GM_ERR_INPUT, "%s.npy: %zu numbers, expected %zu parameters", name,
                      count, s->p),
              &err);
    }
    return values;
}

static void write_array(const setting *s, const char *name, int rank, const size_t *dim,
                        const double *values)
{
    gm_error err = {0};
    char *path = path_of(s, name, true);
    check(gm_npy_write(path, GM_NPY_F8, rank, dim, values, &err), &err);
    gm_free(path);
}

static void open_setting(setting *s, const char *model)
{
    gm_error err = {0};
    gm_data_options data;
    gm_problem_options problem;
    gm_data_options_default(&data);
    gm_problem_options_default(&problem);
    if (gm_onnx_names_model(model)) {
        gm_onnx_options options;
        gm_onnx_options_default(&options);
        check(gm_onnx_load(model, &options, &s->onnx, &err), &err);
        s->net = s->onnx->net;
    } else {
        check(gm_net_from_spec(model, NULL, 0, &s->net, &err), &err);
    }
    s->p = gm_net_parameters(s->net);
    data.dtype = s->dtype;
    data.classes = gm_net_outputs(s->net);
    char *spec = gm_format(&err, "npy:%s/x.npy,%s/y.npy", s->dir, s->dir);
    if (!spec) check(GM_ERR_MEMORY, &err);
    check(gm_data_load(spec, &data, &s->data, &err), &err);
    gm_free(spec);
    check(gm_problem_create(s->net, s->data, &problem, &s->problem, &err), &err);
    s->theta = read_parameters(s, "theta");
}

static void close_setting(setting *s)
{
    gm_problem_free(s->problem);
    gm_dataset_free(s->data);
    if (!s->onnx) gm_net_free(s->net);
    gm_onnx_free(s->onnx);
    gm_free(s->theta);
}

static void append(json_t *document, const char *key, double seconds)
{
    json_t *list = json_object_get(document, key);
    if (!list) json_object_set_new(document, key, list = json_array());
    json_array_append_new(list, json_real(seconds));
}

/* One product with H, G, M and one gradient a round, after one of each that is not timed. */
static void products(const setting *s, json_t *document)
{
    static const gm_curvature kind[] = {GM_HESSIAN, GM_GGN, GM_MOMENT};
    static const char *const key[] = {"hv", "gv", "mv", "gradient"};
    enum { KINDS = 3 };
    gm_error err = {0};
    gm_linearization *lin;
    gm_operator op[KINDS];
    double *v = read_parameters(s, "v"), *result = gm_alloc(4 * s->p, sizeof *v, "bench", &err);
    if (!result) check(GM_ERR_MEMORY, &err);
    check(gm_linearize(s->problem, s->theta, &lin, &err), &err);
    for (int i = 0; i < KINDS; i++) {
        check(gm_curvature_operator(lin, kind[i], GM_ALL_LAYERS, &op[i], &err), &err);
    }
    for (int r = -1; r < s->rounds; r++) {
        for (size_t i = 0; i <= KINDS; i++) {
            double start = omp_get_wtime();
            check(i < KINDS ? gm_operator_apply(&op[i], 1, v, result + i * s->p, &err)
                            : gm_problem_gradient(s->problem, s->theta, NULL, NULL,
                                                  result + i * s->p, &err),
                  &err);
            if (r >= 0) append(document, key[i], omp_get_wtime() - start);
        }
    }
    json_object_set_new(document, "peak", memory("VmHWM"));
    if (s->onnx) write_array(s, "stored", 1, &s->p, s->onnx->theta);
    for (size_t i = 0; i <= KINDS; i++) {
        write_array(s, key[i], 1, &s->p, result + i * s->p);
        if (i < KINDS) gm_operator_destroy(&op[i]);
    }
    gm_linearization_free(lin);
    gm_free(v);
    gm_free(result);
}

/* The dense Hessian, with the linearization that it needs, and all its eigenvalues. */
static void dense(const setting *s, json_t *document)
{
    gm_error err = {0};
    size_t dim[] = {s->p, s->p};
    double *h = gm_alloc(s->p * s->p, sizeof *h, "bench", &err),
           *value = gm_alloc(s->p, sizeof *value, "bench", &err);
    if (!h || !value) check(GM_ERR_MEMORY, &err);
    for (int r = -1; r < s->rounds; r++) {
        gm_linearization *lin;
        double start = omp_get_wtime();
        check(gm_linearize(s->problem, s->theta, &lin, &err), &err);
        check(gm_curvature_dense(lin, GM_HESSIAN, GM_ALL_LAYERS, h, &err), &err);
        double seconds = omp_get_wtime() - start;
        gm_linearization_free(lin);
        if (r < 0) write_array(s, "hessian", 2, dim, h);
        start = omp_get_wtime();
        check(gm_symmetric_eigen(s->p, h, 0, 0, value, NULL, &err), &err);
        if (r < 0) continue;
        append(document, "hessian", seconds);
        append(document, "eigenvalues", omp_get_wtime() - start);
    }
    json_object_set_new(document, "peak", memory("VmHWM"));
    write_array(s, "eigenvalues", 1, &s->p, value);
    gm_free(h);
    gm_free(value);
}

int main(int argc, char **argv)
{
    gm_error err = {0};
    const char *note;
    check(gm_cli_startup(argv, &note, &err), &err);
    bool is_dense = argc == 7 && strcmp(argv[1], "dense") == 0;
    if (!is_dense && (argc != 7 || strcmp(argv[1], "products") != 0)) {
        fprintf(stderr,
                "usage: peers_gradiometer products|dense DIR MODEL f32|f64 THREADS ROUNDS\n");
        return 2;
    }
    setting s = {.dir = argv[2],
                 .rounds = (int)strtol(argv[6], NULL, 10),
                 .dtype = strcmp(argv[4], "f32") == 0 ? GM_F32 : GM_F64};
    omp_set_num_threads((int)strtol(argv[5], NULL, 10));
    json_t *document = json_object();
    json_object_set_new(document, "base", memory("VmRSS"));
    open_setting(&s, argv[3]);
    if (is_dense) {
        dense(&s, document);
    } else {
        products(&s, document);
    }
    close_setting(&s);
    json_object_set_new(document, "note", json_string(note));
    json_dumpf(document, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(document);
    return 0;
}
