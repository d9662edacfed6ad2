/* The words after --track: from text to options and back. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gradiometer/track.h"
#include "track/words.h"

static const char *const which_names[] = {"LA", "SA", "BE", "LM"};
enum { WHICHES = sizeof which_names / sizeof *which_names, DEFAULT_K = 10 };

const char *gm_which_name(gm_which which)
{
    return which_names[which];
}

void gm_track_options_default(gm_track_options *options)
{
    *options = (gm_track_options){.every = 50};
}

/* ---- one value ---- */

static const gm_words words;

static gm_status parse_count(unsigned key, const char *text, size_t *value, gm_error *err)
{
    uint64_t whole;
    gm_status status = gm_words_whole(&words, key, text, 1, UINT32_MAX, &whole, err);
    if (status == GM_OK) *value = (size_t)whole;
    return status;
}

static gm_status parse_tol(const char *text, double *tol, gm_error *err)
{
    char *end = NULL;
    *tol = strtod(text, &end);
    if (end != text && !*end && *tol > 0 && *tol <= 1) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--track: spectrum: tol: found '%.40s', expected a number above 0, at most 1",
                   text);
}

static gm_status parse_which(const char *text, gm_which *which, gm_error *err)
{
    for (int i = 0; i < WHICHES; i++) {
        if (strcmp(text, which_names[i]) != 0) continue;
        *which = (gm_which)i;
        return GM_OK;
    }
    return gm_fail(err, GM_ERR_USAGE,
                   "--track: spectrum: which: found '%.40s', expected LA, SA, BE or LM", text);
}

static gm_status parse_operator(const char *text, gm_curvature *kind, gm_error *err)
{
    if (gm_curvature_parse(text, kind)) return GM_OK;
    return gm_fail(err, GM_ERR_USAGE,
                   "--track: spectrum: operator: found '%.40s', expected hessian, ggn, moment, "
                   "covariance, residual or gn_residual",
                   text);
}

/* ---- the whole ---- */

static const char *const keys[] = {"k", "every", "which", "tol", "operator", "n", "products"};

static gm_status set_key(void *target, unsigned key, const char *value, gm_error *err)
{
    gm_track_options *options = target;
    switch (key) {
    case 0:
        return parse_count(key, value, &options->k, err);
    case 1:
        return gm_words_whole(&words, key, value, 1, INT64_MAX - 1, &options->every, err);
    case 2:
        return parse_which(value, &options->which, err);
    case 3:
        return parse_tol(value, &options->tol, err);
    case 4:
        return parse_operator(value, &options->kind, err);
    case 5:
        return parse_count(key, value, &options->samples, err);
    default:
        return parse_count(key, value, &options->max_products, err);
    }
}

static const gm_words words = {.name = "spectrum",
                               .key = keys,
                               .keys = sizeof keys / sizeof *keys,
                               .expected = "k, every, which, tol, operator, n or products",
                               .set = set_key};

gm_status gm_track_options_parse(const char *text, gm_track_options *options, gm_error *err)
{
    if (gm_words_match(&words, text)) return gm_words_parse(&words, text, options, err);
    return gm_fail(err, GM_ERR_USAGE, "--track: found '%.40s', expected spectrum or gauges", text);
}

gm_status gm_track_options_resolve(gm_track_options *o, const gm_problem *problem, gm_error *err)
{
    const gm_dataset *data = gm_problem_data(problem);
    size_t p = gm_problem_parameters(problem);
    double floor = gm_eigen_floor(data->dtype);
    if (o->k == 0) o->k = p < DEFAULT_K ? p : DEFAULT_K;
    if (o->tol == 0) o->tol = data->dtype == GM_F32 ? 1e-4 : 1e-10;
    if (o->samples == 0) o->samples = data->n;
    if (o->every == 0)
        return gm_fail(err, GM_ERR_USAGE, "--track: spectrum: every: found 0, expected at least 1");
    if (o->k > p)
        return gm_fail(
            err, GM_ERR_USAGE,
            "--track: spectrum: k: found %zu, expected at most %zu, the net's parameters", o->k, p);
    if (!(o->tol >= floor && o->tol <= 1))
        return gm_fail(err, GM_ERR_USAGE,
                       "--track: spectrum: tol: found %g, expected %.2g, the noise floor of "
                       "products in %s, to 1",
                       o->tol, floor, gm_dtype_name(data->dtype));
    if (o->samples > data->n)
        return gm_fail(err, GM_ERR_USAGE,
                       "--track: spectrum: n: found %zu, expected at most %zu, the training set",
                       o->samples, data->n);
    return GM_OK;
}

void gm_track_options_print(const gm_track_options *o, char text[GM_TRACK_TEXT])
{
    int used =
        snprintf(text, GM_TRACK_TEXT,
                 "spectrum:k=%zu,every=%" PRIu64 ",which=%s,tol=%.17g,operator=%s,n=%zu", o->k,
                 o->every, which_names[o->which], o->tol, gm_curvature_name(o->kind), o->samples);
    if (o->max_products)
        snprintf(text + used, GM_TRACK_TEXT - (size_t)used, ",products=%zu", o->max_products);
}
