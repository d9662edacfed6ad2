#include "cli/spectrum_source.h"

#include <string.h>

gm_status gm_spectrum_check_inputs(const gm_cli *cli, const gm_spectrum_settings *set,
                                   gm_error *err)
{
    return set->matrix ? gm_matrix_check_options(cli, err) : GM_OK;
}

gm_status gm_spectrum_source_open(gm_cli *cli, const gm_spectrum_settings *set, gm_session *session,
                                  gm_spectrum_source *source, gm_error *err)
{
    *source = (gm_spectrum_source){.cli = cli, .session = session};
    if (set->matrix) return gm_matrix_open(cli, set->matrix, session, &source->matrix, err);
    return gm_session_open(cli, session, err);
}

gm_status gm_spectrum_source_linearize(gm_spectrum_source *source, gm_problem *problem,
                                       gm_error *err)
{
    if (source->matrix.apply) return GM_OK;
    return gm_linearize(problem, source->session->theta, &source->lin, err);
}

void gm_spectrum_source_close(gm_spectrum_source *source)
{
    gm_operator_destroy(&source->matrix);
    gm_linearization_free(source->lin);
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

static size_t block_size(const gm_spectrum_source *source, size_t i)
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
        size_t size = block_size(source, i);
        if (size > largest) largest = size;
    }
    return largest;
}

gm_status gm_spectrum_source_block(gm_spectrum_source *source, const gm_spectrum_settings *set,
                                   size_t i, gm_spectrum_operator *target, gm_error *err)
{
    const gm_session *session = source->session;
    bool quiet = source->cli->shared.quiet;
    if (source->matrix.apply) {
        gm_matrix_target(&source->matrix, quiet, target);
        return GM_OK;
    }
    int layer = layer_of_block(session, i);
    const char *name =
        layer == GM_ALL_LAYERS ? NULL : gm_net_layer_at(session->net, (size_t)layer).name;
    return gm_spectrum_operator_curvature(source->lin, set->kind, layer, name, quiet, target, err);
}
