/* npy:X.npy,Y.npy: X [n, ...] numbers as they are; Y [n] whole numbers (labels), [n, T] whole
 * numbers (labels at T positions), or [n, K] or [n, T, K] f4/f8 (targets, of T positions one behind
 * the other). */
#include "base/memory.h"
#include "data/npy.h"
#include "data/source.h"

typedef struct npy_pair {
    char *x_path, *y_path;
    gm_npy *x, *y;
    size_t next;
} npy_pair;

static gm_status pair_next(gm_source *source, gm_sample *sample, gm_error *err)
{
    npy_pair *pair = source->state;
    gm_status status = gm_npy_read(pair->x, source->features, sample->x, err);
    if (status != GM_OK) return status;
    source->position = pair->next++;
    if (source->outputs) return gm_npy_read(pair->y, source->outputs, sample->target, err);
    return gm_npy_read_integers(pair->y, source->positions, sample->label, err);
}

static gm_status pair_seek(gm_source *source, size_t i, gm_error *err)
{
    npy_pair *pair = source->state;
    size_t rows = i - pair->next, columns = source->outputs ? source->outputs : source->positions;
    gm_status status = gm_npy_pass_over(pair->x, rows * source->features, err);
    if (status == GM_OK) status = gm_npy_pass_over(pair->y, rows * columns, err);
    pair->next = i;
    return status;
}

static void pair_close(void *state)
{
    npy_pair *pair = state;
    if (!pair) return;
    gm_npy_close(pair->x);
    gm_npy_close(pair->y);
    gm_free(pair->x_path);
    gm_free(pair->y_path);
    gm_free(pair);
}

static gm_status check_x(const npy_pair *pair, gm_source *source, gm_error *err)
{
    const gm_npy *x = pair->x;
    if (x->rank < 2 || x->rank > 1 + GM_MAX_RANK)
        return gm_fail(err, GM_ERR_INPUT,
                       "%s: X has %d dimensions, expected 2 ... %d: [n, features] or [n, channels, "
                       "height, width]",
                       pair->x_path, x->rank, 1 + (int)GM_MAX_RANK);
    if (x->dim[0] == 0) return gm_fail(err, GM_ERR_INPUT, "%s: X has no samples", pair->x_path);
    source->n = x->dim[0];
    source->shape.rank = x->rank - 1;
    for (int i = 1; i < x->rank; i++) {
        source->shape.dim[i - 1] = x->dim[i];
    }
    return gm_source_set_features(source, pair->x_path, err);
}

static gm_status check_y(const npy_pair *pair, gm_source *source, gm_error *err)
{
    const gm_npy *y = pair->y;
    bool labels = (y->rank == 1 || y->rank == 2) && gm_npy_is_integer(y);
    bool targets = (y->rank == 2 || y->rank == 3) && !gm_npy_is_integer(y);
    size_t columns = y->rank > 1 ? y->dim[1] : 1;
    if (!labels && !targets)
        return gm_fail(
            err, GM_ERR_INPUT,
            "%s: Y has %d dimensions of %s, expected [n] or [n, T] whole numbers, or [n, K] or "
            "[n, T, K] f4/f8",
            pair->y_path, y->rank, gm_npy_type_name(y->type));
    if (y->dim[0] != source->n)
        return gm_fail(err, GM_ERR_INPUT, "%s: Y has %zu rows, but X in %s has %zu", pair->y_path,
                       y->dim[0], pair->x_path, source->n);
    if (y->rank == 3 && !gm_mul_size(columns, y->dim[2], &columns))
        return gm_fail(err, GM_ERR_INPUT, "%s: Y is too large", pair->y_path);
    if (columns == 0) return gm_fail(err, GM_ERR_INPUT, "%s: Y has no columns", pair->y_path);
    source->outputs = targets ? columns : 0;
    source->positions = labels ? columns : 1;
    return GM_OK;
}

gm_status gm_npy_pair_open(const char *body, bool test, gm_source *source, gm_error *err)
{
    (void)test;
    npy_pair *pair = gm_alloc(1, sizeof *pair, "NPY files", err);
    if (!pair) return GM_ERR_MEMORY;
    source->state = pair;
    source->close = pair_close;
    source->next = pair_next;
    source->seek = pair_seek;
    gm_status status = gm_split_pair(body, "npy:X.npy,Y.npy", &pair->x_path, &pair->y_path, err);
    if (status == GM_OK) status = gm_npy_open(pair->x_path, &pair->x, err);
    if (status == GM_OK) status = gm_npy_open(pair->y_path, &pair->y, err);
    if (status == GM_OK) status = check_x(pair, source, err);
    if (status == GM_OK) status = check_y(pair, source, err);
    source->x_file = pair->x_path;
    source->y_file = pair->y_path;
    source->unit = "row";
    return status;
}
