/* What the tests of step-size policies share. */
#ifndef TESTS_POLICY_CASE_H
#define TESTS_POLICY_CASE_H

#include "support.h"

#include <math.h>
#include <string.h>

#include "problems.h"

static inline void near(double found, double expected, double tolerance, const char *what)
{
    if (!(fabs(found - expected) <= tolerance * fabs(expected)))
        fail_msg("%s: found %.17g, expected %.17g within %.1g of it", what, found, expected,
                 tolerance);
}

static inline void refused(gm_status status, const gm_error *err, const char *part)
{
    assert_int_equal(status, GM_ERR_USAGE);
    if (!strstr(err->message, part)) fail_msg("'%s' does not say '%s'", err->message, part);
}

#endif
