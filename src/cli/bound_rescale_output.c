/* gradiometer bound rescale: the document and the readable form. */
#include <math.h>
#include <stdio.h>

#include "cli/bound.h"

/* The value under one re-scaling of measure i, or of invariant i - GM_MEASURES. */
static double value_of(const gm_rescaled *item, int i)
{
    return i < GM_MEASURES ? item->measures.value[i] : item->invariant[i - GM_MEASURES];
}

static const char *name_of(int i)
{
    return i < GM_MEASURES ? gm_measure_kinds[i].name : gm_bound_invariant[i - GM_MEASURES];
}

enum { ROWS = GM_MEASURES + GM_BOUND_INVARIANTS };

static json_t *case_of(gm_cli *cli, const gm_rescale_run *run, const gm_rescaled *item)
{
    json_t *o = json_object(), *values = json_object();
    json_object_set_new(o, "magnitude", json_real(item->magnitude));
    json_object_set_new(o, "alpha", gm_json_numbers(cli, "alpha", run->layers, item->alpha));
    json_object_set_new(o, "error", json_real(item->error));
    for (int k = 0; k < GM_BOUND_INVARIANTS; k++) {
        json_object_set_new(values, gm_bound_invariant[k],
                            gm_json_number(cli, gm_bound_invariant[k], item->invariant[k]));
    }
    json_object_set_new(o, "terms", values);
    json_object_set_new(o, "measures",
                        gm_bound_measures(cli, &item->measures, run->measure.radius));
    return o;
}

json_t *gm_rescale_document(gm_cli *cli, const gm_session *session, const gm_rescale_run *run,
                            gm_error *err)
{
    json_t *d = gm_document_create(cli, session, err);
    if (!d) return NULL;
    json_t *cases = json_array(), *rescaling = json_object();
    for (size_t i = 0; i < run->count; i++) {
        json_array_append_new(cases, case_of(cli, run, &run->item[i]));
    }
    json_object_set_new(rescaling, "max_relative_change",
                        gm_json_number(cli, "max_relative_change", run->change));
    json_object_set_new(rescaling, "changed_most", json_string(run->changed));
    json_object_set_new(rescaling, "cases", cases);
    json_object_set_new(d, "subcommand", json_string("rescale"));
    json_object_set_new(d, "rescaling", rescaling);
    return d;
}

void gm_rescale_print(const gm_cli *cli, const gm_session *session, const gm_rescale_run *run)
{
    gm_document_describe(session);
    printf(
        "\nlayers multiplied by random alpha with product 1, biases and initialization along with "
        "them\n\n  %-28s",
        "largest alpha or 1/alpha");
    for (size_t i = 0; i < run->count; i++) {
        printf(" %11.4g", run->item[i].magnitude);
    }
    for (int row = 0; row < ROWS; row++) {
        if (isnan(value_of(&run->item[0], row))) continue;
        bool stays = row >= GM_MEASURES || gm_measure_kinds[row].invariant;
        if (row == GM_MEASURES) printf("\n\n  the bound and its terms");
        printf("\n  %-19s %-8s", name_of(row), stays ? "stays" : "changes");
        for (size_t i = 0; i < run->count; i++) {
            printf(" %11.6g", value_of(&run->item[i], row));
        }
    }
    printf("\n\nlargest relative change of loss, terms and bounds: %.2g (%s), in %s\n%.3g s\n",
           run->change, run->changed, gm_dtype_name(session->precision), gm_cli_seconds(cli));
}
