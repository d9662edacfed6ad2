/* The Hessian against the second moment of stochastic gradients at one point (survey.h), and how
 * two subspaces lie to each other (spectrum.h).
 *
 *     decomposition      status 1 where a check fails */
#include "setting.h"

/* Every eigenvalue of H, M and H_p = M - H, and the findings on them. */
static gm_status survey(gm_linearization *lin, gm_error *err)
{
    gm_decompose_options options;
    gm_decomposition d = {0};
    gm_finding finding[GM_FINDINGS];
    gm_decompose_options_default(&options); /* dense up to 5,000 parameters, else by products */
    options.k = 4;
    gm_status status = gm_decompose(lin, &options, &d, err);
    if (!status) status = gm_decompose_findings(1, &d, options.seed, finding, err);
    if (status) return status;
    const gm_operator_survey *hessian = &d.block.op[GM_HESSIAN], *moment = &d.block.op[GM_MOMENT],
                             *residual = &d.block.op[GM_RESIDUAL];
    printf("loss %.4f; the %zu largest eigenvalues of H and M:\n", d.loss, options.k);
    for (size_t j = 0; j < options.k; j++) {
        printf("  %10.5f %10.5f   cosine %.4f\n", hessian->value[j], moment->value[j],
               d.block.cosine[j]);
    }
    agree("tr H = tr M - tr H_p", hessian->summary.trace,
          moment->summary.trace - residual->summary.trace, 1e-10 * moment->summary.trace);
    agree("H - M + H_p on random vectors", d.block.decomposition_error, 0.0, 1e-12);

    /* The angles again, from the eigenvectors. */
    double angle[4], cosine[4];
    status = gm_principal_angles(d.block.angles, d.block.angles, hessian->summary.size,
                                 hessian->lead_vector, moment->lead_vector, angle, cosine, err);
    if (!status)
        agree("largest angle", angle[d.block.angles - 1], d.block.angle[d.block.angles - 1], 1e-10);
    for (int i = 0; i < GM_FINDINGS; i++) {
        printf("  %s: %s\n", finding[i].name, gm_verdict_name(finding[i].verdict));
    }
    gm_decomposition_free(&d);
    return status;
}

/* The trace two ways: of the dense matrix, and of the exact diagonal that needs none. */
static gm_status traces(setting *s, gm_linearization *lin, gm_error *err)
{
    double *matrix = malloc(s->p * s->p * sizeof *matrix), trace = 0, diagonal_trace = 0;
    double *diagonal = malloc(s->p * sizeof *diagonal);
    gm_status status = matrix && diagonal ? GM_OK : gm_fail(err, GM_ERR_MEMORY, "no memory");
    if (!status) status = gm_curvature_dense(lin, GM_HESSIAN, GM_ALL_LAYERS, matrix, err);
    if (!status) status = gm_curvature_diagonal(lin, GM_HESSIAN, GM_ALL_LAYERS, diagonal, err);
    for (size_t j = 0; !status && j < s->p; j++) {
        trace += matrix[j * s->p + j];
        diagonal_trace += diagonal[j];
    }
    if (!status) agree("trace of the dense H", trace, diagonal_trace, 1e-10 * fabs(trace));
    free(matrix);
    free(diagonal);
    return status;
}

int main(void)
{
    gm_error err = {0};
    gm_linearization *lin = NULL;
    setting s;
    gm_status status = setting_open("mlp:8-6-4", "gauss:k=4,d=8,n=80", &s, &err);
    if (!status) status = setting_train(&s, 300, 10, 0.1, &err);
    if (!status) status = gm_linearize(s.problem, s.theta, &lin, &err);
    if (!status) status = survey(lin, &err);
    if (!status) status = traces(&s, lin, &err);
    gm_linearization_free(lin);
    setting_close(&s);
    return setting_end(status, &err);
}
