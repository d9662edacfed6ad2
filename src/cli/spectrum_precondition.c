/* spectrum --precondition, --precondition-file: D^{-1/2} A D^{-1/2} in the place of A, for a
 * diagonal D > 0. It has the eigenvalues of D^{-1} A, what a step -eta D^{-1} g sees: for the
 * Hessian its largest eigenvalue is what 2/eta is compared with (theory sections 3.4 and 3.5). D is
 * the state of an optimizer from a run file, an exact diagonal, or an array of the user's. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "cli/spectrum_source.h"
#include "data/npy.h"
#include "gradiometer/sgd.h"

const char *const gm_divisor_words[] = {"none", "optimizer",   "rmsprop",      "adagrad",
                                        "adam", "diag-moment", "diag-hessian", NULL};

static bool is_exact(gm_divisor_kind kind)
{
    return kind == GM_DIVISOR_DIAG_MOMENT || kind == GM_DIVISOR_DIAG_HESSIAN;
}

static bool is_state(gm_divisor_kind kind)
{
    return kind != GM_DIVISOR_NONE && !is_exact(kind);
}

/* ---- options ---- */

gm_status gm_divisor_check_options(const gm_cli *cli, const gm_spectrum_settings *set,
                                   gm_error *err)
{
    if (set->divisor_file && gm_cli_given(cli, "precondition")) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--precondition-file: found beside --precondition, expected one of them");
    }
    if (gm_cli_given(cli, "precondition-eps") && !is_exact(set->divisor)) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--precondition-eps: expected beside --precondition diag-moment or "
                       "diag-hessian; a state or a file holds its own");
    }
    return GM_OK;
}

/* ---- where D comes from ---- */

static gm_status read_file(const char *path, size_t size, gm_spectrum_divisor *d, gm_error *err)
{
    size_t found;
    gm_error inner = {0};
    gm_status status = gm_npy_read_vector(path, &d->diagonal, &found, &inner);
    if (status != GM_OK) return gm_fail(err, status, "--precondition-file: %s", inner.message);
    if (found != size) {
        return gm_fail(err, GM_ERR_INPUT,
                       "--precondition-file: %s holds %zu numbers, expected %zu, one for each "
                       "parameter",
                       path, found, size);
    }
    d->name = "file";
    d->what = gm_strdup(path, err);
    return d->what ? GM_OK : GM_ERR_MEMORY;
}

/* The run must have been trained with what --precondition names, and --params must name the step
 * whose state it holds: D at one point beside H at another would be no one's. */
static gm_status check_state(const gm_session *session, gm_divisor_kind kind,
                             gm_spectrum_divisor *d, gm_error *err)
{
    gm_train_options options;
    gm_run_state *state = NULL;
    const char *word = gm_divisor_words[kind];
    if (!session->run) {
        return gm_fail(err, GM_ERR_USAGE,
                       "--precondition: found '%s', expected --params with a run file that holds "
                       "its state",
                       word);
    }
    gm_status status = gm_train_options_load(session->run, &options, err);
    if (status != GM_OK) return status;
    bool own = options.optimizer != GM_OPTIMIZER_SGD;
    d->name =
        own ? gm_optimizer_name(options.optimizer) : gm_precondition_name(options.precondition);
    if (kind != GM_DIVISOR_OPTIMIZER && strcmp(word, d->name) != 0) {
        return gm_fail(err, GM_ERR_INPUT, "--precondition: found '%s', but %s was trained with %s",
                       word, gm_run_path(session->run),
                       strcmp(d->name, "none") == 0 ? "no preconditioner" : d->name);
    }
    status = gm_run_load_state(session->run, &state, err);
    if (status == GM_OK && state && state->step != session->step) {
        status =
            gm_fail(err, GM_ERR_INPUT,
                    "--precondition: %s holds the optimizer's state of step %lld alone, "
                    "--params names step %lld",
                    gm_run_path(session->run), (long long)state->step, (long long)session->step);
    }
    gm_run_free(state);
    return status;
}

/* A copy, since what the run file hands out is freed by gm_run_free. */
static gm_status read_state(const gm_session *session, gm_divisor_kind kind, size_t size,
                            gm_spectrum_divisor *d, gm_error *err)
{
    double *state = NULL;
    char *what = NULL;
    size_t found;
    gm_status status = check_state(session, kind, d, err);
    if (status == GM_OK) {
        status = gm_precondition_from_run(session->run, &state, &found, &what, err);
    }
    if (status == GM_OK && found != size) {
        status = gm_fail(err, GM_ERR_INPUT,
                         "--precondition: the state of %s holds %zu numbers, expected %zu",
                         gm_run_path(session->run), found, size);
    }
    if (status == GM_OK) {
        d->diagonal = gm_alloc(size, sizeof *d->diagonal, "preconditioner", err);
        d->what = gm_strdup(what, err);
        status = d->diagonal && d->what ? GM_OK : GM_ERR_MEMORY;
    }
    if (status == GM_OK) memcpy(d->diagonal, state, size * sizeof *state);
    gm_run_free(state);
    gm_run_free(what);
    return status;
}

/* ---- D as the operators take it ---- */

static gm_status finish(const char *option, size_t from, size_t count, gm_spectrum_divisor *d,
                        gm_error *err)
{
    gm_error inner = {0};
    gm_free(d->scale);
    d->scale = gm_alloc(d->size, sizeof *d->scale, "preconditioner", err);
    if (!d->scale) return GM_ERR_MEMORY;
    gm_status status = gm_precondition_scale(d->size, d->diagonal, d->scale, &inner);
    if (status != GM_OK) {
        return gm_fail(err, status, "--%s: %s: %s", option, d->what, inner.message);
    }
    d->min = d->max = d->diagonal[from];
    for (size_t i = from; i < from + count; i++) {
        d->min = fmin(d->min, d->diagonal[i]);
        d->max = fmax(d->max, d->diagonal[i]);
    }
    return GM_OK;
}

gm_status gm_divisor_open(const gm_spectrum_settings *set, const gm_session *session, size_t size,
                          size_t from, size_t count, gm_spectrum_divisor *d, gm_error *err)
{
    *d = (gm_spectrum_divisor){.size = size, .from = from, .count = count};
    if (set->divisor_file) {
        gm_status status = read_file(set->divisor_file, size, d, err);
        return status == GM_OK ? finish("precondition-file", from, count, d, err) : status;
    }
    if (!is_state(set->divisor)) return GM_OK;
    gm_status status = read_state(session, set->divisor, size, d, err);
    return status == GM_OK ? finish("precondition", from, count, d, err) : status;
}

gm_status gm_divisor_take(const gm_spectrum_settings *set, gm_linearization *lin,
                          gm_spectrum_divisor *d, gm_error *err)
{
    if (!is_exact(set->divisor)) return GM_OK;
    bool moment = set->divisor == GM_DIVISOR_DIAG_MOMENT;
    gm_precondition kind = moment ? GM_PRECONDITION_DIAG_MOMENT : GM_PRECONDITION_DIAG_HESSIAN;
    double epsilon =
        set->divisor_eps > 0 ? set->divisor_eps : gm_train_epsilon_default(GM_OPTIMIZER_SGD, kind);
    d->name = gm_divisor_words[set->divisor];
    if (!d->diagonal) d->diagonal = gm_alloc(d->size, sizeof *d->diagonal, "preconditioner", err);
    if (!d->diagonal) return GM_ERR_MEMORY;
    gm_status status = gm_precondition_exact(lin, kind, epsilon, d->diagonal, err);
    if (status != GM_OK) return status;
    if (!d->what) {
        d->what = gm_format(err, "%s + %g, exact at this point",
                            moment ? "sqrt(diag M)" : "|diag H|", epsilon);
    }
    return d->what ? finish("precondition", d->from, d->count, d, err) : GM_ERR_MEMORY;
}

void gm_divisor_close(gm_spectrum_divisor *d)
{
    gm_free(d->what);
    gm_free(d->diagonal);
    gm_free(d->scale);
    memset(d, 0, sizeof *d);
}

/* ---- the operator between two D^{-1/2} ---- */

typedef struct between {
    gm_spectrum_operator *base; /* owned */
    gm_operator scaled;         /* of base->op */
    const double *scale;        /* [size], the divisor's */
} between;

static void destroy(void *self)
{
    between *b = self;
    gm_operator_destroy(&b->scaled);
    gm_spectrum_operator_close(b->base);
    gm_free(b->base);
    gm_free(b);
}

static gm_status apply(void *self, size_t count, const double *v, double *av, gm_error *err)
{
    between *b = self;
    return gm_operator_apply(&b->scaled, count, v, av, err);
}

static gm_status form(gm_spectrum_operator *target, double *matrix, gm_error *err)
{
    const between *b = target->context;
    size_t n = target->op.size;
    gm_status status = b->base->form(b->base, matrix, err);
    for (size_t i = 0; status == GM_OK && i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            matrix[i * n + j] *= b->scale[i] * b->scale[j];
        }
    }
    return status;
}

static gm_status exact_diagonal(gm_spectrum_operator *target, double *diagonal, gm_error *err)
{
    const between *b = target->context;
    gm_status status = b->base->diagonal(b->base, diagonal, err);
    for (size_t i = 0; status == GM_OK && i < target->op.size; i++) {
        diagonal[i] *= b->scale[i] * b->scale[i];
    }
    return status;
}

gm_status gm_divisor_target(gm_spectrum_operator *base, const double *scale, bool quiet,
                            gm_spectrum_operator *target, gm_error *err)
{
    between *b = gm_alloc(1, sizeof *b, "preconditioned operator", err);
    memset(target, 0, sizeof *target);
    if (!b) {
        gm_spectrum_operator_close(base);
        gm_free(base);
        return GM_ERR_MEMORY;
    }
    *b = (between){.base = base, .scale = scale};
    gm_status status = gm_operator_scaled(&base->op, scale, &b->scaled, err);
    if (status != GM_OK) {
        destroy(b);
        return status;
    }
    gm_operator inner = {.size = base->op.size,
                         .precision = base->op.precision,
                         .name = b->scaled.name,
                         .self = b,
                         .apply = apply,
                         .destroy = destroy};
    gm_spectrum_operator_wrap(&inner, base->layer, quiet, target);
    target->context = b;
    if (base->form) target->form = form;
    if (base->diagonal) target->diagonal = exact_diagonal;
    return GM_OK; /* the rows of a Gram form would have to be scaled before they are multiplied */
}
