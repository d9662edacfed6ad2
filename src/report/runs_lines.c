#include "report/runs_lines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

double gm_runs_number(const gm_subject *run, const char *key)
{
    const char *text = gm_runs_value(run, key);
    char *end = NULL;
    double value = text ? strtod(text, &end) : (double)NAN;
    return text && end != text && !*end ? value : (double)NAN;
}

bool gm_runs_told(const gm_runs *runs, const char *key)
{
    for (size_t s = 0; s < runs->settings; s++) {
        if (strcmp(runs->setting[s].key, key) == 0) return true;
    }
    return false;
}

/* ---- lines ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Whether two runs are on one line: they agree in all that names them but the axis. */
static bool on_one_line(const gm_runs *runs, size_t a, size_t b, const char *key)
{
    for (size_t s = 0; s < runs->settings; s++) {
        const char *other = runs->setting[s].key;
        if (!runs->setting[s].names || strcmp(other, key) == 0) continue;
        if (!same_text(gm_runs_value(&runs->run[a], other), gm_runs_value(&runs->run[b], other)))
            return false;
    }
    return true;
}

/* Whether the line of run i has a run at another place. */
static bool has_counterpart(const gm_runs *runs, const gm_runs_lines *l, size_t i)
{
    double x = gm_runs_number(&runs->run[i], l->key);
    for (size_t j = 0; j < runs->count; j++) {
        if (l->of_run[j] == l->of_run[i] && gm_runs_number(&runs->run[j], l->key) != x) return true;
    }
    return false;
}

/* Numbers what is left anew. */
static void leave_out(const gm_runs *runs, gm_runs_lines *l)
{
    size_t count = 0;
    bool any = false;
    for (size_t i = 0; i < runs->count; i++) {
        any = any || has_counterpart(runs, l, i);
    }
    for (size_t line = 0; any && line < l->count; line++) {
        size_t first = l->first[line];
        size_t number = has_counterpart(runs, l, first) ? count++ : GM_RUNS_NO_LINE;
        for (size_t i = 0; i < runs->count; i++) { /* those that are done have smaller ones */
            if (l->of_run[i] == line) l->of_run[i] = number;
        }
        if (number == GM_RUNS_NO_LINE)
            l->alone = true;
        else
            l->first[number] = first;
    }
    if (any) l->count = count;
}

void gm_runs_lines_free(gm_runs_lines *l)
{
    gm_free(l->of_run);
    gm_free(l->first);
    *l = (gm_runs_lines){0};
}

gm_status gm_runs_lines_find(const gm_runs *runs, const char *key, gm_runs_lines *l, gm_error *err)
{
    *l = (gm_runs_lines){.key = key};
    l->of_run = gm_alloc(runs->count, sizeof *l->of_run, "lines of a figure", err);
    l->first = gm_alloc(runs->count, sizeof *l->first, "lines of a figure", err);
    if (!l->of_run || !l->first) return GM_ERR_MEMORY;
    for (size_t i = 0; i < runs->count; i++) {
        size_t j = 0;
        while (j < i && !on_one_line(runs, i, j, key)) {
            j++;
        }
        if (j == i) l->first[l->count] = i;
        l->of_run[i] = j < i ? l->of_run[j] : l->count++;
    }
    leave_out(runs, l);
    return GM_OK;
}

gm_status gm_runs_lines_of_groups(const gm_runs *runs, gm_runs_lines *l, gm_error *err)
{
    *l = (gm_runs_lines){.key = "", .count = runs->groups};
    l->first = gm_alloc(runs->groups, sizeof *l->first, "groups of runs", err);
    if (!l->first) return GM_ERR_MEMORY;
    for (size_t i = runs->count; i-- > 0;) {
        l->first[runs->group[i]] = i;
    }
    return GM_OK;
}

/* ---- what lines are called ---- */

static const char data_key[] = "data", policy_key[] = "train.policy", step_key[] = "train.step";

static const char *value_at(const gm_runs *runs, const gm_runs_lines *l, size_t line,
                            const char *key)
{
    return gm_runs_value(&runs->run[l->first[line]], key);
}

/* Whether every two lines differ in one of the keys, the one at `but` aside. */
static bool distinct(const gm_runs *runs, const gm_runs_lines *l, const char *const *key,
                     size_t keys, size_t but)
{
    for (size_t a = 0; a < l->count; a++) {
        for (size_t b = 0; b < a; b++) {
            bool told = false;
            for (size_t k = 0; k < keys && !told; k++) {
                told = k != but &&
                       !same_text(value_at(runs, l, a, key[k]), value_at(runs, l, b, key[k]));
            }
            if (!told) return false;
        }
    }
    return true;
}

static bool differs(const gm_runs *runs, const gm_runs_lines *l, const char *key)
{
    for (size_t line = 1; line < l->count; line++) {
        if (!same_text(value_at(runs, l, 0, key), value_at(runs, l, line, key))) return true;
    }
    return false;
}

/* What one asks of a run first; of the last ones only where the others do not tell it. */
static const char *const asked[] = {data_key, "train.batch", "random_labels", "subset",
                                    "model",  policy_key,    step_key};
enum { ASKED = sizeof asked / sizeof *asked, ALWAYS = 4 };

/* 0: never; more: the sooner left out where others tell the lines apart. */
static int dispensable(const char *key)
{
    int k = 0;
    while (k < ASKED && strcmp(key, asked[k]) != 0) {
        k++;
    }
    return k < ALWAYS ? 0 : k;
}

/* The step size is part of the policy. */
static bool is_said(const gm_runs *runs, const char *key)
{
    return strcmp(key, step_key) == 0 && gm_runs_told(runs, policy_key);
}

size_t gm_runs_lines_keys(const gm_runs *runs, const gm_runs_lines *l,
                          const char *key[GM_RUNS_KEYS])
{
    size_t keys = 0;
    for (size_t s = 0; s < runs->settings && keys < GM_RUNS_KEYS; s++) {
        const char *name = runs->setting[s].key;
        if (!runs->setting[s].names || strcmp(name, l->key) == 0 || is_said(runs, name)) continue;
        if (differs(runs, l, name)) key[keys++] = name;
    }
    for (int rank = ASKED; rank > 0; rank--) {
        for (size_t k = keys; k-- > 0;) {
            if (dispensable(key[k]) != rank || !distinct(runs, l, key, keys, k)) continue;
            memmove(key + k, key + k + 1, (--keys - k) * sizeof *key);
        }
    }
    return keys;
}

/* "gauss" of "gauss:k=10,n=100", "oracle" of "oracle:every=20", where no other line's is called
 * that; else the whole. */
static void append_short(const gm_runs *runs, const gm_runs_lines *l, size_t line, const char *key,
                         char text[GM_RUNS_LABEL])
{
    const char *own = value_at(runs, l, line, key);
    size_t length = strcspn(own, ":");
    bool unique = true;
    for (size_t i = 0; i < l->count && unique; i++) {
        const char *other = value_at(runs, l, i, key);
        unique = !other || strcmp(other, own) == 0 || strcspn(other, ":") != length ||
                 strncmp(other, own, length) != 0;
    }
    char word[GM_RUNS_LABEL];
    snprintf(word, sizeof word, "%.*s", (int)length, own);
    gm_runs_append(text, key, unique ? word : own);
}

static void append_setting(const gm_runs *runs, const gm_runs_lines *l, size_t line,
                           const char *key, char text[GM_RUNS_LABEL])
{
    const char *value = value_at(runs, l, line, key);
    if (!value) return; /* all samples, say */
    if (strcmp(key, policy_key) == 0 || strcmp(key, data_key) == 0)
        append_short(runs, l, line, key, text);
    else
        gm_runs_append(text, key, value);
}

void gm_runs_lines_common(const gm_runs *runs, const gm_runs_lines *l, char text[GM_RUNS_LABEL])
{
    *text = '\0';
    for (int k = 0; k < ASKED; k++) {
        bool said = is_said(runs, asked[k]) || strcmp(asked[k], l->key) == 0;
        if (!gm_runs_told(runs, asked[k]) || said) continue;
        if (!differs(runs, l, asked[k])) append_setting(runs, l, 0, asked[k], text);
    }
}

void gm_runs_lines_label(const gm_runs *runs, const gm_runs_lines *l, size_t line,
                         const char *const *key, size_t keys, char label[GM_RUNS_LABEL])
{
    *label = '\0';
    for (size_t k = 0; k < keys; k++) {
        append_setting(runs, l, line, key[k], label);
    }
    if (!keys) snprintf(label, GM_RUNS_LABEL, "all runs");
}
