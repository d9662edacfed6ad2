#include "report/ensembles.h"

#include <string.h>

const json_t *gm_dynamics_of(const gm_subject *subject, const char *subcommand, size_t number)
{
    for (size_t i = 0; i < subject->results; i++) {
        const char *what = gm_result_text(subject->result[i].document, "subcommand");
        if (what && strcmp(what, subcommand) == 0 && number-- == 0)
            return subject->result[i].document;
    }
    return NULL;
}

const json_t *gm_ensemble_of(const gm_subject *subject, size_t number)
{
    const json_t *document;
    for (size_t i = 0; (document = gm_dynamics_of(subject, "ensemble", i)); i++) {
        if (gm_result_number(document, "runs") > 0.0 && number-- == 0) return document;
    }
    return NULL;
}
