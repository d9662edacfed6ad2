/* gradiometer dynamics martingale: the document and the readable form. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "cli/dynamics.h"

static const double confidence = 0.95;

static const gm_martingale_entry *entry_of(const gm_martingale *m, size_t point, size_t policy)
{
    return &m->entry[point * m->policies + policy];
}

/* ---- JSON ---- */

static json_t *step_value(gm_cli *cli, int64_t step, const gm_martingale_entry *e)
{
    const gm_step_choice *c = &e->choice;
    json_t *o = json_object();
    json_object_set_new(o, "step", step >= 0 ? json_integer(step) : json_null());
    json_object_set_new(o, "eta", gm_json_number(cli, "eta", c->step));
    json_object_set_new(o, "eta_lim", gm_json_number(cli, "eta_lim", c->limit));
    json_object_set_new(o, "mean", gm_json_number(cli, "mean of Delta", e->rise.mean));
    json_object_set_new(o, "se", gm_json_number(cli, "its error", e->rise.std_error));
    json_object_set_new(o, "upper", gm_json_number(cli, "upper limit", e->rise.upper));
    json_object_set_new(o, "bound", gm_json_number(cli, "bound", e->bound));
    json_object_set_new(o, "ok", json_boolean(e->rise.ok));
    json_object_set_new(o, "infinite", json_integer((json_int_t)e->rise.infinite));
    json_object_set_new(o, "gradient_square",
                        gm_json_number(cli, "mu.D^-1 mu", c->gradient_square));
    json_object_set_new(o, "trace_moment",
                        gm_json_number(cli, "tr D^-1 M_m D^-1", c->trace_moment));
    json_object_set_new(o, "curvature", gm_json_number(cli, "L", c->curvature));
    return o;
}

static json_t *steps_of(gm_cli *cli, const gm_martingale *m, size_t policy)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->points.count; i++) {
        json_array_append_new(list, step_value(cli, m->points.step[i], entry_of(m, i, policy)));
    }
    return list;
}

json_t *gm_martingale_document(gm_cli *cli, const gm_session *session, const gm_martingale *m,
                               gm_error *err)
{
    json_t *d = gm_document_create(cli, session, err);
    if (!d) return NULL;
    json_object_set_new(d, "subcommand", json_string("martingale"));
    json_object_set_new(d, "batch", json_integer((json_int_t)m->batch));
    json_object_set_new(d, "replacement", json_string(gm_replacement_name(m->replacement)));
    json_object_set_new(d, "precondition", json_string(gm_precondition_name(m->precondition)));
    json_object_set_new(d, "draws", json_integer((json_int_t)m->draws));
    json_object_set_new(d, "confidence", json_real(confidence));
    json_t *policies = json_array(), *share = json_array(), *ci = json_array(),
           *steps = json_array();
    for (size_t i = 0; i < m->policies; i++) {
        char text[GM_POLICY_TEXT];
        double low, high, count = (double)m->points.count;
        size_t ok = gm_martingale_ok(m, i);
        gm_policy_print(&m->policy[i], m->first[i], text);
        gm_clopper_pearson(ok, m->points.count, confidence, &low, &high);
        json_array_append_new(policies, json_string(text));
        json_array_append_new(share, json_real((double)ok / count));
        json_array_append_new(ci, json_pack("[f, f]", low, high));
        json_array_append_new(steps, steps_of(cli, m, i));
    }
    bool one = m->policies == 1;
    json_object_set_new(d, "policies", policies);
    json_object_set(d, "share_ok", one ? json_array_get(share, 0) : share);
    json_object_set(d, "share_ci", one ? json_array_get(ci, 0) : ci);
    json_object_set(d, "steps", one ? json_array_get(steps, 0) : steps);
    json_decref(share);
    json_decref(ci);
    json_decref(steps);
    return d;
}

/* ---- text ---- */

static void print_policy(const gm_martingale *m, size_t policy)
{
    char text[GM_POLICY_TEXT];
    gm_policy_print(&m->policy[policy], m->first[policy], text);
    printf("\nstep %s\n%10s %11s %11s %12s %10s %12s %12s\n", text, "at", "eta", "eta_lim",
           "mean Delta", "+-", "upper", "bound");
    for (size_t i = 0; i < m->points.count; i++) {
        const gm_martingale_entry *e = entry_of(m, i, policy);
        if (m->points.step[i] >= 0) printf("%10" PRId64, m->points.step[i]);
        if (m->points.step[i] < 0) printf("%10s", "-");
        printf(" %11.4g %11.4g %12.4g %10.2g %12.4g %12.4g  %s", e->choice.step, e->choice.limit,
               e->rise.mean, e->rise.std_error, e->rise.upper, e->bound,
               e->rise.ok ? "ok" : "not shown to fall");
        if (e->rise.infinite) printf(", %zu draws infinite", e->rise.infinite);
        putchar('\n');
    }
}

/* Points where one policy passes and the other does not. */
static void print_comparison(const gm_martingale *m)
{
    char first[GM_POLICY_TEXT], other[GM_POLICY_TEXT];
    gm_policy_print(&m->policy[0], m->first[0], first);
    for (size_t k = 1; k < m->policies; k++) {
        size_t gained = 0, lost = 0;
        gm_policy_print(&m->policy[k], m->first[k], other);
        for (size_t i = 0; i < m->points.count; i++) {
            bool a = entry_of(m, i, 0)->rise.ok, b = entry_of(m, i, k)->rise.ok;
            gained += b && !a;
            lost += a && !b;
        }
        printf("%s fails and %s passes at %zu points, the reverse at %zu\n", first, other, gained,
               lost);
    }
}

void gm_martingale_print(const gm_cli *cli, const gm_session *session, const gm_martingale *m)
{
    gm_document_describe(session);
    printf(
        "\nE[f(theta - eta %sg)] - f(theta), %zu draws of %zu samples with%s replacement at each "
        "point",
        m->precondition == GM_PRECONDITION_NONE ? "" : "D^-1 ", m->draws, m->batch,
        m->replacement == GM_REPLACEMENT_YES ? "" : "out");
    if (m->precondition != GM_PRECONDITION_NONE)
        printf(", D of %s", gm_precondition_name(m->precondition));
    putchar('\n');
    for (size_t i = 0; i < m->policies; i++) {
        print_policy(m, i);
    }
    putchar('\n');
    for (size_t i = 0; i < m->policies; i++) {
        char text[GM_POLICY_TEXT];
        double low, high;
        size_t ok = gm_martingale_ok(m, i);
        gm_policy_print(&m->policy[i], m->first[i], text);
        gm_clopper_pearson(ok, m->points.count, confidence, &low, &high);
        printf("%s: the upper limit is at most 0 at %zu of %zu points, %.3g %% (95 %%: %.3g to "
               "%.3g %%)\n",
               text, ok, m->points.count, 100.0 * (double)ok / (double)m->points.count, 100.0 * low,
               100.0 * high);
    }
    print_comparison(m);
    printf("upper: end of Student's 95 %% interval of the mean; bound: -eta |mu|^2 + eta^2/2 L tr "
           "M_m, L seen at the point and at a trial point\n%.3g s\n",
           gm_cli_seconds(cli));
}
