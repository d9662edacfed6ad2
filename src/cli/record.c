#include "cli/record.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/memory.h"
#include "gradiometer/version.h"
#include "kernels/kernels.h"

/* ---- settings ---- */

__attribute__((format(printf, 4, 5))) static gm_status add(gm_record_settings *settings,
                                                           gm_error *err, const char *key,
                                                           const char *format, ...)
{
    char value[8192];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(value, sizeof value, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof value) {
        return gm_fail(err, GM_ERR_USAGE, "%s: found %d bytes, expected fewer than %zu", key,
                       length, sizeof value);
    }
    char *copy = gm_strdup(value, err);
    if (!copy) return GM_ERR_MEMORY;
    settings->item[settings->count++] = (gm_setting){key, copy};
    return GM_OK;
}

static gm_status add_machine(gm_record_settings *settings, const gm_session *session, gm_error *err)
{
    struct utsname machine;
    if (uname(&machine) != 0) return gm_fail(err, GM_ERR_IO, "uname failed");
    gm_status status = add(settings, err, "machine", "%s %s %s, %ld processors", machine.sysname,
                           machine.release, machine.machine, sysconf(_SC_NPROCESSORS_ONLN));
    if (status != GM_OK) return status;
    return add(settings, err, "isa", "%s", gm_kernels_get(session->precision)->isa);
}

static gm_status add_data(gm_record_settings *settings, const gm_session *session, gm_error *err)
{
    const gm_shared *shared = &session->shared;
    gm_status status = add(settings, err, "data", "%s", session->data->name);
    if (status == GM_OK && session->test) {
        status = add(settings, err, "test_data", "%s", session->test->name);
    }
    if (status == GM_OK && shared->subset) {
        status = add(settings, err, "subset", "%zu", shared->subset);
    }
    if (status == GM_OK && shared->random_labels > 0) {
        status = add(settings, err, "random_labels", "%.17g", shared->random_labels);
    }
    if (status == GM_OK && shared->standardize) status = add(settings, err, "standardize", "true");
    return status;
}

/* Where the model's file is, and what it was. */
static gm_status add_file(gm_record_settings *settings, const gm_session *session, gm_error *err)
{
    const gm_onnx *onnx = session->onnx;
    const char *constants = session->shared.constants;
    char *path = realpath(onnx->path, NULL);
    gm_status status = add(settings, err, "model", "%s", path ? path : onnx->path);
    free(path);
    if (status == GM_OK) status = add(settings, err, "logits", "%s", onnx->logits);
    if (status == GM_OK && constants) status = add(settings, err, "constants", "%s", constants);
    if (status != GM_OK) return status;
    return add(settings, err, "model_crc32", "%08lx", onnx->checksum);
}

static gm_status add_net(gm_record_settings *settings, const gm_session *session, gm_error *err)
{
    gm_status status = session->onnx ? add_file(settings, session, err)
                                     : add(settings, err, "model", "%s", gm_net_name(session->net));
    if (status == GM_OK) status = add(settings, err, "params", "%s", session->point);
    if (status == GM_OK) status = add_data(settings, session, err);
    if (status != GM_OK) return status;
    return add(settings, err, "loss", "%s", gm_loss_name(session->loss_kind));
}

gm_status gm_record_settings_fill(const gm_cli *cli, const gm_session *session,
                                  gm_record_settings *settings, gm_error *err)
{
    memset(settings, 0, sizeof *settings);
    gm_status status = add(settings, err, "command", "%s", cli->line);
    if (status == GM_OK) status = add(settings, err, "version", "%s", gm_version());
    if (status == GM_OK) status = add_machine(settings, session, err);
    if (status == GM_OK && session->matrix) {
        status = add(settings, err, "matrix", "%s", session->matrix);
    } else if (status == GM_OK && session->net) {
        status = add_net(settings, session, err);
    }
    if (status == GM_OK) {
        status = add(settings, err, "precision", "%s", gm_dtype_name(session->precision));
    }
    if (status == GM_OK) {
        status = add(settings, err, "seed", "%llu", (unsigned long long)session->seed);
    }
    if (status == GM_OK) status = add(settings, err, "threads", "%d", session->threads);
    if (status == GM_OK && session->shared.memory) {
        status = add(settings, err, "memory", "%zu", session->shared.memory);
    }
    return status;
}

void gm_record_settings_free(gm_record_settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        gm_free((char *)settings->item[i].value);
    }
    settings->count = 0;
}

/* ---- results ---- */

gm_status gm_record_check(const gm_cli *cli, gm_error *err)
{
    const char *path = cli->shared.output;
    if (!path) return GM_OK;
    gm_status status = gm_cli_check_writable("output", path, err);
    if (status != GM_OK) return status;
    if (access(path, F_OK) == 0 && !gm_run_is_file(path)) {
        return gm_fail(err, GM_ERR_INPUT, "--output: %s is no run file, and is left as it is",
                       path);
    }
    return GM_OK;
}

static gm_status open_output(const gm_cli *cli, const gm_session *session, gm_run **run,
                             gm_error *err)
{
    const char *path = cli->shared.output;
    if (access(path, F_OK) == 0) return gm_run_open(path, GM_RUN_WRITE, run, err);
    gm_record_settings settings;
    gm_status status = gm_record_settings_fill(cli, session, &settings, err);
    if (status == GM_OK) {
        status = gm_run_create(path, false, settings.item, settings.count, run, err);
    }
    gm_record_settings_free(&settings);
    return status;
}

gm_status gm_record_result(gm_cli *cli, const gm_session *session, const char *key,
                           json_t *document, const gm_run_array *array, size_t arrays,
                           gm_error *err)
{
    if (!cli->shared.output || cli->silent) return GM_OK;
    gm_run *run = NULL;
    char *text = gm_document_text(cli, document, JSON_COMPACT, err);
    gm_status status = text ? open_output(cli, session, &run, err) : GM_ERR_MEMORY;
    if (status == GM_OK) {
        gm_run_result result = {
            .command = cli->command->name, .step = session->step, .key = key, .json = text};
        status = gm_run_add_result(run, &result, array, arrays, NULL, err);
    }
    gm_run_close(run);
    free(text);
    return status;
}

gm_status gm_record_metrics(const gm_cli *cli, const gm_metric *metric, size_t count, gm_error *err)
{
    if (!cli->shared.output || cli->silent) return GM_OK;
    gm_run *run = NULL;
    char *steps = NULL;
    gm_status status = gm_run_open(cli->shared.output, GM_RUN_WRITE, &run, err);
    if (status == GM_OK) status = gm_run_get(run, "train.steps", &steps, err);
    if (status == GM_OK && !steps) status = gm_run_add_metrics(run, metric, count, err);
    gm_run_free(steps);
    gm_run_close(run);
    return status;
}
