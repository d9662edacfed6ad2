/* gradiometer dynamics ensemble: in the run file, and out of it to go on. */
#include <string.h>
#include <unistd.h>

#include "cli/dynamics_ensemble.h"
#include "cli/record.h"
#include "kernels/kernels.h"
#include "sgd/identity.h"

static const char key[] = "ensemble";

/* ---- what an ensemble is of ---- */

static json_t *record_value(const gm_ensemble_options *o)
{
    json_t *list = json_array();
    for (int q = 0; q < GM_QUANTITIES; q++) {
        if ((o->record >> q) & 1u)
            json_array_append_new(list, json_string(gm_quantity_name((gm_quantity)q)));
    }
    return list;
}

static json_t *keep_value(const gm_ensemble_options *o)
{
    json_t *list = json_array();
    for (size_t i = 0; i < o->keeps; i++) {
        json_array_append_new(list, json_integer((json_int_t)o->keep[i]));
    }
    return list;
}

static void describe_training(const gm_train_options *t, json_t *setup)
{
    char step[GM_POLICY_TEXT];
    gm_policy_print(&t->policy, t->step, step);
    json_object_set_new(setup, "steps", json_integer((json_int_t)t->steps));
    json_object_set_new(setup, "batch", json_integer((json_int_t)t->batch));
    json_object_set_new(setup, "step", json_string(step));
    json_object_set_new(setup, "replacement", json_string(gm_replacement_name(t->replacement)));
    json_object_set_new(setup, "momentum", json_real(t->momentum));
    json_object_set_new(setup, "nesterov", json_boolean(t->nesterov));
    json_object_set_new(setup, "weight_decay", json_real(t->weight_decay));
    json_object_set_new(setup, "optimizer", json_string(gm_optimizer_name(t->optimizer)));
    json_object_set_new(setup, "precondition", json_string(gm_precondition_name(t->precondition)));
    json_object_set_new(setup, "beta1", json_real(t->beta1));
    json_object_set_new(setup, "beta2", json_real(t->beta2));
    json_object_set_new(setup, "epsilon", json_real(t->epsilon));
    json_object_set_new(setup, "precondition_every",
                        json_integer((json_int_t)t->precondition_every));
    json_object_set_new(setup, "seed", json_integer((json_int_t)t->seed));
    json_object_set_new(setup, "first_run", json_integer((json_int_t)t->run));
}

/* Names a fixed start: where it is from, and the square of its norm. */
static json_t *start_value(const gm_session *session, const gm_ensemble_options *o)
{
    if (o->fresh) return json_string("fresh");
    double square = 0.0;
    for (size_t j = 0; j < gm_net_parameters(session->net); j++) {
        square += session->theta[j] * session->theta[j];
    }
    return json_sprintf("fixed, squared norm %.17g", square);
}

void gm_ensemble_describe(const gm_session *session, gm_ensemble_view *view)
{
    const gm_ensemble_options *o = gm_ensemble_options_of(view->ensemble);
    char data[GM_IDENTITY_LENGTH], test[GM_IDENTITY_LENGTH];
    bool tested = (o->record >> GM_QUANTITY_TEST_ERROR) & 1u;
    gm_identity_checksum(session->problem, data);
    gm_identity_checksum(tested ? session->test_problem : NULL, test);
    json_t *setup = json_object();
    json_object_set_new(setup, "model", gm_json_text(gm_net_name(session->net)));
    json_object_set_new(setup, "loss", json_string(gm_loss_name(session->loss_kind)));
    json_object_set_new(setup, "precision", json_string(gm_dtype_name(session->precision)));
    json_object_set_new(setup, "data_crc32", json_string(data));
    json_object_set_new(setup, "test_crc32", json_string(test));
    json_object_set_new(setup, "init", start_value(session, o));
    describe_training(&o->train, setup);
    json_object_set_new(setup, "record", record_value(o));
    json_object_set_new(setup, "record_every", json_integer((json_int_t)o->record_every));
    json_object_set_new(setup, "gradient_every", json_integer((json_int_t)o->gradient_every));
    json_object_set_new(setup, "quantiles",
                        json_string(gm_ensemble_exact(view->ensemble) ? "exact" : "sketch"));
    json_object_set_new(setup, "keep_runs", keep_value(o));
    view->setup = setup;
}

/* ---- out of the run file ---- */

/* GM_ERR_INPUT naming the first setting in which the stored ensemble differs from this one. */
static gm_status compare(const char *path, const json_t *stored, const json_t *setup, gm_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)setup, name, value)
    {
        const json_t *was = json_object_get(stored, name);
        if (was && json_equal(was, value)) continue;
        char *then = was ? json_dumps(was, JSON_ENCODE_ANY) : NULL;
        char *now = json_dumps(value, JSON_ENCODE_ANY);
        gm_status status = gm_fail(err, GM_ERR_INPUT,
                                   "--output: %s holds another ensemble: its %s is %.150s, here it "
                                   "is %.150s; expected the same, or another file",
                                   path, name, then ? then : "missing", now ? now : "?");
        free(then);
        free(now);
        return status;
    }
    return GM_OK;
}

/* Other rounding than before is told. */
static void note_machine(gm_cli *cli, const gm_session *session, const gm_ensemble_view *view,
                         const json_t *document)
{
    const char *isa = json_string_value(json_object_get(document, "isa"));
    json_int_t threads = json_integer_value(json_object_get(document, "threads"));
    const char *here = gm_kernels_get(session->precision)->isa;
    if (isa && strcmp(isa, here) != 0)
        gm_cli_note(cli, "continued with kernels for %s (were %s): runs equal to rounding only",
                    here, isa);
    if (!gm_ensemble_tiled(view->ensemble) && threads != session->threads)
        gm_cli_note(cli, "continued with %d threads (were %lld): runs equal to rounding only",
                    session->threads, (long long)threads);
}

static gm_status load(gm_cli *cli, const gm_session *session, gm_ensemble_view *view, gm_run *run,
                      const gm_run_result *result, gm_error *err)
{
    json_t *document = json_loads(result->json, 0, NULL);
    const char *path = gm_run_path(run);
    gm_status status =
        document ? compare(path, json_object_get(document, "setup"), view->setup, err)
                 : gm_fail(err, GM_ERR_INPUT, "%s: the document of the ensemble is damaged", path);
    json_int_t done = json_integer_value(json_object_get(document, "runs"));
    size_t runs = gm_ensemble_options_of(view->ensemble)->runs;
    if (status == GM_OK && done > (json_int_t)runs) {
        status = gm_fail(err, GM_ERR_USAGE,
                         "--runs: found %zu, but %s holds %lld runs of this ensemble already", runs,
                         path, (long long)done);
    }
    if (status == GM_OK) status = gm_ensemble_load(view->ensemble, run, result->id, err);
    if (status == GM_OK) {
        note_machine(cli, session, view, document);
        gm_cli_note(cli, "%s: continuing after %zu of %zu runs", path,
                    gm_ensemble_done(view->ensemble), runs);
    }
    json_decref(document);
    return status;
}

gm_status gm_ensemble_recall(gm_cli *cli, const gm_session *session, gm_ensemble_view *view,
                             gm_error *err)
{
    gm_run *run = NULL;
    gm_run_result *result = NULL;
    size_t count = 0;
    if (cli->silent) return GM_OK; /* rank 0 has the statistics */
    if (!cli->shared.output || access(cli->shared.output, F_OK) != 0) return GM_OK;
    gm_status status = gm_run_open(cli->shared.output, GM_RUN_READ, &run, err);
    if (status == GM_OK) status = gm_run_results(run, cli->command->name, &result, &count, err);
    for (size_t i = 0; status == GM_OK && i < count; i++) {
        if (result[i].step == session->step && strcmp(result[i].key, key) == 0)
            status = load(cli, session, view, run, &result[i], err);
    }
    gm_run_free(result);
    gm_run_close(run);
    return status;
}

/* ---- into it ---- */

gm_status gm_ensemble_keep(gm_cli *cli, const gm_session *session, const gm_ensemble_view *view,
                           json_t *document, gm_error *err)
{
    if (!cli->shared.output) return GM_OK;
    gm_ensemble_state state;
    gm_status status = gm_ensemble_save(view->ensemble, &state, err);
    if (status != GM_OK) return status;
    status = gm_record_result(cli, session, key, document, state.array, state.arrays, err);
    gm_ensemble_state_free(&state);
    return status;
}
