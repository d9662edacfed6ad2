#include "gradiometer/report.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "gradiometer/run.h"
#include "report/figure.h"
#include "report/page.h"
#include "report/subject.h"

static void free_subjects(size_t count, gm_subject *subject)
{
    for (size_t i = 0; subject && i < count; i++) {
        gm_subject_free(&subject[i]);
    }
    gm_free(subject);
}

/* *subject [count] is the caller's, for free_subjects. */
static gm_status load_subjects(size_t count, const char *const *run_path, gm_subject **subject,
                               gm_error *err)
{
    *subject = NULL;
    if (count == 0) return gm_fail(err, GM_ERR_USAGE, "a report needs at least one run file");
    gm_subject *loaded = gm_alloc(count, sizeof *loaded, "runs", err);
    if (!loaded) return GM_ERR_MEMORY;
    gm_status status = GM_OK;
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        status = gm_subject_load(run_path[i], &loaded[i], err);
        loaded[i].number = i + 1;
    }
    if (status != GM_OK) {
        free_subjects(count, loaded);
        return status;
    }
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
    gm_status status = load_subjects(count, run_path, &subject, err);
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

/* All pictures of one kind of one run; adds to *written. */
static gm_status write_kind(const gm_figure *figure, const gm_subject *subject, bool several,
                            gm_report_format format, const char *folder, size_t *written,
                            gm_error *err)
{
    static const char *const suffix[] = {
        [GM_REPORT_PDF] = "pdf", [GM_REPORT_PNG] = "png", [GM_REPORT_SVG] = "svg"};
    gm_status status = GM_OK;
    size_t pictures = figure->count(subject);
    for (size_t i = 0; i < pictures && status == GM_OK; i++) {
        char run[32] = "", number[32] = "";
        bool drawn = false;
        if (several) snprintf(run, sizeof run, "run%zu-", subject->number);
        if (i) snprintf(number, sizeof number, "%zu", i + 1);
        char *path =
            gm_format(err, "%s/%s%s%s.%s", folder, run, figure->id, number, suffix[format]);
        status = path ? GM_OK : GM_ERR_MEMORY;
        if (path) status = gm_figure_write_file(figure, subject, i, format, path, &drawn, err);
        *written += drawn ? 1 : 0;
        gm_free(path);
    }
    return status;
}

gm_status gm_report_figures(size_t count, const char *const *run_path, gm_report_format format,
                            const char *folder, size_t *written, gm_error *err)
{
    size_t files = 0;
    gm_subject *subject = NULL;
    gm_status status = load_subjects(count, run_path, &subject, err);
    if (status == GM_OK) status = make_folder(folder, err);
    for (size_t i = 0; i < count && status == GM_OK; i++) {
        for (size_t f = 0; gm_figures[f] && status == GM_OK; f++) {
            status = write_kind(gm_figures[f], &subject[i], count > 1, format, folder, &files, err);
        }
    }
    if (written) *written = files;
    free_subjects(count, subject);
    return status;
}
