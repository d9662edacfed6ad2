/* Runs gradiometer-mpi with several ranks on this machine, as a user does. */
#ifndef TESTS_MPI_RANKS_H
#define TESTS_MPI_RANKS_H

#include <math.h>

#include "program.h"

/* What makes mpirun content with being root, with more ranks than processors, with a machine that
 * others use, and with ranks that die while they start; and one thread for each rank, as for the
 * plain program that it is compared with.
 */
static inline void ranks_prepare(void)
{
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 1);
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 1);
    setenv("PMIX_MCA_gds", "hash", 1); /* docs/cluster.md, "When something goes wrong" */
    setenv("OMP_NUM_THREADS", "1", 1);
    program_test_kernels();
}

/* Runs "mpirun -q ARGUMENTS" (printf-style, through the shell); -q: without mpirun's own report on
 * a program that failed. RANKS is the program. */
#define RANKS GM_MPI_PROGRAM
__attribute__((format(printf, 1, 2))) static inline program_result mpirun(const char *format, ...)
{
    char arguments[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    return program_run("mpirun -q", arguments);
}

/* The run must have failed with this exit status and this one line. */
static inline void expect_refusal(program_result result, int status, const char *line)
{
    if (result.exit != status || strcmp(result.err, line) != 0 || *result.out)
        fail_msg("exit status %d, expected %d; printed\n%s%s\nexpected\n%s", result.exit, status,
                 result.out, result.err, line);
    program_free(&result);
}

/* ---- documents ---- */

/* What may differ between two runs of the same: the clock, what was typed, and what is remarked. */
static inline bool may_differ(const char *key)
{
    static const char *const keys[] = {"seconds", "command_line", "notes"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(key, keys[i]) == 0) return true;
    }
    return false;
}

/* Largest |number| of an array of numbers, however deep. */
static inline double largest(const json_t *value)
{
    double most = 0;
    if (json_is_number(value)) return fabs(json_number_value(value));
    for (size_t i = 0; i < json_array_size(value); i++) {
        most = fmax(most, largest(json_array_get(value, i)));
    }
    return most;
}

/* Below this a number is made of rounding: a residual, or what vanishes. In single precision, which
 * a wide tolerance is for, that is more. */
static inline double ranks_nothing(double tolerance)
{
    return tolerance > 1e-6 ? 1e-6 : 1e-11;
}

/* Fails where two values differ by more than tolerance times the scale: that of the array they
 * stand in, or their own. */
static inline void expect_same(const char *path, const json_t *one, const json_t *many,
                               double tolerance, double scale)
{
    if (!one || !many || json_is_number(one) != json_is_number(many) ||
        (!json_is_number(one) && json_typeof(one) != json_typeof(many)))
        fail_msg("%s: there in one document, or of one kind in it, only", path);
    if (json_is_number(one)) {
        double a = json_number_value(one), b = json_number_value(many);
        scale = fmax(scale, fabs(a));
        if (!(fabs(a - b) <= fmax(tolerance * scale, tolerance > 0 ? ranks_nothing(tolerance) : 0)))
            fail_msg("%s: %.17g alone, %.17g with ranks", path, a, b);
    } else if (json_is_array(one)) {
        if (json_array_size(one) != json_array_size(many)) fail_msg("%s: another length", path);
        scale = fmax(scale, largest(one));
        for (size_t i = 0; i < json_array_size(one); i++) {
            expect_same(path, json_array_get(one, i), json_array_get(many, i), tolerance, scale);
        }
    } else if (json_is_object(one)) {
        if (json_object_size(one) != json_object_size(many)) fail_msg("%s: other keys", path);
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)one, key, value)
        {
            char inner[1024];
            snprintf(inner, sizeof inner, "%s.%s", path, key);
            if (may_differ(key)) continue;
            expect_same(inner, value, json_object_get(many, key), tolerance, 0.0);
        }
    } else if (!json_equal(one, many)) {
        fail_msg("%s: %s alone, %s with ranks", path, json_dumps(one, JSON_ENCODE_ANY),
                 json_dumps(many, JSON_ENCODE_ANY));
    }
}

/* Runs the command with 2, 3 and 4 ranks (or those of `counts`, ended by 0) and compares the
 * documents with `one`, which is freed. */
static inline void expect_like(json_t *one, const int *counts, double tolerance,
                               const char *command)
{
    assert_non_null(one);
    for (size_t i = 0; counts[i]; i++) {
        char path[64];
        snprintf(path, sizeof path, "%d ranks: ", counts[i]);
        json_t *many = program_document(mpirun("-n %d " RANKS " %s --json -q", counts[i], command));
        assert_non_null(many);
        expect_same(path, one, many, tolerance, 0.0);
        json_decref(many);
    }
    json_decref(one);
}

/* The same, beside the plain program. */
static inline void expect_same_documents(const int *counts, double tolerance, const char *command)
{
    expect_like(program_document(program("%s --json -q", command)), counts, tolerance, command);
}

#endif
