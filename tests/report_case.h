/* Run files with numbers that are known by formula, and a reader of the pages made from them: a
 * checker of nesting, ids and references that shares no code with what writes the page. */
#ifndef TESTS_REPORT_CASE_H
#define TESTS_REPORT_CASE_H

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "gradiometer/report.h"
#include "gradiometer/run.h"

enum { CASE_P = 40, CASE_K = 15, CASE_STEPS = 4 };
static const int64_t case_step[CASE_STEPS] = {0, 10, 100, 1000};

/* What of a run a fixture holds (CASE_SINGLE: one point and no trajectory); name stands for data,
 * model, layers and commands. */
enum {
    CASE_SETTINGS = 1,
    CASE_TRAINING = 2,
    CASE_DECOMPOSITION = 4,
    CASE_BROKEN = 8,
    CASE_SINGLE = 16
};

/* Eigenvalue j of operator o at step t: positive ones fall by powers of two, the last five of H and
 * the last half of H_p are negative; all shrink over training, M fastest. */
static inline double case_eigenvalue(int o, int t, int j)
{
    double value = 8.0 * pow(2.0, -j) * pow(o == 1 ? 0.01 : 0.1, t);
    if (o == 0 && j >= CASE_P - 5) value = -0.5 * pow(2.0, j - CASE_P) * pow(0.1, t);
    if (o == 2 && j >= CASE_P / 2) value = -8.0 * pow(2.0, j - CASE_P) * pow(0.1, t);
    if (o == 1 && j >= 12) value = 0.0;
    return value;
}

/* ||H_p + H|| / ||H|| at step t; tests read it back from the figure. */
static inline double case_ratio(int t)
{
    static const double ratio[CASE_STEPS] = {2.0, 0.5, 0.04, 0.003};
    return ratio[t];
}

static inline json_t *case_operator(int o, int t, bool broken)
{
    json_t *values = json_array();
    for (int j = 0; j < CASE_P; j++) {
        json_array_append_new(values, broken ? json_null() : json_real(case_eigenvalue(o, t, j)));
    }
    json_t *value = json_pack(
        "{s:o,s:f,s:f,s:i,s:f,s:f,s:f,s:i,s:f,s:i}", "eigenvalues", values, "trace", 16.0 / (1 + t),
        "frobenius", 9.0, "negative", 5, "cut", 0.01, "max", case_eigenvalue(o, t, 0), "min",
        case_eigenvalue(o, t, CASE_P - 1), "outliers", 9, "gap", 2.5, "gap_after", 9);
    if (broken) json_object_set_new(value, "max", json_null());
    return value;
}

static inline json_t *case_curve(const char *a, const char *b, double start, bool broken)
{
    json_t *value = json_array(), *random = json_array();
    for (int j = 0; j < CASE_K; j++) {
        json_array_append_new(value, broken ? json_null() : json_real(start / (1 + 0.1 * j)));
        json_array_append_new(random, json_real((j + 1.0) / CASE_P));
    }
    return json_pack("{s:s,s:s,s:o,s:o}", "a", a, "b", b, "value", value, "random", random);
}

/* The measurements at one point, as `decompose` writes them. */
static inline json_t *case_point(int t, const char *name, bool broken)
{
    json_t *cosines = json_array(), *products = json_array(), *shares = json_array();
    for (int j = 0; j < CASE_K; j++) {
        json_t *row = json_array();
        for (int l = 0; l < CASE_K; l++) {
            json_array_append_new(row, broken ? json_null() : json_real(j == l ? 0.9 : 0.05));
        }
        json_array_append_new(products, row);
        json_array_append_new(cosines, broken ? json_null() : json_real(1.0 - 0.06 * j));
        json_array_append_new(shares, json_real((j + 1) / 20.0));
    }
    json_t *point = json_object();
    json_object_set_new(point, "step", json_integer(case_step[t]));
    json_object_set_new(point, "size", json_integer(CASE_P));
    json_object_set_new(point, "k", json_integer(CASE_K));
    json_object_set_new(point, "loss", json_real(2.0 / (1 + t)));
    json_object_set_new(point, "error_rate", json_real(0.0));
    json_object_set_new(point, "operators",
                        json_pack("{s:o,s:o,s:o}", "hessian", case_operator(0, t, broken), "moment",
                                  case_operator(1, t, broken), "residual",
                                  case_operator(2, t, broken)));
    json_object_set_new(point, "overlap",
                        json_pack("{s:[o,o]}", "pairs",
                                  case_curve("hessian", "moment", 0.8, broken),
                                  case_curve("hessian", name, 0.4, broken)));
    json_object_set_new(point, "cosines", cosines);
    json_object_set_new(point, "vector_products", products);
    json_object_set_new(point, "gradient_shares", shares);
    json_object_set_new(point, "gradient_share", broken ? json_null() : json_real(0.75));
    json_object_set_new(point, "stochastic_gradient_share",
                        json_pack("{s:o}", "value", broken ? json_null() : json_real(0.25)));
    json_object_set_new(point, "decomposition_error", json_real(1.25e-16));
    json_object_set_new(point, "residual_plus_hessian",
                        broken ? json_null() : json_real(case_ratio(t)));
    json_object_set_new(point, "moment_trace_share",
                        broken ? json_null() : json_real(0.5 * case_ratio(t)));
    if (t && !broken)
        json_object_set_new(point, "past",
                            json_pack("{s:o,s:o}", "previous",
                                      case_curve("hessian", "hessian_previous", 0.9, false),
                                      "first", case_curve("hessian", "hessian_first", 0.6, false)));
    json_object_set_new(point, "layers",
                        json_pack("[{s:s,s:i,s:[f]}]", "name", name, "size", 12, "cosines", 0.5));
    return point;
}

static inline json_t *case_document(const char *name, bool broken, bool single)
{
    json_t *document = case_point(CASE_STEPS - 1, name, broken), *trajectory = json_array();
    for (int t = 0; t < CASE_STEPS && !single; t++) {
        json_array_append_new(trajectory, case_point(t, name, broken));
    }
    json_object_set_new(document, "trajectory", trajectory);
    if (single) json_object_set_new(document, "step", json_null());
    json_object_set_new(document, "command_line", json_string(name));
    json_object_set_new(document, "model",
                        json_pack("{s:s,s:i}", "name", name, "parameters", CASE_P));
    json_object_set_new(document, "data",
                        json_pack("{s:s,s:i,s:i,s:f}", "name", name, "n", 100, "classes", 10,
                                  "random_labels", 0.15));
    json_object_set_new(document, "findings",
                        json_pack("[{s:s,s:b,s:s,s:s},{s:s,s:b,s:s,s:s}]", "verdict", "holds",
                                  "holds", 1, "criterion", "||H_p + H||_F < 0.1", "sentence", name,
                                  "verdict", "does not hold", "holds", 0, "criterion", ">= 0.9",
                                  "sentence", "Top directions aligned: no."));
    return document;
}

static inline void case_need(gm_status status, const gm_error *err)
{
    if (status == GM_OK) return;
    fprintf(stderr, "fixture: %s\n", err->message);
    _Exit(99);
}

static inline void case_training(gm_run *run, bool broken)
{
    enum { STEPS = 1001 };
    static gm_metric metric[4 * STEPS];
    gm_error err = {0};
    size_t count = 0;
    for (int64_t t = 0; t < STEPS; t++) {
        double loss = broken ? (t % 2 ? (double)NAN : HUGE_VAL) : 2.5 / (1.0 + (double)t);
        metric[count++] = (gm_metric){t, "batch_loss", loss * (t % 3 ? 1.25 : 0.75)};
        if (t % 50) continue;
        metric[count++] = (gm_metric){t, "loss", loss};
        metric[count++] = (gm_metric){t, "error_rate", broken ? (double)NAN : t < 500 ? 0.5 : 0.0};
        metric[count++] = (gm_metric){t, "test_loss", 2.0 * loss};
    }
    case_need(gm_run_add_metrics(run, metric, count, &err), &err);
}

/* Writes the run file FOLDER/file, with name in every place that takes text. */
static inline const char *case_run(const char *file, int holds, const char *name)
{
    const char *path = folder_path(file);
    const gm_setting setting[] = {{"command", name},
                                  {"model", name},
                                  {"data", name},
                                  {"machine", name},
                                  {"random_labels", "0.15"},
                                  {"train.steps", "1000"},
                                  {"train.step", "0.050000000000000003"},
                                  {"train.batch", "5"},
                                  {"train.replacement", "yes"},
                                  {name, name}};
    gm_error err = {0};
    gm_run *run = NULL;
    size_t settings = holds & CASE_SETTINGS ? sizeof setting / sizeof *setting : 0;
    case_need(gm_run_create(path, true, setting, settings, &run, &err), &err);
    if (holds & CASE_TRAINING) case_training(run, holds & CASE_BROKEN);
    if (holds & CASE_DECOMPOSITION) {
        json_t *document = case_document(name, holds & CASE_BROKEN, holds & CASE_SINGLE);
        char *text = json_dumps(document, JSON_REAL_PRECISION(17));
        gm_run_result result = {.command = "decompose",
                                .step = holds & CASE_SINGLE ? GM_RUN_NO_STEP : 1000,
                                .key = "",
                                .json = text};
        case_need(gm_run_add_result(run, &result, NULL, 0, NULL, &err), &err);
        free(text);
        json_decref(document);
    }
    gm_run_close(run);
    return path;
}

/* The whole of a file as a string, freed by free(). */
static inline char *case_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(size + 1, 1);
    if (fread(text, 1, size, file) != size) text[0] = 0;
    fclose(file);
    return text;
}

static inline size_t case_count(const char *text, const char *what)
{
    size_t count = 0;
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what)) {
        count++;
    }
    return count;
}

/* ---- the page as a browser would take it apart ---- */

enum { CASE_DEPTH = 64, CASE_IDS = 2000, CASE_NAME = 128 };

typedef struct case_page {
    char open[CASE_DEPTH][CASE_NAME];
    int depth;
    char (*id)[CASE_NAME]; /* [CASE_IDS] */
    size_t ids;
    int scripts;
    char problem[256]; /* the first one found, else empty */
} case_page;

static inline void case_problem(case_page *page, const char *what, const char *at)
{
    if (!*page->problem) snprintf(page->problem, sizeof page->problem, "%s at: %.120s", what, at);
}

static inline bool case_void(const char *name)
{
    return strcmp(name, "meta") == 0 || strcmp(name, "br") == 0 || strcmp(name, "input") == 0;
}

/* One attribute name="value" at *s; notes ids, refuses whatever could load or run something. */
static inline bool case_attribute(case_page *page, const char **s)
{
    const char *start = *s + strspn(*s, " \n");
    size_t name = strcspn(start, "=\"'<> \n/");
    if (!name) return false;
    const char *quote = start + name;
    if (quote[0] != '=' || quote[1] != '"') {
        case_problem(page, "attribute without a double-quoted value", start);
        return false;
    }
    const char *value = quote + 2, *end = strchr(value, '"');
    if (!end || memchr(value, '<', (size_t)(end - value))) {
        case_problem(page, "value not closed", start);
        return false;
    }
    if (strncmp(start, "on", 2) == 0 || strncmp(start, "src", 3) == 0 ||
        strncmp(start, "style", 5) == 0)
        case_problem(page, "attribute that loads, runs or overrides", start);
    if (name == 4 && strncmp(start, "href", 4) == 0 && *value != '#')
        case_problem(page, "reference out of the page", start);
    if (name == 2 && strncmp(start, "id", 2) == 0 && page->ids < CASE_IDS) {
        char *id = page->id[page->ids];
        snprintf(id, CASE_NAME, "%.*s", (int)(end - value), value);
        for (size_t i = 0; i < page->ids; i++) {
            if (strcmp(page->id[i], id) == 0) case_problem(page, "id used twice", start);
        }
        page->ids++;
    }
    *s = end + 1;
    return true;
}

/* Whether the script at tag is the one that moves films, the first of the page, and stands at its
 * end. */
static inline bool case_own_script(case_page *page, const char *tag)
{
    static const char start[] = "<script>\n'use strict';\ndocument.querySelectorAll('.film')";
    const char *end = strstr(tag, "</script>\n<footer>");
    return !page->scripts++ && strncmp(tag, start, sizeof start - 1) == 0 && end;
}

/* Checks nesting, attributes, ids and that every "#id" referred to exists. page->problem tells. */
static inline void case_check(case_page *page, const char *html)
{
    memset(page, 0, sizeof *page);
    page->id = calloc(CASE_IDS, CASE_NAME);
    const char *s = strstr(html, "<html");
    if (strncmp(html, "<!DOCTYPE html>\n", 16) != 0 || !s) case_problem(page, "doctype", html);
    while (s && (s = strchr(s, '<')) && !*page->problem) {
        const char *tag = s++;
        bool ends = *s == '/';
        s += ends;
        char name[CASE_NAME];
        size_t length = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
        snprintf(name, sizeof name, "%.*s", (int)length, s);
        s += length;
        if (!length || (strcmp(name, "script") == 0 && !ends && !case_own_script(page, tag)) ||
            strcmp(name, "image") == 0 || strcmp(name, "link") == 0) {
            case_problem(page, "tag", tag);
        } else if (ends) {
            if (!page->depth || strcmp(page->open[--page->depth], name) != 0)
                case_problem(page, "end tag of nothing open", tag);
        } else {
            while (case_attribute(page, &s)) {
            }
            s += strspn(s, " \n");
            bool closed = *s == '/';
            s += closed;
            if (*s != '>') case_problem(page, "tag not closed", tag);
            if (!closed && !case_void(name) && page->depth < CASE_DEPTH)
                strcpy(page->open[page->depth++], name);
            if (strcmp(name, "style") == 0) s = strstr(s, "</style>");
            if (strcmp(name, "script") == 0) s = strstr(s, "</script>");
        }
    }
    if (page->depth) case_problem(page, "left open", page->open[page->depth - 1]);
    for (const char *at = strstr(html, "href=\"#"); at; at = strstr(at + 1, "href=\"#")) {
        const char *target = at + 7;
        size_t length = strcspn(target, "\""), i = 0;
        while (i < page->ids &&
               (strlen(page->id[i]) != length || strncmp(page->id[i], target, length) != 0)) {
            i++;
        }
        if (i == page->ids) case_problem(page, "reference to no id", at);
    }
    free(page->id);
}

#endif
