/* Eigenpairs followed along a training: against dense matrices at the kept checkpoints, without an
 * effect on the training, through interruptions, and the words of --track. */
#include <math.h>
#include <sqlite3.h>
#include <string.h>

#include "folder.h"
#include "gradiometer/curvature.h"
#include "gradiometer/track.h"
#include "kernels/lapack.h"
#include "sgd_case.h"
#include "support.h"

/* p = 241 is beyond the size at which the solver forms the matrix, for the k below. */
#define NET "mlp:10-20-1,act=tanh"
enum { N = 30, D = 10, P = 241, STEPS = 46, EVERY = 12 };

static void ok(gm_status status, const gm_error *err)
{
    if (status != GM_OK) fail_msg("unexpected: %s", err->message);
}

static void fails(gm_status status, gm_status expected, const gm_error *err, const char *part)
{
    if (status != expected)
        fail_msg("status %d, expected %d: %s", (int)status, (int)expected, err->message);
    if (!strstr(err->message, part)) fail_msg("'%s' does not say '%s'", err->message, part);
}

/* ---- a training with a tracker ---- */

typedef struct hooked {
    gm_tracker *tracker;
    uint64_t asked, until; /* products are interrupted at the until-th question, 0: never */
} hooked;

static bool due(void *context, uint64_t t)
{
    return gm_tracker_due(((hooked *)context)->tracker, t);
}

static gm_status measure(void *context, uint64_t t, const double *theta, gm_error *err)
{
    return gm_tracker_measure(((hooked *)context)->tracker, t, theta, err);
}

static gm_status save(void *context, gm_run *run, gm_error *err)
{
    return gm_tracker_save(((hooked *)context)->tracker, run, err);
}

static bool asked(void *context)
{
    hooked *h = context;
    return ++h->asked == h->until;
}

static gm_tracker *tracker_of(const sgd_case *c, const char *words)
{
    gm_error err;
    gm_track_options o;
    gm_tracker *tracker = NULL;
    gm_track_options_default(&o);
    ok(gm_track_options_parse(words, &o, &err), &err);
    ok(gm_track_options_resolve(&o, c->problem, &err), &err);
    ok(gm_tracker_create(c->problem, &o, 5, STEPS, &tracker, &err), &err);
    return tracker;
}

static gm_train_options training(void)
{
    gm_train_options o;
    gm_train_options_default(&o);
    o.steps = STEPS;
    o.batch = 4;
    o.step = 0.02;
    o.seed = 5;
    o.momentum = 0.5;
    o.keep_every = EVERY;
    o.checkpoint_every = 5;
    return o;
}

/* A fresh training (words NULL: without tracking), or the next session of one; `until` as above. */
static gm_train_outcome session(const sgd_case *c, const char *path, const char *words, bool fresh,
                                uint64_t until)
{
    gm_error err;
    gm_run *run = NULL;
    gm_train_result result;
    gm_train_options o = training();
    hooked h = {.until = until};
    gm_train_hooks hooks = {0};
    gm_train_hooks tracking = {.context = &h, .due = due, .measure = measure, .save = save};
    double *theta = calloc(c->p, sizeof *theta);
    if (words) {
        h.tracker = tracker_of(c, words);
        gm_tracker_watch(h.tracker, asked, &h);
        hooks = tracking;
    }
    gm_net_init(c->net, GM_INIT_HE, 9, 0, theta);
    if (fresh) {
        ok(gm_run_create(path, true, NULL, 0, &run, &err), &err);
        ok(gm_train(c->problem, NULL, &o, &hooks, run, theta, &result, &err), &err);
    } else {
        ok(gm_run_open(path, GM_RUN_WRITE, &run, &err), &err);
        if (words) ok(gm_tracker_load(h.tracker, run, &err), &err);
        ok(gm_train_resume(c->problem, NULL, &hooks, run, theta, &result, &err), &err);
    }
    gm_run_close(run);
    gm_tracker_free(h.tracker);
    free(theta);
    return result.outcome;
}

/* ---- against dense matrices ---- */

typedef struct wanted {
    const char *words;
    gm_curvature kind;
    gm_which which;
    size_t k, samples;
    double tol;
} wanted;

static const wanted cases[] = {
    {"spectrum:k=4,every=12,tol=1e-7", GM_HESSIAN, GM_WHICH_LA, 4, N, 1e-7},
    {"spectrum:k=3,every=12,tol=1e-7,which=SA", GM_HESSIAN, GM_WHICH_SA, 3, N, 1e-7},
    {"spectrum:k=4,every=12,tol=1e-6,which=BE,n=20", GM_HESSIAN, GM_WHICH_BE, 4, 20, 1e-6},
    {"spectrum:k=3,every=12,tol=1e-7,which=LM", GM_HESSIAN, GM_WHICH_LM, 3, N, 1e-7},
    {"spectrum:k=2,every=12,operator=ggn,n=11", GM_GGN, GM_WHICH_LA, 2, 11, 1e-10},
    {"spectrum:k=2,every=12,tol=1e-7,operator=covariance", GM_COVARIANCE, GM_WHICH_LA, 2, N, 1e-7},
};

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

static int by_magnitude(const void *a, const void *b)
{
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return (x < y) - (x > y);
}

/* The pairs asked for, descending, of all eigenvalues at theta; returns |lambda|_max. */
static double dense_answer(const sgd_case *c, const wanted *w, const double *theta,
                           double *expected)
{
    gm_error err;
    gm_dataset *data = NULL;
    gm_problem *problem = NULL;
    gm_problem_options options;
    gm_linearization *lin = NULL;
    double *matrix = calloc((size_t)P * P, sizeof *matrix), value[P];
    size_t index[N];
    for (size_t i = 0; i < N; i++) {
        index[i] = i;
    }
    gm_problem_options_default(&options);
    options.loss = GM_LOSS_SQUARED;
    ok(gm_dataset_select(c->data, w->samples, index, "some", &data, &err), &err);
    ok(gm_problem_create(c->net, data, &options, &problem, &err), &err);
    ok(gm_linearize(problem, theta, &lin, &err), &err);
    ok(gm_curvature_dense(lin, w->kind, GM_ALL_LAYERS, matrix, &err), &err);
    ok(gm_symmetric_eigen(P, matrix, 0, 0, value, NULL, &err), &err);
    qsort(value, P, sizeof *value, descending);
    double scale = fmax(fabs(value[0]), fabs(value[P - 1]));
    if (w->which == GM_WHICH_LM) qsort(value, P, sizeof *value, by_magnitude);
    for (size_t j = 0; j < w->k; j++) {
        size_t top = w->which == GM_WHICH_SA ? 0 : w->which == GM_WHICH_BE ? (w->k + 1) / 2 : w->k;
        expected[j] = value[j < top ? j : P - w->k + j];
    }
    qsort(expected, w->k, sizeof *expected, descending);
    gm_linearization_free(lin);
    gm_problem_free(problem);
    gm_dataset_free(data);
    free(matrix);
    return scale;
}

static double metric_at(gm_run *run, int64_t step, const char *format, const char *name, size_t j)
{
    gm_error err;
    char text[64];
    int64_t *steps = NULL;
    double *value = NULL, found = (double)NAN;
    size_t count = 0;
    snprintf(text, sizeof text, "%s/%s", name, format);
    if (j) snprintf(text, sizeof text, "%s/%s/%zu", name, format, j);
    ok(gm_run_metric(run, text, &steps, &value, &count, &err), &err);
    assert_int_equal(count, 5); /* 0, 12, 24, 36, 46 */
    for (size_t i = 0; i < count; i++) {
        if (steps[i] == step) found = value[i];
    }
    gm_run_free(steps);
    gm_run_free(value);
    return found;
}

/* Every tracked step is a kept one here. An eigenvalue lies within its residual of a true one, and
 * the residual within tol |lambda|_max; 1e-12 of it is for the rounding of either side. */
static void eigenvalues_are_those_of_the_matrix(void **unused)
{
    (void)unused;
    gm_error err;
    sgd_case c;
    ok(sgd_case_open(&c, N, D, NET, GM_F64, &err), &err);
    assert_int_equal(c.p, P);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const wanted *w = &cases[i];
        const char *path = folder_path("dense.gmr"), *name = gm_curvature_name(w->kind);
        static const int64_t steps[] = {0, 12, 24, 36, STEPS};
        gm_run *run = NULL;
        assert_int_equal(session(&c, path, w->words, true, 0), GM_TRAIN_FINISHED);
        ok(gm_run_open(path, GM_RUN_READ, &run, &err), &err);
        for (size_t s = 0; s < 5; s++) {
            double *theta = NULL, expected[4];
            size_t p;
            ok(gm_run_parameters(run, steps[s], &theta, &p, NULL, &err), &err);
            double scale = dense_answer(&c, w, theta, expected);
            double bound = (w->tol + 1e-12) * scale;
            for (size_t j = 0; j < w->k; j++) {
                double found = metric_at(run, steps[s], "eigenvalue", name, j + 1);
                double residual = metric_at(run, steps[s], "residual", name, j + 1);
                if (!(fabs(found - expected[j]) <= bound))
                    fail_msg("%s, step %d: eigenvalue %zu is %.17g, not %.17g", w->words,
                             (int)steps[s], j + 1, found, expected[j]);
                assert_true(residual <= bound);
            }
            assert_true(metric_at(run, steps[s], "converged", name, 0) == (double)w->k);
            assert_true(metric_at(run, steps[s], "products", name, 0) < P); /* none was formed */
            gm_run_free(theta);
        }
        gm_run_close(run);
    }
    sgd_case_close(&c);
    folder_empty();
}

/* ---- beside the training ---- */

/* The dump without the lines that tracking adds. */
static void drop_tracked(char *dump)
{
    char *to = dump;
    for (char *line = dump, *next; *line; line = next) {
        char *end = strchr(line, '\n');
        next = end ? end + 1 : line + strlen(line);
        bool ours = strncmp(line, "hessian/", 8) == 0 || strncmp(line, "result ", 7) == 0 ||
                    strncmp(line, "subspace ", 9) == 0;
        if (ours) continue;
        memmove(to, line, (size_t)(next - line));
        to += next - line;
    }
    *to = '\0';
}

static void the_training_does_not_notice(void **unused)
{
    (void)unused;
    for (int dtype = GM_F32; dtype <= GM_F64; dtype++) {
        gm_error err;
        sgd_case c;
        const char *path = folder_path("beside.gmr");
        ok(sgd_case_open(&c, N, D, NET, (gm_dtype)dtype, &err), &err);
        session(&c, path, NULL, true, 0);
        char *plain = run_dump(path);
        session(&c, path, "spectrum:k=3,every=7", true, 0);
        char *tracked = run_dump(path);
        assert_non_null(plain);
        assert_non_null(strstr(tracked, "hessian/eigenvalue/3 42 "));
        assert_non_null(strstr(tracked, "subspace 722 "));
        drop_tracked(tracked);
        assert_string_equal(tracked, plain);
        free(plain);
        free(tracked);
        sgd_case_close(&c);
    }
    folder_empty();
}

/* ---- interruptions ---- */

/* A training interrupted in its measurements, at the question `until` of each session. */
static char *in_sessions(const sgd_case *c, const char *path, const char *words, uint64_t until,
                         int *sessions)
{
    *sessions = 1;
    gm_train_outcome outcome = session(c, path, words, true, until);
    while (outcome != GM_TRAIN_FINISHED) {
        assert_int_equal(outcome, GM_TRAIN_INTERRUPTED);
        /* The later sessions get further, or the first question would be the last for ever. */
        outcome = session(c, path, words, false, until + 40);
        ++*sessions;
    }
    return run_dump(path);
}

static void interrupted_measurements_are_made_again(void **unused)
{
    (void)unused;
    const char *words = "spectrum:k=3,every=4,tol=1e-6";
    for (int dtype = GM_F32; dtype <= GM_F64; dtype++) {
        gm_error err;
        sgd_case c;
        int sessions;
        ok(sgd_case_open(&c, N, D, NET, (gm_dtype)dtype, &err), &err);
        char *whole = in_sessions(&c, folder_path("whole.gmr"), words, 0, &sessions);
        for (uint64_t until = 1; until < 40; until += 6) {
            char *parts = in_sessions(&c, folder_path("parts.gmr"), words, until, &sessions);
            assert_true(sessions > 1);
            assert_string_equal(parts, whole);
            free(parts);
        }
        free(whole);
        sgd_case_close(&c);
    }
    folder_empty();
}

/* The subspace in the file matters: without it the same training goes on to other numbers. */
static void without_the_subspace_it_is_another_run(void **unused)
{
    (void)unused;
    const char *words = "spectrum:k=3,every=4,tol=1e-6";
    gm_error err;
    sgd_case c;
    int sessions;
    sqlite3 *db = NULL;
    const char *path = folder_path("parts.gmr");
    ok(sgd_case_open(&c, N, D, NET, GM_F64, &err), &err);
    char *whole = in_sessions(&c, folder_path("whole.gmr"), words, 0, &sessions);
    assert_int_equal(session(&c, path, words, true, 30), GM_TRAIN_INTERRUPTED);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM array; DELETE FROM result", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(sqlite3_changes(db) > 0);
    sqlite3_close(db);
    assert_int_equal(session(&c, path, words, false, 0), GM_TRAIN_FINISHED);
    char *parts = run_dump(path);
    assert_true(strcmp(parts, whole) != 0);
    free(parts);
    free(whole);
    sgd_case_close(&c);
    folder_empty();
}

/* ---- measurements that do not come to an end ---- */

static void unconverged_pairs_are_recorded(void **unused)
{
    (void)unused;
    gm_error err;
    sgd_case c;
    ok(sgd_case_open(&c, N, D, NET, GM_F64, &err), &err);
    double *theta = calloc(P, sizeof *theta);
    gm_net_init(c.net, GM_INIT_HE, 9, 0, theta);
    gm_tracker *tracker = tracker_of(&c, "spectrum:k=3,products=25");
    ok(gm_tracker_measure(tracker, 0, theta, &err), &err);
    gm_tracked found = gm_tracker_results(tracker);
    assert_int_equal(found.count, 1);
    assert_true(found.converged[0] < 3 && found.products[0] <= 25);
    assert_true(found.value[0] > 0 && found.residual[0] > 0);
    assert_int_equal(found.invalid, 0);

    /* Weights whose products overflow. */
    for (size_t i = 0; i < P; i++) {
        theta[i] = i < 200 ? 0 : 1e200;
    }
    assert_false(gm_tracker_due(tracker, 0));
    ok(gm_tracker_measure(tracker, 50, theta, &err), &err);
    found = gm_tracker_results(tracker);
    assert_int_equal(found.count, 2);
    assert_true(isnan(found.value[3]) && isnan(found.residual[5]) && found.converged[1] == 0);
    assert_int_equal(found.invalid, 1);
    assert_true(*found.invalid_cause);
    gm_tracker_free(tracker);
    free(theta);
    sgd_case_close(&c);
}

/* ---- words and files that are refused ---- */

static void words_are_read(void **unused)
{
    (void)unused;
    static const struct {
        const char *words, *part;
    } bad[] = {
        {"", "expected spectrum"},
        {"density", "expected spectrum"},
        {"spectrums", "expected spectrum"},
        {"spectrum:", "found ''"},
        {"spectrum:k=0", "k: found '0'"},
        {"spectrum:k=-1", "k: found '-1'"},
        {"spectrum:k=4294967296", "k: found"},
        {"spectrum:k", "k: found no value"},
        {"spectrum:k=", "k: found no value"},
        {"spectrum:k=2,k=3", "twice"},
        {"spectrum:k=2,", "found ''"},
        {"spectrum:every=0", "every: found '0'"},
        {"spectrum:every=9223372036854775807", "every: found"},
        {"spectrum:n=0", "n: found '0'"},
        {"spectrum:products=0", "products: found '0'"},
        {"spectrum:which=la", "LA, SA, BE or LM"},
        {"spectrum:operator=H", "gn_residual"},
        {"spectrum:tol=0", "tol: found"},
        {"spectrum:tol=nan", "tol: found"},
        {"spectrum:tol=2", "tol: found"},
        {"spectrum:depth=3", "found 'depth'"},
        {"spectrum:k=242", "k: found 242, expected at most 241"},
        {"spectrum:n=31", "n: found 31, expected at most 30"},
        {"spectrum:tol=1e-15", "noise floor"},
    };
    gm_error err;
    sgd_case c;
    gm_track_options o, back;
    char text[GM_TRACK_TEXT];
    ok(sgd_case_open(&c, N, D, NET, GM_F64, &err), &err);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        gm_track_options_default(&o);
        gm_status status = gm_track_options_parse(bad[i].words, &o, &err);
        if (status == GM_OK) status = gm_track_options_resolve(&o, c.problem, &err);
        fails(status, GM_ERR_USAGE, &err, bad[i].part);
        assert_non_null(strstr(err.message, "--track"));
    }
    gm_track_options_default(&o);
    ok(gm_track_options_parse("spectrum", &o, &err), &err);
    ok(gm_track_options_resolve(&o, c.problem, &err), &err);
    assert_true(o.kind == GM_HESSIAN && o.which == GM_WHICH_LA && o.k == 10 && o.every == 50 &&
                o.tol == 1e-10 && o.samples == N && o.max_products == 0);
    o = (gm_track_options){GM_COVARIANCE, GM_WHICH_BE, 7, 1234567890123, 1.0 / 3, 29, 77};
    gm_track_options_print(&o, text);
    gm_track_options_default(&back);
    ok(gm_track_options_parse(text, &back, &err), &err);
    assert_true(o.kind == back.kind && o.which == back.which && o.k == back.k &&
                o.every == back.every && o.tol == back.tol && o.samples == back.samples &&
                o.max_products == back.max_products);
    sgd_case_close(&c);
}

/* A run tracked with other options than it was begun with. */
static void other_files_are_refused(void **unused)
{
    (void)unused;
    gm_error err;
    sgd_case c;
    gm_run *run = NULL;
    const char *path = folder_path("other.gmr");
    ok(sgd_case_open(&c, N, D, NET, GM_F64, &err), &err);
    session(&c, path, "spectrum:k=3,every=20,tol=1e-3", true, 0);
    ok(gm_run_open(path, GM_RUN_READ, &run, &err), &err);
    gm_tracker *more = tracker_of(&c, "spectrum:k=4"), *fewer = tracker_of(&c, "spectrum:k=2");
    fails(gm_tracker_load(more, run, &err), GM_ERR_INPUT, &err, "hessian/eigenvalue/4");
    fails(gm_tracker_load(fewer, run, &err), GM_ERR_INPUT, &err, "subspace");
    gm_tracker_free(more);
    gm_tracker_free(fewer);
    gm_run_close(run);
    sgd_case_close(&c);
    folder_empty();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eigenvalues_are_those_of_the_matrix),
        cmocka_unit_test(the_training_does_not_notice),
        cmocka_unit_test(interrupted_measurements_are_made_again),
        cmocka_unit_test(without_the_subspace_it_is_another_run),
        cmocka_unit_test(unconverged_pairs_are_recorded),
        cmocka_unit_test(words_are_read),
        cmocka_unit_test(other_files_are_refused),
    };
    if (folder_make(NULL)) return 1;
    int failed = gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "track");
    return folder_remove(NULL) ? 1 : failed;
}
