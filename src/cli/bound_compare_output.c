/* gradiometer bound compare: the document and the readable form. */
#include <math.h>
#include <stdio.h>

#include "cli/bound_compare.h"

/* ---- the document ---- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *run_value(const gm_comparison *c, size_t i)
{
    const gm_compared *r = &c->run[i];
    json_t *settings = json_object(), *measures = json_object(), *o = json_object();
    for (size_t s = 0; s < GM_COMPARED_SETTINGS; s++) {
        json_object_set_new(settings, gm_compared_setting[s], json_string(r->setting[s]));
    }
    for (size_t m = 0; m < c->measures; m++) {
        json_object_set_new(measures, c->measure[m].name, number(c->measure[m].value[i]));
    }
    json_object_set_new(o, "run", json_string(r->path));
    json_object_set(o, "step", json_object_get(r->document, "step"));
    json_object_set_new(o, "settings", settings);
    json_object_set_new(o, "seed", json_string(r->seed));
    json_object_set_new(o, "training_error", number(r->training_error));
    json_object_set_new(o, "test_error", number(r->test_error));
    json_object_set_new(o, "test_samples", number(r->test_samples));
    json_object_set_new(o, "gap", number(r->gap));
    json_object_set_new(o, "bound", number(r->bound));
    json_object_set_new(o, "nonvacuous", json_boolean(gm_bound_nonvacuous(r->bound)));
    json_object_set(o, "valid", json_object_get(r->document, "valid"));
    json_object_set_new(o, "measures", measures);
    return o;
}

static json_t *environment_value(const gm_comparison *c, const gm_environment *e)
{
    json_t *o = json_object();
    json_object_set_new(o, "setting", json_string(gm_comparison_setting(c, e->setting)));
    json_object_set_new(o, "first", json_string(gm_comparison_level(c, e->setting, e->low)));
    json_object_set_new(o, "second", json_string(gm_comparison_level(c, e->setting, e->high)));
    json_object_set_new(o, "pairs", json_integer((json_int_t)e->pairs));
    json_object_set_new(o, "kept", json_integer((json_int_t)e->kept));
    json_object_set_new(o, "error", number(e->error));
    return o;
}

static json_t *measure_value(const gm_comparison *c, const gm_compared_measure *m)
{
    const gm_robust *r = &m->robust;
    json_t *o = json_object(), *list = json_array(), *sign = json_object();
    for (size_t i = 0; i < r->environments; i++) {
        json_array_append_new(list, environment_value(c, &r->environment[i]));
    }
    json_object_set_new(sign, "mean", number(r->mean));
    json_object_set_new(sign, "worst", number(r->worst));
    json_object_set_new(sign, "worst_environment",
                        r->kept ? environment_value(c, &r->environment[r->worst_at]) : json_null());
    json_object_set_new(sign, "pairs", json_integer((json_int_t)r->pairs));
    json_object_set_new(sign, "kept", json_integer((json_int_t)r->kept));
    json_object_set_new(sign, "environments", list);
    json_object_set_new(o, "name", json_string(m->name));
    json_object_set_new(o, "runs", json_integer((json_int_t)m->runs));
    json_object_set_new(o, "tau", number(m->rank.tau));
    json_object_set_new(o, "tau_low", number(m->rank.low));
    json_object_set_new(o, "tau_high", number(m->rank.high));
    json_object_set_new(o, "clusters", json_integer((json_int_t)m->rank.clusters));
    json_object_set_new(o, "undefined_resamples", json_integer((json_int_t)m->rank.undefined));
    json_object_set_new(o, "sign_error", sign);
    return o;
}

json_t *gm_comparison_document(gm_cli *cli, const gm_session *session, const gm_comparison *c,
                               gm_error *err)
{
    json_t *d = gm_document_create(cli, session, err);
    if (!d) return NULL;
    json_t *runs = json_array(), *measures = json_array(), *varied = json_array();
    for (size_t i = 0; i < c->runs; i++) {
        json_array_append_new(runs, run_value(c, i));
    }
    for (size_t i = 0; i < c->measures; i++) {
        if (c->measure[i].runs) json_array_append_new(measures, measure_value(c, &c->measure[i]));
    }
    for (size_t i = 0; i < c->settings; i++) {
        json_array_append_new(varied, json_string(gm_comparison_setting(c, i)));
    }
    json_object_set_new(d, "runs", runs);
    json_object_set_new(d, "varied", varied);
    json_object_set_new(d, "measures", measures);
    json_object_set_new(d, "level", json_real(c->rank.level));
    json_object_set_new(d, "resamples", json_integer((json_int_t)c->rank.resamples));
    json_object_set_new(d, "certainty", json_real(c->certainty));
    return d;
}

/* ---- the readable form ---- */

static void print_runs(const gm_comparison *c)
{
    printf("  %-20s", "run");
    for (size_t s = 0; s < GM_COMPARED_SETTINGS; s++) {
        if (c->varies[s]) printf(" %13s", gm_compared_setting[s]);
    }
    printf(" %6s %9s %9s %9s %9s\n", "seed", "training", "test", "gap", "bound");
    for (size_t i = 0; i < c->runs; i++) {
        const gm_compared *r = &c->run[i];
        printf("  %-20s", r->path);
        for (size_t s = 0; s < GM_COMPARED_SETTINGS; s++) {
            if (c->varies[s]) printf(" %13s", *r->setting[s] ? r->setting[s] : "-");
        }
        const json_t *valid = json_object_get(r->document, "valid");
        printf(" %6s %9.4f %9.4f %9.4f %9.4f %s\n", r->seed, r->training_error, r->test_error,
               r->gap, r->bound,
               json_is_false(valid)            ? "not valid"
               : gm_bound_nonvacuous(r->bound) ? "non-vacuous"
                                               : "vacuous");
    }
}

static void print_worst(const gm_comparison *c, const gm_robust *r)
{
    if (!r->kept) {
        printf("%7s %7s  no pair of runs that differ in one setting is certain", "-", "-");
        return;
    }
    const gm_environment *e = &r->environment[r->worst_at];
    printf("%7.2f %7.2f  %s %s, %s (%zu of %zu pairs)", r->mean, r->worst,
           gm_comparison_setting(c, e->setting), gm_comparison_level(c, e->setting, e->low),
           gm_comparison_level(c, e->setting, e->high), e->kept, e->pairs);
}

void gm_comparison_print(const gm_comparison *c)
{
    size_t pairs = 0, kept = 0, nonvacuous = 0;
    print_runs(c);
    for (size_t i = 0; i < c->runs; i++) {
        nonvacuous += gm_bound_nonvacuous(c->run[i].bound);
    }
    printf("\n%zu of %zu bounds are non-vacuous. gap: test error - training error of the "
           "deterministic net\n",
           nonvacuous, c->runs);
    printf("\n  %-22s %7s %17s %7s %7s  %s\n", "measure", "tau", "95 % interval", "mean", "worst",
           "sign error; worst environment");
    for (size_t i = 0; i < c->measures; i++) {
        const gm_compared_measure *m = &c->measure[i];
        if (!m->runs) continue;
        char interval[32] = "-", tau[16] = "-";
        if (!isnan(m->rank.tau)) snprintf(tau, sizeof tau, "%.2f", m->rank.tau);
        if (!isnan(m->rank.low))
            snprintf(interval, sizeof interval, "%.2f ... %.2f", m->rank.low, m->rank.high);
        printf("  %-22s %7s %17s ", m->name, tau, interval);
        print_worst(c, &m->robust);
        if (m->runs < c->runs) printf("; %zu runs", m->runs);
        putchar('\n');
        pairs = m->robust.pairs > pairs ? m->robust.pairs : pairs;
        kept = m->robust.kept > kept ? m->robust.kept : kept;
    }
    printf("\ntau: Kendall's tau-b with the gap; interval by %zu bootstrap resamples of settings "
           "(runs that differ in\nnothing but the seed are drawn together). Sign error: share of "
           "pairs differing in one setting whose order the\nmeasure gets wrong, 0.5 is a coin; %zu "
           "of %zu pairs have gaps whose order is certain to %g, the others are left out.\n",
           c->rank.resamples, kept, pairs, c->certainty);
}
