/* What the tests of `gradiometer dynamics` share. */
#ifndef TESTS_DYNAMICS_CASE_H
#define TESTS_DYNAMICS_CASE_H

#include "support.h"

#include <string.h>

#include "program.h"

static inline const json_t *at(const json_t *document, const char *key)
{
    const json_t *value = json_object_get(document, key);
    if (!value) fail_msg("no key %s", key);
    return value;
}

/* Element i of an array of numbers. */
static inline double number_at(const json_t *array, size_t i)
{
    return json_number_value(json_array_get(array, i));
}

/* Status 2, nothing on standard output, one line on standard error that holds `expected`. */
static inline void refused(const char *arguments, const char *expected)
{
    program_result r = program("dynamics %s", arguments);
    if (r.exit != 2 || !program_one_line(r.err) || !strstr(r.err, expected)) {
        fail_msg("dynamics %s: exit status %d, '%s', expected '%s'", arguments, r.exit, r.err,
                 expected);
    }
    assert_true(*r.out == 0);
    program_free(&r);
}

#endif
