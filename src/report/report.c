#include "gradiometer/report.h"

#include "base/file.h"
#include "base/memory.h"
#include "gradiometer/run.h"
#include "report/page.h"
#include "report/subject.h"

gm_status gm_report_write(size_t count, const char *const *run_path, const char *page_path,
                          gm_error *err)
{
    if (count == 0) return gm_fail(err, GM_ERR_USAGE, "a report needs at least one run file");
    if (gm_run_is_file(page_path))
        return gm_fail(err, GM_ERR_USAGE, "%s: found a run file, expected a page to write",
                       page_path);
    gm_file *file = NULL;
    size_t loaded = 0;
    gm_subject *subject = gm_alloc(count, sizeof *subject, "runs", err);
    gm_status status = subject ? GM_OK : GM_ERR_MEMORY;
    while (status == GM_OK && loaded < count) {
        status = gm_subject_load(run_path[loaded], &subject[loaded], err);
        if (status != GM_OK) break;
        subject[loaded].number = loaded + 1;
        loaded++;
    }
    if (status == GM_OK) status = gm_file_create(page_path, &file, err);
    if (status == GM_OK) status = gm_page_write(subject, count, gm_file_stream(file), err);
    if (status == GM_OK) status = gm_file_commit(&file, err);
    gm_file_discard(&file);
    for (size_t i = 0; i < loaded; i++) {
        gm_subject_free(&subject[i]);
    }
    gm_free(subject);
    return status;
}
