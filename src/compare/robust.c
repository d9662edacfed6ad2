/* Sign errors over pairs of runs that differ in one setting, by environment (Dziugaite et al. 2020,
 * arXiv 2010.11924). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "gradiometer/compare.h"

double gm_sign_certainty(double difference, double n)
{
    double half = 0.5 * difference, right = 1.0 - 2.0 * exp(-2.0 * n * half * half);
    return right > 0.0 ? right * right : 0.0;
}

/* The one setting in which rows i and j differ; `settings` where it is none or several. */
static size_t only_difference(const gm_run_table *t, size_t i, size_t j)
{
    size_t at = t->settings;
    for (size_t s = 0; s < t->settings; s++) {
        if (t->level[i * t->settings + s] == t->level[j * t->settings + s]) continue;
        if (at < t->settings) return t->settings;
        at = s;
    }
    return at;
}

static gm_environment key_of(const gm_run_table *t, size_t i, size_t j, size_t setting)
{
    size_t a = t->level[i * t->settings + setting], b = t->level[j * t->settings + setting];
    return (gm_environment){.setting = setting, .low = a < b ? a : b, .high = a < b ? b : a};
}

static int by_key(const void *left, const void *right)
{
    const gm_environment *a = left, *b = right;
    if (a->setting != b->setting) return a->setting < b->setting ? -1 : 1;
    if (a->low != b->low) return a->low < b->low ? -1 : 1;
    return (a->high > b->high) - (a->high < b->high);
}

static double sign_error(double measure, double gap)
{
    if (measure == 0.0 || gap == 0.0) return 0.5;
    return (measure > 0.0) == (gap > 0.0) ? 0.0 : 1.0;
}

static int sign_of(double a, double b)
{
    return (a > b) - (a < b);
}

/* One pair as an environment of its own; false where it is none. */
static bool pair_of(const gm_run_table *t, const double *measure, double least, size_t i, size_t j,
                    gm_environment *pair)
{
    if (isnan(measure[i]) || isnan(measure[j]) || isnan(t->gap[i]) || isnan(t->gap[j]))
        return false;
    size_t setting = only_difference(t, i, j);
    if (setting == t->settings) return false;
    double gap = t->gap[i] - t->gap[j];
    double n = t->samples[i] < t->samples[j] ? t->samples[i] : t->samples[j];
    double certainty = gm_sign_certainty(gap, n);
    *pair = key_of(t, i, j, setting);
    pair->pairs = 1;
    pair->kept = certainty > 0.0 && certainty >= least;
    if (!pair->kept) return true;
    pair->weight = certainty;
    pair->error = certainty * sign_error(sign_of(measure[i], measure[j]), gap);
    return true;
}

/* Adds up what has equal keys, list being sorted; returns how many environments there are. */
static size_t merge(size_t count, gm_environment *list)
{
    size_t merged = 0;
    for (size_t i = 0; i < count; i++) {
        if (merged && by_key(&list[merged - 1], &list[i]) == 0) {
            gm_environment *e = &list[merged - 1];
            e->pairs++;
            e->kept += list[i].kept;
            e->weight += list[i].weight;
            e->error += list[i].error;
        } else {
            list[merged++] = list[i];
        }
    }
    return merged;
}

/* From sums to means. */
static void summarize(gm_robust *r)
{
    double weight = 0.0, error = 0.0;
    r->mean = r->worst = (double)NAN;
    for (size_t i = 0; i < r->environments; i++) {
        gm_environment *e = &r->environment[i];
        r->pairs += e->pairs;
        r->kept += e->kept;
        weight += e->weight;
        error += e->error;
        e->error = e->kept ? e->error / e->weight : (double)NAN;
        if (e->kept && !(e->error <= r->worst)) {
            r->worst = e->error;
            r->worst_at = i;
        }
    }
    if (r->kept) r->mean = error / weight;
}

gm_status gm_robust_scores(const gm_run_table *table, const double *measure, double least,
                           gm_robust *robust, gm_error *err)
{
    *robust = (gm_robust){0};
    if (!(least >= 0.0 && least <= 1.0))
        return gm_fail(err, GM_ERR_USAGE, "certainty %g, expected 0 ... 1", least);
    size_t pairs, n = table->runs;
    if (!gm_mul_size(n, n, &pairs))
        return gm_fail(err, GM_ERR_MEMORY, "pairs of %zu runs overflow", n);
    robust->environment = gm_alloc(pairs / 2 + 1, sizeof *robust->environment, "pairs", err);
    if (!robust->environment) return GM_ERR_MEMORY;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            count += pair_of(table, measure, least, i, j, &robust->environment[count]);
        }
    }
    qsort(robust->environment, count, sizeof *robust->environment, by_key);
    robust->environments = merge(count, robust->environment);
    summarize(robust);
    return GM_OK;
}

void gm_robust_free(gm_robust *robust)
{
    gm_free(robust->environment);
    *robust = (gm_robust){0};
}
