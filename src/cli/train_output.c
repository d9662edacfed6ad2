/* gradiometer train: what a training came to, as a document and as lines. */
#include "cli/train_output.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "cli/document.h"

static json_t *options_value(const gm_train_options *o)
{
    json_t *object = json_object();
    json_object_set_new(object, "steps", json_integer((json_int_t)o->steps));
    json_object_set_new(object, "batch", json_integer((json_int_t)o->batch));
    char policy[GM_POLICY_TEXT];
    gm_policy_print(&o->policy, o->step, policy);
    bool timed = gm_policy_timed(&o->policy);
    json_object_set_new(object, "step", timed ? json_real(o->step) : json_null());
    json_object_set_new(object, "policy", json_string(policy));
    json_object_set_new(object, "momentum", json_real(o->momentum));
    json_object_set_new(object, "nesterov", json_boolean(o->nesterov));
    json_object_set_new(object, "weight_decay", json_real(o->weight_decay));
    json_object_set_new(object, "optimizer", json_string(gm_optimizer_name(o->optimizer)));
    json_object_set_new(object, "precondition", json_string(gm_precondition_name(o->precondition)));
    bool adam = o->optimizer == GM_OPTIMIZER_ADAM;
    json_object_set_new(object, "beta1", adam ? json_real(o->beta1) : json_null());
    json_object_set_new(object, "beta2", o->beta2 > 0 ? json_real(o->beta2) : json_null());
    json_object_set_new(object, "epsilon", o->epsilon > 0 ? json_real(o->epsilon) : json_null());
    json_object_set_new(object, "precondition_every",
                        o->precondition_every ? json_integer((json_int_t)o->precondition_every)
                                              : json_null());
    json_object_set_new(object, "replacement", json_string(gm_replacement_name(o->replacement)));
    return object;
}

static gm_status print_json(gm_cli *cli, const gm_session *session, const gm_train_options *options,
                            const char *path, const gm_train_result *r,
                            const gm_learned_prior *prior, const gm_train_tracks *tracks,
                            gm_error *err)
{
    json_t *document = gm_document_create(cli, session, err);
    if (!document) return GM_ERR_MEMORY;
    json_object_set_new(document, "train", options_value(options));
    json_object_set_new(document, "prior", gm_learned_prior_value(cli, prior));
    json_object_set_new(document, "run", gm_json_text_or_null(path));
    json_object_set_new(document, "outcome", json_string(gm_train_outcome_name(r->outcome)));
    json_object_set_new(document, "message", gm_json_text(r->message));
    json_object_set_new(document, "first_step", json_integer((json_int_t)r->first_step));
    json_object_set_new(document, "error_rate", gm_json_number(cli, "error_rate", r->error_rate));
    json_object_set_new(document, "distance", gm_json_number(cli, "distance", r->distance));
    bool test = session->test != NULL;
    json_object_set_new(document, "test_data",
                        gm_json_text_or_null(test ? session->test->name : NULL));
    json_object_set_new(document, "test_loss",
                        test ? gm_json_number(cli, "test_loss", r->test_loss) : json_null());
    json_object_set_new(document, "test_error_rate",
                        test ? gm_json_number(cli, "test_error_rate", r->test_error_rate)
                             : json_null());
    json_object_set_new(document, "track", gm_train_track_value(cli, tracks));
    return gm_document_print(cli, document, err);
}

static void print_text(const gm_session *session, const gm_train_options *o, const char *path,
                       const gm_train_result *r, const gm_learned_prior *prior,
                       const gm_train_tracks *tracks)
{
    gm_document_describe(session);
    gm_learned_prior_print(prior);
    static const char *const titles[] = {"SGD", "Adam", "RMSProp", "AdaGrad"};
    bool adam = o->optimizer == GM_OPTIMIZER_ADAM;
    char policy[GM_POLICY_TEXT];
    gm_policy_print(&o->policy, o->step, policy);
    printf("%-10s batches of %zu (replacement %s), step ", titles[o->optimizer], o->batch,
           gm_replacement_name(o->replacement));
    if (o->policy.kind == GM_POLICY_FIXED) printf("%g", o->step);
    if (o->policy.kind != GM_POLICY_FIXED) printf("%s", policy);
    if (o->momentum > 0) printf(", %smomentum %g", o->nesterov ? "Nesterov " : "", o->momentum);
    if (o->precondition != GM_PRECONDITION_NONE) {
        printf(", preconditioned by %s", gm_precondition_name(o->precondition));
    }
    if (adam) printf(", beta1 %g", o->beta1);
    if (o->beta2 > 0) printf(", beta2 %g", o->beta2);
    if (o->epsilon > 0) printf(", epsilon %g", o->epsilon);
    if (o->precondition_every) printf(", D anew every %" PRIu64 " steps", o->precondition_every);
    if (o->weight_decay > 0) printf(", weight decay %g (not in f)", o->weight_decay);
    printf("\ntraining   error %.4g %%, distance from the start %.6g\n", 100 * r->error_rate,
           r->distance);
    if (session->test) {
        printf("test       %s, n = %zu: loss %.6g, error %.4g %%\n", session->test->name,
               session->test->n, r->test_loss, 100 * r->test_error_rate);
    }
    gm_train_track_print(tracks, o);
    if (path) printf("run file   %s\n", path);
    uint64_t done = r->step - r->first_step;
    printf("%s", r->message);
    if (done && r->seconds > 0) {
        printf(": %.3g s, %.4g steps/s", r->seconds, (double)done / r->seconds);
        if (r->saves) printf(", %.2g %% of it saving", 100 * r->save_seconds / r->seconds);
    }
    putchar('\n');
}

gm_status gm_train_deliver(gm_cli *cli, gm_session *session, const gm_train_options *options,
                           const char *path, const gm_train_result *r,
                           const gm_learned_prior *prior, const gm_train_tracks *tracks,
                           gm_error *err)
{
    gm_train_track_note(cli, tracks);
    if (*r->note) gm_cli_note(cli, "%s", r->note);
    session->measured = true;
    session->loss = r->loss;
    session->gradient_norm = r->gradient_norm;
    session->step = (int64_t)r->step;
    gm_free(session->point);
    session->point = gm_format(err, "step %" PRIu64 " of the training", r->step);
    if (!session->point) return GM_ERR_MEMORY;

    gm_status status = GM_OK;
    if (cli->shared.json) {
        status = print_json(cli, session, options, path, r, prior, tracks, err);
    } else {
        print_text(session, options, path, r, prior, tracks);
    }
    if (status != GM_OK || r->outcome == GM_TRAIN_FINISHED) return status;
    return gm_fail(err, r->outcome == GM_TRAIN_INTERRUPTED ? GM_ERR_INTERRUPTED : GM_ERR_NUMERIC,
                   "%s", r->message);
}
