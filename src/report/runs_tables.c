/* Tables of several runs: one line a run, in the order given. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "report/html.h"
#include "report/plot.h"
#include "report/result.h"
#include "report/runs.h"

/* ---- cells ---- */

/* A piece of the line that the run has in the figures. */
static void write_swatch(const gm_runs *runs, size_t i, FILE *page)
{
    char line[64];
    const char *name;
    gm_runs_line(runs, runs->group[i], line, &name);
    const char *dashes = strstr(line, "(7,3)") ? "7 3" : strstr(line, "(2,2)") ? "2 3" : "none";
    fprintf(page,
            "<svg class=\"swatch\" viewBox=\"0 0 24 8\" aria-hidden=\"true\">"
            "<line x1=\"0\" y1=\"4\" x2=\"24\" y2=\"4\" stroke-width=\"3\" stroke-dasharray=\"%s\" "
            "stroke=\"%s\"/></svg>",
            dashes, gm_colour_light(name));
}

static void write_name(const gm_runs *runs, size_t i, FILE *page)
{
    write_swatch(runs, i, page);
    if (runs->linked) fprintf(page, "<a href=\"#run%zu\">", runs->run[i].number);
    gm_html_text(page, runs->run[i].name);
    if (runs->linked) fputs("</a>", page);
}

static void write_head(const char *caption, FILE *page)
{
    fprintf(page,
            "<div class=\"scroll\"><table>\n<caption>%s</caption>\n<thead><tr>"
            "<th class=\"text\" scope=\"col\">run</th>",
            caption);
}

/* value, with its standard error where that is known and more than rounding; of a count that is
 * only known from below, the bound `least`. */
static void write_estimate(double value, double error, double least, bool percent, FILE *page)
{
    void (*print)(FILE *, double) = percent ? gm_html_percent : gm_html_number;
    fputs("<td>", page);
    if (isfinite(value)) {
        print(page, value);
    } else if (isfinite(least)) {
        fputs("&ge;&nbsp;", page);
        print(page, least);
    } else {
        fputs("&ndash;", page);
    }
    if (isfinite(value) && error > 1e-6 * fabs(value) && isfinite(error)) {
        fputs("&nbsp;&plusmn;&nbsp;", page);
        print(page, error);
    }
    fputs("</td>", page);
}

/* ---- settings ---- */

/* How many settings all runs share: those of the first that do not differ. */
static size_t shared_settings(const gm_runs *runs)
{
    size_t shared = 0;
    const gm_subject *first = &runs->run[0];
    for (size_t s = 0; s < first->settings; s++) {
        bool same = true;
        for (size_t i = 1; i < runs->count && same; i++) {
            const char *value = gm_subject_setting(&runs->run[i], first->setting[s].key);
            same = value && strcmp(value, first->setting[s].value) == 0;
        }
        shared += same ? 1 : 0;
    }
    return shared;
}

static void write_setting(const gm_runs *runs, size_t run, size_t setting, FILE *page)
{
    char digits[GM_SETTING_DIGITS];
    const char *value = gm_runs_value(&runs->run[run], runs->setting[setting].key);
    fputs("<td>", page);
    gm_html_text(page, value ? gm_setting_shortest(value, digits) : "\xe2\x80\x93");
    fputs("</td>", page);
}

/* A line for each run. */
static void write_settings_across(const gm_runs *runs, FILE *page)
{
    fputs("<th class=\"text\" scope=\"col\">run</th>", page);
    for (size_t s = 0; s < runs->settings; s++) {
        fputs("<th class=\"text\" scope=\"col\">", page);
        gm_html_text(page, runs->setting[s].key);
        fputs("</th>", page);
    }
    fputs("</tr></thead>\n<tbody>\n", page);
    for (size_t i = 0; i < runs->count; i++) {
        fputs("<tr><th scope=\"row\">", page);
        write_name(runs, i, page);
        fputs("</th>", page);
        for (size_t s = 0; s < runs->settings; s++) {
            write_setting(runs, i, s, page);
        }
        fputs("</tr>\n", page);
    }
}

/* A line for each setting. */
static void write_settings_down(const gm_runs *runs, FILE *page)
{
    fputs("<th class=\"text\" scope=\"col\">setting</th>", page);
    for (size_t i = 0; i < runs->count; i++) {
        fputs("<th class=\"text\" scope=\"col\">", page);
        write_name(runs, i, page);
        fputs("</th>", page);
    }
    fputs("</tr></thead>\n<tbody>\n", page);
    for (size_t s = 0; s < runs->settings; s++) {
        fputs("<tr><th scope=\"row\">", page);
        gm_html_text(page, runs->setting[s].key);
        fputs("</th>", page);
        for (size_t i = 0; i < runs->count; i++) {
            write_setting(runs, i, s, page);
        }
        fputs("</tr>\n", page);
    }
}

void gm_runs_settings(const gm_runs *runs, FILE *page)
{
    enum { MOST_ACROSS = 6 };
    fprintf(page,
            "<div class=\"scroll\"><table class=\"differ\">\n<caption>%s</caption>\n<thead><tr>",
            runs->settings ? "Settings that differ." : "The runs.");
    if (runs->settings > MOST_ACROSS && runs->count <= MOST_ACROSS) {
        write_settings_down(runs, page);
    } else {
        write_settings_across(runs, page);
    }
    fputs("</tbody></table></div>\n<p class=\"note\">", page);
    if (!runs->settings) fputs("The runs do not differ in any setting. ", page);
    gm_html_number(page, (double)shared_settings(runs));
    fputs(" settings are the same in all of them. The mark before a name is the run's line in the "
          "figures.</p>\n",
          page);
}

/* ---- measures ---- */

typedef enum source {
    OF_METRIC,        /* the last value of a metric */
    OF_GAP,           /* test error less training error */
    OF_STATE,         /* steps done */
    OF_DECOMPOSITION, /* a number of the last decomposition */
    OF_BOUND,         /* a number of the last bound */
} source;

typedef struct column {
    const char *heading;           /* HTML */
    const char *path, *error_path; /* of the number in the document and of its standard error */
    source source;
    int metric, error; /* of OF_METRIC; error -1 without */
    bool percent;
} column;

static const column training_columns[] = {
    {"steps", NULL, NULL, OF_STATE, 0, -1, false},
    {"training<br>loss", NULL, NULL, OF_METRIC, GM_SUBJECT_LOSS, -1, false},
    {"test<br>loss", NULL, NULL, OF_METRIC, GM_SUBJECT_TEST_LOSS, -1, false},
    {"training<br>error", NULL, NULL, OF_METRIC, GM_SUBJECT_ERROR, -1, true},
    {"test<br>error", NULL, NULL, OF_METRIC, GM_SUBJECT_TEST_ERROR, -1, true},
    {"gap", NULL, NULL, OF_GAP, 0, -1, true},
    {"gradient<br>norm", NULL, NULL, OF_METRIC, GM_SUBJECT_GRADIENT, -1, false},
    {"distance<br>from start", NULL, NULL, OF_METRIC, GM_SUBJECT_DISTANCE, -1, false},
    {"Batch<br>Sharpness", NULL, NULL, OF_METRIC, GM_SUBJECT_BATCH_SHARPNESS,
     GM_SUBJECT_BATCH_SHARPNESS_ERROR, false},
    {"noise<br>scale", NULL, NULL, OF_METRIC, GM_SUBJECT_NOISE_SCALE, GM_SUBJECT_NOISE_SCALE_ERROR,
     false},
};

static const column curvature_columns[] = {
    {"step", "step", NULL, OF_DECOMPOSITION, 0, -1, false},
    {"&lambda;<sub>1</sub>(<i>H</i>)", "operators/hessian/max", NULL, OF_DECOMPOSITION, 0, -1,
     false},
    {"&lambda;<sub>p</sub>(<i>H</i>)", "operators/hessian/min", NULL, OF_DECOMPOSITION, 0, -1,
     false},
    {"negative", "operators/hessian/negative", NULL, OF_DECOMPOSITION, 0, -1, false},
    {"off the<br>bulk", "operators/hessian/outliers", NULL, OF_DECOMPOSITION, 0, -1, false},
    {"tr&nbsp;<i>H</i>", "operators/hessian/trace", NULL, OF_DECOMPOSITION, 0, -1, false},
    {"&#8214;<i>H</i>&#8214;<sub>F</sub>", "operators/hessian/frobenius",
     "operators/hessian/frobenius_stderr", OF_DECOMPOSITION, 0, -1, false},
    {"tr&nbsp;<i>M</i>&nbsp;/<br>tr&nbsp;<i>H</i>", "moment_trace_share", NULL, OF_DECOMPOSITION, 0,
     -1, false},
    {"&#8214;<i>H</i><sub>p</sub>+<i>H</i>&#8214;<br>/&nbsp;&#8214;<i>H</i>&#8214;",
     "residual_plus_hessian", "residual_plus_hessian_stderr", OF_DECOMPOSITION, 0, -1, false},
    {"gradient<br>share", "gradient_share", NULL, OF_DECOMPOSITION, 0, -1, false},
};

static const column bound_columns[] = {
    {"bound", "bound", NULL, OF_BOUND, 0, -1, false},
    {"Gibbs,<br>training", "gibbs/train", "gibbs/train_stderr", OF_BOUND, 0, -1, false},
    {"Gibbs,<br>test", "gibbs/test", "gibbs/test_stderr", OF_BOUND, 0, -1, false},
    {"test<br>error", "test_error", NULL, OF_BOUND, 0, -1, false},
    {"KL", "kl", NULL, OF_BOUND, 0, -1, false},
    {"effective<br>curvature", "effective_curvature", NULL, OF_BOUND, 0, -1, false},
    {"weighted<br>distance", "distance", NULL, OF_BOUND, 0, -1, false},
};

static const json_t *last_bound(const gm_subject *run)
{
    for (size_t i = run->results; i-- > 0;) {
        const gm_run_result *stored = run->result[i].stored;
        if (strcmp(stored->command, "bound") == 0 && strcmp(stored->key, "bound") == 0)
            return run->result[i].document;
    }
    return NULL;
}

static double value_of(const gm_subject *run, const column *c)
{
    switch (c->source) {
    case OF_METRIC:
        return gm_subject_last(run, c->metric);
    case OF_GAP:
        return gm_subject_last(run, GM_SUBJECT_TEST_ERROR) - gm_subject_last(run, GM_SUBJECT_ERROR);
    case OF_STATE:
        return run->state ? (double)run->state->step : (double)NAN;
    case OF_DECOMPOSITION:
        return gm_result_number(run->decomposition, c->path);
    case OF_BOUND:
        break;
    }
    return gm_result_number(last_bound(run), c->path);
}

static double error_of(const gm_subject *run, const column *c)
{
    if (c->source == OF_METRIC && c->error >= 0) return gm_subject_last(run, c->error);
    if (!c->error_path) return (double)NAN;
    return gm_result_number(c->source == OF_BOUND ? last_bound(run) : run->decomposition,
                            c->error_path);
}

static double least_of(const gm_subject *run, const column *c)
{
    char path[80];
    if (c->source != OF_DECOMPOSITION) return (double)NAN;
    snprintf(path, sizeof path, "%s_at_least", c->path);
    return gm_result_number(run->decomposition, path);
}

static bool any_value(const gm_runs *runs, const column *c)
{
    for (size_t i = 0; i < runs->count; i++) {
        const gm_subject *run = &runs->run[i];
        if (isfinite(value_of(run, c)) || isfinite(least_of(run, c))) return true;
    }
    return false;
}

/* The verdicts of the two findings, where any run has them. */
static bool any_findings(const gm_runs *runs)
{
    for (size_t i = 0; i < runs->count; i++) {
        if (gm_result_text(runs->run[i].decomposition, "findings/0/verdict")) return true;
    }
    return false;
}

static void write_verdicts(const gm_subject *run, FILE *page)
{
    static const char *const path[] = {"findings/0/verdict", "findings/1/verdict"};
    for (int i = 0; i < 2; i++) {
        const char *verdict = gm_result_text(run->decomposition, path[i]);
        fputs("<td class=\"text\">", page);
        gm_html_text(page, verdict ? verdict : "\xe2\x80\x93");
        fputs("</td>", page);
    }
}

/* One table of the columns that any run has a value for; nothing where there are none. */
static gm_status write_table(const gm_runs *runs, const char *caption, const column *columns,
                             size_t count, bool findings, FILE *page, gm_error *err)
{
    bool *shown = gm_alloc(count, sizeof *shown, "columns", err);
    if (!shown) return GM_ERR_MEMORY;
    bool any = false;
    for (size_t c = 0; c < count; c++) {
        shown[c] = any_value(runs, &columns[c]);
        any = any || shown[c];
    }
    if (any) write_head(caption, page);
    for (size_t c = 0; c < count && any; c++) {
        if (shown[c]) fprintf(page, "<th scope=\"col\">%s</th>", columns[c].heading);
    }
    if (any && findings)
        fputs("<th class=\"text\" scope=\"col\"><i>H</i><sub>p</sub> close<br>to &minus;<i>H</i>"
              "</th><th class=\"text\" scope=\"col\">directions<br>aligned</th>",
              page);
    if (any) fputs("</tr></thead>\n<tbody>\n", page);
    for (size_t i = 0; i < runs->count && any; i++) {
        const gm_subject *run = &runs->run[i];
        fputs("<tr><th scope=\"row\">", page);
        write_name(runs, i, page);
        fputs("</th>", page);
        for (size_t c = 0; c < count; c++) {
            if (shown[c])
                write_estimate(value_of(run, &columns[c]), error_of(run, &columns[c]),
                               least_of(run, &columns[c]), columns[c].percent, page);
        }
        if (findings) write_verdicts(run, page);
        fputs("</tr>\n", page);
    }
    if (any) fputs("</tbody></table></div>\n", page);
    gm_free(shown);
    return GM_OK;
}

/* ---- the measures that `bound` takes beside the bound ---- */

enum { MEASURES = 16 };

/* Their names in the first document that has any; column->path is one's value in a document. */
typedef struct measure_names {
    char heading[MEASURES][64], path[MEASURES][96], error[MEASURES][96];
    column column[MEASURES];
    size_t count;
} measure_names;

/* An HTML heading of a name: letters, digits and blanks only, broken after the first word. */
static void measure_heading(const char *name, char heading[64])
{
    size_t used = 0;
    bool broken = false;
    for (const char *c = name; *c && used < 50; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                      (*c >= '0' && *c <= '9') || *c == '-';
        if (!letter && !broken) {
            used += (size_t)snprintf(heading + used, 64 - used, "<br>");
            broken = true;
        } else {
            heading[used] = ' ';
            if (letter) heading[used] = *c;
            used++;
        }
    }
    heading[used] = '\0';
}

static void find_measures(const gm_runs *runs, measure_names *names)
{
    const json_t *all = NULL, *value;
    const char *name;
    for (size_t i = 0; i < runs->count && !all; i++) {
        all = gm_result_find(last_bound(&runs->run[i]), "measures");
    }
    names->count = 0;
    json_object_foreach((json_t *)all, name, value)
    {
        size_t at = names->count;
        bool fits = strlen(name) < 64 && !strchr(name, '/') && gm_result_find(value, "definition");
        if (at == MEASURES || !fits) continue;
        measure_heading(name, names->heading[at]);
        snprintf(names->path[at], sizeof *names->path, "measures/%s/value", name);
        snprintf(names->error[at], sizeof *names->error, "measures/%s/stderr", name);
        names->column[at] =
            (column){names->heading[at], names->path[at], names->error[at], OF_BOUND, 0, -1, false};
        names->count++;
    }
}

#define COUNT(columns) (sizeof(columns) / sizeof *(columns))

gm_status gm_runs_measures(const gm_runs *runs, FILE *page, gm_error *err)
{
    measure_names *names = gm_alloc(1, sizeof *names, "measures", err);
    if (!names) return GM_ERR_MEMORY;
    find_measures(runs, names);
    gm_status status = write_table(runs, "The runs at their last step.", training_columns,
                                   COUNT(training_columns), false, page, err);
    if (status == GM_OK)
        status = write_table(
            runs,
            "Curvature where each run was decomposed last, with standard errors (&plusmn;) "
            "where it was estimated.",
            curvature_columns, COUNT(curvature_columns), any_findings(runs), page, err);
    if (status == GM_OK)
        status = write_table(
            runs, "The generalization bound, with one standard error where it was drawn.",
            bound_columns, COUNT(bound_columns), false, page, err);
    if (status == GM_OK)
        status = write_table(runs, "Measures beside the bound.", names->column, names->count, false,
                             page, err);
    gm_free(names);
    return status;
}
