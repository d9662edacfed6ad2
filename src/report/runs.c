#include "report/runs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "report/html.h"
#include "report/pictures.h"
#include "report/runs_lines.h"

/* ---- settings that differ ---- */

const char *gm_runs_value(const gm_subject *run, const char *key)
{
    const char *value = gm_subject_setting(run, key);
    if (!value && strcmp(key, "random_labels") == 0) return "0";
    return value;
}

static bool same_number(const char *a, const char *b)
{
    char *end_a, *end_b;
    double x = strtod(a, &end_a), y = strtod(b, &end_b);
    return end_a != a && end_b != b && !*end_a && !*end_b && x == y;
}

static bool same_value(const char *a, const char *b)
{
    if (!a || !b) return a == b;
    return strcmp(a, b) == 0 || same_number(a, b);
}

static bool is_one_of(const char *key, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(key, *words) == 0) return true;
    }
    return false;
}

/* Settings that follow from others or from the machine, and seeds: they name nothing. */
static const char *const unnamed[] = {"version",
                                      "machine",
                                      "isa",
                                      "threads",
                                      "memory",
                                      "seed",
                                      "train.seed",
                                      "train.run",
                                      "train.threads",
                                      "train.isa",
                                      "train.parameters",
                                      "train.samples",
                                      "train.checkpoint_every",
                                      "train.keep_every",
                                      "train.record_every",
                                      "train.track",
                                      "test_data",
                                      NULL};
static const char *const seeds[] = {"seed", "train.seed", "train.run", NULL};
/* The command repeats the others; checksums only confirm them. */
static const char *const left_out[] = {"command",          "train.data_crc32", "train.test_crc32",
                                       "prior.data_crc32", "train.chunk",      NULL};

/* Whether a run file says anything about a setting, by not naming it too: one that was made for
 * results alone, with no net and no training in it, lacks most. */
static bool tells(const gm_subject *run, const char *key)
{
    return gm_subject_setting(run, key) || gm_subject_setting(run, "model") ||
           gm_subject_setting(run, "train.batch");
}

static bool differs(const gm_subject *run, size_t count, const char *key)
{
    size_t first = 0;
    while (first < count && !tells(&run[first], key)) {
        first++;
    }
    for (size_t i = first + 1; i < count; i++) {
        if (!tells(&run[i], key)) continue;
        if (!same_value(gm_runs_value(&run[first], key), gm_runs_value(&run[i], key))) return true;
    }
    return false;
}

/* Whether the runs differ in their initialization as their seeds do. */
static bool follows_seed(const gm_runs *runs, const char *key)
{
    static const char drawn[] = "He initialization";
    if (strcmp(key, "params") != 0) return false;
    for (size_t i = 0; i < runs->count; i++) {
        const char *value = gm_runs_value(&runs->run[i], key);
        if (value && strncmp(value, drawn, sizeof drawn - 1) != 0) return false;
    }
    return true;
}

/* Whether a setting that is listed already has the same values in all runs ("seed" and
 * "train.seed"). */
static bool listed(const gm_runs *runs, const char *key)
{
    for (size_t s = 0; s < runs->settings; s++) {
        size_t i = 0;
        while (i < runs->count && (!tells(&runs->run[i], key) ||
                                   same_value(gm_runs_value(&runs->run[i], runs->setting[s].key),
                                              gm_runs_value(&runs->run[i], key)))) {
            i++;
        }
        if (i == runs->count) return true;
    }
    return false;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const gm_runs_setting *)a)->key, ((const gm_runs_setting *)b)->key);
}

static gm_status find_settings(gm_runs *runs, gm_error *err)
{
    size_t most = 0;
    for (size_t i = 0; i < runs->count; i++) {
        most += runs->run[i].settings;
    }
    runs->setting = gm_alloc(most, sizeof *runs->setting, "settings that differ", err);
    if (!runs->setting) return GM_ERR_MEMORY;
    for (size_t i = 0; i < runs->count; i++) {
        for (size_t s = 0; s < runs->run[i].settings; s++) {
            const char *key = runs->run[i].setting[s].key;
            bool before = i > 0 && gm_subject_setting(&runs->run[i - 1], key); /* looked at */
            if (before) continue;
            if (is_one_of(key, left_out) || !differs(runs->run, runs->count, key)) continue;
            if (listed(runs, key)) continue;
            bool names = !is_one_of(key, unnamed) && !follows_seed(runs, key);
            runs->setting[runs->settings++] = (gm_runs_setting){key, names};
        }
    }
    qsort(runs->setting, runs->settings, sizeof *runs->setting, by_key);
    return GM_OK;
}

/* ---- groups ---- */

/* Whether two runs agree in every setting that names (and, with `by`, in that one alone). */
static bool alike(const gm_runs *runs, size_t a, size_t b)
{
    const gm_subject *run = runs->run;
    if (runs->by)
        return same_value(gm_runs_value(&run[a], runs->by), gm_runs_value(&run[b], runs->by));
    for (size_t s = 0; s < runs->settings; s++) {
        const char *key = runs->setting[s].key;
        if (!runs->setting[s].names) continue;
        if (!same_value(gm_runs_value(&run[a], key), gm_runs_value(&run[b], key))) return false;
    }
    return true;
}

/* Numbers the groups in the order of their first runs; with `each` every run is its own. */
static void number_groups(gm_runs *runs, bool each)
{
    runs->groups = 0;
    for (size_t i = 0; i < runs->count; i++) {
        size_t j = 0;
        while (j < i && (each || !alike(runs, i, j))) {
            j++;
        }
        runs->group[i] = j < i ? runs->group[j] : runs->groups++;
    }
}

/* Appends to a label; what does not fit is cut at a character and ends in an ellipsis. */
static void append(char label[GM_RUNS_LABEL], const char *text)
{
    static const char ellipsis[] = "\xe2\x80\xa6";
    size_t used = strlen(label);
    while (*text) {
        bool shown;
        size_t length = gm_text_character(text, &shown);
        if (used + length + sizeof ellipsis > GM_RUNS_LABEL) {
            bool cut = used + sizeof ellipsis > GM_RUNS_LABEL; /* before */
            if (!cut) memcpy(label + used, ellipsis, sizeof ellipsis);
            return;
        }
        memcpy(label + used, text, length);
        used += length;
        text += length;
        label[used] = '\0';
    }
}

void gm_runs_append(char label[GM_RUNS_LABEL], const char *key, const char *value)
{
    static const char *const bare[] = {"data", "model", "loss", "matrix", NULL};
    char digits[GM_SETTING_DIGITS], words[GM_RUNS_LABEL], *end = NULL;
    bool fixed = strcmp(key, "train.policy") == 0 && value && strtod(value, &end) > 0.0 && !*end;
    const char *dot = strrchr(fixed ? "train.step" : key, '.');
    const char *shown = value ? gm_setting_shortest(value, digits) : "\xe2\x80\x93";
    const char *slash = strrchr(shown, '/'), *colon = strchr(shown, ':');
    snprintf(words, sizeof words, "%s ", dot ? dot + 1 : key);
    for (char *c = words; *c; c++) {
        if (*c == '_') *c = ' ';
    }
    if (*label) append(label, ", ");
    if (!is_one_of(key, bare)) {
        append(label, words);
    } else if (slash && colon && colon < slash) {
        snprintf(words, sizeof words, "%.*s", (int)(colon + 1 - shown), shown); /* "mnist:" */
        append(label, words);
    }
    append(label, slash ? slash + 1 : shown);
}

enum { MOST_NAMED = 3 };

/* The keys that labels are made of; returns how many, 0 for more than `most`. */
static size_t label_keys(const gm_runs *runs, bool each, const char *key[], size_t most)
{
    size_t count = 0;
    if (runs->by) {
        key[0] = runs->by;
        return 1;
    }
    for (size_t s = 0; s < runs->settings; s++) {
        const gm_runs_setting *setting = &runs->setting[s];
        bool wanted = each ? is_one_of(setting->key, seeds) : setting->names;
        if (!wanted) continue;
        if (count == most) return 0;
        key[count++] = setting->key;
    }
    return count;
}

/* By the settings that tell the groups apart. */
static gm_status write_telling_labels(gm_runs *runs, gm_error *err)
{
    gm_runs_lines lines;
    const char *key[GM_RUNS_KEYS];
    gm_status status = gm_runs_lines_of_groups(runs, &lines, err);
    if (status == GM_OK) {
        size_t keys = gm_runs_lines_keys(runs, &lines, key);
        for (size_t g = 0; g < runs->groups; g++) {
            gm_runs_lines_label(runs, &lines, g, key, keys, runs->label[g]);
        }
    }
    gm_runs_lines_free(&lines);
    return status;
}

/* Labels by all settings that differ where these are few; by their names of runs that settings do
 * not tell apart. */
static void write_labels(gm_runs *runs, bool each)
{
    const char *key[MOST_NAMED];
    size_t keys = label_keys(runs, each, key, MOST_NAMED);
    for (size_t i = runs->count; i-- > 0;) {
        char *label = runs->label[runs->group[i]];
        *label = '\0'; /* that of the group's first run is written last */
        for (size_t k = 0; k < keys; k++) {
            gm_runs_append(label, key[k], gm_runs_value(&runs->run[i], key[k]));
        }
        if (!keys) append(label, runs->run[i].name);
    }
}

static size_t largest_group(const gm_runs *runs)
{
    size_t largest = 0;
    for (size_t g = 0; g < runs->groups; g++) {
        size_t size = 0;
        for (size_t i = 0; i < runs->count; i++) {
            size += runs->group[i] == g;
        }
        if (size > largest) largest = size;
    }
    return largest;
}

/* The setting with few values that splits them best, for runs that are too many to be told apart.
 */
static const char *coarse_setting(gm_runs *runs)
{
    const char *best = NULL;
    size_t smallest = runs->count;
    for (size_t s = 0; s < runs->settings; s++) {
        if (!runs->setting[s].names) continue;
        runs->by = runs->setting[s].key;
        number_groups(runs, false);
        size_t largest = largest_group(runs);
        if (runs->groups > GM_RUNS_COLOURS || largest >= smallest) continue;
        smallest = largest;
        best = runs->by;
    }
    return best;
}

static gm_status find_groups(gm_runs *runs, gm_error *err)
{
    const char *key[MOST_NAMED];
    runs->group = gm_alloc(runs->count, sizeof *runs->group, "groups of runs", err);
    runs->label = gm_alloc(runs->count, sizeof *runs->label, "names of runs", err);
    if (!runs->group || !runs->label) return GM_ERR_MEMORY;
    number_groups(runs, false);
    bool each = runs->groups == 1; /* repetitions of one setting, each drawn for itself */
    if (each) number_groups(runs, true);
    if (runs->groups > GM_RUNS_TOLD && !each) {
        runs->by = coarse_setting(runs);
        number_groups(runs, false);
    }
    write_labels(runs, each);
    bool many = !runs->by && !each && !label_keys(runs, each, key, MOST_NAMED);
    return many && runs->groups <= GM_RUNS_TOLD ? write_telling_labels(runs, err) : GM_OK;
}

void gm_runs_line(const gm_runs *runs, size_t g, char line[64], const char **colour)
{
    static const char *const colours[GM_RUNS_COLOURS] = {"blue",   "vermillion", "green", "purple",
                                                         "orange", "sky",        "ink"};
    static const char *const dashes[] = {"dt 1", "dt (7,3)", "dt (2,2)"};
    bool told = g < GM_RUNS_TOLD && runs->groups <= GM_RUNS_TOLD;
    *colour = told ? colours[g % GM_RUNS_COLOURS] : "muted";
    snprintf(line, 64, "%s lc rgb %s", told ? dashes[g / GM_RUNS_COLOURS] : "dt 1", *colour);
}

/* ---- all of it ---- */

/* As long as the longest run, and as fine at the start as the finest. */
static gm_axis common_step_axis(const gm_subject *run, size_t count)
{
    gm_axis axis = run[0].step_axis;
    for (size_t i = 1; i < count; i++) {
        const gm_axis *other = &run[i].step_axis;
        if (other->scale == GM_SCALE_SIGNED) {
            axis.unit = axis.scale == GM_SCALE_SIGNED ? fmin(axis.unit, other->unit) : other->unit;
            axis.scale = GM_SCALE_SIGNED;
        }
        axis.high = fmax(axis.high, other->high);
    }
    return axis;
}

gm_status gm_runs_make(const gm_subject *run, size_t count, gm_runs *runs, gm_error *err)
{
    *runs = (gm_runs){.run = run, .count = count, .step_axis = common_step_axis(run, count)};
    gm_status status = find_settings(runs, err);
    if (status == GM_OK) status = find_groups(runs, err);
    if (status != GM_OK) gm_runs_free(runs);
    return status;
}

void gm_runs_free(gm_runs *runs)
{
    gm_free(runs->setting);
    gm_free(runs->group);
    gm_free(runs->label);
    *runs = (gm_runs){0};
}

static gm_status write_figures(const gm_runs *runs, FILE *page, gm_error *err)
{
    gm_picture *picture = NULL;
    size_t pictures;
    bool films = false;
    gm_status status = gm_pictures_of_runs(runs, &picture, &pictures, err);
    if (status == GM_OK) status = gm_pictures_write(picture, pictures, page, &films, err);
    gm_free(picture);
    return status;
}

gm_status gm_runs_write(const gm_runs *runs, FILE *page, gm_error *err)
{
    gm_status status = GM_OK;
    if (runs->figures_first) status = write_figures(runs, page, err);
    if (status != GM_OK) return status;
    if (!runs->figures_first) gm_runs_settings(runs, page);
    status = gm_runs_measures(runs, page, err);
    if (status != GM_OK || runs->figures_first) return status;
    return write_figures(runs, page, err);
}
