/* The main of every test program. */
#ifndef GM_TESTS_SUPPORT_H
#define GM_TESTS_SUPPORT_H

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "cli/startup.h"

/* GM_TEST_SIZE(PLAIN, SANITIZED): how many trials, steps or numbers, where a tenth of them takes
 * the same paths through the code. The plain build shows that the numbers are right; the
 * sanitizers', several times slower, that memory and threads are. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GM_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GM_TEST_SANITIZED 1
#endif
#endif
#ifdef GM_TEST_SANITIZED
#define GM_TEST_SIZE(plain, sanitized) (sanitized)
#else
#define GM_TEST_SIZE(plain, sanitized) (plain)
#endif

/* Runs the tests after the start-up of the program itself: where this processor's own kernels
 * compute wrong results, the test program too executes itself again with OPENBLAS_CORETYPE=Haswell.
 * Returns the number of failed tests, the value for main to return:
 *
 *     int main(int argc, char **argv)
 *     {
 *         const struct CMUnitTest tests[] = {cmocka_unit_test(test_one)};
 *         return gm_test_run(argc, argv, tests, sizeof tests / sizeof *tests, "kernels");
 *     }
 */
static inline int gm_test_run(int argc, char **argv, const struct CMUnitTest *tests, size_t count,
                              const char *group)
{
    gm_error err = {0};
    const char *note;
    (void)argc;
    if (gm_cli_startup(argv, &note, &err) != GM_OK) {
        fprintf(stderr, "%s: %s\n", group, err.message);
        return 1;
    }
    if (*note) fprintf(stderr, "%s: %s\n", group, note);
    return _cmocka_run_group_tests(group, tests, count, NULL, NULL);
}

#endif
