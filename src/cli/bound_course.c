/* gradiometer bound --params run.gmr@all: a certificate for every checkpoint of a run. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/bound.h"
#include "cli/interrupt.h"
#include "cli/record.h"

typedef struct course {
    gm_cli *cli;
    gm_session *session;
    int64_t *step; /* [count] */
    size_t count, done;
    json_t *documents; /* array of those done */
    gm_progress progress;
} course;

/* The session at the checkpoint of a step. */
static gm_status move_to(gm_session *session, int64_t step, gm_error *err)
{
    size_t p = gm_problem_parameters(session->problem), found = 0;
    double *stored = NULL;
    gm_status status = gm_run_parameters(session->run, step, &stored, &found, NULL, err);
    if (status == GM_OK && found != p)
        status = gm_fail(err, GM_ERR_INPUT, "%s: step %lld holds %zu parameters, expected %zu",
                         gm_run_path(session->run), (long long)step, found, p);
    if (status == GM_OK) {
        memcpy(session->theta, stored, p * sizeof *stored);
        gm_free(session->point);
        session->point =
            gm_format(err, "%s, step %lld", gm_run_path(session->run), (long long)step);
        session->step = step;
        if (!session->point) status = GM_ERR_MEMORY;
    }
    gm_run_free(stored);
    return status;
}

static gm_status take_point(course *c, gm_bound_run *run, int64_t step, gm_error *err)
{
    gm_status status = move_to(c->session, step, err);
    if (status == GM_OK) status = gm_bound_take(c->cli, c->session, run, err);
    json_t *document = NULL;
    if (status == GM_OK) {
        document = gm_bound_document(c->cli, c->session, run, err);
        status = document ? gm_record_result(c->cli, c->session, "bound", document, NULL, 0, err)
                          : GM_ERR_MEMORY;
    }
    gm_bound_free(&run->bound);
    if (status == GM_OK && json_array_append(c->documents, document) != 0)
        status = gm_fail(err, GM_ERR_MEMORY, "no memory for the JSON document");
    json_decref(document);
    return status;
}

static double number(const json_t *document, const char *object, const char *key)
{
    const json_t *at = object ? json_object_get(document, object) : document;
    const json_t *value = json_object_get(at, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static void print_table(const course *c, const gm_bound_run *run)
{
    bool test = c->session->test != NULL;
    gm_document_describe(c->session);
    printf("prior      around %s\n", run->origin.point);
    for (size_t i = 0; i < run->origin.reasons; i++) {
        printf("BOUND NOT VALID: %s\n", run->origin.reason[i]);
    }
    printf("\n  %10s %11s %11s %11s %10s %10s %9s %9s%s\n", "step", "KL", "curvature", "distance",
           "Gibbs", "draws add", "bound", "error", test ? "      test" : "");
    for (size_t i = 0; i < c->done; i++) {
        const json_t *d = json_array_get(c->documents, i);
        printf("  %10lld %11.5g %11.5g %11.5g %10.5f %10.5f %9.5f %9.5f",
               (long long)json_integer_value(json_object_get(d, "step")), number(d, NULL, "kl"),
               number(d, NULL, "effective_curvature"), number(d, NULL, "distance"),
               number(d, "gibbs", "train"), number(d, "budget", "monte_carlo"),
               number(d, NULL, "bound"), number(d, NULL, "training_error"));
        if (test) printf(" %9.5f", number(d, NULL, "test_error"));
        putchar('\n');
    }
    printf(
        "\ndraws add: what the upper limit for the draws adds to the Gibbs training error; error "
        "and test are those of the\ndeterministic net. Each bound fails with probability at most "
        "%g; that of the sample, %g, is the same event for all\nof them, so that all hold "
        "together but for at most %g\n",
        run->options.delta, run->options.delta * (1.0 - run->options.draws_share),
        run->options.delta * (1.0 + run->options.draws_share * ((double)c->done - 1.0)));
}

static gm_status deliver(course *c, const gm_bound_run *run, gm_error *err)
{
    if (!c->cli->shared.json) {
        print_table(c, run);
        return GM_OK;
    }
    json_t *document = gm_document_create(c->cli, c->session, err);
    if (!document) return GM_ERR_MEMORY;
    json_object_set(document, "checkpoints", c->documents);
    return gm_document_print(c->cli, document, err);
}

static gm_status take_all(course *c, gm_bound_run *run, gm_error *err)
{
    gm_status status = GM_OK;
    gm_progress_start(&c->progress, "bound", "checkpoints", 0, c->count,
                      c->cli->shared.quiet || c->count == 1);
    gm_interrupt_install();
    for (size_t i = 0; status == GM_OK && i < c->count; i++) {
        status = take_point(c, run, c->step[i], err);
        if (status == GM_OK) gm_progress_update(&c->progress, ++c->done, NULL);
    }
    if (status == GM_ERR_INTERRUPTED)
        status = gm_fail(err, status,
                         "interrupted after %zu of %zu checkpoints; the finished ones are kept, "
                         "--params RUN@STEP does a single one",
                         c->done, c->count);
    gm_progress_finish(&c->progress);
    return status;
}

gm_status gm_bound_course(gm_cli *cli, const char *path, gm_error *err)
{
    gm_session session = {0};
    gm_bound_run run = {0};
    course c = {.cli = cli, .session = &session, .documents = json_array()};
    cli->shared.params = path;
    gm_status status = gm_session_open(cli, &session, err);
    if (status == GM_OK && !session.run)
        status = gm_fail(err, GM_ERR_USAGE,
                         "--params: found '%s@all', expected a run file before "
                         "@all",
                         path);
    if (status == GM_OK) status = gm_bound_prepare(cli, &session, &run.origin, &run.options, err);
    if (status == GM_OK) status = gm_record_check(cli, err);
    if (status == GM_OK) status = gm_run_checkpoints(session.run, &c.step, &c.count, err);
    if (status == GM_OK) {
        gm_cli_begin(cli);
        status = take_all(&c, &run, err);
        gm_error later = {0};
        bool some = status == GM_OK || (status == GM_ERR_INTERRUPTED && c.done > 0);
        if (some && deliver(&c, &run, &later) != GM_OK && status == GM_OK) {
            *err = later;
            status = later.status;
        }
    }
    json_decref(c.documents);
    gm_run_free(c.step);
    gm_bound_origin_free(&run.origin);
    gm_session_close(&session);
    return status;
}
