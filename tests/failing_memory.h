/* Memory that runs out where a test says. This program's aligned_alloc, which stands in front of
 * the C library's, serves the library alone: no other library that is loaded calls that function.
 */
#ifndef TESTS_FAILING_MEMORY_H
#define TESTS_FAILING_MEMORY_H

#include "support.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Until one fails; negative: none fails. */
static atomic_long allocations_left = -1;

void *aligned_alloc(size_t alignment, size_t size)
{
    if (atomic_load(&allocations_left) >= 0 && atomic_fetch_sub(&allocations_left, 1) == 0) {
        errno = ENOMEM;
        return NULL;
    }
    void *memory = NULL;
    return posix_memalign(&memory, alignment, size) ? NULL : memory;
}

typedef gm_status (*pipeline)(gm_error *err);

/* A pipeline makes at least `fewest` allocations, else it tests nothing. It may live on in few of
 * the cases: where one way to the eigenvectors fails there is a second one. Every allocation fails
 * where leaks are looked for; elsewhere every fifth. */
static inline void fail_every_allocation(pipeline run, long fewest)
{
    gm_error err = {0};
    assert_int_equal(run(&err), GM_OK);
    long failed = 0, recovered = 0;
    for (bool met = true; met; failed += met * GM_TEST_SIZE(5, 1)) {
        memset(&err, 0, sizeof err);
        atomic_store(&allocations_left, failed);
        gm_status status = run(&err);
        met = atomic_exchange(&allocations_left, -1) < 0;
        if (status == GM_OK) {
            recovered += met;
        } else if (!met || status != GM_ERR_MEMORY || err.status != status ||
                   !strstr(err.message, "memory cannot be had")) {
            fail_msg("allocation %ld: status %d (%s)", failed, (int)status, err.message);
        }
    }
    assert_true(failed >= fewest);
    assert_true(recovered <= failed / 20);
}

#endif
