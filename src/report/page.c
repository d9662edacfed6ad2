#include "report/page.h"

#include "base/memory.h"
#include "gradiometer/version.h"
#include "report/film.h"
#include "report/html.h"
#include "report/pictures.h"
#include "report/runs.h"

static const char title_of_many[] = "Curvature of training runs";

/* Whether any of the runs was taken apart into second moment and residual; else the page is about
 * spectra alone, if about anything. */
static bool any_decomposition(const gm_subject *subject, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (subject[i].decomposition || !(subject[i].spectra || subject[i].tracks)) return true;
    }
    return false;
}

void gm_page_begin(const char *title, FILE *page)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"generator\" content=\"gradiometer\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"",
          page);
    gm_film_policy(page);
    fputs("\">\n<title>", page);
    gm_html_text(page, title);
    fputs("</title>\n", page);
    gm_page_style(page);
    fputs("</head>\n<body>\n", page);
}

void gm_page_end(FILE *page)
{
    fputs("<footer>Written by gradiometer ", page);
    gm_html_text(page, gm_version());
    fputs(". Numbers carry their full digits in the <code>value</code> of each "
          "<code>&lt;data&gt;</code> element.</footer>\n</body>\n</html>\n",
          page);
}

static gm_status write_head(const gm_subject *subject, size_t count, FILE *page, gm_error *err)
{
    if (count > 1) {
        gm_page_begin(title_of_many, page);
        return GM_OK;
    }
    bool trained = gm_subject_trained(subject) || !subject->spectra;
    char *title = gm_format(err, "%s: %s", subject->name,
                            trained ? "curvature of a training run" : "spectra");
    if (!title) return GM_ERR_MEMORY;
    gm_page_begin(title, page);
    gm_free(title);
    return GM_OK;
}

static void write_navigation(const gm_subject *subject, size_t count, FILE *page)
{
    fputs("<nav aria-label=\"Contents\">\n<ul>\n", page);
    if (count > 1) fputs("<li><a href=\"#compared\">Comparison</a></li>\n", page);
    for (size_t i = 0; count > 1 && i < count; i++) {
        fprintf(page, "<li><a href=\"#run%zu\">", subject[i].number);
        gm_html_text(page, subject[i].name);
        fputs("</a></li>\n", page);
    }
    if (count == 1) {
        fputs("<li><a href=\"#r1-figures\">Figures</a></li>\n"
              "<li><a href=\"#r1-numbers\">Numbers</a></li>\n"
              "<li><a href=\"#r1-settings\">Settings</a></li>\n"
              "<li><a href=\"#r1-repeat\">How to repeat</a></li>\n",
              page);
    }
    fputs("</ul>\n</nav>\n", page);
}

static void write_intro(const gm_subject *subject, size_t count, FILE *page)
{
    fputs("<header>\n<h1>", page);
    if (count == 1) {
        fputs(gm_subject_trained(subject) || !subject->spectra ? "Curvature of a training run"
                                                               : "Spectra",
              page);
    } else {
        fputs(title_of_many, page);
    }
    fputs("</h1>\n<p class=\"lead\">", page);
    fputs(any_decomposition(subject, count)
              ? "The Hessian <i>H</i> of the loss against the second moment "
                "<i>M</i> of its stochastic gradients; "
                "<i>H</i>&nbsp;=&nbsp;<i>M</i>&nbsp;&minus;&nbsp;<i>H</i><sub>p</sub>."
              : "Spectra measured by products alone, each number with its error.",
          page);
    fputs("</p>\n", page);
    write_navigation(subject, count, page);
    fputs("</header>\n", page);
}

static gm_status write_comparison(const gm_subject *subject, size_t count, FILE *page,
                                  gm_error *err)
{
    gm_runs runs;
    gm_status status = gm_runs_make(subject, count, &runs, err);
    if (status != GM_OK) return status;
    runs.linked = true;
    fputs("<section id=\"compared\">\n<h2 class=\"first\">Comparison</h2>\n", page);
    status = gm_runs_write(&runs, page, err);
    fputs("</section>\n", page);
    gm_runs_free(&runs);
    return status;
}

static gm_status write_run(const gm_subject *subject, bool first, FILE *page, bool *films,
                           gm_error *err)
{
    size_t number = subject->number;
    fprintf(page, "<section id=\"run%zu\">\n<h2%s>", number, first ? " class=\"first\"" : "");
    gm_html_text(page, subject->name);
    fputs("</h2>\n", page);
    gm_summary_write(subject, page);
    fprintf(page, "<h3 id=\"r%zu-figures\">Figures</h3>\n", number);
    gm_picture *picture;
    size_t pictures;
    gm_status status = gm_pictures_of_run(subject, &picture, &pictures, err);
    if (status == GM_OK) status = gm_pictures_write(picture, pictures, page, films, err);
    gm_free(picture);
    if (status != GM_OK) return status;
    fprintf(page, "<h3 id=\"r%zu-numbers\">Numbers</h3>\n", number);
    status = gm_tables_numbers(subject, page, err);
    fprintf(page, "<h3 id=\"r%zu-settings\">Settings</h3>\n", number);
    gm_tables_settings(subject, page);
    fprintf(page, "<h3 id=\"r%zu-repeat\">How to repeat</h3>\n", number);
    gm_tables_repeat(subject, page);
    fputs("</section>\n", page);
    return status;
}

gm_status gm_page_write(const gm_subject *subject, size_t count, FILE *page, gm_error *err)
{
    gm_status status = write_head(subject, count, page, err);
    if (status != GM_OK) return status;
    bool films = false;
    write_intro(subject, count, page);
    fputs("<main>\n", page);
    if (count > 1) status = write_comparison(subject, count, page, err);
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        status = write_run(&subject[i], count == 1, page, &films, err);
    }
    fputs("</main>\n", page);
    if (films) gm_film_script(page);
    gm_page_end(page);
    return status;
}
