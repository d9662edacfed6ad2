/* Einsum: sums over products of entries with the same letters, as transpositions, sums and matrix
 * products.
 *
 *   letters that nothing else asks for are summed over       "ij -> i"
 *   two operands become [batch, left, common] and [batch, common, right], by their letters: batch,
 *   in both and asked for later; common, in both alone; left and right, in one; then a product
 *   of matrices, or number by number where nothing is common
 *   more operands one after the other; axes of length 1 play no part, and are put back at the end
 */
#include <ctype.h>
#include <string.h>

#include "base/memory.h"
#include "onnx/operators.h"

enum { ELLIPSIS = 52, LABELS = ELLIPSIS + GM_ONNX_RANK, OPERANDS = 8 };

/* An operand, and what has become of some of them: a label for each axis, letters or the axes of
 * "..." counted from the last. */
typedef struct factor {
    int rank, label[GM_ONNX_RANK];
    size_t dim[GM_ONNX_RANK];
    gm_onnx_value *value; /* until there is */
    int node;
} factor;

typedef struct sum {
    gm_onnx_step *s;
    int operands;
    factor in[OPERANDS], out;
    size_t size[LABELS]; /* 0: not there */
    int dots;            /* axes of "...", of the operand with most of them */
} sum;

/* ---- the equation ---- */

static int label_of(char letter)
{
    return islower((unsigned char)letter) ? letter - 'a' : 26 + letter - 'A';
}

/* The labels of one term of the equation; dots: how many axes its "..." stands for. */
static bool parse_term(const char *text, const char *end, int dots, factor *term)
{
    bool dotted = false;
    term->rank = 0;
    for (; text < end; text++) {
        bool ellipsis = end - text >= 3 && memcmp(text, "...", 3) == 0;
        int count = ellipsis ? dots : 1;
        if (*text == ' ') continue;
        if ((!ellipsis && !isalpha((unsigned char)*text)) || (ellipsis && dotted) ||
            term->rank + count > GM_ONNX_RANK) {
            return false;
        }
        for (int i = 0; i < count; i++) {
            term->label[term->rank++] = ellipsis ? ELLIPSIS + count - 1 - i : label_of(*text);
        }
        dotted = dotted || ellipsis;
        if (ellipsis) text += 2;
    }
    return true;
}

/* Axes of an operand that its letters do not name: those of its "...". */
static int unnamed(const char *text, const char *end, int rank)
{
    for (; text < end; text++) {
        rank -= isalpha((unsigned char)*text) != 0;
    }
    return rank;
}

/* Axes of one label are equally long, or of length 1 in another operand. */
static bool take_sizes(sum *e, factor *f)
{
    memcpy(f->dim, f->value->tensor.dim, sizeof f->dim);
    for (int i = 0; i < f->rank; i++) {
        size_t *size = &e->size[f->label[i]];
        if (*size > 1 && f->dim[i] > 1 && f->dim[i] != *size) return false;
        if (*size < f->dim[i]) *size = f->dim[i];
        for (int j = 0; j < i; j++) {
            if (f->label[j] == f->label[i] && f->dim[j] != f->dim[i]) return false;
        }
    }
    return true;
}

static bool parse_operand(sum *e, const char *text, const char *end)
{
    gm_onnx_value *value = gm_onnx_in(e->s, (size_t)e->operands);
    if (e->operands == OPERANDS || !value || !value->tensor.count) return false;
    factor *f = &e->in[e->operands++];
    int dots = unnamed(text, end, value->tensor.rank);
    f->value = value;
    if (dots < 0 || !parse_term(text, end, dots, f) || f->rank != value->tensor.rank) return false;
    if (dots > e->dots) e->dots = dots;
    return take_sizes(e, f);
}

/* Without "->": the axes of "...", then the letters that stand once, in their order. */
static bool imply_output(sum *e)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    int count[LABELS] = {0};
    for (int i = 0; i < e->operands; i++) {
        for (int j = 0; j < e->in[i].rank; j++) {
            count[e->in[i].label[j]]++;
        }
    }
    for (int i = e->dots; i-- > 0;) {
        e->out.label[e->out.rank++] = ELLIPSIS + i;
    }
    for (const char *letter = letters; *letter; letter++) {
        if (count[label_of(*letter)] != 1) continue;
        if (e->out.rank == GM_ONNX_RANK) return false;
        e->out.label[e->out.rank++] = label_of(*letter);
    }
    return true;
}

/* The output's labels are there and stand once. */
static bool check_output(sum *e)
{
    bool seen[LABELS] = {false};
    for (int i = 0; i < e->out.rank; i++) {
        int label = e->out.label[i];
        if (seen[label] || !e->size[label]) return false;
        seen[label] = true;
        e->out.dim[i] = e->size[label];
    }
    return true;
}

static gm_status parse(sum *e, gm_error *err)
{
    size_t length;
    const char *text = gm_onnx_text(e->s, "equation", &length), *end = text + length;
    const char *stop = text, *from = text;
    while (stop < end && *stop != '-') {
        stop++;
    }
    bool arrow = end - stop >= 2 && stop[1] == '>', good = arrow || stop == end;
    for (const char *at = from; good && at <= stop; at++) {
        if (at < stop && *at != ',') continue;
        good = parse_operand(e, from, at);
        from = at + 1;
    }
    good = good && (size_t)e->operands == e->s->node->n_input &&
           (arrow ? parse_term(stop + 2, end, e->dots, &e->out) : imply_output(e)) &&
           check_output(e);
    if (good) return GM_OK;
    return gm_onnx_refuse(e->s, err, "its equation '%.*s' does not fit its %zu inputs (at most %d)",
                          (int)(length < 60 ? length : 60), text, e->s->node->n_input, OPERANDS);
}

/* ---- one factor ---- */

/* The node in the shape of the factor's axes. */
static gm_status reshape(const gm_onnx_step *s, factor *f, gm_error *err)
{
    gm_reshape_config config = {.shape = {.rank = f->rank}};
    if (f->rank > GM_MAX_RANK) {
        return gm_onnx_refuse(s, err, "a product of rank %d, at most %d", f->rank, GM_MAX_RANK);
    }
    memcpy(config.shape.dim, f->dim, (size_t)f->rank * sizeof *f->dim);
    if (f->rank == 0) config.shape = (gm_shape){1, {1}};
    if (gm_shape_equal(&s->g->net->node[f->node].shape, &config.shape)) return GM_OK;
    return gm_onnx_add(s, &gm_layer_reshape, &config, 1, &f->node, &f->node, err);
}

static void drop_axis(factor *f, int axis)
{
    f->rank--;
    memmove(f->label + axis, f->label + axis + 1, (size_t)(f->rank - axis) * sizeof *f->label);
    memmove(f->dim + axis, f->dim + axis + 1, (size_t)(f->rank - axis) * sizeof *f->dim);
}

/* Axes in this order: axis i becomes order[i]. */
static gm_status arrange(const gm_onnx_step *s, factor *f, const int *order, gm_error *err)
{
    gm_transpose_config config = {{0}};
    factor moved = *f;
    bool same = true;
    for (int i = 0; i < f->rank; i++) {
        moved.label[i] = f->label[order[i]];
        moved.dim[i] = f->dim[order[i]];
        config.axis[i] = order[i];
        same = same && order[i] == i;
    }
    *f = moved;
    return same ? GM_OK : gm_onnx_add(s, &gm_layer_transpose, &config, 1, &f->node, &f->node, err);
}

/* The diagonal of axes i < j of one label, to the front. */
static gm_status take_diagonal(const gm_onnx_step *s, factor *f, int i, int j, gm_error *err)
{
    size_t n = f->dim[i];
    gm_gather_config config = {.axis = 0, .count = n};
    int order[GM_ONNX_RANK] = {i, j}, rank = 2;
    for (int k = 0; k < f->rank; k++) {
        if (k != i && k != j) order[rank++] = k;
    }
    double *place = gm_alloc(n, sizeof *place, "places of a diagonal", err);
    for (size_t k = 0; place && k < n; k++) {
        place[k] = (double)(k * n + k);
    }
    gm_status status = place ? gm_net_keep(s->g->net, n, place, &config.index, err) : GM_ERR_MEMORY;
    gm_free(place);
    if (status == GM_OK) status = arrange(s, f, order, err);
    drop_axis(f, 0);
    f->dim[0] = n * n;
    if (status == GM_OK) status = reshape(s, f, err);
    if (status == GM_OK) {
        status = gm_onnx_add(s, &gm_layer_gather, &config, 1, &f->node, &f->node, err);
    }
    f->dim[0] = n;
    return status;
}

/* Axes of one label; false where each stands once. */
static bool find_pair(const factor *f, int *i, int *j)
{
    for (*i = 0; *i < f->rank; ++*i) {
        for (*j = *i + 1; *j < f->rank; ++*j) {
            if (f->label[*i] == f->label[*j]) return true;
        }
    }
    return false;
}

/* Its node, if it has none, without axes of length 1, each label once. */
static gm_status open_factor(const gm_onnx_step *s, factor *f, gm_error *err)
{
    int i, j;
    if (!f->value) return GM_OK;
    gm_status status = gm_onnx_node_of(s, f->value, &f->node, err);
    for (int axis = f->rank; axis-- > 0;) {
        if (f->dim[axis] == 1) drop_axis(f, axis);
    }
    if (status == GM_OK) status = reshape(s, f, err);
    while (status == GM_OK && find_pair(f, &i, &j)) {
        status = take_diagonal(s, f, i, j, err);
    }
    f->value = NULL;
    return status;
}

/* Sums over the labels that are not kept. */
static gm_status sum_over(const gm_onnx_step *s, factor *f, const bool *kept, gm_error *err)
{
    gm_reduce_config config = {.reduction = GM_REDUCE_SUM, .keep = true};
    for (int i = f->rank; i-- > 0;) {
        if (kept[f->label[i]]) continue;
        config.axes |= 1u << i;
        drop_axis(f, i);
    }
    if (!config.axes) return GM_OK;
    gm_status status = gm_onnx_add(s, &gm_layer_reduce, &config, 1, &f->node, &f->node, err);
    return status == GM_OK ? reshape(s, f, err) : status;
}

/* ---- two factors ---- */

static void mark(const factor *f, bool *labels)
{
    for (int i = 0; i < f->rank; i++) {
        labels[f->label[i]] = true;
    }
}

static int find_label(const factor *f, int label)
{
    int axis = 0;
    while (axis < f->rank && f->label[axis] != label) {
        axis++;
    }
    return axis;
}

/* Appends the axes of f whose labels are of this part (part[label] == which) and are, or are not,
 * in `like`, in its order or in f's own. */
static void list_axes(const factor *f, const factor *like, const int *part, int which, bool own,
                      int *order, int *count)
{
    const factor *by = own ? f : like;
    for (int i = 0; i < by->rank; i++) {
        int label = by->label[i];
        int axis = find_label(f, label);
        bool known = find_label(like, label) < like->rank;
        if (part[label] == which && axis < f->rank && known != own) order[(*count)++] = axis;
    }
}

/* f as matrices, its axes by parts: sizes[3]; those that `like` has too in its order. */
static gm_status as_matrices(const gm_onnx_step *s, factor *f, const factor *like, const int *part,
                             size_t *sizes, gm_error *err)
{
    int order[GM_ONNX_RANK] = {0}, count = 0;
    for (int p = 0; p < 3; p++) {
        int first = count;
        list_axes(f, like, part, p, false, order, &count);
        list_axes(f, like, part, p, true, order, &count);
        sizes[p] = 1;
        for (int i = first; i < count; i++) {
            sizes[p] *= f->dim[order[i]];
        }
    }
    gm_status status = arrange(s, f, order, err);
    factor matrices = {.rank = 3, .dim = {sizes[0], sizes[1], sizes[2]}, .node = f->node};
    if (status == GM_OK) status = reshape(s, &matrices, err);
    f->node = matrices.node;
    return status;
}

/* The axes of a and b that stay, a's first: theirs is a's node. */
static gm_status join(const gm_onnx_step *s, factor *a, const factor *b, const bool *later,
                      gm_error *err)
{
    bool in_a[LABELS] = {false};
    factor joint = {.node = a->node};
    mark(a, in_a);
    for (int i = 0; i < a->rank + b->rank; i++) {
        const factor *f = i < a->rank ? a : b;
        int axis = i < a->rank ? i : i - a->rank;
        if (!later[f->label[axis]] || (f == b && in_a[f->label[axis]])) continue;
        if (joint.rank == GM_ONNX_RANK) return gm_onnx_refuse(s, err, "a product of too many axes");
        joint.label[joint.rank] = f->label[axis];
        joint.dim[joint.rank++] = f->dim[axis];
    }
    *a = joint;
    return reshape(s, a, err);
}

/* a = a b, summed over what both have and nothing asks for later. */
static gm_status multiply(gm_onnx_step *s, factor *a, factor *b, const bool *later, gm_error *err)
{
    bool in_a[LABELS] = {false}, in_b[LABELS] = {false}, kept[LABELS];
    int left[LABELS], right[LABELS]; /* parts: batch, left, common; and batch, common, right */
    size_t rows[3], columns[3];
    gm_matmul_config config = {.factor = 1.0};
    gm_status status = open_factor(s, a, err);
    if (status == GM_OK) status = open_factor(s, b, err);
    mark(a, in_a);
    mark(b, in_b);
    for (int i = 0; i < LABELS; i++) {
        kept[i] = later[i] || (in_a[i] && in_b[i]);
        left[i] = !in_b[i] ? 1 : later[i] ? 0 : 2;
        right[i] = !in_a[i] ? 2 : later[i] ? 0 : 1;
    }
    if (status == GM_OK) status = sum_over(s, a, kept, err);
    if (status == GM_OK) status = sum_over(s, b, kept, err);
    if (status == GM_OK) status = as_matrices(s, a, a, left, rows, err);
    if (status == GM_OK) status = as_matrices(s, b, a, right, columns, err);
    if (status != GM_OK) return status;
    int node[] = {a->node, b->node};
    status = rows[2] == 1 ? gm_onnx_add_binary(s, GM_BINARY_MUL, node[0], node[1], &a->node, err)
                          : gm_onnx_add(s, &gm_layer_matmul, &config, 2, node, &a->node, err);
    return status == GM_OK ? join(s, a, b, later, err) : status;
}

/* True where w is a matrix of parameters or constants one axis of which, *common, is summed over
 * with one of x, and the other is its own. */
static bool is_dense(const factor *x, const factor *w, const bool *later, int *common)
{
    if (!w->value || w->value->what == GM_ONNX_ACTIVATION || w->value->tensor.of != GM_ONNX_REAL ||
        w->value->ties == GM_ONNX_OPERAND || w->rank != 2 || x->rank == 0 ||
        w->label[0] == w->label[1] || w->dim[0] == 1 || w->dim[1] == 1) {
        return false;
    }
    bool has[2];
    for (int i = 0; i < 2; i++) {
        int axis = find_label(x, w->label[i]);
        has[i] = axis < x->rank && x->dim[axis] > 1;
    }
    *common = has[0] ? 0 : 1;
    return has[0] != has[1] && !later[w->label[*common]] && later[w->label[!*common]];
}

/* x = x times the matrix, as a dense layer at every position. */
static gm_status multiply_dense(gm_onnx_step *s, factor *x, const factor *w, const bool *later,
                                int common, gm_error *err)
{
    bool kept[LABELS];
    int order[GM_ONNX_RANK] = {0}, count = 0;
    gm_status status = open_factor(s, x, err);
    memcpy(kept, later, sizeof kept);
    kept[w->label[common]] = true;
    if (status == GM_OK) status = sum_over(s, x, kept, err);
    if (status != GM_OK) return status;
    int last = find_label(x, w->label[common]);
    for (int i = 0; i < x->rank; i++) {
        if (i != last) order[count++] = i;
    }
    order[count] = last;
    status = arrange(s, x, order, err);
    gm_onnx_value rows = {.what = GM_ONNX_ACTIVATION, .node = x->node, .last = -1};
    rows.tensor.rank = x->rank;
    memcpy(rows.tensor.dim, x->dim, sizeof x->dim);
    gm_onnx_count(&rows.tensor);
    if (status == GM_OK) {
        status = gm_onnx_times_weight(s, &rows, w->value, common == 1, &x->node, err);
    }
    x->label[x->rank - 1] = w->label[!common];
    x->dim[x->rank - 1] = w->dim[!common];
    return status == GM_OK ? reshape(s, x, err) : status;
}

/* all = all times next. */
static gm_status multiply_any(gm_onnx_step *s, factor *all, factor *next, const bool *later,
                              gm_error *err)
{
    int common;
    if (is_dense(all, next, later, &common)) {
        return multiply_dense(s, all, next, later, common, err);
    }
    if (is_dense(next, all, later, &common)) {
        gm_status status = multiply_dense(s, next, all, later, common, err);
        *all = *next;
        return status;
    }
    return multiply(s, all, next, later, err);
}

gm_status gm_onnx_emit_einsum(gm_onnx_step *s, gm_error *err)
{
    sum e = {.s = s};
    gm_status status = parse(&e, err);
    for (int i = 1; status == GM_OK && i < e.operands; i++) {
        bool later[LABELS] = {false};
        mark(&e.out, later);
        for (int j = i + 1; j < e.operands; j++) {
            mark(&e.in[j], later);
        }
        status = multiply_any(s, &e.in[0], &e.in[i], later, err);
    }
    bool wanted[LABELS] = {false};
    int order[GM_ONNX_RANK] = {0}, rank = 0;
    factor *all = &e.in[0];
    mark(&e.out, wanted);
    if (status == GM_OK) status = open_factor(s, all, err);
    if (status == GM_OK) status = sum_over(s, all, wanted, err);
    for (int i = 0; status == GM_OK && i < e.out.rank; i++) {
        for (int j = 0; j < all->rank; j++) {
            if (all->label[j] == e.out.label[i]) order[rank++] = j;
        }
    }
    if (status == GM_OK) status = arrange(s, all, order, err);
    if (status == GM_OK) gm_onnx_put(s, 0, e.out.rank, e.out.dim, all->node, -1);
    return status;
}
