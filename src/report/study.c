/* The page of a study, DIR/index.html: what was asked, the grid with a link to a page for each
 * cell, measures against the axes of the grid, the runs side by side. */
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/shell.h"
#include "gradiometer/report.h"
#include "report/html.h"
#include "report/page.h"
#include "report/result.h"
#include "report/runs.h"
#include "study/folder.h"

typedef struct study {
    const char *folder;
    json_t *index;
    const json_t *cells; /* of the index */
    gm_subject *run;     /* [runs]: those of cells whose training is finished */
    size_t *cell;        /* [runs] their places in cells */
    size_t runs, finished, failed, diverged;
} study;

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool has_status(const json_t *object, const char *status)
{
    return strcmp(text_of(object, "status"), status) == 0;
}

/* ---- reading ---- */

static gm_status load_run(study *s, size_t place, gm_error *err)
{
    const json_t *cell = json_array_get(s->cells, place);
    if (!json_is_object(json_object_get(cell, "results"))) return GM_OK;
    char *path = gm_format(err, "%s/%s", s->folder, text_of(cell, "run"));
    if (!path) return GM_ERR_MEMORY;
    gm_subject *run = s->run + s->runs;
    gm_status status = gm_subject_load(path, run, err);
    gm_free(path);
    if (status != GM_OK) return status;
    run->name = text_of(cell, "name");
    run->number = s->runs + 1;
    s->cell[s->runs++] = place;
    return GM_OK;
}

static gm_status load(study *s, gm_error *err)
{
    const json_t *cell;
    size_t i;
    gm_status status = gm_study_index_load(s->folder, &s->index, err);
    if (status != GM_OK) return status;
    s->cells = json_object_get(s->index, "cells");
    s->run = gm_alloc(json_array_size(s->cells), sizeof *s->run, "runs", err);
    s->cell = gm_alloc(json_array_size(s->cells), sizeof *s->cell, "cells", err);
    if (!s->run || !s->cell) return GM_ERR_MEMORY;
    json_array_foreach(s->cells, i, cell)
    {
        s->finished += has_status(cell, "finished");
        s->failed += has_status(cell, "failed");
        s->diverged += has_status(cell, "diverged");
        status = load_run(s, i, err);
        if (status != GM_OK) return status;
    }
    return GM_OK;
}

static void unload(study *s)
{
    for (size_t i = 0; i < s->runs; i++) {
        gm_subject_free(&s->run[i]);
    }
    gm_free(s->run);
    gm_free(s->cell);
    json_decref(s->index);
}

/* ---- pages of the cells ---- */

/* "cells/NAME.html"; gm_free. */
static char *page_of(const json_t *cell, gm_error *err)
{
    return gm_format(err, "cells/%s.html", text_of(cell, "name"));
}

/* A page that is there is of the cell as it is: a cell changes no more once it is finished. */
static gm_status write_cell_page(const study *s, size_t i, gm_error *err)
{
    const json_t *cell = json_array_get(s->cells, s->cell[i]);
    char *page = page_of(cell, err);
    char *path = page ? gm_format(err, "%s/%s", s->folder, page) : NULL;
    gm_status status = path ? GM_OK : GM_ERR_MEMORY;
    if (path && (access(path, F_OK) != 0 || !has_status(cell, "finished"))) {
        const char *run = s->run[i].path;
        status = gm_report_write(1, &run, path, err);
    }
    gm_free(page);
    gm_free(path);
    return status;
}

/* ---- the grid ---- */

/* Keys of a cell that are choices, with their headings. */
static const char *const choices[][2] = {{"data", "data"},      {"model", "model"},
                                         {"batch", "batch"},    {"random_labels", "random labels"},
                                         {"subset", "samples"}, {"seed", "seed"},
                                         {"step", "step"},      {"steps", "steps"}};
enum { CHOICES = sizeof choices / sizeof *choices };

/* A choice is shown where it is not the same in all cells. */
static bool differs(const study *s, const char *key)
{
    const json_t *cell, *first = json_object_get(json_array_get(s->cells, 0), key);
    size_t i;
    json_array_foreach(s->cells, i, cell)
    {
        if (!json_equal(json_object_get(cell, key), first)) return true;
    }
    return false;
}

static void write_value(const json_t *value, FILE *page)
{
    fputs(json_is_number(value) ? "<td>" : "<td class=\"text\">", page);
    if (json_is_number(value)) {
        gm_html_number(page, json_number_value(value));
    } else {
        gm_html_text(page, json_is_string(value) ? json_string_value(value) : "\xe2\x80\x93");
    }
    fputs("</td>", page);
}

/* A long name may break behind its parts. */
static void write_parts(const char *name, FILE *page)
{
    while (*name) {
        char part[256];
        size_t length = strcspn(name, "_");
        length += name[length] == '_';
        if (length >= sizeof part) length = sizeof part - 1;
        memcpy(part, name, length);
        part[length] = '\0';
        gm_html_text(page, part);
        name += length;
        if (*name) fputs("<wbr>", page);
    }
}

static gm_status write_name(const json_t *cell, FILE *page, gm_error *err)
{
    bool linked = json_is_object(json_object_get(cell, "results"));
    fputs("<tr><th scope=\"row\">", page);
    if (linked) {
        char *target = page_of(cell, err);
        if (!target) return GM_ERR_MEMORY;
        fputs("<a href=\"", page);
        gm_html_text(page, target);
        fputs("\">", page);
        gm_free(target);
    }
    write_parts(text_of(cell, "name"), page);
    fputs(linked ? "</a></th>" : "</th>", page);
    return GM_OK;
}

static void write_result(const json_t *cell, const char *key, bool percent, FILE *page)
{
    const json_t *value = json_object_get(json_object_get(cell, "results"), key);
    fputs("<td>", page);
    if (!json_is_number(value))
        fputs("&ndash;", page);
    else if (percent)
        gm_html_percent(page, json_number_value(value));
    else
        gm_html_number(page, json_number_value(value));
    fputs("</td>", page);
}

static gm_status write_grid(const study *s, FILE *page, gm_error *err)
{
    const json_t *cell;
    size_t i;
    gm_status status = GM_OK;
    fputs("<section id=\"grid\">\n<h2>The grid</h2>\n<div class=\"scroll\"><table class=\"grid\">\n"
          "<caption>The cells: one training each, with its measurements; a name leads to the "
          "cell's own page.</caption>\n<thead><tr><th class=\"text\" scope=\"col\">cell</th>",
          page);
    for (int c = 0; c < CHOICES; c++) {
        if (differs(s, choices[c][0])) fprintf(page, "<th scope=\"col\">%s</th>", choices[c][1]);
    }
    fputs("<th class=\"text\" scope=\"col\">status</th><th scope=\"col\">training<br>loss</th>"
          "<th scope=\"col\">training<br>error</th><th scope=\"col\">test<br>error</th>"
          "</tr></thead>\n<tbody>\n",
          page);
    json_array_foreach(s->cells, i, cell)
    {
        status = write_name(cell, page, err);
        if (status != GM_OK) return status;
        for (int c = 0; c < CHOICES; c++) {
            if (differs(s, choices[c][0])) write_value(json_object_get(cell, choices[c][0]), page);
        }
        write_value(json_object_get(cell, "status"), page);
        write_result(cell, "loss", false, page);
        write_result(cell, "error_rate", true, page);
        write_result(cell, "test_error_rate", true, page);
        fputs("</tr>\n", page);
    }
    fputs("</tbody></table></div>\n</section>\n", page);
    return GM_OK;
}

/* ---- failures, and how to repeat ---- */

static void write_end(const json_t *cell, const json_t *task, FILE *page)
{
    fputs("<li><b>", page);
    gm_html_text(page, text_of(cell, "name"));
    fputs("</b>, ", page);
    gm_html_text(page, text_of(task, "name"));
    fputs(": ", page);
    gm_html_text(page, text_of(task, "message"));
    fputs("</li>\n", page);
}

static void write_failures(const study *s, FILE *page)
{
    const json_t *cell, *task;
    size_t i, t;
    if (!s->failed) return;
    fputs("<section id=\"failures\">\n<h2>What failed</h2>\n<ul>\n", page);
    json_array_foreach(s->cells, i, cell)
    {
        json_array_foreach(json_object_get(cell, "tasks"), t, task)
        {
            if (has_status(task, "failed")) write_end(cell, task, page);
        }
    }
    fputs("</ul>\n</section>\n", page);
}

/* By their trainings: nothing else was run. */
static void write_diverged(const study *s, FILE *page)
{
    const json_t *cell;
    size_t i;
    if (!s->diverged) return;
    fputs("<section id=\"diverged\">\n<h2>What diverged</h2>\n<p>The loss of these trainings left "
          "the finite numbers. That is a result; nothing was measured after it.</p>\n<ul>\n",
          page);
    json_array_foreach(s->cells, i, cell)
    {
        if (has_status(cell, "diverged"))
            write_end(cell, json_array_get(json_object_get(cell, "tasks"), 0), page);
    }
    fputs("</ul>\n</section>\n", page);
}

/* A task's command, in a line. */
static gm_status write_command(const json_t *task, FILE *page, gm_error *err)
{
    const json_t *value, *command = json_object_get(task, "command");
    const char **word = gm_alloc(json_array_size(command) + 1, sizeof *word, "a command", err);
    size_t count = 0, i;
    if (!word) return GM_ERR_MEMORY;
    word[count++] = "gradiometer";
    json_array_foreach(command, i, value)
    {
        if (json_is_string(value)) word[count++] = json_string_value(value);
    }
    char *line = gm_shell_line(count, word, err);
    gm_status status = line ? GM_OK : GM_ERR_MEMORY;
    gm_html_text(page, line);
    fputc('\n', page);
    gm_free(word);
    gm_free(line);
    return status;
}

static gm_status write_repeat(const study *s, FILE *page, gm_error *err)
{
    const json_t *task, *first = json_array_get(s->cells, 0);
    gm_status status = GM_OK;
    size_t t;
    fputs("<section id=\"repeat\">\n<h2>How to repeat</h2>\n<pre>gradiometer study study.yaml -o "
          "NEW</pre>\n<p>with <code>study.yaml</code> from this folder does it all again. A cell "
          "is the same as its commands by hand; those of ",
          page);
    gm_html_text(page, text_of(first, "name"));
    fputs(":</p>\n<pre>", page);
    json_array_foreach(json_object_get(first, "tasks"), t, task)
    {
        if (status == GM_OK) status = write_command(task, page, err);
    }
    fputs("</pre>\n</section>\n", page);
    return status;
}

/* ---- the page ---- */

/* ", 3 failed", or nothing */
static void write_count(size_t count, const char *what, FILE *page)
{
    if (!count) return;
    fputs(", ", page);
    gm_html_number(page, (double)count);
    fputs(what, page);
}

static void write_intro(const study *s, FILE *page)
{
    const char *title = text_of(s->index, "title"), *question = text_of(s->index, "question");
    size_t cells = json_array_size(s->cells);
    fputs("<header>\n<h1>", page);
    gm_html_text(page, *title ? title : text_of(s->index, "name"));
    fputs("</h1>\n", page);
    if (*question) {
        fputs("<p class=\"lead\">", page);
        gm_html_text(page, question);
        fputs("</p>\n", page);
    }
    fputs("<p>The study <i>", page);
    gm_html_text(page, text_of(s->index, "name"));
    fputs("</i> has ", page);
    gm_html_number(page, (double)cells);
    fprintf(page, " cell%s: ", cells == 1 ? "" : "s");
    gm_html_number(page, (double)s->finished);
    fputs(" finished", page);
    write_count(s->failed, " failed", page);
    write_count(s->diverged, " diverged", page);
    write_count(cells - s->finished - s->failed - s->diverged, " not run yet", page);
    fputs(".</p>\n<nav aria-label=\"Contents\">\n<ul>\n", page);
    if (s->runs > 1) fputs("<li><a href=\"#compared\">Comparison</a></li>\n", page);
    fputs("<li><a href=\"#grid\">The grid</a></li>\n", page);
    if (s->failed) fputs("<li><a href=\"#failures\">What failed</a></li>\n", page);
    if (s->diverged) fputs("<li><a href=\"#diverged\">What diverged</a></li>\n", page);
    fputs("<li><a href=\"#repeat\">How to repeat</a></li>\n</ul>\n</nav>\n</header>\n", page);
}

static gm_status write_comparison(const study *s, FILE *page, gm_error *err)
{
    gm_runs runs;
    if (s->runs < 2) return GM_OK;
    gm_status status = gm_runs_make(s->run, s->runs, &runs, err);
    if (status != GM_OK) return status;
    runs.figures_first = true;
    fputs("<section id=\"compared\">\n<h2 class=\"first\">Comparison</h2>\n", page);
    status = gm_runs_write(&runs, page, err);
    fputs("</section>\n", page);
    gm_runs_free(&runs);
    return status;
}

static gm_status write_page(const study *s, FILE *page, gm_error *err)
{
    const char *title = text_of(s->index, "title");
    gm_page_begin(*title ? title : text_of(s->index, "name"), page);
    write_intro(s, page);
    fputs("<main>\n", page);
    gm_status status = write_comparison(s, page, err);
    if (status == GM_OK) status = write_grid(s, page, err);
    write_failures(s, page);
    write_diverged(s, page);
    if (status == GM_OK) status = write_repeat(s, page, err);
    fputs("</main>\n", page);
    gm_page_end(page);
    return status;
}

gm_status gm_report_study(const char *folder, bool (*stop)(void *), void *context, gm_error *err)
{
    study s = {.folder = folder};
    gm_file *file = NULL;
    char *path = gm_format(err, "%s/index.html", folder);
    gm_status status = path ? load(&s, err) : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < s.runs; i++) {
        status = write_cell_page(&s, i, err);
        if (status == GM_OK && stop && stop(context))
            status = gm_fail(err, GM_ERR_INTERRUPTED, "%s: interrupted", path);
    }
    if (status == GM_OK) status = gm_file_create(path, &file, err);
    if (status == GM_OK) status = write_page(&s, gm_file_stream(file), err);
    if (status == GM_OK) status = gm_file_commit(&file, err);
    gm_file_discard(&file);
    unload(&s);
    gm_free(path);
    return status;
}
