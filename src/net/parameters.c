/* The flat parameter vector of a net in files: which tensor of a file is which of the net.
 *
 * Names decide where they can. A net of ours has names that no other program knows; then order and
 * shapes decide. The order is the file's own, unless it is alphabetical: safetensors' own library
 * sorts by name, which puts "10.weight" before "2.weight" and each bias before its weight. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/natural.h"
#include "data/npy.h"
#include "data/safetensors.h"
#include "net/net.h"

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* ---- shapes ---- */

enum { SHAPE_TEXT = 256 };

/* "[16, 3, 3, 3]" */
static void print_shape(int rank, const size_t *dim, char text[SHAPE_TEXT])
{
    size_t at = (size_t)snprintf(text, SHAPE_TEXT, "[");
    for (int i = 0; i < rank; i++) {
        at += (size_t)snprintf(text + at, SHAPE_TEXT - at, i ? ", %zu" : "%zu", dim[i]);
    }
    snprintf(text + at, SHAPE_TEXT - at, "]");
}

static gm_status check_shape(const gm_safetensors *file, const gm_safetensor *found,
                             const gm_net_tensor *wanted, gm_error *err)
{
    const gm_shape *shape = &wanted->shape;
    bool equal = found->rank == shape->rank;
    for (int i = 0; equal && i < shape->rank; i++) {
        equal = found->dim[i] == shape->dim[i];
    }
    if (equal) return GM_OK;
    char has[SHAPE_TEXT], needs[SHAPE_TEXT];
    print_shape(found->rank, found->dim, has);
    print_shape(shape->rank, shape->dim, needs);
    if (strcmp(found->name, wanted->name) == 0) {
        return gm_fail(err, GM_ERR_INPUT, "%s: tensor '%.80s' has the shape %s, expected %s",
                       file->path, found->name, has, needs);
    }
    return gm_fail(err, GM_ERR_INPUT,
                   "%s: tensor '%.80s' has the shape %s, expected %s, that of %.80s", file->path,
                   found->name, has, needs, wanted->name);
}

/* ---- the order of a file without our names ---- */

/* Behind the last dot of a name. */
static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static int rank_of_part(const char *part)
{
    return strcmp(part, "weight") == 0 ? 0 : strcmp(part, "bias") == 0 ? 1 : 2;
}

typedef struct place {
    const gm_safetensor *tensor;
} place;

/* By layer, then weight, bias, others. */
static int in_natural_order(const void *a, const void *b)
{
    const gm_safetensor *x = ((const place *)a)->tensor, *y = ((const place *)b)->tensor;
    const char *x_part = last_part(x->name), *y_part = last_part(y->name);
    size_t x_length = (size_t)(x_part - x->name), y_length = (size_t)(y_part - y->name);
    bool same = x_length == y_length && strncmp(x->name, y->name, x_length) == 0;
    if (!same) return gm_natural_compare(x->name, y->name);
    int order = rank_of_part(x_part) - rank_of_part(y_part);
    return order ? order : gm_natural_compare(x_part, y_part);
}

/* The floating tensors of the file, list [file->tensors], in the order explained above. */
static size_t order_tensors(const gm_safetensors *file, place *list)
{
    size_t count = 0;
    bool alphabetical = true;
    for (size_t i = 0; i < file->tensors; i++) {
        if (file->tensor[i].reads) list[count++].tensor = &file->tensor[i];
    }
    for (size_t i = 1; i < count; i++) {
        alphabetical = alphabetical && strcmp(list[i - 1].tensor->name, list[i].tensor->name) < 0;
    }
    if (alphabetical) qsort(list, count, sizeof *list, in_natural_order);
    return count;
}

/* ---- matching ---- */

static gm_status match_by_name(const gm_net *net, const gm_safetensors *file, size_t *match,
                               gm_error *err)
{
    for (size_t i = 0; i < gm_net_tensors(net); i++) {
        gm_net_tensor wanted = gm_net_tensor_at(net, i);
        char shape[SHAPE_TEXT];
        match[i] = gm_safetensors_find(file, wanted.name);
        if (match[i] < file->tensors) continue;
        print_shape(wanted.shape.rank, wanted.shape.dim, shape);
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: no tensor '%.80s', expected one of shape %s; found %zu, from '%.60s' "
                       "to '%.60s'",
                       file->path, wanted.name, shape, file->tensors,
                       file->tensors ? file->tensor[0].name : "",
                       file->tensors ? file->tensor[file->tensors - 1].name : "");
    }
    return GM_OK;
}

static gm_status match_by_order(const gm_net *net, const gm_safetensors *file, size_t *match,
                                gm_error *err)
{
    place *list = gm_alloc(file->tensors, sizeof *list, "tensors of the file", err);
    if (!list) return GM_ERR_MEMORY;
    size_t found = order_tensors(file, list), wanted = gm_net_tensors(net);
    gm_status status = GM_OK;
    /* Shapes first: they say where an additional or a missing tensor is. */
    for (size_t i = 0; status == GM_OK && i < found && i < wanted; i++) {
        gm_net_tensor tensor = gm_net_tensor_at(net, i);
        status = check_shape(file, list[i].tensor, &tensor, err);
        match[i] = (size_t)(list[i].tensor - file->tensor);
    }
    if (status == GM_OK && found != wanted) {
        status = gm_fail(
            err, GM_ERR_INPUT, "%s: %zu floating tensors, expected %zu, those of %.80s; %s '%.80s'",
            file->path, found, wanted, gm_net_name(net),
            found > wanted ? "the first beyond them is" : "the first missing one is",
            found > wanted ? list[wanted].tensor->name : gm_net_tensor_at(net, found).name);
    }
    gm_free(list);
    return status;
}

static bool has_all_names(const gm_net *net, const gm_safetensors *file)
{
    for (size_t i = 0; i < gm_net_tensors(net); i++) {
        if (gm_safetensors_find(file, gm_net_tensor_at(net, i).name) == file->tensors) return false;
    }
    return true;
}

/* Which tensors of the file were left aside. */
static void tell_unused(const gm_safetensors *file, size_t tensors, const size_t *match,
                        gm_error *note)
{
    size_t unused = 0, first = 0;
    for (size_t i = 0; i < file->tensors; i++) {
        bool used = false;
        for (size_t j = 0; j < tensors && !used; j++) {
            used = match[j] == i;
        }
        if (!used && unused++ == 0) first = i;
    }
    if (unused == 0) return;
    gm_fail(note, GM_OK, "%s: %zu tensor%s no parameter%s of the net and left aside: '%.80s'%s",
            file->path, unused, unused > 1 ? "s are" : " is", unused > 1 ? "s" : "",
            file->tensor[first].name, unused > 1 ? ", ..." : "");
}

static gm_status read_safetensors(const gm_net *net, const char *path, double *theta,
                                  gm_error *note, gm_error *err)
{
    gm_safetensors *file = NULL;
    size_t tensors = gm_net_tensors(net), *match = NULL;
    gm_status status = gm_safetensors_open(path, &file, err);
    if (status != GM_OK) return status;
    match = gm_alloc(tensors, sizeof *match, "tensors of the net", err);
    if (!match) {
        status = GM_ERR_MEMORY;
    } else if (net->named || has_all_names(net, file)) {
        status = match_by_name(net, file, match, err);
    } else {
        status = match_by_order(net, file, match, err);
    }
    for (size_t i = 0; status == GM_OK && i < tensors; i++) {
        gm_net_tensor tensor = gm_net_tensor_at(net, i);
        status = check_shape(file, &file->tensor[match[i]], &tensor, err);
        if (status == GM_OK) {
            status = gm_safetensors_read(file, match[i], theta + tensor.offset, err);
        }
    }
    if (status == GM_OK && note) tell_unused(file, tensors, match, note);
    gm_free(match);
    gm_safetensors_close(file);
    return status;
}

static gm_status read_npy(const gm_net *net, const char *path, double *theta, gm_error *err)
{
    double *values;
    size_t found, p = gm_net_parameters(net);
    gm_status status = gm_npy_read_vector(path, &values, &found, err);
    if (status != GM_OK) return status;
    if (found == p) {
        memcpy(theta, values, p * sizeof *theta);
    } else {
        status = gm_fail(err, GM_ERR_INPUT, "%s holds %zu numbers, expected %zu, those of %s", path,
                         found, p, gm_net_name(net));
    }
    gm_free(values);
    return status;
}

gm_status gm_net_read_parameters(const gm_net *net, const char *path, double *theta, gm_error *note,
                                 gm_error *err)
{
    if (note) *note = (gm_error){0};
    if (ends_with(path, ".safetensors")) return read_safetensors(net, path, theta, note, err);
    return read_npy(net, path, theta, err);
}

gm_status gm_net_write_parameters(const gm_net *net, const char *path, const double *theta,
                                  gm_error *err)
{
    size_t tensors = gm_net_tensors(net);
    gm_dtype dtype = GM_F32;
    gm_safetensor_out *out = gm_alloc(tensors, sizeof *out, "tensors of the net", err);
    if (!out) return GM_ERR_MEMORY;
    for (size_t i = 0; i < tensors; i++) {
        gm_net_tensor tensor = gm_net_tensor_at(net, i);
        out[i] = (gm_safetensor_out){tensor.name, tensor.shape, theta + tensor.offset};
    }
    for (size_t i = 0; i < gm_net_parameters(net); i++) {
        if ((double)(float)theta[i] != theta[i]) dtype = GM_F64;
    }
    gm_status status = gm_safetensors_write(path, dtype, out, tensors, err);
    gm_free(out);
    return status;
}
