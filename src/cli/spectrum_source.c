#include "cli/spectrum_source.h"

#include <string.h>

#include "base/memory.h"
#include "cli/spectrum_resample.h"

gm_status gm_spectrum_check_inputs(const gm_cli *cli, const gm_spectrum_settings *set,
                                   gm_error *err)
{
    gm_status status = set->matrix ? gm_matrix_check_options(cli, err) : GM_OK;
    if (status == GM_OK) status = gm_divisor_check_options(cli, set, err);
    return status == GM_OK ? gm_resample_check_options(cli, set, err) : status;
}

static gm_status open_divisor(const gm_spectrum_settings *set, gm_spectrum_source *source,
                              gm_error *err)
{
    const gm_session *session = source->session;
    size_t size = set->matrix ? source->matrix.size : gm_net_parameters(session->net);
    size_t from = 0, count = size;
    if (gm_session_has_group(session) && (set->divisor || set->divisor_file)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--layer %s: a group of tensors, expected one layer or none beside "
                       "--precondition",
                       session->shared.layer);
    }
    if (session->layer != GM_ALL_LAYERS) {
        gm_net_layer layer = gm_net_layer_at(session->net, (size_t)session->layer);
        from = layer.offset;
        count = layer.parameters;
    }
    return gm_divisor_open(set, session, size, from, count, &source->divisor, err);
}

gm_status gm_spectrum_source_open(gm_cli *cli, const gm_spectrum_settings *set, gm_session *session,
                                  gm_spectrum_source *source, gm_error *err)
{
    *source = (gm_spectrum_source){.cli = cli, .session = session};
    gm_status status = set->matrix ? gm_matrix_open(cli, set->matrix, session, &source->matrix, err)
                                   : gm_session_open(cli, session, err);
    return status == GM_OK ? open_divisor(set, source, err) : status;
}

gm_status gm_spectrum_source_again(const gm_spectrum_source *source,
                                   const gm_spectrum_settings *set, gm_spectrum_source *again,
                                   gm_error *err)
{
    *again = (gm_spectrum_source){.cli = source->cli, .session = source->session};
    return open_divisor(set, again, err);
}
gm_status gm_spectrum_source_linearize(gm_spectrum_source *source, const gm_spectrum_settings *set,
                                       gm_problem *problem, gm_error *err)
{
    if (source->matrix.apply) return GM_OK;
    gm_status status = gm_linearize(problem, source->session->theta, &source->lin, err);
    if (status != GM_OK) return status;
    return gm_divisor_take(set, source->lin, &source->divisor, err);
}

void gm_spectrum_source_rest(gm_spectrum_source *source)
{
    gm_linearization_free(source->lin);
    source->lin = NULL;
}

void gm_spectrum_source_close(gm_spectrum_source *source)
{
    gm_operator_destroy(&source->matrix);
    gm_linearization_free(source->lin);
    gm_divisor_close(&source->divisor);
    memset(source, 0, sizeof *source);
}

/* ---- blocks ---- */

size_t gm_spectrum_source_blocks(const gm_spectrum_source *source)
{
    const gm_session *session = source->session;
    return session->each_layer ? gm_net_layers(session->net) : 1;
}

static int layer_of_block(const gm_session *session, size_t i)
{
    return session->each_layer ? (int)i : session->layer;
}

size_t gm_spectrum_source_size(const gm_spectrum_source *source, size_t i)
{
    const gm_session *session = source->session;
    if (source->matrix.apply) return source->matrix.size;
    int layer = layer_of_block(session, i);
    if (layer == GM_ALL_LAYERS) return gm_net_parameters(session->net);
    return gm_net_layer_at(session->net, (size_t)layer).parameters;
}

size_t gm_spectrum_source_largest(const gm_spectrum_source *source)
{
    size_t largest = 0;
    for (size_t i = 0; i < gm_spectrum_source_blocks(source); i++) {
        size_t size = gm_spectrum_source_size(source, i);
        if (size > largest) largest = size;
    }
    return largest;
}

const char *gm_spectrum_source_layer(const gm_spectrum_source *source, size_t i)
{
    const gm_session *session = source->session;
    int layer = source->matrix.apply ? GM_ALL_LAYERS : layer_of_block(session, i);
    return layer == GM_ALL_LAYERS ? NULL : gm_net_layer_at(session->net, (size_t)layer).name;
}

static gm_status open_plain(gm_spectrum_source *source, gm_curvature kind, size_t i,
                            gm_spectrum_operator *target, gm_error *err)
{
    const gm_session *session = source->session;
    bool quiet = source->cli->shared.quiet;
    if (source->matrix.apply) {
        gm_matrix_target(&source->matrix, quiet, target);
        return GM_OK;
    }
    return gm_spectrum_operator_curvature(source->lin, kind, layer_of_block(session, i),
                                          gm_spectrum_source_layer(source, i), quiet, target, err);
}

gm_status gm_spectrum_source_block(gm_spectrum_source *source, const gm_spectrum_settings *set,
                                   size_t i, gm_spectrum_operator *target, gm_error *err)
{
    const gm_session *session = source->session;
    int layer = layer_of_block(session, i);
    if (!source->divisor.name) return open_plain(source, set->kind, i, target, err);
    gm_spectrum_operator *base = gm_alloc(1, sizeof *base, "preconditioned operator", err);
    if (!base) return GM_ERR_MEMORY;
    gm_status status = open_plain(source, set->kind, i, base, err);
    if (status != GM_OK) {
        gm_free(base);
        return status;
    }
    size_t from = layer == GM_ALL_LAYERS ? 0 : gm_net_layer_at(session->net, (size_t)layer).offset;
    return gm_divisor_target(base, source->divisor.scale + from, source->cli->shared.quiet, target,
                             err);
}
