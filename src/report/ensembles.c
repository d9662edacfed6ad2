#include "report/ensembles.h"

#include "report/curves.h"

const json_t *gm_ensemble_of(const gm_subject *subject, size_t number)
{
    const json_t *document;
    for (size_t i = 0; (document = gm_dynamics_result(subject, "ensemble", i)); i++) {
        if (gm_result_number(document, "runs") > 0.0 && number-- == 0) return document;
    }
    return NULL;
}
