#include "sgd/identity.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "kernels/kernels.h"

enum { VALUE_LENGTH = GM_IDENTITY_LENGTH };

typedef enum trait {
    PARAMETERS,
    PRECISION,
    LOSS,
    SAMPLES,
    DATA,
    TEST_DATA,
    MUST_AGREE, /* those above */
    THREADS = MUST_AGREE,
    ISA,
    CHUNK,
    TRAITS
} trait;

static const char *const keys[TRAITS] = {
    [PARAMETERS] = "train.parameters",
    [PRECISION] = "train.precision",
    [LOSS] = "train.loss",
    [SAMPLES] = "train.samples",
    [DATA] = "train.data_crc32",
    [TEST_DATA] = "train.test_crc32",
    [THREADS] = "train.threads",
    [ISA] = "train.isa",
    [CHUNK] = "train.chunk",
};

void gm_identity_checksum(gm_problem *problem, char value[GM_IDENTITY_LENGTH])
{
    if (!problem) {
        snprintf(value, GM_IDENTITY_LENGTH, "none");
        return;
    }
    const gm_dataset *data = gm_problem_data(problem);
    uLong crc = crc32_z(0, NULL, 0);
    crc = crc32_z(crc, data->x, data->n * data->features * gm_dtype_size(data->dtype));
    if (data->label) {
        crc = crc32_z(crc, (const void *)data->label,
                      data->n * data->positions * sizeof *data->label);
    }
    if (data->target)
        crc = crc32_z(crc, (const void *)data->target,
                      data->n * data->outputs * sizeof *data->target);
    snprintf(value, GM_IDENTITY_LENGTH, "%08lx", crc);
}

static void describe(gm_problem *problem, gm_problem *test, char value[TRAITS][VALUE_LENGTH])
{
    const gm_dataset *data = gm_problem_data(problem);
    snprintf(value[PARAMETERS], VALUE_LENGTH, "%zu", gm_problem_parameters(problem));
    snprintf(value[PRECISION], VALUE_LENGTH, "%s", gm_dtype_name(data->dtype));
    snprintf(value[LOSS], VALUE_LENGTH, "%s", gm_loss_name(gm_problem_loss(problem)));
    snprintf(value[SAMPLES], VALUE_LENGTH, "%zu", data->n);
    gm_identity_checksum(problem, value[DATA]);
    gm_identity_checksum(test, value[TEST_DATA]);
    snprintf(value[THREADS], VALUE_LENGTH, "%d", omp_get_max_threads());
    snprintf(value[ISA], VALUE_LENGTH, "%s", gm_kernels_get(data->dtype)->isa);
    snprintf(value[CHUNK], VALUE_LENGTH, "%zu", gm_problem_chunk(problem));
}

gm_status gm_identity_store(gm_run *run, gm_problem *problem, gm_problem *test, gm_error *err)
{
    char value[TRAITS][VALUE_LENGTH];
    gm_setting setting[TRAITS];
    describe(problem, test, value);
    for (int i = 0; i < TRAITS; i++) {
        setting[i] = (gm_setting){keys[i], value[i]};
    }
    return gm_run_set(run, setting, TRAITS, err);
}

static void append_note(char *note, size_t length, const char *key, const char *then,
                        const char *now)
{
    size_t used = strlen(note);
    snprintf(note + used, length - used, "%s%s %s (was %s)",
             used ? ", " : "resumed on another set-up, so equal to rounding only: ",
             key + strlen("train."), now, then);
}

gm_status gm_identity_check(gm_run *run, gm_problem *problem, gm_problem *test, char *note,
                            size_t length, gm_error *err)
{
    char value[TRAITS][VALUE_LENGTH];
    describe(problem, test, value);
    note[0] = '\0';
    for (int i = 0; i < TRAITS; i++) {
        char *then = NULL;
        gm_status status = gm_run_get(run, keys[i], &then, err);
        if (status) return status;
        const char *was = then ? then : "missing";
        if (strcmp(was, value[i]) != 0) {
            if (i < MUST_AGREE)
                status = gm_fail(err, GM_ERR_INPUT, "%s: %s is %s, but the training here has %s",
                                 gm_run_path(run), keys[i], was, value[i]);
            else
                append_note(note, length, keys[i], was, value[i]);
        }
        gm_run_free(then);
        if (status) return status;
    }
    return GM_OK;
}
