/* Gauges from the training's own batches (theory section 3.5). With g_i the gradients of the m
 * samples of a batch, g_B their mean and s^2 = (sum |g_i|^2 - m |g_B|^2) / (m - 1):
 *
 *   tr Sigma   s^2 (without replacement (n - 1)/n of it)
 *   |mu|^2     |g_B|^2 - s^2 (1/m, or 1/m - 1/n)
 *
 * both without bias; |g_i|^2 = sum over layers of |s_i|^2 (|a_i|^2 + 1), and g_i . g_B from the
 * Gram matrix of the batch or from one product per layer, whichever takes fewer operations. Their
 * standard errors are those of means over samples (of |g_i - g_B|^2, and twice that of g_i . mu).
 *
 * The sharpness is watched by a vector v of length 1 that each batch turns a little,
 * v <- v + turn H_B v / |H_B v|: v . H_B v knows only earlier batches in v. g_B . H_B g_B and v .
 * H_B v come from tangent passes alone (gm_sample_curvature).
 *
 * The alarm: f(theta_{t+1}) - f(theta_t) is expected to be -eta |mu|^2 + eta^2/2 E g.H g; what is
 * seen of it is the difference of two batch losses, with the spread of both, of eta mu . g and of
 * the estimates. It is above its band where it exceeds sqrt(2 s variance). */
#include "track/watch.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "curvature/parts.h"
#include "gradiometer/random.h"

static const double turn = 0.3;

/* ---- running means ---- */

static void running_add(gm_running *r, double x, uint64_t memory)
{
    double keep = 1.0 - 1.0 / (double)memory;
    if (!isfinite(x)) return;
    r->weight = keep * r->weight + 1.0;
    r->weights = keep * keep * r->weights + 1.0;
    r->sum = keep * r->sum + x;
    r->squares = keep * r->squares + x * x;
}

static gm_gauge_mean running_mean(const gm_running *r)
{
    double mean = r->weight > 0.0 ? r->sum / r->weight : (double)NAN;
    double variance = fmax(0.0, r->squares / r->weight - mean * mean);
    double count = r->weight * r->weight / r->weights; /* of independent measurements */
    return (gm_gauge_mean){mean, count > 1.5 ? sqrt(variance / (count - 1.0)) : (double)NAN};
}

/* a / b with the errors of both; NaN where b is not positive. */
static gm_gauge_mean quotient(gm_gauge_mean a, gm_gauge_mean b)
{
    if (!(b.value > 0.0)) return (gm_gauge_mean){(double)NAN, (double)NAN};
    return (gm_gauge_mean){a.value / b.value,
                           hypot(a.error, a.value / b.value * b.error) / b.value};
}

gm_watched_gauges gm_gauge_watch_results(const gm_gauge_watch *w)
{
    const gm_watch_state *s = &w->state;
    gm_gauge_mean square = running_mean(&s->running[GM_RUNNING_SQUARE]);
    gm_gauge_mean trace = running_mean(&s->running[GM_RUNNING_TRACE]);
    return (gm_watched_gauges){.measured = (uint64_t)s->measured,
                               .curved = (uint64_t)s->curved,
                               .gradient_square = square,
                               .trace = trace,
                               .noise_scale = quotient(trace, square),
                               .batch_sharpness = running_mean(&s->running[GM_RUNNING_RATIO]),
                               .sharpness = running_mean(&s->running[GM_RUNNING_SHARP]),
                               .interaction =
                                   quotient(running_mean(&s->running[GM_RUNNING_FORM]), square),
                               .predicted = w->predicted,
                               .watched = (uint64_t)s->watched,
                               .alarms = (uint64_t)s->alarms,
                               .first_alarm = (uint64_t)s->first_alarm,
                               .last_alarm = (uint64_t)s->last_alarm};
}

const gm_gauge_watch_options *gm_gauge_watch_options_of(const gm_gauge_watch *w)
{
    return &w->options;
}

/* ---- construction ---- */

static gm_status check(const gm_gauge_watch_options *o, gm_error *err)
{
    if (o->every < 1 || o->memory < 1 || !(o->alarm > 0.0 && isfinite(o->alarm)))
        return gm_fail(err, GM_ERR_USAGE,
                       "--track: gauges: every, memory and alarm are to be above 0");
    return GM_OK;
}

static gm_status allocate(gm_gauge_watch *w, gm_error *err)
{
    const gm_net *net = w->problem->engine.net;
    size_t rows = w->capacity < w->problem->chunk ? w->capacity : w->problem->chunk, widest = rows;
    for (int i = 0; i < net->nodes; i++) {
        widest = net->node[i].size > widest ? net->node[i].size : widest;
    }
    w->vector = gm_alloc(w->p, w->k->size, "vector of the gauges", err);
    w->image = gm_alloc(w->p, w->k->size, "product of the gauges", err);
    if (!w->plain) {
        w->unit_image = gm_alloc(w->p, w->k->size, "product of the gauges", err);
        w->sample = gm_alloc(gm_watch_widest(net), w->k->size, "gradient of a sample", err);
        if (!w->unit_image || !w->sample) return GM_ERR_MEMORY;
    }
    w->work = gm_alloc(2 * rows * widest, w->k->size, "gauges", err);
    w->own = gm_alloc(5 * w->capacity + rows, sizeof *w->own, "gauges", err);
    if (!w->vector || !w->image || !w->work || !w->own) return GM_ERR_MEMORY;
    w->along = w->own + w->capacity;
    w->form = w->along + w->capacity;
    w->sharp = w->form + w->capacity;
    w->loss = w->sharp + w->capacity;
    w->dots = w->loss + w->capacity;
    return gm_problem_reserve(w->problem, err);
}

/* x [p] divided by its length. */
static void normalize(const gm_kernels *k, size_t p, void *x)
{
    double scale = 1.0 / sqrt(k->dot(p, x, x));
    k->scale_rows(1, p, &scale, x, x);
}

static gm_status start_vector(gm_gauge_watch *w, gm_error *err)
{
    double *start = gm_alloc(w->p, sizeof *start, "vector of the gauges", err);
    if (!start) return GM_ERR_MEMORY;
    gm_normal_fill(gm_stream_of(w->seed, GM_PURPOSE_KRYLOV, 0), 0, w->p, start);
    w->k->from_double(w->p, start, w->vector);
    normalize(w->k, w->p, w->vector);
    gm_free(start);
    return GM_OK;
}

gm_status gm_gauge_watch_create(gm_problem *problem, const gm_gauge_watch_options *options,
                                const gm_train_options *training, gm_gauge_watch **watch,
                                gm_error *err)
{
    *watch = NULL;
    gm_status status = check(options, err);
    if (status != GM_OK) return status;
    gm_gauge_watch *w = gm_alloc(1, sizeof *w, "gauges", err);
    if (!w) return GM_ERR_MEMORY;
    *w = (gm_gauge_watch){.options = *options,
                          .problem = problem,
                          .k = problem->engine.k,
                          .p = gm_problem_parameters(problem),
                          .capacity = training->batch,
                          .seed = training->seed,
                          .without_replacement = training->replacement != GM_REPLACEMENT_YES,
                          .plain = gm_watch_plain(problem->engine.net)};
    w->predicted = training->optimizer == GM_OPTIMIZER_SGD && training->momentum == 0.0 &&
                   training->weight_decay == 0.0 && training->batch > 1 && options->curvature &&
                   training->precondition == GM_PRECONDITION_NONE;
    status = allocate(w, err);
    if (status == GM_OK) status = start_vector(w, err);
    if (status != GM_OK) {
        gm_gauge_watch_free(w);
        return status;
    }
    *watch = w;
    return GM_OK;
}

void gm_gauge_watch_free(gm_gauge_watch *w)
{
    if (!w) return;
    gm_free(w->vector);
    gm_free(w->image);
    gm_free(w->unit_image);
    gm_free(w->sample);
    gm_free(w->work);
    gm_free(w->own);
    gm_free(w->metric);
    gm_free(w);
}

/* ---- one batch ---- */

void gm_watch_outer_norms(gm_gauge_watch *w, const gm_chunk *c, const gm_node *node, const void *in,
                          const void *signal, double *own)
{
    size_t width = gm_shape_size(&node->in_shape[0]);
    double *inner = w->dots;
    memset(inner, 0, c->n * sizeof *inner);
    w->k->row_dots(c->n, width, in, in, inner);
    for (size_t i = 0; i < c->n; i++) {
        double bias = node->tensors > 1 ? 1.0 : 0.0, square = 0.0;
        w->k->row_dots(1, node->size, (const char *)signal + i * node->size * w->k->size,
                       (const char *)signal + i * node->size * w->k->size, &square);
        own[i] += square * (inner[i] + bias);
    }
}

/* along [n] += n g_i . g_B of a layer from its part of the Gram matrix, (s s') * (a a' + 1). */
static void add_gram(gm_gauge_watch *w, const gm_chunk *c, const gm_node *node, const void *in,
                     const void *signal, double *along)
{
    const gm_kernels *k = w->k;
    size_t n = c->n, width = gm_shape_size(&node->in_shape[0]);
    void *inputs = w->work, *signals = (char *)w->work + n * n * k->size;
    if (node->tensors > 1) k->fill(n * n, 1.0, inputs);
    k->gemm(false, true, n, n, width, 1.0, in, width, in, width, node->tensors > 1 ? 1.0 : 0.0,
            inputs, n);
    k->gemm(false, true, n, n, node->size, 1.0, signal, node->size, signal, node->size, 0.0,
            signals, n);
    k->row_dots(n, n, inputs, signals, along);
}

/* Whether the Gram matrix of a batch in one chunk takes fewer operations than a product per layer.
 */
static bool gram_pays(const gm_net *net, size_t m)
{
    double gram = 0.0, product = 0.0, samples = (double)m;
    for (int l = 0; l < net->layers; l++) {
        const gm_node *node = &net->node[net->layer_node[l]];
        double in = (double)gm_shape_size(&node->in_shape[0]), out = (double)node->size;
        gram += samples * (in + out);
        product += in * out;
    }
    return gram < product;
}

/* |g_i|^2 and g_i . g_B of a chunk. */
static void take_norms(gm_gauge_watch *w, const gm_worker *worker, const gm_chunk *c,
                       const gm_train_batch *batch, size_t first)
{
    const gm_net *net = w->problem->engine.net;
    double *own = w->own + first, *along = w->along + first;
    bool gram = c->n == batch->m && gram_pays(net, batch->m);
    memset(own, 0, c->n * sizeof *own);
    memset(along, 0, c->n * sizeof *along);
    if (!w->plain) {
        gm_watch_any_norms(w, worker, c, batch->gradient, own, along);
        return;
    }
    for (int l = 0; l < net->layers; l++) {
        const gm_node *node = &net->node[net->layer_node[l]];
        const void *in = c->value[node->input[0]], *signal = c->signal[net->layer_node[l]];
        gm_watch_outer_norms(w, c, node, in, signal, own);
        if (gram) add_gram(w, c, node, in, signal, along);
    }
    if (gram) {
        for (size_t i = 0; i < c->n; i++) {
            along[i] /= (double)batch->m;
        }
        return;
    }
    const void *direction[] = {batch->gradient};
    gm_directions d = {.count = 1, .size = w->p, .v = direction};
    gm_pass_dots(&w->problem->engine, c, &d, w->work, along);
}

/* u . H_i u with u = g_B / |g_B|, and v . H_i v, of a chunk; its part of H_B v is added to the
 * image. unit [p] holds u where g_B is not 0, else NULL. */
static void take_curvature(gm_gauge_watch *w, gm_worker *worker, const gm_chunk *c,
                           const void *unit, size_t first)
{
    const gm_engine *e = &w->problem->engine;
    const bool *moves = w->problem->active;
    void *const *tangent = worker->tangent.node, *const *tsignal = worker->tsignal.node;
    void *root = tsignal[e->net->nodes - 1];
    const void *direction[1];
    void *sum[] = {w->image};
    gm_directions d = {.count = 1, .size = w->p, .v = direction};
    memset(w->form + first, 0, c->n * sizeof *w->form);
    memset(w->sharp + first, 0, c->n * sizeof *w->sharp);
    if (unit) {
        direction[0] = unit;
        gm_pass_tangent(e, c, moves, 0, 1, &d, tangent);
        gm_sample_curvature(e, c, moves, &d, tangent, root, w->work, w->form + first);
    }
    direction[0] = w->vector;
    gm_pass_tangent(e, c, moves, 0, 1, &d, tangent);
    gm_sample_curvature(e, c, moves, &d, tangent, root, w->work, w->sharp + first);
    d.sum = sum;
    gm_pass_root(e, c, GM_ROOT_METRIC, 1, tangent[e->net->nodes - 1], root);
    gm_pass_tangent_backward(e, c, moves, moves, 1, &d, tangent, tsignal);
}

typedef struct moments {
    double mean, variance; /* of the single numbers */
} moments;

static moments moments_of(size_t n, const double *x)
{
    moments r = {0.0, 0.0};
    for (size_t i = 0; i < n; i++) {
        r.mean += x[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        r.variance += (x[i] - r.mean) * (x[i] - r.mean) / ((double)n - 1.0);
    }
    return r;
}

static gm_status note_mean(gm_gauge_watch *w, uint64_t t, gm_gauge_series value,
                           gm_gauge_series error, gm_gauge_mean mean, gm_error *err)
{
    gm_status status = GM_OK;
    if (isfinite(mean.value)) status = gm_watch_note(w, t, value, mean.value, err);
    if (status == GM_OK && isfinite(mean.error))
        status = gm_watch_note(w, t, error, mean.error, err);
    return status;
}

/* The unbiased estimates from norms, *square and *trace with their errors, into means and metrics;
 * *spread is the variance of g_i . mu. */
static gm_status note_norms(gm_gauge_watch *w, const gm_train_batch *b, gm_gauge_mean *square,
                            double *spread, gm_error *err)
{
    size_t m = b->m;
    double count = (double)m, n = (double)w->problem->data->n;
    double batch = w->k->dot(w->p, b->gradient, b->gradient), sum = 0.0;
    for (size_t i = 0; i < m; i++) {
        sum += w->own[i];
        double away = w->own[i] - 2.0 * w->along[i] + batch; /* |g_i - g_B|^2 */
        w->along[i] = (count * w->along[i] - w->own[i]) / (count - 1.0);
        w->own[i] = away;
    }
    double s2 = fmax(0.0, sum - count * batch) / (count - 1.0);
    double left = w->without_replacement ? 1.0 / count - 1.0 / n : 1.0 / count;
    moments others = moments_of(m, w->along), away = moments_of(m, w->own);
    *spread = others.variance;
    *square = (gm_gauge_mean){batch - s2 * left, 2.0 * sqrt(others.variance / count)};
    gm_gauge_mean trace = {w->without_replacement ? s2 * (n - 1.0) / n : s2,
                           sqrt(away.variance / count)};
    running_add(&w->state.running[GM_RUNNING_SQUARE], square->value, w->options.memory);
    running_add(&w->state.running[GM_RUNNING_TRACE], trace.value, w->options.memory);
    gm_watched_gauges g = gm_gauge_watch_results(w);
    gm_status status = note_mean(w, b->t, GM_SERIES_SQUARE, GM_SERIES_SQUARE_ERROR, *square, err);
    if (status == GM_OK)
        status = note_mean(w, b->t, GM_SERIES_TRACE, GM_SERIES_TRACE_ERROR, trace, err);
    if (status == GM_OK)
        status = note_mean(w, b->t, GM_SERIES_NOISE_SCALE, GM_SERIES_NOISE_SCALE_ERROR,
                           g.noise_scale, err);
    return status;
}

/* The two sharpnesses and the interaction; v turns towards its image. */
static gm_status note_curvature(gm_gauge_watch *w, const gm_train_batch *b, double batch,
                                gm_error *err)
{
    gm_watch_state *s = &w->state;
    double ratio = batch > 0.0 ? moments_of(b->m, w->form).mean : (double)NAN;
    double sharp = moments_of(b->m, w->sharp).mean;
    double length = sqrt(w->k->dot(w->p, w->image, w->image));
    s->curved += 1.0;
    running_add(&s->running[GM_RUNNING_RATIO], ratio, w->options.memory);
    running_add(&s->running[GM_RUNNING_FORM], ratio * batch, w->options.memory);
    running_add(&s->running[GM_RUNNING_SHARP], sharp, w->options.memory);
    if (length > 0.0 && isfinite(length)) {
        w->k->axpy(w->p, turn / length, w->image, w->vector);
        normalize(w->k, w->p, w->vector);
    }
    gm_watched_gauges g = gm_gauge_watch_results(w);
    gm_status status = GM_OK;
    if (isfinite(ratio)) status = gm_watch_note(w, b->t, GM_SERIES_BATCH_SHARPNESS, ratio, err);
    if (status == GM_OK)
        status = note_mean(w, b->t, GM_SERIES_BATCH_SHARPNESS_MEAN, GM_SERIES_BATCH_SHARPNESS_ERROR,
                           g.batch_sharpness, err);
    if (status == GM_OK && isfinite(sharp))
        status = gm_watch_note(w, b->t, GM_SERIES_SHARPNESS, sharp, err);
    if (status == GM_OK)
        status = note_mean(w, b->t, GM_SERIES_SHARPNESS_MEAN, GM_SERIES_SHARPNESS_ERROR,
                           g.sharpness, err);
    if (status == GM_OK)
        status = note_mean(w, b->t, GM_SERIES_INTERACTION, GM_SERIES_INTERACTION_ERROR,
                           g.interaction, err);
    return status;
}

/* ---- the alarm ---- */

/* The change that the last measurement expected, against what this batch shows. */
static gm_status settle(gm_gauge_watch *w, const gm_train_batch *b, double variance, gm_error *err)
{
    gm_watch_state *s = &w->state;
    uint64_t t = b->t - 1;
    double change = b->loss - s->loss;
    double band = sqrt(2.0 * w->options.alarm * (s->variance + variance));
    s->pending = 0.0;
    if (!isfinite(band)) return GM_OK; /* a last batch of one sample */
    s->watched += 1.0;
    gm_status status = gm_watch_note(w, t, GM_SERIES_DELTA, change, err);
    if (status == GM_OK) status = gm_watch_note(w, t, GM_SERIES_DELTA_EXPECTED, s->expected, err);
    if (status == GM_OK) status = gm_watch_note(w, t, GM_SERIES_DELTA_BAND, band, err);
    if (status != GM_OK || change - s->expected <= band) return status;
    if (s->alarms == 0.0) s->first_alarm = (double)t;
    s->last_alarm = (double)t;
    s->alarms += 1.0;
    return gm_watch_note(w, t, GM_SERIES_ALARM, change, err);
}

static void expect(gm_gauge_watch *w, const gm_train_batch *b, gm_gauge_mean square, double spread,
                   double variance)
{
    gm_watch_state *s = &w->state;
    double eta = b->step, half = 0.5 * eta * eta;
    gm_gauge_mean form = running_mean(&s->running[GM_RUNNING_FORM]);
    if (!isfinite(form.value) || !isfinite(square.value)) return;
    double bend = isfinite(form.error) ? half * form.error : 0.0;
    s->pending = 1.0;
    s->loss = b->loss;
    s->expected = half * form.value - eta * square.value;
    s->variance =
        variance + bend * bend + eta * eta * (square.error * square.error + spread / (double)b->m);
}

/* ---- the hook ---- */

/* Of any net the forms are known for the batch alone, and their means are all that is asked for. */
static void spread_forms(gm_gauge_watch *w, size_t m, const void *unit)
{
    double form = unit ? w->k->dot(w->p, unit, w->unit_image) / (double)m : 0.0;
    double sharp = w->k->dot(w->p, w->vector, w->image) / (double)m;
    for (size_t i = 0; i < m; i++) {
        w->form[i] = form;
        w->sharp[i] = sharp;
    }
}

/* What is asked for of all chunks of the batch, and the losses of their samples. */
static gm_status visit(gm_gauge_watch *w, const gm_train_batch *b, bool norms, bool curved,
                       double batch, gm_error *err)
{
    void *unit = NULL;
    if (curved && batch > 0.0) {
        double scale = 1.0 / sqrt(batch);
        unit = gm_alloc(w->p, w->k->size, "direction of the gradient", err);
        if (!unit) return GM_ERR_MEMORY;
        w->k->scale_rows(1, w->p, &scale, b->gradient, unit);
    }
    if (curved) w->k->fill(w->p, 0.0, w->image);
    if (curved && !w->plain) w->k->fill(w->p, 0.0, w->unit_image);
    for (size_t first = 0, n; first < b->m; first += n) {
        gm_worker *worker;
        const gm_chunk *c =
            gm_problem_batch_chunk(w->problem, b->theta, b->m, b->index, first, &worker);
        n = c->n;
        memcpy(w->loss + first, worker->loss, n * sizeof *w->loss);
        if (norms) take_norms(w, worker, c, b, first);
        if (curved && w->plain) take_curvature(w, worker, c, unit, first);
        if (curved && !w->plain) gm_watch_any_curvature(w, worker, c, unit);
    }
    if (curved && !w->plain) spread_forms(w, b->m, unit);
    gm_free(unit);
    return GM_OK;
}

gm_status gm_gauge_watch_batch(gm_gauge_watch *w, const gm_train_batch *b, gm_error *err)
{
    gm_watch_state *s = &w->state;
    bool due = b->t % w->options.every == 0, pending = s->pending != 0.0;
    if (!due && !pending) return GM_OK;
    bool curved =
        due && w->options.curvature && (b->t / w->options.every) % w->options.curvature == 0;
    bool norms = due && b->m > 1;
    double batch = w->k->dot(w->p, b->gradient, b->gradient), spread = (double)NAN;
    gm_gauge_mean square = {(double)NAN, (double)NAN};
    gm_status status = visit(w, b, norms, curved, batch, err);
    if (status != GM_OK) return status;
    moments losses = moments_of(b->m, w->loss);
    double variance = losses.variance / (double)b->m;
    w->unsaved = true;
    if (pending) status = settle(w, b, variance, err);
    if (status == GM_OK && due) s->measured += 1.0;
    if (status == GM_OK && norms) status = note_norms(w, b, &square, &spread, err);
    if (status == GM_OK && curved) status = note_curvature(w, b, batch, err);
    if (status == GM_OK && norms && w->predicted) expect(w, b, square, spread, variance);
    return status;
}
