#include "cli/decompose.h"

#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/document.h"

static json_t *integer(size_t value)
{
    return json_integer((json_int_t)value);
}

/* ---- one operator ---- */

/* NaN stands for what the method does not give. */
static json_t *known(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void set_count(json_t *value, const char *key, bool exact, size_t count)
{
    char least[32];
    json_object_set_new(value, key, exact ? integer(count) : json_null());
    if (exact) return;
    snprintf(least, sizeof least, "%s_at_least", key);
    json_object_set_new(value, least, integer(count));
}

static json_t *pairs_value(gm_cli *cli, const char *name, size_t count, const double *value,
                           const double *residual)
{
    json_t *pairs = json_object();
    json_object_set_new(pairs, "eigenvalues", gm_json_numbers(cli, name, count, value));
    json_object_set_new(pairs, "residuals", gm_json_numbers(cli, name, count, residual));
    return pairs;
}

/* By products, unless a Gram form has the whole spectrum: what these leave open, and what they
 * cost. */
static void set_products(gm_cli *cli, const char *name, const gm_operator_survey *survey,
                         json_t *value)
{
    json_object_set_new(value, "frobenius_stderr",
                        gm_json_number(cli, "frobenius_stderr", survey->frobenius_error));
    if (survey->low_count) {
        json_object_set_new(value, "lowest",
                            gm_json_numbers(cli, name, survey->low_count, survey->low_value));
        json_object_set_new(value, "lowest_residuals",
                            gm_json_numbers(cli, name, survey->low_count, survey->low_residual));
    }
    json_object_set_new(value, "converged", json_boolean(survey->converged));
    json_object_set_new(value, "products", integer(survey->spent));
}

static json_t *operator_value(gm_cli *cli, gm_curvature kind, const gm_operator_survey *survey)
{
    const gm_spectral_summary *s = &survey->summary;
    const char *name = gm_curvature_name(kind);
    bool all = survey->gram || !survey->products;
    json_t *value = json_object();
    json_object_set_new(value, "method",
                        json_string(survey->gram       ? "gram"
                                    : survey->products ? "products"
                                                       : "dense"));
    json_object_set_new(value, "eigenvalues",
                        gm_json_numbers(cli, name, survey->values, survey->value));
    json_object_set_new(value, "trace", gm_json_number(cli, "trace", s->trace));
    json_object_set_new(value, "frobenius", gm_json_number(cli, "frobenius", s->frobenius));
    set_count(value, "negative", survey->below_known, s->below);
    set_count(value, "above", survey->above_known, s->above);
    json_object_set_new(value, "cut", json_real(s->cut));
    json_object_set_new(value, "cut_scale", json_real(s->scale));
    json_object_set_new(value, "max", known(s->max));
    json_object_set_new(value, "min", known(s->min));
    set_count(value, "rank", all, s->rank);
    json_object_set_new(value, "rank_floor", json_real(s->floor));
    json_object_set_new(value, "effective_rank", known(s->effective_rank));
    json_object_set_new(value, "outliers", integer(s->outliers));
    json_object_set_new(value, "outlier_limit", integer(s->outlier_limit));
    json_object_set_new(value, "gap_after", integer(s->gap_after));
    json_object_set_new(value, "gap", json_real(s->gap));
    json_object_set_new(
        value, "leading",
        pairs_value(cli, name, survey->count, survey->lead_value, survey->residual));
    if (survey->products) set_products(cli, name, survey, value);
    return value;
}

static json_t *operators_value(gm_cli *cli, const gm_block_survey *block)
{
    json_t *value = json_object();
    for (int kind = 0; kind < GM_CURVATURES; kind++) {
        if (!block->op[kind].measured) continue;
        json_object_set_new(value, gm_curvature_name((gm_curvature)kind),
                            operator_value(cli, (gm_curvature)kind, &block->op[kind]));
    }
    return value;
}

/* ---- overlaps ---- */

static json_t *overlap_value(const gm_overlap_survey *overlap)
{
    json_t *value = json_object(), *k = json_array(), *values = json_array();
    json_t *random = json_array(), *resolved = json_array();
    for (size_t j = 0; j < overlap->k; j++) {
        json_array_append_new(k, integer(j + 1));
        json_array_append_new(values, json_real(overlap->value[j]));
        json_array_append_new(random, json_real((double)(j + 1) / (double)overlap->size));
        json_array_append_new(resolved, json_boolean(overlap->resolved[j]));
    }
    json_object_set_new(value, "a", json_string(overlap->a));
    json_object_set_new(value, "b", json_string(overlap->b));
    json_object_set_new(value, "k", k);
    json_object_set_new(value, "value", values);
    json_object_set_new(value, "random", random);
    json_object_set_new(value, "resolved", resolved);
    return value;
}

static json_t *overlaps_value(const gm_block_survey *block, const gm_decompose_options *options)
{
    json_t *value = json_object(), *pairs = json_array();
    for (int i = 0; i < GM_SURVEY_PAIRS; i++) {
        json_array_append_new(pairs, overlap_value(&block->pair[i]));
    }
    json_object_set_new(value, "order", json_string(options->by_magnitude ? "magnitude" : "value"));
    json_object_set_new(value, "pairs", pairs);
    return value;
}

/* ---- one block ---- */

static json_t *products_value(gm_cli *cli, const gm_block_survey *block)
{
    json_t *rows = json_array();
    for (size_t j = 0; j < block->angles; j++) {
        json_array_append_new(rows, gm_json_numbers(cli, "vector_products", block->angles,
                                                    block->product + j * block->angles));
    }
    return rows;
}

static json_t *stochastic_share_value(gm_cli *cli, const gm_block_survey *block,
                                      const gm_decompose_options *options)
{
    json_t *value = json_object();
    json_object_set_new(value, "value",
                        gm_json_number(cli, "stochastic_gradient_share (no gradient there)",
                                       block->stochastic_share));
    json_object_set_new(value, "batch", integer(options->batch));
    json_object_set_new(value, "replacement", json_boolean(!options->without_replacement));
    return value;
}

/* Adds the measurements of a block to an object that may have other keys. */
static void set_block(gm_cli *cli, const gm_block_survey *block,
                      const gm_decompose_options *options, json_t *value)
{
    json_object_set_new(value, "size", integer(block->size));
    json_object_set_new(value, "k", integer(block->k));
    json_object_set_new(value, "method", json_string(block->products ? "products" : "dense"));
    json_object_set_new(value, "operators", operators_value(cli, block));
    json_object_set_new(value, "overlap", overlaps_value(block, options));
    json_object_set_new(value, "principal_angles",
                        gm_json_numbers(cli, "principal_angles", block->angles, block->angle));
    json_object_set_new(value, "cosines",
                        gm_json_numbers(cli, "cosines", block->angles, block->cosine));
    json_object_set_new(value, "vector_products", products_value(cli, block));
    if (!block->shares) gm_cli_note(cli, "gradient_share is undefined where the gradient vanishes");
    json_object_set_new(value, "gradient_share",
                        block->shares ? json_real(block->share[block->shares - 1]) : json_null());
    json_object_set_new(value, "gradient_shares",
                        gm_json_numbers(cli, "gradient_shares", block->shares, block->share));
    json_object_set_new(value, "stochastic_gradient_share",
                        stochastic_share_value(cli, block, options));
    json_object_set_new(value, "decomposition_error",
                        gm_json_number(cli, "decomposition_error", block->decomposition_error));
    json_object_set_new(value, "residual_plus_hessian",
                        gm_json_number(cli, "residual_plus_hessian (H is zero there)",
                                       block->residual_plus_hessian));
    if (block->products) {
        json_object_set_new(value, "residual_plus_hessian_stderr",
                            gm_json_number(cli, "residual_plus_hessian_stderr",
                                           block->residual_plus_hessian_error));
    }
    json_object_set_new(value, "moment_trace_share",
                        gm_json_number(cli, "moment_trace_share", block->moment_share));
    json_t *past = json_object();
    bool first = !block->first.value;
    json_object_set_new(past, "previous", first ? json_null() : overlap_value(&block->previous));
    json_object_set_new(past, "first", first ? json_null() : overlap_value(&block->first));
    json_object_set_new(value, "past", past);
}

static json_t *layers_value(gm_cli *cli, const gm_decomposition *point,
                            const gm_decompose_options *options)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < point->layers; i++) {
        json_t *layer = json_object();
        json_object_set_new(layer, "name", gm_json_text(point->layer[i].name));
        set_block(cli, &point->layer[i], options, layer);
        json_array_append_new(layers, layer);
    }
    return layers;
}

static void set_point(gm_cli *cli, const gm_decomposition *point,
                      const gm_decompose_options *options, json_t *value)
{
    json_object_set_new(value, "error_rate", gm_json_number(cli, "error_rate", point->error_rate));
    json_object_set_new(value, "block", gm_json_text(point->block.name));
    set_block(cli, &point->block, options, value);
    if (point->layers) json_object_set_new(value, "layers", layers_value(cli, point, options));
}

/* ---- the whole ---- */

static json_t *trajectory_value(gm_cli *cli, const gm_decompose_results *results)
{
    json_t *trajectory = json_array();
    for (size_t i = 0; i < results->count; i++) {
        const gm_decomposition *point = &results->point[i];
        json_t *entry = json_object();
        char label[GM_SERIES_LABEL];
        gm_series_label(results->series, results->first + i, label);
        json_object_set_new(entry, "step", json_integer((json_int_t)point->step));
        json_object_set_new(entry, "label", gm_json_text(label));
        json_object_set_new(entry, "loss", gm_json_number(cli, "loss", point->loss));
        json_object_set_new(entry, "gradient_norm",
                            gm_json_number(cli, "gradient_norm", point->gradient_norm));
        set_point(cli, point, results->options, entry);
        json_array_append_new(trajectory, entry);
    }
    return trajectory;
}

static json_t *findings_value(gm_cli *cli, const gm_decompose_results *results)
{
    json_t *findings = json_array();
    for (int i = 0; i < GM_FINDINGS; i++) {
        const gm_finding *finding = &results->finding[i];
        json_t *entry = json_object();
        json_object_set_new(entry, "name", json_string(finding->name));
        json_object_set_new(entry, "verdict", json_string(gm_verdict_name(finding->verdict)));
        json_object_set_new(entry, "holds",
                            finding->verdict == GM_UNDECIDED
                                ? json_null()
                                : json_boolean(finding->verdict == GM_HOLDS));
        json_object_set_new(entry, "value", gm_json_number(cli, finding->name, finding->value));
        json_object_set_new(entry, "error", gm_json_number(cli, "error", finding->error));
        json_object_set_new(entry, "threshold", json_real(finding->threshold));
        json_object_set_new(entry, "criterion", json_string(finding->criterion));
        json_object_set_new(entry, "sentence", json_string(finding->sentence));
        json_array_append_new(findings, entry);
    }
    return findings;
}

/* Once for the document: why some keys are null by products. */
static void tell_open(gm_cli *cli, const gm_decompose_results *results)
{
    bool products = false;
    for (size_t i = 0; i < results->count; i++) {
        const gm_decomposition *point = &results->point[i];
        products = products || point->block.products;
        for (size_t l = 0; l < point->layers; l++) {
            products = products || point->layer[l].products;
        }
    }
    if (!products) return;
    gm_cli_note(cli, "by products: rank and effective_rank, which need the whole spectrum, are "
                     "null, as are an end of a spectrum that was not looked for and counts that "
                     "the eigenvalues found do not settle; *_at_least has what they show");
}

json_t *gm_decompose_document(gm_cli *cli, const gm_session *session,
                              const gm_decompose_results *results, gm_error *err)
{
    json_t *document = gm_document_create(cli, session, err);
    if (!document) return NULL;
    set_point(cli, &results->point[results->count - 1], results->options, document);
    json_object_set_new(document, "probes", integer(results->options->probes));
    tell_open(cli, results);
    json_object_set_new(document, "findings", findings_value(cli, results));
    if (results->series->trajectory) {
        json_object_set_new(document, "trajectory", trajectory_value(cli, results));
        json_object_set_new(document, "points_asked", integer(results->asked));
        json_object_set_new(document, "interrupted", json_boolean(results->count < results->asked));
    }
    return document;
}
