#include "gradiometer/report.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "gradiometer/run.h"
#include "report/html.h"
#include "report/page.h"
#include "report/pictures.h"
#include "report/runs.h"
#include "report/subject.h"

static void free_subjects(size_t count, gm_subject *subject)
{
    for (size_t i = 0; subject && i < count; i++) {
        gm_subject_free(&subject[i]);
    }
    gm_free(subject);
}

/* Runs in files of one name are called by their paths. */
static void tell_apart(size_t count, gm_subject *subject)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = subject[i].name;
        for (size_t j = i + 1; j < count; j++) {
            if (strcmp(name, subject[j].name) != 0) continue;
            subject[i].name = subject[i].path;
            subject[j].name = subject[j].path;
        }
    }
}

/* *subject [count] is the caller's, for free_subjects; name: as in gm_report_compare. */
static gm_status load_subjects(size_t count, const char *const *run_path, const char *const *name,
                               gm_subject **subject, gm_error *err)
{
    *subject = NULL;
    if (count == 0) return gm_fail(err, GM_ERR_USAGE, "a report needs at least one run file");
    gm_subject *loaded = gm_alloc(count, sizeof *loaded, "runs", err);
    if (!loaded) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        status = gm_subject_load(run_path[i], &loaded[i], err);
        loaded[i].number = i + 1;
        if (name && status == GM_OK) loaded[i].name = name[i];
    }
    if (status != GM_OK) {
        free_subjects(count, loaded);
        return status;
    }
    if (!name) tell_apart(count, loaded);
    *subject = loaded;
    return GM_OK;
}

gm_status gm_report_write(size_t count, const char *const *run_path, const char *page_path,
                          gm_error *err)
{
    if (gm_run_is_file(page_path))
        return gm_fail(err, GM_ERR_USAGE, "%s: found a run file, expected a page to write",
                       page_path);
    gm_file *file = NULL;
    gm_subject *subject = NULL;
    gm_status status = load_subjects(count, run_path, NULL, &subject, err);
    if (status == GM_OK) status = gm_file_create(page_path, &file, err);
    if (status == GM_OK) status = gm_page_write(subject, count, gm_file_stream(file), err);
    if (status == GM_OK) status = gm_file_commit(&file, err);
    gm_file_discard(&file);
    free_subjects(count, subject);
    return status;
}

static gm_status make_folder(const char *folder, gm_error *err)
{
    struct stat info;
    if (mkdir(folder, 0777) == 0) return GM_OK;
    int cause = errno;
    if (cause == EEXIST && stat(folder, &info) == 0 && S_ISDIR(info.st_mode)) return GM_OK;
    return gm_fail(err, GM_ERR_IO, "%s: %s", folder,
                   cause == EEXIST ? "found a file, expected a folder" : strerror(cause));
}

/* Writes the pictures [count] as files into folder; adds to *written. */
static gm_status write_files(const gm_picture *picture, size_t count, bool several,
                             gm_report_format format, const char *folder, size_t *written,
                             gm_error *err)
{
    static const char *const suffix[] = {
        [GM_REPORT_PDF] = "pdf", [GM_REPORT_PNG] = "png", [GM_REPORT_SVG] = "svg"};
    gm_status status = GM_OK;
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        char *name = NULL, *path = NULL;
        bool drawn = false;
        status = gm_picture_name(&picture[i], several, &name, err);
        if (status == GM_OK) {
            path = gm_format(err, "%s/%s.%s", folder, name, suffix[format]);
            status = path ? GM_OK : GM_ERR_MEMORY;
        }
        if (status == GM_OK) status = gm_picture_write_file(&picture[i], format, path, &drawn, err);
        *written += drawn ? 1 : 0;
        gm_free(path);
        gm_free(name);
    }
    return status;
}

static gm_status write_comparison(const gm_subject *subject, size_t count, gm_report_format format,
                                  const char *folder, size_t *written, gm_error *err)
{
    gm_runs runs;
    gm_picture *picture = NULL;
    size_t pictures;
    gm_status status = gm_runs_make(subject, count, &runs, err);
    if (status != GM_OK) return status;
    status = gm_pictures_of_runs(&runs, &picture, &pictures, err);
    if (status == GM_OK)
        status = write_files(picture, pictures, true, format, folder, written, err);
    gm_free(picture);
    gm_runs_free(&runs);
    return status;
}

gm_status gm_report_figures(size_t count, const char *const *run_path, gm_report_format format,
                            const char *folder, size_t *written, gm_error *err)
{
    size_t files = 0, pictures;
    gm_subject *subject = NULL;
    gm_status status = load_subjects(count, run_path, NULL, &subject, err);
    if (status == GM_OK) status = make_folder(folder, err);
    if (status == GM_OK && count > 1)
        status = write_comparison(subject, count, format, folder, &files, err);
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        gm_picture *picture = NULL;
        status = gm_pictures_of_run(&subject[i], &picture, &pictures, err);
        if (status == GM_OK)
            status = write_files(picture, pictures, count > 1, format, folder, &files, err);
        gm_free(picture);
    }
    if (written) *written = files;
    free_subjects(count, subject);
    return status;
}

/* ---- parts of a page of the caller's own ---- */

void gm_report_page_begin(const char *title, FILE *page)
{
    gm_page_begin(title, page);
}

void gm_report_page_end(FILE *page)
{
    gm_page_end(page);
}

void gm_report_text(const char *text, FILE *page)
{
    gm_html_text(page, text);
}

gm_status gm_report_compare(size_t count, const char *const *run_path, const char *const *name,
                            FILE *page, gm_error *err)
{
    gm_subject *subject = NULL;
    gm_runs runs = {0};
    gm_status status = load_subjects(count, run_path, name, &subject, err);
    if (status == GM_OK) status = gm_runs_make(subject, count, &runs, err);
    if (status == GM_OK) status = gm_runs_write(&runs, page, err);
    gm_runs_free(&runs);
    free_subjects(count, subject);
    return status;
}
