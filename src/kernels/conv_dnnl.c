/* Convolutions by oneDNN.
 *
 * Images stay as they are (nchw or nhwc); weights are reordered to the form that the kernel wants,
 * a small matter beside the convolution. Descriptions and primitives are made in every call: that
 * takes some ten microseconds, since oneDNN caches what it compiled, and keeps this file free of
 * state. A kernel must run with the number of threads it was made for, which is one inside a
 * parallel region. */
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

#include "kernels/conv.h"
#include "kernels/kernels.h"

typedef enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHT } direction;

/* A convolution made ready: descriptions and the layout of the scratch,
 * [weights, the kernel's own, an image of the input]. */
typedef struct plan {
    int threads; /* of the caller, restored at the end */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t hint, desc;           /* desc == hint for the forward direction */
    dnnl_memory_desc_t image, out, plain, bias; /* plain: the caller's weights */
    const dnnl_memory_desc_t *weight;           /* the kernel's */
    size_t weight_bytes, own_bytes, image_bytes;
} plan;

static bool done(dnnl_status_t status)
{
    return status == dnnl_success;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void close_plan(plan *p)
{
    if (p->desc && p->desc != p->hint) dnnl_primitive_desc_destroy(p->desc);
    if (p->hint) dnnl_primitive_desc_destroy(p->hint);
    if (p->attr) dnnl_primitive_attr_destroy(p->attr);
    if (p->stream) dnnl_stream_destroy(p->stream);
    if (p->engine) dnnl_engine_destroy(p->engine);
    omp_set_num_threads(p->threads);
}

static bool describe_arrays(const gm_conv *g, size_t n, plan *p)
{
    const gm_window *w = &g->window;
    dnnl_dim_t groups = (dnnl_dim_t)g->groups, out = (dnnl_dim_t)g->out_channels;
    dnnl_dim_t in = (dnnl_dim_t)w->channels;
    dnnl_dims_t image = {(dnnl_dim_t)n, in, (dnnl_dim_t)w->in[0], (dnnl_dim_t)w->in[1]};
    dnnl_dims_t result = {(dnnl_dim_t)n, out, (dnnl_dim_t)w->out[0], (dnnl_dim_t)w->out[1]};
    dnnl_dim_t down = (dnnl_dim_t)w->kernel[0], across = (dnnl_dim_t)w->kernel[1];
    dnnl_dims_t weight = {out, in, down, across};
    dnnl_dims_t grouped = {groups, out / groups, in / groups, down, across};
    dnnl_dims_t bias = {out};
    dnnl_format_tag_t tag = w->channels_last ? dnnl_nhwc : dnnl_nchw;
    bool one = groups == 1;
    return done(dnnl_memory_desc_init_by_tag(&p->image, 4, image, dnnl_f32, tag)) &&
           done(dnnl_memory_desc_init_by_tag(&p->out, 4, result, dnnl_f32, tag)) &&
           done(dnnl_memory_desc_init_by_tag(&p->plain, one ? 4 : 5, one ? weight : grouped,
                                             dnnl_f32, one ? dnnl_oihw : dnnl_goihw)) &&
           done(dnnl_memory_desc_init_by_tag(&p->bias, 1, bias, dnnl_f32, dnnl_x));
}

static bool describe_weights(const gm_conv *g, plan *p, dnnl_memory_desc_t *any)
{
    return done(dnnl_memory_desc_init_by_tag(any, g->groups > 1 ? 5 : 4, p->plain.dims, dnnl_f32,
                                             dnnl_format_tag_any));
}

static bool describe_kernel(const gm_conv *g, direction to, bool bias, plan *p)
{
    const gm_window *w = &g->window;
    dnnl_dims_t stride, dilation, before, after;
    for (int i = 0; i < 2; i++) {
        size_t reach = (w->out[i] - 1) * w->stride[i] + (w->kernel[i] - 1) * w->dilation[i] + 1;
        stride[i] = (dnnl_dim_t)w->stride[i];
        dilation[i] = (dnnl_dim_t)w->dilation[i] - 1;
        before[i] = (dnnl_dim_t)w->pad[i];
        after[i] = (dnnl_dim_t)reach - (dnnl_dim_t)(w->in[i] + w->pad[i]);
    }
    dnnl_memory_desc_t any;
    dnnl_convolution_desc_t d;
    bool ok = describe_weights(g, p, &any) &&
              done(dnnl_dilated_convolution_forward_desc_init(
                  &d, dnnl_forward_training, dnnl_convolution_direct, &p->image, &any,
                  bias ? &p->bias : NULL, &p->out, stride, dilation, before, after)) &&
              done(dnnl_primitive_desc_create(&p->hint, &d, p->attr, p->engine, NULL));
    if (!ok || to == FORWARD) {
        p->desc = p->hint;
        return ok;
    }
    if (to == BACKWARD_DATA) {
        ok = done(dnnl_dilated_convolution_backward_data_desc_init(&d, dnnl_convolution_direct,
                                                                   &p->image, &any, &p->out, stride,
                                                                   dilation, before, after));
    } else {
        ok = done(dnnl_dilated_convolution_backward_weights_desc_init(
            &d, dnnl_convolution_direct, &p->image, &any, NULL, &p->out, stride, dilation, before,
            after));
    }
    return ok && done(dnnl_primitive_desc_create(&p->desc, &d, p->attr, p->engine, p->hint));
}

/* Its reference kernel is hundreds of times slower than unfolding. */
static bool is_reference(const plan *p)
{
    const char *name = "";
    return !done(dnnl_primitive_desc_query(p->desc, dnnl_query_impl_info_str, 0, (void *)&name)) ||
           strncmp(name, "ref", 3) == 0;
}

/* add: forward adds to what is there. threads: those the kernel runs with. */
static bool open_plan(const gm_conv *g, size_t n, direction to, bool bias, bool add, int threads,
                      plan *p)
{
    *p = (plan){.threads = omp_get_max_threads()};
    omp_set_num_threads(threads);
    dnnl_post_ops_t after = NULL;
    bool ok = done(dnnl_engine_create(&p->engine, dnnl_cpu, 0)) &&
              done(dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags)) &&
              done(dnnl_primitive_attr_create(&p->attr)) &&
              done(dnnl_primitive_attr_set_scratchpad_mode(p->attr, dnnl_scratchpad_mode_user));
    if (ok && add && to == FORWARD) {
        ok = done(dnnl_post_ops_create(&after)) && done(dnnl_post_ops_append_sum(after, 1.0F)) &&
             done(dnnl_primitive_attr_set_post_ops(p->attr, after));
        if (after) dnnl_post_ops_destroy(after);
    }
    if (!ok || !describe_arrays(g, n, p) || !describe_kernel(g, to, bias, p)) return false;
    if (is_reference(p)) return false;
    p->weight = dnnl_primitive_desc_query_md(
        p->desc, to == BACKWARD_WEIGHT ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    p->weight_bytes = aligned(dnnl_memory_desc_get_size(p->weight));
    p->own_bytes = aligned(dnnl_memory_desc_get_size(
        dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0)));
    p->image_bytes = to == BACKWARD_DATA && add ? dnnl_memory_desc_get_size(&p->image) : 0;
    return true;
}

static int threads_here(void)
{
    return omp_in_parallel() ? 1 : omp_get_max_threads();
}

/* oneDNN takes all arrays as writable; it writes to its outputs alone. */
typedef struct argument {
    int name;
    const dnnl_memory_desc_t *desc;
    union {
        const void *read;
        void *write;
    } data;
} argument;

/* Creates the primitive, hands it its arrays, runs it. */
static bool run(const plan *p, dnnl_primitive_desc_t desc, int count, const argument *given)
{
    enum { MOST = 5 };
    dnnl_primitive_t primitive = NULL;
    dnnl_exec_arg_t arg[MOST] = {{0}};
    bool ok = done(dnnl_primitive_create(&primitive, desc));
    for (int i = 0; ok && i < count; i++) {
        arg[i].arg = given[i].name;
        ok =
            done(dnnl_memory_create(&arg[i].memory, given[i].desc, p->engine, given[i].data.write));
    }
    ok = ok && done(dnnl_primitive_execute(primitive, p->stream, count, arg)) &&
         done(dnnl_stream_wait(p->stream));
    for (int i = 0; i < count; i++) {
        if (arg[i].memory) dnnl_memory_destroy(arg[i].memory);
    }
    if (primitive) dnnl_primitive_destroy(primitive);
    return ok;
}

/* to = from in another layout, or to += from. */
static bool reorder(const plan *p, const dnnl_memory_desc_t *from_desc, const void *from,
                    const dnnl_memory_desc_t *to_desc, void *to, bool add)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t after = NULL;
    dnnl_primitive_desc_t desc = NULL;
    bool ok = done(dnnl_primitive_attr_create(&attr));
    if (ok && add) {
        ok = done(dnnl_post_ops_create(&after)) && done(dnnl_post_ops_append_sum(after, 1.0F)) &&
             done(dnnl_primitive_attr_set_post_ops(attr, after));
    }
    ok = ok && done(dnnl_reorder_primitive_desc_create(&desc, from_desc, p->engine, to_desc,
                                                       p->engine, attr));
    argument arguments[] = {{DNNL_ARG_FROM, from_desc, {.read = from}},
                            {DNNL_ARG_TO, to_desc, {.write = to}}};
    ok = ok && run(p, desc, 2, arguments);
    if (desc) dnnl_primitive_desc_destroy(desc);
    if (after) dnnl_post_ops_destroy(after);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return ok;
}

/* The caller's weights as the kernel wants them: themselves, or a copy in the scratch. */
static const void *kernel_weights(const plan *p, const float *weight, void *scratch)
{
    if (dnnl_memory_desc_equal(p->weight, &p->plain)) return weight;
    return reorder(p, &p->plain, weight, p->weight, scratch, false) ? scratch : NULL;
}

static bool fits(const plan *p, gm_scratch scratch)
{
    return p->weight_bytes + p->own_bytes + p->image_bytes <= scratch.bytes;
}

/* Argument of the kernel's own scratch. */
static argument own_scratch(const plan *p, gm_scratch scratch)
{
    return (argument){DNNL_ARG_SCRATCHPAD,
                      dnnl_primitive_desc_query_md(p->desc, dnnl_query_scratchpad_md, 0),
                      {.write = (char *)scratch.memory + p->weight_bytes}};
}

size_t gm_dnnl_conv_scratch(const gm_conv *g, size_t n)
{
    size_t most = 0;
    for (int many = 0; many < 2; many++) {
        for (int to = FORWARD; to <= BACKWARD_WEIGHT; to++) {
            plan p;
            bool ok =
                open_plan(g, n, (direction)to, true, true, many ? omp_get_max_threads() : 1, &p);
            size_t bytes = p.weight_bytes + p.own_bytes + p.image_bytes;
            if (ok && bytes > most) most = bytes;
            close_plan(&p);
        }
    }
    return most;
}

bool gm_dnnl_conv_forward(const gm_conv *g, size_t n, const float *x, const float *weight,
                          const float *bias, bool add, float *y, gm_scratch scratch)
{
    plan p;
    bool ok = open_plan(g, n, FORWARD, bias, add, threads_here(), &p) && fits(&p, scratch);
    const void *w = ok ? kernel_weights(&p, weight, scratch.memory) : NULL;
    argument arguments[] = {{DNNL_ARG_SRC, &p.image, {.read = x}},
                            {DNNL_ARG_WEIGHTS, p.weight, {.read = w}},
                            {DNNL_ARG_DST, &p.out, {.write = y}},
                            ok ? own_scratch(&p, scratch) : (argument){0},
                            {DNNL_ARG_BIAS, &p.bias, {.read = bias}}};
    ok = w && run(&p, p.desc, bias ? 5 : 4, arguments);
    close_plan(&p);
    return ok;
}

bool gm_dnnl_conv_backward_data(const gm_conv *g, size_t n, const float *dy, const float *weight,
                                bool add, float *dx, gm_scratch scratch)
{
    plan p;
    bool ok = open_plan(g, n, BACKWARD_DATA, false, add, threads_here(), &p) && fits(&p, scratch);
    const void *w = ok ? kernel_weights(&p, weight, scratch.memory) : NULL;
    float *image = add && ok ? (void *)((char *)scratch.memory + p.weight_bytes + p.own_bytes) : dx;
    argument arguments[] = {{DNNL_ARG_DIFF_DST, &p.out, {.read = dy}},
                            {DNNL_ARG_WEIGHTS, p.weight, {.read = w}},
                            {DNNL_ARG_DIFF_SRC, &p.image, {.write = image}},
                            ok ? own_scratch(&p, scratch) : (argument){0}};
    ok = w && run(&p, p.desc, 4, arguments);
    close_plan(&p);
    const gm_window *window = &g->window;
    if (ok && add) {
        gm_kernels_get(GM_F32)->axpy(n * window->channels * window->in[0] * window->in[1], 1.0,
                                     image, dx);
    }
    return ok;
}

bool gm_dnnl_conv_backward_weight(const gm_conv *g, size_t n, const float *x, const float *dy,
                                  float *dweight, gm_scratch scratch)
{
    plan p;
    bool ok =
        open_plan(g, n, BACKWARD_WEIGHT, false, false, threads_here(), &p) && fits(&p, scratch);
    argument arguments[] = {{DNNL_ARG_SRC, &p.image, {.read = x}},
                            {DNNL_ARG_DIFF_DST, &p.out, {.read = dy}},
                            {DNNL_ARG_DIFF_WEIGHTS, p.weight, {.write = scratch.memory}},
                            ok ? own_scratch(&p, scratch) : (argument){0}};
    ok = ok && run(&p, p.desc, 4, arguments) &&
         reorder(&p, p.weight, scratch.memory, &p.plain, dweight, true);
    close_plan(&p);
    return ok;
}
