#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/html.h"
#include "report/page.h"
#include "report/result.h"
#include "report/spectra.h"

/* ---- what was trained ---- */

/* A setting of the training, under either of the names in use; NULL without. */
static const char *train_setting(const gm_subject *subject, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "train.%s", name);
    const char *value = gm_subject_setting(subject, key);
    return value ? value : gm_subject_setting(subject, name);
}

static double train_number(const gm_subject *subject, const char *name)
{
    const char *text = train_setting(subject, name);
    return text ? strtod(text, NULL) : (double)NAN;
}

static const char *model_of(const gm_subject *subject)
{
    const char *name = gm_subject_setting(subject, "model");
    return name ? name : gm_result_text(gm_subject_document(subject), "model/name");
}

static const char *data_of(const gm_subject *subject)
{
    const char *name = gm_subject_setting(subject, "data");
    return name ? name : gm_result_text(gm_subject_document(subject), "data/name");
}

static double random_labels_of(const gm_subject *subject)
{
    const char *setting = gm_subject_setting(subject, "random_labels");
    if (setting) return strtod(setting, NULL);
    double share = gm_result_number(gm_subject_document(subject), "data/random_labels");
    return isfinite(share) ? share : 0.0;
}

static double parameters_of(const gm_subject *subject)
{
    if (subject->state && subject->state->parameters) return (double)subject->state->parameters;
    return gm_result_number(gm_subject_document(subject), "model/parameters");
}

static void write_data(const gm_subject *subject, FILE *page)
{
    double n = gm_result_number(gm_subject_document(subject), "data/n");
    if (!isfinite(n)) n = train_number(subject, "samples");
    double classes = gm_result_number(gm_subject_document(subject), "data/classes");
    double random = random_labels_of(subject);
    fputs(" on <code>", page);
    gm_html_text(page, data_of(subject));
    fputs("</code>", page);
    if (isfinite(n)) {
        fputs(", ", page);
        gm_html_number(page, n);
        fputs(n == 1.0 ? " sample" : " samples", page);
        if (classes > 0.0) {
            fputs(" of ", page);
            gm_html_number(page, classes);
            fputs(classes == 1.0 ? " class" : " classes", page);
        }
    }
    if (random > 0.0) {
        fputs(", each label redrawn at random with probability ", page);
        gm_html_percent(page, random);
    } else {
        fputs(", true labels", page);
    }
}

/* ", name value" for a training number that is not zero. */
static void write_option(const gm_subject *subject, const char *name, const char *words, FILE *page)
{
    double value = train_number(subject, name);
    if (!isfinite(value) || value == 0.0) return;
    fprintf(page, ", %s ", words);
    gm_html_number(page, value);
}

static void write_training(const gm_subject *subject, FILE *page)
{
    const char *drawn = train_setting(subject, "replacement");
    const char *loss = gm_subject_setting(subject, "loss");
    if (!loss) loss = gm_result_text(gm_subject_document(subject), "loss_name");
    if (!isfinite(train_number(subject, "steps"))) return;
    fputs(" SGD", page);
    write_option(subject, "step", "step size", page);
    write_option(subject, "batch", "batch size", page);
    if (drawn) {
        fprintf(page, " (%s)",
                strcmp(drawn, "yes") == 0  ? "drawn with replacement"
                : strcmp(drawn, "no") == 0 ? "a fresh subset per step"
                                           : "a permutation per epoch");
    }
    write_option(subject, "momentum", "momentum", page);
    write_option(subject, "weight_decay", "weight decay", page);
    write_option(subject, "seed", "seed", page);
    if (loss) fputs(", loss ", page);
    if (loss) gm_html_text(page, strcmp(loss, "cross_entropy") == 0 ? "cross-entropy" : loss);
    fputs(".", page);
}

static void write_subject(const gm_subject *subject, FILE *page)
{
    double parameters = parameters_of(subject);
    fputs("<p><strong>What was run.</strong> ", page);
    const char *matrix = gm_result_text(gm_subject_document(subject), "matrix");
    if (!matrix) matrix = gm_subject_setting(subject, "matrix");
    if (matrix) {
        fputs("The matrix <code>", page);
        gm_html_text(page, matrix);
        fputs("</code>.</p>\n", page);
        return;
    }
    if (!model_of(subject) && !data_of(subject)) {
        fputs("The run file does not say.</p>\n", page);
        return;
    }
    fputs("<code>", page);
    gm_html_text(page, model_of(subject) ? model_of(subject) : "a net that is not named");
    fputs("</code>", page);
    if (isfinite(parameters)) {
        fputs(" (", page);
        gm_html_number(page, parameters);
        fputs(" parameters)", page);
    }
    if (data_of(subject)) write_data(subject, page);
    fputs(".", page);
    write_training(subject, page);
    fputs("</p>\n", page);
}

/* ---- did it converge ---- */

static void write_from_to(const gm_subject *subject, int metric, bool percent, FILE *page)
{
    void (*print)(FILE *, double) = percent ? gm_html_percent : gm_html_number;
    fputs(" from ", page);
    print(page, gm_subject_first(subject, metric));
    fputs(" to ", page);
    print(page, gm_subject_last(subject, metric));
}

static void write_state(const gm_subject *subject, FILE *page)
{
    const gm_run_state *state = subject->state;
    double steps = train_number(subject, "steps");
    if (!state) return;
    bool finished = strcmp(state->status, "finished") == 0;
    fputs(finished ? " The training finished after " : " The training stands at ", page);
    gm_html_number(page, (double)state->step);
    if (!finished && isfinite(steps)) {
        fputs(" of ", page);
        gm_html_number(page, steps);
    }
    fputs(" steps", page);
    if (!finished) {
        fputs(" and is <strong>", page);
        gm_html_text(page, state->status);
        fputs("</strong>", page);
        if (*state->message) {
            fputs(": ", page);
            gm_html_text(page, state->message);
        }
    }
    fputs(".", page);
}

static void write_convergence(const gm_subject *subject, FILE *page)
{
    double error = gm_subject_last(subject, GM_SUBJECT_ERROR);
    double test = gm_subject_last(subject, GM_SUBJECT_TEST_ERROR);
    fputs("<p><strong>Did it converge?</strong>", page);
    if (!gm_subject_trained(subject)) {
        fputs(" The run file holds no training.</p>\n", page);
        return;
    }
    if (error == 0.0) {
        fputs(" Yes: the net fits every training label.", page);
    } else if (error > 0.0) {
        fputs(" Not to zero error: ", page);
        gm_html_percent(page, error);
        fputs(" of the training labels are not fitted.", page);
    }
    if (isfinite(gm_subject_last(subject, GM_SUBJECT_LOSS))) {
        fputs(" The training loss went", page);
        write_from_to(subject, GM_SUBJECT_LOSS, false, page);
        if (isfinite(error)) {
            fputs(", the training error", page);
            write_from_to(subject, GM_SUBJECT_ERROR, true, page);
        }
        if (isfinite(gm_subject_last(subject, GM_SUBJECT_GRADIENT))) {
            fputs(", the norm of the gradient", page);
            write_from_to(subject, GM_SUBJECT_GRADIENT, false, page);
        }
        fputs(".", page);
    }
    if (isfinite(test)) {
        fputs(" The test error at the end is ", page);
        gm_html_percent(page, test);
        fputs(".", page);
    }
    write_state(subject, page);
    fputs("</p>\n", page);
}

/* ---- what was found ---- */

static void write_finding(const json_t *finding, size_t number, FILE *page)
{
    const json_t *holds = gm_result_find(finding, "holds");
    const char *verdict = gm_result_text(finding, "verdict");
    const char *criterion = gm_result_text(finding, "criterion");
    fprintf(page, "<div class=\"finding%s\">\n<p><span class=\"verdict\">Finding %zu",
            json_is_true(holds)    ? " yes"
            : json_is_false(holds) ? " no"
                                   : "",
            number);
    if (verdict) {
        fputs(": ", page);
        gm_html_text(page, verdict);
    }
    fputs(".</span> ", page);
    gm_html_formula(page, gm_result_text(finding, "sentence"));
    fputs("</p>\n", page);
    if (criterion) {
        fputs("<p class=\"criterion\">Criterion: ", page);
        gm_html_formula(page, criterion);
        fputs(".</p>\n", page);
    }
    fputs("</div>\n", page);
}

/* "; 9 stand off the bulk", or where the widest gap is when none is wide enough. */
static void write_outliers(const json_t *last, const char *operator, FILE * page)
{
    char path[64];
    snprintf(path, sizeof path, "operators/%s", operator);
    const json_t *spectrum = gm_result_find(last, path);
    double outliers = gm_result_number(spectrum, "outliers");
    double gap = gm_result_number(spectrum, "gap"), after = gm_result_number(spectrum, "gap_after");
    if (outliers > 0.0) {
        fputs("; ", page);
        gm_html_number(page, outliers);
        fputs(outliers == 1.0 ? " stands" : " stand", page);
        fputs(" off the bulk", page);
    } else if (outliers == 0.0) {
        fputs("; none stands off the bulk by a factor of two", page);
        if (!(after > 0.0)) return;
        fputs(" (the widest gap, ", page);
        gm_html_number(page, gap);
        fputs(", follows eigenvalue ", page);
        gm_html_number(page, after);
        fputs(")", page);
    }
}

/* By products in the order of magnitude an end of a spectrum may not have been seen. */
static void write_range_end(double value, FILE *page)
{
    if (isfinite(value)) {
        gm_html_number(page, value);
    } else {
        fputs("a value not looked for", page);
    }
}

static void write_curvature(const gm_subject *subject, FILE *page)
{
    const json_t *last = subject->decomposition;
    fputs("<p><strong>Curvature", page);
    if (subject->points) {
        int64_t step = subject->point[subject->points - 1].step;
        if (step >= 0) fprintf(page, " at step %" PRId64, step);
    }
    fputs(".</strong> The eigenvalues of the Hessian <i>H</i> run from ", page);
    write_range_end(gm_result_number(last, "operators/hessian/min"), page);
    fputs(" to ", page);
    write_range_end(gm_result_number(last, "operators/hessian/max"), page);
    write_outliers(last, "hessian", page);
    fputs(". Below &minus;", page);
    gm_html_number(page, gm_result_number(last, "operators/hessian/cut"));
    fputs(" times its largest size lie ", page);
    double negative = gm_result_number(last, "operators/hessian/negative");
    double least = gm_result_number(last, "operators/hessian/negative_at_least");
    if (!isfinite(negative) && isfinite(least)) fputs("at least ", page);
    gm_html_number(page, isfinite(negative) ? negative : least);
    fputs(". The largest eigenvalue of the second moment <i>M</i> is ", page);
    gm_html_number(page, gm_result_number(last, "operators/moment/max"));
    write_outliers(last, "moment", page);
    fputs(". The decomposition <i>H</i>&nbsp;=&nbsp;<i>M</i>&nbsp;&minus;&nbsp;"
          "<i>H</i><sub>p</sub> was checked by independent products: largest relative error ",
          page);
    gm_html_number(page, gm_result_number(last, "decomposition_error"));
    fputs(".</p>\n", page);
}

/* The largest eigenvalue; NaN where only others were asked for. */
static double largest_of(const json_t *block)
{
    const char *which = gm_result_text(block, "which"), *form = gm_result_text(block, "form");
    bool others = which && (strcmp(which, "SA") == 0 || strcmp(which, "LM") == 0);
    if (others && !form) return (double)NAN; /* a form is that of a dense matrix: all are there */
    return gm_result_number(block, "eigenvalues/0");
}

/* What of a measurement goes into the summary. */
typedef struct told {
    const char *name;       /* "largest eigenvalue" */
    const char *error_path; /* NULL: the residual, which is in the table */
    double (*read)(const json_t *block);
} told;

static double trace_of(const json_t *block)
{
    return gm_result_number(block, "trace/value");
}

static const told tolds[] = {{"largest eigenvalue", NULL, largest_of},
                             {"trace", "trace/stderr", trace_of}};

static void write_value(const told *t, const gm_subject_spectrum *spectrum, FILE *page)
{
    double error = t->error_path ? gm_result_number(spectrum->block, t->error_path) : 0.0;
    gm_html_number(page, t->read(spectrum->block));
    if (!(error > 0.0)) return;
    fputs("&nbsp;&plusmn;&nbsp;", page);
    gm_html_number(page, error);
}

/* "The trace of the Hessian H is 12.3 +- 0.4 at step 1000.", or where it came from and went to in
 * several measurements, of which `first` is the first. */
static void write_told(const gm_subject *subject, size_t first, const told *t, FILE *page)
{
    size_t last = first, count = 0;
    const gm_subject_spectrum *one = &subject->spectrum[first];
    for (size_t i = first; i < subject->spectra; i++) {
        const gm_subject_spectrum *other = &subject->spectrum[i];
        if (!gm_spectra_alike(one, other) || !isfinite(t->read(other->block))) continue;
        last = i;
        count++;
    }
    fprintf(page, " The %s ", t->name);
    gm_spectrum_caption(one, page);
    const gm_subject_spectrum *end = &subject->spectrum[last];
    if (count == 1 || end->step <= one->step) {
        fputs(" is ", page);
        write_value(t, one, page);
        if (one->step >= 0) fprintf(page, " at step %" PRId64, one->step);
    } else {
        fputs(" goes from ", page);
        write_value(t, one, page);
        fprintf(page, " at step %" PRId64 " to ", one->step);
        write_value(t, end, page);
        fprintf(page, " at step %" PRId64 " (%zu measurements)", end->step, count);
    }
    fputs(".", page);
}

/* A sentence for each operator and what is told of it. */
static void write_spectra(const gm_subject *subject, FILE *page)
{
    if (!subject->spectra) return;
    fputs("<p><strong>Spectra.</strong>", page);
    for (size_t t = 0; t < sizeof tolds / sizeof *tolds; t++) {
        for (size_t i = 0; i < subject->spectra; i++) {
            bool before = !isfinite(tolds[t].read(subject->spectrum[i].block));
            for (size_t j = 0; j < i && !before; j++) {
                before = gm_spectra_alike(&subject->spectrum[j], &subject->spectrum[i]) &&
                         isfinite(tolds[t].read(subject->spectrum[j].block));
            }
            if (!before) write_told(subject, i, &tolds[t], page);
        }
    }
    fputs(" An error after &plusmn; is a standard error. All measurements are in the first table "
          "below.</p>\n",
          page);
}

void gm_summary_write(const gm_subject *subject, FILE *page)
{
    write_subject(subject, page);
    if (gm_subject_trained(subject) || !subject->spectra) write_convergence(subject, page);
    write_spectra(subject, page);
    if (!subject->decomposition && (subject->spectra || subject->tracks)) return;
    if (!subject->decomposition) {
        fputs("<p><strong>Curvature.</strong> The run file holds no decomposition. "
              "<code>gradiometer decompose --params RUN.gmr@all -o RUN.gmr</code> adds one.</p>\n",
              page);
        return;
    }
    write_curvature(subject, page);
    const json_t *findings = gm_result_find(subject->decomposition, "findings");
    for (size_t i = 0; i < json_array_size(findings); i++) {
        write_finding(json_array_get(findings, i), i + 1, page);
    }
}
