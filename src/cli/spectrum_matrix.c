/* spectrum --matrix: a symmetric matrix from a file in the place of net and data, for trying the
 * solvers on spectra that one knows. */
#include "cli/spectrum_source.h"
#include "gradiometer/matrix.h"

gm_status gm_matrix_check_options(const gm_cli *cli, gm_error *err)
{
    static const char *const of_nets[] = {
        "model", "params", "data",      "subset",   "random-labels", "standardize",   "loss",
        "layer", "layers", "precision", "operator", "precondition",  "data-resample", NULL};
    for (const char *const *name = of_nets; *name; name++) {
        if (!gm_cli_given(cli, *name)) continue;
        return gm_fail(err, GM_ERR_USAGE,
                       "--%s: found beside --matrix, which is measured without net and data "
                       "(in f64); expected one of them",
                       *name);
    }
    return GM_OK;
}

gm_status gm_matrix_open(gm_cli *cli, const char *path, gm_session *session, gm_operator *matrix,
                         gm_error *err)
{
    gm_session_open_alone(cli, session);
    session->matrix = path;
    gm_error inner = {0};
    gm_status status = gm_operator_load(path, gm_session_memory(session), matrix, &inner);
    if (status == GM_OK) return GM_OK;
    return gm_fail(err, status, "--matrix: %s", inner.message);
}

static gm_status exact_diagonal(gm_spectrum_operator *target, double *diagonal, gm_error *err)
{
    (void)err;
    gm_operator_load_diagonal(target->context, diagonal);
    return GM_OK;
}

void gm_matrix_target(const gm_operator *matrix, bool quiet, gm_spectrum_operator *target)
{
    gm_operator borrowed = *matrix;
    borrowed.destroy = NULL;
    gm_spectrum_operator_wrap(&borrowed, NULL, quiet, target);
    target->context = (void *)matrix;
    target->diagonal = exact_diagonal;
}
